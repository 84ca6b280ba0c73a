"""What is read out of a detector in one exposure, as it would be sent to the ground."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InvalidInput

if TYPE_CHECKING:
    from datetime import datetime

    from numpy.typing import NDArray

    from .detector import Detector

    Map = NDArray[np.float32]

__all__ = ["Readout", "Scene"]

_EXPOSURE_TYPES = {
    "SLITLESSPRISM": "MIR_LRS-SLITLESS",
    "MASK1065": "MIR_4QPM",
    "MASK1140": "MIR_4QPM",
    "MASK1550": "MIR_4QPM",
    "MASKLYOT": "MIR_LYOT",
}


@dataclass(frozen=True, slots=True)
class Scene:
    """The light that falls on the detector.

    Attributes
    ----------
    background : float
        Slope at the array's centre, DN/s.
    gradient : float
        Change of the background from the first to the last column, as a share of it.
    n_sources : int or None
        Number of point sources. None: six for SUB64; the number grows with the square root of the subarray's area.
    brightest : float or None
        Slope at the peak of the brightest source, DN/s; the others are fainter, down to 1/300. None: bright enough to
        fill the well 1.3 times within an integration.
    fwhm : float
        Full width at half maximum of the sources, pixels.
    seed : int or None
        Seed of the positions and brightnesses of the sources. None: the exposure's seed.
    """

    background: float = 60.0
    gradient: float = 0.3
    n_sources: int | None = None
    brightest: float | None = None
    fwhm: float = 3.0
    seed: int | None = None

    def __post_init__(self) -> None:
        for what in ("background", "n_sources", "brightest", "seed"):
            number = getattr(self, what)
            if number is not None and not 0 <= number < float("inf"):
                msg = f"The scene's {what} is {number}; it must be 0 or more, and finite."
                raise InvalidInput(msg)
        if not (self.fwhm > 0 and -2 <= self.gradient <= 2):
            msg = (
                f"The scene's fwhm is {self.fwhm} and its gradient is {self.gradient}; fwhm must be a positive number "
                "of pixels, gradient a number from -2 to 2."
            )
            raise InvalidInput(msg)

    @property
    def is_dark(self) -> bool:
        """Whether no light falls on the detector at all."""
        return self.background == 0 and (self.n_sources == 0 or self.brightest == 0)

    def draw(self, shape: tuple[int, int], integration_time: float, *, seed: int) -> Map:
        """Draw the slopes that a perfect detector would see.

        Parameters
        ----------
        shape : tuple of int
            (ny, nx) of the subarray.
        integration_time : float
            Seconds; scales the brightest source where the scene does not fix it.
        seed : int
            Taken where the scene has none of its own.

        Returns
        -------
        ndarray of float32, shape (ny, nx)
            DN/s.
        """
        ny, nx = shape
        rng = np.random.default_rng([1, seed if self.seed is None else self.seed])
        slopes = np.empty(shape, np.float32)
        slopes[:] = self.background * (1 + self.gradient * np.linspace(-0.5, 0.5, nx))
        peak = 1.3 * 45000 / integration_time if self.brightest is None else self.brightest
        n_sources = round(6 * np.sqrt(ny * nx / (64 * 72))) if self.n_sources is None else self.n_sources
        for i in range(n_sources):
            y, x = rng.uniform(0, ny - 1), rng.uniform(0, nx - 1)
            fraction = 10 ** -rng.uniform(0, 2.5) if i else 1.0
            gy, gx = (np.exp(-4 * np.log(2) * ((np.arange(n) - c) / self.fwhm) ** 2) for n, c in ((ny, y), (nx, x)))
            slopes += (peak * fraction * np.outer(gy, gx)).astype(np.float32)
        return slopes


@dataclass(frozen=True, slots=True, eq=False)
class Readout:
    """Raw data of an exposure and its settings.

    Attributes
    ----------
    name : str
        Stem of its files, without ``_uncal``.
    detector : Detector
        The part of it that was read.
    subarray : str
        As in the keyword SUBARRAY.
    readpatt : str
        As in the keyword READPATT.
    start : datetime
        Start of the first integration, UTC.
    group_time : float
        Seconds from one group to the next.
    scene : Scene
        What was looked at.
    sci : ndarray of uint16, shape (nints, ngroups, ny, nx)
        Raw DN.
    refout : ndarray of uint16, shape (nints, ngroups, ny, nx // 4)
        Reference output, raw DN: one value for each group of four columns.
    """

    name: str
    detector: Detector
    subarray: str
    readpatt: str
    start: datetime
    group_time: float
    scene: Scene
    sci: NDArray[np.uint16]
    refout: NDArray[np.uint16]

    @property
    def nints(self) -> int:
        """Number of integrations."""
        return int(self.sci.shape[0])

    @property
    def ngroups(self) -> int:
        """Number of groups in an integration."""
        return int(self.sci.shape[1])

    @property
    def exposure_type(self) -> str:
        """As in the keyword EXP_TYPE; a dark if no light fell on the detector."""
        if self.detector.name != "MIRIMAGE":
            return "MIR_DARKMRS" if self.scene.is_dark else "MIR_MRS"
        return "MIR_DARKIMG" if self.scene.is_dark else _EXPOSURE_TYPES.get(self.subarray, "MIR_IMAGE")
