"""Figures in files: matplotlib without a screen, axes of times, text as it is, and errors with a remedy."""

from __future__ import annotations

import io
import textwrap
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ...errors import InvalidInput
from .picturefile import format_of, write_picture

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from matplotlib.figure import Figure

__all__ = ["drawable", "need_matplotlib", "new_figure", "plain_text", "save_figure", "show_times", "time_limits"]

_DPI = 150


def need_matplotlib() -> None:
    """Say how to install matplotlib if it is missing.

    Raises
    ------
    InvalidInput
        If matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise InvalidInput("plots need matplotlib; install it with pip install 'miripool[plot]'") from None


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure that needs no screen.

    Parameters
    ----------
    width, height : float
        Inches; a file of pixels has 150 of them to the inch.

    Returns
    -------
    matplotlib.figure.Figure
        Its layout keeps axes, titles and legends apart.

    Raises
    ------
    InvalidInput
        If matplotlib is not installed.
    """
    need_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: str | Path, *, overwrite: bool = True) -> Path:
    """Write a figure to a file, completely or not at all.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure.
    path : path-like
        The file, in one of `FORMATS`.
    overwrite : bool, keyword-only
        Replace a file that is there.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    InvalidInput
        If there is no such format.
    AlreadyExists, FileMissing, StorageError, DiskFull
        As for `write_picture`.
    """
    picture = io.BytesIO()
    figure.savefig(picture, format=format_of(path), dpi=_DPI)
    return write_picture(picture.getvalue(), path, overwrite=overwrite)


def time_limits(first: datetime, last: datetime) -> tuple[datetime, datetime]:
    """Give the ends of an axis of times.

    Parameters
    ----------
    first, last : datetime
        The earliest time and the latest one; they may be the same.

    Returns
    -------
    tuple of datetime
        With some room on both sides, half an hour at least.
    """
    room = max(0.03 * (last - first), timedelta(minutes=30))
    return first - room, last + room


def show_times(axes: Any) -> None:
    """Show short dates on an axis of times, in UTC.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Its x-axis has times.
    """
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator: Any = AutoDateLocator()  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def plain_text(text: str, width: int | None = None) -> str:
    """Make text that matplotlib draws as it is, whatever names, tags and units hold.

    Parameters
    ----------
    text : str
        Any.
    width : int, optional
        Most characters of a line.

    Returns
    -------
    str
        As `drawable` gives it, in lines; dollar signs, which would begin a formula, are escaped.
    """
    return "\n".join(drawable(text, width)).replace("$", r"\$")


def drawable(text: str, width: int | None = None) -> list[str]:
    """Make lines of text that the font of the figures can draw.

    Parameters
    ----------
    text : str
        Any.
    width : int, optional
        Most characters of a line.

    Returns
    -------
    list of str
        A white square stands for each character that the font lacks, and for line feeds and the like.
    """
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties()))
    known = "".join(c if c.isprintable() and font.get_char_index(ord(c)) else "\u25a1" for c in text)
    return textwrap.wrap(known, width) or [""] if width is not None else [known]
