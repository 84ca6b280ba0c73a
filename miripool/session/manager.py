"""PoolManager and ProductStorage: the words of Herschel's HIPE for pools."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from ..errors import AlreadyExists, ProductNotFound, ReadOnly, TagNotFound
from ..model.keywords import suggest
from ..model.names import Urn, shown
from ..pool import select as selecting
from ..pool.core import core_of
from ..pool.reasons import why_empty
from ..pool.reference import ProductRef, ProductRefs
from ..pool.resolve import only_one
from ..query.queries import as_query, functions_in
from .home import Home
from .pool import Pool

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from ..pool.reference import Loader
    from ..pool.resolve import Reference

__all__ = ["PoolManager", "ProductStorage"]


class PoolManager:
    """Opens pools by name, in the home named by ``MIRIPOOL_HOME`` or in the platform's default home."""

    @staticmethod
    def getPool(name: str, *, create: bool = False, home: Path | str | None = None) -> Pool:  # noqa: N802 - HIPE's name
        """Open a pool.

        Parameters
        ----------
        name : str
            The pool's name.
        create : bool, keyword-only
            Create the pool if it does not exist.
        home : path-like, keyword-only, optional
            The folder of pools.

        Returns
        -------
        Pool
            The pool.

        Raises
        ------
        PoolNotFound
            If there is no such pool; the message lists the existing pools.
        """
        return Home(home).pool(name, create=create)

    @staticmethod
    def getPoolNames(*, home: Path | str | None = None) -> list[str]:  # noqa: N802 - HIPE's style
        """List the pools.

        Parameters
        ----------
        home : path-like, keyword-only, optional
            The folder of pools.

        Returns
        -------
        list of str
            Sorted names.
        """
        return Home(home).names()


