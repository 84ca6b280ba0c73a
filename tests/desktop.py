"""A desktop that nobody sees: a screen, a hub of SAMP, DS9 and TOPCAT, all apart from those of the user."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from miripool.errors import MiripoolError
from miripool.samp import Client, Connection, clients, connect
from miripool.samp.hub import PROCESS
from miripool.samp.lockfile import lock_path, running_hub


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Give the first true value; fail if there is none for long."""
    until = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.05)
    return value


def hub_process() -> int | None:
    """Give the process of our own hub, if it has the lock file."""
    with contextlib.suppress(OSError):
        for line in lock_path().read_text().splitlines():
            if line.startswith(f"{PROCESS}="):
                return int(line.partition("=")[2])
    return None


@contextlib.contextmanager
def lonely_hub() -> Iterator[Path]:
    """Set a home without a hub; a hub that is started there ends with the test. Gives the home's folder."""
    # Sockets have short names, and programs are asked to read files there: not pytest's own long folders.
    folder = Path(tempfile.mkdtemp(prefix="desk-", dir="/tmp"))
    changes = {
        "HOME": str(folder),
        "SAMP_HUB": f"std-lockurl:file://{folder}/samp",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "XPA_METHOD": "local",
        "XPA_TMPDIR": str(folder / "xpa"),
    }
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in changes.items():
                patch.setenv(name, value)
            yield folder
            process = hub_process()
            if process is not None:
                end(process)
    finally:
        for one in psutil.process_iter(["cmdline"]):  # XPA's name server stays when DS9 has ended
            if any(str(folder) in word for word in one.info["cmdline"] or ()):
                end(one.pid)
        shutil.rmtree(folder, ignore_errors=True)


def end(process: int, number: int = signal.SIGTERM) -> None:
    """End a process, and wait until it is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        ending = psutil.Process(process)
        ending.send_signal(number)
        try:
            ending.wait(20)
        except psutil.TimeoutExpired:
            ending.kill()


@contextlib.contextmanager
def strange_server(answer: Callable[[socket.socket], object]) -> Iterator[str]:
    """Serve something that is no hub: `answer` writes to each connection until its reader leaves. Gives the URL."""
    ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            answer(connection)

    def accept(listener: socket.socket) -> None:
        while not ended.is_set():
            with contextlib.suppress(OSError):
                threading.Thread(target=serve, args=[listener.accept()[0]], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        accepting = threading.Thread(target=accept, args=[listener], daemon=True)
        accepting.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            ended.set()
            accepting.join()


def drip(connection: socket.socket) -> None:
    """Write an answer that never ends, a byte at a time."""
    connection.sendall(
        b'HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 100000\r\n\r\n<?xml version="1.0"?>'
    )
    while True:
        connection.sendall(b" ")
        time.sleep(0.1)


@contextlib.contextmanager
def screen() -> Iterator[str]:
    """Start a screen with a free number; gives its DISPLAY."""
    if shutil.which("Xvfb") is None:
        pytest.skip("no Xvfb here: programs need a screen that nobody sees")
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x1024x24", "-nolisten", "tcp"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, pass_fds=[writing], stdout=quiet, stderr=quiet, start_new_session=True) as server:
        os.close(writing)
        with os.fdopen(reading) as told:
            number = told.readline().strip()
        assert number, "Xvfb did not start"
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("DISPLAY", f":{number}")
                yield f":{number}"
        finally:
            server.terminate()


COMMANDS = {
    "ds9": ["ds9"],
    "topcat": ["topcat", "-J-Duser.home={home}", "-J-Djava.util.prefs.userRoot={home}", "-nohub", "-samp"],
}


@contextlib.contextmanager
def running(
    program: str, *, own_hub: bool = False, listed_when_dead: bool = False
) -> Iterator[tuple[subprocess.Popen[bytes], Client]]:
    """Start a program on the desktop, and wait until it listens."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    before = set() if own_hub else {client.id for client in clients()}
    command = [word.format(home=os.environ["HOME"]) for word in COMMANDS[program] if not (own_hub and word == "-nohub")]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True) as process:
        try:
            wait_for(lambda: not own_hub or running_hub())
            with connect("tests") as connection:
                found = wait_for(lambda: newcomer(connection, before, program))
            yield process, found
        finally:
            with contextlib.suppress(ProcessLookupError):  # also those that the program's script has started
                os.killpg(process.pid, signal.SIGKILL)
            wait_for(
                lambda: own_hub or listed_when_dead or not any(program in client.name.lower() for client in clients())
            )


def newcomer(connection: Connection, before: set[str], name: str) -> Client | None:
    """Give the program that came last, as soon as it has said what it takes."""
    with contextlib.suppress(MiripoolError):
        for client in connection.clients():
            if client.id not in before and name in client.name.lower() and client.takes_tables:
                return client
    return None


class Receiver:
    """A program that takes images and tables, and answers as it is asked to."""

    def __init__(self, name: str, mtypes: Sequence[str] = ("image.load.fits", "table.load.votable")) -> None:
        from pyvo.samp import SAMPIntegratedClient

        self.got: list[tuple[str, dict[str, Any]]] = []
        self.answer: dict[str, Any] | None = {"samp.status": "samp.ok", "samp.result": {}}
        self.client = SAMPIntegratedClient(name=name, addr="127.0.0.1")
        running = running_hub()
        assert running is not None
        self.client.connect(hub_params=running.parameters)
        for mtype in mtypes:
            self.client.bind_receive_call(mtype, self.take)

    def take(self, _key: str, _sender: str, number: str, mtype: str, values: dict[str, Any], _more: Any) -> None:
        self.got.append((mtype, values))
        if self.answer is not None:
            self.client.reply(number, self.answer)
