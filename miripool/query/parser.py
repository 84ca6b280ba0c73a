"""What the words of text about products mean; `miripool.query.grammar` reads it.

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
``covers(150.1, 2.2)``                  the footprint has this position; also ``overlaps(circle(ra, dec, r))``,
                                        ``overlaps(polygon(…))``, ``separation(ra, dec) < 2``; with ``darks=True``
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
from .grammar import MAX_LENGTH, Place, read
from .normal import normalise
from .places import (
    FIELDS,
    FUNCTIONS,
    Arguments,
    MetaPlace,
    Names,
    ProductPlace,
    TagsPlace,
    apply_function,
    apply_method,
    escape_pattern,
    find_keyword,
    take_as_true,
    take_attribute,
    take_subscript,
)
from .reader import MAX_CONDITIONS, MAX_DEPTH
from .skywords import SKY_FUNCTIONS, apply_sky
from .tree import (
    Field,
    HasDataset,
    HasKey,
    HasTag,
    Item,
    Keyword,
    Like,
    Literal,
    Node,
    PythonCall,
    WholeArray,
    is_array,
    walk,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from .grammar import Grammar
    from .lexer import Token

__all__ = ["MAX_CONDITIONS", "MAX_DEPTH", "MAX_LENGTH", "parse"]

_KEPT = 256
"""Predicates that are kept when they have been read: a session asks the same again and again."""
_UNITS = ("second", "minute", "hour", "day", "week")
"""Of ``now - 1 day``."""


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
    if "(" not in text and "now" not in text:  # nothing is called, and it means the same tomorrow
        return _read_again(text, variable, names)
    return read(text, _Words(variable, names, functions or {}))


@functools.lru_cache(maxsize=_KEPT)
def _read_again(text: str, variable: str, names: Names) -> Node:
    return read(text, _Words(variable, names, {}))


class _Words:
    """The vocabulary of text about products, see `miripool.query.grammar.Vocabulary`."""

    index_rule = "an index is a whole number, e.g. [0], [:, 10:20] or [..., 5]"

    def __init__(self, variable: str, names: Names, functions: Mapping[str, Callable[[Any], Any]]) -> None:
        self.variable = variable
        self.names = names
        self.functions = functions

    @property
    def hyphenated(self) -> Collection[str]:
        return self.names.hyphenated

    def whole(self, found: Node) -> Node:
        if is_array(found):
            datasets = sorted({d.name or "data" for d in walk(found) if isinstance(d, WholeArray)})
            raise QueryError(f"this is a condition on each element of {', '.join(datasets)}; write ANY(…) or ALL(…)")
        return normalise(add_bounds(normalise(found)))

    def condition(self, value: Node) -> Node:
        return take_as_true(value)

    def operation(self, node: Node) -> Node:
        return node  # all there are have a meaning

    def contains(self, found: Node | Place, text: str) -> Node:
        if isinstance(found, TagsPlace):
            return HasTag(text)
        if isinstance(found, MetaPlace):
            key = find_keyword(text, self.names)
            return HasKey(key.hdu, key.key)
        if isinstance(found, ProductPlace):
            return HasDataset(text)
        if isinstance(found, Place):
            raise QueryError(found.complaint)
        if is_array(found) or isinstance(found, Literal):
            raise QueryError("'in' takes a list, p.tags, p.meta, p, or a keyword's text")
        return Like(found, f"%{escape_pattern(text)}%")

    def name(self, words: Grammar, token: Token) -> Node | Place:
        name = token.text
        if name == self.variable:
            return ProductPlace(name)
        if name == "meta":
            return MetaPlace()
        if name == "tags":
            return TagsPlace()
        if name == "now" and not words.is_op("."):
            return self._moment(words)
        valued = words.is_op(".") and words.tokens[words.at + 1].text in "value"
        if name in FIELDS and name != "filename" and not valued:
            return Field(FIELDS[name])
        return self._path(words, token)

    def _moment(self, words: Grammar) -> Literal:
        """Read ``now``, or ``now - 1 day``: the time when the question is asked."""
        when = datetime.now(UTC)
        if words.accept("-"):
            number, unit = words.take(), words.take()
            name = unit.text.lower().removesuffix("s")
            if number.type != "number" or unit.type != "name" or name not in _UNITS:
                units = ", ".join(f"{unit}s" for unit in _UNITS)
                words.fail(f"write e.g. now - 1 day; the units are {units}", number.column)
            try:
                when -= timedelta(**{f"{name}s": float(words.constant(number).value)})
            except OverflowError:
                words.fail("this time is before the year 1", number.column)
        return Literal(when.isoformat().replace("+00:00", "Z"))

    def _path(self, words: Grammar, first: Token, *, meta: bool = False) -> Keyword:
        """Read a keyword by name: bare, a datamodel path, or qualified by an HDU; `meta`: stood before it."""
        parts = [first.text]
        while words.is_op(".") and words.tokens[words.at + 1].type == "name" and not words.is_op("(", ahead=2):
            following = words.tokens[words.at + 1].text
            if following in ("value", "unit") and not self._knows_path(".".join([*parts, following])):
                break
            words.at += 2
            parts.append(following)
        if any(part.startswith("_") for part in parts):
            raise QueryError("a predicate can't use names that begin with '_'")
        path = ".".join(parts)
        if len(parts) == 2 and len(parts[0]) == 1 and not meta:
            raise QueryError(f"'{parts[0]}' is not known; the product is called '{self.variable}' here")
        # Outside meta['…'] only what looks like an HDU's name may qualify a keyword that nobody knows.
        if len(parts) > 1 and not self.names.knows(path) and (len(parts) > 2 or parts[0] != parts[0].upper()):
            raise QueryError(f"no keyword has the name or path {path}; meta['NAME'] takes any name")
        return find_keyword(path, self.names)

    def _knows_path(self, path: str) -> bool:
        """Tell whether the dictionary knows the whole path, not only the keyword at its end."""
        target = self.names.resolve(path)
        head, _, _ = path.rpartition(".")
        return self.names.knows(path) and (target.hdu or "").upper() != head.upper()

    def attribute(self, words: Grammar, base: Node | Place) -> Node | Place:
        token = words.take()
        if token.type != "name":
            words.fail(f"expected a name instead of {token.shown()}", token.column)
        with words.located(token.column):
            if isinstance(base, MetaPlace) and not words.is_op("("):
                return self._path(words, token, meta=True)
            if words.is_op("("):
                return apply_method(base, token.text, self._arguments(words), self.names)
            return take_attribute(base, token.text, self.names)

    def subscript(self, base: Node | Place, items: tuple[Item, ...]) -> Node | Place:
        return take_subscript(base, items, self.names)

    def call(self, words: Grammar, token: Token) -> Node | Place:
        name = token.text
        if name not in self.functions and name not in FUNCTIONS and name not in SKY_FUNCTIONS:
            known = ", ".join((*FUNCTIONS, *SKY_FUNCTIONS))
            raise QueryError(f"there is no function '{name}'; there are {known}, and in Python your own functions")
        arguments = self._arguments(words, "darks" if name in SKY_FUNCTIONS else "axis")
        product = len(arguments.values) == 1 and isinstance(arguments.values[0], ProductPlace)
        if name in self.functions and product and arguments.axis is None:
            return PythonCall(name, self.functions[name])
        if name in SKY_FUNCTIONS:
            return apply_sky(words, name, arguments)
        if name not in FUNCTIONS:
            raise QueryError(f"a function of your own takes the product alone: {name}({self.variable})")
        return words.made(apply_function(name, arguments), token.column, *arguments.values)

    def _arguments(self, words: Grammar, option: str = "axis") -> Arguments:
        """Read arguments; one of them may be named: `option`."""
        words.expect("(")
        values: list[Node | Place] = []
        columns: list[int] = []
        axis: tuple[int, ...] | None = None
        darks: bool | None = None
        while not words.is_op(")"):
            if words.token.type == "name" and words.is_op("==", ahead=1) and words.token.text == option:
                words.at += 2
                if option == "axis":
                    axis = self._axis(words)
                else:
                    darks = self._flag(words)
            elif words.is_op("*", "**"):
                words.fail("write each argument out, without '*'")
            else:
                columns.append(words.token.column)
                values.append(words.expression())
            if not words.accept(","):
                break
        words.expect(")")
        return Arguments(values, axis, darks, columns)

    def _flag(self, words: Grammar) -> bool:
        if not words.is_op("true", "false"):
            words.fail("write True or False")
        return words.take().text == "true"

    def _axis(self, words: Grammar) -> tuple[int, ...]:
        column = words.token.column
        several = words.is_op("(")
        items = words.literals() if several else (Literal(words.index(words.expression(), column)),)
        axes = tuple(item.value for item in items if type(item.value) is int)
        if not axes or len(axes) != len(items) or max(map(abs, axes)) > 64:
            words.fail("an axis is a number, or several in brackets: axis=0, axis=(0, 1)", column)
        return axes
