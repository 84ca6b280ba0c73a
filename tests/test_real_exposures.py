"""The main job, on exposures of a ground test and on simulated ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import homes
import pytest
from homes import call
from replay import assert_index_is_journal, files, folder_of

from miripool import FullQuery, Home, MetaQuery, Pool, Ramp, RateInts
from miripool.pool.core import core_of

GROUND = "MIRI_5582_89_S_20180308-010230_SCE1"
SIMULATED = "jw01033005001_03103_00001_mirimage"


@dataclass(frozen=True)
class Exposure:
    """Where an exposure's files are: raw, and calibrated twice."""

    name: str
    uncal: Path
    first: Path
    second: Path


@dataclass(frozen=True)
class Added:
    """A pool with an exposure in it, and what each command wrote."""

    exposure: Exposure
    home: Home
    pool: Pool
    rows: list[list[dict[str, Any]]]
    blobs: list[set[str]]


def rows_of(*arguments: Any) -> list[dict[str, Any]]:
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)
    assert isinstance(rows, list)
    return rows


@pytest.fixture(scope="module", params=["ground test", "simulated"])
def added(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, database_url: str
) -> Iterator[Added]:
    if request.param == "simulated":
        folder = request.getfixturevalue("simulated")
        exposure = Exposure(SIMULATED, folder / "uncal", folder / "v1", folder / "v2")
    else:
        folder = request.getfixturevalue("shared_data") / "jpl8"
        exposure = Exposure(GROUND, folder / "uncal", folder / "9001", folder / "9002")
    with homes.empty_home(tmp_path_factory.mktemp("real") / "home", database_url, "real") as home:
        call("--home", home.path, "create", "jpl8")
        with home.pool("jpl8") as pool:
            rows, blobs = [], []
            for paths, label in (((exposure.uncal, exposure.first), "cal 9001"), ((exposure.second,), "cal 9002")):
                rows.append(rows_of("--home", home.path, "add", "jpl8", *paths, "--tag", label))
                blobs.append(files(folder_of(pool) / "blobs"))
            yield Added(exposure, home, pool, rows, blobs)


@pytest.mark.slow
def test_versions(added: Added) -> None:
    found = {(ref.kind, ref.version): ref.tags for ref in added.pool.select(all_versions=True)}
    assert found == {
        ("Raw", 0): ("cal 9001",),
        ("Ramp", 0): ("cal 9001",),
        ("Ramp", 1): ("cal 9002",),
        ("RateInts", 0): ("cal 9001",),
        ("RateInts", 1): ("cal 9002",),
        ("Rate", 0): ("cal 9001",),
        ("Rate", 1): ("cal 9002",),
    }
    assert {ref.name for ref in added.pool.select(all_versions=True)} == {added.exposure.name}
    assert [row["status"] for row in added.rows[0]] == ["new"] * 4
    assert [row["status"] for row in added.rows[1]] == ["version"] * 3
    assert_index_is_journal(added.pool)


@pytest.mark.slow
def test_the_second_ramp_stored_no_array_again(added: Added) -> None:
    first, second = (added.pool.ref(f"Ramp/{added.exposure.name}@{n}") for n in (0, 1))
    digests = [
        {
            hdu.name: hdu.data.digest
            for hdu in core_of(added.pool).archive.manifest(ref.row.manifest).hdus
            if hdu.data is not None
        }
        for ref in (first, second)
    ]
    assert digests[0].keys() == digests[1].keys()
    differing = {name for name in digests[0] if digests[0][name] != digests[1][name]}
    # A real pipeline's log differs; a simulated file has an empty one.
    assert differing <= {"ASDF"}
    (row,) = (row for row in added.rows[1] if row["urn"] == second.urn)
    manifest = len(
        core_of(added.pool).archive.storage.read(core_of(added.pool).archive.manifest_key(second.row.manifest))
    )
    refs = {
        hdu.name: hdu.data
        for hdu in core_of(added.pool).archive.manifest(second.row.manifest).hdus
        if hdu.data is not None
    }
    # The log shares its file with the other small arrays.
    logs = {core_of(added.pool).archive.blobs.key(refs[name].blob).removeprefix("blobs/") for name in differing}
    grown = added.blobs[1] - added.blobs[0]
    assert grown >= logs
    size = sum((folder_of(added.pool) / "blobs" / log).stat().st_size for log in logs)
    assert row["stored_bytes"] == second.stored_bytes == manifest + size
    assert second.stored_bytes < first.stored_bytes / 10


@pytest.mark.slow
def test_the_second_slopes_share_what_is_equal(added: Added) -> None:
    manifests = [
        core_of(added.pool).archive.manifest(added.pool.ref(f"RateInts/{added.exposure.name}@{n}").row.manifest)
        for n in (0, 1)
    ]
    digests = [{h.name: h.data.digest for h in m.hdus if h.data is not None} for m in manifests]
    same = {name for name in digests[0] if digests[0][name] == digests[1][name]}
    assert {"DQ", "INT_TIMES"} <= same
    assert not {"SCI", "ERR", "VAR_POISSON", "VAR_RNOISE"} & same


