"""The structure of a FITS stream: where its headers and data units are, by the standard and without astropy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import FormatError
from ..model.cards import BLOCK, CARD, Card, parse_header
from .stream import open_stream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .stream import Stream

__all__ = ["DataUnit", "announced_bytes", "refuse_other", "scan"]

_MAX_HEADER = 64 << 20
"""No header is longer; where END does not come until then, it never will."""


@dataclass(frozen=True, slots=True)
class DataUnit:
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


def scan(stream: Stream) -> tuple[list[DataUnit], int]:
    """Find all header and data units.

    Parameters
    ----------
    stream : Stream
        The whole stream.

    Returns
    -------
    units : list of DataUnit
        In file order.
    stop : int
        Where the last one ends; what follows is not FITS.

    Raises
    ------
    FormatError
        If this is not FITS, a header is corrupt, or data are missing.
    """
    refuse_other(stream)
    units: list[DataUnit] = []
    place = 0
    while place < stream.size and (not units or stream.read(place, place + 8).tobytes() == b"XTENSION"):
        units.append(_read_unit(stream, place, len(units)))
        place = units[-1].stop
    return units, place


def refuse_other(stream: Stream) -> None:
    """Make sure that a stream begins as FITS does.

    Parameters
    ----------
    stream : Stream
        Nothing but its first card is read.

    Raises
    ------
    FormatError
        If it does not.
    """
    if stream.read(0, 9).tobytes() != b"SIMPLE  =":
        raise FormatError(f"{stream.label}: not a FITS file; it does not begin with SIMPLE")


def announced_bytes(header: bytes, place: str) -> int:
    """Tell how many bytes of data a header announces.

    Parameters
    ----------
    header : bytes
        One whole header, with END and padding.
    place : str
        For messages.

    Returns
    -------
    int
        Without padding.

    Raises
    ------
    FormatError
        If it is no header, or more than one.
    """
    found = _read_header(open_stream(header, place), 0, place)
    if found != header or not header.startswith((b"SIMPLE  =", b"XTENSION=")):
        raise FormatError(f"{place}: these bytes are not one header")
    cards = parse_header(header)
    return _data_size({card.keyword: card.value for card in reversed(cards)}, place)


def _read_unit(stream: Stream, start: int, number: int) -> DataUnit:
    header = _read_header(stream, start, f"{stream.label}: HDU {number}")
    cards = tuple(parse_header(header))
    values = {card.keyword: card.value for card in reversed(cards)}
    name = values.get("EXTNAME")
    place = f"{stream.label}: HDU {number}" + (f" ({name})" if isinstance(name, str) else "")
    size = _data_size(values, place)
    data = start + len(header)
    missing = data + size - stream.size
    if missing > 0:
        raise FormatError(
            f"{place}: {missing} bytes are missing at the end of its data (the header announces {size}); "
            "the file is cut off or its header is wrong: copy it again from where it came from"
        )
    padded = data + -(-size // BLOCK) * BLOCK
    return DataUnit(start, header, cards, values, data, size, min(padded, stream.size))


def _read_header(stream: Stream, start: int, place: str) -> bytes:
    blocks: list[bytes] = []
    stop = min(start + _MAX_HEADER, stream.size)
    for position in range(start, stop, BLOCK):
        block = stream.read(position, position + BLOCK).tobytes()
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
