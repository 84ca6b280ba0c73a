"""The postmaster as the operating system sees it, and whether `postmaster.pid` names it or something else.

A pid alone proves nothing. The process may have been killed and its number given to something else (*reused*), or it
may be dead and not yet collected by its parent (*zombie*, for good in a container whose first process collects
nothing). PostgreSQL itself looks only whether the number is in use, and then refuses to start.
"""

from __future__ import annotations

import contextlib
import enum
import itertools
import os
import signal
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Found", "PidFile", "Presence", "ProcessMark", "find_postmaster", "remove_stale_pid_file"]

_PROC = Path("/proc")


class Presence(enum.Enum):
    """What became of the process that `postmaster.pid` names."""

    ABSENT = "absent"  # there is no such file
    STALE = "stale"  # no such process
    ZOMBIE = "zombie"  # dead, not collected by its parent
    REUSED = "reused"  # the number belongs to something else
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class PidFile:
    """The lines of `postmaster.pid` that matter."""

    pid: int
    data_directory: str
    started: int
    """Seconds since 1970."""
    socket_directory: str
    status: str
    """Such as `starting`, `ready`, `stopping`."""

    @classmethod
    def read(cls, data: Path) -> PidFile | None:
        """Read the file of a data folder; None where it is missing or not (yet) complete."""
        try:
            lines = (data / "postmaster.pid").read_text(errors="surrogateescape").splitlines()
            # A file that is being written has fewer lines; the pid is there from the first moment.
            lines += [""] * (8 - len(lines))
            return cls(int(lines[0]), lines[1].strip(), int(lines[2] or 0), lines[4].strip(), lines[7].strip())
        except (OSError, ValueError, IndexError):
            return None


@dataclass(frozen=True, slots=True)
class ProcessMark:
    """A process that can't be taken for another: its number and its start time as the kernel has it.

    On Linux the start time is in clock ticks since boot, which a change of the clock does not touch.
    """

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> ProcessMark | None:
        """Mark a living process; None for a zombie or where there is none."""
        seen = _look(pid)
        return None if seen is None or seen[0] else cls(pid, seen[1])

    @property
    def alive(self) -> bool:
        """Whether this very process still runs; a zombie does not."""
        return ProcessMark.of(self.pid) == self

    def send(self, number: signal.Signals) -> bool:
        """Send a signal, unless the process is gone or belongs to someone else; True when it was sent."""
        if not self.alive:
            return False
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, number)
            return True
        return False


@dataclass(frozen=True, slots=True)
class Found:
    """A data folder's postmaster, as far as there is one."""

    presence: Presence
    pid_file: PidFile | None = None
    mark: ProcessMark | None = None


def find_postmaster(data: Path) -> Found:
    """Find the postmaster of a data folder.

    Parameters
    ----------
    data : Path
        The data folder.

    Returns
    -------
    Found
        With `mark` where it is running.
    """
    pid_file = PidFile.read(data)
    if pid_file is None:
        return Found(Presence.ABSENT)
    seen = _look(pid_file.pid)
    if seen is None:
        return Found(Presence.STALE, pid_file)
    zombie, started = seen
    if zombie:
        return Found(Presence.ZOMBIE, pid_file)
    if not _is_postmaster(pid_file.pid, data):
        return Found(Presence.REUSED, pid_file)
    return Found(Presence.RUNNING, pid_file, ProcessMark(pid_file.pid, started))


def remove_stale_pid_file(data: Path) -> Presence:
    """Remove `postmaster.pid` if the process that it names is not the postmaster of this folder.

    Only for the holder of the cluster's lock: then no process of an earlier server is left. PostgreSQL's own guard,
    the shared memory block whose key comes from the folder's inode, stays in force.

    Returns
    -------
    Presence
        What was found.
    """
    presence = find_postmaster(data).presence
    if presence in (Presence.STALE, Presence.ZOMBIE, Presence.REUSED):
        (data / "postmaster.pid").unlink(missing_ok=True)
    return presence


def _look(pid: int) -> tuple[bool, str] | None:
    """Tell (zombie, start time) of a process; None where there is none."""
    if pid <= 0:
        return None
    if (_PROC / "self/stat").exists():
        try:
            text = (_PROC / str(pid) / "stat").read_text(errors="replace")
        except OSError:
            return None
        # The name in brackets may hold spaces and brackets itself. proc(5): state is field 3, starttime field 22.
        fields = text.rpartition(")")[2].split()
        return fields[0] in "ZX", fields[19]
    import psutil

    try:
        process = psutil.Process(pid)
        return process.status() == psutil.STATUS_ZOMBIE, repr(process.create_time())
    except psutil.ZombieProcess:
        return True, ""
    except psutil.Error:
        return None


def _is_postmaster(pid: int, data: Path) -> bool:
    """Tell whether a process is `postgres`, run on this data folder by the folder's owner."""
    import psutil

    try:
        process = psutil.Process(pid)
        arguments = process.cmdline()
        if not arguments or Path(arguments[0]).name != "postgres" or process.uids().real != data.stat().st_uid:
            return False
        folders = [b for a, b in itertools.pairwise(arguments) if a == "-D"]
        # The working directory of another user's process is hidden from root in a container without SYS_PTRACE.
        with contextlib.suppress(psutil.AccessDenied):
            folders.append(process.cwd())
    except (psutil.Error, OSError):
        return False
    return any(os.path.realpath(folder) == os.path.realpath(data) for folder in folders)
