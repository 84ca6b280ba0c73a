"""Pixels in Python: one pixel's ramps and history, conditions on pixels against brute force, and PixelQuery."""

from __future__ import annotations

import json
import math
import pickle
import re
from datetime import UTC
from pathlib import Path
from typing import Any

import homes
import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stdatamodels.jwst.datamodels.dqflags import pixel as flags_of_jwst

from miripool import PixelQuery, Pool, Product, Ramp, Rate, RateInts, Raw
from miripool.errors import IncompleteAnswer, InvalidInput, QueryError
from miripool.model.keywords import dictionary
from miripool.model.kinds import pixel_axes, pixel_kinds
from miripool.pixels.flags import flag_names
from miripool.pool.core import core_of
from miripool.query.parser import parse
from miripool.query.pixelwhere import FLAGS, PixelTest, parse_pixels
from miripool.query.tree import And, Compare, Keyword, Literal, Node, Not, Or, Range, walk

home = homes.home
NAME = "jw01033005001_03103_00001_mirimage"


@pytest.fixture
def filled(pool: Pool, simulated: Path) -> Pool:
    """Raw, and Ramp, RateInts and Rate in two versions."""
    pool.save(simulated / "uncal" / f"{NAME}_uncal.fits")
    for label in ("v1", "v2"):
        for kind in ("ramp", "rateints", "rate"):
            pool.save(simulated / label / f"{NAME}_{kind}.fits", tag=label)
    return pool


def array(path: Path, name: str) -> Any:
    with fits.open(path) as hdus:
        return np.asarray(hdus[name].data)


# Reading conditions


@pytest.mark.parametrize(
    ("text", "kind", "node"),
    [
        ("", "Rate", And(())),
        ("1", "Rate", And(())),
        ("rate > 1.5", "Rate", PixelTest("rate", (), ">", (1.5,))),
        ("1 < rate", "Rate", PixelTest("rate", (), ">", (1,))),
        ("-1 < RATE <= 5", "RateInts", PixelTest("rate", (), "range", (-1, 5), (">", "<="))),
        ("5 > rate >= 1", "RateInts", PixelTest("rate", (), "range", (1, 5), (">=", "<"))),
        ("sci[integration == 2, group == 5] != 0", "Ramp", PixelTest("sci", (2, 5), "!=", (0,))),
        ("SCI[Group = 5, INTEGRATION = 2] != 0", "Ramp", PixelTest("sci", (2, 5), "!=", (0,))),
        ("sci[group == 5] = 0", "Ramp", PixelTest("sci", (None, 5), "==", (0,))),
        ("sci[integration=2] <> 0", "Ramp", PixelTest("sci", (2,), "!=", (0,))),
        ("1 < rate[2 == integration] < 5", "RateInts", PixelTest("rate", (2,), "range", (1, 5), (">", "<"))),
        ("rate[integration == 2] is null", "RateInts", PixelTest("rate", (2,), "null")),
        ("has(groupdq[group == 3], HOT)", "Ramp", PixelTest("groupdq", (None, 3), "flag", (2048,))),
        ("ALL(groupdq[group == 3] & 4)", "Ramp", PixelTest("groupdq", (None, 3), "flag", (4,), every=True)),
        ("ALL(dn < 65535)", "Raw", PixelTest("dn", (), "<", (65535,), every=True)),
        ("any(dn < 65535)", "Raw", PixelTest("dn", (), "<", (65535,))),
        ("dq is null", "Rate", PixelTest("dq", (), "null")),
        ("dq is not null", "Rate", Not(PixelTest("dq", (), "null"))),
        ("has(dq, 'jump_det')", "Rate", PixelTest("dq", (), "flag", (4,))),
        ("has(groupdq, SATURATED)", "Ramp", PixelTest("groupdq", (), "flag", (2,))),
        ("dq & 6", "Rate", PixelTest("dq", (), "flag", (6,))),
        ("dq & 0x4 == 0", "Rate", Not(PixelTest("dq", (), "flag", (4,)))),
        ("0 < (4 & dq)", "Rate", PixelTest("dq", (), "flag", (4,))),
        ("x in [1, -2]", "Rate", PixelTest("x", (), "in", (1, -2))),
        ("~(x > 1) & (y > 2)", "Rate", And((Not(PixelTest("x", (), ">", (1,))), PixelTest("y", (), ">", (2,))))),
        ("x > 1 || y > 2", "Rate", Or((PixelTest("x", (), ">", (1,)), PixelTest("y", (), ">", (2,))))),
        ("rate < 99999999999999999999", "Rate", PixelTest("rate", (), "<", (1e20,))),
        ("x in (1, 2)", "Rate", PixelTest("x", (), "in", (1, 2))),
        ("x not in (1, 2)", "Rate", Not(PixelTest("x", (), "in", (1, 2)))),
        ("y between 3 and 4", "Rate", PixelTest("y", (), "range", (3, 4), (">=", "<="))),
        (
            "not (x > 1 or y > 2) and rate > 3",
            "Rate",
            And(
                (
                    Not(Or((PixelTest("x", (), ">", (1,)), PixelTest("y", (), ">", (2,))))),
                    PixelTest("rate", (), ">", (3,)),
                )
            ),
        ),
    ],
)
def test_conditions_are_read(text: str, kind: str, node: Node) -> None:
    assert parse_pixels(text, kind) == node


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("sci > 1", "RateInts", "RateInts has no column 'sci'; It has rate, err, dq, x, y, pixel_id"),
        ("rats > 1", "RateInts", "did you mean rate"),
        ("rate", "RateInts", "rate is a column, not a condition; compare it, e.g. rate > 1, rate is null"),
        ("rate >", "RateInts", "expected a value instead of the end"),
        ("rate > 'a'", "RateInts", "expected a number instead of 'a': rate is compared with numbers"),
        ("rate > err", "RateInts", "expected a number instead of err: rate is compared with numbers"),
        ("rate == true", "RateInts", "expected a number instead of True"),
        ("rate == null", "RateInts", "nothing equals null; write 'is null'"),
        ("1 < 2", "RateInts", "a comparison has a column and a number, e.g. rate > 1"),
        ("rate in ()", "RateInts", "the list is empty"),
        ("rate in ('a')", "RateInts", "expected a number instead of 'a'"),
        ("rate like 'a*'", "RateInts", "'like' asks for texts"),
        ("'HOT' in dq", "RateInts", r"to ask for a flag, write has\(dq, 'JUMP_DET'\)"),
        ("rate + 1 > 2", "RateInts", "no arithmetic"),
        ("-rate > 2", "RateInts", "no arithmetic"),
        ("rate.max() > 2", "RateInts", "a column has no attributes"),
        ("f(rate) > 2", "RateInts", "no function 'f' here; there are ALL, ANY and has"),
        ("(rate > 1) > 1", "RateInts", "a value is needed here, not a condition"),
        ("ALL(rate > 1 and rate < 5)", "RateInts", "ALL and ANY take one comparison"),
        ("rate > 1 > 0", "RateInts", "low < column < high"),
        ("x > 1 & dq & 4", "RateInts", "join conditions with 'and'"),
        ("dq & 4 in (1, 2)", "RateInts", "ask for a column"),
        ("rate > 1 foo", "RateInts", "unexpected 'foo'; expected 'and', 'or' or the end"),
        ("1 < rate > 2", "RateInts", "low < column < high"),
        ("has(rate, 'HOT')", "RateInts", "rate holds no flags"),
        ("has(dq, 'HOTT')", "RateInts", "there is no flag 'HOTT'; did you mean HOT"),
        ("rate & 4", "RateInts", "rate holds no flags"),
        ("dq & 1.5", "RateInts", "bits of a whole number"),
        ("dq & 4 == 4", "RateInts", "can only be compared with 0"),
        ("ALL(dq is null)", "RateInts", "ALL takes a comparison"),
        ("__import__('os')", "RateInts", "'__import__' is not allowed"),
        ("rate > 1e999", "RateInts", "too large"),
        ("(" * 300 + "rate > 1" + ")" * 300, "RateInts", "more than|nested|deep|too"),
    ],
)
def test_conditions_that_are_none(text: str, kind: str, words: str) -> None:
    with pytest.raises(QueryError, match=words):
        parse_pixels(text, kind)


