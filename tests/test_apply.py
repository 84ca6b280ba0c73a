from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from manifests import START, Chain, make_header, make_manifest

from miripool.errors import IntegrityError, NotFound
from miripool.index import apply, intake
from miripool.index import schema as tables
from miripool.index.catalog import Catalog
from miripool.index.harvest import fits_size
from miripool.store.journal import Action, Entry, Remove, Restore, Save, Tag, Untag
from miripool.store.manifest import BlobRef, HduRecord, Manifest


@pytest.fixture
def catalog(database_url: str, schema: str) -> Iterator[Catalog]:
    with Catalog.open(database_url, schema=schema, pool_id=f"id of {schema}") as made:
        yield made
        made.drop()


@pytest.fixture
def chain() -> Chain:
    return Chain()


def heads(catalog: Catalog) -> list[int]:
    return [row.serial for row in catalog.select()]


# What entries mean, in the plainest words.


class Model:
    def __init__(self) -> None:
        self.saves: dict[int, Save] = {}
        self.removed: dict[int, datetime] = {}
        self.marks: dict[tuple[str, str, str], int] = {}
        self.events: list[tuple[Any, ...]] = []

    def play(self, entry: Entry) -> None:
        for action in entry.actions:
            if isinstance(action, Save):
                self.saves[action.serial] = action
                continue
            for serial in action.serials:
                save = self.saves[serial]
                if isinstance(action, Remove):
                    self.removed.setdefault(serial, entry.time)
                elif isinstance(action, Restore):
                    self.removed.pop(serial, None)
                else:
                    where = (action.label, save.kind, save.name)
                    before = self.marks.get(where)
                    if isinstance(action, Tag) and before != serial:
                        self.marks[where] = serial
                        self.events.append((entry.n, entry.time, *where, serial, before, entry.by))
                    elif isinstance(action, Untag) and before == serial:
                        del self.marks[where]
                        self.events.append((entry.n, entry.time, *where, None, before, entry.by))

    def rows(self) -> list[tuple[Any, ...]]:
        found = []
        for serial, save in self.saves.items():
            living = [
                s.version
                for s in self.saves.values()
                if (s.kind, s.name) == (save.kind, save.name) and s.serial not in self.removed
            ]
            here = serial not in self.removed
            labels = tuple(sorted(label for (label, _, _), at in self.marks.items() if at == serial)) if here else ()
            head = here and save.version == max(living)
            found.append((serial, save.kind, save.name, save.version, head, self.removed.get(serial), labels))
        return sorted(found)


LABELS = ["using cal v1", "b", "Ünïcode \\ 'tag'"]
STEP = st.one_of(
    st.tuples(st.just("save"), st.sampled_from(["a", "b", "c d"]), st.sampled_from(["Ramp", "Rate"])),
    st.tuples(
        st.sampled_from(["tag", "untag"]), st.sampled_from(LABELS), st.lists(st.integers(0, 30), min_size=1, max_size=4)
    ),
    st.tuples(st.sampled_from(["remove", "restore"]), st.lists(st.integers(0, 30), min_size=1, max_size=3)),
)
ENTRIES = st.lists(st.lists(STEP, min_size=1, max_size=4), max_size=10)


def to_actions(chain: Chain, steps: list[tuple[Any, ...]]) -> Iterator[Action]:
    for step in steps:
        if step[0] == "save":
            yield chain.save(step[1], step[2])
        elif chain.serial:
            serials = tuple(i % chain.serial for i in step[-1])
            match step[0]:
                case "tag":
                    yield Tag(step[1], serials)
                case "untag":
                    yield Untag(step[1], serials)
                case "remove":
                    yield Remove(serials)
                case _:
                    yield Restore(serials)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=ENTRIES, sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_catalog_equals_a_plain_model(
    plan: list[list[tuple[Any, ...]]], sizes: list[int], database_url: str, schema: str
) -> None:
    chain, model = Chain(), Model()
    for steps in plan:
        model.play(chain.add(*to_actions(chain, steps)))
    with Catalog.open(database_url, schema=schema, pool_id="model") as catalog:
        try:
            done = i = 0
            while done < len(chain.entries):
                size = sizes[i % len(sizes)]
                i += 1
                # Each call begins with an entry that is in already.
                assert catalog.apply(chain.entries[max(done - 1, 0) : done + size], chain.manifest) <= size
                done += size
            serials = range(chain.serial)
            shown = [(r.serial, r.kind, r.name, r.version, r.head, r.removed, r.tags) for r in catalog.rows(serials)]
            events = [dataclasses.astuple(e) for e in catalog.tag_events()]
            position = catalog.position()
            counts = {t.label: t.count for t in catalog.tags()}
        finally:
            catalog.drop()
    assert shown == model.rows()
    assert events == model.events
    assert (position.n, position.next_serial) == (len(chain.entries) - 1, chain.serial)
    labels = [label for row in shown for label in row[-1]]
    assert counts == {label: labels.count(label) for label in sorted(set(labels))}


