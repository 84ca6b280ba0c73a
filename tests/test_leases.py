"""Whether a writer lives is found out rightly: seen from other namespaces, by other clocks, after a restart."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from homes import call
from namespaces import isolated, need_namespaces, show_boot_time
from plain_reader import Acknowledged, array_of, losses
from slow_writer import SEED

from miripool import Pool, Product
from miripool.maintenance.verify import verify
from miripool.pool.core import core_of
from miripool.store.storage.leases import FolderLeases

PROGRAM = Path(__file__).with_name("slow_writer.py")
SAVED = Acknowledged("urn:jpl8:Product:0", "Product", "slow", 0, SEED)


class Writer:
    """A writer that waits between its files and its entry."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self.folder = folder

    def reach(self, step: str) -> None:
        """Wait until it stands there."""
        until = time.monotonic() + 60
        while not (self.folder / f"{step}.reached").exists():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < until, f"the writer does not get to {step}"
            time.sleep(0.01)

    def go(self, step: str) -> None:
        """Let it go on from there."""
        (self.folder / f"{step}.go").touch()

    def send(self, number: int) -> None:
        """Send a signal to the writer itself, whatever number it has where it lives."""
        inside = psutil.Process(self.process.pid).children(recursive=True)
        process = inside[-1] if self.process.args[0] == "unshare" and inside else psutil.Process(self.process.pid)
        process.send_signal(number)

    def end(self) -> str:
        """Wait for it, and give its last words."""
        words, complaints = self.process.communicate(timeout=60)
        assert (self.process.returncode, complaints) == (0, "")
        return words.strip()

    def kill(self) -> None:
        """Kill it; children of it live on."""
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def slow_writer(folder: Path, *deeds: str, pids: bool = False, boot: Path | None = None) -> Iterator[Writer]:
    """Run a writer until it stands between its files and its entry."""
    folder.mkdir(exist_ok=True)
    command = isolated([sys.executable, str(PROGRAM), str(folder), *deeds], pids=pids, boot=boot)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        writer = Writer(process, folder)
        try:
            writer.reach("stored")
            yield writer
        finally:
            process.kill()
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                os.kill(int((folder / "child").read_text()), signal.SIGKILL)


def files(pool: Pool) -> set[str]:
    return {key for folder in ("blobs", "manifests") for key in core_of(pool).archive.storage.keys(folder)}


def gc() -> dict[str, Any]:
    return json.loads(call("gc", "jpl8", "--grace", "0", "--json").stdout)


def pending(pool: Pool) -> list[Path]:
    return sorted(pool.path.glob("pending/*.json"))


def check_saved(pool: Pool, words: str) -> None:
    assert words == f"saved {SAVED.urn}"
    assert losses(pool.path, [SAVED]) == []
    core_of(pool).catch_up()
    assert verify(pool, level="full").findings == []


@pytest.mark.slow
@pytest.mark.parametrize("seen", ["other numbers", "another boot time", "both"])
def test_a_writer_that_is_seen_otherwise(pool: Pool, tmp_path: Path, seen: str) -> None:
    """It is stopped between its files and its entry, and meanwhile somebody collects outside."""
    need_namespaces()
    boot = None
    if seen != "other numbers":
        boot = tmp_path / "stat"
        show_boot_time(boot, 5)
    with slow_writer(tmp_path / "steps", pids=seen != "another boot time", boot=boot) as writer:
        writer.send(signal.SIGSTOP)
        before = files(pool)
        assert len(before) == 2
        found = gc()
        assert files(pool) == before
        assert (found["files"], found["spared"], found["notes"]) == (0, 2, 0)
        writer.send(signal.SIGCONT)
        writer.go("stored")
        check_saved(pool, writer.end())
    assert gc()["files"] == 0
    assert pending(pool) == []


