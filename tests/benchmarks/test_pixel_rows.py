"""Pixel rows of a FULL exposure, beside psql's own COPY of the same rows from files."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from postgresql import reachable_folder

from miripool import Home, Pool
from miripool.pool.core import core_of
from miripool.server.placement import find_binaries
from miripool.simulate import Calibration, simulate_exposure

pytestmark = pytest.mark.timeout(1800)

CONNECTIONS = 2
"""As many as `add` loads pixel sets on."""


@pytest.fixture
def full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    """A pool with a FULL exposure, uncal, ramp and rateints, without pixel rows."""
    exposure = simulate_exposure("full_mirimage", subarray="FULL", nints=5, ngroups=20, seed=1)
    paths = [exposure.write_uncal(tmp_path)]
    paths += exposure.write_products(tmp_path, Calibration("v1"), kinds=("ramp", "rateints"))
    monkeypatch.delenv("MIRIPOOL_DATABASE_URL", raising=False)
    with reachable_folder() as folder:
        home = Home(folder / "home")
        with home.create("full") as pool:
            for path in paths:
                pool.save(path, pixels=False)
            yield pool
        home.server.remove()


def test_pixel_rows_of_a_full_exposure(full: Pool, tmp_path: Path, figure: Callable[..., None]) -> None:
    serials = [row.serial for row in core_of(full).catalog.select()]
    ours, theirs = [], []
    copies: list[tuple[str, Path]] = []
    for _ in range(3):
        core_of(full).pixel_rows.drop(serials)
        start = time.perf_counter()
        with ThreadPoolExecutor(CONNECTIONS) as threads:
            made = list(threads.map(core_of(full).pixel_rows.make, core_of(full).catalog.rows(serials)))
        ours.append(time.perf_counter() - start)
        assert made == [True] * len(serials)
        copies = copies or dump(full, tmp_path)
        theirs.append(copy_in(full, copies))
    psql, least = sorted(theirs)[1], sorted(ours)[1]
    figure("pixel rows of a FULL exposure", least, "s", least / psql, "psql's COPY of the same rows and indexes")
    assert least <= 1.25 * psql


def run(pool: Pool, script: str) -> str:
    """Run statements by psql, in one transaction."""
    database = core_of(pool).catalog.database
    command = [str(find_binaries() / "psql"), database.psql_url, "-X", "-q", "-t", "-A", "-1", "-v", "ON_ERROR_STOP=1"]
    given = f'SET search_path TO "{database.schema}";\n{script}'
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def dump(pool: Pool, folder: Path) -> list[tuple[str, Path]]:
    """Write each partition's rows into a file; the largest first."""
    names = run(
        pool,
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relispartition"
        " AND relname ~ '^(raw|ref|ramp|rateints)_block_'"
        " AND relnamespace = current_schema()::regnamespace ORDER BY pg_total_relation_size(oid) DESC;",
    ).split()
    assert len(names) == 4
    for name in names:
        run(pool, f"\\copy {name} TO '{folder / name}' (FORMAT binary)")
    return [(name, folder / name) for name in names]


def copy_in(pool: Pool, copies: list[tuple[str, Path]]) -> float:
    """Load the files into tables like those they are from."""

    def load(copy: tuple[str, Path]) -> None:
        name, path = copy
        table = name.rsplit("_", 1)[0]  # partitions are made again in each round, under other names
        run(
            pool,
            f"CREATE TABLE copy_of_{name} (LIKE {table} INCLUDING STORAGE)"
            " WITH (toast_tuple_target = 8160, autovacuum_enabled = off);\n"
            f"\\copy copy_of_{name} FROM '{path}' (FORMAT binary, FREEZE)\n"
            f"CREATE UNIQUE INDEX ON copy_of_{name} (pixel_id);",
        )

    start = time.perf_counter()
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        list(threads.map(load, copies))
    seconds = time.perf_counter() - start
    run(pool, "".join(f"DROP TABLE copy_of_{name};" for name, _ in copies))
    return seconds
