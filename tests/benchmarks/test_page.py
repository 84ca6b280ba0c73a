"""A table of 1,000,000 products: how long its pages, facets and completions take, alone and with twenty readers.

Making the pool takes some minutes. ``MIRIPOOL_MILLION`` names a home that has it; it is not changed. Make it by
``PYTHONPATH=tests python tests/benchmarks/million.py HOME million 1000000``.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from million import make_million

from miripool import Home, Pool
from miripool.index import page as pages
from miripool.index.catalog import Catalog
from miripool.index.kept import Answers
from miripool.index.rows import NEWEST_FIRST
from miripool.pool.core import Core, core_of
from miripool.pool.page import facets, keyword_names, keyword_values, page
from miripool.store.journal import Journal

NAME = "million"
PRODUCTS = 1_000_000
LIMIT = 1.0
"""Seconds that a page may take."""

ORDERS = (
    *("created", "name", "start_time", "bytes", "obs_id", "detector", "filter", "subarray", "readpatt", "exp_type"),
    *("nints", "ngroups", "kind", "crds_ctx", "stored_bytes"),
)
FACETS = ("kind", "detector", "filter", "subarray", "readpatt", "exp_type", "channel", "band")
PREDICATES = {
    "narrow: one keyword, 925 match": "BITE > 0.999",
    "narrow: a program, 1,592 match": "PROGRAM == '01100'",
    "wide: a column, 60,000 match": "detector == 'MIRIMAGE' and filter == 'F770W'",
    "wide: a keyword, half match": "BITE > 0.5",
    "wide: three keywords, 90,000 match": "BITE > 0.5 and ngroups >= 20 and TARGNAME == 'HD 15318'",
    "wide: a statistic of the data": "p.data.max() > 1500",
    "wide: only the oldest match": "EXPSTART < 59900",
}
READERS, EVERY, SECONDS = 20, 3.0, 45.0


@pytest.fixture(scope="module")
def million(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    kept = os.environ.get("MIRIPOOL_MILLION")
    home = Home(kept) if kept else Home(tmp_path_factory.mktemp("million"))
    with home.pool(NAME) if kept else make_million(home, NAME, PRODUCTS) as pool:
        page(core_of(pool))
        yield pool
    if not kept:
        home.server.remove()


@pytest.fixture
def core(million: Pool) -> Iterator[Core]:
    """The pool, with nothing kept of earlier answers."""
    with mock.patch.object(pages, "_answers", Answers(512)):
        yield core_of(million)


def timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def twice(function: Callable[[], object]) -> tuple[float, float]:
    return timed(function), timed(function)


@pytest.mark.timeout(3600)
def test_it_is_read_as_any_pool(million: Pool) -> None:
    core = core_of(million)
    position = core.catch_up()
    assert not core.archive.storage.exists(Journal.key(position.n + 1))
    assert page(core).total > 900_000
    assert million.select("1", limit=3)[0].product.meta["DETECTOR"].value == "MIRIMAGE"
    newest = page(core, limit=1).rows[0]
    assert core.load_version(newest)["SCI"].shape == (16, 16)


@pytest.mark.timeout(600)
def test_pages(core: Core, figure: Callable[..., None]) -> None:
    first, again = twice(lambda: page(core))
    figure("first page, newest first, nothing kept", 1e3 * first, "ms")
    figure("first page again", 1e3 * again, "ms")
    worst = {"first": first, "again": again}
    middle = page(core).total // 2
    for order in ORDERS:
        for key in (order, f"-{order}"):
            begin, begin_again = twice(lambda: page(core, order=key))  # noqa: B023
            deep, deep_again = twice(lambda: page(core, order=key, offset=middle))  # noqa: B023
            if key == order:
                figure(f"sorted by {order}: first page, first time", 1e3 * begin, "ms")
                figure(f"sorted by {order}: first page again", 1e3 * begin_again, "ms")
                figure(f"sorted by {order}: page in the middle, first time", 1e3 * deep, "ms")
                figure(f"sorted by {order}: page in the middle again", 1e3 * deep_again, "ms")
            worst[key] = max(begin, begin_again, deep, deep_again)
    slowest = max(worst, key=worst.__getitem__)
    figure(f"slowest page of all, {slowest}", 1e3 * worst[slowest], "ms")
    for key in ("TARGNAME", "BITE"):
        figure(f"sorted by the keyword {key}: first page", 1e3 * timed(lambda: page(core, order=key)), "ms")  # noqa: B023
        seconds = timed(lambda: page(core, order=key, offset=middle))  # noqa: B023
        figure(f"sorted by the keyword {key}: page in the middle", 1e3 * seconds, "ms")
    assert worst[slowest] < LIMIT


@pytest.mark.timeout(600)
def test_facets(core: Core, figure: Callable[..., None]) -> None:
    first, again = twice(lambda: facets(core, columns=FACETS))
    figure(f"{len(FACETS)} facets of all products, first time", 1e3 * first, "ms")
    figure(f"{len(FACETS)} facets of all products again", 1e3 * again, "ms")
    for column in ("tags", "TARGNAME", "PROGRAM", "obs_id"):
        seconds = timed(lambda: facets(core, columns=[column]))  # noqa: B023
        figure(f"facet {column} of all products, first time", 1e3 * seconds, "ms")
        assert seconds < LIMIT
    assert first < LIMIT
    assert again < 0.05


@pytest.mark.timeout(600)
def test_predicates(core: Core, figure: Callable[..., None]) -> None:
    for what, query in PREDICATES.items():
        page(core, query, limit=0)  # parsed, and its keywords known
        with mock.patch.object(pages, "_answers", Answers(512)):
            first, again = twice(lambda: page(core, query))  # noqa: B023
            by_size = timed(lambda: page(core, query, order="bytes"))  # noqa: B023
            deep = timed(lambda: page(core, query, offset=9_000))  # noqa: B023
            counted = timed(lambda: facets(core, query, columns=FACETS))  # noqa: B023
        figure(f"{what}: first page, first time", 1e3 * first, "ms")
        figure(f"{what}: first page again", 1e3 * again, "ms")
        figure(f"{what}: sorted by size", 1e3 * by_size, "ms")
        figure(f"{what}: page at 9,000", 1e3 * deep, "ms")
        figure(f"{what}: {len(FACETS)} facets", 1e3 * counted, "ms")


def test_completion(core: Core, figure: Callable[..., None], median: Callable[..., float]) -> None:
    for key, prefix in (("TARGNAME", ""), ("PROGRAM", "01"), ("BITE", ""), ("name", "jw0110"), ("tags", "")):
        assert keyword_values(core, key, prefix)
        seconds = median(lambda: keyword_values(core, key, prefix))  # noqa: B023
        figure(f"values of {key} that begin with {prefix!r}", 1e3 * seconds, "ms")
        assert seconds < 0.1
    figure("names of keywords", 1e3 * median(lambda: keyword_names(core, "d")), "ms")


def _request(core: Core, chance: random.Random) -> None:
    """Ask what a reader may ask next."""
    kind = chance.random()
    if kind < 0.4:
        page(core, offset=100 * chance.randrange(9_000) if chance.random() < 0.3 else 100 * chance.randrange(10))
    elif kind < 0.7:
        page(core, order=chance.choice(("", "-")) + chance.choice(ORDERS), offset=100 * chance.randrange(9_000))
    elif kind < 0.85:
        page(core, chance.choice(list(PREDICATES.values())), offset=100 * chance.randrange(5))
    else:
        facets(core, chance.choice(("1", *PREDICATES.values())), columns=FACETS)


@pytest.mark.timeout(600)
def test_twenty_readers(core: Core, figure: Callable[..., None]) -> None:
    """Threads of one process, as in a server: a request each every three seconds."""
    taken: list[float] = []
    failed: list[BaseException] = []

    def read(seed: int) -> None:
        chance = random.Random(seed)
        time.sleep(EVERY * seed / READERS)
        end = time.monotonic() + SECONDS
        try:
            while time.monotonic() < end:
                began = time.monotonic()
                _request(core, chance)
                taken.append(time.monotonic() - began)
                time.sleep(max(0.0, EVERY - taken[-1]))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(READERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    taken.sort()
    p95 = taken[int(0.95 * len(taken))]
    figure(
        f"{READERS} readers, a request each every {EVERY:g} s, {len(taken)} requests: median",
        1e3 * taken[len(taken) // 2],
        "ms",
    )
    figure(f"{READERS} readers: 95 of 100 requests take less than", 1e3 * p95, "ms")
    figure(f"{READERS} readers: slowest request", 1e3 * taken[-1], "ms")
    assert p95 < LIMIT


PAST_LIMIT = 0.3
"""Seconds that the index may take for the latest 20 products as of a moment."""
PAST = {"heads": {}, "of a kind": {"kinds": ["Rate"]}, "of a tag": {"tag": "using cal v2"}}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("place", [0.1, 0.5, 0.9, 1.0])
def test_as_of(million: Pool, place: float, figure: Callable[..., None]) -> None:
    """What ``miripool ls --as-of … --limit 20`` asks, at moments through the whole journal, beside the same now."""
    last = core_of(million).archive.journal.last()
    million.as_of(last).close()  # the past of an index that an older miripool made is there from now on
    now = core_of(million).catalog
    with million.as_of(round(last * place)) as past:
        then = core_of(past).catalog
        for name, wanted in PAST.items():

            def ask(catalog: Catalog, wanted: dict[str, Any] = wanted) -> None:
                assert len(catalog.rows(catalog.serials(order=NEWEST_FIRST, limit=20, **wanted))) == 20

            first, again = twice(lambda ask=ask: ask(then))
            present = min(twice(lambda ask=ask: ask(now)))
            figure(f"latest 20 {name}, as of {place:.0%} of the journal", first, "s", again / present, "the same now")
            assert first <= PAST_LIMIT, name
