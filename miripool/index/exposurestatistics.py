"""Statistics of versions: rows that SQL and Python read, made from the products of the kind ExposureStatistics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, exists, func, not_, select
from sqlalchemy.dialects import postgresql

from ..model.kinds import ExposureStatistics
from .schema import exposure_statistic, product
from .selection import GIVEN_SERIALS, array_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .connection import Database

__all__ = ["COLUMNS", "pending_records", "read_statistics", "take_records"]

_e, _p = exposure_statistic.c, product.c
_HEAD = _p.head & (_p.kind == ExposureStatistics.kind)
_PENDING = select(_p.serial).where(_HEAD, ~exists().where(_e.record == _p.serial)).order_by(_p.serial)
_IS_STALE = not_(exists().where(_HEAD, _p.serial == _e.record))
_STALE = delete(exposure_statistic).where(_IS_STALE)
_ANY_STALE = select(exists().select_from(exposure_statistic).where(_IS_STALE))

_KEYS: Final = ("content", "integration", "amplifier")

COLUMNS: Final = tuple(column.name for column in exposure_statistic.columns)
"""Of a row."""

_READ = (
    select(_p.serial, *(column for column in exposure_statistic.columns if column.name not in {"name", "content"}))
    .join(exposure_statistic, (_e.name == _p.name) & (_e.content == _p.content))
    .where(_p.serial == func.any(GIVEN_SERIALS))
    .order_by(_p.serial, _e.integration, _e.amplifier)
)


def pending_records(database: Database) -> tuple[list[int], bool]:
    """Find the products of the kind ExposureStatistics, the newest of each name, whose rows are not made yet.

    Parameters
    ----------
    database : Database
        The index, caught up.

    Returns
    -------
    serials : list of int
        Theirs.
    stale : bool
        Whether there are rows of products that are in the trash by now, or are not the newest.
    """
    with database.read() as connection:
        return list(connection.execute(_PENDING).scalars()), bool(connection.execute(_ANY_STALE).scalar())


def take_records(database: Database, records: Mapping[tuple[int, str], Sequence[Mapping[str, Any]]]) -> None:
    """Make the rows of products of the kind ExposureStatistics; those of older and of removed versions go.

    Parameters
    ----------
    database : Database
        The index; it can be written.
    records : mapping of (int, str) to sequence of mapping
        For each serial and name, its rows: `COLUMNS` but ``record`` and ``name``.
    """
    made = {
        (name, *(row[key] for key in _KEYS)): {**row, "record": serial, "name": name}
        for (serial, name), found in records.items()
        for row in found
    }
    rows = list(made.values())
    with database.write() as connection:
        # Two that write the same rows in different orders would wait for each other; readers don't wait.
        table = database.table(exposure_statistic.name).replace("%", "%%")
        connection.exec_driver_sql(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
        connection.execute(_STALE)
        if rows:
            statement = postgresql.insert(exposure_statistic)
            changed = {name: statement.excluded[name] for name in COLUMNS}
            connection.execute(
                statement.on_conflict_do_update(index_elements=["name", *_KEYS], set_=changed),
                rows,
            )


def read_statistics(database: Database, serials: Sequence[int]) -> list[dict[str, Any]]:
    """Read the statistics of versions.

    Parameters
    ----------
    database : Database
        The index.
    serials : sequence of int
        The versions'.

    Returns
    -------
    list of dict
        By serial, integration and amplifier: ``serial``, and `COLUMNS` but ``name`` and ``content``.
    """
    with database.read() as connection:
        return [dict(row) for row in connection.execute(_READ, {"serials": array_text(serials)}).mappings()]
