"""Tiles: how an array is cut into chunks that hold whole ramps, and which of them a selection touches."""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

__all__ = [
    "LARGEST_BAND",
    "Slab",
    "Tile",
    "all_tiles",
    "bands",
    "basic_index",
    "grid",
    "put_tiles",
    "slabs",
    "tile_at",
    "tile_shape",
    "tile_sizes",
    "tiles_at",
]

_TILE_BYTES = 1 << 18
"""A tile's size at most: the ramps of some thousand pixels.

A FULL ramp (5, 20, 1024, 1032) of float32 was read at 1.1 GB/s from square tiles of 512 KiB and at 1.5 GB/s from flat
ones of 256, on two cores; the next version of it, in which twelve pixels changed, took 5.0 and 2.2 % of its bytes.
Below 256 KiB calls of Python take over: 0.9 GB/s at 128 KiB, 0.5 at 64.
"""

_FLAT = (4, 8)
"""How much longer than high a patch is, about: longer runs are copied faster, and compress a little better."""

_SLAB_BYTES = 1 << 22
"""Bytes of an array that one thread reads at a time: memory that is used again; larger ones cost page faults."""

_BAND_BYTES = 1 << 23
"""Bytes of a band, about, where that is some whole tiles."""

LARGEST_BAND = 1 << 28
"""Bytes of a band at most, unless one step along its axis has more: an integration of 60 FULL groups as floats."""

_KEPT_TILES = 1 << 12
"""Tiles of an array, a gigabyte, up to which they and its slabs are remembered for the next of the same shape."""


