"""Light on a detector: the exposure as it would be sent to the ground, and the truth behind it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from miripool.errors import InvalidInput
from miripool.simulate.detector import Detector
from miripool.simulate.readout import Readout, Scene
from miripool.simulate.settings import START, check_counts, check_name, fill_names, find_place, to_utc
from miripool.simulate.subarrays import find_group_time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.random import Generator
    from numpy.typing import NDArray

    from miripool.simulate.calibration import Calibration

    Map = NDArray[np.float32]

__all__ = ["COSMIC_RAY", "Scene", "SimulatedExposure", "SimulatedTruth", "simulate_campaign", "simulate_exposure"]

COSMIC_RAY: Final = np.dtype([("integration", "i4"), ("group", "i4"), ("y", "i4"), ("x", "i4"), ("dn", "f4")])
"""One pixel hit: 0-based integration, group (the first that shows it), row and column in the subarray; linear DN."""

_RESET_NOISE = 8.0
"""Standard deviation of the level after a reset, linear DN; a constant of each integration that slopes do not see."""

_REFOUT_NOISE = 6.0


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedTruth:
    """What the exposure was simulated from, to compare results with.

    Rows and columns are 0-based in the subarray.

    Attributes
    ----------
    slopes : ndarray of float32, shape (ny, nx)
        Linear DN/s of the light that is counted, without dark current; 0 for dead pixels and reference pixels.
    cosmic_rays : ndarray of `COSMIC_RAY`, shape (n,)
        Pixels hit, in the order of integrations and groups.
    saturated_from : ndarray of int32, shape (nints, ny, nx)
        First group, 0-based, in which the pixel is at its full well; ngroups where it never is.
    bad_pixels : ndarray of uint32, shape (ny, nx)
        DEAD, HOT and REFERENCE_PIXEL, each with DO_NOT_USE.
    """

    slopes: Map
    cosmic_rays: NDArray[np.void]
    saturated_from: NDArray[np.int32]
    bad_pixels: NDArray[np.uint32]


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedExposure(Readout):
    """One exposure: its raw data, its settings, and the truth from which it was simulated.

    Attributes
    ----------
    truth : SimulatedTruth
        The truth; the other attributes are those of `Readout`.
    """

    truth: SimulatedTruth

    def write_uncal(self, folder: str | Path, *, date: datetime | None = None, overwrite: bool = False) -> Path:
        """Write the raw exposure as a JWST Level-1b file; see `miripool.simulate.files.write_uncal`."""
        from miripool.simulate import files

        return files.write_uncal(self, folder, date=date, overwrite=overwrite)

    def write_jpl(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write the raw exposure as the JPL test bench does; see `miripool.simulate.files.write_jpl`."""
        from miripool.simulate import files

        return files.write_jpl(self, folder, overwrite=overwrite)

    def write_ramp(
        self, folder: str | Path, calibration: Calibration, *, date: datetime | None = None, overwrite: bool = False
    ) -> Path:
        """Write the calibrated ramp; see `miripool.simulate.files.write_products`."""
        return self.write_products(folder, calibration, kinds=("ramp",), date=date, overwrite=overwrite)[0]

    def write_rateints(
        self, folder: str | Path, calibration: Calibration, *, date: datetime | None = None, overwrite: bool = False
    ) -> Path:
        """Write the slopes of each integration; see `miripool.simulate.files.write_products`."""
        return self.write_products(folder, calibration, kinds=("rateints",), date=date, overwrite=overwrite)[0]

    def write_rate(
        self, folder: str | Path, calibration: Calibration, *, date: datetime | None = None, overwrite: bool = False
    ) -> Path:
        """Write the mean slopes of the exposure; see `miripool.simulate.files.write_products`."""
        return self.write_products(folder, calibration, kinds=("rate",), date=date, overwrite=overwrite)[0]

    def write_products(
        self,
        folder: str | Path,
        calibration: Calibration,
        *,
        kinds: tuple[str, ...] = ("ramp", "rateints", "rate"),
        date: datetime | None = None,
        overwrite: bool = False,
    ) -> list[Path]:
        """Calibrate once and write several products; see `miripool.simulate.files.write_products`."""
        from miripool.simulate import files

        return files.write_products(self, folder, calibration, kinds=kinds, date=date, overwrite=overwrite)


