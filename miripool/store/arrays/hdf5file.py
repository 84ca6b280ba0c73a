"""A blob's HDF5 file: opened, checked against what it should hold, and asked where its tiles are."""

from __future__ import annotations

import functools
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import NewerFormat
from ...model.tiles import Tile, grid
from . import bitshuffle
from .changedpixels import are_runs
from .delta import mappings
from .digest import tile_digest
from .hdf5library import load_hdf5
from .tilereader import MAX_TILE, FoundTile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from .openfile import OpenFile
    from .stored import StoredArray

__all__ = [
    "DEFLATED_FORMAT",
    "DELTA_FORMAT",
    "FORMAT",
    "HEAD",
    "NEWEST_FORMAT",
    "PIXEL_FORMAT",
    "Hdf5File",
    "Hdf5Tiles",
    "announced_end",
    "open_hdf5",
]

FORMAT = 1
DELTA_FORMAT = 2
PIXEL_FORMAT = 3
DEFLATED_FORMAT = 4
NEWEST_FORMAT = 4
"""Numbers of the blobs' formats, in the attribute ``miripool_blob`` of ``/data``.

Plain; with tiles of other blobs; with all tiles of other blobs and pixels of its own; a table as a whole, by deflate.
"""

_MOST_OWNERS = (1 << 16) - 1

_SOURCE = re.compile(r"\.|\.\./([0-9a-f]{2})/\1[0-9a-f]{30}\.h5")
"""Files that a virtual dataset may have parts in, as `miripool.store.arrays.delta.mappings` names them."""

HEAD = 48
"""Bytes at a file's beginning that `announced_end` looks at: superblock 2 or 3 with offsets and lengths of 8 bytes."""

_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def announced_end(head: bytes) -> int | None:
    """Tell where a file says that it ends, without HDF5.

    Parameters
    ----------
    head : bytes
        Its first `HEAD` bytes.

    Returns
    -------
    int or None
        Its "end of file address" (HDF5 file format specification 3.0, II.A); None where this is no file of ours.
    """
    if len(head) < HEAD or not head.startswith(_SIGNATURE) or head[8] not in (2, 3) or head[9:11] != b"\x08\x08":
        return None
    return int.from_bytes(head[28:36], "little")


def open_hdf5(path: bytes, image: bytes | None = None) -> Any:
    """Open a file for reading.

    Parameters
    ----------
    path : bytes
        The file; a name for messages, if its content is given.
    image : bytes, optional
        All that is in the file, where it is none of this machine.

    Returns
    -------
    h5py.h5f.FileID
        To be closed.
    """
    load_hdf5()
    import h5py

    if image is not None:
        access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
        access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
        access.set_fapl_core(1 << 16, False)
        access.set_file_image(image)
        return h5py.h5f.open(path, h5py.h5f.ACC_RDONLY, access)
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


