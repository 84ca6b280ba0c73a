from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import homes
import numpy as np
import psycopg2
import pytest
from ahead import Ahead
from homes import ask, empty_home, write_image
from postgresql import reachable_folder
from replay import assert_index_is_journal, files, folder_of

from miripool import Home, Pool, PoolManager, Ramp, Rate
from miripool.errors import (
    AlreadyExists,
    Conflict,
    FileMissing,
    FormatError,
    InvalidInput,
    InvalidName,
    NewerFormat,
    PoolNotFound,
    ProductNotFound,
    ReadOnly,
    ServerUnavailable,
    StorageError,
)
from miripool.index import Catalog
from miripool.index.sqlerrors import translate
from miripool.pool import save as saving
from miripool.pool.commit import Committer
from miripool.pool.core import Core, core_of
from miripool.pool.pixelrows import PixelRows
from miripool.pool.trash import in_trash
from miripool.session.home import default_home
from miripool.store.journal import FORMAT as ENTRY_FORMAT
from miripool.store.poolinfo import FORMAT

home = homes.home


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write_image(tmp_path / "a.fits")


def database(home: Home) -> str:
    return home.database_url()


def schemas(home: Home) -> set[str]:
    return {name for (name,) in ask(database(home), homes._SCHEMAS)}


LEFT = "01234567-89ab-cdef-0123-456789abcdef jpl8"
"""Id and name in the folder of a pool whose deletion was interrupted."""


# Making, listing, finding


def test_create(home: Home) -> None:
    assert home.names() == []
    assert not home.path.exists()
    with home.create("jpl8") as pool:
        assert (pool.name, pool.select().size()) == ("jpl8", 0)
        assert json.loads((home.path / "pools/jpl8/pool.json").read_bytes())["id"] == pool.id
    assert home.names() == ["jpl8"]
    with pytest.raises(AlreadyExists, match="there is a pool 'jpl8'"):
        home.create("jpl8")
    with home.create("jpl8", exist_ok=True) as same:
        assert same.id == pool.id
    for similar in ("JPL8", "Jpl8"):
        with pytest.raises(AlreadyExists, match="capital letters"):
            home.create(similar)
    with pytest.raises(PoolNotFound, match=r"no pool 'jpl9'.*did you mean jpl8\? the pools are jpl8"):
        home.pool("jpl9")


@pytest.mark.slow
def test_names_of_pools(home: Home, image: Path) -> None:
    for name in ("with some blanks", "v1.2_x-y", "x" * 48, "pool 7", "pg_8", "public"):
        with home.create(name) as pool:
            ref = pool.save(image, tag="a b")
            assert ref.urn == f"urn:{name}:Product:0"
            assert pool.ref(ref.urn) == ref
            assert pool.select("SIMPLE == True or 'a b' in tags").size() == 1
    assert len(home.names()) == 6
    before = files(home.path)
    for name in (
        "",
        " ",
        "a/b",
        "../x",
        "..",
        ".x",
        "a..b",
        "x.",
        "x ",
        "-x",
        "a\nb",
        "a\x00",
        "urn:x",
        "ü",
        "x" * 49,
        "x" * 300,
    ):
        for act in (home.create, home.pool, lambda new: home.rename("pool 7", new), home.delete):
            with pytest.raises(InvalidName, match="pool") as caught:
                act(name)
            assert "\n" not in str(caught.value)
            assert len(str(caught.value)) < 300
    assert files(home.path) == before


def test_the_default_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MIRIPOOL_HOME", str(tmp_path / "x"))
    assert default_home() == Home().path == tmp_path / "x"
    assert Home(tmp_path / "y").path == tmp_path / "y"
    monkeypatch.setenv("MIRIPOOL_HOME", "~/pools")
    assert Home().path == Path.home() / "pools"
    monkeypatch.delenv("MIRIPOOL_HOME")
    assert "miripool" in str(default_home())
    monkeypatch.chdir(tmp_path)
    assert Home("relative").path == tmp_path / "relative"


