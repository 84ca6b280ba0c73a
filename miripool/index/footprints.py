"""Rows of `footprint`: made when a version is taken in, or afterwards for those that an older miripool took in."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, func, select

from ..errors import ReadOnly
from ..instruments.detector import PLACE_KEYS
from ..model.kinds import kinds_matching
from ..model.product import Context
from ..sky.cells import cell_at, cells_of, ranges_text
from ..sky.footprint import FOOTPRINT_KEYS, footprint_of
from ..sky.position import SkyPosition
from .connection import lock_key
from .copysource import Lines
from .schema import footprint, footprint_pending, keyword, product
from .selection import is_one_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from .connection import Database

__all__ = ["FOOTPRINT_COLUMNS", "NUMBERS", "complete", "footprint_line", "read_sky_keywords"]

_log = logging.getLogger(__name__)

FOOTPRINT_COLUMNS = tuple(column.name for column in footprint.c)
"""In the order of the fields of a line."""
NUMBERS = 10
"""Of each edge in the column `edges`."""
_PENDING = select(footprint_pending.c.serial).limit(1)
_BATCH = 1000
"""Versions that are filled by one transaction: about a second."""
_MADE = 512
"""Footprints that are kept: the products of one exposure say the same."""


def footprint_line(serial: int, kind: str, said: Mapping[str, Any]) -> str | None:
    """Write a row of `footprint` for COPY.

    Parameters
    ----------
    serial : int
        The version's.
    kind : str
        Of the product; contexts have no footprint.
    said : mapping of str to object
        What its header says for `FOOTPRINT_KEYS`.

    Returns
    -------
    str or None
        One line, its fields in the order of `FOOTPRINT_COLUMNS`; None where there is no footprint.
    """
    if not said or kind in kinds_matching(Context):
        return None
    fields = _fields(tuple(said.get(key) for key in FOOTPRINT_KEYS))
    return None if fields is None else f"{serial}\t{fields}\n"


@functools.lru_cache(maxsize=_MADE)
def _fields(values: tuple[Any, ...]) -> str | None:
    try:
        return _written(values)
    except BaseException as error:
        # The library's own failures are no `Exception`. No header may keep a version from being saved, or an index from
        # being made.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        _log.warning("a header has no footprint that can be kept: %s", error, exc_info=error)
        return None


def _written(values: tuple[Any, ...]) -> str | None:
    seen = footprint_of(dict(zip(FOOTPRINT_KEYS, values, strict=True)))
    if seen is None:
        return None
    numbers = (
        (piece, *edge.normal, *edge.start, *edge.end) for piece, edges in enumerate(seen.pieces()) for edge in edges
    )
    edges = ",".join(repr(number) for row in numbers for number in row)
    cells = ranges_text([cells for polygon in seen.polygons for cells in cells_of(polygon)])
    centre = seen.centre
    rest = (*map(repr, centre), str(cell_at(SkyPosition.towards(centre))))
    return "\t".join(("t" if seen.dark else "f", cells, f"{{{edges}}}", *rest))


def complete(database: Database) -> None:
    """Make the footprints of versions that an older miripool took in; one short question where there are none.

    Parameters
    ----------
    database : Database
        The index.

    Raises
    ------
    ReadOnly
        If there are some, and this user can't write.
    """
    if not database.ask(*database.written(_PENDING)):
        return
    if database.read_only:
        raise ReadOnly(
            "footprints of versions that an older miripool saved are yet to be made; ask once as a user who can write"
        )
    while _fill(database):
        pass


def _fill(database: Database) -> bool:
    """Make the footprints of some versions; tell whether there were any."""
    with database.write() as connection:
        connection.execute(select(func.pg_advisory_xact_lock(lock_key(f"footprints {database.schema}"))))
        serials = list(connection.scalars(select(footprint_pending.c.serial).limit(_BATCH)))
        if not serials:
            return False
        said = _read(connection, serials, FOOTPRINT_KEYS)
        kinds = dict(
            connection.execute(
                select(product.c.serial, product.c.kind).where(is_one_of(product.c.serial, serials))
            ).all()
        )
        lines = (footprint_line(serial, kinds[serial], values) for serial, values in said.items())
        database.copy(connection, footprint.name, FOOTPRINT_COLUMNS, Lines(line.encode() for line in lines if line))
        connection.execute(delete(footprint_pending).where(is_one_of(footprint_pending.c.serial, serials)))
    return True


def read_sky_keywords(database: Database, serials: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Give what the headers of versions say of the sky and of their place on the detector.

    Parameters
    ----------
    database : Database
        The index.
    serials : sequence of int
        The versions.

    Returns
    -------
    dict of int to dict
        By serial: keywords and what they say. Versions that say nothing are left out.
    """
    with database.immediately() as connection:
        return _read(connection, serials, (*FOOTPRINT_KEYS, *PLACE_KEYS))


def _read(connection: Connection, serials: Sequence[int], keys: Sequence[str]) -> dict[int, dict[str, Any]]:
    k = keyword.c
    wanted = and_(is_one_of(k.serial, serials), k.key.in_(keys), k.first)
    said: dict[int, dict[str, Any]] = {}
    for serial, key, number, words in connection.execute(select(k.serial, k.key, k.number, k.text).where(wanted)):
        said.setdefault(serial, {})[key] = words if number is None else number
    return said
