"""Pairs: the same frame of two versions, and what is different."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InvalidInput
from .blocks import bands, drawn_step, means_of_bands, sampled
from .frames import science_values
from .limits import extremes, limits_within, symmetric_limits
from .view import choose_frame, version_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from .view import FrameChoice, FrameView, Pictured

__all__ = ["FramePair", "choose_pair", "pair_frames"]


@dataclass(frozen=True, slots=True)
class Change:
    """The difference of two frames in numbers.

    Attributes
    ----------
    differing : int
        Pixels that differ. NaN equals NaN.
    lost : int
        Pixels whose difference is not finite.
    missing : int
        Those of them that are NaN in one of the frames.
    median : float
        Of the finite differences, of an even sample of four million where there are more; NaN if there is none.
    ends : tuple of float
        The lowest and the highest finite difference; NaN if there is none.
    """

    differing: int
    lost: int
    missing: int
    median: float
    ends: tuple[float, float]


@dataclass(frozen=True, slots=True)
class FramePair:
    """The same frame of two versions.

    Attributes
    ----------
    first, second : FrameView
        The frames, of one shape, one place and one unit.
    step : int
        Rows and columns of the blocks in which large frames are drawn; 1 for others.
    shown : tuple of ndarray of float64, shape (ceil(ny / step), ceil(nx / step))
        What is drawn of each: means of the values or, of flags, of 1 where any is set.
    difference : ndarray of float64, of the same shape
        Second minus first; of flags, 1 where they differ. NaN where one of the values is not finite.
    change : Change
        The difference in numbers.
    limits, difference_limits : tuple of float
        Of the colours, for both frames and for the difference.
    """

    first: FrameView
    second: FrameView
    step: int
    shown: tuple[NDArray[np.float64], NDArray[np.float64]]
    difference: NDArray[np.float64]
    change: Change
    limits: tuple[float, float]
    difference_limits: tuple[float, float]

    @property
    def summary(self) -> str:
        """How many pixels differ, and by how much, in a sentence."""
        size, change = self.first.values.size, self.change
        pixels = f"{change.differing:,} of {size:,} pixel{'' if size == 1 else 's'} differ"
        if self.first.dataset.is_flags or not change.differing or np.isnan(change.median):
            return pixels
        unit = f" {self.first.unit}" if self.first.unit else ""
        most = max(change.ends, key=abs)
        return f"{pixels}; B \u2212 A: median {change.median:.4g}{unit}, largest {most:.4g}{unit}"


def choose_pair(
    first: Pictured, second: Pictured, dataset: str | None = None, index: int | Sequence[int] | None = None
) -> tuple[FrameChoice, FrameChoice]:
    """Choose the same frame of two versions; no array is read.

    Parameters
    ----------
    first, second : Pictured
        The versions.
    dataset : str, optional
        Name of the dataset in both; SCI unless given, or the first that has frames.
    index : int or sequence of int, optional
        0-based numbers of integration and group, as for `whole_index`.

    Returns
    -------
    tuple of FrameChoice
        Both frames.

    Raises
    ------
    ProductNotFound, InvalidInput
        If one has no such dataset or frame; if shapes, places on the detector or units differ.
    """
    a = choose_frame(first, dataset, index)
    b = choose_frame(second, a.dataset.name, index)
    _refuse_unlike(a, b)
    return a, b


def pair_frames(first: FrameChoice, second: FrameChoice, *, limits: str | Sequence[float] = "zscale") -> FramePair:
    """Read the same frame of two versions.

    Parameters
    ----------
    first, second : FrameChoice
        As `choose_pair` gives them.
    limits : str or pair of float, keyword-only
        As for `limits_of`, which looks at both frames together.

    Returns
    -------
    FramePair
        The frames.

    Raises
    ------
    InvalidInput
        As for `limits_of`.
    """
    a, b = first.read(), second.read()
    shape, step, flags = a.values.shape, drawn_step(a.values.shape), a.dataset.is_flags

    def difference(rows: slice) -> NDArray[np.float64]:
        return _subtracted(a.values[rows], b.values[rows], flags=flags)

    shown = tuple(means_of_bands(partial(_values, view), shape, step) for view in (a, b))
    drawn = means_of_bands(difference, shape, step)
    some = _subtracted(sampled(a.values), sampled(b.values), flags=flags)
    change = _change(a, b, difference, some)
    ends = ((0.0, 1.0), (-1.0, 1.0)) if flags else (_limits(a, b, limits), symmetric_limits(some, change.ends))
    return FramePair(a, b, step, (shown[0], shown[1]), drawn, change, *ends)


def _values(view: FrameView, rows: slice) -> NDArray[Any]:
    values: NDArray[Any] = view.values[rows]
    return values != 0 if view.dataset.is_flags else values


def _subtracted(a: NDArray[Any], b: NDArray[Any], *, flags: bool) -> NDArray[np.float64]:
    """Subtract the first from the second; of flags, tell where they differ."""
    if flags:
        return np.asarray(a != b, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):  # infinite values, and differences that are
        return np.asarray(b.astype(np.float64) - a, np.float64)


def _limits(a: FrameView, b: FrameView, rule: str | Sequence[float]) -> tuple[float, float]:
    """Choose limits for both frames together."""
    usable = [science_values(view.ref.product, view.values) for view in (a, b)]
    ends = np.array([extremes(values) for values in usable])
    ends = ends[~np.isnan(ends[:, 0])]
    both = (float(ends.min()), float(ends.max())) if ends.size else (np.nan, np.nan)
    return limits_within(np.concatenate([sampled(values) for values in usable]), both, rule)


def _change(
    a: FrameView, b: FrameView, difference: Callable[[slice], NDArray[np.float64]], some: NDArray[np.float64]
) -> Change:
    differing = lost = missing = 0
    low, high = np.inf, -np.inf
    for rows in bands(a.values.shape):
        one, two, change = a.values[rows], b.values[rows], difference(rows)
        no_one, no_two = np.isnan(one), np.isnan(two)
        differing += int(np.count_nonzero((one != two) & ~(no_one & no_two)))
        missing += int(np.count_nonzero(no_one | no_two))
        known = change[np.isfinite(change)]
        lost += change.size - known.size
        low, high = min(low, known.min(initial=np.inf)), max(high, known.max(initial=-np.inf))
    finite = some[np.isfinite(some)]
    median = float(np.median(finite)) if finite.size else np.nan
    return Change(differing, lost, missing, median, (float(low), float(high)) if low <= high else (np.nan, np.nan))


def _refuse_unlike(a: FrameChoice, b: FrameChoice) -> None:
    what = f"dataset {a.dataset.name} of {version_text(a.ref)} and of {version_text(b.ref)}"
    if len(a.index) != len(b.index) or a.dataset.shape[-2:] != b.dataset.shape[-2:]:
        raise InvalidInput(
            f"{what} have the shapes {a.dataset.shape} and {b.dataset.shape}; frames of one shape can be compared"
        )
    if a.dataset.is_flags != b.dataset.is_flags:
        raise InvalidInput(f"{what}: one holds flags, the other does not")
    if (a.grid.x, a.grid.y) != (b.grid.x, b.grid.y):
        raise InvalidInput(
            f"{what} show other pixels: their first ones are x={a.grid.x}, y={a.grid.y} and x={b.grid.x}, y={b.grid.y}"
        )
    if a.unit != b.unit:
        raise InvalidInput(f"{what} are in {a.unit or 'no unit'} and {b.unit or 'no unit'}; they can't be subtracted")
