"""The pool as of a moment: at each entry of a random history it is what a plain model of that history was then."""

from __future__ import annotations

import copy
import json
import pickle
import random
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import homes
import numpy as np
import pytest
from older_index import take_past_away

from miripool import Pool, Rate, RateInts
from miripool.errors import IncompleteAnswer, InvalidInput, ProductNotFound, ReadOnly, TagNotFound
from miripool.index.migrate import migrations
from miripool.pool.core import core_of
from miripool.store import journal

home = homes.home

LABELS = ("v1", "it's")
NAMES = ("one", "two", "three")
KINDS = {"RateInts": RateInts, "Rate": Rate}
CARDS = {"SUBSTRT1": 1, "SUBSTRT2": 1, "SUBSIZE1": 4, "SUBSIZE2": 3}


@dataclass
class Version:
    """What the model knows of a version."""

    kind: str
    name: str
    version: int
    groups: int
    rate: float
    removed: bool = False
    purged: bool = False


@dataclass
class Model:
    """A pool in plain Python: versions by serial, and where each (label, kind, name) stands."""

    versions: dict[int, Version] = field(default_factory=dict)
    tags: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def living(self) -> dict[int, Version]:
        return {serial: v for serial, v in self.versions.items() if not v.removed}

    def heads(self) -> dict[int, Version]:
        newest = {(v.kind, v.name): serial for serial, v in self.living().items()}  # later versions come later
        return {serial: self.versions[serial] for serial in newest.values()}

    def trash(self) -> list[int]:
        return [serial for serial, v in self.versions.items() if v.removed and not v.purged]

    def marked(self, label: str) -> list[int]:
        found = [serial for (of, _, _), serial in self.tags.items() if of == label]
        return sorted(serial for serial in found if not self.versions[serial].removed)

    def labels(self, serial: int) -> tuple[str, ...]:
        return tuple(sorted(label for (label, _, _), marked in self.tags.items() if marked == serial))


class History:
    """Changes a pool and the model at random, and keeps what the model was after each journal entry."""

    def __init__(self, pool: Pool, seed: int) -> None:
        self.pool = pool
        self.random = random.Random(seed)
        self.model = Model()
        self.then: dict[int, Model] = {-1: Model()}

    def live(self, changes: int) -> None:
        acts: tuple[tuple[Callable[[], None], int], ...] = (
            (self.save, 8), (self.tag, 5), (self.untag, 2), (self.remove, 4), (self.restore, 3), (self.purge, 2),
            (self.collect, 1),
        )  # fmt: skip
        for act in self.random.choices([act for act, _ in acts], [weight for _, weight in acts], k=changes):
            act()
            self.then[core_of(self.pool).archive.journal.last()] = copy.deepcopy(self.model)
        assert sorted(self.then) == list(range(-1, max(self.then) + 1))

    def some(self, serials: list[int]) -> list[int]:
        return self.random.sample(serials, min(len(serials), self.random.choice((1, 1, 2))))

    def refs(self, serials: list[int]) -> list[str]:
        return [f"urn:jpl8:{self.model.versions[serial].kind}:{serial}" for serial in serials]

    def save(self) -> None:
        kind, name, groups = self.random.choice(list(KINDS)), self.random.choice(NAMES), self.random.randrange(9)
        rate = float(len(self.model.versions) + 1)
        shape = (2, 3, 4) if kind == "RateInts" else (3, 4)
        product = KINDS[kind](CARDS | {"NGROUPS": groups}, {"SCI": np.full(shape, rate, "f4")}, name=name)
        ref = self.pool.save(product)
        number = sum((v.kind, v.name) == (kind, name) for v in self.model.versions.values())
        self.model.versions[ref.serial] = Version(kind, name, number, groups, rate)

    def tag(self) -> None:
        label = self.random.choice(LABELS)
        tracks: dict[tuple[str, str], int] = {}
        for serial in self.some(list(self.model.living())):
            tracks[self.model.versions[serial].kind, self.model.versions[serial].name] = serial
        if tracks:
            self.pool.tag(self.refs(list(tracks.values())), label)
        self.model.tags |= {(label, *track): serial for track, serial in tracks.items()}

    def untag(self) -> None:
        label = self.random.choice(LABELS)
        marked = self.some(self.model.marked(label))
        if marked:
            self.pool.untag(label, self.refs(marked))
        self.model.tags = {
            place: serial for place, serial in self.model.tags.items() if place[0] != label or serial not in marked
        }

    def remove(self) -> None:
        serials = self.some(list(self.model.living()))
        self.pool.remove(self.refs(serials))
        for serial in serials:
            self.model.versions[serial].removed = True

    def restore(self) -> None:
        serials = self.some(self.model.trash())
        self.pool.restore(self.refs(serials))
        for serial in serials:
            self.model.versions[serial].removed = False

    def purge(self) -> None:
        serials = self.some(self.model.trash())
        self.pool.purge(self.refs(serials))
        for serial in serials:
            self.model.versions[serial].purged = True

    def collect(self) -> None:
        self.pool.gc()


