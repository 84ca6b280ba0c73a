"""Answers of a monitor: episodes, trends and populations as records, with times and URNs."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput
from ..instruments.known import detector_named
from ..model.keywords import suggest
from .rows import read_members, read_rows, read_strata
from .states import STATES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..model.product import Product

    Record = dict[str, Any]

__all__ = ["check_states", "count_states", "exposure_records", "population_records", "state_records", "trend_records"]


def check_states(states: Iterable[str]) -> frozenset[str]:
    """Check names of states.

    Parameters
    ----------
    states : iterable of str
        E.g. ``hot``.

    Returns
    -------
    frozenset of str
        The same.

    Raises
    ------
    InvalidInput
        If there is no such state; the message suggests.
    """
    asked = frozenset(states)
    for name in sorted(asked - set(STATES)):
        near = suggest(name, STATES)
        hint = f"did you mean {near[0]}?" if near else f"the states are {', '.join(STATES)}"
        raise InvalidInput(f"there is no state {name!r}; {hint}")
    return asked


def exposure_records(product: Product) -> list[Record]:
    """List the exposures of a monitor.

    Parameters
    ----------
    product : Product
        Of the monitor.

    Returns
    -------
    list of dict
        ``urn, name, version, time`` (start, UTC), ``detector, stratum, integrations`` and ``settling``, the offset of
        the first integration in errors of one integration; by stratum and time.
    """
    strata = read_strata(product)
    return [
        {
            "urn": row["urn"],
            "name": row["name"],
            "version": row["version"],
            "time": datetime.fromisoformat(row["start"]),
            "detector": strata[row["stratum"]].detector,
            "stratum": str(strata[row["stratum"]]),
            "integrations": row["integrations"],
            "settling": _known(row["settling"]),
        }
        for row in read_rows(product, "EXPOSURES")
    ]


def state_records(
    product: Product, *, states: Iterable[str] = (), at: datetime | None = None, pixel: tuple[int, int] | None = None
) -> list[Record]:
    """List the episodes of pixels.

    Parameters
    ----------
    product : Product
        Of the monitor.
    states : iterable of str, keyword-only, optional
        Only these states.
    at : datetime, keyword-only, optional
        Only episodes that had begun and not ended then; aware.
    pixel : tuple of int, keyword-only, optional
        Only this pixel: (x, y) in the FULL array, from 1.

    Returns
    -------
    list of dict
        ``detector, x, y, pixel_id, state, begin, end, amplitude, error, significance, exposures, stratum`` and
        ``fraction, dwell``. Times are UTC; ``end`` is None while the episode lasts. Amplitude and error are in DN/s.
        ``exposures`` are the URNs of the exposures in the episode. ``fraction`` and ``dwell``, in exposures, are None
        for states that have none.

    Raises
    ------
    InvalidInput
        If there is no such state.
    """
    asked = check_states(states)
    strata, exposures = read_strata(product), _exposures(product)
    found = []
    for row in read_rows(product, "STATES"):
        if (asked and row["state"] not in asked) or (pixel is not None and (row["x"], row["y"]) != pixel):
            continue
        stratum, members = strata[row["stratum"]], exposures[row["stratum"]]
        begin = members[row["begin"]][1]
        end = members[row["end"]][1] if row["end"] < len(members) else None
        if at is not None and not (begin <= at and (end is None or at < end)):
            continue
        found.append(
            {
                "detector": stratum.detector,
                "x": row["x"],
                "y": row["y"],
                "pixel_id": detector_named(stratum.detector).pixel_id(row["x"], row["y"]),
                "state": row["state"],
                "begin": begin,
                "end": end,
                **{name: row[name] for name in ("amplitude", "error", "significance")},
                "exposures": [urn for urn, _ in members[row["begin"] : row["end"]]],
                "stratum": str(stratum),
                **{name: _known(row[name]) for name in ("fraction", "dwell")},
            }
        )
    return found


def trend_records(product: Product, *, amplifier: int | None = None) -> list[Record]:
    """List the statistics of amplifiers.

    Parameters
    ----------
    product : Product
        Of the monitor.
    amplifier : int, keyword-only, optional
        Only this one, from 1.

    Returns
    -------
    list of dict
        ``detector, amplifier, stratum, urn, time, integration, median, sigma, noise``: median and robust standard
        deviation of the pixels, and their robust noise from integration to integration, in DN/s; None where there is
        none. Integrations count from 1; times are UTC.
    """
    exposures = exposure_records(product)
    found = []
    for row in read_rows(product, "TRENDS"):
        if amplifier is not None and row["amplifier"] != amplifier:
            continue
        exposure = exposures[row["exposure"]]
        found.append(
            {
                "detector": exposure["detector"],
                "amplifier": row["amplifier"],
                "stratum": exposure["stratum"],
                "urn": exposure["urn"],
                "time": exposure["time"],
                "integration": row["integration"],
                **{name: _known(row[name]) for name in ("median", "sigma", "noise")},
            }
        )
    return found


def population_records(product: Product, *, states: Iterable[str] = ()) -> list[Record]:
    """Count the pixels in each state through time.

    Parameters
    ----------
    product : Product
        Of the monitor.
    states : iterable of str, keyword-only, optional
        Only these states.

    Returns
    -------
    list of dict
        ``stratum, state, urn, time, count, born, healed``: pixels in the state at an exposure, and those that came and
        went with it. States that no pixel of a stratum was ever in are left out.

    Raises
    ------
    InvalidInput
        If there is no such state.
    """
    asked = check_states(states)
    strata, exposures = read_strata(product), _exposures(product)
    found = []
    for row in read_rows(product, "POPULATION"):
        if asked and row["state"] not in asked:
            continue
        urn, time = exposures[row["stratum"]][row["exposure"]]
        numbers = {name: row[name] for name in ("count", "born", "healed")}
        stratum = str(strata[row["stratum"]])
        found.append({"stratum": stratum, "state": row["state"], "urn": urn, "time": time, **numbers})
    return found


def count_states(product: Product) -> dict[str, int]:
    """Count the pixels that are in each state at the last exposure of their stratum.

    Parameters
    ----------
    product : Product
        Of the monitor.

    Returns
    -------
    dict of str to int
        States with at least one pixel, in the order of `STATES`.
    """
    lengths = [len(members) for members in _exposures(product)]
    last = [row["state"] for row in read_rows(product, "STATES") if row["end"] == lengths[row["stratum"]]]
    return {state: last.count(state) for state in STATES if state in last}


def _exposures(product: Product) -> list[list[tuple[str, datetime]]]:
    """Give URN and start of the exposures of each stratum, in the order of time."""
    return [[(row["urn"], row["time"]) for row in rows] for rows in read_members(product)]


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
