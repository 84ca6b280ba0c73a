"""The process that owns the embedded server of one home.

It runs `initdb` and the postmaster as its children, or adopts a postmaster whose supervisor was killed; waits for
recovery for as long as it takes; says in `state.json` what it does; and shuts the server down on request, when nobody
has used it for a while, or when the home is gone. It ends with its postmaster, and starts nothing again: the next
client does. Clients only connect to the server, so nothing is kept about them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import select
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from types import FrameType

from ..errors import Conflict, DiskFull, MiripoolError, ServerUnavailable
from . import cluster
from .limits import raise_limits
from .orphans import remove_orphans
from .placement import MAJOR, OUTSIDE, PORT, ServerPlace, provide_binaries, provide_socket_directory
from .postmaster import PidFile, Presence, ProcessMark, find_postmaster, remove_stale_pid_file
from .probe import ProbeAnswer, count_clients, ensure_database, probe, socket_answers
from .state import (
    HostIdentity,
    Phase,
    ServerState,
    read_state,
    refuse_other_host,
    remove_state,
    translate_os_error,
    try_lock,
    unlock,
    write_state,
)

__all__ = ["Supervisor", "supervise"]

_log = logging.getLogger("miripool.server.supervisor")
# What PostgreSQL says while the processes of its predecessor are still about to end.
_PASSING = ("pre-existing shared memory block", 'lock file "postmaster.pid" already exists')
_PATIENCE = 60.0
_MOST_KILLS = 3
_SHUTDOWN_PATIENCE = 600.0
_LOG_SIZE = 10 * 1024 * 1024


def supervise(home: str, idle_seconds: float, tell: int) -> int:
    """Be the supervisor of a home.

    Parameters
    ----------
    home : str
        The home.
    idle_seconds : float
        After how long without a client the server is shut down, seconds.
    tell : int
        File descriptor that gets `+` when this process supervises, `=` if another one does; it is closed.

    Returns
    -------
    int
        Exit code.
    """
    os.chdir("/")
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # the client may have blocked some
    os.umask(0o077)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s [%(process)d] %(message)s")
    folder = Path(home) / "postgres"
    deadline = time.monotonic() + 5
    # Clients look at the lock now and then, each time for a moment.
    while (lock := try_lock(folder / "supervisor.lock")) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.write(tell, b"=" if lock is None else b"+")
    os.close(tell)
    if lock is None:
        return 3
    try:
        Supervisor(folder, idle_seconds).run()
    finally:
        unlock(lock)
    return 0


class Supervisor:
    """Owner of one home's server, for the holder of `supervisor.lock`.

    Parameters
    ----------
    folder : Path
        `<home>/postgres`.
    idle_seconds : float
        After how long without a client the server is shut down, seconds.
    """

    def __init__(self, folder: Path, idle_seconds: float) -> None:
        here, me = HostIdentity.here(), ProcessMark.of(os.getpid())
        self._folder = folder
        self._inode = folder.stat().st_ino
        self._idle_seconds = idle_seconds
        self._child: subprocess.Popen[bytes] | None = None
        self._postmaster: ProcessMark | None = None
        self._stopping = False
        self._wakeup, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else _pipe()
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note_signal)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._state = ServerState(
            attempt=uuid.uuid4().hex,
            phase="starting",
            since=time.time(),
            host=here.name,
            boot=here.boot,
            machine=here.machine,
            folder=self._inode,
            supervisor_pid=os.getpid(),
            supervisor_started=me.started if me else "",
            log=str(folder / "postgresql.log"),
        )

    def run(self) -> None:
        """Start or adopt the server, watch it, shut it down."""
        try:
            previous = read_state(self._folder)
            if previous is not None:
                refuse_other_host(self._folder, previous)
            self._write(self._state)
            raise_limits(cluster.shared_buffers())
            self._bring_up(previous)
            if not self._stopping:
                self._watch()
            self._shut_down()
        except MiripoolError as error:
            self._fail(error)
        except OSError as error:
            _log.exception("failed")
            self._fail(translate_os_error(error, self._folder))
        except Exception as error:
            _log.exception("failed")
            self._fail(ServerUnavailable(f"the supervisor of PostgreSQL failed ({error!r}): see {self._folder}"))

    def _fail(self, error: MiripoolError) -> None:
        _log.error("%s", error)
        self._shut_down()
        with contextlib.suppress(OSError):
            self._write(dataclasses.replace(self._state.at("failed"), error_kind=error.kind, error=str(error)))

    def _bring_up(self, previous: ServerState | None) -> None:
        placement = ServerPlace.choose(self._folder)
        self._state = dataclasses.replace(self._state, data_directory=str(placement.data))
        deadline, killed = time.monotonic() + _PATIENCE, 0
        while not self._stopping:
            offset = _size(placement.log)
            if not self._adopt(placement) and not self._start(placement, previous):
                if time.monotonic() > deadline:
                    message = (
                        f"processes of an earlier PostgreSQL server still use {placement.data}, in this or another "
                        f"container of the host {self._state.host}: end them and try again"
                    )
                    raise Conflict(message)
                self._write_phase("waiting")
                self._sleep(0.1)
                continue
            if self._await_ready(placement, offset) or self._stopping:
                return
            if self._child is None:  # the adopted one was about to end
                continue
            said = _read_from(placement.log, offset)
            killed += self._child.wait() < 0  # by someone; it did not end of itself
            passing = any(word in said for word in _PASSING) or 0 < killed < _MOST_KILLS
            if not passing or time.monotonic() > deadline:
                raise cluster.explain(said, placement.data)
            self._write_phase("waiting")
            self._sleep(0.2)

    def _adopt(self, placement: ServerPlace) -> bool:
        """Take over a running postmaster that has no supervisor."""
        found = find_postmaster(placement.data)
        if found.presence is not Presence.RUNNING or found.mark is None or found.pid_file is None:
            return False
        _log.info("adopting the postmaster %d", found.mark.pid)
        self._child, self._postmaster = None, found.mark
        self._state = dataclasses.replace(self._state, socket_directory=found.pid_file.socket_directory)
        return True

    def _start(self, placement: ServerPlace, previous: ServerState | None) -> bool:
        """Start the postmaster, on a new cluster if need be; False while another one's processes are left."""
        lock = try_lock(placement.place / "cluster.lock")
        if lock is None:
            return False
        # The lock goes to the postmaster, which hands it to its children; it ends with the last of them. So it is
        # closed here, never unlocked.
        try:
            found = find_postmaster(placement.data)
            if found.presence is Presence.RUNNING:
                return False
            if found.pid_file is not None:
                if found.pid_file.socket_directory:
                    _clear_socket(Path(found.pid_file.socket_directory))
                _log.info("postmaster.pid is left over: %s", remove_stale_pid_file(placement.data).value)
            binaries = provide_binaries(placement.user)
            if not cluster.check_data(placement.data):
                self._write_phase("initializing")
                if placement.user.switched:
                    remove_orphans(OUTSIDE)
                cluster.initialize(placement, binaries, pass_fds=(lock,), stopping=lambda: self._stopping)
                self._write_phase("starting")
            if previous is not None and previous.socket_directory:
                _remove_temporary(Path(previous.socket_directory))
            sockets = provide_socket_directory(placement)
            _clear_socket(sockets)
            cluster.configure(placement, sockets)
            self._launch(placement, binaries, sockets, lock)
        finally:
            os.close(lock)
        return True

    def _launch(self, placement: ServerPlace, binaries: Path, sockets: Path, lock: int) -> None:
        # Appending: the file can be cut while the server writes.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        log = os.open(placement.log, flags, 0o600)
        try:
            self._child = subprocess.Popen(
                [str(binaries / "postgres"), "-D", str(placement.data)],
                cwd="/",
                env=cluster.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock,),
                start_new_session=True,
                **placement.user.options(),
            )
        finally:
            os.close(log)
        _log.info("started the postmaster %d", self._child.pid)
        self._postmaster = ProcessMark.of(self._child.pid)
        self._state = dataclasses.replace(self._state, socket_directory=str(sockets))

    def _await_ready(self, placement: ServerPlace, offset: int) -> bool:
        """Wait until the server answers, without a limit: recovery may take long. False if it ended."""
        self._write_phase("starting")
        pause = 0.01
        while self._alive() and not self._stopping:
            if self._state.phase == "starting" and _is_recovering(_read_from(placement.log, offset)):
                self._write_phase("recovering")
            pid_file = PidFile.read(placement.data)
            if pid_file is not None and pid_file.status == "ready" and self._answers() and self._say_ready(pid_file):
                return True
            self._sleep(pause)
            pause = min(pause * 1.5, 0.2)
        return False

    def _answers(self) -> bool:
        answer, said = probe(Path(self._state.socket_directory), "postgres")
        if answer is ProbeAnswer.REFUSED:
            raise ServerUnavailable(f"the embedded PostgreSQL server refuses its own user: {said}")
        return answer is ProbeAnswer.READY

    def _say_ready(self, pid_file: PidFile) -> bool:
        import psycopg2

        try:
            version = ensure_database(Path(self._state.socket_directory))
        except psycopg2.OperationalError as error:
            meant = cluster.explain(str(error), Path(self._state.data_directory))
            if isinstance(meant, DiskFull):
                raise meant from error
            return False  # an adopted server may have all its connections taken
        self._state = dataclasses.replace(
            self._state,
            version=f"{version // 10000}.{version % 10000}",
            postmaster_pid=pid_file.pid,
            postmaster_started=float(pid_file.started),
        )
        if version // 10000 != MAJOR:
            _log.warning("adopted a server of version %s", self._state.version)
        self._write_phase("ready")
        _log.info("ready")
        return True

    def _watch(self) -> None:
        """Look after the server until it is to be shut down, or is gone."""
        interval = min(30.0, self._idle_seconds / 4)
        looked = active = logged = time.monotonic()
        used, sessions = self._used(), -1
        while self._alive() and not self._stopping and self._home_is_there():
            self._sleep(min(1.0, interval))
            now = time.monotonic()
            if now - logged > 60:
                logged = now
                _limit_size(Path(self._state.log))
            if now - looked < interval:
                continue
            looked = now
            seen = count_clients(Path(self._state.socket_directory))
            if seen is None or seen.clients or seen.sessions != sessions or self._used() != used:
                used, active = self._used(), now
                sessions = seen.sessions if seen is not None else sessions
            elif now - active >= self._idle_seconds and self._give_notice(used):
                return
        if not self._alive():
            _log.warning("the postmaster is gone")

    def _give_notice(self, used: int) -> bool:
        """Announce the shutdown of an idle server; take it back if a client came at this moment.

        A client touches `used` and then reads the state; here it is the other way round: one of the two sees the other.
        """
        self._write_phase("stopping")
        if self._used() != used:
            self._write_phase("ready")
            return False
        _log.info("idle")
        return True

    def _used(self) -> int:
        try:
            return (self._folder / "used").stat().st_mtime_ns
        except OSError:
            return 0

    def _home_is_there(self) -> bool:
        """Tell whether clients can still find the server: its home may have been moved, its socket cleared away."""
        try:
            moved = self._folder.stat().st_ino != self._inode
        except (FileNotFoundError, NotADirectoryError):
            moved = True
        socket = Path(self._state.socket_directory) / f".s.PGSQL.{PORT}"
        if moved or not Path(self._state.data_directory).exists() or not socket.exists():
            _log.warning("the home or the socket was moved or removed")
            return False
        return True

    def _shut_down(self) -> None:
        """Shut the server down: fast, and at once only if that does not come to an end."""
        if self._alive() and self._postmaster is not None:
            with contextlib.suppress(OSError):
                self._write_phase("stopping")
            self._postmaster.send(signal.SIGINT)
            there = Path(self._state.data_directory).exists()
            deadline = time.monotonic() + (_SHUTDOWN_PATIENCE if there else 2.0)
            while self._alive():
                if time.monotonic() > deadline:
                    self._postmaster.send(signal.SIGQUIT)
                self._sleep(0.05)
            _log.info("the server is shut down")
        if self._state.socket_directory:
            _remove_temporary(Path(self._state.socket_directory))
        if self._child is not None:
            self._child.wait()
        self._child = self._postmaster = None
        remove_state(self._folder)

    def _alive(self) -> bool:
        if self._child is not None:
            return self._child.poll() is None
        return self._postmaster is not None and self._postmaster.alive

    def _note_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _sleep(self, seconds: float) -> None:
        """Wait, or until a signal: a child that ended, a wish to stop."""
        ready, _, _ = select.select([self._wakeup], [], [], seconds)
        if ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wakeup, 4096)

    def _write_phase(self, phase: Phase) -> None:
        if self._state.phase != phase:
            self._write(self._state.at(phase))

    def _write(self, state: ServerState) -> None:
        self._state = state
        if self._folder.exists():
            write_state(self._folder, state)


