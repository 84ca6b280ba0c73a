"""Statistics against NumPy's, in any cut and any order."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from miripool.model.canonical import canonical_json
from miripool.model.statistics import _BLOCK, Accumulator, Statistics, agree

TINY = 1e-150
"""The squares of smaller numbers are zero in float64."""
SMALLEST = 5e-324
"""Of float64; half of it, a mean, is rounded to it or to 0."""

EXAMPLES = settings(deadline=None, max_examples=150)

INTEGERS = hnp.integer_dtypes(endianness="=") | hnp.unsigned_integer_dtypes(endianness="=") | hnp.boolean_dtypes()
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=7)


def float_arrays(*, infinities: bool = False) -> st.SearchStrategy[NDArray[Any]]:
    """Arrays with NaN in them, and with offsets that are large against the scatter."""

    def of_dtype(dtype: np.dtype[Any]) -> st.SearchStrategy[NDArray[Any]]:
        limit = {2: 6e4, 4: 1e30, 8: 1e100}[dtype.itemsize]
        limit = float(dtype.type(limit))
        width = dtype.itemsize * 8
        numbers = st.floats(-limit, limit, width=width) | st.integers(-9, 9).map(lambda n: float(dtype.type(1000 + n)))  # type: ignore[arg-type]
        odd = [math.nan, math.inf, -math.inf] if infinities else [math.nan]
        return hnp.arrays(dtype, SHAPES, elements=numbers | st.sampled_from(odd), fill=st.nothing())

    return hnp.floating_dtypes(endianness="=", sizes=(16, 32, 64)).flatmap(of_dtype)


def summarise(array: NDArray[Any], *, flags: bool = False) -> Statistics:
    accumulator = Accumulator(flags=flags)
    accumulator.add(array)
    return accumulator.result()


def assert_agrees(found: Statistics, array: NDArray[Any]) -> None:
    """Hold statistics against a computation in long doubles."""
    nan = np.isnan(array) if array.dtype.kind == "f" else np.zeros(array.shape, bool)
    numbers = array[~nan].astype(np.longdouble)
    assert found.n == array.size
    assert found.n_nan == int(nan.sum())
    if numbers.size == 0:
        assert (found.min, found.max, found.mean, found.std) == (None, None, None, None)
        return
    assert found.min == float(np.nanmin(array))
    assert found.max == float(np.nanmax(array))
    largest = float(abs(numbers).max())
    assert found.mean == pytest.approx(float(numbers.mean()), rel=1e-13, abs=1e-14 * largest + SMALLEST)
    assert found.std == pytest.approx(float(numbers.std()), rel=1e-10, abs=1e-14 * largest + TINY)


@pytest.mark.slow
@EXAMPLES
@given(float_arrays())
def test_floats_agree_with_numpy(array: NDArray[Any]) -> None:
    assert_agrees(summarise(array), array)


@EXAMPLES
@given(hnp.arrays(INTEGERS, SHAPES))
def test_integers_agree_with_numpy(array: NDArray[Any]) -> None:
    assert_agrees(summarise(array), array)


@EXAMPLES
@given(hnp.arrays(INTEGERS, SHAPES))
def test_flagged_elements_are_counted(array: NDArray[Any]) -> None:
    assert summarise(array, flags=True).n_flagged == np.count_nonzero(array)
    assert summarise(array).n_flagged is None


@pytest.mark.slow
@EXAMPLES
@given(float_arrays(infinities=True))
def test_infinities(array: NDArray[Any]) -> None:
    found = summarise(array)
    numbers = array[~np.isnan(array)].astype(np.float64)
    infinite = set(numbers[np.isinf(numbers)].tolist())
    if not infinite:
        assert_agrees(found, array)
        return
    assert (found.min, found.max) == (numbers.min(), numbers.max())
    assert found.mean == (None if len(infinite) == 2 else infinite.pop())
    assert found.std is None
    assert found.n_nan == np.isnan(array).sum()


@pytest.mark.slow
@EXAMPLES
@given(st.lists(float_arrays(), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_blocks_and_accumulators_merge_in_any_order(arrays: list[NDArray[Any]], random: Any) -> None:
    whole = np.concatenate([a.reshape(-1).astype(np.float64) for a in arrays])
    shuffled = list(arrays)
    random.shuffle(shuffled)
    one = Accumulator()
    for array in shuffled:
        one.add(array)
    assert_agrees(one.result(), whole)
    total = Accumulator()
    for array in shuffled:
        part = Accumulator()
        part.add(array)
        before = part.result()
        total.merge(part)
        assert part.result() == before
    assert_agrees(total.result(), whole)


def test_no_digits_are_lost_at_a_large_mean() -> None:
    rng = np.random.default_rng(1)
    scatter = rng.normal(0, 1, 3 * _BLOCK + 17)
    found = summarise(1e9 + scatter)
    assert found.std == pytest.approx(
        float((1e9 + scatter).astype(np.longdouble).std()), rel=1e-8
    )  # naive sums of squares have no digit right
    single = (1e6 + scatter).astype(np.float32)
    assert summarise(single).mean == pytest.approx(float(single.astype(np.longdouble).mean()), rel=1e-14)


@pytest.mark.parametrize("mean", [0, 1, 30, 63, 65, 200, 1e4, 1e6])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i4"])
def test_few_digits_are_lost_at_any_mean(mean: float, dtype: str) -> None:
    numbers = np.random.default_rng(int(mean)).normal(mean * 1000, 1000, _BLOCK + 777).astype(dtype)
    found = summarise(numbers)
    precise = numbers.astype(np.longdouble)
    assert found.mean == pytest.approx(float(precise.mean()), rel=1e-14, abs=1e-11)
    assert found.std == pytest.approx(float(precise.std()), rel=2e-12)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "u2", "i1"])
def test_few_digits_are_lost_where_means_jump(dtype: str) -> None:
    rng = np.random.default_rng(3)
    means = (0, 100) if dtype == "i1" else (20_000, 20_050, 300, 60_000)
    parts = [rng.normal(mean, 5, _BLOCK) for mean in means]
    numbers = np.concatenate(parts).astype(dtype)
    found = summarise(numbers)
    precise = numbers.astype(np.longdouble)
    assert found.mean == pytest.approx(float(precise.mean()), rel=1e-14)
    assert found.std == pytest.approx(float(precise.std()), rel=2e-12)


def test_sums_of_bytes_are_exact() -> None:
    numbers = np.full(_BLOCK + 300, 255, np.uint8)
    numbers[::7] = 254
    found, exact = summarise(numbers), [int(n) for n in numbers[:7]]
    assert found.mean == pytest.approx(float(numbers.astype(np.longdouble).mean()), rel=1e-15)
    assert (found.min, found.max) == (min(exact), max(exact))
    assert found.std == pytest.approx(float(numbers.astype(np.longdouble).std()), rel=1e-14)


@pytest.mark.parametrize("value", [0, 1, -7, 65535, 1e30, 0.1])
def test_a_constant_is_its_own_mean(value: float) -> None:
    assert summarise(np.full(_BLOCK + 9, value)) == Statistics(value, value, value, 0.0, _BLOCK + 9, 0)


def test_scatter_far_below_the_mean() -> None:
    scatter = np.random.default_rng(1).integers(-3, 4, _BLOCK - 7).astype(float)
    assert summarise(1e15 + scatter).std == pytest.approx(scatter.std(), rel=1e-6)


def test_longer_than_a_block_with_nan_in_some() -> None:
    array = np.arange(2.5 * _BLOCK, dtype=np.float32)
    array[_BLOCK + 3 : _BLOCK + 9] = np.nan
    assert_agrees(summarise(array), array)
    array[:_BLOCK] = np.nan
    assert_agrees(summarise(array), array)


def test_a_view_that_is_not_contiguous() -> None:
    array = np.arange(60.0).reshape(3, 4, 5)
    assert_agrees(summarise(array[::2, :, ::-2]), array[::2, :, ::-2])


@pytest.mark.parametrize(
    "values",
    [[1.7e308] * 3, [1.7e308, 1.7e308, -1.7e308], [-1.7e308, 1.7e308], [1e300, 1e300, 1e300], [1e200, -1e200, 3.0]],
)
def test_numbers_near_the_end_of_float64_give_a_mean(values: list[float]) -> None:
    exact = float(np.array(values, np.longdouble).mean())
    whole, merged = summarise(np.array(values)), Accumulator()
    for value in values:
        merged.add(np.array([value]))
    for found in (whole, merged.result()):
        assert found.mean == pytest.approx(exact, rel=1e-12, abs=1e294)
        assert found.std is None or math.isfinite(found.std)
        assert Statistics.from_json(json.loads(canonical_json(found.to_json()))) == found


@pytest.mark.slow
@EXAMPLES
@given(float_arrays(infinities=True), st.booleans())
def test_json_round_trip(array: NDArray[Any], flags: bool) -> None:
    found = summarise(array, flags=flags)
    text = canonical_json(found.to_json())
    assert Statistics.from_json(json.loads(text)) == found


def test_nothing_added() -> None:
    assert Accumulator().result() == Statistics(None, None, None, None, 0, 0, None)
    assert Accumulator(flags=True).result().n_flagged == 0
    empty = Accumulator()
    empty.merge(Accumulator())
    assert empty.result().n == 0


@pytest.mark.parametrize("offset", [0.0, 1e6, -3.0])
def test_statistics_taken_in_other_steps_agree(offset: float) -> None:
    array = np.random.default_rng(2).normal(offset, 3, 100_001).astype(np.float32)
    pieces = Accumulator()
    for start in range(0, array.size, 777):
        pieces.add(array[start : start + 777])
    one, other = summarise(array), pieces.result()
    assert (one.mean, one.std) != (other.mean, other.std)
    assert agree(one, other)


@pytest.mark.parametrize(
    "change", [{"mean": 2.1}, {"std": 0.9}, {"min": 0.5}, {"n": 5}, {"n_nan": 1}, {"mean": math.inf}]
)
def test_statistics_of_other_arrays_do_not_agree(change: dict[str, Any]) -> None:
    one = Statistics(1.0, 3.0, 2.0, 1.0, 4, 0)
    other = replace(one, **change)
    assert not agree(one, other)
    assert not agree(other, one)
    assert not agree(one, None)
    assert not agree(None, one)
    assert not agree(one, replace(one, std=None))
    assert agree(None, None)


def test_infinite_means_agree_where_they_are_the_same() -> None:
    one = summarise(np.array([1.0, np.inf]))
    assert agree(one, replace(one))
    assert not agree(one, replace(one, mean=-math.inf))


@pytest.mark.parametrize("size", [1e303, 1e305, 1e307, 8e307])
@pytest.mark.parametrize("signs", [(0, 0, 0, 1), (1, 1, 0, 0), (0, 1, 0, -1), (-1, 1, -1, 1), (0, -1, -1, 0)])
def test_means_of_numbers_near_the_end_of_float64_are_finite(size: float, signs: tuple[int, ...]) -> None:
    array = np.repeat(np.array(signs, float) * size, _BLOCK)
    found = summarise(array)
    assert found.mean == pytest.approx(size * float(np.mean(signs)), rel=1e-12, abs=1e-12 * size)
    assert (found.min, found.max) == (min(signs) * size, max(signs) * size)
    canonical_json(found.to_json())


def test_random_bits_have_statistics_that_json_holds() -> None:
    bits = np.random.default_rng(0).integers(0, 256, 3 * 8 * _BLOCK, np.uint8).view("f8")
    found = summarise(bits)
    assert found.mean is not None
    assert math.isfinite(found.mean)
    canonical_json(found.to_json())
