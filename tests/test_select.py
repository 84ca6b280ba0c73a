from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import homes
import numpy as np
import pytest
from astropy.io import fits
from homes import call
from replay import folder_of

from miripool import (
    AttribQuery,
    FullQuery,
    Home,
    MetaQuery,
    Pool,
    Product,
    ProductRefs,
    ProductStorage,
    Query,
    Ramp,
    Rate,
    RateInts,
    Raw,
)
from miripool.errors import (
    AmbiguousSpec,
    IntegrityError,
    InvalidInput,
    ProductNotFound,
    QueryError,
    TagNotFound,
    UnknownKeyword,
)
from miripool.index.connection import Database
from miripool.pool.core import core_of

NAME = "jw01033005001_03103_00001_mirimage"
LATE = "jw02000001001_02101_00001_mirifulong"

# A pool that no test of this module changes:
#
#   urn                 name    version  tags          ngroups  detector
#   urn:jpl8:Raw:0      NAME    0                      8        MIRIMAGE
#   urn:jpl8:Ramp:1     NAME    0        v1            8
#   urn:jpl8:Rate:2     NAME    0        v1            8
#   urn:jpl8:RateInts:3 NAME    0        v1, only      8
#   urn:jpl8:Ramp:4     NAME    1        v2            8
#   urn:jpl8:Rate:5     NAME    1        v2            8
#   urn:jpl8:RateInts:6 NAME    1        v2            8
#   urn:jpl8:Product:7  flat    0                      -        MIRIMAGE   MYKEY = 3, LAMP = True
#   urn:jpl8:Rate:8     LATE    0                      20       MIRIFULONG from 2026


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("library")
    with homes.empty_home(folder / "home", database_url, "library") as home:
        yield home


