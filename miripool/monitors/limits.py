"""Limits: exposures in which the level of an amplifier leaves the range that an analyst gave."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput
from .alarms import noise_of
from .amplifiers import AMPLIFIERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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

    def __post_init__(self) -> None:
        if math.isnan(self.low) or math.isnan(self.high) or self.low == math.inf or self.high == -math.inf:
            raise InvalidInput(f"the range {self.low}:{self.high} has no limits; give numbers, DN/s")
        if self.low > self.high:
            raise InvalidInput(f"the range {self.low}:{self.high} is empty: the smaller number comes first")

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
        return cls(low, high)

    def excess(self, value: float) -> float:
        """Give how far a level lies above the range (below it, if negative); 0 within it and for NaN."""
        if value > self.high:
            return value - self.high
        return value - self.low if value < self.low else 0.0


def limit_records(
    found_levels: Sequence[Levels], yellow: Limits | None = None, red: Limits | None = None
) -> list[dict[str, Any]]:
    """List the times in which the level of an amplifier was outside the limits.

    Parameters
    ----------
    found_levels : sequence of Levels
        Of a monitor.
    yellow, red : Limits, optional
        Outside the red ones an alarm is red, else outside the yellow ones it is yellow.

    Returns
    -------
    list of dict
        A row for each run of exposures outside the limits, with the keys of `alarms.alarm_records`. It is red if any of
        them is, and was raised by the first that is. ``size`` is the largest distance from the limit of that colour.
    """
    return [
        record
        for levels in found_levels
        for amplifier in range(1, AMPLIFIERS + 1)
        for record in _runs(levels, amplifier, {"red": red, "yellow": yellow})
    ]


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
    runs = [(outside, list(run)) for outside, run in groupby(judged, key=lambda one: bool(one[1]))]
    for i, (outside, run) in enumerate(runs):
        if not outside:
            continue
        level = "red" if any(one[1] == "red" for one in run) else "yellow"
        worst = [(place, excess) for place, mine, excess in run if mine == level]
        size = max((excess for _, excess in worst), key=abs)
        first, raised = levels.exposures[run[0][0]], levels.exposures[worst[0][0]]
        yield {
            "what": "limit",
            "level": level,
            "detector": levels.stratum.detector,
            "amplifier": amplifier,
            "stratum": str(levels.stratum),
            "onset": first["time"],
            "raised": raised["time"],
            "end": levels.exposures[runs[i + 1][1][0][0]]["time"] if i + 1 < len(runs) else None,
            "urn": raised["urn"],
            "size": size,
            "sigma": sigma,
            "significance": abs(size) / sigma if sigma > 0 else None,
        }
