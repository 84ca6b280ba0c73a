"""Pools that are renamed or deleted while others save into them, and pools that are links."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import homes
import pytest
from homes import ask, own_database, write_image
from replay import assert_index_is_journal, files, folder_of

from miripool import Home
from miripool.errors import Conflict, NotFound, PoolNotFound
from miripool.maintenance.gc import collect
from miripool.maintenance.verify import verify
from miripool.pool.core import core_of
from miripool.store.journal import Entry, Journal
from miripool.store.notes import Notes
from miripool.store.storage import heldfolder
from miripool.store.storage.heldfolder import held_folder

home = homes.home

PRELUDE = """
import sys
from miripool import Home
from miripool.pool import commit
from miripool.errors import MiripoolError
pool = Home(sys.argv[1]).pool("old")
pool._core.catch_up()
def stop(*_):
    print("stopped", flush=True)
    sys.stdin.readline()
"""

SAVE = """
try:
    print(pool.save(sys.argv[2]).urn)
except MiripoolError as error:
    print(type(error).__name__, error)
"""

BEFORE_ENTRY = """
write = commit.Committer._write
commit.Committer._write = lambda *a: (stop(), write(*a))[1]
"""

IN_TRANSACTION = """
from miripool.store.journal import Journal
write = Journal.write
Journal.write = lambda *a: (stop(), write(*a))[1]
"""

BEFORE_BLOBS = """
from miripool.store.archive import Archive
write = Archive.write_blobs
Archive.write_blobs = lambda *a: (stop(), write(*a))[1]
"""

BEFORE_MANIFEST = """
from miripool.store.archive import Archive
write = Archive.write_blobs
Archive.write_blobs = lambda *a: (write(*a), stop())[0]
"""

HELD = """
from miripool.store.storage import heldfolder
put = heldfolder._put
heldfolder._put = lambda *a: (stop(), put(*a))[1]
"""


@contextmanager
def writer(home: Home, script: str, image: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a writer that says when it has stopped, and goes on when it is told."""
    command = [sys.executable, "-c", PRELUDE + script, str(home.path), str(image)]
    with subprocess.Popen(
        command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "stopped\n", process.communicate(timeout=60)
            yield process
        finally:
            process.kill()


def gone_on(process: subprocess.Popen[str]) -> str:
    output, words = process.communicate("go\n", timeout=60)
    assert (process.returncode, words) == (0, "")
    return output.strip()


@pytest.fixture
def images(home: Home, tmp_path: Path) -> list[Path]:
    """Two files, the first of which is in a pool ``old``."""
    made = [write_image(tmp_path / f"{name}.fits", {"NGROUPS": i}) for i, name in enumerate("ab")]
    with home.create("old") as pool:
        pool.save(made[0], tag="t")
    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    "script",
    [BEFORE_ENTRY, IN_TRANSACTION, BEFORE_BLOBS, BEFORE_MANIFEST],
    ids=["entry", "transaction", "blobs", "manifest"],
)
def test_a_pool_renamed_during_a_save(home: Home, images: list[Path], script: str) -> None:
    with writer(home, script + SAVE, images[1]) as process:
        home.rename("old", "new").close()
        words = gone_on(process)
    assert words.startswith("PoolNotFound the pool that was opened at ")
    assert "Open the pool again" in words
    assert [path.name for path in (home.path / "pools").iterdir()] == ["new"]
    with home.pool("new") as pool:
        assert [ref.name for ref in pool.select()] == ["a"]
        assert pool.save(images[1]).urn == "urn:new:Product:1"
        assert_index_is_journal(pool)


def test_the_new_name_is_said(home: Home, images: list[Path]) -> None:
    old = home.pool("old")
    home.rename("old", "new").close()
    with old, pytest.raises(PoolNotFound, match="it is now called 'new'"):
        old.save(images[1])


