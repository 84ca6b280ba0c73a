"""Pools that the command line has mounted, in processes of their own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

__all__ = ["Mounted", "mounted_pool", "wait_for"]


@dataclass
class Mounted:
    """A mount: its folder, its process, and what that has said so far."""

    folder: Path
    process: subprocess.Popen[str]
    words: list[str] = field(default_factory=list)

    def __truediv__(self, path: str) -> Path:
        return self.folder / path

    @property
    def is_there(self) -> bool:
        return str(self.folder) in {found.mountpoint for found in psutil.disk_partitions(all=True)}

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)

    def written(self) -> int:
        """Count the bytes that the process has written so far: nearly all of them are files' bytes for the kernel."""
        lines = Path(f"/proc/{self.process.pid}/io").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("wchar"))


def wait_for(is_so: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something is so."""
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, "it did not come to be"
        time.sleep(0.02)


def _need_fuse() -> None:
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("/dev/fuse can't be used here")
    if shutil.which("fusermount3") is None:
        pytest.skip("fusermount3 is not installed")


@contextlib.contextmanager
def mounted_pool(folder: Path, pool: str = "jpl8", *, home: Path | None = None) -> Iterator[Mounted]:
    """Mount a pool, of the default home or another, at a new folder, until the end of the body."""
    _need_fuse()
    folder.mkdir(parents=True, exist_ok=True)
    where = [] if home is None else ["--home", str(home)]
    command = [sys.executable, "-m", "miripool", *where, "mount", pool, str(folder)]
    process = subprocess.Popen(
        command, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    found = Mounted(folder, process)
    assert process.stdout is not None
    assert process.stderr is not None
    hearing = threading.Thread(target=lambda: found.words.extend(process.stderr or ()), daemon=True)
    hearing.start()
    try:
        line = process.stdout.readline()
        assert line == f"{folder}\n", (line, found.words)
        yield found
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)
        hearing.join(20)
        process.stdout.close()
        process.stderr.close()
        subprocess.run(["fusermount3", "-u", "-z", "-q", str(folder)], check=False)
