"""Contexts: products that refer to products, and the exposures that adding and reprocessing keep."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from homes import call

from miripool import Context, Exposure, Home, Pool, Product, Ramp, Rate, RateInts, Raw
from miripool.errors import AmbiguousSpec, Conflict, IntegrityError, InvalidInput, ProductNotFound
from miripool.pool import save as saving
from miripool.pool.core import core_of
from miripool.pool.ingest import find_files, ingest
from miripool.pool.trash import in_trash
from miripool.store.manifest import Manifest

NAME = "jw01033005001_03103_00001_mirimage"


def add(pool: Pool, *folders: Path) -> None:
    assert all(outcome.error is None for outcome in ingest(pool, find_files([str(f) for f in folders])))


def made(name: str, value: float = 1) -> Product:
    return Rate({"DETECTOR": "MIRIMAGE"}, {"SCI": np.full((3, 4), value, "f4")}, name=name)


def entries(pool: Pool) -> int:
    return len(list(core_of(pool).archive.storage.files.path("journal").iterdir()))


# Contexts in general


def test_a_context_keeps_versions(pool: Pool) -> None:
    first, second = pool.save(made("a")), pool.save(made("b"))
    ref = pool.save(Context({"dark": first, "flat": str(second.urn)}, meta={"TELESCOP": "JWST"}, name="references"))
    assert (ref.kind, ref.version, ref.meta["TELESCOP"].value) == ("Context", 0, "JWST")
    pool.save(made("a", 2))
    context = pool.load(ref.urn).product
    assert isinstance(context, Context)
    assert list(context.refs) == ["dark", "flat"]
    assert context.refs["dark"] == first
    assert context.refs["dark"].version == 0
    assert context.refs["dark"].product["SCI"][0, 0] == 1
    (link, _) = context.links
    assert (link.name, link.kind, link.product, link.version, link.serial) == ("dark", "Rate", "a", 0, first.serial)
    assert link.manifest == core_of(pool).catalog.rows([first.serial])[0].manifest


def test_what_is_new_in_it_is_saved_with_it(pool: Pool) -> None:
    old = pool.save(made("old"))
    inner = Context({"x": made("x")}, name="inner")
    before = entries(pool)
    ref = pool.save(Context({"old": old, "new": made("new"), "inner": inner, "again": inner}, name="outer"), tag="good")
    assert entries(pool) == before + 1  # all of it
    refs = ref.product.refs
    assert refs["inner"] == refs["again"]
    assert refs["inner"].product.refs["x"].product["SCI"][0, 0] == 1
    assert {r.urn for r in pool.tagged("good")} >= {old.urn, refs["new"].urn, refs["inner"].urn, ref.urn}
    assert len(pool.tagged("good")) == 5
    before = entries(pool)
    again = pool.save(Context({"old": old, "new": made("new"), "inner": inner, "again": inner}, name="outer"))
    assert (again.version, again.notice, entries(pool)) == (0, "unchanged: version 0", before)


def test_a_loaded_product_is_referred_to_not_saved(pool: Pool) -> None:
    ref = pool.save(made("a"))
    context = pool.save(Context({"a": ref.product}, name="c"))
    assert context.product.refs["a"] == ref
    changed = ref.product.replace(SCI=np.zeros((3, 4), "f4"))
    other = pool.save(context.product.replace(a=changed, b=ref))
    assert other.version == 1
    assert [r.version for r in other.product.refs.values()] == [1, 0]
    assert list(pool.save(other.product.replace(b=None)).product.refs) == ["a"]
    assert list(pool.load("Context/c@0").product.refs) == ["a"]


@pytest.mark.slow
def test_a_result_as_a_context(pool: Pool, simulated: Path) -> None:
    add(pool, simulated / "v1", simulated / "v2")
    ref = pool.save(pool.select("kind == 'Rate'", all_versions=True).to_context("darks 2026"))
    assert list(ref.product.refs) == [f"Rate/{NAME}@0", f"Rate/{NAME}@1"]
    assert pool.save(pool.select(Rate, all_versions=True).to_context("darks 2026")).notice == "unchanged: version 0"
    assert pool.save(pool.select("ngroups > 1e9").to_context("nothing")).product.refs == {}


def test_cycles_and_other_mistakes(pool: Pool, home: Home) -> None:
    inner = Context(name="inner")
    outer = Context({"inner": inner}, name="outer")
    object.__setattr__(inner, "_given", {"outer": outer})
    with pytest.raises(InvalidInput, match="refers to itself"):
        pool.save(outer)
    with pytest.raises(InvalidInput, match="is a int; give a ProductRef"):
        pool.save(Context({"a": 5}, name="c"))
    with pytest.raises(ProductNotFound):
        pool.save(Context({"a": "Rate/nobody"}, name="c"))
    with pytest.raises(InvalidInput, match="can't be the name of a reference"):
        Context({"": made("a")})
    with pytest.raises(InvalidInput, match="needs a name"):
        pool.save(Context({"a": made("a")}))
    with home.create("other") as other:
        theirs = other.save(made("theirs"))
        with pytest.raises(InvalidInput, match="in another pool"):
            pool.save(Context({"a": theirs}, name="c"))
    gone = pool.save(made("gone"))
    pool.remove(gone)
    with pytest.raises(Conflict, match="in the trash"):
        pool.save(Context({"a": gone}, name="c"))
    assert entries(pool) == 2


def test_contexts_are_asked_for_by_their_kind(pool: Pool) -> None:
    pool.save(Context({"a": made("a")}, meta={"DETECTOR": "MIRIMAGE"}, name="c"))
    assert [ref.kind for ref in pool.select("DETECTOR == 'MIRIMAGE'")] == ["Rate"]
    assert [ref.kind for ref in pool.select(Context)] == ["Context"]
    assert pool.select(Product).size() == 1
    assert "Context" in call("ls", "jpl8", "--kind", "Context").stdout
    assert pool.ref("c").kind == "Context"


def test_a_manifest_with_references_reads_back(pool: Pool) -> None:
    ref = pool.save(Context({"a": made("a")}, name="c"))
    manifest = core_of(pool).manifest(core_of(pool).catalog.rows([ref.serial])[0])
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest
    broken = manifest.to_bytes().replace(b'"serial":0', b'"serial":-1')
    with pytest.raises(Exception, match="can't be read"):
        Manifest.from_bytes(broken)


def test_an_index_made_anew_knows_references(pool: Pool) -> None:
    inside = pool.save(made("a"))
    ref = pool.save(Context({"a": inside}, name="c"))
    pool.reindex()
    assert [row.serial for row in core_of(pool).catalog.referring([inside.serial])] == [ref.serial]


# Removing and tagging


def test_what_a_context_refers_to_is_not_removed(pool: Pool) -> None:
    a, b = pool.save(made("a")), pool.save(made("b"))
    inner = pool.save(Context({"a": a}, name="inner"))
    outer = pool.save(Context({"inner": inner, "b": b}, name="outer"))
    with pytest.raises(Conflict, match=r"urn:jpl8:Context:2 .*--cascade"):
        pool.remove(a)
    with pytest.raises(Conflict):
        pool.remove([a, inner])
    told = call("rm", "jpl8", "Rate/a", "--cascade", "--dry-run")
    assert told.stderr.count("would remove") == 3
    assert pool.remove(a, cascade=True) == 3
    assert [ref.removed is not None for ref in map(partial(in_trash, core_of(pool)), (a, inner, outer))] == [True] * 3
    assert pool.remove(b) == 1  # nothing living refers to it any more
    assert pool.restore([a, b, inner, outer]) == 4


def test_all_at_once_may_go(pool: Pool) -> None:
    a = pool.save(made("a"))
    c = pool.save(Context({"a": a}, name="c"))
    assert pool.remove([a, c]) == 2


def test_a_tag_reaches_what_a_context_refers_to(pool: Pool) -> None:
    old = pool.save(made("a"))
    context = pool.save(Context({"a": old}, name="c"))
    new = pool.save(made("a", 2))
    assert pool.tag(context, "frozen") == 2
    assert [ref.serial for ref in pool.tagged("frozen")] == [old.serial, context.serial]
    with pytest.raises(InvalidInput, match="only one version of a product"):
        pool.tag([context, new], "both")
    with pytest.raises(InvalidInput, match="only one version of a product"):
        pool.save(Context({"old": context, "new": new}, name="d"), tag="both")
    assert [str(row) for row in pool.select(Context)] == [str(context)]
    assert pool.save(Context({"inner": context, "x": made("x")}, name="d"), tag="frozen").tags == ("frozen",)
    assert {ref.name for ref in pool.tagged("frozen")} == {"a", "c", "d", "x"}


# Exposures


@pytest.mark.slow
def test_adding_keeps_the_exposure(pool: Pool, simulated: Path) -> None:
    add(pool, simulated / "uncal", simulated / "v1")
    (exposure,) = pool.select(Exposure)
    assert (exposure.name, exposure.version, exposure.meta["SUBARRAY"].value) == (NAME, 0, "SUB64")
    refs = exposure.product.refs
    assert {name: (ref.kind, ref.version) for name, ref in refs.items()} == {
        "raw": ("Raw", 0), "ramp": ("Ramp", 0), "rateints": ("RateInts", 0), "rate": ("Rate", 0),
    }  # fmt: skip
    assert refs["ramp"].product["SCI"].shape == (3, 8, 64, 72)
    add(pool, simulated / "v2")
    second = pool.load(f"Exposure/{NAME}").product
    assert {name: ref.version for name, ref in second.refs.items()} == {"raw": 0, "ramp": 1, "rateints": 1, "rate": 1}
    assert second.refs["raw"] == refs["raw"]
    before = entries(pool)
    add(pool, simulated / "v1", simulated / "uncal", simulated / "v2")
    add(pool, simulated / "v1" / f"{NAME}_ramp.fits")
    assert entries(pool) == before
    assert len(pool.versions(f"Exposure/{NAME}")) == 2


@pytest.mark.slow
def test_looking_at_an_exposure_opens_no_array(pool: Pool, simulated: Path) -> None:
    add(pool, simulated / "uncal", simulated / "v1")
    storage = core_of(pool).archive.storage
    storage.files.path("blobs").rename(storage.files.path("elsewhere"))
    (exposure,) = pool.select(Exposure)
    product = exposure.product
    assert [ref.product.data.shape for ref in product.refs.values()] == [
        (3, 8, 64, 72),
        (3, 8, 64, 72),
        (64, 72),
        (3, 64, 72),
    ]
    assert pool.lineage(product.refs["rateints"])[0].row.kind == "Raw"
    with pytest.raises(IntegrityError, match="is missing"):
        product.refs["ramp"].product["SCI"][0, 0, 0, 0]


def test_an_exposure_is_made_up_for(pool: Pool, simulated: Path) -> None:
    for path in sorted((simulated / "v1").iterdir()):
        pool.save(path)
    assert pool.select(Exposure).size() == 0
    add(pool, simulated / "v1" / f"{NAME}_ramp.fits")
    assert list(pool.load(f"Exposure/{NAME}").product.refs) == ["ramp"]
    add(pool, simulated / "v1")
    assert sorted(pool.load(f"Exposure/{NAME}").product.refs) == ["ramp", "rate", "rateints"]


def test_a_name_still_means_the_product(pool: Pool, simulated: Path) -> None:
    add(pool, simulated / "uncal")
    assert pool.ref(NAME).kind == "Raw"
    add(pool, simulated / "v1")
    with pytest.raises(AmbiguousSpec, match=rf"Raw/{NAME}, Ramp/{NAME}, RateInts/{NAME}, Rate/{NAME}; give the kind$"):
        pool.ref(NAME)
    with pytest.raises(ProductNotFound):
        pool.ref(f"Context/{NAME}")


@pytest.mark.slow
def test_exposures_on_the_command_line(pool: Pool, simulated: Path) -> None:
    assert call("add", "jpl8", simulated / "uncal", simulated / "v1").exit_code == 0
    assert call("add", "jpl8", simulated / "v2", "--tag", "cal v2").exit_code == 0
    shown = call("show", "jpl8", f"Exposure/{NAME}").stdout
    assert "rateints" in shown
    assert "urn:jpl8:RateInts:" in shown
    told = json.loads(call("show", "jpl8", f"Exposure/{NAME}", "--json").stdout)
    assert [row["reference"] for row in told["references"]] == ["raw", "ramp", "rate", "rateints"]
    log = call("log", "jpl8", f"Exposure/{NAME}").stdout
    assert f"reference ramp: Ramp/{NAME}@0 → Ramp/{NAME}@1" in log
    assert call("rm", "jpl8", f"Ramp/{NAME}@0").exit_code == 0
    assert [ref.version for ref in pool.versions(f"Exposure/{NAME}")] == [1]


UPDATE = """
import sys
from miripool import Home, Ramp
import numpy as np
from miripool.pool import save as saving
with Home().pool("jpl8") as pool:
    for i in range(6):
        kind = sys.argv[1]
        source = pool.ref(f"{kind}/e@0").product
        ref = pool.save(source.replace(SCI=source["SCI"][...] + i + 1))
        saving.keep_exposures(pool._core, [ref])