HEADERS = "count from 1, as in JWST's headers"


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("rate[2] > 1", "RateInts", f"rate[2]: write rate[integration == 2] (integrations {HEADERS})"),
        (
            "rate[0] > 1",
            "RateInts",
            f"rate[0]: counted from 0, that is rate[integration == 1] (integrations {HEADERS})",
        ),
        ("rate[:] > 1", "RateInts", "rate[:]: write rate, which asks for any integration"),
        ("rate[-1] > 1", "RateInts", "rate[-1]: brackets name one integration; write e.g. rate[integration == 2]"),
        ("rate[1:3] > 1", "RateInts", "rate[1:3]: brackets name one integration; write e.g. rate[integration == 2]"),
        ("rate[1, 2] > 1", "RateInts", "rate[1, 2]: rate has integrations only; write rate[integration == 1]"),
        ("rate[] > 1", "RateInts", "rate[]: brackets name one integration; write e.g. rate[integration == 2]"),
        ("rate['a'] > 1", "RateInts", "rate['a']: brackets name one integration; write e.g. rate[integration == 2]"),
        ("rate[1.5] > 1", "RateInts", "brackets name integrations and groups; write e.g. rate[integration == 2]"),
        ("sci[2] > 1", "Ramp", f"sci[2]: write sci[integration == 2] (integrations and groups {HEADERS})"),
        ("sci[2, 5] > 1", "Ramp", "sci[2, 5]: write sci[integration == 2, group == 5] (integrations and groups"),
        ("sci[:, 5] > 1", "Ramp", "sci[:, 5]: write sci[group == 5] ("),
        ("sci[..., 5] > 1", "Ramp", "sci[..., 5]: write sci[group == 5] ("),
        ("sci[2, :] > 1", "Ramp", "sci[2, :]: write sci[integration == 2] ("),
        ("sci[0, 5] > 1", "Ramp", "sci[0, 5]: counted from 0, that is sci[integration == 1, group == 6] ("),
        ("sci[:, :] > 1", "Ramp", "sci[:, :]: write sci, which asks for any integration and group"),
        ("sci[integration == 1, 5] > 1", "Ramp", "write e.g. sci[integration == 1, group == 5] ("),
        ("has(groupdq[2, 5], HOT)", "Ramp", "groupdq[2, 5]: write groupdq[integration == 2, group == 5] ("),
        ("dq[1] is null", "Rate", "dq of a Rate has neither integrations nor groups; write dq"),
        ("dq[integration == 1] is null", "Rate", "dq of a Rate has neither integrations nor groups; write dq"),
        ("x[1] > 1", "Ramp", "x of a Ramp has neither integrations nor groups; write x"),
        ("rate[group == 5] > 1", "RateInts", "rate has no groups; it has integrations: rate[integration == 2]"),
        ("rate[integration == 0] > 1", "RateInts", f"integrations {HEADERS}: the first is integration == 1"),
        ("sci[group == -1] > 1", "Ramp", f"groups {HEADERS}: the first is group == 1"),
        ("sci[group == 1.5] > 1", "Ramp", "group takes a whole number: group == 2"),
        ("sci[group > 1] > 1", "Ramp", "brackets name one group: group == 2; for several, join conditions"),
        ("sci[group in (1, 2)] > 1", "Ramp", "brackets name one group: group == 2; for several, join conditions"),
        ("sci[group == 'a'] > 1", "Ramp", "expected a number instead of 'a': group is compared with numbers"),
        ("sci[group == 1, group == 2] > 1", "Ramp", "group is named twice"),
        ("sci[integration == 1 and group == 2] > 1", "Ramp", "write e.g. sci[integration == 1, group == 5]"),
        ("sci[group] > 1", "Ramp", "sci[…]: brackets name one integration or group; write e.g. sci["),
        ("sci[rate > 1] > 1", "Ramp", "Ramp has no column 'rate'"),
        ("sci[grup == 1] > 1", "Ramp", "Ramp has no column 'grup'; did you mean group"),
        ("integration == 1 and rate > 1", "RateInts", "belongs in the brackets of a column"),
        ("integration == 1", "Rate", "a Rate has neither integrations nor groups"),
        ("integration > 1", "RateInts", "brackets name one integration: integration == 2"),
        ("rate[integration == 1][integration == 2] > 1", "RateInts", "can have brackets, and only once"),
        ("rate[1.5] > 1", "Rate", "a Rate has neither integrations nor groups"),
        ("true[integration == 2]", "Rate", "a Rate has neither integrations nor groups"),
        ("(rate > 1)[2]", "RateInts", "only a column's name can have brackets"),
    ],
)
def test_brackets_name_integrations_and_groups(text: str, kind: str, words: str) -> None:
    with pytest.raises(QueryError, match=re.escape(words)):
        parse_pixels(text, kind)


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("x > 1 and rate[2] > 1", 14),
        ("rate[integration == 0] > 1", 20),
        ("rate[integration == 2] > 'a'", 25),
        ("rate + 1 > 2", 0),
        ("x > 1 and rats > 1", 10),
        ("x > 1 and dq & 4 == 3", 20),
        ("rate > 1 foo", 9),
    ],
)
def test_errors_point_at_the_column(text: str, column: int) -> None:
    with pytest.raises(QueryError) as caught:
        parse_pixels(text, "RateInts")
    assert caught.value.column == column, str(caught.value)


