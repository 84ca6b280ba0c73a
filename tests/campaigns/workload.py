"""A program that does at random what users do, and tells each deed once it is done; it is there to be killed."""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from miripool import Home, Pool, Product, Ramp, Rate, RateInts, Raw
from miripool.errors import Conflict, NotFound
from miripool.formats import write_fits
from miripool.maintenance.gc import collect
from miripool.pool import save as saving
from miripool.pool.core import core_of
from miripool.pool.ingest import ingest

CARDS = {"SUBSTRT1": 5, "SUBSTRT2": 100, "SUBSIZE1": 8, "SUBSIZE2": 6, "DETECTOR": "MIRIMAGE"}
LABELS = ("cal v1", "cal v2", "for the paper")
NAMES = tuple(f"exposure_{n}" for n in range(4))


def made(kind: type[Product], name: str, value: int, *, large: bool = False) -> Product:
    """Make a product that holds a number everywhere, and in its header; a large one in its first tile only."""
    size = (500, 540) if large else (6, 8)
    cards = {**CARDS, "SUBSIZE1": size[1], "SUBSIZE2": size[0], "MARK": value, "NINTS": 1, "NGROUPS": 2}
    shape = {Raw: (1, 2, *size), Ramp: (1, 2, *size), RateInts: (1, *size), Rate: size}[kind]
    if kind is Raw:
        return Raw(cards, {"SCI": np.full(shape, value % 60000, "u2")}, name=name)
    sci = np.full(shape, value, "f4")
    if large:
        sci = np.random.default_rng(1).normal(size=shape).astype("f4")
        sci.flat[0] = value
    return kind(cards, {"SCI": sci}, name=name)


