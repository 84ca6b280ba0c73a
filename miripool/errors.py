"""The exceptions of miripool, by what a caller would do about them.

::

    MiripoolError                 1
    ├── NotFound (KeyError)      10   check the name, or create it
    │   ├── PoolNotFound         11
    │   ├── ProductNotFound      12
    │   ├── TagNotFound          13
    │   └── FileMissing          14
    ├── AlreadyExists            20   choose another name
    ├── InvalidInput (ValueError) 30  correct the input
    │   ├── InvalidName          31
    │   ├── QueryError           32
    │   ├── UnknownKeyword       33
    │   └── AmbiguousSpec        34
    ├── Conflict                 40   the input contradicts the pool; the message names both
    ├── ReadOnly                 50   ask for the right to write, or write elsewhere
    ├── StorageError             60   check the disk
    │   └── DiskFull             61
    ├── IntegrityError           70   data are damaged: restore them from a copy
    ├── FormatError              80   the file is not in the expected format
    │   └── NewerFormat          81   update miripool
    ├── ServerError              90   check the PostgreSQL server
    │   └── ServerUnavailable    91
    ├── PipelineError           100   read the pipeline's message
    ├── Interrupted             110   ask again, or ask for less
    └── ProgramError            120   look at the other program, e.g. DS9

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
    "Interrupted",
    "InvalidInput",
    "InvalidName",
    "MiripoolError",
    "NewerFormat",
    "NotFound",
    "PipelineError",
    "PoolNotFound",
    "ProductNotFound",
    "ProgramError",
    "QueryError",
    "ReadOnly",
    "ServerError",
    "ServerUnavailable",
    "StorageError",
    "TagNotFound",
    "UnknownKeyword",
]


class MiripoolError(Exception):
    """Base class of all errors that miripool reports.

    The message names the thing (file, URN, column) and the remedy.
    """

    kind: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __str__(self) -> str:
        # KeyError would show the repr of its argument.
        return str(self.args[0]) if self.args else self.kind


class NotFound(MiripoolError, KeyError):
    """Something with this name does not exist."""

    kind = "not-found"
    exit_code = 10


class PoolNotFound(NotFound):
    """The home has no pool of this name."""

    kind = "pool-not-found"
    exit_code = 11


class ProductNotFound(NotFound):
    """The pool has no product, version or dataset of this name."""

    kind = "product-not-found"
    exit_code = 12


class TagNotFound(NotFound):
    """No version in the pool has this tag."""

    kind = "tag-not-found"
    exit_code = 13


class FileMissing(NotFound):
    """A file or folder given by the user does not exist."""

    kind = "file-missing"
    exit_code = 14


class AlreadyExists(MiripoolError):
    """The name is already used."""

    kind = "already-exists"
    exit_code = 20


class InvalidInput(MiripoolError, ValueError):
    """An argument is not valid."""

    kind = "invalid-input"
    exit_code = 30


class InvalidName(InvalidInput):
    """The name is not valid for a pool, a product or a tag."""

    kind = "invalid-name"
    exit_code = 31


class QueryError(InvalidInput):
    """A condition can't be read; the message shows the position of the error.

    Parameters
    ----------
    message : str
        What is wrong.
    text : str, optional
        The condition as the user wrote it.
    column : int, optional
        0-based position of the error in `text`.
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
    """No product in the pool has this keyword."""

    kind = "unknown-keyword"
    exit_code = 33


class AmbiguousSpec(InvalidInput):
    """The name matches several products or versions."""

    kind = "ambiguous"
    exit_code = 34


class Conflict(MiripoolError):
    """The request contradicts the contents of the pool."""

    kind = "conflict"
    exit_code = 40


class ReadOnly(MiripoolError):
    """The user can't write to the pool, home or database; or the caller tried to change a saved version."""

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
            What the caller tried to change.

        Returns
        -------
        ReadOnly
            The error to raise.
        """
        return cls(
            f"{urn} is saved and can't be changed: {what}. Make a copy with other = product.replace(SCI=array) or "
            "other = product.replace(), change other.meta if needed, and save the copy"
        )


class StorageError(MiripoolError):
    """A file or folder could not be read or written."""

    kind = "storage"
    exit_code = 60


class DiskFull(StorageError):
    """The disk is full."""

    kind = "disk-full"
    exit_code = 61


class IntegrityError(MiripoolError):
    """Stored data are damaged or missing."""

    kind = "integrity"
    exit_code = 70


class FormatError(MiripoolError):
    """A file is not in the expected format."""

    kind = "format"
    exit_code = 80


class NewerFormat(FormatError):
    """A newer miripool wrote the pool, index or file."""

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


class Interrupted(MiripoolError):
    """A question was stopped before it was answered: its reader has left, or it took too long."""

    kind = "interrupted"
    exit_code = 110


class ProgramError(MiripoolError):
    """Another program, such as DS9 or TOPCAT, does not answer, has ended, or refused what it was sent."""

    kind = "program"
    exit_code = 120


class IncompleteAnswer(UserWarning):
    """A warning that an answer is incomplete; `warnings.filterwarnings` can ignore it or make it an error."""
