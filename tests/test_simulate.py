from __future__ import annotations

import contextlib
import warnings
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from miripool import simulate
from miripool.errors import AlreadyExists, InvalidInput
from miripool.simulate import (
    REFERENCE_TYPES,
    SUBARRAYS,
    Calibration,
    Detector,
    RampArrays,
    Scene,
    average_rates,
    calibrate_ramp,
    fit_slopes,
    flags,
    simulate_campaign,
    simulate_exposure,
    write_references,
)

DATE = datetime(2024, 3, 1, 12, tzinfo=UTC)
NAME = "jw01033005001_03103_00001_mirimage"


@pytest.fixture(scope="module")
def detector():
    return Detector.draw()


@pytest.fixture(scope="module")
def exposure(detector):
    return simulate_exposure(detector=detector)


@pytest.fixture(scope="module")
def ramp(exposure):
    return calibrate_ramp(exposure, Calibration())


@pytest.fixture(scope="module")
def rateints(exposure, ramp):
    return fit(exposure, ramp)


@pytest.fixture(scope="module")
def files(exposure, tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated")
    paths = [exposure.write_uncal(folder, date=DATE), *exposure.write_products(folder, Calibration(), date=DATE)]
    return dict(zip(("uncal", "ramp", "rateints", "rate"), paths, strict=True))


def fit(exposure, ramp, gain=5.5):
    return fit_slopes(ramp, read_noise=exposure.detector.read_noise, gain=gain, group_time=exposure.group_time)


def test_public_names_are_sorted_and_there():
    assert simulate.__all__ == sorted(simulate.__all__, key=lambda n: (not n.isupper(), not n[0].isupper(), n))
    assert all(hasattr(simulate, name) for name in simulate.__all__)


# Determinism


def test_equal_arguments_give_equal_bytes(tmp_path):
    written = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        again = simulate_exposure(nints=2, ngroups=6, seed=5)
        paths = [again.write_uncal(folder, date=DATE), *again.write_products(folder, Calibration(), date=DATE)]
        written.append([p.read_bytes() for p in paths])
    assert written[0] == written[1]


def test_another_seed_gives_another_exposure_of_the_same_pixels(exposure, detector):
    other = simulate_exposure(detector=detector, seed=2)
    assert not np.array_equal(other.sci, exposure.sci)
    assert not np.array_equal(other.truth.slopes, exposure.truth.slopes)
    assert np.array_equal(other.detector.bias, exposure.detector.bias)
    assert np.array_equal(other.truth.bad_pixels, exposure.truth.bad_pixels)


def test_another_detector_seed_gives_other_pixels(exposure):
    assert not np.array_equal(Detector.draw(seed=1).cut(SUBARRAYS["SUB64"]).bias, exposure.detector.bias)


def test_a_longer_exposure_begins_with_the_shorter_one(exposure, detector):
    shorter = simulate_exposure(detector=detector, nints=2)
    assert np.array_equal(shorter.sci, exposure.sci[:2])


def test_date_is_the_time_of_writing_unless_given(exposure, tmp_path):
    before = datetime.now(UTC)
    header = fits.getheader(exposure.write_uncal(tmp_path))
    written = datetime.fromisoformat(header["DATE"]).replace(tzinfo=UTC)
    assert before - timedelta(milliseconds=1) <= written <= datetime.now(UTC)


# The detector


def test_subarrays_lie_in_the_full_array_and_share_its_pixels(detector):
    for place in SUBARRAYS.values():
        part = detector.cut(place)
        assert place.xstart + place.xsize - 1 <= 1032
        assert place.ystart + place.ysize - 1 <= 1024
        assert part.bias.shape == part.mask.shape == place.shape
        assert part.refout_level.shape == (place.ysize, place.xsize // 4)
        assert part.bias[0, 0] == detector.bias[place.ystart - 1, place.xstart - 1]
        assert (
            part.refout_level[-1, -1]
            == detector.refout_level[place.ystart + place.ysize - 2][(place.xstart + place.xsize - 2) // 4]
        )


def test_reference_pixels_are_the_outer_four_columns(detector):
    reference = (detector.mask & flags.REFERENCE_PIXEL) != 0
    assert reference[:, :4].all()
    assert reference[:, -4:].all()
    assert reference.sum() == 8 * 1024


def test_bad_pixels_are_few_and_behave_badly(detector):
    dead, hot = (detector.mask & flags.DEAD) != 0, (detector.mask & flags.HOT) != 0
    assert 0.001 < dead.mean() < 0.002
    assert 0.0015 < hot.mean() < 0.0025
    assert (detector.responsivity[dead] == 0).all()
    assert detector.dark_current[hot].min() > 100 * np.median(detector.dark_current)


@settings(deadline=None, max_examples=30)
@given(level=st.floats(0, 70000))
def test_delinearise_inverts_linearise(exposure, level):
    linear = np.full((64, 72), level, np.float32)
    assert np.abs(exposure.detector.linearise(exposure.detector.delinearise(linear)) - linear).max() < 0.2


# The exposure


def test_arrays_have_the_types_and_shapes_of_the_instrument(exposure):
    assert exposure.sci.shape == (5, 20, 64, 72)
    assert exposure.refout.shape == (5, 20, 64, 18)
    assert exposure.sci.dtype == exposure.refout.dtype == np.uint16
    assert exposure.truth.slopes.dtype == np.float32
    assert exposure.truth.bad_pixels.dtype == np.uint32


def test_cosmic_rays_come_at_their_rate_and_show_in_the_data(detector):
    crowded = simulate_exposure(detector=detector, cosmic_ray_rate=2e-3)
    expected = 2e-3 * 5 * 20 * crowded.group_time * 64 * 72
    hits = crowded.truth.cosmic_rays
    assert abs(len(hits) - expected) < 5 * np.sqrt(expected)
    assert len(simulate_exposure(detector=detector, cosmic_ray_rate=0).truth.cosmic_rays) == 0


def test_a_dark_scene_is_dark(detector, tmp_path):
    dark = simulate_exposure(detector=detector, scene=Scene(background=0, n_sources=0))
    assert dark.scene.is_dark
    assert not dark.truth.slopes.any()
    assert fits.getheader(dark.write_uncal(tmp_path))["EXP_TYPE"] == "MIR_DARKIMG"


def test_a_campaign_shares_detector_and_scene(detector):
    exposures = list(
        simulate_campaign(3, detector=detector, scene=Scene(seed=7), nints=1, ngroups=5, interval=timedelta(hours=2))
    )
    assert [e.name[-14:-9] for e in exposures] == ["00001", "00002", "00003"]
    assert exposures[2].start - exposures[0].start == timedelta(hours=4)
    assert np.array_equal(exposures[0].truth.slopes, exposures[1].truth.slopes)
    assert not np.array_equal(exposures[0].sci, exposures[1].sci)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"subarray": "SUB32"}, "FULL, BRIGHTSKY, SUB256, SUB128, SUB64, SLITLESSPRISM, MASK1065"),
        ({"nints": 0}, "nints is 0"),
        ({"ngroups": -1}, "ngroups is -1"),
        ({"ngroups": 40000}, "ngroups is 40000"),
        ({"group_time": 0.0}, "group_time is 0"),
        ({"group_time": float("nan")}, "group_time is nan"),
        ({"seed": -1}, "seed is -1"),
        ({"detector_seed": -1}, "seed is -1"),
        ({"cosmic_ray_rate": float("inf")}, "cosmic_ray_rate is inf"),
        ({"start": datetime(2024, 1, 1)}, "without a time zone"),
        ({"detector": "NRS1"}, "MIRIMAGE, MIRIFULONG, MIRIFUSHORT"),
        ({"detector": "MIRIFULONG"}, "FULL only"),
        ({"readpatt": "SLOWR1"}, "SUB64 in FAST"),
        ({"readpatt": "RAPID"}, "FASTR1"),
        ({"name": "../x"}, "not a valid name for an exposure"),
        ({"name": "x_rate"}, "not a valid name for an exposure"),
        ({"name": "é"}, "not a valid name for an exposure"),
        ({"detector": Detector.draw().cut(SUBARRAYS["SUB64"])}, "cut out of the FULL"),
    ],
)
def test_what_can_not_be_is_refused(wrong: dict[str, Any], message):
    with pytest.raises(InvalidInput, match=message):
        simulate_exposure(**wrong)


