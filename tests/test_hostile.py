"""Files that somebody else made, to read what is not theirs, to fill memory or disk, or to run something."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import pwd
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import homes
import numpy as np
import psutil
import psycopg2
import pytest
from homes import blob_at, call, file_of
from postgresql import PASSWORD, reachable_folder, throwaway_server

from miripool import Home, Pool, Rate
from miripool.errors import FormatError, IntegrityError, InvalidInput, InvalidName, MiripoolError, NewerFormat
from miripool.exchange.copy import PoolShelf, receive
from miripool.exchange.pack import Pack, pack
from miripool.formats import read_fits
from miripool.formats import stream as stream_module
from miripool.maintenance.verify import verify
from miripool.model.canonical import canonical_json, digest_bytes
from miripool.pool.core import core_of
from miripool.server import EmbeddedServer
from miripool.store.arrays.blob import Blob
from miripool.store.journal import Save
from miripool.store.manifest import Manifest

home = homes.home
TESTS = Path(__file__).parent


@pytest.fixture
def other(home: Home) -> Iterator[Pool]:
    with home.create("other") as made:
        yield made


@pytest.fixture
def filled(pool: Pool) -> Pool:
    sci = np.random.default_rng(1).normal(size=(60, 70)).astype("f4")
    pool.save(Rate({"TARGNAME": "x"}, {"SCI": sci}, name="a"), tag="t")
    return pool


def blob_of(pool: Pool, spec: str = "Rate/a") -> Blob:
    source = pool.ref(spec).product["SCI"].source
    assert isinstance(source, Blob)
    return source


# Packs

Members = dict[str, bytes]


@pytest.fixture
def members(filled: Pool, tmp_path: Path) -> Members:
    """What is in an honest pack, in its order."""
    file = tmp_path / "honest.tar"
    pack(PoolShelf(filled), core_of(filled).archive, file)
    with tarfile.open(file) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def write_pack(path: Path, members: Mapping[str, bytes | tarfile.TarInfo]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = data if isinstance(data, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(data, bytes):
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data) if isinstance(data, bytes) else None)
    return path


def listing(members: Members) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(members["miripool-pack.json"])
    del record["digest"]
    return record


def sealed(record: Mapping[str, Any]) -> bytes:
    return canonical_json({**record, "digest": digest_bytes(canonical_json(record))})


def with_manifest(members: Members, change: Callable[[dict[str, Any]], None]) -> Members:
    """Give a pack whose manifest says something else, with all digests right."""
    (key,) = [name for name in members if name.startswith("manifests/")]
    record = json.loads(members[key])
    change(record)
    data = canonical_json(record)
    digest = digest_bytes(data)
    changed = {name: content for name, content in members.items() if name != key}
    told = listing(members)
    told["versions"][0]["manifest"] = digest
    return {"miripool-pack.json": sealed(told), f"manifests/{digest[:2]}/{digest}.json": data} | {
        name: content for name, content in changed.items() if name.startswith("blobs/")
    }


def unpack(file: Path, pool: Pool) -> None:
    with Pack(file) as shelf:
        receive(pool, shelf)


def assert_untouched(pool: Pool) -> None:
    assert pool.select().size() == 0
    assert not list(core_of(pool).archive.storage.keys("journal"))
    assert not core_of(pool).work_folder.exists() or not list(core_of(pool).work_folder.iterdir())


def test_an_honest_pack_is_taken(members: Members, other: Pool, tmp_path: Path) -> None:
    """What the other tests change is all that is wrong with theirs."""
    unpack(write_pack(tmp_path / "a.tar", with_manifest(members, lambda record: None)), other)
    assert other.ref("Rate/a").tags == ("t",)


def link_to(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


BLOB = "blobs/00/" + "0" * 32 + ".h5"


NO_PLACE = [
    link_to(BLOB, "/etc/passwd"),
    link_to(BLOB, "../../../pool.json"),
    link_to(BLOB, "/etc/passwd", tarfile.LNKTYPE),
    link_to(BLOB, "", tarfile.FIFOTYPE),
    link_to(BLOB, "", tarfile.CHRTYPE),
    link_to(BLOB, "", tarfile.DIRTYPE),
    link_to("blobs", "/tmp"),
    tarfile.TarInfo("../../outside.h5"),
    tarfile.TarInfo("/tmp/outside.h5"),
    tarfile.TarInfo("blobs/../../pool.json"),
    tarfile.TarInfo("journal/000000000000.json"),
    tarfile.TarInfo("blobs/00/" + "1" * 32 + ".h5"),
    tarfile.TarInfo("manifests/00/" + "0" * 32 + ".json\n"),
    tarfile.TarInfo("pool.json"),
]


def test_what_has_no_place_in_a_pack(members: Members, other: Pool, tmp_path: Path) -> None:
    for member in NO_PLACE:
        file = write_pack(tmp_path / "a.tar", {**members, "extra": member})  # type: ignore[dict-item]
        with pytest.raises(FormatError, match="is not a file written by miripool pack: it holds"):
            unpack(file, other)
    assert_untouched(other)


def change_list(**changes: Any) -> Callable[[Members], Members]:
    def change(members: Members) -> Members:
        told = listing(members)
        told["versions"][0] |= changes
        return {**members, "miripool-pack.json": sealed(told)}

    return change


def change_manifest(**changes: Any) -> Callable[[Members], Members]:
    return lambda members: with_manifest(members, lambda record: record.update(changes))


def change_hdu(**changes: Any) -> Callable[[Members], Members]:
    return lambda members: with_manifest(members, lambda record: record["hdus"][1].update(changes))


def change_data(**changes: Any) -> Callable[[Members], Members]:
    return lambda members: with_manifest(members, lambda record: record["hdus"][1]["data"].update(changes))


LIES = [
    change_list(manifest="../../../../etc/passwd"),
    change_list(manifest="0" * 32),
    change_list(serial=-1),
    change_list(serial="0; DROP TABLE product"),
    change_list(version=1.5),
    change_list(created="yesterday"),
    change_list(created="2026-01-01T00:00:00"),
    change_list(tags=["../x"]),
    change_list(tags=["a\nb"]),
    change_list(tags="t"),
    change_manifest(name="../../../outside"),
    change_manifest(name="/etc/cron.d/x"),
    change_manifest(name="a\x00b"),
    change_manifest(name="a\nb"),
    change_manifest(name=""),
    change_manifest(name="x" * 1000),
    change_manifest(kind="os.system"),
    change_manifest(kind="__class__"),
    change_manifest(references=[{"name": "x", "kind": "Rate", "product": "a", "version": 0, "serial": 9,
                                 "manifest": "0" * 32}]),
    change_manifest(kind="Context"),
    change_manifest(kind="Product", hdus=[]),
    change_manifest(format=99),
    change_manifest(hdus=[[]] * 10),
    change_hdu(statistics=None),
    change_hdu(encoding="pickle"),
    change_hdu(header={"base64": "gASVHQAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOUjAJpZJSFlFKULg=="}),
    change_hdu(header={"base64": ""}),
    change_hdu(header=["SIMPLE  = T", "BITPIX  = -32", "NAXIS   = 1", "NAXIS1  = 1000000"]),
    change_data(dtype="|O"),
    change_data(dtype=[["a", "|O"]]),
    change_data(dtype="<f8"),
    change_data(shape=[70, 60]),
    change_data(shape=[1 << 40, 1 << 20]),
    change_data(shape=[1 << 30, 1 << 30, 1 << 30]),
    change_data(shape=[-1, 5]),
    change_data(digest="../../../../../etc/passwd"),
    change_data(digest="0" * 32),
    lambda members: {**members, "miripool-pack.json": b"[" * 200_000},
    lambda members: {**members, "miripool-pack.json": b'{"format": 99}'},
    lambda members: {name: data for name, data in members.items() if not name.startswith("blobs/")},
    lambda members: {name: data for name, data in members.items() if not name.endswith(".json")},
    lambda members: {name: b"" if name.startswith("blobs/") else data for name, data in members.items()},
]  # fmt: skip


def test_lies_in_a_pack(members: Members, other: Pool, tmp_path: Path) -> None:
    for number, change in enumerate(LIES):
        file = write_pack(tmp_path / "a.tar", change(members))
        before = psutil.Process().memory_info().rss
        try:
            unpack(file, other)
        except (FormatError, IntegrityError, InvalidName, InvalidInput, NewerFormat) as error:
            assert str(error)  # noqa: PT017 - all of them in one pool: that takes a second, not a minute
        else:
            pytest.fail(f"lie {number} was believed")
        assert psutil.Process().memory_info().rss - before < 300e6
    assert_untouched(other)
    assert not list(tmp_path.glob("*outside*"))


def test_statistics_that_lie(members: Members, other: Pool, tmp_path: Path) -> None:
    def lie(record: dict[str, Any]) -> None:
        record["hdus"][1]["statistics"]["max"] = 1e9

    file = write_pack(tmp_path / "a.tar", with_manifest(members, lie))
    with pytest.raises(IntegrityError, match=r"damaged and was not saved: HDU 1 \(SCI\) differs from the manifest"):
        unpack(file, other)
    assert_untouched(other)


@pytest.mark.parametrize("bad", [b"", b"not a tar", b"\x1f\x8b" + bytes(600), bytes(5120)])
def test_no_pack(bad: bytes, other: Pool, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(bad)
    with pytest.raises(FormatError, match="is not a file written by miripool pack"):
        unpack(tmp_path / "a.tar", other)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FormatError, match="is not a regular file"):
        unpack(tmp_path / "pipe", other)
    with pytest.raises(MiripoolError, match="there is no file"):
        unpack(tmp_path / "nothing", other)


# In a process of its own, whose peak is its own.
UNPACK = """
import sys
sys.path.insert(0, sys.argv[1])
from peaks import peak_memory
from test_hostile import unpack
from pathlib import Path
from miripool import Home
from miripool.errors import FormatError
with Home().pool("other") as pool:
    before = peak_memory()
    try:
        unpack(Path(sys.argv[2]), pool)
    except FormatError:
        print(peak_memory() - before)
