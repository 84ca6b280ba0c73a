"""Bundles: the small arrays of a product share a file; each comes out as it went in, and damage is found and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - registers the filter
import numpy as np
import pytest
from arrays import any_array
from homes import file_of
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_blobs import use_hdf5_filter

from miripool import Home, Pool, Product, Ramp
from miripool.errors import IntegrityError, NewerFormat
from miripool.exchange.copy import PoolShelf, receive
from miripool.exchange.pack import Pack, pack
from miripool.maintenance.gc import collect
from miripool.maintenance.repair import repair
from miripool.maintenance.verify import verify
from miripool.model.dataset import Dataset
from miripool.pool.core import core_of
from miripool.store.arrays import bundlefile
from miripool.store.arrays.blobs import BlobStore
from miripool.store.arrays.bundle import BundledArray, bundle_of
from miripool.store.arrays.bundlefile import _list_bytes, bundle_bytes, read_bundle_list
from miripool.store.arrays.digest import array_digest
from miripool.store.arrays.openfile import open_file
from miripool.store.manifest import BlobRef, Manifest
from miripool.store.storage.contract import Storage
from miripool.store.storage.local import LocalStorage
from miripool.store.storage.memory import MemoryStorage

EXAMPLES = settings(deadline=None, max_examples=40)

CARDS = {"DETECTOR": "MIRIMAGE"}

LOG = np.array([(np.resize(np.arange(200, dtype="u1"), 5000),)], [("ASDF_METADATA", "u1", (5000,))])
TIMES = np.array([(1, "one", 2.5), (2, "two", np.nan)], [("a", "i4"), ("b", "S8"), ("c", "f8")])
FLAGS = np.arange(2048, dtype="u4").reshape(32, 64) % 5


def bundled(arrays: list[NDArray[Any]]) -> list[tuple[BlobRef, NDArray[Any]]]:
    """Give a bundle's references."""
    refs = {array_digest(a): BlobRef(array_digest(a), a.dtype, a.shape) for a in arrays}
    found = bundle_of(refs.values())
    assert found is not None
    assert found[1] == set(refs)
    values = {array_digest(a): a for a in arrays}
    return [(BlobRef(d, ref.dtype, ref.shape, found[0]), values[d]) for d, ref in refs.items()]


def stored(storage: Storage, arrays: list[NDArray[Any]]) -> list[tuple[BundledArray, NDArray[Any]]]:
    """Write a bundle; give its arrays as they are read, and as they were."""
    store = BlobStore(storage)
    members = bundled(arrays)
    store.write_bundle(members)
    opened = [(store.open(ref), array) for ref, array in members]
    assert all(isinstance(blob, BundledArray) for blob, _ in opened)
    return opened  # type: ignore[return-value]


def read(blob: BundledArray) -> NDArray[Any] | str:
    """Give the array, or what is said of its damage."""
    try:
        return np.asarray(blob[...])
    except IntegrityError as error:
        return str(error)


def is_right(found: NDArray[Any] | str, array: NDArray[Any], said: str) -> bool:
    """Tell whether an array was read as it was, or an error said something."""
    return said in found if isinstance(found, str) else same(found, array)


def same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


small = any_array().filter(lambda array: array.nbytes <= 8000)
several = st.lists(small, min_size=2, max_size=6, unique_by=array_digest)


