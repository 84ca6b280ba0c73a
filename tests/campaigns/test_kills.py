"""Killed at any moment: the writer, the database, or both; what had been saved is there."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from postgresql import reachable_folder

from miripool import Home, Pool
from miripool.collect import Collected, collect
from miripool.index import EmbeddedServer
from miripool.verify import verify

WORKLOAD = Path(__file__).with_name("workload.py")


@pytest.fixture
def own_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home with a server of its own, which may be killed."""
    monkeypatch.delenv("MIRIPOOL_DATABASE_URL", raising=False)
    with reachable_folder() as folder:
        path = folder / "home"
        server = EmbeddedServer(path, idle_minutes=60)
        server.ensure()
        home = Home(path)
        home.create("jpl8").close()
        yield home
        server.remove()


class Memory:
    """What was told of a pool, and what must hold of it for ever."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.versions: dict[int, tuple[Any, ...]] = {}
        self.deeds: Counter[str] = Counter()
        self.garbage = 0

    def take(self, lines: list[bytes]) -> list[str]:
        """Note what a worker has told; give the URNs of what it saved."""
        new = []
        for line in lines:
            if not line.endswith(b"\n"):
                continue  # it was killed while it wrote
            told = json.loads(line)
            self.deeds[told["deed"]] += 1
            if told["deed"] == "save":
                known = self.values.setdefault(told["urn"], told["value"])
                assert known == told["value"], told
                new.append(told["urn"])
        return new

    def check(self, pool: Pool, urns: list[str]) -> None:
        """Look at the pool as the next one who comes."""
        pool.catch_up()
        for urn in urns:
            ref = pool.ref(urn, removed=True)
            if ref.purged is not None:
                continue
            assert ref.meta["MARK"].value == self.values[urn]
            sci = ref.product["SCI"]
            assert int(sci[(0,) * len(sci.shape)]) == self.values[urn]
        rows = pool.catalog.rows(range(pool.catalog.position().next_serial))
        tracks: dict[tuple[str, str], list[int]] = {}
        for row in rows:
            tracks.setdefault((row.kind, row.name), []).append(row.version)
            fixed = (row.kind, row.name, row.version, row.manifest, row.created)
            assert self.versions.setdefault(row.serial, fixed) == fixed
        assert self.versions.keys() == {row.serial for row in rows}
        for versions in tracks.values():
            assert sorted(versions) == list(range(len(versions)))
        report = verify(pool, level="full")
        assert [finding for finding in report.findings if finding.what != "note"] == []
        collected = collect(pool.archive)
        assert collected.files >= report.unreferenced  # and what dead writers had noted
        self.garbage += collected.files


def kill_server(home: Home) -> None:
    """Kill the postmaster as it stands: no process of it may write another byte."""
    pid = home.server.status().pid
    if pid is None:
        return
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


@pytest.mark.parametrize("victim", ["writer", "server", "both"])
def test_killed_at_random_moments(
    victim: str, own_home: Home, scale: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    kills = scale(6, 200)
    chance = random.Random(f"{victim} 1")
    memory = Memory()
    begin = time.monotonic()
    for kill in range(1, kills + 1):
        command = [sys.executable, str(WORKLOAD), str(own_home.path), str(kill)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert json.loads(process.stdout.readline())["deed"] == "ready"
            time.sleep(chance.uniform(0, 1.0))
            if victim != "writer":
                kill_server(own_home)
            if victim == "server":
                time.sleep(chance.uniform(0, 0.5))  # the writer meets a server that is gone, and starts another
            process.send_signal(signal.SIGKILL)
            lines = process.stdout.readlines()
            words = process.stderr.read().decode()
        if victim == "writer":
            assert process.returncode == -signal.SIGKILL, words
        assert "Traceback" not in words or victim != "writer", words
        with own_home.pool("jpl8") as pool:
            memory.check(pool, memory.take(lines))
    with own_home.pool("jpl8") as pool:
        memory.check(pool, list(memory.values))
        assert verify(pool, level="full").findings == []
        assert collect(pool.archive) == Collected()
        versions = len(memory.versions)
    assert memory.deeds["save"] > kills / 2
    figure(
        f"{kills} kills, {sum(memory.deeds.values())} deeds told ({dict(memory.deeds)}), {versions} versions, "
        f"{memory.garbage} files of garbage, {time.monotonic() - begin:.0f} s"
    )
