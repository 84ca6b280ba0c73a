"""gc beside verify, beside another gc, and beside those who read what it frees."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import homes
import numpy as np
import pytest
from ahead import Ahead

from miripool import Home, Pool, Product, ProductRef, Ramp, Rate
from miripool.errors import IntegrityError, ProductNotFound
from miripool.index import ProductRow
from miripool.maintenance.gc import collect
from miripool.maintenance.verify import LEVELS, verify
from miripool.pool.core import Core, core_of
from miripool.store.archive import Archive
from miripool.store.arrays.blobs import BlobStore
from miripool.store.storage.contract import Status
from miripool.store.storage.local import LocalStorage

home = homes.home


def made(name: str, value: float) -> Rate:
    return Rate({}, {"SCI": np.full((40, 50), value, "f4")}, name=name)


def large(name: str, value: float) -> Ramp:
    """A product whose blob could have tiles of others."""
    return Ramp({}, {"SCI": np.full((2, 8, 128, 128), value, "f4")}, name=name)


def give_up(pool: Pool) -> int:
    """Do what ``miripool gc --grace 0`` does."""
    given_up = pool.purge(pool.trash(longer_than=timedelta(0)))
    collect(core_of(pool).archive)
    return given_up


def test_a_blob_collected_between_its_listing_and_its_size(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    pool.save(made("a", 1))
    Ahead(pool, made("left", 7)).close()  # a blob and its manifest
    status = LocalStorage.status
    asked: list[str] = []

    def first_collected(storage: LocalStorage, key: str) -> Status:
        asked.append(key)
        if len(asked) == 1:
            assert storage.delete(key)
        return status(storage, key)

    left = set(pool.gc(dry_run=True).names)
    assert len(left) == 2
    report = verify(pool)
    assert (report.unreferenced, report.is_whole) == (2, True)
    monkeypatch.setattr(LocalStorage, "status", lambda s, key: (first_collected if key in left else status)(s, key))
    report = verify(pool)
    assert len(asked) == 2
    assert report.is_whole
    last = status(core_of(pool).archive.storage, asked[1]).size
    assert (report.unreferenced, report.unreferenced_bytes) == (1, last)


def test_a_blob_collected_while_its_family_is_asked_for(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another gc gave its version up after this one had read the journal."""
    ref = pool.save(large("a", 1))
    pool.save(large("b", 2))
    pool.remove(ref)
    exists = BlobStore.exists
    gone: list[str] = []

    def collected_meanwhile(store: BlobStore, digest: str) -> bool:
        found = exists(store, digest)
        if found and not gone:
            gone.append(digest)
            with Home().pool(pool.name) as other, monkeypatch.context() as patch:
                patch.setattr(BlobStore, "exists", exists)
                assert give_up(other) == 1
            assert not exists(store, digest)
        return found

    monkeypatch.setattr(BlobStore, "exists", collected_meanwhile)
    assert collect(Archive.open(core_of(pool).archive.storage)).files == 0  # which has looked at no blob before
    assert len(gone) == 1
    assert verify(pool, level="full").is_whole


def test_two_gcs_give_up_the_same(pool: Pool) -> None:
    for value in range(3):
        pool.save(made("a", value))
        pool.remove("a")
    mine = pool.trash(longer_than=timedelta(0))
    with Home().pool(pool.name) as other:
        assert other.purge(other.trash(longer_than=timedelta(0))[:2]) == 2
        assert pool.purge(mine) == 1
        assert pool.purge(mine) == other.purge(mine[0:0]) == 0
    assert not pool.trash(longer_than=timedelta(0))


@pytest.mark.slow
def test_gcs_and_verify_together(pool: Pool) -> None:
    over = threading.Event()

    def collect_on() -> int:
        given_up = 0
        with Home().pool(pool.name) as own:
            while not over.is_set():
                given_up += give_up(own)
        return given_up

    def verify_on() -> list[str]:
        found: list[str] = []
        with Home().pool(pool.name) as own:
            for level in LEVELS * 3:
                found += [f"{f.what} {f.where}: {f.problem}" for f in verify(own, level=level).findings]
        return [words for words in found if not words.startswith("note")]

    with ThreadPoolExecutor() as threads:
        collectors = [threads.submit(collect_on) for _ in range(2)]
        verifier = threads.submit(verify_on)
        try:
            for value in range(12):
                ref = pool.save(large("a", value), pixels=False)
                Ahead(pool, made("left", value)).close()
                pool.remove(ref)
            assert verifier.result(120) == []
        finally:
            over.set()
        assert sum(collector.result(60) for collector in collectors) >= 11
    give_up(pool)
    assert list(core_of(pool).archive.storage.keys("blobs")) == []


# Beside readers

READS: dict[str, Callable[[ProductRef, Product, Path], object]] = {
    "array": lambda _, product, __: product["SCI"][0],
    "statistics": lambda _, product, __: np.asarray(product["SCI"]).max(),
    "FITS": lambda ref, _, folder: ref.to_fits(folder / "a.fits"),
    "export": lambda ref, _, folder: ref.pool.export(ref, folder),
    "HDUs": lambda ref, product, _: ref.pool.to_hdulist(product),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
@pytest.mark.parametrize("make", [made, large])
def test_a_version_given_up_while_it_is_read(
    pool: Pool, tmp_path: Path, make: Callable[[str, float], Product], read: Callable[..., object]
) -> None:
    ref = pool.save(make("a", 1))
    product = ref.product
    pool.remove(ref)
    assert give_up(pool) == 1
    with pytest.raises(ProductNotFound, match=r"urn:jpl8:\w+:0 was removed for good on 20"):
        read(ref, product, tmp_path)
    assert list(tmp_path.glob("*.fits")) == []


def test_a_blob_that_is_lost_is_damage_all_the_same(pool: Pool) -> None:
    ref = pool.save(made("a", 1))
    kept = pool.save(made("b", 2)).product
    lost = ref.product
    pool.remove(ref)
    for key in list(core_of(pool).archive.storage.keys("blobs")):
        core_of(pool).archive.storage.delete(key)
    for product in (lost, kept):
        with pytest.raises(IntegrityError, match="is missing; restore it"):
            product["SCI"][0]


def test_pixels_of_a_version_that_is_given_up_meanwhile(pool: Pool) -> None:
    cards = {"SUBSTRT1": 5, "SUBSTRT2": 100, "SUBSIZE1": 8, "SUBSIZE2": 6}
    ref = pool.save(Ramp(cards, {"SCI": np.ones((2, 3, 6, 8), "f4")}, name="a"), pixels=False)
    load = Core.load_version

    def given_up_meanwhile(self: Core, version: ProductRow) -> Product:
        product = load(self, version)
        pool.remove(ref)
        assert give_up(pool) == 1
        return product

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Core, "load_version", given_up_meanwhile)
        with pytest.raises(ProductNotFound, match="urn:jpl8:Ramp:0 was removed for good on 20"):
            pool.pixel(x=6, y=101).ramps()
