"""The pools that a request names, and the versions in them that an address names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from ..errors import ProductNotFound
from ..pool.core import core_of
from ..pool.reference import ProductRef
from ..session.pool import Pool
from ..session.pools import Pools

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["OpenPool", "Pools", "Version", "pools_of", "version_of", "versions_of"]


def pools_of(request: Request) -> Pools:
    """Give the pools of the server that a request has come to.

    Parameters
    ----------
    request : fastapi.Request
        The request.

    Returns
    -------
    Pools
        The server's.
    """
    found: Pools = request.app.state.pools
    return found


def _open(pool: str, pools: Annotated[Pools, Depends(pools_of)]) -> Pool:
    return pools.pool(pool)


OpenPool = Annotated[Pool, Depends(_open)]
"""The pool that a path names."""


def _version(serial: int, pool: OpenPool) -> ProductRef:
    return version_of(pool, serial)


def version_of(pool: Pool, serial: int) -> ProductRef:
    """Find a version by its serial number, also in the trash.

    Parameters
    ----------
    pool : Pool
        The pool.
    serial : int
        The last part of its URN.

    Returns
    -------
    ProductRef
        The version.

    Raises
    ------
    ProductNotFound
        If there is none.
    """
    return versions_of(pool, [serial])[0]


def versions_of(pool: Pool, serials: Sequence[int]) -> list[ProductRef]:
    """Find versions by their serial numbers, also in the trash.

    Parameters
    ----------
    pool : Pool
        The pool.
    serials : sequence of int
        The last parts of their URNs.

    Returns
    -------
    list of ProductRef
        In that order, each once.

    Raises
    ------
    ProductNotFound
        If any of them is missing; the message names it.
    """
    core = core_of(pool)
    core.catch_up()
    wanted = list(dict.fromkeys(serials))
    rows = {row.serial: row for row in core.catalog.rows([s for s in wanted if 0 <= s < 1 << 63])}
    for serial in wanted:
        if serial not in rows:
            raise ProductNotFound(f"pool {pool.name} has no version with the serial number {serial}")
    return [ProductRef(core, rows[serial]) for serial in wanted]


Version = Annotated[ProductRef, Depends(_version)]
"""The version that a path names."""
