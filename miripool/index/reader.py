"""Questions in SQL, by a role of the database that can only read.

A superuser can run programs even in a read-only transaction, so no question is asked as one: the embedded server has a
role of its own for questions, and on another server the URL's user must have no more rights than its owner wants.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import psycopg2

from ..errors import InvalidInput, ReadOnly
from .connection import Database, quote

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["READER", "Answer", "ask", "grant_reader", "is_granted"]

READER = "miripool_reader"
"""Role that may read pools and nothing else."""

_PAGE = 5_000


class Answer:
    """Rows that answer a question in SQL; they are fetched as you loop over them.

    Parameters
    ----------
    columns : sequence of str
        Their names.
    rows : iterator of tuple
        In the order of the question.

    Attributes
    ----------
    notice : str or None
        Says which versions have no pixel rows, so that the answer may leave them out; None if none are missing.
    """

    notice: str | None = None

    def __init__(self, columns: Sequence[str], rows: Iterator[tuple[Any, ...]]) -> None:
        self.columns = list(columns)
        self._rows = rows

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self._rows


def grant_reader(database: Database) -> None:
    """Let the role `READER` read a pool, and all that is made in it later; the role is made where there is none.

    Parameters
    ----------
    database : Database
        The pool's schema, as its owner.

    Raises
    ------
    ReadOnly
        If this user may not make roles.
    """
    from sqlalchemy import text

    schema = quote(database.schema)
    make = (
        f"DO $$ BEGIN CREATE ROLE {READER} LOGIN; "
        "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;"
    )
    rights = (
        f"GRANT USAGE ON SCHEMA {schema} TO {READER};"
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {READER};"
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT ON TABLES TO {READER};"
    )
    with database.read() as connection:
        known = connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": READER}).scalar()
    if known is None:
        with database.write() as connection:
            database.run(connection, make)
    with database.write() as connection:
        if not is_granted(connection, database.schema):
            database.run(connection, rights)


def is_granted(connection: Any, schema: str) -> bool:
    """Tell whether the role `READER` may read a schema, and what is made in it later.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        Any.
    schema : str
        Not quoted.

    Returns
    -------
    bool
        False also where there is no such role.
    """
    from sqlalchemy import text

    known = connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": READER}).scalar()
    if known is None:
        return False
    found = connection.execute(
        text(
            "SELECT has_schema_privilege(:role, n.oid, 'USAGE') AND EXISTS ("
            "SELECT FROM pg_default_acl d WHERE d.defaclnamespace = n.oid AND CAST(d.defaclacl AS text) LIKE :grant"
            ") FROM pg_namespace n WHERE n.nspname = :schema"
        ),
        {"role": READER, "schema": schema, "grant": f"%{READER}=r/%"},
    ).scalar()
    return bool(found)


@contextlib.contextmanager
def ask(database: Database, statement: str) -> Iterator[Answer]:
    """Ask one question, which can't change anything.

    Parameters
    ----------
    database : Database
        The pool's schema, for the user who asks.
    statement : str
        One statement that gives rows: SELECT, WITH, VALUES, TABLE, EXPLAIN, SHOW. Tables are looked up in the schema.

    Yields
    ------
    Answer
        Its columns and rows; good within the ``with``.

    Raises
    ------
    InvalidInput
        If it is not one such statement, or PostgreSQL can't read it: the message points at the place.
    ReadOnly
        If it writes.
    """
    with database.translating(), database.read() as connection:
        driver = connection.connection.dbapi_connection
        if driver is None:  # pragma: no cover -- a connection in use always has one
            raise InvalidInput("the connection is closed")
        cursor: Any
        with contextlib.closing(driver.cursor()) as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
            cursor.execute(f"SET LOCAL search_path TO {quote(database.schema)}")
            cursor.execute("SELECT usesuper FROM pg_user WHERE usename = current_user")
            if cursor.fetchone() == (True,):
                raise ReadOnly(
                    "the database's user is a superuser, who could change anything; give the URL of a user who can "
                    f"only read, such as {READER}, which `miripool server grant` creates"
                )
            try:
                cursor.execute("SELECT open_query(%s)", (statement,))
                cursor.execute(f"FETCH {_PAGE} FROM miripool_query")
                first = cursor.fetchall()
            except psycopg2.Error as error:
                raise _explained(error, statement) from None
            columns = [c.name for c in cursor.description or ()]
            yield Answer(columns, _rows(cursor, first, statement))


def _rows(cursor: Any, page: list[tuple[Any, ...]], statement: str) -> Iterator[tuple[Any, ...]]:
    while page:
        yield from page
        try:
            cursor.execute(f"FETCH {_PAGE} FROM miripool_query")
        except psycopg2.Error as error:
            raise _explained(error, statement) from None
        page = cursor.fetchall()


def _explained(error: psycopg2.Error, statement: str) -> Exception:
    """Give PostgreSQL's words on a question, with the place it points at."""
    code, diagnosis = error.pgcode or "", error.diag
    words = (diagnosis.message_primary or str(error)).strip()
    if code in ("25006", "42501"):
        return ReadOnly(f"SQL can only be used to read: {words}")
    if code == "42P11" or "cannot open" in words:
        return InvalidInput(f"give one statement that returns rows, e.g. SELECT: {words}")
    if code[:2] in ("42", "22", "0A", "21"):
        hint = f" ({diagnosis.message_hint})" if diagnosis.message_hint else ""
        position = diagnosis.internal_position or diagnosis.statement_position
        shown = ""
        if position is not None and diagnosis.internal_position:
            line_start = statement.rfind("\n", 0, int(position) - 1) + 1
            line = statement[line_start:].partition("\n")[0]
            shown = f"\n  {line}\n  {' ' * (int(position) - 1 - line_start)}^"
        return InvalidInput(f"PostgreSQL: {words}{hint}{shown}")
    return error
