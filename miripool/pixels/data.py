"""Pixels as a version's arrays have them, read where there are no pixel rows, and to check those that there are."""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FormatError
from ..index import pixels as rows
from ..index.pixelset import pixel_set_of
from ..instruments.known import detector_named
from ..model.kinds import KINDS, pixel_columns
from ..model.names import Urn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..index import ProductRow
    from ..index.pixels import SetRow
    from ..model.dataset import Dataset
    from ..pool.core import Core

__all__ = ["first_disagreement", "read_data"]

_log = logging.getLogger(__name__)


def read_data(pool: Core, version: ProductRow, places: Sequence[tuple[int, int]]) -> list[dict[str, Any]] | None:
    """Read pixels from a version's arrays, a tile of each.

    Parameters
    ----------
    pool : Core
        The version's.
    version : ProductRow
        Of a kind with pixels.
    places : sequence of (int, int)
        Pixels (x, y), in the FULL array.

    Returns
    -------
    list of dict, or None
        For each of them its columns: arrays of shape (nints, ngroups) or (nints,), or numbers; None for a dataset that
        the version does not have. Empty if it does not cover all of the pixels. None if its header does not say where
        its pixels are, or contradicts the arrays.
    """
    try:
        described = pixel_set_of(pool.manifest(version))
    except FormatError as error:
        _log.info("%s is left out: %s", Urn(pool.name, version.kind, version.serial), error)
        return None
    if described is None:
        return None
    if not all(described.placement.covers(x, y) for x, y in places):
        return []
    product = pool.load_version(version)
    corners = [(y - described.placement.y, x - described.placement.x) for x, y in places]
    found: list[dict[str, Any]] = [{} for _ in places]
    for name in pixel_columns(version.kind):
        dataset = described.datasets.get(name)
        read = [None] * len(places) if dataset is None else _read_columns(product[dataset], corners)
        for values, value in zip(found, read, strict=True):
            values[name] = value
    return found


def _read_columns(dataset: Dataset, corners: Sequence[tuple[int, int]]) -> list[Any]:
    """Read an array at pixels (row, column), whole along its other axes."""
    whole = tuple(slice(0, n) for n in dataset.shape[:-2])
    boxes = [(*whole, slice(row, row + 1), slice(column, column + 1)) for row, column in corners]
    values = [part[..., 0, 0] for part in dataset.parts(boxes)]
    if whole:
        return values
    return [value[()] if value.dtype.kind == "f" else int(value) for value in values]


def first_disagreement(
    pool: Core, version: ProductRow, chosen: SetRow, places: Sequence[tuple[int, int]]
) -> tuple[int, int] | None:
    """Hold pixels' rows against the version's arrays.

    Parameters
    ----------
    pool : Core
        The version's.
    version : ProductRow
        Has pixel rows.
    chosen : SetRow
        They.
    places : sequence of (int, int)
        Pixels (x, y) that it covers, in the FULL array.

    Returns
    -------
    (int, int) or None
        The first whose row is missing, or holds something else in any column; None if there is none.
    """
    ids = [detector_named(version.detector).pixel_id(x, y) for x, y in places]
    stored = rows.read_pixels(pool.catalog.database, version.kind, chosen, ids)
    read = read_data(pool, version, places)
    for place, number, data in itertools.zip_longest(places, ids, read or []):
        row = stored.get(number)
        if row is None or data is None:
            return place
        completed = _completed(version.kind, chosen, row)
        if not all(_is_same(completed.get(column), value) for column, value in data.items()):
            return place
    return None


def _completed(kind: str, chosen: SetRow, values: Mapping[str, Any]) -> dict[str, Any]:
    """Give a row's columns with what is not stored in each row."""
    completed = dict(values)
    for column in KINDS[kind].columns:
        if completed[column.name] is None:
            completed[column.name] = chosen.meant_by_null(column)
    return completed


def _is_same(one: Any, two: Any) -> bool:
    if two is None:  # flags that are not set and flags that there are none of are stored alike
        return one is None or not np.any(one)
    if one is None:
        return False
    first, second = np.asarray(one), np.asarray(two)
    floats = first.dtype.kind == "f" or second.dtype.kind == "f"
    return bool(np.array_equal(first, second, equal_nan=floats))
