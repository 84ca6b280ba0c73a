"""The row form: pixel rows as tables with one row for each pixel and exposure, and the views of them, beside a pool's.

Pixel rows were kept so before blocks held them. The tables and views are those of the migrations that made them then;
the rows are taken from the pool's views, and loaded and indexed as they were.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from typing import Any

__all__ = ["make_row_form", "within"]

_COLUMNS = {
    "Raw": ("raw_pixel", "exp_id, set_id, pixel_id, y, x, dn"),
    "Ramp": ("ramp_pixel", "pixeldq, exp_id, set_id, pixel_id, y, x, sci, groupdq, err"),
    "RateInts": ("rateints_pixel", "exp_id, set_id, pixel_id, y, x, rate, err, dq"),
    "Rate": ("rate_pixel", "dq, exp_id, set_id, pixel_id, y, x, rate, err"),
}


def make_row_form(cursor: Any, schema: str) -> str:
    """Make a schema in which the pixel rows of a pool have the row form.

    Parameters
    ----------
    cursor : cursor
        Of a connection to the pool's database; at the end it commits by itself.
    schema : str
        The pool's.

    Returns
    -------
    str
        The schema's name. What is no pixel row is the pool's own: both are to be in the search path, this one first.
    """
    form = f"{schema} in rows"
    cursor.connection.autocommit = True
    cursor.execute(f'CREATE SCHEMA "{form}"')
    with within(cursor, form, schema):
        cursor.execute(
            "CREATE TABLE pixel_set AS SELECT s.set_id, s.exp_id, s.kind, s.digest, b.nints, b.ngroups, "
            f's.common_groupdq FROM "{schema}".pixel_set s JOIN "{schema}".pixel_block b USING (block_id); '
            "ALTER TABLE pixel_set ADD PRIMARY KEY (set_id); CREATE UNIQUE INDEX ON pixel_set (exp_id, kind, digest)"
        )
        cursor.execute(_part("0003_pixels", "CREATE TABLE raw_pixel", "-- Exposures are numbered from the first"))
        cursor.execute("SELECT set_id, exp_id, kind FROM pixel_set ORDER BY set_id")
        for set_id, exp_id, kind in cursor.fetchall():
            _fill(cursor, schema, *_COLUMNS[kind], int(exp_id), int(set_id))
        cursor.execute("ANALYZE pixel_set")
        cursor.execute(_part("0004_views", "CREATE VIEW raw_exposure"))
        views = _part("0009_detectors", "CREATE OR REPLACE VIEW raw_exposure", "COMMENT ON VIEW ramps")
        before, _, changed = views.partition("ALTER TABLE corrected_exposure")
        cursor.execute(before + changed[changed.index("CREATE OR REPLACE VIEW corrected_set") :])
    return form


@contextmanager
def within(cursor: Any, *schemas: str) -> Iterator[None]:
    """Set the search path of a connection, and reset it."""
    names = '", "'.join(schemas)
    cursor.execute(f'SET search_path TO "{names}"')
    try:
        yield
    finally:
        cursor.execute("RESET search_path")


def _part(migration: str, begin: str, end: str | None = None) -> str:
    text = resources.files("miripool.index").joinpath("migrations", f"{migration}.sql").read_text(encoding="utf-8")
    return text[text.index(begin) : None if end is None else text.index(end)]


def _fill(cursor: Any, schema: str, table: str, columns: str, exp_id: int, set_id: int) -> None:
    """Load one exposure's table; it is made in the same transaction, so that FREEZE is allowed."""
    partition, among = f"{table}_{set_id}", f"exp_id = {exp_id} AND set_id = {set_id}"
    rows = io.BytesIO()
    question = f'SELECT {columns} FROM "{schema}".{table} WHERE {among} ORDER BY pixel_id'
    cursor.copy_expert(f"COPY ({question}) TO STDOUT (FORMAT binary)", rows)
    rows.seek(0)
    cursor.execute("BEGIN")
    cursor.execute(
        f"CREATE TABLE {partition} (LIKE {table} INCLUDING STORAGE, CHECK ({among})) "
        "WITH (toast_tuple_target = 8160, autovacuum_enabled = off)"
    )
    cursor.copy_expert(f"COPY {partition} ({columns}) FROM STDIN (FORMAT binary, FREEZE)", rows)
    cursor.execute(f"CREATE UNIQUE INDEX ON {partition} (pixel_id); CREATE UNIQUE INDEX ON {partition} (y, x)")
    cursor.execute(
        f"ALTER TABLE {table} ATTACH PARTITION {partition} FOR VALUES FROM ({exp_id}, {set_id}) "
        f"TO ({exp_id}, {set_id + 1})"
    )
    cursor.execute("COMMIT")
