"""Answers to PROPFIND, WebDAV's question for what a folder holds, written piece by piece.

wsgidav builds the whole answer as a tree of XML elements: 40 MB for 10,000 files, where these pieces take 64 kB.
"""

from __future__ import annotations

import re
from email.utils import format_datetime
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from .davanswers import content_type, href

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from xml.etree.ElementTree import Element

    from .tree import FileNode

__all__ = ["describe"]

_PIECE = 1 << 16
"""Bytes of a piece of the answer, about."""
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML can hold."""
_START = '<?xml version="1.0" encoding="utf-8"?>\n<D:multistatus xmlns:D="DAV:">\n'
_END = "</D:multistatus>\n"


def _text(value: str) -> str:
    return escape(_NO_XML.sub("\ufffd", value))


_PROPERTIES: dict[str, Callable[[FileNode], str | None]] = {
    "resourcetype": lambda node: "<D:collection/>" if node.is_folder else "",
    "displayname": lambda node: _text(node.name),
    "getlastmodified": lambda node: format_datetime(node.modified, usegmt=True),
    "creationdate": lambda node: None if node.is_folder else f"{node.modified:%Y-%m-%dT%H:%M:%SZ}",
    "getcontentlength": lambda node: None if node.is_folder else str(node.size),
    "getcontenttype": lambda node: None if node.is_folder else content_type(node.name),
    "getetag": lambda node: f"&quot;{_text(node.etag)}&quot;" if node.etag else None,
}
"""What is known of a file or folder, as XML; None where a node has no such property."""


class _Asked:
    """What a request wants to know.

    Parameters
    ----------
    request : Element or None
        The body; without one, all is wanted.
    """

    def __init__(self, request: Element | None) -> None:
        wanted = None if request is None else next((e for e in request if e.tag == "{DAV:}prop"), None)
        self.is_named = wanted is not None
        self.names_only = request is not None and any(e.tag == "{DAV:}propname" for e in request)
        tags = [] if wanted is None else list(dict.fromkeys(e.tag for e in wanted))
        known = {f"{{DAV:}}{name}": name for name in _PROPERTIES}
        self.known = [known[tag] for tag in tags if tag in known] if self.is_named else list(_PROPERTIES)
        self.unknown = "".join(_element(tag) for tag in tags if tag not in known)

    def answer(self, address: str, node: FileNode) -> str:
        """Write what is known of one node."""
        found, missing = [], [self.unknown]
        for name in self.known:
            value = _PROPERTIES[name](node)
            if value is None:
                missing.append(f"<D:{name}/>" if self.is_named else "")
            else:
                found.append(f"<D:{name}/>" if self.names_only or not value else f"<D:{name}>{value}</D:{name}>")
        lacking = "".join(missing)
        parts = [_propstat("".join(found), "200 OK")] if found or not lacking else []
        parts += [_propstat(lacking, "404 Not Found")] if lacking else []
        return f"<D:response><D:href>{address}</D:href>{''.join(parts)}</D:response>\n"


def _element(tag: str) -> str:
    """Write an empty element; its tag is as ElementTree has it, with the namespace in braces."""
    space, brace, name = tag[1:].partition("}") if tag.startswith("{") else ("", "", tag)
    if space == "DAV:":
        return f"<D:{name}/>"
    return f"<X:{name} xmlns:X={quoteattr(space)}/>" if brace else f"<{name}/>"


def _propstat(properties: str, status: str) -> str:
    return f"<D:propstat><D:prop>{properties}</D:prop><D:status>HTTP/1.1 {status}</D:status></D:propstat>"


def describe(base: str, path: str, nodes: Iterable[FileNode], request: Element | None) -> Iterator[bytes]:
    """Write an answer.

    Parameters
    ----------
    base : str
        As for `href`.
    path : str
        Of the file or folder that is asked for.
    nodes : iterable of FileNode
        That file or folder, and then, if it is wanted, what the folder holds.
    request : Element or None
        The body.

    Yields
    ------
    bytes
        Pieces of 64 kB.
    """
    asked = _Asked(request)
    parts, size = [_START], 0
    place = path.rstrip("/")
    for number, node in enumerate(nodes):
        address = href(base, f"{place}/{node.name}" if number else path, is_folder=node.is_folder)
        parts.append(asked.answer(address, node))
        size += len(parts[-1])
        if size >= _PIECE:
            yield "".join(parts).encode()
            parts, size = [], 0
    yield "".join([*parts, _END]).encode()
