"""Statistics of one array in one pass: what the index knows of a dataset without opening it."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..system.scratch import Room

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["Accumulator", "Statistics", "agree"]

_BLOCK = 1 << 18
"""Elements per step, about, that have a mean of their own; with fewer, threads wait for each other's calls."""

_AT_ONCE = 1 << 16
"""Elements that are made doubles at a time: these half megabytes stay in the cache, where two megabytes did not."""

_LONG = 512
"""Elements of the vectors whose scalar product is a sum; BLAS starts threads for vectors of 10,000."""

_SHORT = 256
"""The same for single bytes: the squares of 256 are below the 2**24 up to which each integer is a float32."""

_CANCELLED = 1 / 4096
"""Part of the sum of squares that the squared deviations from the mean are at least, if they are taken from it.

That is a step over the elements less; where the mean is beyond 64 scatters, too many digits would cancel each other.
"""

_ROUNDING = 1e-12
"""By how much sums of the same numbers may differ, of the larger of mean and scatter."""

_room = Room()


@dataclass(frozen=True, slots=True)
class Statistics:
    """Summary of a numeric array, NaN ignored.

    Attributes
    ----------
    min, max, mean, std : float or None
        In float64; None where no element is a number. `std` is the population's (ddof = 0), as in NumPy.
        An infinity makes `mean` infinite, infinities of both signs make it None; with them `std` is None, as it is
        where its square is beyond float64.
    n : int
        Number of elements.
    n_nan : int
        How many of them are NaN.
    n_flagged : int or None
        How many are not zero, for data quality arrays; None for all others.
    """

    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    n: int
    n_nan: int
    n_flagged: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Give a dictionary that JSON can hold; infinities become text, for JSON has none.

        Returns
        -------
        dict
            One item for each attribute.
        """
        return {name: _to_json(getattr(self, name)) for name in self.__slots__}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Statistics:
        """Read what `to_json` wrote.

        Parameters
        ----------
        record : mapping
            One item for each attribute.

        Returns
        -------
        Statistics
            Equal to the one that was written.

        Raises
        ------
        ValueError, TypeError, KeyError
            If it is no such record.
        """
        counts = (record["n"], record["n_nan"], record["n_flagged"] or 0)
        if any(type(count) is not int or count < 0 for count in counts):
            raise ValueError(f"not counts: {counts}")
        real = {k: None if record[k] is None else float(record[k]) for k in ("min", "max", "mean", "std")}
        return cls(**real, n=record["n"], n_nan=record["n_nan"], n_flagged=record["n_flagged"])


def agree(one: Statistics | None, other: Statistics | None) -> bool:
    """Compare statistics of the same array that were taken in other steps: sums differ in their last digits.

    Parameters
    ----------
    one, other : Statistics or None
        None for what has no statistics.

    Returns
    -------
    bool
        Whether both may be of one array.
    """
    if one is None or other is None or replace(one, mean=None, std=None) != replace(other, mean=None, std=None):
        return one is other
    size = max((abs(x) for x in (one.mean, one.std) if x is not None and math.isfinite(x)), default=0.0)
    return all(
        a is b if a is None or b is None else math.isclose(a, b, rel_tol=0, abs_tol=_ROUNDING * size)
        for a, b in ((one.mean, other.mean), (one.std, other.std))
    )


def _sums(part: NDArray[Any], mean: float = 0.0) -> tuple[float, float]:
    """Sum the elements and their squares, a mean taken off first.

    Scalar products of short vectors take half the time of squaring and summing elements; einsum takes as long as that,
    and `np.dot` of long ones starts BLAS's threads below ours. Of integers up to 16 bits both sums are exact.
    """
    dtype, length = (np.float32, _SHORT) if part.itemsize == 1 and not mean else (np.float64, _LONG)
    ones = _ones(length, dtype)
    total = squares = 0.0
    for start in range(0, part.size, _AT_ONCE):
        piece = part[start : start + _AT_ONCE]
        values = _room.take("values", piece.size * ones.itemsize).view(dtype)
        np.copyto(values, piece)
        if mean:
            np.subtract(values, mean, out=values)
        whole = values.size - values.size % length
        rows, rest = values[:whole].reshape(-1, 1, length), values[whole:]
        total += float(np.matmul(rows, ones).sum(dtype=np.float64) + rest.sum(dtype=np.float64))
        squares += float(np.matmul(rows, rows.transpose(0, 2, 1)).sum(dtype=np.float64) + np.dot(rest, rest))
    return total, squares


@functools.cache
def _ones(length: int, dtype: type[np.float32 | np.float64]) -> NDArray[Any]:
    return np.ones((length, 1), dtype)


def _to_json(value: float | None) -> float | str | None:
    return str(value) if isinstance(value, float) and math.isinf(value) else value


class Accumulator:
    """Takes an array block by block, in any order, and gives its statistics.

    Means and squared deviations of blocks are merged as in Chan, Golub & LeVeque (1983), so that the result
    does not lose digits where the mean is large against the scatter.

    Parameters
    ----------
    flags : bool, keyword-only
        Count the elements that are not zero (data quality arrays).
    """

    __slots__ = ("_flagged", "_flags", "_m2", "_max", "_mean", "_min", "_n", "_nan", "_numbers", "_pilot")

    def __init__(self, *, flags: bool = False) -> None:
        self._flags = flags
        self._n = self._nan = self._flagged = 0
        self._numbers = 0
        self._mean = self._m2 = 0.0
        self._pilot = 0.0  # is taken off all elements, so that those of the next step do not cancel as the last did
        self._min = math.inf
        self._max = -math.inf

    def add(self, block: NDArray[Any]) -> None:
        """Take in some elements.

        Parameters
        ----------
        block : ndarray
            Any shape; integers, booleans or floats in native byte order.
        """
        flat = block.reshape(-1)
        self._n += flat.size
        if self._flags:
            self._flagged += int(np.count_nonzero(flat))
        step = -(-flat.size // max(1, round(flat.size / _BLOCK)))
        for start in range(0, flat.size, max(1, step)):
            self._add_numbers(flat[start : start + step])

    def merge(self, other: Accumulator) -> None:
        """Take in all that another accumulator has taken in.

        Parameters
        ----------
        other : Accumulator
            Left as it is.
        """
        self._n += other._n
        self._nan += other._nan
        self._flagged += other._flagged
        self._merge_moments(other._numbers, other._mean, other._m2)
        self._min = min(self._min, other._min)
        self._max = max(self._max, other._max)

    def _add_numbers(self, part: NDArray[Any]) -> None:
        low = float(part.min()) if part.size else math.nan  # NaN if any element is
        if math.isnan(low):
            numbers = part[~np.isnan(part)]
            self._nan += part.size - numbers.size
            part = numbers
            if part.size == 0:
                return
            low = float(part.min())
        high = float(part.max())
        self._min, self._max = min(self._min, low), max(self._max, high)
        if low == high and math.isfinite(low):
            self._merge_moments(part.size, low, 0.0)
            return
        with np.errstate(invalid="ignore", over="ignore"):
            total, squares = _sums(part, self._pilot)
            mean = self._pilot + total / part.size
            if not math.isfinite(mean):  # the sum is beyond float64, or there are infinities
                mean = float((part.astype(np.float64) / part.size).sum())
            m2 = squares - total * (total / part.size)
            if not m2 > _CANCELLED * squares:
                left, m2 = _sums(part, mean)  # what the mean's own rounding has left
                m2 -= min(m2, left / part.size * left)
                if math.isfinite(mean):
                    self._pilot = mean if part.dtype.kind == "f" else float(round(mean))
            self._merge_moments(part.size, mean, m2)

    def _merge_moments(self, n: int, mean: float, m2: float) -> None:
        if n == 0:
            return
        total = self._numbers + n
        if self._numbers == 0:
            self._mean, self._m2 = mean, m2
        else:
            delta = mean - self._mean
            share = n / total  # first: the product of a large difference and a count may be beyond float64
            if math.isfinite(delta):
                self._mean += delta * share
            else:
                self._mean = self._mean / total * self._numbers + mean / total * n
            self._m2 += m2 + delta * delta * share * self._numbers
        self._numbers = total

    def result(self) -> Statistics:
        """Give the statistics of all that was added.

        Returns
        -------
        Statistics
            With None for min, max, mean and std where nothing but NaN was added.
        """
        flagged = self._flagged if self._flags else None
        if self._numbers == 0:
            return Statistics(None, None, None, None, self._n, self._nan, flagged)
        mean: float | None = self._mean
        if math.isinf(self._min) or math.isinf(self._max):
            opposite = self._min == -math.inf and self._max == math.inf
            mean = None if opposite else (self._max if math.isinf(self._max) else self._min)
        variance = self._m2 / self._numbers
        std = math.sqrt(variance) if math.isfinite(variance) else None
        return Statistics(self._min, self._max, mean, std, self._n, self._nan, flagged)
