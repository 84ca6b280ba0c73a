"""Virtual files that stay in memory between the ranges that their readers ask for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .virtualfile import VirtualFile

__all__ = ["KeptFiles"]

_KEPT = 8
"""Files that are kept; each holds up to 128 MB of decoded tiles."""


class KeptFiles:
    """The virtual files that were read last. Several threads may use it."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, ...], VirtualFile] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: tuple[str, ...], make: Callable[[], VirtualFile]) -> VirtualFile:
        """Give a file, made if it was not kept.

        Parameters
        ----------
        key : tuple of str
            Names its content.
        make : callable
            Makes it.

        Returns
        -------
        VirtualFile
            The file.
        """
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return made
