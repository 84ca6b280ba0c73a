"""Blob: a stored array, of which tiles are read when they are asked for, and checked."""

from __future__ import annotations

import contextlib
import errno
import itertools
import math
import os
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import IntegrityError, MiripoolError, NotFound
from ...model.tiles import all_tiles, bands, basic_index
from ...system.oserrors import storage_error
from ..manifest import BlobRef
from . import bitshuffle
from .delta import DeltaTiles, Part
from .hdf5file import HEAD, Hdf5File, Hdf5Tiles, announced_end, open_hdf5
from .hdf5library import load_hdf5
from .openfile import DescriptorFile, RangeFile, open_file
from .packedpixels import PackedPixels
from .tilelist import ListedTiles, TileList, read_tile_list, tile_list_of
from .tilereader import Places, TileReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from ...model.dataset import Choose
    from ...system.scratch import Room
    from ..storage.contract import Storage
    from .openfile import OpenFile
    from .tilelist import PixelList
    from .tilereader import Look

__all__ = ["Blob", "Whole", "blob_key", "root_cause"]

_REMEDY = "restore it from a copy of the pool, or from its FITS file, by `miripool repair POOL --from`"

_MOST_RATIO = 256
_SLACK = 1 << 16
"""Bytes of an array for each byte of its file, and more; bitshuffle + LZ4 makes zeros 170 times smaller."""

_MOST_BESIDE = 1 << 22
"""Bytes of a file beside its array, where it is read whole."""

_ERRNO = re.compile(r"\berrno = ([1-9]\d*)\b")
"""How HDF5 tells the operating system's error."""


def blob_key(digest: str) -> str:
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