@pytest.mark.parametrize(
    "text", ["x > 1", "x > 1 or y < 2 and not x == 3", "1 < x <= 5", "x between 1 and 5", "not x = 2"]
)
def test_pixels_and_products_are_read_alike(text: str) -> None:
    """By one grammar: the same operators join the same conditions."""
    product, pixel = (shape(node) for node in (parse(text, names=dictionary()), parse_pixels(text, "Rate")))
    assert product == pixel


def shape(node: Node) -> object:
    """Give what is joined with what: pixels, whose negation is at the leaves here, as products are."""
    if isinstance(node, Not):
        inner = shape(node.part)
        assert inner[0] == "=="  # type: ignore[index]
        return "!=", *inner[1:]  # type: ignore[index]
    if isinstance(node, And | Or):
        return type(node).__name__, *map(shape, node.parts)
    if isinstance(node, PixelTest):
        ends = (">" in node.ends, "<" in node.ends) if node.op == "range" else ()
        return node.op, node.column, *node.values, *ends
    if isinstance(node, Range):
        assert isinstance(node.operand, Keyword)
        return "range", node.operand.key.lower(), node.low.value, node.high.value, node.low_open, node.high_open
    assert isinstance(node, Compare)
    assert isinstance(node.left, Keyword)
    assert isinstance(node.right, Literal)
    return node.op, node.left.key.lower(), node.right.value


