"""Short connections to the embedded server: does it answer, who uses it."""

from __future__ import annotations

import contextlib
import enum
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InvalidInput
from .cluster import DATABASE, ROLE
from .libpq import is_clients_own, settled
from .placement import PORT

if TYPE_CHECKING:
    from psycopg2.extensions import connection

__all__ = ["ProbeAnswer", "Usage", "count_clients", "ensure_database", "probe", "socket_answers"]


_NAME = "miripool probe"


class ProbeAnswer(enum.Enum):
    """What a server says to a client."""

    ABSENT = "absent"
    NOT_YET = "not yet"
    REFUSED = "refused"
    READY = "ready"


@dataclass(frozen=True, slots=True)
class Usage:
    """Who uses a server."""

    clients: int
    """Connected now, probes apart."""
    sessions: int
    """Sessions that the database has had; those of the supervisor are with another one."""


def probe(socket_directory: Path, database: str = DATABASE) -> tuple[ProbeAnswer, str]:
    """Connect once and say what came of it.

    Returns
    -------
    tuple of Answer and str
        The answer and the server's words.

    Raises
    ------
    InvalidInput
        If libpq did not get to ask the server.
    """
    import psycopg2

    if not (socket_directory / f".s.PGSQL.{PORT}").exists():
        return ProbeAnswer.ABSENT, ""
    try:
        with _connected(socket_directory, database):
            return ProbeAnswer.READY, ""
    except psycopg2.OperationalError as error:
        # A failed connection carries no SQLSTATE; the messages are English, as lc_messages is C.
        said = str(error).strip()
        if is_clients_own(error):
            raise InvalidInput(f"PostgreSQL's client library can't make a connection: {said}") from None
    if "too many clients" in said or "remaining connection slots" in said:
        return ProbeAnswer.READY, said
    if "authentication failed" in said or "no pg_hba.conf entry" in said or "Permission denied" in said:
        return ProbeAnswer.REFUSED, said
    if "No such file" in said or "Connection refused" in said:
        return ProbeAnswer.ABSENT, said
    return ProbeAnswer.NOT_YET, said


def count_clients(socket_directory: Path) -> Usage | None:
    """Count the clients of a server; None if it does not answer."""
    import psycopg2

    query = (
        "SELECT count(*), (SELECT coalesce(sum(sessions), 0)::bigint FROM pg_stat_database WHERE datname = %s) "
        "FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name <> %s"
    )
    try:
        with _connected(socket_directory, "postgres") as link, link.cursor() as cursor:
            cursor.execute(query, (DATABASE, _NAME))
            row = cursor.fetchone()
    except psycopg2.Error:
        return None
    return None if row is None else Usage(row[0], row[1])


def ensure_database(socket_directory: Path) -> int:
    """Make the database of the index if it is not there.

    Returns
    -------
    int
        The server's version, e.g. 180004.
    """
    with _connected(socket_directory, "postgres") as link, link.cursor() as cursor:
        link.autocommit = True
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
        if cursor.fetchone() is None:
            cursor.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")
        return link.server_version


def socket_answers(socket_directory: Path) -> bool:
    """Tell whether any process listens at the socket."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(2.0)
        try:
            link.connect(os.fsencode(socket_directory / f".s.PGSQL.{PORT}"))
        except OSError:
            return False
        return True


@contextlib.contextmanager
def _connected(socket_directory: Path, database: str) -> Iterator[connection]:
    import psycopg2

    with settled(embedded=True):
        link = psycopg2.connect(
            host=str(socket_directory),
            port=PORT,
            user=ROLE,
            dbname=database,
            connect_timeout=5,
            application_name=_NAME,
        )
    try:
        yield link
    finally:
        link.close()
