"""Questions about a whole exposure, beside the same questions of tables with one row per pixel and exposure.

`rowform` makes these. One FULL exposure that was saved alone, and one of 40 exposures of SUB64 that share blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from postgresql import reachable_folder
from rowform import make_row_form, within
from timing import in_turns, timed

from miripool import Home, Pool
from miripool.pool.core import core_of
from miripool.simulate import Calibration, simulate_campaign, simulate_exposure

pytestmark = pytest.mark.timeout(1800)

MOST = 1.2
"""Times the time that the tables of rows take."""

QUESTIONS = {
    "ramps": "SELECT sum(ramp[3]) FROM ramps WHERE exp_id = {e}{part}",
    "groups": "SELECT sum(raw_value) FROM groups WHERE exp_id = {e}{part}",
    "number of groups": "SELECT count(*) FROM groups WHERE exp_id = {e}{part}",
    "slopes": "SELECT sum(slope_value) FROM correctedramps WHERE exp_id = {e}",
    "corrected ramps": "SELECT sum(corrected_ramp[3]) FROM correctedramps WHERE exp_id = {e}{part}",
    "jumps": "SELECT count(*) FROM correctedramps WHERE exp_id = {e}{part} AND jump_det",
    "corrected groups": "SELECT sum(corrected_value) FROM correctedgroups WHERE exp_id = {e}{part}",
}
"""What the README and the reference of SQL ask; of a FULL exposure 100 rows, except for slopes."""

CONDITIONS = {
    "Rate rate > 10": "rate_pixel WHERE rate > 10 AND rate <> 'NaN'",
    "Rate rate > 1000 and dq is null": "rate_pixel WHERE rate > 1000 AND rate <> 'NaN' AND (dq IS NULL OR dq = 0)",
    "RateInts rate[integration == 1] > 1000": "rateints_pixel WHERE rate[1] > 1000 AND rate[1] <> 'NaN'",
    "Ramp sci[integration == 1, group == 5] > 20000": "ramp_pixel WHERE sci[1][5] > 20000 AND sci[1][5] <> 'NaN'",
    "Raw dn[integration == 1, group == 5] > 20000": "raw_pixel WHERE dn[1][5] + 32768 > 20000",
}


@dataclass(frozen=True)
class Beside:
    """A pool, and a connection to where its pixel rows are in the row form, too."""

    pool: Pool
    cursor: Any
    form: str
    exp_id: int
    part: str


def sides(beside: Beside, statement: str) -> tuple[Callable[[], float], Callable[[], float]]:
    """Ask the pool's views, and those of the row form; the answers are equal, but for the order of additions."""
    schema = core_of(beside.pool).catalog.schema
    answers = []
    for schemas in ((schema,), (beside.form, schema)):
        with within(beside.cursor, *schemas):
            beside.cursor.execute(statement)
            answers.append(float(beside.cursor.fetchone()[0]))
    assert answers[0] == pytest.approx(answers[1], rel=1e-4)

    def asking(*schemas: str) -> Callable[[], float]:
        def ask() -> float:
            with within(beside.cursor, *schemas):
                return timed(lambda: beside.cursor.execute(statement))()

        return ask

    return asking(schema), asking(beside.form, schema)


@pytest.fixture(scope="module", params=["FULL", "SUB64"])
def beside(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "FULL":
        exposures = [simulate_exposure("full_mirimage", subarray="FULL", nints=5, ngroups=20, seed=1)]
    else:
        exposures = list(simulate_campaign(40, nints=5, ngroups=20))
    paths = [path for e in exposures for path in (e.write_uncal(folder), *e.write_products(folder, Calibration("v1")))]
    del exposures
    with pytest.MonkeyPatch.context() as patch, reachable_folder() as place:
        patch.delenv("MIRIPOOL_DATABASE_URL", raising=False)
        home = Home(place / "home")
        with home.create("whole") as pool:
            assert {outcome.status for outcome in pool.ingest([Path(path) for path in paths])} == {"new"}
            database = core_of(pool).catalog.database
            with (
                closing(psycopg2.connect(database.psql_url, options="-c jit=off")) as connection,
                connection.cursor() as cursor,
            ):
                form = make_row_form(cursor, database.schema)
                cursor.execute(f'SELECT max(exp_id), min(pixel_id) FROM "{form}".rate_pixel')
                exp_id, first = cursor.fetchone()
                part = f" AND pixel_id < {first + 100 * 1032}" if request.param == "FULL" else ""
                yield Beside(pool, cursor, form, exp_id, part)
        home.server.remove()


@pytest.mark.parametrize("workers", ["one process", "as set"])
@pytest.mark.parametrize("what", QUESTIONS)
def test_questions_in_sql(beside: Beside, figure: Callable[..., None], what: str, workers: str) -> None:
    """PostgreSQL reads tables with several processes, but not a block that it finds while it runs."""
    if workers == "one process":
        beside.cursor.execute("SET max_parallel_workers_per_gather = 0")
    else:
        beside.cursor.execute("RESET max_parallel_workers_per_gather")
    statement = QUESTIONS[what].format(e=beside.exp_id, part=beside.part)
    ours, theirs = sides(beside, statement)
    views, tables = in_turns(5, ours, theirs)
    array = "FULL" if beside.part else "SUB64"
    figure(f"SQL: {what} of a {array} exposure, {workers}", views * 1e3, "ms", views / tables, "tables of rows")
    assert views <= MOST * tables


@pytest.mark.parametrize("what", CONDITIONS)
def test_conditions(beside: Beside, figure: Callable[..., None], what: str) -> None:
    """The same count by Python, and by one statement of the row form."""
    beside.cursor.execute("RESET max_parallel_workers_per_gather")
    kind, where = what.split(" ", 1)
    pixels = beside.pool.pixels(kind, where)
    statement = f"SELECT count(*) FROM {CONDITIONS[what]}"
    _, theirs = sides(beside, statement)
    with within(beside.cursor, beside.form):
        beside.cursor.execute(statement)
        assert pixels.count() == beside.cursor.fetchone()[0]
    blocks, tables = in_turns(7, timed(pixels.count), theirs)
    array = "FULL" if beside.part else "SUB64"
    figure(f"{what}, {array}", blocks * 1e3, "ms", blocks / tables, "tables of rows")
    assert blocks <= MOST * tables
