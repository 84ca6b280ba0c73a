"""Blocks of exposures: what they hold, how many share one, merged, made by several at once, while others read."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import homes
import numpy as np
import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from miripool import Home, Pool, Ramp, Rate, RateInts, Raw
from miripool.errors import IntegrityError, ServerError
from miripool.index.pixels import blocks, forms, merge, uses
from miripool.index.pixels.blocks import capacity, short_columns
from miripool.instruments.miri import IMAGER
from miripool.model.product import Product
from miripool.pool.core import core_of

home = homes.home
SHAPE = (2, 3, 4)
"""Integrations, rows, columns."""
TABLES = {
    Raw: {"dn": "SCI"},
    Ramp: {"sci": "SCI", "err": "ERR", "groupdq": "GROUPDQ", "pixeldq": "PIXELDQ"},
    RateInts: {"rate": "SCI", "err": "ERR", "dq": "DQ"},
    Rate: {"rate": "SCI", "err": "ERR", "dq": "DQ"},
}
"""Kinds, and the columns and datasets of their pixel rows."""


def cards(**more: Any) -> dict[str, Any]:
    return {"SUBSTRT1": 5, "SUBSTRT2": 100, "SUBSIZE1": 4, "SUBSIZE2": 3, "DETECTOR": "MIRIMAGE"} | more


def make(number: int, **more: Any) -> RateInts:
    return RateInts(cards(**more), {"SCI": np.full(SHAPE, number, np.float32)}, name=f"exposure {number}")


@contextmanager
def asking(pool: Pool) -> Iterator[Any]:
    database = core_of(pool).catalog.database
    with closing(psycopg2.connect(database.psql_url)) as connection, connection.cursor() as cursor:
        cursor.execute(f'SET search_path TO "{database.schema}"')
        yield cursor


def ask(pool: Pool, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with asking(pool) as cursor:
        cursor.execute(statement, values or None)
        return cursor.fetchall()


def partitions(pool: Pool) -> set[str]:
    return {name for (name,) in ask(pool, "SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'")}


def places(pool: Pool) -> list[list[int]]:
    """List the blocks, each with the exposures in the order of their slots."""
    found = ask(pool, "SELECT array_agg(exp_id ORDER BY slot) FROM pixel_set GROUP BY block_id ORDER BY block_id")
    return [exposures for (exposures,) in found]


def rates(pool: Pool) -> list[float]:
    """Give the rates of one pixel in all exposures and integrations, as the view has them."""
    found = ask(pool, "SELECT rate FROM rateints_pixel WHERE pixel_id = 99 * 1032 + 6 ORDER BY exp_id")
    return [rate for (rates,) in found for rate in rates]


def save_all(pool: Pool, products: Sequence[Product]) -> list[Any]:
    """Save, without pixel rows."""
    refs = [pool.save(product, pixels=False) for product in products]
    return core_of(pool).catalog.rows([ref.serial for ref in refs])


def make_rows(pool: Pool, versions: Sequence[Any]) -> list[Any]:
    return [outcome for _, outcome in core_of(pool).pixel_rows.make_together(versions)]


def optimize(pool: Pool) -> int:
    """Merge what can be merged; the number of sets."""
    pixel_rows = core_of(pool).pixel_rows
    merged, failures = pixel_rows.optimize(pixel_rows.merges())
    assert failures == []
    return merged


# What the rows hold

_numbers = count()


@st.composite
def exposures(draw: st.DrawFn) -> tuple[type[Product], list[dict[str, NDArray[Any]]]]:
    """Draw exposures of one kind, with or without errors and flags, which are mostly the same or none."""
    cls = draw(st.sampled_from(list(TABLES)))
    nints, ngroups, ny, nx = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 4)), 4
    depth = {Raw: (nints, ngroups), Ramp: (nints, ngroups), RateInts: (nints,), Rate: ()}[cls]
    shape = (*depth, ny, nx)
    names = [name for name in TABLES[cls].values() if name == "SCI" or draw(st.booleans())]
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    rare = draw(st.sampled_from([0, 0.1, 0.9]))
    made = []
    for _ in range(draw(st.integers(1, 5))):
        arrays: dict[str, NDArray[Any]] = {}
        for name in names:
            if name in ("SCI", "ERR"):
                values = random.integers(0, 65536, shape).astype("u2") if cls is Raw else random.normal(size=shape)
                arrays[name] = values if cls is Raw else np.where(values < -1, np.nan, values).astype("f4")
            else:
                size = (ny, nx) if name == "PIXELDQ" else shape
                flags = np.where(random.random(size) < rare, random.integers(1, 4, size), 0)
                arrays[name] = flags.astype("u1" if name == "GROUPDQ" else "u4")
        made.append(arrays)
    return cls, made


@given(exposures(), st.integers(1, 60), st.integers(1, 5))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_rows_are_the_arrays(
    pool: Pool,
    monkeypatch: pytest.MonkeyPatch,
    case: tuple[type[Product], list[dict[str, NDArray[Any]]]],
    elements: int,
    band: int,
) -> None:
    cls, made = case
    with monkeypatch.context() as small:
        small.setattr(forms, "_ELEMENTS", elements)
        small.setattr(forms, "_band_rows", lambda row_bytes: band)
        place = cards(SUBSIZE2=made[0]["SCI"].shape[-2])
        names = [f"exposure {next(_numbers)}" for _ in made]
        versions = save_all(pool, [cls(place, arrays, name=name) for name, arrays in zip(names, made, strict=True)])
        assert make_rows(pool, versions) == [True] * len(made)
    view = {Raw: "raw", Ramp: "ramp", RateInts: "rateints", Rate: "rate"}[cls]
    chosen = [name for name, dataset in TABLES[cls].items() if dataset in made[0]]
    for name, arrays in zip(names, made, strict=True):
        rows = ask(
            pool,
            f"SELECT y, x, common_groupdq, {', '.join(TABLES[cls])} FROM {view}_pixel JOIN exposure USING (exp_id) "
            "JOIN pixel_set USING (set_id) WHERE name = %s ORDER BY pixel_id",
            name,
        )
        assert [row[:2] for row in rows] == [(100 + i // 4, 5 + i % 4) for i in range(len(rows))]
        for column, values in zip(TABLES[cls], zip(*(row[3:] for row in rows), strict=True), strict=True):
            if column not in chosen:
                assert set(values) == {None}
                continue
            expected = arrays[TABLES[cls][column]]
            expected = np.moveaxis(expected.reshape(*expected.shape[:-2], -1), -1, 0)
            default = rows[0][2] if column == "groupdq" else np.zeros(expected.shape[1:]).tolist()
            got = np.asarray([default if value is None else value for value in values])
            got = got + 32768 if column == "dn" else got.astype(expected.dtype)
            assert np.array_equal(got, expected, equal_nan=expected.dtype.kind == "f"), column


def test_flags_that_all_exposures_share_are_stored_once(pool: Pool) -> None:
    dq = np.zeros(SHAPE, np.uint32)
    dq[:, 0, 0] = 1, 5
    dq[:, 0, 1] = 4
    products = []
    for number in range(3):
        own = dq.copy()
        own[1, 2, 3] = number  # none in the first
        own[:, 0, 1] = (4, 0) if number == 2 else 4
        products.append(RateInts(cards(), {"SCI": np.zeros(SHAPE, "f4"), "DQ": own}, name=f"exposure {number}"))
    make_rows(pool, save_all(pool, products))
    stored = ask(pool, "SELECT dq, dq_of, count(*) FROM rateints_block GROUP BY 1, 2 ORDER BY min(pixel_id)")
    assert stored == [
        ([1, 5], None, 1),
        ([4, 4, 4, 0], [1, 1, 2], 1),
        (None, None, 9),
        ([0, 1, 0, 2], [0, 1, 2], 1),
    ]


def test_short_arrays_are_stored_as_in_memory(pool: Pool) -> None:
    """PostgreSQL would copy arrays with short headers for each element that is asked for."""
    make_rows(pool, save_all(pool, [make(1)]))
    make_rows(pool, save_all(pool, [make(number) for number in range(2, 16)]))
    stored = "SELECT pg_column_size(rate) FROM rateints_block WHERE block_id = %s"
    assert ask(pool, stored, 1) == [(24 + 4 * 2,)] * 12
    assert ask(pool, stored, 2) == [(24 + 4 * 28,)] * 12
    storage = "SELECT attstorage FROM pg_attribute WHERE attrelid = CAST(%s AS regclass) AND attname = 'rate'"
    assert ask(pool, storage, "rateints_block_1") == [("p",)]
    assert ask(pool, storage, "rateints_block_2") == [("e",)]


@pytest.mark.parametrize(
    ("kind", "depth", "datasets", "slots", "short"),
    [
        ("RateInts", (5, None), {"rate", "err", "dq"}, 1, {"rate", "err", "dq", "dq_of"}),
        ("RateInts", (5, None), {"rate"}, 5, {"rate"}),
        ("RateInts", (5, None), {"rate", "dq"}, 6, {"dq_of"}),
        ("Rate", (None, None), {"rate", "dq"}, 25, {"rate", "dq_of"}),
        ("Ramp", (5, 20), {"sci", "groupdq", "pixeldq"}, 1, {"groupdq_of", "pixeldq", "pixeldq_of"}),
        ("Raw", (5, 20), {"dn", "reference"}, 1, set()),
        ("Raw", (1, 20), {"dn", "reference"}, 1, {"dn"}),
    ],
)
def test_which_arrays_are_short(
    kind: str, depth: tuple[int | None, int | None], datasets: set[str], slots: int, short: set[str]
) -> None:
    assert short_columns(kind, *depth, datasets, slots) == short


def test_the_planner_knows_the_rows(pool: Pool) -> None:
    make_rows(pool, save_all(pool, [make(1)]))
    found = ask(pool, "SELECT reltuples, relpages, reloptions FROM pg_class WHERE relname = 'rateints_block_1'")
    assert found == [(12, 1, ["toast_tuple_target=8160", "autovacuum_enabled=off"])]


# Which exposures share a block


def test_exposures_of_one_place_and_shape_share_blocks(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_MOST_SLOTS", 3)
    other = [make(6, SUBSTRT1=9), make(7, DETECTOR="MIRIFULONG")]
    assert make_rows(pool, save_all(pool, [*map(make, range(1, 6)), *other])) == [True] * 7
    assert places(pool) == [[1, 2, 3], [4, 5], [6], [7]]
    assert partitions(pool) == {f"rateints_block_{n}" for n in (1, 2, 3, 4)}
    assert rates(pool) == [n for n in (1, 2, 3, 4, 5, 7) for _ in range(2)]
    pool.save(make(8))
    assert places(pool)[4:] == [[8]]
    assert ask(pool, "SELECT slots FROM pixel_block ORDER BY block_id") == [(3,), (2,), (1,), (1,), (1,)]


@pytest.mark.parametrize(
    ("kind", "pixels", "depth", "datasets", "exposures"),
    [
        ("Raw", 72 * 64, (5, 20), ["dn", "reference"], 20),
        ("Ramp", 72 * 64, (5, 20), ["groupdq", "pixeldq", "sci"], 18),
        ("Ramp", 72 * 64, (5, 20), ["err", "groupdq", "pixeldq", "sci"], 9),
        ("RateInts", 72 * 64, (5, None), ["dq", "err", "rate"], 57),
        ("Rate", 72 * 64, (None, None), ["dq", "err", "rate"], 64),
        ("Raw", IMAGER.pixels, (5, 20), ["dn"], 1),
        ("RateInts", IMAGER.pixels, (5, None), ["dq", "err", "rate"], 6),
        ("Ramp", 72 * 64, (10, 1000), ["sci"], 1),
    ],
)
def test_rows_fill_pages_and_blocks_stay_small(
    kind: str, pixels: int, depth: tuple[int | None, int | None], datasets: list[str], exposures: int
) -> None:
    assert capacity(kind, pixels, *depth, datasets) == exposures


@pytest.mark.slow
@pytest.mark.parametrize("cls", [Raw, Ramp, RateInts])
def test_full_blocks_waste_little(pool: Pool, cls: type[Product]) -> None:
    """PostgreSQL's own sizes, of a subarray like SUB64."""
    nints, ngroups, ny, nx = 5, 20, 32, 72
    shape = (nints, ngroups, ny, nx) if cls is not RateInts else (nints, ny, nx)
    random = np.random.default_rng(1)
    datasets = {"dn"} if cls is Raw else {"sci", "groupdq", "pixeldq"} if cls is Ramp else {"rate", "err", "dq"}
    number = capacity(cls.kind, ny * nx, nints, None if cls is RateInts else ngroups, datasets)
    products = []
    for i in range(number):
        values = random.normal(size=shape).astype("f4")
        arrays: dict[str, NDArray[Any]] = {"SCI": values.view("u4").astype("u2") if cls is Raw else values}
        if cls is Ramp:
            arrays |= {"GROUPDQ": (random.random(shape) < 0.0001).astype("u1"), "PIXELDQ": np.zeros((ny, nx), "u4")}
        if cls is RateInts:
            arrays |= {"ERR": values, "DQ": (random.random(shape) < 0.004).astype("u4")}
        products.append(cls(cards(SUBSIZE1=nx, SUBSIZE2=ny), arrays, name=f"exposure {i}"))
    make_rows(pool, save_all(pool, products))
    assert len(places(pool)) == 1
    (table,) = partitions(pool)
    ((size,),) = ask(pool, f"SELECT pg_total_relation_size('{table}')")
    data = sum(a.nbytes for p in products for name, a in ((n, p[n][...]) for n in ("SCI", "ERR") if n in p))
    assert data < size < 1.25 * data


