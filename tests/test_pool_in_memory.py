"""A whole pool in memory: nothing but the contract of storage is asked of the place where a pool's bytes are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import homes
import numpy as np
import pytest
from astropy.io import fits

from miripool import FullQuery, Home, Pool, Ramp
from miripool.index import Catalog
from miripool.pool.core import Core, core_of
from miripool.store.archive import Archive
from miripool.store.storage.memory import MemoryStorage

home = homes.home


@pytest.fixture
def memory(home: Home) -> Iterator[Pool]:
    archive = Archive.create(MemoryStorage())

    def connect() -> Catalog:
        return Catalog.open(home.database_url(), schema="in_memory", pool_id=archive.info.id)

    with Pool(Core("memory", archive, connect)) as pool:
        yield pool


def write_ramp(path: Path, *, changed: bool = False) -> Path:
    """Write a ramp of 5 MB, as much of it changed as a delta blob is made for."""
    sci = np.random.default_rng(7).normal(1000, 20, (2, 10, 256, 256)).astype("f4")
    if changed:
        sci[0, :, 10, 20] += 5
    cards = {"INSTRUME": "MIRI", "DETECTOR": "MIRIMAGE", "EXP_TYPE": "MIR_DARKALL", "DATE-OBS": "2026-01-01"}
    place = {"SUBARRAY": "SUB256", "SUBSTRT1": 1, "SUBSTRT2": 1, "SUBSIZE1": 256, "SUBSIZE2": 256}
    header = fits.Header({**cards, **place, "NINTS": 2, "NGROUPS": 10, "DATAMODL": "RampModel"})
    hdus = [fits.PrimaryHDU(header=header), fits.ImageHDU(sci, name="SCI")]
    fits.HDUList(hdus).writeto(path)
    return path


@pytest.mark.slow
def test_versions_come_back_bit_for_bit(memory: Pool, tmp_path: Path) -> None:
    first = write_ramp(tmp_path / "a_ramp.fits")
    ref = memory.save(first, tag="using cal v1")
    assert (ref.kind, ref.version, ref.tags) == ("Ramp", 0, ("using cal v1",))
    assert memory.save(first).urn == ref.urn
    (tmp_path / "new").mkdir()
    second = write_ramp(tmp_path / "new" / "a_ramp.fits", changed=True)
    newer = memory.save(second)
    assert newer.version == 1
    # The second holds what changed, and is read by way of the first.
    archive = core_of(memory).archive
    blob = newer.product["SCI"].source.ref
    assert len(archive.blobs.family(blob)) == 2
    sizes = [archive.storage.status(archive.blobs.key(digest)).size for digest in archive.blobs.family(blob)]
    assert sizes[0] < sizes[1] / 4
    for number, file in enumerate((first, second)):
        out = tmp_path / f"out{number}.fits"
        memory.ref(f"Ramp/a@{number}").to_fits(out)
        assert out.read_bytes() == file.read_bytes()
    assert newer.product["SCI"][0, :, 10, 20].tolist() == fits.getdata(second, "SCI")[0, :, 10, 20].tolist()
    assert [r.urn for r in memory.select(FullQuery(Ramp, "p", "p.data.max() > 10"))] == [newer.urn]
    assert memory.verify(level="full").is_whole


def test_small_arrays(memory: Pool, tmp_path: Path) -> None:
    for n in range(2):
        memory.save(homes.write_image(tmp_path / f"a{n}.fits", data=np.full((2, 3), n, "f4")))
    assert [ref.product["SCI"][1, 2] for ref in sorted(memory.select(), key=lambda ref: ref.name)] == [0, 1]
    assert memory.verify(level="full").is_whole


def test_pixels(memory: Pool, tmp_path: Path) -> None:
    file = write_ramp(tmp_path / "a_ramp.fits")
    memory.save(file)
    sci = fits.getdata(file, "SCI")
    found = memory.pixels(Ramp, "sci[integration == 1, group == 1] > 1040", x=(1, 64), y=(1, 64)).to_table()
    rows, columns = np.nonzero(sci[0, 0, :64, :64] > 1040)
    assert list(zip(found["y"], found["x"], strict=True)) == [
        (r + 1, c + 1) for r, c in zip(rows, columns, strict=True)
    ]
    assert memory.pixel(21, 11).ramps()["ramp"][0].tolist() == sci[0, :, 10, 20].tolist()


@pytest.mark.slow
def test_what_nobody_needs_is_collected(memory: Pool, tmp_path: Path) -> None:
    ref = memory.save(write_ramp(tmp_path / "a_ramp.fits"))
    memory.save(homes.write_image(tmp_path / "b.fits"))
    archive = core_of(memory).archive
    blob = archive.blobs.key(ref.product["SCI"].source.ref.digest)
    assert archive.storage.exists(blob)
    memory.remove(ref)
    memory.purge(ref)
    assert memory.gc().files > 0
    assert not archive.storage.exists(blob)
    assert not [key for key in archive.storage.everything() if key.startswith(("pending", "collecting"))]
    assert memory.gc().files == 0
    assert memory.verify(level="full").is_whole


@pytest.mark.slow
def test_versions_go_into_a_folder_and_come_from_one(memory: Pool, home: Home, tmp_path: Path) -> None:
    file = write_ramp(tmp_path / "a_ramp.fits")
    memory.save(file, tag="x")
    with home.create("jpl8") as pool:
        assert len(memory.copy_to(pool)) == 1
        assert pool.ref("Ramp/a").tags == ("x",)
        pool.ref("Ramp/a").to_fits(tmp_path / "out.fits")
        assert (tmp_path / "out.fits").read_bytes() == file.read_bytes()
        pool.save(homes.write_image(tmp_path / "b.fits"))
        assert len(pool.copy_to(memory, ["b"])) == 1
    assert memory.select().size() == 2


@pytest.mark.slow
def test_a_pack_of_it(memory: Pool, home: Home, tmp_path: Path) -> None:
    memory.save(write_ramp(tmp_path / "a_ramp.fits"))
    (tmp_path / "new").mkdir()
    memory.save(write_ramp(tmp_path / "new" / "a_ramp.fits", changed=True))
    memory.pack(tmp_path / "a.tar")
    with home.create("jpl8") as pool:
        pool.unpack(tmp_path / "a.tar")
        assert [r.version for r in pool.versions("Ramp/a")] == [0, 1]
        assert pool.verify(level="full").is_whole


@pytest.mark.slow
def test_a_lost_blob_is_repaired(memory: Pool, home: Home, tmp_path: Path) -> None:
    file = write_ramp(tmp_path / "a_ramp.fits")
    ref = memory.save(file)
    archive = core_of(memory).archive
    key = archive.blobs.key(ref.product["SCI"].source.ref.digest)
    data = bytearray(archive.storage.read(key))
    data[len(data) // 2] ^= 8
    archive.storage.replace(key, bytes(data))
    assert not memory.verify(level="full").is_whole
    steps = memory.repair([file])
    assert [step.healed for step in steps] == [True]
    assert memory.verify(level="full").is_whole
    assert [k for k in archive.storage.everything() if k.startswith("quarantine/")]


def test_it_says_that_it_is_no_folder(memory: Pool) -> None:
    with pytest.raises(ValueError, match="pool 'memory' is not a folder of this machine: it is at memory:"):
        _ = memory.path
