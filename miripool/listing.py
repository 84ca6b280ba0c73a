"""Listings: rows of versions with chosen columns, for tables on a terminal, JSON, CSV and astropy alike."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .errors import UnknownKeyword
from .index import ProductRow
from .keywords import dictionary, suggest
from .names import Urn

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .index import Catalog

__all__ = ["BASIC", "FIELDS", "TABLE_COLUMNS", "astropy_table", "list_rows"]

BASIC = ("urn", "kind", "name", "version", "tags", "created", "bytes")
"""Columns that every listing has unless others are asked for."""

TABLE_COLUMNS = (*BASIC, "start_time", "detector", "subarray", "readpatt", "exp_type", "ngroups", "nints", "crds_ctx")
"""Columns of `ProductRefs.to_table` unless others are asked for."""

FIELDS = ("urn", *(field.name for field in dataclasses.fields(ProductRow)))
"""Columns that a version has by itself: what the pool knows of it, and the keywords that are columns of the index."""

_EXACT = 2.0**53
"""Below this, a float that is a whole number is that number."""


def list_rows(
    catalog: Catalog,
    pool: str,
    rows: Sequence[ProductRow],
    columns: Sequence[str] | None = None,
    *,
    check: bool = True,
) -> list[dict[str, Any]]:
    """Give versions as dictionaries.

    Parameters
    ----------
    catalog : Catalog
        The index they are from; asked once more if a keyword is wanted that the rows don't have.
    pool : str
        Its name, for URNs.
    rows : sequence of ProductRow
        The versions.
    columns : sequence of str, optional
        Fields and keywords (any form that metadata takes); `BASIC` unless given.
    check : bool, keyword-only
        Refuse columns that nobody knows, instead of giving None.

    Returns
    -------
    list of dict
        One item for each column; None where a product lacks the keyword, aware UTC datetimes for times.

    Raises
    ------
    UnknownKeyword
        If a column is neither a field nor a keyword of any product.
    """
    chosen = [c.strip() for c in columns] if columns else list(BASIC)
    keys = {c: dictionary().resolve(c) for c in chosen if c.lower() not in FIELDS}
    if check:
        _refuse_unknown(catalog, keys)
    values = catalog.keyword_values([r.serial for r in rows], list(keys.values())) if keys and rows else {}
    result = []
    for row in rows:
        known = values.get(row.serial, {})
        found = {c: known.get(keys[c]) if c in keys else _field(pool, row, c.lower()) for c in chosen}
        result.append({c: _plain(value) for c, value in found.items()})
    return result


def _field(pool: str, row: ProductRow, name: str) -> Any:
    return str(Urn(pool, row.kind, row.serial)) if name == "urn" else getattr(row, name)


def _plain(value: Any) -> Any:
    """Whole numbers are integers again, which the index keeps as floats; tags are a list."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    return list(value) if isinstance(value, tuple) else value


def _refuse_unknown(catalog: Catalog, keys: dict[str, Any]) -> None:
    for column, resolved in keys.items():
        if not dictionary().knows(column) and not catalog.has_keyword(resolved.key, resolved.hdu):
            near = suggest(column, [*FIELDS, *catalog.keywords()])
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise UnknownKeyword(f"no column and no keyword {column!r} in this pool{hint}")


def astropy_table(rows: Iterable[dict[str, Any]], columns: Sequence[str]) -> Any:
    """Make an astropy table of such dictionaries.

    Parameters
    ----------
    rows : iterable of dict
        From `list_rows`.
    columns : sequence of str
        Their keys, in order.

    Returns
    -------
    astropy.table.Table
        Masked where a value is None; times as ISO text in UTC, tags joined by commas.
    """
    from astropy.table import MaskedColumn, Table

    listed = list(rows)
    table = Table()
    for column in columns:
        values = [_cell(row[column]) for row in listed]
        mask = [v is None for v in values]
        known = [v for v in values if v is not None]
        filler: Any = known[0] if known else ""
        if len({type(v) for v in known}) > 1 and not all(isinstance(v, (int, float)) for v in known):
            values, filler = [None if v is None else str(v) for v in values], ""
        filled = [filler if v is None else v for v in values]
        table[column] = MaskedColumn(filled, mask=mask) if any(mask) else filled
    return table


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, list):
        return ", ".join(value)
    return value
