"""Selecting: what SQL can answer is asked of the index, the rest of lazily loaded products."""

from __future__ import annotations

import shlex
from contextlib import closing
from numbers import Integral
from typing import TYPE_CHECKING

from ..errors import IncompleteAnswer, InvalidInput, UnknownKeyword
from ..index import pixels
from ..model.keywords import KeywordDictionary, dictionary, suggest
from ..query.division import needs, split
from ..query.pixelwhere import PixelTest
from ..query.places import FIELDS, find_keyword
from ..query.queries import PixelQuery
from ..query.tree import Keyword, walk
from ..system.warning import warn_caller
from ..system.words import counted
from .datasetnames import refuse_unknown_datasets
from .reference import ProductRef, ProductRefs
from .scan import judge
from .valuetypes import refuse_other_types

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Executor

    from ..index import ProductRow
    from ..index.pixels import SetRow
    from ..query import Query
    from ..query.tree import Node
    from .core import Core
    from .reference import Loader

__all__ = [
    "detectors_of",
    "of_detector",
    "refuse_unknown",
    "refuse_unknown_detector",
    "select",
    "serials_of",
    "sort_keys",
    "suggest_among",
    "warn_beyond",
    "warn_without_rows",
]


def sort_keys(order: str | Sequence[str] | None) -> list[str]:
    """Give what to sort by as a list.

    Parameters
    ----------
    order : str or sequence of str, optional
        As for `Pool.select`.

    Returns
    -------
    list of str
        Fields and keywords; those with a ``-`` descending.
    """
    return [order] if isinstance(order, str) else list(order or ())


def suggest_among(values: Iterable[str], there: Iterable[str]) -> list[str]:
    """Find what resembles some words.

    Parameters
    ----------
    values, there : iterable of str
        What was written, and what there is.

    Returns
    -------
    list of str
        The nearest, best first.
    """
    known = list(there)
    return [near for value in values for near in suggest(value, known)]


def refuse_unknown(pools: Sequence[Core], asked: Query, order: Iterable[str] = ()) -> None:
    """Refuse keywords that nobody knows: a slip of the pen is no condition that happens to fail.

    Footprints that an older miripool did not make are made where the query asks for them.

    Parameters
    ----------
    pools : sequence of Core
        Their indexes are caught up.
    asked : Query
        What is looked for.
    order : iterable of str
        What is sorted by.

    Raises
    ------
    UnknownKeyword
        If neither a product of any of the pools nor the datamodels' schemas have a keyword; the message suggests.
    QueryError
        If a condition compares values of two types, such as a text with a number, or names a dataset that no product of
        the pools has; the message suggests.
    InvalidInput
        If none of the pools has the detector of a `PixelQuery`.
    """
    if isinstance(asked, PixelQuery) and asked.detector is not None:
        refuse_unknown_detector(pools, asked.detector)
    keywords = {node: None for node in walk(asked.node) if isinstance(node, Keyword)}
    sorted_by = [key.removeprefix("-").strip() for key in order]
    keywords |= {find_keyword(key, dictionary()): None for key in sorted_by if key.removeprefix("p.") not in FIELDS}
    names = dictionary() if keywords else KeywordDictionary()
    for keyword in keywords:
        if names.knows(keyword.key) or any(p.catalog.has_keyword(keyword.key, keyword.hdu) for p in pools):
            continue
        there = {word for pool in pools for word in pool.catalog.keywords()}
        if not there:
            continue  # nothing was ever saved: nobody can know
        near = suggest(keyword.key, {*FIELDS, *there, *names})
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        where = " or ".join(pool.name for pool in pools)
        named = f"{keyword.hdu}.{keyword.key}" if keyword.hdu else keyword.key
        raise UnknownKeyword(f"no product of pool {where} has a keyword {named}{hint}")
    refuse_unknown_datasets(pools, asked.node)
    refuse_other_types(pools, asked.node)
    if "footprint" in needs(asked.node):
        for pool in pools:
            pool.catalog.complete_footprints()


def refuse_unknown_detector(pools: Sequence[Core], detector: str) -> None:
    """Refuse a detector of which no pool has pixels; a pool without any can't know.

    Parameters
    ----------
    pools : sequence of Core
        Their indexes are caught up.
    detector : str
        In capitals.

    Raises
    ------
    InvalidInput
        If there is none; the message lists those there are.
    """
    there = sorted({name.upper() for pool in pools for name in pixels.detectors(pool.catalog.database)})
    if there and detector not in there:
        where = " or ".join(pool.name for pool in pools)
        raise InvalidInput(f"pool {where} has no detector {detector!r}; its detectors are {', '.join(there)}")


def of_detector(versions: Iterable[ProductRow], detector: str) -> list[ProductRow]:
    """Keep the versions of one detector.

    Parameters
    ----------
    versions : iterable of ProductRow
        Any.
    detector : str
        In capitals; headers may have it otherwise.

    Returns
    -------
    list of ProductRow
        In the same order; those whose header names no detector are left out.
    """
    return [version for version in versions if (version.detector or "").upper() == detector]


def detectors_of(names: Iterable[str]) -> list[str]:
    """List the detectors that versions name.

    Parameters
    ----------
    names : iterable of str
        As their headers have them; empty where a header names none.

    Returns
    -------
    list of str
        In capitals, sorted, each once.
    """
    return sorted({name.upper() for name in names if name})


