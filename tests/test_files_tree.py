"""A pool as a tree of files: what lies where, how large it is, and that it is what would be exported."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from awkward import AWKWARD

from miripool import Home, Pool, Product, Rate
from miripool.errors import FileMissing, IntegrityError, InvalidInput, PoolNotFound
from miripool.files import names, tree
from miripool.files.tree import PoolTree
from miripool.index import folders
from miripool.index.folders import FileFolder
from miripool.model.dataset import Dataset
from miripool.pool.core import core_of
from miripool.simulate import SimulatedExposure

STEM = "jw01033005001_03103_00001_mirimage"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the pool at each question; make tables again also where the machine is so busy that they take long."""
    monkeypatch.setattr(tree, "_LOOK_SECONDS", -1.0)
    monkeypatch.setattr("miripool.files.tables._PATIENCE", 0.0)


@pytest.fixture
def filled(pool: Pool, simulated: Path) -> Pool:
    """A pool with one exposure in two calibrations."""
    pool.save(simulated / "uncal" / f"{STEM}_uncal.fits", pixels=False)
    for label in ("v1", "v2"):
        for kind in ("ramp", "rateints", "rate"):
            pool.save(simulated / label / f"{STEM}_{kind}.fits", tag=f"using cal {label}", pixels=False)
    return pool


def rate(name: str, value: float = 1.0) -> Product:
    return Rate({"INSTRUME": "MIRI"}, {"SCI": Dataset("SCI", np.full((2, 3), value, np.float32))}, name=name)


def listed(files: PoolTree, path: str) -> list[str]:
    return [node.name + ("/" if node.is_folder else "") for node in files.entries(path)]


def walk(files: PoolTree, path: str = "") -> Iterator[str]:
    """Give the paths of all files below a folder."""
    for node in files.entries(path or "/"):
        below = f"{path}/{node.name}"
        assert files.find(below) == node
        if node.is_folder:
            assert (node.size, node.etag) == (0, "")
            yield from walk(files, below)
        else:
            yield below


def rows_of(files: PoolTree, path: str) -> list[dict[str, str]]:
    file = files.open(path)
    content = file.read(0, file.size)
    assert len(content) == file.size == files.find(path).size
    return list(csv.DictReader(io.StringIO(content.decode())))


def test_what_lies_where(filled: Pool) -> None:
    files = PoolTree(filled)
    assert listed(files, "/") == ["README.txt", "by-date/", "by-kind/", "by-tag/", "products.csv", "versions/"]
    kinds = ["Ramp", "Rate", "RateInts", "Raw"]
    shown = sorted(name for kind in kinds for name in (f"{kind}/", f"{kind}.csv"))
    assert sorted(listed(files, "/by-kind")) == sorted(listed(files, "/versions")) == shown
    assert listed(files, "/by-kind/Ramp") == [f"{STEM}_ramp.fits"]
    assert listed(files, "/by-kind/Raw") == [f"{STEM}_uncal.fits"]
    assert listed(files, "/versions/Ramp") == [f"{STEM}_v0_ramp.fits", f"{STEM}_v1_ramp.fits"]
    assert listed(files, "/by-tag") == ["using cal v1/", "using cal v1.csv", "using cal v2/", "using cal v2.csv"]
    assert listed(files, "/by-tag/using cal v1") == [f"{STEM}_{kind}.fits" for kind in ("ramp", "rate", "rateints")]
    observed = filled.ref(f"Ramp/{STEM}").start_time
    assert observed is not None
    assert listed(files, "/by-date") == [f"{observed:%Y}/", f"{observed:%Y}.csv"]
    assert listed(files, f"/by-date/{observed:%Y}") == [f"{observed:%Y-%m-%d}/"]
    heads = {f"{STEM}_{kind}.fits" for kind in ("uncal", "ramp", "rate", "rateints")}
    assert set(listed(files, f"/by-date/{observed:%Y/%Y-%m-%d}")) == heads


