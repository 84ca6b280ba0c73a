"""Pixel rows: made with a save, shared, left out, dropped, made up for, and equal to the FITS arrays everywhere."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import homes
import numpy as np
import psycopg2
import pytest
from astropy.io import fits
from homes import ask, call
from numpy.typing import NDArray

from miripool import Home, Pool, Ramp, Rate, RateInts, Raw
from miripool.cli import adding
from miripool.errors import FormatError, InvalidInput, ServerError
from miripool.index.pixels import forms, load, uses
from miripool.index.pixels.wire import HEADER, TRAILER, CopyReader, Rows, WireField
from miripool.pool import save as saving
from miripool.pool.core import core_of
from miripool.pool.ingest import ingest

home = homes.home
NAME = "jw01033005001_03103_00001_mirimage"
TABLES = ("raw_pixel", "ref_pixel", "ramp_pixel", "rateints_pixel", "rate_pixel")


def query(pool: Pool, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Ask the pool's schema as its owner."""
    database = core_of(pool).catalog.database
    with closing(psycopg2.connect(database.psql_url)) as connection, connection.cursor() as cursor:
        cursor.execute(f'SET search_path TO "{database.schema}"')
        cursor.execute(statement, values or None)
        return cursor.fetchall()


def counts(pool: Pool) -> dict[str, int]:
    return {table: query(pool, f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}


def partitions(pool: Pool) -> int:
    return query(pool, "SELECT count(*) FROM pg_class WHERE relispartition AND relkind = 'r'")[0][0]


def arrays(path: Path, *names: str) -> list[NDArray[Any]]:
    with fits.open(path) as hdus:
        return [np.asarray(hdus[name].data) for name in names]


def cards(**values: Any) -> dict[str, Any]:
    place = {"SUBSTRT1": 5, "SUBSTRT2": 100, "SUBSIZE1": 4, "SUBSIZE2": 3, "DETECTOR": "MIRIMAGE"}
    return place | values


def small_raw(**changes: Any) -> Raw:
    values = np.array([0, 32767, 32768, 65535], np.uint16)
    sci = np.resize(values, (2, 3, 3, 4))
    reference = np.resize(values[::-1], (2, 3, 3, 1))
    options: dict[str, Any] = {"meta": cards(NINTS=2, NGROUPS=3), "SCI": sci, "REFOUT": reference} | changes
    meta = options.pop("meta")
    return Raw(meta, {k: v for k, v in options.items() if v is not None}, name="small")


# The form that COPY reads


def test_rows_in_the_form_of_copy() -> None:
    form = Rows([WireField("a", "i4"), WireField("b", "f4", (2,)), WireField("c", "i2")], 5, null=["c"])
    sent = bytes(form.fill({"a": np.array([1, -2]), "b": np.array([[1.0, np.nan], [2.0, -1.0]])}, 2))
    assert len(sent) == 2 * form.row_bytes
    assert sent[:10] == b"\x00\x03" + b"\x00\x00\x00\x04" + b"\x00\x00\x00\x01"
    array = b"\x00\x00\x00\x01" + bytes(4) + (700).to_bytes(4) + (2).to_bytes(4) + (1).to_bytes(4)
    assert array + b"\x00\x00\x00\x04\x3f\x80\x00\x00" in sent
    assert sent.endswith(b"\xff\xff\xff\xff")


def test_reading_gives_frame_and_chunks_in_pieces() -> None:
    reader = CopyReader([b"abc", b"", b"defgh"])
    pieces = []
    while piece := reader.read(4):
        assert len(piece) <= 4
        pieces.append(piece)
    assert b"".join(pieces) == HEADER + b"abcdefgh" + TRAILER


def test_an_error_of_the_source_is_kept() -> None:
    def chunks() -> Iterator[bytes]:
        yield b"abc"
        raise ServerError("gone")

    reader = CopyReader(chunks())
    assert reader.read(100) == HEADER
    assert reader.read(100) == b"abc"
    with pytest.raises(ServerError):
        reader.read(100)
    assert isinstance(reader.error, ServerError)


# What the rows hold


@pytest.mark.slow
def test_rows_are_the_arrays(pool: Pool, simulated: Path) -> None:
    for path in [simulated / "uncal" / f"{NAME}_uncal.fits", *sorted((simulated / "v1").iterdir())]:
        assert saving.save(core_of(pool), path).notice is None
    assert counts(pool) == {
        "raw_pixel": 4608,
        "ref_pixel": 1152,
        "ramp_pixel": 4608,
        "rateints_pixel": 4608,
        "rate_pixel": 4608,
    }
    assert query(pool, "SELECT min(pixel_id), max(pixel_id), min(x), max(x), min(y), max(y) FROM raw_pixel") == [
        (802897, 802896 + 63 * 1032 + 72, 1, 72, 779, 842)
    ]
    sci, refout = arrays(simulated / "uncal" / f"{NAME}_uncal.fits", "SCI", "REFOUT")
    for table, data in (("raw_pixel", sci), ("ref_pixel", refout)):
        found = query(pool, f"SELECT dn FROM {table} ORDER BY y, x")
        assert np.array_equal(np.asarray(found)[:, 0] + 32768, np.moveaxis(data.reshape(3, 8, -1), -1, 0))
    first = query(pool, "SELECT min(pixel_id), max(pixel_id), min(x), max(x) FROM ref_pixel")
    assert first == [(1056769 + 778 * 258, 1056769 + 841 * 258 + 17, 1, 69)]

    sci, groupdq, pixeldq = arrays(simulated / "v1" / f"{NAME}_ramp.fits", "SCI", "GROUPDQ", "PIXELDQ")
    found = query(
        pool,
        "SELECT sci, coalesce(groupdq, common_groupdq), pixeldq "
        "FROM ramp_pixel JOIN pixel_set USING (set_id) ORDER BY y, x",
    )
    assert np.array_equal(
        np.asarray([r[0] for r in found], "f4"), np.moveaxis(sci.reshape(3, 8, -1), -1, 0), equal_nan=True
    )
    assert np.array_equal(np.asarray([r[1] for r in found]), np.moveaxis(groupdq.reshape(3, 8, -1), -1, 0))
    assert np.array_equal([r[2] for r in found], pixeldq.reshape(-1))
    assert query(pool, "SELECT count(groupdq) < count(*) / 2 FROM ramp_pixel") == [(True,)]

    rate, err, dq = arrays(simulated / "v1" / f"{NAME}_rateints.fits", "SCI", "ERR", "DQ")
    found = query(pool, "SELECT rate, err, coalesce(dq, '{0,0,0}') FROM rateints_pixel ORDER BY y, x")
    for i, data in enumerate((rate, err, dq)):
        got = np.asarray([r[i] for r in found], data.dtype if i == 2 else "f4")
        assert np.array_equal(got, data.reshape(3, -1).T, equal_nan=i < 2)
    rate, err, dq = arrays(simulated / "v1" / f"{NAME}_rate.fits", "SCI", "ERR", "DQ")
    found = query(pool, "SELECT rate, err, coalesce(dq, 0) FROM rate_pixel ORDER BY y, x")
    for i, data in enumerate((rate, err, dq)):
        got = np.asarray([r[i] for r in found], data.dtype if i == 2 else "f4")
        assert np.array_equal(got, data.reshape(-1), equal_nan=i < 2)


def test_all_values_of_dn_come_back(pool: Pool) -> None:
    raw = small_raw()
    pool.save(raw)
    table = pool.pixels(Raw).to_table()
    assert np.array_equal(table["dn"], np.moveaxis(raw["SCI"][...].reshape(2, 3, -1), -1, 0))
    assert set(np.asarray(table["dn"]).reshape(-1)) == {0, 32767, 32768, 65535}
    assert table["dn"].unit == "DN"
    assert query(
        pool,
        "SELECT array_agg(raw_value ORDER BY y, x, intnumber, group_number) "
        "FROM groups JOIN raw_pixel USING (exp_id, pixel_id)",
    )[0][0] == (np.moveaxis(raw["SCI"][...].reshape(2, 3, -1), -1, 0).reshape(-1).tolist())


def test_a_subarray_anywhere(pool: Pool) -> None:
    pool.save(small_raw())
    assert query(pool, "SELECT pixel_id, x, y FROM raw_pixel ORDER BY pixel_id LIMIT 2") == [
        (99 * 1032 + 5, 5, 100),
        (99 * 1032 + 6, 6, 100),
    ]
    assert query(pool, "SELECT pixel_id, x, y FROM ref_pixel ORDER BY pixel_id") == [
        (1056769 + (y - 1) * 258 + 1, 5, y) for y in (100, 101, 102)
    ]


@pytest.mark.parametrize("band", [1, 2, 5])
def test_bands_and_chunks_of_any_size(pool: Pool, monkeypatch: pytest.MonkeyPatch, band: int) -> None:
    monkeypatch.setattr(forms, "_band_rows", lambda row_bytes: band)
    monkeypatch.setattr(forms, "_ELEMENTS", 7)
    values = np.random.default_rng(band).normal(size=(2, 3, 3, 4)).astype("f4")
    flags = np.random.default_rng(band).integers(0, 3, (2, 3, 3, 4)).astype("u1")
    pool.save(Ramp(cards(), {"SCI": values, "GROUPDQ": flags}, name="small"))
    table = pool.pixels(Ramp).to_table()
    assert np.array_equal(table["sci"], np.moveaxis(values.reshape(2, 3, -1), -1, 0))
    assert np.array_equal(table["groupdq"], np.moveaxis(flags.reshape(2, 3, -1), -1, 0))
    assert "pixeldq" not in table.colnames


# Versions that share, and those that get none


@pytest.mark.slow
def test_versions_with_the_same_arrays_share_rows(pool: Pool, simulated: Path) -> None:
    pool.save(simulated / "v1" / f"{NAME}_ramp.fits")
    pool.save(simulated / "v1" / f"{NAME}_rateints.fits")
    before = counts(pool)
    pool.save(simulated / "v2" / f"{NAME}_ramp.fits")
    assert counts(pool) == before
    pool.save(simulated / "v2" / f"{NAME}_rateints.fits")
    assert counts(pool)["rateints_pixel"] == 2 * before["rateints_pixel"]
    assert query(pool, "SELECT count(*), count(DISTINCT set_id) FROM pixel_use") == [(4, 3)]


def test_the_same_arrays_of_two_exposures_are_two_sets(pool: Pool) -> None:
    pool.save(small_raw())
    pool.save(small_raw(), name="again")
    assert counts(pool)["raw_pixel"] == 24
    assert query(pool, "SELECT exp_id, name FROM exposure ORDER BY 1") == [(1, "small"), (2, "again")]


def test_rows_can_be_left_out_and_made_later(pool: Pool, simulated: Path) -> None:
    path = simulated / "v1" / f"{NAME}_rate.fits"
    ref = pool.save(path, pixels=False)
    assert counts(pool)["rate_pixel"] == 0
    assert core_of(pool).pixel_rows.pending() == []
    assert pool.save(path).notice == "unchanged: version 0"
    assert counts(pool)["rate_pixel"] == 0
    assert core_of(pool).pixel_rows.make_pending([ref.serial]) == (1, [])
    assert counts(pool)["rate_pixel"] == 4608
    assert core_of(pool).pixel_rows.make_pending([ref.serial]) == (0, [])


def test_settings_of_a_pool(pool: Pool, simulated: Path, home: Home) -> None:
    first, second = (simulated / v / f"{NAME}_rate.fits" for v in ("v1", "v2"))
    pool.set_pixel_policy("none")
    ref = pool.save(first)
    assert counts(pool)["rate_pixel"] == 0
    assert core_of(pool).pixel_rows.pending() == []
    pool.set_pixel_policy("tagged")
    assert core_of(pool).pixel_rows.pending() == [ref.serial]
    core_of(pool).pixel_rows.make_pending()
    pool.save(second)
    assert query(pool, "SELECT serial FROM pixel_use") == [(1,)]  # the other is neither head nor tagged
    assert partitions(pool) == 1
    pool.tag(ref, "good")
    assert core_of(pool).pixel_rows.pending() == [0]
    with home.pool("jpl8") as other:
        assert core_of(other).pixel_rows.policy == "tagged"
    with pytest.raises(InvalidInput, match="all, tagged, none"):
        pool.set_pixel_policy("some")


@pytest.mark.slow
def test_a_removed_versions_rows_go_unless_shared(pool: Pool, simulated: Path) -> None:
    ramps = [pool.save(simulated / v / f"{NAME}_ramp.fits") for v in ("v1", "v2")]
    rates = [pool.save(simulated / v / f"{NAME}_rate.fits") for v in ("v1", "v2")]
    pool.remove(ramps[0])
    pool.remove(rates[0])
    assert counts(pool)["ramp_pixel"] == counts(pool)["rate_pixel"] == 4608
    pool.remove(ramps[1])
    assert counts(pool)["ramp_pixel"] == 0
    assert partitions(pool) == 1
    pool.restore(ramps[1])
    assert core_of(pool).pixel_rows.pending() == []
    assert counts(pool)["ramp_pixel"] == 4608


def test_dropping(pool: Pool, simulated: Path) -> None:
    ref = pool.save(simulated / "v1" / f"{NAME}_rate.fits")
    assert core_of(pool).pixel_rows.drop([ref.serial]) == 1
    assert (partitions(pool), core_of(pool).pixel_rows.pending()) == (0, [])
    assert call("index", "pixels", "jpl8", f"Rate/{NAME}").exit_code == 0
    assert partitions(pool) == 1
    with pytest.raises(InvalidInput, match="--all"):
        call("index", "drop", "jpl8")
    assert "1 set of pixel rows dropped" in call("index", "drop", "jpl8", "--all").stderr
    made = call("index", "pixels", "jpl8").stderr
    assert "left out with --no-pixels, are made by miripool index pixels jpl8 SPEC" in made
    assert partitions(pool) == 0


def test_rows_that_are_being_read_are_dropped_later(
    pool: Pool, simulated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uses, "_LOCK_SECONDS", 0.2)
    ref = pool.save(simulated / "v1" / f"{NAME}_rate.fits")
    with closing(psycopg2.connect(core_of(pool).catalog.database.psql_url)) as reading, reading.cursor() as cursor:
        cursor.execute(f'SET search_path TO "{core_of(pool).catalog.database.schema}"')
        cursor.execute("SELECT count(*) FROM rate_pixel")
        pool.remove(ref)
        assert partitions(pool) == 1
        cursor.execute("SELECT count(*) FROM pixel_set")
        assert cursor.fetchone() == (0,)  # nobody sees the rows any more
    assert core_of(pool).pixel_rows.tidy() == 0
    assert partitions(pool) == 0


# Failures


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"meta": cards(NINTS=5, NGROUPS=3)}, "NINTS = 5, but its dataset SCI has 2"),
        ({"meta": cards(NINTS=2, NGROUPS=30)}, "NGROUPS = 30, but its dataset SCI has 3"),
        ({"meta": cards(SUBSIZE1=5)}, r"SCI has the shape .*calls for \(2, 3, 3, 5\)|whole sets of four"),
        ({"meta": cards(SUBSTRT1=1030)}, "lies outside the detector"),
        ({"meta": cards(SUBSTRT2=-3)}, "SUBSTRT2 = -3"),
        ({"meta": {"SUBSTRT2": 5}}, "SUBSTRT1 = None"),
        ({"SCI": np.zeros((2, 3, 3, 4), "f4")}, "holds float32, but pixel rows need 16-bit DN"),
        ({"SCI": np.zeros((6, 3, 4), "u2")}, "has 3 axes"),
        ({"SCI": None, "REFOUT": None, "OTHER": np.zeros((2, 3))}, "no dataset SCI"),
        ({"REFOUT": np.zeros((2, 3, 3, 2), "u2")}, "REFOUT has the shape"),
    ],
)
def test_contradictions_are_refused_and_the_save_stands(pool: Pool, change: dict[str, Any], words: str) -> None:
    saved = saving.save(core_of(pool), small_raw(**change))
    assert saved.status == "new"
    assert saved.notice is not None
    with pytest.raises(FormatError, match=words):
        raise FormatError(saved.notice)
    assert "urn:jpl8:Raw:0 has no pixel rows" in saved.notice
    assert counts(pool)["raw_pixel"] == 0
    assert core_of(pool).pixel_rows.pending() == []
    (made, failures) = core_of(pool).pixel_rows.make_pending([0])
    assert made == 0
    assert "has no pixel rows" in str(failures[0])


