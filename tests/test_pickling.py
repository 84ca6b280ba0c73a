"""References, results and pools go to other processes."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import homes
import numpy as np
import pytest

from miripool import Home, Pool, ProductRef, Rate
from miripool.errors import PoolNotFound

home = homes.home


@pytest.fixture
def refs(pool: Pool) -> list[ProductRef]:
    return [pool.save(Rate({"N": n}, {"SCI": np.full((4, 5), n, "f4")}, name=f"r {n}"), tag="t") for n in range(3)]


def mean(ref: ProductRef) -> tuple[str, tuple[str, ...], float]:
    return ref.urn, ref.tags, float(np.asarray(ref.product["SCI"]).mean())


def test_a_reference(refs: list[ProductRef]) -> None:
    ref = refs[1]
    assert ref.product is not None  # what was loaded does not travel
    sent = pickle.dumps(ref)
    assert len(sent) < 2000
    back = pickle.loads(sent)
    assert (back, back.urn, back.version, back.created, back.notice) == (ref, ref.urn, 0, ref.created, ref.notice)
    assert mean(back) == mean(ref)
    assert back.pool is pickle.loads(sent).pool


def test_a_result(pool: Pool, refs: list[ProductRef]) -> None:
    found = pool.select("N > 0", order="-N")
    back = pickle.loads(pickle.dumps(found))
    assert [ref.urn for ref in back] == [ref.urn for ref in found] == [refs[2].urn, refs[1].urn]
    assert list(back.to_table()["urn"]) == [refs[2].urn, refs[1].urn]


def test_a_pool(pool: Pool, refs: list[ProductRef]) -> None:
    back = pickle.loads(pickle.dumps(pool))
    assert (back.name, back.id) == (pool.name, pool.id)
    assert back.select().size() == 3


@pytest.mark.slow
def test_in_other_processes(refs: list[ProductRef]) -> None:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        found = list(executor.map(mean, refs))
    assert found == [mean(ref) for ref in refs]


def test_a_pool_that_is_another_one_now(home: Home, pool: Pool, refs: list[ProductRef], tmp_path: Path) -> None:
    sent = pickle.dumps(refs[0])
    home.delete("jpl8")
    with pytest.raises(PoolNotFound):
        pickle.loads(sent)
    home.create("jpl8").close()
    with pytest.raises(PoolNotFound, match="now belongs to another pool than when it was pickled"):
        pickle.loads(sent)
    shutil.rmtree(home.path / "pools")
    with pytest.raises(PoolNotFound):
        pickle.loads(sent)
