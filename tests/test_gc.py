"""Collecting frees what nobody refers to, and nothing else, whoever writes meanwhile."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from ahead import Ahead
from homes import call, environment
from replay import folder_of

from miripool import Context, Pool, Rate
from miripool.errors import Conflict, IntegrityError, ProductNotFound
from miripool.maintenance.gc import Collected, collect
from miripool.maintenance.verify import LEVELS, verify
from miripool.model.canonical import canonical_json
from miripool.pool.core import core_of
from miripool.store import notes
from miripool.store.arrays.blob import Blob


def made(name: str, value: float) -> Rate:
    return Rate({}, {"SCI": np.full((40, 50), value, "f4")}, name=name)


def files(pool: Pool) -> set[str]:
    return {key for folder in ("blobs", "manifests") for key in core_of(pool).archive.storage.keys(folder)}


def leave_a_blob(pool: Pool, value: float = 7) -> str:
    """Do what a writer does that is killed before its manifest is there; give the blob's key."""
    before = files(pool)
    Ahead(pool, made("left", value)).close()
    blob, manifest = sorted(files(pool) - before)
    assert core_of(pool).archive.storage.delete(manifest)
    return blob


def key_of(pool: Pool, spec: str) -> str:
    source = pool.ref(spec, removed=True).product["SCI"].source
    assert isinstance(source, Blob)
    return source.key


def test_what_nobody_refers_to_is_freed(pool: Pool) -> None:
    pool.save(made("a", 1))
    pool.save(made("a", 2))
    pool.remove("Rate/a@0")
    kept = files(pool)
    left = {leave_a_blob(pool), leave_a_blob(pool, 8)}
    size = sum(core_of(pool).archive.storage.status(key).size for key in left)
    told = collect(core_of(pool).archive, dry_run=True)
    assert (told.files, told.bytes) == (2, size)
    assert files(pool) == kept | left
    done: list[tuple[int, int]] = []
    found = collect(core_of(pool).archive, progress=lambda n, total: done.append((n, total)))
    assert (found.files, found.bytes, found.spared, done) == (2, size, 0, [(2, 2)])
    assert files(pool) == kept
    assert verify(pool, level="full").findings == []
    pool.restore("Rate/a@0")  # what is in the trash is kept
    assert pool.ref("Rate/a@0").product["SCI"][0, 0] == 1
    assert collect(core_of(pool).archive) == Collected()


def journal_of(pool: Pool) -> list[str]:
    return [
        type(action).__name__ for entry in core_of(pool).archive.journal.since(-1, None) for action in entry.actions
    ]


@pytest.mark.slow
def test_what_was_long_in_the_trash_is_given_up(pool: Pool) -> None:
    for value in (1, 2, 3):
        pool.save(made("a", value), tag=f"v{value}")
    shared = pool.save(made("b", 2))
    context = pool.save(Context({"old": "Rate/a@0"}, name="c"))
    pool.remove(["Rate/a@0", "Rate/a@1"], cascade=True)
    assert [ref.urn for ref in pool.trash(longer_than=timedelta(days=30))] == []
    expired = pool.trash(longer_than=timedelta(0))
    assert [ref.version for ref in expired] == [0, 1, 0]
    only = key_of(pool, "Rate/a@0")
    both = key_of(pool, "Rate/a@1")
    assert collect(core_of(pool).archive, dry_run=True, without=[ref.serial for ref in expired]).files == 1
    assert pool.purge(expired) == 3
    assert journal_of(pool)[-1] == "Purge"
    manifests = set(core_of(pool).archive.storage.keys("manifests"))
    found = collect(core_of(pool).archive)
    assert found.files == 1
    assert only not in files(pool)
    assert both in files(pool)  # Rate/b has the same array
    assert set(core_of(pool).archive.storage.keys("manifests")) == manifests
    assert shared.product["SCI"][0, 0] == 2
    for level in LEVELS:
        assert verify(pool, level=level).findings == []
    assert pool.trash().size() == 0
    assert core_of(pool).catalog.statistics().total.removed == 0
    for spec in ("Rate/a@0", context.urn, expired[0]):
        with pytest.raises(ProductNotFound, match=r"removed for good on 20.* UTC, after it was put into the trash"):
            pool.restore(spec)
        with pytest.raises(ProductNotFound, match="its arrays are gone"):
            pool.ref(spec)
    gone = pool.versions("Rate/a", removed=True)[0]
    with pytest.raises(ProductNotFound, match="removed for good"):
        gone.to_hdulist()
    assert pool.diff("Rate/a@0", "Rate/a").changed
    log = call("log", "jpl8", "Rate/a").stdout
    assert log.count("removed for good on") == 2
    assert "in the trash" not in log
    # Its number stays used, and the same array is a new version.
    again = pool.save(made("a", 1))
    assert (again.version, again.serial) == (3, 5)
    before = core_of(pool).catalog.rows(range(6))
    pool.reindex()
    assert core_of(pool).catalog.rows(range(6)) == before