# Merging


def test_merging(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, 6):
        pool.save(make(number))
    pool.save(make(6, SUBSTRT1=9))
    pool.remove("RateInts/exposure 2")
    assert places(pool) == [[1], [3], [4], [5], [6]]
    monkeypatch.setattr(blocks, "_MOST_SLOTS", 3)
    merges = core_of(pool).pixel_rows.merges()
    assert [(len(m.sets), len(m.blocks), m.kind, m.detector) for m in merges] == [
        (3, 3, "RateInts", "MIRIMAGE"),
        (1, 1, "RateInts", "MIRIMAGE"),
    ]
    assert optimize(pool) == 4
    assert sorted(places(pool)) == [[1, 3, 4], [5], [6]]
    assert len(partitions(pool)) == 3
    assert rates(pool) == [n for n in (1, 3, 4, 5) for _ in range(2)]
    assert core_of(pool).pixel_rows.merges() == []
    assert optimize(pool) == 0


def test_dropped_sets_are_masked_and_go_with_the_next_merge(pool: Pool) -> None:
    make_rows(pool, save_all(pool, [make(1), make(2), make(3)]))
    (before,) = partitions(pool)
    pool.remove("RateInts/exposure 2")
    assert partitions(pool) == {before}
    assert rates(pool) == [1, 1, 3, 3]
    assert ask(pool, "SELECT array_length(rate, 1) FROM rateints_block LIMIT 1") == [(6,)]
    assert optimize(pool) == 2
    assert before not in partitions(pool)
    assert rates(pool) == [1, 1, 3, 3]
    assert ask(pool, "SELECT array_length(rate, 1) FROM rateints_block LIMIT 1") == [(4,)]
    for number in (1, 3):
        pool.remove(f"RateInts/exposure {number}")
    assert partitions(pool) == set()
    assert ask(pool, "SELECT count(*) FROM pixel_block") == [(0,)]