@pytest.mark.slow
def test_a_clock_that_is_set_while_a_writer_waits(pool: Pool, tmp_path: Path) -> None:
    """The collector sees a boot time that is not the one which the writer saw."""
    need_namespaces()
    with slow_writer(tmp_path / "steps") as writer:
        before = files(pool)
        show_boot_time(tmp_path / "stat", -3)
        command = [sys.executable, "-m", "miripool", "gc", "jpl8", "--grace", "0", "--json"]
        subprocess.run(isolated(command, boot=tmp_path / "stat"), check=True, capture_output=True)
        assert files(pool) == before
        writer.go("stored")
        check_saved(pool, writer.end())


@pytest.mark.slow
def test_a_clock_that_was_wrong_when_a_writer_began(pool: Pool, tmp_path: Path) -> None:
    """Its note seems to be years old, and its lock says that it lives."""
    with slow_writer(tmp_path / "steps") as writer:
        (path,) = pending(pool)
        note = json.loads(path.read_bytes()) | {"time": "2020-01-01T00:00:00+00:00"}
        path.write_text(json.dumps(note, sort_keys=True, separators=(",", ":")))
        before = files(pool)
        found = gc()
        assert (found["files"], found["spared"], found["notes"]) == (0, 2, 0)
        assert (files(pool), path.exists()) == (before, True)
        writer.go("stored")
        check_saved(pool, writer.end())


@pytest.mark.slow
@pytest.mark.parametrize("pids", [False, True])
def test_a_writer_that_was_killed(pool: Pool, tmp_path: Path, pids: bool) -> None:
    if pids:
        need_namespaces()
    with slow_writer(tmp_path / "steps", pids=pids) as writer:
        writer.send(signal.SIGKILL)
        writer.process.wait()
        found = gc()
        assert (found["files"], found["notes"]) == (2, 1)
    assert files(pool) == set()
    assert pending(pool) == []


@pytest.mark.slow
@pytest.mark.parametrize("child", ["fork", "program"])
def test_a_child_that_outlives_its_parent(pool: Pool, tmp_path: Path, child: str) -> None:
    """It is not the writer: what its parent announced is freed."""
    with slow_writer(tmp_path / "steps", child) as writer:
        writer.kill()
        assert psutil.pid_exists(int((tmp_path / "steps" / "child").read_text()))
        found = gc()
        assert (found["files"], found["notes"]) == (2, 1)
    assert files(pool) == set()


@pytest.mark.slow
@pytest.mark.parametrize("deed", ["short fork", "collect"])
def test_what_a_writer_does_itself_ends_nothing(pool: Pool, tmp_path: Path, deed: str) -> None:
    """A child of it that ends, and a collector in the same process, leave the writer alive."""
    with slow_writer(tmp_path / "steps", deed) as writer:
        found = gc()
        assert (found["files"], found["spared"], found["notes"]) == (0, 2, 0)
        writer.go("stored")
        check_saved(pool, writer.end())


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"boot": "00000000-0000-4000-8000-000000000000"}, {"boot": "", "lock": ""}])
def test_a_note_that_nobody_here_can_judge(pool: Pool, tmp_path: Path, change: dict[str, str]) -> None:
    """Of another kernel, or without a lock: it counts for 30 days, whatever the grace period of the trash."""
    with slow_writer(tmp_path / "steps") as writer:
        (path,) = pending(pool)
        note = json.loads(path.read_bytes())
        writer.kill()
    for days, freed in ((0, 0), (29, 0), (31, 2)):
        then = datetime.now(UTC) - timedelta(days=days)
        aged = {**note, **change, "time": then.isoformat(timespec="seconds")}
        path.write_text(json.dumps(aged, sort_keys=True, separators=(",", ":")))
        os.utime(path, (then.timestamp(), then.timestamp()))
        found = gc()
        assert (days, found["files"], len(files(pool))) == (days, freed, 2 - freed)
        assert path.exists() == (freed == 0)


