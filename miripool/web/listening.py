"""Where a server listens: a port of this machine, or a socket file that only some may open."""

from __future__ import annotations

import contextlib
import grp
import os
import socket
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AlreadyExists, FileMissing, InvalidInput
from ..system.lockfile import hold_lock_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

__all__ = ["listen_on_file", "listen_on_port"]

_ADDRESS = "127.0.0.1"
_BACKLOG = 128
_MOST_PATH = 107 if sys.platform == "linux" else 103
"""Bytes of a socket's path: ``sun_path`` of sockaddr_un, without its end."""
_PATIENCE = 10
"""Seconds to wait for another server that starts or ends at the same socket."""


@contextlib.contextmanager
def listen_on_port(port: int) -> Iterator[socket.socket]:
    """Listen on a port of 127.0.0.1.

    Parameters
    ----------
    port : int
        0 for any that is free.

    Yields
    ------
    socket.socket
        Closed afterwards.

    Raises
    ------
    AlreadyExists
        If the port is used.
    InvalidInput
        If there is no such port, or it is not for users.
    """
    if not 0 <= port <= 65535:
        raise InvalidInput(f"there is no port {port}; choose one from 1024 to 65535, or 0 for any that is free")
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_ADDRESS, port))
        except PermissionError as error:
            raise InvalidInput(f"port {port} is not for users; choose one from 1024 on") from error
        except OSError as error:
            raise AlreadyExists(f"port {port} of this machine is used already; choose another with --port") from error
        listener.listen(_BACKLOG)
        yield listener


@contextlib.contextmanager
def listen_on_file(path: Path, group: str | None = None) -> Iterator[socket.socket]:
    """Listen on a socket file, which this user alone may open, or a group too.

    A file that a killed server has left is replaced.

    Parameters
    ----------
    path : pathlib.Path
        The file; removed afterwards.
    group : str, optional
        Name of the group.

    Yields
    ------
    socket.socket
        Closed afterwards.

    Raises
    ------
    AlreadyExists
        If a server listens there, or something is there that is no socket.
    FileMissing
        If the folder is missing.
    InvalidInput
        If there can be no such socket: its path is too long, the folder can't be written, there is no such group.
    """
    number = None if group is None else _group_number(group)
    path = Path(os.path.abspath(path))  # noqa: PTH100 - symbolic links stay
    length = len(os.fsencode(path))
    if length > _MOST_PATH:
        raise InvalidInput(f"{path} is too long for a socket: {length} bytes, where {_MOST_PATH} fit; choose another")
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as listener:
        made = _make(listener, path, number)
        try:
            yield listener
        finally:
            with contextlib.suppress(OSError), _alone_at(path):  # somebody may have removed the folder
                if _identity(path) == made:
                    path.unlink()


def _group_number(group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise InvalidInput(f"there is no group {group!r} on this machine; see the groups with: getent group") from None


def _alone_at(path: Path) -> AbstractContextManager[None]:
    """Keep other servers off that start or end here: each looks at what is there, and then replaces or removes it."""
    return hold_lock_file(path.with_name(f".{path.name}.lock"), seconds=_PATIENCE)


def _make(listener: socket.socket, path: Path, group: int | None) -> tuple[int, int]:
    folder = path.parent
    try:
        with _alone_at(path):
            _remove_stale(path)
            return _bind(listener, path, group)
    except FileNotFoundError:
        if folder.is_dir():  # of a file system that makes its files itself, e.g. /proc
            raise InvalidInput(f"no socket can be made in {folder}; choose another folder") from None
        raise FileMissing(f"there is no folder {folder} for the socket; make it, or choose another") from None
    except TimeoutError as error:
        raise AlreadyExists(f"another server starts at {path} and does not get ready; try again") from error
    except OSError as error:
        raise InvalidInput(f"no socket can be made in {folder}: {error.strerror}; choose another folder") from error


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


def _remove_stale(path: Path) -> None:
    """Remove the socket of a server that has ended without removing it, and nothing else."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise AlreadyExists(f"{path} is there already and is no socket; choose another path, or remove it")
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as knocking:
        knocking.settimeout(_PATIENCE)
        try:
            knocking.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except PermissionError as error:
            raise AlreadyExists(f"{path} is the socket of another user; choose another path") from error
        except BlockingIOError:  # a server with many connections that wait
            pass
    raise AlreadyExists(f"{path} is used already: a server listens there; choose another path, or end that server")


def _bind(listener: socket.socket, path: Path, group: int | None) -> tuple[int, int]:
    """Make the file with its rights from the start; nobody is let in before it has its group and `listen` is called."""
    mask = os.umask(0o177 if group is None else 0o117)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    made = _identity(path)
    if group is not None:
        try:
            os.chown(path, -1, group, follow_symlinks=False)
        except PermissionError:
            path.unlink()
            message = f"you are not in the group {grp.getgrgid(group).gr_name}, so the socket can't be given to it"
            raise InvalidInput(f"{message}; choose another with --group") from None
    listener.listen(_BACKLOG)
    return made
