"""Journal: the commit point. Races, damage, and what an entry says."""

from __future__ import annotations

import contextvars
import json
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miripool.errors import IntegrityError, NewerFormat, NotFound
from miripool.model.canonical import canonical_json, digest_bytes
from miripool.store.journal import (
    FORMAT,
    Action,
    Entry,
    Journal,
    Purge,
    Remove,
    Restore,
    Save,
    Tag,
    Untag,
    acting_as,
    user_name,
)
from miripool.store.storage.local import LocalStorage

EXAMPLES = settings(deadline=None, max_examples=150)

NUMBERS = st.integers(0, 2**70)
TEXT = st.text(max_size=20)
SERIALS = st.lists(NUMBERS, max_size=5).map(tuple)
ACTIONS: st.SearchStrategy[Action] = st.one_of(
    st.builds(Save, NUMBERS, TEXT, TEXT, NUMBERS, TEXT, TEXT, NUMBERS),
    st.builds(Tag, TEXT, SERIALS),
    st.builds(Untag, TEXT, SERIALS),
    st.builds(Remove, SERIALS),
    st.builds(Restore, SERIALS),
)
TIMES = st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
_START = (NUMBERS, TIMES, st.none() | TEXT, st.lists(ACTIONS, max_size=4).map(tuple), NUMBERS, NUMBERS)
ENTRIES = st.one_of(
    st.builds(Entry, *_START, form=st.just(1)),
    st.builds(Entry, *_START, user=st.none() | TEXT, host=st.none() | TEXT, nonce=st.none() | TEXT),
).map(Entry.sealed)

TIME = datetime(2026, 1, 2, tzinfo=UTC)
SAVE = Save(3, "Ramp", "jw01033005001_03103_00001_mirimage", 1, "a" * 32, "b" * 32, 1234)
EVERY = (
    SAVE,
    Tag("using cal \u00e9", (3, 4)),
    Untag("using cal v1", (3,)),
    Remove((1, 2)),
    Restore((1,)),
    Purge((2,)),
)


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path)


@pytest.fixture
def journal(storage: LocalStorage) -> Journal:
    return Journal(storage)


def append(journal: Journal, last: Entry | None, actions: Sequence[Action]) -> Entry | None:
    entry = journal.next_entry(last, actions)
    return entry if journal.write(entry) else None


def written(journal: Journal, count: int) -> list[Entry]:
    entries: list[Entry] = []
    for n in range(count):
        entry = append(journal, entries[-1] if n else None, [Remove((n,))])
        assert entry is not None
        entries.append(entry)
    return entries


# The latest entry


def test_the_latest_entry_is_read_once(
    journal: Journal, storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = written(journal, 2)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "read", None)
        assert journal.latest(1) is second
    assert journal.latest(0) == first
    with monkeypatch.context() as patch:
        patch.setattr(storage, "read", None)
        assert journal.latest(0) == first


def test_a_latest_entry_that_was_changed_is_read_again(journal: Journal, storage: LocalStorage) -> None:
    (last,) = written(journal, 1)
    path = storage.root / journal.key(0)
    path.write_bytes(path.read_bytes().replace(b'"remove"', b'"restor"'))
    with pytest.raises(IntegrityError):
        journal.latest(0)
    path.unlink()
    with pytest.raises(NotFound):
        journal.latest(0)
    other = Journal(storage)
    assert append(other, None, [Remove((7,))]) is not None
    assert journal.latest(0) != last


# Entries


@pytest.mark.slow
@EXAMPLES
@given(ENTRIES)
def test_round_trip(entry: Entry) -> None:
    back = Entry.from_bytes(entry.to_bytes(), "journal/0.json")
    assert back == entry
    assert [type(a) for a in back.actions] == [type(a) for a in entry.actions]


def test_every_action_has_a_round_trip() -> None:
    assert {type(a) for a in EVERY} == set(Action.__args__)  # type: ignore[attr-defined]
    entry = Entry(7, datetime(2026, 1, 2, 3, 4, 5, 678, UTC), "c" * 32, EVERY, 5, 4).sealed()
    assert Entry.from_bytes(entry.to_bytes(), "x") == entry


