"""Files and folders that may be a stranger's: nothing is followed, waited for or read without end."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import stat
import sys
from typing import TYPE_CHECKING

from ..errors import IntegrityError, StorageError

if TYPE_CHECKING:
    import ctypes
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["folder_below", "kind_of", "name_new", "open_plain", "read_plain", "refuse_link"]

_NO_HARD_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
"""What a file system says that has no hard links; EPERM may also mean what it says."""

_ONCE = 1 << 20
"""Bytes read at once: memory grows with what is there, not with what the file says of its size."""

_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISREG, "a file"),
)


def kind_of(mode: int) -> str:
    """Name what stands in a folder.

    Parameters
    ----------
    mode : int
        From its status.

    Returns
    -------
    str
        E.g. ``a symbolic link``.
    """
    return next((name for test, name in _KINDS if test(mode)), "something unknown")


def open_plain(path: Path, *, follow: bool = False, folder: int | None = None) -> int:
    """Open a file for reading, if it is a plain one; a pipe or a device is not waited for.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    follow : bool, keyword-only
        Its name may be a symbolic link. Those of its folders may be in any case.
    folder : int, keyword-only, optional
        Descriptor of the folder that has the file, wherever its path leads by now.

    Returns
    -------
    int
        A descriptor, to be closed by the caller.

    Raises
    ------
    IntegrityError
        If it is something else.
    OSError
        If it can't be opened.
    """
    name = path if folder is None else path.name
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    try:
        descriptor = os.open(name, flags if follow else flags | os.O_NOFOLLOW, dir_fd=folder)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.EMLINK, errno.ENXIO}:  # a link, here and on some BSDs; a socket
            raise _not_plain(path, os.lstat(name, dir_fd=folder).st_mode) from None
        raise
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise _not_plain(path, mode)
    return descriptor


def _not_plain(path: Path, mode: int) -> IntegrityError:
    return IntegrityError(
        f"{path} is {kind_of(mode)}, not a plain file, and is not read; remove it, and restore the file from a copy"
    )


def read_plain(path: Path, *, limit: int, follow: bool = False, folder: int | None = None) -> bytes:
    """Read a plain file that is not larger than its kind can be.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    limit : int, keyword-only
        Bytes that it has at most.
    follow, folder : object, keyword-only
        As for `open_plain`.

    Returns
    -------
    bytes
        All of them.

    Raises
    ------
    IntegrityError
        If it is no plain file, or is larger.
    OSError
        If it can't be read.
    """
    descriptor = open_plain(path, follow=follow, folder=folder)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        size = os.fstat(descriptor).st_size
        data = bytearray()
        while size <= limit and (part := file.read(min(_ONCE, limit + 1 - len(data)))):
            data += part
            size = max(size, len(data))
    if size > limit:
        raise IntegrityError(
            f"{path} has {size} bytes, more than the {limit} that such a file can have, and is not read; "
            "check what it is; then remove it, or restore it from a copy"
        )
    return bytes(data)


@contextlib.contextmanager
def folder_below(root: Path, parts: Sequence[str]) -> Iterator[int]:
    """Open a folder, step by step from a root; no step follows a symbolic link. The root itself may be one.

    Parameters
    ----------
    root : pathlib.Path
        Where to begin.
    parts : sequence of str
        Names of folders, each in the one before.

    Yields
    ------
    int
        A descriptor, good within the ``with``.

    Raises
    ------
    StorageError
        If a step is a symbolic link.
    OSError
        If it can't be opened, e.g. NotADirectoryError.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    descriptor = os.open(root, flags)
    try:
        for i, part in enumerate(parts):
            try:
                below = os.open(part, flags | os.O_NOFOLLOW, dir_fd=descriptor)
            except OSError as error:
                if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.EMLINK}:
                    refuse_link(root.joinpath(*parts[: i + 1]), os.lstat(part, dir_fd=descriptor).st_mode)
                raise
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def refuse_link(path: Path, mode: int) -> None:
    """Refuse a folder of a pool that is elsewhere.

    Parameters
    ----------
    path : pathlib.Path
        The folder.
    mode : int
        From its own status, not its target's.

    Raises
    ------
    StorageError
        If it is a symbolic link.
    """
    if stat.S_ISLNK(mode):
        raise StorageError(
            f"{path} is a symbolic link, but all files of a pool must be in its own folder: miripool does not follow "
            "the link. Move the files there, or make the whole pool's folder a link"
        )


def name_new(temporary: Path, target: Path, *, folder: int | None = None) -> bool:
    """Give a finished file its name, unless that is taken, in one step.

    Parameters
    ----------
    temporary, target : pathlib.Path
        In one file system. The temporary name may be left, as a second one.
    folder : int, keyword-only, optional
        Descriptor of the folder that has both, wherever its path leads by now.

    Returns
    -------
    bool
        False where the name is taken.

    Raises
    ------
    StorageError
        If the file system has no such step.
    OSError
        If it fails.
    """
    old, new = (temporary, target) if folder is None else (temporary.name, target.name)
    try:
        os.link(old, new, src_dir_fd=folder, dst_dir_fd=folder)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        return _rename_new(temporary, target, folder, error)
    return True


def _rename_new(temporary: Path, target: Path, folder: int | None, unlinked: OSError) -> bool:
    """Rename a file unless the new name is taken, where there are no hard links."""
    old, new = (temporary, target) if folder is None else (temporary.name, target.name)
    number = _renameat2(os.fsencode(old), os.fsencode(new), folder)
    if number == errno.EEXIST:
        return False
    if number in {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}:
        raise StorageError(
            f"{target} can't be written: the file system of {target.parent} has neither hard links "
            f"({unlinked.strerror}) nor a way to rename without overwriting. A pool needs one of them: put "
            "its folder on another file system, e.g. ext4, XFS, Btrfs, APFS or NFS"
        ) from unlinked
    if number:
        raise OSError(number, os.strerror(number), str(target))
    return True


def _renameat2(old: bytes, new: bytes, folder: int | None) -> int:
    """Rename with RENAME_NOREPLACE (renameat2(2)); give the number of the error, 0 for none."""
    import ctypes

    call = _system_call()
    if call is None:
        return errno.ENOSYS
    at_working_folder, no_replace = -100, 1  # AT_FDCWD and RENAME_NOREPLACE, linux/fcntl.h and linux/fs.h
    where = at_working_folder if folder is None else folder
    return ctypes.get_errno() if call(where, old, where, new, no_replace) else 0


@functools.cache
def _system_call() -> ctypes._NamedFuncPointer | None:
    import ctypes

    if sys.platform != "linux":
        return None
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # glibc has it since 2.28, musl since 1.2.6
    if call is not None:
        call.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
        call.restype = ctypes.c_int
    return call
