"""The index as it was before it knew the past, and before it had blocks: for tests that open an older one."""

from __future__ import annotations

import re

import sqlalchemy as sa

from miripool.index.connection import Database, quote
from miripool.index.migrate import migrations
from miripool.index.moments import THEN

_BLOCKS = "pixel_block, raw_block, ref_block, ramp_block, rateints_block, rate_block"
_VIEW = re.compile(r"^CREATE (?:OR REPLACE )?VIEW .*?;$", re.DOTALL | re.MULTILINE)
_BEFORE_BLOCKS = 14
"""Migrations."""


def take_past_away(database: Database) -> None:
    """Take away what the migration to ``moments`` made."""
    views = ", ".join(f"{table}_then" for table in THEN)
    with database.write() as connection:
        database.run(
            connection,
            f"DROP VIEW {views}; DROP TABLE moment, version_state; DROP INDEX tag_event_serial; "
            "ALTER TABLE tag_event DROP COLUMN until; ALTER TABLE pool_state DROP COLUMN has_past",
        )


def take_blocks_away(database: Database) -> None:
    """Put back empty tables of pixels, and the views of then; no version has pixel rows afterwards."""
    before = migrations()[:_BEFORE_BLOCKS]
    take_past_away(database)
    third = before[2].script
    tables = third[third.index("CREATE TABLE raw_pixel") : third.index("-- Exposures are numbered")]
    with database.write() as connection:
        for view in sa.inspect(connection).get_view_names(schema=database.schema):
            database.run(connection, f"DROP VIEW IF EXISTS {quote(view)} CASCADE")
        database.run(
            connection,
            "DELETE FROM pixel_use WHERE set_id IS NOT NULL; DELETE FROM pixel_set; "
            "ALTER TABLE pixel_set DROP COLUMN block_id, DROP COLUMN slot, ADD first_x smallint, ADD first_y smallint, "
            "ADD columns smallint, ADD rows smallint, ADD nints integer, ADD ngroups integer; "
            f"DROP TABLE {_BLOCKS}, footprint, footprint_pending; " + tables,
        )
        for step in before:
            for statement in _VIEW.findall(step.script):
                database.run(connection, statement)
