"""The command that makes exposures to try things on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from homes import call

from miripool import Pool
from miripool.errors import AlreadyExists, InvalidInput
from miripool.pipeline import references_in


@pytest.mark.slow
def test_exposures_and_references(pool: Pool, tmp_path: Path) -> None:
    folder = tmp_path / "a new" / "folder"
    done = call(
        *("simulate", folder, "--number", "2", "--subarray", "sub128", "--nints", "1", "--ngroups", "4", "--references")
    )
    names = [f"sim_0000{n}_mirimage_uncal.fits" for n in (1, 2)]
    assert done.stdout.split("\n") == [*(str(folder / name) for name in names), ""]
    first, second = (fits.getdata(folder / name, "SCI") for name in names)
    assert first.shape == (1, 4, 128, 136)
    assert not np.array_equal(first, second)
    assert sorted(references_in(folder / "references")) == sorted(
        ["dark", "gain", "ipc", "linearity", "mask", "readnoise", "reset", "rscd", "saturation"]
    )
    with pytest.raises(AlreadyExists, match="overwrite"):
        call("simulate", folder, "--subarray", "SUB128", "--nints", "1", "--ngroups", "4")
    assert call("simulate", folder, "--nints", "1", "--ngroups", "4", "--overwrite").exit_code == 0
    call("add", "jpl8", folder)
    assert pool.select("kind == 'Raw'").size() == 2


def test_as_the_test_bench_writes_them(pool: Pool, tmp_path: Path) -> None:
    call("simulate", tmp_path / "out", "--form", "jpl", "--nints", "2", "--ngroups", "3", "--seed", "5")
    (path,) = (tmp_path / "out").iterdir()
    ref = pool.save(path)
    assert (ref.kind, ref.product["SCI"].shape) == ("Raw", (2, 3, 64, 72))


def test_what_can_not_be_simulated(home: object, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no subarray 'SUB63'"):
        call("simulate", tmp_path / "out", "--subarray", "SUB63")
    with pytest.raises(InvalidInput, match="MIRI reads subarray SUB64 in FAST"):
        call("simulate", tmp_path / "out", "--readpatt", "SLOWR1")
    assert not list((tmp_path / "out").iterdir())


def test_folders_that_hold_no_references(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="has no reference files"):
        references_in(tmp_path)
    (tmp_path / "a.fits").write_bytes(b"no FITS file")
    with pytest.raises(InvalidInput, match=r"a\.fits can't be read"):
        references_in(tmp_path)
    fits.PrimaryHDU().writeto(tmp_path / "a.fits", overwrite=True)
    with pytest.raises(InvalidInput, match="has no reference files"):
        references_in(tmp_path)
    for name in "bc":
        hdu = fits.PrimaryHDU()
        hdu.header["REFTYPE"] = "GAIN"
        hdu.writeto(tmp_path / f"{name}.fits")
    with pytest.raises(InvalidInput, match=r"two reference files of type gain: b\.fits and c\.fits"):
        references_in(tmp_path)


@pytest.mark.slow
def test_an_anneal(tmp_path: Path) -> None:
    anneals = ("--anneal", "2026-01-13T06:00:00", "--anneal", "2026-01-19T09:00:00+03:00")
    call("simulate", tmp_path, "--lives", "--number", 24, "--nints", 2, *anneals)
    meta = Table.read(tmp_path / "truth.ecsv").meta
    assert meta["anneals"] == ["2026-01-13T06:00:00+00:00", "2026-01-19T06:00:00+00:00"]
    with pytest.raises(InvalidInput, match="add --lives"):
        call("simulate", tmp_path / "raw", "--anneal", "2026-01-13")
    with pytest.raises(InvalidInput, match="'some day' is not a time"):
        call("simulate", tmp_path / "raw", "--lives", "--anneal", "some day")
    assert not (tmp_path / "raw").exists()
