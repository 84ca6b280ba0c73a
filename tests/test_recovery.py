"""Simulated exposures go the whole way: as the test bench writes them, through the real pipeline, into pixel rows."""

from __future__ import annotations

from math import erf
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from miripool import Pool, RateInts
from miripool.pipeline import Recipe, reprocess
from miripool.pool.ingest import ingest
from miripool.simulate import SimulatedExposure, simulate_exposure, write_references

pytestmark = pytest.mark.jwst

DO_NOT_USE, SATURATED, JUMP_DET = 1, 2, 4
THRESHOLD = 4.0
"""Standard deviations: the pipeline's own for jumps."""


def probability_to_be_found(exposure: SimulatedExposure) -> NDArray[np.float64]:
    """Chance of each cosmic ray to differ by more than the threshold, from its size and the noise of its pixel."""
    hits, part = exposure.truth.cosmic_rays, exposure.detector
    y, x = hits["y"], hits["x"]
    photons = (exposure.truth.slopes + part.dark_current)[y, x] * exposure.group_time / part.gain
    sigma = np.sqrt(2 * part.read_noise[y, x] ** 2 + photons)
    excess = hits["dn"] / sigma - THRESHOLD
    return np.array([0.5 * (1 + erf(value / np.sqrt(2))) for value in excess])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("subarray", "nints", "ngroups", "cosmic_ray_rate"),
    [("SUB64", 5, 20, 2e-3), ("MASK1550", 2, 10, 5e-4), ("SLITLESSPRISM", 3, 10, 1e-3), ("FULL", 1, 8, 3e-5)],
)
def test_what_was_simulated_is_recovered(
    pool: Pool, tmp_path: Path, subarray: str, nints: int, ngroups: int, cosmic_ray_rate: float
) -> None:
    exposure = simulate_exposure(
        "bench", subarray=subarray, nints=nints, ngroups=ngroups, seed=3, cosmic_ray_rate=cosmic_ray_rate
    )
    (added,) = ingest(pool, [exposure.write_jpl(tmp_path)])
    assert added.error is None
    raw = pool.ref("Raw/bench")
    assert np.array_equal(raw.product["SCI"][...], exposure.sci)
    (done,) = reprocess(pool, [raw], Recipe(overrides=write_references(exposure, tmp_path)))
    assert done.error is None
    ramp, rateints, _ = done.refs
    assert rateints.meta["SUBARRAY"].value == subarray

    # Slopes, from the pixel rows.
    rows = pool.pixels(RateInts, "dq is null").to_table()
    assert len(rows) > 0.85 * exposure.truth.slopes.size
    place = (
        np.asarray(rows["y"]) - rateints.meta["SUBSTRT2"].value,
        np.asarray(rows["x"]) - rateints.meta["SUBSTRT1"].value,
    )
    truth = exposure.truth.slopes[place][:, None]
    slopes, errors = np.asarray(rows["rate"]), np.asarray(rows["err"])
    assert slopes.shape == (len(rows), nints)
    pulls = (slopes - truth) / errors
    assert abs(np.median(pulls)) < 0.03
    assert 0.95 < np.median(np.abs(pulls)) / 0.6745 < 1.15
    assert abs(np.median(slopes - truth)) < 5 * 1.25 * np.median(errors) / np.sqrt(slopes.size) + 2e-3 * np.median(
        truth
    )

    # Cosmic rays, and what is taken for some: 4 sigma both ways are 6e-5 of all differences, against a median of few.
    # A jump is seen in the difference of a group from the one before.
    groupdq = ramp.product["GROUPDQ"][...]
    usable = (groupdq & (DO_NOT_USE | SATURATED)) == 0
    usable[:, 1:] &= usable[:, :-1].copy()
    hits = exposure.truth.cosmic_rays
    at = (hits["integration"], hits["group"], hits["y"], hits["x"])
    expected = probability_to_be_found(exposure)[usable[at]]
    found = (groupdq[at] & JUMP_DET)[usable[at]] != 0
    assert len(found) > 50
    assert abs(found.mean() - expected.mean()) < 4 * np.sqrt(np.mean(expected * (1 - expected)) / len(found)) + 0.02
    near = np.zeros(groupdq.shape, bool)  # the pipeline flags neighbours of large jumps as well
    for dy, dx in ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)):
        y, x = hits["y"] + dy, hits["x"] + dx
        inside = (y >= 0) & (y < groupdq.shape[2]) & (x >= 0) & (x < groupdq.shape[3])
        near[hits["integration"][inside], hits["group"][inside], y[inside], x[inside]] = True
    false = ((groupdq & JUMP_DET) != 0) & usable & ~near
    assert false.sum() / np.count_nonzero(usable & ~near) < 1e-3

    # Saturation: every group that is at its full well is flagged, and few that are not near one.
    full = np.arange(ngroups)[None, :, None, None] >= exposure.truth.saturated_from[:, None]
    flagged = (groupdq & SATURATED) != 0
    assert flagged[full].all()
    assert flagged.sum() < 20 * full.sum() + 100

    print(
        f"{subarray} ({nints}, {ngroups}): slope/error of the difference: median {np.median(pulls):+.4f}, "
        f"scatter {np.median(np.abs(pulls)) / 0.6745:.3f}; cosmic rays found {found.mean():.3f} of {len(found)} "
        f"(expected {expected.mean():.3f}), false {false.sum() / np.count_nonzero(usable & ~near):.1e} of all groups; "
        f"saturated groups {full.sum()}, flagged {flagged.sum()} with their neighbours"
    )