class Blob:
    """A stored array, an `ArraySource`: reads and checks the tiles that a selection touches, and no others.

    Parameters
    ----------
    storage : Storage
        The pool's.
    ref : BlobRef
        What it should hold.
    what : str, optional
        Whose array it is, for messages.
    key : str, optional
        Of its file, where that is not among the pool's blobs.
    given_up : callable, optional
        Called if the file is missing: gives the error to raise if the version was removed for good meanwhile.
    """

    is_tiled = True
    """Reads whole tiles, however little of them is wanted."""

    def __init__(
        self,
        storage: Storage,
        ref: BlobRef,
        what: str = "",
        key: str | None = None,
        given_up: Callable[[], MiripoolError | None] | None = None,
    ) -> None:
        self._storage = storage
        self.key = key or blob_key(ref.blob)
        self.ref = ref
        self._what = f"{what}: " if what else ""
        self._given_up = given_up

    @property
    def where(self) -> str:
        """Its file, in messages."""
        return self._storage.name(self.key)

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
        with self._open() as tiles:
            part = tiles.read(starts, shape)
        return part[local]

    def read_into(self, out: NDArray[Any]) -> None:
        """Read all elements into memory that is there already.

        Parameters
        ----------
        out : ndarray
            Of this shape, native dtype.
        """
        with self._open() as tiles:
            whole = tiles.read((0,) * len(self.shape), self.shape, out)
        if whole is not out:
            out[...] = whole

    def in_order(self, room: Room, look: Look | None = None) -> Iterator[NDArray[Any]]:
        """Read all elements front to back, some whole tiles at a time.

        Parameters
        ----------
        room : Room
            Gives the memory for them.
        look : callable, optional
            Is shown the elements of each tile while they are in the processor's cache: in any order, from any thread.

        Yields
        ------
        ndarray
            In C order; good until the next is asked for.
        """
        with self._open() as tiles:
            for starts, shape in bands(self.shape, tiles.chunks, self.dtype.itemsize):
                size = math.prod(shape) * self.dtype.itemsize
                out = room.take("band", size).view(self.dtype).reshape(shape)
                yield tiles.read(starts, shape, out, look)

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
        with self._open() as tiles:
            yield from tiles.read_many(map(_corners, boxes))

    def pieces(self, choose: Choose | None = None, *, lend: bool = False) -> Iterator[NDArray[Any]]:
        """Read all elements, each once, some megabytes at a time; or those of some tiles.

        Parameters
        ----------
        choose : callable, optional
            Is given the smallest and the largest element of each tile, NaN ignored, and how many it has, if they are
            known; tells which tiles are to be read.
        lend : bool, keyword-only
            What is given need not last longer than until the next is asked for, of this or of another array.

        Yields
        ------
        ndarray
            Of any shape, in any order: for what does not depend on where an element is.
        """
        with self._open() as tiles:
            yield from tiles.read_pieces(choose, lend=lend)

    def is_sound(self) -> bool:
        """Look at the file without reading its tiles: whether it is there, whole, and this array's.

        Returns
        -------
        bool
            False where it, or a blob that has tiles of it, is missing or damaged. True does not say that the tiles hold
            the right values.
        """
        try:
            self.check()
        except IntegrityError:
            return False
        return True

    def check(self) -> None:
        """Look at the file as `is_sound` does.

        Raises
        ------
        IntegrityError
            If something is missing or damaged; it says what.
        """
        with self._open_hdf5() as file:
            self._check(file)

    def _check(self, file: Hdf5File) -> None:
        if not file.has_all_tiles():
            raise self.damaged("lacks some of its tiles")
        with contextlib.ExitStack() as stack:
            places = self._with_owners(self._possible(self._part_of(file)), stack)
            if isinstance(places, DeltaTiles):
                _find_all(places, self.shape)

    def looks_whole(self) -> bool:
        """Look at the two ends of the file: whether it is there, and has the length that it says it has.

        A tenth of the cost of `is_sound`, which also sees what is wrong between them.

        Returns
        -------
        bool
            False where it is missing, cut off or another's, or where only `is_sound` can tell.
        """
        return self._looks_whole(set())

    def _looks_whole(self, seen: set[str]) -> bool:
        if self.ref.digest in seen:
            return True
        seen.add(self.ref.digest)
        try:
            with self._file() as file:
                end = announced_end(file.read(0, HEAD))
                if end is None or end >= file.size:
                    return end == file.size
                # Behind the end of HDF5's part stands the list of tiles, or nothing.
                tiles = read_tile_list(file, self.ref)
        except MiripoolError:
            return False
        return tiles is not None and all(self._owner(digest)._looks_whole(seen) for digest in tiles.owners)

    def is_consistent(self) -> bool:
        """Look whether the file tells the same of its tiles twice: behind its end, and to HDF5 tools.

        Returns
        -------
        bool
            True for small arrays, which have no tiles.

        Raises
        ------
        IntegrityError
            If it can't be opened.
        """
        with self._open_hdf5() as file:
            return self._lists_same(file)

    def check_with_list(self) -> bool:
        """Look at the file as `check` and `is_consistent` do, which is opened once.

        Returns
        -------
        bool
            What `is_consistent` tells.

        Raises
        ------
        IntegrityError
            As by `check`.
        """
        with self._open_hdf5() as file:
            self._check(file)
            return self._lists_same(file)

    def _lists_same(self, file: Hdf5File) -> bool:
        if file.is_plain:
            return True
        tiles = read_tile_list(file.file, self.ref)
        if tiles is None or (tiles.chunks, tiles.owners) != (file.chunks, file.owners):
            return False
        numbers = tiles.numbers
        if file.numbers is not None and not (np.array_equal(numbers, file.numbers) and file.is_mapped()):
            return False
        listed = ListedTiles(self, file.file, tiles)
        return _agree(file.tiles, listed) and self._lists_same_pixels(file, tiles.pixels)

    def _lists_same_pixels(self, file: Hdf5File, pixels: PixelList | None) -> bool:
        if pixels is None or file.runs is None:
            return pixels is None and file.runs is None
        packed = PackedPixels(self, pixels.runs)
        if not np.array_equal(pixels.runs, file.runs):
            return False
        told = file.pixel_tiles(packed)
        if told.chunks != pixels.chunks or told.count() != len(pixels.records):
            return False
        return _agree(told, ListedTiles(packed, file.file, pixels))

    def is_sound_itself(self) -> bool:
        """Read the tiles that are in this file, and look at all that it keeps beside them; not at other blobs.

        Returns
        -------
        bool
            False where this file is missing or damaged; the array may be unreadable all the same, for want of others.
        """
        try:
            with contextlib.ExitStack() as stack:
                part = self._part(stack)
                if part.numbers is not None:
                    own = itertools.compress(all_tiles(self.shape, part.own.chunks), part.numbers == 0)
                    for _ in TileReader(self, part.own).read_many(map(_corners, (tile.inside for tile in own))):
                        pass  # each is checked as it is read
                if part.pixels is not None:
                    part.pixels.read_all()
            return self.is_consistent()
        except IntegrityError:
            return False

    def owners(self) -> tuple[str, ...]:
        """Tell which other blobs have tiles of this array.

        Returns
        -------
        tuple of str
            Digests; none of a plain blob.

        Raises
        ------
        IntegrityError
            If it can't be opened.
        """
        with contextlib.ExitStack() as stack:
            tiles = read_tile_list(stack.enter_context(self._file()), self.ref)
            return tiles.owners if tiles is not None else stack.enter_context(self._open_hdf5()).owners

    def tile_list(self) -> TileList | None:
        """Read the list of the tiles.

        Returns
        -------
        TileList or None
            None where there is none.

        Raises
        ------
        IntegrityError
            If the file can't be opened.
        """
        with self._file() as file:
            return read_tile_list(file, self.ref)

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
        return IntegrityError(f"{self._what}blob {self.where} is damaged: it {how}; {_REMEDY}")

    @contextlib.contextmanager
    def _open(self) -> Iterator[TileReader | Whole]:
        with contextlib.ExitStack() as stack:
            part = self._part(stack)
            if part.whole is not None:
                yield Whole(part.whole())
            else:
                yield TileReader(self, self._with_owners(part, stack))

    def _part(self, stack: contextlib.ExitStack) -> Part:
        """Open the file alone, and refuse what it can't hold."""
        part = None
        if bitshuffle.available():
            file = stack.enter_context(self._file())
            tiles = tile_list_of(file, self.ref)
            if tiles is not None:
                part = Part(ListedTiles(self, file, tiles), file.size, tiles.owners, tiles.numbers)
                if (pixels := tiles.pixels) is not None:
                    packed = PackedPixels(self, pixels.runs)
                    part = part.with_pixels(packed.pixels(ListedTiles(packed, file, pixels), tiles.chunks))
        return self._possible(part or self._part_of(stack.enter_context(self._open_hdf5())))

    def _part_of(self, file: Hdf5File) -> Part:
        whole = file.read_plain if file.is_plain else None
        part = Part(file.tiles, file.file.size, file.owners, file.numbers, whole=whole)
        if file.runs is None:
            return part
        packed = PackedPixels(self, file.runs)
        return part.with_pixels(packed.pixels(file.pixel_tiles(packed), file.chunks))

    def _possible(self, part: Part) -> Part:
        size = self.ref.nbytes
        if part.owners and part.numbers is not None:
            held = int(np.count_nonzero(part.numbers == 0)) * math.prod(part.own.chunks) * self.dtype.itemsize
            size = min(held + (part.pixels.nbytes if part.pixels is not None else 0), size)
        self._refuse_lies(size, part.file_bytes)
        return part

    def _with_owners(self, part: Part, stack: contextlib.ExitStack) -> Places:
        """Add to the tiles in this file those in others, each of which is opened once."""
        if not part.owners:
            return part.own
        opened: dict[str, Part] = {}

        def open_part(digest: str, passed: Sequence[str]) -> Part:
            if digest in passed or digest == self.ref.digest:
                raise self.damaged("names itself as the blob that has some of its tiles")
            if digest not in opened:
                owner = self._owner(digest)
                found = owner._part(stack)
                if found.own.chunks != part.own.chunks:
                    raise owner.damaged(f"has tiles of {found.own.chunks} elements, not of {part.own.chunks}")
                opened[digest] = found
            return opened[digest]

        tiles = DeltaTiles(part, open_part)
        if _is_lie(self.ref.nbytes, part.file_bytes):
            _find_all(tiles, self.shape)  # before there is room made for an array of which little is here
        return tiles

    def _owner(self, digest: str) -> Blob:
        what = f"{self._what}a part of {self.key.rpartition('/')[2]}"
        return Blob(self._storage, BlobRef(digest, self.dtype, self.shape), what, given_up=self._given_up)

    @contextlib.contextmanager
    def _file(self) -> Iterator[OpenFile]:
        """Open the file, without HDF5."""
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(open_file(self._storage, self.key))
            except NotFound:
                raise self._missing() from None
            except IntegrityError:
                raise self.damaged("is not a plain file") from None
            try:
                yield file
            except OSError as error:
                raise self.unreadable("can't be read", error) from error

    @contextlib.contextmanager
    def _open_hdf5(self) -> Iterator[Hdf5File]:
        with self._opened_hdf5() as (opened, file):
            found = Hdf5File(self, opened, file)
            if found.numbers is None:
                self._refuse_lies(self.ref.nbytes, file.size)
            yield found

    @contextlib.contextmanager
    def _opened_hdf5(self) -> Iterator[tuple[Any, OpenFile]]:
        load_hdf5()
        if not self._storage.exists(self.key):  # looked at first: HDF5 would wait for a pipe
            raise self._missing() if self._storage.is_free(self.key) else self.damaged("is not a plain file")
        try:
            opened, file = self._for_hdf5()
        except NotFound:
            raise self._missing() from None
        except (OSError, ValueError) as error:  # ValueError: it is empty
            raise self.unreadable("can't be opened as HDF5", error) from error
        try:
            yield opened, file
        except MiripoolError:
            raise
        except (OSError, RuntimeError, LookupError, ValueError, TypeError) as error:
            raise self.unreadable("can't be read", error) from error
        finally:
            opened.close()

    def _for_hdf5(self) -> tuple[Any, OpenFile]:
        if self._storage.files is not None:
            opened = open_hdf5(os.fsencode(self._storage.files.path(self.key)))
            return opened, DescriptorFile(opened.get_vfd_handle())
        file = RangeFile(self._storage, self.key)
        if file.size > 2 * self.ref.nbytes + _MOST_BESIDE:
            raise self.damaged(f"has {file.size} bytes, too many for an array of {self.ref.nbytes}")
        return open_hdf5(self.key.encode(), file.read(0, file.size)), file

    def _refuse_lies(self, size: int, file_bytes: int) -> None:
        """Look at the file's size before there is room made for what it says it holds."""
        if _is_lie(size, file_bytes):
            raise self.damaged(f"has {file_bytes} bytes, too few for an array of {size}")

    def _missing(self) -> MiripoolError:
        if self._given_up is not None and (meant := self._given_up()) is not None:
            return meant
        name = self._storage.name(self.key)
        return IntegrityError(f"{self._what}blob {name} is missing; {_REMEDY}")

    def unreadable(self, how: str, error: Exception) -> MiripoolError:
        """Say what the system, or HDF5, said of the file.

        Parameters
        ----------
        how : str
            What follows "it", if the file is damaged rather than the disk.
        error : Exception
            From the system or from h5py.

        Returns
        -------
        MiripoolError
            With its path.
        """
        cause = root_cause(error)
        if cause is not None and cause.errno == errno.ENOENT and self._storage.is_free(self.key):
            return self._missing()
        if cause is None or cause.errno == errno.ENOENT:
            return self.damaged(f"{how} ({error})")
        return storage_error(cause, self.where)


