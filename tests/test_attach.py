"""Two people with one folder: each has a home with an index of its own, the pool's journal keeps them together."""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import homes
import pytest
from homes import ask, call, drop_schemas, own_database, write_image
from postgresql import reachable_folder
from replay import assert_index_is_journal, files

from miripool import Home, Pool
from miripool.errors import (
    AlreadyExists,
    Conflict,
    IntegrityError,
    InvalidName,
    PoolNotFound,
    ReadOnly,
    StorageError,
)
from miripool.model.canonical import canonical_json, digest_bytes

home = homes.home


@pytest.fixture
def mine(tmp_path: Path, database_url: str) -> Iterator[Home]:
    """Another home, with a database of its own."""
    with homes.empty_home(tmp_path / "mine", database_url, "attached") as made:
        yield made


@pytest.fixture
def theirs(home: Home, pool: Pool, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Pool:
    """Pool ``jpl8`` with one product, in the first home."""
    monkeypatch.delenv("MIRIPOOL_DATABASE_URL")
    (home.path / "config.toml").write_text(f'database_url = "{own_database(database_url)}"\n')
    pool.save(write_image(tmp_path / "a.fits", {"NGROUPS": 5}), tag="t")
    return pool


def folder_of(pool: Pool) -> Path:
    return pool.path


def schemas(home: Home) -> set[str]:
    return {name for (name,) in ask(home.database_url(), homes._SCHEMAS)}


@pytest.mark.slow
def test_both_see_what_either_saves(theirs: Pool, mine: Home, tmp_path: Path) -> None:
    with mine.attach(folder_of(theirs)) as attached:
        assert (attached.name, attached.id, mine.names()) == ("jpl8", theirs.id, ["jpl8"])
        assert [ref.urn for ref in attached.select()] == ["urn:jpl8:Product:0"]
        attached.save(write_image(tmp_path / "b.fits", {"NGROUPS": 7}))
        assert [ref.name for ref in theirs.select("NGROUPS == 7")] == ["b"]
        theirs.tag("b", "good")
        assert attached.ref("b").tags == ("good",)
        theirs.save(write_image(tmp_path / "c.fits", {"NGROUPS": 9}))
        assert [ref.name for ref in attached.select("NGROUPS > 6", order="NGROUPS")] == ["b", "c"]
        assert_index_is_journal(attached)
    assert_index_is_journal(theirs)


@pytest.mark.slow
def test_the_folder_and_what_is_in_it(theirs: Pool, mine: Home, tmp_path: Path, simulated: Path) -> None:
    theirs.ingest([simulated / "v1"])  # makes an Exposure, which listings don't count
    (before,) = (row for row in json.loads(call("pools", "--json").stdout) if row["name"] == "jpl8")
    done = call("--home", mine.path, "attach", folder_of(theirs))
    assert f"with {before['versions']} versions" in done.stderr
    assert before["versions"] == len(theirs.select(allVersions=True))
    (row,) = json.loads(call("--home", mine.path, "pools", "--json").stdout)
    assert Path(row["path"]) == folder_of(theirs).resolve()


def test_under_another_name(theirs: Pool, mine: Home) -> None:
    with mine.attach(folder_of(theirs), "their darks") as attached:
        assert [ref.urn for ref in attached.select()] == ["urn:their darks:Product:0"]
    assert mine.names() == ["their darks"]


@pytest.mark.slow
def test_detaching_leaves_the_folder(theirs: Pool, mine: Home) -> None:
    before = files(folder_of(theirs)), schemas(mine)
    mine.attach(folder_of(theirs)).close()
    assert schemas(mine) != before[1]
    assert mine.detach("jpl8") == folder_of(theirs)
    assert (mine.names(), schemas(mine)) == ([], before[1])
    assert files(folder_of(theirs)) == before[0]
    assert theirs.select().size() == 1
    with mine.attach(folder_of(theirs)) as again:
        assert again.select().size() == 1


@pytest.mark.slow
def test_what_is_refused(theirs: Pool, home: Home, mine: Home, tmp_path: Path) -> None:
    folder = folder_of(theirs)
    for wrong in (tmp_path, tmp_path / "nothing", tmp_path / "a.fits", folder / "blobs"):
        with pytest.raises(PoolNotFound, match=r"is not a pool: it has no pool\.json"):
            mine.attach(wrong)
    with pytest.raises(InvalidName):
        mine.attach(folder, "a/b")
    with pytest.raises(AlreadyExists, match=r"is pool 'jpl8' of .*/home already"):
        home.attach(folder, "again")
    mine.attach(folder).close()
    with pytest.raises(AlreadyExists, match=r"is pool 'jpl8' of .*/mine already"):
        mine.attach(folder, "again")
    with mine.create("own"):
        pass
    with pytest.raises(Conflict, match="pool 'own' is not attached, its folder is in this home"):
        mine.detach("own")
    with pytest.raises(PoolNotFound):
        mine.detach("nothing")
    with pytest.raises(Conflict, match=r"Nothing was changed. `miripool detach jpl8`"):
        mine.delete("jpl8")
    assert mine.names() == ["jpl8", "own"]


@pytest.mark.slow
def test_a_name_that_another_pool_has(theirs: Pool, mine: Home) -> None:
    with mine.create("jpl8") as other, pytest.raises(AlreadyExists, match="give another with --name"):
        mine.attach(folder_of(theirs))
    assert mine.pool("jpl8").id == other.id


@pytest.mark.slow
def test_a_folder_that_is_out_of_reach(theirs: Pool, mine: Home, tmp_path: Path) -> None:
    mine.attach(folder_of(theirs)).close()
    moved = tmp_path / "moved"
    folder_of(theirs).rename(moved)
    assert mine.names() == []
    mine.detach("jpl8")
    with mine.attach(moved, "jpl8") as again:  # with the index that it had
        assert again.select().size() == 1
        assert_index_is_journal(again)
    moved.rename(folder_of(theirs))


def copy_of(pool: Pool, folder: Path) -> Path:
    return Path(shutil.copytree(folder_of(pool), folder))


def forge(folder: Path, **changes: Any) -> None:
    """Append an entry of a stranger's, with the digest that goes with it."""
    last = json.loads((folder / "journal" / "000000000000.json").read_bytes())
    previous = last.pop("digest")
    content = {**last, "n": 1, "previous": previous, "actions": [], **changes}
    data = canonical_json({**content, "digest": digest_bytes(canonical_json(content))})
    (folder / "journal" / "000000000001.json").write_bytes(data)


@pytest.mark.slow
def test_what_can_not_be_opened_is_not_attached(theirs: Pool, mine: Home, tmp_path: Path) -> None:
    """Neither link nor index are left, and the name is free."""
    before = schemas(mine)
    linked, forged = copy_of(theirs, tmp_path / "linked"), copy_of(theirs, tmp_path / "forged")
    (linked / "blobs").rename(tmp_path / "blobs")
    (linked / "blobs").symlink_to(tmp_path / "blobs")
    forge(forged, time="0001-01-01T00:00:00.000000+14:00")
    for folder, error in ((linked, StorageError), (forged, IntegrityError)):
        with pytest.raises(error):
            mine.attach(folder, "c")
        assert not os.path.lexists(mine.path / "pools" / "c")
    assert schemas(mine) == before
    with mine.create("c"):
        pass


def test_an_attached_pool_that_can_not_be_read_can_be_detached(theirs: Pool, mine: Home, tmp_path: Path) -> None:
    folder = copy_of(theirs, tmp_path / "copy")
    info = folder / "pool.json"
    for spoil in (lambda: info.write_text("{"), lambda: (info.unlink(), os.mkfifo(info))):
        mine.attach(folder, "c").close()
        kept = info.read_bytes()
        spoil()
        assert mine.detach("c") == folder
        assert not os.path.lexists(mine.path / "pools" / "c")
        info.unlink()
        info.write_bytes(kept)


@pytest.mark.slow
def test_an_attached_folder_that_has_another_pool_can_be_detached(theirs: Pool, mine: Home, tmp_path: Path) -> None:
    folder = copy_of(theirs, tmp_path / "copy")
    mine.attach(folder, "c").close()
    folder.rename(tmp_path / "renamed")
    with mine.create("own") as own:
        shutil.copytree(folder_of(own), folder)
    assert mine.detach("c") == folder
    assert "c" in schemas(mine)  # the index of the pool that is away
    with mine.attach(tmp_path / "renamed", "c") as again:
        assert again.select().size() == 1


@pytest.mark.slow
def test_nothing_takes_the_place_of_a_pool_that_is_away(theirs: Pool, mine: Home, tmp_path: Path) -> None:
    """Of one whose disk is not mounted, say: its link stays, and messages say where it leads."""
    folder = copy_of(theirs, tmp_path / "copy")
    mine.attach(folder, "c").close()
    with mine.create("own") as own:
        other = copy_of(own, tmp_path / "other")
    mine.delete("own")
    mine.attach(other, "d").close()
    folder.rename(tmp_path / "away")
    drop_schemas(mine.database_url())  # as in a database that was made again
    away = rf"the folder of the attached pool 'c', {folder}, is missing.*`miripool detach c`"
    with pytest.raises(PoolNotFound, match=away):
        mine.pool("c")
    with pytest.raises(AlreadyExists, match=away):
        mine.create("c")
    with pytest.raises(AlreadyExists, match="differs only in capital letters"):
        mine.create("C")
    with pytest.raises(AlreadyExists, match="the name 'c' is or was used by a pool"):
        mine.rename("d", "c")
    assert (mine.path / "pools" / "c").readlink() == folder
    (tmp_path / "away").rename(folder)
    with mine.pool("c") as back:
        assert back.select().size() == 1


@pytest.mark.slow
def test_on_the_command_line(theirs: Pool, mine: Home) -> None:
    done = call("--home", mine.path, "attach", folder_of(theirs), "--name", "their darks")
    assert f"attached {folder_of(theirs)} as pool their darks, with 1 version" in done.stderr
    assert "a" in call("--home", mine.path, "ls", "their darks").stdout
    done = call("--home", mine.path, "detach", "their darks")
    assert f"{folder_of(theirs)} stays as it is" in done.stderr


def test_a_folder_that_can_not_be_written(theirs: Pool, mine: Home, tmp_path: Path) -> None:
    with homes.unwritable(folder_of(theirs)), mine.attach(folder_of(theirs)) as attached:
        assert attached.select().size() == 1
        assert attached.export("a", tmp_path / "out.fits").read_bytes() == (tmp_path / "a.fits").read_bytes()
        with pytest.raises(ReadOnly):
            attached.tag("a", "u")


@pytest.mark.slow
def test_a_home_that_can_not_be_written(theirs: Pool, home: Home, tmp_path: Path) -> None:
    """The database is elsewhere, and up to date or not."""
    with homes.unwritable(home.path):
        assert "a" in call("--home", home.path, "ls", "jpl8").stdout
        assert "NGROUPS" in call("--home", home.path, "show", "jpl8", "a").stdout
        with Home(home.path).pool("jpl8") as pool:
            assert pool.export("a", tmp_path / "out.fits").read_bytes() == (tmp_path / "a.fits").read_bytes()
        with pytest.raises(ReadOnly):
            call("--home", home.path, "tag", "jpl8", "u", "a")


READS = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
"""This Python may lie in root's own folder: let the user read it there; what it may write is its own."""


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("useradd") is None, reason="only root can make another user")
def test_an_ordinary_user_on_the_same_folder(tmp_path: Path) -> None:
    """With the embedded server of each; the folder belongs to a group, as the README says."""
    with reachable_folder() as place:
        name = f"miri{os.getpid()}"
        subprocess.run(["useradd", "--system", "--create-home", "--home-dir", place / "ana", name], check=True)
        try:
            _two_users(place, name)
        finally:
            subprocess.run(["pkill", "-9", "-u", name], check=False)
            subprocess.run(["userdel", name], check=True)