@pytest.mark.slow
def test_adding_again_in_any_order_adds_nothing(added: Added) -> None:
    pool, exposure = added.pool, added.exposure
    before = files(folder_of(pool))
    expected = {exposure.uncal: 0, exposure.first: 0, exposure.second: 1}
    for order in ((exposure.second, exposure.first, exposure.uncal), (exposure.first, exposure.uncal, exposure.second)):
        for folder in order:
            for row in rows_of("--home", added.home.path, "add", "jpl8", folder):
                assert (row["status"], row["version"], row["stored_bytes"]) == ("unchanged", expected[folder], 0)
                newer = "" if folder in (exposure.second, exposure.uncal) else "; head is 1"
                assert row["message"] == f"unchanged: version {expected[folder]}{newer}"
    assert files(folder_of(pool)) == before


def test_listing_by_tag(added: Added) -> None:
    first = rows_of("--home", added.home.path, "ls", "jpl8", "--tag", "cal 9001")
    assert {(row["kind"], row["version"]) for row in first} == {
        ("Raw", 0),
        ("Ramp", 0),
        ("RateInts", 0),
        ("Rate", 0),
    }
    assert all(row["tags"] == ["cal 9001"] for row in first)
    second = rows_of("--home", added.home.path, "ls", "jpl8", "--tag", "cal 9002", "--kind", "rateints")
    assert [(row["kind"], row["version"]) for row in second] == [("RateInts", 1)]


def test_every_file_comes_back(added: Added, tmp_path: Path) -> None:
    for folder, label in (
        (added.exposure.uncal, "cal 9001"),
        (added.exposure.first, "cal 9001"),
        (added.exposure.second, "cal 9002"),
    ):
        for path in sorted(folder.glob("*.fits")):
            (ref,) = [r for r in added.pool.select(tag=label) if r.filename == path.name]
            out = tmp_path / label
            out.mkdir(exist_ok=True)
            result = call("--home", added.home.path, "export", "jpl8", ref.urn, out)
            assert result.exit_code == 0
            assert digest(out / path.name) == digest(path)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_questions(added: Added) -> None:
    pool, name = added.pool, added.exposure.name
    refs = pool.select(MetaQuery(Ramp, "p", "p.meta['ngroups'].value >= 8 and p.meta['subarray'].value == 'SUB64'"))
    assert [(ref.kind, ref.version) for ref in refs] == [("Ramp", 1)]
    older = pool.select(MetaQuery(Ramp, "p", "CRDS_CTX == 'jwst_9001.pmap'", allVersions=True))
    assert [ref.version for ref in older] == [0]
    means = [float(pool.ref(f"RateInts/{name}@{n}").product.data.mean()) for n in (0, 1)]
    between = sum(means) / 2
    found = pool.select(FullQuery(RateInts, "p", f"p.data.mean() > {between!r}", allVersions=True))
    assert [ref.version for ref in found] == [means.index(max(means))]
    log = call("--home", added.home.path, "log", "jpl8", f"Ramp/{name}")
    assert "CRDS_CTX: jwst_9001.pmap → jwst_9002.pmap" in log.stdout
    assert "datasets changed" not in log.stdout


# Only the real ones


def test_the_ground_tests_own_file(added: Added, shared_data: Path, tmp_path: Path) -> None:
    """The file as the test equipment wrote it is the same exposure: another version of its raw data."""
    if added.exposure.name != GROUND:
        pytest.skip("there is no such file of a simulated exposure")
    raw = shared_data / "jpl8" / "raw" / f"{GROUND}.fits"
    ref = added.pool.save(raw)
    try:
        assert (ref.kind, ref.name, ref.version, ref.notice) == ("Raw", GROUND, 1, None)
        assert digest(ref.to_fits(tmp_path / "raw.fits")) == digest(raw)
        uncal = added.pool.ref(f"Raw/{GROUND}@0").product
        for dataset in ("SCI", "REFOUT"):
            assert ref.product[dataset].source.ref == uncal[dataset].source.ref
    finally:
        added.pool.remove(ref)


def test_facts_of_the_real_exposure(added: Added) -> None:
    if added.exposure.name != GROUND:
        pytest.skip("these are facts of the ground test's exposure")
    product = added.pool.ref(f"RateInts/{GROUND}").product
    assert product.data.shape == (5, 64, 72)
    assert product.data.statistics.n_nan == 1296
    ramp = added.pool.ref(f"Ramp/{GROUND}").product
    assert ramp.data.shape == (5, 50, 64, 72)
    assert (ramp.groupdq.dtype, ramp.pixeldq.dtype) == ("uint8", "uint32")
    assert "ERR" not in ramp
    assert ramp.meta["SUBSTRT2"].value == 779
