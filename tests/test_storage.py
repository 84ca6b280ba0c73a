"""Storage: one class of tests for every storage, run in memory and in a folder; what else a folder promises."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import pickle
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import homes
import pytest
from disks import reachable_by_all, tiny_disk, unprivileged
from hypothesis import given, settings
from hypothesis import strategies as st
from systemcalls import Calls, fail_at, needs_proc

from miripool import Home
from miripool.errors import DiskFull, IntegrityError, InvalidInput, NotFound, ReadOnly, StorageError
from miripool.maintenance.verify import verify
from miripool.store.storage import local, storage_at
from miripool.store.storage.contract import Storage
from miripool.store.storage.local import LocalStorage
from miripool.store.storage.memory import MemoryStorage
from miripool.system.oserrors import storage_error

home = homes.home

ESCAPES = ["", "/", "/etc/passwd", "..", "../a", "a/../b", "a/..", "a/./b", "a//b", "a/", "a\0b", "a\nb", "a\ud800b"]


class StorageConformance:
    """What is asked of every storage; what is stored is set and looked at behind its back."""

    @pytest.fixture
    def storage(self) -> Storage:
        raise NotImplementedError

    def raw_set(self, storage: Any, key: str, data: bytes) -> None:
        raise NotImplementedError

    def raw_get(self, storage: Any, key: str) -> bytes | None:
        raise NotImplementedError

    def raw_names(self, storage: Any) -> set[str]:
        """Everything there is, temporary files too."""
        raise NotImplementedError

    def test_read(self, storage: Storage) -> None:
        self.raw_set(storage, "blobs/ab/ab12.h5", b"\0\xff bytes")
        assert storage.read("blobs/ab/ab12.h5") == b"\0\xff bytes"

    @pytest.mark.parametrize("key", ["missing", "a/missing", "a/b/c/missing", "pool.json/below"])
    def test_what_is_not_there(self, storage: Storage, key: str) -> None:
        self.raw_set(storage, "pool.json", b"{}")
        with pytest.raises(NotFound, match="is not there"):
            storage.read(key)
        assert not storage.exists(key)
        assert not storage.confirm(key)
        assert not storage.delete(key)

    def test_exists(self, storage: Storage) -> None:
        self.raw_set(storage, "a/b", b"")
        assert storage.exists("a/b")
        assert storage.confirm("a/b")
        assert not storage.exists("a")

    def test_has_any(self, storage: Storage) -> None:
        storage.put("a/b.txt", b"")
        assert storage.has_any(["a/a.txt", "a/b.txt", "a/c.txt"])
        assert not storage.has_any(["a/a.txt", "a/c.txt"])
        assert not storage.has_any([])

    def test_what_is_too_large_is_not_read(self, storage: Storage) -> None:
        storage.put("key", b"12345678")
        assert storage.read("key", limit=8) == b"12345678"
        with pytest.raises(IntegrityError, match="has 8 bytes, more than the 7"):
            storage.read("key", limit=7)

    def test_ranges(self, storage: Storage) -> None:
        self.raw_set(storage, "a/b", b"0123456789")
        assert storage.read_ranges("a/b", []) == []
        assert storage.read_ranges("a/b", [(0, 3)]) == [b"012"]
        assert storage.read_ranges("a/b", [(8, 5), (2, 2), (2, 0), (10, 1), (99, 1)]) == [b"89", b"23", b"", b"", b""]
        with pytest.raises(NotFound, match="is not there"):
            storage.read_ranges("a/c", [(0, 1)])

    def test_status(self, storage: Storage) -> None:
        begin = datetime.now(UTC)
        storage.put("a/b", b"12345")
        status = storage.status("a/b")
        assert status.size == 5
        assert abs((status.changed - begin).total_seconds()) < 60
        assert storage.status("a/b") == status
        assert storage.is_free("a/c")
        assert not storage.is_free("a/b")
        with pytest.raises(NotFound, match="is not there"):
            storage.status("a/c")

    def test_a_name_says_where_a_key_is(self, storage: Storage) -> None:
        assert storage.name("a/b").endswith("a/b")
        assert storage.name("a/b").startswith(storage.place)

    def test_put(self, storage: Storage) -> None:
        assert storage.put("a/b/c", b"content")
        assert self.raw_get(storage, "a/b/c") == b"content"
        assert self.raw_names(storage) == {"a/b/c"}

    def test_put_of_a_file(self, storage: Storage) -> None:
        path = storage.workspace("a/b")
        path.write_bytes(b"content")
        assert storage.put("a/b", path)
        assert self.raw_get(storage, "a/b") == b"content"
        assert self.raw_names(storage) == {"a/b"}

    @pytest.mark.parametrize("as_file", [False, True])
    def test_put_on_what_is_taken_changes_nothing(self, storage: Storage, as_file: bool) -> None:
        self.raw_set(storage, "a/b", b"first")
        source: bytes | Path = b"second"
        if as_file:
            source = storage.workspace("a/b")
            source.write_bytes(b"second")
        assert not storage.put("a/b", source)
        assert self.raw_get(storage, "a/b") == b"first"
        assert self.raw_names(storage) == {"a/b"}

    def test_replace(self, storage: Storage) -> None:
        storage.replace("pool.json", b"first")
        assert self.raw_get(storage, "pool.json") == b"first"
        storage.replace("pool.json", b"2")
        assert self.raw_get(storage, "pool.json") == b"2"
        assert self.raw_names(storage) == {"pool.json"}

    def test_replace_if_unchanged(self, storage: Storage) -> None:
        storage.put("pool.json", b"first")
        version = storage.status("pool.json").version
        assert storage.replace("pool.json", b"2", version=version)
        assert storage.status("pool.json").version != version
        assert not storage.replace("pool.json", b"third", version=version)
        assert self.raw_get(storage, "pool.json") == b"2"
        assert self.raw_names(storage) == {"pool.json"}

    def test_what_is_gone_is_not_replaced_if_unchanged(self, storage: Storage) -> None:
        storage.put("a/b", b"first")
        version = storage.status("a/b").version
        storage.delete("a/b")
        assert not storage.replace("a/b", b"second", version=version)
        assert not storage.replace("no/such", b"second", version=version)
        assert self.raw_names(storage) == set()

    def test_no_change_is_lost(self, storage: Storage) -> None:
        storage.put("count", b"0")

        def add(_: int) -> None:
            while True:
                version = storage.status("count").version
                number = int(storage.read("count")) + 1
                if storage.replace("count", str(number).encode(), version=version):
                    return

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(add, range(40)))
        assert self.raw_get(storage, "count") == b"40"

    def test_set_aside(self, storage: Storage) -> None:
        storage.put("a/b", b"1")
        storage.put("c/d", b"2")
        storage.set_aside("a/b", "c/d")
        assert self.raw_get(storage, "c/d") == b"1"
        assert self.raw_names(storage) == {"c/d"}
        with pytest.raises(NotFound, match="is not there"):
            storage.set_aside("a/b", "c/e")

    def test_a_held_storage_is_written_to(self, storage: Storage) -> None:
        storage.put("pool.json", b"{}")
        with storage.held() as held:
            assert held.read("pool.json") == b"{}"
            assert held.put("journal/0", b"entry")
            assert not held.put("journal/0", b"other")
            assert held.name("journal/0") == storage.name("journal/0")
            assert held.status("journal/0") == storage.status("journal/0")
            with pytest.raises(NotFound, match="is not there"):
                held.status("journal/1")
            with pytest.raises(NotFound, match="is not there"):
                held.read("no.json")
        with storage.turn("journal", seconds=1):
            assert self.raw_get(storage, "journal/0") == b"entry"

    def test_delete(self, storage: Storage) -> None:
        self.raw_set(storage, "a/b", b"1")
        self.raw_set(storage, "a/c", b"2")
        assert storage.delete("a/b")
        assert not storage.delete("a/b")
        assert self.raw_names(storage) == {"a/c"}

    def test_keys(self, storage: Storage) -> None:
        for key in ("blobs/ab/1", "blobs/ab/2", "blobs/cd/3", "blobs.h5", "other/4"):
            self.raw_set(storage, key, b"")
        assert sorted(storage.keys("blobs")) == ["blobs/ab/1", "blobs/ab/2", "blobs/cd/3"]
        assert sorted(storage.keys("blobs/ab")) == ["blobs/ab/1", "blobs/ab/2"]
        assert list(storage.keys("blobs.h5")) == []
        assert list(storage.keys("missing/below")) == []
        assert sorted(storage.everything()) == ["blobs.h5", "blobs/ab/1", "blobs/ab/2", "blobs/cd/3", "other/4"]

    def test_only_temporary_files_are_discarded(self, storage: Storage) -> None:
        storage.put("a/b", b"1")
        with pytest.raises(InvalidInput, match="not a temporary file"):
            storage.discard("a/b", age=0)
        assert storage.discard("a/.tmp-0123456789abcdef", age=0) is None
        assert self.raw_names(storage) == {"a/b"}

    def test_a_workspace_is_no_key_and_new_each_time(self, storage: Storage) -> None:
        first, second = storage.workspace("a/b"), storage.workspace("a/b")
        assert first != second
        first.write_bytes(b"unfinished")
        assert not storage.exists("a/b")
        assert list(storage.keys("a")) == []

    @pytest.mark.parametrize("key", [*ESCAPES, "a/.tmp-b", ".tmp-a/b"])
    def test_no_other_keys(self, storage: Storage, key: str) -> None:
        calls: list[Callable[[], object]] = [
            lambda: storage.name(key),
            lambda: storage.status(key),
            lambda: storage.is_free(key),
            lambda: storage.read_ranges(key, [(0, 1)]),
            lambda: storage.read(key),
            lambda: storage.exists(key),
            lambda: storage.confirm(key),
            lambda: storage.put(key, b"x"),
            lambda: storage.replace(key, b"x"),
            lambda: storage.replace(key, b"x", version="1"),
            lambda: storage.workspace(key),
            lambda: storage.note(key, b"x"),
            lambda: storage.delete(key),
            lambda: list(storage.keys(key)),
        ]
        for call in calls:
            with pytest.raises(InvalidInput, match="not a storage key"):
                call()
        assert self.raw_names(storage) == set()

    @pytest.mark.parametrize("n", [1, 8])
    def test_one_of_many_threads_wins(self, storage: Storage, n: int) -> None:
        barrier = threading.Barrier(n)

        def race(i: int) -> list[bool]:
            won = []
            for k in range(20):
                barrier.wait()
                won.append(storage.put(f"race/{k}", f"{i}".encode() * 1000))
            return won

        with ThreadPoolExecutor(n) as threads:
            results = list(threads.map(race, range(n)))
        for k in range(20):
            (winner,) = [i for i in range(n) if results[i][k]]
            assert self.raw_get(storage, f"race/{k}") == f"{winner}".encode() * 1000
        assert self.raw_names(storage) == {f"race/{k}" for k in range(20)}

    def test_many_are_put_together(self, storage: Storage) -> None:
        self.raw_set(storage, "a/0", b"first")
        with storage.gathering() as gathering:
            for n in range(300):  # more than are under way at a time
                gathering.put(f"a/{n}", f"{n}".encode() * 5)
                assert gathering.knows(f"a/{n}")
                assert gathering.exists(f"a/{n}")
            added = gathering.settle()
            assert added == {f"a/{n}": 5 * len(str(n)) for n in range(1, 300)}
            assert not gathering.knows("a/1")
            assert gathering.exists("a/1")
            assert gathering.settle() == {}
        assert self.raw_get(storage, "a/0") == b"first"
        assert self.raw_get(storage, "a/299") == b"299" * 5
        assert self.raw_names(storage) == {f"a/{n}" for n in range(300)}

    def test_a_file_is_put_together_with_others(self, storage: Storage) -> None:
        with storage.gathering() as gathering:
            path = gathering.workspace("a/b")
            path.write_bytes(b"content")
            gathering.put("a/b", path)
            gathering.put("a/c", b"other")
            assert gathering.settle() == {"a/b": 7, "a/c": 5}
        assert self.raw_get(storage, "a/b") == b"content"
        assert self.raw_names(storage) == {"a/b", "a/c"}

    def test_what_is_under_way_can_be_waited_for_and_read(self, storage: Storage) -> None:
        with storage.gathering() as gathering:
            gathering.put("a/b", b"content")
            gathering.wait("a/b")
            assert storage.read("a/b") == b"content"
            gathering.wait("a/other")
            assert not gathering.knows("a/other")
            assert not gathering.exists("a/other")

    def test_a_key_is_put_once(self, storage: Storage) -> None:
        with storage.gathering() as gathering:
            gathering.put("a/b", b"first")
            path = gathering.workspace("a/b")
            path.write_bytes(b"second")
            gathering.put("a/b", path)
            assert gathering.confirm("a/b")
            assert gathering.settle() == {"a/b": 5}
            gathering.replace("a/b", b"the third")
            assert gathering.settle() == {"a/b": 9}
            gathering.put("a/c", b"1")
            gathering.replace("a/c", b"22")
            assert gathering.settle() == {"a/c": 2}
        assert self.raw_get(storage, "a/b") == b"the third"
        assert self.raw_names(storage) == {"a/b", "a/c"}

    def test_what_others_put_is_confirmed_with_the_rest(self, storage: Storage) -> None:
        self.raw_set(storage, "a/b", b"1")
        with storage.gathering() as gathering:
            assert gathering.confirm("a/b")
            assert not gathering.confirm("a/c")
            assert gathering.settle() == {}

    def test_what_is_not_settled_leaves_no_unfinished_file(self, storage: Storage) -> None:
        with storage.gathering() as gathering:
            for n in range(40):
                path = gathering.workspace(f"a/{n}")
                path.write_bytes(b"content")
                gathering.put(f"a/{n}", path)
        there = self.raw_names(storage)
        assert there <= {f"a/{n}" for n in range(40)}
        assert all(self.raw_get(storage, key) == b"content" for key in there)

    def test_many_threads_put_together(self, storage: Storage) -> None:
        with storage.gathering() as gathering, ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda n: gathering.put(f"a/{n % 50}", f"{n % 50}".encode()), range(200)))
            assert len(gathering.settle()) == 50
        assert self.raw_names(storage) == {f"a/{n}" for n in range(50)}

    def test_a_note(self, storage: Storage) -> None:
        storage.note("pending/a", b"first")
        assert self.raw_get(storage, "pending/a") == b"first"
        storage.note("pending/a", b"2")
        assert self.raw_get(storage, "pending/a") == b"2"
        assert self.raw_names(storage) == {"pending/a"}


class TestMemoryStorage(StorageConformance):
    """A dictionary."""

    @pytest.fixture
    def storage(self) -> MemoryStorage:
        return MemoryStorage()

    def raw_set(self, storage: MemoryStorage, key: str, data: bytes) -> None:
        storage._objects[key] = storage._made(key, data)

    def raw_get(self, storage: MemoryStorage, key: str) -> bytes | None:
        found = storage._objects.get(key)
        return None if found is None else found.data

    def raw_names(self, storage: MemoryStorage) -> set[str]:
        return set(storage._objects)


def _add(root: Path, times: int) -> None:
    storage = LocalStorage(root)
    for _ in range(times):
        while True:
            version = storage.status("count").version
            if storage.replace("count", str(int(storage.read("count")) + 1).encode(), version=version):
                break


def _put_all(root: Path, mark: bytes, keys: int) -> list[bool]:
    storage = LocalStorage(root)
    return [storage.put(f"race/{k % 7}/{k}", mark * 4000) for k in range(keys)]


class TestLocalStorage(StorageConformance):
    """A folder."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> LocalStorage:
        return LocalStorage(tmp_path / "pools" / "jpl8")

    def raw_set(self, storage: LocalStorage, key: str, data: bytes) -> None:
        path = storage.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def raw_get(self, storage: LocalStorage, key: str) -> bytes | None:
        path = storage.root / key
        return path.read_bytes() if path.exists() else None

    def raw_names(self, storage: LocalStorage) -> set[str]:
        return {p.relative_to(storage.root).as_posix() for p in storage.root.rglob("*") if not p.is_dir()}

    @pytest.mark.slow
    def test_one_of_many_processes_wins(self, storage: LocalStorage) -> None:
        marks = [b"a", b"b", b"c"]
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(len(marks), mp_context=context) as processes:
            jobs = [processes.submit(_put_all, storage.root, mark, 60) for mark in marks]
            results = [job.result() for job in jobs]
        for k in range(60):
            (winner,) = [i for i in range(len(marks)) if results[i][k]]
            assert self.raw_get(storage, f"race/{k % 7}/{k}") == marks[winner] * 4000
        assert len(self.raw_names(storage)) == 60

    @pytest.mark.slow
    def test_no_change_of_many_processes_is_lost(self, storage: LocalStorage) -> None:
        storage.put("count", b"0")
        with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as processes:
            for job in [processes.submit(_add, storage.root, 30) for _ in range(3)]:
                job.result()
        assert self.raw_get(storage, "count") == b"90"

    def test_a_stopped_process_keeps_nobody_from_replacing(
        self, storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        storage.put("pool.json", b"first")
        monkeypatch.setattr(local, "_LONGEST_LOCK", 0.1)
        with storage.files.path("pool.json").open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            assert storage.replace("pool.json", b"2", version=storage.status("pool.json").version)
        assert storage.read("pool.json") == b"2"

    def test_it_is_found_by_its_place(self, storage: LocalStorage) -> None:
        storage.put("a/b", b"1")
        assert storage_at(storage.place).read("a/b") == b"1"
        assert pickle.loads(pickle.dumps(storage)).read("a/b") == b"1"

    def test_files_follow_the_umask(self, storage: LocalStorage) -> None:
        old = os.umask(0o027)
        try:
            storage.put("a/b", b"1")
        finally:
            os.umask(old)
        assert storage.files.path("a/b").stat().st_mode & 0o777 == 0o640
        assert storage.files.path("a").stat().st_mode & 0o777 == 0o750
        assert storage.files.path("a/b").stat().st_nlink == 1

    def test_folder_in_the_way(self, storage: LocalStorage) -> None:
        self.raw_set(storage, "a/b", b"1")
        assert not storage.put("a", b"2")
        with pytest.raises(StorageError):
            storage.put("a/b/c", b"3")
        with pytest.raises(StorageError):
            storage.read("a")
        with pytest.raises(StorageError):
            storage.replace("a", b"4")
        assert self.raw_names(storage) == {"a/b"}

    def test_name_too_long(self, storage: LocalStorage) -> None:
        self.raw_set(storage, "a", b"")
        for call in (storage.exists, storage.read, storage.delete, lambda key: storage.put(key, b"")):
            with pytest.raises(StorageError, match="File name too long"):
                call("a" * 300)

    def test_listing_passes_over_what_vanishes_and_what_is_no_key(self, storage: LocalStorage) -> None:
        self.raw_set(storage, "a/sub/1", b"")
        self.raw_set(storage, "a/.tmp-dir/2", b"")
        listing = storage.keys("a")
        self.raw_set(storage, "a/sub/3", b"")
        assert set(listing) == {"a/sub/1", "a/sub/3"}


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(st.text(alphabet="ab./\\~.\0\n é", max_size=8))
def test_no_key_leads_out_of_the_folder(key: str) -> None:
    root = Path("/srv/pool")
    try:
        path = LocalStorage(root).files.path(key)
    except InvalidInput:
        return
    assert root in Path(os.path.normpath(path)).parents
    assert path.relative_to(root).as_posix() == key


# What is no plain file


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(60 << 30)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.symlink_to("/dev/zero"), "is a symbolic link"),
        (lambda path: path.symlink_to(__file__), "is a symbolic link"),
        (lambda path: path.symlink_to("nowhere"), "is a symbolic link"),
        (os.mkfifo, "is a pipe"),
        (lambda path: os.mknod(path, 0o600 | stat.S_IFSOCK), "is a socket"),
        (sparse, "has 64424509440 bytes, more than the 268435456 that such a file can have"),
    ],
    ids=["device", "link", "dangling", "pipe", "socket", "sparse"],
)
def test_what_is_no_plain_file_is_not_read(tmp_path: Path, make: Callable[[Path], object], message: str) -> None:
    storage = LocalStorage(tmp_path)
    (tmp_path / "a").mkdir()
    make(tmp_path / "a" / "key")
    with pytest.raises(IntegrityError, match=message):
        storage.read("a/key")


