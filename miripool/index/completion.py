"""Values that complete what is being typed: a step down an index for each, however many products have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from ..query.tree import Keyword
from .keyword_indexes import LONG_TEXT
from .schema import TYPED_KEYWORDS, keyword, product, tag
from .vocabulary import steps

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["values_from"]

_DIFFERENT = 300
"""Different numbers and times that are looked at."""
_EXACT = 2.0**53


def values_from(connection: Connection, place: str | Keyword, prefix: str, limit: int) -> list[Any]:
    """List different values that a column or keyword has in any version.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        To the pool's schema.
    place : str or Keyword
        ``tags``, or what `miripool.index.compile.column_of` gives.
    prefix : str
        How the values begin, as they are written.
    limit : int
        Most values to give.

    Returns
    -------
    list
        In order: numbers, truth values, texts, times as the header has them. Empty for columns that have no index, and
        for those that are different for each version.
    """
    if isinstance(place, str) and place in TYPED_KEYWORDS:
        place = Keyword(None, TYPED_KEYWORDS[place])
    if isinstance(place, Keyword):
        found = _of_keyword(connection, place.key, prefix, limit)
    elif place in ("kind", "name", "tags"):
        column = tag.c.label if place == "tags" else product.c[place]
        found = steps(connection, column, start=prefix, limit=limit)
    elif place == "head":
        found = [False, True]
    else:
        found = []
    return [value for value in found if as_typed(value).startswith(prefix)][:limit]


def _of_keyword(connection: Connection, key: str, prefix: str, limit: int) -> list[Any]:
    k = keyword.c
    here = (k.key == key, k.first)
    short = func.octet_length(k.text) <= LONG_TEXT
    numbers = steps(connection, k.number, (*here, k.number.is_not(None)), limit=_DIFFERENT)
    flags = steps(connection, k.flag, (*here, k.number.is_(None), k.text.is_(None)))
    texts = steps(connection, k.text, (*here, k.time.is_(None), short), start=prefix, limit=limit)
    moments = select(k.text).where(*here, k.time.is_not(None), short).order_by(k.time).limit(_DIFFERENT)
    whole = [int(n) if n.is_integer() and abs(n) < _EXACT else n for n in numbers]
    return [*whole, *flags, *texts, *dict.fromkeys(connection.execute(moments).scalars())]


def as_typed(value: Any) -> str:
    """Write a value as one begins to type it.

    Parameters
    ----------
    value : object
        Number, truth value or text.

    Returns
    -------
    str
        Texts without quotes.
    """
    return value if isinstance(value, str) else repr(value)
