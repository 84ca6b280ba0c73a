"""Beside the peers: questions, saves and versions, the same data for both, in turns."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2
import pytest
from peer import BUTLER, FDI, VERSIONED_HDF5, Peer, Peers, folder_bytes
from postgresql import reachable_folder, throwaway_server
from timing import copy_durably, in_turns

from miripool import Context, Home, Pool, Ramp, RateInts
from miripool.model.tiles import tile_shape
from miripool.pool import save as saving
from miripool.pool.core import core_of
from miripool.simulate import Calibration, simulate_exposure
from miripool.simulate.calibration import calibrate_ramp

pytestmark = pytest.mark.timeout(3600)

PRODUCTS = 1000
ROUNDS = 41
SLOW_ROUNDS = 5
SAVES = 15

KEYWORDS = {
    "obs_id": "OBS_ID",
    "exposure_time": "EFFEXPTM",
    "observation_type": "EXP_TYPE",
    "target_name": "TARGNAME",
    "science_program": "PROGRAM",
    "seq_num": "SEQNUM",
    "tracking_ra": "TARG_RA",
    "tracking_dec": "TARG_DEC",
}
"""Butler's names of what it knows of an exposure, and keywords that hold the same."""

WHERE_FDI = "m['exposure_time'].value >= 20 and m['exposure_time'].value < 30 and m['observation_type'].value == 'dark'"
WHERE_BUTLER = (
    "instrument = 'MIRI' AND exposure.exposure_time >= 20 AND exposure.exposure_time < 30 "
    "AND exposure.observation_type = 'dark'"
)
WHERE = "20 <= EFFEXPTM < 30 and EXP_TYPE == 'dark'"


def headers() -> list[dict[str, Any]]:
    """Metadata of as many exposures; a tenth of them has the time asked for, and all but every fiftieth the type."""
    return [
        {
            "obs_id": f"exposure {i:04}",
            "exposure_time": float(i % 100),
            "observation_type": "dark" if i % 50 else "flat",
            "target_name": f"target {i % 7}",
            "science_program": str(1000 + i % 11),
            "seq_num": i,
            "tracking_ra": i * 0.36,
            "tracking_dec": i * 0.09 - 45,
        }
        for i in range(PRODUCTS)
    ]


EXPECTED = sorted(
    header["obs_id"]
    for header in headers()
    if 20 <= header["exposure_time"] < 30 and header["observation_type"] == "dark"
)


@pytest.fixture(scope="module")
def shelf() -> Iterator[Pool]:
    """A pool with the products, on an embedded server of its own, as users get it."""
    with pytest.MonkeyPatch.context() as patch, reachable_folder() as folder:
        patch.delenv("MIRIPOOL_DATABASE_URL", raising=False)
        home = Home(folder / "home")
        with home.create("shelf") as pool:
            made = {}
            for header in headers():
                meta = {KEYWORDS[key]: value for key, value in header.items()}
                made[header["obs_id"]] = RateInts(meta, {"SCI": np.ones((1, 4, 4), "f4")}, name=header["obs_id"])
            pool.save(Context(made, name="all"))
            yield pool
        home.server.remove()


def names_of(pool: Pool) -> float:
    """Ask for references, and look at each: URN, name and version, as Butler's references have dataset and exposure."""
    begin = time.perf_counter()
    found = [(ref.urn, ref.name, ref.version) for ref in pool.select(WHERE)]
    seconds = time.perf_counter() - begin
    assert sorted(name for _, name, _ in found) == EXPECTED
    return seconds


def metadata_of(pool: Pool) -> float:
    """Ask for references, and all that was saved of each."""
    begin = time.perf_counter()
    table = pool.select(WHERE).to_table(["urn", *KEYWORDS.values()])
    seconds = time.perf_counter() - begin
    assert sorted(table["OBS_ID"]) == EXPECTED
    return seconds


def theirs(peer: Peer, **values: Any) -> Callable[[], float]:
    def ask() -> float:
        answer = peer.ask("select", **values)
        assert sorted(answer["names"]) == EXPECTED
        return float(answer["seconds"])

    return ask


def test_metadata_query_beside_fdi(shelf: Pool, peers: Peers, tmp_path: Path, figure: Callable[..., None]) -> None:
    with peers.start(FDI, "fdi_pool.py", tmp_path) as fdi:
        fdi.ask("save", headers=headers())
        works = (lambda: names_of(shelf), lambda: metadata_of(shelf), theirs(fdi, where=WHERE_FDI))
        ours, with_metadata, other = in_turns(SLOW_ROUNDS, *works)
        what = f"{len(EXPECTED)} of {PRODUCTS} products by metadata"
        figure(f"{what}: references", ours * 1e3, "ms", other / ours, f"as fast as {fdi.name} (MetaQuery)")
        figure(f"{what}: a table of metadata", with_metadata * 1e3, "ms", other / with_metadata, "as fast as the same")
    assert other / ours >= 50


