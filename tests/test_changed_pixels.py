"""Versions of which few pixels changed hold these alone; what they need stays, and what is wrong is told."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - registers the filter that the blobs are coded with
import numpy as np
import pytest
from homes import file_of
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from numpy.typing import NDArray

from miripool import Home, Pool, Product, ProductRef, Ramp
from miripool.errors import IntegrityError, NewerFormat
from miripool.exchange.copy import PoolShelf, receive
from miripool.exchange.pack import Pack, pack
from miripool.maintenance.gc import collect
from miripool.maintenance.repair import repair
from miripool.maintenance.verify import LEVELS, verify
from miripool.model import tiles
from miripool.pool.core import core_of
from miripool.store.arrays import bitshuffle, changedpixels, delta, hdf5write, survey
from miripool.store.arrays.blob import Blob
from miripool.store.arrays.blobs import BlobStore
from miripool.store.arrays.changedpixels import are_runs, count_runs, places_of, runs_of
from miripool.store.arrays.hdf5file import DEFLATED_FORMAT, NEWEST_FORMAT, PIXEL_FORMAT
from miripool.store.arrays.tilelist import PixelList, TileList, write_tile_list
from miripool.store.poolinfo import DELTA_FORMAT, FORMAT
from miripool.store.storage.local import LocalStorage
from miripool.store.storage.memory import MemoryStorage

SHAPE = (2, 5, 96, 80)
CHANGE = ((0, 5, 5), (0, 5, 6), (1, 90, 70))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small arrays have many tiles, and delta blobs."""
    cut_small(monkeypatch)


def cut_small(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tiles, "_TILE_BYTES", 1 << 13)
    patch.setattr(hdf5write, "_PLAIN_BYTES", 0)
    patch.setattr(delta, "_LEAST_BYTES", 1 << 10)


def make_ramp(seed: int = 7, dtype: str = "f4") -> NDArray[Any]:
    noise = np.random.default_rng(seed).normal(0, 6, SHAPE)
    return (10_000 + 25 * np.arange(SHAPE[1])[:, None, None] + noise).astype(dtype)


def changed(array: NDArray[Any], *pixels: tuple[int, int, int]) -> NDArray[Any]:
    """Change some pixels' ramps from a group on: integration, row, column."""
    copy = array.copy()
    for integration, row, column in pixels:
        copy[integration, 2:, row, column] += 3
    return copy


def save(pool: Pool, array: NDArray[Any], name: str = "x") -> ProductRef:
    cards = {"DETECTOR": "MIRIMAGE", "NINTS": array.shape[0], "NGROUPS": array.shape[1]}
    return pool.save(Ramp(cards, {"SCI": array}, name=name), pixels=False)


def blob_of(ref: ProductRef, dataset: str = "SCI") -> Blob:
    source = ref.product[dataset].source
    assert isinstance(source, Blob)
    return source


def form_of(blob: Blob) -> int:
    with h5py.File(file_of(blob)) as file:
        return int(file["data"].attrs["miripool_blob"])


def by_hdf5(blob: Blob) -> NDArray[Any]:
    with h5py.File(file_of(blob)) as file:
        return np.asarray(file["data"][...])


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(LocalStorage(tmp_path / "store"))


def stored(store: BlobStore, array: NDArray[Any], *near: Blob) -> Blob:
    ref, _ = store.measure(array)
    store.write(ref, array, near=[other for blob in near for other in store.family(blob.ref)])
    return store.open(ref)


@pytest.fixture
def pair(store: BlobStore) -> tuple[Blob, Blob]:
    first = stored(store, make_ramp())
    second = stored(store, changed(make_ramp(), *CHANGE), first)
    assert form_of(second) == PIXEL_FORMAT
    return first, second


