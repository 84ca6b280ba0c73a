"""One small product after the other, each on disk and in the index: how long it takes, in small and in large pools.

An fsync is timed beside each save, and Butler's put of the same array, which is then made durable as ours is: its file
and its name on disk, its registry's transaction committed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from million import make_million
from peer import BUTLER, Peers
from postgresql import reachable_folder
from test_peers import headers
from timing import in_turns

from miripool import Home, Pool, RateInts

ROUNDS = 60
LARGE = int(os.environ.get("MIRIPOOL_BENCHMARK_PRODUCTS", 100_000))
PLACE = {"SUBSTRT1": 5, "SUBSTRT2": 100, "SUBSIZE1": 16, "SUBSIZE2": 16, "DETECTOR": "MIRIMAGE"}
QUICK = 0.3e-3
"""Seconds of an fsync on a quiet disk; on a slower one six of them, one after the other, come on top."""


@pytest.fixture(scope="module")
def pools() -> Iterator[dict[int, Pool]]:
    """A pool of ten products and one of many, on the same server."""
    with pytest.MonkeyPatch.context() as patch, reachable_folder() as place:
        patch.delenv("MIRIPOOL_DATABASE_URL", raising=False)
        home = Home(place / "home")
        made = {products: make_million(home, f"of {products}", products) for products in (10, LARGE)}
        yield made
        for pool in made.values():
            pool.close()
        home.server.remove()


@pytest.mark.timeout(3600)
def test_a_small_product(pools: dict[int, Pool], peers: Peers, tmp_path: Path, figure: Callable[..., None]) -> None:
    array = np.zeros((16, 16), np.float32)
    np.save(tmp_path / "array.npy", array)
    number = iter(range(1 << 30))

    def saves(pool: Pool, pixels: bool) -> Callable[[], float]:
        def save() -> float:
            i = next(number)
            product = RateInts(PLACE, {"SCI": array[None] + np.float32(i)}, name=f"small {i}")
            begin = time.perf_counter()
            pool.save(product, pixels=pixels)
            return time.perf_counter() - begin

        return save

    def sync() -> float:
        path = tmp_path / "synced"
        path.write_bytes(bytes(1000))
        begin = time.perf_counter()
        with path.open("rb") as file:
            os.fsync(file)
        return time.perf_counter() - begin

    ways = [saves(pool, pixels) for pool in pools.values() for pixels in (False, True)]
    with peers.start(BUTLER, "butler.py", tmp_path / "repository") as butler:
        butler.ask("save", headers=headers()[:1])
        butler.ask("load", path=str(tmp_path / "array.npy"))
        put = lambda: float(butler.ask("put", run=f"run {next(number)}")["durable"])  # noqa: E731
        waited, theirs, *ours = in_turns(ROUNDS, sync, put, *ways, warm=5)
    few, few_pixels, many, many_pixels = ours
    figure("an fsync of 1000 bytes", 1e3 * waited, "ms")
    what = "a product of 16 x 16 float32 saved, on disk and indexed"
    against = "Butler's put (SQLite), then fsync of file and folder"
    figure(f"{what}, without pixel rows, among 10", 1e3 * few, "ms", few / theirs, against)
    figure(f"the same, among {LARGE}", 1e3 * many, "ms", many / few, "among 10")
    figure("the same with pixel rows, among 10", 1e3 * few_pixels, "ms", few_pixels / theirs, against)
    figure(f"the same, among {LARGE}", 1e3 * many_pixels, "ms", many_pixels / few_pixels, "among 10")
    more = 6 * max(0.0, waited - QUICK)
    assert many <= 8e-3 + more
    assert many_pixels <= 12e-3 + more
    assert many / few <= 1.25
