"""Peers: other software that does the same job, each in a virtual environment of its own, asked by lines of JSON.

A peer's program (in ``peers/``) runs in the environment's Python until its input ends. Each line that it reads is a
question, each that it writes an answer with the seconds that the work took, so that ours and theirs can take turns.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import tempfile
import time
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = Path(__file__).with_name("peers")
INSTALL_SECONDS = 900
ANSWER_SECONDS = 600


@dataclass(frozen=True)
class Package:
    """What to install: the package that is looked at first, and what it needs and does not say."""

    name: str
    beside: tuple[str, ...] = ()


FDI = Package("fdi", ("numpy", "astropy"))
BUTLER = Package("lsst-daf-butler", ("psycopg2-binary",))
VERSIONED_HDF5 = Package("versioned-hdf5", ("hdf5plugin",))


class Peers:
    """Makes the environments, each once, in a folder that may be kept for the next run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._refused: dict[str, str] = {}

    def python(self, package: Package) -> Path:
        """Give the Python that has a package; skip the test where it can't be installed."""
        if package.name in self._refused:
            pytest.skip(self._refused[package.name])
        folder = self._folder / package.name
        python = folder / "bin" / "python"
        done = folder / "installed"
        if not done.exists():
            wanted = [package.name, *package.beside]
            try:
                venv.create(folder, with_pip=True, clear=True)
                command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
                subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
            except (OSError, subprocess.SubprocessError) as error:
                told = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
                self._refused[package.name] = f"{package.name} can't be installed: {told[-1] if told else error}"
                pytest.skip(self._refused[package.name])
            done.touch()
        return python

    def start(self, package: Package, program: str, *arguments: str | Path) -> Peer:
        """Run a peer's program."""
        return Peer([str(self.python(package)), str(PROGRAMS / program), *map(str, arguments)], package.name)


class Peer:
    """A running program of a peer; with its first answer it says its version."""

    def __init__(self, command: Sequence[str], name: str) -> None:
        # Some write settings to the user's home.
        self._home = tempfile.TemporaryDirectory()
        kept = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "HOME": self._home.name}
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the program
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=self._home.name,
            env=kept,
            start_new_session=True,
        )
        self._rest = b""
        try:
            self.name = f"{name} {self._answer()['version']}"
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._process, self._errors, self._home:
            try:
                self._process.stdin.close()
                self._process.wait(5)
            except (OSError, subprocess.TimeoutExpired):
                os.killpg(self._process.pid, signal.SIGKILL)

    def ask(self, question: str, **values: Any) -> Mapping[str, Any]:
        """Have something done; give the answer, with ``seconds``."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"question": question, **values}).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            self._fail("has ended")
        return self._answer()

    def seconds(self, question: str, **values: Any) -> float:
        """Have something done, and give the time that it took."""
        return float(self.ask(question, **values)["seconds"])

    def _answer(self) -> Mapping[str, Any]:
        assert self._process.stdout is not None
        deadline = time.monotonic() + ANSWER_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    self._fail(f"gave no answer for {ANSWER_SECONDS} s")
                read = os.read(self._process.stdout.fileno(), 1 << 16)
                if not read:
                    self._fail("has ended")
                self._rest += read
        line, _, self._rest = self._rest.partition(b"\n")
        found: Mapping[str, Any] = json.loads(line)
        return found

    def _fail(self, how: str) -> None:
        self._errors.seek(0)
        told = self._errors.read().decode(errors="replace")[-2000:]
        pytest.fail(f"the peer's program {self._process.args!r} {how}:\n{told}")


def folder_bytes(folder: Path) -> int:
    """Add up the files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
