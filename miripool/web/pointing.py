"""What other programs point at: rows of tables that were sent to them, as versions and pixels of a pool."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput, NotFound
from ..model.names import Urn
from ..pool.core import core_of
from ..pool.sentfiles import find_rows
from ..records.versions import version_in_short
from .pools import versions_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..pool.sentfiles import SentRow
    from ..session.pools import Pools

__all__ = ["receiving"]

_MOST = 100_000
"""Rows that are selected at once: as many as a table from the page has at most."""


def receiving(pools: Pools) -> dict[str, Callable[[str, dict[str, Any]], dict[str, Any] | None]]:
    """Give what makes events of messages.

    Parameters
    ----------
    pools : Pools
        From which tables were sent.

    Returns
    -------
    dict of str to callable
        By type of message. Each takes the program's name and the message's parameters, and gives an event: ``client``,
        ``what`` (``highlight``, ``pixel`` or ``select``), ``pool``; for one row ``version`` and its ``detector``, and
        of a list of pixels ``x`` and ``y`` in the FULL array, from 1; for several rows ``serials``. It gives None for
        tables that are not from here.
    """
    return {
        "table.highlight.row": functools.partial(_highlight, pools),
        "table.select.rowList": functools.partial(_select, pools),
    }


def _highlight(pools: Pools, client: str, parameters: dict[str, Any]) -> dict[str, Any] | None:
    found = _rows(pools, parameters, [parameters.get("row")])
    return _event_of_one(pools, client, found[0]) if found else None


def _select(pools: Pools, client: str, parameters: dict[str, Any]) -> dict[str, Any] | None:
    numbers = parameters.get("row-list")
    found = _rows(pools, parameters, numbers if isinstance(numbers, list) else [numbers])
    urns = [Urn.parse(urn) for urn in dict.fromkeys(row.urn for row in found)]
    if not urns or urns[0].pool not in pools.names():
        return None
    pool = urns[0].pool
    serials = list(dict.fromkeys(urn.serial for urn in urns if urn.pool == pool))
    return {"client": client, "what": "select", "pool": pool, "serials": serials}


def _event_of_one(pools: Pools, client: str, row: SentRow) -> dict[str, Any] | None:
    try:
        pool = pools.pool(row.pool)
        (ref,) = versions_of(pool, [row.serial])
    except NotFound:  # the pool or the version is gone since the table was sent
        return None
    (known,) = core_of(pool).catalog.rows([ref.serial])
    event = {
        "client": client,
        "pool": pool.name,
        "version": version_in_short(pool.name, known),
        "detector": known.detector,
    }
    if row.x is None or row.y is None:
        return {**event, "what": "highlight"}
    return {**event, "what": "pixel", "x": row.x, "y": row.y}


def _rows(pools: Pools, parameters: dict[str, Any], numbers: list[Any]) -> list[SentRow]:
    """Find what rows stand for; those of tables that are not from here are left out."""
    try:
        wanted = list(dict.fromkeys(int(number) for number in numbers))
    except (TypeError, ValueError, OverflowError):
        raise InvalidInput("a message about rows needs their numbers, from 0") from None
    if len(wanted) > _MOST:
        raise InvalidInput(f"{len(wanted):,} rows are too many for a page; select {_MOST:,} at most")
    tables = [str(parameters[key]) for key in ("table-id", "url") if parameters.get(key)]
    found = (find_rows(pools.home.path, table, wanted) for table in tables)
    return next(filter(None, found), [])
