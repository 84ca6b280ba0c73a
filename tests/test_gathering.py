"""Gathering in a folder: what is put together is durable together, or not promised at all."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from disks import tiny_disk
from systemcalls import Calls, fail_at, needs_proc

from miripool.errors import DiskFull, PoolNotFound, ReadOnly, StorageError
from miripool.store.storage import gathering as module
from miripool.store.storage.local import LocalStorage


@needs_proc
def test_contents_are_on_disk_before_their_names_and_each_folder_once_before_settle_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "pool"
    (root / "blobs" / "ab").mkdir(parents=True)
    (root / "blobs" / "ab" / "0").write_bytes(b"another process's")
    storage = LocalStorage(root)
    calls = Calls(monkeypatch)
    with storage.gathering() as gathering:
        for n in range(1, 20):
            gathering.put(f"blobs/{'ab' if n % 2 else 'cd'}/{n}", f"content {n}".encode())
        assert gathering.confirm("blobs/ab/0")
        assert gathering.confirm("blobs/ab/0")
        gathering.settle()
        made = list(calls.made)
    assert calls.content_at_naming == {f"{n}": f"content {n}".encode() for n in range(1, 20)}
    synced = [name for kind, name in made if kind == "fsync" and name != "temporary"]
    assert sorted(synced) == ["ab", "blobs", "cd", "pool"]
    last_name = max(i for i, (kind, _) in enumerate(made) if kind == "link")
    assert {name for _, name in made[last_name + 1 :]} == set(synced)

    calls.made.clear()
    with storage.gathering() as gathering:
        gathering.put("blobs/cd/20", b"content")
        gathering.settle()
    assert [name for kind, name in calls.made if kind == "fsync"] == ["temporary", "cd"]


@needs_proc
def test_folders_are_synced_again_where_the_first_time_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LocalStorage(tmp_path)
    fail_at(monkeypatch, "fsync", 1, errno.EIO)  # the file's is the first
    with storage.gathering() as gathering:
        gathering.put("a/b", b"1")
        for _ in range(2):
            with pytest.raises(StorageError, match="is there, but the disk did not confirm it"):
                gathering.settle()
            monkeypatch.undo()
            fail_at(monkeypatch, "fsync", 0, errno.EIO)
    monkeypatch.undo()
    calls = Calls(monkeypatch)
    with storage.gathering() as gathering:
        assert gathering.confirm("a/b")
        gathering.settle()
    assert sorted(name for kind, name in calls.made if kind == "fsync") == sorted(["a", tmp_path.name])


@pytest.mark.parametrize(
    ("code", "error"), [(errno.ENOSPC, DiskFull), (errno.EIO, StorageError), (errno.EROFS, ReadOnly)]
)
@pytest.mark.parametrize("function", ["fsync", "link"])
@pytest.mark.parametrize("number", [0, 3])
def test_what_fails_in_a_thread_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, number: int, code: int, error: type[Exception]
) -> None:
    storage = LocalStorage(tmp_path)
    (tmp_path / "a").mkdir()
    storage.put("a/z", b"")  # its folder is on disk
    fail_at(monkeypatch, function, number, code)
    with storage.gathering() as gathering:
        for n in range(6):
            gathering.put(f"a/key{n}", b"content")
        with pytest.raises(error, match=r"/a/key\d"):
            gathering.settle()
        with pytest.raises(error, match=r"/a/key\d"):  # nothing of it counts as durable
            gathering.settle()
    there = {path.name for path in (tmp_path / "a").iterdir()}
    assert len(there) == 6
    assert there < {"z", *(f"key{n}" for n in range(6))}


def test_a_failure_is_raised_to_who_waits_for_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LocalStorage(tmp_path)
    fail_at(monkeypatch, "fsync", 0, errno.EIO)
    with storage.gathering() as gathering:
        gathering.put("key", b"content")
        with pytest.raises(StorageError, match="key"):
            gathering.wait("key")
        with pytest.raises(StorageError, match="key"):
            gathering.replace("key", b"content")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_gone_meanwhile(tmp_path: Path) -> None:
    """As with a folder that was moved away."""
    storage = LocalStorage(tmp_path)
    with storage.gathering() as gathering:
        gathering.put("a/b", gathering.workspace("a/b"))
        with pytest.raises(StorageError, match="a/b: No such file"):
            gathering.settle()


def test_a_pool_that_is_moved_away_meanwhile(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "pool")
    storage.put("a/z", b"")
    storage.settle()
    with storage.gathering() as gathering:
        path = gathering.workspace("a/b")
        path.write_bytes(b"content")
        (tmp_path / "pool").rename(tmp_path / "other")
        with pytest.raises(PoolNotFound, match="deleted or renamed meanwhile"):
            gathering.put("a/b", path)
    assert not (tmp_path / "pool").exists()


def test_what_has_the_name_but_is_no_file_is_told(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    (tmp_path / "a" / "key").mkdir(parents=True)
    with storage.gathering() as gathering:
        gathering.put("a/key", b"content")
        with pytest.raises(StorageError, match="its name is taken by something that is not a plain file"):
            gathering.settle()


def test_what_is_put_after_the_end_is_not_promised(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    with storage.gathering() as gathering:
        gathering.put("a", b"1")
        gathering.settle()
    gathering.put("b", b"2")
    with pytest.raises(StorageError, match="b was given up before it was written"):
        gathering.settle()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_slow_disk_stops_who_puts_not_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more files are under way than were agreed, and all arrive once the disk goes on."""
    monkeypatch.setattr(module, "_MOST", 8)
    goes_on = threading.Event()
    real = os.fsync

    def fsync(descriptor: int) -> None:
        goes_on.wait()
        real(descriptor)

    storage = LocalStorage(tmp_path)
    storage.put("a/z", b"")
    monkeypatch.setattr(os, "fsync", fsync)
    with storage.gathering() as gathering:
        putting = threading.Thread(target=lambda: [gathering.put(f"a/{n}", b"1") for n in range(20)])
        putting.start()
        putting.join(0.3)
        assert putting.is_alive()
        assert sum(path.name.startswith(".tmp-") for path in (tmp_path / "a").iterdir()) <= 9
        goes_on.set()
        putting.join()
        assert len(gathering.settle()) == 20


