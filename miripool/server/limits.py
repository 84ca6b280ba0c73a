"""Limits of resources (`ulimit`) that the server inherits from the process which happens to start it."""

from __future__ import annotations

import contextlib
import resource

from ..errors import ServerUnavailable

__all__ = ["raise_limits"]

_MIB = 1024 * 1024

_LEAST = {
    "RLIMIT_FSIZE": (1025 * _MIB, "bytes in a file (ulimit -f)", "PostgreSQL's tables are files of up to 1 GiB"),
    "RLIMIT_NOFILE": (256, "open files (ulimit -n)", "each of PostgreSQL's processes opens some hundred"),
    "RLIMIT_AS": (1024 * _MIB, "bytes of memory (ulimit -v)", "PostgreSQL's processes map up to that"),
    "RLIMIT_DATA": (512 * _MIB, "bytes of data (ulimit -d)", "PostgreSQL's processes need up to that"),
    "RLIMIT_STACK": (1 * _MIB, "bytes of stack (ulimit -s)", "PostgreSQL needs 1 MiB"),
}
_RAISED = ("RLIMIT_CPU", *_LEAST, "RLIMIT_RSS", "RLIMIT_NPROC", "RLIMIT_MEMLOCK")


def raise_limits(shared_memory: int) -> None:
    """Raise this process's soft limits to the hard ones; its children inherit them.

    Parameters
    ----------
    shared_memory : int
        Bytes that each of the server's processes maps besides its own.

    Raises
    ------
    ServerUnavailable
        If a hard limit is too low for a server.
    """
    problems = []
    for name in _RAISED:
        number = getattr(resource, name, None)
        if number is None:
            continue
        soft, hard = resource.getrlimit(number)
        if soft != hard:
            # macOS takes less than infinity for some.
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(number, (hard, hard))
        soft, _ = resource.getrlimit(number)
        if soft == resource.RLIM_INFINITY:
            continue
        if name == "RLIMIT_CPU":
            problems.append(f"{soft} seconds of the processor's time (ulimit -t): they would end the server")
            continue
        least, unit, why = _LEAST.get(name, (0, "", ""))
        least += shared_memory if name == "RLIMIT_AS" else 0
        if soft < least:
            problems.append(f"{soft} {unit}, at least {least} are needed: {why}")
    if problems:
        raise ServerUnavailable(
            "the embedded PostgreSQL server can't run with the limits of the process that starts it. The hard limits "
            f"allow {'; '.join(problems)}. Run `miripool server url` in a shell without these "
            "limits, or set MIRIPOOL_DATABASE_URL"
        )
