"""Where versions come from and where they went, and how two of them differ."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from homes import call

from miripool import Context, Pool, Product, Ramp, Rate, RateInts, Raw
from miripool.errors import ProductNotFound
from miripool.pool.core import core_of
from miripool.pool.ingest import find_files, ingest
from miripool.pool.lineage import Descent

NAME = "jw01033005001_03103_00001_mirimage"


def add(pool: Pool, *folders: Path) -> None:
    assert all(outcome.error is None for outcome in ingest(pool, find_files([str(f) for f in folders])))


def tree(node: Descent) -> object:
    return {f"{node.row.kind}@{node.row.version}": [tree(below) for below in node.into]}


def made(kind: type[Product], name: str, value: float, **cards: object) -> Product:
    shape = {Raw: (1, 2, 3, 4), Ramp: (1, 2, 3, 4), RateInts: (1, 3, 4)}.get(kind, (3, 4))
    dtype = "u2" if kind is Raw else "f4"
    return kind(dict(cards), {"SCI": np.full(shape, value, dtype)}, name=name)


def step(raw: object, gain: str = "gain_1.fits", digest: str = "0" * 32) -> list[dict[str, object]]:
    references = {"R_GAIN": {"name": gain, "digest": digest}}
    return [{"tool": "jwst", "version": "3", "context": "jwst_1.pmap", "inputs": [str(raw)], "references": references}]


# Lineage


@pytest.mark.slow
def test_raw_to_ramp_to_rateints(pool: Pool, simulated: Path) -> None:
    add(pool, simulated / "uncal", simulated / "v1")
    add(pool, simulated / "v2")
    (root,) = pool.lineage(f"Raw/{NAME}")
    slopes = [{"RateInts@0": []}, {"Rate@0": []}], [{"RateInts@1": []}, {"Rate@1": []}]
    drawn = tree(root)
    for branch in drawn["Raw@0"]:  # type: ignore[index]
        for below in branch.values():
            below.sort(key=str)
    assert drawn == {
        "Raw@0": [{"Ramp@0": sorted(slopes[0], key=str)}, {"Ramp@1": sorted(slopes[1], key=str)}],
    }
    (root,) = pool.lineage(f"RateInts/{NAME}@1")
    assert tree(root) == {"Raw@0": [{"Ramp@1": [{"RateInts@1": []}]}]}
    assert [node.asked for node in root.walk()] == [False, False, True]
    asked = list(root.walk())[-1]
    assert asked.references["R_GAIN"].endswith(".fits")
    assert [context.kind for context in asked.contexts] == ["Exposure"]


@pytest.mark.slow
def test_a_history_says_what_it_was_made_from(pool: Pool) -> None:
    raw, other = pool.save(made(Raw, "r", 1), pixels=False), pool.save(made(Raw, "other", 2), pixels=False)
    combined = pool.save(made(Rate, "both", 3), history=[{"inputs": [str(raw.urn), str(other.urn)], "tool": "mean"}])
    final = pool.save(made(Rate, "final", 4), history=[{"inputs": [str(combined.urn), "urn:elsewhere:Raw:0", "words"]}])
    roots = pool.lineage(final)
    assert [tree(root) for root in roots] == [{"Raw@0": [{"Rate@0": [{"Rate@0": []}]}]}] * 2
    assert [root.row.name for root in roots] == ["r", "other"]
    assert [use.row.name for use in pool.uses(raw)] == ["both", "final"]
    assert pool.uses(final) == []


@pytest.mark.slow
@pytest.mark.parametrize("history", [[{"inputs": "no list"}], [{"references": [1]}], [{"inputs": [None, 5]}], [{}]])
def test_histories_may_say_anything(pool: Pool, history: list[dict[str, object]]) -> None:
    odd = [*history, {"references": {"R_X": 5, "R_Y": {"name": None}, "R_Z": {"name": "z", "digest": 7}}}]
    ref = pool.save(made(Rate, "x", 1), history=odd)
    (root,) = pool.lineage(ref)
    assert tree(root) == {"Rate@0": []}
    assert call("lineage", "jpl8", str(ref.urn)).exit_code == 0


def test_a_history_that_circles_ends(pool: Pool) -> None:
    first = pool.save(made(Rate, "a", 1), history=[{"inputs": ["urn:jpl8:Rate:1"]}])
    second = pool.save(made(Rate, "b", 2), history=[{"inputs": [str(first.urn)]}])
    (root,) = pool.lineage(second)
    assert [node.row.name for node in root.walk()] == ["a", "b", "a"]
    assert {use.row.name for use in pool.uses(first)} >= {"b"}


@pytest.mark.slow
def test_an_index_made_anew_knows_histories(pool: Pool) -> None:
    raw = pool.save(made(Raw, "r", 1), pixels=False)
    pool.save(made(Rate, "x", 1), history=step(raw.urn))
    before = core_of(pool).catalog.origins([1])
    assert [(o.what, o.name) for o in before] == [("R_GAIN", "gain_1.fits"), ("input", str(raw.urn))]
    pool.reindex()
    assert core_of(pool).catalog.origins([1]) == before


# Uses


def test_uses_of_a_reference_file(pool: Pool, simulated: Path) -> None:
    add(pool, simulated / "v1")
    gain = str(pool.ref(f"Rate/{NAME}").meta["R_GAIN"].value)
    found = pool.uses(gain)
    assert sorted(use.row.kind for use in found) == ["Ramp", "Rate", "RateInts"]
    assert {use.how for use in found} == {"reference R_GAIN"}
    assert pool.uses(gain.removeprefix("crds://")) == found
    with pytest.raises(ProductNotFound, match=r"no version was calibrated with a reference file 'no_such\.fits'"):
        pool.uses("no_such.fits")


def test_uses_of_a_reference_saved_as_a_product(pool: Pool, simulated: Path, tmp_path: Path) -> None:
    from miripool.simulate import simulate_exposure, write_references

    (path,) = write_references(simulate_exposure(ngroups=4), tmp_path, kinds=("gain",)).values()
    gain = pool.save(path)
    assert (gain.kind, gain.name) == ("Product", path.stem)
    by_name = pool.save(made(Rate, "by name", 1, R_GAIN=path.name))
    digest = core_of(pool).catalog.rows([gain.serial])[0].file_digest
    by_digest = pool.save(made(Rate, "by digest", 2), history=step("urn:jpl8:Raw:99", "renamed.fits", str(digest)))
    assert [use.row.serial for use in pool.uses(gain)] == [by_name.serial, by_digest.serial]


def test_uses_by_contexts(pool: Pool) -> None:
    dark = pool.save(made(Rate, "dark", 1))
    pool.save(Context({"dark": dark, "again": dark}, name="c"))
    (use,) = pool.uses(dark)
    assert (use.row.kind, use.how) == ("Context", "refers to it as again, dark")
    pool.remove([dark, pool.ref("Context/c")])
    assert pool.uses("urn:jpl8:Rate:0") == []


@pytest.mark.slow
def test_on_the_command_line(pool: Pool, simulated: Path) -> None:
    add(pool, simulated / "uncal", simulated / "v1")
    drawn = call("lineage", "jpl8", f"RateInts/{NAME}").stdout
    assert [line.split("@")[0].strip(" └─") for line in drawn.splitlines() if "@0  urn" in line] == [
        f"Raw/{NAME}",
        f"Ramp/{NAME}",
        f"RateInts/{NAME}",
    ]
    assert "gain=" in drawn
    assert f"in Exposure/{NAME}@0" in drawn
    assert "← this" in drawn
    (told,) = json.loads(call("lineage", "jpl8", f"Raw/{NAME}", "--json").stdout)
    assert told["asked"]
    assert told["into"][0]["kind"] == "Ramp"
    used = json.loads(call("uses", "jpl8", f"Raw/{NAME}", "--json").stdout)
    assert {"urn", "kind", "name", "version", "tags", "created", "bytes", "how"} <= set(used[0])
    assert "made from" in call("uses", "jpl8", f"Raw/{NAME}").stdout
    assert call("uses", "jpl8", f"Rate/{NAME}", "--csv").stdout.count("\n") == 2


# Differences


def test_elements_that_differ(pool: Pool) -> None:
    sci = np.zeros((2, 3, 40, 50), "f4")
    sci[0, 0, 0, 0] = np.nan
    dq = np.zeros((2, 3, 40, 50), "u1")
    first = pool.save(Ramp({}, {"SCI": sci, "GROUPDQ": dq}, name="x"), pixels=False)
    sci[1, 2, 30, 20] = -3.5
    sci[0, 1, 5, 5] = 1
    sci[0, 0, 0, 1] = np.nan
    dq[0, 0, :2, :5] = 4
    dq[1, 1, 1, 1] = 3
    second = pool.save(Ramp({}, {"SCI": sci, "GROUPDQ": dq}, name="x"), pixels=False)
    sci, flags = pool.diff(first, second).elements
    assert (sci.dataset, sci.count, sci.size, sci.largest) == ("SCI", 3, 12000, 3.5)
    assert (sci.at, sci.old, sci.new) == ((1, 2, 30, 20), 0, -3.5)
    assert (flags.count, flags.largest) == (11, None)
    assert flags.flags == {"DO_NOT_USE": (1, 0), "SATURATED": (1, 0), "JUMP_DET": (10, 0)}
    back = pool.diff(second, first).elements[1]
    assert back.flags == {"DO_NOT_USE": (0, 1), "SATURATED": (0, 1), "JUMP_DET": (0, 10)}
    assert pool.diff(first, second, elements=False).elements == ()
    log = call("log", "jpl8", "Ramp/x").stdout
    assert "SCI: 3 of 12000 elements differ, by up to 3.5 at [1, 2, 30, 20]" in log
    assert "GROUPDQ: 11 of 12000 elements differ: DO_NOT_USE +1 -0" in log


def test_forms_and_tables_that_differ(pool: Pool, simulated: Path) -> None:
    one = pool.save(Product({}, {"A": np.zeros((3, 4), "f4"), "B": np.arange(3, dtype="i2")}, name="p"))
    two = pool.save(Product({}, {"A": np.zeros((3, 5), "f4"), "B": np.arange(3, dtype="i4")}, name="p"))
    assert [str(change) for change in pool.diff(one, two).elements] == [
        "A: float32 (3, 4) → float32 (3, 5)",
        "B: int16 (3,) → int32 (3,)",
    ]
    ramp = pool.save(next((simulated / "v1").glob("*_ramp.fits"))).product
    table = ramp["INT_TIMES"].source[...].copy()
    table[table.dtype.names[0]][1] += 7
    changed = pool.save(ramp.replace(INT_TIMES=table))
    (change,) = pool.diff(ramp.ref, changed).elements
    assert (change.count, change.size) == (1, 3)
    assert change.columns == (table.dtype.names[0],)


@pytest.mark.slow
def test_diff_on_the_command_line(pool: Pool, simulated: Path) -> None:
    add(pool, simulated / "v1", simulated / "v2")
    shown = call("diff", "jpl8", f"RateInts/{NAME}@0", f"RateInts/{NAME}@1").stdout
    assert shown.startswith(f"RateInts/{NAME}@0 → RateInts/{NAME}@1\n")
    assert "CRDS_CTX: jwst_9001.pmap → jwst_9002.pmap" in shown
    assert "the same: DQ, INT_TIMES" in shown
    assert call("diff", "jpl8", f"RateInts/{NAME}").stdout == shown
    told = json.loads(call("diff", "jpl8", f"RateInts/{NAME}", "--json").stdout)
    sci = next(change for change in told["elements"] if change["dataset"] == "SCI")
    before, after = (pool.ref(f"RateInts/{NAME}@{n}").product["SCI"][...] for n in (0, 1))
    assert sci["differ"] == np.count_nonzero((before != after) & ~(np.isnan(before) & np.isnan(after)))
    assert sci["largest"] == pytest.approx(np.nanmax(np.abs(after.astype(float) - before)))
    with pytest.raises(ProductNotFound, match="is the first version"):
        call("diff", "jpl8", f"RateInts/{NAME}@0")
    same = call("diff", "jpl8", f"RateInts/{NAME}@0", f"RateInts/{NAME}@0").stdout
    assert "no difference" in same
