"""Storage in a folder of a file system."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import IntegrityError, InvalidInput, NotFound, PoolNotFound
from ...system.files import folder_below, name_new, open_plain, read_plain, refuse_link
from ...system.folderlock import lock_folder, open_folder
from ...system.oserrors import storage_error, unconfirmed
from .contract import MOST_BYTES, TEMPORARY, Status, Storage, check_key
from .gathering import Gathering, do_together
from .heldfolder import held_folder
from .leases import FolderLeases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from .contract import Held
    from .leases import Leases

__all__ = ["Folder", "LocalStorage"]

_SHARD = re.compile("[0-9a-f]{2}")
"""Names of the folders between which blobs and manifests are divided."""

_LONGEST_LOCK = 10.0
"""Seconds to wait for those who replace a file by its version; each takes milliseconds."""

_DEEPEST = 8
"""Folders in folders that are walked; keys have three at most, and what others make has no end."""


class Folder:
    """The files of a storage that is a folder.

    Parameters
    ----------
    root : pathlib.Path
        The folder.

    Attributes
    ----------
    root : pathlib.Path
        The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, key: str) -> Path:
        """Give the file of a key, whether it is there or not; InvalidInput if no key is named so."""
        return self.root.joinpath(*check_key(key).split("/"))

    @contextlib.contextmanager
    def descriptor(self, key: str) -> Iterator[int]:
        """Open the file of a key for reading; NotFound if it is not there, IntegrityError if it is no plain file."""
        path = self.path(key)
        with _errors_of(path):
            try:
                descriptor = open_plain(path)
            except IsADirectoryError:
                raise IntegrityError(f"{path} is a folder, not a plain file") from None
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def version(self, path: Path) -> str:
        """Give the version that a finished file keeps when it is put under a key; OSError if it is not there."""
        return Status.of(path.stat()).version


