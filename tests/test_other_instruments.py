"""Another instrument: a kind and a detector that only this test knows, by a record of each and a table of pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import homes
import numpy as np
import pytest
from astropy.io import fits

from miripool import MetaQuery, PixelQuery, Pool, Product, Rate, Raw
from miripool.errors import InvalidInput
from miripool.instruments.detector import DetectorRecord, Placement
from miripool.instruments.known import DETECTORS
from miripool.model.kinds import KINDS, Kind
from miripool.pool.core import core_of

home = homes.home

NRCA1 = DetectorRecord("NRCA1", "NIRCAM", 481, columns=2048, rows=2048)
NAME = "jw01063001001_02101_00001_nrca1"
X = Y = 2000


class NrcRate(Product):
    """Slopes of NIRCam."""

    kind = "NrcRate"


TABLE = """
CREATE TABLE nrcrate_block (LIKE rate_block INCLUDING STORAGE) PARTITION BY LIST (block_id);
CREATE VIEW nrcrate_pixel AS
SELECT s.exp_id, s.set_id, p.pixel_id, (p.pixel_id - 1) / 2048 + 1 AS y, (p.pixel_id - 1) % 2048 + 1 AS x,
    p.rate[s.slot] AS rate, p.err[s.slot] AS err, p.dq[nullif(coalesce(p.dq_of[s.slot], 1), 0)] AS dq
