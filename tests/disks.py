"""Disks that misbehave: a full one, and one that may not be written."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def tiny_disk(kilobytes: int) -> Iterator[Path]:
    """Mount a file system of that size; skips the test where that is not allowed."""
    folder = Path(tempfile.mkdtemp(prefix="tiny-"))
    try:
        if shutil.which("mount") is None:
            pytest.skip("no `mount` here: a full disk can't be made")
        command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"this user may not mount a file system, so that a full disk can't be made: {done.stderr}")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)
    finally:
        folder.rmdir()


@contextlib.contextmanager
def reachable_by_all() -> Iterator[Path]:
    """Make a folder that other users can look into, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="shared-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Be another user for a while where we are root, whom permissions do not stop."""
    if os.geteuid() != 0:
        yield
        return
    user = pwd.getpwnam("nobody")
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
