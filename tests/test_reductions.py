"""Reductions of datasets: one rule for NaN, whether a predicate, a method or a NumPy function asks."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from miripool import Pool, Product
from miripool.errors import InvalidInput
from miripool.model.dataset import Dataset
from miripool.model.keywords import dictionary
from miripool.model.reductions import REDUCTIONS
from miripool.query import places
from miripool.query.evaluator import evaluate
from miripool.query.parser import parse

NAN = math.nan
NUMBERS = tuple(name for name in REDUCTIONS if name not in ("any", "all"))


def make(values: Any, dtype: str = "f4") -> Dataset:
    return Dataset("SCI", np.array(values, dtype))


def by_hand(function: str, values: list[float]) -> float | bool:
    """The rule as it is written down: NaN left out; of nothing, NaN, and False for any and all."""
    numbers = [v for v in values if not math.isnan(v)]
    if function in ("any", "all"):
        return bool(numbers) and (any if function == "any" else all)(v != 0 for v in numbers)
    if not numbers:
        return NAN
    mean = sum(numbers) / len(numbers)
    ordered, middle = sorted(numbers), len(numbers) // 2
    variance = sum((v - mean) ** 2 for v in numbers) / len(numbers)
    return {
        "max": ordered[-1],
        "min": ordered[0],
        "mean": mean,
        "std": math.sqrt(variance),
        "var": variance,
        "sum": sum(numbers),
        "prod": math.prod(numbers),
        "median": (ordered[middle] + ordered[~middle]) / 2,
    }[function]


PATTERNS: list[list[list[float]]] = [
    [[1, 2, 3, 5], [0, -4, 5, 6]],
    [[1, NAN, 3, 5], [0, NAN, 5, NAN]],
    [[NAN, NAN, NAN, NAN], [0, 0, 0, NAN]],
    [[NAN, NAN, NAN, NAN], [NAN, NAN, NAN, NAN]],
]


@pytest.mark.parametrize("values", PATTERNS)
@pytest.mark.parametrize("function", REDUCTIONS)
def test_methods_and_numpy_functions_follow_one_rule(function: str, values: list[list[float]]) -> None:
    d = make(values)
    wanted = pytest.approx(by_hand(function, [v for row in values for v in row]), nan_ok=True)
    assert getattr(d, function)() == wanted
    assert getattr(np, function)(d) == wanted
    along = [by_hand(function, list(column)) for column in zip(*values, strict=True)]
    for found in (getattr(d, function)(axis=0), getattr(d, function)(0), getattr(np, function)(d, axis=0)):
        assert found.tolist() == pytest.approx(along, nan_ok=True)
    assert getattr(np, function)(d, keepdims=True).shape == (1, 1)


@pytest.mark.parametrize("function", NUMBERS)
@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0)])
def test_nothing_reduces_to_nan(function: str, shape: tuple[int, ...]) -> None:
    d = Dataset("SCI", np.zeros(shape, "f4"))
    assert math.isnan(getattr(d, function)())
    assert math.isnan(getattr(np, function)(d))
    assert np.isnan(getattr(d, function)(axis=0)).all()


def test_of_nothing_neither_any_nor_all_is_true() -> None:
    for d in (make([NAN, NAN]), make([])):
        assert (d.any(), d.all(), np.any(d), np.all(d)) == (False,) * 4


def test_what_is_read_is_an_array_with_numpys_rules() -> None:
    d = make([1, NAN, 3])
    assert type(d[...]) is np.ndarray
    assert math.isnan(np.max(d[...]))
    assert math.isnan((d * 2).sum())
    assert np.nanmax(d[...]) == 3


@pytest.mark.parametrize(
    ("function", "options", "wanted"),
    [
        (np.nanmax, {}, 3),
        (np.nansum, {}, 4),
        (np.nanmedian, {}, 2),
        (np.amax, {}, 3),
        (np.percentile, {"q": 50}, 2),
        (np.quantile, {"q": 1.0}, 3),
        (np.ptp, {}, 2),
        (np.argmax, {}, 2),
        (np.argmin, {}, 0),
        (np.average, {}, 2),
        (np.average, {"weights": [3, 1, 1]}, 1.5),
        (np.count_nonzero, {}, 2),
        (np.std, {"ddof": 1}, math.sqrt(2)),
        (np.size, {}, 3),
        (np.shape, {}, (3,)),
        (np.ndim, {}, 1),
    ],
)
def test_other_functions_of_numpy_leave_nan_out_too(function: Callable[..., Any], options: Any, wanted: Any) -> None:
    assert function(make([1, NAN, 3]), **options) == pytest.approx(wanted)


def test_functions_that_reduce_nothing_get_arrays() -> None:
    d = make([1, NAN, 3])
    assert np.concatenate([d, d]).shape == (6,)
    assert np.nan_to_num(d).tolist() == [1, 0, 3]
    assert np.where(np.isnan(d), -1, d).tolist() == [1, -1, 3]
    assert np.array_equal(d, np.array([1, NAN, 3]), equal_nan=True)
    for change in (lambda: np.copyto(d, 0), lambda: np.max(np.ones(3), out=d), lambda: np.put(d, 0, 1)):
        with pytest.raises(TypeError, match="can't be changed in place"):
            change()
    assert d[0] == 1


def test_results_can_go_into_arrays() -> None:
    out = np.zeros(2)
    assert np.max(make([[1, NAN], [NAN, NAN]]), axis=1, out=out) is out
    assert out.tolist() == pytest.approx([1, NAN], nan_ok=True)


def test_sums_are_taken_in_double_precision_and_of_integers_exactly() -> None:
    assert make([2**24, 1, 1]).sum() == 2**24 + 2
    assert make([2**24, 1, 1]).sum(axis=0) == 2**24 + 2
    assert make([2**62, 1], "i8").sum() == 2**62 + 1


def test_tables_and_texts_have_no_reductions() -> None:
    table = Dataset("GROUP", np.array([(1, 2.0)], [("a", "i4"), ("b", "f4")]))
    for ask in (table.sum, table.median, lambda: np.median(table), lambda: table.max(axis=0)):
        with pytest.raises(InvalidInput, match="GROUP is a table and has no"):
            ask()
    with pytest.raises(InvalidInput, match="holds no numbers"):
        Dataset("NAMES", np.array([b"a"])).sum()


def test_what_text_can_say_a_dataset_can_do_and_the_other_way_round() -> None:
    d = make([[1, NAN, 3]])
    for word in places.REDUCTIONS:
        assert callable(getattr(Dataset, word))
        assert word in places.FUNCTIONS
        asked = f"p.data.{word}()" if word in ("any", "all") else f"p.data.{word}() >= 0"
        assert evaluate(parse(asked, names=dictionary()), _product(d[...]))
    assert set(places.REDUCTIONS) == set(REDUCTIONS)
    assert (d.n_nan, d.n_flagged, d.size, d.ndim, d.shape[1], len(d)) == (1, None, 3, 2, 3, 1)
    assert Dataset("DQ", np.array([0, 1, 4], "u4")).n_flagged == 2


def _product(array: NDArray[Any]) -> Product:
    return Product({}, {"SCI": array}, name="made")


# In a pool

_names = itertools.count()
OPERATORS = {">": float.__gt__, "<": float.__lt__, ">=": float.__ge__, "==": float.__eq__}
QUARTERS = st.sampled_from([NAN, NAN, 0.0, 0.25, -1.5, 2.0, 1024.0])
"""Few, so that much is equal, or NaN; sums of them are exact."""


@st.composite
def questions(draw: st.DrawFn) -> tuple[str, str, float]:
    limits = [NAN, -1.5, 0.0, 0.1, 0.25, 2.0, 500.0]
    return draw(st.sampled_from(REDUCTIONS)), draw(st.sampled_from(list(OPERATORS))), draw(st.sampled_from(limits[1:]))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Pool]:
    import homes

    with (
        homes.empty_home(tmp_path_factory.mktemp("reductions") / "home", database_url, "reductions") as home,
        home.create("jpl8") as made,
    ):
        yield made


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    arrays=st.lists(
        hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=4), elements=QUARTERS), min_size=1, max_size=4
    ),
    asked=st.lists(questions(), min_size=1, max_size=6),
)
def test_text_lambda_and_a_loop_agree(
    shared: Pool, arrays: list[NDArray[Any]], asked: list[tuple[str, str, float]]
) -> None:
    run = next(_names)
    for i, array in enumerate(arrays):
        shared.save(Product({"RUN": run}, {"SCI": array}, name=f"run {run} {i}"), pixels=False)
    mine = shared.select(f"RUN == {run}")
    assert len(mine) == len(arrays)
    for function, op, limit in asked:
        apply = getattr(np, function)
        text = f"p.data.{function}()" if function in ("any", "all") else f"p.data.{function}() {op} {limit}"
        compared = OPERATORS[op]

        def loop(array: NDArray[Any], function: str = function, limit: float = limit, compared: Any = compared) -> bool:
            found = by_hand(function, array.ravel().tolist())
            return found if isinstance(found, bool) else compared(float(found), limit)

        def method(p: Any, function: str = function, limit: float = limit, compared: Any = compared) -> bool:
            found = getattr(p.data, function)()
            return bool(found) if function in ("any", "all") else compared(float(found), limit)

        def numpys(p: Any, apply: Any = apply, limit: float = limit, compared: Any = compared) -> bool:
            found = apply(p["SCI"])
            return bool(found) if apply in (np.any, np.all) else compared(float(found), limit)

        exact = [float(by_hand(function, array.ravel().tolist())) for array in arrays]
        if any(0 < abs(value - limit) < 1e-9 for value in exact):
            continue  # the last digit decides
        wanted = {f"run {run} {i}" for i, array in enumerate(arrays) if loop(array)}
        for question in (text, method, numpys):
            assert {ref.name for ref in shared.select(question, mine)} == wanted, (function, op, limit, question)


def test_nan_gives_no_warning_in_a_lambda(pool: Pool) -> None:
    pool.save(Product({}, {"SCI": np.full((3, 3), np.nan, "f4")}, name="nothing"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for function in REDUCTIONS:
            assert not pool.select(lambda p, f=function: getattr(np, f)(p.data) > 0)
            assert not pool.select(f"p.data.{function}()" if function in ("any", "all") else f"p.data.{function}() > 0")
