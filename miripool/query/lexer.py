"""Words of a predicate, each with its column in the user's text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ..errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

__all__ = ["COMPARISONS", "Token", "scan"]

_TOKEN = re.compile(
    r"""(?P<blank>[ \t\r\n]+)
    |(?P<number>0[xX][0-9A-Fa-f]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    |(?P<string>'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<op>\.\.\.|\*\*|//|==|!=|<>|<=|>=|&&|\|\||<<|>>|:=|->|[-+*/%<>=!&|^~()\[\],.:])
    """,
    re.VERBOSE | re.DOTALL,
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?Z?(?![\w.])", re.ASCII)
"""A date without quotes; a subtraction has blanks around the minus, or no zeros before its numbers."""
_HYPHEN = re.compile(r"-[A-Za-z0-9_]+")
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"'}

_WORDS = {word: word for word in ("and", "or", "not", "in", "is", "like", "between", "true", "false")} | {
    "null": "null",
    "none": "null",
}
_SPELLINGS = {"=": "==", "<>": "!=", "&&": "and", "||": "or", "!": "not"}
COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">=", "in", "is", "like", "between"})
"""Operators that make a condition of two values."""
_FOREIGN = {
    ":=": "':=' is an assignment, which a predicate can't contain; compare with '=='",
    "->": "'->' is not an operator of predicates",
    "<<": "predicates have no shifts; write the number, e.g. 0x4",
    ">>": "predicates have no shifts; write the number, e.g. 0x4",
}
_MAX_DIGITS = 400


class Token(NamedTuple):
    """One word.

    Attributes
    ----------
    type : str
        ``number``, ``string``, ``name``, ``op`` (with reserved words, in one spelling) or ``end``.
    text : str
        For a string its content, for the others what is written or its one spelling.
    column : int
        0-based offset in the user's text.
    """

    type: str
    text: str
    column: int

    def shown(self) -> str:
        """Give it as a message names it.

        Returns
        -------
        str
            In quotes, shortened.
        """
        if self.type == "end":
            return "the end"
        text = self.text if len(self.text) <= 30 else self.text[:30] + "…"
        return repr(text) if self.type == "string" else f"'{text}'"


def scan(text: str, hyphenated: Collection[str]) -> list[Token]:
    """Split a predicate into words; ``&`` and ``|`` that join conditions become ``and`` and ``or``.

    Parameters
    ----------
    text : str
        The predicate.
    hyphenated : collection of str
        Keywords with hyphens, upper case: ``DATE-OBS`` without blanks is then one word.

    Returns
    -------
    list of Token
        The last one is of type ``end``.

    Raises
    ------
    QueryError
        At a character that begins no word.
    """
    tokens = list(_split(text, hyphenated))
    for i in _logical(tokens):
        tokens[i] = tokens[i]._replace(text="and" if tokens[i].text == "&" else "or")
    return tokens


def _split(text: str, hyphenated: Collection[str]) -> Iterator[Token]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise QueryError(_complain(text[at]), text, at)
        type_, end = str(found.lastgroup), found.end()
        word = found.group()
        if type_ == "name":
            word = _hyphenate(text, at, end, hyphenated)
            end = at + len(word)
        if type_ != "blank":
            yield _make(type_, word, text, at, end)
        at = end
    yield Token("end", "", len(text))


def _complain(character: str) -> str:
    if character in "'\"":
        return "this string has no closing quote"
    hints = {";": "; write only one", "@": "", "{": "; a list is (a, b)", "\\": "", "`": "; a name needs no quotes"}
    return f"a predicate can't contain the character {character!r}{hints.get(character, '')}"


def _hyphenate(text: str, start: int, end: int, hyphenated: Collection[str]) -> str:
    """Give the longest keyword with hyphens that begins here, or the plain name."""
    found = end
    longest = start + max(map(len, hyphenated), default=0)
    while end < longest and (more := _HYPHEN.match(text, end)):
        end = more.end()
        if text[start:end].upper() in hyphenated:
            found = end
    return text[start:found]


def _make(type_: str, word: str, text: str, at: int, end: int) -> Token:
    if type_ == "string":
        return Token("string", _unescape(word[1:-1], text, at), at)
    if type_ == "number":
        date = _DATE.match(text, at)
        if date is not None:
            raise QueryError(f"{date[0]} is a subtraction; write a date in quotes: '{date[0]}'", text, at)
        if re.match(r"[A-Za-z_0-9.]", text[end : end + 1]) or len(word) > _MAX_DIGITS:
            raise QueryError("this is not a number; write e.g. 20, 1.5, 2e-3 or 0x4", text, at)
        return Token("number", word, at)
    if type_ == "name":
        reserved = _WORDS.get(word.lower())
        return Token("op", reserved, at) if reserved else Token("name", word, at)
    if word in _FOREIGN:
        raise QueryError(_FOREIGN[word], text, at)
    return Token("op", _SPELLINGS.get(word, word), at)


def _unescape(body: str, text: str, at: int) -> str:
    def replace(found: re.Match[str]) -> str:
        two, four, one = found.groups()
        code = two or four
        return chr(int(code, 16)) if code else _ESCAPES.get(one, "\\" + one)

    value = _ESCAPE.sub(replace, body)
    if "\x00" in value or any("\ud800" <= c <= "\udfff" for c in value):
        raise QueryError("a FITS header can't hold this character", text, at)
    return value


def _logical(tokens: Sequence[Token]) -> Iterator[int]:
    """Find each ``&`` and ``|`` that has a condition on both sides, at its own depth of brackets.

    Python would bind it tighter than comparisons: ``instrument=='MIRI' & ngroups>=20`` would ask for the bits of
    a string. Between values, as in ``p.dq & 4``, it stays bitwise.
    """
    levels = [_Level()]
    for i, token in enumerate(tokens):
        if token.type == "op" and token.text in ("(", "["):
            levels.append(_Level())
        elif token.type == "op" and token.text in (")", "]") and len(levels) > 1:
            inner = levels.pop()
            yield from inner.close()
            levels[-1].enclosed(inner, round_=token.text == ")")
        else:
            levels[-1].take(i, token)
    for level in levels:
        yield from level.close()


class _Level:
    """What stands between two brackets, in segments that ``&`` and ``|`` divide."""

    def __init__(self) -> None:
        self.candidates: list[int] = []
        self.conditions = [False]
        self.found: list[int] = []
        self.any_condition = False
        self._bare = True  # nothing in this segment yet but brackets and "not"
        self._between = False

    def take(self, i: int, token: Token) -> None:
        word = token.text if token.type == "op" else ""
        if word in ("&", "|"):
            self.candidates.append(i)
            self.conditions.append(False)
            self._bare = True
        elif word in COMPARISONS:
            self.conditions[-1] = self.any_condition = True
            self._between = self._between or word == "between"
        elif word == "and" and self._between:
            self._between = False
        elif word in ("and", "or", ",", ":"):
            self._divide()
        elif word != "not":
            self._bare = False

    def enclosed(self, inner: _Level, *, round_: bool) -> None:
        """Take in a pair of brackets: ``(a == 1)`` is a condition; ``f(a == 1)`` and ``x[a == 1]`` are none."""
        if round_ and self._bare and inner.any_condition:
            self.conditions[-1] = self.any_condition = True
        self._bare = False

    def _divide(self) -> None:
        for k, i in enumerate(self.candidates):
            if self.conditions[k] and self.conditions[k + 1]:
                self.found.append(i)
        self.candidates, self.conditions, self._bare = [], [False], True

    def close(self) -> list[int]:
        self._divide()
        return self.found
