"""Addresses of FITS files: the file of a version, or of one of its extensions, made on the fly and served in ranges."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response, StreamingResponse

from ..formats import KeptFiles, VirtualFile, extension_file, virtual_file
from ..pool.core import core_of
from .kept import etag_of, is_known, keeping
from .pools import Version
from .watching import WatchedRoute

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator

    from starlette.types import Receive, Scope, Send

    from ..pool.reference import ProductRef
    from .readers import Readers

__all__ = ["STREAMS", "KeptFiles", "router"]

router = APIRouter(prefix="/files/{pool}", route_class=WatchedRoute, tags=["files"])

_RANGE = re.compile(r"bytes=(\d{0,20})-(\d{0,20})", re.ASCII)
_AT_ONCE = 16 << 20
"""Bytes that are read before the answer begins; longer answers are sent while they are read."""
STREAMS = 8
"""Long answers that are sent at a time; each holds up to 128 MB of decoded tiles."""


def _kept(request: Request) -> KeptFiles:
    found: KeptFiles = request.app.state.files
    return found


Files = Annotated[KeptFiles, Depends(_kept)]


@router.head("/{serial}.fits", include_in_schema=False)
@router.get("/{serial}.fits")
def whole(
    request: Request,
    ref: Version,
    files: Files,
    jwst: Annotated[bool, Query(description="A ground test's exposure as a Level-1b file.")] = False,
) -> Response:
    """Give the file of a version, bit for bit as `miripool export` writes it. Ranges are answered."""
    key = _key(ref, "jwst" if jwst else "")
    file = files.take(key, lambda: virtual_file(ref.product, jwst=jwst))
    return _answer(request, file, "-".join(key), ref.filename or f"{ref.name}.fits")


@router.head("/{serial}/{dataset:path}.fits", include_in_schema=False)
@router.get("/{serial}/{dataset:path}.fits")
def extension(request: Request, ref: Version, dataset: str, files: Files) -> Response:
    """Give a file with the primary header and one extension. Ranges are answered."""
    key = _key(ref, "extension", dataset)
    file = files.take(key, lambda: extension_file(ref.product, dataset))
    return _answer(request, file, "-".join(key), f"{ref.name}_{dataset}.fits")


def _key(ref: ProductRef, *more: str) -> tuple[str, ...]:
    return (core_of(ref.pool).id, ref.row.manifest, *(part for part in more if part))


def _answer(request: Request, file: VirtualFile, content: str, name: str) -> Response:
    etag = etag_of(content)
    headers = {
        **keeping(etag),
        "Accept-Ranges": "bytes",
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(name, safe='')}",
    }
    if is_known(request, etag):
        return Response(status_code=304, headers=headers)
    wanted = request.headers.get("range")
    if wanted is None or request.headers.get("if-range", etag) != etag:
        return _stream(request, file, 0, file.size, 200, headers)
    span = _span(wanted, file.size)
    if span is None:  # several ranges, or another unit: a server may give the whole file
        return _stream(request, file, 0, file.size, 200, headers)
    start, stop = span
    if start >= stop:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{file.size}"})
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{file.size}"
    return _stream(request, file, start, stop, 206, headers)


def _span(text: str, size: int) -> tuple[int, int] | None:
    """Read a range of bytes: start and stop; an empty one if it lies outside the file; None if it can't be read."""
    found = _RANGE.fullmatch(text.strip())
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        return max(0, size - int(found[2])), size
    start = int(found[1])
    if found[2] and int(found[2]) < start:
        return None
    stop = min(int(found[2]) + 1, size) if found[2] else size
    return (start, stop) if start < stop else (size, size)


def _stream(
    request: Request, file: VirtualFile, start: int, stop: int, status: int, headers: dict[str, str]
) -> Response:
    told = {**headers, "Content-Length": str(stop - start)}
    if request.method == "HEAD":
        return Response(status_code=status, headers=told, media_type="application/fits")
    if stop - start <= _AT_ONCE:
        # Damage is then a status with a sentence, not an answer that breaks off.
        return Response(b"".join(file.pieces(start, stop)), status, told, "application/fits")
    return _LongAnswer(file.pieces(start, stop), status, told, request.app.state.readers)


class _LongAnswer(StreamingResponse):
    """Pieces of a file, which are read as they are sent."""

    def __init__(
        self, pieces: Generator[bytes, None, None], status: int, headers: dict[str, str], readers: Readers
    ) -> None:
        super().__init__(_each(pieces), status, headers, "application/fits")
        self._pieces = pieces
        self._readers = readers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them, when there is a place for their reader."""
        try:
            await self._readers.send(super().__call__, scope, receive, send)
        finally:
            with contextlib.suppress(ValueError):  # where the server ends, a thread may still read them
                self._pieces.close()  # gives the tiles back at once, also where the reader has left


async def _each(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    while piece := await run_in_threadpool(next, pieces, b""):
        yield piece
