"""Lives of pixels: what changes from exposure to exposure, and the table that tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from astropy.table import Table
    from numpy.random import Generator
    from numpy.typing import NDArray

    from .detector import Detector
    from .subarrays import Subarray

    Map = NDArray[np.float32]

__all__ = ["DECAY_HOURS", "NOISY_SCATTER", "PIXEL_LIFE", "PIXEL_STATES", "LifePlan", "LivesTruth", "draw_lives"]

_COLUMNS: Final[Mapping[str, tuple[str, str, str]]] = MappingProxyType(
    {
        "x": ("i4", "", "column in the FULL array, 1-based"),
        "y": ("i4", "", "row in the FULL array, 1-based"),
        "row": ("i4", "", "row in the subarray, 0-based"),
        "column": ("i4", "", "column in the subarray, 0-based"),
        "state": ("U8", "", "hot, step, rts, drift, unstable, noisy or glow"),
        "first": ("i4", "", "first exposure of the state, 0-based; of a glow, the one in which the pixel is saturated"),
        "end": ("i4", "", "exposure after the last one of the state, 0-based; the number of exposures while it lasts"),
        "rate": ("f8", "DN / s", "rate of the pixel apart from its state: its dark current"),
        "amplitude": (
            "f8",
            "DN / s",
            "what the state adds to the rate: of a drift, from the first exposure to the last; of an unstable pixel, "
            "standard deviation of the displacements; of a glow, right after the saturation; NaN for noisy",
        ),
        "sigmas": ("f8", "", "amplitude in standard errors of one exposure's mean; NaN for noisy"),
        "low": ("f8", "DN / s", "lower level of a telegraph; NaN for other states"),
        "high": ("f8", "DN / s", "upper level of a telegraph; NaN for other states"),
        "dwell_low": ("f8", "", "mean number of exposures that a telegraph stays low; NaN for other states"),
        "dwell_high": ("f8", "", "mean number of exposures that a telegraph stays high; NaN for other states"),
        "fraction": ("f8", "", "share of the exposures that are displaced; NaN unless unstable"),
        "anneal": ("i4", "", "anneal that healed a hot pixel, 0-based; -1 where none did"),
    }
)
"""Columns of the truth: type, unit and meaning."""

PIXEL_LIFE: Final = np.dtype([(name, kind) for name, (kind, _, _) in _COLUMNS.items()])
"""One pixel's life: the columns of `LivesTruth.lives`, which `LivesTruth.to_table` describes."""

NOISY_SCATTER: Final = 3.0
"""Scatter of a noisy pixel's integrations, in units of a quiet pixel's."""

DECAY_HOURS: Final = 2.24
"""Time constant of a glow, hours: a tenth is left after 5.16 h (arXiv:2512.15477)."""

_DWELL = 2.0, 10.0
"""Range of the mean dwell times of a telegraph, exposures."""

_UNSTABLE = 0.1, 0.3
"""Range of the share of exposures in which an unstable pixel is displaced."""

_OLD = 0.5
"""Share of the hot pixels that are hot from the first exposure on, where there are anneals."""


@dataclass(frozen=True, slots=True)
class LifePlan:
    """Which lives to draw.

    Attributes
    ----------
    number : int
        Number of exposures.
    lives : mapping of str to int
        Number of pixels by state, of `PIXEL_STATES`.
    amplitude : tuple of float
        Smallest and largest amplitude, standard errors of one exposure's mean.
    margin : int
        Exposures before and after each change at least.
    anneals : tuple of int
        First exposure after each anneal, 0-based.
    heal_probability : float
        Probability with which a hot pixel heals at an anneal.
    hours : float
        Hours from one exposure to the next.
    """

    number: int
    lives: Mapping[str, int]
    amplitude: tuple[float, float]
    margin: int
    anneals: tuple[int, ...]
    heal_probability: float
    hours: float

    def __post_init__(self) -> None:
        if self.number < 1 or self.margin < 1:
            msg = f"There are {self.number} exposures and margin is {self.margin}; both must be 1 or more."
            raise InvalidInput(msg)
        if unknown := set(self.lives) - set(PIXEL_STATES):
            msg = f"Pixels can't be {', '.join(sorted(unknown))}; use {', '.join(PIXEL_STATES)}."
            raise InvalidInput(msg)
        for state, count in self.lives.items():
            if count < 0:
                msg = f"There can't be {count} {state} pixels; give 0 or more."
                raise InvalidInput(msg)
        least, largest = self.amplitude
        if not 0 < least <= largest < float("inf"):
            msg = f"amplitude is {least} to {largest}; give two positive numbers, the smaller one first."
            raise InvalidInput(msg)
        if not 0 <= self.heal_probability <= 1:
            msg = f"heal_probability is {self.heal_probability}; it must be a number from 0 to 1."
            raise InvalidInput(msg)
        self._check_margin()

    def _check_margin(self) -> None:
        needed = {
            "glow": 2 * self.margin,
            "step": 2 * self.margin,
            "hot": 2 * self.margin if self.anneals else 3 * self.margin,
            "drift": 2,
        }
        for state, least in needed.items():
            if self.lives.get(state, 0) and self.number < least:
                msg = (
                    f"With a margin of {self.margin}, {state} pixels need {least} exposures or more, and there are "
                    f"{self.number}; take more exposures (--number), or in Python a smaller margin."
                )
                raise InvalidInput(msg)
        bounds = [0, *self.anneals, self.number]
        if self.anneals and min(np.diff(bounds)) < self.margin:
            msg = (
                f"The anneals come before exposures {', '.join(map(str, self.anneals))} of {self.number}; each must "
                f"have {self.margin} exposures before it and after it (margin), and lie within the series."
            )
            raise InvalidInput(msg)


