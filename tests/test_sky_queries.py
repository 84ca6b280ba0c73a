"""Questions about the sky: by SQL on the index, and by Python on one product, with the same answers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import homes
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from homes import ask_pool, call, empty_home, write_image
from skies import BruteForce, corners_text, positions, random_sky

import miripool
from miripool import Exposure, Home, MetaQuery, Pool, ProductRefs
from miripool.errors import InvalidInput, QueryError
from miripool.index.footprints import FOOTPRINT_COLUMNS
from miripool.model.keywords import dictionary
from miripool.pool.core import core_of
from miripool.query.evaluator import evaluate
from miripool.query.parser import parse
from miripool.query.text import to_text

home = homes.home

SQUARE = "POLYGON ICRS  150.0 2.0 150.1 2.0 150.1 2.1 150.0 2.1"
HEADERS = {
    "square": {"S_REGION": SQUARE},
    "two": {"S_REGION": "POLYGON ICRS 150.05 2.05 150.2 2.05 150.2 2.2 150.05 2.2 POLYGON ICRS 10 0 11 0 11 1 10 1"},
    "across": {"S_REGION": "POLYGON ICRS 359.9 -0.1 359.9 0.1 0.1 0.1 0.1 -0.1"},
    "pole": {"S_REGION": "POLYGON ICRS 0 89.9 120 89.9 240 89.9"},
    "dark": {"S_REGION": SQUARE, "EXP_TYPE": "MIR_DARKIMG"},
    "opaque": {"S_REGION": SQUARE, "FILTER": "OPAQUE"},
    "nonsense": {"S_REGION": "POLYGON ICRS 1 2 3"},
    "flat": {"S_REGION": "POLYGON ICRS 1 2 1 2 1 2"},
    "none": {"NGROUPS": 5},
}


@pytest.fixture
def sky(pool: Pool, tmp_path: Path) -> Pool:
    for name, cards in HEADERS.items():
        pool.save(write_image(tmp_path / f"{name}.fits", cards))
    return pool


def names(refs: ProductRefs) -> set[str]:
    return {ref.name for ref in refs}


QUESTIONS = {
    "covers(150.02, 2.02)": {"square"},
    "covers(150.07, 2.07)": {"square", "two"},
    "covers('10h00m16.8s +02d04m12s')": {"square", "two"},
    "covers('10:00:16.8', '02:04:12')": {"square", "two"},
    "covers(10.5, 0.5)": {"two"},
    "covers(0, 0) or covers(17, 90)": {"across", "pole"},
    "covers(150.02, 2.02, darks=True)": {"square", "dark", "opaque"},
    "covers(150.02, 2.02, darks=False)": {"square"},
    "not covers(150.02, 2.02)": {"two", "across", "pole"},  # not those that have no footprint
    "covers(200, 2)": set(),
    "overlaps(circle(150.3, 2.1, 0.11))": {"two"},
    "overlaps(circle('10h00m12s +02d03m00s', 0.001))": {"square", "two"},
    "overlaps(circle(0, 0, 180))": {"square", "two", "across", "pole"},
    "overlaps(circle(0, 0, 80))": {"two", "across"},
    "overlaps(polygon(150.15, 2.0, 150.3, 2.0, 150.3, 2.3, 150.15, 2.3))": {"two"},
    "overlaps(polygon(149, 2.05, 151, 2.05, 151, 2.06, 149, 2.06))": {"square", "two"},
    "overlaps(polygon('359d -1d', '1d -1d', '0d 2d'))": {"across"},
    "not overlaps(circle(150.05, 2.05, 1), darks=True)": {"across", "pole"},
    "separation(150.05, 2.05) < 0.01": {"square"},
    "separation(150.05, 2.05, darks=True) <= 0.01": {"square", "dark", "opaque"},
    "0.01 < separation(150.05, 2.05) <= 95": {"pole"},
    "separation(0, 90) < 2": {"pole"},
    "separation(0, 90) >= 2": {"square", "two", "across"},
    "separation(0, 90) is null and name == 'none'": {"none"},
    "covers(150.02, 2.02) and name == 'square'": {"square"},
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_sql_and_python_give_the_same_answer(sky: Pool, question: str) -> None:
    refs = sky.select(question)
    node = parse(question, names=dictionary())
    by_python = {ref.name for ref in sky.select("1") if evaluate(node, ref.product)}
    assert names(refs) == by_python
    assert by_python == QUESTIONS[question]
    assert parse(to_text(node), names=dictionary()) == node


@pytest.fixture
def elsewhere(any_database_url: str, tmp_path: Path) -> Iterator[Home]:
    """A home on the embedded server, and on the oldest that this system has."""
    with empty_home(tmp_path / "home", any_database_url, "sky") as made:
        yield made


@pytest.mark.slow
def test_each_server_gives_the_same_answers(elsewhere: Home, tmp_path: Path) -> None:
    with elsewhere.create("jpl8") as pool:
        for name, cards in HEADERS.items():
            pool.save(write_image(tmp_path / f"{name}.fits", cards))
        for question, found in QUESTIONS.items():
            assert names(pool.select(question)) == found, question


REFUSED = {
    "covers(150, 91)": (12, "Dec 91"),
    "covers(400, 1)": (7, "RA 400"),
    "covers(400, 'x')": (7, "RA 400"),
    "covers('10h', '91d')": (14, r"Dec '91d' \(91 degrees\) is not"),
    "covers(150)": (0, "write covers"),
    "covers('here')": (7, "no position"),
    "covers(ngroups, 2)": (7, "constants"),
    "covers(1, 2, axis=1)": (13, "constants"),
    "covers(1, 2, darks=5)": (19, "True or False"),
    "overlaps(circle(150, 2, 0))": (24, "radius"),
    "overlaps(circle(150, 2, 181))": (24, "radius"),
    "overlaps(circle(150, 2, -1))": (24, "radius"),
    "overlaps(circle(150, 2, 'a'))": (24, "radius"),
    "overlaps(circle(150, 2))": (9, "write circle"),
    "overlaps(150, 2)": (0, "circle"),
    "overlaps(polygon(1, 2, 3, 4))": (9, "three"),
    "overlaps(polygon(1, 2, 3, 4, 5))": (9, "polygon"),
    "overlaps(polygon(0, 0, 1, 1, 1, 0, 0, 1))": (9, "cross|no inside"),
    "circle(150, 2, 1)": (0, "overlaps"),
    "separation(150, 2)": (0, "compare"),
    "separation(150, 2) < 'a'": (None, "number"),
    "covers(1e999, 2)": (7, "too large"),
}


@pytest.mark.parametrize("question", REFUSED)
def test_what_makes_no_sense_is_refused_at_its_column(sky: Pool, question: str) -> None:
    column, words = REFUSED[question]
    with pytest.raises(QueryError, match=words) as caught:
        sky.select(question)
    assert caught.value.column == column


def test_explain_says_that_footprints_answer(sky: Pool) -> None:
    steps = sky.explain("covers(150.07, 2.07) and NGROUPS == 5").steps
    assert {step.answered_by for step in steps[1:]} == {"the index", "footprints in the index"}
    assert MetaQuery("covers('150 2')").where == "covers(150.0, 2.0)"


def test_random_footprints_are_found_where_they_are(pool: Pool, tmp_path: Path) -> None:
    drawn = random_sky(60, 11)
    for number in range(60):
        cards = {"S_REGION": drawn.s_region(number)}
        pool.save(write_image(tmp_path / f"e{number:03d}.fits", cards))
    brute, found = BruteForce(drawn), 0
    for ra, dec in positions(drawn, 60, 12):
        covering = {f"e{number:03d}" for number in brute.covering(ra, dec)}
        assert names(pool.select(f"covers({ra!r}, {dec!r})")) == covering
        found += len(covering)
    assert found > 20
    draw = random.Random(13)
    for _ in range(10):
        corners = drawn.corners[draw.randrange(60)] + [draw.uniform(-0.005, 0.005), 0]
        for question in (
            f"overlaps(polygon({corners_text(corners)}))",
            f"overlaps(circle({corners[0][0]!r}, {corners[0][1]!r}, 0.01))",
        ):
            try:
                node = parse(question, names=dictionary())
            except QueryError:
                continue  # moved beyond RA 0 or 360
            by_python = {ref.name for ref in pool.select("1") if evaluate(node, ref.product)}
            assert names(pool.select(question)) == by_python


def test_an_older_index_gets_its_footprints_when_it_is_asked(sky: Pool) -> None:
    rows = "SELECT " + ", ".join(FOOTPRINT_COLUMNS) + " FROM footprint ORDER BY serial"
    before = ask_pool(sky, rows)
    database = core_of(sky).catalog.database
    script = (Path(miripool.__file__).parent / "index/migrations/0018_sky.sql").read_text("utf-8")
    with database.write() as connection:
        database.run(connection, f"DROP TABLE footprint, footprint_pending; {script}")
    assert ask_pool(sky, rows) == []
    core_of(sky).catalog._footprints_made = False  # as a process that opens the pool now
    assert names(sky.select("covers(150.02, 2.02)")) == {"square"}
    assert ask_pool(sky, rows) == before
    assert sky.verify().findings == []


def test_an_older_index_gets_its_computed_footprints_again(sky: Pool, tmp_path: Path) -> None:
    cards = {
        **{"DETECTOR": "MIRIMAGE", "RA_REF": 83.8, "DEC_REF": -69.2, "ROLL_REF": 0.0, "V3I_YANG": 0.0, "VPARITY": -1},
        **{"SUBARRAY": "FULL", "SUBSIZE1": 1032, "SUBSIZE2": 1024},
    }
    sky.save(write_image(tmp_path / "computed.fits", cards))
    rows = "SELECT " + ", ".join(FOOTPRINT_COLUMNS) + " FROM footprint ORDER BY serial"
    before = ask_pool(sky, rows)
    database = core_of(sky).catalog.database
    script = (Path(miripool.__file__).parent / "index/migrations/0020_references.sql").read_text("utf-8")
    with database.write() as connection:
        database.run(connection, script)
    assert ask_pool(sky, rows) == before[:-1]  # the others have an S_REGION
    core_of(sky).catalog._footprints_made = False  # as a process that opens the pool now
    assert names(sky.select("covers(83.8, -69.2)")) == {"computed"}
    east = 83.8 + 500 * 0.1105 / 3600 / 0.3551  # the array reaches 693 pixels to one side, and 339 to the other
    west = 83.8 - 500 * 0.1105 / 3600 / 0.3551
    assert [len(sky.select(f"covers({ra!r}, -69.2)")) for ra in (east, west)] == [1, 0]
    assert ask_pool(sky, rows) == before
    assert sky.verify().findings == []


def test_reindex_makes_the_same_footprints(sky: Pool) -> None:
    rows = "SELECT * FROM footprint ORDER BY serial"
    before = ask_pool(sky, rows)
    assert len(before) == 6
    sky.reindex()
    assert ask_pool(sky, rows) == before


def test_contexts_have_no_footprint(sky: Pool) -> None:
    exposure = Exposure()
    exposure.name = "whole"
    exposure.meta["S_REGION"] = SQUARE
    sky.save(exposure)
    assert names(sky.select("covers(150.02, 2.02)")) == {"square"}
    assert not evaluate(parse("covers(150.02, 2.02)", names=dictionary()), exposure)


def test_ls_covers(sky: Pool) -> None:
    found = call("ls", "jpl8", "--covers", "10h00m16.8s +02d04m12s", "--csv", "--columns", "name").stdout
    assert set(found.split()[1:]) == {"square", "two"}
    found = call("ls", "jpl8", "--covers", "150.07 2.07", "--where", "name == 'two'", "--csv", "--columns", "name")
    assert found.stdout.split() == ["name", "two"]
    assert '"two"' in call("ls", "jpl8", "--covers", "10.5, 0.5", "--json").stdout
    nothing = call("ls", "jpl8", "--covers", "05h08m00s +07d00m00s").stderr
    assert "none of the 9 newest versions satisfies covers('05h08m00s +07d00m00s')" in nothing


@pytest.mark.parametrize(
    ("position", "words"),
    [
        ("10 91", "--covers: Dec 91.0 is not between -90 and 90 degrees"),
        ("25h00m00s +1d", r"--covers: RA '25h00m00s' \(375 degrees\) is not between 0 and 360 degrees"),
        ("here", "--covers: 'here' is no position; write a position as"),
        ("", "--covers: '' is no position"),
    ],
)
def test_a_wrong_position_is_a_wrong_option(home: Home, position: str, words: str) -> None:
    home.create("jpl8")
    with pytest.raises(InvalidInput, match=words) as failed:
        call("ls", "jpl8", "--covers", position)
    assert failed.value.exit_code == 30


ABSURD = {
    "tiny": {"S_REGION": "POLYGON ICRS 10 2 10.0000000002 2 10.0000000002 2.0000000002"},
    "turned": {
        **{"ROLL_REF": 1.7e308, "V3I_YANG": 1.7e308, "VPARITY": -1, "RA_REF": 10.0, "DEC_REF": 2.0},
        **{"SUBSIZE1": 10, "SUBSIZE2": 10, "DETECTOR": "MIRIMAGE"},
    },
}


def test_absurd_headers_are_saved(pool: Pool, tmp_path: Path) -> None:
    for name, cards in ABSURD.items():
        pool.save(write_image(tmp_path / f"{name}.fits", cards))
    assert "tiny" in names(pool.select("covers(10.0000000001, 2.00000000005)"))
    for question in ("overlaps(circle(1, 2, 1e-9))", "separation(1, 2) < 1e-9"):
        assert names(pool.select(question)) == set()
    assert pool.verify().findings == []
    pool.reindex()
    assert len(pool.select("1")) == 2


def test_an_empty_answer_says_what_was_left_out(sky: Pool) -> None:
    nothing = sky.select("covers(77, 7)")
    assert nothing.reason == "none of the 9 newest versions satisfies covers(77.0, 7.0). 3 of 9 have no footprint"
    dark = sky.select("name == 'dark' and covers(150.02, 2.02)").reason
    assert dark is not None
    assert dark.endswith("With darks=True it holds for 1 exposure that saw nothing: darks, and OPAQUE")
    assert "1 of 1 has no footprint" in str(sky.select("name == 'none' and not covers(1, 1)").reason)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("10 2",), "is one position; give a radius"),
        ((SkyCoord(10, 2, unit="deg"),), "is one position; give a radius"),
        (("10 2", 3 * units.s), "is no radius"),
        (("10 2", "wide"), "is no radius"),
    ],
)
def test_what_is_no_part_of_the_sky(arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        miripool.overlaps(*arguments)
