"""One trend under two calibrations, and lines through trends."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from homes import call

from miripool import Pool
from miripool.errors import InvalidInput
from miripool.monitors import PixelMonitor
from miripool.monitors.attribution import comparison_records
from miripool.monitors.levels import Levels
from miripool.monitors.strata import Stratum
from miripool.monitors.trendlines import fit_robust_line
from miripool.simulate import simulate_lives

NUMBER, STEP, CHANGED = 24, 9, 16
"""Exposures; the detector changes before the first, a reference file of calibration b before the second."""
START = datetime(2026, 1, 1, tzinfo=UTC)
SHIFT = 4.0
"""DN/s; the medians of amplifiers scatter by 0.3 to 0.4."""


def time_of(exposure: int) -> datetime:
    return START + timedelta(hours=12 * exposure)


def calibrated(files: list[Path], folder: Path, calibration: str) -> list[Path]:
    """Write exposures as a calibration would give them: amplifier 2 steps in both, all of b with a new dark."""
    folder.mkdir()
    written = []
    for number, path in enumerate(files):
        with fits.open(path) as hdus:
            dark = "b1" if calibration == "b" and number >= CHANGED else "a"
            hdus[0].header["R_DARK"] = f"crds://jwst_miri_dark_{dark}.fits"
            hdus[0].header["R_GAIN"] = f"crds://jwst_miri_gain_{calibration}.fits"
            columns = np.arange(hdus["SCI"].data.shape[-1]) + hdus[0].header["SUBSTRT1"] - 1
            sci = hdus["SCI"].data
            if number >= STEP:
                sci[..., columns % 4 == 1] += SHIFT
            if dark == "b1":
                sci += SHIFT
            if calibration == "b":
                sci += SHIFT / 2  # the effect of its gain
            hdus.writeto(folder / path.name)
        written.append(folder / path.name)
    return written


@pytest.fixture(scope="module")
def calibrations(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    folder = tmp_path_factory.mktemp("calibrations")
    campaign = simulate_lives(NUMBER, name="dark_{number:03d}", nints=3, start=START, lives={}, seed=5)
    (folder / "as they are").mkdir()
    files = campaign.write_rateints(folder / "as they are", date=START)
    return {label: calibrated(files, folder / label, label) for label in "ab"}


@pytest.fixture
def monitors(pool: Pool, calibrations: dict[str, list[Path]]) -> tuple[PixelMonitor, PixelMonitor]:
    for label, files in calibrations.items():
        for outcome in pool.ingest(files, tag=label, pixels=False):
            assert outcome.error is None
    made = pool.create_monitor("in a", tag="a"), pool.create_monitor("in b", tag="b")
    for monitor in made:
        assert monitor.update().exposures == NUMBER
    return made


@pytest.mark.slow
def test_the_detector_and_a_reference_file(monitors: tuple[PixelMonitor, PixelMonitor]) -> None:
    table = monitors[0].compare(monitors[1])
    whole = table[~table["change"]]
    assert list(whole["amplifier"]) == [1, 2, 3, 4]
    assert list(whole["exposures"]) == [NUMBER] * 4
    assert list(whole["cause"]) == ["reference"] * 4
    for row in whole:
        assert "R_GAIN: jwst_miri_gain_a.fits → jwst_miri_gain_b.fits" in row["references"]
        assert row["difference"] == pytest.approx(SHIFT / 2, abs=1e-4)  # the new dark is there for fewer exposures
    changes = table[table["change"]]
    found = [(row["amplifier"], row["cause"], row["onset"].to_datetime(UTC)) for row in changes]
    assert found == [
        (1, "reference", time_of(CHANGED)),
        (2, "detector", time_of(STEP)),
        (2, "reference", time_of(CHANGED)),
        (3, "reference", time_of(CHANGED)),
        (4, "reference", time_of(CHANGED)),
    ]
    for row in changes:
        detector = row["cause"] == "detector"
        assert row["references"] == ("" if detector else "R_DARK: jwst_miri_dark_a.fits → jwst_miri_dark_b1.fits")
        assert row["first"] == pytest.approx(SHIFT if detector else 0, abs=0.5)
        assert row["second"] == pytest.approx(SHIFT, abs=0.5)
        assert row["difference"] == pytest.approx(0 if detector else SHIFT, abs=1e-4)
    assert changes["urn"][1].startswith("urn:")


@pytest.mark.slow
def test_the_other_way_round_and_with_itself(monitors: tuple[PixelMonitor, PixelMonitor]) -> None:
    records = monitors[1].compare_records(monitors[0])
    causes = [record["cause"] for record in records if record["change"]]
    assert sorted(causes) == ["detector", *["reference"] * 4]
    for record in records:
        if record["cause"] == "reference" and record["change"]:
            assert record["references"] == ["R_DARK: jwst_miri_dark_a.fits → jwst_miri_dark_b1.fits"]
            assert record["difference"] == pytest.approx(-SHIFT, abs=1e-4)
    own = monitors[0].compare_records(monitors[0])
    assert [(record["amplifier"], record["cause"]) for record in own if record["change"]] == [(2, "detector")]
    assert [(record["cause"], record["difference"]) for record in own if not record["change"]] == [(None, 0)] * 4


@pytest.mark.slow
def test_the_commands(monitors: tuple[PixelMonitor, PixelMonitor], pool: Pool) -> None:
    rows = json.loads(call("monitor", "compare", pool.name, "in a", "in b", "--json").stdout)
    assert len(rows) == 9
    assert rows[0]["onset"] is None
    assert rows[1]["onset"] == "2026-01-09T00:00:00Z"
    assert rows[1]["references"] == ["R_DARK: jwst_miri_dark_a.fits → jwst_miri_dark_b1.fits"]
    table = call("monitor", "compare", pool.name, "in a", "in b").stdout
    assert "R_DARK: jwst_miri_dark_a.fits → jwst_miri_dark_b1.fits" in table
    csv = call("monitor", "compare", pool.name, "in a", "in b", "--csv").stdout.splitlines()
    assert csv[0].startswith("detector,subarray,amplifier,onset,cause")
    assert len(csv) == 10
    pool.create_monitor("empty", where="subarray == 'FULL'").update()
    with pytest.raises(InvalidInput, match="no exposure in common"):
        call("monitor", "compare", pool.name, "in a", "empty")

    lines = monitors[0].trend_lines()
    assert list(lines["amplifier"]) == [1, 2, 3, 4]
    assert all(lines["used"] <= NUMBER)
    quiet = lines[lines["amplifier"] != 2]
    assert all(quiet["significance"] < 4)
    assert lines[1]["slope"] > 5 * lines[1]["error"]  # the step looks like a slope
    assert (lines[0]["begin"].to_datetime(UTC), lines[0]["end"].to_datetime(UTC)) == (START, time_of(NUMBER - 1))
    (row,) = json.loads(call("monitor", "trends", pool.name, "in a", "--fit", "--amplifier", 3, "--json").stdout)
    assert row["slope"] == lines[2]["slope"]


@pytest.mark.slow
def test_a_real_exposure_in_two_contexts(pool: Pool, shared_data: Path) -> None:
    """One exposure shows no more than what differs between its calibrations."""
    for context in ("9001", "9002"):
        for outcome in pool.ingest([shared_data / "jpl8" / context], tag=f"cal {context}", pixels=False):
            assert outcome.error is None
        assert pool.create_monitor(context, tag=f"cal {context}").update().exposures == 1
    records = pool.monitor("9001").compare_records(pool.monitor("9002"))
    assert [(record["amplifier"], record["change"], record["exposures"]) for record in records] == [
        (n, False, 1) for n in (1, 2, 3, 4)
    ]
    for record in records:
        assert record["references"] == ["R_GAIN: jwst_miri_gain_9001.fits → jwst_miri_gain_9002.fits"]
        assert record["cause"] in ("reference", None)
        assert record["first"] > 0


STRATUM = Stratum("MIRIMAGE", "SUB64", "FASTR1", "jwst_9001.pmap", "", "dark", 1, 779, 64, 64)
GAINS = ({"R_GAIN": "a.fits"}, {"R_GAIN": "b.fits"})


def levels_of(values: np.ndarray, context: str = "jwst_9001.pmap") -> Levels:
    """A series in which all amplifiers have the same level; exposures have their numbers as serials."""
    exposures = [
        {"serial": i, "name": f"e{i}", "time": time_of(i), "mjd": i / 2, "urn": f"urn:p:RateInts:{i}"}
        for i in range(len(values))
    ]
    return Levels(replace(STRATUM, context=context), exposures, np.repeat(values[:, None], 4, axis=1))


def causes_of(first: np.ndarray, second: np.ndarray, settings: tuple[list[dict[str, str]], ...]) -> list[object]:
    """Causes of the changes of amplifier 1, with the exposure of each."""
    turn = iter(settings)
    records = comparison_records([levels_of(first)], [levels_of(second, "jwst_9002.pmap")], lambda _: next(turn))
    changes = [record for record in records if record["change"] and record["amplifier"] == 1]
    return [(int((record["onset"] - START) / timedelta(hours=12)), record["cause"]) for record in changes]


@pytest.mark.parametrize("seed", range(10))
def test_causes(seed: int) -> None:
    """Changes of 8 standard deviations; what the two calibrations share is the same noise."""
    noise = np.random.default_rng(seed).standard_normal(40)
    after = 8.0 * (np.arange(40) >= 20)
    same = [GAINS[0]] * 40
    new = [GAINS[0]] * 20 + [GAINS[1]] * 20
    assert causes_of(noise, noise, (same, new)) == []
    assert causes_of(noise + after, noise + after, (same, same)) == [(20, "detector")]
    assert causes_of(noise + after, noise + after, (same, new)) == [(20, "detector")]
    assert causes_of(noise, noise + after, (same, new)) == [(20, "reference")]
    assert causes_of(noise + after, noise, (new, same)) == [(20, "reference")]
    assert causes_of(noise, noise + after, (same, same)) == [(20, "unknown")]
    assert causes_of(noise + after, noise + after, (new, new)) == [(20, "unknown")]
    assert causes_of(noise + after, noise + 2 * after, (same, new)) == [(20, "detector"), (20, "reference")]
    assert causes_of(noise + after, 1.2 * (noise + after), (same, same)) == [(20, "detector")]


def test_what_is_missing() -> None:
    noise = np.random.default_rng(0).standard_normal(12)
    gap = np.where(np.arange(12) % 3, noise, np.nan)
    same = [GAINS[0]] * 12
    assert causes_of(gap, noise, (same, same)) == []
    assert causes_of(np.full(12, np.nan), noise, (same, same)) == []
    assert causes_of(noise[:1], noise[:1] + 1, (same, same)) == []
    with pytest.raises(InvalidInput, match="no exposure in common"):
        comparison_records([], [levels_of(noise)], lambda _: same)
    # Only exposures that both have count, in whatever stratum; a step that was skipped is a setting, too.
    first, turn = levels_of(noise[:1]), iter(([{"S_JUMP": "COMPLETE"}], [{"S_JUMP": "SKIPPED"}]))
    records = comparison_records([first], [levels_of(noise + 3, "other")], lambda _: next(turn))
    assert [record["exposures"] for record in records] == [1] * 4
    assert records[0]["references"] == ["S_JUMP: COMPLETE → SKIPPED"]
    assert (records[0]["cause"], records[0]["difference"], records[0]["error"]) == ("reference", 3, None)


@pytest.mark.parametrize("size", [5, 8, 20])
def test_one_sided_outliers_in_half_a_series(size: float) -> None:
    """Twenty percent of the second half: the slope is unbiased, and its error is right."""
    pulls = np.zeros(100)
    for seed in range(100):
        rng = np.random.default_rng(seed)
        times = np.arange(60) / 2
        values = 5 + 0.01 * times + rng.normal(0, 0.1, 60)
        values[rng.choice(np.arange(30, 60), 6, replace=False)] += 0.1 * size * (1 + rng.random(6))
        line = fit_robust_line(times, values)
        assert line is not None
        pulls[seed] = (line.slope - 0.01) / line.error
        assert 5.1 < line.level < 5.2
    assert abs(pulls.mean()) < 0.5
    assert np.count_nonzero(np.abs(pulls) < 2) >= 90


def test_lines_through_little() -> None:
    days = np.arange(5.0)
    assert fit_robust_line(days, np.array([1, 2, np.nan, np.nan, 3])) is None
    assert fit_robust_line(np.zeros(5), days) is None
    line = fit_robust_line(days, 2 * days)
    assert line is not None
    assert (line.slope, line.level, line.used) == (2, 4, 5)