@pytest.mark.parametrize("wrong", [{"background": -1}, {"n_sources": -1}, {"gradient": 3}, {"fwhm": 0}, {"seed": -1}])
def test_a_scene_that_can_not_be_is_refused(wrong):
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        Scene(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"gain": 0.0}, {"dark_scale": float("nan")}, {"jump_threshold": -1.0}, {"label": "é"}]
)
def test_a_calibration_that_can_not_be_is_refused(wrong):
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        Calibration(**wrong)


def test_a_campaign_of_one_name_is_refused():
    with pytest.raises(InvalidInput, match="number"):
        next(simulate_campaign(2, name="same"))
    with pytest.raises(InvalidInput, match="braces"):
        next(simulate_campaign(2, name="{serial}"))


# The calibration


def test_flags_are_those_of_the_ramp(ramp):
    assert ramp.sci.dtype == ramp.refout.dtype == np.float32
    assert ramp.pixeldq.dtype == np.uint32
    assert ramp.groupdq.dtype == np.uint8
    assert (ramp.groupdq[:, [0, -1]] & flags.DO_NOT_USE).all()
    good = ramp.pixeldq == 0
    assert not (ramp.groupdq[:, 1:-1, good] & flags.DO_NOT_USE).any()
    assert (ramp.groupdq[:, :, ~good] & flags.DO_NOT_USE).all()


