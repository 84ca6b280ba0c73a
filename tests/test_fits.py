"""Any FITS file is read as a product and written again bit for bit; arrays are those that astropy reads."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
from awkward import AWKWARD, BLOCK, column, header, image, line, padded, primary, table
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from miripool.errors import AlreadyExists, FileMissing, FormatError, IntegrityError, InvalidInput, StorageError
from miripool.formats import iter_bytes, layout_of, read_fits, to_hdulist, write_fits
from miripool.formats import sources as sources_module
from miripool.model.dataset import Dataset
from miripool.model.kinds import Ramp, Rate
from miripool.model.product import Product
from miripool.model.table import TableDataset

SHARED = Path(os.environ.get("MIRIPOOL_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
REAL = sorted((SHARED / "jpl8").glob("*/*.fits"))
real_files = pytest.mark.parametrize(
    "path",
    REAL or [pytest.param(None, marks=pytest.mark.skip(f"no real data in {SHARED}; set MIRIPOOL_SHARED_DATA"))],
    ids=lambda p: f"{p.parent.name}-{p.stem.split('_')[-1]}" if p else "none",
)


UNREAD_BY_ASTROPY = {
    "no_columns",
    "empty_axes",
    "missing_header_padding",
    "variable_bits",
    "column_names",
    "unsigned_blank",
}


def rewritten(product: Product) -> bytes:
    assert product.layout is not None
    return b"".join(iter_bytes(product.layout))


def check_against_astropy(content: bytes, product: Product) -> int:
    """Compare all arrays; give the number of HDUs compared."""
    from astropy.io import fits

    compared = 0
    assert product.layout is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(io.BytesIO(content), memmap=False, character_as_bytes=True) as hdus:
            for hdu, ours in zip(hdus, product.layout.hdus, strict=False):
                if ours.data is None:
                    continue
                dataset = product[ours.name]
                if isinstance(dataset, TableDataset):
                    check_table(hdu, dataset)
                else:
                    theirs = np.asarray(hdu.data)
                    np.testing.assert_array_equal(dataset[...], theirs)
                    assert dataset.shape == theirs.shape
                    if dataset.scale is None:
                        assert dataset.dtype == theirs.dtype.newbyteorder("=")
                compared += 1
    return compared


def check_table(hdu: Any, dataset: TableDataset) -> None:
    for i, described in enumerate(dataset.columns):
        theirs = hdu.data.field(i)
        ours = dataset[described.name]
        assert len(ours) == len(theirs)
        if described.variable:
            # astropy lets unsigned integers of variable-length columns overflow, and changes shared cells twice
            for a, b in zip(ours, theirs, strict=True) if described.tzero == 0 else ():
                np.testing.assert_array_equal(
                    a.replace(" ", "") if isinstance(a, str) else a, "".join(b) if isinstance(a, str) else b
                )
        elif described.code == "A":
            flat = np.asarray(theirs).ravel().tolist()
            texts = [x.partition(b"\0")[0].rstrip(b" ").decode("latin-1") for x in flat]
            assert ours.ravel().tolist() == texts
        elif isinstance(ours, np.ma.MaskedArray):
            np.testing.assert_array_equal(ours.data, theirs)
        else:
            known = ~np.isnan(ours) if described.is_scaled else np.ones(ours.shape, bool)
            np.testing.assert_array_equal(ours[known], np.asarray(theirs)[known])


@real_files
def test_real_files_round_trip(path: Path) -> None:
    content = path.read_bytes()
    product = read_fits(path)
    assert hashlib.sha256(rewritten(product)).digest() == hashlib.sha256(content).digest()
    assert product.layout is not None
    assert product.layout.origin is not None
    assert product.layout.origin.size == len(content)
    assert product.layout.origin.digest == xxhash.xxh3_128_hexdigest(content)
    assert product.layout.origin.filename == path.name
    as_it_is = read_fits(path, kind="Product") if product.layout.original is not None else product
    assert hashlib.sha256(rewritten(as_it_is)).digest() == hashlib.sha256(content).digest()
    assert check_against_astropy(content, as_it_is) == len(as_it_is)
    assert product.name == "MIRI_5582_89_S_20180308-010230_SCE1"


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_files_round_trip(name: str, tmp_path: Path) -> None:
    content = AWKWARD[name]()
    path = tmp_path / f"{name}.fits"
    path.write_bytes(content)
    if name == "compressed_file":
        content = gzip.decompress(content)
    for source in (path, str(path), path.read_bytes(), memoryview(path.read_bytes())):
        product = read_fits(source)
        assert hashlib.sha256(rewritten(product)).digest() == hashlib.sha256(content).digest()
    written = write_fits(product, tmp_path / "out.fits")
    assert written.read_bytes() == content


@pytest.mark.parametrize("name", sorted(set(AWKWARD) - UNREAD_BY_ASTROPY))
def test_awkward_arrays_equal_astropys(name: str) -> None:
    content = AWKWARD[name]()
    product = read_fits(content)
    compared = check_against_astropy(content if name != "compressed_file" else gzip.decompress(content), product)
    opaque = {"random_groups", "ascii_table", "unknown_extension", "slack_rows", "no_data", "odd_headers"}
    assert compared == len(product)
    assert compared > 0 or name in opaque


def test_types_of_images() -> None:
    product = read_fits(AWKWARD["unsigned"]())
    assert [d.dtype for d in product.values()] == [np.uint16, np.uint32, np.uint64, np.int8]
    assert all(d.dtype.isnative for d in product.values())
    scaled = read_fits(AWKWARD["scaled"]())
    assert scaled["PRIMARY"].source.dtype == np.int16
    assert np.isnan(scaled["PRIMARY"][0, 0])
    assert scaled["PRIMARY"][0, 2] == 102.5
    assert np.isnan(read_fits(AWKWARD["unsigned_blank"]())["PRIMARY"][0])


def test_nan_payloads_and_signed_zeros_survive() -> None:
    product = read_fits(AWKWARD["floats"]())
    assert product["PRIMARY"][...].view("u8").tolist()[:4] == [
        0x7FF8000000000001, 0x7FF0000000000001, 0xFFF8DEADBEEF0000, 0x8000000000000000,
    ]  # fmt: skip
    assert product["SCI"][...].view("u4").tolist()[:2] == [0x7FC00001, 0x7F800001]


def test_names_of_datasets() -> None:
    names = list(read_fits(AWKWARD["duplicate_names"]()))
    assert names == ["SCI", "SCI,2", "SCI,3", "SCI,4", "HDU5", "PRIMARY,2"]


def test_basic_indexing_gives_native_arrays_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    path.write_bytes(AWKWARD["unsigned"]())
    whole = read_fits(path)["PRIMARY"]
    expected = whole[...]
    for key in (0, (1, 2), (slice(None), 3), (..., slice(None, None, 2)), (slice(4, 1, -1), slice(2, 5))):
        part = whole[key]
        np.testing.assert_array_equal(part, expected[key])
        assert part.dtype == np.uint16
        assert part.dtype.isnative
    mine = whole[...]
    mine[...] = 0
    np.testing.assert_array_equal(whole[...], expected)


def test_compressed_images_show_pixels_and_keep_their_bytes() -> None:
    product = read_fits(AWKWARD["rice"]())
    assert product["SCI"].shape == (40, 50)
    assert product["SCI"][3, 4] == 154
    assert product.layout is not None
    assert product.layout.hdus[1].encoding == "opaque"
    assert product.layout.hdus[1].raw is not None
    assert read_fits(AWKWARD["rice_unsigned"]())["SCI"].dtype == np.uint16


def test_huge_compressed_files_go_through_a_temporary_file(monkeypatch: pytest.MonkeyPatch) -> None:
    from miripool.formats import stream

    monkeypatch.setattr(stream, "_IN_MEMORY", 1000)
    product = read_fits(AWKWARD["compressed_file"]())
    assert rewritten(product) == gzip.decompress(AWKWARD["compressed_file"]())


# Bad input


def broken(name: str, tmp_path: Path) -> Path:
    path = tmp_path / "bad.fits"
    good = image(np.zeros((10, 100), "i4"), first=True)
    contents = {
        "empty": b"",
        "text": b"# not FITS at all\n" * 1000,
        "short": b"SIMPLE",
        "no END": good[:BLOCK].replace(b"END", b"   "),
        "cut header": good[:1000].replace(b"END", b"   "),
        "cut data": good[:-3000],
        "cut extension header": primary() + image(np.zeros(3, "i2"))[: 80 * 4],
        "lying": good.replace(line("NAXIS1", "100"), line("NAXIS1", "100000000000")),
        "overflow": good.replace(line("NAXIS1", "100"), line("NAXIS1", "9" * 20)),
        "negative": good.replace(line("NAXIS1", "100"), line("NAXIS1", "-100")),
        "many axes": good.replace(line("NAXIS", "2"), line("NAXIS", "999999999")),
        "missing axis": good.replace(line("NAXIS2", "10"), line("NAXIS7", "10")),
        "text axis": good.replace(line("NAXIS2", "10"), line("NAXIS2", "'ten'")),
        "logical axis": good.replace(line("NAXIS2", "10"), line("NAXIS2", "T")),
        "bits": good.replace(line("BITPIX", "32"), line("BITPIX", "17")),
        "negative heap": primary() + table([column(1, "a", "J")], bytes(8), 4).replace(
            line("PCOUNT", "0"), line("PCOUNT", "-4")
        ),
        "cut gzip": gzip.compress(good)[:-20],
        "bad gzip": b"\x1f\x8b" + b"x" * 100,
        "empty gzip": gzip.compress(b""),
    }  # fmt: skip
    path.write_bytes(contents[name])
    return path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty", "empty"),
        ("text", "not a FITS file"),
        ("short", "not a FITS file"),
        ("no END", "HDU 0: its header has no END"),
        ("cut header", "no END"),
        ("cut data", "HDU 0: 1240 bytes are missing"),
        ("cut extension header", "HDU 1: its header has no END"),
        ("lying", "bytes are missing"),
        ("overflow", "bytes are missing"),
        ("negative", "NAXIS1 = -100"),
        ("many axes", "NAXIS = 999999999"),
        ("missing axis", "no card NAXIS2"),
        ("text axis", "NAXIS2 = 'ten'"),
        ("logical axis", "NAXIS2 = True"),
        ("bits", "BITPIX = 17"),
        ("negative heap", "HDU 1: PCOUNT = -4"),
        ("cut gzip", "damaged gzip"),
        ("bad gzip", "damaged gzip"),
        ("empty gzip", "empty"),
    ],
)
def test_bad_files_are_told_by_name(name: str, words: str, tmp_path: Path) -> None:
    path = broken(name, tmp_path)
    tracemalloc.start()
    with pytest.raises(FormatError) as caught:
        read_fits(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(path) in str(caught.value)
    assert words in str(caught.value)
    assert peak < 20 << 20


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(FileMissing, match=r"none\.fits"):
        read_fits(tmp_path / "none.fits")
    with pytest.raises(FormatError, match="a folder"):
        read_fits(tmp_path)
    with pytest.raises(InvalidInput, match="int can't be read"):
        read_fits(5)


def test_lying_compressed_image_stays_opaque() -> None:
    content = AWKWARD["rice"]().replace(line("ZNAXIS1", "50")[:30], line("ZNAXIS1", "5" * 14)[:30])
    product = read_fits(content)
    assert len(product) == 0
    assert rewritten(product) == content


def test_damaged_compressed_image_is_told_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "bad.fits"
    content = bytearray(AWKWARD["rice"]())
    content[-2880:] = b"\xff" * 2880
    path.write_bytes(content)
    product = read_fits(path)
    assert rewritten(product) == content
    with pytest.raises(FormatError, match=r"bad\.fits: HDU SCI"):
        product["SCI"][...]


def test_lying_heap_pointers_are_an_error_only_when_read() -> None:
    content = AWKWARD["variable_length"]()
    at = content.index(b"\0\0\0\x00\x03\0\0\0\0") + 1
    changed = content[:at] + b"\x7f\xff\xff\xff" + content[at + 4 :]
    product = read_fits(changed)
    assert rewritten(product) == changed
    with pytest.raises(FormatError, match="floats"):
        product["VAR"]["floats"]  # type: ignore[index]


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(0, 5000))
def test_damage_never_gives_anything_but_the_bytes_or_an_error(noise: bytes, place: int) -> None:
    content = bytearray(AWKWARD["all_column_types"]())
    content[place : place + len(noise)] = noise
    try:
        product = read_fits(bytes(content))
    except FormatError:
        return
    assert rewritten(product) == bytes(content)


# Memory


def test_a_big_file_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "big.fits"
    shape = (40, 1000, 1000)
    cards = (line("SIMPLE", "T"), line("BITPIX", "16"), line("NAXIS", "3"), line("NAXIS1", "1000"))
    with path.open("wb") as file:
        file.write(header(*cards, line("NAXIS2", "1000"), line("NAXIS3", "40"), line("BZERO", "32768")))
        file.truncate(BLOCK + -(-80_000_000 // BLOCK) * BLOCK)
    tracemalloc.start()
    product = read_fits(path)
    assert product["PRIMARY"].shape == shape
    assert product["PRIMARY"][20, 500, 3] == 32768
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_writing_takes_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources_module, "_SLAB", 1 << 20)
    monkeypatch.setattr(sources_module, "_PIECE", 1 << 18)
    ramp = Ramp(datasets={"SCI": np.zeros((2, 40, 512, 256), np.float32)}, name="x")
    tracemalloc.start()
    write_fits(ramp, tmp_path / "x.fits")
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


class Counting:
    """An array source that notes what was read."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.keys: list[Any] = []

    def __getitem__(self, key: Any, /) -> Any:
        self.keys.append(key)
        return self.array[key]


