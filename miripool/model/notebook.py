"""HTML for notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["html_table"]


def html_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Write a table as HTML.

    Parameters
    ----------
    title : str
        A line above it.
    columns : sequence of str
        Its head.
    rows : iterable of sequences
        A cell for each column; None for an empty one.

    Returns
    -------
    str
        Text in it is escaped.
    """
    import html

    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    lines = ("".join(f"<td>{'' if cell is None else html.escape(str(cell))}</td>" for cell in row) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<p>{html.escape(title)}</p><table><tr>{head}</tr>{body}</table>"