def test_arrays_without_a_place_on_the_detector_have_no_rows(pool: Pool) -> None:
    assert saving.save(core_of(pool), small_raw(meta={"DETECTOR": "MIRIMAGE"})).notice is None
    assert core_of(pool).pixel_rows.pending() == []
    assert counts(pool)["raw_pixel"] == 0
    with pytest.raises(InvalidInput, match="none of the 1 version covers"):
        pool.pixel(1, 1).ramps(Raw)


def test_segments_of_a_long_exposure(pool: Pool) -> None:
    saved = saving.save(core_of(pool), small_raw(meta=cards(NINTS=10, INTSTART=3, INTEND=4, NGROUPS=3)))
    assert saved.notice is None
    assert counts(pool)["raw_pixel"] == 12


def test_more_than_keys_can_hold(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "_MOST_NUMBERED", 1)
    pool.save(small_raw())
    saved = saving.save(core_of(pool), small_raw(), name="second")
    assert "hold 1 exposures and versions of a pool; this is exposure 2" in (saved.notice or "")
    monkeypatch.setattr(load, "_MOST_GROUPS", 5)
    saved = saving.save(core_of(pool), small_raw(), name="third")
    assert "6 groups of each pixel" in (saved.notice or "")


def test_rows_that_fail_are_pending_and_made_up_for(
    pool: Pool, simulated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise ServerError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(load, "rows_of", fail)
        saved = saving.save(core_of(pool), simulated / "v1" / f"{NAME}_rate.fits")
    assert saved.status == "new"
    assert "pixel rows pending" in (saved.notice or "")
    assert "the disk is full" in (saved.notice or "")
    assert (counts(pool)["rate_pixel"], partitions(pool)) == (0, 0)
    assert core_of(pool).pixel_rows.pending() == [saved.row.serial]
    (outcome,) = ingest(pool, [simulated / "v1" / f"{NAME}_rate.fits"])
    assert (outcome.status, counts(pool)["rate_pixel"]) == ("unchanged", 4608)


@pytest.mark.slow
def test_adding_makes_up_for_rows_that_failed_before(
    pool: Pool, simulated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise ServerError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(load, "rows_of", fail)
        pool.save(simulated / "v1" / f"{NAME}_rate.fits")
        told = call("add", "jpl8", str(simulated / "v1" / f"{NAME}_rateints.fits"))
        assert "pending: the disk is full" in told.stderr
    assert counts(pool)["rate_pixel"] == 0
    uncal = str(next((simulated / "uncal").iterdir()))
    assert call("add", "jpl8", uncal, "--no-pixels").exit_code == 0
    assert len(core_of(pool).pixel_rows.pending()) == 2
    monkeypatch.setattr(adding, "_MAKE_UP_FOR", 1)
    assert "pixel rows of 2 versions are pending" in call("add", "jpl8", uncal).stderr
    monkeypatch.setattr(adding, "_MAKE_UP_FOR", 2)
    assert call("add", "jpl8", uncal).exit_code == 0
    assert (counts(pool)["rate_pixel"], counts(pool)["rateints_pixel"]) == (4608, 4608)


def test_a_source_that_breaks_within_copy_leaves_nothing(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any, **options: Any) -> Any:
        columns, chunks = forms.rows_of(*arguments, **options)

        def cut() -> Iterator[memoryview[int]]:
            yield next(chunks)
            raise ServerError("torn")

        return columns, cut()

    with monkeypatch.context() as patch:
        patch.setattr(load, "rows_of", broken)
        saved = saving.save(core_of(pool), small_raw())
    assert "torn" in (saved.notice or "")
    assert query(pool, "SELECT count(*) FROM pixel_set") == [(0,)]
    assert partitions(pool) == 0


@pytest.mark.slow
def test_two_that_load_the_same_set(pool: Pool, home: Home, simulated: Path) -> None:
    ref = pool.save(simulated / "v1" / f"{NAME}_rateints.fits", pixels=False)
    made = []

    def work() -> None:
        with home.pool("jpl8") as other:
            core_of(other).catch_up()
            made.append(core_of(other).pixel_rows.make(other.ref(ref.urn).row))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False, False, False, True]
    assert (counts(pool)["rateints_pixel"], partitions(pool)) == (4608, 1)


def test_kinds_without_pixels(pool: Pool, tmp_path: Path) -> None:
    saved = saving.save(core_of(pool), homes.write_image(tmp_path / "flat.fits"))
    assert saved.notice is None
    assert query(pool, "SELECT count(*) FROM pixel_use") == [(0,)]
    assert query(pool, "SELECT count(*) FROM exposure") == [(0,)]


def test_rate_without_err_and_flags(pool: Pool) -> None:
    pool.save(Rate(cards(), {"SCI": np.arange(12, dtype="f4").reshape(3, 4)}, name="small"))
    pool.save(RateInts(cards(), {"SCI": np.arange(24, dtype="f4").reshape(2, 3, 4)}, name="small"))
    assert query(pool, "SELECT count(rate), count(err), count(dq) FROM rate_pixel") == [(12, 0, 0)]
    table = pool.pixels(RateInts).to_table()
    assert np.array_equal(table["rate"], np.arange(24).reshape(2, -1).T)
    assert "err" not in table.colnames


@pytest.mark.slow
def test_index_made_anew_has_the_same_numbers(home: Home, pool: Pool, simulated: Path) -> None:
    for path in [*sorted((simulated / "v1").iterdir()), *sorted((simulated / "v2").iterdir())]:
        pool.save(path)
    pool.save(small_raw())
    before = [query(pool, f"SELECT * FROM {t} ORDER BY 1") for t in ("exposure", "corrected_exposure")]
    schema = core_of(pool).catalog.database.schema
    pool.close()
    ask(str(home.external_url), f'DROP SCHEMA "{schema}" CASCADE')
    with home.pool("jpl8") as again:
        core_of(again).catch_up()
        assert [query(again, f"SELECT * FROM {t} ORDER BY 1") for t in ("exposure", "corrected_exposure")] == before
        assert len(core_of(again).pixel_rows.pending()) == 7
        assert core_of(again).pixel_rows.make_pending()[1] == []
        assert counts(again)["rateints_pixel"] == 2 * 4608
