"""Charts of a monitor: amplifiers and populations through time, and the distribution of rates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..instruments.known import detector_named
from ..pool.images.figures import show_times, time_limits
from .amplifiers import AMPLIFIERS, amplifiers_of
from .events import events_of
from .robust import centre_and_sigma
from .states import STATES
from .styles import AMPLIFIER_STYLES, STATE_STYLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from .events import Event
    from .views import StratumView

    Matrix = NDArray[np.floating]

__all__ = ["draw_events", "draw_histogram", "draw_population", "draw_trends"]

_WINDOW: Final = 8.0
"""Robust standard deviations from the median, up to which a histogram goes."""
_BINS: Final = 80
_PEAK: Final = 0.7
"""Height of the highest bin of a histogram, as a share of its panel; the legend stands above it."""
_EVENT_LINES: Final = ("--", ":", "-.")
"""Styles of the lines of events, by kind."""
_WIDE: Final = 100
"""Ratio of the pixels in the commonest state to those in the rarest, from which counts are on a logarithmic axis."""


def draw_events(axes: Axes, events: Sequence[Event]) -> None:
    """Mark events by vertical lines; those beyond the axis of time are left out.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        With a horizontal axis of time whose limits are set.
    events : sequence of Event
        Any.
    """
    from matplotlib.dates import date2num

    low, high = axes.get_xlim()
    seen: dict[str, str] = {}
    for event in events:
        if low <= date2num(event.time) <= high:  # type: ignore[no-untyped-call]
            line = seen.setdefault(event.kind, _EVENT_LINES[len(seen) % len(_EVENT_LINES)])
            axes.axvline(event.time, color="0.1", lw=1.2, ls=line, zorder=1)  # type: ignore[arg-type]
    for kind, line in seen.items():
        axes.plot([], [], color="0.1", lw=1.2, ls=line, label=kind)


def draw_trends(figure: Figure, views: Sequence[StratumView], events: Sequence[Event] = ()) -> None:
    """Draw median and noise of the amplifiers through time, a row of panels for each stratum.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Is empty.
    views : sequence of StratumView
        The strata.
    events : sequence of Event
        To be marked.
    """
    panels = figure.subplots(len(views), 3, sharex=True, squeeze=False)
    for row, view in zip(panels, views, strict=True):
        for axes, name in zip(row, ("median", "sigma", "noise"), strict=True):
            _draw_trend(axes, view, name)
        row[0].set_title(f"stratum {view.number}: {view.stratum}", fontsize="small", loc="left")
    for axes in panels[-1]:
        _label_times(axes, views)
    for axes in panels.ravel():
        draw_events(axes, events)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=AMPLIFIERS + 1)


def _draw_trend(axes: Axes, view: StratumView, name: str) -> None:
    times = np.array(view.times)
    for number, style in enumerate(AMPLIFIER_STYLES, 1):
        values = view.trends(name, number)
        middle = _middle(values)
        look: dict[str, Any] = {"marker": style.marker, "ms": 3.5, "lw": 0.9, "ls": style.line, "color": style.colour}
        axes.plot(times, middle, **look, label=f"amplifier {number}")
        if name == "median":
            axes.fill_between(times, *_range(values), color=style.colour, alpha=0.15, lw=0)
    if name == "median":
        axes.fill_between([], [], color="0.5", alpha=0.3, lw=0, label="range of its integrations")
    labels = {
        "median": "median rate (DN/s)",
        "sigma": "spread of the pixels (DN/s)",
        "noise": "noise between integrations (DN/s)",
    }
    axes.set_ylabel(labels[name])
    axes.grid(alpha=0.3)


def _middle(values: Matrix) -> Matrix:
    return np.asarray(np.nanmedian(np.where(_any(values), values, 0.0), axis=0) + np.where(_any(values), 0.0, np.nan))


def _range(values: Matrix) -> tuple[Matrix, Matrix]:
    there = _any(values)
    known = np.where(there, values, 0.0)
    nothing = np.where(there, 0.0, np.nan)
    return np.nanmin(known, axis=0) + nothing, np.nanmax(known, axis=0) + nothing


def _any(values: Matrix) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(values).any(axis=0))


def draw_population(figure: Figure, views: Sequence[StratumView]) -> None:
    """Draw the pixels in each state through time, and those that came and went, two panels for each stratum.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Is empty.
    views : sequence of StratumView
        The strata.
    """
    heights = [3, 1.3] * len(views)
    panels = figure.subplots(2 * len(views), 1, sharex=True, height_ratios=heights)
    _label_times(panels[-1], views)
    for view, upper, lower in zip(views, panels[::2], panels[1::2], strict=True):
        upper.set_title(f"stratum {view.number}: {view.stratum}", fontsize="small", loc="left")
        draw_events(upper, events_of(view.product))
        _draw_counts(upper, view)
        _draw_changes(lower, view)


def _draw_counts(axes: Axes, view: StratumView) -> None:
    rows, times = view.population(), np.array(view.times)
    seen = [state for state in STATES if state.encode() in rows["state"]]
    for state in seen:
        style = STATE_STYLES[state]
        counts = rows["count"][rows["state"] == state.encode()]
        look: dict[str, Any] = {
            "drawstyle": "steps-post",
            "marker": style.marker,
            "ls": style.line,
            "lw": 1.3,
            "clip_on": False,
        }
        axes.plot(
            *(times, counts),
            **(look | {"ms": 5, "mec": style.edge, "mew": 0.5, "color": style.colour}),
            label=f"{state}: {counts[-1]:,} at the end",
        )
    most = [int(rows["count"][rows["state"] == state.encode()].max()) for state in seen]
    if most and max(most) > _WIDE * min(most):
        axes.set_yscale("symlog", linthresh=1)
        axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylim(bottom=0)
    if not seen:
        axes.plot([], [], " ", label="no pixel was in a state")
    axes.set_ylabel("pixels in the state")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))


def _draw_changes(axes: Axes, view: StratumView) -> None:
    from matplotlib.ticker import MaxNLocator

    rows, times = view.population(), np.array(view.times)
    for name, sign, marker, colour, words in (
        *(("born", 1, "^", "black", "entered a state"), ("healed", -1, "v", "0.5", "left a state")),
    ):
        totals = np.bincount(rows["exposure"], rows[name], minlength=len(times)).astype(int)
        some = totals > 0
        axes.vlines(times[some], 0, sign * totals[some], color=colour, lw=2)
        axes.plot(times[some], sign * totals[some], marker, color=colour, ms=5, label=f"{words}: {totals.sum():,}")
    axes.axhline(0, color="black", lw=0.8)
    axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):,.0f}")
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.margins(y=0.15)
    if not rows["born"].any() and not rows["healed"].any():
        axes.set_ylim(-1, 1)
    axes.set_ylabel("changes")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))


def _label_times(axes: Axes, views: Sequence[StratumView]) -> None:
    limits = time_limits(min(view.times[0] for view in views), max(view.times[-1] for view in views))
    axes.set_xlim(*limits)  # type: ignore[arg-type]
    axes.set_xlabel("start of the exposure (UTC)")
    show_times(axes)


def draw_histogram(figure: Figure, view: StratumView, index: int) -> None:
    """Draw the distribution of the rates of an exposure, a panel for each amplifier, with a robust Gaussian.

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
    stratum = view.stratum
    amplifier = amplifiers_of(detector_named(stratum.detector), stratum.x, stratum.columns)
    panels = figure.subplots(2, 2, sharex=True, sharey=True)
    known = rates[np.isfinite(rates)]
    edges = _edges(known)
    peak = 1
    for number, axes in enumerate(panels.ravel(), 1):
        part = rates[:, amplifier == number]
        axes.set_title(f"amplifier {number}", fontsize="medium")
        peak = max(peak, _draw_rates(axes, part[np.isfinite(part)], edges))
    panels[0, 0].set_yscale("log")
    panels[0, 0].yaxis.set_major_formatter("{x:,.0f}")
    panels[0, 0].set_ylim(0.5, 0.5 * (2 * peak) ** (1 / _PEAK))
    for axes in panels[-1]:
        axes.set_xlabel("rate (DN/s)")
    for axes in panels[:, 0]:
        axes.set_ylabel(f"pixels in {edges[1] - edges[0]:.2g} DN/s")


