"""Blobs: one array each in an HDF5 file named by the array's content. The only module that speaks HDF5.

Its library is loaded when the first blob is opened: most questions open none.

A blob has a dataset ``/data`` with the array in chunks ("tiles") that hold whole ramps, coded with bitshuffle + LZ4
(registered filter 32008), and a dataset ``/tile_digests`` with xxh3_128 of each tile's elements in C order,
little-endian, padding left out. Any HDF5 tool that has the filter reads ``/data``.

The name is the digest of the *logical* content: of a framed header (dtype, shape) and the elements in C order,
little-endian; a table is framed column by column. Chunking, compression and the library's version do not matter.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from . import bitshuffle
from .digest import array_digest, blocks, hasher_of, little_bytes, tile_digest
from .errors import IntegrityError, MiripoolError, NewerFormat, StorageError
from .manifest import BlobRef
from .statistics import Accumulator, Statistics
from .storage import storage_error
from .threads import map_bounded
from .tiles import Slab, Tile, basic_index, copy_overlap, grid, slabs, tile_at, tile_shape

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import h5py
    from numpy.typing import NDArray

    from .dataset import ArraySource, Scale
    from .storage import Storage

__all__ = ["Blob", "BlobStore"]

FORMAT = 1
"""Number of the blobs' format, in the attribute ``miripool_blob`` of ``/data``."""

_ERRNO = re.compile(r"\berrno = ([1-9]\d*)\b")
"""How HDF5 tells the operating system's error."""

_MAX_CODED = 1 << 16
"""Bytes of an element (a table's row) beyond which it is not coded: bitshuffle's blocks are of 128 elements."""

_PLAIN_BYTES = 1 << 12
"""Arrays up to this size are neither chunked nor compressed: the book-keeping would outweigh them."""


class BlobStore:
    """The blobs of one pool.

    Parameters
    ----------
    storage : Storage
        The pool's.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    @staticmethod
    def key(digest: str) -> str:
        """Give the storage key of a blob.

        Parameters
        ----------
        digest : str
            Its name.

        Returns
        -------
        str
            The key.
        """
        return f"blobs/{digest[:2]}/{digest}.h5"

    def measure(
        self,
        source: ArraySource,
        *,
        scale: Scale | None = None,
        flags: bool = False,
        numeric: bool = True,
    ) -> tuple[BlobRef, Statistics | None]:
        """Name an array and take its statistics, in one pass.

        Parameters
        ----------
        source : ArraySource
            Any shape.
        scale : Scale, optional
            Statistics are those of the physical values.
        flags : bool
            Count the elements that are not zero.
        numeric : bool
            False for bytes that only happen to look like numbers: no statistics.

        Returns
        -------
        BlobRef, Statistics or None
            Statistics of numbers only, None for tables and for bytes.
        """
        numeric = numeric and source.dtype.names is None and source.dtype.kind in "buif"
        shape = tuple(source.shape)
        if not numeric:
            return BlobRef(array_digest(source), source.dtype, shape), None
        hasher = hasher_of(source)

        def count(block: tuple[int | slice, ...]) -> tuple[NDArray[Any], Accumulator]:
            elements = np.asarray(source[block])
            accumulator = Accumulator(flags=flags)
            accumulator.add(elements if scale is None else scale.apply(elements))
            return elements, accumulator

        total = Accumulator(flags=flags)
        for elements, accumulator in map_bounded(count, blocks(source)):
            hasher.update(little_bytes(elements))
            total.merge(accumulator)
        return BlobRef(hasher.hexdigest(), source.dtype, shape), total.result()

    def exists(self, digest: str) -> bool:
        """Tell whether a blob is there.

        Parameters
        ----------
        digest : str
            Its name.

        Returns
        -------
        bool
            True if so.
        """
        return self._storage.exists(self.key(digest))

    def write(self, ref: BlobRef, source: ArraySource) -> int:
        """Write a blob, durably, unless it is there; one that is there and visibly damaged is replaced.

        Parameters
        ----------
        ref : BlobRef
            From `measure`.
        source : ArraySource
            The array.

        Returns
        -------
        int
            Bytes written to the store; 0 if the blob was there.

        Raises
        ------
        DiskFull, ReadOnly, StorageError
            If it could not be written; nothing is left behind.
        """
        key = self.key(ref.digest)
        there = self._storage.confirm(key)
        if there and self.open(ref).is_sound():
            return 0
        path = self._storage.workspace(key)
        try:
            _write_file(path, ref, source)
            size = path.stat().st_size
            if there:
                self._storage.replace(key, path)
                return size
            return size if self._storage.put(key, path) else 0
        except MiripoolError:
            raise
        except (OSError, RuntimeError, ValueError) as error:  # HDF5 reports a full disk as any of them
            cause = _root_cause(error)
            if cause is None:
                raise StorageError(f"blob {path} could not be written ({error})") from error
            raise storage_error(cause, path) from error
        finally:
            with contextlib.suppress(OSError):
                path.unlink()

    def open(self, ref: BlobRef) -> Blob:
        """Give an array that reads its tiles when asked.

        Parameters
        ----------
        ref : BlobRef
            From a manifest.

        Returns
        -------
        Blob
            Nothing is opened yet.
        """
        return Blob(self._storage.path(self.key(ref.digest)), ref)


def _root_cause(error: Exception) -> OSError | None:
    """Find the operating system's error that HDF5 wrapped in its own; None if it was not one."""
    if isinstance(error, OSError) and error.errno is not None:
        return error
    found = _ERRNO.search(str(error))
    return OSError(int(found[1]), os.strerror(int(found[1]))) if found else None


