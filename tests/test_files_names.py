"""Names of files and folders are safe, different for different names, and lead back to these."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miripool.errors import FileMissing
from miripool.files import names
from miripool.files.names import (
    FileName,
    Stem,
    escape,
    file_name,
    parse_file_name,
    parse_stem,
    parse_tag_name,
    tag_name,
)
from miripool.files.places import TreePlace, place_of
from miripool.index.folders import FILE_KINDS, FileRow

ANY = st.text(st.characters(), max_size=250)
"""Lone surrogates too."""
ODD = st.lists(
    st.sampled_from([*"ab._-~%[]()/\\ \n\0é", "e\u0301", "%41", "_v3", ".csv", ".CSV", "\udcff", "日本", "\u202e"])
)
NAMES = ANY | ODD.map("".join)


def row(kind: str, name: str, version: int, *, is_bench: bool = False) -> FileRow:
    return FileRow(1, kind, name, version, datetime.now(UTC), "0" * 32, 2880, None, is_bench)


def is_safe(part: str) -> bool:
    return (
        len(part.encode()) <= 255
        and part.encode().decode() == part
        and not set(part) & set("/\\[]()\0")
        and part[:1] not in (".", "-", " ", "!", "@")
        and part[-1:] not in (".", " ")
        and all(unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in part)
    )


@given(NAMES)
def test_a_name_leads_back(name: str) -> None:
    written = escape(name)
    assert is_safe(written)
    stem = parse_stem(written)
    assert stem is not None
    if stem.digest:
        assert len(written.encode()) <= 200
        assert name.startswith(stem.name)
        assert stem.name
    else:
        assert stem == Stem(name)


@given(NAMES | st.text("ab_.+,=- 0~%-", max_size=5) | st.text("a", min_size=198, max_size=202))
def test_plain_names_are_found_quickly(name: str) -> None:
    if names._PLAIN.fullmatch(name):
        assert "".join(names._escaped(name)) == name == escape(name)
        assert len(name) <= 200


@given(NAMES, NAMES)
def test_different_names_stay_different(one: str, other: str) -> None:
    assert (escape(one) == escape(other)) == (one == other)
    assert (tag_name(one) == tag_name(other)) == (one == other)
    assert tag_name(one) + ".csv" != tag_name(other)


@given(NAMES)
def test_a_tag_leads_back(label: str) -> None:
    written = tag_name(label)
    assert is_safe(written)
    assert not written.lower().endswith(".csv")
    stem = parse_tag_name(written)
    assert stem is not None
    assert stem.name == label or (stem.digest and label.startswith(stem.name))


@given(NAMES)
def test_nothing_else_is_read(text: str) -> None:
    stem = parse_stem(text)
    if stem is not None and not stem.digest:
        assert escape(stem.name) == text
    stem = parse_tag_name(text)
    if stem is not None and not stem.digest:
        assert tag_name(stem.name) == text


@given(st.sampled_from(FILE_KINDS), NAMES, st.integers(0, 2**31 - 1), st.booleans(), st.booleans())
def test_a_file_leads_back(kind: str, name: str, version: int, is_bench: bool, with_version: bool) -> None:
    written = file_name(row(kind, name, version, is_bench=is_bench and kind == "Raw"), with_version=with_version)
    assert is_safe(written) or not name
    stem = parse_stem(escape(name))
    assert stem is not None
    expected = FileName(kind, stem, version if with_version else None)
    assert parse_file_name(written, with_version=with_version) == expected


@given(
    NAMES
    | st.lists(st.sampled_from(["by-kind", "by-tag", "by-date", "versions", "Ramp", "2022", "", "..", "x"])).map(
        "/".join
    )
)
def test_any_path_is_read_or_is_not_there(path: str) -> None:
    try:
        found = place_of(path)
    except FileMissing:
        return
    assert isinstance(found, TreePlace)
    assert found.path.strip("/") == path.strip("/")


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("jw01033005001_03103_00001_mirimage", "jw01033005001_03103_00001_mirimage"),
        ("größe 2", "größe 2"),
        ("Cafe\u0301", "Cafe\u0301"),
        ("a/b", "a%2Fb"),
        ("100%", "100%25"),
        ("a[1]", "a%5B1%5D"),
        ("..", "%2E%2E"),
        ("a. ", "a.%20"),
        ("\udcff", "%ED%B3%BF"),
        ("~me", "%7Eme"),
        ("-rf", "%2Drf"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 183 + "~" + "b6f5f1f4d0b9b9f6"),
    ],
)
def test_how_names_are_written(name: str, written: str) -> None:
    if "~" in written:
        assert escape(name)[:184] == written[:184]
        assert len(escape(name)) == 200
    else:
        assert escape(name) == written


@pytest.mark.parametrize(
    "text", ["", ".fits", "a.fits", "_.fits", "a_ramp.FITS", "a_none.fits", "a_ramp.fits ", "a_context.fits"]
)
def test_what_is_no_file(text: str) -> None:
    assert parse_file_name(text, with_version=False) is None