@contextlib.contextmanager
def registry(kind: str) -> Iterator[list[str]]:
    """Give what Butler's program is told of its database."""
    if kind == "SQLite":
        yield []
        return
    with throwaway_server("psycopg2") as url:
        with contextlib.closing(psycopg2.connect(url.replace("+psycopg2", ""))) as connection:
            connection.autocommit = True
            try:
                connection.cursor().execute("CREATE EXTENSION btree_gist")
            except psycopg2.Error as error:
                pytest.skip(f"Butler needs the extension btree_gist: {error}")
        yield [url]


@pytest.mark.parametrize("kind", ["SQLite", "PostgreSQL"])
def test_metadata_query_beside_butler(
    shelf: Pool, peers: Peers, tmp_path: Path, figure: Callable[..., None], kind: str
) -> None:
    with registry(kind) as told, peers.start(BUTLER, "butler.py", tmp_path / "repository", *told) as butler:
        butler.ask("save", headers=headers())
        ours, other, with_metadata, other_with_records = in_turns(
            ROUNDS,
            lambda: names_of(shelf),
            theirs(butler, where=WHERE_BUTLER, records=False),
            lambda: metadata_of(shelf),
            theirs(butler, where=WHERE_BUTLER, records=True),
        )
        what = f"{len(EXPECTED)} of {PRODUCTS} products by metadata"
        against = f"as fast as {butler.name} with {kind} (query_datasets)"
        figure(f"{what}: references", ours * 1e3, "ms", other / ours, against)
        ratio = other_with_records / with_metadata
        figure(f"{what}: a table of metadata", with_metadata * 1e3, "ms", ratio, f"{against}, with records")
    assert other / ours >= 2


@pytest.fixture(scope="module")
def ramp() -> np.ndarray[Any, np.dtype[np.float32]]:
    """A simulated ramp of a FULL exposure, bias subtracted, in DN: (nints, ngroups, ny, nx), 203 MB."""
    exposure = simulate_exposure("ramp", subarray="FULL", nints=2, ngroups=24, seed=1)
    return calibrate_ramp(exposure, Calibration("v1")).sci


@pytest.fixture
def plain(shelf: Pool) -> Iterator[Pool]:
    """An empty pool beside the shelf."""
    with Home(core_of(shelf).archive.storage.root.parents[1]).create("plain") as pool:
        yield pool
    Home(core_of(shelf).archive.storage.root.parents[1]).delete("plain")


def save_one(pool: Pool, array: np.ndarray[Any, Any], number: int) -> tuple[float, int]:
    """Save an array as a product, durable and indexed; give the time and the bytes stored. Its blob goes again."""
    array.flat[0] += 1
    product = Ramp({}, {"SCI": array}, name=f"ramp {number}")
    begin = time.perf_counter()
    saved = saving.save(core_of(pool), product, pixels=False)
    seconds = time.perf_counter() - begin
    for blob in core_of(pool).archive.storage.files.path("blobs").rglob("*.h5"):
        blob.unlink()
    return seconds, saved.stored_bytes


def test_save_beside_butler(
    plain: Pool, peers: Peers, tmp_path: Path, ramp: np.ndarray[Any, Any], figure: Callable[..., None]
) -> None:
    np.save(tmp_path / "array.npy", ramp)
    ours: list[tuple[float, int]] = []
    theirs: dict[str, list[Mapping[str, Any]]] = {"": [], "checksum": []}
    copies = []
    with contextlib.ExitStack() as stack:
        butlers = {
            option: stack.enter_context(
                peers.start(BUTLER, "butler.py", tmp_path / f"repository{option}", *option.split())
            )
            for option in theirs
        }
        for butler in butlers.values():
            butler.ask("save", headers=headers()[:1])
            butler.ask("load", path=str(tmp_path / "array.npy"))
        for i in range(SAVES + 1):
            os.sync()  # what the one before has deleted must not burden the next
            ours.append(save_one(plain, ramp, i))
            for option, butler in butlers.items():
                os.sync()
                theirs[option].append(butler.ask("put", run=f"run {i}"))
            os.sync()
            copies.append(copy_durably([tmp_path / "array.npy"], tmp_path / "copy.npy"))
    save = statistics.median(seconds for seconds, _ in ours[1:])
    copy = statistics.median(copies[1:])
    put, durable, checked = (
        statistics.median(answer[key] for answer in theirs[option][1:])
        for option, key in (("", "seconds"), ("", "durable"), ("checksum", "durable"))
    )
    what = f"an array of {ramp.nbytes / 1e6:.0f} MB saved, on disk and indexed, its digest and statistics noted"
    figure(what, save, "s", save / copy, "cp with fsync")
    same = "the same by Butler's put (NumpyArray, PickleFormatter)"
    figure(f"{same}, with a checksum, then fsync", checked, "s", checked / save, "our save")
    figure(f"{same}, then fsync", durable, "s", durable / save, "our save")
    figure(f"{same}, not on disk yet", put, "s", put / save, "our save")
    stored = ours[-1][1]
    figure("the same: bytes stored per byte of the array", stored / ramp.nbytes, "")
    figure("the same by Butler", theirs[""][-1]["bytes"] / ramp.nbytes, "", theirs[""][-1]["bytes"] / stored, "ours")
    # By itself Butler does not wait for the disk, nor note what would tell a damaged file from a good one.
    assert save <= durable <= checked
    assert stored < theirs[""][-1]["bytes"]


