"""The exceptions of miripool, by what a caller would do about them.

::

    MiripoolError                 1
    ├── NotFound (KeyError)      10   look again, or make it
    │   ├── PoolNotFound         11
    │   ├── ProductNotFound      12
    │   ├── TagNotFound          13
    │   └── FileMissing          14
    ├── AlreadyExists            20   choose another name
    ├── InvalidInput (ValueError) 30  correct what was given
    │   ├── InvalidName          31
    │   ├── QueryError           32
    │   ├── UnknownKeyword       33
    │   └── AmbiguousSpec        34
    ├── Conflict                 40   what is there contradicts what was given
    ├── ReadOnly                 50   ask for the right to write, or write elsewhere
    ├── StorageError             60   look at the disk
    │   └── DiskFull             61
    ├── IntegrityError           70   data are damaged: restore them from a copy
    ├── FormatError              80   the file is not what it says it is
    │   └── NewerFormat          81   update miripool
    ├── ServerError              90   look at the PostgreSQL server
    │   └── ServerUnavailable    91
    └── PipelineError           100   look at the pipeline's log

The number is the exit code of the command line. Kinds and codes are append-only: scripts rely on them.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AlreadyExists",
    "AmbiguousSpec",
    "Conflict",
    "DiskFull",
    "FileMissing",
    "FormatError",
    "IncompleteAnswer",
    "IntegrityError",
    "InvalidInput",
    "InvalidName",
    "MiripoolError",
    "NewerFormat",
    "NotFound",
    "PipelineError",
    "PoolNotFound",
    "ProductNotFound",
    "QueryError",
    "ReadOnly",
    "ServerError",
    "ServerUnavailable",
    "StorageError",
    "TagNotFound",
    "UnknownKeyword",
]


class MiripoolError(Exception):
    """Anything that miripool reports to its user.

    The message names the thing (file, URN, column) and the remedy.
    """

    kind: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __str__(self) -> str:
        # KeyError would show the repr of its argument.
        return str(self.args[0]) if self.args else self.kind


class NotFound(MiripoolError, KeyError):
    """What was asked for is not there."""

    kind = "not-found"
    exit_code = 10


class PoolNotFound(NotFound):
    """No pool of that name in this home."""

    kind = "pool-not-found"
    exit_code = 11


class ProductNotFound(NotFound):
    """No product, version or dataset of that name in this pool."""

    kind = "product-not-found"
    exit_code = 12


class TagNotFound(NotFound):
    """No such tag in this pool."""

    kind = "tag-not-found"
    exit_code = 13


class FileMissing(NotFound):
    """A file named by the user is not there."""

    kind = "file-missing"
    exit_code = 14


class AlreadyExists(MiripoolError):
    """The name is taken."""

    kind = "already-exists"
    exit_code = 20


class InvalidInput(MiripoolError, ValueError):
    """What was given can't be right."""

    kind = "invalid-input"
    exit_code = 30


class InvalidName(InvalidInput):
    """Not a name for a pool, a product or a tag."""

    kind = "invalid-name"
    exit_code = 31


class QueryError(InvalidInput):
    """A predicate that can't be read, with the column where reading stopped.

    Parameters
    ----------
    message : str
        What is wrong.
    text : str, optional
        The predicate as the user wrote it.
    column : int, optional
        0-based offset into `text` of what is wrong.
    """

    kind = "query"
    exit_code = 32

    def __init__(self, message: str, text: str | None = None, column: int | None = None) -> None:
        self.text = text
        self.column = column
        if text is not None and column is not None:
            shown = text.replace("\n", " ").replace("\t", " ")
            message = f"{message}, at column {column + 1}:\n  {shown}\n  {' ' * column}^"
        super().__init__(message)


class UnknownKeyword(InvalidInput):
    """A keyword that no product of the pool has."""

    kind = "unknown-keyword"
    exit_code = 33


class AmbiguousSpec(InvalidInput):
    """A name that fits more than one product."""

    kind = "ambiguous"
    exit_code = 34


class Conflict(MiripoolError):
    """What is in the pool contradicts what was given."""

    kind = "conflict"
    exit_code = 40


class ReadOnly(MiripoolError):
    """The pool, the home or the database can't be written by this user; or a saved version was to be changed."""

    kind = "read-only"
    exit_code = 50

    @classmethod
    def of_version(cls, urn: str, what: str) -> ReadOnly:
        """Say that a saved version can't be changed, and how to make another.

        Parameters
        ----------
        urn : str
            The version.
        what : str
            What was to be changed.

        Returns
        -------
        ReadOnly
            To be raised.
        """
        return cls(
            f"{urn} is saved and can't be changed: {what}. Make another product, other = product.replace(SCI=array) or "
            "other = product.replace(), change other.meta, and save that"
        )


class StorageError(MiripoolError):
    """The folder could not be read or written."""

    kind = "storage"
    exit_code = 60


class DiskFull(StorageError):
    """No space left for what was to be written."""

    kind = "disk-full"
    exit_code = 61


class IntegrityError(MiripoolError):
    """Stored data do not agree with their digest."""

    kind = "integrity"
    exit_code = 70


class FormatError(MiripoolError):
    """A file that can't be read as what it should be."""

    kind = "format"
    exit_code = 80


class NewerFormat(FormatError):
    """A pool or an index written by a newer miripool."""

    kind = "newer-format"
    exit_code = 81


class ServerError(MiripoolError):
    """The PostgreSQL server refused or failed."""

    kind = "server"
    exit_code = 90


class ServerUnavailable(ServerError):
    """The PostgreSQL server could not be reached or started."""

    kind = "server-unavailable"
    exit_code = 91


class PipelineError(MiripoolError):
    """The JWST pipeline failed, or a reference file is missing; nothing was saved."""

    kind = "pipeline"
    exit_code = 100


class IncompleteAnswer(UserWarning):
    """A warning that an answer leaves something out; `warnings.filterwarnings` can ignore it or raise it."""