@pytest.fixture(scope="module")
def pool(library: Home, simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    folder = tmp_path_factory.mktemp("more")
    with library.create("jpl8") as pool:
        pool.save(next((simulated / "uncal").iterdir()))
        for label in ("v1", "v2"):
            for kind in ("ramp", "rate", "rateints"):
                pool.save(simulated / label / f"{NAME}_{kind}.fits", tag=label)
        pool.tag("urn:jpl8:RateInts:3", "only")
        pool.save(homes.write_image(folder / "flat.fits", {"DETECTOR": "MIRIMAGE", "MYKEY": 3, "LAMP": True}))
        cards = {"DATAMODL": "ImageModel", "DETECTOR": "MIRIFULONG", "DATE-OBS": "2026-02-03", "TIME-OBS": "04:05:06"}
        late = homes.write_image(folder / f"{LATE}_rate.fits", {**cards, "NGROUPS": 20, "OBS_ID": "V02"})
        with fits.open(late, mode="update") as hdus:
            hdus["SCI"].header["BUNIT"] = "DN/s"
        pool.save(late)
        yield pool


def serials(refs: ProductRefs) -> list[int]:
    return [ref.serial for ref in refs]


HEADS = [0, 4, 5, 6, 7, 8]


@pytest.mark.slow
def test_the_pool_is_as_the_table_says(pool: Pool) -> None:
    assert [(r.urn, r.name, r.version, r.tags) for r in pool.select(all_versions=True)] == [
        ("urn:jpl8:Raw:0", NAME, 0, ()),
        ("urn:jpl8:Ramp:1", NAME, 0, ("v1",)),
        ("urn:jpl8:Rate:2", NAME, 0, ("v1",)),
        ("urn:jpl8:RateInts:3", NAME, 0, ("only", "v1")),
        ("urn:jpl8:Ramp:4", NAME, 1, ("v2",)),
        ("urn:jpl8:Rate:5", NAME, 1, ("v2",)),
        ("urn:jpl8:RateInts:6", NAME, 1, ("v2",)),
        ("urn:jpl8:Product:7", "flat", 0, ()),
        ("urn:jpl8:Rate:8", LATE, 0, ()),
    ]


# Questions


def has_rates(p: Product) -> bool:
    """A function of this module, for predicates to call."""
    return p.type == "RateInts" and bool(p.data.max() > 1.0)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        # Everything
        ("1", HEADS),
        ("", HEADS),
        (Product, HEADS),
        (MetaQuery(Product, "p", "1"), HEADS),
        (Query("1", allVersions=True), list(range(9))),
        # Kinds
        (Ramp, [4]),
        (Rate, [5, 8]),
        (MetaQuery(Raw, "p", "1"), [0]),
        (FullQuery(RateInts, "p", "1", True), [3, 6]),
        (FullQuery("Ramp", "p", "1", allVersions=True), [1, 4]),
        # Keywords in all their forms
        ("ngroups >= 20", [8]),
        ("NGROUPS == 8", [0, 4, 5, 6]),
        ("exposure.ngroups < 20 and detector == 'MIRIMAGE'", [0, 4, 5, 6]),
        ("meta['ngroups'] = 8 and not (kind == 'Raw')", [4, 5, 6]),
        ("p.meta['meta.exposure.ngroups'].value > 8", [8]),
        (MetaQuery(Ramp, "p", "p.meta['ngroups'].value >= 8 and p.meta['detector'].value == 'MIRIMAGE'"), [4]),
        (MetaQuery(Ramp, "x", "x.meta['ngroups'].value >= 20"), []),
        (AttribQuery(Product, "p", "p.detector == 'MIRIFULONG'"), [8]),
        (AttribQuery(Product, "p", "p.instrument == 'MIRI'"), [0, 4, 5, 6]),
        (Query("instrument=='MIRI' and ngroups>=20"), []),
        ("SCI.BUNIT == 'DN/s'", [5, 6, 8]),
        ("MYKEY == 3", [7]),
        ("LAMP == True", [7]),
        ("lamp == 'OFF'", [0, 4, 5, 6]),
        ("subarray in ('SUB64', 'FULL')", [0, 4, 5, 6]),
        ("ngroups between 8 and 19", [0, 4, 5, 6]),
        ("10 <= ngroups < 100", [8]),
        ("CRDS_CTX like 'jwst_9*'", [4, 5, 6]),
        ("OBS_ID like 'V02'", [8]),
        # Missing keywords do not match, whichever way they are asked
        ("MYKEY != 3", []),
        ("not MYKEY == 3", []),
        ("MYKEY is null", [0, 4, 5, 6, 8]),
        ("p.meta.containsKey('MYKEY')", [7]),
        ("not p.meta.containsKey('NGROUPS')", [7]),
        ("p.meta.containsKey('NEVERSEEN')", []),
        # Times
        ("DATE-OBS >= '2026-01-01'", [8]),
        ("date_obs < '2026-02-03'", [0, 4, 5, 6]),
        ("TIME-OBS == '2026-02-03T04:05:06Z'", [8]),
        ("created > '2020-01-01' and created < '2100-01-01T00:00:00Z'", HEADS),
        ("created < '2020-01-01'", []),
        # Fields
        (f"name == '{LATE}'", [8]),
        ("version == 1", [4, 5, 6]),
        ("p.version > 0 and p.kind == 'Rate'", [5]),
        ("p.filename like '*_rate.fits'", [5, 8]),
        ("urn == 'urn:jpl8:Rate:8'", [8]),
        ("bytes < 20000", [7, 8]),
        # Tags
        ("'v2' in tags", [4, 5, 6]),
        ("'v1' in p.tags", []),
        (MetaQuery(Product, "p", "'v1' in p.tags", allVersions=True), [1, 2, 3]),
        ("'never' in tags", []),
        # Content
        ("p.data.max() == 5", [7, 8]),
        (FullQuery(RateInts, "p", "p.data.max() > 1.0"), [6]),
        (FullQuery(RateInts, "p", "p.data.max() > 1e30"), []),
        ("p['SCI'].shape[0] == 2 and p.data.mean() > 2.4", [7, 8]),
        ("'GROUPDQ' in p", [4]),
        # Data level
        (FullQuery(RateInts, "p", "ANY(p['SCI'][0, 0, :] > 1e9) or p.data.max() > 1.0"), [6]),
        (FullQuery(Product, "p", "(p['SCI'][0, :] > 1).sum() == 1 and p.data.ndim == 2"), [7, 8]),
        # Functions
        (lambda p: p.kind == "Raw", [0]),
        (FullQuery(RateInts, lambda p: (p["SCI"][:, 10:20] > -1e9).sum() > 3), [6]),
        (FullQuery(Product, has_rates), [6]),
        (FullQuery(RateInts, "i", "has_rates(i)", allVersions=True), [3, 6]),
        (FullQuery(Product, "p", "has_rates(p) and version == 0"), []),
        ("has_rates(p)", [6]),
    ],
)
def test_questions(pool: Pool, query: Any, expected: list[int]) -> None:
    assert serials(pool.select(query)) == expected