def test_saturation_is_flagged_from_its_group_on(exposure, ramp):
    full = exposure.truth.saturated_from < exposure.ngroups
    assert full.any()
    for i, y, x in np.argwhere(full):
        assert (ramp.groupdq[i, exposure.truth.saturated_from[i, y, x] :, y, x] & flags.SATURATED).all()
    saturated = (ramp.groupdq & flags.SATURATED) != 0
    assert (saturated[:, 1:] >= saturated[:, :-1]).all()
    assert saturated[:, -1].mean() < 0.01


def test_cosmic_rays_are_found_and_little_else(detector):
    crowded = simulate_exposure(detector=detector, cosmic_ray_rate=2e-3, seed=3)
    ramp = calibrate_ramp(crowded, Calibration())
    hits = crowded.truth.cosmic_rays
    hits = hits[(hits["group"] > 1) & (hits["group"] < crowded.ngroups - 1)]
    dq = ramp.groupdq[hits["integration"], hits["group"], hits["y"], hits["x"]]
    testable = (dq & (flags.DO_NOT_USE | flags.SATURATED)) == 0
    found = (dq[testable] & flags.JUMP_DET) != 0
    assert len(found) > 40
    assert found.mean() > 0.9
    n_false = np.count_nonzero(ramp.groupdq & flags.JUMP_DET) - np.count_nonzero(found)
    assert n_false < 5


def test_slopes_agree_with_the_truth_within_their_errors(exposure, rateints):
    rate = average_rates(rateints)
    for result in (rateints, rate):
        good = np.isfinite(result.sci)
        pulls = ((result.sci - exposure.truth.slopes)[good]) / result.err[good]
        assert abs(np.median(pulls)) < 5 * 1.25 / np.sqrt(len(pulls))
        assert 0.95 < np.median(np.abs(pulls)) / 0.6745 < 1.05
        assert 0.9 < pulls.std() < 1.1


def test_bright_slopes_are_not_biased(detector):
    bright = simulate_exposure(detector=detector, scene=Scene(background=5000, n_sources=0), seed=4)
    rate = average_rates(fit(bright, calibrate_ramp(bright, Calibration())))
    good = np.isfinite(rate.sci)
    assert abs(np.mean(rate.sci[good] / bright.truth.slopes[good]) - 1) < 2e-3


