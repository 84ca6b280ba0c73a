"""Versions: a ramp of which few pixels changed, and ten calibrations of a real exposure."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - registers the filter that the blobs are coded with
import numpy as np
import pytest
from astropy.io import fits
from homes import dataset_of, file_of
from numpy.typing import NDArray
from peer import VERSIONED_HDF5, Peers, folder_bytes
from timing import in_turns, timed

from miripool import Pool, Ramp
from miripool.model.tiles import tile_shape
from miripool.pipeline import Recipe, reprocess
from miripool.pool.core import core_of
from miripool.simulate import Calibration, simulate_exposure
from miripool.simulate.calibration import calibrate_ramp
from miripool.store.arrays.blob import Blob

pytestmark = [pytest.mark.timeout(3600), pytest.mark.jwst]

GROUND = "MIRI_5582_89_S_20180308-010230_SCE1"
VERSIONS = 10
PIXELS = 12
ROUNDS = 9
MANY = 50
"""Rounds of what takes milliseconds, of which the quickest counts: whatever else runs takes as long now and then."""


def save(pool: Pool, array: NDArray[Any], name: str) -> Any:
    return pool.save(Ramp({"DETECTOR": "MIRIMAGE"}, {"SCI": array}, name=name), pixels=False)


def test_a_ramp_of_which_few_pixels_changed(pool: Pool, figure: Callable[..., None]) -> None:
    exposure = simulate_exposure("ramp", subarray="FULL", nints=5, ngroups=20, seed=1)
    ramp = calibrate_ramp(exposure, Calibration("v1")).sci
    del exposure
    chance = np.random.default_rng(1)
    first = save(pool, ramp, "ramp")
    for _ in range(PIXELS):
        ramp[:, :, chance.integers(ramp.shape[-2]), chance.integers(ramp.shape[-1])] += 3
    begin = time.perf_counter()
    second = save(pool, ramp, "ramp")
    seconds = time.perf_counter() - begin
    assert np.array_equal(second.product["SCI"][...], ramp)
    room = np.empty(ramp.shape, ramp.dtype)
    plain, delta = in_turns(
        ROUNDS, *(timed(lambda ref=ref: ref.product["SCI"].read_into(room)) for ref in (first, second))
    )
    tool_plain, tool_delta = in_turns(ROUNDS, *(timed(lambda ref=ref: by_hdf5(ref, room)) for ref in (first, second)))
    what = f"a ramp of {ramp.nbytes / 1e6:.0f} MB of which {PIXELS} pixels changed"
    share = second.stored_bytes / first.stored_bytes
    figure(f"{what}: stored", second.stored_bytes / 1e6, "MB", share, "the first version")
    figure(f"{what}: saved", seconds, "s")
    figure(f"{what}: read", delta, "s", plain / delta, "as fast as the plain blob")
    figure(f"{what}: read by h5py", tool_delta, "s", tool_plain / tool_delta, "as fast as the plain blob")
    assert share < 0.005
    assert plain / delta >= 0.8
    assert tool_plain / tool_delta >= 0.3


def by_hdf5(ref: Any, room: NDArray[Any]) -> None:
    with h5py.File(file_of(ref.product["SCI"].source)) as file:
        file["data"].read_direct(room)


def test_a_small_exposure_with_another_saturation_reference(
    pool: Pool, shared_data: Path, tmp_path: Path, figure: Callable[..., None]
) -> None:
    """Of the real SUB64 exposure 102 pixels change."""
    raw = pool.save(shared_data / "jpl8" / "raw" / f"{GROUND}.fits", pixels=False)
    target = tmp_path / "saturation.fits"
    shutil.copy(shared_data / "crds" / "references" / "jwst" / "jwst_miri_saturation_9001.fits", target)
    os.chmod(target, 0o644)  # noqa: PTH101 - a copy of ours
    with fits.open(target, mode="update") as hdus:
        hdus["SCI"].data *= np.float32(0.9)
    sizes, logs = [], []
    made = []
    for overrides in ({}, {"saturation": target}):
        before = folder_bytes(pool.path / "blobs")
        recipe = Recipe("jwst_9001.pmap", shared_data / "crds", overrides=overrides)
        (done,) = reprocess(pool, [raw], recipe)
        assert done.error is None
        made.append(arrays_of(done.refs))
        sizes.append(folder_bytes(pool.path / "blobs") - before)
        logs.append(sum(held_by(ref.product["ASDF"].source) for ref in done.refs))
    what = "a real SUB64 exposure with another saturation reference"
    figure(f"{what}, ramp, rateints and rate: stored", sizes[1] / 1e3, "KB", sizes[1] / sizes[0], "the first version")
    figure(f"{what}: of which ASDF logs", logs[1] / 1e3, "KB", logs[1] / sizes[0], "the first version")
    assert sizes[1] < 0.08 * sizes[0]
    for part, chosen, least in (("the ramp's SCI", slice(1), (0.65, 0.3)), ("all arrays", slice(None), (0.5, 0.3))):
        some = [arrays[chosen] for arrays in made]
        ours = in_turns(MANY, *(timed(lambda blobs=blobs: fill(blobs)) for blobs in some), of=min)
        theirs = in_turns(MANY, *(timed(lambda blobs=blobs: [read(blob) for blob in blobs]) for blobs in some), of=min)
        figure(f"{what}, {part}: read", 1e3 * ours[1], "ms", ours[0] / ours[1], "as fast as the first version")
        figure(f"{what}, {part}: read by h5py", 1e3 * theirs[1], "ms", theirs[0] / theirs[1], "as fast")
        assert ours[0] / ours[1] >= least[0]
        assert theirs[0] / theirs[1] >= least[1]


_rooms: dict[tuple[Any, ...], NDArray[Any]] = {}


def fill(blobs: list[Blob]) -> None:
    for blob in blobs:
        key = blob.shape, blob.dtype
        if key not in _rooms:
            _rooms[key] = np.empty(*key)
        blob.read_into(_rooms[key])


def arrays_of(refs: Any) -> list[Any]:
    sources = [dataset.source for ref in refs for _, dataset in ref.product.items()]
    return [source for source in sources if isinstance(source, Blob) and source.dtype.names is None]


def read(blob: Blob) -> NDArray[Any]:
    with h5py.File(file_of(blob)) as file:
        return np.asarray(file[dataset_of(blob)][...])


def held_by(blob: Blob) -> int:
    """Give the bytes of a file that an array takes: all of its own one, or its share of one with others."""
    if blob.ref.bundle is None:
        return file_of(blob).stat().st_size
    with h5py.File(file_of(blob)) as file:
        return int(file[dataset_of(blob)].id.get_storage_size())


def test_ten_calibrations_of_a_real_exposure(
    pool: Pool, shared_data: Path, peers: Peers, tmp_path: Path, figure: Callable[..., None]
) -> None:
    raw = pool.save(shared_data / "jpl8" / "raw" / f"{GROUND}.fits", pixels=False)
    before = folder_bytes(pool.path / "blobs")
    stored: dict[tuple[str, str], int] = {}
    plain = theirs = 0
    with peers.start(VERSIONED_HDF5, "versioned.py", tmp_path) as peer:
        for number in range(VERSIONS):
            overrides = calibration(shared_data / "crds" / "references" / "jwst", tmp_path, number)
            recipe = Recipe("jwst_9001.pmap", shared_data / "crds", overrides=overrides)
            (done,) = reprocess(pool, [raw], recipe)
            assert done.error is None
            files = {}
            for ref in (ref for ref in done.refs if ref.kind != "Rate"):
                for name, dataset in ref.product.items():
                    if isinstance(dataset.source, Blob) and dataset.dtype.names is None and dataset.shape:
                        files[f"{ref.kind}_{name}"] = folder = tmp_path / f"{ref.kind}_{name}.npy"
                        np.save(folder, dataset.source[...])
                        plain += dataset.source[...].nbytes
                        source, blobs = dataset.source, core_of(pool).archive.blobs
                        for digest in blobs.family(source.ref) if source.ref.bundle is None else (source.ref.digest,):
                            blob = blobs.open(replace(source.ref, digest=digest))
                            stored[blob.ref.blob, digest] = held_by(blob)
            arrays = {name: [str(path), list(tile_shape(*described(path)))] for name, path in files.items()}
            theirs = peer.ask("stage", name=f"v{number}", arrays=arrays)["bytes"]
        name = peer.name
    everything = folder_bytes(pool.path / "blobs") - before
    ours = sum(stored.values())
    what = f"{VERSIONS} calibrations of a real SUB64 exposure, ramp and rateints"
    figure(f"{what}: plain copies of the arrays", plain / 1e6, "MB")
    figure(f"{what}: {name}, the same codec and tiles", theirs / 1e6, "MB", plain / theirs, "less")
    figure(f"{what}: ours", ours / 1e6, "MB", plain / ours, "less")
    figure(f"{what}: ours, with tables and logs of the calibrations", everything / 1e6, "MB")
    assert ours < theirs
    assert len(pool.versions(f"RateInts/{GROUND}")) == VERSIONS


def described(path: Path) -> tuple[tuple[int, ...], int]:
    array = np.load(path, mmap_mode="r")
    return array.shape, array.itemsize


def calibration(references: Path, folder: Path, number: int) -> dict[str, Path]:
    """Make the references of a calibration: each has some more bad pixels, every other one another gain."""
    chance = np.random.default_rng(number)
    mask, gain = folder / f"mask_{number}.fits", folder / f"gain_{number}.fits"
    for source, target in (("mask", mask), ("gain", gain)):
        shutil.copy(references / f"jwst_miri_{source}_9001.fits", target)
        os.chmod(target, 0o644)  # noqa: PTH101 - a copy of ours
    with fits.open(mask, mode="update") as hdus:
        rows, columns = hdus["DQ"].data.shape
        for _ in range(number):
            hdus["DQ"].data[chance.integers(rows), chance.integers(columns)] |= 1
    with fits.open(gain, mode="update") as hdus:
        hdus["SCI"].data *= np.float32(1 + 0.01 * (number // 2))
    return {"mask": mask, "gain": gain}
