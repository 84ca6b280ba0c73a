"""Answers that a browser keeps and asks for again by their ETag; arrays as answers."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi.responses import Response

if TYPE_CHECKING:
    from fastapi import Request
    from numpy.typing import NDArray

__all__ = ["array_answer", "etag_of", "is_known", "keeping"]


def etag_of(content: str) -> str:
    """Give an ETag.

    Parameters
    ----------
    content : str
        Names what the answer holds.

    Returns
    -------
    str
        In quotes.
    """
    return '"' + blake2b(content.encode(), digest_size=16).hexdigest() + '"'


def is_known(request: Request, etag: str) -> bool:
    """Tell whether the reader of an answer has it already.

    Parameters
    ----------
    request : fastapi.Request
        The request.
    etag : str
        Of the answer.

    Returns
    -------
    bool
        True if a 304 will do.
    """
    given = request.headers.get("if-none-match", "")
    return given.strip() == "*" or etag in given


def keeping(etag: str) -> dict[str, str]:
    """Give the headers of an answer that a browser keeps. It asks each time: another home may have others here.

    Parameters
    ----------
    etag : str
        Of the answer.

    Returns
    -------
    dict of str
        Headers.
    """
    return {"ETag": etag, "Cache-Control": "private, no-cache"}


def array_answer(values: NDArray[Any], **headers: str) -> Response:
    """Give an array: little-endian values in C order, as the headers X-Shape and X-Dtype say.

    Parameters
    ----------
    values : ndarray
        Any shape.
    **headers : str
        Further headers.

    Returns
    -------
    fastapi.Response
        The answer.
    """
    little = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False))
    shown = {"X-Shape": ",".join(map(str, little.shape)), "X-Dtype": little.dtype.name, **headers}
    return Response(little.tobytes(), media_type="application/octet-stream", headers=shown)
