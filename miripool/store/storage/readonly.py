"""A storage as one may only read it, whatever this user may do to it otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from ...errors import ReadOnly
from .contract import MOST_BYTES, Storage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from .contract import LocalFiles, Status

__all__ = ["ReadOnlyStorage"]


class ReadOnlyStorage(Storage):
    """Reads another storage; every change is refused.

    Parameters
    ----------
    storage : Storage
        The other.
    why : str
        What the error says.
    """

    def __init__(self, storage: Storage, why: str) -> None:
        self._storage = storage
        self._why = why

    @property
    def place(self) -> str:
        """Where the other is."""
        return self._storage.place

    @property
    def files(self) -> LocalFiles | None:
        """The other's files."""
        return self._storage.files

    def name(self, key: str) -> str:
        """Name a key as the other does."""
        return self._storage.name(key)

    def read(self, key: str, *, limit: int = MOST_BYTES) -> bytes:
        """Give all bytes of a key."""
        return self._storage.read(key, limit=limit)

    def read_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Give some ranges of the bytes of a key."""
        return self._storage.read_ranges(key, ranges)

    def status(self, key: str) -> Status:
        """Look at a key."""
        return self._storage.status(key)

    def exists(self, key: str) -> bool:
        """Tell whether there are bytes under a key."""
        return self._storage.exists(key)

    def keys(self, prefix: str) -> Iterator[str]:
        """List the keys below a prefix."""
        return self._storage.keys(prefix)

    def everything(self) -> Iterator[str]:
        """List all keys."""
        return self._storage.everything()

    def put(self, key: str, source: bytes | Path) -> bool:  # noqa: ARG002
        """Refuse to write."""
        self._refuse()

    def replace(self, key: str, source: bytes | Path, *, version: str | None = None) -> bool:  # noqa: ARG002
        """Refuse to write."""
        self._refuse()

    def delete(self, key: str) -> bool:  # noqa: ARG002
        """Refuse to write."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ReadOnly(self._why)
