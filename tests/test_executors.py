"""Work given to others: threads, processes and Dask come to the same; a worker that is killed costs nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import homes
import numpy as np
import pytest
from homes import write_image
from replay import assert_index_is_journal

from miripool import FullQuery, Home, Pool, Product, RateInts
from miripool.errors import Conflict, FormatError, PoolNotFound
from miripool.maintenance.gc import collect
from miripool.maintenance.verify import verify
from miripool.pool import save as saving
from miripool.pool import storing as storing_module
from miripool.pool.core import Core, core_of
from miripool.pool.ingest import Outcome, ingest
from miripool.pool.prepared import ArraysElsewhere
from miripool.pool.storing import Stored, StoreJob, store_elsewhere
from miripool.store.archive import archive_at
from miripool.system.threads import workers_of

home = homes.home


@contextmanager
def processes() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        yield executor


@contextmanager
def dask() -> Iterator[Any]:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
        client.get_executor() as executor,
    ):
        yield executor


def images(folder: Path, count: int, size: int = 100) -> list[Path]:
    """Files with nothing in common, two of each name."""
    rng = np.random.default_rng(1)
    return [
        write_image(folder / str(i) / f"n{i // 2}.fits", {"NGROUPS": i}, rng.normal(size=(size, size)).astype("f4"))
        for i in range(count)
    ]


def pending(pool: Pool) -> list[str]:
    return list(core_of(pool).archive.storage.keys("pending"))


def versions(pool: Pool) -> list[tuple[Any, ...]]:
    """All that is the same in every pool which the same files were added to in the same order."""
    rows = core_of(pool).catalog.rows(range(core_of(pool).catalog.position().next_serial))
    # An exposure's manifest is told by what it refers to.
    return [(r.serial, r.kind, r.name, r.version, r.head, r.manifest, r.content, r.file_digest, r.tags) for r in rows]


def told(outcomes: list[Outcome]) -> list[tuple[Any, ...]]:
    return [(o.path, o.status, o.bytes, o.version, o.message) for o in outcomes]


def has_bright_pixels(p: Any) -> bool:
    return bool((p["SCI"][...] > 5).sum() > 20)


def assert_whole(pool: Pool) -> None:
    """What is there is whole, and what killed workers left goes."""
    report = verify(pool, level="full")
    assert [finding for finding in report.findings if finding.what != "note"] == []
    collect(core_of(pool).archive)
    assert pending(pool) == []
    assert [f for f in verify(pool, level="full").findings if "temporary" not in f.problem] == []
    assert_index_is_journal(pool)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_come_to_the_same(home: Home, simulated: Path, tmp_path: Path) -> None:
    files = [path for label in ("v1", "v2") for path in sorted((simulated / label).glob("*_rateints.fits"))]
    files += images(tmp_path, 4)
    files.insert(3, tmp_path / "nothing.fits")
    files.append(files[0])
    write_image(tmp_path / "bad.fits").write_bytes(b"SIMPLE  = nonsense")
    files.append(tmp_path / "bad.fits")
    with home.create("alone") as alone:
        alone.set_pixel_policy("none")
        expected = told(alone.ingest(files, tag="t"))
        assert [o[1] for o in expected].count("failed") == 2
        known = told(alone.ingest(files, tag="t"))
        assert {o[1] for o in known} == {"unchanged", "failed"}
        rows, found = versions(alone), [r.name for r in alone.select(FullQuery(RateInts, has_bright_pixels))]
        assert found
    for name, make in (("threads", lambda: ThreadPoolExecutor(2)), ("processes", processes), ("dask", dask)):
        with home.create(name) as pool, make() as executor:
            pool.set_pixel_policy("none")
            assert workers_of(executor) == 2
            assert told(pool.ingest(files, tag="t", executor=executor)) == expected
            assert versions(pool) == rows
            assert told(pool.ingest(files, tag="t", executor=executor)) == known
            question = FullQuery(RateInts, has_bright_pixels)
            assert [r.name for r in pool.select(question, executor=executor)] == found
            if name == "dask":
                lazy = pool.select(lambda p: p.type == "RateInts" and has_bright_pixels(p), executor=executor)
                assert [r.name for r in lazy] == found
            assert pending(pool) == []
            assert_whole(pool)


# Workers that are killed


def kill_one_of(executor: Any) -> None:
    if isinstance(executor, ProcessPoolExecutor):
        pids = list(executor._processes)
    else:
        pids = list(executor._client.run(os.getpid).values())
    os.kill(pids[0], signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("make", [processes, dask])
def test_a_worker_that_is_killed(
    pool: Pool, tmp_path: Path, make: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    files = images(tmp_path, 30, 700)
    outcomes = []
    with make() as executor:
        for outcome in ingest(pool, files, executor=executor, pixels=False):
            outcomes.append(outcome)
            if len(outcomes) == 3:
                kill_one_of(executor)
    assert [(o.path, o.status) for o in outcomes] == [
        (path, "version" if i % 2 else "new") for i, path in enumerate(files)
    ]
    assert ("this process reads" in caplog.text) == (make is processes)
    assert pending(pool) == []
    assert_whole(pool)


@pytest.mark.slow
def test_an_executor_that_is_broken_from_the_beginning(pool: Pool, tmp_path: Path) -> None:
    with processes() as executor:
        executor.submit(os.getpid).result()
        for pid in list(executor._processes):
            os.kill(pid, signal.SIGKILL)
        assert {o.status for o in pool.ingest(images(tmp_path, 4), executor=executor)} == {"new", "version"}
        assert {o.status for o in pool.ingest(images(tmp_path, 4), executor=executor)} == {"unchanged"}
    assert_whole(pool)


# Notes, and what a worker leaves


def job_of(pool: Pool, path: Path, *names: str) -> StoreJob:
    return StoreJob(
        path, None, False, False, tuple(core_of(pool).catalog.living(names)), core_of(pool).archive.notes.ticket()
    )


def store(pool: Pool, job: StoreJob, executor: Executor | None = None) -> Stored:
    place = str(pool.path), pool.id
    done = executor.submit(store_elsewhere, *place, [job]).result() if executor else store_elsewhere(*place, [job])
    (stored,) = done
    return stored


@pytest.mark.slow
def test_a_note_lasts_longer_than_the_worker_that_wrote_it(pool: Pool, tmp_path: Path) -> None:
    (path,) = images(tmp_path, 1)
    job = job_of(pool, path)
    with processes() as executor:
        stored = store(pool, job, executor)
    (prepared,) = stored.prepared
    assert prepared.stored
    assert pending(pool) == [job.ticket.key]
    found = collect(core_of(pool).archive)
    assert (found.files, found.notes) == (0, 0)
    assert found.spared > 0
    # Done again, by whoever the work was given to when the first one was lost.
    assert store(pool, job).error is None
    assert pending(pool) == [job.ticket.key]
    assert saving.commit(core_of(pool), prepared).status == "new"
    core_of(pool).archive.notes.withdraw(job.ticket)
    core_of(pool).archive.notes.withdraw(job.ticket)
    assert_whole(pool)
    assert np.array_equal(pool.ref("Product/n0").product["SCI"][...], storing_module.read_fits(path)["SCI"][...])


@pytest.mark.slow
def test_work_that_is_done_again_after_all_is_over(pool: Pool, tmp_path: Path) -> None:
    """As by Dask, when a worker is lost after its result was fetched."""
    first, second = images(tmp_path, 2)
    job = job_of(pool, first)
    with core_of(pool).archive.notes.run() as ticket:
        early, late = (replace(job, ticket=ticket()) for _ in range(2))
        late = replace(late, path=second)
        with processes() as executor:
            assert store(pool, early, executor).error is None
        core_of(pool).archive.notes.withdraw(early.ticket)
        assert store(pool, early).error is None
        assert early.ticket.key in pending(pool)
        assert len(pending(pool)) == 2
    assert pending(pool) == []
    error = store(pool, late).error
    assert isinstance(error, Conflict)
    assert "the run that asked for this work has ended" in str(error)
    assert pending(pool) == []
    assert collect(core_of(pool).archive).files > 0
    assert_whole(pool)


def test_what_comes_back_is_small(pool: Pool, tmp_path: Path) -> None:
    import pickle

    path = write_image(tmp_path / "a.fits", {}, np.random.default_rng(1).normal(size=(1000, 1000)))
    job = job_of(pool, path)
    stored = store(pool, job)
    assert len(pickle.dumps(job)) < 2000
    assert len(pickle.dumps(stored)) < 10_000
    core_of(pool).archive.notes.withdraw(job.ticket)


@pytest.mark.slow
def test_arrays_that_turn_out_to_be_needed(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker finds the data there under other timestamps, and stores nothing; then the version goes."""
    first = pool.save(write_image(tmp_path / "1" / "a.fits", {"DATE": "2026-01-01T00:00:00"}))
    again = write_image(tmp_path / "2" / "a.fits", {"DATE": "2026-01-02T00:00:00"})
    stored = store(pool, job_of(pool, again, "a"))
    (prepared,) = stored.prepared
    assert not prepared.stored
    assert pending(pool) == []
    assert saving.commit(core_of(pool), prepared).status == "unchanged"
    pool.remove(first)
    with pytest.raises(ArraysElsewhere):
        saving.commit(core_of(pool), prepared)

    real = Core.catch_up
    pool.restore(first)
    calls = []

    def remove_when_its_turn_comes(self: Core) -> Any:
        calls.append(1)
        if len(calls) == 2:
            monkeypatch.undo()
            pool.remove(first)
        return real(self)

    with processes() as executor:
        monkeypatch.setattr(Core, "catch_up", remove_when_its_turn_comes)
        (outcome,) = pool.ingest([again], executor=executor)
    assert (outcome.status, outcome.version) == ("version", 1)
    assert_whole(pool)


