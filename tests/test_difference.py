"""Differences between two versions: all that differs, and nothing that only looks so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import homes
import numpy as np
import pytest
from astropy.io import fits
from homes import call
from manifests import make_header

from miripool import Pool, Ramp
from miripool.errors import AlreadyExists, InvalidInput, NotFound
from miripool.model.canonical import digest_bytes
from miripool.pool.difference import CardChange, Difference, compare
from miripool.store.manifest import BlobRef, HduRecord, Manifest

home = homes.home

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


# Masks


@pytest.mark.slow
def test_where_versions_differ(pool: Pool, tmp_path: Path) -> None:
    sci = np.zeros((2, 3, 4, 5), "f4")
    sci[0, 0, 0, 0] = np.nan
    other = sci.copy()
    other[1, 2, 3, 4] = 7
    other[0, 1, 0, 0] = np.nan
    table = np.array([(1,)], [("a", "i4")])
    refs = [
        pool.save(Ramp({"N": n}, {"SCI": array, "GROUPDQ": (array > 1).astype("u1"), "T": table}, name="a"))
        for n, array in enumerate((sci, other))
    ]
    found = pool.diff(*refs)
    mask = found.mask("SCI")
    assert (mask.dtype, mask.shape) == (np.dtype(bool), sci.shape)
    assert [tuple(map(int, place)) for place in np.argwhere(mask)] == [(0, 1, 0, 0), (1, 2, 3, 4)]
    assert int(found.mask("GROUPDQ").sum()) == 1
    assert not pool.diff(refs[0], refs[0]).mask("SCI").any()
    with pytest.raises(InvalidInput, match="T is a table"):
        found.mask("T")
    with pytest.raises(NotFound):
        found.mask("ERR")
    with pytest.raises(InvalidInput, match="the elements of these versions were not compared"):
        pool.diff(*refs, elements=False).mask("SCI")
    third = pool.save(Ramp({}, {"SCI": sci[:1]}, name="a"))
    with pytest.raises(InvalidInput, match=r"can't be compared element by element.*\(2, 3, 4, 5\).*\(1, 3, 4, 5\)"):
        pool.diff(refs[0], third).mask("SCI")
    assert "<li>" in found._repr_html_()
    assert "no difference" in pool.diff(refs[0], refs[0])._repr_html_()
    assert str(found) == "\n".join(found.words())
    assert repr(found) == f"<Difference>\n{found}"
    assert str(pool.diff(refs[0], refs[0])) == "no difference but times of making"

    path = tmp_path / "mask of it.fits"
    done = call("diff", "jpl8", "Ramp/a@0", "Ramp/a@1", "--mask", path)
    assert f"wrote {path}, with SCI, GROUPDQ" in done.stderr
    with fits.open(path) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "SCI", "GROUPDQ"]
        assert np.array_equal(hdus["SCI"].data, mask)
        assert (hdus[0].header["OLD"], hdus[0].header["NEW"]) == (refs[0].urn, refs[1].urn)
    before = path.read_bytes()
    with pytest.raises(AlreadyExists, match="already exists and was not replaced"):
        call("diff", "jpl8", "Ramp/a@0", "Ramp/a@1", "--mask", path)
    assert path.read_bytes() == before
    with pytest.raises(
        InvalidInput, match="--mask compares two versions only, but 2 pairs were selected; name two versions"
    ):
        call("diff", "jpl8", "Ramp/a", "--all-versions", "--mask", tmp_path / "other.fits")