def test_files_are_the_exports(filled: Pool, tmp_path: Path) -> None:
    files = PoolTree(filled)
    for number, path in enumerate(path for path in walk(files) if path.endswith(".fits")):
        kind = {"uncal": "Raw", "ramp": "Ramp", "rate": "Rate", "rateints": "RateInts"}[path[:-5].rpartition("_")[2]]
        spec = f"{kind}/{STEM}" + ("@0" if "_v0_" in path else "@using cal v1" if "cal v1" in path else "")
        ref = filled.ref(spec)
        content = ref.to_fits(tmp_path / f"{number}.fits").read_bytes()
        file, node = files.open(path), files.find(path)
        assert file.size == node.size == len(content)
        assert file.read(0, file.size) == b"".join(file.pieces(0, file.size)) == content
        assert file.read(100, 5000) == content[100:5000]
        assert (node.modified, node.etag) == (ref.created, ref.row.manifest)


def test_tables(filled: Pool) -> None:
    files = PoolTree(filled)
    rows = rows_of(files, "/products.csv")
    assert {row["kind"] for row in rows} == {"Raw", "Ramp", "RateInts", "Rate"}
    (ramp,) = (row for row in rows if row["kind"] == "Ramp")
    ref = filled.ref(f"Ramp/{STEM}")
    columns = "urn kind name version tags date program target filter subarray readpatt nints ngroups size path"
    assert list(ramp) == columns.split()
    assert ramp["urn"] == ref.urn
    assert (ramp["version"], ramp["tags"], ramp["nints"]) == ("1", "using cal v2", "3")
    assert (ramp["size"], ramp["subarray"]) == (str(ref.bytes), "SUB64")
    assert ref.start_time is not None
    assert datetime.fromisoformat(ramp["date"]) == ref.start_time
    tables = [path for path in walk(files) if path.endswith(".csv")]
    year = f"/by-date/{ref.start_time:%Y}.csv"
    assert {"/products.csv", "/by-kind/Ramp.csv", "/by-tag/using cal v1.csv", "/versions/Raw.csv", year} <= {*tables}
    for path in tables:
        for row in rows_of(files, path):
            node = files.find("/" + row["path"])
            assert str(node.size) == row["size"]
            assert node.etag == filled.ref(row["urn"]).row.manifest


def test_tables_are_made_again_after_a_change(filled: Pool) -> None:
    files = PoolTree(filled)
    opened, before = files.open("/by-kind/Rate.csv"), files.find("/by-kind/Rate.csv")
    content = opened.read(0, opened.size)
    assert files.find("/by-kind/Rate.csv") == before
    filled.save(rate("another"), pixels=False)
    after = files.find("/by-kind/Rate.csv")
    assert after.size > before.size
    assert after.etag != before.etag
    assert after.modified > before.modified
    assert opened.read(0, opened.size) == content