@pytest.mark.slow
def test_a_known_version_that_goes_before_its_turn(pool: Pool, tmp_path: Path) -> None:
    files = images(tmp_path, 6)
    pool.ingest(files)
    outcomes = ingest(pool, files, jobs=2)
    assert next(outcomes).status == "unchanged"
    pool.remove(pool.versions("n2"))
    assert [(o.status, o.version) for o in outcomes][3:] == [("version", 2), ("version", 3)]
    assert_whole(pool)


def test_a_refused_file_leaves_nothing(pool: Pool, tmp_path: Path) -> None:
    pool.save(write_image(tmp_path / "1" / "a.fits", {"DETECTOR": "MIRIMAGE", "OBS_ID": "1"}))
    files = [
        write_image(tmp_path / str(i) / "a.fits", {"DETECTOR": "MIRIMAGE", "OBS_ID": str(i)}, np.ones((5, i)))
        for i in (2, 3)
    ]
    assert {o.status for o in pool.ingest(files, jobs=2)} == {"failed"}
    assert collect(core_of(pool).archive).files == 0


@pytest.mark.slow
def test_given_up_after_the_first(pool: Pool, tmp_path: Path) -> None:
    files = images(tmp_path, 12)
    with processes() as executor, closing(ingest(pool, files, executor=executor)) as outcomes:  # type: ignore[type-var]
        next(outcomes)
    assert pending(pool) == []
    assert_whole(pool)


