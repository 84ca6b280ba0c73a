"""How the pixels of one detector behave; the same from exposure to exposure."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from miripool.errors import InvalidInput
from miripool.instruments import miri
from miripool.simulate.flags import DEAD, DO_NOT_USE, HOT, REFERENCE_PIXEL
from miripool.simulate.subarrays import FULL_SHAPE

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    from miripool.simulate.subarrays import Subarray

    Map = NDArray[np.float32]

__all__ = ["DETECTORS", "Detector"]

DETECTORS: Final = tuple(detector.name for detector in miri.DETECTORS)
"""The three detectors of MIRI, as in the keyword DETECTOR."""

GAIN: Final = 5.5
"""Electrons per DN; what the references of the first year took for all three detectors."""

_DEAD_FRACTION = 1.5e-3
_HOT_FRACTION = 2e-3
_SATURATION_MARGIN = 0.98


@dataclass(frozen=True, slots=True, eq=False)
class Detector:
    """The pixels of a detector, or of a subarray.

    Maps have shape (ny, nx), float32 unless said otherwise, and belong to the FULL array until `cut`. Their values are
    invented; median read noise, level and share of bad pixels resemble those of a SUB64 ground-test exposure.

    Attributes
    ----------
    name : str
        One of `DETECTORS`.
    seed : int
        Seed from which the maps were drawn.
    bias : ndarray
        Level right after a reset, raw DN.
    dark_current : ndarray
        Slope without light, linear DN/s.
    responsivity : ndarray
        Share of the scene's light that is counted, about 1; 0 for dead pixels and reference pixels.
    read_noise : ndarray
        Standard deviation of one reading, DN.
    linearity : ndarray
        Shape (4, ny, nx): coefficients c0 to c3 of the correction ``linear = c0 + c1*raw + c2*raw**2 + c3*raw**3``,
        both in DN: the form of JWST's linearity reference.
    full_well : ndarray
        Where a pixel stops counting, raw DN, not above 65535.
    saturation : ndarray
        Level that calls a group saturated, raw DN; somewhat below `full_well`, as in JWST's saturation reference.
    mask : ndarray of uint32
        DQ of the pixels themselves: REFERENCE_PIXEL, DEAD and HOT, each with DO_NOT_USE; 0 for good pixels.
    refout_level : ndarray
        Shape (ny, nx // 4): level of the reference output, raw DN, one for each group of four columns.
    gain : float
        True gain, electrons per DN; sets the photon noise.
    """

    name: str
    seed: int
    bias: Map
    dark_current: Map
    responsivity: Map
    read_noise: Map
    linearity: Map
    full_well: Map
    saturation: Map
    mask: NDArray[np.uint32]
    refout_level: Map
    gain: float = GAIN

    @classmethod
    def draw(cls, name: str = "MIRIMAGE", *, seed: int = 0) -> Detector:
        """Draw the FULL array of a detector; takes about 0.1 s.

        Parameters
        ----------
        name : str
            One of `DETECTORS`.
        seed : int
            Seed of the pixels; the same name and seed give the same pixels.

        Returns
        -------
        Detector
            Of the FULL array.

        Raises
        ------
        InvalidInput
            MIRI has no such detector, or the seed is negative.
        """
        if name not in DETECTORS:
            msg = f"MIRI has no detector {name!r}; use one of {', '.join(DETECTORS)}."
            raise InvalidInput(msg)
        if seed < 0:
            msg = f"The detector's seed is {seed}; it must be 0 or more."
            raise InvalidInput(msg)
        rng = np.random.default_rng([zlib.crc32(name.encode()), seed])
        mask = _draw_mask(rng)
        full_well = np.clip(57000 + 1500 * _normal(rng), 40000, 65000)
        rows, columns = FULL_SHAPE
        return cls(
            name=name,
            seed=seed,
            bias=_draw_bias(rng, mask),
            dark_current=_draw_dark_current(rng, mask),
            responsivity=np.where(mask & (DEAD | REFERENCE_PIXEL), np.float32(0), 1 + np.float32(0.02) * _normal(rng)),
            read_noise=7 * np.exp(np.float32(0.08) * _normal(rng)),
            linearity=_draw_linearity(rng),
            full_well=full_well,
            saturation=np.float32(_SATURATION_MARGIN) * full_well,
            mask=mask,
            refout_level=20300 + 60 * rng.standard_normal((rows, columns // 4), dtype=np.float32),
        )

    def cut(self, subarray: Subarray) -> Detector:
        """Cut a subarray out of the FULL array.

        Parameters
        ----------
        subarray : Subarray
            1-based in the FULL array.

        Returns
        -------
        Detector
            With maps of the subarray's shape.

        Raises
        ------
        InvalidInput
            This detector is not the FULL array.
        """
        if self.mask.shape != FULL_SHAPE:
            msg = f"A subarray is cut out of the FULL array, but this part of {self.name} has shape {self.mask.shape}."
            raise InvalidInput(msg)
        y, x = subarray.slices
        maps = {f.name: getattr(self, f.name) for f in fields(self)}
        cuts: dict[str, Any] = {k: v[..., y, x] for k, v in maps.items() if isinstance(v, np.ndarray)}
        cuts["refout_level"] = self.refout_level[y, x.start // 4 : x.stop // 4]
        # A view would keep 60 MB of the FULL array alive behind each small exposure.
        cuts = {k: np.ascontiguousarray(v) for k, v in cuts.items()}
        return replace(self, **cuts)

    def linearise(self, raw: Map, *, scale: float = 1.0) -> Map:
        """Correct a frame for non-linearity.

        Parameters
        ----------
        raw : ndarray of float32, shape (..., ny, nx)
            Raw DN.
        scale : float
            Factor of the quadratic and the cubic coefficient.

        Returns
        -------
        ndarray of float32, shape (..., ny, nx)
            Linear DN.
        """
        c0, c1, c2, c3 = self.linearity
        s = np.float32(scale)
        linear: Map = c0 + raw * (c1 + raw * (s * c2 + raw * (s * c3)))
        return linear

    def delinearise(self, linear: Map) -> Map:
        """Give the raw DN of a linear signal: the inverse of `linearise`, to some hundredths of a DN.

        Parameters
        ----------
        linear : ndarray of float32, shape (ny, nx)
            Linear DN, of any size; what is far above the full well is cut there.

        Returns
        -------
        ndarray of float32, shape (ny, nx)
            Raw DN.
        """
        c0, c1, c2, c3 = self.linearity
        y = np.minimum(linear, np.float32(72000)) - c0
        x = y * (1 - y * (c2 + y * c3))
        # The start is off by some 100 DN at the full well; one step of Newton's leaves the square of that times c2.
        raw: Map = x - (x * (c1 + x * (c2 + x * c3)) - y) / (c1 + x * (2 * c2 + 3 * x * c3))
        return raw

    def reset_anomaly(self, ngroups: int) -> Map:
        """Give the decay that follows a reset, as JWST's reset reference would hold it.

        Parameters
        ----------
        ngroups : int
            Groups of an integration.

        Returns
        -------
        ndarray of float32, shape (ngroups,)
            Raw DN on top of the signal, equal for all pixels.
        """
        return (12 * np.exp(-np.arange(ngroups) / 1.5)).astype(np.float32)

    def edge_effects(self, ngroups: int) -> Map:
        """Give what the first and the last group of an integration are off by; no calibration corrects it.

        Parameters
        ----------
        ngroups : int
            Groups of an integration.

        Returns
        -------
        ndarray of float32, shape (ngroups,)
            Raw DN, zero in the groups between.
        """
        effect = np.zeros(ngroups, np.float32)
        effect[-1] -= 8
        effect[0] -= 40
        return effect


def _normal(rng: Generator) -> Map:
    return rng.standard_normal(FULL_SHAPE, dtype=np.float32)


def _draw_mask(rng: Generator) -> NDArray[np.uint32]:
    chance = rng.random(FULL_SHAPE, dtype=np.float32)
    mask = np.zeros(FULL_SHAPE, np.uint32)
    mask[chance < _DEAD_FRACTION] = DEAD | DO_NOT_USE
    mask[chance > 1 - _HOT_FRACTION] = HOT | DO_NOT_USE
    for columns in miri.IMAGER.reference_columns:
        mask[:, columns] = REFERENCE_PIXEL | DO_NOT_USE
    return mask


def _draw_bias(rng: Generator, mask: NDArray[np.uint32]) -> Map:
    # Four amplifiers read the columns in turn, so that the level repeats every four columns.
    amplifiers = 250 * rng.standard_normal(4, dtype=np.float32)
    rows, columns = FULL_SHAPE
    tilt = np.linspace(0, 400, rows, dtype=np.float32)[:, None]
    bias: Map = 12000 + np.tile(amplifiers, columns // 4) + tilt + 300 * _normal(rng)
    bias[(mask & REFERENCE_PIXEL) != 0] += 2000
    return bias


def _draw_dark_current(rng: Generator, mask: NDArray[np.uint32]) -> Map:
    dark: Map = np.float32(0.03) * np.exp(np.float32(0.4) * _normal(rng))
    hot = (mask & HOT) != 0
    dark[hot] = 10 ** rng.uniform(1.3, 3.5, int(hot.sum()))
    dark[(mask & REFERENCE_PIXEL) != 0] = 0
    return dark


def _draw_linearity(rng: Generator) -> Map:
    coefficients = np.zeros((4, *FULL_SHAPE), np.float32)
    coefficients[1] = 1
    coefficients[2] = 6e-7 * (1 + np.float32(0.05) * _normal(rng))
    coefficients[3] = 1e-12
    return coefficients
