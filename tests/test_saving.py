from __future__ import annotations

import copy
import errno
import gzip
import json
import os
import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import homes
import numpy as np
import psutil
import pytest
from astropy.io import fits
from postgresql import reachable_folder
from replay import assert_index_is_journal, files, folder_of

from miripool import Home, Pool, Product, Ramp, Rate, RateInts
from miripool.errors import (
    Conflict,
    DiskFull,
    FileMissing,
    FormatError,
    IntegrityError,
    InvalidInput,
    InvalidName,
    ServerError,
    ServerUnavailable,
    StorageError,
)
from miripool.formats import read_fits
from miripool.pool import save as saving
from miripool.pool.commit import Committer
from miripool.pool.core import core_of
from miripool.pool.ingest import ingest
from miripool.pool.prepared import prepare
from miripool.pool.saving import save_together
from miripool.simulate import Calibration, SimulatedExposure
from miripool.store.journal import Entry, Journal

home = homes.home
NAME = "jw01033005001_03103_00001_mirimage"
LATER = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)


@pytest.fixture
def ramp(simulated: Path) -> Path:
    return simulated / "v1" / f"{NAME}_ramp.fits"


@pytest.fixture
def rate(simulated: Path) -> Path:
    """The smallest of the files."""
    return simulated / "v1" / f"{NAME}_rate.fits"


@pytest.fixture
def again(exposure: SimulatedExposure, tmp_path: Path) -> Path:
    """A folder with the products of calibration v1, made once more at a later time."""
    folder = tmp_path / "again"
    folder.mkdir()
    exposure.write_products(folder, Calibration("v1", gain=5.5), date=LATER)
    return folder


def changed(path: Path, folder: Path, change: Callable[[fits.HDUList], None], name: str | None = None) -> Path:
    """Write a changed copy of a FITS file."""
    copy = folder / (name or path.name)
    with fits.open(path) as hdus:
        change(hdus)
        hdus.writeto(copy, overwrite=True)
    return copy


def with_card(path: Path, folder: Path, key: str, value: Any, name: str | None = None) -> Path:
    return changed(path, folder, lambda hdus: hdus[0].header.set(key, value), name)


def end_transactions(pool: Pool) -> None:
    """Have the server end the sessions that are within a transaction: it can't be committed."""
    with core_of(pool).catalog.database.immediately() as other:
        other.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND state = 'idle in transaction' AND datname = current_database()"
        )


def entries(pool: Pool) -> int:
    return len(list((folder_of(pool) / "journal").glob("*")))


# New, version, unchanged


def test_first_version_next_version_same_file(pool: Pool, simulated: Path) -> None:
    first = saving.save(core_of(pool), simulated / "v1" / f"{NAME}_rateints.fits")
    assert (first.status, first.notice) == ("new", None)
    assert (first.row.kind, first.row.name, first.row.version, first.row.serial) == ("RateInts", NAME, 0, 0)
    second = saving.save(core_of(pool), simulated / "v2" / f"{NAME}_rateints.fits")
    assert (second.status, second.notice) == ("version", None)
    assert (second.row.version, second.row.serial) == (1, 1)
    same = saving.save(core_of(pool), simulated / "v2" / f"{NAME}_rateints.fits")
    assert (same.status, same.stored_bytes, same.notice) == ("unchanged", 0, "unchanged: version 1")
    older = saving.save(core_of(pool), simulated / "v1" / f"{NAME}_rateints.fits")
    assert (older.status, older.row.serial, older.notice) == ("unchanged", 0, "unchanged: version 0; head is 1")
    assert entries(pool) == 2
    assert_index_is_journal(pool)


def test_stored_bytes_are_what_the_folder_grew_by(pool: Pool, simulated: Path) -> None:
    def size() -> int:
        parts = ("blobs", "manifests")
        return sum(p.stat().st_size for part in parts for p in (folder_of(pool) / part).rglob("*") if p.is_file())

    before = 0
    for label in ("v1", "v2"):
        saved = saving.save(core_of(pool), simulated / label / f"{NAME}_ramp.fits")
        assert saved.stored_bytes == size() - before > 0
        before = size()