def test_text_of_an_entry_does_not_drift() -> None:
    entry = Entry(7, datetime(2026, 1, 2, 3, 4, 5, 678, UTC), "c" * 32, EVERY[:2], 5, 4, form=1).sealed()
    text = (
        '{"actions":[{"content":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","do":"save","kind":"Ramp",'
        '"manifest":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","name":"jw01033005001_03103_00001_mirimage","serial":3,'
        '"stored_bytes":1234,"version":1},{"do":"tag","label":"using cal \u00e9","serials":[3,4]}],'
        '"digest":"69e54b4c7a3a4b3a22eb4f360768401f","format":1,"n":7,"next_serial":5,'
        '"previous":"cccccccccccccccccccccccccccccccc","time":"2026-01-02T03:04:05.000678+00:00","versions":4}'
    )
    assert entry.to_bytes().decode() == text
    assert Entry.from_bytes(text.encode(), "x") == entry
    assert entry.by is None
    signed = replace(entry, form=2, user="ana", host="mirihost", nonce="0123456789abcdef").sealed()
    assert signed.to_bytes().decode() == (
        text.replace("69e54b4c7a3a4b3a22eb4f360768401f", signed.digest)
        .replace('"format":1,', '"format":2,"host":"mirihost",')
        .replace('"next_serial":5,', '"next_serial":5,"nonce":"0123456789abcdef",')
        .replace('+00:00",', '+00:00","user":"ana",')
    )
    assert signed.by == "ana@mirihost"


def test_no_two_entries_are_alike() -> None:
    one, other = (Journal.next_entry(None, [Remove((1,))]) for _ in range(2))
    assert one.nonce != other.nonce
    assert (one.user, one.host) == (user_name(), socket.gethostname())
    assert one.by == f"{user_name()}@{socket.gethostname()}"


def test_acting_as_somebody() -> None:
    """In one context, which a thread takes over if it is given it; others keep their own name."""

    def user() -> str | None:
        return Journal.next_entry(None, [Remove((1,))]).user

    with ThreadPoolExecutor(1) as thread:
        with acting_as("zo\u00eb \ud800"):
            assert user() == "zo\u00eb \\ud800"
            assert thread.submit(user).result() == user_name()
            assert thread.submit(contextvars.copy_context().run, user).result() == user()
            with acting_as("anna"):
                assert user() == "anna"
            assert user() != "anna"
        assert (user(), thread.submit(user).result()) == (user_name(), user_name())


def test_time_of_another_zone_is_written_in_utc() -> None:
    zone = timezone(timedelta(hours=-5))
    there = Entry(0, datetime(2026, 1, 1, 20, tzinfo=zone), None, (), 0, 0).sealed()
    here = Entry(0, datetime(2026, 1, 2, 1, tzinfo=UTC), None, (), 0, 0).sealed()
    assert there.to_bytes() == here.to_bytes()


def test_digest_depends_on_everything() -> None:
    base = Entry(1, datetime(2026, 1, 1, tzinfo=UTC), "p", (Tag("a", (1, 2)),), 5, 4)
    others = [
        replace(base, n=2),
        replace(base, time=base.time + timedelta(microseconds=1)),
        replace(base, previous=None),
        replace(base, actions=(Untag("a", (1, 2)),)),
        replace(base, actions=(Tag("a", (2, 1)),)),
        replace(base, actions=(Tag("a", (1,)), Tag("a", (2,)))),
        replace(base, next_serial=6),
        replace(base, versions=5),
        replace(base, user="ana"),
        replace(base, host="mirihost"),
        replace(base, nonce="00"),
        replace(base, form=1),
    ]
    assert len({e.sealed().digest for e in [base, *others]}) == 1 + len(others)


def test_every_flipped_bit_is_found() -> None:
    data = Entry(7, datetime(2026, 1, 2, tzinfo=UTC), "c" * 32, EVERY, 5, 4).sealed().to_bytes()
    for position in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises((IntegrityError, NewerFormat), match="the-entry"):
            Entry.from_bytes(bytes(damaged), "the-entry")


def test_every_truncation_is_found() -> None:
    data = Entry(7, datetime(2026, 1, 2, tzinfo=UTC), None, EVERY, 5, 4).sealed().to_bytes()
    for length in range(len(data)):
        with pytest.raises(IntegrityError, match="the-entry"):
            Entry.from_bytes(data[:length], "the-entry")


def forged(**changes: Any) -> bytes:
    """Write an entry with another content and the digest that goes with it."""
    content = Entry(0, datetime(2026, 1, 2, tzinfo=UTC), None, EVERY, 5, 4)._content() | changes
    return canonical_json({**content, "digest": digest_bytes(canonical_json(content))})


def test_forging_is_otherwise_right() -> None:
    assert Entry.from_bytes(forged(), "x").actions == EVERY


