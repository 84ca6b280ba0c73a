"""Exposures as the index numbers them, which Ramp and RateInts belong together, and what is in an `Exposure`.

The first two are computed from `product` and `keyword` alone, so an index made from the folder alone has the same
numbers. The function `pair_calibrations`, of the migrations, has the rule for the second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from ..model.kinds import pixel_kinds
from ..model.product import Exposure
from .schema import link, product
from .selection import array_text, is_one_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .connection import Database
    from .message import Message
    from .tracks import Tracks

__all__ = ["follow", "held_by_exposures"]

_PAIRED = frozenset({"Ramp", "RateInts"})

_ADD_EXPOSURES = """
WITH given AS (
    SELECT * FROM unnest(CAST(%(names)s AS text[]), CAST(%(alone)s AS bigint[]))
    WITH ORDINALITY AS g (name, alone, place)
), made AS (
    INSERT INTO exposure (exp_id, name)
    SELECT (SELECT coalesce(max(exp_id), 0) FROM exposure) + row_number() OVER (ORDER BY g.place), g.name
    FROM given g
    WHERE NOT EXISTS (SELECT FROM exposure e WHERE e.name = g.name)
    RETURNING exp_id, name
)
INSERT INTO corrected_exposure (corrected_exp_id, exp_id, ramp, rateints, detector)
SELECT p.serial, m.exp_id,
    CASE WHEN p.kind = 'Ramp' THEN p.serial END, CASE WHEN p.kind = 'RateInts' THEN p.serial END, p.detector
FROM made m
JOIN given g ON g.name = m.name
JOIN product p ON p.serial = g.alone
WHERE p.removed IS NULL
"""
"""A new exposure's first product is in no pair yet. `pair_calibrations` comes to the same, in 0.7 ms, and among 100,000
products in 2.4 ms."""

_PAIR = """
SELECT pair_calibrations(names)
FROM (
    SELECT array_agg(g.name) AS names
    FROM unnest(CAST(%(names)s AS text[]), CAST(%(alone)s AS bigint[])) AS g (name, alone)
    WHERE NOT EXISTS (SELECT FROM corrected_exposure c WHERE c.corrected_exp_id = g.alone)
) given
WHERE names IS NOT NULL
"""

_PAIR_MOVED = """
SELECT pair_calibrations(ARRAY(
    SELECT DISTINCT p.name FROM product p
    WHERE p.serial = ANY(CAST(%(moved)s AS bigint[])) AND p.kind IN ('Ramp', 'RateInts')
))
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
    saved: dict[str, list[int]] = {}
    """Ramps and RateInts of exposures, in the order of the first save of each."""
    for _, save in tracks.saves:
        if save.kind in kinds:
            saved.setdefault(save.name, []).extend([save.serial] if save.kind in _PAIRED else [])
    moved = [v.serial for v in tracks.changed() if v.stored is not None and v.stored[1] != v.removed]
    if not saved and not moved:
        return
    message.add(f"SET LOCAL search_path TO {schema}")
    if saved:
        message.add_planned(_ADD_EXPOSURES, _given(saved))
        paired = {name: serials for name, serials in saved.items() if serials}
        if paired:
            message.add_planned(_PAIR, _given(paired))
    if moved:
        message.add(_PAIR_MOVED, {"moved": array_text(moved)})


def _given(saved: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Give names of exposures, and of each the product that is saved, if that is one."""
    return {"names": list(saved), "alone": [serials[0] if len(serials) == 1 else None for serials in saved.values()]}
