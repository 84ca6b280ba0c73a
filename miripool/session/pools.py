"""The pools of a home that a server has open."""

from __future__ import annotations

import contextvars
import threading
from typing import TYPE_CHECKING

from ..errors import PoolNotFound
from ..pool.core import core_of

if TYPE_CHECKING:
    from .home import Home
    from .pool import Pool

__all__ = ["Pools"]


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
