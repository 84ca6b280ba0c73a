"""versioned-hdf5: versions of one array in one file, which share the chunks that are equal. Argument: a folder."""

from __future__ import annotations

import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
from answering import answer_questions
from versioned_hdf5 import VersionedHDF5File

PATH = Path(sys.argv[1]) / "versions.h5"
arrays: dict[str, np.ndarray[Any, Any]] = {}


def load(path: str) -> dict[str, Any]:
    """Have the first version in memory."""
    arrays["one"] = np.load(path)
    return {"seconds": 0.0}


def write(name: str, chunks: list[int], pixels: list[list[int]], add: float) -> dict[str, Any]:
    """Save a further version, in which `add` was added to the ramps of some pixels; durably."""
    array = arrays["one"]
    for y, x in pixels:
        array[..., y, x] += add
    begin = time.perf_counter()
    with h5py.File(PATH, "a") as file:
        versions = VersionedHDF5File(file)
        with versions.stage_version(name) as group:
            if "data" in group:
                group["data"][...] = array
            else:
                coded = hdf5plugin.Bitshuffle(cname="lz4")
                group.create_dataset("data", data=array, chunks=tuple(chunks), **coded)
    descriptor = os.open(PATH, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    return {"seconds": time.perf_counter() - begin, "bytes": PATH.stat().st_size}


def stage(name: str, arrays: dict[str, Any]) -> dict[str, Any]:
    """Save a further version of many arrays: for each name a file of it, and its chunks; durably."""
    loaded = {key: np.load(path) for key, (path, _) in arrays.items()}
    begin = time.perf_counter()
    with h5py.File(PATH, "a") as file:
        versions = VersionedHDF5File(file)
        with versions.stage_version(name) as group:
            for key, array in loaded.items():
                if key in group:
                    group[key][...] = array
                else:
                    coded = hdf5plugin.Bitshuffle(cname="lz4")
                    group.create_dataset(key, data=array, chunks=tuple(arrays[key][1]), **coded)
    descriptor = os.open(PATH, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    return {"seconds": time.perf_counter() - begin, "bytes": PATH.stat().st_size}


def read(name: str, pixel: list[int] | None = None) -> dict[str, Any]:
    """Read a version, or one pixel's ramps of it, from a file that is opened for that."""
    begin = time.perf_counter()
    with h5py.File(PATH, "r") as file:
        data = VersionedHDF5File(file)[name]["data"]
        found = data[:] if pixel is None else data[:, :, pixel[0], pixel[1]]
    return {"seconds": time.perf_counter() - begin, "sum": float(np.sum(found, dtype=np.float64))}


answer_questions(version("versioned-hdf5"), {"load": load, "write": write, "stage": stage, "read": read})