# Durability


@needs_proc
@pytest.mark.parametrize("as_file", [False, True])
def test_bytes_are_on_disk_before_the_name_and_the_name_before_put_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_file: bool
) -> None:
    storage = LocalStorage(tmp_path / "pool")
    calls = Calls(monkeypatch)
    source: bytes | Path = b"content"
    if as_file:
        source = storage.workspace("ab/key")
        source.write_bytes(b"content")
    assert storage.put("ab/key", source)
    assert calls.made == [
        ("mkdir", "pool"),
        ("fsync", tmp_path.name),
        ("mkdir", "ab"),
        ("fsync", "pool"),
        ("fsync", "temporary"),
        ("link", "key"),
        ("fsync", "ab"),
    ]
    assert list(calls.content_at_sync.values()) == [b"content"]


@needs_proc
def test_what_another_has_put_is_on_disk_before_it_is_referred_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = LocalStorage(tmp_path / "pool")
    storage.put("ab/key", b"content")
    calls = Calls(monkeypatch)
    assert not storage.put("ab/key", b"content")
    assert calls.made[-1] == ("fsync", "ab")
    calls.made.clear()
    assert storage.confirm("ab/key")
    assert calls.made == [("fsync", "ab")]


@needs_proc
def test_folders_that_another_made_are_on_disk_before_what_is_in_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "pool"
    for name in ("ab", "cd"):
        (root / "blobs" / name).mkdir(parents=True)  # by another process, which was killed before it synced anything
    (root / "blobs" / "ab" / "key").write_bytes(b"content")
    calls = Calls(monkeypatch)
    storage = LocalStorage(root)
    assert storage.confirm("blobs/ab/key")
    assert calls.made == [("fsync", "pool"), ("fsync", "blobs"), ("fsync", "ab")]
    calls.made.clear()
    storage.put("blobs/cd/key", b"content")  # its folder was there when the one above was synced
    assert [name for kind, name in calls.made if kind == "fsync"] == ["temporary", "cd"]
    (root / "blobs" / "ef").mkdir()
    calls.made.clear()
    storage.put("blobs/ef/key", b"content")
    assert [name for kind, name in calls.made if kind == "fsync"] == ["blobs", "temporary", "ef"]
    calls.made.clear()
    for n in range(3):
        storage.put(f"blobs/ef/key{n}", b"content")
        assert storage.confirm("blobs/ab/key")
    assert [name for kind, name in calls.made if kind == "fsync"] == ["temporary", "ef", "ab"] * 3


