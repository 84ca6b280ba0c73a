"""The rules that find the states of pixels, against injected truth. Noise is 1 for one integration."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from miripool.monitors.assess import assess
from miripool.monitors.blocks import Block, rate_of
from miripool.monitors.exposures import PLANES
from miripool.monitors.population import measure, population_of
from miripool.monitors.series import Series
from miripool.monitors.states import STATES, judge
from miripool.monitors.summaries import summarise
from miripool.monitors.thresholds import thresholds_for

Matrix = NDArray[np.float64]

INTEGRATIONS = 5
SIGMA = 1 / np.sqrt(INTEGRATIONS)
"""Standard error of one exposure's mean."""
HITS = 0.005
"""Fraction of the slopes hit by cosmic rays that the pipeline missed."""


def block_of(levels: Matrix, rng: np.random.Generator, *, integrations: int = INTEGRATIONS) -> Block:
    """Simulate the integrations of pixels with levels of shape (n, npixels), and reduce them as a monitor does."""
    parts = []
    for level in levels:
        slopes = rng.standard_normal((integrations, 1, len(level))) + level
        hit = rng.random(slopes.shape) < HITS
        slopes[hit] += rng.exponential(15, np.count_nonzero(hit))
        summary = summarise(slopes, np.ones_like(slopes))
        parts.append((*rate_of(summary, first=True), summary.scatter, summary.count))
    rates, errors, scatter, counts = (np.concatenate(maps).astype(np.float64) for maps in zip(*parts, strict=True))
    return Block(0, Series(rates, errors), np.zeros(levels.shape[1]), scatter, counts)


def found_in(block: Block, light: str = "dark", integrations: int = INTEGRATIONS) -> NDArray[np.void]:
    measures = measure(block)
    n = len(block.series.rates)
    times = 0.5 * np.arange(n)
    limits = thresholds_for(n, integrations)
    return judge(block, measures, population_of([measures]), limits, times, light=light)


def by_state(episodes: NDArray[np.void]) -> Counter[str]:
    return Counter(state.decode() for state in episodes["state"].tolist())


@pytest.mark.parametrize("light", ["dark", pytest.param("sky", marks=pytest.mark.slow)])
def test_steps(light: str) -> None:
    """At least 98 % of 300 steps are found, 95 % of them to one exposure; at most 1e-3 of the others get a state."""
    rng = np.random.default_rng(11)
    n, pixels, steps = 60, 4608, 300
    at = rng.integers(5, n - 4, steps)
    size = rng.uniform(5, 15, steps) * SIGMA * rng.choice([-1, 1], steps)
    levels = np.zeros((n, pixels))
    levels[:, :steps] = np.where(np.arange(n)[:, None] >= at, size, 0)
    episodes = found_in(block_of(levels, rng), light)
    mine, others = episodes[episodes["pixel"] < steps], episodes[episodes["pixel"] >= steps]
    assert set(by_state(mine)) <= ({"step", "hot", "warm"} if light == "dark" else {"step"})
    assert len(np.unique(mine["pixel"])) >= 0.98 * steps
    assert len(mine) == len(np.unique(mine["pixel"]))
    change = np.where(mine["begin"] > 0, mine["begin"], mine["end"])
    assert np.mean(np.abs(change - at[mine["pixel"]]) <= 1) >= 0.95
    assert len(np.unique(others["pixel"])) <= 1e-3 * (pixels - steps)
    told = mine[mine["state"] == b"step"]
    pulls = (told["amplitude"] - size[told["pixel"]]) / told["error"]
    assert 0.8 < np.std(pulls) < 1.25


def test_hot_and_normal_again() -> None:
    """At least 98 % of 200 pixels that are hot for a while have exactly one episode, to one exposure."""
    rng = np.random.default_rng(12)
    n, pixels, hot = 60, 4608, 200
    begin = rng.integers(5, n - 15, hot)
    end = begin + rng.integers(5, 10, hot)
    size = rng.uniform(7, 30, hot) * SIGMA
    index = np.arange(n)[:, None]
    levels = np.zeros((n, pixels))
    levels[:, :hot] = np.where((index >= begin) & (index < end), size, 0)
    episodes = found_in(block_of(levels, rng))
    right = 0
    for pixel in range(hot):
        mine = episodes[episodes["pixel"] == pixel]
        right += (
            len(mine) == 1
            and mine["state"][0] == b"hot"
            and abs(mine["begin"][0] - begin[pixel]) <= 1
            and abs(mine["end"][0] - end[pixel]) <= 1
        )
    assert right >= 0.98 * hot
    assert len(np.unique(episodes["pixel"][episodes["pixel"] >= hot])) <= 1e-3 * pixels


