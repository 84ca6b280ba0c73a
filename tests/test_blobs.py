"""Blobs: what goes in comes out, for us and for any HDF5 tool; what is damaged is found."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from arrays import PLAIN, TABLES, any_array
from disks import reachable_by_all, tiny_disk, unprivileged
from homes import blob_at, file_of
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from miripool.errors import DiskFull, IntegrityError, NewerFormat, ReadOnly, StorageError
from miripool.model import tiles
from miripool.model.dataset import Dataset, Scale
from miripool.model.statistics import agree
from miripool.store.arrays import bitshuffle, hdf5file, hdf5write, openfile, tilelist
from miripool.store.arrays import blob as blob_module
from miripool.store.arrays.blob import Blob
from miripool.store.arrays.blobs import BlobStore
from miripool.store.arrays.digest import array_digest, tile_digest
from miripool.store.arrays.openfile import DescriptorFile
from miripool.store.arrays.tilelist import TileList, read_tile_list, write_tile_list
from miripool.store.manifest import BlobRef
from miripool.store.storage.local import LocalStorage
from miripool.system.scratch import Room

EXAMPLES = settings(deadline=None, max_examples=60)


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path)


@pytest.fixture
def store(storage: LocalStorage) -> BlobStore:
    return BlobStore(storage)


@pytest.fixture(params=["small tiles", "tiles of today"])
def tiling(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "small tiles":
        cut_small(monkeypatch)


def cut_small(patch: pytest.MonkeyPatch) -> None:
    """Let small arrays have many tiles."""
    patch.setattr(tiles, "_TILE_BYTES", 64)
    patch.setattr(hdf5write, "_PLAIN_BYTES", 0)


def use_hdf5_filter(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(bitshuffle, "available", lambda: False)


def stored(store: BlobStore, array: NDArray[Any]) -> Blob:
    ref, _ = store.measure(array)
    store.write(ref, array)
    return store.open(ref)


def path_of(store: BlobStore, blob: Blob) -> Path:
    return store._storage.files.path(store.key(blob.ref.digest))


def make_ramp(shape: tuple[int, ...] = (2, 5, 96, 80), dtype: str = "u2") -> NDArray[Any]:
    rng = np.random.default_rng(7)
    noise = rng.normal(0, 6, shape)
    return (10_000 + 25 * np.arange(shape[1])[:, None, None] + noise).astype(dtype)


@pytest.fixture
def ramp(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> Blob:
    """A ramp of 2 integrations in 16 tiles."""
    monkeypatch.setattr(tiles, "_TILE_BYTES", 1 << 13)
    return stored(store, make_ramp())


# Round trips


@EXAMPLES
@given(array=any_array(PLAIN) | any_array(TABLES), large=st.sampled_from([64, 1 << 28]), flags=st.booleans())
def test_what_is_read_again_has_the_digest_and_the_statistics_that_it_had(
    array: NDArray[Any], large: int, flags: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        cut_small(patch)
        patch.setattr(tiles, "LARGEST_BAND", large)  # with small ones, tiles are cut by the bands
        patch.setattr(tiles, "_BAND_BYTES", 64)
        store = BlobStore(LocalStorage(Path(folder)))
        ref, statistics = store.measure(array, flags=flags)
        store.write(ref, array)
        room = Room(large)
        for _ in range(2):
            found, again = store.reread(store.open(ref), room, flags=flags)
            assert found == ref.digest
            assert agree(again, statistics)
        assert store.reread(store.open(ref), room, numeric=False) == (ref.digest, None)


def test_statistics_of_what_is_read_again_are_physical(store: BlobStore) -> None:
    scale = Scale(2.0, 100.0)
    blob = stored(store, make_ramp())
    _, statistics = store.measure(blob, scale=scale)
    assert agree(store.reread(blob, Room(), scale=scale)[1], statistics)


@pytest.mark.slow
@pytest.mark.parametrize("direct", [True, False], ids=["direct", "by HDF5"])
@pytest.mark.parametrize("small", [True, False], ids=["small tiles", "tiles of today"])
@EXAMPLES
@given(array=any_array(PLAIN) | any_array(TABLES))
def test_any_array_comes_back(direct: bool, small: bool, array: NDArray[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        if small:
            cut_small(patch)
        if not direct:
            use_hdf5_filter(patch)
        store = BlobStore(LocalStorage(Path(folder)))
        blob = stored(store, array)
        assert (blob.shape, blob.dtype) == (array.shape, array.dtype)
        found = blob[...]
        assert found.dtype == array.dtype
        assert found.shape == array.shape
        assert found.tobytes() == array.tobytes()
        with h5py.File(path_of(store, blob), "r") as file:
            plain = file["data"][()]
        assert np.asarray(plain).tobytes() == array.tobytes()


@pytest.mark.parametrize(("writes", "reads"), [(True, False), (False, True), (False, False)])
def test_with_and_without_direct_coding_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: bool, reads: bool
) -> None:
    monkeypatch.setattr(tiles, "_TILE_BYTES", 1 << 13)
    array = make_ramp()
    reference = stored(BlobStore(LocalStorage(tmp_path / "reference")), array)
    store = BlobStore(LocalStorage(tmp_path / "store"))
    monkeypatch.setattr(bitshuffle, "available", lambda: writes)
    blob = stored(store, array)
    assert blob.ref == reference.ref
    with h5py.File(path_of(store, blob)) as one, h5py.File(file_of(reference)) as other:
        assert np.array_equal(one["tile_digests"][()], other["tile_digests"][()])
    monkeypatch.setattr(bitshuffle, "available", lambda: reads)
    assert np.array_equal(blob[...], array)
    assert np.array_equal(blob[1, :, 50, 3:70], array[1, :, 50, 3:70])


@pytest.mark.usefixtures("tiling")
@pytest.mark.parametrize("shape", [(0,), (0, 5), (3, 0, 4), (1,), (1, 1, 1, 1), ()])
def test_shapes_with_little_or_nothing_in_them(store: BlobStore, shape: tuple[int, ...]) -> None:
    array = np.full(shape, 2.5, np.float32)
    blob = stored(store, array)
    assert blob[...].shape == shape
    assert np.array_equal(blob[...], array)
    assert blob[..., :0].shape == array[..., :0].shape if shape else True


def test_arrays_in_other_byte_order_or_layout_are_the_same_blob(store: BlobStore) -> None:
    array = make_ramp()
    ref = store.measure(array)[0]
    for other in (np.asfortranarray(array), array.astype(">u2"), np.repeat(array, 2, -1)[..., ::2]):
        found = store.measure(other)[0]
        assert found.digest == ref.digest
    big = array.astype(">u2")
    assert np.array_equal(stored(store, big)[...], array)


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_indexing_is_numpy_s(data: st.DataObject, many_tiles: tuple[Blob, NDArray[Any]]) -> None:
    blob, array = many_tiles
    key = data.draw(hnp.basic_indices(array.shape, allow_newaxis=True, allow_ellipsis=True))
    found, wanted = blob[key], array[key]
    assert type(found) is type(wanted)
    assert np.shape(found) == np.shape(wanted)
    assert np.array_equal(found, wanted)


@pytest.fixture(scope="module")
def many_tiles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Blob, NDArray[Any]]:
    array = np.arange(2 * 3 * 7 * 11, dtype=np.float32).reshape(2, 3, 7, 11)
    with pytest.MonkeyPatch.context() as patch:
        cut_small(patch)
        return stored(BlobStore(LocalStorage(tmp_path_factory.mktemp("tiles"))), array), array


def test_fancy_indexing_is_numpy_s(many_tiles: tuple[Blob, NDArray[Any]]) -> None:
    blob, array = many_tiles
    for key in (array > 50, ([0, 1], [2, 0]), (slice(None), [2, 1]), None):
        assert np.array_equal(blob[key], array[key])
    for key in ((0, 9), (0, 0, 0, 0, 0), "SCI"):
        with pytest.raises(IndexError):
            blob[key]


@pytest.mark.slow
@pytest.mark.parametrize("direct", [True, False])
@settings(deadline=None, max_examples=30)
@given(array=any_array())
def test_any_array_is_read_into_memory_that_is_there(direct: bool, array: NDArray[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        cut_small(patch)
        if not direct:
            use_hdf5_filter(patch)
        dataset = Dataset("SCI", stored(BlobStore(LocalStorage(Path(folder))), array))
        for out in (np.empty(array.shape, array.dtype), np.empty(array.shape, array.dtype, order="F")):
            assert dataset.read_into(out) is out
            assert np.ascontiguousarray(out).tobytes() == np.ascontiguousarray(array).tobytes()


def test_memory_with_gaps_is_read_into_and_the_gaps_are_kept(ramp: Blob) -> None:
    room = np.full((*ramp.shape[:-1], 2 * ramp.shape[-1]), 7, ramp.dtype)
    Dataset("SCI", ramp).read_into(room[..., ::2])
    assert np.array_equal(room[..., ::2], ramp[...])
    assert (room[..., 1::2] == 7).all()


def test_what_is_read_is_the_reader_s_own(ramp: Blob) -> None:
    part = ramp[0, :, 3, 4]
    part[:] = 0
    assert ramp[0, :, 3, 4].all()


def test_many_threads_read_at_once(ramp: Blob) -> None:
    from concurrent.futures import ThreadPoolExecutor

    array = make_ramp()
    with ThreadPoolExecutor(6) as threads:
        parts = list(threads.map(lambda y: ramp[:, :, y, :], range(array.shape[2])))
    assert np.array_equal(np.stack(parts, axis=2), array)


def test_the_pool_s_files_may_be_used_read_only() -> None:
    with reachable_by_all() as folder:
        blob = stored(BlobStore(LocalStorage(folder)), make_ramp())
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        with unprivileged():
            assert np.array_equal(blob[...], make_ramp())
        file_of(blob).chmod(0)
        with unprivileged(), pytest.raises(ReadOnly, match="can't be written or read by this user"):
            blob[...]
        for path in [folder, *(p for p in folder.rglob("*") if p.is_dir())]:
            path.chmod(0o755)


# Other software


def test_layout_of_the_file(store: BlobStore) -> None:
    array = make_ramp((2, 20, 256, 258), "f4")
    blob = stored(store, array)
    with h5py.File(path_of(store, blob), "r") as file:
        data = file["data"]
        assert sorted(file) == ["data", "tile_digests"]
        assert data.chunks == tiles.tile_shape(array.shape, 4)
        assert data.chunks[:2] == (1, 20)
        assert list(data._filters) == [str(hdf5plugin.BSHUF_ID)]
        assert data.attrs["digest"] == blob.ref.digest.encode() == array_digest(array).encode()
        assert data.attrs["miripool_blob"] == 1
        first = array[tuple(slice(n) for n in data.chunks)]
        assert file["tile_digests"][0].tobytes() == tile_digest(first)
        assert file["tile_digests"].shape == (data.id.get_num_chunks(), 16)
        info = [data.id.get_chunk_info(i) for i in range(data.id.get_num_chunks())]
    with path_of(store, blob).open("rb") as opened:
        tiles_of = read_tile_list(DescriptorFile(opened.fileno()), blob.ref)
    assert tiles_of is not None
    assert tiles_of.chunks == tiles.tile_shape(array.shape, 4)
    assert tiles_of.records["digest"][0].tobytes() == tile_digest(first)
    assert (tiles_of.records["low"][0], tiles_of.records["high"][0]) == (first.min(), first.max())
    assert sorted(tiles_of.records["offset"].tolist()) == sorted(i.byte_offset for i in info)
    assert sorted(tiles_of.records["size"].tolist()) == sorted(i.size for i in info)
    assert path_of(store, blob).stat().st_size < array.nbytes


def test_a_file_that_h5py_has_open_is_read(store: BlobStore) -> None:
    array = make_ramp()
    blob = stored(store, array)
    with h5py.File(path_of(store, blob), "r") as file:
        assert np.array_equal(blob[...], array)
        assert np.array_equal(file["data"][...], array)
        assert np.array_equal(blob[0, :, 1, 2], array[0, :, 1, 2])
    assert np.array_equal(blob[...], array)


def test_small_arrays_are_stored_plainly(store: BlobStore) -> None:
    blob = stored(store, np.arange(512, dtype=np.float64))
    with h5py.File(path_of(store, blob), "r") as file:
        assert file["data"].chunks is None
        assert not file["data"]._filters


needs_h5dump = pytest.mark.skipif(shutil.which("h5dump") is None, reason="h5dump is not installed")


def h5dump(*arguments: str | Path) -> str:
    environment = {**os.environ, "HDF5_PLUGIN_PATH": hdf5plugin.PLUGIN_PATH}
    done = subprocess.run(["h5dump", *arguments], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_h5dump
@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "u8", "f4", "f8"])
@pytest.mark.parametrize("shape", [(3, 5, 64, 72), (6, 7)])
def test_h5dump_reads_the_same_numbers(store: BlobStore, tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).poisson(90, shape).astype(dtype)
    blob = stored(store, array)
    h5dump("-d", "/data", "-b", "LE", "-o", tmp_path / "out", path_of(store, blob))
    assert np.array_equal(np.fromfile(tmp_path / "out", np.dtype(dtype).newbyteorder("<")).reshape(shape), array)


@needs_h5dump
@pytest.mark.parametrize("rows", [3, 2000])
def test_h5dump_reads_tables(store: BlobStore, rows: int) -> None:
    dtype = [("t", "f8"), ("name", "S4"), ("pair", "i2", (2,)), ("in", [("a", "u1"), ("z", "c8")]), ("ok", "?")]
    array = np.zeros(rows, dtype)
    array["t"] = 17.25
    array["name"] = b"abc"
    array["in"]["z"] = 1 + 2.5j
    text = h5dump("-d", "/data", "-s", "1", "-c", "1", path_of(store, stored(store, array)))
    for shown in ("17.25", "abc", "2.5"):
        assert shown in text


@needs_h5dump
def test_readers_since_1_10_are_served(store: BlobStore) -> None:
    version = h5dump("--version")
    path = path_of(store, stored(store, make_ramp()))
    assert "SUPERBLOCK_VERSION 3" in h5dump("-B", "-H", path), version


# Partial reads


def bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="no /proc: bytes read can't be counted")
def test_the_ramp_of_one_pixel_reads_one_tile(store: BlobStore) -> None:
    array = np.random.default_rng(0).integers(0, 65536, (2, 20, 512, 516), np.uint16)
    blob = stored(store, array)
    stored_bytes = path_of(store, blob).stat().st_size
    assert stored_bytes > 40e6 * 0.5
    before = bytes_read()
    found = blob[1, :, 500, 3]
    read = bytes_read() - before
    assert np.array_equal(found, array[1, :, 500, 3])
    assert read < tiles._TILE_BYTES + 80_000
    before = bytes_read()
    assert blob.shape == array.shape
    assert blob[:, :, 5:5, :].size == 0
    assert bytes_read() - before < 80_000


# Damage


def edit(blob: Blob, change: Callable[[h5py.File], None]) -> None:
    with h5py.File(file_of(blob), "r+") as file:
        change(file)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes the hint")
def test_the_disk_is_told_of_each_byte_once_while_a_blob_is_written(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refuse(_: int, offset: int, length: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_DONTNEED
        asked.append((offset, length))
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    array = np.random.default_rng(0).integers(0, 65536, (2, 20, 512, 516), np.uint16)
    monkeypatch.setattr(hdf5write, "_AHEAD_BYTES", 1 << 20)
    monkeypatch.setattr(os, "posix_fadvise", refuse)
    blob = stored(store, array)
    ends = [offset + length for offset, length in asked]
    assert [0, *ends] == [*(offset for offset, _ in asked), ends[-1]]
    assert len(asked) > 3
    assert file_of(blob).stat().st_size - ends[-1] < 10 << 20
    assert np.array_equal(blob[...], array)


def test_a_changed_element_is_found_and_the_other_tiles_are_still_read(ramp: Blob) -> None:
    array = make_ramp()
    with h5py.File(file_of(ramp), "r+") as file:
        chunks = file["data"].chunks
        file["data"][1, 2, 95, 79] += 1
    assert chunks[2] < 96
    with pytest.raises(IntegrityError, match=r"other values in tile \d+ \(at \(1, 0, .*restore it from a copy"):
        ramp[...]
    with pytest.raises(IntegrityError, match="other values"):
        ramp[1, :, 95, 79]
    assert np.array_equal(ramp[0], array[0])
    assert np.array_equal(ramp[1, :, 0, 0], array[1, :, 0, 0])


@pytest.mark.parametrize("at", [0, 7, 8, 11, 12, 15, 16, 5000, -1])
@pytest.mark.parametrize("place", [0, 1, 7, 11])
def test_of_tiles_read_together_the_damaged_one_is_named(store: BlobStore, place: int, at: int) -> None:
    array = np.random.default_rng(0).integers(0, 65536, (1, 20, 256, 516), np.uint16)
    blob = stored(store, array)
    tiles_of = blob.tile_list()
    assert tiles_of is not None
    record = tiles_of.records[place]
    assert len(tiles_of.records) > 12
    with path_of(store, blob).open("r+b") as file:
        file.seek(int(record["offset"]) + at % int(record["size"]))
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 0xFF]))
    with pytest.raises(IntegrityError, match=rf"tile {place} \(at \(0, 0, \d+, \d+\)\)"):
        blob[...]


def test_a_changed_element_of_a_small_array_is_found(store: BlobStore) -> None:
    blob = stored(store, np.arange(10.0))
    edit(blob, lambda file: file["data"].__setitem__(3, -0.5))
    with pytest.raises(IntegrityError, match="has other values than were stored"):
        blob[0]


def test_a_missing_file(ramp: Blob) -> None:
    file_of(ramp).unlink()
    with pytest.raises(IntegrityError, match=rf"{ramp.ref.digest}\.h5 is missing; restore it"):
        ramp[0]


def test_another_array_under_this_name(store: BlobStore) -> None:
    for size in (10, 10_000):
        mine, other = stored(store, np.arange(size)), stored(store, np.arange(size) + 1)
        shutil.copy(file_of(other), file_of(mine))
        with pytest.raises(IntegrityError, match="another array,"):
            mine[0]


def test_another_shape_or_type_than_the_manifest_s(store: BlobStore) -> None:
    blob = stored(store, np.arange(12.0).reshape(3, 4))
    for dtype, shape in (("f8", (4, 3)), ("f8", (12,)), ("i8", (3, 4)), ("f4", (3, 4))):
        other = blob_at(file_of(blob), BlobRef(blob.ref.digest, np.dtype(dtype), shape))
        with pytest.raises(IntegrityError, match=r"holds float64 \(3, 4\), not"):
            other[...]


def _replace_by(make: Callable[[h5py.File, h5py.Dataset], None]) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        old = file["data"]
        attributes = dict(old.attrs)
        file.move("data", "old")
        make(file, old)
        if isinstance(file.get("data", getlink=True), h5py.HardLink):
            file["data"].attrs.update(attributes)

    return change


def _make_virtual(file: h5py.File, old: h5py.Dataset) -> None:
    layout = h5py.VirtualLayout(old.shape, old.dtype)
    layout[...] = h5py.VirtualSource(".", "old", old.shape)
    file.create_virtual_dataset("data", layout)


def _make_external(file: h5py.File, old: h5py.Dataset) -> None:
    outside = Path(file.filename).with_name("outside.bin")
    outside.write_bytes(old[()].tobytes())
    file.create_dataset("data", old.shape, old.dtype, external=[(str(outside), 0, h5py.h5f.UNLIMITED)])


def _make_soft(file: h5py.File, old: h5py.Dataset) -> None:
    file["data"] = h5py.SoftLink("/old")


def _make_outside(file: h5py.File, old: h5py.Dataset) -> None:
    file["data"] = h5py.ExternalLink("other.h5", "/data")


def _make_group(file: h5py.File, old: h5py.Dataset) -> None:
    file.create_group("data")


def _make_nothing(file: h5py.File, old: h5py.Dataset) -> None:
    pass


@pytest.mark.parametrize("make", [_make_virtual, _make_external, _make_soft, _make_outside, _make_group, _make_nothing])
@pytest.mark.parametrize("size", [10, 10_000])
def test_data_that_are_elsewhere_are_refused(store: BlobStore, make: Any, size: int) -> None:
    blob = stored(store, np.arange(size))
    edit(blob, _replace_by(make))
    with pytest.raises(IntegrityError, match=r"keeps its data in another file|has no dataset /data"):
        blob[...]


def _change_digests(value: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file["tile_digests"]
        if value is not None:
            file["tile_digests"] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        _change_digests(None),
        _change_digests(np.zeros((16, 16), np.uint8)),
        _change_digests(np.zeros((1, 16), np.uint8)),
        _change_digests(np.zeros((0, 16), np.uint8)),
        _change_digests(np.zeros((16, 15), np.uint8)),
        _change_digests(np.zeros(16, np.uint8)),
        _change_digests(7),
        _change_digests("text"),
        _change_digests(h5py.ExternalLink("other.h5", "/x")),
        lambda file: file["data"].attrs.__delitem__("digest"),
        lambda file: file["data"].attrs.__setitem__("digest", [1, 2]),
        lambda file: file["data"].attrs.__setitem__("digest", "x"),
        lambda file: file["data"].attrs.__setitem__("miripool_blob", [1, 2]),
        lambda file: file["data"].attrs.__setitem__("miripool_blob", "x"),
        lambda file: file["data"].id.write_direct_chunk((0, 0, 0, 0), b"short"),
        lambda file: file["data"].id.write_direct_chunk((0, 0, 0, 0), bytes(100)),
    ],
)
def test_what_is_not_as_we_write_it_is_damage(ramp: Blob, change: Callable[[h5py.File], None]) -> None:
    edit(ramp, change)
    for key in (..., (0, slice(None), 0, 0)):
        with pytest.raises(IntegrityError, match="restore it from a copy"):
            ramp[key]


@pytest.mark.parametrize("value", [None, np.zeros((0, 16), np.uint8), 7], ids=["none", "empty", "number"])
def test_digests_of_a_small_array_are_needed_too(store: BlobStore, value: Any) -> None:
    blob = stored(store, np.arange(3.0))
    edit(blob, _change_digests(value))
    with pytest.raises(IntegrityError, match="restore it from a copy"):
        blob[...]


def test_newer_format(ramp: Blob) -> None:
    edit(ramp, lambda file: file["data"].attrs.__setitem__("miripool_blob", hdf5file.NEWEST_FORMAT + 1))
    with pytest.raises(NewerFormat, match="update miripool"):
        ramp[...]


@pytest.mark.parametrize("data", [b"", b"garbage", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + bytes(5000)])
def test_garbage_is_damage(ramp: Blob, data: bytes) -> None:
    file_of(ramp).write_bytes(data)
    with pytest.raises(IntegrityError, match=r"can't be opened as HDF5|too few for an array"):
        ramp[...]


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_damage(ramp: Blob, keep: float) -> None:
    data = file_of(ramp).read_bytes()
    within_hdf5 = len(data) - list_bytes(ramp)
    file_of(ramp).write_bytes(data[: int(within_hdf5 * keep)])
    with pytest.raises(IntegrityError):
        ramp[...]
    assert not ramp.is_sound()


def list_bytes(blob: Blob) -> int:
    """Length of the list of tiles behind the HDF5 file."""
    with file_of(blob).open("rb") as file:
        tiles = read_tile_list(DescriptorFile(file.fileno()), blob.ref)
        assert tiles is not None
        file.seek(-32, os.SEEK_END)
        header_size, count = struct.unpack("<II", file.read(8))
    assert count == len(tiles.records)
    return int(tiles.records.nbytes + header_size + 32)


@pytest.mark.parametrize("damage", ["cut", "gone", "flip", "another's", "longer"])
def test_without_its_list_of_tiles_a_file_is_read_by_hdf5(
    store: BlobStore, ramp: Blob, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, data = list_bytes(ramp), bytearray(file_of(ramp).read_bytes())
    opened = []
    kept = blob_module.open_hdf5
    monkeypatch.setattr(blob_module, "open_hdf5", lambda path, image=None: opened.append(path) or kept(path, image))
    expected = ramp[...]
    assert opened == []
    if damage == "cut":
        del data[-5:]
    elif damage == "gone":
        del data[-size:]
    elif damage == "flip":
        data[-size + 3] ^= 4
    elif damage == "longer":
        data += b"x"
    else:
        other = stored(store, make_ramp() + np.uint16(1))
        data[-size:] = file_of(other).read_bytes()[-list_bytes(other) :]
    file_of(ramp).write_bytes(data)
    assert np.array_equal(ramp[...], expected)
    assert np.array_equal(ramp[1, :, 7, 9], expected[1, :, 7, 9])
    assert len(opened) == 2
    assert ramp.is_sound()


def test_a_list_that_points_elsewhere_is_noticed(ramp: Blob) -> None:
    with file_of(ramp).open("rb") as file:
        tiles = read_tile_list(DescriptorFile(file.fileno()), ramp.ref)
    assert tiles is not None
    for name, value in (
        ("offset", 3),
        ("offset", 1 << 60),
        ("size", 0),
        ("size", (1 << 32) - 1),
        ("digest", bytes(16)),
    ):
        records = tiles.records.copy()
        records[name][2] = np.void(value) if isinstance(value, bytes) else value
        write_tile_list(file_of(ramp), ramp.ref, TileList(tiles.chunks, records))
        with pytest.raises((IntegrityError, StorageError)):
            ramp[...]


FLIPS = """
import random
import sys
from pathlib import Path

