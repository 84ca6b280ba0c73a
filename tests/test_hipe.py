"""HIPE's words for pools: each as the design lists it, on real files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import homes
import numpy as np
import pytest

from miripool import (
    AttribQuery,
    FullQuery,
    Home,
    MetaQuery,
    Pool,
    PoolManager,
    Product,
    ProductStorage,
    Query,
    Ramp,
    Rate,
    RateInts,
)
from miripool.errors import AlreadyExists, AmbiguousSpec, PoolNotFound, ProductNotFound, ReadOnly, TagNotFound

home = homes.home
NAME = "jw01033005001_03103_00001_mirimage"

# DESIGN's data-mining script, as it stands there.
SCRIPT = """
storage = ProductStorage(PoolManager.getPool("temp1"))
def testImage(i):
    if i.type != "RateInts":
        return False
    return i.data.max() >= 1.0
refs = storage.select(FullQuery(RateInts, "i", "testImage(i)"))
print(refs.size(), "images found")
for ref in refs:
    print(ref.meta["obs_id"].value)
"""


@pytest.fixture
def temp1(home: Home, simulated: Path) -> Pool:
    pool = PoolManager.getPool("temp1", create=True)
    for kind in ("rateints", "ramp"):
        pool.save(simulated / "v2" / f"{NAME}_{kind}.fits")
    faint = np.full((2, 3, 4), 0.5, "f4")
    pool.save(RateInts({"INSTRUME": "MIRI", "NGROUPS": 8}, {"SCI": faint}, name="faint"))
    return pool


@pytest.mark.slow
def test_the_data_mining_script(temp1: Pool, tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(f"from miripool import FullQuery, PoolManager, ProductStorage, RateInts\n{SCRIPT}")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "1 images found\nV01033005001P0000000003103\n"


def test_pool_manager(home: Home) -> None:
    with pytest.raises(PoolNotFound, match=r"no pool 'temp1'.*`miripool create`"):
        PoolManager.getPool("temp1")
    with PoolManager.getPool("temp1", create=True) as made:
        assert made.name == "temp1"
    with PoolManager.getPool("temp1", create=True) as found, PoolManager.getPool("temp1", home=home.path) as again:
        assert found.id == again.id == made.id
    with pytest.raises(PoolNotFound, match="did you mean temp1"):
        PoolManager.getPool("temp")
    assert PoolManager.getPoolNames() == ["temp1"]


def test_registering(home: Home) -> None:
    first, second = (home.create(name) for name in ("one", "two"))
    storage = ProductStorage()
    with pytest.raises(ReadOnly, match="register"):
        storage.save("x.fits")
    with pytest.raises(ProductNotFound, match="register"):
        storage.load("anything")
    storage.register(first)
    storage.register("two")
    assert [pool.name for pool in storage.getPools()] == ["one", "two"]
    assert storage.getWritablePool() is first
    with pytest.raises(AlreadyExists, match="'two'"):
        storage.register(second)
    assert [p.name for p in ProductStorage(["two", first]).getPools()] == ["two", "one"]
    assert "one, two" in repr(storage)


@pytest.mark.slow
def test_the_vocabulary(home: Home, simulated: Path) -> None:
    first, second = (home.create(name) for name in ("one", "two"))
    storage = ProductStorage([first, second])
    path = simulated / "v1" / f"{NAME}_rate.fits"

    saved = storage.save(path)
    assert saved.urn == "urn:one:Rate:0"
    newer = storage.saveAs(simulated / "v2" / path.name, "newer")
    assert (newer.urn, newer.tags) == ("urn:one:Rate:1", ("newer",))
    elsewhere = second.save(path)

    assert storage.load("urn:one:Rate:0").urn == saved.urn
    assert storage.load("urn:two:Rate:0") == elsewhere
    assert storage.load("newer") == newer
    assert isinstance(storage.load("newer").product, Rate)
    assert storage.load(f"Rate/{NAME}") == newer
    assert storage.getHead(saved) == newer
    assert [ref.version for ref in storage.getVersions(newer.urn)] == [0, 1]

    storage.setTag("best", saved)
    assert storage.getTags(saved) == ["best"]
    assert storage.getTags("urn:one:Rate:1") == ["newer"]
    assert storage.getTags() == ["best", "newer"]
    assert storage.getUrnFromTag("best") == saved.urn
    storage.setTag("best", newer.urn)
    assert storage.getUrnFromTag("best") == newer.urn
    storage.setTag("best", elsewhere)
    assert storage.tagExists("best")
    for ask in (storage.getUrnFromTag, storage.load):
        with pytest.raises(AmbiguousSpec, match="urn:one:Rate:1, urn:two:Rate:0"):
            ask("best")
    storage.removeTag("best")
    assert not storage.tagExists("best")
    for act in (storage.removeTag, storage.getUrnFromTag):
        with pytest.raises(TagNotFound, match="best"):
            act("best")

    storage.remove("urn:two:Rate:0")
    assert second.select().size() == 0
    with pytest.raises(ProductNotFound, match="trash"):
        storage.load("urn:two:Rate:0")
    with pytest.raises(ProductNotFound, match="no pool 'three'"):
        storage.load("urn:three:Rate:0")
    with pytest.raises(ProductNotFound, match="nothing"):
        storage.load("nothing")


def test_queries(temp1: Pool) -> None:
    storage = ProductStorage(temp1)
    everything = storage.select(Query("1"))
    assert everything.size() == 3
    assert [ref.type for ref in everything] == ["RateInts", "Ramp", "RateInts"]
    # Subclasses match.
    assert storage.select(MetaQuery(Product, "p", "1")).size() == 3
    refs = storage.select(MetaQuery(Ramp, "p", "p.meta['ngroups'].value >= 8 and p.meta.containsKey('lamp')"))
    assert [ref.type for ref in refs] == ["Ramp"]
    assert storage.select(AttribQuery(Product, "p", "p.type == 'RateInts'")).size() == 2
    assert storage.select(Query("instrument=='MIRI' and ngroups>=20")).size() == 0
    assert storage.select(Query("instrument=='MIRI' and ngroups>=8")).size() == 3
    assert storage.select(FullQuery(RateInts, "p", "ANY(p.data > 1e9) or ALL(p.data < -1e9)")).size() == 0
    bright = storage.select(FullQuery(RateInts, "p", "p.data.max() >= 1.0"), everything)
    assert [ref.name for ref in bright] == [NAME]
    assert bright[0].product.meta["obs_id"].value == "V01033005001P0000000003103"
    temp1.save(bright[0].product.renamed("faint"))
    hidden = "p.data.max() < 1.0"
    assert storage.select(FullQuery(RateInts, "p", hidden)).size() == 0
    assert storage.select(FullQuery(RateInts, "p", hidden, allVersions=True)).size() == 1


def test_a_storage_sees_what_others_do(temp1: Pool, home: Home, simulated: Path) -> None:
    storage = ProductStorage("temp1")
    with home.pool("temp1") as other:
        other.save(simulated / "v1" / f"{NAME}_rate.fits", tag="late")
    assert storage.select(Rate).size() == 1
    assert storage.tagExists("late")


def test_former_names(temp1: Pool, home: Home) -> None:
    urn = temp1.ref("faint").urn
    with home.rename("temp1", "temp2") as renamed:
        storage = ProductStorage(renamed)
        assert storage.load(urn).urn == urn.replace("temp1", "temp2")
        assert storage.getTags(urn) == []
