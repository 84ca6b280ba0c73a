"""A reader of a pool's folder, written from docs/explanation/format.md alone: it reads what miripool reads."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - registers the filter that the blobs are coded with
import numpy as np
import pytest
import xxhash
from astropy.io import fits

from miripool import Exposure, Pool, Ramp, Rate, RateInts, Raw
from miripool.pool.core import core_of
from miripool.simulate import SimulatedExposure

# The reader: json, h5py, NumPy and xxhash.


def canonical(content: Any) -> bytes:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "surrogatepass")


@dataclass
class Version:
    serial: int
    kind: str
    name: str
    version: int
    manifest: str
    tags: set[str] = field(default_factory=set)
    is_removed: bool = False
    is_purged: bool = False


class Reader:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        about = json.loads((folder / "pool.json").read_bytes())
        assert about["format"] <= 4
        assert about["digest"] == "xxh3_128"
        self.versions: dict[int, Version] = {}
        for entry in self._entries():
            for action in entry["actions"]:
                self._play(action)

    def _entries(self) -> Iterator[dict[str, Any]]:
        n, previous = 0, None
        while (path := self.folder / "journal" / f"{n:012d}.json").exists():
            entry = json.loads(path.read_bytes())
            digest = entry.pop("digest")
            assert entry["format"] <= 2
            assert (entry["n"], entry["previous"]) == (n, previous)
            assert xxhash.xxh3_128_hexdigest(canonical(entry)) == digest
            yield entry
            n, previous = n + 1, digest

    def _play(self, action: dict[str, Any]) -> None:
        if action["do"] == "save":
            version = Version(*(action[key] for key in ("serial", "kind", "name", "version", "manifest")))
            assert version.serial not in self.versions
            self.versions[version.serial] = version
            return
        for serial in action["serials"]:
            version = self.versions[serial]
            match action["do"]:
                case "tag":
                    for other in self.versions.values():
                        if (other.kind, other.name) == (version.kind, version.name):
                            other.tags.discard(action["label"])
                    version.tags.add(action["label"])
                case "untag":
                    version.tags.discard(action["label"])
                case "remove":
                    version.is_removed = True
                case "restore":
                    version.is_removed = False
                case "purge":
                    version.is_purged = True
                case other:
                    raise AssertionError(other)

    def manifest(self, version: Version) -> dict[str, Any]:
        data = (self.folder / "manifests" / version.manifest[:2] / f"{version.manifest}.json").read_bytes()
        assert xxhash.xxh3_128_hexdigest(data) == version.manifest
        manifest: dict[str, Any] = json.loads(data)
        assert manifest["format"] <= 2
        assert canonical(manifest) == data
        return manifest

    def blob(self, ref: Mapping[str, Any]) -> Path:
        name = ref.get("bundle", ref["digest"])
        return self.folder / "blobs" / name[:2] / f"{name}.h5"

    def array(self, ref: Mapping[str, Any]) -> np.ndarray:
        with h5py.File(self.blob(ref)) as file:
            if "bundle" in ref:
                assert file.attrs["miripool_blob"] == 5
                array = file[ref["digest"]][...]
            else:
                data = file["data"]
                assert data.attrs["digest"] == ref["digest"].encode()
                assert data.attrs["miripool_blob"] in (1, 2, 3, 4)
                array = data[...]
        array = np.asarray(array).astype(dtype_of(ref["dtype"]), copy=False)
        assert array.shape == tuple(ref["shape"])
        assert digest_of(array, ref) == ref["digest"]
        return array


def dtype_of(told: str | list[Any]) -> np.dtype[Any]:
    if isinstance(told, str):
        return np.dtype(told)
    return np.dtype([(name, dtype_of(kind), *map(tuple, shape)) for name, kind, *shape in told])


def header_of(told: list[str] | dict[str, str]) -> bytes:
    if isinstance(told, dict):
        return base64.b64decode(told["base64"])
    text = b"".join(card.encode("latin-1").ljust(80) for card in [*told, "END"])
    return text.ljust(-(-len(text) // 2880) * 2880)


def little(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def digest_of(array: np.ndarray, ref: Mapping[str, Any]) -> str:
    frame = canonical({"array": ref["dtype"], "shape": ref["shape"]})
    hasher = xxhash.xxh3_128(len(frame).to_bytes(8, "little") + frame)
    _update(hasher, array)
    return hasher.hexdigest()


def _update(hasher: Any, array: np.ndarray) -> None:
    if array.dtype.names is None:
        hasher.update(little(array))
        return
    for name in array.dtype.names:
        column = np.ascontiguousarray(array[name])
        hasher.update(column.nbytes.to_bytes(8, "little"))
        _update(hasher, column)


def fits_of(reader: Reader, manifest: dict[str, Any]) -> bytes:
    """Write the file again."""
    parts = []
    if "original" in manifest:
        told = manifest["original"]
        parts = [header_of(told["header"]), unit := frames_of(reader, manifest)]
        parts.append(bytes(-len(unit) % 2880) if told["tail"] is None else reader.array(told["tail"]).tobytes())
    for hdu in manifest["hdus"] if "original" not in manifest else ():
        parts.append(header_of(hdu["header"]))
        unit = b""
        if hdu["encoding"] in ("image", "table"):
            unit = big(reader.array(hdu["data"]), fold=hdu["encoding"] == "image")
        unit += b"".join(reader.array(hdu[part]).tobytes() for part in ("raw", "heap") if part in hdu)
        parts.append(unit)
        parts.append(reader.array(hdu["tail"]).tobytes() if "tail" in hdu else bytes(-len(unit) % 2880))
    if manifest["trailer"] is not None:
        parts.append(reader.array(manifest["trailer"]).tobytes())
    return b"".join(parts)


def frames_of(reader: Reader, manifest: dict[str, Any]) -> bytes:
    """Give the image of frames of a ground test's file."""
    science, reference = (
        next(reader.array(hdu["data"]) for hdu in manifest["hdus"] if hdu["name"] == name) for name in ("SCI", "REFOUT")
    )
    rows = reference.reshape(*reference.shape[:2], -1, science.shape[3])
    frames = np.concatenate([science, rows], axis=2)
    frames = frames.reshape(-1, *frames.shape[2:])
    if manifest["original"]["rest"] is not None:
        frames = np.concatenate([frames, reader.array(manifest["original"]["rest"])])
    return big(frames, fold=True)


