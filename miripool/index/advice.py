"""Whether a server is one that miripool can work on, and what could be set better there.

The embedded server is set up by `miripool.server.cluster`, where the measurements stand. A user's own server belongs to
its administrator: it is asked, nothing is changed, and what was tried is rolled back.
"""

from __future__ import annotations

import contextlib
import io
import secrets
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import psycopg2

from ..model.kinds import pixel_tables
from ..server.libpq import is_embedded, settled
from .connection import Database, quote
from .engine import engine_url
from .pixels.blocks import block_table
from .reader import READER

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Advice", "advise", "judge_locks"]

Verdict = Literal["good", "advice", "bad"]

_OLDEST, _TESTED = 12, 15
"""Major versions: the first with all that the migrations use (MATERIALIZED), and the first that the tests run on."""
_CLOCK_SECONDS = 5.0
_LOCKS_PER_PARTITION = 2
"""The partition and its index, when a question is planned."""
_LOCKS_TO_DROP = 4
"""These, and the table and index of what is stored out of line, when a pool's schema is dropped."""
_SPARE_CONNECTIONS = 10
_UNITS = {
    **{"B": 1, "kB": 1 << 10, "8kB": 8 << 10, "16kB": 16 << 10, "MB": 1 << 20, "16MB": 16 << 20, "GB": 1 << 30},
    **{"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400},
}
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing that was looked at.

    Attributes
    ----------
    name : str
        A setting of PostgreSQL, or what else was looked at.
    value : str
        What it is.
    advised : str
        What it should be; the value itself where that is good.
    verdict : {'good', 'advice', 'bad'}
        ``bad`` where miripool can't work.
    why : str
        One sentence.
    """

    name: str
    value: str
    advised: str
    verdict: Verdict
    why: str


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a setting should be: at least a number, or one of some words."""

    name: str
    advised: str
    why: str
    least: float = 0
    words: tuple[str, ...] = ()
    zero_is_all: bool = False
    """Zero turns a limit off."""

    def judge(self, setting: str, unit: str | None) -> bool:
        """Tell whether a value from `pg_settings` is as good as advised."""
        if self.words:
            return setting in self.words
        number = float(setting) * _UNITS.get(unit or "", 1)
        return number >= self.least or number < 0 or (self.zero_is_all and number == 0)


_DURABLE = "without it, a crash of the machine can destroy the index; it must then be made again from the folder"
_CHECKPOINTS = "PostgreSQL then makes fewer checkpoints while many exposures are added"
_MINUTES = "the index needs minutes to take in 100,000 products"
_SETTINGS = (
    _Wanted(
        "max_locks_per_transaction",
        "1024",
        "a question about one pixel in all exposures locks every partition and its index",
        least=1024,
    ),
    _Wanted(
        "shared_buffers",
        "1GB or an eighth of the memory",
        "the keyword indexes of 100,000 products take 0.2 GB, those of a million products 1 GB",
        least=1024 * _MIB,
    ),
    _Wanted("work_mem", "32MB", "PostgreSQL joins sets of some 100,000 products in memory", least=32 * _MIB),
    _Wanted("maintenance_work_mem", "256MB", "PostgreSQL sorts the indexes of a partition in memory", least=256 * _MIB),
    _Wanted(
        "wal_level",
        "minimal, unless a standby server or an archive needs the log",
        "PostgreSQL then writes pixel rows to their table only, not to the log as well: a FULL exposure takes 6.5 s "
        "instead of 8.7 s, and 1.1 GB less of log",
        words=("minimal",),
    ),
    _Wanted("max_wal_size", "4GB", _CHECKPOINTS, least=4096 * _MIB),
    _Wanted("checkpoint_timeout", "15min", _CHECKPOINTS, least=15 * 60),
    _Wanted(
        "jit",
        "off",
        "to compile a question about many partitions takes ten times as long as to answer it; miripool turns JIT off "
        "in its own connections",
        words=("off",),
    ),
    _Wanted("fsync", "on", _DURABLE, words=("on",)),
    _Wanted("full_page_writes", "on", _DURABLE, words=("on",)),
    _Wanted(
        "synchronous_commit",
        "on",
        "without it, a crash loses the last seconds of the index; miripool takes them in again from the folder",
        words=("on", "remote_apply", "remote_write", "local"),
    ),
    _Wanted("data_checksums", "on", "PostgreSQL then notices damaged pages when it reads them", words=("on",)),
    _Wanted("autovacuum", "on", "it keeps statistics and visibility maps of growing tables up to date", words=("on",)),
    _Wanted("enable_partition_pruning", "on", "a question about one exposure reads one partition only", words=("on",)),
    _Wanted("statement_timeout", "0, or 30min", _MINUTES, 1800, zero_is_all=True),
    _Wanted("transaction_timeout", "0, or 30min", _MINUTES, least=1800, zero_is_all=True),
    _Wanted(
        "idle_in_transaction_session_timeout",
        "0, or 30min",
        "while the index is made again, one connection stays idle in a transaction",
        least=1800,
        zero_is_all=True,
    ),
    _Wanted(
        "idle_session_timeout",
        "0, or 30min",
        "while the index is made again, an idle connection holds a lock",
        least=1800,
        zero_is_all=True,
    ),
)
"""Settings in the order of the list; one that the server does not know is left out."""


def advise(url: str) -> list[Advice]:
    """Look at a server, as the role that a URL names.

    Parameters
    ----------
    url : str
        The database.

    Returns
    -------
    list of Advice
        What is bad first, then advice, then what is good.

    Raises
    ------
    ServerUnavailable
        If it can't be reached.
    """
    database = Database(url, f"miripool check {secrets.token_hex(4)}")
    try:
        # Not one of miripool's connections, which have settings of their own.
        made = engine_url(url)
        arguments, parameters = made.get_dialect()().create_connect_args(made)
        with database.translating(), contextlib.closing(_connected(arguments, parameters)) as connection:
            found = list(_look(connection, database))
    finally:
        database.close()
    order = ("bad", "advice", "good")
    return sorted(found, key=lambda finding: order.index(finding.verdict))


def _connected(arguments: Any, parameters: Any) -> Any:
    with settled(embedded=is_embedded(parameters.get("host"))):
        return psycopg2.connect(*arguments, **parameters)


def _look(connection: Any, database: Database) -> Iterator[Advice]:
    with connection.cursor() as cursor:
        yield from _version(cursor)
        yield from _encoding(cursor)
        writable = _writable(cursor)
        yield writable
        yield from _role(cursor)
        yield _clock(cursor)
        yield from _room(cursor)
        yield from _settings(cursor)
        connection.rollback()
        if writable.verdict == "good":
            yield from _try(connection, cursor, database)


def _one(cursor: Any, statement: str, parameters: tuple[Any, ...] = ()) -> Any:
    cursor.execute(statement, parameters)
    return cursor.fetchone()


def _version(cursor: Any) -> Iterator[Advice]:
    number, shown = _one(cursor, "SELECT current_setting('server_version_num')::int, current_setting('server_version')")
    major = number // 10_000
    verdict: Verdict = "bad" if major < _OLDEST else "advice" if major < _TESTED else "good"
    why = f"miripool needs PostgreSQL {_OLDEST}, and is tested on {_TESTED} and 18"
    yield Advice("PostgreSQL", shown, shown if verdict == "good" else f"{_TESTED} or later", verdict, why)


def _encoding(cursor: Any) -> Iterator[Advice]:
    (encoding,) = _one(cursor, "SELECT current_setting('server_encoding')")
    why = "names and headers may hold any character; use CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
    yield Advice("encoding", encoding, "UTF8", "good" if encoding == "UTF8" else "bad", why)


def _writable(cursor: Any) -> Advice:
    standby, read_only = _one(cursor, "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'")
    value = "a standby" if standby else "read only" if read_only else "yes"
    verdict: Verdict = "bad" if standby or read_only else "good"
    return Advice("writable", value, "yes", verdict, "miripool writes to the index; give the URL of the primary server")


def _role(cursor: Any) -> Iterator[Advice]:
    creates, owns, superuser, makes_roles, known, role = _one(
        cursor,
        "SELECT has_database_privilege(current_database(), 'CREATE'), "
        "EXISTS (SELECT FROM pg_namespace WHERE nspowner = r.oid AND nspname !~ '^pg_'), "
        "rolsuper, rolsuper OR rolcreaterole, EXISTS (SELECT FROM pg_roles WHERE rolname = %s), rolname "
        "FROM pg_roles r WHERE rolname = current_user",
        (READER,),
    )
    value = "yes" if creates else "no, but it owns some" if owns else "no"
    verdict: Verdict = "good" if creates else "advice" if owns else "bad"
    why = f"each pool needs a schema: GRANT CREATE ON DATABASE … TO {quote(role)}, or create a schema for each pool"
    yield Advice("role can create schemas", value, "yes", verdict, why)
    value = "exists" if known else "can be created" if makes_roles else "does not exist"
    verdict = "good" if known or makes_roles else "advice"
    why = f"`miripool server grant` lets this role read a pool; an administrator creates it: CREATE ROLE {READER} LOGIN"
    yield Advice(f"role {READER}", value, "exists", verdict, why)
    ours = role.partition("_")[0] == "miripool"
    verdict = "advice" if superuser and not ours else "good"
    why = "miripool does not need the rights of a superuser, and `miripool sql` refuses to run as one"
    yield Advice("role", f"{role}, a superuser" if superuser else role, "no superuser", verdict, why)


def _clock(cursor: Any) -> Advice:
    before = time.time()
    (there,) = _one(cursor, "SELECT extract(epoch FROM clock_timestamp())::float8")
    apart = there - (before + time.time()) / 2
    verdict: Verdict = "good" if abs(apart) <= _CLOCK_SECONDS else "advice"
    why = "versions get their times from this machine's clock, pixel rows from the server's"
    return Advice("clock", f"{apart:+.1f} s from this machine's", f"within {_CLOCK_SECONDS:g} s", verdict, why)


def _room(cursor: Any) -> Iterator[Advice]:
    """Look whether there are locks for the partitions, and connections for people."""
    of_one, of_all = _one(
        cursor,
        "SELECT coalesce(max(n), 0), coalesce(sum(n), 0) FROM ("
        "SELECT count(*) AS n FROM pg_class WHERE relispartition AND relkind = 'r' "
        "AND split_part(relname, '_block_', 1) || '_block' = ANY (%s) GROUP BY relnamespace) found",
        ([block_table(view) for view in pixel_tables()],),
    )
    locks, connections, prepared, used = _one(
        cursor,
        "SELECT current_setting('max_locks_per_transaction')::int, current_setting('max_connections')::int, "
        "current_setting('max_prepared_transactions')::int, (SELECT count(*) FROM pg_stat_activity "
        "WHERE backend_type = 'client backend')",
    )
    room = locks * (connections + prepared)
    verdict, advised = judge_locks(room, int(of_one))
    value = f"{room:,} for {int(of_all):,} partitions, {int(of_one):,} of one pool"
    why = "a question about all exposures locks all partitions of its pool; raise max_locks_per_transaction"
    yield Advice("locks", value, f"{advised:,} or more", verdict, why)
    free = connections - used
    verdict = "good" if free >= _SPARE_CONNECTIONS else "advice"
    why = "each running command needs one connection, and one more for each thread that makes pixel rows"
    yield Advice("connections", f"{free} of {connections} free", f"{_SPARE_CONNECTIONS} or more", verdict, why)


def judge_locks(room: int, partitions: int) -> tuple[Verdict, int]:
    """Tell whether a server has locks enough.

    Parameters
    ----------
    room : int
        Locks that all sessions can hold together.
    partitions : int
        Those of the largest pool.

    Returns
    -------
    verdict : {'good', 'advice', 'bad'}
        Bad where one question about all of them fails, advice where two sessions at once may.
    int
        Locks that would be good.
    """
    advised = 2 * _LOCKS_TO_DROP * partitions
    if room < _LOCKS_PER_PARTITION * partitions:
        return "bad", advised
    return ("good" if room >= advised else "advice"), advised


def _settings(cursor: Any) -> Iterator[Advice]:
    cursor.execute(
        "SELECT name, setting, unit, current_setting(name) FROM pg_settings WHERE name = ANY (%s)",
        ([wanted.name for wanted in _SETTINGS],),
    )
    there = {name: rest for name, *rest in cursor.fetchall()}
    for wanted in _SETTINGS:
        if wanted.name in there:
            setting, unit, shown = there[wanted.name]
            good = wanted.judge(setting, unit)
            yield Advice(wanted.name, shown, wanted.advised, "good" if good else "advice", wanted.why)


def _try(connection: Any, cursor: Any, database: Database) -> Iterator[Advice]:
    """Make a schema and load a partition, as a pool would, and roll it back."""
    parent, part = database.table("tried"), database.table("tried_1")
    # One row of one integer in COPY's binary form, and its end.
    row = b"PGCOPY\n\xff\r\n\0" + struct.pack(">iihiih", 0, 0, 1, 4, 1, -1)
    problem = ""
    try:
        cursor.execute(f"CREATE SCHEMA {quote(database.schema)}")
        cursor.execute(f"CREATE TABLE {parent} (i integer NOT NULL) PARTITION BY LIST (i)")
        cursor.execute(f"CREATE TABLE {part} (LIKE {parent})")
        cursor.copy_expert(f"COPY {part} FROM STDIN WITH (FORMAT binary, FREEZE)", io.BytesIO(row))
        cursor.execute(f"ALTER TABLE {parent} ATTACH PARTITION {part} FOR VALUES IN (1)")
    except psycopg2.Error as error:
        if error.pgcode == "42501":
            return  # that it may not make schemas was told
        problem = (error.diag.message_primary or str(error)).strip()
    finally:
        connection.rollback()
    why = "miripool loads pixel rows by COPY … FREEZE into a new table and attaches it as a partition"
    yield Advice("COPY FREEZE", problem or "works", "works", "bad" if problem else "good", why)
