"""What statistics say of a condition on elements: the index then answers it, or leaves out most products unread.

``(p.data > 5).any()`` is ``p.data.max() > 5``; ``(p.data > 5).sum() > 10`` holds only where that does.
"""

from __future__ import annotations

from typing import Any, TypeGuard

from .tree import And, Compare, Literal, Node, Or, Reduce, Statistic, Truth, WholeArray

__all__ = ["add_bounds"]

_EXTREME = {">": "max", ">=": "max", "<": "min", "<=": "min"}
"""Statistic that tells whether any element satisfies a comparison; the other one tells it of all."""


def add_bounds(node: Node) -> Node:
    """Put what statistics say in front of conditions on elements, or in their place where that is the same.

    Parameters
    ----------
    node : Node
        A condition in normal form.

    Returns
    -------
    Node
        Matches the same products.
    """
    if isinstance(node, (And, Or)):
        junction = type(node)
        parts: list[Node] = []
        for part in map(add_bounds, node.parts):
            parts.extend(part.parts if isinstance(part, junction) else (part,))
        return junction(tuple(dict.fromkeys(parts)))
    if isinstance(node, Truth) and isinstance(node.operand, Reduce):
        return _of_truth(node, node.operand)
    if isinstance(node, Compare) and isinstance(node.left, Reduce) and node.left.function == "sum":
        return _of_count(node, node.left)
    return node


def _of_truth(node: Truth, reduced: Reduce) -> Node:
    if reduced.function == "any" and reduced.axis is None:
        bound = _some(reduced.operand)
        if bound is None or isinstance(bound, Compare):
            return node if bound is None else bound
        return And((*bound.parts, node))
    if reduced.function == "all" and reduced.axis is None:
        return _every(reduced.operand) or node
    return node


def _of_count(node: Compare, counted: Reduce) -> Node:
    """Only a count above zero needs an element."""
    if counted.axis is not None or not _is_number(node.right):
        return node
    number: Any = node.right.value
    needs_one = (node.op == ">" and number >= 0) or (node.op in (">=", "==") and number > 0)
    bound = _some(counted.operand) if needs_one else None
    if bound is None:
        return node
    return And((*(bound.parts if isinstance(bound, And) else (bound,)), node))


def _some(condition: Node) -> Compare | And | None:
    """Give what holds wherever some element satisfies a condition: a `Compare` if it says the same, else `And`."""
    if isinstance(condition, And):
        found = [bound for part in condition.parts if (bound := _some(part)) is not None]
        return And(tuple(p for bound in found for p in (bound.parts if isinstance(bound, And) else (bound,))))
    if not isinstance(condition, Compare) or not isinstance(condition.left, WholeArray):
        return None
    name, value = condition.left.name, condition.right
    if not _is_number(value) or condition.op == "!=":
        return None
    if condition.op == "==":
        return And((Compare(">=", Statistic(name, "max"), value), Compare("<=", Statistic(name, "min"), value)))
    return Compare(condition.op, Statistic(name, _EXTREME[condition.op]), value)


def _every(condition: Node) -> Node | None:
    """Give what says the same as that all elements satisfy a condition."""
    if isinstance(condition, And):
        parts = [_every(part) for part in condition.parts]
        known = tuple(part for part in parts if part is not None)
        return And(known) if len(known) == len(parts) else None
    if isinstance(condition, Compare) and isinstance(condition.left, WholeArray) and condition.op in _EXTREME:
        other = "min" if _EXTREME[condition.op] == "max" else "max"
        value = condition.right
        return Compare(condition.op, Statistic(condition.left.name, other), value) if _is_number(value) else None
    return None


def _is_number(node: Node) -> TypeGuard[Literal]:
    return isinstance(node, Literal) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool)