@needs_proc
def test_a_root_that_another_made_is_on_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pools" / "jpl8").mkdir(parents=True)
    calls = Calls(monkeypatch)
    LocalStorage(tmp_path / "pools" / "jpl8").make()
    assert calls.made == [("fsync", "pools"), ("fsync", tmp_path.name)]


@needs_proc
def test_replace_syncs_before_and_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LocalStorage(tmp_path)
    storage.put("pool.json", b"old")
    calls = Calls(monkeypatch)
    storage.replace("pool.json", b"new")
    renamed = {"rename", "replace"} & {name for name, _ in calls.made}
    assert calls.made == [("fsync", "temporary"), (renamed.pop(), "pool.json"), ("fsync", tmp_path.name)]
    assert list(calls.content_at_sync.values()) == [b"new"]


@pytest.mark.parametrize(
    ("code", "error"),
    [(errno.ENOSPC, DiskFull), (errno.EDQUOT, DiskFull), (errno.EIO, StorageError), (errno.EROFS, ReadOnly)],
)
@pytest.mark.parametrize("function", ["fsync", "link"])
def test_nothing_is_left_behind_by_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, code: int, error: type[Exception]
) -> None:
    storage = LocalStorage(tmp_path)
    fail_at(monkeypatch, function, 0, code)
    with pytest.raises(error, match="key"):
        storage.put("key", b"content")
    assert list(tmp_path.iterdir()) == []
    assert storage.put("key", b"content")


