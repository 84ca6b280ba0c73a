"""From a predicate's text to its tree, by a closed grammar: nothing is ever evaluated.

The expressions are Python's, with its precedences, and what people also write: a single ``=``, ``&``, ``|``, ``&&``,
``||``, ``!`` between conditions, ``like``, ``between … and …``, ``is null``, ``<>``, and capitals. Python's own `ast`
can't read these, and mapping its columns back through a rewritten text is more code than this grammar; so the words
are split by `miripool.query.lexer` and put together here. What is not in the grammar is an error at its column.

======================================  ==========================================================
``ngroups``, ``exposure.ngroups``       a keyword in any case, or its path in the jwst datamodels
``SCI.BUNIT``, ``meta['SCI.BUNIT']``    the keyword of that HDU
``p.meta['ngroups'].value``, ``.unit``  as in Python; ``.value`` can be left out
``p.meta.containsKey('flag')``          also ``'flag' in p.meta``
``p.type``, ``p.version``, …            see `miripool.query.places.FIELDS`; ``p.`` can be left out, but for filename
``'cal v1' in p.tags``                  the tag marks this version
``p.data``, ``p['SCI']``, ``p.err``     datasets, with ``.max() .min() .mean() .std() .var() .sum() .median() .any()`` …
``(p['SCI'][:, 10:20] > 5).sum() > 3``  parts, comparisons and reductions, with ``axis=``
``p.data[p.dq == 0].max()``             elements picked by a condition
``p.data.shape[0]``, ``.ndim``, …       also ``.size``, ``.unit``, ``.n_nan``, ``.n_flagged``
``ANY(p.data > 5)``, ``ALL(…)``         one value from many
``detector like 'MIRI*'``               ``*`` or ``%``: any characters; ``?``: one; ``_`` is itself
``f(p)``                                a plain function that was given to `parse`
``created > now - 1 day``               from the time of asking; also minutes, hours, weeks
``1``, ``True``, nothing                all products
======================================  ==========================================================
"""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ..errors import QueryError
from .bounds import add_bounds
from .lexer import COMPARISONS, Token
from .normal import normalise
from .places import (
    FIELDS,
    FUNCTIONS,
    Arguments,
    MetaPlace,
    Names,
    Place,
    ProductPlace,
    TagsPlace,
    apply_function,
    apply_method,
    escape_pattern,
    find_keyword,
    take_attribute,
    take_subscript,
)
from .reader import MAX_CONDITIONS, MAX_DEPTH, Reader
from .tree import (
    ALL,
    And,
    Arithmetic,
    Call,
    Compare,
    Dataset,
    Field,
    HasDataset,
    HasKey,
    HasTag,
    In,
    IsNull,
    Item,
    Keyword,
    Like,
    Literal,
    Node,
    Not,
    Or,
    PythonCall,
    Slice,
    Truth,
    Unit,
    is_array,
    is_condition,
    walk,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["MAX_CONDITIONS", "MAX_DEPTH", "MAX_LENGTH", "parse"]

MAX_LENGTH = 10_000
"""Characters of a predicate."""
_MAX_EXPONENT = 16

_KEPT = 256
"""Predicates that are kept when they have been read: a session asks the same again and again."""

_OR, _AND, _NOT, _COMPARE, _SUM, _UNARY, _POWER = 1, 2, 4, 5, 9, 12, 13
_BINARY = {"|": 6, "^": 7, "&": 8, "+": _SUM, "-": _SUM, "*": 10, "/": 10, "//": 10, "%": 10, "**": _POWER}
_NESTED = frozenset({_OR, _NOT, _UNARY})
"""Where an expression is read in brackets, or behind a prefix or an exponent, and not just as the next operand."""
_CONSTANTS: dict[str, bool] = {"true": True, "false": False}


def parse(
    text: str,
    variable: str = "p",
    *,
    names: Names,
    functions: Mapping[str, Callable[[Any], Any]] | None = None,
) -> Node:
    """Read a predicate.

    Parameters
    ----------
    text : str
        What a product must satisfy, e.g. ``ngroups >= 20 and p.data.max() > 1.0``.
    variable : str, optional
        What the predicate calls the product.
    names : Names, keyword-only
        Dictionary of keywords.
    functions : mapping of str to callable, keyword-only, optional
        Functions of the product that the predicate may call.

    Returns
    -------
    Node
        In normal form.

    Raises
    ------
    QueryError
        At the column that can't be read; the message says what is allowed.
    """
    if len(text) > MAX_LENGTH:
        raise QueryError(f"a predicate has at most {MAX_LENGTH} characters; this one has {len(text)}")
    if not text.strip():
        return ALL
    if "(" not in text:  # nothing is called
        return _parse_again(text, variable, names)
    return _parse(text, variable, names, functions or {})


def _parse(text: str, variable: str, names: Names, functions: Mapping[str, Callable[[Any], Any]]) -> Node:
    try:
        return normalise(add_bounds(normalise(_Parser(text, variable, names, functions).read())))
    except RecursionError:
        raise QueryError("this predicate is nested too deeply", text, 0) from None


@functools.lru_cache(maxsize=_KEPT)
def _parse_again(text: str, variable: str, names: Names) -> Node:
    return _parse(text, variable, names, {})


_UNITS = ("second", "minute", "hour", "day", "week")
"""Of ``now - 1 day``."""


class _Parser(Reader):
    """One reading of one text, by precedence climbing."""

    def __init__(self, text: str, variable: str, names: Names, functions: Mapping[str, Callable[[Any], Any]]) -> None:
        super().__init__(text, names.hyphenated)
        self.variable = variable
        self.names = names
        self.functions = functions

    def read(self) -> Node:
        """Read the whole text as one condition."""
        column = self.token.column
        found = self.condition(self.expression(_OR), column)
        if self.token.type != "end":
            self.fail(f"unexpected {self.token.shown()}{self.hint()}")
        if is_array(found):
            datasets = sorted({d.name or "data" for d in walk(found) if isinstance(d, Dataset)})
            self.fail(f"this is a condition on each element of {', '.join(datasets)}; say ANY(…) or ALL(…)", column)
        return found

    # -- what was read -------------------------------------------------------------------------------------------

    def value(self, found: Node | Place, column: int) -> Node:
        """Make sure that this is a value, not a condition."""
        if isinstance(found, ProductPlace):
            self.fail(
                f"'{self.variable}' is the product; ask for something of it, e.g. {self.variable}.version", column
            )
        if isinstance(found, TagsPlace):
            self.fail("tags are asked for by: 'using cal v1' in p.tags", column)
        if not isinstance(found, Node):
            self.fail("this is not a value yet; take an element of it, e.g. p.meta['ngroups'], p.data.shape[0]", column)
        return found

    def operand(self, found: Node | Place, column: int) -> Node:
        value = self.value(found, column)
        if is_condition(value):
            self.fail("this is a condition, where a value is needed; join conditions with 'and' and 'or'", column)
        return value

    def number(self, found: Node | Place, column: int) -> Node:
        value = self.operand(found, column)
        if isinstance(value, Literal) and isinstance(value.value, (str, bool)):
            self.fail("arithmetic takes numbers", column)
        return value

    def condition(self, found: Node | Place, column: int) -> Node:
        """Make sure that this is a condition; keywords and results of ``any`` and the like are by being true."""
        node = self.value(found, column)
        if is_condition(node):
            return node
        self.count(column)
        if isinstance(node, Literal):
            if not isinstance(node.value, str) and node.value in (0, 1):
                return Truth(Literal(bool(node.value)))
            self.fail("a constant is no condition; '1' means all products", column)
        if isinstance(node, (Unit, Field)) or (isinstance(node, (Arithmetic, Call)) and not is_array(node)):
            self.fail("this is a value, not a condition; compare it with something", column)
        return Truth(node)

    # -- expressions ---------------------------------------------------------------------------------------------

    def expression(self, lowest: int) -> Node | Place:
        """Read operators that bind at least as tight as `lowest`, and their operands."""
        column = self.token.column
        self.level += lowest in _NESTED
        if self.level > MAX_DEPTH:
            self.fail(f"nested deeper than {MAX_DEPTH}")
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
        word = "or" if strength == _OR else "and"
        parts = [self.condition(left, column)]
        while self.accept(word):
            column = self.token.column
            parts.append(self.condition(self.expression(strength + 1), column))
        return Or(tuple(parts)) if word == "or" else And(tuple(parts))

    def binary(self, left: Node | Place, strength: int, column: int) -> Node:
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
                self.fail(f"an exponent is a constant between -{_MAX_EXPONENT} and {_MAX_EXPONENT}", right_column)
        return self.made(Arithmetic(op, a, b), column, a, b)

    def prefix(self, lowest: int) -> Node | Place:
        column = self.token.column
        if self.is_op("not"):
            if lowest > _NOT:
                self.fail("'not' stands before a whole condition; put it in brackets")
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
        if op == "+":
            return operand
        if op == "-" and isinstance(operand, Literal) and isinstance(operand.value, (int, float)):
            return Literal(-operand.value)
        return self.made(Call("neg" if op == "-" else "invert", (operand,)), column, operand)

    # -- comparisons ---------------------------------------------------------------------------------------------

    def comparison(self, left: Node | Place, column: int) -> Node:
        """Read a chain of comparisons; each with its neighbours."""
        parts: list[Node] = []
        current: Node | Place | None = left
        while self.strength() == _COMPARE:
            if current is None:
                self.fail("this comparison can't be chained; join with 'and'")
            self.count(self.token.column)
            negated = self.accept("not")
            op = self.take()
            at = self.token.column
            current, part = self.compare(op, current, column)
            parts.append(Not(part) if negated else part)
            column = at
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def compare(self, op: Token, left: Node | Place, column: int) -> tuple[Node | None, Node]:
        """Read one comparison's right side; give it, where a chain can go on from it, and the condition."""
        if op.text == "in":
            return None, self.membership(left, column)
        value = self.operand(left, column)
        if op.text == "is":
            return None, self.nullness(value)
        if op.text == "like":
            return None, self.likeness(value, column)
        at = self.token.column
        if op.text == "between":
            low = self.operand(self.expression(_COMPARE + 1), at)
            self.expect("and")
            at = self.token.column
            high = self.operand(self.expression(_COMPARE + 1), at)
            return None, And((Compare(">=", value, low), Compare("<=", value, high)))
        if self.is_op("null"):
            self.fail("nothing equals null; write 'is null' or 'is not null'")
        right = self.operand(self.expression(_COMPARE + 1), at)
        return right, Compare(op.text, value, right)

    def nullness(self, value: Node) -> Node:
        if is_array(value):
            self.fail("'is' asks for one value; this is an array. Use isnan(…)")
        negated = self.accept("not")
        if self.is_op("true", "false"):
            made: Node = Compare("==", value, Literal(_CONSTANTS[self.take().text]))
        else:
            self.expect("null")
            made = IsNull(value)
        return Not(made) if negated else made

    def likeness(self, value: Node, column: int) -> Node:
        if is_array(value):
            self.fail("'like' asks for one text; this is an array", column)
        if self.token.type != "string":
            self.fail("'like' takes a string, e.g. like 'MIRI*'")
        return Like(value, _make_pattern(self.take().text))

    def membership(self, left: Node | Place, column: int) -> Node:
        if self.is_op("(", "["):
            value = self.operand(left, column)
            if is_array(value):
                self.fail("'in' asks for one value; this is an array. Compare with each, and join with '|'", column)
            return In(value, self.literals())
        at = self.token.column
        found = self.expression(_COMPARE + 1)
        if not (isinstance(left, Literal) and isinstance(left.value, str)):
            self.fail("write: value in (a, b), or 'text' in something", column)
        if isinstance(found, TagsPlace):
            return HasTag(left.value)
        if isinstance(found, MetaPlace):
            with self.located(column):
                key = find_keyword(left.value, self.names)
            return HasKey(key.hdu, key.key)
        if isinstance(found, ProductPlace):
            return HasDataset(left.value)
        text = self.operand(found, at)
        if is_array(text) or isinstance(text, Literal):
            self.fail("'in' takes a list, p.tags, p.meta, p, or a keyword's text", at)
        return Like(text, f"%{escape_pattern(left.value)}%")

    def literals(self) -> tuple[Literal, ...]:
        close = ")" if self.take().text == "(" else "]"
        items: list[Literal] = []
        while not self.is_op(close):
            column = self.token.column
            item = self.expression(_SUM)
            if not isinstance(item, Literal):
                self.fail("a list has constants only", column)
            items.append(item)
            if not self.accept(","):
                break
        self.expect(close)
        return tuple(items)

    # -- operands ------------------------------------------------------------------------------------------------

    def atom(self) -> Node | Place:
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
            found = self.expression(_OR)
            if self.is_op(","):
                self.fail("a list stands only behind 'in'")
            self.expect(")")
            return found
        if token.type == "op" and token.text == "null":
            self.fail("null is asked for by 'is null' or 'is not null'", token.column)
        self.at -= token.type != "end"
        return self.fail(f"expected a value instead of {token.shown()}{self.hint()}", token.column)

    def constant(self, token: Token) -> Literal:
        text = token.text
        value: int | float = int(text, 16) if text[:2] in ("0x", "0X") else _read_number(text)
        if isinstance(value, int) and abs(value) >= 2**63:
            value = float(value) if value < 10**308 else float("inf")
        if value == float("inf"):
            self.fail("this number is too large", token.column)
        return Literal(value)

    def name(self, token: Token) -> Node | Place:
        name = token.text
        if "__" in name or name in ("lambda", "import", "await", "yield", "if", "for", "else"):
            self.fail(f"'{name}' is not allowed in a predicate", token.column)
        if self.is_op("("):
            return self.call(token)
        if self.token.type == "string":
            self.fail(f"expected an operator instead of {self.token.shown()}; strings have no prefix")
        if name == self.variable:
            return ProductPlace()
        if name == "meta":
            return MetaPlace()
        if name == "tags":
            return TagsPlace()
        if name == "now" and not self.is_op("."):
            return self.moment()
        if name in FIELDS and name != "filename" and not (self.is_op(".") and self.tokens[self.at + 1].text in "value"):
            return Field(FIELDS[name])
        return self.path(token)

    def moment(self) -> Literal:
        """Read ``now``, or ``now - 1 day``: the time when the question is asked."""
        when = datetime.now(UTC)
        if self.accept("-"):
            number, unit = self.take(), self.take()
            name = unit.text.lower().removesuffix("s")
            if number.type != "number" or unit.type != "name" or name not in _UNITS:
                self.fail(f"write now - 1 day; {', '.join(f'{unit}s' for unit in _UNITS)} are known", number.column)
            try:
                when -= timedelta(**{f"{name}s": float(_read_number(number.text))})
            except OverflowError:
                self.fail("so long ago there were no dates", number.column)
        return Literal(when.isoformat().replace("+00:00", "Z"))

    def path(self, first: Token, *, meta: bool = False) -> Keyword:
        """Read a keyword by name: bare, a datamodel path, or qualified by an HDU; `meta`: stood before it."""
        words = [first.text]
        while self.is_op(".") and self.tokens[self.at + 1].type == "name" and not self.is_op("(", ahead=2):
            following = self.tokens[self.at + 1].text
            longer = ".".join([*words, following])
            if following in ("value", "unit") and not self.knows_path(longer):
                break
            self.at += 2
            words.append(following)
        if any(word.startswith("_") for word in words):
            self.fail("a name that begins with '_' is private", first.column)
        path = ".".join(words)
        if len(words) == 2 and len(words[0]) == 1 and not meta:
            self.fail(f"'{words[0]}' is not known; the product is called '{self.variable}' here", first.column)
        # Outside meta['…'] only what looks like an HDU's name may qualify a keyword that nobody knows.
        if len(words) > 1 and not self.names.knows(path) and (len(words) > 2 or words[0] != words[0].upper()):
            self.fail(f"no keyword is known as {path}; meta['NAME'] takes any name", first.column)
        with self.located(first.column):
            return find_keyword(path, self.names)

    def knows_path(self, path: str) -> bool:
        """Tell whether the dictionary knows the whole path, not only the keyword at its end."""
        target = self.names.resolve(path)
        head, _, _ = path.rpartition(".")
        return self.names.knows(path) and (target.hdu or "").upper() != head.upper()

    def postfix(self, found: Node | Place, column: int) -> Node | Place:
        below: Node | Place = found
        while self.is_op(".", "[", "("):
            here = self.token.column
            if self.is_op("("):
                self.fail("this can't be called")
            with self.located(here):
                found = self.attribute(below) if self.take().text == "." else self.subscript(below)
            if isinstance(found, Node):
                self.made(found, column, below)
            below = found
        return found

    def attribute(self, base: Node | Place) -> Node | Place:
        token = self.take()
        if token.type != "name":
            self.fail(f"expected a name instead of {token.shown()}", token.column)
        with self.located(token.column):
            if isinstance(base, MetaPlace) and not self.is_op("("):
                return self.path(token, meta=True)
            if self.is_op("("):
                return apply_method(base, token.text, self.arguments(), self.names)
            return take_attribute(base, token.text, self.names)

    def subscript(self, base: Node | Place) -> Node | Place:
        items: list[Item] = []
        while not self.is_op("]"):
            items.append(self.item())
            if not self.accept(","):
                break
        self.expect("]")
        if not items or len(items) > 32:
            raise QueryError("a subscript has 1 to 32 items")
        return take_subscript(base, tuple(items), self.names)

    def item(self) -> Item:
        if self.is_op("."):
            self.fail("'...' stands for all other axes")
        if self.accept("..."):
            return ...
        column = self.token.column
        first: Node | Place | None = None if self.is_op(":") else self.expression(_OR)
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
        if isinstance(found, Literal) and type(found.value) is int and abs(found.value) < 2**31:
            return found.value
        return self.fail("an index is a whole number, e.g. [0], [:, 10:20] or [..., 5]", column)

    # -- calls ---------------------------------------------------------------------------------------------------

    def call(self, token: Token) -> Node:
        name = token.text
        if name not in self.functions and name not in FUNCTIONS:
            known = ", ".join(FUNCTIONS)
            self.fail(f"no function '{name}' here; there are {known}, and in Python plain functions", token.column)
        arguments = self.arguments()
        product = len(arguments.values) == 1 and isinstance(arguments.values[0], ProductPlace)
        if name in self.functions and product and arguments.axis is None:
            return PythonCall(name, self.functions[name])
        if name not in FUNCTIONS:
            self.fail(f"a function of yours takes the product: {name}({self.variable})", token.column)
        with self.located(token.column):
            return self.made(apply_function(name, arguments), token.column, *arguments.values)

    def arguments(self) -> Arguments:
        self.expect("(")
        values: list[Node | Place] = []
        axis: tuple[int, ...] | None = None
        while not self.is_op(")"):
            if self.token.type == "name" and self.is_op("==", ahead=1) and self.token.text == "axis":
                self.at += 2
                axis = self.axis()
            elif self.is_op("*", "**"):
                self.fail("an argument is written out, without '*'")
            else:
                values.append(self.expression(_OR))
            if not self.accept(","):
                break
        self.expect(")")
        return Arguments(values, axis)

    def axis(self) -> tuple[int, ...]:
        column = self.token.column
        several = self.is_op("(")
        items = self.literals() if several else (Literal(self.index(self.expression(_SUM), column)),)
        axes = tuple(item.value for item in items if type(item.value) is int)
        if not axes or len(axes) != len(items) or max(map(abs, axes)) > 64:
            self.fail("an axis is a number, or several in brackets: axis=0, axis=(0, 1)", column)
        return axes


def _read_number(text: str) -> int | float:
    return int(text) if text.isdigit() else float(text)


def _make_pattern(text: str) -> str:
    """Turn ``*``, ``%`` and ``?`` into the wildcards of SQL, and take the meaning off all else."""
    wildcards = {"*": "%", "%": "%", "?": "_"}
    return "".join(wildcards.get(c, "\\" + c if c in "_\\" else c) for c in text)
