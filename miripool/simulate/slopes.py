"""Campaigns of slopes: many exposures in which pixels change, without simulating their ramps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from ..errors import AlreadyExists, InvalidInput
from .calibration import Calibration, RateIntsArrays, slope_variances
from .detector import Detector
from .flags import DO_NOT_USE, SATURATED
from .lives import NOISY_SCATTER, LifePlan, LivesTruth, draw_lives
from .settings import START, ExposureSettings, check_counts, check_name, fill_names, find_place, to_utc
from .subarrays import find_group_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    Map = NDArray[np.float32]

__all__ = ["EXPOSURE_TYPES", "LivesCampaign", "simulate_lives"]

EXPOSURE_TYPES: Final = (
    "MIR_DARKALL",
    "MIR_DARKIMG",
    "MIR_DARKMRS",
    "MIR_FLATIMAGE",
    "MIR_FLATIMAGE-EXT",
    "MIR_FLATMRS",
    "MIR_FLATMRS-EXT",
)
"""Calibration exposures of MIRI, as in the keyword EXP_TYPE. Source: ``keyword_exptype.schema`` of the JWST
datamodels."""

_LIVES: Final[Mapping[str, int]] = MappingProxyType(
    {"step": 300, "hot": 200, "rts": 100, "drift": 50, "unstable": 50, "noisy": 50}
)
_DARK_KEPT: Final = Calibration("dark kept", dark_scale=0)

_COSMIC_RAY: Final = np.log(10), 0.8
"""Logarithm of the median slope that a missed cosmic ray adds, in units of the noise of one integration, and its
standard deviation. A jump of 5 standard deviations of a difference of two readings, the threshold of `Calibration`,
adds up to 9 where a slope rests on 8 groups. The standard deviation is that of the cosmic rays in simulated ramps."""


@dataclass(frozen=True, slots=True, eq=False)
class LivesCampaign:
    """Exposures of one detector in which pixels change, and the truth about them.

    An exposure's arrays are drawn when they are asked for: the campaign holds its settings and the truth only.

    Attributes
    ----------
    names : tuple of str
        Name of each exposure.
    times : tuple of datetime
        Start of each exposure, UTC.
    detector : Detector
        The part of it that is read.
    subarray, readpatt, exposure_type : str
        As in the keywords SUBARRAY, READPATT and EXP_TYPE.
    group_time : float
        Seconds from one group to the next.
    nints, ngroups : int
        Number of integrations, and of groups per integration.
    seed : int
        Seed of the noise, the cosmic rays and the lives.
    cosmic_ray_rate : float
        Share of all pixels and integrations that have a cosmic ray without a flag.
    settling : float
        What the first integration is off by, in units of the noise of one integration.
    anneals : tuple of datetime
        When the detector was annealed, UTC.
    truth : LivesTruth
        Which pixels change, when and by how much.
    """

    names: tuple[str, ...]
    times: tuple[datetime, ...]
    detector: Detector
    subarray: str
    readpatt: str
    exposure_type: str
    group_time: float
    nints: int
    ngroups: int
    seed: int
    cosmic_ray_rate: float
    settling: float
    anneals: tuple[datetime, ...]
    truth: LivesTruth

    @property
    def number(self) -> int:
        """Number of exposures."""
        return len(self.names)

    def rates(self, i: int, calibration: Calibration = _DARK_KEPT) -> RateIntsArrays:
        """Draw the slopes of one exposure. The same campaign gives the same arrays, in any order of exposures.

        ERR states the noise of a pixel without a change: the median of its integrations gives the photons, as the
        pipeline's does. Noisy pixels scatter by `NOISY_SCATTER` times as much.

        Parameters
        ----------
        i : int
            Number of the exposure, 0-based.
        calibration : Calibration
            Its `gain` is used for ERR, its `dark_scale` for the dark step, which is left out by default. The other
            attributes do not change slopes.

        Returns
        -------
        RateIntsArrays
            DN/s, shape (nints, ny, nx). Pixels with a flag in the detector's mask have DO_NOT_USE and NaN.

        Raises
        ------
        InvalidInput
            If there is no such exposure.
        """
        self._check_number(i)
        rng = _generator(self.seed, i + 1)
        lives = self.truth.lives
        mean = self.detector.dark_current.copy()
        mean[lives["row"], lives["column"]] += self.truth.offsets[:, i]
        sigma = np.sqrt(np.add(*self._variances(mean, self.detector.gain)))
        sci = self._draw(rng, mean, sigma)
        sci -= np.float32(calibration.dark_scale) * self.detector.dark_current
        variances = self._variances(np.median(sci, axis=0), calibration.gain)
        unusable = (self.detector.mask & DO_NOT_USE) != 0
        sci[:, unusable] = np.nan
        dq, var_poisson, var_rnoise = (
            np.repeat(frame[None], self.nints, axis=0)
            for frame in (self.detector.mask, *(np.where(unusable, np.float32(0), v) for v in variances))
        )
        saturated = lives[(lives["state"] == "glow") & (lives["first"] == i)]
        dq[:, saturated["row"], saturated["column"]] |= np.uint32(SATURATED)
        return RateIntsArrays(sci, np.sqrt(var_poisson + var_rnoise), dq, var_poisson, var_rnoise)

    def write_rateints(
        self,
        folder: str | Path,
        calibration: Calibration = _DARK_KEPT,
        *,
        date: datetime | None = None,
        overwrite: bool = False,
    ) -> list[Path]:
        """Write all exposures as rateints files, one at a time.

        Parameters
        ----------
        folder : path
            An existing folder.
        calibration : Calibration
            As in `rates`. The header names its label, its context and references for its values.
        date : datetime, keyword-only, optional
            For the card DATE, with a time zone; now if not given. With it, equal campaigns give equal bytes.
        overwrite : bool, keyword-only
            Whether files of these names may be replaced.

        Returns
        -------
        list of Path
            ``<name>_rateints.fits`` of each exposure: SCI and ERR (float32, DN/s), DQ (uint32), INT_TIMES, VAR_POISSON
            and VAR_RNOISE (float32, (DN/s)**2).

        Raises
        ------
        InvalidInput
            The folder is not there, or the date has no time zone.
        AlreadyExists
            One of the files is there; none is written.
        """
        if not overwrite:
            for name in self.names:
                _refuse_existing(Path(folder) / f"{name}_rateints.fits")
        return [self.write_exposure(i, folder, calibration, date=date, overwrite=overwrite) for i in range(self.number)]

    def write_exposure(
        self,
        i: int,
        folder: str | Path,
        calibration: Calibration = _DARK_KEPT,
        *,
        date: datetime | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Write one exposure as a rateints file; see `write_rateints`.

        Parameters
        ----------
        i : int
            Number of the exposure, 0-based.
        folder, calibration, date, overwrite : path, Calibration, datetime, bool
            As in `write_rateints`.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        InvalidInput
            There is no such exposure, the folder is not there, or the date has no time zone.
        AlreadyExists
            The file is there.
        """
        from .files import write_rateints

        self._check_number(i)
        settings = ExposureSettings(
            name=self.names[i],
            detector=self.detector,
            subarray=self.subarray,
            readpatt=self.readpatt,
            exposure_type=self.exposure_type,
            start=self.times[i],
            group_time=self.group_time,
            nints=self.nints,
            ngroups=self.ngroups,
        )
        rates = self.rates(i, calibration)
        return write_rateints(settings, rates, folder, calibration, date=date, overwrite=overwrite)

    def write_truth(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write the truth as a table, which `astropy.table.Table.read` reads.

        Parameters
        ----------
        folder : path
            An existing folder.
        overwrite : bool, keyword-only
            Whether a file of that name may be replaced.

        Returns
        -------
        Path
            ``truth.ecsv``: `LivesTruth.to_table` with the exposures' names and times and the anneals as metadata.

        Raises
        ------
        InvalidInput
            The folder is not there.
        AlreadyExists
            The file is there.
        """
        if not Path(folder).is_dir():
            msg = f"There is no folder {folder}; create it first."
            raise InvalidInput(msg)
        path = Path(folder) / "truth.ecsv"
        if not overwrite:
            _refuse_existing(path)
        table = self.truth.to_table()
        table.meta["exposures"] = list(self.names)
        table.meta["times"] = [time.isoformat() for time in self.times]
        table.meta["anneals"] = [time.isoformat() for time in self.anneals]
        table.write(path, format="ascii.ecsv", overwrite=True)
        return path

    def _check_number(self, i: int) -> None:
        if not 0 <= i < self.number:
            msg = f"There is no exposure {i}; the campaign has exposures 0 to {self.number - 1}."
            raise InvalidInput(msg)

    def _variances(self, rates: Map, gain: float) -> tuple[Map, Map]:
        noise = self.detector.read_noise
        return slope_variances(rates, ngroups=self.ngroups, read_noise=noise, gain=gain, group_time=self.group_time)

    def _draw(self, rng: Generator, mean: Map, sigma: Map) -> Map:
        lives = self.truth.lives
        noisy = lives[lives["state"] == "noisy"]
        scatter = sigma.copy()
        scatter[noisy["row"], noisy["column"]] *= np.float32(NOISY_SCATTER)
        sci: Map = rng.standard_normal((self.nints, *mean.shape), np.float32)
        sci *= scatter
        sci += mean
        places = np.nonzero(rng.random(sci.shape, np.float32) < self.cosmic_ray_rate)
        sizes = rng.lognormal(*_COSMIC_RAY, len(places[0]))
        sci[places] += sizes.astype(np.float32) * sigma[places[1:]]
        sci[0] += np.float32(self.settling) * sigma
        return sci


def simulate_lives(
    number: int,
    *,
    name: str = "jw01033005001_03103_{number:05d}_{detector}",
    subarray: str = "SUB64",
    nints: int = 5,
    ngroups: int = 10,
    hours: float = 12.0,
    start: datetime = START,
    seed: int = 1,
    detector: str | Detector = "MIRIMAGE",
    readpatt: str = "FASTR1",
    exposure_type: str | None = None,
    lives: Mapping[str, int] = _LIVES,
    amplitude: tuple[float, float] = (5.0, 20.0),
    margin: int = 5,
    cosmic_ray_rate: float = 0.005,
    anneals: Sequence[datetime] = (),
    heal_probability: float = 0.3,
    settling: float = 0.0,
) -> LivesCampaign:
    """Simulate a campaign of darks in which pixels change, as slopes. The same arguments give the same arrays.

    Good pixels are drawn, and each gets one life:

    * ``step``: the rate rises once and stays.
    * ``hot``: the rate rises, and later is normal again. With `anneals`, half of the hot pixels are hot from the first
      exposure on, the others become hot between the anneals, and hot pixels heal at anneals only.
    * ``rts``: a random telegraph signal of two levels, with mean dwell times of 2 to 10 exposures; the level is
      constant within an exposure.
    * ``drift``: the rate rises linearly from the first exposure to the last.
    * ``unstable``: in 0.1 to 0.3 of the exposures the rate is displaced, up or down, by a normal distribution with the
      amplitude as its standard deviation.
    * ``noisy``: the integrations scatter 3 times as much in all exposures.
    * ``glow``: the pixel has the flag SATURATED in one exposure. In the later ones its rate is higher by an amplitude
      that decays with a time constant of 2.24 hours: take exposures that are about an hour apart.

    All other good pixels are quiet: their dark current, read noise and photon noise are the detector's. Noise is normal
    and has the variance that the pipeline states (`slope_variances`). No light falls on the detector, whatever the
    exposure's type.

    Parameters
    ----------
    number : int
        Number of exposures.
    name : str
        Name of each exposure; ``{number}`` stands for 1 to `number`, ``{detector}`` for the detector in lower case.
    subarray : str
        One of `SUBARRAYS`; the two detectors of the spectrometer need FULL.
    nints, ngroups : int
        Number of integrations, and of groups per integration; two groups or more.
    hours : float
        Hours from one start to the next.
    start : datetime
        Start of the first exposure, with a time zone.
    seed : int
        Seed of the noise, the cosmic rays and the lives.
    detector : str or Detector
        Name of the detector, or a `Detector` of the FULL array.
    readpatt : str
        FAST, FASTR1, SLOW or SLOWR1.
    exposure_type : str, optional
        For EXP_TYPE, one of `EXPOSURE_TYPES`; by default MIR_DARKIMG, and MIR_DARKMRS for the spectrometer's detectors.
    lives : mapping of str to int
        Number of pixels by state, of `PIXEL_STATES`.
    amplitude : tuple of float
        Smallest and largest amplitude, in standard errors of one exposure's mean over all integrations; amplitudes are
        uniform between them.
    margin : int
        Exposures before and after each change of step and hot pixels at least, also between a change and an anneal.
    cosmic_ray_rate : float
        Share of all pixels and integrations with a cosmic ray that the pipeline missed. It adds to the slope and has no
        flag; the median is 10 times the noise of one integration.
    anneals : sequence of datetime
        When the detector is annealed, with time zones.
    heal_probability : float
        Probability with which each hot pixel heals at an anneal.
    settling : float
        What the first integration is off by, in units of the noise of one integration.

    Returns
    -------
    LivesCampaign
        Settings and truth; `LivesCampaign.rates` gives arrays of shape (nints, ny, nx).

    Raises
    ------
    InvalidInput
        If a name, state or type is unknown, a number is out of range, there are more lives than good pixels, the
        exposures are too few for the margin or overlap, or a time has no time zone.
    """
    check_counts(nints=nints, ngroups=ngroups)
    _check_numbers(seed=seed, cosmic_ray_rate=cosmic_ray_rate, settling=settling)
    full = Detector.draw(detector) if isinstance(detector, str) else detector
    place = find_place(subarray, full.name)
    group_time = find_group_time(subarray, readpatt)
    times = _plan_times(number, to_utc(start), hours, nints * ngroups * group_time)
    healed = tuple(sorted(to_utc(time, what="an anneal") for time in anneals))
    first_after = tuple(sum(begin < time for begin in times) for time in healed)
    plan = LifePlan(number, lives, amplitude, margin, first_after, heal_probability, hours)
    part = full.cut(place)
    errors = np.add(
        *slope_variances(
            part.dark_current, ngroups=ngroups, read_noise=part.read_noise, gain=part.gain, group_time=group_time
        )
    )
    return LivesCampaign(
        names=_name_exposures(name, number, full.name),
        times=times,
        detector=part,
        subarray=subarray,
        readpatt=readpatt,
        exposure_type=_find_type(exposure_type, full.name),
        group_time=group_time,
        nints=nints,
        ngroups=ngroups,
        seed=seed,
        cosmic_ray_rate=cosmic_ray_rate,
        settling=settling,
        anneals=healed,
        truth=draw_lives(
            plan, _generator(seed, 0), detector=part, place=place, standard_error=np.sqrt(errors / np.float32(nints))
        ),
    )


def _generator(seed: int, i: int) -> Generator:
    """Give the stream of the lives, 0, or of an exposure, 1 and up: the children of one seed sequence."""
    return np.random.default_rng(np.random.SeedSequence([3, seed], spawn_key=(i,)))


def _name_exposures(pattern: str, number: int, detector: str) -> tuple[str, ...]:
    names = fill_names(pattern, number, detector)
    for name in names:
        check_name(name)
    return names


def _find_type(exposure_type: str | None, detector: str) -> str:
    if exposure_type is None:
        return "MIR_DARKIMG" if detector == "MIRIMAGE" else "MIR_DARKMRS"
    if exposure_type not in EXPOSURE_TYPES:
        msg = f"{exposure_type!r} is no calibration exposure of MIRI; use one of {', '.join(EXPOSURE_TYPES)}."
        raise InvalidInput(msg)
    return exposure_type


def _plan_times(number: int, start: datetime, hours: float, duration: float) -> tuple[datetime, ...]:
    if number < 1:
        msg = f"There can't be {number} exposures; give 1 or more."
        raise InvalidInput(msg)
    if not duration <= hours * 3600 < float("inf"):
        msg = f"hours is {hours}, and an exposure takes {duration:.0f} s; take more hours: exposures can't overlap."
        raise InvalidInput(msg)
    try:
        return tuple(start + i * timedelta(hours=hours) for i in range(number))
    except OverflowError:
        msg = f"{number} exposures, {hours} hours apart, end after the year 9999; take fewer hours."
        raise InvalidInput(msg) from None


def _check_numbers(*, seed: int, cosmic_ray_rate: float, settling: float) -> None:
    if seed < 0:
        msg = f"seed is {seed}; it must be 0 or more."
        raise InvalidInput(msg)
    if not 0 <= cosmic_ray_rate <= 1:
        msg = f"cosmic_ray_rate is {cosmic_ray_rate}; it must be a number from 0 to 1."
        raise InvalidInput(msg)
    if not np.isfinite(settling):
        msg = f"settling is {settling}; it must be a finite number."
        raise InvalidInput(msg)


def _refuse_existing(path: Path) -> None:
    if path.exists():
        msg = f"{path} already exists; remove it, or overwrite it (overwrite=True, --overwrite)"
        raise AlreadyExists(msg)
