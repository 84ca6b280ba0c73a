"""States of pixels: which rules apply to a series, in which order, and the episodes that they give.

Each cause gives one episode: RTS goes before hot and warm, these before steps, and then drift, unstable and noisy.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from .drift import fit_line, theil_sen
from .population import Measures, Population, measure, population_of
from .robust import median
from .scatter import wide_component
from .segments import Segments, change_significance, split_significance, split_up
from .series import Series, tamed
from .telegraph import Telegraph, fit_telegraph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .blocks import Block
    from .thresholds import Thresholds

    Matrix = NDArray[np.float64]

__all__ = ["EPISODE", "STATES", "judge", "statistics_of"]

STATES: Final = ("hot", "warm", "dead", "low_qe", "open", "noisy", "rc", "rts", "unstable", "step", "drift")

EPISODE: Final = np.dtype(
    [
        ("pixel", "i8"),
        ("state", "S8"),
        ("begin", "i4"),
        ("end", "i4"),
        ("amplitude", "f8"),
        ("error", "f8"),
        ("significance", "f8"),
        ("fraction", "f8"),
        ("dwell", "f8"),
    ]
)
"""One episode. `begin` is the first exposure in the state, `end` the first out of it; the number of exposures while it
lasts. `fraction` is the share of exposures at the high level (rts) or away from the level (unstable); `dwell` the mean
number of exposures between changes (rts). Both are NaN for other states."""

_ON: Final = 5.0
"""Excess over the neighbours, in standard deviations, at which a pixel becomes hot [jwst_reffiles: 5]."""
_OFF: Final = 3.0
"""Excess at which it stops to be."""
_DEAD: Final = 0.05
_LOW_QE: Final = 0.5
_NOISY: Final = 1.5
"""Smallest noise, in units of what is usual, that counts as noisy [JWQL: 1.5]."""
_RTS_EVIDENCE: Final = 10.0
"""Difference of the Bayesian information criteria that two levels must be better."""
_RTS_APART: Final = 3.0
"""Standard deviations between the levels."""
_RTS_TRANSITIONS: Final = 3
_RTS_MINOR: Final = 0.1
"""Share of the exposures at the level with fewer of them."""
_FEWEST_SLOPES: Final = 3
"""Slopes of which one hit can be distinguished from the others."""
_FEWEST_AWAY: Final = 3
"""Exposures far from the level, from which a pixel can be unstable."""
_UNSTABLE_EVIDENCE: Final = 5.0
"""Logarithm of the likelihood ratio that a wide component must be better, however rare it is in quiet pixels."""
_MOST_CHANGES: Final = 4
"""Changes of level of a pixel that are listed one by one; a pixel with more of them is unstable."""


def judge(
    block: Block, measures: Measures, population: Population, thresholds: Thresholds, times: Matrix, *, light: str
) -> NDArray[np.void]:
    """Find the episodes of the pixels of a block.

    Parameters
    ----------
    block : Block
        The pixels.
    measures : Measures
        Theirs.
    population : Population
        Of all blocks.
    thresholds : Thresholds
        For this number of exposures.
    times : ndarray of float64, shape (n,)
        Of the exposures, days.
    light : {'dark', 'flat', 'sky'}
        What fell on the detector: hot and warm pixels are found in darks, dead, low-QE and open ones in flats.

    Returns
    -------
    ndarray of `EPISODE`
        In the order of pixels and begins.
    """
    factor = _factors(measures, population)
    series = tamed(block.series.scaled(factor))
    changed = _may_have_changed(series, thresholds)
    found: list[NDArray[np.void]] = []
    taken = np.zeros(series.rates.shape[1], bool)

    usual = block.series.scaled(population.noise)
    rts = _telegraphs(usual, thresholds, times)
    found.append(rts)
    taken[rts["pixel"]] = True

    segments = _without(_segments(series, changed & ~taken, thresholds), taken)
    line = fit_line(times, series)
    drifting = _drifting(series, line, segments, thresholds) & ~taken
    wavering = _wavering(usual, segments, thresholds) & ~taken & ~drifting
    if light == "dark":
        hot = _hot_throughout(block, segments, population)
        drifting, wavering = drifting & ~hot, wavering & ~hot
    explained = (drifting | wavering)[segments.pixel]  # by another episode
    if light == "dark":
        found.append(_hot(block, segments, population, thresholds, explained))
    elif light == "flat":
        found.append(_insensitive(block, segments, explained))
    found.append(_steps(segments, explained))
    for episodes in found:
        taken[episodes["pixel"]] = True
    found.append(_drifts(times, series, line, drifting & ~taken))
    found.append(_unstable(usual, wavering & ~taken))
    taken |= drifting | wavering
    found.append(_noisy(block, measures, population, thresholds, taken))
    episodes = np.concatenate(found)
    episodes = episodes[np.lexsort((episodes["begin"], episodes["pixel"]))]
    episodes["pixel"] += block.first
    return episodes


def statistics_of(block: Block, shortest: int) -> dict[str, Matrix]:
    """Give the statistics that are held against thresholds, for a population of pixels.

    Parameters
    ----------
    block : Block
        All pixels of the population.
    shortest : int
        Exposures in a segment, at least.

    Returns
    -------
    dict of str to ndarray of float64, shape (npixels,)
        By the names of the thresholds.
    """
    measures = measure(block)
    population = population_of([measures])
    series = tamed(block.series.scaled(_factors(measures, population)))
    slope, error, _ = fit_line(np.arange(len(series.rates), dtype=np.float64), series)
    evidence = _wide(block.series.scaled(population.noise))[1]
    found = {
        "step": split_significance(series, shortest),
        "drift": np.abs(slope) / error,
        "unstable": evidence,
        "noise": measures.noise / population.noise,
        "inner_noise": measures.inner_noise / population.inner_noise,
    }
    return {name: np.nan_to_num(values, nan=0.0) for name, values in found.items()}


def _factors(measures: Measures, population: Population) -> Matrix:
    """Give the noise of each pixel in units of its errors: its own, or what is usual if that is larger."""
    own = np.where(np.isfinite(measures.noise), measures.noise, 0.0)
    return np.maximum(own, population.noise)


def _wide(series: Series) -> tuple[Matrix, Matrix, NDArray[np.bool_]]:
    """Give fraction and evidence of a wide component, 0 where fewer than three exposures are far; and which are far."""
    with np.errstate(invalid="ignore"):
        far = np.abs(series.rates - series.middle) > _OFF * series.errors
    some = np.flatnonzero(np.count_nonzero(far, axis=0) >= _FEWEST_AWAY)
    fraction, evidence = np.zeros((2, far.shape[1]))
    fraction[some], evidence[some] = wide_component(series.of(some))
    return fraction, evidence, far


def _episodes(state: str, pixel: NDArray[np.intp], **columns: object) -> NDArray[np.void]:
    made = np.zeros(len(pixel), EPISODE)
    made["pixel"], made["state"] = pixel, state.encode()
    made["fraction"] = made["dwell"] = np.nan
    for name, values in columns.items():
        made[name] = values
    return made


def _may_have_changed(series: Series, thresholds: Thresholds) -> NDArray[np.bool_]:
    split, window = change_significance(series, thresholds.shortest)
    return (split > thresholds.step) | (window > math.sqrt(2) * thresholds.step)


def _telegraphs(series: Series, thresholds: Thresholds, times: Matrix) -> NDArray[np.void]:
    """Find pixels of two levels: better than one level, one step, one line or wider noise by the BIC."""
    n = np.count_nonzero(series.weights, axis=0)
    weights = series.weights
    rates = np.where(weights > 0, series.rates, 0.0)
    total = np.maximum(weights.sum(axis=0), 1e-300)
    mean = (weights * rates).sum(axis=0) / total
    chi2 = (weights * (rates - mean) ** 2).sum(axis=0)
    wild = np.flatnonzero((n >= 6) & (chi2 > n - 1 + 4 * np.sqrt(2 * np.maximum(n - 1, 1))))
    if not wild.size:
        return _episodes("rts", wild)
    part = series.of(wild)
    model = fit_telegraph(part)
    chi2, n = chi2[wild], n[wild]
    log = np.log(n)
    rivals = np.stack(
        [
            chi2 + log,
            chi2 - split_significance(part, 1) ** 2 + 3 * log,
            fit_line(times, part)[2] + 2 * log,
            n * (1 + np.log(chi2 / n)) + 2 * log,
        ]
    )
    own = -2 * model.log_likelihood + 4 * log
    minor = np.minimum(model.occupancy, 1 - model.occupancy)
    typical = np.sqrt(n / total[wild])
    shortest = thresholds.shortest
    yes = (rivals.min(axis=0) - own > _RTS_EVIDENCE) & (model.high - model.low > _RTS_APART * typical)
    yes &= (model.transitions >= _RTS_TRANSITIONS) & (minor > np.maximum(_RTS_MINOR, (2 * shortest - 2) / n))
    return _as_telegraphs(wild[yes], model, yes, len(times))


def _as_telegraphs(pixel: NDArray[np.intp], model: Telegraph, yes: NDArray[np.bool_], n: int) -> NDArray[np.void]:
    amplitude = (model.high - model.low)[yes]
    return _episodes(
        "rts",
        pixel,
        end=n,
        amplitude=amplitude,
        error=model.error[yes],
        significance=amplitude / model.error[yes],
        fraction=model.occupancy[yes],
        dwell=n / (model.transitions[yes] + 1),
    )


def _segments(series: Series, changed: NDArray[np.bool_], thresholds: Thresholds) -> Segments:
    """Divide the series that may have changed; the others are one segment each."""
    n = len(series.rates)
    pixels = np.flatnonzero(changed)
    divided = split_up(series.of(pixels), thresholds.step, thresholds.shortest)
    steady = np.flatnonzero(~changed & (series.weights.sum(axis=0) > 0))
    weights = series.weights[:, steady]
    total = weights.sum(axis=0)
    rate = np.where(weights > 0, weights * series.rates[:, steady], 0.0).sum(axis=0) / total
    pixel = np.concatenate([pixels[divided.pixel], steady])
    begin = np.concatenate([divided.begin, np.zeros(len(steady), np.intp)])
    end = np.concatenate([divided.end, np.full(len(steady), n, np.intp)])
    order = np.lexsort((begin, pixel))
    rates = np.concatenate([divided.rate, rate])
    errors = np.concatenate([divided.error, 1 / np.sqrt(total)])
    return Segments(pixel[order], begin[order], end[order], rates[order], errors[order])


def _without(segments: Segments, left_out: NDArray[np.bool_]) -> Segments:
    keep = ~left_out[segments.pixel]
    return Segments(*(getattr(segments, name)[keep] for name in ("pixel", "begin", "end", "rate", "error")))


def _drifting(
    series: Series, line: tuple[Matrix, Matrix, Matrix], segments: Segments, thresholds: Thresholds
) -> NDArray[np.bool_]:
    """Find pixels that a straight line describes better than steps do."""
    npixels = series.rates.shape[1]
    slope, error, chi2 = line
    with np.errstate(invalid="ignore"):
        steep = np.abs(slope) / error > thresholds.drift
    n = np.maximum(np.count_nonzero(series.weights, axis=0), 1)
    weights = series.weights
    squares = np.where(weights > 0, weights * series.rates**2, 0.0).sum(axis=0)
    levels = np.bincount(segments.pixel, segments.rate**2 / segments.error**2, npixels)
    pieces = np.bincount(segments.pixel, minlength=npixels)
    steps = squares - levels + (2 * pieces - 1) * np.log(n)
    return np.asarray(steep & ((pieces <= 1) | (chi2 + 2 * np.log(n) < steps)))


def _drifts(
    times: Matrix, series: Series, line: tuple[Matrix, Matrix, Matrix], drifting: NDArray[np.bool_]
) -> NDArray[np.void]:
    pixel = np.flatnonzero(drifting)
    span = times[-1] - times[0] if len(times) else 0.0
    slope = theil_sen(times, series.rates[:, pixel])
    return _episodes(
        "drift",
        pixel,
        end=len(times),
        amplitude=slope * span,
        error=line[1][pixel] * span,
        significance=np.abs(line[0][pixel]) / line[1][pixel],
    )


def _joined(segments: Segments, on: NDArray[np.bool_], stay: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Give the number of the episode that each segment belongs to, -1 for none: hysteresis.

    An episode holds a segment that is on, and its neighbours of the same pixel that stay.
    """
    follows = np.r_[False, segments.pixel[1:] == segments.pixel[:-1]]
    run = np.cumsum(~(follows & stay & np.r_[False, stay[:-1]])) - 1
    count = np.bincount(run[on & stay], minlength=run[-1] + 1 if run.size else 0)
    return np.where(stay & (count[run] > 0), run, -1) if run.size else run