def test_a_local_function_is_seen(pool: Pool) -> None:
    wanted = 7

    def chosen(p: Product) -> bool:
        return bool(p.serial == wanted)

    assert serials(pool.select("chosen(p)")) == [7]
    assert serials(ProductStorage(pool).select("chosen(p)")) == [7]


def test_tags_and_versions(pool: Pool) -> None:
    assert serials(pool.select(tag="v1")) == [1, 2, 3]
    assert serials(pool.select(RateInts, tag="v1")) == [3]
    assert serials(pool.select(Query(Ramp, "p", "1", tag="v1"))) == [1]
    assert serials(pool.select(Query(Ramp, "p", "1", tag="v1"), tag="v2")) == [4]
    assert serials(pool.select(Query(Ramp, "p", "1", allVersions=True), all_versions=False)) == [4]
    assert serials(pool.select(Rate, all_versions=True)) == [2, 5, 8]
    assert serials(pool.select("'only' in tags", tag="v1")) == [3]
    with pytest.raises(TagNotFound, match="did you mean 'only'"):
        pool.select(tag="onyl")


def test_a_head_matches_or_nothing(pool: Pool) -> None:
    """An older version that would match is not found when its track's head does not."""
    query = "R_GAIN == 'crds://jwst_miri_gain_7783.fits'"
    assert serials(pool.select(query, all_versions=True)) == [1, 2, 3]
    assert serials(pool.select(query)) == []


def test_refining(pool: Pool) -> None:
    first = pool.select("detector == 'MIRIMAGE'")
    assert serials(pool.select("ngroups >= 1", first)) == [0, 4, 5, 6]
    # What was found stays what it was, heads or not.
    old = pool.select(tag="v1")
    assert serials(pool.select("ngroups == 8", old)) == [1, 2, 3]
    assert serials(pool.select(Ramp, list(old))) == [1]
    assert serials(pool.select("1", old, tag="only")) == [3]
    assert serials(pool.select("1", [])) == []
    assert serials(pool.select(lambda p: p.version == 0, old[1:])) == [2, 3]
    with pytest.raises(InvalidInput, match="must consist of ProductRefs"):
        pool.select("1", ["urn:jpl8:Ramp:1"])  # type: ignore[list-item]


def test_order_and_limit(pool: Pool) -> None:
    assert serials(pool.select(order="-serial")) == HEADS[::-1]
    assert serials(pool.select(order="-ngroups"))[0] == 8
    assert serials(pool.select(order="ngroups"))[-2:] == [8, 7]
    assert serials(pool.select(order=["name", "-version", "kind"])) == [7, 4, 5, 6, 0, 8]
    assert serials(pool.select(order="-DATE-OBS", limit=1)) == [8]
    assert serials(pool.select(order="bytes", limit=2, all_versions=True)) == [7, 8]
    assert serials(pool.select(order="-created")) == HEADS[::-1]
    assert serials(pool.select(limit=2)) == [0, 4]
    assert serials(pool.select(limit=0)) == []
    assert serials(pool.select(lambda p: p.version == 1, limit=2)) == [4, 5]
    assert serials(pool.select(lambda p: True, limit=0)) == []
    for limit in (-1, "3", 2.0, 1 << 63):
        with pytest.raises(InvalidInput, match="0 or more"):
            pool.select(limit=limit)  # type: ignore[arg-type]
    with pytest.raises(UnknownKeyword, match="NGROUPS"):
        pool.select(order="ngruops")


