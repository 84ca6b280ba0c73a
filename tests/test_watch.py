"""Watching a folder: whatever happens meanwhile, each file becomes one version."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import shutil
import signal
import string
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import homes
import pytest
from homes import ask, call, write_image
from mounts import wait_for
from test_exposures import NAME, exposures, numbered

from miripool import Home, Pool
from miripool.errors import FileMissing, InvalidInput, InvalidName, PoolNotFound
from miripool.maintenance.verify import verify
from miripool.pool import watch as watching
from miripool.pool.core import core_of
from miripool.pool.ingest import Outcome
from miripool.pool.watch import watch

home = homes.home

SETTLE = 0.05
_OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


class Watched:
    """A folder that is watched in this process, for as long as there are steps to be done."""

    def __init__(self, pool: Pool, folder: Path, **options: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.said: list[str] = []
        self._pool = pool
        self._folder = folder
        self._options = {"pixels": False, "settle": SETTLE, **options}

    def run(self, *steps: Callable[[], object], looks_each: int = 3) -> list[tuple[str, str, int | None]]:
        """Do the steps, each when what was there before is dealt with; give what came of the files."""
        waiting = list(steps)
        looks = 0

        def pause(seconds: float) -> bool:
            nonlocal looks
            if not seconds:
                return False
            time.sleep(SETTLE * 1.2)
            looks += 1
            if looks % looks_each == 0:
                if not waiting:
                    return True
                waiting.pop(0)()
            return False

        outcomes = watch(self._pool, self._folder, tell=self.said.append, pause=pause, **self._options)
        return [(o.path.relative_to(self._folder).as_posix(), o.status, o.version) for o in outcomes]


def fill(folder: Path, *names: str, ngroups: int = 1) -> None:
    for name in names:
        write_image(folder / name, {"NGROUPS": ngroups})


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def nothing() -> None:
    """Let time pass."""


def count_entries(pool: Pool) -> int:
    return core_of(pool).archive.journal.last() + 1


# What arrives


def test_files_are_added_as_they_arrive(pool: Pool, inbox: Path) -> None:
    fill(inbox, "a.fits", "sub/b.fits")
    found = Watched(pool, inbox).run(lambda: fill(inbox, "c.fits"), lambda: fill(inbox, "new/d.fits", ".e.fits"))
    assert found == [("a.fits", "new", 0), ("sub/b.fits", "new", 0), ("c.fits", "new", 0), ("new/d.fits", "new", 0)]


def test_files_that_settle_together_share_an_entry(pool: Pool, inbox: Path) -> None:
    before = count_entries(pool)
    fill(inbox, *(f"{number}.fits" for number in range(20)))
    assert len(Watched(pool, inbox).run()) == 20
    assert count_entries(pool) == before + 1


def test_many_files_go_in_pieces(pool: Pool, inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_MOST_FILES", 3)
    fill(inbox, *(f"{number}.fits" for number in range(7)))
    assert [name for name, *_ in Watched(pool, inbox).run()] == [f"{number}.fits" for number in range(7)]
    monkeypatch.setattr(watching, "_MOST_BYTES", 1)
    fill(inbox, "8.fits", "9.fits")
    assert [name for name, *_ in Watched(pool, inbox).run()] == ["8.fits", "9.fits"]


def test_a_file_that_grows_waits(pool: Pool, inbox: Path, tmp_path: Path) -> None:
    whole = write_image(tmp_path / "whole.fits").read_bytes()

    def grow(size: int) -> Callable[[], object]:
        return lambda: (inbox / "a.fits").write_bytes(whole[:size])

    growing = [grow(size) for size in range(2880, len(whole) + 1, 720)]
    watched = Watched(pool, inbox)
    assert watched.run(*growing, nothing, nothing, looks_each=1) == [("a.fits", "new", 0)]
    assert watched.said == []


def test_a_file_that_changes_becomes_a_new_version(pool: Pool, inbox: Path) -> None:
    fill(inbox, "a.fits")
    watched = Watched(pool, inbox)
    assert watched.run(lambda: fill(inbox, "a.fits", ngroups=2)) == [("a.fits", "new", 0), ("a.fits", "version", 1)]
    assert watched.run(lambda: (inbox / "a.fits").touch()) == [("a.fits", "unchanged", 1)]


def test_a_file_that_fails_is_said_once_and_tried_when_it_changes(pool: Pool, inbox: Path) -> None:
    (inbox / "a.fits").write_text("nonsense")
    fill(inbox, "b.fits")
    watched = Watched(pool, inbox)
    assert watched.run() == [("a.fits", "failed", None), ("b.fits", "new", 0)]
    assert watched.run() == []
    assert watched.run(lambda: fill(inbox, "a.fits")) == [("a.fits", "new", 0)]


def test_a_file_that_the_index_can_not_hold_fails_for_good(
    pool: Pool, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its OBS_ID is longer than an index of PostgreSQL takes. It does not keep others out, and is not tried again."""
    monkeypatch.setattr(watching, "_RETRY", SETTLE)
    write_image(inbox / "a.fits", {"OBS_ID": "".join(random.Random(1).choices(string.printable[:62], k=6000))})
    fill(inbox, "b.fits")
    watched = Watched(pool, inbox)
    read, ingest = [], watching.ingest
    monkeypatch.setattr(watching, "ingest", lambda core, files, **o: read.append(files) or ingest(core, files, **o))
    assert watched.run(nothing, nothing, nothing) == [("a.fits", "failed", None), ("b.fits", "new", 0)]
    assert len(read) == 1
    assert watched.said == []
    assert Watched(pool, inbox).run() == []


