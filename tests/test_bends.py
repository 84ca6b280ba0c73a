"""Monitors of ramps: their slopes, and pixels whose ramps bend."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from homes import call

from miripool import Pool, Ramp, RateInts
from miripool.errors import FormatError, InvalidInput
from miripool.monitors.ramps import read_ramps

PLACE = {
    "DETECTOR": "MIRIMAGE", "SUBARRAY": "SUB64", "READPATT": "FASTR1", "EXP_TYPE": "MIR_DARKIMG", "SUBSTRT1": 1,
    "SUBSTRT2": 779, "SUBSIZE1": 72, "SUBSIZE2": 64, "TGROUP": 0.5,
}  # fmt: skip
SHAPE = 64, 72
NUMBER, NINTS, GROUPS = 12, 3, 20
NOISE = 6.0
WHOLE = slice(0, 64), slice(0, 72)


def make_ramps(rng: np.random.Generator, rates: np.ndarray, bends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ramps of (NINTS, GROUPS, ny, nx) that rise by `rates` and by exponentials of height `bends` in DN; all settle."""
    group = np.arange(GROUPS)[:, None, None]
    level = 9000 + 0.5 * rates * group + (bends + 20) * (1 - np.exp(-group / 4))
    ramps = level + rng.normal(0, NOISE, (NINTS, GROUPS, *SHAPE))
    dq = np.zeros(ramps.shape, "u1")
    dq[:, [0, -1]] = 1
    hit = rng.random(ramps.shape) < 5e-4
    ramps += np.cumsum(hit * 300, axis=1)
    dq[hit] |= 4
    return ramps.astype("f4"), dq


def save(pool: Pool, number: int, rates: np.ndarray, bends: np.ndarray) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=12 * number)
    ramps, dq = make_ramps(np.random.default_rng([5, number]), rates, bends)
    pixeldq = np.zeros(SHAPE, "u4")
    pixeldq[40, 40] = 1
    meta = {**PLACE, "DATE-OBS": start.date().isoformat(), "TIME-OBS": start.time().isoformat()}
    arrays = {"SCI": ramps, "GROUPDQ": dq, "PIXELDQ": pixeldq}
    pool.save(Ramp(meta, arrays, name=f"r{number:02d}"), pixels=False)


def test_ramps_of_a_monitor(pool: Pool, tmp_path: Path) -> None:
    """RC pixels are found, up and down; hot ones are hot, and hits, steps and quiet pixels are not RC."""
    rng = np.random.default_rng(6)
    places = rng.permutation([(y, x) for y in range(2, 62) for x in range(6, 70) if (y, x) != (40, 40)])
    bent, hot, steps = (tuple(places[part].T) for part in (slice(0, 60), slice(60, 90), slice(90, 120)))
    bends = np.zeros(SHAPE)
    bends[bent] = rng.uniform(200, 400, 60) * rng.choice([-1, 1], 60)
    for number in range(NUMBER):
        rates = np.full(SHAPE, 2.0)
        rates[hot] += 60
        rates[steps] += 30 * (number >= 6)
        save(pool, number, rates, bends)
    monitor = pool.create_monitor("ramps", Ramp)
    done = monitor.update()
    assert (done.exposures, done.left_out) == (NUMBER, ())
    states = {(row["y"] - 779, row["x"] - 1): row["state"] for row in monitor.states()}
    assert Counter(states.get(place) for place in zip(*bent, strict=True)) == {"rc": 60}
    assert Counter(states.get(place) for place in zip(*hot, strict=True)) == {"hot": 30}
    assert Counter(states.get(place) for place in zip(*steps, strict=True))["rc"] == 0
    others = set(states) - {tuple(place) for place in places[:120].tolist()}
    assert len(others) <= 8  # of 4400
    assert "rc" not in {states[place] for place in others}
    rows = monitor.states("rc")
    wanted = {place: bends[place] for place in zip(*bent, strict=True)}
    assert all(np.sign(row["amplitude"]) == np.sign(wanted[row["y"] - 779, row["x"] - 1]) for row in rows)
    rate = monitor.ref.product["RATE0"][...]
    assert np.isnan(rate[40, 40])
    assert np.isnan(rate[:, :4]).all()
    assert monitor.trends()["median"].max() < 6  # 2 DN/s, and what the settling adds
    x, y = int(bent[1][0]) + 1, int(bent[0][0]) + 779
    days = [
        datetime(2026, 1, 2, 13, tzinfo=UTC),
        datetime(2026, 1, 2, 14, tzinfo=UTC),
        datetime(2026, 1, 4, tzinfo=UTC),
    ]
    life = pool.pixel(x, y).life(flags=True, ramps=days)
    assert [table["name"][0] for table in life.ramps] == ["r03", "r06"]
    assert life.ramps[0]["ramp"].shape == (NINTS, GROUPS)
    picture = life.plot(tmp_path / "life.svg").read_text()
    assert "Ramp of r06" in picture
    assert "signal (DN)" in picture
    shown = tmp_path / "life.png"
    call("pixel", "jpl8", x, y, "--life", "--ramps", "2026-01-02T13:00,2026-01-04", "--plot", shown)
    assert shown.read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(InvalidInput, match="no exposure had begun at 2025-01-01"):
        pool.pixel(x, y).life(ramps=[datetime(2025, 1, 1, tzinfo=UTC)])
    save(pool, NUMBER, np.full(SHAPE, 2.0), bends)
    assert monitor.update().read == 1
    assert {row["state"] for row in monitor.states("rc")} == {"rc"}
    assert len(monitor.life(bent[1][0] + 1, bent[0][0] + 779).courses) == 1


