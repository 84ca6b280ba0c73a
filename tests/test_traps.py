"""Every command on pools full of traps: links, pipes, devices, endless files, strange names.

Nothing outside the pool is read, written or deleted, and each command ends soon and in little memory.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import homes
import numpy as np
import pytest
import typer.main

from miripool import Home, Pool, Rate
from miripool.cli.app import app

home = homes.home

MARKER = "what stands outside the pool"
SECONDS = 5.0
MEMORY = 500_000 * 1024
TESTS = Path(__file__).parent
DIGEST = "ab" + "0" * 30

ARGUMENTS: dict[str, list[str]] = {
    "add": ["trap", "{work}/new.fits"],
    "attach": ["{pool}", "--name", "attached"],
    "browse": ["trap", "--no-open", "--port", "99999"],
    "cite": ["trap", "Rate/a"],
    "clients": ["--help"],  # it would start a hub
    "compare": ["trap", "Rate/a@0", "Rate/a@1", "--out", "{work}/two.png", "--overwrite"],
    "copy": ["trap", "other:", "Rate/a"],
    "create": ["third"],
    "delete": ["trap", "--dry-run"],
    "demo": ["--help"],  # it makes a pool of its own
    "detach": ["trap"],
    "diff": ["trap", "Rate/a@0", "Rate/a@1"],
    "export": ["trap", "Rate/a", "{work}/out.fits", "--overwrite"],
    "gc": ["trap", "--grace", "0"],
    "index drop": ["trap", "Rate/a"],
    "index optimize": ["trap"],
    "index pixels": ["trap"],
    "index policy": ["trap", "all"],
    "lineage": ["trap", "Rate/a"],
    "log": ["trap", "Rate/a"],
    "ls": ["trap", "--where", "p['SCI'].max() > 0"],
    "monitor alarms": ["trap", "darks"],
    "monitor compare": ["trap", "darks", "darks"],
    "monitor create": ["trap", "darks"],
    "monitor events": ["trap", "darks"],
    "monitor life": ["trap", "darks", "3", "4"],
    "monitor list": ["trap"],
    "monitor mask": ["trap", "darks", "--at", "2026-01-01", "--out", "{work}/mask.fits"],
    "monitor persistence": ["trap", "darks", "Rate/a"],
    "monitor plot": ["trap", "darks", "--out", "{work}/map.png"],
    "monitor population": ["trap", "darks"],
    "monitor states": ["trap", "darks"],
    "monitor survival": ["trap", "darks"],
    "monitor trends": ["trap", "darks"],
    "monitor update": ["trap", "darks"],
    "mount": ["trap", "{pool}"],
    "open": ["--help"],  # it would start DS9
    "pack": ["trap", "{work}/out.tar", "--overwrite"],
    "pixel": ["trap", "3", "4"],
    "pixels": ["trap", "--limit", "3"],
    "plot": ["trap", "Rate/a", "--out", "{work}/one.png", "--overwrite"],
    "pools": ["--json"],
    "reindex": ["trap"],
    "rename": ["trap", "trap"],
    "repair": ["trap", "--from", "{pool}"],
    "reprocess": ["trap", "Rate/a"],
    "restore": ["trap", "Rate/a"],
    "rm": ["trap", "Rate/a@0", "--dry-run"],
    "send": ["--help"],
    "serve": ["trap", "--port", "99999"],
    "server check": [],
    "server grant": ["trap"],
    "server status": [],
    "server stop": [],
    "server url": [],
    "show": ["trap", "Rate/a", "--all"],
    "simulate": ["{work}/simulated", "--subarray", "SUB64", "--nints", "1", "--ngroups", "3", "--overwrite"],
    "slopes": ["trap", "Rate/a", "--groups", "1:2"],
    "sql": ["trap", "SELECT count(*) FROM product"],
    "statistics": ["trap"],
    "tag": ["trap", "label", "Rate/a"],
    "tags": ["trap"],
    "undo": ["trap", "--dry-run"],
    "unpack": ["trap", "{work}/honest.tar"],
    "untag": ["trap", "label", "Rate/a"],
    "uses": ["trap", "Rate/a"],
    "verify": ["trap", "--full"],
    "watch": ["trap", "{work}", "--once", "--settle", "0"],
}


def commands(command: Any, path: str = "") -> Iterator[str]:
    if hasattr(command, "commands"):
        for name, below in command.commands.items():
            yield from commands(below, f"{path} {name}".strip())
    else:
        yield path


def test_every_command_is_tried() -> None:
    assert sorted(commands(typer.main.get_command(app))) == sorted(ARGUMENTS)


RUN = """
import faulthandler, json, sys, time
sys.path.insert(0, sys.argv[2])
from peaks import peak_memory
from typer.testing import CliRunner
from miripool.cli.app import app
for command in json.loads(sys.argv[1]):
    faulthandler.dump_traceback_later(20, exit=True)  # hung
    begin = time.process_time()
    result = CliRunner().invoke(app, command)
    error = result.exception
    told = {
        "command": command, "seconds": time.process_time() - begin, "output": result.output, "stdout": result.stdout,
        "error": "" if error is None or isinstance(error, SystemExit) else f"{type(error).__mro__} {error}",
        "memory": peak_memory(),
    }
    print(json.dumps(told), flush=True)
