"""Listings: rows of versions with chosen columns, for tables on a terminal, JSON, CSV and astropy alike."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..errors import UnknownKeyword
from ..index import ProductRow
from ..model.canonical import json_value
from ..model.cards import COMMENTARY, parse_header
from ..model.keywords import dictionary, split_unit, suggest
from ..model.names import Urn
from ..model.times import time_column
from ..system.words import comma_separated

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ..index import Catalog
    from ..model.cards import Card
    from ..model.metadata import MetaData

__all__ = ["BASIC", "FIELDS", "TABLE_COLUMNS", "astropy_table", "column_names", "keyword_rows", "list_rows", "votable"]

BASIC = ("urn", "kind", "name", "version", "tags", "created", "bytes")
"""Columns that every listing has unless others are asked for."""

TABLE_COLUMNS = (*BASIC, "start_time", "detector", "subarray", "readpatt", "exp_type", "ngroups", "nints", "crds_ctx")
"""Columns of `ProductRefs.to_table` unless others are asked for."""

FIELDS = ("urn", *ProductRow._fields)
"""Columns of every version: what the pool knows about it, and the keywords that are columns of the index."""

_TIMES = frozenset({"created", "start_time", "removed", "purged"})

_EXACT = 2.0**53
"""Below this, a float that is a whole number is that number."""


def list_rows(
    catalog: Catalog,
    pool: str,
    rows: Sequence[ProductRow],
    columns: str | Sequence[str] | None = None,
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
    columns : str or sequence of str, optional
        Fields and keywords (any form that metadata takes), one by one or as one text with commas between them;
        `BASIC` unless given.
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
    chosen = column_names(columns) or list(BASIC)
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


def column_names(columns: str | Sequence[str] | None) -> list[str]:
    """Give columns as a list.

    Parameters
    ----------
    columns : str or sequence of str, optional
        ``"urn,NGROUPS"`` or ``["urn", "NGROUPS"]``.

    Returns
    -------
    list of str
        Each without blanks around it; empty if none is named.
    """
    if isinstance(columns, str):
        return comma_separated(columns)
    return [column.strip() for column in columns or () if column.strip()]


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
            raise UnknownKeyword(f"there is no column or keyword {column!r} in this pool{hint}")


def keyword_rows(meta: MetaData) -> Iterator[dict[str, Any]]:
    """Give all cards of a product with their exact values.

    Parameters
    ----------
    meta : MetaData
        The product's.

    Yields
    ------
    dict
        ``keyword``, ``hdu``, ``value`` as the header has it (numbers as numbers, dates as text), ``unit``,
        ``description``, and ``time``, aware UTC, where the value is one. In file order.
    """
    cards: list[dict[str, list[Card]]] = []
    for _, header in meta.all_headers:
        cards.append({})
        for card in parse_header(header):
            cards[-1].setdefault(card.keyword, []).append(card)
    for row in meta.rows():
        found = cards[row.hdu].get(row.key, ()) if row.key not in COMMENTARY else ()
        value = found[row.occurrence].value if row.occurrence < len(found) else row.text
        unit, comment = split_unit(found[row.occurrence].comment) if row.occurrence < len(found) else (None, "")
        told = dictionary().describe(row.key, row.hdu_name)
        yield {
            "keyword": row.key,
            "hdu": row.hdu_name,
            "value": json_value(value),
            "unit": told.unit or unit,
            "description": told.title or comment or None,
            "time": row.time,
        }


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
        Masked where a value is None; times as `astropy.time.Time` in UTC, tags joined by commas.
    """
    from astropy.table import MaskedColumn, Table

    listed = list(rows)
    table = Table()
    for column in columns:
        if _is_time(column, [row[column] for row in listed]):
            table[column] = time_column([row[column] for row in listed])
            continue
        values = [_cell(row[column]) for row in listed]
        mask = [v is None for v in values]
        known = [v for v in values if v is not None]
        filler: Any = known[0] if known else ""
        if len({type(v) for v in known}) > 1 and not all(isinstance(v, (int, float)) for v in known):
            values, filler = [None if v is None else str(v) for v in values], ""
        filled = [filler if v is None else v for v in values]
        table[column] = MaskedColumn(filled, mask=mask) if any(mask) else filled
    return table


def votable(rows: Iterable[dict[str, Any]], columns: Sequence[str]) -> bytes:
    """Write such dictionaries as a VOTable, which TOPCAT and Aladin read.

    Parameters
    ----------
    rows, columns : object
        As for `astropy_table`.

    Returns
    -------
    bytes
        XML, UTF-8; times as ISO text in UTC.
    """
    from .votable import votable_pieces

    return b"".join(votable_pieces(astropy_table(rows, columns)))


def _is_time(column: str, values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not None]
    return all(isinstance(value, datetime) for value in known) if known else column.lower() in _TIMES


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, list):
        return ", ".join(value)
    return value
