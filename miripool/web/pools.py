"""The pools that a server has open, and the versions in them that an address names."""

from __future__ import annotations

import contextvars
import threading
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from ..errors import PoolNotFound, ProductNotFound
from ..pool.core import core_of
from ..pool.reference import ProductRef
from ..session.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..session.home import Home

__all__ = ["OpenPool", "Pools", "Version", "pools_of", "version_of", "versions_of"]


class Pools:
    """The pools of a home; each is opened when it is first asked for, and stays open.

    Parameters
    ----------
    home : Home
        The home.
    """

    def __init__(self, home: Home) -> None:
        self.home = home
        self._open: dict[str, Pool] = {}
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """List the pools.

        Returns
        -------
        list of str
            Sorted.
        """
        return self.home.names()

    def pool(self, name: str) -> Pool:
        """Give a pool, opened.

        Parameters
        ----------
        name : str
            The pool's name.

        Returns
        -------
        Pool
            Another one if the pool of that name was deleted and created again meanwhile.

        Raises
        ------
        PoolNotFound
            If there is no such pool.
        """
        with self._lock:
            pool = self._open.get(name)
            if pool is not None:
                try:
                    core_of(pool).archive.confirm()
                except PoolNotFound:
                    self._open.pop(name).close()
                    pool = None
            if pool is None:
                pool = self.home.pool(name)
                # The index may have much to follow: that is not cut short by the time of one request.
                contextvars.Context().run(core_of(pool).catch_up)
                self._open[name] = pool
            return pool

    def close(self) -> None:
        """Close all pools."""
        with self._lock:
            for pool in self._open.values():
                pool.close()
            self._open.clear()


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
