"""Delta blobs hold what changed; what they need stays, and what is missing is told."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from homes import blob_at, file_of
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from miripool import Home, Pool, Product, ProductRef, Ramp
from miripool.errors import IntegrityError, NewerFormat, StorageError
from miripool.exchange.copy import PoolShelf, receive
from miripool.exchange.pack import Pack, pack
from miripool.maintenance.gc import collect
from miripool.maintenance.repair import repair
from miripool.maintenance.verify import LEVELS, verify
from miripool.model import tiles
from miripool.pool.core import core_of
from miripool.store.archive import Archive
from miripool.store.arrays import bitshuffle, blobs, delta, hdf5write, survey
from miripool.store.arrays.blob import Blob
from miripool.store.arrays.blobs import BlobStore
from miripool.store.arrays.digest import tile_digest
from miripool.store.arrays.hdf5file import NEWEST_FORMAT
from miripool.store.arrays.openfile import DescriptorFile
from miripool.store.arrays.tilelist import read_tile_list, write_tile_list
from miripool.store.manifest import BlobRef
from miripool.store.poolfolder import list_folder
from miripool.store.poolinfo import DELTA_FORMAT, FORMAT
from miripool.store.storage.local import LocalStorage

SHAPE = (2, 5, 96, 80)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small arrays have many tiles, and delta blobs."""
    cut_small(monkeypatch)


def cut_small(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tiles, "_TILE_BYTES", 1 << 13)
    patch.setattr(hdf5write, "_PLAIN_BYTES", 0)
    patch.setattr(delta, "_LEAST_BYTES", 1 << 10)
    patch.setattr(blobs, "LEAST_TILED", 1 << 10)
    patch.setattr(survey, "_MOST_RUNS", 0)  # test_changed_pixels has what is stored as pixels


def make_ramp(seed: int = 7, dtype: str = "f4") -> NDArray[Any]:
    noise = np.random.default_rng(seed).normal(0, 6, SHAPE)
    return (10_000 + 25 * np.arange(SHAPE[1])[:, None, None] + noise).astype(dtype)


def changed(array: NDArray[Any], *pixels: tuple[int, int, int]) -> NDArray[Any]:
    """Change some pixels' ramps: integration, row, column."""
    copy = array.copy()
    for integration, row, column in pixels:
        copy[integration, :, row, column] += 3
    return copy


def save(pool: Pool, array: NDArray[Any], name: str = "x", **others: NDArray[Any]) -> ProductRef:
    cards = {"DETECTOR": "MIRIMAGE", "NINTS": array.shape[0], "NGROUPS": array.shape[1]}
    return pool.save(Ramp(cards, {"SCI": array, **others}, name=name), pixels=False)


def blob_of(ref: ProductRef, dataset: str = "SCI") -> Blob:
    source = ref.product[dataset].source
    assert isinstance(source, Blob)
    return source


def owners(ref: ProductRef, dataset: str = "SCI") -> tuple[str, ...]:
    return blob_of(ref, dataset).owners()


def digest(ref: ProductRef) -> str:
    return blob_of(ref).ref.digest


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(LocalStorage(tmp_path / "store"))


def stored(store: BlobStore, array: NDArray[Any], *near: Blob) -> Blob:
    ref, _ = store.measure(array)
    family = [other for blob in near for other in store.family(blob.ref)]
    store.write(ref, array, near=family)
    return store.open(ref)


# What is stored


@pytest.mark.slow
def test_only_what_changed_is_stored(pool: Pool) -> None:
    base = make_ramp()
    first = save(pool, base)
    second = save(pool, changed(base, (0, 5, 5), (1, 90, 70)))
    third = save(pool, changed(base, (0, 5, 5), (1, 90, 70), (1, 40, 40)))
    assert owners(first) == ()
    assert owners(second) == (digest(first),)
    # Always the one that has the tiles: the depth is one.
    assert set(owners(third)) == {digest(first), digest(second)}
    assert second.stored_bytes < first.stored_bytes / 3
    assert third.stored_bytes < first.stored_bytes / 3
    assert np.array_equal(first.product["SCI"][...], base)
    assert np.array_equal(second.product["SCI"][...], changed(base, (0, 5, 5), (1, 90, 70)))
    assert np.array_equal(third.product["SCI"][...], changed(base, (0, 5, 5), (1, 90, 70), (1, 40, 40)))
    for level in LEVELS:
        assert verify(pool, level=level).findings == []


