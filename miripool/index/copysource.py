"""Copy source: where COPY gets its rows from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["CopySource", "Lines", "Watched"]


class CopySource(Protocol):
    """What COPY reads."""

    def read(self, size: int = ..., /) -> bytes:
        """Give the next bytes, none at the end."""


class Watched:
    """Keeps what a source raises, Ctrl-C for instance: psycopg2 only says that there was something.

    Parameters
    ----------
    source : CopySource
        The rows.
    """

    def __init__(self, source: CopySource) -> None:
        self._source = source
        self.error: BaseException | None = None

    def read(self, size: int = -1, /) -> bytes:
        """Give the next bytes, none at the end."""
        try:
            return self._source.read(size)
        except BaseException as error:
            self.error = error
            raise


class Lines:
    """Lets COPY read lines as they are made: PostgreSQL takes them in on one core while the next are made on another.

    Parameters
    ----------
    chunks : iterator of bytes
        Whole lines.

    Attributes
    ----------
    error : BaseException or None
        What `chunks` raised; psycopg2 would only give its text.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self.error: BaseException | None = None

    def read(self, _size: int = -1, /) -> bytes:
        """Give the next chunk, whatever its size: psycopg2 does not mind.

        Returns
        -------
        bytes
            Empty at the end.
        """
        try:
            return next(self._chunks, b"")
        except BaseException as error:
            self.error = error
            raise
