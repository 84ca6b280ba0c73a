"""Ctrl-C at the moments where it did harm."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import homes
import numpy as np
import pytest
from ahead import Ahead
from homes import write_image
from mounts import wait_for

from miripool import Pool, Rate
from miripool.index.harvest import COLUMNS
from miripool.pool.core import core_of
from miripool.store.storage.local import LocalStorage

home = homes.home

PLACE = {"SUBSTRT1": 5, "SUBSTRT2": 100, "SUBSIZE1": 8, "SUBSIZE2": 6, "DETECTOR": "MIRIMAGE"}

WHILE_LOADING = """
import os, signal, sys
from miripool import Home
class Interrupt:
    def find_spec(self, name, *_):
        if name == sys.argv[2]:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
pool = Home().pool("jpl8")
assert "h5py" not in sys.modules
try:
    pool.save(sys.argv[1])
except KeyboardInterrupt:
    print("interrupted")
print(pool.save(sys.argv[1]).product["SCI"][1, 2])
"""


@pytest.mark.slow
@pytest.mark.parametrize("module", ["h5py._hl", "h5py.h5d", "hdf5plugin"])
def test_while_hdf5_is_loaded(pool: Pool, tmp_path: Path, module: str) -> None:
    command = [sys.executable, "-c", WHILE_LOADING, str(write_image(tmp_path / "a.fits")), module]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.stdout, done.stderr) == ("interrupted\n5.0\n", "")
    assert list(core_of(pool).archive.storage.keys("pending")) == []


class Interrupted:
    """Rows that are interrupted when they are asked for."""

    def read(self, _size: int = -1, /) -> bytes:
        signal.raise_signal(signal.SIGINT)
        return b""


def test_while_rows_are_copied(pool: Pool) -> None:
    database = core_of(pool).catalog.database
    with pytest.raises(KeyboardInterrupt), database.write() as connection:
        database.copy(connection, "keyword", COLUMNS["keyword"], Interrupted())
    core_of(pool).catch_up()
    assert pool.select().size() == 0


def test_while_a_note_is_written(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    product = Rate({}, {"SCI": np.ones((2, 3), "f4")}, name="a")
    note = LocalStorage.note
    seen: list[str] = []

    def note_and_interrupt(storage: LocalStorage, key: str, data: bytes) -> None:
        note(storage, key, data)
        if key.startswith("pending/"):
            seen.append(key)
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStorage, "note", note_and_interrupt)
        for save in (pool.save, partial(Ahead, pool)):
            with pytest.raises(KeyboardInterrupt):
                save(product)
        with pytest.raises(KeyboardInterrupt), core_of(pool).archive.notes.run():
            pytest.fail("the run began")
    assert len(seen) == 3
    assert list(core_of(pool).archive.storage.keys("pending")) == []
    assert pool.save(product).version == 0


def interrupted_add(folder: Path, entries: Callable[[], int], *options: str) -> str:
    """Give what a command says that gets SIGINT once it has written some entries."""
    before = entries()
    command = [sys.executable, "-m", "miripool", "add", "jpl8", str(folder), "--jobs", "1", *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: entries() > before + 1, 60)  # what the first one saved is reported then
        process.send_signal(signal.SIGINT)
        _, words = process.communicate(timeout=60)
    assert process.returncode == 130, words
    return words


@pytest.mark.slow
def test_while_files_are_added(pool: Pool, tmp_path: Path) -> None:
    """It says how many files are safe; the same command goes on, except with --force."""
    files, number = tmp_path / "files", 600
    for i in range(number):
        write_image(files / f"{i:03}.fits", {"NGROUPS": i})

    def entries() -> int:
        return core_of(pool).archive.journal.last() + 1

    words = interrupted_add(files, entries)
    told = re.fullmatch(
        rf"(\d+) of {number} files are safe in the pool; run the same command again to add the others\n"
        r"miripool: interrupted\n",
        words,
    )
    assert told, words
    assert int(told[1]) <= pool.select().size() < number
    again = homes.call("add", "jpl8", files).stderr
    assert f" {pool.select(all_versions=True).size() - number} new versions" in again
    assert pool.select(all_versions=True).size() == number
    assert "; give only the others to --force\n" in interrupted_add(files, entries, "--force")


WHILE_IMPORTED = """
import os, signal, sys
class Interrupt:
    def find_spec(self, name, *_):
        if name == sys.argv[-1]:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