WORDS = """
rate sci dq groupdq x y pixel_id integration group [ ] ( ) , : . ... == = != <> < <= > >= & | && || ! ~ ^ + - * / // %
** and or not in is like between null true 1 2.5 -3 0 0x4 1e300 9223372036854775807 'x' "MIRI" ANY( ALL( has( HOT
f( now p . [integration==2] [group=1] [integration==1,group==5] [2] [:,1] [0] [-1] [...] has(dq,'HOT') in(1,2) >1 <=5
"""


@pytest.mark.slow
@settings(max_examples=1500, deadline=None)
@given(
    st.lists(st.sampled_from(WORDS.split()), max_size=12), st.sampled_from(["", " "]), st.sampled_from(pixel_kinds())
)
def test_any_words(words: list[str], blank: str, kind: str) -> None:
    """Are a condition made of tests, or an error that points into the text."""
    text = blank.join(words)
    column, found = None, None
    try:
        found = parse_pixels(text, kind)
    except QueryError as error:
        column = error.column
    assert column is None or 0 <= column <= len(text)
    if found is None:
        return
    assert all(isinstance(node, PixelTest | And | Or | Not) for node in walk(found))
    for node in walk(found):
        if isinstance(node, PixelTest):
            assert len(node.items) <= pixel_axes(kind)[node.column]
            assert all(item is None or item >= 1 for item in node.items)


def test_named_brackets_come_back() -> None:
    asked = PixelQuery(Ramp, "sci[group = 5, integration = 1] > 20000 and not has(groupdq[group == 5], 'JUMP_DET')")
    assert asked == PixelQuery(Ramp, "sci[integration == 1, group == 5] > 20000 and not groupdq[group == 5] & 4")
    assert asked != PixelQuery(Ramp, "sci[integration == 5, group == 1] > 20000 and not groupdq[group == 5] & 4")
    assert pickle.loads(pickle.dumps(asked)) == asked
    assert eval(repr(asked), {"PixelQuery": PixelQuery, "Ramp": Ramp}) == asked


def test_flags_are_those_of_jwst() -> None:
    assert {name: bit for name, bit in flags_of_jwst.items() if bit} == dict(FLAGS)
    assert flag_names(0) == ""
    assert flag_names(np.int64(5)) == "DO_NOT_USE|JUMP_DET"
    assert flag_names(1 << 31 | 1 << 33) == "REFERENCE_PIXEL|bit 33"


# Conditions against brute force

NUMBERS = st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 2.0])
COMPARISONS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])


@st.composite
def leaf(draw: st.DrawFn, kind: str) -> tuple[str, Any]:
    """Give a condition, and a function that says for each pixel's columns whether it holds."""
    columns = pixel_axes(kind)
    column = draw(st.sampled_from([c for c in columns if c not in ("pixel_id", "err")]))
    axes, index, subscript = columns[column], {}, ""
    if axes and draw(st.booleans()):
        named = draw(st.lists(st.sampled_from(range(axes)), min_size=1, max_size=axes, unique=True))
        index = {axis: draw(st.integers(1, 3)) for axis in named}
        equals = draw(st.sampled_from([" == ", "="]))
        subscript = f"[{', '.join(('integration', 'group')[axis] + equals + str(i) for axis, i in index.items())}]"
    name = f"{column}{subscript}"
    whole = column not in ("sci", "rate")
    number = draw(NUMBERS.map(lambda n: int(abs(n))) if whole else NUMBERS)

    def elements(pixel: dict[str, Any]) -> list[float]:
        value = np.asarray(pixel[column], float)
        for axis, i in index.items():
            if i > value.shape[axis]:
                return []
            value = value.take([i - 1], axis)
        return [v for v in value.reshape(-1) if not math.isnan(v)]

    form = draw(st.sampled_from(["compare", "all", "null", "in", "between", "flag"]))
    if form == "null":
        if column.endswith("dq"):
            return f"{name} is null", lambda p: all(v == 0 for v in elements(p))
        return f"{name} is null", lambda p: not elements(p)
    if form == "flag" and column.endswith("dq"):
        bit = draw(st.sampled_from([1, 2, 4]))
        return f"{name} & {bit}", lambda p: any(int(v) & bit for v in elements(p))
    if form == "in":
        other = number + 1
        return f"{name} in ({number}, {other})", lambda p: any(v in (number, other) for v in elements(p))
    if form == "between":
        high = number + 1
        return f"{name} between {number} and {high}", lambda p: any(number <= v <= high for v in elements(p))
    op = draw(COMPARISONS)
    compare: Any = {
        "==": lambda v: v == number,
        "!=": lambda v: v != number,
        "<": lambda v: v < number,
        "<=": lambda v: v <= number,
        ">": lambda v: v > number,
        ">=": lambda v: v >= number,
    }[op]
    if form == "all":
        return f"ALL({name} {op} {number})", lambda p: bool(elements(p)) and all(map(compare, elements(p)))
    return f"{name} {op} {number}", lambda p: any(map(compare, elements(p)))


