"""A campaign added by a process of its own: files a second, and what the processor did meanwhile, by step.

``python intake.py HOME POOL JOBS with|without FOLDER`` prints one line of JSON.

A timer of the processor's time looks at all threads up to a thousand times a second: the time that one has used since
the last look counts for the innermost module of the package that it is in. So a step has what it calls of NumPy, HDF5
and SQLAlchemy, and no other step. Worker processes are not looked at; their time is in the last step.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType

STEPS = {
    "index/pixels": "pixel rows",
    "pool/pixelrows": "pixel rows",
    "index/harvest": "keywords and statistics for COPY",
    "model/metadata": "keywords and statistics for COPY",
    "index": "the index: statements and waiting for their results",
    "formats": "files read, digested, parsed",
    "model/cards": "files read, digested, parsed",
    "model/table": "files read, digested, parsed",
    "model/statistics": "arrays named, statistics taken",
    "store/arrays/digest": "arrays named, statistics taken",
    "store/arrays": "blobs coded and written",
    "store/storage": "files put in their place, and synced",
    "system": "files put in their place, and synced",
    "store/notes": "notes",
    "store/manifest": "manifests",
    "model/canonical": "manifests",
    "store/journal": "journal",
    "": "the rest",
}
"""By the beginning of a module's path in the package; of several, the longest counts."""

_ORDER = sorted(STEPS, key=len, reverse=True)


def step_of(frame: FrameType | None, package: str) -> str:
    """Find the step that a stack is in."""
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(package):
            inside = path[len(package) :]
            return STEPS[next(start for start in _ORDER if inside.startswith(start))]
        frame = frame.f_back
    return STEPS[""]


class Looks:
    """Who used the processor, by step, while this context was open."""

    def __init__(self, package: str) -> None:
        self.seconds: Counter[str] = Counter()
        self._package = package
        self._before: dict[int, float] = {}

    def __enter__(self) -> Looks:
        signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _look(self, _: int, here: FrameType | None) -> None:
        for thread, frame in sys._current_frames().items():
            try:
                used = time.clock_gettime(time.pthread_getcpuclockid(thread))
            except OSError:
                continue  # it has ended
            step = step_of(here if thread == threading.get_ident() else frame, self._package)
            self.seconds[step] += used - self._before.setdefault(thread, used)
            self._before[thread] = used


def main(home: str, name: str, jobs: str, pixels: str, folder: str) -> None:
    """Add the files of a folder to a new pool."""
    os.environ["MIRIPOOL_HOME"] = home
    import miripool
    from miripool import Home
    from miripool.pool.core import core_of

    files = sorted(Path(folder).glob("*.fits"))
    package = f"{Path(miripool.__file__).parent}/"
    with Home().create(name) as pool:
        core_of(pool).catch_up()
        with Looks(package) as looks:
            before, begin = _cpu(), time.perf_counter()
            outcomes = pool.ingest(files, jobs=int(jobs), pixels=None if pixels == "with" else False)
            seconds, cpu = time.perf_counter() - begin, _cpu() - before
        assert [outcome.status for outcome in outcomes] == ["new"] * len(files)
        assert core_of(pool).pixel_rows.pending() == []
    steps = {step: 1e3 * looks.seconds[step] / len(files) for step in dict.fromkeys(STEPS.values())}
    steps["worker processes, and looking"] = 1e3 * cpu / len(files) - sum(steps.values())
    print(json.dumps({"files": len(files), "seconds": seconds, "cpu": 1e3 * cpu / len(files), "steps": steps}))


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


if __name__ == "__main__":
    main(*sys.argv[1:])
