"""Pools and packs that an earlier miripool wrote are read as they were: all that a reader gets is what it was then."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import homes
import pytest

from miripool import Home, Pool
from miripool.exchange.copy import receive
from miripool.exchange.pack import Pack
from miripool.maintenance.verify import verify
from miripool.pool.core import core_of
from miripool.store.arrays.blob import Blob

home = homes.home

GOLDEN = Path(__file__).parent / "golden"
FORMATS = sorted(folder.name for folder in GOLDEN.glob("format-*"))


def generator() -> Any:
    spec = importlib.util.spec_from_file_location("generate", GOLDEN / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blob_of(pool: Pool, ref: str, dataset: str) -> Path:
    source = pool.ref(ref).product[dataset].source
    assert isinstance(source, Blob)
    return homes.file_of(source)


def form_of(pool: Pool, ref: str, dataset: str) -> int:
    with h5py.File(blob_of(pool, ref, dataset)) as file:
        return int(file.get("data", file).attrs["miripool_blob"])


def test_today_s_format_is_among_them() -> None:
    assert generator().FOLDER.name in FORMATS


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_a_pool_of_that_format(name: str, home: Home) -> None:
    (home.path / "pools").mkdir(parents=True)
    shutil.copytree(GOLDEN / name / "pool", home.path / "pools" / "golden")
    expected = json.loads((GOLDEN / name / "expected.json").read_text())
    with home.pool("golden") as pool:  # there is no index yet
        core_of(pool).catch_up()
        core_of(pool).pixel_rows.make_pending()
        assert generator().describe(pool) == expected
        assert verify(pool, level="full").findings == []
        by = {row.saved_by for row in core_of(pool).catalog.rows(range(core_of(pool).catalog.position().next_serial))}
        by |= {event.by for event in pool.tag_events()}
        assert by == ({"ana@mirihost"} if name.endswith(".2") else {None})
        if name != "format-1":
            assert form_of(pool, "Ramp/large@1", "SCI") == 2
        if name >= "format-3":
            assert form_of(pool, "Ramp/pixels@1", "SCI") == 3
            assert form_of(pool, "Ramp/pixels@1", "LOG") == 4
        if name >= "format-4":
            assert form_of(pool, "Product/bundled", "LOG") == 5
            assert blob_of(pool, "Product/bundled", "LOG") == blob_of(pool, "Product/bundled, too", "TAB")
        again = pool.save(pool.ref("RateInts/small").product.replace())
        assert again.notice is not None
        assert again.notice.startswith("unchanged")


@pytest.mark.parametrize("name", FORMATS)
def test_a_pack_of_that_format(name: str, home: Home) -> None:
    expected = json.loads((GOLDEN / name / "expected.json").read_text())
    files = {
        f"urn:golden:{version['kind']}:{version['serial']}": version.get("fits") for version in expected["versions"]
    }
    with home.create("mine") as pool, Pack(GOLDEN / name / "versions.tar") as shelf:
        done = receive(pool, shelf)
        assert [received.saved.row.name for received in done] == ["small", "small", "three", "other", "a context"]
        told = {version["serial"]: version for version in generator().describe(pool)["versions"]}
        for received in done:
            row = received.saved.row
            if row.kind != "Context":
                assert told[row.serial]["fits"] == files[received.urn]