"""


@pytest.mark.slow
def test_a_header_that_is_longer_than_memory(other: Pool, tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 1 << 33
    with (tmp_path / "a.tar").open("wb") as file:
        file.write(info.tobuf())
        file.truncate(1 << 34)
    command = [sys.executable, "-c", UNPACK, TESTS, tmp_path / "a.tar"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.strip().isdigit(), done.stderr
    assert int(done.stdout) < 200_000 * 1024


def test_a_truncated_pack(members: Members, other: Pool, tmp_path: Path) -> None:
    file = write_pack(tmp_path / "a.tar", members)
    data = file.read_bytes()
    for keep in (0.1, 0.3, 0.5):
        file.write_bytes(data[: int(len(data) * keep)])
        with pytest.raises((FormatError, IntegrityError)):
            unpack(file, other)
    assert_untouched(other)


# Blobs and manifests in a pool's folder


def replace_blob(blob: Blob, write: Callable[[h5py.File], None]) -> None:
    path = file_of(blob)
    digests = np.zeros((1, 16), "u1")
    path.unlink()
    with h5py.File(path, "w") as file:
        write(file)
        file["data"].attrs["miripool_blob"] = 1
        file["data"].attrs["digest"] = np.bytes_(blob.ref.digest)
        if "tile_digests" not in file:
            file["tile_digests"] = digests


@pytest.mark.slow
def test_links_out_of_the_folder(filled: Pool, tmp_path: Path) -> None:
    """External links, virtual and external sources are tested with blobs; here, what the file system has."""
    blob = blob_of(filled)
    data = file_of(blob).read_bytes()
    outside = tmp_path / "outside.h5"
    outside.write_bytes(data)  # with the right content even
    for make in (lambda path: path.symlink_to(outside), os.mkfifo, Path.mkdir):
        file_of(blob).unlink()
        make(file_of(blob))
        assert not blob.is_sound()
        with pytest.raises(IntegrityError, match="is not a plain file"):
            blob[...]
        assert [finding.what for finding in verify(filled, level="full").findings] == ["blob"]
        file_of(blob).rmdir() if file_of(blob).is_dir() and not file_of(blob).is_symlink() else file_of(blob).unlink()
        file_of(blob).write_bytes(data)
    assert verify(filled, level="full").is_whole


def test_an_array_that_is_larger_than_its_file_can_be(filled: Pool) -> None:
    """A file of 10 kB whose dataset has 2**40 elements, none of them written."""
    blob = blob_of(filled)
    shape = (1 << 20, 1 << 20)
    lying = blob_at(file_of(blob), type(blob.ref)(blob.ref.digest, np.dtype("f4"), shape))
    for options in ({"chunks": (64, 64), **hdf5plugin.Bitshuffle(cname="lz4")}, {}):
        replace_blob(blob, lambda file, options=options: file.create_dataset("data", shape, "f4", **options))
        before = psutil.Process().memory_info().rss
        with pytest.raises(IntegrityError, match="too few for an array of 4398046511104"):
            lying[...]
        with pytest.raises(IntegrityError):
            core_of(filled).archive.blobs.measure(lying)
        assert psutil.Process().memory_info().rss - before < 100e6


def test_elements_that_were_never_written(filled: Pool) -> None:
    """A file that is long enough, with an array that has no place in it."""
    blob = blob_of(filled)

    def write(file: h5py.File) -> None:
        file.create_dataset("data", blob.shape, "<f4")
        file["filler"] = np.zeros(100_000, "u1")

    replace_blob(blob, write)
    with pytest.raises(IntegrityError, match="lacks some of its elements"):
        blob[...]


def test_tiles_that_are_too_large(filled: Pool) -> None:
    blob = blob_of(filled)
    shape = (1 << 14, 1 << 14)
    huge = blob_at(file_of(blob), type(blob.ref)(blob.ref.digest, np.dtype("f8"), shape))

    def write(file: h5py.File) -> None:
        file.create_dataset("data", shape, "<f8", chunks=shape, **hdf5plugin.Bitshuffle(cname="lz4"))
        file["filler"] = np.zeros(10_000_000, "u1")

    replace_blob(blob, write)
    with pytest.raises(IntegrityError, match="has tiles that are too large"):
        huge[0, 0]


def test_names_that_are_paths(filled: Pool, home: Home, tmp_path: Path) -> None:
    """A pool's folder that somebody else made: its names come from its journal."""
    row = core_of(filled).catalog.rows([0])[0]
    manifest = json.loads(core_of(filled).archive.storage.read(core_of(filled).archive.manifest_key(row.manifest)))
    manifest["name"] = "../../outside"
    data = canonical_json(manifest)
    digest = digest_bytes(data)
    assert Manifest.from_bytes(data, digest).name == "../../outside"
    core_of(filled).archive.storage.put(core_of(filled).archive.manifest_key(digest), data)
    journal = core_of(filled).archive.journal
    *_, last = journal.since(-1, None)
    save = Save(1, "Rate", "../../outside", 0, digest, row.content, 0)
    assert journal.write(journal.next_entry(last, [save]))
    core_of(filled).catch_up()
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    with pytest.raises(InvalidName):
        filled.export("urn:jpl8:Rate:1", folder)
    assert [path.name for path in tmp_path.rglob("*outside*")] == []
    assert filled.export("urn:jpl8:Rate:1", folder / "named.fits").exists()  # where the user says
    with pytest.raises(InvalidName), home.create("third") as third:
        receive(third, PoolShelf(filled))