def same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Tell whether all bits are the same."""
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


# Runs


@given(mask=arrays_of.arrays(bool, arrays_of.array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_runs_are_the_pixels(mask: NDArray[np.bool_]) -> None:
    runs = runs_of(mask)
    assert len(runs) == count_runs(mask)
    assert are_runs(runs, mask.shape) == mask.any()
    again = np.zeros_like(mask)
    again[places_of(runs)] = True
    assert np.array_equal(again, mask)
    assert np.array_equal(np.argwhere(mask), np.stack(places_of(runs), axis=1))


@pytest.mark.parametrize(
    "runs",
    [
        [],
        [[0, 0]],
        [[0, 0, 0]],
        [[4, 0, 1]],
        [[0, 3, 3]],
        [[0, -1, 1]],
        [[1, 0, 1], [0, 0, 1]],
        [[1, 1, 2], [1, 2, 1]],
        [[1, 1, 1], [1, 2, 1]],
    ],
)
def test_what_can_be_no_runs(runs: list[list[int]]) -> None:
    assert not are_runs(np.array(runs), (4, 5))


# What is stored


def test_only_these_pixels_are_stored(pool: Pool) -> None:
    base = make_ramp()
    first, second = save(pool, base), save(pool, changed(base, *CHANGE))
    third = save(pool, changed(base, *CHANGE, (1, 40, 40)))
    for ref in (second, third):
        assert form_of(blob_of(ref)) == PIXEL_FORMAT
        assert blob_of(ref).owners() == (blob_of(first).ref.digest,)  # the depth is one
        assert ref.stored_bytes < first.stored_bytes / 8
    assert same(first.product["SCI"][...], base)
    assert same(second.product["SCI"][...], changed(base, *CHANGE))
    assert same(third.product["SCI"][...], changed(base, *CHANGE, (1, 40, 40)))
    assert second.product["SCI"][1, 3, 90, 70] == base[1, 3, 90, 70] + 3
    for level in LEVELS:
        assert verify(pool, level=level).findings == []


def test_many_pixels_are_stored_as_tiles(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("miripool.store.arrays.blobs.LEAST_TILED", 1 << 10)
    monkeypatch.setattr(survey, "LEAST_TILED", 1 << 10)
    base = make_ramp()
    first = stored(store, base)
    other = base.copy()
    other[:, :, :20] += 1
    assert form_of(stored(store, other, first)) == 2
    assert form_of(stored(store, base + 1, first)) == 1
    monkeypatch.setattr(survey, "_MOST_RUNS", 2)
    monkeypatch.setattr(survey, "_LEAST_SAVED", 0)
    monkeypatch.setattr(survey, "_BASE_BYTES", 0)
    assert form_of(stored(store, changed(base, *CHANGE), first)) == PIXEL_FORMAT
    assert form_of(stored(store, changed(base, *CHANGE, (0, 70, 2)), first)) == 2


def test_small_arrays_are_stored_whole(store: BlobStore) -> None:
    base = make_ramp()[0, :1]
    first = stored(store, base)
    other = base.copy()
    other[0, 3, 3] = 0
    assert form_of(stored(store, other[0].copy(), stored(store, base[0].copy()))) == 1
    assert first.owners() == ()


def test_what_is_built_on_is_that_which_has_the_tiles(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A delta blob of tiles, and few pixels that changed after it: tiles of two blobs, and pixels."""
    monkeypatch.setattr("miripool.store.arrays.blobs.LEAST_TILED", 1 << 10)
    monkeypatch.setattr(survey, "_MOST_RUNS", 10)
    base = make_ramp()
    first = stored(store, base)
    middle = base.copy()
    middle[:, :, :20] += 1
    second = stored(store, middle, first)
    third = stored(store, changed(middle, *CHANGE), second)
    assert form_of(second) == 2
    assert form_of(third) == PIXEL_FORMAT
    assert set(third.owners()) == {first.ref.digest, second.ref.digest}
    assert same(third[...], changed(middle, *CHANGE))
    assert same(by_hdf5(third), changed(middle, *CHANGE))
    assert third.is_sound()
    assert third.is_consistent()


