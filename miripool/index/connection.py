"""One schema of one PostgreSQL server: connections with the settings that the index relies on."""

from __future__ import annotations

import contextlib
import json
import sys
import urllib.parse
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg2

from ..errors import InvalidInput
from ..model.canonical import digest_bytes
from ..server.libpq import SECRETS, is_embedded
from .copiedrows import copy_rows
from .copysource import CopySource, Watched
from .driver import cancel
from .interrupt import in_use, interrupted
from .line import line_to
from .moments import then_reader
from .sqlerrors import LOCK_TIMEOUT, refusing_no_text, sqlstate, translate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy import URL, ClauseElement, Connection, Dialect, Engine

    from .moments import Moment

__all__ = ["PLACEHOLDER", "CopySource", "Database", "describe_url", "lock_key", "quote", "schema_name"]

_T = TypeVar("_T")
_OLDEST = (
    "SELECT format('%%s of %%s, process %%s, %%s since %%s', coalesce(nullif(application_name, ''), 'a session'), "
    "usename, pid, state, to_char(xact_start, 'HH24:MI:SS')) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL "
    "ORDER BY xact_start LIMIT 3"
)
_NAME_BYTES = 63
"""PostgreSQL cuts longer identifiers (NAMEDATALEN - 1) without an error."""
PLACEHOLDER = "*"
"""Stands for the schema in ``statements.json``."""
_PREFIX = "pool "
_RESERVED = frozenset({"public", "information_schema", "$user"})


def schema_name(pool_name: str) -> str:
    """Give the PostgreSQL schema of a pool: its name, unless PostgreSQL would not have that.

    Parameters
    ----------
    pool_name : str
        Any valid pool name; blanks, dots and capitals are kept.

    Returns
    -------
    str
        Not quoted. Different names give different schemas.
    """
    name = pool_name
    if name.lower().startswith(("pg_", _PREFIX)) or name.lower() in _RESERVED:
        name = _PREFIX + name
    encoded = name.encode()
    if len(encoded) <= _NAME_BYTES:
        return name
    mark = "~" + digest_bytes(pool_name.encode())[:12]
    return encoded[: _NAME_BYTES - len(mark)].decode(errors="ignore") + mark


def quote(identifier: str) -> str:
    """Quote an identifier for SQL that goes to the server as it is.

    Parameters
    ----------
    identifier : str
        Name of a schema, table or column.

    Returns
    -------
    str
        In double quotes.
    """
    return '"' + identifier.replace('"', '""') + '"'


def lock_key(what: str) -> int:
    """Give the number of an advisory lock.

    Parameters
    ----------
    what : str
        What is locked.

    Returns
    -------
    int
        A signed 64-bit number.
    """
    return int(digest_bytes(f"miripool {what}".encode())[:16], 16) - (1 << 63)


def describe_url(url: str) -> str:
    """Tell where a database is, for people: without user and password.

    Parameters
    ----------
    url : str
        As users give it.

    Returns
    -------
    str
        Host, port and database.
    """
    from .engine import engine_url

    return _where(engine_url(url))


