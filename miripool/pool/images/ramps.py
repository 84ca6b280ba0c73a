"""Chosen pixels below a frame: their ramps, or their values in all integrations, with flagged ones marked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...errors import InvalidInput
from ...query.pixelwhere import FLAGS
from .blocks import bounded
from .figures import plain_text
from .flags import flags_of
from .frames import axes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from .view import FrameView

__all__ = ["PixelValues", "draw_pixels", "read_pixels"]

_MOST: Final = 8
"""Pixels in one figure, whose colours can be told apart."""
_MARKS: Final = {"SATURATED": ("s", 8.0), "JUMP_DET": ("o", 6.0), "DO_NOT_USE": ("x", 5.0)}
"""Markers and their sizes, of the flags that are marked; a value may have several."""


@dataclass(frozen=True, slots=True)
class PixelValues:
    """All values of one pixel.

    Attributes
    ----------
    x, y : int
        Column and row, as the frame's `Grid` numbers them.
    values : ndarray
        Shape (nints, ngroups), or (nints,) where there are no groups.
    flags : ndarray of integers, or None
        Of the same shape; None where the dataset has no flags of single values.
    """

    x: int
    y: int
    values: NDArray[Any]
    flags: NDArray[Any] | None


def read_pixels(view: FrameView, pixels: Sequence[tuple[int, int]]) -> list[PixelValues]:
    """Read pixels through all integrations and groups; of each integration, one tile for each pixel.

    Parameters
    ----------
    view : FrameView
        A frame of the dataset.
    pixels : sequence of (int, int)
        Columns x and rows y, 1-based, as the frame's `Grid` numbers them.

    Returns
    -------
    list of PixelValues
        In the same order.

    Raises
    ------
    InvalidInput
        If there is no such pixel, if there are too many, or if the dataset has but one frame.
    """
    if len(pixels) > _MOST:
        raise InvalidInput(f"{len(pixels)} pixels are too many to tell apart; choose at most {_MOST}")
    dataset = view.dataset
    if pixels and dataset.ndim not in (3, 4):
        raise InvalidInput(
            f"dataset {dataset.name} of {view.ref.kind} {view.ref.name} has shape {dataset.shape}: "
            "there are no ramps of its pixels; leave the pixels out, or take a Ramp, Raw or RateInts"
        )
    named = [name for name in flags_of(view.ref.product)[dataset.name] if name != dataset.name]
    flags = [other for other in map(view.ref.product.datasets.__getitem__, named) if other.shape == dataset.shape]
    found = []
    for x, y in pixels:
        place = (..., *view.grid.corner(x, y))
        found.append(PixelValues(x, y, dataset[place], flags[0][place] if flags else None))
    return found


def draw_pixels(image: Axes, axes: Axes, view: FrameView, pixels: Sequence[PixelValues]) -> None:
    """Draw values of pixels against their groups or integrations, and mark the pixels in the frame.

    Parameters
    ----------
    image : matplotlib.axes.Axes
        With the frame.
    axes : matplotlib.axes.Axes
        Is empty.
    view : FrameView
        The frame.
    pixels : sequence of PixelValues
        One or more.
    """
    from matplotlib.ticker import MaxNLocator

    marked: set[str] = set()
    for number, pixel in enumerate(pixels):
        colour = f"C{number}"
        label: str | None = f"x={pixel.x}, y={pixel.y}"
        for values, flags in zip(*_lines(pixel), strict=True):
            places = np.arange(1, len(values) + 1)
            axes.plot(places, values, "-", lw=0.9, marker=".", ms=3, color=colour, label=label)
            label = None
            marked |= _mark_flags(axes, places, values, flags, colour)
        image.plot(pixel.x, pixel.y, "s", ms=9, mfc="none", mec="white", mew=3)
        image.plot(pixel.x, pixel.y, "s", ms=9, mfc="none", mec=colour, mew=1.6)
    for name in (name for name in _MARKS if name in marked):
        marker, size = _MARKS[name]
        axes.plot([], [], marker, ms=size, mfc="none", mec="black", label=name)
    number_of = axes_of(view.dataset, view.ref.kind)[view.dataset.ndim - 3]
    several = view.dataset.ndim == 4 and view.dataset.shape[0] > 1
    axes.set_title(f"chosen pixels{', a line for each integration' if several else ''}", fontsize="medium")
    axes.set_xlabel(number_of)
    axes.set_ylabel(plain_text(f"{view.dataset.name} ({view.unit})" if view.unit else view.dataset.name))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))


def _lines(pixel: PixelValues) -> tuple[NDArray[Any], NDArray[Any]]:
    """Give values and flags with a row for each line."""
    values = np.atleast_2d(bounded(pixel.values))
    return values, np.zeros(values.shape, int) if pixel.flags is None else np.atleast_2d(pixel.flags)


def _mark_flags(axes: Axes, places: NDArray[Any], values: NDArray[Any], flags: NDArray[Any], colour: str) -> set[str]:
    found = set()
    for name, (marker, size) in _MARKS.items():
        chosen = (flags & FLAGS[name]) != 0
        if chosen.any():
            axes.plot(places[chosen], values[chosen], marker, ms=size, mfc="none", mec=colour, mew=1)
            found.add(name)
    return found