def test_summary(home: Home, image: Path) -> None:
    with home.create("jpl8") as pool:
        pool.save(image, tag="x")
        pool.save(image, force=True)
        pool.save(image, name="other", tag="x")
        pool.remove("other")
    found = home.summary("jpl8")
    assert (found.name, found.products, found.versions, found.tags) == ("jpl8", 1, 2, 1)
    assert found.bytes == 2 * image.stat().st_size
    assert 0 < found.stored_bytes < found.bytes
    assert found.index_bytes > 100_000
    assert found.created.endswith("Z")
    assert found.path == str(home.path / "pools" / "jpl8")


# Renaming and deleting


def test_rename(home: Home, image: Path) -> None:
    with home.create("old") as pool:
        urn = pool.save(image, tag="x").urn
    with home.rename("old", "new name") as pool:
        assert (pool.name, home.names()) == ("new name", ["new name"])
        assert pool.ref(urn).urn == "urn:new name:Product:0"
        assert pool.load(urn).tags == ("x",)
        assert_index_is_journal(pool)
    assert schemas(home) == {"new name"}
    with pytest.raises(PoolNotFound):
        home.pool("old")
    with pytest.raises(AlreadyExists, match="pool 'new name' was called 'old' before"):
        home.create("old")
    with pytest.raises(AlreadyExists, match="was called 'old' before"):
        PoolManager.getPool("old", create=True)
    # And back: it is the pool's own name.
    with home.rename("new name", "old") as pool:
        assert pool.ref("urn:new name:Product:0") == pool.ref(urn)
    with home.rename("old", "third") as pool:
        assert pool.ref("urn:new name:Product:0") == pool.ref("urn:old:Product:0") == pool.ref("urn:third:Product:0")


def test_rename_refuses(home: Home, image: Path) -> None:
    for name in ("a", "b"):
        home.create(name).close()
    before = files(home.path)
    with pytest.raises(AlreadyExists, match="'b'"):
        home.rename("a", "b")
    with pytest.raises(AlreadyExists):
        home.rename("a", "a")
    with pytest.raises(PoolNotFound, match="the pools are a, b"):
        home.rename("none", "c")
    assert files(home.path) == before


def test_an_interrupted_renaming(home: Home, image: Path) -> None:
    """The folder has its new name, and the index still the old one."""
    with home.create("old") as pool:
        urn = pool.save(image).urn
        core_of(pool).archive.remember_name("old")
    (home.path / "pools" / "old").rename(home.path / "pools" / "new")
    with home.pool("new") as pool:
        assert pool.ref(urn).version == 0
        assert_index_is_journal(pool)
    assert schemas(home) == {"old", "new"}
    with home.rename("new", "old") as pool:
        assert pool.ref(urn).version == 0
    assert schemas(home) == {"old"}


def test_rename_where_the_database_has_another_pools_index(home: Home, image: Path, tmp_path: Path) -> None:
    Home(tmp_path / "elsewhere").create("taken").close()
    with home.create("mine") as pool:
        pool.save(image)
    before = files(home.path)
    with pytest.raises(Conflict, match="'taken'"):
        home.rename("mine", "taken")
    with pytest.raises(Conflict, match="'taken'"):
        home.create("taken")
    assert files(home.path) == before
    assert home.names() == ["mine"]
    with home.pool("mine") as pool:
        assert pool.select().size() == 1


@pytest.mark.slow
def test_delete_and_create_again(home: Home, image: Path, tmp_path: Path) -> None:
    with home.create("old") as pool:
        for _ in range(3):
            urn = pool.save(image, force=True).urn
        first_id = pool.id
    home.rename("old", "jpl8").close()
    home.delete("jpl8")
    assert home.names() == []
    assert schemas(home) == set()
    assert [path.name for path in (home.path / "pools").iterdir()] == [".retired"]
    for name in ("jpl8", "old"):
        with home.create(name) as pool:
            assert pool.id != first_id
            with pytest.raises(ProductNotFound):
                pool.ref(f"urn:{name}:Product:2")
            ref = pool.save(image)
            assert (ref.version, ref.urn) == (0, f"urn:{name}:Product:3")
    assert urn == "urn:old:Product:2"
    home.create("other").close()
    home.delete("other")
    with pytest.raises(AlreadyExists, match="is or was used by a pool"):
        home.rename("jpl8", "other")


