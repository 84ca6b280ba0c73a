"""All pools of a home by WebDAV, for reading: folders of FITS files for rclone, file managers and programs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from wsgidav import util
from wsgidav.dav_error import DAVError
from wsgidav.dav_provider import DAVCollection, DAVNonCollection, DAVProvider
from wsgidav.request_resolver import RequestResolver
from wsgidav.wsgidav_app import WsgiDAVApp

from ..errors import ReadOnly
from .davanswers import KEEPING, METHODS, NODE, content_type, page, refusal, text_of
from .hometree import HomeTree
from .propfind import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from wsgiref.types import StartResponse, WSGIEnvironment

    from ..session.home import Home
    from .tree import FileNode, OpenedFile

    _Start = Callable[..., None]

__all__ = ["DavApp", "dav_app"]

_PIECE = 1 << 20
"""Bytes of a file that are sent at a time: as many as a virtual file gives."""
_AT_ONCE = 16 << 20
"""Bytes that are read before the answer begins; longer answers are sent while they are read."""
_FIRST, _GROWTH = 1 << 18, 4
"""Bytes of a file that are read first, and how many times as many each time after that."""
_RANGE = re.compile(r"bytes=(?P<first>\d{0,18})-(?P<last>\d{0,18})", re.ASCII)
_FILE = "miripool.file"
"""Where a request keeps the file that it reads."""
_MOST_BODY = 1 << 16
"""Bytes of a question for what a folder holds, which is answered for each of its files. Programs send less than 1 kB.
"""
_ONE_FOLDER = "ask for one folder at a time: send the header Depth: 1, or Depth: 0 for what is known of it alone"


def dav_app(home: Home) -> DavApp:
    """Make a WSGI application that gives a home's pools by WebDAV, read-only.

    Parameters
    ----------
    home : Home
        The pools' home.

    Returns
    -------
    DavApp
        A WSGI application. It lets everybody in; the server around it guards it.
    """
    return DavApp(HomeTree(home))


class DavApp:
    """A WSGI application that gives a tree of files by WebDAV, read-only.

    wsgidav answers requests for files, with ranges and conditions. Lists of folders, errors and refusals are written
    here.

    Parameters
    ----------
    tree : HomeTree
        The files.
    """

    def __init__(self, tree: HomeTree) -> None:
        self._tree = tree
        self._dav = WsgiDAVApp(
            {
                "provider_mapping": {"/": _Provider()},
                "middleware_stack": [RequestResolver],
                "http_authenticator": {"accept_basic": False, "accept_digest": False},
                "lock_storage": False,
                "property_manager": False,
                "logging": {"enable": False},  # it would add handlers that write to stdout
                "verbose": 1,
                "block_size": _PIECE,
            }
        )

    def close(self) -> None:
        """Close the pools."""
        self._tree.close()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        """Answer a request, as WSGI has it."""
        started: list[Any] = []

        def keep(status: str, headers: list[tuple[str, str]], _error: object = None) -> None:
            started[:] = [status, headers]

        try:
            answer = self._answer(environ, keep)
            # What goes wrong before the first piece is there becomes a status with a sentence.
            first = next(answer, b"")
        except Exception as error:
            status, headers, first = refusal(environ, error)
            answer, started = iter(()), [status, headers]
        start_response(*started)
        return _rest(first, answer)

    def _answer(self, environ: WSGIEnvironment, start: _Start) -> Iterator[bytes]:
        method = environ["REQUEST_METHOD"]
        if method not in METHODS:
            raise ReadOnly(f"{method} is refused: by WebDAV, pools are only read; add files with `miripool add`")
        base, path = (text_of(environ, key) for key in ("SCRIPT_NAME", "PATH_INFO"))
        node = environ[NODE] = self._tree.find(path)
        if method == "PROPFIND":
            return self._list(environ, start, base, path, node)
        if method != "OPTIONS":
            if node.is_folder:
                return self._page(method, start, base, path)
            if method == "GET":
                node, environ[_FILE] = self._tree.open(path)
                environ[NODE] = node
            _simplify(environ, node)
        return iter(self._dav(environ, start))

    def _list(self, environ: WSGIEnvironment, start: _Start, base: str, path: str, node: FileNode) -> Iterator[bytes]:
        depth = environ.get("HTTP_DEPTH", "infinity").lower()
        if depth == "infinity":
            raise DAVError(403, _ONE_FOLDER)
        if depth not in ("0", "1"):
            raise DAVError(400, _ONE_FOLDER)
        if util.get_content_length(environ) > _MOST_BODY:
            raise DAVError(413, f"the body of a PROPFIND has {_MOST_BODY} bytes at most; ask for fewer properties")
        request = util.parse_xml_body(environ, allow_empty=True)
        if request is not None and request.tag != "{DAV:}propfind":
            raise DAVError(400, "the body of a PROPFIND is an element propfind of the namespace DAV:")
        inside = self._tree.entries(path) if depth == "1" and node.is_folder else ()
        # Not by wsgidav, which closes the connection after an answer of unknown length.
        start("207 Multi-Status", [("Content-Type", "application/xml; charset=utf-8")])
        return describe(base, path, itertools.chain([node], inside), request)

    def _page(self, method: str, start: _Start, base: str, path: str) -> Iterator[bytes]:
        start("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-store")])
        return iter(()) if method == "HEAD" else page(base, path, self._tree.entries(path))


def _rest(first: bytes, answer: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield first
        yield from answer
    finally:
        if isinstance(answer, Generator):
            answer.close()  # gives decoded tiles back at once, also where the reader has left


def _simplify(environ: WSGIEnvironment, node: FileNode) -> None:
    """Leave only such headers in a request for a file as wsgidav reads as RFC 9110 has them."""
    environ.pop("HTTP_DEPTH", None)
    if _seconds(environ.get("HTTP_IF_UNMODIFIED_SINCE", "")) is None:
        environ.pop("HTTP_IF_UNMODIFIED_SINCE", None)
    condition = environ.get("HTTP_IF_RANGE", '"')
    if not condition.startswith('"') and _seconds(condition) is None:
        del environ["HTTP_IF_RANGE"]
        environ.pop("HTTP_RANGE", None)
    since = _seconds(environ.pop("HTTP_IF_MODIFIED_SINCE", ""))
    if since is not None and "HTTP_IF_NONE_MATCH" not in environ and node.modified.timestamp() < since + 1:
        raise DAVError(304)
    found = _RANGE.fullmatch(environ.pop("HTTP_RANGE", ""))
    if found is None:  # several ranges, or another unit: the whole file is an answer
        return
    first, last = found["first"], found["last"]
    if first and (not last or int(first) <= int(last)):
        environ["HTTP_RANGE"] = f"bytes={first}-{last}"
    elif last and not first:
        environ["HTTP_RANGE"] = f"bytes={max(0, node.size - int(last))}-"


def _seconds(date: str) -> int | None:
    """Read a date, as seconds since 1970; None for what is none, and where wsgidav fails: for the year 99999."""
    try:
        seconds: int | None = util.parse_time_string(date)
    except ValueError:
        return None
    return seconds


class _Provider(DAVProvider):  # type: ignore[misc]  # wsgidav has no types
    """Gives wsgidav what was found."""

    def is_readonly(self) -> bool:
        return True

    def get_resource_inst(self, path: str, environ: WSGIEnvironment) -> _Folder | _File:
        node: FileNode = environ[NODE]
        return _Folder(path, environ) if node.is_folder else _File(path, environ)


class _Folder(DAVCollection):  # type: ignore[misc]  # wsgidav has no types
    """A folder, of which wsgidav only wants to know that it is one."""

    def get_member_names(self) -> list[str]:
        return []


class _File(DAVNonCollection):  # type: ignore[misc]  # wsgidav has no types
    """A file."""

    def __init__(self, path: str, environ: WSGIEnvironment) -> None:
        super().__init__(path, environ)
        self._node: FileNode = environ[NODE]
        self._length = 0

    def get_content_length(self) -> int:
        return self._node.size

    def get_content_type(self) -> str:
        return content_type(self._node.name)

    def get_last_modified(self) -> float:
        return self._node.modified.timestamp()

    def get_etag(self) -> str:
        return self._node.etag

    def support_etag(self) -> bool:
        return True

    def support_ranges(self) -> bool:
        return True

    def finalize_headers(self, environ: WSGIEnvironment, response_headers: list[tuple[str, str]]) -> None:  # noqa: ARG002
        self._length = int(dict(response_headers)["Content-Length"])
        response_headers.append(KEEPING)

    def get_content(self) -> _Content:
        return _Content(self.environ[_FILE], self._length)


def _read_on(file: OpenedFile, start: int, stop: int) -> Iterator[bytes]:
    """Read ever more at a time: mounted by rclone, a reader of some pixels asks for all that follows, and leaves.

    It has its first bytes after 18 ms, instead of 45 ms where the file decodes for all of them; copies are as fast.
    """
    length = _FIRST
    while start < stop:
        end = min(start + length, stop)
        yield from file.pieces(start, end)
        start, length = end, length * _GROWTH


class _Content:
    """Some bytes of a file in a row, as wsgidav reads them."""

    def __init__(self, file: OpenedFile, length: int) -> None:
        self._file = file
        self._start, self._length = 0, length
        self._pieces: Iterator[bytes] | None = None
        self._left = b""

    def seek(self, start: int) -> None:
        """Say where they begin; once, before they are read."""
        self._start = start

    def read(self, size: int) -> bytes:
        """Give the next ones, some or all of as many as that."""
        if self._pieces is None:
            self._pieces = _read_on(self._file, self._start, self._start + self._length)
            if self._length <= _AT_ONCE:
                # Damage is then a status with a sentence, not an answer that breaks off.
                self._pieces = iter(list(self._pieces))
        piece = self._left or next(self._pieces, b"")
        self._left = piece[size:]
        return piece[:size]

    def close(self) -> None:
        """Read no more."""
        if isinstance(self._pieces, Generator):
            self._pieces.close()
