"""Where a pool's bytes are: one module for each kind of place, and one table of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .local import LocalStorage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .contract import Storage

__all__ = ["storage_at"]

_BACKENDS: Mapping[str, Callable[[str], Storage]] = {}
"""By the beginning of a place, e.g. ``s3://``: makes the storage there. What no entry has is a folder."""


def storage_at(place: str) -> Storage:
    """Give the storage at a place.

    Parameters
    ----------
    place : str
        From `Storage.place`: a path, or an address.

    Returns
    -------
    Storage
        Nothing is opened yet.
    """
    for beginning, make in _BACKENDS.items():
        if place.startswith(beginning):
            return make(place)
    return LocalStorage(Path(place))
