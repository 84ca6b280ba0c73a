"""Exposures: a run of the pipeline has one of its own, with what it made and the raw it was made from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import homes
import numpy as np
import pytest
from homes import call

from miripool import Context, Exposure, Pool, ProductRef, Ramp, RateInts, Raw
from miripool.errors import Conflict
from miripool.pool import save as saving
from miripool.pool.core import core_of
from miripool.pool.ingest import find_files, ingest
from miripool.simulate import Calibration, SimulatedExposure

home = homes.home

NAME = "jw01033005001_03103_00001_mirimage"
ALL = ("raw", "ramp", "rateints", "rate")


def add(pool: Pool, *paths: Path, jobs: int = 1) -> None:
    files = find_files([str(path) for path in paths])
    assert [outcome.error for outcome in ingest(pool, files, jobs=jobs, pixels=False) if outcome.error] == []


def exposures(pool: Pool, name: str = NAME) -> list[dict[str, int]]:
    core_of(pool).catch_up()
    rows = [row for row in core_of(pool).catalog.track("Exposure", name) if row.removed is None]
    found = [core_of(pool).manifest(row).references for row in rows]
    return [{link.name: link.version for link in links} for links in found]


def numbered(version: int, names: Sequence[str] = ALL) -> dict[str, int]:
    return {name: 0 if name == "raw" else version for name in names}


def entries(pool: Pool) -> int:
    return len(list(core_of(pool).archive.storage.files.path("journal").iterdir()))


def other_raw(pool: Pool, **cards: object) -> ProductRef:
    """Another raw exposure of the same name, which its header can't be told from unless cards differ."""
    raw = pool.ref(f"Raw/{NAME}@0").product
    other = raw.replace(SCI=raw["SCI"][...] ^ 1)
    other.meta.update(cards)
    return pool.save(other, pixels=False)


def as_made(pool: Pool, raw: ProductRef, folder: Path, *kinds: str) -> list[ProductRef]:
    """Save files as `reprocess` saves what it makes."""
    history = [{"tool": "jwst", "version": "3", "inputs": [str(raw.urn)]}]
    made = [saving.read(folder / f"{NAME}_{kind}.fits") for kind in kinds]
    return saving.commit_together(core_of(pool), made, history=history, raw=raw, pixels=False)


# Runs


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_two_calibrations_in_one_call(pool: Pool, simulated: Path, jobs: int) -> None:
    add(pool, simulated / "uncal", simulated / "v1", simulated / "v2", jobs=jobs)
    assert exposures(pool) == [numbered(0), numbered(1)]
    for version in (0, 1):
        (root,) = pool.lineage(f"RateInts/{NAME}@{version}")
        assert [(node.row.kind, node.row.version) for node in root.walk()] == [
            ("Raw", 0),
            ("Ramp", version),
            ("RateInts", version),
        ]
        assert {
            ref.version for name, ref in pool.ref(f"Exposure/{NAME}@{version}").product.refs.items() if name != "raw"
        } == {version}
    before = entries(pool)
    add(pool, simulated / "v2", simulated / "v1", simulated / "uncal")
    assert entries(pool) == before


@pytest.mark.slow
def test_runs_stand_in_the_order_of_their_making(pool: Pool, exposure: SimulatedExposure, tmp_path: Path) -> None:
    runs = {"a": ("jwst_9001.pmap", 3), "b": ("jwst_9002.pmap", 1), "c": ("jwst_9003.pmap", 2)}
    for label, (crds_context, day) in runs.items():
        (tmp_path / label).mkdir()
        calibration = Calibration(label, gain=5.5, crds_context=crds_context)
        exposure.write_products(tmp_path / label, calibration, date=datetime(2026, 1, day, tzinfo=UTC))
    add(pool, tmp_path)
    names = ALL[1:]
    assert exposures(pool) == [numbered(1, names), numbered(2, names), numbered(0, names)]
    assert [pool.ref(f"Ramp/{NAME}@{n}").meta["DATE"].value.day for n in range(3)] == [3, 1, 2]


@pytest.mark.slow
def test_a_run_in_two_calls(pool: Pool, simulated: Path) -> None:
    add(pool, simulated / "uncal", simulated / "v1" / f"{NAME}_ramp.fits")
    add(pool, simulated / "v2")
    add(pool, simulated / "v1")
    assert exposures(pool) == [
        {"raw": 0, "ramp": 0},
        {"raw": 0, "ramp": 1, "rateints": 0, "rate": 0},
        {"raw": 0, "ramp": 0, "rateints": 1, "rate": 1},
    ]
    before = entries(pool)
    add(pool, simulated / "v2", simulated / "v1")
    assert entries(pool) == before


