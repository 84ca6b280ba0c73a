"""Exposures as the index numbers them, which Ramp and RateInts belong together, and what is in an `Exposure`.

The first two are computed from `product` and `keyword` alone, in the order of the serials, so an index made from the
folder alone has the same numbers.
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

    from sqlalchemy import Connection

    from .connection import Database
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

_FORGET_PAIRS = """
DELETE FROM corrected_exposure c USING exposure e, product p
WHERE c.exp_id = e.exp_id AND e.name = p.name
AND p.serial = ANY(CAST(%(changed)s AS bigint[])) AND p.kind IN ('Ramp', 'RateInts')
"""

# The n-th Ramp of a calibration goes with its n-th RateInts. A pair has the smaller serial for its number, so that it
# keeps it when the second of the two comes. Names are gathered in an array, which is looked up in an index: a join of
# tables that were filled since the last ANALYZE was planned as a loop over both, 3 s for 1000 products among 6000.
_PAIR = """
WITH living AS MATERIALIZED (
    SELECT p.serial, p.kind, p.name, p.version, p.detector, coalesce((
        SELECT md5(string_agg(k.key || '=' || coalesce(k.text, CAST(k.number AS text), ''), chr(10)
                              ORDER BY k.key, k.occurrence))
        FROM keyword k
        WHERE k.serial = p.serial AND k.hdu = 0
        AND (k.key IN ('CRDS_CTX', 'CAL_VER') OR k.key >= 'R_' AND k.key < 'R`')
    ), '') AS calibration
    FROM product p
    WHERE p.name = ANY(ARRAY(
        SELECT DISTINCT n.name FROM product n
        WHERE n.serial = ANY(CAST(%(changed)s AS bigint[])) AND n.kind IN ('Ramp', 'RateInts')
    ))
    AND p.kind IN ('Ramp', 'RateInts') AND p.removed IS NULL
), numbered AS MATERIALIZED (
    SELECT *, row_number() OVER (PARTITION BY kind, name, calibration ORDER BY version) AS nth FROM living
)
INSERT INTO corrected_exposure (corrected_exp_id, exp_id, ramp, rateints, detector)
SELECT least(r.serial, i.serial), e.exp_id, r.serial, i.serial,
    CASE WHEN r.serial IS NULL THEN i.detector ELSE r.detector END
FROM (SELECT * FROM numbered WHERE kind = 'Ramp') r
FULL JOIN (SELECT * FROM numbered WHERE kind = 'RateInts') i
    ON i.name = r.name AND i.calibration = r.calibration AND i.nth = r.nth
JOIN exposure e ON e.name = coalesce(r.name, i.name)
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


def follow(connection: Connection, schema: str, tracks: Tracks) -> None:
    """Number new exposures, and pair the products of those that changed.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction that holds the pool's lock; the products are in.
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
    script = "; ".join((f"SET LOCAL search_path TO {schema}".replace("%", "%%"), _ADD_EXPOSURES, _FORGET_PAIRS, _PAIR))
    values = {"saved": array_text(saved), "changed": array_text([*saved, *moved]), "kinds": list(kinds)}
    connection.exec_driver_sql(script, values)
