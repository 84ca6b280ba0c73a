"""The tree of exceptions: what scripts and handlers rely on."""

from __future__ import annotations

import pickle
import re

import pytest

from miripool import errors
from miripool.errors import InvalidInput, MiripoolError, NotFound, QueryError

PUBLIC = [getattr(errors, name) for name in errors.__all__]
CLASSES = [cls for cls in PUBLIC if not issubclass(cls, Warning)]
WARNINGS = [cls for cls in PUBLIC if issubclass(cls, Warning)]

LINE = re.compile(r"(?P<indent>[ │├└─]*)(?P<name>[A-Z]\w+)(?: \((?P<also>\w+)\))? +(?P<code>\d+)(?: {2,}\S.*)?")


def told_tree() -> dict[str, tuple[str | None, str | None, int]]:
    """Read the tree in the docstring: for each class its parent, its second base and its exit code."""
    tree: dict[str, tuple[str | None, str | None, int]] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = LINE.fullmatch(line.removeprefix("    "))
        if found is None:
            continue
        depth = len(found["indent"])
        while above and above[-1][0] >= depth:
            above.pop()
        tree[found["name"]] = (above[-1][1] if above else None, found["also"], int(found["code"]))
        above.append((depth, found["name"]))
    return tree


def test_every_class_is_public_and_sorted() -> None:
    defined = {
        name for name, value in vars(errors).items() if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert defined == set(errors.__all__)
    assert errors.__all__ == sorted(errors.__all__)


def test_what_is_no_error_is_a_warning() -> None:
    assert [errors.IncompleteAnswer] == WARNINGS
    assert issubclass(errors.IncompleteAnswer, UserWarning)
    assert len(CLASSES) + len(WARNINGS) == len(errors.__all__)


def test_tree_of_the_docstring_is_the_tree() -> None:
    real = {}
    for cls in CLASSES:
        bases = [b.__name__ for b in cls.__bases__]
        ours = bases[0] if cls is not MiripoolError else None
        real[cls.__name__] = (ours, bases[1] if len(bases) > 1 else None, cls.exit_code)
    assert told_tree() == real


@pytest.mark.parametrize("cls", CLASSES)
def test_kind_and_code_are_its_own(cls: type[MiripoolError]) -> None:
    assert "kind" in vars(cls)
    assert "exit_code" in vars(cls)
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", cls.kind)
    assert 0 < cls.exit_code < 126  # the shell uses 126 and up itself
    assert [c for c in CLASSES if c.kind == cls.kind] == [cls]
    assert [c for c in CLASSES if c.exit_code == cls.exit_code] == [cls]


@pytest.mark.parametrize("cls", CLASSES)
def test_codes_of_a_family_share_their_tens(cls: type[MiripoolError]) -> None:
    parent = cls.__bases__[0]
    if parent in (Exception, MiripoolError):
        assert cls.exit_code == 1 or cls.exit_code % 10 == 0
    else:
        assert cls.exit_code // 10 == parent.exit_code // 10


@pytest.mark.parametrize("cls", CLASSES)
def test_message_is_shown_as_it_is(cls: type[MiripoolError]) -> None:
    assert str(cls("no pool 'a'\nthere")) == "no pool 'a'\nthere"
    assert cls.__doc__


@pytest.mark.parametrize("cls", [c for c in CLASSES if c is not QueryError])
def test_without_a_message_the_kind_is_shown(cls: type[MiripoolError]) -> None:
    assert str(cls()) == cls.kind


@pytest.mark.parametrize("cls", CLASSES)
def test_errors_travel_between_processes(cls: type[MiripoolError]) -> None:
    back = pickle.loads(pickle.dumps(cls("lost")))
    assert type(back) is cls
    assert str(back) == "lost"


def test_python_handlers_catch_them() -> None:
    with pytest.raises(KeyError):
        raise NotFound("gone")
    with pytest.raises(ValueError, match="wrong"):
        raise InvalidInput("wrong")


def test_query_error_points_at_the_column() -> None:
    error = QueryError("no operator '?'", "a\t? 3", 2)
    first, text, arrow = str(error).splitlines()
    assert first == "no operator '?', at column 3:"
    assert text[arrow.index("^")] == "?"
    assert (error.text, error.column) == ("a\t? 3", 2)
    back = pickle.loads(pickle.dumps(error))
    assert str(back) == str(error)
    assert (back.text, back.column) == (error.text, error.column)


def test_query_error_without_a_column_is_the_message_alone() -> None:
    assert str(QueryError("empty", "", None)) == "empty"
    assert str(QueryError("empty", None, 3)) == "empty"
