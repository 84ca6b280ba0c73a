"""Campaigns in which pixels change: the truth, the slopes drawn from it, and the files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from homes import call

from miripool.errors import AlreadyExists, InvalidInput
from miripool.formats import read_fits
from miripool.simulate import (
    EXPOSURE_TYPES,
    PIXEL_LIFE,
    PIXEL_STATES,
    Calibration,
    Detector,
    LivesCampaign,
    flags,
    simulate_lives,
)
from miripool.simulate.calibration import RampArrays, fit_slopes, slope_variances
from miripool.simulate.lives import LifePlan, draw_lives
from miripool.simulate.subarrays import SUBARRAYS

DATE = datetime(2026, 1, 1, tzinfo=UTC)
EACH = {"step": 100, "hot": 100, "rts": 100, "drift": 50, "unstable": 50, "noisy": 50}


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.draw()


@pytest.fixture(scope="module")
def campaign(detector: Detector) -> LivesCampaign:
    return simulate_lives(40, name="dark_{number:03d}", detector=detector, lives=EACH, cosmic_ray_rate=0, seed=3)


@pytest.fixture(scope="module")
def rates(campaign: LivesCampaign) -> np.ndarray:
    """Slopes, shape (number, nints, ny, nx), DN/s; NaN where not to be used."""
    return np.stack([campaign.rates(i).sci for i in range(campaign.number)])


@pytest.fixture(scope="module")
def standard_error(campaign: LivesCampaign) -> np.ndarray:
    """Standard error of one exposure's mean, shape (ny, nx), DN/s."""
    part = campaign.detector
    variances = slope_variances(
        part.dark_current, ngroups=10, read_noise=part.read_noise, gain=part.gain, group_time=campaign.group_time
    )
    return np.sqrt(sum(variances) / campaign.nints)