@pytest.mark.parametrize(
    ("query", "near"), [("ngruops > 3", "NGROUPS"), ("MYKEI == 3", "MYKEY"), ("SCI.BUNITS == 'DN'", "BUNIT")]
)
def test_an_unknown_keyword_suggests_the_nearest(pool: Pool, query: str, near: str) -> None:
    with pytest.raises(UnknownKeyword, match=near):
        pool.select(query)
    with pytest.raises(UnknownKeyword, match=near):
        pool.select(MetaQuery(Ramp, "p", query))


def test_a_known_keyword_that_nothing_has_is_no_error(pool: Pool) -> None:
    assert serials(pool.select("band == 'SHORT'")) == []


def test_an_empty_pool_knows_no_keywords(library: Home) -> None:
    with library.create("empty") as empty:
        assert serials(empty.select("anything == 3")) == []
        assert empty.select().to_table().colnames[:3] == ["urn", "kind", "name"]
        assert "0 products" in empty.select()._repr_html_()


@pytest.mark.parametrize("query", ["ngroups >=", "f(p)", "p.data.max().__class__", 7, None, b"1"])
def test_what_is_no_query(pool: Pool, query: Any) -> None:
    with pytest.raises((QueryError, InvalidInput)):
        pool.select(query)


def test_an_error_in_a_function_is_the_callers(pool: Pool) -> None:
    with pytest.raises(ZeroDivisionError):
        pool.select(lambda p: 1 / 0)


# Results


def test_results(pool: Pool) -> None:
    refs = pool.select()
    assert len(refs) == refs.size() == 6
    assert [refs[i].serial for i in range(6)] == HEADS
    assert (refs[-1].serial, refs[-6].serial) == (8, 0)
    for wrong in (6, -7):
        with pytest.raises(IndexError, match="6 references"):
            refs[wrong]
    assert serials(refs[1:3]) == [4, 5]
    assert serials(refs[::-2]) == [8, 6, 4]
    assert isinstance(refs[:0], ProductRefs)
    assert serials(refs[:0]) == []
    assert refs[0] in refs
    assert list(refs) == list(refs)
    assert "urn:jpl8:Raw:0" in repr(refs)
    assert bool(refs)
    assert not refs[:0]


