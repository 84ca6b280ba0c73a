"""Ledger: which files of a folder a watch has dealt with, so that it need not read them again when it is restarted.

The pool knows files by their digests, and a digest needs the whole file: for 100,000 files of 1.5 MB that is 150 GB
and ten minutes of computing time at each restart. The ledger knows them by size, time and number in the file system,
as `git` knows files of a work tree, and is read in 0.3 s. It has two uses more: a file that failed does not fail again
at each restart, and a version that was removed from the pool is not added again.

It is a file of lines in this user's home, since paths and numbers of files mean something to this user's machines only,
while the pool may be others' too. It may be lost, and a line may be damaged: those files are read once more, and the
pool recognises them by their digests.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..model.canonical import digest_bytes
from ..system.files import read_plain
from ..system.oserrors import storage_error

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from .arrivals import Stamp

__all__ = ["Ledger", "ledger_path"]

_MOST_BYTES = 1 << 30
"""Of the file: 5,000,000 lines or so."""

_FEW = 1_000
"""Outdated lines that are not worth writing the others again."""


def ledger_path(home: Path, pool_id: str, folder: Path) -> Path:
    """Give the file with the ledger of a folder that is watched for a pool.

    Parameters
    ----------
    home : pathlib.Path
        This user's.
    pool_id : str
        Identifier of the pool.
    folder : pathlib.Path
        The folder, resolved.

    Returns
    -------
    pathlib.Path
        In the home.
    """
    return home / "watched" / f"{digest_bytes(f'{pool_id} {folder}'.encode(errors='surrogateescape'))}.jsonl"


class Ledger:
    """Which files were dealt with, by path and stamp.

    Parameters
    ----------
    path : pathlib.Path or None
        The file; it is made when something is first noted. None keeps the ledger in memory only.
    title : dict
        What the file begins with, for people.

    Raises
    ------
    StorageError, ReadOnly, IntegrityError
        If the file can't be read.
    """

    def __init__(self, path: Path | None, title: Mapping[str, str]) -> None:
        self._path = path
        self._title = json.dumps(dict(title))
        self._stamps: dict[str, Stamp] = {}
        self._lines = 0
        if path is not None:
            try:
                text = read_plain(path, limit=_MOST_BYTES)
            except FileNotFoundError:
                return
            except OSError as error:
                raise storage_error(error, path) from error
            self._stamps.update(_entries(text.splitlines()))
            self._lines = text.count(b"\n")

    def holds(self, path: str, stamp: Stamp) -> bool:
        """Tell whether a file was dealt with as it is.

        Parameters
        ----------
        path : str
            Within the folder.
        stamp : Stamp
            As it is now.

        Returns
        -------
        bool
            False for a file that has changed.
        """
        return self._stamps.get(path) == stamp

    def note(self, stamps: Mapping[str, Stamp]) -> None:
        """Note that files were dealt with.

        Parameters
        ----------
        stamps : mapping of str to Stamp
            By path, as they were before they were read: what is changed meanwhile is dealt with again.

        Raises
        ------
        StorageError, ReadOnly
            If the file can't be written. Until this ledger is closed they count as noted all the same.
        """
        self._stamps.update(stamps)
        if self._path is None or not stamps:
            return
        # One call appends them all: two processes may write to one ledger. What a killed one wrote may end within a
        # line, so each begins one. Nothing is brought to the disk: what is lost is read again.
        text = "".join(f"\n{json.dumps([path, *stamp])}" for path, stamp in stamps.items())
        try:
            self._path.parent.mkdir(exist_ok=True)
            with self._path.open("ab", buffering=0) as file:
                file.write((text if file.tell() else self._title + text).encode())
        except OSError as error:
            raise storage_error(error, self._path) from error
        self._lines += len(stamps)

    def forget_others(self, there: Collection[str]) -> None:
        """Forget files that are no more, if they are so many that this pays.

        Parameters
        ----------
        there : collection of str
            Paths of the files that there are; none where the folder may not be mounted.

        Raises
        ------
        StorageError, ReadOnly
            If the file can't be written.
        """
        if not there or self._path is None or self._lines <= 2 * len(there) + _FEW:
            return
        self._stamps = {path: stamp for path, stamp in self._stamps.items() if path in there}
        beside = self._path.with_suffix(f".{os.getpid()}")
        lines = [self._title, *(json.dumps([path, *stamp]) for path, stamp in self._stamps.items())]
        try:
            beside.write_text("\n".join(lines))
            beside.replace(self._path)
        except OSError as error:
            raise storage_error(error, self._path) from error
        self._lines = len(self._stamps)


def _entries(lines: Iterable[bytes]) -> Iterator[tuple[str, Stamp]]:
    """Read lines; the title, and what is damaged, is passed over."""
    for line in lines:
        try:
            path, size, changed, number = json.loads(line)
        except (ValueError, TypeError):  # also of the title, and of bytes that are no text
            continue
        if isinstance(path, str) and {type(size), type(changed), type(number)} == {int}:
            yield path, (size, changed, number)