def test_slopes_and_bends() -> None:
    rng = np.random.default_rng(7)
    ramps, dq = make_ramps(rng, np.full(SHAPE, 10.0), np.full(SHAPE, -20.0))
    dq[0, 12:, 5, 5] = 2
    product = Ramp(PLACE, {"SCI": ramps, "GROUPDQ": dq}, name="a")
    found = read_ramps(product, WHOLE)
    assert found.slopes.shape == (NINTS, *SHAPE)
    pulls = (found.slopes - 10.0) / found.errors
    assert abs(np.median(pulls)) < 0.1
    assert 1.4826 * np.median(np.abs(pulls)) == pytest.approx(1, abs=0.08)
    bend = found.bend / found.bend_error
    assert abs(np.median(bend)) < 0.1
    assert 1.4826 * np.median(np.abs(bend)) == pytest.approx(1, abs=0.08)
    part = read_ramps(product, (slice(10, 20), slice(30, 40)))
    for name in ("slopes", "errors", "bend", "bend_error"):
        assert np.array_equal(getattr(part, name), getattr(found, name)[..., 10:20, 30:40])


def test_what_is_no_ramp(pool: Pool) -> None:
    flags = np.ones((1, 20, *SHAPE), "u1")
    flags[:, 5:10] = 0
    with pytest.raises(FormatError, match="5 groups of its ramps are usable, and a monitor needs 6"):
        read_ramps(Ramp(PLACE, {"SCI": np.ones((1, 20, *SHAPE), "f4"), "GROUPDQ": flags}, name="a"), WHOLE)
    with pytest.raises(FormatError, match="TGROUP"):
        read_ramps(Ramp({}, {"SCI": np.ones((1, 20, *SHAPE), "f4")}, name="a"), WHOLE)
    meta = {**PLACE, "DATE-OBS": "2026-01-01", "TIME-OBS": "00:00:00"}
    pool.save(Ramp(meta, {"SCI": np.ones((20, *SHAPE), "f4")}, name="cube"), pixels=False)
    pool.save(Ramp(meta, {"SCI": np.ones((1, 20, 10, 10), "f4")}, name="small"), pixels=False)
    pool.save(RateInts(meta, {"SCI": np.ones((1, *SHAPE), "f4")}, name="rates"), pixels=False)
    done = pool.create_monitor("ramps", "Ramp").update()
    assert {why for _, why in done.left_out} == {
        "it has no dataset SCI with ramps of shape (nints, ngroups, ny, nx)",
        "its arrays have fewer pixels than the subarray SUB64 of its header",
    }
