"""The versions whose pixels are asked for. They are the same for one pixel after the other, so they are kept."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from ..index import pixels as rows
from ..index.kept import Answers
from ..index.snapshot import read_snapshot
from ..model.times import NEVER
from ..pool import tags
from ..pool.find import as_asked
from ..pool.select import select
from ..query.division import split
from ..query.queries import Query
from ..query.tree import ALL
from .asked import select_versions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..index.pixels import VersionColumns
    from ..model.product import Product
    from ..pool.core import Core

__all__ = ["find_versions"]

_kept = Answers(4)
"""Some 0.4 KB for each version."""


def find_versions(pool: Core, cls: type[Product], query: Any, tag: str | None, all_versions: bool) -> VersionColumns:
    """Find the versions whose pixels are asked for.

    Parameters
    ----------
    pool : Core
        The pool.
    cls : type of Product
        The kind.
    query, tag, all_versions : object
        As for `Pool.select`.

    Returns
    -------
    VersionColumns
        Sorted by start; those without one come last, by the time when they were saved. Not to be changed.
    """
    if not isinstance(query, str) or pool.moment is not None:  # of the past, a warning may have to be repeated
        return _given(pool, select_versions(pool, cls, query, tag, all_versions))
    tags.check_tag(tag)
    asked, label = as_asked(pool, Query(cls, "p", query, functions={}), tag)
    database = pool.catalog.database  # another one, if the server had to be started

    def read() -> VersionColumns:
        if asked.node == ALL:
            found = rows.read_living_versions(database, asked.kinds, all_versions=all_versions, tag=label)
            return _by_time(found)
        return _given(pool, select(pool, asked, tag=label, all_versions=all_versions or None))

    snapshot = read_snapshot(database) if split(asked.node)[1] is None else None
    if snapshot is None:
        return read()
    return _kept.get((weakref.ref(database), pool.name, asked, label, all_versions), snapshot, read)


def _given(pool: Core, serials: Sequence[int]) -> VersionColumns:
    return _by_time(rows.read_versions(pool.catalog.database, pool.with_arrays(serials)))


def _by_time(found: VersionColumns) -> VersionColumns:
    unknown = found.started == NEVER
    moments = np.where(unknown, found.created, found.started)
    return found.take(np.lexsort((found.versions, found.names, moments, unknown)))
