"""Files for the user: they appear under their names when they are complete and on disk, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ..errors import AlreadyExists, DiskFull, FileMissing, InvalidInput, StorageError
from .files import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["is_folder", "writing_file"]


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
        If it is a folder, a pipe or a device: it would no longer be one.
    FileMissing, StorageError, DiskFull
        If the folder is not there or can't be written.
    """
    _refuse_other_than_files(path)
    if not overwrite and os.path.lexists(path):
        raise AlreadyExists(
            f"{path}: a file of that name exists; choose another name, or overwrite it (--overwrite, overwrite=True)"
        )
    if not is_folder(path.parent):
        raise FileMissing(f"{path.parent}: no such folder; make it first")
    part = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
    try:
        with part.open("xb") as file, _gone_afterwards(part):
            yield file
            file.flush()
            os.fsync(file.fileno())
            _publish(part, path, overwrite=overwrite)
    except OSError as error:
        kind = DiskFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageError
        raise kind(f"{path}: can't be written: {error.strerror or error}") from error


@contextlib.contextmanager
def _gone_afterwards(part: Path) -> Iterator[None]:
    try:
        yield
    finally:
        part.unlink(missing_ok=True)


def is_folder(path: Path) -> bool:
    """Tell whether a path is a folder; unlike `Path.is_dir` it does so for names that can be none.

    Parameters
    ----------
    path : pathlib.Path
        What a user names.

    Returns
    -------
    bool
        False also if it can't be looked at: a writer then gets the reason.
    """
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError:
        return False


def _refuse_other_than_files(path: Path) -> None:
    """Refuse what a file would replace for good."""
    try:
        mode = path.stat().st_mode
    except OSError:  # nothing is there, or a link to nothing; what else is wrong, writing tells
        return
    if not stat.S_ISREG(mode):
        raise InvalidInput(f"{path} is {kind_of(mode)}; name a file")


def _publish(part: Path, path: Path, *, overwrite: bool) -> None:
    if overwrite:
        part.replace(path)
    else:
        try:
            os.link(part, path)  # unlike a rename it never replaces a file that came in the meantime
        except FileExistsError:
            raise AlreadyExists(f"{path}: a file of that name has just appeared; choose another name") from None
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            part.rename(path)  # a file system without hard links
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
