"""Pairs: the same frame of two versions, and what is different."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InvalidInput
from .frames import science_values
from .limits import limits_of, symmetric_limits
from .view import version_text, view_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .view import FrameView, Pictured

__all__ = ["FramePair", "pair_frames"]


@dataclass(frozen=True, slots=True)
class FramePair:
    """The same frame of two versions.

    Attributes
    ----------
    first, second : FrameView
        The frames, of one shape, one place and one unit.
    shown : tuple of ndarray, shape (ny, nx)
        What is drawn of each: the values or, of flags, 1 where any is set.
    difference : ndarray of float, shape (ny, nx)
        Second minus first; of flags, 1 where they differ. NaN where one of the values is NaN.
    differing : int
        Pixels that differ. NaN equals NaN.
    limits, difference_limits : tuple of float
        Of the colours, for both frames and for the difference.
    """

    first: FrameView
    second: FrameView
    shown: tuple[NDArray[Any], NDArray[Any]]
    difference: NDArray[Any]
    differing: int
    limits: tuple[float, float]
    difference_limits: tuple[float, float]

    @property
    def summary(self) -> str:
        """How many pixels differ, and by how much, in a sentence."""
        size = self.difference.size
        pixels = f"{self.differing:,} of {size:,} pixel{'' if size == 1 else 's'} differ"
        changes = self.difference[np.isfinite(self.difference)]
        if self.first.dataset.is_flags or not self.differing or not changes.size:
            return pixels
        unit = f" {self.first.unit}" if self.first.unit else ""
        middle, most = float(np.median(changes)), float(changes[np.argmax(np.abs(changes))])
        return f"{pixels}; B \u2212 A: median {middle:.4g}{unit}, largest {most:.4g}{unit}"


def pair_frames(
    first: Pictured,
    second: Pictured,
    dataset: str | None = None,
    index: int | Sequence[int] | None = None,
    *,
    limits: str | Sequence[float] = "zscale",
) -> FramePair:
    """Read the same frame of two versions.

    Parameters
    ----------
    first, second : Pictured
        The versions.
    dataset : str, optional
        Name of the dataset in both; SCI unless given, or the first that has frames.
    index : int or sequence of int, optional
        0-based numbers of integration and group, as for `whole_index`.
    limits : str or pair of float, keyword-only
        As for `limits_of`, which looks at both frames together.

    Returns
    -------
    FramePair
        The frames.

    Raises
    ------
    ProductNotFound, InvalidInput
        If one has no such dataset or frame; if shapes, places on the detector or units differ.
    """
    a = view_frame(first, dataset, index)
    b = view_frame(second, a.dataset.name, index)
    _refuse_unlike(a, b)
    if a.dataset.is_flags:
        shown = (a.values != 0).astype(np.float32), (b.values != 0).astype(np.float32)
        difference = (a.values != b.values).astype(np.float32)
        return FramePair(a, b, shown, difference, int(difference.sum()), (0.0, 1.0), (-1.0, 1.0))
    with np.errstate(invalid="ignore", over="ignore"):  # infinite values, and differences that are
        difference = b.values.astype(np.float64) - a.values
    both_nan = np.isnan(a.values) & np.isnan(b.values)
    differing = int(np.count_nonzero((a.values != b.values) & ~both_nan))
    usable = [science_values(view.ref.product, view.values).ravel() for view in (a, b)]
    found = limits_of(np.concatenate(usable), limits)
    return FramePair(a, b, (a.values, b.values), difference, differing, found, symmetric_limits(difference))


def _refuse_unlike(a: FrameView, b: FrameView) -> None:
    what = f"dataset {a.dataset.name} of {version_text(a.ref)} and of {version_text(b.ref)}"
    if len(a.index) != len(b.index) or a.values.shape != b.values.shape:
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