def big(array: np.ndarray, *, fold: bool) -> bytes:
    if fold and (array.dtype == np.int8 or (array.dtype.kind == "u" and array.dtype.itemsize > 1)):
        unsigned = array.view(f"u{array.dtype.itemsize}")
        array = unsigned ^ unsigned.dtype.type(1 << (8 * array.dtype.itemsize - 1))
    return np.ascontiguousarray(array, array.dtype.newbyteorder(">")).tobytes()


def tile_list(path: Path, ref: Mapping[str, Any]) -> tuple[dict[str, Any], np.ndarray]:
    """Read what stands behind the end of a blob's HDF5 file."""
    data = path.read_bytes()
    footer = np.frombuffer(data[-32:], [("header", "<u4"), ("tiles", "<u4"), ("digest", "V16"), ("magic", "S8")])[0]
    assert footer["magic"] in (b"MIRIPOOL", b"MIRIPOO2", b"MIRIPOO3")
    fields = [("offset", "<u8"), ("size", "<u4"), ("digest", "V16")]
    if np.dtype(ref["dtype"]).kind in "iuf":
        fields += [("low", ref["dtype"]), ("high", ref["dtype"])]
    if footer["magic"] != b"MIRIPOOL":
        fields.append(("owner", "<u2"))
    kind = np.dtype(fields)
    count = int(footer["tiles"])
    body = data[-32 - int(footer["header"]) - count * kind.itemsize : -32]
    assert xxhash.xxh3_128_digest(body) == footer["digest"].tobytes()
    return json.loads(body[count * kind.itemsize :]), np.frombuffer(body, kind, count)


def bundle_list(path: Path) -> tuple[str, bytes, dict[str, tuple[bytes, int, int, int]]]:
    """Read what stands behind the end of a bundle's HDF5 file: its name, the HDF5 file, and the records."""
    data = path.read_bytes()
    name, whole, count, digest, magic = struct.unpack("<16s16sI16s8s", data[-60:])
    records = data[-60 - 45 * count : -60]
    assert magic == b"MIRIBNDL"
    assert xxhash.xxh3_128_digest(data[-60 - 45 * count : -24]) == digest
    hdf5 = data[: -60 - 45 * count]
    assert xxhash.xxh3_128_digest(hdf5) == whole
    return name.hex(), hdf5, {array.hex(): tuple(told) for array, *told in struct.iter_unpack("<16s16sQIB", records)}


