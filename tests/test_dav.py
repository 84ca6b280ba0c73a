"""Pools by WebDAV, read by the real rclone and asked by HTTP: the bytes of the exports, and nothing that writes."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, unquote
from wsgiref.util import setup_testing_defaults
from xml.etree import ElementTree

import numpy as np
import pytest
from awkward import AWKWARD
from homes import empty_home, file_of
from rclone import Rclone
from web import Answer, Served, serving

from miripool import Home, Pool, Product, ProductRef
from miripool.errors import StorageError
from miripool.files.dav import DavApp, dav_app
from miripool.files.tree import PoolTree
from miripool.simulate import SimulatedExposure

NAMES = (
    "a b%20c", "100%", "%2f..%2f", "é, composed", "e\N{COMBINING ACUTE ACCENT}, of two", "#x?y&z+w;=:",
    "😀 日本語", "it's \"<script>alert(1)<script>", "-rf", ".hidden", "~x", "[0] (2)", "..a", "a" * 200, "ü" * 200,
)  # fmt: skip
DAV = "{DAV:}"


@pytest.fixture(scope="module")
def dav_home(simulated: Path, database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("dav")
    with empty_home(folder / "home", database_url, "dav") as home:
        with home.create("jpl8") as pool:
            pool.ingest([simulated / "uncal", simulated / "v1"], tag="using cal v1", pixels=False)
            pool.ingest(simulated / "v2", tag="using cal v2", pixels=False)
        with home.create("odd names") as pool:
            for name in NAMES:
                pool.save(Product({}, {"SCI": np.arange(len(name))}, name=name), tag=f"tag {name}"[:90])
        home.create("empty").close()
        yield home


@pytest.fixture(scope="module")
def served(dav_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("server"), "serve", "--dav", home=dav_home.path) as running:
        yield running
        assert "Traceback" not in running.log()


@pytest.fixture
def rclone(served: Served, tmp_path: Path) -> Rclone:
    return Rclone(served, tmp_path)


@pytest.fixture
def own(database_url: str, tmp_path: Path) -> Iterator[tuple[Home, Pool]]:
    """A home of one test, with a pool."""
    with empty_home(tmp_path / "home", database_url, "dav_own") as home, home.create("jpl8") as pool:
        yield home, pool


def ask(served: Served, path: str, *, method: str = "GET", **headers: str) -> Answer:
    """Ask for a path, which is quoted here."""
    sent = {key.replace("_", "-"): value for key, value in headers.items()}
    return served.ask("dav" + quote(path), method=method, headers=sent)


def propfind(served: Served, path: str, depth: str = "1", body: str = "") -> dict[str, ElementTree.Element]:
    """Give the answer for each path that PROPFIND tells of, unquoted and without ``/dav``."""
    answer = served.ask("dav" + quote(path), method="PROPFIND", headers={"Depth": depth}, body=body.encode())
    assert answer.status == 207, answer.body
    found = {}
    for response in ElementTree.fromstring(answer.body):
        href = response.findtext(f"{DAV}href")
        assert href is not None
        found[unquote(href).removeprefix("/dav")] = response
    return found


def properties(response: ElementTree.Element, status: str = "200") -> dict[str, str]:
    """Give the properties of a response that have a status."""
    parts = [part for part in response.iter(f"{DAV}propstat") if status in (part.findtext(f"{DAV}status") or "")]
    return {element.tag: element.text or "" for part in parts for element in part.find(f"{DAV}prop") or ()}


def references(pool: Pool) -> list[ProductRef]:
    """All versions that are files."""
    return [ref for ref in pool.select("1", all_versions=True) if ref.kind != "Exposure"]


def compare_with_exports(pool: Pool, folder: Path, scratch: Path) -> None:
    """Compare a copy of ``versions/`` with the exports, and make sure that nothing is missing or added."""
    tree = PoolTree(pool)
    expected = {tree.path_of(ref).removeprefix("/versions/"): ref for ref in references(pool)}
    copied = {str(path.relative_to(folder)): path for path in folder.rglob("*.fits")}
    assert set(copied) == set(expected)
    for number, (name, ref) in enumerate(expected.items()):
        assert copied[name].read_bytes() == pool.export(ref, scratch / f"{number}.fits").read_bytes(), name


def ramp_path(home: Home) -> str:
    """Where the first ramp lies."""
    with home.pool("jpl8") as pool:
        return "/jpl8" + PoolTree(pool).path_of(pool.ref("Ramp/jw01033005001_03103_00001_mirimage@0"))


@pytest.fixture(scope="module")
def ramp(dav_home: Home) -> str:
    return ramp_path(dav_home)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["jpl8", "odd names"])
def test_rclone_copies_the_exports(rclone: Rclone, dav_home: Home, name: str, tmp_path: Path) -> None:
    rclone.read("copy", "--no-unicode-normalization", f":webdav:{name}/versions", tmp_path / "copied")
    (tmp_path / "exports").mkdir()
    with dav_home.pool(name) as pool:
        compare_with_exports(pool, tmp_path / "copied", tmp_path / "exports")


def save_awkward(pool: Pool, folder: Path) -> None:
    folder.mkdir()
    for name, make in AWKWARD.items():
        path = folder / f"{name}.fits"
        path.write_bytes(make())
        pool.save(path)


@pytest.mark.slow
def test_awkward_files(rclone: Rclone, dav_home: Home, tmp_path: Path) -> None:
    with dav_home.create("awkward") as pool:
        save_awkward(pool, tmp_path / "files")
        rclone.read("copy", ":webdav:awkward/versions", tmp_path / "copied")
        (tmp_path / "exports").mkdir()
        compare_with_exports(pool, tmp_path / "copied", tmp_path / "exports")


@pytest.mark.slow
def test_real_exposures(rclone: Rclone, dav_home: Home, shared_data: Path, tmp_path: Path) -> None:
    with dav_home.create("real") as pool:
        files = sorted(path for path in shared_data.rglob("*.fits") if "crds" not in path.parts)
        for path in files:
            pool.save(path)
        rclone.read("copy", ":webdav:real/versions", tmp_path / "copied")
        (tmp_path / "exports").mkdir()
        compare_with_exports(pool, tmp_path / "copied", tmp_path / "exports")


@pytest.mark.slow
def test_four_readers_at_once(served: Served, ramp: str, dav_home: Home, tmp_path: Path) -> None:
    rclone = Rclone(served, tmp_path)
    with dav_home.pool("jpl8") as pool:
        expected = pool.export("Ramp/jw01033005001_03103_00001_mirimage@0", tmp_path / "ramp.fits").read_bytes()
    with ThreadPoolExecutor(4) as readers:
        for content in readers.map(lambda _: rclone.read("cat", f":webdav:{ramp[1:]}"), range(4)):
            assert content == expected


@contextlib.contextmanager
def mounted(rclone: Rclone, folder: Path) -> Iterator[Path]:
    """Mount the server by rclone and FUSE."""
    if not Path("/dev/fuse").exists() or shutil.which("fusermount3") is None:
        pytest.skip("FUSE is missing on this machine: /dev/fuse, and fusermount3 of Debian's package fuse3")
    folder.mkdir()
    process = rclone.start("mount", ":webdav:", folder, "--read-only")
    try:
        end = time.monotonic() + 30
        while not os.path.ismount(folder):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < end
            time.sleep(0.05)
        yield folder
    finally:
        subprocess.run(["fusermount3", "-u", "-z", folder], check=False, capture_output=True)
        process.terminate()
        process.communicate(timeout=20)


@pytest.mark.slow
def test_rclone_mounts_it(dav_home: Home, tmp_path: Path) -> None:
    with (
        serving(tmp_path, "serve", "--dav", home=dav_home.path) as running,
        mounted(Rclone(running, tmp_path), tmp_path / "mounted") as folder,
    ):
        assert {"jpl8", "odd names", "empty"} <= {path.name for path in folder.iterdir()}
        (tmp_path / "exports").mkdir()
        with dav_home.pool("jpl8") as pool:
            compare_with_exports(pool, folder / "jpl8" / "versions", tmp_path / "exports")
        with pytest.raises(OSError, match=r"[Rr]ead-only"):
            (folder / "jpl8" / "new.fits").write_bytes(b"x")
        running.process.kill()
        start = time.monotonic()
        with pytest.raises(OSError, match=r"\S"):
            (folder / "jpl8" / "versions" / "unseen").stat()
        assert time.monotonic() - start < 60


def test_what_the_server_says_of_itself(served: Served, ramp: str) -> None:
    for path in ("/", "/jpl8/", ramp):
        answer = ask(served, path, method="OPTIONS")
        assert (answer.status, answer.headers["dav"]) == (200, "1")
        assert {"GET", "HEAD", "OPTIONS", "PROPFIND"} == set(answer.headers["allow"].split(", "))


def test_folders(served: Served, ramp: str) -> None:
    assert {"/", "/jpl8/", "/odd names/", "/empty/"} <= set(propfind(served, "/"))
    found = propfind(served, ramp.rpartition("/")[0] + "/")
    assert ramp in found
    size = int(ask(served, ramp, method="HEAD").headers["content-length"])
    told = properties(found[ramp])
    assert told[f"{DAV}getcontentlength"] == str(size)
    assert told[f"{DAV}getcontenttype"] == "application/fits"
    assert told[f"{DAV}getetag"] == ask(served, ramp, method="HEAD").headers["etag"]
    assert told[f"{DAV}getlastmodified"] == ask(served, ramp, method="HEAD").headers["last-modified"]
    assert set(propfind(served, "/jpl8/", "0")) == {"/jpl8/"}
    (alone,) = propfind(served, ramp)
    assert alone == ramp


def test_what_is_asked_of_folders(served: Served, ramp: str) -> None:
    wanted = '<propfind xmlns="DAV:"><prop><getetag/><quota-used-bytes/><x:y xmlns:x="a&amp;b"/></prop></propfind>'
    found = propfind(served, ramp, "0", wanted)[ramp]
    assert set(properties(found)) == {f"{DAV}getetag"}
    assert set(properties(found, "404")) == {f"{DAV}quota-used-bytes", "{a&b}y"}
    names = propfind(served, ramp, "0", '<propfind xmlns="DAV:"><propname/></propfind>')[ramp]
    assert set(properties(names).values()) == {""}
    folder = propfind(served, "/jpl8", "0")["/jpl8/"]
    assert folder.find(f".//{DAV}resourcetype/{DAV}collection") is not None


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, b"", 403),
        ({"Depth": "infinity"}, b"", 403),
        ({"Depth": "2"}, b"", 400),
        ({"Depth": "1"}, b"<no xml", 400),
        ({"Depth": "1"}, b"<a/>", 400),
        ({"Depth": "1"}, b'<propfind xmlns="DAV:"><prop>' + b"<x/>" * 20_000 + b"</prop></propfind>", 413),
        ({"Depth": "1"}, b'<!DOCTYPE a [<!ENTITY b "c">]><propfind xmlns="DAV:">&b;</propfind>', 400),
    ],
)
def test_questions_that_are_refused(served: Served, headers: dict[str, str], body: bytes, status: int) -> None:
    answer = served.ask("dav/jpl8/", method="PROPFIND", headers=headers, body=body)
    assert answer.status == status
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.body.strip()


def test_ranges(served: Served, ramp: str) -> None:
    whole = ask(served, ramp).body
    size = len(whole)

    def part(text: str, **headers: str) -> tuple[int, bytes]:
        answer = ask(served, ramp, Range=text, **headers)
        assert int(answer.headers["content-length"]) == len(answer.body)
        if answer.status == 206:
            start = whole.index(answer.body) if len(answer.body) > 80 else None
            assert answer.headers["content-range"].endswith(f"/{size}")
            assert start is None or answer.headers["content-range"].startswith("bytes ")
        return answer.status, answer.body

    assert part("bytes=0-0") == (206, whole[:1])
    assert part("bytes=-10") == (206, whole[-10:])
    assert part(f"bytes=-{10 * size}") == (206, whole)
    assert part(f"bytes={size - 5}-") == (206, whole[-5:])
    assert part(f"bytes={size - 5}-{10**17}") == (206, whole[-5:])
    for outside in (f"bytes={size}-", f"bytes={size}-{size + 5}", "bytes=-0"):
        answer = ask(served, ramp, Range=outside)
        assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{size}")
    for ignored in ("bytes=0-1,5-6", "bytes=-", "lines=1-2", "bytes=a-b", "bytes=5-4", f"bytes={'9' * 5000}-"):
        assert part(ignored) == (200, whole), ignored
    chance = random.Random(0)
    for _ in range(20):
        start, stop = sorted(chance.randrange(size) for _ in range(2))
        answer = ask(served, ramp, Range=f"bytes={start}-{stop}")
        assert answer.headers["content-range"] == f"bytes {start}-{stop}/{size}"
        assert answer.body == whole[start : stop + 1]


def test_conditions(served: Served, ramp: str) -> None:
    first = ask(served, ramp, method="HEAD")
    etag, modified = first.headers["etag"], first.headers["last-modified"]
    assert etag.startswith('"')
    assert first.body == b""
    for headers in (
        {"If_None_Match": etag},
        {"If_None_Match": f'"x", {etag}'},
        {"If_None_Match": "*"},
        {"If_None_Match": etag, "If_Modified_Since": "Sun, 06 Nov 1994 08:49:37 GMT"},
        {"If_Modified_Since": modified},
        {"If_Modified_Since": "Fri, 01 Jan 2100 00:00:00 GMT"},
    ):
        answer = ask(served, ramp, **headers)
        assert (answer.status, answer.headers["etag"], answer.body) == (304, etag, b""), headers
    for headers in (
        {"If_None_Match": '"x"'},
        {"If_None_Match": '"x"', "If_Modified_Since": modified},
        {"If_Modified_Since": "Sun, 06 Nov 1994 08:49:37 GMT"},
        {"If_Modified_Since": "yesterday"},
        {"If_Modified_Since": "Sat, 01 Jan 99999 00:00:00 GMT"},
        {"If_Unmodified_Since": "Sat, 01 Jan 99999 00:00:00 GMT"},
        {"Range": "bytes=0-9", "If_Range": "Sat, 01 Jan 99999 00:00:00 GMT"},
        {"If_Match": etag},
        {"Range": "bytes=0-9", "If_Range": '"x"'},
    ):
        assert ask(served, ramp, **headers).status == 200, headers
    assert ask(served, ramp, If_Match='"x"').status == 412
    assert ask(served, ramp, Range="bytes=0-9", If_Range=etag).status == 206


def test_equal_content_has_one_etag_and_other_content_another(served: Served, dav_home: Home) -> None:
    with dav_home.pool("jpl8") as pool:
        tree = PoolTree(pool)
        first, second = (pool.ref(f"RateInts/jw01033005001_03103_00001_mirimage@{n}") for n in (0, 1))
        paths = [f"/jpl8{tree.path_of(ref)}" for ref in (first, second)]
    etags = [ask(served, path, method="HEAD").headers["etag"] for path in paths]
    assert etags[0] != etags[1]
    tagged = [path for path in propfind(served, "/jpl8/by-tag/using cal v1/") if path.endswith("_rateints.fits")]
    assert [ask(served, path, method="HEAD").headers["etag"] for path in tagged] == etags[:1]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "MKCOL", "COPY", "MOVE", "PROPPATCH", "LOCK", "UNLOCK", "POST"])
def test_nothing_is_written(served: Served, ramp: str, method: str) -> None:
    answer = served.ask("dav" + quote(ramp), method=method, body=b"x" * 100, headers={"Destination": "/dav/jpl8/x"})
    assert answer.status == (403 if method == "MKCOL" else 405)
    assert b"read" in answer.body
    assert "PROPFIND" in answer.headers["allow"]
    assert ask(served, ramp, method="HEAD").status == 200


@pytest.mark.slow
def test_rclone_writes_nothing(rclone: Rclone, served: Served, ramp: str, tmp_path: Path) -> None:
    (tmp_path / "new.fits").write_bytes(b"new")
    before = set(propfind(served, ramp.rpartition("/")[0]))
    for arguments in (
        ("copyto", str(tmp_path / "new.fits"), f":webdav:{ramp[1:]}"),
        ("copyto", str(tmp_path / "new.fits"), ":webdav:jpl8/new.fits"),
        ("deletefile", f":webdav:{ramp[1:]}"),
        ("mkdir", ":webdav:jpl8/new"),
        ("moveto", f":webdav:{ramp[1:]}", ":webdav:jpl8/moved.fits"),
    ):
        code, _, words = rclone.run(*arguments)
        assert code != 0
        assert "405 Method" in words or "403 Forbidden" in words
    assert set(propfind(served, ramp.rpartition("/")[0])) == before


def test_who_may_enter(served: Served, ramp: str) -> None:
    def status(authorization: str | None) -> tuple[int, str]:
        headers = {} if authorization is None else {"Authorization": authorization}
        answer = served.ask("dav" + quote(ramp), token=False, headers=headers)
        return answer.status, answer.headers.get("www-authenticate", "")

    def basic(password: str) -> str:
        return "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()

    assert status(basic(served.token))[0] == 200
    for wrong in (None, basic("wrong"), basic(""), "Basic !", "Bearer wrong"):
        found = status(wrong)
        assert found[0] == 401
        assert found[1].startswith("Basic ")


@pytest.mark.slow
def test_rclone_with_a_wrong_token(served: Served, tmp_path: Path) -> None:
    code, output, words = Rclone(served, tmp_path, token="wrong").run("lsf", ":webdav:")
    assert (code != 0, output) == (True, b"")
    assert "401" in words


def test_names_of_all_kinds(served: Served, dav_home: Home, tmp_path: Path) -> None:
    with dav_home.pool("odd names") as pool:
        tree = PoolTree(pool)
        paths = {ref.name: "/odd names" + tree.path_of(ref) for ref in pool.select("1")}
        assert set(paths) == set(NAMES)
        listed = propfind(served, next(iter(paths.values())).rpartition("/")[0])
        assert set(paths.values()) <= set(listed)
        for number, (name, path) in enumerate(paths.items()):
            content = pool.export(f"Product/{name}@0", tmp_path / f"{number}.fits").read_bytes()
            assert ask(served, path).body == content
    tags = propfind(served, "/odd names/by-tag/")
    assert sum(path.endswith("/") for path in tags) == len(NAMES) + 1


def test_a_folder_in_a_browser(served: Served, dav_home: Home) -> None:
    with dav_home.pool("odd names") as pool:
        folder = "/odd names" + PoolTree(pool).path_of(pool.ref("Product/100%@0")).rpartition("/")[0]
    for path in (folder, folder + "/"):
        answer = ask(served, path)
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert b"<script" not in answer.body
        assert b"&lt;script&gt;" in answer.body
        assert "default-src 'self'" in answer.headers["content-security-policy"]
    head = ask(served, folder, method="HEAD")
    assert (head.status, head.body) == (200, b"")


@pytest.mark.parametrize(
    "path",
    [
        *("/none/", "/.DS_Store", "/jpl8/none.fits", "/jpl8/versions/none", "/jpl8/../other", "/../etc/passwd"),
        *("/jpl8/\n", "/jpl8/by-kind/" + "a/" * 1100, "/jpl8" + "/by-date/2026/2026-01-01/x" * 3),
    ],
)
def test_what_is_not_there(served: Served, path: str) -> None:
    for method in ("GET", "PROPFIND", "OPTIONS"):
        answer = served.ask("dav" + quote(path), method=method, headers={"Depth": "1"})
        assert answer.status in (400, 404), method
        assert answer.body.strip()


@pytest.mark.slow
def test_a_damaged_blob(own: tuple[Home, Pool], exposure: SimulatedExposure, tmp_path: Path) -> None:
    home, pool = own
    noise = np.random.default_rng(0).integers(0, 1 << 32, (6, 2048, 1024), np.uint32)  # 50 MB, which LZ4 can't pack
    small = pool.save(Product({}, {"SCI": noise[0, :60, :60]}, name="small"))
    large = pool.save(Product({}, {"SCI": noise}, name="large"))
    good = pool.save(Product({}, {"SCI": noise[1, :60, :60]}, name="good"))
    tree = PoolTree(pool)
    paths = {ref.name: f"/jpl8{tree.path_of(ref)}" for ref in (small, large, good)}
    for ref, place in ((small, 0.5), (large, 0.9)):
        damage(file_of(ref.product["SCI"].source), place)
    with serving(tmp_path, "serve", "--dav", home=home.path) as served:
        answer = ask(served, paths["small"])
        assert answer.status == 500
        assert b"restore" in answer.body
        code, content, words = Rclone(served, tmp_path).run("cat", f":webdav:{paths['large'][1:]}")
        assert code != 0, words
        assert len(content) < int(ask(served, paths["large"], method="HEAD").headers["content-length"])
        assert ask(served, paths["good"]).body == pool.export(good, tmp_path / "good.fits").read_bytes()
        log = served.log()
        assert "Traceback" not in log
        for ref in (small, large):
            assert any(ref.urn in line for line in log.splitlines()), log


def damage(path: Path, place: float) -> None:
    data = bytearray(path.read_bytes())
    middle = int(len(data) * place)
    data[middle : middle + 200] = bytes(byte ^ 0xFF for byte in data[middle : middle + 200])
    path.chmod(0o644)
    path.write_bytes(data)


def until(condition: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_a_pool_changes_while_it_is_served(own: tuple[Home, Pool], tmp_path: Path) -> None:
    home, pool = own
    with serving(tmp_path, "serve", "--dav", home=home.path) as served:
        assert set(propfind(served, "/")) == {"/", "/jpl8/"}
        ref = pool.save(Product({}, {"SCI": np.arange(5)}, name="a"), tag="t")
        path = f"/jpl8{PoolTree(pool).path_of(ref)}"
        until(lambda: ask(served, path).status == 200)
        before = ask(served, path, method="HEAD").headers["etag"]
        pool.remove(ref)
        until(lambda: ask(served, path).status == 404)
        home.delete("jpl8")
        assert ask(served, path).status == 404
        assert set(propfind(served, "/")) == {"/"}
        with home.create("jpl8") as again:
            again.save(Product({}, {"SCI": np.arange(7)}, name="a"))
            until(lambda: ask(served, path).status == 200)
            assert ask(served, path, method="HEAD").headers["etag"] != before
        assert "Traceback" not in served.log()


@pytest.mark.slow
def test_a_killed_server_leaves_nothing_hanging(own: tuple[Home, Pool], tmp_path: Path) -> None:
    home, pool = own
    noise = np.random.default_rng(0).integers(0, 1 << 32, (8, 1024, 1024), np.uint32)
    path = PoolTree(pool).path_of(pool.save(Product({}, {"SCI": noise}, name="large")))
    with serving(tmp_path, "serve", "--dav", home=home.path) as served:
        rclone = Rclone(served, tmp_path)
        with rclone.start("cat", "--bwlimit", "2M", "--buffer-size", "0", f":webdav:jpl8{path}") as process:
            assert process.stdout is not None
            first = process.stdout.read(1 << 16)
            served.process.send_signal(signal.SIGKILL)
            rest, words = process.communicate(timeout=60)
        assert process.returncode != 0, words
        assert 0 < len(first) + len(rest) < noise.nbytes
        code, _, said = rclone.run("lsf", ":webdav:")
        assert code != 0, said


@pytest.mark.slow
def test_a_reader_who_leaves_is_not_served_on(own: tuple[Home, Pool], tmp_path: Path) -> None:
    home, pool = own
    noise = np.random.default_rng(0).integers(0, 1 << 32, (8, 1024, 1024), np.uint32)
    path = PoolTree(pool).path_of(pool.save(Product({}, {"SCI": noise}, name="large")))
    with serving(tmp_path, "serve", "--dav", home=home.path) as served:
        rclone = Rclone(served, tmp_path)
        for _ in range(20):  # more than the server has threads
            with rclone.start("cat", "--bwlimit", "1M", f":webdav:jpl8{path}") as process:
                assert process.stdout is not None
                process.stdout.read(1 << 10)
                process.kill()
        assert ask(served, "/jpl8/").status == 200
        assert "Traceback" not in served.log()


def wsgi(app: Any, method: str, path: str, **more: str) -> tuple[str, bytes]:
    """Ask an application in this process."""
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path, "wsgi.input": io.BytesIO(), **more}
    setup_testing_defaults(environ)
    started: list[str] = []
    pieces = list(app(environ, lambda status, _headers, _=None: started.append(status)))
    return started[0], b"".join(pieces)


def test_a_path_forges_no_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever goes wrong: a path is one short part of a line."""

    class Broken:
        def find(self, path: str) -> Any:
            raise StorageError("the disk is broken") if path == "/\x1b[31m" else ZeroDivisionError

    app = DavApp(cast("Any", Broken()))
    for path in ("/\x1b[31m", "/a\n2026-11-30 the administrator removed everything " + "/x" * 1000):
        assert wsgi(app, "GET", path)[0].startswith("500")
    logged = [record.getMessage() for record in caplog.records if record.name == "miripool.files.davanswers"]
    first, second = logged
    assert first == r"'/\x1b[31m' can't be read: the disk is broken"
    assert second.startswith(r"a request for '/a\n2026-11-30 the ")
    assert len(second) < 100


def test_addresses_behind_a_prefix(own: tuple[Home, Pool], capfd: pytest.CaptureFixture[str]) -> None:
    home, pool = own
    pool.save(Product({}, {"SCI": np.arange(5)}, name="a b"))
    with contextlib.closing(dav_app(home)) as app:
        place = {"SCRIPT_NAME": "/pre fix/dav", "HTTP_DEPTH": "1"}
        status, body = wsgi(app, "PROPFIND", "/jpl8/versions/Product", **place)
        assert status.startswith("207")
        assert b"<D:href>/pre%20fix/dav/jpl8/versions/Product/a%20b_v0_product.fits</D:href>" in body
        assert b'href="/pre%20fix/dav/jpl8/"' in wsgi(app, "GET", "/", **place)[1]
        assert wsgi(app, "PUT", "/jpl8/x", **place)[0].startswith("405")
        assert wsgi(app, "GET", "/jpl8/x", **place)[0].startswith("404")
    assert capfd.readouterr() == ("", "")
