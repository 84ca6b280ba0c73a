"""Names: which are allowed, and that what is written can be read again."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from miripool.errors import InvalidInput, InvalidName
from miripool.model.names import Spec, Urn, check_label, check_pool_name, check_product_name, parse_spec

EXAMPLES = settings(deadline=None, max_examples=200)

BAD_ANYWHERE = [
    "",
    " ",
    " a",
    "a ",
    "\ta",
    "a\u00a0",
    "a/b",
    "/",
    "a\\b",
    "..",
    ".",
    "../a",
    "a\nb",
    "a\rb",
    "a\tb",
    "a\0b",
    "a\x1bb",
    "a\x7fb",
    "a\x85b",
    "a\u2028b",
    "a\u2029b",
    "a\u200bb",
    "a\u202eb",
    "a\ufeffb",
    "a\u00adb",
    "a\ud800b",
    "urn:a",
    "URN:jpl8:Ramp:1",
    "a" * 300,
]

BAD_POOLS = [*BAD_ANYWHERE, "a..b", "-a", ".a", "_a", "a.", "a" * 49, "caf\u00e9", "a:b", "a@b", "a'b", "a%b", "\u0661"]
BAD_LABELS = [*BAD_ANYWHERE, "a@b", "@", "a" * 101, "1", "007", "\u0661\u0662", "\u00b2"]
BAD_PRODUCTS = [*BAD_ANYWHERE, "a@b", "@", "a" * 201]


@pytest.mark.parametrize(
    ("check", "name"),
    [
        *((check_pool_name, name) for name in BAD_POOLS),
        *((check_label, name) for name in BAD_LABELS),
        *((check_product_name, name) for name in BAD_PRODUCTS),
    ],
)
def test_bad_names_are_refused(check: Callable[[str], str], name: str) -> None:
    with pytest.raises(InvalidName) as caught:
        check(name)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 300
    assert "can't name a" in message or "can't be a tag" in message


@pytest.mark.parametrize("name", ["jpl8", "a", "8", "JPL 8", "otis-2017_v1.2", "a" * 48])
def test_pool_names(name: str) -> None:
    assert check_pool_name(name) == name


@pytest.mark.parametrize(
    "label",
    ["using cal v1", "v1.0", "a", "1a", "na\u00efve \u03bb", "#1!", "a:b", "-", "a" * 100, "\u65e5\u672c", "..a"],
)
def test_labels(label: str) -> None:
    assert check_label(label) == label


@pytest.mark.parametrize("name", ["jw01033005001_03103_00001_mirimage", "MIRI 5582", "17", "a:b", "a" * 200])
def test_product_names(name: str) -> None:
    assert check_product_name(name) == name


@EXAMPLES
@given(st.text(max_size=60))
def test_a_pool_s_name_is_a_folder_s(name: str) -> None:
    try:
        check_pool_name(name)
    except InvalidName:
        return
    assert (Path("/srv") / name).parent == Path("/srv")
    assert name.isascii()
    assert ":" not in name


@EXAMPLES
@given(st.text(max_size=30))
def test_accepted_labels_can_be_read_on_any_terminal(label: str) -> None:
    try:
        check_label(label)
    except InvalidName:
        return
    assert not any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in label)
    assert label.encode().decode() == label


# URNs

POOLS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,20}[A-Za-z0-9]", fullmatch=True).filter(lambda n: ".." not in n)
KINDS = st.sampled_from(["Raw", "Ramp", "RateInts", "Rate", "Product", "Exposure"])


@pytest.mark.slow
@EXAMPLES
@given(POOLS, KINDS, st.integers(0, 10**18 - 1))
def test_urns_have_a_round_trip(pool: str, kind: str, serial: int) -> None:
    urn = Urn(check_pool_name(pool), kind, serial)
    assert Urn.parse(str(urn)) == urn
    assert parse_spec(str(urn)) == Spec(urn=urn)


def test_urns_in_capitals_and_in_order() -> None:
    assert Urn.parse("URN:jpl8:Ramp:17") == Urn("jpl8", "Ramp", 17)
    assert sorted([Urn("b", "Ramp", 1), Urn("a", "Ramp", 10), Urn("a", "Ramp", 9)])[0] == Urn("a", "Ramp", 9)


@pytest.mark.parametrize(
    "text",
    [
        "", "urn", "urn:", "urn:jpl8", "urn:jpl8:Ramp", "urn:jpl8:Ramp:", "urn:jpl8:Ramp:x", "urn:jpl8:Ramp:-1",
        "urn:jpl8:Ramp:1.0", "urn:jpl8:Ramp:1:2", "urn:jpl8:Ramp: 1", "urn:jpl8:Ramp:1\n", "urn:jpl8:Ramp:\u0661",
        "urn:jpl8:Ramp:" + "1" * 19, "urn::Ramp:1", "urn:jpl8::1", "urn:::1", "url:jpl8:Ramp:1", "urn:a/b:Ramp:1",
        "urn:..:Ramp:1", "urn:jpl8:Ra mp:1", "urn:jpl8:../x:1", "urn:" + "a" * 300 + ":Ramp:1",
    ],
)  # fmt: skip
def test_other_urns_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a URN") as caught:
        Urn.parse(text)
    assert len(str(caught.value)) < 200


# Specs

NAMES = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="/\\@"), min_size=1, max_size=20)
LABELS = st.text(
    st.characters(exclude_categories=["C", "Zl", "Zp"], exclude_characters="/\\@"), min_size=1, max_size=20
)


@EXAMPLES
@given(st.none() | KINDS, NAMES, st.none() | st.integers(0, 999_999_999) | LABELS)
def test_specs_have_a_round_trip(kind: str | None, name: str, which: int | str | None) -> None:
    try:
        check_product_name(name)
        if isinstance(which, str):
            check_label(which)
    except InvalidName:
        assume(False)
    text = ("" if kind is None else f"{kind}/") + name + ("" if which is None else f"@{which}")
    spec = parse_spec(text)
    assert (spec.urn, spec.kind, spec.name) == (None, kind, name)
    assert spec.version == (which if isinstance(which, int) else None)
    assert spec.label == (which if isinstance(which, str) else None)


@pytest.mark.parametrize("text", ["", "/", "@", "@1", "a@", "Ramp/", "/a", "Ramp/@1", "a/b/c", "/@", "urn:", "urn:x"])
def test_other_specs_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_spec(text)


def test_a_number_too_large_for_a_version_is_a_label() -> None:
    assert parse_spec("a@1234567890") == Spec(name="a", label="1234567890")