"""


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(60 << 30)


def replace(path: Path, make: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    make(path)


def one(folder: Path, pattern: str) -> Path:
    return sorted(folder.glob(pattern))[0]


def in_files(root: Path, outside: Path) -> None:
    """Traps that a pool can be opened with."""
    replace(one(root, "blobs/*/*.h5"), os.mkfifo)
    replace(one(root, "manifests/*/*.json"), sparse)
    for make, digit in ((os.mkfifo, "1"), (lambda path: path.symlink_to("/dev/zero"), "2")):
        for folder in ("pending", "collecting"):
            replace(root / folder / f"{digit * 32}.json", make)
    for name in (f"blobs/ab/{DIGEST}.h5", f"manifests/ab/{DIGEST}.json", f"pending/{DIGEST}.json", ".tmp-" + "0" * 16):
        replace(root / name, lambda path: path.symlink_to(outside / "secret.json"))
        os.utime(root / name, (1, 1), follow_symlinks=False)
    for name in ("blobs/strange", "work/linked", "work/run-abcdefgh", "quarantine/linked", "linked"):
        replace(root / name, lambda path: path.symlink_to(outside))
    replace(root / "work" / "run-trapped0" / "lock", lambda path: path.symlink_to(outside / "secret.json"))


def in_journal(root: Path, outside: Path) -> None:
    """A pipe as an entry, and one that leads outside after it."""
    replace(root / "journal/000000000001.json", os.mkfifo)
    replace(root / "journal/000000000002.json", lambda path: path.symlink_to(outside / "secret.json"))


def in_notes(root: Path, outside: Path) -> None:
    """Notes without end."""
    replace(root / "pending" / f"{DIGEST}.json", sparse)
    replace(root / "collecting" / f"{DIGEST}.json", sparse)


TRAPS: dict[str, Callable[[Path, Path], object]] = {
    "files": in_files,
    "journal": in_journal,
    "notes": in_notes,
    "pool.json is endless": lambda root, outside: replace(
        root / "pool.json", lambda path: path.symlink_to("/dev/zero")
    ),
    "pool.json is a pipe": lambda root, outside: replace(root / "pool.json", os.mkfifo),
    "pool.json is sparse": lambda root, outside: replace(root / "pool.json", sparse),
    "pool.json is outside": lambda root, outside: replace(
        root / "pool.json", lambda path: path.symlink_to(outside / "secret.json")
    ),
    "blobs are outside": lambda root, outside: (
        shutil.rmtree(root / "blobs"),
        (root / "blobs").symlink_to(outside),
    ),
}

BY_ALL = ("files", "journal")
"""Traps that each command gets to; where the pool can't be opened, those that differ are enough."""

ONLY = ("pools", "gc", "verify", "ls", "add", "create", "repair", "copy", "delete")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    (folder / "ab").mkdir(parents=True)
    for name in (f"ab/{DIGEST}.h5", f"{DIGEST}.json", "secret.json", ".tmp-" + "0" * 16):
        (folder / name).write_text(json.dumps({"format": MARKER, "id": MARKER, "n": MARKER, "keys": [MARKER]}))
    os.mkfifo(folder / "pipe")
    return folder


def state(folder: Path) -> dict[str, tuple[int, int, float, bytes]]:
    """Everything there is: kinds, sizes, times and contents."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (status.st_mode, status.st_size, status.st_mtime, content)
    return found


@pytest.fixture
def trap(home: Home) -> Path:
    """A pool of two versions that was made by an honest user."""
    generator = np.random.default_rng(1)
    with home.create("trap") as pool:
        for _ in range(2):
            pool.save(Rate({}, {"SCI": generator.normal(size=(60, 70)).astype("f4")}, name="a"))
        pool.tag("Rate/a", "label")
        fill(home, pool)
    home.create("other").close()
    return home.path / "pools" / "trap"


def fill(home: Home, pool: Pool) -> None:
    work = home.path / "files"
    homes.write_image(work / "new.fits")
    homes.call("pack", pool.name, work / "honest.tar")


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAPS)
def test_every_command_on_a_pool_of_traps(home: Home, trap: Path, outside: Path, name: str) -> None:
    TRAPS[name](trap, outside)
    before = state(outside)
    places = {"work": home.path / "files", "pool": trap}
    chosen = ARGUMENTS if name in BY_ALL else ONLY
    given = [[*command.split(), *(a.format(**places) for a in ARGUMENTS[command])] for command in chosen]
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(given), TESTS], capture_output=True, text=True, check=False, timeout=300
    )
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"command"')]
    assert [result["command"] for result in told] == given, done.stderr
    for result in told:
        assert MARKER not in result["output"] + result["error"], result
        assert not result["error"] or "MiripoolError" in result["error"], result
        assert result["seconds"] < SECONDS, result
        assert result["memory"] < MEMORY, result
    assert state(outside) == before
    listed = next(result for result in told if result["command"][0] == "pools")
    rows = {row["name"]: row["error"] for row in json.loads(listed["stdout"])}
    assert {"trap", "other"} <= rows.keys()
    assert rows["other"] is None
    if name not in (*BY_ALL, "notes"):
        assert str(trap) in str(rows["trap"])
