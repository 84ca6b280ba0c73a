"""PostgreSQL servers that the system has, for tests that must pass on old ones too."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

_numbers = itertools.count()


def other_binaries() -> list[Path]:
    """Give the folders of servers that the system has, the oldest first."""
    found = [p.parent for p in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    return sorted(found, key=lambda p: int(p.parent.name))


def _user() -> str | None:
    """PostgreSQL refuses to run as root."""
    return None if os.geteuid() else "postgres"


@contextlib.contextmanager
def running_server(binaries: Path) -> Iterator[str]:
    """Run a server on a socket in a folder of mode 0700; give its URL."""
    folder = Path(tempfile.mkdtemp(prefix="miripool-pg-"))
    user = _user()
    try:
        if user is not None:
            known = pwd.getpwnam(user)
            os.chown(folder, known.pw_uid, known.pw_gid)
        data = folder / "data"
        common = {"user": user, "cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "check": True}
        initdb = [
            binaries / "initdb",
            "-D",
            data,
            "--no-locale",
            "-E",
            "UTF8",
            "-U",
            "postgres",
            "--no-sync",
            "-A",
            "trust",
        ]
        subprocess.run(initdb, **common)
        settings = ["listen_addresses=", f"unix_socket_directories={folder}", "wal_level=minimal", "max_wal_senders=0"]
        command = [binaries / "postgres", "-D", data, *(word for s in settings for word in ("-c", s))]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(command, user=user, cwd=folder, stdout=log, stderr=log)
        try:
            url = f"postgresql://postgres@/postgres?host={folder}"
            _wait(url, server, folder / "log")
            yield url
        finally:
            server.terminate()
            try:
                server.wait(5)
            except subprocess.TimeoutExpired:
                server.send_signal(signal.SIGQUIT)
                server.wait(20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        if server.poll() is not None:
            break
        with contextlib.suppress(psycopg2.OperationalError):
            psycopg2.connect(url).close()
            return
        time.sleep(0.1)
    raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()}")


@pytest.fixture(scope="session", params=["embedded", pytest.param("system", marks=pytest.mark.server)])
def any_database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The shared server, and the oldest that the system has."""
    if request.param == "embedded":
        yield request.getfixturevalue("database_url")
        return
    binaries = other_binaries()
    if not binaries:
        pytest.skip("no other PostgreSQL server on this system")
    with running_server(binaries[0]) as url:
        yield url


@pytest.fixture
def schema() -> str:
    """A schema's name that no other test has; it needs quotes."""
    return f"My pool.v-{next(_numbers)}"
