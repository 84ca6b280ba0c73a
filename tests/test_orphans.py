"""What a home that was removed by hand left outside of it goes; all else stays."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from homes import call
from postgresql import reachable_folder

from miripool.server.embedded import EmbeddedServer
from miripool.server.orphans import find_orphans, remove_orphans
from miripool.server.placement import OUTSIDE
from miripool.server.state import try_lock, unlock


def make(place: Path, home: Path) -> Path:
    folder = place / uuid.uuid4().hex
    (folder / "data" / "base").mkdir(parents=True)
    (folder / "data" / "base" / "1").write_bytes(b"rows")
    (folder / "cluster.lock").touch()
    (folder / "home.json").write_text(json.dumps({"home": str(home)}))
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "homes" / "another").mkdir(parents=True)
    (tmp_path / "var").mkdir()
    return tmp_path / "var"


def test_only_that_of_a_removed_home_goes(place: Path, tmp_path: Path) -> None:
    gone = make(place, tmp_path / "homes" / "gone")
    there = make(place, tmp_path / "homes" / "another")
    (tmp_path / "empty").mkdir()
    kept = [there, make(place, tmp_path / "empty" / "home"), make(place, tmp_path / "none" / "home")]
    assert find_orphans(place) == [gone]
    assert remove_orphans(place) == [gone]
    assert sorted(place.iterdir()) == sorted(kept)


def add_file(folder: Path, _home: Path) -> None:
    (folder / "thesis.txt").touch()


def rename_folder(folder: Path, _home: Path) -> None:
    folder.rename(folder.with_name("postgresql-18.4-abc"))


def damage_note(folder: Path, _home: Path) -> None:
    (folder / "home.json").write_text("[")


def name_relative(folder: Path, _home: Path) -> None:
    (folder / "home.json").write_text('{"home": "homes/gone"}')


def link(folder: Path, home: Path) -> None:
    folder.rename(home.parent / folder.name)
    folder.symlink_to(home.parent / folder.name)


def rename_home(folder: Path, home: Path) -> None:
    (home.parent / "renamed" / "postgres").mkdir(parents=True)
    (home.parent / "renamed" / "postgres" / "id").write_text(folder.name + "\n")


def give_away(folder: Path, _home: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(folder, 12345, 12345)


@pytest.mark.parametrize(
    "change",
    [add_file, rename_folder, damage_note, name_relative, link, rename_home, give_away],
    ids=lambda f: f.__name__,
)
def test_what_is_not_surely_left_over_stays(place: Path, tmp_path: Path, change: Callable[[Path, Path], None]) -> None:
    home = tmp_path / "homes" / "gone"
    folder = make(place, home)
    assert find_orphans(place) == [folder]
    change(folder, home)
    there = sorted(place.iterdir())
    assert find_orphans(place) == []
    assert remove_orphans(place) == []
    assert sorted(place.iterdir()) == there


def test_processes_of_its_server_keep_it(place: Path, tmp_path: Path) -> None:
    folder = make(place, tmp_path / "homes" / "gone")
    lock = try_lock(folder / "cluster.lock")
    assert lock is not None
    assert remove_orphans(place) == []
    unlock(lock)
    assert remove_orphans(place) == [folder]


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server lies outside of its home")
def test_the_next_server_takes_it_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIRIPOOL_DATABASE_URL", raising=False)
    with reachable_folder() as folder:
        OUTSIDE.mkdir(mode=0o755, exist_ok=True)
        left = make(OUTSIDE, folder / "gone")
        try:
            (folder / "home").mkdir()
            assert str(left) in call("--home", folder / "home", "server", "status").stdout
            EmbeddedServer(folder / "home").ensure()
            assert not left.exists()
            assert str(left) not in call("--home", folder / "home", "server", "status").stdout
        finally:
            shutil.rmtree(left, ignore_errors=True)