def test_who_restores_first(pool: Pool) -> None:
    pool.save(made("a", 1))
    pool.remove("Rate/a@0")
    (ref,) = pool.trash(longer_than=timedelta(0))
    assert pool.restore(ref) == 1
    assert pool.purge([ref]) == 0
    assert collect(core_of(pool).archive) == Collected()
    assert pool.ref("Rate/a").product["SCI"][0, 0] == 1


def test_giving_up_on_the_command_line(pool: Pool) -> None:
    pool.save(made("a", 1))
    pool.save(made("a", 2))
    pool.remove("Rate/a@0")
    assert "would free 0 files" in call("gc", "jpl8", "--dry-run").stderr
    told = call("gc", "jpl8", "--grace", "0", "--dry-run")
    assert "would remove for good urn:jpl8:Rate:0  Rate/a@0" in told.stderr
    assert "would free 1 file," in told.stderr
    assert pool.trash().size() == 1
    told = call("gc", "jpl8", "--grace", "0", "--json")
    assert (json.loads(told.stdout)["purged"], json.loads(told.stdout)["files"]) == (1, 1)
    assert call("ls", "jpl8", "--trash", "--json").stdout == "[]\n"


def test_an_empty_pool(pool: Pool) -> None:
    assert collect(core_of(pool).archive) == Collected()


@pytest.mark.parametrize("damage", ["manifest", "journal"])
def test_with_damage_nothing_is_collected(pool: Pool, damage: str) -> None:
    ref = pool.save(made("a", 1))
    pool.save(made("b", 2))
    leave_a_blob(pool)
    (row,) = core_of(pool).catalog.rows([ref.serial])
    key = (
        core_of(pool).archive.manifest_key(row.manifest)
        if damage == "manifest"
        else core_of(pool).archive.journal.key(0)
    )
    core_of(pool).archive.storage.files.path(key).unlink()
    before = files(pool)
    with pytest.raises(IntegrityError):
        collect(core_of(pool).archive)
    assert files(pool) == before


def beside() -> dict[str, str]:
    """Give the environment of processes that import modules of the tests."""
    return environment(PYTHONPATH=str(Path(__file__).parent))


WRITER = """
import sys
import numpy as np
from miripool import Home, Rate
from ahead import Ahead
with Home().pool("jpl8") as pool:
    ready = Ahead(pool, Rate({}, {"SCI": np.full((40, 50), 7, "f4")}, name="slow"))
    print("ready", flush=True)
    sys.stdin.readline()
    ready.commit()
    ready.close()
"""