@dataclass(frozen=True, slots=True, eq=False)
class LivesTruth:
    """The truth about a campaign in which pixels change.

    Attributes
    ----------
    lives : ndarray of `PIXEL_LIFE`, shape (n,)
        One row for each pixel that is not quiet, in the order of `PIXEL_STATES`.
    offsets : ndarray of float32, shape (n, number)
        What the state adds to the pixel's rate in each exposure, DN/s. It is 0 for noisy pixels.
    quiet : ndarray of bool, shape (ny, nx)
        Good pixels that do not change. Dead, hot by the detector's mask, and reference pixels are neither quiet nor in
        `lives`.
    """

    lives: NDArray[np.void]
    offsets: Map
    quiet: NDArray[np.bool_]

    @property
    def telegraph(self) -> NDArray[np.bool_]:
        """Whether a telegraph is high in each exposure, shape (n, number); False in the rows of other states."""
        high: NDArray[np.bool_] = (self.lives["state"] == "rts")[:, None] & (self.offsets > 0)
        return high

    def to_table(self) -> Table:
        """Give the truth as a table.

        Returns
        -------
        astropy.table.Table
            The columns of `PIXEL_LIFE`, and ``offset`` and ``telegraph`` with an element for each exposure. Each column
            has a description, and DN/s as its unit where it is a rate.
        """
        from astropy.table import Table

        table = Table(self.lives)
        table["offset"] = self.offsets
        table["telegraph"] = self.telegraph
        for name, (_, unit, meaning) in _COLUMNS.items():
            table[name].description = meaning
            table[name].unit = unit or None
        table["offset"].unit = "DN / s"
        table["offset"].description = "what the state adds to the rate in each exposure"
        table["telegraph"].description = "whether a telegraph is high in each exposure; False for other states"
        return table


def draw_lives(
    plan: LifePlan, rng: Generator, *, detector: Detector, place: Subarray, standard_error: Map
) -> LivesTruth:
    """Draw which pixels change, when and by how much.

    Parameters
    ----------
    plan : LifePlan
        How many pixels of each state.
    rng : numpy.random.Generator
        Source of chance.
    detector : Detector
        The part that is read. Only pixels without a flag are drawn, each at most once.
    place : Subarray
        Where the part lies, 1-based in the FULL array.
    standard_error : ndarray of float32, shape (ny, nx)
        Standard error of one exposure's mean, DN/s.

    Returns
    -------
    LivesTruth
        The truth.

    Raises
    ------
    InvalidInput
        If there are more lives than good pixels.
    """
    good = detector.mask == 0
    states = np.repeat(list(PIXEL_STATES), [plan.lives.get(state, 0) for state in PIXEL_STATES])
    if len(states) > np.count_nonzero(good):
        msg = f"{len(states)} lives need as many good pixels, and there are {np.count_nonzero(good)}; ask for fewer."
        raise InvalidInput(msg)
    pixels = rng.choice(np.flatnonzero(good), len(states), replace=False)
    table = np.zeros(len(states), PIXEL_LIFE)
    table["state"] = states
    table["row"], table["column"] = np.unravel_index(pixels, good.shape)
    table["x"], table["y"] = table["column"] + place.xstart, table["row"] + place.ystart
    table["end"], table["anneal"] = plan.number, -1
    table["rate"] = detector.dark_current.flat[pixels]
    table["sigmas"] = rng.uniform(*plan.amplitude, len(states))
    table["amplitude"] = table["sigmas"] * standard_error.flat[pixels]
    for name in ("low", "high", "dwell_low", "dwell_high", "fraction"):
        table[name] = np.nan
    offsets = np.zeros((len(states), plan.number), np.float32)
    for state, live in _LIVES.items():
        chosen = np.flatnonzero(states == state)
        if len(chosen):
            part = table[chosen]
            offsets[chosen] = live(plan, rng, part)
            table[chosen] = part
    quiet = good.copy()
    quiet.flat[pixels] = False
    return LivesTruth(table, offsets, quiet)


