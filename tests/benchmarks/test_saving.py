"""Saving a FULL exposure: how long until it is durable, against copying the files, and where the time goes."""

from __future__ import annotations

import functools
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from timing import copy_durably

from miripool import Home
from miripool.formats import fits
from miripool.index import Catalog
from miripool.pool.core import core_of
from miripool.simulate import Calibration, simulate_exposure
from miripool.store.arrays.blobs import BlobStore

ROUNDS = 5

PARTS: dict[str, tuple[Any, str]] = {
    "files read and digested": (fits, "_digest"),
    "arrays read, named, their statistics taken": (BlobStore, "measure"),
    "blobs read, coded, written, on disk": (BlobStore, "write"),
    "entries, and the index": (Catalog, "apply_and_write"),
}
"""What saving consists of; none of them within another."""


@pytest.fixture
def spent(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Seconds that each part has taken."""
    seconds: dict[str, float] = defaultdict(float)

    def watch(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def watched(*values: Any, **named: Any) -> Any:
            begin = time.perf_counter()
            try:
                return function(*values, **named)
            finally:
                seconds[what] += time.perf_counter() - begin

        return watched

    for what, (owner, name) in PARTS.items():
        monkeypatch.setattr(owner, name, watch(what, getattr(owner, name)))
    return seconds


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kinds", [(), ("ramp", "rateints")], ids=["uncal", "uncal, ramp and rateints"])
def test_full_exposure(
    home: Home, tmp_path: Path, spent: dict[str, float], figure: Callable[..., None], kinds: tuple[str, ...]
) -> None:
    exposure = simulate_exposure("full_mirimage", subarray="FULL", nints=5, ngroups=20, seed=1)
    paths = [exposure.write_uncal(tmp_path), *exposure.write_products(tmp_path, Calibration("v1"), kinds=kinds)]
    del exposure
    copies, saves, stored = [], [], 0
    for i in range(ROUNDS):
        copies.append(copy_durably(paths, tmp_path / "copy.fits"))
        with home.create(f"pool {i}") as pool:
            core_of(pool).catch_up()
            start = time.perf_counter()
            outcomes = pool.ingest(paths, pixels=False)
            saves.append(time.perf_counter() - start)
            assert [outcome.status for outcome in outcomes] == ["new"] * len(paths)
            stored = sum(outcome.stored_bytes for outcome in outcomes)
        home.delete(f"pool {i}")
    size = sum(path.stat().st_size for path in paths)
    copy, save = statistics.median(copies), statistics.median(saves)
    what = f"FULL {', '.join(('uncal', *kinds))} ({size / 1e6:.0f} MB) saved, durable and indexed, without pixel rows"
    figure(what, save, "s", save / copy, "cp with fsync")
    figure("the same: bytes stored per byte of FITS", stored / size, "")
    if not kinds:  # several files are stored side by side
        total = sum(saves)
        for part in PARTS:
            figure(f"the same: {part}", spent[part] / ROUNDS, "s", spent[part] / total, "of it")
        rest = total - sum(spent.values())
        figure("the same: headers parsed, manifests, and the rest", rest / ROUNDS, "s", rest / total, "of it")
    assert save <= (1.4 if kinds else 2.3) * copy