def tile_shape(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Choose the chunks of an array: whole along its groups, one integration, a patch of pixels.

    Parameters
    ----------
    shape : tuple of int
        E.g. (nints, ngroups, ny, nx); the last two axes are taken for rows and columns, the one before is kept whole.
    itemsize : int
        Bytes per element.

    Returns
    -------
    tuple of int
        Same length; all at least 1. Patches are flat, and fill the array evenly.
    """
    if len(shape) < 2:
        return tuple(_even(n, max(1, _TILE_BYTES // itemsize)) for n in shape)
    *outer, ny, nx = shape
    depth = _even(outer[-1], max(1, _TILE_BYTES // (8 * itemsize))) if outer else 1
    patch = _patch(ny, nx, max(1, _TILE_BYTES // (depth * itemsize)))
    return (*(1 for _ in outer[:-1]), *((depth,) if outer else ()), *patch)


@functools.lru_cache(maxsize=64)
def _patch(ny: int, nx: int, most: int) -> tuple[int, int]:
    """Cut rows and columns into as few patches of at most so many pixels as go without leaving them too flat."""

    def cost(patch: tuple[int, int]) -> float:
        rows, columns = patch
        stretch = max(1.0, columns / (_FLAT[1] * rows), _FLAT[0] * rows / columns)
        return math.prod(grid((ny, nx), patch)) * math.pow(stretch, 0.25)

    widest = max(1, min(nx, most))
    widths = {_even(nx, columns) for columns in {widest, *_lengths(widest)}}
    return min(((_even(ny, max(1, most // width)), width) for width in sorted(widths)), key=cost)


def _lengths(most: int) -> Iterator[int]:
    """Give lengths up to one, the larger the sparser."""
    length = 1
    while length <= most:
        yield length
        length += max(1, length // 16)


def _even(length: int, most: int) -> int:
    """Divide an axis into equal steps of at most `most`, the last perhaps a little shorter."""
    return max(1, math.ceil(length / max(1, math.ceil(length / most))))


_WORTH_ALL = 16
"""Part of an array's tiles, its inverse, that are worth having all of them: those may be there already."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One chunk of an array: where it starts and the part of it that lies inside."""

    number: int
    start: tuple[int, ...]
    inside: tuple[slice, ...]


def grid(shape: tuple[int, ...], chunks: tuple[int, ...]) -> tuple[int, ...]:
    """Count the tiles along each axis.

    Parameters
    ----------
    shape, chunks : tuple of int
        Of the array and of a tile.

    Returns
    -------
    tuple of int
        Same length.
    """
    return tuple(-(-n // c) for n, c in zip(shape, chunks, strict=True))


@functools.lru_cache(maxsize=64)
def tile_sizes(shape: tuple[int, ...], chunks: tuple[int, ...]) -> NDArray[np.int64]:
    """Count the elements of each tile, padding left out.

    Parameters
    ----------
    shape, chunks : tuple of int
        Of the array and of its tiles.

    Returns
    -------
    ndarray of int64, shape (number of tiles,)
        By the number of the tile.
    """
    sizes: NDArray[np.int64] = np.ones((1,), np.int64)
    for n, c in zip(shape, chunks, strict=True):
        sizes = np.multiply.outer(sizes, np.minimum(c, n - np.arange(0, n, c)))
    sizes = sizes.ravel()
    sizes.flags.writeable = False
    return sizes


def tile_at(index: tuple[int, ...], shape: tuple[int, ...], chunks: tuple[int, ...]) -> Tile:
    """Give one tile.

    Parameters
    ----------
    index : tuple of int
        Its place in the grid.
    shape, chunks : tuple of int
        Of the array and of a tile.

    Returns
    -------
    Tile
        Numbered in C order of the grid.
    """
    number = 0
    for i, n in zip(index, grid(shape, chunks), strict=True):
        number = number * n + i
    start = tuple(i * c for i, c in zip(index, chunks, strict=True))
    inside = tuple(slice(s, min(s + c, n)) for s, c, n in zip(start, chunks, shape, strict=True))
    return Tile(number, start, inside)


def all_tiles(shape: tuple[int, ...], chunks: tuple[int, ...]) -> Iterable[Tile]:
    """Give all tiles of an array.

    Parameters
    ----------
    shape, chunks : tuple of int
        Of the array and of a tile.

    Returns
    -------
    iterable of Tile
        In the order of their numbers.
    """
    return (_kept_tiles if _are_few(shape, chunks) else _every_tile)(shape, chunks)


def _are_few(shape: tuple[int, ...], chunks: tuple[int, ...]) -> bool:
    """Tell whether an array's tiles are to be remembered."""
    return math.prod(grid(shape, chunks)) <= _KEPT_TILES


@functools.lru_cache(maxsize=8)
def _kept_tiles(shape: tuple[int, ...], chunks: tuple[int, ...]) -> tuple[Tile, ...]:
    return tuple(_every_tile(shape, chunks))


def _every_tile(shape: tuple[int, ...], chunks: tuple[int, ...]) -> Iterator[Tile]:
    return (tile_at(index, shape, chunks) for index in np.ndindex(grid(shape, chunks)))


def tiles_at(ranges: Sequence[range], shape: tuple[int, ...], chunks: tuple[int, ...]) -> Iterable[Tile]:
    """Give some tiles.

    Parameters
    ----------
    ranges : sequence of range
        Their places in the grid, along each axis.
    shape, chunks : tuple of int
        Of the array and of a tile.

    Returns
    -------
    iterable of Tile
        In the order of their numbers.
    """
    steps = grid(shape, chunks)
    if _are_few(shape, chunks) and math.prod(map(len, ranges)) * _WORTH_ALL >= math.prod(steps):
        every = _kept_tiles(shape, chunks)
        numbers = np.arange(len(every)).reshape(steps)[tuple(slice(r.start, r.stop) for r in ranges)]
        return map(every.__getitem__, numbers.ravel().tolist())
    return (tile_at(index, shape, chunks) for index in itertools.product(*ranges))


@dataclass(frozen=True, slots=True)
class Slab:
    """Some tiles that lie side by side, to be read together: whole along the last axis."""

    inside: tuple[slice, ...]
    tiles: tuple[Tile, ...]

    def cut(self, elements: NDArray[Any]) -> Iterator[tuple[Tile, NDArray[Any]]]:
        """Give the tiles' elements.

        Parameters
        ----------
        elements : ndarray
            The slab's.

        Yields
        ------
        Tile, ndarray
            The tile and the elements inside it, a view.
        """
        for tile in self.tiles:
            moved = zip(tile.inside, self.inside, strict=True)
            yield tile, elements[tuple(slice(t.start - s.start, t.stop - s.start) for t, s in moved)]


def slabs(
    shape: tuple[int, ...], chunks: tuple[int, ...], itemsize: int, *, slab_bytes: int | None = None
) -> Iterator[Slab]:
    """Cut an array into slabs of tiles, along the rows (last axis but one), or along integrations if these are small.

    Parameters
    ----------
    shape, chunks : tuple of int
        Of the array and of a tile.
    itemsize : int
        Bytes per element.
    slab_bytes : int, keyword-only, optional
        About the size of a slab; some megabytes unless given.

    Yields
    ------
    Slab
        With at least one row of tiles; together they have each tile once.
    """
    yield from (_kept_slabs if _are_few(shape, chunks) else _cut)(shape, chunks, itemsize, slab_bytes or _SLAB_BYTES)


@functools.lru_cache(maxsize=8)
def _kept_slabs(shape: tuple[int, ...], chunks: tuple[int, ...], itemsize: int, slab_bytes: int) -> tuple[Slab, ...]:
    """Cut an array; of many exposures most have the same few shapes."""
    return tuple(_cut(shape, chunks, itemsize, slab_bytes))


def _cut(shape: tuple[int, ...], chunks: tuple[int, ...], itemsize: int, slab_bytes: int) -> Iterator[Slab]:
    steps = grid(shape, chunks)
    axis = _cut_axis(shape, chunks, itemsize, slab_bytes)
    row_bytes = math.prod(chunks[:axis]) * math.prod(shape[axis + 1 :]) * itemsize
    bands = max(1, slab_bytes // max(1, row_bytes * chunks[axis]))
    for outer in itertools.product(*(range(n) for n in steps[:axis])):
        for first in range(0, steps[axis], bands):
            rows = range(first, min(first + bands, steps[axis]))
            places = itertools.product(rows, *(range(n) for n in steps[axis + 1 :]))
            tiles = tuple(tile_at((*outer, *place), shape, chunks) for place in places)
            corners = zip(tiles[0].inside, tiles[-1].inside, strict=True)
            yield Slab(tuple(slice(low.start, high.stop) for low, high in corners), tiles)


def _cut_axis(shape: tuple[int, ...], chunks: tuple[int, ...], itemsize: int, slab_bytes: int) -> int:
    """Find the axis along which slabs are cut: the last but one, or the first of which two steps fit into a slab.

    Many small integrations are one slab: each of its own would keep threads, and Python, busier than the coder.
    """
    axis = max(0, len(shape) - 2)
    while axis and 2 * math.prod(chunks[:axis]) * math.prod(shape[axis:]) * itemsize <= slab_bytes:
        axis -= 1
    return axis


def bands(
    shape: tuple[int, ...], chunks: tuple[int, ...], itemsize: int
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Cut an array into boxes that follow on each other in C order: of whole tiles, unless these are too large.

    Parameters
    ----------
    shape, chunks : tuple of int
        Of the array and of a tile.
    itemsize : int
        Bytes per element.

    Yields
    ------
    starts, lengths : tuple of int
        A box.
    """
    if 0 not in shape:
        yield from _bands_of((), shape, chunks, itemsize)


def _bands_of(
    prefix: tuple[int, ...], shape: tuple[int, ...], chunks: tuple[int, ...], itemsize: int
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Cut what lies behind some places of the first axes."""
    if not shape:
        yield prefix, (1,) * len(prefix)
        return
    below = math.prod(shape[1:]) * itemsize
    if below > (_BAND_BYTES if chunks[0] == 1 else LARGEST_BAND):
        for i in range(shape[0]):
            yield from _bands_of((*prefix, i), shape[1:], chunks[1:], itemsize)
        return
    step = min(chunks[0] * max(1, _BAND_BYTES // (below * chunks[0])), max(1, LARGEST_BAND // below))
    for start in range(0, shape[0], step):
        lengths = (*(1 for _ in prefix), min(step, shape[0] - start), *shape[1:])
        yield (*prefix, start, *(0 for _ in shape[1:])), lengths


def put_tiles(parts: NDArray[Any], tiles: Sequence[Tile], target: NDArray[Any], starts: tuple[int, ...]) -> None:
    """Copy what tiles and a box have in common; those side by side, which make up whole rows, at once.

    Parameters
    ----------
    parts : ndarray, shape (number of tiles, …)
        Elements of the tiles, with padding or without.
    tiles : sequence of Tile
        Where they belong, in the order of their numbers.
    target : ndarray
        The box; is filled where the tiles cover it.
    starts : tuple of int
        First element of the box along each axis.
    """
    width = parts.shape[-1]
    first = 0
    while first < len(tiles):
        tile = tiles[first]
        source, destination = _overlap(tile, target.shape, starts)
        count = _side_by_side(tiles[first:], width, starts[-1], starts[-1] + target.shape[-1])
        if count > 1:
            begin = tile.start[-1] - starts[-1]
            row = target[(*destination[:-1], slice(begin, begin + count * width))]
            split = row.reshape(*row.shape[:-1], count, width)  # a view: one axis becomes two
            np.moveaxis(split, -2, 0)[...] = parts[(slice(first, first + count), *source[:-1])]
        else:
            target[destination] = parts[first][source]
        first += count


def _overlap(
    tile: Tile, shape: tuple[int, ...], starts: tuple[int, ...]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Tell what a tile and a box have in common: in the tile, and in the box."""
    source, destination = [], []
    for inside, start, length in zip(tile.inside, starts, shape, strict=True):
        low, high = max(inside.start, start), min(inside.stop, start + length)
        source.append(slice(low - inside.start, high - inside.start))
        destination.append(slice(low - start, high - start))
    return tuple(source), tuple(destination)


def _side_by_side(tiles: Sequence[Tile], width: int, low: int, high: int) -> int:
    """Count tiles along the last axis, the first and more, that are of full width and within bounds; one at least."""
    start = tiles[0].start
    count = 0
    if start[-1] >= low:
        for tile in tiles:
            begin, end = start[-1] + count * width, start[-1] + (count + 1) * width
            if (*start[:-1], begin) != tile.start or tile.inside[-1].stop != end or end > high:
                break
            count += 1
    return max(1, count)


def basic_index(key: Any, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[Any, ...]] | None:
    """Resolve a basic index (integers, slices, an ellipsis) into the box of elements it touches.

    Parameters
    ----------
    key : object
        What stands in the brackets.
    shape : tuple of int
        Of the array.

    Returns
    -------
    starts, lengths, local : tuple, or None
        The box, and the index to apply to it; None if the index is not a basic one. As in NumPy, an ellipsis makes
        the result an array, where integers alone give a single element.

    Raises
    ------
    IndexError
        As NumPy does.
    """
    items = list(key) if isinstance(key, tuple) else [key]
    if not all(i is Ellipsis or (isinstance(i, (int, np.integer, slice)) and not isinstance(i, bool)) for i in items):
        return None
    if items.count(Ellipsis) > 1 or len(items) - items.count(Ellipsis) > len(shape):
        raise IndexError(f"too many indices for an array of {len(shape)} axes: {key!r}")
    gives_array = Ellipsis in items
    if not gives_array:
        items.append(Ellipsis)
    at = items.index(Ellipsis)
    items[at : at + 1] = [slice(None)] * (len(shape) - len(items) + 1)
    starts: list[int] = []
    box: list[int] = []
    local: list[Any] = []
    for axis, (item, length) in enumerate(zip(items, shape, strict=True)):
        if not isinstance(item, slice):
            i = int(item)
            if not -length <= i < length:
                raise IndexError(f"index {i} is out of bounds for axis {axis} of length {length}")
            starts.append(i % length)
            box.append(1)
            local.append(0)
            continue
        picked = range(length)[item]
        low = min(picked[0], picked[-1]) if picked else 0
        high = max(picked[0], picked[-1]) + 1 if picked else 0
        starts.append(low)
        box.append(high - low)
        stop = picked.stop - low
        local.append(slice(picked.start - low, None if stop < 0 else stop, picked.step) if picked else slice(0, 0))
    if gives_array:
        local.append(Ellipsis)
    return tuple(starts), tuple(box), tuple(local)