def test_what_has_no_slope_is_nan_and_do_not_use(exposure, rateints):
    rate = average_rates(rateints)
    for result in (rateints, rate):
        unusable = (result.dq & flags.DO_NOT_USE) != 0
        assert np.array_equal(np.isnan(result.sci), unusable)
        assert (result.err[unusable] == 0).all()
        assert (result.err[~unusable] > 0).all()
        assert result.dq.dtype == np.uint32
        assert result.sci.dtype == result.err.dtype == result.var_poisson.dtype == result.var_rnoise.dtype == np.float32
        assert np.allclose(result.err**2, result.var_poisson + result.var_rnoise)


def test_faint_slopes_are_those_of_an_unweighted_line():
    rng = np.random.default_rng(0)
    groups = rng.standard_normal((1, 12, 4, 4)).astype(np.float32)
    faint = RampArrays(groups, np.zeros((4, 4), np.uint32), np.zeros(groups.shape, np.uint8), groups)
    result = fit_slopes(faint, read_noise=np.ones((4, 4), np.float32), gain=1e9, group_time=2.0)
    line = np.polyfit(2.0 * np.arange(12), groups[0].reshape(12, -1), 1)[0].reshape(4, 4)
    assert np.allclose(result.sci[0], line, atol=1e-5)
    assert np.allclose(result.var_rnoise, 1 / (4 * np.sum((np.arange(12) - 5.5) ** 2)), rtol=1e-4)


def test_weights_are_those_of_the_full_covariance():
    rng = np.random.default_rng(1)
    groups = np.cumsum(rng.poisson(30, (1, 10, 1, 1)), axis=1).astype(np.float32)
    groupdq = np.zeros(groups.shape, np.uint8)
    groupdq[0, 4] = flags.JUMP_DET
    groupdq[0, 9] = flags.SATURATED
    one = RampArrays(groups, np.zeros((1, 1), np.uint32), groupdq, groups)
    result = fit_slopes(one, read_noise=np.full((1, 1), 4, np.float32), gain=2.0, group_time=1.0)
    d = np.diff(groups[0, :, 0, 0])
    used = [0, 1, 2, 4, 5, 6, 7]
    covariance = np.diag(np.full(9, 2 * 16 + d[used].mean() / 2)) - 16 * (np.eye(9, k=1) + np.eye(9, k=-1))
    inverse = np.linalg.inv(covariance[np.ix_(used, used)])
    assert np.isclose(result.sci[0, 0, 0], inverse.sum(axis=0) @ d[used] / inverse.sum(), rtol=1e-5)
    assert np.isclose(result.err[0, 0, 0] ** 2, 1 / inverse.sum(), rtol=1e-4)
    assert result.dq[0, 0, 0] == flags.JUMP_DET | flags.SATURATED


def test_gain_alone_changes_slopes_but_not_the_ramp(exposure, ramp, rateints, tmp_path):
    first, second = Calibration("v1"), Calibration("v2", gain=3.1, crds_context="jwst_9002.pmap")
    other = calibrate_ramp(exposure, second)
    assert np.array_equal(other.sci, ramp.sci)
    assert np.array_equal(other.groupdq, ramp.groupdq)
    assert np.array_equal(other.pixeldq, ramp.pixeldq)
    refit = fit(exposure, other, gain=3.1)
    good = np.isfinite(rateints.sci)
    assert np.array_equal(refit.dq, rateints.dq)
    assert np.mean(refit.sci[good] != rateints.sci[good]) > 0.5
    assert np.median(np.abs(refit.sci - rateints.sci)[good]) < 0.1 * np.median(rateints.err[good])
    assert (refit.err[good] >= rateints.err[good]).all()
    headers = []
    for calibration, day in ((first, 0), (second, 1)):
        path = exposure.write_ramp(tmp_path, calibration, date=DATE + timedelta(days=day), overwrite=True)
        headers.append(fits.getheader(path))
    assert set(fits.HeaderDiff(*headers).diff_keyword_values) == {"CRDS_CTX", "R_GAIN", "CAL_VER", "DATE"}