class LocalStorage(Storage):
    """A folder of a file system that has fsync, and hard links or a renaming that spares what is there.

    Parameters
    ----------
    root : pathlib.Path
        The folder; made when something is put.

    Attributes
    ----------
    root : pathlib.Path
        The folder.
    files : Folder
        The keys as files.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folder = Folder(root)
        self._top = str(root)
        self._is_settled = False
        self._lasting: set[str] = set()
        """Folders whose names are known to be on disk, with those of all folders from the root to them."""
        self._listed: set[str] = set()
        """Folders that were looked into for folders that others have made."""

    def __reduce__(self) -> tuple[type[LocalStorage], tuple[Path]]:
        return LocalStorage, (self.root,)

    @property
    def place(self) -> str:
        """Path of the folder."""
        return str(self.root.absolute())

    @property
    def files(self) -> Folder:
        """The keys as files."""
        return self._folder

    @property
    def leases(self) -> Leases:
        """Locks of files in the folder ``leases``."""
        return FolderLeases(self.root / "leases")

    def settle(self) -> None:
        """Never make the root again: from now on a root that is not there was moved away, with all that is in it."""
        self._is_settled = True

    def name(self, key: str) -> str:
        """Give the path of a key's file."""
        return str(self._folder.path(key))

    def _path(self, key: str) -> str:
        return f"{self._top}/{check_key(key)}"  # a Path takes ten times as long

    # Reading

    def read(self, key: str, *, limit: int = MOST_BYTES) -> bytes:
        """Give all bytes of a key."""
        path = self._folder.path(key)
        with _errors_of(path):
            return read_plain(path, limit=limit)

    def read_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Give some ranges of the bytes of a key."""
        with self._folder.descriptor(key) as descriptor, _errors_of(self._folder.path(key)):
            return [os.pread(descriptor, count, start) for start, count in ranges]

    def status(self, key: str) -> Status:
        """Look at a key's file, or at whatever has its name."""
        path = self._path(key)
        with _errors_of(path):
            return Status.of(os.lstat(path))

    def exists(self, key: str) -> bool:
        """Tell whether a plain file has the name of a key."""
        path = self._path(key)
        try:
            return stat.S_ISREG(os.lstat(path).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise storage_error(error, path) from error

    def has_any(self, keys: Iterable[str]) -> bool:
        """Tell whether any of some keys is there."""
        # In a fifth of the time of `exists`. That the folder can be looked into is known.
        return any(os.access(self._path(key), os.F_OK) and self.exists(key) for key in keys)

    def confirm(self, key: str) -> bool:
        """Tell whether a key is there, and make sure that it stays.

        A name is seen before it is on disk. Who refers to what another process has put has to wait for that too.
        """
        if not self.exists(key):
            return False
        folder = os.path.dirname(self._path(key))  # noqa: PTH120
        try:
            self._make_folder(folder)
            _sync_folder(folder)
        except OSError as error:
            raise storage_error(error, folder) from error
        return True

    def keys(self, prefix: str) -> Iterator[str]:
        """List the keys in a folder and its sub-folders; StorageError if the folder is a symbolic link."""
        check_key(prefix)
        yield from (key for key in self._walk(prefix.split("/"), TEMPORARY) if not key.endswith("/"))

    def everything(self) -> Iterator[str]:
        """List all there is; symbolic links are listed, and not followed."""
        yield from self._walk([])

    def _walk(self, parts: Sequence[str], but: str | None = None) -> Iterator[str]:
        folder = self.root.joinpath(*parts)
        try:
            with folder_below(self.root, parts) as descriptor, os.scandir(descriptor) as found:
                entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise storage_error(error, folder) from error
        for name, is_folder in entries:
            if but is not None and name.startswith(but):
                continue
            key = "/".join((*parts, name))
            if not is_folder:
                yield key
            elif len(parts) >= _DEEPEST:
                yield f"{key}/"
            else:
                yield from self._walk((*parts, name), but)

    def refuse_links(self, folders: Iterable[str]) -> None:
        """Make sure that some folders, and those in them that are named by two digits, are no symbolic links."""
        for folder in folders:
            path = self._folder.path(folder)
            with contextlib.suppress(NotFound), _errors_of(path):
                mode = path.lstat().st_mode
                refuse_link(path, mode)
                if not stat.S_ISDIR(mode):
                    continue
                with os.scandir(path) as found:
                    links = [entry.name for entry in found if _SHARD.fullmatch(entry.name) and entry.is_symlink()]
                for name in links:
                    refuse_link(path / name, stat.S_IFLNK)

    # Writing

    def workspace(self, key: str) -> Path:
        """Make a place for a file that will be put under a key: beside it, so that a hard link is enough."""
        return self._workspace(key)

    def _workspace(self, key: str, due: _Due | None = None) -> Path:
        folder = os.path.dirname(self._path(key))  # noqa: PTH120
        try:
            self._make_folder(folder, due)
        except OSError as error:
            raise storage_error(error, folder) from error
        return Path(folder, f"{TEMPORARY}{secrets.token_hex(8)}")

    def put(self, key: str, source: bytes | Path) -> bool:
        """Put bytes under a key: they are on disk before the name appears, and the name is before this returns."""
        return self._place(key, source, name_new)

    def replace(self, key: str, source: bytes | Path, *, version: str | None = None) -> bool:
        """Put bytes under a key, in place of what is there."""
        if version is None:
            return self._place(key, source, _rename)
        path = self._folder.path(key)
        with _errors_of(path), contextlib.suppress(FileNotFoundError, NotADirectoryError), _locked(path) as status:
            return status.version == version and self._place(key, source, _rename)
        return False

    def gathering(self) -> Gathering:
        """Put many keys at once: each folder is synced once."""
        return _FolderGathering(self)

    def note(self, key: str, data: bytes) -> None:
        """Put bytes under a key, in place of what is there, without waiting for the disk."""
        temporary = self._staged(key, data)
        with self._finishing(key, temporary) as target:
            temporary.replace(target)

    def _place(self, key: str, source: bytes | Path, name: Callable[[Path, Path], bool]) -> bool:
        named = self._bring(key, self._staged(key, source), name)
        path = self._path(key)
        _confirm(os.path.dirname(path), path)  # noqa: PTH120
        return named

    def _staged(self, key: str, source: bytes | Path, due: _Due | None = None) -> Path:
        """Give a temporary file with what is to be put."""
        if isinstance(source, Path):
            return source
        temporary = self._workspace(key, due)
        try:
            temporary.write_bytes(source)
        except BaseException:
            with self._finishing(key, temporary):
                raise
        return temporary

    def _bring(self, key: str, temporary: Path, name: Callable[[Path, Path], bool]) -> bool:
        """Bring a temporary file to the disk, then give it its name; tell whether that was free."""
        with self._finishing(key, temporary) as target:
            _sync_file(temporary)
            return name(temporary, target)

    @contextlib.contextmanager
    def _finishing(self, key: str, temporary: Path) -> Iterator[Path]:
        """Give the path that a temporary file is for, and remove the file in any case; say errors in our words."""
        target = self._folder.path(key)
        try:
            yield target
        except OSError as error:
            self._refuse_moved()
            raise storage_error(error, target) from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()

    def delete(self, key: str) -> bool:
        """Remove a key."""
        path = self._folder.path(key)
        *parts, name = key.split("/")
        try:
            with _errors_of(path), folder_below(self.root, parts) as descriptor:
                os.unlink(name, dir_fd=descriptor)
        except NotFound:
            return False
        return True

    def set_aside(self, key: str, other: str) -> None:
        """Move a file to another key, durably."""
        source, target = self._folder.path(key), self._folder.path(other)
        with _errors_of(source):
            self._make_folder(os.path.dirname(self._path(other)))  # noqa: PTH120
            source.replace(target)
            for folder in (target.parent, source.parent):
                _sync_folder(str(folder))

    def discard(self, key: str, *, age: float, dry_run: bool = False) -> int | None:
        """Remove a temporary file; a symbolic link of such a name goes, and what it points to stays."""
        *parts, name = key.split("/")
        if not name.startswith(TEMPORARY):
            raise InvalidInput(f"not a temporary file: {key!r}")
        try:
            with _errors_of(self.root.joinpath(*parts, name)), folder_below(self.root, parts) as descriptor:
                status = os.lstat(name, dir_fd=descriptor)
                if time.time() - status.st_mtime < age:
                    return None
                if not dry_run:
                    os.unlink(name, dir_fd=descriptor)
        except NotFound:
            return None
        return status.st_size

    # Where the folder is

    def make(self) -> None:
        """Make the root, durably, whichever process may have made it or the folder above it a moment ago.

        Raises
        ------
        DiskFull, ReadOnly, StorageError
            If it can't be made.
        """
        try:
            self._make_above(self.root)
            for folder in self.root.parents[:2]:
                _sync_folder(str(folder))
        except OSError as error:
            raise storage_error(error, self.root) from error

    @contextlib.contextmanager
    def held(self, *, alone: bool = False) -> Iterator[Held]:
        """Keep the folder where it is, by a lock of it."""
        with held_folder(self.root, alone=alone) as folder:
            yield folder

    @contextlib.contextmanager
    def turn(self, prefix: str, *, seconds: float) -> Iterator[None]:
        """Wait for one's turn among this host's writers."""
        folder = self._folder.path(prefix)
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):  # there is no such folder yet, or somebody has the turn for longer
                lock_folder(stack.enter_context(open_folder(folder)), seconds=seconds)
            yield

    def _make_folder(self, folder: str, due: _Due | None = None) -> None:
        """Make a folder, and make sure that its name stays, and those of the folders that it is in up to the root.

        At once, or where it is left to a gathering, once what is `due` is synced.
        """
        if folder == self._top:
            self._make_above(self.root)
            return
        is_there = os.path.isdir(folder)  # noqa: PTH112
        if is_there and (folder in self._lasting or (due is not None and folder in due.lasting)):
            return
        above = os.path.dirname(folder)  # noqa: PTH120
        self._make_folder(above, due)
        if not is_there:
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder)  # noqa: PTH102
        names = [folder, *self._folders_first_seen(above)]
        if due is not None:
            due.folders.setdefault(above, folder)
            due.lasting.update(names)
            return
        _sync_folder(above)
        self._lasting.update(names)

    def _make_above(self, folder: Path) -> None:
        """Make the root, or a folder above it."""
        if folder.is_dir():
            return
        if folder == self.root:
            self._refuse_moved()
        self._make_above(folder.parent)
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
        _sync_folder(str(folder.parent))

    def _folders_first_seen(self, above: str) -> list[str]:
        """Give the folders in a folder, once: one sync of it makes the names of all last that others have made."""
        if above in self._listed:
            return []
        self._listed.add(above)
        with os.scandir(above) as found:
            return [entry.path for entry in found if entry.is_dir(follow_symlinks=False)]

    def _refuse_moved(self) -> None:
        if self._is_settled and not self.root.is_dir():
            raise PoolNotFound(
                f"the pool that was opened at {self.root} is no longer there: it was deleted or renamed meanwhile. "
                "Open the pool again, or run the command again: `miripool pools` lists the pools"
            )