def _merge(
    state: str,
    segments: Segments,
    episode: NDArray[np.intp],
    amplitude: Matrix,
    significance: Matrix,
) -> NDArray[np.void]:
    inside = episode >= 0
    numbers, index = np.unique(episode[inside], return_inverse=True)
    weight = 1 / segments.error[inside] ** 2
    total = np.bincount(index, weight)
    pixel = np.zeros(len(numbers), np.intp)
    pixel[index] = segments.pixel[inside]
    begin = np.full(len(numbers), np.iinfo(np.intp).max)
    end = np.zeros(len(numbers), np.intp)
    largest = np.full(len(numbers), -np.inf)
    np.minimum.at(begin, index, segments.begin[inside])
    np.maximum.at(end, index, segments.end[inside])
    np.maximum.at(largest, index, significance[inside])
    return _episodes(
        state,
        pixel,
        begin=begin,
        end=end,
        amplitude=np.bincount(index, weight * amplitude[inside]) / total if len(numbers) else amplitude[:0],
        error=1 / np.sqrt(total),
        significance=largest,
    )


def _hot(
    block: Block, segments: Segments, population: Population, thresholds: Thresholds, explained: NDArray[np.bool_]
) -> NDArray[np.void]:
    """Find hot pixels, which stand out in every exposure, and warm ones, which only the mean of several shows."""
    excess, single, exposures = _excess(block, segments, population)
    mean = np.hypot(segments.error, population.spread)
    explained |= (exposures < _FEWEST_SLOPES) & (thresholds.shortest > 2)  # it may be a hit
    found = []
    for state, sigma in (("hot", single), ("warm", mean)):
        z = excess / sigma
        episode = _joined(segments, (z > _ON) & ~explained, (z > _OFF) & ~explained)
        found.append(_merge(state, segments, episode, excess, z))
        explained |= episode >= 0
    return np.concatenate(found)


