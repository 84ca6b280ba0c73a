"""The catalog's statements, and ``statements.json``, which has those that are always the same as SQLAlchemy wrote them.

To write a statement, SQLAlchemy must be loaded: twice as long as all else that `miripool ls` does. So this module is
loaded for questions that depend on a predicate only. After a change here, or of the tables, write the file again::

    python -m miripool.index.statements

A test compares it with what SQLAlchemy writes.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import ARRAY, Text, and_, bindparam, cast, exists, func, not_, or_, select, tuple_
from sqlalchemy.dialects.postgresql import psycopg2

from ..model.keywords import dictionary
from ..model.kinds import kinds_matching
from ..model.product import Context
from .compile import compile_where, count_matches, order_by
from .connection import PLACEHOLDER
from .engine import write_out
from .rows import NEWEST_FIRST
from .schema import dataset, keyword, link, made_from, moment, product, state, tag, tag_event
from .selection import GIVEN_SERIALS, conditions, products

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ColumnElement, Dialect, Select

    from ..query.tree import Node
    from .connection import Database

__all__ = ["FILE", "write_file", "write_serials"]

FILE = Path(__file__).with_name("statements.json")

_WRITTEN = 256
"""Questions that are kept as they were written out."""

_p, _e = product.c, tag_event.c


def _one_of(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Compare with a list of texts, one value for all of them."""
    return column == func.any(cast(bindparam(name), ARRAY(Text)))


