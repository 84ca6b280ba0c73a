"""Pixels of several detectors: a pixel is one detector's, and each answer tells whose it is."""

from __future__ import annotations

import csv
import io
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import homes
import numpy as np
import pytest
import two_detectors
from homes import call
from two_detectors import COLUMNS, NGROUPS, NINTS, ROWS, Files, X, Y

from miripool import Home, Pool, ProductStorage, Ramp, Rate, RateInts, Raw
from miripool.errors import InvalidInput
from miripool.query import PixelQuery

home = homes.home
SEVERAL = r"MIRIFULONG, MIRIMAGE.*detector="
PLACE = {"SUBSTRT1": 1, "SUBSTRT2": 1, "SUBSIZE1": 4, "SUBSIZE2": 3}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return two_detectors.write(tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def two(files: Files, tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Pool]:
    """Two exposures of MIRIMAGE and one of MIRIFULONG, with two calibrations each, at the same place."""
    place = tmp_path_factory.mktemp("detectors") / "home"
    with pytest.MonkeyPatch.context() as patch, homes.empty_home(place, database_url, "detectors") as home:
        patch.delenv("MIRIPOOL_DATABASE_URL", raising=False)
        patch.setenv("MIRIPOOL_HOME", str(home.path))
        with home.create("jpl8") as pool:
            files.save(pool)
            yield pool


def rates(value: float, detector: str | None, **cards: Any) -> RateInts:
    named = {} if detector is None else {"DETECTOR": detector}
    return RateInts(PLACE | named | cards, {"SCI": np.full((1, 3, 4), value, "f4")}, name=f"{detector} {value}")


@pytest.fixture
def pool(home: Home) -> Iterator[Pool]:
    with home.create("mine") as made:
        yield made


# One pixel


@pytest.mark.slow
def test_a_pixel_of_several_detectors_wants_a_name(two: Pool) -> None:
    pixel = two.pixel(X, Y)
    with pytest.raises(InvalidInput, match=SEVERAL):
        pixel.history(all_versions=True)
    with pytest.raises(InvalidInput, match=SEVERAL):
        pixel.ramps(Raw)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MIRIFULONG", "mirifulong", "MiriFULong"])
def test_a_pixel_of_one_detector(two: Pool, files: Files, name: str) -> None:
    pixel = two.pixel(X + 1, Y + 2, detector=name)
    table = pixel.history(tag="v2")
    assert table.colnames[:5] == ["urn", "name", "version", "time", "detector"]
    assert list(table["detector"]) == ["MIRIFULONG"] * NINTS
    assert np.array_equal(table["rate"], files.array("third_mirifulong", "rateints", "SCI", "v2")[:, 2, 1])
    assert table.meta["detector"] == "MIRIFULONG"
    ramps = pixel.ramps(Raw)
    assert np.array_equal(ramps["ramp"], files.array("third_mirifulong", "uncal", "SCI")[:, :, 2, 1])
    assert "MIRIFULONG" in repr(pixel)


@pytest.mark.slow
def test_the_other_detector_s_exposures_are_one_life(two: Pool, files: Files) -> None:
    table = two.pixel(X, Y, detector="MIRIMAGE").ramps(Ramp, tag="v1")
    wanted = [files.array(name, "ramp", "SCI")[:, :, 0, 0] for name in ("first_mirimage", "second_mirimage")]
    assert np.array_equal(table["ramp"], np.concatenate(wanted))
    assert set(table["detector"]) == {"MIRIMAGE"}


def test_a_condition_that_leaves_one_detector_is_enough(two: Pool) -> None:
    table = two.pixel(X, Y).history(RateInts, "detector == 'MIRIFULONG'")
    assert (len(table), set(table["detector"])) == (NINTS, {"MIRIFULONG"})


def test_a_detector_that_is_not_there(two: Pool) -> None:
    words = r"no detector 'MIRIFUSHORT'; its detectors are.*MIRIFULONG, MIRIMAGE"
    with pytest.raises(InvalidInput, match=words):
        two.pixel(X, Y, detector="MIRIFUSHORT").history()
    with pytest.raises(InvalidInput, match=words):
        two.pixels(RateInts, detector="MIRIFUSHORT")
    with pytest.raises(InvalidInput, match=words):
        two.select(PixelQuery(RateInts, detector="MIRIFUSHORT"))
    assert len(two.pixel(X, Y, detector="MIRIFULONG").history(query="nints > 99")) == 0
    for wrong in ("", " ", 493):
        with pytest.raises(InvalidInput, match="detector="):
            two.pixel(X, Y, detector=wrong)  # type: ignore[arg-type]
        with pytest.raises(InvalidInput, match="detector="):
            two.pixels(RateInts, detector=wrong)  # type: ignore[arg-type]
        with pytest.raises(InvalidInput, match="detector="):
            PixelQuery(RateInts, detector=wrong)  # type: ignore[arg-type]


def test_the_only_detector_needs_no_name(pool: Pool) -> None:
    assert len(pool.pixel(1, 1, detector="MIRIMAGE").history()) == 0  # nobody can know of an empty pool
    pool.save(rates(1, "MIRIMAGE"))
    table = pool.pixel(1, 1).history()
    assert (list(table["detector"]), table.meta["detector"]) == (["MIRIMAGE"], "MIRIMAGE")
    trash = pool.save(rates(2, "MIRIFULONG"))
    with pytest.raises(InvalidInput, match=SEVERAL):
        pool.pixel(1, 1).history()
    pool.remove(trash)
    assert list(pool.pixel(1, 1).history()["rate"]) == [1]
    with pytest.raises(InvalidInput, match="MIRIMAGE"):
        pool.pixel(1, 1, detector="MIRIFULONG").history()


def test_what_names_no_detector(pool: Pool) -> None:
    pool.save(rates(1, None))
    table = pool.pixel(1, 1).history()
    assert (list(table["rate"]), list(table["detector"]), table.meta["detector"]) == ([1], [""], "")
    assert list(pool.pixels(RateInts, x=(1, 1), y=(1, 1)).to_table()["detector"]) == [""]
    pool.save(rates(2, "mirimage"))
    pool.save(rates(3, "MIRIMAGE"))
    table = pool.pixel(1, 1).history()  # one detector, and what may be of it
    assert sorted(zip(table["rate"], table["detector"], strict=True)) == [(1, ""), (2, "mirimage"), (3, "MIRIMAGE")]
    assert list(pool.pixel(1, 1, detector="Mirimage").history()["rate"]) == [2, 3]
    pool.save(rates(4, "MIRIFULONG"))
    with pytest.raises(InvalidInput, match=rf"{SEVERAL}.*1 of the versions name no detector"):
        pool.pixel(1, 1).history()


# Pixels that satisfy a condition


def test_pixels_are_told_apart(two: Pool, files: Files) -> None:
    found = two.pixels(RateInts, x=(X, X), y=(Y, Y), tag="v1")
    table = found.to_table()
    assert table.colnames[4] == "detector"
    assert list(zip(table["name"], table["detector"], strict=True)) == list(two_detectors.EXPOSURES.items())
    assert found.count() == 3
    one = two.pixels(RateInts, x=(X, X), y=(Y, Y), tag="v1", detector="mirifulong")
    assert one.count() == 1
    wanted = files.array("third_mirifulong", "rateints", "SCI")[:, 0, 0]
    assert np.array_equal(one.to_table()["rate"][0], wanted)
    assert [set(chunk["detector"]) for chunk in one.chunks()] == [{"MIRIFULONG"}]
    assert "detector" in two.pixels(RateInts, "rate > 1e30").to_table().colnames
    assert two.pixels(RateInts, query="nints > 99", detector="MIRIFULONG").count() == 0


def test_a_pixel_query_of_one_detector(two: Pool) -> None:
    asked = PixelQuery(Raw, "dn >= 0", detector="mirifulong")
    assert [ref.name for ref in two.select(asked)] == ["third_mirifulong"]
    assert two.select(PixelQuery(Raw, "dn >= 0")).size() == 3
    assert two.select(PixelQuery(Rate, "rate > 0", detector="MIRIFULONG")).size() == 0
    earlier = two.select("detector == 'MIRIMAGE'")
    assert two.select(asked, earlier).size() == 0
    assert pickle.loads(pickle.dumps(asked)) == asked
    assert asked.replace(tag="v1") == PixelQuery(Raw, "dn >= 0", tag="v1", detector="MIRIFULONG")
    assert asked != PixelQuery(Raw, "dn >= 0")
    assert eval(repr(asked), {"PixelQuery": PixelQuery, "Raw": Raw}) == asked
    assert "of detector MIRIFULONG" in str(two.explain(asked))
    assert two.explain(asked).steps[-1].left == 1


def test_a_detector_of_another_pool(two: Pool, home: Home) -> None:
    with home.create("other") as other:
        other.save(rates(1, "MIRIFUSHORT"))
        both = ProductStorage([two, other])
        assert both.select(PixelQuery(RateInts, detector="MIRIFUSHORT")).size() == 1
        assert both.select(PixelQuery(RateInts, detector="MIRIFULONG")).size() == 1
        with pytest.raises(InvalidInput, match=r"pool jpl8 or other .* MIRIFULONG, MIRIFUSHORT, MIRIMAGE"):
            both.select(PixelQuery(RateInts, detector="NRCA1"))


# On the command line


def test_detectors_on_the_command_line(two: Pool) -> None:
    rows = json.loads(call("pixel", "jpl8", X, Y, "--detector", "mirifulong", "--json").stdout)
    assert [row["detector"] for row in rows] == ["MIRIFULONG"] * NINTS
    with pytest.raises(InvalidInput, match=r"MIRIFULONG, MIRIMAGE.*--detector"):
        call("pixel", "jpl8", X, Y)
    with pytest.raises(InvalidInput, match="MIRIFULONG, MIRIMAGE"):
        call("pixel", "jpl8", X, Y, "--detector", "NRCA1")
    place = ("--x", f"{X}:{X}", "--y", f"{Y}:{Y}")
    rows = json.loads(call("pixels", "jpl8", *place, "--json").stdout)
    assert [row["detector"] for row in rows] == list(two_detectors.EXPOSURES.values())
    table = csv.DictReader(io.StringIO(call("pixels", "jpl8", *place, "--detector", "MIRIFULONG", "--csv").stdout))
    assert [row["detector"] for row in table] == ["MIRIFULONG"]
    (count,) = json.loads(call("pixels", "jpl8", "--detector", "MIRIFULONG", "--count", "--json").stdout)
    assert count == {"pixels": ROWS * COLUMNS}


# In SQL

LAST = ("ramps", "ref_ramps", "groups", "correctedramps", "correctedgroups")


@pytest.mark.parametrize("view", LAST)
def test_the_last_column_of_views_with_values_is_the_detector(two: Pool, view: str) -> None:
    columns = homes.ask_pool(
        two,
        "SELECT attname FROM pg_attribute WHERE attrelid = CAST(%s AS regclass) AND attnum > 0 ORDER BY attnum",
        view,
    )
    assert columns[-1] == ("detector",)
    assert [name for (name,) in columns].count("detector") == 1
    key = "exp_id" if view in ("ramps", "ref_ramps", "groups") else "corrected_exp_id"
    found = homes.ask_pool(two, f"SELECT detector, count(DISTINCT {key}), count(*) FROM {view} GROUP BY 1 ORDER BY 1")
    rows = ROWS * COLUMNS * NINTS * (NGROUPS if "group" in view else 1) // (4 if view == "ref_ramps" else 1)
    each = 1 if key == "exp_id" else 2
    assert found == [("MIRIFULONG", each, each * rows), ("MIRIMAGE", 2 * each, 2 * each * rows)]


@pytest.mark.slow
def test_joins_with_pixels_do_not_multiply(two: Pool) -> None:
    (plain,) = homes.ask_pool(two, "SELECT count(*) FROM ramps")
    (joined,) = homes.ask_pool(two, "SELECT count(*) FROM ramps JOIN pixels USING (pixel_id)")
    assert joined == plain == (3 * ROWS * COLUMNS * NINTS,)
    names = [
        name
        for (name,) in homes.ask_pool(
            two,
            "SELECT attname FROM pg_attribute "
            "WHERE attrelid = CAST('pixels' AS regclass) AND attnum > 0 ORDER BY attnum",
        )
    ]
    assert names == ["pixel_id", "row_id", "col_id", "ref_pix"]


def test_the_detector_of_exposures_and_values_is_one(two: Pool) -> None:
    found = homes.ask_pool(
        two,
        "SELECT DISTINCT d.name, r.detector FROM ramps r JOIN exposures e USING (exp_id) "
        "JOIN detectors d USING (detector_id) ORDER BY 1",
    )
    assert found == [("MIRIFULONG", "MIRIFULONG"), ("MIRIMAGE", "MIRIMAGE")]


# Pictures


@pytest.mark.slow
def test_the_picture_names_the_detector(two: Pool, tmp_path: Path) -> None:
    from miripool.pixels.plots import plot_pixel

    plot_pixel(two.pixel(X, Y, detector="MIRIFULONG").history(), tmp_path / "a.svg")
    assert (tmp_path / "a.svg").stat().st_size > 10_000