def test_going_back_and_forth(pool: Pool) -> None:
    one, two = make_ramp(1), make_ramp(2)
    refs = [save(pool, array) for array in (one, two, changed(one, (0, 1, 1)), changed(two, (0, 1, 1)))]
    assert [len(owners(ref)) for ref in refs] == [0, 0, 1, 1]
    assert owners(refs[2]) == (digest(refs[0]),)
    assert owners(refs[3]) == (digest(refs[1]),)


def test_two_versions_are_put_together(store: BlobStore) -> None:
    array = make_ramp()
    newer = changed(array, (0, 3, 4))
    refs = [store.measure(a)[0] for a in (array, newer)]
    announced = [ref.digest for ref in refs]
    with store._storage.gathering() as gathering:
        store.write(refs[0], array, announced=announced, gathering=gathering)
        for _ in range(2):
            store.write(refs[1], newer, near=announced[:1], announced=announced, gathering=gathering)
        assert set(gathering.settle()) == {store.key(digest) for digest in announced}
    assert store.family(refs[1]) == (refs[1].digest, refs[0].digest)
    assert np.array_equal(store.open(refs[1])[...], newer)
    # Who has not announced what it needs can't rely on it, wherever it is.
    with store._storage.gathering() as gathering:
        assert store.write(refs[1], newer, announced=announced[1:], gathering=gathering) > 0
        gathering.settle()
    assert store.family(refs[1]) == (refs[1].digest,)
    assert np.array_equal(store.open(refs[1])[...], newer)


def test_a_delta_under_way_that_needs_what_is_not_announced_is_replaced(store: BlobStore) -> None:
    array = make_ramp()
    newer = changed(array, (0, 3, 4))
    old = stored(store, array)
    ref, _ = store.measure(newer)
    with store._storage.gathering() as gathering:
        store.write(ref, newer, near=[old.ref.digest], announced=[ref.digest, old.ref.digest], gathering=gathering)
        store.write(ref, newer, announced=[ref.digest], gathering=gathering)
        gathering.settle()
    assert store.family(ref) == (ref.digest,)


@pytest.mark.parametrize("owner", [True, False])
def test_a_delta_that_was_found_sound_is_looked_at_again_when_a_file_of_it_has_changed(
    store: BlobStore, owner: bool
) -> None:
    array = make_ramp()
    newer = changed(array, (0, 3, 4))
    old = stored(store, array)
    new = stored(store, newer, old)
    assert store.write(new.ref, newer) == 0
    os.truncate(store._storage.files.path((old if owner else new).key), 600)
    assert store.write(new.ref, newer) > 0
    assert store.family(new.ref) == (new.ref.digest,)
    assert np.array_equal(new[...], newer)


def test_much_change_is_stored_plain(pool: Pool) -> None:
    first, second = save(pool, make_ramp(1)), save(pool, make_ramp(2))
    assert owners(second) == ()
    assert second.stored_bytes > first.stored_bytes / 2
    half = make_ramp(2)
    half[:, :, :80] += 1  # where samples are taken, enough has stayed
    assert np.array_equal(save(pool, half).product["SCI"][...], half)


