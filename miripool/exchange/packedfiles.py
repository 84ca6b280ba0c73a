"""Packed files: a pack as a storage that can only be read, where its members lie in the tar file."""

from __future__ import annotations

import io
import os
import re
import stat
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn

from ..errors import FileMissing, FormatError, IntegrityError, NotFound, ReadOnly
from ..store.storage.contract import MOST_BYTES, Status, Storage, check_key
from ..system.oserrors import storage_error

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Iterator, Sequence

__all__ = ["LIST", "PackedFiles"]

LIST = "miripool-pack.json"
"""The member that lists the versions."""

_MEMBER = re.compile(r"manifests/([0-9a-f]{2})/\1[0-9a-f]{30}\.json|blobs/([0-9a-f]{2})/\2[0-9a-f]{30}\.h5")

_NO_TAR = (tarfile.TarError, ValueError, OverflowError, IndexError, RecursionError, OSError)
"""What tarfile raises over headers that somebody has made up."""

_MOST_AT_ONCE = 1 << 24
"""Bytes that are read at once for headers: none is longer."""


class PackedFiles(Storage):
    """The members of a pack by their names.

    Parameters
    ----------
    path : pathlib.Path
        The tar file.
    stack : contextlib.ExitStack
        Closes the file.

    Raises
    ------
    FileMissing
        If there is no such file.
    FormatError
        If it is no tar file, or holds what no pack holds.
    """

    def __init__(self, path: Path, stack: contextlib.ExitStack) -> None:
        self._path = path
        self._file = _open(path, stack)
        self._members = _members(path, self._file)
        self._changed = datetime.fromtimestamp(os.fstat(self._file.fileno()).st_mtime, UTC)

    @property
    def place(self) -> str:
        """Path of the tar file."""
        return str(self._path)

    def read(self, key: str, *, limit: int = MOST_BYTES) -> bytes:
        """Give all bytes of a member."""
        size = self.status(key).size
        if size > limit:
            raise IntegrityError(f"{self.name(key)} has {size} bytes, more than the limit of {limit}")
        data = self.read_ranges(key, [(0, size)])[0]
        if len(data) < size:
            raise IntegrityError(f"{self.name(key)} is incomplete")
        return data

    def read_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Give some ranges of the bytes of a member."""
        begin, size = self._member(key)
        file = self._file.fileno()
        try:
            return [os.pread(file, max(0, min(count, size - start)), begin + start) for start, count in ranges]
        except OSError as error:
            raise storage_error(error, self._path) from error

    def status(self, key: str) -> Status:
        """Look at a member."""
        return Status(self._member(key)[1], self._changed, "")

    def keys(self, prefix: str) -> Iterator[str]:
        """List the members below a prefix."""
        yield from (key for key in self._members if key.startswith(f"{check_key(prefix)}/"))

    def everything(self) -> Iterator[str]:
        """List all members."""
        yield from self._members

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
        raise ReadOnly(f"{self._path} is a packed file and can't be changed")

    def _member(self, key: str) -> tuple[int, int]:
        try:
            return self._members[check_key(key)]
        except KeyError:
            raise NotFound(f"{self.name(key)} is not there") from None


class _Bounded(io.RawIOBase):
    """A file of which nobody can read more at once than `_MOST_AT_ONCE`: no header is longer."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= _MOST_AT_ONCE:
            raise tarfile.ReadError(f"{size} bytes at once")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _open(path: Path, stack: contextlib.ExitStack) -> IO[bytes]:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise FormatError(f"{path} is not a regular file")
        return stack.enter_context(path.open("rb"))
    except FileNotFoundError:
        raise FileMissing(f"there is no file {path}") from None
    except OSError as error:
        raise storage_error(error, path) from error


def _members(path: Path, file: IO[bytes]) -> dict[str, tuple[int, int]]:
    """Give offset and size of each member; anything but plain files with names of ours is refused."""
    found: dict[str, tuple[int, int]] = {}
    try:
        with tarfile.open(fileobj=_Bounded(file), mode="r:") as tar:
            for info in tar:
                plain = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and getattr(info, "sparse", None) is None
                if not plain or not (info.name == LIST or _MEMBER.fullmatch(info.name)) or info.name in found:
                    raise FormatError(f"{path} is not a file written by miripool pack: it holds {info.name[:100]!r}")
                found[info.name] = info.offset_data, info.size
    except _NO_TAR as error:
        raise FormatError(f"{path} is not a file written by miripool pack, or is incomplete ({error})") from error
    return found
