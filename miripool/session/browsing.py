"""Browsing: the page of a pool, served by a process that ends with this one."""

from __future__ import annotations

import contextlib
import html
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

from ..errors import ServerUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Browsing", "start_browsing"]

_WAIT = 10
"""Seconds that the server gets to end."""


class Browsing:
    """A page that is being served. `Pool.browse` gives one; it is a context manager.

    Parameters
    ----------
    url : str
        Address of the page, with its token.
    process : subprocess.Popen
        The server; it ends when its stdin is closed.
    """

    def __init__(self, url: str, process: subprocess.Popen[str]) -> None:
        self.url = url
        self._process = process

    def __repr__(self) -> str:
        return f"<Browsing at {self.url}>"

    def _repr_html_(self) -> str:
        link = html.escape(self.url)
        return f'<a href="{link}" target="_blank" rel="noopener">{link.partition("?")[0]}</a>'

    def __enter__(self) -> Browsing:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the server. A second call does nothing."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(_WAIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def start_browsing(
    home: str, pool: str, *, port: int = 0, open_browser: bool = True, hosts: Iterable[str] = ()
) -> Browsing:
    """Serve the page of a pool.

    Parameters
    ----------
    home, pool : str
        Folder of the home, and name of the pool.
    port, open_browser, hosts : object, keyword-only
        As for `Pool.browse`.

    Returns
    -------
    Browsing
        Once the server answers.

    Raises
    ------
    ServerUnavailable
        If it ends before that; the message says why.
    """
    command = [sys.executable, "-m", "miripool", "--home", home, "browse", pool, "--port", str(port), "--until-eof"]
    command += [] if open_browser else ["--no-open"]
    for host in hosts:
        command += ["--allow-host", host]
    pipe = subprocess.PIPE
    # A file, not a pipe, for what the server says: nobody would empty the pipe.
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as words:
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=words, text=True, start_new_session=True)
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        url = process.stdout.readline().strip()
        if not url:
            process.communicate()
            words.seek(0)
            why = words.read().strip().removeprefix("miripool: ")
            raise ServerUnavailable(f"the page of pool {pool} can't be served: {why}")
    return Browsing(url, process)