"""


@pytest.mark.slow
def test_two_who_change_an_exposure_at_once(pool: Pool) -> None:
    ramp = Ramp({"NGROUPS": 2}, {"SCI": np.ones((1, 2, 3, 4), "f4")}, name="e")
    rateints = RateInts({"NINTS": 1}, {"SCI": np.ones((1, 3, 4), "f4")}, name="e")
    saving.keep_exposures(core_of(pool), [pool.save(ramp, pixels=False), pool.save(rateints, pixels=False)])
    running = [subprocess.Popen([sys.executable, "-c", UPDATE, kind]) for kind in ("Ramp", "RateInts")]
    assert [process.wait(120) for process in running] == [0, 0]
    core_of(pool).catch_up()
    versions: list[Any] = [ref.product for ref in pool.versions("Exposure/e")]
    assert len(versions) == 13
    assert {name: ref.version for name, ref in versions[-1].refs.items()} == {"ramp": 6, "rateints": 6}
    for before, after in itertools.pairwise(versions):
        changed = [name for name in after.refs if before.refs[name] != after.refs[name]]
        assert len(changed) == 1


def test_other_kinds_have_no_exposure(pool: Pool, tmp_path: Path) -> None:
    assert saving.keep_exposures(core_of(pool), [pool.save(Product({}, {"A": np.ones(3)}, name="x"))]) == []
    assert saving.keep_exposures(core_of(pool), []) == []
    raw = Raw({"NINTS": 1}, {"SCI": np.ones((1, 2, 3, 4), "u2")}, name="r")
    (exposure,) = saving.keep_exposures(core_of(pool), [pool.save(raw, pixels=False)])
    assert exposure.meta["NINTS"].value == 1


def test_a_context_comes_back_with_what_it_refers_to(pool: Pool) -> None:
    a, b = pool.save(made("a")), pool.save(made("b"))
    inner = pool.save(Context({"a": a}, name="inner"))
    outer = pool.save(Context({"inner": inner, "b": b}, name="outer"))
    pool.remove([a, b], cascade=True)
    assert pool.trash().size() == 4
    assert pool.restore(outer) == 4
    assert pool.ref("Context/outer").product.refs["inner"].product.refs["a"].product["SCI"].shape
    pool.remove([a, b], cascade=True)
    pool.purge(a)
    with pytest.raises(Conflict, match=r"refer to versions that were removed for good: urn:jpl8:Rate:0"):
        pool.restore(outer)
    assert pool.restore(b) == 1
    assert pool.trash().size() == 2
