"""Answers that say in a sentence why there is nothing else: as JSON for programs, as a page for people."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Send

__all__ = ["Reply", "sentence"]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that the server's door gives.

    Attributes
    ----------
    status : int
        HTTP status.
    kind, message : str
        As the API's errors have them; empty where there is nothing to say.
    headers : tuple
        Further headers.
    """

    status: int
    kind: str = ""
    message: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()

    async def send(self, send: Send, accept: str) -> None:
        """Send it.

        Parameters
        ----------
        send : callable
            Of ASGI.
        accept : str
            The request's header Accept.
        """
        media, body = sentence(self.kind, self.message, accept) if self.message else ("text/plain", b"")
        about = [(b"content-type", media.encode()), (b"content-length", str(len(body)).encode())]
        start = {"type": "http.response.start", "status": self.status, "headers": [*about, *self.headers]}
        await send(start)
        await send({"type": "http.response.body", "body": body})


def sentence(kind: str, message: str, accept: str) -> tuple[str, bytes]:
    """Write an error: a page where a browser has asked for one, otherwise JSON.

    Parameters
    ----------
    kind, message : str
        Of the error.
    accept : str
        The request's header Accept.

    Returns
    -------
    str, bytes
        The media type and the body.
    """
    if "text/html" not in accept:
        error = {"error": {"kind": kind, "message": message}}
        return "application/json", json.dumps(error).encode("utf-8", "backslashreplace")
    words = html.escape(f"{message[:1].upper()}{message[1:]}.")
    head = '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>miripool</title>\n<h1>miripool</h1>\n'
    return "text/html; charset=utf-8", f"{head}<p>{words}\n".encode("utf-8", "backslashreplace")