def set_former_names(pool: Pool, names: list[str]) -> None:
    path = folder_of(pool) / "pool.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "former_names": names}))


def test_a_deleted_pool_does_not_lower_the_numbers_of_another(home: Home, image: Path) -> None:
    """Both had the name: one by itself, the other in another home, or as a stranger says."""
    with home.create("a") as first:
        for _ in range(3):
            first.save(image, force=True)
    home.delete("a")
    with home.create("b") as second:
        set_former_names(second, ["a"])
        second.save(image)
    home.delete("b")
    with home.create("a") as again:
        assert again.save(image).urn == "urn:a:Product:3"


@pytest.mark.parametrize("former", ["a/b", ".tmp-x", "../../x", "\x1b[31m", "n" * 300, "\ud800", "", "a\0b"])
def test_a_pool_whose_former_names_are_none_can_be_deleted(home: Home, image: Path, former: str) -> None:
    with home.create("b") as pool:
        pool.save(image)
        set_former_names(pool, [former, "a"])
    home.delete("b")
    assert home.names() == []
    assert sorted(p.name for p in (home.path / "pools" / ".retired").iterdir()) == ["a.json", "b.json"]


def test_an_interrupted_deletion_leaves_the_pool_or_a_free_name(home: Home, image: Path) -> None:
    with home.create("jpl8") as pool:
        pool.save(image)
        # Killed after the index was dropped.
        core_of(pool).catalog.drop()
    with home.pool("jpl8") as pool:
        assert pool.select().size() == 1
    # Killed before the last files were deleted.
    home.create("x").close()
    (home.path / "pools" / f".deleted-{LEFT}" / "blobs").mkdir(parents=True)
    assert home.names() == ["jpl8", "x"]
    home.delete("x")
    assert not (home.path / "pools" / f".deleted-{LEFT}").exists()


def test_a_deleted_pool_in_use_elsewhere(home: Home, image: Path) -> None:
    pool = home.create("jpl8")
    pool.save(image)
    home.delete("jpl8")
    with pytest.raises(PoolNotFound, match="Open the pool again"):
        pool.select()
    pool.close()


def test_a_pool_made_anew_is_not_written_through_an_old_handle(home: Home, image: Path, tmp_path: Path) -> None:
    other = write_image(tmp_path / "b.fits")
    old = home.create("jpl8")
    asleep = home.pool("jpl8")
    waiting = Ahead(old, image)
    home.delete("jpl8")
    with home.create("jpl8") as new:
        before = files(home.path)
        uses = (
            lambda: old.save(other),
            waiting.commit,
            lambda: Ahead(old, other),
            lambda: old.tag("a", "t"),
            lambda: asleep.save(other),
            asleep.reindex,
            asleep.select,
        )
        for use in uses:
            with pytest.raises(PoolNotFound, match="Open the pool again"):
                use()
        waiting.close()
        old.close()
        with pytest.raises(PoolNotFound, match="Open the pool again"):
            old.select()
        assert files(home.path) == before
        assert new.save(image).serial == 0
        assert_index_is_journal(new)


def test_no_index_is_made_for_a_pool_that_is_gone(home: Home, image: Path) -> None:
    asleep = home.create("jpl8")
    asleep.close()
    home.delete("jpl8")
    with pytest.raises(PoolNotFound, match="Open the pool again"):
        asleep.save(image)
    assert schemas(home) == set()
    assert not (home.path / "pools" / "jpl8").exists()


