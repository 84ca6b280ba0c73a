"""SQLAlchemy's side of a connection: URLs as users give them, engines, statements written out.

Short questions go without it (`miripool.index.connection`): it takes as long to load as all of `miripool ls` besides.
"""

from __future__ import annotations

import functools
import time
import urllib.parse
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg2
from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, InvalidatePoolError
from sqlalchemy.pool import QueuePool

from ..errors import InvalidInput
from .driver import JUST_NOW, has_news
from .interrupt import check_interrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import ClauseElement, Dialect

__all__ = ["change_statements", "engine_url", "kept", "make_engine", "write_out"]


@functools.lru_cache(maxsize=256)
def kept(statement: ClauseElement, dialect: Dialect, schema: str) -> tuple[str, Mapping[str, Any]]:
    """Give a statement as `write_out` does, once for each; as an object it is what the text is kept by."""
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


def make_engine(made: URL, settings: Mapping[str, Any], connect: Callable[..., Any]) -> Engine:
    """Make an engine for all pools of a process on a server.

    Parameters
    ----------
    made : sqlalchemy.URL
        From `engine_url`.
    settings : mapping
        Parameters of each connection, besides the URL's and instead of its ``options``.
    connect : callable
        Makes a connection, from psycopg2's arguments.

    Returns
    -------
    sqlalchemy.Engine
        Not connected.
    """
    engine = create_engine(
        made.difference_update_query(["options"]),
        # These stay open: one to ask, two to load pixel rows. Other threads get others, closed when given back.
        poolclass=QueuePool,
        pool_size=3,
        max_overflow=29,
        pool_use_lifo=True,
        hide_parameters=True,
        connect_args=dict(settings),
    )
    event.listen(engine, "do_connect", lambda _dialect, _record, arguments, given: connect(*arguments, **given))
    event.listen(engine, "checkout", partial(_check_alive, engine.dialect))
    event.listen(engine, "checkin", _note_use)
    event.listen(engine, "before_cursor_execute", _refuse_later)
    return engine


def change_statements(engine: Engine, change: Callable[[str], str]) -> None:
    """Have statements changed before they go to the server.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        From ``Engine.execution_options``: others of its connections are left alone.
    change : callable
        Takes and gives the text of a statement.
    """

    def before(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        return change(statement), parameters

    event.listen(engine, "before_cursor_execute", before, retval=True)


def _note_use(_driver: Any, record: Any) -> None:
    record.info["used"] = time.monotonic()


def _check_alive(dialect: Dialect, driver: Any, record: Any, _proxy: Any) -> None:
    """Ask a connection whether its server is there, unless it was used just now; SQLAlchemy makes another if not.

    Its own `pool_pre_ping` asks each time: half of what the server is asked by a short select.
    """
    used = record.info.get("used")
    # None: it was opened this moment.
    if used is None or (time.monotonic() - used < JUST_NOW and not has_news(driver)):
        return
    try:
        dialect.do_ping(driver)
    except psycopg2.Error as error:
        raise InvalidatePoolError from error


def _refuse_later(*_: Any) -> None:
    check_interrupt()