def _is_recovering(said: str) -> bool:
    return "automatic recovery in progress" in said or "database system was interrupted" in said


def _read_from(path: Path, offset: int) -> str:
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            return stream.read(256 * 1024).decode(errors="replace")
    except OSError:
        return ""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _limit_size(path: Path) -> None:
    """Keep one earlier part of the log; the server goes on writing to the same file."""
    with contextlib.suppress(OSError):
        if path.stat().st_size > _LOG_SIZE:
            shutil.copyfile(path, path.with_suffix(".log.1"))
            os.truncate(path, 0)


def _clear_socket(folder: Path) -> None:
    """Remove the socket of a dead server, and its lock file: it holds a pid, which may be a zombie's or in use again.

    Raises
    ------
    Conflict
        The server is not dead.
    """
    if socket_answers(folder):
        message = (
            f"another PostgreSQL server, whose processes can't be seen from here, uses the socket in {folder} (does it "
            f"run in another container, or for a home that was here before?): stop it and try again"
        )
        raise Conflict(message)
    for name in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            (folder / name).unlink()


def _remove_temporary(folder: Path) -> None:
    """Remove a socket folder that was made for one run."""
    if folder.name.startswith("miripool-") and folder.parent.stat().st_mode & 0o1000:
        with contextlib.suppress(OSError):
            if folder.lstat().st_uid == os.geteuid():
                shutil.rmtree(folder)


def _pipe() -> tuple[int, int]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    return reading, writing