@st.composite
def condition(draw: st.DrawFn, kind: str, depth: int = 2) -> tuple[str, Any]:
    if depth == 0 or draw(st.booleans()):
        return draw(leaf(kind))
    left, holds_left = draw(condition(kind, depth - 1))
    if draw(st.booleans()):
        return f"not ({left})", lambda p: not holds_left(p)
    right, holds_right = draw(condition(kind, depth - 1))
    if draw(st.booleans()):
        return f"({left}) and ({right})", lambda p: holds_left(p) and holds_right(p)
    return f"({left}) or ({right})", lambda p: holds_left(p) or holds_right(p)


CARDS = {"SUBSTRT1": 1, "SUBSTRT2": 1, "SUBSIZE1": 8, "SUBSIZE2": 6}


def random_product(kind: str, seed: int, name: str = "r") -> Product:
    random = np.random.default_rng(seed)
    depth = {"Raw": (2, 3), "Ramp": (2, 3), "RateInts": (2,), "Rate": ()}[kind]
    shape = (*depth, 6, 8)
    values = random.choice(np.array([-2, -1, 0, 0.5, 1, 2, np.nan], "f4"), shape)
    flags = random.choice(np.array([0, 0, 0, 1, 2, 4, 5], "u1"), shape)
    if kind == "Raw":
        return Raw(CARDS, {"SCI": random.choice(np.array([0, 1, 2, 32767, 32768, 65535], "u2"), shape)}, name=name)
    if kind == "Ramp":
        dq = random.choice(np.array([0, 1, 1 << 31], "u4"), (6, 8))
        return Ramp(CARDS, {"SCI": values, "GROUPDQ": flags, "PIXELDQ": dq}, name=name)
    cls = RateInts if kind == "RateInts" else Rate
    return cls(CARDS, {"SCI": values, "DQ": flags.astype("u4")}, name=name)


