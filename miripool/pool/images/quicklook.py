"""Quick looks: a figure of one frame with its histogram and flags, and of the values of chosen pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...errors import InvalidInput
from .figures import new_figure, plain_text
from .flags import count_flags, flags_named, flags_of, read_flags
from .frameimage import draw_colour_bar, draw_image, draw_overlay, draw_scale_bar, drawn_size
from .frames import science_values
from .histograms import draw_flag_counts, draw_histogram
from .limits import limits_of
from .missing import nan_colour
from .ramps import check_pixels, draw_pixels, read_pixels
from .view import version_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from .view import FrameChoice, FrameView

__all__ = ["check_marks", "draw_frame"]

_WIDE: Final = 6.2
_HIGH: Final = 7.5
"""Inches of a frame at most."""
_SHORT: Final = 2.6
"""Inches that a frame takes at least, with room around it."""
_BAR: Final = 1.6
"""Inches of the labels and the colour bar beside it."""
_BESIDE: Final = 3.6
"""Inches of the histogram."""
_FLAG_COLOURS: Final = ("#d55e00", "#56b4e9", "#f0e442", "#009e73", "#cc79a7", "#0072b2")
"""By Okabe and Ito; people with any colour vision tell them apart."""

_VEIL: Final = 0.4
"""Opacity of a flag that most pixels have, as in the first group of a ramp: the frame is seen behind it."""

_Key = tuple[tuple[str, float], str]
"""A colour with its opacity, and what it stands for."""


def check_marks(frame: FrameChoice, pixels: Sequence[tuple[int, int]], flags: Sequence[str]) -> None:
    """Refuse pixels and flags that can't be drawn, before arrays are read.

    Parameters
    ----------
    frame : FrameChoice
        The frame.
    pixels, flags : object
        As for `ProductRef.plot`.

    Raises
    ------
    InvalidInput
        If there are no such pixels or flags, or too many.
    """
    bits = flags_named(flags)
    if len(bits) > len(_FLAG_COLOURS):
        raise InvalidInput(f"{len(bits)} flags are too many to tell apart; choose at most {len(_FLAG_COLOURS)}")
    if bits and not flags_of(frame.ref.product)[frame.dataset.name]:
        raise InvalidInput(f"{frame.ref.kind} {frame.ref.name} has no flags of the pixels of {frame.dataset.name}")
    check_pixels(frame, pixels)


def draw_frame(
    frame: FrameChoice,
    *,
    pixels: Sequence[tuple[int, int]] = (),
    flags: Sequence[str] = (),
    scale: str = "linear",
    limits: str | Sequence[float] = "zscale",
    cmap: str = "gray",
) -> Figure:
    """Draw one frame of a version, its histogram and, if pixels are chosen, their values below.

    Parameters
    ----------
    frame : FrameChoice
        The frame.
    pixels, flags, scale, limits, cmap : object
        As for `ProductRef.plot`.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    InvalidInput
        As for `ProductRef.plot`.
    """
    check_marks(frame, pixels, flags)
    bits = flags_named(flags)
    view = frame.read()
    chosen = read_pixels(view, pixels)
    wide, high = (max(_SHORT, side) for side in drawn_size(view.grid, _WIDE, _HIGH))
    figure = new_figure(wide + _BAR + _BESIDE, high + 1.4 + (3.4 if chosen else 0))
    heights = [high, 3.0] if chosen else [high]
    places = figure.add_gridspec(len(heights), 2, width_ratios=[wide + _BAR, _BESIDE], height_ratios=heights)
    beside = places[0, 1].subgridspec(2, 1, height_ratios=[2.6, 1.3])
    axes, side, key = (figure.add_subplot(place) for place in (places[0, 0], beside[0], beside[1]))
    _write_title(figure, view, wide + _BAR + _BESIDE)
    if view.dataset.is_flags:
        entries = _draw_bits(axes, side, view, bits)
    else:
        entries = _draw_values(axes, side, view, limits, scale=scale, cmap=cmap)
        entries += _draw_flags(axes, view, bits)
    draw_scale_bar(axes, view.grid)
    _draw_key(key, entries)
    if chosen:
        draw_pixels(axes, figure.add_subplot(places[1, :]), view, chosen)
    return figure


def _write_title(figure: Figure, view: FrameView, inches: float) -> None:
    lines = (version_text(view.ref), f"{view.text}    {view.ref.urn}")
    figure.suptitle("\n".join(plain_text(line, int(9 * inches)) for line in lines))


def _draw_values(
    axes: Axes, side: Axes, view: FrameView, rule: str | Sequence[float], *, scale: str, cmap: str
) -> list[_Key]:
    values = view.values
    limits = limits_of(science_values(view.ref.product, values), rule)
    image = draw_image(axes, values, view.grid, limits, scale=scale, cmap=cmap)
    label = plain_text(", ".join(part for part in (view.dataset.name, view.unit) if part))
    draw_colour_bar(image, values, label, drawn_size(view.grid, _WIDE, _HIGH)[0])
    draw_histogram(side, values, limits, label)
    lost = values.size - int(np.count_nonzero(np.isfinite(values)))
    what = "not finite" if np.isinf(values).any() else "NaN"
    return [((nan_colour(cmap).code, 1.0), f"{what}: {_pixels(lost)}")] if lost else []


def _draw_bits(axes: Axes, side: Axes, view: FrameView, bits: dict[str, int]) -> list[_Key]:
    """Draw a frame of flags: where any is set, or where the chosen ones are."""
    flags: NDArray[np.uint32] = view.values
    draw_image(axes, np.broadcast_to(np.float32(0), flags.shape), view.grid, (-1.0, 0.0), cmap="gray")
    draw_flag_counts(side, count_flags(flags))
    if bits:
        return _mark(axes, view, flags, bits, veil=1.0)
    draw_overlay(axes, view.grid, ("black", 1.0), flags != 0)
    return [(("black", 1.0), f"any flag: {_pixels(int(np.count_nonzero(flags)))}")]


def _draw_flags(axes: Axes, view: FrameView, bits: dict[str, int]) -> list[_Key]:
    if not bits:
        return []
    flags = read_flags(view.ref.product, view.dataset, view.index)
    return [] if flags is None else _mark(axes, view, flags, bits, veil=_VEIL)


def _mark(axes: Axes, view: FrameView, flags: NDArray[np.uint32], bits: dict[str, int], *, veil: float) -> list[_Key]:
    """Colour the pixels that have flags; rare flags lie on top of frequent ones."""
    found = {}
    for colour, (name, bit) in zip(_FLAG_COLOURS, bits.items(), strict=False):
        mask = (flags & np.uint32(bit)) != 0
        count = int(np.count_nonzero(mask))
        found[count, name] = (colour, veil if count > 0.5 * mask.size else 1.0), mask
    for key in sorted(found, reverse=True):
        draw_overlay(axes, view.grid, *found[key])
    return [(colour, f"{name}: {_pixels(count)}") for (count, name), (colour, _) in found.items()]


def _pixels(count: int) -> str:
    return f"{count:,} pixel{'' if count == 1 else 's'}"


def _draw_key(axes: Axes, entries: Sequence[_Key]) -> None:
    """Say what colours stand for."""
    from matplotlib.patches import Patch

    axes.set_axis_off()
    handles: list[Any] = [Patch(facecolor=colour, edgecolor="0.3", label=text) for colour, text in entries]
    if handles:
        axes.legend(handles=handles, loc="upper right", frameon=False, borderaxespad=0, fontsize="small")
