"""Archive: a pool's folder as the truth; nothing in it refers to what is not there."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from disks import tiny_disk
from manifests import make_header
from numpy.typing import NDArray
from systemcalls import Calls, needs_proc

from miripool.errors import DiskFull, FormatError, IntegrityError, NewerFormat, NotFound, StorageError
from miripool.model.canonical import digest_bytes
from miripool.model.dataset import Scale
from miripool.model.kinds import Ramp
from miripool.model.product import Hdu, Layout, Origin
from miripool.store.archive import Archive
from miripool.store.arrays.digest import array_digest
from miripool.store.manifest import Manifest
from miripool.store.measured import Measured
from miripool.store.poolinfo import FORMAT, PoolInfo
from miripool.store.storage.local import LocalStorage


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "jpl8")


@pytest.fixture
def archive(storage: LocalStorage) -> Archive:
    return Archive.create(storage)


class Counted:
    """An array on a disk that counts how often it is read."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array
        self.shape, self.dtype = array.shape, array.dtype
        self.elements = 0

    def __getitem__(self, key: Any) -> Any:
        part = np.array(self._array[key])
        self.elements += part.size
        return part


SCI = np.random.default_rng(3).normal(100, 5, (2, 4, 64, 72)).astype(np.float32)
DQ = np.zeros((2, 4, 64, 72), np.uint8)
DQ[0, 1, :2] = 4
ROWS = np.array([(1.5, b"abc"), (2.5, b"d")], [("t", "f8"), ("s", "S3")])


def make_layout(sci: Any = SCI) -> Layout:
    table = make_header(
        [
            ("NAXIS1", 11),
            ("NAXIS2", 2),
            ("TFIELDS", 2),
            ("TTYPE1", "t"),
            ("TFORM1", "D"),
            ("TTYPE2", "s"),
            ("TFORM2", "3A"),
        ]
    )
    hdus = (
        Hdu(make_header({"TELESCOP": "JWST"}), "PRIMARY"),
        Hdu(make_header({"BUNIT": "DN"}), "SCI", "image", sci, unit="DN", scale=Scale(2.0, 1.0)),
        Hdu(make_header({}), "GROUPDQ", "image", DQ),
        Hdu(table, "TAB", "table", ROWS, heap=np.arange(5, dtype=np.uint8), tail=np.ones(3, np.uint8)),
        Hdu(make_header({}), "ODD", "opaque", None, raw=np.arange(2880, dtype=np.int64).astype(np.uint8)),
    )
    return Layout(hdus, np.zeros(17, np.uint8), Origin("a_ramp.fits", 28800, "e" * 32))


def manifest_of(measured: Measured, name: str = "a") -> Manifest:
    return Manifest("Ramp", name, tuple(measured.hdus), measured.trailer, Origin("a_ramp.fits", 28800, "e" * 32))


def files(archive: Archive, folder: str) -> set[str]:
    return {p.name for p in archive.storage.files.path(folder).rglob("*") if p.is_file()}


# pool.json


def test_create_and_open(storage: LocalStorage) -> None:
    made = Archive.create(storage, first_serial=17)
    found = Archive.open(storage)
    assert found.info == made.info
    assert found.info.first_serial == 17
    assert found.info.former_names == ()
    assert found.info.created.tzinfo is not None
    assert (datetime.now(UTC) - found.info.created).total_seconds() < 60
    record = json.loads(storage.read("pool.json"))
    assert record["format"] == 4
    assert record["digest"] == "xxh3_128"


def test_ids_are_unique_and_the_first_creator_wins(storage: LocalStorage, tmp_path: Path) -> None:
    first = Archive.create(storage)
    assert Archive.create(storage, first_serial=9).info == first.info
    assert Archive.create(LocalStorage(tmp_path / "other")).info.id != first.info.id


def test_no_pool(storage: LocalStorage) -> None:
    with pytest.raises(NotFound, match=r"pool\.json is not there"):
        Archive.open(storage)
    assert not storage.root.exists()


INFO = PoolInfo("7bfa3a5e-3d3f-4b56-8f0c-1f0dc1c6cc4f", datetime(2026, 1, 2, tzinfo=UTC), 3, ("old", "older"))


