"""Questions that are stopped from another thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from miripool import Pool
from miripool.errors import Interrupted, MiripoolError, ServerError
from miripool.index import Interrupt, check_interrupt, reader
from miripool.index.connection import Database
from miripool.pool.core import core_of

SLEEP = "SELECT pg_sleep(20)"
WHY = "the reader went away"


@pytest.fixture
def database(pool: Pool) -> Database:
    return core_of(pool).catalog.database


@contextmanager
def stopped_after(seconds: float, stop: Interrupt, why: str = WHY) -> Iterator[None]:
    timer = threading.Timer(seconds, stop.now, [why])
    timer.start()
    yield
    timer.join()


def by_ask(database: Database) -> None:
    database.ask(SLEEP)


def by_read(database: Database) -> None:
    with database.read() as connection:
        connection.execute(sa.text(SLEEP))


def by_write(database: Database) -> None:
    with database.write() as connection:
        connection.execute(sa.text(SLEEP))


def by_immediately(database: Database) -> None:
    with database.immediately() as connection:
        connection.execute(sa.text(SLEEP))


def by_script(database: Database) -> None:
    with database.write() as connection:
        database.run(connection, SLEEP)


def by_statements(database: Database) -> None:
    with database.read() as connection:
        for _ in range(2000):
            connection.execute(sa.text("SELECT pg_sleep(0.01)"))


def by_copy(database: Database) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TEMP TABLE slow (x int CHECK (pg_sleep(x) IS NOT NULL))")
        connection.exec_driver_sql("INSERT INTO slow VALUES (20)")


WAYS = [by_ask, by_read, by_write, by_immediately, by_script, by_statements, by_copy]


@pytest.mark.parametrize("way", WAYS)
def test_a_slow_statement_is_stopped(database: Database, way: Callable[[Database], None]) -> None:
    database.ask("SELECT 1")
    start = time.monotonic()
    with Interrupt() as stop, stopped_after(0.2, stop), pytest.raises(Interrupted) as raised:
        way(database)
    assert 0.15 < time.monotonic() - start < 1
    assert str(raised.value) == WHY
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
    assert database.ask("SELECT 1") == [(1,)]
    with database.read() as connection:
        assert connection.execute(sa.text("SELECT 2")).scalar() == 2


def test_what_comes_later_is_refused(database: Database) -> None:
    with Interrupt() as stop:
        database.ask("SELECT 1")
        stop.now(WHY)
        stop.now("another reason")
        for way in WAYS:
            with pytest.raises(Interrupted, match=WHY):
                way(database)
        with pytest.raises(Interrupted, match=WHY):
            check_interrupt()
        assert stop.reason == WHY
    check_interrupt()
    assert database.ask("SELECT 1") == [(1,)]


def test_between_two_statements_of_a_connection(database: Database) -> None:
    with Interrupt() as stop, database.read() as connection:
        connection.execute(sa.text("SELECT 1"))
        stop.now(WHY)
        with pytest.raises(Interrupted, match=WHY):
            connection.execute(sa.text("SELECT 2"))


def test_a_cancel_that_came_too_early_is_sent_again(database: Database) -> None:
    """What goes to the driver itself is not seen before it runs."""

    def ask_the_driver(stop: Interrupt) -> None:
        with database.read() as connection, connection.connection.cursor() as cursor:
            stop.now(WHY)
            cursor.execute(SLEEP)

    start = time.monotonic()
    with Interrupt() as stop, pytest.raises(Interrupted, match=WHY):
        ask_the_driver(stop)
    assert time.monotonic() - start < 1


def test_a_transaction_that_ends_nevertheless_is_kept(database: Database) -> None:
    with Interrupt() as stop:
        with database.write() as connection:
            connection.exec_driver_sql("CREATE TABLE public.kept (x int)")
            stop.now(WHY)
        with pytest.raises(Interrupted):
            database.ask("SELECT 1")
    assert database.ask("SELECT count(*) FROM public.kept") == [(0,)]
    with database.write() as connection:
        connection.exec_driver_sql("DROP TABLE public.kept")


def test_a_transaction_that_is_stopped_is_rolled_back(database: Database) -> None:
    def make_slowly() -> None:
        with database.write() as connection:
            connection.exec_driver_sql("CREATE TABLE public.gone (x int)")
            connection.exec_driver_sql(SLEEP)

    with Interrupt() as stop, stopped_after(0.1, stop), pytest.raises(Interrupted):
        make_slowly()
    assert database.ask("SELECT to_regclass('public.gone')") == [(None,)]


def test_another_thread_goes_on(database: Database) -> None:
    found: list[object] = []

    def other() -> None:
        with Interrupt():
            found.append(database.ask("SELECT 7 FROM pg_sleep(0.5)"))

    thread = threading.Thread(target=other)
    thread.start()
    with Interrupt() as stop, stopped_after(0.1, stop), pytest.raises(Interrupted):
        database.ask(SLEEP)
    thread.join()
    assert found == [[(7,)]]


def test_the_outer_one_stops_the_inner_and_not_the_other_way(database: Database) -> None:
    with Interrupt() as outer:
        with Interrupt() as inner, stopped_after(0.1, outer, "outer"), pytest.raises(Interrupted, match="outer"):
            database.ask(SLEEP)
        assert inner.reason is None
    with Interrupt() as outer:
        with Interrupt() as inner, stopped_after(0.1, inner, "inner"), pytest.raises(Interrupted, match="inner"):
            database.ask(SLEEP)
        assert outer.reason is None
        assert database.ask("SELECT 1") == [(1,)]


def test_stopped_when_it_is_over(database: Database) -> None:
    with Interrupt() as stop:
        assert database.ask("SELECT 1") == [(1,)]
    stop.now(WHY)
    assert database.ask("SELECT 1") == [(1,)]


def test_other_errors_stay_what_they_are(database: Database) -> None:
    def run_out_of_time() -> None:
        with database.write() as connection:
            connection.exec_driver_sql("SET LOCAL statement_timeout = 50")
            connection.exec_driver_sql(SLEEP)

    with Interrupt():
        with pytest.raises(MiripoolError) as raised:
            database.ask("SELECT 1 / 0")
        assert not isinstance(raised.value, Interrupted)
        with pytest.raises(ServerError, match="time limit"):
            run_out_of_time()


def ask_in_sql(database: Database) -> None:
    with reader.ask(database, SLEEP) as answer:
        list(answer)


def test_a_question_in_sql_is_stopped(database: Database) -> None:
    reader.grant_reader(database)
    own = database.as_user(reader.READER)
    try:
        start = time.monotonic()
        with Interrupt() as stop, stopped_after(0.2, stop), pytest.raises(Interrupted, match=WHY):
            ask_in_sql(own)
        assert time.monotonic() - start < 1
    finally:
        own.close()
