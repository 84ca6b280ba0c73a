"""Adding many files: how many a second, with one job and with two, and how soon it is told that all are there."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from postgresql import reachable_folder
from test_campaign import EXPOSURES, write_like

from miripool import Home, Pool
from miripool.pool.core import core_of
from miripool.simulate import Calibration, simulate_exposure

COUNT = int(os.environ.get("MIRIPOOL_BENCHMARK_EXPOSURES", EXPOSURES))
"""Exposures of SUB64, with three files each."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("files")
    exposure = simulate_exposure("made", subarray="SUB64", nints=5, ngroups=20, seed=1)
    first = [
        exposure.write_uncal(folder),
        *exposure.write_products(folder, Calibration("v1"), kinds=("ramp", "rateints")),
    ]
    made = []
    for i in range(COUNT):
        for path in first:
            made.append(folder / f"{i:03}_{path.name}")
            write_like(path, made[-1], i)
    return made


def add(pool: Pool, files: list[Path], jobs: int, expected: str) -> float:
    start = time.perf_counter()
    outcomes = pool.ingest(files, jobs=jobs)
    seconds = time.perf_counter() - start
    assert Counter(outcome.status for outcome in outcomes) == {expected: len(files)}
    return seconds


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("jobs", [1, 2])
def test_many_files(files: list[Path], jobs: int, figure: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIRIPOOL_DATABASE_URL", raising=False)
    size = sum(path.stat().st_size for path in files)
    with reachable_folder() as place:
        home = Home(place / "home")
        with home.create("many") as pool:
            core_of(pool).catch_up()
            first = add(pool, files, jobs, "new")
            again = add(pool, files, jobs, "unchanged")
            assert core_of(pool).pixel_rows.pending() == []
        home.server.remove()
    what = f"{len(files)} files of {COUNT} exposures of SUB64 ({size / 1e9:.2f} GB), --jobs {jobs}"
    figure(f"{what}: added with pixel rows", len(files) / first, "files/s")
    figure(f"{what}: added again", len(files) / again, "files/s", first / again, "as fast as the first time")
    assert first / again >= 20
