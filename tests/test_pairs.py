"""Which Ramp and RateInts stand in one row of `correctedexposures`: those that one run of the pipeline made."""

from __future__ import annotations

import itertools
from typing import Any

import homes
import numpy as np
import pytest
from older_index import take_blocks_away

from miripool import Pool, Ramp, RateInts
from miripool.index.migrate import migrations
from miripool.pool.core import core_of
from miripool.pool.runs import _RUN

home = homes.home

NORMAL = {"CRDS_CTX": "jwst_9001.pmap", "CAL_VER": "1.20", "R_DARK": "crds://dark.fits", "S_DARK": "COMPLETE"}
GAIN = {"R_GAIN": "crds://gain.fits", "R_READNO": "crds://readnoise.fits"}
MADE = {
    "ramp": (Ramp, {**NORMAL, **GAIN, "S_JUMP": "COMPLETE"}),
    "rateints": (RateInts, {**NORMAL, **GAIN, "S_JUMP": "COMPLETE", "S_RAMP": "COMPLETE"}),
    "ramp without jump": (Ramp, {**NORMAL, "R_GAIN": "N/A", "S_JUMP": "SKIPPED"}),
    "rateints without jump": (RateInts, {**NORMAL, **GAIN, "S_JUMP": "SKIPPED", "S_RAMP": "COMPLETE"}),
}
"""A ramp is written before the slopes are fitted: with jump skipped, nothing has asked for the gain by then."""


def save(pool: Pool, *names: str, made: dict[str, tuple[Any, dict[str, Any]]] = MADE) -> None:
    for number, name in enumerate(names):
        kind, cards = made[name]
        shape = (1, 2, 3, 4) if kind is Ramp else (1, 3, 4)
        place = {"DETECTOR": "MIRIMAGE", "SUBSTRT1": 1, "SUBSTRT2": 1, "SUBSIZE1": 4, "SUBSIZE2": 3}
        data = {"SCI": np.full(shape, number, dtype="f4")}
        pool.save(kind({**place, **cards, "TITLE": name}, data, name="dark"), pixels=False)


def pairs(pool: Pool) -> set[tuple[str | None, str | None]]:
    serials = homes.ask_pool(pool, "SELECT corrected_exp_id, ramp, rateints FROM corrected_exposure")
    titles = {
        ref.serial: str(ref.meta["TITLE"].value)
        for ref in pool.select("kind in ('Ramp', 'RateInts')", allVersions=True)
    }
    assert all(number == min(one for one in two if one is not None) for number, *two in serials)
    return {(titles.get(ramp), titles.get(rateints)) for _, ramp, rateints in serials}


@pytest.mark.parametrize("order", list(itertools.permutations(MADE)), ids=" then ".join)
def test_a_run_without_the_jump_step(pool: Pool, order: tuple[str, ...]) -> None:
    save(pool, *order)
    assert pairs(pool) == {("ramp", "rateints"), ("ramp without jump", "rateints without jump")}


def test_what_says_the_same_goes_together_in_the_order_of_saving(pool: Pool) -> None:
    made = {f"{what} {n}": (kind, NORMAL) for n in range(3) for what, kind in (("ramp", Ramp), ("rateints", RateInts))}
    save(pool, "ramp 0", "ramp 1", "rateints 0", "rateints 1", "rateints 2", made=made)
    assert pairs(pool) == {("ramp 0", "rateints 0"), ("ramp 1", "rateints 1"), (None, "rateints 2")}
    save(pool, "ramp 2", made=made)
    assert pairs(pool) == {(f"ramp {n}", f"rateints {n}") for n in range(3)}


def test_what_contradicts_each_other_stays_alone(pool: Pool) -> None:
    other = {**NORMAL, "CRDS_CTX": "jwst_9002.pmap"}
    save(pool, "ramp", "other", made={"ramp": (Ramp, NORMAL), "other": (RateInts, {**other, **GAIN})})
    assert pairs(pool) == {("ramp", None), (None, "other")}


def test_the_nearest_of_several(pool: Pool) -> None:
    """Two ramps without a gain fit two slopes: each is given the one that says most of what it says."""
    made: dict[str, tuple[Any, dict[str, Any]]] = {
        "ramp": (Ramp, NORMAL),
        "ramp with mask": (Ramp, {**NORMAL, "R_MASK": "crds://mask.fits"}),
        "rateints with mask": (RateInts, {**NORMAL, **GAIN, "R_MASK": "crds://mask.fits"}),
        "rateints": (RateInts, {**NORMAL, **GAIN}),
    }
    save(pool, *made, made=made)
    assert pairs(pool) == {("ramp", "rateints"), ("ramp with mask", "rateints with mask")}


def test_in_the_trash_and_back(pool: Pool) -> None:
    save(pool, *MADE)
    (ramp,) = pool.select("kind == 'Ramp' and S_JUMP == 'SKIPPED'")
    pool.remove(ramp)
    assert pairs(pool) == {("ramp", "rateints"), (None, "rateints without jump")}
    pool.restore(ramp)
    assert pairs(pool) == {("ramp", "rateints"), ("ramp without jump", "rateints without jump")}


def test_an_older_index_is_paired_when_it_is_opened(home: homes.Home, pool: Pool) -> None:
    save(pool, *MADE)
    before = pairs(pool)
    database = core_of(pool).catalog.database
    take_blocks_away(database)
    with database.write() as connection:
        script = "DELETE FROM corrected_exposure; DROP FUNCTION pair_calibrations, unpaired, said_of_run; "
        script += "DROP TABLE exposure_statistic CASCADE; DROP INDEX product_bytes, product_obs_id"
        database.run(connection, script + "; UPDATE pool_state SET schema_version = 11")
    pool.close()
    with home.pool("jpl8") as again:
        assert pairs(again) == before


def test_the_index_and_lineage_look_at_the_same_keywords() -> None:
    (script,) = [one.script for one in migrations() if "FUNCTION said_of_run" in one.script]
    listed = script.partition("ANY('{")[2].partition("}')")[0]
    assert {key.strip() for key in listed.split(",")} == set(_RUN)
