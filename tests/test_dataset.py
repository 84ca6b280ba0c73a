"""Datasets: what is read, when, and how it compares with the same NumPy array."""

from __future__ import annotations

import copy
import math
import warnings
from typing import Any

import numpy as np
import pytest
from astropy import units
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from miripool.errors import InvalidInput
from miripool.model.dataset import Dataset, Scale
from miripool.model.statistics import Accumulator, Statistics

TINY = 1e-150
"""The squares of smaller numbers are zero in float64."""

EXAMPLES = settings(deadline=None, max_examples=100)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, max_side=5)


class CountingSource:
    """An array that tells which parts of it were read."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array
        self.read: list[Any] = []

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._array.dtype

    def __getitem__(self, key: Any) -> Any:
        self.read.append(key)
        return np.array(self._array[key])


@pytest.fixture
def source() -> CountingSource:
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    array[0, 0, 0] = np.nan
    return CountingSource(array)


KNOWN = Statistics(1.0, 23.0, 12.0, 6.6, 24, 1)


def test_describing_reads_nothing(source: CountingSource) -> None:
    d = Dataset("SCI", source, unit="DN", statistics=KNOWN, scale=Scale(2.0, 1.0))
    assert (d.shape, d.ndim, d.size, d.nbytes, len(d)) == ((2, 3, 4), 3, 24, 96, 2)
    assert d.dtype == np.float32
    assert not d.is_flags
    assert repr(d) == "<Dataset SCI float32 (2, 3, 4), DN>"
    assert (d.max(), d.min(), d.mean(), d.std()) == (23.0, 1.0, 12.0, 6.6)
    assert d.statistics is KNOWN
    with pytest.raises(AttributeError, match="SCI has no attribute 'colour'"):
        d.colour  # noqa: B018
    assert source.read == []


def test_an_index_reads_that_part_alone(source: CountingSource) -> None:
    d = Dataset("SCI", source)
    assert d[1, :, 2].tolist() == [14.0, 18.0, 22.0]
    assert source.read == [(1, slice(None), 2)]


def test_statistics_are_taken_once(source: CountingSource) -> None:
    d = Dataset("SCI", source)
    assert d.max() == 23.0
    assert source.read == [0, 1]
    assert d.mean() == pytest.approx(np.nanmean(source._array, dtype=np.float64))
    assert source.read == [0, 1]


def test_statistics_of_physical_values() -> None:
    d = Dataset("SCI", np.array([[1, 2], [-1, 4]], np.int16), scale=Scale(10.0, 0.5, blank=-1))
    assert d.statistics == Statistics(
        10.5, 40.5, pytest.approx(23.8333, abs=1e-3), pytest.approx(12.47, abs=1e-2), 4, 1
    )


@EXAMPLES
@given(hnp.arrays(hnp.integer_dtypes(endianness="=") | hnp.floating_dtypes(endianness="=", sizes=(32, 64)), SHAPES))
def test_reductions_agree_with_numpy(array: NDArray[Any]) -> None:
    array = np.clip(array, -1e15, 1e15) if array.dtype.kind == "f" else array
    d = Dataset("SCI", array)
    largest = float(np.nan_to_num(abs(array.astype(np.longdouble))).max())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's, of arrays without numbers
        for name in ("min", "max", "mean", "std"):
            wanted = float(getattr(np, f"nan{name}")(array.astype(np.longdouble)))
            assert getattr(d, name)() == pytest.approx(wanted, rel=1e-10, abs=1e-14 * largest + TINY, nan_ok=True)


def test_an_axis_reads_the_array_and_ignores_nan(source: CountingSource) -> None:
    d = Dataset("SCI", source, statistics=KNOWN)
    array = source._array
    assert np.array_equal(d.max(axis=0), np.nanmax(array, axis=0))
    assert np.array_equal(d.min(0), np.nanmin(array, axis=0))
    assert d.max(keepdims=True).shape == (1, 1, 1)
    assert np.array_equal(d.max(axis=(1, 2)), [11.0, 23.0])
    assert source.read


def test_means_along_an_axis_are_float64() -> None:
    array = np.full((4, 3), 16777216.0, np.float32)
    array[1] = 16777218.0
    d = Dataset("SCI", array)
    assert d.mean(axis=0).dtype == np.float64
    assert d.std(axis=0).dtype == np.float64
    assert np.array_equal(d.mean(axis=0), np.full(3, 16777216.5))
    assert d.mean(axis=0, dtype=np.float32).dtype == np.float32


def test_no_number_gives_nan() -> None:
    d = Dataset("SCI", np.full((2, 2), np.nan))
    assert math.isnan(d.max())
    assert math.isnan(d.std())


def test_what_is_no_number_has_no_maximum() -> None:
    rows = Dataset("TAB", np.zeros(2, [("a", "f4")]))
    assert rows.statistics is None
    with pytest.raises(InvalidInput, match="TAB is a table and has no max"):
        rows.max()
    text = Dataset("TEXT", np.array([b"a", b"b"]))
    with pytest.raises(InvalidInput, match="TEXT holds no numbers and has no mean"):
        text.mean()


@pytest.mark.parametrize(
    ("name", "dtype", "flags"),
    [("DQ", "u4", True), ("GROUPDQ", "u1", True), ("PIXELDQ,2", "i4", True), ("DQ", "f4", False), ("SCI", "u2", False)],
)
def test_flags_are_known_by_name_and_type(name: str, dtype: str, flags: bool) -> None:
    d = Dataset(name, np.array([[0, 3], [4, 0]], dtype))
    assert d.is_flags is flags
    assert d.statistics is not None
    assert d.statistics.n_flagged == (2 if flags else None)


# As an array


def test_arithmetic_and_comparison_give_arrays(source: CountingSource) -> None:
    d = Dataset("SCI", source)
    array = source._array
    for found, wanted in (
        (d + 1, array + 1),
        (1 - d, 1 - array),
        (d * d, array * array),
        (-d, -array),
        (d > 5, array > 5),
        (np.sqrt(d), np.sqrt(array)),
        (np.add.reduce(d, axis=1), np.add.reduce(array, axis=1)),
        (np.where(d > 5, d, 0), np.where(array > 5, array, 0)),
    ):
        assert type(found) is np.ndarray
        assert found.dtype == wanted.dtype
        assert np.array_equal(found, wanted, equal_nan=found.dtype.kind == "f")


def test_a_ufunc_may_write_into_an_array_but_not_into_a_dataset(source: CountingSource) -> None:
    d = Dataset("SCI", source)
    out = np.empty(d.shape, d.dtype)
    assert np.multiply(d, 2, out=out) is out
    assert out[1, 2, 3] == 46
    with pytest.raises(TypeError, match="dataset SCI can't be changed"):
        d += 1
    with pytest.raises(TypeError, match="dataset SCI can't be changed"):
        np.add(out, 1, out=d)  # type: ignore[call-overload]


def test_other_array_methods_work_on_the_whole(source: CountingSource) -> None:
    d = Dataset("SCI", source)
    assert d.ravel().shape == (24,)
    assert (d > 20).sum() == 3
    assert d.T.shape == (4, 3, 2)
    assert d[1].any()


def test_asarray_and_its_copies() -> None:
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    d = Dataset("SCI", array)
    assert np.array_equal(np.asarray(d), array)
    assert np.asarray(d, dtype=np.float64).dtype == np.float64
    independent = np.array(d)
    independent[:] = 0
    assert array.any()
    assert np.array(d, dtype=np.int16, copy=True) is not array
    assert not np.shares_memory(np.array(d, dtype=np.int16, copy=True), array)
    assert np.shares_memory(np.asarray(d, copy=False), array)
    with pytest.raises(ValueError, match="copy"):
        np.asarray(d, dtype=np.float64, copy=False)


def test_reading_into_memory_that_is_there() -> None:
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    out = np.zeros((2, 3), np.float32)
    assert Dataset("SCI", CountingSource(array), scale=Scale(2.0, 1.0)).read_into(out) is out
    assert np.array_equal(out, 2 * array + 1)
    out.flags.writeable = False
    with pytest.raises(InvalidInput, match="not into a read-only one"):
        Dataset("SCI", out).read_into(out)
    with pytest.raises(InvalidInput, match="not into a list"):
        Dataset("SCI", array).read_into([1, 2])  # type: ignore[arg-type]
    for other in (np.zeros((3, 2), np.int16), np.zeros((2, 3), ">i2"), np.zeros((2, 3))):
        with pytest.raises(InvalidInput, match=r"a writable array of int16 \(2, 3\)"):
            Dataset("SCI", array).read_into(other)


def test_memory_with_rules_of_its_own_is_read_into() -> None:
    array = np.arange(6.0).reshape(2, 3)
    masked = np.ma.MaskedArray(np.zeros((2, 3)), mask=True, hard_mask=True)
    for out in (np.zeros((2, 3)).view(np.matrix), masked, np.zeros((2, 3)) * units.s):
        for source in (array, CountingSource(array)):
            assert Dataset("SCI", source).read_into(out) is out
            assert np.array_equal(np.asarray(out), array)


def test_a_single_value_has_no_length() -> None:
    d = Dataset("T", np.array(4.5))
    assert d.shape == ()
    assert d[...] == 4.5
    assert d.max() == 4.5
    with pytest.raises(TypeError, match="T is a single value"):
        len(d)
    with pytest.raises(TypeError):
        iter(d)


def test_iteration_reads_step_by_step_and_one_axis_at_once(source: CountingSource) -> None:
    frames = list(Dataset("SCI", source))
    assert [f.shape for f in frames] == [(3, 4), (3, 4)]
    assert source.read == [0, 1]
    line = CountingSource(np.arange(1000))
    assert list(Dataset("T", line)) == list(range(1000))
    assert len(line.read) == 1


def test_copies_of_the_object_work(source: CountingSource) -> None:
    d = copy.copy(Dataset("SCI", source, statistics=KNOWN))
    assert d.max() == 23.0
    assert copy.deepcopy(d).name == "SCI"


# Scales


@pytest.mark.parametrize(
    ("stored", "physical"),
    [("u1", "f4"), ("i2", "f4"), ("u2", "f4"), ("i4", "f8"), ("i8", "f8"), ("f4", "f4"), ("f8", "f8")],
)
def test_physical_types(stored: str, physical: str) -> None:
    scale = Scale(0.5, 3.0)
    array = np.array([[0, 1], [2, 100]], stored)
    d = Dataset("SCI", array, scale=scale)
    assert d.dtype == np.dtype(physical)
    assert d[...].dtype == np.dtype(physical)
    assert d[...].tolist() == [[3.0, 3.5], [4.0, 53.0]]
    assert array.dtype == np.dtype(stored)
    assert array[1, 1] == 100


@EXAMPLES
@given(
    hnp.arrays(np.int32, SHAPES, elements=st.integers(-1000, 1000)),
    st.floats(-1e6, 1e6),
    st.floats(-1e6, 1e6),
    st.none() | st.integers(-5, 5),
)
def test_scale_is_the_standard_s_formula(stored: NDArray[Any], bscale: float, bzero: float, blank: int | None) -> None:
    found = Scale(bscale, bzero, blank).apply(stored)
    wanted = bzero + bscale * stored.astype(np.float64)
    missing = stored == blank if blank is not None else np.zeros(stored.shape, bool)
    assert found.shape == stored.shape
    assert np.isnan(found[missing]).all()
    assert np.array_equal(found[~missing], wanted[~missing])


def test_blank_of_a_value_that_the_type_can_not_hold_is_no_value() -> None:
    found = Scale(blank=-32768).apply(np.array([0, 255], np.uint8))
    assert found.tolist() == [0.0, 255.0]


def test_blank_in_a_single_element() -> None:
    d = Dataset("SCI", np.array([-1, 5], np.int16), scale=Scale(2.0, blank=-1))
    assert math.isnan(d[0])
    assert d[1] == 10.0
    assert isinstance(d[1], np.float32)


def test_statistics_of_an_array_in_blocks_are_those_of_the_whole() -> None:
    array = np.random.default_rng(0).normal(size=(5, 6, 7))
    one = Accumulator()
    one.add(array)
    found = Dataset("SCI", array).statistics
    assert found is not None
    assert found.mean == pytest.approx(one.result().mean)
    assert found.std == pytest.approx(one.result().std)