import numpy as np

from miripool.store.arrays.blob import Blob
from miripool.errors import IntegrityError, NewerFormat, NotFound
from miripool.store.manifest import BlobRef
from miripool.store.storage.local import LocalStorage

path, seed, rounds = Path(sys.argv[1]), int(sys.argv[5]), int(sys.argv[6])
blob = Blob(LocalStorage(path.parents[2]), BlobRef(sys.argv[2], np.dtype(sys.argv[3]), eval(sys.argv[4])))
good = path.read_bytes()
array = blob[...]
rng = random.Random(seed)
found = harmless = 0
for _ in range(rounds):
    data = bytearray(good)
    # Half of the flips where the structures are, at both ends; half anywhere.
    near = rng.choice([3000, len(data)])
    position = rng.randrange(min(near, len(data))) * rng.choice([1, -1])
    data[position] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    try:
        again = blob[...]
    except (IntegrityError, NewerFormat):
        found += 1
    else:
        assert again.tobytes() == array.tobytes() and again.shape == array.shape, position
        harmless += 1
print(found, harmless)
"""


@pytest.mark.slow
@pytest.mark.parametrize("array", [make_ramp(), np.arange(40.0)], ids=["tiled", "plain"])
def test_flipped_bits_are_found_or_harmless(store: BlobStore, array: NDArray[Any]) -> None:
    blob = stored(store, array)
    arguments = [file_of(blob), blob.ref.digest, array.dtype.str, repr(array.shape), "1", "700"]
    done = subprocess.run(
        [sys.executable, "-c", FLIPS, *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=200, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found, harmless = map(int, done.stdout.split())
    assert found > 100
    assert found + harmless == 700


# Writing


def test_writing_again_adds_nothing(store: BlobStore) -> None:
    source = make_ramp()
    ref, _ = store.measure(source)
    assert not store.exists(ref.digest)
    size = store.write(ref, source)
    assert store.exists(ref.digest)
    path = store._storage.files.path(store.key(ref.digest))
    assert size == path.stat().st_size
    before = path.stat()
    assert store.write(ref, source) == 0
    assert path.stat().st_ino == before.st_ino
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_losing_the_race_adds_nothing(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_ramp()
    ref, _ = store.measure(source)
    store.write(ref, source)
    monkeypatch.setattr(type(store._storage.gathering()), "confirm", lambda gathering, key: False)
    assert store.write(ref, source) == 0
    assert np.array_equal(store.open(ref)[...], source[...])
    assert len([p for p in store._storage.root.rglob("*") if p.is_file()]) == 1  # type: ignore[attr-defined]


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Digests of the blobs that were looked at by HDF5."""
    looked: list[str] = []
    check = Blob.check

    def checked(blob: Blob) -> None:
        looked.append(blob.ref.digest)
        check(blob)

    monkeypatch.setattr(Blob, "check", checked)
    return looked


