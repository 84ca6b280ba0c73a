"""A blob's HDF5 file: opened, checked against what it should hold, and asked where its tiles are."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from . import bitshuffle
from .digest import tile_digest
from .errors import NewerFormat
from .tilereader import MAX_TILE, Found
from .tiles import Tile, grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .blob import Blob

__all__ = ["FORMAT", "Hdf5File", "open_hdf5"]

FORMAT = 1
"""Number of the blobs' format, in the attribute ``miripool_blob`` of ``/data``."""


def open_hdf5(path: bytes) -> Any:
    """Open a file for reading.

    Parameters
    ----------
    path : bytes
        The file.

    Returns
    -------
    h5py.h5f.FileID
        To be closed.
    """
    import h5py

    try:
        return h5py.h5f.open(path, h5py.h5f.ACC_RDONLY, _access())
    except OSError as error:
        if "locking flag" not in str(error):
            raise
        # Somebody in this process has it open with h5py's own settings; all of its openings have to agree.
        return h5py.h5f.open(path, h5py.h5f.ACC_RDONLY, h5py.h5p.create(h5py.h5p.FILE_ACCESS))


@functools.cache
def _access() -> Any:
    """How files are opened: without locks, as they never change; what is open in a file closes with it."""
    import h5py

    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    access.set_file_locking(False, False)
    return access


class Hdf5File:
    """A blob's open file. Low-level h5py takes a third of the time to open it.

    Parameters
    ----------
    blob : Blob
        What it should hold.
    file : h5py.h5f.FileID
        The file.

    Raises
    ------
    IntegrityError
        If it holds something else.
    """

    def __init__(self, blob: Blob, file: Any) -> None:
        import h5py

        self._blob = blob
        self._file = file
        self._root = h5py.h5g.open(file, b"/")
        self._data, chunks = self._dataset(b"data")
        if int(self._attribute(b"miripool_blob", 0)) > FORMAT:
            raise NewerFormat(f"blob {blob._path} was written by a newer miripool; update miripool")
        digest = self._attribute(b"digest", b"")
        if digest != blob.ref.digest.encode():
            raise blob.damaged(f"is another array's, {digest!r}")
        shape, dtype = self._data.shape, self._data.dtype
        if shape != blob.shape or dtype != blob.dtype.newbyteorder("<"):
            raise blob.damaged(f"holds {dtype} {shape}, not {blob.dtype} {blob.shape}")
        if chunks is not None and math.prod(chunks) * dtype.itemsize > MAX_TILE:
            raise blob.damaged(f"has tiles of {chunks} elements")
        self.is_plain = chunks is None
        self.chunks: tuple[int, ...] = chunks or ()
        self.descriptor: int = file.get_vfd_handle()

    def _dataset(self, name: bytes) -> tuple[Any, tuple[int, ...] | None]:
        """Open a dataset that keeps its data in this file; give its chunks."""
        import h5py

        links = self._root.links
        found = links.exists(name) and links.get_info(name).type == h5py.h5l.TYPE_HARD
        opened = h5py.h5o.open(self._root, name) if found else None
        if not isinstance(opened, h5py.h5d.DatasetID):
            raise self._blob.damaged(f"has no dataset /{name.decode()}")
        made = opened.get_create_plist()
        layout = made.get_layout()
        if layout == h5py.h5d.VIRTUAL or (layout == h5py.h5d.CONTIGUOUS and made.get_external_count()):
            raise self._blob.damaged("keeps its data elsewhere")
        return opened, made.get_chunk() if layout == h5py.h5d.CHUNKED else None

    def _attribute(self, name: bytes, default: Any) -> Any:
        import h5py

        if not h5py.h5a.exists(self._data, name):
            return default
        attribute = h5py.h5a.open(self._data, name)
        if attribute.shape != () or attribute.dtype.kind not in "iuS":
            raise self._blob.damaged(f"has an attribute {name.decode()} of another type")
        value = np.empty((), attribute.dtype)
        attribute.read(value)
        return value[()]

    def has_all_tiles(self) -> bool:
        """Tell whether each tile has been written."""
        return self.is_plain or self._data.get_num_chunks() == math.prod(grid(self._blob.shape, self.chunks))

    def read_plain(self) -> NDArray[Any]:
        """Read the whole of an array that is not in tiles."""
        import h5py

        blob = self._blob
        if math.prod(blob.shape) * blob.dtype.itemsize > self._data.get_storage_size():
            raise blob.damaged("has not all of its elements")
        whole = np.asarray(h5py.Dataset(self._data)[()]).reshape(blob.shape).astype(blob.dtype, copy=False)
        if tile_digest(whole) != self._digests(1)[0]:
            raise blob.damaged("has other values than were stored")
        return whole

    def find(self, tile: Tile) -> Found:
        """Tell where in the file a tile is; read it where the codec can't be had outside HDF5."""
        import h5py

        if not bitshuffle.available():
            return Found(tile, elements=np.asarray(h5py.Dataset(self._data)[tile.inside]))
        found = self._data.get_chunk_info_by_coord(tile.start)
        if found.byte_offset is None or not 0 < found.size <= 2 * MAX_TILE:
            raise self._blob.damaged(f"has no tile {tile.number} (at {tile.start})")
        return Found(tile, found.byte_offset, found.size)

    def digests(self) -> Sequence[bytes]:
        """Give the digest of each tile."""
        return self._digests(math.prod(grid(self._blob.shape, self.chunks)))

    def ranges(self) -> None:
        """Say that smallest and largest elements are not known."""

    def _digests(self, count: int) -> Sequence[bytes]:
        import h5py

        stored, _ = self._dataset(b"tile_digests")
        if stored.shape != (count, 16) or stored.dtype != np.uint8:
            raise self._blob.damaged(f"has no digests of its {count} tiles")
        digests: NDArray[np.uint8] = np.empty((count, 16), np.uint8)
        stored.read(h5py.h5s.ALL, h5py.h5s.ALL, digests)
        return [digest.tobytes() for digest in digests]
