"""Maps of a detector: the state of each pixel at a date, its rate, or its noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .robust import centre_and_sigma
from .states import STATES
from .styles import STATE_STYLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from .views import StratumView

    Matrix = NDArray[np.floating]

__all__ = ["draw_change", "draw_noise", "draw_rate", "draw_states", "map_size"]

_UNUSABLE: Final = "0.8"
"""Grey of pixels without a rate."""
_LARGEST: Final = 9.0
"""Of markers of pixels, points."""
_SMALLEST: Final = ((100, 7.0), (3000, 4.5), (1 << 62, 2.25))
"""Of markers, points: numbers of markers, and the size down to which so many are drawn."""
_WIDTH: Final = 480.0
"""Of a map, points; about."""
_LARGE: Final = 700
"""Columns or rows from which a map needs a larger figure, or it would have fewer points than the detector pixels."""
_LIMITS: Final = 5.0
"""Robust standard deviations from the median at which the colours of a rate end."""


def map_size(view: StratumView) -> tuple[float, float]:
    """Give width and height of the figure for a map, inches: so large that each detector pixel has its own points."""
    large = max(view.stratum.columns, view.stratum.rows) > _LARGE
    return (13.0, 10.5) if large else (10.0, 7.5)


def draw_states(figure: Figure, view: StratumView, index: int, place: tuple[int, int, int] = (1, 1, 1)) -> Axes:
    """Draw the states of the pixels at an exposure, each state with a marker of its own.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Has nothing at that place.
    view : StratumView
        The stratum.
    index : int
        Of the exposure, from 0.
    place : tuple of int
        Of the map in the figure: rows and columns of maps, and its number from 1.

    Returns
    -------
    matplotlib.axes.Axes
        The map.
    """
    there = view.episodes_at(index)
    unusable = ~np.isfinite(view.rates_at(index))
    axes = _axes(figure, view, place)
    _show_unusable(axes, view, unusable)
    size = _marker_size(view, len(there))
    quiet = unusable.size - int(unusable.sum()) - len(np.unique(there[["x", "y"]]))
    axes.plot([], [], "s", ms=7, mfc="white", mec="0.5", label=f"no state: {quiet:,}")
    groups = [(state, there[there["state"] == state.encode()]) for state in STATES]
    # A rare state stands above a common one.
    for order, (state, mine) in enumerate(sorted(groups, key=lambda group: -len(group[1]))):
        style = STATE_STYLES[state]
        look: dict[str, Any] = {
            "ms": size,
            "mew": (0.06 if style.has_face else 0.2) * size,
            "mfc": style.colour,
            "mec": style.edge,
            "zorder": 3 + order / 100,
        }
        axes.plot(mine["x"], mine["y"], style.marker, ls="", **look)
    for state, mine in groups:
        if len(mine):
            style = STATE_STYLES[state]
            look = {"ms": 7, "mew": 0.8, "mfc": style.colour, "mec": style.edge}
            axes.plot([], [], style.marker, ls="", **look, label=f"{state}: {len(mine):,}")
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), title="pixels")
    return axes


def draw_change(figure: Figure, view: StratumView, after: int) -> tuple[int, int]:
    """Draw the states before and after an event side by side; rings mark the pixels that healed, squares the new ones.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Is empty.
    view : StratumView
        The stratum.
    after : int
        First exposure after the event, from 1.

    Returns
    -------
    healed, born : int
        Pixels with a state in the exposure before and none in the one after, and the other way round.
    """
    states = []
    for number, (index, word) in enumerate(((after - 1, "before"), (after, "after")), 1):
        axes = draw_states(figure, view, index, (1, 2, number))
        axes.set_title(f"{word}: {view.times[index]:%Y-%m-%d %H:%M} UTC")
        there = view.episodes_at(index)
        states.append(set(zip(there["x"].tolist(), there["y"].tolist(), strict=True)))
    healed, born = states[0] - states[1], states[1] - states[0]
    size = 1.8 * _marker_size(view, len(healed) + len(born))
    for pixels, marker, word in ((healed, "o", "healed"), (born, "s", "new")):
        look: dict[str, Any] = {"ms": size, "mew": 0.8, "mfc": "none", "mec": "black", "zorder": 4}
        axes.plot([x for x, _ in pixels], [y for _, y in pixels], marker, ls="", **look)
        axes.plot([], [], marker, ls="", **look | {"ms": 9}, label=f"{word}: {len(pixels):,}")
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), title="pixels")
    return len(healed), len(born)


def draw_rate(figure: Figure, view: StratumView, index: int) -> None:
    """Draw the rates of an exposure. The colours end five robust standard deviations from the median.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Is empty.
    view : StratumView
        The stratum.
    index : int
        Of the exposure, from 0.
    """
    rates = view.rates_at(index)
    middle, sigma = centre_and_sigma(rates) if np.isfinite(rates).any() else (0.0, 0.0)
    room = _LIMITS * sigma or 1.0
    _draw_values(figure, view, rates, (middle - room, middle + room), "rate (DN/s)")


def draw_noise(figure: Figure, view: StratumView) -> None:
    """Draw the noise of the pixels from exposure to exposure. The colours begin at 0 and end at four times the median.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Is empty.
    view : StratumView
        The stratum.
    """
    noise = np.asarray(view.product[f"NOISE{view.number}"][...])
    known = noise[np.isfinite(noise)]
    top = 4 * float(np.median(known)) if known.size else 1.0
    _draw_values(figure, view, noise, (0.0, top or 1.0), "noise from exposure to exposure (DN/s)")


def _draw_values(figure: Figure, view: StratumView, values: Matrix, limits: tuple[float, float], label: str) -> None:
    axes = _axes(figure, view)
    unusable = ~np.isfinite(values)
    _show_unusable(axes, view, unusable)
    # Few values outside the limits are no reason to show it; the ends of the bar say how many there are.
    below, above = int((values < limits[0]).sum()), int((values > limits[1]).sum())
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max"}.get((below > 0, above > 0), "both")
    look: dict[str, Any] = {"origin": "lower", "interpolation": "nearest", "cmap": "viridis"}
    image = axes.imshow(
        np.ma.masked_invalid(values), extent=_extent(view), vmin=limits[0], vmax=limits[1], zorder=2, **look
    )
    figure.colorbar(image, ax=axes, extend=extend, label=label, shrink=0.85)
    beyond = f"beyond the colours: {below:,} below, {above:,} above; no value: {int(unusable.sum()):,} (grey)"
    axes.text(0.5, -0.11, beyond, transform=axes.transAxes, ha="center", va="top", fontsize="small")


def _axes(figure: Figure, view: StratumView, place: tuple[int, int, int] = (1, 1, 1)) -> Axes:
    """Make the axes: columns and rows of the FULL array, from 1; the centre of a pixel is a whole number."""
    from matplotlib.ticker import MaxNLocator

    axes = figure.add_subplot(*place)
    left, right, bottom, top = _extent(view)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_aspect("equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlabel("x: column of the FULL array")
    axes.set_ylabel("y: row of the FULL array")
    return axes


def _extent(view: StratumView) -> tuple[float, float, float, float]:
    stratum = view.stratum
    return (
        *(stratum.x - 0.5, stratum.x + stratum.columns - 0.5),
        *(stratum.y - 0.5, stratum.y + stratum.rows - 0.5),
    )


def _show_unusable(axes: Axes, view: StratumView, unusable: NDArray[np.bool_]) -> None:
    from matplotlib.colors import ListedColormap

    look: dict[str, Any] = {"origin": "lower", "interpolation": "nearest", "cmap": ListedColormap([_UNUSABLE])}
    axes.imshow(np.ma.masked_where(~unusable, unusable), extent=_extent(view), zorder=1, **look)
    if unusable.any():
        axes.plot([], [], "s", ms=7, color=_UNUSABLE, mec="0.5", label=f"no rate: {int(unusable.sum()):,}")


def _marker_size(view: StratumView, markers: int) -> float:
    pixel = _WIDTH / max(view.stratum.columns, view.stratum.rows)
    smallest = next(size for most, size in _SMALLEST if markers <= most)
    return min(max(pixel, smallest), _LARGEST)
