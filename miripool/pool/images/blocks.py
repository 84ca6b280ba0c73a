"""Large frames made small before they are drawn: means of blocks, and an even sample, a band of rows at a time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

__all__ = [
    "BOUND",
    "DRAWN",
    "any_in_blocks",
    "bands",
    "block_means",
    "bounded",
    "drawn_step",
    "means_of_bands",
    "sampled",
]

BOUND: Final = 1e100
"""Values beyond are drawn as this: matplotlib and zscale square values, and squares of larger ones are infinite."""

DRAWN: Final = 2048
"""Rows and columns that are drawn at most; a larger frame is drawn as means of blocks."""

_SAMPLE: Final = 2048 * 2048
"""Values that limits and medians are counted on at most. A copy of all of a mosaic can take gigabytes."""

_BAND: Final = 1 << 20
"""Values that are looked at together: 8 MB, which the processor's cache nearly holds."""


def drawn_step(shape: tuple[int, ...]) -> int:
    """Give the side of the blocks in which a frame is drawn.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.

    Returns
    -------
    int
        1 for a frame that is drawn pixel by pixel.
    """
    return max(1, -(-max(shape) // DRAWN))


def bounded(values: NDArray[Any]) -> NDArray[np.float64]:
    """Make values that can be drawn.

    Parameters
    ----------
    values : ndarray of numbers
        Is not changed.

    Returns
    -------
    ndarray of float64
        NaN for what is not finite; the others between plus and minus `BOUND`.
    """
    wide = np.array(values, np.float64)
    wide[~np.isfinite(wide)] = np.nan
    return np.clip(wide, -BOUND, BOUND, out=wide)


def sampled(values: NDArray[Any]) -> NDArray[Any]:
    """Choose values evenly from a frame.

    Parameters
    ----------
    values : ndarray
        Any shape.

    Returns
    -------
    ndarray, one axis
        All values if there are four million or fewer; else every n-th, from all columns. Frames of one shape have
        theirs at the same places.
    """
    step = max(1, -(-values.size // _SAMPLE))
    while step > 1 and math.gcd(step, values.shape[-1]) > 1:
        step += 1
    return values.reshape(-1)[::step]


def bands(shape: tuple[int, ...], step: int = 1) -> Iterator[slice]:
    """Cut a frame into bands of rows.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    step : int, optional
        Each band but the last has a multiple of so many rows.

    Yields
    ------
    slice
        Of rows.
    """
    rows = max(1, _BAND // (shape[1] * step)) * step
    for first in range(0, shape[0], rows):
        yield slice(first, min(first + rows, shape[0]))


def block_means(frame: NDArray[Any], step: int) -> NDArray[Any]:
    """Make a frame smaller.

    Parameters
    ----------
    frame : ndarray of float, shape (ny, nx)
        Is not changed.
    step : int
        Rows and columns of a block.

    Returns
    -------
    ndarray of the same type, shape (ceil(ny / step), ceil(nx / step))
        Means of the finite numbers of blocks, as `bounded` gives them; NaN where a block has none.
    """
    return means_of_bands(lambda rows: frame[rows], frame.shape, step).astype(frame.dtype)


def means_of_bands(band: Callable[[slice], NDArray[Any]], shape: tuple[int, ...], step: int) -> NDArray[np.float64]:
    """Make a frame smaller that is never whole in memory.

    Parameters
    ----------
    band : callable
        Gives rows of the frame.
    shape : tuple of int
        Rows and columns of the frame.
    step : int
        Rows and columns of a block.

    Returns
    -------
    ndarray of float64, shape (ceil(ny / step), ceil(nx / step))
        As for `block_means`.
    """
    found = []
    for rows in bands(shape, step):
        values = bounded(band(rows))
        usable = np.isfinite(values)
        values[~usable] = 0
        number = _in_blocks(np.add, usable.astype(np.float64), step)
        total = _in_blocks(np.add, values, step)
        found.append(np.where(number > 0, total / np.maximum(number, 1), np.nan))
    return np.concatenate(found)


def any_in_blocks(mask: NDArray[np.bool_], step: int) -> NDArray[np.bool_]:
    """Tell which blocks have a pixel of a mask.

    Parameters
    ----------
    mask : ndarray of bool, shape (ny, nx)
        The mask.
    step : int
        Rows and columns of a block.

    Returns
    -------
    ndarray of bool, shape (ceil(ny / step), ceil(nx / step))
        True where any pixel of the block is.
    """
    return _in_blocks(np.logical_or, mask, step)


def _in_blocks(what: np.ufunc, values: NDArray[Any], step: int) -> NDArray[Any]:
    rows, columns = (np.arange(0, length, step) for length in values.shape)
    found: NDArray[Any] = what.reduceat(what.reduceat(values, rows, axis=0), columns, axis=1)
    return found
