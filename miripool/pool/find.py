"""Find: the references that a query gives, and why it gives none."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput
from ..query.queries import as_query
from . import tags
from .reasons import why_empty
from .reference import ProductRef, ProductRefs
from .select import refuse_unknown, select, sort_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

    from ..query import Query
    from .core import Core

__all__ = ["as_asked", "find"]


def find(
    core: Core,
    query: Any,
    previous: Any = None,
    *,
    tag: str | None = None,
    all_versions: bool | None = None,
    order: str | Sequence[str] | None = None,
    limit: int | None = None,
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ProductRefs:
    """Find products; the parameters are those of `Pool.select`.

    Parameters
    ----------
    core : Core
        The pool.
    query : Query, or what `as_query` makes one of
        What to look for.
    previous, tag, all_versions, order, limit, executor, progress : object
        As for `Pool.select`.

    Returns
    -------
    ProductRefs
        Lazily loading references.
    """
    previous = _earlier(previous)
    tags.check_tag(tag)
    keys = sort_keys(order)
    asked, label = as_asked(core, query, tag, keys)
    serials = select(
        core,
        asked,
        previous,
        tag=label,
        all_versions=all_versions,
        order=keys,
        limit=limit,
        executor=executor,
        progress=progress,
    )
    why = partial(why_empty, core, asked, previous, tag=label, all_versions=all_versions)
    return ProductRefs([(core, s) for s in serials], why=None if limit == 0 else why)


def as_asked(core: Core, query: Any, tag: str | None = None, order: Sequence[str] = ()) -> tuple[Query, str | None]:
    """Make a question ready to be answered: the index is caught up, and what nobody can know is refused.

    Parameters
    ----------
    core : Core
        The pool.
    query : Query, or what `as_query` makes one of
        What to look for.
    tag : str, optional
        As for `Pool.select`.
    order : sequence of str, optional
        What is sorted by.

    Returns
    -------
    Query, str or None
        The question, and the tag among whose versions to look: the query's own unless one was given.

    Raises
    ------
    TagNotFound
        If the tag marks no version.
    UnknownKeyword, QueryError, InvalidInput
        As for `refuse_unknown`.
    """
    asked = as_query(query)
    label = asked.tag if tag is None else tag
    core.catch_up()
    if label is not None and not core.catalog.has_tag(label):
        raise tags.no_such_tag(core, label)
    refuse_unknown([core], asked, order)
    return asked, label


def _earlier(previous: Any) -> Sequence[ProductRef] | None:
    if isinstance(previous, ProductRef):
        return [previous]
    if isinstance(previous, (type, str)):
        shown = previous.__name__ if isinstance(previous, type) else repr(previous)
        raise InvalidInput(
            f"the second argument of select(query, previous) must be an earlier result, not {shown}; "
            'to select a kind, write MetaQuery(Ramp, "p", "ngroups >= 20") or "kind == \'Ramp\' and ngroups >= 20"'
        )
    return previous  # type: ignore[no-any-return]