def test_large_tables_lie_on_the_disk(filled: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = PoolTree(filled).open("/products.csv")
    monkeypatch.setattr("miripool.files.tables._SMALL_BYTES", 10)
    monkeypatch.setattr("miripool.files.tables._PIECE", 100)
    file = PoolTree(filled).open("/products.csv")
    assert file.read(0, file.size + 10) == whole.read(0, whole.size)
    assert b"".join(file.pieces(7, file.size)) == whole.read(7, whole.size)
    assert file.read(5, 20) == whole.read(5, 20)


def test_listing_a_folder_makes_no_table(filled: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    files = PoolTree(filled)
    monkeypatch.setattr("miripool.files.tables.Tables.take", None)
    assert all(node.size == 0 for node in files.entries("/by-tag", sizes=False))


MISSING = (
    *("/none", "/by-kind/Exposure", "/by-kind/None", "/by-kind/Monitor", "/by-kind/ramp", "/by-tag/none"),
    *("/by-tag/none.csv", "/by-kind/Monitor.csv", "/by-date/1999", "/by-date/1999.csv", "/by-date/undated"),
    *("/by-date/2020/2020-02-31", "/by-date/9999/9999-12-31", "/by-date/0000", "/by-date/x", "/versions/Raw/x"),
    *(f"/by-kind/Ramp/{STEM}_rate.fits", f"/by-kind/Ramp/{STEM}.fits", f"/by-kind/Ramp/{STEM}_v0_ramp.fits"),
    *(f"/by-kind/Raw/{STEM}_raw.fits", f"/by-kind/Ramp/%6A{STEM[1:]}_ramp.fits", "/by-kind/Ramp/\udcff_ramp.fits"),
    *(f"/versions/Ramp/{STEM}_v7_ramp.fits", f"/versions/Ramp/{STEM}_v00_ramp.fits", "/by-kind/Ramp/a\0_ramp.fits"),
    *(f"/versions/Ramp/{STEM}_v99999999999_ramp.fits", f"/versions/Ramp/{STEM}_ramp.fits", "/by-tag/a%00"),
    *(f"/by-tag/using cal v1/{STEM}_uncal.fits", f"/by-kind/Ramp/{STEM}_ramp.fits/x", "/README.txt/x"),
    *(f"/by-kind/Ramp/jw~{'0' * 16}_ramp.fits", f"/by-tag/us~{'0' * 16}", "/by-kind//Ramp", "/by-kind/.."),
)


def test_what_is_not_there(filled: Pool) -> None:
    files = PoolTree(filled)
    for path in MISSING:
        for ask in (files.find, files.open, lambda path: list(files.entries(path))):
            with pytest.raises(FileMissing):
                ask(path)


def test_files_are_no_folders(filled: Pool) -> None:
    files = PoolTree(filled)
    for path in ("/", "/by-kind", "/by-kind/Ramp"):
        with pytest.raises(InvalidInput, match="folder"):
            files.open(path)
    for path in ("/README.txt", "/products.csv", f"/by-kind/Ramp/{STEM}_ramp.fits"):
        with pytest.raises(InvalidInput, match="file"):
            files.entries(path)


def test_an_empty_pool(pool: Pool) -> None:
    files = PoolTree(pool)
    assert listed(files, "/") == ["README.txt", "by-date/", "by-kind/", "by-tag/", "products.csv", "versions/"]
    for group in ("by-date", "by-kind", "by-tag", "versions"):
        assert listed(files, f"/{group}") == []
    assert rows_of(files, "/products.csv") == []
    assert files.find("/").modified == core_of(pool).archive.info.created
    content = files.open("/README.txt").read(0, 10_000).decode()
    assert "The pool jpl8 of miripool" in content
    assert "urn:jpl8:" in content
    assert max(map(len, content.splitlines())) <= 120


def test_changes_appear(filled: Pool, home: Home) -> None:
    files = PoolTree(filled)
    path = f"/by-kind/Rate/{STEM}_rate.fits"
    before = files.find(path)
    with home.pool("jpl8") as other:
        other.save(rate("new"), tag="fresh", pixels=False)
        assert "new_rate.fits" in listed(files, "/by-kind/Rate")
        assert listed(files, "/by-tag/fresh") == ["new_rate.fits"]
        assert listed(files, "/by-date")[-2:] == ["undated/", "undated.csv"]
        assert listed(files, "/by-date/undated") == ["new_rate.fits"]
        assert [row["path"] for row in rows_of(files, "/by-date/undated.csv")] == ["by-date/undated/new_rate.fits"]
        other.remove(f"Rate/{STEM}")
        assert files.find(path).etag == other.ref(f"Rate/{STEM}@0").row.manifest != before.etag
        assert f"{STEM}_v1_rate.fits" not in listed(files, "/versions/Rate")
        with pytest.raises(FileMissing):
            files.find(f"/versions/Rate/{STEM}_v1_rate.fits")
        other.untag("fresh")
        with pytest.raises(FileMissing):
            files.find("/by-tag/fresh")


def test_an_open_file_stays_the_version_that_it_was(filled: Pool) -> None:
    files = PoolTree(filled)
    path = "/by-kind/Rate/x_rate.fits"
    filled.save(rate("x"), pixels=False)
    opened = files.open(path)
    content = opened.read(0, opened.size)
    filled.save(rate("x", 2.0), pixels=False)
    assert opened.read(0, opened.size) == content
    again = files.open(path)
    assert again.read(0, again.size) != content


def test_names_that_no_file_system_takes(pool: Pool) -> None:
    files = PoolTree(pool)
    long = "ω" * 150
    given = [
        "a b",
        "größe",
        "Cafe\u0301",
        "Caf\xe9",
        "100%",
        "a[1]",
        ".hidden",
        "-rf",
        "x.",
        "日本",
        "a_v3",
        "~me",
        long,
    ]
    given += [f"{long}2"]
    for name in given:
        pool.save(rate(name), pixels=False)
    pool.tag(pool.ref(f"Rate/{long}"), "ψ" * 99 + "x")
    pool.tag(pool.ref("Rate/a b"), "v1.csv")
    pool.tag(pool.ref("Rate/100%"), "v1")
    shown = listed(files, "/by-kind/Rate")
    assert len({*shown}) == len(given)
    assert all(len(name.encode()) < 256 for name in shown)
    assert {"a b_rate.fits", "größe_rate.fits", "Cafe\u0301_rate.fits", "Caf\xe9_rate.fits", "日本_rate.fits"} <= {
        *shown
    }
    assert {"100%25_rate.fits", "a%5B1%5D_rate.fits", "%2Ehidden_rate.fits", "%2Drf_rate.fits"} <= {*shown}
    for path in [path for path in walk(files) if path.endswith(".fits")]:
        assert files.open(path).size == files.find(path).size
    assert {row["name"] for row in rows_of(files, "/by-kind/Rate.csv")} == {*given}
    fresh = PoolTree(pool)  # nothing was listed yet
    for name in given:
        path = fresh.path_of(pool.ref(f"Rate/{name}"))
        assert fresh.find(path).etag == pool.ref(f"Rate/{name}").row.manifest
    assert listed(fresh, "/by-tag/v1%2Ecsv") == ["a b_rate.fits"]
    assert [row["name"] for row in rows_of(fresh, "/by-tag/v1.csv")] == ["100%"]


def test_where_a_version_lies(filled: Pool) -> None:
    files = PoolTree(filled)
    ref = filled.ref(f"RateInts/{STEM}@0")
    assert files.path_of(ref) == f"/versions/RateInts/{STEM}_v0_rateints.fits"
    filled.remove(ref)
    with pytest.raises(FileMissing):
        files.path_of(ref)


def test_files_of_a_bench_are_no_uncal(pool: Pool, exposure: SimulatedExposure, tmp_path: Path) -> None:
    path = exposure.write_jpl(tmp_path)
    ref = pool.save(path, name="bench", pixels=False)
    files = PoolTree(pool)
    assert listed(files, "/by-kind/Raw") == ["bench_raw.fits"]
    file = files.open("/versions/Raw/bench_v0_raw.fits")
    assert file.read(0, file.size) == path.read_bytes()
    assert files.path_of(ref) == "/versions/Raw/bench_v0_raw.fits"
    with pytest.raises(FileMissing):
        files.find("/by-kind/Raw/bench_uncal.fits")


def test_contexts_have_no_files(filled: Pool) -> None:
    files = PoolTree(filled)
    before = list(walk(files))
    context = filled.save(filled.select("1").to_context("these"))
    assert list(walk(files)) == before
    with pytest.raises(FileMissing):
        files.path_of(context)


def test_sizes_are_those_of_the_files(pool: Pool, tmp_path: Path) -> None:
    contents = {name: make() for name, make in AWKWARD.items()}
    for name, content in contents.items():
        file = tmp_path / f"{name}.fits"
        file.write_bytes(content)
        pool.save(file, name=name, pixels=False)
    for product in (rate("made"), Product({"A": 1}, name="no data"), Product({}, {"T": table()}, name="table")):
        pool.save(product, pixels=False)
    contents["compressed_file"] = gzip.decompress(contents["compressed_file"])
    files = PoolTree(pool)
    for path in [path for path in walk(files) if path.startswith("/versions") and path.endswith(".fits")]:
        opened = files.open(path)
        content = opened.read(0, opened.size + 1)
        assert len(content) == opened.size == files.find(path).size, path
        name = path.rpartition("/")[2].rpartition("_v0_")[0]
        assert contents.get(name, content) == content, name


def table() -> Dataset:
    return Dataset("T", np.array([(1, b"x")], dtype=[("a", "i4"), ("b", "S3")]))


def test_damage_names_the_version(filled: Pool, home: Home) -> None:
    files = PoolTree(filled)
    path = f"/by-kind/Ramp/{STEM}_ramp.fits"
    file = files.open(path)
    ref = filled.ref(f"Ramp/{STEM}")
    for blob in (filled.path / "blobs").rglob("*.h5"):
        blob.unlink()
    with pytest.raises(IntegrityError, match=ref.urn):
        PoolTree(filled).open(path).read(0, file.size)
    for manifest in (filled.path / "manifests").rglob("*.json"):
        manifest.unlink()
    assert PoolTree(filled).find(path).size == file.size  # no manifest is read for that
    with home.pool("jpl8") as other, pytest.raises(IntegrityError, match=ref.urn):  # which has not read it before
        PoolTree(other).open(path)


def test_a_pool_that_is_gone(filled: Pool, home: Home) -> None:
    files = PoolTree(filled)
    files.find("/")
    home.rename("jpl8", "other")
    for ask in (files.find, files.entries, files.open):
        with pytest.raises(PoolNotFound):
            ask("/by-kind/Ramp")


@pytest.fixture
def asked(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], int]:
    """Count the questions to the database while something is done."""

    def count(work: Callable[[], object]) -> int:
        database = core_of(pool).catalog.database
        found = []
        ask = database.ask

        def counted(*question: Any) -> list[tuple[Any, ...]]:
            found.append(question)
            return ask(*question)

        with monkeypatch.context() as patch:
            patch.setattr(database, "ask", counted)
            work()
        return len(found)

    return count


def test_folders_are_read_page_by_page(
    pool: Pool, asked: Callable[[Callable[[], object]], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "_LOOK_SECONDS", 3600)
    monkeypatch.setattr("miripool.files.rows.PAGE", 7)
    products = [rate(f"{i:02d}", i) for i in range(20)]
    for i, product in enumerate(products):
        if i % 2:
            product.meta["DATE-OBS"] = "2023-07-12"
            product.meta["TIME-OBS"] = f"10:00:{i // 4:02d}"
        pool.save(product, tag="all", pixels=False)
    files = PoolTree(pool)
    files.find("/")
    everything = [f"{i:02d}_rate.fits" for i in range(20)]
    assert asked(lambda: list(files.entries("/by-kind/Rate"))) == 1 + 3
    assert listed(files, "/by-kind/Rate") == listed(files, "/by-tag/all") == everything
    assert listed(files, "/versions/Rate") == [f"{i:02d}_v0_rate.fits" for i in range(20)]
    assert listed(files, "/by-date/2023/2023-07-12") == everything[1::2]
    assert listed(files, "/by-date/undated") == everything[::2]
    assert len(rows_of(files, "/products.csv")) == 20
    # What was listed just now is asked about without the database, what was not with one question.
    assert asked(lambda: [files.find(f"/by-kind/Rate/{name}") for name in everything]) == 0
    fresh = PoolTree(pool)
    fresh.find("/")
    assert asked(lambda: fresh.find("/by-kind/Rate/05_rate.fits")) == 1
    assert asked(lambda: fresh.find("/by-kind/Rate")) == 1


def test_what_is_kept_of_a_long_folder_is_bounded(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "_KEPT", 5)
    for i in range(12):
        pool.save(rate(f"{i:02d}", i), pixels=False)
    files = PoolTree(pool)
    assert len(listed(files, "/by-kind/Rate")) == 12
    assert len(files._nodes) == 5
    assert files.find("/by-kind/Rate/00_rate.fits").size


def test_several_threads(filled: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "_LOOK_SECONDS", 0.001)
    files = PoolTree(filled)
    expected = {path: files.find(path).etag for path in walk(files)}

    def look(number: int) -> None:
        for path, etag in expected.items():
            assert files.find(path).etag == etag
            file = files.open(path)
            assert len(file.read(number, file.size)) == file.size - number
            list(files.entries("/by-kind/Ramp"))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(look, range(4)))


def test_a_folder_that_changes_while_it_is_listed(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("miripool.files.rows.PAGE", 2)
    for i in range(5):
        pool.save(rate(f"{i:02d}", i), pixels=False)
    files = PoolTree(pool)
    going = files.entries("/by-kind/Rate")
    seen = [next(going).name for _ in range(2)]
    pool.remove("Rate/04")
    pool.save(rate("05"), pixels=False)
    seen += [node.name for node in going]
    assert seen == [f"{i:02d}_rate.fits" for i in (0, 1, 2, 3, 5)]


def test_questions_that_sql_would_misread(pool: Pool) -> None:
    database = core_of(pool).catalog.database
    pool.save(rate("a%_b"), pixels=False)
    pool.save(rate("aXXb"), pixels=False)
    digest = names._digest("aXXb")
    assert folders.by_digest(database, FileFolder("Rate"), "a%", digest) is None
    assert folders.by_digest(database, FileFolder("Rate"), "a", digest) is not None
    assert folders.by_name(database, FileFolder("Rate"), "a' OR '1") is None
    now = datetime.now(UTC)
    assert folders.periods(database, "year", now.replace(year=1), now) == []
