"""Virtual files have the bytes of the files that would be written, wherever one looks, and read little for few."""

from __future__ import annotations

import gzip
import io
import itertools
import math
import random
import tracemalloc
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from awkward import AWKWARD, BLOCK, column, header, image, line, primary, table
from homes import file_of
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from test_delta import changed as changed_pixels
from test_delta import cut_small, make_ramp, owners, save
from test_fits import UNREAD_BY_ASTROPY, check_against_astropy, made_product
from test_ground import changed as changed_bench

from miripool import Pool, Product, Ramp
from miripool.errors import IntegrityError, InvalidInput, ProductNotFound
from miripool.formats import iter_bytes, layout_of, read_fits, virtualfile, write_fits
from miripool.formats.virtualfile import VirtualFile, extension_file, virtual_file
from miripool.model import tiles
from miripool.model.cards import parse_header
from miripool.model.dataset import Dataset
from miripool.simulate import SimulatedExposure
from miripool.store.arrays import tilereader
from miripool.store.arrays.blobs import BlobStore
from miripool.store.storage.local import LocalStorage

MEGABYTE = 1 << 20
FULL = (1, 10, 1024, 1032)


def exported(product: Product) -> bytes:
    return b"".join(iter_bytes(layout_of(product)))


def check(file: VirtualFile, content: bytes, *, ranges: int = 100) -> None:
    """Compare all of it and some random ranges."""
    assert file.size == len(content)
    pieces = list(file.pieces(0, file.size))
    assert b"".join(pieces) == content
    assert all(0 < len(piece) <= MEGABYTE for piece in pieces)
    chance = random.Random(len(content))
    for _ in range(ranges):
        start = chance.randrange(len(content) + 10)
        stop = start + chance.choice([0, 1, 3, 80, BLOCK, 70_000])
        assert file.read(start, stop) == content[start:stop], (start, stop)


def small_constants(patch: pytest.MonkeyPatch) -> None:
    """Make what is read together so small that small arrays have many blocks of each form."""
    patch.setattr(tiles, "_TILE_BYTES", 1 << 9)
    for name, value in (("KEPT", 6000), ("UNTILED", 1000), ("PATCH", 300), ("WHOLE", 64), ("SMALL", 900)):
        patch.setattr(virtualfile, f"_{name}_BYTES", value)