def simulate_exposure(
    name: str | None = None,
    *,
    subarray: str = "SUB64",
    nints: int = 5,
    ngroups: int = 20,
    seed: int = 1,
    detector: str | Detector = "MIRIMAGE",
    detector_seed: int = 0,
    readpatt: str = "FASTR1",
    start: datetime = START,
    group_time: float | None = None,
    scene: Scene | None = None,
    cosmic_ray_rate: float = 2e-4,
) -> SimulatedExposure:
    """Simulate an exposure. The same arguments give the same arrays.

    Light and dark current are drawn as electrons (Poisson), cosmic rays are added, non-linearity is applied, and the
    signal is cut at the full well, read with noise and rounded. The simulation leaves out persistence, effects of
    earlier integrations, crosstalk between pixels, and noise common to several pixels.

    Parameters
    ----------
    name : str, optional
        Stem of the exposure's files; ``jw01033005001_03103_00001_<detector>`` if not given.
    subarray : str
        One of `SUBARRAYS`; the two detectors of the spectrometer need FULL.
    nints, ngroups : int
        Number of integrations, and of groups per integration.
    seed : int
        Seed of noise, cosmic rays and, unless the scene has its own seed, sources.
    detector : str or Detector
        Name of the detector, or a `Detector` of the FULL array, which need not be drawn again for each exposure.
    detector_seed : int
        Seed of the pixels if `detector` is a name. All exposures with the same seed have the same pixels.
    readpatt : str
        FAST, FASTR1, SLOW or SLOWR1.
    start : datetime
        Start of the first integration, with a time zone.
    group_time : float, optional
        Seconds; by default the real time for the subarray and the readout pattern.
    scene : Scene, optional
        The scene; by default `Scene()`.
    cosmic_ray_rate : float
        Pixels hit per pixel and second. The default supposes 3e-5 particles and some six pixels for each.

    Returns
    -------
    SimulatedExposure
        With arrays of shape (nints, ngroups, ny, nx) and (nints, ngroups, ny, nx // 4), uint16, and the truth.

    Raises
    ------
    InvalidInput
        If a name is unknown, a number is out of range, or `start` has no time zone.
    """
    _check_numbers(nints=nints, ngroups=ngroups, seed=seed, group_time=group_time, cosmic_ray_rate=cosmic_ray_rate)
    start = to_utc(start)
    seconds = find_group_time(subarray, readpatt) if group_time is None else group_time
    full = Detector.draw(detector, seed=detector_seed) if isinstance(detector, str) else detector
    place = find_place(subarray, full.name)
    name = f"jw01033005001_03103_00001_{full.name.lower()}" if name is None else name
    check_name(name)
    part = full.cut(place)
    scene = scene or Scene()
    slopes = scene.draw(place.shape, ngroups * seconds, seed=seed) * part.responsivity
    sci, refout, truth = _expose(part, slopes, (nints, ngroups), seconds, cosmic_ray_rate, seed)
    return SimulatedExposure(name, part, subarray, readpatt, start, seconds, scene, sci, refout, truth)


def simulate_campaign(
    n: int,
    *,
    name: str = "jw01033005001_03103_{number:05d}_{detector}",
    seed: int = 1,
    start: datetime = START,
    interval: timedelta = timedelta(days=1),
    detector: str | Detector = "MIRIMAGE",
    detector_seed: int = 0,
    **settings: Any,
) -> Iterator[SimulatedExposure]:
    """Simulate exposures of one detector, one after the other.

    Parameters
    ----------
    n : int
        Number of exposures.
    name : str
        Name of each exposure; ``{number}`` stands for 1 to `n`, ``{detector}`` for the detector in lower case.
    seed : int
        Seed of the first exposure; the next exposures use the next numbers.
    start, interval : datetime, timedelta
        Start of the first exposure, with a time zone, and time from one start to the next.
    detector, detector_seed : str or Detector, int
        The detector of all exposures, as in `simulate_exposure`.
    **settings
        As in `simulate_exposure`. A `Scene` with its own seed is the same in all exposures.

    Yields
    ------
    SimulatedExposure
        One at a time, so that only one is in memory.

    Raises
    ------
    InvalidInput
        As in `simulate_exposure`, or if several exposures would have the same name.
    """
    shared = Detector.draw(detector, seed=detector_seed) if isinstance(detector, str) else detector
    for i, one in enumerate(fill_names(name, n, shared.name)):
        yield simulate_exposure(one, seed=seed + i, start=start + i * interval, detector=shared, **settings)


