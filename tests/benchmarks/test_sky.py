"""Footprints: how long a question takes among 100,000 of them, and what they add to the time of adding files."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from astropy.io import fits
from skies import BruteForce, Sky, corners_text, positions, random_sky

from miripool import Home, Pool
from miripool.index.copysource import Lines
from miripool.index.footprints import FOOTPRINT_COLUMNS, footprint_line
from miripool.pool.core import core_of
from miripool.simulate import Calibration, simulate_campaign

FOOTPRINTS = 100_000
POSITIONS = 1_000
COVERS = 0.020
"""Seconds that `covers` may take: each question, and its processor time in client and server."""
RATE = 0.9
"""Files per second with footprints, of those without."""
_PRODUCTS = """
INSERT INTO product (serial, kind, name, version, head, created, entry, manifest, content, bytes, stored_bytes)
SELECT n, 'Rate', 'e' || n, 0, true, now(), n, '', '', 0, 0 FROM generate_series(0, {last}) n
"""


@pytest.fixture(scope="module")
def sky() -> Sky:
    return random_sky(FOOTPRINTS, 1)


@pytest.fixture(scope="module")
def pool(sky: Sky, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """An index of 100,000 products; they are in no folder."""
    home = Home(tmp_path_factory.mktemp("sky"))
    with home.create("sky") as made:
        database = core_of(made).catalog.database
        lines = (footprint_line(n, "Rate", {"S_REGION": sky.s_region(n)}) or "" for n in range(FOOTPRINTS))
        with database.write() as connection:
            database.copy(connection, "footprint", FOOTPRINT_COLUMNS, Lines(line.encode() for line in lines))
            database.run(connection, _PRODUCTS.format(last=FOOTPRINTS - 1))
        with database.immediately() as connection:
            for table in ("footprint", "product"):
                connection.exec_driver_sql(f"VACUUM (ANALYZE) {database.table(table)}")
        yield made
    home.server.remove()


def timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


@pytest.mark.timeout(1800)
def test_covers_is_brute_force(pool: Pool, sky: Sky, figure: Callable[..., None]) -> None:
    brute = BruteForce(sky)
    pool.select("covers(1, 1)")
    gc.collect()
    gc.freeze()  # the millions of objects of this file's own sky: to go through them takes Python 0.1 s, twice
    server = _server_seconds(pool)
    seconds: list[float] = []
    forced: list[float] = []
    found, busy = 0, 0.0
    for ra, dec in positions(sky, POSITIONS, 2):
        client = time.process_time()
        start = time.perf_counter()
        refs = pool.select(f"covers({ra!r}, {dec!r})")
        seconds.append(time.perf_counter() - start)
        busy += time.process_time() - client
        start = time.perf_counter()
        covering = brute.covering(ra, dec)
        forced.append(time.perf_counter() - start)
        assert {ref.serial for ref in refs} == covering, (ra, dec)
        found += len(covering)
    assert found > POSITIONS
    busy = (busy + _server_seconds(pool) - server) / POSITIONS
    figure("covers: processor time of client and server, mean", 1e3 * busy, "ms")
    figure(f"covers among {FOOTPRINTS:,} footprints: median", 1e3 * statistics.median(seconds), "ms")
    figure("covers: 99 of 100 positions within", 1e3 * statistics.quantiles(seconds, n=100)[-1], "ms")
    figure("covers: slowest of 1,000 positions", 1e3 * max(seconds), "ms")
    figure("covers: brute force with NumPy, median", 1e3 * statistics.median(forced), "ms")
    assert busy <= COVERS
    assert max(seconds) <= COVERS


@pytest.mark.timeout(600)
def test_other_questions(pool: Pool, sky: Sky, figure: Callable[..., None]) -> None:
    questions: dict[str, list[float]] = {}
    for number, (ra, dec) in enumerate(positions(sky, 60, 3)):
        for name, question in {
            "overlaps, circle of 5 arcminutes": f"overlaps(circle({ra!r}, {dec!r}, {5 / 60!r}))",
            "separation < 2 degrees": f"separation({ra!r}, {dec!r}) < 2",
            "overlaps, polygon of 4 corners": f"overlaps(polygon({corners_text(sky.corners[number])}))",
        }.items():
            questions.setdefault(name, []).append(timed(lambda: pool.select(question)))  # noqa: B023
    for name, seconds in questions.items():
        figure(f"{name}: median", 1e3 * statistics.median(seconds), "ms")


@pytest.fixture(scope="module")
def campaigns(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same files twice: with pointings, and without."""
    seeing, blind = tmp_path_factory.mktemp("seeing"), tmp_path_factory.mktemp("blind")
    for exposure in simulate_campaign(40, nints=2, ngroups=5):
        for folder in (seeing, blind):
            exposure.write_products(folder, Calibration("v1"))
    for path in blind.iterdir():
        with fits.open(path, mode="update") as hdus:
            for key in ("S_REGION", "RA_REF", "DEC_REF", "ROLL_REF"):
                del hdus["SCI"].header[key]
    return seeing, blind


def _server_seconds(pool: Pool) -> float:
    """Give the processor time of the processes of a pool's PostgreSQL server, of those that have ended too."""
    ((folder,),) = core_of(pool).catalog.database.ask("SELECT setting FROM pg_settings WHERE name = 'data_directory'")
    ticks = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve() == Path(folder).resolve():
                ticks += sum(map(int, (process / "stat").read_text().rpartition(")")[2].split()[11:15]))
        except OSError:
            continue  # the process has ended
    return ticks / os.sysconf("SC_CLK_TCK")


@pytest.mark.timeout(1200)
def test_adding_with_footprints(
    campaigns: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory, figure: Callable[..., None]
) -> None:
    """Processor time of client and server, alternately: files per second on a machine that others use say little."""
    home = Home(tmp_path_factory.mktemp("adding"))
    costs: dict[Path, list[float]] = {folder: [] for folder in campaigns}
    for turn in range(5):
        for folder in campaigns if turn % 2 else reversed(campaigns):
            files = sorted(folder.iterdir())
            with home.create(f"p{time.time_ns()}") as pool:
                core_of(pool).catch_up()
                start = time.process_time() + _server_seconds(pool)
                outcomes = pool.ingest(files, jobs=1, pixels=False)
                costs[folder].append((time.process_time() + _server_seconds(pool) - start) / len(files))
            assert {outcome.status for outcome in outcomes} == {"new"}
    home.server.remove()
    seeing, blind = (statistics.median(costs[folder][1:]) for folder in campaigns)
    figure("adding a file without a footprint: processor time", 1e3 * blind, "ms")
    figure("adding a file with a footprint: processor time", 1e3 * seeing, "ms")
    figure("rate with footprints, of that without", blind / seeing, "")
    assert blind / seeing >= RATE
