"""What programs have told of a pool, and what must hold of it for ever."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from miripool import Pool
from miripool.maintenance.gc import collect
from miripool.maintenance.verify import verify
from miripool.pool.core import core_of

WORKLOAD = Path(__file__).with_name("workload.py")


class Memory:
    """What was told of a pool, and what must hold of it for ever."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.versions: dict[int, tuple[Any, ...]] = {}
        self.deeds: Counter[str] = Counter()
        self.garbage = 0

    def take(self, lines: list[bytes]) -> list[str]:
        """Note what a worker has told; give the URNs of what it saved."""
        new = []
        for line in lines:
            if not line.endswith(b"\n"):
                continue  # it was killed while it wrote
            told = json.loads(line)
            self.deeds[told["deed"]] += 1
            if told["deed"] == "save":
                known = self.values.setdefault(told["urn"], told["value"])
                assert known == told["value"], told
                new.append(told["urn"])
        return new

    def check(self, pool: Pool, urns: list[str]) -> None:
        """Look at the pool as the next one who comes."""
        core_of(pool).catch_up()
        for urn in urns:
            ref = pool.ref(urn, removed=True)
            if ref.purged is not None:
                continue
            assert ref.meta["MARK"].value == self.values[urn]
            sci = ref.product["SCI"]
            assert int(sci[(0,) * len(sci.shape)]) == self.values[urn]
        rows = core_of(pool).catalog.rows(range(core_of(pool).catalog.position().next_serial))
        tracks: dict[tuple[str, str], list[int]] = {}
        for row in rows:
            tracks.setdefault((row.kind, row.name), []).append(row.version)
            fixed = (row.kind, row.name, row.version, row.manifest, row.created)
            assert self.versions.setdefault(row.serial, fixed) == fixed
        assert self.versions.keys() == {row.serial for row in rows}
        for versions in tracks.values():
            assert sorted(versions) == list(range(len(versions)))
        report = verify(pool, level="full")
        assert [finding for finding in report.findings if finding.what != "note"] == []
        collected = collect(core_of(pool).archive)
        assert collected.files >= report.unreferenced  # and what dead writers had noted
        self.garbage += collected.files