@pytest.mark.slow
@pytest.mark.parametrize("script", [BEFORE_ENTRY, BEFORE_BLOBS, BEFORE_MANIFEST], ids=["entry", "blobs", "manifest"])
def test_a_pool_deleted_during_a_save(home: Home, images: list[Path], script: str) -> None:
    with writer(home, script + SAVE, images[1]) as process:
        home.delete("old")
        words = gone_on(process)
    assert words.startswith("PoolNotFound the pool that was opened at ")
    assert [path.name for path in (home.path / "pools").iterdir()] == [".retired"]
    with home.create("old") as pool:
        assert pool.save(images[1]).urn == "urn:old:Product:1"
        assert_index_is_journal(pool)


@pytest.mark.slow
def test_a_pool_made_under_the_name_meanwhile(home: Home, images: list[Path]) -> None:
    with writer(home, BEFORE_ENTRY + SAVE, images[1]) as process:
        home.delete("old")
        home.create("old").close()
        before = files(home.path)
        assert gone_on(process).startswith("PoolNotFound")
    assert files(home.path) == before


@pytest.mark.slow
def test_who_writes_an_entry_is_waited_for(home: Home, images: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heldfolder, "_WAIT", 0.3)
    with writer(home, HELD + SAVE, images[1]) as process:
        before = files(home.path)
        with pytest.raises(Conflict, match=r"old has been locked for .*nothing was changed"):
            home.rename("old", "new")
        with pytest.raises(Conflict, match="nothing was changed"):
            home.delete("old")
        assert files(home.path) == before
        assert gone_on(process) == "urn:old:Product:1"
    with home.rename("old", "new") as pool:
        assert [ref.name for ref in pool.select()] == ["a", "b"]
        assert_index_is_journal(pool)


@pytest.mark.slow
def test_a_killed_writer_holds_nobody_up(home: Home, images: list[Path]) -> None:
    with writer(home, HELD + SAVE, images[1]) as process:
        process.kill()
        process.wait()
        with home.rename("old", "new") as pool:
            assert [ref.name for ref in pool.select()] == ["a"]


HOLD_AND_FORK = """
import os, sys
from pathlib import Path
from miripool.store.storage.heldfolder import held_folder
with held_folder(Path(sys.argv[1])):
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        sys.stdin.readline()
        os._exit(0)
    os.kill(os.getpid(), 9)
"""


def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heldfolder, "_WAIT", 5.0)
    command = [sys.executable, "-c", HOLD_AND_FORK, str(tmp_path)]
    with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert process.wait(60) == -signal.SIGKILL
        os.kill(child, 0)
        with held_folder(tmp_path, alone=True) as folder:
            assert folder.put("journal/x", b"x")


# Collected meanwhile


