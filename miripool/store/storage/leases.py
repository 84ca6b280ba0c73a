"""Leases: how others find out that a process has ended, so that its announcements can be removed.

A process that writes notes holds a lock, and its notes name the lock. The kernel gives the lock back when the process
ends, however it ends. Process numbers, start times and host names prove nothing: containers share host names, have
process numbers of their own, and clocks are set.

A lock proves something only to processes of the same kernel. What another kernel says of a lock depends on the file
system: NFS hands `flock` to its server, unless it is mounted with ``nolock`` or ``local_lock``; others keep locks on
each host. So a note also carries the boot id of its writer's kernel, and a process of another kernel (another host, a
virtual machine, the same host before it was started again) is never taken for dead by its lock: its notes count until
they are old. The one case that this does not cover is a virtual machine that was cloned while it ran: both
clones have one boot id. They must not write to one pool on a file system that keeps locks on each host.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import os
import re
import secrets
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["FolderLeases", "Lease", "Leases", "NoLeases"]

_NAME = re.compile(r"[0-9a-f]{32}\.lock")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Lease:
    """What a note says of its owner.

    Attributes
    ----------
    host : str
        Name of its host, for messages.
    pid : int
        Its process number there, for messages.
    boot : str
        Boot id of its kernel; empty where the system has none.
    lock : str
        Name of the lock that it holds as long as it lives; empty where it has none.
    """

    host: str
    pid: int
    boot: str
    lock: str


class Leases(Protocol):
    """The rule by which processes that use one pool find out which of them have ended. Each kind of store has one."""

    def own(self) -> Lease:
        """Give the lease of this process, which lasts until the process ends."""

    def is_over(self, lease: Lease) -> bool:
        """Tell whether the owner is known to have ended; False if that can't be known."""

    def is_on(self, lease: Lease) -> bool:
        """Tell whether the owner is known to live; False where that can't be known."""

    def sweep(self) -> None:
        """Remove what ended processes left of their leases; the notes that name them go first."""


class NoLeases:
    """Leases of a store without locks: nothing says which processes have ended, and notes count until they are old."""

    def own(self) -> Lease:
        """Give the lease of this process."""
        return Lease(socket.gethostname(), os.getpid(), boot_id(), "")

    def is_over(self, lease: Lease) -> bool:  # noqa: ARG002
        """Tell whether the owner is known to have ended."""
        return False

    def is_on(self, lease: Lease) -> bool:  # noqa: ARG002
        """Tell whether the owner is known to live."""
        return False

    def sweep(self) -> None:
        """Remove what ended processes left of their leases: there is nothing."""


class FolderLeases:
    """Leases by lock files in a folder.

    Parameters
    ----------
    folder : pathlib.Path
        The folder; made when the first lease is taken.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def own(self) -> Lease:
        """Give the lease of this process.

        Returns
        -------
        Lease
            Without a lock where the folder can't be written or its file system has no locks: notes count until they
            are old then.
        """
        return Lease(socket.gethostname(), os.getpid(), boot_id(), _held.lock_in(self._folder))

    def is_over(self, lease: Lease) -> bool:
        """Tell whether the owner of a lease is known to have ended.

        Parameters
        ----------
        lease : Lease
            From a note, which may hold anything.

        Returns
        -------
        bool
            True if its lock is free or gone, and was taken under this very kernel.
        """
        return self._is_held_here(lease) is False

    def is_on(self, lease: Lease) -> bool:
        """Tell whether the owner of a lease is known to live, however old its notes seem: clocks are set.

        Parameters
        ----------
        lease : Lease
            From a note, which may hold anything.

        Returns
        -------
        bool
            True if its lock is held, and was taken under this very kernel.
        """
        return self._is_held_here(lease) is True

    def _is_held_here(self, lease: Lease) -> bool | None:
        if not lease.boot or lease.boot != boot_id() or _NAME.fullmatch(lease.lock) is None:
            return None
        return self._is_held(lease.lock)

    def sweep(self) -> None:
        """Remove the lock files of processes that have ended."""
        try:
            names = [path.name for path in self._folder.iterdir()]
        except OSError:  # there is none, or it is not ours to look at
            return
        for name in names:
            # A name is never used twice: a lock that is free stays free.
            if _NAME.fullmatch(name) and self._is_held(name) is False:
                with contextlib.suppress(OSError):
                    (self._folder / name).unlink()

    def _is_held(self, name: str) -> bool | None:
        """Tell whether a lock is held; None where that can't be known."""
        path = self._folder / name
        if _held.holds(path):
            return True
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except OSError:
            return None
        try:
            # Shared: that wants no permission to write, and two who ask at a time don't mislead each other.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # the file system has no locks
            return None
        finally:
            os.close(descriptor)
        return False


class _Held:
    """The locks that this process holds: one for each folder, until it ends."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._locks: dict[Path, tuple[str, int]] = {}

    def lock_in(self, folder: Path) -> str:
        """Give the name of this process's lock in a folder; it is taken if there is none. Empty where it can't be."""
        with self._turn:
            name, descriptor = self._locks.get(folder, ("", -1))
            if name and _is_at(descriptor, folder / name):
                return name
            if name:  # the folder was moved or removed; notes of before name the old lock
                os.close(self._locks.pop(folder)[1])
            try:
                self._locks[folder] = taken = _take(folder)
            except OSError:
                return ""
            return taken[0]

    def holds(self, path: Path) -> bool:
        """Tell whether a lock is this process's own."""
        with self._turn:
            return self._locks.get(path.parent, ("", -1))[0] == path.name

    def forget(self) -> None:
        """Let go of what a parent holds: the lock must not outlive it, and a child has a lease of its own."""
        self._turn = threading.Lock()
        for _, descriptor in self._locks.values():
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._locks.clear()

    def release(self) -> None:
        """Remove the locks as the process ends; killed processes leave theirs, for `FolderLeases.sweep`."""
        with self._turn:
            for folder, (name, descriptor) in self._locks.items():
                if _is_at(descriptor, folder / name):
                    with contextlib.suppress(OSError):
                        (folder / name).unlink()
                os.close(descriptor)
            self._locks.clear()


def _take(folder: Path) -> tuple[str, int]:
    """Make a lock file and hold it; it has its name only once it is held."""
    folder.mkdir(exist_ok=True)
    name = f"{secrets.token_hex(16)}.lock"
    begun = folder / f".tmp-{secrets.token_hex(8)}"
    descriptor = os.open(begun, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        begun.rename(folder / name)
    except BaseException:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            begun.unlink()
        raise
    return name, descriptor


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        return False


_held = _Held()
os.register_at_fork(after_in_child=_held.forget)
atexit.register(_held.release)


@functools.cache
def boot_id() -> str:
    """Give the kernel's boot id: another one for each start of the system, the same in all of its containers.

    Returns
    -------
    str
        Empty where the system has none.
    """
    if sys.platform == "darwin":
        asked = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
        return ""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
