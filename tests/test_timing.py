"""Times of integrations: from INT_TIMES where a file has it, the exposure's otherwise, and which of the two it is."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time
from homes import ask_pool, call, home
from numpy.typing import NDArray
from older_index import take_blocks_away

from miripool import Pool, Ramp, Rate, RateInts, Raw
from miripool.errors import IncompleteAnswer
from miripool.model.times import time_column
from miripool.pool.core import core_of
from miripool.store.arrays.blob import blob_key

__all__ = ["home"]

NAME = "jw01033005001_03103_00001_mirimage"
X, Y = 3, 800
COLUMNS = {"time": "int_start_MJD_UTC", "mid_time": "int_mid_MJD_UTC", "end_time": "int_end_MJD_UTC"}
MICROSECOND = 1.1e-6


@pytest.fixture
def filled(pool: Pool, simulated: Path) -> Pool:
    """One exposure's raw, ramp, rateints and rate."""
    pool.save(simulated / "uncal" / f"{NAME}_uncal.fits")
    for kind in ("ramp", "rateints", "rate"):
        pool.save(simulated / "v1" / f"{NAME}_{kind}.fits")
    return pool


def read(pool: Pool, kind: type) -> Any:
    pixel = pool.pixel(X, Y)
    return (pixel.ramps if kind in (Raw, Ramp) else pixel.history)(kind)


def far(times: Time, days: Any) -> float:
    """The greatest distance in seconds from times in MJD."""
    return float(np.abs((times - Time(days, format="mjd", scale="utc")).sec).max())


@pytest.mark.parametrize(
    ("kind", "file"), [(Raw, "uncal/{}_uncal"), (Ramp, "v1/{}_ramp"), (RateInts, "v1/{}_rateints")]
)
def test_times_of_each_integration(filled: Pool, simulated: Path, kind: type, file: str) -> None:
    with fits.open(simulated / f"{file.format(NAME)}.fits") as hdus:
        wanted = np.array(hdus["INT_TIMES"].data)
    table = read(filled, kind)
    assert list(table["time_of"]) == ["integration"] * len(wanted)
    for column, name in COLUMNS.items():
        assert far(table[column], wanted[name]) < MICROSECOND
        assert not np.any(table[column].mask)
    assert (np.diff(table["time"].mjd) > 0).all()


def test_a_rate_has_its_exposure_s(filled: Pool, simulated: Path) -> None:
    header = fits.getheader(simulated / "v1" / f"{NAME}_rate.fits")
    table = read(filled, Rate)
    assert list(table["time_of"]) == ["exposure"]
    for column, key in (("time", "EXPSTART"), ("mid_time", "EXPMID"), ("end_time", "EXPEND")):
        assert far(table[column], header[key]) < 1e-3  # EXPSTART has more digits than DATE-BEG


@pytest.mark.slow
@pytest.mark.parametrize("how", ["dropped", "older"])
def test_times_are_read_from_the_file_where_the_index_has_none(filled: Pool, how: str) -> None:
    kinds = (Raw, Ramp, RateInts, Rate)
    before = [read(filled, kind) for kind in kinds]
    assert ask_pool(filled, "SELECT count(*) FROM timing") == [(4,)]
    if how == "dropped":
        core_of(filled).pixel_rows.drop([0, 1, 2, 3])
    forget(filled)
    for _ in range(2):
        for kind, wanted in zip(kinds, before, strict=True):
            found = read(filled, kind)
            for column in COLUMNS:
                assert found[column].isot.tolist() == wanted[column].isot.tolist()
        assert ask_pool(filled, "SELECT count(*) FROM timing") == [(4,)]


def forget(pool: Pool) -> None:
    with core_of(pool).catalog.database.write() as connection:
        connection.exec_driver_sql(f"DELETE FROM {core_of(pool).catalog.database.table('timing')}")


@pytest.mark.slow
def test_an_older_index_gets_them(filled: Pool) -> None:
    """As before the table came: the next process adds it, and reads the times when they are asked for."""
    before = read(filled, Ramp)
    take_blocks_away(core_of(filled).catalog.database)
    with core_of(filled).catalog.database.write() as connection:
        for table, also in (("timing", ""), ("exposure_statistic", "CASCADE")):
            connection.exec_driver_sql(f"DROP TABLE {core_of(filled).catalog.database.table(table)} {also}")
        for index in ("product_bytes", "product_obs_id"):
            connection.exec_driver_sql(f"DROP INDEX {core_of(filled).catalog.database.table(index)}")
        connection.exec_driver_sql(
            f"UPDATE {core_of(filled).catalog.database.table('pool_state')} SET schema_version = 10"
        )
    found = json.loads(call("pixel", filled.name, X, Y, "--kind", "Ramp", "--json").stdout)
    assert [row["mid_time"] for row in found] == [t + "Z" for t in Time(before["mid_time"], precision=6).isot]
    assert {row["time_of"] for row in found} == {"integration"}


def changed(path: Path, target: Path, table: NDArray[Any] | None, **cards: Any) -> Path:
    """A file with another INT_TIMES, or none, and other cards."""
    with fits.open(path) as hdus:
        number = hdus.index_of("INT_TIMES")
        if table is None:
            del hdus[number]
        else:
            hdus[number] = fits.BinTableHDU(table, name="INT_TIMES")
        hdus[0].header.update(cards)
        hdus.writeto(target)
    return target


def int_times(path: Path) -> NDArray[Any]:
    with fits.open(path) as hdus:
        return np.array(hdus["INT_TIMES"].data)


