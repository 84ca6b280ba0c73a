"""What finds nothing says why: nearest values, types, older versions, dates without quotes."""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import homes
import pytest
from homes import call

from miripool import FullQuery, Home, Pool, ProductStorage, Query, Ramp, Rate
from miripool.errors import QueryError


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Home]:
    with homes.empty_home(tmp_path_factory.mktemp("reasons") / "home", database_url, "reasons") as made:
        yield made


@pytest.fixture(scope="module")
def pool(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    folder = tmp_path_factory.mktemp("files")
    cards: dict[str, Any] = {"DATE-OBS": "2018-03-08", "OBS_ID": "5582", "LAMP": True, "NGROUPS": 5, "MYKEY": "V1"}
    cards["OPENED"] = "2018-03-08"
    with home.create("jpl8") as made:
        made.save(homes.write_image(folder / "a.fits", cards), tag="old")
        made.save(homes.write_image(folder / "b.fits", {**cards, "NGROUPS": 8, "OPENED": "unknown"}, [[1, 2], [3, 4]]))
        made.save(homes.write_image(folder / "c.fits", {**cards, "NGROUPS": 50}), name="b")
        yield made


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("OBS_ID == 5582", "OBS_ID is text, and can't be compared with a number; write OBS_ID == '5582'"),
        ("5582 == OBS_ID", r"OBS_ID is text.*write .*'5582'"),
        ("OBS_ID > 5582 and ngroups == 5", "OBS_ID is text"),
        ("not OBS_ID == 5582", "OBS_ID is text"),
        ("PRIMARY.OBS_ID in (5582, 5583)", r"PRIMARY.OBS_ID is text, .* in \('5582', '5583'\)"),
        ("ngroups == '50'", "NGROUPS is a number, and can't be compared with text; write NGROUPS == 50"),
        ("ngroups between '5' and '8'", "NGROUPS is a number"),
        ("ngroups like '5*'", "NGROUPS is a number, and 'like' is for text"),
        ("LAMP == 1", "LAMP is true or false, and can't be compared with a number; write LAMP == True"),
        ("LAMP == 'T'", "write LAMP == True"),
        ("DATE-OBS > 2018", "DATE-OBS is a time, .*in quotes: DATE-OBS > '2018-03-08'"),
        ("DATE-OBS > 2018-03-08", "2018-03-08 is a subtraction; write a date in quotes: '2018-03-08'"),
        ("created >= 2018-03-08T10:00:00", "write a date in quotes: '2018-03-08T10:00:00'"),
        ("version == '1'", "version is a number, and can't be compared with text; write p.version == 1"),
        ("name == 1", "name is text"),
        ("start_time > 5", "start_time is a time"),
        ("DATE-OBS > 'yesterday'", "DATE-OBS is a time, and 'yesterday' can't be read as one; write DATE-OBS > '2018"),
        ("DATE-OBS < '2018-13-45'", "'2018-13-45' can't be read"),
        ("DATE-OBS == '2018-3-8'", "'2018-3-8' can't be read"),
        ("DATE-OBS between '2018-03-08' and 'now'", "DATE-OBS is a time, and 'now' can't be read"),
        ("created > 'yesterday'", "created is a time, and 'yesterday' can't be read as one; write p.created > '2018"),
        ("p.data.max() > '5'", "write p.data.max.. > 5"),
        ("p.data.any() == 1", "is true or false"),
        ("len(OBS_ID) == '4'", "is a number"),
        ("OBS_ID.lower() == 5", "is text"),
    ],
)
def test_values_of_two_types_are_refused(pool: Pool, home: Home, question: str, said: str) -> None:
    with pytest.raises(QueryError, match=said):
        pool.select(question)
    with pytest.raises(QueryError, match=said):
        call("--home", home.path, "ls", "jpl8", "--where", question)
    with pytest.raises(QueryError, match=said):
        ProductStorage(pool).select(question)


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("OBS_ID == '5582' and ngroups == 50", 1),
        ("OBS_ID in (5582, '5582')", 2),
        ("LAMP == True and MYKEY != 'V2'", 2),
        ("DATE-OBS > '2018-03-07' and DATE-OBS like '2018*'", 2),
        ("DATE-OBS in ('2018-03-08', 'x') or OPENED > 'x'", 2),
        ("OPENED < 'zzz'", 2),
        ("ngroups > 2018 - 3 - 8 or ngroups == 5", 1),
        ("BAND == 5", 0),
    ],
)
def test_what_can_be_compared_is(pool: Pool, question: str, found: int) -> None:
    assert pool.select(question).size() == found


