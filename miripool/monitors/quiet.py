"""Quiet pixels: series of nothing but noise and cosmic-ray hits, for the thresholds of the rules.

``python -m miripool.monitors.quiet > thresholds.json`` makes the table of `thresholds` again, in an hour.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .blocks import Block, rate_of
from .series import Series
from .states import statistics_of
from .summaries import summarise
from .thresholds import INTEGRATIONS, SHARES, TAILS, shortest_segment

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["quiet_block", "simulate_quantiles"]

_HITS: Final = 0.005
"""Fraction of the simulated samples that a cosmic ray hit and the pipeline missed."""
_SIZE_OF_HITS: Final = 15.0
"""Mean size of these hits, in standard deviations of one integration; exponentially distributed."""
_LENGTHS: Final = (4, 5, 6, 8, 10, 14, 20, 30, 45, 60, 100, 200, 400)
_FEWEST_BEYOND: Final = 10
"""Series beyond a quantile, for the quantile to be in the table."""


def quiet_block(
    rng: Generator, exposures: int, integrations: int, pixels: int, *, hits: float, size_of_hits: float
) -> Block:
    """Simulate pixels whose rates do not change, in units of the noise of one integration.

    Parameters
    ----------
    rng : numpy.random.Generator
        For the noise and the hits.
    exposures, integrations, pixels : int
        How many: of exposures, of integrations in each, of pixels.
    hits : float, keyword-only
        Fraction of the slopes that a cosmic ray hit.
    size_of_hits : float, keyword-only
        Mean of what a hit adds; exponentially distributed.

    Returns
    -------
    Block
        Their series.
    """
    shape = (exposures, pixels)
    rates, errors, scatter, counts = (np.empty(shape) for _ in range(4))
    for i in range(exposures):
        slopes = rng.standard_normal((integrations, 1, pixels), np.float32)
        hit = rng.random(slopes.shape, np.float32) < hits
        slopes[hit] += rng.exponential(size_of_hits, np.count_nonzero(hit)).astype(np.float32)
        summary = summarise(slopes, np.ones_like(slopes))
        rate, error = rate_of(summary, first=True)
        rates[i], errors[i] = rate[0], error[0]
        scatter[i], counts[i] = summary.scatter[0], summary.count[0]
    return Block(0, Series(rates, errors), np.zeros(pixels), scatter, counts)


def simulate_quantiles(exposures: int, integrations: int, series: int, seed: int = 1) -> dict[str, list[float]]:
    """Simulate quiet pixels and give quantiles of each statistic.

    Parameters
    ----------
    exposures, integrations : int
        In each series, and in each exposure.
    series : int
        Number of pixels.
    seed : int
        Of the random numbers.

    Returns
    -------
    dict of str to list of float
        For each statistic, its quantiles at the probabilities 0.1, 0.03, 0.01 … to be exceeded, as far as ten series
        exceed them.
    """
    rng = np.random.default_rng([seed, exposures, integrations])
    parts: list[dict[str, Any]] = []
    left = series
    while left > 0:
        size = min(left, max(1000, 2_000_000 // exposures))
        parts.append(
            statistics_of(
                quiet_block(rng, exposures, integrations, size, hits=_HITS, size_of_hits=_SIZE_OF_HITS),
                shortest_segment(integrations),
            )
        )
        left -= size
    tails = [p for p in TAILS if p * series >= _FEWEST_BEYOND]
    return {
        name: [round(float(q), 4) for q in np.quantile(np.concatenate([p[name] for p in parts]), 1 - np.array(tails))]
        for name in SHARES
    }


def main(samples: int) -> None:
    """Write the table to standard output.

    Parameters
    ----------
    samples : int
        Slopes to simulate for each entry.
    """
    table: dict[str, Any] = {}
    for integrations in INTEGRATIONS:
        rows: dict[str, dict[str, list[float]]] = {name: {} for name in SHARES}
        for exposures in _LENGTHS:
            made = simulate_quantiles(exposures, integrations, samples // (exposures * integrations))
            for name, quantiles in made.items():
                rows[name][str(exposures)] = quantiles
        table[str(integrations)] = rows
    sys.stdout.write(json.dumps(table) + "\n")


if __name__ == "__main__":
    main(int(float(sys.argv[1])) if len(sys.argv) > 1 else 100_000_000)