class Database:
    """One schema of one server.

    Parameters
    ----------
    url : str
        The database.
    schema : str
        Name of the schema, not quoted.
    read_only : bool, keyword-only
        Have the server refuse every change.
    moment : Moment, keyword-only, optional
        Ask what was so then; such a schema can only be read.

    Attributes
    ----------
    confirm : callable or None
        Called where the schema or a table is not there: raises PoolNotFound if that is because the pool is gone.
    """

    def __init__(self, url: str, schema: str, *, read_only: bool = False, moment: Moment | None = None) -> None:
        self.schema = schema
        self.read_only = read_only or moment is not None
        self.confirm: Callable[[], None] | None = None
        self._given = url
        self._line = line_to(url, read_only=self.read_only, further=() if moment is None else moment.settings)
        self._then = None if moment is None else then_reader(schema, quote(schema))
        self._engine: Engine | None = None

    @property
    def where(self) -> str:
        """The server in words, without a password."""
        return _where(self._url)

    @property
    def _url(self) -> URL:
        return self._line.url  # the engine's lacks the options

    @property
    def _base(self) -> Engine:
        return self._line.engine

    @property
    def _connectable(self) -> Engine:
        self._line.users.add(self)
        if self._engine is None:
            self._engine = self._base.execution_options(schema_translate_map={None: self.schema})
            if self._then is not None:
                from .engine import change_statements

                change_statements(self._engine, self._then)
        return self._engine

    def __repr__(self) -> str:
        return f"<Database {self.where}, schema {self.schema!r}>"

    @property
    def psql_url(self) -> str:
        """The database for psql; may hold a password."""
        return self._url.set(drivername="postgresql").render_as_string(hide_password=False)

    def as_user(self, name: str | None) -> Database:
        """Give the same schema on connections that can only read.

        Parameters
        ----------
        name : str or None
            Of the role; None for the same user.

        Returns
        -------
        Database
            To be closed by itself.
        """
        url = self._url if name is None else self._url.set(username=name)
        return Database(url.render_as_string(hide_password=False), self.schema, read_only=True)

    def beside(self, schema: str) -> Database:
        """Give another schema of the same database.

        Parameters
        ----------
        schema : str
            Its name.

        Returns
        -------
        Database
            To be closed by itself.
        """
        return Database(self._given, schema, read_only=self.read_only)

    def at(self, moment: Moment) -> Database:
        """Give the same schema as it was at a moment, on connections that can only read.

        Parameters
        ----------
        moment : Moment
            When.

        Returns
        -------
        Database
            To be closed by itself.
        """
        return Database(self._given, self.schema, moment=moment)

    @contextlib.contextmanager
    def translating(self) -> Iterator[None]:
        """Turn errors of the database into miripool's.

        Yields
        ------
        None
            For the body.

        Raises
        ------
        MiripoolError
            What the error means; see `sqlerrors`.
        """
        try:
            with refusing_no_text():
                yield
        except _database_errors() as error:
            stopped = interrupted()
            if stopped is not None:
                raise stopped from None
            blockers = self._oldest_transactions() if sqlstate(error) == LOCK_TIMEOUT else ""
            # The chain is cut: SQLAlchemy's text holds the statement, libpq's may hold the connection's parameters.
            own = is_embedded(self._url.query.get("host"))
            raise translate(error, self.where, self._clean, blockers, self.confirm, embedded=own) from None

    def _oldest_transactions(self) -> str:
        """Say who most likely holds a lock: the transactions that have been open longest."""
        with contextlib.suppress(*_database_errors()):
            return "; ".join(line for (line,) in self.fetch(_OLDEST))
        return ""

    def _clean(self, text: str) -> str:
        for secret in _secrets(self._url):
            text = text.replace(secret, "***")
        return text

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a connection for reading.

        Yields
        ------
        sqlalchemy.Connection
            What it changes is rolled back.
        """
        with self.translating(), self._connectable.connect() as connection, _interruptible(connection):
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a connection with a transaction that is committed at the end of the body.

        Yields
        ------
        sqlalchemy.Connection
            Rolled back where the body raises.
        """
        # A connection whose statement was cancelled is thrown away after the commit.
        engine = self._connectable
        with self.translating(), engine.connect() as connection, _interruptible(connection), connection.begin():
            yield connection

    @contextlib.contextmanager
    def immediately(self) -> Iterator[Connection]:
        """Open a connection on which each statement is a transaction of its own.

        VACUUM wants that, and short questions are quicker so: nothing is begun and rolled back.

        Yields
        ------
        sqlalchemy.Connection
            In autocommit.
        """
        with self.read() as connection:
            driver: Any = connection.connection.dbapi_connection
            driver.autocommit = True  # through SQLAlchemy it would be one more question to the server
            try:
                yield connection
            finally:
                if not driver.closed:
                    driver.autocommit = False

    @property
    def dialect(self) -> Dialect:
        """What SQLAlchemy writes statements by."""
        return self._base.dialect

    def written(self, statement: ClauseElement, **values: Any) -> tuple[str, dict[str, Any]]:
        """Give a statement as it goes to the server, for `ask` or ``exec_driver_sql``; it is written out once.

        Parameters
        ----------
        statement : sqlalchemy.ClauseElement
            On the tables of `miripool.index.schema`, made once: as an object it is what the text is kept by.
        **values
            Of its ``bindparam``, as psycopg2 takes them.

        Returns
        -------
        str, dict
            The text, and all values by name.
        """
        from .engine import kept

        text, given = kept(statement, self.dialect, self.schema)
        return text, {**given, **values}

    def ask(self, question: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        """Ask one short question by SQL that goes to the server as it is; a transaction of its own.

        For what is asked all the time: SQLAlchemy takes longer to put a statement together than the server to answer.

        Parameters
        ----------
        question : str
            One statement, with ``%s`` or ``%(name)s`` for each value.
        values : sequence or mapping
            The values.

        Returns
        -------
        list of tuple
            The rows.
        """
        with self.translating():
            return self.fetch(question, values)

    def fetch(self, question: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        """Ask as `ask` does, for who looks at errors of the database.

        Parameters
        ----------
        question, values : object
            As for `ask`.

        Returns
        -------
        list of tuple
            The rows.

        Raises
        ------
        psycopg2.Error
            As the server has it.
        """
        asked = question if self._then is None else self._then(question)
        return self._lent(lambda driver: _rows(driver, asked, values))

    def copied(self, question: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[bytes]:
        """Ask as `ask` does, by COPY in binary form: less work than text for the server, and for the client.

        Parameters
        ----------
        question, values : object
            As for `ask`; a SELECT.

        Returns
        -------
        list of bytes
            A row each, for `miripool.index.pixels.fields`.
        """
        asked = question if self._then is None else self._then(question)
        with self.translating():
            return self._lent(lambda driver: copy_rows(driver, asked, values))

    def _lent(self, work: Callable[[Any], _T]) -> _T:
        """Have something done on a connection of psycopg2 on which each statement is a transaction of its own."""
        self._line.users.add(self)
        if self._line.is_direct:
            with self._line.lent() as plain:
                return work(plain)
        lent = self._connectable.raw_connection()
        try:
            driver: Any = lent.dbapi_connection
            with in_use(partial(cancel, driver), lent.invalidate):
                driver.autocommit = True
                done = work(driver)
                driver.autocommit = False
        except BaseException as error:
            if lent.is_valid:
                lent.invalidate(error)
            raise
        finally:
            lent.close()
        return done

    def prepared(self, name: str, /, **values: Any) -> tuple[str, dict[str, Any]]:
        """Give a statement of `miripool.index.statements` as it goes to the server, for `ask` and `fetch`.

        SQLAlchemy is not loaded: the file ``statements.json`` has what it wrote.

        Parameters
        ----------
        name : str
            Of the statement.
        **values
            Of its ``bindparam``, as psycopg2 takes them.

        Returns
        -------
        str, dict
            The text, and all values by name.
        """
        text, given = _prepared()[name]
        return text.replace(f'"{PLACEHOLDER}"', quote(self.schema).replace("%", "%%")), {**given, **values}

    def table(self, name: str) -> str:
        """Give the full, quoted name of a table, for SQL that goes to the server as it is.

        Parameters
        ----------
        name : str
            Of the table.

        Returns
        -------
        str
            E.g. ``"jpl8"."product"``.
        """
        return f"{quote(self.schema)}.{quote(name)}"

    def run(self, connection: Connection, script: str) -> None:
        """Run SQL statements whose names are looked up in this schema first, until the transaction ends.

        Parameters
        ----------
        connection : sqlalchemy.Connection
            In a transaction.
        script : str
            One or more statements, without parameters.
        """
        with _cursor(connection) as cursor:
            cursor.execute(f"SET LOCAL search_path TO {quote(self.schema)}")
            cursor.execute(script)

    def copy(
        self, connection: Connection, table: str, columns: Sequence[str], source: CopySource, *, options: str = ""
    ) -> None:
        """Load rows by COPY.

        Parameters
        ----------
        connection : sqlalchemy.Connection
            In a transaction.
        table : str
            Name.
        columns : sequence of str
            Names, in the order of the fields.
        source : CopySource
            Rows in COPY's text format, or as the options say.
        options : str, keyword-only
            Of the statement, e.g. ``FORMAT binary``.
        """
        names = ", ".join(quote(name) for name in columns)
        form = f" WITH ({options})" if options else ""
        self.send(connection, f"COPY {self.table(table)} ({names}) FROM STDIN{form}", source)

    def answer(
        self, connection: Connection, question: str, values: Sequence[Any] | Mapping[str, Any] = ()
    ) -> list[tuple[Any, ...]]:
        """Ask as `ask` does, within a transaction.

        Parameters
        ----------
        connection : sqlalchemy.Connection
            In the transaction.
        question, values : object
            As for `ask`.

        Returns
        -------
        list of tuple
            The rows.
        """
        with _cursor(connection) as cursor:
            cursor.execute(question, values)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows

    def send(self, connection: Connection, script: str, source: CopySource | None = None) -> None:
        """Send SQL that goes to the server as it is, in one message, within a transaction.

        Parameters
        ----------
        connection : sqlalchemy.Connection
            In the transaction.
        script : str
            One or more statements, without parameters.
        source : CopySource, optional
            The rows, if one of them is a COPY.
        """
        watched = None if source is None else Watched(source)
        try:
            with _cursor(connection) as cursor:
                if watched is None:
                    cursor.execute(script)
                else:
                    cursor.copy_expert(script, watched, 1 << 18)
        except BaseException:
            if watched is not None and watched.error is not None:
                raise watched.error from None
            raise
        if watched is not None and watched.error is not None:
            raise watched.error

    def rename(self, schema: str) -> None:
        """Give the schema another name.

        Parameters
        ----------
        schema : str
            The new name.

        Raises
        ------
        AlreadyExists
            If there is a schema of that name.
        """
        with self.write() as connection, _cursor(connection) as cursor:
            cursor.execute(f"ALTER SCHEMA {quote(self.schema)} RENAME TO {quote(schema)}")
        self.schema = schema
        self._engine = None

    def close(self) -> None:
        """Let go of the connection, which is closed unless another pool uses it; a later use opens a new one."""
        self._line.users.discard(self)
        if not self._line.users:
            self._line.close()


def _database_errors() -> tuple[type[BaseException], ...]:
    """Give what the database raises; SQLAlchemy's errors if it is loaded."""
    loaded = sys.modules.get("sqlalchemy.exc")
    return (psycopg2.Error,) if loaded is None else (psycopg2.Error, loaded.SQLAlchemyError)


def _rows(driver: Any, question: str, values: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
    with contextlib.closing(driver.cursor()) as cursor:
        cursor.execute(question, values)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


@cache
def _prepared() -> dict[str, tuple[str, dict[str, Any]]]:
    found = json.loads(Path(__file__).with_name("statements.json").read_text("utf-8"))
    return {name: (text, given) for name, (text, given) in found.items()}


def _interruptible(connection: Connection) -> AbstractContextManager[None]:
    return in_use(partial(cancel, connection.connection.dbapi_connection), connection.invalidate)


@contextlib.contextmanager
def _cursor(connection: Connection) -> Iterator[Any]:
    driver: Any = connection.connection.dbapi_connection
    if driver is None:  # pragma: no cover -- a connection in use always has one
        raise InvalidInput("the connection is closed")
    try:
        with contextlib.closing(driver.cursor()) as cursor:
            yield cursor
    except psycopg2.Error as error:
        if driver.closed:
            connection.invalidate(error)  # else SQLAlchemy tries a rollback, and reports that its rollback failed
        raise


def _where(url: URL) -> str:
    host = url.host or url.query.get("host") or "on this machine"
    host = host if isinstance(host, str) else ", ".join(host)
    return f"{host}{f':{url.port}' if url.port else ''}, database {url.database or url.username or 'of this user'}"


def _secrets(url: URL) -> list[str]:
    texts = {str(value) for value in (url.password, *map(url.query.get, SECRETS)) if value}
    return sorted(texts | {urllib.parse.quote(text, safe="") for text in texts}, key=len, reverse=True)