def serials(refs: Any) -> list[int]:
    return sorted(ref.serial for ref in refs)


def compare(pool: Pool, then: Model, now: Model) -> None:
    """Hold a pool as of a moment against the model of then; what was purged until now has no arrays."""
    heads = then.heads()
    assert serials(pool.select()) == sorted(heads)
    assert serials(pool.select(all_versions=True)) == sorted(then.living())
    assert serials(pool.trash()) == then.trash()
    assert pool.select("ngroups >= 5").size() == sum(v.groups >= 5 for v in heads.values())
    assert serials(pool.select("ngroups < 5 and p.data.max() > 3", order="-created")) == sorted(
        serial for serial, v in heads.items() if v.groups < 5 and v.rate > 3
    )
    for ref in pool.select(all_versions=True):
        version = then.versions[ref.serial]
        assert (ref.kind, ref.name, ref.version) == (version.kind, version.name, version.version)
        assert ref.tags == then.labels(ref.serial)
    assert {tag.label: tag.count for tag in pool.tags()} == {
        label: len(then.marked(label)) for label in LABELS if then.marked(label)
    }
    for label in LABELS:
        if then.marked(label):
            assert serials(pool.select(tag=label)) == then.marked(label)
        assert pool.tag_exists(label) == bool(then.marked(label))
    for serial, version in heads.items():
        assert pool.ref(f"{version.kind}/{version.name}").serial == serial
        assert len(pool.versions(f"urn:jpl8:{version.kind}:{serial}", removed=True)) == sum(
            (v.kind, v.name) == (version.kind, version.name) for v in then.versions.values()
        )
    wanted = {s: v for s, v in heads.items() if v.kind == "RateInts" and not now.versions[s].purged}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IncompleteAnswer)
        table = pool.pixel(2, 2).history("RateInts")
    assert sorted(zip(table["urn"], table["rate"], strict=True)) == sorted(
        (f"urn:jpl8:RateInts:{serial}", v.rate) for serial, v in wanted.items() for _ in range(2)
    )


def damage(pool: Pool) -> list[Any]:
    """Compare the index with one made from the folder; what `gc` would free is no damage."""
    return [finding for finding in pool.verify().findings if finding.what != "note"]


def make_older(pool: Pool) -> None:
    """Make the index one that an older miripool made, and bring it up to date."""
    database = core_of(pool).catalog.database
    take_past_away(database)
    (script,) = (step.script for step in migrations() if step.name.endswith("_moments.sql"))
    with database.write() as connection:
        database.run(connection, script)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_random_history(home: Any, seed: int) -> None:
    pool = home.create("jpl8")
    history = History(pool, seed)
    history.live(75)
    numbers = sorted(history.random.sample(sorted(history.then), 25))
    for number in numbers:
        with as_of(pool, number) as past:
            compare(past, history.then[number], history.model)
    make_older(pool)
    assert not damage(pool)  # of what it has: its past comes with the first question about it
    for number in numbers[::5]:
        with as_of(pool, number) as past:
            compare(past, history.then[number], history.model)
    assert not damage(pool)
    pool.reindex()
    for number in numbers[::5]:
        with as_of(pool, number) as past:
            compare(past, history.then[number], history.model)
    assert not damage(pool)


def as_of(pool: Pool, number: int) -> Pool:
    """Give the pool after an entry; -1 stands for a time before the first."""
    return pool.as_of(number) if number >= 0 else pool.as_of("1999-12-31")


def entry_of(pool: Pool) -> int:
    moment = core_of(pool).moment
    assert moment is not None
    return moment.entry


def image(name: str, value: float) -> Rate:
    return Rate(CARDS, {"SCI": np.full((3, 4), value, "f4")}, name=name)


