"""The one grammar of conditions, whatever they are about: operators, brackets, literals and lists, by precedence.

Text about products and text about pixels are read by it, so that precedence, ranges, ``not``, ``null``, limits and the
places of errors are the same. What a name, a call, an attribute or a subscript means, and which operations there
are, is defined by a `Vocabulary`: `miripool.query.parser` has that of products, `miripool.query.pixelwhere` that of
pixels. Nothing is ever evaluated; what is not in the grammar is an error at its column.

The expressions are Python's, with its precedences, and what people also write: a single ``=``, ``&``, ``|``, ``&&``,
``||``, ``!`` between conditions, ``like``, ``between … and …``, ``is null``, ``<>``, and capitals. Python's own `ast`
can't read these, and mapping its columns back through a rewritten text is more code than this grammar; so the words
are split by `miripool.query.lexer` and put together here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..errors import QueryError
from .lexer import COMPARISONS, Token
from .reader import MAX_DEPTH, Reader
from .tree import (
    ALL,
    And,
    Arithmetic,
    Call,
    Compare,
    In,
    IsNull,
    Item,
    Like,
    Literal,
    Node,
    Not,
    Or,
    Slice,
    is_array,
    is_condition,
)

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["MAX_LENGTH", "Grammar", "Place", "Vocabulary", "read"]

MAX_LENGTH = 10_000
"""Characters of a predicate."""
_MAX_EXPONENT = 16

_OR, _AND, _NOT, _COMPARE, _SUM, _UNARY, _POWER = 1, 2, 4, 5, 9, 12, 13
_BINARY = {"|": 6, "^": 7, "&": 8, "+": _SUM, "-": _SUM, "*": 10, "/": 10, "//": 10, "%": 10, "**": _POWER}
_NESTED = frozenset({_OR, _NOT, _UNARY})
"""Where an expression is read in brackets, or behind a prefix or an exponent, and not just as the next operand."""
_LAST = frozenset({"in", "is", "like", "between"})
"""Comparisons that end a chain."""
_CONSTANTS: dict[str, bool] = {"true": True, "false": False}
_NEVER_NAMES = frozenset({"lambda", "import", "await", "yield", "if", "for", "else"})


@dataclass(frozen=True, slots=True)
class Place:
    """Base of what is not a value yet."""

    @property
    def complaint(self) -> str:
        """Say what to write where a value is needed."""
        return "this is not a single value; take an element of it, e.g. p.meta['ngroups'], p.data.shape[0]"


class Vocabulary(Protocol):
    """What the words of a text mean. Errors that lack a column get that of the words in question."""

    @property
    def hyphenated(self) -> Collection[str]:
        """Keywords with hyphens, upper case, that are one word."""

    @property
    def index_rule(self) -> str:
        """What to say where an index is no whole number."""

    def name(self, words: Grammar, token: Token) -> Node | Place:
        """Tell what a name stands for; what belongs to it may be read on."""

    def call(self, words: Grammar, token: Token) -> Node | Place:
        """Read the arguments of the function `token`, from their bracket on, and tell what the call is."""

    def attribute(self, words: Grammar, base: Node | Place) -> Node | Place:
        """Read what stands behind a dot, and tell what it is."""

    def subscript(self, base: Node | Place, items: tuple[Item, ...]) -> Node | Place:
        """Tell what ``base[items]`` is."""

    def condition(self, value: Node) -> Node:
        """Tell what a value means that stands alone, where a condition is needed."""

    def operation(self, node: Node) -> Node:
        """Tell what an operation on values is here, or refuse it.

        It is a `Compare`, `In`, `IsNull`, `Like`, `Arithmetic` or `Call`, or the `And` of a chain such as
        ``1 < x <= 5`` or ``x between 1 and 5``.
        """

    def contains(self, found: Node | Place, text: str) -> Node:
        """Tell what ``'text' in found`` asks."""

    def whole(self, found: Node) -> Node:
        """Check a whole text's condition, and bring it into its form."""


def read(text: str, vocabulary: Vocabulary) -> Node:
    """Read a text as one condition.

    Parameters
    ----------
    text : str
        The condition; all there is, if it is blank.
    vocabulary : Vocabulary
        What its words mean.

    Returns
    -------
    Node
        The condition, in the form that the vocabulary gives it.

    Raises
    ------
    QueryError
        At the column that can't be read; the message says what is allowed.
    """
    if len(text) > MAX_LENGTH:
        raise QueryError(f"a predicate has at most {MAX_LENGTH} characters; this one has {len(text)}")
    if not text.strip():
        return ALL
    try:
        return Grammar(text, vocabulary).whole()
    except RecursionError:
        raise QueryError("this predicate is nested too deeply", text, 0) from None


