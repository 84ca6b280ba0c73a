"""Rows that COPY gives in PostgreSQL's binary form: less work than text for the server, and for the client."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["copy_rows"]

_HEADER = 19
"""Bytes before the first row: signature, flags, and the length of an extension that there is none of."""


class _Messages(NamedTuple):
    """What psycopg2 takes for a file: it writes each message of the server as it comes."""

    write: Callable[[bytes], object]


def copy_rows(driver: Any, question: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[bytes]:
    """Ask by COPY.

    Parameters
    ----------
    driver : psycopg2.extensions.connection
        Not in use.
    question : str
        A SELECT, with ``%s`` or ``%(name)s`` for each value.
    values : sequence or mapping
        The values.

    Returns
    -------
    list of bytes
        A row each: the number of its fields in two bytes, then each field, its length in four bytes before it.
    """
    messages: list[bytes] = []
    with contextlib.closing(driver.cursor()) as cursor:
        text = cursor.mogrify(question, values).decode()
        cursor.copy_expert(f"COPY ({text}) TO STDOUT (FORMAT binary)", _Messages(messages.append))
    # Each message of the server is a row. The header comes with the first one, and the trailer is the last one.
    messages[0] = messages[0][_HEADER:]
    return messages[:-1]
