"""The tables of the MIRI team's pixel database, as views: their rows, columns and values, and that indexes answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import homes
import numpy as np
import psycopg2
import pytest
from astropy.io import fits
from stdatamodels.jwst.datamodels.dqflags import pixel as flags_of_jwst

from miripool import Home, Pool
from miripool.pool import save as saving
from miripool.pool.core import core_of

GROUND = "MIRI_5582_89_S_20180308-010230_SCE1"
SIMULATED = "jw01033005001_03103_00001_mirimage"
OLD_FLAGS = {
    "reserved_16": "OUTLIER",
    "reserved_32": "PERSISTENCE",
    "reserved_64": "AD_FLOOR",
    "reserved_128": "CHARGELOSS",
    "unreliable_error": "RESERVED",
    "unreliable_reset": "FLUX_ESTIMATED",
}
"""Names that flags had in the pixel database, and their names today."""


@dataclass(frozen=True)
class Filled:
    """A pool with one exposure, raw and calibrated twice, and where its files are."""

    home: Home
    pool: Pool
    name: str
    uncal: Path
    first: Path
    second: Path

    def ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        database = core_of(self.pool).catalog.database
        with closing(psycopg2.connect(database.psql_url)) as connection, connection.cursor() as cursor:
            cursor.execute(f'SET search_path TO "{database.schema}"')
            cursor.execute(statement, values or None)
            return cursor.fetchall()

    def array(self, folder: Path, kind: str, name: str) -> Any:
        """By pixel, then integration and group."""
        with fits.open(folder / f"{self.name}_{kind}.fits") as hdus:
            data = np.asarray(hdus[name].data)
        return np.moveaxis(data.reshape(*data.shape[:-2], -1), -1, 0)


@pytest.fixture(scope="module", params=["ground test", "simulated"])
def filled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, database_url: str
) -> Iterator[Filled]:
    if request.param == "simulated":
        folder, name = request.getfixturevalue("simulated"), SIMULATED
        uncal, first, second = folder / "uncal", folder / "v1", folder / "v2"
    else:
        folder, name = request.getfixturevalue("shared_data") / "jpl8", GROUND
        uncal, first, second = folder / "uncal", folder / "9001", folder / "9002"
    place = tmp_path_factory.mktemp("views") / "home"
    with homes.empty_home(place, database_url, "views") as home, home.create("jpl8") as pool:
        for source, tag in ((uncal, None), (first, "first"), (second, "second")):
            for path in sorted(source.iterdir()):
                assert saving.save(core_of(pool), path, tag=tag).notice is None
        yield Filled(home, pool, name, uncal, first, second)


def shape(filled: Filled) -> tuple[int, int, int]:
    return filled.array(filled.uncal, "uncal", "SCI").shape


@pytest.mark.slow
def test_counts(filled: Filled) -> None:
    pixels, nints, ngroups = shape(filled)
    if filled.name == GROUND:
        assert (pixels * nints, pixels * nints * ngroups) == (23_040, 1_152_000)
    for view, rows in (
        ("ramps", pixels * nints),
        ("groups", pixels * nints * ngroups),
        ("ref_ramps", pixels // 4 * nints),
    ):
        assert filled.ask(f"SELECT count(*) FROM {view}") == [(rows,)]
    for view, rows in (("correctedramps", pixels * nints), ("correctedgroups", pixels * nints * ngroups)):
        for (exposure,) in filled.ask("SELECT corrected_exp_id FROM correctedexposures"):
            assert filled.ask(f"SELECT count(*) FROM {view} WHERE corrected_exp_id = %s", exposure) == [(rows,)]
        assert filled.ask(f"SELECT count(*) FROM {view}") == [(2 * rows,)]
    assert filled.ask("SELECT min(pixel_id) FROM ramps") == [(802897,)]
    assert filled.ask("SELECT count(*) FROM ramps WHERE pixel_id = 802897") == [(nints,)]
    assert filled.ask("SELECT count(*) FROM groups WHERE pixel_id = 802897") == [(nints * ngroups,)]


@pytest.mark.slow
def test_the_ramp_set_is_shared_and_the_rates_are_not(filled: Filled) -> None:
    assert filled.ask("SELECT kind, count(*) FROM pixel_set GROUP BY 1 ORDER BY 1") == [
        ("Ramp", 1),
        ("Rate", 2),
        ("RateInts", 2),
        ("Raw", 1),
    ]


@pytest.mark.slow
def test_every_value_of_the_raw_exposure(filled: Filled) -> None:
    sci = filled.array(filled.uncal, "uncal", "SCI")
    found = np.asarray(filled.ask("SELECT raw_value FROM groups ORDER BY pixel_id, intnumber, group_number"))
    assert np.array_equal(found.reshape(sci.shape), sci)
    found = np.asarray([r for (r,) in filled.ask("SELECT ramp FROM ramps ORDER BY pixel_id, intnumber")])
    assert np.array_equal(found.reshape(sci.shape), sci)
    refout = filled.array(filled.uncal, "uncal", "REFOUT")
    found = np.asarray([r for (r,) in filled.ask("SELECT ramp FROM ref_ramps ORDER BY pixel_id, intnumber")])
    assert np.array_equal(found.reshape(refout.shape), refout)


@pytest.mark.slow
def test_every_value_of_the_corrected_exposures(filled: Filled) -> None:
    order = "ORDER BY corrected_exp_id, pixel_id, intnumber"
    folders = (filled.first, filled.second)
    sci = np.stack([filled.array(f, "ramp", "SCI") for f in folders])
    dq = np.stack([filled.array(f, "ramp", "GROUPDQ") for f in folders]).astype(int)
    rate = np.stack([filled.array(f, "rateints", "SCI") for f in folders])
    rows = filled.ask(f"SELECT corrected_value, dq_value FROM correctedgroups {order}, group_number")
    assert np.array_equal(np.asarray([r[0] for r in rows], "f4").reshape(sci.shape), sci, equal_nan=True)
    assert np.array_equal(np.asarray([r[1] for r in rows]).reshape(dq.shape), dq)
    names = [*(n.lower() for n, bit in flags_of_jwst.items() if bit), *OLD_FLAGS]
    chosen = ", ".join(names)
    rows = filled.ask(f"SELECT slope_value, corrected_ramp, dq_ramp, {chosen} FROM correctedramps {order}")
    assert np.array_equal(np.asarray([r[0] for r in rows], "f4").reshape(rate.shape), rate, equal_nan=True)
    assert np.array_equal(np.asarray([r[1] for r in rows], "f4").reshape(sci.shape), sci, equal_nan=True)
    assert np.array_equal(np.asarray([r[2] for r in rows]).reshape(dq.shape), dq)
    together = np.bitwise_or.reduce(dq, axis=-1)
    assert together.any()
    for i, name in enumerate(names):
        bit = flags_of_jwst[OLD_FLAGS.get(name, name.upper())]
        found = np.asarray([r[3 + i] for r in rows]).reshape(together.shape)
        assert np.array_equal(found, together & bit != 0), name


def test_flags_of_groups(filled: Filled) -> None:
    rows = filled.ask(
        "SELECT dq_value, do_not_use, saturated, jump_det, reserved_128, reference_pixel, error_value "
        "FROM correctedgroups WHERE pixel_id % 97 = 0"
    )
    assert {row[0] for row in rows} >= {0, 1}
    for value, bad, saturated, jump, loss, reference, error in rows:
        bits = (value & 1 != 0, value & 2 != 0, value & 4 != 0, value & 128 != 0, False)
        assert (bad, saturated, jump, loss, reference) == bits
        assert error is None


@pytest.mark.slow
def test_exposures(filled: Filled) -> None:
    _, nints, ngroups = shape(filled)
    ((exp_id, exp, detector, ints, groups, subarray, mode, t0, t1, exptime, inttime, genesis),) = filled.ask(
        "SELECT exp_id, exp, detector_id, nints, ngroups, subarray, readmode, t0, t1, exptime, inttime, data_genesis "
        "FROM exposures"
    )
    assert (exp_id, exp, detector) == (1, f"{filled.name}_uncal.fits", 493)
    assert (ints, groups, subarray, mode) == (nints, ngroups, "SUB64", "FASTR1")
    assert t0 < t1
    assert 0 < inttime < exptime
    if filled.name == GROUND:
        assert genesis == "JPL"
        assert (exptime, inttime) == (21.28, 4.256)


@pytest.mark.slow
def test_corrected_exposures_are_pairs_of_one_calibration(filled: Filled) -> None:
    rows = filled.ask(
        "SELECT corrected_exp_id, corrected_exp, exp_id, crds_context, version, urn, dark_subtraction, gain_ref_file "
        "FROM correctedexposures ORDER BY 1"
    )
    assert [row[2:5] for row in rows] == [(1, "jwst_9001.pmap", 0), (1, "jwst_9002.pmap", 1)]
    assert {row[1] for row in rows} == {f"{filled.name}_ramp.fits"}
    for _, _, _, context, version, urn, dark, gain in rows:
        assert filled.pool.ref(urn).version == version
        header = filled.pool.ref(urn).meta
        assert header["CRDS_CTX"].value == context
        assert dark is (header["S_DARK"].value == "COMPLETE")
        assert gain == header["R_GAIN"].value.removeprefix("crds://")


@pytest.mark.slow
def test_keys_join(filled: Filled) -> None:
    _, nints, ngroups = shape(filled)
    at = "WHERE r.exp_id = 1 AND r.pixel_id = 802900"
    assert filled.ask(f"SELECT count(*) FROM ramps r JOIN groups g USING (ramp_id) {at}") == [(nints * ngroups,)]
    assert filled.ask(f"SELECT count(*) FROM ramps r JOIN correctedramps c USING (ramp_id) {at}") == [(2 * nints,)]
    joined = (
        "SELECT count(*), count(DISTINCT corr_group_id) "
        "FROM correctedramps r JOIN correctedgroups g USING (corr_ramp_id) "
        "WHERE r.exp_id = 1 AND r.pixel_id = 802900 AND g.pixel_id = 802900"
    )
    assert filled.ask(joined) == [(2 * nints * ngroups, 2 * nints * ngroups)]
    assert filled.ask(
        "SELECT count(*), count(DISTINCT ramp_id) FROM ramps JOIN exposures USING (exp_id) JOIN pixels USING (pixel_id)"
    ) == [(nints * 4608, nints * 4608)]
    assert filled.ask("SELECT count(DISTINCT group_id) FROM groups WHERE pixel_id < 802907") == [
        (10 * nints * ngroups,)
    ]
    (key,) = filled.ask("SELECT min(ramp_id) FROM ramps")[0]
    assert (key >> 43, key >> 22 & (1 << 21) - 1, key & (1 << 22) - 1) == (1, 802897, 1)
    last = filled.ask("SELECT max(corr_group_id) FROM correctedgroups")[0][0]
    pair = filled.ask("SELECT max(corrected_exp_id) FROM correctedexposures")[0][0]
    assert (last >> 43, last & (1 << 22) - 1) == (pair, nints * ngroups)
    assert filled.ask("SELECT name FROM exposures JOIN detectors USING (detector_id)") == [("MIRIMAGE",)]


@pytest.mark.slow
def test_detectors_and_pixels(filled: Filled) -> None:
    assert filled.ask("SELECT * FROM detectors ORDER BY 1") == [
        (493, "MIRIMAGE", 1032, 1280),
        (494, "MIRIFULONG", 1032, 1280),
        (495, "MIRIFUSHORT", 1032, 1280),
    ]
    assert filled.ask("SELECT count(*), max(row_id), max(col_id), count(*) FILTER (WHERE ref_pix) FROM pixels") == [
        (1_320_960, 1280, 1032, 256 * 1032)
    ]
    assert filled.ask("SELECT row_id, col_id, ref_pix FROM pixels WHERE pixel_id IN (802897, 1056769)") == [
        (779, 1, False),
        (1025, 1, True),
    ]


def test_a_pixel_is_found_by_its_index(filled: Filled) -> None:
    for view in ("ramps", "groups", "correctedramps", "correctedgroups"):
        ((plan,),) = filled.ask(f"EXPLAIN (FORMAT json) SELECT * FROM {view} WHERE exp_id = 1 AND pixel_id = 802900")
        scans = [n for n in nodes(plan[0]["Plan"]) if "_block_" in n.get("Relation Name", "")]
        assert scans
        for node in scans:
            assert node["Node Type"] == "Index Scan", (view, json.dumps(node, indent=1))
            assert "pixel_id" in node["Index Cond"]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def test_the_owner_may_ask_what_was_not_paired(filled: Filled) -> None:
    """A Ramp whose RateInts is in the trash has no slopes, a RateInts without Ramp no ramps."""
    pool = filled.pool
    rates = pool.ref(f"RateInts/{filled.name}@first")
    pool.remove(rates)
    try:
        assert filled.ask("SELECT count(*), count(slope_value) FROM correctedramps WHERE corrected_exp_id = 1") == [
            (shape(filled)[0] * shape(filled)[1], 0)
        ]
    finally:
        pool.restore(rates)
        core_of(pool).pixel_rows.make_pending()
    ramp = pool.ref(f"Ramp/{filled.name}@second")
    pool.remove(ramp)
    try:
        found = filled.ask(
            "SELECT count(*), count(corrected_ramp), count(slope_value), count(jump_det) FROM correctedramps "
            "WHERE corrected_exp_id <> 1"
        )
        assert found[0][:2] == (shape(filled)[0] * shape(filled)[1], 0)
        assert found[0][2] > 0
        assert found[0][3] == 0
    finally:
        pool.restore(ramp)
        core_of(pool).pixel_rows.make_pending()
    assert filled.ask("SELECT count(*) FROM correctedexposures") == [(2,)]
