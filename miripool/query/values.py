"""What a predicate means: types, unknown values, comparisons. Python and SQL follow the same rules.

**Unknown.** A product that has not got the keyword, the dataset or the element that a condition asks for does not
match, whatever the operator, also behind ``not``: conditions are true, false or unknown, ``not`` unknown is unknown,
and only true matches. (With negation at the leaves: each leaf is "there is a value of a comparable type, and it
satisfies the condition".) Two-valued are ``is null``, ``containsKey``, tags, and functions of the caller.

**Types.** A value is a number (float64, whatever it was), a text, a truth value, or a time with its text. Numbers
compare with numbers; texts with texts, by code point, and with case; truth values with truth values, for ``==`` and
``!=`` only; all else is unknown, ``!=`` too. A keyword that is a time compares with a literal in ISO form
(``'2018-03-08'``, ``'2018-03-08T01:02:30.5'``, with ``Z``, ``UTC`` behind a space or an offset; without one it is UTC)
as a time. With another literal a time compares by its text, and a text that is no time compares with any literal as
text.

**Undefined.** A keyword without a value is there for ``containsKey`` and never compares. ``is null`` holds for a
value that is missing or undefined.

**Lists.** ``in`` holds if the value equals one item; it is false if the value is comparable with one item at least
and equals none; else unknown.

**Numbers.** NaN never compares. Arithmetic is done in float64; beyond 1e±140 an operand of it, zero apart, has no
value: no server and no processor then overflows in its own way. ``a // b`` is the floor of ``a / b``, and ``a % b``
is ``a - b * (a // b)``; division by zero is unknown.

**Arrays.** Statistics and reductions leave NaN out by the rule of `miripool.model.reductions` (and a condition on NaN
is neither true nor false: ``ALL(p.data > 0)`` asks for all numbers in the array); without a number left they are
unknown. An index beyond an array's end is unknown.
"""

from __future__ import annotations

import functools
import math
import operator
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "LARGE",
    "OPERATORS",
    "SMALL",
    "UNKNOWN",
    "Value",
    "as_time",
    "calculate",
    "compare",
    "is_in",
    "like",
    "lower",
    "upper",
]

LARGE, SMALL = 1e140, 1e-140
"""Between these, products and quotients of two numbers neither overflow nor underflow in float64."""

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

_ISO = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z| UTC|[+-]\d\d:?\d\d)?)?", re.ASCII)
_TO_LOWER = {c: c + 32 for c in range(ord("A"), ord("Z") + 1)}
_TO_UPPER = {c: c - 32 for c in range(ord("a"), ord("z") + 1)}


class Value(NamedTuple):
    """A scalar, by type; a time has its text too; all None if unknown.

    Attributes
    ----------
    number : float or None
        Never NaN.
    text : str or None
        Text.
    flag : bool or None
        Truth value.
    time : datetime or None
        UTC.
    """

    number: float | None = None
    text: str | None = None
    flag: bool | None = None
    time: datetime | None = None

    @classmethod
    def of(cls, value: object) -> Value:
        """Take a Python or NumPy scalar.

        Parameters
        ----------
        value : object
            Number, text, truth value, datetime; anything else is unknown.

        Returns
        -------
        Value
            Its only type; a text in ISO form is not a time here.
        """
        if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
            value = value.item()
        if isinstance(value, bool):
            return cls(flag=value)
        if isinstance(value, (int, float)):
            return _number(value)
        if isinstance(value, bytes):
            value = value.decode("latin-1")
        if isinstance(value, str):
            return cls(text=value)
        if isinstance(value, datetime):
            return cls(time=value if value.tzinfo else value.replace(tzinfo=UTC))
        return UNKNOWN

    @classmethod
    def of_literal(cls, value: bool | int | float | str) -> Value:
        """Take a constant of a predicate: as `of`, and a text in ISO form is a time too.

        Parameters
        ----------
        value : bool, int, float or str
            The constant.

        Returns
        -------
        Value
            With `text` and `time` for ``'2018-03-08'``.
        """
        made = cls.of(value)
        return made if made.text is None else made._replace(time=as_time(made.text))


UNKNOWN = Value()


def _number(value: float) -> Value:
    try:
        number = float(value)
    except OverflowError:
        return UNKNOWN
    return UNKNOWN if math.isnan(number) else Value(number=number)