class Grammar(Reader):
    """One reading of one text, by precedence climbing.

    Parameters
    ----------
    text : str
        The condition.
    vocabulary : Vocabulary
        What its words mean.
    """

    def __init__(self, text: str, vocabulary: Vocabulary) -> None:
        super().__init__(text, vocabulary.hyphenated)
        self.vocabulary = vocabulary

    def whole(self) -> Node:
        """Read the whole text as one condition."""
        column = self.token.column
        found = self.condition(self.expression(), column)
        if self.token.type != "end":
            self.fail(f"unexpected {self.token.shown()}; expected 'and', 'or' or the end{self.hint()}")
        with self.located(column):
            return self.vocabulary.whole(found)

    # -- what was read -------------------------------------------------------------------------------------------

    def value(self, found: Node | Place, column: int) -> Node:
        """Make sure that this is a value or a condition, not a place where values are."""
        if isinstance(found, Place):
            self.fail(found.complaint, column)
        return found

    def operand(self, found: Node | Place, column: int) -> Node:
        """Make sure that this is a value, not a condition."""
        value = self.value(found, column)
        if is_condition(value):
            self.fail("a value is needed here, not a condition; join conditions with 'and' and 'or'", column)
        return value

    def number(self, found: Node | Place, column: int) -> Node:
        """Make sure that this is a value that may be a number."""
        value = self.operand(found, column)
        if isinstance(value, Literal) and isinstance(value.value, (str, bool)):
            self.fail("arithmetic takes numbers", column)
        return value

    def condition(self, found: Node | Place, column: int) -> Node:
        """Make sure that this is a condition, or a value that means one."""
        node = self.value(found, column)
        if is_condition(node):
            return node
        self.count(column)
        if isinstance(node, Literal):
            if not isinstance(node.value, str) and node.value in (0, 1):
                return ALL if node.value else Or(())
            self.fail("a constant is not a condition; write 1 to match everything", column)
        with self.located(column):
            return self.vocabulary.condition(node)

    def operation(self, node: Node, column: int) -> Node:
        """Ask what an operation means."""
        with self.located(column):
            return self.vocabulary.operation(node)

    # -- expressions ---------------------------------------------------------------------------------------------

    def expression(self, lowest: int = _OR) -> Node | Place:
        """Read operators that bind at least as tight as `lowest`, and their operands."""
        column = self.token.column
        self.level += lowest in _NESTED
        if self.level > MAX_DEPTH:
            self.fail(f"a predicate can be nested {MAX_DEPTH} levels deep, and this one goes deeper")
        left = self.prefix(lowest)
        while (strength := self.strength()) >= lowest:
            if strength in (_OR, _AND):
                left = self.junction(left, strength, column)
            elif strength == _COMPARE:
                left = self.comparison(left, column)
            else:
                left = self.binary(left, strength, column)
        self.level -= lowest in _NESTED
        return left

    def strength(self) -> int:
        """Tell how tight the next word binds as an operator; 0 if it is none."""
        token = self.token
        if token.type != "op":
            return 0
        if token.text in ("or", "and"):
            return _OR if token.text == "or" else _AND
        if token.text in COMPARISONS:
            return _COMPARE
        if token.text == "not" and self.is_op("in", "like", "between", ahead=1):
            return _COMPARE
        return _BINARY.get(token.text, 0)

    def junction(self, left: Node | Place, strength: int, column: int) -> Node:
        """Read on conditions that are joined by one word."""
        word = "or" if strength == _OR else "and"
        parts = [self.condition(left, column)]
        while self.accept(word):
            column = self.token.column
            parts.append(self.condition(self.expression(strength + 1), column))
        return Or(tuple(parts)) if word == "or" else And(tuple(parts))

    def binary(self, left: Node | Place, strength: int, column: int) -> Node:
        """Read an operator of arithmetic, and its right side."""
        op = self.take().text
        right_column = self.token.column
        right = self.expression(_UNARY if op == "**" else strength + 1)
        if isinstance(left, Node) and isinstance(right, Node) and is_condition(left) and is_condition(right):
            if op in ("&", "|"):
                return And((left, right)) if op == "&" else Or((left, right))
            self.fail(f"'{op}' does not join conditions; 'and' and 'or' do", column)
        a, b = self.number(left, column), self.number(right, right_column)
        if op == "**":
            exponent = b.value if isinstance(b, Literal) and isinstance(b.value, (int, float)) else None
            if exponent is None or abs(exponent) > _MAX_EXPONENT:
                self.fail(f"an exponent must be a constant between -{_MAX_EXPONENT} and {_MAX_EXPONENT}", right_column)
        return self.made(self.operation(Arithmetic(op, a, b), column), column, a, b)

    def prefix(self, lowest: int) -> Node | Place:
        """Read ``not`` or a sign and what follows, or an operand."""
        column = self.token.column
        if self.is_op("not"):
            if lowest > _NOT:
                self.fail("'not' comes before a whole condition; put brackets around 'not …'")
            self.take()
            at = self.token.column
            return Not(self.condition(self.expression(_NOT), at))
        if self.is_op("-", "+", "~"):
            op = self.take().text
            at = self.token.column
            found = self.expression(_UNARY)
            if op == "~" and isinstance(found, Node) and is_condition(found):
                return Not(found)
            return self.signed(op, self.number(found, at), column)
        return self.postfix(self.atom(), column)

    def signed(self, op: str, operand: Node, column: int) -> Node:
        """Give an operand its sign."""
        if op == "+":
            return operand
        if op == "-" and isinstance(operand, Literal) and isinstance(operand.value, (int, float)):
            return Literal(-operand.value)
        made = self.operation(Call("neg" if op == "-" else "invert", (operand,)), column)
        return self.made(made, column, operand)

    # -- comparisons ---------------------------------------------------------------------------------------------

    def comparison(self, left: Node | Place, column: int) -> Node:
        """Read a chain of comparisons, each with its neighbours; ``in`` and the like end it."""
        links: list[Node] = []
        at = column
        while self.strength() == _COMPARE:
            self.count(self.token.column)
            negated = self.accept("not")
            op = self.take()
            if op.text in _LAST:
                part = self.last(op.text, left, at)
                if self.strength() == _COMPARE:
                    self.fail("this comparison can't be chained; join two comparisons with 'and'")
                part = Not(part) if negated else part
                return And((self.chain(links, at), part)) if links else part
            value = self.operand(left, at)
            at = self.token.column
            if self.is_op("null"):
                self.fail("nothing equals null; write 'is null' or 'is not null'")
            left = self.operand(self.expression(_COMPARE + 1), at)
            links.append(Compare(op.text, value, left))
        return self.chain(links, at)

    def chain(self, links: list[Node], column: int) -> Node:
        """Join comparisons with neighbours."""
        return self.operation(links[0] if len(links) == 1 else And(tuple(links)), column)

    def last(self, op: str, left: Node | Place, column: int) -> Node:
        """Read the right side of a comparison that ends a chain."""
        if op == "in":
            return self.membership(left, column)
        value = self.operand(left, column)
        if op == "is":
            return self.nullness(value, column)
        if op == "like":
            return self.likeness(value, column)
        at = self.token.column
        low = self.operand(self.expression(_COMPARE + 1), at)
        self.expect("and")
        at = self.token.column
        high = self.operand(self.expression(_COMPARE + 1), at)
        return self.chain([Compare(">=", value, low), Compare("<=", value, high)], at)

    def nullness(self, value: Node, column: int) -> Node:
        """Read on behind ``is``."""
        if is_array(value):
            self.fail("'is' takes one value, and this is an array; use isnan(…)")
        negated = self.accept("not")
        if self.is_op("true", "false"):
            made: Node = Compare("==", value, Literal(_CONSTANTS[self.take().text]))
        else:
            self.expect("null")
            made = IsNull(value)
        made = self.operation(made, column)
        return Not(made) if negated else made

    def likeness(self, value: Node, column: int) -> Node:
        """Read on behind ``like``."""
        if is_array(value):
            self.fail("'like' takes one text, and this is an array", column)
        if self.token.type != "string":
            self.fail("'like' takes a string, e.g. like 'MIRI*'")
        return self.operation(Like(value, _make_pattern(self.take().text)), column)

    def membership(self, left: Node | Place, column: int) -> Node:
        """Read on behind ``in``: a list, or what may have a text."""
        if self.is_op("(", "["):
            value = self.operand(left, column)
            if is_array(value):
                self.fail("'in' takes one value, and this is an array; write (array == a) | (array == b)", column)
            return self.operation(In(value, self.literals()), column)
        at = self.token.column
        found = self.expression(_COMPARE + 1)
        if not (isinstance(left, Literal) and isinstance(left.value, str)):
            self.fail("write: value in (a, b), or 'text' in something", column)
        if isinstance(found, Node):
            found = self.operand(found, at)
        with self.located(at):
            return self.vocabulary.contains(found, left.value)

    def literals(self) -> tuple[Literal, ...]:
        """Read a list, from its bracket on."""
        close = ")" if self.take().text == "(" else "]"
        items: list[Literal] = []
        while not self.is_op(close):
            column = self.token.column
            item = self.expression(_SUM)
            if not isinstance(item, Literal):
                self.fail("a list can hold constants only", column)
            items.append(item)
            if not self.accept(","):
                break
        self.expect(close)
        return tuple(items)

    # -- operands ------------------------------------------------------------------------------------------------

    def atom(self) -> Node | Place:
        """Read a literal, a name, a call, or what stands in brackets."""
        token = self.take()
        if token.type == "number":
            return self.constant(token)
        if token.type == "string":
            return Literal(token.text)
        if token.type == "name":
            return self.name(token)
        if token.type == "op" and token.text in _CONSTANTS:
            return Literal(_CONSTANTS[token.text])
        if token.type == "op" and token.text == "(":
            found = self.expression()
            if self.is_op(","):
                self.fail("a list can only follow 'in'")
            self.expect(")")
            return found
        if token.type == "op" and token.text == "null":
            self.fail("to ask for null, write 'is null' or 'is not null'", token.column)
        self.at -= token.type != "end"
        return self.fail(f"expected a value instead of {token.shown()}{self.hint()}", token.column)

    def constant(self, token: Token) -> Literal:
        """Give a number's value; whole numbers fit in 64 bits, others are in float64."""
        text = token.text
        value: int | float = int(text, 16) if text[:2] in ("0x", "0X") else int(text) if text.isdigit() else float(text)
        if isinstance(value, int) and abs(value) >= 2**63:
            value = float(value) if value < 10**308 else float("inf")
        if value == float("inf"):
            self.fail("this number is too large", token.column)
        return Literal(value)

    def name(self, token: Token) -> Node | Place:
        """Ask what a name, or the call of a function, stands for."""
        name = token.text
        if "__" in name or name in _NEVER_NAMES:
            self.fail(f"'{name}' is not allowed in a predicate", token.column)
        if self.is_op("("):
            with self.located(token.column):
                return self.vocabulary.call(self, token)
        if self.token.type == "string":
            self.fail(f"expected an operator instead of {self.token.shown()}; a string can't have a prefix")
        with self.located(token.column):
            return self.vocabulary.name(self, token)

    def postfix(self, found: Node | Place, column: int) -> Node | Place:
        """Read attributes and subscripts of an operand."""
        below: Node | Place = found
        while self.is_op(".", "[", "("):
            here = self.token.column
            if self.is_op("("):
                self.fail("this can't be called")
            with self.located(here):
                if self.take().text == ".":
                    found = self.vocabulary.attribute(self, below)
                else:
                    found = self.vocabulary.subscript(below, self.items())
            if isinstance(found, Node):
                self.made(found, column, below)
            below = found
        return found

    def items(self) -> tuple[Item, ...]:
        """Read a subscript's items, and its end."""
        items: list[Item] = []
        while not self.is_op("]"):
            items.append(self.item())
            if not self.accept(","):
                break
        self.expect("]")
        return tuple(items)

    def item(self) -> Item:
        """Read an index, a slice, a text, or an expression."""
        if self.is_op("."):
            self.fail("write '...' for all other axes")
        if self.accept("..."):
            return ...
        column = self.token.column
        first: Node | Place | None = None if self.is_op(":") else self.expression()
        if not self.is_op(":"):
            if isinstance(first, Literal) and isinstance(first.value, str):
                return first.value
            if isinstance(first, Node) and not isinstance(first, Literal):
                return first
            return self.index(first, column)
        ends = [None if first is None else self.index(first, column)]
        while len(ends) < 3 and self.accept(":"):
            column = self.token.column
            ends.append(None if self.is_op(":", ",", "]") else self.index(self.expression(_SUM), column))
        if len(ends) == 3 and ends[2] == 0:
            self.fail("a step can't be zero", column)
        return Slice(*ends)

    def index(self, found: Node | Place | None, column: int) -> int:
        """Make sure that this is a whole number."""
        if isinstance(found, Literal) and type(found.value) is int and abs(found.value) < 2**31:
            return found.value
        return self.fail(self.vocabulary.index_rule, column)


def _make_pattern(text: str) -> str:
    """Turn ``*``, ``%`` and ``?`` into the wildcards of SQL, and take the meaning off all else."""
    wildcards = {"*": "%", "%": "%", "?": "_"}
    return "".join(wildcards.get(c, "\\" + c if c in "_\\" else c) for c in text)
