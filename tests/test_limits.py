"""Soft limits of the process that starts the embedded server do not count; hard ones that would end it are refused."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgresql import reachable_folder

from miripool.server.embedded import EmbeddedServer

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits are read from /proc")

CODE = """
import resource, sys, pathlib
from miripool.server.embedded import EmbeddedServer
hard = sys.argv[2] == "hard"
for name, value in (pair.split("=") for pair in sys.argv[3:]):
    number = getattr(resource, name)
    resource.setrlimit(number, (int(value), int(value) if hard else resource.getrlimit(number)[1]))
EmbeddedServer(pathlib.Path(sys.argv[1])).ensure()
"""
LOW = {
    "RLIMIT_CPU": 20,
    "RLIMIT_FSIZE": 50_000_000,
    "RLIMIT_NOFILE": 100,
    "RLIMIT_AS": 1_000_000_000,
    "RLIMIT_DATA": 500_000_000,
}


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    with reachable_folder() as folder:
        yield EmbeddedServer(folder / "home")


def start(server: EmbeddedServer, kind: str, limits: dict[str, int]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", CODE, str(server.home), kind, *(f"{n}={v}" for n, v in limits.items())]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


def test_soft_limits_are_raised(server: EmbeddedServer) -> None:
    done = start(server, "soft", LOW)
    assert (done.returncode, done.stderr) == (0, "")
    pid = server.status().pid
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]
    words = {line[:26].strip(): line[26:].split()[:2] for line in lines}
    for name in ("Max cpu time", "Max file size", "Max open files", "Max address space", "Max data size"):
        soft, hard = words[name]
        assert soft == hard, name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("RLIMIT_CPU", "20 seconds of the processor's time (ulimit -t)"),
        ("RLIMIT_FSIZE", "50000000 bytes in a file (ulimit -f)"),
        ("RLIMIT_NOFILE", "100 open files (ulimit -n)"),
        ("RLIMIT_AS", "1000000000 bytes of memory (ulimit -v)"),
    ],
)
def test_hard_limits_that_are_too_low_are_named(server: EmbeddedServer, name: str, words: str) -> None:
    done = start(server, "hard", {name: LOW[name]})
    assert done.returncode != 0
    assert words in done.stderr
    assert resource.getrlimit(getattr(resource, name))[1] != LOW[name]  # of this process: untouched
    assert server.ensure()  # from here it starts
