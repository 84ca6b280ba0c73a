"""XML-RPC with limits: an address that drips, or never ends its answer, must not hang its clients or fill memory."""

from __future__ import annotations

import functools
import http.client
import io
import time
import xmlrpc.client
from typing import TYPE_CHECKING, Any
from xml.parsers.expat import ExpatError

if TYPE_CHECKING:
    import socket

    from _typeshed import WriteableBuffer

__all__ = ["PatientTransport"]

_MOST = 1 << 20
"""Bytes of an answer that are read; the longest of real hubs, all message types of TOPCAT, have some 10 kB."""
_PIECE = 1 << 16


class PatientTransport(xmlrpc.client.Transport):
    """XML-RPC whose answers are limited in time and size.

    What is no answer of XML-RPC raises `xmlrpc.client.ResponseError`, what comes too late `TimeoutError`.

    Parameters
    ----------
    seconds : float
        To wait for a connection, and then for the whole answer.
    """

    accept_gzip_encoding = False
    """An answer of 1 MB can't become one of 1 GB."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        """Open a connection that gives up in time.

        Parameters
        ----------
        host : str or tuple
            As `xmlrpc.client.Transport` has it.

        Returns
        -------
        http.client.HTTPConnection
            Not connected yet, or the one that is open.
        """
        connection = super().make_connection(host)
        connection.timeout = self._seconds
        if connection.sock is not None:  # the answer before has left less
            connection.sock.settimeout(self._seconds)
        connection.response_class = functools.partial(_Response, self._seconds)  # type: ignore[assignment]
        return connection

    def parse_response(self, response: Any) -> Any:
        """Read an answer.

        Parameters
        ----------
        response : http.client.HTTPResponse
            Its head is read.

        Returns
        -------
        tuple
            The values.

        Raises
        ------
        xmlrpc.client.Fault
            If the answer is an error.
        xmlrpc.client.ResponseError
            If it is no answer of XML-RPC.
        TimeoutError
            If it comes too late.
        """
        content = response.read()
        parser, values = self.getparser()
        try:
            parser.feed(content)
            parser.close()
            return values.close()
        except (ExpatError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise xmlrpc.client.ResponseError(f"this is no answer of XML-RPC: {error}") from error


class _Response(http.client.HTTPResponse):
    """An answer whose head and body come within the limits."""

    def __init__(self, seconds: float, sock: socket.socket, **options: Any) -> None:
        super().__init__(sock, **options)
        self.fp = io.BufferedReader(_LimitedReader(self.fp, sock, seconds))

    def read(self, amt: int | None = None) -> bytes:
        # Python reserves as many bytes as the head announces, unless it is asked for fewer.
        if amt is not None:
            return super().read(amt)
        try:
            return b"".join(iter(functools.partial(super().read, _PIECE), b""))
        except BaseException:
            self.close()  # nobody else does where the connection does not outlive the answer
            raise


class _LimitedReader(io.RawIOBase):
    def __init__(self, source: io.BufferedReader, sock: socket.socket, seconds: float) -> None:
        self._source, self._socket = source, sock
        self._until, self._left = time.monotonic() + seconds, _MOST

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        seconds = self._until - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the answer takes too long")
        self._socket.settimeout(seconds)
        number = self._source.readinto1(buffer)
        self._left -= number
        if self._left < 0:
            raise xmlrpc.client.ResponseError(f"the answer is longer than {_MOST} bytes")
        return number

    def close(self) -> None:
        self._source.close()
        super().close()
