"""A version's FITS file without the file: any of its bytes, made when they are asked for from headers and arrays.

A reader of ranges asks for bytes in any order. In a FITS file the groups of a ramp lie a whole image apart, but a
stored tile has all groups of a patch of pixels. So a short read decodes the tiles that it touches, with all their
groups, and they are kept for the next reads. The longer a reader reads on in a row, the more tiles are decoded ahead.
"""

from __future__ import annotations

import bisect
import itertools
import math
import re
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidInput
from ..model.cards import BLOCK, CARD, close_header, format_card, parse_header
from ..model.kinds import KINDS
from ..model.tiles import tile_shape
from .build import layout_of
from .frames import FramesSource
from .sources import encode_pieces
from .write import hdu_parts, jwst_layout, layout_parts

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from numpy.typing import NDArray

    from ..model.dataset import ArraySource
    from ..model.product import Product

__all__ = ["VirtualFile", "extension_file", "virtual_file"]

_KEPT_BYTES = 1 << 27
"""Bytes of decoded elements that a file keeps: one integration of most FULL ramps, as `iter_blocks` reads at a time."""
_KEPT_BLOCKS = 256
"""Blocks that a file keeps: looking through them takes less than to open a blob, some 0.2 ms."""
_UNTILED_BYTES = 1 << 22
"""Bytes read at a time of arrays of which any part can be read by itself."""
_PATCH_BYTES = 1 << 18
"""Bytes that such an array gives at least: about what a tile has."""
_WHOLE_BYTES = 1 << 20
"""Bytes of an array up to which it is read as a whole; stored ones of a few kilobytes can't be read otherwise."""
_SMALL_BYTES = 1 << 24
"""Bytes of a patch up to which all of its groups are kept, where those of whole images are too many."""
_AHEAD = 4
"""How many times as far as it has read in a row a reader is expected to go on."""
_NEAR = 4
"""How many times its own length, up to `_PIECE`, a read may lie from the one before to be in a row with it: systems
that read ahead ask out of order."""
_PIECE = 1 << 20
"""Bytes of a piece at most."""

_ABOUT_DATA = re.compile(r"NAXIS\d+|PCOUNT|GCOUNT|GROUPS|BSCALE|BZERO|BLANK|DATASUM|P(?:TYPE|SCAL|ZERO)\d+")
"""Keywords that a primary header has only because of its data."""


class VirtualFile:
    """The bytes of a FITS file that is not there. Several threads may read it.

    What was decoded last is kept, at most 128 MB of it, as long as this object is.

    Parameters
    ----------
    parts : iterable of bytes or ArraySource
        What it consists of, as `layout_parts` gives it.
    filename : str
        What to call it.
    digest : str, optional
        xxh3_128 of all its bytes, hexadecimal, if that is known.

    Attributes
    ----------
    size : int
        Bytes; no array was read for it.
    filename : str
        Without folder.
    digest : str or None
        As given.
    """

    def __init__(self, parts: Iterable[bytes | ArraySource], filename: str, digest: str | None = None) -> None:
        made = (part if isinstance(part, bytes) else _Array(part) for part in parts)
        self._parts = [part for part in made if (len(part) if isinstance(part, bytes) else part.nbytes)]
        sizes = (len(part) if isinstance(part, bytes) else part.nbytes for part in self._parts)
        *self._starts, self.size = itertools.accumulate(sizes, initial=0)
        self.filename = filename
        self.digest = digest
        self._reader = _Reader()

    def __repr__(self) -> str:
        return f"<VirtualFile {self.filename}: {self.size} bytes>"

    def read(self, start: int, stop: int) -> bytes:
        """Give some of the bytes, as slicing them all would.

        Parameters
        ----------
        start, stop : int
            Where they begin and end, counted from 0; what is beyond the end of the file is left out.

        Returns
        -------
        bytes
            All in memory at once: for longer ranges there is `pieces`.

        Raises
        ------
        InvalidInput
            If one of them is negative.
        IntegrityError
            If stored data are damaged or missing.
        StorageError
            If they can't be read.
        """
        return b"".join(self.pieces(start, stop))

    def pieces(self, start: int, stop: int) -> Generator[bytes, None, None]:
        """Give some of the bytes in pieces, in bounded memory.

        Parameters
        ----------
        start, stop : int
            As for `read`.

        Returns
        -------
        generator of bytes
            A megabyte each at most, none of them empty. While it is in use it holds up to 128 MB of its own. It raises
            what `read` does.

        Raises
        ------
        InvalidInput
            If one of them is negative.
        """
        if start < 0 or stop < 0:
            raise InvalidInput(f"{self.filename} has no bytes {start} to {stop}; count from 0")
        return self._pieces(start, min(stop, self.size))

    def _pieces(self, start: int, stop: int) -> Generator[bytes, None, None]:
        if start >= stop:
            return
        goal = self._reader.expect(start, stop)
        for number in range(bisect.bisect_right(self._starts, start) - 1, len(self._parts)):
            part, offset = self._parts[number], self._starts[number]
            if offset >= stop:
                break
            low = max(0, start - offset)
            if isinstance(part, bytes):
                yield from _cut(part[low : stop - offset])
            else:
                yield from self._reader.pieces(part, low, min(stop - offset, part.nbytes), goal - offset)


