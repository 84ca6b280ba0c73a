"""A pool does what a page of plain Python does, whatever is asked of it in whatever order."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import homes
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from miripool import Context, Home, Rate
from miripool.errors import Conflict, ProductNotFound, TagNotFound
from miripool.maintenance.gc import collect
from miripool.maintenance.verify import verify
from miripool.pool.core import core_of

home = homes.home

NAMES = st.sampled_from(["a", "b b", "c"])
LABELS = st.sampled_from(["cal v1", "cal v2"])
_pools = itertools.count()


@dataclass
class Version:
    """What the model knows of one."""

    serial: int
    kind: str
    name: str
    number: int
    content: Any
    removed: bool = False
    purged: bool = False


@dataclass
class Model:
    """A pool as one would write it without a disk."""

    versions: list[Version] = field(default_factory=list)
    tags: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def track(self, kind: str, name: str) -> list[Version]:
        return [v for v in self.versions if (v.kind, v.name) == (kind, name)]

    def save(self, kind: str, name: str, content: Any) -> tuple[Version, bool]:
        track = self.track(kind, name)
        same = [v for v in track if v.content == content and not v.removed]
        if same:
            return same[-1], False
        self.versions.append(Version(len(self.versions), kind, name, len(track), content))
        return self.versions[-1], True

    def reached(self, version: Version) -> list[Version]:
        if version.kind != "Context":
            return [version]
        return [version, *self.reached(self.versions[version.content])]

    def tag(self, version: Version, label: str) -> None:
        for v in self.reached(version):
            self.tags[label, v.kind, v.name] = v.serial

    def labels(self, v: Version) -> list[str]:
        return sorted(label for (label, *_), serial in self.tags.items() if serial == v.serial and not v.removed)

    def holding(self, serials: set[int]) -> set[int]:
        """Versions that go with these, for living contexts refer to them."""
        more = {v.serial for v in self.versions if v.kind == "Context" and v.content in serials and not v.removed}
        return serials if more <= serials else self.holding(serials | more)

    def living(self) -> list[tuple[Any, ...]]:
        heads = {(v.kind, v.name): v for v in self.versions if not v.removed}
        return [
            (v.serial, v.kind, v.name, v.number, heads[v.kind, v.name] is v, self.labels(v))
            for v in self.versions
            if not v.removed
        ]


class PoolMachine(RuleBasedStateMachine):
    """Does the same to a pool and to a model."""

    home: Home

    @initialize()
    def begin(self) -> None:
        self.name = f"p{next(_pools)}"
        self.pool = self.home.create(self.name)
        self.model = Model()

    def some(self, data: st.DataObject, *, removed: bool = False) -> Version:
        found = [v for v in self.model.versions if v.removed == removed and not v.purged]
        assume(found)
        return data.draw(st.sampled_from(found), label="version")

    def urn(self, v: Version) -> str:
        return f"urn:{self.name}:{v.kind}:{v.serial}"

    def agree(self, ref: Any, expected: Version, new: bool) -> None:
        assert (ref.serial, ref.version, ref.notice is None) == (expected.serial, expected.number, new)

    @rule(name=NAMES, value=st.integers(0, 3), label=st.none() | LABELS)
    def save(self, name: str, value: int, label: str | None) -> None:
        ref = self.pool.save(Rate({}, {"SCI": np.full((30, 40), value, "f4")}, name=name), tag=label)
        version, new = self.model.save("Rate", name, value)
        if label is not None:
            self.model.tag(version, label)
        self.agree(ref, version, new)

    @rule(name=NAMES, data=st.data())
    def save_context(self, name: str, data: st.DataObject) -> None:
        target = self.some(data)
        assume(target.kind == "Rate" or target.name < name)  # no circles
        ref = self.pool.save(Context({"it": self.urn(target)}, name=name))
        self.agree(ref, *self.model.save("Context", name, target.serial))

    @rule(data=st.data())
    def save_same(self, data: st.DataObject) -> None:
        version = self.some(data)
        assume(version.kind == "Rate")
        ref = self.pool.save(self.pool.ref(self.urn(version)).product.replace())
        self.agree(ref, *self.model.save(version.kind, version.name, version.content))

    @rule(data=st.data(), label=LABELS)
    def tag(self, data: st.DataObject, label: str) -> None:
        version = self.some(data)
        self.pool.tag(self.urn(version), label)
        self.model.tag(version, label)

    @rule(label=LABELS, data=st.data())
    def untag(self, label: str, data: st.DataObject) -> None:
        version = self.some(data)
        if not any(label in self.model.labels(v) for v in self.model.versions):
            with pytest.raises(TagNotFound):
                self.pool.untag(label, self.urn(version))
            return
        self.pool.untag(label, self.urn(version))
        if self.model.tags.get((label, version.kind, version.name)) == version.serial:
            del self.model.tags[label, version.kind, version.name]

    @rule(data=st.data(), cascade=st.booleans())
    def remove(self, data: st.DataObject, cascade: bool) -> None:
        version = self.some(data)
        going = self.model.holding({version.serial})
        if len(going) > 1 and not cascade:
            with pytest.raises(Conflict):
                self.pool.remove(self.urn(version))
            return
        assert self.pool.remove(self.urn(version), cascade=cascade) == len(going)
        for serial in going:
            self.model.versions[serial].removed = True

    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        version = self.some(data, removed=True)
        reached = self.model.reached(version)
        if any(v.purged for v in reached):
            with pytest.raises(Conflict):
                self.pool.restore(self.urn(version))
            return
        coming = [v for v in reached if v.removed]
        assert self.pool.restore(self.urn(version)) == len(coming)
        for v in coming:
            v.removed = False

    @rule(data=st.data())
    def purge(self, data: st.DataObject) -> None:
        version = self.some(data, removed=True)
        assert self.pool.purge(self.urn(version)) == 1
        version.purged = True
        with pytest.raises(ProductNotFound):
            self.pool.restore(self.urn(version))

    @rule()
    def gc(self) -> None:
        collect(core_of(self.pool).archive)
        assert collect(core_of(self.pool).archive).files == 0

    @rule()
    def reindex(self) -> None:
        self.pool.reindex()

    @rule()
    def reopen(self) -> None:
        self.pool.close()
        self.pool = self.home.pool(self.name)

    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        version = self.some(data)
        product = self.pool.ref(self.urn(version)).product
        if version.kind == "Rate":
            assert (product["SCI"][...] == version.content).all()
        else:
            assert isinstance(product, Context)
            assert product.refs["it"].serial == version.content

    @invariant()
    def lists_what_the_model_has(self) -> None:
        if not hasattr(self, "model"):
            return
        core_of(self.pool).catch_up()
        rows = core_of(self.pool).catalog.select(all_versions=True)
        assert [(r.serial, r.kind, r.name, r.version, r.head, list(r.tags)) for r in rows] == self.model.living()
        trash = [v.serial for v in self.model.versions if v.removed and not v.purged]
        assert [ref.serial for ref in self.pool.trash()] == trash
        assert [ref.serial for ref in self.pool.trash(longer_than=timedelta(0))] == trash

    def teardown(self) -> None:
        if not hasattr(self, "model"):
            return
        collect(core_of(self.pool).archive)
        assert verify(self.pool, level="full").findings == []
        for version in self.model.versions:
            if version.kind == "Rate" and not version.removed:
                assert float(self.pool.ref(self.urn(version)).product["SCI"][-1, -1]) == version.content
        self.pool.close()
        self.home.delete(self.name)


def test_a_pool_is_what_the_model_is(
    home: Home, scale: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    examples, steps = scale(6, 500), scale(20, 30)
    made = type("Machine", (PoolMachine,), {"home": home})
    run_state_machine_as_test(
        made,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=examples < 100,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    figure(f"{examples} examples of up to {steps} steps")
