"""Blocks of exposures: where sets are attached, beside those of before, by several at once, while others read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import psycopg2
import pytest

from miripool import Home, Pool, RateInts
from miripool.index.pixels import blocks, load
from miripool.pool.core import core_of

SHAPE = (2, 3, 4)


def make(number: int) -> RateInts:
    place = {"SUBSTRT1": 5, "SUBSTRT2": 100, "SUBSIZE1": 4, "SUBSIZE2": 3, "DETECTOR": "MIRIMAGE"}
    return RateInts(place, {"SCI": np.full(SHAPE, number, np.float32)}, name=f"exposure {number}")


@contextmanager
def asking(pool: Pool) -> Iterator[Any]:
    database = core_of(pool).catalog.database
    with closing(psycopg2.connect(database.psql_url)) as connection, connection.cursor() as cursor:
        cursor.execute(f'SET search_path TO "{database.schema}"')
        yield cursor


def parents(pool: Pool) -> dict[str, str]:
    with asking(pool) as cursor:
        cursor.execute(
            "SELECT c.relname, p.relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid "
            "JOIN pg_class p ON p.oid = inhparent WHERE c.relname LIKE 'rateints%'"
        )
        return dict(cursor.fetchall())


def rates(pool: Pool) -> list[float]:
    return pool.pixel(6, 101).history(RateInts)["rate"].tolist()


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "EXPOSURES", 3)


def test_exposures_are_attached_by_blocks(pool: Pool) -> None:
    for number in range(1, 6):
        pool.save(make(number))
    assert parents(pool) == {
        "rateints_pixel_block_0": "rateints_pixel",
        "rateints_pixel_block_1": "rateints_pixel",
        **{f"rateints_pixel_{i}_{i}": f"rateints_pixel_block_{i // 3}" for i in range(1, 6)},
    }
    assert rates(pool) == [number for number in range(1, 6) for _ in range(2)]
    pool.remove("RateInts/exposure 2")
    assert "rateints_pixel_2_2" not in parents(pool)


def test_sets_of_before_stay_side_by_side(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as before:
        before.setattr(load, "find_block", lambda *given: given[2])
        for number in (1, 2, 3):
            pool.save(make(number))
    for number in (4, 5, 6):
        pool.save(make(number))
    beside = {f"rateints_pixel_{i}_{i}": "rateints_pixel" for i in range(1, 6)}
    block = {"rateints_pixel_block_2": "rateints_pixel", "rateints_pixel_6_6": "rateints_pixel_block_2"}
    assert parents(pool) == beside | block
    assert rates(pool) == [number for number in range(1, 7) for _ in range(2)]


def test_several_make_a_block_at_once(pool: Pool, home: Home) -> None:
    made = [pool.save(make(number), pixels=False) for number in (1, 2)]
    rows = core_of(pool).catalog.rows([ref.serial for ref in made])
    together = threading.Barrier(2)
    failures: list[BaseException] = []

    def run(row: Any) -> None:
        with home.pool("jpl8") as own:
            together.wait()
            try:
                core_of(own).pixel_rows.make(row)
            except BaseException as error:
                failures.append(error)

    threads = [threading.Thread(target=run, args=(row,)) for row in rows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(rates(pool)) == [1, 1, 2, 2]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_readers_do_not_wait_for_a_set_that_is_being_attached(pool: Pool) -> None:
    pool.save(make(1))
    later = pool.save(make(2), pixels=False)
    (row,) = core_of(pool).catalog.rows([later.serial])
    with asking(pool) as holder, asking(pool) as reader, asking(pool) as other:
        # What the loader does last, when its set is attached, has to wait.
        holder.execute("SELECT FROM pixel_use WHERE serial = %s FOR UPDATE", (later.serial,))
        other.execute("SELECT count(*) FROM rateints_pixel")  # in a transaction that stays open
        loader = threading.Thread(target=core_of(pool).pixel_rows.make, args=(row,))
        loader.start()
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"

        def is_waiting() -> bool:
            holder.execute(waits)
            return bool(holder.fetchone() != (0,))

        wait_until(is_waiting)
        reader.execute("SET lock_timeout = '100ms'")
        for _ in range(2):
            reader.execute("SELECT count(*) FROM rateints_pixel")
            assert reader.fetchone() == (12,)
        reader.connection.commit()
        holder.connection.rollback()
        loader.join()
        reader.execute("SELECT count(*) FROM rateints_pixel")
        assert reader.fetchone() == (24,)