def _write_file(path: Path, ref: BlobRef, source: ArraySource) -> None:
    little = ref.dtype.newbyteorder("<")
    import h5py
    import hdf5plugin

    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        small = math.prod(ref.shape) * little.itemsize <= _PLAIN_BYTES
        if small or not ref.shape or little.itemsize > _MAX_CODED:
            whole = np.asarray(source[...]).astype(little, copy=False)
            data = file.create_dataset("data", ref.shape, little, data=whole)
            tiles = np.frombuffer(tile_digest(whole), np.uint8).reshape(1, 16)
        else:
            chunks = tile_shape(ref.shape, little.itemsize)
            data = file.create_dataset(
                "data", ref.shape, little, chunks=chunks, fillvalue=None, **hdf5plugin.Bitshuffle(cname="lz4")
            )
            tiles = _write_tiles(data, little, source)
        data.attrs["miripool_blob"] = FORMAT
        data.attrs["digest"] = np.bytes_(ref.digest)
        file.create_dataset("tile_digests", data=tiles)


def _write_tiles(data: h5py.Dataset, dtype: np.dtype[Any], source: ArraySource) -> NDArray[np.uint8]:
    shape, chunks = data.shape, data.chunks
    digests = np.zeros((math.prod(grid(shape, chunks)), 16), np.uint8)
    direct = bitshuffle.available()

    def code(slab: Slab) -> list[tuple[Tile, bytes, Any]]:
        coded = []
        for tile, part in slab.cut(np.asarray(source[slab.inside])):
            part = np.ascontiguousarray(part, dtype=dtype)
            digest = tile_digest(part)
            if direct and part.shape != chunks:
                whole = np.zeros(chunks, dtype)
                whole[tuple(slice(n) for n in part.shape)] = part
                part = whole
            coded.append((tile, digest, bitshuffle.compress(part) if direct else part))
        return coded

    for coded in map_bounded(code, slabs(shape, chunks, dtype.itemsize)):
        for tile, digest, elements in coded:
            digests[tile.number] = np.frombuffer(digest, np.uint8)
            if direct:
                data.id.write_direct_chunk(tile.start, elements)
            else:
                data[tile.inside] = elements
    return digests


