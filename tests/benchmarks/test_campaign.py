"""Pixel rows: how long a FULL exposure takes with them, what PostgreSQL grows by, how soon questions are answered."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2
import pytest
from astropy.io import fits
from postgresql import reachable_folder
from timing import copy_durably, forget

from miripool import FullQuery, Home, Pool, Ramp, RateInts
from miripool.formats import read_fits
from miripool.pool.core import core_of
from miripool.simulate import Calibration, simulate_exposure

EXPOSURES = 332
ADD = """
import re, sys, time
from pathlib import Path
from miripool import Home
from miripool.pool.ingest import ingest
with Home().pool("full") as pool:
    pool._core.catch_up()
    start = time.perf_counter()
    for outcome in ingest(pool, [Path(p) for p in sys.argv[1:]]):
        assert outcome.status == "new" and outcome.message is None, outcome
    seconds = time.perf_counter() - start
    # Not ru_maxrss: that of the process which started this one counts there too.
    print(seconds, re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.fixture
def own_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home with an embedded server of its own."""
    monkeypatch.delenv("MIRIPOOL_DATABASE_URL", raising=False)
    with reachable_folder() as folder:
        monkeypatch.setenv("MIRIPOOL_HOME", str(folder / "home"))
        home = Home()
        yield home
        home.server.remove()


def ask(pool: Pool, statement: str) -> list[tuple[Any, ...]]:
    database = core_of(pool).catalog.database
    with (
        closing(psycopg2.connect(database.psql_url, options="-c jit=off")) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(f'SET search_path TO "{database.schema}"')
        cursor.execute(statement)
        return cursor.fetchall()


def test_full_exposure(own_home: Home, tmp_path: Path, figure: Callable[..., None]) -> None:
    exposure = simulate_exposure("full_mirimage", subarray="FULL", nints=5, ngroups=20, seed=1)
    paths = [exposure.write_uncal(tmp_path)]
    paths += exposure.write_products(tmp_path, Calibration("v1"), kinds=("ramp", "rateints"))
    del exposure
    size = sum(path.stat().st_size for path in paths)
    with own_home.create("full") as pool:
        before = ask(pool, "SELECT pg_database_size(current_database())")[0][0]
    copies = [copy_durably(paths, tmp_path / "copy.fits")]
    done = subprocess.run([sys.executable, "-c", ADD, *map(str, paths)], capture_output=True, text=True, check=True)
    copies.append(copy_durably(paths, tmp_path / "copy.fits"))
    seconds, memory = map(float, done.stdout.split())
    with own_home.pool("full") as pool:
        grown = ask(pool, "SELECT pg_database_size(current_database())")[0][0] - before
        assert core_of(pool).pixel_rows.pending() == []
    copy = statistics.median(copies)
    figure(
        f"FULL uncal, ramp and rateints ({size / 1e9:.2f} GB) added with pixel rows",
        seconds,
        "s",
        seconds / copy,
        "cp with fsync",
    )
    figure("the same: PostgreSQL grows, per byte of FITS", grown / size, "")
    figure("the same: memory of the process", memory / 1e6, "GB")
    assert seconds <= 15
    assert grown / size <= 1.25
    assert memory < 0.6e6


@dataclass(frozen=True)
class Campaign:
    """A pool with many exposures of SUB64, saved one by one, its home, and the files of their rates and ramps."""

    pool: Pool
    home: Home
    rates: list[Path]
    ramps: list[Path]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    folder = tmp_path_factory.mktemp("campaign")
    exposure = simulate_exposure("made", subarray="SUB64", nints=5, ngroups=20, seed=1)
    uncal = exposure.write_uncal(folder)
    ramp, rateints = exposure.write_products(folder, Calibration("v1"), kinds=("ramp", "rateints"))
    with pytest.MonkeyPatch.context() as patch, reachable_folder() as place:
        patch.delenv("MIRIPOOL_DATABASE_URL", raising=False)
        home = Home(place / "home")
        with home.create("campaign") as pool:
            files: dict[Path, list[Path]] = {uncal: [], ramp: [], rateints: []}
            for i in range(EXPOSURES):
                for path, made in files.items():
                    made.append(folder / f"{i:03}_{path.name}")
                    write_like(path, made[-1], i)
                    pool.save(read_fits(made[-1]), name=f"exposure {i:03}")
            yield Campaign(pool, home, files[rateints], files[ramp])
        home.server.remove()


def write_like(path: Path, target: Path, i: int) -> None:
    """Write an exposure of the same sky at another place: no two files have an array in common."""
    with fits.open(path) as hdus:
        for hdu in hdus:
            if hdu.is_image and hdu.data is not None and hdu.data.ndim > 2:
                rows = hdu.data.shape[-2]
                hdu.data = np.roll(hdu.data, (i % rows, i // rows), axis=(-2, -1))
        hdus.writeto(target)


def median(function: Callable[[], Any], times: int = 9) -> float:
    function()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def first_after_a_change(pool: Pool, tag: str, function: Callable[[], Any]) -> float:
    pool.tag(pool.select(RateInts)[0], tag)
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def by_astropy(paths: list[Path], cut: tuple[Any, ...]) -> Any:
    return np.concatenate([fits.getdata(path, "SCI")[cut] for path in paths])


@pytest.fixture(scope="module", params=["saved one by one", "ingested in one batch", "merged"])
def history(campaign: Campaign, request: pytest.FixtureRequest) -> Iterator[tuple[str, Pool]]:
    """A way to get the ramps and rates into a pool, and the pool."""
    if request.param == "saved one by one":
        yield request.param, campaign.pool
        return
    paths = campaign.ramps + campaign.rates
    with campaign.home.create(request.param) as pool:
        if request.param == "merged":
            for path in paths:
                pool.save(path)
            pixel_rows = core_of(pool).pixel_rows
            assert pixel_rows.optimize(pixel_rows.merges()) == (len(paths), [])
        else:
            assert {outcome.status for outcome in pool.ingest(paths)} == {"new"}
        yield request.param, pool


def test_one_pixel_through_all_exposures(
    campaign: Campaign, history: tuple[str, Pool], figure: Callable[..., None]
) -> None:
    how, pool = history
    pixel = pool.pixel(10, 800)
    table = pixel.history()
    assert len(table) == 5 * EXPOSURES
    assert np.array_equal(table["rate"], by_astropy(campaign.rates, np.s_[:, 21, 9]), equal_nan=True)
    rates = median(pixel.history, 25)
    loop = median(lambda: by_astropy(campaign.rates, np.s_[:, 21, 9]), 3)
    what = f"through {EXPOSURES} exposures {how}"
    figure(f"one pixel's rates {what}", rates * 1e3, "ms", loop / rates, "as fast as astropy")
    first = [first_after_a_change(pool, f"change {i}", pixel.history) for i in range(9)]
    figure("the same, the first pixel after something was saved or tagged", statistics.median(first) * 1e3, "ms")
    assert np.array_equal(pixel.ramps(Ramp)["ramp"], by_astropy(campaign.ramps, np.s_[:, :, 21, 9]))
    ramps = median(lambda: pixel.ramps(Ramp), 25)
    loop = median(lambda: by_astropy(campaign.ramps, np.s_[:, :, 21, 9]), 3)
    figure(f"one pixel's ramps {what}", ramps * 1e3, "ms", loop / ramps, "as fast as astropy")
    most = (0.040, 0.040) if how == "saved one by one" else (0.005, 0.015)
    assert (rates <= most[0], ramps <= most[1]) == (True, True)


QUESTIONS = {
    "groups of one pixel in one exposure": (
        "SELECT group_number, raw_value FROM groups WHERE exp_id = 166 AND pixel_id = 824578"
    ),
    "one exposure's ramps by its name": (
        "SELECT pixel_id, intnumber, ramp FROM ramps "
        "WHERE exp_id = (SELECT exp_id FROM exposures WHERE exp = '165_made_uncal.fits')"
    ),
    "one pixel's ramps in one exposure": "SELECT intnumber, ramp FROM ramps WHERE exp_id = 166 AND pixel_id = 824578",
    "one pixel's corrected ramps in one exposure": (
        "SELECT intnumber, slope_value, corrected_ramp, jump_det FROM correctedramps "
        "WHERE exp_id = 166 AND pixel_id = 824578"
    ),
    "one pixel's ramps through all exposures": "SELECT exp_id, intnumber, ramp FROM ramps WHERE pixel_id = 824578",
    "one pixel's slopes through all exposures": (
        "SELECT exp_id, intnumber, slope_value FROM correctedramps WHERE pixel_id = 824578"
    ),
    "count of one exposure's groups": "SELECT count(*) FROM groups WHERE exp_id = 166",
    "count of all ramps": "SELECT count(*) FROM ramps",
}


def test_questions_in_sql(campaign: Campaign, figure: Callable[..., None]) -> None:
    database = core_of(campaign.pool).catalog.database
    with (
        closing(psycopg2.connect(database.psql_url, options="-c jit=off")) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(f'SET search_path TO "{database.schema}"')
        taken = {}
        for what, statement in QUESTIONS.items():

            def run(statement: str = statement) -> None:
                cursor.execute(statement)
                assert cursor.fetchall()

            taken[what] = median(run, 5)
            figure(f"SQL: {what} ({EXPOSURES} exposures)", taken[what] * 1e3, "ms")
        first = next(iter(QUESTIONS.values()))
        plans = []
        for _ in range(6):
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT json) {first}")
            plans.append(cursor.fetchall()[0][0][0])
        times = [plan["Planning Time"] + plan["Execution Time"] for plan in plans[1:]]
        touched = set(relations(plans[-1]["Plan"]))
        figure("SQL: EXPLAIN ANALYZE of the first, planning and execution", statistics.median(times), "ms")
        assert len([name for name in touched if "_block_" in name]) == 1, touched
        assert statistics.median(times) <= 10


def relations(plan: dict[str, Any]) -> Iterator[str]:
    if "Relation Name" in plan and plan["Actual Loops"]:
        yield plan["Relation Name"]
    for below in plan.get("Plans", ()):
        yield from relations(below)


DATA_QUESTIONS: dict[str, tuple[Any, Callable[[Any], bool]]] = {
    "p.data.median() > 1000": (
        FullQuery(Ramp, "p", "p.data.median() > 1000"),
        lambda data: bool(np.nanmedian(data) > 1000),
    ),
    "a function with np.median": (
        FullQuery(Ramp, lambda p: np.median(p["SCI"]) > 1000),
        lambda data: bool(np.median(data) > 1000),
    ),
    "a function with np.percentile": (
        FullQuery(Ramp, lambda p: np.percentile(p["SCI"], 99) > 1000),
        lambda data: bool(np.percentile(data, 99) > 1000),
    ),
    "(p.data > 20000).sum() > 100": (
        FullQuery(Ramp, "p", "(p.data > 20000).sum() > 100"),
        lambda data: bool((data > 20000).sum() > 100),
    ),
}


@pytest.mark.parametrize("what", DATA_QUESTIONS)
def test_data_of_many_products(campaign: Campaign, figure: Callable[..., None], what: str) -> None:
    query, judge = DATA_QUESTIONS[what]
    size = sum(path.stat().st_size for path in campaign.ramps)
    blobs = sorted((campaign.pool.path / "blobs").rglob("*.h5"))
    taken: dict[str, list[float]] = {"pool": [], "astropy": [], "cold pool": [], "cold astropy": []}
    for round_ in range(7):
        cold = "cold " if round_ % 2 else ""
        if cold:
            forget(blobs + campaign.ramps)
        start = time.perf_counter()
        found = campaign.pool.select(query)
        between = time.perf_counter()
        expected = sum(judge(fits.getdata(path, "SCI")) for path in campaign.ramps)
        if round_:
            taken[f"{cold}pool"].append(between - start)
            taken[f"{cold}astropy"].append(time.perf_counter() - between)
        assert found.size() == expected
    medians = {name: statistics.median(times) for name, times in taken.items()}
    for cold in ("", "cold "):
        pool, astropy = medians[f"{cold}pool"], medians[f"{cold}astropy"]
        where = "from the disk" if cold else "from the kernel's cache"
        figure(
            f"FullQuery {what}, {EXPOSURES} ramps ({size / 1e9:.2f} GB of FITS) {where}",
            pool,
            "s",
            astropy / pool,
            "as fast as astropy",
        )
    assert memory_used() < 1.5e6
    assert 2 * medians["pool"] <= medians["astropy"]
    assert 3 * medians["cold pool"] <= medians["cold astropy"]


def memory_used() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


def test_statistics_of_many_products(campaign: Campaign, figure: Callable[..., None]) -> None:
    query = FullQuery(RateInts, "p", "p.data.max() > 1")
    assert campaign.pool.select(query).size() == EXPOSURES
    figure(f"FullQuery p.data.max() > 1, {EXPOSURES} rateints", median(lambda: campaign.pool.select(query)) * 1e3, "ms")