@pytest.mark.slow
def test_applied_entries_are_passed_over(catalog: Catalog, chain: Chain) -> None:
    chain.add_saves(["a", "b", "a"])
    assert catalog.apply(chain.entries[:2], chain.manifest) == 2
    assert catalog.apply(chain.entries, chain.manifest) == 1
    assert catalog.apply(chain.entries, chain.manifest) == 0
    assert catalog.apply([], chain.manifest) == 0
    assert heads(catalog) == [1, 2]
    assert catalog.position().digest == chain.entries[-1].digest


def test_gap_is_refused_and_what_comes_before_it_taken(catalog: Catalog, chain: Chain) -> None:
    chain.add_saves(["a", "b", "c", "d"])
    with pytest.raises(IntegrityError, match="entry 2 is missing"):
        catalog.apply([*chain.entries[:2], chain.entries[3]], chain.manifest)
    assert catalog.position().n == 1
    assert heads(catalog) == [0, 1]


def test_broken_chain_is_refused(catalog: Catalog, chain: Chain) -> None:
    chain.add_saves(["a", "b"])
    forged = dataclasses.replace(chain.entries[1], previous="0" * 32).sealed()
    with pytest.raises(IntegrityError, match="entry 1 does not follow"):
        catalog.apply([chain.entries[0], forged], chain.manifest)
    assert catalog.position().n == 0
    other = Chain()
    other.add(other.save("z"))
    with pytest.raises(IntegrityError, match=r"different journal entries 0.*reindex"):
        catalog.apply(other.entries, other.manifest)


@pytest.mark.parametrize("action", [Tag("t", (5,)), Untag("t", (5,)), Remove((0, 5)), Restore((5,))])
def test_unknown_serial_names_the_entry(catalog: Catalog, chain: Chain, action: Action) -> None:
    chain.add_saves(["a"])
    chain.add(chain.save("b"), action)
    with pytest.raises(IntegrityError, match=r"journal entry 1 \(.*\) names serial 5"):
        catalog.apply(chain.entries, chain.manifest)
    assert heads(catalog) == [0]
    assert catalog.position().next_serial == 1


def test_numbers_are_used_once(catalog: Catalog, chain: Chain) -> None:
    save = chain.save("a")
    chain.add(save)
    chain.add(dataclasses.replace(save, name="b"))
    with pytest.raises(IntegrityError, match="entry 1 saves serial 0, which an earlier entry saved"):
        catalog.apply(chain.entries, chain.manifest)
    chain.entries.pop()
    chain.add(dataclasses.replace(save, serial=9))
    with pytest.raises(IntegrityError, match="entry 1 saves version 0 of Ramp a"):
        catalog.apply(chain.entries, chain.manifest)


def test_missing_manifest_stops_at_its_entry(catalog: Catalog, chain: Chain) -> None:
    chain.add_saves(["a", "b"])
    good, bad = chain.save("c"), chain.save("d")
    chain.add(good, bad)
    lost = chain.manifests.pop(bad.manifest)
    with pytest.raises(NotFound, match="is not there"):
        catalog.apply(chain.entries, chain.manifest)
    assert heads(catalog) == [0, 1]
    assert catalog.keyword_values([2], [(None, "SERIAL")]) == {}
    chain.manifests[bad.manifest] = lost
    assert catalog.apply(chain.entries, chain.manifest) == 1


def test_damaged_journal_is_read_up_to_the_damage(catalog: Catalog, chain: Chain) -> None:
    chain.add_saves(["a", "b"])

    def entries() -> Iterator[Entry]:
        yield from chain.entries
        raise IntegrityError("journal/000000000002.json is damaged")

    with pytest.raises(IntegrityError, match="damaged"):
        catalog.apply(entries(), chain.manifest)
    assert heads(catalog) == [0, 1]


def test_other_errors_pass_through_and_change_nothing(catalog: Catalog, chain: Chain) -> None:
    chain.add_saves(["a", "b"])

    def manifest(_digest: str) -> Manifest:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        catalog.apply(chain.entries, manifest)
    assert catalog.position().n == -1
    assert catalog.apply(chain.entries, chain.manifest) == 2


