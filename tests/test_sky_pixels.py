"""Which pixel saw a position, and pointings of simulated exposures."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import homes
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from homes import write_image

import miripool
from miripool import MetaQuery, Pool
from miripool.errors import IncompleteAnswer, InvalidInput
from miripool.simulate import Calibration, Scene, simulate_exposure
from miripool.sky.footprint import footprint_of
from miripool.sky.position import SkyPosition, separation

home = homes.home

IMAGE = {
    "DETECTOR": "MIRIMAGE", "EXP_TYPE": "MIR_IMAGE", "FILTER": "F770W", "RA_REF": 83.8, "DEC_REF": -69.2,
    "ROLL_REF": 0.0, "V3I_YANG": 0.0, "VPARITY": -1, "SUBSTRT1": 1, "SUBSTRT2": 779, "SUBSIZE1": 72, "SUBSIZE2": 64,
    "CRPIX1": 36.0, "CRPIX2": 32.0,
}  # fmt: skip
REGION = "POLYGON ICRS 83.7 -69.3 83.9 -69.3 83.9 -69.1 83.7 -69.1"


def write(path: Path, changes: dict[str, Any] | None = None, dq: np.ndarray | None = None) -> Path:
    cards = {key: value for key, value in {**IMAGE, **(changes or {})}.items() if value is not None}
    write_image(path, cards, np.zeros((64, 72), "f4"))
    if dq is not None:
        with fits.open(path, mode="append") as hdus:
            hdus.append(fits.ImageHDU(dq, name="DQ"))
    return path


def test_a_position_is_in_the_pixel_that_looks_there(pool: Pool, tmp_path: Path) -> None:
    pool.save(write(tmp_path / "whole.fits"))
    (row,) = pool.pixels_at(83.8, -69.2)
    assert (row["name"], row["detector"], row["x"], row["y"]) == ("whole", "MIRIMAGE", 36, 810)
    assert (row["sky_x"], row["sky_y"]) == pytest.approx((36, 810))
    assert row["pixel_id"] == (810 - 1) * 1032 + 36
    assert row["error"] == pytest.approx(0, abs=1e-6)
    # With a roll of 0, north is up and, with a parity of -1, east to the left.
    from astropy import units

    assert len(pool.pixels_at(83.8 * units.deg, -69.2 * units.deg)) == 1
    table = pool.pixels_at(83.8 + 20.2 * 0.11 / 3600 / math.cos(math.radians(69.2)), -69.2 + 10.2 * 0.11 / 3600)
    assert (table["x"][0], table["y"][0]) == (16, 820)
    assert table["error"][0] == pytest.approx(0.012 * math.hypot(20.2, 10.2), rel=1e-3)
    assert table["error"].unit == "pix"
    assert "1.2%" in table.meta["coordinates"]
    assert len(pool.pixels_at("05h35m12s", "-69d11m00s")) == 0


@pytest.mark.parametrize("where", [SkyCoord(83.8, -69.2, unit="deg"), "05h35m12s -69d12m00s"])
def test_positions_are_given_as_one_likes(pool: Pool, tmp_path: Path, where: Any) -> None:
    pool.save(write(tmp_path / "whole.fits"))
    assert len(pool.pixels_at(where)) == 1
    assert len(pool.select(miripool.covers(where))) == 1
    assert len(pool.select(f"{miripool.separation(where)} < 0.001 and {miripool.overlaps(where, 0.01)}")) == 1


def test_conditions_are_made_of_coordinates(pool: Pool) -> None:
    from astropy import units

    middle = SkyCoord("10h00m28s +02d12m21s")
    assert miripool.covers(150.5, -2) == "covers(150.5, -2.0)"
    assert miripool.covers(150.5, -2, darks=True) == "covers(150.5, -2.0, darks=True)"
    assert miripool.overlaps((1, 2), 30 * units.arcmin) == "overlaps(circle(1.0, 2.0, 0.5))"
    assert miripool.overlaps([(1, 2), (3, 2), (2, 4)]) == "overlaps(polygon(1.0, 2.0, 3.0, 2.0, 2.0, 4.0))"
    assert miripool.overlaps(SkyCoord([1, 3, 2], [2, 2, 4], unit="deg")).startswith("overlaps(polygon(1.0, 2.0,")
    for text in (miripool.covers(middle), miripool.overlaps(middle, 0.5), f"{miripool.separation(middle)} < 2"):
        assert MetaQuery(text).where == text
    with pytest.raises(InvalidInput, match="radius"):
        miripool.overlaps(middle, -1)
    assert miripool.covers(150.5 * units.deg, -120 * units.arcmin) == "covers(150.5, -2.0)"
    assert miripool.separation(150 * units.deg, middle.dec) == miripool.separation(150, middle.dec.deg)
    assert miripool.overlaps((10 * units.deg, 2 * units.deg), 1 * units.deg) == "overlaps(circle(10.0, 2.0, 1.0))"


def test_text_of_positions_is_repeated() -> None:
    for text in (
        "covers('10h00m28s +02d12m21s')",
        "separation('10:00:28 -02:12:21') < 2",
        "overlaps(circle('10 00 28 +02 12 21', 0.5), darks=True)",
        "overlaps(polygon('1h 2d', '1h 3d', '2h 3d'))",
    ):
        assert MetaQuery(text).where == MetaQuery(MetaQuery(text).where).where == text
    assert miripool.covers("10h00m28s", '+2d12m21"') == "covers('10h00m28s +2d12m21\"')"
    assert miripool.overlaps(["15d 2d", (15, 3), "2h 3d"]) == "overlaps(polygon(15.0, 2.0, 15.0, 3.0, 30.0, 3.0))"
    assert miripool.covers("150.5 2") == "covers(150.5, 2.0)"


def test_flags_of_the_pixel_are_read(pool: Pool, tmp_path: Path) -> None:
    dq = np.zeros((64, 72), np.uint32)
    dq[31, 35] = dq[32, 36] = 512 | 1
    exposure = simulate_exposure("jw01033005001_03103_00001_mirimage", nints=2, ngroups=4)
    (path,) = exposure.write_products(tmp_path, Calibration("v1"), kinds=("rate",))
    with fits.open(path, mode="update") as hdus:
        where = hdus["SCI"].header["RA_REF"], hdus["SCI"].header["DEC_REF"]
    (raw,) = [exposure.write_uncal(tmp_path)]
    with fits.open(path, mode="update") as hdus:
        hdus["DQ"].data[30:34, 36:40] |= 512
    pool.ingest([path, raw])
    table = pool.pixels_at(*where)
    flags = dict(zip(table["kind"], table["non_science"], strict=True))
    assert flags["Rate"]
    assert flags["Raw"] is np.ma.masked
    assert set(table["x"]) <= {38, 39}  # the reference point of SUB64 is at 38.5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"DETECTOR": "MIRIFUSHORT", "EXP_TYPE": "MIR_MRS", "FILTER": None}, "MIR_MRS MIRIFUSHORT"),
        ({"EXP_TYPE": "MIR_LRS-FIXEDSLIT", "FILTER": "P750L"}, "MIR_LRS-FIXEDSLIT"),
        ({"FILTER": "P750L"}, "prism"),
        ({"ROLL_REF": None}, "no pointing"),
        ({"SUBSTRT1": None}, "SUBSTRT1"),
    ],
)
def test_what_has_no_such_pixel_is_named(pool: Pool, tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    pool.save(write(tmp_path / "other.fits", {"S_REGION": REGION, **changes}))
    pool.save(write(tmp_path / "whole.fits"))
    with pytest.warns(IncompleteAnswer, match=re.escape(words)):
        table = pool.pixels_at(83.8, -69.2)
    assert list(table["name"]) == ["whole"]
    assert list(table.meta["left_out"]) == ["urn:jpl8:Product:0"]


def test_a_position_beside_the_array_has_no_pixel(pool: Pool, tmp_path: Path) -> None:
    pool.save(write(tmp_path / "wide.fits", {"S_REGION": REGION}))
    assert len(pool.select("covers(83.75, -69.25)")) == 1
    table = pool.pixels_at(83.75, -69.25)
    assert len(table) == 0
    assert "pixel_id" in table.colnames


def said(path: Path) -> dict[str, Any]:
    with fits.open(path) as hdus:
        return {**hdus[0].header, **hdus["SCI"].header}


def test_simulated_exposures_look_somewhere(tmp_path: Path) -> None:
    names = [f"jw01033005001_03103_{n:05d}_mirimage" for n in (1, 2)]
    first, second = (simulate_exposure(name, nints=1, ngroups=3) for name in names)
    paths = [first.write_uncal(tmp_path), *first.write_products(tmp_path, Calibration("v1"))]
    headers = [said(path) for path in paths]
    for key in ("S_REGION", "RA_REF", "DEC_REF", "ROLL_REF", "V2_REF", "V3_REF", "V3I_YANG", "VPARITY"):
        assert len({header[key] for header in headers}) == 1
    header, other = headers[0], said(second.write_uncal(tmp_path))
    reference = SkyPosition(header["RA_REF"], header["DEC_REF"])
    assert 0 < separation(reference.vector, SkyPosition(other["RA_REF"], other["DEC_REF"]).vector) < 0.03
    named, computed = footprint_of(header), footprint_of({**header, "S_REGION": " "})
    assert named is not None
    assert computed is not None
    assert named.covers(reference.vector)
    for one, two in zip(named.polygons[0].corners, computed.polygons[0].corners, strict=True):
        assert separation(one.vector, two.vector) < 2e-9
    (tmp_path / "again").mkdir()
    again = simulate_exposure(names[0], nints=1, ngroups=3).write_uncal(tmp_path / "again")
    assert said(again)["S_REGION"] == header["S_REGION"]


def test_simulated_darks_and_spectra_look_nowhere(tmp_path: Path) -> None:
    dark = simulate_exposure("dark", nints=1, ngroups=3, scene=Scene(background=0, n_sources=0))
    prism = simulate_exposure("prism", subarray="SLITLESSPRISM", nints=1, ngroups=3)
    for exposure in (dark, prism):
        header = said(exposure.write_uncal(tmp_path))
        assert ("S_REGION" in header) == (not header["EXP_TYPE"].startswith(("MIR_DARK", "MIR_LRS")))