def test_a_file_without_the_table(pool: Pool, simulated: Path, tmp_path: Path) -> None:
    source = simulated / "v1" / f"{NAME}_rateints.fits"
    ref = pool.save(changed(source, tmp_path / "a_rateints.fits", None))
    table = read(pool, RateInts)
    assert set(table["time_of"]) == {"exposure"}
    assert set(table["time"].isot) == {ref.start_time.strftime("%Y-%m-%dT%H:%M:%S.%f")[:23]}
    assert far(table["end_time"], fits.getheader(source)["EXPEND"]) < MICROSECOND


def test_a_file_without_any_times(pool: Pool) -> None:
    place = {"SUBSTRT1": 1, "SUBSTRT2": 799, "SUBSIZE1": 8, "SUBSIZE2": 6}
    pool.save(RateInts(place, {"SCI": np.zeros((2, 6, 8), "f4")}, name="lost"))
    table = read(pool, RateInts)
    assert list(table["time_of"]) == ["", ""]
    for column in COLUMNS:
        assert table[column].mask.all()
    rows = json.loads(call("pixel", pool.name, X, Y, "--json").stdout)
    assert [(row["time"], row["end_time"], row["time_of"]) for row in rows] == [(None, None, "")] * 2


def test_integrations_of_a_segment_are_found_by_their_numbers(pool: Pool, simulated: Path, tmp_path: Path) -> None:
    source = simulated / "v1" / f"{NAME}_rateints.fits"
    own = int_times(source)
    whole = np.concatenate([own, own, own])
    whole["integration_number"] = np.arange(1, 10)
    whole["int_start_MJD_UTC"] += np.arange(9)
    segment = {"INTSTART": 4, "INTEND": 6, "NINTS": 9}
    pool.save(changed(source, tmp_path / "seg2_rateints.fits", whole, **segment))
    assert far(read(pool, RateInts)["time"], whole["int_start_MJD_UTC"][3:6]) < MICROSECOND


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -1.0])
def test_a_row_that_says_nothing(pool: Pool, simulated: Path, tmp_path: Path, value: float) -> None:
    source = simulated / "v1" / f"{NAME}_rateints.fits"
    table = int_times(source)
    table["int_mid_MJD_UTC"][1] = value
    ref = pool.save(changed(source, tmp_path / "a_rateints.fits", table))
    found = read(pool, RateInts)
    assert list(found["time_of"]) == ["integration", "exposure", "integration"]
    assert found["time"][1].isot == ref.start_time.strftime("%Y-%m-%dT%H:%M:%S.%f")[:23]


@pytest.mark.parametrize("damage", ["columns", "text", "short", "image"])
def test_a_table_that_is_none(pool: Pool, simulated: Path, tmp_path: Path, damage: str) -> None:
    source = simulated / "v1" / f"{NAME}_rateints.fits"
    table = int_times(source)
    if damage == "columns":
        table = table[["integration_number", "int_start_MJD_UTC"]].copy()
    elif damage == "text":
        table = table.astype([(n, "S20" if "mid" in n else table.dtype[n]) for n in table.dtype.names])
    elif damage == "short":
        table = table[:1]
    target = changed(source, tmp_path / "a_rateints.fits", None if damage == "image" else table)
    if damage == "image":
        fits.append(target, np.zeros((3, 3), "f4"), fits.Header({"EXTNAME": "INT_TIMES"}))
    pool.save(target)
    own = ["integration"] if damage == "short" else ["exposure"]
    assert list(read(pool, RateInts)["time_of"]) == [*own, "exposure", "exposure"]


@pytest.mark.slow
def test_a_damaged_table_costs_only_the_times(filled: Pool, simulated: Path) -> None:
    forget(filled)
    ref = filled.select(RateInts)[0]
    (name,) = (h.data.blob for h in core_of(filled).manifest(ref).hdus if h.name == "INT_TIMES" and h.data is not None)
    blob = core_of(filled).archive.storage.files.path(blob_key(name))
    blob.rename(blob.with_suffix(".away"))
    with pytest.warns(IncompleteAnswer, match="the times of the integrations of urn:.* can't be read"):
        table = read(filled, RateInts)
    assert set(table["time_of"]) == {"exposure"}
    blob.with_suffix(".away").rename(blob)
    assert set(read(filled, RateInts)["time_of"]) == {"integration"}


def test_moments_to_the_microsecond() -> None:
    """A time in MJD is a double: it gives back the microsecond that was meant."""
    moment = datetime(2026, 3, 4, 5, 6, 7, 123456)
    for step in range(50):
        later = moment + timedelta(microseconds=step)
        days = (later - datetime(1858, 11, 17)) / timedelta(days=1)
        assert time_column([None], instead=np.array([days]))[0].to_datetime() == later


def test_the_real_exposure(pool: Pool, shared_data: Path) -> None:
    name = "MIRI_5582_89_S_20180308-010230_SCE1"
    (path,) = sorted(shared_data.rglob(f"{name}_rateints.fits"))[:1]
    pool.save(path)
    wanted = int_times(path)
    table = pool.pixel(*place_of(path)).history()
    for column, key in COLUMNS.items():
        assert far(table[column], wanted[key]) < MICROSECOND
    assert set(table["time_of"]) == {"integration"}


def place_of(path: Path) -> tuple[int, int]:
    header = fits.getheader(path)
    return header["SUBSTRT1"] + 4, header["SUBSTRT2"] + 4