@pytest.mark.parametrize("version", [FORMAT + 1, 10**30])
def test_newer_format(version: int) -> None:
    with pytest.raises(NewerFormat, match=rf"the-entry has format {version}, .* update miripool"):
        Entry.from_bytes(forged(format=version, actions="told otherwise"), "the-entry")


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "1"},
        {"format": True},
        {"format": None},
        {"format": 0},
        {"n": -1},
        {"next_serial": -1},
        {"next_serial": "5"},
        {"versions": None},
        {"versions": 4.0},
        {"user": 3},
        {"host": []},
        {"nonce": 0.5},
        {"n": 0.0},
        {"n": "0"},
        {"n": False},
        {"previous": 3},
        {"time": "2026-01-02T00:00:00"},
        {"time": "yesterday"},
        {"time": 0},
        {"time": "0001-01-01T00:00:00.000000+14:00"},
        {"time": "9999-12-31T23:59:59.000000-14:00"},
        {"actions": None},
        {"actions": [None]},
        {"actions": ["save"]},
        {"actions": [[]]},
        {"actions": [{}]},
        {"actions": [{"do": "vanish"}]},
        {"actions": [{"do": ["save"]}]},
        {"actions": [{"do": "tag", "label": "a"}]},
        {"actions": [{"do": "tag", "label": "a", "serials": "12"}]},
        {"actions": [{"do": "tag", "label": "a", "serials": [1.0]}]},
        {"actions": [{"do": "tag", "label": "a", "serials": [True]}]},
        {"actions": [{"do": "tag", "label": "a", "serials": [-1]}]},
        {"actions": [{"do": "tag", "label": None, "serials": []}]},
        {"actions": [{"do": "tag", "label": "a", "serials": [], "more": 1}]},
        {"surplus": 1},
    ],
)
def test_hostile_entries_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError, match="the-entry"):
        Entry.from_bytes(forged(**changes), "the-entry")


@pytest.mark.parametrize(
    "action",
    [
        replace(SAVE, serial=1 << 63),
        replace(SAVE, version=1 << 31),
        replace(SAVE, stored_bytes=1 << 63),
        replace(SAVE, name="a\0b"),
        replace(SAVE, kind="a\0b"),
        replace(SAVE, content="a\0b"),
        replace(SAVE, manifest="../../x"),
        Tag("a\0b", (3,)),
        Untag("a\0b", (3,)),
        Remove((3, 1 << 63)),
        Restore((1 << 64,)),
        Purge((1 << 70,)),
    ],
)
def test_what_no_index_can_hold_is_refused(journal: Journal, storage: LocalStorage, action: Action) -> None:
    """Other words than PostgreSQL's, which name the entry."""
    storage.put(journal.key(0), forged(actions=Entry(0, TIME, None, (action,), 0, 0)._content()["actions"]))
    with pytest.raises(IntegrityError, match=r"journal/000000000000\.json says '.*', which is impossible"):
        journal.read(0)


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"3", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"format":1}'])
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="the-entry can't be read"):
        Entry.from_bytes(data, "the-entry")


def test_another_spelling_of_the_same_entry_is_damage() -> None:
    record = json.loads(forged())
    with pytest.raises(IntegrityError):
        Entry.from_bytes(json.dumps(record, indent=1).encode(), "x")


# The journal


def test_append_and_read(journal: Journal, storage: LocalStorage) -> None:
    before = datetime.now(UTC)
    entry = append(journal, None, EVERY)
    assert entry is not None
    assert (entry.n, entry.previous, entry.actions) == (0, None, EVERY)
    assert before <= entry.time <= datetime.now(UTC)
    assert journal.read(0) == entry
    assert storage.read("journal/000000000000.json") == entry.to_bytes()
    with pytest.raises(NotFound):
        journal.read(1)


def test_a_lost_race_changes_nothing(journal: Journal) -> None:
    first = append(journal, None, [Tag("mine", (1,))])
    assert append(journal, None, [Tag("yours", (2,))]) is None
    assert journal.read(0) == first


def test_one_of_many_wins_each_number(journal: Journal) -> None:
    writers, rounds = 6, 15
    barrier = threading.Barrier(writers)

    def write(i: int) -> list[Entry | None]:
        found, last = [], None
        for n in range(rounds):
            barrier.wait()
            found.append(append(journal, last, [Tag(f"writer {i}", (n,))]))
            barrier.wait()
            last = journal.read(n)
        return found

    with ThreadPoolExecutor(writers) as threads:
        results = list(threads.map(write, range(writers)))
    entries = list(journal.since(-1, None))
    assert len(entries) == rounds
    for n, entry in enumerate(entries):
        winners = [i for i in range(writers) if results[i][n] is not None]
        assert len(winners) == 1
        assert entry == results[winners[0]][n]