def test_a_name_that_the_disk_did_not_confirm_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LocalStorage(tmp_path)
    fail_at(monkeypatch, "fsync", 1, errno.EIO)
    with pytest.raises(StorageError, match="is there, but the disk did not confirm it"):
        storage.put("key", b"content")
    assert [p.name for p in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize("as_file", [False, True])
def test_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_file: bool) -> None:
    """As on FAT or exFAT: what is there is spared by renameat2(2)."""
    storage = LocalStorage(tmp_path)
    for number, done in ((0, True), (1, False)):
        monkeypatch.undo()
        fail_at(monkeypatch, "link", 0, errno.EPERM)
        source: bytes | Path = f"content {number}".encode()
        if as_file:
            path = storage.workspace("a/key")
            path.write_bytes(bytes(source))
            source = path
        assert storage.put("a/key", source) == done
    assert storage.read("a/key") == b"content 0"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["key"]


NO_LINKS = r"""
#include <errno.h>
int link(const char *a, const char *b) { errno = EPERM; return -1; }
int linkat(int a, const char *b, int c, const char *d, int e) { errno = EPERM; return -1; }
#ifdef NO_RENAMING
int renameat2(int a, const char *b, int c, const char *d, unsigned int e) { errno = EINVAL; return -1; }
#endif
"""