class MovedWithin:
    """Moves a pool's folder, as `Home.rename` does, while a collector asks its notes something, and back afterwards."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, ask: str, calls: int) -> None:
        self.folder, self.calls, self.seen, self.over = folder, calls, 0, False
        self.real = getattr(Notes, ask)
        self.thread = threading.Thread(target=self.move)
        monkeypatch.setattr(Notes, ask, lambda *arguments, **options: self.answer(*arguments, **options))

    def move(self) -> None:
        with held_folder(self.folder, alone=True):
            if not self.over:
                self.folder.rename(self.folder.with_name("new"))

    def answer(self, notes: Notes, *arguments: object, **options: object) -> object:
        self.seen += 1
        if self.seen < self.calls:
            return set()  # as if there were no notes yet
        if self.seen > self.calls:
            return self.real(notes, *arguments, **options)
        self.thread.start()
        self.thread.join(2)
        moved = not self.thread.is_alive()
        self.over = not moved  # the collector keeps the folder in its place: it is too late to move it
        try:
            return self.real(notes, *arguments, **options)
        finally:
            if moved:
                self.folder.with_name("new").rename(self.folder)


@pytest.mark.slow
@pytest.mark.parametrize(("ask", "calls"), [("pending", 2), ("_counts", 1)])
def test_a_collector_is_not_misled_by_a_renaming(
    home: Home, images: list[Path], monkeypatch: pytest.MonkeyPatch, ask: str, calls: int
) -> None:
    """Where the folder is away for a moment, there seem to be no notes, and all locks seem to be free."""
    with writer(home, IN_TRANSACTION + SAVE, images[1]) as process, home.pool("old") as pool:
        with monkeypatch.context() as patch:
            moved = MovedWithin(folder_of(pool), patch, ask, calls)
            found = collect(core_of(pool).archive)
            assert moved.seen >= calls
        moved.thread.join(60)
        assert gone_on(process) == "urn:old:Product:1"
        assert (found.files, found.notes) == (0, 0)
        assert verify(pool, level="full").is_whole


def test_a_folder_that_was_away_for_a_moment_is_not_called_damaged(
    home: Home, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool was renamed and got its name back, while its journal was looked at."""
    read = Journal.read
    away: list[int] = []

    def read_later(journal: Journal, n: int) -> Entry:
        if len(away) < 1:
            away.append(n)
            raise NotFound("the folder is elsewhere")
        return read(journal, n)

    with home.pool("old") as pool:  # the last entry that it has read is not read again, so this is its first look
        monkeypatch.setattr(Journal, "read", read_later)
        assert pool.save(images[1]).urn == "urn:old:Product:1"
        assert away == [0]
    away.clear()
    with home.pool("old") as pool:  # also when its index is opened
        assert pool.select().size() == 2
        assert away == [1]
        assert_index_is_journal(pool)


# What was opened before


@pytest.mark.parametrize("deed", ["rename", "delete"])
def test_reading_what_was_opened_before(home: Home, images: list[Path], deed: str) -> None:
    """The arrays are not lost: the pool has another name, or was deleted."""
    pool = home.pool("old")
    (ref,) = pool.select()
    loaded = ref.product
    with Home(home.path).pool("old") as early:
        late = early.select()[0]
    if deed == "rename":
        home.rename("old", "new").close()
    else:
        home.delete("old")
    words = "it is now called 'new'" if deed == "rename" else "it was deleted or renamed meanwhile"
    for use in (
        lambda: loaded["SCI"][...],
        lambda: late.product,
        lambda: pool.select(),
        lambda: core_of(pool).catalog.by_name("a"),
        lambda: late.tags,
    ):
        with pytest.raises(PoolNotFound, match=words):
            use()
    pool.close()


def test_a_former_name_is_answered_by_the_present_one(home: Home, images: list[Path]) -> None:
    home.rename("old", "new").close()
    with pytest.raises(PoolNotFound, match=r"no pool 'old' in .*: it is now called 'new'"):
        home.pool("old")


@pytest.mark.parametrize("jobs", [1, 2])
def test_adding_to_a_pool_that_is_deleted_meanwhile_stops_once(home: Home, tmp_path: Path, jobs: int) -> None:
    files = [write_image(tmp_path / f"{i}.fits", {"NGROUPS": i}) for i in range(4)]
    seen: list[int] = []

    def delete_after_the_first(done: int, total: int) -> None:
        seen.append(done)
        if len(seen) == 1:
            home.delete("old")

    with home.create("old") as pool, pytest.raises(PoolNotFound, match="deleted or renamed meanwhile"):
        pool.ingest(files, name="one", jobs=jobs, pixels=False, progress=delete_after_the_first)
    assert len(seen) == 1, "versions of one track are saved by entries of their own"
    assert home.names() == []


# Two homes on one folder


@pytest.fixture
def linked(home: Home, images: list[Path], tmp_path: Path, database_url: str) -> Iterator[Home]:
    """A second home, with a database of its own, whose pool ``old`` is a link to the first one's."""
    url = own_database(database_url, "linked")
    second = tmp_path / "second"
    (second / "pools").mkdir(parents=True)
    (second / "pools" / "old").symlink_to(home.path / "pools" / "old")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MIRIPOOL_DATABASE_URL")
        (second / "config.toml").write_text(f'database_url = "{url}"\n')
        (home.path / "config.toml").write_text(f'database_url = "{own_database(database_url)}"\n')
        yield Home(second)
    homes.drop_schemas(url)


