"""Bundles: the small arrays of one product share one blob.

A file costs two waits for the disk, and HDF5 takes milliseconds to make one; a product has up to eight arrays of some
kilobytes. The blob is named by the digests of its arrays: products of which all small arrays are equal share it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from ...errors import IntegrityError, MiripoolError
from ...model.canonical import canonical_json, digest_bytes
from .blob import Blob, Whole
from .bundlefile import bundle_bytes, decode, find_by_hdf5, read_bundle_list
from .delta import may_share
from .digest import tile_digest
from .hdf5file import HEAD, announced_end

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from ...model.dataset import ArraySource
    from ..manifest import BlobRef
    from .bundlefile import BundleList
    from .openfile import OpenFile
    from .tilelist import TileList

__all__ = ["BundledArray", "bundle_of", "bundle_with"]

_MOST_BYTES = 1 << 16
"""Bytes of an array beyond which it has a blob of its own."""


def bundle_of(refs: Iterable[BlobRef]) -> tuple[str, frozenset[str]] | None:
    """Choose which arrays of a product share a blob.

    Parameters
    ----------
    refs : iterable of BlobRef
        All of the product's.

    Returns
    -------
    (str, frozenset of str) or None
        Name of the blob, and the arrays' digests; None where fewer than two are small.
    """
    small = {r.digest for r in refs if r.nbytes <= _MOST_BYTES and not may_share(r.shape, r.dtype)}
    if len(small) < 2:
        return None
    return digest_bytes(canonical_json({"bundle": sorted(small)})), frozenset(small)


def bundle_with(members: Sequence[tuple[BlobRef, ArraySource]]) -> bytes:
    """Make the file of a bundle.

    Parameters
    ----------
    members : sequence of (BlobRef, ArraySource)
        All of its arrays.

    Returns
    -------
    bytes
        The file.
    """
    name = members[0][0].blob
    arrays = {ref.digest: np.asarray(source[...], ref.dtype).reshape(ref.shape) for ref, source in members}
    found = bundle_of(ref for ref, _ in members)
    if found is None or found[0] != name:
        raise ValueError(f"bundle {name} has other arrays than {sorted(arrays)}")
    return bundle_bytes(name, arrays)


class BundledArray(Blob):
    """A small array, which shares its file with others; it is read as a whole."""

    @property
    def where(self) -> str:
        """Its file and its dataset there, in messages."""
        return f"{super().where}/{self.ref.digest}"

    def is_sound(self) -> bool:
        """Read the array, and hold the whole file against its digest: it is short.

        Returns
        -------
        bool
            False where the file is missing, or not as it was written.
        """
        with contextlib.suppress(MiripoolError), self._file() as file:
            told = self._list_of(file)
            if told is None or not _is_whole(file, told):
                return False
            self._read()
            return True
        return False

    def check(self) -> None:
        """Read the array.

        Raises
        ------
        IntegrityError
            If it is missing or damaged; it says how.
        """
        self._read()

    def is_consistent(self) -> bool:
        """Look whether the file is as it was written, and HDF5 tools find the array where we do.

        Returns
        -------
        bool
            True if so.

        Raises
        ------
        IntegrityError
            If HDF5 can't read the array.
        """
        with self._opened_hdf5() as (opened, file):
            told = self._list_of(file)
            _, place = find_by_hdf5(self, opened)
            if told is None or not _is_whole(file, told):
                return False
            entry = told.entries.get(self.ref.digest)
            return entry is not None and (entry.offset, entry.size) == place

    def is_sound_itself(self) -> bool:
        """Tell whether this array can be read, and the file is as it was written."""
        try:
            return self.is_consistent()
        except IntegrityError:
            return False

    def owners(self) -> tuple[str, ...]:
        """Tell which other blobs have tiles of this array: none."""
        return ()

    def tile_list(self) -> TileList | None:
        """Give the list of its tiles: it has none."""
        return None

    def _looks_whole(self, seen: set[str]) -> bool:  # noqa: ARG002
        try:
            with self._file() as file:
                end, told = announced_end(file.read(0, HEAD)), self._list_of(file)
        except MiripoolError:
            return False
        return told is not None and end == told.file_bytes and self.ref.digest in told.entries

    @contextlib.contextmanager
    def _open(self) -> Iterator[Whole]:
        yield Whole(self._read())

    def _read(self) -> NDArray[Any]:
        with self._file() as file:
            told = self._list_of(file)
            elements = None if told is None else self._read_listed(file, told)
        if elements is None:
            with self._opened_hdf5() as (opened, _):
                elements, _ = find_by_hdf5(self, opened)
        return elements

    def _list_of(self, file: OpenFile) -> BundleList | None:
        """Read the list at the end of the file; None where there is none of this bundle."""
        told = read_bundle_list(file)
        return told if told is not None and told.name == self.ref.blob else None

    def _read_listed(self, file: OpenFile, told: BundleList) -> NDArray[Any] | None:
        """Read the array without HDF5; None where HDF5 has to decode it."""
        entry = told.entries.get(self.ref.digest)
        if entry is None:
            raise self.damaged("does not hold that array")
        if entry.offset + entry.size > told.file_bytes:
            raise self.damaged("ends before the array does")
        self._refuse_lies(self.ref.nbytes, file.size)
        data = file.read(entry.offset, entry.size)
        try:
            elements = decode(data, entry.code, self.dtype.newbyteorder("<"), self.shape)
        except IntegrityError as error:
            raise self.damaged(f"can't be decoded: {error}") from error
        if elements is not None and tile_digest(elements) != entry.digest:
            raise self.damaged("has other values than were stored")
        return None if elements is None else elements.astype(self.dtype)  # a copy, which can be written to


def _is_whole(file: OpenFile, told: BundleList) -> bool:
    return xxhash.xxh3_128_digest(file.read(0, told.file_bytes)) == told.file_digest
