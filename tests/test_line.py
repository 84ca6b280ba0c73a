"""The way to a server: a plain URL means what SQLAlchemy takes it for, and one connection serves both."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from miripool.index.connection import Database
from miripool.index.engine import engine_url
from miripool.index.line import plain_parameters

WORDS = st.text("aZ9_.~-%@:/ ,+&é", max_size=6)
URLS = st.builds(
    "{}://{}{}{}/{}{}".format,
    st.sampled_from(["postgresql", "postgres", "postgresql+psycopg2", "postgresql+psycopg", "sqlite", ""]),
    WORDS.map(lambda user: user and f"{user}@"),
    WORDS,
    st.sampled_from(["", ":5432", ":0", ":x"]),
    WORDS,
    st.lists(st.tuples(st.sampled_from(["host", "port", "options", "sslmode", "plugin"]), WORDS | st.just("/run/x")))
    .map(lambda pairs: "&".join(f"{name}={value}" for name, value in pairs))
    .map(lambda query: query and f"?{query}"),
)


@given(URLS)
def test_a_plain_url_is_read_as_sqlalchemy_reads_it(url: str) -> None:
    found = plain_parameters(url)
    if found is not None:
        made = engine_url(url)
        arguments, expected = made.get_dialect()().create_connect_args(made)
        assert (arguments, found) == ([], expected) or (arguments, found) == ([""], {})


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "postgresql://miripool@/miripool?host=/run/x%20y/socket&port=5432",
            {"user": "miripool", "dbname": "miripool", "host": "/run/x y/socket", "port": "5432"},
        ),
        ("postgresql+psycopg2://u:p@db.example.org:5433/d", {
            "user": "u", "password": "p", "host": "db.example.org", "port": 5433, "dbname": "d"
        }),
        ("postgresql://u:p%40@h/d", None),
        ("postgresql://h/d?host=a:1&host=b:2", None),
        ("postgresql:///d?host=a,b", None),
        ("sqlite:///x", None),
    ],
)  # fmt: skip
def test_plain_urls(url: str, expected: object) -> None:
    assert plain_parameters(url) == expected


def process(database: Database) -> int:
    ((pid,),) = database.ask("SELECT pg_backend_pid()")
    return int(pid)


def test_one_connection_is_kept_and_handed_to_the_engine(database_url: str) -> None:
    with closing(Database(database_url, "public")) as database, closing(Database(database_url, "other")) as beside:
        assert database._line is beside._line
        first = process(database)
        assert process(beside) == first
        with database.read() as connection:
            assert connection.execute(text("SELECT pg_backend_pid()")).scalar_one() == first
            assert connection.execute(text("SHOW jit")).scalar_one() == "off"
        assert process(database) == first


def test_after_an_error_another_is_made(database_url: str) -> None:
    with closing(Database(database_url, "public")) as database:
        first = process(database)
        with pytest.raises(Exception, match="division by zero"):
            database.ask("SELECT 1 / 0")
        assert process(database) != first


def test_one_that_the_server_ended_is_not_used_again(database_url: str) -> None:
    with (
        closing(Database(database_url, "public")) as database,
        closing(Database(database_url, "public", read_only=True)) as other,
    ):
        first = process(database)
        other.ask("SELECT pg_terminate_backend(%s, 5000)", (first,))
        assert process(database) != first


def test_many_threads_ask_at_once(database_url: str) -> None:
    with closing(Database(f"{database_url}&keepalives_idle=77", "public")) as database:  # nobody has an engine there
        found: list[int] = []
        ask = [threading.Thread(target=lambda: found.append(process(database))) for _ in range(8)]
        for thread in ask:
            thread.start()
        for thread in ask:
            thread.join()
        assert len(found) == 8
        assert database._line.is_direct


def test_closed_by_the_last_user(database_url: str) -> None:
    database, beside = Database(database_url, "public"), Database(database_url, "other")
    first = process(database)
    assert process(beside) == first
    beside.close()
    assert process(database) == first
    database.close()
    assert process(database) != first
    database.close()


def test_read_only(database_url: str) -> None:
    with closing(Database(database_url, "public", read_only=True)) as database:
        assert database.ask("SHOW default_transaction_read_only") == [("on",)]
