"""A pool of 100,000 products: how long questions to its index take."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from homes import write_image
from manifests import make_header
from timing import in_turns, timed

from miripool import Pool
from miripool.pool.core import core_of
from miripool.store.journal import Entry, Journal, Save
from miripool.store.manifest import HduRecord, Manifest

PRODUCTS = 100_000
RICH = 10_000
"""Products with 200 keywords; the others have 10."""

QUESTION = "KEY017 > 0.5 and KEY042 == 'value 3' and 100 <= KEY100 < 200"
"""Half of the rich products, a tenth of them, a fifth of them: 100 in all (see `cards`)."""


def cards(i: int) -> dict[str, object]:
    found: dict[str, object] = {"INSTRUME": "MIRI", "DETECTOR": "MIRIMAGE", "NGROUPS": 5 + i % 100, "NINTS": 1 + i % 7}
    for k in range(len(found), 200 if i < RICH else 10):
        found[f"KEY{k:03d}"] = f"value {i // 7 % (k + 1)}" if k % 3 == 0 else round((i * (k + 1) % 1009) / 1009, 6)
    if i < RICH:
        found |= {"KEY017": i % 2, "KEY042": f"value {i // 2 % 10}", "KEY100": 100 * (i // 20 % 5) + i // 100 % 40}
    return found


def entries() -> Iterator[Entry]:
    previous = None
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for i in range(PRODUCTS):
        save = Save(i, "Ramp", f"jw{i:08d}_mirimage", 0, f"{i:032x}", f"{i:032x}", 1000)
        entry = Entry(i, start + timedelta(seconds=i), previous, (save,), i + 1, i + 1).sealed()
        previous = entry.digest
        yield entry


def manifest(digest: str) -> Manifest:
    i = int(digest, 16)
    return Manifest("Ramp", f"jw{i:08d}_mirimage", (HduRecord(make_header(cards(i)), "PRIMARY", "none"),))


@pytest.fixture
def large(pool: Pool) -> Pool:
    """The index of a journal with these entries; its manifests are made up when they are asked for."""
    journal = pool.path / "journal"
    journal.mkdir()
    for entry in entries():
        (journal / Path(Journal.key(entry.n)).name).write_bytes(entry.to_bytes())
    core_of(pool).archive.manifest = manifest  # type: ignore[assignment]
    core_of(pool).catch_up()
    return pool


def matches(i: int) -> bool:
    values = cards(i)
    return i < RICH and values["KEY017"] == 1 and values["KEY042"] == "value 3" and 100 <= values["KEY100"] < 200  # type: ignore[operator]


def run(*arguments: str) -> Callable[[], None]:
    def call() -> None:
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)

    return call


@pytest.mark.timeout(1800)
def test_questions_to_100_000_products(large: Pool, median: Callable[..., float], figure: Callable[..., None]) -> None:
    expected = [i for i in range(RICH) if matches(i)]
    assert [ref.serial for ref in large.select(QUESTION)] == expected
    seconds = median(lambda: large.select(QUESTION))
    figure(f"three conditions on any keywords, 100,000 products, {len(expected)} match", 1e3 * seconds, "ms")
    listing = median(run("-m", "miripool", "ls", "jpl8", "--limit", "20"), 5)
    figure("`miripool ls --limit 20`, 100,000 products, the whole process", listing, "s")
    assert seconds < 0.020
    assert listing < 1.5


LIBRARIES = "import typer, sqlalchemy.dialects.postgresql.psycopg2"
"""The yardstick: what commands loaded first before they asked the index without SQLAlchemy."""

WHOLE = {
    "tags": (["tags", "jpl8"], 0.45, 1.25),
    "ls --limit 20": (["ls", "jpl8", "--limit", "20"], 0.45, 1.25),
    "ls --where": (["ls", "jpl8", "--where", "ngroups >= 5 and detector == 'MIRIMAGE'"], 0.7, 2.0),
}
"""Commands, how many seconds each may take as a whole process once all of it is in the kernel's cache, and how many
times the yardstick where the machine is busy."""


def test_commands_as_whole_processes(pool: Pool, tmp_path: Path, figure: Callable[..., None]) -> None:
    pool.save(write_image(tmp_path / "a.fits", {"NGROUPS": 5, "DETECTOR": "MIRIMAGE"}), tag="using cal v1")
    works = {"libraries": run("-c", LIBRARIES)}
    works |= {name: run("-m", "miripool", *arguments) for name, (arguments, *_) in WHOLE.items()}
    libraries, *taken = in_turns(11, *map(timed, works.values()))
    figure("importing SQLAlchemy, psycopg2 and typer, a process", libraries, "s")
    for (name, (_, most, times)), seconds in zip(WHOLE.items(), taken, strict=True):
        figure(f"`miripool {name}`, the whole process", seconds, "s", seconds / libraries, "importing those libraries")
        assert seconds < most or seconds < times * libraries


def test_start(median: Callable[..., float], figure: Callable[..., None], tmp_path: Path) -> None:
    bare = median(run("-c", "pass"), 9)
    imported = median(run("-c", "import miripool"), 9)
    help_ = median(run("-m", "miripool", "--help"), 9)
    figure("`import miripool`, beyond Python's own start", imported - bare, "s")
    figure("`miripool --help`, the whole process", help_, "s", help_ / bare, "python -c pass")
    assert imported - bare < 0.15
    assert help_ < 0.4
