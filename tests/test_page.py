"""Pages and facets, against the same in plain Python over what `select` gives."""

from __future__ import annotations

import contextlib
import math
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any
from unittest import mock

import homes
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miripool import FullQuery, Home, PixelQuery, Pool, Query, RateInts
from miripool.errors import Interrupted, InvalidInput, QueryError, TagNotFound, UnknownKeyword
from miripool.index import Interrupt, ProductRow
from miripool.index import page as pages
from miripool.index.kept import Answers
from miripool.model.keywords import dictionary
from miripool.pool.core import Core, core_of
from miripool.pool.page import Facet, Page, facets, keyword_names, keyword_values, page
from miripool.query.tree import Keyword
from miripool.query.values import as_time

KINDS = ("Rate", "RateInts", "Ramp")
DETECTORS = ("MIRIMAGE", "MIRIFULONG", None, "MIRIFUSHORT", "MIRIMAGE")
MIXED = (3, "seven", True, 2.5, "2024-01-02T03:04:05", None, False, "Seven", -1)
PRODUCTS = 27


def cards(i: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "DETECTOR": DETECTORS[i % 5],
        "NGROUPS": (5, 20, None, 8)[i % 4],
        "FILTER": ("F560W", "F770W", 'it\'s "odd" %s')[i // 2 % 3] if i % 6 else None,
        "TARGNAME": ("HD 15318", "a'b", 'c"d%', None)[i % 4],
        "NUMBER": i * 7 % 5 if i % 3 else None,
        "FLAG": i % 2 == 0,
        "MIXED": MIXED[i % 9],
        "LONG": "x" * 60 if i % 2 else None,
        "DATE-OBS": f"2024-02-{1 + i % 9:02d}" if i % 5 else None,
        "TIME-OBS": f"0{i % 7}:00:00" if i % 5 else None,
    }
    return {key: value for key, value in found.items() if value is not None}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("pages")
    with homes.empty_home(folder / "home", database_url, "pages") as home:
        yield home


@pytest.fixture(scope="module")
def pool(library: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """A pool that no test of this module changes."""
    folder = tmp_path_factory.mktemp("files")
    with library.create("all of it 1.0") as pool:
        refs = []
        for i in range(PRODUCTS):
            # Some names have two versions.
            name = ("a b", "it's", 'say "x"', "jw1", "jw%2")[i % 5] + f" {i // 2 % 6}"
            data = [[0, i % 4, i % 11], [i % 3, 1, 2]]
            path = homes.write_image(folder / f"{i}.fits", cards(i), data)
            refs.append(pool.save(path, name=name, kind=KINDS[i % 3], pixels=False))
        pool.tag(refs[3:15:2], "using cal v1")
        pool.tag(refs[4:6], 'it\'s "fine"')
        pool.remove([refs[8], refs[20], refs[21]])
        # What no header can hold, but the type of the column: it must not break the order.
        database = core_of(pool).catalog.database
        with database.write() as connection:
            database.run(
                connection,
                "UPDATE product SET ngroups = 'NaN' WHERE serial IN (7, 11);"
                "UPDATE keyword SET number = 'NaN' WHERE serial IN (7, 11) AND key = 'NGROUPS'",
            )
        yield pool


@pytest.fixture(scope="module")
def core(pool: Pool) -> Core:
    return core_of(pool)


@contextlib.contextmanager
def as_if_large() -> Iterator[None]:
    """Let a few products be many: limits are reached."""
    limits = {"_CANDIDATES": 6, "_BEGINNING": 8, "_MOST_PARTS": 3}
    with contextlib.ExitStack() as stack:
        for name, value in limits.items():
            stack.enter_context(mock.patch.object(pages, name, value))
        stack.enter_context(mock.patch.object(pages, "_answers", Answers(512)))
        yield


# The same in Python


def find(core: Core, pool: Pool, query: Any = "1", **which: Any) -> list[ProductRow]:
    kinds, trash = which.pop("kinds", None), which.pop("trash", False)
    if trash:
        rows = core.catalog.select(removed=True)
        matching = Query(query) if isinstance(query, str) else query
        rows = [row for row in rows if row.kind in matching.kinds and matching.predicate(core.load_version(row))]
    else:
        rows = core.catalog.rows([ref.serial for ref in pool.select(query, **which)])
    return [row for row in rows if kinds is None or row.kind in kinds]


def column(core: Core, rows: list[ProductRow], name: str) -> list[tuple[Any, Any]]:
    """Give a number and a text for each row: what is compared first, and then."""
    place = "urn" if name == "urn" else name if hasattr(rows[0], name) else None
    if place is not None:
        return [(getattr(row, name), None) for row in rows]
    resolved = dictionary().resolve(name)
    found = core.catalog.keyword_values([row.serial for row in rows], [resolved])
    values = [found.get(row.serial, {}).get(resolved) for row in rows]
    pairs = []
    for value in values:
        moment = as_time(value) if isinstance(value, str) else None
        number = moment.timestamp() if moment else None if isinstance(value, str) else value
        pairs.append((number, value if isinstance(value, str) else None))
    return pairs


def in_order(core: Core, rows: list[ProductRow], keys: list[str]) -> list[int]:
    rows = sorted(rows, key=lambda row: row.serial)
    for key in reversed(keys):
        if not rows:
            return []
        pairs = column(core, rows, key.removeprefix("-"))
        for which in (1, 0):
            values = {row.serial: pair[which] for row, pair in zip(rows, pairs, strict=True)}
            known = [row for row in rows if values[row.serial] is not None]
            known.sort(key=lambda row: rank(values[row.serial]), reverse=key.startswith("-"))
            order = [*known, *(row for row in rows if values[row.serial] is None)]
            pairs = [pairs[rows.index(row)] for row in order]
            rows = order
    return [row.serial for row in rows]


def rank(value: Any) -> Any:
    return (
        (math.isnan(value), value) if isinstance(value, float) else (False, value) if isinstance(value, int) else value
    )


ORDERS = (
    *("created", "name", "kind", "serial", "bytes", "version", "start_time", "detector", "filter", "ngroups", "head"),
    *("stored_bytes", "entry", "TARGNAME", "NUMBER", "FLAG", "MIXED", "LONG", "DATE-OBS", "obs_id"),
)
QUERIES = (
    *(
        "1",
        "ngroups >= 8",
        "detector == 'MIRIMAGE'",
        "NUMBER > 1",
        "NUMBER >= 0 and FLAG == True",
        'TARGNAME == "a\'b"',
    ),
    *("filter == 'it\\'s \"odd\" %s'", "'using cal v1' in p.tags", "p.data.max() > 3", "NUMBER > 100", "version == 1"),
    *("NUMBER > 0 or detector == 'MIRIFULONG'", "not FLAG == True", "name.startswith('it')", "kind == 'Rate'"),
    *("MIXED == 3", "NUMBER > 0 and TARGNAME == 'HD 15318' and FLAG == True"),
)
WHICH = (
    *({}, {}, {"all_versions": True}, {"tag": "using cal v1"}, {"tag": 'it\'s "fine"'}, {"trash": True}),
    *({"kinds": ("Rate",)}, {"kinds": ("Rate", "Ramp"), "all_versions": True}, {"kinds": ("Raw",)}, {"kinds": ()}),
)


@settings(max_examples=250, deadline=None)
@given(
    query=st.sampled_from(QUERIES),
    which=st.sampled_from(WHICH),
    order=st.lists(st.tuples(st.sampled_from(("", "-")), st.sampled_from(ORDERS)).map("".join), max_size=2),
    limit=st.integers(0, PRODUCTS + 2),
    offset=st.integers(0, PRODUCTS + 2),
    most=st.sampled_from((0, 3, 10_000)),
    large=st.booleans(),
)
def test_a_page_is_a_slice_of_what_select_gives(
    pool: Pool,
    core: Core,
    query: str,
    which: dict[str, Any],
    order: list[str],
    limit: int,
    offset: int,
    most: int,
    large: bool,
) -> None:
    rows = find(core, pool, query, **which)
    with as_if_large() if large else contextlib.nullcontext():
        found = page(core, query, **which, order=order, limit=limit, offset=offset, most=most)
    assert [row.serial for row in found.rows] == in_order(core, rows, order)[offset : offset + limit]
    assert repr(found.rows) == repr(core.catalog.rows([row.serial for row in found.rows]))
    assert found.offset == offset
    exact = query == "1" or len(rows) <= most
    assert (found.total, found.exact) == ((len(rows), True) if exact else (most, False))


def count(core: Core, rows: list[ProductRow], name: str) -> tuple[Counter[Any], int]:
    """Count values, NaN as one, True apart from 1."""
    if name == "tags":
        labels = [row.tags for row in rows]
        return Counter(label for some in labels for label in some), sum(not some for some in labels)
    if not rows:
        return Counter(), 0
    if hasattr(rows[0], name):
        values = [getattr(row, name) for row in rows]
    else:
        hdu, _, key = name.rpartition(".")
        place = (hdu or None, key)
        found = core.catalog.keyword_values([row.serial for row in rows], [place])
        values = [found.get(row.serial, {}).get(place) for row in rows]
    known = [
        str(value) if isinstance(value, bool) or value != value else value for value in values if value is not None
    ]
    return Counter(known), sum(value is None for value in values)


COLUMNS = (
    *("kind", "detector", "filter", "ngroups", "head", "version", "tags", "TARGNAME", "NUMBER", "FLAG", "MIXED"),
    *("name", "bytes", "start_time", "obs_id", "SCI.NAXIS1", "DATE-OBS", "instrument", "PRIMARY.FLAG"),
)


@settings(max_examples=150, deadline=None)
@given(
    query=st.sampled_from(QUERIES),
    which=st.sampled_from(WHICH),
    columns=st.lists(st.sampled_from(COLUMNS), unique=True, max_size=6),
    values=st.integers(0, 12),
    most=st.sampled_from((0, 3, 10_000)),
    large=st.booleans(),
)
def test_facets_count_what_select_gives(
    pool: Pool,
    core: Core,
    query: str,
    which: dict[str, Any],
    columns: list[str],
    values: int,
    most: int,
    large: bool,
) -> None:
    rows = find(core, pool, query, **which)
    with as_if_large() if large else contextlib.nullcontext():
        found = facets(core, query, **which, columns=columns, values=values, most=most)
    assert [facet.column for facet in found] == columns
    exact = query == "1" or len(rows) <= most
    for facet in found:
        assert facet.exact == exact
        assert len(facet.values) <= values
        known, missing = count(core, rows, facet.column)
        shown = {str(v) if isinstance(v, bool) or v != v else v: n for v, n in facet.values}
        if not exact:
            assert all(n <= known[value] for value, n in shown.items())
            continue
        assert facet.missing == missing
        assert shown.items() <= known.items()
        assert sorted(shown.values(), reverse=True) == sorted(known.values(), reverse=True)[:values]
        assert [n for _, n in facet.values] == sorted((n for _, n in facet.values), reverse=True)
        assert len(facet.values) + facet.more == len(known)


def test_values_of_facets_look_as_in_headers(core: Core) -> None:
    (numbers, mixed, when) = facets(core, columns=("NUMBER", "MIXED", "DATE-OBS"))
    assert all(type(value) is int for value, _ in numbers.values)
    assert {type(value) for value, _ in mixed.values} == {int, float, str, bool}
    assert ("2024-01-02T03:04:05" in dict(mixed.values)) is True
    assert all(value.startswith("2024-02-0") for value, _ in when.values)


def test_the_order_is_that_of_select(pool: Pool, core: Core) -> None:
    for name in ORDERS:
        for key in (name, f"-{name}"):
            selected = [ref.serial for ref in pool.select(order=key)]
            assert [row.serial for row in page(core, order=key).rows] == selected
    for one, two in ((("urn",), ("kind", "serial")), (("-detector", "-serial", "name"), ("-detector", "-serial"))):
        assert repr(page(core, order=one)) == repr(page(core, order=two))


# Conditions that the index can't answer

DATA = (
    "(p['SCI'] > 3).sum() > 0",
    "ANY(p['SCI'][0, 2:] > 4) and detector == 'MIRIMAGE'",
    "ANY(p['SCI'][0, 2:] > 400)",
)


@pytest.mark.parametrize("query", DATA)
@pytest.mark.parametrize(
    "which", [{}, {"all_versions": True}, {"trash": True}, {"kinds": ("Rate",)}, {"tag": "using cal v1"}]
)
def test_conditions_on_data(pool: Pool, core: Core, query: str, which: dict[str, Any]) -> None:
    rows = find(core, pool, query, **which)
    expected = in_order(core, rows, ["-ngroups"])
    for limit, offset in ((100, 0), (2, 0), (2, 1), (3, 50), (0, 0)):
        found = page(core, query, **which, order="-ngroups", limit=limit, offset=offset)
        assert [row.serial for row in found.rows] == expected[offset : offset + limit]
        if found.exact:
            assert found.total == len(rows)
        else:
            assert found.total == offset + limit <= len(rows)
    (facet,) = facets(core, query, **which, columns=["kind"])
    assert dict(facet.values) == Counter(row.kind for row in rows)
    assert facet.exact
    (facet,) = facets(core, query, **which, columns=["kind"], most=1)
    assert sum(n for _, n in facet.values) == min(len(rows), 1)
    assert facet.exact == (len(rows) <= 1)


def test_functions_and_queries(pool: Pool, core: Core) -> None:
    def bright(p: Any) -> bool:
        return bool(p["SCI"].max() > 5)

    for query in (bright, FullQuery(RateInts, bright), Query(RateInts), Query("ngroups >= 8", tag="using cal v1")):
        rows = find(core, pool, query)
        assert [row.serial for row in page(core, query, order=()).rows] == [row.serial for row in rows]


def test_pixels(core: Core) -> None:
    query = PixelQuery(RateInts, "rate > 1")
    with pytest.warns(UserWarning, match="no pixel rows"):
        assert page(core, query) == Page([], 0, True, 0)
    assert page(core, query, kinds=["Rate"]).total == 0
    with pytest.raises(InvalidInput, match="trash"):
        page(core, query, trash=True)


def test_reading_of_data_can_be_stopped(core: Core) -> None:
    with Interrupt() as stop:

        def look(p: Any) -> bool:
            stop.now("enough")
            return bool(p["SCI"].max() > 1000)

        with pytest.raises(Interrupted, match="enough"):
            page(core, look)
    assert page(core, limit=1).rows


# What is refused


def test_what_nobody_knows_is_refused(core: Core) -> None:
    for wrong in ({"query": "NUMBBER > 3"}, {"order": "NUMBBER"}, {"order": ["-created", "-NUMBBER"]}):
        with pytest.raises(UnknownKeyword, match="NUMBER"):
            page(core, **wrong)  # type: ignore[arg-type]
    with pytest.raises(UnknownKeyword, match="NUMBER"):
        facets(core, columns=["kind", "NUMBBER"])
    with pytest.raises(QueryError):
        page(core, "NUMBER >")
    with pytest.raises(TagNotFound, match="using cal v1"):
        page(core, tag="using cal v2")
    with pytest.raises(InvalidInput, match="kind"):
        page(core, kinds=["Rait"])
    with pytest.raises(InvalidInput, match="urn"):
        facets(core, columns=["urn"])


@pytest.mark.parametrize("wrong", [-1, 1.5, "3", True, None])
def test_numbers_are_checked(core: Core, wrong: Any) -> None:
    for name in ("limit", "offset", "most"):
        with pytest.raises(InvalidInput, match=name):
            page(core, **{name: wrong})
    with pytest.raises(InvalidInput, match="values"):
        facets(core, values=wrong)


def test_an_empty_pool(library: Home) -> None:
    with library.create("empty") as pool:
        core = core_of(pool)
        for which in ({}, {"trash": True}, {"all_versions": True}):
            for order in ("-created", "detector", "bytes", "TARGNAME", ()):
                assert page(core, **which, order=order) == Page([], 0, True, 0)
                assert page(core, "ngroups > 3", **which, order=order, offset=7) == Page([], 0, True, 7)
            assert facets(core, **which, columns=("kind", "tags", "NUMBER")) == [
                Facet(column, [], 0, 0, True) for column in ("kind", "tags", "NUMBER")
            ]
        assert keyword_values(core, "DETECTOR") == []
        assert "detector" in keyword_names(core, "")


def test_contexts_are_shown_where_they_are_asked_for(library: Home, simulated: Any) -> None:
    with library.create("contexts") as pool:
        pool.ingest(simulated / "v1")
        core = core_of(pool)
        found = page(core, kinds=["Exposure"])
        assert [row.kind for row in found.rows] == ["Exposure"]
        assert found.total == 1
        assert "Exposure" not in {row.kind for row in page(core).rows}


# What is kept


def test_what_was_counted_is_counted_again_after_a_change(library: Home, tmp_path: Any) -> None:
    with library.create("growing") as pool:
        core = core_of(pool)
        for n in range(1, 4):
            ref = pool.save(homes.write_image(tmp_path / f"a{n}_rate.fits", {"DETECTOR": "MIRIMAGE", "NUMBER": n}))
            assert page(core).total == n
            assert page(core, "NUMBER > 0").total == n
            assert facets(core, columns=["detector"])[0].values == [("MIRIMAGE", n)]
            assert page(core, order="detector", offset=n - 1).rows[0].serial == ref.serial
        pool.tag(ref, "t")
        assert facets(core, columns=["tags"])[0].values == [("t", 1)]
        pool.remove(ref)
        assert page(core).total == 2
        assert page(core, trash=True).total == 1
        assert facets(core, columns=["tags"])[0].values == []
        pool.restore(ref)
        assert [f.values for f in facets(core, columns=["tags", "detector"])] == [[("t", 1)], [("MIRIMAGE", 3)]]


def test_a_keyword_that_gets_values_of_another_type(library: Home, tmp_path: Any) -> None:
    with library.create("types") as pool:
        core = core_of(pool)
        expected = []
        for n, value in enumerate((3, 1, "text", "y" * 600, "2024-01-01T00:00:00", True)):
            expected.append(pool.save(homes.write_image(tmp_path / f"a{n}.fits", {"THING": value})).serial)
            selected = [ref.serial for ref in pool.select(order="THING")]
            assert [row.serial for row in page(core, order="THING").rows] == selected
            assert sum(k for _, k in facets(core, columns=["THING"])[0].values) == n + 1


def test_answers_of_long_questions_may_be_old() -> None:
    answers = Answers(2)
    asked: list[int] = []

    def ask() -> int:
        asked.append(1)
        return len(asked)

    assert [answers.get("a", 1, ask, patience=10), answers.get("a", 1, ask), answers.get("a", 2, ask, patience=10)] == [
        1,
        1,
        2,
    ]
    with mock.patch("miripool.index.kept.time.monotonic", side_effect=[0.0, 1.0, 5.0, 12.0, 12.0, 12.0, 12.0]):
        assert answers.get("b", 1, ask) == 3  # took a second
        assert answers.get("b", 2, ask, patience=10) == 3  # four seconds old
        assert answers.get("b", 2, ask, patience=10) == 4  # eleven seconds old
    answers.get("c", 1, ask)
    assert answers.get("a", 2, ask) == 6  # was given up for c


def test_a_question_is_asked_once_at_a_time() -> None:
    answers = Answers(9)
    begun, go_on = threading.Event(), threading.Event()
    asked: list[int] = []

    def ask() -> str:
        asked.append(1)
        begun.set()
        go_on.wait(10)
        return "answer"

    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(answers.get("q", 0, ask))) for _ in range(4)]
    for thread in threads:
        thread.start()
    begun.wait(10)
    with Interrupt() as stop:
        stop.now("left")
        with pytest.raises(Interrupted, match="left"):
            answers.get("q", 0, ask)
    go_on.set()
    for thread in threads:
        thread.join()
    assert found == ["answer"] * 4
    assert len(asked) == 1


