"""Undo: each kind of entry, what stands in its way, and that it is done whole or not at all."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import homes
import numpy as np
import pytest
from homes import call
from replay import Replay, assert_index_is_journal, journal_of
from test_exposures import NAME

from miripool import Context, Home, Pool, Ramp, Rate, Raw
from miripool.errors import Conflict, InvalidInput, MiripoolError, NotFound, ReadOnly
from miripool.pool import save as saving
from miripool.pool import tags
from miripool.pool.core import core_of
from miripool.store.journal import Entry, Journal

home = homes.home


def product(name: str, value: int) -> Rate:
    return Rate({}, {"SCI": np.full((3, 4), value, "f4")}, name=name)


def save(pool: Pool, name: str, value: int, tag: str | None = None) -> Any:
    return pool.save(product(name, value), tag=tag, pixels=False)


def listing(pool: Pool) -> dict[str, Any]:
    """What anybody can see of the living versions, as plain data."""
    core_of(pool).catch_up()
    rows = core_of(pool).catalog.select(all_versions=True)
    return {
        "versions": [(r.serial, r.kind, r.name, r.version, r.head, r.tags) for r in rows],
        "heads": [ref.urn for ref in pool.select()],
        "tags": [(t.label, t.count) for t in pool.tags()],
    }


def trash(pool: Pool) -> list[int]:
    return [ref.serial for ref in pool.trash()]


def newest(pool: Pool) -> int:
    return core_of(pool).catch_up().n


@pytest.fixture
def filled(pool: Pool) -> Pool:
    """Two versions of a, one each of b, c (in the trash, its tag hidden) and d, and a context that refers to d."""
    save(pool, "a", 0, "x")
    save(pool, "a", 1, "y")
    save(pool, "b", 0, "x")
    save(pool, "c", 0, "x")
    pool.remove("Rate/c")
    save(pool, "d", 0)
    pool.save(Context({"it": "Rate/d"}, name="of d"))
    return pool


def files_of(folder: Path, *names: str) -> list[Path]:
    return [homes.write_image(folder / f"{name}.fits", {"NGROUPS": i}) for i, name in enumerate(names)]


DEEDS: dict[str, Callable[[Pool, Path], object]] = {
    "a tag": lambda pool, _: pool.tag("Rate/a@0", "new"),
    "a tag on many": lambda pool, _: pool.tag(pool.select(), "new"),
    "a tag that moves": lambda pool, _: pool.tag("Rate/a@1", "x"),
    "a tag that moves and is new": lambda pool, _: pool.tag(["Rate/a@1", "Rate/d", "Rate/b"], "x"),
    "a tag on a context": lambda pool, _: pool.tag("Context/of d", "x"),
    "a tag taken off": lambda pool, _: pool.untag("x"),
    "a tag taken off one": lambda pool, _: pool.untag("x", "Rate/b"),
    "tags put back": lambda pool, _: tags.put_back(core_of(pool), "x", [(1, 0), (None, 2)]),
    "a removal": lambda pool, _: pool.remove(["Rate/a@0", "Rate/b"]),
    "a removal of a head": lambda pool, _: pool.remove("Rate/a@1"),
    "a removal with a context": lambda pool, _: pool.remove("Rate/d", cascade=True),
    "a restoring": lambda pool, _: pool.restore("Rate/c"),
    "a new product": lambda pool, _: save(pool, "e", 0),
    "a new version": lambda pool, _: save(pool, "a", 2),
    "a new version with a tag that moves": lambda pool, _: save(pool, "a", 2, "y"),
    "a new version with a new tag": lambda pool, _: save(pool, "a", 2, "new"),
    "a tag by saving what is there": lambda pool, _: save(pool, "a", 1, "x"),
    "a version beside one in the trash": lambda pool, _: save(pool, "c", 1, "x"),
    "many files, tagged": lambda pool, folder: pool.ingest(files_of(folder, "a", "f", "g"), tag="x"),
    "a context with a new part": lambda pool, _: pool.save(
        Context({"it": "Rate/a@0", "new": product("h", 5)}, name="both"), tag="y"
    ),
}


@pytest.mark.parametrize("deed", DEEDS)
def test_undo_gives_back_what_was(filled: Pool, tmp_path: Path, deed: str) -> None:
    """And its own undo gives back what the entry had done, and so on."""
    before, trash_before, n = listing(filled), trash(filled), newest(filled)
    DEEDS[deed](filled, tmp_path)
    assert newest(filled) == n + 1
    after, trash_after = listing(filled), trash(filled)
    assert after != before
    saved = {serial for serial, *_ in after["versions"]} - {serial for serial, *_ in before["versions"]}
    for times in range(2):
        done = filled.undo()
        assert (done.undone.entry, done.new.entry) == (n + 1 + 2 * times, n + 2 + 2 * times)
        assert listing(filled) == before
        assert set(trash(filled)) == set(trash_before) | saved
        with pytest.raises(
            Conflict,
            match=rf"entry {n + 1} .* was taken back already, by entry {n + 2} .*; undo entry {n + 2} to have it again",
        ):
            filled.undo(n + 1)
        filled.undo()
        assert listing(filled) == after
        assert trash(filled) == trash_after
    assert_index_is_journal(filled)
    assert filled.verify(level="full").is_whole


def test_the_same_after_a_new_index(filled: Pool) -> None:
    before = listing(filled)
    filled.tag(["Rate/a@1", "Rate/d"], "x")
    n = newest(filled)
    filled.reindex()
    filled.undo(n)
    assert listing(filled) == before


def test_an_undo_says_what_it_did(filled: Pool) -> None:
    filled.tag(["Rate/a@1", "Rate/d"], "x")
    n = newest(filled)
    done = filled.undo(n)
    (moved,) = done.undone.events
    assert (moved.entry, moved.what, moved.label, moved.serials) == (n, "tagged", "x", (1, 4))
    assert [(e.entry, e.what, e.label, e.serials) for e in done.new.events] == [
        (n + 1, "tagged", "x", (0,)),
        (n + 1, "untagged", "x", (4,)),
    ]
    assert [ref.urn for ref in moved.refs] == ["urn:jpl8:Rate:1", "urn:jpl8:Rate:4"]


def test_a_dry_run_changes_nothing(filled: Pool) -> None:
    filled.remove("Rate/b")
    before, n = listing(filled), newest(filled)
    would = filled.undo(dry_run=True)
    assert (would.undone.entry, would.new.entry, [e.what for e in would.new.events]) == (n, n + 1, ["restored"])
    assert (listing(filled), newest(filled)) == (before, n)
    done = filled.undo()
    assert [(e.what, e.serials) for e in done.new.events] == [(e.what, e.serials) for e in would.new.events]


def test_steps_back_one_after_the_other(filled: Pool) -> None:
    """An entry that was taken back is not in the way of those before it."""
    states, n = [listing(filled)], newest(filled)
    filled.tag("Rate/a@1", "x")
    states.append(listing(filled))
    filled.tag("Rate/a@0", "x")
    states.append(listing(filled))
    filled.remove("Rate/a@0")
    for step in (3, 2, 1):
        filled.undo(n + step)
        assert listing(filled) == states[step - 1]


def test_a_tag_goes_back_to_a_version_in_the_trash(filled: Pool) -> None:
    """It is seen again when that version is restored."""
    save(filled, "c", 1, "x")
    n = newest(filled)
    filled.undo(n)
    filled.restore("Rate/c@0")
    assert filled.ref("Rate/c@0").tags == ("x",)


def test_an_index_that_is_behind_follows_first(home: Home, filled: Pool) -> None:
    with home.pool("jpl8") as other:
        core_of(other).catch_up()
        before = listing(filled)
        filled.tag("Rate/a@1", "x")
        assert other.undo().undone.entry == newest(filled) - 1
    assert listing(filled) == before


# What stands in the way

BLOCKED: dict[str, tuple[Callable[[Pool], object], Callable[[Pool], object], str]] = {
    "the tag moved": (
        lambda pool: pool.tag("Rate/a@1", "x"),
        lambda pool: save(pool, "a", 2, "x"),
        "moved the tag 'x' of Rate/a since; undo entry {} first",
    ),
    "the tag moved back": (
        lambda pool: pool.tag("Rate/a@1", "x"),
        lambda pool: pool.tag("Rate/a@0", "x"),
        "all that it changed is as it was before; the same was changed last by entry {} ",
    ),
    "the tag was taken off": (
        lambda pool: pool.tag("Rate/b", "new"),
        lambda pool: pool.untag("new"),
        "all that it changed is as it was before; the same was changed last by entry {} ",
    ),
    "what had the tag is in the trash": (
        lambda pool: pool.tag("Rate/a@1", "x"),
        lambda pool: pool.remove("Rate/a@0"),
        "touched Rate/a@0 since",
    ),
    "what has the tag is in the trash": (
        lambda pool: pool.tag("Rate/a@1", "x"),
        lambda pool: pool.remove("Rate/a@1"),
        "touched Rate/a@1 since",
    ),
    "what was saved has a tag": (
        lambda pool: save(pool, "e", 0),
        lambda pool: pool.tag("Rate/e", "new"),
        "added the tag 'new' to Rate/e since",
    ),
    "what was saved lost its tag": (
        lambda pool: save(pool, "e", 0, "new"),
        lambda pool: pool.untag("new"),
        "removed the tag 'new' from Rate/e since",
    ),
    "what was saved is in the trash": (
        lambda pool: save(pool, "e", 0),
        lambda pool: pool.remove("Rate/e"),
        "all that it changed is as it was before; the same was changed last by entry {} ",
    ),
    "a context refers to what was saved": (
        lambda pool: save(pool, "e", 0),
        lambda pool: pool.save(Context({"it": "Rate/e"}, name="of e")),
        "saved or restored Context/of e@0, which refers to its versions since; undo entry {} first",
    ),
    "a context refers to what was restored": (
        lambda pool: pool.restore("Rate/c"),
        lambda pool: pool.save(Context({"it": "Rate/c"}, name="of c")),
        "saved or restored Context/of c@0, which refers to its versions",
    ),
    "a part of a context went, too": (
        lambda pool: pool.remove("Context/of d"),
        lambda pool: pool.remove("Rate/d"),
        "removed Rate/d@0, to which a context refers that would come back",
    ),
    "the tag of what was removed moved": (
        lambda pool: pool.remove("Rate/a@0"),
        lambda pool: pool.tag("Rate/a@1", "x"),
        "moved the tag 'x' of Rate/a since",
    ),
    "what was removed is back": (
        lambda pool: pool.remove("Rate/a@0"),
        lambda pool: pool.restore("Rate/a@0"),
        "all that it changed is as it was before; the same was changed last by entry {} ",
    ),
    "one of what was removed is back": (
        lambda pool: pool.remove(["Rate/a@0", "Rate/b"]),
        lambda pool: pool.restore("Rate/b"),
        "touched Rate/b@0 since",
    ),
    "what was removed is gone for good": (
        lambda pool: pool.remove("Rate/a@0"),
        lambda pool: pool.purge("Rate/a@0"),
        "touched Rate/a@0 since; that can't be undone",
    ),
    "what was restored has a tag": (
        lambda pool: pool.restore("Rate/c"),
        lambda pool: pool.tag("Rate/c", "new"),
        "added the tag 'new' to Rate/c since",
    ),
}


@pytest.mark.parametrize("case", BLOCKED)
def test_a_later_entry_is_in_the_way(filled: Pool, case: str) -> None:
    deed, later, words = BLOCKED[case]
    deed(filled)
    n = newest(filled)
    save(filled, "unrelated", 0, "unrelated")
    later(filled)
    filled.tag("Rate/unrelated", "more")
    before, entry = listing(filled), core_of(filled).archive.journal.read(n + 2)
    with pytest.raises(Conflict) as refused:
        filled.undo(n)
    told = str(refused.value)
    assert words.format(n + 2) in told
    assert f"entry {n} (" in told
    assert f"entry {n + 2} ({entry.time:%Y-%m-%d %H:%M:%S} UTC by {entry.by!r})" in told
    assert (listing(filled), newest(filled)) == (before, n + 3)
    with pytest.raises(Conflict):
        filled.undo(n, dry_run=True)


CAN_GO = [case for case, (_, _, words) in BLOCKED.items() if "as it was before" not in words and "can't" not in words]


@pytest.mark.parametrize("case", CAN_GO)
def test_it_is_no_longer_in_the_way_once_it_was_undone(filled: Pool, case: str) -> None:
    deed, later, _ = BLOCKED[case]
    before = listing(filled)
    deed(filled)
    n = newest(filled)
    later(filled)
    filled.undo(n + 1)
    filled.undo(n)
    assert listing(filled) == before


def test_other_tags_and_products_are_not_in_the_way(filled: Pool) -> None:
    filled.tag("Rate/a@1", "x")
    n = newest(filled)
    filled.tag("Rate/a@1", "new")
    filled.tag("Rate/d", "x")
    save(filled, "a", 2)
    filled.undo(n)
    assert [ref.tags for ref in filled.versions("Rate/a")] == [("x",), ("new", "y"), ()]


def test_what_is_removed_for_good_can_t_be_taken_back(filled: Pool) -> None:
    filled.purge("Rate/c")
    n, today = newest(filled), datetime.now(UTC)
    with pytest.raises(
        Conflict, match=rf"entry {n} \({today:%Y-%m-%d} .* can't be undone: it removed versions for good"
    ):
        filled.undo()
    assert newest(filled) == n


def test_numbers_that_are_none(pool: Pool) -> None:
    with pytest.raises(NotFound, match="there is nothing to undo: the journal of pool jpl8 has no entries"):
        pool.undo()
    save(pool, "a", 0)
    with pytest.raises(NotFound, match="has no entry 7; its last entry is 0"):
        pool.undo(7)
    for wrong in (-1, True, "0", 0.0):
        with pytest.raises(InvalidInput, match="is not the number of a journal entry"):
            pool.undo(wrong)  # type: ignore[arg-type]
    assert newest(pool) == 0


def test_exposures_go_and_come_with_their_parts(pool: Pool, simulated: Path) -> None:
    pool.ingest([simulated / "uncal", simulated / "v1"])
    states = [listing(pool)]
    n = newest(pool)
    pool.ingest([simulated / "v2"], tag="second")
    assert newest(pool) == n + 2  # the files, and the exposure
    states.append(listing(pool))
    done = pool.undo(n + 1)
    assert {ref.kind for event in done.new.events for ref in event.refs} == {"Ramp", "RateInts", "Rate", "Exposure"}
    assert listing(pool) == states[0]
    pool.undo()
    assert listing(pool) == states[1]
    pool.undo(n + 2)
    pool.undo(n + 1)
    assert listing(pool) == states[0]
    rows = pool.pixel(x=10, y=800).history(kind="Rate")
    assert len(rows) == 1
    assert pool.verify().is_whole


def test_the_exposures_of_an_add_are_not_its_files(pool: Pool, simulated: Path) -> None:
    """Undone alone, it is said that the files stay, and which entries of files they are: not those of earlier calls."""
    pool.ingest([simulated / "uncal"])
    before, n = listing(pool), newest(pool)
    for folder in ("v1/*_ramp.fits", "v1/*_rate.fits"):
        pool.save(next(simulated.glob(folder)), pixels=False)
    pool.ingest([simulated / "v1"])
    assert newest(pool) == n + 4
    would = call("undo", "jpl8", "--dry-run").stderr
    assert f"saved Exposure/{NAME}@1" in would
    assert f"exposures of files that entries {n + 1} to {n + 3} saved. These files would stay in the pool" in would
    done = pool.undo()
    assert done.files == (n + 3, n + 2, n + 1)
    pool.undo()
    told = call("undo", "jpl8", str(n + 4)).stderr.splitlines()[-1]
    commands = told.partition("takes them back, too: ")[2].split(" && ")
    assert commands == [f"miripool undo jpl8 {entry}" for entry in done.files]
    for command in commands:
        assert call(*command.split()[1:]).exit_code == 0
    assert listing(pool) == before
    assert pool.undo(n - 1).files == ()


def test_what_a_run_of_the_pipeline_made(pool: Pool) -> None:
    """Products, their exposure and their tag are one entry, and go together."""
    raw = pool.save(Raw({}, {"SCI": np.zeros((1, 2, 3, 4), "u2")}, name="e"), pixels=False)
    states = [listing(pool)]
    made = [Ramp({}, {"SCI": np.zeros((1, 2, 3, 4), "f4")}, name="e"), product("e", 1)]
    saving.commit_together(core_of(pool), made, tag="run", raw=raw, pixels=False)
    states.append(listing(pool))
    for state in (0, 1, 0):
        pool.undo()
        assert listing(pool) == states[state]
    pool.undo(0)
    assert listing(pool)["versions"] == []


def test_where_the_pool_can_t_be_written(filled: Pool) -> None:
    filled.tag("Rate/a@1", "x")
    before = listing(filled)
    with homes.unwritable(filled.path):
        with pytest.raises(ReadOnly):
            filled.undo()
        with pytest.raises(ReadOnly):
            call("undo", "jpl8")
        assert "would undo entry" in call("undo", "jpl8", "--dry-run").stderr
    assert listing(filled) == before


# Others, and kills


def test_two_that_undo_the_same_entry(home: Home, filled: Pool) -> None:
    """One does; the others say that it was done."""
    before = listing(filled)
    filled.tag("Rate/a@1", "x")
    n = newest(filled)
    found: list[Any] = []
    barrier = threading.Barrier(4)

    def undo() -> None:
        with home.pool("jpl8") as mine:
            core_of(mine).catch_up()
            barrier.wait()
            try:
                found.append(mine.undo(n).undone.entry)
            except Conflict as error:
                found.append(str(error))

    threads = [threading.Thread(target=undo) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one for one in found if isinstance(one, int)] == [n]
    told = [one for one in found if isinstance(one, str)]
    assert len(told) == 3
    assert all(f"was taken back already, by entry {n + 1} (" in one for one in told)
    assert (listing(filled), newest(filled)) == (before, n + 1)


@pytest.mark.parametrize("rival", ["another", "the same"])
def test_a_writer_that_comes_in_between(filled: Pool, home: Home, monkeypatch: pytest.MonkeyPatch, rival: str) -> None:
    """What was the newest entry is taken back, not that of the other; if the other did that, nothing is done."""
    before = listing(filled)
    filled.tag("Rate/a@1", "x")
    n = newest(filled)
    next_entry, overtaken = Journal.next_entry, []

    def after_another(*arguments: Any, **options: Any) -> Entry:
        """The entry was decided on, and is not written yet."""
        if not overtaken:
            overtaken.append(rival)
            with home.pool("jpl8") as other:
                other.tag("Rate/d", "of another") if rival == "another" else other.undo(n)
        return next_entry(*arguments, **options)

    monkeypatch.setattr(Journal, "next_entry", staticmethod(after_another))
    if rival == "another":
        done = filled.undo()
        assert (done.undone.entry, done.new.entry) == (n, n + 2)
        assert filled.ref("Rate/d").tags == ("of another",)
        filled.untag("of another")
    else:
        with pytest.raises(Conflict, match=rf"entry {n} .* was taken back already, by entry {n + 1} "):
            filled.undo()
    assert overtaken
    assert listing(filled) == before


@pytest.mark.slow
def test_two_processes_that_undo_the_same_entry(filled: Pool, miripool: Callable[..., Any]) -> None:
    before = listing(filled)
    filled.remove(["Rate/a@0", "Rate/b"])
    n = newest(filled)
    command = [sys.executable, "-m", "miripool", "undo", "jpl8", str(n)]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    words = [process.communicate(timeout=120)[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, Conflict.exit_code], words
    refused = next(w for process, w in zip(both, words, strict=True) if process.returncode)
    assert f"was taken back already, by entry {n + 1} (" in refused
    assert listing(filled) == before


KILLED = """
import os, signal, sys
from miripool import Home
from miripool.pool.core import core_of
from miripool.store.journal import Journal