# What it reads, held against miripool.


def folder_of(pool: Pool) -> Path:
    return Path(core_of(pool).archive.place)


@pytest.fixture
def filled(pool: Pool, simulated: Path) -> Pool:
    """Versions that are plain, delta, of few changed pixels, tagged, removed; images, tables, a log, a context."""
    list(pool.ingest([simulated / "uncal", simulated / "v1"], tag="using cal v1"))
    list(pool.ingest([simulated / "v2"], tag="using cal v2"))
    array = np.random.default_rng(1).normal(100, 5, (2, 16, 256, 256)).astype("f4")
    pool.save(Ramp({"detector": "MIRIMAGE"}, {"SCI": array}, name="big"), tag="tagged")
    array[0, 3, :32, :64:2] += 1
    array[0, 3, 10, 10] = np.nan
    pool.save(Ramp({"detector": "MIRIMAGE"}, {"SCI": array}, name="big"))
    few = np.random.default_rng(2).normal(100, 5, (2, 4, 40, 60)).astype("f4")
    log = np.array([(np.resize(np.arange(200, dtype="u1"), 5000),)], [("ASDF_METADATA", "u1", (5000,))])
    for _ in range(2):
        pool.save(Ramp({"detector": "MIRIMAGE"}, {"SCI": few, "LOG": log}, name="few"))
        few[:, 2:, 5, 5:7] += 1
        few[1, 0, 30, 50] = np.nan
    pool.tag("Ramp/big@1", "tagged")
    pool.tag("Ramp/big@0", "of old")
    pool.tag("Ramp/big@0", "for a while")
    pool.untag("for a while", "Ramp/big@0")
    array[1, 3, 10, 10] = 7
    pool.remove(pool.save(Ramp({"detector": "MIRIMAGE"}, {"SCI": array}, name="big")))
    return pool


@pytest.mark.slow
def test_versions_and_tags(filled: Pool) -> None:
    reader = Reader(folder_of(filled))
    living = {v.serial: v for v in reader.versions.values() if not v.is_removed}
    refs = [ref for kind in (Raw, Ramp, RateInts, Rate, Exposure) for ref in filled.select(kind, all_versions=True)]
    assert {(v.serial, v.kind, v.name, v.version, *sorted(v.tags)) for v in living.values()} == {
        (ref.serial, ref.urn.split(":")[2], ref.name, ref.version, *sorted(ref.tags)) for ref in refs
    }
    assert [sorted(v.tags) for v in living.values() if v.name == "big"] == [["of old"], ["tagged"]]
    assert [v.version for v in reader.versions.values() if v.is_removed] == [2]


@pytest.mark.slow
def test_headers_and_arrays(filled: Pool) -> None:
    reader = Reader(folder_of(filled))
    forms = set()
    for version in reader.versions.values():
        if version.is_removed or version.kind == "Exposure":
            continue
        product = filled.ref(f"urn:jpl8:{version.kind}:{version.serial}").product
        manifest = reader.manifest(version)
        assert [(hdu["name"], header_of(hdu["header"])) for hdu in manifest["hdus"]] == list(product.meta.headers)
        for hdu in manifest["hdus"]:
            if "data" not in hdu:
                continue
            array = reader.array(hdu["data"])
            if array.dtype.names is None:
                np.testing.assert_array_equal(array, product[hdu["name"]][...])
            with h5py.File(reader.blob(hdu["data"])) as file:
                forms.add(int((file if "bundle" in hdu["data"] else file["data"]).attrs["miripool_blob"]))
    assert forms == {1, 2, 3, 4, 5}


@pytest.mark.slow
def test_the_file_again(filled: Pool, simulated: Path) -> None:
    reader = Reader(folder_of(filled))
    files = {path.name: path.read_bytes() for folder in ("uncal", "v1") for path in (simulated / folder).iterdir()}
    for version in reader.versions.values():
        manifest = reader.manifest(version)
        if manifest["origin"] is not None and version.version == 0:
            content = fits_of(reader, manifest)
            assert content == files[manifest["origin"]["filename"]]
            assert len(content) == manifest["origin"]["size"]
            assert xxhash.xxh3_128_hexdigest(content) == manifest["origin"]["digest"]


