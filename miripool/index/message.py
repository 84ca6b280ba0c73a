"""Message: statements that go to the server together, and the rows of one COPY among them.

Each question and its answer cost some 0.1 ms, on both sides; a small save needs a dozen statements.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

from .connection import quote
from .plans import Plans

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ClauseElement, Connection

    from .connection import CopySource, Database

__all__ = ["Message"]

_ESCAPED = re.compile(r"\\(.)")
_MEANING = {"t": "\t", "n": "\n", "r": "\r"}
"""What COPY's text format writes behind a backslash; any other character stands for itself."""


class Message:
    """Statements for one transaction, sent by `send`; none of them gives rows.

    Parameters
    ----------
    database : Database
        The index.
    connection : sqlalchemy.Connection
        In the transaction.

    Attributes
    ----------
    database : Database
        The index.
    """

    def __init__(self, database: Database, connection: Connection) -> None:
        self.database = database
        self._connection = connection
        self._statements: list[str] = []
        self._source: CopySource | None = None
        self._writer: Any = None
        """A cursor that executes nothing: it writes values into statements."""

    def add(self, statement: str, values: Mapping[str, Any] | None = None) -> None:
        """Add a statement.

        Parameters
        ----------
        statement : str
            SQL that goes to the server as it is; with values, ``%(name)s`` for each and ``%%`` for a percent sign.
        values : mapping, optional
            As psycopg2 takes them.
        """
        self._statements.append(statement if values is None else self._fill(statement, values))

    def add_kept(self, statement: ClauseElement, **values: Any) -> None:
        """Add a statement of SQLAlchemy, as `add_planned` does.

        Parameters
        ----------
        statement : sqlalchemy.ClauseElement
            As for `Database.written`: it is written out once.
        **values
            Of its ``bindparam``, as psycopg2 takes them.
        """
        self.add_planned(*self.database.written(statement, **values))

    def add_planned(self, statement: str, values: Mapping[str, Any]) -> None:
        """Add a statement of which the server keeps the plan; what was added before may be sent.

        Parameters
        ----------
        statement, values
            As for `add`, with values.
        """
        plans = Plans(self.database, self._connection)
        if not plans.knows(statement):
            self.send()
        self.add(plans.call(statement, values), values)

    def insert(self, table: str, columns: Sequence[str], lines: bytes) -> None:
        """Add an INSERT of few rows: it costs less than a COPY, which is a question of its own.

        Parameters
        ----------
        table : str
            Name.
        columns : sequence of str
            Names, in the order of the fields.
        lines : bytes
            Rows in COPY's text format.
        """
        rows = [[_value(field) for field in line.split("\t")] for line in lines.decode().split("\n")[:-1]]
        row = f"({', '.join(['%s'] * len(columns))})"
        values = self._fill(", ".join([row] * len(rows)), [value for fields in rows for value in fields])
        statement = f"INSERT INTO {self.database.table(table)} ({_names(tuple(columns))}) VALUES {values}"  # noqa: S608 - quoted
        self.add(statement)

    def copy(self, table: str, columns: Sequence[str], source: CopySource, *, options: str = "") -> None:
        """Add a COPY; what was added before another one is sent.

        Parameters
        ----------
        table, columns, source, options
            As for `Database.copy`.
        """
        if self._source is not None:
            self.send()
        self._source = source
        form = f" WITH ({options})" if options else ""
        self.add(f"COPY {self.database.table(table)} ({_names(tuple(columns))}) FROM STDIN{form}")

    def send(self) -> None:
        """Send what was added, if there is anything, and wait until it is done.

        Raises
        ------
        psycopg2.Error
            What the server says of a statement; those after it were not done. What the source of a COPY raises.
        """
        statements, source = self._statements, self._source
        self._statements, self._source = [], None
        if statements:
            self.database.send(self._connection, "; ".join(statements), source)

    def _fill(self, statement: str, values: Any) -> str:
        driver: Any = self._connection.connection.dbapi_connection
        if self._writer is None:
            self._writer = driver.cursor()
        text: bytes = self._writer.mogrify(statement, values)
        return text.decode()


@functools.lru_cache(maxsize=64)
def _names(columns: tuple[str, ...]) -> str:
    return ", ".join(map(quote, columns))


def _value(field: str) -> str | None:
    """Read a field of COPY's text format."""
    if field == "\\N":
        return None
    return _ESCAPED.sub(lambda found: _MEANING.get(found[1], found[1]), field) if "\\" in field else field