class Tiled:
    """An array that says that it is read by whole tiles."""

    is_tiled = True

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, key: Any, /) -> Any:
        return self.array[key].copy()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The elements of each tile that was decoded; thread-safe, as appending is."""
    sizes: list[int] = []
    digest = tilereader.tile_digest

    def counted(tile: np.ndarray[Any, Any]) -> bytes:
        sizes.append(tile.size)
        return digest(tile)

    monkeypatch.setattr(tilereader, "tile_digest", counted)
    return sizes


class Ramps:
    """A FULL exposure, cheap to make and to store, computed as far as it is asked for."""

    dtype = np.dtype(np.float32)

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def __getitem__(self, key: Any, /) -> Any:
        basic = tiles.basic_index(key, self.shape)
        assert basic is not None
        starts, box, local = basic
        axes = np.ogrid[tuple(slice(s, s + n) for s, n in zip(starts, box, strict=True))]
        part = np.zeros(box, np.float32)
        for axis, factor in zip(axes, (1000, 10, 0.25, 0), strict=True):
            part += (axis * factor).astype(np.float32)
        return part[local]


def stored(folder: Path, source: Any) -> Any:
    """Give the blob of an array."""
    store = BlobStore(LocalStorage(folder))
    ref, _ = store.measure(source)
    store.write(ref, source)
    return store.open(ref)


def stored_ramp(folder: Path, shape: tuple[int, ...]) -> Ramp:
    return Ramp(datasets={"SCI": Dataset("SCI", stored(folder, Ramps(shape)))}, name="x")


def tile_count(product: Product) -> int:
    source: Any = product["SCI"].source
    return math.prod(tiles.grid(source.shape, source.tile_list().chunks))


def start_of_data(file: VirtualFile) -> int:
    """Give where the data of the first extension begin."""
    head = file.read(0, 40 * BLOCK)
    start = head.index(b"XTENSION")
    end = next(i for i in range(start, len(head), 80) if head[i : i + 8] == b"END     ")
    return -(-(end + 80) // BLOCK) * BLOCK


# The bytes


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_files(name: str) -> None:
    content = AWKWARD[name]()
    product = read_fits(content, filename=f"{name}.fits.gz")
    file = virtual_file(product)
    check(file, gzip.decompress(content) if name == "compressed_file" else content)
    assert product.layout is not None
    assert product.layout.origin is not None
    assert (file.filename, file.digest) == (f"{name}.fits", product.layout.origin.digest)


@pytest.mark.slow
def test_awkward_files_of_a_pool(pool: Pool, tmp_path: Path) -> None:
    for name, made in AWKWARD.items():
        path = tmp_path / f"{name}.fits"
        path.write_bytes(content := made())  # once: gzip notes the time
        product = pool.save(path, name=name, pixels=False).product
        check(virtual_file(product), gzip.decompress(content) if name == "compressed_file" else content)
        for dataset in product.datasets:
            ours = extension_file(product, dataset)
            theirs = extension_file(read_fits(path), dataset)
            assert ours.read(0, ours.size) == theirs.read(0, theirs.size)


def test_simulated_products(simulated: Path, pool: Pool, tmp_path: Path) -> None:
    for path in sorted(simulated.glob("*/*.fits")):
        content = path.read_bytes()
        check(virtual_file(read_fits(path)), content)
        packed = tmp_path / f"{path.name}.gz"
        packed.write_bytes(gzip.compress(content, 1))
        check(virtual_file(read_fits(packed)), content, ranges=20)
        ref = pool.save(path, pixels=False)
        file = virtual_file(ref.product)
        check(file, content, ranges=1000)
        assert (file.filename, file.size) == (path.name, ref.bytes)


@pytest.mark.slow
def test_real_files(shared_data: Path, pool: Pool) -> None:
    for path in sorted(shared_data.rglob("*.fits")):
        content = path.read_bytes()
        check(virtual_file(read_fits(path)), content)
        product = pool.save(path, pixels=False).product
        check(virtual_file(product), content, ranges=1000)
        for dataset in product.datasets:
            opened(extension_file(product, dataset), product, dataset)


def test_products_made_in_memory_and_changed_ones() -> None:
    made = made_product()
    file = virtual_file(made)
    check(file, exported(made))
    assert (file.filename, file.digest) == ("x_ramp.fits", None)
    for key in ("LAMP", "SCI.BUNIT"):
        product = read_fits(exported(made), name="x", filename="a_ramp.fits")
        product.meta[key] = "other"
        check(virtual_file(product), exported(product))
        assert virtual_file(product).digest is None
    assert virtual_file(Product(name="a b/c")).filename == "a-b-c_product.fits"


@settings(deadline=None, max_examples=150)
@given(hnp.array_shapes(min_dims=1, max_dims=5, min_side=1, max_side=9), st.booleans(), st.data())
def test_ranges_of_arrays_of_any_shape(shape: tuple[int, ...], tiled: bool, data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(["u1", "u2", "f4", "f8"]))
    array = np.random.default_rng(math.prod(shape)).integers(0, 200, shape).astype(dtype)
    product = Product(datasets={"A": Dataset("A", Tiled(array) if tiled else array)}, name="x")
    content = exported(product)
    with pytest.MonkeyPatch.context() as patch:
        small_constants(patch)
        file = virtual_file(product)
        places = st.integers(0, len(content) + 5)
        for start, length in data.draw(st.lists(st.tuples(places, st.sampled_from([1, 9, 200, 5000])), max_size=20)):
            assert file.read(start, start + length) == content[start : start + length]
        step = data.draw(st.sampled_from([37, 400, 3000]))
        read = [file.read(start, start + step) for start in range(0, file.size, step)]
        assert b"".join(read) == content
        assert b"".join(file.pieces(3, file.size)) == content[3:]
        assert sum(block.elements.nbytes for block in file._reader._blocks) <= 6000 + array.itemsize * 64


def test_ranges_are_those_of_slices() -> None:
    product = made_product()
    file, content = virtual_file(product), exported(product)
    for start, stop in ((0, 0), (5, 2), (file.size, file.size + 9), (file.size + 7, file.size + 9), (0, 10**12)):
        assert file.read(start, stop) == content[start:stop]
    for start, stop in ((-1, 5), (0, -1), (-3, -1)):
        with pytest.raises(InvalidInput, match=r"x_ramp\.fits has no bytes"):
            file.read(start, stop)
        with pytest.raises(InvalidInput):
            file.pieces(start, stop)  # at once, before the first piece is asked for


def test_rows_and_headers_of_more_than_a_piece() -> None:
    rows = np.random.default_rng(1).integers(0, 256, 3 * MEGABYTE).astype(np.uint8).tobytes()
    wide = table([column(1, "a", f"{len(rows) // 2}B")], rows, len(rows) // 2)
    content = primary(*[line("LONG", "1")] * 20_000) + wide
    check(virtual_file(read_fits(content)), content, ranges=20)


def test_nothing_is_read_before_it_is_asked_for() -> None:
    class Refusing(Tiled):
        def __getitem__(self, key: Any, /) -> Any:
            raise AssertionError

    product = Product(datasets={"SCI": Dataset("SCI", Refusing(np.zeros((3, 4), np.float32)))}, name="x")
    assert virtual_file(product).size == 3 * BLOCK
    assert virtual_file(product).read(0, 80).startswith(b"SIMPLE")
    assert extension_file(product, "SCI").size == 3 * BLOCK


# Ground tests


@pytest.fixture(scope="module")
def bench(exposure: SimulatedExposure, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exposure.write_jpl(tmp_path_factory.mktemp("bench"))


def test_a_ground_test_has_two_files(bench: Path, tmp_path: Path) -> None:
    product = read_fits(bench)
    file = virtual_file(product)
    check(file, bench.read_bytes())
    assert product.layout is not None
    assert product.layout.origin is not None
    assert (file.filename, file.digest) == (bench.name, product.layout.origin.digest)
    level1b = virtual_file(product, jwst=True)
    check(level1b, write_fits(product, tmp_path / "a.fits", jwst=True).read_bytes())
    assert (level1b.filename, level1b.digest) == (f"{product.name}_uncal.fits", None)
    opened(extension_file(product, "REFOUT"), product, "REFOUT")


@pytest.mark.parametrize("nint", [3, 2])
def test_a_ground_test_of_a_pool(
    nint: int, bench: Path, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[int]
) -> None:
    cut_small(monkeypatch)
    monkeypatch.setattr(virtualfile, "_WHOLE_BYTES", 1 << 10)
    path = changed_bench(bench, tmp_path / "rest.fits", lambda f: f[:22], NINT=nint)
    product = pool.save(read_fits(path, truncate=True), pixels=False).product
    content = path.read_bytes()
    file = virtual_file(product)
    check(file, content)
    check(virtual_file(product, jwst=True), exported(Product.from_layout(_without_original(product))))
    decoded.clear()
    file = virtual_file(product)
    at = len(content) - 10 * BLOCK - 80 * 72 * 2 * 12
    assert file.read(at, at + 50) == content[at : at + 50]
    assert 1 <= len(decoded) <= 3
    monkeypatch.setattr(virtualfile, "_KEPT_BYTES", 30_000)
    check(virtual_file(product), content)


def _without_original(product: Product) -> Any:
    from dataclasses import replace

    assert product.layout is not None
    return replace(product.layout, original=None, origin=None, trailer=None)


def test_a_part_of_a_frame_is_a_part_of_its_ramps(exposure: SimulatedExposure, bench: Path) -> None:
    layout = read_fits(bench).layout
    assert layout is not None
    from miripool.formats.frames import frames_of

    source = frames_of(layout)
    whole = source[...]
    rows = exposure.sci.shape[2]
    for key in itertools.product(
        (slice(None), slice(5, 19), 9),
        (slice(3, 10), slice(rows - 2, rows + 3), slice(rows + 1, rows + 2), slice(rows, None), slice(4, 4), rows + 5),
        (slice(None), slice(7, 30), 8),
    ):
        np.testing.assert_array_equal(source[key], whole[key])


# Versions and damage


def test_versions_that_share_tiles(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_small(monkeypatch)
    monkeypatch.setattr(virtualfile, "_WHOLE_BYTES", 1 << 10)
    first = make_ramp()
    refs = [save(pool, first), save(pool, changed_pixels(first, (0, 5, 7), (1, 90, 2)))]
    assert owners(refs[1]) != ()
    for ref in refs:
        check(virtual_file(ref.product), exported(ref.product), ranges=300)
    damage(refs[0].product["SCI"].source)
    with pytest.raises(IntegrityError, match="is damaged"):
        list(virtual_file(refs[1].product).pieces(0, 10**9))


def damage(blob: Any, place: float = 0.5) -> None:
    """Flip a bit in the middle of a blob."""
    path = file_of(blob)
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 4
    path.chmod(0o644)
    path.write_bytes(content)


def test_damage_is_told_where_it_is(tmp_path: Path) -> None:
    ramp = stored_ramp(tmp_path, (1, 4, 256, 1032))
    content = exported(ramp)
    file = virtual_file(ramp)
    damage(ramp["SCI"].source)
    start = start_of_data(file)
    assert file.read(start, start + 50) == content[start : start + 50]
    for _ in range(2):
        with pytest.raises(IntegrityError, match="is damaged"):
            list(file.pieces(0, file.size))
    assert file.read(start, start + 50) == content[start : start + 50]
    file_of(ramp["SCI"].source).unlink()
    with pytest.raises(IntegrityError, match="is missing"):
        virtual_file(ramp).read(start, start + 50)


def test_threads_read_one_file(tmp_path: Path) -> None:
    ramp = stored_ramp(tmp_path, (2, 4, 256, 1032))
    content = exported(ramp)
    file = virtual_file(ramp)

    def read(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(30):
            start = chance.randrange(len(content))
            assert file.read(start, start + 50_000) == content[start : start + 50_000]
        assert b"".join(file.pieces(0, file.size)) == content

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(read, range(3)))


# How much is read


def test_few_tiles_are_read_for_few_bytes(tmp_path: Path, decoded: list[int]) -> None:
    ramp = stored_ramp(tmp_path, FULL)
    whole: np.ndarray[Any, Any] = ramp["SCI"][...]
    tile: Any = ramp["SCI"].source.tile_list().chunks  # type: ignore[attr-defined]
    rows = -(-FULL[2] // tile[2])
    beside = -(-FULL[3] // tile[3])
    assert tile_count(ramp) == rows * beside > 100
    start = start_of_data(virtual_file(ramp))
    file = virtual_file(ramp)

    def read(*places: tuple[int, ...], count: int) -> int:
        decoded.clear()
        for place in places:
            at = int(np.ravel_multi_index(place, FULL))
            found = file.read(start + 4 * at, start + 4 * (at + count))
            assert found == whole.reshape(-1)[at : at + count].astype(">f4").tobytes()
        return len(decoded)

    assert read((0, 5, 30, 40), count=1) == 1
    assert read(*[(0, group, 30, 40) for group in range(10)], count=1) == 0  # all groups were in that tile
    assert read((0, 2, 500, 0), count=FULL[3]) == beside
    assert read((0, 7, 700, 1000), count=16_384) <= 2 * beside  # 64 KB, sixteen rows
    assert read((0, 0, 0, 0), count=4 * MEGABYTE // 4) <= tile_count(ramp)
    assert read((0, 9, 1000, 0), count=4) == 0


@pytest.mark.parametrize("step", [1 << 16, 1 << 17, 1 << 20, 5 << 20])
def test_no_tile_is_read_twice_by_who_reads_on(step: int, tmp_path: Path, decoded: list[int]) -> None:
    ramp = stored_ramp(tmp_path, FULL)
    count = tile_count(ramp)
    file = virtual_file(ramp)
    decoded.clear()
    for start in range(0, file.size, step):
        file.read(start, start + step)
    assert len(decoded) == count
    decoded.clear()
    file = virtual_file(ramp)
    middle = [start + file.size // 2 for start in range(0, file.size // 2, step)]
    for start in middle:
        file.read(start, start + step)
    assert len(decoded) <= count + 6  # of the row of tiles that it begins in


def test_sequences_out_of_order(tmp_path: Path, decoded: list[int]) -> None:
    """A system that reads ahead asks for several parts at once, not always in their order."""
    ramp = stored_ramp(tmp_path, FULL)
    count = tile_count(ramp)
    file = virtual_file(ramp)
    starts = list(range(0, file.size, 1 << 17))
    for i in range(0, len(starts) - 1, 2):
        starts[i], starts[i + 1] = starts[i + 1], starts[i]
    decoded.clear()
    for start in starts:
        file.read(start, start + (1 << 17))
    assert len(decoded) <= 1.1 * count


@pytest.mark.slow
def test_memory_is_bounded(tmp_path: Path, decoded: list[int]) -> None:
    """An integration of 170 MB, more than is kept: each of its tiles is decoded twice, as by an export."""
    ramp = stored_ramp(tmp_path, (2, 40, 1024, 1032))
    size, count = virtual_file(ramp).size, tile_count(ramp)

    def measure(pieces: Iterator[bytes]) -> tuple[float, int]:
        decoded.clear()
        tracemalloc.start()
        read = sum(map(len, pieces))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert read == size
        return peak / MEGABYTE, len(decoded)

    step = 1 << 18
    file = virtual_file(ramp)
    for pieces in (virtual_file(ramp).pieces(0, size), (file.read(s, s + step) for s in range(0, size, step))):
        peak, read = measure(pieces)
        assert peak < 150
        assert read <= 2 * count + 50


# As astropy reads it


class Remote(io.RawIOBase):
    """A virtual file as astropy gets it from afar, which notes what is asked for."""

    def __init__(self, file: VirtualFile) -> None:
        self.file, self.place = file, 0
        self.asked: list[tuple[int, int]] = []

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.place = offset + (0, self.place, self.file.size)[whence]
        return self.place

    def tell(self) -> int:
        return self.place

    def read(self, size: int | None = -1) -> bytes:
        stop = self.file.size if size is None or size < 0 else self.place + size
        self.asked.append((self.place, stop))
        found = self.file.read(self.place, stop)
        self.place += len(found)
        return found


def test_a_section_reads_the_tile_it_lies_in(tmp_path: Path, decoded: list[int]) -> None:
    from astropy.io import fits

    ramp = stored_ramp(tmp_path, FULL)
    remote = Remote(virtual_file(ramp))
    with fits.open(remote) as hdus:
        image_hdu = hdus["SCI"]
        remote.asked.clear()
        decoded.clear()
        section = image_hdu.section[0, :, 30, 40]
        assert np.array_equal(section, ramp["SCI"][0, :, 30, 40])
        assert len(decoded) == 2  # one by us just now
        assert [stop - start for start, stop in remote.asked] == [4] * 10  # a request for each group
        decoded.clear()
        part = image_hdu.section[0, 3:6, 100:130, 500:520]
        assert len(decoded) <= 4
        assert np.array_equal(part, ramp["SCI"][0, 3:6, 100:130, 500:520])


def opened(file: VirtualFile, product: Product, name: str) -> bytes:
    """Open a file of one dataset with astropy, all warnings being errors; compare its data."""
    from astropy.io import fits

    content = file.read(0, file.size)
    assert len(content) == file.size
    assert len(content) % BLOCK == 0
    with fits.open(io.BytesIO(content), memmap=False) as hdus:
        assert len(hdus) <= 2
        hdus.verify("exception")
        assert all(hdu.data is None for hdu in hdus[:-1])
    again = read_fits(content, kind="Product")
    if (found := check_against_astropy(content, again)) or product[name].size:
        assert found == 1
        (dataset,) = again.values()
        assert dataset.source[...].tobytes() == product[name].source[...].tobytes()
    assert again.layout is not None
    last = {hdu.name: hdu for hdu in layout_of(product).hdus}[name]
    assert again.layout.hdus[-1].header == last.header
    return content


@pytest.mark.parametrize("name", sorted(set(AWKWARD) - UNREAD_BY_ASTROPY - {"odd_headers"}))
def test_extensions_of_awkward_files(name: str) -> None:
    product = read_fits(AWKWARD[name](), filename="a.fits")
    for dataset in product.datasets:
        opened(extension_file(product, dataset), product, dataset)


def test_extensions_of_simulated_products(simulated: Path) -> None:
    for path in sorted(simulated.glob("*/*.fits")):
        product = read_fits(path)
        for dataset in product.datasets:
            file = extension_file(product, dataset)
            content = opened(file, product, dataset)
            assert product.layout is not None
            assert content.startswith(product.layout.hdus[0].header)
            assert file.filename == f"{path.stem}_{dataset}.fits"
            assert file.digest is None


def test_extensions_of_products_made_in_memory() -> None:
    product = made_product()
    for dataset in product.datasets:
        file = extension_file(product, dataset)
        assert file.read(0, file.size)
    assert extension_file(product, "sci").filename == "x_ramp_SCI.fits"
    with pytest.raises(ProductNotFound, match="no dataset 'NONE' in this Ramp; it has SCI, GROUPDQ"):
        extension_file(product, "NONE")
    assert extension_file(product, "sci").read(0, 10**6) == extension_file(product, "SCI").read(0, 10**6)
    empty = Product(datasets={"A": np.zeros((0, 3), np.float32)}, name="x")
    assert extension_file(empty, "A").size == 2 * BLOCK


def first_header(content: bytes) -> dict[str, Any]:
    return {card.keyword: card.value for card in parse_header(content)}


def test_a_primary_header_loses_what_its_data_need() -> None:
    array = np.arange(6, dtype="i2").reshape(2, 3)
    cards = (
        line("BSCALE", "0.5"), line("BZERO", "1.0"), line("BLANK", "-1"), line("TELESCOP", "'JWST'"),
        line("DATASUM", "'1'"), line("CHECKSUM", "'x'"), line("EXTEND", "F"), line("CRPIX1", "3.0"),
    )  # fmt: skip
    content = image(array, *cards, first=True) + image(array, line("EXTNAME", "'SCI'"))
    product = read_fits(content)
    made = opened(extension_file(product, "SCI"), product, "SCI")
    found = first_header(made)
    assert found == {"SIMPLE": True, "BITPIX": 16, "NAXIS": 0, "EXTEND": True, "TELESCOP": "JWST", "CRPIX1": 3.0}
    assert made[80 * 4 : 80 * 6] == cards[3] + cards[7]
    alone = extension_file(product, "PRIMARY")
    assert alone.read(0, alone.size) == content[: alone.size]
    assert alone.size == 2 * BLOCK


def test_a_primary_header_without_data_stays_as_it_is() -> None:
    extension = image(np.arange(6, dtype="i2"), line("EXTNAME", "'SCI'"))
    told = (line("DATE", "'2026-01-01'"), line("DATASUM", "'0'"), line("CHECKSUM", "'abc'"), line("PCOUNT", "0"))
    content = primary(*told) + extension + extension.replace(b"'SCI'", b"'ERR'")
    product = read_fits(content)
    assert opened(extension_file(product, "SCI"), product, "SCI") == content[: 3 * BLOCK]
    # Without EXTEND it is added, and a checksum of what was there goes.
    bare = header(line("SIMPLE", "T"), line("BITPIX", "8"), line("NAXIS", "0"), *told)
    product = read_fits(bare + extension)
    made = opened(extension_file(product, "SCI"), product, "SCI")
    assert list(first_header(made)) == ["SIMPLE", "BITPIX", "NAXIS", "EXTEND", "DATE", "DATASUM", "PCOUNT"]


def test_an_extension_gets_its_padding_back() -> None:
    product = read_fits(AWKWARD["missing_final_padding"]())
    file = extension_file(product, "PRIMARY")
    assert file.read(0, file.size) == AWKWARD["missing_final_padding"]() + bytes(BLOCK - 8)


def test_names_of_extension_files() -> None:
    product = read_fits(AWKWARD["duplicate_names"](), filename="a.fits.gz")
    names = [extension_file(product, name).filename for name in product.datasets]
    assert names[:2] == ["a_SCI.fits", "a_SCI-2.fits"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        odd = read_fits(primary() + image(np.arange(3, dtype="i2"), line("EXTNAME", "'../a b'")), filename="x")
    assert extension_file(odd, "../A B").filename == "x_..-A-B.fits"
    assert repr(extension_file(odd, "../A B")) == f"<VirtualFile x_..-A-B.fits: {3 * BLOCK} bytes>"