def _edges(known: Matrix) -> Matrix:
    middle, sigma = centre_and_sigma(known) if known.size else (0.0, 0.0)
    room = _WINDOW * sigma if sigma > 0 else 1.0
    return np.linspace(middle - room, middle + room, _BINS + 1)


def _draw_rates(axes: Axes, rates: Matrix, edges: Matrix) -> int:
    """Draw the pixels of an amplifier; give the largest number of them in a bin."""
    counts, _ = np.histogram(rates, edges)
    outside = f"{int((rates < edges[0]).sum()):,} below and {int((rates > edges[-1]).sum()):,} above the axis"
    axes.stairs(counts, edges, fill=True, color="0.75", label=f"{rates.size:,} pixels,\n{outside}")
    axes.stairs(counts, edges, color="black", lw=0.8)
    middle, sigma = centre_and_sigma(rates)
    if sigma > 0:
        x = np.linspace(edges[0], edges[-1], 400)
        height = rates.size * (edges[1] - edges[0]) / (sigma * np.sqrt(2 * np.pi))
        label = f"Gaussian: median {middle:.4g},\n$\\sigma$ = 1.4826 MAD = {sigma:.4g} DN/s"
        axes.plot(x, height * np.exp(-0.5 * ((x - middle) / sigma) ** 2), "--", color="C3", lw=1.6, label=label)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="upper left")
    return int(counts.max(initial=0))
