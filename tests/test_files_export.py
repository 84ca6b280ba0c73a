"""What `export` would write, and links that lead nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from homes import call
from test_files_tree import STEM, filled

from miripool import Pool
from miripool.errors import AlreadyExists, FileMissing, InvalidInput, NotFound
from miripool.files.links import make_link
from miripool.simulate import SimulatedExposure

__all__ = ["filled"]


def test_a_dry_run_writes_nothing(filled: Pool, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    done = call("export", "jpl8", "--tag", "using cal v1", out, "--dry-run", "--json")
    rows = json.loads(done.stdout)
    refs = filled.select("1", tag="using cal v1")
    assert {row["urn"]: row["bytes"] for row in rows} == {ref.urn: ref.bytes for ref in refs}
    assert [row["path"] for row in rows] == [str(out / f"{ref.name}_{ref.kind.lower()}.fits") for ref in refs]
    assert done.stderr.startswith("would write 3 files, ")
    text = call("export", "jpl8", "--tag", "using cal v1", out, "--dry-run").stdout
    assert text.splitlines()[0].split() == ["path", "urn", "bytes"]
    assert not list(out.iterdir())
    call("export", "jpl8", "--tag", "using cal v1", out)
    assert {path.name: path.stat().st_size for path in out.iterdir()} == {
        Path(row["path"]).name: row["bytes"] for row in rows
    }
    with pytest.raises(AlreadyExists):  # as without --dry-run
        call("export", "jpl8", "--tag", "using cal v1", out, "--dry-run")


def test_what_was_written_as_json(filled: Pool, tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    (row,) = json.loads(call("export", "jpl8", f"Rate/{STEM}", path, "--json").stdout)
    assert row == {"path": str(path), "urn": filled.ref(f"Rate/{STEM}").urn, "bytes": path.stat().st_size}


def test_the_size_of_a_bench_s_file_as_level_1b(pool: Pool, exposure: SimulatedExposure, tmp_path: Path) -> None:
    pool.save(exposure.write_jpl(tmp_path), name="bench", pixels=False)
    for options in ((), ("--jwst",)):
        (row,) = json.loads(call("export", "jpl8", "Raw/bench", tmp_path, "--json", *options).stdout)
        assert Path(row["path"]).stat().st_size == row["bytes"]
        Path(row["path"]).unlink()


def test_links_need_a_mount(filled: Pool, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="`miripool mount jpl8 FOLDER`"):
        call("export", "jpl8", f"Rate/{STEM}", tmp_path, "--link")
    with pytest.raises(InvalidInput, match="--jwst"):
        call("export", "jpl8", f"Raw/{STEM}", tmp_path, "--link", "--jwst")
    assert not list(tmp_path.glob("*.fits"))


def test_how_links_are_made(tmp_path: Path) -> None:
    link = tmp_path / "link"
    make_link(link, tmp_path / "a b")
    assert link.readlink() == tmp_path / "a b"
    with pytest.raises(AlreadyExists):
        make_link(link, tmp_path / "c")
    make_link(link, tmp_path / "c", overwrite=True)
    assert link.readlink() == tmp_path / "c"
    with pytest.raises(FileMissing):
        make_link(tmp_path / "none" / "link", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["link"]