def test_a_folder_that_is_no_such_pool_there(pool: Pool, tmp_path: Path) -> None:
    with pytest.raises(PoolNotFound, match=r"no pool at .* on host"):
        archive_at(str(tmp_path), pool.id)
    with pytest.raises(PoolNotFound, match=r"another pool at .* on host"):
        archive_at(str(pool.path), "00000000-0000-0000-0000-000000000000")
    job = job_of(pool, images(tmp_path, 1)[0])
    assert [type(s.error) for s in store_elsewhere(str(tmp_path), pool.id, [job, job])] == [PoolNotFound] * 2


# What is known


@pytest.mark.slow
def test_what_is_known_is_not_parsed(pool: Pool, simulated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = sorted((simulated / "v1").glob("*.fits")) + sorted((simulated / "uncal").glob("*.fits"))
    pool.ingest(files)

    def refuse(*_: Any, **__: Any) -> Product:
        raise FormatError("parsed")

    monkeypatch.setattr(storing_module, "read_fits", refuse)
    for jobs in (1, 3):
        assert {o.status for o in pool.ingest(files, jobs=jobs)} == {"unchanged"}
        assert {o.message for o in pool.ingest(files, jobs=jobs, force=True)} == {"parsed"}


def test_a_file_under_another_name_or_kind_is_another_product(pool: Pool, tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.fits")
    pool.save(path, kind="Rate", name="a")
    (outcome,) = pool.ingest(path)
    assert (outcome.status, outcome.urn) == ("new", "urn:jpl8:Product:1")
    (outcome,) = pool.ingest([path], name="b")
    assert (outcome.status, outcome.urn) == ("new", "urn:jpl8:Product:2")
    assert [o.urn for o in pool.ingest(str(tmp_path / "*.fits"))] == ["urn:jpl8:Product:1"]


def test_progress_is_told_in_bytes(pool: Pool, tmp_path: Path) -> None:
    files = images(tmp_path, 4)
    (tmp_path / "bad.fits").write_text("nonsense")
    heard: list[tuple[int, int]] = []
    pool.ingest([*files, tmp_path / "bad.fits"], jobs=2, progress=lambda done, total: heard.append((done, total)))
    sizes = [path.stat().st_size for path in (*files, tmp_path / "bad.fits")]
    assert heard == [(sum(sizes[: i + 1]), sum(sizes)) for i in range(5)]


@pytest.mark.slow
def test_another_process_stores_what_changed(pool: Pool, tmp_path: Path) -> None:
    """A worker is not told what the index has, only of the versions of its file's name: enough for a delta blob."""
    values = np.random.default_rng(1).normal(size=(1, 4, 300, 320)).astype("f4")
    for version in range(2):
        values[0, :, 5, 5] = version
        write_image(tmp_path / str(version) / "x_ramp.fits", data=values)
    with processes() as executor:
        for version in range(2):
            (outcome,) = pool.ingest([tmp_path / str(version) / "x_ramp.fits"], executor=executor, pixels=False)
            assert outcome.version == version, outcome
    first, second = (pool.ref(f"Ramp/x@{version}") for version in range(2))
    sources = [next(d.source for d in ref.product.values() if d.shape == values.shape) for ref in (first, second)]
    assert sources[1].owners() == (sources[0].ref.digest,)
    assert np.array_equal(sources[1][...], values)
    assert verify(pool, level="full").findings == []
