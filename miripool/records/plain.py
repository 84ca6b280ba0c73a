"""Plain values: what a listing holds, whatever its values were, and how JSON writes them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ..model.canonical import json_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["UNSEEN", "as_json", "as_word", "csv_text", "iso", "plain", "table_records"]

_DIRECTIONS = "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
UNSEEN = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_DIRECTIONS}]")
"""What a terminal obeys instead of showing it: control characters (C0 but tab and line feed, DEL, C1), line separators,
and the marks that turn the direction of writing (Unicode standard annex 9)."""


def plain(value: Any) -> Any:
    """Give a value as what a listing holds: the one place that tells missing from NaN.

    Parameters
    ----------
    value : object
        A scalar of Python, NumPy, astropy or PostgreSQL; lists, arrays and dictionaries of such.

    Returns
    -------
    object
        None for what is missing (None, masked); NaN and infinities as floats; aware datetimes, texts, integers, floats,
        truth values, lists and dictionaries; anything else as text.
    """
    if value is None or isinstance(value, (str, bool, int, float, datetime)):
        return value
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Decimal):
        return int(value) if value.is_finite() and value == value.to_integral_value() else float(value)
    if isinstance(value, (memoryview, bytes)):
        return bytes(value).hex()
    return _plain_of_numpy(value)


def _plain_of_numpy(value: Any) -> Any:
    import numpy as np

    if value is np.ma.masked:
        return None
    if hasattr(value, "jd1"):  # a time of astropy
        return None if np.any(value.mask) else getattr(value.utc, "unmasked", value.utc).to_datetime(timezone=UTC)
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value] if value.ndim else plain(value.reshape(1)[0])
    if isinstance(value, np.float32):
        return float(str(value))  # the digits that it has, and no others
    return plain(value.item()) if isinstance(value, np.generic) else str(value)


def _to_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _to_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_to_json(item) for item in value]
    if isinstance(value, datetime):
        return iso(value)
    return json_value(value)


def iso(value: datetime) -> str:
    """Write a time.

    Parameters
    ----------
    value : datetime
        Aware.

    Returns
    -------
    str
        ISO 8601, UTC, ending with ``Z``.
    """
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def as_json(content: Any, *, indent: int | None = 2) -> str:
    """Write JSON: times as ISO text in UTC, ``"NaN"``, ``"inf"`` and ``"-inf"`` as text, null for what is missing.

    Parameters
    ----------
    content : object
        Dictionaries and lists.
    indent : int or None, keyword-only
        Blanks before each level; None writes one line.

    Returns
    -------
    str
        The text.
    """
    text = json.dumps(_to_json(plain(content)), indent=indent, ensure_ascii=False, allow_nan=False)
    return UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)  # within texts only: the same JSON


def as_word(value: Any) -> str:
    """Write a scalar: nothing for what is missing, NaN for what is no number.

    Parameters
    ----------
    value : object
        From `plain`; lists in brackets.

    Returns
    -------
    str
        The text.
    """
    if isinstance(value, list):
        return f"[{', '.join(map(as_word, value))}]"
    return "" if value is None else str(json_value(value))


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, heads: bool = True) -> str:
    """Write a list as CSV.

    Parameters
    ----------
    rows : iterable of mapping
        Of values from `plain`.
    columns : sequence of str
        The keys, in order.
    heads : bool, keyword-only
        Whether they are the first line.

    Returns
    -------
    str
        Without a line feed at the end. Times are ISO text in UTC; items of a list have semicolons between them.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    if heads:
        writer.writerow(columns)
    for row in rows:
        writer.writerow(_csv_cell(row[c]) for c in columns)
    return buffer.getvalue().rstrip("\n")


def _csv_cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, Mapping):
        return json.dumps(json_value(value), ensure_ascii=False)
    return "; ".join(map(as_word, value)) if isinstance(value, list) else json_value(value)


def table_records(table: Any, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Give the rows of a table.

    Parameters
    ----------
    table : astropy.table.Table
        The table.
    columns : sequence of str, optional
        Names of columns; all unless given.

    Returns
    -------
    list of dict
        The values as they are; `plain` makes them such that a listing can hold them.
    """
    names = table.colnames if columns is None else columns
    return [{name: row[name] for name in names} for row in table]
