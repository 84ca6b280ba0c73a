"""The keyword dictionary: names and what they stand for."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from miripool.model import keywords
from miripool.model.keywords import Description, KeywordDictionary, Resolved, dictionary, split_unit, suggest

if TYPE_CHECKING:
    from collections.abc import Iterator

ENTRIES = [
    ("NGROUPS", None, "meta.exposure.ngroups", "Number of groups in integration", "integer"),
    ("TGROUP", None, "meta.exposure.group_time", "[s] Time between groups", "number"),
    ("DATE-OBS", None, "meta.observation.date", "[yyyy-mm-dd] UTC date at start", "string"),
    ("FILTER", None, "meta.instrument.filter", "Name of the filter", "string"),
    ("PFILTER", None, "meta.instrument.pupil.filter", None, "string"),
    ("BUNIT", "SCI", "meta.bunit_data", "units of data", "string"),
    ("BUNIT", "ERR", "meta.bunit_err", "units of errors", "string"),
]
SMALL = KeywordDictionary(ENTRIES)


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Start with nothing known and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_, **__: str(tmp_path / "miripool"))
    dictionary.cache_clear()
    yield tmp_path
    dictionary.cache_clear()


@pytest.mark.parametrize(
    ("name", "hdu", "key"),
    [
        ("ngroups", None, "NGROUPS"),
        ("NGROUPS", None, "NGROUPS"),
        ("exposure.ngroups", None, "NGROUPS"),
        ("meta.exposure.ngroups", None, "NGROUPS"),
        ("META.Exposure.NGROUPS", None, "NGROUPS"),
        (" group_time ", None, "TGROUP"),
        ("date_obs", None, "DATE-OBS"),
        ("DATE-OBS", None, "DATE-OBS"),
        ("filter", None, "FILTER"),
        ("bunit_data", "SCI", "BUNIT"),
        ("meta.bunit_err", "ERR", "BUNIT"),
        ("SCI.BUNIT", "SCI", "BUNIT"),
        ("sci,2.group_time", "SCI,2", "TGROUP"),
        ("PRIMARY.date_obs", "PRIMARY", "DATE-OBS"),
        ("nobody_knows", None, "NOBODY_KNOWS"),
        ("eso det name", None, "ESO DET NAME"),
        ("odd.", None, "ODD."),
        (".odd", None, ".ODD"),
    ],
)
def test_resolve(name: str, hdu: str | None, key: str) -> None:
    assert SMALL.resolve(name) == Resolved(hdu, key)


def test_knows() -> None:
    for name in ("ngroups", "SCI.BUNIT", "date_obs", "meta.exposure.ngroups", "group_time"):
        assert SMALL.knows(name)
    for name in ("nobody", "SCI.NOBODY", "exposure"):
        assert not SMALL.knows(name)
    assert SMALL.hyphenated == {"DATE-OBS"}
    assert "NGROUPS" in SMALL
    assert len(SMALL) == 6


def test_describe() -> None:
    assert SMALL.describe("TGROUP") == Description("Time between groups", "s", "number")
    assert SMALL.describe("DATE-OBS") == Description("UTC date at start", None, "string")
    assert SMALL.describe("BUNIT", "ERR").title == "units of errors"
    assert SMALL.describe("BUNIT", "ERR,2").title == "units of errors"
    assert SMALL.describe("BUNIT").title == "units of data"
    assert SMALL.describe("NOBODY") == Description()


def test_units_in_titles_and_comments() -> None:
    assert split_unit("[s] Time") == ("s", "Time")
    assert split_unit("[calculated]") == (None, "[calculated]")
    assert split_unit("[hh:mm:ss.sss] time") == (None, "time")
    assert split_unit("[no end") == (None, "[no end")
    assert split_unit("") == (None, "")


def test_suggestions() -> None:
    assert suggest("ngroup", SMALL)[0] == "NGROUPS"
    assert suggest("xyzzy", SMALL) == []
    assert suggest("detektor", ["Detector", "Filter"]) == ["Detector"]


def test_an_empty_dictionary_leaves_names_alone() -> None:
    empty = KeywordDictionary()
    assert empty.resolve("exposure.ngroups") == Resolved("EXPOSURE", "NGROUPS")
    assert empty.resolve("date_obs") == Resolved(None, "DATE_OBS")


needs_stdatamodels = pytest.mark.skipif(
    importlib.util.find_spec("stdatamodels") is None, reason="stdatamodels is not installed"
)


@pytest.mark.slow
@needs_stdatamodels
def test_the_installed_schemas(fresh: Path) -> None:
    found = dictionary()
    assert len(found) > 300
    assert found.resolve("exposure.ngroups") == Resolved(None, "NGROUPS")
    assert found.resolve("date_obs") == Resolved(None, "DATE-OBS")
    assert found.describe("TGROUP").unit == "s"
    assert found.resolve("group_time").key == "TGROUP"
    (cache,) = (fresh / "miripool").iterdir()
    assert json.loads(cache.read_text())
    dictionary.cache_clear()
    again = dictionary()
    assert list(again) == list(found)
    assert dictionary() is again


@needs_stdatamodels
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"[5]", b'[["a"]]', b'{"a": 1}', b"\xff"])
def test_a_broken_cache_is_made_again(content: bytes, fresh: Path) -> None:
    path = keywords._cache_file()
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert len(dictionary()) > 300
    assert len(json.loads(path.read_bytes())) > 300


@needs_stdatamodels
def test_without_a_writable_cache(fresh: Path) -> None:
    (fresh / "miripool").write_text("in the way")
    assert len(dictionary()) > 300


def test_without_stdatamodels(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert len(dictionary()) == 0


@pytest.mark.slow
def test_importing_and_using_it_imports_nothing_large() -> None:
    code = (
        "import sys; from miripool.model.metadata import MetaData; from miripool.model.table import TableDataset;"
        "MetaData.from_mapping({'ngroups': 5})['exposure.ngroups'];"
        "print(*{'astropy', 'jwst', 'stdatamodels', 'sqlalchemy', 'h5py'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert (done.stdout.strip(), done.stderr) == ("", "")
