"""Neighbours: the exposures before and after one, of its kind and detector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select, tuple_

from .schema import product

if TYPE_CHECKING:
    from .connection import Database

__all__ = ["find_neighbours"]


def find_neighbours(database: Database, serial: int) -> tuple[int | None, int | None]:
    """Find the newest versions of the exposures before and after a version.

    Parameters
    ----------
    database : Database
        The pool's.
    serial : int
        The version.

    Returns
    -------
    before, after : int or None
        By the start of the exposure, or by the time of saving where the version has no start; None where there is none.
    """
    p = product.c
    with database.read() as connection:
        row = connection.execute(
            select(p.kind, p.name, p.detector, p.start_time, p.created).where(p.serial == serial)
        ).one_or_none()
        if row is None:
            return None, None
        column, moment = (p.created, row.created) if row.start_time is None else (p.start_time, row.start_time)
        alike = select(p.serial).where(
            p.head, p.kind == row.kind, p.name != row.name, p.detector.is_not_distinct_from(row.detector)
        )
        place: Any = tuple_(column, p.name)
        here: Any = tuple_(moment, row.name)
        before = alike.where(place < here).order_by(column.desc(), p.name.desc()).limit(1)
        after = alike.where(place > here).order_by(column, p.name).limit(1)
        return connection.execute(before).scalar(), connection.execute(after).scalar()
