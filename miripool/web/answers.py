"""How the server answers: JSON as the command line writes it, and errors as status and sentence."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from ..errors import (
    AlreadyExists,
    Conflict,
    DiskFull,
    FormatError,
    Interrupted,
    InvalidInput,
    MiripoolError,
    NotFound,
    ProgramError,
    QueryError,
    ReadOnly,
    ServerUnavailable,
)
from ..model.names import shown
from ..records.plain import as_json
from .prefix import nothing_at
from .replies import sentence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI, Request

    from .visitors import Visitor

__all__ = ["Json", "add_handlers", "broken_by", "status_of"]

_log = logging.getLogger(__name__)

_STATUS: tuple[tuple[type[MiripoolError], int], ...] = (
    (NotFound, 404),
    (AlreadyExists, 409),
    (Conflict, 409),
    (ReadOnly, 403),
    (FormatError, 422),
    (InvalidInput, 400),
    (DiskFull, 507),
    (ProgramError, 502),
    (Interrupted, 503),
    (ServerUnavailable, 503),
)


class Json(Response):
    """A JSON answer, as ``--json`` writes it but for the line breaks.

    Parameters
    ----------
    content : object
        Lists and dictionaries of plain values, times, arrays.
    """

    media_type = "application/json"

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """Add that nothing keeps the answer: the next one may differ.

        Parameters
        ----------
        headers : mapping, optional
            Further headers.
        """
        super().init_headers({"Cache-Control": "no-store", **(headers or {})})

    def render(self, content: Any) -> bytes:
        """Write the content.

        Parameters
        ----------
        content : object
            As given.

        Returns
        -------
        bytes
            UTF-8.
        """
        return as_json(content, indent=None).encode("utf-8", "backslashreplace")


def status_of(error: MiripoolError) -> int:
    """Give the HTTP status of an error.

    Parameters
    ----------
    error : MiripoolError
        The error.

    Returns
    -------
    int
        500 where the server is at fault: a damaged pool, a broken disk.
    """
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def broken_by(error: BaseException) -> MiripoolError | None:
    """Give the error that broke an answer off after it had begun.

    Parameters
    ----------
    error : Exception
        What the application raised.

    Returns
    -------
    MiripoolError or None
        None for a fault of miripool.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, RuntimeError) and error.__cause__ is not None:
        error = error.__cause__  # Starlette has an answer for the error, which comes too late
    return error if isinstance(error, MiripoolError) else None


def add_handlers(app: FastAPI) -> None:
    """Have an application answer errors as JSON: ``{"error": {"kind", "message"}}``.

    Parameters
    ----------
    app : FastAPI
        The application.
    """
    app.add_exception_handler(MiripoolError, _own)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(Exception, _fault)


def _error(status: int, kind: str, message: str, **more: Any) -> Json:
    return Json({"error": {"kind": kind, "message": message, **more}}, status_code=status)


async def _own(_request: Request, error: Exception) -> Response:
    assert isinstance(error, MiripoolError)  # noqa: S101 - this is how Starlette types handlers
    more: dict[str, Any] = {}
    if isinstance(error, QueryError) and error.text is not None and error.column is not None:
        more = {"text": error.text, "column": error.column}
    return _error(status_of(error), error.kind, str(error), **more)


async def _not_valid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    told = []
    for one in error.errors():
        where = " ".join(str(part) for part in one["loc"][1:])
        words = "the body: send JSON, with the header Content-Type: application/json"
        told.append(f"{where}: {one['msg']}" if where else words)
    return _error(400, "invalid-input", "; ".join(told))


async def _of_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    if error.status_code == 404:
        words = nothing_at(request.url.path, request.app.state.prefix)
        media, body = sentence("not-found", words, request.headers.get("accept", ""))
        return Response(body, 404, {"Cache-Control": "no-store"}, media)
    if error.status_code == 405:
        return _error(405, "method", "this address does not take such a request")
    return _error(error.status_code, "http", str(error.detail))


async def _fault(request: Request, error: Exception) -> Response:
    if broken_by(error) is None:
        _log_fault(request, error)
    return _error(500, "fault", f"miripool has a fault here ({type(error).__name__}); the server's log says more")


def _log_fault(request: Request, error: Exception) -> None:
    visitor: Visitor = request.state.visitor
    who = "" if visitor.user is None else f" by {shown(visitor.user)}"
    # The path only: the query may hold the token.
    _log.error("a request%s for %s failed", who, shown(request.url.path), exc_info=error)
