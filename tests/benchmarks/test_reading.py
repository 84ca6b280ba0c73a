"""Reading a blob: the whole of a FULL ramp, and one pixel's ramp, against h5py and astropy on the same values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from astropy.io import fits
from timing import forget, in_turns, timed

from miripool import Pool, Ramp
from miripool.pool.core import core_of
from miripool.simulate import Calibration, simulate_exposure
from miripool.simulate.calibration import calibrate_ramp

pytestmark = pytest.mark.timeout(1800)
assert hdf5plugin.FILTERS

ROUNDS = 7
PIXEL = (700, 300)


def medians(works: dict[str, Callable[[], Any]], before: Callable[[], Any] = lambda: None) -> dict[str, float]:
    """Do works by turns; give the median time of each."""
    taken = in_turns(ROUNDS, *map(timed, works.values()), before=before)
    return dict(zip(works, taken, strict=True))


@pytest.fixture
def stored(pool: Pool, tmp_path: Path) -> tuple[Any, Path, Path]:
    """A ramp (5, 20, 1024, 1032) of float32 in a pool: its dataset, its blob, and a FITS file of it."""
    exposure = simulate_exposure("ramp", subarray="FULL", nints=5, ngroups=20, seed=1)
    ramp = calibrate_ramp(exposure, Calibration("v1")).sci
    path = tmp_path / "ramp.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(ramp, name="SCI")]).writeto(path)
    dataset = pool.save(Ramp({}, {"SCI": ramp}, name="ramp"), pixels=False).product["SCI"]
    assert np.array_equal(dataset[...], ramp)
    return dataset, core_of(pool).archive.storage.files.path(dataset.source.key), path


def by_h5py(blob: Path, key: Any) -> Any:
    with h5py.File(blob) as file:
        return file["data"][key]


def by_astropy(path: Path, key: Any) -> Any:
    with fits.open(path) as hdus:
        return hdus["SCI"].data[key].astype(np.float32)


def test_reading_beside_h5py(stored: tuple[Any, Path, Path], figure: Callable[..., None]) -> None:
    dataset, blob, path = stored
    y, x = PIXEL
    room = np.empty(dataset.shape, dataset.dtype)
    whole = medians(
        {
            "ours": lambda: dataset[...],
            "into": lambda: dataset.read_into(room),
            "h5py": lambda: by_h5py(blob, ...),
            "astropy": lambda: by_astropy(path, ...),
            "memory": lambda: np.copy(room),
        }
    )
    what = f"a ramp of {dataset.nbytes / 1e6:.0f} MB"
    speed = {name: dataset.nbytes / 1e9 / seconds for name, seconds in whole.items()}
    figure(f"{what} read from its blob, checked", speed["ours"], "GB/s", whole["h5py"] / whole["ours"], "h5py's")
    figure(f"{what} read into an array that is there", speed["into"], "GB/s", whole["h5py"] / whole["into"], "h5py's")
    figure(f"{what} read from FITS by astropy", speed["astropy"], "GB/s", whole["astropy"] / whole["ours"], "our time")
    figure(f"{what} copied in memory", speed["memory"], "GB/s", whole["memory"] / whole["ours"], "our time")
    ramps = np.s_[0, :, y, x]
    assert np.array_equal(dataset[ramps], by_h5py(blob, ramps))
    pixel = {
        "ours": lambda: dataset[ramps],
        "h5py": lambda: by_h5py(blob, ramps),
        "astropy": lambda: by_astropy(path, ramps),
    }
    opened = medians(pixel)
    cold = medians(pixel, lambda: forget((blob, path)))
    for where, taken in {"file opened again": opened, "file not in memory": cold}.items():
        figure(
            f"one pixel's ramp of it, {where}",
            taken["ours"] * 1e3,
            "ms",
            taken["h5py"] / taken["ours"],
            "as fast as h5py",
        )
        figure(
            f"the same from FITS by astropy, {where}",
            taken["astropy"] * 1e3,
            "ms",
            taken["astropy"] / taken["ours"],
            "our time",
        )
    assert speed["ours"] >= 1 or whole["h5py"] >= 2 * whole["ours"]
    assert opened["ours"] <= 5e-3
