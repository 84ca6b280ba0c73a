"""Memory that a thread uses again and again."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Room"]

_KEPT_BYTES = 1 << 23
"""Bytes that a thread keeps under a name, at most, for as long as it lives."""


class Room(threading.local):
    """Memory of a thread that is used again: fresh pages cost as much as coding or decoding.

    Parameters
    ----------
    most : int
        Bytes that a thread keeps under a name, at most; all of them go with the room.
    """

    def __init__(self, most: int = _KEPT_BYTES) -> None:
        self._most = most
        self._kept: dict[str, NDArray[np.uint8]] = {}

    def take(self, what: str, size: int) -> NDArray[np.uint8]:
        """Give so many bytes; those given before under this name, to this thread, are given again.

        Parameters
        ----------
        what : str
            Name of the memory.
        size : int
            In bytes.

        Returns
        -------
        ndarray of uint8, shape (size,)
            With whatever was in it.
        """
        kept = self._kept.get(what)
        if kept is None or kept.size < size:
            kept = np.empty(size, np.uint8)
            if size <= self._most:
                self._kept[what] = kept
        return kept[:size]