def test_long_runs_are_cut_into_transactions(catalog: Catalog, chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "_BATCH_SAVES", 3)
    chain.add_saves([f"n{i}" for i in range(8)])
    seen: list[int] = []
    assert catalog.apply(iter(chain.entries), chain.manifest, progress=seen.append) == 8
    assert seen == [3, 6, 8]
    assert catalog.count() == 8


def index_definitions(catalog: Catalog) -> list[str]:
    with catalog.database.read() as connection:
        statement = sa.text("SELECT indexdef FROM pg_indexes WHERE schemaname = :s ORDER BY indexname")
        return list(connection.execute(statement, {"s": catalog.schema}).scalars())


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "_BATCH_SAVES", 3)
    monkeypatch.setattr(apply, "_FILL_SAVES", 7)


@pytest.mark.usefixtures("small_batches")
def test_an_empty_index_is_filled_like_any_other(catalog: Catalog, chain: Chain) -> None:
    indexes = index_definitions(catalog)
    assert len([d for d in indexes if "keyword" in d]) > 3
    chain.add_saves(["a", "b", "a", "c", "a", "a", "b", "d", "e", "f", "a"])
    chain.add(Tag("t", (10,)))
    assert catalog.apply(iter(chain.entries), chain.manifest) == 12
    assert index_definitions(catalog) == indexes
    assert heads(catalog) == [3, 6, 7, 8, 9, 10]
    assert [row.version for row in catalog.select(tag="t")] == [4]
    assert catalog.keyword_values([0, 10], [(None, "SERIAL")]) == {i: {(None, "SERIAL"): float(i)} for i in (0, 10)}


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("broken", [1, 3, 5])
def test_a_filling_stops_at_a_broken_entry(catalog: Catalog, chain: Chain, broken: int) -> None:
    indexes = index_definitions(catalog)
    chain.add_saves(["n"] * 6)
    lost = chain.entries[broken].actions[0]
    assert isinstance(lost, Save)
    kept = chain.manifests.pop(lost.manifest)
    with pytest.raises(NotFound):
        catalog.apply(chain.entries, chain.manifest)
    assert catalog.position().n == broken - 1
    assert heads(catalog) == [broken - 1]
    assert index_definitions(catalog) == indexes
    chain.manifests[lost.manifest] = kept
    assert catalog.apply(chain.entries, chain.manifest) == 6 - broken


@pytest.mark.slow
@pytest.mark.usefixtures("small_batches")
def test_a_filling_does_not_wait_for_an_idle_reader(catalog: Catalog, chain: Chain) -> None:
    indexes = index_definitions(catalog)
    chain.add_saves(["n"] * 6)
    with catalog.database.read() as reader:
        assert reader.execute(sa.select(sa.func.count()).select_from(tables.keyword)).scalar() == 0
        assert catalog.apply(chain.entries, chain.manifest) == 6
    assert heads(catalog) == [5]
    assert index_definitions(catalog) == indexes


@pytest.mark.usefixtures("small_batches")
def test_an_interrupted_filling_leaves_nothing(catalog: Catalog, chain: Chain) -> None:
    indexes = index_definitions(catalog)
    chain.add_saves(["n"] * 6)

    def manifest(digest: str) -> Manifest:
        save = chain.entries[4].actions[0]
        if isinstance(save, Save) and digest == save.manifest:
            raise KeyboardInterrupt
        return chain.manifest(digest)

    with pytest.raises(KeyboardInterrupt):
        catalog.apply(chain.entries, manifest)
    assert (catalog.position().n, catalog.count()) == (-1, 0)
    assert index_definitions(catalog) == indexes