class Work:
    """What is done, and what was."""

    def __init__(self, pool: Pool, seed: int, folder: Path) -> None:
        self.pool = pool
        self.folder = folder
        self.random = random.Random(seed)
        self.value = seed * 1000

    def tell(self, deed: str, **facts: Any) -> None:
        os.write(1, json.dumps({"deed": deed, **facts}).encode() + b"\n")

    def next_value(self) -> int:
        self.value += 1
        return self.value

    def some(self) -> Any:
        found = self.pool.select(Product, all_versions=True)
        return self.random.choice(list(found)) if len(found) else None

    def save(self) -> None:
        value, kind = self.next_value(), self.random.choice([Rate, RateInts, Ramp])
        tag = self.random.choice([None, *LABELS])
        product = made(kind, self.random.choice(NAMES), value, large=self.random.random() < 0.3)
        ref = self.pool.save(product, tag=tag)
        self.tell("save", urn=ref.urn, version=ref.version, value=value)

    def ingest(self) -> None:
        """Add files, most of them by one entry; where two are of one track, the later one is the later version."""
        tag = self.random.choice([None, *LABELS])
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            values: dict[Path, int] = {}
            for number in range(self.random.randrange(2, 8)):
                name, kind = self.random.choice(NAMES), self.random.choice([Rate, RateInts, Ramp])
                path = Path(folder, str(number), f"{name}_{kind.kind.lower()}.fits")
                path.parent.mkdir()
                values[path] = self.next_value()
                write_fits(made(kind, name, values[path], large=self.random.random() < 0.2), path)
            for outcome in ingest(core_of(self.pool), list(values), tag=tag, jobs=self.random.choice([1, 2])):
                if outcome.error is not None:
                    raise outcome.error
                self.tell("save", urn=outcome.urn, version=outcome.version, value=values[outcome.path])
        self.tell("ingest", files=len(values))

    def save_again(self) -> None:
        ref = self.some()
        if ref is not None:
            same = self.pool.save(ref.product.replace())
            self.tell("again", urn=same.urn)

    def reprocess(self) -> None:
        """Do what `reprocess` does once the pipeline has run."""
        name, value = self.random.choice(NAMES), self.next_value()
        raw = self.pool.save(made(Raw, name, NAMES.index(name)))
        self.tell("save", urn=raw.urn, version=raw.version, value=NAMES.index(name))
        ready = [saving.read(made(kind, name, value)) for kind in (Ramp, RateInts)]
        *refs, exposure = saving.commit_together(core_of(self.pool), ready, tag=self.random.choice(LABELS), raw=raw)
        self.tell("exposure", urn=exposure.urn)
        for ref in refs:
            self.tell("save", urn=ref.urn, version=ref.version, value=value)

    def tag(self) -> None:
        ref = self.some()
        if ref is not None:
            label = self.random.choice(LABELS)
            self.pool.tag(ref, label)
            self.tell("tag", urn=ref.urn, label=label)

    def untag(self) -> None:
        ref = self.some()
        if ref is not None and ref.tags:
            self.pool.untag(ref.tags[0], ref)
            self.tell("untag", urn=ref.urn)

    def remove(self) -> None:
        ref = self.some()
        if ref is not None:
            self.pool.remove(ref, cascade=True)
            self.tell("remove", urn=ref.urn)

    def restore(self) -> None:
        trash = list(self.pool.trash())
        if trash:
            ref = self.random.choice(trash)
            try:
                self.pool.restore(ref)
            except Conflict:  # what it refers to was purged, and nothing else forbids it
                links = core_of(self.pool).archive.manifest(ref.row.manifest).references
                assert any(row.purged for row in core_of(self.pool).catalog.rows([link.serial for link in links]))
                self.tell("not restored", urn=ref.urn)
            else:
                self.tell("restore", urn=ref.urn)

    def purge(self) -> None:
        trash = list(self.pool.trash())
        if trash:
            ref = self.random.choice(trash)
            self.pool.purge(ref)
            self.tell("purge", urn=ref.urn)

    def undo(self) -> None:
        """Take one of the latest entries back."""
        newest = core_of(self.pool).catch_up().n
        if newest >= 0:
            entry = self.random.randint(max(0, newest - 5), newest)
            try:
                done = self.pool.undo(entry)
            except Conflict as error:
                self.tell("not undone", entry=entry, why=str(error))
            else:
                self.tell("undo", entry=entry, by=done.new.entry)

    def collect(self) -> None:
        self.tell("gc", files=collect(core_of(self.pool).archive).files)

    def read(self) -> None:
        """Do what readers do; all that is seen fits together."""
        ref = self.some()
        if ref is not None:
            kind = self.random.choice([Rate, RateInts, Ramp])
            found = self.pool.select(f"MARK == {int(ref.meta['MARK'].value)}" if "MARK" in ref.meta else "1")
            table = self.pool.pixel(9, 103).history(RateInts, all_versions=True)
            for other in self.random.sample(list(found), min(3, len(found))):
                sci = other.product["SCI"][...]
                assert int(sci.flat[0]) == other.meta["MARK"].value % (60000 if other.kind == "Raw" else 1 << 30)
            self.tell("read", matches=len(found), pixels=len(table), kind=kind.kind)

    def run(self, *, share: bool, write: bool) -> None:
        deeds = [self.save] * 3 + [self.ingest] * 3
        deeds += [self.save_again, self.reprocess, self.reprocess, self.tag, self.untag]
        # Several at once take nothing away that another is about to use.
        deeds += [self.collect] if share else [self.remove, self.restore, self.purge, self.undo, self.collect]
        while True:
            try:
                self.random.choice(deeds if write else [self.read])()
            except NotFound as error:
                self.tell("lost a race", error=str(error))  # another writer removed it meanwhile


def main(home: Path, seed: int, *how: str) -> None:
    """Work until somebody makes an end of it; ``share``: with others, ``read``: without changing anything."""
    pool = Home(home).pool("jpl8")
    core_of(pool).catch_up()
    os.write(1, b'{"deed": "ready"}\n')
    Work(pool, seed, home.parent).run(share="share" in how, write="read" not in how)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