def test_flags_are_the_same_after_merging(pool: Pool) -> None:
    """The pattern that most pixels share is another in each exposure."""
    flags = np.zeros((2, 3, 3, 4), np.uint8)
    for number in range(3):
        own = flags + number
        own[:, 1, 0, number] = 8
        data = {"SCI": np.full(own.shape, number, "f4"), "GROUPDQ": own, "PIXELDQ": np.full((3, 4), number, "u4")}
        pool.save(Ramp(cards(), data, name=f"exposure {number}"))
    columns = "exp_id, pixel_id, sci, coalesce(groupdq, common_groupdq), pixeldq"
    statement = f"SELECT {columns} FROM ramp_pixel JOIN pixel_set USING (exp_id, set_id) ORDER BY 1, 2"
    before = ask(pool, statement)
    assert optimize(pool) == 3
    assert places(pool) == [[1, 2, 3]]
    assert ask(pool, statement) == before


def test_two_that_merge_at_once_do_it_once(pool: Pool, home: Home) -> None:
    for number in (1, 2, 3):
        pool.save(make(number))
    done = at_once(home, [optimize] * 2)
    assert sorted(done) in ([0, 3], [3, 3])  # the second may have planned after the first had ended
    assert places(pool) == [[1, 2, 3]]
    assert rates(pool) == [1, 1, 2, 2, 3, 3]