def test_two_of_one_header_are_two_runs(pool: Pool, simulated: Path) -> None:
    """The same calibration twice, with other data: what the second did not make is not in its exposure."""
    add(pool, simulated / "uncal", simulated / "v1")
    ramp = pool.ref(f"Ramp/{NAME}@0").product
    changed = pool.save(ramp.replace(SCI=ramp["SCI"][...] + 1), pixels=False)
    saving.keep_exposures(core_of(pool), [changed])
    assert exposures(pool) == [numbered(0), {"raw": 0, "ramp": 1}]


@pytest.mark.slow
def test_raw_comes_later(pool: Pool, simulated: Path) -> None:
    add(pool, simulated / "v1", simulated / "v2")
    add(pool, simulated / "uncal")
    made = ALL[1:]
    assert exposures(pool) == [numbered(0, made), numbered(1, made), numbered(0), numbered(1)]


def test_raw_comes_first(pool: Pool, simulated: Path) -> None:
    add(pool, simulated / "uncal")
    add(pool, simulated / "v1")
    other_raw(pool)
    saving.keep_exposures(core_of(pool), [pool.ref(f"Raw/{NAME}@1")])
    assert exposures(pool) == [{"raw": 0}, numbered(0), {"raw": 1}]


def test_an_exposure_does_not_mix_runs(pool: Pool, simulated: Path) -> None:
    add(pool, simulated / "uncal", simulated / "v2")
    *_, exposure = as_made(pool, pool.ref(f"Raw/{NAME}"), simulated / "v1", "ramp", "rateints")
    assert exposures(pool) == [numbered(0), {"raw": 0, "ramp": 1, "rateints": 1}]
    contexts = {ref.meta["CRDS_CTX"].value for name, ref in exposure.product.refs.items() if name != "raw"}
    assert contexts == {"jwst_9001.pmap"}
    add(pool, simulated / "v1" / f"{NAME}_rate.fits")  # of the same run, made by others
    assert exposures(pool)[-1] == numbered(1)


@pytest.mark.slow
def test_many_exposures_at_once(pool: Pool) -> None:
    refs = []
    for n in range(5):
        for context in ("jwst_1.pmap", "jwst_2.pmap"):
            cards = {"CRDS_CTX": context, "CAL_VER": "3"}
            ramp = Ramp(cards, {"SCI": np.full((1, 2, 3, 4), n, "f4")}, name=f"e{n}")
            slopes = RateInts(cards, {"SCI": np.full((1, 3, 4), n, "f4")}, name=f"e{n}")
            refs += [pool.save(product, pixels=False) for product in (ramp, slopes)]
    before = entries(pool)
    made = saving.keep_exposures(core_of(pool), refs)
    assert sorted((ref.name, ref.version) for ref in made) == [(f"e{n}", v) for n in range(5) for v in (0, 1)]
    assert entries(pool) == before + 2
    assert exposures(pool, "e3") == [numbered(v, ALL[1:3]) for v in (0, 1)]
    assert saving.keep_exposures(core_of(pool), [], refs) == []


# What is known of where a version comes from


@pytest.mark.slow
def test_recorded_and_inferred(pool: Pool, simulated: Path) -> None:
    add(pool, simulated / "uncal")
    as_made(pool, pool.ref(f"Raw/{NAME}"), simulated / "v1", "ramp", "rateints")
    add(pool, simulated / "v2")
    (root,) = pool.lineage(f"Raw/{NAME}")
    assert root.source is None
    told = {(node.row.kind, node.row.version): node.source for node in root.walk() if node.source is not None}
    assert {key: source.how for key, source in told.items()} == {
        ("Ramp", 0): "recorded",
        ("RateInts", 0): "recorded",
        ("Ramp", 1): "inferred",
        ("RateInts", 1): "inferred",
        ("Rate", 0): "inferred",
    }
    assert told["Ramp", 1].why == "same exposure"
    assert told["RateInts", 1].why == "same run"
    drawn = call("lineage", "jpl8", f"RateInts/{NAME}@1").stdout
    assert "made from the version above: same exposure, inferred" in drawn
    assert "made from the version above: same run, inferred" in drawn
    assert "made from the version above: recorded" in call("lineage", "jpl8", f"Ramp/{NAME}@0").stdout
    (record,) = json.loads(call("lineage", "jpl8", f"Ramp/{NAME}@1", "--json").stdout)
    assert record["source"] is None
    assert record["into"][0]["source"] == {"how": "inferred", "why": "same exposure", "candidates": []}
    uses = {(use.row.kind, use.row.version): use.how for use in pool.uses(f"Raw/{NAME}") if use.row.kind == "Ramp"}
    assert uses == {("Ramp", 0): "made from", ("Ramp", 1): "made from, inferred"}


