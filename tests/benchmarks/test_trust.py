"""How fast a pool is looked through: every array read, decoded, digested, and its statistics taken again."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median as median_of

import h5py
import hdf5plugin
import homes
import xxhash
from homes import dataset_of, file_of

from miripool import Pool
from miripool.maintenance.verify import verify
from miripool.simulate import Calibration, simulate_exposure
from miripool.store.arrays.blob import Blob

home = homes.home
assert hdf5plugin.FILTERS


def test_verifying_a_full_exposure(pool: Pool, tmp_path: Path, figure: Callable[..., None]) -> None:
    exposure = simulate_exposure("full_mirimage", subarray="FULL", nints=2, ngroups=10, seed=1)
    paths = [exposure.write_uncal(tmp_path), *exposure.write_products(tmp_path, Calibration("v1", gain=5.5))]
    blobs: list[tuple[Path, str]] = []
    for path in paths:
        ref = pool.save(path, pixels=False)
        sources = [ref.product[name].source for name in ref.product]
        blobs += [(file_of(source), dataset_of(source)) for source in sources if isinstance(source, Blob)]

    def read_by_hdf5() -> float:
        begin = time.perf_counter()
        for path, name in set(blobs):
            with h5py.File(path) as file:
                xxhash.xxh3_128(file[name][()].tobytes()).digest()
        return time.perf_counter() - begin

    ours, theirs = [], []
    for _ in range(5):
        begin = time.perf_counter()
        report = verify(pool, level="full")
        ours.append(time.perf_counter() - begin)
        theirs.append(read_by_hdf5())
        assert report.is_whole
    speed = report.bytes_read / 1e9 / median_of(ours)
    ratio = median_of(theirs) / median_of(ours)
    figure(
        f"verify --full, {report.bytes_read / 1e9:.2f} GB", speed, "GB/s", ratio, "h5py reading and digesting the same"
    )
    assert ratio > 0.7
