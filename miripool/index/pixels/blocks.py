"""Blocks: tables with one row for each pixel, whose arrays hold several exposures of one detector, place and shape.

A block is a partition of each of the block tables of its kind, ``raw_block_17`` and ``ref_block_17``. Exposure and
integration share the first axis of its arrays: those of slot 3 of blocks with 5 integrations are elements 11 to 15.
Flags are patterns: each pixel has the different ones once, and for each slot the number of its pattern. Views give one
row for each pixel and exposure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...model.kinds import PixelColumn

__all__ = ["block_table", "partition", "pattern_column", "value_of"]


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
        place = f"nullif(coalesce({row}.{pattern_column(column)}[{slot}], 1), 0)"
    if not column.axes:
        return f"{row}.{column.name}[{place}]"
    return f"{row}.{column.name}[({place} - 1) * {nints} + 1 : {place} * {nints}]"
