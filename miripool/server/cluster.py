"""The embedded server's cluster: made once by `initdb`, configured again at each start.

The files in the data folder belong to the user who runs the server. Root must not follow a symbolic link there, so
each file is removed and made again under an open folder.

Settings, and what was measured to choose them (two shared cores, PostgreSQL 18; durability is never traded):

* ``wal_level=minimal``: a FULL exposure with its pixel rows takes 6.5 s instead of 8.7 s, and 1.1 GB less of log: rows
  that are loaded into a table of the same transaction go to its file alone, which is synced before the commit.
* ``max_locks_per_transaction=1024``: a question locks three things for each set of pixel rows (45 MB of shared memory;
  at the default 64 a join of two views over 1000 sets fails, and so does dropping a pool).
* ``shared_buffers``: an eighth of the memory, up to 2 GB. All indexes on keywords of 1,000,000 products are 1 GB; the
  rest is left to the kernel, through whose cache blobs are read.
* ``max_wal_size``, ``checkpoint_timeout``: what does get logged while many exposures are added is written once.
* ``jit=off``: compiling a question over hundreds of partitions takes ten times as long as the question.
* Left as PostgreSQL has them: ``random_page_cost`` (1.1 tried), ``effective_cache_size`` (16 GB tried),
  ``max_parallel_workers_per_gather`` (0 tried), and ``work_mem`` beyond 32 MB (4 and 128 tried): the server spent the
  same on questions to 1,000,000 products, within the noise of a busy machine, for nothing in them is left to the
  planner's estimates (`miripool.index.compile`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ..errors import DiskFull, IntegrityError, MiripoolError, NewerFormat, ServerUnavailable
from .placement import MAJOR, PORT, ServerPlace

__all__ = [
    "DATABASE",
    "ROLE",
    "check_data",
    "configure",
    "environment",
    "explain",
    "initialize",
    "settings",
    "shared_buffers",
]

ROLE = "miripool"
DATABASE = "miripool"
_MIB = 1024 * 1024


def environment() -> dict[str, str]:
    """Give the environment of PostgreSQL's processes: nothing of the user's secrets, no PG* and no locale."""
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")
    found = {name: os.environ[name] for name in kept if name in os.environ}
    return found | {"LC_ALL": "C", "TZ": "UTC"}


def check_data(data: Path) -> bool:
    """Look at a data folder before it is used.

    Returns
    -------
    bool
        Whether there is a cluster.

    Raises
    ------
    NewerFormat, ServerUnavailable
        Of another major version of PostgreSQL.
    IntegrityError
        Not a cluster.
    """
    if not data.exists():
        return False
    away = f"Move {data} away: miripool then makes the index again from the pools"
    try:
        major = int((data / "PG_VERSION").read_text().split(".")[0])
        (data / "global" / "pg_control").stat()
    except (FileNotFoundError, ValueError):
        raise IntegrityError(f"{data} is not a complete PostgreSQL data folder. {away}") from None
    if major > MAJOR:
        raise NewerFormat(
            f"{data} was made by PostgreSQL {major}, but this miripool comes with {MAJOR}: update miripool. {away}"
        )
    if major < MAJOR:
        raise ServerUnavailable(f"{data} was made by PostgreSQL {major}, but this miripool comes with {MAJOR}. {away}")
    return True


def initialize(
    placement: ServerPlace, binaries: Path, *, pass_fds: tuple[int, ...] = (), stopping: Callable[[], bool]
) -> None:
    """Make the cluster beside its place and rename it, so that a killed `initdb` leaves nothing half done.

    Parameters
    ----------
    placement : ServerPlace
        Where.
    binaries : Path
        PostgreSQL's `bin` folder.
    pass_fds : tuple of int
        Locks that are held for as long as `initdb` runs.
    stopping : callable
        Tells whether to stop early.
    """
    user = placement.user
    for leftover in placement.place.glob("data.new-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix="data.new-", dir=placement.place))
    try:
        if user.switched:
            os.chown(temporary, user.uid, user.gid)
        command = [str(binaries / "initdb"), "-D", str(temporary), "-U", ROLE, "--encoding=UTF8", "--no-locale"]
        command += ["--data-checksums", "--auth-local=peer", "--auth-host=reject", "--no-instructions"]
        _run_initdb(command, placement, pass_fds, stopping)
        temporary.rename(placement.data)
        _sync(placement.place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def configure(placement: ServerPlace, socket_directory: Path) -> None:
    """Write the configuration, as this version of miripool wants it; `postgresql.auto.conf` is left alone."""
    lines = [f"{name} = '{_quote(str(value))}'" for name, value in settings(socket_directory).items()]
    header = "# Written by miripool at each start. For settings of your own use ALTER SYSTEM.\n"
    names = [placement.user.name] + (["root"] if placement.user.switched else [])
    # Roles named miripool_... are for restricted connections of the same person.
    roles = (ROLE, f'"/^{ROLE}_[a-z0-9_]+$"')
    identities = [f'{ROLE} "{name}" {role}' for name in names for role in roles]
    _write_inside(placement, "postgresql.conf", header + "\n".join(lines) + "\n")
    _write_inside(placement, "pg_hba.conf", f"local all all peer map={ROLE}\n")
    _write_inside(placement, "pg_ident.conf", "\n".join(identities) + "\n")


def settings(socket_directory: Path) -> dict[str, str | int]:
    """Give the settings of the embedded server."""
    return {
        "listen_addresses": "",
        "port": PORT,
        "unix_socket_directories": str(socket_directory),
        "unix_socket_permissions": "0700",
        "max_connections": 200,
        "shared_buffers": f"{shared_buffers() // _MIB}MB",
        "huge_pages": "off",
        "dynamic_shared_memory_type": "posix",
        "work_mem": "32MB",
        "maintenance_work_mem": "256MB",
        # Thousands of partitions may be locked by one query.
        "max_locks_per_transaction": 1024,
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        # Minimal: a table filled in the transaction that made it goes to its file, not to the log.
        "wal_level": "minimal",
        "max_wal_senders": 0,
        "max_wal_size": "4GB",
        "checkpoint_timeout": "15min",
        "jit": "off",
        "autovacuum": "on",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "lc_messages": "C",
        "datestyle": "iso, mdy",
        # The supervisor keeps the log small.
        "logging_collector": "off",
        "log_destination": "stderr",
        "log_line_prefix": "%m [%p] ",
    }


def shared_buffers() -> int:
    """Give the memory that all processes of the embedded server share, in bytes."""
    return min(max(_memory() // 8, 128 * _MIB), 2048 * _MIB)


_FULL = ("No space left on device", "Disk quota exceeded", "Check free disk space")
"""Words of a full disk; the last are PostgreSQL's where only a part of a block was written."""