def test_an_integration_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # Stored tiles hold all groups of an integration: reading it group by group would decompress it again each time.
    monkeypatch.setattr(sources_module, "_SLAB", 10 * 4 * 4 * 4)
    source = Counting(np.arange(3 * 10 * 16, dtype=np.float32).reshape(3, 10, 4, 4))
    assert b"".join(sources_module.iter_blocks(source)) == source.array.astype(">f4").tobytes()
    assert source.keys == [(slice(i, i + 1),) for i in range(3)]


# Writing


def test_export_is_refused_where_a_file_is(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    path.write_bytes(b"mine")
    product = read_fits(AWKWARD["unsigned"]())
    with pytest.raises(AlreadyExists, match=r"x\.fits"):
        write_fits(product, path)
    assert path.read_bytes() == b"mine"
    write_fits(product, path, overwrite=True)
    assert path.read_bytes() == AWKWARD["unsigned"]()
    with pytest.raises(FileMissing, match="no such folder"):
        write_fits(product, tmp_path / "none" / "x.fits")
    assert [p.name for p in tmp_path.iterdir()] == ["x.fits"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_export_notices_changed_data(tmp_path: Path) -> None:
    path = tmp_path / "in.fits"
    path.write_bytes(AWKWARD["unsigned"]())
    product = read_fits(path)
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(BLOCK + 4)
        file.write(b"\x55\x55")
    with pytest.raises(StorageError, match=r"in\.fits: has changed"):
        write_fits(product, tmp_path / "out.fits")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(IntegrityError, match=r"in\.fits"):
        write_fits(product, tmp_path / "out.fits")
    assert [p.name for p in tmp_path.iterdir()] == ["in.fits"]


def test_export_compressed(tmp_path: Path) -> None:
    product = read_fits(AWKWARD["unsigned"]())
    one = write_fits(product, tmp_path / "a.fits.gz").read_bytes()
    two = write_fits(product, tmp_path / "b.fits.gz").read_bytes()
    assert one == two
    assert gzip.decompress(one) == AWKWARD["unsigned"]()
    assert read_fits(tmp_path / "a.fits.gz").name == "a"


def test_changed_metadata_change_the_header_only() -> None:
    product = read_fits(AWKWARD["unsigned"](), name="x")
    product.meta["lamp"] = "ON"
    product.meta["DQ.BUNIT"] = "1"
    layout = layout_of(product)
    assert layout.hdus[1].unit == "1"
    again = read_fits(b"".join(iter_bytes(layout)))
    assert layout.origin is None
    assert again.meta["LAMP"].value == "ON"
    np.testing.assert_array_equal(again["PRIMARY"][...], product["PRIMARY"][...])


# Made in memory


def made_product() -> Ramp:
    rng = np.random.default_rng(1)
    rows = np.zeros(3, [("t", "f8"), ("n", "u2"), ("s", "U5"), ("ok", "?"), ("v", "i4", (2, 3)), ("c", "S3", (2,))])
    rows["t"], rows["n"], rows["s"], rows["ok"] = [1, np.nan, 3], [1, 65535, 3], ["a", "bcd", ""], [True, False, True]
    rows["v"] = rng.integers(-5, 5, (3, 2, 3))
    rows["c"] = [[b"ab", b"c"], [b"", b"xyz"], [b"1", b"2"]]
    datasets = {
        "SCI": rng.normal(size=(2, 3, 4, 5)).astype(np.float32),
        "GROUPDQ": rng.integers(0, 255, (2, 3, 4, 5)).astype(np.uint8),
        "PIXELDQ": rng.integers(0, 2**32, (4, 5)).astype(np.uint32),
        "BIG": rng.integers(0, 2**63, (2,)).astype(np.uint64),
        "SMALL": rng.integers(-128, 127, (2, 2)).astype(np.int8),
        "MASK": np.array([True, False]),
        "HALF": np.array([1.5, 2.5], np.float16),
        "ONE": np.float64(3.5),
        "INT_TIMES": rows,
    }
    return Ramp({"ngroups": 3, "SCI.BUNIT": "DN", "HISTORY": "made\nby hand"}, datasets, name="x")


def test_products_made_in_memory_can_be_read_again() -> None:
    made = made_product()
    content = b"".join(iter_bytes(layout_of(made)))
    assert content == b"".join(iter_bytes(layout_of(made_product())))
    again = read_fits(content, name="x")
    assert isinstance(again, Ramp)
    assert check_against_astropy(content, again) == len(again)
    assert list(again) == list(made)
    for name in set(made) - {"INT_TIMES"}:
        np.testing.assert_array_equal(np.ravel(again[name][...]), np.ravel(made[name][...]))
    assert again["PIXELDQ"].dtype == np.uint32
    assert again["SCI"].unit == "DN"
    assert again.meta["ngroups"].value == 3
    assert again.meta["history"].value == "made\nby hand"
    times, rows = again["INT_TIMES"], made["INT_TIMES"][...]
    assert isinstance(times, TableDataset)
    for name in ("t", "n", "s", "ok", "v"):
        np.testing.assert_array_equal(times[name], rows[name])
    assert times["c"].tolist() == [["ab", "c"], ["", "xyz"], ["1", "2"]]
    assert times["n"].dtype == np.uint16


def test_tables_and_scales_of_files_go_into_new_products() -> None:
    for name in ("all_column_types", "variable_length", "column_names", "scaled", "no_rows"):
        old = read_fits(AWKWARD[name]())
        new = Product(old.meta, dict(old), name="x")
        again = read_fits(b"".join(iter_bytes(layout_of(new))))
        assert list(again) == list(old) or name == "column_names"
        for key, dataset in zip(again, old.values(), strict=True):
            assert again[key].source[...].tobytes() == dataset.source[...].tobytes()
            if isinstance(dataset, TableDataset):
                for described in dataset.columns:
                    np.testing.assert_equal(list(again[key][described.name]), list(dataset[described.name]))


def test_rates_made_in_memory_are_rates_again() -> None:
    rate = Rate(datasets={"SCI": np.zeros((3, 4), np.float32)}, name="x")
    assert isinstance(read_fits(b"".join(iter_bytes(layout_of(rate)))), Rate)


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("TEXT", np.array([b"a"]), "structured"),
        ("PRIMARY", np.zeros(2, [("a", "i4")]), "extensions only"),
        ("T", np.zeros(2, [("a", "U3")]), None),
        ("T", np.array([("\u00e9",)], [("a", "U3")]), "ASCII"),
        ("T", np.zeros(2, [("a", "u8"), ("b", "O")]), "no columns of object"),
        ("L", np.zeros(2, np.longdouble), "no images of"),
    ],
)
def test_what_fits_can_not_hold(name: str, array: Any, words: str | None) -> None:
    product = Product(datasets={name: Dataset(name, array)}, name="x")
    if words is None:
        layout_of(product)
        return
    with pytest.raises(InvalidInput, match=words):
        layout_of(product)


