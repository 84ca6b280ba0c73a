"""Storage in memory: for tests, and the shortest example of a backend."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import IntegrityError, NotFound
from .contract import MOST_BYTES, Status, Storage, check_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["MemoryStorage"]

_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class _Object:
    data: bytes
    status: Status


class MemoryStorage(Storage):
    """Bytes by key in a dictionary of this process; several threads may use it."""

    def __init__(self) -> None:
        self._place = f"memory:{next(_numbers)}"
        self._objects: dict[str, _Object] = {}
        self._changes = itertools.count()
        self._turn = threading.Lock()

    @property
    def place(self) -> str:
        """Name of this storage; no other process finds it."""
        return self._place

    def read(self, key: str, *, limit: int = MOST_BYTES) -> bytes:
        """Give all bytes of a key."""
        data = self._object(key).data
        if len(data) > limit:
            raise IntegrityError(f"{self.name(key)} has {len(data)} bytes, more than the {limit} allowed")
        return data

    def read_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Give some ranges of the bytes of a key."""
        data = self._object(key).data
        return [data[start : start + count] for start, count in ranges]

    def status(self, key: str) -> Status:
        """Look at a key without reading it."""
        return self._object(key).status

    def keys(self, prefix: str) -> Iterator[str]:
        """List the keys below a prefix."""
        check_key(prefix)
        yield from [key for key in list(self._objects) if key.startswith(f"{prefix}/")]

    def everything(self) -> Iterator[str]:
        """List all keys."""
        yield from list(self._objects)

    def put(self, key: str, source: bytes | Path) -> bool:
        """Put bytes under a key, unless it is taken."""
        made = self._made(key, source)
        with self._turn:
            return self._objects.setdefault(key, made) is made

    def replace(self, key: str, source: bytes | Path, *, version: str | None = None) -> bool:
        """Put bytes under a key, in place of what is there."""
        made = self._made(key, source)
        with self._turn:
            there = self._objects.get(key)
            if version is not None and (there is None or there.status.version != version):
                return False
            self._objects[key] = made
        return True

    def delete(self, key: str) -> bool:
        """Remove a key."""
        check_key(key)
        return self._objects.pop(key, None) is not None

    def _object(self, key: str) -> _Object:
        try:
            return self._objects[check_key(key)]
        except KeyError:
            raise NotFound(f"{self.name(key)} is not there") from None

    def _made(self, key: str, source: bytes | Path) -> _Object:
        check_key(key)
        if isinstance(source, Path):
            data = source.read_bytes()
            source.unlink()
        else:
            data = source
        return _Object(data, Status(len(data), datetime.now(UTC), str(next(self._changes))))