@dataclass(frozen=True, slots=True)
class _Due:
    """Folders that a gathering has to sync.

    Attributes
    ----------
    folders : dict of str to str
        Each with a path in it whose name is to last, for messages.
    lasting : set of str
        Folders in them whose names last then.
    """

    folders: dict[str, str] = field(default_factory=dict)
    lasting: set[str] = field(default_factory=set)


class _FolderGathering(Gathering):
    """Keys of a folder that are put together: files are brought to the disk by threads, then each folder once."""

    def __init__(self, storage: LocalStorage) -> None:
        super().__init__(storage)
        self._local = storage
        self._due = _Due()

    def confirm(self, key: str) -> bool:
        """Tell whether a key is there or under way; its folder is synced by `settle`."""
        if self.knows(key):
            return True
        if not self._local.exists(key):
            return False
        self._expect(key)
        return True

    def workspace(self, key: str) -> Path:
        """Make a place beside the file of a key; the names of new folders are synced by `settle`."""
        return self._local._workspace(key, self._due)

    def _staged(self, key: str, source: bytes | Path) -> Path:
        staged = self._local._staged(key, source, self._due)
        self._expect(key)
        return staged

    def _put(self, key: str, source: bytes | Path) -> bool:
        return self._local._bring(key, self._local._staged(key, source), name_new)

    def _replace(self, key: str, source: bytes | Path) -> bool:
        return self._local._bring(key, self._local._staged(key, source), _rename)

    def _expect(self, key: str) -> None:
        path = self._local._path(key)
        folder = os.path.dirname(path)  # noqa: PTH120
        try:
            self._local._make_folder(folder, self._due)
        except OSError as error:
            raise storage_error(error, folder) from error
        self._due.folders.setdefault(folder, path)

    def _make_durable(self) -> None:
        due = self._due
        do_together(lambda folder: _confirm(folder, due.folders[folder]), due.folders)
        self._local._lasting.update(due.lasting)
        self._due = _Due()


@contextlib.contextmanager
def _errors_of(path: Path | str) -> Iterator[None]:
    """Say what the system says of a path in our words."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"{path} is not there") from None
    except OSError as error:
        raise storage_error(error, path) from error


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[Status]:
    """Keep others from replacing a file by its version; give what it is. FileNotFoundError if it is not there."""
    while True:
        descriptor = open_plain(path)
        try:
            # Who has it for longer was stopped: the version is looked at all the same, and that has to be enough.
            with contextlib.suppress(TimeoutError):
                lock_folder(descriptor, seconds=_LONGEST_LOCK)
            held = os.fstat(descriptor)
            if os.path.samestat(held, path.lstat()):
                yield Status.of(held)
                return
        finally:
            os.close(descriptor)


def _rename(temporary: Path, target: Path) -> bool:
    temporary.replace(target)
    return True


def _confirm(folder: str, path: str) -> None:
    """Make sure that a name in a folder stays."""
    try:
        _sync_folder(folder)
    except OSError as error:
        raise unconfirmed(error, path) from error


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
