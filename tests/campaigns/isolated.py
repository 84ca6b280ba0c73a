"""Programs that save, collect and rename at once, each in namespaces of its own; `test_isolated` runs them.

They work until a file named ``end`` appears beside their logs. A writer's log has a line for each version that `save`
has returned, on disk before the writer goes on.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from namespaces import show_boot_time
from plain_reader import array_of
from typer.testing import CliRunner

from miripool import Home, Pool, Product
from miripool.cli.app import app
from miripool.errors import Conflict, MiripoolError, PoolNotFound
from miripool.pool import commit

NAMES = ("here", "there")
SHARED = 100
"""So many arrays are saved by all writers: they find files that others have left, or are about to leave."""

_PARENT_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of Linux's prctl."""


def fork() -> int:
    """Start a copy of this process, which is killed when this one ends, however it ends."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
    return pid


class Log:
    """What one process has done, a line each."""

    def __init__(self, folder: Path, name: str) -> None:
        self._end = folder / "end"
        self._descriptor = os.open(folder / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def ended(self) -> bool:
        """Tell whether the work is over."""
        return self._end.exists()

    def add(self, deed: str, *, durable: bool = False, **facts: Any) -> None:
        """Write a line."""
        os.write(self._descriptor, json.dumps({"deed": deed, **facts}).encode() + b"\n")
        if durable:
            os.fsync(self._descriptor)


def open_pool(home: Home) -> Pool | None:
    """Open the pool under the name that it has now; None while it is being renamed."""
    for name in NAMES:
        try:
            return home.pool(name)
        except PoolNotFound:
            continue
    return None


class Writer:
    """Saves small products; now and then one that goes into the trash at once, for the collectors."""

    def __init__(self, home: Home, log: Log, number: int, stops: float) -> None:
        self.home = home
        self.log = log
        self.random = random.Random(number)
        self.next_seed = SHARED + number * 100_000
        self.name = f"writer {number}"
        self.stops = stops

    def stop_sometimes(self) -> None:
        """Let commits stop between the files and the entry; the parent lets us on, or kills us."""
        commit_at_once = commit.Committer.commit

        def commit_slowly(committer: commit.Committer, decide: Callable[[Any], Any], **options: Any) -> Any:
            def decide_and_stop(position: Any) -> Any:
                actions = decide(position)
                if self.random.random() < self.stops:
                    os.kill(os.getpid(), signal.SIGSTOP)
                return actions

            return commit_at_once(committer, decide_and_stop, **options)

        commit.Committer.commit = commit_slowly

    def run(self) -> None:
        """Work until the end; what is refused is written down, and the pool opened again."""
        self.stop_sometimes()
        while not self.log.ended():
            try:
                pool = open_pool(self.home)
                if pool is None:
                    time.sleep(0.02)
                    continue
                with pool:
                    while not self.log.ended():
                        self.save(pool)
            except (PoolNotFound, Conflict) as error:
                self.log.add("opened again", why=type(error).__name__)
            except MiripoolError as error:
                self.log.add("error", why=f"{type(error).__name__}: {error}")
            except Exception as error:  # the test looks for it at the end: first it counts what is lost
                self.log.add("broke", why=f"{type(error).__name__}: {error}")

    def save(self, pool: Pool) -> None:
        """Save one product, and write down that it was saved."""
        seed = self.next_seed = self.next_seed + 1
        if self.random.random() < 0.3:
            seed = self.random.randrange(SHARED)
        product = Product({"MARK": seed, "WRITER": self.name}, {"SCI": array_of(seed)})
        if self.random.random() < 0.1:
            pool.remove(pool.save(product, name="for the trash", force=True))
            self.log.add("removed")
            return
        ref = pool.save(product, name=f"track {self.random.randrange(8)}", force=self.random.random() < 0.5)
        facts = {"urn": ref.urn, "kind": ref.kind, "name": ref.name, "version": ref.version}
        self.log.add("saved", durable=True, **facts, seed=seed)


class Namespace:
    """The first process of a namespace: it starts writers, lets on those that stop, kills some, and sets the clock.

    Writers are forks: no time is lost with imports.
    """

    def __init__(self, home: Home, logs: Path, number: int, boot: Path, how: dict[str, float]) -> None:
        self.home, self.logs, self.number, self.boot, self.how = home, logs, number, boot, how
        self.log = Log(logs, f"namespace {number}")
        self.random = random.Random(number)
        self.writers: dict[int, float | None] = {}
        self.started = 0

    def start(self) -> None:
        """Start a writer."""
        self.started += 1
        number = self.number * 10_000 + self.started
        pid = fork()
        if pid == 0:
            Writer(self.home, Log(self.logs, f"writer {number}"), number, self.how["stops"]).run()
            os._exit(0)
        self.writers[pid] = None

    def look(self) -> None:
        """See which writers have stopped or ended, and which have stopped for long enough."""
        while self.writers:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            if pid == 0:
                break
            if os.WIFSTOPPED(status):
                longest = self.how["longest"] if self.random.random() < 0.5 else min(2.0, self.how["longest"])
                if self.writers[pid] is None:
                    self.writers[pid] = time.monotonic() + self.random.uniform(0, longest)
                    self.log.add("stopped")
            else:
                del self.writers[pid]
                if not self.log.ended():
                    assert os.WIFSIGNALED(status), f"a writer ended with {os.waitstatus_to_exitcode(status)}"
        for pid, until in self.writers.items():
            if until is not None and (time.monotonic() > until or self.log.ended()):
                self.writers[pid] = None
                os.kill(pid, signal.SIGKILL if self.random.random() < 0.2 else signal.SIGCONT)
                self.log.add("let on, or killed")

    def disturb(self, pid: int) -> None:
        """Kill a writer wherever it stands, or stop it for a moment."""
        if self.random.random() < 0.5:
            os.kill(pid, signal.SIGKILL)
            self.log.add("killed")
        elif self.writers[pid] is None:
            self.writers[pid] = time.monotonic() + self.random.uniform(0, 1)
            os.kill(pid, signal.SIGSTOP)
            self.log.add("stopped for a moment")

    def run(self) -> None:
        """Go on until the end, and until the last writer has ended."""
        kill_at = clock_at = 0.0
        while self.writers or not self.log.ended():
            while len(self.writers) < self.how["writers"] and not self.log.ended():
                self.start()
            self.look()
            now = time.monotonic()
            if now > kill_at and self.writers:
                if kill_at:
                    self.disturb(self.random.choice(list(self.writers)))
                kill_at = now + self.random.uniform(0, 2 * self.how["kill_every"])
            if now > clock_at:
                show_boot_time(self.boot, self.random.randint(-30, 30))
                self.log.add("clock set")
                clock_at = now + self.random.uniform(0, 4)
            time.sleep(0.01)


def collect_once(home: Home, name: str, log: Log) -> None:
    """Run ``miripool gc`` in this process."""
    done = CliRunner().invoke(app, ["--home", str(home.path), "gc", name, "--grace", "0", "--json"])
    if done.exit_code == 0:
        log.add("gc", **json.loads(done.stdout))
    else:
        told = isinstance(done.exception, MiripoolError)
        log.add("gc failed" if told else "broke", why=f"{type(done.exception).__name__}: {done.exception}")


def collect(home: Home, logs: Path, number: int, boot: Path | None) -> None:
    """Run ``miripool gc`` again and again; give up what is in the trash at once."""
    log, chance = Log(logs, f"collector {number}"), random.Random(number)
    while not log.ended():
        name = next((name for name in NAMES if (home.path / "pools" / name / "pool.json").exists()), None)
        if name is None:
            time.sleep(0.02)
            continue
        if boot is not None:
            show_boot_time(boot, chance.randint(-30, 30))
        begin = time.monotonic()
        pid = fork()
        if pid == 0:
            collect_once(home, name, log)
            os._exit(0)
        if chance.random() < 0.2:
            time.sleep(chance.uniform(0, 1))
            os.kill(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert status in {0, -signal.SIGKILL}, status
        if status:
            log.add("gc killed")
        time.sleep(time.monotonic() - begin)  # the writers want to work too


def rename(home: Home, logs: Path, number: int, every: float) -> None:
    """Rename the pool to and fro. What writers left in a folder of the other name is moved away before."""
    log, chance = Log(logs, f"renamer {number}"), random.Random(number)
    while not log.ended():
        time.sleep(chance.uniform(0, 2 * every))
        folders = [home.path / "pools" / name for name in NAMES]
        here, there = folders if (folders[0] / "pool.json").exists() else folders[::-1]
        if there.exists():
            there.rename(logs / f"left behind {time.monotonic_ns()}")
            log.add("left behind")
        try:
            home.rename(here.name, there.name).close()
        except MiripoolError as error:
            log.add("rename failed", why=f"{type(error).__name__}: {error}")
        else:
            log.add("renamed")


def main(what: str, home: str, logs: str, number: str, more: str) -> None:
    """Do one of the works; ``more`` is JSON: what that work needs besides."""
    options = json.loads(more)
    boot = Path(options.pop("boot")) if "boot" in options else None
    if what == "write":
        assert boot is not None
        Namespace(Home(home), Path(logs), int(number), boot, options).run()
    elif what == "collect":
        collect(Home(home), Path(logs), int(number), boot)
    else:
        rename(Home(home), Path(logs), int(number), options["every"])


if __name__ == "__main__":
    main(*sys.argv[1:])
