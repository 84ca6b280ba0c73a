"""Comparisons that need less than all elements: of a median, of a sum, of a count.

How many elements lie beyond a number says on which side of it the median is: neither the median nor the whole count is
needed. What the extremes of a tile tell is not read, and reading ends as soon as the elements that are left can't
change the answer. A sum is the mean, which is known, times the number of elements.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .tree import Compare, Literal, Reduce, WholeArray, is_condition
from .values import OPERATORS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["count_is_enough", "shortcut_of"]

_EXACT = 2**53
"""Numbers up to which a float64 is an integer of its own."""

_SUM_ROUNDING = 1e-9
"""By how much a sum may differ from the mean times the number of elements, of that many of the largest element.

Both are rounded at each step: some 1e-12 for a thousand million elements.
"""

_MOST = 1e300
"""Of numbers whose mean is between them: the sum of larger ones may be beyond float64."""


def count_is_enough(node: Compare) -> Callable[[int], bool] | None:
    """Give a function that says when enough elements were counted to know the answer: counts only grow.

    Parameters
    ----------
    node : Compare
        Any comparison.

    Returns
    -------
    callable or None
        None where no count of a condition on elements is compared with a number.
    """
    left, right = node.left, node.right
    if not (isinstance(left, Reduce) and left.function == "sum" and left.axis is None and is_condition(left.operand)):
        return None
    number = _number_in(right)
    if number is None or node.op == "!=":
        return None
    if node.op in (">=", "<"):
        return lambda count: count >= number
    return lambda count: count > number


def shortcut_of(node: Compare) -> Callable[[Compare, Any], bool | None] | None:
    """Find a way to answer a comparison without all elements.

    Parameters
    ----------
    node : Compare
        Any comparison.

    Returns
    -------
    callable or None
        Is given the comparison and the one dataset in it; answers as `Reduce` and `Compare` would, or None where it
        can't tell. None where there is no such way.
    """
    left = node.left
    if not isinstance(left, Reduce) or left.axis is not None:
        return None
    operand = left.operand
    if isinstance(operand, WholeArray):
        return {"median": _compare_median, "sum": _compare_sum}.get(left.function)
    if left.function == "sum" and isinstance(operand, Compare) and isinstance(operand.left, WholeArray):
        return _compare_count
    return None


def _compare_median(node: Compare, dataset: Any) -> bool | None:
    """Hold the median of a whole array against a number.

    Counting does not tell of equality, nor of the numbers beside the middle of an even number of elements if they lie
    on both sides.
    """
    number, statistics = _number_in(node.right), _stored_statistics(dataset)
    if number is None or node.op not in _BEYOND or statistics is None:
        return None
    numbers = statistics.n - statistics.n_nan
    if numbers == 0 or not max(abs(statistics.min), abs(statistics.max)) < _MOST:
        return None
    half = numbers - numbers // 2
    strict = node.op in (">", "<=")
    beyond = _Beyond(strict, _as_element(number, dataset.dtype, strict=strict), half, half + 1 - numbers % 2)
    found = beyond.decide(dataset, statistics)
    return found if found is None or _BEYOND[node.op] else not found


def _compare_count(node: Compare, dataset: Any) -> bool | None:
    """Hold the number of elements on one side of a number against another number."""
    condition: Any = node.left.operand  # type: ignore[attr-defined]
    most, number, statistics = _number_in(node.right), _number_in(condition.right), _stored_statistics(dataset)
    if most is None or number is None or statistics is None:
        return None
    if node.op not in _BEYOND or condition.op not in _BEYOND or statistics.n == statistics.n_nan:
        return None
    needed = math.floor(most) + 1 if node.op in (">", "<=") else math.ceil(most)
    if not _BEYOND[condition.op]:  # so many are on this side as are not beyond
        needed = statistics.n - statistics.n_nan + 1 - needed
    strict = condition.op in (">", "<=")
    found = _Beyond(strict, _as_element(number, dataset.dtype, strict=strict), needed, needed).decide(
        dataset, statistics
    )
    return found if found is None or _BEYOND[condition.op] == _BEYOND[node.op] else not found


def _stored_statistics(dataset: Any) -> Any:
    """Give the statistics of a stored array whose elements can be counted; of others they would have to be taken."""
    if getattr(dataset.source, "pieces", None) is None:
        return None
    if dataset.dtype.kind not in "iuf" or (dataset.dtype.kind != "f" and dataset.dtype.itemsize > 4):
        return None
    return dataset.statistics


_BEYOND = {">": True, ">=": True, "<": False, "<=": False}
"""Whether the comparison says that the median lies beyond the number, or that it does not."""


def _compare_sum(node: Compare, dataset: Any) -> bool | None:
    """Hold the sum of a whole array against a number, by its mean, which does not tell if they are nearly the same."""
    number, stored = _number_in(node.right), getattr(dataset.source, "pieces", None) is not None
    known = dataset.statistics if stored else None  # they would be taken of an array in memory
    if number is None or known is None or known.mean is None or not max(abs(known.min), abs(known.max)) < _MOST:
        return None
    numbers = known.n - known.n_nan
    total, reach = known.mean * numbers, max(abs(known.min), abs(known.max)) * numbers
    if not abs(total - number) > _SUM_ROUNDING * reach:
        return None
    return bool(OPERATORS[node.op](total, number))


def _number_in(node: Any) -> float | int | None:
    if not isinstance(node, Literal) or isinstance(node.value, bool) or not isinstance(node.value, (int, float)):
        return None
    if isinstance(node.value, float):
        return node.value if math.isfinite(node.value) else None
    return node.value if abs(node.value) <= _EXACT else None


def _as_element(number: float, dtype: np.dtype[Any], *, strict: bool) -> Any:
    """Give a number of the array's own type that the same elements lie beyond: two types compare at half the speed."""
    if dtype.kind != "f":
        bound = math.floor(number) if strict else math.ceil(number)
        known = np.iinfo(dtype)
        return dtype.type(bound) if known.min <= bound <= known.max else np.float64(number)
    with np.errstate(over="ignore"):
        near = dtype.type(number)
    if strict and float(near) > number:
        near = np.nextafter(near, dtype.type(-math.inf))
    if not strict and float(near) < number:
        near = np.nextafter(near, dtype.type(math.inf))
    return near