class Numbers:
    """A storage that knows which entries there are, and counts who asks."""

    def __init__(self, count: int) -> None:
        self.there = {Journal.key(n) for n in range(count)}
        self.asked = 0

    def exists(self, key: str) -> bool:
        self.asked += 1
        return key in self.there


@pytest.mark.slow
@EXAMPLES
@given(st.integers(0, 3000), st.data())
def test_last_of_any_length(count: int, data: st.DataObject) -> None:
    known = data.draw(st.integers(-1, count - 1))
    numbers = Numbers(count)
    assert Journal(numbers).last(known) == count - 1  # type: ignore[arg-type]
    assert numbers.asked <= 2 * (count - known).bit_length() + 2


def test_since_follows_the_chain(journal: Journal) -> None:
    entries = written(journal, 5)
    assert list(journal.since(-1, None)) == entries
    assert list(journal.since(2, entries[2].digest)) == entries[3:]
    assert list(journal.since(4, entries[4].digest)) == []


def test_since_sees_what_comes_while_it_reads(journal: Journal) -> None:
    entries = written(journal, 2)
    reading = journal.since(-1, None)
    assert next(reading) == entries[0]
    third = append(journal, entries[1], [])
    assert list(reading) == [entries[1], third]


def test_a_broken_chain_stops_where_it_breaks(journal: Journal) -> None:
    entries = written(journal, 2)
    assert journal.write(replace(entries[0], n=2, previous=entries[0].digest).sealed())
    reading = journal.since(-1, None)
    assert [next(reading), next(reading)] == entries
    with pytest.raises(IntegrityError, match=r"000000000002\.json does not follow"):
        next(reading)
    with pytest.raises(IntegrityError, match="does not follow"):
        next(journal.since(0, "of another pool"))


def test_an_exchanged_entry_is_found(journal: Journal, storage: LocalStorage) -> None:
    written(journal, 2)
    storage.replace(Journal.key(1), storage.read(Journal.key(0)))
    with pytest.raises(IntegrityError, match=r"000000000001\.json holds entry 0"):
        journal.read(1)


def test_a_flipped_bit_on_disk_is_found(journal: Journal, storage: LocalStorage) -> None:
    written(journal, 2)
    path = storage.files.path(Journal.key(1))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="restore it from a copy"):
        list(journal.since(-1, None))


def test_keys_sort_as_numbers() -> None:
    keys = [Journal.key(n) for n in (0, 9, 10, 99, 12345, 10**11)]
    assert keys == sorted(keys)


@pytest.mark.parametrize("lost", [{0}, {2}, {0, 1, 2}, {1, 2, 3}, {0, 1, 2, 3, 4, 5}])
def test_a_gap_is_not_the_end(journal: Journal, storage: LocalStorage, lost: set[int]) -> None:
    written(journal, 7)
    for n in lost:
        storage.delete(Journal.key(n))
    with pytest.raises(IntegrityError, match=rf"{min(lost):012d}\.json is missing.* up to 6; restore"):
        list(journal.since(-1, None))


def test_the_loss_of_a_few_is_found_without_a_listing(journal: Journal, storage: LocalStorage) -> None:
    written(journal, 40)
    journal.refuse_gap(39)
    for n in (20, 21, 22):
        storage.delete(Journal.key(n))
        with pytest.raises(IntegrityError, match=r"000000000020\.json is missing"):
            journal.refuse_gap(19)
    journal.refuse_gap(18 - 1)  # 18 is there


def test_other_files_are_no_entries(journal: Journal, storage: LocalStorage) -> None:
    for key in ("journal/000000000003.json.bak", "journal/README", "journal/3.json", "journal/old/000000000003.json"):
        storage.put(key, b"x")
    journal.refuse_gap(-1, thorough=True)


def test_readers_see_no_gap_while_others_write(journal: Journal) -> None:
    done = threading.Event()

    def read() -> int:
        seen = 0
        while not done.is_set():
            seen = max(seen, len(list(journal.since(-1, None))))
        return seen

    with ThreadPoolExecutor(3) as threads:
        readers = [threads.submit(read) for _ in range(3)]
        try:
            written(journal, 150)
        finally:
            done.set()
        assert max(reader.result() for reader in readers) <= 150
