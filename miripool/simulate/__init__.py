"""Synthetic MIRI exposures from a seed, for the demonstration, for tests and for benchmarks.

From the bottom up: `flags` are bits, `subarrays` say where on the detector, `detector` how its pixels behave,
`exposure` lets light fall on them and keeps the truth, `calibration` turns counts into slopes, `files` writes what
real JWST files of level 1b and 2a and the ground test's hold, `references` the reference files with which the real
pipeline calibrates them: the maps of `Detector`. `lives` says which pixels change in a campaign, `slopes` draws its
exposures without their ramps, and `settings` is what both ways of simulating share.
"""

from __future__ import annotations

from miripool.simulate.calibration import (
    Calibration,
    RampArrays,
    RateArrays,
    RateIntsArrays,
    average_rates,
    calibrate_ramp,
    fit_slopes,
)
from miripool.simulate.detector import DETECTORS, Detector
from miripool.simulate.exposure import (
    COSMIC_RAY,
    Scene,
    SimulatedExposure,
    SimulatedTruth,
    simulate_campaign,
    simulate_exposure,
)
from miripool.simulate.lives import PIXEL_LIFE, PIXEL_STATES, LivesTruth
from miripool.simulate.references import REFERENCE_TYPES, write_references
from miripool.simulate.slopes import EXPOSURE_TYPES, LivesCampaign, simulate_lives
from miripool.simulate.subarrays import SUBARRAYS, Subarray, find_subarray

__all__ = [
    "COSMIC_RAY",
    "DETECTORS",
    "EXPOSURE_TYPES",
    "PIXEL_LIFE",
    "PIXEL_STATES",
    "REFERENCE_TYPES",
    "SUBARRAYS",
    "Calibration",
    "Detector",
    "LivesCampaign",
    "LivesTruth",
    "RampArrays",
    "RateArrays",
    "RateIntsArrays",
    "Scene",
    "SimulatedExposure",
    "SimulatedTruth",
    "Subarray",
    "average_rates",
    "calibrate_ramp",
    "find_subarray",
    "fit_slopes",
    "simulate_campaign",
    "simulate_exposure",
    "simulate_lives",
    "write_references",
]
