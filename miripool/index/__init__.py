"""The index: PostgreSQL, asked in SQL here and nowhere else. The folder is the truth; all of this can be rebuilt.

Names are loaded when they are used: the server's supervisor needs neither SQLAlchemy nor a driver.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .advice import Advice, advise
    from .catalog import Catalog
    from .compile import order_by
    from .connection import describe_url, schema_name
    from .interrupt import Interrupt, check_interrupt
    from .migrate import find_owner
    from .moments import Moment
    from .neighbours import find_neighbours
    from .psql import psql_call
    from .reader import READER, Answer, ask, grant_reader
    from .rebuild import identify
    from .rows import Known, Position, ProductRow, TagEvent, TagSummary
    from .size import schema_bytes
    from .vocabulary import datasets, nearest_values

__all__ = [
    "READER",
    "Advice",
    "Answer",
    "Catalog",
    "Interrupt",
    "Known",
    "Moment",
    "Position",
    "ProductRow",
    "TagEvent",
    "TagSummary",
    "advise",
    "ask",
    "check_interrupt",
    "datasets",
    "describe_url",
    "find_neighbours",
    "find_owner",
    "grant_reader",
    "identify",
    "nearest_values",
    "order_by",
    "psql_call",
    "schema_bytes",
    "schema_name",
]

_WHERE = {
    "READER": "reader",
    "Answer": "reader",
    "Catalog": "catalog",
    "Advice": "advice",
    "Interrupt": "interrupt",
    "Moment": "moments",
    "Known": "rows",
    "Position": "rows",
    "ProductRow": "rows",
    "TagEvent": "rows",
    "TagSummary": "rows",
    "advise": "advice",
    "ask": "reader",
    "check_interrupt": "interrupt",
    "datasets": "vocabulary",
    "describe_url": "connection",
    "find_neighbours": "neighbours",
    "find_owner": "migrate",
    "grant_reader": "reader",
    "identify": "rebuild",
    "nearest_values": "vocabulary",
    "order_by": "compile",
    "psql_call": "psql",
    "schema_bytes": "size",
    "schema_name": "connection",
}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(f".{_WHERE[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