class Blob:
    """A stored array, an `ArraySource`: reads and checks the tiles that a selection touches, and no others.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    ref : BlobRef
        What it should hold.
    """

    def __init__(self, path: Path, ref: BlobRef) -> None:
        self._path = path
        self.ref = ref

    @property
    def key(self) -> str:
        """Path of its file in the pool's folder."""
        return BlobStore.key(self.ref.digest)

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis, slowest first."""
        return self.ref.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        return self.ref.dtype

    def __repr__(self) -> str:
        return f"<Blob {self.ref.digest} {self.dtype} {self.shape}>"

    def __getitem__(self, key: Any) -> Any:
        """Read a part.

        Basic indexing (integers, slices, an ellipsis) reads the tiles it touches; anything else reads the array.
        """
        basic = basic_index(key, self.shape)
        if basic is None:
            return self[...][key]
        starts, box, local = basic
        with self._open() as data:
            part = self._read(data, starts, box)
        return part[local]

    def is_sound(self) -> bool:
        """Look at the file without reading its tiles: whether it is there, whole, and this array's.

        Returns
        -------
        bool
            False where it is missing or damaged. True does not say that the tiles hold the right values.
        """
        try:
            with self._open() as data:
                return data.chunks is None or data.id.get_num_chunks() == math.prod(grid(self.shape, data.chunks))
        except IntegrityError:
            return False

    @contextlib.contextmanager
    def _open(self) -> Iterator[h5py.Dataset]:
        import h5py
        import hdf5plugin  # noqa: F401 - registers the filter

        try:
            file = h5py.File(self._path, "r", locking=False)
        except FileNotFoundError:
            raise IntegrityError(f"blob {self._path} is missing; restore it from a copy of the pool") from None
        except OSError as error:
            raise self._unreadable("can't be opened as HDF5", error) from error
        with file:
            try:
                yield self._checked(file)
            except (OSError, RuntimeError, LookupError, ValueError, TypeError) as error:
                raise self._unreadable("can't be read", error) from error

    def _checked(self, file: h5py.File) -> h5py.Dataset:
        import h5py

        data = file["data"] if file.get("data", getlink=True).__class__ is h5py.HardLink else None
        if not isinstance(data, h5py.Dataset):
            raise self._damaged("has no dataset /data")
        if int(data.attrs.get("miripool_blob", 0)) > FORMAT:
            raise NewerFormat(f"blob {self._path} was written by a newer miripool; update miripool")
        if data.is_virtual or data.external is not None:
            raise self._damaged("keeps its data elsewhere")
        if data.attrs["digest"] != self.ref.digest.encode():
            raise self._damaged(f"is another array's, {data.attrs['digest']!r}")
        if data.shape != self.shape or data.dtype != self.dtype.newbyteorder("<"):
            raise self._damaged(f"holds {data.dtype} {data.shape}, not {self.dtype} {self.shape}")
        return data

    def _unreadable(self, how: str, error: Exception) -> MiripoolError:
        cause = _root_cause(error)
        if cause is None:
            return self._damaged(f"{how} ({error})")
        return storage_error(cause, self._path)

    def _damaged(self, how: str) -> IntegrityError:
        return IntegrityError(f"blob {self._path} is damaged: it {how}; restore it from a copy of the pool")

    def _read(self, data: h5py.Dataset, starts: tuple[int, ...], box: tuple[int, ...]) -> NDArray[Any]:
        """Read a box of elements; give it as a native array."""
        if data.chunks is None:
            whole = np.asarray(data[()]).reshape(self.shape).astype(self.dtype, copy=False)
            if tile_digest(whole) != self._digests(data, 1)[0].tobytes():
                raise self._damaged("has other values than were stored")
            inside: tuple[Any, ...] = tuple(slice(s, s + n) for s, n in zip(starts, box, strict=True))
            return whole[(*inside, ...)]
        target: NDArray[Any] = np.empty(box, self.dtype)
        if 0 in box:
            return target
        digests = self._digests(data, math.prod(grid(self.shape, data.chunks)))
        ranges = [range(s // c, (s + n - 1) // c + 1) for s, n, c in zip(starts, box, data.chunks, strict=True)]
        tiles = [tile_at(index, self.shape, data.chunks) for index in itertools.product(*ranges)]
        direct = bitshuffle.available()

        def place(job: tuple[Tile, Any]) -> None:
            tile, coded = job
            part = self._decode(tile, coded, data.chunks) if direct else coded
            if tile_digest(part) != digests[tile.number].tobytes():
                raise self._damaged(f"has other values in tile {tile.number} (at {tile.start}) than were stored")
            copy_overlap(part, tile, target, starts)

        def coded_tiles() -> Iterator[tuple[Tile, Any]]:
            for tile in tiles:
                yield tile, data.id.read_direct_chunk(tile.start)[1] if direct else data[tile.inside]

        if len(tiles) < 4:
            for job in coded_tiles():
                place(job)
            return target
        for _ in map_bounded(place, coded_tiles()):
            pass
        return target

    def _digests(self, data: h5py.Dataset, count: int) -> NDArray[np.uint8]:
        digests: NDArray[np.uint8] = np.asarray(data.parent["tile_digests"])
        if digests.shape != (count, 16) or digests.dtype != np.uint8:
            raise self._damaged(f"has no digests of its {count} tiles")
        return digests

    def _decode(self, tile: Tile, coded: bytes, chunks: tuple[int, ...]) -> NDArray[Any]:
        whole: NDArray[Any] = np.empty(chunks, self.dtype.newbyteorder("<"))
        try:
            bitshuffle.decompress(coded, whole)
        except IntegrityError as error:
            raise self._damaged(f"can't be decoded in tile {tile.number} (at {tile.start}): {error}") from error
        return whole[tuple(slice(s.stop - s.start) for s in tile.inside)]
