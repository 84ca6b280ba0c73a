"""Conditions on single pixels: ``rate > 1.0 and dq is null``, read by a closed grammar and asked of the pixel rows.

======================================  ==========================================================
``rate > 1.0``, ``1 < rate <= 5``       any integration of the pixel (any group, for ramps) has such a value
``ALL(rate > 1.0)``                     all of them that are numbers, and there is one
``rate[1] > 10``, ``sci[2, 5] < 0``     integration 1; integration 2, group 5; ``sci[:, 5]``: group 5 of any
``dq is null``, ``rate is null``        no flag is set; there is no number
``has(dq, 'JUMP_DET')``, ``dq & 4``     a flag of the jwst datamodels, or a bit, is set
``x between 10 and 20``, ``y in (3, 4)``  column and row in the FULL array, from 1
======================================  ==========================================================

NaN satisfies no comparison. Numbers are compared in float64. ``not`` gives exactly the other pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import QueryError
from ..model.keywords import suggest
from ..model.kinds import pixel_axes, pixel_columns, pixel_kinds
from .reader import MAX_DEPTH, Reader
from .tree import And, Node, Not, Or

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FLAGS", "PixelTest", "parse_pixels"]

_FLAGS = (
    "DO_NOT_USE",
    "SATURATED",
    "JUMP_DET",
    "DROPOUT",
    "OUTLIER",
    "PERSISTENCE",
    "AD_FLOOR",
    "CHARGELOSS",
    "RESERVED",
    "NON_SCIENCE",
    "DEAD",
    "HOT",
    "WARM",
    "LOW_QE",
    "RC",
    "TELEGRAPH",
    "NONLINEAR",
    "BAD_REF_PIXEL",
    "NO_FLAT_FIELD",
    "NO_GAIN_VALUE",
    "NO_LIN_CORR",
    "NO_SAT_CHECK",
    "UNRELIABLE_BIAS",
    "UNRELIABLE_DARK",
    "UNRELIABLE_SLOPE",
    "UNRELIABLE_FLAT",
    "OPEN",
    "ADJ_OPEN",
    "FLUX_ESTIMATED",
    "MSA_FAILED_OPEN",
    "OTHER_BAD_PIXEL",
    "REFERENCE_PIXEL",
)
FLAGS: Mapping[str, int] = {name: 1 << bit for bit, name in enumerate(_FLAGS)}
"""Data quality flags of the jwst datamodels; a test compares with stdatamodels."""

_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


@dataclass(frozen=True, slots=True)
class PixelTest(Node):
    """One condition on a column of the pixel rows.

    Attributes
    ----------
    column : str
        Of the kind's pixel rows, see `miripool.model.kinds.pixel_axes`.
    items : tuple of int or None
        Integration and group, from 1; None for any; empty for a whole column.
    op : str
        ``== != < <= > >=``, ``in``, ``range`` (low, high, with the comparisons in `ends`), ``null``, ``flag``.
    values : tuple of float
        What it is compared with.
    ends : tuple of str
        Of a range: ``>`` or ``>=``, and ``<`` or ``<=``.
    every : bool
        All elements instead of any.
    """

    column: str
    items: tuple[int | None, ...]
    op: str
    values: tuple[float, ...] = ()
    ends: tuple[str, ...] = ()
    every: bool = False


def parse_pixels(text: str, kind: str) -> Node:
    """Read a condition on pixels.

    Parameters
    ----------
    text : str
        The condition; empty for all pixels.
    kind : str
        One that has pixel rows, e.g. ``Rate``.

    Returns
    -------
    Node
        `PixelTest` joined by And, Or, Not.

    Raises
    ------
    QueryError
        If it can't be read; the message points at the column.
    """
    columns = pixel_axes(kind)
    if not columns:
        raise QueryError(f"{kind} has no pixel rows; {', '.join(pixel_kinds())} have")
    return _Parser(text, kind, columns).parse()


class _Parser:
    def __init__(self, text: str, kind: str, columns: Mapping[str, int]) -> None:
        self.words = Reader(text, ())
        self.kind = kind
        self.columns = columns
        self.flags = {name for name, column in pixel_columns(kind).items() if column.holds == "flags"}

    def parse(self) -> Node:
        if self.words.token.type == "end" or self.words.text.strip() == "1":
            return And(())
        node = self.any_of()
        if self.words.token.type != "end":
            self.words.fail(f"expected 'and', 'or' or the end instead of {self.words.token.shown()}")
        return node

    def any_of(self) -> Node:
        parts = [self.all_of()]
        while self.words.accept("or"):
            parts.append(self.all_of())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def all_of(self) -> Node:
        parts = [self.negated()]
        while self.words.accept("and"):
            parts.append(self.negated())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def negated(self) -> Node:
        self.words.level += 1
        if self.words.level > MAX_DEPTH:
            self.words.fail(f"more than {MAX_DEPTH} brackets and nots in one another; split the condition")
        node = self._negated()
        self.words.level -= 1
        return node

    def _negated(self) -> Node:
        column = self.words.token.column
        if self.words.accept("not"):
            return self.words.made(Not(part := self.negated()), column, part)
        if self.words.accept("("):
            node = self.any_of()
            self.words.expect(")")
            return node
        return self.condition()

    def condition(self) -> Node:
        word = self.words.token
        self.words.count(word.column)
        following = self.words.is_op("(", ahead=1)
        if word.type == "name" and following and word.text.lower() in ("all", "any"):
            self.words.take()
            self.words.take()
            test = self.condition()
            self.words.expect(")")
            if not isinstance(test, PixelTest):
                self.words.fail("ALL and ANY take one comparison", word.column)
            return test if word.text.lower() == "any" else self.every(test, word.column)
        if word.type == "name" and following and word.text.lower() == "has":
            return self.has()
        if word.type == "number" or self.words.is_op("-", "+"):
            return self.mirrored()
        name, items = self.column()
        return self.compared(name, items)

    def every(self, test: PixelTest, column: int) -> PixelTest:
        if test.op == "null" or test.every:
            self.words.fail("ALL takes a comparison with numbers", column)
        return PixelTest(test.column, test.items, test.op, test.values, test.ends, every=True)

    def has(self) -> Node:
        self.words.take()
        self.words.take()
        at = self.words.token.column
        name, items = self.column()
        if name not in self.flags:
            self.words.fail(f"{name} holds no flags", at)
        self.words.expect(",")
        word = self.words.take()
        flag = FLAGS.get(word.text.upper()) if word.type in ("name", "string") else None
        if flag is None:
            near = suggest(word.text.upper(), FLAGS)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            self.words.fail(f"there is no flag {word.text!r}{hint}", word.column)
        self.words.expect(")")
        return PixelTest(name, items, "flag", (flag,))

    def mirrored(self) -> Node:
        low = self.number()
        word = self.words.take()
        if word.text not in _MIRRORED:
            self.words.fail(f"expected a comparison instead of {word.shown()}", word.column)
        name, items = self.column()
        op = _MIRRORED[word.text]
        if not self.words.is_op("<", "<=", ">", ">="):
            return PixelTest(name, items, op, (low,))
        second = self.words.take()
        high = self.number()
        if op[0] == second.text[0]:
            self.words.fail("write a range as low < column < high", second.column)
        if op[0] == "<":
            return PixelTest(name, items, "range", (high, low), (second.text, op))
        return PixelTest(name, items, "range", (low, high), (op, second.text))

    def compared(self, name: str, items: tuple[int | None, ...]) -> Node:
        words = self.words
        word = words.take()
        if word.type == "op" and word.text == "is":
            negated = words.accept("not")
            words.expect("null")
            test: Node = PixelTest(name, items, "null")
            return Not(test) if negated else test
        if word.type == "op" and word.text == "&":
            return self.bits(name, items, word.column)
        negated = word.type == "op" and word.text == "not"
        if negated:
            word = words.take()
        if word.type == "op" and word.text == "in":
            words.expect("(")
            values = [self.number()]
            while words.accept(","):
                values.append(self.number())
            words.expect(")")
            test = PixelTest(name, items, "in", tuple(values))
        elif word.type == "op" and word.text == "between":
            low = self.number()
            words.expect("and")
            test = PixelTest(name, items, "range", (low, self.number()), (">=", "<="))
        elif not negated and word.type == "op" and word.text in _MIRRORED:
            return PixelTest(name, items, word.text, (self.number(),))
        else:
            words.fail(
                f"expected a comparison of {name} instead of {word.shown()}, e.g. {name} > 1, {name} is null",
                word.column,
            )
        return Not(test) if negated else test

    def bits(self, name: str, items: tuple[int | None, ...], column: int) -> Node:
        if name not in self.flags:
            self.words.fail(f"{name} holds no flags", column)
        value = self.number()
        if value != int(value) or value <= 0:
            self.words.fail("flags are bits of a whole number, e.g. dq & 4", column)
        test = PixelTest(name, items, "flag", (int(value),))
        if not self.words.is_op("==", "!=", ">"):
            return test
        word = self.words.take()
        if self.number() != 0:
            self.words.fail("bits are compared with 0 only", word.column)
        return Not(test) if word.text == "==" else test

    def column(self) -> tuple[str, tuple[int | None, ...]]:
        words = self.words
        word = words.take()
        if word.type != "name":
            words.fail(f"expected a column instead of {word.shown()}", word.column)
        name = word.text.lower()
        if name not in self.columns:
            near = suggest(name, self.columns)
            hint = f"did you mean {' or '.join(near)}? " if near else ""
            words.fail(f"{self.kind} has no column {word.text!r}; {hint}It has {', '.join(self.columns)}", word.column)
        items: list[int | None] = []
        if words.accept("["):
            while True:
                at = words.token.column
                if words.accept(":"):
                    items.append(None)
                else:
                    value = self.number()
                    if value != int(value) or value < 1:
                        words.fail("integrations and groups count from 1", at)
                    items.append(int(value))
                if not words.accept(","):
                    break
            words.expect("]")
            if len(items) > self.columns[name]:
                words.fail(f"{name} has {self.columns[name]} axes", word.column)
        return name, tuple(items)

    def number(self) -> float:
        words = self.words
        sign = -1 if words.accept("-") else 1
        words.accept("+")
        word = words.take()
        if word.type != "number":
            words.fail(f"expected a number instead of {word.shown()}", word.column)
        try:
            value: float = int(word.text, 0)
        except ValueError:
            value = float(word.text)
        if abs(value) >= 2**63 and isinstance(value, int):
            words.fail("the number is too large", word.column)
        return sign * value
