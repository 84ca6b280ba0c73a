"""Blocks of many exposures asked for pixels: by conditions, one pixel, and the views, against the arrays in NumPy."""

from __future__ import annotations

from typing import Any

import homes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_pixels import CARDS, condition, pixels_of, random_product

from miripool import PixelQuery, Pool, Ramp, RateInts
from miripool.model.kinds import KINDS, pixel_kinds
from miripool.model.product import Product
from miripool.pool.core import core_of

home = homes.home

pytestmark = pytest.mark.filterwarnings("ignore:the condition names:miripool.errors.IncompleteAnswer")


def save_together(pool: Pool, products: list[Product]) -> list[Any]:
    """Save products, and load their pixel rows into as few blocks as there can be, in this order."""
    refs = [pool.save(product, pixels=False) for product in products]
    versions = core_of(pool).catalog.rows([ref.serial for ref in refs])
    assert all(made is True for _, made in core_of(pool).pixel_rows.make_together(versions))
    return refs


def shared(pool: Pool) -> list[int]:
    """Count the sets of each block."""
    return sorted(n for (n,) in homes.ask_pool(pool, "SELECT count(*) FROM pixel_set GROUP BY block_id"))


def fill(pool: Pool, kind: str, *, merged: bool) -> dict[str, Product]:
    """Save exposures that are in blocks of three, two and one, one of them dropped, or most of them merged."""
    products = [random_product(kind, seed, f"r{seed}") for seed in range(7)]
    save_together(pool, products[:3])
    pool.save(products[3])
    last = save_together(pool, products[4:6])[0]
    pool.remove(last)
    assert shared(pool) == [1, 1, 3]
    if merged:
        pixel_rows = core_of(pool).pixel_rows
        assert pixel_rows.optimize(pixel_rows.merges()) == (5, [])
        assert shared(pool) == [5]
    pool.save(products[6])
    assert shared(pool) == ([1, 5] if merged else [1, 1, 1, 3])
    return {product.name: product for product in products if product is not products[4]}


ENDS = st.tuples(st.integers(1, 8), st.integers(1, 8)).map(lambda two: (min(two), max(two)))


@pytest.mark.slow
@pytest.mark.parametrize("merged", [False, True], ids=["single", "merged"])
@pytest.mark.parametrize("kind", pixel_kinds())
def test_conditions_against_numpy(pool: Pool, kind: str, merged: bool) -> None:
    pixels = {name: pixels_of(product) for name, product in fill(pool, kind, merged=merged).items()}

    @settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
    @given(condition(kind), st.none() | ENDS, st.none() | ENDS)
    def check(case: tuple[str, Any], x: tuple[int, int] | None, y: tuple[int, int] | None) -> None:
        text, holds = case
        box = {"x": x or (1, 1032), "y": y or (1, 1024)}
        wanted = [
            (name, p["pixel_id"])
            for name, of_exposure in pixels.items()
            for p in of_exposure
            if holds(p) and all(first <= p[axis] <= last for axis, (first, last) in box.items())
        ]
        found = pool.pixels(kind, text, x=x, y=y)
        table = found.to_table()
        assert sorted(zip(table["name"], table["pixel_id"], strict=True)) == wanted
        assert found.count() == len(wanted)
        region = (*box["x"], *box["y"])
        having = [name for name in pixels if sum(name == other for other, _ in wanted) >= 3]
        refs = pool.select(PixelQuery(kind, text, at_least=3, region=region))
        assert sorted(ref.name for ref in refs) == having

    check()


@pytest.mark.parametrize("merged", [False, True], ids=["single", "merged"])
@pytest.mark.parametrize("kind", pixel_kinds())
def test_one_pixel_against_numpy(pool: Pool, kind: str, merged: bool) -> None:
    products = fill(pool, kind, merged=merged)
    columns = {column.name: column for column in KINDS[kind].columns}
    for x, y in ((1, 1), (8, 6), (3, 4)):
        pixel = pool.pixel(x, y)
        table = pixel.history(kind) if KINDS[kind].is_rate else pixel.ramps(kind)
        for name, product in products.items():
            rows = table[table["name"] == name]
            for column, stored in columns.items():
                if stored.dataset not in product:
                    continue
                value = product[stored.dataset][..., y - 1, x - 1]
                wanted = value if stored.axes else np.full(len(rows), value)
                got = np.asarray(rows["ramp" if column in ("dn", "sci") else column])
                assert np.array_equal(got, wanted, equal_nan=stored.holds == "real"), (name, column)