def test_another_dark_or_linearity_changes_the_ramp(exposure, ramp):
    for calibration in (Calibration(dark_scale=2), Calibration(linearity_scale=0.9)):
        assert not np.array_equal(calibrate_ramp(exposure, calibration).sci, ramp.sci)


@pytest.mark.parametrize("ngroups", [1, 2, 3, 4, 5])
def test_few_groups_give_slopes_or_nan_without_a_warning(detector, ngroups):
    short = simulate_exposure(detector=detector, nints=2, ngroups=ngroups)
    result = average_rates(fit(short, calibrate_ramp(short, Calibration())))
    assert np.isfinite(result.sci).any() == (ngroups > 1)
    assert result.sci.shape == (64, 72)


# The files


def test_files_hold_what_real_ones_hold(files):
    expected = {
        "uncal": {"SCI": (np.uint16, (5, 20, 64, 72)), "REFOUT": (np.uint16, (5, 20, 64, 18))},
        "ramp": {
            "SCI": (np.float32, (5, 20, 64, 72)),
            "PIXELDQ": (np.uint32, (64, 72)),
            "GROUPDQ": (np.uint8, (5, 20, 64, 72)),
            "REFOUT": (np.float32, (5, 20, 64, 18)),
        },
        "rateints": dict.fromkeys(("SCI", "ERR", "VAR_POISSON", "VAR_RNOISE"), (np.float32, (5, 64, 72)))
        | {"DQ": (np.uint32, (5, 64, 72))},
        "rate": dict.fromkeys(("SCI", "ERR", "VAR_POISSON", "VAR_RNOISE"), (np.float32, (64, 72)))
        | {"DQ": (np.uint32, (64, 72))},
    }
    tables = {"uncal": {"GROUP", "INT_TIMES"}, "ramp": {"GROUP", "INT_TIMES"}, "rateints": {"INT_TIMES"}, "rate": set()}
    for kind, path in files.items():
        with fits.open(path) as hdus:
            images = {h.name: (h.data.dtype, h.data.shape) for h in hdus[1:] if h.is_image}
            images = {name: (np.dtype(t.newbyteorder("=")), shape) for name, (t, shape) in images.items()}
            assert images == {name: (np.dtype(t), shape) for name, (t, shape) in expected[kind].items()}
            assert {h.name for h in hdus[1:] if not h.is_image} == tables[kind] | {"ASDF"}
            assert hdus[0].header["FILENAME"] == path.name == f"{NAME}_{kind}.fits"


def test_unsigned_integers_are_written_with_bzero(files, exposure):
    with fits.open(files["uncal"], do_not_scale_image_data=True) as hdus:
        assert hdus["SCI"].header["BITPIX"] == 16
        assert hdus["SCI"].header["BZERO"] == 32768
    assert np.array_equal(fits.getdata(files["uncal"], "SCI"), exposure.sci)


def test_headers_tell_the_exposure(files):
    header = fits.getheader(files["uncal"])
    wanted = {
        "TELESCOP": "JWST",
        "INSTRUME": "MIRI",
        "DETECTOR": "MIRIMAGE",
        "EXP_TYPE": "MIR_IMAGE",
        "OBS_ID": "V01033005001P0000000003103",
        "PROGRAM": "01033",
        "EXPOSURE": "00001",
        "DATE-OBS": "2024-01-01",
        "TIME-OBS": "00:00:00.000",
        "EXPSTART": 60310.0,
        "READPATT": "FASTR1",
        "NINTS": 5,
        "NGROUPS": 20,
        "SUBARRAY": "SUB64",
        "SUBSTRT1": 1,
        "SUBSTRT2": 779,
        "SUBSIZE1": 72,
        "SUBSIZE2": 64,
        "DATE": "2024-03-01T12:00:00.000",
    }
    assert {k: header[k] for k in wanted} == wanted
    assert np.isclose(header["TGROUP"], 0.08512)
    assert np.isclose(header["EFFINTTM"], 20 * 0.08512)
    assert fits.getheader(files["rate"], "SCI")["BUNIT"] == "DN/s"


