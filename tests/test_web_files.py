"""FITS files by HTTP: the bytes that `export` writes, whole and in ranges."""

from __future__ import annotations

import contextlib
import io
import logging
import random
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from homes import empty_home
from test_web_wsgi import asking, listening
from web import Served

from miripool import Home, Product
from miripool.session.pools import Pools
from miripool.web import readers
from miripool.web.app import make_api
from miripool.web.files import STREAMS
from miripool.web.serving import _in_a_sentence

FILE = "/files/jpl8/0.fits"
KINDS = ("Raw", "Ramp", "RateInts", "Rate", "Exposure")


def serials(shown: Served) -> dict[str, int]:
    asked = {"where": "name like 'jw*'", "order": "name"}
    rows = [*shown.get("api/pools/jpl8/products", **asked)["rows"]]
    rows += shown.get("api/pools/jpl8/products", **asked, kind="Exposure")["rows"]
    return {row["kind"]: int(row["urn"].rpartition(":")[2]) for row in rows}


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_is_the_export(shown: Served, shown_home: Home, kind: str, tmp_path: Path) -> None:
    number = serials(shown)[kind]
    with shown_home.pool("jpl8") as pool:
        expected = pool.export(f"urn:jpl8:{kind}:{number}", tmp_path / "file.fits").read_bytes()
    answer = shown.ask(f"files/jpl8/{number}.fits")
    assert answer.status == 200
    assert answer.body == expected
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-type"] == "application/fits"
    choose = random.Random(kind)
    for _ in range(20):
        start, stop = sorted(choose.randrange(len(expected)) for _ in range(2))
        part = shown.ask(f"files/jpl8/{number}.fits", headers={"Range": f"bytes={start}-{stop}"})
        assert part.status == 206
        assert part.headers["content-range"] == f"bytes {start}-{stop}/{len(expected)}"
        assert part.body == expected[start : stop + 1]


def test_ranges(shown: Served) -> None:
    path = f"files/jpl8/{serials(shown)['Rate']}.fits"
    whole = shown.ask(path).body
    size = len(whole)

    def ask(text: str, **headers: str) -> tuple[int, bytes]:
        answer = shown.ask(path, headers={"Range": text, **headers})
        return answer.status, answer.body

    assert ask("bytes=0-0") == (206, whole[:1])
    assert ask("bytes=-10") == (206, whole[-10:])
    assert ask(f"bytes=-{10 * size}") == (206, whole)
    assert ask(f"bytes={size - 5}-") == (206, whole[-5:])
    assert ask(f"bytes={size - 5}-{10**18}") == (206, whole[-5:])
    for outside in (f"bytes={size}-", f"bytes={size}-{size + 5}", f"bytes={10**17}-"):
        status, _ = ask(outside)
        assert status == 416, outside
    for ignored in ("bytes=0-1,5-6", "bytes=-", "lines=1-2", "bytes=a-b", "bytes", "bytes=5-4", f"bytes={'9' * 5000}-"):
        assert ask(ignored) == (200, whole), ignored


def test_etag(shown: Served) -> None:
    numbers = serials(shown)
    path = f"files/jpl8/{numbers['Rate']}.fits"
    first = shown.ask(path)
    etag = first.headers["etag"]
    assert first.headers["cache-control"] == "private, no-cache"  # another home may have other files at this address
    assert shown.ask(path, headers={"If-None-Match": etag}).status == 304
    assert shown.ask(path, headers={"If-None-Match": "*"}).status == 304
    assert shown.ask(path, headers={"If-None-Match": '"other"'}).status == 200
    part = {"Range": "bytes=0-9"}
    assert shown.ask(path, headers={**part, "If-Range": etag}).status == 206
    assert shown.ask(path, headers={**part, "If-Range": '"other"'}).status == 200
    assert shown.ask(f"files/jpl8/{numbers['Ramp']}.fits", method="HEAD").headers["etag"] != etag


def test_head(shown: Served) -> None:
    path = f"files/jpl8/{serials(shown)['Ramp']}.fits"
    told = shown.ask(path, method="HEAD")
    assert (told.status, told.body) == (200, b"")
    assert int(told.headers["content-length"]) == len(shown.ask(path).body)