def virtual_file(product: Product, *, jwst: bool = False) -> VirtualFile:
    """Give the FITS file that `write_fits` would write of a product, without writing it.

    Parameters
    ----------
    product : Product
        Any.
    jwst : bool, keyword-only
        Of a ground test's exposure, the Level-1b file that it was turned into instead of the bench's.

    Returns
    -------
    VirtualFile
        Its bytes are those of the file. Of a product that has changed since it was read, or that was made in memory,
        `digest` is None.

    Raises
    ------
    InvalidInput
        If FITS can't hold a dataset of a product made in memory.
    """
    layout = jwst_layout(product) if jwst else layout_of(product)
    digest = None if layout.origin is None else layout.origin.digest
    return VirtualFile(layout_parts(layout), _filename(product, jwst=jwst), digest)


def extension_file(product: Product, dataset: str) -> VirtualFile:
    """Give one dataset of a product as a FITS file of its own: the primary header, and the dataset's extension.

    Parameters
    ----------
    product : Product
        Any; of a ground test's exposure, it is the Level-1b file's extension.
    dataset : str
        A name that ``product.datasets`` has, in any case of letters.

    Returns
    -------
    VirtualFile
        The cards of both headers and the data are those of the product's file. Of the primary header, cards that
        describe its data are left out, and the card EXTEND is added where it is missing. If the dataset lies in the
        primary HDU, the file has that alone. `digest` is None.

    Raises
    ------
    ProductNotFound
        If the product has no such dataset.
    InvalidInput
        If FITS can't hold a dataset of a product made in memory.
    """
    _ = product[dataset]  # an unknown name is the product's own error
    name = dataset if dataset in product.datasets else dataset.upper()
    hdus = layout_of(product).hdus
    number = next(i for i, hdu in enumerate(hdus) if hdu.name == name)
    before = [_primary_alone(hdus[0].header)] if number else []
    header = hdus[number].header
    # What stands behind the data instead of padding belongs to the whole file: it may be that the file was cut there.
    alone = replace(hdus[number], header=header.ljust(-(-len(header) // BLOCK) * BLOCK), tail=None)
    stem = _filename(product, jwst=True).removesuffix(".fits")
    return VirtualFile(itertools.chain(before, hdu_parts(alone)), f"{stem}_{_plain(name)}.fits")


def _filename(product: Product, *, jwst: bool) -> str:
    """Choose a name: the one that the file came with, or one made of the product's."""
    layout = product.layout
    name = _plain(product.name or "product")
    if layout is not None and layout.original is not None and jwst:
        return f"{name}_{KINDS[product.kind].suffix or product.kind.lower()}.fits"
    given = "" if layout is None or layout.origin is None else Path(layout.origin.filename).name.removesuffix(".gz")
    return given or f"{name}_{product.kind.lower()}.fits"


def _plain(name: str) -> str:
    """Make a part of a file's name of a name that may hold anything."""
    return re.sub(r"[^\w.+-]+", "-", name)


def _primary_alone(header: bytes) -> bytes:
    """Give a primary header without data, before an extension; one that is like that stays as it is."""
    images = [header[start : start + CARD] for start in range(0, len(header), CARD)]
    names = [image[:8].decode("latin-1").rstrip().upper() for image in images]
    end = next(i for i, image in enumerate(images) if image.startswith(b"END     "))
    values = {card.keyword: card.value for card in reversed(parse_header(header))}
    has_data = values.get("NAXIS") != 0
    kept = [i for i in range(end) if not (has_data and _ABOUT_DATA.fullmatch(names[i]))]
    extend = next((i for i in kept if names[i] == "EXTEND"), None)
    first, kept = kept[:3], [i for i in kept[3:] if i != extend]  # SIMPLE, BITPIX and NAXIS have their places
    start = [images[i] for i in first]
    if has_data:
        start[-1] = format_card("NAXIS", 0)
    is_right = values.get("EXTEND") is True
    start.append(images[extend] if extend is not None and is_right else format_card("EXTEND", True))
    made = close_header(b"".join([*start, *(images[i] for i in kept)]))
    if made == header:
        return header
    return close_header(b"".join([*start, *(images[i] for i in kept if names[i] != "CHECKSUM")]))


def _cut(piece: bytes) -> Iterator[bytes]:
    if len(piece) <= _PIECE:
        if piece:
            yield piece
        return
    for start in range(0, len(piece), _PIECE):
        yield piece[start : start + _PIECE]


@dataclass(frozen=True, slots=True)
class _Box:
    """Part of an array: frames (counted over all axes but the last two), rows and columns."""

    frames: range
    rows: range
    columns: range

    @property
    def size(self) -> int:
        return len(self.frames) * len(self.rows) * len(self.columns)


class _Array:
    """An array of the file: how its elements lie in the file, and which of them are read together.

    Parameters
    ----------
    source : ArraySource
        Image, rows of a table or bytes.
    """

    def __init__(self, source: ArraySource) -> None:
        self._source = source
        self._shape = tuple(source.shape)
        self.itemsize = source.dtype.itemsize
        self.rows, self.columns = (1, 1, *self._shape)[-2:]
        self.frames = math.prod(self._shape[:-2])
        self.size = math.prod(self._shape)
        self.nbytes = self.size * self.itemsize
        self._depth = self._shape[-3] if len(self._shape) > 2 else 1
        # Frames whose tiles are the same; rows and columns of a tile.
        self._unit, self._tile_rows, self._tile_columns = self._tiling() if self.nbytes else (1, 1, 1)

    def _tiling(self) -> tuple[int, int, int]:
        framed = isinstance(self._source, FramesSource)
        stored = self._source.science if isinstance(self._source, FramesSource) else self._source
        if getattr(stored, "is_tiled", False):
            # Arranging a bench's frames takes memory beside them.
            self._most = _KEPT_BYTES // 2 if framed else _KEPT_BYTES
            *_, depth, rows, columns = (1, 1, *tile_shape(tuple(stored.shape), self.itemsize))
            return (stored.shape[1] if framed else depth), rows, columns
        self._most = _UNTILED_BYTES
        columns = min(self.columns, max(1, _PATCH_BYTES // self.itemsize))
        return 1, min(self.rows, max(1, _PATCH_BYTES // (self.columns * self.itemsize))), columns

    def place(self, element: int) -> tuple[int, int, int]:
        """Tell frame, row and column of an element."""
        frame, rest = divmod(element, self.rows * self.columns)
        return (frame, *divmod(rest, self.columns))

    def box(self, element: int, goal: int) -> _Box:
        """Choose what to read for an element and those behind it up to a goal: all tiles of some, and no others."""
        if self.nbytes <= _WHOLE_BYTES:
            return _Box(range(self.frames), range(self.rows), range(self.columns))
        frame, row, column = self.place(element)
        last_frame, last_row, last_column = self.place(min(goal, self.size) - 1)
        same, frames = self._same_tiles(frame), self._together(frame)
        depth_bytes = len(frames) * self.itemsize
        low = row // self._tile_rows * self._tile_rows
        whole = goal - element >= self.rows * self.columns and low == 0
        if whole and self.rows * self.columns * depth_bytes <= self._most:
            return _Box(self._more(frames, last_frame), range(self.rows), range(self.columns))
        if last_frame > frame:
            last_row, last_column = self.rows - 1, self.columns - 1
        most = self._most // (depth_bytes * self.columns) // self._tile_rows * self._tile_rows
        if last_row > row and most:
            high = -(-(last_row + 1) // self._tile_rows) * self._tile_rows
            rows, columns = range(low, min(high, low + most, self.rows)), range(self.columns)
        else:
            rows = range(low, min(low + self._tile_rows, self.rows))
            left = column // self._tile_columns * self._tile_columns
            wanted = self.columns if last_row > row else last_column + 1
            right = -(-wanted // self._tile_columns) * self._tile_columns
            most = max(1, self._most // (depth_bytes * len(rows)) // self._tile_columns) * self._tile_columns
            columns = range(left, min(right, left + most, self.columns))
        is_small = len(same) * len(rows) * len(columns) * self.itemsize <= _SMALL_BYTES
        return _Box(same if is_small else frames, rows, columns)

    def _same_tiles(self, frame: int) -> range:
        """Give the frames of which one has the same tiles as another."""
        integration, group = divmod(frame, self._depth)
        start = integration * self._depth + group // self._unit * self._unit
        return range(start, min(start + self._unit, (integration + 1) * self._depth))

    def _together(self, frame: int) -> range:
        """Give those of them that are read with one: as many as may be kept."""
        same = self._same_tiles(frame)
        cuts = -(-len(same) * self.rows * self.columns * self.itemsize // self._most)
        step = -(-len(same) // cuts)
        start = same.start + (frame - same.start) // step * step
        return range(start, min(start + step, same.stop))

    def _more(self, frames: range, last: int) -> range:
        """Add frames up to the last that is wanted, so that few calls read many small ones."""
        wanted = min(last + 1, frames.start + self._most // (self.rows * self.columns * self.itemsize)) - frames.start
        integration, group = divmod(frames.start, self._depth)
        count = self._depth - group
        if group == 0 and wanted >= self._depth and len(self._shape) > 3:
            beside = self._shape[-4] - integration % self._shape[-4]
            count = min(wanted // self._depth, beside) * self._depth
        elif wanted < count:
            count = wanted // self._unit * self._unit
        return range(frames.start, frames.start + max(len(frames), count))

    def read(self, box: _Box) -> NDArray[Any]:
        """Read a box, shape (frames, rows, columns)."""
        elements: NDArray[Any] = np.ascontiguousarray(self._source[self._key(box)])
        return elements.reshape(len(box.frames), len(box.rows), len(box.columns))

    def _key(self, box: _Box) -> tuple[Any, ...]:
        if box.size == self.size:
            return (...,)
        key: tuple[Any, ...] = tuple(slice(axis.start, axis.stop) for axis in (box.rows, box.columns))
        key = key[-len(self._shape) :]
        if len(self._shape) > 2:
            integration, group = divmod(box.frames.start, self._depth)
            outer = [int(i) for i in np.unravel_index(integration, self._shape[:-3])] if len(self._shape) > 3 else []
            if group + len(box.frames) <= self._depth:
                key = (*outer, slice(group, group + len(box.frames)), *key)
            else:
                count = len(box.frames) // self._depth
                key = (*outer[:-1], slice(outer[-1], outer[-1] + count), slice(None), *key)
        return key


@dataclass(frozen=True, slots=True)
class _Block:
    """Elements that were read."""

    array: _Array
    box: _Box
    elements: NDArray[Any]

    def holds(self, array: _Array, place: tuple[int, int, int]) -> bool:
        """Tell whether an element is among them."""
        if array is not self.array:
            return False
        frame, row, column = place
        return frame in self.box.frames and row in self.box.rows and column in self.box.columns

    def run(self, element: int, stop: int) -> NDArray[Any]:
        """Give those of some elements that are there, from the first on, without a gap."""
        frame, row, _ = self.array.place(element)
        box, elements = self.box, self.elements
        at = [box.frames.start, box.rows.start, box.columns.start]
        if len(box.columns) < self.array.columns:
            elements, at = elements[frame - at[0], row - at[1]], [frame, row, at[2]]
        elif len(box.rows) < self.array.rows:
            elements, at = elements[frame - at[0]], [frame, *at[1:]]
        first = (at[0] * self.array.rows + at[1]) * self.array.columns + at[2]
        return elements.reshape(-1)[element - first : stop - first]


class _Reader:
    """Reads arrays block by block and keeps the blocks that were used last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks: list[_Block] = []  # the one used last is the last
        self._end = math.inf  # of the read before
        self._in_a_row = 0

    def expect(self, start: int, stop: int) -> int:
        """Tell how far a reader of these bytes of the file is expected to read on."""
        with self._lock:
            follows = abs(start - self._end) <= min(_NEAR * (stop - start), _PIECE)
            self._in_a_row = self._in_a_row + stop - start if follows else 0
            self._end = stop
            return max(stop, start + _AHEAD * self._in_a_row)

    def pieces(self, array: _Array, start: int, stop: int, goal: int) -> Iterator[bytes]:
        """Give some bytes of an array in the file; it may be read as far as a goal."""
        last, goal = (-(-end // array.itemsize) for end in (stop, min(goal, array.nbytes)))
        element = start // array.itemsize
        while element < last:
            offset = element * array.itemsize
            for piece in self._run(array, element, last, goal):
                inside = piece[max(0, start - offset) : stop - offset]
                offset += len(piece)
                yield from _cut(inside)
            element = offset // array.itemsize

    def _run(self, array: _Array, element: int, last: int, goal: int) -> Iterator[bytes]:
        """Encode elements of one block, which is let go before the next is read."""
        yield from encode_pieces(self._block(array, element, goal).run(element, last))

    def _block(self, array: _Array, element: int, goal: int) -> _Block:
        place = array.place(element)
        with self._lock:  # also while it is read, on all cores: others may want the same
            for number in range(len(self._blocks) - 1, -1, -1):
                if self._blocks[number].holds(array, place):
                    block = self._blocks.pop(number)
                    break
            else:
                box = array.box(element, goal)
                self._make_room(box.size * array.itemsize)
                block = _Block(array, box, array.read(box))
            self._blocks.append(block)
            return block

    def _make_room(self, size: int) -> None:
        kept = sum(block.elements.nbytes for block in self._blocks)
        while self._blocks and (kept + size > _KEPT_BYTES or len(self._blocks) >= _KEPT_BLOCKS):
            kept -= self._blocks.pop(0).elements.nbytes
