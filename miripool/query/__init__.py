"""Questions to a pool: `Query`, `MetaQuery`, `AttribQuery`, `FullQuery`, and how predicates are read and answered.

Bottom up: `tree` (the nodes), `values` (what they mean), `lexer`, `places` and `parser` (from text), `normal` (normal
form), `text` (back to text), `evaluator` (answers on products), `division` (who answers what), `pixelwhere` (conditions
on pixels), `queries`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .queries import AttribQuery, FullQuery, MetaQuery, PixelQuery, Query, as_query

__all__ = ["AttribQuery", "FullQuery", "MetaQuery", "PixelQuery", "Query", "as_query"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module(".queries", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
