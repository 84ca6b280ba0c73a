"""What an analyst's joins give is what astropy reads from the FITS files, or it is said what is missing.

Exposures of two detectors at the same place, two calibrations of each, and one ramp without pixel rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import homes
import numpy as np
import pytest
import two_detectors
from two_detectors import CALIBRATIONS, COLUMNS, EXPOSURES, NGROUPS, NINTS, ROWS, Files, X, Y

from miripool import Pool
from miripool.pixels.gaps import notice_of_gaps
from miripool.pool.core import core_of

LEFT_OUT = ("second_mirimage", "v2")
"""Exposure and calibration of the ramp that has no pixel rows."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return two_detectors.write(tmp_path_factory.mktemp("fits"))


@pytest.fixture(scope="module")
def pool(files: Files, tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Pool]:
    place = tmp_path_factory.mktemp("analyst") / "home"
    with pytest.MonkeyPatch.context() as patch, homes.empty_home(place, database_url, "analyst") as home:
        patch.delenv("MIRIPOOL_DATABASE_URL", raising=False)
        with home.create("jpl8") as made:
            files.save(made)
            core_of(made).pixel_rows.drop([made.ref(f"Ramp/{LEFT_OUT[0]}@{LEFT_OUT[1]}").serial])
            yield made


def ask(pool: Pool, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    return homes.ask_pool(pool, statement, *values)


def pixel_id(row: int, column: int) -> int:
    return (Y + row - 1) * 1032 + X + column


@pytest.mark.slow
def test_groups_by_the_exposure_s_name(pool: Pool, files: Files) -> None:
    for name, detector in EXPOSURES.items():
        rows = ask(
            pool,
            "SELECT p.row_id, p.col_id, g.intnumber, g.group_number, g.raw_value, d.name, g.detector "
            "FROM exposures e JOIN groups g ON g.exp_id = e.exp_id JOIN pixels p USING (pixel_id) "
            "JOIN detectors d ON d.detector_id = e.detector_id WHERE e.exp = %s",
            f"{name}_uncal.fits",
        )
        wanted = files.array(name, "uncal", "SCI")
        assert len(rows) == wanted.size
        assert {row[5:] for row in rows} == {(detector, detector)}
        assert all(wanted[i - 1, g - 1, y - Y, x - X] == value for y, x, i, g, value, *_ in rows)


@pytest.mark.slow
def test_ramps_of_one_detector_through_its_exposures(pool: Pool, files: Files) -> None:
    rows = ask(
        pool,
        "SELECT e.exp, r.intnumber, r.ramp FROM ramps r JOIN exposures e USING (exp_id) "
        "WHERE r.pixel_id = %s AND r.detector = 'MIRIMAGE' ORDER BY e.t0, r.intnumber",
        pixel_id(1, 2),
    )
    names = [name for name, detector in EXPOSURES.items() if detector == "MIRIMAGE"]
    assert [row[:2] for row in rows] == [(f"{n}_uncal.fits", i) for n in names for i in range(1, NINTS + 1)]
    wanted = np.concatenate([files.array(name, "uncal", "SCI")[:, :, 1, 2] for name in names])
    assert np.array_equal([row[2] for row in rows], wanted)


@pytest.mark.slow
def test_raw_and_corrected_ramps_side_by_side(pool: Pool, files: Files) -> None:
    """Both calibrations of each exposure beside the raw ramp; the one without rows is missing, and is told."""
    rows = ask(
        pool,
        "SELECT e.exp, c.crds_context, r.intnumber, r.pixel_id, r.ramp, k.corrected_ramp, k.dq_ramp, k.err_ramp, "
        "k.slope_value, k.detector, k.pixeldq, k.jump_det "
        "FROM exposures e JOIN ramps r ON r.exp_id = e.exp_id "
        "JOIN correctedramps k ON k.exp_id = r.exp_id AND k.pixel_id = r.pixel_id AND k.intnumber = r.intnumber "
        "JOIN correctedexposures c ON c.corrected_exp_id = k.corrected_exp_id",
    )
    seen: dict[tuple[str, str], int] = {}
    for exp, context, i, pixel, ramp, corrected, dq, err, slope, detector, pixeldq, jump in rows:
        name, label = exp.removesuffix("_uncal.fits"), context.removeprefix("jwst_").removesuffix(".pmap")
        seen[name, label] = seen.get((name, label), 0) + 1
        y, x = (pixel - 1) // 1032 + 1 - Y, (pixel - 1) % 1032 + 1 - X
        at = (i - 1, slice(None), y, x)
        assert detector == EXPOSURES[name]
        assert ramp == files.array(name, "uncal", "SCI")[at].tolist()
        rate = files.array(name, "rateints", "SCI", label)[i - 1, y, x]
        assert np.array_equal(np.float32(slope), rate, equal_nan=True)
        if (name, label) == LEFT_OUT:
            assert (corrected, dq, err, pixeldq, jump) == (None,) * 5
            continue
        flags = files.array(name, "ramp", "GROUPDQ", label)[at]
        assert np.array_equal(np.float32(corrected), files.array(name, "ramp", "SCI", label)[at], equal_nan=True)
        assert np.array_equal(np.float32(err), files.array(name, "ramp", "ERR", label)[at], equal_nan=True)
        assert dq == flags.tolist()
        assert pixeldq == files.array(name, "ramp", "PIXELDQ", label)[y, x]
        assert jump is bool((flags & 4).any())
    pixels = ROWS * COLUMNS * NINTS
    assert seen == {(name, label): pixels for name in EXPOSURES for label in CALIBRATIONS}
    gone = pool.ref(f"Ramp/{LEFT_OUT[0]}@{LEFT_OUT[1]}").urn
    assert ask(pool, "SELECT urn, kind, reason FROM missing_pixel_rows") == [(gone, "Ramp", "dropped")]


@pytest.mark.slow
def test_groups_with_corrected_groups(pool: Pool, files: Files) -> None:
    rows = ask(
        pool,
        "SELECT c.crds_context, e.exp, g.intnumber, g.group_number, g.raw_value, k.corrected_value, k.dq_value "
        "FROM groups g JOIN correctedgroups k USING (exp_id, pixel_id, intnumber, group_number) "
        "JOIN correctedexposures c USING (corrected_exp_id) JOIN exposures e ON e.exp_id = g.exp_id "
        "WHERE g.pixel_id = %s",
        pixel_id(2, 3),
    )
    assert len(rows) == (len(EXPOSURES) * len(CALIBRATIONS) - 1) * NINTS * NGROUPS
    for context, exp, i, g, value, corrected, dq in rows:
        name, label = exp.removesuffix("_uncal.fits"), context.removeprefix("jwst_").removesuffix(".pmap")
        assert (name, label) != LEFT_OUT
        at = (i - 1, g - 1, 2, 3)
        assert value == files.array(name, "uncal", "SCI")[at]
        assert np.array_equal(np.float32(corrected), files.array(name, "ramp", "SCI", label)[at], equal_nan=True)
        assert dq == files.array(name, "ramp", "GROUPDQ", label)[at]


def test_reference_files_are_names(pool: Pool) -> None:
    rows = ask(
        pool, "SELECT crds_context, gain_ref_file, dark_ref_file, mask_ref_file, ipc_ref_file FROM correctedexposures"
    )
    assert set(rows) == {
        (f"jwst_{label}.pmap", f"jwst_miri_gain_{label}.fits", "N/A", "my mask.fits", None) for label in CALIBRATIONS
    }


def test_averages_leave_nan_out_where_they_are_told_to(pool: Pool, files: Files) -> None:
    statement = (
        "SELECT pixel_id, avg(slope_value), avg(slope_value) FILTER (WHERE slope_value <> 'NaN'), "
        "count(slope_value), count(slope_value) FILTER (WHERE slope_value <> 'NaN') "
        "FROM correctedramps JOIN correctedexposures USING (corrected_exp_id) "
        "WHERE detector = 'MIRIMAGE' AND crds_context = 'jwst_v1.pmap' GROUP BY 1 ORDER BY 1"
    )
    names = [name for name, detector in EXPOSURES.items() if detector == "MIRIMAGE"]
    sci = np.concatenate([files.array(name, "rateints", "SCI") for name in names]).astype("f8")
    flat = sci.reshape(len(sci), -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where every value is NaN
        wanted, plain = np.nanmean(flat, axis=0), flat.mean(axis=0)
    rows = ask(pool, statement)
    assert [row[0] for row in rows] == [pixel_id(y, x) for y in range(ROWS) for x in range(COLUMNS)]
    assert np.allclose([row[1] for row in rows], plain, rtol=1e-12, equal_nan=True)
    told = np.asarray([np.nan if row[2] is None else row[2] for row in rows])
    assert np.allclose(told, wanted, rtol=1e-12, equal_nan=True)
    assert [row[2] is None for row in rows] == np.isnan(wanted).tolist()  # NULL where every value is NaN
    assert {row[3] for row in rows} == {len(sci)}
    assert [row[4] for row in rows] == (~np.isnan(flat)).sum(axis=0).tolist()
    assert np.isnan(plain).sum() > np.isnan(wanted).sum() > 0


@pytest.mark.parametrize("view", ["correctedramps", "correctedgroups"])
def test_views_say_how_averages_treat_nan(pool: Pool, view: str) -> None:
    ((comment,),) = ask(pool, "SELECT obj_description(CAST(%s AS regclass))", view)
    assert "<> 'NaN'" in comment
    column = {"correctedramps": "slope_value", "correctedgroups": "corrected_value"}[view]
    written = f"avg({column}) FILTER (WHERE {column} <> 'NaN')"
    assert written in comment
    ((value,),) = ask(pool, f"SELECT {written} FROM {view}")
    assert np.isfinite(value)


def test_what_is_missing_is_said_with_the_question(pool: Pool) -> None:
    notice = notice_of_gaps(pool) or ""
    assert "pool jpl8: 1 version has no pixel rows" in notice
    assert "`miripool index pixels jpl8 --all-versions`" in notice
