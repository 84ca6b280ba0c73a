"""Writers in several namespaces, slow or killed, clocks that jump, while others collect and rename: nothing is lost."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from homes import call, empty_home
from isolated import NAMES
from namespaces import isolated, need_namespaces, show_boot_time
from plain_reader import Acknowledged, array_of, losses

from miripool import Home, Pool, Product
from miripool.maintenance.verify import verify
from miripool.pool.core import core_of

PROGRAM = Path(__file__).with_name("isolated.py")


@contextlib.contextmanager
def two_homes(folder: Path, server: str) -> Iterator[tuple[Home, Home]]:
    """Make a home with a pool, and another that has links to it under both of its names, and an index of its own."""
    with (
        empty_home(folder / "one", server, "isolated_1") as one,
        empty_home(folder / "two", server, "isolated_2") as two,
    ):
        one.create(NAMES[0]).close()
        (two.path / "pools").mkdir()
        for name in NAMES:
            (two.path / "pools" / name).symlink_to(one.path / "pools" / name)
        yield one, two


class Crew:
    """The processes at work, and what they have written down."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.logs = folder / "logs"
        self.logs.mkdir()
        self._stack = stack
        self._started: list[tuple[subprocess.Popen[bytes], Path]] = []

    def start(self, what: str, home: Home, *, pids: bool = False, clock: bool = False, **options: Any) -> None:
        """Start one of the programs."""
        number = len(self._started) + 1
        boot = self.logs / f"stat {number}" if clock else None
        if boot is not None:
            show_boot_time(boot, number)
            options["boot"] = str(boot)
        command = [sys.executable, str(PROGRAM), what, str(home.path), str(self.logs), str(number), json.dumps(options)]
        words = self.logs / f"words {number}"
        paths = os.pathsep.join([str(PROGRAM.parents[1]), os.environ.get("PYTHONPATH", "")])
        with words.open("wb") as file:
            process = subprocess.Popen(
                isolated(command, pids=pids, boot=boot),
                stdout=file,
                stderr=file,
                env={**os.environ, "PYTHONPATH": paths},
            )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        self._started.append((process, words))

    def deeds(self) -> Iterator[dict[str, Any]]:
        """Give all that was written down; a line that a kill cut off was not."""
        for path in self.logs.glob("*.log"):
            yield from (json.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line[-1:] == b"\n")

    def saved(self) -> list[Acknowledged]:
        """Give what writers were promised."""
        fields = ("urn", "kind", "name", "version", "seed")
        return [Acknowledged(*(told[f] for f in fields)) for told in self.deeds() if told["deed"] == "saved"]

    def check(self) -> None:
        """Make sure that all are at work."""
        for process, words in self._started:
            assert process.poll() is None, words.read_text()

    def end(self) -> None:
        """Let all come to an end, and make sure that they had nothing to complain of."""
        (self.logs / "end").touch()
        for process, words in self._started:
            assert process.wait(180) == 0, words.read_text()
            assert "Traceback" not in words.read_text(), words.read_text()


def set_to_work(crew: Crew, one: Home, two: Home, scale: Callable[[int, int], int]) -> None:
    """Start writers in namespaces, two collectors, and who renames the pool."""
    how = {"writers": 3, "stops": 0.05, "longest": scale(2, 70), "kill_every": scale(2, 5)}
    for _ in range(scale(2, 4)):
        crew.start("write", one, pids=True, clock=True, **how)
    crew.start("write", one, clock=True, **how)
    crew.start("collect", two, pids=True, clock=True)
    crew.start("collect", one)
    crew.start("rename", one, every=scale(4, 10))


def wait_for(crew: Crew, wanted: Mapping[str, int], seconds: float) -> None:
    """Let them work until all has been done so often, or for so long; on a slow machine until some of each is done."""
    begin = time.monotonic()
    while True:
        time.sleep(1)
        crew.check()
        done = Counter(told["deed"] for told in crew.deeds())
        if all(done[deed] >= number for deed, number in wanted.items()):
            return
        if time.monotonic() - begin > seconds and all(done[deed] >= wanted[deed] / 10 for deed in wanted):
            return
        assert time.monotonic() - begin < seconds + 200, f"too little is done in that time: {done}"


def tell_errors(crew: Crew, figure: Callable[[str], None]) -> None:
    """Tell what was refused; digits, digests and folders left out, the same words are told once."""
    told = [f"{told['deed']}: {told['why']}" for told in crew.deeds() if "why" in told]
    words = Counter(re.sub(r"/\S+/|[0-9a-f]{8,}|\d+", "…", line)[:120] for line in told)
    for line, number in words.most_common(12):
        figure(f"{number} times {line}")


