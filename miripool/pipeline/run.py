"""Running the pipeline: worker processes, their environment, and what a run gives."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from .recipe import Recipe

__all__ = ["Run", "Workers"]

_SERVERLESS = "https://jwst-serverless.stsci.edu"
_NO_CONTEXT = "jwst_0000.pmap"
"""Context given to CRDS if all reference files are overrides; CRDS does not look it up."""
_LINES = 12
"""Last lines of the pipeline's log that an error shows."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a run of the pipeline gave.

    Attributes
    ----------
    files : dict of str to Path
        By ``ramp``, ``rateints``, ``rate``.
    version : str
        Of jwst.
    context : str
        CRDS context, or ``N/A``.
    references : dict
        Name and digest (xxh3_128) by keyword.
    steps : dict
        Status of each step, by keyword.
    """

    files: dict[str, Path]
    version: str
    context: str
    references: dict[str, dict[str, str]]
    steps: dict[str, str]


class Workers:
    """Processes that run `Detector1Pipeline` for one recipe.

    Each worker imports jwst once, which takes seconds, and runs the pipeline on one product after the other, each in
    a process forked from it. Threads may run several products at once; there are as many workers then. All end, with
    what they do, when the ``with`` block does.

    Parameters
    ----------
    recipe : Recipe
        How products are calibrated.
    folder : Path
        For what the workers share. It must exist as long as they do.
    """

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self._recipe = recipe
        self._folder = folder
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._environment: dict[str, str] | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            for worker in self._busy:
                worker.kill()  # the threads that wait for them close them
            for worker in self._idle:
                worker.close()
            self._idle.clear()

    def run(self, raw: Path, folder: Path, *, name: str, progress: Callable[[str], None] | None = None) -> Run:
        """Run the pipeline on a raw file.

        Parameters
        ----------
        raw : Path
            A Level-1b file in the folder.
        folder : Path
            For everything that is written.
        name : str, keyword-only
            Of the exposure, for messages.
        progress : callable, keyword-only, optional
            Called with the name of each step as it begins.

        Returns
        -------
        Run
            What the pipeline gave; its files are in the folder.

        Raises
        ------
        PipelineError
            If it failed; the message says what, or ends with the last lines of its log.
        """
        recipe = self._recipe
        job = {
            "raw": raw.name,
            "overrides": {kind: str(Path(path).resolve()) for kind, path in recipe.overrides.items()},
            "skip": list(recipe.skip),
            "without_crds": recipe.cache is None and recipe.server is None,
            "offline": recipe.server is None,
            "crds": str(recipe.cache),
        }
        (folder / "job.json").write_text(json.dumps(job))
        with self._worker() as worker:
            code = worker.run(folder, progress)
        result, log = folder / "result.json", folder / "pipeline.log"
        if code < 0:
            raise PipelineError(f"{name}: the pipeline was ended by {signal.Signals(-code).name}; nothing was saved")
        if code or not result.exists():
            raise PipelineError(f"{name}: the pipeline ended with code {code}; nothing was saved\n{_tail(log)}")
        found = json.loads(result.read_text())
        if "error" in found:
            raise PipelineError(f"{name}: {found['error']}")
        files = {kind: folder / file for kind, file in found["files"].items()}
        return Run(files, found["version"], found["context"], found["references"], found["steps"])

    @contextlib.contextmanager
    def _worker(self) -> Iterator[_Worker]:
        """Lend a worker: an idle one, else a new one. It ends with an exception, or if it was killed."""
        with self._lock:
            if self._environment is None:
                self._environment = _environment(self._recipe, self._folder)
            worker = self._idle.pop() if self._idle else _Worker(self._environment, self._folder)
            self._busy.add(worker)
        fit = False
        try:
            yield worker
            fit = worker.lives
        finally:
            with self._lock:
                self._busy.remove(worker)
                if fit:
                    self._idle.append(worker)
            if not fit:
                worker.close()


class _Worker:
    """A process of `miripool.pipeline.worker`."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        messages, writing = os.pipe()
        self._messages = os.fdopen(messages, "rb")
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "miripool.pipeline.worker", str(writing)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[writing],
                env=environment,
                cwd=folder,
                process_group=0,  # Ctrl-C in a terminal reaches this process alone, which ends the workers
            )
        finally:
            os.close(writing)

    @property
    def lives(self) -> bool:
        """Whether the process still takes jobs."""
        return self._process.poll() is None

    def run(self, folder: Path, progress: Callable[[str], None] | None) -> int:
        """Run the pipeline in a folder; give its exit code, which is negative if a signal ended it."""
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        with contextlib.suppress(BrokenPipeError):  # it was ended meanwhile, as its exit code says
            self._process.stdin.write(json.dumps(str(folder)).encode() + b"\n")
            self._process.stdin.flush()
        for line in self._messages:
            message = json.loads(line)
            if "ended" in message:
                return int(message["ended"])
            if progress is not None:
                progress(message["step"])
        return self._process.wait() or 1  # the worker ended before the job did

    def kill(self) -> None:
        """End the process, and a job that still runs."""
        if self.lives:
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End the process, and close the pipes."""
        self.kill()
        self._process.wait()
        self._messages.close()
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(lines[-_LINES:])


def _environment(recipe: Recipe, folder: Path) -> dict[str, str]:
    """Give the worker CRDS's settings: it reads them once, when it is imported."""
    environment = {**os.environ, "STPIPE_DISABLE_CRDS_STEPPARS": "true"}
    environment.pop("CRDS_CONTEXT", None)
    if recipe.context is not None:
        environment["CRDS_CONTEXT"] = recipe.context
    if recipe.server is not None:
        if recipe.cache is not None:
            environment["CRDS_PATH"] = str(recipe.cache.resolve())
        return environment
    environment |= {"CRDS_SERVER_URL": _SERVERLESS, "CRDS_READONLY_CACHE": "1"}
    environment["CRDS_PATH"] = str(_offline_cache(recipe, folder))
    if recipe.cache is None:
        environment["CRDS_CONTEXT"] = _NO_CONTEXT
    return environment


def _offline_cache(recipe: Recipe, folder: Path) -> Path:
    """Give a cache that CRDS can use without a server: the one there is, else one that has what CRDS misses in it."""
    cache = None if recipe.cache is None else recipe.cache.resolve()
    if cache is not None and (cache / "config" / "jwst" / "server_config").is_file():
        return cache
    made = folder / "crds"
    config = made / "config" / "jwst"
    config.mkdir(parents=True)
    if cache is not None:
        for part in cache.iterdir():
            if part.name != "config":
                (made / part.name).symlink_to(part)
        nested = (cache / "mappings" / "jwst").is_dir()
        (config / "ref_cache_subdir_mode").write_text("flat" if nested else "legacy")
    context = recipe.context or _NO_CONTEXT
    config.joinpath("server_config").write_text(
        repr(
            {
                "observatory": "jwst",
                "latest_context": context,
                "operational_context": context,
                "bad_files_list": [],
                "force_remote_mode": False,
                "last_synced": "never",
            }
        )
    )
    return made