def test_a_folder_replaced_under_an_empty_index_is_not_written(home: Home, image: Path, tmp_path: Path) -> None:
    with home.create("jpl8") as pool, Home(tmp_path / "elsewhere").create("other") as other:
        folder_of(pool).rename(tmp_path / "away")
        shutil.copytree(folder_of(other), folder_of(pool))
        with pytest.raises(PoolNotFound, match="replaced by another"):
            pool.save(image)
        assert not (folder_of(pool) / "journal").exists()


def test_a_folder_with_files_does_not_become_a_pool(home: Home, image: Path) -> None:
    with home.create("jpl8") as pool:
        pool.save(image)
        folder = folder_of(pool)
    kept = (folder / "pool.json").read_bytes()
    (folder / "pool.json").unlink()
    before = files(home.path)
    for act in (lambda: home.create("jpl8"), lambda: home.pool("jpl8", create=True)):
        with pytest.raises(
            AlreadyExists, match=r"is not empty \(blobs, journal, leases, mani.*\) and has no pool\.json"
        ):
            act()
    assert files(home.path) == before
    (folder / "pool.json").write_bytes(kept)
    with home.pool("jpl8") as pool:
        assert pool.select().size() == 1


def test_a_failing_creation_spares_a_pool_that_is_in_use(
    home: Home, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catch_up = Core.catch_up

    def used_by_another_meanwhile(core: Core) -> object:
        monkeypatch.setattr(Core, "catch_up", catch_up)
        with home.pool("jpl8") as other:
            other.save(image)
        raise ServerUnavailable("the server has gone")

    monkeypatch.setattr(Core, "catch_up", used_by_another_meanwhile)
    with pytest.raises(ServerUnavailable):
        home.create("jpl8")
    with home.pool("jpl8") as pool:
        assert pool.select().size() == 1


# Configuration, servers, formats


def test_configuration(home: Home, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = database(home)
    monkeypatch.delenv("MIRIPOOL_DATABASE_URL")
    home.path.mkdir()
    (home.path / "config.toml").write_text(f'database_url = "{url}"\n')
    assert home.external_url == url
    with home.create("jpl8") as pool:
        assert pool.save(image).version == 0
    # The environment comes first.
    monkeypatch.setenv("MIRIPOOL_DATABASE_URL", "postgresql://x@/y")
    assert home.external_url == "postgresql://x@/y"
    monkeypatch.delenv("MIRIPOOL_DATABASE_URL")
    for text, error in (
        ("database_url = ", FormatError),
        ("\xff", FormatError),
        ("databaze_url = 'x'", InvalidInput),
        ("database_url = 7", InvalidInput),
    ):
        (home.path / "config.toml").write_bytes(text.encode("latin-1"))
        with pytest.raises(error, match=r"config\.toml"), home.pool("jpl8") as pool:
            pool.select()


def test_a_server_that_can_not_be_reached(home: Home, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with home.create("jpl8") as pool:
        pool.save(image)
    url = "postgresql://user:s3cret%2Fword@127.0.0.1:1/pools"
    good = database(home)
    monkeypatch.setenv("MIRIPOOL_DATABASE_URL", url)
    before = files(home.path)
    for act in (
        lambda pool: pool.select(),
        lambda pool: pool.save(image, force=True),
        lambda pool: pool.tag("a", "x"),
        lambda _: home.create("new"),
        lambda _: home.rename("jpl8", "new"),
        lambda _: home.delete("jpl8"),
    ):
        with home.pool("jpl8") as pool, pytest.raises(ServerUnavailable, match=r"127\.0\.0\.1") as caught:
            act(pool)
        assert "s3cret" not in str(caught.value)
        assert files(home.path) == before
    for wrong in ("mysql://user:s3cret@host/x", "not a url s3cret"):
        monkeypatch.setenv("MIRIPOOL_DATABASE_URL", wrong)
        with home.pool("jpl8") as pool, pytest.raises(InvalidInput, match="postgresql") as caught_too:
            pool.select()
        assert "s3cret" not in str(caught_too.value)
    monkeypatch.setenv("MIRIPOOL_DATABASE_URL", good)
    with home.pool("jpl8") as pool:
        assert pool.select().size() == 1


@pytest.mark.slow
def test_a_server_that_was_stopped_meanwhile(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIRIPOOL_DATABASE_URL", raising=False)
    with reachable_folder() as folder:
        home = Home(folder / "home")
        with home.create("jpl8") as pool:
            ref = pool.save(image, tag="x")
            refs = pool.select()
            for act in (
                lambda: pool.select().size(),
                lambda: pool.tag(ref, "y"),
                lambda: pool.save(image, force=True).version,
                lambda: list(refs),
                lambda: refs.to_table(),
                lambda: ref.tags,
            ):
                assert home.server.stop()
                act()
            assert ref.tags == ("x", "y")
            assert_index_is_journal(pool)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_server_that_is_stopped_while_files_are_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], jobs: int
) -> None:
    """Right before an entry, between two questions, and while pixel rows are left out or made: no file is lost."""
    monkeypatch.delenv("MIRIPOOL_DATABASE_URL", raising=False)
    place = {"SUBSTRT1": 5, "SUBSTRT2": 100, "SUBSIZE1": 3, "SUBSIZE2": 2, "DETECTOR": "MIRIMAGE"}
    places: list[dict[str, Any]] = [{}, place, place]  # the first can have no pixel rows, which the index notes
    files = [write_image(tmp_path / f"{i}_rate.fits", {"NGROUPS": i, **at}) for i, at in enumerate(places)]
    stopped: list[str] = []

    def stop_first(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def stopping(*arguments: Any, **options: Any) -> Any:
            if name not in stopped:
                stopped.append(name)
                assert home.server.stop()
            return real(*arguments, **options)

        monkeypatch.setattr(owner, name, stopping)

    with reachable_folder() as folder:
        home = Home(folder / "home")
        with home.create("jpl8") as pool:
            stop_first(Committer, "_write")
            stop_first(Catalog, "living")
            stop_first(saving, "keep_exposures")
            stop_first(PixelRows, "describe")
            stop_first(PixelRows, "load")
            outcomes = pool.ingest(files, jobs=jobs)
            assert [outcome.status for outcome in outcomes] == ["new"] * 3, outcomes
            assert sorted(stopped) == ["_write", "describe", "keep_exposures", "living", "load"]
            assert core_of(pool).pixel_rows.pending() == []
            assert_index_is_journal(pool)
    assert "Traceback" not in capfd.readouterr().err


def test_the_remedy_for_an_embedded_server_is_not_to_correct_a_url() -> None:
    error = psycopg2.OperationalError("the database system is shutting down")
    assert "MIRIPOOL_DATABASE_URL" not in str(translate(error, "here", embedded=True))
    assert "correct MIRIPOOL_DATABASE_URL" in str(translate(error, "here"))


def test_an_index_of_a_newer_miripool(home: Home, image: Path) -> None:
    with home.create("jpl8") as pool:
        pool.save(image)
    ask(database(home), "UPDATE jpl8.pool_state SET schema_version = 1000")
    before = files(home.path)
    with home.pool("jpl8") as pool, pytest.raises(NewerFormat, match=r"version 1000.*update miripool"):
        pool.save(image, force=True)
    assert files(home.path) == before


@pytest.mark.slow
def test_the_index_of_a_pool_that_another_home_deleted_and_made_again(
    home: Home, image: Path, tmp_path: Path, database_url: str
) -> None:
    home.create("jpl8").close()
    (home.path / "config.toml").write_text(f'database_url = "{database(home)}"\n')
    with pytest.MonkeyPatch.context() as patch, homes.empty_home(tmp_path / "other", database_url, "other") as other:
        patch.delenv("MIRIPOOL_DATABASE_URL")
        (other.path / "pools").symlink_to(home.path / "pools")
        other.delete("jpl8")
        with other.create("jpl8") as pool:
            pool.save(image)
            made = pool.id
        (other.path / "pools").unlink()
    with home.pool("jpl8") as pool, pytest.raises(Conflict, match="`miripool reindex POOL --yes` replaces"):
        core_of(pool).catch_up()
    with pytest.raises(InvalidInput, match="index of another pool"):
        homes.call("reindex", "jpl8")
    assert homes.call("reindex", "jpl8", "--yes").exit_code == 0
    with home.pool("jpl8") as pool:
        assert pool.id == made
        assert pool.select().size() == 1
        assert_index_is_journal(pool)
    assert schemas(home) == {"jpl8"}


def test_the_index_of_another_pool(home: Home, image: Path, tmp_path: Path) -> None:
    """Two homes with one database, and a pool of the same name in each."""
    with home.create("jpl8") as pool:
        pool.save(image)
    other = Home(tmp_path / "other")
    with pytest.raises(Conflict, match=r"'jpl8'.*another"):
        other.create("jpl8")
    assert not list((tmp_path / "other" / "pools").glob("*"))
    shutil.copytree(home.path, tmp_path / "copy")
    record = json.loads((home.path / "pools/jpl8/pool.json").read_bytes())
    record["id"] = "00000000-0000-0000-0000-000000000000"
    (tmp_path / "copy/pools/jpl8/pool.json").write_text(json.dumps(record))
    with Home(tmp_path / "copy").pool("jpl8") as pool, pytest.raises(Conflict, match=record["id"]):
        pool.select()
    with home.pool("jpl8") as pool:
        assert pool.select().size() == 1


def test_a_pool_of_a_newer_miripool(home: Home, image: Path) -> None:
    with home.create("jpl8") as pool:
        pool.save(image)
    path = home.path / "pools/jpl8/pool.json"
    record = json.loads(path.read_bytes())
    path.write_text(json.dumps({**record, "format": FORMAT + 1}))
    with pytest.raises(NewerFormat, match=rf"pool\.json has format {FORMAT + 1}.*update miripool"):
        home.pool("jpl8")
    for broken in ("", "{}", "[]", "nonsense", json.dumps({**record, "created": "yesterday"})):
        path.write_text(broken)
        with pytest.raises(FormatError, match=r"pool\.json"):
            home.pool("jpl8")
    path.write_text(json.dumps(record))
    entry = home.path / "pools/jpl8/journal/000000000001.json"
    first = json.loads(entry.with_name("000000000000.json").read_bytes())
    entry.write_text(json.dumps({**first, "format": ENTRY_FORMAT + 1, "n": 1}))
    with home.pool("jpl8") as pool, pytest.raises(NewerFormat, match="update miripool"):
        pool.select()


# An index that is gone, and what is in its place


def test_a_dropped_index_is_made_again(home: Home, tmp_path: Path) -> None:
    with home.create("jpl8") as pool:
        for i in range(4):
            pool.save(write_image(tmp_path / "a.fits", {"NGROUPS": i}), tag=f"t{i % 2}")
        pool.remove("a@1")
        pool.tag("a@0", "t1")
        pool.untag("t0")
        before = core_of(pool).catalog.rows(range(4))
        events = core_of(pool).catalog.tag_events()
        table = [list(row) for row in pool.select(all_versions=True).to_table(["urn", "NGROUPS", "tags"])]
    ask(database(home), "DROP SCHEMA jpl8 CASCADE")
    with home.pool("jpl8") as pool:
        assert [list(row) for row in pool.select(all_versions=True).to_table(["urn", "NGROUPS", "tags"])] == table
        assert core_of(pool).catalog.rows(range(4)) == before
        assert core_of(pool).catalog.tag_events() == events
        assert_index_is_journal(pool)


def test_a_home_moved_to_another_place(home: Home, image: Path, tmp_path: Path) -> None:
    with home.create("jpl8") as pool:
        urn = pool.save(image).urn
    home.path.rename(tmp_path / "moved")
    with Home(tmp_path / "moved").pool("jpl8") as pool:
        assert pool.ref(urn).to_fits(tmp_path / "b.fits").read_bytes() == image.read_bytes()


# Who may write


def test_a_home_that_can_not_be_written(home: Home, image: Path) -> None:
    """Nothing changes, each attempt says so, and looking goes on."""
    with home.create("jpl8") as pool:
        pool.save(image)
    before = files(home.path)
    with homes.unwritable(home.path), home.pool("jpl8") as pool:
        for act in (
            lambda: pool.save(image, force=True),
            lambda: pool.tag("a", "x"),
            lambda: pool.remove("a"),
            lambda: home.create("other"),
            lambda: home.rename("jpl8", "other"),
            lambda: home.delete("jpl8"),
        ):
            with pytest.raises(ReadOnly, match="can't be written"):
                act()
        assert pool.select().size() == 1
        assert pool.ref("a").product.data.shape == (2, 3)
        assert pool.save(image).notice == "unchanged: version 0"
    assert files(home.path) == before
    with home.pool("jpl8") as pool:
        assert pool.tag("a", "x") == 1
        assert_index_is_journal(pool)


def test_a_folder_of_pools_that_is_a_file(home: Home) -> None:
    home.path.mkdir()
    (home.path / "pools").write_text("")
    for act in (home.names, lambda: home.pool("jpl8"), lambda: home.create("jpl8")):
        with pytest.raises(StorageError, match=str(home.path / "pools")):
            act()


def test_pools_are_closed(tmp_path: Path, image: Path, database_url: str) -> None:
    # A database of its own: pools of one database share their sessions, and other tests leave some open.
    with empty_home(tmp_path / "home", database_url, "closing") as home:
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'miripool' AND datname = 'closing'"
        with home.create("jpl8") as pool:
            pool.save(image)
            assert ask(database(home), sessions) != [(0,)]
        until = time.monotonic() + 10
        while ask(database(home), sessions) != [(0,)]:  # the server takes a moment to notice
            assert time.monotonic() < until
            time.sleep(0.05)
        # The next use connects again.
        assert pool.select().size() == 1
        pool.close()
        pool.close()


def test_repr(pool: Pool, home: Home) -> None:
    assert repr(pool) == "<Pool jpl8>"
    assert str(home.path) in repr(home)
    assert folder_of(pool) == home.path / "pools" / "jpl8"


# What callers give


def test_an_earlier_result(home: Home, image: Path) -> None:
    with home.create("jpl8") as pool:
        ref = pool.save(image, tag="x")
        pool.save(image, force=True)
        assert list(pool.select("1", ref)) == [ref]
        assert pool.select(allVersions=True).size() == 2
        assert pool.select(all_versions=False, allVersions=True).size() == 1
        for wrong in (Ramp, "kind == 'Ramp'"):
            with pytest.raises(InvalidInput, match="must be an earlier result"):
                pool.select("1", wrong)


def test_a_tag_is_one_text(home: Home, image: Path) -> None:
    with home.create("jpl8") as pool:
        ref = pool.save(image)
        for act in (
            lambda: pool.tag("good", [ref]),
            lambda: pool.save(image, tag=["good"]),
            lambda: pool.select(tag=["good"]),
        ):
            with pytest.raises(InvalidInput, match="a tag must be a str, not a list"):
                act()
        assert pool.tags() == []


def test_columns_as_one_text(home: Home, image: Path) -> None:
    with home.create("jpl8") as pool:
        ref = pool.save(image)
        assert core_of(pool).listing([ref.serial], "urn, BITPIX") == [{"urn": ref.urn, "BITPIX": 8}]


def test_export_to_a_folder_that_is_not_there(home: Home, image: Path, tmp_path: Path) -> None:
    with home.create("jpl8") as pool:
        ref = pool.save(image)
        for wrong in (f"{tmp_path}/none/", f"{tmp_path}/none/further/"):
            with pytest.raises(FileMissing, match=r"no folder .*none"):
                ref.to_fits(wrong)
        assert not (tmp_path / "none").exists()
        assert pool.export(ref, f"{tmp_path}/home/") == tmp_path / "home" / "a.fits"


def test_trash(home: Home, image: Path) -> None:
    with home.create("jpl8") as pool:
        refs = [pool.save(image, force=True) for _ in range(3)]
        pool.remove(refs[:2])
        assert list(pool.trash()) == refs[:2]
        assert list(pool.trash(order="-version", limit=1)) == [refs[1]]
        assert list(pool.trash("Ramp")) == []
        assert in_trash(core_of(pool), "a") == refs[1]
        assert in_trash(core_of(pool), "a@2").removed is None
        assert pool.restore("a") == 1
        assert list(pool.trash()) == refs[:1]


def test_what_is_made_in_memory_has_no_timestamps(home: Home, tmp_path: Path) -> None:
    with home.create("jpl8") as pool:
        ref = pool.save(Rate({"detector": "MIRIMAGE"}, {"SCI": np.ones((4, 4), "f4")}, name="made"))
        path = ref.to_fits(tmp_path / "made.fits")
        assert pool.save(path).notice == "unchanged: version 0"


# What comes in between


def test_a_pool_opened_by_its_new_name_before_its_index_has_it(
    home: Home, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index that was made in that moment gives way to the one that has pixel rows."""
    with home.create("old") as pool:
        pool.save(image)
    rename = Catalog.rename

    def rename_late(catalog: Catalog, schema: str) -> None:
        monkeypatch.setattr(Catalog, "rename", rename)
        with home.pool("new") as other:
            assert other.select().size() == 1
        rename(catalog, schema)

    monkeypatch.setattr(Catalog, "rename", rename_late)
    with home.rename("old", "new") as pool:
        assert schemas(home) == {"new"}
        assert [ref.urn for ref in pool.select()] == ["urn:new:Product:0"]
        assert_index_is_journal(pool)
    with home.pool("new") as pool:
        assert pool.ref("urn:old:Product:0").name == "a"


@pytest.mark.slow
def test_others_who_open_it_by_its_new_name_all_the_time(
    home: Home, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then none of the old name is left, and whoever comes next makes an index."""
    with home.create("old") as pool:
        pool.save(image)
    rename = Catalog.rename

    def rename_late(catalog: Catalog, schema: str) -> None:
        with home.pool("new") as other:
            assert other.select().size() == 1
        rename(catalog, schema)

    monkeypatch.setattr(Catalog, "rename", rename_late)
    with home.rename("old", "new") as pool:
        assert pool.select().size() == 1
        assert_index_is_journal(pool)
        assert schemas(home) == {"new"}


def test_a_deleted_pool_that_was_brought_back_keeps_its_index(
    home: Home, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with home.create("jpl8") as pool:
        pool.save(image)
        shutil.copytree(folder_of(pool), tmp_path / "backup")
    with monkeypatch.context() as patch:
        patch.setattr(Home, "_sweep_deleted", lambda _: None)  # killed before
        home.delete("jpl8")
    shutil.copytree(tmp_path / "backup", home.path / "pools" / "jpl8")
    with home.pool("jpl8") as pool:
        assert pool.select().size() == 1
        home.create("other").close()
        home.delete("other")
        assert schemas(home) == {"jpl8"}
        assert pool.select().size() == 1
        assert_index_is_journal(pool)
    assert home.names() == ["jpl8"]
    assert [path for path in (home.path / "pools").iterdir() if path.name.startswith(".deleted")] == []


@pytest.mark.parametrize("what", ["file", "link", "folder"])
def test_what_others_named_like_a_deleted_pool_stays(home: Home, tmp_path: Path, what: str) -> None:
    (home.path / "pools").mkdir(parents=True)
    name = ".deleted-abc jpl8" if what == "folder" else f".deleted-{LEFT}"
    strange = home.path / "pools" / name
    if what == "file":
        strange.write_text("mine")
    elif what == "link":
        (tmp_path / "mine").mkdir()
        strange.symlink_to(tmp_path / "mine")
    else:
        strange.mkdir()
    home.create("jpl8").close()
    home.delete("jpl8")
    assert [path.name for path in (home.path / "pools").iterdir() if path.name.startswith(".deleted")] == [name]
