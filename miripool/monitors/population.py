"""Population: what is usual among the pixels of a stratum, and how each pixel compares."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .robust import NORMAL_MAD, quantile
from .scatter import noise_level
from .series import noise_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .blocks import Block

    Matrix = NDArray[np.float64]

__all__ = ["Measures", "Population", "measure", "population_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Measures:
    """What the population is made of: one number for each pixel.

    Attributes
    ----------
    noise : ndarray of float64, shape (npixels,)
        From exposure to exposure, in units of the errors.
    inner_noise : ndarray of float64, shape (npixels,)
        Among the integrations of the exposures, in units of the errors.
    excess : ndarray of float64, shape (npixels,)
        Mean rate less that of the neighbours, DN/s.
    variance : ndarray of float64, shape (npixels,)
        Square of its standard error.
    """

    noise: Matrix
    inner_noise: Matrix
    excess: Matrix
    variance: Matrix


@dataclass(frozen=True, slots=True)
class Population:
    """What is usual among the pixels of a stratum.

    Attributes
    ----------
    noise : float
        Median noise from exposure to exposure, in units of the errors.
    inner_noise : float
        Median noise among integrations, in units of the errors.
    inner_spread : float
        Robust standard deviation of it between pixels.
    excess : float
        Median difference of a pixel from its neighbours, DN/s.
    spread : float
        Standard deviation of the mean rates between pixels, beyond their errors, DN/s.
    """

    noise: float
    inner_noise: float
    inner_spread: float
    excess: float
    spread: float


def measure(block: Block) -> Measures:
    """Measure the pixels of a block.

    Parameters
    ----------
    block : Block
        The pixels.

    Returns
    -------
    Measures
        NaN where a pixel has no rates.
    """
    weights = block.series.weights
    total = weights.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(weights > 0, weights * block.series.rates, 0.0).sum(axis=0) / total
        return Measures(noise_of(block.series), noise_level(block.scatter, block.counts), mean - block.level, 1 / total)


def population_of(parts: Sequence[Measures]) -> Population:
    """Sum up the pixels of all blocks.

    Parameters
    ----------
    parts : sequence of Measures
        In the order of the blocks.

    Returns
    -------
    Population
        Its noise is 1 where it can't be measured.
    """
    noise, inner, excess, variance = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("noise", "inner_noise", "excess", "variance")
    )
    middle, spread = _upper_spread(excess)
    own = _known(quantile(variance, 0.5), 0.0)
    usual = _known(quantile(noise, 0.5), 1.0)
    inner_middle, inner_spread = _upper_spread(inner)
    return Population(
        noise=usual,
        inner_noise=_known(inner_middle, 1.0),
        inner_spread=_known(inner_spread, 0.0),
        excess=_known(middle, 0.0),
        spread=math.sqrt(max(0.0, _known(spread, 0.0) ** 2 - usual**2 * own)),
    )


def _upper_spread(values: Matrix) -> tuple[float, float]:
    """Give the median, and the spread by MAD or, if it is larger, by the 84th percentile: dark currents have a tail."""
    middle = float(quantile(values, 0.5))
    mad = NORMAL_MAD * float(quantile(np.abs(values - middle), 0.5))
    return middle, max(mad, float(quantile(values, 0.8413)) - middle)


def _known(value: float | NDArray[np.floating], otherwise: float) -> float:
    number = float(value)
    return number if math.isfinite(number) else otherwise