@pytest.mark.slow
def test_a_writer_whose_note_is_gone_writes_another(pool: Pool, tmp_path: Path) -> None:
    with slow_writer(tmp_path / "steps", "stop before the entry") as writer:
        before = files(pool)
        (path,) = pending(pool)
        path.unlink()
        writer.go("stored")
        writer.reach("entry")
        assert {key for note in pending(pool) for key in json.loads(note.read_bytes())["keys"]} >= before
        found = gc()
        assert (found["files"], found["spared"]) == (0, 2)
        writer.go("entry")
        check_saved(pool, writer.end())
    assert pending(pool) == []


@pytest.mark.slow
@pytest.mark.parametrize("gone", ["all files", "the blob"])
def test_a_writer_whose_note_and_files_are_gone(pool: Pool, tmp_path: Path, gone: str) -> None:
    """It stores them again, or it fails; it does not say that they are saved."""
    with slow_writer(tmp_path / "steps") as writer:
        writer.send(signal.SIGSTOP)
        (path,) = pending(pool)
        kept = next((pool.path / "manifests").rglob("*.json"))
        content = kept.read_bytes()
        path.unlink()
        assert gc()["files"] == 2
        assert files(pool) == set()
        if gone == "the blob":  # another writer may have put the same manifest
            kept.write_bytes(content)
        writer.send(signal.SIGCONT)
        writer.go("stored")
        words = writer.end()
    if words.startswith("saved"):
        check_saved(pool, words)
    else:
        assert words.startswith("failed ")
        assert pool.select("1").size() == 0
        assert not list(pool.path.glob("journal/*.json"))


@pytest.mark.slow
def test_a_container_of_another_host_name(pool: Pool, tmp_path: Path) -> None:
    """The kernel tells who is no more, the name of the host does not."""
    with slow_writer(tmp_path / "steps") as writer:
        (path,) = pending(pool)
        note = {**json.loads(path.read_bytes()), "host": "elsewhere", "pid": 1}
        path.write_text(json.dumps(note, sort_keys=True, separators=(",", ":")))
        assert gc()["spared"] == 2
        writer.kill()
        assert gc()["files"] == 2


@pytest.mark.parametrize("lock", ["../pool.json", "/dev/null", "x.lock", f"../leases/{'0' * 32}.lock"])
def test_a_lock_that_is_none(tmp_path: Path, lock: str) -> None:
    leases = FolderLeases(tmp_path / "leases")
    own = leases.own()
    assert not leases.is_over(own)
    assert not leases.is_over(replace(own, lock=lock))
    assert leases.is_over(replace(own, lock=f"{'0' * 32}.lock"))  # swept with its owner


def test_a_folder_that_was_moved(tmp_path: Path) -> None:
    leases = FolderLeases(tmp_path / "leases")
    before = leases.own()
    assert leases.own() == before
    (tmp_path / "leases").rename(tmp_path / "moved")
    after = leases.own()
    assert after.lock != before.lock
    assert not leases.is_over(after)


def test_a_folder_that_can_not_be_made(tmp_path: Path) -> None:
    assert FolderLeases(tmp_path / "gone" / "leases").own().lock == ""


@pytest.mark.slow
def test_what_is_left_of_locks(pool: Pool, tmp_path: Path) -> None:
    """A process that ends removes its lock, gc that of a process that was killed, and no other file."""
    folder = pool.path / "leases"
    pool.save(Product({}, {"SCI": array_of(1)}, name="own"))
    (own,) = folder.iterdir()
    with slow_writer(tmp_path / "1") as writer:
        assert len(list(folder.iterdir())) == 2
        writer.go("stored")
        assert writer.end().startswith("saved")
    assert list(folder.iterdir()) == [own]
    (folder / "stranger").touch()
    pool.remove("Product/slow")  # else it would be there already
    with slow_writer(tmp_path / "2") as writer:
        writer.kill()
        assert len(list(folder.iterdir())) == 3
        gc()
    assert set(folder.iterdir()) == {own, folder / "stranger"}
