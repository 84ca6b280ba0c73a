"""Every column of a listing can be asked for, and every method of a pool takes a reference or a SPEC."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import homes
import numpy as np
import pytest
from homes import call

from miripool import Home, Pool
from miripool.pool.core import core_of
from miripool.pool.listing import FIELDS
from miripool.query import Query
from miripool.query.evaluator import evaluate


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Home]:
    with homes.empty_home(tmp_path_factory.mktemp("columns") / "home", database_url, "columns") as made:
        yield made


@pytest.fixture(scope="module")
def pool(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    folder = tmp_path_factory.mktemp("files")
    cards: dict[str, Any] = {
        "DATE-OBS": "2026-02-03",
        "TIME-OBS": "04:05:06",
        "DETECTOR": "MIRIMAGE",
        "NGROUPS": 5,
        "DATAMODL": "ImageModel",
    }
    with home.create("jpl8") as made:
        made.save(homes.write_image(folder / "late.fits", cards), tag="v1")
        made.save(homes.write_image(folder / "early.fits", {**cards, "DATE-OBS": "2018-03-08", "NGROUPS": 6}))
        made.save(homes.write_image(folder / "never.fits"))
        yield made


def both(pool: Pool, question: str) -> list[str]:
    """Ask the index, and each product by itself; they agree."""
    found = [ref.name for ref in pool.select(question)]
    node = Query(question, functions={}).node
    assert found == [ref.name for ref in pool.select() if evaluate(node, ref.product)]
    return found


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ("start_time > '2018-03-08T04:05:05'", ["late", "early"]),
        ("start_time < '2020-01-01'", ["early"]),
        ("start_time between '2026-02-03' and '2026-02-04'", ["late"]),
        ("start_time is null", ["never"]),
        ("p.start_time == '2026-02-03 04:05:06 UTC'", ["late"]),
        ("stored_bytes >= 0 and entry > 0", ["early", "never"]),
        ("head == True", ["late", "early", "never"]),
        ("removed is null and purged is null", ["late", "early", "never"]),
        ("content like '*' and manifest like '*' and file_digest like '*'", ["late", "early", "never"]),
    ],
)
def test_fields(pool: Pool, question: str, wanted: list[str]) -> None:

    assert both(pool, question) == wanted


@pytest.mark.parametrize("column", FIELDS)
def test_each_column_of_a_listing_can_be_asked_for(pool: Pool, column: str) -> None:
    if column == "tags":
        assert [ref.name for ref in pool.select("'v1' in tags")] == ["late"]
        return
    shown = core_of(pool).listing([0, 1, 2], [column])
    for value in (row[column] for row in shown if row[column] is not None):
        literal = str(value) if isinstance(value, (int, float)) else repr(str(value))
        asked = f"p.{column}" if column == "filename" else column
        expected = [n for n, row in zip(("late", "early", "never"), shown, strict=True) if row[column] == value]
        assert both(pool, f"{asked} == {literal}") == expected
    assert both(pool, f"{'p.filename' if column == 'filename' else column} is null") == [
        name for name, row in zip(("late", "early", "never"), shown, strict=True) if row[column] is None
    ]


def test_on_the_command_line(pool: Pool, home: Home) -> None:
    asked = ("ls", "jpl8", "--where", "start_time > '2020-01-01'", "--columns", "name,start_time", "--json")
    (row,) = json.loads(call("--home", home.path, *asked).stdout)
    assert (row["name"], row["start_time"]) == ("late", "2026-02-03T04:05:06Z")


@pytest.mark.slow
def test_a_reference_or_a_spec_will_do(pool: Pool, tmp_path: Path) -> None:
    (ref,) = pool.select("name == 'late'")
    product = ref.product
    assert product.start_time == ref.start_time
    for given in (product, ref, ref.urn, "Product/late", "late@v1"):
        assert np.array_equal(pool.to_hdulist(given)[1].data, product["SCI"])
        assert type(pool.to_datamodel(given)).__name__ == "ImageModel"
    for spec in (ref, ref.row, ref.urn, "late@0"):
        assert core_of(pool).load_version(spec).urn == ref.urn
        assert core_of(pool).manifest(spec).name == "late"