from miripool.cli import main
main()
"""


@pytest.mark.parametrize("module", ["miripool.errors", "miripool.cli.output", "typer", "miripool.cli.commands"])
def test_while_the_command_line_is_imported(module: str) -> None:
    command = [sys.executable, "-c", WHILE_IMPORTED, "pools", module]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


WHILE_A_COMMAND_IMPORTS = """
import contextlib, os, signal, sys
class Swallowing:
    def find_spec(self, name, *_):
        if name == "numpy.random":
            sys.meta_path.remove(self)
            with contextlib.suppress(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
                sum(range(1000))
sys.meta_path.insert(0, Swallowing())
from miripool.cli import main
main()
"""


def test_while_a_command_imports_what_drops_exceptions(tmp_path: Path) -> None:
    """NumPy's compiled modules do."""
    command = [sys.executable, "-c", WHILE_A_COMMAND_IMPORTS, "simulate", str(tmp_path / "files"), "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (130, "")
    assert "miripool: interrupted" in done.stderr


REINDEX = """
import signal, sys
from miripool.cli import main
from miripool.index import rebuild
from miripool.index.pixels import load
calls = []
def interrupt(work, number):
    def worked(*given, **options):
        calls.append(1)
        if len(calls) == number:
            signal.raise_signal(signal.SIGINT)
        return work(*given, **options)
    return worked
what = sys.argv.pop()
if what == "before the new one answers":
    rebuild._swap = interrupt(rebuild._swap, 1)
elif what == "when the new one answers":
    rebuild.drop_now = interrupt(rebuild.drop_now, 1)
else:
    load._load_block = interrupt(load._load_block, 2)
main()
"""
OLD_ANSWERS = "the old index is still in use, with its pixel rows; `miripool reindex jpl8` continues or starts again"
NEW_ANSWERS = (
    "the new index has replaced the old one; pixel rows of {} are not made yet: `miripool index pixels jpl8` makes them"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("when", "told", "with_rows"),
    [
        ("before the new one answers", OLD_ANSWERS, 2),
        ("when the new one answers", NEW_ANSWERS.format("2 versions"), 0),
        ("while rows are made", NEW_ANSWERS.format("1 version"), 1),
    ],
)
def test_a_reindex(pool: Pool, when: str, told: str, with_rows: int) -> None:
    for name, x in (("a", 1), ("b", 9)):  # of two places, so their rows are in two tables
        pool.save(Rate({**PLACE, "SUBSTRT1": x}, {"SCI": np.ones((6, 8), "f4")}, name=name))
    command = [sys.executable, "-c", REINDEX, "reindex", "jpl8", when]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 130
    said = done.stderr.splitlines()
    assert said[-2:] == [told, "miripool: interrupted"]
    core_of(pool).close()
    assert pool.select().size() == 2
    assert len(core_of(pool).pixel_rows.pending()) == 2 - with_rows
    homes.call("index", "pixels", "jpl8")
    assert core_of(pool).pixel_rows.pending() == []


@pytest.mark.slow
def test_a_reindex_without_rows_says_how_to_make_them(pool: Pool) -> None:
    pool.save(Rate(PLACE, {"SCI": np.ones((6, 8), "f4")}, name="a"))
    told = "pixel rows of 1 version are not made yet: `miripool index pixels jpl8` makes them"
    assert told in homes.call("reindex", "jpl8", "--no-pixels").stderr