def test_statistics_of_the_tables_follow_their_growth(
    catalog: Catalog, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def analyzed() -> int:
        with catalog.database.read() as connection:
            return connection.execute(sa.select(tables.state.c.analyzed_products)).scalar_one()

    monkeypatch.setattr(intake, "_ANALYZE_PRODUCTS", 5)
    done: list[object] = []
    real = apply._analyze
    monkeypatch.setattr(apply, "_analyze", lambda database: done.append(real(database)))
    chain.add_saves(["a"] * 5)
    catalog.apply(chain.entries, chain.manifest)
    assert (analyzed(), len(done)) == (0, 0)
    chain.add_saves(["a"])
    catalog.apply(chain.entries, chain.manifest)
    assert (analyzed(), len(done)) == (6, 1)
    with catalog.database.read() as connection:
        count = sa.text("SELECT count(*) FROM pg_stats WHERE schemaname = :s AND tablename = 'keyword'")
        assert connection.execute(count, {"s": catalog.schema}).scalar_one() > 0


# What is kept of a manifest.


def take(catalog: Catalog, chain: Chain, manifest: Manifest) -> int:
    save = chain.save(f"n{chain.serial}", manifest=manifest)
    chain.add(save)
    catalog.apply(chain.entries, chain.manifest)
    return save.serial


def test_typed_columns_repeat_what_bare_keywords_mean(catalog: Catalog, chain: Chain) -> None:
    serial = take(
        catalog,
        chain,
        make_manifest(
            {"DETECTOR": "MIRIMAGE", "NGROUPS": 20, "NINTS": "five", "FILTER": 7, "SUBARRAY": None, "BAND": "A"},
            sci={"EXTNAME": "SCI", "BAND": "B", "CHANNEL": "12", "BUNIT": "DN"},
        ),
    )
    (row,) = catalog.rows([serial])
    assert (row.detector, row.ngroups, row.band, row.channel) == ("MIRIMAGE", 20.0, "A", "12")
    assert (row.nints, row.filter, row.subarray, row.obs_id) == (None, None, None, None)
    (dataset,) = catalog.datasets([serial])[serial]
    assert (dataset.hdu, dataset.name, dataset.dtype, dataset.shape, dataset.unit) == (1, "SCI", "<f4", (2, 3), "DN")
    assert dataset.statistics is not None
    assert dataset.statistics.mean == 2.5


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ({"DATE-OBS": "2018-03-08", "TIME-OBS": "01:02:30.5"}, datetime(2018, 3, 8, 1, 2, 30, 500000, UTC)),
        ({"DATE-OBS": "2018-03-08T01:02:30"}, datetime(2018, 3, 8, 1, 2, 30, 0, UTC)),
        ({"DATE-OBS": "2018-03-08"}, None),
        ({"DATE-OBS": "2018-03-08", "DATE-BEG": "2018-03-08T05:00:00"}, datetime(2018, 3, 8, 5, tzinfo=UTC)),
        ({"DATE-OBS": "yesterday", "TIME-OBS": "noon"}, None),
        ({"DATE-OBS": 5}, None),
        ({}, None),
    ],
)
def test_start_time(catalog: Catalog, chain: Chain, cards: dict[str, Any], expected: datetime | None) -> None:
    serial = take(catalog, chain, make_manifest(cards))
    assert catalog.rows([serial])[0].start_time == expected


def test_odd_texts_arrive_as_they_are(catalog: Catalog, chain: Chain) -> None:
    odd = {
        "BACK": "a\\nb\\\\",
        "QUOTE": 'it\'s "x"',
        "DOTS": "\\.",
        "NULLISH": "\\N",
        "PERCENT": "%s %(x)s",
        "EMPTY": "",
    }
    raw = b"TABBED  = 'a\tb\xe9\x00c'".ljust(80)
    junk = b"K\\EY\x07   = 'x'".ljust(80)
    header = make_header(
        [*odd.items(), ("COMMENT", "long " * 2000), ("TABBED", raw), ("junk", junk), ("BIG", 10**25), ("TINY", 1e-300)]
    )
    manifest = make_manifest()
    manifest = dataclasses.replace(manifest, hdus=(HduRecord(header, "PRIMARY", "none"),))
    serial = take(catalog, chain, manifest)
    keys = [(None, key) for key in (*odd, "COMMENT", "TABBED", "BIG", "TINY")]
    values = catalog.keyword_values([serial], keys)[serial]
    assert values[None, "TABBED"] == "a\tb\xe9\ufffdc"
    assert (values[None, "BIG"], values[None, "TINY"]) == (1e25, 1e-300)
    assert len(str(values[None, "COMMENT"])) > 9000
    for key, text in odd.items():
        assert values[None, key] == text.rstrip(), key


