"""Pack: versions of a pool in one tar file, with manifests, blobs, tags and provenance.

The file holds, in this order: ``miripool-pack.json``, which lists the versions; ``manifests/ab/ab12….json``; and
``blobs/ab/ab12….h5``, the same files as in the pool's folder. Whoever unpacks it trusts none of it: names are looked
up, never used as paths; every array is read, held against its digest, and stored in a blob made anew.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import stat
import tarfile
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..errors import FileMissing, FormatError, IntegrityError, NewerFormat
from ..model.canonical import canonical_json, digest_bytes
from ..model.names import check_label
from ..store.archive import Archive
from ..store.manifest import Manifest
from ..store.poolinfo import PoolInfo
from ..store.storage.local import LocalStorage, storage_error
from ..store.workfolder import work_folder
from ..system.outfile import writing_file
from .copy import Parcel, PoolShelf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ..store.manifest import BlobRef

__all__ = ["Pack", "Packed", "pack"]

FORMAT = 1
"""Number of the pack's format; a reader refuses greater ones."""

_LIST = "miripool-pack.json"
_MEMBER = re.compile(r"manifests/([0-9a-f]{2})/\1[0-9a-f]{30}\.json|blobs/([0-9a-f]{2})/\2[0-9a-f]{30}\.h5")
_MOST_TEXT = 1 << 28
"""Bytes of the list, or of a manifest, beyond which it is not ours."""
_NO_TAR = (tarfile.TarError, ValueError, OverflowError, IndexError, RecursionError, OSError)
"""What tarfile raises over headers that somebody has made up."""
_MOST_AT_ONCE = 1 << 24
"""Bytes that are read at once: no header of the archive is longer."""


@dataclass(frozen=True, slots=True)
class Packed:
    """What a pack holds.

    Attributes
    ----------
    versions, blobs, bytes : int
        How many, and the size of the file.
    """

    versions: int
    blobs: int
    bytes: int


def pack(
    shelf: PoolShelf,
    archive: Archive,
    path: Path,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Packed:
    """Write versions into a tar file. It appears under its name when it is complete and on disk, or not at all.

    Parameters
    ----------
    shelf : PoolShelf
        The versions.
    archive : Archive
        Their pool's folder.
    path : Path
        The file.
    overwrite : bool, keyword-only
        Replace a file of that name.
    progress : callable, keyword-only, optional
        Told how many of how many blobs are done.

    Returns
    -------
    Packed
        What it holds.

    Raises
    ------
    IntegrityError
        If something that would get into it is damaged; there is no file then.
    AlreadyExists
        If there is a file of that name.
    DiskFull, StorageError
        If it can't be written.
    """
    listed: list[Mapping[str, Any]] = []
    manifests: dict[str, bytes] = {}
    refs: dict[str, BlobRef] = {}
    for row, parcel in zip(shelf.rows, shelf.parcels(), strict=True):
        manifests[row.manifest] = parcel.manifest.to_bytes()
        refs |= {ref.digest: ref for ref in parcel.manifest.blobs()}
        listed.append(_describe(row.manifest, parcel))
    content = {
        "format": FORMAT,
        "pool": shelf.pool,
        "pool_id": shelf.pool_id,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": listed,
    }
    text = canonical_json({**content, "digest": digest_bytes(canonical_json(content))})
    with writing_file(path, overwrite=overwrite) as file, tarfile.open(fileobj=file, mode="w") as tar:
        _put(tar, _LIST, text)
        for digest, data in manifests.items():
            _put(tar, archive.manifest_key(digest), data)
        for done, ref in enumerate(refs.values(), 1):
            _put_blob(tar, archive, ref, path.parent)
            if progress is not None:
                progress(done, len(refs))
    return Packed(len(listed), len(refs), path.stat().st_size)


def _describe(digest: str, parcel: Parcel) -> dict[str, Any]:
    return {
        "serial": parcel.serial,
        "version": parcel.version,
        "created": parcel.created.isoformat(),
        "tags": list(parcel.tags),
        "manifest": digest,
    }


def _put(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _put_blob(tar: tarfile.TarFile, archive: Archive, ref: BlobRef, beside: Path) -> None:
    found, _ = archive.blobs.measure(archive.blobs.open(ref), numeric=False)
    key = archive.blobs.key(ref.digest)
    path = archive.storage.path(key)
    if found.digest != ref.digest:
        raise IntegrityError(f"blob {path} is damaged: its array has the digest {found.digest}; nothing was packed")
    with contextlib.ExitStack() as stack:
        if len(archive.blobs.family(ref)) > 1:  # it needs blobs that may not come along
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".miripool-", dir=beside))) / "blob.h5"
            archive.blobs.write_to(path, ref, archive.blobs.open(ref))
        blob = stack.enter_context(path.open("rb"))
        member = tarfile.TarInfo(key)
        member.size = blob.seek(0, io.SEEK_END)
        blob.seek(0)
        tar.addfile(member, blob)


