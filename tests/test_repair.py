"""Repair heals what can be healed, says what can't, and loses nothing more."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from homes import ask, call
from postgresql import reachable_folder

from miripool import Home, Pool, Rate
from miripool.blob import Blob
from miripool.errors import IntegrityError, InvalidInput
from miripool.ingest import find_files, ingest
from miripool.repair import repair
from miripool.verify import verify

NAME = "jw01033005001_03103_00001_mirimage"


@pytest.fixture
def filled(pool: Pool, simulated: Path) -> Pool:
    files = find_files([str(simulated / folder) for folder in ("uncal", "v1", "v2")])
    assert all(outcome.error is None for outcome in ingest(pool, files))
    return pool


@pytest.fixture
def copy(filled: Pool, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled.archive.storage.path("journal").parent, tmp_path / "copy"))


def blob_of(pool: Pool, spec: str, dataset: str = "SCI") -> Blob:
    source = pool.ref(spec).product[dataset].source
    assert isinstance(source, Blob)
    return source


def flip(path: Path) -> bytes:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 8
    path.write_bytes(data)
    return bytes(data)


def test_a_whole_pool_needs_nothing(filled: Pool, copy: Path) -> None:
    assert repair(filled, [copy]) == []
    assert call("repair", "jpl8").stderr.endswith("whole\n")


@pytest.mark.parametrize("source", ["the FITS file", "a folder of FITS files", "a copy of the pool"])
def test_blobs_come_back(filled: Pool, simulated: Path, copy: Path, source: str) -> None:
    missing, damaged = blob_of(filled, f"Ramp/{NAME}"), blob_of(filled, f"RateInts/{NAME}@0")
    missing._path.unlink()
    bad = flip(damaged._path)
    sources = {
        "the FITS file": [simulated / "v1" / f"{NAME}_ramp.fits", simulated / "v1" / f"{NAME}_rateints.fits"],
        "a folder of FITS files": [simulated],
        "a copy of the pool": [copy],
    }[source]
    told = repair(filled, sources, dry_run=True)
    assert {step.where for step in told} == {missing.key, damaged.key}
    assert not missing._path.exists()
    assert damaged._path.read_bytes() == bad
    steps = repair(filled, sources)
    assert [(step.what, step.healed) for step in steps] == [("blob", True)] * 2
    assert all("restored from" in step.action for step in steps)
    assert verify(filled, level="full").findings == []
    aside = filled.archive.storage.path(f"quarantine/{damaged._path.name}")
    assert aside.read_bytes() == bad
    assert repair(filled) == []


def test_blobs_that_nobody_has(filled: Pool, tmp_path: Path) -> None:
    missing, damaged = blob_of(filled, f"Ramp/{NAME}"), blob_of(filled, f"RateInts/{NAME}@0")
    missing._path.unlink()
    bad = flip(damaged._path)
    (tmp_path / "other.fits").write_bytes(b"no FITS file")
    steps = {step.where: step for step in repair(filled, [tmp_path / "other.fits"])}
    assert not any(step.healed for step in steps.values())
    assert "no source has it" in steps[missing.key].action
    assert steps[damaged.key].urns == (str(filled.ref(f"RateInts/{NAME}@0").urn),)
    assert filled.archive.storage.path(f"quarantine/{damaged._path.name}").read_bytes() == bad
    # What is missing is told wherever it is asked for, and comes back by itself with the data.
    with pytest.raises(IntegrityError, match="is missing"):
        filled.ref(f"RateInts/{NAME}@0").product["SCI"][0, 0, 0]


def test_what_is_added_again_heals(filled: Pool, simulated: Path) -> None:
    blob_of(filled, f"RateInts/{NAME}@0")._path.unlink()
    assert not repair(filled)[0].healed
    call("add", "jpl8", simulated / "v1")
    assert verify(filled, level="full").is_whole


def test_manifests_and_entries_come_from_a_copy(filled: Pool, copy: Path, simulated: Path) -> None:
    storage = filled.archive.storage
    (row,) = filled.catalog.rows([filled.ref(f"Rate/{NAME}").serial])
    manifest = storage.path(filled.archive.manifest_key(row.manifest))
    entry, other = (storage.path(filled.archive.journal.key(n)) for n in (1, 3))
    manifest.unlink()
    entry.unlink()
    other.write_bytes(other.read_bytes().replace(b"version", b"VERSION", 1))
    blob_of(filled, f"Raw/{NAME}")._path.unlink()
    steps = repair(filled, [copy], dry_run=True)
    assert not entry.exists()
    steps = repair(filled, [copy])
    assert [(step.what, step.healed) for step in steps] == [
        ("journal", True),
        ("journal", True),
        ("manifest", True),
        ("blob", True),
    ]
    assert verify(filled, level="full").findings == []
    assert filled.ref(f"Rate/{NAME}").product["SCI"].shape == (64, 72)


def test_an_entry_that_nobody_has(filled: Pool, simulated: Path, home: Home) -> None:
    filled.archive.storage.path(filled.archive.journal.key(1)).unlink()
    with home.create("other") as other:
        assert all(outcome.error is None for outcome in ingest(other, find_files([str(simulated / "v1")])))
        steps = repair(filled, [other.archive.storage.path("journal").parent])
    assert (steps[0].what, steps[0].healed) == ("journal", False)
    assert "no copy has it" in steps[0].action


def test_the_index_is_made_anew(filled: Pool, home: Home) -> None:
    ask(home.database_url(), "SET search_path TO jpl8; DELETE FROM dataset; DELETE FROM raw_pixel")
    steps = repair(filled)
    assert {step.what for step in steps} == {"index", "pixels"}
    assert all(step.healed for step in steps)
    assert verify(filled, level="full").findings == []


def test_on_the_command_line(filled: Pool, simulated: Path) -> None:
    blob = blob_of(filled, f"Ramp/{NAME}")
    blob._path.unlink()
    failed = call("repair", "jpl8")
    assert failed.exit_code == IntegrityError.exit_code
    assert "0 things healed, 1 not" in failed.stderr
    told = call("repair", "jpl8", "--from", simulated / "v2", "--dry-run")
    assert "1 things would be healed, 0 not" in told.stderr
    assert not blob._path.exists()
    (step,) = json.loads(call("repair", "jpl8", "--from", simulated / "v2", "--json").stdout)
    assert (step["where"], step["healed"]) == (blob.key, True)
    with pytest.raises(InvalidInput, match="there is no"):
        call("repair", "jpl8", "--from", simulated / "none")


def test_files_that_a_killed_server_left_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIRIPOOL_DATABASE_URL", raising=False)
    with reachable_folder() as folder:
        home = Home(folder / "home")
        try:
            with home.create("jpl8") as pool:
                pool.save(Rate({}, {"SCI": np.ones((3, 4), "f4")}, name="a"))
                assert verify(pool).findings == []
                data = home.server.status().data_directory
                ((oid,),) = ask(home.server.url, "SELECT oid FROM pg_database WHERE datname = current_database()")
                for name, size, time in (("4000000", 5000, 1), ("4000000_fsm", 1000, 1), ("4000001", 0, 1)):
                    path = data / "base" / str(oid) / name
                    path.write_bytes(bytes(size))
                    os.utime(path, (time, time))
                (data / "base" / str(oid) / "4000002").write_bytes(bytes(7))  # of a transaction that runs
                (finding,) = verify(pool).findings
                assert (finding.what, finding.where) == ("note", f"PostgreSQL's base/{oid}")
                assert finding.problem.startswith("2 files, 6000 bytes, of tables")
                (step,) = repair(pool)
                assert (step.what, step.healed) == ("note", True)
                assert step.action.startswith("left alone: 2 files")
        finally:
            home.server.remove()
