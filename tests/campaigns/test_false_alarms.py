"""Quiet pixels by the thousand, by the million with ``--long``: how many of them a monitor calls something else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from miripool.monitors.population import measure, population_of
from miripool.monitors.quiet import quiet_block
from miripool.monitors.states import judge
from miripool.monitors.thresholds import thresholds_for

AT_ONCE = 20_000


@pytest.mark.parametrize("exposures", [10, 20, 30, 60, 100])
def test_false_alarms(exposures: int, scale: Callable[[int, int], int], figure: Callable[[str], None]) -> None:
    """At most 3e-5 of them step, and at most 1e-3 get any state, in darks with 0.5 % of the slopes hit."""
    number = scale(AT_ONCE, 1_000_000)
    rng = np.random.default_rng([23, exposures])
    states: Counter[str] = Counter()
    pixels = 0
    for _ in range(number // AT_ONCE):
        block = quiet_block(rng, exposures, 5, AT_ONCE, hits=0.005, size_of_hits=15)
        measures = measure(block)
        limits, times = thresholds_for(exposures, 5), 0.5 * np.arange(exposures)
        found = judge(block, measures, population_of([measures]), limits, times, light="dark")
        states.update(name.decode() for name in found["state"].tolist())
        pixels += len(np.unique(found["pixel"]))
    told = ", ".join(f"{state} {count / number:.1e}" for state, count in sorted(states.items()))
    figure(f"{number} quiet series of {exposures} exposures: any state {pixels / number:.1e} ({told or 'none'})")
    # Beyond the limit by four standard errors of the few that there are in a short run.
    assert states["step"] <= 3e-5 * number + 4 * (3e-5 * number) ** 0.5
    assert pixels <= 1e-3 * number + 4 * (1e-3 * number) ** 0.5
