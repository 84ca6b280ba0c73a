"""One schema of one PostgreSQL server: connections with the settings that the index relies on."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import select
import threading
import time
import urllib.parse
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg2
from sqlalchemy import URL, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, InvalidatePoolError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from ..errors import InvalidInput
from ..model.canonical import digest_bytes
from ..server.libpq import SECRETS, is_clients_own, is_embedded, refused_by_libpq, settled
from .copysource import CopySource, Watched
from .interrupt import check_interrupt, in_use, interrupted
from .sqlerrors import LOCK_TIMEOUT, no_slot, refusing_no_text, sqlstate, translate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy import ClauseElement, Connection, Dialect

__all__ = ["CopySource", "Database", "describe_url", "engine_url", "lock_key", "quote", "schema_name", "write_out"]

_SETTINGS = {
    # On Debian's server it is on and makes 51 ms of 571 (PIXELS.md, traps).
    "jit": "off",
    "timezone": "UTC",
}
_PATIENCE = "-c lock_timeout=300s"
"""A setting of the user comes first. No session locks others out for longer than it takes in 100,000 products."""
_CONNECT_SECONDS = 10
_SLOT_SECONDS = 20.0
"""How long to try again where the server has no connection left."""
_OLDEST = text(
    "SELECT format('%s of %s, process %s, %s since %s', coalesce(nullif(application_name, ''), 'a session'), usename, "
    "pid, state, to_char(xact_start, 'HH24:MI:SS')) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL "
    "ORDER BY xact_start LIMIT 3"
)
_NAME_BYTES = 63
"""PostgreSQL cuts longer identifiers (NAMEDATALEN - 1) without an error."""
_JUST_NOW = 1.0
"""Seconds for which a connection that answered is taken to be good, unless the server said that it ends."""
_PREFIX = "pool "
_RESERVED = frozenset({"public", "information_schema", "$user"})

_engines: weakref.WeakValueDictionary[tuple[str, bool], Engine] = weakref.WeakValueDictionary()
"""One for all pools of a process on a server: hundreds may be open, and a server has some hundred connections."""
_users: weakref.WeakKeyDictionary[Engine, weakref.WeakSet[Database]] = weakref.WeakKeyDictionary()
_making = threading.Lock()


def _forget_connections() -> None:
    # A socket shared with the parent would mix up both sessions. psycopg2 leaves another process's sockets open.
    for engine in list(_engines.values()):
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_forget_connections)


def _connect(_dialect: Any, _record: Any, arguments: Any, parameters: Any) -> Any:
    """Connect; where the server has no connection left, wait for one: commands need theirs for moments."""
    deadline = time.monotonic() + _SLOT_SECONDS
    while True:
        try:
            with settled(embedded=is_embedded(parameters.get("host"))):
                return psycopg2.connect(*arguments, **parameters)
        except psycopg2.Error as error:
            if is_clients_own(error):
                raise refused_by_libpq(error, parameters) from None
            if not no_slot(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.1 + 0.2 * random.random())  # noqa: S311 - so that those who wait don't come all at once


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


@functools.lru_cache(maxsize=256)
def _kept(statement: ClauseElement, dialect: Dialect, schema: str) -> tuple[str, Mapping[str, Any]]:
    return write_out(statement, dialect, schema)


def write_out(statement: ClauseElement, dialect: Dialect, schema: str) -> tuple[str, Mapping[str, Any]]:
    """Give a statement as it goes to the server, for `Database.ask`.

    Parameters
    ----------
    statement : sqlalchemy.ClauseElement
        On the tables of `miripool.index.schema`.
    dialect : sqlalchemy.Dialect
        The database's.
    schema : str
        Where the tables are.

    Returns
    -------
    str, mapping
        The text, and its values by name.
    """
    written = statement.compile(
        dialect=dialect,
        schema_translate_map={None: schema},
        render_schema_translate=True,
        compile_kwargs={"render_postcompile": True},
    )
    return str(written), written.params


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
    wanted = "write MIRIPOOL_DATABASE_URL as postgresql+psycopg2://user@host/database"
    try:
        made = make_url(url)
    except (ArgumentError, ValueError):
        # The text is not shown: it may hold a password.
        raise InvalidInput(f"the database's URL can't be read; {wanted}") from None
    if made.drivername.partition("+")[0] not in {"postgresql", "postgres"}:
        raise InvalidInput(f"the database's URL names {made.drivername!r}, which is not PostgreSQL; {wanted}")
    made = made.set(drivername="postgresql+psycopg2")
    if made.host and "%2f" in made.host.lower():
        made = made.update_query_dict({"host": urllib.parse.unquote(made.host)})._replace(host=None)
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


def _shared_engine(url: URL, read_only: bool) -> Engine:
    key = url.render_as_string(hide_password=False), read_only
    with _making:
        engine = _engines.get(key)
        if engine is None:
            engine = _engines[key] = _make_engine(url, read_only)
            _users[engine] = weakref.WeakSet()
        return engine


def _make_engine(made: URL, read_only: bool) -> Engine:
    settings = {**_SETTINGS, **({"default_transaction_read_only": "on"} if read_only else {})}
    embedded = is_embedded(made.query.get("host"))
    given = made.query.get("options") or ("" if embedded else os.environ.get("PGOPTIONS", ""))
    options = [_PATIENCE, given if isinstance(given, str) else " ".join(given)]
    options += [f"-c {name}={value}" for name, value in settings.items()]
    limited = "connect_timeout" in made.query or ("PGCONNECT_TIMEOUT" in os.environ and not embedded)
    engine = create_engine(
        made.difference_update_query(["options"]),
        # These stay open: one to ask, two to load pixel rows. Other threads get others, closed when given back.
        poolclass=QueuePool,
        pool_size=3,
        max_overflow=29,
        pool_use_lifo=True,
        hide_parameters=True,
        connect_args={
            "options": " ".join(options).strip(),
            "application_name": "miripool",
            "client_encoding": "utf8",
            **({} if limited else {"connect_timeout": _CONNECT_SECONDS}),
        },
    )
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "checkout", partial(_check_alive, engine.dialect))
    event.listen(engine, "checkin", _note_use)
    event.listen(engine, "before_cursor_execute", _refuse_later)
    return engine


def _note_use(_driver: Any, record: Any) -> None:
    record.info["used"] = time.monotonic()


def _has_news(driver: Any) -> bool:
    """Tell whether the server said anything on a connection that waits for nothing, e.g. that it goes down."""
    news = select.poll()
    news.register(driver.fileno(), select.POLLIN)
    return bool(news.poll(0))


def _check_alive(dialect: Dialect, driver: Any, record: Any, _proxy: Any) -> None:
    """Ask a connection whether its server is there, unless it was used just now; SQLAlchemy makes another if not.

    Its own `pool_pre_ping` asks each time: half of what the server is asked by a short select.
    """
    used = record.info.get("used")
    # None: it was opened this moment.
    if used is None or (time.monotonic() - used < _JUST_NOW and not _has_news(driver)):
        return
    try:
        dialect.do_ping(driver)
    except psycopg2.Error as error:
        raise InvalidatePoolError from error


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
    confirm : callable or None
        Called where the schema or a table is not there: raises PoolNotFound if that is because the pool is gone.
    """

    def __init__(self, url: str, schema: str, *, read_only: bool = False) -> None:
        made = engine_url(url)
        self.schema = schema
        self.read_only = read_only
        self.where = _where(made)
        self.confirm: Callable[[], None] | None = None
        self._url = made  # the engine's lacks the options
        self._secrets = _secrets(made)
        self._base = _shared_engine(made, read_only)
        self._engine = self._translated(schema)

    @property
    def _connectable(self) -> Engine:
        _users[self._base].add(self)
        return self._engine

    def _translated(self, schema: str) -> Engine:
        return self._base.execution_options(schema_translate_map={None: schema})

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
        return Database(self._url.render_as_string(hide_password=False), schema, read_only=self.read_only)

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
        except (SQLAlchemyError, psycopg2.Error) as error:
            stopped = interrupted()
            if stopped is not None:
                raise stopped from None
            blockers = self._oldest_transactions() if sqlstate(error) == LOCK_TIMEOUT else ""
            # The chain is cut: SQLAlchemy's text holds the statement, libpq's may hold the connection's parameters.
            own = is_embedded(self._url.query.get("host"))
            raise translate(error, self.where, self._clean, blockers, self.confirm, embedded=own) from None

    def _oldest_transactions(self) -> str:
        """Say who most likely holds a lock: the transactions that have been open longest."""
        with contextlib.suppress(SQLAlchemyError, psycopg2.Error), self._connectable.connect() as connection:
            return "; ".join(connection.execute(_OLDEST).scalars())
        return ""

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
        text, given = _kept(statement, self.dialect, self.schema)
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
            lent = self._connectable.raw_connection()
            try:
                driver: Any = lent.dbapi_connection
                with in_use(partial(_cancel, driver), lent.invalidate), contextlib.closing(driver.cursor()) as cursor:
                    driver.autocommit = True
                    cursor.execute(question, values)
                    rows: list[tuple[Any, ...]] = cursor.fetchall()
                    driver.autocommit = False
            except BaseException as error:
                if lent.is_valid:
                    lent.invalidate(error)
                raise
            finally:
                lent.close()
            return rows

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
        watched, form = Watched(source), f" WITH ({options})" if options else ""
        try:
            with _cursor(connection) as cursor:
                cursor.copy_expert(f"COPY {self.table(table)} ({names}) FROM STDIN{form}", watched, 1 << 18)
        except BaseException:
            if watched.error is not None:
                raise watched.error from None
            raise
        if watched.error is not None:
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
        self._engine = self._translated(schema)

    def close(self) -> None:
        """Let go of the connection, which is closed unless another pool uses it; a later use opens a new one."""
        _users[self._base].discard(self)
        if not _users[self._base]:
            self._base.dispose()


def _cancel(driver: Any) -> None:
    with contextlib.suppress(psycopg2.Error):  # it is closed, or the server is gone
        driver.cancel()


def _interruptible(connection: Connection) -> AbstractContextManager[None]:
    return in_use(partial(_cancel, connection.connection.dbapi_connection), connection.invalidate)


def _refuse_later(*_: Any) -> None:
    check_interrupt()


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
    return f"{host}{f':{url.port}' if url.port else ''}, database {url.database or url.username or 'of this user'}"


def _secrets(url: URL) -> list[str]:
    texts = {str(value) for value in (url.password, *map(url.query.get, SECRETS)) if value}
    return sorted(texts | {urllib.parse.quote(text, safe="") for text in texts}, key=len, reverse=True)
