"""Plans: statements that the server has planned once for a connection, and knows by a name.

To plan a statement of several steps takes PostgreSQL 0.2 to 0.7 ms, ten times as long as to do it for one product.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from .connection import Database

__all__ = ["FOR_FEW", "Plans"]

FOR_FEW = "SET LOCAL plan_cache_mode TO force_generic_plan; SET LOCAL enable_seqscan TO off"
"""Statements for a transaction that looks up a few rows of large tables: plans are kept, whatever the values, and suit
tables that grow.
"""

_MOST = 200
"""Plans of a connection, some 50 KB each in the server; a pool has about ten."""

_TYPES = "SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = %s"

_numbers = itertools.count()
"""Of plans; none is used again, for a name may have been taken by what was interrupted."""


class Plans:
    """The plans of one connection. They last as long as the connection to the server.

    PostgreSQL makes them again, from the text of the statements, once any schema has got another name: `reindex` puts
    a new index in the place of the old one so.

    Parameters
    ----------
    database : Database
        The index.
    connection : sqlalchemy.Connection
        In a transaction.
    """

    def __init__(self, database: Database, connection: Connection) -> None:
        self._database = database
        self._connection = connection
        self._known: dict[str, str] = connection.info.setdefault("plans", {})

    def knows(self, statement: str) -> bool:
        """Tell whether the server has planned a statement.

        Parameters
        ----------
        statement : str
            With ``%(name)s`` for each value.

        Returns
        -------
        bool
            True if so.
        """
        return statement in self._known

    def call(self, statement: str, values: Mapping[str, Any]) -> str:
        """Give the statement by which a plan is used; have it planned unless it is.

        Parameters
        ----------
        statement : str
            With ``%(name)s`` for each value and ``%%`` for a percent sign.
        values : mapping
            The values.

        Returns
        -------
        str
            With the same values.
        """
        call = self._known.get(statement)
        if call is None:
            call = self._known[statement] = self._prepare(statement, list(values))
        return call

    def _prepare(self, statement: str, names: list[str]) -> str:
        if len(self._known) >= _MOST:
            self._database.send(self._connection, "DEALLOCATE ALL")
            self._known.clear()
        plan = f"miripool_{next(_numbers)}"
        script = statement % {name: f"${number}" for number, name in enumerate(names, 1)}
        self._database.send(self._connection, f"PREPARE {plan} AS {script}")
        ((types,),) = self._database.answer(self._connection, _TYPES, (plan,))
        given = ", ".join(f"CAST(%({name})s AS {kind})" for name, kind in zip(names, types, strict=True))
        return f"EXECUTE {plan} ({given})" if given else f"EXECUTE {plan}"
