"""One schema of one PostgreSQL server: connections with the settings that the index relies on."""

from __future__ import annotations

import contextlib
import os
import urllib.parse
import weakref
from typing import TYPE_CHECKING, Any, Protocol

import psycopg2
from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from ..canonical import digest_bytes
from ..errors import InvalidInput
from .sqlerrors import translate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

__all__ = ["Database", "Source", "describe_url", "engine_url", "lock_key", "quote", "schema_name"]

_SETTINGS = {
    # On Debian's server it is on and makes 51 ms of 571 (PIXELS.md, traps).
    "jit": "off",
    "timezone": "UTC",
}
_CONNECT_SECONDS = 10
_NAME_BYTES = 63
"""PostgreSQL cuts longer identifiers (NAMEDATALEN - 1) without an error."""
_PREFIX = "pool "
_RESERVED = frozenset({"public", "information_schema", "$user"})

_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


def _forget_connections() -> None:
    # A socket shared with the parent would mix up both sessions. psycopg2 leaves another process's sockets open.
    for engine in list(_engines):
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_forget_connections)


class Source(Protocol):
    """What COPY reads."""

    def read(self, size: int = ..., /) -> bytes:
        """Give the next bytes, none at the end."""


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


def engine_url(url: str) -> URL:
    """Read a database URL as users give it.

    Parameters
    ----------
    url : str
        ``postgresql://…`` with or without a driver; a socket folder as ``?host=/folder`` or, as libpq has it,
        percent-encoded in the host's place.

    Returns
    -------
    sqlalchemy.URL
        For psycopg2. A bare ``postgresql://`` would mean another driver in SQLAlchemy 2.1.

    Raises
    ------
    InvalidInput
        If it is not the URL of a PostgreSQL database.
    """
    wanted = "MIRIPOOL_DATABASE_URL wants postgresql+psycopg2://user@host/database"
    try:
        made = make_url(url)
    except (ArgumentError, ValueError):
        # The text is not shown: it may hold a password.
        raise InvalidInput(f"the database's URL can't be read; {wanted}") from None
    if made.drivername.partition("+")[0] not in {"postgresql", "postgres"}:
        raise InvalidInput(f"{made.drivername!r} is no PostgreSQL database; {wanted}")
    made = made.set(drivername="postgresql+psycopg2")
    if made.host and "%2f" in made.host.lower():
        made = made.update_query_dict({"host": urllib.parse.unquote(made.host)})
        made = made._replace(host=None)
    return made


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

    Attributes
    ----------
    where : str
        The server in words, without a password.
    """

    def __init__(self, url: str, schema: str, *, read_only: bool = False) -> None:
        made = engine_url(url)
        self.schema = schema
        self.read_only = read_only
        self.where = _where(made)
        self._secrets = _secrets(made)
        settings = {**_SETTINGS, **({"default_transaction_read_only": "on"} if read_only else {})}
        given = made.query.get("options", "")
        options = [given if isinstance(given, str) else " ".join(given)]
        options += [f"-c {name}={value}" for name, value in settings.items()]
        self._base = create_engine(
            made.difference_update_query(["options"]),
            # One connection stays open; threads that ask at once get others, which are closed when given back.
            poolclass=QueuePool,
            pool_size=1,
            max_overflow=31,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={
                "options": " ".join(options).strip(),
                "application_name": "miripool",
                "client_encoding": "utf8",
                **({} if "connect_timeout" in made.query else {"connect_timeout": _CONNECT_SECONDS}),
            },
        )
        _engines.add(self._base)
        self._engine = self._translated(schema)

    def _translated(self, schema: str) -> Engine:
        return self._base.execution_options(schema_translate_map={None: schema})

    def __repr__(self) -> str:
        return f"<Database {self.where}, schema {self.schema!r}>"

    @property
    def psql_url(self) -> str:
        """The database for psql; may hold a password."""
        return self._base.url.set(drivername="postgresql").render_as_string(hide_password=False)

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
        url = self._base.url if name is None else self._base.url.set(username=name)
        return Database(url.render_as_string(hide_password=False), self.schema, read_only=True)

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
            yield
        except (SQLAlchemyError, psycopg2.Error) as error:
            # The chain is cut: SQLAlchemy's text holds the statement, libpq's may hold the connection's parameters.
            raise translate(error, self.where, self._clean) from None

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
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
        with self.translating(), self._engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a connection with a transaction that is committed at the end of the body.

        Yields
        ------
        sqlalchemy.Connection
            Rolled back where the body raises.
        """
        with self.translating(), self._engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def immediately(self) -> Iterator[Connection]:
        """Open a connection on which each statement is a transaction of its own, as VACUUM wants.

        Yields
        ------
        sqlalchemy.Connection
            In autocommit.
        """
        with (
            self.translating(),
            self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        ):
            yield connection

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
        self, connection: Connection, table: str, columns: Sequence[str], source: Source, *, options: str = ""
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
        source : Source
            Rows in COPY's text format, or as the options say.
        options : str, keyword-only
            Of the statement, e.g. ``FORMAT binary``.
        """
        names = ", ".join(quote(name) for name in columns)
        form = f" WITH ({options})" if options else ""
        with _cursor(connection) as cursor:
            cursor.copy_expert(f"COPY {self.table(table)} ({names}) FROM STDIN{form}", source, 1 << 18)

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
        self._engine = self._translated(schema)

    def close(self) -> None:
        """Close all connections; a later use opens new ones."""
        self._base.dispose()


@contextlib.contextmanager
def _cursor(connection: Connection) -> Iterator[Any]:
    driver = connection.connection.dbapi_connection
    if driver is None:  # pragma: no cover -- a connection in use always has one
        raise InvalidInput("the connection is closed")
    with contextlib.closing(driver.cursor()) as cursor:
        yield cursor


def _where(url: URL) -> str:
    host = url.host or url.query.get("host") or "on this machine"
    host = host if isinstance(host, str) else ", ".join(host)
    port = f":{url.port}" if url.port else ""
    return f"{host}{port}, database {url.database or url.username or 'of this user'}"


def _secrets(url: URL) -> list[str]:
    values: list[Any] = [url.password, url.query.get("password"), url.query.get("sslpassword")]
    texts = {str(value) for value in values if value}
    return sorted(texts | {urllib.parse.quote(text, safe="") for text in texts}, key=len, reverse=True)