@pytest.mark.slow
def test_unchanged_darks_against_the_ratio_of_two_noisy_numbers() -> None:
    """A test by ratios calls more than 40 % of faint, noisy pixels hot or dead; ours at most 1e-4."""
    rng = np.random.default_rng(13)
    n, pixels, dark, noise = 20, 50_000, 0.05, 0.3  # DN/s: 10 groups of FASTR1, 6 DN read noise
    block = block_of(np.full((n, pixels), dark / noise), rng)
    baseline, now = block.series.rates[0], block.series.rates[1]
    ratio = now / baseline
    assert np.mean((ratio > 2) | (ratio < 0.1)) > 0.4
    states = by_state(found_in(block))
    assert states["hot"] + states["dead"] <= 1e-4 * pixels


def telegraph(rng: np.random.Generator, n: int, pixels: int, dwell: tuple[float, float]) -> NDArray[np.bool_]:
    """Draw two-level series with exponential dwell times, of shape (n, npixels)."""
    high = np.zeros((n, pixels), bool)
    for pixel in range(pixels):
        mean, now, at = rng.uniform(*dwell), bool(rng.random() < 0.5), 0
        while at < n:
            lasts = max(1, round(rng.exponential(mean)))
            high[at : at + lasts, pixel] = now
            now, at = not now, at + lasts
    return high


