"""Anneals by the dozen, by the hundred with ``--long``: whether the interval of the healed fraction holds the truth."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np

from miripool.monitors.assess import assess
from miripool.monitors.events import _effect
from miripool.monitors.exposures import PLANES
from miripool.monitors.summaries import summarise
from miripool.simulate import simulate_lives

START = datetime(2026, 1, 1, tzinfo=UTC)
ANNEAL = START + timedelta(hours=12 * 8 - 6)
NUMBER, AFTER = 16, 8


def test_healed_fractions(scale: Callable[[int, int], int], figure: Callable[[str], None]) -> None:
    """Each bad pixel heals with probability 0.3: the 95 % interval holds it in at least 90 of 100 campaigns."""
    seeds = scale(20, 100)
    held, shares = 0, []
    for seed in range(seeds):
        options = {"lives": {"hot": 80}, "amplitude": (9, 25), "seed": seed, "anneals": (ANNEAL,)}
        made = simulate_lives(NUMBER, nints=4, start=START, **options)
        planes = []
        for i in range(NUMBER):
            rates = made.rates(i)
            summary = summarise(np.where(rates.dq & 1, np.nan, rates.sci), rates.err)
            planes.append(np.stack([getattr(summary, name) for name in PLANES]))
        times, settling = 0.5 * np.arange(NUMBER), np.zeros(NUMBER)
        shape = planes[0].shape[1:]
        found = assess(planes, shape, times, settling=settling, integrations=4, light="dark", false_alarms=1e-3)
        rows = np.zeros(len(found.episodes), [("x", "i4"), ("y", "i4"), ("begin", "i4"), ("end", "i4")])
        rows["x"] = found.episodes["pixel"]
        rows["begin"], rows["end"] = found.episodes["begin"], found.episodes["end"]
        effect = _effect(rows, AFTER, NUMBER, 4000)
        held += effect["healed_low"] <= 0.3 <= effect["healed_high"]
        shares.append(effect["healed_fraction"])
    figure(f"{seeds} anneals: {held} intervals hold 0.3; healed fraction {np.mean(shares):.3f} ± {np.std(shares):.3f}")
    assert held >= 0.9 * seeds