@pytest.mark.parametrize(("dtype", "shape"), [("u1", SHAPE), ("u4", (96, 80)), ("i2", SHAPE), ("f8", (3, 96, 80))])
def test_flags_and_other_numbers_too(store: BlobStore, dtype: str, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(1).integers(0, 100, shape).astype(dtype)
    other = array.copy()
    other[..., 7, 9] = 4
    base = stored(store, array)
    blob = stored(store, other, base)
    assert blob.owners() == (base.ref.digest,)
    assert np.array_equal(blob[...], other)
    assert blob.is_consistent()


@pytest.mark.parametrize(
    "other",
    [make_ramp()[:, :, :90], make_ramp().astype("f8"), make_ramp()[:1]],
    ids=["another shape", "another type", "fewer integrations"],
)
def test_other_arrays_share_nothing(pool: Pool, other: NDArray[Any]) -> None:
    save(pool, make_ramp())
    second = save(pool, other)
    assert owners(second) == ()
    assert np.array_equal(second.product["SCI"][...], other)


def test_what_is_in_the_trash_is_not_built_on(pool: Pool) -> None:
    first = save(pool, make_ramp())
    pool.remove(first)
    assert owners(save(pool, changed(make_ramp(), (0, 0, 0)))) == ()


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(data=st.data(), by_hdf5=st.booleans())
def test_any_part_of_any_version(data: st.DataObject, by_hdf5: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    store = BlobStore(LocalStorage(tmp_path_factory.mktemp("store")))
    pixel = st.tuples(st.integers(0, 1), st.integers(0, 95), st.integers(0, 79))
    arrays = [make_ramp(dtype=data.draw(st.sampled_from(["u2", "f4"])))]
    blobs = [stored(store, arrays[0])]
    for pixels in data.draw(st.lists(st.lists(pixel, min_size=1, max_size=6), min_size=1, max_size=4)):
        arrays.append(changed(arrays[data.draw(st.integers(0, len(arrays) - 1))], *pixels))
        blobs.append(stored(store, arrays[-1], *blobs[::-1]))
    with pytest.MonkeyPatch.context() as patch:
        if by_hdf5:
            patch.setattr(bitshuffle, "available", lambda: False)
        for array, blob in zip(arrays, blobs, strict=True):
            starts = [data.draw(st.integers(0, n - 1)) for n in SHAPE]
            part = tuple(slice(s, data.draw(st.integers(s, n))) for s, n in zip(starts, SHAPE, strict=True))
            assert np.array_equal(blob[part], array[part])
            assert np.array_equal(blob[...], array)
            assert store.measure(blob)[0] == blob.ref
            assert store.measure(blob)[1] == store.measure(array)[1]
            assert blob.is_sound()
            assert blob.is_consistent()
    for array, blob in zip(arrays, blobs, strict=True):
        with h5py.File(file_of(blob)) as file:
            assert np.array_equal(file["data"][...], array)


def test_the_format_of_an_older_pool_is_raised(home: Home) -> None:
    """An earlier miripool does not know what delta blobs need, and would collect it."""
    base = make_ramp()
    with home.create("jpl8") as pool:
        path = core_of(pool).archive.storage.files.path("pool.json")
        path.write_text(path.read_text().replace(f'"format": {FORMAT}', '"format": 1'))
    with home.pool("jpl8") as pool:
        save(pool, base)
        assert json.loads(path.read_text())["format"] == 1
        assert owners(save(pool, changed(base, (0, 5, 5))))
    assert json.loads(path.read_text())["format"] == DELTA_FORMAT == 3


# HDF5 tools


def test_other_tools_read_one_array(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    base = make_ramp()
    save(pool, base)
    ref = save(pool, changed(base, (1, 50, 50)))
    path = file_of(blob_of(ref))
    for folder in (path.parent, Path("/")):
        monkeypatch.chdir(folder)
        with h5py.File(os.path.relpath(path)) as file:
            assert np.array_equal(file["data"][...], ref.product["SCI"][...])
            assert file["data"][1, 2, 50, 50] == base[1, 2, 50, 50] + 3
            names = {source.file_name for source in file["data"].virtual_sources()}
            assert not any(name.startswith("/") for name in names)
    tool = shutil.which("h5dump")
    if tool is not None:
        plugins = {**os.environ, "HDF5_PLUGIN_PATH": hdf5plugin.PLUGIN_PATH}
        shown = subprocess.run(
            [tool, "-d", "/data", "-s", "1,0,50,50", "-c", "1,5,1,1", str(path)],
            env=plugins, cwd="/", capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        told = [float(line.split(":")[1].strip(" ,\n")) for line in shown.splitlines() if "50,50):" in line]
        assert np.allclose(told, ref.product["SCI"][1, :, 50, 50], atol=0.1)


def test_a_pool_that_is_moved(pool: Pool, tmp_path: Path) -> None:
    base = make_ramp()
    save(pool, base)
    blob = blob_of(save(pool, changed(base, (1, 50, 50))))
    shutil.copytree(file_of(blob).parents[2], tmp_path / "elsewhere" / "jpl8")
    moved = blob_at(tmp_path / "elsewhere" / "jpl8" / blob.key, blob.ref)
    assert np.array_equal(moved[...], blob[...])
    with h5py.File(file_of(moved)) as file:
        assert np.array_equal(file["data"][...], blob[...])


# What it needs


@pytest.mark.slow
def test_what_is_needed_is_not_collected(pool: Pool) -> None:
    base = make_ramp()
    first = save(pool, base)
    second = save(pool, changed(base, (0, 5, 5)))
    pool.remove(first)
    pool.purge(first)
    before = list(core_of(pool).archive.storage.keys("blobs"))
    assert collect(core_of(pool).archive).files == 0
    assert list(core_of(pool).archive.storage.keys("blobs")) == before
    assert np.array_equal(second.product["SCI"][...], changed(base, (0, 5, 5)))
    assert verify(pool, level="full").findings == []
    pool.remove(second)
    pool.purge(second)
    assert collect(core_of(pool).archive).files == len(before)


def test_what_it_may_take_tiles_of_is_announced(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the moment a writer decides to build on a blob and its entry, that blob may lose its last version."""
    base = make_ramp()
    first = save(pool, base)
    write = BlobStore.write

    def purged_meanwhile(store: BlobStore, *arguments: Any, **options: Any) -> int:
        with Home().pool("jpl8") as other:
            if other.ref(first, removed=True).removed is None:
                other.remove(first.urn)
                other.purge(first.urn)
            assert collect(core_of(other).archive).spared > 0
        return write(store, *arguments, **options)

    monkeypatch.setattr(BlobStore, "write", purged_meanwhile)
    second = save(pool, changed(base, (0, 5, 5)))
    monkeypatch.undo()
    assert owners(second) == (digest(first),)
    assert np.array_equal(second.product["SCI"][...], changed(base, (0, 5, 5)))


def test_nobody_can_tell_what_a_damaged_one_needs(pool: Pool) -> None:
    base = make_ramp()
    save(pool, base)
    path = file_of(blob_of(save(pool, changed(base, (0, 5, 5)))))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(IntegrityError, match="is damaged"):
        collect(core_of(pool).archive)


@pytest.mark.slow
def test_what_is_missing_is_told(pool: Pool) -> None:
    base = make_ramp()
    first = save(pool, base)
    second = save(pool, changed(base, (0, 5, 5)))
    lost = file_of(blob_of(first))
    lost.unlink()
    assert np.array_equal(second.product["SCI"][0, :, 5, 5], base[0, :, 5, 5] + 3)  # a tile of its own
    for part in (..., (1, slice(None), 90, 70)):
        with pytest.raises(IntegrityError, match=rf"Ramp:1 SCI: a part of .*: blob {lost} is missing"):
            second.product["SCI"][part]
    for level in LEVELS:
        (one, other) = sorted(verify(pool, level=level).findings, key=lambda finding: finding.urns)
        assert (one.urns, other.urns) == ((first.urn,), (second.urn,))
        assert lost.stem in other.problem
    # The same data, saved again, give it back.
    again = save(pool, base)
    assert again.urn == first.urn
    assert verify(pool, level="full").findings == []
    assert np.array_equal(second.product["SCI"][...], changed(base, (0, 5, 5)))


def test_damage_of_what_it_needs_is_noticed(pool: Pool) -> None:
    base = make_ramp()
    first = blob_of(save(pool, base))
    second = save(pool, changed(base, (0, 5, 5)))
    with h5py.File(file_of(first)) as file:
        found = file["data"].id.get_chunk_info(20)
    data = bytearray(file_of(first).read_bytes())
    data[found.byte_offset + found.size // 2] ^= 1
    file_of(first).write_bytes(data)
    with pytest.raises(IntegrityError, match="tile"):
        second.product["SCI"][...]
    assert len(verify(pool, level="full").findings) == 2


@pytest.mark.slow
def test_a_long_chain_of_versions_is_read_by_opening_each_blob_once(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = [make_ramp()]
    refs = [save(pool, arrays[0])]
    for step in range(1, 13):
        arrays.append(changed(arrays[-1], (0, 5 * step, 5)))
        refs.append(save(pool, arrays[-1]))
    assert len(owners(refs[-1])) > 5
    opened: list[str] = []
    part = Blob._part

    def note(blob: Blob, stack: Any) -> Any:
        opened.append(blob.ref.digest)
        return part(blob, stack)

    monkeypatch.setattr(Blob, "_part", note)
    # As of an array of which next to nothing is in its own file.
    monkeypatch.setattr("miripool.store.arrays.blob._MOST_RATIO", 0)
    monkeypatch.setattr("miripool.store.arrays.blob.Blob._refuse_lies", lambda *_: None)
    last = refs[-1].product["SCI"]
    assert np.array_equal(last[...], arrays[-1])
    assert len(opened) == len(set(opened)) == len(owners(refs[-1])) + 1
    opened.clear()
    assert np.array_equal(last[:, :, 5, 5], arrays[-1][:, :, 5, 5])
    assert len(opened) == len(set(opened))
    looked: list[str] = []
    look = Blob._looks_whole

    def note_look(blob: Blob, seen: set[str]) -> bool:
        looked.append(blob.ref.digest)
        return look(blob, seen)

    monkeypatch.setattr(Blob, "_looks_whole", note_look)
    assert blob_of(refs[-1]).looks_whole()
    assert len(looked) < 2 * len(refs) ** 2
    assert verify(pool, level="full").findings == []


# Repair, copy, pack


@pytest.mark.slow
def test_repair_heals_what_is_needed_first(pool: Pool, tmp_path: Path) -> None:
    base = make_ramp()
    first = save(pool, base)
    second = save(pool, changed(base, (0, 5, 5)))
    third = save(pool, changed(base, (0, 5, 5), (1, 60, 60)))
    mirror = tmp_path / "mirror"
    shutil.copytree(file_of(blob_of(first)).parents[2], mirror)
    file_of(blob_of(first)).write_bytes(b"gone")
    steps = repair(pool, [mirror])
    assert all(step.healed for step in steps)
    assert verify(pool, level="full").findings == []
    # What others need tiles of is made again as a plain blob; they still find them there, and so do HDF5 tools.
    file_of(blob_of(second)).unlink()
    assert all(step.healed for step in repair(pool, [mirror]))
    assert owners(second) == ()
    assert digest(second) in owners(third)
    assert verify(pool, level="full").findings == []
    with h5py.File(file_of(blob_of(third))) as file:
        assert np.array_equal(file["data"][...], changed(base, (0, 5, 5), (1, 60, 60)))


@pytest.mark.slow
def test_a_file_that_tells_two_things(pool: Pool) -> None:
    base = make_ramp()
    save(pool, base)
    second = save(pool, changed(base, (0, 5, 5)))
    blob = blob_of(second)
    flip_list(blob)
    assert np.array_equal(second.product["SCI"][...], changed(base, (0, 5, 5)))  # by HDF5's own account
    (finding,) = verify(pool, level="full").findings
    assert "lists its tiles in two ways that differ" in finding.problem
    assert all(step.healed for step in repair(pool))
    assert verify(pool, level="full").findings == []
    assert np.array_equal(second.product["SCI"][...], changed(base, (0, 5, 5)))


def flip_list(blob: Blob) -> None:
    data = bytearray(file_of(blob).read_bytes())
    data[-200] ^= 1
    file_of(blob).write_bytes(data)


@pytest.mark.slow
def test_copies_and_packs_need_no_other_pool(pool: Pool, home: Home, tmp_path: Path) -> None:
    base = make_ramp()
    save(pool, base)
    second = save(pool, changed(base, (0, 5, 5)))
    pack(PoolShelf(pool, second), core_of(pool).archive, tmp_path / "a.tar")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    for name in ("copied", "unpacked"):
        with home.create(name) as other:
            if name == "copied":
                receive(other, PoolShelf(pool, second))
            else:
                with Pack(tmp_path / "a.tar") as shelf:
                    receive(other, shelf)
            ref = other.ref("Ramp/x@0")
            assert owners(ref) == ()
            assert np.array_equal(ref.product["SCI"][...], changed(base, (0, 5, 5)))
            assert verify(other, level="full").findings == []


def test_a_copy_of_all_versions_is_as_small(pool: Pool, home: Home) -> None:
    base = make_ramp()
    refs = [save(pool, base), save(pool, changed(base, (0, 5, 5)))]
    with home.create("copied") as other:
        receive(other, PoolShelf(pool))
        copies = [other.ref(f"Ramp/x@{version}") for version in (0, 1)]
        assert [owners(ref) for ref in copies] == [owners(ref) for ref in refs]


@pytest.mark.slow
def test_the_index_made_anew(pool: Pool) -> None:
    base = make_ramp()
    save(pool, base)
    second = save(pool, changed(base, (0, 5, 5)))
    pool.reindex()
    assert verify(pool, level="full").findings == []
    assert np.array_equal(pool.ref(second.urn).product["SCI"][...], changed(base, (0, 5, 5)))


# What somebody else made


def edit(blob: Blob, change: Callable[[h5py.File], Any]) -> None:
    """Change the HDF5 file; the list behind it goes."""
    with h5py.File(file_of(blob), "r+") as file:
        change(file)


def replace(file: h5py.File, name: str, value: Any) -> None:
    del file[name]
    file[name] = value


@pytest.fixture
def pair(store: BlobStore) -> tuple[Blob, Blob]:
    first = stored(store, make_ramp())
    second = stored(store, changed(make_ramp(), (0, 5, 5)), first)
    assert second.owners()
    return first, second


@pytest.mark.parametrize(
    "change",
    [
        lambda file: replace(file, "owners", np.array([b"../../../../etc/passwd"], "S32")),
        lambda file: replace(file, "owners", np.array([b""], "S32")),
        lambda file: replace(file, "owners", np.array([], "S32")),
        lambda file: replace(file, "owners", 7),
        lambda file: replace(file, "tile_owners", np.zeros(3, "<u2")),
        lambda file: replace(file, "tile_owners", file["tile_owners"][...] + np.uint16(1)),
        lambda file: replace(file, "tile_owners", file["tile_owners"][...] * np.uint16(0)),
        lambda file: replace(file, "tiles", h5py.ExternalLink("other.h5", "/x")),
        lambda file: replace(file, "tiles", h5py.SoftLink("/data")),
        lambda file: replace(file, "tiles", np.zeros(SHAPE, "f4")),
        lambda file: file.__delitem__("tiles"),
        lambda file: file["data"].attrs.__setitem__("miripool_blob", 1),
    ],
)
def test_lies_in_the_file(pair: tuple[Blob, Blob], change: Callable[[h5py.File], Any]) -> None:
    edit(pair[1], change)
    flip_list(pair[1])
    with pytest.raises(IntegrityError):
        pair[1][...]
    assert not pair[1].is_sound()


def test_lies_in_the_list(pair: tuple[Blob, Blob]) -> None:
    first, second = pair
    assert np.array_equal(second[...], changed(make_ramp(), (0, 5, 5)))
    tiles_of = second.tile_list()
    assert tiles_of is not None
    for owner in ("../../../../etc/passwd", second.ref.digest, "0" * 32):
        relist(second, type(tiles_of)(tiles_of.chunks, tiles_of.records, (owner,)))
        if owner.startswith("."):
            assert np.array_equal(second[...], changed(make_ramp(), (0, 5, 5)))  # it is no list of ours
            continue
        with pytest.raises(IntegrityError, match=r"is missing|names itself"):
            second[...]
    records = tiles_of.records.copy()
    records["owner"] = 9
    relist(second, type(tiles_of)(tiles_of.chunks, records, (first.ref.digest,)))
    assert np.array_equal(second[...], changed(make_ramp(), (0, 5, 5)))
    records["owner"] = 1  # what the other has there is another tile
    relist(second, type(tiles_of)(tiles_of.chunks, records, (first.ref.digest,)))
    with pytest.raises(IntegrityError, match="other values in tile"):
        second[...]


def test_damage_is_told_of_the_file_that_has_it(pair: tuple[Blob, Blob], monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = pair
    right = changed(make_ramp(), (0, 5, 5))
    tiles_of = first.tile_list()
    assert tiles_of is not None
    whole = file_of(first).read_bytes()
    offset = int(tiles_of.records["offset"][5])
    for at in (offset + 3, offset + 500):
        file_of(first).write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        with pytest.raises(IntegrityError, match=rf"{first.ref.digest}\.h5 is damaged: it .* tile 5"):
            second[...]
        assert second.is_sound_itself()
        assert not first.is_sound_itself()
    file_of(first).write_bytes(whole)
    listed = second.tile_list()
    assert listed is not None
    records = listed.records.copy()
    records["digest"][5] = records["digest"][6]
    relist(second, type(listed)(listed.chunks, records, listed.owners))
    with pytest.raises(IntegrityError, match=rf"{second.ref.digest}\.h5 is damaged: it has other values in tile 5"):
        second[...]
    relist(second, listed)
    assert np.array_equal(second[...], right)

    for failing in pair:
        inode = file_of(failing).stat().st_ino

        def fail(descriptor: int, *args: Any, inode: int = inode, read: Any = os.preadv) -> int:
            if os.fstat(descriptor).st_ino == inode:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return int(read(descriptor, *args))

        with monkeypatch.context() as patch:
            patch.setattr(os, "preadv", fail)
            with pytest.raises(StorageError, match=rf"{failing.ref.digest}\.h5"):
                second[...]
    assert np.array_equal(second[...], right)


@pytest.mark.parametrize("owner", [True, False])
@pytest.mark.parametrize(
    ("field", "value"), [("offset", 2**63), ("offset", 2**63 - 1), ("offset", 2**40), ("size", 2**27), ("size", 0)]
)
def test_places_beyond_the_file(pair: tuple[Blob, Blob], owner: bool, field: str, value: int) -> None:
    lying = pair[0] if owner else pair[1]
    tiles_of = lying.tile_list()
    assert tiles_of is not None
    records = tiles_of.records.copy()
    records[field][tiles_of.numbers == 0] = value
    relist(lying, type(tiles_of)(tiles_of.chunks, records, tiles_of.owners))
    with pytest.raises(IntegrityError, match=rf"{lying.ref.digest}\.h5 is damaged: it has no tile \d+ \(at"):
        pair[1][...]
    assert not lying.is_sound_itself()
    assert pair[1].is_sound_itself() == owner


def relist(blob: Blob, tiles_of: Any) -> None:
    """Put another list behind the file, its digest right."""
    write_tile_list(file_of(blob), blob.ref, tiles_of)


def test_a_huge_array_of_nothing(store: BlobStore) -> None:
    """Two small files that say they have an array of a terabyte, each that the other has its tiles."""
    shape, chunks = (1, 1, 1 << 20, 1 << 18), (1, 1, 1 << 12, 1 << 12)
    paths = []
    for digest_of, other in (("a" * 32, "b" * 32), ("b" * 32, "a" * 32)):
        ref = BlobRef(digest_of, np.dtype("f4"), shape)
        path = store._storage.files.path(store.key(digest_of))
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
        records = np.zeros(256 * 64, hdf5write.record_type(ref.dtype, delta=True))
        records["owner"] = 1
        write_tile_list(path, ref, hdf5write.TileList(chunks, records, (other,)))
        paths.append(store.open(ref))
    with pytest.raises(IntegrityError, match="names itself as the blob that has some of its tiles"):
        paths[0][...]


def test_other_mappings_are_noticed(pair: tuple[Blob, Blob], store: BlobStore) -> None:
    """Tools that know HDF5 only would read something else."""
    _, second = pair

    def remap(file: h5py.File) -> None:
        layout = h5py.VirtualLayout(SHAPE, "<f4")
        layout[...] = h5py.VirtualSource(".", "tiles", SHAPE)
        attributes = dict(file["data"].attrs)
        del file["data"]
        file.create_virtual_dataset("data", layout).attrs.update(attributes)

    tiles_of = second.tile_list()
    edit(second, remap)
    relist(second, tiles_of)
    assert np.array_equal(second[...], changed(make_ramp(), (0, 5, 5)))
    assert not store.is_whole(second.ref)


def test_a_newer_format(pair: tuple[Blob, Blob]) -> None:
    edit(pair[1], lambda file: file["data"].attrs.__setitem__("miripool_blob", NEWEST_FORMAT + 1))
    flip_list(pair[1])
    with pytest.raises(NewerFormat, match="update miripool"):
        pair[1][...]


@pytest.mark.slow
def test_a_disk_that_is_full(store: BlobStore, pair: tuple[Blob, Blob]) -> None:
    """A writer of a delta blob leaves nothing behind either."""
    program = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from miripool.model import tiles
from miripool.store.arrays import blobs, delta, hdf5write, survey
from miripool.store.arrays.blobs import BlobStore
from miripool.errors import StorageError
from miripool.store.storage.local import LocalStorage
tiles._TILE_BYTES, hdf5write._PLAIN_BYTES, delta._LEAST_BYTES = 1 << 13, 0, 1 << 10
blobs.LEAST_TILED, survey._MOST_RUNS = 1 << 10, 0
store = BlobStore(LocalStorage(Path(sys.argv[1])))
array = np.load(sys.argv[2])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
ref, _ = store.measure(array)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), int(sys.argv[4])))
try:
    store.write(ref, array, near=[sys.argv[3]])
except StorageError as error:
    print("refused")
else:
    print("written")
"""
    np.save(store._storage.root / "new.npy", changed(make_ramp(), (0, 5, 5), (1, 9, 9)))
    before = sorted(store._storage.keys("blobs"))
    size = file_of(pair[1]).stat().st_size
    told = [
        subprocess.run(
            [sys.executable, "-c", program, store._storage.root, store._storage.root / "new.npy",
             pair[0].ref.digest, str(most)],
            capture_output=True, text=True, check=True,
        ).stdout.strip()
        for most in (1000, size // 2, 100 * size)
    ]  # fmt: skip
    assert told == ["refused", "refused", "written"]
    assert len(sorted(store._storage.keys("blobs"))) == len(before) + 1
    assert list_folder(store._storage).temporaries == []


def test_tiles_are_those_that_were_digested(pair: tuple[Blob, Blob]) -> None:
    first, second = pair
    lists = [blob.tile_list() for blob in (first, second)]
    assert lists[0] is not None
    assert lists[1] is not None
    differ = lists[0].records["digest"] != lists[1].records["digest"]
    assert np.array_equal(differ, lists[1].numbers == 0)
    assert differ.sum() == 1
    part = changed(make_ramp(), (0, 5, 5))[tuple(slice(0, n) for n in lists[1].chunks)]
    assert tile_digest(np.ascontiguousarray(part)) == lists[1].records["digest"][0].tobytes()
    with file_of(second).open("rb") as file:
        again = read_tile_list(DescriptorFile(file.fileno()), second.ref)
    assert again is not None
    assert again.owners == (first.ref.digest,)


@pytest.mark.slow
def test_kinds_other_than_ramps(pool: Pool) -> None:
    data = np.random.default_rng(3).normal(size=(700, 800)).astype("f4")
    first = pool.save(Product({}, {"SCI": data, "DQ": (data > 2).astype("u4")}, name="flat"))
    other = data.copy()
    other[3, 3] = np.nan
    second = pool.save(Product({}, {"SCI": other, "DQ": (other > 2).astype("u4")}, name="flat"))
    assert owners(second) == (digest(first),)
    assert np.array_equal(second.product["SCI"][...], other, equal_nan=True)
    assert verify(pool, level="full").findings == []


# Used again while a collector works


def given_up(pool: Pool) -> tuple[NDArray[Any], NDArray[Any]]:
    """Two arrays of versions that were given up; the blob of the second is still there, and needs that of the first."""
    array = make_ramp()
    other = changed(array, (0, 3, 4))
    first, second = save(pool, array), save(pool, other)
    assert owners(second) == (blob_of(first).ref.digest,)
    pool.remove([first, second])
    pool.purge([first, second])
    return array, other


def collecting(monkeypatch: pytest.MonkeyPatch, *, before: Callable[[], object] = int, again: bool = True) -> None:
    """Let a collector run right before each version's blobs are stored, and right after."""
    write = Archive.write_blobs

    def beside(archive: Archive, *arguments: Any) -> int:
        before()
        if again:
            collect(archive)
        added = write(archive, *arguments)
        collect(archive)
        return added

    monkeypatch.setattr(Archive, "write_blobs", beside)


def test_a_delta_that_is_used_again_keeps_what_it_needs(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    _, other = given_up(pool)
    with monkeypatch.context() as patch:
        collecting(patch)
        ref = save(pool, other, "again")
    assert len(owners(ref)) == 1
    assert np.array_equal(ref.product["SCI"][...], other)
    assert verify(pool, level="full").is_whole


def test_a_delta_written_by_another_meanwhile_is_not_relied_on(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the delta needs was not announced by the second writer, for the delta was not there when it looked."""
    array = make_ramp()
    other = changed(array, (0, 3, 4))
    first = save(pool, array)
    deeds: list[int] = []

    def by_another() -> None:
        if not deeds:
            deeds.append(1)  # its own save comes here, too
            second = save(pool, other)
            assert owners(second) == (blob_of(first).ref.digest,)
            pool.remove([first, second])
            pool.purge([first, second])

    with monkeypatch.context() as patch:
        collecting(patch, before=by_another, again=False)
        ref = save(pool, other, "again")
    assert owners(ref) == ()
    assert np.array_equal(ref.product["SCI"][...], other)
    assert verify(pool, level="full").is_whole


def test_an_entry_waits_for_what_a_delta_needs(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the writer had been taken for dead after it had stored its blobs."""
    _, other = given_up(pool)
    write = Archive.write_blobs
    lost: list[str] = []

    def then_lose(archive: Archive, *arguments: Any) -> int:
        added = write(archive, *arguments)
        if not lost:
            (delta_key,) = (BlobStore.key(digest) for digest in arguments[0])
            (owner,) = set(list_folder(archive.storage).keys) & {
                key for key in list_folder(archive.storage).keys if key.startswith("blobs/") and key != delta_key
            }
            lost.append(owner)
            assert archive.storage.delete(owner)
        return added

    with monkeypatch.context() as patch:
        patch.setattr(Archive, "write_blobs", then_lose)
        ref = save(pool, other, "again")
    assert lost
    assert np.array_equal(ref.product["SCI"][...], other)
    assert verify(pool, level="full").is_whole


def test_what_a_delta_needs_in_turn_is_kept(pool: Pool) -> None:
    """A blob was lost, and stored again as a delta blob of another; a third needs it."""
    array = make_ramp()
    first, second = save(pool, array), save(pool, changed(array, (0, 3, 4)))
    third = save(pool, changed(array, (1, 9, 9)), "other")
    assert owners(third) == ()
    store = core_of(pool).archive.blobs
    path = core_of(pool).archive.storage.files.path(store.key(blob_of(first).ref.digest))
    path.unlink()
    assert store.write(blob_of(first).ref, array, near=store.family(blob_of(third).ref)) > 0
    chain = store.family(blob_of(second).ref)
    assert chain == tuple(blob_of(ref).ref.digest for ref in (second, first, third))
    pool.remove([first, third])
    pool.purge([first, third])
    collect(core_of(pool).archive)
    assert all(map(store.exists, chain))
    assert verify(pool, level="full").is_whole
