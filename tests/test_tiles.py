"""Tiles: every element in exactly one, whole ramps in each, and indexing as NumPy has it."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from miripool.model import tiles as module
from miripool.model.tiles import Tile, bands, basic_index, grid, put_tiles, slabs, tile_at, tile_shape, tiles_at

EXAMPLES = settings(deadline=None, max_examples=200)

SMALL = hnp.array_shapes(min_dims=1, max_dims=4, max_side=9)
ITEMS = st.sampled_from([1, 2, 4, 8, 9, 40, 700_000])
LENGTHS = st.integers(1, 3000) | st.sampled_from([1024, 1032, 258, 100_000, 10_000_000])

AIM = module._TILE_BYTES


@st.composite
def shape_and_chunks(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    shape = draw(SMALL)
    return shape, tuple(draw(st.integers(1, n)) for n in shape)


def counting(shape: tuple[int, ...]) -> NDArray[np.int64]:
    return np.arange(math.prod(shape)).reshape(shape)


# The shape of tiles


@pytest.mark.slow
@EXAMPLES
@given(st.lists(LENGTHS, max_size=5).map(tuple), ITEMS)
def test_tiles_have_a_sensible_size(shape: tuple[int, ...], itemsize: int) -> None:
    chunks = tile_shape(shape, itemsize)
    assert len(chunks) == len(shape)
    assert all(1 <= c <= n for c, n in zip(chunks, shape, strict=True))
    assert math.prod(chunks) * itemsize <= max(AIM, itemsize)


@EXAMPLES
@given(
    st.integers(1, 5), st.integers(1, 400), st.integers(1, 1024), st.integers(1, 1032), st.sampled_from([1, 2, 4, 8])
)
def test_a_tile_holds_whole_ramps_of_one_integration(nints: int, ngroups: int, ny: int, nx: int, itemsize: int) -> None:
    chunks = tile_shape((nints, ngroups, ny, nx), itemsize)
    assert chunks[:2] == (1, ngroups)
    assert chunks[1] * chunks[2] * chunks[3] * itemsize <= AIM


@pytest.mark.parametrize(
    ("shape", "itemsize", "chunks"),
    [
        ((5, 20, 1024, 1032), 2, (1, 20, 38, 172)),
        ((5, 20, 1024, 1032), 4, (1, 20, 25, 129)),
        ((5, 1024, 1032), 4, (5, 38, 344)),
        ((1024, 1032), 4, (114, 516)),
        ((3, 8, 64, 72), 4, (1, 8, 64, 72)),
        ((10_000_000,), 1, (256_411,)),
    ],
)
def test_tiles_of_exposures(shape: tuple[int, ...], itemsize: int, chunks: tuple[int, ...]) -> None:
    assert tile_shape(shape, itemsize) == chunks


def test_very_long_ramps_are_cut_rather_than_their_pixels_spread_thin() -> None:
    assert tile_shape((1, 100_000, 64, 72), 4)[1] < 100_000


@EXAMPLES
@given(st.lists(st.integers(1, 2000), min_size=1, max_size=4).map(tuple), st.sampled_from([1, 4, 8]))
def test_tiles_fill_the_array_evenly(shape: tuple[int, ...], itemsize: int) -> None:
    chunks = tile_shape(shape, itemsize)
    for n, c, count in zip(shape, chunks, grid(shape, chunks), strict=True):
        assert (count - 1) * c < n <= count * c
        assert c == math.ceil(n / count)


# Covering


@EXAMPLES
@given(shape_and_chunks())
def test_tiles_cover_each_element_once_and_are_numbered_in_order(case: tuple[Any, Any]) -> None:
    shape, chunks = case
    covered = np.zeros(shape, int)
    steps = grid(shape, chunks)
    for number, index in enumerate(itertools.product(*map(range, steps))):
        tile = tile_at(index, shape, chunks)
        assert tile.number == number
        assert tile.start == tuple(s.start for s in tile.inside)
        covered[tile.inside] += 1
    assert (covered == 1).all()


@EXAMPLES
@given(shape_and_chunks(), st.data(), st.sampled_from([1, 16, 1000]))
def test_tiles_of_a_part_of_the_grid(case: tuple[Any, Any], data: st.DataObject, worth: int) -> None:
    shape, chunks = case
    ends = [sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n)))) for n in grid(shape, chunks)]
    ranges = [range(*pair) for pair in ends]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_WORTH_ALL", worth)
        found = list(tiles_at(ranges, shape, chunks))
    assert found == [tile_at(index, shape, chunks) for index in itertools.product(*ranges)]


@EXAMPLES
@given(shape_and_chunks(), st.sampled_from([1, 8, 64, 200, 1 << 23]), st.sampled_from([1, 64, 500, 1 << 28]))
def test_bands_are_all_elements_in_order(case: tuple[Any, Any], size: int, largest: int) -> None:
    shape, chunks = case
    array = counting(shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BAND_BYTES", size)
        patch.setattr(module, "LARGEST_BAND", largest)
        boxes = [tuple(slice(s, s + n) for s, n in zip(*band, strict=True)) for band in bands(shape, chunks, 8)]
    assert [i for box in boxes for i in array[box].ravel()] == list(range(array.size))
    for box in boxes:
        assert array[box].nbytes <= max(largest, 8 * math.prod(shape[1:]))
        if largest >= array.nbytes:  # then they are whole tiles
            assert all(
                s.start % c == 0 and (s.stop % c == 0 or s.stop == n)
                for s, c, n in zip(box, chunks, shape, strict=True)
            )


@pytest.mark.parametrize(
    ("shape", "itemsize", "count"),
    [((5, 20, 1024, 1032), 4, 5), ((5, 1024, 1032), 4, 1), ((4096, 4096), 4, 8), ((), 4, 1), ((0, 3), 4, 0)],
)
def test_bands_of_arrays(shape: tuple[int, ...], itemsize: int, count: int) -> None:
    assert len(list(bands(shape, tile_shape(shape, itemsize), itemsize))) == count


class Reads:
    """An array that is not in memory."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array
        self.shape, self.dtype = array.shape, array.dtype
        self.counts = np.zeros(array.shape, int)

    def __getitem__(self, key: Any) -> Any:
        self.counts[key] += 1
        return np.array(self._array[key])


