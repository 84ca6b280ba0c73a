"""Plots of a monitor: maps of the detector, amplifiers and populations through time, distributions of rates."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from ..errors import InvalidInput
from ..model.keywords import suggest
from ..pool.images.figures import new_figure, save_figure
from ..system.words import counted
from .charts import draw_histogram, draw_population, draw_trends
from .events import events_of
from .maps import draw_change, draw_noise, draw_rate, draw_states, map_size
from .views import choose_view, read_views

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from ..model.product import Product
    from .views import StratumView

__all__ = ["PLOTS", "plot_monitor"]

PLOTS: Final = ("state", "rate", "noise", "trends", "population", "histogram", "event")
"""What can be drawn of a monitor."""

_AT_A_TIME: Final = {"state", "rate", "histogram", "event"}
_OF_ALL: Final = {"trends": "amplifiers", "population": "population"}
_SHOWN: Final = 5
"""Events that an error lists."""
_MOST: Final = 6
"""Strata in one plot, those with the most exposures."""


def plot_monitor(
    product: Product, path: str | Path, what: str = "state", *, at: datetime | None = None, stratum: int | None = None
) -> Path:
    """Plot what a monitor found.

    Parameters
    ----------
    product : Product
        Of the monitor.
    path : path-like
        File for the plot; its name ends in png, pdf, svg, jpg, tif, webp or eps. A file that is there is replaced.
    what : {'state', 'rate', 'noise', 'trends', 'population', 'histogram', 'event'}
        A map of the states, of the rates or of the noise; amplifiers or populations through time; the distribution
        of the rates; or maps of the states before and after an event.
    at : datetime, keyword-only, optional
        For ``state``, ``rate`` and ``histogram``: of the last exposure that had begun then; aware. The last exposure
        of all unless given. For ``event``: the time of the event.
    stratum : int, keyword-only, optional
        Only this stratum, from 0. Unless given, ``trends`` and ``population`` show the six with the most exposures,
        the others the one with the most.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    InvalidInput
        If there is no such plot or stratum; if the monitor has no exposures, or none so early; if `at` is given for a
        plot of all exposures; or if matplotlib is not installed, or the name of the file
        ends otherwise.
    FileMissing, StorageError, DiskFull
        If the folder is not there, or the file can't be written; a file of that name is then as it was.
    """
    if what not in PLOTS:
        near = suggest(what, PLOTS)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(PLOTS)}"
        raise InvalidInput(f"there is no plot {what!r}; {hint}")
    if at is not None and what not in _AT_A_TIME:
        raise InvalidInput(f"a plot of {what} is of all exposures; leave the time out (--at, at=)")
    views = read_views(product)
    chosen = choose_view(views, stratum)
    if what in _OF_ALL:
        return _plot_all(product, path, what, views if stratum is None else [chosen])
    if what == "event":
        return _plot_event(product, path, chosen, at)
    return _plot_one(product, path, what, chosen, chosen.index_at(at), len(views))


def _plot_all(product: Product, path: str | Path, what: str, views: list[StratumView]) -> Path:
    drawn = sorted(sorted(views, key=lambda view: -len(view.times))[:_MOST], key=lambda view: view.number)
    left = len(views) - len(drawn)
    more = f"\n{counted(left, 'more stratum', 'more strata')} not drawn; choose one by its number" if left else ""
    if what == "trends":
        figure = new_figure(14, 1.6 + 3.4 * len(drawn))
        draw_trends(figure, drawn, events_of(product))
    else:
        figure = new_figure(11, 1.4 + 4.6 * len(drawn))
        draw_population(figure, drawn)
    figure.suptitle(f"monitor {product.name}: {_OF_ALL[what]} through time{more}")
    return save_figure(figure, path)


def _plot_event(product: Product, path: str | Path, view: StratumView, at: datetime | None) -> Path:
    events = events_of(product)
    event = next((event for event in events if event.time == at), None)
    if at is None and len(events) == 1:
        (event,) = events
    if event is None:
        known = ", ".join(
            f"{event.time.isoformat().removesuffix('+00:00')} ({event.kind})" for event in events[:_SHOWN]
        )
        more = ", …" if len(events) > _SHOWN else ""
        hint = f"its events are {known}{more}" if events else "it has no events; `monitor events --add` notes one"
        raise InvalidInput(f"give the time of an event of monitor {product.name!r} (--at, at=); {hint}")
    after = bisect_left(view.times, event.time)
    if not 0 < after < len(view.times):
        raise InvalidInput(
            f"stratum {view.number} has no exposures on both sides of {event.time:%Y-%m-%dT%H:%M:%S} UTC"
        )
    width, height = map_size(view)
    figure = new_figure(2.2 * width, height)
    healed, born = draw_change(figure, view, after)
    words = f"{counted(healed, 'pixel')} healed, {counted(born, 'pixel')} with a new state"
    figure.suptitle(
        f"monitor {product.name}: {event.kind} of {event.time:%Y-%m-%d %H:%M} UTC; {words}\n{view.stratum}",
        fontsize="medium",
    )
    return save_figure(figure, path)


def _plot_one(product: Product, path: str | Path, what: str, view: StratumView, index: int, strata: int) -> Path:
    figure = new_figure(*((10.0, 7.5) if what == "histogram" else map_size(view)))
    if what == "state":
        draw_states(figure, view, index)
    elif what == "rate":
        draw_rate(figure, view, index)
    elif what == "noise":
        draw_noise(figure, view)
    else:
        draw_histogram(figure, view, index)
    number = f"exposure {index + 1} of {len(view.times)}, {view.times[index]:%Y-%m-%d %H:%M} UTC"
    when = (
        f"{counted(len(view.times), 'exposure')} until {view.times[-1]:%Y-%m-%d %H:%M} UTC"
        if what == "noise"
        else number
    )
    head = {"state": "states", "rate": "rates", "noise": "noise", "histogram": "rates by amplifier"}[what]
    of = f"stratum {view.number} (of {strata}, counted from 0): " if strata > 1 else ""
    figure.suptitle(f"monitor {product.name}: {head}; {when}\n{of}{view.stratum}", fontsize="medium")
    return save_figure(figure, path)
