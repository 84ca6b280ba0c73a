from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import homes
import pytest
import sqlalchemy as sa
import two_detectors
from older_index import take_past_away
from sqlalchemy.dialects import postgresql

from miripool import Home, Pool
from miripool.errors import Conflict, NewerFormat, PoolNotFound, ReadOnly, ServerError
from miripool.index import migrate
from miripool.index import schema as tables
from miripool.index.connection import Database, quote
from miripool.index.migrate import Migration, migrations, prepare
from miripool.pool.core import core_of

home = homes.home
DIALECT = postgresql.dialect()


@pytest.fixture
def database(any_database_url: str, schema: str) -> Iterator[Database]:
    made = Database(any_database_url, schema)
    yield made
    with made.write() as connection:
        made.run(connection, f"DROP SCHEMA IF EXISTS {quote(made.schema)} CASCADE")
    made.close()


def stamp(database: Database) -> tuple[str, int]:
    with database.read() as connection:
        return tuple(connection.execute(sa.select(tables.state.c.pool_id, tables.state.c.schema_version)).one())


def table_names(database: Database) -> set[str]:
    with database.read() as connection:
        return set(sa.inspect(connection).get_table_names(schema=database.schema))


def describe(table: sa.Table) -> dict[str, object]:
    return {
        "columns": [(c.name, c.type.compile(DIALECT), c.nullable, c.comment) for c in table.c],
        "identity": [c.name for c in table.c if c.identity is not None],
        "primary": [c.name for c in table.primary_key],
        "unique": sorted(
            (str(u.name), [c.name for c in u.columns]) for u in table.constraints if isinstance(u, sa.UniqueConstraint)
        ),
        "foreign": sorted(f"{f.column.table.name}.{f.column.name}" for f in table.foreign_keys),
        "indexes": sorted(
            (str(i.name), [c.name for c in i.columns], i.unique)
            for i in table.indexes
            if table.name != "keyword" and i.name not in {str(u.name) for u in table.constraints}
        ),
    }


def test_numbers_have_no_gaps() -> None:
    assert [m.number for m in migrations()] == list(range(1, len(migrations()) + 1))


def test_migrations_make_what_the_code_describes(database: Database) -> None:
    prepare(database, "pool-a")
    found = sa.MetaData()
    with database.read() as connection:
        found.reflect(connection, schema=database.schema)
    reflected = {table.name: describe(table) for table in found.tables.values()}
    described = {table.name: describe(table) for table in tables.metadata.tables.values()}
    assert reflected.keys() >= described.keys()
    for name, expected in described.items():
        assert reflected[name] == expected, name


def test_prepare_again_changes_nothing(database: Database) -> None:
    prepare(database, "pool-a", first_serial=7)
    prepare(database, "pool-a", first_serial=9)
    with database.read() as connection:
        row = connection.execute(sa.select(tables.state)).mappings().one()
    assert (row["applied"], row["applied_digest"], row["next_serial"]) == (-1, None, 7)


