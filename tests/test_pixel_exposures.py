"""A pixel's table against the arrays of its versions: whatever these have in common, or have not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import homes
import numpy as np
import pytest
from astropy.time import Time
from homes import ask_pool
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from miripool import Home, Pool, Ramp, Rate, RateInts, Raw
from miripool.errors import InvalidInput
from miripool.index.kept import Answers
from miripool.index.pixels import history, read_common, read_history, read_versions
from miripool.index.pixels.arrays import flat_arrays
from miripool.index.pixels.fields import Fields
from miripool.model.product import Product
from miripool.model.times import NEVER
from miripool.pixels import versions
from miripool.pool.core import core_of

home = homes.home
X, Y = 6, 101
ROW, COLUMN = 1, 1
"""The pixel, in the arrays of exposures that cover it."""
PIXEL = (Y - 1) * 1032 + X
COLUMNS = {
    Raw: {"ramp": ("SCI", "u2")},
    Ramp: {"ramp": ("SCI", "f4"), "groupdq": ("GROUPDQ", "i2"), "err": ("ERR", "f4"), "pixeldq": ("PIXELDQ", "i8")},
    RateInts: {"rate": ("SCI", "f4"), "err": ("ERR", "f4"), "dq": ("DQ", "i8")},
    Rate: {"rate": ("SCI", "f4"), "err": ("ERR", "f4"), "dq": ("DQ", "i8")},
}
"""Columns of the table: dataset, and type in PostgreSQL."""
STARTING = ("urn", "name", "version", "time", "detector")
START = datetime(2026, 1, 1, tzinfo=UTC)
_numbers = count()


@dataclass
class Version:
    """One exposure to save: its arrays, and how it comes into the index."""

    arrays: dict[str, NDArray[Any]]
    start: datetime | None
    covers: bool
    rows: str
    name: str = ""
    serial: int = -1

    def product(self, cls: type[Product]) -> Product:
        first = Y - ROW if self.covers else 500
        ny, nx = self.arrays["SCI"].shape[-2:]
        cards = {"SUBSTRT1": X - COLUMN, "SUBSTRT2": first, "SUBSIZE1": nx, "SUBSIZE2": ny, "DETECTOR": "MIRIMAGE"}
        if self.start is not None:
            cards |= {"DATE-OBS": f"{self.start:%Y-%m-%d}", "TIME-OBS": f"{self.start:%H:%M:%S.%f}"}
        self.name = f"exposure {next(_numbers)}"
        return cls(cards, self.arrays, name=self.name)


@st.composite
def cases(draw: st.DrawFn) -> tuple[type[Product], list[Version]]:
    """Draw versions of one kind; mostly of one shape and with the same datasets, as those of a campaign."""
    cls = draw(st.sampled_from(list(COLUMNS)))
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    datasets = [dataset for dataset, _ in COLUMNS[cls].values()]
    usual = ["SCI", *(d for d in datasets[1:] if draw(st.booleans()))]
    shape = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    made = []
    for _ in range(draw(st.integers(1, 5))):
        odd = draw(st.sampled_from(["", "", "", "shape", "datasets"]))
        nints, ngroups = (draw(st.integers(1, 3)), draw(st.integers(1, 3))) if odd == "shape" else shape
        names = ["SCI", *(d for d in datasets[1:] if draw(st.booleans()))] if odd == "datasets" else usual
        depth = {Raw: (nints, ngroups), Ramp: (nints, ngroups), RateInts: (nints,), Rate: ()}[cls]
        arrays = {name: values(random, cls, name, depth) for name in names}
        start = draw(st.none() | st.integers(0, 2).map(lambda days: START + timedelta(days=days, microseconds=1)))
        rows = draw(st.sampled_from(["together", "together", "alone", "none", "merged"]))
        made.append(Version(arrays, start, draw(st.integers(0, 5)) > 0, rows))
    return cls, made


def values(random: Any, cls: type[Product], name: str, depth: tuple[int, ...]) -> NDArray[Any]:
    shape = (*(() if name == "PIXELDQ" else depth), 3, 4)
    if name in ("SCI", "ERR"):
        if cls is Raw:
            return np.asarray(random.integers(0, 65536, shape), "u2")
        drawn = random.normal(size=shape)
        return np.where(drawn < -1, np.nan, drawn).astype("f4")
    flags = np.where(random.random(shape) < random.choice([0, 0.05, 0.7]), random.integers(1, 4, shape), 0)
    return np.asarray(flags, "u1" if name == "GROUPDQ" else "u4")


def save_all(pool: Pool, cls: type[Product], made: Sequence[Version], tag: str) -> None:
    pixel_rows = core_of(pool).pixel_rows
    for version in made:
        version.serial = pool.save(version.product(cls), pixels=version.rows == "alone", tag=tag).serial
    for how in ("together", "merged"):
        chosen = [version.serial for version in made if version.rows == how]
        rows = core_of(pool).catalog.rows(chosen)
        together = [rows] if how == "together" else [[row] for row in rows]
        for part in together:
            assert all(done is True for _, done in pixel_rows.make_together(part))
        if how == "merged" and rows:
            assert pixel_rows.optimize(pixel_rows.merges())[1] == []


def expected(pool: Pool, cls: type[Product], made: Sequence[Version]) -> dict[str, list[Any]]:
    """Give the columns as a loop over versions and integrations has them; None where a version has no such dataset."""
    far = START + timedelta(days=9)
    ordered = sorted(
        (v for v in made if v.covers),
        key=lambda v: (v.start is None, v.start or far, v.start is None and v.serial, v.name),
    )
    table: dict[str, list[Any]] = {name: [] for name in ("urn", "name", "time", "integration", *COLUMNS[cls])}
    for version in ordered:
        length = 1 if cls is Rate else len(version.arrays["SCI"])
        for i in range(length):
            table["urn"].append(f"urn:{pool.name}:{cls.kind}:{version.serial}")
            table["name"].append(version.name)
            table["time"].append(version.start)
            table["integration"].append(i + 1)
            for column, (dataset, _) in COLUMNS[cls].items():
                array = version.arrays.get(dataset)
                if array is not None:
                    array = array[..., ROW, COLUMN]
                    array = array if cls is Rate or dataset == "PIXELDQ" else array[i]
                elif version.rows != "none" and dataset == "DQ":
                    array = np.int64(
                        0
                    )  # pixel rows don't tell flags that there are none of from flags that are not set
                table[column].append(array)
    return table


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(cases())
def test_a_table_has_what_the_arrays_have(pool: Pool, case: tuple[type[Product], list[Version]]) -> None:
    cls, made = case
    tag = f"case {next(_numbers)}"
    save_all(pool, cls, made, tag)
    pixel = pool.pixel(X, Y)
    read = pixel.ramps if cls in (Raw, Ramp) else pixel.history
    wanted = expected(pool, cls, made)
    if not wanted["urn"]:
        with pytest.raises(InvalidInput, match="covers pixel"):
            read(cls, tag=tag)
        return
    table = read(cls, tag=tag)
    assert list(table["urn"]) == wanted["urn"]
    assert list(table["name"]) == wanted["name"]
    assert set(table["version"]) == {0}
    assert ("integration" in table.colnames) == (cls is not Rate)
    if cls is not Rate:
        assert list(table["integration"]) == wanted["integration"]
    started = [None if t is None else Time(t.replace(tzinfo=None), scale="utc").isot for t in wanted["time"]]
    masks = np.broadcast_to(table["time"].mask, len(table))
    assert [None if no else t for t, no in zip(table["time"].isot, masks, strict=True)] == started
    assert list(table["time_of"]) == ["" if t is None else "exposure" for t in wanted["time"]]
    for column in COLUMNS[cls]:
        check_column(table, column, wanted[column], of_pixel=cls is Rate or column == "pixeldq")


def check_column(table: Any, column: str, wanted: list[Any], *, of_pixel: bool) -> None:
    missing = [value is None for value in wanted]
    if all(missing):
        assert column not in table.colnames
        return
    found = table[column]
    if of_pixel:
        assert np.ma.getmaskarray(found).tolist() == missing
        plain = np.ma.filled(found, 0)
        assert np.array_equal(plain, [0 if v is None else v for v in wanted], equal_nan=plain.dtype.kind == "f")
        return
    alike = not any(missing) and len({np.shape(value) for value in wanted}) == 1
    assert (found.dtype != object) == alike
    for one, other in zip(found, wanted, strict=True):
        if other is None:
            assert one is None
        else:
            assert np.array_equal(one, other, equal_nan=other.dtype.kind == "f")
            assert np.asarray(one).dtype.kind in (other.dtype.kind, "i")


def rates(number: int, **more: Any) -> RateInts:
    cards = {"SUBSTRT1": 5, "SUBSTRT2": 100, "SUBSIZE1": 4, "SUBSIZE2": 3, "DETECTOR": "MIRIMAGE"} | more
    return RateInts(cards, {"SCI": np.full((2, 3, 4), number, "f4")}, name=f"exposure {number}")


def optimize(pool: Pool) -> None:
    pixel_rows = core_of(pool).pixel_rows
    assert pixel_rows.optimize(pixel_rows.merges())[1] == []


# Which versions


def test_trash_tags_and_all_versions(pool: Pool) -> None:
    for number in (1, 2, 3):
        pool.save(rates(number), tag="first")
    pool.save(RateInts(rates(2).meta, {"SCI": np.full((2, 3, 4), 20, "f4")}, name="exposure 2"))
    pool.remove("RateInts/exposure 3")
    pixel = pool.pixel(X, Y)
    assert list(pixel.history()["rate"]) == [1, 1, 20, 20]
    assert list(pixel.history(tag="first")["rate"]) == [1, 1, 2, 2]
    both = pixel.history(all_versions=True)
    assert list(zip(both["rate"], both["version"], strict=True)) == [(1, 0)] * 2 + [(2, 0)] * 2 + [(20, 1)] * 2
    chosen = pixel.history(query="name == 'exposure 2'", all_versions=True)
    assert list(chosen["version"]) == [0, 0, 1, 1]
    assert len(pixel.history(query="name == 'exposure 3'")) == 0
    pool.restore("RateInts/exposure 3")
    assert list(pixel.history()["rate"]) == [1, 1, 3, 3, 20, 20]


def test_no_version_at_all(pool: Pool) -> None:
    for kind, colnames in ((RateInts, ["integration", "rate", "err", "dq"]), (Rate, ["rate", "err", "dq"])):
        table = pool.pixel(X, Y).history(kind)
        assert table.colnames == [*STARTING, *colnames, "mid_time", "end_time", "time_of"]
        assert (len(table), table["rate"].unit, table.meta["pixel_id"]) == (0, "DN/s", PIXEL)
        assert isinstance(table["time"], Time)
    assert len(pool.pixel(X, Y).ramps(Ramp, dq_names=True)) == 0


def test_who_may_only_read(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gets the times that the index lacks from the files, and does not try to keep them."""
    for number in (1, 2):
        pool.save(rates(number, EXPEND=60000.5), pixels=number == 1)
    database = core_of(pool).catalog.database
    with database.write() as connection:
        connection.exec_driver_sql(f"DELETE FROM {database.table('timing')}")
    monkeypatch.setattr(database, "read_only", True)
    table = pool.pixel(X, Y).history()
    assert list(table["rate"]) == [1, 1, 2, 2]
    assert set(table["time_of"]) == {""}
    assert list(table["end_time"].mjd) == [60000.5] * 4
    assert ask_pool(pool, "SELECT count(*) FROM timing") == [(0,)]
    monkeypatch.setattr(database, "read_only", False)
    assert list(pool.pixel(X, Y).history()["end_time"].mjd) == [60000.5] * 4
    assert ask_pool(pool, "SELECT count(*) FROM timing") == [(2,)]


