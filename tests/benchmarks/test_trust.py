"""How fast a pool is looked through: every array read, decoded, digested, and its statistics taken again.

Two pools, of a FULL exposure each: what the larger one takes longer is the reading, the rest is the index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import hdf5plugin
import homes
import pytest
import xxhash
from homes import dataset_of, file_of
from timing import in_turns, timed

from miripool import Home, Pool
from miripool.maintenance.verify import Report, verify
from miripool.simulate import Calibration, simulate_exposure
from miripool.store.arrays.blob import Blob

pytestmark = pytest.mark.timeout(1800)
home = homes.home
assert hdf5plugin.FILTERS

ROUNDS = 7
SIZES = {"small": (2, 10), "large": (5, 20)}
"""Integrations and groups."""


@dataclass(frozen=True)
class Stored:
    """A pool, and the files and datasets of its arrays."""

    pool: Pool
    arrays: frozenset[tuple[Path, str]]

    def look_through(self) -> Report:
        report = verify(self.pool, level="full")
        assert report.is_whole
        return report

    def read_by_hdf5(self) -> None:
        """Read and digest the same arrays with h5py, in one thread."""
        for path, name in sorted(self.arrays):
            with h5py.File(path) as file:
                xxhash.xxh3_128(file[name][()].tobytes()).digest()


@contextmanager
def stored(home: Home, folder: Path, name: str, nints: int, ngroups: int) -> Iterator[Stored]:
    """Save a FULL exposure: uncal, ramp, rateints and rate."""
    exposure = simulate_exposure(f"{name}_mirimage", subarray="FULL", nints=nints, ngroups=ngroups, seed=1)
    arrays: set[tuple[Path, str]] = set()
    with home.create(name) as pool:
        for path in [exposure.write_uncal(folder), *exposure.write_products(folder, Calibration("v1", gain=5.5))]:
            product = pool.save(path, pixels=False).product
            sources = [product[hdu].source for hdu in product]
            arrays |= {(file_of(source), dataset_of(source)) for source in sources if isinstance(source, Blob)}
            path.unlink()
        yield Stored(pool, frozenset(arrays))


def test_verifying_a_full_exposure(home: Home, tmp_path: Path, figure: Callable[..., None]) -> None:
    with ExitStack() as stack:
        pools = {name: stack.enter_context(stored(home, tmp_path, name, *size)) for name, size in SIZES.items()}
        size = {name: pool.look_through().bytes_read / 1e9 for name, pool in pools.items()}
        works = {(name, "ours"): timed(pool.look_through) for name, pool in pools.items()}
        works |= {(name, "theirs"): timed(pool.read_by_hdf5) for name, pool in pools.items()}
        taken = dict(zip(works, in_turns(ROUNDS, *works.values()), strict=True))
    ratios = {name: taken[name, "theirs"] / taken[name, "ours"] for name in pools}
    for name, ratio in ratios.items():
        speed, what = size[name] / taken[name, "ours"], "h5py reading and digesting the same"
        figure(f"verify --full, {size[name]:.2f} GB", speed, "GB/s", ratio, what)
    slopes = {
        who: (taken["large", who] - taken["small", who]) / (size["large"] - size["small"]) for who in ("ours", "theirs")
    }
    figure("verify --full, each further GB", slopes["ours"], "s", slopes["theirs"] / slopes["ours"], "as fast as h5py")
    figure("verify --full, besides", 1e3 * (taken["small", "ours"] - slopes["ours"] * size["small"]), "ms")
    assert ratios["large"] >= 1.5