@dataclass(slots=True)
class _Beyond:
    """Counts the elements beyond a number: those greater, or those not smaller.

    The median is beyond it if `most` elements are, and is not if fewer than `least` are. With an even number of
    elements they differ by one, and between them the two in the middle lie on both sides.
    """

    strict: bool
    bound: Any
    least: int
    most: int
    counted: int = 0
    left: int = 0

    def decide(self, dataset: Any, statistics: Any) -> bool | None:
        self.left = statistics.n
        readers = dataset.pieces(lambda *known: self._choose(statistics.n_nan, *known), lend=True)
        with contextlib.closing(readers):
            for elements in readers:
                self.counted += int(np.count_nonzero(self._is_beyond(elements)))
                self.left -= elements.size
                if self._answer() is not None:
                    break
        return self._answer()

    def _is_beyond(self, elements: NDArray[Any]) -> Any:
        return elements > self.bound if self.strict else elements >= self.bound

    def _answer(self) -> bool | None:
        if self.counted >= self.most:
            return True
        return False if self.counted + self.left < self.least else None

    def _choose(self, nan: int, low: NDArray[Any], high: NDArray[Any], sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Count the tiles of which all elements are beyond, pass over those that have none, and read the others.

        Where elements are NaN, nobody knows how many of a tile are, and only the second are passed over, unless both
        tell enough.
        """
        every, none = self._is_beyond(low), ~self._is_beyond(high) & (high == high)
        sure, gone = int(sizes[every].sum()), int(sizes[none].sum())
        if sure - nan >= self.most:
            self.counted = self.most
            return np.zeros_like(every)
        self.left -= gone
        if nan:
            return ~none if self._answer() is None else np.zeros_like(every)
        self.counted += sure
        self.left -= sure
        return ~(every | none) if self._answer() is None else np.zeros_like(every)
