"""Several processes on one pool, and processes that are killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import homes
import pytest
from homes import ask, write_image
from replay import assert_index_is_journal, folder_of, replay

from miripool import Home, Pool, PoolManager
from miripool.errors import IntegrityError, MiripoolError
from miripool.pool.core import core_of
from miripool.store.journal import Journal

home = homes.home

# Each waits for a line, so that all begin at once.
PRELUDE = """
import sys
import numpy as np
from miripool import PoolManager, Rate
from miripool.formats import read_fits
from miripool.pool import save as saving
pool = PoolManager.getPool("jpl8")
pool._core.catch_up()
def product(name, value):
    return Rate({"NGROUPS": value}, {"SCI": np.full((2, 3), value, "f4")}, name=name)
print("ready", flush=True)
sys.stdin.readline()
"""


@contextmanager
def started(scripts: Sequence[tuple[str, Sequence[Any]]]) -> Iterator[list[subprocess.Popen[str]]]:
    """Start scripts that have said that they are ready."""
    with ExitStack() as stack:
        processes = []
        for script, arguments in scripts:
            command = [sys.executable, "-c", PRELUDE + script, *map(str, arguments)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            process = stack.enter_context(subprocess.Popen(command, text=True, **pipes))  # type: ignore[call-overload]
            stack.callback(_end, process)
            processes.append(process)
        for process in processes:
            assert process.stdout.readline() == "ready\n", process.stderr.read()
        yield processes


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()


def together(scripts: Sequence[tuple[str, Sequence[Any]]]) -> list[str]:
    """Run scripts at once; gives what each wrote."""
    with started(scripts) as processes:
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        ended = [process.communicate(timeout=120) for process in processes]
        assert [(p.returncode, words) for p, (_, words) in zip(processes, ended, strict=True)] == [(0, "")] * len(ended)
        return [output for output, _ in ended]


@pytest.mark.slow
def test_two_processes_save_a_hundred_products_each(pool: Pool) -> None:
    script = """
for i in range(100):
    print(pool.save(product(f"{sys.argv[1]} {i}", i)).urn)
"""
    outputs = together([(script, ["a"]), (script, ["b"])])
    urns = [line for output in outputs for line in output.split("\n") if line]
    assert len(urns) == len(set(urns)) == 200
    core_of(pool).catch_up()
    played = assert_index_is_journal(pool)
    assert played.entries == 200
    assert sorted(row["name"] for row in played.rows()) == sorted(f"{p} {i}" for p in "ab" for i in range(100))
    assert sorted(ref.urn for ref in pool.select()) == sorted(urns)


@pytest.mark.slow
def test_three_processes_add_versions_of_the_same_products(pool: Pool, tmp_path: Path) -> None:
    """Entries of many files compete for numbers: who loses decides again on all files of its batch."""
    script = """
from pathlib import Path
from miripool.formats import write_fits
files = [Path(sys.argv[2], f"n{i}_rate.fits") for i in range(50)]
for i, path in enumerate(files):
    write_fits(product("", int(sys.argv[1]) * 1000 + i), path)
for outcome in pool.ingest(files, tag="by " + sys.argv[1], jobs=int(sys.argv[3]), pixels=False):
    print(outcome.urn, outcome.version, outcome.path.stem)
"""
    folders = [tmp_path / str(i) for i in range(3)]
    for folder in folders:
        folder.mkdir()
    outputs = together([(script, [i + 1, folder, 1 + i % 2]) for i, folder in enumerate(folders)])
    told = [line.split() for output in outputs for line in output.splitlines()]
    assert len(told) == len({urn for urn, _, _ in told}) == 150
    core_of(pool).catch_up()
    for number in range(0, 50, 7):
        versions = pool.versions(f"Rate/n{number}")
        assert [ref.version for ref in versions] == [0, 1, 2]
        assert sorted(ref.meta["NGROUPS"].value for ref in versions) == [1000 + number, 2000 + number, 3000 + number]
    assert [len(pool.tagged(f"by {i + 1}")) for i in range(3)] == [50] * 3
    assert list((pool.path / "pending").glob("*")) == []
    assert_index_is_journal(pool)


@pytest.mark.slow
def test_eight_processes_save_under_one_name(pool: Pool) -> None:
    script = """
