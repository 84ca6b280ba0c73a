from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miripool.errors import IntegrityError, MiripoolError, ServerUnavailable
from miripool.index.connection import CopySource, Database
from miripool.index.copysource import Lines
from miripool.index.harvest import _line
from miripool.index.message import Message

COLUMNS = ("number", "text")
VALUES = st.tuples(
    st.integers(-(1 << 62), 1 << 62) | st.none(), st.text(st.characters(exclude_characters="\0")) | st.none()
)


@pytest.fixture
def database(database_url: str, schema: str) -> Iterator[Database]:
    """A schema with two tables of the same columns."""
    made = Database(database_url, schema)
    with made.write() as connection:
        made.send(
            connection,
            "; ".join(
                [f'CREATE SCHEMA "{schema}"']
                + [f"CREATE TABLE {made.table(name)} (number bigint UNIQUE, text text)" for name in ("copied", "put")]
            ),
        )
    yield made
    with made.write() as connection:
        made.send(connection, f'DROP SCHEMA "{schema}" CASCADE')
    made.close()


def rows(database: Database, table: str) -> list[tuple[object, ...]]:
    return database.ask(f"SELECT * FROM {database.table(table)} ORDER BY number, text")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=5, unique_by=lambda row: row[0]))
def test_few_rows_are_put_as_copy_would(database: Database, values: list[tuple[int | None, str | None]]) -> None:
    lines = "".join(map(_line, values)).encode("utf-8", "backslashreplace")
    with database.write() as connection:
        database.send(connection, f"TRUNCATE {database.table('copied')}, {database.table('put')}")
        message = Message(database, connection)
        message.insert("put", COLUMNS, lines)
        message.copy("copied", COLUMNS, io.BytesIO(lines))
        message.send()
    assert rows(database, "put") == rows(database, "copied")
    assert len(rows(database, "put")) == len(values)


def test_statements_stand_before_and_behind_a_copy(database: Database) -> None:
    put, copied = database.table("put"), database.table("copied")
    with database.write() as connection:
        message = Message(database, connection)
        message.add(f"INSERT INTO {put} VALUES (%(number)s, %(text)s)", {"number": 1, "text": "a % and a '"})
        message.copy("copied", COLUMNS, io.BytesIO(b"2\tb\n"))
        message.add(f"INSERT INTO {put} SELECT * FROM {copied}")
        message.copy("copied", COLUMNS, io.BytesIO(b"3\tc\n"))
        message.add(f"INSERT INTO {put} SELECT * FROM {copied} WHERE number = 3")
        assert database.answer(connection, f"SELECT number FROM {put} ORDER BY number") == [(1,), (2,)]
        message.send()
        message.send()  # of nothing
    assert rows(database, "put") == [(1, "a % and a '"), (2, "b"), (3, "c")]


def put_around_a_copy(database: Database, source: CopySource) -> None:
    """Send a row to ``put`` before and behind a COPY."""
    with database.write() as connection:
        message = Message(database, connection)
        message.add(f"INSERT INTO {database.table('put')} VALUES (1, 'a')")
        message.copy("copied", COLUMNS, source)
        message.add(f"INSERT INTO {database.table('put')} VALUES (1, 'c')")
        message.send()


def test_what_is_wrong_behind_a_copy_undoes_all(database: Database) -> None:
    with pytest.raises(MiripoolError, match="put_number_key"):
        put_around_a_copy(database, io.BytesIO(b"2\tb\n"))
    assert (rows(database, "put"), rows(database, "copied")) == ([], [])


def test_what_the_rows_raise_is_raised(database: Database) -> None:
    def broken() -> Iterator[bytes]:
        yield b"2\tb\n"
        raise IntegrityError("a manifest is missing")

    with pytest.raises(IntegrityError, match="a manifest is missing"):
        put_around_a_copy(database, Lines(broken()))
    assert (rows(database, "put"), rows(database, "copied")) == ([], [])


def test_what_the_server_says_as_it_ends_a_connection(database: Database) -> None:
    def ask_too_late() -> None:
        with database.write() as connection:
            with database.immediately() as other:
                pid = connection.connection.dbapi_connection.info.backend_pid  # type: ignore[union-attr]
                database.answer(other, f"SELECT pg_terminate_backend({pid}, 10000)")
            database.answer(connection, "SELECT 1")

    with pytest.raises(ServerUnavailable, match=r"closed the connection unexpectedly|terminating connection"):
        ask_too_late()
    assert database.ask("SELECT 1") == [(1,)]
