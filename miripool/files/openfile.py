"""Files of the tree that were opened: the FITS file of a version, and texts that are in memory."""

from __future__ import annotations

import contextlib
from hashlib import blake2b
from typing import TYPE_CHECKING

from ..errors import IntegrityError, NotFound, PoolNotFound, ProductNotFound
from ..formats import virtual_file
from ..model.names import Urn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..formats import KeptFiles, VirtualFile
    from ..index.folders import FileRow
    from ..pool.core import Core

__all__ = ["Text", "VersionFile"]


class Text:
    """A short file that is in memory.

    Parameters
    ----------
    content : bytes
        All of it.

    Attributes
    ----------
    size : int
        Bytes.
    etag : str
        Digest of its content.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size = len(content)
        self.etag = blake2b(content, digest_size=16).hexdigest()

    def read(self, start: int, stop: int) -> bytes:
        """Give some of its bytes, as slicing them all would.

        Parameters
        ----------
        start, stop : int
            Counted from 0.

        Returns
        -------
        bytes
            What is beyond the end is left out.
        """
        return self._content[start:stop]

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """Give some of its bytes.

        Parameters
        ----------
        start, stop : int
            As for `read`.

        Yields
        ------
        bytes
            All at once; nothing if there are none.
        """
        if found := self._content[start:stop]:
            yield found


class VersionFile:
    """The FITS file of a version. Its headers are read again if others were read since, so many may be open.

    Parameters
    ----------
    core : Core
        The pool.
    files : KeptFiles
        Keeps the headers and tiles of those that are read.
    row : FileRow
        The version.

    Attributes
    ----------
    size : int
        Bytes.
    etag : str
        Names its content.
    urn : str
        Of the version.

    Raises
    ------
    IntegrityError
        If its manifest is missing or damaged.
    """

    def __init__(self, core: Core, files: KeptFiles, row: FileRow) -> None:
        (self._row,) = core.rows([row.serial])
        self.urn = str(Urn(core.name, row.kind, row.serial))
        self._core = core
        self._files = files
        self.etag = row.manifest
        with self._naming():
            self.size = self._file().size

    def _file(self) -> VirtualFile:
        return self._files.take((self.etag,), lambda: virtual_file(self._core.load_version(self._row)))

    def read(self, start: int, stop: int) -> bytes:
        """Give some of its bytes, as slicing them all would.

        Parameters
        ----------
        start, stop : int
            Counted from 0.

        Returns
        -------
        bytes
            What is beyond the end is left out.

        Raises
        ------
        IntegrityError
            If stored data are damaged or missing; the message names the version and the blob.
        """
        with self._naming():
            return self._file().read(start, stop)

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """Give some of its bytes in pieces, in bounded memory.

        Parameters
        ----------
        start, stop : int
            As for `read`.

        Yields
        ------
        bytes
            A megabyte each at most, none of them empty.
        """
        with self._naming():
            yield from self._file().pieces(start, stop)

    @contextlib.contextmanager
    def _naming(self) -> Iterator[None]:
        """Name the version in errors; what is lost was not asked for by a wrong name."""
        try:
            yield
        except (PoolNotFound, ProductNotFound):
            raise
        except (NotFound, IntegrityError) as error:
            said = str(error)
            raise IntegrityError(said if self.urn in said else f"{self.urn}: {said}") from error
