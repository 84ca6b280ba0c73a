"""References and results: what is fetched, and when, from pools that only count."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miripool.errors import UnknownKeyword
from miripool.model.kinds import Ramp
from miripool.pool import reference
from miripool.pool.reference import ProductRef, ProductRefs

EXAMPLES = settings(deadline=None, max_examples=100)


@dataclass(frozen=True)
class Row:
    serial: int
    kind: str = "Ramp"
    name: str = "jw01"
    version: int = 2
    created: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    removed: datetime | None = None
    manifest: str = "a" * 32
    bytes: int = 5760
    stored_bytes: int = 100
    filename: str | None = "jw01_ramp.fits"
    tags: tuple[str, ...] = ("then",)


class CountingPool:
    """A pool without a database: knows the serials 0 … n-1."""

    def __init__(self, name: str = "jpl8") -> None:
        self.name, self.id = name, f"id-{name}"
        self.front = self
        self.fetched: list[list[int]] = []
        self.loaded: list[int] = []
        self.listed: list[list[int]] = []
        self.known = {"urn", "kind", "name", "version", "tags", "ngroups"}

    def fetch(self, serials: Sequence[int]) -> list[ProductRef]:
        self.fetched.append(list(serials))
        return [ProductRef(self, Row(serial)) for serial in serials]

    def listing(
        self, serials: Sequence[int], columns: Sequence[str] | None = None, *, check: bool = True
    ) -> list[dict[str, Any]]:
        self.listed.append(list(serials))
        if check and not set(columns or ()) <= self.known:
            raise UnknownKeyword(f"{self.name} has no such keyword")
        values = {"ngroups": 5 if self.name == "jpl8" else None}
        return [{c: values.get(c, f"{c} {s}" if c in self.known else None) for c in columns or ()} for s in serials]

    def load_version(self, version: Any) -> Ramp:
        self.loaded.append(version.serial)
        return Ramp({"NGROUPS": 5}, name=version.name)

    def tags_of(self, serial: int) -> tuple[str, ...]:
        return (f"now {serial}",)

    def export(self, ref: ProductRef, destination: Path | str, *, overwrite: bool = False, jwst: bool = False) -> Path:
        return Path(destination) / f"{ref.serial}-{overwrite}-{jwst}"


@pytest.fixture
def pool() -> CountingPool:
    return CountingPool()


def results(pool: CountingPool, count: int) -> ProductRefs:
    return ProductRefs([(pool, serial) for serial in range(count)])


def serials(refs: ProductRefs) -> list[int]:
    return [ref.serial for ref in refs]


# One reference


def test_what_the_index_knows_loads_nothing(pool: CountingPool) -> None:
    ref = ProductRef(pool, Row(17), notice="unchanged")
    assert ref.urn == "urn:jpl8:Ramp:17"
    assert (ref.serial, ref.kind, ref.type, ref.name, ref.version) == (17, "Ramp", "Ramp", "jw01", 2)
    assert (ref.created.year, ref.removed, ref.bytes, ref.stored_bytes) == (2026, None, 5760, 100)
    assert (ref.filename, ref.notice, ref.pool) == ("jw01_ramp.fits", "unchanged", pool)
    assert repr(ref) == "<ProductRef urn:jpl8:Ramp:17 jw01 version 2>"
    assert pool.loaded == []


def test_tags_are_those_of_now(pool: CountingPool) -> None:
    assert ProductRef(pool, Row(17)).tags == ("now 17",)
    assert ProductRef(pool, Row(17)).row.tags == ("then",)


def test_the_product_is_loaded_once(pool: CountingPool) -> None:
    ref = ProductRef(pool, Row(17))
    assert ref.meta["ngroups"].value == 5
    assert ref.product is ref.product
    assert pool.loaded == [17]
    assert ref.to_fits("out", overwrite=True) == Path("out/17-True-False")
    assert ref.to_hdulist()[0].header["NGROUPS"] == 5


def test_references_to_one_version_are_equal(pool: CountingPool) -> None:
    one = ProductRef(pool, Row(1))
    assert one == ProductRef(pool, Row(1, tags=()))
    assert hash(one) == hash(ProductRef(pool, Row(1, tags=())))
    assert len({one, ProductRef(pool, Row(1)), ProductRef(pool, Row(2)), ProductRef(CountingPool("b"), Row(1))}) == 3
    assert one != "urn:jpl8:Ramp:1"


# Results


def test_nothing_is_fetched_before_it_is_looked_at(pool: CountingPool) -> None:
    refs = results(pool, 1300)
    assert len(refs) == refs.size() == 1300
    assert bool(refs)
    assert len(refs[10:20]) == 10
    assert pool.fetched == []


def test_pages_are_fetched_when_walked(pool: CountingPool) -> None:
    refs = results(pool, 1300)
    assert serials(refs) == list(range(1300))
    assert [len(page) for page in pool.fetched] == [500, 500, 300]


def test_a_page_is_kept_until_another_is_looked_at(pool: CountingPool) -> None:
    refs = results(pool, 1300)
    assert [refs[i].serial for i in (0, 499, 3, -1, -300, 1000)] == [0, 499, 3, 1299, 1000, 1000]
    assert [page[0] for page in pool.fetched] == [0, 1000]
    assert refs[0] is refs[0]
    assert [page[0] for page in pool.fetched] == [0, 1000, 0]


def test_walking_backwards_fetches_each_page_once(pool: CountingPool) -> None:
    assert [ref.serial for ref in reversed(results(pool, 1300))] == list(range(1299, -1, -1))
    assert [page[0] for page in pool.fetched] == [1000, 500, 0]


@pytest.mark.slow
@EXAMPLES
@given(st.integers(0, 40), st.integers(1, 9), st.data())
def test_results_are_a_sequence(count: int, page: int, data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "_PAGE", page)
        pool = CountingPool()
        refs, wanted = results(pool, count), list(range(count))
        key = data.draw(st.slices(count))
        assert serials(refs[key]) == wanted[key]
        assert isinstance(refs[key], ProductRefs)
        index = data.draw(st.integers(-count - 2, count + 1))
        if -count <= index < count:
            assert refs[index].serial == wanted[index]
        else:
            counted = f"{count} reference{'' if count == 1 else 's'}"
            with pytest.raises(IndexError, match=f"index {index} is out of range: the result has {counted}$"):
                refs[index]
        assert all(0 < len(p) <= page for p in pool.fetched)


def test_membership_and_position(pool: CountingPool) -> None:
    refs = results(pool, 5)
    assert ProductRef(pool, Row(3)) in refs
    assert ProductRef(pool, Row(9)) not in refs
    assert refs.index(ProductRef(pool, Row(3))) == 3


def test_results_add_up_without_repeats_across_pools(pool: CountingPool) -> None:
    other = CountingPool("otis")
    both = ProductRefs([(pool, 1), (pool, 2)]) + ProductRefs([(other, 1), (pool, 2), (CountingPool("otis"), 1)])
    assert [ref.urn for ref in both] == ["urn:jpl8:Ramp:1", "urn:jpl8:Ramp:2", "urn:otis:Ramp:1"]
    with pytest.raises(TypeError):
        operator.add(both, [1])


def test_pools_are_asked_for_runs_and_order_is_kept(pool: CountingPool) -> None:
    other = CountingPool("otis")
    refs = ProductRefs([(pool, 5), (pool, 3), (other, 9), (pool, 4)])
    assert [ref.urn.split(":", 1)[1] for ref in refs] == ["jpl8:Ramp:5", "jpl8:Ramp:3", "otis:Ramp:9", "jpl8:Ramp:4"]
    assert pool.fetched == [[5, 3], [4]]
    assert other.fetched == [[9]]


def test_nothing_found(pool: CountingPool) -> None:
    refs = results(pool, 0)
    assert list(refs) == []
    assert not refs
    assert repr(refs) == "<ProductRefs 0: >"
    assert "0 products" in refs._repr_html_()
    assert pool.fetched == []


def test_results_show_their_first(pool: CountingPool) -> None:
    refs = results(pool, 30)
    assert repr(refs) == "<ProductRefs 30: urn:jpl8:Ramp:0, urn:jpl8:Ramp:1, urn:jpl8:Ramp:2, …>"
    assert repr(refs[:1]) == "<ProductRefs 1: urn:jpl8:Ramp:0>"
    html = refs._repr_html_()
    assert html.count("<tr>") == 21
    assert "… and 10 more" in html
    assert "2026-01-02 03:04:05" in html
    assert "1 product<" in refs[:1]._repr_html_()


def test_names_can_not_write_html(pool: CountingPool) -> None:
    pool.fetch = lambda serials: [ProductRef(pool, Row(s, name="<b>&", tags=("<i>",))) for s in serials]  # type: ignore[method-assign]
    html = results(pool, 1)._repr_html_()
    assert "&lt;b&gt;&amp;" in html
    assert "&lt;i&gt;" in html
    assert "<b>" not in html


def test_a_table_of_all_rows(pool: CountingPool) -> None:
    other = CountingPool("otis")
    refs = ProductRefs([(pool, 1), (pool, 2), (other, 3)])
    table = refs.to_table(["urn", "ngroups"])
    assert table.colnames == ["urn", "ngroups"]
    assert list(table["urn"]) == ["urn 1", "urn 2", "urn 3"]
    assert table["ngroups"].mask.tolist() == [False, False, True]
    assert (pool.listed, other.listed, pool.fetched) == ([[1, 2]], [[3]], [])


def test_a_column_that_no_pool_knows_is_an_error(pool: CountingPool) -> None:
    other = CountingPool("otis")
    refs = ProductRefs([(pool, 1), (other, 3)])
    with pytest.raises(UnknownKeyword):
        refs.to_table(["urn", "colour"])
    pool.known.add("colour")
    pool.listing = lambda *a, **k: [{"urn": "u", "colour": None} for _ in a[0]]  # type: ignore[method-assign]
    assert len(refs.to_table(["urn", "colour"])) == 2