def _two_users(place: Path, name: str) -> None:
    group = grp.getgrgid(pwd.getpwnam(name).pw_gid).gr_name
    place.chmod(0o755)
    image = write_image(place / "a.fits", {"NGROUPS": 5})
    image.chmod(0o644)

    def as_user(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "miripool", "--home", place / "ana" / "home", *arguments]
        return subprocess.run(
            ["setpriv", f"--reuid={name}", f"--regid={group}", "--clear-groups", *READS, *map(str, command)],
            capture_output=True, text=True, check=False, umask=0o002, cwd=place,
            env={k: v for k, v in os.environ.items() if not k.startswith("MIRIPOOL")} | {"HOME": str(place / "ana")},
        )  # fmt: skip

    def ours(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "miripool", "--home", place / "home", *arguments]
        clean = {k: v for k, v in os.environ.items() if not k.startswith("MIRIPOOL")}
        return subprocess.run(
            list(map(str, command)), capture_output=True, text=True, check=False, umask=0o002, env=clean
        )

    try:
        for done in (ours("create", "jpl8"), ours("add", "jpl8", image)):
            assert done.returncode == 0, done.stderr
        folder = place / "home" / "pools" / "jpl8"
        for path in (place / "home", place / "home" / "pools"):
            path.chmod(0o755)
        attached = as_user("attach", folder)
        assert (attached.returncode, "you can't write to the folder" in attached.stderr) == (0, True), attached.stderr
        assert "Product" in as_user("ls", "jpl8").stdout
        refused = as_user("tag", "jpl8", "good", "a")
        assert refused.returncode != 0
        assert "Traceback" not in refused.stderr
        subprocess.run(["chgrp", "-R", group, folder], check=True)
        subprocess.run(["chmod", "-R", "g+rwX", folder], check=True)
        subprocess.run(["find", folder, "-type", "d", "-exec", "chmod", "g+s", "{}", "+"], check=True)
        tagged = as_user("tag", "jpl8", "good", "a")
        assert tagged.returncode == 0, tagged.stderr
        assert f"by {name}@" in ours("log", "jpl8", "a").stdout
        write_image(place / "b.fits", {"NGROUPS": 6}).chmod(0o644)
        added = as_user("add", "jpl8", place / "b.fits")
        assert added.returncode == 0, added.stderr
        assert ours("verify", "jpl8", "--full").returncode == 0
        assert ours("gc", "jpl8").returncode == 0
        assert as_user("gc", "jpl8").returncode == 0
        assert "b" in ours("ls", "jpl8").stdout
    finally:
        as_user("server", "stop")
        ours("server", "stop")