def test_a_file_that_would_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "_MOST_BYTES", 1 << 20)
    bomb = tmp_path / "bomb.fits.gz"
    with gzip.open(bomb, "wb") as file:
        for _ in range(20):
            file.write(bytes(1 << 20))
    with pytest.raises(FormatError, match=r"bytes decompress to more than .* decompress the file yourself"):
        read_fits(bomb)


# Who may look


@pytest.mark.server
def arguments_of(pids: set[int]) -> Iterator[str]:
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            yield " ".join(psutil.Process(pid).cmdline())


@pytest.mark.slow
def test_the_password_is_told_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with throwaway_server() as url:
        assert "owner" in url
        words = []
        shown: list[str] = []
        environment = {**os.environ, "MIRIPOOL_DATABASE_URL": url, "MIRIPOOL_HOME": str(tmp_path / "home")}

        def run(*arguments: str, change: str | None = None) -> None:
            command = [sys.executable, "-m", "miripool", *arguments]
            variables = {**environment, **({"MIRIPOOL_DATABASE_URL": change} if change else {})}
            before = set(psutil.pids())
            with subprocess.Popen(
                command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            ) as process:
                while process.poll() is None:
                    shown.extend(arguments_of(set(psutil.pids()) - before))
                    time.sleep(0.005)
                assert process.stdout is not None
                words.append(process.stdout.read())

        run("create", "jpl8")
        run("ls", "jpl8")
        run("pools")
        run("server", "status")
        run("sql", "jpl8", "SELECT nonsense")
        run("verify", "jpl8")
        run("ls", "jpl8", change=url.replace("5432", "1"))
        run("ls", "jpl8", change=url.replace("owner", "nobody_here"))
        run("ls", "jpl8", change=url.replace("/postgres?", "/no_such_database?"))
        assert any("miripool ls" in line for line in shown)
        text = "\n".join([*words, *shown])
        assert "jpl8" in text
        for secret in (PASSWORD, PASSWORD[:8], url):
            assert secret not in text
        log = list((tmp_path / "home").rglob("*"))
        assert not [path for path in log if path.is_file() and PASSWORD.encode() in path.read_bytes()]