def test_description_has_a_round_trip() -> None:
    assert PoolInfo.from_bytes(INFO.to_bytes(), "x") == INFO


def test_newer_pool(storage: LocalStorage) -> None:
    record = json.loads(INFO.to_bytes()) | {"format": FORMAT + 1, "id": None}
    storage.put("pool.json", json.dumps(record).encode())
    with pytest.raises(NewerFormat, match=r"pool\.json has format 5, but this miripool reads up to 4; update miripool"):
        Archive.open(storage)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"7", b"\xff\xfe\xfd", b"{}", b"[" * 100_000])
def test_garbage_is_no_pool(storage: LocalStorage, data: bytes) -> None:
    storage.put("pool.json", data)
    with pytest.raises(FormatError, match=r"pool\.json is not a pool's description"):
        Archive.open(storage)


@pytest.mark.parametrize(
    "change",
    [
        {"format": None},
        {"format": "1"},
        {"id": None},
        {"id": 5},
        {"id": "no uuid"},
        {"created": 5},
        {"created": "2026-01-02T00:00:00"},
        {"first_serial": -1},
        {"first_serial": "3"},
        {"first_serial": 1.5},
        {"first_serial": True},
        {"former_names": "old"},
        {"former_names": [1]},
        {"former_names": None},
    ],
)
def test_hostile_descriptions_are_refused(change: dict[str, Any]) -> None:
    data = json.dumps(json.loads(INFO.to_bytes()) | change).encode()
    with pytest.raises(FormatError, match="the-pool is not a pool's description"):
        PoolInfo.from_bytes(data, "the-pool")


def test_names_are_remembered_in_order_and_once(archive: Archive) -> None:
    for name in ("first", "second", "first"):
        archive.remember_name(name)
    assert archive.info.former_names == ("second", "first")
    assert Archive.open(archive.storage).info == archive.info
    assert {p.name for p in archive.storage.files.path("x").parent.iterdir()} == {"pool.json"}


def test_names_that_another_process_remembered_are_kept(archive: Archive) -> None:
    other = Archive.open(archive.storage)
    other.remember_name("theirs")
    archive.remember_name("mine")
    assert archive.info.former_names == ("theirs", "mine")
    assert Archive.open(archive.storage).info.id == other.info.id


def test_a_name_that_can_not_be_remembered_leaves_the_pool_as_it_is(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    before = archive.info
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError):
        archive.remember_name("lost")
    assert archive.info == before
    assert Archive.open(archive.storage).info == before
    assert {p.name for p in archive.storage.files.path("x").parent.iterdir()} == {"pool.json"}


# Measuring


def test_measuring_names_everything_and_writes_nothing(archive: Archive) -> None:
    layout = make_layout()
    measured = archive.measure(layout)
    assert [h.name for h in measured.hdus] == [h.name for h in layout.hdus]
    sci, flags, table, odd = measured.hdus[1:]
    assert sci.statistics is not None
    assert sci.statistics.mean == pytest.approx(1 + 2 * SCI.mean(dtype=float), rel=1e-6)
    assert sci.statistics.n_flagged is None
    assert flags.statistics is not None
    assert flags.statistics.n_flagged == np.count_nonzero(DQ)
    assert table.statistics is None
    assert odd.data is None
    for number, part, array in (
        (1, "data", SCI),
        (2, "data", DQ),
        (3, "data", ROWS),
        (3, "heap", layout.hdus[3].heap),
        (3, "tail", layout.hdus[3].tail),
        (4, "raw", layout.hdus[4].raw),
        (-1, "trailer", layout.trailer),
    ):
        assert array is not None
        digest = measured.digest_of(number, part)
        assert digest == array_digest(array)
        ref, source = measured.sources[digest]
        assert ref.digest == digest
        assert np.asarray(source[...]).tobytes() == np.asarray(array[...]).tobytes()
    assert len(measured.sources) == 7
    with pytest.raises(LookupError, match="HDU 0 has no data"):
        measured.digest_of(0, "data")
    assert {p.name for p in archive.storage.files.path("x").parent.iterdir()} == {"pool.json"}