@pytest.mark.slow
@pytest.mark.parametrize("renaming", [True, False])
def test_a_pool_on_a_file_system_without_hard_links(home: Home, tmp_path: Path, renaming: bool) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: a file system without hard links can't be imitated")
    source, library = tmp_path / "links.c", tmp_path / "links.so"
    source.write_text(NO_LINKS)
    options = [] if renaming else ["-DNO_RENAMING"]
    subprocess.run([compiler, "-shared", "-fPIC", *options, "-o", library, source], check=True)
    image = homes.write_image(tmp_path / "image.fits")

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "miripool", *arguments],
            env=homes.environment(LD_PRELOAD=str(library)), capture_output=True, text=True, check=False,
        )  # fmt: skip

    made = run("create", "jpl8")
    if renaming:
        assert (made.returncode, run("add", "jpl8", image).returncode) == (0, 0), made.stderr
        with home.pool("jpl8") as pool:
            assert verify(pool, level="full").findings == []
    else:
        assert made.returncode == StorageError.exit_code, made.stderr
        assert "neither hard links (Operation not permitted) nor a way to rename without overwriting" in made.stderr
        assert list((home.path / "pools").iterdir()) == []


def test_replace_that_fails_leaves_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LocalStorage(tmp_path)
    storage.put("pool.json", b"old")
    fail_at(monkeypatch, "fsync", 0, errno.EIO)
    with pytest.raises(StorageError):
        storage.replace("pool.json", b"new")
    assert storage.read("pool.json") == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["pool.json"]


