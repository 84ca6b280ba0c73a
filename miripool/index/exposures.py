"""Exposures as the index numbers them, which Ramp and RateInts belong together, and what is in an `Exposure`.

The first two are computed from `product` and `keyword` alone, so an index made from the folder alone has the same
numbers. The function `pair_calibrations`, of the migrations, has the rule for the second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from ..model.kinds import pixel_kinds
from ..model.product import Exposure
from .schema import link, product
from .selection import array_text, is_one_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .connection import Database
    from .message import Message
    from .tracks import Tracks

__all__ = ["follow", "held_by_exposures"]

_ADD_EXPOSURES = """
INSERT INTO exposure (exp_id, name)
SELECT (SELECT coalesce(max(exp_id), 0) FROM exposure) + row_number() OVER (ORDER BY min(p.serial)), p.name
FROM product p
WHERE p.serial = ANY(CAST(%(saved)s AS bigint[])) AND p.kind = ANY(%(kinds)s)
AND NOT EXISTS (SELECT FROM exposure e WHERE e.name = p.name)
GROUP BY p.name
"""

_ADD_ALONE = """
INSERT INTO corrected_exposure (corrected_exp_id, exp_id, ramp, rateints, detector)
SELECT p.serial, e.exp_id,
    CASE WHEN p.kind = 'Ramp' THEN p.serial END, CASE WHEN p.kind = 'RateInts' THEN p.serial END, p.detector
FROM product p
JOIN exposure e ON e.name = p.name
WHERE p.serial = ANY(CAST(%(saved)s AS bigint[])) AND p.kind IN ('Ramp', 'RateInts') AND p.removed IS NULL
AND NOT EXISTS (
    SELECT FROM product o WHERE o.name = p.name AND o.kind IN ('Ramp', 'RateInts') AND o.serial <> p.serial
)
"""
"""What `pair_calibrations` comes to for a new product that is alone of its name: that function alone takes 0.7 ms, and
2.4 ms in a pool of 100,000."""

_PAIR = """
SELECT pair_calibrations(names)
FROM (
    SELECT array_agg(DISTINCT p.name) AS names FROM product p
    WHERE p.serial = ANY(CAST(%(changed)s AS bigint[])) AND p.kind IN ('Ramp', 'RateInts')
    AND NOT EXISTS (
        SELECT FROM corrected_exposure c WHERE p.serial = ANY(CAST(%(saved)s AS bigint[]))
        AND p.serial IN (c.ramp, c.rateints)
    )
) changed
WHERE names IS NOT NULL
"""


def held_by_exposures(database: Database, serials: Sequence[int]) -> set[int]:
    """Find the versions that a living exposure refers to.

    Parameters
    ----------
    database : Database
        The pool's.
    serials : sequence of int
        Versions.

    Returns
    -------
    set of int
        Those of them.
    """
    exposures = select(product.c.serial).where(product.c.kind == Exposure.kind, product.c.removed.is_(None))
    wanted = is_one_of(link.c.target, serials)
    statement = select(link.c.target).where(wanted, link.c.serial.in_(exposures)).distinct()
    with database.read() as connection:
        return set(connection.execute(statement).scalars())


def follow(message: Message, schema: str, tracks: Tracks) -> None:
    """Number new exposures, and pair the products of those that changed.

    Parameters
    ----------
    message : Message
        In a transaction that holds the pool's lock; before this the products are in.
    schema : str
        The pool's, quoted.
    tracks : Tracks
        What the entries did.
    """
    kinds = pixel_kinds()
    saved = [save.serial for _, save in tracks.saves if save.kind in kinds]
    moved = [v.serial for v in tracks.changed() if v.stored is not None and v.stored[1] != v.removed]
    if not saved and not moved:
        return
    message.add(f"SET LOCAL search_path TO {schema}")
    values = {"saved": array_text(saved), "changed": array_text([*saved, *moved]), "kinds": list(kinds)}
    message.add(f"{_ADD_EXPOSURES}; {_ADD_ALONE}; {_PAIR}", values)
