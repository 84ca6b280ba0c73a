"""The place in a text up to which it is read, and the errors that point there."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NoReturn

from ..errors import QueryError
from .lexer import Token, scan

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from .tree import Node

__all__ = ["MAX_CONDITIONS", "MAX_DEPTH", "Reader"]

MAX_DEPTH = 100
"""Brackets in brackets, or operations on operations."""
MAX_CONDITIONS = 200
"""Comparisons; a database answers each of them, at worst in 0.1 s for 100,000 products."""


class Reader:
    """The words of one text, and what was found in them so far.

    Parameters
    ----------
    text : str
        The predicate.
    hyphenated : collection of str
        Keywords with hyphens, upper case.

    Attributes
    ----------
    at : int
        Number of the next word.
    level : int
        How many expressions are being read inside one another.
    """

    def __init__(self, text: str, hyphenated: Collection[str]) -> None:
        self.text = text
        self.tokens = scan(text, hyphenated)
        self.at = 0
        self.level = 0
        self._conditions = 0
        # By identity: nodes compare by content. The nodes are kept, so that no identity comes twice.
        self._depths: dict[int, tuple[int, object]] = {}

    @property
    def token(self) -> Token:
        """The next word."""
        return self.tokens[self.at]

    def is_op(self, *texts: str, ahead: int = 0) -> bool:
        """Tell whether the next word, or one further on, is one of these operators."""
        token = self.tokens[min(self.at + ahead, len(self.tokens) - 1)]
        return token.type == "op" and token.text in texts

    def take(self) -> Token:
        """Give the next word and go on; the end is never passed."""
        token = self.token
        self.at = min(self.at + 1, len(self.tokens) - 1)
        return token

    def accept(self, *texts: str) -> bool:
        """Go on if the next word is one of these operators."""
        if self.is_op(*texts):
            self.take()
            return True
        return False

    def expect(self, text: str) -> None:
        """Go on if the next word is this operator, else fail."""
        if not self.accept(text):
            self.fail(f"expected '{text}' instead of {self.token.shown()}{self.hint()}")

    def hint(self) -> str:
        """Say what a common mistake probably is."""
        word = self.token.text
        before = self.tokens[self.at - 1] if self.at else None
        if word in ("if", "for", "lambda", "import", "await", "yield", "else"):
            return f"; '{word}' is not allowed in a predicate"
        if self.token.type == "string" and before is not None and before.type == "name":
            return "; a string can't have a prefix"
        if self.token.type == "string" and before is not None and before.type == "string":
            return "; write a quote in a string as \\'"
        if word == "{" or word == ":":
            return "; a list is (a, b)"
        return ""

    def fail(self, message: str, column: int | None = None) -> NoReturn:
        """Raise the error that points at a column, the next word's if none is given."""
        raise QueryError(message, self.text, self.token.column if column is None else column)

    @contextlib.contextmanager
    def located(self, column: int) -> Iterator[None]:
        """Give errors from inside the column that they lack."""
        try:
            yield
        except QueryError as error:
            if error.column is not None:
                raise
            raise QueryError(str(error), self.text, column) from None

    def made(self, node: Node, column: int, *below: object) -> Node:
        """Note how deep a new node is."""
        depth = 1 + max((self._depths.get(id(b), (0, None))[0] for b in below), default=0)
        if depth > MAX_DEPTH:
            self.fail(f"more than {MAX_DEPTH} operations nested in one another; split the predicate", column)
        self._depths[id(node)] = (depth, node)
        return node

    def count(self, column: int) -> None:
        """Count a condition."""
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            self.fail(f"more than {MAX_CONDITIONS} conditions; use 'in (a, b, …)', or split the query", column)