def _during(plan: LifePlan, lives: NDArray[np.void]) -> NDArray[Any]:
    """Give the amplitude from ``first`` to ``end`` and 0 elsewhere, shape (n, number)."""
    exposures = np.arange(plan.number)
    lasting: NDArray[np.bool_] = (exposures >= lives["first"][:, None]) & (exposures < lives["end"][:, None])
    return np.where(lasting, lives["amplitude"][:, None], 0)


def _step(plan: LifePlan, rng: Generator, lives: NDArray[np.void]) -> NDArray[Any]:
    lives["first"] = rng.integers(plan.margin, plan.number - plan.margin, len(lives), endpoint=True)
    return _during(plan, lives)


def _hot(plan: LifePlan, rng: Generator, lives: NDArray[np.void]) -> NDArray[Any]:
    if plan.anneals:
        _heal(plan, rng, lives)
    else:
        lives["first"] = rng.integers(plan.margin, plan.number - 2 * plan.margin, len(lives), endpoint=True)
        lives["end"] = rng.integers(lives["first"] + plan.margin, plan.number - plan.margin, endpoint=True)
    return _during(plan, lives)


def _heal(plan: LifePlan, rng: Generator, lives: NDArray[np.void]) -> None:
    """Let hot pixels be there from the beginning or be born between the anneals, and heal at anneals only."""
    exposures = np.arange(plan.margin, plan.number - plan.margin + 1)
    apart = np.abs(exposures[:, None] - np.array(plan.anneals)).min(axis=1) >= plan.margin
    if apart.any():
        born = rng.random(len(lives)) >= _OLD
        lives["first"][born] = rng.choice(exposures[apart], np.count_nonzero(born))
    for i, anneal in enumerate(plan.anneals):
        is_hot = (lives["first"] < anneal) & (lives["anneal"] < 0)
        healed = is_hot & (rng.random(len(lives)) < plan.heal_probability)
        lives["anneal"][healed] = i
        lives["end"][healed] = anneal


def _rts(plan: LifePlan, rng: Generator, lives: NDArray[np.void]) -> NDArray[Any]:
    low, high = rng.uniform(*_DWELL, (2, len(lives)))
    lives["dwell_low"], lives["dwell_high"] = low, high
    lives["low"], lives["high"] = lives["rate"], lives["rate"] + lives["amplitude"]
    state = rng.random(len(lives)) < high / (low + high)
    offsets = np.empty((len(lives), plan.number))
    # Geometric dwell times: what exponential ones are in whole exposures.
    for i in range(plan.number):
        offsets[:, i] = state * lives["amplitude"]
        state ^= rng.random(len(lives)) < 1 / np.where(state, high, low)
    return offsets


def _drift(plan: LifePlan, _: Generator, lives: NDArray[np.void]) -> NDArray[Any]:
    return lives["amplitude"][:, None] * np.linspace(0, 1, plan.number)


def _unstable(plan: LifePlan, rng: Generator, lives: NDArray[np.void]) -> NDArray[Any]:
    displaced = np.maximum(np.rint(rng.uniform(*_UNSTABLE, len(lives)) * plan.number), 1)
    lives["fraction"] = displaced / plan.number
    places = rng.random((len(lives), plan.number)).argsort(axis=1)
    sizes = rng.standard_normal(places.shape) * lives["amplitude"][:, None]
    return np.where(places < displaced[:, None], sizes, 0)


def _noisy(plan: LifePlan, _: Generator, lives: NDArray[np.void]) -> NDArray[Any]:
    lives["amplitude"] = lives["sigmas"] = np.nan
    return np.zeros((len(lives), plan.number))


def _glow(plan: LifePlan, rng: Generator, lives: NDArray[np.void]) -> NDArray[Any]:
    lives["first"] = rng.integers(plan.margin, plan.number - plan.margin, len(lives), endpoint=True)
    since = plan.hours * (np.arange(plan.number) - lives["first"][:, None])
    decay = np.exp(-np.maximum(since, 0) / DECAY_HOURS)
    return np.where(since > 0, lives["amplitude"][:, None] * decay, 0)


_LIVES: Final[Mapping[str, Callable[[LifePlan, Generator, NDArray[np.void]], NDArray[Any]]]] = MappingProxyType(
    {
        "hot": _hot,
        "step": _step,
        "rts": _rts,
        "drift": _drift,
        "unstable": _unstable,
        "noisy": _noisy,
        "glow": _glow,
    }
)

PIXEL_STATES: Final = tuple(_LIVES)
"""What a pixel's life can be: hot, step, rts (random telegraph signal), drift, unstable, noisy, glow (persistence)."""