def _excess(block: Block, segments: Segments, population: Population) -> tuple[Matrix, Matrix, Matrix]:
    """Give the excess of each segment over the neighbours, its sigma for one exposure, and the number of exposures."""
    exposures = _counts(block.series, segments)
    single = np.hypot(segments.error * np.sqrt(exposures), population.spread)
    return segments.rate - block.level[segments.pixel] - population.excess, single, exposures


def _hot_throughout(block: Block, segments: Segments, population: Population) -> NDArray[np.bool_]:
    """Tell which pixels are hot in all of their segments: whatever else they do, they are hot."""
    excess, single, _ = _excess(block, segments, population)
    npixels = block.series.rates.shape[1]
    there = np.bincount(segments.pixel, minlength=npixels)
    hot = np.bincount(segments.pixel, excess > _ON * single, npixels)
    return np.asarray((there > 0) & (hot == there))


def _insensitive(block: Block, segments: Segments, explained: NDArray[np.bool_]) -> NDArray[np.void]:
    """Find pixels that see less of a flat's light than their neighbours, beyond three standard errors."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = segments.rate / block.level[segments.pixel]
        error = segments.error / block.level[segments.pixel]
    found = []
    missing = block.level[segments.pixel] - segments.rate
    for state, below in (("dead", _DEAD), ("low_qe", _LOW_QE)):
        low = (ratio + _OFF * error < below) | ((ratio < below) & (error < below / _OFF))
        episode = _joined(segments, low & ~explained, low & ~explained)
        found.append(_merge(state, segments, episode, -missing, (1 - ratio) / error))
        explained |= episode >= 0
    return np.concatenate(found)


def _counts(series: Series, segments: Segments) -> Matrix:
    """Count the exposures of each segment that have a rate."""
    there = np.concatenate([np.zeros((1, series.rates.shape[1])), np.cumsum(series.weights > 0, axis=0)])
    return np.asarray(np.maximum(there[segments.end, segments.pixel] - there[segments.begin, segments.pixel], 1))


def _steps(segments: Segments, explained: NDArray[np.bool_]) -> NDArray[np.void]:
    """Find changes of level that no other episode explains. A return to the first level ends a step, and is none."""
    free = np.flatnonzero(~explained)
    pixel, rate, error = segments.pixel[free], segments.rate[free], segments.error[free]
    if not free.size:
        return _episodes("step", free)
    begins = np.r_[True, pixel[1:] != pixel[:-1]]
    first = np.flatnonzero(begins)[np.cumsum(begins) - 1]
    away = np.abs(rate - rate[first]) > _OFF * np.hypot(error, error[first])
    adjacent = np.r_[False, segments.end[free[:-1]] == segments.begin[free[1:]]] & ~begins
    steps = np.flatnonzero(adjacent & away)
    change = rate[steps] - rate[steps - 1]
    change_error = np.hypot(error[steps], error[steps - 1])
    return _episodes(
        "step",
        pixel[steps],
        begin=segments.begin[free[steps]],
        end=segments.end[free[steps]],
        amplitude=change,
        error=change_error,
        significance=np.abs(change) / change_error,
    )


def _wavering(series: Series, segments: Segments, thresholds: Thresholds) -> NDArray[np.bool_]:
    """Tell which pixels are far from their level now and then: better described so than by steps or by more noise."""
    npixels = series.rates.shape[1]
    _, evidence, _ = _wide(series)
    limit = np.maximum(max(thresholds.unstable, _UNSTABLE_EVIDENCE), _evidence_of_noise(series))
    mine = (evidence > limit)[segments.pixel]
    chosen = Segments(*(getattr(segments, name)[mine] for name in ("pixel", "begin", "end", "rate", "error")))
    pixel, pieces = np.unique(chosen.pixel, return_counts=True)
    if not pixel.size:
        return np.zeros(npixels, bool)
    part = series.of(pixel)
    levels = np.repeat(chosen.rate, chosen.end - chosen.begin).reshape(len(pixel), -1).T
    there = part.weights > 0
    log = np.log(np.count_nonzero(there, axis=0))
    constant, stepwise = (
        np.where(there, part.weights * (part.rates - level) ** 2, 0.0).sum(axis=0) for level in (part.middle, levels)
    )
    better = constant - 2 * evidence[pixel] + 2 * log < stepwise + (2 * pieces - 1) * log
    wavering = np.zeros(npixels, bool)
    wavering[pixel] = better | (pieces > _MOST_CHANGES + 1)
    return wavering


def _unstable(series: Series, wavering: NDArray[np.bool_]) -> NDArray[np.void]:
    pixel = np.flatnonzero(wavering)
    part = series.of(pixel)
    fraction, evidence, far = _wide(part)
    distance = median(np.where(far, np.abs(part.rates - part.middle), np.nan))
    error = median(part.errors) / np.sqrt(np.maximum(np.count_nonzero(far, axis=0), 1))
    return _episodes(
        "unstable",
        pixel,
        end=len(series.rates),
        amplitude=distance,
        error=error,
        significance=np.sqrt(2 * evidence),
        fraction=fraction,
    )


def _evidence_of_noise(series: Series) -> Matrix:
    """Give the logarithm of the likelihood of larger noise in all exposures, less that of the errors' own."""
    with np.errstate(invalid="ignore"):
        pulls = (series.rates - series.middle) / series.errors
    there = np.isfinite(pulls)
    n = np.maximum(np.count_nonzero(there, axis=0), 1)
    variance = np.maximum(np.where(there, pulls, 0.0) ** 2, 0).sum(axis=0) / n
    return np.where(variance > 1, 0.5 * n * (variance - 1 - np.log(np.maximum(variance, 1))), 0.0)


def _noisy(
    block: Block, measures: Measures, population: Population, thresholds: Thresholds, taken: NDArray[np.bool_]
) -> NDArray[np.void]:
    """Find pixels whose integrations or exposures scatter more than usual."""
    limit = max(_NOISY, 1 + _ON * population.inner_spread / population.inner_noise)
    inner = measures.inner_noise / population.inner_noise
    outer = measures.noise / population.noise
    with np.errstate(invalid="ignore"):
        yes = (inner > max(limit, thresholds.inner_noise)) | (outer > max(limit, thresholds.noise))
    pixel = np.flatnonzero(yes & ~taken)
    ratio = np.fmax(inner, outer)[pixel]
    typical = median(block.series.errors[:, pixel]) * population.noise
    n = np.maximum(np.count_nonzero(block.series.weights[:, pixel], axis=0), 2)
    error = ratio * typical / np.sqrt(2 * (n - 1))
    return _episodes(
        "noisy",
        pixel,
        end=len(block.series.rates),
        amplitude=ratio * typical,
        error=error,
        significance=(ratio - 1) * typical / error,
    )