def select(
    pool: Core,
    asked: Query,
    previous: Sequence[ProductRef] | None = None,
    *,
    tag: str | None = None,
    all_versions: bool | None = None,
    order: Sequence[str] = (),
    limit: int | None = None,
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[int]:
    """Find the serials of the products that match; the parameters are those of `Pool.select`.

    Parameters
    ----------
    pool : Core
        The pool; its index is caught up.
    asked : Query
        What to look for.
    previous : sequence of ProductRef, optional
        Look only at these, whichever versions they are; those of other pools are passed over.
    tag : str, keyword-only, optional
        The versions that this tag marks.
    all_versions : bool, keyword-only, optional
        Every living version; as the query says unless given.
    order : sequence of str, keyword-only
        Fields or keywords.
    limit : int, keyword-only, optional
        At most so many.
    executor, progress : object, keyword-only, optional
        As for `Pool.select`.

    Returns
    -------
    list of int
        In the order asked for.
    """
    if limit is not None and (not isinstance(limit, Integral) or not 0 <= limit < 1 << 63):
        raise InvalidInput(f"limit is {limit!r}; it must be a number of products, 0 or more")
    everything = asked.all_versions if all_versions is None else all_versions
    sql, rest = split(asked.node)
    by_pixels = isinstance(asked, PixelQuery)
    serials = pool.catalog.serials(
        predicate=sql,
        pool=pool.name,
        kinds=asked.kinds,
        all_versions=everything or previous is not None,
        tag=tag,
        among=None if previous is None else [serial for owner, serial in _keys(previous) if owner.id == pool.id],
        order=order,
        limit=limit if rest is None and not by_pixels else None,
    )
    if isinstance(asked, PixelQuery):
        if asked.detector is not None:
            serials = [row.serial for row in of_detector(pool.catalog.rows(serials), asked.detector)]
        found = serials if rest is None else _filter(pool, serials, rest, None, executor, progress)
        return _by_pixels(pool, found, asked)[:limit]
    return serials if rest is None else _filter(pool, serials, rest, limit, executor, progress)


def warn_without_rows(pool: Core, missing: int, versions: int) -> None:
    """Warn that an answer from pixel rows leaves out versions that have none.

    Parameters
    ----------
    pool : Core
        Theirs.
    missing, versions : int
        How many have no rows, of how many that were asked about.
    """
    have, are = ("has", "is") if missing == 1 else ("have", "are")
    warn_caller(
        f"{missing} of {counted(versions, 'version')} {have} no pixel rows and {are} left out; the view "
        f"missing_pixel_rows says why; `miripool index pixels {shlex.quote(pool.name)}` makes pending rows, and with "
        "--all-versions those that were dropped or left out",
        IncompleteAnswer,
    )


def warn_beyond(condition: Node, sets: Sequence[SetRow]) -> None:
    """Warn of a condition on pixels that names an integration, or a group, that none of the versions has.

    Parameters
    ----------
    condition : Node
        From `miripool.query.pixelwhere.parse_pixels`.
    sets : sequence of SetRow
        The versions' pixel rows.
    """
    items = [node.items for node in walk(condition) if isinstance(node, PixelTest)]
    most = [
        max((n or 0 for n in lengths), default=0) for lengths in ([s.nints for s in sets], [s.ngroups for s in sets])
    ]
    for axis, (what, there) in enumerate(zip(("integration", "group"), most, strict=True)):
        named = max((of[axis] or 0 for of in items if len(of) > axis), default=0)
        if there and named > there:
            many = f"{'only' if there == 1 else 'at most'} {counted(there, what)}"
            message = f"the condition names {what} == {named}; the versions searched have {many}"
            warn_caller(message, IncompleteAnswer)


def serials_of(refs: Iterable[ProductRef]) -> list[int]:
    """Give the serials of references; those of a result are not looked up.

    Parameters
    ----------
    refs : iterable of ProductRef
        Of one pool.

    Returns
    -------
    list of int
        In that order.
    """
    return [serial for _, serial in refs.keys] if isinstance(refs, ProductRefs) else [ref.serial for ref in refs]


def _by_pixels(pool: Core, serials: Sequence[int], asked: PixelQuery) -> list[int]:
    """Keep the versions with enough pixels that satisfy the condition."""
    (kind,) = asked.kinds
    database = pool.catalog.database
    sets = pixels.sets_of(database, serials)
    if len(sets) < len(serials):
        warn_without_rows(pool, len(serials) - len(sets), len(serials))
    box = None if asked.region is None else pixels.Box(asked.region[:2], asked.region[2:])
    warn_beyond(asked.condition, sets)
    counts = pixels.count_pixels(database, kind, sets, asked.condition, box)
    return [s.serial for s in sets if counts.get(s.set_id, 0) >= asked.at_least]


def _keys(refs: Sequence[ProductRef]) -> Sequence[tuple[Loader, int]]:
    if isinstance(refs, ProductRefs):
        return refs.keys
    for ref in refs:
        if not isinstance(ref, ProductRef):
            raise InvalidInput(f"an earlier result must consist of ProductRefs, but has a {type(ref).__name__}")
    return [ref.key for ref in refs]


def _filter(
    pool: Core,
    serials: Sequence[int],
    rest: Node,
    limit: int | None,
    executor: Executor | None,
    progress: Callable[[int, int], None] | None,
) -> list[int]:
    def rows() -> Iterator[ProductRow]:
        for start in range(0, len(serials), 100):
            yield from pool.catalog.rows(serials[start : start + 100])

    found: list[int] = []
    if limit == 0:
        return found
    serials = pool.with_arrays(serials)
    told = None if progress is None else lambda done: progress(done, len(serials))
    with closing(judge(pool, rows(), rest, executor=executor, progress=told)) as judged:
        for row, matches in judged:
            if matches:
                found.append(row.serial)
                if len(found) == limit:
                    break
    return found
