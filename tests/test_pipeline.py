"""The real JWST pipeline over products of a pool."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from astropy.io import fits
from homes import call

from miripool import Pool, ProductRef
from miripool.errors import FileMissing, InvalidInput, PipelineError
from miripool.pipeline import Recipe, reprocess, worker
from miripool.pipeline import run as running
from miripool.pool.core import core_of
from miripool.system.workfolder import work_folder

pytestmark = pytest.mark.jwst

GROUND = "MIRI_5582_89_S_20180308-010230_SCE1"
KINDS = ("dark", "gain", "ipc", "linearity", "mask", "readnoise", "reset", "rscd", "saturation")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CRDS_PATH", "CRDS_SERVER_URL", "CRDS_CONTEXT", "CRDS_READONLY_CACHE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def raw(pool: Pool, shared_data: Path) -> ProductRef:
    return pool.save(shared_data / "jpl8" / "raw" / f"{GROUND}.fits")


@pytest.fixture(scope="session")
def crds(shared_data: Path) -> Path:
    return shared_data / "crds"


def references(crds: Path) -> dict[str, Path]:
    return {kind: crds / "references" / "jwst" / f"jwst_miri_{kind}_9001.fits" for kind in KINDS}


def is_worker(process: psutil.Process) -> bool:
    """Other children come and go: one that is listed may be gone when it is looked at."""
    try:
        return "miripool.pipeline.worker" in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def entries(pool: Pool) -> int:
    return len(list(core_of(pool).archive.storage.files.path("journal").iterdir()))


def same_as(product: Any, path: Path, *names: str) -> None:
    with fits.open(path) as hdus:
        for name in names:
            stored, expected = product[name].source[...], np.asarray(hdus[name].data)
            assert stored.tobytes() == expected.astype(stored.dtype).tobytes(), name


@pytest.mark.slow
def test_two_calibrations_equal_those_of_the_archive(
    pool: Pool, raw: ProductRef, crds: Path, shared_data: Path
) -> None:
    steps: list[str] = []
    for version, number in enumerate((9001, 9002)):
        before = entries(pool)
        recipe = Recipe(f"jwst_{number}.pmap", crds)
        (done,) = reprocess(pool, [raw], recipe, tag=f"cal {number}", progress=lambda _, step: steps.append(step))
        assert done.error is None
        assert entries(pool) == before + 1
        ramp, rateints, rate = done.refs
        assert [(r.kind, r.version, r.tags) for r in done.refs] == [
            ("Ramp", version, (f"cal {number}",)),
            ("RateInts", version, (f"cal {number}",)),
            ("Rate", version, (f"cal {number}",)),
        ]
        folder = shared_data / "jpl8" / str(number)
        same_as(ramp.product, folder / f"{GROUND}_ramp.fits", "SCI", "GROUPDQ", "PIXELDQ")
        same_as(rateints.product, folder / f"{GROUND}_rateints.fits", "SCI", "ERR", "DQ")
        same_as(rate.product, folder / f"{GROUND}_rate.fits", "SCI", "ERR", "DQ")
    assert {"dq_init", "jump", "ramp_fit"} <= set(steps)
    first, second = (pool.ref(f"Ramp/{GROUND}@{n}").product for n in (0, 1))
    for name in ("SCI", "GROUPDQ", "PIXELDQ", "REFOUT"):
        assert first[name].source.ref == second[name].source.ref
    (again,) = reprocess(pool, [raw], Recipe("jwst_9002.pmap", crds))
    assert [ref.version for ref in again.refs] == [1, 1, 1]
    assert all("unchanged" in (ref.notice or "") for ref in again.refs)
    assert list(core_of(pool).work_folder.iterdir()) == []


@pytest.mark.slow
def test_an_exposure_holds_what_one_run_made(pool: Pool, crds: Path, shared_data: Path) -> None:
    """Files of another calibration were there before: nothing of them is in the exposure of the run."""
    folder = shared_data / "jpl8"
    assert call("add", pool.name, folder / "uncal", folder / "9002", "--no-pixels").exit_code == 0
    (done,) = reprocess(pool, [pool.ref(f"Raw/{GROUND}")], Recipe("jwst_9001.pmap", crds), pixels=False)
    assert done.exposure is not None
    refs = done.exposure.product.refs
    assert sorted(refs) == ["ramp", "rate", "rateints", "raw"]
    assert {refs[name].meta["CRDS_CTX"].value for name in ("ramp", "rateints", "rate")} == {"jwst_9001.pmap"}
    assert refs["raw"].urn == pool.ref(f"Raw/{GROUND}").urn
    (root,) = pool.lineage(refs["rate"])
    assert [(node.row.kind, node.row.version) for node in root.walk()] == [("Raw", 0), ("Ramp", 1), ("Rate", 1)]
    assert [node.source.how for node in root.walk() if node.source is not None] == ["recorded", "recorded"]


@pytest.mark.slow
def test_what_they_were_made_from_with_a_cache_without_configuration(
    pool: Pool, raw: ProductRef, crds: Path, tmp_path: Path
) -> None:
    for part in ("mappings", "references"):
        (tmp_path / part).symlink_to(crds / part)
    (done,) = reprocess(pool, [raw], Recipe("jwst_9002.pmap", tmp_path, skip=("reset",)))
    assert done.error is None
    assert not (tmp_path / "config").exists()
    assert done.refs[0].meta["R_DARK"].value == "crds://jwst_miri_dark_9001.fits"
    (history,) = core_of(pool).manifest(core_of(pool).catalog.rows([done.refs[0].serial])[0]).history
    assert history["tool"] == "jwst Detector1Pipeline"
    assert history["version"] == done.refs[0].meta["CAL_VER"].value
    assert history["context"] == "jwst_9002.pmap"
    assert history["inputs"] == [str(raw.urn)]
    assert history["parameters"] == {"overrides": {}, "skip": ["reset"]}
    assert history["references"]["R_GAIN"]["name"] == "jwst_miri_gain_9002.fits"
    assert len(history["references"]["R_GAIN"]["digest"]) == 32
    assert history["steps"]["RESET"] == "SKIPPED"
    assert history["steps"]["JUMP"] == "COMPLETE"


@pytest.mark.slow
def test_overrides_alone(pool: Pool, raw: ProductRef, crds: Path, shared_data: Path, tmp_path: Path) -> None:
    files = {kind: shutil.copy(path, tmp_path / f"my {kind}.fits") for kind, path in references(crds).items()}
    (done,) = reprocess(pool, [raw], Recipe(overrides=files))
    ramp, rateints, _ = done.refs
    same_as(ramp.product, shared_data / "jpl8" / "9001" / f"{GROUND}_ramp.fits", "SCI", "GROUPDQ", "PIXELDQ")
    same_as(rateints.product, shared_data / "jpl8" / "9001" / f"{GROUND}_rateints.fits", "SCI", "ERR", "DQ")
    assert rateints.meta["R_GAIN"].value == "my gain.fits"
    assert rateints.meta["CRDS_CTX"].value == "N/A"
    assert str(tmp_path) not in str(rateints.product.meta.to_dict())
    assert str(tmp_path) not in core_of(pool).archive.storage.read(_manifest_key(pool, rateints)).decode()


def _manifest_key(pool: Pool, ref: ProductRef) -> str:
    return core_of(pool).archive.manifest_key(core_of(pool).catalog.rows([ref.serial])[0].manifest)


@pytest.mark.slow
def test_missing_references(pool: Pool, raw: ProductRef, crds: Path, tmp_path: Path) -> None:
    before = entries(pool)
    copied = shutil.copytree(crds, tmp_path / "crds")
    for kind in ("dark", "gain"):
        (copied / "references" / "jwst" / f"jwst_miri_{kind}_9001.fits").unlink()
    (done,) = reprocess(pool, [raw], Recipe("jwst_9001.pmap", copied))
    assert isinstance(done.error, PipelineError)
    assert "'dark' of step dark_current: jwst_miri_dark_9001.fits; 'gain' of" in str(done.error)
    assert GROUND in str(done.error)
    assert done.refs == ()
    nowhere = {kind: tmp_path / f"{kind}.fits" for kind in ("gain", "dark")}
    with pytest.raises(FileMissing, match=r"reference gain: .*no file.*; reference dark: .*no file"):
        list(reprocess(pool, [raw], Recipe(overrides=nowhere)))
    with pytest.raises(FileMissing, match=r"no context jwst_7777\.pmap"):
        list(reprocess(pool, [raw], Recipe("jwst_7777.pmap", crds)))
    with pytest.raises(FileMissing, match="no CRDS cache"):
        list(reprocess(pool, [raw], Recipe("jwst_9001.pmap", tmp_path / "none")))
    with pytest.raises(InvalidInput, match="needs a CRDS cache"):
        list(reprocess(pool, [raw], Recipe("jwst_9001.pmap")))
    assert entries(pool) == before
    assert pool.select("1").size() == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"overrides": {kind: "file" for kind in KINDS if kind != "mask"}},
            "the reference 'mask' of step dq_init is missing: give a file",
        ),
        ({"overrides": {"gian": "file"}}, "no reference type 'gian'; did you mean 'gain'"),
        ({"skip": ["drak_current"], "without_crds": False}, "no step 'drak_current'; did you mean 'dark_current'"),
    ],
)
def test_settings_that_the_worker_refuses(changes: dict[str, Any], words: str) -> None:
    with warnings.catch_warnings(action="ignore"):
        from jwst.pipeline import Detector1Pipeline
    job = {"overrides": {}, "skip": [], "without_crds": True, **changes}
    with pytest.raises(worker.JobError, match=re.escape(words)):
        worker._settings(Detector1Pipeline.step_defs, job)


@pytest.mark.slow
def test_a_file_that_is_no_reference(pool: Pool, raw: ProductRef, crds: Path, tmp_path: Path) -> None:
    broken = tmp_path / "gain.fits"
    broken.write_bytes(b"no FITS file")
    (done,) = reprocess(pool, [raw], Recipe("jwst_9001.pmap", crds, {"gain": broken}))
    assert isinstance(done.error, PipelineError)
    assert pool.select("1").size() == 1


@pytest.mark.slow
def test_one_failure_does_not_stop_the_others(pool: Pool, raw: ProductRef, crds: Path, tmp_path: Path) -> None:
    other = pool.save(
        raw.product.replace(SCI=raw.product["SCI"][:, :2], REFOUT=raw.product["REFOUT"][:, :1]), name="bad"
    )
    done = list(reprocess(pool, [other, raw], Recipe("jwst_9001.pmap", crds), jobs=2))
    assert [outcome.error is None for outcome in done] == [False, True], [str(outcome.error) for outcome in done]
    assert done[0].raw == other


@pytest.mark.slow
def test_killed_in_the_middle(pool: Pool, raw: ProductRef, crds: Path) -> None:
    before = entries(pool)
    seen: list[str] = []

    def kill(_: ProductRef, step: str) -> None:
        seen.append(step)
        if step == "linearity":
            for child in psutil.Process().children(recursive=True):
                if is_worker(child):
                    child.send_signal(signal.SIGKILL)

    (done,) = reprocess(pool, [raw], Recipe("jwst_9001.pmap", crds), progress=kill)
    assert "linearity" in seen
    assert "ended by SIGKILL" in str(done.error)
    assert entries(pool) == before

    # The whole command, too.
    command = [sys.executable, "-m", "miripool", "reprocess", pool.name, GROUND, "--crds-path", str(crds)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        workers: list[psutil.Process] = []
        while not workers and time.monotonic() < deadline:
            workers = [child for child in psutil.Process(process.pid).children() if is_worker(child)]
            time.sleep(0.02)
        process.kill()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert workers
    assert not alive
    assert len(list(core_of(pool).work_folder.iterdir())) == 1
    (done,) = reprocess(pool, [raw], Recipe("jwst_9001.pmap", crds))
    assert done.error is None
    assert [ref.version for ref in done.refs] == [0, 0, 0]
    assert list(core_of(pool).work_folder.iterdir()) == []


def test_folders_in_use_are_left_alone(tmp_path: Path) -> None:
    with work_folder(tmp_path) as first, ThreadPoolExecutor(1) as thread:

        def second() -> list[str]:
            with work_folder(tmp_path):
                return sorted(p.name for p in tmp_path.iterdir())

        assert first.name in thread.submit(second).result()
        assert [p.name for p in tmp_path.iterdir()] == [first.name]
    assert list(tmp_path.iterdir()) == []


def test_only_raw(pool: Pool, simulated: Path) -> None:
    (rate,) = (simulated / "v1").glob("*_rate.fits")
    ref = pool.save(rate)
    with pytest.raises(InvalidInput, match="takes Raw products"):
        list(reprocess(pool, [ref]))


def test_a_server_is_left_to_crds(crds: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CRDS_SERVER_URL", "https://crds.example")
    recipe = Recipe("jwst_1234.pmap", crds)
    recipe.check()  # the server knows contexts that the cache has not
    environment = running._environment(recipe, tmp_path)
    assert environment["CRDS_SERVER_URL"] == "https://crds.example"
    assert environment["CRDS_CONTEXT"] == "jwst_1234.pmap"
    assert environment["CRDS_PATH"] == str(crds.resolve())
    assert "CRDS_READONLY_CACHE" not in environment


@pytest.mark.slow
def test_on_the_command_line(pool: Pool, raw: ProductRef, crds: Path) -> None:
    arguments = ["reprocess", "jpl8", GROUND, "--crds-path", crds, "--context", "jwst_9001.pmap", "--tag", "cal 9001"]
    told = call(*arguments, "--no-pixels")
    assert told.exit_code == 0, told.stderr
    assert "made         urn:jpl8:Ramp:1  version 0" in told.stdout
    assert "1 exposure reprocessed, 0 failed" in told.stderr
    listed = json.loads(call(*arguments, "--json").stdout)
    assert [row["urn"] for row in listed] == ["urn:jpl8:Ramp:1", "urn:jpl8:RateInts:2", "urn:jpl8:Rate:3"]
    assert "unchanged" in listed[0]["notice"]
    failed = call("reprocess", "jpl8", GROUND, "--override", f"gain={references(crds)['gain']}", "--json")
    assert failed.exit_code == PipelineError.exit_code
    said = json.loads(failed.stdout)[0]["error"]
    assert "'mask' of step dq_init, 'saturation' of" in said
    assert GROUND in said
    with pytest.raises(InvalidInput, match="TYPE=FILE"):
        call("reprocess", "jpl8", GROUND, "--override", "gain")
    with pytest.raises(InvalidInput, match="twice"):
        call("reprocess", "jpl8", GROUND, "--override", "gain=a", "--override", "gain=b")