ref = pool.save(product("same", int(sys.argv[1])), tag="newest")
print(ref.version, ref.urn, ref.meta["NGROUPS"].value)
"""
    outputs = [output.split() for output in together([(script, [i]) for i in range(8)])]
    assert sorted(int(version) for version, _, _ in outputs) == list(range(8))
    assert len({urn for _, urn, _ in outputs}) == 8
    for version, urn, value in outputs:
        ref = pool.ref(urn)
        assert (str(ref.version), str(ref.meta["NGROUPS"].value)) == (version, value)
        assert ref.product.data.max() == float(value)
    assert pool.load("newest").version == 7
    assert_index_is_journal(pool)


@pytest.mark.slow
def test_four_processes_save_the_same(pool: Pool) -> None:
    script = """
ref = pool.save(product("same", 1), tag=sys.argv[1])
print(ref.urn)
"""
    outputs = together([(script, [f"tag {i}"]) for i in range(4)])
    assert set(outputs) == {"urn:jpl8:Rate:0\n"}
    assert pool.ref("same").tags == tuple(f"tag {i}" for i in range(4))
    assert_index_is_journal(pool)


@pytest.mark.slow
def test_readers_see_no_error_while_others_write(pool: Pool, home: Home) -> None:
    writer = """
for i in range(40):
    ref = pool.save(product(f"p {i % 10}", i), tag="t")
    if i % 4 == 3:
        pool.remove(ref)
"""
    reader = """
import time
from miripool import Home, Rate
seen, end = 0, time.monotonic() + float(sys.argv[1])
while time.monotonic() < end or (seen <= 5 and time.monotonic() < end + 60):  # writers may be slow to begin
    refs = pool.select("ngroups >= 0")
    assert len(refs) >= seen - 10, (len(refs), seen)
    seen = max(seen, len(refs))
    for ref in refs:
        assert ref.product.data.max() == ref.meta["NGROUPS"].value
        assert ref.kind == "Rate"
    refs.to_table(["urn", "version", "tags", "NGROUPS"])
    pool.tags(), pool.tag_events()
    with Home().pool("jpl8") as fresh:
        fresh.select(Rate, tag="t") if fresh.tag_exists("t") else None
print(seen)
"""
    # The tag may mark nothing any more the moment after it was looked for; so the writer leaves one.
    pool.save(write_image(home.path / "files" / "x.fits"), kind="Rate", tag="t")
    *_, seen = together([(writer, []), (writer.replace("p {i", "q {i"), []), (reader, [2])])
    assert int(seen) > 5
    core_of(pool).catch_up()
    assert_index_is_journal(pool)


@pytest.mark.slow
def test_a_dropped_index_while_others_write(pool: Pool, home: Home) -> None:
    """Whoever opens the pool next makes it again from the journal."""
    for i in range(5):
        pool.save(write_image(home.path / "files" / "a.fits", {"N": i}), tag=f"t{i % 2}")
    before = core_of(pool).catalog.rows(range(5))
    pool.close()
    ask(home.database_url(), "DROP SCHEMA jpl8 CASCADE")
    outputs = together([("print(pool.select(all_versions=True).size())", [])] * 2)
    assert outputs == ["5\n"] * 2
    assert core_of(pool).catalog.rows(range(5)) == before
    assert_index_is_journal(pool)


# Killed

SAVER = """
import itertools
for i in itertools.count(int(sys.argv[1])):
    ref = pool.save(product(f"p {i % 7}", i), tag=f"t {i % 3}")
    print(ref.urn, i, flush=True)
    if i % 5 == 4:
        pool.remove(ref)
"""


@pytest.mark.slow
def test_killed_at_any_moment(pool: Pool, home: Home) -> None:
    """What a killed process had reported as saved is there; the index is what the journal says after the next command.

    The moments are drawn between the 1st and the 6th save, so that they fall on every step of one.
    """
    chance = random.Random(20260101)
    known: dict[str, int] = {}
    for kill in range(15):
        with started([(SAVER, [kill * 1000])]) as (process,):
            process.stdin.write("go\n")
            process.stdin.flush()
            wanted = chance.randint(0, 5)
            lines = [process.stdout.readline() for _ in range(wanted)]
            time.sleep(chance.uniform(0, 0.04))
            os.kill(process.pid, signal.SIGKILL)
            rest, _ = process.communicate(timeout=60)
            lines += rest.splitlines(keepends=True)
        for line in lines:
            if line.endswith("\n"):
                urn, value = line.rsplit(None, 1)
                assert urn not in known
                known[urn] = int(value)
        # The next command.
        with home.pool("jpl8") as fresh:
            for urn, value in list(known.items())[-8:]:
                ref = fresh.ref(urn, removed=True)
                assert ref.meta["NGROUPS"].value == value
                assert ref.product["SCI"][1, 2] == value
            assert_index_is_journal(fresh)
    core_of(pool).catch_up()
    played = assert_index_is_journal(pool)
    assert set(known) <= {f"urn:jpl8:{row['kind']}:{row['serial']}" for row in played.rows()}
    # Whatever the journal has can be read, also what nobody was told of.
    for serial in played.versions:
        product = core_of(pool).fetch([serial])[0].product
        assert float(product.data[0, 0]) == product.meta["NGROUPS"].value
    # Somebody was killed in the middle of a save, and nobody who is not there holds up a writer.
    assert len(played.versions) > 15
    assert pool.save(write_image(home.path / "files" / "after.fits")).version == 0


@pytest.mark.slow
def test_killed_between_the_entry_and_the_index(pool: Pool, home: Home) -> None:
    """The entry is durable; the next command takes it in."""
    script = """
