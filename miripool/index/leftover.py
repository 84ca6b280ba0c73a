"""Files of tables whose making a killed server did not end: nothing refers to them, PostgreSQL does not remove them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from ..errors import ReadOnly

if TYPE_CHECKING:
    from .connection import Database

__all__ = ["find_left_over"]

_FILES = text(
    r"""
    WITH files AS MATERIALIZED (
        SELECT path, name, pg_stat_file(path || '/' || name, true) AS file
        FROM (SELECT 'base/' || oid AS path FROM pg_database WHERE datname = current_database()) folder,
             pg_ls_dir(path) AS name
        WHERE name ~ '^\d+(_[a-z]+)?(\.\d+)?$'
    )
    SELECT path, count(*), sum((file).size)::bigint
    FROM files
    WHERE (file).size > 0
      -- What the server of now has made may belong to a transaction that has not ended; files tell whole seconds.
      AND (file).modification < date_trunc('second', pg_postmaster_start_time())
      AND substring(name FROM '^\d+')::bigint NOT IN (
          SELECT pg_relation_filenode(oid)::bigint FROM pg_class WHERE pg_relation_filenode(oid) IS NOT NULL
      )
    GROUP BY path
    """
)


def find_left_over(database: Database) -> tuple[str, int, int] | None:
    """Look for files of the database that belong to no table.

    Parameters
    ----------
    database : Database
        Any schema of it.

    Returns
    -------
    (str, int, int) or None
        Their folder in the server's data directory, how many they are, and their bytes; None where there are none, or
        where this user may not look.
    """
    try:
        with database.read() as connection:
            row = connection.execute(_FILES).first()
    except ReadOnly:
        return None
    return None if row is None else tuple(row)