def _if_given(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Compare with a value, unless that is NULL. The values stand in the statement, so that the planner sees which."""
    return or_(bindparam(name, type_=Text).is_(None), column == bindparam(name, type_=Text))


def _origins() -> Select[Any]:
    m = made_from.c
    inputs = cast(bindparam("inputs", type_=Text), ARRAY(m.input.type))
    wanted = or_(
        m.serial == func.any(GIVEN_SERIALS), m.input == func.any(inputs), _one_of(m.name, "names"),
        _one_of(m.digest, "digests"),
    )  # fmt: skip
    return select(m.serial, m.what, m.name, m.digest, m.input).where(wanted).order_by(m.serial, m.what, m.name)


def _with_reference() -> Select[Any]:
    k = keyword.c
    return select(k.serial, k.key).where(_one_of(k.key, "keys"), _one_of(k.text, "names")).order_by(k.serial, k.key)


def _tags() -> Select[Any]:
    events = select(_e.label, func.min(_e.time).label("first"), func.max(_e.time).label("last"))
    events_of = events.group_by(_e.label).subquery()
    in_context = tag.c.kind.in_(kinds_matching(Context))
    counts = func.count().filter(not_(in_context)).label("n"), func.count().filter(in_context).label("contexts")
    # Few versions are in the trash: a join with all the others took three times as long as of an earlier moment.
    removed = select(_p.serial).where(_p.serial == tag.c.serial, _p.removed.is_not(None)).exists()
    marks = select(tag.c.label, *counts).where(not_(removed)).group_by(tag.c.label).subquery()
    return (
        select(marks.c.label, marks.c.n, events_of.c.first, events_of.c.last, marks.c.contexts)
        .join(events_of, events_of.c.label == marks.c.label)
        .order_by(marks.c.label)
    )


def _tag_events() -> Select[Any]:
    columns = _e.entry, _e.time, _e.label, _e.kind, _e.name, _e.serial, _e.previous, _e.by
    wanted = [_if_given(column, column.name) for column in (_e.label, _e.kind, _e.name)]
    return select(*columns).where(*wanted).order_by(_e.id.desc()).limit(bindparam("limit"))


def _moves() -> Select[Any]:
    columns = _e.entry, _e.time, _e.label, _e.kind, _e.name, _e.serial, _e.previous, _e.by
    tracks = select(_p.kind, _p.name).where(_p.serial == func.any(GIVEN_SERIALS))
    return select(*columns).where(tuple_(_e.kind, _e.name).in_(tracks)).order_by(_e.id)


def _statistics() -> Select[Any]:
    living = _p.removed.is_(None)
    sums = select(
        _p.kind,
        func.count().filter(living),
        func.count().filter(and_(_p.removed.is_not(None), _p.purged.is_(None))),
        func.count().filter(_p.head),
        func.count().filter(_p.version == 0),
        cast(func.coalesce(func.sum(_p.bytes).filter(living), 0), state.c.applied.type),
        cast(func.sum(_p.stored_bytes), state.c.applied.type),
    )
    return sums.group_by(_p.kind).order_by(_p.kind)


def _serials(where: ColumnElement[bool] | None = None, **wanted: Any) -> Select[Any]:
    return select(_p.serial).where(conditions(where=where, **wanted))


def _standing() -> Select[Any]:
    """Make the question where the index stands, and whether there is any version of some names."""
    s = state.c
    is_there = exists().where(_one_of(_p.name, "names"))
    return select(s.pool_id, s.products, s.applied, s.applied_digest, s.next_serial, is_there)


def _lists() -> dict[str, Select[Any]]:
    """Give the questions for serials that have no predicate."""
    which: dict[str, dict[str, Any]] = {
        "heads": {},
        "living": {"all_versions": True},
        "tagged": {"tag_label": bindparam("tag")},
    }
    made: dict[str, Select[Any]] = {}
    for name, wanted in which.items():
        for of_kinds in (False, True):
            for newest in (False, True):
                statement = _serials(**wanted)
                if of_kinds:
                    statement = statement.where(_one_of(_p.kind, "kinds"))
                order = order_by(NEWEST_FIRST, names=dictionary()) if newest else []
                statement = statement.order_by(*order, _p.serial).limit(bindparam("limit"))
                made[f"serials {name}{' of kinds' if of_kinds else ''}{' newest first' if newest else ''}"] = statement
    return made


def _statements() -> dict[str, Select[Any]]:
    s, links, marked = state.c, link.c, select(tag.c.serial).join(product, _p.serial == tag.c.serial)
    m = moment.c
    moments = select(m.entry, m.digest, m.next_serial, m.time)
    return {
        "stamp": select(s.pool_id, s.schema_version),
        "standing": _standing(),
        "position": select(s.pool_id, s.products, s.applied, s.applied_digest, s.next_serial),
        "has_past": select(s.has_past),
        "moment_of": moments.where(m.entry == bindparam("entry")),
        "moment_before": moments.where(m.time < bindparam("time")).order_by(m.time.desc(), m.entry.desc()).limit(1),
        "track": products().where(_p.kind == bindparam("kind"), _p.name == bindparam("name")).order_by(_p.version),
        "rows": products().where(_p.serial == func.any(GIVEN_SERIALS)),
        "heads": products().where(_p.name == bindparam("name"), _p.head).order_by(_p.kind),
        "named": products().where(_one_of(_p.name, "names")).order_by(_p.serial),
        "living": products().where(_one_of(_p.name, "names"), _p.removed.is_(None)).order_by(_p.serial),
        "origins": _origins(),
        "with_reference": _with_reference(),
        "referring": products()
        .where(_p.serial.in_(select(links.serial).where(links.target == func.any(GIVEN_SERIALS))))
        .order_by(_p.serial),
        "links": select(links.serial, links.name, links.target)
        .where(links.serial == func.any(GIVEN_SERIALS))
        .order_by(links.serial, links.name),
        "has_tag": marked.where(tag.c.label == bindparam("label"), _p.removed.is_(None)).limit(1),
        "tags": _tags(),
        "tag_events": _tag_events(),
        "moves": _moves(),
        "datasets": select(dataset)
        .where(dataset.c.serial == func.any(GIVEN_SERIALS))
        .order_by(dataset.c.serial, dataset.c.hdu),
        "statistics": _statistics(),
        "labels": select(func.count(tag.c.label.distinct()))
        .join(product, _p.serial == tag.c.serial)
        .where(_p.removed.is_(None)),
        **_lists(),
    }


def write_file() -> str:
    """Write out all statements that are always the same.

    Returns
    -------
    str
        What ``statements.json`` must hold: by name, the text and the values that are part of the statement.
    """
    dialect: Dialect = psycopg2.dialect()  # type: ignore[no-untyped-call]
    made = {}
    for name, statement in _statements().items():
        text, given = write_out(statement, dialect, PLACEHOLDER)
        made[name] = [" ".join(text.split()), {key: value for key, value in given.items() if value is not None}]
    return json.dumps(made, indent=1) + "\n"


def write_serials(
    database: Database,
    predicate: Node | None,
    *,
    pool: str | None,
    counts: bool,
    kinds: Sequence[str] | None,
    all_versions: bool,
    tag: str | None,
    among: Sequence[int] | None,
    order: Sequence[str],
    limit: int | None,
) -> tuple[str, Mapping[str, Any]]:
    """Write the question for the serials of what matches a predicate.

    Parameters
    ----------
    database : Database
        The index.
    predicate, pool, kinds, all_versions, tag, among, order, limit
        As for `miripool.index.catalog.Catalog.serials`.
    counts : bool, keyword-only
        Count first what each condition leaves.

    Returns
    -------
    str, mapping
        For `Database.ask`.
    """
    where = None
    if predicate is not None:
        counted = None
        if counts:
            with database.immediately() as connection:
                counted = count_matches(connection, predicate)
        where = compile_where(predicate, pool=pool, counts=counted)
    wanted = (where, None if kinds is None else tuple(kinds), all_versions, tag)
    if among is None and not order:
        return _kept_serials(database.dialect, database.schema, *wanted, limit)
    statement = _serials(where=where, kinds=kinds, all_versions=all_versions, tag_label=tag, among=among).order_by(
        *order_by(order, names=dictionary()) if order else (), _p.serial
    )
    return write_out(statement.limit(limit), database.dialect, database.schema)


@functools.lru_cache(maxsize=_WRITTEN)
def _kept_serials(
    dialect: Dialect,
    schema: str,
    where: ColumnElement[bool] | None,
    kinds: tuple[str, ...] | None,
    all_versions: bool,
    tag_label: str | None,
    limit: int | None,
) -> tuple[str, Mapping[str, Any]]:
    """Write the question for serials, once; `compile_where` gives the same object for the same predicate."""
    statement = _serials(where=where, kinds=kinds, all_versions=all_versions, tag_label=tag_label)
    return write_out(statement.order_by(_p.serial).limit(limit), dialect, schema)


if __name__ == "__main__":
    FILE.write_text(write_file(), "utf-8")
