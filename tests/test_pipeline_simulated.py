"""The real JWST pipeline over simulated exposures, calibrated by simulated references."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import psutil
import pytest
from homes import call

from miripool import Exposure, Pool, ProductRef
from miripool.errors import PipelineError
from miripool.maintenance.verify import verify
from miripool.pipeline import Recipe, references_in, reprocess
from miripool.pool.core import core_of
from miripool.simulate import Calibration, SimulatedExposure, simulate_exposure, write_references
from miripool.system.workfolder import work_folder

pytestmark = pytest.mark.jwst


@pytest.fixture(scope="module")
def exposure() -> SimulatedExposure:
    return simulate_exposure("bench", subarray="SUB64", nints=2, ngroups=8)


@pytest.fixture(scope="module")
def references(exposure: SimulatedExposure, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each of two calibrations; only the gain differs."""
    folder = tmp_path_factory.mktemp("it's a folder of many references")
    for calibration in (Calibration("v1", gain=5.5), Calibration("v2", gain=3.1)):
        (folder / calibration.label).mkdir()
        write_references(exposure, folder / calibration.label, calibration)
    return folder


@pytest.fixture
def raw(pool: Pool, exposure: SimulatedExposure, tmp_path: Path) -> ProductRef:
    call("add", "jpl8", exposure.write_jpl(tmp_path))
    return pool.ref("Raw/bench")


def entries(pool: Pool) -> int:
    return len(list(core_of(pool).archive.storage.files.path("journal").iterdir()))


def exposures(pool: Pool) -> list[dict[str, int]]:
    return [{n: r.version for n, r in ref.product.refs.items()} for ref in pool.versions("Exposure/bench")]


def test_one_run(pool: Pool, raw: ProductRef, references: Path) -> None:
    steps: list[str] = []
    recipe = Recipe(overrides=references_in(references / "v1"))
    (done,) = reprocess(pool, [raw], recipe, tag="v1", progress=lambda _, step: steps.append(step))
    assert done.error is None
    assert [(ref.kind, ref.version, ref.tags) for ref in done.refs] == [
        (kind, 0, ("v1",)) for kind in ("Ramp", "RateInts", "Rate")
    ]
    assert {"dq_init", "jump", "ramp_fit"} <= set(steps)
    assert exposures(pool) == [{"raw": 0}, {"raw": 0, "ramp": 0, "rateints": 0, "rate": 0}]
    assert list(core_of(pool).work_folder.iterdir()) == []


@pytest.mark.slow
def test_two_calibrations(pool: Pool, raw: ProductRef, references: Path, tmp_path: Path) -> None:
    for label in ("v1", "v2"):
        before = entries(pool)
        done = call("reprocess", "jpl8", "bench", "--override", references / label, "--tag", f"using cal {label}")
        assert done.stdout.count("made") == 3
        assert entries(pool) == before + 1
    core_of(pool).catch_up()
    first, second = (pool.ref(f"Ramp/bench@{n}") for n in (0, 1))
    for name in ("SCI", "PIXELDQ", "REFOUT"):  # what is a jump depends on the gain
        assert first.product[name].source.ref == second.product[name].source.ref
    assert second.stored_bytes < 100_000
    slopes, others = (pool.ref(f"RateInts/bench@{n}").product for n in (0, 1))
    assert slopes["ERR"].source.ref != others["ERR"].source.ref
    assert exposures(pool) == [
        {"raw": 0},
        {"raw": 0, "ramp": 0, "rateints": 0, "rate": 0},
        {"raw": 0, "ramp": 1, "rateints": 1, "rate": 1},
    ]
    assert len({ref.product.refs["raw"].urn for ref in pool.versions("Exposure/bench")}) == 1
    assert [ref.kind for ref in pool.tagged("using cal v2")] == ["Ramp", "RateInts", "Rate", "Exposure"]
    (history,) = pool.history("RateInts/bench@1")
    assert history["parameters"]["overrides"]["gain"] == "miri_gain_v2.fits"
    assert str(references) not in str(history)
    for spec in ("Ramp/bench@1", "RateInts/bench@1"):
        tree = b" ".join(bytes(pool.ref(spec).product["ASDF"]["ASDF_METADATA"][0]).split())
        assert b"miri_gain_v2.fits" in tree
        assert references.name.encode() not in tree.replace(b"''", b"'")
    with pool.ref("RateInts/bench@1").to_datamodel() as model:
        assert model.meta.ref_file.gain.name == "miri_gain_v2.fits"
    # The same references elsewhere are the same.
    elsewhere = shutil.copytree(references / "v2", tmp_path / "elsewhere")
    again = call("reprocess", "jpl8", "bench", "--override", elsewhere)
    assert again.stdout.count("unchanged: version 1") == 3
    assert len(pool.versions("Exposure/bench")) == 3
    (root,) = pool.lineage("Raw/bench")
    below = [[child.row.version for child in node.into] for node in root.walk()]
    assert below == [[0, 1], [0, 0], [], [], [1, 1], [], []]