def chosen(campaign: LivesCampaign, state: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the truth and what they add in each exposure, of one state."""
    which = campaign.truth.lives["state"] == state
    return campaign.truth.lives[which], campaign.truth.offsets[which]


def series(rates: np.ndarray, lives: np.ndarray) -> np.ndarray:
    """Mean slope of each pixel in each exposure, shape (n, number), DN/s."""
    return rates[:, :, lives["row"], lives["column"]].mean(axis=1).T


# Determinism


def test_equal_arguments_give_equal_arrays_in_any_order(detector: Detector) -> None:
    one, two = (simulate_lives(20, detector=detector, lives={"step": 5, "rts": 5}, seed=9) for _ in range(2))
    late_first = {i: two.rates(i) for i in (7, 2)}
    for i in (2, 7):
        for name in ("sci", "err", "dq", "var_poisson", "var_rnoise"):
            np.testing.assert_array_equal(getattr(one.rates(i), name), getattr(late_first[i], name))
    assert one.truth.lives.tobytes() == two.truth.lives.tobytes()
    np.testing.assert_array_equal(one.truth.offsets, two.truth.offsets)
    assert not np.array_equal(one.rates(0).sci, one.rates(1).sci, equal_nan=True)
    other = simulate_lives(20, detector=detector, lives={"step": 5, "rts": 5}, seed=10)
    assert not np.array_equal(one.rates(0).sci, other.rates(0).sci, equal_nan=True)
    assert not np.array_equal(one.truth.lives["row"], other.truth.lives["row"])


# Quiet pixels


def test_forms_and_flags(campaign: LivesCampaign) -> None:
    got = campaign.rates(0)
    for array in (got.sci, got.err, got.var_poisson, got.var_rnoise):
        assert (array.dtype, array.shape) == (np.float32, (5, 64, 72))
    assert (got.dq.dtype, got.dq.shape) == (np.uint32, (5, 64, 72))
    np.testing.assert_array_equal(got.dq, np.broadcast_to(campaign.detector.mask, got.dq.shape))
    unusable = (got.dq & flags.DO_NOT_USE) != 0
    np.testing.assert_array_equal(np.isnan(got.sci), unusable)
    assert (got.err[unusable] == 0).all()
    assert (got.err[~unusable] > 0).all()
    assert ((got.dq[:, :, :4] & flags.REFERENCE_PIXEL) != 0).all()
    np.testing.assert_allclose(got.err, np.sqrt(got.var_poisson + got.var_rnoise))


def test_quiet_pixels_scatter_as_their_errors_say(campaign: LivesCampaign, rates: np.ndarray) -> None:
    quiet = campaign.truth.quiet
    err = np.stack([campaign.rates(i).err for i in range(0, 40, 10)])
    z = (rates - campaign.detector.dark_current)[..., quiet] / err.mean(axis=(0, 1))[quiet]
    n = z.size
    assert abs(z.mean()) < 4 / np.sqrt(n)
    assert z.std() == pytest.approx(1, abs=0.01)
    assert np.abs(z).max() < 6


def test_quiet_pixels_are_the_good_ones_without_a_life(campaign: LivesCampaign) -> None:
    lives, good = campaign.truth.lives, campaign.detector.mask == 0
    assert len({(row, column) for row, column in zip(lives["row"], lives["column"], strict=True)}) == 450
    assert good[lives["row"], lives["column"]].all()
    assert campaign.truth.quiet.sum() == good.sum() - 450
    assert not campaign.truth.quiet[lives["row"], lives["column"]].any()
    place = SUBARRAYS["SUB64"]
    np.testing.assert_array_equal(lives["x"], lives["column"] + place.xstart)
    np.testing.assert_array_equal(lives["y"], lives["row"] + place.ystart)


def test_cosmic_rays_hit_the_share_asked_for(detector: Detector) -> None:
    campaign = simulate_lives(10, detector=detector, lives={}, cosmic_ray_rate=0.005)
    z = np.stack([(r := campaign.rates(i)).sci / np.where(r.err > 0, r.err, 1) for i in range(10)])
    z = z[..., campaign.truth.quiet]
    n = z.size
    # A fifth of the hits add less than 5 sigma: their sizes are lognormal with the median 10 and a spread of 0.8.
    seen = np.count_nonzero(z > 5)
    assert 0.7 * 0.005 * n < seen < 0.9 * 0.005 * n
    assert np.count_nonzero(z < -5) == 0
    hits = z[z > 5]
    assert 10 < np.median(hits) < 15


def test_the_first_integration_settles(detector: Detector) -> None:
    campaign = simulate_lives(2, detector=detector, lives={}, cosmic_ray_rate=0, settling=2.0, nints=3)
    got = campaign.rates(1)
    z = (got.sci - campaign.detector.dark_current)[:, campaign.truth.quiet] / got.err[:, campaign.truth.quiet]
    np.testing.assert_allclose(z.mean(axis=1), [2, 0, 0], atol=0.08)


def test_a_calibration_subtracts_the_dark_and_sets_the_gain_of_err(campaign: LivesCampaign) -> None:
    kept, gone = campaign.rates(4), campaign.rates(4, Calibration(dark_scale=1, gain=1.0))
    dark = np.broadcast_to(campaign.detector.dark_current, kept.sci.shape)
    usable = np.isfinite(kept.sci)
    np.testing.assert_allclose((kept.sci - gone.sci)[usable], dark[usable], atol=1e-4)
    np.testing.assert_array_equal(kept.var_rnoise, gone.var_rnoise)
    bright = campaign.truth.lives[np.argmax(campaign.truth.offsets[:, 4])]
    place = (0, bright["row"], bright["column"])
    assert gone.var_poisson[place] == pytest.approx(5.5 * kept.var_poisson[place], rel=0.01)


def test_the_variance_by_read_noise_is_that_of_the_best_fit() -> None:
    """A ramp without light, of which the first and the last group are left out, fitted by least squares."""
    shape = (2, 3)
    noise = np.full(shape, 7, np.float32)
    groupdq = np.zeros((1, 10, *shape), np.uint8)
    groupdq[:, [0, -1]] = flags.DO_NOT_USE
    ramp = RampArrays(np.zeros(groupdq.shape, np.float32), np.zeros(shape, np.uint32), groupdq, np.zeros(1, np.float32))
    fitted = fit_slopes(ramp, read_noise=noise, gain=5.5, group_time=0.08512)
    _, stated = slope_variances(fitted.sci[0], ngroups=10, read_noise=noise, gain=5.5, group_time=0.08512)
    np.testing.assert_allclose(stated, fitted.var_rnoise[0], rtol=1e-4)


# Lives


def test_amplitudes_are_those_asked_for(campaign: LivesCampaign, standard_error: np.ndarray) -> None:
    lives = campaign.truth.lives
    assert [state for state in PIXEL_STATES for _ in range(EACH.get(state, 0))] == list(lives["state"])
    loud = lives[lives["state"] != "noisy"]
    assert ((loud["sigmas"] >= 5) & (loud["sigmas"] <= 20)).all()
    assert loud["sigmas"].mean() == pytest.approx(12.5, abs=1)
    np.testing.assert_allclose(
        loud["amplitude"], loud["sigmas"] * standard_error[loud["row"], loud["column"]], rtol=1e-5
    )


@pytest.mark.parametrize("state", EACH)
def test_the_arrays_hold_the_truth(
    campaign: LivesCampaign, rates: np.ndarray, standard_error: np.ndarray, state: str
) -> None:
    lives, offsets = chosen(campaign, state)
    scatter = 3 if state == "noisy" else 1
    z = (series(rates, lives) - lives["rate"][:, None] - offsets) / standard_error[lives["row"], lives["column"], None]
    assert abs(z.mean()) < 4 * scatter / np.sqrt(z.size)
    assert z.std() == pytest.approx(scatter, rel=0.06)  # photons of the brightest add some percent


def test_steps(campaign: LivesCampaign, rates: np.ndarray, standard_error: np.ndarray) -> None:
    lives, offsets = chosen(campaign, "step")
    assert lives["first"].min() >= 5
    assert lives["first"].max() <= 35
    assert (lives["end"] == 40).all()
    exposures = np.arange(40)
    after = exposures >= lives["first"][:, None]
    np.testing.assert_allclose(offsets, np.where(after, lives["amplitude"][:, None], 0), rtol=1e-6)
    values = series(rates, lives)
    height = np.mean(values, axis=1, where=after) - np.mean(values, axis=1, where=~after)
    error = standard_error[lives["row"], lives["column"]] * np.sqrt(1 / after.sum(axis=1) + 1 / (~after).sum(axis=1))
    assert (np.abs(height - lives["amplitude"]) < 4.5 * error).all()
    changed = np.abs(np.diff(values, axis=1)).argmax(axis=1) + 1
    loud = lives["sigmas"] > 10
    assert (changed == lives["first"])[loud].all()


def test_hot_pixels_are_normal_before_and_after(campaign: LivesCampaign) -> None:
    lives, offsets = chosen(campaign, "hot")
    assert lives["first"].min() >= 5
    assert (lives["end"] - lives["first"]).min() >= 5
    assert lives["end"].max() <= 35
    assert (lives["anneal"] == -1).all()
    exposures = np.arange(40)
    during = (exposures >= lives["first"][:, None]) & (exposures < lives["end"][:, None])
    np.testing.assert_array_equal(offsets > 0, during)


def test_telegraphs_have_two_levels_and_their_dwell_times(detector: Detector) -> None:
    campaign = simulate_lives(400, detector=detector, lives={"rts": 400}, hours=1)
    lives, offsets = campaign.truth.lives, campaign.truth.offsets
    high = campaign.truth.telegraph
    np.testing.assert_allclose(offsets, np.where(high, (lives["high"] - lives["low"])[:, None], 0), rtol=1e-5)
    np.testing.assert_allclose(lives["high"] - lives["low"], lives["amplitude"])
    np.testing.assert_array_equal(lives["low"], lives["rate"])
    for dwell in ("dwell_low", "dwell_high"):
        assert 2 <= lives[dwell].min() < 3
        assert 9 < lives[dwell].max() <= 10
    # The chance to leave a level is 1 / dwell at each exposure: compare the numbers of transitions.
    for state, dwell in ((high, "dwell_high"), (~high, "dwell_low")):
        stays = state[:, :-1]
        left = (stays & (high[:, 1:] != high[:, :-1])).sum(axis=1)
        expected = stays.sum(axis=1) / lives[dwell]
        deviation = np.sqrt(stays.sum(axis=1) * (1 - 1 / lives[dwell]) / lives[dwell])
        z = (left - expected)[deviation > 0] / deviation[deviation > 0]
        assert abs(z.mean()) < 0.2
        assert 0.85 < z.std() < 1.15


def test_drifts_unstable_and_noisy_pixels(campaign: LivesCampaign, rates: np.ndarray) -> None:
    lives, offsets = chosen(campaign, "drift")
    assert (offsets[:, 0] == 0).all()
    np.testing.assert_allclose(offsets[:, -1], lives["amplitude"], rtol=1e-6)
    np.testing.assert_allclose(np.diff(offsets, axis=1), np.tile(lives["amplitude"][:, None] / 39, 39), rtol=1e-3)

    lives, offsets = chosen(campaign, "unstable")
    np.testing.assert_allclose((offsets != 0).mean(axis=1), lives["fraction"])
    assert 0.1 <= lives["fraction"].min() < lives["fraction"].max() <= 0.3
    displaced = (offsets / lives["amplitude"][:, None])[offsets != 0]
    assert displaced.std() == pytest.approx(1, abs=0.15)

    lives, offsets = chosen(campaign, "noisy")
    assert not offsets.any()
    assert np.isnan(lives["amplitude"]).all()
    ratio = rates.std(axis=1).mean(axis=0) / np.median(rates.std(axis=1).mean(axis=0)[campaign.truth.quiet])
    assert ratio[lives["row"], lives["column"]].mean() == pytest.approx(3, rel=0.1)


def test_anneals_heal_with_the_probability(detector: Detector) -> None:
    anneals = [DATE + timedelta(days=day) for day in (20, 10)]
    campaign = simulate_lives(
        60, start=DATE, detector=detector, lives={"hot": 1000}, anneals=anneals, heal_probability=0.3
    )
    assert campaign.anneals == (anneals[1], anneals[0])
    lives, offsets = campaign.truth.lives, campaign.truth.offsets
    for i, after in enumerate((20, 40)):
        assert campaign.times[after] == campaign.anneals[i]
        was_hot, is_hot = offsets[:, after - 1] > 0, offsets[:, after] > 0
        n = was_hot.sum()
        healed = was_hot & ~is_hot
        assert n > 300
        assert abs(healed.sum() - 0.3 * n) < 4 * np.sqrt(0.3 * 0.7 * n)
        np.testing.assert_array_equal(healed, lives["anneal"] == i)
        assert (lives["end"][healed] == after).all()
        assert not (is_hot & ~was_hot).any()
    assert (lives["end"][lives["anneal"] < 0] == 60).all()
    born = lives["first"][lives["first"] > 0]
    assert 400 < len(born) < 600
    assert set(born) <= {*range(5, 16), *range(25, 36), *range(45, 56)}
    np.testing.assert_array_equal(offsets[np.arange(1000), lives["first"]] > 0, True)


def test_all_heal_or_none_and_anneals_without_room_for_births(detector: Detector) -> None:
    anneal = [DATE + timedelta(hours=49)]
    for probability, left in ((0.0, 50), (1.0, 0)):
        campaign = simulate_lives(
            *(10,), start=DATE, detector=detector, lives={"hot": 50}, anneals=anneal, heal_probability=probability
        )
        assert (campaign.truth.lives["first"] == 0).all()
        assert np.count_nonzero(campaign.truth.offsets[:, -1]) == left


# Files


@pytest.fixture(scope="module")
def small(detector: Detector) -> LivesCampaign:
    start = datetime(2026, 1, 1, 22, tzinfo=timezone(timedelta(hours=1)))
    return simulate_lives(
        *(3,), name="dark_{number:03d}_{detector}", detector=detector, lives={"noisy": 3, "rts": 4}, start=start, seed=2
    )


def test_files_hold_the_arrays_and_the_times(small: LivesCampaign, tmp_path: Path) -> None:
    paths = small.write_rateints(tmp_path, date=DATE)
    assert [path.name for path in paths] == [f"dark_00{i}_mirimage_rateints.fits" for i in (1, 2, 3)]
    for i, path in enumerate(paths):
        product = read_fits(path)
        assert product.kind == "RateInts"
        expected = small.rates(i)
        for name, array in (("SCI", expected.sci), ("ERR", expected.err), ("DQ", expected.dq)):
            np.testing.assert_array_equal(product[name][...], array)
        with fits.open(path) as hdus:
            header, int_times = hdus[0].header, hdus["INT_TIMES"].data
            begin = datetime.fromisoformat(f"{header['DATE-OBS']}T{header['TIME-OBS']}+00:00")
            assert begin == small.times[i] == datetime(2026, 1, 1, 21, tzinfo=UTC) + i * timedelta(hours=12)
            assert int_times["int_start_MJD_UTC"][0] == header["EXPSTART"]
            assert len(int_times) == header["NINTS"] == 5
        found = {key: header[key] for key in ("EXP_TYPE", "FILTER", "SUBARRAY", "SUBSTRT1", "SUBSTRT2", "NGROUPS")}
        assert found == {
            "EXP_TYPE": "MIR_DARKIMG",
            "FILTER": "OPAQUE",
            "SUBARRAY": "SUB64",
            "SUBSTRT1": 1,
            "SUBSTRT2": 779,
            "NGROUPS": 10,
        }
        assert (header["S_RAMP"], header["S_DARK"], header["CAL_VER"]) == ("COMPLETE", "SKIPPED", "simulated dark kept")
        assert header["R_GAIN"].startswith("crds://jwst_miri_gain_")
        assert "R_DARK" not in header


def test_equal_campaigns_give_equal_bytes_and_calibrations_name_themselves(
    small: LivesCampaign, tmp_path: Path
) -> None:
    first = small.write_exposure(1, tmp_path, date=DATE).read_bytes()
    assert small.write_exposure(1, tmp_path, date=DATE, overwrite=True).read_bytes() == first
    path = small.write_exposure(1, tmp_path, Calibration("v2", crds_context="jwst_9002.pmap"), overwrite=True)
    header = fits.getheader(path)
    assert (header["CAL_VER"], header["CRDS_CTX"], header["S_DARK"]) == ("simulated v2", "jwst_9002.pmap", "COMPLETE")
    assert "R_DARK" in header


@pytest.mark.jwst
@pytest.mark.slow
@pytest.mark.parametrize(
    ("exposure_type", "found"), [(None, "MIR_DARKIMG"), ("MIR_DARKALL", "MIR_DARKALL"), ("MIR_FLATIMAGE",) * 2]
)
def test_datamodels_read_them(detector: Detector, tmp_path: Path, exposure_type: str | None, found: str) -> None:
    from stdatamodels.jwst import datamodels

    campaign = simulate_lives(1, detector=detector, lives={}, exposure_type=exposure_type)
    with datamodels.open(campaign.write_exposure(0, tmp_path)) as model:
        model.validate()
        assert isinstance(model, datamodels.CubeModel)
        assert model.meta.exposure.type == found
        np.testing.assert_array_equal(model.data, campaign.rates(0).sci)
        assert len(model.int_times) == 5


@pytest.mark.jwst
@pytest.mark.slow
def test_exposure_types_are_those_of_the_datamodels() -> None:
    from stdatamodels.jwst import datamodels

    model = datamodels.CubeModel()
    for exposure_type in EXPOSURE_TYPES:
        model.meta.exposure.type = exposure_type
    with pytest.warns(Warning, match="MIR_DARK"):
        model.meta.exposure.type = "MIR_DARK"


def test_detectors_of_the_spectrometer_have_darks_of_their_own() -> None:
    campaign = simulate_lives(1, subarray="FULL", detector="MIRIFULONG", lives={})
    assert campaign.exposure_type == "MIR_DARKMRS"


def test_the_truth_can_be_read_again(small: LivesCampaign, tmp_path: Path) -> None:
    path = small.write_truth(tmp_path)
    table = Table.read(path)
    assert path.name == "truth.ecsv"
    for name in PIXEL_LIFE.names or ():
        np.testing.assert_array_equal(table[name], small.truth.lives[name])
        assert table[name].description
    assert str(table["amplitude"].unit) == "DN / s"
    np.testing.assert_array_equal(table["offset"], small.truth.offsets)
    np.testing.assert_array_equal(table["telegraph"], small.truth.telegraph)
    assert table.meta["exposures"] == list(small.names)
    assert [datetime.fromisoformat(time) for time in table.meta["times"]] == list(small.times)


def test_nothing_is_replaced_unasked(small: LivesCampaign, tmp_path: Path) -> None:
    small.write_exposure(2, tmp_path)
    small.write_truth(tmp_path)
    with pytest.raises(AlreadyExists, match="dark_003"):
        small.write_rateints(tmp_path)
    assert len(list(tmp_path.glob("*.fits"))) == 1
    with pytest.raises(AlreadyExists, match="overwrite"):
        small.write_truth(tmp_path)
    small.write_truth(tmp_path, overwrite=True)
    for write in (small.write_rateints, small.write_truth):
        with pytest.raises(InvalidInput, match="no folder"):
            write(tmp_path / "nowhere")


# What can't be


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lives": {"step": 5000}}, "5000 lives need as many good pixels"),
        ({"lives": {"stuck": 1}}, "Pixels can't be stuck; use hot, step, rts"),
        ({"lives": {"hot": -1}}, "can't be -1 hot pixels"),
        ({"margin": 11, "lives": {"step": 1}}, "step pixels need 22 exposures or more, and there are 20"),
        ({"margin": 7, "lives": {"hot": 1}}, "hot pixels need 21 exposures"),
        ({"number": 1, "lives": {"drift": 1}}, "drift pixels need 2 exposures"),
        ({"margin": 0}, "margin is 0"),
        ({"number": 0}, "can't be 0 exposures"),
        ({"amplitude": (5, 3)}, "amplitude is 5 to 3"),
        ({"amplitude": (0, 3)}, "amplitude is 0 to 3"),
        ({"amplitude": (1, float("nan"))}, "amplitude is 1 to nan"),
        ({"heal_probability": 1.1}, "heal_probability is 1.1"),
        ({"cosmic_ray_rate": -0.1}, "cosmic_ray_rate is -0.1"),
        ({"settling": float("inf")}, "settling is inf"),
        ({"seed": -1}, "seed is -1"),
        ({"ngroups": 1}, "a slope takes two groups"),
        ({"nints": 0}, "nints is 0"),
        ({"hours": 0.0001}, "exposures can't overlap"),
        ({"hours": 1e9}, "after the year 9999"),
        ({"start": datetime(2026, 1, 1)}, "start is .* without a time zone"),
        ({"anneals": [datetime(2026, 1, 1)]}, "an anneal is .* without a time zone"),
        ({"anneals": [DATE - timedelta(days=1)]}, "anneals come before exposures 0 of 20"),
        ({"anneals": [DATE + timedelta(days=1)]}, "each must have 5 exposures before it"),
        ({"anneals": [DATE + timedelta(days=100)]}, "lie within the series"),
        ({"name": "dark"}, "put {number} into the name"),
        ({"name": "a dark {number}"}, "not a valid name"),
        ({"exposure_type": "MIR_IMAGE"}, "no calibration exposure"),
        ({"subarray": "SUB63"}, "no subarray 'SUB63'"),
        ({"readpatt": "SLOWR1"}, "in FAST or FASTR1 only"),
    ],
)
def test_senseless_arguments(detector: Detector, wrong: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {"number": 20, "detector": detector, "lives": {}, "start": DATE, **wrong}
    with pytest.raises(InvalidInput, match=message):
        simulate_lives(arguments.pop("number"), **arguments)  # type: ignore[arg-type]


def test_exposures_that_are_not_there(small: LivesCampaign, tmp_path: Path) -> None:
    for i in (-1, 3):
        with pytest.raises(InvalidInput, match=f"no exposure {i}; the campaign has exposures 0 to 2"):
            small.rates(i)
        with pytest.raises(InvalidInput, match="no exposure"):
            small.write_exposure(i, tmp_path)


def test_lives_fit_exactly(detector: Detector) -> None:
    """The fewest exposures that the margins allow."""
    campaign = simulate_lives(15, detector=detector, lives={"hot": 20, "step": 20})
    hot, _ = chosen(campaign, "hot")
    assert set(zip(hot["first"], hot["end"], strict=True)) == {(5, 10)}
    part = detector.cut(SUBARRAYS["SUB64"])
    good = int((part.mask == 0).sum())
    plan = LifePlan(3, {"noisy": good}, (1.0, 2.0), 1, (), 0.0, 12.0)
    truth = draw_lives(
        *(plan, np.random.default_rng(1)), detector=part, place=SUBARRAYS["SUB64"], standard_error=part.read_noise
    )
    assert not truth.quiet.any()


# The command


@pytest.mark.slow
def test_command(home: object, tmp_path: Path) -> None:
    folder = tmp_path / "darks"
    arguments = ("simulate", folder, "--lives", "--number", "15", "--ngroups", "10", "--nints", "2")
    done = call(*arguments)
    names = [f"dark_{n:05d}_mirimage_rateints.fits" for n in range(1, 16)]
    assert done.stdout.split("\n") == [*(str(folder / name) for name in names), ""]
    assert "750 pixels that change" in done.stderr
    table = Table.read(folder / "truth.ecsv")
    assert len(table) == 750
    assert table["offset"].shape == (750, 15)
    assert fits.getheader(folder / names[1])["DATE-OBS"] == "2026-01-02"
    with pytest.raises(AlreadyExists, match="overwrite"):
        call(*arguments)


@pytest.mark.parametrize("option", [("--references",), ("--form", "jpl")])
def test_options_of_raw_exposures(home: object, tmp_path: Path, option: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput, match="--lives writes slopes"):
        call("simulate", tmp_path / "out", "--lives", *option)
    assert not (tmp_path / "out").exists()


def test_glowing_pixels() -> None:
    """They are saturated in one exposure, and their rate decays in the later ones; the other pixels do not change."""
    made = simulate_lives(12, nints=3, hours=1.0, lives={"glow": 30}, amplitude=(30, 50), margin=3, cosmic_ray_rate=0)
    without = simulate_lives(12, nints=3, hours=1.0, lives={}, margin=3, cosmic_ray_rate=0)
    lives = made.truth.lives
    assert set(lives["state"]) == {"glow"}
    assert lives["first"].min() >= 3
    assert lives["first"].max() <= 9
    for i in range(12):
        rates, quiet = made.rates(i), without.rates(i)
        saturated = (rates.dq[1] & 2) != 0
        expected = np.zeros(saturated.shape, bool)
        now = lives[lives["first"] == i]
        expected[now["row"], now["column"]] = True
        assert np.array_equal(saturated, expected)
        more = (rates.sci - quiet.sci)[:, lives["row"], lives["column"]].mean(axis=0)
        hours = i - lives["first"]
        truth = np.where(hours > 0, lives["amplitude"] * np.exp(-np.maximum(hours, 0) / 2.24), 0)
        assert more == pytest.approx(truth, abs=0.02 * lives["amplitude"].max())
        other = ~np.isnan(rates.sci[0])
        other[lives["row"], lives["column"]] = False
        assert np.array_equal(rates.sci[:, other], quiet.sci[:, other])
