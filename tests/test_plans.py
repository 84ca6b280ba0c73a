"""Plans that the server keeps: for one connection, and for the tables of one index, whatever its schema is called."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from replay import assert_index_is_journal

from miripool import Home, Pool, RateInts
from miripool.errors import PoolNotFound
from miripool.index import plans
from miripool.index.connection import Database
from miripool.index.plans import Plans
from miripool.pool.core import core_of

PLACE = {"SUBSTRT1": 5, "SUBSTRT2": 100, "SUBSIZE1": 4, "SUBSIZE2": 4, "DETECTOR": "MIRIMAGE"}


def save(pool: Pool, name: str, *, pixels: bool = True) -> None:
    pool.save(RateInts(PLACE, {"SCI": np.full((1, 4, 4), 2, "f4")}, name=name), pixels=pixels)


def names_with_rows(pool: Pool) -> list[str]:
    database = core_of(pool).catalog.database
    rows = database.ask(
        f"SELECT DISTINCT e.name FROM {database.table('rateints_pixel')} r "
        f"JOIN {database.table('exposure')} e USING (exp_id) ORDER BY 1"
    )
    return [name for (name,) in rows]


def test_a_statement_is_planned_once(pool: Pool) -> None:
    database = core_of(pool).catalog.database
    with database.write() as connection:
        connection.info.pop("plans", None)
        database.send(connection, "DEALLOCATE ALL")
        kept = Plans(database, connection)
        statement = (
            "SELECT * FROM unnest(CAST(%(times)s AS timestamptz[]), CAST(%(numbers)s AS bigint[])) WHERE '%%' = '%%'"
        )
        for numbers in ([None], [], [1, 2]):
            values: dict[str, Any] = {"times": [None, None][: len(numbers)], "numbers": numbers}
            assert kept.knows(statement) == (numbers != [None])
            found = database.answer(connection, kept.call(statement, values), values)
            assert found == [(None, number) for number in numbers]
        names = database.answer(connection, "SELECT name FROM pg_prepared_statements")
        assert len(names) == 1


def test_no_more_plans_are_kept_than_a_connection_bears(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "_MOST", 3)
    database = core_of(pool).catalog.database
    with database.write() as connection:
        kept = Plans(database, connection)
        for number in range(8):
            call = kept.call(f"SELECT {number} + CAST(%(more)s AS int)", {"more": 1})
            assert database.answer(connection, call, {"more": 1}) == [(number + 1,)]
        ((count,),) = database.answer(connection, "SELECT count(*) FROM pg_prepared_statements")
        assert count <= 3


def test_a_plan_that_fails_is_not_kept(pool: Pool) -> None:
    database = core_of(pool).catalog.database
    for _ in range(2):
        with pytest.raises(Exception, match="no_such_table"), database.write() as connection:
            Plans(database, connection).call("SELECT %(x)s FROM no_such_table", {"x": 1})
    save(pool, "one")
    assert_index_is_journal(pool)


def test_a_save_goes_into_the_index_that_has_replaced_another(home: Home, pool: Pool) -> None:
    """The plans are for tables whose schema has another name since, and which another session still reads."""
    save(pool, "before")
    reader = Database(home.database_url(), core_of(pool).catalog.schema)
    with reader.write() as reading:
        reading.exec_driver_sql(f"SELECT * FROM {reader.table('pool_state')}")
        other = Home(home.path).pool(pool.name)
        other.reindex()
        save(pool, "after")
        save(pool, "without", pixels=False)
    reader.close()
    assert_index_is_journal(pool)
    assert "after" in names_with_rows(pool)
    assert "without" not in names_with_rows(pool)
    other.close()


def test_a_save_goes_into_the_pool_that_has_got_the_name_of_another(home: Home, pool: Pool) -> None:
    save(pool, "old")
    renamed = home.rename("jpl8", "renamed")
    with pytest.raises(PoolNotFound):
        save(pool, "lost")
    save(renamed, "renamed")
    back = home.rename("renamed", "jpl8")
    save(back, "back")
    assert_index_is_journal(back)
    assert names_with_rows(back) == ["back", "old", "renamed"]
    home.delete("jpl8")
    new = home.create("jpl8")
    with pytest.raises(PoolNotFound):
        save(back, "lost")
    save(new, "new")
    assert_index_is_journal(new)
    assert names_with_rows(new) == ["new"]
    new.close()
