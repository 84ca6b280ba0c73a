"""Records of lineage: where versions come from, what was made of them, and where they were used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .versions import version_in_short

if TYPE_CHECKING:
    from ..pool.lineage import Descent, Source, Use

__all__ = ["descent_record", "use_record"]


def descent_record(pool: str, node: Descent) -> dict[str, Any]:
    """Give a version in the tree of what was made from what.

    Parameters
    ----------
    pool : str
        The pool's name.
    node : Descent
        From `Pool.lineage`.

    Returns
    -------
    dict
        As `version_in_short`, and ``asked``, ``source`` (how it is known what it was made from), ``file``,
        ``history``, ``references`` (reference files by keyword), ``contexts``; ``into``, a list of the same.
    """
    return {
        **version_in_short(pool, node.row),
        "asked": node.asked,
        "source": None if node.source is None else _source(pool, node.source),
        "file": node.row.filename,
        "history": [dict(step) for step in node.history],
        "references": dict(node.references),
        "contexts": [version_in_short(pool, context) for context in node.contexts],
        "into": [descent_record(pool, below) for below in node.into],
    }


def use_record(pool: str, use: Use) -> dict[str, Any]:
    """Give a version that another, or a reference file, went into.

    Parameters
    ----------
    pool : str
        The pool's name.
    use : Use
        From `Pool.uses`.

    Returns
    -------
    dict
        As `version_in_short`, and ``how``.
    """
    return {**version_in_short(pool, use.row), "how": use.how}


def _source(pool: str, source: Source) -> dict[str, Any]:
    return {
        "how": source.how,
        "why": source.why,
        "candidates": [version_in_short(pool, candidate) for candidate in source.candidates],
    }