def test_nothing_that_was_acknowledged_is_lost(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch,
    scale: Callable[[int, int], int], figure: Callable[[str], None],
) -> None:  # fmt: skip
    need_namespaces()
    monkeypatch.delenv("MIRIPOOL_DATABASE_URL", raising=False)
    wanted = {"saved": scale(300, 3000), "stopped": scale(10, 150), "gc": scale(5, 100)}
    wanted |= {"renamed": scale(3, 50), "killed": scale(4, 50)}
    begin = time.monotonic()
    with two_homes(tmp_path, database_url) as (one, two), contextlib.ExitStack() as stack:
        crew = Crew(tmp_path, stack)
        set_to_work(crew, one, two, scale)
        wait_for(crew, wanted, scale(15, 3600))
        crew.end()
        took = time.monotonic() - begin
        saved, deeds = crew.saved(), Counter(told["deed"] for told in crew.deeds())
        (name,) = one.names()
        folder = one.path / "pools" / name
        found = losses(folder, saved)
        lost = sum(line.startswith("LOST") for line in found)
        figure(
            f"{len(saved)} acknowledged, {lost} lost, {len(found) - lost} others broken, {took:.0f} s, {dict(deeds)}"
        )
        tell_errors(crew, figure)
        assert found == []
        assert [told for told in crew.deeds() if told["deed"] == "broke"] == []  # all errors are miripool's own
        assert [told for told in crew.deeds() if told["deed"] == "error" and "IntegrityError" in told["why"]] == []
        for home in (one, two):  # with all notes out of the way
            collected = call("--home", home.path, "gc", name, "--grace", "0", "--json")
            assert (collected.exit_code, losses(folder, saved)) == (0, [])
        assert list(folder.glob("pending/*.json")) == []
        with one.pool(name) as pool:
            core_of(pool).catch_up()
            assert [finding for finding in verify(pool, level="full").findings if finding.what != "note"] == []


def lose_a_blob(folder: Path) -> None:
    next(folder.glob("blobs/*/*.h5")).unlink()


def swap_two_blobs(folder: Path) -> None:
    first, second = sorted(folder.glob("blobs/*/*.h5"))[:2]
    shutil.copyfile(first, second)


def cut_a_blob(folder: Path) -> None:
    os.truncate(next(folder.glob("blobs/*/*.h5")), 100)


def lose_a_manifest(folder: Path) -> None:
    next(folder.glob("manifests/*/*.json")).unlink()


def lose_the_last_entry(folder: Path) -> None:
    max(folder.glob("journal/*.json")).unlink()


def lose_an_entry(folder: Path) -> None:
    (folder / "journal" / f"{1:012d}.json").unlink()


def unchain_an_entry(folder: Path) -> None:
    path = folder / "journal" / f"{1:012d}.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "previous": "0" * 32}))


@pytest.fixture
def small_pool(pool: Pool) -> tuple[Path, list[Acknowledged]]:
    """Three versions."""
    saved = []
    for seed in range(3):
        ref = pool.save(Product({}, {"SCI": array_of(seed)}, name="a"))
        saved.append(Acknowledged(ref.urn, ref.kind, ref.name, ref.version, seed))
    return pool.path, saved


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lose_a_blob, "is missing"),
        (swap_two_blobs, "is not the one of seed"),
        (cut_a_blob, "can't be read"),
        (lose_a_manifest, "is missing"),
        (lose_the_last_entry, "no entry of the journal saves it"),
    ],
)
def test_the_reader_sees_a_loss(
    small_pool: tuple[Path, list[Acknowledged]], tmp_path: Path, damage: Callable[[Path], None], problem: str
) -> None:
    folder, saved = small_pool
    assert losses(folder, saved) == []
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    damage(copy)
    (line,) = losses(copy, saved)
    assert line.startswith("LOST urn:jpl8:Product:")
    assert problem in line
    if damage is not lose_the_last_entry and damage is not swap_two_blobs:
        (line,) = losses(copy, [])
        assert line.startswith("in the journal, not acknowledged")


@pytest.mark.parametrize("damage", [lose_an_entry, unchain_an_entry])
def test_the_reader_sees_a_broken_journal(
    small_pool: tuple[Path, list[Acknowledged]], tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    copy = Path(shutil.copytree(small_pool[0], tmp_path / "copy"))
    damage(copy)
    with pytest.raises(AssertionError, match=r"gaps|does not follow"):
        losses(copy, small_pool[1])


def test_the_reader_sees_what_was_never_saved(small_pool: tuple[Path, list[Acknowledged]]) -> None:
    folder, saved = small_pool
    other = Acknowledged("urn:jpl8:Product:2", "Product", "b", 0, 2)
    assert losses(folder, [*saved[:2], other]) == [f"LOST {other.urn}: its number is that of Product/a@2"]
