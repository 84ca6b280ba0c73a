"""Addresses of monitors: trends, populations, episodes, events, and maps of states, rates and noise."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from ..errors import InvalidInput
from ..monitors import PixelMonitor, answers, trendlines
from ..monitors.events import effect_records
from ..monitors.states import STATES
from ..monitors.views import StratumView, choose_view, read_views
from ..records.monitors import monitor_records
from ..system.words import comma_separated
from .answers import Json
from .kept import array_answer
from .pools import OpenPool
from .watching import WatchedRoute

__all__ = ["router"]

router = APIRouter(prefix="/api/pools/{pool}/monitors", route_class=WatchedRoute, tags=["monitors"])

_MOST_EPISODES = 2000


def _monitor(pool: OpenPool, name: str) -> PixelMonitor:
    return pool.monitor(name)


Monitor = Annotated[PixelMonitor, Depends(_monitor)]
Stratum = Annotated[int | None, Query(description="Number of the stratum, from 0; by default the largest.")]
At = Annotated[str, Query(description="The last exposure begun by then, UTC by default; the last unless given.")]
States = Annotated[str, Query(description="Only these states, with commas between them.")]


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"{text!r} is not a time; write a date such as 2026-05-01T12:00") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


@router.get("")
def list_monitors(
    pool: OpenPool,
    x: Annotated[int | None, Query(description="Only those that follow the pixel in this column, from 1 …")] = None,
    y: Annotated[int | None, Query(description="… and this row of the FULL array, from 1.")] = None,
    detector: Annotated[str, Query(description="Only those of this detector.")] = "",
) -> Json:
    """List the monitors, as `miripool monitor list --json` does; with x and y, those that follow the pixel."""
    if (x is None) != (y is None):
        raise InvalidInput("a pixel has a column x and a row y; give both, or none of them")
    pixel = None if x is None or y is None else (x, y)
    return Json(monitor_records(pool, pixel=pixel, detector=detector or None))


@router.get("/{name}")
def show_monitor(monitor: Monitor) -> Json:
    """Give a monitor's strata with their exposures, its events, and the states there are."""
    product = monitor.ref.product
    views = read_views(product) if len(answers.exposure_records(product)) else []
    return Json(
        {
            "name": monitor.name,
            "urn": monitor.ref.urn,
            "version": monitor.ref.version,
            "tags": list(monitor.ref.tags),
            "kind": monitor.definition.kind,
            "states": answers.count_states(product),
            "known_states": list(STATES),
            "strata": [_stratum(view) for view in views],
            "events": [{"time": one.time, "kind": one.kind, "note": one.note} for one in monitor.events],
        }
    )


def _stratum(view: StratumView) -> dict[str, Any]:
    seen = view.stratum
    return {
        "number": view.number,
        "title": str(seen),
        "detector": seen.detector,
        "place": {"x": seen.x, "y": seen.y, "columns": seen.columns, "rows": seen.rows},
        "times": list(view.times),
        "urns": list(view.urns),
    }


@router.get("/{name}/trends")
def list_trends(
    monitor: Monitor,
    amplifier: Annotated[int | None, Query(ge=1, le=4, description="Only this amplifier.")] = None,
    fit: Annotated[bool, Query(description="Lines fitted to the levels instead.")] = False,
) -> Json:
    """List level, spread and noise by amplifier and integration, as `miripool monitor trends --json` does."""
    records = trendlines.trend_line_records if fit else answers.trend_records
    return Json(records(monitor.ref.product, amplifier=amplifier))


@router.get("/{name}/population")
def list_population(monitor: Monitor, state: States = "") -> Json:
    """Count the pixels in each state at each exposure, as `miripool monitor population --json` does."""
    return Json(answers.population_records(monitor.ref.product, states=comma_separated(state)))


@router.get("/{name}/events")
def list_events(monitor: Monitor) -> Json:
    """Tell what each event did, as `miripool monitor events --json` does."""
    return Json(effect_records(monitor.ref.product, monitor.events))


@router.get("/{name}/states")
def list_states(
    monitor: Monitor,
    state: States = "",
    at: At = "",
    limit: Annotated[int, Query(ge=1, le=_MOST_EPISODES, description="Episodes at most.")] = 200,
    offset: Annotated[int, Query(ge=0, description="Episodes to pass over.")] = 0,
) -> Json:
    """List the episodes of pixels, as `miripool monitor states --json` does, a page at a time, the clearest first."""
    rows = answers.state_records(monitor.ref.product, states=comma_separated(state), at=_moment(at))
    rows.sort(key=lambda row: -abs(row["significance"]))
    return Json({"total": len(rows), "rows": rows[offset : offset + limit]})


@router.get("/{name}/map")
def show_map(
    monitor: Monitor,
    what: Annotated[Literal["state", "rate"], Query(description="What is drawn.")] = "state",
    at: At = "",
    stratum: Stratum = None,
) -> Response:
    """Give a map as an array, shape (ny, nx): states as numbers, or rates in DN/s.

    A state is 1 plus its place in `known_states`; 0 is no state, 255 a pixel without a usable rate.
    """
    view = choose_view(read_views(monitor.ref.product), stratum)
    index = view.index_at(_moment(at))
    rates = view.rates_at(index)
    values = rates.astype(np.float32) if what == "rate" else _state_map(view, index, np.isfinite(rates))
    return array_answer(values, **{"X-Exposure": str(index)})


def _state_map(view: StratumView, index: int, usable: np.ndarray[Any, np.dtype[np.bool_]]) -> Any:
    found = np.where(usable, 0, 255).astype(np.uint8)
    there = view.episodes_at(index)
    for number, state in enumerate(STATES, 1):
        mine = there[there["state"] == state.encode()]
        found[mine["y"] - view.stratum.y, mine["x"] - view.stratum.x] = number
    return found