@pytest.mark.slow
def test_where_two_raws_are_as_likely_nothing_is_guessed(pool: Pool, simulated: Path) -> None:
    add(pool, simulated / "uncal")
    other_raw(pool)
    as_made(pool, pool.ref(f"Raw/{NAME}@0"), simulated / "v1", "ramp", "rateints")
    add(pool, simulated / "v2")
    assert exposures(pool) == [{"raw": 0}, {"raw": 0, "ramp": 0, "rateints": 0}, {"ramp": 1, "rateints": 1, "rate": 0}]
    (root,) = pool.lineage(f"RateInts/{NAME}@1")
    assert (root.row.kind, root.row.version) == ("Ramp", 1)
    assert root.source is not None
    assert root.source.how == "unknown"
    assert [(row.kind, row.version) for row in root.source.candidates] == [("Raw", 0), ("Raw", 1)]
    drawn = call("lineage", "jpl8", f"RateInts/{NAME}@1").stdout
    assert f"made from: unknown; Raw/{NAME}@0, Raw/{NAME}@1 match its header equally well" in drawn
    (record,) = json.loads(call("lineage", "jpl8", f"RateInts/{NAME}@1", "--json").stdout)
    assert record["source"]["how"] == "unknown"
    assert [row["version"] for row in record["source"]["candidates"]] == [0, 1]
    assert "Ramp@1" not in str([(node.row.kind, node.row.version) for node in pool.lineage(f"Raw/{NAME}@0")[0].walk()])
    (root,) = pool.lineage(f"Ramp/{NAME}@0")
    assert (root.row.kind, root.row.version) == ("Raw", 0)
    assert [use.row.version for use in pool.uses(f"Raw/{NAME}@1")] == []


def test_the_header_chooses(pool: Pool, simulated: Path) -> None:
    add(pool, simulated / "uncal")
    other_raw(pool, NGROUPS=3)
    other_raw(pool, NINTS=7)
    add(pool, simulated / "v1")
    (root,) = pool.lineage(f"Ramp/{NAME}")
    assert (root.row.kind, root.row.version, root.into[0].source.how) == ("Raw", 0, "inferred")  # type: ignore[union-attr]


def test_the_same_raw_twice_is_one(pool: Pool, simulated: Path) -> None:
    (uncal,) = (simulated / "uncal").iterdir()
    add(pool, uncal)
    pool.save(uncal, force=True, pixels=False)
    add(pool, simulated / "v1")
    (root,) = pool.lineage(f"Ramp/{NAME}")
    assert (root.row.kind, root.row.version) == ("Raw", 0)


def test_without_a_raw_it_is_unknown(pool: Pool, simulated: Path) -> None:
    add(pool, simulated / "v1")
    (root,) = pool.lineage(f"Ramp/{NAME}")
    assert root.source is not None
    assert (root.source.how, root.source.candidates) == ("unknown", ())
    drawn = call("lineage", "jpl8", f"Ramp/{NAME}").stdout
    assert f"made from: unknown; no Raw/{NAME} in this pool matches its header" in drawn


def test_an_input_that_is_elsewhere_is_recorded(pool: Pool) -> None:
    ref = pool.save(
        Ramp({}, {"SCI": np.ones((1, 2, 3, 4), "f4")}, name="x"),
        history=[{"inputs": ["urn:far away:Raw:3"]}],
        pixels=False,
    )
    (root,) = pool.lineage(ref)
    assert root.source is not None
    assert (root.source.how, root.source.why) == ("recorded", "urn:far away:Raw:3, which is not in this pool")
    assert (
        "made from: recorded; urn:far away:Raw:3, which is not in this pool" in call("lineage", "jpl8", ref.urn).stdout
    )


@pytest.mark.slow
def test_references_are_shown_once(pool: Pool, simulated: Path) -> None:
    add(pool, simulated / "uncal", simulated / "v1")
    drawn = call("lineage", "jpl8", f"Raw/{NAME}").stdout
    assert drawn.count("gain=") == 1
    raw = pool.ref(f"Raw/{NAME}")
    files = {"R_GAIN": {"name": "my_gain.fits"}, "R_READNO": {"name": "noise.fits"}}
    step = {"tool": "jwst", "inputs": [raw.urn], "references": files}
    step["parameters"] = {"overrides": {"gain": "my_gain.fits", "unused": "x.fits"}, "skip": ["reset"]}
    made = pool.save(Ramp({}, {"SCI": np.ones((1, 2, 3, 4), "f4")}, name="y"), history=[step], pixels=False)
    lines = [line.strip() for line in call("lineage", "jpl8", made.urn).stdout.splitlines()]
    assert "references gain=my_gain.fits (override), readno=noise.fits" in lines
    assert "overrides unused=x.fits" in lines
    assert "skip reset" in lines
    (record,) = json.loads(call("lineage", "jpl8", f"Rate/{NAME}", "--json").stdout)
    assert record["into"][0]["into"][0]["references"]["R_GAIN"]