import os, signal
write = pool._core.archive.journal.write
def write_and_die(*arguments):
    write(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
pool._core.archive.journal.write = write_and_die
pool.save(product("a", 1), tag="x")
"""
    with started([(script, [])]) as (process,):
        process.communicate("go\n", timeout=60)
        assert process.returncode == -signal.SIGKILL
    assert replay(folder_of(pool)).entries == 1
    assert core_of(pool).catalog.position().n == -1
    listed = subprocess.run(
        [sys.executable, "-m", "miripool", "ls", "jpl8", "--json"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    (row,) = json.loads(listed.stdout)
    assert (row["urn"], row["tags"]) == ("urn:jpl8:Rate:0", ["x"])
    assert_index_is_journal(pool)
    # The note of the dead writer spares what it announced, and harms nothing.
    assert len(list((folder_of(pool) / "pending").iterdir())) == 1
    assert pool.save(pool.ref("a")).notice == "unchanged: version 0"


@pytest.mark.slow
def test_killed_before_the_entry(pool: Pool) -> None:
    script = """
import os, signal
def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)
pool._core.archive.journal.write = die
pool.save(product("a", 1), tag="x")
"""
    with started([(script, [])]) as (process,):
        process.communicate("go\n", timeout=60)
    assert pool.select().size() == 0
    assert replay(folder_of(pool)).entries == 0
    # The same product, saved again, finds its blobs.
    done = together([('print(saving.save(pool._core, product("a", 1)).stored_bytes)', [])])
    assert done == ["0\n"]
    assert pool.ref("a").product.data.max() == 1
    assert_index_is_journal(pool)


def test_a_forked_child_uses_the_pool(pool: Pool, home: Home) -> None:
    pool.save(write_image(home.path / "files" / "a.fits"))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            pool.save(write_image(home.path / "files" / "b.fits"))
            code = 0 if pool.select().size() == 2 else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert pool.select().size() == 2
    assert_index_is_journal(pool)


@pytest.mark.slow
def test_a_pool_made_by_several_at_once(home: Home) -> None:
    script = """
import sys
from miripool import PoolManager
pool = PoolManager.getPool("new", create=True)
print(pool.id, pool.select().size())
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    ended = [process.communicate(timeout=60) for process in processes]
    assert [words for _, words in ended] == [""] * 3
    assert len({output for output, _ in ended}) == 1
    with PoolManager.getPool("new") as pool:
        assert ended[0][0] == f"{pool.id} 0\n"


def test_what_the_index_refuses_is_not_saved(pool: Pool, tmp_path: Path) -> None:
    """An entry that no index could take in would keep all later ones out too."""
    good = write_image(tmp_path / "good.fits")
    bad = write_image(tmp_path / "bad.fits")
    pool.save(good)
    statement = f"ALTER TABLE \"{core_of(pool).catalog.schema}\".product ADD CHECK (name <> 'bad')"
    ask(os.environ["MIRIPOOL_DATABASE_URL"], statement)
    with pytest.raises(MiripoolError):
        pool.save(bad)
    assert core_of(pool).archive.journal.last() == 0
    assert pool.save(good, tag="still").version == 0
    assert_index_is_journal(pool)


def test_a_number_taken_by_something_else_is_an_error(pool: Pool, tmp_path: Path) -> None:
    pool.save(write_image(tmp_path / "a.fits"))
    core_of(pool).archive.storage.files.path(Journal.key(1)).mkdir()
    with pytest.raises(
        IntegrityError, match=r"000000000001\.json is not a journal entry, but has the name of the next one"
    ):
        pool.save(write_image(tmp_path / "b.fits"))