class Hdf5Tiles:
    """Says where the tiles of a dataset are, by HDF5's own account.

    Parameters
    ----------
    blob : StoredArray
        What the dataset should hold.
    file : OpenFile
        Its file.
    stored : h5py.h5d.DatasetID
        The dataset.
    chunks : tuple of int
        Of the dataset.
    digests : callable
        Reads those of the tiles, of which it is given the number.
    """

    def __init__(
        self,
        blob: StoredArray,
        file: OpenFile,
        stored: Any,
        chunks: tuple[int, ...],
        digests: Callable[[int], Sequence[bytes]],
    ) -> None:
        self._blob = blob
        self._file = file
        self._stored = stored
        self.chunks = chunks
        self._digests = digests
        self._spans: NDArray[np.uint64] | None = None

    def find(self, tile: Tile) -> FoundTile:
        """Tell where in the file a tile is; read it where the codec can't be had outside HDF5."""
        import h5py

        if not bitshuffle.available():
            import h5py

            try:
                elements = np.asarray(h5py.Dataset(self._stored)[tile.inside])
            except (OSError, RuntimeError, ValueError) as error:
                raise self._blob.unreadable("can't be read", error) from error
            return FoundTile(tile, self._blob, self._file, elements=elements)
        offset, size = self.spans()[tile.number].tolist()
        most = bitshuffle.most_for(math.prod(self.chunks), self._blob.dtype.itemsize)
        if not 0 < size <= most:
            raise self._blob.damaged(f"has no tile {tile.number} (at {tile.start})")
        return FoundTile(tile, self._blob, self._file, offset, size)

    def spans(self) -> NDArray[np.uint64]:
        """Give offset and size of each tile, zeros for those that the dataset has not.

        HDF5 finds one by going through all.
        """
        if self._spans is None:
            try:
                self._spans = self._find_spans()
            except (OSError, RuntimeError, ValueError) as error:
                raise self._blob.unreadable("can't be read", error) from error
        return self._spans

    def _find_spans(self) -> NDArray[np.uint64]:
        steps = grid(self._blob.shape, self.chunks)
        found: list[tuple[tuple[int, ...], int, int, int]] = []
        self._stored.chunk_iter(found.append)
        spans: NDArray[np.uint64] = np.zeros((math.prod(steps), 2), np.uint64)
        if found:
            starts, _, offsets, sizes = zip(*found, strict=True)
            numbers = np.ravel_multi_index(tuple((np.array(starts) // self.chunks).T), steps)
            spans[numbers, 0], spans[numbers, 1] = offsets, sizes
        return spans

    def digests(self) -> Sequence[bytes]:
        """Give the digest of each tile."""
        return self._digests(math.prod(grid(self._blob.shape, self.chunks)))

    def ranges(self) -> None:
        """Say that smallest and largest elements are not known."""

    def count(self) -> int:
        """Count the tiles that are there."""
        return int(self._stored.get_num_chunks())


class Hdf5File:
    """A blob's open file. Low-level h5py takes a third of the time to open it.

    Parameters
    ----------
    blob : StoredArray
        What it should hold.
    opened : h5py.h5f.FileID
        The file, for HDF5.
    file : OpenFile
        The same, for our own reader.

    Raises
    ------
    IntegrityError
        If it holds something else.
    """

    def __init__(self, blob: StoredArray, opened: Any, file: OpenFile) -> None:
        import h5py

        self._blob = blob
        self.file = file
        self._root = h5py.h5g.open(opened, b"/")
        self._data = self._object(b"data")
        number = int(self._attribute(b"miripool_blob", 0))
        if number > NEWEST_FORMAT:
            raise NewerFormat(f"blob {blob.where} was written by a newer miripool; update miripool")
        # What is virtual in a delta blob is for HDF5 tools; here its own tiles are read, and the other blobs by name.
        is_delta = number in (DELTA_FORMAT, PIXEL_FORMAT)
        self._tiles, chunks = self._dataset(b"tiles" if is_delta else b"data")
        self._refuse_sources()
        digest = self._attribute(b"digest", b"")
        if digest != blob.ref.digest.encode():
            raise blob.damaged(f"holds another array, {digest!r}")
        for held in (self._data, self._tiles):
            if held.shape != blob.shape or held.dtype != blob.dtype.newbyteorder("<"):
                raise blob.damaged(f"holds {held.dtype} {held.shape}, not {blob.dtype} {blob.shape}")
        dtype = blob.dtype
        if chunks is not None and math.prod(chunks) * dtype.itemsize > MAX_TILE:
            raise blob.damaged(f"has tiles that are too large, {chunks} elements")
        self.is_plain = chunks is None or number == DEFLATED_FORMAT
        self.chunks: tuple[int, ...] = chunks or ()
        self.tiles = Hdf5Tiles(blob, file, self._tiles, self.chunks, self._digests)
        self.owners: tuple[str, ...] = ()
        self.numbers: NDArray[Any] | None = None
        self.runs: NDArray[Any] | None = None
        if is_delta:
            self.owners, self.numbers = self._shared()
        if number == PIXEL_FORMAT:
            self.runs = self._changed_runs()

    def _object(self, name: bytes) -> Any:
        """Open a dataset of this file, wherever it keeps its data."""
        import h5py

        links = self._root.links
        found = links.exists(name) and links.get_info(name).type == h5py.h5l.TYPE_HARD
        opened = h5py.h5o.open(self._root, name) if found else None
        if not isinstance(opened, h5py.h5d.DatasetID):
            raise self._blob.damaged(f"has no dataset /{name.decode()}")
        return opened

    def _dataset(self, name: bytes) -> tuple[Any, tuple[int, ...] | None]:
        """Open a dataset that keeps its data in this file; give its chunks."""
        import h5py

        opened = self._object(name)
        made = opened.get_create_plist()
        layout = made.get_layout()
        if layout == h5py.h5d.VIRTUAL or (layout == h5py.h5d.CONTIGUOUS and made.get_external_count()):
            raise self._blob.damaged("keeps its data in another file")
        return opened, made.get_chunk() if layout == h5py.h5d.CHUNKED else None

    def _refuse_sources(self) -> None:
        """Look where a virtual dataset has its parts, before it is asked its shape: HDF5 may open them for that."""
        import h5py

        made = self._data.get_create_plist()
        if made.get_layout() != h5py.h5d.VIRTUAL:
            if made.get_layout() == h5py.h5d.CONTIGUOUS and made.get_external_count():
                raise self._blob.damaged("keeps its data in another file")
            return
        count = made.get_virtual_count()
        sources = {made.get_virtual_filename(i) for i in range(min(count, _MOST_OWNERS + 2))}
        if count > _MOST_OWNERS + 1 or not all(_SOURCE.fullmatch(source) for source in sources):
            raise self._blob.damaged("takes parts from files that are not blobs of this pool")

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

    def _shared(self) -> tuple[tuple[str, ...], NDArray[Any]]:
        """Read which other blobs have tiles, and for each tile which; 0 for this one."""
        if self.is_plain:
            raise self._blob.damaged("is a delta blob without tiles")
        numbers = self._vector(b"tile_owners", np.dtype("<u2"), math.prod(grid(self._blob.shape, self.chunks)))
        stored, _ = self._dataset(b"owners")
        count = stored.shape[0] if len(stored.shape) == 1 else 0
        if not 0 < count <= _MOST_OWNERS or numbers.max() > count:
            raise self._blob.damaged(f"names an impossible number of other blobs, {count}")
        names = [name.decode("ascii", "replace") for name in self._vector(b"owners", np.dtype("S32"), count).tolist()]
        if not all(re.fullmatch("[0-9a-f]{32}", name) for name in names):
            raise self._blob.damaged("names other blobs by texts that are not digests")
        return tuple(names), numbers

    def _vector(self, name: bytes, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
        import h5py

        stored, _ = self._dataset(name)
        if stored.shape != (count,) or stored.dtype != dtype:
            raise self._blob.damaged(f"has a dataset /{name.decode()} that does not hold its {count} elements")
        values: NDArray[Any] = np.empty(count, dtype)
        stored.read(h5py.h5s.ALL, h5py.h5s.ALL, values)
        return values

    def _changed_runs(self) -> NDArray[Any]:
        import h5py

        stored, _ = self._dataset(b"runs")
        if len(stored.shape) != 2 or stored.shape[0] > _MOST_OWNERS or stored.dtype != np.dtype("<u4"):
            raise self._blob.damaged("has no list of changed pixels")
        runs: NDArray[Any] = np.empty(stored.shape, np.uint32)
        stored.read(h5py.h5s.ALL, h5py.h5s.ALL, runs)
        if not are_runs(runs, self._blob.shape) or self.numbers is None or not self.numbers.all():
            raise self._blob.damaged("names changed pixels that can't be")
        return runs

    def pixel_tiles(self, packed: StoredArray) -> Hdf5Tiles:
        """Tell where the tiles of the packed elements of changed pixels are.

        Parameters
        ----------
        packed : StoredArray
            What they should hold.

        Returns
        -------
        Hdf5Tiles
            Good while the file is open.

        Raises
        ------
        IntegrityError
            If the file has them not.
        """
        stored, chunks = self._dataset(b"pixels")
        if stored.shape != packed.shape or stored.dtype != packed.dtype.newbyteorder("<") or chunks is None:
            raise self._blob.damaged("has no dataset /pixels that holds its changed pixels")
        if math.prod(chunks) * packed.dtype.itemsize > MAX_TILE:
            raise self._blob.damaged(f"has tiles that are too large, {chunks} elements")
        return Hdf5Tiles(packed, self.file, stored, chunks, lambda count: self._digests(count, b"pixel_digests"))

    def has_all_tiles(self) -> bool:
        """Tell whether each tile has been written that is not another blob's."""
        if self.is_plain:
            return True
        elsewhere = 0 if self.numbers is None else np.count_nonzero(self.numbers)
        return bool(self.tiles.count() == math.prod(grid(self._blob.shape, self.chunks)) - elsewhere)

    def is_mapped(self) -> bool:
        """Tell whether HDF5 tools find each tile of a delta blob where we do."""
        import h5py

        if self.numbers is None:
            return True
        made = self._data.get_create_plist()
        if made.get_layout() != h5py.h5d.VIRTUAL:
            return False
        expected = list(mappings(self._blob.shape, self.chunks, self.owners, self.numbers, self.runs))
        if made.get_virtual_count() != len(expected):
            return False
        for i, mapping in enumerate(expected):
            spaces = ((mapping.space, made.get_virtual_vspace(i)), (mapping.source, made.get_virtual_srcspace(i)))
            source = (made.get_virtual_filename(i), made.get_virtual_dsetname(i))
            if source != (mapping.file.decode(), mapping.dataset.decode()):
                return False
            if not all(np.array_equal(_blocks(one), _blocks(other)) for one, other in spaces):
                return False
        return True

    def read_plain(self) -> NDArray[Any]:
        """Read the whole of an array that is not in tiles."""
        import h5py

        blob = self._blob
        if self.chunks:
            is_there = self.chunks == blob.shape and self._data.get_num_chunks() == 1
        else:
            is_there = blob.ref.nbytes <= self._data.get_storage_size()
        if not is_there:
            raise blob.damaged("lacks some of its elements")
        whole = np.asarray(h5py.Dataset(self._data)[()]).reshape(blob.shape).astype(blob.dtype, copy=False)
        if tile_digest(whole) != self._digests(1)[0]:
            raise blob.damaged("has other values than were stored")
        return whole

    def _digests(self, count: int, name: bytes = b"tile_digests") -> Sequence[bytes]:
        import h5py

        stored, _ = self._dataset(name)
        if stored.shape != (count, 16) or stored.dtype != np.uint8:
            raise self._blob.damaged(f"has no digests of its {count} tiles")
        digests: NDArray[np.uint8] = np.empty((count, 16), np.uint8)
        stored.read(h5py.h5s.ALL, h5py.h5s.ALL, digests)
        return [digest.tobytes() for digest in digests]


def _blocks(space: Any) -> NDArray[Any]:
    """Give what is selected, as boxes."""
    import h5py

    if space.get_select_type() != h5py.h5s.SEL_HYPERSLABS:
        return np.array([(0,) * len(space.shape), space.shape])[np.newaxis]
    return np.asarray(space.get_select_hyper_blocklist())