def pixels_of(product: Product) -> list[dict[str, Any]]:
    names = {"Raw": {"dn": "SCI"}, "Ramp": {"sci": "SCI", "groupdq": "GROUPDQ", "pixeldq": "PIXELDQ"}}
    columns = names.get(product.kind, {"rate": "SCI", "dq": "DQ"})
    return [
        {"pixel_id": y * 1032 + x + 1, "x": x + 1, "y": y + 1}
        | {column: product[name][..., y, x] for column, name in columns.items()}
        for y in range(6)
        for x in range(8)
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the condition names:miripool.errors.IncompleteAnswer")
@pytest.mark.parametrize("kind", pixel_kinds())
def test_conditions_against_brute_force(pool: Pool, kind: str) -> None:
    product = random_product(kind, 1)
    pool.save(product)
    pixels = pixels_of(product)

    @settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
    @given(condition(kind))
    def check(case: tuple[str, Any]) -> None:
        text, holds = case
        found = pool.pixels(kind, text)
        wanted = [p["pixel_id"] for p in pixels if holds(p)]
        assert list(found.to_table()["pixel_id"]) == wanted
        assert found.count() == len(wanted)
        refs = pool.select(PixelQuery(kind, text, at_least=10))
        assert refs.size() == (len(wanted) >= 10)

    check()


# Pixels


@pytest.mark.slow
def test_pixels_in_tables_and_chunks(filled: Pool, simulated: Path) -> None:
    rate = array(simulated / "v2" / f"{NAME}_rateints.fits", "SCI")
    found = filled.pixels(RateInts, "rate > 100 and dq is null", x=(10, 30), y=(780, 800))
    table = found.to_table()
    assert table.colnames == ["urn", "name", "version", "time", "detector", "pixel_id", "x", "y", "rate", "err", "dq"]
    assert set(table["urn"]) == {"urn:jpl8:RateInts:5"}
    assert set(table["version"]) == {1}
    assert (str(table["rate"].unit), str(table["err"].unit)) == ("DN / s", "DN / s")
    for row in table:
        assert np.array_equal(row["rate"], rate[:, row["y"] - 779, row["x"] - 1], equal_nan=True)
        assert 10 <= row["x"] <= 30
        assert 780 <= row["y"] <= 800
        assert not row["dq"].any()
    assert len(table) == found.count() > 5
    assert sum(len(t) for t in found.chunks()) == len(table)
    assert [len(t) for t in found.chunks(limit=3)] == [3]
    assert len(found.to_table(limit=4)) == 4
    assert "of 1 RateInts versions" in repr(found)


@pytest.mark.slow
def test_pixels_of_versions_that_are_asked_for(filled: Pool) -> None:
    every = filled.pixels(RateInts, "pixel_id == 802897", all_versions=True).to_table()
    assert list(every["urn"]) == ["urn:jpl8:RateInts:2", "urn:jpl8:RateInts:5"]
    first = filled.pixels("RateInts", "x == 1 and y == 779", tag="v1").to_table()
    assert list(first["version"]) == [0]
    none = filled.pixels(RateInts, query="nints > 100")
    assert (none.count(), len(none.to_table()), list(none.chunks())) == (0, 0, [])
    assert len(filled.pixels(RateInts, "rate > 1e30").to_table()) == 0


@pytest.mark.slow
def test_flags_by_their_names(filled: Pool, simulated: Path) -> None:
    dq = array(simulated / "v2" / f"{NAME}_rate.fits", "DQ")
    table = filled.pixels(Rate, "dq is not null").to_table(dq_names=True)
    assert len(table) == (dq != 0).sum()
    row = table[0]
    assert row["dq"] == flag_names(dq[row["y"] - 779, row["x"] - 1])


@pytest.mark.slow
def test_too_many_pixels_for_a_table(filled: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    import miripool.pixels.matching

    monkeypatch.setattr(miripool.pixels.matching, "_MOST_ROWS", 1000)
    with pytest.raises(InvalidInput, match=r"a table of 4,608 pixels; .*chunks\(\)"):
        filled.pixels(Rate).to_table()
    assert len(filled.pixels(Rate).to_table(limit=10)) == 10
    assert len(filled.pixels(Rate, x=(1, 2)).to_table()) == 128
    assert filled.pixels(Rate).count() == 4608


@pytest.mark.slow
def test_pixels_without_rows_are_told(filled: Pool) -> None:
    core_of(filled).pixel_rows.drop([5])
    with pytest.warns(IncompleteAnswer, match="1 of 2 versions has no pixel rows and is left out") as told:
        found = filled.pixels(RateInts, all_versions=True)
    assert told[0].filename == __file__
    assert found.count() == 4608


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [{"x": (0, 5)}, {"x": (5, 4)}, {"y": (1, 1025)}, {"x": ("a", "b")}])
def test_regions_that_are_none(filled: Pool, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"[xy]="):
        filled.pixels(Rate, **wrong)


# One pixel

STARTING = ("urn", "name", "version", "time", "detector")
TIMES = ("mid_time", "end_time", "time_of")


@pytest.mark.slow
def test_history(filled: Pool, simulated: Path) -> None:
    table = filled.pixel(3, 800).history(all_versions=True)
    assert table.colnames == [*STARTING, "integration", "rate", "err", "dq", *TIMES]
    assert list(table["version"]) == [0, 0, 0, 1, 1, 1]
    assert list(table["integration"]) == [1, 2, 3] * 2
    for column, name in (("rate", "SCI"), ("err", "ERR"), ("dq", "DQ")):
        wanted = [array(simulated / v / f"{NAME}_rateints.fits", name)[:, 21, 2] for v in ("v1", "v2")]
        assert np.array_equal(table[column], np.concatenate(wanted).astype(table[column].dtype), equal_nan=True)
    assert str(table["rate"].unit) == "DN / s"
    assert table.meta["pixel_id"] == (800 - 1) * 1032 + 3
    start = filled.select(RateInts)[0].row.start_time
    assert start is not None
    assert table["time"][0].isot == start.strftime("%Y-%m-%dT%H:%M:%S.%f")[:23]
    assert table["time"][0].to_datetime(timezone=UTC) == start
    assert (table["time"].scale, table["time"].format, len(table["time"])) == ("utc", "isot", 6)
    rates = filled.pixel(9, 800).history(Rate, tag="v1")
    assert "integration" not in rates.colnames
    assert rates["rate"][0] == array(simulated / "v1" / f"{NAME}_rate.fits", "SCI")[21, 8]


@pytest.mark.slow
def test_ramps(filled: Pool, simulated: Path) -> None:
    table = filled.pixel(3, 800).ramps()
    path = simulated / "v2" / f"{NAME}_ramp.fits"
    assert table.colnames == [*STARTING, "integration", "ramp", "groupdq", "pixeldq", *TIMES]
    assert np.array_equal(table["ramp"], array(path, "SCI")[:, :, 21, 2])
    assert np.array_equal(table["groupdq"], array(path, "GROUPDQ")[:, :, 21, 2])
    assert list(table["pixeldq"]) == [array(path, "PIXELDQ")[21, 2]] * 3
    raw = filled.pixel(3, 800).ramps(Raw)
    assert np.array_equal(raw["ramp"], array(simulated / "uncal" / f"{NAME}_uncal.fits", "SCI")[:, :, 21, 2])
    assert raw["ramp"].unit == "DN"
    spelled = filled.pixel(3, 800).ramps(Ramp, "ngroups == 8", dq_names=True)
    assert spelled["groupdq"][0, 0] == flag_names(array(path, "GROUPDQ")[0, 0, 21, 2])
    with pytest.raises(InvalidInput, match="a RateInts has no ramps"):
        filled.pixel(3, 800).ramps(RateInts)
    with pytest.raises(InvalidInput, match="a Ramp has no rates"):
        filled.pixel(3, 800).history("Ramp")
    with pytest.raises(InvalidInput, match="a Product has no pixel rows"):
        filled.pixel(3, 800).history(Product)


@pytest.mark.slow
def test_a_pixel_without_rows_is_read_from_the_data(filled: Pool) -> None:
    kinds = ((Ramp, "ramps"), (Raw, "ramps"), (RateInts, "history"), (Rate, "history"))
    before = [getattr(filled.pixel(5, 801), method)(kind, all_versions=True) for kind, method in kinds]
    core_of(filled).pixel_rows.drop(list(range(7)))
    for (kind, method), wanted in zip(kinds, before, strict=True):
        found = getattr(filled.pixel(5, 801), method)(kind, all_versions=True)
        assert found.colnames == wanted.colnames
        for name in found.colnames:
            one, other = (t[name].isot if name.endswith("time") else t[name] for t in (found, wanted))
            same = one.dtype.kind == "f"
            assert np.array_equal(one, other, **({"equal_nan": True} if same else {})), (kind, name)


def test_ramps_of_unlike_lengths(pool: Pool) -> None:
    for name, groups in (("a", 3), ("b", 5)):
        pool.save(Raw(CARDS, {"SCI": np.full((2, groups, 6, 8), groups, "u2")}, name=name))
    table = pool.pixel(1, 1).ramps(Raw)
    assert [len(ramp) for ramp in table["ramp"]] == [3, 3, 5, 5]
    pool.save(RateInts(CARDS, {"SCI": np.zeros((2, 6, 8), "f4"), "ERR": np.ones((2, 6, 8), "f4")}, name="a"))
    pool.save(RateInts(CARDS, {"SCI": np.zeros((3, 6, 8), "f4")}, name="b"))
    rates = pool.pixel(1, 1).history()
    assert len(rates) == 5
    assert rates["err"][0] == 1


def test_pixels_of_unlike_lengths(pool: Pool) -> None:
    """Of exposures with other numbers of integrations and groups: each row has an array of its own."""
    for name, ints, groups in (("a", 2, 3), ("b", 2, 5), ("c", 1, 5)):
        pool.save(Raw(CARDS, {"SCI": np.full((ints, groups, 6, 8), groups, "u2")}, name=name))
    table = pool.pixels(Raw, "dn > 0", x=(1, 2), y=(1, 1)).to_table()
    assert [cell.shape for cell in table["dn"]] == [(2, 3)] * 2 + [(2, 5)] * 2 + [(1, 5)] * 2
    assert [int(cell.max()) for cell in table["dn"]] == [3, 3, 5, 5, 5, 5]
    assert table["dn"].unit == "DN"
    rows = json.loads(
        homes.call("pixels", pool.name, "--kind", "Raw", "--where", "dn > 0", "--x", "1:1", "--json").stdout
    )
    assert [np.shape(row["dn"]) for row in rows[:1] + rows[-1:]] == [(2, 3), (1, 5)]


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("dn[integration == 3] > 1", "names integration == 3; the versions searched have at most 2 integrations"),
        ("x == 1 and not (dn[group == 6] > 1)", "names group == 6; the versions searched have at most 5 groups"),
    ],
)
def test_integrations_that_no_version_has(pool: Pool, condition: str, words: str) -> None:
    for name, groups in (("a", 3), ("b", 5)):
        pool.save(Raw(CARDS, {"SCI": np.full((2, groups, 6, 8), groups, "u2")}, name=name))
    assert pool.pixels(Raw, "dn[integration == 2, group == 5] > 1").count() == 48  # one of the two is long enough
    assert pool.select(PixelQuery(Raw, "dn[integration == 2, group == 5] > 1")).size() == 1
    assert pool.pixels(Raw, condition, query="ngroups > 99").count() == 0
    with pytest.warns(IncompleteAnswer, match=words):
        assert pool.pixels(Raw, condition).count() in (0, 12)
    with pytest.warns(IncompleteAnswer, match=words):
        pool.select(PixelQuery(Raw, condition))
    assert words in homes.call("pixels", pool.name, "--kind", "Raw", "--where", condition, "--count").stderr