def test_equal_arrays_are_measured_to_one_source(archive: Archive) -> None:
    hdu = Hdu(make_header({}), "SCI", "image", SCI)
    measured = archive.measure(Layout((hdu, replace(hdu, name="SCI,2"))))
    assert len(measured.sources) == 1


def test_arrays_are_read_once_to_measure_and_once_to_write(archive: Archive) -> None:
    arrays = [np.full((10, 100), i, np.float32) for i in range(4)]
    sources = [Counted(a) for a in arrays]
    measured = archive.measure(Layout(tuple(Hdu(make_header({}), f"S{i}", "image", s) for i, s in enumerate(sources))))
    assert [s.elements for s in sources] == [1000] * 4
    archive.write(manifest_of(measured), measured.sources)
    assert [s.elements for s in sources] == [2000] * 4
    for array in arrays:
        assert np.array_equal(archive.blobs.open(measured.sources[array_digest(array)][0])[...], array)


# Writing


def test_a_note_stands_while_something_is_written(archive: Archive) -> None:
    measured = archive.measure(make_layout())
    manifest = manifest_of(measured)
    with archive.writing(manifest) as digest:
        assert digest == digest_bytes(manifest.to_bytes())
        (key,) = archive.storage.keys("pending")
        note = json.loads(archive.storage.read(key))
        blobs = {archive.blobs.key(digest) for digest in measured.sources}
        assert note["keys"] == sorted(blobs | {archive.manifest_key(digest)})
        assert note["pid"] == os.getpid()
        assert datetime.fromisoformat(note["time"]).tzinfo is not None
        archive.write(manifest, measured.sources)
        assert list(archive.storage.keys("pending")) == [key]
    assert list(archive.storage.keys("pending")) == []


def test_the_note_goes_after_an_error_too(archive: Archive) -> None:
    manifest = manifest_of(archive.measure(make_layout()))
    with pytest.raises(KeyboardInterrupt), archive.writing(manifest):
        raise KeyboardInterrupt
    assert list(archive.storage.keys("pending")) == []