@pytest.mark.parametrize(
    "cards",
    [
        {},
        {"NGROUPS": 5, "NINTS": 2, "DATE-OBS": "2024-02-29", "TIME-OBS": "12:34:56.789"},
        {"READPATT": "O'BRIEN \\ \\N", "SUBARRAY": "{a,b}", "DATE-BEG": "2024-02-29T23:59:60.5"},
    ],
)
@pytest.mark.parametrize("tag", [None, "best"])
def test_what_a_save_gives_is_what_the_index_has(pool: Pool, cards: dict[str, Any], tag: str | None) -> None:
    for value in (1, 2):
        product = RateInts({"DETECTOR": "MIRIMAGE", **cards}, {"SCI": np.full((1, 8, 8), value, "f4")}, name="small é")
        saved = saving.save(core_of(pool), product, tag=tag, pixels=False)
        (row,) = core_of(pool).catalog.rows([saved.row.serial])
        assert repr(saved.row) == repr(row)  # 5 and 5.0 are equal
        assert saved.is_noted
    assert core_of(pool).pixel_rows.pending() == []


def test_what_a_save_gives_is_what_later_ones_have_made_of_it(pool: Pool) -> None:
    core = core_of(pool)
    committer = Committer(core.archive, core.catalog)
    for value, status, head in ((1, "new", True), (2, "version", True), (1, "unchanged", False)):
        product = RateInts({"DETECTOR": "MIRIMAGE"}, {"SCI": np.full((1, 8, 8), value, "f4")}, name="small")
        prepared = prepare(core.archive, product, name="small", history=())
        (saved,) = save_together(core.archive, core.catalog, committer, [prepared])
        assert (saved.status, saved.row.head) == (status, head)


