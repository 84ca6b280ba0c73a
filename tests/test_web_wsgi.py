"""A WSGI application below a path of the server: long answers in pieces, readers who leave, and the server's end."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from miripool.web import readers
from miripool.web.wsgi import Below

PIECE = bytes(1 << 20)
PIECES = 600


class Long:
    """Answers of 600 MB: how much of them was made, and which were closed."""

    def __init__(self) -> None:
        self.made = 0
        self.closed = 0
        self.asked: list[dict[str, Any]] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        self.asked.append({**environ, "body": environ["wsgi.input"].read()})
        start_response("200 OK", [("Content-Length", str(PIECES * len(PIECE)))])
        return self._pieces()

    def _pieces(self) -> Iterator[bytes]:
        try:
            for _ in range(PIECES):
                self.made += 1
                yield PIECE
        finally:
            self.closed += 1


async def other(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"other"})


def running(long: Long) -> contextlib.AbstractContextManager[int]:
    """Serve it."""
    return listening(Below(other, "/dav", long, prefix="/a"))


@contextlib.contextmanager
def listening(app: ASGIApp) -> Iterator[int]:
    """Serve an application in a thread, and end as Ctrl-C does."""
    listener = socket.create_server(("127.0.0.1", 0))
    options: dict[str, Any] = {"log_config": None, "lifespan": "off", "ws": "none", "timeout_graceful_shutdown": 1}
    server = uvicorn.Server(uvicorn.Config(app, **options))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@contextlib.contextmanager
def asking(port: int, method: str, path: str, body: bytes = b"") -> Iterator[http.client.HTTPResponse]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as line:
        line.request(method, path, body)
        yield line.getresponse()


def test_a_long_answer_is_not_held_in_memory() -> None:
    long = Long()
    with running(long) as port, asking(port, "GET", "/dav/jpl8/a%20b.fits?x=1") as answer:
        got = len(answer.read(1))
        most = 0
        while piece := answer.read1(1 << 20):
            got += len(piece)
            most = max(most, long.made - got // len(PIECE))
        assert got == PIECES * len(PIECE)
        assert most < 40
        (asked,) = long.asked
    assert (asked["SCRIPT_NAME"], asked["PATH_INFO"], asked["QUERY_STRING"]) == ("/a/dav", "/jpl8/a b.fits", "x=1")
    assert long.closed == 1


def test_a_reader_who_leaves_stops_the_reading() -> None:
    long = Long()
    with running(long) as port:
        for _ in range(20):  # more than there are threads
            with asking(port, "GET", "/dav/x") as answer:
                assert len(answer.read(1000)) == 1000
        until(lambda: long.closed == 20)
        assert long.made < 20 * 60


def test_readers_who_read_nothing_do_not_keep_others_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system keeps files open of which nobody reads more."""
    monkeypatch.setattr(readers, "_PATIENCE", 0.5)
    long = Long()
    with running(long) as port, contextlib.ExitStack() as stack:
        for _ in range(20):  # more than there are threads
            answer = stack.enter_context(asking(port, "GET", "/dav/x"))
            assert len(answer.read(1000)) == 1000
            with asking(port, "PROPFIND", "/dav/") as listed:
                assert len(listed.read(1000)) == 1000
        until(lambda: long.closed == 40)
        with pytest.raises(http.client.IncompleteRead):
            answer.read()


def test_what_is_asked_and_what_is_not_below() -> None:
    long = Long()
    with running(long) as port:
        for path in ("/davy", "/", "/x/dav"):
            with asking(port, "GET", path) as answer:
                assert answer.read() == b"other"
        for path in ("/dav", "/dav/"):
            with asking(port, "HEAD", path) as answer:
                assert answer.headers["content-length"] == str(PIECES * len(PIECE))
        with asking(port, "PROPFIND", "/dav", b"<propfind/>" * 10_000) as answer:
            answer.read(1)
    assert [asked["PATH_INFO"] for asked in long.asked] == ["", "/", ""]
    assert len(long.asked[2]["body"]) == 110_000


SERVER = """
import asyncio, logging, socket, sys, uvicorn
sys.path.insert(0, sys.argv[1])
from test_web_wsgi import Long, other
from miripool.web.wsgi import Below
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
app = Below(other, "/dav", Long())
config = uvicorn.Config(app, log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=1)
asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))
"""


@pytest.mark.slow
def test_the_server_ends_while_readers_wait() -> None:
    """Its threads, which wait for readers who have stopped reading, don't keep the process alive."""
    command = [sys.executable, "-c", SERVER, str(Path(__file__).parent)]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        assert server.stdout is not None
        port = int(server.stdout.readline())
        for _ in range(16):  # as many as there are threads
            answer = stack.enter_context(asking(port, "GET", "/dav/x"))
            assert len(answer.read(1000)) == 1000
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == -signal.SIGTERM
