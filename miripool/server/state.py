"""What the supervisor of the embedded server says about itself, and the locks that say who is alive.

Files in `<home>/postgres`:

======================  ==============================================================================
`state.json`            written by the supervisor, replaced as a whole; gone after a clean end
`start.lock`            held by a client while it starts a supervisor
`supervisor.lock`       held by the supervisor for its life
`used`                  touched by each client; an idle server is not shut down under a client's hands
======================  ==============================================================================

A fourth lock, `cluster.lock` beside the data folder, is handed down to the postmaster and all its children. So it is
free exactly when the last process of the cluster is gone, whatever became of pids, parents and containers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .. import errors
from ..errors import Conflict, DiskFull, MiripoolError, ReadOnly, ServerUnavailable, StorageError
from .postmaster import ProcessMark

__all__ = [
    "HostIdentity",
    "Phase",
    "ServerState",
    "is_locked",
    "read_state",
    "refuse_other_host",
    "remove_state",
    "translate_os_error",
    "try_lock",
    "unlock",
    "write_state",
]

Phase = Literal["starting", "waiting", "initializing", "recovering", "ready", "stopping", "failed"]


@dataclass(frozen=True, slots=True)
class HostIdentity:
    """The machine, and the time between two of its boots."""

    name: str
    boot: str
    machine: str

    @classmethod
    def here(cls) -> HostIdentity:
        """Tell the identity of this host."""
        return cls(socket.gethostname(), _read_boot_id(), _read_line("/etc/machine-id"))

    def knows(self, other: HostIdentity) -> Literal["here", "gone", "elsewhere"]:
        """Judge where a server that wrote `other` runs: under this kernel, before its last boot, or on another host.

        Containers of one machine have one boot id, and the locks of a file hold across them. An equal host name proves
        that the machine was booted since only if the machine ids do not contradict it: many are called `localhost`.
        """
        if self.boot == other.boot and (self.boot or self.name == other.name):
            return "here"
        if self.name == other.name and (self.machine == other.machine or not (self.machine and other.machine)):
            return "gone"
        return "elsewhere"


@dataclass(frozen=True, slots=True)
class ServerState:
    """What the supervisor says about itself and its server."""

    attempt: str
    """One per supervisor."""
    phase: Phase
    since: float
    """Seconds since 1970: when the phase began."""
    host: str
    boot: str
    machine: str
    folder: int
    """Inode of `<home>/postgres`: tells a copied home from a moved one."""
    supervisor_pid: int
    supervisor_started: str
    data_directory: str = ""
    socket_directory: str = ""
    log: str = ""
    version: str = ""
    postmaster_pid: int = 0
    postmaster_started: float = 0.0
    """Seconds since 1970."""
    error_kind: str = ""
    error: str = ""

    @property
    def identity(self) -> HostIdentity:
        """The host that wrote it."""
        return HostIdentity(self.host, self.boot, self.machine)

    @property
    def supervisor(self) -> ProcessMark:
        """The process that wrote it."""
        return ProcessMark(self.supervisor_pid, self.supervisor_started)

    def failure(self) -> MiripoolError:
        """Turn a failed state into the error that the supervisor met."""
        for value in vars(errors).values():
            if isinstance(value, type) and issubclass(value, MiripoolError) and value.kind == self.error_kind:
                return value(self.error)
        return ServerUnavailable(self.error)

    def at(self, phase: Phase) -> ServerState:
        """Give the same state in another phase, which begins now."""
        return dataclasses.replace(self, phase=phase, since=time.time())


def read_state(folder: Path) -> ServerState | None:
    """Read `state.json`; None where there is none, or one that came with the copy of another home."""
    try:
        state = ServerState(**json.loads((folder / "state.json").read_bytes()))
        return state if state.folder == folder.stat().st_ino else None
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise translate_os_error(error, folder) from error
    except (OSError, ValueError, TypeError):
        return None  # cut short by a crash of the machine, or from another version of miripool


def write_state(folder: Path, state: ServerState) -> None:
    """Replace `state.json`."""
    temporary = folder / f"state.json.{os.getpid()}"
    temporary.write_text(json.dumps(dataclasses.asdict(state), indent=1))
    temporary.replace(folder / "state.json")


def remove_state(folder: Path) -> None:
    """Remove `state.json`: no server is running, and any host may start one."""
    with contextlib.suppress(OSError):
        (folder / "state.json").unlink(missing_ok=True)


def refuse_other_host(folder: Path, state: ServerState) -> None:
    """Raise Conflict if the home is in use from another host.

    Raises
    ------
    Conflict
        With the name of the host.
    """
    if state.phase != "failed" and HostIdentity.here().knows(state.identity) == "elsewhere":
        message = (
            f"the home {folder.parent} is in use from the host {state.host}, where its PostgreSQL server runs: "
            f"use it there, or stop it there with `miripool server stop`. "
            f"If that host is gone for good, remove {folder / 'state.json'}"
        )
        raise Conflict(message)


def try_lock(path: Path) -> int | None:
    """Take an exclusive lock on a file.

    Returns
    -------
    int or None
        A file descriptor for `unlock`; None if another process has the lock.
    """
    return _try_lock(path, fcntl.LOCK_EX)


def is_locked(path: Path) -> bool:
    """Tell whether any process holds the exclusive lock on a file."""
    if not path.exists():
        return False
    # Two who look at the same time must not take each other for the holder: a shared lock.
    descriptor = _try_lock(path, fcntl.LOCK_SH)
    if descriptor is None:
        return True
    unlock(descriptor)
    return False


def unlock(descriptor: int) -> None:
    """Give a lock back, also where a child forked in between has a copy of the descriptor."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def translate_os_error(error: OSError, path: Path) -> MiripoolError:
    """Say which of our errors an error of the operating system is, with the path and the remedy."""
    remedy = "or set MIRIPOOL_DATABASE_URL to a PostgreSQL server"
    name = error.filename or path
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"no space left for PostgreSQL in {path} ({error}): free some space and try again")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ReadOnly(
            f"the embedded PostgreSQL server can't use {name}: {error.strerror}. Make it writable, {remedy}"
        )
    return StorageError(
        f"the embedded PostgreSQL server can't use {name}: {error.strerror}. Look at the disk, {remedy}"
    )


def _try_lock(path: Path, kind: int) -> int | None:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return None
        if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
            message = f"the file system of {path} has no locks: put the home on a file system that has"
            raise StorageError(message) from error
        raise
    return descriptor


def _read_boot_id() -> str:
    found = _read_line("/proc/sys/kernel/random/boot_id")
    if found or sys.platform != "darwin":
        return found
    import psutil

    return str(int(psutil.boot_time()))


def _read_line(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
