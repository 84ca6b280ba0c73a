"""Pack: versions of a pool in one tar file, with manifests, blobs, tags and provenance.

The file holds, in this order: ``miripool-pack.json``, which lists the versions; ``manifests/ab/ab12….json``; and
``blobs/ab/ab12….h5``, the same files as in the pool's folder. The reader trusts none of it: names are looked up, never
used as paths; every array is read, held against its digest, and stored in a new blob.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import tarfile
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FormatError, IntegrityError, NewerFormat, NotFound
from ..model.canonical import canonical_json, digest_bytes
from ..model.names import check_label
from ..store.archive import Archive
from ..store.arrays.openfile import open_file
from ..store.manifest import Manifest
from ..store.poolinfo import PoolInfo
from ..system.outfile import writing_file
from .copy import Parcel, PoolShelf
from .packedfiles import LIST, PackedFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ..store.arrays.openfile import OpenFile
    from ..store.manifest import BlobRef

__all__ = ["Pack", "Packed", "pack"]

FORMAT = 1
"""Number of the pack's format; a reader refuses greater ones."""

_MOST_TEXT = 1 << 28
"""Bytes of the list, or of a manifest, beyond which it is not ours."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Contents of a packed file.

    Attributes
    ----------
    versions, blobs, bytes : int
        Number of versions, number of blobs, and size of the file.
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
    refs: dict[str, dict[str, BlobRef]] = {}
    for row, parcel in zip(shelf.rows, shelf.parcels(), strict=True):
        manifests[row.manifest] = parcel.manifest.to_bytes()
        for ref in parcel.manifest.blobs():
            refs.setdefault(ref.blob, {})[ref.digest] = ref
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
        _put(tar, LIST, text)
        for digest, data in manifests.items():
            _put(tar, archive.manifest_key(digest), data)
        for done, arrays in enumerate(refs.values(), 1):
            _put_blob(tar, archive, list(arrays.values()), path.parent)
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


def _put_blob(tar: tarfile.TarFile, archive: Archive, refs: Sequence[BlobRef], beside: Path) -> None:
    """Put the file of some arrays, each of which is held against its digest."""
    for ref in refs:
        blob = archive.blobs.open(ref)
        found, _ = archive.blobs.measure(blob, numeric=False)
        if found.digest != ref.digest:
            raise blob.damaged(f"holds an array with the digest {found.digest}; nothing was packed")
    member = tarfile.TarInfo(blob.key)
    if len(archive.blobs.family(ref)) == 1:
        with open_file(archive.storage, blob.key) as file:
            member.size = file.size
            tar.addfile(member, _Stream(file))
        return
    with tempfile.TemporaryDirectory(prefix=".miripool-", dir=beside) as folder:
        # It needs blobs that may not come along.
        path = Path(folder) / "blob.h5"
        archive.blobs.write_to(path, ref, blob)
        member.size = path.stat().st_size
        with path.open("rb") as made:
            tar.addfile(member, made)


class _Stream(io.RawIOBase):
    """The bytes of an open file one after the other."""

    def __init__(self, file: OpenFile) -> None:
        self._file = file
        self._position = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(self._position, self._file.size - self._position if size < 0 else size)
        self._position += len(data)
        return data


class Pack:
    """A packed file that is open: versions to be received. Use it in a ``with`` statement.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    FileMissing
        If there is no such file.
    FormatError
        If it is no pack; NewerFormat if a newer miripool wrote it.
    IntegrityError
        If it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with contextlib.ExitStack() as stack:
            self._files = PackedFiles(path, stack)
            listed = self._read_list()
            self.pool, self.pool_id = listed["pool"], listed["pool_id"]
            self._versions = listed["versions"]
            self._archive = Archive(self._files, PoolInfo(self.pool_id, datetime.now(UTC)))
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
    def opened(self, manifest: Manifest) -> Iterator[Archive]:  # noqa: ARG002 - all of them are there
        """Give what the blobs of a version are read from."""
        try:
            yield self._archive
        except IntegrityError as error:
            raise IntegrityError(f"{self._path} is damaged; get the file again: {error}") from error

    def _read(self, name: str) -> bytes:
        try:
            if self._files.status(name).size > _MOST_TEXT:
                raise FormatError(f"{self._path} is not a file written by miripool pack: {name} is too long")
            return self._files.read(name, limit=_MOST_TEXT)
        except NotFound:
            raise IntegrityError(
                f"{self._path} is damaged or incomplete: it has no {name}; get the file again"
            ) from None

    def _read_list(self) -> Mapping[str, Any]:
        if not self._files.exists(LIST):
            raise FormatError(f"{self._path} is not a file written by miripool pack: it has no {LIST}")
        data = self._read(LIST)
        try:
            record = json.loads(data)
            if record["format"] > FORMAT:
                raise NewerFormat(
                    f"{self._path} has format {record['format']}, but this miripool reads formats up to {FORMAT}; "
                    "update miripool"
                )
            digest = record.pop("digest")
            whole = digest == digest_bytes(canonical_json(record))
            _check_list(record)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise FormatError(
                f"{self._path} is not a file written by miripool pack: {LIST} can't be read ({error!r})"
            ) from error
        if not whole:
            raise IntegrityError(f"{self._path} is damaged: the digest of {LIST} is wrong; get the file again")
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