def test_a_loader_that_shares_sets_with_a_merge_waits_for_its_end(
    pool: Pool, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither waits for the other in a circle, although the loader has a block to attach too; readers go on."""
    first = core_of(pool).catalog.rows([pool.save(make(number)).serial for number in (1, 2)])
    versions = [*first, *save_all(pool, [make(3)])]
    outcomes: list[Any] = []
    loader = threading.Thread(target=lambda: outcomes.extend(at_once(home, [lambda own: make_rows(own, versions)])))
    fill = merge.fill_block

    def fill_and_meet_the_loader(*arguments: Any) -> None:
        fill(*arguments)
        loader.start()
        with asking(pool) as reader:
            wait_until(lambda: waiting(reader))
            reader.execute("SET lock_timeout = '100ms'")
            reader.execute("SELECT count(*) FROM rateints_pixel")
            assert reader.fetchone() == (24,)

    monkeypatch.setattr(merge, "fill_block", fill_and_meet_the_loader)
    assert optimize(pool) == 2
    loader.join()
    assert outcomes == [[False, False, True]]
    assert rates(pool) == [1, 1, 2, 2, 3, 3]
    assert places(pool) == [[1, 2], [3]]


def waiting(cursor: Any) -> bool:
    """Say whether anybody else waits for a lock."""
    cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()")
    return bool(cursor.fetchone() != (0,))


def test_what_is_read_meanwhile_is_dropped_later(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uses, "_LOCK_SECONDS", 0.1)
    for number in (1, 2):
        pool.save(make(number))
    with asking(pool) as reader:
        reader.execute("SELECT count(*) FROM rateints_pixel")  # in a transaction that stays open
        assert optimize(pool) == 2
        assert len(partitions(pool)) == 3
        reader.execute("SELECT count(*) FROM rateints_pixel")
        assert reader.fetchone() == (24,)
    assert rates(pool) == [1, 1, 2, 2]
    assert core_of(pool).pixel_rows.tidy() == 0
    assert len(partitions(pool)) == 1


KILLED_IN_A_MERGE = """
import os, signal
from miripool import Home
from miripool.index.pixels import merge
from miripool.pool.core import core_of

def cut(*arguments):
    fill(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)

fill, merge.fill_block = merge.fill_block, cut
with Home().pool("jpl8") as pool:
    rows = core_of(pool).pixel_rows
    rows.optimize(rows.merges())
"""


@pytest.mark.slow
def test_a_merge_that_is_killed_changes_nothing(pool: Pool) -> None:
    for number in (1, 2, 3):
        pool.save(make(number))
    killed = subprocess.run([sys.executable, "-c", KILLED_IN_A_MERGE], check=False, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    wait_until(lambda: len(partitions(pool)) == 3)
    assert places(pool) == [[1], [2], [3]]
    assert rates(pool) == [1, 1, 2, 2, 3, 3]
    assert optimize(pool) == 3
    assert places(pool) == [[1, 2, 3]]
    assert rates(pool) == [1, 1, 2, 2, 3, 3]


# Several at once


def at_once(home: Home, works: Sequence[Callable[[Pool], Any]]) -> list[Any]:
    """Do works at the same time, each with a pool of its own."""
    together = threading.Barrier(len(works))
    results: list[Any] = []

    def run(work: Callable[[Pool], Any]) -> None:
        with home.pool("jpl8") as own:
            together.wait()
            try:
                results.append(work(own))
            except BaseException as error:
                results.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_several_make_the_same_sets_at_once(pool: Pool, home: Home) -> None:
    versions = save_all(pool, [make(number) for number in range(1, 6)])
    parts = [versions[:4], versions[1:], versions[::-1]]
    done = at_once(home, [lambda own, part=part: make_rows(own, part) for part in parts])
    assert all(set(outcomes) <= {True, False} for outcomes in done)
    assert sum(outcome for outcomes in done for outcome in outcomes) == 5
    assert sorted(exposure for block in places(pool) for exposure in block) == [1, 2, 3, 4, 5]
    assert sorted(rates(pool)) == [n for n in range(1, 6) for _ in range(2)]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_readers_do_not_wait_for_a_block_that_is_being_attached(pool: Pool) -> None:
    pool.save(make(1))
    versions = save_all(pool, [make(2), make(3)])
    with asking(pool) as holder, asking(pool) as reader, asking(pool) as other:
        # What the loader does last, when its block is attached, has to wait.
        holder.execute("SELECT FROM pixel_use WHERE serial = %s FOR UPDATE", (versions[1].serial,))
        other.execute("SELECT count(*) FROM rateints_pixel")  # in a transaction that stays open
        loader = threading.Thread(target=make_rows, args=(pool, versions))
        loader.start()
        wait_until(lambda: waiting(holder))
        reader.execute("SET lock_timeout = '100ms'")
        for _ in range(2):
            reader.execute("SELECT count(*) FROM rateints_pixel")
            assert reader.fetchone() == (12,)
        reader.connection.commit()
        holder.connection.rollback()
        loader.join()
        reader.execute("SELECT count(*) FROM rateints_pixel")
        assert reader.fetchone() == (36,)


# Failures


def test_one_version_that_fails_does_not_keep_others_from_their_block(pool: Pool) -> None:
    versions = save_all(pool, [make(number) for number in range(1, 5)])
    with blob_of(pool, versions[1]).open("r+b") as blob:
        blob.truncate(100)
    outcomes = {row.serial: outcome for row, outcome in core_of(pool).pixel_rows.make_together(versions)}
    assert isinstance(outcomes[versions[1].serial], IntegrityError)
    assert [outcomes[v.serial] for v in versions if v != versions[1]] == [True] * 3
    assert rates(pool) == [1, 1, 3, 3, 4, 4]


@pytest.mark.parametrize("damage", ["missing", "cut short"])
def test_a_merge_that_fails_does_not_keep_others_from_theirs(pool: Pool, damage: str) -> None:
    versions = core_of(pool).catalog.rows([pool.save(make(number)).serial for number in (1, 2)])
    for number in (3, 4):
        pool.save(make(number, SUBSTRT1=9))
    blob = blob_of(pool, versions[0])
    if damage == "missing":
        blob.unlink()
    else:
        with blob.open("r+b") as file:
            file.truncate(100)
    done = homes.call("index", "optimize", "jpl8")
    assert done.exit_code == IntegrityError.exit_code
    assert blob.name in done.stderr
    assert "2 sets of pixel rows merged: 1 table instead of 2" in done.stderr
    assert "2 sets could not be merged; their rows are as before" in done.stderr
    assert places(pool) == [[1], [2], [3, 4]]
    assert len(partitions(pool)) == 3  # the old tables of what was merged are swept
    assert rates(pool) == [1, 1, 2, 2]


def blob_of(pool: Pool, version: Any) -> Path:
    core = core_of(pool)
    product = core.archive.product(core.archive.manifest(version.manifest))
    return homes.file_of(product["SCI"].source)


def test_a_block_is_there_as_a_whole_or_not_at_all(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = save_all(pool, [make(1), make(2)])

    def refuse(*_: Any) -> None:
        raise ServerError("no space left")

    with monkeypatch.context() as full:
        full.setattr("miripool.index.pixels.load.insert_timings", refuse)
        outcomes = make_rows(pool, versions)
    assert [type(outcome) for outcome in outcomes] == [ServerError, ServerError]
    assert (partitions(pool), ask(pool, "SELECT count(*) FROM pixel_block")) == (set(), [(0,)])
    assert make_rows(pool, versions) == [True, True]
    assert rates(pool) == [1, 1, 2, 2]


def test_the_plan_says_why_exposures_of_one_shape_stay_apart(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "capacity", lambda *_: 2)
    for number in range(3):
        pool.save(make(number))
    for number in (3, 4):
        pool.save(make(number, SUBSTRT1=9))
    for number in (5, 6):
        pool.save(RateInts(cards(), {"SCI": np.full((3, 3, 4), number, "f4")}, name=f"exposure {number}"))
    plan = json.loads(homes.call("index", "optimize", "jpl8", "--dry-run", "--json").stdout)
    assert [(row["first_x"], row["nints"], row["sets"], row["apart"]) for row in plan] == [
        (5, 2, 2, None),
        (5, 2, 1, "full: it holds 2 exposures"),
        (9, 2, 2, "another place on the detector"),
        (5, 3, 2, "another number of integrations"),
    ]


def test_the_command(pool: Pool) -> None:
    for number in (1, 2, 3):
        pool.save(make(number))
    planned = homes.call("index", "optimize", "jpl8", "--dry-run")
    assert planned.stdout.split()[-9:] == ["RateInts", "MIRIMAGE", "5", "100", "4", "3", "2", "3", "3"]
    assert "3 sets of pixel rows would be merged: 1 table instead of 3" in planned.stderr
    assert places(pool) == [[1], [2], [3]]
    done = homes.call("index", "optimize", "jpl8", "--json")
    assert '"sets": 3' in done.stdout
    assert places(pool) == [[1, 2, 3]]
    assert "no pixel rows to merge" in homes.call("index", "optimize", "jpl8").stderr
