"""The pools that a server has open, and what a request says about which versions it means."""

from __future__ import annotations

import contextvars
import shlex
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Query, Request

from ..errors import InvalidInput, PoolNotFound, ProductNotFound
from ..model.kinds import KINDS
from ..model.product import Product
from ..pool.core import core_of
from ..pool.reference import ProductRef
from ..query import Query as Condition
from ..session.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..session.home import Home

__all__ = ["Asked", "OpenPool", "Pools", "Version", "pools_of", "version_of", "versions_of"]


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


@dataclass(frozen=True, slots=True)
class Asked:
    """Which versions a request means; the parameters of `miripool ls`.

    Attributes
    ----------
    where, kind, tag : str
        Condition, kind and tag; empty for none.
    all_versions, trash : bool
        All versions instead of the newest; the versions in the trash instead.
    """

    where: Annotated[str, Query(description="Condition on versions, as for `miripool ls --where`.")] = ""
    kind: Annotated[str, Query(description="Only this kind, e.g. RateInts.")] = ""
    tag: Annotated[str, Query(description="The versions that this tag marks.")] = ""
    all_versions: Annotated[bool, Query(description="All versions, not only the newest.")] = False
    trash: Annotated[bool, Query(description="The versions in the trash instead.")] = False

    def condition(self) -> Condition:
        """Give the query; it calls no function of this program.

        Returns
        -------
        miripool.Query
            For `Pool.select`.

        Raises
        ------
        InvalidInput
            If the condition can't be read, or there is no such kind.
        """
        text = self.where.strip() or "1"
        query = Condition(Product, "p", text, all_versions=self.all_versions, tag=self.tag or None, functions={})
        return query.of_kind(self.kind) if self.kind else query

    def options(self) -> dict[str, Any]:
        """Give it as the options of `miripool.pool.page.page`.

        Returns
        -------
        dict
            ``query``, ``tag``, ``all_versions``, ``trash`` and ``kinds``.

        Raises
        ------
        InvalidInput
            As for `condition`; or if a condition is asked of the trash.
        """
        if self.trash and (self.where or self.tag or self.all_versions):
            raise InvalidInput("the trash can't be searched by a condition, a tag or all versions; leave these out")
        kinds = [self.kind] if self.kind else list(KINDS)
        return {
            "query": "1" if self.trash else self.condition(),
            "kinds": kinds if self.trash else None,
            "tag": self.tag or None,
            "all_versions": self.all_versions,
            "trash": self.trash,
        }

    def as_python(self, pool: str, order: str) -> str:
        """Write the line of Python that gives the same answer.

        Parameters
        ----------
        pool : str
            The pool's name.
        order : str
            What is sorted by.

        Returns
        -------
        str
            One expression.
        """
        start = f"PoolManager.getPool({pool!r})"
        if self.trash:
            return f"{start}.trash({repr(self.kind) + ', ' if self.kind else ''}order={order!r})"
        parts = [f"kind == {self.kind!r}"] if self.kind else []
        if self.where.strip():
            parts.append(f"({self.where.strip()})" if parts and " or " in self.where else self.where.strip())
        options = [repr(" and ".join(parts))] if parts else []
        options += [f"tag={self.tag!r}"] if self.tag else []
        options += ["all_versions=True"] if self.all_versions else []
        return f"{start}.select({', '.join([*options, f'order={order!r}'])})"

    def as_command(self, pool: str, order: str) -> str:
        """Write the command that gives the same answer.

        Parameters
        ----------
        pool, order : str
            As for `as_python`.

        Returns
        -------
        str
            For a shell.
        """
        words = ["miripool", "ls", pool]
        words += ["--kind", self.kind] if self.kind else []
        words += ["--where", self.where.strip()] if self.where.strip() else []
        words += ["--tag", self.tag] if self.tag else []
        words += ["--all-versions"] if self.all_versions else []
        words += ["--trash"] if self.trash else []
        words += [f"--sort={order}"] if order != "-created" else []
        return shlex.join(words)
