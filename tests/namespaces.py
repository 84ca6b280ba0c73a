"""Processes that see other process numbers, or another boot time: what containers on one machine see of each other."""

from __future__ import annotations

import functools
import os
import re
import subprocess
from pathlib import Path

import pytest

_STAT = Path("/proc/stat")
_BOOT = re.compile(rb"(?m)^btime (\d+)$")


@functools.cache
def _refusal() -> str | None:
    if not _STAT.exists():
        return "namespaces are Linux's"
    if os.geteuid() != 0:
        return "only root can make namespaces of processes and mounts"
    try:
        done = subprocess.run(isolated(["true"], pids=True), capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "the program unshare is not installed"
    return None if done.returncode == 0 else f"no namespaces can be made here: {done.stderr.strip()}"


def need_namespaces() -> None:
    """Skip the test where the machine does not let us make namespaces."""
    refusal = _refusal()
    if refusal is not None:
        pytest.skip(refusal)


def isolated(command: list[str], *, pids: bool = False, boot: Path | None = None) -> list[str]:
    """Give the command that runs another one in namespaces of its own; the host's name stays.

    Parameters
    ----------
    command : list of str
        What to run. It ends when the process of the result is killed.
    pids : bool, keyword-only
        Count processes from 1; those outside can't be seen.
    boot : pathlib.Path, keyword-only, optional
        What to show as ``/proc/stat``, from `show_boot_time`.

    Returns
    -------
    list of str
        For `subprocess.Popen`.
    """
    if boot is not None:
        command = ["sh", "-c", 'mount --bind "$0" /proc/stat && exec "$@"', str(boot), *command]
    if pids:
        return ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *command]
    return ["unshare", "--mount", *command] if boot is not None else command


def show_boot_time(path: Path, step: int) -> None:
    """Write a copy of ``/proc/stat`` after which the machine was booted so many seconds later: its clock was set.

    Parameters
    ----------
    path : pathlib.Path
        The copy. One that is there changes in place, so that those who see it see the step.
    step : int
        Seconds.
    """
    text = path.read_bytes() if path.exists() else _STAT.read_bytes()
    changed = _BOOT.sub(b"btime %010d" % (_real_boot_time() + step), text)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.pwrite(descriptor, changed, 0)
    finally:
        os.close(descriptor)


@functools.cache
def _real_boot_time() -> int:
    found = _BOOT.search(_STAT.read_bytes())
    assert found is not None
    return int(found[1])
