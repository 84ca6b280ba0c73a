"""Comparing an index with one that is made from the folder alone, beside it, and taken away again."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from . import apply, migrate
from .connection import quote
from .schema import corrected_exposure, dataset, exposure, keyword, link, made_from, product, state, tag, tag_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import Table

    from ..journal import Entry
    from ..manifest import Manifest
    from .connection import Database

__all__ = ["compare_with"]

_TABLES: tuple[Table, ...] = (
    state, product, dataset, keyword, tag, tag_event, link, made_from, exposure, corrected_exposure,
)  # fmt: skip
_LEFT_OUT = {"pool_state": {"analyzed_products"}}
"""Columns that do not follow from the folder."""


def compare_with(
    database: Database,
    pool_id: str,
    first_serial: int,
    entries: Iterable[Entry],
    manifest: Callable[[str], Manifest],
) -> list[tuple[str, str]]:
    """Hold an index against what its journal and manifests say.

    Parameters
    ----------
    database : Database
        The index; it has followed these entries.
    pool_id : str
        The pool's.
    first_serial : int
        The pool's.
    entries : iterable of Entry
        All of them.
    manifest : callable
        Gives the manifest of a digest.

    Returns
    -------
    list of (str, str)
        Tables that differ, and how.

    Raises
    ------
    ReadOnly
        If this user can't make tables.
    """
    scratch = database.beside(f"miripool verify {secrets.token_hex(6)}")
    migrate.prepare(scratch, pool_id, first_serial=first_serial, create=True)
    try:
        apply.take_in(scratch, pool_id, entries, manifest, None)
        found = [(table.name, _compare(database, scratch, table)) for table in _TABLES]
        return [(name, problem) for name, problem in found if problem is not None]
    finally:
        with scratch.write() as connection:
            connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {quote(scratch.schema)} CASCADE")
        scratch.close()


def _compare(ours: Database, folder: Database, table: Table) -> str | None:
    left_out = _LEFT_OUT.get(table.name, set())
    columns = ", ".join(quote(c.name) for c in table.c if c.name not in left_out)
    key = next(iter(table.primary_key.columns), next(iter(table.c))).name
    one, two = (f"{quote(d.schema)}.{quote(table.name)}" for d in (ours, folder))
    problems = []
    with ours.read() as connection:
        for label, first, second in (("too much", one, two), ("missing", two, one)):
            differing = f"SELECT {columns} FROM {first} EXCEPT ALL SELECT {columns} FROM {second}"
            statement = f"SELECT count(*), min({quote(key)}::text) FROM ({differing}) d"
            count, example = connection.exec_driver_sql(statement.replace("%", "%%")).one()
            if count:
                problems.append(f"{count} rows are {label} (e.g. {key} {example})")
    return "; ".join(problems) or None
