"""What answers by WebDAV have in common: addresses, types, a folder as a page, and errors as status and sentence."""

from __future__ import annotations

import html
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote

from wsgidav.dav_error import DAVError

from ..errors import InvalidInput, MiripoolError, NotFound, ReadOnly, ServerUnavailable
from ..model.names import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from wsgiref.types import WSGIEnvironment

    from .tree import FileNode

__all__ = ["KEEPING", "METHODS", "NODE", "content_type", "href", "page", "refusal", "text_of"]

_log = logging.getLogger(__name__)

METHODS = ("OPTIONS", "GET", "HEAD", "PROPFIND")
"""Requests that are answered."""
NODE = "miripool.node"
"""Where a request keeps the file or folder that its path leads to."""
KEEPING = ("Cache-Control", "private, no-cache")
"""Header of a file. Its reader may keep it, and asks each time: another home may have another file at this address."""
_TYPES = {"fits": "application/fits", "csv": "text/csv; charset=utf-8", "txt": "text/plain; charset=utf-8"}
_SAFE = "/!$'()*,"
"""What a path may hold as it is: GNOME's Files does not find folders whose parentheses are quoted."""
_STATUS: tuple[tuple[type[MiripoolError], int], ...] = (
    (NotFound, 404),
    (ReadOnly, 405),
    (InvalidInput, 400),
    (ServerUnavailable, 503),
)


def text_of(environ: WSGIEnvironment, key: str) -> str:
    """Read a text that WSGI hands over as Latin-1.

    Parameters
    ----------
    environ : dict
        The request.
    key : str
        ``PATH_INFO`` or ``SCRIPT_NAME``.

    Returns
    -------
    str
        The path, unquoted.
    """
    text: str = environ.get(key, "")
    return text.encode("latin-1").decode("utf-8", "replace")


def content_type(name: str) -> str:
    """Give the media type of a file.

    Parameters
    ----------
    name : str
        Its name.

    Returns
    -------
    str
        For the header Content-Type.
    """
    return _TYPES.get(name.rpartition(".")[2], "application/octet-stream")


def href(base: str, path: str, *, is_folder: bool) -> str:
    """Give the address of a file or folder on its server.

    Parameters
    ----------
    base : str
        Path of the top folder on the server.
    path : str
        Path from there; begins with a slash.
    is_folder : bool, keyword-only
        Folders get a slash at the end.

    Returns
    -------
    str
        Quoted.
    """
    return quote(base + path.rstrip("/"), safe=_SAFE) + ("/" if is_folder else "")


def page(base: str, path: str, nodes: Iterable[FileNode]) -> Iterator[bytes]:
    """Show a folder to a browser.

    Parameters
    ----------
    base, path : str
        As for `href`.
    nodes : iterable of FileNode
        What the folder holds.

    Yields
    ------
    bytes
        Lines of HTML; names are escaped, for they may hold anything.
    """
    title = html.escape(path)
    above = "" if path == "/" else f'<p><a href="{_link(base, path.rstrip("/").rpartition("/")[0], True)}">up</a></p>\n'
    yield f'<!doctype html><meta charset="utf-8"><title>{title}</title>\n<h1>{title}</h1>\n{above}<table>\n'.encode()
    yield b'<tr><th align="left">name<th align="right">bytes<th align="left">changed (UTC)\n'
    for node in nodes:
        address = _link(base, f"{path.rstrip('/')}/{node.name}", node.is_folder)
        name = html.escape(node.name) + ("/" if node.is_folder else "")
        size = "" if node.is_folder else node.size
        line = f'<tr><td><a href="{address}">{name}</a><td align="right">{size}<td>{node.modified:%Y-%m-%d %H:%M:%S}\n'
        yield line.encode("utf-8", "replace")
    yield b"</table>\n"


def _link(base: str, path: str, is_folder: bool) -> str:
    return html.escape(href(base, path, is_folder=is_folder))


def refusal(environ: WSGIEnvironment, error: Exception) -> tuple[str, list[tuple[str, str]], bytes]:
    """Answer an error.

    Parameters
    ----------
    environ : dict
        The request.
    error : Exception
        What was raised before the answer had begun.

    Returns
    -------
    status : str
        With its words.
    headers : list of tuple of str
        Names and values.
    body : bytes
        A sentence.
    """
    path = text_of(environ, "PATH_INFO")
    if isinstance(error, DAVError) and error.value == 304:
        return "304 Not Modified", [("ETag", f'"{environ[NODE].etag}"'), KEEPING], b""
    if isinstance(error, DAVError):
        status = error.value
        sentence = str(error.context_info or HTTPStatus(status).phrase)
    elif isinstance(error, MiripoolError):
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
        sentence = str(error)
        if status == 500:
            _log.error("%s can't be read: %s", shown(path), error)
    else:
        status = 500
        sentence = f"miripool has a fault here ({type(error).__name__}); the server's log says more"
        _log.error("a request for %s failed", shown(path), exc_info=error)
    body = f"{sentence}\n".encode("utf-8", "backslashreplace")
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    if environ["REQUEST_METHOD"] == "MKCOL":
        status = 403  # 405 would mean that there is a folder of that name already
    if status == 405:
        headers.append(("Allow", ", ".join(METHODS)))
    if isinstance(error, DAVError):
        headers += error.add_headers or []
    return f"{status} {HTTPStatus(status).phrase}", headers, body
