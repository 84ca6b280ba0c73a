"""Deleted pools: their folders until they are removed, and the serials that their names have used."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import IntegrityError, StorageError
from ..model.names import can_name_pool
from ..store.storage.local import LocalStorage
from ..system.files import read_plain
from ..system.oserrors import storage_error

if TYPE_CHECKING:
    from pathlib import Path

    from ..store.archive import Archive

__all__ = ["DeletedPool", "DeletedPools"]

_PREFIX = ".deleted-"
"""Of the folders of deleted pools, before their id and name: to be removed after their index."""

_FORM = re.compile(re.escape(_PREFIX) + "(?P<id>[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}) (?P<name>.+)", re.DOTALL)

_MOST_BYTES = 1 << 20
"""Of a file with a number."""


@dataclass(frozen=True, slots=True)
class DeletedPool:
    """A deleted pool whose folder is still there.

    Attributes
    ----------
    folder : pathlib.Path
        With all of its files.
    id, name : str
        The pool's.
    """

    folder: Path
    id: str
    name: str

    def remove(self) -> None:
        """Remove the folder for good; another process may have done so.

        Raises
        ------
        StorageError
            If it can't be removed.
        """
        try:
            shutil.rmtree(self.folder)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise storage_error(error, self.folder) from error


class DeletedPools:
    """The deleted pools of a home.

    Parameters
    ----------
    folder : pathlib.Path
        The folder of the home's pools.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def all(self) -> list[DeletedPool]:
        """List the deleted pools whose folders are still there.

        Returns
        -------
        list of DeletedPool
            Folders whose names have another form are left out.
        """
        found = []
        for folder in self._folder.glob(f"{_PREFIX}*"):
            form = _FORM.fullmatch(folder.name)
            if form is not None and folder.is_dir() and not folder.is_symlink():
                found.append(DeletedPool(folder, form["id"], form["name"]))
        return found

    def put(self, folder: Path, pool_id: str) -> None:
        """Move a pool's folder to the deleted ones.

        Parameters
        ----------
        folder : pathlib.Path
            Has the pool's name.
        pool_id : str
            The pool's.

        Raises
        ------
        StorageError
            If it can't be moved.
        """
        put = self._folder / f"{_PREFIX}{pool_id} {folder.name}"
        try:
            folder.rename(put)
        except OSError as error:
            raise storage_error(error, put) from error

    def retire(self, name: str, archive: Archive, next_serial: int) -> None:
        """Write down which serials a pool has used, for pools that get one of its names.

        Parameters
        ----------
        name : str
            The pool's.
        archive : Archive
            Its folder; it knows its former names and its last entry.
        next_serial : int
            The serial behind all that the index knows.
        """
        last = archive.journal.last()  # others may have saved since the index was asked
        if last >= 0:
            next_serial = max(next_serial, archive.journal.read(last).next_serial)
        retired = LocalStorage(self._retired(name).parent)
        for former in {name, *archive.read_info().former_names}:
            if can_name_pool(former):  # in a pool that somebody else made it may be anything
                # Other pools may have had the name, and have used more numbers.
                used = max(next_serial, self.first_serial(former))
                retired.replace(f"{former}.json", json.dumps({"next_serial": used}).encode())

    def knows(self, name: str) -> bool:
        """Tell whether a deleted pool had a name.

        Parameters
        ----------
        name : str
            Valid for a pool.

        Returns
        -------
        bool
            True also if that pool had the name before it was renamed.
        """
        return self._retired(name).exists()

    def first_serial(self, name: str) -> int:
        """Give the serial behind all that pools of a name have used: a URN is never used twice.

        Parameters
        ----------
        name : str
            Valid for a pool.

        Returns
        -------
        int
            0 for a new name.

        Raises
        ------
        StorageError
            If the number can't be read.
        """
        try:
            return int(json.loads(read_plain(self._retired(name), limit=_MOST_BYTES))["next_serial"])
        except FileNotFoundError:
            return 0
        except (OSError, ValueError, KeyError, TypeError, RecursionError, IntegrityError) as error:
            raise StorageError(
                f"{self._retired(name)} can't be read ({error}); it keeps old URNs from being used again"
            ) from error

    def _retired(self, name: str) -> Path:
        return self._folder / ".retired" / f"{name}.json"
