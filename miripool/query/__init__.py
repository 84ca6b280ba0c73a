"""Questions to a pool: `Query`, `MetaQuery`, `AttribQuery`, `FullQuery`, and how predicates are read and answered.

Bottom up: `tree` (the nodes), `values` (what they mean), `lexer`, `reader` and `grammar` (from text, whatever it is
about), `places` and `parser` (what text about products means), `pixelwhere` (what text about pixels means), `normal`
(normal form), `text` (back to text), `counting` and `evaluator` (answers on products), `division` (who answers what),
`queries`.
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
