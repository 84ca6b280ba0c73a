"""A mounted pool: `ls -l` of 10,000 versions; a FULL ramp copied and read by four; one pixel of it by a memory map."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from homes import empty_home
from million import make_million
from mounts import Mounted, mounted_pool

from miripool.simulate import Calibration, simulate_exposure

PRODUCTS, VERSIONS = 39_100, 10_000
"""Of so many products, so many are versions of ramps, and a few more."""
READERS = 4


@pytest.mark.timeout(600)
def test_ten_thousand_versions(
    database_url: str, tmp_path: Path, figure: Callable[..., None], median: Callable[..., float]
) -> None:
    with empty_home(tmp_path / "home", database_url, "many_files") as home:
        make_million(home, "many", PRODUCTS).close()
        with mounted_pool(tmp_path / "m", "many", home=home.path) as files:

            def list_them(*options: str) -> int:
                command = ["ls", *options, str(files / "versions/Ramp")]
                return subprocess.run(command, capture_output=True, check=True).stdout.count(b"\n")

            start = time.perf_counter()
            assert VERSIONS <= list_them("-l") <= VERSIONS + 10
            first = time.perf_counter() - start
            again = median(lambda: list_them("-l"), repeat=5)
            figure(f"ls -l of {VERSIONS} versions, the first time", first, "s")
            figure("and again", again, "s")
            figure("ls", median(list_them, repeat=5), "s")
            start = time.perf_counter()
            assert (files / "products.csv").read_bytes().count(b"\n") > PRODUCTS * 0.9
            figure(f"the table of {PRODUCTS} products is made", time.perf_counter() - start, "s")
            assert max(first, again) <= 2.0


@pytest.mark.timeout(600)
def test_a_full_ramp(
    database_url: str, tmp_path: Path, figure: Callable[..., None], median: Callable[..., float]
) -> None:
    made = simulate_exposure("jw09999001001_02101_00001_mirimage", subarray="FULL", nints=5, ngroups=20, seed=3)
    with empty_home(tmp_path / "home", database_url, "full_files") as home:
        (original,) = made.write_products(tmp_path, Calibration("v1"), kinds=("ramp",))
        with home.create("jpl8") as pool:
            ref = pool.save(original, pixels=False)
            export = median(lambda: pool.export(ref, tmp_path / "out.fits", overwrite=True), repeat=3)
        with mounted_pool(tmp_path / "m", home=home.path) as files:
            check_pixel(files, original, figure, median)
            check_copies(files, original, export, figure)


def path_of(files: Mounted, original: Path) -> Path:
    return files.folder / "versions/Ramp" / original.name.replace("_ramp", "_v0_ramp")


def check_pixel(files: Mounted, original: Path, figure: Callable[..., None], median: Callable[..., float]) -> None:
    path, size = path_of(files, original), original.stat().st_size
    places = iter(range(100, 1000, 37))

    def read(source: Path, row: int) -> np.ndarray:
        with fits.open(source) as hdus:
            found: np.ndarray = hdus["SCI"].data[:, :, row, 500].copy()
        return found

    before = files.written()
    start = time.perf_counter()
    np.testing.assert_array_equal(read(path, 40), read(original, 40))
    figure("the first pixel's 100 groups", time.perf_counter() - start, "s")
    part = (files.written() - before) / size
    figure("takes of the file", 100 * part, "%")
    assert part < 0.01
    figure("another pixel", median(lambda: read(path, next(places)), repeat=9), "s")


def check_copies(files: Mounted, original: Path, export: float, figure: Callable[..., None]) -> None:
    path, size = path_of(files, original), original.stat().st_size
    start = time.perf_counter()
    subprocess.run(["cmp", path, original], check=True)
    figure("cmp of a FULL ramp with its original", size / (time.perf_counter() - start) / 1e6, "MB/s")
    subprocess.run(["fusermount3", "-u", files.folder], check=True)  # what the kernel has kept of it goes
    files.process.wait(20)
    with mounted_pool(files.folder, home=files.folder.parent / "home") as again:
        start = time.perf_counter()
        subprocess.run(["cp", path_of(again, original), files.folder.parent / "copy.fits"], check=True)
        taken = time.perf_counter() - start
        figure("cp of it", size / taken / 1e6, "MB/s", export / taken, "export")
    with mounted_pool(files.folder, home=files.folder.parent / "home") as again:
        start = time.perf_counter()
        with ThreadPoolExecutor(READERS) as readers:
            copies = [files.folder.parent / f"{number}.fits" for number in range(READERS)]
            list(readers.map(lambda to: subprocess.run(["cp", path_of(again, original), to], check=True), copies))
        figure(f"{READERS} copies at once", READERS * size / (time.perf_counter() - start) / 1e6, "MB/s")