def _check_numbers(*, nints: int, ngroups: int, seed: int, group_time: float | None, cosmic_ray_rate: float) -> None:
    check_counts(nints=nints, ngroups=ngroups)
    if group_time is not None and not 0 < group_time < float("inf"):
        msg = f"group_time is {group_time}; it must be a positive number of seconds."
        raise InvalidInput(msg)
    if seed < 0 or not 0 <= cosmic_ray_rate < float("inf"):
        msg = f"seed is {seed} and cosmic_ray_rate is {cosmic_ray_rate}; both must be 0 or more, and finite."
        raise InvalidInput(msg)


def _expose(
    detector: Detector, slopes: Map, counts: tuple[int, int], group_time: float, cosmic_ray_rate: float, seed: int
) -> tuple[NDArray[np.uint16], NDArray[np.uint16], SimulatedTruth]:
    nints, _ = counts
    sci = np.empty(counts + detector.mask.shape, np.uint16)
    refout = np.empty(counts + detector.refout_level.shape, np.uint16)
    saturated_from = np.empty((nints, *detector.mask.shape), np.int32)
    cosmic_rays = []
    # One stream for each integration: a longer exposure of the same seed starts with the same integrations.
    for i, stream in enumerate(np.random.SeedSequence([2, seed]).spawn(nints)):
        rng = np.random.default_rng(stream)
        hits = _draw_cosmic_rays(rng, cosmic_ray_rate * group_time, sci.shape[1:])
        hits["integration"] = i
        cosmic_rays.append(hits)
        _integrate(detector, slopes, group_time, hits, rng, sci[i], saturated_from[i])
        _read_refout(detector, rng, refout[i])
    return sci, refout, SimulatedTruth(slopes, np.concatenate(cosmic_rays), saturated_from, detector.mask)


def _draw_cosmic_rays(rng: Generator, rate: float, shape: tuple[int, ...]) -> NDArray[np.void]:
    places = np.sort(rng.integers(0, np.prod(shape), rng.poisson(rate * np.prod(shape))))
    hits = np.zeros(len(places), COSMIC_RAY)
    hits["group"], hits["y"], hits["x"] = np.unravel_index(places, shape)
    hits["dn"] = rng.lognormal(np.log(450), 0.8, len(places))
    return hits


def _integrate(
    detector: Detector,
    slopes: Map,
    group_time: float,
    hits: NDArray[np.void],
    rng: Generator,
    sci: NDArray[np.uint16],
    saturated_from: NDArray[np.int32],
) -> None:
    ngroups, ny, nx = sci.shape
    electrons = (slopes + detector.dark_current).astype(np.float64) * group_time * detector.gain
    per_electron = np.float32(1 / detector.gain)
    signal = detector.linearise(detector.bias) + np.float32(_RESET_NOISE) * rng.standard_normal((ny, nx), np.float32)
    offsets = detector.reset_anomaly(ngroups) + detector.edge_effects(ngroups)
    saturated_from[:] = ngroups
    for group in range(ngroups):
        signal += rng.poisson(electrons).astype(np.float32) * per_electron
        hit = hits[hits["group"] == group]
        np.add.at(signal, (hit["y"], hit["x"]), hit["dn"])
        raw = detector.delinearise(signal)
        full = raw >= detector.full_well
        saturated_from[full] = np.minimum(saturated_from[full], group)
        raw = np.minimum(raw + offsets[group], detector.full_well)
        raw += detector.read_noise * rng.standard_normal((ny, nx), np.float32)
        sci[group] = np.clip(np.rint(raw), 0, 65535)


def _read_refout(detector: Detector, rng: Generator, refout: NDArray[np.uint16]) -> None:
    for group in refout:
        drift = 3 * rng.standard_normal()
        noise = np.float32(_REFOUT_NOISE) * rng.standard_normal(group.shape, np.float32)
        group[:] = np.clip(np.rint(detector.refout_level + np.float32(drift) + noise), 0, 65535)
