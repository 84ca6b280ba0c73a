"""Questions about a whole FULL exposure, beside the same questions of tables with one row per pixel and exposure.

Such tables held the pixel rows before blocks did. Here they are made from the views, with the indexes that they had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from postgresql import reachable_folder
from timing import in_turns, timed

from miripool import Home, Pool
from miripool.pool.core import core_of
from miripool.simulate import Calibration, simulate_exposure

pytestmark = pytest.mark.timeout(1800)

MOST = 1.2
"""Times the anchor's time."""

ROWS = {
    "raw": "dn",
    "ramp": "sci, groupdq, pixeldq",
    "rateints": "rate, err, dq",
    "rate": "rate, err, dq",
}

QUESTIONS = {
    "ramps": (
        "SELECT sum(ramp[20]) FROM ramps WHERE exp_id = 1",
        "SELECT sum(ramp[20]) FROM (SELECT ARRAY(SELECT p.dn[i][g] + 32768 FROM generate_series(1, 20) g) AS ramp "
        "FROM one_raw p CROSS JOIN LATERAL generate_series(1, 5) i WHERE exp_id = 1) r",
    ),
    "groups of 100 rows": (
        "SELECT sum(raw_value) FROM groups WHERE exp_id = 1 AND pixel_id <= 103200",
        "SELECT sum(p.dn[i][g] + 32768) FROM one_raw p CROSS JOIN LATERAL generate_series(1, 5) i "
        "CROSS JOIN LATERAL generate_series(1, 20) g WHERE exp_id = 1 AND pixel_id <= 103200",
    ),
    "slopes": (
        "SELECT sum(slope_value) FROM correctedramps WHERE exp_id = 1",
        "SELECT sum(q.rate[i]) FROM one_ramp p LEFT JOIN one_rateints q USING (exp_id, pixel_id) "
        "CROSS JOIN LATERAL generate_series(1, 5) i WHERE exp_id = 1",
    ),
}

CONDITIONS = {
    "Rate rate > 10": "SELECT count(*) FROM one_rate WHERE rate > 10 AND rate <> 'NaN'",
    "Rate rate > 1000 and dq is null": (
        "SELECT count(*) FROM one_rate WHERE rate > 1000 AND rate <> 'NaN' AND dq IS NULL"
    ),
    "RateInts rate[integration == 1] > 1000": (
        "SELECT count(*) FROM one_rateints WHERE rate[1] > 1000 AND rate[1] <> 'NaN'"
    ),
    "RateInts ALL(rate > 100)": (
        "SELECT count(*) FROM one_rateints WHERE EXISTS (SELECT FROM unnest(rate) v WHERE v <> 'NaN') "
        "AND NOT EXISTS (SELECT FROM unnest(rate) v WHERE v <= 100)"
    ),
    "Ramp sci[integration == 1, group == 5] > 20000": (
        "SELECT count(*) FROM one_ramp WHERE sci[1][5] > 20000 AND sci[1][5] <> 'NaN'"
    ),
    "Raw dn[integration == 1, group == 5] > 20000": "SELECT count(*) FROM one_raw WHERE dn[1][5] > 20000 - 32768",
}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pool, Any]]:
    """A pool with a FULL exposure, and a connection to it, where its pixel rows are in tables of the old form, too."""
    folder = tmp_path_factory.mktemp("full")
    exposure = simulate_exposure("full_mirimage", subarray="FULL", nints=5, ngroups=20, seed=1)
    paths = [exposure.write_uncal(folder), *exposure.write_products(folder, Calibration("v1"))]
    del exposure
    with pytest.MonkeyPatch.context() as patch, reachable_folder() as place:
        patch.delenv("MIRIPOOL_DATABASE_URL", raising=False)
        home = Home(place / "home")
        with home.create("full") as pool:
            for path in paths:
                pool.save(Path(path))
            database = core_of(pool).catalog.database
            with closing(psycopg2.connect(database.psql_url)) as connection, connection.cursor() as cursor:
                connection.autocommit = True
                cursor.execute(f'SET search_path TO "{database.schema}"')
                for name, columns in ROWS.items():
                    cursor.execute(
                        f"CREATE TABLE one_{name} WITH (toast_tuple_target = 8160) AS "
                        f"SELECT exp_id, set_id, pixel_id, y, x, {columns} FROM {name}_pixel"
                    )
                    cursor.execute(f"CREATE UNIQUE INDEX ON one_{name} (pixel_id)")
                    cursor.execute(f"CREATE UNIQUE INDEX ON one_{name} (y, x)")
                    cursor.execute(f"VACUUM (FREEZE, ANALYZE) one_{name}")
                yield pool, cursor
        home.server.remove()


def asking(cursor: Any, statement: str) -> Callable[[], float]:
    def ask() -> None:
        cursor.execute(statement)
        assert cursor.fetchall()[0][0] is not None

    return timed(ask)


@pytest.mark.parametrize("what", QUESTIONS)
def test_questions_in_sql(full: tuple[Pool, Any], figure: Callable[..., None], what: str) -> None:
    """In one process each: PostgreSQL reads a table with several, but not a block that it finds while it runs."""
    full[1].execute("SET max_parallel_workers_per_gather = 0")
    ours, theirs = (asking(full[1], statement) for statement in QUESTIONS[what])
    views, tables = in_turns(3, ours, theirs)
    figure(f"SQL: {what} of a FULL exposure", views * 1e3, "ms", views / tables, "a table with a row per exposure")
    assert views <= MOST * tables


@pytest.mark.parametrize("what", CONDITIONS)
def test_conditions(full: tuple[Pool, Any], figure: Callable[..., None], what: str) -> None:
    pool, cursor = full
    cursor.execute("RESET max_parallel_workers_per_gather")
    kind, where = what.split(" ", 1)
    cursor.execute(CONDITIONS[what])
    assert pool.pixels(kind, where).count() == cursor.fetchall()[0][0]
    ours, theirs = timed(pool.pixels(kind, where).count), asking(cursor, CONDITIONS[what])
    blocks, tables = in_turns(5, ours, theirs)
    figure(f"{what}, a FULL exposure", blocks * 1e3, "ms", blocks / tables, "a table with a row per exposure")
    assert blocks <= MOST * tables
