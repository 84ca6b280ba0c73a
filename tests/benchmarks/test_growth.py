"""Cost as the work grows: of adding, asking and following a pixel, in pools of 10, 100 and 1000 exposures.

The pools are measured in turns, so that what else the machine does falls on all of them alike. All times are medians.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from postgresql import reachable_folder
from timing import in_turns, timed

from miripool import Home, Pool, RateInts
from miripool.pool import save as saving
from miripool.pool.core import core_of
from miripool.simulate import Calibration, simulate_exposure

SIZES = (10, 100, 1000)
MOST = 1.2
"""Times as much in the largest pool as in the smallest."""
ADDED = 10
"""Exposures that are added to each pool while it is measured."""


class Exposures:
    """Files of a ramp and its rateints, SUB64 with 2 integrations of 4 groups; no two have an array in common."""

    def __init__(self, folder: Path) -> None:
        made = simulate_exposure("made", subarray="SUB64", nints=2, ngroups=4, seed=1)
        self._folder = folder
        self._hdus = {}
        for path in made.write_products(folder, Calibration("v1"), kinds=("ramp", "rateints")):
            with fits.open(path, memmap=False) as hdus:
                self._hdus[path.stem.rpartition("_")[2]] = fits.HDUList([hdu.copy() for hdu in hdus])

    def write(self, number: int) -> list[Path]:
        paths = []
        for kind, hdus in self._hdus.items():
            changed = fits.HDUList([hdu.copy() for hdu in hdus])
            for hdu in changed:
                if hdu.is_image and hdu.data is not None and hdu.data.ndim > 2:
                    hdu.data = np.roll(hdu.data, (number % 64, number // 64), axis=(-2, -1))
            paths.append(self._folder / f"e{number:04d}_{kind}.fits")
            changed.writeto(paths[-1], overwrite=True)
        return paths


def add(pool: Pool, paths: list[Path]) -> list[float]:
    """Save files with their pixel rows; give the seconds that each took."""
    taken = []
    for path in paths:
        start = time.perf_counter()
        saved = saving.save(core_of(pool), path)
        taken.append(time.perf_counter() - start)
        assert (saved.status, saved.notice) == ("new", None)
        path.unlink()
    return taken


@pytest.fixture(scope="module")
def exposures(tmp_path_factory: pytest.TempPathFactory) -> Exposures:
    return Exposures(tmp_path_factory.mktemp("exposures"))


@pytest.fixture(scope="module")
def pools(exposures: Exposures) -> Iterator[dict[int, Pool]]:
    with pytest.MonkeyPatch.context() as patch, reachable_folder() as place:
        patch.delenv("MIRIPOOL_DATABASE_URL", raising=False)
        home = Home(place / "home")
        made = {size: home.create(f"of {size}") for size in SIZES}
        for number in range(max(SIZES)):
            for size, pool in made.items():
                if number < size:
                    add(pool, exposures.write(number))
        yield made
        for pool in made.values():
            pool.close()
        home.server.remove()


def by_pool(pools: dict[int, Pool], function: Callable[[Pool], object], repeat: int = 15) -> dict[int, float]:
    taken = in_turns(repeat, *(timed(partial(function, pool)) for pool in pools.values()), warm=2)
    return dict(zip(pools, taken, strict=True))


def tell(figure: Callable[..., None], what: str, found: dict[int, float]) -> float:
    smallest = found[min(SIZES)]
    for size, seconds in found.items():
        figure(f"{what}, {size} exposures", seconds * 1e3, "ms", seconds / smallest, f"that of {min(SIZES)}")
    return found[max(SIZES)] / smallest


@pytest.mark.timeout(3600)
def test_a_pixel_through_all_exposures(pools: dict[int, Pool], figure: Callable[..., None]) -> None:
    found = by_pool(pools, lambda pool: pool.pixel(10, 800).history(RateInts))
    ratio = tell(figure, "one pixel's rates, for each exposure", {size: t / size for size, t in found.items()})
    figure(f"one pixel's rates through {max(SIZES)} exposures, as a table", found[max(SIZES)] * 1e3, "ms")
    assert ratio <= MOST
    assert found[max(SIZES)] <= 0.150


@pytest.mark.timeout(3600)
def test_questions(pools: dict[int, Pool], figure: Callable[..., None]) -> None:
    ten = "nints == 2 and detector == 'MIRIMAGE' and name like 'e000?'"
    assert [len(pool.select(ten)) for pool in pools.values()] == [20] * len(SIZES)
    assert tell(figure, "three conditions that 20 products meet", by_pool(pools, lambda pool: pool.select(ten))) <= MOST
    every = "nints == 2 and detector == 'MIRIMAGE'"
    found = by_pool(pools, lambda pool: list(pool.select(every)))
    found = {size: seconds / (2 * size) for size, seconds in found.items()}
    assert tell(figure, "two conditions that all meet, for each product", found) <= MOST


@pytest.mark.timeout(3600)
def test_adding(pools: dict[int, Pool], exposures: Exposures, figure: Callable[..., None]) -> None:
    numbers = itertools.count(max(SIZES))
    taken: dict[int, list[float]] = {size: [] for size in pools}
    for number in itertools.islice(numbers, ADDED):
        for size, pool in pools.items():
            taken[size] += add(pool, exposures.write(number))
    found = {size: statistics.median(times) for size, times in taken.items()}
    assert tell(figure, "a file added with its pixel rows", found) <= MOST


@pytest.mark.timeout(3600)
def test_a_pixel_through_one_batch(pools: dict[int, Pool], exposures: Exposures, figure: Callable[..., None]) -> None:
    """Of many exposures, ingested together; then through those of the largest pool once they are merged."""
    home = Home(pools[max(SIZES)].path.parents[1])
    with home.create("batch") as pool:
        paths = [exposures.write(number)[1] for number in range(max(SIZES))]
        assert {outcome.status for outcome in pool.ingest(paths)} == {"new"}
        for path in paths:
            path.unlink()
        batch = in_turns(25, timed(lambda: pool.pixel(10, 800).history(RateInts)), warm=2)[0]
    largest = pools[max(SIZES)]
    pixel_rows = core_of(largest).pixel_rows
    assert pixel_rows.optimize(pixel_rows.merges())[1] == []
    number = len(largest.select(RateInts))
    merged = in_turns(25, timed(lambda: largest.pixel(10, 800).history(RateInts)), warm=2)[0]
    figure(f"one pixel's rates through {max(SIZES)} exposures ingested in one batch", batch * 1e3, "ms")
    figure(f"one pixel's rates through {number} exposures, merged", merged * 1e3, "ms")
    assert (batch <= 0.010, merged <= 0.010) == (True, True)
