"""A pool of 1,000,000 products: questions, listings and saves take about as long as in a small one."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from manifests import make_header
from postgresql import reachable_folder

from miripool import Home, Pool, RateInts
from miripool.index.apply import ANALYZED
from miripool.index.harvest import COLUMNS, Lines
from miripool.index.schema import keyword, product
from miripool.pool.core import core_of
from miripool.store.journal import Entry, Journal, Save, Tag
from miripool.store.manifest import HduRecord, Manifest

PRODUCTS = 1_000_000
RICH = 10_000
"""Products with 200 keywords; the others have 10."""
PER_ENTRY = 1000
TAGGED = 10
"""Every so many-th product has the tag."""
LABEL = "using cal v1"
EXPOSURES = 1000
"""With pixel rows, beside the products."""
START = datetime(2026, 1, 1, tzinfo=UTC)

QUESTIONS: dict[str, tuple[str, Callable[[dict[str, Any]], bool]]] = {
    "0.1 %, 14 % and 40 % of all": (
        "KEY004 < 0.0005 and KEY006 == 'value 3' and 20 <= NGROUPS < 60",
        lambda c: c["KEY004"] < 0.0005 and c["KEY006"] == "value 3" and 20 <= c["NGROUPS"] < 60,
    ),
    "0.1 % (an equal number), 29 % and 50 % of all": (
        "KEY007 == 0.004955 and KEY006 like 'value [1-2]' and KEY008 > 0.5",
        lambda c: c["KEY007"] == 0.004955 and c["KEY006"] in ("value 1", "value 2") and c["KEY008"] > 0.5,
    ),
    "0.5 %, 0.1 % and 0.2 %, keywords of the rich": (
        "KEY017 > 0.5 and KEY042 == 'value 3' and 100 <= KEY100 < 200",
        lambda c: c.get("KEY042") == "value 3" and c["KEY017"] == 1 and 100 <= c["KEY100"] < 200,
    ),
    "50 %, 14 % and 0.1 %, the rare one last": (
        "KEY005 >= 0.5 and KEY006 == 'value 3' and KEY042 == 'value 3'",
        lambda c: c.get("KEY042") == "value 3" and c["KEY005"] >= 0.5 and c["KEY006"] == "value 3",
    ),
    "0.1 % that nothing else holds for": (
        "KEY004 < 0.0005 and KEY006 == 'value 3' and NGROUPS > 1000",
        lambda _: False,
    ),
}
"""Three conditions each; one at least leaves 0.1 % of the products."""


def cards(i: int) -> dict[str, float | str]:
    found: dict[str, float | str] = {
        "INSTRUME": "MIRI",
        "DETECTOR": "MIRIMAGE",
        "NGROUPS": 5 + i % 100,
        "NINTS": 1 + i % 7,
    }
    for k in range(len(found), 200 if i < RICH else 10):
        found[f"KEY{k:03d}"] = f"value {i // 7 % (k + 1)}" if k % 3 == 0 else round((i * (k + 1) % 1009) / 1009, 6)
    if i < RICH:
        found |= {"KEY017": i % 2, "KEY042": f"value {i // 2 % 10}", "KEY100": 100 * (i // 20 % 5) + i // 100 % 40}
    return found


def manifest(digest: str) -> Manifest:
    i = int(digest, 16)
    return Manifest("Ramp", f"jw{i:08d}_mirimage", (HduRecord(make_header(cards(i)), "PRIMARY", "none"),))


def entries() -> Iterator[Entry]:
    previous = None
    actions: tuple[Save | Tag, ...]
    for n in range(PRODUCTS // PER_ENTRY + 1):
        serials = range(n * PER_ENTRY, min((n + 1) * PER_ENTRY, PRODUCTS))
        actions = tuple(Save(i, "Ramp", f"jw{i:08d}_mirimage", 0, f"{i:032x}", f"{i:032x}", 1000) for i in serials) or (
            Tag(LABEL, tuple(range(0, PRODUCTS, TAGGED))),
        )
        versions = min((n + 1) * PER_ENTRY, PRODUCTS)
        entry = Entry(n, START + timedelta(seconds=n), previous, actions, versions, versions).sealed()
        previous = entry.digest
        yield entry


def keyword_lines() -> Iterator[bytes]:
    lines: list[str] = []
    for i in range(PRODUCTS):
        for key, value in cards(i).items():
            typed = f"\\N\t{value}" if isinstance(value, str) else f"{value!r}\t\\N"
            lines.append(f"{i}\t0\tPRIMARY\t{key}\t0\tt\t{typed}\t\\N\t\\N\n")
        if len(lines) > 10_000:
            yield "".join(lines).encode()
            lines.clear()
    yield "".join(lines).encode()


def product_lines() -> Iterator[bytes]:
    for first in range(0, PRODUCTS, PER_ENTRY):
        entry = first // PER_ENTRY
        moment = (START + timedelta(seconds=entry)).isoformat()
        lines = []
        for i in range(first, first + PER_ENTRY):
            row = dict.fromkeys(COLUMNS["product"], "\\N")
            row |= {"serial": str(i), "kind": "Ramp", "name": f"jw{i:08d}_mirimage", "version": "0", "head": "t"}
            row |= {"created": moment, "entry": str(entry), "manifest": f"{i:032x}", "content": f"{i:032x}"}
            row |= {
                "bytes": str(17_280 if i < RICH else 2880),
                "stored_bytes": "1000",
                "instrument": "MIRI",
                "detector": "MIRIMAGE",
            }
            row |= {"ngroups": str(5 + i % 100), "nints": str(1 + i % 7)}
            lines.append("\t".join(row.values()) + "\n")
        yield "".join(lines).encode()


def fill(pool: Pool) -> None:
    """Write what taking in a journal of these entries writes, the quick way; the manifests are made up when asked for.

    `test_the_quick_way_is_the_real_one` holds it against the product's own way.
    """
    journal = pool.path / "journal"
    journal.mkdir(exist_ok=True)
    for entry in entries():
        (journal / Path(Journal.key(entry.n)).name).write_bytes(entry.to_bytes())
    real = core_of(pool).archive.manifest

    def find(digest: str) -> Manifest:
        return manifest(digest) if int(digest, 16) < PRODUCTS else real(digest)

    core_of(pool).archive.manifest = find  # type: ignore[method-assign]
    database = core_of(pool).catalog.database
    found = "SELECT format('DROP INDEX %%s', indexrelid::regclass), pg_get_indexdef(indexrelid) FROM pg_index "
    names = sorted({key for i in (0, RICH) for key in cards(i)})
    with database.write() as connection:
        table = database.table(keyword.name)
        indexes = connection.exec_driver_sql(f"{found} WHERE indrelid = '{table}'::regclass AND NOT indisprimary").all()
        database.run(connection, "; ".join([f"TRUNCATE {table}", *(drop for drop, _ in indexes)]))
        database.copy(connection, keyword.name, COLUMNS[keyword.name], Lines(keyword_lines()))
        database.copy(connection, product.name, COLUMNS[product.name], Lines(product_lines()))
        database.run(connection, "; ".join(make for _, make in indexes))
        database.run(
            connection,
            f"INSERT INTO keyword_name SELECT unnest('{{{','.join(names)}}}'::text[]), 'PRIMARY';"
            "INSERT INTO exposure SELECT serial + 1, name FROM product;"
            "INSERT INTO corrected_exposure SELECT serial, serial + 1, serial, NULL FROM product;"
            f"INSERT INTO tag SELECT '{LABEL}', kind, name, serial FROM product WHERE serial % {TAGGED} = 0;"
            "INSERT INTO tag_event (entry, time, label, kind, name, serial) "
            f"SELECT {entry.n}, '{entry.time}', label, kind, name, serial FROM tag ORDER BY serial;"
            f"UPDATE pool_state SET applied = {entry.n}, applied_digest = '{entry.digest}', "
            f"next_serial = {PRODUCTS}, products = {PRODUCTS}, analyzed_products = {PRODUCTS}",
        )
    with database.immediately() as connection:
        connection.exec_driver_sql(f"VACUUM (ANALYZE) {', '.join(database.table(name) for name in ANALYZED)}")


@pytest.fixture(scope="module")
def large() -> Iterator[Pool]:
    with pytest.MonkeyPatch.context() as patch, reachable_folder() as folder:
        patch.delenv("MIRIPOOL_DATABASE_URL", raising=False)
        patch.setenv("MIRIPOOL_HOME", str(folder / "home"))
        home = Home()
        with home.create("large") as pool:
            fill(pool)
            yield pool
        home.server.remove()


def run(*arguments: str) -> Callable[[], None]:
    def call() -> None:
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)

    return call


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("what", QUESTIONS)
def test_three_conditions(large: Pool, median: Callable[..., float], figure: Callable[..., None], what: str) -> None:
    question, judge = QUESTIONS[what]
    found = [ref.serial for ref in large.select(question)]
    assert found == [i for i in range(PRODUCTS) if judge(cards(i))]
    seconds = median(lambda: large.select(question), 15)
    figure(f"three conditions, 1,000,000 products: {what}; {len(found)} match", 1e3 * seconds, "ms")
    assert seconds <= 0.050


@pytest.mark.timeout(3600)
def test_listing(large: Pool, median: Callable[..., float], figure: Callable[..., None]) -> None:
    listing = median(run("-m", "miripool", "ls", large.name, "--limit", "20"), 5)
    bare = median(run("-m", "miripool", "ls", "--help"), 5)
    figure("`miripool ls --limit 20`, 1,000,000 products, the whole process", listing, "s", listing / bare, "ls --help")
    assert listing <= 1.5


@pytest.mark.timeout(3600)
def test_pixels_and_saves(large: Pool, median: Callable[..., float], figure: Callable[..., None]) -> None:
    place = {"SUBSTRT1": 5, "SUBSTRT2": 100, "SUBSIZE1": 8, "SUBSIZE2": 8, "DETECTOR": "MIRIMAGE"}
    taken = []
    for number in range(EXPOSURES):
        rates = RateInts(place, {"SCI": np.full((2, 8, 8), number, np.float32)}, name=f"exposure {number:04d}")
        start = time.perf_counter()
        large.save(rates)
        taken.append(time.perf_counter() - start)
    figure("a small product saved with its pixel rows among 1,000,000", 1e3 * statistics.median(taken[-20:]), "ms")
    table = large.pixel(6, 101).history(RateInts)
    assert table["rate"].tolist() == [number for number in range(EXPOSURES) for _ in range(2)]
    seconds = median(lambda: large.pixel(6, 101).history(RateInts), 15)
    figure(f"one pixel's rates through {EXPOSURES} exposures among 1,000,000 products", 1e3 * seconds, "ms")
    assert seconds <= 0.150


def test_the_quick_way_is_the_real_one(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.PRODUCTS", 2000)
    monkeypatch.setattr(f"{__name__}.RICH", 20)
    fill(pool)
    n, differing = core_of(pool).catalog.compare_with(
        core_of(pool).archive.journal.since, core_of(pool).archive.manifest, first_serial=0
    )
    assert (n, differing) == (2, [])
