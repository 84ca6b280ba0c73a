"""A program that adds files, many by one entry, and is killed at one call of the operating system after the other."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from workload import made

from miripool import Home, Ramp, Rate, RateInts
from miripool.formats import write_fits
from miripool.pool.core import core_of
from miripool.pool.ingest import ingest

CALLS = ("fsync", "link", "replace", "rename", "unlink", "mkdir", "open")
"""What a write of any file begins or ends with."""


def arm(at: int) -> None:
    """Kill this process at its n-th call."""
    left = [at]

    def armed(real: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        return call

    for name in CALLS:
        setattr(os, name, armed(getattr(os, name)))


def main(home: Path, folder: Path, step: int) -> None:
    """Add six files, two of them of one track, each time killed some calls later, until none is left."""
    pool = core_of(Home(home).pool("jpl8"))
    pool.catch_up()
    at = value = 1
    while True:
        values = {}
        for number, kind in enumerate((Rate, RateInts, Ramp, Rate, RateInts, Rate)):
            value += 1
            path = folder / str(number) / f"exposure_{number // 3 % 2}_{kind.kind.lower()}.fits"
            path.parent.mkdir(exist_ok=True)
            path.unlink(missing_ok=True)
            write_fits(made(kind, "", value), path)
            values[path] = value
        child = os.fork()
        if not child:
            arm(at)
            for outcome in ingest(pool, list(values), tag="t"):
                told = {"deed": "save", "urn": outcome.urn, "version": outcome.version, "value": values[outcome.path]}
                os.write(1, json.dumps(told).encode() + b"\n")
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status == 0:
            break
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
        os.write(1, json.dumps({"deed": "killed", "at": at}).encode() + b"\n")
        at += step


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