def test_files_that_vanish_are_no_error(pool: Pool, inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ingest = watching.ingest

    def ingest_what_is_left(core: object, files: list[Path], **options: Any) -> Iterator[Outcome]:
        (inbox / "a.fits").unlink(missing_ok=True)
        return ingest(core, files, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(watching, "ingest", ingest_what_is_left)
    fill(inbox, "a.fits", "b.fits")
    watched = Watched(pool, inbox)
    assert watched.run(lambda: (inbox / "b.fits").unlink()) == [("b.fits", "new", 0)]
    assert watched.said == []


def test_the_folder_goes_and_comes_back(pool: Pool, inbox: Path) -> None:
    fill(inbox, "a.fits")
    away = inbox.with_name("away")

    def come_back() -> None:
        away.rename(inbox)
        fill(inbox, "b.fits")

    watched = Watched(pool, inbox)
    assert watched.run(lambda: inbox.rename(away), come_back) == [("a.fits", "new", 0), ("b.fits", "new", 0)]
    assert [line.removeprefix(f"{inbox} ") for line in watched.said] == [
        "can't be read (No such file or directory); watching goes on once it is back",
        "is back",
    ]


def test_options_are_those_of_add(pool: Pool, inbox: Path) -> None:
    fill(inbox, "a.fits")
    Watched(pool, inbox, tag="from the bench", jobs=2).run()
    assert [ref.name for ref in pool.tagged("from the bench")] == ["a"]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"settle": -1}, InvalidInput, "settle is -1; it is a number of seconds"),
        ({"settle": float("nan")}, InvalidInput, "settle is nan"),
        ({"settle": float("inf")}, InvalidInput, "settle is inf"),
        ({"tag": " "}, InvalidName, "."),
    ],
)
def test_bad_input(pool: Pool, inbox: Path, options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Watched(pool, inbox, **options).run()


def test_there_must_be_a_folder(pool: Pool, inbox: Path) -> None:
    fill(inbox, "a.fits")
    for name, words in (("nowhere", "no folder .*nowhere"), ("in/a.fits", "a.fits is no folder")):
        with pytest.raises(FileMissing, match=f"{words}; check the name"):
            watch(pool, inbox.parent / name, tell=pytest.fail, pause=lambda _: True)


# Exposures


def test_files_of_one_exposure_that_arrive_apart_end_in_one_context(pool: Pool, simulated: Path, inbox: Path) -> None:
    steps = [
        lambda path=path: shutil.copy(path, inbox)
        for path in (*simulated.glob("uncal/*.fits"), *sorted(simulated.glob("v1/*.fits")))
    ]
    assert {status for _, status, _ in Watched(pool, inbox).run(*steps)} == {"new"}
    found = exposures(pool)
    assert found[-1] == numbered(0)
    assert all(earlier.items() <= later.items() for earlier, later in itertools.pairwise(found))


def test_what_was_cut_off_is_made_up_for(pool: Pool, simulated: Path, inbox: Path) -> None:
    for path in (*simulated.glob("uncal/*.fits"), *simulated.glob("v1/*.fits")):
        shutil.copy(path, inbox)
    pauses = iter([False, True])

    def pause(_seconds: float) -> bool:
        time.sleep(SETTLE * 1.2)
        return next(pauses)

    outcomes = watch(pool, inbox, settle=SETTLE, tell=pytest.fail, pause=pause)
    assert next(outcomes).status == "new"
    outcomes.close()  # type: ignore[attr-defined]
    assert exposures(pool) == []  # the entry is there, its exposure is not: as after a kill
    assert {status for _, status, _ in Watched(pool, inbox, pixels=None).run()} == {"unchanged"}
    assert exposures(pool) == [numbered(0)]
    assert core_of(pool).pixel_rows.pending() == []
    assert Watched(pool, inbox).run() == []


# Restarts


def test_what_was_dealt_with_is_not_read_again(pool: Pool, inbox: Path) -> None:
    fill(inbox, "a.fits", "b.fits")
    (inbox / "c.fits").write_text("nonsense")
    assert len(Watched(pool, inbox).run()) == 3
    pool.remove(pool.select("name == 'a'"))
    assert Watched(pool, inbox).run() == []
    assert [ref.name for ref in pool.select()] == ["b"]  # what was removed does not come back


def test_without_the_ledger_files_are_recognised_by_their_digests(pool: Pool, inbox: Path, home: Home) -> None:
    fill(inbox, "a.fits", "b.fits")
    Watched(pool, inbox).run()
    (ledger,) = (home.path / "watched").iterdir()
    ledger.unlink()
    assert Watched(pool, inbox).run() == [("a.fits", "unchanged", 0), ("b.fits", "unchanged", 0)]


def test_a_ledger_that_can_not_be_written_stops_nothing(pool: Pool, inbox: Path, home: Home) -> None:
    def hinder() -> None:
        shutil.rmtree(home.path / "watched")
        (home.path / "watched").write_text("no folder")
        fill(inbox, "b.fits")

    fill(inbox, "a.fits")
    watched = Watched(pool, inbox)
    found = watched.run(hinder, lambda: fill(inbox, "c.fits"))
    assert found == [("a.fits", "new", 0), ("b.fits", "new", 0), ("c.fits", "new", 0)]
    (said,) = watched.said
    assert said.endswith("after a restart, files that were added are read once more")


# What hinders it for a while


def test_the_database_is_away_for_a_while(pool: Pool, inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_RETRY", SETTLE * 4)
    url = os.environ["MIRIPOOL_DATABASE_URL"]

    def lose_it() -> None:
        monkeypatch.setenv("MIRIPOOL_DATABASE_URL", "postgresql+psycopg2://nobody@127.0.0.1:1/none")
        pool.close()
        fill(inbox, "b.fits")

    watched = Watched(pool, inbox)
    fill(inbox, "a.fits")
    find_it = partial(monkeypatch.setenv, "MIRIPOOL_DATABASE_URL", url)
    found = watched.run(lose_it, nothing, nothing, find_it, nothing, nothing, nothing)
    assert found == [("a.fits", "new", 0), ("b.fits", "new", 0)]
    (said,) = watched.said
    assert said.endswith("; trying again later")


def test_a_file_that_can_not_be_read_for_a_while(pool: Pool, inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permission to read it changes neither its size nor its time."""
    monkeypatch.setattr(watching, "_RETRY", SETTLE * 2)
    opened = os.open
    tries = []

    def refuse(path: Any, *arguments: Any, **options: Any) -> int:
        if str(path).endswith("a.fits") and len(tries) < 3:
            tries.append(path)
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    fill(inbox, "a.fits", "b.fits")
    found = Watched(pool, inbox).run(*[nothing] * 8)
    assert found == [("a.fits", "failed", None), ("b.fits", "new", 0), ("a.fits", "new", 0)]
    assert len(tries) == 3


def test_a_pool_that_is_deleted_ends_it(pool: Pool, inbox: Path, home: Home) -> None:
    def delete() -> None:
        home.delete("jpl8")
        fill(inbox, "a.fits")

    with pytest.raises(PoolNotFound):
        Watched(pool, inbox).run(delete)


# The command


def test_once(pool: Pool, inbox: Path) -> None:
    fill(inbox, "a.fits")
    done = call("watch", "jpl8", inbox, "--once", "--settle", "0.1", "--tag", "t")
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC  added        urn:jpl8:Product:0  version 0  a\.fits  \(.* stored\)\n",
        done.stdout,
    )
    assert done.stderr.startswith("1 added, 0 new versions, 0 unchanged, 0 failed; ")
    assert done.exit_code == 0
    began = time.monotonic()
    done = call("watch", "jpl8", inbox, "--once")  # nothing is new, so nothing is waited for
    assert time.monotonic() - began < 5
    assert (done.stdout, done.exit_code) == ("", 0)


def test_once_leaves_what_still_changes_to_the_next_time(pool: Pool, inbox: Path) -> None:
    fill(inbox, "a.fits", "b.fits")
    changes = iter(range(100))

    def pause(seconds: float) -> bool:
        time.sleep(min(seconds, SETTLE))
        os.utime(inbox / "b.fits", (next(changes), 0))
        (inbox / "b.fits").touch()
        return False

    outcomes = list(watch(pool, inbox, settle=SETTLE * 3, once=True, pixels=False, tell=pytest.fail, pause=pause))
    assert [outcome.path.name for outcome in outcomes] == ["a.fits"]


def test_failures_give_the_exit_code_of_add(pool: Pool, inbox: Path) -> None:
    (inbox / "a.fits").write_text("nonsense")
    done = call("watch", "jpl8", inbox, "--once", "--settle", "0.1", "--json")
    assert done.exit_code == 80
    (line,) = done.stdout.splitlines()
    record = json.loads(line)
    assert list(record) == ["time", "file", "status", "urn", "version", "bytes", "stored_bytes", "message"]
    assert (record["file"], record["status"]) == (str(inbox / "a.fits"), "failed")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", record["time"])
    assert "UTC  failed       " in done.stderr


# Processes that are killed, and several of them


class Process:
    """`miripool watch` in a session of its own; what it writes is appended to a file."""

    def __init__(self, folder: Path, log: Path, *options: str) -> None:
        command = [sys.executable, "-m", "miripool", "watch", "jpl8", str(folder), "--json", *options]
        self._log = log
        with log.open("a") as output, log.with_suffix(".err").open("a") as words:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=words, start_new_session=True
            )

    def kill(self) -> None:
        """Kill it and all processes of its group."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(20)

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def end(self, number: int = signal.SIGTERM) -> int:
        self._process.send_signal(number)
        return self._process.wait(60)

    def wait_until_it_watches(self) -> None:
        wait_for(lambda: "Ctrl-C ends that" in self.words(), 60)

    def words(self) -> str:
        return self._log.with_suffix(".err").read_text()


@contextmanager
def started(folder: Path, log: Path, *options: str) -> Iterator[Process]:
    process = Process(folder, log, *options)
    try:
        yield process
    finally:
        if process.is_running:
            process.kill()


def written(log: Path) -> list[dict[str, Any]]:
    """Read the lines; the last one may not be whole."""
    return [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]


def move_in(staging: Path, folder: Path, numbers: range, rng: random.Random) -> None:
    for number in numbers:
        write_image(staging / f"{number:03}.fits", {"NGROUPS": number}).rename(folder / f"{number:03}.fits")
        time.sleep(rng.uniform(0, 0.03))


def kill_and_restart(inbox: Path, log: Path, *, files: int, kills: int, seed: int) -> None:
    """Move files in while it is killed and started again; the last process ends by itself once all are there."""
    rng = random.Random(seed)
    each = -(-files // (kills + 1))
    for number in range(kills + 1):
        numbers = range(number * each, min((number + 1) * each, files))
        moving = threading.Thread(target=move_in, args=(inbox.with_name("staging"), inbox, numbers, rng))
        with started(inbox, log, "--settle", "0.2") as process:
            process.wait_until_it_watches()
            moving.start()
            if number < kills:
                time.sleep(rng.uniform(0.1, 1.5))
                process.kill()
            else:
                wait_for(lambda: len({line["file"] for line in written(log)}) == files, 60)
                assert process.end() == 0
        moving.join()
        log.with_suffix(".err").rename(log.with_suffix(f".{number}"))


def check_each_once(pool: Pool, inbox: Path, log: Path, files: int) -> None:
    names = [f"{number:03}" for number in range(files)]
    refs = pool.select(all_versions=True)
    assert sorted(ref.name for ref in refs) == names
    assert {ref.version for ref in refs} == {0}
    lines = written(log)
    assert {line["status"] for line in lines} <= {"new", "unchanged"}
    news = [line["file"] for line in lines if line["status"] == "new"]
    assert len(set(news)) == len(news)
    assert verify(pool, level="full").is_whole
    done = call("watch", "jpl8", inbox, "--once", "--settle", "0")
    assert (done.stdout, done.exit_code) == ("", 0)


def test_each_file_once_though_it_is_killed(pool: Pool, inbox: Path, tmp_path: Path) -> None:
    kill_and_restart(inbox, tmp_path / "log", files=10, kills=1, seed=1)
    check_each_once(pool, inbox, tmp_path / "log", 10)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_each_of_many_files_once_though_it_is_killed_five_times(
    pool: Pool, inbox: Path, tmp_path: Path, seed: int
) -> None:
    kill_and_restart(inbox, tmp_path / "log", files=100, kills=5, seed=seed)
    check_each_once(pool, inbox, tmp_path / "log", 100)


@pytest.mark.slow
def test_two_watch_one_folder(pool: Pool, inbox: Path, simulated: Path, tmp_path: Path) -> None:
    logs = [tmp_path / "1", tmp_path / "2"]
    with started(inbox, logs[0], "--settle", "0.2") as one, started(inbox, logs[1], "--settle", "0.2") as two:
        for process in (one, two):
            process.wait_until_it_watches()
        for path in (*simulated.glob("uncal/*.fits"), *simulated.glob("v1/*.fits")):
            shutil.copy(path, inbox)
        fill(inbox, *(f"{number:03}.fits" for number in range(60)))
        for log in logs:
            wait_for(lambda log=log: len(written(log)) == 64, 60)  # type: ignore[misc]
        pool.close()
        wait_for(lambda: ask(os.environ["MIRIPOOL_DATABASE_URL"], _OTHERS) == [(0,)])  # idle, neither is connected
        assert [process.end() for process in (one, two)] == [0, 0]
    lines = [line for log in logs for line in written(log)]
    assert sum(line["status"] == "new" for line in lines) == 64
    assert sum(line["status"] == "unchanged" for line in lines) == 64
    assert {ref.version for ref in pool.select(all_versions=True)} == {0}
    assert exposures(pool, NAME) == [numbered(0)]
    assert call("watch", "jpl8", inbox, "--once").stdout == ""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_after_the_files_at_work(pool: Pool, inbox: Path, tmp_path: Path, number: int) -> None:
    log = tmp_path / "log"
    fill(inbox, *(f"{number:03}.fits" for number in range(200)))
    with started(inbox, log, "--settle", "0.1") as process:
        wait_for(lambda: bool(written(log)), 60)
        assert process.end(number) == 0
        words = process.words().splitlines()
    assert words == [f"watching {inbox} for pool jpl8; Ctrl-C ends that", f"watching {inbox} has ended"]
    assert len(written(log)) == 200
    assert call("watch", "jpl8", inbox, "--once").stdout == ""
