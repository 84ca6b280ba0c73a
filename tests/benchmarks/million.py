"""Make a pool of a million products: its journal, its index, and the files of a few products."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from manifests import make_header

from miripool import Home, Pool
from miripool.index import apply
from miripool.model.canonical import digest_bytes
from miripool.model.product import Origin
from miripool.model.statistics import Statistics
from miripool.pool.core import Core, core_of
from miripool.store.journal import Action, Entry, Journal, Remove, Save, Tag
from miripool.store.manifest import BlobRef, HduRecord, Manifest

__all__ = ["GROUP", "cards", "make_million", "place_of"]

GROUP = 43
"""Products of ten exposures: four kinds of each, and three of them made again for the first."""

_KINDS = ("Raw", "Ramp", "RateInts", "Rate")
_ENTRY = 100
"""Products in an entry of the journal."""
_START = datetime(2022, 7, 12, tzinfo=UTC)
_ARRAYS = 16
_SHAPE = (16, 16)
_LATEST = 300
_EVERY = 10_000
"""The latest products have files, and one of so many others: what a page shows first can be opened."""

_SUBARRAYS = ("FULL", "FULL", "FULL", "FULL", "BRIGHTSKY", "SUB256", "SUB128", "SUB64", "SLITLESSPRISM", "MASK1550")
_FILTERS = ("F560W", "F770W", "F1000W", "F1130W", "F1280W", "F1500W", "F1800W", "F2100W", "F2550W", "P750L", "OPAQUE")
_IMAGE_TYPES = ("MIR_IMAGE", "MIR_IMAGE", "MIR_IMAGE", "MIR_LRS-FIXEDSLIT", "MIR_TACQ", "MIR_DARKIMG", "MIR_FLATIMAGE")
_TARGETS = ("HD 15318", "BD+60 1753", "NGC 1365", "M31 / field 'a'", 'Sgr "A"', "DARK", "UNKNOWN")


def place_of(serial: int) -> tuple[int, str, int]:
    """Give the exposure of a product, its kind and its version."""
    group, place = divmod(serial, GROUP)
    if place < 40:
        return group * 10 + place // 4, _KINDS[place % 4], 0
    return group * 10, _KINDS[place - 39], 1


def _detector(exposure: int) -> str:
    return ("MIRIMAGE", "MIRIMAGE", "MIRIFULONG", "MIRIFUSHORT")[exposure % 4]


def _name(exposure: int) -> str:
    program, visit = 1000 + exposure // 400, exposure // 20 % 20 + 1
    return (
        f"jw{program:05d}{visit:03d}001_0{exposure % 9 + 1}101_{exposure % 400 + 1:05d}_{_detector(exposure).lower()}"
    )


def cards(serial: int) -> dict[str, Any]:
    """Give the 30 keywords of a product."""
    e, kind, version = place_of(serial)
    detector = _detector(e)
    began = _START + timedelta(seconds=137 * e)
    imager = detector == "MIRIMAGE"
    found: dict[str, Any] = {
        "TELESCOP": "JWST",
        "INSTRUME": "MIRI",
        "DETECTOR": detector,
        "DATE-OBS": f"{began:%Y-%m-%d}",
        "TIME-OBS": f"{began:%H:%M:%S}.{e % 1000:03d}",
        "PROGRAM": f"{1000 + e // 400:05d}",
        "OBSERVTN": f"{e // 20 % 20 + 1:03d}",
        "VISIT": "001",
        "OBS_ID": f"V{1000 + e // 400:05d}{e // 20 % 20 + 1:03d}001P0000000{e % 9 + 1}101",
        "TARGNAME": _TARGETS[e // 400 % 5] if e % 7 else _TARGETS[5 + e % 2],
        "EXP_TYPE": _IMAGE_TYPES[e // 8 % 7] if imager else "MIR_MRS",
        "SUBARRAY": _SUBARRAYS[e * 7 // 3 % 10] if imager else "FULL",
        "READPATT": ("FASTR1", "FASTR1", "FASTR1", "SLOWR1", "FAST")[e * 11 // 7 % 5],
        "NGROUPS": 5 + e * 13 % 96,
        "NINTS": 1 + e * 5 % 7 * (e % 3),
        "EFFEXPTM": round((5 + e * 13 % 96) * 2.775, 3),
        "TGROUP": 2.775,
        "EXPSTART": round(59772.0 + 137 * e / 86400, 8),
        "PATT_NUM": e % 4 + 1,
        "NUMDTHPT": 4,
        "CAL_VER": f"1.{8 + 2 * version}.0",
        "CRDS_CTX": f"jwst_{900 + e // 20000 + 50 * version:04d}.pmap",
        "BITE": round((serial * 2654435761 % 1_000_003) / 1_000_003, 6),
        "COUNT": serial * 48271 % 100_003,
        "ZEROFRAM": e % 5 == 0,
        "PI_NAME": f"Investigator {e // 400 % 37}",
        "EXPCOUNT": 20,
    }
    found |= {"FILTER": _FILTERS[e * 3 // 2 % 11]} if imager else {"CHANNEL": ("12", "34")[e % 2]}
    found |= {"CORONMSK": "NONE"} if imager else {"BAND": ("SHORT", "MEDIUM", "LONG")[e // 4 % 3]}
    found |= {"S_JUMP": "COMPLETE" if kind in ("RateInts", "Rate") else "SKIPPED"}
    return found


class _Maker:
    """Makes manifests and entries that belong to one another; arrays are some few that all products share."""

    def __init__(self, core: Core, products: int) -> None:
        self._products = products
        self.kept: dict[str, Manifest] = {}
        self._arrays: list[tuple[BlobRef, Statistics | None]] = []
        for i in range(_ARRAYS):
            array = np.random.default_rng(i).normal(100 * i, 1 + i, _SHAPE).astype("f4")
            ref, statistics = core.archive.blobs.measure(array)
            core.archive.blobs.write(ref, array)
            self._arrays.append((ref, statistics))
        data = "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT", "EXTNAME", "BUNIT"
        values = "IMAGE", -32, 2, _SHAPE[1], _SHAPE[0], 0, 1, "SCI", "DN/s"
        self._sci = make_header(dict(zip(data, values, strict=True)))
        self._primary = {"SIMPLE": True, "BITPIX": 8, "NAXIS": 0, "EXTEND": True}

    def manifest_of(self, serial: int) -> Manifest:
        exposure, kind, _ = place_of(serial)
        ref, statistics = self._arrays[serial % _ARRAYS]
        name = _name(exposure)
        file = f"{name}_{'uncal' if kind == 'Raw' else kind.lower()}.fits"
        hdus = (
            HduRecord(make_header({**self._primary, **cards(serial)}), "PRIMARY", "none"),
            HduRecord(self._sci, "SCI", "image", "DN/s", None, statistics, ref),
        )
        size = 2880 * (20 + serial * 7919 % 100_000)
        return Manifest(kind, name, hdus, origin=Origin(file, size, f"{serial + 1:032x}"))

    def manifest(self, digest: str) -> Manifest:
        """Give a manifest by its name; those without a file have their serial for one."""
        return self.kept[digest] if digest in self.kept else self.manifest_of(int(digest, 16))

    def save(self, serial: int) -> Save:
        exposure, kind, version = place_of(serial)
        digest = f"{serial:032x}"
        if serial >= self._products - _LATEST or serial % _EVERY == 0:
            manifest = self.manifest_of(serial)
            digest = digest_bytes(manifest.to_bytes())
            self.kept[digest] = manifest
        return Save(serial, kind, _name(exposure), version, digest, f"{serial:032x}", 4096)

    def actions(self, serials: range) -> Iterator[Action]:
        yield from map(self.save, serials)
        marked: dict[str, list[int]] = {}
        for serial in serials:
            place = serial % GROUP
            if place >= 40:
                marked.setdefault("using cal v2", []).append(serial)
            elif place in (1, 2, 3):
                marked.setdefault("using cal v1", []).append(serial)
            elif place % 8 == 4:
                marked.setdefault("baseline", []).append(serial)
        for label, members in marked.items():
            yield Tag(label, tuple(members))
        removed = tuple(serial for serial in serials if serial % GROUP == 39 and serial % 5 == 0)
        if removed:
            yield Remove(removed)

    def entries(self) -> Iterator[Entry]:
        previous: str | None = None
        for n, start in enumerate(range(0, self._products, _ENTRY)):
            serials = range(start, min(start + _ENTRY, self._products))
            made = Entry(
                n,
                _START + timedelta(days=400, seconds=30 * n),
                previous,
                tuple(self.actions(serials)),
                serials.stop,
                serials.stop,
                user="ana",
                host="bench",
                nonce=f"{n:016x}",
            ).sealed()
            previous = made.digest
            yield made


def make_million(home: Home | Path | str, name: str = "million", products: int = 1_000_000) -> Pool:
    """Make a pool of many products of 30 keywords; takes some five minutes for a million.

    Every product is in the journal and in the index, as if it had been saved. Manifests and arrays are stored for the
    latest 300 products and for one of 10,000 others: these can be opened, the others only listed.

    Parameters
    ----------
    home : Home or path
        Where; its server is started.
    name : str, optional
        Of the pool.
    products : int, optional
        How many versions.

    Returns
    -------
    Pool
        Open.
    """
    pool = (home if isinstance(home, Home) else Home(home)).create(name)
    core = core_of(pool)
    maker = _Maker(core, products)
    journal = pool.path / "journal"
    journal.mkdir(exist_ok=True)
    for entry in maker.entries():
        (journal / Path(Journal.key(entry.n)).name).write_bytes(entry.to_bytes())
    for manifest in maker.kept.values():
        core.archive.write(manifest, {})
    core.archive.manifest = maker.manifest  # type: ignore[assignment]
    # In one transaction, which makes the indexes at its end.
    with mock.patch.object(apply, "_FILL_SAVES", products):
        core.catch_up()
    pool.close()
    return (home if isinstance(home, Home) else Home(home)).pool(name)


if __name__ == "__main__":
    folder, called, number = sys.argv[1:]
    print(make_million(folder, called, int(number)))