FROM pixel_set s
JOIN pixel_block b ON b.block_id = s.block_id AND b.kind = 'NrcRate'
CROSS JOIN LATERAL (SELECT r.*, generate_series(1, 1) FROM nrcrate_block r WHERE r.block_id = b.block_id) p
"""


@pytest.fixture
def nircam(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> Pool:
    """A pool that has the kind and the detector."""
    rate = KINDS[Rate.kind]
    record = Kind(
        NrcRate,
        instrument="NIRCAM",
        datamodel="ImageModel",
        suffix="rate",
        axes=2,
        unit="DN/s",
        pixel_table="nrcrate_pixel",
        columns=rate.columns,
    )
    monkeypatch.setitem(KINDS, record.name, record)
    monkeypatch.setitem(DETECTORS, NRCA1.name, NRCA1)
    database = core_of(pool).catalog.database
    with database.write() as connection:
        database.run(connection, TABLE)
    return pool


def cards(part: Placement, **more: Any) -> dict[str, Any]:
    return {
        "INSTRUME": "NIRCAM",
        "DETECTOR": "NRCA1",
        "FILTER": "F200W",
        "SUBSTRT1": part.x,
        "SUBSTRT2": part.y,
        "SUBSIZE1": part.columns,
        "SUBSIZE2": part.rows,
        "DATE-OBS": "2026-01-01",
        "TIME-OBS": "01:02:03",
    } | more


def arrays(part: Placement, seed: int) -> dict[str, Any]:
    """Slopes that are all different, some of them NaN, and flags."""
    random = np.random.default_rng(seed)
    shape = (part.rows, part.columns)
    sci = random.normal(size=shape).astype("f4")
    sci[3, 5] = np.nan
    return {"SCI": sci, "ERR": np.abs(sci), "DQ": random.choice(np.array([0, 0, 1, 4], "u4"), shape)}


def write(path: Path, header: dict[str, Any], data: dict[str, Any]) -> Path:
    """Write a file as the jwst pipeline would."""
    primary = fits.PrimaryHDU()
    primary.header.update({"DATAMODL": "ImageModel", **header})
    hdus = fits.HDUList([primary, *(fits.ImageHDU(array, name=name) for name, array in data.items())])
    hdus["SCI"].header["BUNIT"] = "DN/s"
    hdus.writeto(path)
    return path


def test_a_pixel_through_two_versions(nircam: Pool, tmp_path: Path) -> None:
    """Saved, once as a product and once from a file, selected by metadata and by pixels, and followed."""
    part = Placement(1889, 1889, 160, 160)
    both = [arrays(part, seed) for seed in (1, 2)]
    row, column = Y - part.y, X - part.x
    both[1]["SCI"][row, column] = 100
    both[1]["DQ"][row, column] = 5
    first = nircam.save(NrcRate(cards(part), both[0], name=NAME))
    file = write(tmp_path / f"{NAME}_rate.fits", cards(part, FILTER="F115W"), both[1])
    second = nircam.save(file, tag="cal v2")
    assert [(ref.kind, ref.name, ref.version, ref.notice) for ref in (first, second)] == [
        ("NrcRate", NAME, 0, None),
        ("NrcRate", NAME, 1, None),
    ]
    for ref, data in zip((first, second), both, strict=True):
        assert type(ref.product) is NrcRate
        np.testing.assert_array_equal(np.asarray(ref.product["SCI"]), data["SCI"])

    by_metadata = MetaQuery(NrcRate, "p", "p.meta['FILTER'].value == 'F200W'", all_versions=True)
    assert [ref.urn for ref in nircam.select(by_metadata)] == [first.urn]
    assert [ref.urn for ref in nircam.select("detector == 'NRCA1' and kind == 'NrcRate'")] == [second.urn]
    assert nircam.select(Rate).size() == 0
    here = PixelQuery(NrcRate, "rate > 99 and has(dq, 'JUMP_DET')", region=(X, X, Y, Y), detector="NRCA1")
    assert [ref.urn for ref in nircam.select(here.replace(all_versions=True))] == [second.urn]

    followed = nircam.pixel(X, Y, "nrca1").history(NrcRate, all_versions=True)
    assert list(followed["urn"]) == [str(first.urn), str(second.urn)]
    for name, dataset in (("rate", "SCI"), ("err", "ERR"), ("dq", "DQ")):
        np.testing.assert_array_equal(followed[name], [data[dataset][row, column] for data in both])
    assert followed["rate"].unit == "DN/s"
    assert "integration" not in followed.colnames
    assert followed.meta["pixel_id"] == (Y - 1) * 2048 + X == 4_096_000 - 48
    unnamed = nircam.pixel(X, Y).history("NrcRate", tag="cal v2")
    assert list(unnamed["rate"]) == [100]
    assert unnamed.meta["pixel_id"] == followed.meta["pixel_id"]

    found = nircam.pixels(NrcRate, "rate > 2.5 and dq is null").to_table()
    good = (both[1]["SCI"] > 2.5) & (both[1]["DQ"] == 0)
    y, x = np.nonzero(good)
    np.testing.assert_array_equal(found["x"], x + part.x)
    np.testing.assert_array_equal(found["y"], y + part.y)
    np.testing.assert_array_equal(found["pixel_id"], (y + part.y - 1) * 2048 + x + part.x)
    np.testing.assert_array_equal(found["rate"], both[1]["SCI"][good])
    assert nircam.pixels(NrcRate, "rate is null").count() == 1


@pytest.mark.slow
def test_the_full_array(nircam: Pool) -> None:
    """Four million pixels, whose rows two versions share."""
    part = Placement(1, 1, 2048, 2048)
    data = arrays(part, 7)
    for number in (1, 2):
        nircam.save(NrcRate(cards(part, PROGRAM=str(number)), data, name=NAME))
    followed = nircam.pixel(X, Y, "NRCA1").history(NrcRate, all_versions=True)
    np.testing.assert_array_equal(followed["rate"], 2 * [data["SCI"][Y - 1, X - 1]])
    np.testing.assert_array_equal(followed["dq"], 2 * [data["DQ"][Y - 1, X - 1]])
    one = nircam.pixels(NrcRate, x=(X, X), y=(Y, Y)).to_table()
    assert list(one["pixel_id"]) == [followed.meta["pixel_id"]]
    assert list(one["rate"]) == [data["SCI"][Y - 1, X - 1]]


def test_the_last_pixel_and_the_next(nircam: Pool) -> None:
    part = Placement(2041, 2041, 8, 8)
    data = arrays(part, 3)
    nircam.save(NrcRate(cards(part), data, name=NAME))
    last = nircam.pixel(2048, 2048, "NRCA1").history(NrcRate)
    assert list(last["rate"]) == [data["SCI"][-1, -1]]
    assert last.meta["pixel_id"] == 2048 * 2048
    with pytest.raises(InvalidInput, match="there is no pixel x=2049, y=1: columns x go from 1 to 2048"):
        nircam.pixel(2049, 1)
    with pytest.raises(InvalidInput, match="columns x go from 1 to 1032, rows y from 1 to 1024"):
        nircam.pixel(2048, 2048, "MIRIMAGE")
    with pytest.raises(InvalidInput, match="columns go from 1 to 1032"):
        PixelQuery(Rate, "", region=(1, 2048, 1, 1), detector="MIRIMAGE")


def test_the_rows_of_a_version_that_goes_are_dropped(nircam: Pool) -> None:
    part = Placement(1, 1, 8, 8)
    ref = nircam.save(NrcRate(cards(part), arrays(part, 4), name=NAME))
    report = nircam.verify()
    assert (report.findings, report.pixel_sets, report.without_pixel_rows) == ([], 1, 0)
    nircam.remove(ref)
    core_of(nircam).pixel_rows.tidy()
    database = core_of(nircam).catalog.database
    with database.read() as connection:
        assert connection.exec_driver_sql(f"SELECT count(*) FROM {database.table('nrcrate_pixel')}").scalar() == 0
        assert connection.exec_driver_sql(f"SELECT count(*) FROM {database.table('pixel_set')}").scalar() == 0


def test_the_views_of_the_old_database_are_miris(nircam: Pool) -> None:
    """Their keys have 21 bits for a pixel: a Raw of a larger detector gets no rows, and says so."""
    part = Placement(1, 1, 8, 8)
    raw = Raw(cards(part), {"SCI": np.zeros((1, 2, 8, 8), "u2")}, name=NAME)
    ref = nircam.save(raw)
    assert "more than the 2097151 that the SQL views, made for MIRI, can hold" in (ref.notice or "")
    nircam.save(NrcRate(cards(part), arrays(part, 5), name=NAME))
    database = core_of(nircam).catalog.database
    with database.read() as connection:
        for view in ("ramps", "groups", "correctedramps"):
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {database.table(view)}").scalar() == 0


def test_a_file_of_another_instrument_keeps_its_kind(nircam: Pool, tmp_path: Path) -> None:
    """The record of an instrument counts for its own files only."""
    part = Placement(1, 1, 8, 8)
    for instrument, kind in (("NIRCAM", "NrcRate"), ("MIRI", "Rate")):
        header = cards(part, INSTRUME=instrument)
        path = write(tmp_path / f"{instrument.lower()}_rate.fits", header, arrays(part, 6))
        assert nircam.save(path).kind == kind


def test_the_kind_is_known_to_this_test_alone() -> None:
    assert "NrcRate" not in KINDS
    assert set(DETECTORS) == {"MIRIMAGE", "MIRIFULONG", "MIRIFUSHORT"}
    assert [DETECTORS[name].sca for name in DETECTORS] == [493, 494, 495]
    assert [DETECTORS[name].pixel_scale for name in DETECTORS] == [0.11, None, None]
    alike = {replace(detector, name="", sca=0, pixel_scale=None, apertures=()) for detector in DETECTORS.values()}
    assert len(alike) == 1
