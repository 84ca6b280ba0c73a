"""Conditions on arrays, element by element, and reductions that leave out what is not known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import QueryError
from ..model.reductions import reduce_elements
from .tree import Slice
from .values import OPERATORS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from .tree import Item

__all__ = ["Bools", "Mask", "index", "invert", "reduce_array", "reduce_mask"]

Bools = np.ndarray[Any, np.dtype[np.bool_]]


class Mask:
    """A condition on each element: known to be true, known to be false, or neither (NaN).

    Parameters
    ----------
    true : ndarray of bool
        Where it is known to be true.
    false : ndarray of bool, or callable
        Where it is known to be false, nowhere both; or what gives that: few answers need it.
    """

    __slots__ = ("_false", "true")

    def __init__(self, true: Bools, false: Bools | Callable[[], Bools]) -> None:
        self.true = true
        self._false = false

    @property
    def false(self) -> Bools:
        """Where it is known to be false."""
        if callable(self._false):
            self._false = self._false()
        return self._false

    @classmethod
    def of_answer(cls, answer: bool | None) -> Mask:
        """Spread one answer.

        Parameters
        ----------
        answer : bool or None
            None if unknown.

        Returns
        -------
        Mask
            Without axes.
        """
        return cls(np.asarray(answer is True), np.asarray(answer is False))

    @classmethod
    def of_numbers(cls, array: NDArray[Any]) -> Mask:
        """Take numbers as truth values: all but zero are true.

        Parameters
        ----------
        array : ndarray
            Numbers or truth values.

        Returns
        -------
        Mask
            Of the same shape.
        """
        if array.dtype.kind == "b":
            return cls(array, lambda: ~array)
        return cls.compare("!=", array, np.asarray(0))

    @classmethod
    def compare(cls, op: str, left: NDArray[Any], right: NDArray[Any]) -> Mask:
        """Compare element by element, floats in double precision.

        Parameters
        ----------
        op : str
            ``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=``.
        left, right : ndarray
            Numbers with numbers, bytes or texts with texts.

        Returns
        -------
        Mask
            Of their common shape; neither true nor false where one is NaN.

        Raises
        ------
        QueryError
            If numbers meet texts.
        """
        if (left.dtype.kind in "SU") != (right.dtype.kind in "SU") or "V" in left.dtype.kind + right.dtype.kind:
            raise QueryError(f"elements of type {left.dtype} and {right.dtype} can't be compared")
        if left.dtype.kind in "SU":
            left, right = left.astype("S"), right.astype("S")
        # With axes of length one, a float64 makes every NumPy compare in double precision, block by block; a number
        # that the other side's type can hold says the same in that type, in half the time.
        axes = max(left.ndim, right.ndim)
        left, right = (
            _narrowed(a, other).reshape((1,) * axes) if not a.ndim else a for a, other in ((left, right), (right, left))
        )
        true = np.asarray(OPERATORS[op](left, right))
        if op == "!=":  # the only one that NaN satisfies
            true &= ~(_nan(left) | _nan(right))
        return cls(true, lambda: ~(true | _nan(left) | _nan(right)))

    def both(self, other: Mask) -> Mask:
        """Join by ``and``.

        Parameters
        ----------
        other : Mask
            Of a shape that fits.

        Returns
        -------
        Mask
            Of the common shape.
        """
        return Mask(self.true & other.true, lambda: self.false | other.false)

    def either(self, other: Mask) -> Mask:
        """Join by ``or``.

        Parameters
        ----------
        other : Mask
            Of a shape that fits.

        Returns
        -------
        Mask
            Of the common shape.
        """
        return Mask(self.true | other.true, lambda: self.false & other.false)


def _narrowed(number: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    """Give a float as the other side's type, if that is a float which can hold it."""
    if number.dtype.kind != "f" or other.dtype.kind != "f" or other.dtype.itemsize >= number.dtype.itemsize:
        return number
    narrow = number.astype(other.dtype)
    return narrow if narrow == number else number


def _nan(array: NDArray[Any]) -> Any:
    return np.isnan(array) if array.dtype.kind == "f" else np.False_


