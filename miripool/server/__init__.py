"""The embedded PostgreSQL server: a process of its own for each home, found, started, asked and stopped."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .embedded import EmbeddedServer

__all__ = ["EmbeddedServer"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module(".embedded", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
