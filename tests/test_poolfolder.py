"""What stands in a pool's folder and is none of the pool's making is not followed, not deleted, and told of."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import h5py
import homes
import numpy as np
import pytest
from ahead import Ahead
from homes import call

from miripool import Home, Pool, Rate
from miripool.errors import IntegrityError, StorageError
from miripool.maintenance.gc import collect
from miripool.maintenance.verify import verify
from miripool.pool.core import core_of
from miripool.store.arrays.blobs import BlobStore
from miripool.store.manifest import BlobRef
from miripool.store.poolfolder import FOLDERS, is_ours, list_folder
from miripool.store.storage.local import LocalStorage
from miripool.system.workfolder import work_folder

home = homes.home

DIGEST = "ab" + "0" * 30


@pytest.fixture
def filled(pool: Pool) -> Pool:
    pool.save(Rate({}, {"SCI": np.full((40, 50), 1.0, "f4")}, name="a"))
    return pool


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that is not the pool's, with files named like a pool's."""
    folder = tmp_path / "outside"
    for name in (f"ab/{DIGEST}.h5", f"ab/{DIGEST}.json", f"{DIGEST}.json", "precious.txt", f".tmp-{'0' * 16}"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("precious")
        os.utime(path, (1, 1))
    for run in ("run-abcdefgh", "begun-abcdefgh"):
        (folder / run).mkdir()
        (folder / run / "lock").write_text("")
        os.utime(folder / run, (1, 1))
    return folder


def everything(folder: Path) -> set[tuple[str, bytes]]:
    """Names and contents of all files."""
    return {
        (str(path.relative_to(folder)), path.read_bytes() if path.is_file() else b"a folder")
        for path in folder.rglob("*")
    }


def replace_by_link(path: Path, target: Path) -> None:
    """Put a symbolic link where a folder was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        path.rename(path.with_name(f"{path.name}-was-here"))
    path.symlink_to(target, target_is_directory=True)


@pytest.mark.slow
@pytest.mark.parametrize("folder", [*FOLDERS, "blobs/ab", "manifests/ab"])
def test_a_pool_whose_folder_is_a_link_is_refused(filled: Pool, home: Home, outside: Path, folder: str) -> None:
    before = everything(outside)
    filled.close()
    target = outside / "ab" if "/" in folder else outside
    replace_by_link(filled.path / folder, target)
    for command in (["gc", "jpl8"], ["gc", "jpl8", "--dry-run"], ["verify", "jpl8"], ["ls", "jpl8"]):
        with pytest.raises(StorageError, match=rf"jpl8/{folder} is a symbolic link"):
            call(*command)
    assert everything(outside) == before
    assert home.names() == ["jpl8"]


def test_a_pool_that_is_behind_a_link_as_a_whole(filled: Pool, tmp_path: Path) -> None:
    filled.close()
    folder = filled.path
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert call("gc", "jpl8").exit_code == 0
    assert call("verify", "jpl8", "--full").exit_code == 0


@pytest.mark.parametrize("folder", ["blobs", "blobs/ab", "manifests/ab", "pending", "collecting"])
def test_a_folder_that_turns_into_a_link_meanwhile(filled: Pool, outside: Path, folder: str) -> None:
    before = everything(outside)
    replace_by_link(filled.path / folder, outside / "ab" if "/" in folder else outside)
    with pytest.raises(StorageError, match="is a symbolic link"):
        collect(core_of(filled).archive)
    for key in (f"{folder}/{DIGEST}.h5", f"{folder}/{DIGEST}.json"):
        with pytest.raises(StorageError, match="is a symbolic link"):
            core_of(filled).archive.storage.delete(key)
    with pytest.raises(StorageError, match="is a symbolic link"):
        core_of(filled).archive.storage.discard(f"{folder}/.tmp-{'0' * 16}", age=0)
    assert everything(outside) == before


STRANGE = [
    "blobs/thesis.tex",
    "blobs/ab/notes.txt",
    f"blobs/cd/{DIGEST}.h5",
    f"blobs/ab/{DIGEST}.H5",
    f"blobs/ab/deeper/{DIGEST}.h5",
    "blobs/" + "d/" * 12 + "x",
    f"manifests/ab/{DIGEST}.json.bak",
    "journal/000000000000.json~",
    "pending/mine.json",
    "collecting/x/y.json",
    "results.fits",
    "blobs/ab/.tmp-mine",
    "elsewhere/.tmp-" + "0" * 16,
    "blobs/ab/\x1b]0;x\x07",
]


def test_what_is_none_of_the_pools_stays_and_is_told(filled: Pool) -> None:
    root = filled.path
    for name in STRANGE:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("precious")
        os.utime(path, (1, 1))
    before = everything(root)
    found = collect(core_of(filled).archive, dry_run=True)
    assert found.names == []
    expected = sorted(name if name.count("/") < 9 else "blobs/" + "d/" * 8 for name in STRANGE)
    assert found.unknown == expected
    assert json.loads(call("gc", "jpl8", "--json").stdout)["unknown"] == expected
    assert "left alone: blobs/thesis.tex" in call("gc", "jpl8").stderr
    assert everything(root) == before
    report = verify(filled)
    assert report.is_whole
    assert sorted(finding.where for finding in report.findings) == expected


def test_links_named_as_ours_go_and_what_they_point_to_stays(filled: Pool, outside: Path) -> None:
    storage = core_of(filled).archive.storage
    root = filled.path
    target = outside / "precious.txt"
    names = [
        f"blobs/ab/{DIGEST}.h5",
        f"manifests/ab/{DIGEST}.json",
        f"pending/{DIGEST}.json",
        f"collecting/{DIGEST}.json",
        f"blobs/ab/.tmp-{'0' * 16}",
        f".tmp-{'0' * 16}",
    ]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(target)
        os.utime(root / name, (1, 1), follow_symlinks=False)
    before = everything(outside)
    assert sorted(collect(core_of(filled).archive, dry_run=True).names) == sorted(names)
    assert all((root / name).is_symlink() for name in names)
    assert sorted(collect(core_of(filled).archive).names) == sorted(names)
    assert not any((root / name).is_symlink() for name in names)
    assert everything(outside) == before
    assert list_folder(storage).unknown == []


def test_a_dry_run_tells_all_that_the_run_deletes(filled: Pool) -> None:
    root = filled.path
    Ahead(filled, Rate({}, {"SCI": np.full((40, 50), 7.0, "f4")}, name="left")).close()
    keys = list_folder(core_of(filled).archive.storage).keys
    left, _ = sorted(key for key in keys if key not in call_keys(filled))  # and its manifest
    for name, content in (
        (f"pending/{'1' * 32}.json", json.dumps(note_of_the_dead([left]))),
        (f"collecting/{'2' * 32}.json", "{}"),
        (f"blobs/{left[6:8]}/.tmp-{'3' * 16}", "12345"),
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
        os.utime(root / name, (1, 1))
    before = everything(root)
    told = json.loads(call("gc", "jpl8", "--dry-run", "--json").stdout)
    assert everything(root) == before
    done = json.loads(call("gc", "jpl8", "--json").stdout)
    assert sorted(told.pop("names")) == sorted(done.pop("names")) == sorted(gone(root, before))
    assert told == done
    assert (done["files"], done["notes"], done["temporary"], done["spared"]) == (2, 2, 1, 0)


def call_keys(pool: Pool) -> set[str]:
    """Keys that the pool's versions need."""
    manifests = [save.manifest for entry in core_of(pool).archive.journal.since(-1, None) for save in entry.saves]
    blobs = [ref.digest for digest in manifests for ref in core_of(pool).archive.read_manifest(digest).blobs()]
    return {*map(core_of(pool).archive.manifest_key, manifests), *map(BlobStore.key, blobs)}


def note_of_the_dead(keys: list[str]) -> dict[str, object]:
    import socket

    return {"host": socket.gethostname(), "pid": 4194304, "started": 1.0, "time": "2020-01-01", "keys": keys}


def gone(root: Path, before: set[tuple[str, bytes]]) -> list[str]:
    return [name for name, content in before - everything(root) if content != b"a folder"]


def test_forms() -> None:
    assert is_ours(f"blobs/ab/{DIGEST}.h5", "blobs")
    assert is_ours(f"pending/{DIGEST}-12.json", "pending")
    assert not is_ours(f"collecting/{DIGEST}-12.json", "collecting")
    assert not is_ours(f"blobs/ab/{DIGEST}.h5\n", "blobs")
    assert is_ours(f"manifests/ab/{DIGEST}.json", "manifests")


def test_only_work_folders_of_ours_are_cleared(tmp_path: Path) -> None:
    parent, target = tmp_path / "work", tmp_path / "precious"
    target.mkdir()
    (target / "lock").write_text("precious")
    for name in ("run-abcdefgh", "run-linklock", "run-pipelock", "mine", "begun-mine"):
        (parent / name).mkdir(parents=True)
    (parent / "run-abcdefgh" / "lock").write_text("")
    (parent / "run-abcdefgh" / "link").symlink_to(target)
    (parent / "run-linklock" / "lock").symlink_to(target / "lock")
    (parent / "mine" / "lock").write_text("")
    (parent / "begun-mine" / "x").write_text("")
    (parent / "run-linked01").symlink_to(target)
    (parent / "a file").write_text("")
    for path in parent.iterdir():
        os.utime(path, (1, 1), follow_symlinks=False)
    with work_folder(parent) as folder:
        assert folder.is_dir()
    assert sorted(path.name for path in parent.iterdir()) == [
        "a file",
        "begun-mine",
        "mine",
        "run-linked01",
        "run-linklock",
        "run-pipelock",
    ]
    assert (target / "lock").read_text() == "precious"


def virtual(path: Path, source: str) -> Callable[[h5py.File], None]:
    """A virtual dataset with a part in another file that HDF5 would look for to tell the shape."""

    def write(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((512, 600), "<f4", maxshape=(None, 600))
        part = h5py.VirtualSource(source, "data", (512, 600), maxshape=(None, 600))
        layout[0 : h5py.h5s.UNLIMITED, :] = part[0 : h5py.h5s.UNLIMITED, :]
        file.create_virtual_dataset("data", layout)

    return write


@pytest.mark.parametrize("source", ["{outside}", "../../../outside.h5", "../ab/{digest}.h5/../x"])
def test_parts_of_a_delta_blob_outside_the_pool_are_not_opened(tmp_path: Path, source: str) -> None:
    """HDF5 opens the parts of some virtual datasets when it is asked for the shape: here a pipe, for ever."""
    outside = tmp_path / "outside.h5"
    os.mkfifo(outside)
    store = BlobStore(LocalStorage(tmp_path / "store" / "pool"))
    ref = BlobRef(DIGEST, np.dtype("f4"), (512, 600))
    path = tmp_path / "store" / "pool" / BlobStore.key(DIGEST)
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w", libver="latest") as file:
        virtual(path, source.format(outside=outside, digest=DIGEST))(file)
        file["data"].attrs["miripool_blob"] = 2
        file["data"].attrs["digest"] = np.bytes_(DIGEST)
        file.create_dataset("tiles", (512, 600), "<f4", chunks=(64, 64))
    with pytest.raises(IntegrityError, match="takes parts from files that are not blobs of this pool"):
        store.open(ref).owners()
