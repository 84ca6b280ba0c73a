"""Monitors: an update from nothing, and one further exposure."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from miripool import Pool, RateInts
from miripool.simulate import simulate_lives

pytestmark = pytest.mark.timeout(3600)

DATE = datetime(2026, 1, 1, tzinfo=UTC)
SMALL, LARGE = 332, 20
FURTHER = 5


def test_small_exposures(pool: Pool, tmp_path: Path, figure: Callable[..., None]) -> None:
    campaign = simulate_lives(SMALL + FURTHER, subarray="SUB64", nints=5, seed=3)
    files = campaign.write_rateints(tmp_path, date=DATE)
    for outcome in pool.ingest(files[:SMALL], pixels=False):
        assert outcome.error is None
    monitor = pool.create_monitor("dark")
    begin = time.perf_counter()
    done = monitor.update()
    whole = time.perf_counter() - begin
    assert done.exposures == SMALL
    further = []
    for path in files[SMALL:]:
        pool.save(path, pixels=False)
        begin = time.perf_counter()
        assert monitor.update().read == 1
        further.append(time.perf_counter() - begin)
    begin = time.perf_counter()
    life = monitor.life(30, 800)
    one = time.perf_counter() - begin
    assert len(life.exposures()) == SMALL + FURTHER
    figure(f"a monitor of {SMALL} SUB64 exposures, from nothing", whole, "s")
    figure("the same, one further exposure", float(np.median(further)), "s")
    figure("the same, one pixel's life", one, "s")


def test_full_exposures(pool: Pool, figure: Callable[..., None]) -> None:
    campaign = simulate_lives(LARGE, subarray="FULL", nints=5, seed=3)
    for i in range(LARGE):
        rates = campaign.rates(i)
        meta = {
            "INSTRUME": "MIRI",
            "DETECTOR": "MIRIMAGE",
            "SUBARRAY": "FULL",
            "READPATT": "FASTR1",
            "EXP_TYPE": "MIR_DARKIMG",
            **dict(zip(("SUBSTRT1", "SUBSTRT2", "SUBSIZE1", "SUBSIZE2"), (1, 1, 1032, 1024), strict=True)),
            "DATE-OBS": campaign.times[i].date().isoformat(),
            "TIME-OBS": campaign.times[i].time().isoformat(),
        }
        arrays = {"SCI": rates.sci, "ERR": rates.err, "DQ": rates.dq}
        pool.save(RateInts(meta, arrays, name=campaign.names[i]), pixels=False)
    del rates, arrays
    begin = time.perf_counter()
    for ref in pool.select(RateInts):
        for name in ("SCI", "ERR", "DQ"):
            ref.product[name][...]
    reading = time.perf_counter() - begin
    monitor = pool.create_monitor("dark")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    done = monitor.update()
    whole = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert done.exposures == LARGE
    figure(f"a monitor of {LARGE} FULL exposures, from nothing, each", whole / LARGE, "s")
    figure("reading their arrays alone, each", reading / LARGE, "s")
    figure("largest memory before", before / 1e6, "GB")
    figure("largest memory", after / 1e6, "GB")