def test_flags_by_name_where_some_versions_have_none(pool: Pool) -> None:
    cards = rates(1).meta
    flags = np.zeros((2, 3, 4), "u4")
    flags[1, ROW, COLUMN] = 5
    pool.save(RateInts(cards, {"SCI": flags.astype("f4"), "DQ": flags}, name="a"))
    pool.save(RateInts(cards, {"SCI": flags.astype("f4")}, name="b"), pixels=False)
    with_rows = pool.pixel(X, Y).history(query="name == 'a'", dq_names=True)
    assert list(with_rows["dq"]) == ["", "DO_NOT_USE|JUMP_DET"]
    both = pool.pixel(X, Y).history(dq_names=True)
    assert [None if one is None else str(one) for one in both["dq"]] == ["", "DO_NOT_USE|JUMP_DET", None, None]


# What is read from the index


def test_blocks_that_a_merge_drops_in_between(pool: Pool) -> None:
    """The versions were read before, the blocks after: the sets are looked up once more."""
    for number in (1, 2, 3):
        pool.save(rates(number))
    database = core_of(pool).catalog.database
    versions = read_versions(database, [0, 1, 2])
    places = versions.sets, versions.blocks, versions.slots
    optimize(pool)
    pool.remove("RateInts/exposure 2")
    assert ask_pool(pool, "SELECT count(DISTINCT block_id) FROM pixel_set") == [(1,)]
    (row,), which, slots = read_history(database, "RateInts", *places, PIXEL)
    found = {
        int(serial): row.values["rate"][2 * slot - 2 : 2 * slot].tolist() if place == 0 else None
        for serial, place, slot in zip(versions.serials, which, slots, strict=True)
    }
    assert found == {0: [1, 1], 1: None, 2: [3, 3]}
    pool.remove("RateInts/exposure 1")
    pool.remove("RateInts/exposure 3")
    none, which, _ = read_history(database, "RateInts", *places, PIXEL)
    assert (none, which.tolist()) == ([], [-1] * 3)


