"""A server of pages as users start it, asked by HTTP; and the real browser, if the machine has one."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import urllib.parse
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from homes import empty_home

from miripool import Home
from miripool.monitors import Event
from miripool.simulate import simulate_lives

_START = datetime(2026, 2, 1, tzinfo=UTC)
_ANNEAL = _START + timedelta(days=10, hours=12)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_ARGUMENTS = [
    *("--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run"),
]


@dataclass(slots=True)
class Answer:
    """What the server said."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The sentence of an error."""
        message: str = self.json["error"]["message"]
        return message


@dataclass(slots=True)
class Served:
    """A running server."""

    url: str
    process: subprocess.Popen[str]
    words: Path
    _write_token: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return urllib.parse.urlsplit(self.url).port or 0

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def token(self) -> str:
        return urllib.parse.parse_qs(urllib.parse.urlsplit(self.url).query)["token"][0]

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        token: bool = True,
        **parameters: Any,
    ) -> Answer:
        """Send one request; `path` goes as it is."""
        query = urllib.parse.urlencode(parameters)
        sent = {**({"Authorization": f"Bearer {self.token}"} if token else {}), **(headers or {})}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, f"/{path}" + (f"?{query}" if query else ""), body, sent)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())

    def get(self, path: str, **parameters: Any) -> Any:
        """Ask for JSON that must be there."""
        answer = self.ask(path, **parameters)
        assert answer.status == 200, answer.body
        return answer.json

    def post(self, path: str, content: Any) -> Answer:
        """Send JSON."""
        headers = {"Content-Type": "application/json"}
        return self.ask(path, method="POST", headers=headers, body=json.dumps(content).encode())

    def log(self) -> str:
        """What the server wrote to stderr."""
        return self.words.read_text()


def run_async(make: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine in a thread: in that of the tests, Playwright keeps a loop running."""
    with ThreadPoolExecutor(1) as threads:
        threads.submit(lambda: asyncio.run(make())).result()


@contextlib.contextmanager
def serving(folder: Path, *arguments: str, home: Path | None = None) -> Iterator[Served]:
    """Start `miripool browse` or `serve`, and end it as Ctrl-C does."""
    words = folder / f"server-{len(list(folder.glob('server-*')))}.log"
    options = ["--home", str(home)] if home is not None else []
    command = [sys.executable, "-m", "miripool", *options, *arguments]
    with words.open("w") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ}
        )
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), words.read_text()
        yield Served(url, process, words)
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium without a screen."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine; Debian's package is chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as made:
        opened = made.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def shown_home(simulated: Path, database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home with the pools ``jpl8``, an exposure in two calibrations and darks with a monitor, and ``other one``."""
    folder = tmp_path_factory.mktemp("shown")
    with empty_home(folder / "home", database_url, "shown") as home:
        with home.create("jpl8") as pool:
            pool.ingest([simulated / "uncal", simulated / "v1"], tag="using cal v1")
            pool.ingest(simulated / "v2", tag="using cal v2")
            options = {"nints": 3, "hours": 24, "start": _START, "amplitude": (10, 25), "anneals": (_ANNEAL,)}
            darks = simulate_lives(20, name="dark_{number:02d}", lives={"hot": 100}, **options)
            pool.ingest(darks.write_rateints(folder), pixels=True)
            monitor = pool.create_monitor("darks", where="name like 'dark*'")
            monitor.update()
            monitor.add_events(Event(_ANNEAL, "anneal"))
        home.create("other one").close()
        yield home


@pytest.fixture(scope="session")
def shown(shown_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Its pages, which may write; tests undo what they change."""
    with serving(tmp_path_factory.mktemp("server"), "browse", "jpl8", "--no-open", home=shown_home.path) as served:
        yield served
