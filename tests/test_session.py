"""What a pool offers in a session besides saving and selecting: looking after it, and giving it on."""

from __future__ import annotations

import pickle
from datetime import timedelta
from pathlib import Path

import homes
import numpy as np
import pytest
from homes import file_of

from miripool import Home, Pool, Rate
from miripool.errors import AlreadyExists, FileMissing, ProductNotFound
from miripool.pool.core import core_of

home = homes.home


def rate(value: float, name: str = "a") -> Rate:
    return Rate({"NGROUPS": 5}, {"SCI": np.full((3, 4), value, "f4")}, name=name)


@pytest.fixture
def filled(pool: Pool) -> Pool:
    pool.save(rate(1), tag="first")
    pool.save(rate(2))
    pool.save(rate(3, "b"))
    return pool


@pytest.fixture
def other(home: Home) -> Pool:
    return home.create("the other")


def test_a_copy(filled: Pool, other: Pool) -> None:
    done = filled.copy_to(other, filled.select("name == 'a'", all_versions=True))
    assert [(r.saved.status, r.saved.row.version, r.saved.row.tags) for r in done] == [
        ("new", 0, ("first",)),
        ("version", 1, ()),
    ]
    assert other.ref("Rate/a@1").product["SCI"][0, 0] == 2
    assert [r.saved.status for r in filled.copy_to(other)] == ["unchanged", "unchanged", "new"]
    assert other.select(all_versions=True).size() == 3
    assert [r.saved.row.tags for r in filled.copy_to(other, "Rate/a@0", tags=False)] == [("first",)]


def test_a_pack(filled: Pool, other: Pool, tmp_path: Path) -> None:
    file = tmp_path / "for you.tar"
    packed = filled.pack(file)
    assert (packed.versions, packed.bytes) == (3, file.stat().st_size)
    with pytest.raises(AlreadyExists):
        filled.pack(str(file))
    assert filled.pack(file, "Rate/b", overwrite=True).versions == 1
    assert [r.saved.row.name for r in other.unpack(str(file))] == ["b"]
    with pytest.raises(FileMissing):
        other.unpack(tmp_path / "none.tar")


@pytest.mark.slow
def test_whole_damaged_and_healed(filled: Pool, other: Pool) -> None:
    filled.copy_to(other)
    assert filled.verify(level="full").is_whole
    blob = file_of(filled.ref("Rate/b").product["SCI"].source)
    content = blob.read_bytes()
    blob.unlink()
    assert filled.verify("Rate/a").is_whole
    report = filled.verify()
    assert [finding.what for finding in report.findings] == ["blob"]
    assert filled.repair() != []
    steps = filled.repair([other.path], dry_run=True)
    assert not blob.exists()
    assert [step.healed for step in filled.repair([other.path])] == [True] * len(steps)
    assert (blob.read_bytes(), filled.verify().is_whole) == (content, True)
    with pytest.raises(ProductNotFound):
        filled.verify("Rate/none")


def test_what_nothing_refers_to(filled: Pool) -> None:
    filled.remove("Rate/b")
    assert filled.gc().files == 0  # the trash keeps its arrays
    assert filled.purge(filled.trash(longer_than=timedelta(0))) == 1
    would = filled.gc(dry_run=True)
    assert would.files == 1
    assert filled.gc() == would
    assert filled.gc().files == 0


def test_a_reference_knows_its_pool(filled: Pool) -> None:
    ref = filled.ref("Rate/b")
    assert ref.pool is filled
    assert ref.pool.select().size() == 2
    again = pickle.loads(pickle.dumps(ref))
    assert (again, again.pool.id, again.pool.select().size()) == (ref, filled.id, 2)
    assert isinstance(again.pool, Pool)
    assert pickle.loads(pickle.dumps(filled)).id == filled.id
    assert (filled.path.name, core_of(filled).name, repr(core_of(filled))) == ("jpl8", "jpl8", "<Core of pool jpl8>")
