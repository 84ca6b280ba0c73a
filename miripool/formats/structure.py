"""The structure of a FITS stream: where its headers and data units are, by the standard and without astropy."""

from __future__ import annotations

import gzip
import math
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cards import BLOCK, CARD, Card, parse_header
from ..errors import FileMissing, FormatError, StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["Unit", "open_stream", "scan"]

_MAX_HEADER = 64 << 20
"""No header is longer; where END does not come until then, it never will."""
_IN_MEMORY = 64 << 20
"""Compressed files that are larger than this when decompressed go to a temporary file."""
_CHUNK = 4 << 20


@dataclass(frozen=True, slots=True)
class Unit:
    """One header and data unit of a stream.

    Attributes
    ----------
    start : int
        Where the header begins.
    header : bytes
        Verbatim, with END and padding (which can be cut off only at the end of the stream).
    cards : tuple of Card
        What it says.
    values : mapping
        Value of the first card of each keyword.
    data : int
        Where the data unit begins.
    size : int
        Its bytes, without padding.
    stop : int
        Where its padding ends: the next header's start, or the end of the stream.
    """

    start: int
    header: bytes
    cards: tuple[Card, ...]
    values: Mapping[str, Any]
    data: int
    size: int
    stop: int


def open_stream(source: Path | bytes | memoryview) -> NDArray[np.uint8]:
    """Map a file, or take bytes, as one array; gzip is undone.

    Parameters
    ----------
    source : Path, bytes or memoryview
        A FITS file or its content, compressed by gzip or not.

    Returns
    -------
    ndarray of uint8
        Read-only.

    Raises
    ------
    FileMissing
        If there is no such file.
    FormatError
        If it is a folder, empty, or damaged gzip.
    StorageError
        If it can't be read.
    """
    label = str(source) if isinstance(source, Path) else "the given bytes"
    stream = _map(source) if isinstance(source, Path) else np.frombuffer(source, dtype=np.uint8)
    if stream.size == 0:
        raise FormatError(f"{label}: empty, not a FITS file; copy it again from where it came from")
    if bytes(stream[:2]) == b"\x1f\x8b":
        return _decompress(stream, label)
    return stream


def _map(path: Path) -> NDArray[np.uint8]:
    try:
        if path.is_dir():
            raise FormatError(f"{path}: a folder, not a FITS file; name the files in it")
        if path.stat().st_size == 0:
            return np.empty(0, np.uint8)
        return np.memmap(path, dtype=np.uint8, mode="r").view(np.ndarray)
    except FileNotFoundError:
        raise FileMissing(f"{path}: no such file; check the name") from None
    except (OSError, ValueError) as error:
        raise StorageError(f"{path}: can't be read: {error}") from error


def _decompress(stream: NDArray[np.uint8], label: str) -> NDArray[np.uint8]:
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as spool:
        try:
            with gzip.GzipFile(fileobj=_Reader(stream)) as packed:  # type: ignore[call-overload]
                while chunk := packed.read(_CHUNK):
                    spool.write(chunk)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise FormatError(f"{label}: damaged gzip file ({error}); copy it again from where it came from") from error
        except OSError as error:
            raise StorageError(f"{label}: can't be decompressed to a temporary file: {error}") from error
        size = spool.tell()
        if size == 0:
            raise FormatError(f"{label}: empty, not a FITS file; copy it again from where it came from")
        spool.seek(0)
        if size <= _IN_MEMORY:
            return np.frombuffer(spool.read(), dtype=np.uint8)
        spool.flush()
        # The mapping outlives the file's name and its handle.
        return np.memmap(spool._file, dtype=np.uint8, mode="r").view(np.ndarray)


class _Reader:
    """Reads an array like a file, without a copy of all of it."""

    def __init__(self, stream: NDArray[np.uint8]) -> None:
        self._stream = stream
        self._place = 0

    def read(self, n: int = -1) -> bytes:
        stop = len(self._stream) if n < 0 else self._place + n
        part = self._stream[self._place : stop].tobytes()
        self._place += len(part)
        return part


