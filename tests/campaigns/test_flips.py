"""Single bits that flip in a pool's folder: found, or harmless; and no damaged file brings the process down."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import homes
import numpy as np
import pytest

from miripool import Context, Pool, Product, Ramp, Rate, Raw

home = homes.home

CHILD = """
import json, random, sys
from pathlib import Path
import numpy as np
from miripool import Context, Home
from miripool.errors import MiripoolError
from miripool.maintenance.verify import verify

seed, number = int(sys.argv[1]), int(sys.argv[2])
chance = random.Random(seed)
home = Home()

def content(pool):
    # All that a reader gets: metadata, arrays, tags, and the FITS file.
    found = {}
    for row in pool._core.catalog.select(all_versions=True):
        ref = pool._core.fetch([row.serial])[0]
        key = ref.urn
        try:
            product = ref.product
            found[key] = [json.dumps(sorted(product.meta.to_dict().items()), default=str), row.tags, row.name]
            if isinstance(product, Context):
                found[key].append([(link.name, link.serial, link.manifest) for link in product.links])
            for name in product:
                found[key].append((name, product[name].unit_text, product[name][...].tobytes()))
            found[key].append(sum(len(hdu.data.tobytes()) for hdu in ref.to_hdulist() if hdu.data is not None))
        except MiripoolError as error:
            found[key] = error
    return found

with home.pool("jpl8") as pool:
    good = content(pool)
    assert not any(isinstance(value, MiripoolError) for value in good.values())
    root = pool.path
paths = sorted(p for kind in ("blobs", "manifests", "journal") for p in (root / kind).rglob("*") if p.is_file())
told = {"found by verify": 0, "refused when read": 0, "harmless": 0}
where = {}
for flip in range(number):
    kind = ("blobs", "blobs", "manifests", "journal")[flip % 4]
    path = chance.choice([p for p in paths if p.relative_to(root).parts[0] == kind])
    data = path.read_bytes()
    place, bit = chance.randrange(len(data)), chance.randrange(8)
    path.write_bytes(data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1:])
    told_at = f"{path.relative_to(root)} byte {place} of {len(data)} bit {bit}"
    print(told_at, file=sys.stderr, flush=True)  # the last one is to blame for a crash
    try:
        with home.pool("jpl8") as pool:
            report = verify(pool, level="full")
            now = content(pool)
        refused = False
    except MiripoolError:
        report, refused = None, True  # the pool is not opened at all: nothing wrong was given
    path.write_bytes(data)
    if refused:
        told["refused when read"] += 1
        continue
    assert now.keys() == good.keys(), told_at
    lost = [key for key in good if isinstance(now[key], MiripoolError)]
    wrong = [key for key in good if now[key] != good[key] and key not in lost]
    assert not wrong, (told_at, wrong)
    found = [finding for finding in report.findings if finding.what != "note"]
    if lost:
        told["refused when read"] += 1
        assert found, (told_at, [str(now[key]) for key in lost])
        assert all(key in {urn for finding in found for urn in finding.urns} for key in lost), (told_at, lost, found)
    if found:
        told["found by verify"] += 1
    elif not lost:
        told["harmless"] += 1
        where[kind] = where.get(kind, 0) + 1
with home.pool("jpl8") as pool:
    assert verify(pool, level="full").findings == []
print(json.dumps(told | {"harmless in": where}))
"""


@pytest.fixture
def filled(pool: Pool, simulated: Path) -> Pool:
    random = np.random.default_rng(1)
    cards = {"SUBSTRT1": 5, "SUBSTRT2": 100, "SUBSIZE1": 40, "SUBSIZE2": 60, "TARGNAME": "a star", "GAIN": 5.5}
    pool.save(Raw(cards, {"SCI": random.integers(0, 65535, (1, 3, 60, 40)).astype("u2")}, name="e"))
    noise = random.normal(size=(1, 3, 60, 40)).astype("f4")
    pool.save(Ramp(cards, {"SCI": noise, "GROUPDQ": (noise > 2).astype("u1")}, name="e"), tag="cal v1")
    pool.save(Rate(cards, {"SCI": noise[0, 0], "DQ": np.zeros((60, 40), "u4")}, name="e"), tag="cal v1")
    table = np.array([(1, "one", 2.5), (2, "two", np.nan)], [("a", "i4"), ("b", "S8"), ("c", "f8")])
    pool.save(Product(cards, {"TAB": table, "SMALL": np.arange(5)}, name="t"))
    pool.save(next((simulated / "v1").glob("*_rateints.fits")))
    large = random.normal(size=(600, 500)).astype("f4")
    for value in (0, 1):  # the second is a delta blob
        large[0, 0] = value
        pool.save(Product(cards, {"IMAGE": large}, name="large"))
    pool.save(Context({"ramp": "Ramp/e", "rate": "Rate/e"}, name="c"))
    pool.tag("Raw/e", "raw")
    pool.remove("Product/t")
    pool.restore("Product/t")
    return pool


def test_single_bits(filled: Pool, scale: Callable[[int, int], int], figure: Callable[[str], None]) -> None:
    number = scale(24, 400)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, "1", str(number)], capture_output=True, text=True, check=False, timeout=3600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    figure(f"{number} flips: {told}")
    assert told["found by verify"] > number * 0.6
    assert not set(told["harmless in"]) - {"blobs"}