write = Journal.write

def killed(self, entry):
    if sys.argv[2] == "after":
        write(self, entry)
    os.kill(os.getpid(), signal.SIGKILL)

Journal.write = killed
Home(sys.argv[1]).pool("jpl8").undo()
"""


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_the_entry(home: Home, filled: Pool, moment: str) -> None:
    """Right before it nothing is done, right after it all of it: tags and versions together."""
    states = [listing(filled)]
    save(filled, "a", 2, "x")
    states.append(listing(filled))
    n = newest(filled)
    done = subprocess.run([sys.executable, "-c", KILLED, str(home.path), moment], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert listing(filled) == states[moment == "before"]
    assert newest(filled) == n + (moment == "after")
    assert_index_is_journal(filled)
    assert filled.verify(level="full").is_whole


@pytest.mark.slow
def test_killed_at_any_moment(home: Home, filled: Pool) -> None:
    """Again and again, until one undo was done: it was done whole."""
    states = [listing(filled)]
    save(filled, "a", 2, "x")
    states.append(listing(filled))
    n = newest(filled)
    chance = random.Random(1)
    code = "import sys\nfrom miripool import Home\nHome(sys.argv[1]).pool('jpl8').undo(int(sys.argv[2]))"
    for _ in range(8):
        with subprocess.Popen([sys.executable, "-c", code, str(home.path), str(n)]) as process:
            try:
                process.wait(chance.uniform(0.3, 1.2))
            except subprocess.TimeoutExpired:
                process.kill()
        taken_back = newest(filled) - n
        assert taken_back in (0, 1)
        assert listing(filled) == states[1 - taken_back]
        if taken_back:
            break
    assert_index_is_journal(filled)


# On the command line


def test_the_command(filled: Pool) -> None:
    before = listing(filled)
    filled.tag(["Rate/a@1", "Rate/d"], "x")
    n = newest(filled)
    log = call("log", "jpl8", "--limit", "1").stdout
    assert log.split()[0] == str(n)
    would = call("undo", "jpl8", "--dry-run")
    assert f"would undo entry {n}:\n{log}" in would.stderr
    assert newest(filled) == n
    done = call("undo", "jpl8", log.split()[0])
    assert (done.exit_code, done.stdout) == (0, "")
    assert f"undid entry {n}:\n{log}entry {n + 1} takes it back:\n" in done.stderr
    assert call("log", "jpl8", "--limit", "2").stdout in done.stderr
    assert listing(filled) == before
    with pytest.raises(Conflict, match=f"was taken back already, by entry {n + 1} "):
        call("undo", "jpl8", str(n))
    hint = f"entry {n + 1} was an undo itself: what entry {n} did holds again. To go back further, give the number"
    assert hint in call("undo", "jpl8").stderr
    assert "was an undo itself" not in call("undo", "jpl8", str(n + 2)).stderr


def test_the_log_marks_what_was_taken_back(filled: Pool) -> None:
    """An undo that was undone does not count: what it had taken back holds again."""
    n = newest(filled) + 1

    def marks() -> dict[int, tuple[int | None, int | None]]:
        found = json.loads(call("log", "jpl8", "--json").stdout)
        return {one["entry"]: (one["undo_of"], one["taken_back_by"]) for one in found if one["entry"] >= n}

    filled.tag("Rate/a@1", "x")
    assert marks() == {n: (None, None)}
    filled.undo()
    filled.tag("Rate/d", "new")
    assert marks() == {n: (None, n + 1), n + 1: (n, None), n + 2: (None, None)}
    lines = call("log", "jpl8", "--limit", "3").stdout.splitlines()
    assert lines[0].endswith(f" (taken back by entry {n + 1})")
    assert lines[1].endswith(f" (undo of entry {n})")
    assert not lines[2].endswith(")")
    filled.undo(n + 1)
    assert marks() == {n: (None, None), n + 1: (n, n + 3), n + 2: (None, None), n + 3: (n + 1, None)}
    assert f" (undo of entry {n}, taken back by entry {n + 3})\n" in call("log", "jpl8").stdout
    filled.undo(n)
    assert marks()[n] == (None, n + 4)
    assert json.loads(call("log", "jpl8", "--by", "nobody", "--json").stdout) == []
    track = json.loads(call("log", "jpl8", "Rate/a", "--json").stdout)
    assert {one["entry"]: (one["undo_of"], one["taken_back_by"]) for one in track["tags"] if one["entry"] >= n} == {
        entry: mark for entry, mark in marks().items() if entry != n + 2
    }
    assert call("log", "jpl8", "Rate/a").stdout.endswith(f" (undo of entry {n})\n")
    assert [change.undo_of for change in filled.changes(n - 1)] == [None, n, None, n + 1, n]
    filled.reindex()
    assert marks()[n] == (None, n + 4)


def test_the_mark_is_nothing_new_to_readers(filled: Pool) -> None:
    """It stands in the nonce, which every reader of entries of form 2 takes for any text."""
    filled.tag("Rate/a@1", "x")
    filled.undo()
    *_, tagged, undone = journal_of(filled.path)
    assert set(undone) == set(tagged)
    assert re.fullmatch("[0-9a-f]{16}", tagged["nonce"])
    assert re.fullmatch(f"[0-9a-f]{{16}} undoes {tagged['n']}", undone["nonce"])


# Anything in any order


def cells(played: Replay) -> dict[tuple[Any, ...], Any]:
    """What can change in a pool: each version is in the trash or not, each tag marks a version of each product."""
    states = {
        ("version", s): "gone" if v["purged"] else "trash" if v["removed"] else "living"
        for s, v in played.versions.items()
    }
    return {**states, **{("tag", *place): serial for place, serial in played.marks.items()}}


class History:
    """A random history of a pool, and what its journal says of each moment, in plain Python."""

    def __init__(self, pool: Pool, seed: int) -> None:
        self.pool = pool
        self.random = random.Random(seed)
        self.moments: list[dict[tuple[Any, ...], Any]] = []
        self.played = Replay()
        self.undone = self.refused = 0

    def follow(self) -> None:
        for entry in journal_of(self.pool.path)[self.played.entries :]:
            self.played.play(entry)
            self.moments.append(cells(self.played))

    def changed(self, n: int) -> set[tuple[Any, ...]]:
        before, after = self.moments[n - 1] if n else {}, self.moments[n]
        return {cell for cell in {*before, *after} if before.get(cell) != after.get(cell)}

    def involved(self, n: int) -> set[tuple[Any, ...]]:
        """What an entry changed; versions that its tags marked before and after; and what its contexts refer to."""
        found = self.changed(n)
        for moment in self.moments[max(n - 1, 0) : n + 1]:
            found |= {("version", moment[cell]) for cell in self.changed(n) if cell[0] == "tag" and cell in moment}
        for cell in list(found):
            if cell[0] == "version":
                found |= {("version", target) for target in core_of(self.pool).catalog.links(cell[1]).values()}
        return found

    def some(self, *, removed: bool = False) -> Any:
        found = list(self.pool.trash() if removed else self.pool.select("1", all_versions=True))
        found += [] if removed else list(self.pool.select(Context, all_versions=True))
        return self.random.choice(found) if found else None

    def step(self) -> None:
        name, label = self.random.choice("abc"), self.random.choice(["x", "y"])
        deed = self.random.choice(["save", "save", "context", "tag", "tag", "untag", "remove", "restore", "purge"])
        ref = self.some(removed=deed in ("restore", "purge"))
        try:
            if deed == "save":
                save(self.pool, name, self.random.randrange(4), self.random.choice([None, label]))
            elif ref is None or (deed == "purge" and self.random.random() < 0.7):
                return
            elif deed == "context":
                if ref.kind == "Rate":
                    self.pool.save(Context({"it": ref}, name=f"of {name}"), tag=self.random.choice([None, label]))
            elif deed == "tag":
                self.pool.tag(ref, label)
            elif deed == "untag":
                self.pool.untag(label, self.random.choice([None, ref]))
            elif deed == "remove":
                self.pool.remove(ref, cascade=True)
            elif deed == "restore":
                self.pool.restore(ref)
            else:
                self.pool.purge(ref)
        except (NotFound, Conflict):
            pass

    def undo(self) -> None:
        self.follow()
        n = self.random.randrange(len(self.moments))
        if self.random.random() < 0.5:
            n = self.random.randrange(max(0, len(self.moments) - 5), len(self.moments))
        here = self.moments[-1]
        try:
            done = self.pool.undo(n)
        except MiripoolError as error:
            self.follow()
            assert self.moments[-1] == here
            self.refused += 1
            self.check_refusal(n, error)
            return
        self.follow()
        self.undone += 1
        assert done.new.entry == len(self.moments) - 1
        self.check_undone(n, here)

    def check_undone(self, n: int, here: dict[tuple[Any, ...], Any]) -> None:
        """What it had changed stood as it had left it, and is as before; all else is as it was."""
        before, now = self.moments[n - 1] if n else {}, self.moments[-1]
        for cell in {*here, *now}:
            if cell in self.changed(n):
                assert here.get(cell) == self.moments[n].get(cell), cell
                new_before = "trash" if cell[0] == "version" else None  # there was no such version
                assert now.get(cell) == before.get(cell, new_before), cell
            else:
                assert now.get(cell) == here.get(cell), cell

    def check_refusal(self, n: int, error: MiripoolError) -> None:
        assert isinstance(error, Conflict), error
        told = str(error)
        if "it removed versions for good" in told:
            assert "gone" in {self.moments[n].get(cell) for cell in self.changed(n)}
            return
        assert f"entry {n} (" in told
        (why,) = {int(k) for k in re.findall(r"(?<!undo )entry (\d+) \(", told)} - {n}
        assert why > n
        touched = self.changed(n)
        versions = {cell[1] for cell in touched if cell[0] == "version"}
        marks = {cell for cell in self.changed(why) if cell[0] == "tag"}
        of_these = {c for c in marks if {self.moments[why].get(c), self.moments[why - 1].get(c)} & versions}
        assert self.involved(n) & self.involved(why) or of_these, told
        if "taken back already" in told or "left to undo" in told:
            before, now = self.moments[n - 1] if n else {}, self.moments[-1]
            for cell in touched:
                assert now.get(cell) == before.get(cell, "trash" if cell[0] == "version" else None)


def run_history(pool: Pool, seed: int, steps: int) -> History:
    history = History(pool, seed)
    save(pool, "a", 0)
    for _ in range(steps):
        history.step()
        if history.random.random() < 0.4:
            history.undo()
    assert_index_is_journal(pool)
    return history


def test_a_random_history(pool: Pool) -> None:
    history = run_history(pool, 0, 40)
    assert history.undone >= 3
    assert history.refused >= 3


@pytest.mark.slow
def test_random_histories(home: Home) -> None:
    undone = refused = 0
    for seed in range(1, 13):
        with home.create(f"p{seed}") as pool:
            history = run_history(pool, seed, 60)
            undone, refused = undone + history.undone, refused + history.refused
    assert undone > 100
    assert refused > 50
