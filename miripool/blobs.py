"""Blobs: one array each in an HDF5 file named by the array's content. Only this module and `hdf5file` speak HDF5.

Its library is loaded when the first blob is opened: most questions open none.

A blob has a dataset ``/data`` with the array in chunks ("tiles") that hold whole ramps, coded with bitshuffle + LZ4
(registered filter 32008), and a dataset ``/tile_digests`` with xxh3_128 of each tile's elements in C order,
little-endian, padding left out. Any HDF5 tool that has the filter reads ``/data``. Behind the end of the HDF5 file
stands a list of the tiles (`miripool.tilelist`) that lets us find and read them without it.

The name is the digest of the *logical* content: of a framed header (dtype, shape) and the elements in C order,
little-endian; a table is framed column by column. Chunking, compression and the library's version do not matter.
"""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

from . import bitshuffle
from .blob import Blob, root_cause
from .digest import array_digest, blocks, hasher_of, is_tiled, little_bytes, pieces_in_order, tile_digest
from .errors import MiripoolError, StorageError
from .hdf5file import FORMAT
from .manifest import BlobRef
from .statistics import Accumulator, Statistics
from .storage import storage_error
from .threads import map_bounded
from .tilelist import TileList, record_type, write_tile_list
from .tiles import Slab, Tile, grid, slabs, tile_at, tile_shape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import h5py
    from numpy.typing import NDArray

    from .dataset import ArraySource, Scale
    from .storage import Storage

__all__ = ["BlobStore"]

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

        def count(part: tuple[int | slice, ...] | NDArray[Any]) -> tuple[NDArray[Any], Accumulator]:
            elements = part if isinstance(part, np.ndarray) else np.asarray(source[part])
            accumulator = Accumulator(flags=flags)
            accumulator.add(elements if scale is None else scale.apply(elements))
            return elements, accumulator

        total = Accumulator(flags=flags)
        parts: Iterable[Any] = pieces_in_order(source) if is_tiled(source) else blocks(source)
        for elements, accumulator in map_bounded(count, parts):
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
            added = size if self._storage.put(key, path) else 0
        except MiripoolError:
            raise
        except (OSError, RuntimeError, ValueError) as error:  # HDF5 reports a full disk as any of them
            cause = root_cause(error)
            if cause is None:
                raise StorageError(f"blob {path} could not be written ({error})") from error
            raise storage_error(cause, path) from error
        finally:
            with contextlib.suppress(OSError):
                path.unlink()
        if not added and not self._storage.exists(key):
            target = self._storage.path(key)
            raise StorageError(f"something that is no plain file is in the way of {target}; look what it is")
        return added

    def is_whole(self, ref: BlobRef) -> bool:
        """Read an array, and look at all that its file keeps beside it.

        Parameters
        ----------
        ref : BlobRef
            From a manifest.

        Returns
        -------
        bool
            Whether it is the array that was stored, by the list of its tiles and for HDF5 tools.

        Raises
        ------
        IntegrityError
            If it can't be read.
        """
        blob = self.open(ref)
        return self.measure(blob, numeric=False)[0].digest == ref.digest and blob.is_consistent()

    def open(self, ref: BlobRef, what: str = "") -> Blob:
        """Give an array that reads its tiles when asked.

        Parameters
        ----------
        ref : BlobRef
            From a manifest.
        what : str, optional
            Whose array it is, for messages.

        Returns
        -------
        Blob
            Nothing is opened yet.
        """
        return Blob(self._storage.path(self.key(ref.digest)), ref, what)


def _write_file(path: Path, ref: BlobRef, source: ArraySource) -> None:
    little = ref.dtype.newbyteorder("<")
    import hdf5plugin

    with _writing(path) as file:
        small = math.prod(ref.shape) * little.itemsize <= _PLAIN_BYTES
        if small or not ref.shape or little.itemsize > _MAX_CODED:
            whole = np.asarray(source[...]).astype(little, copy=False)
            data = file.create_dataset("data", ref.shape, little, data=whole)
            digests, tiles = np.frombuffer(tile_digest(whole), np.uint8).reshape(1, 16), None
        else:
            chunks = tile_shape(ref.shape, little.itemsize)
            data = file.create_dataset(
                "data", ref.shape, little, chunks=chunks, fillvalue=None, **hdf5plugin.Bitshuffle(cname="lz4")
            )
            tiles = TileList(chunks, _write_tiles(data, little, source))
            digests = np.stack([np.frombuffer(digest, np.uint8) for digest in tiles.records["digest"].tolist()])
        data.attrs["miripool_blob"] = FORMAT
        data.attrs["digest"] = np.bytes_(ref.digest)
        kept = file.create_dataset("tile_digests", data=digests)
        file.flush()  # while all objects are held: a write that fails as one is let go of raises no error
        del kept
    if tiles is not None:
        write_tile_list(path, ref, tiles)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[h5py.File]:
    """Make an HDF5 file. After an error what HDF5 still wants to write goes nowhere: the file is of no use any more.

    It would try again, as its objects are let go of one by one, and each time tell the user that it could not.
    """
    import h5py

    file = h5py.File(path, "w", libver=("v110", "v110"))
    descriptor = file.id.get_vfd_handle()
    try:
        yield file
        file.close()
    except BaseException:
        with contextlib.suppress(OSError), tempfile.TemporaryFile() as nowhere:
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                os.dup2(nowhere.fileno(), descriptor)
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            file.close()
        raise


def _write_tiles(data: h5py.Dataset, dtype: np.dtype[Any], source: ArraySource) -> NDArray[Any]:
    """Write all tiles; give the records of their list."""
    shape, chunks = data.shape, data.chunks
    records = np.zeros(math.prod(grid(shape, chunks)), record_type(dtype))
    direct = bitshuffle.available()

    def code(slab: Slab) -> list[tuple[Tile, bytes, Any]]:
        coded = []
        for tile, part in slab.cut(np.asarray(source[slab.inside])):
            part = np.ascontiguousarray(part, dtype=dtype)
            digest = tile_digest(part)
            if dtype.kind in "iuf":
                records["low"][tile.number], records["high"][tile.number] = _range(part)
            if direct and part.shape != chunks:
                whole = np.zeros(chunks, dtype)
                whole[tuple(slice(n) for n in part.shape)] = part
                part = whole
            coded.append((tile, digest, bitshuffle.compress(part) if direct else part))
        return coded

    for coded in map_bounded(code, slabs(shape, chunks, dtype.itemsize)):
        for tile, digest, elements in coded:
            records["digest"][tile.number] = np.void(digest)
            if direct:
                data.id.write_direct_chunk(tile.start, elements)
            else:
                data[tile.inside] = elements
    data.file.flush()  # by now HDF5 knows where it puts them
    for number, index in enumerate(np.ndindex(grid(shape, chunks))):
        found = data.id.get_chunk_info_by_coord(tile_at(index, shape, chunks).start)
        records["offset"][number], records["size"][number] = found.byte_offset, found.size
    return records


def _range(tile: NDArray[Any]) -> tuple[Any, Any]:
    """Give the smallest and the largest element, NaN ignored; both NaN where nothing else is there."""
    low, high = tile.min(), tile.max()
    if low != low:
        return np.fmin.reduce(tile, axis=None), np.fmax.reduce(tile, axis=None)
    return low, high
