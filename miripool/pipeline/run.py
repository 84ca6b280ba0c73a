"""Running the pipeline's worker: its environment, its folder, its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..errors import FileMissing, InvalidInput, PipelineError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Recipe", "Run", "references_in", "run_pipeline"]

_SERVERLESS = "https://jwst-serverless.stsci.edu"
_NO_CONTEXT = "jwst_0000.pmap"
"""Context given to CRDS if all reference files are overrides; CRDS does not look it up."""
_LINES = 12
"""Last lines of the pipeline's log that an error shows."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to calibrate raw exposures.

    Attributes
    ----------
    context : str or None
        CRDS context, e.g. ``jwst_1234.pmap``; by default that of the CRDS cache or server.
    crds_path : Path or None
        Folder of the CRDS cache; by default the value of CRDS_PATH. Without a cache and without a server, `overrides`
        must name all reference files.
    overrides : mapping of str to Path
        Reference files by type (``gain``, ``dark``, …), used instead of those that CRDS would choose.
    skip : tuple of str
        Steps to skip, e.g. ``dark_current``.
    """

    context: str | None = None
    crds_path: Path | None = None
    overrides: Mapping[str, Path] = field(default_factory=dict)
    skip: tuple[str, ...] = ()

    def check(self) -> None:
        """Check the recipe, as far as this is possible without running the pipeline.

        Raises
        ------
        FileMissing
            If a reference file, the cache or its context does not exist.
        InvalidInput
            If the context is not the name of a CRDS context, or needs a cache or a server and there is none.
        """
        missing = [(kind, path) for kind, path in self.overrides.items() if not Path(path).is_file()]
        if missing:
            raise FileMissing("; ".join(f"reference {kind}: there is no file {path}" for kind, path in missing))
        cache = self.cache
        if cache is not None and not cache.is_dir():
            raise FileMissing(f"there is no CRDS cache {cache}")
        if self.context is not None and not (self.context.endswith(".pmap") and "/" not in self.context):
            raise InvalidInput(f"{self.context!r} is not a CRDS context; write a name such as jwst_1234.pmap")
        if self.context is not None and cache is None and not self.server:
            raise InvalidInput(
                f"the context {self.context} needs a CRDS cache (--crds-path DIR, or CRDS_PATH) or a server "
                "(CRDS_SERVER_URL)"
            )
        if cache is not None and not self.server and self.context is not None:
            mapping = cache / "mappings" / "jwst" / self.context
            flat = cache / "mappings" / self.context
            if not (mapping.is_file() or flat.is_file()):
                raise FileMissing(f"the CRDS cache {cache} has no context {self.context}")

    @property
    def cache(self) -> Path | None:
        """Folder of the CRDS cache, or None."""
        if self.crds_path is not None:
            return Path(self.crds_path)
        named = os.environ.get("CRDS_PATH")
        return Path(named) if named else None

    @property
    def server(self) -> str | None:
        """URL of the CRDS server that CRDS_SERVER_URL names; None to work offline."""
        url = os.environ.get("CRDS_SERVER_URL", "")
        return url if url and "serverless" not in url else None

    def parameters(self) -> dict[str, Any]:
        """Give the overrides and skipped steps, for the history.

        Returns
        -------
        dict
            ``overrides`` (names of the files, without their folders) and ``skip``.
        """
        return {"overrides": {k: Path(p).name for k, p in sorted(self.overrides.items())}, "skip": sorted(self.skip)}


def references_in(folder: str | Path) -> dict[str, Path]:
    """Find the reference files in a folder.

    Parameters
    ----------
    folder : path
        Folder with FITS files. The keyword REFTYPE gives the type of each; files without it are ignored.

    Returns
    -------
    dict of str to Path
        Files by type in lower case, for the overrides of a `Recipe`.

    Raises
    ------
    InvalidInput
        If there are no reference files, or two of one type.
    """
    from astropy.io import fits

    found: dict[str, Path] = {}
    for path in sorted(Path(folder).glob("*.fits")):
        try:
            kind = fits.getheader(path).get("REFTYPE")
        except OSError as error:
            raise InvalidInput(f"{path} can't be read as FITS ({error})") from error
        if not isinstance(kind, str):
            continue
        other = found.setdefault(kind.strip().lower(), path)
        if other != path:
            raise InvalidInput(f"{folder} has two reference files of type {kind.lower()}: {other.name} and {path.name}")
    if not found:
        raise InvalidInput(f"{folder} has no reference files, i.e. FITS files with the keyword REFTYPE")
    return found


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


def run_pipeline(
    raw: Path, recipe: Recipe, folder: Path, *, name: str, progress: Callable[[str], None] | None = None
) -> Run:
    """Run `Detector1Pipeline` on a raw file, in a process of its own.

    Parameters
    ----------
    raw : Path
        A Level-1b file in the folder.
    recipe : Recipe
        How.
    folder : Path
        For everything that is written.
    name : str
        Of the exposure, for messages.
    progress : callable, keyword-only, optional
        Told the name of each step as it begins.

    Returns
    -------
    Run
        What it gave; its files are in the folder.

    Raises
    ------
    PipelineError
        If it failed; the message says what, or ends with the last lines of its log.
    """
    cache, without = recipe.cache, recipe.cache is None and recipe.server is None
    job = {
        "raw": raw.name,
        "overrides": {kind: str(Path(path).resolve()) for kind, path in recipe.overrides.items()},
        "skip": list(recipe.skip),
        "without_crds": without,
        "offline": recipe.server is None,
        "crds": str(cache),
    }
    (folder / "job.json").write_text(json.dumps(job))
    log = folder / "pipeline.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "miripool.pipeline.worker", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environment(recipe, folder),
            cwd=folder,
        )
        try:
            _listen(process, progress)
            code = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
    result = folder / "result.json"
    if code < 0:
        raise PipelineError(f"{name}: the pipeline was ended by {signal.Signals(-code).name}; nothing was saved")
    if code or not result.exists():
        raise PipelineError(f"{name}: the pipeline ended with code {code}; nothing was saved\n{_tail(log)}")
    told = json.loads(result.read_text())
    if "error" in told:
        raise PipelineError(f"{name}: {told['error']}")
    files = {kind: folder / file for kind, file in told["files"].items()}
    return Run(files, told["version"], told["context"], told["references"], told["steps"])


def _listen(process: subprocess.Popen[bytes], progress: Callable[[str], None] | None) -> None:
    assert process.stdout is not None  # noqa: S101 - it was asked for

    def read(lines: IO[bytes]) -> None:
        for line in lines:
            with contextlib.suppress(ValueError, LookupError, TypeError):  # other libraries print, too
                step = json.loads(line)["step"]
                if progress is not None:
                    progress(step)

    reader = threading.Thread(target=read, args=(process.stdout,), daemon=True)
    reader.start()
    process.wait()
    reader.join(timeout=5)


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
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
