"""Snapshots of a server: the same until something is written, whoever writes it."""

from __future__ import annotations

from contextlib import closing

import homes
import numpy as np
import psycopg2

from miripool import Pool, RateInts
from miripool.index.snapshot import read_snapshot
from miripool.pool.core import core_of

home = homes.home


def test_stays_as_long_as_nothing_is_written(pool: Pool) -> None:
    database = core_of(pool).catalog.database
    # Other tests, and the server's own housekeeping, write to the same server.
    assert any(read_snapshot(database) == read_snapshot(database) is not None for _ in range(100))


def test_a_save_and_a_tag_make_another(pool: Pool) -> None:
    database = core_of(pool).catalog.database
    seen = [read_snapshot(database)]
    ref = pool.save(RateInts({}, {"SCI": np.zeros((1, 2, 2), "f4")}, name="a"))
    seen.append(read_snapshot(database))
    pool.tag(ref, "good")
    seen.append(read_snapshot(database))
    pool.remove(ref)
    seen.append(read_snapshot(database))
    assert len(set(seen)) == 4


def test_a_transaction_that_was_open_before_makes_another(pool: Pool) -> None:
    """What it wrote is seen from its end on, although later ones ended before."""
    database = core_of(pool).catalog.database
    with closing(psycopg2.connect(database.psql_url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"UPDATE {database.table('pool_state')} SET lost = lost")
        homes.ask_pool(pool, "SELECT pg_current_xact_id()")  # a later one
        during = read_snapshot(database)
        connection.commit()
        assert read_snapshot(database) != during