@pytest.mark.slow
def test_the_embedded_server_lets_nobody_else_in(monkeypatch: pytest.MonkeyPatch) -> None:
    with reachable_folder() as folder:
        server = EmbeddedServer(folder / "home", idle_minutes=60)
        try:
            server.ensure()
            status = server.status()
            assert status.pid is not None
            assert psutil.Process(status.pid).net_connections("inet") == []
            assert status.socket_directory is not None
            assert stat.S_IMODE(status.socket_directory.stat().st_mode) == 0o700
            assert stat.S_IMODE(status.data_directory.stat().st_mode) & 0o077 == 0
            rules = (status.data_directory / "pg_hba.conf").read_text()
            active = [line.split() for line in rules.splitlines() if line.strip() and not line.startswith("#")]
            assert active
            assert all(line[0] == "local" and line[3] == "peer" for line in active)
            url = server.url
            psycopg2.connect(url).close()
            if os.geteuid() == 0:
                os.seteuid(pwd.getpwnam("daemon").pw_uid)
                try:
                    with pytest.raises(psycopg2.OperationalError, match="Permission denied"):
                        psycopg2.connect(url)
                finally:
                    os.seteuid(0)
        finally:
            server.remove()


@pytest.mark.slow
@pytest.mark.parametrize(("umask", "file_mode", "folder_mode"), [(0o022, 0o644, 0o755), (0o077, 0o600, 0o700)])
def test_modes_follow_the_umask(umask: int, file_mode: int, folder_mode: int, home: Home, tmp_path: Path) -> None:
    old = os.umask(umask)
    try:
        with home.create("jpl8") as pool:
            pool.save(Rate({}, {"SCI": np.ones((60, 70), "f4")}, name="a"))
            call("pack", "jpl8", tmp_path / "a.tar")
            root = pool.path
    finally:
        os.umask(old)
    paths = [root, *root.rglob("*"), tmp_path / "a.tar"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_file()} == {file_mode}
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_dir()} == {folder_mode}