@EXAMPLES
@given(several, st.booleans())
def test_round_trip(arrays: list[NDArray[Any]], repeated: bool) -> None:
    if repeated:  # so that it pays to code them
        arrays = [np.stack([a] * max(1, 20_000 // max(500, a.nbytes))) for a in arrays]
    storage = MemoryStorage()
    for blob, array in stored(storage, arrays):
        assert same(blob[...], array)
        into = np.empty_like(array)
        blob.read_into(into)
        assert same(into, array)
        assert blob.looks_whole()
        assert blob.is_sound()
        assert blob.is_consistent()
        with pytest.MonkeyPatch.context() as patch:
            use_hdf5_filter(patch)
            assert same(blob[...], array)


@EXAMPLES
@given(several)
def test_any_hdf5_tool_reads_it(arrays: list[NDArray[Any]]) -> None:
    members = bundled(arrays)
    data = bundle_bytes(members[0][0].blob, {ref.digest: array for ref, array in members})
    with h5py.File.in_memory(data) as file:
        assert sorted(file) == sorted(ref.digest for ref, _ in members)
        for ref, array in members:
            assert same(np.asarray(file[ref.digest][()], array.dtype).reshape(array.shape), array)


def test_numbers_are_stored_little_endian_however_they_come() -> None:
    big = np.arange(300, dtype=">f4")
    ((one, _), (two, _)) = stored(MemoryStorage(), [big.astype("=f4"), np.arange(300, dtype="i2")])
    assert np.array_equal(one[10:20], big[10:20])
    assert two[299] == 299


@pytest.mark.parametrize(
    ("array", "code"),
    [
        (np.arange(60, dtype="f4")[::-1].reshape(6, 10), bundlefile._RAW),
        (np.resize(np.arange(50, dtype="u1"), (40, 100)), bundlefile._DEFLATED),
        (np.arange(3000, dtype="f4")[::-1].reshape(60, 50), bundlefile._BITSHUFFLED),
    ],
    ids=["raw", "deflated", "bitshuffled"],
)
def test_arrays_are_copies_that_can_be_written_to(array: NDArray[Any], code: int) -> None:
    storage = MemoryStorage()
    ((blob, _), _) = stored(storage, [array, TIMES])
    with open_file(storage, blob.key) as file:
        told = read_bundle_list(file)
    assert told is not None
    assert told.entries[blob.ref.digest].code == code
    assert np.median(blob[...]) == np.median(array)
    assert np.percentile(blob[...], 30) == np.percentile(array, 30)
    assert Dataset("SCI", blob).median() == np.median(array)
    found = blob[...]
    assert found.flags.writeable
    found[...] = 0
    assert same(blob[...], array)


def test_the_same_arrays_give_the_same_file() -> None:
    arrays = [LOG, TIMES, FLAGS, np.zeros((0, 3), "f4")]
    members = bundled(arrays)
    assert {ref.blob for ref, _ in bundled(arrays[::-1])} == {members[0][0].blob}
    given = {ref.digest: array for ref, array in members}
    one = bundle_bytes(members[0][0].blob, given)
    assert bundle_bytes(members[0][0].blob, dict(reversed(given.items()))) == one
    with h5py.File.in_memory(one) as file:
        assert file.attrs["miripool_blob"] == 5
        assert file[members[0][0].digest].compression == "gzip"
        assert file[members[1][0].digest].chunks is None


def test_threads_make_the_same_bundle_at_once() -> None:
    members = bundled([LOG, TIMES, FLAGS])
    given = {ref.digest: array for ref, array in members}
    with ThreadPoolExecutor(8) as executor:
        made = executor.map(lambda _: bundle_bytes(members[0][0].blob, given), range(100))
        assert len(set(made)) == 1


def test_who_is_in_a_bundle() -> None:
    def ref(number: int, dtype: Any, *shape: int) -> BlobRef:
        return BlobRef(f"{number:032x}", np.dtype(dtype), shape)

    small = [ref(1, "f4", 8191), ref(2, [("a", "S64")], 1024), ref(3, "u1", 32767)]
    large = [ref(4, "f4", 8192), ref(5, [("a", "S64")], 1025), ref(6, "u1", 32768)]
    found = bundle_of([*small, *large])
    assert found is not None
    assert found[1] == {r.digest for r in small}
    assert bundle_of([small[0], small[0], *large]) is None


@EXAMPLES
@given(st.data())
def test_a_flipped_bit_is_found(data: st.DataObject) -> None:
    storage = MemoryStorage()
    opened = stored(storage, [LOG, TIMES, FLAGS, np.arange(20, dtype="f4")])
    key = opened[0][0].key
    whole = storage.read(key)
    place = data.draw(st.integers(0, len(whole) - 1))
    bad = bytearray(whole)
    bad[place] ^= 1 << data.draw(st.integers(0, 7))
    storage.replace(key, bytes(bad))
    assert not any(blob.is_sound() for blob, _ in opened)
    for blob, array in opened:
        for use_library in (False, True):
            with pytest.MonkeyPatch.context() as patch:
                if use_library:
                    use_hdf5_filter(patch)
                assert is_right(read(blob), array, blob.ref.digest)
    assert BlobStore(storage).write_bundle([(blob.ref, array) for blob, array in opened]) == len(whole)
    assert storage.read(key) == whole


@pytest.mark.parametrize("part", ["data", "list", "HDF5's head"])
def test_the_rest_of_a_damaged_file_is_read(part: str) -> None:
    storage = MemoryStorage()
    opened = stored(storage, [LOG, TIMES, FLAGS])
    key = opened[0][0].key
    bad = bytearray(storage.read(key))
    with open_file(storage, key) as file:
        told = read_bundle_list(file)
    assert told is not None
    hit, _ = opened[0]
    place = {"data": told.entries[hit.ref.digest].offset + 30, "list": len(bad) - 60, "HDF5's head": 3}[part]
    bad[place] ^= 16
    storage.replace(key, bytes(bad))
    for blob, array in opened:
        if blob is hit and part == "data":
            with pytest.raises(IntegrityError, match=f"{key}/{hit.ref.digest} is damaged: it "):
                blob.check()
        else:
            assert same(blob[...], array)
            blob.check()
        assert not blob.is_sound()
        assert not blob.is_sound_itself()


@pytest.mark.parametrize("length", [0, 1, 47, 500, -1, -8, -57, -200])
def test_a_file_that_was_cut_off(length: int) -> None:
    storage = MemoryStorage()
    opened = stored(storage, [LOG, TIMES, FLAGS])
    storage.replace(opened[0][0].key, storage.read(opened[0][0].key)[:length])
    for blob, array in opened:
        assert not blob.looks_whole()
        assert not blob.is_sound()
        assert is_right(read(blob), array, "restore it from a copy")


@pytest.mark.parametrize("other", ["another bundle", "a blob", "an HDF5 file", "nothing"])
def test_a_file_that_was_replaced(other: str, tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    opened = stored(storage, [LOG, TIMES, FLAGS])
    key = opened[0][0].key
    if other == "another bundle":
        ((another, _), _) = stored(storage, [TIMES, FLAGS])
        storage.replace(key, storage.read(another.key))
    elif other == "a blob":
        store = BlobStore(storage)
        ref, _ = store.measure(FLAGS)
        store.write(ref, FLAGS)
        storage.replace(key, storage.read(store.key(ref.digest)))
    elif other == "an HDF5 file":
        path = tmp_path / "made.h5"
        with h5py.File(path, "w") as file:
            for blob, _ in opened:
                file.attrs["miripool_blob"] = 5
                file[blob.ref.digest] = h5py.ExternalLink("/dev/null", "/data")
        storage.replace(key, path.read_bytes())
    else:
        storage.delete(key)
    for blob, array in opened:
        assert not blob.is_sound()
        assert not blob.looks_whole()
        found = read(blob)
        assert is_right(found, array, key)
        assert isinstance(found, str) or other == "another bundle"


@pytest.mark.parametrize("how", ["virtual", "external", "another shape", "no element written", "other values"])
def test_what_hdf5_is_told_is_looked_at(how: str, tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    ((blob, array), *_) = stored(storage, [FLAGS, TIMES])
    name = blob.ref.digest
    path = tmp_path / "made.h5"
    with h5py.File(path, "w") as file:
        file.attrs["miripool_blob"] = 5
        if how == "virtual":
            layout = h5py.VirtualLayout(array.shape, array.dtype)
            layout[...] = h5py.VirtualSource("elsewhere.h5", "data", array.shape)
            file.create_virtual_dataset(name, layout)
        elif how == "external":
            file.create_dataset(name, array.shape, array.dtype, external=[("elsewhere", 0, h5py.h5f.UNLIMITED)])
        elif how == "another shape":
            file[name] = array.reshape(-1)
        elif how == "no element written":
            file.create_dataset(name, array.shape, array.dtype, chunks=True)
        else:
            file[name] = array + 1
    storage.replace(blob.key, path.read_bytes())
    with pytest.raises(IntegrityError, match="is damaged"):
        blob[...]


def test_a_newer_form(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    ((blob, _), *_) = stored(storage, [FLAGS, TIMES])
    with h5py.File(file_of(blob), "r+") as file:
        file.attrs["miripool_blob"] = 6
    with pytest.raises(NewerFormat, match="newer miripool; update"):
        blob[...]


def test_where_hdf5_finds_an_array_is_compared() -> None:
    """Two arrays of the same bytes: each is read whole where the list has the other."""
    storage = MemoryStorage()
    opened = stored(storage, [FLAGS, FLAGS.reshape(64, 32)])
    (one, _), (two, _) = opened
    data = storage.read(one.key)
    with open_file(storage, one.key) as file:
        told = read_bundle_list(file)
    assert told is not None
    swapped = dict(zip(told.entries, reversed(told.entries.values()), strict=True))
    storage.replace(one.key, data[: told.file_bytes] + _list_bytes(told.name, told.file_digest, swapped))
    assert same(one[...], FLAGS)
    assert same(two[...], FLAGS.reshape(64, 32))
    assert not one.is_consistent()


# In manifests.


def manifest_of(pool: Pool, spec: str) -> tuple[Manifest, bytes]:
    core = core_of(pool)
    (row,) = core.catalog.rows([pool.ref(spec).serial])
    key = core.archive.manifest_key(row.manifest)
    data = core.archive.storage.read(key)
    return Manifest.from_bytes(data), data


def blobs_of(pool: Pool) -> set[str]:
    return set(core_of(pool).archive.storage.keys("blobs"))


def save(pool: Pool, name: str, **datasets: NDArray[Any]) -> Any:
    arrays: Mapping[str, NDArray[Any]] = {"TIMES": TIMES, "FLAGS": FLAGS, "LOG": LOG} | datasets
    return pool.save(Product(CARDS, dict(arrays), name=name))


def test_a_product_and_its_files(pool: Pool) -> None:
    large = np.random.default_rng(1).normal(size=(100, 100)).astype("f4")
    save(pool, "a", LARGE=large)
    assert len(blobs_of(pool)) == 2
    manifest, data = manifest_of(pool, "Product/a")
    assert manifest.to_bytes() == data
    assert b'"format":2' in data
    names = {hdu.name: hdu.data for hdu in manifest.hdus if hdu.data is not None}
    assert names["LARGE"].bundle is None
    assert len({names[name].bundle for name in ("TIMES", "FLAGS", "LOG")}) == 1
    for name, array in (("TIMES", TIMES), ("FLAGS", FLAGS), ("LOG", LOG), ("LARGE", large)):
        assert same(pool.ref("Product/a").product[name][...], array)


def test_one_small_array_has_a_blob_of_its_own(pool: Pool) -> None:
    pool.save(Ramp(CARDS, {"SCI": FLAGS.astype("f4")}, name="a"))
    manifest, data = manifest_of(pool, "Ramp/a")
    assert [ref.bundle for ref in manifest.blobs()] == [None]
    assert b'"format":1' in data


def test_products_share_a_bundle_and_one_is_collected(pool: Pool) -> None:
    save(pool, "a")
    (both,) = blobs_of(pool)
    save(pool, "b")
    assert blobs_of(pool) == {both}
    save(pool, "c", FLAGS=FLAGS + 1)
    assert len(blobs_of(pool)) == 2
    archive = core_of(pool).archive
    for name, left in (("a", 2), ("c", 1), ("b", 0)):
        pool.remove(f"Product/{name}@0")
        pool.purge(f"Product/{name}@0")
        collect(archive)
        assert len(blobs_of(pool)) == left
        assert (both in blobs_of(pool)) == (name != "b")
        assert verify(pool, level="full").findings == []


def test_an_older_pool_gets_its_new_number_with_the_first_bundle(pool: Pool) -> None:
    archive = core_of(pool).archive
    archive._change_info(lambda info: replace(info, format=3))
    pool.save(Ramp(CARDS, {"SCI": FLAGS.astype("f4")}, name="a"))
    assert archive.read_info().format == 3
    save(pool, "b")
    assert archive.read_info().format == 4


@pytest.mark.parametrize("told", [5, "", "x" * 32, "ab"])
def test_a_manifest_with_an_impossible_bundle(pool: Pool, told: Any) -> None:
    save(pool, "a")
    _, data = manifest_of(pool, "Product/a")
    record = json.loads(data)
    record["hdus"][-1]["data"]["bundle"] = told
    with pytest.raises(IntegrityError, match="can't be read"):
        Manifest.from_bytes(json.dumps(record).encode())


# Damage in a pool.


def bundle_file(pool: Pool, spec: str = "Product/a") -> Path:
    return file_of(pool.ref(spec).product["LOG"].source)


def spoil(pool: Pool, name: str, spec: str = "Product/a") -> BundledArray:
    """Flip a bit of an array."""
    blob: BundledArray = pool.ref(spec).product[name].source
    path = file_of(blob)
    data = bytearray(path.read_bytes())
    with open_file(core_of(pool).archive.storage, blob.key) as file:
        told = read_bundle_list(file)
    assert told is not None
    data[told.entries[blob.ref.digest].offset + 12] ^= 8
    path.write_bytes(data)
    return blob


@pytest.mark.parametrize("level", ["normal", "full"])
def test_verify_names_the_array(pool: Pool, level: Any) -> None:
    save(pool, "a")
    hit = spoil(pool, "FLAGS")
    (finding,) = verify(pool, level=level).findings
    assert (finding.what, finding.where) == ("blob", hit.key)
    assert f"{hit.key}/{hit.ref.digest} is damaged" in finding.problem
    assert finding.problem.count(" is damaged") == 1
    bundle_file(pool).unlink()
    (finding,) = verify(pool, level="quick").findings
    assert "is missing" in finding.problem
    (finding,) = verify(pool, level=level).findings
    assert finding.problem.count("is missing") == 1


def test_verify_finds_what_only_hdf5_reads(pool: Pool) -> None:
    save(pool, "a")
    path = bundle_file(pool)
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    for level in ("normal", "full"):
        (finding,) = verify(pool, level=level).findings
        assert "its arrays are whole" in finding.problem
    (step,) = repair(pool)
    assert step.healed
    assert "its own arrays" in step.action
    assert verify(pool, level="full").findings == []
    assert list((pool.path / "quarantine").iterdir()) != []


def test_repair_from_a_copy_of_the_pool(pool: Pool, tmp_path: Path) -> None:
    save(pool, "a")
    copy = shutil.copytree(pool.path, tmp_path / "copy")
    before = bundle_file(pool).read_bytes()
    spoil(pool, "FLAGS")
    (told,) = repair(pool, [copy], dry_run=True)
    assert told.healed
    assert bundle_file(pool).read_bytes() != before
    (step,) = repair(pool, [copy])
    assert step.healed
    assert str(copy) in step.action
    assert bundle_file(pool).read_bytes() == before
    bundle_file(pool).unlink()
    assert [step.healed for step in repair(pool, [copy])] == [True]
    assert verify(pool, level="full").findings == []


def test_repair_from_a_pool_that_has_the_array_elsewhere(pool: Pool, home: Home) -> None:
    save(pool, "a")
    with home.create("other") as other:
        other.save(Product(CARDS, {"FLAGS": FLAGS}, name="alone"))
        other.save(Product(CARDS, {"LOG": LOG, "MORE": FLAGS + 1}, name="elsewhere"))
        spoil(pool, "FLAGS")
        spoil(pool, "LOG")
        (step,) = repair(pool, [other.path])
    assert step.healed
    assert verify(pool, level="full").findings == []


def test_repair_from_a_file(pool: Pool, simulated: Path) -> None:
    file = next((simulated / "uncal").glob("*.fits"))
    ref = pool.save(file)
    blob: BundledArray = ref.product["GROUP"].source
    path = file_of(blob)
    before = path.read_bytes()
    path.unlink()
    (step,) = repair(pool, [file])
    assert step.healed
    assert path.read_bytes() == before


def test_what_no_source_has_stays_with_the_rest(pool: Pool) -> None:
    save(pool, "a")
    hit = spoil(pool, "FLAGS")
    (step,) = repair(pool)
    assert not step.healed
    assert hit.ref.digest in step.action
    assert same(pool.ref("Product/a").product["LOG"][...], LOG)
    bundle_file(pool).unlink()
    (step,) = repair(pool)
    assert not step.healed
    assert "is missing" in step.action


def test_what_is_saved_again_heals(pool: Pool) -> None:
    first = save(pool, "a")
    before = bundle_file(pool).read_bytes()
    spoil(pool, "FLAGS")
    assert save(pool, "a").urn == first.urn
    assert bundle_file(pool).read_bytes() == before
    bundle_file(pool).unlink()
    assert save(pool, "a").urn == first.urn
    assert verify(pool, level="full").findings == []


def test_packed_copied_and_exported(pool: Pool, home: Home, tmp_path: Path) -> None:
    save(pool, "a")
    save(pool, "b")
    file = pool.export(pool.ref("Product/a"), tmp_path / "a.fits").read_bytes()
    packed = pack(PoolShelf(pool), core_of(pool).archive, tmp_path / "versions.tar")
    assert (packed.versions, packed.blobs) == (2, 1)
    with home.create("first") as first, Pack(tmp_path / "versions.tar") as shelf:
        receive(first, shelf)
        with home.create("second") as second:
            receive(second, PoolShelf(first))
            for other in (first, second):
                assert blobs_of(other) == blobs_of(pool)
                assert other.export(other.ref("Product/a"), tmp_path / "b.fits", overwrite=True).read_bytes() == file
                assert verify(other, level="full").findings == []
    spoil(pool, "FLAGS")
    with pytest.raises(IntegrityError, match="is damaged"):
        pack(PoolShelf(pool), core_of(pool).archive, tmp_path / "damaged.tar")
