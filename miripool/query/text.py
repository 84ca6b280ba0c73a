"""A tree as text again, in one normal form, which the parser reads back to the same tree."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..sky.circle import Circle
from .places import FIELDS
from .tree import (
    And,
    Arithmetic,
    Call,
    Compare,
    Covers,
    Field,
    HasDataset,
    HasKey,
    HasTag,
    In,
    IsNull,
    Keyword,
    Like,
    Literal,
    Node,
    Not,
    Or,
    Overlaps,
    PythonCall,
    Range,
    Reduce,
    Separation,
    Slice,
    Statistic,
    Subscript,
    Truth,
    Unit,
    WholeArray,
    is_condition,
)

if TYPE_CHECKING:
    from ..sky.position import SkyPosition
    from .tree import Item

__all__ = ["to_text"]

_RESERVED = frozenset(
    [
        "AND",
        "OR",
        "NOT",
        "IN",
        "IS",
        "LIKE",
        "BETWEEN",
        "TRUE",
        "FALSE",
        "NULL",
        "NONE",
        "META",
        "TAGS",
        "LAMBDA",
        "IMPORT",
        "AWAIT",
        "YIELD",
        "IF",
        "FOR",
        "ELSE",
    ]
)
_FACTS = {"n": "size"}
_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\t": "\\t", "\r": "\\r"})


def to_text(node: Node, variable: str = "p") -> str:
    """Write a predicate.

    Parameters
    ----------
    node : Node
        In normal form.
    variable : str, optional
        What the product is called.

    Returns
    -------
    str
        E.g. ``NGROUPS >= 20 and p.data.max() > 1.0``.
    """
    return _Writer(variable).write(node)


class _Writer:
    def __init__(self, variable: str) -> None:
        self.variable = variable

    def write(self, node: Node) -> str:
        written: str = getattr(self, f"_{type(node).__name__.lower()}")(node)
        return written

    def _inner(self, node: Node) -> str:
        """Write an operand: in brackets unless it is one word."""
        text = self.write(node)
        whole = isinstance(
            node, (Keyword, Unit, Field, WholeArray, Statistic, Subscript, Reduce, Separation, PythonCall)
        )
        literal = isinstance(node, Literal) and not text.startswith("-")
        function = isinstance(node, Call) and node.function not in ("neg", "invert")
        return text if whole or literal or function else f"({text})"

    def _joined(self, word: str, parts: tuple[Node, ...], empty: str) -> str:
        texts = [f"({self.write(p)})" if isinstance(p, (And, Or)) else self.write(p) for p in parts]
        return f" {word} ".join(texts) or empty

    def _and(self, node: And) -> str:
        return self._joined("and", node.parts, "True")

    def _or(self, node: Or) -> str:
        return self._joined("or", node.parts, "False")

    def _not(self, node: Not) -> str:
        if isinstance(node.part, IsNull):
            return f"{self._inner(node.part.operand)} is not null"
        return f"not {self._bracketed(node.part)}"

    def _bracketed(self, node: Node) -> str:
        return self.write(node) if isinstance(node, (HasKey, Truth)) else f"({self.write(node)})"

    def _literal(self, node: Literal) -> str:
        return f"'{node.value.translate(_ESCAPES)}'" if isinstance(node.value, str) else repr(node.value)

    def _keyword(self, node: Keyword | Unit) -> str:
        name = node.key if node.hdu is None else f"{node.hdu}.{node.key}"
        plain = re.fullmatch(r"[A-Z][A-Z0-9_]*", name) and "__" not in name
        if plain and name not in _RESERVED and name.lower() not in FIELDS and name.lower() != self.variable.lower():
            return name
        return f"{self.variable}.meta[{self._literal(Literal(name))}]"

    def _unit(self, node: Unit) -> str:
        return f"{self._keyword(node)}.unit"

    def _field(self, node: Field) -> str:
        return f"{self.variable}.{node.name}"

    def _wholearray(self, node: WholeArray) -> str:
        return f"{self.variable}.data" if node.name is None else f"{self.variable}[{self._literal(Literal(node.name))}]"

    def _statistic(self, node: Statistic) -> str:
        base = self._wholearray(WholeArray(node.dataset))
        if node.which == "shape":
            return f"{base}.shape[{node.axis}]"
        called = "()" if node.which in ("min", "max", "mean", "std") else ""
        return f"{base}.{_FACTS.get(node.which, node.which)}{called}"

    def _subscript(self, node: Subscript) -> str:
        return f"{self._inner(node.operand)}[{', '.join(map(self._item, node.items))}]"

    def _item(self, item: Item) -> str:
        if isinstance(item, Slice):
            ends = ["" if end is None else str(end) for end in (item.start, item.stop, item.step)]
            return ":".join(ends if item.step is not None else ends[:2])
        if isinstance(item, Node):
            return self.write(item)
        return self._literal(Literal(item)) if isinstance(item, (str, int)) else "..."

    def _reduce(self, node: Reduce) -> str:
        axes = "" if node.axis is None else f"axis=({', '.join(map(str, node.axis))})"
        return f"{self._inner(node.operand)}.{node.function}({axes})"

    def _arithmetic(self, node: Arithmetic) -> str:
        right = self.write(node.right) if node.op == "**" else self._inner(node.right)
        return f"{self._inner(node.left)} {node.op} {right}"

    def _call(self, node: Call) -> str:
        if node.function in ("neg", "invert"):
            return f"{'-' if node.function == 'neg' else '~'}{self._inner(node.arguments[0])}"
        if node.function in ("lower", "upper"):
            return f"{self._inner(node.arguments[0])}.{node.function}()"
        return f"{node.function}({', '.join(map(self.write, node.arguments))})"

    def _pythoncall(self, node: PythonCall) -> str:
        return f"{node.name}({self.variable})"

    def _compare(self, node: Compare) -> str:
        return f"{self._inner(node.left)} {node.op} {self._inner(node.right)}"

    def _range(self, node: Range) -> str:
        low, high = ("<" if is_open else "<=" for is_open in (node.low_open, node.high_open))
        return f"{self._inner(node.low)} {low} {self._inner(node.operand)} {high} {self._inner(node.high)}"

    def _in(self, node: In) -> str:
        return f"{self._inner(node.operand)} in ({', '.join(map(self.write, node.items))})"

    def _like(self, node: Like) -> str:
        literal, wildcards = _read_pattern(node.pattern)
        if wildcards is not None:
            return f"{self._inner(node.operand)} like {self._literal(Literal(wildcards))}"
        return f"{self._inner(node.operand)}.{literal}"

    def _isnull(self, node: IsNull) -> str:
        return f"{self._inner(node.operand)} is null"

    def _truth(self, node: Truth) -> str:
        return self.write(node.operand) if not is_condition(node.operand) else self._inner(node.operand)

    def _haskey(self, node: HasKey) -> str:
        name = node.key if node.hdu is None else f"{node.hdu}.{node.key}"
        return f"{self.variable}.meta.containsKey({self._literal(Literal(name))})"

    def _hastag(self, node: HasTag) -> str:
        return f"{self._literal(Literal(node.label))} in {self.variable}.tags"

    def _covers(self, node: Covers) -> str:
        return f"covers({self._position(node.position)}{_darks(node)})"

    def _overlaps(self, node: Overlaps) -> str:
        shape = node.shape
        if isinstance(shape, Circle):
            return f"overlaps(circle({self._position(shape.middle)}, {shape.radius!r}){_darks(node)})"
        numbers = any(corner.text is None for corner in shape.corners)  # corners are read as numbers, or as text
        corners = map(_numbers if numbers else self._position, shape.corners)
        return f"overlaps(polygon({', '.join(corners)}){_darks(node)})"

    def _separation(self, node: Separation) -> str:
        return f"separation({self._position(node.position)}{_darks(node)})"

    def _position(self, position: SkyPosition) -> str:
        return _numbers(position) if position.text is None else self._literal(Literal(position.text))

    def _hasdataset(self, node: HasDataset) -> str:
        return f"{self._literal(Literal(node.name))} in {self.variable}"


def _numbers(position: SkyPosition) -> str:
    return f"{position.ra!r}, {position.dec!r}"


def _darks(node: Covers | Overlaps | Separation) -> str:
    return ", darks=True" if node.darks else ""


def _read_pattern(pattern: str) -> tuple[str, str | None]:
    """Give the method call or, where no wildcard is meant literally, the user's wildcards of a pattern."""
    marks: list[tuple[bool, str]] = []
    escaped = False
    for c in pattern:
        if escaped or c not in "\\%_":
            marks.append((False, c))
            escaped = False
        elif c == "\\":
            escaped = True
        else:
            marks.append((True, c))
    if not any(c in "*?%" for is_mark, c in marks if not is_mark):
        return "", "".join({"%": "*", "_": "?"}[c] if is_mark else c for is_mark, c in marks)
    body = "".join(c for is_mark, c in marks if not is_mark).translate(_ESCAPES)
    opens, closes = marks[0][0], marks[-1][0]
    name = "contains" if opens and closes else "endswith" if opens else "startswith"
    return f"{name}('{body}')", None
