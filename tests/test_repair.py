"""Repair heals what can be healed, says what can't, and loses nothing more."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from homes import ask, call, file_of
from postgresql import reachable_folder

from miripool import Home, Pool, Ramp, Rate
from miripool.errors import FileMissing, IntegrityError, StorageError
from miripool.maintenance.repair import repair
from miripool.maintenance.verify import verify
from miripool.pool.core import core_of
from miripool.pool.ingest import find_files, ingest
from miripool.store.archive import Archive
from miripool.store.arrays.blob import Blob
from miripool.store.journal import Tag
from miripool.store.storage.local import LocalStorage

NAME = "jw01033005001_03103_00001_mirimage"


@pytest.fixture
def filled(pool: Pool, simulated: Path) -> Pool:
    files = find_files([str(simulated / folder) for folder in ("uncal", "v1", "v2")])
    assert all(outcome.error is None for outcome in ingest(pool, files))
    return pool


@pytest.fixture
def copy(filled: Pool, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled.path, tmp_path / "copy"))


def blob_of(pool: Pool, spec: str, dataset: str = "SCI") -> Blob:
    source = pool.ref(spec).product[dataset].source
    assert isinstance(source, Blob)
    return source


def flip(path: Path) -> bytes:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 8
    path.write_bytes(data)
    return bytes(data)


@pytest.mark.slow
def test_a_whole_pool_needs_nothing(filled: Pool, copy: Path) -> None:
    assert repair(filled, [copy]) == []
    assert call("repair", "jpl8").stderr.endswith("whole\n")


@pytest.mark.slow
@pytest.mark.parametrize("source", ["the FITS file", "a folder of FITS files", "a copy of the pool"])
def test_blobs_come_back(filled: Pool, simulated: Path, copy: Path, source: str) -> None:
    missing, damaged = blob_of(filled, f"Ramp/{NAME}"), blob_of(filled, f"RateInts/{NAME}@0")
    file_of(missing).unlink()
    bad = flip(file_of(damaged))
    sources = {
        "the FITS file": [simulated / "v1" / f"{NAME}_ramp.fits", simulated / "v1" / f"{NAME}_rateints.fits"],
        "a folder of FITS files": [simulated],
        "a copy of the pool": [copy],
    }[source]
    told = repair(filled, sources, dry_run=True)
    assert {step.where for step in told} == {missing.key, damaged.key}
    assert not file_of(missing).exists()
    assert file_of(damaged).read_bytes() == bad
    steps = repair(filled, sources)
    assert [(step.what, step.healed) for step in steps] == [("blob", True)] * 2
    assert all("restored from" in step.action for step in steps)
    assert verify(filled, level="full").findings == []
    aside = core_of(filled).archive.storage.files.path(f"quarantine/{file_of(damaged).name}")
    assert aside.read_bytes() == bad
    assert repair(filled) == []


@pytest.mark.slow
def test_blobs_that_nobody_has(filled: Pool, tmp_path: Path) -> None:
    missing, damaged = blob_of(filled, f"Ramp/{NAME}"), blob_of(filled, f"RateInts/{NAME}@0")
    file_of(missing).unlink()
    bad = flip(file_of(damaged))
    (tmp_path / "other.fits").write_bytes(b"no FITS file")
    steps = {step.where: step for step in repair(filled, [tmp_path / "other.fits"])}
    assert not any(step.healed for step in steps.values())
    assert "no source has it" in steps[missing.key].action
    assert steps[damaged.key].urns == (str(filled.ref(f"RateInts/{NAME}@0").urn),)
    assert core_of(filled).archive.storage.files.path(f"quarantine/{file_of(damaged).name}").read_bytes() == bad
    # What is missing is told wherever it is asked for, and comes back by itself with the data.
    with pytest.raises(IntegrityError, match="is missing"):
        filled.ref(f"RateInts/{NAME}@0").product["SCI"][0, 0, 0]


@pytest.mark.slow
def test_what_is_added_again_heals(filled: Pool, simulated: Path) -> None:
    file_of(blob_of(filled, f"RateInts/{NAME}@0")).unlink()
    assert not repair(filled)[0].healed
    call("add", "jpl8", simulated / "v1")
    assert verify(filled, level="full").is_whole


@pytest.mark.slow
def test_manifests_and_entries_come_from_a_copy(filled: Pool, copy: Path, simulated: Path) -> None:
    storage = core_of(filled).archive.storage
    (row,) = core_of(filled).catalog.rows([filled.ref(f"Rate/{NAME}").serial])
    manifest = storage.files.path(core_of(filled).archive.manifest_key(row.manifest))
    entry, other = (storage.files.path(core_of(filled).archive.journal.key(n)) for n in (1, 3))
    manifest.unlink()
    entry.unlink()
    other.write_bytes(other.read_bytes().replace(b"version", b"VERSION", 1))
    file_of(blob_of(filled, f"Raw/{NAME}")).unlink()
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


@pytest.mark.slow
def test_an_entry_that_nobody_has(filled: Pool, simulated: Path, home: Home) -> None:
    core_of(filled).archive.storage.files.path(core_of(filled).archive.journal.key(1)).unlink()
    with home.create("other") as other:
        assert all(outcome.error is None for outcome in ingest(other, find_files([str(simulated / "v1")])))
        steps = repair(filled, [other.path])
    assert (steps[0].what, steps[0].healed) == ("journal", False)
    assert "no source has it" in steps[0].action


@pytest.mark.slow
def test_the_index_is_made_anew(filled: Pool, home: Home) -> None:
    ask(home.database_url(), "SET search_path TO jpl8; DELETE FROM dataset; DELETE FROM raw_block")
    steps = repair(filled)
    assert {step.what for step in steps} == {"index", "pixels"}
    assert all(step.healed for step in steps)
    assert verify(filled, level="full").findings == []


@pytest.mark.slow
def test_on_the_command_line(filled: Pool, simulated: Path) -> None:
    blob = blob_of(filled, f"Ramp/{NAME}")
    file_of(blob).unlink()
    failed = call("repair", "jpl8")
    assert failed.exit_code == IntegrityError.exit_code
    assert "0 problems repaired, 1 not" in failed.stderr
    told = call("repair", "jpl8", "--from", simulated / "v2", "--dry-run")
    assert "1 problem would be repaired, 0 not" in told.stderr
    assert not file_of(blob).exists()
    (step,) = json.loads(call("repair", "jpl8", "--from", simulated / "v2", "--json").stdout)
    assert (step["where"], step["healed"]) == (blob.key, True)
    with pytest.raises(FileMissing, match="there is no"):
        call("repair", "jpl8", "--from", simulated / "none")


@pytest.mark.slow
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
                assert finding.problem.startswith("2 files, 6000 bytes, are left of tables")
                (step,) = repair(pool)
                assert (step.what, step.healed) == ("note", True)
                assert step.action.startswith("left alone: 2 files")
        finally:
            home.server.remove()


def saved(pool: Pool, name: str, value: int = 1) -> None:
    pool.save(Rate({}, {"SCI": np.full((40, 50), value, "f4")}, name=name))


def cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-20] + b"x" * 20)


@pytest.mark.slow
def test_a_copy_that_went_another_way_since_takes_nothing_away(pool: Pool, tmp_path: Path) -> None:
    saved(pool, "a")
    root = pool.path
    fork = Path(shutil.copytree(root, tmp_path / "fork"))
    for name in ("real1", "real2", "real3"):
        saved(pool, name)
    whole = Path(shutil.copytree(root, tmp_path / "whole"))
    pool.close()
    # The fork has other entries of the same numbers.
    other = Archive.open(LocalStorage(fork))
    *_, last = other.journal.since(-1, None)
    for label in ("x", "y"):
        last = other.journal.next_entry(last, [Tag(label, (0,))])
        assert other.journal.write(last)
    before = {path.name: path.read_bytes() for path in (root / "journal").iterdir()}
    cut(root / "journal" / "000000000001.json")
    (step,) = [step for step in repair(pool, [fork]) if step.what == "journal"]
    assert (step.healed, step.where) == (False, "journal/000000000001.json")
    assert all((root / "journal" / name).read_bytes() == data for name, data in before.items() if "01.json" not in name)
    (step,) = [step for step in repair(pool, [fork, whole]) if step.what == "journal"]
    assert step.healed
    assert {path.name: path.read_bytes() for path in (root / "journal").iterdir()} == before
    assert (root / "quarantine" / "000000000001.json").exists()
    assert verify(pool, level="full").findings == []


@pytest.mark.slow
@pytest.mark.parametrize("harm", ["gone", "empty"])
def test_the_newest_entry_is_lost(pool: Pool, tmp_path: Path, harm: str) -> None:
    for name in ("a", "b", "c"):
        saved(pool, name)
    core_of(pool).catch_up()
    root = pool.path
    copy = Path(shutil.copytree(root, tmp_path / "copy"))
    path = root / "journal" / "000000000002.json"
    path.unlink() if harm == "gone" else path.write_bytes(b"")
    pool.close()
    report = verify(pool)
    assert not report.is_whole
    assert not any(step.healed for step in repair(pool) if step.what == "journal")
    (step,) = [step for step in repair(pool, [copy]) if step.what == "journal"]
    assert step.healed
    assert [ref.name for ref in pool.select()] == ["a", "b", "c"]
    assert verify(pool).findings == []


@pytest.mark.slow
def test_a_manifest_is_made_again_from_its_file(filled: Pool, simulated: Path) -> None:
    ref = filled.ref(f"Ramp/{NAME}@0")
    (row,) = core_of(filled).catalog.rows([ref.serial])
    path = core_of(filled).archive.storage.files.path(core_of(filled).archive.manifest_key(row.manifest))
    data = path.read_bytes()
    path.unlink()
    findings = verify(filled).findings
    assert "manifest" in {finding.what for finding in findings}
    assert not any("belong to no version" in finding.problem for finding in findings)  # nobody can tell
    (step,) = [step for step in repair(filled, [simulated]) if step.what == "manifest"]
    assert (step.healed, step.urns) == (True, (ref.urn,))
    assert path.read_bytes() == data
    assert verify(filled, level="full").findings == []


def test_what_is_not_known_to_be_damaged_stays(pool: Pool) -> None:
    saved(pool, "new")
    blob = blob_of(pool, "Rate/new")
    with h5py.File(file_of(blob), "a") as file:
        file["data"].attrs["miripool_blob"] = 99
    data = file_of(blob).read_bytes()
    (step,) = [step for step in repair(pool) if step.what == "blob"]
    assert (step.healed, "left alone" in step.action) == (False, True)
    assert file_of(blob).read_bytes() == data


@pytest.mark.slow
def test_something_else_in_the_place_of_a_blob(pool: Pool, tmp_path: Path) -> None:
    saved(pool, "a")
    blob = blob_of(pool, "Rate/a")
    copy = Path(shutil.copytree(pool.path, tmp_path / "copy"))
    for make in (Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/nonexistent/x")):
        file_of(blob).unlink()
        make(file_of(blob))
        with pytest.raises(StorageError, match="its name is taken by something that is not a plain file"):
            saved(pool, "b")
        assert not verify(pool, level="quick").is_whole
        (step,) = [step for step in repair(pool, [copy]) if step.what == "blob"]
        assert step.healed
        # The save that was refused may have left its manifest, which gc deletes.
        assert {finding.where for finding in verify(pool, level="full").findings} <= {"blobs and manifests"}


@pytest.mark.slow
def test_a_file_that_tells_two_things_is_made_anew_from_itself(pool: Pool) -> None:
    saved(pool, "a")
    blob = blob_of(pool, "Rate/a")
    sci = blob[...]
    data = bytearray(file_of(blob).read_bytes())
    data[-40] ^= 1  # in the list behind HDF5's end: HDF5 reads the array all the same
    file_of(blob).write_bytes(data)
    assert np.array_equal(blob[...], sci)
    assert verify(pool).is_whole
    (finding,) = verify(pool, level="full").findings
    assert "`miripool repair` mends the file" in finding.problem
    (step,) = repair(pool)
    assert step.healed
    assert verify(pool, level="full").findings == []
    assert np.array_equal(blob_of(pool, "Rate/a")[...], sci)


@pytest.mark.slow
@pytest.mark.parametrize("harm", ["damaged", "missing"])
def test_what_is_sound_and_lacks_another_blob_stays(pool: Pool, tmp_path: Path, harm: str) -> None:
    rng = np.random.default_rng(0)
    array = rng.normal(1e4, 5, (1, 12, 256, 264)).astype("f4")
    refs = [pool.save(Ramp({"DETECTOR": "MIRIMAGE"}, {"SCI": array}, name="r"), pixels=False)]
    for i in range(3):
        array[0, 0, 200, 200] += 1 + i
        refs.append(pool.save(Ramp({"DETECTOR": "MIRIMAGE"}, {"SCI": array}, name="r"), pixels=False))
    refs[0].to_fits(tmp_path / "r.fits")
    blobs = [blob_of(pool, f"Ramp/r@{i}") for i in range(4)]
    assert all(blob.owners() for blob in blobs[1:])
    if harm == "missing":
        file_of(blobs[0]).unlink()
    else:
        flip(file_of(blobs[0]))
    steps = {step.where: step for step in repair(pool)}
    assert set(steps) == {blob.key for blob in blobs}
    assert not any(step.healed for step in steps.values())
    assert "no source has it" in steps[blobs[0].key].action
    for blob in blobs[1:]:
        assert steps[blob.key].action == f"left as it is: it is sound, but needs {blobs[0].ref.digest}"
        assert file_of(blob).exists()
    steps = {step.where: step for step in repair(pool, [tmp_path / "r.fits"])}
    assert all(step.healed for step in steps.values())
    assert verify(pool, level="full").findings == []
    assert np.array_equal(pool.ref("Ramp/r@3").product["SCI"][...], array)
    file_of(blobs[3]).write_bytes(file_of(blobs[3]).read_bytes()[:-1])
    assert "set aside" in {step.where: step for step in repair(pool)}[blobs[3].key].action