def test_a_full_disk() -> None:
    with tiny_disk(256) as folder:
        storage = LocalStorage(folder)
        storage.put("a/small", b"kept")
        with storage.gathering() as gathering:
            for n in range(4):
                gathering.put(f"a/{n}", bytes(1 << 15))
            with pytest.raises(DiskFull, match=r"no space left to write .*/a/big"):
                gathering.put("a/big", bytes(1 << 18))
            assert set(gathering.settle()) == {f"a/{n}" for n in range(4)}
        assert not [path for path in (folder / "a").iterdir() if path.name.startswith(".tmp-")]
        assert storage.read("a/small") == b"kept"


KILLED = """
import os, sys
from pathlib import Path
from miripool.store.storage.local import LocalStorage
storage = LocalStorage(Path(sys.argv[1]))
with storage.gathering() as gathering:
    for n in range(100000):
        gathering.put(f"a/{n:05d}", f"{n:05d}".encode() * 1000)
        if n % 50 == 49:
            gathering.settle()
            print(n, flush=True)
"""


@pytest.mark.parametrize("lines", [1, 7])
def test_who_is_killed_leaves_whole_files_and_unfinished_ones_of_no_name(tmp_path: Path, lines: int) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(lines):
            settled = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert {f"{n:05d}" for n in range(settled + 1)} <= names
    storage = LocalStorage(tmp_path)
    for name in names:
        if name.startswith(".tmp-"):
            assert storage.discard(f"a/{name}", age=0) is not None
        else:
            assert storage.read(f"a/{name}") == name.encode() * 1000


def test_a_child_has_threads_of_its_own(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)

    def put(key: str) -> None:
        with storage.gathering() as gathering:
            gathering.put(key, b"content")
            gathering.settle()

    put("parent")
    child = os.fork()
    if child == 0:
        try:
            put("child")
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert storage.read("child") == b"content"
