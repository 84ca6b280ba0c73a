"""Random telegraph signal (RTS): pixels that jump to and fro between two levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .series import Series

    Matrix = NDArray[np.float64]

__all__ = ["Telegraph", "fit_telegraph"]

_ROUNDS: Final = 25
"""Of expectation and maximisation; levels of pixels at 4 sigma change by less than 1e-3 sigma after 15."""
_SMALLEST: Final = 1e-300


@dataclass(frozen=True, slots=True, eq=False)
class Telegraph:
    """Two-level model of some pixels.

    Attributes
    ----------
    low, high : ndarray of float64, shape (npixels,)
        Levels, DN/s.
    error : ndarray of float64, shape (npixels,)
        Standard error of `high` - `low`, DN/s.
    is_high : ndarray of bool, shape (n, npixels)
        The most probable state at each exposure (Viterbi's path).
    transitions : ndarray of intp, shape (npixels,)
        Changes of that path.
    occupancy : ndarray of float64, shape (npixels,)
        Fraction of the exposures at the high level.
    log_likelihood : ndarray of float64, shape (npixels,)
        Natural logarithm.
    """

    low: Matrix
    high: Matrix
    error: Matrix
    is_high: NDArray[np.bool_]
    transitions: NDArray[np.intp]
    occupancy: Matrix
    log_likelihood: Matrix


def fit_telegraph(series: Series) -> Telegraph:
    """Fit a hidden Markov model of two levels to each pixel; the noise is what the errors say.

    The Baum-Welch algorithm with Gaussian emissions, then Viterbi's path [1]_.

    Parameters
    ----------
    series : Series
        The pixels.

    Returns
    -------
    Telegraph
        The model, also where two levels are no better than one.

    References
    ----------
    .. [1] L. R. Rabiner, Proceedings of the IEEE 77 (1989) 257.
    """
    weights = series.weights
    rates = np.where(weights > 0, series.rates, 0.0)
    levels = _first_levels(series)
    stay = np.full((2, rates.shape[1]), 0.8)
    start = np.full((2, rates.shape[1]), 0.5)
    for _ in range(_ROUNDS):
        emission, logs = _emission(rates, weights, levels)
        posterior, pairs, likelihood = _forward_backward(emission, stay, start)
        share = posterior * weights[:, None]
        total = share.sum(axis=0)
        levels = np.where(total > 0, (share * rates[:, None]).sum(axis=0) / np.maximum(total, _SMALLEST), levels)
        stay = _new_stay(pairs)
        start = posterior[0]
    emission, logs = _emission(rates, weights, levels)
    posterior, _, likelihood = _forward_backward(emission, stay, start)
    path = _viterbi(emission, stay, start)
    share = (posterior * weights[:, None]).sum(axis=0)
    swap = levels[0] > levels[1]
    there = weights > 0
    is_high = np.where(swap, ~path, path)
    return Telegraph(
        low=levels.min(axis=0),
        high=levels.max(axis=0),
        error=np.sqrt((1 / np.maximum(share, _SMALLEST)).sum(axis=0)),
        is_high=is_high,
        transitions=np.count_nonzero(is_high[1:] != is_high[:-1], axis=0),
        occupancy=(is_high & there).sum(axis=0) / np.maximum(there.sum(axis=0), 1),
        log_likelihood=likelihood + logs,
    )


def _first_levels(series: Series) -> Matrix:
    """Take the means below and above the cut that divides the rates best, of nine."""
    weights = series.weights
    rates = np.where(weights > 0, series.rates, np.nan)
    ordered = np.sort(rates, axis=0)
    count = np.count_nonzero(np.isfinite(ordered), axis=0)
    filled = np.where(np.isfinite(ordered), ordered, 0.0)
    sums = np.cumsum(filled, axis=0)
    best = np.full(rates.shape[1], -np.inf)
    levels = np.zeros((2, rates.shape[1]))
    for share in np.arange(1, 10) / 10:
        k = np.clip((share * count).astype(np.intp), 1, np.maximum(count - 1, 1))
        below = np.take_along_axis(sums, k[None] - 1, axis=0)[0]
        low, high = below / k, (sums[-1] - below) / np.maximum(count - k, 1)
        between = k * (count - k) * (high - low) ** 2
        better = between > best
        best = np.where(better, between, best)
        levels = np.where(better, np.stack([low, high]), levels)
    return levels


def _emission(rates: Matrix, weights: Matrix, levels: Matrix) -> tuple[Matrix, Matrix]:
    """Give the likelihoods (n, 2, npixels), the larger of each pair being 1, and the sum of logarithms taken out."""
    log = -0.5 * weights[:, None] * (rates[:, None] - levels[None]) ** 2
    largest = log.max(axis=1, keepdims=True)
    return np.exp(log - largest), largest[:, 0].sum(axis=0)


def _forward_backward(emission: Matrix, stay: Matrix, start: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    n, _, npixels = emission.shape
    leave = 1 - stay
    forward = np.empty_like(emission)
    scale = np.empty((n, npixels))
    now = start * emission[0]
    for i in range(n):
        if i:
            now = (now * stay + (now * leave)[::-1]) * emission[i]
        np.maximum(now[0] + now[1], _SMALLEST, out=scale[i])
        now = np.divide(now, scale[i], out=forward[i])
    aheads = np.empty((n - 1, 2, npixels))
    posterior = np.empty_like(emission)
    posterior[-1] = forward[-1]
    scaled = emission / scale[:, None]
    backward = np.ones((2, npixels))
    for i in range(n - 1, 0, -1):
        ahead = np.multiply(scaled[i], backward, out=aheads[i - 1])
        backward = stay * ahead + leave * ahead[::-1]
        np.multiply(forward[i - 1], backward, out=posterior[i - 1])
    pairs = np.einsum("iap,ibp->abp", forward[:-1], aheads)  # from, to
    pairs *= np.where(np.eye(2, dtype=bool)[:, :, None], stay[:, None], leave[:, None])
    return posterior, pairs, np.log(scale).sum(axis=0)


def _new_stay(pairs: Matrix) -> Matrix:
    """Estimate the probability to stay; half a transition is added, so that none becomes impossible."""
    kept = np.stack([pairs[0, 0], pairs[1, 1]])
    left = np.stack([pairs[0, 1], pairs[1, 0]])
    return np.asarray((kept + 0.5) / (kept + left + 1))


def _viterbi(emission: Matrix, stay: Matrix, start: Matrix) -> NDArray[np.bool_]:
    n, _, npixels = emission.shape
    log = np.log(np.maximum(emission, _SMALLEST))
    keep, change = np.log(stay), np.log(1 - stay)
    score = np.log(np.maximum(start, _SMALLEST)) + log[0]
    came_from = np.empty((n, 2, npixels), bool)
    for i in range(1, n):
        stayed, changed = score + keep, (score + change)[::-1]
        came_from[i] = changed > stayed
        score = np.maximum(stayed, changed) + log[i]
    path = np.empty((n, npixels), bool)
    path[-1] = score[1] > score[0]
    for i in range(n - 1, 0, -1):
        switched = np.where(path[i], came_from[i, 1], came_from[i, 0])
        path[i - 1] = path[i] ^ switched
    return path
