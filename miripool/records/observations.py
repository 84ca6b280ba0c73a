"""Records of observations: exposures with their levels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..model.kinds import pixel_kinds
from ..model.names import Urn
from ..pool.core import core_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..index import ProductRow
    from ..session.pool import Pool

__all__ = ["observation_records"]


def observation_records(pool: Pool, exposures: Sequence[ProductRow], columns: Sequence[str]) -> list[dict[str, Any]]:
    """Give exposures with the versions of raw, ramp, rateints and rate that belong to them.

    Parameters
    ----------
    pool : Pool
        The pool.
    exposures : sequence of ProductRow
        Versions of contexts of the kind `Exposure`.
    columns : sequence of str
        Fields and keywords. What an exposure does not have is taken from its levels, the raw first.

    Returns
    -------
    list of dict
        The columns, and ``levels``: a list of ``level``, ``urn``, ``version`` and ``tags``, in the order of processing.
        A level is the version that the exposure refers to, else the newest product of the same name. The tags of the
        exposure are its own and those of its levels.
    """
    core = core_of(pool)
    rows = core.listing([row.serial for row in exposures], list(columns))
    levels = _levels(pool, exposures)
    below = sorted({part.serial for parts in levels for part in parts})
    values = dict(zip(below, core.listing(below, list(columns)), strict=True))
    for row, parts in zip(rows, levels, strict=True):
        for column in columns:
            if row[column] is None:
                found = (values[part.serial][column] for part in parts)
                row[column] = next((value for value in found if value is not None), None)
        if "tags" in row:
            row["tags"] = sorted({*row["tags"], *(tag for part in parts for tag in part.tags)})
        row["levels"] = [
            {
                "level": part.kind.lower(),
                "urn": str(Urn(pool.name, part.kind, part.serial)),
                "version": part.version,
                "tags": list(part.tags),
            }
            for part in parts
        ]
    return rows


def _levels(pool: Pool, exposures: Sequence[ProductRow]) -> list[list[ProductRow]]:
    catalog = core_of(pool).catalog
    links = catalog.links_of([row.serial for row in exposures])
    known = {row.serial: row for row in catalog.rows(sorted({s for one in links.values() for s in one.values()}))}
    heads = {(row.name, row.kind): row for row in catalog.living([exposure.name for exposure in exposures]) if row.head}
    found = []
    for exposure in exposures:
        linked = {known[serial].kind: known[serial] for serial in links[exposure.serial].values() if serial in known}
        parts = (linked.get(kind) or heads.get((exposure.name, kind)) for kind in pixel_kinds())
        found.append([part for part in parts if part is not None])
    return found
