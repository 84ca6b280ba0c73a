"""One trend under two calibrations: whether a change is the detector's, or that of a reference file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import InvalidInput
from .alarms import find_shifts
from .amplifiers import AMPLIFIERS
from .robust import MEDIAN_ERROR, NORMAL_MAD

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from .levels import Levels

    Vector = NDArray[np.float64]
    Settings = Mapping[str, str]
    Record = dict[str, Any]

__all__ = ["CAUSES", "comparison_records"]

CAUSES: Final = ("detector", "reference", "unknown")
"""Causes of a change: the detector, if both calibrations show it; a reference file or a setting of the pipeline, if it
changed there, and only the calibration in which it changed shows it; unknown otherwise."""

_CHANGED: Final = 4.6
"""Significance from which a level has changed; higher than that of an alarm, for nothing hurries here."""
_SIGNIFICANT: Final = 3.0
"""Standard errors from which one calibration shows a change that was found in the other."""
_NEAR: Final = 1
"""Exposures between two onsets that are one change."""
_FLOOR: Final = 1e-3
"""Smallest noise of the difference of two calibrations, in units of the noise of either."""


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """Exposures of a part of the detector in two calibrations, by time.

    `exposures` are those of the first; `values` are the levels, of shape (2, n, 4); `settings` what each version was
    made with, by calibration and exposure.
    """

    name: str
    detector: str
    exposures: list[dict[str, Any]]
    values: NDArray[np.float64]
    settings: Sequence[Sequence[Settings]]


def comparison_records(
    first: Sequence[Levels], second: Sequence[Levels], settings_of: Callable[[Sequence[int]], Sequence[Settings]]
) -> list[Record]:
    """Compare the levels of amplifiers in the same exposures under two calibrations.

    Parameters
    ----------
    first, second : sequence of Levels
        Of two monitors of the same exposures, e.g. with the tags of two calibrations; see `read_levels`.
    settings_of : callable
        Gives for the serials of versions what they were made with, by keyword: reference files, states of the
        pipeline's steps, its version.

    Returns
    -------
    list of dict
        By detector and part of it, amplifier and time. ``change`` is False in the row on the whole series: ``first``
        and ``second`` are the median levels there, in DN/s. It is True in rows on changes, and these are the sizes of
        the change in the two calibrations. ``difference`` is that of second and first, with its standard ``error``
        (median of the whole series; of a change). ``cause`` is ``detector``, ``reference`` or ``unknown``, and None for
        a whole series without a difference. ``references`` lists what differs between the calibrations, or what changed
        with a change, e.g. ``R_GAIN: old.fits → new.fits``. ``detector, subarray, amplifier, onset`` (of a change),
        ``urn`` (first exposure after it, in the first calibration) and ``exposures`` (their number).

    Raises
    ------
    InvalidInput
        If the monitors have no exposure in common.
    """
    pairs = _pairs(first, second, settings_of)
    if not pairs:
        raise InvalidInput(
            "the two monitors have no exposure in common: none has the same name, start, detector and subarray"
        )
    found = []
    for pair in pairs:
        for amplifier in range(1, AMPLIFIERS + 1):
            head = {"detector": pair.detector, "subarray": pair.name, "amplifier": amplifier}
            rows = _compare(pair, pair.values[:, :, amplifier - 1])
            found += [{**head, **row, "exposures": len(pair.exposures)} for row in rows]
    return found


def _pairs(
    first: Sequence[Levels], second: Sequence[Levels], settings_of: Callable[[Sequence[int]], Sequence[Settings]]
) -> list[_Pair]:
    """Join strata that differ by their calibration only, and take the exposures that both monitors have."""
    sides = [_by_place(levels) for levels in (first, second)]
    pairs = []
    for place in sorted(sides[0].keys() & sides[1].keys()):
        there = [sides[k][place] for k in range(2)]
        names = sorted(there[0].keys() & there[1].keys(), key=lambda key: (key[1], key[0]))
        if not names:
            continue
        exposures = [[side[key][0] for key in names] for side in there]
        values = np.array([[side[key][1] for key in names] for side in there])
        settings = [settings_of([row["serial"] for row in rows]) for rows in exposures]
        pairs.append(_Pair(" ".join(place[1:3]), place[0], exposures[0], values, settings))
    return pairs


def _by_place(levels: Sequence[Levels]) -> dict[tuple[Any, ...], dict[tuple[str, datetime], tuple[Any, Vector]]]:
    """Sort exposures with their levels by what is left of their stratum without its calibration, name and start."""
    found: dict[tuple[Any, ...], dict[tuple[str, datetime], tuple[Any, Vector]]] = {}
    for part in levels:
        s = part.stratum
        place = found.setdefault((s.detector, s.subarray, s.readpatt, s.light, s.x, s.y, s.columns, s.rows), {})
        for exposure, values in zip(part.exposures, part.values, strict=True):
            place[exposure["name"], exposure["time"]] = exposure, values
    return found


def _compare(pair: _Pair, values: NDArray[np.float64]) -> list[Record]:
    """Compare one amplifier; `values` has the shape (2, n)."""
    both = np.isfinite(values).all(axis=0)
    difference = np.where(both, values[1] - values[0], np.nan)
    rows = [_whole(pair, values, difference)]
    noises = [_noise_of(series) for series in values]
    noise = max(_noise_of(difference), _FLOOR * max(noises))
    borders = _onsets(values, difference, noise)
    edges = [0, *borders, values.shape[1]]
    for i, onset in enumerate(borders):
        sides = slice(edges[i], onset), slice(onset, edges[i + 2])
        sizes = [_step(series, sides, sigma) for series, sigma in zip(values, noises, strict=True)]
        apart = _step(difference, sides, noise)
        rows += _attribute(pair, onset, sizes, apart)
    return rows


@dataclass(frozen=True, slots=True)
class _Size:
    """Size of a change, and its standard error."""

    value: float
    error: float

    @property
    def significant(self) -> bool:
        return abs(self.value) > _SIGNIFICANT * self.error


def _step(series: Vector, sides: tuple[slice, slice], sigma: float) -> _Size:
    parts = [series[side][np.isfinite(series[side])] for side in sides]
    if not (parts[0].size and parts[1].size):
        return _Size(0.0, float("inf"))
    error = sigma * (1 / parts[0].size + 1 / parts[1].size) ** 0.5
    return _Size(float(np.median(parts[1]) - np.median(parts[0])), MEDIAN_ERROR * error)


def _noise_of(series: Vector) -> float:
    """Give the standard deviation of one value, from the differences of successive ones."""
    known = series[np.isfinite(series)]
    if len(known) < 3:
        return 0.0
    return NORMAL_MAD * float(np.median(np.abs(np.diff(known)))) / 2**0.5


def _onsets(values: NDArray[np.float64], difference: Vector, noise: float) -> list[int]:
    """Give the exposures at which any of the series changes; those of the difference are the most exact."""
    found = [shift.onset for shift in find_shifts(difference, floor=noise, limit=_CHANGED)]
    for series in values:
        onsets = [shift.onset for shift in find_shifts(series, limit=_CHANGED)]
        found += [onset for onset in onsets if all(abs(onset - old) > _NEAR for old in found)]
    return sorted(found)


def _attribute(pair: _Pair, onset: int, sizes: Sequence[_Size], apart: _Size) -> list[Record]:
    """Say which cause a change has; one row, or two if detector and reference file changed at once."""
    names = [_changes(settings, onset) for settings in pair.settings]
    row = _row(pair, onset, sizes, apart)
    if not apart.significant:
        common = sorted({*names[0]} & {*names[1]})  # the same file changed in both calibrations
        return [{**row, "cause": "unknown" if common else "detector", "references": common}]
    changed = [k for k in range(2) if names[k]]
    if len(changed) != 1:
        seen = all(size.significant for size in sizes) and sizes[0].value * sizes[1].value > 0
        cause = "detector" if seen and not changed else "unknown"
        return [{**row, "cause": cause, "references": sorted({*names[0], *names[1]})}]
    (k,) = changed
    reference = {**row, "cause": "reference", "references": names[k]}
    other = sizes[1 - k]
    if not other.significant:
        return [reference]
    # Both at once: the calibration whose settings stayed shows what the detector did, the rest is the reference file's.
    detector = _row(pair, onset, [other, other], _Size(0.0, apart.error))
    rest = {key: size.value - other.value for key, size in zip(("first", "second"), sizes, strict=True)}
    return [{**detector, "cause": "detector", "references": []}, {**reference, **rest}]


def _row(pair: _Pair, onset: int, sizes: Sequence[_Size], apart: _Size) -> Record:
    exposure = pair.exposures[onset]
    return {
        "change": True,
        "onset": exposure["time"],
        "urn": exposure["urn"],
        "first": sizes[0].value,
        "second": sizes[1].value,
        "difference": apart.value,
        "error": apart.error,
    }


def _whole(pair: _Pair, values: NDArray[np.float64], difference: Vector) -> Record:
    known = difference[np.isfinite(difference)]
    middles = [float(np.median(part)) if part.size else None for part in (v[np.isfinite(v)] for v in values)]
    middle = float(np.median(known)) if known.size else None
    error = MEDIAN_ERROR * _noise_of(difference) / known.size**0.5 if known.size > 2 else None
    names = _apart(pair)
    same = middle is None or middle == 0 or (error is not None and abs(middle) <= _SIGNIFICANT * error)
    return {
        "change": False,
        "onset": None,
        "urn": None,
        "first": middles[0],
        "second": middles[1],
        "difference": middle,
        "error": error,
        "cause": None if same else "reference" if names else "unknown",
        "references": names,
    }


def _changes(settings: Sequence[Settings], onset: int) -> list[str]:
    """Name what changed in a calibration with an exposure, or one exposure to either side."""
    found: list[str] = []
    for i in range(max(onset - _NEAR, 1), min(onset + _NEAR + 1, len(settings))):
        found += _differences(settings[i - 1], settings[i])
    return sorted(set(found))


def _apart(pair: _Pair) -> list[str]:
    """Name what differs between the two calibrations in any exposure."""
    found: set[str] = set()
    for one, other in zip(*pair.settings, strict=True):
        found.update(_differences(one, other))
    return sorted(found)


def _differences(one: Settings, other: Settings) -> list[str]:
    keys = sorted(one.keys() | other.keys())
    return [
        f"{key}: {one.get(key, 'none')} → {other.get(key, 'none')}" for key in keys if one.get(key) != other.get(key)
    ]