@EXAMPLES
@given(shape_and_chunks(), st.integers(1, 4000))
def test_cutting_gives_each_tile_once_and_reads_each_element_once(case: tuple[Any, Any], size: int) -> None:
    shape, chunks = case
    array = counting(shape)
    source = Reads(array)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SLAB_BYTES", size)
        found = [piece for slab in slabs(shape, chunks, 8) for piece in slab.cut(source[slab.inside])]
    assert sorted(tile.number for tile, _ in found) == list(range(math.prod(grid(shape, chunks))))
    for tile, part in found:
        assert np.array_equal(part, array[tile.inside])
    assert (source.counts == 1).all()


def test_small_integrations_are_cut_together() -> None:
    assert len(list(slabs((5, 20, 64, 72), (1, 20, 16, 72), 4))) == 1
    shape, chunks = (7, 2, 4, 8, 8), (1, 1, 4, 4, 8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SLAB_BYTES", 3 * 2 * 4 * 8 * 8 * 8)
        found = [slab.inside[0] for slab in slabs(shape, chunks, 8)]
    assert found == [slice(0, 3), slice(3, 6), slice(6, 7)]


def test_cutting_keeps_a_slab_in_memory() -> None:
    shape, chunks = (3, 4, 64, 32), (1, 4, 8, 8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SLAB_BYTES", 4 * 16 * 32 * 8)
        found = list(slabs(shape, chunks, 8))
    assert sum(len(slab.tiles) for slab in found) == 3 * 8 * 4
    assert {counting(shape)[slab.inside].nbytes for slab in found} == {4 * 16 * 32 * 8}


@pytest.mark.slow
@EXAMPLES
@given(shape_and_chunks(), st.data())
def test_boxes_are_put_together_from_tiles(case: tuple[Any, Any], data: st.DataObject) -> None:
    shape, chunks = case
    array = counting(shape)
    starts = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    box = tuple(data.draw(st.integers(1, n - s)) for n, s in zip(shape, starts, strict=True))
    wanted = array[tuple(slice(s, s + n) for s, n in zip(starts, box, strict=True))]
    target = np.full(box, -1)
    ranges = [range(s // c, (s + n - 1) // c + 1) for s, n, c in zip(starts, box, chunks, strict=True)]
    touched = [tile_at(index, shape, chunks) for index in itertools.product(*ranges)]
    if data.draw(st.booleans(), label="as they are"):
        for tile in touched:
            put_tiles(array[tile.inside][np.newaxis], [tile], target, starts)
    else:
        padded = np.full((len(touched), *chunks), -2)
        for part, tile in zip(padded, touched, strict=True):
            part[tuple(slice(s.stop - s.start) for s in tile.inside)] = array[tile.inside]
        put_tiles(padded, touched, target, starts)
    assert np.array_equal(target, wanted)


def test_a_tile_is_a_value() -> None:
    assert tile_at((1, 0), (5, 4), (3, 3)) == Tile(2, (3, 0), (slice(3, 5), slice(0, 3)))


# Indexing


@pytest.mark.slow
@EXAMPLES
@given(st.data(), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6))
def test_basic_indexing_is_numpy_s(data: st.DataObject, shape: tuple[int, ...]) -> None:
    array = counting(shape)
    key = data.draw(hnp.basic_indices(shape, allow_newaxis=False, allow_ellipsis=True))
    resolved = basic_index(key, shape)
    assert resolved is not None
    starts, box, local = resolved
    part = array[tuple(slice(s, s + n) for s, n in zip(starts, box, strict=True))]
    assert part.shape == box
    found, wanted = part[local], array[key]
    assert type(found) is type(wanted)
    assert np.shape(found) == np.shape(wanted)
    assert np.array_equal(found, wanted)


@pytest.mark.slow
@EXAMPLES
@given(st.data(), hnp.array_shapes(max_dims=3, max_side=30))
def test_the_box_is_no_larger_than_it_must_be(data: st.DataObject, shape: tuple[int, ...]) -> None:
    key = data.draw(hnp.basic_indices(shape, allow_newaxis=False, allow_ellipsis=True))
    touched = np.zeros(shape, bool)
    touched[key] = True
    resolved = basic_index(key, shape)
    assert resolved is not None
    starts, box, _ = resolved
    if touched.any():
        where = np.nonzero(touched)
        assert starts == tuple(int(w.min()) for w in where)
        assert box == tuple(int(w.max() - w.min()) + 1 for w in where)
    else:
        assert math.prod(box) == 0


@pytest.mark.parametrize(
    "key", [True, None, [0, 1], np.array([0, 1]), (0, None), (slice(None), [1]), 1.5, "SCI", (False, 0)]
)
def test_what_is_no_basic_index_is_left_to_numpy(key: Any) -> None:
    assert basic_index(key, (3, 4)) is None


@pytest.mark.parametrize("key", [3, -4, (0, 4), (0, 0, 0), (..., ...), (..., 9), np.int64(3), 10**30])
def test_errors_are_numpy_s(key: Any) -> None:
    with pytest.raises(IndexError):
        counting((3, 4))[key]
    with pytest.raises(IndexError):
        basic_index(key, (3, 4))


@pytest.mark.parametrize("key", [slice(None, None, 0), slice(1.5, None), slice("a", None)])
def test_errors_of_slices_are_numpy_s(key: Any) -> None:
    for function in (lambda: counting((3, 4))[key], lambda: basic_index(key, (3, 4))):
        with pytest.raises((ValueError, TypeError)):
            function()


def test_numpy_integers_are_integers() -> None:
    assert basic_index((np.int16(-1), np.uint8(2)), (3, 4)) == ((2, 2), (1, 1), (0, 0))