def index(source: Any, items: Sequence[Item]) -> NDArray[Any] | None:
    """Read a part of a dataset or array.

    Parameters
    ----------
    source : Dataset or ndarray
        Where to read.
    items : sequence of Item
        Indices, slices, ``...``; or the name of a table's column.

    Returns
    -------
    ndarray or None
        None if there is no such part.
    """
    if isinstance(items[0], str):
        names: tuple[str, ...] = source.dtype.names or ()
        found = next((n for n in names if n.upper() == items[0].upper()), None)
        return None if found is None else np.asarray(source[found])
    key = tuple(slice(i.start, i.stop, i.step) if isinstance(i, Slice) else i for i in items)
    if sum(item is Ellipsis for item in key) > 1:
        raise QueryError("a subscript can have only one '...'")
    axes = [item for item in key if item is not Ellipsis]
    if len(axes) > len(source.shape):
        return None
    lengths = _lengths(key, source.shape)
    if any(isinstance(i, int) and not -n <= i < n for i, n in zip(axes, lengths, strict=True)):
        return None
    return np.asarray(source[key])


def _lengths(key: Sequence[Any], shape: Sequence[int]) -> list[int]:
    """Give the length of the axis that each item but ``...`` is for."""
    before = next((i for i, item in enumerate(key) if item is Ellipsis), len(key))
    after = len(key) - before - 1
    return [*shape[:before], *(shape[len(shape) - after :] if after > 0 else ())]


def invert(array: NDArray[Any]) -> NDArray[Any]:
    """Invert the bits.

    Parameters
    ----------
    array : ndarray
        Integers or truth values.

    Returns
    -------
    ndarray
        Of the same type.
    """
    if array.dtype.kind not in "iub":
        raise QueryError("only integers have bits")
    return np.asarray(np.invert(array))


def reduce_mask(function: str, mask: Mask, axis: tuple[int, ...] | None) -> Any:
    """Reduce a condition on each element, leaving out the unknown ones.

    Parameters
    ----------
    function : str
        ``any``, ``all``, ``sum`` (how many are true), ``mean`` (which part is).
    mask : Mask
        The condition.
    axis : tuple of int or None
        Axes to reduce; all if None.

    Returns
    -------
    bool, float, None, ndarray or Mask
        None if nothing is known of any element; with `axis`, a Mask for ``any`` and ``all``, else an array.

    Raises
    ------
    QueryError
        For other functions.
    """
    if not _has_axes(mask.true, axis):
        return None
    some, others = np.asarray(mask.true.any(axis=axis)), np.asarray(mask.false.any(axis=axis))
    if function in ("any", "all"):
        reduced = Mask(some, others & ~some) if function == "any" else Mask(some & ~others, others)
        if axis is not None:
            return reduced
        return True if reduced.true else False if reduced.false else None
    if function not in ("sum", "mean"):
        raise QueryError(f"{function} takes numbers; a condition on elements has any, all, sum and mean")
    count = np.asarray(mask.true.sum(axis=axis), np.float64)
    known = count + mask.false.sum(axis=axis)
    counted = np.where(known > 0, count if function == "sum" else count / known, np.nan)
    return counted if axis is not None else counted[()]


def reduce_array(function: str, array: NDArray[Any], axis: tuple[int, ...] | None) -> Any:
    """Reduce numbers in double precision, leaving out NaN.

    Parameters
    ----------
    function : str
        One of `REDUCTIONS`; ``std`` and ``var`` are the population's.
    array : ndarray
        Numbers.
    axis : tuple of int or None
        Axes to reduce; all if None.

    Returns
    -------
    float, bool, None, ndarray or Mask
        NaN where there is no number; None if an axis is not there.

    Raises
    ------
    QueryError
        For texts and tables.
    """
    if function in ("any", "all"):
        return reduce_mask(function, Mask.of_numbers(array), axis)
    if array.dtype.kind not in "buif":
        raise QueryError(f"{function} takes numbers, not elements of type {array.dtype}; of a table, name a column")
    if not _has_axes(array, axis):
        return None
    if array.dtype.kind != "f" and function != "median":  # which selects in the array's own type
        array = array.astype(np.float64)
    return reduce_elements(function, array, axis=axis)


def _has_axes(array: NDArray[Any], axis: tuple[int, ...] | None) -> bool:
    if axis is None:
        return True
    if not all(-array.ndim <= a < array.ndim for a in axis):
        return False
    if len({a % array.ndim for a in axis}) < len(axis):
        raise QueryError("an axis is named twice")
    return True