@pytest.mark.parametrize("kind", ["Raw", "Ramp", "RateInts", "Rate"])
def test_one_extension(shown: Served, kind: str) -> None:
    number = serials(shown)[kind]
    whole = fits.open(io.BytesIO(shown.ask(f"files/jpl8/{number}.fits").body))
    for dataset in shown.get(f"api/pools/jpl8/products/{number}")["datasets"]:
        name = dataset["dataset"]
        answer = shown.ask(f"files/jpl8/{number}/{name}.fits")
        assert answer.status == 200
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            made = fits.open(io.BytesIO(answer.body))
            assert len(made) == 2
            assert np.asarray(made[1].data).tobytes() == np.asarray(whole[name].data).tobytes()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("jpl8/999999.fits", 404),
        ("jpl8/-1.fits", 404),
        ("jpl8/x.fits", 400),
        ("none/0.fits", 404),
        ("jpl8/0/NONE.fits", 404),
        ("jpl8/0/..%2f..%2fpool.fits", 404),
        ("jpl8/..%2f..%2fpool.json", 404),
        ("jpl8/0/%00.fits", 400),
        ("jpl8/0", 404),
        ("jpl8/", 404),
        ("../api/pools", 404),
    ],
)
def test_what_is_not_there(shown: Served, path: str, status: int) -> None:
    answer = shown.ask(f"files/{path}")
    assert answer.status == status, answer.body
    assert answer.error


def test_astropy_reads_it_in_ranges(shown: Served) -> None:
    pytest.importorskip("aiohttp")
    number = serials(shown)["Ramp"]
    url = f"{shown.base}files/jpl8/{number}.fits?token={shown.token}"
    with fits.open(url, use_fsspec=True) as hdus:
        part = hdus["SCI"].section[0, :, 30, 40]
    whole = fits.open(io.BytesIO(shown.ask(f"files/jpl8/{number}.fits").body))
    np.testing.assert_array_equal(part, whole["SCI"].data[0, :, 30, 40])


@pytest.fixture
def large(database_url: str, tmp_path: Path) -> Iterator[Pools]:
    """A pool with a file of 32 MB."""
    with empty_home(tmp_path / "home", database_url, "large") as home, contextlib.closing(Pools(home)) as pools:
        noise = np.random.default_rng(0).integers(0, 1 << 32, (8, 1024, 1024), np.uint32)
        with home.create("jpl8") as pool:
            pool.save(Product({}, {"SCI": noise}, name="large"))
        yield pools


@contextlib.contextmanager
def stopped(port: int, number: int) -> Iterator[None]:
    """Have readers of a large file, who stop after its first bytes."""
    with contextlib.ExitStack() as stack:
        for _ in range(number):
            line = stack.enter_context(contextlib.closing(socket.socket()))
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.connect(("127.0.0.1", port))
            line.sendall(b"GET /files/jpl8/0.fits HTTP/1.1\r\nHost: x\r\n\r\n")
            assert line.recv(12) == b"HTTP/1.1 200"
        yield


@pytest.mark.slow
def test_slow_readers_do_not_keep_others_from_files(
    large: Pools, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(readers, "_PATIENCE", 1.0)
    log = logging.getLogger("uvicorn.error")
    log.addFilter(_in_a_sentence)
    try:
        with listening(make_api(large)) as port, stopped(port, STREAMS), asking(port, "GET", FILE) as answer:
            assert answer.status == 200
            assert len(answer.read()) == int(answer.headers["content-length"])
    finally:
        log.removeFilter(_in_a_sentence)
    broke = [record.getMessage() for record in caplog.records if record.name == log.name]
    assert broke == [f"an answer broke off: nothing of '{FILE}' was read for 1 s"] * STREAMS


def test_more_readers_than_places(large: Pools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "_WAIT", 0.1)
    with listening(make_api(large)) as port, stopped(port, STREAMS):
        with asking(port, "GET", FILE) as answer:
            assert (answer.status, answer.headers["retry-after"]) == (503, "0")
            assert b"ask again" in answer.read()
        with asking(port, "HEAD", FILE) as answer:
            assert answer.status == 200
