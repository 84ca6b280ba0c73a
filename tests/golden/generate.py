"""Makes the pool of today's format that `test_golden.py` reads: ``python tests/golden/generate.py``.

What is there is not made again while the numbers of the folder's format and of the journal's stay: it shows that later
versions read what earlier ones wrote. A new format gets a folder of its own beside it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from miripool import Context, Home, Pool, Product, Ramp, Rate, RateInts
from miripool.exchange.copy import PoolShelf
from miripool.exchange.pack import pack
from miripool.maintenance.gc import collect
from miripool.pool.core import core_of
from miripool.pool.save import keep_exposures
from miripool.simulate import Calibration, simulate_exposure
from miripool.store import journal
from miripool.store.poolinfo import FORMAT

FOLDER = Path(__file__).parent / f"format-{FORMAT}.{journal.FORMAT}"
DATE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CARDS = {"SUBSTRT1": 5, "SUBSTRT2": 100, "SUBSIZE1": 8, "SUBSIZE2": 6, "DETECTOR": "MIRIMAGE", "TARGNAME": "a 'star'"}


def describe(pool: Pool) -> dict[str, Any]:
    """Tell all that a reader gets from a pool: listing, tags with their history, files, one pixel."""
    core = core_of(pool)
    core.catch_up()
    rows = core.catalog.rows(range(core.catalog.position().next_serial))
    versions = []
    for row in rows:
        told = {
            "serial": row.serial,
            "kind": row.kind,
            "name": row.name,
            "version": row.version,
            "head": row.head,
            "tags": list(row.tags),
            "created": row.created.isoformat(),
            "removed": row.removed and row.removed.isoformat(),
            "purged": row.purged and row.purged.isoformat(),
            "stored_bytes": row.stored_bytes,
        }
        ref = core.fetch([row.serial])[0]
        if row.purged is None:
            with tempfile.TemporaryDirectory() as folder:
                data = pool.export(ref, Path(folder) / "x.fits").read_bytes()
            told["fits"] = hashlib.sha256(data).hexdigest()
            told["statistics"] = {name: repr(ref.product[name].statistics) for name in ref.product}
            if isinstance(ref.product, Context):
                told["references"] = {link.name: link.serial for link in ref.product.links}
        versions.append(told)
    events = [[e.entry, e.time.isoformat(), e.label, e.serial, e.previous] for e in pool.tag_events()]
    table = pool.pixel(7, 103).history(RateInts, all_versions=True)
    pixel = [[str(row["urn"]), int(row["integration"]), float(row["rate"]), int(row["dq"])] for row in table]
    return {"id": pool.id, "versions": versions, "tag_events": events, "pixel": pixel}


def fill(pool: Pool, folder: Path) -> None:
    """Do something of everything."""
    exposure = simulate_exposure("jw01033005001_03103_00001_mirimage", subarray="SUB64", nints=1, ngroups=3, seed=1)
    uncal = exposure.write_uncal(folder, date=DATE)
    pool.save(uncal)
    for label, gain in (("v1", 5.5), ("v2", 3.1)):
        (folder / label).mkdir()
        exposure.write_products(folder / label, Calibration(label, gain=gain), date=DATE)
        made = [pool.save(path, tag=f"using cal {label}") for path in sorted((folder / label).glob("*rateints.fits"))]
        keep_exposures(core_of(pool), made, [pool.ref("Raw/jw01033005001_03103_00001_mirimage")])
    random = np.random.default_rng(1)
    ramp = random.normal(size=(1, 3, 6, 8)).astype("f4")
    ramp[0, 0, 0, 0] = np.nan
    history = [{"tool": "by hand", "inputs": ["urn:golden:Raw:0"], "references": {"R_GAIN": "gain.fits"}}]
    pool.save(Ramp(CARDS, {"SCI": ramp, "GROUPDQ": (ramp > 1).astype("u1")}, name="small"), history=history)
    pool.save(RateInts(CARDS, {"SCI": ramp[:, 0], "DQ": np.ones((1, 6, 8), "u4")}, name="small"), tag="größer 1")
    for value in range(3):
        pool.save(Rate(CARDS, {"SCI": np.full((6, 8), value, "f4")}, name="three"), tag="moves")
    table = np.array([(1, "one", 2.5), (2, "two", np.nan)], [("a", "i4"), ("b", "S8"), ("c", "f8")])
    pool.save(Product(CARDS, {"TAB": table, "CUBE": np.arange(4096, dtype="i2").reshape(16, 16, 16)}, name="other"))
    pool.save(Context({"ramp": "Ramp/small", "rate": "Rate/three@1"}, name="a context"))
    if FORMAT > 1:  # the second version is a delta blob
        large = np.arange(360, dtype="f4")[:, None] + np.zeros((1, 3, 360, 400), "f4")
        for rows in (slice(0), slice(7)):
            large[0, :, rows, 5:300:2] += 1
            pool.save(Ramp(CARDS | {"SUBSIZE1": 400, "SUBSIZE2": 360}, {"SCI": large}, name="large"))
    if FORMAT > 2:  # another has changed pixels only, and a table is deflated
        noise = random.normal(size=(2, 4, 40, 60)).astype("f4")
        log = np.array([(np.resize(np.arange(200, dtype="u1"), 5000),)], [("ASDF_METADATA", "u1", (5000,))])
        for value in (0, 1):
            noise[:, 2:, 5, 5:7] += value
            noise[1, 0, 30, 50] += value
            pool.save(Ramp(CARDS | {"SUBSIZE1": 60, "SUBSIZE2": 40}, {"SCI": noise, "LOG": log}, name="pixels"))
    if FORMAT > 3:  # the small arrays of two products are the same, and in one blob
        flags = np.arange(2048, dtype="u4").reshape(32, 64) % 5
        for name in ("bundled", "bundled, too"):
            pool.save(Product(CARDS, {"LOG": log, "FLAGS": flags, "TAB": table}, name=name))
    pool.untag("größer 1", "RateInts/small")
    pool.remove("Rate/three@0")
    pool.remove("Rate/three@2")
    pool.purge("Rate/three@0")
    collect(core_of(pool).archive)
    pool.remove("Product/other")
    pool.restore("Product/other")


def main() -> None:
    """Write the folder."""
    if FOLDER.exists():
        sys.exit(f"{FOLDER} is there; it is kept as it is")
    with tempfile.TemporaryDirectory() as folder:
        os.environ.pop("MIRIPOOL_DATABASE_URL", None)
        journal.user_name = lambda: "ana"
        journal.socket.gethostname = lambda: "mirihost"
        home = Home(Path(folder) / "home")
        (Path(folder) / "files").mkdir()
        try:
            with home.create("golden") as pool:
                fill(pool, Path(folder) / "files")
                root = pool.path
                FOLDER.mkdir(parents=True)
                shutil.copytree(
                    root, FOLDER / "pool", ignore=shutil.ignore_patterns("pending", "collecting", "leases", "work")
                )
                shelf = PoolShelf(
                    core_of(pool), ["Context/a context", "Product/other", "RateInts/small"]
                )  # not what is large
                pack(shelf, core_of(pool).archive, FOLDER / "versions.tar")
                (FOLDER / "expected.json").write_text(json.dumps(describe(pool), indent=1, ensure_ascii=False) + "\n")
        finally:
            home.server.stop()


if __name__ == "__main__":
    main()