def scan(stream: NDArray[np.uint8], label: str) -> tuple[list[Unit], int]:
    """Find all header and data units.

    Parameters
    ----------
    stream : ndarray of uint8
        The whole stream.
    label : str
        File name for error messages.

    Returns
    -------
    units : list of Unit
        In file order.
    stop : int
        Where the last one ends; what follows is not FITS.

    Raises
    ------
    FormatError
        If this is not FITS, a header is corrupt, or data are missing.
    """
    if bytes(stream[:9]) != b"SIMPLE  =":
        raise FormatError(f"{label}: not a FITS file; it does not begin with SIMPLE")
    units: list[Unit] = []
    place = 0
    while place < stream.size and (not units or bytes(stream[place : place + 8]) == b"XTENSION"):
        units.append(_read_unit(stream, place, len(units), label))
        place = units[-1].stop
    return units, place


def _read_unit(stream: NDArray[np.uint8], start: int, number: int, label: str) -> Unit:
    header = _read_header(stream, start, f"{label}: HDU {number}")
    cards = tuple(parse_header(header))
    values = {card.keyword: card.value for card in reversed(cards)}
    name = values.get("EXTNAME")
    place = f"{label}: HDU {number}" + (f" ({name})" if isinstance(name, str) else "")
    size = _data_size(values, place)
    data = start + len(header)
    missing = data + size - stream.size
    if missing > 0:
        raise FormatError(
            f"{place}: {missing} bytes are missing at the end of its data (the header announces {size}); "
            "the file is cut off or its header is wrong: copy it again from where it came from"
        )
    padded = data + -(-size // BLOCK) * BLOCK
    return Unit(start, header, cards, values, data, size, min(padded, stream.size))


def _read_header(stream: NDArray[np.uint8], start: int, place: str) -> bytes:
    blocks: list[bytes] = []
    stop = min(start + _MAX_HEADER, stream.size)
    for position in range(start, stop, BLOCK):
        block = stream[position : position + BLOCK].tobytes()
        blocks.append(block)
        for offset in range(0, len(block), CARD):
            if block.startswith(b"END     ", offset) and block[offset + 8 : offset + 10] != b"= ":
                return b"".join(blocks)
    raise FormatError(
        f"{place}: its header has no END card within {stop - start} bytes; "
        "the file is cut off or damaged: copy it again from where it came from"
    )


def _data_size(values: Mapping[str, Any], place: str) -> int:
    """Give the bytes of the data unit: |BITPIX|/8 * GCOUNT * (PCOUNT + NAXIS1 * NAXIS2 * …) (4.4.1.2)."""
    bits = _count(values, "BITPIX", place, least=-64)
    if bits not in (8, 16, 32, 64, -32, -64):
        raise FormatError(f"{place}: BITPIX = {bits} is not possible; the header is damaged")
    number = _count(values, "NAXIS", place)
    if number > 999:
        raise FormatError(f"{place}: NAXIS = {number} is not possible; the header is damaged")
    axes = [_count(values, f"NAXIS{i}", place) for i in range(1, number + 1)]
    if axes and axes[0] == 0 and values.get("GROUPS") is True:
        axes = axes[1:]
    elements = math.prod(axes) if axes else 0
    extra = _count(values, "PCOUNT", place, default=0)
    groups = _count(values, "GCOUNT", place, default=1)
    return abs(bits) // 8 * groups * (extra + elements if axes else 0)


def _count(values: Mapping[str, Any], key: str, place: str, *, default: int | None = None, least: int = 0) -> int:
    value = values.get(key, default)
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return value
    problem = f"{key} = {value!r} is not possible" if key in values else f"there is no card {key}"
    raise FormatError(f"{place}: {problem}; the header is damaged: copy the file again from where it came from")
