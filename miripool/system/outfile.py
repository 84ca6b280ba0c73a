"""Files for the user: they appear under their names when they are complete and on disk, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ..errors import AlreadyExists, DiskFull, FileMissing, InvalidInput, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["writing_file"]


@contextlib.contextmanager
def writing_file(path: Path, *, overwrite: bool = False) -> Iterator[IO[bytes]]:
    """Write a file.

    Parameters
    ----------
    path : Path
        Its name.
    overwrite : bool, keyword-only
        Replace a file of that name.

    Yields
    ------
    file
        To be written; it gets its name at the end, and is gone if an error is raised before.

    Raises
    ------
    AlreadyExists
        If there is a file of that name.
    InvalidInput
        If it is a folder.
    FileMissing, StorageError, DiskFull
        If the folder is not there or can't be written.
    """
    if path.is_dir():
        raise InvalidInput(f"{path} is a folder; name a file")
    if not overwrite and path.exists():
        raise AlreadyExists(
            f"{path}: there is a file of that name; choose another, or overwrite it (overwrite=True, --overwrite)"
        )
    if not path.parent.is_dir():
        raise FileMissing(f"{path.parent}: no such folder; make it first")
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _publish(part, path, overwrite=overwrite)
    except OSError as error:
        kind = DiskFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageError
        raise kind(f"{path}: can't be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def _publish(part: Path, path: Path, *, overwrite: bool) -> None:
    if overwrite:
        part.replace(path)
    else:
        try:
            os.link(part, path)  # unlike a rename it never replaces a file that came in the meantime
        except FileExistsError:
            raise AlreadyExists(f"{path}: a file of that name has just appeared; choose another") from None
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            part.rename(path)  # a file system without hard links
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