def test_types_that_came_later_count(home: Home, tmp_path: Path) -> None:
    with home.create("later") as made:
        made.save(homes.write_image(tmp_path / "a.fits", {"MYKEY": "text"}))
        with pytest.raises(QueryError, match="MYKEY is text"):
            made.select("MYKEY == 5")
        made.save(homes.write_image(tmp_path / "b.fits", {"MYKEY": 5}))
        assert [ref.name for ref in made.select("MYKEY == 5")] == ["b"]


REASONS = [
    ("ngroups == 6", "none of the 2 newest versions satisfies NGROUPS == 6. The nearest NGROUPS is 5 or 8"),
    ("ngroups > 60", "none of the 2 newest versions satisfies NGROUPS > 60. NGROUPS ranges from 5 to 50"),
    ("ngroups == 8", "1 older version matches; all_versions=True or --all-versions includes older versions"),
    ("OBS_ID == '5583'", "OBS_ID is never '5583'; the nearest is '5582'"),
    ("DATE-OBS > '2020-01-01'", "DATE-OBS is 2018-03-08T00:00:00Z"),
    ("name == 'aa'", "name is never 'aa'; the nearest is 'a'"),
    ("version > 7", "version ranges from 0 to 1"),
    ("created < '2020-01-01'", "created ranges from 20"),
    (
        "ngroups == 5 and version == 1",
        "together with the conditions before it. Alone, this condition holds for 1 newest version",
    ),
    ("BAND == 'SHORT'", "No product has the keyword BAND"),
    ("'odl' in p.tags", "no version of pool jpl8 has the tag 'odl'; did you mean 'old'?"),
    ("p.data.sum() > 1e9", "none of the 2 newest versions satisfies p.data.sum() > 1000000000"),
    ("ngroups == 5 and p.data.median() > 1e9", "none of the 1 newest version satisfies p.data.median()"),
]


@pytest.mark.parametrize(("question", "said"), REASONS)
def test_a_result_without_products_says_why(pool: Pool, home: Home, question: str, said: str) -> None:
    refs = pool.select(question)
    assert refs.size() == 0
    assert said in (refs.reason or "")
    assert said in repr(refs)
    assert html.escape(said) in refs._repr_html_()
    done = call("--home", home.path, "ls", "jpl8", "--where", question, "--json")
    assert done.stdout == "[]\n"
    assert said in done.stderr
    assert done.exit_code == 0


def test_other_reasons(pool: Pool, home: Home) -> None:
    assert "pool jpl8 has no Ramp; it has Product" in repr(pool.select(Ramp))
    assert "no Ramp" in call("--home", home.path, "ls", "jpl8", "--kind", "Ramp").stderr
    assert "tag 'old' marks no version of kind Rate in pool" in repr(pool.select(Rate, tag="old"))
    earlier = pool.select("ngroups == 5")
    assert "none of the 1 version satisfies NGROUPS == 50" in repr(pool.select("ngroups == 50", earlier))
    assert "satisfies f(p)" in repr(pool.select(FullQuery("f(p)", functions={"f": lambda _: False})))
    assert "none of the 3 versions" in repr(pool.select(Query("ngroups == 6", allVersions=True)))
    assert pool.select("ngroups == 5").reason is None
    assert "jpl8: none of the 2 newest versions satisfies" in repr(ProductStorage(pool).select("ngroups == 6"))
    assert pool.select("ngroups == 5", limit=0).reason is None
    with home.create("empty") as empty:
        assert "pool empty is empty" in repr(empty.select())
        assert call("--home", home.path, "ls", "empty").stderr == "nothing found: pool empty is empty\n"
    assert call("--home", home.path, "ls", "empty", "--trash").stderr == "nothing found: the trash is empty\n"
    assert call("--home", home.path, "ls", "jpl8", "--limit", "0").stderr == ""
