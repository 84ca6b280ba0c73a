"""Who may only read lists, selects, loads and exports: from a read-only mount, and with a role that may only select."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import homes
import numpy as np
import pytest
from homes import ask, call, write_image
from postgresql import throwaway_server
from typer.testing import CliRunner

from miripool import Home, Pool, RateInts
from miripool.cli.app import app
from miripool.errors import IncompleteAnswer, ReadOnly
from miripool.maintenance.verify import verify
from miripool.pool.core import core_of
from miripool.store.journal import Tag

home = homes.home
CARDS = {"SUBSTRT1": 5, "SUBSTRT2": 100, "SUBSIZE1": 8, "SUBSIZE2": 6}


def fill(pool: Pool, tmp_path: Path) -> None:
    pool.save(write_image(tmp_path / "a.fits", {"NGROUPS": 5}), tag="t")
    pool.save(RateInts(CARDS, {"SCI": np.arange(96, dtype="f4").reshape(2, 6, 8)}, name="r"))
    pool.remove(pool.save(write_image(tmp_path / "b.fits", {"NGROUPS": 7})))


def assert_read(pool: Pool, tmp_path: Path) -> None:
    """Do all that needs no writing."""
    assert [ref.name for ref in pool.select("NGROUPS == 5")] == ["a"]
    assert [ref.name for ref in pool.select("p.data.max() > 90")] == ["r"]
    assert [ref.name for ref in pool.select(lambda p: p.data.sum() > 4000)] == ["r"]
    assert pool.ref("a").tags == ("t",)
    assert pool.ref("r").product["SCI"][1, 2, 3] == 67
    assert pool.trash().size() == 1
    path = pool.export("a", tmp_path / "out.fits", overwrite=True)
    assert path.read_bytes() == (tmp_path / "a.fits").read_bytes()
    assert list(pool.pixel(8, 102).history(RateInts)["rate"]) == [19, 67]
    assert pool.pixels(RateInts, "rate > 90").count() == 5
    assert pool.save(tmp_path / "a.fits").notice == "unchanged: version 0"
    assert len(pool.lineage("r")) == 1
    report = verify(pool, level="full")
    assert report.is_whole, report.findings


def assert_refused(pool: Pool, tmp_path: Path) -> None:
    for change in (
        lambda: pool.save(write_image(tmp_path / "c.fits", {"NGROUPS": 9})),
        lambda: pool.tag("a", "u"),
        lambda: pool.remove("a"),
        lambda: pool.purge(pool.trash()),
    ):
        with pytest.raises(ReadOnly):
            change()


@pytest.fixture
def read_only_pool(home: Home, pool: Pool, tmp_path: Path) -> Iterator[Path]:
    """A pool's folder that can't be written, as on a mounted snapshot."""
    fill(pool, tmp_path)
    pool.close()
    folder = pool.path
    with homes.unwritable(folder):
        yield folder


@pytest.mark.slow
def test_a_read_only_mount(read_only_pool: Path, home: Home, tmp_path: Path) -> None:
    with home.pool("jpl8") as pool:
        assert_read(pool, tmp_path)
        assert_refused(pool, tmp_path)
        assert_read(pool, tmp_path)
    assert "a" in call("ls", "jpl8").stdout
    assert call("verify", "jpl8").exit_code == 0
    assert "would free 0 files" in call("gc", "jpl8", "--dry-run").stderr


def test_the_first_entry_of_a_pool(pool: Pool, tmp_path: Path) -> None:
    assert "1 added" in call("add", "jpl8", write_image(tmp_path / "new.fits")).stderr


def test_commands_that_change_say_first_that_the_pool_is_read_only(read_only_pool: Path, tmp_path: Path) -> None:
    new = write_image(tmp_path / "new.fits")
    told = rf"pool jpl8 is read-only for this user, who can't write to {read_only_pool}; nothing was changed"
    for command in (
        ("rm", "jpl8", "a"),
        ("add", "jpl8", str(new)),
        ("tag", "jpl8", "u", "a"),
        ("untag", "jpl8", "t"),
        ("restore", "jpl8", "b"),
    ):
        result = CliRunner().invoke(app, command)
        assert isinstance(result.exception, ReadOnly), command
        assert (str(result.exception), result.output) == (told, "")
    assert "would remove" in call("rm", "jpl8", "a", "--dry-run").stderr


@pytest.mark.slow
def test_a_read_only_mount_in_another_home(
    read_only_pool: Path, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody links the pool into a home of their own, and gets an index of their own."""
    monkeypatch.delenv("MIRIPOOL_DATABASE_URL")
    with homes.empty_home(tmp_path / "mine", database_url, "reading") as mine:
        (mine.path / "pools").mkdir(parents=True)
        (mine.path / "pools" / "theirs").symlink_to(read_only_pool)
        assert mine.names() == ["theirs"]
        with mine.pool("theirs") as pool:
            core_of(pool).catch_up()
            core_of(pool).pixel_rows.make_pending()
            assert_read(pool, tmp_path)
            assert_refused(pool, tmp_path)


@pytest.mark.slow
@pytest.mark.server
def test_a_reader_s_role(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with throwaway_server() as url:
        monkeypatch.setenv("MIRIPOOL_DATABASE_URL", url)
        monkeypatch.setenv("MIRIPOOL_HOME", str(tmp_path / "home"))
        with Home().create("jpl8") as pool:
            fill(pool, tmp_path)
        ask(url, "CREATE ROLE looks LOGIN PASSWORD 'r'")
        assert call("server", "grant", "jpl8").exit_code == 0
        ask(url, "GRANT miripool_reader TO looks")
        start, _, end = url.partition("owner:")
        theirs = f"{start}looks:r@{end.partition('@')[2]}"
        monkeypatch.setenv("MIRIPOOL_DATABASE_URL", theirs)
        with Home().pool("jpl8") as pool:
            assert_read(pool, tmp_path)
            assert_refused(pool, tmp_path)
            # What was written while the database was away is not in the index; who only reads can't change that.
            journal = core_of(pool).archive.journal
            *_, last = journal.since(-1, None)
        monkeypatch.setenv("MIRIPOOL_DATABASE_URL", url)
        with Home().pool("jpl8") as owner:
            assert core_of(owner).archive.journal.write(
                core_of(owner).archive.journal.next_entry(last, [Tag("late", (1,))])
            )
        monkeypatch.setenv("MIRIPOOL_DATABASE_URL", theirs)
        with Home().pool("jpl8") as pool:
            assert [ref.name for ref in pool.select("NGROUPS == 5")] == ["a"]
            assert pool.ref("r").product["SCI"][1, 2, 3] == 67
            with pytest.raises(ReadOnly):
                pool.tag("a", "u")
        words = f"the index ends at journal entry {last.n}, but the folder has later entries"
        with pytest.warns(IncompleteAnswer, match=words), Home().sql("jpl8", "SELECT count(*) FROM product") as answer:
            assert list(answer) == [(3,)]