def test_a_blob_is_looked_at_once_by_each_process(store: BlobStore, looked_at: list[str]) -> None:
    source = make_ramp()
    ref, _ = store.measure(source)
    store.write(ref, source)
    assert store.write(ref, source) == 0
    assert looked_at == []
    other = BlobStore(store._storage)
    for _ in range(3):
        assert other.write(ref, source) == 0
    assert looked_at == [ref.digest]


@pytest.mark.parametrize("change", ["cut", "changed in its place", "replaced", "gone"])
def test_what_has_changed_since_it_was_found_sound_is_written_again(
    store: BlobStore, change: str, looked_at: list[str]
) -> None:
    source = make_ramp()
    ref, _ = store.measure(source)
    size = store.write(ref, source)
    assert store.write(ref, source) == 0
    path = path_of(store, store.open(ref))
    whole = path.read_bytes()
    if change == "cut":
        os.truncate(path, size // 2)
    elif change == "changed in its place":
        with path.open("r+b") as file:
            file.write(bytes(512))
    else:
        path.unlink()
        if change == "replaced":
            path.write_bytes(bytes(512) + whole[512:])
    assert store.write(ref, source) == size
    assert store.write(ref, source) == 0
    assert np.array_equal(store.open(ref)[...], source)


def test_what_is_under_way_is_not_written_twice(store: BlobStore, looked_at: list[str]) -> None:
    source = make_ramp()
    ref, _ = store.measure(source)
    with store._storage.gathering() as gathering:
        size = store.write(ref, source, gathering=gathering)
        assert store.write(ref, source, announced=[ref.digest], gathering=gathering) == 0
        assert gathering.settle() == {store.key(ref.digest): size}
        assert store.write(ref, source, gathering=gathering) == 0
        assert gathering.settle() == {}
    assert looked_at == []
    assert np.array_equal(store.open(ref)[...], source)


class Unreadable:
    """A source whose disk fails while it is read."""

    def __init__(self, array: NDArray[Any], error: Exception) -> None:
        self.shape, self.dtype, self.error = array.shape, array.dtype, error

    def __getitem__(self, key: Any) -> Any:
        raise self.error


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(5, "Input/output error"), StorageError),
        (ValueError("odd"), StorageError),
        (IntegrityError("odd"), IntegrityError),
        (KeyboardInterrupt("odd"), KeyboardInterrupt),
    ],
)
def test_a_source_that_fails_leaves_nothing(
    store: BlobStore, storage: LocalStorage, error: Exception, raised: type[BaseException]
) -> None:
    ref = store.measure(make_ramp())[0]
    with pytest.raises(raised, match=r"Input/output error|odd"):
        store.write(ref, Unreadable(make_ramp(), error))
    assert [p for p in storage.root.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize("kilobytes", [8, 64, 128, 180])
def test_a_full_disk_leaves_nothing(kilobytes: int) -> None:
    array = np.random.default_rng(0).integers(0, 65536, (1, 4, 160, 160), np.uint16)
    with tiny_disk(kilobytes) as folder:
        store = BlobStore(LocalStorage(folder))
        ref, _ = store.measure(array)
        with pytest.raises(DiskFull, match="make room and try again"):
            store.write(ref, array)
        assert [p for p in folder.rglob("*") if p.is_file()] == []
        assert not store.exists(ref.digest)
    with tiny_disk(1024) as folder:
        store = BlobStore(LocalStorage(folder))
        store.write(ref, array)
        assert np.array_equal(store.open(ref)[...], array)


KILLED = """
import os
import signal
import sys
from pathlib import Path

import numpy as np

from miripool.store.arrays import hdf5write
from miripool.store.arrays.blobs import BlobStore
from miripool.store.storage.local import LocalStorage

stage, count = sys.argv[2], 0


def die(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)


if stage == "link":
    os.link = die
else:
    real = hdf5write.tile_digest

    def slowly(tile):
        global count
        count += 1
        return die() if count > 3 else real(tile)

    hdf5write.tile_digest = slowly

store = BlobStore(LocalStorage(Path(sys.argv[1])))
source = np.zeros((3, 5, 512, 512), "f4")
ref, _ = store.measure(source)
print(ref.digest, flush=True)
store.write(ref, source)
"""


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["tile", "link"])
def test_a_killed_writer_leaves_no_key(storage: LocalStorage, store: BlobStore, stage: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, storage.root, stage],
        capture_output=True, text=True, check=False, timeout=60, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    digest = done.stdout.strip()
    assert not store.exists(digest)
    assert list(storage.keys("blobs")) == []
    assert [p.name[:5] for p in storage.root.rglob("*") if p.is_file()] == [".tmp-"]
    array = np.zeros((3, 5, 512, 512), "f4")
    blob = stored(store, array)
    assert blob.ref.digest == digest
    assert np.array_equal(blob[...], array)


