"""Copy source: where COPY gets its rows from."""

from __future__ import annotations

from typing import Protocol

__all__ = ["CopySource", "Watched"]


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
