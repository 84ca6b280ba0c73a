"""Who answers what: the index, the evaluator on metadata, or the evaluator on arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .tree import (
    And,
    Arithmetic,
    Call,
    Covers,
    Field,
    HasDataset,
    HasKey,
    HasTag,
    Keyword,
    Node,
    Or,
    Overlaps,
    PythonCall,
    Reduce,
    Separation,
    Statistic,
    Subscript,
    Unit,
    WholeArray,
    children,
    conjuncts,
    is_condition,
    walk,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["index_answers", "needs", "split"]

_MAX_SQL_DEPTH = 25
"""SQLAlchemy writes nested junctions by recursion, several calls deep for each; deeper ones are left to Python."""
_IN_SQL = frozenset({"abs", "neg", "lower", "upper"})
_MAX_OPERATIONS = 3
"""Arithmetic in SQL repeats its operands to guard them; more of it is left to Python."""


def needs(node: Node) -> frozenset[str]:
    """Tell what a condition looks at.

    Parameters
    ----------
    node : Node
        In normal form.

    Returns
    -------
    frozenset of str
        Of ``meta``, ``field``, ``tags``, ``footprint``, ``statistics`` (without reading an array), ``data`` (arrays are
        read), ``compute`` (operations that SQL has not got, or not the same) and ``python`` (a function of the caller).
    """
    return frozenset(need for below in walk(node) for need in _needs_of(below))


def _needs_of(node: Node) -> Iterable[str]:
    if isinstance(node, (Keyword, HasKey)):
        return ("meta",)
    if isinstance(node, Unit):
        return ("meta", "compute")
    if isinstance(node, Field):
        return ("field",)
    if isinstance(node, HasTag):
        return ("tags",)
    if isinstance(node, (Covers, Overlaps, Separation)):
        return ("footprint",)
    if isinstance(node, (Statistic, HasDataset)):
        return ("statistics",)
    if isinstance(node, (WholeArray, Subscript, Reduce)):
        return ("data",)
    if isinstance(node, PythonCall):
        return ("python",)
    if isinstance(node, Arithmetic):
        return ("compute",) if node.op in ("**", "&", "|", "^") else ()
    return ("compute",) if isinstance(node, Call) and node.function not in _IN_SQL else ()


def index_answers(node: Node) -> bool:
    """Tell whether the index alone can say which products satisfy a condition.

    Parameters
    ----------
    node : Node
        In normal form.

    Returns
    -------
    bool
        True for metadata, fields, tags, footprints and statistics.
    """
    simple = needs(node).isdisjoint({"data", "compute", "python"})
    return simple and _fits(node)


def _fits(node: Node) -> bool:
    """Tell whether the statement stays small: junctions in junctions, and arithmetic, only so far."""
    level = [node]
    for _ in range(_MAX_SQL_DEPTH):
        level = [child for parent in level for child in children(parent)]
    leaves = (below for below in walk(node) if is_condition(below) and not isinstance(below, (And, Or)))
    return not level and all(_count_operations(leaf) <= _MAX_OPERATIONS for leaf in leaves)


def _count_operations(leaf: Node) -> int:
    return sum(isinstance(below, Arithmetic) for below in walk(leaf))


def split(node: Node) -> tuple[Node | None, Node | None]:
    """Split a predicate into what the index answers and what is asked of the products that are left.

    Parameters
    ----------
    node : Node
        In normal form.

    Returns
    -------
    index_part, rest : Node or None
        A product satisfies `node` exactly if it satisfies both; None where there is nothing to ask. An alternative
        (``or``) that the index can answer only in part is asked of the products.
    """
    answered: list[Node] = []
    left: list[Node] = []
    for part in conjuncts(node):
        (answered if index_answers(part) else left).append(part)
    return _together(answered), _together(left)


def _together(parts: list[Node]) -> Node | None:
    if len(parts) > 1:
        return And(tuple(parts))
    return parts[0] if parts else None