@pytest.mark.parametrize("few", [0, 50])
def test_many_blocks(pool: Pool, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    """Are not named one by one; those between that were not asked for are left out."""
    monkeypatch.setattr(history, "_FEW_BLOCKS", few)
    for number in (1, 2, 3):
        pool.save(rates(number))
    chosen = pool.pixel(X, Y).history(query="name != 'exposure 2'")
    assert list(chosen["rate"]) == [1, 1, 3, 3]


def test_versions_as_columns(pool: Pool) -> None:
    assert len(read_versions(core_of(pool).catalog.database, [])) == 0
    pool.save(rates(1, SUBSTRT1=500, DETECTOR="MIRIFULONG"))
    times = np.zeros(2, [("integration_number", "i4"), *((f"int_{n}_MJD_UTC", "f8") for n in ("start", "mid", "end"))])
    times["integration_number"] = 1, 2
    for place, name in enumerate(("start", "mid", "end")):
        times[f"int_{name}_MJD_UTC"] = 60000 + place, 60010 + place
    pool.save(
        rates(2, **{"DATE-OBS": "2000-01-02", "TIME-OBS": "00:00:01", "EXPEND": 60000.5}).replace(INT_TIMES=times)
    )
    pool.save(rates(3), pixels=False)
    found = read_versions(core_of(pool).catalog.database, [2, 0, 1, 99])
    found = found.take(np.argsort(found.serials))
    assert found.names.tolist() == ["exposure 1", "exposure 2", "exposure 3"]
    assert found.detectors.tolist() == ["MIRIFULONG", "MIRIMAGE", "MIRIMAGE"]
    assert found.covering(X, Y).tolist() == [False, True, False]
    corners = [(5, 100), (4, 100), (8, 102), (9, 102), (5, 103), (5, 99)]
    assert [bool(found.covering(*place)[1]) for place in corners] == [True, False, True, False, False, False]
    assert (found.blocks > 0).tolist() == [True, True, False]
    assert found.nints.tolist() == [2, 2, 0]
    assert (found.sets > 0).tolist() == [True, True, False]
    assert found.started.tolist() == [NEVER, 86_401_000_000, NEVER]
    assert np.array_equal(found.ended, [np.nan, 60000.5, np.nan], equal_nan=True)
    assert found.integrations[1] == 2
    first = found.first_time[1]
    assert found.times[first : first + 6].tolist() == [60000, 60010, 60001, 60011, 60002, 60012]


def questions(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> int:
    """Count what a pixel's table reads by COPY: the versions, unless they are kept, and the rows."""
    database = core_of(pool).catalog.database
    asked = []
    copied = database.copied

    def counted(question: str, *values: Any) -> list[bytes]:
        asked.append(question)
        return copied(question, *values)

    with monkeypatch.context() as patch:
        patch.setattr(database, "copied", counted)
        pool.pixel(X, Y).history()
    return len(asked)


def test_versions_are_kept(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    pool.save(rates(1))
    assert questions(pool, monkeypatch) == 2
    # Other tests, and the server's own housekeeping, write to the same server.
    assert any(questions(pool, monkeypatch) == 1 for _ in range(100))
    assert len(pool.pixel(X, Y).history(all_versions=True)) == 2
    assert len(pool.pixel(X, Y).history(query="name == 'exposure 2'")) == 0
    with pytest.raises(InvalidInput, match="covers pixel"):
        pool.pixel(X + 4, Y).history()


def test_kept_versions_are_those_of_now(home: Home, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever others do, the next table has it."""
    other = home.pool(pool.name)

    def check() -> list[tuple[Any, ...]]:
        found = [[tuple(row) for row in pool.pixel(X, Y).history(tag=tag)] for tag in (None, "good")]
        monkeypatch.setattr(versions, "_kept", Answers(1))
        assert repr([[tuple(row) for row in pool.pixel(X, Y).history(tag=tag)] for tag in (None, "good")]) == repr(
            found
        )
        return [(row[1], float(row[6])) for row in found[0]], [(row[1], float(row[6])) for row in found[1]]

    first = other.save(rates(1, EXPEND=60000.5), tag="good")
    names = [("exposure 1", 1.0)] * 2
    assert check() == (names, names)
    second = other.save(rates(2))
    assert check() == (names + [("exposure 2", 2.0)] * 2, names)
    other.tag(second, "good")
    assert check()[1] == names + [("exposure 2", 2.0)] * 2
    optimize(other)
    check()
    other.untag("good", first)
    assert check()[1] == [("exposure 2", 2.0)] * 2
    core_of(other).pixel_rows.drop([second.serial])
    check()
    other.save(RateInts(rates(2).meta, {"SCI": np.full((2, 3, 4), 20, "f4")}, name="exposure 2"))
    assert check() == (names + [("exposure 2", 20.0)] * 2, [("exposure 2", 2.0)] * 2)
    other.remove("RateInts/exposure 1")
    assert check()[0] == [("exposure 2", 20.0)] * 2
    other.restore("RateInts/exposure 1")
    assert check()[0] == names + [("exposure 2", 20.0)] * 2
    database = core_of(other).catalog.database
    with database.write() as connection:
        connection.exec_driver_sql(f"DELETE FROM {database.table('timing')}")
    check()


def test_common_flags_come_once(pool: Pool) -> None:
    shared = np.zeros((1, 2, 3, 4), "u1")
    for number, flag in enumerate((1, 1, 4)):
        arrays: dict[str, Any] = {"SCI": np.full((1, 2, 3, 4), number, "f4"), "GROUPDQ": shared + flag}
        pool.save(Ramp(rates(1).meta, arrays, name=f"exposure {number}"))
    pool.save(Ramp(rates(1).meta, {"SCI": np.ones((1, 2, 3, 4), "f4")}, name="without"))
    sets = [number for (number,) in ask_pool(pool, "SELECT set_id FROM pixel_set ORDER BY set_id")]
    found = read_common(core_of(pool).catalog.database, sets)
    assert sorted((pattern.tolist(), sorted(those.tolist())) for pattern, those in found) == [
        ([[1, 1]], sets[:2]),
        ([[4, 4]], sets[2:3]),
    ]


@pytest.mark.parametrize(
    "arrays", [[], [[]], [[], []], [[1.0, np.nan]], [[1.0], [2.0], [3.0]], [[1.0, 2.0], [], [3.0]], [[1.0], [2.0, 3.0]]]
)
def test_flat_arrays(pool: Pool, arrays: list[list[float]]) -> None:
    given = " UNION ALL ".join(f"SELECT {i}, ARRAY{a}::float8[]" for i, a in enumerate(arrays)).replace("nan", "'NaN'")
    rows = core_of(pool).catalog.database.copied(
        f"SELECT a FROM ({given or 'SELECT 1, ARRAY[]::float8[] WHERE false'}) AS given (i, a) ORDER BY i"
    )
    values, lengths = flat_arrays(Fields(rows).contents())
    assert lengths.tolist() == [len(a) for a in arrays]
    assert np.array_equal(values, [v for a in arrays for v in a], equal_nan=True)


def test_fields(pool: Pool) -> None:
    """Of rows of unlike lengths, with NULL and with percent signs."""
    fields = Fields(
        core_of(pool).catalog.database.copied(
            "SELECT i, i = 2, repeat('é', CAST(i AS integer)), CASE i WHEN 2 THEN NULL ELSE '%%' END, 'same', "
            "i / 2.0::float8, NULL, (ARRAY['x', NULL, 'zzz'])[i] FROM generate_series(1, %s) AS given (i)",
            [3],
        )
    )
    number, flag = fields.numbers("i4", "?")
    assert (number.tolist(), flag.tolist()) == ([1, 2, 3], [False, True, False])
    assert [str(text, "utf-8") for text in fields.contents() if text is not None] == ["é", "éé", "ééé"]
    assert fields.contents() == [b"%", None, b"%"]
    assert fields.contents() == [b"same"] * 3
    assert fields.numbers("f8")[0].tolist() == [0.5, 1, 1.5]
    assert fields.contents() == [None] * 3
    assert fields.last() == [b"x", b"", b"zzz"]