class ProductStorage:
    """Several pools used together: products are saved in the first registered pool and found in all.

    Parameters
    ----------
    pools : Pool, str, or an iterable of them
        Pools to register, in that order; names are opened through `PoolManager`.
    """

    def __init__(self, pools: Pool | str | Iterable[Pool | str] = ()) -> None:
        self._pools: list[Pool] = []
        for pool in [pools] if isinstance(pools, (Pool, str)) else pools:
            self.register(pool)

    def __repr__(self) -> str:
        return f"<ProductStorage {', '.join(p.name for p in self._pools) or 'without pools'}>"

    def register(self, pool: Pool | str) -> None:
        """Add a pool.

        Parameters
        ----------
        pool : Pool or str
            The pool, or its name.

        Raises
        ------
        AlreadyExists
            If a pool of that name is already registered.
        """
        opened = pool if isinstance(pool, Pool) else PoolManager.getPool(pool)
        if any(p.name == opened.name for p in self._pools):
            raise AlreadyExists(f"pool {opened.name!r} is already registered")
        self._pools.append(opened)

    def getPools(self) -> list[Pool]:  # noqa: N802 - HIPE's name
        """List the registered pools.

        Returns
        -------
        list of Pool
            The first is the one that `save` writes to.
        """
        return list(self._pools)

    def getWritablePool(self) -> Pool:  # noqa: N802 - HIPE's name
        """Give the pool that `save` writes to.

        Returns
        -------
        Pool
            The first registered.
        """
        if not self._pools:
            raise ReadOnly("this storage has no pool; register one first")
        return self._pools[0]

    def save(self, product: Any, **options: Any) -> ProductRef:
        """Save a product in the first pool; see `Pool.save`.

        Parameters
        ----------
        product : path-like, Product, HDUList or datamodel
            What to save.
        **options
            As for `Pool.save`: name, kind, tag, force, history.

        Returns
        -------
        ProductRef
            The version.
        """
        return self.getWritablePool().save(product, **options)

    def saveAs(self, product: Any, tag: str, **options: Any) -> ProductRef:  # noqa: N802 - HIPE's name
        """Save a product in the first pool and tag it.

        Parameters
        ----------
        product : path-like, Product, HDUList or datamodel
            What to save.
        tag : str
            The label.
        **options
            As for `Pool.save`.

        Returns
        -------
        ProductRef
            The version.
        """
        return self.save(product, tag=tag, **options)

    def _pool_of(self, ref: Reference) -> Pool:
        if isinstance(ref, ProductRef):
            owner = next((pool for pool in self._pools if pool.id == ref.pool.id), None)
            if owner is not None:
                return owner
            ref = ref.urn
        if isinstance(ref, str) and not ref.lower().startswith("urn:"):
            return self._pool_with(ref)
        urn = ref if isinstance(ref, Urn) else Urn.parse(ref)
        for pool in self._pools:
            if urn.pool == pool.name or urn.pool in core_of(pool).archive.info.former_names:
                return pool
        raise ProductNotFound(f"{urn}: no pool {urn.pool!r} is registered here")

    def _pool_with(self, spec: str) -> Pool:
        missing: ProductNotFound | None = None
        for pool in self._pools:
            try:
                pool.ref(spec)
            except ProductNotFound as error:
                missing = missing or error
            else:
                return pool
        raise missing or ProductNotFound("this storage has no pool; register one first")

    def load(self, urn_or_tag: Reference) -> ProductRef:
        """Find one version by URN, SPEC, or by a tag that marks one version only.

        Parameters
        ----------
        urn_or_tag : str
            What to load.

        Returns
        -------
        ProductRef
            Its ``.product`` loads.
        """
        if isinstance(urn_or_tag, str) and not urn_or_tag.lower().startswith("urn:") and self.tagExists(urn_or_tag):
            return only_one(self.select(tag=urn_or_tag), urn_or_tag)
        return self._pool_of(urn_or_tag).ref(urn_or_tag)

    def select(
        self,
        query: Any = "1",
        previous: Sequence[ProductRef] | None = None,
        *,
        tag: str | None = None,
        all_versions: bool | None = None,
        order: str | Sequence[str] | None = None,
        limit: int | None = None,
        executor: Executor | None = None,
    ) -> ProductRefs:
        """Find products in all pools, one pool after the other; see `Pool.select`.

        Parameters
        ----------
        query : Query, str, callable or type of Product
            What to look for.
        previous : sequence of ProductRef, optional
            Search only these.
        tag : str, keyword-only, optional
            Search the versions that this tag marks, in the pools that have the tag.
        all_versions : bool, keyword-only, optional
            Search all versions that are not in the trash, not only the newest.
        order : str or sequence of str, keyword-only, optional
            What to sort by, within each pool.
        limit : int, keyword-only, optional
            Return at most this many products, over all pools.

        Returns
        -------
        ProductRefs
            Lazily loading references.

        Raises
        ------
        QueryError
            If the query can't be read.
        UnknownKeyword
            If it names a keyword that no product of any pool has.
        TagNotFound
            If no pool has the tag.
        """
        frame = inspect.currentframe()
        functions = functions_in(frame.f_back if frame is not None else None) if isinstance(query, str) else None
        asked = as_query(query, functions=functions)
        keys = selecting.sort_keys(order)
        label = asked.tag if tag is None else tag
        pools = self._pools if label is None else self._pools_with_tag(label)
        cores = [core_of(pool) for pool in pools]
        for core in cores:
            core.catch_up()
        selecting.refuse_unknown(cores, asked, keys)
        found: list[tuple[Loader, int]] = []
        for core in cores:
            left = None if limit is None else limit - len(found)
            serials = selecting.select(
                core,
                asked,
                previous,
                tag=label,
                all_versions=all_versions,
                order=keys,
                limit=left,
                executor=executor,
            )
            found += [(core, serial) for serial in serials]

        def why() -> str:
            reasons = [why_empty(core, asked, previous, tag=label, all_versions=all_versions) for core in cores]
            return "; ".join(f"{p.name}: {reason}" for p, reason in zip(pools, reasons, strict=True))

        return ProductRefs(found, why=None if limit == 0 else why)

    def _pools_with_tag(self, label: str) -> list[Pool]:
        pools = [pool for pool in self._pools if pool.tag_exists(label)]
        if not pools:
            near = suggest(label, self.getTags())
            hint = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
            raise TagNotFound(f"no version in this storage has the tag {shown(label)}{hint}")
        return pools

    def getHead(self, ref: Reference) -> ProductRef:  # noqa: N802 - HIPE's name
        """Give the newest version of a product that is not in the trash; see `Pool.head`."""
        return self._pool_of(ref).head(ref)

    def getVersions(self, ref: Reference) -> list[ProductRef]:  # noqa: N802 - HIPE's name
        """List the versions of a product; see `Pool.versions`."""
        return self._pool_of(ref).versions(ref)

    def setTag(self, tag: str, urn: Reference) -> None:  # noqa: N802 - HIPE's name
        """Put a tag on a version. If the tag marks another version of the same product, it moves from there.

        Parameters
        ----------
        tag : str
            The label.
        urn : str or ProductRef
            The version.
        """
        self._pool_of(urn).tag(urn, tag)

    def getTags(self, urn: Reference | None = None) -> list[str]:  # noqa: N802 - HIPE's name
        """List the tags of a version, or all tags in use.

        Parameters
        ----------
        urn : str or ProductRef, optional
            The version.

        Returns
        -------
        list of str
            Sorted.
        """
        if urn is not None:
            return list(self._pool_of(urn).ref(urn).tags)
        return sorted({t.label for pool in self._pools for t in pool.tags()})

    def tagExists(self, tag: str) -> bool:  # noqa: N802 - HIPE's name
        """Tell whether a tag marks a version in any pool.

        Parameters
        ----------
        tag : str
            The label.

        Returns
        -------
        bool
            True if it marks one.
        """
        return any(pool.tag_exists(tag) for pool in self._pools)

    def removeTag(self, tag: str) -> None:  # noqa: N802 - HIPE's name
        """Remove a tag from all versions that it marks.

        Parameters
        ----------
        tag : str
            The label.

        Raises
        ------
        TagNotFound
            If there is no such tag.
        """
        for pool in self._pools_with_tag(tag):
            pool.untag(tag)

    def getUrnFromTag(self, tag: str) -> str:  # noqa: N802 - HIPE's name
        """Give the URN of the one version that a tag marks.

        Parameters
        ----------
        tag : str
            The label.

        Returns
        -------
        str
            The URN.

        Raises
        ------
        AmbiguousSpec
            If it marks several; the message lists them.
        TagNotFound
            If it marks none.
        """
        return only_one(self.select(tag=tag), tag).urn

    def remove(self, urn: Reference) -> None:
        """Put a version into the trash.

        Parameters
        ----------
        urn : str or ProductRef
            The version.
        """
        self._pool_of(urn).remove(urn)
