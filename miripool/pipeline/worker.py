"""Runs of `Detector1Pipeline`, one after the other: ``python -m miripool.pipeline.worker FD``.

The worker imports jwst, then reads folders from standard input, one to a line, as JSON. Each has ``job.json`` and the
raw file. A process that is forked for the folder writes ``pipeline.log`` and ``result.json``. The worker writes lines
of JSON to the file descriptor: each step that begins, and the exit code of the process.
"""

from __future__ import annotations

import contextlib
import difflib
import gc
import json
import logging
import os
import re
import select
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import xxhash

from ..formats.libyaml import prefer_libyaml

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["main"]

_log = logging.getLogger("miripool.pipeline.worker")
_STEP = re.compile(r"Step (\w+) running")
_NEEDLESS = frozenset({"emicorr", "flat", "pastasoss", "pictureframe", "refpix", "sirskernel", "superbias"})
"""Reference types that MIRI's exposures do not need: their steps are for other instruments, or do nothing."""


class JobError(Exception):
    """The job can't be done as it is asked for; the message is for the user."""


def main(descriptor: int) -> int:
    """Do the jobs that standard input names, until it ends.

    Parameters
    ----------
    descriptor : int
        File descriptor for the messages.

    Returns
    -------
    int
        Exit code, 0.
    """
    with contextlib.suppress(Exception):  # each job imports it again then, and says what is wrong
        _import_jwst()
    for line in sys.stdin.buffer:
        child = os.fork()
        if not child:
            _do_and_exit(Path(json.loads(line)), descriptor)
        _, status = os.waitpid(child, 0)
        _send(descriptor, ended=os.waitstatus_to_exitcode(status))
    return 0


def _send(descriptor: int, **message: object) -> None:
    os.write(descriptor, json.dumps(message).encode() + b"\n")


def _do_and_exit(place: Path, descriptor: int) -> NoReturn:
    code = 1
    try:
        _do(place, descriptor)
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)  # not by way of `main`, which is the worker's