def awkward(folder: Path) -> list[Path]:
    """Write files whose parts are not only plain images and tables."""
    image = np.arange(4096, dtype="i2").reshape(64, 64)
    scaled = fits.ImageHDU(image, name="SCALED")
    scaled.header["BSCALE"], scaled.header["BZERO"], scaled.header["BLANK"] = 0.5, 10.0, 3
    unsigned = [fits.ImageHDU(image.astype(kind), name=kind) for kind in ("u2", "u4", "i1", "u1")]
    lists = np.empty(3, object)
    lists[:] = [np.arange(n, dtype="i4") for n in (1, 4, 2)]
    columns = [
        fits.Column("lists", "PJ()", array=lists),
        fits.Column("flag", "L", array=np.array([True, False, True])),
        fits.Column("words", "5A", array=np.array(["a", "bc", "def"])),
        fits.Column("pairs", "2D", array=np.ones((3, 2))),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="TABLE")
    packed = fits.CompImageHDU(image.astype("i4"), name="PACKED")
    fits.HDUList([fits.PrimaryHDU(), scaled, *unsigned, table, packed]).writeto(folder / "forms.fits")
    behind = folder / "behind.fits"
    fits.HDUList([fits.PrimaryHDU(image)]).writeto(behind)
    behind.write_bytes(behind.read_bytes()[:-1] + b"x" + b"more behind the last HDU")
    return [folder / "forms.fits", behind]


def test_other_files_again(pool: Pool, exposure: SimulatedExposure, tmp_path: Path) -> None:
    files = [*awkward(tmp_path), exposure.write_jpl(tmp_path)]
    for file in files:
        pool.save(file)
    reader = Reader(folder_of(pool))
    found = {}
    for version in reader.versions.values():
        manifest = reader.manifest(version)
        if manifest["origin"] is not None:
            found[manifest["origin"]["filename"]] = manifest
            assert fits_of(reader, manifest) == (tmp_path / manifest["origin"]["filename"]).read_bytes()
    assert set(found) == {file.name for file in files}
    forms = {hdu["name"]: hdu for hdu in found["forms.fits"]["hdus"]}
    assert forms["SCALED"]["scale"] == {"bscale": 0.5, "bzero": 10.0, "blank": 3}
    assert [forms[name]["data"]["dtype"] for name in ("U2", "U4", "I1", "U1")] == ["<u2", "<u4", "|i1", "|u1"]
    assert "heap" in forms["TABLE"]
    assert forms["PACKED"]["encoding"] == "opaque"
    assert reader.array(forms["PACKED"]["data"]).shape == (64, 64)
    assert "tail" in found["behind.fits"]["hdus"][0]
    assert found["behind.fits"]["trailer"] is not None
    assert "original" in found[files[-1].name]


