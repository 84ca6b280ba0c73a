"""What happened in a pool: the feed of changes, and the log since a time by writers whose clocks differ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import homes
import numpy as np
import pytest
from homes import call
from replay import journal_of

from miripool import Home, Pool, Rate
from miripool.errors import Conflict, IntegrityError, InvalidInput
from miripool.pool.core import core_of
from miripool.pool.events import events
from miripool.store.journal import Journal, Tag

home = homes.home


def save(pool: Pool, name: str, value: int = 0, tag: str | None = None) -> None:
    pool.save(Rate({}, {"SCI": np.full((3, 4), value, "f4")}, name=name), tag=tag, pixels=False)


@pytest.fixture
def filled(pool: Pool) -> Pool:
    save(pool, "a", tag="x")
    save(pool, "b")
    pool.tag(pool.select(), "y")
    pool.remove("Rate/a")
    pool.restore("Rate/a")
    pool.untag("x")
    return pool


def test_all_that_happened(filled: Pool) -> None:
    """Each entry is one change, with all that it did."""
    told = [(c.entry, [(e.what, e.label, e.serials) for e in c.events]) for c in filled.changes()]
    assert told == [
        (0, [("saved", None, (0,)), ("tagged", "x", (0,))]),
        (1, [("saved", None, (1,))]),
        (2, [("tagged", "y", (0, 1))]),
        (3, [("removed", None, (0,))]),
        (4, [("restored", None, (0,))]),
        (5, [("untagged", "x", (0,))]),
    ]
    for change, entry in zip(filled.changes(), journal_of(filled.path), strict=True):
        assert change.time == datetime.fromisoformat(entry["time"])
        assert change.by == f"{entry['user']}@{entry['host']}"
        assert {(e.entry, e.time, e.by) for e in change.events} == {(change.entry, change.time, change.by)}


def test_a_reader_goes_on_where_it_was(filled: Pool) -> None:
    """It keeps the number of the last change that it handled; the pool is opened again in between."""
    known, last = [], None
    while new := next(iter(filled.changes(last)), None):
        known.append(new)
        last = new.entry
        filled.close()
    assert known == list(filled.changes())
    assert list(filled.changes(after=5)) == []
    save(filled, "c")
    assert [change.entry for change in filled.changes(after=5)] == [6]


def test_it_ends_where_the_journal_ended(home: Home, filled: Pool) -> None:
    changes = filled.changes(after=3)
    with home.pool("jpl8") as other:
        save(other, "c")
    assert [change.entry for change in changes] == [4, 5]


def test_versions_can_be_looked_at(filled: Pool) -> None:
    filled.remove("Rate/b")
    *_, saved = (event for change in filled.changes() for event in change.events if event.what == "saved")
    assert [(ref.urn, ref.removed is not None) for ref in saved.refs] == [("urn:jpl8:Rate:1", True)]


def test_nothing_happened_yet(pool: Pool) -> None:
    assert list(pool.changes()) == []
    with pytest.raises(Conflict, match="the journal of pool jpl8 has no entry 0: it has no entries"):
        pool.changes(after=0)


def test_numbers_that_are_none(filled: Pool) -> None:
    with pytest.raises(Conflict, match="has no entry 6: its last entry is 5"):
        filled.changes(after=6)
    for wrong in (-1, True, "3", 2.0):
        with pytest.raises(InvalidInput, match="is not the number of a journal entry"):
            filled.changes(wrong)  # type: ignore[arg-type]


def test_a_lost_entry(filled: Pool) -> None:
    core_of(filled).archive.storage.delete(Journal.key(2))
    seen = []
    with pytest.raises(IntegrityError, match=r"000000000002\.json is missing"):
        seen.extend(change.entry for change in filled.changes())
    with pytest.raises(IntegrityError):
        list(filled.changes(after=1))
    assert [change.entry for change in filled.changes(after=3)] == [4, 5]


# Times by clocks that differ

START = datetime(2026, 5, 1, tzinfo=UTC)


def write_at(pool: Pool, hours: Sequence[int]) -> None:
    """Write an entry at each of some hours after the start, by whatever clock."""
    journal = core_of(pool).archive.journal
    for place, hour in enumerate(hours):
        last = journal.read(journal.last())
        entry = journal.next_entry(last, [Tag(f"{place}", (0,))])
        assert journal.write(replace(entry, time=START + timedelta(hours=hour)).sealed())


@pytest.mark.parametrize("hours", [[0, 1, 2, 3], [0, 5, 1, 2, 6, 3], [3, 0, 0], [0, 0, 7], [9, 1, 2, 3, 1, 2], [5, 5]])
def test_a_time_counts_as_the_latest_so_far(pool: Pool, hours: list[int]) -> None:
    save(pool, "a")
    first = core_of(pool).archive.journal.read(0)
    later = [round((first.time - START) / timedelta(hours=1)) + 1 + hour for hour in hours]
    write_at(pool, later)
    counts = [max(later[: place + 1]) for place in range(len(later))]
    for hour in range(min(later), max(later) + 2):
        since = START + timedelta(hours=hour)
        expected = [str(place) for place, time in enumerate(counts) if time >= hour][::-1]
        assert [event.label for event in events(core_of(pool), since=since)] == expected
        assert [event.label for event in events(core_of(pool), since=since, limit=2)] == expected[:2]
        told = json.loads(call("log", "jpl8", "--since", since.isoformat(), "--json").stdout)
        assert [event["tag"] for event in told] == expected[::-1]