VERSIONS = 10
CHANGED = [[(37 * i) % 512, (101 * i) % 512] for i in range(12)]
"""Pixels (y, x), 0-based, that each version changes."""


def measure_versions(
    pool: Pool, peer: Peer, array: np.ndarray[Any, Any], folder: Path
) -> tuple[dict[str, float], dict[str, float]]:
    """Save ten versions of an array with a few changed pixels, ours and theirs in turns.

    Gives for each side ``bytes`` of all versions, and seconds: ``first`` and ``write`` (the median of the further
    versions), ``read`` of the last version and ``pixel`` (one pixel's ramps), each from a file that is opened for it.
    """
    np.save(folder / "versions.npy", array)
    peer.ask("load", path=str(folder / "versions.npy"))
    blobs = core_of(pool).archive.storage.files.path("blobs")
    before = folder_bytes(blobs)
    chunks = list(tile_shape(array.shape, array.itemsize))
    written: tuple[list[float], list[float]] = ([], [])
    for i in range(VERSIONS):
        add = float(i)
        for y, x in CHANGED:
            array[..., y, x] += add
        begin = time.perf_counter()
        ref = pool.save(Ramp({}, {"SCI": array}, name="versions"), pixels=False)
        written[0].append(time.perf_counter() - begin)
        answer = peer.ask("write", name=f"v{i}", chunks=chunks, pixels=CHANGED, add=add)
        written[1].append(answer["seconds"])
    last = f"v{VERSIONS - 1}"
    y, x = pixel = CHANGED[-1]

    def ours(key: Any) -> Callable[[], float]:
        def read() -> float:
            begin = time.perf_counter()
            found = pool.load(ref.urn).product["SCI"][key]
            seconds = time.perf_counter() - begin
            assert np.array_equal(found, array[key])
            return seconds

        return read

    def theirs(key: list[int] | None, expected: np.ndarray[Any, Any]) -> Callable[[], float]:
        def read() -> float:
            answer = peer.ask("read", name=last, pixel=key)
            assert np.isclose(answer["sum"], float(np.sum(expected, dtype=np.float64)))
            return float(answer["seconds"])

        return read

    whole = in_turns(5, ours(...), theirs(None, array))
    one = in_turns(5, ours(np.s_[:, :, y, x]), theirs(pixel, array[:, :, y, x]))
    sizes = (folder_bytes(blobs) - before, answer["bytes"])
    mine, other = (
        {
            "bytes": float(sizes[side]),
            "first": written[side][0],
            "write": statistics.median(written[side][1:]),
            "read": whole[side],
            "pixel": one[side],
        }
        for side in (0, 1)
    )
    return mine, other


def test_versions_beside_versioned_hdf5(
    plain: Pool, peers: Peers, tmp_path: Path, ramp: np.ndarray[Any, Any], figure: Callable[..., None]
) -> None:
    array = np.ascontiguousarray(ramp[:1, :20, 256:768, 256:768])
    with peers.start(VERSIONED_HDF5, "versioned.py", tmp_path) as peer:
        ours, theirs = measure_versions(plain, peer, array, tmp_path)
        name = peer.name
    copies = VERSIONS * array.nbytes
    what = f"{VERSIONS} versions of {array.nbytes / 1e6:.0f} MB, {len(CHANGED)} pixels changed in each"
    figure(f"{what}: plain copies", copies / 1e6, "MB")
    figure(
        f"{what}: {name}, bitshuffle + LZ4, our tiles", theirs["bytes"] / 1e6, "MB", copies / theirs["bytes"], "less"
    )
    figure(f"{what}: ours", ours["bytes"] / 1e6, "MB", copies / ours["bytes"], "less")
    for key, done in {
        "first": "the first version written",
        "write": "a further version written",
        "read": "a version read",
        "pixel": "one pixel's ramp of a version read",
    }.items():
        figure(f"the same: {done}", ours[key] * 1e3, "ms", theirs[key] / ours[key], f"as fast as {name}")