def test_an_open_schema_costs_one_statement(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(database, "pool-a")
    seen: list[str] = []
    fetch = Database.fetch

    def note(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    def fetched(database: Database, question: str, values: Any = ()) -> list[tuple[Any, ...]]:
        seen.append(question)
        return fetch(database, question, values)

    sa.event.listen(database._base, "before_cursor_execute", note)
    monkeypatch.setattr(Database, "fetch", fetched)
    prepare(database, "pool-a")
    assert len(seen) == 1
    assert seen[0].startswith("SELECT")


def test_another_pools_schema_is_refused(database: Database) -> None:
    prepare(database, "pool-a")
    with pytest.raises(Conflict, match=r"pool-a.*pool-b"):
        prepare(database, "pool-b")


def test_a_newer_schema_is_refused(database: Database) -> None:
    prepare(database, "pool-a")
    with database.write() as connection:
        connection.execute(sa.update(tables.state).values(schema_version=4711))
    with pytest.raises(NewerFormat, match=rf"4711.*{len(migrations())}.*update"):
        prepare(database, "pool-a")


def test_missing_schema_is_not_made_unasked(database: Database) -> None:
    with pytest.raises(PoolNotFound):
        prepare(database, "pool-a", create=False)
    reader = Database(str(database._base.url.render_as_string(False)), database.schema, read_only=True)
    with pytest.raises(PoolNotFound):
        prepare(reader, "pool-a")
    reader.close()
    assert table_names(database) == set()


def test_an_empty_schema_is_taken_and_a_used_one_refused(database: Database) -> None:
    with database.write() as connection:
        database.run(connection, f"CREATE SCHEMA {quote(database.schema)}")
    prepare(database, "pool-a")
    assert "product" in table_names(database)
    with database.write() as connection:
        database.run(connection, f"DROP SCHEMA {quote(database.schema)} CASCADE")
        database.run(connection, f"CREATE SCHEMA {quote(database.schema)}; CREATE TABLE salaries (name text)")
    with pytest.raises(Conflict, match="do not belong to a pool"):
        prepare(database, "pool-a")
    assert table_names(database) == {"salaries"}


def test_older_schema_is_migrated_step_by_step(database: Database) -> None:
    first = migrations()[:1]
    later = (
        *first,
        Migration(2, "0002_a.sql", "CREATE TABLE a (x int); INSERT INTO a VALUES (1)"),
        Migration(3, "0003_b.sql", "ALTER TABLE a ADD y text DEFAULT 'it''s 100 %'"),
    )
    prepare(database, "pool-a", steps=first)
    reader = Database(str(database._base.url.render_as_string(False)), database.schema, read_only=True)
    with pytest.raises(ReadOnly, match=r"version 1.*needs 3"):
        prepare(reader, "pool-a", steps=later)
    reader.close()
    prepare(database, "pool-a", steps=later)
    assert stamp(database) == ("pool-a", 3)
    with pytest.raises(NewerFormat):
        prepare(database, "pool-a", steps=first)


def test_a_failing_migration_leaves_the_version_before(database: Database) -> None:
    steps = (
        *migrations()[:1],
        Migration(2, "0002_good.sql", "CREATE TABLE good (x int)"),
        Migration(3, "0003_bad.sql", "CREATE TABLE bad (x int); SELECT 1/0 FROM nothing"),
    )
    prepare(database, "pool-a", steps=steps[:1])
    with pytest.raises(ServerError):
        prepare(database, "pool-a", steps=steps)
    assert stamp(database) == ("pool-a", 2)
    assert "good" in table_names(database)
    assert "bad" not in table_names(database)


def test_a_new_schema_is_made_as_a_whole(database: Database) -> None:
    steps = (*migrations()[:1], Migration(2, "0002_bad.sql", "CREATE TABLE bad (x int); SELECT 1/0 FROM nothing"))
    with pytest.raises(ServerError):
        prepare(database, "pool-a", steps=steps)
    assert table_names(database) == set()
    prepare(database, "pool-a")
    assert stamp(database) == ("pool-a", len(migrations()))


def test_many_create_the_same_pool_at_once(database: Database) -> None:
    url = str(database._base.url.render_as_string(False))
    others = [Database(url, database.schema) for _ in range(6)]
    start = threading.Barrier(len(others))
    failures: list[BaseException] = []

    def run(other: Database) -> None:
        start.wait()
        try:
            prepare(other, "pool-a")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(other,)) for other in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for other in others:
        other.close()
    assert failures == []
    assert stamp(database) == ("pool-a", len(migrations()))


def test_keyword_indexes_are_those_that_were_measured() -> None:
    indexes = pytest.importorskip("miripool.index.keyword_indexes")
    shipped = " ".join("".join(m.script for m in migrate.migrations()).split())
    for statement in indexes.KEYWORD_INDEXES:
        assert " ".join(statement.rstrip("; \n").split()) in shipped


PIXELS = ("raw_pixel", "ref_pixel", "ramp_pixel", "rateints_pixel", "rate_pixel")
VIEWS = ("ramps", "ref_ramps", "groups", "correctedramps", "correctedgroups", "exposures", "correctedexposures")


@pytest.mark.slow
def test_views_of_an_older_index_give_the_same_answers(home: Home, tmp_path: Path) -> None:
    """Tables of pixels and views of version 8 are put in the place of today's, asked, and made newer by opening."""
    files = two_detectors.write(tmp_path)
    with home.create("jpl8") as pool:
        files.save(pool)
        before = _version_8(pool)
    with home.pool("jpl8") as pool:
        core_of(pool).catch_up()
        assert homes.ask_pool(pool, "SELECT count(*) FROM ramps") == [(0,)]
        pending = core_of(pool).pixel_rows.pending()
        assert core_of(pool).pixel_rows.make_pending() == (len(pending), [])
        for view, (names, rows) in before.items():
            chosen = ", ".join(names)
            now = homes.ask_pool(pool, f"SELECT {chosen} FROM {view} ORDER BY {chosen}")
            assert repr(now) == repr(rows), view  # NaN is not equal to itself
            assert len(rows) >= 3
        assert homes.ask_pool(pool, "SELECT DISTINCT detector FROM ramps ORDER BY 1") == [
            ("MIRIFULONG",),
            ("MIRIMAGE",),
        ]
        assert homes.ask_pool(pool, "SELECT * FROM missing_pixel_rows") == []
        assert homes.ask_pool(pool, "SELECT DISTINCT gain_ref_file FROM correctedexposures ORDER BY 1") == [
            ("jwst_miri_gain_v1.fits",),
            ("jwst_miri_gain_v2.fits",),
        ]
        assert stamp(core_of(pool).catalog.database)[1] == len(migrations())


def _version_8(pool: Pool) -> dict[str, tuple[list[str], list[tuple[Any, ...]]]]:
    """Put back tables and views of version 8; give columns and rows of each, but for names of reference files."""
    database = core_of(pool).catalog.database
    take_past_away(database)
    with database.write() as connection:
        for view in PIXELS:
            database.run(connection, f"CREATE TABLE kept_{view} AS SELECT * FROM {view}")
        for view in sa.inspect(connection).get_view_names(schema=database.schema):
            database.run(connection, f"DROP VIEW IF EXISTS {quote(view)} CASCADE")
        database.run(connection, _tables_of_version_8())
        database.run(connection, "ALTER TABLE corrected_exposure DROP COLUMN detector")
        database.run(connection, "ALTER TABLE product DROP COLUMN saved_by, DROP COLUMN removed_by")
        database.run(connection, "ALTER TABLE tag_event DROP COLUMN by")
        database.run(connection, "DROP TABLE timing")
        database.run(
            connection,
            "DROP TABLE exposure_statistic, footprint, footprint_pending; DROP INDEX product_bytes, product_obs_id",
        )
        database.run(connection, migrations()[3].script)
        connection.execute(sa.update(tables.state).values(schema_version=8))
    answers = {}
    for view in VIEWS:
        columns = homes.ask_pool(
            pool,
            "SELECT attname FROM pg_attribute WHERE attrelid = CAST(%s AS regclass) AND attnum > 0 ORDER BY attnum",
            view,
        )
        names = [name for (name,) in columns if not name.endswith("_ref_file")]
        assert "detector" not in names
        chosen = ", ".join(names)
        answers[view] = names, homes.ask_pool(pool, f"SELECT {chosen} FROM {view} ORDER BY {chosen}")
    return answers


def _tables_of_version_8() -> str:
    """Write what makes the tables of pixels as they were, by exposure, with the rows that are there."""
    third = migrations()[2].script
    made = third[third.index("CREATE TABLE raw_pixel") : third.index("-- Exposures are numbered")]
    filled = [
        f"CREATE TABLE {view}_of_all PARTITION OF {view} DEFAULT; "
        f"INSERT INTO {view} SELECT (jsonb_populate_record(NULL::{view}, to_jsonb(k))).* FROM kept_{view} k; "
        f"DROP TABLE kept_{view};"
        for view in PIXELS
    ]
    place = "first_x, first_y, columns, rows, nints, ngroups"
    types = ("smallint", "smallint", "smallint", "smallint", "integer", "integer")
    added = ", ".join(f"ADD {name} {kind}" for name, kind in zip(place.split(", "), types, strict=True))
    return f"""
        {made}
        {" ".join(filled)}
        ALTER TABLE pixel_set {added};
        UPDATE pixel_set s SET ({place}) = (SELECT {place} FROM pixel_block b WHERE b.block_id = s.block_id);
        ALTER TABLE pixel_set DROP COLUMN block_id, DROP COLUMN slot;
        DROP TABLE pixel_block, {", ".join(view.replace("_pixel", "_block") for view in PIXELS)};
    """


def test_an_index_without_exposures_takes_the_journal_in_again(database: Database) -> None:
    prepare(database, "pool-a", steps=migrations()[:2])
    with database.write() as connection:
        database.run(
            connection,
            "UPDATE pool_state SET applied = 7, applied_digest = 'x', next_serial = 9, products = 1;"
            "INSERT INTO tag VALUES ('a', 'Raw', 'n', 3)",
        )
    prepare(database, "pool-a")
    with database.read() as connection:
        row = connection.execute(sa.select(tables.state)).mappings().one()
        assert (row["applied"], row["applied_digest"], row["products"], row["next_serial"]) == (-1, None, 0, 9)
        assert connection.execute(sa.select(tables.tag)).all() == []