@pytest.mark.slow
def test_two_processes_at_once(pool: Pool, raw: ProductRef, references: Path) -> None:
    command = [sys.executable, "-m", "miripool", "reprocess", "jpl8", "bench", "--override"]
    running = [
        subprocess.Popen([*command, references / label, "--tag", label], stdout=subprocess.DEVNULL)
        for label in ("v1", "v2")
    ]
    assert [process.wait(300) for process in running] == [0, 0]
    core_of(pool).catch_up()
    for label in ("v1", "v2"):
        found = {ref.kind: ref for ref in pool.tagged(label)}
        assert set(found) == {"Ramp", "RateInts", "Rate", "Exposure"}
        refs = found["Exposure"].product.refs
        assert (refs["ramp"], refs["rateints"], refs["raw"]) == (found["Ramp"], found["RateInts"], raw)
        assert refs["rate"] == found["Rate"]
        assert found["RateInts"].meta["R_GAIN"].value == f"miri_gain_{label}.fits"
    assert exposures(pool) == [{"raw": 0}, *({"raw": 0, "ramp": n, "rateints": n, "rate": n} for n in (0, 1))]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_by_an_executor(pool: Pool, raw: ProductRef, references: Path, tmp_path: Path) -> None:
    """Other processes calibrate, and need no database; what comes of it is what comes of it here."""
    recipe = Recipe(overrides=references_in(references / "v1"))
    bad = Recipe(overrides={**recipe.overrides, "gain": Path(__file__)})
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        (failed,) = reprocess(pool, [raw], bad, executor=executor)
        assert isinstance(failed.error, PipelineError)
        (there,) = reprocess(pool, [raw], recipe, executor=executor, tag="there")
        assert [(ref.kind, ref.version, ref.tags) for ref in there.refs] == [
            ("Ramp", 0, ("there",)),
            ("RateInts", 0, ("there",)),
            ("Rate", 0, ("there",)),
        ]
        assert list(core_of(pool).archive.storage.keys("pending")) == []
        for pid in list(executor._processes):
            os.kill(pid, signal.SIGKILL)
        (here,) = reprocess(pool, [raw], recipe, executor=executor)
    assert [ref.urn for ref in here.refs] == [ref.urn for ref in there.refs]
    assert all("unchanged: version 0" in str(ref.notice) for ref in here.refs)
    assert list(core_of(pool).work_folder.iterdir()) == []
    assert verify(pool, level="full").is_whole


@pytest.mark.slow
def test_a_missing_reference(pool: Pool, raw: ProductRef, references: Path, tmp_path: Path) -> None:
    before = entries(pool)
    few = Path(shutil.copytree(references / "v1", tmp_path / "few"))
    (few / "miri_linearity_v1.fits").unlink()
    failed = call("reprocess", "jpl8", "bench", "--override", few)
    assert failed.exit_code == PipelineError.exit_code
    assert "'linearity' of step linearity is missing: give a file" in failed.stderr
    core_of(pool).catch_up()
    assert entries(pool) == before


