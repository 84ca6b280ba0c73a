"""A comparison as a figure: the same frame of two versions, and their difference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from .figures import new_figure, plain_text
from .frameimage import draw_colour_bar, draw_image, draw_scale_bar, drawn_size
from .missing import nan_colour
from .view import number_text, version_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .pairs import FramePair

__all__ = ["draw_pair"]

_WIDE: Final = 4.2
_HIGH: Final = 7.0
"""Inches of a frame at most."""
_SHORT: Final = 2.4
"""Inches that a frame takes at least, with room around it."""
_BAR: Final = 1.0
"""Inches of the labels and the colour bar of a frame."""
_DIFFERENCES: Final = "RdBu_r"
"""Colour map of differences: blue where the second is lower, red where it is higher, as on the page."""
_LINE: Final = 8
"""Characters in an inch of a small title."""


def draw_pair(pair: FramePair, *, scale: str = "linear", cmap: str = "gray") -> Figure:
    """Draw two frames with the same limits, and the second minus the first.

    Parameters
    ----------
    pair : FramePair
        The frames.
    scale, cmap : str, keyword-only
        Of the frames; the difference has a linear scale and a colour map of its own.

    Returns
    -------
    matplotlib.figure.Figure
        With three panels.
    """
    grid, is_flags = pair.first.grid, pair.first.dataset.is_flags
    wide, high = drawn_size(grid, _WIDE, _HIGH)
    figure = new_figure(3 * (max(_SHORT, wide) + _BAR), max(_SHORT, high) + 1.7)
    one, two, between = figure.subplots(1, 3, sharex=True, sharey=True)
    label = ", ".join(part for part in (pair.first.dataset.name, pair.first.unit) if part)
    cmap = "gray_r" if is_flags else cmap
    for axes, view, values in zip((one, two), (pair.first, pair.second), pair.shown, strict=True):
        image = draw_image(
            axes, values, grid, pair.limits, scale=scale, cmap=cmap, step=pair.step, beside=(_DIFFERENCES,)
        )
        if not is_flags:
            draw_colour_bar(image, view.values, plain_text(label), wide)
    image = draw_image(
        between, pair.difference, grid, pair.difference_limits, cmap=_DIFFERENCES, step=pair.step, beside=(cmap,)
    )
    if not is_flags:
        draw_colour_bar(image, np.array(pair.change.ends), plain_text(f"B \u2212 A, {label}"), wide)
    _write_titles(figure, (one, two, between), pair, wide, nan_colour(cmap, _DIFFERENCES).name)
    draw_scale_bar(between, grid)
    for axes in (two, between):
        axes.set_ylabel("")
    return figure


def _write_titles(figure: Figure, panels: tuple[Axes, Axes, Axes], pair: FramePair, wide: float, colour: str) -> None:
    first, second = pair.first.ref, pair.second.ref
    room = max(_SHORT, wide) + _BAR
    lost, missing = pair.change.lost, pair.change.missing
    what = "NaN in A or B" if lost == missing else "NaN or infinite"
    note = f"; {lost:,} {'is' if lost == 1 else 'are'} {what} ({colour})" if lost else ""
    if (first.kind, first.name) == (second.kind, second.name):
        names = [f"{first.kind} {first.name}"]
        titles = [f"A: {number_text(first)}", f"B: {number_text(second)}"]
    else:
        names, titles = [f"A: {version_text(first)}", f"B: {version_text(second)}"], ["A", "B"]
    lines = (*names, pair.first.text, pair.summary + note)
    figure.suptitle("\n".join(plain_text(line, int(_LINE * 3.3 * room)) for line in lines))
    last = "flags differ (red)" if pair.first.dataset.is_flags else "B \u2212 A"
    for axes, title in zip(panels, (*titles, last), strict=True):
        axes.set_title(plain_text(title, int(_LINE * room)), loc="left", fontsize="medium")
