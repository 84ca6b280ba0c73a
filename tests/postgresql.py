"""PostgreSQL servers for tests: a throwaway one from the system's binaries, and homes with an embedded one."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from miripool.server.embedded import EmbeddedServer

# With characters that mean something in a URL. It begins with what no other process has: tests look for that beginning
# among the arguments of all processes, those of other tests at the same time included.
PASSWORD = f"{secrets.token_hex(4)}p@ss:w/rd %"


def find_server_binaries() -> Path | None:
    """Find the newest PostgreSQL server of the system, outside the project."""
    found: list[Path] = []
    if shutil.which("pg_config"):
        done = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=False)
        found.append(Path(done.stdout.strip()))
    if where := shutil.which("initdb"):
        found.append(Path(where).resolve().parent)
    installed = Path("/usr/lib/postgresql").glob("*/bin")
    found += sorted(installed, key=lambda path: -float(path.parent.name) if path.parent.name.isdigit() else 0)
    return next((path for path in found if (path / "postgres").exists() and (path / "initdb").exists()), None)


def other_user() -> pwd.struct_passwd | None:
    """An ordinary user whom root can run things as."""
    for name in ("nobody", "daemon", "postgres"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    return None


def run_as(user: pwd.struct_passwd | None) -> dict[str, Any]:
    """Options for `subprocess`: this user if we are root, ourselves otherwise."""
    if os.geteuid() != 0 or user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@contextlib.contextmanager
def throwaway_server(driver: str = "") -> Iterator[str]:
    """Run a PostgreSQL server of the system for a while; skips the test where there is none.

    Parameters
    ----------
    driver : str
        E.g. `psycopg2`, for a URL in SQLAlchemy's form.

    Yields
    ------
    str
        URL with user, password (escaped), socket folder and database.
    """
    binaries = find_server_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server binaries outside the project")
    user = other_user()
    options = {**run_as(user), "cwd": "/", "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}}
    # A short path: the socket's has 107 bytes at most.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    server = None
    try:
        (folder / "password").write_text(PASSWORD + "\n")
        if options.get("user") is not None and user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
            os.chown(folder / "password", user.pw_uid, user.pw_gid)
        command = [str(binaries / "initdb"), "-D", str(folder / "data"), "-U", "owner", "--no-sync", "--no-locale"]
        command += ["-E", "UTF8", "-A", "scram-sha-256", f"--pwfile={folder / 'password'}"]
        subprocess.run(command, check=True, capture_output=True, **options)
        with (folder / "log").open("wb") as log:
            command = [str(binaries / "postgres"), "-D", str(folder / "data"), "-k", str(folder), "-h", "", "-F"]
            server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options)
        yield _wait_for(folder, server, driver)
    finally:
        if server is not None:
            server.terminate() if server.poll() is None else None
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(2)  # SIGTERM waits for the clients
            server.send_signal(3)
            server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(folder: Path, server: subprocess.Popen[bytes], driver: str) -> str:
    import psycopg2

    scheme = f"postgresql+{driver}" if driver else "postgresql"
    rest = f"owner:{urllib.parse.quote(PASSWORD, safe='')}@/postgres?host={folder}&port=5432"
    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg2.connect(f"postgresql://{rest}").close()
        except psycopg2.OperationalError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((folder / "log").read_text()) from error
            time.sleep(0.05)
        else:
            return f"{scheme}://{rest}"


@contextlib.contextmanager
def reachable_folder() -> Iterator[Path]:
    """Give a temporary folder that other users can enter (pytest's own they can't), with its servers removed after."""
    folder = Path(tempfile.mkdtemp(prefix="miripool-test-")).resolve()
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        for place in folder.glob("**/postgres"):
            with contextlib.suppress(Exception):
                EmbeddedServer(place.parent).remove()
        _kill_processes_of(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _kill_processes_of(folder: Path) -> None:
    for process in psutil.process_iter(["cmdline"]):
        if any(part.startswith(f"{folder}/") for part in process.info["cmdline"] or ()):
            with contextlib.suppress(psutil.Error):
                process.kill()