@pytest.mark.slow
def test_a_pool_renamed_while_another_home_writes_to_it(home: Home, linked: Home, images: list[Path]) -> None:
    with writer(linked, BEFORE_ENTRY + SAVE, images[1]) as process:
        home.rename("old", "new").close()
        assert gone_on(process).startswith("PoolNotFound")
    assert [path.name for path in (home.path / "pools").iterdir()] == ["new"]
    with home.pool("new") as pool:
        assert pool.save(images[1]).urn == "urn:new:Product:1"
        assert_index_is_journal(pool)


SAVE_ON = """
import itertools
import numpy as np
from miripool import Rate
stop()
try:
    for i in itertools.count():
        ref = pool.save(Rate({"N": i}, {"SCI": np.full((2, 3), i, "f4")}, name=f"p {i}"))
        print(ref.serial, flush=True)
except MiripoolError as error:
    print(type(error).__name__, flush=True)
"""


@pytest.mark.slow
def test_what_another_home_was_told_is_saved_is_there_after_a_renaming(
    home: Home, linked: Home, images: list[Path]
) -> None:
    with writer(linked, SAVE_ON, images[1]) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        told = [process.stdout.readline() for _ in range(3)]
        home.rename("old", "new").close()
        rest, words = process.communicate(timeout=60)
    *more, error = rest.splitlines()
    assert (error, words) == ("PoolNotFound", "")
    assert [path.name for path in (home.path / "pools").iterdir()] == ["new"]
    with home.pool("new") as pool:
        core_of(pool).catch_up()
        assert (
            core_of(pool).catalog.rows([int(line) for line in [*told, *more]])[-1].name
            == f"p {len(told) + len(more) - 1}"
        )
        assert_index_is_journal(pool)


def test_a_linked_pool_is_not_deleted(home: Home, linked: Home, images: list[Path]) -> None:
    with linked.pool("old") as pool:
        assert pool.select().size() == 1
    before = files(home.path), files(linked.path), ask(linked.database_url(), homes._SCHEMAS)
    with pytest.raises(Conflict, match=rf"second/pools/old is a link to {home.path}/pools/old.*Nothing was changed"):
        linked.delete("old")
    assert (files(home.path), files(linked.path), ask(linked.database_url(), homes._SCHEMAS)) == before
    assert linked.names() == ["old"]
    with linked.pool("old") as pool:
        assert pool.select().size() == 1
        assert_index_is_journal(pool)


def test_a_linked_pool_that_is_renamed_stays_where_it_is(home: Home, linked: Home, images: list[Path]) -> None:
    with linked.rename("old", "new") as pool:
        assert (linked.path / "pools" / "new").is_symlink()
        assert pool.save(images[1]).urn == "urn:new:Product:1"
        assert_index_is_journal(pool)
    assert (home.names(), linked.names()) == (["old"], ["new"])
    with home.pool("old") as pool:
        core_of(pool).catch_up()
        assert [ref.urn for ref in pool.select()] == ["urn:old:Product:0", "urn:old:Product:1"]
        assert_index_is_journal(pool)


# Interrupted


def test_the_index_of_a_deleted_pool_goes_later_if_need_be(
    home: Home, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Home, "_sweep_deleted", lambda _: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            home.delete("old")
    assert home.names() == []
    assert ask(home.database_url(), homes._SCHEMAS) == [("old",)]
    with home.create("old") as pool:
        assert [path.name for path in folder_of(pool).parent.iterdir() if path.name[0] == "."] == [".retired"]
        assert pool.save(images[1]).urn == "urn:old:Product:1"
        assert_index_is_journal(pool)