def as_time(text: str) -> datetime | None:
    """Read a date or time in ISO form.

    Parameters
    ----------
    text : str
        E.g. ``2018-03-08``, ``2018-03-08T01:02:30``, with ``Z``, ``UTC`` behind a space, or an offset.

    Returns
    -------
    datetime or None
        UTC, to the microsecond; None for anything else.
    """
    if not _ISO.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text.removesuffix(" UTC"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def compare(op: str, left: Value, right: Value) -> bool | None:
    """Compare two values.

    Parameters
    ----------
    op : str
        ``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=``.
    left, right : Value
        Of any types.

    Returns
    -------
    bool or None
        None if they do not compare.
    """
    pair = _comparable(op, left, right)
    return None if pair is None else bool(OPERATORS[op](*pair))


def _comparable(op: str, left: Value, right: Value) -> tuple[Any, Any] | None:
    if left.time is not None and right.time is not None:
        return left.time, right.time
    if left.text is not None and right.text is not None:
        return left.text, right.text
    if left.number is not None and right.number is not None:
        return left.number, right.number
    if left.flag is not None and right.flag is not None and op in ("==", "!="):
        return left.flag, right.flag
    return None


def is_in(value: Value, items: Iterable[Value]) -> bool | None:
    """Tell whether a value equals one of many.

    Parameters
    ----------
    value : Value
        Of any type.
    items : iterable of Value
        Of any types.

    Returns
    -------
    bool or None
        None if it compares with none of them.
    """
    found: bool | None = None
    for item in items:
        equal = compare("==", value, item)
        if equal:
            return True
        if equal is False:
            found = False
    return found


def calculate(op: str, left: float | None, right: float | None) -> float | None:
    """Do arithmetic on two numbers.

    Parameters
    ----------
    op : str
        ``+ - * / // % **``.
    left, right : float or None
        None if unknown.

    Returns
    -------
    float or None
        None where there is no value.
    """
    if left is None or right is None or not (_is_moderate(left) and _is_moderate(right)):
        return None
    if op in ("/", "//", "%") and right == 0:
        return None
    if op == "**":
        return _power(left, right)
    result = _ARITHMETIC[op](left, right)
    return float(result)


def _is_moderate(number: float) -> bool:
    return number == 0 or SMALL <= abs(number) <= LARGE


def _power(base: float, exponent: float) -> float | None:
    try:
        result = base**exponent
    except (OverflowError, ZeroDivisionError):
        return None
    return result if isinstance(result, float) else None


def _floor(number: float) -> float:
    # math.floor makes an int, which is slow and exact where a float's floor is one already.
    return number if abs(number) >= 2.0**53 else float(math.floor(number))


_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": lambda a, b: _floor(a / b),
    "%": lambda a, b: a - b * _floor(a / b),
}


def like(text: str, pattern: str) -> bool:
    r"""Match a text with a pattern, in time proportional to their lengths' product at most.

    Parameters
    ----------
    text : str
        Any.
    pattern : str
        ``%`` any characters, ``_`` one character, ``\`` takes the meaning off the next.

    Returns
    -------
    bool
        Whether the whole text has the form.
    """
    pieces = _pieces(pattern)
    if len(pieces) == 1:
        return pieces[0].fullmatch(text) is not None
    first = pieces[0].match(text)
    if first is None:
        return False
    at = first.end()
    for piece in pieces[1:-1]:
        found = piece.search(text, at)
        if found is None:
            return False
        at = found.end()
    start = len(text) - _length(pattern)
    return start >= at and pieces[-1].fullmatch(text, start) is not None


@functools.lru_cache(256)
def _pieces(pattern: str) -> list[re.Pattern[str]]:
    parts = [""]
    for mark, character in _marks(pattern):
        if mark and character == "%":
            parts.append("")
        else:
            parts[-1] += "." if mark else re.escape(character)
    return [re.compile(part, re.DOTALL) for part in parts]


def _length(pattern: str) -> int:
    """Give the number of characters that stand behind the last run."""
    length = 0
    for mark, character in _marks(pattern):
        length = 0 if mark and character == "%" else length + 1
    return length


def _marks(pattern: str) -> Iterable[tuple[bool, str]]:
    escaped = False
    for character in pattern:
        if escaped or character not in "%_\\":
            yield False, character
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            yield True, character


def lower(text: str) -> str:
    """Turn A to Z into small letters, and nothing else: what PostgreSQL does in the collation C.

    Parameters
    ----------
    text : str
        Any.

    Returns
    -------
    str
        Same length.
    """
    return text.translate(_TO_LOWER)


def upper(text: str) -> str:
    """Turn a to z into capitals, and nothing else.

    Parameters
    ----------
    text : str
        Any.

    Returns
    -------
    str
        Same length.
    """
    return text.translate(_TO_UPPER)
