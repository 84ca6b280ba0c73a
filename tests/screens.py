"""A terminal: what a command shows on it, moment by moment."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pyte

ROWS, COLUMNS = 30, 120


def watch(*arguments: str | Path, timeout: float = 120) -> tuple[list[list[str]], int]:
    """Run a command of miripool on a terminal.

    Returns
    -------
    screens : list of list of str
        What stood on it after each thing written to it, lines that are not empty; the last is what stays.
    code : int
        Exit code.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    for name in ("NO_COLOR", "CI", "COLUMNS", "LINES", "TTY_COMPATIBLE"):
        environment.pop(name, None)
    process = subprocess.Popen(
        ["timeout", str(timeout), sys.executable, "-m", "miripool", *map(str, arguments)],
        stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    screens: list[list[str]] = []
    while True:
        try:
            written = os.read(master, 65536)
        except OSError:  # EIO: the last one who had the terminal open is gone
            break
        if not written:
            break
        stream.feed(written)
        shown = [line.rstrip() for line in screen.display if line.strip()]
        if not screens or shown != screens[-1]:
            screens.append(shown)
    os.close(master)
    return screens, process.wait()