def test_results_are_fetched_by_pages(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("miripool.pool.reference._PAGE", 2)
    refs = pool.select(all_versions=True)
    assert serials(refs) == list(range(9))
    assert [refs[i].serial for i in (8, 0, 3, 2, -1)] == [8, 0, 3, 2, 8]


def test_adding_results(pool: Pool) -> None:
    both = pool.select(Ramp) + pool.select(tag="v1") + pool.select(Ramp)
    assert serials(both) == [4, 1, 2, 3]
    with Home(folder_of(pool).parents[1]).pool("jpl8") as again:
        assert serials(pool.select(Ramp) + again.select(Product, limit=2)) == [4, 0]
    with pytest.raises(TypeError):
        pool.select(Ramp) + 1  # type: ignore[operator]


def test_references_compare_by_version(pool: Pool) -> None:
    assert pool.ref("urn:jpl8:Ramp:4") == pool.select(Ramp)[0]
    assert pool.ref("urn:jpl8:Ramp:4") != pool.ref("urn:jpl8:Ramp:1")
    assert len({pool.ref("urn:jpl8:Ramp:4"), pool.select(Ramp)[0]}) == 1


def test_table(pool: Pool) -> None:
    table = pool.select().to_table()
    assert table.colnames == [
        *("urn", "kind", "name", "version", "tags", "created", "bytes"),
        *("start_time", "detector", "subarray", "readpatt", "exp_type", "ngroups", "nints", "crds_ctx"),
    ]
    assert list(table["urn"]) == [ref.urn for ref in pool.select()]
    assert list(table["ngroups"].mask) == [False, False, False, False, True, False]
    assert list(table["ngroups"].compressed()) == [8, 8, 8, 8, 20]
    assert table["ngroups"].dtype.kind == "i"
    assert (table["start_time"][5].isot, table["start_time"].scale) == ("2026-02-03T04:05:06.000", "utc")
    assert table["start_time"].mask.tolist() == [False, False, False, False, True, False]
    assert table["created"][0].to_datetime(timezone=UTC) == pool.ref("urn:jpl8:Raw:0").created
    assert list(table["tags"]) == ["", "v2", "v2", "v2", "", ""]
    chosen = pool.select("1", order="-serial").to_table(["version", "MYKEY", "TGROUP", "SCI.BUNIT", "exposure.nints"])
    assert chosen.colnames == ["version", "MYKEY", "TGROUP", "SCI.BUNIT", "exposure.nints"]
    assert list(chosen["MYKEY"].mask) == [True, False, True, True, True, True]
    assert chosen["MYKEY"][1] == 3
    assert chosen["TGROUP"][5] == 0.08512
    assert chosen["SCI.BUNIT"][0] == "DN/s"
    assert chosen["exposure.nints"][5] == 3
    assert len(pool.select("ngroups > 999").to_table(["urn", "MYKEY"])) == 0
    with pytest.raises(UnknownKeyword, match="MYKEY"):
        pool.select().to_table(["MYKEI"])


def test_a_long_table_is_one_statement(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy import event

    refs = pool.select(all_versions=True)
    seen: list[str] = []
    ask = Database.ask

    def note(*arguments: Any) -> None:
        seen.append(arguments[2])

    def asked(database: Database, question: str, values: Any = ()) -> list[tuple[Any, ...]]:
        seen.append(question)
        return ask(database, question, values)

    monkeypatch.setattr(Database, "ask", asked)
    engine = core_of(pool).catalog.database._base
    event.listen(engine, "before_cursor_execute", note)
    try:
        refs.to_table()
        assert len(seen) == 1
        refs.to_table(["urn", "MYKEY", "TGROUP", "SCI.BUNIT"])
        assert len(seen) == 3
    finally:
        event.remove(engine, "before_cursor_execute", note)


def test_html(pool: Pool) -> None:
    text = pool.select(tag="v1")._repr_html_()
    assert text.count("<tr>") == 4
    assert "3 products" in text
    assert "urn:jpl8:Ramp:1" in text
    assert "v1" in text
    assert "1 product<" in pool.select(Raw)._repr_html_()


def test_references_are_lazy(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    read = core_of(pool).archive.read_manifest
    monkeypatch.setattr(core_of(pool).archive, "manifest", lambda digest: asked.append(digest) or read(digest))
    refs = pool.select(tag="v1")
    ref = refs[0]
    assert (ref.urn, ref.name, ref.kind, ref.version, ref.tags) == ("urn:jpl8:Ramp:1", NAME, "Ramp", 0, ("v1",))
    assert (ref.created.tzinfo, ref.bytes, ref.filename) == (UTC, 728640, f"{NAME}_ramp.fits")
    refs.to_table()
    assert not asked
    assert ref.meta["ngroups"].value == 8
    assert len(asked) == 1
    product = ref.product
    assert product is ref.product
    assert len(asked) == 1
    assert product.data.shape == (3, 8, 64, 72)
    assert (product.urn, product.version, product.tags) == ("urn:jpl8:Ramp:1", 0, ("v1",))


def test_metadata_and_units(pool: Pool) -> None:
    ref = pool.ref("urn:jpl8:Ramp:1")
    group_time = ref.meta["group_time"]
    assert (group_time.value, group_time.unit, group_time.keyword) == (0.08512, "s", "TGROUP")
    assert ref.meta["DATE-OBS"].value == datetime(2024, 1, 1, tzinfo=UTC)
    assert ref.meta.containsKey("lamp")
    assert not ref.meta.containsKey("flag")


def test_one_pixel_is_read(pool: Pool, simulated: Path) -> None:
    ramp = pool.ref("urn:jpl8:Ramp:1").product
    with fits.open(simulated / "v1" / f"{NAME}_ramp.fits") as hdus:
        np.testing.assert_array_equal(ramp["SCI"][0, :, 21, 2], hdus["SCI"].data[0, :, 21, 2])
        np.testing.assert_array_equal(np.asarray(ramp.data), hdus["SCI"].data)
        np.testing.assert_array_equal(np.asarray(ramp.groupdq), hdus["GROUPDQ"].data)


# No blob is opened


def test_looking_needs_no_blob(library: Home, pool: Pool) -> None:
    """Opening, listing, and selecting by metadata and statistics: with the folder of the arrays away."""
    blobs = folder_of(pool) / "blobs"
    away = blobs.with_name("away")
    blobs.rename(away)
    try:
        with library.pool("jpl8") as fresh:
            refs = fresh.select("ngroups >= 8 and detector == 'MIRIMAGE' and 'v2' in tags")
            assert serials(refs) == [4, 5, 6]
            assert serials(fresh.select(FullQuery(RateInts, "p", "p.data.max() > 1.0"))) == [6]
            bright = FullQuery(RateInts, lambda p: p.data.max() > 1.0 and p.data.mean() > -9)
            assert serials(fresh.select(bright)) == [6]
            assert len(refs.to_table(["urn", "TGROUP"])) == 3
            assert refs[0].meta["ngroups"].value == 8
            assert refs[0].product["SCI"].shape == (3, 8, 64, 72)
            assert refs[0].product.data.statistics.n == 3 * 8 * 64 * 72
            assert "SCI" in repr(refs[0].product)
            assert [t.label for t in fresh.tags()] == ["only", "v1", "v2"]
            assert len(fresh.versions(f"Ramp/{NAME}")) == 2
            fresh.ref(f"Rate/{NAME}@v1")
        for command in ("ls", "tags"):
            assert call("--home", library.path, command, "jpl8").exit_code == 0
        for command in ("show", "log"):
            assert call("--home", library.path, command, "jpl8", f"Ramp/{NAME}").exit_code == 0
        # The question that does need arrays says so.
        with pytest.raises(IntegrityError, match="blob"), library.pool("jpl8") as fresh:
            fresh.select(FullQuery(RateInts, lambda p: (p["SCI"][:, 10:20] > 5).sum() > 3))
    finally:
        away.rename(blobs)


# Naming one version


@pytest.mark.parametrize(
    ("spec", "urn"),
    [
        ("urn:jpl8:Ramp:1", "urn:jpl8:Ramp:1"),
        ("URN:jpl8:Ramp:1", "urn:jpl8:Ramp:1"),
        (f"Ramp/{NAME}", "urn:jpl8:Ramp:4"),
        (f"ramp/{NAME}", "urn:jpl8:Ramp:4"),
        (f"Ramp/{NAME}@0", "urn:jpl8:Ramp:1"),
        (f"Ramp/{NAME}@v1", "urn:jpl8:Ramp:1"),
        (f"RateInts/{NAME}@only", "urn:jpl8:RateInts:3"),
        ("flat", "urn:jpl8:Product:7"),
        ("flat@0", "urn:jpl8:Product:7"),
        (LATE, "urn:jpl8:Rate:8"),
    ],
)
def test_specs(pool: Pool, spec: str, urn: str) -> None:
    assert pool.ref(spec).urn == urn
    assert pool.load(spec).urn == urn


def test_references_are_specs_too(pool: Pool) -> None:
    from miripool import Urn

    ref = pool.ref("flat")
    assert pool.ref(ref) == ref
    assert pool.ref(Urn("jpl8", "Product", 7)) == ref
    assert [r.version for r in pool.versions(pool.ref(f"Ramp/{NAME}@0"))] == [0, 1]
    assert pool.head("urn:jpl8:Ramp:1").urn == "urn:jpl8:Ramp:4"


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        (NAME, AmbiguousSpec, f"Raw/{NAME}, Ramp/{NAME}, RateInts/{NAME}, Rate/{NAME}"),
        (f"{NAME}@v1", AmbiguousSpec, "is ambiguous"),
        (f"Ramp/{NAME}@2", ProductNotFound, r"has versions 0 \[v1\], 1 \[v2\]"),
        (f"Ramp/{NAME}@v3", ProductNotFound, r"has versions 0 \[v1\], 1 \[v2\]"),
        (f"Ramp/{NAME[:-1]}", ProductNotFound, f"did you mean {NAME}"),
        ("falt", ProductNotFound, "did you mean flat"),
        ("Ramp/flat", ProductNotFound, "no Ramp 'flat' in pool jpl8"),
        ("Rmap/flat", InvalidInput, "no kind 'Rmap'"),
        ("urn:jpl8:Ramp:99", ProductNotFound, "there is no urn:jpl8:Ramp:99"),
        ("urn:jpl8:Rate:1", ProductNotFound, "urn:jpl8:Ramp:1"),
        ("urn:other:Ramp:1", ProductNotFound, "pool 'other'"),
        ("urn:jpl8:Ramp", InvalidInput, "not a URN"),
        ("urn:jpl8:Ramp:-1", InvalidInput, "not a URN"),
        ("urn:jpl8:Ramp:9999999999999999999", InvalidInput, "too large"),
        ("", InvalidInput, "does not name a product"),
        ("a/b/c", InvalidInput, "does not name a product"),
        ("flat@", InvalidInput, "does not name a product"),
        ("../../etc/passwd", InvalidInput, "does not name a product"),
    ],
)
def test_wrong_specs(pool: Pool, spec: str, error: type[Exception], words: str) -> None:
    for find in (pool.ref, pool.load, pool.versions, pool.head):
        with pytest.raises(error, match=words):
            find(spec)


def test_load_by_tag(pool: Pool) -> None:
    assert pool.load("only").urn == "urn:jpl8:RateInts:3"
    with pytest.raises(AmbiguousSpec, match="urn:jpl8:Ramp:1, urn:jpl8:Rate:2, urn:jpl8:RateInts:3"):
        pool.load("v1")


# Several pools


@pytest.fixture(scope="module")
def other(library: Home, simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    folder = tmp_path_factory.mktemp("other")
    with library.create("My other pool") as pool:
        pool.save(simulated / "v1" / f"{NAME}_rate.fits", tag="v1")
        pool.save(homes.write_image(folder / "dark.fits", {"OTHERKEY": "yes"}), tag="dark ones")
        yield pool


def test_several_pools_as_one(pool: Pool, other: Pool) -> None:
    storage = ProductStorage([pool, other])
    refs = storage.select(Rate)
    assert [ref.urn for ref in refs] == ["urn:jpl8:Rate:5", "urn:jpl8:Rate:8", "urn:My other pool:Rate:0"]
    assert [ref.pool for ref in refs] == [pool, pool, other]
    assert [refs[i].urn for i in (2, 0)] == ["urn:My other pool:Rate:0", "urn:jpl8:Rate:5"]
    assert [ref.urn for ref in storage.select(Rate, limit=1)] == ["urn:jpl8:Rate:5"]
    assert [ref.urn for ref in storage.select(Rate, limit=3)][2:] == ["urn:My other pool:Rate:0"]
    assert [ref.urn for ref in storage.select("version == 0", refs)] == ["urn:jpl8:Rate:8", "urn:My other pool:Rate:0"]
    assert storage.select(tag="v1").size() == 4
    assert [ref.urn for ref in storage.select(tag="dark ones")] == ["urn:My other pool:Product:1"]
    assert [ref.urn for ref in storage.select(Query("1", tag="dark ones"))] == ["urn:My other pool:Product:1"]
    assert storage.select(lambda p: p.kind == "Rate", order="-serial").size() == 3
    # A keyword that one of them has.
    assert [ref.urn for ref in storage.select("OTHERKEY == 'yes'")] == ["urn:My other pool:Product:1"]
    assert [ref.urn for ref in storage.select("MYKEY == 3")] == ["urn:jpl8:Product:7"]
    with pytest.raises(UnknownKeyword, match="OTHERKEY"):
        storage.select("OTHERKEI == 3")
    with pytest.raises(TagNotFound, match="did you mean 'dark ones'"):
        storage.select(tag="dark one")


def test_table_of_several_pools(pool: Pool, other: Pool) -> None:
    storage = ProductStorage([pool, other])
    table = storage.select("kind == 'Product'").to_table(["urn", "OTHERKEY", "MYKEY"])
    assert list(table["urn"]) == ["urn:jpl8:Product:7", "urn:My other pool:Product:1"]
    assert list(table["OTHERKEY"].mask) == [True, False]
    assert list(table["MYKEY"].mask) == [False, True]
    with pytest.raises(UnknownKeyword):
        storage.select().to_table(["NOKEY"])


def test_results_of_several_pools_added(pool: Pool, other: Pool) -> None:
    """Serials are those of a pool: the other pool's product 0 is not this pool's."""
    for refs in (pool.select(Raw) + other.select(Rate), other.select(Rate) + pool.select(Raw)):
        assert {ref.urn for ref in refs} == {"urn:jpl8:Raw:0", "urn:My other pool:Rate:0"}
        assert {refs[0].urn, refs[1].urn} == {"urn:jpl8:Raw:0", "urn:My other pool:Rate:0"}
        assert set(refs.to_table(["urn"])["urn"]) == {"urn:jpl8:Raw:0", "urn:My other pool:Rate:0"}
    mixed = pool.select(Raw) + other.select(Rate)
    assert serials(pool.select("1", mixed)) == [0]
    assert [ref.urn for ref in other.select("1", mixed)] == ["urn:My other pool:Rate:0"]
    with pytest.raises(ProductNotFound, match="My other pool"):
        pool.tag(mixed, "x")
    with pytest.raises(ProductNotFound, match="another pool"):
        pool.ref(other.select(Rate)[0])


def test_a_selection_is_quick(pool: Pool) -> None:
    """No product is looked at where the index can answer: far below the time that a hundredth of that takes."""
    pool.select()
    start = time.perf_counter()
    for _ in range(20):
        pool.select("ngroups >= 8 and detector == 'MIRIMAGE' and p.data.max() > 0")
    assert (time.perf_counter() - start) / 20 < 0.25


@pytest.mark.parametrize(
    ("one", "plain"),
    [
        ("ngroups not in (8)", "ngroups != 8"),
        ("not ngroups in (9)", "ngroups != 9"),
        ("kind not in ('Ramp')", "kind != 'Ramp'"),
        ("kind in ('Raw')", "kind == 'Raw'"),
    ],
)
def test_lists_of_one(pool: Pool, one: str, plain: str) -> None:
    expected = [ref.urn for ref in pool.select(plain)]
    assert expected
    assert [ref.urn for ref in pool.select(one)] == expected


# Times from now


def test_times_from_now(pool: Pool) -> None:
    every = pool.select().size()
    assert every > 0
    for condition in ("created > now - 1 day", "created >= now - 2 hours", "p.created <= now"):
        assert pool.select(condition).size() == every, condition
    for condition in ("created < now - 1 week", "not created > now - 90 minutes", "created > '2999-01-01'"):
        assert pool.select(condition).size() == 0, condition
    for wrong in ("created > now - 1", "created > now - day", "created > now - 3 fortnights"):
        with pytest.raises(QueryError, match=r"write e\.g\. now - 1 day"):
            pool.select(wrong)
    with pytest.raises(QueryError, match="before the year 1"):
        pool.select("created > now - 99999999999 days")