def test_a_note_that_the_index_lost_is_made_up_for(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry is there, and the database refuses the rest: the index takes it in later, and gets the note then."""
    write = Journal.write

    def write_and_end(journal: Journal, entry: Entry) -> bool:
        written = write(journal, entry)
        end_transactions(pool)
        return written

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "write", write_and_end)
        product = RateInts({"DETECTOR": "MIRIMAGE"}, {"SCI": np.ones((1, 8, 8), "f4")}, name="small")
        saved = saving.save(core_of(pool), product, pixels=False)
    assert (saved.status, saved.row.version) == ("new", 0)
    assert core_of(pool).pixel_rows.pending() == []
    assert_index_is_journal(pool)


def test_the_reference_of_a_save(pool: Pool, ramp: Path) -> None:
    ref = pool.save(ramp, tag="using cal v1")
    assert (ref.urn, ref.kind, ref.type, ref.name, ref.version) == ("urn:jpl8:Ramp:0", "Ramp", "Ramp", NAME, 0)
    assert ref.tags == ("using cal v1",)
    assert ref.notice is None
    assert ref.filename == ramp.name
    assert ref.bytes == ramp.stat().st_size
    assert abs((ref.created - datetime.now(UTC)).total_seconds()) < 60


@pytest.mark.slow
def test_same_data_with_new_timestamps(pool: Pool, simulated: Path, again: Path) -> None:
    file = again / f"{NAME}_ramp.fits"
    assert file.read_bytes() != (simulated / "v1" / file.name).read_bytes()
    pool.save(simulated / "v1" / file.name)
    assert pool.save(file).notice == "unchanged: version 0; this file's own timestamps were not kept"
    pool.save(simulated / "v2" / file.name)
    before = files(folder_of(pool))
    ref = pool.save(file)
    assert ref.notice == "unchanged: version 0; head is 1; this file's own timestamps were not kept"
    assert (ref.version, ref.urn) == (0, "urn:jpl8:Ramp:0")
    assert files(folder_of(pool)) == before
    assert ref.to_fits(again / "out.fits").read_bytes() == (simulated / "v1" / file.name).read_bytes()


def test_cards_of_each_run_are_no_change(pool: Pool, rate: Path, tmp_path: Path) -> None:
    pool.save(rate)
    for key in ("DATE", "CHECKSUM", "DATASUM"):
        ref = pool.save(with_card(rate, tmp_path, key, "2031-01-01T00:00:00"))
        assert (ref.version, ref.notice) == (0, "unchanged: version 0; this file's own timestamps were not kept")


def test_any_other_card_is_a_change(pool: Pool, rate: Path, tmp_path: Path) -> None:
    pool.save(rate)
    ref = pool.save(with_card(rate, tmp_path, "CAL_VER", "another"))
    assert (ref.version, ref.notice) == (1, None)


def test_one_changed_element_is_a_change(pool: Pool, rate: Path, tmp_path: Path) -> None:
    pool.save(rate)

    def change(hdus: fits.HDUList) -> None:
        hdus["SCI"].data[3, 4] += 1

    assert pool.save(changed(rate, tmp_path, change)).version == 1


@pytest.mark.slow
def test_nothing_is_written_for_an_unchanged_file(pool: Pool, simulated: Path, again: Path) -> None:
    for file in sorted((simulated / "v1").iterdir()):
        pool.save(file)
    before = files(folder_of(pool))
    for folder in (simulated / "v1", again):
        for file in sorted(folder.iterdir()):
            assert saving.save(core_of(pool), file).status == "unchanged"
    assert files(folder_of(pool)) == before
    assert not list((folder_of(pool) / "pending").iterdir())


@pytest.mark.slow
def test_any_living_version_is_compared_not_only_the_head(pool: Pool, rate: Path, again: Path, tmp_path: Path) -> None:
    pool.save(rate)
    for value in ("b", "c"):
        pool.save(with_card(rate, tmp_path, "CAL_VER", value))
    assert pool.save(again / rate.name).version == 0
    assert pool.save(with_card(rate, tmp_path, "CAL_VER", "b")).version == 1
    assert len(pool.versions(f"Rate/{NAME}")) == 3


def test_a_removed_version_is_not_compared(pool: Pool, rate: Path, again: Path) -> None:
    pool.remove(pool.save(rate))
    fresh = saving.save(core_of(pool), again / rate.name)
    assert (fresh.status, fresh.row.version, fresh.row.serial) == ("version", 1, 1)
    pool.remove("urn:jpl8:Rate:1")
    same_file = saving.save(core_of(pool), rate)
    assert (same_file.status, same_file.row.version) == ("version", 2)
    assert_index_is_journal(pool)


def test_force(pool: Pool, rate: Path, again: Path) -> None:
    pool.save(rate)
    forced = saving.save(core_of(pool), rate, force=True)
    assert (forced.status, forced.row.version, forced.notice, forced.stored_bytes) == ("version", 1, None, 0)
    later = pool.save(again / rate.name, force=True, tag="later")
    assert (later.version, later.tags) == (2, ("later",))
    assert later.meta["DATE"].value == LATER
    assert later.to_fits(again / "out.fits").read_bytes() == (again / rate.name).read_bytes()
    # The same file again is the newest version that was saved from it.
    assert pool.save(rate).version == 1


# Tags given while saving


def test_a_tag_applies_to_an_unchanged_one(pool: Pool, simulated: Path, again: Path) -> None:
    files_of = [folder / f"{NAME}_rate.fits" for folder in (simulated / "v1", simulated / "v2")]
    for file in files_of:
        pool.save(file, tag="newest")
    assert pool.save(files_of[0], tag="first").tags == ("first",)
    assert pool.save(again / f"{NAME}_rate.fits", tag="newest").tags == ("first", "newest")
    assert [ref.tags for ref in pool.versions(f"Rate/{NAME}")] == [("first", "newest"), ()]
    count = entries(pool)
    assert pool.save(files_of[0], tag="first").tags == ("first", "newest")
    assert entries(pool) == count
    assert_index_is_journal(pool)


def test_a_bad_tag_is_refused_before_anything_is_written(pool: Pool, rate: Path) -> None:
    before = files(folder_of(pool))
    for label in ("", " x", "a/b", "a\nb", "urn:x", "7", "x" * 101, "a@b"):
        with pytest.raises(InvalidName, match="tag"):
            pool.save(rate, tag=label)
    assert files(folder_of(pool)) == before


# Names


def test_a_given_name_and_kind(pool: Pool, rate: Path) -> None:
    ref = pool.save(rate, name="lamp 7")
    assert (ref.name, ref.kind) == ("lamp 7", "Rate")
    other = pool.save(rate, kind="Product")
    assert (other.name, other.kind) == (NAME, "Product")
    assert pool.save(rate, kind=Product).notice == "unchanged: version 0"
    assert pool.save(ref, name="lamp 8").urn == "urn:jpl8:Rate:2"


def test_bad_names(pool: Pool, rate: Path) -> None:
    before = files(folder_of(pool))
    for name in ("a/b", "../x", "a\\b", "a@1", "a\nb", "x" * 201, "urn:a:b:1", "..", "a\x00", " "):
        with pytest.raises(InvalidName, match="product"):
            pool.save(rate, name=name)
    assert files(folder_of(pool)) == before


def test_an_unknown_kind(pool: Pool, rate: Path) -> None:
    with pytest.raises(InvalidInput, match="RateInts"):
        pool.save(rate, kind="Rates")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("DATE-OBS", "2024-01-02", "DATE-OBS is 2024-01-02, in the pool 2024-01-01"),
        ("DETECTOR", "MIRIFULONG", "DETECTOR is MIRIFULONG, in the pool MIRIMAGE"),
        ("SUBARRAY", "FULL", "SUBARRAY is FULL, in the pool SUB64"),
    ],
)
def test_another_exposure_of_the_same_name_is_refused(
    pool: Pool, simulated: Path, tmp_path: Path, key: str, value: str, words: str
) -> None:
    pool.save(simulated / "v1" / f"{NAME}_rate.fits")
    # Also where the clash is with another kind.
    for kind in ("rate", "rateints"):
        other = with_card(simulated / "v1" / f"{NAME}_{kind}.fits", tmp_path, key, value)
        before = files(folder_of(pool))
        for force in (False, True):
            with pytest.raises(Conflict, match=words) as caught:
                pool.save(other, force=force)
            assert "--name" in str(caught.value)
        assert files(folder_of(pool)) == before
        named = pool.save(other, name=f"another {kind}")
        assert (named.version, named.name) == (0, f"another {kind}")


def test_a_name_whose_versions_are_all_removed_is_free(pool: Pool, rate: Path, tmp_path: Path) -> None:
    pool.remove(pool.save(rate))
    assert pool.save(with_card(rate, tmp_path, "DETECTOR", "MIRIFULONG")).version == 1


# Sources


def test_gzip(pool: Pool, ramp: Path, tmp_path: Path) -> None:
    packed = tmp_path / f"{ramp.name}.gz"
    packed.write_bytes(gzip.compress(ramp.read_bytes()))
    ref = pool.save(packed)
    assert (ref.name, ref.kind, ref.bytes) == (NAME, "Ramp", ramp.stat().st_size)
    assert pool.save(ramp).notice == "unchanged: version 0"
    written = ref.to_fits(tmp_path)
    assert written.name == ramp.name
    assert written.read_bytes() == ramp.read_bytes()


def test_hdulist(pool: Pool, rate: Path) -> None:
    with fits.open(rate) as hdus:
        ref = pool.save(hdus)
    assert (ref.kind, ref.name, ref.filename) == ("Rate", NAME, rate.name)
    assert pool.save(rate).version == 0
    made = fits.HDUList([fits.PrimaryHDU(np.arange(6, dtype="i2").reshape(2, 3))])
    with pytest.raises(InvalidInput, match="name="):
        pool.save(made)
    flat = pool.save(made, name="flat")
    assert (flat.kind, flat.name) == ("Product", "flat")
    np.testing.assert_array_equal(flat.product.data, np.arange(6).reshape(2, 3))


@pytest.mark.slow
@pytest.mark.jwst
@pytest.mark.filterwarnings("default")  # the datamodels' own
def test_datamodel(pool: Pool, ramp: Path, tmp_path: Path) -> None:
    from stdatamodels.jwst import datamodels

    with datamodels.RampModel(ramp) as model:
        ref = pool.save(model, tag="model")
        expected = model.data.copy()
    assert (ref.kind, ref.name, ref.tags) == ("Ramp", NAME, ("model",))
    np.testing.assert_array_equal(ref.product["SCI"], expected)
    again = ref.to_datamodel()
    assert type(again) is datamodels.RampModel
    np.testing.assert_array_equal(again.data, expected)
    assert pool.save(again).version == 0
    again.data[0, 0, 3, 4] += 1
    assert pool.save(again).version == 1
    again.close()


def test_product_from_arrays(pool: Pool, tmp_path: Path) -> None:
    image = np.linspace(0, 1, 12, dtype="f4").reshape(3, 4)
    made = Rate({"detector": "MIRIMAGE", "exposure.ngroups": 20, "SCI.BUNIT": "DN/s"}, {"SCI": image}, name="made")
    ref = pool.save(made, history=[{"from": "nothing"}])
    assert (ref.urn, ref.filename) == ("urn:jpl8:Rate:0", None)
    loaded = pool.load("Rate/made").product
    assert isinstance(loaded, Rate)
    np.testing.assert_array_equal(loaded.data, image)
    assert (loaded.meta["ngroups"].value, loaded.meta["SCI.BUNIT"].value) == (20, "DN/s")
    assert core_of(pool).archive.manifest(ref.row.manifest).history == ({"from": "nothing"},)
    assert pool.save(made).notice == "unchanged: version 0"
    assert pool.save(Rate(made.meta, {"SCI": image + 1}, name="made")).version == 1
    with fits.open(ref.to_fits(tmp_path)) as hdus:
        assert hdus.filename() == str(tmp_path / "made_rate.fits")
        np.testing.assert_array_equal(hdus["SCI"].data, image)


def test_a_product_without_name(pool: Pool) -> None:
    with pytest.raises(InvalidInput, match="name="):
        pool.save(Ramp({}, {"SCI": np.zeros((1, 2, 3, 4), "f4")}))


def test_a_product_is_no_other_kind(pool: Pool) -> None:
    with pytest.raises(InvalidInput, match="is a Rate, not a Ramp"):
        pool.save(Rate({}, {"SCI": np.zeros((3, 4), "f4")}, name="a"), kind=Ramp)


def test_what_can_not_be_saved(pool: Pool) -> None:
    for thing in (7, None, object(), {"SCI": np.zeros(3)}):
        with pytest.raises(InvalidInput):
            pool.save(thing)


def test_a_loaded_product_is_saved_again_where_it_was_changed(pool: Pool, rate: Path) -> None:
    product = pool.save(rate).product
    assert pool.save(product).version == 0
    changed = copy.copy(product)
    changed.meta["LAMP"] = "ON"
    ref = pool.save(changed)
    assert (ref.version, ref.meta["LAMP"].value) == (1, "ON")
    assert pool.ref(f"Rate/{NAME}@0").meta["LAMP"].value == "OFF"


def test_files_that_can_not_be_read(pool: Pool, tmp_path: Path, rate: Path) -> None:
    (tmp_path / "cut.fits").write_bytes(rate.read_bytes()[:10_000])
    before = files(folder_of(pool))
    with pytest.raises(FormatError, match=r"cut\.fits"):
        pool.save(tmp_path / "cut.fits")
    with pytest.raises(FileMissing, match=r"none\.fits"):
        pool.save(tmp_path / "none.fits")
    assert files(folder_of(pool)) == before
    assert core_of(pool).catalog.count() == 0


# One entry for several


def test_two_products_in_one_entry(pool: Pool, simulated: Path) -> None:
    products = [read_fits(simulated / "v1" / f"{NAME}_{kind}.fits") for kind in ("rate", "rateints")]

    def save(**options: Any) -> list[Any]:
        prepared = [prepare(core_of(pool).archive, p, name=NAME, history=()) for p in products]
        committer = Committer(core_of(pool).archive, core_of(pool).catalog)
        return save_together(core_of(pool).archive, core_of(pool).catalog, committer, prepared, **options)

    saved = save(tag="both")
    assert [(s.row.kind, s.row.serial, s.status, s.row.tags) for s in saved] == [
        ("Rate", 0, "new", ("both",)),
        ("RateInts", 1, "new", ("both",)),
    ]
    assert entries(pool) == 1
    assert [(s.row.serial, s.status) for s in save()] == [(0, "unchanged"), (1, "unchanged")]
    assert entries(pool) == 1
    # One of them there already, the other not.
    pool.remove("urn:jpl8:Rate:0")
    saved = save(tag="mixed")
    assert [(s.row.serial, s.row.version, s.status) for s in saved] == [(2, 1, "version"), (1, 0, "unchanged")]
    assert {ref.urn for ref in pool.tagged("mixed")} == {"urn:jpl8:Rate:2", "urn:jpl8:RateInts:1"}
    assert entries(pool) == 3
    assert_index_is_journal(pool)


def test_two_of_one_track_in_one_entry_are_refused(pool: Pool, simulated: Path) -> None:
    prepared = [
        prepare(core_of(pool).archive, read_fits(simulated / label / f"{NAME}_rate.fits"), name=NAME, history=())
        for label in ("v1", "v2")
    ]
    with pytest.raises(InvalidInput, match="saved together"):
        save_together(
            core_of(pool).archive,
            core_of(pool).catalog,
            Committer(core_of(pool).archive, core_of(pool).catalog),
            prepared,
        )
    assert entries(pool) == 0


def test_if_one_of_several_is_refused_none_is_saved(pool: Pool, simulated: Path, tmp_path: Path) -> None:
    rate, rateints = (simulated / "v1" / f"{NAME}_{kind}.fits" for kind in ("rate", "rateints"))
    pool.save(rate)
    before = files(folder_of(pool))
    other = with_card(rateints, tmp_path, "DETECTOR", "MIRIFULONG")
    prepared = [
        prepare(core_of(pool).archive, read_fits(path), name=name, history=())
        for path, name in ((rate, "free"), (other, NAME))
    ]
    with pytest.raises(Conflict):
        save_together(
            core_of(pool).archive,
            core_of(pool).catalog,
            Committer(core_of(pool).archive, core_of(pool).catalog),
            prepared,
        )
    assert files(folder_of(pool)) == before


# What goes wrong, and who else writes


def test_a_failed_save_leaves_no_entry_and_no_note(pool: Pool, ramp: Path) -> None:
    pool.save(ramp.with_name(f"{NAME}_rate.fits"))
    before = files(folder_of(pool))
    product = read_fits(ramp)
    prepared = prepare(core_of(pool).archive, product, name=NAME, history=())

    class Vanished:
        """A source that can't be read any more: its disk has gone."""

        shape = (1, 2, 3, 4)
        dtype = np.dtype("f4")

        def __getitem__(self, key: Any) -> Any:
            raise OSError(5, "Input/output error")

    digest = next(iter(prepared.measured.sources))
    blob = prepared.measured.sources[digest][0]
    prepared.measured.sources[digest] = (blob, Vanished())
    with pytest.raises((OSError, Exception), match="Input/output error"):
        save_together(
            core_of(pool).archive,
            core_of(pool).catalog,
            Committer(core_of(pool).archive, core_of(pool).catalog),
            [prepared],
        )
    left = files(folder_of(pool)) - before
    assert not [name for name in left if not name.startswith("blobs/")]
    assert not [name for name in left if ".tmp-" in name]
    assert core_of(pool).catalog.count(all_versions=True) == 1
    assert pool.save(ramp).version == 0


def test_what_is_removed_while_it_is_being_saved_again_is_saved(pool: Pool, rate: Path, again: Path) -> None:
    """The version with the same data goes into the trash between the comparison and the entry."""
    pool.save(rate)
    prepared = prepare(core_of(pool).archive, read_fits(again / rate.name), name=NAME, history=())
    committer = Committer(core_of(pool).archive, core_of(pool).catalog)
    catch_up, calls = committer.catch_up, []

    def catch_up_and_be_overtaken(look: Any) -> Any:
        calls.append(len(calls))
        if len(calls) == 1:
            position = catch_up(look)
            pool.remove(f"Rate/{NAME}@0")
            return position
        return catch_up(look)

    committer.catch_up = catch_up_and_be_overtaken  # type: ignore[method-assign]
    (saved,) = save_together(core_of(pool).archive, core_of(pool).catalog, committer, [prepared], tag="x")
    assert (saved.status, saved.row.version, saved.row.tags) == ("version", 1, ("x",))
    assert saved.row.file_digest == prepared.manifest.origin.digest  # type: ignore[union-attr]
    ref = pool.ref(f"Rate/{NAME}")
    assert ref.to_fits(again / "out.fits").read_bytes() == (again / rate.name).read_bytes()
    assert_index_is_journal(pool)


def test_threads_that_save_the_same_file_make_one_version(pool: Pool, rate: Path) -> None:
    core_of(pool).catch_up()
    found: list[Any] = []
    barrier = threading.Barrier(4)

    def save() -> None:
        barrier.wait()
        found.append(saving.save(core_of(pool), rate, tag="mine"))

    threads = [threading.Thread(target=save) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(saved.status for saved in found) == ["new", "unchanged", "unchanged", "unchanged"]
    assert {saved.row.serial for saved in found} == {0}
    assert entries(pool) == 1
    assert not list((folder_of(pool) / "pending").iterdir())


@pytest.mark.slow
def test_saved_but_the_index_does_not_follow(pool: Pool, rate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server goes away when the entry is written: the message says that the product is saved, and it is."""
    core_of(pool).catch_up()
    catalog = core_of(pool).catalog

    def refuse(*_: Any, **__: Any) -> Any:
        raise ServerUnavailable("the server has gone")

    write = core_of(pool).archive.journal.write

    def write_and_lose_the_server(*arguments: Any) -> Any:
        made = write(*arguments)
        end_transactions(pool)
        for method in ("apply", "rows", "position"):
            monkeypatch.setattr(type(catalog), method, refuse)
        return made

    monkeypatch.setattr(core_of(pool).archive.journal, "write", write_and_lose_the_server)
    with pytest.raises(
        ServerError, match=r"saved as journal entry 0; the index will be updated later \(the server has gone\)"
    ):
        pool.save(rate)
    monkeypatch.undo()
    assert pool.ref(f"Rate/{NAME}").version == 0
    assert_index_is_journal(pool)


def test_a_folder_that_is_older_than_its_index_is_not_written(pool: Pool, simulated: Path, rate: Path) -> None:
    pool.save(rate)
    pool.save(simulated / "v2" / rate.name)
    last = folder_of(pool) / "journal" / "000000000001.json"
    kept = last.read_bytes()
    last.unlink()
    with pytest.raises(IntegrityError, match="journal entry 1"):
        pool.save(rate, force=True)
    assert not last.exists()
    record = json.loads(kept)
    last.write_bytes(json.dumps({**record, "time": "2020-01-01T00:00:00.000000+00:00"}).encode())
    with pytest.raises(IntegrityError):
        pool.tag(f"Rate/{NAME}@0", "x")
    pool.close()
    with pytest.raises(IntegrityError):
        pool.select()
    last.write_bytes(kept)
    assert len(pool.select(all_versions=True)) == 2


@pytest.mark.slow
def test_kinds_by_content(pool: Pool, simulated: Path) -> None:
    found = [pool.save(path) for path in sorted(simulated.rglob("*.fits")) if "v2" not in path.parts]
    assert {ref.kind for ref in found} == {"Raw", "Ramp", "RateInts", "Rate"}
    assert {type(ref.product).__name__ for ref in found} == {"Raw", "Ramp", "RateInts", "Rate"}
    assert {ref.name for ref in found} == {NAME}
    assert isinstance(pool.ref(f"RateInts/{NAME}").product, RateInts)


def test_a_changed_array_is_a_further_version(pool: Pool, simulated: Path) -> None:
    (path,) = (simulated / "v1").glob("*_rateints.fits")
    ref = pool.save(path)
    changed = ref.product.replace(SCI=ref.product["SCI"][...] * 2)
    again = pool.save(changed, tag="doubled")
    assert (again.kind, again.name, again.version, again.tags) == (ref.kind, ref.name, 1, ("doubled",))
    assert again.product["SCI"].unit == "DN/s"
    assert again.product["SCI"].max() == pytest.approx(2 * ref.product["SCI"].max())
    np.testing.assert_array_equal(again.product["ERR"][...], ref.product["ERR"][...])
    assert again.meta["NGROUPS"].value == ref.meta["NGROUPS"].value


def test_a_changed_hdulist_is_a_further_version(pool: Pool, simulated: Path) -> None:
    (path,) = (simulated / "v1").glob("*_rate.fits")
    ref = pool.save(path)
    hdus = ref.to_hdulist()
    hdus["SCI"].data = hdus["SCI"].data * 3
    again = pool.save(hdus)
    assert (again.kind, again.name, again.version) == (ref.kind, ref.name, 1)
    assert again.filename == path.name


@pytest.mark.slow
def test_another_exposure_of_the_same_day_is_refused(pool: Pool, simulated: Path, tmp_path: Path) -> None:
    (path,) = (simulated / "v1").glob("*_rate.fits")
    pool.save(path)
    for card, value in (("TIME-OBS", "23:59:01.000"), ("OBS_ID", "another")):
        other = tmp_path / path.name
        shutil.copy(path, other)
        fits.setval(other, card, value=value)
        with pytest.raises(Conflict, match="another exposure"):
            pool.save(other)
    assert len(pool.versions("Rate/" + path.name.removesuffix("_rate.fits"))) == 1


# Damage that a save meets


def damaged(pool: Pool, part: str, how: str) -> list[Path]:
    """Damage all files of a part of the pool's folder."""
    paths = [p for p in (folder_of(pool) / part).rglob("*") if p.is_file()]
    for path in paths:
        match how:
            case "missing":
                path.unlink()
            case "cut":
                path.write_bytes(path.read_bytes()[:-100])
            case "empty":
                path.write_bytes(b"")
            case "another":
                path.write_bytes(b"x" * path.stat().st_size)
    return paths


@pytest.mark.slow
@pytest.mark.parametrize("how", ["missing", "cut", "empty", "another"])
@pytest.mark.parametrize("part", ["blobs", "manifests"])
@pytest.mark.parametrize("jobs", [1, 2])
def test_adding_a_file_again_mends_its_version(
    pool: Pool, ramp: Path, tmp_path: Path, part: str, how: str, jobs: int
) -> None:
    ref = pool.save(ramp)
    paths = damaged(pool, part, how)
    assert paths
    copy = tmp_path / "copy" / ramp.name
    copy.parent.mkdir()
    shutil.copy(ramp, copy)
    first, second = ingest(pool, [ramp, copy], jobs=jobs)
    assert first.status == second.status == "unchanged"
    assert "its damaged files were written again" in (first.message or "")
    assert (first.urn, second.urn) == (ref.urn, ref.urn)
    assert pool.ref(ref.urn).to_fits(tmp_path / "back.fits").read_bytes() == ramp.read_bytes()
    assert list((folder_of(pool) / "pending").glob("*")) == []


def test_data_shared_with_a_damaged_version_are_stored_again(pool: Pool, rate: Path, tmp_path: Path) -> None:
    first = pool.save(rate)
    damaged(pool, "blobs", "cut")
    second = pool.save(with_card(rate, tmp_path, "TARGNAME", "other", "second.fits"), name=first.name)
    assert second.version == 1
    for ref in (first, second):
        assert np.array_equal(ref.product["SCI"][...], read_fits(rate)["SCI"][...], equal_nan=True)


@pytest.mark.slow
def test_a_damaged_version_that_the_file_can_not_mend_is_not_said_to_be_there(
    pool: Pool, simulated: Path, again: Path, tmp_path: Path
) -> None:
    """The same content written at another time: the ASDF tree with the times is the first file's own."""
    name = f"{NAME}_rate.fits"
    first = pool.save(with_card(simulated / "v1" / name, tmp_path, "CAL_VER", "0"))
    damaged(pool, "manifests", "missing")
    other = with_card(simulated / "v1" / name, tmp_path, "DATE", "2030-01-01T00:00:00", "second.fits")
    with fits.open(other, "update") as hdus:
        hdus[0].header["CAL_VER"] = "0"
    saved = saving.save(core_of(pool), other, name=first.name)
    assert (saved.status, saved.row.version) == ("version", 1)
    assert saved.row.serial != first.serial


def test_a_file_that_changes_while_it_is_saved_is_refused(
    pool: Pool, ramp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / ramp.name
    shutil.copy(ramp, copy)
    product = read_fits(copy)
    content = copy.read_bytes()
    for change in (
        lambda: copy.write_bytes(content[:-5000] + b"x" * 5000),
        lambda: os.truncate(copy, 5000),
    ):
        change()
        with pytest.raises(StorageError, match=r"_ramp\.fits: (has changed while it was read|can't be read)"):
            pool.save(product)
        copy.write_bytes(content)
        product = read_fits(copy)
    assert pool.select().size() == 0
    assert pool.save(product).version == 0


@pytest.mark.slow
def test_what_a_crash_of_the_server_takes_is_taken_in_again(tmp_path: Path) -> None:
    """The index does not wait for the disk: the journal has all of it. Pixel rows are waited for."""
    with reachable_folder() as place:
        home = Home(place / "home")
        with home.create("jpl8") as pool:
            saved = [pool.save(small(number), pixels=number == 1) for number in (0, 1, 2)]
            server = psutil.Process(home.server.status().pid)
            for process in [server, *server.children(recursive=True)]:
                process.kill()
            psutil.wait_procs([server])
        with home.pool("jpl8") as pool:
            assert [ref.urn for ref in pool.select("", all_versions=True)] == [ref.urn for ref in saved]
            assert_index_is_journal(pool)
            assert core_of(pool).catalog.database.ask(
                f"SELECT count(*) FROM {core_of(pool).catalog.database.table('rateints_pixel')}"
            ) == [(256,)]
            assert pool.save(small(3)).version == 0
        home.server.remove()


def small(number: int) -> RateInts:
    place = {"SUBSTRT1": 5, "SUBSTRT2": 100, "SUBSIZE1": 16, "SUBSIZE2": 16, "DETECTOR": "MIRIMAGE"}
    return RateInts(place, {"SCI": np.full((1, 16, 16), number, np.float32)}, name=f"small {number}")


def test_nothing_is_entered_whose_files_do_not_reach_the_disk(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are waited for within the index's transaction, which then is undone."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr("miripool.store.storage.local._sync_file", full)
        with pytest.raises(DiskFull):
            pool.save(small(0))
    assert not list(folder_of(pool).rglob("*.tmp*"))
    assert core_of(pool).catalog.position().n == -1
    assert core_of(pool).catalog.named(["small 0"]) == []
    assert pool.save(small(0)).version == 0
    assert_index_is_journal(pool)
