"""FITS files by HTTP: the bytes that `export` writes, whole and in ranges."""

from __future__ import annotations

import io
import random
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from web import Served

from miripool import Home

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