def test_hdulist_in_and_out() -> None:
    from astropy.io import fits

    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.arange(6, dtype=np.uint16).reshape(2, 3), name="SCI")])
    product = read_fits(hdus, name="x", kind="Product")
    assert product["SCI"].dtype == np.uint16
    with to_hdulist(product) as given:
        np.testing.assert_array_equal(given["SCI"].data, np.arange(6).reshape(2, 3))


_images = st.one_of(
    npst.arrays(
        st.sampled_from([np.dtype(d) for d in ("u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")]),
        npst.array_shapes(min_dims=1, max_dims=5, max_side=4),
    )
)


@given(_images, _images)
@settings(max_examples=60, deadline=None)
def test_any_arrays_round_trip(one: np.ndarray[Any, Any], two: np.ndarray[Any, Any]) -> None:
    content = b"".join(iter_bytes(layout_of(Product(datasets={"SCI": one, "ERR": two}, name="x"))))
    again = read_fits(content)
    for name, array in (("SCI", one), ("ERR", two)):
        assert again[name].dtype == array.dtype
        assert again[name][...].tobytes() == array.tobytes()
    assert rewritten(again) == content


_fields = st.sampled_from(["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "c8", "c16", "S3", "?"])


@pytest.mark.slow
@given(st.lists(st.tuples(_fields, st.sampled_from([(), (1,), (2,), (2, 3)])), min_size=1, max_size=6), st.data())
@settings(max_examples=60, deadline=None)
def test_any_tables_round_trip(fields: list[tuple[str, tuple[int, ...]]], data: st.DataObject) -> None:
    dtype = np.dtype([(f"f{i}", kind, shape) for i, (kind, shape) in enumerate(fields)])
    rows = np.zeros(data.draw(st.integers(0, 4)), dtype)
    for i, (kind, shape) in enumerate(fields):
        rows[f"f{i}"] = data.draw(npst.arrays(kind, (len(rows), *shape)))
    content = b"".join(iter_bytes(layout_of(Product(datasets={"T": rows}, name="x"))))
    again = read_fits(content)
    assert rewritten(again) == content
    table_ = again["T"]
    assert isinstance(table_, TableDataset)
    for i, (kind, _) in enumerate(fields):
        values, expected = table_[f"f{i}"], rows[f"f{i}"]
        if kind == "S3":
            assert np.ravel(values).tolist() == [
                x.partition(b"\0")[0].rstrip(b" ").decode("latin-1") for x in np.ravel(expected).tolist()
            ]
        else:
            assert np.ascontiguousarray(values).tobytes() == np.ascontiguousarray(expected).tobytes()


def test_padding_is_exact() -> None:
    assert padded(b"") == b""
    assert len(padded(b"x")) == BLOCK


def test_odd_names_and_numbers_of_hdus_are_kept_apart() -> None:
    names = ["'A\x00B'", "'" + "x" * 60 + "'", "'SAME'", "'SAME'", "'SAME'"]
    stream = primary() + b"".join(image(np.zeros(3, "f4"), line("EXTNAME", name)) for name in names)
    product = read_fits(stream, name="odd")
    assert list(product) == ["A?B", "X" * 60, "SAME", "SAME,2", "SAME,3"]
    assert b"".join(iter_bytes(product.layout)) == stream  # type: ignore[arg-type]


def test_a_scale_without_end_is_none() -> None:
    stream = primary() + image(np.zeros(3, "f4"), line("BSCALE", "1E999"))
    product = read_fits(stream, name="odd")
    assert b"".join(iter_bytes(product.layout)) == stream  # type: ignore[arg-type]
    assert product["HDU1"].scale is None
