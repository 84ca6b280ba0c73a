"""Summary: what a listing of pools says of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import index
from ..model.kinds import beside, kinds_matching
from ..model.product import Context
from ..pool.core import core_of

if TYPE_CHECKING:
    from pathlib import Path

    from .pool import Pool

__all__ = ["PoolSummary", "summarize"]


@dataclass(frozen=True, slots=True)
class PoolSummary:
    """A pool in a listing.

    Attributes
    ----------
    name : str
        The pool's name.
    created : str
        ISO time, UTC.
    products, versions, tags : int
        Numbers of products, of their versions that are not in the trash, and of tags in use. Contexts are not counted.
    bytes, stored_bytes, index_bytes : int
        Size of all FITS files, space that they take in the pool's folder, and size of the index in PostgreSQL.
    path : str
        Its folder.
    contexts : int
        Number of contexts that are not in the trash: exposures, and contexts made by users.
    """

    name: str
    created: str
    products: int
    versions: int
    tags: int
    bytes: int
    stored_bytes: int
    index_bytes: int
    path: str
    contexts: int


def summarize(name: str, pool: Pool, place: Path) -> PoolSummary:
    """Describe a pool.

    Parameters
    ----------
    name : str
        Its name.
    pool : Pool
        Open.
    place : pathlib.Path
        Folder of its files.

    Returns
    -------
    PoolSummary
        From its index.
    """
    core = core_of(pool)
    tags = pool.tags()
    found = core.catalog.statistics()
    total, listed = found.total, found.without(beside())
    return PoolSummary(
        name=name,
        created=core.archive.info.created.isoformat().replace("+00:00", "Z"),
        products=listed.heads,
        versions=listed.products,
        tags=len(tags),
        bytes=total.bytes,
        stored_bytes=total.stored_bytes,
        index_bytes=index.schema_bytes(core.catalog.database),
        path=str(place),
        contexts=total.heads - found.without(kinds_matching(Context)).heads,
    )