def test_the_views_against_numpy(pool: Pool) -> None:
    """Ramps and rates of one exposure are in different slots; some have no rates, or fewer integrations of them."""
    rng = np.random.default_rng(5)
    names = [f"r{i}" for i in range(5)]
    raws = {name: random_product("Raw", 10 + i, name) for i, name in enumerate(names)}
    ramps = {name: with_errors(random_product("Ramp", 20 + i, name), rng) for i, name in enumerate(names)}
    rates = {name: random_product("RateInts", 30 + i, name) for i, name in enumerate([*names[:3], "r9"])}
    for name in names[3:]:
        rates[name] = RateInts(CARDS, {"SCI": rng.normal(size=(1, 6, 8)).astype("f4")}, name=name)
    save_together(pool, list(raws.values()))
    save_together(pool, list(ramps.values()))
    save_together(pool, list(rates.values())[::-1])
    assert shared(pool) == [2, 4, 5, 5]
    order = "JOIN exposure USING (exp_id) ORDER BY name, pixel_id, intnumber"
    found = homes.ask_pool(pool, f"SELECT name, ramp FROM ramps {order}")
    assert [row[1] for row in found] == [r.tolist() for raw in raws.values() for r in by_ramp(raw["SCI"])]
    groups = homes.ask_pool(pool, f"SELECT raw_value FROM groups {order}, group_number")
    assert [g for (g,) in groups] == [g for row in found for g in row[1]]
    asked = "slope_value, corrected_ramp, dq_ramp, err_ramp, do_not_use, saturated, jump_det, pixeldq"
    found = homes.ask_pool(pool, f"SELECT name, {asked} FROM correctedramps {order}")
    wanted = [row for name in [*names, "r9"] for row in corrected(name, ramps.get(name), rates.get(name))]
    assert len(found) == len(wanted)
    for one, two in zip(found, wanted, strict=True):
        assert repr(one) == repr(two)
    asked = "corrected_value, dq_value, error_value, saturated"
    groups = homes.ask_pool(pool, f"SELECT {asked} FROM correctedgroups {order}, group_number")
    by_group = [
        (sci, dq, err, bool(dq & 2)) for row in wanted if row[2] for sci, dq, err in zip(*row[2:5], strict=True)
    ]
    assert list(map(repr, groups)) == list(map(repr, by_group))


def test_questions_about_a_whole_exposure_read_each_block_once(pool: Pool) -> None:
    """The planner joins ramps and slopes as tables; of one pixel it looks both up."""
    rng = np.random.default_rng(6)
    place = CARDS | {"SUBSIZE1": 72, "SUBSIZE2": 64}  # for tables of a page the planner would not care
    for number in range(3):
        sci = rng.normal(size=(2, 3, 64, 72)).astype("f4")
        ramp = Ramp(place, {"SCI": sci, "GROUPDQ": np.zeros(sci.shape, "u1")}, name=f"r{number}")
        save_together(pool, [ramp, RateInts(place, {"SCI": sci[:, 0]}, name=f"r{number}")])
    whole, one = (
        nodes(pool, f"SELECT sum(slope_value) FROM correctedramps WHERE exp_id = 2{more}")
        for more in ("", " AND pixel_id = 1040")
    )
    read = sorted((node["Relation Name"], node["Actual Loops"]) for node in whole if "_block_" in relation(node))
    assert [loops for _, loops in read] == [1, 1]
    assert "Function Scan" not in {node["Node Type"] for node in whole}
    read = [node for node in one if "_block_" in relation(node)]
    assert [node["Actual Rows"] for node in read] == [1, 1]
    assert {node["Node Type"] for node in read} == {"Index Scan"}


def nodes(pool: Pool, statement: str) -> list[dict[str, Any]]:
    """List the parts of a plan that were run."""
    (((plan,),),) = homes.ask_pool(pool, f"EXPLAIN (ANALYZE, FORMAT json) {statement}")
    found, left = [], [plan["Plan"]]
    while left:
        node = left.pop()
        left += node.get("Plans", [])
        found += [node] if node["Actual Loops"] else []
    return found


def relation(node: dict[str, Any]) -> str:
    return str(node.get("Relation Name", ""))


def with_errors(ramp: Product, rng: np.random.Generator) -> Ramp:
    arrays = {name: ramp[name][...] for name in ("SCI", "GROUPDQ", "PIXELDQ")}
    return Ramp(CARDS, {**arrays, "ERR": rng.random(arrays["SCI"].shape).astype("f4")}, name=ramp.name)


def by_ramp(array: Any) -> Any:
    """Put an array of (integration, …, row, column) in the order of the views: pixel, integration, …"""
    values = np.asarray(array[...])
    flat = np.moveaxis(values.reshape(*values.shape[:-2], -1), -1, 0)
    return flat.reshape(-1, *flat.shape[2:])


def corrected(name: str, ramp: Product | None, rate: Product | None) -> list[tuple[Any, ...]]:
    """Write the rows of correctedramps of one exposure."""
    slopes = {} if rate is None else {i: rate["SCI"][i].reshape(-1) for i in range(rate["SCI"].shape[0])}
    nints = 2 if ramp is not None else len(slopes)
    rows: list[tuple[Any, ...]] = []
    for n in range(48 * nints):
        pixel, i = divmod(n, nints)
        slope = short(slopes[i][pixel]) if i in slopes else None
        if ramp is None:
            rows.append((name, slope, *(None,) * 7))
            continue
        sci, dq, err = (by_ramp(ramp[dataset])[n] for dataset in ("SCI", "GROUPDQ", "ERR"))
        flags = int(np.bitwise_or.reduce(dq))
        bits = tuple(bool(flags & bit) for bit in (1, 2, 4))
        ramps = ([short(v) for v in sci], [int(v) for v in dq], [short(v) for v in err])
        rows.append((name, slope, *ramps, *bits, int(ramp["PIXELDQ"][...].reshape(-1)[pixel])))
    return rows


def short(value: np.float32) -> float:
    """Give a real as psycopg2 does: the shortest text that means it, read as a float."""
    return float(str(value))
