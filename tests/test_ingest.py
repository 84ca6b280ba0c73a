from __future__ import annotations

import random
import shlex
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import homes
import numpy as np
import pytest
from homes import ask, call, write_image
from replay import assert_index_is_journal

from miripool import Exposure, MetaQuery, Pool, RateInts
from miripool.errors import Conflict, FileMissing, FormatError
from miripool.formats import layout_of, read_fits
from miripool.maintenance.verify import verify
from miripool.pool import batch, turns
from miripool.pool import save as saving
from miripool.pool.commit import Committer
from miripool.pool.core import core_of
from miripool.pool.ingest import find_files, ingest
from miripool.store.manifest import Manifest
from miripool.system.threads import cores

home = homes.home


def images(folder: Path, count: int = 4) -> list[Path]:
    """Files of one track, the first ones much larger than the last."""
    paths = []
    for i in range(count):
        size = 400 if i < count // 2 else 4
        data = [[float(i * x + y) for x in range(size)] for y in range(size)]
        paths.append(write_image(folder / str(i) / "a.fits", {"NGROUPS": i}, data))
    return paths


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(3))
def test_versions_count_in_the_order_of_the_files(pool: Pool, tmp_path: Path, attempt: int) -> None:
    files = images(tmp_path)
    for force in (False, True):
        outcomes = list(ingest(pool, files, jobs=4, force=force, tag="t"))
        first = 4 if force else 0
        assert [o.path for o in outcomes] == files
        assert [o.version for o in outcomes] == list(range(first, first + 4))
        assert [o.urn for o in outcomes] == [f"urn:jpl8:Product:{first + i}" for i in range(4)]
    assert [ref.meta["NGROUPS"].value for ref in pool.versions("a")] == [0, 1, 2, 3] * 2
    assert [ref.version for ref in pool.tagged("t")] == [7]
    for ref, path in zip(pool.versions("a"), files * 2, strict=True):
        assert ref.to_fits(tmp_path / "out.fits", overwrite=True).read_bytes() == path.read_bytes()
    assert_index_is_journal(pool)
    assert list((pool.path / "pending").glob("*")) == []