def test_file_of_an_export_is_measured_without_an_origin(catalog: Catalog, chain: Chain) -> None:
    header = make_header({"SIMPLE": True})
    blob = BlobRef("0" * 32, make_manifest(sci={}).hdus[1].data.dtype, (1000,))  # type: ignore[union-attr]
    hdus = (
        HduRecord(header, "PRIMARY", "none"),
        HduRecord(header, "SCI", "image", data=blob),
        HduRecord(header, "T", "table", data=blob, heap=blob),
        HduRecord(header, "O", "opaque", raw=blob, tail=BlobRef("1" * 32, blob.dtype, (20,))),
    )
    manifest = Manifest("Product", "x", hdus, trailer=BlobRef("2" * 32, blob.dtype, (3,)))
    assert fits_size(manifest) == 2880 + (2880 + 5760) + (2880 + 8640) + (2880 + 4080) + 12
    serial = take(catalog, chain, manifest)
    (row,) = catalog.rows([serial])
    assert (row.bytes, row.filename, row.file_digest) == (fits_size(manifest), None, None)
    assert [d.name for d in catalog.datasets([serial])[serial]] == ["SCI", "T"]


def test_times_are_the_entries(catalog: Catalog, chain: Chain) -> None:
    chain.add_saves(["a", "a"])
    chain.add(Remove((1,)))
    chain.add(Remove((1,)))
    catalog.apply(chain.entries, chain.manifest)
    first, second = catalog.track("Ramp", "a")
    assert (first.created, first.entry, first.head) == (START, 0, True)
    assert second.created.utcoffset() == UTC.utcoffset(None)
    assert second.removed == chain.entries[2].time


# Others at the same time, and ends that come too early.

WORKER = """
import os, sys, threading
sys.path.insert(0, sys.argv[1])
from manifests import Chain
from miripool.index import apply, intake
from miripool.index.catalog import Catalog
from miripool.store.journal import Tag
apply._BATCH_SAVES, apply._FILL_SAVES = 5, 10
chain, count, die_at = Chain(), int(sys.argv[4]), int(sys.argv[5])
for i in range(count):
    chain.add(chain.save(f"n{i % 7}"), chain.save(f"m{i % 7}"), Tag("t", (2 * i,)))
asked = 0
def manifest(digest):
    global asked
    asked += 1
    if asked == die_at:
        os.kill(os.getpid(), 9)
    return chain.manifest(digest)
with Catalog.open(sys.argv[2], schema=sys.argv[3], pool_id="shared") as catalog:
    print("ready", flush=True)
    sys.stdin.readline()
    print(catalog.apply(chain.entries, manifest))
"""


def worker(url: str, schema: str, count: int, die_at: int = 0) -> subprocess.Popen[str]:
    here = Path(__file__).parent
    command = [sys.executable, "-W", "error", "-c", WORKER, str(here), url, schema, str(count), str(die_at)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=here.parent
    )


def check_shared(catalog: Catalog, count: int) -> None:
    assert catalog.position().n == count - 1
    assert catalog.count(all_versions=True) == 2 * count
    tagged = [row.serial for row in catalog.select(tag="t")]
    assert tagged == [2 * i for i in range(count - 7, count)]
    assert len(catalog.tag_events()) == count
    with catalog.database.read() as connection:
        rows = connection.execute(sa.select(sa.func.count()).select_from(tables.keyword)).scalar_one()
    assert rows == 2 * count


@pytest.mark.slow
def test_two_processes_take_in_the_same_entries(database_url: str, schema: str) -> None:
    count = 40
    workers = [worker(database_url, schema, count) for _ in range(2)]
    for process in workers:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    outcomes = []
    threads = [threading.Thread(target=lambda p=p: outcomes.append(p.communicate("go\n"))) for p in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [errors for _, errors in outcomes] == ["", ""]
    assert sum(int(output) for output, _ in outcomes) == count
    with Catalog.open(database_url, schema=schema, pool_id="shared") as catalog:
        check_shared(catalog, count)
        catalog.drop()


@pytest.mark.slow
@pytest.mark.parametrize("die_at", [1, 2, 7, 33])
def test_killed_in_the_middle_stands_between_entries(database_url: str, schema: str, die_at: int) -> None:
    count = 20
    process = worker(database_url, schema, count, die_at)
    _, errors = process.communicate("go\n")
    assert (process.returncode, errors) == (-9, "")
    with Catalog.open(database_url, schema=schema, pool_id="shared") as catalog:
        n = catalog.position().n
        assert -1 <= n < die_at // 2
        assert catalog.count(all_versions=True) == 2 * (n + 1)
        with catalog.database.read() as connection:
            assert connection.execute(sa.select(sa.func.count()).select_from(tables.keyword)).scalar_one() == 2 * (
                n + 1
            )
        again = worker(database_url, schema, count)
        output, errors = again.communicate("go\n")
        assert (errors, output) == ("", f"ready\n{count - n - 1}\n")
        check_shared(catalog, count)
        catalog.drop()