# Measuring


class Counted:
    """An array on a disk that counts how often its elements are read."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array
        self.shape, self.dtype = array.shape, array.dtype
        self.reads = np.zeros(array.shape, int)

    def __getitem__(self, key: Any) -> Any:
        self.reads[key] += 1
        return np.array(self._array[key])


def test_measuring_and_writing_read_once_each(store: BlobStore) -> None:
    array = make_ramp()
    source = Counted(array)
    ref, statistics = store.measure(source)
    assert (source.reads == 1).all()
    assert ref == BlobRef(array_digest(array), array.dtype, array.shape)
    store.write(ref, source)
    assert (source.reads == 2).all()
    assert statistics is not None
    assert statistics.mean == pytest.approx(array.mean(dtype=float))
    assert np.array_equal(store.open(ref)[...], array)


def test_statistics_of_physical_values_and_of_flags(store: BlobStore) -> None:
    array = np.array([[0, -1], [4, 6]], np.int16)
    _, statistics = store.measure(array, scale=Scale(10.0, 1.0, -1), flags=False)
    assert statistics is not None
    assert (statistics.min, statistics.max, statistics.n_nan, statistics.n_flagged) == (1.0, 61.0, 1, None)
    _, statistics = store.measure(array, flags=True)
    assert statistics is not None
    assert statistics.n_flagged == 3


def test_what_is_no_number_has_no_statistics(store: BlobStore) -> None:
    for array in (np.zeros(5, [("a", "f4")]), np.array([b"a", b"bc"])):
        ref, statistics = store.measure(array)
        assert statistics is None
        assert ref.digest == array_digest(array)
    ref, statistics = store.measure(np.zeros(9, np.uint8), numeric=False)
    assert statistics is None
    assert ref == store.measure(np.zeros(9, np.uint8))[0]


def test_opening_opens_nothing(store: BlobStore) -> None:
    blob = store.open(BlobRef("0" * 32, np.dtype("f4"), (2, 3)))
    assert (blob.shape, blob.dtype) == ((2, 3), np.float32)
    assert repr(blob) == f"<Blob {'0' * 32} float32 (2, 3)>"
    with pytest.raises(IntegrityError, match="is missing"):
        blob[0]


def test_file_of_today_is_told_by_its_attributes(store: BlobStore) -> None:
    blob = stored(store, np.arange(3, dtype=np.uint8))
    with h5py.File(file_of(blob), "r") as file:
        told = {name: file["data"].attrs[name] for name in file["data"].attrs}
    assert json.dumps({k: v.decode() if isinstance(v, bytes) else int(v) for k, v in told.items()}, sort_keys=True) == (
        f'{{"digest": "{blob.ref.digest}", "miripool_blob": 1}}'
    )


def test_rows_of_megabytes_come_back(store: BlobStore) -> None:
    """As the ASDF extension of a large tree has: one row of one column."""
    rows = np.zeros(2, dtype=[("ASDF_METADATA", "u1", (3_000_000,))])
    rows["ASDF_METADATA"] = np.random.default_rng(1).integers(0, 256, (2, 3_000_000), np.uint8)
    ref, _ = store.measure(rows)
    store.write(ref, rows)
    assert store.open(ref)[...].tobytes() == rows.tobytes()
    assert store.open(ref)[1].tobytes() == rows[1].tobytes()


BOXES = [
    np.s_[...],
    np.s_[:, :, 22:44, :],
    np.s_[:, :, 5:50, 115:],
    np.s_[:, :, 22:44, 100:700],
    np.s_[:, 3:20, 0:44, 0:460],
    np.s_[0, :, 44:, 115:345],
]


@pytest.mark.parametrize("key", BOXES, ids=str)
@pytest.mark.parametrize("near", [False, True], ids=["plain", "delta"])
def test_tiles_side_by_side_are_put_where_they_belong(store: BlobStore, key: Any, near: bool) -> None:
    array = np.random.default_rng(3).normal(size=(1, 24, 64, 1032)).astype(np.float32)
    assert tiles.tile_shape(array.shape, 4) == (1, 24, 22, 115)
    ref = store.measure(array)[0]
    store.write(ref, array)
    if near:
        array[0, :, 30, 200] += 1
        relative, ref = ref, store.measure(array)[0]
        store.write(ref, array, near=[relative.digest])
        assert store.open(ref).owners() == (relative.digest,)
    blob = store.open(ref)
    assert np.array_equal(blob[key], array[key])
    for room in (np.empty(array.shape, ">f4"), np.empty((*array.shape[:-1], 2 * 1032), np.float32)[..., ::2]):
        blob.read_into(room)
        assert np.array_equal(room, array)


@pytest.mark.parametrize("moment", [0, 1 << 62])
def test_a_list_is_read_once_from_a_file_that_did_not_change(
    ramp: Blob, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    monkeypatch.setattr(openfile, "_MOMENT", moment)
    monkeypatch.setattr(tilelist, "_kept", OrderedDict())
    read: list[BlobRef] = []

    def count(file: Any, ref: BlobRef) -> TileList | None:
        read.append(ref)
        return read_tile_list(file, ref)

    monkeypatch.setattr(tilelist, "read_tile_list", count)
    for _ in range(3):
        assert np.array_equal(ramp[...], make_ramp())
    assert len(read) == (3 if moment else 1)


def test_a_list_that_is_remembered_is_not_of_a_file_that_was_changed(
    ramp: Blob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openfile, "_MOMENT", 0)
    ramp[...]
    path = file_of(ramp)
    status = path.stat()
    with path.open("rb") as file:
        tiles = read_tile_list(DescriptorFile(file.fileno()), ramp.ref)
    assert tiles is not None
    records = tiles.records.copy()
    records["digest"][0] = np.void(bytes(16))
    time.sleep(0.05)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - list_bytes(ramp))
    write_tile_list(path, ramp.ref, TileList(tiles.chunks, records))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    with pytest.raises(IntegrityError, match="other values in tile 0"):
        ramp[...]


def test_many_lists_are_not_kept(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openfile, "_MOMENT", 0)
    monkeypatch.setattr(tilelist, "_kept", OrderedDict())
    monkeypatch.setattr(tilelist, "_KEPT_LISTS", 2)
    arrays_there = [make_ramp() + i for i in range(4)]
    blobs = [stored(store, array) for array in arrays_there]
    for _ in range(2):
        for blob, array in zip(blobs, arrays_there, strict=True):
            assert np.array_equal(blob[...], array)
    assert [ref for _, ref in tilelist._kept] == [blob.ref for blob in blobs[2:]]