@pytest.mark.slow
def test_versions_without_a_place_are_told(filled: Pool) -> None:
    pool = filled
    pool.save(RateInts({}, {"SCI": np.ones((2, 6, 8), "f4")}, name="nowhere"))
    with pytest.warns(IncompleteAnswer, match=r"1 of 2 versions is left out.*SUBSTRT1") as told:
        assert len(pool.pixel(3, 800).history()) == 3
    assert told[0].filename == __file__
    assert "1 of 2 versions is left out" in homes.call("pixel", pool.name, "3", "800").stderr


def test_a_reason_does_not_speak_of_what_was_not_looked_at(pool: Pool) -> None:
    image = {"SCI": np.full((1, 2, 6, 8), 9, "u2")}
    pool.save(Raw(CARDS, image, name="a"), pixels=False)
    query = PixelQuery(Raw, "dn > 20000")
    with pytest.warns(IncompleteAnswer, match="1 of 1 version has no pixel rows"):
        refs = pool.select(query)
    makes = "`miripool index pixels jpl8` makes pending rows, `… SPEC` rows that were dropped or left out"
    without = f"1 newest version has no pixel rows; {makes}"
    assert refs.reason == f"nothing to search: {without}"
    pool.save(Raw(CARDS, image, name="b"))
    with pytest.warns(IncompleteAnswer, match="1 of 2 versions has no pixel rows"):
        refs = pool.select(query)
    assert refs.reason is not None
    assert refs.reason.startswith(
        "none of the 1 newest version has 1 or more pixels with dn > 20000; 1 newest version has no"
    )


