"""A campaign taken in: files a second, what the processors do meanwhile, waits for the disk, statements.

The rows of detector pixels are held against psql, which copies the same rows from files into tables of the same form;
the files against ``cp`` with one ``sync``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest
from postgresql import reachable_folder
from test_campaign import EXPOSURES, write_like

from miripool import Home
from miripool.pool.core import core_of
from miripool.simulate import Calibration, simulate_exposure

COUNT = int(os.environ.get("MIRIPOOL_BENCHMARK_EXPOSURES", EXPOSURES))
"""Exposures of SUB64, with three files each."""
FEW = 20
"""Exposures for what is counted: the same for each."""
ROUNDS = 3
SCRIPT = str(Path(__file__).with_name("intake.py"))


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an uncal, a ramp and a rateints of each exposure."""
    folder = tmp_path_factory.mktemp("campaign")
    exposure = simulate_exposure("made", subarray="SUB64", nints=5, ngroups=20, seed=1)
    first = folder / "first"
    first.mkdir()
    kinds = exposure.write_products(first, Calibration("v1"), kinds=("ramp", "rateints"))
    for path in (exposure.write_uncal(first), *kinds):
        for i in range(COUNT):
            write_like(path, folder / f"e{i:03}{path.name.removeprefix('made')}", i)
    return folder


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    """A home with an embedded server of its own."""
    with pytest.MonkeyPatch.context() as patch, reachable_folder() as place:
        patch.delenv("MIRIPOOL_DATABASE_URL", raising=False)
        patch.setenv("MIRIPOOL_HOME", str(place / "home"))
        home = Home()
        yield home
        home.server.remove()


@dataclass(frozen=True)
class Added:
    """What adding the campaign took; times in milliseconds of a processor for each file."""

    files: int
    seconds: float
    client: float
    server: float
    steps: dict[str, float]


def server_seconds(home: Home) -> float:
    """Time of the processors that the server and those it has ended have used."""
    status = home.server.status()
    assert status.pid is not None
    postmaster = psutil.Process(status.pid)
    used = [postmaster.cpu_times()]
    total = used[0].children_user + used[0].children_system
    for process in (postmaster, *postmaster.children()):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue  # the postmaster has its time now, by the next look
        total += times.user + times.system
    return float(total)


def add(home: Home, name: str, folder: Path, *, jobs: int, pixels: str, before: tuple[str, ...] = ()) -> Added:
    """Add the files of a folder to a new pool, in a process of its own."""
    command = [*before, sys.executable, SCRIPT, str(home.server.home), name, str(jobs), pixels, str(folder)]
    used = server_seconds(home)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    server = 1e3 * (server_seconds(home) - used) / told["files"]
    return Added(told["files"], told["seconds"], told["cpu"], server, told["steps"])


def add_again(home: Home, name: str, folder: Path) -> float:
    """Add files that are in the pool; the time."""
    with home.pool(name) as pool:
        core_of(pool).catch_up()
        begin = time.perf_counter()
        outcomes = pool.ingest(sorted(folder.glob("*.fits")))
        seconds = time.perf_counter() - begin
    assert {outcome.status for outcome in outcomes} == {"unchanged"}
    return seconds


def copy_with_one_sync(folder: Path, target: Path) -> float:
    """Copy the files and have the file system write all of it once; the time."""
    target.mkdir()
    begin = time.perf_counter()
    for path in sorted(folder.glob("*.fits")):
        shutil.copyfile(path, target / path.name)
    subprocess.run(["sync", "-f", str(target)], check=True)
    seconds = time.perf_counter() - begin
    shutil.rmtree(target)
    return seconds


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("pixels", ["without", "with"])
def test_a_campaign(home: Home, campaign: Path, tmp_path: Path, figure: Callable[..., None], pixels: str) -> None:
    home.server.ensure()
    taken: dict[int, list[Added]] = {1: [], 2: []}
    copies, again = [], []
    for round_ in range(ROUNDS):
        copies.append(copy_with_one_sync(campaign, tmp_path / "copy"))
        for jobs, all_ in taken.items():
            name = f"{pixels} {jobs} {round_}"
            all_.append(add(home, name, campaign, jobs=jobs, pixels=pixels))
            if (pixels, jobs, round_) == ("with", 2, 0):
                with_psql = copy_rows_by_psql(home, name, tmp_path)
            again.append(add_again(home, name, campaign))
            home.delete(name)
    rates = {jobs: statistics.median(a.files / a.seconds for a in all_) for jobs, all_ in taken.items()}
    copied = taken[1][0].files / statistics.median(copies)
    size = sum(path.stat().st_size for path in campaign.glob("*.fits"))
    what = f"{taken[1][0].files} files of SUB64 ({size / 1e9:.2f} GB) added {pixels} pixel rows"
    figure("the same files copied with one sync", copied, "files/s")
    figure("the same files added again", taken[1][0].files / statistics.median(again), "files/s")
    for jobs, all_ in taken.items():
        figure(f"{what}, --jobs {jobs}", rates[jobs], "files/s", rates[jobs] / copied, "cp with one sync")
        figure("the same: processor time of the client", statistics.median(a.client for a in all_), "ms a file")
        figure("the same: processor time of PostgreSQL", statistics.median(a.server for a in all_), "ms a file")
        full = statistics.median((a.client + a.server) * a.files / 1e3 / a.seconds for a in all_)
        figure("the same: cores in use", full, "of 2")
    for step in taken[1][0].steps:
        figure(f"of which, --jobs 1: {step}", statistics.median(a.steps[step] for a in taken[1]), "ms a file")
    if pixels == "with":
        figure("the same rows by psql's COPY, one connection", taken[1][0].files / with_psql, "files/s")
    assert max(rates.values()) >= (40 if pixels == "with" else 80)


