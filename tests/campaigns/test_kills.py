"""Killed at any moment: the writer, the database, or both; what had been saved is there."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from memory import WORKLOAD, Memory

from miripool import Home
from miripool.maintenance.gc import Collected, collect
from miripool.maintenance.verify import verify
from miripool.pool.core import core_of


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
    kills = scale(4, 200)
    chance = random.Random(f"{victim} 1")
    memory = Memory()
    begin = time.monotonic()
    for kill in range(1, kills + 1):
        command = [sys.executable, str(WORKLOAD), str(own_home.path), str(kill)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert json.loads(process.stdout.readline())["deed"] == "ready"
            # Counted by what it has done, not by the clock: machines differ.
            lines = [process.stdout.readline() for _ in range(chance.randrange(12))]
            time.sleep(chance.uniform(0, 0.3))
            if victim != "writer":
                kill_server(own_home)
            if victim == "server":
                time.sleep(chance.uniform(0, 0.5))  # the writer meets a server that is gone, and starts another
            process.send_signal(signal.SIGKILL)
            lines += process.stdout.readlines()
            words = process.stderr.read().decode()
        if victim == "writer":
            assert process.returncode == -signal.SIGKILL, words
        assert "Traceback" not in words or victim != "writer", words
        with own_home.pool("jpl8") as pool:
            memory.check(pool, memory.take(lines))
    with own_home.pool("jpl8") as pool:
        memory.check(pool, list(memory.values))
        findings = verify(pool, level="full").findings
        left = [finding for finding in findings if finding.where.startswith("PostgreSQL's")]
        assert [finding for finding in findings if finding not in left] == []
        assert collect(core_of(pool).archive) == Collected()
        versions = len(memory.versions)
    assert memory.deeds["save"] > kills / 2
    behind = [finding.problem.split(" of tables")[0] for finding in left]
    figure(
        f"{kills} kills, {sum(memory.deeds.values())} deeds told ({dict(memory.deeds)}), {versions} versions, "
        f"{memory.garbage} files of garbage, left by the server: {behind}, {time.monotonic() - begin:.0f} s"
    )


def test_an_ingest_killed_at_each_step(
    own_home: Home, tmp_path: Path, scale: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    memory = Memory()
    begin = time.monotonic()
    command = [
        sys.executable,
        str(WORKLOAD.with_name("stepping.py")),
        str(own_home.path),
        str(tmp_path),
        str(scale(23, 1)),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            memory.take([line])
            if memory.deeds["killed"] % 10 == 1:
                with own_home.pool("jpl8") as pool:
                    memory.check(pool, list(memory.values))
        words = process.stderr.read().decode()
    assert process.returncode == 0, words
    with own_home.pool("jpl8") as pool:
        memory.check(pool, list(memory.values))
        assert collect(core_of(pool).archive) == Collected()
        entries = [len(entry.saves) for entry in core_of(pool).archive.journal.since(-1, None)]
        assert max(entries) == 5  # the sixth is of a track that is in the batch
        versions = len(memory.versions)
    assert memory.deeds["killed"] >= 5
    figure(
        f"{memory.deeds['killed']} kills, {memory.deeds['save']} files told, {versions} versions, "
        f"{memory.garbage} files of garbage, {time.monotonic() - begin:.0f} s"
    )