@st.composite
def versions(draw: st.DrawFn) -> tuple[NDArray[Any], NDArray[Any]]:
    """Draw an array, and another that differs from it in some bits of some pixels."""
    dtype = np.dtype(draw(st.sampled_from(["u1", "i2", "u2", "i4", "u4", "f4", "f8"])))
    shape = draw(arrays_of.array_shapes(min_dims=2, max_dims=4, max_side=6))
    shape = (*shape[:-2], shape[-2] + draw(st.integers(8, 40)), shape[-1] + draw(st.integers(8, 40)))
    bits = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 256, (*shape, dtype.itemsize), np.uint8)
    one = bits.view(dtype)[..., 0]  # NaN of all kinds among them
    other = one.copy()
    places = st.tuples(*(st.integers(0, n - 1) for n in shape))
    for place in draw(st.lists(places, max_size=12)):
        flipped = other[place].tobytes()
        other[place] = np.frombuffer(bytes([flipped[0] ^ draw(st.integers(1, 255)), *flipped[1:]]), dtype)[0]
    if draw(st.integers(0, 9)) == 0:
        other = one[..., ::-1, :].copy()
    return one, other


@pytest.mark.slow
@settings(deadline=None, max_examples=120)
@given(pair=versions(), data=st.data(), is_by_hdf5=st.booleans())
def test_any_version_is_read_as_it_was(
    pair: tuple[NDArray[Any], NDArray[Any]],
    data: st.DataObject,
    is_by_hdf5: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    one, other = pair
    store = BlobStore(LocalStorage(tmp_path_factory.mktemp("store")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "_TILE_BYTES", data.draw(st.sampled_from([1 << 9, 1 << 11, 1 << 18])))
        for name in ("_BASE_BYTES", "_RUN_BYTES", "_LEAST_SAVED"):
            patch.setattr(survey, name, -(1 << 20))
        at_once = data.draw(st.sampled_from([0, 1 << 18]))
        patch.setattr(changedpixels, "AT_ONCE", at_once)
        patch.setattr(hdf5write, "AT_ONCE", at_once)
        first = stored(store, one)
        second = stored(store, other, first)
        if is_by_hdf5:
            patch.setattr(bitshuffle, "available", lambda: False)
        for array, blob in ((one, first), (other, second)):
            assert same(blob[...], array)
            box = tuple(slice(s, data.draw(st.integers(s, n))) for n in array.shape for s in [n // 3])
            assert same(np.ascontiguousarray(blob[box]), np.ascontiguousarray(array[box]))
            room = np.empty(array.shape, array.dtype)
            blob.read_into(room)
            assert same(room, array)
            assert sum(piece.size for piece in blob.pieces()) == array.size
            assert store.measure(blob)[0] == blob.ref
            assert blob.is_sound()
            assert blob.is_sound_itself()
            assert blob.looks_whole()
            assert blob.is_consistent()
    assert same(by_hdf5(second), other)
    few = 0 < np.count_nonzero((one.view("u1") != other.view("u1")).any(axis=-1)) < one.size // 8
    if few and other.shape[-2] * other.shape[-1] > 200 and not same(other, one[..., ::-1, :]):
        assert form_of(second) == PIXEL_FORMAT


def test_the_format_of_an_older_pool_is_raised(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier miripool does not look what small arrays need, and does not read what is deflated."""
    monkeypatch.setattr(hdf5write, "_PLAIN_BYTES", 1 << 12)
    for name, first, second in (("arrays", base := make_ramp(), changed(base, *CHANGE)), ("logs", base, None)):
        with home.create(name) as pool:
            path = core_of(pool).archive.storage.files.path("pool.json")  # type: ignore[union-attr]
            path.write_text(path.read_text().replace(f'"format": {FORMAT}', '"format": 2'))
        with home.pool(name) as pool:
            save(pool, first)
            assert json.loads(path.read_text())["format"] == 2
            if second is not None:
                save(pool, second)
            else:
                pool.save(Product({}, {"ASDF": log_of(30_000)}, name="log"))
            assert verify(pool, level="full").findings == []
        assert json.loads(path.read_text())["format"] == DELTA_FORMAT == 3


def test_where_there_are_no_files() -> None:
    store = BlobStore(MemoryStorage())
    base, log = make_ramp(), log_of(30_000)
    second = stored(store, changed(base, *CHANGE), stored(store, base))
    listed = second.tile_list()
    assert listed is not None
    assert listed.pixels is not None
    for array, blob in ((changed(base, *CHANGE), second), (log, stored(store, log))):
        assert same(blob[...], array)
        assert blob.is_sound()
        assert store.is_whole(blob.ref)


# HDF5 tools


def test_other_tools_read_one_array(pair: tuple[Blob, Blob], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, second = pair
    monkeypatch.chdir(tmp_path)
    assert same(by_hdf5(second), changed(make_ramp(), *CHANGE))
    with h5py.File(file_of(second)) as file:
        assert [source.file_name for source in file["data"].virtual_sources()][1:] == ["."]
        assert file["pixels"].shape == (2, 5, 1, 3)
        assert file["runs"][...].tolist() == [[5, 5, 2], [90, 70, 1]]
        assert file["tiles"].id.get_num_chunks() == 0
    moved = tmp_path / "elsewhere"
    shutil.copytree(file_of(second).parents[1], moved)
    with h5py.File(moved / "/".join(file_of(second).parts[-2:])) as file:
        assert same(file["data"][...], changed(make_ramp(), *CHANGE))


def test_other_mappings_are_noticed(pair: tuple[Blob, Blob], store: BlobStore) -> None:
    """Tools that know HDF5 only would read something else."""
    first, second = pair

    def remap(file: h5py.File) -> None:
        layout = h5py.VirtualLayout(SHAPE, "<f4")
        layout[...] = h5py.VirtualSource(f"../{first.ref.digest[:2]}/{first.ref.digest}.h5", "data", SHAPE)
        attributes = dict(file["data"].attrs)
        del file["data"]
        file.create_virtual_dataset("data", layout).attrs.update(attributes)

    listed = second.tile_list()
    assert listed is not None
    edit(second, remap)
    write_tile_list(file_of(second), second.ref, listed)
    assert same(second[...], changed(make_ramp(), *CHANGE))
    assert not store.is_whole(second.ref)


# Damage


def test_no_flipped_bit_goes_unnoticed(pair: tuple[Blob, Blob], store: BlobStore) -> None:
    """A read gives the array that was stored or an error; and what is whole by `verify` is the same by all accounts."""
    right = changed(make_ramp(), *CHANGE)
    own = file_of(pair[1]).stat().st_size
    for blob, places in ((pair[1], range(0, own, 23)), (pair[0], range(100, file_of(pair[0]).stat().st_size, 997))):
        whole = file_of(blob).read_bytes()
        for place in places:
            file_of(blob).write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
            try:
                assert same(pair[1][...], right), place
                if store.is_whole(pair[1].ref) and store.is_whole(pair[0].ref):
                    assert same(by_hdf5(pair[1]), right), place
            except IntegrityError:
                pass
        file_of(blob).write_bytes(whole)
    assert store.is_whole(pair[1].ref)


def test_damage_is_told_of_the_file_that_has_it(pair: tuple[Blob, Blob]) -> None:
    first, second = pair
    base, own = first.tile_list(), second.tile_list()
    assert base is not None
    assert own is not None
    assert own.pixels is not None
    whole = file_of(first).read_bytes(), file_of(second).read_bytes()
    number = int(np.flatnonzero(base.records["digest"] != own.records["digest"])[0])
    for at in (3, 300):  # in the header of a coded tile into which pixels are put, and in what follows
        flip(first, int(base.records["offset"][number]) + at)
        with pytest.raises(IntegrityError, match=rf"{first.ref.digest}\.h5 is damaged: it .* tile {number}"):
            second[...]
        assert second.is_sound_itself()
        assert not first.is_sound_itself()
        file_of(first).write_bytes(whole[0])
    flip(second, int(own.pixels.records["offset"][0]) + int(own.pixels.records["size"][0]) - 1)
    with pytest.raises(IntegrityError, match=rf"{second.ref.digest}\.h5 is damaged: it is wrong in its changed pixels"):
        second[...]
    assert not second.is_sound_itself()
    assert first.is_sound_itself()
    file_of(second).write_bytes(whole[1])
    records = own.records.copy()
    records["digest"][number] = records["digest"][number + 1]
    relist(second, TileList(own.chunks, records, own.owners, own.pixels))
    with pytest.raises(IntegrityError, match=rf"{second.ref.digest}\.h5 is damaged: it has other values in tile"):
        second[...]


def flip(blob: Blob, place: int) -> None:
    data = bytearray(file_of(blob).read_bytes())
    data[place] ^= 0xFF
    file_of(blob).write_bytes(data)


def test_verify_tells_damage(pool: Pool) -> None:
    base = make_ramp()
    first, second = save(pool, base), save(pool, changed(base, *CHANGE))
    listed = blob_of(second).tile_list()
    assert listed is not None
    assert listed.pixels is not None
    flip(blob_of(second), int(listed.pixels.records["offset"][0]) + 20)
    (finding,) = verify(pool, level="full").findings
    assert finding.urns == (second.urn,)
    assert same(first.product["SCI"][...], base)


def test_what_is_missing_is_told(pool: Pool) -> None:
    base = make_ramp()
    first, second = save(pool, base), save(pool, changed(base, *CHANGE))
    lost = file_of(blob_of(first))
    lost.unlink()
    for part in (..., (0, slice(None), 5, 5), (1, slice(None), 90, 70)):
        with pytest.raises(IntegrityError, match=rf"Ramp:1 SCI: a part of .*: blob {lost} is missing"):
            second.product["SCI"][part]
    for level in LEVELS:
        found = verify(pool, level=level).findings
        assert {finding.urns for finding in found} == {(first.urn,), (second.urn,)}
    assert np.isnan(by_hdf5(blob_of(second))[0, 0, 0, 0])
    assert save(pool, base).urn == first.urn  # the same data, saved again, give it back
    assert verify(pool, level="full").findings == []
    assert same(second.product["SCI"][...], changed(base, *CHANGE))


def test_a_lost_one_that_is_stored_again_as_pixels(store: BlobStore) -> None:
    """What has the tiles may itself have them from another, by then: pixels are put into them one after the other."""
    base = make_ramp()
    first = stored(store, base)
    second = stored(store, changed(base, *CHANGE), first)
    file_of(first).unlink()
    other = stored(store, changed(base, (1, 60, 60), (0, 5, 5)))
    assert form_of(stored(store, base, other)) == PIXEL_FORMAT
    assert store.family(second.ref) == (second.ref.digest, first.ref.digest, other.ref.digest)
    assert same(second[...], changed(base, *CHANGE))
    assert same(by_hdf5(second), changed(base, *CHANGE))
    assert second.is_sound()
    assert second.is_consistent()
    for part in ((0, slice(None), 5, 5), (1, slice(None), 60, 60), (1, slice(None), 90, 70)):
        assert same(np.ascontiguousarray(second[part]), np.ascontiguousarray(changed(base, *CHANGE)[part]))


# What somebody else made


def edit(blob: Blob, change: Callable[[h5py.File], Any]) -> None:
    """Change the HDF5 file; the list behind it goes."""
    with h5py.File(file_of(blob), "r+") as file:
        change(file)


def relist(blob: Blob, listed: TileList) -> None:
    """Put another list behind the file, its digest right."""
    write_tile_list(file_of(blob), blob.ref, listed)


def replace(file: h5py.File, name: str, value: Any) -> None:
    del file[name]
    file[name] = value


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.__delitem__("runs"),
        lambda file: file.__delitem__("pixels"),
        lambda file: file.__delitem__("pixel_digests"),
        lambda file: replace(file, "runs", np.array([[5, 5, 2]], "<u4")),
        lambda file: replace(file, "runs", np.array([[5, 5, 2], [90, 79, 1]], "<u4")),
        lambda file: replace(file, "runs", np.array([[5, 5, 2], [96, 70, 1]], "<u4")),
        lambda file: replace(file, "runs", np.array([[5, 5, 2], [90, 70, 1]], "<f4")),
        lambda file: replace(file, "runs", np.zeros((1 << 17, 3), "<u4")),
        lambda file: replace(file, "pixels", np.zeros((2, 5, 1, 3), "f4")),
        lambda file: replace(file, "pixels", h5py.ExternalLink("other.h5", "/x")),
        lambda file: replace(file, "tile_owners", file["tile_owners"][...] * np.uint16(0)),
        lambda file: file["data"].attrs.__setitem__("miripool_blob", 1),
        lambda file: file["data"].attrs.__setitem__("miripool_blob", 2),
    ],
)
def test_lies_in_the_file(pair: tuple[Blob, Blob], change: Callable[[h5py.File], Any]) -> None:
    edit(pair[1], change)
    with pytest.raises(IntegrityError):
        edit_list(pair[1])
    if form_of(pair[1]) == PIXEL_FORMAT:  # as of another form it looks whole until it is read
        assert not pair[1].is_sound()


def edit_list(blob: Blob) -> None:
    """Damage the list behind the file, and read."""
    data = bytearray(file_of(blob).read_bytes())
    data[-200] ^= 1
    file_of(blob).write_bytes(data)
    blob[...]


def lists(listed: TileList) -> Iterator[TileList]:
    """Make lists of that are not those of the file."""
    pixels = listed.pixels
    assert pixels is not None
    for runs in ([[5, 5, 2], [90, 71, 1]], [[5, 5, 1], [90, 70, 2]], [[5, 5, 3]]):
        yield TileList(listed.chunks, listed.records, listed.owners, PixelList(np.array(runs), *told(pixels)))
    for field, value in (("offset", 2**63), ("offset", 2**40), ("size", 0), ("size", 2**27), ("digest", np.void(b"x"))):
        records = pixels.records.copy()
        records[field] = value
        yield TileList(listed.chunks, listed.records, listed.owners, PixelList(pixels.runs, pixels.chunks, records))
    yield TileList(listed.chunks, listed.records, listed.owners, None)


def told(pixels: PixelList) -> tuple[tuple[int, ...], NDArray[Any]]:
    return pixels.chunks, pixels.records


def test_lies_in_the_list(pair: tuple[Blob, Blob]) -> None:
    listed = pair[1].tile_list()
    assert listed is not None
    for other in lists(listed):
        relist(pair[1], other)
        with pytest.raises(IntegrityError):
            pair[1][...]
        with contextlib.suppress(IntegrityError):
            assert not pair[1].is_consistent()
    impossible = PixelList(np.array([[5, 5, 2], [5, 6, 1]]), *told(listed.pixels))  # type: ignore[arg-type]
    relist(pair[1], TileList(listed.chunks, listed.records, listed.owners, impossible))
    assert same(pair[1][...], changed(make_ramp(), *CHANGE))  # it is no list of ours: HDF5 is asked


def test_a_newer_format(pair: tuple[Blob, Blob]) -> None:
    edit(pair[1], lambda file: file["data"].attrs.__setitem__("miripool_blob", NEWEST_FORMAT + 1))
    with pytest.raises(NewerFormat, match="update miripool"):
        edit_list(pair[1])


# Collecting, repairing, copying


def test_what_is_needed_is_not_collected(pool: Pool) -> None:
    base = make_ramp()
    first, second = save(pool, base), save(pool, changed(base, *CHANGE))
    pool.remove(first)
    pool.purge(first)
    assert collect(core_of(pool).archive).files == 0
    assert same(second.product["SCI"][...], changed(base, *CHANGE))
    pool.remove(second)
    pool.purge(second)
    assert collect(core_of(pool).archive).files > 0
    assert list(core_of(pool).archive.storage.keys("blobs")) == []


@pytest.mark.slow
def test_repair_heals_both(pool: Pool, tmp_path: Path) -> None:
    base = make_ramp()
    first, second = save(pool, base), save(pool, changed(base, *CHANGE))
    mirror = tmp_path / "mirror"
    shutil.copytree(file_of(blob_of(first)).parents[2], mirror)
    file_of(blob_of(first)).write_bytes(b"gone")
    assert all(step.healed for step in repair(pool, [mirror]))
    assert verify(pool, level="full").findings == []
    file_of(blob_of(second)).unlink()
    assert all(step.healed for step in repair(pool, [mirror]))
    assert form_of(blob_of(second)) == 1
    assert same(second.product["SCI"][...], changed(base, *CHANGE))
    assert verify(pool, level="full").findings == []


@pytest.mark.slow
def test_a_file_that_tells_two_things(pool: Pool) -> None:
    base = make_ramp()
    save(pool, base)
    second = save(pool, changed(base, *CHANGE))
    flip(blob_of(second), -200)
    assert same(second.product["SCI"][...], changed(base, *CHANGE))  # by HDF5's own account
    (finding,) = verify(pool, level="full").findings
    assert "lists its tiles in two ways that differ" in finding.problem
    assert all(step.healed for step in repair(pool))
    assert verify(pool, level="full").findings == []
    assert same(second.product["SCI"][...], changed(base, *CHANGE))


@pytest.mark.slow
def test_copies_and_packs_need_no_other_pool(pool: Pool, home: Home, tmp_path: Path) -> None:
    base = make_ramp()
    save(pool, base)
    second = save(pool, changed(base, *CHANGE))
    pack(PoolShelf(pool, second), core_of(pool).archive, tmp_path / "a.tar")
    for name in ("copied", "unpacked"):
        with home.create(name) as other:
            if name == "copied":
                receive(other, PoolShelf(pool, second))
            else:
                with Pack(tmp_path / "a.tar") as shelf:
                    receive(other, shelf)
            ref = other.ref("Ramp/x@0")
            assert form_of(blob_of(ref)) == 1
            assert same(ref.product["SCI"][...], changed(base, *CHANGE))
            assert verify(other, level="full").findings == []
    with home.create("all") as other:
        receive(other, PoolShelf(pool))
        assert form_of(blob_of(other.ref("Ramp/x@1"))) == PIXEL_FORMAT


# Tables of long rows


def log_of(size: int) -> NDArray[Any]:
    text = b"".join(b"2026-11-30T14:29:46.%03d - stpipe.step - INFO - Step %d done.\n" % (i, i) for i in range(999))
    row = np.frombuffer((text * (size // len(text) + 1))[:size], np.uint8)
    return np.array([(row,)], [("ASDF_METADATA", "u1", (size,))])


def test_logs_are_deflated(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5write, "_PLAIN_BYTES", 1 << 12)
    ref = pool.save(Product({}, {"ASDF": log_of(30_000)}, name="log"))
    blob = blob_of(ref, "ASDF")
    assert form_of(blob) == DEFLATED_FORMAT
    assert file_of(blob).stat().st_size < 12_000
    with h5py.File(file_of(blob)) as file:
        assert file["data"].compression == "gzip"
        assert same(file["data"][...], log_of(30_000))
    assert same(ref.product["ASDF"][...], log_of(30_000))
    assert verify(pool, level="full").findings == []
    for place in range(500, file_of(blob).stat().st_size, 97):
        whole = file_of(blob).read_bytes()
        flip(blob, place)
        with contextlib.suppress(IntegrityError):
            assert same(blob[...], log_of(30_000))
        file_of(blob).write_bytes(whole)


@pytest.mark.parametrize(("size", "form"), [(1000, 1), (4096, 1), (4097, 4), (1 << 19, 4), ((1 << 19) + 1, 1)])
def test_which_tables_are_deflated(store: BlobStore, monkeypatch: pytest.MonkeyPatch, size: int, form: int) -> None:
    monkeypatch.setattr(hdf5write, "_PLAIN_BYTES", 1 << 12)
    table = np.zeros(1, [("ASDF_METADATA", "u1", (size,))])  # deflated best
    blob = stored(store, table)
    assert form_of(blob) == form
    assert same(blob[...], table)
    assert blob.is_sound()
    assert store.is_whole(blob.ref)