def _do(place: Path, descriptor: int) -> None:
    """Do the job of a folder; ``result.json`` has the result, or says why there is none."""
    log = os.open(place / "pipeline.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(log, 1)
    os.dup2(log, 2)
    _end_with_parent()
    try:
        result = _run(place, json.loads((place / "job.json").read_text()), descriptor)
    except JobError as error:
        result = {"error": str(error)}
    except Exception as error:
        _log.exception("the pipeline failed")
        result = {"error": f"{type(error).__name__}: {error}"}
    (place / "result.json.part").write_text(json.dumps(result))
    (place / "result.json.part").rename(place / "result.json")
    sys.stdout.flush()  # other libraries print


def _end_with_parent() -> None:
    """End when the worker has ended, or the process that started it has closed the worker's standard input."""
    worker = os.getppid()

    def watch() -> None:
        while os.getppid() == worker:
            readable, _, _ = select.select([0], [], [], 1)
            if readable and not os.read(0, 1024):
                break
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _import_jwst() -> None:
    """Import jwst, and keep its modules out of garbage collection."""
    prefer_libyaml()
    gc.disable()
    import jwst.pipeline  # noqa: F401

    gc.freeze()  # stpipe collects after each step, and would look through millions of objects of jwst's modules
    gc.enable()


def _run(place: Path, job: dict[str, Any], descriptor: int) -> dict[str, Any]:
    import jwst
    from jwst.pipeline import Detector1Pipeline

    logging.getLogger("stpipe").addHandler(_Steps(descriptor))
    os.chdir(place)  # the pipeline's log, which is kept, names the file as it is given
    raw = job["raw"]
    steps = _settings(Detector1Pipeline.step_defs, job)
    _find_references(raw, steps, Detector1Pipeline.step_defs, job)
    Detector1Pipeline.call(raw, steps=steps, save_results=True, save_calibrated_ramp=True, output_dir=".")
    files = {kind: sorted(p.name for p in place.glob(f"*_{kind}.fits")) for kind in ("ramp", "rateints", "rate")}
    if not files["ramp"] or not files["rate"]:
        raise JobError("the pipeline ended without writing a ramp and a rate")
    chosen = {kind: names[0] for kind, names in files.items() if names}
    return {
        "version": str(jwst.__version__),
        "files": chosen,
        "steps": _steps_done(place / chosen["ramp"], place / chosen["rate"]),
        **_references(place, chosen, job),
    }


class _Steps(logging.Handler):
    """Sends each step that begins."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def emit(self, record: logging.LogRecord) -> None:
        found = _STEP.match(record.getMessage())
        if found is not None:
            _send(self._descriptor, step=found[1])


def _settings(definitions: Any, job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Give the settings of each step; what nobody knows is refused."""
    types = sorted({kind for step in definitions.values() for kind in step.reference_file_types})
    for kind in job["overrides"]:
        _known("reference type", kind, types)
    for step in job["skip"]:
        _known("step", step, sorted(definitions))
    settings: dict[str, dict[str, Any]] = {}
    missing: list[tuple[str, str]] = []
    for name, step in definitions.items():
        own: dict[str, Any] = {"skip": True} if name in job["skip"] else {}
        for kind in step.reference_file_types:
            if kind in job["overrides"]:
                own[f"override_{kind}"] = job["overrides"][kind]
            elif job["without_crds"]:
                if kind not in _NEEDLESS and name not in job["skip"]:
                    missing.append((kind, name))
                own[f"override_{kind}"] = "N/A"
        if own:
            settings[name] = own
    if missing:
        (kind, name), listed = missing[0], ", ".join(f"{kind!r} of step {name}" for kind, name in missing)
        what = f"reference {listed} is" if len(missing) == 1 else f"references {listed} are"
        raise JobError(
            f"the {what} missing: give a file (--override {kind}=FILE) or a folder of files (--override DIR), skip the "
            f"step (--skip {name}), or give a CRDS cache (--crds-path DIR)"
        )
    return settings


def _known(what: str, name: str, names: list[str]) -> None:
    if name in names:
        return
    near = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
    raise JobError(f"the pipeline has no {what} {name!r}; {hint}")


def _find_references(raw: str, steps: dict[str, dict[str, Any]], definitions: Any, job: dict[str, Any]) -> None:
    """Look for the references of a cache without a server before the pipeline begins: it would end in the middle."""
    if job["without_crds"] or not job["offline"]:
        return
    import crds
    from crds.core.exceptions import CrdsError
    from stdatamodels.jwst import datamodels

    with datamodels.open(raw) as model:
        parameters = model.get_crds_parameters()
    missing: list[str] = []
    for name, step in definitions.items():
        for kind in step.reference_file_types:
            own = steps.get(name, {})
            if own.get("skip") or f"override_{kind}" in own:
                continue
            try:
                found = crds.getrecommendations(parameters, reftypes=[kind], observatory="jwst")[kind]
            except CrdsError as error:
                raise JobError(f"CRDS can't choose the reference file {kind!r} without its server: {error}") from error
            if found.startswith("NOT FOUND"):
                continue
            path = Path(crds.locate_file(found, "jwst"))
            if not path.is_file():
                missing.append(f"{kind!r} of step {name}: {found}")
    if missing:
        raise JobError(
            f"the CRDS cache {job['crds']} lacks reference files: {'; '.join(missing)}. Add them to the cache, give "
            "others (--override TYPE=FILE), or set CRDS_SERVER_URL to fetch them"
        )


def _steps_done(ramp: Path, rate: Path) -> dict[str, str]:
    from astropy.io import fits

    cards = {**fits.getheader(ramp), **fits.getheader(rate)}
    return {key[2:]: str(value) for key, value in cards.items() if key.startswith("S_")}


def _references(place: Path, files: dict[str, str], job: dict[str, Any]) -> dict[str, Any]:
    """Tell the references with digests, and let the files name overrides without their folders."""
    from astropy.io import fits

    found: dict[str, dict[str, str]] = {}
    context = ""
    for name in files.values():
        with fits.open(place / name, mode="update", memmap=True) as hdus:
            header = hdus[0].header
            if job["without_crds"]:
                header["CRDS_CTX"] = "N/A"
            context = str(header.get("CRDS_CTX", ""))
            for key in [key for key in header if key.startswith("R_")]:
                value = str(header[key])
                if value in ("N/A", ""):
                    continue
                path = _path_of(value)
                if "://" not in value:
                    header[key] = path.name
                found[key] = {"name": path.name, "digest": _digest(path)}
            _forget_folders(hdus, job["overrides"].values())
    return {"context": context, "references": found}


def _forget_folders(hdus: Any, overrides: Iterable[str]) -> None:
    """Let the datamodel's tree, too, name overrides without their folders; its length stays."""
    for hdu in hdus:
        if hdu.name != "ASDF":
            continue
        tree = hdu.data[0][0]
        before = tree.tobytes()
        after = before
        for folder in {str(Path(path).parent) + "/" for path in overrides}:
            # The pipeline's log leaves the folders away, but only up to a name with a blank in it.
            blank = folder.find(" ")
            gone = folder.rfind("/", 0, blank) + 1 if blank >= 0 else 0
            head, rest = _yaml_pattern(folder[:gone]), _yaml_pattern(folder[gone:])
            after = re.sub(b"(?:" + head + b")?" + rest, b"", after)
        if after == before:
            continue
        missing = len(before) - len(after)
        end = after.rindex(b"\n...")  # of the YAML document; a comment before it takes up the room
        after = after[:end] + b"\n#" + b" " * (missing - 2) + after[end:]
        tree[:] = np.frombuffer(after, np.uint8)
        hdu.data[0:1] = hdu.data[0:1]  # astropy sees that it has to be written


def _yaml_pattern(text: str) -> bytes:
    """Match a text as YAML may write it: folded at blanks, with quotes doubled."""
    parts = (r"\s+" if c == " " else "'{1,2}" if c == "'" else re.escape(c) for c in text)
    return "".join(parts).encode()


def _path_of(value: str) -> Path:
    if not value.startswith("crds://"):
        return Path(value)
    import crds

    return Path(crds.locate_file(value.removeprefix("crds://"), "jwst"))


def _digest(path: Path) -> str:
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
