"""A frame as an image in a figure: colours, axes in pixels of the FULL array, a scale bar, and flags over it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from ...errors import InvalidInput
from ...model.keywords import suggest
from .blocks import any_in_blocks, block_means, bounded, drawn_step
from .limits import scaled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.image import AxesImage
    from numpy.typing import NDArray

    from .view import Grid

__all__ = ["colour_map", "draw_colour_bar", "draw_image", "draw_overlay", "draw_scale_bar", "drawn_size", "nan_colour"]

_MARKED: Final = 400
"""Rows and columns of flags that are drawn: a flagged pixel of a FULL frame is a point that can be seen."""
_FLAT: Final = 16
"""Ratio of the sides from which pixels are not drawn as squares: a frame of one row could not be seen."""
_NAN: Final = {"viridis": "#9a9a9a", "cividis": "#c0392b", "RdBu_r": "#6b8f3c"}
"""Colours of what has no number, by colour map."""
_VEIL: Final = 0.4
"""Opacity of a flag that most pixels have, as in the first group of a ramp: the frame is seen behind it."""
_TICKS: Final = 6
"""Ticks along the longer side of a frame."""
_NICE: Final = (1, 2, 5)


def colour_map(name: str) -> Colormap:
    """Give a colour map in which NaN has a colour that no number has.

    Parameters
    ----------
    name : str
        As matplotlib knows it.

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
    return colormaps[name].with_extremes(bad=nan_colour(name))


def nan_colour(name: str) -> str:
    """Give the colour of NaN in a colour map.

    Parameters
    ----------
    name : str
        As matplotlib knows it; it may end in ``_r``.

    Returns
    -------
    str
        As ``#rrggbb``.
    """
    return _NAN.get(name) or _NAN.get(name.removesuffix("_r"), "#2a9d9a")


def draw_image(
    axes: Axes,
    values: NDArray[Any],
    grid: Grid,
    limits: tuple[float, float],
    *,
    scale: str = "linear",
    cmap: str = "gray",
    step: int = 1,
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

    Returns
    -------
    matplotlib.image.AxesImage
        For a colour bar.
    """
    from matplotlib.ticker import MaxNLocator

    fold = drawn_step(values.shape)
    shown = values if fold == 1 else block_means(values, fold)
    image = axes.imshow(
        bounded(shown),
        cmap=colour_map(cmap),
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
        axis.set_major_locator(MaxNLocator(most, integer=True, min_n_ticks=1))
    names = grid.axis_names
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    return image


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


def draw_overlay(axes: Axes, grid: Grid, colour: str, mask: NDArray[np.bool_]) -> None:
    """Colour the pixels of a mask, on top of what is drawn.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        With the frame.
    grid : Grid
        How its pixels are numbered.
    colour : str
        As matplotlib knows it.
    mask : ndarray of bool, shape (ny, nx)
        The pixels.
    """
    from matplotlib.colors import to_rgba

    step = max(1, -(-max(grid.rows, grid.columns) // _MARKED))
    marked = any_in_blocks(mask, step)
    layer = np.zeros((*marked.shape, 4), np.float32)
    layer[marked] = to_rgba(colour, _VEIL if mask.mean() > 0.5 and colour != "black" else 1.0)
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
    """Draw a length above the right end of a frame: in arcseconds where their number in a pixel is known, or in pixels.

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
    right = grid.extent[1]
    place = axes.get_xaxis_transform()
    axes.plot([right - pixels, right], [1.015, 1.015], color="black", lw=2, transform=place, clip_on=False)
    axes.set_title(label, loc="right", fontsize="medium", pad=11)


def _nice(length: float) -> float:
    """Give the largest 1, 2 or 5 times a power of ten up to a length."""
    power = 10.0 ** np.floor(np.log10(length))
    return float(max(n for n in _NICE if n * power <= length * (1 + 1e-9)) * power)
