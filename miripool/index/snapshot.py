"""Snapshots: whether anything was changed on the server since an answer was found."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .connection import Database

__all__ = ["read_snapshot"]

_READ = (
    "SELECT CASE WHEN NOT pg_is_in_recovery() "
    "THEN concat_ws(' ', pg_postmaster_start_time(), pg_backend_pid(), pg_current_snapshot()) END"
)
"""A snapshot is the number of the next transaction, and the numbers of those that have not ended: what a question sees
follows from these (PostgreSQL manual, 9.26.10). A standby server does not list the latter. A crash may lose the last
transactions, whose numbers are given again; it ends all server processes, so that of the connection tells."""


def read_snapshot(database: Database) -> str | None:
    """Tell the state of the server from every other state.

    Parameters
    ----------
    database : Database
        Any of the server's.

    Returns
    -------
    str or None
        While this is the same, every question on committed data has the same answer as before: nothing was written
        to any of the server's databases. An answer is to be kept by the snapshot that was read before it was asked for.
        None where the server can't tell.
    """
    ((found,),) = database.ask(_READ)
    return None if found is None else str(found)
