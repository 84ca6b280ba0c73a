"""Disks that are full or break, at each step of what is done: one clear error, and the pool is as it was."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import homes
import numpy as np
import pytest
from disks import tiny_disk
from replay import assert_index_is_journal, files, folder_of

from miripool import Home, Pool, Rate
from miripool.errors import DiskFull
from miripool.maintenance.gc import collect
from miripool.maintenance.verify import verify
from miripool.pool.core import core_of

home = homes.home

SOURCE = Path(__file__).with_name("failing_calls.c")


@pytest.fixture(scope="module")
def failing_calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that lets calls of the system fail."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("there is no C compiler here, or no LD_PRELOAD: calls of the system can't be let fail")
    library = tmp_path_factory.mktemp("failing") / "failing_calls.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    return library


CHILD = """
import ctypes, json, sys
import numpy as np
from miripool import Home, Ramp, Rate, RateInts, Raw
from miripool.errors import MiripoolError
from miripool.maintenance.verify import verify
from miripool.pool import save as saving
from miripool.store.arrays import bitshuffle

number, from_then_on, step = (int(a) for a in sys.argv[1:4])
calls = ctypes.CDLL(None)
pool = Home().pool("jpl8")
folder = str(pool.path).encode()
cards = {"SUBSTRT1": 5, "SUBSTRT2": 100, "SUBSIZE1": 40, "SUBSIZE2": 60}
value = 0

def state():
    pool._core.catch_up()
    return [(r.serial, r.kind, r.name, r.version, r.head, r.tags) for r in pool._core.catalog.select(all_versions=True)]

def made(kind, name, shape):
    return kind(cards, {"SCI": np.random.default_rng(value).normal(size=shape).astype("f4")}, name=name)

def save():
    pool.save(made(Rate, "a", (60, 40)), tag="t")

def reprocess():
    raw = pool.save(Raw(cards, {"SCI": np.full((1, 2, 60, 40), 7, "u2")}, name="e"))
    ready = [saving.read(made(Ramp, "e", (1, 2, 60, 40))), saving.read(made(RateInts, "e", (1, 60, 40)))]
    saving.commit_together(pool._core, ready, tag="t", raw=raw)

def mark():
    pool.tag("Rate/base", f"label {value}")

def move():
    (pool.remove if pool._core.catalog.track("Rate", "moved")[0].removed is None else pool.restore)("Rate/moved@0")

deeds = {"save": save, "reprocess": reprocess, "tag": mark, "remove": move}
pool.save(made(Rate, "base", (60, 40)))
pool.save(made(Rate, "moved", (60, 40)))
told = {}
for name, deed in deeds.items():
    failures = done = whole = 0
    at = 1
    while True:
        value += 1
        before = state()
        calls.failing_arm(folder, at, number, from_then_on)
        error = None
        try:
            deed()
        except MiripoolError as caught:
            error = caught
        seen = calls.failing_seen()
        calls.failing_arm(folder, 0, number, 0)
        if seen < at:
            assert error is None
            break
        after = state()
        if error is None:
            done += 1          # what failed was of no importance, e.g. that a note is taken away
            assert after != before, (name, at)
        else:
            failures += 1
            assert str(error), error
            if after != before:
                whole += 1     # the entry is there; only that it is on disk was not confirmed
        report = verify(pool, level="normal")
        assert [f for f in report.findings if f.what != "note"] == [], (name, at, report.findings)
        at += step
    value += 1
    before = state()
    deed()                     # with the disk well again
    assert state() != before
    told[name] = {"calls": at - 1, "refused": failures, "done": done, "said to be unconfirmed": whole}
for outside in (True, False):  # by the list of tiles, and as HDF5 reads them
    bitshuffle.available = lambda: outside
    report = verify(pool, level="full")
    assert [f for f in report.findings if f.what != "note"] == [], report.findings
print(json.dumps(told))
"""


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
@pytest.mark.parametrize("from_then_on", [False, True], ids=["once", "from then on"])
def test_each_call_of_the_system_fails(
    number: int,
    from_then_on: bool,
    pool: Pool,
    failing_calls: Path,
    scale: Callable[[int, int], int],
    figure: Callable[[str], None],
) -> None:
    pool.close()
    arguments = [str(number), str(int(from_then_on)), str(scale(4, 1))]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *arguments],
        capture_output=True, text=True, check=False, timeout=1800, env={**os.environ, "LD_PRELOAD": str(failing_calls)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert all(counts["refused"] > 0 for counts in told.values()), told
    figure(str(told))
    core_of(pool).catch_up()
    assert_index_is_journal(pool)


@pytest.fixture
def disk(home: Home) -> Iterator[Path]:
    with tiny_disk(4096) as folder:
        (home.path / "pools").parent.mkdir(parents=True, exist_ok=True)
        (home.path / "pools").symlink_to(folder)
        yield folder


def test_a_disk_with_less_and_less_room(disk: Path, pool: Pool, scale: Callable[[int, int], int]) -> None:
    random = np.random.default_rng(1)
    pool.save(Rate({}, {"SCI": np.ones((3, 4), "f4")}, name="base"))
    refused = saved = 0
    rooms = range(0, 600, scale(60, 4))
    for room in rooms:
        filler = disk / "filler"
        free = os.statvfs(disk)
        with filler.open("wb") as file:
            file.write(bytes(max(0, free.f_bavail * free.f_frsize - room * 1024)))
        before = files(folder_of(pool))
        product = Rate({}, {"SCI": random.normal(size=(200, 250)).astype("f4")}, name="a")
        try:
            pool.save(product)
            saved += 1
        except DiskFull:
            refused += 1
            left = files(folder_of(pool)) - before
            assert not [name for name in left if name.startswith(("journal/", "pending/")) or ".tmp-" in name]
            filler.unlink()
            assert pool.save(product).notice is None
        filler.unlink(missing_ok=True)
        pool.remove("Rate/a")
        pool.purge(pool.trash())
        collect(core_of(pool).archive)
    assert refused > 2
    assert saved > 2
    assert verify(pool, level="full").findings == []
    assert_index_is_journal(pool)