@pytest.mark.slow
def test_two_calibrations_of_one_exposure_at_once(pool: Pool, simulated: Path) -> None:
    files = [path for label in ("v1", "v2") for path in sorted((simulated / label).glob("*.fits"))]
    outcomes = list(ingest(pool, files, jobs=4))
    assert [(o.path, o.status) for o in outcomes] == [
        (path, "new" if i < len(files) // 2 else "version") for i, path in enumerate(files)
    ]
    contexts = [ref.meta["CRDS_CTX"].value for ref in pool.versions(pool.ref(str(outcomes[0].urn)))]
    assert contexts == ["jwst_9001.pmap", "jwst_9002.pmap"]
    assert {o.status for o in ingest(pool, files[::-1], jobs=4)} == {"unchanged"}


@pytest.mark.skipif(cores() == 1, reason="there is one core")
def test_large_files_are_stored_side_by_side(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_LARGE", 1)
    both, met = threading.Barrier(2), []
    store = turns.store_files

    def meet(*args: Any) -> list[Any]:
        met.append(both.wait(60))  # each waits until the other is being stored as well
        return store(*args)

    monkeypatch.setattr(turns, "store_files", meet)
    files = [write_image(tmp_path / f"{i}.fits", {"NGROUPS": i}) for i in range(2)]
    assert [o.status for o in ingest(pool, files)] == ["new", "new"]
    assert sorted(met) == [0, 1]


def test_the_same_data_twice_in_one_call(pool: Pool, tmp_path: Path) -> None:
    first = write_image(tmp_path / "1" / "a.fits", {"DATE": "2026-01-01T00:00:00"})
    again = write_image(tmp_path / "2" / "a.fits", {"DATE": "2026-01-02T00:00:00"})
    outcomes = list(ingest(pool, [first, again, first], jobs=3))
    assert [(o.status, o.version) for o in outcomes] == [("new", 0), ("unchanged", 0), ("unchanged", 0)]
    assert [o.message for o in outcomes] == [
        None,
        "unchanged: version 0; this file's own timestamps were not kept",
        "unchanged: version 0",
    ]


def test_data_that_are_in_the_trash(pool: Pool, tmp_path: Path) -> None:
    """A further version is made of them; it is said how the one in the trash comes back."""
    image = write_image(tmp_path / "a b.fits")
    list(ingest(pool, [image]))
    pool.undo()
    (outcome,) = ingest(pool, [image])
    assert (outcome.status, outcome.version) == ("version", 1)
    assert outcome.message is not None
    words, _, command = outcome.message.partition("; ")
    assert words == "version 0 in the trash has the same data"
    assert command == "`miripool restore jpl8 'Product/a b@0'` brings it back"
    assert f"({outcome.message})" in call("add", "jpl8", image, "--force").stdout
    assert pool.save(image, force=True).notice == words
    assert call(*shlex.split(command.split("`")[1])[1:]).exit_code == 0
    pool.remove("Product/a b@0")
    pool.purge("Product/a b@0")
    assert pool.save(image, force=True).notice is None


def test_errors_stand_in_their_place(pool: Pool, tmp_path: Path) -> None:
    files = images(tmp_path)
    (tmp_path / "bad.fits").write_text("nonsense")
    other = write_image(tmp_path / "x" / "a.fits", {"DETECTOR": "MIRIFULONG", "OBS_ID": "1"})
    another = write_image(tmp_path / "y" / "a.fits", {"DETECTOR": "MIRIMAGE", "OBS_ID": "2"})
    outcomes = list(ingest(pool, [files[0], tmp_path / "bad.fits", other, another, files[1]], jobs=4))
    assert [o.status for o in outcomes] == ["new", "failed", "version", "failed", "version"]
    assert isinstance(outcomes[1].error, FormatError)
    assert isinstance(outcomes[3].error, Conflict)


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_mistake_of_ours_with_one_file_does_not_stop_the_others(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    files = images(tmp_path, 3)
    manifest_of = Manifest.to_bytes

    def fail(manifest: Manifest) -> bytes:
        if b"NGROUPS =                    1" in manifest.hdus[0].header:
            raise ValueError("not foreseen")
        return manifest_of(manifest)

    monkeypatch.setattr(Manifest, "to_bytes", fail)
    outcomes = list(ingest(pool, files, jobs=jobs))
    assert [outcome.status for outcome in outcomes] == ["new", "failed", "version"]
    assert str(outcomes[1].error) == f"{files[1]}: internal error, please report it: ValueError: not foreseen"
    assert list((pool.path / "pending").glob("*")) == []


def test_an_interruption_leaves_no_note(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four versions of one track: each by an entry of its own."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    outcomes = ingest(pool, images(tmp_path), jobs=2)
    assert next(outcomes).version == 0
    monkeypatch.setattr(saving, "save_each", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(outcomes)
    monkeypatch.undo()
    assert list((pool.path / "pending").glob("*")) == []
    assert pool.select(all_versions=True).size() == 1
    # Given up after the first.
    outcomes = ingest(pool, images(tmp_path), jobs=2, force=True)
    next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]
    assert list((pool.path / "pending").glob("*")) == []


def test_a_pattern_without_files_stops_no_other(pool: Pool, tmp_path: Path) -> None:
    image = write_image(tmp_path / "a.fits")
    (tmp_path / "empty").mkdir()
    outcomes = pool.ingest([tmp_path / "none*.fits", image, tmp_path / "empty"])
    assert [outcome.status for outcome in outcomes] == ["failed", "new", "failed"]
    assert outcomes[0].message == f"no FITS file matches {tmp_path}/none*.fits; check the name"
    assert outcomes[2].message == f"no FITS file matches {tmp_path}/empty/*.fits; check the name"
    assert isinstance(outcomes[0].error, FileMissing)


def test_a_large_file_that_is_no_fits_is_refused_by_its_first_card(pool: Pool, tmp_path: Path) -> None:
    """Its digest would take minutes."""
    with (tmp_path / "large.fits").open("wb") as file:
        file.truncate(60 << 30)
    began = time.monotonic()
    (outcome,) = pool.ingest(tmp_path / "large.fits")
    assert "does not begin with SIMPLE" in str(outcome.message)
    assert time.monotonic() - began < 5


# Many files by one entry


def small(folder: Path, count: int) -> list[Path]:
    """Files of different products."""
    return [write_image(folder / f"n{i}.fits", {"NGROUPS": i}) for i in range(count)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_many_files_make_one_entry(pool: Pool, tmp_path: Path, jobs: int) -> None:
    files = small(tmp_path, 20)
    outcomes = list(ingest(pool, files, jobs=jobs, tag="t"))
    assert [(o.path, o.status, o.urn) for o in outcomes] == [
        (path, "new", f"urn:jpl8:Product:{i}") for i, path in enumerate(files)
    ]
    assert core_of(pool).archive.journal.last() <= (0 if jobs == 1 else 19)
    assert len(pool.tagged("t")) == 20
    for outcome, path in zip(outcomes, files, strict=True):
        assert pool.ref(str(outcome.urn)).to_fits(tmp_path / "out", overwrite=True).read_bytes() == path.read_bytes()
    assert_index_is_journal(pool)
    # What is there already gets another tag by one entry, too.
    last = core_of(pool).archive.journal.last()
    assert {o.status for o in ingest(pool, files, jobs=1, tag="u")} == {"unchanged"}
    assert (core_of(pool).archive.journal.last(), len(pool.tagged("u"))) == (last + 1, 20)
    assert_index_is_journal(pool)


def test_an_outcome_is_given_when_its_entry_is_there(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "_MOST_PRODUCTS", 3)
    journal = core_of(pool).archive.journal
    for number, outcome in enumerate(ingest(pool, small(tmp_path, 7))):
        entry = journal.read(number // 3)
        assert f"urn:jpl8:Product:{entry.saves[number % 3].serial}" == outcome.urn
    assert [len(journal.read(n).saves) for n in range(journal.last() + 1)] == [3, 3, 1]


def test_a_batch_ends_by_bytes(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = small(tmp_path, 4)
    monkeypatch.setattr(batch, "_MOST_BYTES", 2 * files[0].stat().st_size)
    list(ingest(pool, files))
    journal = core_of(pool).archive.journal
    assert [len(journal.read(n).saves) for n in range(journal.last() + 1)] == [2, 2]


class Held(ThreadPoolExecutor):
    """Does its last piece of work only when it is let."""

    def __init__(self, held: int) -> None:
        super().__init__(1)
        self.let = threading.Event()
        self._left = held

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self._left -= 1
        if self._left:
            return super().submit(fn, *args, **kwargs)

        def wait() -> Any:
            assert self.let.wait(60)
            return fn(*args, **kwargs)

        return super().submit(wait)


def test_a_slow_file_does_not_keep_those_before_it_waiting(pool: Pool, tmp_path: Path) -> None:
    files = small(tmp_path, 4)
    with Held(4) as executor, closing(ingest(pool, files, executor=executor)) as outcomes:  # type: ignore[type-var]
        assert [next(outcomes).path for _ in range(3)] == files[:3]
        assert core_of(pool).archive.journal.last() >= 0
        executor.let.set()
        assert [o.path for o in outcomes] == files[3:]
    assert_index_is_journal(pool)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_later_version_in_one_call_shares_tiles(pool: Pool, tmp_path: Path, jobs: int) -> None:
    """Also with more jobs than one: it waits until the version before it is there."""
    values = np.random.default_rng(1).normal(size=(1, 4, 300, 320)).astype("f4")
    files = []
    for version in range(3):
        values[0, :, 5, version] = version
        files.append(write_image(tmp_path / str(version) / "x_ramp.fits", data=values))
    outcomes = list(ingest(pool, files, jobs=jobs, pixels=False))
    assert [o.version for o in outcomes] == [0, 1, 2]
    assert max(o.stored_bytes for o in outcomes[1:]) < outcomes[0].stored_bytes / 5
    assert_index_is_journal(pool)


def test_products_of_two_exposures_under_one_name_in_a_batch(pool: Pool, tmp_path: Path) -> None:
    cards = {"DETECTOR": "MIRIMAGE", "DATE-OBS": "2026-01-02", "TIME-OBS": "03:04:05"}
    files = [
        write_image(tmp_path / "a_rate.fits", {**cards, "OBS_ID": "1"}),
        write_image(tmp_path / "a_rateints.fits", {**cards, "OBS_ID": "2"}, np.ones((2, 3, 4), "f4")),
        write_image(tmp_path / "a_ramp.fits", {**cards, "TIME-OBS": "03:04:09", "OBS_ID": "1"}, np.ones((1, 2, 3, 4))),
        write_image(tmp_path / "b_rate.fits", {**cards, "OBS_ID": "2"}),
    ]
    outcomes = list(ingest(pool, files, pixels=False))
    assert [o.status for o in outcomes] == ["new", "failed", "failed", "new"]
    assert "OBS_ID is 2, in the pool 1" in str(outcomes[1].error)
    assert "TIME-OBS is 03:04:09, in the pool 03:04:05" in str(outcomes[2].error)
    assert_index_is_journal(pool)


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_the_database_refuses_fails_alone(pool: Pool, tmp_path: Path, jobs: int) -> None:
    files = small(tmp_path, 6)
    text = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=20_000))
    files.insert(3, write_image(tmp_path / "refused.fits", {"OBS_ID": text}))
    outcomes = list(ingest(pool, files, jobs=jobs, tag="t"))
    assert [o.status for o in outcomes] == ["new"] * 3 + ["failed"] + ["new"] * 3
    assert "maximum size" in str(outcomes[3].error)
    assert len(pool.tagged("t")) == 6
    assert list((pool.path / "pending").glob("*")) == []
    assert_index_is_journal(pool)
    assert [finding.what for finding in verify(pool, level="full").findings] == ["note"]  # its manifest is gc's


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_can_not_be_stored_fails_alone(pool: Pool, tmp_path: Path, jobs: int) -> None:
    """A stranger's folder stands where its blob belongs."""
    files = small(tmp_path, 5)
    odd = write_image(tmp_path / "odd.fits", {}, np.full((50, 60), 7.0))
    for ref, _ in core_of(pool).archive.measure(layout_of(read_fits(odd))).sources.values():
        core_of(pool).archive.storage.files.path(core_of(pool).archive.blobs.key(ref.digest)).mkdir(parents=True)
    files.insert(2, odd)
    outcomes = list(ingest(pool, files, jobs=jobs))
    assert [o.status for o in outcomes] == ["new", "new", "failed", "new", "new", "new"]
    assert "not a plain file" in str(outcomes[2].error)
    assert list((pool.path / "pending").glob("*")) == []
    assert_index_is_journal(pool)


def test_a_version_that_goes_while_its_batch_is_stored(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of a batch are in the pool; one of them is removed before the entry, another one tagged."""
    files = small(tmp_path, 5)
    list(ingest(pool, files[:3]))
    real = Committer.commit

    def overtaken(self: Committer, *args: Any, **options: Any) -> Any:
        monkeypatch.undo()
        pool.remove("n1")
        pool.tag("n2", "t")
        return real(self, *args, **options)

    monkeypatch.setattr(Committer, "commit", overtaken)
    outcomes = list(ingest(pool, files, tag="t"))
    assert [(o.status, o.version) for o in outcomes] == [
        ("unchanged", 0), ("version", 1), ("unchanged", 0), ("new", 0), ("new", 0)
    ]  # fmt: skip
    assert len(pool.tagged("t")) == 5
    assert_index_is_journal(pool)


def test_pixel_rows_follow_behind(pool: Pool, simulated: Path) -> None:
    list(ingest(pool, sorted((simulated / "v1").glob("*.fits"))))
    assert core_of(pool).pixel_rows.pending() == []
    assert core_of(pool).pixel_rows.drop([ref.serial for ref in pool.select(RateInts)]) == 1


def test_pixel_rows_that_can_not_be_made_are_told_with_the_file(pool: Pool, tmp_path: Path) -> None:
    place = {"SUBSTRT1": 5, "SUBSTRT2": 100, "SUBSIZE1": 3, "SUBSIZE2": 2, "DETECTOR": "MIRIMAGE"}
    files = [
        write_image(tmp_path / "a_rate.fits", place),
        write_image(tmp_path / "b_rate.fits", {**place, "SUBSIZE1": 4}),
        write_image(tmp_path / "c_rate.fits", place),
    ]
    first, second, third = ingest(pool, files)
    assert (first.message, third.message) == (None, None)
    assert str(second.message).startswith("urn:jpl8:Rate:1 has no pixel rows: its dataset SCI has the shape (2, 3)")
    assert core_of(pool).pixel_rows.pending() == []


def test_pixel_rows_that_the_database_refuses_stay_pending(
    pool: Pool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = {"SUBSTRT1": 5, "SUBSTRT2": 100, "SUBSIZE1": 3, "SUBSIZE2": 2, "DETECTOR": "MIRIMAGE"}
    files = [write_image(tmp_path / f"n{i}_rate.fits", place) for i in range(3)]
    core_of(pool).catch_up()
    url = core_of(pool).catalog.database.psql_url
    ask(url, "ALTER TABLE jpl8.pixel_set RENAME TO away")
    assert [o.status for o in ingest(pool, files)] == ["new"] * 3
    assert caplog.text.count("`miripool index pixels jpl8` makes them") == 3
    ask(url, "ALTER TABLE jpl8.away RENAME TO pixel_set")
    assert len(core_of(pool).pixel_rows.pending()) == 3
    assert {o.status for o in ingest(pool, files)} == {"unchanged"}
    assert core_of(pool).pixel_rows.pending() == []


def test_a_header_that_no_file_may_have_stops_no_exposure(pool: Pool, tmp_path: Path, simulated: Path) -> None:
    files = []
    for i in range(3):
        data = bytearray(next((simulated / "v1").glob("*_rateints.fits")).read_bytes())
        if i == 1:
            start = data.index(b"READPATT=")
            data[start : start + 80] = b"READPATT= 'a\xe9b'".ljust(80)
        path = tmp_path / f"e{i}_rateints.fits"
        path.write_bytes(data)
        files.append(path)
    outcomes = pool.ingest(files)
    assert [outcome.status for outcome in outcomes] == ["new"] * 3
    exposures = sorted(pool.select(MetaQuery(Exposure)), key=lambda ref: ref.name)
    assert [ref.name for ref in exposures] == ["e0", "e1", "e2"]
    assert ["READPATT" in ref.meta for ref in exposures] == [True, False, True]
    assert core_of(pool).pixel_rows.pending() == []


def test_hidden_files_of_a_folder_are_left_out(tmp_path: Path) -> None:
    for name in ("a.fits", ".b.fits", "inner/C.FITS", ".copying/d.fits"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert find_files([tmp_path]) == [tmp_path / "a.fits", tmp_path / "inner" / "C.FITS"]
    assert find_files([tmp_path / ".copying"]) == [tmp_path / ".copying" / "d.fits"]
    assert find_files([tmp_path / ".b.fits"]) == [tmp_path / ".b.fits"]
