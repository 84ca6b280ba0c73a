"""Differences between two versions: all that differs, and nothing that only looks so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from manifests import make_header

from miripool.canonical import digest_bytes
from miripool.difference import CardChange, Difference, compare
from miripool.manifest import BlobRef, HduRecord, Manifest

NOTHING = Difference((), (), (), (), ())


def blob(content: str, shape: tuple[int, ...] = (3,)) -> BlobRef:
    return BlobRef(digest_bytes(content.encode()), np.dtype("f4"), shape)


def hdu(name: str, content: str | None = None, cards: Any = (), **parts: Any) -> HduRecord:
    return HduRecord(make_header(cards), name, "image", data=None if content is None else blob(content), **parts)


def manifest(*hdus: HduRecord) -> Manifest:
    return Manifest("Ramp", "a", hdus)


def cards_changed(old: Any, new: Any, name: str = "PRIMARY") -> list[tuple[str, Any, Any]]:
    found = compare(manifest(hdu(name, None, old)), manifest(hdu(name, None, new)))
    assert {c.hdu for c in found.cards} <= {name}
    return [(c.keyword, c.old, c.new) for c in found.cards]


def test_a_version_does_not_differ_from_itself() -> None:
    version = manifest(hdu("PRIMARY", None, {"A": 1}), hdu("SCI", "x"))
    found = compare(version, version)
    assert found == replace(NOTHING, same=("SCI",))
    assert found.words() == []


def test_datasets() -> None:
    old = manifest(hdu("PRIMARY"), hdu("SCI", "1"), hdu("DQ", "2"), hdu("ERR", "3"))
    new = manifest(hdu("PRIMARY"), hdu("VAR", "3"), hdu("DQ", "2"), hdu("SCI", "4"))
    found = compare(old, new)
    assert (found.changed, found.added, found.gone, found.same) == (("SCI",), ("VAR",), ("ERR",), ("DQ",))
    assert found.words() == ["datasets changed: SCI", "datasets added: VAR", "datasets gone: ERR"]


@pytest.mark.parametrize("part", ["heap", "raw"])
def test_what_stands_beside_the_array_is_content_too(part: str) -> None:
    rows = "rows" if part == "heap" else None
    old, new = (manifest(hdu("TAB", rows, **{part: blob(content)})) for content in ("1", "2"))
    assert compare(old, new).changed == ("TAB",)
    assert compare(old, old).same == ("TAB",)
    assert compare(manifest(hdu("TAB", "rows")), manifest(hdu("TAB", "rows", heap=blob("1")))).changed == ("TAB",)


def test_values_of_cards() -> None:
    old = {"CAL_VER": "1.17", "SAME": 5, "GONE": True, "NULL": None, "TURNED": 1}
    new = {"CAL_VER": "1.20", "SAME": 5, "NULL": None, "TURNED": True, "ADDED": 2.5}
    assert cards_changed(old, new) == [
        ("CAL_VER", "1.17", "1.20"),
        ("GONE", True, None),
        ("TURNED", 1, True),
        ("ADDED", None, 2.5),
    ]
    assert cards_changed({"A": 1}, {"A": 1.0}) == []


def test_a_keyword_without_a_value_is_there_or_not() -> None:
    assert cards_changed({"A": None}, {}) == [("A", None, None)]


def test_order_of_cards_and_their_comments_do_not_matter() -> None:
    assert cards_changed({"A": 1, "B": 2}, {"B": 2, "A": 1}) == []


def test_what_every_run_writes_anew_does_not_matter() -> None:
    old = {"DATE": "2024-01-01", "CHECKSUM": "abc", "DATASUM": "1", "DATE-OBS": "2023-01-01"}
    new = {"DATE": "2025-01-01", "CHECKSUM": "def", "DATASUM": "2", "DATE-OBS": "2023-01-01"}
    assert cards_changed(old, new) == []
    assert cards_changed(old, {**new, "DATE-OBS": "2023-01-02"}) == [("DATE-OBS", "2023-01-01", "2023-01-02")]
    log = compare(manifest(hdu("ASDF", "1", {"TFORM1": "5B"})), manifest(hdu("ASDF", "2", {"TFORM1": "6B"})))
    assert log == NOTHING


def test_the_shape_of_a_dataset_that_changed_is_not_told_again() -> None:
    old = hdu("SCI", "1", {"NAXIS": 2, "NAXIS1": 5, "BUNIT": "DN", "BITPIX": 16})
    new = hdu("SCI", "2", {"NAXIS": 1, "NAXIS1": 7, "BUNIT": "DN/s", "BITPIX": -32})
    found = compare(manifest(old), manifest(new)).cards
    assert [c.keyword for c in found] == ["BUNIT", "BITPIX"]
    assert cards_changed({"NAXIS1": 5}, {"NAXIS1": 7}, "SCI") == [("NAXIS1", 5, 7)]


def test_history_is_compared_line_by_line() -> None:
    old = [("HISTORY", "made"), ("HISTORY", "flagged"), ("COMMENT", "x"), ("", "blank")]
    assert cards_changed(old, old) == []
    assert cards_changed(old, [*old, ("HISTORY", "corrected")]) == [("HISTORY", None, "corrected")]
    assert cards_changed(old, [("HISTORY", "made"), ("COMMENT", "x")]) == [("HISTORY", "flagged", None)]
    twice = [("A", 1), ("A", 2)]
    assert cards_changed(twice, [("A", 1), ("A", 3)]) == [("A", 2, 3)]


def test_words_name_the_place() -> None:
    assert str(CardChange("PRIMARY", "CAL_VER", "1.17", None)) == "CAL_VER: 1.17 → —"
    assert str(CardChange("SCI", "BUNIT", None, "DN")) == "SCI.BUNIT: — → DN"
    change = CardChange("SCI", "BUNIT", "DN", "DN/s")
    assert replace(NOTHING, cards=(change,), changed=("SCI",)).words() == ["datasets changed: SCI", str(change)]