@pytest.mark.slow
def test_a_writer_that_was_stopped_after_it_looked(pool: Pool) -> None:
    """It found the blob there, which nobody refers to yet; meanwhile somebody collects."""
    key = leave_a_blob(pool)
    with subprocess.Popen(
        [sys.executable, "-c", WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=beside()
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        writer.send_signal(signal.SIGSTOP)
        other = leave_a_blob(pool, 9)
        found = collect(core_of(pool).archive)
        assert (found.files, found.spared) == (1, 2)  # it has written its manifest, too
        assert key in files(pool)
        assert other not in files(pool)
        writer.send_signal(signal.SIGCONT)
        writer.stdin.write(b"\n")
        writer.stdin.flush()
        assert writer.wait(60) == 0
    core_of(pool).catch_up()
    assert key_of(pool, "Rate/slow") == key
    assert verify(pool, level="full").is_whole
    assert collect(core_of(pool).archive) == Collected()


@pytest.mark.slow
def test_a_writer_that_was_killed(pool: Pool) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=beside()
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        writer.kill()
    assert {key.split("/")[0] for key in files(pool)} == {"blobs", "manifests"}
    assert len(files(pool)) == 2
    found = collect(core_of(pool).archive)
    assert (found.files, found.notes) == (2, 1)
    assert files(pool) == set()


@pytest.mark.slow
def test_a_writer_waits_for_a_collector(pool: Pool) -> None:
    key = leave_a_blob(pool)
    with core_of(pool).archive.notes.collecting([key]):
        thread = threading.Thread(target=lambda: pool.save(made("new", 7)))
        thread.start()
        pool_of_others = pool.save(made("other", 3))  # other keys: nobody waits
        thread.join(1)
        assert thread.is_alive()
        core_of(pool).archive.storage.delete(key)  # the collector does its work
    thread.join(30)
    assert not thread.is_alive()
    assert pool.ref("Rate/new").product["SCI"][1, 1] == 7
    assert pool_of_others.version == 0
    assert verify(pool, level="full").is_whole


def put_note(pool: Pool, folder: str, keys: list[str], **told: object) -> str:
    note = {"host": socket.gethostname(), "pid": 1 << 22, "started": 1.0, "time": "2026-01-01T00:00:00+00:00"}
    name = f"{folder}/{'0' * 32}.json"
    core_of(pool).archive.storage.put(name, canonical_json({**note, **told, "keys": keys}))
    return name


def test_notes_of_the_dead_count_for_nothing(pool: Pool) -> None:
    key = leave_a_blob(pool)
    note = put_note(pool, "collecting", [key])
    begin = time.monotonic()
    assert pool.save(made("new", 7)).version == 0
    assert time.monotonic() - begin < 10
    # A pid that is used again is another process.
    put_note(pool, "pending", [leave_a_blob(pool, 8)], pid=os.getpid(), started=5.0)
    found = collect(core_of(pool).archive)
    assert (found.notes, found.files) == (2, 1)
    assert not core_of(pool).archive.storage.exists(note)


def test_notes_of_other_hosts_count_for_a_while(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    key = leave_a_blob(pool)
    now = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    name = put_note(pool, "pending", [key], host="elsewhere", time=now)
    assert collect(core_of(pool).archive).spared == 1
    core_of(pool).archive.storage.delete(name)
    put_note(pool, "pending", [key], host="elsewhere")
    put_note(pool, "collecting", [key], host="elsewhere", time=now)
    monkeypatch.setattr(notes, "_WAIT", 0.1)
    with pytest.raises(Conflict, match="process 4194304 on elsewhere"):
        pool.save(made("new", 7))
    assert pool.select("1").size() == 0
    assert collect(core_of(pool).archive).files == 1


def test_temporary_files(pool: Pool) -> None:
    pool.save(made("a", 1))
    root = pool.path
    folder = next((root / "blobs").iterdir())
    old, new, strange = (f".tmp-{'a' * 16}", f".tmp-{'b' * 16}", ".tmp-of others")
    for name in (old, new, strange):
        (folder / name).write_bytes(b"12345")
        os.utime(folder / name, None if name == new else (1, 1))
    told = collect(core_of(pool).archive, dry_run=True)
    assert (told.temporary, told.names) == (1, [f"blobs/{folder.name}/{old}"])
    found = collect(core_of(pool).archive)
    assert (found.temporary, found.temporary_bytes) == (1, 5)
    assert found.unknown == [f"blobs/{folder.name}/{strange}"]
    assert {path.name for path in folder.iterdir() if path.name.startswith(".tmp")} == {new, strange}


BUSY = """
import sys
import numpy as np
from miripool import Home, Rate
from ahead import Ahead
number = int(sys.argv[1])
with Home().pool("jpl8") as pool:
    for i in range(25):
        # The same few arrays again and again: found there, or just collected.
        sci = np.full((40, 50), i % 3, "f4")
        Ahead(pool, Rate({}, {"SCI": sci + 50}, name="never")).close()
        pool.save(Rate({"PASS": i}, {"SCI": sci}, name=f"w{number}"), force=True)
"""


@pytest.mark.slow
def test_collecting_while_others_write(pool: Pool) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", BUSY, str(n)], env=beside()) for n in range(2)]
    freed = 0
    while any(writer.poll() is None for writer in writers):
        freed += collect(core_of(pool).archive).files
    assert [writer.returncode for writer in writers] == [0, 0]
    assert freed > 0
    collect(core_of(pool).archive)
    core_of(pool).catch_up()
    assert [len(pool.versions(f"Rate/w{n}")) for n in range(2)] == [25, 25]
    report = verify(pool, level="full")
    assert report.findings == []


def test_on_the_command_line(pool: Pool) -> None:
    leave_a_blob(pool)
    assert "would free 1 file," in call("gc", "jpl8", "--dry-run").stderr
    assert json.loads(call("gc", "jpl8", "--json").stdout)["files"] == 1
    assert "freed 0 files, 0 B" in call("gc", "jpl8").stderr


def test_what_verify_says_of_it(pool: Pool) -> None:
    leave_a_blob(pool)
    (finding,) = verify(pool, level="quick").findings
    assert finding.what == "note"
    assert "`miripool gc` deletes them" in finding.problem


@pytest.mark.parametrize(
    "told",
    [
        {"pid": "x"},
        {"pid": -5},
        {"pid": None},
        {"started": "x"},
        {"time": 7},
        {"host": []},
        {"keys": [[1]]},
        {"keys": 1},
    ],
)
def test_notes_that_are_none(pool: Pool, told: dict[str, object]) -> None:
    key = leave_a_blob(pool)
    note = {"host": socket.gethostname(), "pid": os.getpid(), "started": 1.0, "time": "now", "keys": [key]}
    for folder in ("pending", "collecting"):
        core_of(pool).archive.storage.put(f"{folder}/{'0' * 32}.json", canonical_json({**note, **told}))
    assert pool.save(made("new", 7)).version == 0
    found = collect(core_of(pool).archive)
    assert (found.notes, found.files) == (2, 0)


def test_a_line_break_in_a_name_makes_no_line(pool: Pool, tmp_path: Path) -> None:
    strange = folder_of(pool) / "blobs" / "x\nfreed 9 files"
    strange.parent.mkdir(exist_ok=True)
    strange.write_text("mine")
    lines = call("gc", "jpl8").stderr.splitlines()
    assert [line for line in lines if line.startswith("left alone")] == [
        "left alone: blobs/x\\nfreed 9 files does not belong to a pool; check what it is"
    ]
    assert not any(line.startswith("freed 9") for line in lines)
    bad = tmp_path / "a\nadded b.fits"
    bad.write_text("no FITS")
    added = call("add", "jpl8", bad).stderr.splitlines()
    assert not any(line.startswith("added") for line in added)
    assert added[0].startswith(f"failed       {tmp_path}/a\\nadded b.fits: not a FITS file")


@pytest.mark.parametrize("days", ["inf", "1e999", "9" * 30, "nan", "-1"])
def test_a_grace_that_is_no_number_of_days(pool: Pool, days: str) -> None:
    done = call("gc", pool.name, "--grace", days)
    assert done.exit_code == 2
    assert "--grace" in done.stderr
