"""Reductions of arrays too large to hold: read tile by tile, each window reduced by itself, the results put together.

``(p.data > 5).sum()`` of a FULL ramp needs a few megabytes then, which stay in the processor's cache, and ``any`` and
``all`` stop as soon as the answer is known. What looks at neighbouring elements, or needs all of them in order
(``median``), is read whole.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..model.statistics import Accumulator
from ..model.tiles import grid, slabs, tile_shape
from .arrays import Bools, Mask, reduce_array, reduce_mask
from .tree import Node, PythonCall, Reduce, Subscript, WholeArray, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from ..model.dataset import Choose

__all__ = ["Reduction", "find_windows"]

_WHOLE = frozenset({"median", "prod"})
"""Reductions that need all elements in order, or whose rounding depends on it."""

_WINDOW_BYTES = 8 << 20
"""Bytes of each array in a window of several arrays: their tiles differ, and those on its edge are decoded twice."""


def find_windows(
    node: Reduce, find_dataset: Callable[[str | None], Any], choose: Callable[[Any], Choose | None]
) -> dict[str | None, Iterator[NDArray[Any]]] | None:
    """Read the arrays that a reduction looks at window by window, if it can be done so.

    Parameters
    ----------
    node : Reduce
        Over all axes.
    find_dataset : callable
        Gives a dataset of the product by name; None where there is none.
    choose : callable
        For the dataset, where there is only one, gives what chooses the parts of it to be read; see `Dataset.pieces`.

    Returns
    -------
    dict or None
        By the names that the reduction uses, iterators that go through the windows in step; each element is in one.
        None where the arrays are small, unlike in shape, or needed whole.
    """
    if node.function in _WHOLE:
        return None
    datasets: dict[str | None, Any] = {}
    for below in walk(node.operand):
        if isinstance(below, (Reduce, PythonCall)):
            return None
        if isinstance(below, Subscript) and not isinstance(below.items[0], Node):
            return None
        if isinstance(below, WholeArray):
            dataset = find_dataset(below.name)
            if dataset is None or dataset.dtype.names is not None:
                return None
            datasets[below.name] = dataset
    shapes = {tuple(dataset.shape) for dataset in datasets.values()}
    if len(shapes) != 1:
        return None
    (shape,) = shapes
    itemsize = max(dataset.dtype.itemsize for dataset in datasets.values())
    chunks = tile_shape(shape, itemsize)
    if math.prod(grid(shape, chunks)) == 1:
        return None
    if len(datasets) == 1:
        return {name: dataset.pieces(choose(dataset), lend=True) for name, dataset in datasets.items()}
    windows = [slab.inside for slab in slabs(shape, chunks, itemsize, slab_bytes=_WINDOW_BYTES)]
    return {name: dataset.parts(windows) for name, dataset in datasets.items()}


class Reduction:
    """A reduction that takes in its windows one after the other.

    Parameters
    ----------
    function : str
        As in `Reduce`, but for those that need the array whole.
    enough : callable, optional
        For the function ``sum`` of conditions: says of a count, which can only grow, that no more needs to be counted.
    """

    def __init__(self, function: str, enough: Callable[[int], bool] | None = None) -> None:
        self._function = function
        self._enough = enough
        self._true = self._false = 0
        self._masks = function in ("any", "all")
        self._total = math.nan
        self._numbers = Accumulator()

    def add(self, window: NDArray[Any] | Mask) -> bool:
        """Take in a window.

        Parameters
        ----------
        window : ndarray or Mask
            Its elements, or what is known of a condition on them.

        Returns
        -------
        bool
            True if the answer is known, whatever comes.
        """
        if self._function in ("any", "all") and not isinstance(window, Mask):
            window = Mask.of_numbers(window)
        if isinstance(window, Mask):
            self._masks = True
            if self._function not in ("any", "all", "sum", "mean"):
                reduce_mask(self._function, window, None)  # says what there is instead
            self._true += int(np.count_nonzero(window.true))
            if self._function in ("all", "mean") or not (self._true or self._false):
                self._false += int(np.count_nonzero(window.false))
            return self._is_known()
        if self._function in ("mean", "std", "var"):
            reduce_array("sum", window[:0], None)  # refuses what is no number
            self._numbers.add(np.ascontiguousarray(window))
            return False
        found = float(reduce_array(self._function, window, None))
        if math.isnan(self._total):
            self._total = found
        elif not math.isnan(found):
            self._total = {"sum": self._total + found, "max": max(self._total, found)}.get(
                self._function, min(self._total, found)
            )
        return False

    def add_known(self, known: Mask, sizes: NDArray[np.int64], *, nan: bool) -> Bools:
        """Take in parts of which it is known that all elements satisfy a condition, or that none does.

        Parameters
        ----------
        known : Mask
            Of the parts' numbers: true where all satisfy it, false where none does. Each has at least one number.
        sizes : ndarray of int64
            Elements of each part.
        nan : bool, keyword-only
            Whether some of the elements may be NaN.

        Returns
        -------
        ndarray of bool
            The parts that still have to be looked at.
        """
        self._masks = True
        true, false = known.true, known.false
        if self._function in ("any", "all"):
            self._true, self._false = int(true.any()), int(false.any())
            if self._true if self._function == "any" else self._false:
                return np.zeros_like(true)
            return ~(true | false)
        if nan and self._function == "sum":  # parts without any count nothing, whatever else is in them
            self._false = int(false.any())
            return ~false
        if nan:
            return np.ones_like(true)
        self._true, self._false = int(sizes[true].sum()), int(sizes[false].sum())
        return np.zeros_like(true) if self._is_known() else ~(true | false)

    def _is_known(self) -> bool:
        """Tell whether the answer is known, whatever comes."""
        if self._function == "sum":
            return self._enough is not None and self._true > 0 and self._enough(self._true)
        return (self._function == "any" and self._true > 0) or (self._function == "all" and self._false > 0)

    def result(self) -> Any:
        """Give the whole array's value, as `reduce_mask` and `reduce_array` do.

        Returns
        -------
        float, bool or None
            NaN or None where nothing is known.
        """
        if self._masks:
            known = self._true + self._false
            if self._function == "any":
                return True if self._true else False if self._false else None
            if self._function == "all":
                return False if self._false else True if self._true else None
            if not known:
                return math.nan
            return float(self._true) if self._function == "sum" else self._true / known
        if self._function in ("mean", "std", "var"):
            found = getattr(self._numbers.result(), "mean" if self._function == "mean" else "std")
            return math.nan if found is None else found * found if self._function == "var" else found
        return self._total