@pytest.mark.parametrize("operation", ["put", "replace"])
def test_a_full_disk(operation: str) -> None:
    with tiny_disk(256) as folder:
        storage = LocalStorage(folder)
        storage.put("a/small", b"kept")
        with pytest.raises(DiskFull, match=r"no space left to write .*big; make room"):
            getattr(storage, operation)("a/big", bytes(1 << 20))
        assert [p.name for p in (folder / "a").iterdir()] == ["small"]
        assert storage.read("a/small") == b"kept"
        assert storage.put("a/other", bytes(1 << 14))


def test_a_folder_that_may_not_be_written() -> None:
    with reachable_by_all() as folder:
        storage = LocalStorage(folder)
        storage.put("a/b", b"1")
        for path in (folder / "a", folder):
            path.chmod(0o555)
        try:
            with unprivileged():
                assert storage.read("a/b") == b"1"
                assert storage.exists("a/b")
                assert storage.confirm("a/b")
                assert list(storage.keys("a")) == ["a/b"]
                for call in (
                    lambda: storage.put("a/c", b"2"),
                    lambda: storage.put("new/c", b"2"),
                    lambda: storage.replace("a/b", b"2"),
                    lambda: storage.delete("a/b"),
                    lambda: storage.workspace("new/d"),
                ):
                    with pytest.raises(ReadOnly, match="can't be written or read by this user"):
                        call()
        finally:
            for path in (folder, folder / "a"):
                path.chmod(0o755)
        assert sorted(p.name for p in folder.rglob("*")) == ["a", "b"]


def test_a_folder_that_may_not_be_looked_into() -> None:
    with reachable_by_all() as folder:
        storage = LocalStorage(folder)
        storage.put("a/b", b"1")
        (folder / "a").chmod(0)
        try:
            with unprivileged():
                for call in (storage.read, storage.exists, storage.confirm):
                    with pytest.raises(ReadOnly):
                        call("a/b")
                with pytest.raises(ReadOnly):
                    list(storage.keys("a"))
        finally:
            (folder / "a").chmod(0o755)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EFBIG, DiskFull),
        (errno.EACCES, ReadOnly),
        (errno.EPERM, ReadOnly),
        (errno.EIO, StorageError),
        (errno.ENAMETOOLONG, StorageError),
    ],
)
def test_what_an_error_of_the_system_means(code: int, error: type[Exception]) -> None:
    made = storage_error(OSError(code, os.strerror(code)), Path("/pool/x"))
    assert type(made) is error
    assert "/pool/x" in str(made)
    assert "/pool/x: odd" in str(storage_error(OSError("odd"), Path("/pool/x")))
