"""Thresholds of the rules: how large a statistic gets in quiet pixels, from simulations.

A statistic of a quiet pixel exceeds its threshold with a probability that is its share of one false-alarm budget. How
large it gets depends on the number of exposures, and on the number of integrations: with few of them, hits by cosmic
rays can't be distinguished from the rest. The table ``thresholds.json`` holds quantiles of simulated quiet series;
``python -m miripool.monitors.thresholds`` makes it again.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FALSE_ALARMS", "INTEGRATIONS", "SHARES", "TAILS", "Thresholds", "shortest_segment", "thresholds_for"]

FALSE_ALARMS: Final = 1e-3
"""Fraction of quiet pixels that get any state, unless a monitor asks for another."""

SHARES: Final[Mapping[str, float]] = {
    "step": 0.01,
    "drift": 0.04,
    "unstable": 0.2,
    "noise": 0.2,
    "inner_noise": 0.2,
}
"""Of the budget. The rest is for hot, warm, dead, low_qe, open and rts, whose limits are fixed and rarer."""

INTEGRATIONS: Final = (1, 2, 3, 5)
TAILS: Final = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)
"""Probabilities whose quantiles the table holds, as far as the number of series reaches."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Thresholds for a number of exposures and of integrations.

    Attributes
    ----------
    step : float
        Standardised CUSUM.
    drift : float
        Slope in standard errors.
    unstable : float
        Logarithm of the likelihood ratio of a wide component.
    noise : float
        Scatter from exposure to exposure, in units of the median of all pixels.
    inner_noise : float
        Scatter among integrations, likewise.
    shortest : int
        Exposures in a segment of constant level, at least.
    """

    step: float
    drift: float
    unstable: float
    noise: float
    inner_noise: float
    shortest: int


@cache
def thresholds_for(exposures: int, integrations: int, false_alarms: float = FALSE_ALARMS) -> Thresholds:
    """Give the thresholds for a series.

    Parameters
    ----------
    exposures : int
        In the series.
    integrations : int
        Usable integrations in each exposure.
    false_alarms : float
        Fraction of quiet pixels that may get a state, all states together.

    Returns
    -------
    Thresholds
        Infinite where the series is too short to say anything.

    Raises
    ------
    InvalidInput
        If `false_alarms` is not between 1e-6 and 0.1.
    """
    if not 1e-6 <= false_alarms <= 0.1:
        raise InvalidInput(f"the fraction of false alarms is {false_alarms}; it must be between 1e-6 and 0.1")
    known = max((n for n in INTEGRATIONS if n <= integrations), default=INTEGRATIONS[0])
    table: dict[str, dict[str, list[float]]] = _table()[str(known)]
    found = {name: _interpolated(table[name], exposures, share * false_alarms) for name, share in SHARES.items()}
    shortest = shortest_segment(known)
    if exposures < 2 * shortest:
        found["step"] = math.inf
    return Thresholds(**found, shortest=shortest)


def shortest_segment(integrations: int) -> int:
    """Give the number of exposures in a segment of constant level, at least.

    Parameters
    ----------
    integrations : int
        In each exposure.

    Returns
    -------
    int
        2; 3 where there are so few integrations that a hit can't be distinguished from the rest.
    """
    return 2 if integrations >= 3 else 3


def _interpolated(rows: Mapping[str, list[float]], exposures: int, probability: float) -> float:
    lengths = sorted(int(key) for key in rows)
    if exposures < lengths[0]:
        return math.inf
    at = [_at_probability(rows[str(length)], probability) for length in lengths]
    return float(np.interp(math.log(exposures), np.log(lengths), at))


def _at_probability(quantiles: list[float], probability: float) -> float:
    """Interpolate linearly in the logarithm of the probability; beyond the rarest, go on as steeply as before."""
    x = -np.log(TAILS[: len(quantiles)])
    wanted = -math.log(probability)
    if wanted <= x[-1]:
        return float(np.interp(wanted, x, quantiles))
    slope = max((quantiles[-1] - quantiles[-3]) / (x[-1] - x[-3]), 0.0)
    return float(quantiles[-1] + slope * (wanted - x[-1]))


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(files(__package__).joinpath("thresholds.json").read_text())
    return table