@pytest.fixture
def pool(home: Any) -> Pool:
    """Entries at known times: version 0, a tag on it, version 1 an hour too early, the tag moved a year later."""
    times = iter(
        datetime.fromisoformat(f"{text}+00:00")
        for text in ("2024-05-01T10:00", "2024-05-01T23:59:59.999999", "2024-05-01T22:00", "2025-05-01T00:00")
    )

    class Clock(datetime):
        @classmethod
        def now(cls, _zone: Any = None) -> datetime:
            return next(times)

    made: Pool = home.create("jpl8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "datetime", Clock)
        made.save(image("one", 0))
        made.tag("Rate/one@0", "v1")
        made.save(image("one", 1))
        made.tag("Rate/one@1", "v1")
    return made


@pytest.mark.parametrize(
    ("when", "entry"),
    [
        ("2024-04-30", -1),
        (date(2024, 4, 30), -1),
        ("2024-05-01T09:59:59Z", -1),
        ("2024-05-01T10:00", 0),
        ("2024-05-01T12:00+02:00", 0),
        (datetime(2024, 5, 1, 10, tzinfo=UTC), 0),
        ("2024-05-01T22:30", 0),  # entry 2 says 22:00, but entry 1 was there before it
        ("2024-05-01", 2),
        (date(2024, 5, 1), 2),
        ("2025-04-30", 2),
        ("2025-05-01T00:00", 3),
        (datetime.now(UTC).date(), 3),
        (0, 0),
        ("1", 1),
        (np.int64(2), 2),
        (3, 3),
    ],
)
def test_a_moment(pool: Pool, when: Any, entry: int) -> None:
    with pool.as_of(when) as past:
        assert entry_of(past) == entry
        assert past.select(all_versions=True).size() == (0, 1, 1, 2, 2)[entry + 1]
        assert past.as_of(3).select().size() == 1


def test_the_moment_of_a_tag(pool: Pool) -> None:
    assert str(pool.as_of(tag="v1")) == str(pool.as_of(3))
    pool.untag("v1")
    with pool.as_of(tag="v1") as past:
        assert entry_of(past) == 4
        assert not past.tags()
    with pool.as_of("2024-05-01") as past:
        assert past.ref("Rate/one@v1").version == 0


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({}, InvalidInput, "give either a moment"),
        ({"when": 1, "tag": "v1"}, InvalidInput, "give either a moment"),
        ({"when": 4}, InvalidInput, "there is no journal entry 4: the journal of pool jpl8 ends with entry 3"),
        ({"when": -1}, InvalidInput, "there is no journal entry -1"),
        ({"when": 1 << 70}, InvalidInput, "there is no journal entry"),
        ({"when": "yesterday"}, InvalidInput, "'yesterday' is no moment; give a date such as 2026-05-01"),
        ({"when": "v1"}, InvalidInput, r"or a tag \(--as-of tag:LABEL, as_of\(tag=LABEL\)\)"),
        ({"when": 2.5}, InvalidInput, "2.5 is no moment"),
        ({"when": "2999-01-01"}, InvalidInput, "2999-01-01 lies in the future"),
        ({"when": "9999-12-31"}, InvalidInput, "lies in the future"),
        ({"when": datetime.max.replace(tzinfo=UTC)}, InvalidInput, "lies in the future"),
        ({"when": "1" * 5000}, InvalidInput, "is no moment"),
        ({"when": True}, InvalidInput, "is no moment"),
        ({"when": datetime(2024, 5, 1)}, InvalidInput, "has no time zone"),
        ({"tag": "v2"}, TagNotFound, "v2"),
    ],
)
def test_what_is_no_moment(pool: Pool, arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        pool.as_of(**arguments)


def test_an_empty_pool(home: Any) -> None:
    with home.create("new").as_of("2024-05-01") as past:
        assert past.select().size() == 0
        assert str(past) == "<Pool new before its first journal entry>"


def test_it_cannot_be_changed(home: Any, pool: Pool, tmp_path: Path) -> None:
    file = homes.write_image(tmp_path / "x_rate.fits")
    other = home.create("other")
    other.save(image("three", 3))
    before = sorted(pool.path.rglob("*"))
    with pool.as_of(3) as past:
        assert str(past) == "<Pool jpl8 as of journal entry 3, 2025-05-01 00:00:00 UTC>"
        ref = past.ref("Rate/one")
        changes: list[Callable[[], Any]] = [
            lambda: past.save(image("two", 2)), lambda: past.save(file), lambda: past.ingest(file),
            lambda: past.tag(ref, "v2"), lambda: past.untag("v1"), lambda: past.remove(ref),
            lambda: past.set_pixel_policy("none"), past.reindex, past.gc, past.repair, lambda: past.reprocess(ref),
            lambda: past.create_monitor("m", "Rate"), lambda: other.copy_to(past),
            past.verify, past.browse,
        ]  # fmt: skip
        pool.remove("Rate/one@0")
        with pool.as_of(4) as later:
            changes += [lambda: later.restore("Rate/one@0"), lambda: later.purge("Rate/one@0")]
            for change in changes:
                with pytest.raises(
                    ReadOnly, match=r"this is pool jpl8 as of journal entry \d, .*: it can only be read"
                ):
                    change()
    assert sorted(pool.path.rglob("*")) == sorted([*before, pool.path / "journal" / "000000000004.json"])
    assert pool.tag(ref, "as published") == 1  # what was found then is a version of the pool


def test_a_version_that_was_purged_since(pool: Pool, tmp_path: Path) -> None:
    pool.remove("Rate/one@0")
    pool.purge("Rate/one@0")
    pool.gc()
    with pool.as_of("2024-05-01") as past:
        ref = past.ref("Rate/one@0")
        assert ref.meta["SUBSIZE1"].value == 4
        assert [r.version for r in past.select("p.data.max() < 0.5", all_versions=True)] == [0]
        assert past.diff("Rate/one@0", "Rate/one@1", elements=False)
        assert ref.product["SCI"].max() == 0
        for read in (lambda: ref.product["SCI"][0, 0], lambda: ref.to_fits(tmp_path), ref.to_hdulist):
            with pytest.raises(ProductNotFound, match=r"urn:jpl8:Rate:0 .*was removed for good on \d{4}-.* UTC"):
                read()
        with pytest.warns(IncompleteAnswer, match="1 of 2 versions was purged since and was left out"):
            found = past.select(lambda p: p["SCI"][0, 0] >= 0, all_versions=True)
        assert [r.version for r in found] == [1]
    assert not list(tmp_path.glob("*.fits"))


def test_show_of_a_version_that_was_purged_since(pool: Pool) -> None:
    pool.remove("Rate/one@0")
    pool.purge("Rate/one@0")
    shown = homes.call("show", "jpl8", "Rate/one@0", "--as-of", "2024-05-01").stdout
    (purged,) = [line for line in shown.splitlines() if line.startswith("purged")]
    when = pool.versions("Rate/one", removed=True)[0].purged
    assert purged == f"purged       {when:%Y-%m-%d %H:%M:%S} UTC: removed for good since, its arrays may be gone"
    with pytest.raises(ProductNotFound, match="`miripool show jpl8 urn:jpl8:Rate:0 --as-of 0` still shows"):
        pool.ref("Rate/one@0")
    assert "SUBSIZE1" in homes.call("show", "jpl8", "urn:jpl8:Rate:0", "--as-of", "0").stdout
    as_json = ("--as-of", "2024-05-01", "--json")
    assert json.loads(homes.call("show", "jpl8", "Rate/one@0", *as_json).stdout)["purged"] == f"{when:%FT%T.%fZ}"
    assert "purged" not in json.loads(homes.call("show", "jpl8", "Rate/one@1", *as_json).stdout)


@pytest.mark.parametrize(
    ("moment", "spec", "words"),
    [
        (0, "Rate/one@1", "did not have Rate/one@1 yet: urn:jpl8:Rate:1 was saved by entry 2, 2024-05-01 22:00:00 UTC"),
        (0, "urn:jpl8:Rate:1", "did not have urn:jpl8:Rate:1 yet: urn:jpl8:Rate:1 was saved by entry 2, 2024-05-01"),
        (-1, "one", "before its first journal entry did not have one yet: urn:jpl8:Rate:0 was saved by entry 0, 2024"),
        (-1, "Rate/one", "did not have Rate/one yet: urn:jpl8:Rate:0 was saved by entry 0, 2024-05-01 10:00:00 UTC"),
        (0, "one@v1", "did not have one@v1 yet: entry 3 put 'v1' on urn:jpl8:Rate:1, 2025-05-01 00:00:00 UTC"),
        (2, "Rate/two", "no Rate 'two' in pool jpl8.*; this is pool jpl8 as of journal entry 2, 2024-05-01 23:59:59"),
        (2, "Rate/one@7", "there is no version 'Rate/one@7'; Rate/one has versions 0 .*; this is pool jpl8 as of"),
        (0, "urn:jpl8:Rate:7", "there is no urn:jpl8:Rate:7 in this pool; this is pool jpl8 as of journal entry 0"),
    ],
)
def test_what_came_later(pool: Pool, moment: int, spec: str, words: str) -> None:
    with as_of(pool, moment) as past, pytest.raises(ProductNotFound, match=words):
        past.ref(spec)
    when = "2024-04-30" if moment < 0 else str(moment)
    with pytest.raises(ProductNotFound, match=words):
        homes.call("show", "jpl8", spec, "--as-of", when)


def test_a_tag_that_was_taken_off_for_a_while(pool: Pool) -> None:
    """The pool had it before: the error does not say that it came later."""
    pool.tag("Rate/one@0", "again")
    pool.untag("again")
    off = core_of(pool).archive.journal.last()
    pool.tag("Rate/one@0", "again")
    with as_of(pool, off) as past, pytest.raises(ProductNotFound) as refused:
        past.ref("one@again")
    assert "yet" not in str(refused.value)


def test_a_reference_to_what_came_later(pool: Pool) -> None:
    with as_of(pool, 0) as past, pytest.raises(ProductNotFound, match="did not have urn:jpl8:Rate:1 yet"):
        past.lineage(pool.ref("Rate/one@1"))


def test_a_pattern_and_a_tag_that_came_later(pool: Pool) -> None:
    words = r"no version in pool jpl8 as of journal entry 1, 2024-05-01 23:59:59 UTC matches 'Rate/t\*'"
    with pytest.raises(ProductNotFound, match=words):
        homes.call("show", "jpl8", "Rate/t*", "--as-of", "1")
    words = "no version of pool jpl8 as of journal entry 0, .* had the tag 'v1' yet: it was first used on 2024-05-01"
    with pool.as_of(0) as past, pytest.raises(TagNotFound, match=words):
        past.select(tag="v1")
    with pool.as_of(0) as past, pytest.raises(TagNotFound, match="2024-05-01 10:00:00 UTC has the tag 'v9'"):
        past.select(tag="v9")


def test_in_another_process(pool: Pool) -> None:
    with pool.as_of(1) as past:
        ref = pickle.loads(pickle.dumps(past.ref("Rate/one")))
        assert (ref.version, ref.tags, core_of(ref.pool).moment) == (0, ("v1",), core_of(past).moment)


def test_commands(pool: Pool, tmp_path: Path) -> None:
    def rows(*arguments: Any) -> Any:
        return json.loads(homes.call(*arguments, "--json").stdout)

    assert [row["version"] for row in rows("ls", "jpl8", "--as-of", "2024-05-01")] == [1]
    assert [row["version"] for row in rows("ls", "jpl8", "--as-of", "1")] == [0]
    assert rows("ls", "jpl8", "--as-of", "2024-04-30") == []
    nothing = homes.call("ls", "jpl8", "--as-of", "2024-04-30").stderr
    assert "pool jpl8 before its first journal entry is empty" in nothing
    assert [row["version"] for row in rows("ls", "jpl8", "--tag", "v1", "--as-of", "tag:v1")] == [1]
    assert rows("show", "jpl8", "one", "--as-of", "0")["tags"] == []
    assert rows("tags", "jpl8", "--as-of", "1")[0]["last"].startswith("2024-05-01T23:59:59")
    assert [row["rate"] for row in rows("pixel", "jpl8", "2", "2", "--kind", "Rate", "--as-of", "1")] == [0.0]
    assert rows("pixels", "jpl8", "--kind", "Rate", "--count", "--as-of", "1") == [{"pixels": 12}]
    homes.call("export", "jpl8", "one", str(tmp_path / "then.fits"), "--as-of", "1")
    homes.call("export", "jpl8", "Rate/one@0", str(tmp_path / "old.fits"))
    assert (tmp_path / "then.fits").read_bytes() == (tmp_path / "old.fits").read_bytes()


def test_the_time_before_the_first_entry_in_another_process(pool: Pool) -> None:
    pool.save(image("one", 1))
    past = pickle.loads(pickle.dumps(as_of(pool, -1)))
    assert past.select().size() == 0
    assert str(past) == str(as_of(pool, -1))
    with pytest.raises(ReadOnly):
        past.undo(dry_run=True)
