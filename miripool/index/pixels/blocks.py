"""Blocks: tables with one row for each pixel, whose arrays hold several exposures of one detector, place and shape.

A block is a partition of each of the block tables of its kind, ``raw_block_17`` and ``ref_block_17``. Exposure and
integration share the first axis of its arrays: those of slot 3 of blocks with 5 integrations are elements 11 to 15.
Flags are patterns: each pixel has the different ones once, and for each slot the number of its pattern. Views give one
row for each pixel and exposure.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...model.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ...model.kinds import PixelColumn

__all__ = ["block_table", "capacity", "partition", "pattern_column", "pattern_of", "short_columns", "value_of"]

MOST_BYTES = 256 << 20
"""Of a block, unless one exposure alone takes more: a question about one exposure reads all rows of its block."""
_MOST_SLOTS = 64
"""What is the same for all exposures of a row takes a tenth of it or less then, even in rows of two numbers each."""
_FEWEST_SLOTS = 16
"""From so many on, several rows share a page."""
_PAGE = 8168
"""Bytes for rows, in a page of 8192."""
_ROW = 24 + 8
"""Its header; the numbers of block and pixel."""
_ARRAY = 28
"""The header of an array of two axes."""
_SHORT = 130
"""Bytes of an array up to which PostgreSQL gives it a header of one byte, if it may."""
_PATTERNS = 400
"""Bytes that are left for four patterns of flags, or for fewer that are long: cosmic rays hit some exposures of each
pixel. Where that is too little, fewer rows share a page, or PostgreSQL stores their arrays elsewhere.
"""


def capacity(kind: str, pixels: int, nints: int | None, ngroups: int | None, datasets: Collection[str]) -> int:
    """Give the number of exposures that share a block: so many that one, two or three rows fill a page.

    Parameters
    ----------
    kind : str
        Of the products.
    pixels : int
        Of one exposure.
    nints, ngroups : int or None
        Length of the axes of integrations and of groups.
    datasets : collection of str
        Columns that hold values.

    Returns
    -------
    int
        At least 1.
    """
    depth = [n for n in (nints, ngroups) if n is not None]
    fixed, each = _ROW, 0
    for column in KINDS[kind].columns:
        if column.name not in datasets:
            continue
        value = _value_bytes(column, depth)
        if column.holds == "flags":  # some patterns, and the number of one for each exposure
            fixed, each = fixed + 2 * _ARRAY + min(4 * value, _PATTERNS), each + 2
        else:
            fixed, each = fixed + _ARRAY, each + value
    fitting = [(_PAGE // rows - 8 - fixed) // each for rows in (3, 2, 1)]
    slots = next((slots for slots in fitting if slots >= _FEWEST_SLOTS), fitting[-1])
    return max(1, min(slots, _MOST_SLOTS, MOST_BYTES // (each * pixels)))


def short_columns(
    kind: str, nints: int | None, ngroups: int | None, datasets: Collection[str], slots: int
) -> frozenset[str]:
    """Find the columns whose arrays are short: they are to be stored as they are in memory.

    PostgreSQL would give them a shorter header, and copy an array whenever one of its elements is asked for: a look at
    each rate of a FULL exposure takes 115 ms then, otherwise 60 ms. Tables get up to 2 % larger by that.

    Parameters
    ----------
    kind, nints, ngroups, datasets : object
        As for `capacity`.
    slots : int
        Exposures in the block.

    Returns
    -------
    frozenset of str
        Names in the block table.
    """
    depth = [n for n in (nints, ngroups) if n is not None]
    found = set()
    for column in KINDS[kind].columns:
        if column.name in datasets and _ARRAY + slots * _value_bytes(column, depth) <= _SHORT:
            found.add(column.name)
        if column.name in datasets and column.holds == "flags" and _ARRAY + 2 * slots <= _SHORT:
            found.add(pattern_column(column))
    return frozenset(found)


def _value_bytes(column: PixelColumn, depth: Sequence[int]) -> int:
    """Give the size of what one exposure has in a column."""
    return int(column.code[1:]) * math.prod(depth[: column.axes])


def block_table(view: str) -> str:
    """Give the table that holds the blocks of a view of pixel rows.

    Parameters
    ----------
    view : str
        E.g. ``raw_pixel``.

    Returns
    -------
    str
        E.g. ``raw_block``.
    """
    return f"{view.removesuffix('_pixel')}_block"


def partition(view: str, block_id: int) -> str:
    """Give the name of one block's table.

    Parameters
    ----------
    view : str
        E.g. ``raw_pixel``.
    block_id : int
        The block.

    Returns
    -------
    str
        E.g. ``raw_block_17``.
    """
    return f"{block_table(view)}_{block_id}"


def pattern_column(column: PixelColumn) -> str:
    """Give the column of a block that tells the pattern of each slot.

    Parameters
    ----------
    column : PixelColumn
        Of a kind's pixel rows.

    Returns
    -------
    str
        E.g. ``dq_of``; empty for a column that holds no flags.
    """
    return f"{column.name}_of" if column.holds == "flags" else ""


def pattern_of(column: PixelColumn, *, row: str, slot: str) -> str:
    """Write in SQL which of a pixel's patterns of flags an exposure has.

    Parameters
    ----------
    column : PixelColumn
        Of a kind's pixel rows; one that holds flags.
    row : str, keyword-only
        Alias of the block table.
    slot : str, keyword-only
        Expression of the exposure's slot.

    Returns
    -------
    str
        An expression of the pattern's number, from 1; NULL for the default.
    """
    return f"nullif(coalesce({row}.{pattern_column(column)}[{slot}], 1), 0)"


def value_of(column: PixelColumn, *, row: str, slot: str, nints: str) -> str:
    """Write in SQL what a pixel has in one exposure of a block.

    Parameters
    ----------
    column : PixelColumn
        Of a kind's pixel rows.
    row : str, keyword-only
        Alias of the block table.
    slot, nints : str, keyword-only
        Expressions of the exposure's slot and of the block's integrations.

    Returns
    -------
    str
        An expression: an array [integration][group] or [integration] with lower bounds of 1, or a number; NULL as
        `PixelColumn.null` says.
    """
    place = f"({slot})"
    if column.holds == "flags":
        place = pattern_of(column, row=row, slot=slot)
    if not column.axes:
        return f"{row}.{column.name}[{place}]"
    return f"{row}.{column.name}[({place} - 1) * {nints} + 1 : {place} * {nints}]"