@pytest.mark.slow
@pytest.mark.parametrize("light", ["dark", "sky"])
def test_telegraphs_steps_and_drifts(light: str) -> None:
    """At least 95 % of telegraphs are found, amplitudes to 5 %; at most 1 % of steps, drifts or hits are called so."""
    rng = np.random.default_rng(14)
    n, each = 100, 400
    size = rng.uniform(4, 12, each) * SIGMA
    at, step = rng.integers(5, n - 4, each), rng.uniform(3, 15, each) * SIGMA
    index = np.arange(n)[:, None]
    levels = np.zeros((n, 5000))
    levels[:, :each] = telegraph(rng, n, each, (2, 10)) * size
    levels[:, each : 2 * each] = np.where(index >= at, step, 0)
    levels[:, 2 * each : 3 * each] = index / n * rng.uniform(3, 15, each) * SIGMA
    episodes = found_in(block_of(levels, rng), light)
    rts = episodes[episodes["state"] == b"rts"]
    mine = rts[rts["pixel"] < each]
    assert len(mine) >= 0.95 * each
    error = mine["amplitude"] - size[mine["pixel"]]
    assert np.median(np.abs(error) / size[mine["pixel"]]) <= 0.05
    assert 0.85 < 1.4826 * np.median(np.abs(error / mine["error"])) < 1.2
    for kind in (1, 2):
        assert np.count_nonzero(rts["pixel"] // each == kind) <= 0.01 * each
    assert np.count_nonzero(rts["pixel"] >= 3 * each) <= 1e-3 * (5000 - 3 * each)
    drifting = episodes[(episodes["pixel"] // each == 2) & (episodes["pixel"] < 3 * each)]
    assert by_state(drifting)["drift"] >= 0.9 * each


def test_unstable_and_noisy() -> None:
    rng = np.random.default_rng(15)
    n, each, pixels = 60, 100, 3000
    levels = np.zeros((n, pixels))
    share = rng.uniform(0.1, 0.3, each)
    levels[:, :each] = (rng.random((n, each)) < share) * rng.normal(0, 10 * SIGMA, (n, each))
    block = block_of(levels, rng)
    noisy = slice(each, 2 * each)
    middle = rng.normal(0, 3 * SIGMA, (n, each))
    block.series.rates[:, noisy] = middle
    block.scatter[:, noisy] *= 3
    episodes = found_in(block)
    states = [by_state(episodes[episodes["pixel"] // each == kind]) for kind in (0, 1)]
    assert states[0]["unstable"] >= 0.85 * each
    assert states[1]["noisy"] >= 0.95 * each
    fractions = episodes["fraction"][(episodes["pixel"] < each) & (episodes["state"] == b"unstable")]
    assert abs(np.median(fractions) - np.median(share)) < 0.05


def test_what_is_hot_throughout_is_hot_whatever_else_it_does() -> None:
    rng = np.random.default_rng(20)
    n, pixels = 60, 2000
    index = np.arange(n)[:, None]
    levels = np.zeros((n, pixels))
    levels[:, :50] = 40 * SIGMA + index / n * 20 * SIGMA
    levels[:, 50:100] = 40 * SIGMA + (rng.random((n, 50)) < 0.2) * rng.normal(0, 10 * SIGMA, (n, 50))
    levels[:, 100:150] = index / n * 20 * SIGMA
    episodes = found_in(block_of(levels, rng))
    states = [by_state(episodes[episodes["pixel"] // 50 == kind]) for kind in range(3)]
    assert states[0] == {"hot": 50}
    assert states[1]["hot"] >= 45
    assert states[2] == {"drift": 50}


def test_dead_and_insensitive_pixels_are_found_in_flats_alone() -> None:
    rng = np.random.default_rng(16)
    n, pixels, level = 10, 2000, 200.0
    levels = np.full((n, pixels), level)
    levels[:, :20] = 0.0
    levels[:, 20:40] = 0.3 * level
    block = block_of(levels, rng)
    block = Block(0, block.series, np.full(pixels, level), block.scatter, block.counts)
    found = found_in(block, "flat")
    assert by_state(found[found["pixel"] < 40]) == {"dead": 20, "low_qe": 20}
    assert np.count_nonzero(found["pixel"] >= 40) <= 3
    assert not set(by_state(found_in(block, "dark"))) & {"dead", "low_qe", "open"}
    assert not set(by_state(found_in(block, "sky"))) & {"dead", "low_qe", "open", "hot", "warm"}


def test_open_pixels_have_bright_neighbours() -> None:
    """A pixel of low response is open only if each of its four neighbours sees more than its share."""
    rng = np.random.default_rng(17)
    level = np.full((40, 40), 200.0)
    places = [(5, 5), (5, 15), (15, 5), (0, 20), (30, 30)]
    for y, x in places:
        level[y, x] *= 0.3
    for y, x in places[:2] + places[3:4]:  # the last of them lies at the edge, and has three neighbours
        for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            if y + dy >= 0:
                level[y + dy, x + dx] *= 1.17
    level[14, 5] *= 1.17
    level[29, 30] = level[31, 30] = level[30, 29] = 234.0
    level[5, 15] = 0.0  # dead
    planes = []
    for _ in range(10):
        slopes = rng.standard_normal((INTEGRATIONS, 40, 40)) + level
        summary = summarise(slopes, np.ones_like(slopes))
        planes.append(np.stack([getattr(summary, name) for name in PLANES]))
    options = {"settling": np.zeros(10), "integrations": INTEGRATIONS, "false_alarms": 1e-3}
    found = assess(planes, (40, 40), 0.5 * np.arange(10), light="flat", **options)
    states = {divmod(row["pixel"], 40): row["state"].decode() for row in found.episodes}
    assert {place: states[place] for place in places} == {
        (5, 5): "open", (5, 15): "dead", (15, 5): "low_qe", (0, 20): "low_qe", (30, 30): "low_qe"
    }  # fmt: skip
    assert found.state[5, 5] == 1 + STATES.index("open")
    dark = assess(planes, (40, 40), 0.5 * np.arange(10), light="dark", **options)
    assert not set(by_state(dark.episodes)) & {"dead", "low_qe", "open"}


@pytest.mark.parametrize("n", [4, 10, *(pytest.param(n, marks=pytest.mark.slow) for n in (5, 20, 30))])
@pytest.mark.parametrize("integrations", [1, 2, 5])
def test_quiet_pixels(n: int, integrations: int) -> None:
    """At most 1e-3 of quiet pixels get a state, also where hits can't be told from the rest."""
    rng = np.random.default_rng([17, n, integrations])
    pixels = 20_000
    block = block_of(np.zeros((n, pixels)), rng, integrations=integrations)
    episodes = found_in(block, integrations=integrations)
    assert len(np.unique(episodes["pixel"])) <= 1.5e-3 * pixels  # the budget, and three standard errors of it


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_few_exposures_say_little(n: int) -> None:
    rng = np.random.default_rng(18)
    levels = np.zeros((n, 500))
    levels[:, 0] = 50
    episodes = found_in(block_of(levels, rng))
    assert [(e["pixel"], e["state"], e["begin"], e["end"]) for e in episodes] == [(0, b"hot", 0, n)]


def test_pixels_without_rates_have_no_state() -> None:
    rng = np.random.default_rng(19)
    block = block_of(np.zeros((30, 400)), rng)
    block.series.rates[:, :100] = np.nan
    block.series.errors[:, :100] = np.nan
    block.series.rates[:29, 100:200] = np.nan
    block.series.errors[:29, 100:200] = np.nan
    block.scatter[:, :200] = np.nan
    assert not (found_in(block)["pixel"] < 200).any()
