"""A frame as an image in a figure: colours, axes in pixels of the FULL array, a scale bar, and flags over it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from ...errors import InvalidInput
from ...model.keywords import suggest
from .blocks import any_in_blocks, block_means, bounded, drawn_step
from .figures import need_matplotlib
from .limits import check_limits, check_scale, scaled
from .missing import nan_colour

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.image import AxesImage
    from matplotlib.ticker import MaxNLocator
    from numpy.typing import NDArray

    from .view import Grid

__all__ = [
    "check_colours",
    "colour_map",
    "draw_colour_bar",
    "draw_image",
    "draw_overlay",
    "draw_scale_bar",
    "drawn_size",
]

_MARKED: Final = 400
"""Rows and columns of flags that are drawn: a flagged pixel of a FULL frame is a point that can be seen."""
_FLAT: Final = 16
"""Ratio of the sides from which pixels are not drawn as squares: a frame of one row could not be seen."""
_TURNED: Final = 5
"""Ratio of the sides from which numbers of columns stand upright: there is no room for two beside each other."""
_TICKS: Final = 6
"""Ticks along the longer side of a frame."""
_NICE: Final = (1, 2, 5)


def check_colours(scale: str, limits: str | Sequence[float], cmap: str) -> None:
    """Refuse colours that can't be drawn, before arrays are read.

    Parameters
    ----------
    scale, limits, cmap : object
        As for `ProductRef.plot`.

    Raises
    ------
    InvalidInput
        If there is no such scale, limits or map; or if matplotlib is not installed.
    """
    need_matplotlib()
    check_scale(scale)
    check_limits(limits)
    colour_map(cmap)


def colour_map(name: str, *beside: str) -> Colormap:
    """Give a colour map in which NaN has a colour that no number has.

    Parameters
    ----------
    name : str
        As matplotlib knows it.
    *beside : str
        Maps in the same picture, in which NaN has the same colour.

    Returns
    -------
    matplotlib.colors.Colormap
        The map.

    Raises
    ------
    InvalidInput
        If there is no such map.
    """
    from matplotlib import colormaps

    if name not in colormaps:
        near = suggest(name, list(colormaps))
        hint = f"did you mean {' or '.join(near)}?" if near else "gray, viridis, magma and inferno are some"
        raise InvalidInput(f"matplotlib has no colour map {name!r}; {hint}")
    return colormaps[name].with_extremes(bad=nan_colour(name, *beside).code)


def draw_image(
    axes: Axes,
    values: NDArray[Any],
    grid: Grid,
    limits: tuple[float, float],
    *,
    scale: str = "linear",
    cmap: str = "gray",
    step: int = 1,
    beside: tuple[str, ...] = (),
) -> AxesImage:
    """Draw a frame, or means of its blocks where it is large; its first row is the lowest.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Is empty.
    values : ndarray of float, shape (ny, nx)
        The frame.
    grid : Grid
        How its pixels are numbered.
    limits : tuple of float
        Values at the ends of the colour map.
    scale, cmap : str, keyword-only
        The scale between the limits, and the name of the colour map.
    step : int, keyword-only
        Rows and columns of the frame that a value stands for.
    beside : tuple of str, keyword-only
        Colour maps in the same picture, as for `colour_map`.

    Returns
    -------
    matplotlib.image.AxesImage
        For a colour bar.
    """
    fold = drawn_step(values.shape)
    shown = values if fold == 1 else block_means(values, fold)
    image = axes.imshow(
        bounded(shown),
        cmap=colour_map(cmap, *beside),
        norm=scaled(scale, *limits),
        origin="lower",
        extent=_extent(grid, shown.shape, fold * step),
        aspect=_aspect(grid),
        interpolation="nearest" if max(values.shape) <= _MARKED else "auto",
    )
    left, right, bottom, top = grid.extent
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    for axis, side in ((axes.xaxis, grid.columns), (axes.yaxis, grid.rows)):
        most = _TICKS if _aspect(grid) == "auto" else max(2, round(_TICKS * side / max(grid.rows, grid.columns)))
        axis.set_major_locator(_located(most, side, axis.get_view_interval()))
    if grid.rows > _TURNED * grid.columns and _aspect(grid) == "equal":
        axes.tick_params(axis="x", labelrotation=90)
    names = grid.axis_names
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    return image


def _located(most: int, side: int, ends: tuple[float, float]) -> MaxNLocator:
    """Give a locator of ticks at whole numbers, two of which are on the axis if it has two pixels."""
    from matplotlib.ticker import MaxNLocator

    for number in range(most, most + _TICKS):
        locator = MaxNLocator(number, integer=True, min_n_ticks=1)
        ticks = np.asarray(locator.tick_values(*ends))
        if np.count_nonzero((ticks > ends[0]) & (ticks < ends[1])) >= min(2, side):
            break
    return locator


def _extent(grid: Grid, shape: tuple[int, ...], step: int) -> tuple[float, float, float, float]:
    """Give the edges of blocks, the last of which may reach beyond the frame."""
    return grid.x - 0.5, grid.x - 0.5 + step * shape[1], grid.y - 0.5, grid.y - 0.5 + step * shape[0]


def drawn_size(grid: Grid, wide: float, high: float) -> tuple[float, float]:
    """Tell how large a frame is drawn.

    Parameters
    ----------
    grid : Grid
        The frame.
    wide, high : float
        Inches that it may take at most.

    Returns
    -------
    wide, high : float
        Inches that it takes. Pixels are squares, unless that would make it a line.
    """
    if _aspect(grid) == "auto":
        return (wide, wide / 3) if grid.columns > grid.rows else (high / 3, high)
    pixel = min(wide / grid.columns, high / grid.rows)
    return pixel * grid.columns, pixel * grid.rows


def _aspect(grid: Grid) -> Literal["equal", "auto"]:
    sides = sorted((grid.rows, grid.columns))
    return "equal" if sides[1] <= _FLAT * sides[0] else "auto"


def draw_overlay(axes: Axes, grid: Grid, colour: tuple[str, float], mask: NDArray[np.bool_]) -> None:
    """Colour the pixels of a mask, on top of what is drawn.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        With the frame.
    grid : Grid
        How its pixels are numbered.
    colour : tuple of str and float
        As matplotlib knows it, and its opacity.
    mask : ndarray of bool, shape (ny, nx)
        The pixels.
    """
    from matplotlib.colors import to_rgba

    step = max(1, -(-max(grid.rows, grid.columns) // _MARKED))
    marked = any_in_blocks(mask, step)
    layer = np.zeros((*marked.shape, 4), np.float32)
    layer[marked] = to_rgba(*colour)
    extent = _extent(grid, marked.shape, step)
    axes.imshow(layer, origin="lower", extent=extent, aspect=_aspect(grid), interpolation="nearest", zorder=1.5)
    left, right, bottom, top = grid.extent
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)


def draw_colour_bar(image: AxesImage, values: NDArray[Any], label: str, width: float) -> None:
    """Draw the colours beside a frame, as high as the frame; pointed ends say that there are values beyond.

    Parameters
    ----------
    image : matplotlib.image.AxesImage
        From `draw_image`.
    values : ndarray of float
        Those of the frame, or its lowest and its highest.
    label : str
        What they are, with their unit.
    width : float
        Of the frame in the figure, in inches.
    """
    low, high = np.asarray(image.get_clim(), np.float64)
    beyond = bool((values < low).any()), bool((values > high).any())
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get(beyond, "neither")
    from matplotlib.ticker import StrMethodFormatter

    axes = image.axes
    box = axes.inset_axes((1 + 0.1 / width, 0, 0.18 / width, 1))
    axes.figure.colorbar(
        image, cax=box, extend=extend, extendfrac=0.03, label=label, format=StrMethodFormatter("{x:.12g}")
    )


def draw_scale_bar(axes: Axes, grid: Grid) -> None:
    """Draw a length below the label of the columns: in arcseconds where their number in a pixel is known, or in pixels.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        With the frame.
    grid : Grid
        How wide it is, and its pixels are.
    """
    if grid.scale is None:
        pixels = max(1.0, _nice(grid.columns / 5))
        label = f"{pixels:g} pixel{'' if pixels == 1 else 's'}"
    else:
        length = _nice(grid.columns * grid.scale / 5)
        pixels = length / grid.scale
        label = f"{length:g}\u2033 ({pixels:.3g} pixels)"
    right, below = grid.extent[1], ("data", axes.xaxis.label)  # -1 is the label's height below it
    bar = {"arrowstyle": "-", "linewidth": 2, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (right - pixels, -1), xycoords=below, xytext=(right, -1), textcoords=below, arrowprops=bar)
    axes.annotate(
        label,
        (right - pixels, -1),
        xycoords=below,
        xytext=(-5, 0),
        textcoords="offset points",
        ha="right",
        va="center",
    )


def _nice(length: float) -> float:
    """Give the largest 1, 2 or 5 times a power of ten up to a length."""
    power = 10.0 ** np.floor(np.log10(length))
    return float(max(n for n in _NICE if n * power <= length * (1 + 1e-9)) * power)
