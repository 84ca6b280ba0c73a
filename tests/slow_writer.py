"""A program that saves one product, and waits between its files and its entry until it is let on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from plain_reader import array_of

from miripool import Home, Product
from miripool.errors import MiripoolError
from miripool.maintenance.gc import collect
from miripool.pool import commit
from miripool.pool.core import core_of
from miripool.store import journal

SEED = 7


def wait(folder: Path, step: str) -> None:
    """Tell that a step is reached, and go on when the test says so."""
    (folder / f"{step}.reached").touch()
    while not (folder / f"{step}.go").exists():
        time.sleep(0.01)


def leave_a_child(folder: Path, how: str) -> None:
    """Start a process that has this one's files and outlives it: a fork, or another program."""
    if how == "program":
        words = [sys.executable, "-c", "import time; time.sleep(600)"]
        nothing = subprocess.DEVNULL
        pid = subprocess.Popen(words, close_fds=False, stdin=nothing, stdout=nothing, stderr=nothing).pid
    else:
        pid = os.fork()
        if pid == 0:
            for descriptor in (0, 1, 2):
                os.close(descriptor)
            time.sleep(0 if how == "short fork" else 600)
            os._exit(0)
        if how == "short fork":
            os.waitpid(pid, 0)
            return
    (folder / "child").write_text(str(pid))


def main(folder: Path, *deeds: str) -> None:
    """Save; between files and entry do what is asked for, and wait."""
    commit_at_once, write_at_once = commit.Committer.commit, journal.Journal.write
    with Home().pool("jpl8") as pool:

        def commit_slowly(self: commit.Committer, decide: Callable[[Any], Any], **options: Any) -> Any:
            def decide_and_wait(position: Any) -> Any:
                actions = decide(position)
                if not (folder / "stored.reached").exists():
                    for deed in deeds:
                        if deed == "collect":
                            collect(core_of(pool).archive)
                        elif deed != "stop before the entry":
                            leave_a_child(folder, deed)
                options["is_ready"]()  # threads give the files their names meanwhile
                wait(folder, "stored")
                return actions

            return commit_at_once(self, decide_and_wait, **options)

        def write_slowly(self: journal.Journal, entry: journal.Entry) -> bool:
            if "stop before the entry" in deeds:
                wait(folder, "entry")
            return write_at_once(self, entry)

        commit.Committer.commit, journal.Journal.write = commit_slowly, write_slowly
        try:
            ref = pool.save(Product({}, {"SCI": array_of(SEED)}, name="slow"))
        except MiripoolError as error:
            print("failed", error)
        else:
            print("saved", ref.urn)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
