"""Blob: a stored array, of which tiles are read when they are asked for, and checked."""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import math
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import bitshuffle
from .digest import tile_digest
from .errors import IntegrityError, MiripoolError, NewerFormat
from .storage import storage_error
from .threads import map_bounded
from .tiles import Tile, basic_index, copy_overlap, grid, room_of, tile_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from .manifest import BlobRef

__all__ = ["FORMAT", "Blob", "root_cause"]

FORMAT = 1
"""Number of the blobs' format, in the attribute ``miripool_blob`` of ``/data``."""

_ERRNO = re.compile(r"\berrno = ([1-9]\d*)\b")
"""How HDF5 tells the operating system's error."""

_MAX_TILE = 1 << 26
"""Bytes of a tile beyond which a file is not ours."""

_RUN_BYTES = 1 << 21
"""Bytes of the tiles that a thread reads at a time: many enough that threads seldom wait for each other."""


def root_cause(error: Exception) -> OSError | None:
    """Find the operating system's error that HDF5 wrapped in its own.

    Parameters
    ----------
    error : Exception
        From h5py.

    Returns
    -------
    OSError or None
        None if it was not one.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error
    found = _ERRNO.search(str(error))
    return OSError(int(found[1]), os.strerror(int(found[1]))) if found else None


@dataclass(frozen=True, slots=True)
class _Found:
    """Where a tile is in the file, offset and length in bytes; or its elements, where they had to be read by HDF5."""

    tile: Tile
    offset: int = 0
    size: int = 0
    elements: NDArray[Any] | None = None


def _read_run(descriptor: int, run: Sequence[_Found]) -> list[memoryview | None]:
    """Read tiles as they are in the file; at once if they stand one behind the other. None for those read already."""
    if run[0].elements is not None:
        return [None for _ in run]
    if any(a.offset + a.size != b.offset for a, b in itertools.pairwise(run)):
        return [memoryview(os.pread(descriptor, found.size, found.offset)) for found in run]
    begin = run[0].offset
    whole = memoryview(os.pread(descriptor, sum(found.size for found in run), begin))
    return [whole[found.offset - begin : found.offset - begin + found.size] for found in run]


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
        return "/".join(self._path.parts[-3:])

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
        starts, shape, local = basic
        with self._open() as file:
            part = file.read(starts, shape)
        return part[local]

    def parts(self, boxes: Iterable[tuple[slice, ...]]) -> Iterator[NDArray[Any]]:
        """Read many parts one after the other; the file is opened once.

        Parameters
        ----------
        boxes : iterable of tuple of slice
            One slice for each axis, inside the array; taken a few ahead.

        Yields
        ------
        ndarray
            In the order of the boxes.
        """
        corners = ((tuple(s.start for s in box), tuple(s.stop - s.start for s in box)) for box in boxes)
        with self._open() as file:
            yield from file.read_many(corners)

    def pieces(self) -> Iterator[NDArray[Any]]:
        """Read all elements, each once, some megabytes at a time.

        Yields
        ------
        ndarray
            Of any shape, in any order: for what does not depend on where an element is.
        """
        with self._open() as file:
            yield from file.read_pieces()

    def is_sound(self) -> bool:
        """Look at the file without reading its tiles: whether it is there, whole, and this array's.

        Returns
        -------
        bool
            False where it is missing or damaged. True does not say that the tiles hold the right values.
        """
        try:
            with self._open() as file:
                return file.has_all_tiles()
        except IntegrityError:
            return False

    def damaged(self, how: str) -> IntegrityError:
        """Say what is wrong with the file.

        Parameters
        ----------
        how : str
            What follows "it".

        Returns
        -------
        IntegrityError
            With its path.
        """
        return IntegrityError(f"blob {self._path} is damaged: it {how}; restore it from a copy of the pool")

    @contextlib.contextmanager
    def _open(self) -> Iterator[_File]:
        import h5py
        import hdf5plugin  # noqa: F401 - registers the filter

        try:
            file = h5py.h5f.open(os.fsencode(self._path), h5py.h5f.ACC_RDONLY, _access())
        except FileNotFoundError:
            raise IntegrityError(f"blob {self._path} is missing; restore it from a copy of the pool") from None
        except OSError as error:
            raise self._unreadable("can't be opened as HDF5", error) from error
        try:
            yield _File(self, file)
        except MiripoolError:
            raise
        except (OSError, RuntimeError, LookupError, ValueError, TypeError) as error:
            raise self._unreadable("can't be read", error) from error
        finally:
            file.close()

    def _unreadable(self, how: str, error: Exception) -> MiripoolError:
        cause = root_cause(error)
        if cause is None or cause.errno == errno.ENOENT:
            return self.damaged(f"{how} ({error})")
        return storage_error(cause, self._path)


@functools.cache
def _access() -> Any:
    """How files are opened: no locks, as they never change; what is open in a file closes with it."""
    import h5py

    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    access.set_file_locking(False, False)
    return access


class _File:
    """A blob's open file, checked against what it should hold.

    Low-level h5py takes a third of the time to open it. HDF5 tells where the tiles are; reading them without it needs
    neither its lock nor Python's.
    """

    def __init__(self, blob: Blob, file: Any) -> None:
        import h5py

        self._blob = blob
        self._file = file
        self._root = h5py.h5g.open(file, b"/")
        self._data, self._chunks = self._dataset(b"data")
        if int(self._attribute(b"miripool_blob", 0)) > FORMAT:
            raise NewerFormat(f"blob {blob._path} was written by a newer miripool; update miripool")
        digest = self._attribute(b"digest", b"")
        if digest != blob.ref.digest.encode():
            raise blob.damaged(f"is another array's, {digest!r}")
        shape, dtype = self._data.shape, self._data.dtype
        if shape != blob.shape or dtype != blob.dtype.newbyteorder("<"):
            raise blob.damaged(f"holds {dtype} {shape}, not {blob.dtype} {blob.shape}")
        if self._chunks is not None and math.prod(self._chunks) * dtype.itemsize > _MAX_TILE:
            raise blob.damaged(f"has tiles of {self._chunks} elements")

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
        if self._chunks is None:
            return True
        return bool(self._data.get_num_chunks() == math.prod(grid(self._blob.shape, self._chunks)))

    def read(self, starts: tuple[int, ...], shape: tuple[int, ...]) -> NDArray[Any]:
        """Read a box of elements, on all cores; give it as a native array."""
        if self._chunks is None:
            inside: tuple[Any, ...] = tuple(slice(s, s + n) for s, n in zip(starts, shape, strict=True))
            return self._read_plain()[(*inside, ...)]
        target: NDArray[Any] = np.empty(shape, self._blob.dtype)
        if 0 in shape:
            return target
        fill = self._filler()
        jobs = ((found, target, starts) for found in self._in_runs(self._touched(starts, shape)))
        for _ in map_bounded(fill, jobs):
            pass
        return target

    def read_many(self, corners: Iterable[tuple[tuple[int, ...], tuple[int, ...]]]) -> Iterator[NDArray[Any]]:
        """Read boxes, several at a time on as many cores; give them in their order."""
        if self._chunks is None:
            whole = self._read_plain()
            for starts, shape in corners:
                yield whole[tuple(slice(s, s + n) for s, n in zip(starts, shape, strict=True))]
            return
        fill = self._filler()

        def read(job: tuple[list[_Found], tuple[int, ...], tuple[int, ...]]) -> NDArray[Any]:
            found, starts, shape = job
            return fill((found, np.empty(shape, self._blob.dtype), starts))

        jobs = (([self._find(t) for t in self._touched(starts, shape)], starts, shape) for starts, shape in corners)
        yield from map_bounded(read, jobs)

    def read_pieces(self) -> Iterator[NDArray[Any]]:
        """Read all tiles, several at a time on as many cores: whole ones stacked along a new axis, others alone."""
        if self._chunks is None:
            yield self._read_plain()
            return
        fill, dtype, chunks = self._filler(), self._blob.dtype, self._chunks

        def read(found: list[_Found]) -> NDArray[Any]:
            if len(found) == 1:
                inside = found[0].tile.inside
                return fill((found, np.empty([s.stop - s.start for s in inside], dtype), found[0].tile.start))
            return fill((found, np.empty((len(found), *chunks), dtype), None))

        everything = self._touched((0,) * len(chunks), self._blob.shape)
        yield from map_bounded(read, self._in_runs(everything, whole=True))

    def _touched(self, starts: tuple[int, ...], shape: tuple[int, ...]) -> Iterator[Tile]:
        assert self._chunks is not None  # noqa: S101 - only chunked arrays have tiles
        ranges = [range(s // c, (s + n - 1) // c + 1) for s, n, c in zip(starts, shape, self._chunks, strict=True)]
        return (tile_at(index, self._blob.shape, self._chunks) for index in itertools.product(*ranges))

    def _in_runs(self, tiles: Iterable[Tile], *, whole: bool = False) -> Iterator[list[_Found]]:
        """Give the tiles in lists that are worth a thread's while; with `whole`, those cut by the edge alone."""
        assert self._chunks is not None  # noqa: S101 - only chunked arrays have tiles
        most = max(1, _RUN_BYTES // max(1, math.prod(self._chunks) * self._blob.dtype.itemsize))
        run: list[_Found] = []
        for tile in tiles:
            alone = whole and any(s.stop - s.start < n for s, n in zip(tile.inside, self._chunks, strict=True))
            if run and (alone or len(run) == most):
                yield run
                run = []
            run.append(self._find(tile))
            if alone:
                yield run
                run = []
        if run:
            yield run

    def _read_plain(self) -> NDArray[Any]:
        import h5py

        blob = self._blob
        whole = np.asarray(h5py.Dataset(self._data)[()]).reshape(blob.shape).astype(blob.dtype, copy=False)
        if tile_digest(whole) != self._digests(1)[0].tobytes():
            raise blob.damaged("has other values than were stored")
        return whole

    def _find(self, tile: Tile) -> _Found:
        """Tell where in the file a tile is; read it where the codec can't be had outside HDF5."""
        import h5py

        if not bitshuffle.available():
            return _Found(tile, elements=np.asarray(h5py.Dataset(self._data)[tile.inside]))
        found = self._data.get_chunk_info_by_coord(tile.start)
        if found.byte_offset is None or not 0 < found.size <= 2 * _MAX_TILE:
            raise self._blob.damaged(f"has no tile {tile.number} (at {tile.start})")
        return _Found(tile, found.byte_offset, found.size)

    def _filler(self) -> Callable[[tuple[list[_Found], NDArray[Any], tuple[int, ...] | None]], NDArray[Any]]:
        """Give the function that reads and decodes tiles, checks them and puts them where they belong; for any thread.

        It takes the tiles, a box, and where the box starts; None for a box with a first axis of one place for each.
        """
        assert self._chunks is not None  # noqa: S101 - only chunked arrays have tiles
        blob, chunks, descriptor = self._blob, self._chunks, self._file.get_vfd_handle()
        digests = self._digests(math.prod(grid(blob.shape, chunks)))

        def fill(job: tuple[list[_Found], NDArray[Any], tuple[int, ...] | None]) -> NDArray[Any]:
            run, target, starts = job
            for i, (found, coded) in enumerate(zip(run, _read_run(descriptor, run), strict=True)):
                tile = found.tile
                room = target[i] if starts is None else room_of(tile, target, starts)
                elements = found.elements if coded is None else _decode(blob, tile, coded, chunks, room)
                assert elements is not None  # noqa: S101 - not coded means read already
                if tile_digest(elements) != digests[tile.number].tobytes():
                    raise blob.damaged(f"has other values in tile {tile.number} (at {tile.start}) than were stored")
                if starts is None and elements is not room:
                    target[i] = elements
                elif starts is not None and elements is not room:
                    copy_overlap(elements, tile, target, starts)
            return target

        return fill

    def _digests(self, count: int) -> NDArray[np.uint8]:
        import h5py

        stored, _ = self._dataset(b"tile_digests")
        if stored.shape != (count, 16) or stored.dtype != np.uint8:
            raise self._blob.damaged(f"has no digests of its {count} tiles")
        digests: NDArray[np.uint8] = np.empty((count, 16), np.uint8)
        stored.read(h5py.h5s.ALL, h5py.h5s.ALL, digests)
        return digests


def _decode(
    blob: Blob, tile: Tile, coded: memoryview, chunks: tuple[int, ...], room: NDArray[Any] | None
) -> NDArray[Any]:
    """Decode a tile where it belongs, if it fits there as it is; else into memory of its own."""
    little = blob.dtype.newbyteorder("<")
    here = room is not None and room.shape == chunks and room.dtype == little
    whole: NDArray[Any] = room if here and room is not None else np.empty(chunks, little)
    try:
        bitshuffle.decompress(coded, whole)
    except IntegrityError as error:
        raise blob.damaged(f"can't be decoded in tile {tile.number} (at {tile.start}): {error}") from error
    return whole if here else whole[tuple(slice(s.stop - s.start) for s in tile.inside)]