def test_an_error_is_not_kept() -> None:
    answers = Answers(9)
    with pytest.raises(ZeroDivisionError):
        answers.get("q", 0, lambda: 1 // 0)
    assert answers.get("q", 0, lambda: 7) == 7


# Completion


def test_names(core: Core) -> None:
    assert keyword_names(core, "tar") == ["TARGNAME", "start_time"]
    assert keyword_names(core, "DET") == ["detector"]
    assert keyword_names(core, "number") == ["NUMBER"]
    begin = keyword_names(core, "n", limit=100)
    assert begin[:3] == ["name", "ngroups", "nints"]
    assert begin.index("NUMBER") < begin.index("instrument")
    assert len(keyword_names(core, "", limit=7)) == 7
    assert keyword_names(core, "no such") == []
    assert len({name.lower() for name in keyword_names(core, "", 1000)}) == len(keyword_names(core, "", 1000))


def test_values(core: Core) -> None:
    assert keyword_values(core, "detector") == ["MIRIFULONG", "MIRIFUSHORT", "MIRIMAGE"]
    assert keyword_values(core, "DETECTOR", "MIRIM") == ["MIRIMAGE"]
    assert keyword_values(core, "TARGNAME") == ["HD 15318", "a'b", 'c"d%']
    assert keyword_values(core, "TARGNAME", "c") == ['c"d%']
    assert keyword_values(core, "NUMBER") == [0, 1, 2, 3, 4]
    assert keyword_values(core, "ngroups", "2") == [20]
    assert keyword_values(core, "FLAG") == [False, True]
    assert keyword_values(core, "MIXED") == [-1, 2.5, 3, False, True, "Seven", "seven", "2024-01-02T03:04:05"]
    assert keyword_values(core, "kind") == ["Ramp", "Rate", "RateInts"]
    assert keyword_values(core, "name", "it's 1") == ["it's 1"]
    assert keyword_values(core, "tags") == ['it\'s "fine"', "using cal v1"]
    assert keyword_values(core, "NUMBER", limit=2) == [0, 1]
    assert keyword_values(core, "created") == keyword_values(core, "urn") == keyword_values(core, "NOTHING") == []


def test_a_table_without_a_condition_has_no_sample(core: Core) -> None:
    scope = pages.Scope(None, core.name, ("Rate",))
    with pytest.raises(TypeError):
        pages.Table(core.catalog, scope, core.catch_up(), 10).sample()
    assert pages.Table(core.catalog, scope, core.catch_up(), 10).serials(["FLAG"], names=dictionary(), limit=None)
    assert Keyword(None, "FLAG") == Keyword(None, "FLAG")