def test_tables_tell_the_times(files):
    groups, times = fits.getdata(files["ramp"], "GROUP"), fits.getdata(files["ramp"], "INT_TIMES")
    assert len(groups) == 100
    assert (groups["integration_number"][20], groups["group_number"][20]) == (2, 1)
    assert groups["group_end_time"][0] == "2024-01-01T00:00:00.085"
    assert np.allclose(times["int_start_MJD_UTC"][1:], times["int_end_MJD_UTC"][:-1], rtol=0, atol=1e-9)
    assert np.isclose((times["int_end_MJD_UTC"][0] - 60310) * 86400, 20 * 0.08512, atol=1e-5)


def test_another_time_zone_becomes_utc(detector, tmp_path):
    start = datetime(2024, 1, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    early = simulate_exposure("ground test 5".replace(" ", "_"), detector=detector, nints=1, ngroups=4, start=start)
    header = fits.getheader(early.write_uncal(tmp_path))
    assert (header["DATE-OBS"], header["TIME-OBS"]) == ("2023-12-31", "23:30:00.000")
    assert header["OBS_ID"] == "ground_test_5"


def test_a_file_that_is_there_is_kept(exposure, tmp_path):
    path = exposure.write_rate(tmp_path, Calibration(), date=DATE)
    before = path.read_bytes()
    with pytest.raises(AlreadyExists, match="overwrite"):
        exposure.write_products(tmp_path, Calibration("v2", gain=3))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == before
    assert exposure.write_rate(tmp_path, Calibration("v2", gain=3), overwrite=True) == path
    assert path.read_bytes() != before


def test_wrong_places_kinds_and_dates_are_refused(exposure, tmp_path):
    with pytest.raises(InvalidInput, match="no folder"):
        exposure.write_uncal(tmp_path / "none")
    with pytest.raises(InvalidInput, match="x1d; use one of ramp"):
        exposure.write_products(tmp_path, Calibration(), kinds=("x1d",))
    with pytest.raises(InvalidInput, match="time zone"):
        exposure.write_rateints(tmp_path, Calibration(), date=datetime(2024, 1, 1))
    assert not list(tmp_path.iterdir())


def test_files_are_valid_fits(files):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in files.values():
            with fits.open(path) as hdus:
                hdus.verify("exception")


@pytest.mark.jwst
def test_flags_are_those_of_the_datamodels():
    from stdatamodels.jwst.datamodels import dqflags

    for name in flags.__all__:
        assert getattr(flags, name) == dqflags.pixel[name]
        assert getattr(flags, name) == dqflags.group.get(name, getattr(flags, name))


@pytest.mark.slow
@pytest.mark.jwst
@pytest.mark.parametrize("kind", ["uncal", "ramp", "rateints", "rate"])
def test_the_datamodels_open_the_files(files, kind):
    from stdatamodels.jwst import datamodels

    models = {"uncal": "Level1bModel", "ramp": "RampModel", "rateints": "CubeModel", "rate": "ImageModel"}
    with datamodels.open(files[kind]) as model:
        assert type(model).__name__ == models[kind]
        model.validate()
        assert model.meta.subarray.ystart == 779
        assert model.meta.exposure.ngroups == 20
        assert np.array_equal(model.data, fits.getdata(files[kind], "SCI"), equal_nan=kind.startswith("rate"))
        assert datamodels.read_metadata(str(files[kind]))["meta.subarray.name"] == "SUB64"
        if kind == "ramp":
            assert (model.pixeldq.dtype, model.groupdq.dtype) == (np.uint32, np.uint8)


QUICK = {"SUB64", "SLITLESSPRISM"}
"""Small subarrays."""


@pytest.mark.jwst
@pytest.mark.parametrize(
    "subarray",
    [pytest.param(s, marks=() if s in QUICK else pytest.mark.slow) for s in sorted(set(SUBARRAYS) - {"FULL"})],
)
def test_the_datamodels_open_every_subarray(detector, tmp_path, subarray):
    from stdatamodels.jwst import datamodels

    other = simulate_exposure(detector=detector, subarray=subarray, nints=1, ngroups=2)
    with datamodels.open(other.write_uncal(tmp_path)) as model:
        model.validate()
        assert model.meta.subarray.name == subarray


@pytest.mark.slow
@pytest.mark.jwst
def test_the_datamodels_open_the_spectrometer(tmp_path):
    from stdatamodels.jwst import datamodels

    mrs = simulate_exposure(detector="MIRIFUSHORT", subarray="FULL", nints=1, ngroups=2, readpatt="SLOWR1")
    assert mrs.name.endswith("_mirifushort")
    with datamodels.open(mrs.write_uncal(tmp_path)) as model:
        model.validate()
        assert model.meta.instrument.channel == "12"
        assert np.isclose(model.meta.exposure.group_time, 23.88992)


# Reference files


def test_references_are_those_of_the_detector(exposure, tmp_path):
    written = write_references(
        exposure, tmp_path, Calibration("v2", gain=3.1, dark_scale=2, linearity_scale=0.5), date=DATE
    )
    assert tuple(written) == REFERENCE_TYPES
    part = exposure.detector
    with contextlib.ExitStack() as stack:
        files = {kind: stack.enter_context(fits.open(path)) for kind, path in written.items()}
        assert {kind: f[0].header["REFTYPE"] for kind, f in files.items()} == {k: k.upper() for k in written}
        assert np.all(files["gain"]["SCI"].data == np.float32(3.1))
        assert np.array_equal(files["mask"]["DQ"].data, part.mask)
        assert np.array_equal(files["saturation"]["SCI"].data, part.saturation)
        assert np.allclose(files["readnoise"]["SCI"].data, np.sqrt(2) * part.read_noise)
        assert np.allclose(files["dark"]["SCI"].data[0, 4], 2 * part.dark_current * 5 * exposure.group_time)
        assert np.allclose(files["reset"]["SCI"].data[0, :, 3, 4], part.reset_anomaly(20)[:12])
        coefficients = files["linearity"]["COEFFS"].data
        assert np.array_equal(coefficients[:2], part.linearity[:2])
        assert np.allclose(coefficients[2:], part.linearity[2:] / 2)
        assert files["dark"][0].header["SUBSTRT2"] == 779
    again = write_references(
        exposure, tmp_path / ".", Calibration("v2", gain=3.1), kinds=("gain",), date=DATE, overwrite=True
    )
    assert again["gain"].read_bytes() == written["gain"].read_bytes()


def test_references_that_can_not_be(exposure, tmp_path):
    with pytest.raises(InvalidInput, match="no reference flat"):
        write_references(exposure, tmp_path, kinds=("flat",))
    with pytest.raises(InvalidInput, match="no folder"):
        write_references(exposure, tmp_path / "none")
    with pytest.raises(InvalidInput, match="time zone"):
        write_references(exposure, tmp_path, date=datetime(2024, 1, 1))
    write_references(exposure, tmp_path, kinds=("gain",))
    with pytest.raises(AlreadyExists, match="overwrite"):
        write_references(exposure, tmp_path, kinds=("dark", "gain"))
    assert [path.name for path in tmp_path.iterdir()] == ["miri_gain_truth.fits"]


@pytest.mark.slow
@pytest.mark.jwst
def test_the_datamodels_open_the_references(exposure, tmp_path):
    from stdatamodels.jwst import datamodels

    for kind, path in write_references(exposure, tmp_path).items():
        model_type = getattr(datamodels, fits.getheader(path)["DATAMODL"])
        with model_type(path) as model:
            model.validate()
            assert model.meta.reftype.lower() == kind
