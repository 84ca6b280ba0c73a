"""Saving a FULL exposure: how long until it is durable, against copying the file."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

from timing import copy_durably

from miripool import Home
from miripool.simulate import simulate_exposure


def test_full_uncal(home: Home, tmp_path: Path, figure: Callable[..., None]) -> None:
    exposure = simulate_exposure("full_mirimage", subarray="FULL", nints=5, ngroups=20, seed=1)
    path = exposure.write_uncal(tmp_path)
    copies, saves = [], []
    for i in range(5):
        copies.append(copy_durably([path], tmp_path / "copy.fits"))
        with home.create(f"pool {i}") as pool:
            pool.catch_up()
            start = time.perf_counter()
            saved = pool.save_detailed(path, pixels=False)
            saves.append(time.perf_counter() - start)
        home.delete(f"pool {i}")
    size = path.stat().st_size
    copy, save = statistics.median(copies), statistics.median(saves)
    figure(
        f"FULL uncal ({size / 1e6:.0f} MB) saved, durable and indexed, without pixel rows",
        save,
        "s",
        save / copy,
        "cp with fsync",
    )
    figure("the same: bytes stored per byte of FITS", saved.stored_bytes / size, "")
    assert save < 4 * copy