class _Bounded(io.RawIOBase):
    """A file of which nobody can read more at once than `_MOST_AT_ONCE`: no header is longer."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= _MOST_AT_ONCE:
            raise tarfile.ReadError(f"{size} bytes at once")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


class Pack:
    """A packed file that is open: versions to be received. Use it in a ``with`` statement.

    Parameters
    ----------
    path : Path
        The file.
    work : Path
        A folder for what is unpacked, as long as it is needed.

    Raises
    ------
    FileMissing
        If there is no such file.
    FormatError
        If it is no pack; NewerFormat if a newer miripool wrote it.
    IntegrityError
        If it is damaged.
    """

    def __init__(self, path: Path, work: Path) -> None:
        self._path = path
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            self._tar = _open_tar(stack, path)
            self._members = _members(path, self._tar)
            listed = self._read_list()
            self.pool, self.pool_id = listed["pool"], listed["pool_id"]
            self._versions = listed["versions"]
            self._work = stack.enter_context(work_folder(work))
            self._stack = stack.pop_all()

    def __enter__(self) -> Pack:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __len__(self) -> int:
        return len(self._versions)

    def parcels(self) -> Iterator[Parcel]:
        """Give the versions in the order of the list."""
        for record in self._versions:
            digest = record["manifest"]
            manifest = Manifest.from_bytes(self._read(Archive.manifest_key(digest)), digest)
            created = datetime.fromisoformat(record["created"])
            yield Parcel(record["serial"], record["version"], created, tuple(record["tags"]), manifest)

    @contextlib.contextmanager
    def opened(self, manifest: Manifest) -> Iterator[Archive]:
        """Unpack the blobs of a version; they are gone afterwards."""
        storage = LocalStorage(self._work / "pool")
        archive = Archive(storage, PoolInfo(self.pool_id, datetime.now(UTC)))
        try:
            for ref in manifest.blobs():
                self._extract(archive.blobs.key(ref.digest), storage)
            yield archive
        except IntegrityError as error:
            raise IntegrityError(f"{self._path} is damaged, get it again: {error}") from error
        finally:
            shutil.rmtree(storage.root, ignore_errors=True)

    def _extract(self, key: str, storage: LocalStorage) -> None:
        path = storage.path(key)
        if path.exists():
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._member(key) as member, path.open("xb") as file:
                shutil.copyfileobj(member, file, 1 << 20)
        except tarfile.TarError as error:
            raise IntegrityError(f"{key} can't be read ({error})") from error
        except OSError as error:
            raise storage_error(error, path) from error

    def _member(self, name: str) -> IO[bytes]:
        info = self._members.get(name)
        file = None if info is None else self._tar.extractfile(info)
        if file is None:
            raise IntegrityError(f"{self._path} is damaged, or cut off: it has no {name}")
        return file

    def _read(self, name: str) -> bytes:
        with self._member(name) as member:
            data = bytearray()
            while block := member.read(_MOST_AT_ONCE // 2):
                data += block
                if len(data) > _MOST_TEXT:
                    raise FormatError(f"{self._path} is no pack of miripool: {name} is too long")
        return bytes(data)

    def _read_list(self) -> Mapping[str, Any]:
        if _LIST not in self._members:
            raise FormatError(f"{self._path} is no pack of miripool: it has no {_LIST}")
        data = self._read(_LIST)
        try:
            record = json.loads(data)
            if record["format"] > FORMAT:
                raise NewerFormat(
                    f"{self._path} has format {record['format']}, this miripool reads up to {FORMAT}; update miripool"
                )
            digest = record.pop("digest")
            whole = digest == digest_bytes(canonical_json(record))
            _check_list(record)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise FormatError(f"{self._path} is no pack of miripool: {_LIST} can't be read ({error!r})") from error
        if not whole:
            raise IntegrityError(f"{self._path} is damaged: {_LIST} has another digest; get the file again")
        return record  # type: ignore[no-any-return]


def _check_list(record: Mapping[str, Any]) -> None:
    if not isinstance(record["pool"], str) or not isinstance(record["pool_id"], str):
        raise TypeError(f"pool {record['pool']!r}, {record['pool_id']!r}")
    for version in record["versions"]:
        _check_version(version)


def _check_version(record: Mapping[str, Any]) -> None:
    numbers = (record["serial"], record["version"])
    if any(type(number) is not int or number < 0 for number in numbers):
        raise ValueError(f"numbers {numbers}")
    if not re.fullmatch("[0-9a-f]{32}", record["manifest"]):
        raise ValueError(f"manifest {record['manifest']!r}")
    if datetime.fromisoformat(record["created"]).tzinfo is None:
        raise ValueError(f"created {record['created']!r}")
    if not isinstance(record["tags"], list):
        raise TypeError(f"tags {record['tags']!r}")
    for label in record["tags"]:
        check_label(label)


def _open_tar(stack: contextlib.ExitStack, path: Path) -> tarfile.TarFile:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise FormatError(f"{path} is no file")
        file = stack.enter_context(path.open("rb"))
    except FileNotFoundError:
        raise FileMissing(f"there is no file {path}") from None
    except OSError as error:
        raise storage_error(error, path) from error
    try:
        return stack.enter_context(tarfile.open(fileobj=_Bounded(file), mode="r:"))
    except _NO_TAR as error:
        raise FormatError(f"{path} is no pack of miripool, or is cut off ({error})") from error


def _members(path: Path, tar: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    """List what is in the file; anything but plain files with names of ours is refused."""
    found: dict[str, tarfile.TarInfo] = {}
    try:
        for info in tar:
            plain = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and getattr(info, "sparse", None) is None
            if not plain or not (info.name == _LIST or _MEMBER.fullmatch(info.name)) or info.name in found:
                raise FormatError(f"{path} is no pack of miripool: it holds {info.name[:100]!r}")
            found[info.name] = info
    except _NO_TAR as error:
        raise FormatError(f"{path} is no pack of miripool, or is cut off ({error})") from error
    return found