def copy_rows_by_psql(home: Home, name: str, folder: Path) -> float:
    """Copy the rows of pixels of a pool, from files, into tables and indexes of the same form; the time."""
    with home.pool(name) as pool:
        database = core_of(pool).catalog.database
        url, schema = database.psql_url, database.schema
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(f'SET search_path TO "{schema}"')
        cursor.execute(
            "SELECT c.relname, array(SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = c.oid) "
            "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = %s AND c.relispartition AND c.relkind = 'r' ORDER BY 1",
            (schema,),
        )
        tables = cursor.fetchall()
        assert tables
        for number, (table, _) in enumerate(tables):
            with (folder / f"{number}.copy").open("wb") as file:
                cursor.copy_expert(f'COPY "{table}" TO STDOUT (FORMAT binary)', file)
    script = [f'SET search_path TO "{schema}";']
    for number, (table, indexes) in enumerate(tables):
        made = [re.sub(r" ON .*? USING", f" ON copied_{number} USING", text) for text in indexes]
        made = [re.sub(r"INDEX (?:\"[^\"]+\"|\S+)", "INDEX", text, count=1) for text in made]
        script += [
            f'BEGIN; CREATE TABLE copied_{number} (LIKE "{table}" INCLUDING STORAGE) '
            "WITH (toast_tuple_target = 8160, autovacuum_enabled = off);",
            rf"\copy copied_{number} FROM '{folder / f'{number}.copy'}' (FORMAT binary, FREEZE)",
            *(f"{text};" for text in made),
            "COMMIT;",
        ]
    path = folder / "copy.sql"
    path.write_text("\n".join(script))
    begin = time.perf_counter()
    psql = [str(home.server.psql), url, "--quiet", "--set=ON_ERROR_STOP=1", f"--file={path}"]
    done = subprocess.run(psql, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return time.perf_counter() - begin


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("pixels", ["without", "with"])
def test_waits_and_statements(
    home: Home, campaign: Path, tmp_path: Path, figure: Callable[..., None], pixels: str
) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace, which counts the waits for the disk, is not installed")
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted(campaign.glob("*.fits"))[: 3 * FEW]:
        (few / path.name).symlink_to(path)
    home.server.ensure()
    log = home.server.status().log
    with home.create("counting") as pool:
        url = core_of(pool).catalog.database.psql_url
    trace = tmp_path / "trace"
    counting = ("strace", "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", str(trace))
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("ALTER ROLE CURRENT_USER SET log_statement = 'all'")
        begin, synced = log.stat().st_size, syncs_of_server(cursor)
        try:
            add(home, "counted", few, jobs=1, pixels=pixels, before=counting)
        finally:
            cursor.execute("ALTER ROLE CURRENT_USER RESET log_statement")
        synced = syncs_of_server(cursor) - synced
    home.delete("counted")
    home.delete("counting")
    with log.open("rb") as file:
        file.seek(begin)
        statements = len(re.findall(rb"LOG:  (?:statement|execute)", file.read()))
    waits = len(re.findall(r"\bf(?:data)?sync\(", trace.read_text()))
    files = 3 * FEW
    figure(f"{files} files of SUB64 {pixels} pixel rows: fsyncs of the client", waits / files, "a file")
    figure("the same: syncs of PostgreSQL's log", synced / files, "a file")
    figure("the same: SQL statements", statements / files, "a file")
    assert waits > 0
    assert statements > 0


def syncs_of_server(cursor: Any) -> int:
    """Syncs of the log that the server counts: PostgreSQL 18 has them in pg_stat_io."""
    cursor.execute("SELECT pg_stat_clear_snapshot(), coalesce(sum(fsyncs), 0) FROM pg_stat_io WHERE object = 'wal'")
    return int(cursor.fetchone()[1])