# Removing


@pytest.mark.slow
def test_a_file_just_added_is_removed_without_more_ado(pool: Pool, simulated: Path) -> None:
    add(pool, simulated / "uncal", simulated / "v1")
    told = call("rm", "jpl8", f"Ramp/{NAME}@0")
    assert told.exit_code == 0
    assert "removing urn:jpl8:Ramp:" in told.stderr
    assert f"removing urn:jpl8:Exposure:4  Exposure/{NAME}@0, which refers to one of these\n" in told.stderr
    assert told.stderr.count("which refers to") == 1
    assert exposures(pool) == []
    assert {ref.kind for ref in pool.select("1")} == {"Raw", "RateInts", "Rate"}
    told = call("restore", "jpl8", f"Ramp/{NAME}@0")
    assert "restored 1 of 1 version, and 1 more that belong to them" in told.stderr
    assert exposures(pool) == [numbered(0)]
    add(pool, simulated / "uncal", simulated / "v1")
    assert exposures(pool) == [numbered(0)]


def test_the_exposure_comes_back_with_the_last_of_its_parts(pool: Pool, simulated: Path) -> None:
    add(pool, simulated / "v1")
    assert pool.remove([f"Ramp/{NAME}", f"Rate/{NAME}"]) == 3
    assert pool.restore(f"Ramp/{NAME}") == 1
    assert exposures(pool) == []
    assert pool.restore(f"Rate/{NAME}") == 2
    assert exposures(pool) == [numbered(0, ALL[1:])]
    pool.remove(f"Exposure/{NAME}")
    pool.remove(f"Ramp/{NAME}")
    assert pool.restore(f"Ramp/{NAME}") == 1  # the exposure went for itself
    assert exposures(pool) == []


def test_added_again_after_a_part_went(pool: Pool, simulated: Path) -> None:
    add(pool, simulated / "uncal", simulated / "v1")
    pool.remove(f"Rate/{NAME}")
    add(pool, simulated / "uncal", simulated / "v1" / f"{NAME}_ramp.fits", simulated / "v1" / f"{NAME}_rateints.fits")
    assert exposures(pool) == [numbered(0, ALL[:3])]


def test_contexts_of_users_still_hold(pool: Pool, simulated: Path) -> None:
    add(pool, simulated / "v1")
    pool.save(Context({"mine": f"Ramp/{NAME}"}, name="mine"))
    with pytest.raises(Conflict, match=r"Context/mine@0\).*--cascade") as caught:
        pool.remove(f"Ramp/{NAME}")
    assert "Exposure" not in str(caught.value)
    assert pool.remove(f"Rate/{NAME}") == 2
    pool.restore(f"Rate/{NAME}")
    pool.save(Context({"of": f"Exposure/{NAME}"}, name="of"))
    with pytest.raises(Conflict, match=r"Context/of@0"):
        pool.remove(f"Rate/{NAME}")
    own = pool.save(pool.ref(f"Exposure/{NAME}").product.replace(flat=f"Rate/{NAME}"))
    with pytest.raises(Conflict, match=rf"Exposure/{NAME}@{own.version}"):
        pool.remove([f"Rate/{NAME}", "Context/of"])
    assert pool.select(Exposure).size() == 1
    assert pool.select(Raw).size() == 0


def test_the_same_calibration_of_two_raws_is_two_runs(pool: Pool, simulated: Path) -> None:
    add(pool, simulated / "uncal")
    as_made(pool, other_raw(pool), simulated / "v1", "ramp", "rateints")
    add(pool, simulated / "v1" / f"{NAME}_rate.fits")  # it may be from the one or the other
    assert exposures(pool) == [{"raw": 0}, {"raw": 1, "ramp": 0, "rateints": 0}, {"rate": 0}]


def test_a_raw_in_the_trash_is_in_no_new_exposure(pool: Pool, simulated: Path) -> None:
    add(pool, simulated / "uncal")
    raw = pool.ref(f"Raw/{NAME}")
    ramp = pool.save(simulated / "v1" / f"{NAME}_ramp.fits", history=[{"inputs": [raw.urn]}], pixels=False)
    pool.remove(raw)
    (made,) = saving.keep_exposures(core_of(pool), [ramp])
    assert list(made.product.refs) == ["ramp"]
    (root,) = pool.lineage(ramp)
    assert (root.row.kind, root.into[0].source.how) == ("Raw", "recorded")  # type: ignore[union-attr]
