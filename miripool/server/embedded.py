"""The embedded PostgreSQL server, as its clients see it: find, start, ask, stop.

A client that finds no server starts a supervisor (`supervisor.py`), detached, and waits for it; otherwise it only
connects. So a client that is killed or forks needs no book-keeping. Two layers below: `serverstate.py` says who is
alive by locks, `postmaster.py` by processes.
"""

from __future__ import annotations

import contextlib
import datetime
import math
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import InvalidInput, ReadOnly, ServerUnavailable
from . import launch
from .cluster import DATABASE, ROLE
from .libpq import note_embedded
from .placement import PORT, find_binaries, find_data, find_outside, prepare_folder
from .postmaster import Presence, ProcessMark, find_postmaster
from .probe import ProbeAnswer, count_clients, probe
from .state import (
    HostIdentity,
    ServerState,
    is_locked,
    read_state,
    refuse_other_host,
    remove_state,
    translate_os_error,
    try_lock,
    unlock,
)

__all__ = ["EmbeddedServer", "ServerStatus"]

_SENTENCES = {
    "waiting": "PostgreSQL waits for the last processes of an earlier server",
    "initializing": "PostgreSQL is being set up",
    "starting": "PostgreSQL is starting",
    "recovering": "PostgreSQL is recovering after a crash",
    "ready": "PostgreSQL does not answer yet",
    "stopping": "PostgreSQL is shutting down before it starts again",
}
# What Python and the loader of shared libraries need; the rest may be secret.
_KEPT_VARIABLES = (
    *("PYTHONHOME", "PYTHONNOUSERSITE", "PYTHONPATH", "PYTHONUSERBASE", "VIRTUAL_ENV"),
    *("HOME", "LANG", "LOGNAME", "PATH", "TMPDIR", "USER", "XDG_RUNTIME_DIR"),
    *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),
    "MIRIPOOL_SERVER_USER",
)
_MOST_STARTS = 5


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What is known of a home's server."""

    running: bool
    version: str | None
    """Such as `18.4`."""
    pid: int | None
    """Of the postmaster."""
    supervisor_pid: int | None
    data_directory: Path
    socket_directory: Path | None
    log: Path
    started: datetime.datetime | None
    """Aware, UTC."""
    clients: int | None
    """Connections, the one that asked apart; None where the server does not answer."""


