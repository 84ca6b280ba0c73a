"""Commit: what is damaged or lost in the index or in the journal does not get into the truth."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import homes
import pytest
from homes import ask, write_image
from postgresql import throwaway_server
from replay import assert_index_is_journal, folder_of

from miripool import Home, Pool
from miripool.errors import IntegrityError, ReadOnly
from miripool.index import Position
from miripool.pool import commit
from miripool.pool.commit import Committer
from miripool.pool.core import core_of
from miripool.store.journal import Journal, Tag

home = homes.home


def url_of(home: Home) -> str:
    assert home.external_url is not None
    return home.external_url


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [write_image(tmp_path / f"{name}.fits", {"NGROUPS": i}) for i, name in enumerate("abcdef")]


@pytest.fixture
def filled(pool: Pool, files: list[Path]) -> Pool:
    for file in files[:4]:
        pool.save(file)
    return pool


def entries(pool: Pool) -> list[str]:
    return sorted(core_of(pool).archive.storage.keys("journal"))


# A journal with a gap


@pytest.mark.parametrize("lost", [0, 2])
def test_a_gap_is_told_while_an_index_is_made(home: Home, filled: Pool, files: list[Path], lost: int) -> None:
    filled.close()
    core_of(filled).archive.storage.delete(Journal.key(lost))
    ask(url_of(home), "DROP SCHEMA jpl8 CASCADE")
    before = entries(filled)
    for use in (Pool.select, Pool.tags, lambda pool: pool.save(files[5]), lambda pool: pool.tag("a", "t")):
        with home.pool("jpl8") as pool, pytest.raises(IntegrityError, match=rf"{lost:012d}\.json is missing"):
            use(pool)  # type: ignore[operator]
    assert entries(filled) == before


def test_a_lost_number_is_not_written_anew(home: Home, filled: Pool, files: list[Path]) -> None:
    kept = core_of(filled).archive.storage.read(Journal.key(2))
    core_of(filled).catch_up()
    core_of(filled).archive.storage.delete(Journal.key(2))
    ask(url_of(home), "DROP SCHEMA jpl8 CASCADE")
    filled.close()
    catalog = core_of(filled)._open_catalog()
    with catalog:
        catalog.apply([core_of(filled).archive.journal.read(n) for n in (0, 1)], core_of(filled).archive.manifest)
    # Opened before the loss: nothing of the gap is asked for until something is to be written.
    core_of(filled)._catalog = catalog
    for use in (lambda: filled.save(files[5]), lambda: filled.tag("a", "t"), lambda: filled.remove("a")):
        with pytest.raises(IntegrityError, match=r"000000000002\.json is missing.* up to 3"):
            use()
    core_of(filled).archive.storage.put(Journal.key(2), kept)
    assert filled.save(files[5]).serial == 4
    assert_index_is_journal(filled)


# A damaged index

DAMAGES = {
    "all versions lost": "TRUNCATE jpl8.product",
    "a version lost": "DELETE FROM jpl8.product WHERE serial = 1",
    "a number to be used again": "UPDATE jpl8.pool_state SET next_serial = 2",
    "a number too high": "UPDATE jpl8.pool_state SET next_serial = 200",
    "a wrong count": "UPDATE jpl8.pool_state SET products = 3",
    "versions lost and not counted": "TRUNCATE jpl8.product; UPDATE jpl8.pool_state SET products = 0, next_serial = 0",
}


@pytest.mark.slow
@pytest.mark.parametrize("statement", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_index_is_not_followed(
    home: Home,
    filled: Pool,
    files: list[Path],
    statement: str,
) -> None:
    ask(url_of(home), statement)
    before = entries(filled)
    changed = write_image(files[0], {"NGROUPS": 77})
    uses: list[Callable[[], object]] = [
        lambda: filled.save(changed),
        lambda: filled.save(files[4]),
        lambda: filled.tag("a", "t"),
    ]
    for use in uses[:2]:
        with pytest.raises(IntegrityError, match=r"index is damaged.*pool\.reindex\(\).* again from the folder"):
            use()
    assert entries(filled) == before
    filled.reindex()
    for use in uses:
        use()
    assert [row.version for row in core_of(filled).catalog.track("Product", "a")] == [0, 1]
    assert [row.serial for row in core_of(filled).catalog.track("Product", "a")] == [0, 4]
    assert_index_is_journal(filled)


def test_a_damaged_index_is_found_when_it_follows(home: Home, filled: Pool, files: list[Path]) -> None:
    with home.pool("jpl8") as other:
        core_of(other).catch_up()
        core_of(filled).archive.storage.delete(Journal.key(3))
        last = core_of(filled).archive.journal.read(2)
        ask(url_of(home), "DROP SCHEMA jpl8 CASCADE")
        filled.reindex()
        assert core_of(filled).catch_up().n == last.n
        ask(url_of(home), "UPDATE jpl8.pool_state SET products = 1")
        assert core_of(filled).archive.journal.write(core_of(filled).archive.journal.next_entry(last, []))
        with pytest.raises(IntegrityError, match=r"has 1 versions.*the journal has 3"):
            core_of(other).catch_up()


# A manifest that is lost


@pytest.mark.slow
@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"{}")], ids=["missing", "garbled"])
def test_a_lost_manifest_does_not_stand_in_the_way_of_others(
    home: Home,
    filled: Pool,
    damage: Callable[[Path], object],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    miripool: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    filled.tag("b", "t")
    rows = core_of(filled).catalog.rows(range(4))
    key = core_of(filled).archive.manifest_key(rows[1].manifest)
    path = core_of(filled).archive.storage.files.path(key)
    kept = path.read_bytes()
    damage(path)
    filled.close()
    ask(url_of(home), "DROP SCHEMA jpl8 CASCADE")
    with home.pool("jpl8") as pool:
        assert [ref.name for ref in pool.select()] == ["a", "b", "c", "d"]
        assert path.name in caplog.text
        (row,) = core_of(pool).catalog.rows([1])
        want = rows[1]
        assert (row.kind, row.name, row.version, row.created) == (want.kind, want.name, want.version, want.created)
        assert (row.head, row.tags, row.manifest, row.content) == (True, ("t",), want.manifest, want.content)
        assert core_of(pool).catalog.datasets([1]) == {1: []}
        for use in (lambda: pool.ref("b").product, lambda: pool.export("b", tmp_path / "x.fits")):
            with pytest.raises(IntegrityError, match=path.name):
                use()
        assert pool.ref("c").product["SCI"].shape == (2, 3)
    for command in (["log", "jpl8", "b"], ["export", "jpl8", "b", tmp_path / "x.fits"]):
        done = miripool(*command)
        assert (done.returncode, path.name in done.stderr) == (IntegrityError.exit_code, True)
    assert miripool("ls", "jpl8").returncode == 0
    path.write_bytes(kept)
    with home.pool("jpl8") as pool:
        pool.reindex()
        assert core_of(pool).catalog.rows(range(4)) == rows
        assert_index_is_journal(pool)


# A user who may not write


@pytest.mark.slow
@pytest.mark.server
def test_who_may_only_select_is_refused_before_the_entry(
    tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with throwaway_server() as url:
        monkeypatch.setenv("MIRIPOOL_DATABASE_URL", url)
        with Home(tmp_path / "home").create("jpl8") as pool:
            for file in files[:2]:
                pool.save(file)
            pool.remove("b")
        ask(url, "CREATE ROLE reader LOGIN PASSWORD 'r'; GRANT USAGE ON SCHEMA jpl8 TO reader")
        ask(url, "GRANT SELECT ON ALL TABLES IN SCHEMA jpl8 TO reader")
        start, _, end = url.partition("owner:")
        monkeypatch.setenv("MIRIPOOL_DATABASE_URL", f"{start}reader:r@{end.partition('@')[2]}")
        with Home(tmp_path / "home").pool("jpl8") as pool:
            before = entries(pool)
            for use in (
                lambda: pool.save(files[2]),
                lambda: pool.save(files[0], tag="t"),
                lambda: pool.tag("a", "t"),
                lambda: pool.remove("a"),
                lambda: pool.restore("b"),
                pool.reindex,
            ):
                with pytest.raises(ReadOnly, match="index can't be written"):
                    use()
            assert [ref.name for ref in pool.select()] == ["a"]
            assert entries(pool) == before
        with pytest.raises(ReadOnly):
            Home(tmp_path / "home").create("new")
        assert Home(tmp_path / "home").names() == ["jpl8"]


# A race that was lost


@pytest.mark.parametrize("held", [False, True])
def test_who_loses_waits_for_a_turn_but_not_for_ever(filled: Pool, monkeypatch: pytest.MonkeyPatch, held: bool) -> None:
    """Somebody who was stopped while it had the turn keeps nobody off."""
    monkeypatch.setattr(commit, "_LONGEST_TURN", 0.5)
    core_of(filled).catch_up()
    decided: list[int] = []

    def decide(position: Position) -> list[Tag]:
        decided.append(position.n)
        if len(decided) == 1:
            with Home().pool("jpl8") as other:
                other.tag("d", "first")
        return [Tag("second", (0,))]

    descriptor = os.open(folder_of(filled) / "journal", os.O_RDONLY)
    try:
        if held:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        begin = time.monotonic()
        entry = Committer(core_of(filled).archive, core_of(filled).catalog).commit(decide)
        took = time.monotonic() - begin
    finally:
        os.close(descriptor)
    assert entry is not None
    assert decided == [entry.n - 2, entry.n - 1]
    assert took >= 0.5 * held
    assert_index_is_journal(filled)
