"""Decays after a saturation, and slopes over some groups of a ramp."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from homes import call

from miripool import Pool, Ramp, RateInts, Raw
from miripool.errors import FormatError, InvalidInput, ProductNotFound
from miripool.formats import read_fits
from miripool.monitors.decay import fit_decays
from miripool.monitors.groupslopes import fit_group_slopes
from miripool.monitors.strata import stratum_of
from miripool.simulate import LivesCampaign, simulate_exposure, simulate_lives

START = datetime(2026, 1, 1, tzinfo=UTC)
NUMBER, AT = 24, 5
HOURS = 2.24
"""A tenth is left after 5.16 h."""
SATURATED = 2


@pytest.fixture(scope="module")
def campaign() -> LivesCampaign:
    return simulate_lives(NUMBER, name="dark_{number:03d}", nints=4, hours=1.0, lives={}, margin=2, start=START, seed=7)


@pytest.fixture(scope="module")
def darks(campaign: LivesCampaign, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return campaign.write_rateints(tmp_path_factory.mktemp("darks"), date=START)


def test_decays_of_a_population() -> None:
    """The constant of all pixels is right within its error, those of single pixels scatter as their errors say."""
    rng = np.random.default_rng(1)
    times = np.arange(1, 19) * 0.7
    truth = rng.uniform(20, 60, 300)
    shape = np.exp(-times / HOURS)
    rates = 5 + truth * shape[:, None] + rng.standard_normal((18, 300))
    rates[3, 5] = np.nan
    level = 5 + 0.4 * rng.standard_normal(300)
    for before, spread in ((level, np.full(300, 0.4)), (None, None)):
        found = fit_decays(times, rates, np.ones(rates.shape), before, spread)
        assert abs(found.constant - HOURS) < 4 * found.constant_error
        assert found.constant_error < 0.02
        pulls = (found.amplitude - truth) / found.error
        assert abs(pulls.mean()) < 0.3
        assert pulls.std() == pytest.approx(1, abs=0.15)
        pulls = (found.constants - HOURS) / found.constant_errors
        assert np.isfinite(pulls).all()
        assert abs(np.median(pulls)) < 0.3
        assert pulls.std() == pytest.approx(1, abs=0.25)
    noise = [fit_decays(times, rng.standard_normal((18, 50)), np.ones((18, 50)), None, None) for _ in range(10)]
    assert sum(np.isfinite(quiet.constant) for quiet in noise) <= 1  # there is nothing to tell it from
    assert sum(int(np.isfinite(quiet.constants).sum()) for quiet in noise) <= 5
    level[7] = np.nan  # its level is fitted
    found = fit_decays(times, rates, np.ones(rates.shape), level, np.full(300, 0.4))
    assert abs(found.amplitude[7] - truth[7]) < 5 * found.error[7]
    assert found.error[7] > found.error[8]


def test_decays_in_a_monitor(pool: Pool, campaign: LivesCampaign, darks: list[Path]) -> None:
    """Pixels that were saturated in one exposure glow in the next ones; a deficit is found as well."""
    rng = np.random.default_rng(2)
    chosen = np.zeros((64, 72), bool)
    chosen[rng.integers(2, 62, 60), rng.integers(6, 70, 60)] = True
    sign = np.where(np.arange(72) < 36, 1.0, -1.0)
    for i, path in enumerate(darks):
        product = read_fits(path)
        rates, dq = product["SCI"][...], product["DQ"][...]
        if i == AT:
            dq[2][chosen] |= SATURATED
        if i > AT:
            rates += (chosen * sign * 60 * np.exp(-(i - AT) / HOURS)).astype("f4")
        pool.save(product.replace(SCI=rates, DQ=dq), name=product.name, pixels=False)
    monitor = pool.create_monitor("dark")
    monitor.update()
    table = monitor.persistence(spec_of(darks, AT))
    usable = int(np.isfinite(table["amplitude"].filled(np.nan)).sum())
    assert table["pixels"][0] == chosen.sum() == len(table) - 1
    assert usable >= len(table) - 3  # bad pixels of the detector have no rate
    hours, error = table["hours"][0], table["hours_error"][0]
    assert abs(hours - HOURS) < max(4 * error, 0.1)
    single = table[1:][~table["amplitude"][1:].mask]
    right = np.abs(single["amplitude"] - 60 * np.where(single["x"] - 1 < 36, 1, -1)) < 4 * single["error"] + 3
    assert right.mean() > 0.95
    listed = json.loads(call("monitor", "persistence", "jpl8", "dark", spec_of(darks, AT), "--json").stdout)
    assert (listed[0]["x"], listed[0]["pixels"], len(listed)) == (None, int(chosen.sum()), len(table))
    with pytest.raises(InvalidInput, match="no pixel was saturated"):
        monitor.persistence(spec_of(darks, AT + 1))
    with pytest.raises(ProductNotFound):
        monitor.persistence("RateInts/none")
    pool.create_monitor("early", where=f"date_obs < '2026-01-02' and name < 'dark_{AT + 4:03d}'").update()
    with pytest.raises(InvalidInput, match="only 2 later exposures, but 4 are needed"):
        pool.monitor("early").persistence(spec_of(darks, AT))


def test_slopes_of_several_ramps_go_on_after_one_that_fails(pool: Pool) -> None:
    ramp, _ = make_ramp()
    for name, number in (("a", 20), ("b", 4), ("c", 20)):
        pool.save(Ramp({"TGROUP": 2.0, "DETECTOR": "MIRIMAGE"}, {"SCI": ramp[:, :number]}, name=name), pixels=False)
    done = call("slopes", "jpl8", "--kind", "Ramp", "--groups", "2:10", "--json")
    assert [row["name"] for row in json.loads(done.stdout)] == ["a_groups2-10", "c_groups2-10"]
    assert done.exit_code == InvalidInput.exit_code
    assert "Ramp:1: there are no groups 2 to 10: the ramp has the groups 1 to 4" in done.stderr


def spec_of(darks: list[Path], place: int) -> str:
    return f"RateInts/{read_fits(darks[place]).name}"


# Slopes over some groups


def make_ramp(groups: int = 20) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    level = 1000 + 3.0 * np.arange(groups)
    ramp = level[None, :, None, None] + rng.normal(0, 2.0, (2, groups, 16, 32))
    return ramp, np.zeros(ramp.shape, "u1")


def test_slopes_over_some_groups() -> None:
    ramp, dq = make_ramp()
    ramp[0, 10:, 3, 4] += 700
    dq[0, 10, 3, 4] = 4  # a jump between groups 10 and 11
    ramp[1, 12:, 5, 6] = 60000
    dq[1, 12:, 5, 6] = SATURATED
    dq[0, :, 7, 8] = 1
    ramp[1, 9, 9, 9] = np.nan
    pixeldq = np.zeros((16, 32), "u4")
    pixeldq[1, 2] = 2048
    meta = {"TGROUP": 0.5, "DETECTOR": "MIRIMAGE", "TARGNAME": "dark"}
    made = fit_group_slopes(Ramp(meta, {"SCI": ramp, "GROUPDQ": dq, "PIXELDQ": pixeldq}, name="a"), 5, 18)
    assert isinstance(made, RateInts)
    assert (made.name, made.meta["TARGNAME"].value) == ("a_groups5-18", "dark")
    slopes, errors, flags = (made[name][...] for name in ("SCI", "ERR", "DQ"))
    assert (slopes.shape, slopes.dtype, flags.dtype) == ((2, 16, 32), np.dtype("f4"), np.dtype("u4"))
    x = np.arange(4, 18)
    expected = np.polyfit(x, ramp[1, 4:18].reshape(14, -1), 1)[0].reshape(16, 32) / 0.5
    expected[9, 9] = np.polyfit(np.delete(x, 5), np.delete(ramp[1, 4:18, 9, 9], 5), 1)[0] / 0.5
    expected[5, 6] = np.polyfit(x[:8], ramp[1, 4:12, 5, 6], 1)[0] / 0.5
    assert slopes[1] == pytest.approx(expected, rel=1e-4)
    pulls = (slopes - 6.0) / errors
    pulls = pulls[np.isfinite(pulls)]
    assert abs(slopes[0, 3, 4] - 6.0) < 5 * errors[0, 3, 4] < 5
    assert np.percentile(np.abs(pulls), 68.3) == pytest.approx(1, abs=0.12)
    assert np.isnan(slopes[0, 7, 8])
    assert flags[0, 7, 8] & 1
    assert (flags[0, 3, 4], flags[1, 5, 6], flags[0, 1, 2], flags[0, 0, 0]) == (4, SATURATED, 2048, 0)


def test_slopes_of_a_raw_are_saved(pool: Pool) -> None:
    ramp, _ = make_ramp()
    place = {"DETECTOR": "MIRIMAGE", "SUBSTRT1": 101, "SUBSTRT2": 101, "SUBSIZE1": 32, "SUBSIZE2": 16}
    pool.save(Raw({"TGROUP": 2.0, **place}, {"SCI": ramp.round().astype("u2")}, name="a"))
    saved = pool.save(fit_group_slopes(pool.ref("Raw/a").product, 2, 20))
    assert (saved.urn.split(":")[2], saved.name) == ("RateInts", "a_groups2-20")
    assert float(np.median(saved.product["SCI"][...])) == pytest.approx(1.5, abs=0.02)


def test_slopes_on_the_command_line(pool: Pool) -> None:
    ramp, _ = make_ramp()
    pool.save(Ramp({"TGROUP": 2.0, "DETECTOR": "MIRIMAGE"}, {"SCI": ramp}, name="a b"), pixels=False)
    done = call("slopes", "jpl8", "Ramp/a b", "--groups", "5:20", "--tag", "late groups", "--json")
    (row,) = json.loads(done.stdout)
    assert (row["name"], row["version"], row["notice"]) == ("a b_groups5-20", 0, None)
    ref = pool.ref("RateInts/a b_groups5-20@late groups")
    assert row["urn"] == ref.urn
    (root,) = pool.lineage(ref.urn)
    assert [node.row.kind for node in root.walk()] == ["Ramp", "RateInts"]
    assert "unchanged" in call("slopes", "jpl8", "--kind", "Ramp", "--groups", "5:20").stdout
    for groups in ("5", "5:", "a:b", "20:5"):
        with pytest.raises(InvalidInput):
            call("slopes", "jpl8", "Ramp/a b", "--groups", groups)


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [(0, 5, "the ramp has the groups 1 to 20"), (1, 21, "1 to 20"), (5, 5, "3 groups or more"), (6, 5, "not 6:5")],
)
def test_groups_that_are_not_there(first: int, last: int, words: str) -> None:
    ramp, _ = make_ramp()
    with pytest.raises(InvalidInput, match=words):
        fit_group_slopes(Ramp({"TGROUP": 0.5}, {"SCI": ramp}, name="a"), first, last)


def test_what_has_no_slopes() -> None:
    ramp, _ = make_ramp()
    with pytest.raises(FormatError, match="TGROUP"):
        fit_group_slopes(Ramp({}, {"SCI": ramp}, name="a"), 1, 5)
    with pytest.raises(InvalidInput, match="kind Ramp or Raw; this is a RateInts"):
        fit_group_slopes(RateInts({}, {"SCI": ramp[:, 0]}, name="a"), 1, 5)
    flags = np.ones(ramp.shape, "u1")
    flags[:, 4:6] = 0
    flat = fit_group_slopes(Ramp({"TGROUP": 1.0}, {"SCI": ramp, "GROUPDQ": flags}, name="a"), 4, 8)
    assert np.isnan(flat["SCI"][...]).all()  # two groups have no scatter
    assert (flat["DQ"][...] == 1).all()


def test_long_after(pool: Pool) -> None:
    """A monitor without exposures says so."""
    pool.create_monitor("none", where="name == 'x'").update()
    dq = np.full((1, 64, 72), SATURATED, "u4")
    meta = {"DETECTOR": "MIRIMAGE", "DATE-OBS": "2026-01-01", "TIME-OBS": "00:00:00"}
    ref = pool.save(RateInts(meta, {"SCI": np.ones((1, 64, 72), "f4"), "DQ": dq}, name="a"), pixels=False)
    with pytest.raises(InvalidInput, match="has no exposures"):
        pool.monitor("none").persistence(ref)
    late = pool.save(RateInts({"DETECTOR": "MIRIMAGE"}, {"SCI": np.ones((1, 64, 72), "f4")}, name="b"), pixels=False)
    with pytest.raises(FormatError, match="does not say when the exposure began"):
        pool.monitor("none").persistence(late)


def test_slopes_are_a_datamodel(pool: Pool, tmp_path: Path) -> None:
    """The file of slopes over some groups opens as a CubeModel; a Raw's first and last groups do not count."""
    from stdatamodels.jwst import datamodels

    exposure = simulate_exposure("a", subarray="SUB64", nints=2, ngroups=20)
    ref = pool.save(exposure.write_uncal(tmp_path), pixels=False)
    made = fit_group_slopes(ref.product, 11, 20)
    assert np.array_equal(made["SCI"][...], fit_group_slopes(ref.product, 11, 19)["SCI"][...], equal_nan=True)
    saved = pool.save(made, pixels=False)
    path = pool.export(saved, tmp_path / "slopes.fits")
    with datamodels.open(path) as model:
        assert isinstance(model, datamodels.CubeModel)
        assert model.data.shape == (2, 64, 72)
        assert (model.meta.exposure.ngroups, model.meta.filename) == (10, "slopes.fits")
    stratum = stratum_of(saved.product.meta)
    assert stratum is not None
    assert str(stratum).endswith("groups except 11-20")


def test_a_reference_pixel_has_no_life(pool: Pool, campaign: LivesCampaign, darks: list[Path]) -> None:
    pool.ingest(darks[:3], pixels=False)
    pool.create_monitor("dark").update()
    for x in (1, 4):
        with pytest.raises(InvalidInput, match=f"pixel x={x}, y=800 of MIRIMAGE is a reference pixel"):
            pool.pixel(x, 800).life()
    assert pool.pixel(5, 800).life().x == 5