class Whole:
    """Reads parts of a small array that is there as a whole; otherwise a `TileReader`.

    Parameters
    ----------
    whole : ndarray
        The array.
    """

    def __init__(self, whole: NDArray[Any]) -> None:
        self._whole = whole
        self.chunks = whole.shape

    def read(
        self,
        starts: tuple[int, ...],
        shape: tuple[int, ...],
        out: NDArray[Any] | None = None,  # noqa: ARG002
        look: Look | None = None,
    ) -> NDArray[Any]:
        """Give a part."""
        inside: tuple[Any, ...] = tuple(slice(s, s + n) for s, n in zip(starts, shape, strict=True))
        part = self._whole[(*inside, ...)]
        if look is not None:
            look(part)
        return part

    def read_many(self, corners: Iterable[tuple[tuple[int, ...], tuple[int, ...]]]) -> Iterator[NDArray[Any]]:
        """Give some parts."""
        return (self.read(starts, shape) for starts, shape in corners)

    def read_pieces(self, choose: Choose | None, *, lend: bool) -> Iterator[NDArray[Any]]:  # noqa: ARG002
        """Give all elements."""
        yield self._whole


def _is_lie(size: int, file_bytes: int) -> bool:
    """Tell whether a file is too small for an array."""
    return size > _MOST_RATIO * file_bytes + _SLACK


def _corners(box: tuple[slice, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Give where a box starts, and its shape."""
    return tuple(s.start for s in box), tuple(s.stop - s.start for s in box)


def _agree(one: Hdf5Tiles, other: ListedTiles) -> bool:
    """Tell whether two accounts of a file have the same tiles at the same places, and the same digests."""
    return list(one.digests()) == list(other.digests()) and np.array_equal(one.spans(), other.spans())


def _find_all(places: Places, shape: tuple[int, ...]) -> None:
    """Make sure that each tile is somewhere."""
    for tile in all_tiles(shape, places.chunks):
        places.find(tile)
