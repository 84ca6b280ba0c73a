"""Processes that work for this one: they do what they are given, and end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import BrokenExecutor, wait
from pathlib import Path

import homes
import psutil
import pytest
from homes import write_image
from replay import assert_index_is_journal

from miripool import Home, Pool
from miripool.maintenance.verify import verify
from miripool.pool.core import core_of
from miripool.pool.ingest import ingest
from miripool.system.processes import WorkerProcesses

home = homes.home


def test_work_is_done_and_errors_come_back() -> None:
    with WorkerProcesses(2) as processes:
        assert processes.submit(divmod, 7, 2).result() == (3, 1)
        assert processes.submit(int, "ff", base=16).result() == 255
        with pytest.raises(ZeroDivisionError):
            processes.submit(divmod, 1, 0).result()
        numbers = [processes.submit(abs, -number) for number in range(100)]
        assert [future.result() for future in numbers] == list(range(100))
        pids = {processes.submit(os.getpid).result() for _ in range(20)}
        assert os.getpid() not in pids
    assert not any(map(psutil.pid_exists, pids))
    with pytest.raises(RuntimeError):
        processes.submit(abs, 1)


def test_what_can_not_be_sent_back_is_an_error() -> None:
    with WorkerProcesses(1) as processes:
        with pytest.raises(TypeError, match="pickle"):
            processes.submit(threading.Lock).result()
        assert processes.submit(abs, -1).result() == 1


def test_none_is_started_before_there_is_work() -> None:
    before = len(psutil.Process().children())
    with WorkerProcesses(2):
        assert len(psutil.Process().children()) == before


def test_a_process_that_is_killed_loses_its_work_alone() -> None:
    with WorkerProcesses(2) as processes:
        pid = processes.submit(os.getpid).result()
        lost = processes.submit(time.sleep, 60)
        other = processes.submit(time.sleep, 60)
        end = time.monotonic() + 60
        while len(children := {child.pid for child in workers()}) < 2:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert pid in children
        os.kill(pid, signal.SIGKILL)
        (done,), _ = wait((lost, other), 50, return_when="FIRST_COMPLETED")
        with pytest.raises(BrokenExecutor, match=f"worker process {pid} ended"):
            done.result()
        (left,) = children - {pid}
        os.kill(left, signal.SIGKILL)
        for future in (lost, other):
            with pytest.raises(BrokenExecutor):
                future.result(60)
        with pytest.raises(BrokenExecutor):
            processes.submit(abs, 1).result(60)


# Ingest by them


def many(folder: Path, count: int = 40) -> list[Path]:
    return [write_image(folder / f"n{i}.fits", {"NGROUPS": i}) for i in range(count)]


def workers() -> list[psutil.Process]:
    return [
        child for child in psutil.Process().children() if any("processes import serve" in a for a in child.cmdline())
    ]


def assert_all_there(pool: Pool, files: list[Path], tmp_path: Path) -> None:
    assert [ref.name for ref in pool.select(order="name")] == sorted(path.stem for path in files)
    for path in files[:: len(files) // 4]:
        back = pool.ref(path.stem).to_fits(tmp_path / "back.fits", overwrite=True)
        assert back.read_bytes() == path.read_bytes()
    assert list((pool.path / "pending").glob("*")) == []
    assert verify(pool, level="full").findings == []
    assert_index_is_journal(pool)


def test_many_files_are_stored_by_processes(pool: Pool, tmp_path: Path) -> None:
    files = many(tmp_path)
    seen: set[int] = set()
    urns = []
    for outcome in ingest(pool, files, jobs=2):
        seen |= {child.pid for child in workers()}
        urns.append(outcome.urn)
    assert len(seen) == 2
    assert not any(map(psutil.pid_exists, seen))
    assert urns == [f"urn:jpl8:Product:{i}" for i in range(len(files))]
    assert core_of(pool).archive.journal.last() < len(files) / 3
    assert_all_there(pool, files, tmp_path)
    assert {o.status for o in ingest(pool, files, jobs=2)} == {"unchanged"}


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, 2])
def test_a_worker_of_an_ingest_that_is_killed(
    pool: Pool, tmp_path: Path, kills: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("miripool.pool.batch._MOST_PRODUCTS", 4)
    files = many(tmp_path, 100)
    outcomes = []
    for outcome in ingest(pool, files, jobs=2):
        if not outcomes:
            for child in workers()[:kills]:
                child.kill()
        outcomes.append(outcome)
    assert [(o.path, o.status) for o in outcomes] == [(path, "new") for path in files]
    assert "this process reads" in caplog.text
    assert list((pool.path / "pending").glob("*")) == []
    assert pool.select().size() == 100
    assert_index_is_journal(pool)


SCRIPT = """
import sys, threading
from miripool import PoolManager
pool = PoolManager.getPool("jpl8")
def add():
    print("adding", flush=True)
    pool.ingest(sys.argv[1], jobs=2)
    print("done", flush=True)
if sys.argv[2] == "thread":
    thread = threading.Thread(target=add)
    thread.start()
    thread.join()
else:
    add()
"""


@pytest.mark.slow
@pytest.mark.parametrize("where", ["main", "thread"])
def test_in_a_script_without_a_guard(pool: Pool, tmp_path: Path, where: str) -> None:
    files = many(tmp_path / "files")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script, tmp_path / "files", where], capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "adding\ndone\n", "")
    assert_all_there(pool, files, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_ingest_that_is_interrupted_leaves_no_process(home: Home, pool: Pool, tmp_path: Path, how: int) -> None:
    """Ctrl-C reaches this process alone; of one that is killed the workers find their pipes closed."""
    files = many(tmp_path / "files", 400)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with subprocess.Popen([sys.executable, script, tmp_path / "files", "main"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"adding\n"
        until = time.monotonic() + 60
        while core_of(pool).archive.journal.last() < 0:
            assert time.monotonic() < until
            time.sleep(0.01)
        workers = [child for child in psutil.Process(process.pid).children() if child.status() != "zombie"]
        assert len(workers) >= 2
        process.send_signal(how)
        assert process.wait(60) != 0
        assert psutil.wait_procs(workers, 60)[1] == []
    if how == signal.SIGINT:
        assert list((pool.path / "pending").glob("*")) == []
        assert list(pool.path.rglob(".tmp-*")) == []
    kept = pool.select().size()
    assert 0 < kept < 400
    assert {o.status for o in pool.ingest(files)} == {"unchanged", "new"}
    assert pool.select().size() == 400
    assert_index_is_journal(pool)
