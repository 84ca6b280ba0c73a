"""Limits: exposures in which the level of an amplifier leaves the range that an analyst gave."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput
from .alarms import noise_of
from .exposures import AMPLIFIERS
from .levels import read_levels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from ..model.product import Product
    from .levels import Levels

__all__ = ["Limits", "limit_records"]


@dataclass(frozen=True, slots=True)
class Limits:
    """A range of levels, DN/s; both ends belong to it.

    Attributes
    ----------
    low, high : float
        Infinite where there is no limit.
    """

    low: float = -math.inf
    high: float = math.inf

    @classmethod
    def parse(cls, text: str) -> Limits:
        """Read ``LOW:HIGH``; either may be left out.

        Parameters
        ----------
        text : str
            E.g. ``-0.1:0.25`` or ``:0.25``, DN/s.

        Returns
        -------
        Limits
            The range.

        Raises
        ------
        InvalidInput
            If it is written otherwise, or empty.
        """
        parts = text.split(":")
        try:
            low, high = (
                float(part) if part.strip() else default
                for part, default in zip(parts, (-math.inf, math.inf), strict=True)
            )
        except ValueError:
            raise InvalidInput(f"{text!r} is not a range; write LOW:HIGH in DN/s, e.g. -0.1:0.25, or :0.25") from None
        if not low <= high:
            raise InvalidInput(f"the range {text!r} is empty: the smaller number comes first")
        return cls(low, high)

    def excess(self, value: float) -> float:
        """Give how far a level lies above the range (below it, if negative); 0 within it and for NaN."""
        if value > self.high:
            return value - self.high
        return value - self.low if value < self.low else 0.0


def limit_records(
    product: Product, yellow: Limits | None = None, red: Limits | None = None, *, since: datetime | None = None
) -> list[dict[str, Any]]:
    """List the times in which the level of an amplifier was outside the limits.

    Parameters
    ----------
    product : Product
        Of a monitor.
    yellow, red : Limits, optional
        Outside the red ones an alarm is red, else outside the yellow ones it is yellow.
    since : datetime, keyword-only, optional
        Only alarms raised then or later; aware.

    Returns
    -------
    list of dict
        A row for each run of exposures that are outside the same limits, with the keys of `alarms.alarm_records`.
        ``size`` is the largest distance from the limit.
    """
    found = [
        record
        for levels in read_levels(product)
        for amplifier in range(1, AMPLIFIERS + 1)
        for record in _runs(levels, amplifier, {"red": red, "yellow": yellow})
    ]
    return [record for record in found if since is None or record["raised"] >= since]


def _runs(levels: Levels, amplifier: int, limits: dict[str, Limits | None]) -> Iterator[dict[str, Any]]:
    values = levels.values[:, amplifier - 1]
    sigma = noise_of(values)

    def judge(place: int) -> tuple[str, float]:
        for level, range_ in limits.items():
            excess = 0.0 if range_ is None else range_.excess(float(values[place]))
            if excess:
                return level, excess
        return "", 0.0

    judged = [(place, *judge(place)) for place in range(len(values)) if math.isfinite(values[place])]
    runs = [(level, list(run)) for level, run in groupby(judged, key=lambda one: one[1])]
    for i, (level, run) in enumerate(runs):
        if not level:
            continue
        size = max((excess for _, _, excess in run), key=abs)
        first = levels.exposures[run[0][0]]
        yield {
            "what": "limit",
            "level": level,
            "detector": levels.stratum.detector,
            "amplifier": amplifier,
            "stratum": str(levels.stratum),
            "onset": first["time"],
            "raised": first["time"],
            "end": levels.exposures[runs[i + 1][1][0][0]]["time"] if i + 1 < len(runs) else None,
            "urn": first["urn"],
            "size": size,
            "sigma": sigma,
            "significance": abs(size) / sigma if sigma > 0 else None,
        }
