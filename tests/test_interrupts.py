"""Ctrl-C at the moments where it did harm."""

from __future__ import annotations

import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import homes
import numpy as np
import pytest
from homes import write_image

from miripool import Pool, Rate
from miripool.index.harvest import COLUMNS
from miripool.pool import save as saving
from miripool.pool.core import core_of
from miripool.store.storage.local import LocalStorage

home = homes.home

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
    put = LocalStorage.put
    seen: list[str] = []

    def put_and_interrupt(storage: LocalStorage, key: str, source: bytes | Path) -> bool:
        done = put(storage, key, source)
        if key.startswith("pending/"):
            seen.append(key)
            signal.raise_signal(signal.SIGINT)
        return done

    with monkeypatch.context() as patch:
        patch.setattr(LocalStorage, "put", put_and_interrupt)
        for save in (pool.save, partial(saving.prepare, core_of(pool))):
            with pytest.raises(KeyboardInterrupt):
                save(product)
        with pytest.raises(KeyboardInterrupt), core_of(pool).archive.notes.run():
            pytest.fail("the run began")
    assert len(seen) == 3
    assert list(core_of(pool).archive.storage.keys("pending")) == []
    assert pool.save(product).version == 0


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


@pytest.mark.parametrize("module", ["miripool.errors", "miripool.cli.output", "typer", "miripool.cli.server"])
def test_while_the_command_line_is_imported(module: str) -> None:
    command = [sys.executable, "-c", WHILE_IMPORTED, "pools", module]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


REINDEX = """
import signal
from miripool.cli import main
from miripool.index import rebuild
rebuild._swap = lambda *_: signal.raise_signal(signal.SIGINT)
main()
"""


def test_a_reindex(pool: Pool, tmp_path: Path) -> None:
    pool.save(write_image(tmp_path / "a.fits"))
    command = [sys.executable, "-c", REINDEX, "reindex", "jpl8"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 130
    assert "the old index still answers" in done.stderr
    assert pool.select().size() == 1
