"""Folder locks end with their holder, whatever children it has; who waits for one is told."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import homes
import pytest
from homes import write_image

from miripool import Home, Pool
from miripool.errors import Conflict
from miripool.exchange import copy as transfer
from miripool.exchange.copy import PoolShelf, _alone, receive
from miripool.pool.core import core_of
from miripool.store.storage.heldfolder import held_folder
from miripool.store.storage.local import LocalStorage
from miripool.system.folderlock import lock_folder, open_folder

home = homes.home


@contextmanager
def child_forked_within(lock: Callable[[], AbstractContextManager[object]]) -> Iterator[None]:
    """Fork a child that lives on while a lock is held; the body runs after the lock's end."""
    begin, end = os.pipe()
    with lock():
        pid = os.fork()
        if pid == 0:
            os.close(end)
            os.read(begin, 1)  # until the parent closes its end
            os._exit(0)
    os.close(begin)
    try:
        yield
    finally:
        os.close(end)
        os.waitpid(pid, 0)


def is_free(folder: Path) -> bool:
    """Try to lock a folder in another process."""
    script = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    done = subprocess.run([sys.executable, "-c", script, folder], stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0 or "BlockingIOError" in done.stderr
    return done.returncode == 0


@contextmanager
def locked_by_another(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Have another process hold the lock."""
    script = (
        "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX); "
        "print('locked', flush=True); sys.stdin.readline()"
    )
    command = [sys.executable, "-c", script, str(folder)]
    with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "locked\n"
            yield process
        finally:
            process.kill()


def test_a_forked_child_keeps_no_turn(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    with child_forked_within(lambda: LocalStorage(tmp_path).turn("journal", seconds=10)):
        assert is_free(tmp_path / "journal")


def test_a_forked_child_does_not_hold_the_pool(tmp_path: Path) -> None:
    with child_forked_within(lambda: held_folder(tmp_path)):
        assert is_free(tmp_path)


@pytest.fixture
def other(home: Home, tmp_path: Path) -> Iterator[Pool]:
    """A pool to copy into, beside a pool ``jpl8`` with one version."""
    with home.create("jpl8") as pool:
        pool.save(write_image(tmp_path / "a.fits"))
    with home.create("other") as made:
        yield made


def test_a_child_forked_while_versions_are_copied_keeps_nobody_off(
    home: Home, other: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_WAIT", 1.0, raising=False)
    with child_forked_within(lambda: _alone(core_of(other))), home.pool("jpl8") as pool:
        assert [received.saved.status for received in receive(other, PoolShelf(pool))] == ["new"]


def test_who_waits_for_another_copy_is_told_so_and_not_for_ever(
    home: Home, other: Pool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(transfer, "_WAIT", 0.3, raising=False)
    core_of(other).archive.work_folder.mkdir()
    with home.pool("jpl8") as pool, locked_by_another(core_of(other).archive.work_folder) as process:
        with pytest.raises(Conflict, match="copying into pool 'other' for"):
            receive(other, PoolShelf(pool))
        assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
            "another process is copying into pool 'other'; waiting until it is done, at most 0 s"
        ]
        process.kill()
        process.wait()
        assert len(receive(other, PoolShelf(pool))) == 1


def test_a_copy_is_kept_off_though_the_pools_description_was_replaced(
    home: Home, other: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_WAIT", 0.3, raising=False)
    with home.pool("jpl8") as pool, _alone(core_of(other)):
        other.set_pixel_policy("none")
        with pytest.raises(Conflict):
            receive(other, PoolShelf(pool))


def test_a_child_within_the_lock_neither_frees_nor_closes_it(tmp_path: Path) -> None:
    with open_folder(tmp_path) as descriptor:
        assert lock_folder(descriptor, seconds=0)
        pid = os.fork()
        if pid == 0:
            os._exit(0 if _leaves(tmp_path) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert not is_free(tmp_path)
    assert is_free(tmp_path)


def _leaves(folder: Path) -> bool:
    """Open a file that gets the closed descriptor's number, and lock another folder beside."""
    with open_folder(folder) as again:
        try:
            lock_folder(again, seconds=0)
        except TimeoutError:
            return True
    return False


def test_many_hold_it_together_or_one_alone(tmp_path: Path) -> None:
    with open_folder(tmp_path) as one, open_folder(tmp_path) as two:
        assert lock_folder(one, seconds=0, alone=False)
        assert lock_folder(two, seconds=0, alone=False)
        begin = time.monotonic()
        told: list[str] = []
        with pytest.raises(TimeoutError):
            lock_folder(one, seconds=0.2, waiting=lambda: told.append("waiting"))
        assert time.monotonic() - begin >= 0.2
        assert told == ["waiting"]
