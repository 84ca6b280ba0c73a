"""Predicates on products: the rules of values, arrays against brute force, and what is not read."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from miripool.errors import QueryError
from miripool.model.dataset import Dataset
from miripool.model.keywords import dictionary
from miripool.model.kinds import Ramp, RateInts
from miripool.model.product import _ATTRIBUTES, Product
from miripool.query import places
from miripool.query.division import index_answers, needs, split
from miripool.query.evaluator import evaluate
from miripool.query.parser import parse
from miripool.query.tree import And
from miripool.query.values import Value, as_time, calculate, compare, like, lower, upper


def read(text, **functions):
    return parse(text, names=dictionary(), functions=functions)


def holds(text, product, **functions):
    return evaluate(read(text, **functions), product)


@pytest.fixture
def ramp():
    data = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    data[0, 0, 0, 0] = np.nan
    dq = np.zeros((2, 3, 4, 5), np.uint8)
    dq[1, 2, 3, 4] = 4
    table = np.array([(1, b"a"), (2, b"b")], dtype=[("NUMBER", "i4"), ("NAME", "S1")])
    meta = {
        "ngroups": 3,
        "detector": "MIRIMAGE",
        "DATE-OBS": "2018-03-08",
        "flag": True,
        "temp": -6.5,
        "SCI.BUNIT": "DN",
        "group_time": 2.5,
        "empty": None,
    }
    return Ramp(meta, {"SCI": data, "GROUPDQ": dq, "GROUP": table}, name="jw01")


TRUE = [
    "ngroups == 3",
    "ngroups != 4",
    "2 < ngroups <= 3",
    "ngroups in (1, 3)",
    "ngroups not in (1, 2)",
    "detector like 'MIRI*'",
    "detector not like 'NIRI*'",
    "detector.lower() == 'mirimage'",
    "'RIM' in detector",
    "len(detector) == 8",
    "flag",
    "flag == True",
    "flag != False",
    "flag is true",
    "DATE-OBS == '2018-03-08'",
    "DATE-OBS < '2018-03-08T00:00:01Z'",
    "DATE-OBS == '2018-03-08T02:00:00+02:00'",
    "DATE-OBS like '2018*'",
    "DATE-OBS > 'x' or DATE-OBS < 'x'",
    "SCI.BUNIT == 'DN'",
    "BUNIT == 'DN'",
    "p.meta['group_time'].unit == 's'",
    "missing is null",
    "empty is null",
    "p.meta.containsKey('empty')",
    "not p.meta.containsKey('missing')",
    "'ngroups' in p.meta",
    "temp // 2 == -4 and temp % 2 == 1.5",
    "ngroups ** 2 == 9",
    "(ngroups & 2) == 2",
    "(ngroups | 4) == 7 and ~ngroups == -4 and (ngroups ^ 1) == 2",
    "min(ngroups, temp) == -6.5 and max(ngroups, temp, 9) == 9",
    "abs(temp) == 6.5 and -temp > 6",
    "p.type == 'Ramp'",
    "p.name == 'jw01'",
    "'SCI' in p and 'sci' in p and 'ERR' not in p",
    "p.data.max() == 119",
    "p.data.min() == 1",
    "p['SCI'].mean() == 60",
    "p.data.shape[0] == 2 and p.data.shape[-1] == 5 and p.data.ndim == 4 and p.data.size == 120",
    "p.groupdq.n_flagged == 1",
    "p.data.n_nan == 1",
    "ANY(isnan(p.data))",
    "ANY(isnan(p.data[0]))",
    "not ANY(isnan(p.data[1]))",
    "ALL(p.data > 0)",
    "not ALL(p.data > 1)",
    "not ANY(p.data < 1)",
    "ANY(p.data == 119)",
    "ANY((p.data > 5) & (p.groupdq == 4))",
    "ANY(p.groupdq & 4)",
    "(p.groupdq & 4).any()",
    "(p.groupdq != 0).sum() == 1",
    "(p.data[0, 0] >= 0).sum() == 19",
    "(p.data[0, 0] >= 0).mean() == 1",
    "p.data[0, 0].sum() == 190",
    "p.data[..., 0].max() == 115",
    "p.data[:, ::2, -1].min() == 15",
    "p.data[p.groupdq == 4].max() == 119",
    "p.data[p.groupdq == 4].sum() == 119",
    "p.data.max(axis=0).min() == 60",
    "p.data.max(axis=(0, 1, 2)).min() == 115",
    "p.data.median() == 60",
    "(p.data.max(axis=0) > 100).any()",
    "ANY((p.data > 5).any(axis=0))",
    "(p.data[1] - p.data[0]).max() == 60",
    "(p.data * 2 + 1).max() == 239",
    "p['GROUP']['number'].sum() == 3",
    "ANY(p['GROUP']['NAME'] == 'b')",
    "ANY(p.data > ngroups)",
    "ANY(ngroups < p.data)",
    "abs(-p.data).max() == 119",
    "ANY(p.data / 0 > 1) or 1",
]
FALSE = [
    "missing == 1",
    "missing != 1",
    "not (missing == 1)",
    "not (missing != 1)",
    "empty == 1",
    "empty != 1",
    "ngroups == '3'",
    "ngroups != '3'",
    "ngroups == True",
    "ngroups",
    "not ngroups",
    "flag == 1",
    "flag != 1",
    "flag < True",
    "detector > 1",
    "detector not in (1, 2)",
    "ngroups like '3'",
    "ngroups not like '3'",
    "not (missing in (1, 2))",
    "ngroups / 0 == 1",
    "not (ngroups / 0 == 1)",
    "ngroups * 1e200 > 0",
    "p['ERR'].max() > 0",
    "not (p['ERR'].max() > 0)",
    "ANY(p['ERR'] > 0)",
    "not ANY(p['ERR'] > 0)",
    "p.data[7].max() > 0",
    "not (p.data[7].max() > 0)",
    "p.data[0, 0, 0, 0, 0].max() > 0",
    "p.data[..., -6].max() > 0",
    "p.data.max(axis=4).min() > 0",
    "p.data[0, 0, 0, 0].max() > 0 or p.data[0, 0, 0, 0].max() <= 0",
    "p.data.shape[4] > 0",
    "p['GROUP'].max() > 0",
    "p['GROUP']['none'].max() > 0",
    "p.data[p.groupdq == 8].max() > 0",
    "ANY(p.data[p.groupdq == 8] > 0)",
    "not ANY(p.data[p.groupdq == 8] > 0)",
    "p.version == 0",
    "p.urn != 'x'",
    "'t' in p.tags",
    "False",
]


@pytest.mark.parametrize("text", TRUE)
def test_true(ramp, text):
    assert holds(text, ramp)


@pytest.mark.parametrize("text", FALSE)
def test_false(ramp, text):
    assert not holds(text, ramp)


def test_float32_compares_in_double_precision():
    p = Product({}, {"SCI": np.array([0.1], np.float32)})
    assert holds("p.data.max() > 0.1", p)
    assert holds("ANY(p.data > 0.1)", p)
    assert not holds("ANY(p.data == 0.1)", p)


def test_unsigned_integers_do_not_wrap():
    p = Product({}, {"SCI": np.array([[1, 5], [3, 2]], np.uint16)})
    assert holds("(p.data[0] - p.data[1]).min() == -2", p)
    assert holds("ANY(-p.data == -5)", p)


def test_all_nan_matches_nothing():
    p = Product({}, {"SCI": np.full((2, 2), np.nan, np.float32)})
    for text in ("max() > 0", "max() <= 0", "sum() == 0", "median() != 1", "std() >= 0"):
        assert not holds(f"p.data.{text}", p)
        assert not holds(f"not (p.data.{text})", p)
    for text in ("ANY(p.data > 0)", "ALL(p.data > 0)", "ANY(p.data != 0)", "(p.data > 0).sum() == 0"):
        assert not holds(text, p)
        assert not holds(f"not {text}" if text[0] == "A" else f"not ({text})", p)
    assert holds("p.data.n_nan == 4 and p.data.max() is null", p)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ANY(p.data > p.groupdq[0, 0, :, :2])", "broadcast"),
        ("ANY(p.data & 4)", "bits"),
        ("ANY(p['GROUP'] != 3)", "can't be compared"),
        ("ANY(p['GROUP']['NAME'] > 3)", "can't be compared"),
        ("p.data.max(axis=(0, 0)).min() > 1", "twice"),
        ("(p.data > 3).median() > 1", "condition on elements"),
        ("ANY(p.data[..., 0, ...] > 1)", "only one"),
        ("boom(p)", "jw01"),
        ("array(p)", "jw01"),
    ],
)
def test_errors_name_the_product(ramp, text, message):
    def boom(p):
        raise ValueError("no")

    with pytest.raises(QueryError, match=message) as caught:
        holds(text, ramp, boom=boom, array=lambda p: p.data[...] > 3)
    if message in ("broadcast", "jw01"):
        assert "jw01" in str(caught.value)


def test_a_function_of_the_caller(ramp):
    assert holds("f(p)", ramp, f=lambda p: p.data.max() > 100)
    assert not holds("not f(p)", ramp, f=lambda p: p.data.max() > 100)
    assert holds("f(p) == 3", ramp, f=lambda p: p.meta["ngroups"].value)


def test_fields():
    p = SimpleNamespace(
        kind="Ramp",
        name="n",
        version=2,
        serial=7,
        urn="urn:a:Ramp:7",
        tags=("using cal v1",),
        created=datetime(2020, 1, 1, tzinfo=UTC),
        bytes=5,
        filename="f.fits",
    )
    text = (
        "p.kind == 'Ramp' and version == 2 and serial == 7 and p.urn like 'urn:a:*' and 'using cal v1' in p.tags"
        " and created < '2020-01-01T00:00:00.1' and p.bytes < 6 and p.filename == 'f.fits' and 'x' not in p.tags"
    )
    assert holds(text, p)


def test_fields_of_the_reference():
    ref = SimpleNamespace(version=2, urn="urn:a:Ramp:7", tags=("t",), filename="f.fits")
    p = Ramp({}, {"SCI": np.ones(2, np.float32)})
    p.ref = ref
    assert holds("version == 2 and p.urn == 'urn:a:Ramp:7' and 't' in p.tags and p.filename == 'f.fits'", p)
    with pytest.raises(QueryError, match="urn:a:Ramp:7"):
        holds("ANY(p.data > p.data[:1].max(axis=0)) or boom(p)", p, boom=lambda p: int("x"))


class _Unread:
    """An array that fails when it is read where it must not be."""

    def __init__(self, array, allowed=None):
        self.array, self.allowed = array, allowed
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, key):
        assert self.allowed is not None, "nothing was to be read"
        part = self.array[key]
        assert part.size <= self.allowed, "more was read than was asked for"
        return part


def test_statistics_read_nothing(ramp):
    known = ramp.data.statistics
    p = Product({}, {"SCI": Dataset("SCI", _Unread(np.zeros((2, 3, 4, 5), np.float32)), statistics=known)})
    assert holds("p.data.max() > 100 and p.data.std() > 1 and len(p.data) == 2 and p.data.ndim == 4", p)


def test_parts_read_no_more():
    p = Product({}, {"SCI": Dataset("SCI", _Unread(np.ones((2, 3, 4, 5), np.float32), allowed=4))})
    assert holds("p.data[0, 0, :, 1].sum() == 4", p)


def test_metadata_is_not_touched_for_data():
    p = SimpleNamespace(datasets={"SCI": Dataset("SCI", np.ones((2, 2), np.float32))})
    assert holds("p.data.max() == 1 and ANY(p.data == 1)", p)


def test_extension_names_as_in_products():
    assert places._EXTENSIONS == _ATTRIBUTES


# -- against brute force -------------------------------------------------------------------------------------------

elements = st.sampled_from([0.0, 1.0, -1.0, 2.5, np.nan, 100.0, np.inf])
arrays = hnp.arrays(np.float32, hnp.array_shapes(min_dims=1, max_dims=3, max_side=3), elements=elements.map(np.float32))
OPERATORS = {"==": "__eq__", "!=": "__ne__", "<": "__lt__", "<=": "__le__", ">": "__gt__", ">=": "__ge__"}


@given(
    arrays, st.sampled_from(sorted(OPERATORS)), st.sampled_from([0.0, 1.0, 2.5]), st.sampled_from(["any", "all", "sum"])
)
def test_reductions_of_conditions(array, op, number, function):
    known = [getattr(float(x), OPERATORS[op])(number) for x in array.ravel() if not math.isnan(x)]
    p = Product({}, {"SCI": array})
    if function == "sum":
        assert holds(f"(p.data {op} {number}).sum() == {sum(known)}", p) == bool(known)
        return
    expected = bool(known) and {"any": any, "all": all}[function](known)
    assert holds(f"(p.data {op} {number}).{function}()", p) == expected
    assert holds(f"not (p.data {op} {number}).{function}()", p) == (bool(known) and not expected)


@given(arrays, st.sampled_from(["max", "min", "mean", "std", "sum", "median"]))
def test_reductions_of_numbers(array, function):
    numbers = array[~np.isnan(array)].astype(np.float64)
    finite = np.isfinite(numbers).all() and numbers.size > 0
    p = Product({}, {"SCI": array})
    if finite:
        expected = float(getattr(np, function)(numbers))
        assert holds(f"abs(p.data.{function}() - {expected!r}) <= 1e-5", p)
        assert holds(f"abs(p.data[...].{function}() - {expected!r}) <= 1e-5", p)
    elif numbers.size == 0:
        assert holds(f"p.data.{function}() is null and p.data[...].{function}() is null", p)


@given(st.text("ab*%_?\\\n", max_size=8), st.lists(st.sampled_from(["a", "b", "%", "_", "\\%", "\\\\"]), max_size=8))
def test_like_against_brute_force(text, marks):
    def matches(i, k):
        if k == len(marks):
            return i == len(text)
        if marks[k] == "%":
            return any(matches(j, k + 1) for j in range(i, len(text) + 1))
        if i == len(text):
            return False
        return (marks[k] == "_" or marks[k][-1] == text[i]) and matches(i + 1, k + 1)

    assert like(text, "".join(marks)) == matches(0, 0)


@pytest.mark.timeout(20)
def test_like_does_not_hang():
    assert not like("a" * 20_000 + "c", "%" + "a%" * 2000 + "b")


numbers = st.one_of(st.floats(allow_nan=True), st.integers(), st.booleans(), st.text(max_size=3), st.none())


@given(numbers, numbers)
def test_comparisons_are_consistent(a, b):
    left, right = Value.of(a), Value.of(b)
    equal, differs = compare("==", left, right), compare("!=", left, right)
    assert (equal is None) == (differs is None)
    assert equal is None or equal is not differs
    below, above = compare("<", left, right), compare(">=", left, right)
    assert (below is None) == (above is None)
    assert below is None or below is not above


def test_values():
    assert Value.of(10**400) == Value()
    assert Value.of(b"x") == Value(text="x")
    assert Value.of(np.float32(0.5)) == Value(number=0.5)
    assert as_time("2018-13-08") is None
    assert as_time("0001-01-01T00:00:00+14:00") is None
    assert as_time("2018-03-08T01:00+0100") == datetime(2018, 3, 8, tzinfo=UTC)
    assert as_time("2018-03-08 01:00:30 UTC") == datetime(2018, 3, 8, 1, 0, 30, tzinfo=UTC)  # as `log` prints it
    assert as_time("2018-03-08 UTC") is None
    assert (lower("AÄz"), upper("aäß")) == ("aÄz", "Aäß")
    assert calculate("**", -8.0, 0.5) is None
    assert calculate("**", 0.0, -1.0) is None
    assert calculate("**", 1e100, 16.0) is None
    assert calculate("+", 1e200, 1.0) is None


# -- who answers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "needed", "answered"),
    [
        ("ngroups > 1 and 'k' in p.meta", {"meta"}, True),
        ("'t' in p.tags", {"tags"}, True),
        ("p.version > 1", {"field"}, True),
        ("p.data.max() > 1", {"statistics"}, True),
        ("p.data.sum() > 1", {"data"}, False),
        ("ngroups ** 2 > 1", {"meta", "compute"}, False),
        ("ngroups * 2 > 1", {"meta"}, True),
        ("ngroups * 2 + 1 - 3 * nints > 1", {"meta"}, False),
        ("len(detector) > 1", {"meta", "compute"}, False),
        ("f(p)", {"python"}, False),
    ],
)
def test_needs(text, needed, answered):
    node = read(text, f=len)
    assert needs(node) == needed
    assert index_answers(node) is answered


def test_split():
    sql, rest = split(read("ngroups > 1 and p.data.sum() > 1 and p.data.max() > 1 and (flag or f(p))", f=len))
    assert sql == read("ngroups > 1 and p.data.max() > 1")
    assert rest == read("p.data.sum() > 1 and (flag or f(p))", f=len)
    assert split(read("ngroups > 1")) == (read("ngroups > 1"), None)
    assert split(read("f(p)", f=len)) == (None, read("f(p)", f=len))
    assert split(And(())) == (None, None)


def test_deep_junctions_are_left_to_python():
    text = "a == 1"
    for i in range(60):
        text = f"(b == {i} {'or' if i % 2 else 'and'} {text})"
    assert not index_answers(read(text))
    assert not holds(text, RateInts({}, {}))
