"""A library that is loaded when a command first touches it: most commands hold no array."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from types import ModuleType
from typing import Any

__all__ = ["defer"]

_changing = threading.Lock()


def defer(name: str) -> None:
    """Let ``import NAME`` do nothing until something of the library is used.

    `importlib.util.LazyLoader` won't do: ``import`` itself looks at ``__spec__`` of a module that is there, and so
    loads it; and in Python 3.11 two threads may load it at once.

    Parameters
    ----------
    name : str
        The library, a top-level name. Nothing happens where it is loaded already, or not installed.
    """
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    if spec is not None:
        sys.modules[name] = _Deferred(name)
        sys.modules[name].__spec__ = spec


class _Deferred(ModuleType):
    """Stands for a library. Who imports it once it is loaded gets the library itself; here are the same names."""

    def __getattr__(self, attribute: str) -> Any:
        name = self.__name__
        with _changing:
            if sys.modules.get(name) is self:
                del sys.modules[name]
        library = importlib.import_module(name)  # a second thread waits here until the first has loaded it
        self.__dict__.update(vars(library))
        return getattr(library, attribute)
