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

    from .view import FrameChoice, FrameView

__all__ = ["PixelValues", "check_pixels", "draw_pixels", "read_pixels"]

_MOST: Final = 8
"""Pixels in one figure, whose colours differ clearly."""
_MARKS: Final = {"SATURATED": ("s", 8.0), "JUMP_DET": ("o", 6.0), "DO_NOT_USE": ("x", 5.0)}
"""Markers and their sizes, of the flags that are marked; a value may have several."""

_STYLES: Final = ("-", "--", ":", "-.")
"""Lines of integrations, if they are few."""
_LIGHT: Final = 0.5
_DARK: Final = 0.55
"""How much white is in the shade of the first integration, and how much black in that of the last one."""


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


def check_pixels(frame: FrameChoice, pixels: Sequence[tuple[int, int]]) -> None:
    """Refuse pixels whose values can't be drawn, before arrays are read.

    Parameters
    ----------
    frame : FrameChoice
        A frame of the dataset.
    pixels : sequence of (int, int)
        Columns x and rows y, 1-based, as the frame's `Grid` numbers them.

    Raises
    ------
    InvalidInput
        If there is no such pixel, if there are too many, or if the dataset has but one frame.
    """
    if len(pixels) > _MOST:
        raise InvalidInput(f"{len(pixels)} pixels are too many to tell apart; choose at most {_MOST}")
    dataset = frame.dataset
    if pixels and dataset.ndim not in (3, 4):
        raise InvalidInput(
            f"dataset {dataset.name} of {frame.ref.kind} {frame.ref.name} has shape {dataset.shape}: "
            "there are no ramps of its pixels; leave the pixels out, or take a Ramp, Raw or RateInts"
        )
    for x, y in pixels:
        frame.grid.corner(x, y)


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
        As for `check_pixels`.
    """
    check_pixels(view, pixels)
    dataset = view.dataset
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
    lines = view.dataset.shape[0] if view.dataset.ndim == 4 else 1
    for number, pixel in enumerate(pixels):
        colour = f"C{number}"
        marked |= _draw_lines(axes, pixel, colour)
        image.plot(pixel.x, pixel.y, "s", ms=9, mfc="none", mec="white", mew=3)
        image.plot(pixel.x, pixel.y, "s", ms=9, mfc="none", mec=colour, mew=1.6)
    for line in range(lines if 1 < lines <= len(_STYLES) else 0):
        shade, style = _shade("0.5", line, lines), _style(line, lines)
        axes.plot([], [], style, lw=1.1, color=shade, label=f"integration {line + 1}")
    for name in (name for name in _MARKS if name in marked):
        marker, size = _MARKS[name]
        axes.plot([], [], marker, ms=size, mfc="none", mec="black", label=name)
    number_of = axes_of(view.dataset, view.ref.kind)[view.dataset.ndim - 3]
    shades = f", integrations 1 to {lines} from light to dark" if lines > 1 else ""
    axes.set_title(f"chosen pixels{shades}", fontsize="medium")
    axes.set_xlabel(number_of)
    axes.set_ylabel(plain_text(f"{view.dataset.name} ({view.unit})" if view.unit else view.dataset.name))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))


def _lines(pixel: PixelValues) -> tuple[NDArray[Any], NDArray[Any]]:
    """Give values and flags with a row for each line."""
    values = np.atleast_2d(bounded(pixel.values))
    return values, np.zeros(values.shape, int) if pixel.flags is None else np.atleast_2d(pixel.flags)


def _draw_lines(axes: Axes, pixel: PixelValues, colour: str) -> set[str]:
    """Draw a line for each integration; give the names of the flags that are marked."""
    marked: set[str] = set()
    axes.plot([], [], "-", lw=2, color=colour, label=f"x={pixel.x}, y={pixel.y}")
    rows, marks = _lines(pixel)
    for line, (values, flags) in enumerate(zip(rows, marks, strict=True)):
        places = np.arange(1, len(values) + 1)
        shade, style = _shade(colour, line, len(rows)), _style(line, len(rows))
        axes.plot(places, values, style, lw=1.1, marker=".", ms=3, color=shade)
        marked |= _mark_flags(axes, places, values, flags, shade)
    return marked


def _shade(colour: str, line: int, lines: int) -> tuple[float, float, float]:
    """Give the shade of a line: that of the first is light, that of the last one dark."""
    from matplotlib.colors import to_rgb

    place = 0.0 if lines == 1 else 2 * line / (lines - 1) - 1
    end, part = (1.0, -place * _LIGHT) if place < 0 else (0.0, place * _DARK)
    red, green, blue = (channel + part * (end - channel) for channel in to_rgb(colour))
    return red, green, blue


def _style(line: int, lines: int) -> str:
    return _STYLES[line] if lines <= len(_STYLES) else "-"


def _mark_flags(
    axes: Axes, places: NDArray[Any], values: NDArray[Any], flags: NDArray[Any], colour: tuple[float, float, float]
) -> set[str]:
    found = set()
    for name, (marker, size) in _MARKS.items():
        chosen = (flags & FLAGS[name]) != 0
        if chosen.any():
            axes.plot(places[chosen], values[chosen], marker, ms=size, mfc="none", mec=colour, mew=1)
            found.add(name)
    return found
