"""Synthetic MIRI exposures from a seed, for the demonstration, for tests and for benchmarks.

Told bottom-up: `flags` are bits, `subarrays` say where on the detector, `detector` how its pixels behave, `exposure`
lets light fall on them and keeps the truth, `calibration` turns counts into slopes, `files` writes what real JWST
files of level 1b and 2a hold. A form of file more, the ground test's for instance, is a function more in `files`;
reference files for the pipeline are the maps of `Detector`, which are named by the reference they would go into.
"""

from __future__ import annotations

from miripool.simulate.calibration import Calibration, Ramp, Rate, RateInts, average_rates, calibrate_ramp, fit_slopes
from miripool.simulate.detector import DETECTORS, Detector
from miripool.simulate.exposure import (
    COSMIC_RAY,
    Scene,
    SimulatedExposure,
    Truth,
    simulate_campaign,
    simulate_exposure,
)
from miripool.simulate.subarrays import SUBARRAYS, Subarray, find_subarray

__all__ = [
    "COSMIC_RAY",
    "DETECTORS",
    "SUBARRAYS",
    "Calibration",
    "Detector",
    "Ramp",
    "Rate",
    "RateInts",
    "Scene",
    "SimulatedExposure",
    "Subarray",
    "Truth",
    "average_rates",
    "calibrate_ramp",
    "find_subarray",
    "fit_slopes",
    "simulate_campaign",
    "simulate_exposure",
]