def test_a_note_that_stays_is_no_error_of_the_save(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(key: str) -> bool:
        raise StorageError("the disk is gone")

    manifest = manifest_of(archive.measure(make_layout()))
    monkeypatch.setattr(archive.storage, "delete", fail)
    with archive.writing(manifest):
        pass
    assert len(list(archive.storage.keys("pending"))) == 1


def test_notes_of_many_writers_stand_side_by_side(archive: Archive) -> None:
    manifest = manifest_of(archive.measure(make_layout()))
    with archive.writing(manifest), archive.writing(manifest):
        assert len(list(archive.storage.keys("pending"))) == 2


def test_writing_is_idempotent(archive: Archive) -> None:
    measured = archive.measure(make_layout())
    manifest = manifest_of(measured)
    added = archive.write(manifest, measured.sources)
    stored = [
        p for folder in ("blobs", "manifests") for p in archive.storage.files.path(folder).rglob("*") if p.is_file()
    ]
    assert added == sum(p.stat().st_size for p in stored)
    assert files(archive, "blobs") == {f"{digest}.h5" for digest in measured.sources}
    assert files(archive, "manifests") == {f"{digest_bytes(manifest.to_bytes())}.json"}
    before = {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in stored}
    assert archive.write(manifest, measured.sources) == 0
    assert before == {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in stored}
    other = replace(manifest, name="b")
    assert archive.write(other, measured.sources) == len(other.to_bytes())


@needs_proc
def test_blobs_and_manifest_are_on_disk_when_they_are_written(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = archive.measure(make_layout())
    manifest = manifest_of(measured)
    calls = Calls(monkeypatch)
    with archive.writing(manifest):
        assert [kind for kind, name in calls.made if name.endswith(".json")] == ["replace"]  # the note
        assert ("fsync", "temporary") not in calls.made
        calls.made.clear()
        archive.write(manifest, measured.sources)
        made = list(calls.made)
    keys = files(archive, "blobs") | files(archive, "manifests")
    assert sorted(name for kind, name in made if kind == "link") == sorted(keys)
    for name in keys:
        content = archive.storage.read(f"{'blobs' if name.endswith('.h5') else 'manifests'}/{name[:2]}/{name}")
        assert calls.content_at_naming[name] == content
    folders = {*(name[:2] for name in keys), "blobs", "manifests", archive.storage.root.name}
    last_name = max(i for i, (kind, _) in enumerate(made) if kind == "link")
    assert sorted(name for _, name in made[last_name + 1 :]) == sorted(folders)  # each once
    assert {kind for kind, _ in made[last_name + 1 :]} == {"fsync"}


def test_a_full_disk_leaves_no_manifest() -> None:
    with tiny_disk(96) as folder:
        archive = Archive.create(LocalStorage(folder))
        measured = archive.measure(make_layout())
        manifest = manifest_of(measured)
        with pytest.raises(DiskFull), archive.writing(manifest):
            archive.write(manifest, measured.sources)
        assert list(archive.storage.keys("pending")) == []
        assert list(archive.storage.keys("manifests")) == []
        assert not list(folder.rglob(".tmp-*"))
        assert Archive.open(archive.storage).info == archive.info


# Reading


@pytest.fixture
def saved(archive: Archive) -> tuple[Archive, str]:
    measured = archive.measure(make_layout())
    manifest = manifest_of(measured)
    archive.write(manifest, measured.sources)
    return Archive.open(archive.storage), digest_bytes(manifest.to_bytes())


def test_a_product_comes_back(saved: tuple[Archive, str]) -> None:
    archive, digest = saved
    product = archive.product(archive.manifest(digest))
    assert type(product) is Ramp
    assert product.name == "a"
    assert list(product) == ["SCI", "GROUPDQ", "TAB"]
    assert product.meta["TELESCOP"].value == "JWST"
    assert product["SCI"].unit == "DN"
    assert np.array_equal(product["SCI"][...], SCI * 2 + 1)
    assert np.array_equal(product.groupdq[...], DQ)
    assert product["TAB"]["s"].tolist() == ["abc", "d"]
    assert product.layout is not None
    for found, wanted in zip(product.layout.hdus, make_layout().hdus, strict=True):
        assert (found.header, found.name, found.encoding, found.scale) == (
            wanted.header,
            wanted.name,
            wanted.encoding,
            wanted.scale,
        )
        for part in ("data", "heap", "raw", "tail"):
            a, b = getattr(found, part), getattr(wanted, part)
            assert (a is None) == (b is None)
            assert a is None or a[...].tobytes() == b[...].tobytes()
    assert product.layout.trailer is not None
    assert product.layout.trailer[...].tolist() == [0] * 17
    assert product.layout.origin == make_layout().origin


def test_a_product_opens_no_blob_before_it_is_touched(saved: tuple[Archive, str]) -> None:
    archive, digest = saved
    for path in archive.storage.files.path("blobs").rglob("*.h5"):
        path.unlink()
    product = archive.product(archive.manifest(digest))
    assert product["SCI"].shape == SCI.shape
    assert product["SCI"].max() == pytest.approx(1 + 2 * float(SCI.max()))
    assert product["GROUPDQ"].statistics.n_flagged == np.count_nonzero(DQ)
    assert repr(product).startswith("<Ramp a: SCI (2, 4, 64, 72)")
    with pytest.raises(IntegrityError, match="is missing; restore it"):
        product["SCI"][0, 0, 0, 0]


def test_a_manifest_is_read_once(saved: tuple[Archive, str]) -> None:
    archive, digest = saved
    first = archive.manifest(digest)
    archive.storage.delete(Archive.manifest_key(digest))
    assert archive.manifest(digest) is first
    with pytest.raises(IntegrityError, match=rf"manifest .*{digest}\.json is missing; restore it"):
        Archive.open(archive.storage).manifest(digest)


def test_a_damaged_manifest_is_found(saved: tuple[Archive, str]) -> None:
    archive, digest = saved
    path = archive.storage.files.path(Archive.manifest_key(digest))
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=f"manifest {digest} is damaged"):
        archive.manifest(digest)
