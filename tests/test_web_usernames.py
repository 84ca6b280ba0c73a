"""Users' names: two of them are never read as one, and each can be seen."""

from __future__ import annotations

import pytest

from miripool.errors import InvalidName
from miripool.web.usernames import name_in_header, typed_name


def sent(name: str) -> str:
    """Give a header as a server hands it over."""
    return name.encode().decode("latin-1")


@pytest.mark.parametrize(
    "name", ["anna", "Anna de la Cruz", "zoë", "CN=Anna,O=MIRI", "anna@example.org", "a%20b", "李", "bob by anna@x"]
)
def test_names(name: str) -> None:
    assert name_in_header(sent(name)) == typed_name(name) == name
    assert name_in_header(f" \t{sent(name)} ") == typed_name(f" {name}\t") == name


def test_typed_accents() -> None:
    assert typed_name("zoe\u0308") == "zoë"
    with pytest.raises(InvalidName, match="form NFC"):
        name_in_header(sent("zoe\u0308"))


@pytest.mark.parametrize("name", ["anna\u00a0", "\u3000anna", "anna\x1c", "anna\u0085", "\u2003anna", "anna\x0b"])
def test_blanks_of_all_kinds_are_not_taken_off(name: str) -> None:
    for read in (typed_name, lambda name: name_in_header(sent(name))):
        with pytest.raises(InvalidName, match="begins or ends with a blank"):
            read(name)


@pytest.mark.parametrize("name", ["\u212aarl", "\u212bsa", "\u2126"])
def test_signs_are_not_taken_for_letters(name: str) -> None:
    with pytest.raises(InvalidName, match="another name looks the same"):
        name_in_header(sent(name))


@pytest.mark.parametrize(
    "name",
    [
        *("\u3164", "\u2800", "anna\u115f", "an\u034fna", "anna\ufe0f", "anna\uffa0", "a\u17b4b", "a\u180bb"),
        *("a\x7fb", "a\tb", "a\nb", "a\x00b", "a\u202eb", "a\u200bb", "an\u00adna", "a\u00a0b"),
        *("anna\U000e0061", "a\U000e0100", "\ue000", "a\U0001d159"),
    ],
)
def test_characters_that_cannot_be_seen(name: str) -> None:
    for read in (typed_name, lambda name: name_in_header(sent(name))):
        with pytest.raises(InvalidName, match="can't be seen"):
            read(name)


def test_what_is_no_name() -> None:
    for name, words in (
        ("", "it is empty"),
        (" \t", "it is empty"),
        ("a" * 201, "201 characters, and 200 are allowed"),
    ):
        with pytest.raises(InvalidName, match=words):
            typed_name(name)
    for value in ("zo\xeb", "anna\xa0", "\xed\xa0\x80"):
        with pytest.raises(InvalidName, match="not in UTF-8"):
            name_in_header(value)