@pytest.mark.slow
def test_tiles(filled: Pool) -> None:
    """Each tile is found by the list, has the digest that it says, and those of a delta blob are its owners'."""
    reader = Reader(folder_of(filled))
    for version in (v for v in reader.versions.values() if v.name == "big" and not v.is_removed):
        ref = next(hdu["data"] for hdu in reader.manifest(version)["hdus"] if hdu["name"] == "SCI")
        told, records = tile_list(reader.blob(ref), ref)
        assert (told["digest"], told["dtype"], told["shape"]) == (ref["digest"], ref["dtype"], ref["shape"])
        array, chunks = reader.array(ref), told["tile"]
        grid = [-(-n // c) for n, c in zip(ref["shape"], chunks, strict=True)]
        for record, place in zip(records, np.ndindex(*grid), strict=True):
            tile = array[tuple(slice(i * c, (i + 1) * c) for i, c in zip(place, chunks, strict=True))]
            assert xxhash.xxh3_128_digest(little(tile)) == record["digest"].tobytes()
            assert (record["low"], record["high"]) == (np.nanmin(tile), np.nanmax(tile))
        with h5py.File(reader.blob(ref)) as file:
            assert file["tile_digests"][...].tobytes() == b"".join(d.tobytes() for d in records["digest"])
            if "owners" in told:
                assert file["tile_owners"][...].tolist() == records["owner"].tolist()
                assert [name.decode() for name in file["owners"][...]] == told["owners"]
                first = next(v for v in reader.versions.values() if v.name == "big" and v.version == 0)
                whole = next(hdu["data"] for hdu in reader.manifest(first)["hdus"] if hdu["name"] == "SCI")
                assert told["owners"] == [whole["digest"]]
                assert records["owner"].tolist().count(0) == 1
                assert not records["offset"][records["owner"] > 0].any()
            own, stored = records[0], file["tiles" if "owners" in told else "data"]
            _, chunk = stored.id.read_direct_chunk((0,) * len(chunks))
            data = reader.blob(ref).read_bytes()
            assert data[int(own["offset"]) : int(own["offset"]) + int(own["size"])] == chunk
            assert int.from_bytes(chunk[:8], "big") == np.prod(chunks) * np.dtype(ref["dtype"]).itemsize


@pytest.mark.slow
def test_bundles(filled: Pool) -> None:
    """Each array of a bundle is found by the list, and the bundle has the name of its arrays."""
    reader = Reader(folder_of(filled))
    codes = set()
    for version in (v for v in reader.versions.values() if not v.is_removed):
        refs = [hdu["data"] for hdu in reader.manifest(version)["hdus"] if "bundle" in hdu.get("data", {})]
        if not refs:
            continue
        assert len({ref["bundle"] for ref in refs}) == 1
        name, hdf5, records = bundle_list(reader.blob(refs[0]))
        small = sorted({ref["digest"] for ref in refs})
        assert list(records) == small
        assert name == refs[0]["bundle"] == xxhash.xxh3_128_hexdigest(canonical({"bundle": small}))
        for ref in refs:
            array = reader.array(ref)
            digest, offset, size, code = records[ref["digest"]]
            assert xxhash.xxh3_128_digest(little(array)) == digest
            part = hdf5[offset : offset + size]
            if code == 2:
                assert int.from_bytes(part[:8], "big") == array.nbytes
            else:
                assert (zlib.decompress(part) if code else part) == little(array)
            codes.add(code)
    assert codes == {0, 1, 2}


@pytest.mark.slow
def test_changed_pixels(filled: Pool) -> None:
    """The array is put together from the owner's and the changed pixels."""
    reader = Reader(folder_of(filled))
    first, second = (
        next(hdu["data"] for hdu in reader.manifest(version)["hdus"] if hdu["name"] == "SCI")
        for version in reader.versions.values()
        if version.name == "few"
    )
    told, records = tile_list(reader.blob(second), second)
    array, pixels = reader.array(first), told["pixels"]
    with h5py.File(reader.blob(second)) as file:
        assert file["data"].attrs["miripool_blob"] == 3
        assert file["runs"][...].tolist() == pixels["runs"] == [[5, 5, 2], [30, 50, 1]]
        assert [name.decode() for name in file["owners"][...]] == told["owners"] == [first["digest"]]
        assert file["tile_owners"][...].tolist() == records["owner"].tolist()
        assert records["owner"].all()
        assert file["tiles"].chunks == tuple(told["tile"])
        assert file["tiles"].id.get_num_chunks() == 0
        packed, place = file["pixels"][...], 0
        for row, column, count in pixels["runs"]:
            array[..., row, column : column + count] = packed[..., 0, place : place + count]
            place += count
        assert packed.shape == (2, 4, 1, place)
        assert list(file["pixels"].chunks) == pixels["tile"] == [2, 4, 1, 3]
        digest = xxhash.xxh3_128_hexdigest(little(packed))
        assert [digest] == pixels["digest"] == [row.tobytes().hex() for row in file["pixel_digests"][...]]
        (offset,), (size,) = pixels["offset"], pixels["size"]
        _, chunk = file["pixels"].id.read_direct_chunk((0, 0, 0, 0))
        assert reader.blob(second).read_bytes()[offset : offset + size] == chunk
    assert digest_of(array, second) == second["digest"]
    for record, tile in zip(records, array.reshape(2, -1), strict=True):
        assert xxhash.xxh3_128_digest(little(tile)) == record["digest"].tobytes()
        assert (record["low"], record["high"]) == (np.nanmin(tile), np.nanmax(tile))