def explain(text: str, path: Path) -> MiripoolError:
    """Say what the words of PostgreSQL or `initdb` mean.

    Parameters
    ----------
    text : str
        What was said.
    path : Path
        What it is about.
    """
    said = "\n".join(f"  {line}" for line in text.strip().splitlines()[-12:]) or "  (nothing)"
    if any(words in text for words in _FULL):
        return DiskFull(f"no space left for PostgreSQL in {path}: free some and try again. PostgreSQL said:\n{said}")
    message = f"PostgreSQL did not start with {path}. Read its words below, or set MIRIPOOL_DATABASE_URL:\n{said}"
    return ServerUnavailable(message)


def _run_initdb(
    command: list[str], placement: ServerPlace, pass_fds: tuple[int, ...], stopping: Callable[[], bool]
) -> None:
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            cwd="/",
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=pass_fds,
            **placement.user.options(),
        )
        with process:
            while process.poll() is None:
                if stopping():
                    process.send_signal(signal.SIGTERM)
                    process.wait()
                    raise ServerUnavailable(f"setting up PostgreSQL in {placement.data} was interrupted: try again")
                time.sleep(0.02)
        if process.returncode != 0:
            output.seek(0)
            raise explain(output.read().decode(errors="replace"), placement.data)


def _write_inside(placement: ServerPlace, name: str, text: str) -> None:
    folder = os.open(placement.data, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        temporary = f"{name}.new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o600, dir_fd=folder)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as stream:
            if placement.user.switched:
                os.fchown(descriptor, placement.user.uid, placement.user.gid)
            stream.write(text)
            stream.flush()
            os.fsync(descriptor)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        os.close(folder)


def _quote(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "''")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _memory() -> int:
    """Tell the memory of this machine or container, in bytes."""
    import psutil

    amounts = [psutil.virtual_memory().total]
    groups = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
    try:
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                groups.append(f"/sys/fs/cgroup{path}/memory.max")
            elif "memory" in controllers.split(","):
                groups.append(f"/sys/fs/cgroup/memory{path}/memory.limit_in_bytes")
    except (OSError, ValueError):
        pass
    for group in groups:
        try:
            amounts.append(int(Path(group).read_text()))
        except (OSError, ValueError):
            continue
    return min(amounts)