def test_headers_that_somebody_made_up(members: Members, other: Pool, tmp_path: Path) -> None:
    def header(kind: bytes, size: int = 0, **more: Any) -> bytes:
        info = tarfile.TarInfo("x")
        info.type, info.size = kind, size
        for name, value in more.items():
            setattr(info, name, value)
        return info.tobuf(tarfile.GNU_FORMAT)

    sparse = bytearray(header(tarfile.GNUTYPE_SPARSE))
    sparse[482] = 1
    negative = bytearray(header(tarfile.REGTYPE))
    negative[124:136] = b"\xff" * 10 + b"\xfc\x00"
    pax = b"15 size=-2048\n"
    made_up = [
        (header(tarfile.GNUTYPE_LONGNAME, 512) + bytes(512)) * 1000,
        (header(tarfile.XHDTYPE, len(pax)) + pax.ljust(512, b"\0")) * 3000,
        bytes(sparse),
        bytes(sparse) + bytes(30),
        bytes(negative),
        header(tarfile.XHDTYPE, len(pax)) + pax.ljust(512, b"\0") + header(tarfile.REGTYPE),
    ]
    honest = write_pack(tmp_path / "honest.tar", members).read_bytes()
    for data in made_up:
        for whole in (data, honest[:1024] + data):
            (tmp_path / "a.tar").write_bytes(whole)
            with pytest.raises((FormatError, IntegrityError)):
                unpack(tmp_path / "a.tar", other)
    for missing in ("pool", "pool_id", "versions"):
        told = listing(members)
        del told[missing]
        file = write_pack(tmp_path / "a.tar", {**members, "miripool-pack.json": sealed(told)})
        with pytest.raises(FormatError, match="can't be read"):
            unpack(file, other)
    assert_untouched(other)
