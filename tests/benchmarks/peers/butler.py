"""Rubin's Butler: arrays put into a repository and found by the metadata of their exposures.

Arguments: a folder; the URL of its registry's database, SQLite in the folder where it is left out; the word
``checksum``, to have it note the checksum of each file, which it has not by itself.

Arrays have the storage class ``NumpyArray``, which Butler's own configuration writes by `PickleFormatter`: of the
formatters that come with the package it is the only one that takes an array of several axes as it is.
"""

from __future__ import annotations

import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from answering import answer_questions
from lsst.daf.butler import Butler, Config, DatasetType

INSTRUMENT = "MIRI"

config = Config()
for told in sys.argv[2:]:
    if told == "checksum":
        config["datastore", "checksum"] = True
    else:
        config["registry", "db"] = told
Butler.makeRepo(sys.argv[1], config=config)
butler = Butler.from_config(sys.argv[1], run="benchmark", writeable=True)
kind = DatasetType("ramp", ["instrument", "exposure", "detector"], "NumpyArray", universe=butler.dimensions)
butler.registry.registerDatasetType(kind)
arrays: dict[str, np.ndarray[Any, Any]] = {}


def save(headers: list[dict[str, Any]]) -> dict[str, Any]:
    """Tell of exposures, and put a small array for each."""
    insert = butler.registry.insertDimensionData
    named = {"instrument": INSTRUMENT}
    begin = time.perf_counter()
    insert("instrument", {"name": INSTRUMENT, "class_name": "none", "detector_max": 999, "exposure_max": 1 << 30})
    insert("detector", {**named, "id": 493, "full_name": "MIRIMAGE"})
    insert("physical_filter", {**named, "name": "F560W", "band": "none"})
    insert("day_obs", {**named, "id": 20260101})
    insert("group", *({**named, "name": header["obs_id"]} for header in headers))
    same = {**named, "physical_filter": "F560W", "day_obs": 20260101}
    insert("exposure", *({**same, "id": i, "group": header["obs_id"], **header} for i, header in enumerate(headers)))
    small = np.ones((4, 4), np.float32)
    with butler.transaction():
        for i in range(len(headers)):
            butler.put(small, kind, instrument=INSTRUMENT, exposure=i, detector=493)
    return {"seconds": time.perf_counter() - begin}


def select(where: str, records: bool) -> dict[str, Any]:
    """Find arrays by `Butler.query_datasets`, the new query system; the metadata come with `records`."""
    begin = time.perf_counter()
    found = butler.query_datasets(
        "ramp", collections="benchmark", where=where, with_dimension_records=records, limit=None
    )
    names = [str(ref.dataId["group"]) for ref in found]
    if records:
        names = [ref.dataId.records["exposure"].obs_id for ref in found]
    return {"seconds": time.perf_counter() - begin, "names": names}


def load(path: str) -> dict[str, Any]:
    """Have an array in memory."""
    arrays["one"] = np.load(path)
    return {"seconds": 0.0}


def put(run: str) -> dict[str, Any]:
    """Put the array; then wait until its file and its name are on disk, which Butler leaves to the system."""
    butler.collections.register(run)
    arrays["one"].flat[0] += 1
    begin = time.perf_counter()
    ref = butler.put(arrays["one"], kind, instrument=INSTRUMENT, exposure=0, detector=493, run=run)
    seconds = time.perf_counter() - begin
    path = butler.getURI(ref).ospath
    for name in (path, Path(path).parent):
        descriptor = os.open(name, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    durable = time.perf_counter() - begin
    size = Path(path).stat().st_size
    butler.pruneDatasets([ref], unstore=True, purge=True, disassociate=True)
    return {"seconds": seconds, "durable": durable, "bytes": size}


answer_questions(version("lsst-daf-butler"), {"save": save, "select": select, "load": load, "put": put})