class EmbeddedServer:
    """The PostgreSQL server of one home. Nothing is started before `ensure`.

    Parameters
    ----------
    home : Path
        The home; the server's things are in `<home>/postgres`.
    idle_minutes : float
        After how many minutes without a client the server shuts down, if this client is the one who starts it.
        `math.inf` for never.
    """

    def __init__(self, home: Path, *, idle_minutes: float = 15.0) -> None:
        if not idle_minutes > 0:
            raise InvalidInput(f"idle_minutes is {idle_minutes}, but must be greater than 0")
        self.home = Path(home).expanduser().resolve()
        self.idle_minutes = idle_minutes
        self._folder = self.home / "postgres"

    def ensure(self, *, timeout: float = 120.0, progress: Callable[[str], None] | None = None) -> str:
        """See that the server runs; start it if need be.

        Parameters
        ----------
        timeout : float
            How long to wait, seconds. The supervisor goes on after that.
        progress : callable, optional
            Gets sentences such as 'PostgreSQL is recovering after a crash (12 s) ...'.

        Returns
        -------
        str
            The URL.

        Raises
        ------
        Conflict
            The home is in use from another host.
        ReadOnly, DiskFull, ServerUnavailable, NewerFormat
            The server can't be started.
        """
        self._touch()
        try:
            state = self._read_state()
            if state is not None and self._serves(state):
                return _url("postgresql", state)
            return _url("postgresql", self._start(state, time.monotonic() + timeout, timeout, progress))
        except OSError as error:
            raise translate_os_error(error, self._folder) from error

    @property
    def url(self) -> str:
        """The URL in libpq's form, for psql and psycopg2."""
        return _url("postgresql", self._known_state())

    @property
    def sqlalchemy_url(self) -> str:
        """The URL for SQLAlchemy."""
        return _url("postgresql+psycopg2", self._known_state())

    @property
    def psql(self) -> Path:
        """The psql that comes with the server."""
        return find_binaries() / "psql"

    def _known_state(self) -> ServerState:
        state = self._read_state()
        if state is None or not state.socket_directory:
            raise ServerUnavailable(f"the PostgreSQL server of {self.home} is not running: call ensure() first")
        return state

    def _read_state(self) -> ServerState | None:
        try:
            return read_state(self._folder)
        except ReadOnly:
            prepare_folder(self._folder)  # says whose it is
            raise

    def _touch(self) -> None:
        """Leave a sign for a supervisor that is about to shut an idle server down."""
        with contextlib.suppress(OSError):
            os.utime(self._folder / "used")

    def _serves(self, state: ServerState) -> bool:
        """Tell whether the server of a state answers, and has a supervisor."""
        if state.phase != "ready" or HostIdentity.here().knows(state.identity) != "here":
            return False
        if not is_locked(self._folder / "supervisor.lock"):
            return False  # killed: a new one is to adopt the server
        answer, said = probe(Path(state.socket_directory))
        if answer is ProbeAnswer.REFUSED:
            prepare_folder(self._folder)  # says whose it is
            raise ServerUnavailable(f"the PostgreSQL server of {self.home} refuses this user: {said}")
        return answer is ProbeAnswer.READY

    def _start(
        self, state: ServerState | None, deadline: float, timeout: float, progress: Callable[[str], None] | None
    ) -> ServerState:
        """Wait for a server that answers; start a supervisor whenever there is none."""
        if state is not None:
            refuse_other_host(self._folder, state)
        prepare_folder(self._folder)
        (self._folder / "used").touch()
        seen = state.attempt if state is not None else ""
        starts, told, began, pause = 0, -1, time.monotonic(), 0.01
        while True:
            state = self._read_state()
            if state is not None:
                if state.phase == "failed" and state.attempt != seen:
                    raise state.failure()
                refuse_other_host(self._folder, state)
                if self._serves(state):
                    return state
            if not is_locked(self._folder / "supervisor.lock"):
                starts += self._start_supervisor()
                if starts > _MOST_STARTS:
                    raise ServerUnavailable(f"the PostgreSQL server stops right after its start: {self._words()}")
            waited = int(time.monotonic() - began)
            if progress is not None and waited > told and time.monotonic() - began > 0.3:
                told = waited
                progress(f"{_SENTENCES[self._phase()]} ({waited} s) ...")
            if time.monotonic() > deadline:
                message = (
                    f"the PostgreSQL server of {self.home} did not answer within {timeout:g} s and is still busy "
                    f"({_SENTENCES[self._phase()]}): try again later. {self._words()}"
                )
                raise ServerUnavailable(message)
            time.sleep(pause)
            pause = min(pause * 1.3, 0.1)

    def _phase(self) -> str:
        state = self._read_state()
        return state.phase if state is not None and state.phase in _SENTENCES else "starting"

    def _start_supervisor(self) -> bool:
        """Start a supervisor, unless someone else does so or has; True if this call did."""
        lock = try_lock(self._folder / "start.lock")
        if lock is None:
            return False
        try:
            if is_locked(self._folder / "supervisor.lock"):
                return False
            code, words = self._launch()
        finally:
            unlock(lock)
        if code not in (0, launch.HELD):
            raise ServerUnavailable(f"the supervisor of the PostgreSQL server did not start ({code}): {words}")
        return code == 0

    def _launch(self) -> tuple[int, str]:
        if not sys.executable:
            raise ServerUnavailable("there is no Python interpreter to run the PostgreSQL server's supervisor with")
        log = self._folder / "supervisor.log"
        with contextlib.suppress(FileNotFoundError):
            if log.stat().st_size > 1_000_000:
                log.unlink()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(log, flags, 0o600)
        environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        idle = str(self.idle_minutes * 60 if math.isfinite(self.idle_minutes) else math.inf)
        try:
            done = subprocess.run(
                [sys.executable, "-P", launch.__file__, str(self.home), idle],
                cwd="/",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,
                check=False,
            )
        finally:
            os.close(descriptor)
        return done.returncode, _tail(log) if done.returncode else ""

    def _words(self) -> str:
        log = self._folder / "postgresql.log"
        return f"The end of its log {log}:\n{_tail(log)}"

    def status(self) -> ServerStatus:
        """Tell what is known of the server; never starts anything."""
        state = self._read_state()
        log = self._folder / "postgresql.log"
        if state is None or HostIdentity.here().knows(state.identity) != "here" or state.phase == "failed":
            return ServerStatus(False, None, None, None, find_data(self._folder), None, log, None, None)
        sockets = Path(state.socket_directory) if state.socket_directory else None
        usage = count_clients(sockets) if sockets is not None else None
        data = Path(state.data_directory) if state.data_directory else find_data(self._folder)
        found = find_postmaster(data)
        running = usage is not None or found.presence is Presence.RUNNING
        started = datetime.datetime.fromtimestamp(state.postmaster_started, datetime.UTC)
        return ServerStatus(
            running=running,
            version=state.version or None if running else None,
            pid=found.mark.pid if found.mark is not None else None,
            supervisor_pid=state.supervisor_pid if state.supervisor.alive else None,
            data_directory=data,
            socket_directory=sockets if running else None,
            log=log,
            started=started if running and state.postmaster_started else None,
            clients=usage.clients if usage is not None else None,
        )

    def stop(self, *, timeout: float = 60.0) -> bool:
        """Shut the server down: running transactions are rolled back, what was committed stays.

        Parameters
        ----------
        timeout : float
            How long to wait, seconds. The shutdown goes on after that.

        Returns
        -------
        bool
            Whether it was running.

        Raises
        ------
        Conflict
            It runs on another host.
        ServerUnavailable
            It has not ended within `timeout`.
        """
        deadline = time.monotonic() + timeout
        if not self._folder.exists():
            return False
        was_running = False
        while True:
            state = self._read_state()
            if state is not None:
                refuse_other_host(self._folder, state)
            supervised = is_locked(self._folder / "supervisor.lock")
            orphan = None if supervised else self._find_orphan(state)
            if not supervised and orphan is None:
                remove_state(self._folder)
                return was_running
            if not was_running:
                was_running = self._ask_to_end(state.supervisor if supervised and state is not None else orphan)
            if time.monotonic() > deadline:
                where = f" (started as host {state.host})" if state is not None else ""
                message = (
                    f"the PostgreSQL server of {self.home}{where} is still running after {timeout:g} s: look again"
                )
                raise ServerUnavailable(message)
            time.sleep(0.02)

    def remove(self, *, timeout: float = 60.0) -> None:
        """Stop the server and remove all that is its own: data, socket, logs. The index can be rebuilt from the pools.

        Parameters
        ----------
        timeout : float
            How long to wait for the server to stop, seconds.
        """
        self.stop(timeout=timeout)
        if not self._folder.exists():
            return
        prepare_folder(self._folder)
        try:
            outside = find_outside(self._folder)
            if outside is not None:
                shutil.rmtree(outside)
            shutil.rmtree(self._folder)
        except OSError as error:
            raise translate_os_error(error, self._folder) from error

    def _ask_to_end(self, process: ProcessMark | None) -> bool:
        """Ask the supervisor, or a postmaster without one, for a fast shutdown."""
        return process is not None and process.send(signal.SIGINT)

    def _find_orphan(self, state: ServerState | None) -> ProcessMark | None:
        """Find a postmaster whose supervisor was killed."""
        known = state.data_directory if state is not None else ""
        return find_postmaster(Path(known) if known else find_data(self._folder)).mark


def _url(scheme: str, state: ServerState) -> str:
    # The port as well: PGPORT in the user's environment would name another socket.
    note_embedded(state.socket_directory)
    host = urllib.parse.quote(os.fsencode(state.socket_directory), safe="/")
    return f"{scheme}://{ROLE}@/{DATABASE}?host={host}&port={PORT}"


def _tail(path: Path, lines: int = 8) -> str:
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - 8192))
            text = stream.read().decode(errors="replace")
    except OSError:
        return "  (nothing)"
    return "\n".join(f"  {line}" for line in text.splitlines()[-lines:])