@pytest.mark.slow
def test_killed_in_the_middle(pool: Pool, raw: ProductRef, references: Path) -> None:
    before = entries(pool)
    command = [sys.executable, "-m", "miripool", "reprocess", "jpl8", "bench", "--override", str(references / "v1")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not list(core_of(pool).work_folder.glob("run-*/*/*_uncal.fits")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1)
        everyone = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for one in everyone:
            with contextlib.suppress(psutil.NoSuchProcess):  # it ended by itself when its parent was gone
                one.send_signal(signal.SIGKILL)
    core_of(pool).catch_up()
    assert entries(pool) == before
    assert pool.select(Exposure).size() == 1
    (done,) = reprocess(pool, [raw], Recipe(overrides=references_in(references / "v1")))
    assert [ref.version for ref in done.refs] == [0, 0, 0]
    assert list(core_of(pool).work_folder.iterdir()) == []


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    """Those that were started by the process; what they fork has the same command line."""
    found = []
    for child in process.children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "miripool.pipeline.worker" in child.cmdline():
                found.append(child)
    return found


@pytest.mark.slow
def test_one_worker_for_all_and_a_new_one_for_the_rest(pool: Pool, raw: ProductRef, references: Path) -> None:
    seen: list[tuple[int, int]] = []  # worker, and the process that it forked

    def watch(_: ProductRef, step: str) -> None:
        if step != "linearity":
            return
        (worker,) = workers_of(psutil.Process())
        (child,) = worker.children()
        seen.append((worker.pid, child.pid))
        if len(seen) == 2:
            child.kill()
        elif len(seen) == 3:
            worker.kill()

    done = list(reprocess(pool, [raw] * 5, Recipe(overrides=references_in(references / "v1")), progress=watch))
    assert [one.error is None for one in done] == [True, False, False, True, True]
    assert all("ended by SIGKILL" in str(done[i].error) for i in (1, 2))
    workers, children = zip(*seen, strict=True)
    assert workers[0] == workers[1] == workers[2] != workers[3] == workers[4]
    assert len(set(children)) == 5
    assert not any(psutil.pid_exists(pid) for pid in {*workers, *children})
    assert list(core_of(pool).work_folder.iterdir()) == []


@pytest.mark.slow
def test_an_interrupt_ends_what_runs(pool: Pool, raw: ProductRef, references: Path) -> None:
    before = entries(pool)
    command = [sys.executable, "-m", "miripool", "reprocess", "jpl8", "bench", "--override", str(references / "v1")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not list(core_of(pool).work_folder.glob("run-*/*/pipeline.log")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (worker,) = workers_of(psutil.Process(process.pid))
        running = [worker, *worker.children()]
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        process.communicate(timeout=60)
    assert time.monotonic() - began < 20
    assert process.returncode == 130
    _, alive = psutil.wait_procs(running, timeout=10)
    assert not alive
    core_of(pool).catch_up()
    assert entries(pool) == before


def test_work_folders_of_many_at_once(tmp_path: Path) -> None:
    def work(number: int) -> bool:
        for _ in range(40):
            with work_folder(tmp_path) as folder:
                (folder / "file").write_text(str(number))
                if (folder / "file").read_text() != str(number):
                    return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(8)))
    assert list(tmp_path.iterdir()) == []


def test_work_folders_that_were_left(tmp_path: Path) -> None:
    for name in ("run-0ld_0ld_", "begun-0ld_0ld_", "begun-new_new_", "run-of others"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lock").touch()
    os.utime(tmp_path / "begun-0ld_0ld_", (1, 1))
    with work_folder(tmp_path) as folder:
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
            ["begun-new_new_", "run-of others", folder.name]
        )
