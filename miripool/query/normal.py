"""The normal form of a predicate: negation at the leaves, junctions flat, two ends of one range in one leaf.

With unknown values (see `miripool.query.values`) the normal form matches the same products as what was written.
"""

from __future__ import annotations

import dataclasses

from .tree import And, Compare, In, Literal, Node, Not, Or, PythonCall, Range, Truth, is_array, is_condition
from .values import as_time

__all__ = ["MIRRORED", "negate", "normalise"]

_OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
MIRRORED = {"==": "==", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
"""The comparison that says the same with its sides exchanged."""


def normalise(node: Node) -> Node:
    """Bring a condition into its normal form.

    Parameters
    ----------
    node : Node
        As the parser builds it.

    Returns
    -------
    Node
        `And`, `Or`, a leaf, or `Not` of a leaf that has no opposite.
    """
    if isinstance(node, Not):
        return negate(node.part)
    if isinstance(node, And):
        return _join(And, [normalise(part) for part in node.parts])
    if isinstance(node, Or):
        return _join(Or, [normalise(part) for part in node.parts])
    if isinstance(node, Truth) and isinstance(node.operand, Literal):
        return And(()) if node.operand.value else Or(())
    if isinstance(node, In) and len(node.items) == 1:
        node = Compare("==", node.operand, node.items[0])
    return _orient(_descend(node))


def negate(node: Node) -> Node:
    """Give the normal form of a condition's opposite.

    Parameters
    ----------
    node : Node
        A condition.

    Returns
    -------
    Node
        Matches where `node` is known to be false.
    """
    if isinstance(node, Not):
        return normalise(node.part)
    if isinstance(node, And):
        return _join(Or, [negate(part) for part in node.parts])
    if isinstance(node, Or):
        return _join(And, [negate(part) for part in node.parts])
    if isinstance(node, Compare):
        return normalise(Compare(_OPPOSITE[node.op], node.left, node.right))
    if isinstance(node, Range):
        low, high = _ends(node)
        return _join(Or, [negate(low), negate(high)])
    found = normalise(node)
    if isinstance(found, Compare):  # one item of a list
        return negate(found)
    if isinstance(found, (And, Or)):  # a literal
        return Or(()) if found == And(()) else And(())
    return Not(found)


def _join(junction: type[And | Or], parts: list[Node]) -> Node:
    flat: list[Node] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, junction) else (part,))
    if (Or(()) if junction is And else And(())) in flat:
        return Or(()) if junction is And else And(())
    flat = list(dict.fromkeys(flat))
    if junction is And:
        flat = _merge_ranges(flat)
    return flat[0] if len(flat) == 1 else junction(tuple(flat))


def _descend(node: Node) -> Node:
    """Normalise the conditions inside a value: the operand of a reduction, the mask of a subscript."""
    if isinstance(node, PythonCall):
        return node
    changes: dict[str, object] = {}
    for field in dataclasses.fields(node):
        old = getattr(node, field.name)
        if isinstance(old, Node):
            changes[field.name] = _inside(old)
        elif isinstance(old, tuple) and any(isinstance(item, Node) for item in old):
            changes[field.name] = tuple(_inside(item) if isinstance(item, Node) else item for item in old)
    return dataclasses.replace(node, **changes) if changes else node


def _inside(node: Node) -> Node:
    return normalise(node) if is_condition(node) else _descend(node)


def _orient(node: Node) -> Node:
    """Put the constant of a comparison on the right."""
    if isinstance(node, Compare) and isinstance(node.left, Literal) and not isinstance(node.right, Literal):
        return Compare(MIRRORED[node.op], node.right, node.left)
    return node


def _ends(node: Range) -> tuple[Compare, Compare]:
    low = Compare(">" if node.low_open else ">=", node.operand, node.low)
    return low, Compare("<" if node.high_open else "<=", node.operand, node.high)


def _merge_ranges(parts: list[Node]) -> list[Node]:
    """Put the first lower and the first upper end of one value into one leaf, where both are of one type."""
    merged: list[Node] = []
    open_ends: dict[tuple[object, ...], int] = {}
    for part in parts:
        end = _end(part)
        if end is None or not isinstance(part, Compare):
            merged.append(part)
            continue
        other = open_ends.pop((not end, *_subject(part)), None)
        if other is None:
            open_ends.setdefault((end, *_subject(part)), len(merged))
            merged.append(part)
        else:
            merged[other] = _range(merged[other], part) if end is False else _range(part, merged[other])
    return merged


def _end(node: Node) -> bool | None:
    """Tell whether a leaf bounds its value from below (True), from above (False), or neither."""
    if not isinstance(node, Compare) or node.op in ("==", "!=") or is_array(node.left):
        return None
    if not isinstance(node.right, Literal) or isinstance(node.right.value, bool) or isinstance(node.left, Literal):
        return None
    return node.op in (">", ">=")


def _subject(node: Compare) -> tuple[object, ...]:
    value = node.right.value if isinstance(node.right, Literal) else None
    if isinstance(value, str):
        return node.left, "text" if as_time(value) is None else "time"
    return node.left, "number"


def _range(low: Node, high: Node) -> Node:
    if not (isinstance(low, Compare) and isinstance(high, Compare)):  # pragma: no cover -- never built so
        raise TypeError
    if not (isinstance(low.right, Literal) and isinstance(high.right, Literal)):  # pragma: no cover
        raise TypeError
    return Range(low.left, low.right, high.right, low.op == ">", high.op == "<")
