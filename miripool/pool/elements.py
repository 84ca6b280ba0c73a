"""Elements: how many of two versions' arrays differ, and by how much; read in bounded memory."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidInput
from ..model.canonical import json_value
from ..model.table import TableDataset
from ..model.tiles import slabs, tile_shape
from ..query.pixelwhere import FLAGS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ..model.dataset import Dataset

__all__ = ["ElementChange", "compare_elements", "differing"]


@dataclass(frozen=True, slots=True)
class ElementChange:
    """What differs in one dataset.

    Attributes
    ----------
    dataset : str
        Name of the dataset.
    form : str or None
        The two dtypes and shapes if they differ; the elements are not compared then.
    count, size : int
        Number of elements (of a table, rows) that differ, and number of all elements. NaN equals NaN.
    largest : float or None
        Largest absolute difference of two numbers; None for DQ flags, for tables, and if no numbers differ.
    at : tuple of int or None
        0-based index of the element with the largest difference.
    old, new : float or int or None
        Values of that element.
    flags : dict of str to tuple of int
        For DQ, by name of the flag: number of elements in which the flag was set, and in which it was cleared.
    columns : tuple of str
        Columns of a table that differ.
    """

    dataset: str
    form: str | None = None
    count: int = 0
    size: int = 0
    largest: float | None = None
    at: tuple[int, ...] | None = None
    old: float | None = None
    new: float | None = None
    flags: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.form is not None:
            return f"{self.dataset}: {self.form}"
        what = "rows" if self.columns else "elements"
        said = f"{self.dataset}: {self.count} of {self.size} {what} differ"
        if self.columns:
            return f"{said}, in {', '.join(self.columns)}"
        if self.flags:
            return f"{said}: " + ", ".join(f"{name} +{got} -{lost}" for name, (got, lost) in self.flags.items())
        if self.largest is None:
            return said
        where = ", ".join(map(str, self.at or ()))
        return f"{said}, by up to {self.largest:.6g} at [{where}]"

    def to_json(self) -> dict[str, Any]:
        """Give the difference as values that JSON can hold.

        Returns
        -------
        dict
            An item for each attribute.
        """
        return {
            "dataset": self.dataset,
            "form": self.form,
            "differ": self.count,
            "of": self.size,
            "largest": json_value(self.largest),
            "at": None if self.at is None else list(self.at),
            "old": json_value(self.old),
            "new": json_value(self.new),
            "flags": {name: {"set": got, "cleared": lost} for name, (got, lost) in self.flags.items()},
            "columns": list(self.columns),
        }


def compare_elements(name: str, old: Dataset, new: Dataset) -> ElementChange:
    """Compare two arrays or tables.

    Parameters
    ----------
    name : str
        Of the dataset.
    old, new : Dataset
        The versions'.

    Returns
    -------
    ElementChange
        From `old` to `new`.
    """
    if isinstance(old, TableDataset) and isinstance(new, TableDataset):
        return _compare_tables(name, old, new)
    before, after = _form(old), _form(new)
    if before != after or old.dtype.names is not None:
        return ElementChange(name, form=f"{before} → {after}")
    return _compare_arrays(name, old, new)


def differing(name: str, old: Dataset, new: Dataset) -> NDArray[np.bool_]:
    """Tell which elements of two arrays differ.

    Parameters
    ----------
    name : str
        Of the dataset.
    old, new : Dataset
        The versions'.

    Returns
    -------
    numpy.ndarray of bool
        In their shape. NaN equals NaN.

    Raises
    ------
    InvalidInput
        If one is a table, or if dtype or shape differ.
    """
    if old.dtype.names is not None or new.dtype.names is not None:
        raise InvalidInput(f"{name} is a table; only arrays have a mask of differing elements")
    before, after = _form(old), _form(new)
    if before != after:
        raise InvalidInput(f"{name} can't be compared element by element: {before} → {after}")
    return _differ(np.asarray(old), np.asarray(new))


def _differ(before: NDArray[Any], after: NDArray[Any]) -> NDArray[np.bool_]:
    differ = np.asarray(before != after)
    if before.dtype.kind in "fc":
        differ &= ~(np.isnan(before) & np.isnan(after))
    return differ


def _form(dataset: Dataset) -> str:
    kind = "table" if dataset.dtype.names is not None else dataset.dtype.newbyteorder("=").name
    return f"{kind} {tuple(dataset.shape)}"


def _compare_arrays(name: str, old: Dataset, new: Dataset) -> ElementChange:
    count = 0
    largest, at, values = -1.0, None, (None, None)
    flags: dict[str, tuple[int, int]] = {}
    chunks = tile_shape(old.shape, old.dtype.itemsize)
    boxes = [slab.inside for slab in slabs(old.shape, chunks, old.dtype.itemsize)] if old.shape else [()]
    with contextlib.closing(old.parts(boxes)) as befores, contextlib.closing(new.parts(boxes)) as afters:  # type: ignore[type-var]
        for box, before, after in zip(boxes, befores, afters, strict=True):
            differ = _differ(before, after)
            here = int(np.count_nonzero(differ))
            count += here
            if not here:
                continue
            if old.is_flags:
                _count_flags(flags, before[differ], after[differ])
                continue
            if before.dtype.kind not in "iuf":
                continue
            places = np.flatnonzero(differ)
            sizes = np.abs(after.ravel()[places].astype(np.float64) - before.ravel()[places].astype(np.float64))
            if not np.isnan(sizes).all():
                best = int(np.nanargmax(sizes))
                if sizes[best] > largest:
                    largest = float(sizes[best])
                    inside = np.unravel_index(places[best], before.shape)
                    at = tuple(s.start + int(i) for s, i in zip(box, inside, strict=True))
                    values = before[inside].item(), after[inside].item()
    found = largest >= 0
    return ElementChange(
        name, None, count, math.prod(old.shape), largest if found else None, at, *values, flags=_in_order(flags)
    )


def _count_flags(flags: dict[str, tuple[int, int]], before: NDArray[Any], after: NDArray[Any]) -> None:
    got, lost = after & ~before, before & ~after
    for name, bit in FLAGS.items():
        if bit >> (8 * before.dtype.itemsize):
            continue
        here = int(np.count_nonzero(got & bit)), int(np.count_nonzero(lost & bit))
        if any(here):
            known = flags.get(name, (0, 0))
            flags[name] = known[0] + here[0], known[1] + here[1]


def _in_order(flags: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    return {name: flags[name] for name in FLAGS if name in flags}


def _compare_tables(name: str, old: TableDataset, new: TableDataset) -> ElementChange:
    before, after = old.dtype.names or (), new.dtype.names or ()
    if before != after or old.shape != new.shape:
        return ElementChange(
            name, form=f"{len(before)} columns, {old.shape[0]} rows → {len(after)} columns, {new.shape[0]} rows"
        )
    differ = np.zeros(old.shape[0], bool)
    columns = []
    for column in before:
        one, two = old[column], new[column]
        rows = np.array([not _same(a, b) for a, b in zip(one, two, strict=True)], bool)
        if rows.any():
            columns.append(column)
            differ |= rows
    return ElementChange(name, None, int(differ.sum()), len(differ), columns=tuple(columns))


def _same(one: Any, two: Any) -> bool:
    first, second = np.ma.asarray(one), np.ma.asarray(two)
    if first.shape != second.shape:
        return False
    numbers = first.dtype.kind in "fc" and second.dtype.kind in "fc"
    return bool(np.array_equal(first.filled(), second.filled(), equal_nan=numbers))