@pytest.mark.slow
def test_coordinates_of_numpy(filled: Pool) -> None:
    one, last = np.int64(3), np.int32(800)
    history = filled.pixel(one, last).history()
    assert np.array_equal(history["rate"], filled.pixel(3, 800).history()["rate"], equal_nan=True)
    box = {"x": (np.int64(1), np.int64(4)), "y": np.array([779, 780])}
    assert filled.pixels(RateInts, **box).count() == 8
    query = PixelQuery(RateInts, at_least=np.int64(10), region=np.array([1, 72, 779, 842]))
    assert filled.select(query).size() == 1


@pytest.mark.slow
@pytest.mark.parametrize(("x", "y"), [("a", 3), (1.5, 4), (True, 2), (None, 1), (np.float64(3), 800)])
def test_coordinates_that_are_no_whole_numbers(filled: Pool, x: Any, y: Any) -> None:
    with pytest.raises(InvalidInput, match=r"x=.*is not a whole number"):
        filled.pixel(x, y)
    with pytest.raises(InvalidInput, match=r"x=.*is not a whole number"):
        filled.pixels(RateInts, x=(x, 9))


@pytest.mark.slow
@pytest.mark.parametrize("x", [41, "ab", (1, 2, 3), (72, 1), (0, 5), (1, 1033)])
def test_columns_that_are_none(filled: Pool, x: Any) -> None:
    with pytest.raises(InvalidInput, match="x="):
        filled.pixels(RateInts, x=x)


@pytest.mark.parametrize(("x", "y"), [(0, 1), (1033, 1), (1, 0), (1, 1025), (-1, -1)])
def test_pixels_that_are_not_there(pool: Pool, x: int, y: int) -> None:
    with pytest.raises(InvalidInput, match=f"there is no pixel x={x}, y={y}: columns x go from 1 to 1032"):
        pool.pixel(x, y)


@pytest.mark.slow
def test_pixels_that_nothing_covers(filled: Pool) -> None:
    words = r"none of the 1 version covers pixel x=500, y=500; they cover SUB64: columns 1 to 72, rows 779 to 842"
    with pytest.raises(InvalidInput, match=words):
        filled.pixel(500, 500).history()
    assert len(filled.pixel(500, 500).history(query="nints > 99")) == 0


# PixelQuery


@pytest.mark.slow
def test_pixel_query(filled: Pool, simulated: Path) -> None:
    bright = int((np.nan_to_num(array(simulated / "v2" / f"{NAME}_rate.fits", "SCI")) > 100).sum())
    assert bright > 3
    asked = PixelQuery(Rate, "rate > 100", at_least=bright)
    assert [ref.urn for ref in filled.select(asked)] == ["urn:jpl8:Rate:6"]
    assert filled.select(PixelQuery("Rate", "rate > 100", at_least=bright + 1)).size() == 0
    assert filled.select(PixelQuery(Rate, "rate > 100", region=(1, 1, 779, 779))).size() <= 1
    assert filled.select(PixelQuery(Rate, "rate > 100", all_versions=True)).size() == 2
    assert filled.select(PixelQuery(Rate, "rate > 100", tag="v1")).size() == 1
    assert filled.select(PixelQuery(Rate, "", where="ngroups > 100")).size() == 0
    assert filled.select(PixelQuery(Rate, "", where="ngroups == 8")).size() == 1
    earlier = filled.select(Rate, all_versions=True)
    assert filled.select(PixelQuery(Rate, "rate > 100", all_versions=True), earlier, limit=1).size() == 1
    assert pickle.loads(pickle.dumps(asked)) == asked
    assert asked.replace(tag="v1") == PixelQuery(Rate, "rate > 100", at_least=bright, tag="v1")
    assert asked != PixelQuery(Rate, "rate > 100", at_least=1)
    assert eval(repr(asked), {"PixelQuery": PixelQuery, "Rate": Rate}) == asked


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"at_least": 0}, "at_least=0"),
        ({"at_least": 1.5}, "at_least=1.5"),
        ({"region": (1, 2, 3)}, "region="),
        ({"region": (5, 1, 1, 1)}, "region="),
        ({"region": (1, 2000, 1, 1)}, "region="),
    ],
)
def test_pixel_queries_that_are_none(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        PixelQuery(Rate, "rate > 1", **options)
    with pytest.raises(QueryError, match="Product has no pixel rows"):
        PixelQuery(Product, "rate > 1")
