"""An index that is made again from the folder alone says what the lost one said, to the last byte."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import homes
import numpy as np
from homes import ask, call, drop_schemas

from miripool import Context, Home, Pool, Rate, RateInts
from miripool.maintenance.gc import collect
from miripool.maintenance.verify import verify
from miripool.pool.core import core_of

home = homes.home
CARDS = {"SUBSTRT1": 5, "SUBSTRT2": 100, "SUBSIZE1": 8, "SUBSIZE2": 6, "DETECTOR": "MIRIMAGE", "TARGNAME": "a 'star'"}


def fill(pool: Pool, number: int) -> None:
    """Save products with pixel rows, with tags that move, and a trash."""
    for i in range(number):
        kind, shape = (Rate, (6, 8)) if i % 3 else (RateInts, (2, 6, 8))
        tag = f"cal v{i % 7}" if i % 4 == 0 else None
        pool.save(
            kind({**CARDS, "NGROUPS": i}, {"SCI": np.full(shape, i, "f4")}, name=f"e{i % (number // 3)}"), tag=tag
        )
        if i % 100 == 99:
            pool.save(Context({"it": f"{kind.kind}/e{i % (number // 3)}"}, name=f"c{i}"))
            pool.remove(f"{kind.kind}/e{i % (number // 3)}@0", cascade=True)
    some = list(pool.trash())
    pool.restore(some[0])
    pool.purge(some[1:2])
    collect(core_of(pool).archive)


def shown(pool: Pool, url: str) -> dict[str, Any]:
    """Tell all that the index gives."""
    listing = call("ls", "jpl8", "--all-versions", "--json").stdout
    assert listing.count("\n") > 10
    return {
        "ls": listing,
        "trash": call("ls", "jpl8", "--trash", "--json").stdout,
        "contexts": call("ls", "jpl8", "--kind", "Context", "--all-versions", "--json").stdout,
        "tags": call("tags", "jpl8", "--json").stdout,
        "rows": core_of(pool).catalog.rows(range(core_of(pool).catalog.position().next_serial)),
        "events": [(e.entry, e.time, e.label, e.kind, e.name, e.serial, e.previous) for e in pool.tag_events()],
        "keywords": [ref.serial for ref in pool.select("NGROUPS between 20 and 40", all_versions=True)],
        "pixel": [tuple(row) for row in pool.pixel(7, 103).history(RateInts, all_versions=True, tag=None)],
        "exposures": ask(url, "SELECT * FROM jpl8.exposures ORDER BY exp_id"),
    }


def test_from_the_folder_alone(
    home: Home, pool: Pool, scale: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    number = scale(120, 10_000)
    begin = time.monotonic()
    fill(pool, number)
    filled = time.monotonic() - begin
    before = shown(pool, home.database_url())
    sets = verify(pool).pixel_sets
    assert sets > 0
    pool.close()
    drop_schemas(home.database_url())
    begin = time.monotonic()
    pool.reindex()
    took = time.monotonic() - begin
    begin = time.monotonic()
    made, failures = core_of(pool).pixel_rows.make_pending()
    rows = time.monotonic() - begin
    assert failures == []
    assert made >= sets
    after = shown(pool, home.database_url())
    for what, told in before.items():
        assert repr(after[what]) == repr(told), what  # a missing time is not equal to itself
    report = verify(pool)
    assert (report.findings, report.pixel_sets) == ([], sets)
    figure(
        f"{number} products saved in {filled:.0f} s, their index made again in {took:.1f} s, "
        f"{sets} sets of pixel rows in {rows:.0f} s"
    )
