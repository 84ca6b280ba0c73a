"""Manifests: round trips of anything, and nothing believed that no manifest would say."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from arrays import DTYPES, PLAIN
from hypothesis import given, settings
from hypothesis import strategies as st
from manifests import make_header

from miripool.errors import IntegrityError, InvalidInput, NewerFormat
from miripool.model.canonical import canonical_json, digest_bytes
from miripool.model.dataset import Scale
from miripool.model.product import Origin
from miripool.model.statistics import Statistics
from miripool.store.manifest import FORMAT, BlobRef, HduRecord, Manifest, dtype_from_json, dtype_to_json

EXAMPLES = settings(deadline=None, max_examples=150)

TEXT = st.text(max_size=12)
DIGESTS = st.text("0123456789abcdef", min_size=32, max_size=32)
COUNTS = st.integers(0, 2**62)
REAL = st.none() | st.floats(allow_nan=False)
CARDS = st.lists(
    st.binary(min_size=80, max_size=80) | st.text("AZ =/'  ", max_size=80).map(lambda t: t.ljust(80).encode())
)
HEADERS = (
    CARDS.map(lambda cards: b"".join(cards))
    | CARDS.map(lambda cards: make_header([("", card) for card in cards]))
    | st.sampled_from(
        [b"", b"END", b"END".ljust(80), b"END".ljust(2880), b"END".ljust(5760), b"X".ljust(2880), bytes(2880)]
    )
    | st.binary(max_size=200)
)
REFS = st.builds(BlobRef, DIGESTS, DTYPES, st.lists(st.integers(0, 5000), max_size=4).map(tuple))
MAYBE = st.none() | REFS
STATISTICS = st.builds(Statistics, REAL, REAL, REAL, REAL, COUNTS, COUNTS, st.none() | COUNTS)
NUMBER = st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False)
SCALES = st.builds(Scale, NUMBER, NUMBER, st.none() | st.integers(-(2**63), 2**63))
HDUS = st.builds(
    HduRecord,
    HEADERS,
    TEXT,
    st.sampled_from(["none", "image", "table", "opaque"]),
    st.none() | TEXT,
    st.none() | SCALES,
    st.none() | STATISTICS,
    MAYBE,
    MAYBE,
    MAYBE,
    MAYBE,
)
JSON = st.recursive(st.none() | st.booleans() | NUMBER | TEXT, lambda x: st.lists(x, max_size=2), max_leaves=4)
MANIFESTS = st.builds(
    Manifest,
    TEXT,
    TEXT,
    st.lists(HDUS, max_size=3).map(tuple),
    MAYBE,
    st.none() | st.builds(Origin, TEXT, COUNTS, DIGESTS),
    st.lists(st.dictionaries(TEXT, JSON, max_size=2), max_size=2).map(tuple),
)

BASE = Manifest(
    "Ramp",
    "jw01",
    (
        HduRecord(
            make_header({"SIMPLE": True, "OBJECT": "caf\u00e9".encode("ascii", "ignore").decode()}), "PRIMARY", "none"
        ),
        HduRecord(
            make_header({"BITPIX": -32}),
            "SCI",
            "image",
            "DN/s",
            Scale(2.0, 1.0, -1),
            Statistics(-1.5, math.inf, math.inf, None, 6, 1, None),
            BlobRef("0" * 31 + "a", np.dtype("f4"), (2, 3)),
        ),
        HduRecord(
            make_header({"TFIELDS": 2}),
            "TAB",
            "table",
            data=BlobRef("b" * 32, np.dtype([("x", "f8"), ("s", "S3", (2,))]), (5,)),
            heap=BlobRef("c" * 32, np.dtype("u1"), (17,)),
        ),
    ),
    BlobRef("d" * 32, np.dtype("u1"), (5,)),
    Origin("jw01_ramp.fits", 8640, "e" * 32),
    ({"step": "jump", "n": 3},),
)


def assert_same(found: Manifest, wanted: Manifest) -> None:
    assert found == wanted
    for a, b in zip(found.blobs(), wanted.blobs(), strict=True):
        assert a.dtype == b.dtype
        assert a.dtype.isnative


@pytest.mark.slow
@EXAMPLES
@given(MANIFESTS)
def test_round_trip(manifest: Manifest) -> None:
    data = manifest.to_bytes()
    back = Manifest.from_bytes(data, digest_bytes(data))
    assert_same(back, manifest)
    assert back.to_bytes() == data


def test_base_has_a_round_trip() -> None:
    assert_same(Manifest.from_bytes(BASE.to_bytes()), BASE)


def test_manifest_of_today_keeps_its_name() -> None:
    assert digest_bytes(BASE.to_bytes()) == "c00ff84d41b7f3c0602b06d4573480c9"


@pytest.mark.slow
@EXAMPLES
@given(HEADERS)
def test_headers_come_back_byte_for_byte(header: bytes) -> None:
    manifest = Manifest("Product", "x", (HduRecord(header, "PRIMARY", "none"),))
    assert Manifest.from_bytes(manifest.to_bytes()).hdus[0].header == header


def test_a_proper_header_is_stored_as_text() -> None:
    record = json.loads(BASE.to_bytes())["hdus"][1]["header"]
    assert record == ["BITPIX  =                  -32"]


def test_blobs_in_file_order() -> None:
    assert [ref.digest[-1] for ref in BASE.blobs()] == ["a", "b", "c", "d"]
    twice = replace(BASE, hdus=BASE.hdus * 2, trailer=None)
    assert [ref.digest[-1] for ref in twice.blobs()] == ["a", "b", "c"] * 2


# Types of elements


@pytest.mark.slow
@EXAMPLES
@given(DTYPES)
def test_dtypes_have_a_round_trip(dtype: np.dtype[Any]) -> None:
    record = json.loads(canonical_json(dtype_to_json(dtype)))
    back = dtype_from_json(record)
    assert back == dtype
    assert back.isnative


@EXAMPLES
@given(PLAIN)
def test_byte_order_is_not_part_of_the_record(dtype: np.dtype[Any]) -> None:
    assert dtype_to_json(dtype.newbyteorder(">")) == dtype_to_json(dtype.newbyteorder("<"))


def test_dtype_records_do_not_drift() -> None:
    rows = np.dtype([("x", ">f4"), ("s", "S8", (2,)), ("in", [("a", "u1"), ("b", "i8")])])
    assert dtype_to_json(np.dtype("f4")) == "<f4"
    assert dtype_to_json(np.dtype("?")) == "|b1"
    assert dtype_to_json(rows) == [["x", "<f4"], ["s", "|S8", [2]], ["in", [["a", "|u1"], ["b", "<i8"]]]]


@pytest.mark.parametrize(
    "record",
    [
        "O", "|O", ">f4", "f4", "float32", "f4,f4", "(2,)f4", "nonsense", "", None, 4, {}, True, [[]], [["a"]],
        [["a", "O"]], [["a", "<f4", 3]], [["a", "<f4", ["2"]]], [["a", "<f4", [-1]]], [["a", "<f4", [2.0]]],
        [["a", "<f4", [2], [3]]], [[["title", "a"], "<f4"]], [["", "<f4"]], [["a", "<f4"], ["a", "<f4"]], ["ab", "cd"],
        [["a", "<f4", [True]]], [["a", "|V99999999999999"]],
    ],
)  # fmt: skip
def test_other_dtypes_are_refused(record: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        dtype_from_json(record)


@pytest.mark.parametrize("offsets", [[0, 4], [4, 0], [0, 1]])
def test_rows_with_gaps_are_refused(offsets: list[int]) -> None:
    dtype = np.dtype({"names": ["a", "b"], "formats": ["u1", "f4"], "offsets": offsets, "itemsize": 8})
    with pytest.raises(InvalidInput, match="gaps between their fields; pack them"):
        dtype_to_json(dtype)


# Damage


def test_another_digest_is_damage() -> None:
    data = BASE.to_bytes()
    with pytest.raises(IntegrityError, match=f"manifest {'0' * 32} is damaged"):
        Manifest.from_bytes(data, "0" * 32)


def test_every_flipped_bit_is_found() -> None:
    data = BASE.to_bytes()
    digest = digest_bytes(data)
    for position in range(0, len(data) * 8, 7):
        damaged = bytearray(data)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(IntegrityError, match=digest):
            Manifest.from_bytes(bytes(damaged), digest)


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"3", b"\xff", b"[" * 100_000, b'{"format":1}', b"{}"])
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="can't be read"):
        Manifest.from_bytes(data)


def test_newer_format() -> None:
    record = json.loads(BASE.to_bytes()) | {"format": FORMAT + 1, "hdus": "told otherwise"}
    with pytest.raises(NewerFormat, match="update miripool"):
        Manifest.from_bytes(canonical_json(record))


HOSTILE: list[tuple[tuple[Any, ...], list[Any]]] = [
    (("format",), [None, "1", [], {}]),
    (("kind",), [None, 1, ["Ramp"]]),
    (("name",), [None, 1, {}]),
    (("hdus",), [None, 1, ["x"], [None], [[]], [{}], {"a": 1}]),
    (("history",), [None, 3, ["x"], [None], [[["a", 1]]], "x"]),
    (("origin",), ["x", {}, []]),
    (("origin", "size"), [-1, 1.5, "3", True, None]),
    (("origin", "filename"), [None, 3]),
    (("origin", "digest"), [None, "../../etc/passwd", "E" * 32, "e" * 31, 3]),
    (("trailer",), ["x", [], {}, 0]),
    (
        ("trailer", "digest"),
        [None, 5, ["a"] * 32, "../" * 10 + "aa", "A" * 32, "d" * 33, "d" * 31 + "\n", "\u0661" * 32],
    ),
    (("trailer", "shape"), [None, 5, "5", [-1], [1.0], ["5"], [True], [10**30], [2**40, 2**40], [None], {"5": 1}]),
    (("trailer", "dtype"), ["O", ">u1", "u1", None, 3, "|u1,|u1", [["a", "|O"]]]),
    (("hdus", 1, "header"), [None, 5, "x", {}, {"base64": 5}, {"base64": "*"}, [5], ["x" * 81], ["\u20ac"], [None]]),
    (("hdus", 1, "name"), [None, 5]),
    (("hdus", 1, "encoding"), [None, "secret", [], {}]),
    (("hdus", 1, "unit"), [5, [], True]),
    (("hdus", 1, "scale"), ["x", {}, 5]),
    (("hdus", 1, "scale", "bscale"), [None, "2", True, []]),
    (("hdus", 1, "scale", "blank"), ["2", 1.5, True]),
    (("hdus", 1, "statistics"), ["x", {}, 5, []]),
    (("hdus", 1, "statistics", "min"), ["x", [], {}]),
    (("hdus", 1, "statistics", "n"), [None, -1, "6", 1.5, True]),
    (("hdus", 1, "statistics", "n_flagged"), ["6", 1.5, -1]),
    (("hdus", 1, "data"), ["x", [], {}, 5]),
    (("hdus", 2, "heap", "shape"), [[17.0], [[17]]]),
]


@pytest.mark.parametrize(("place", "value"), [(place, v) for place, values in HOSTILE for v in values])
def test_hostile_manifests_are_refused(place: tuple[Any, ...], value: Any) -> None:
    record = json.loads(BASE.to_bytes())
    target = record
    for step in place[:-1]:
        target = target[step]
    assert place[-1] in target or isinstance(target, list)
    target[place[-1]] = value
    with pytest.raises(IntegrityError, match="can't be read"):
        Manifest.from_bytes(canonical_json(record))


@pytest.mark.parametrize(
    "place", [(), ("hdus", 0), ("hdus", 1, "statistics"), ("hdus", 1, "scale"), ("trailer",), ("origin",)]
)
def test_what_is_missing_is_refused(place: tuple[Any, ...]) -> None:
    optional = {"unit", "scale", "statistics", "data", "heap", "raw", "tail"}
    original = json.loads(BASE.to_bytes())
    names = original
    for step in place:
        names = names[step]
    for name in set(names) - (optional if place[:1] == ("hdus",) else set()):
        record = json.loads(BASE.to_bytes())
        target = record
        for step in place:
            target = target[step]
        del target[name]
        with pytest.raises(IntegrityError):
            Manifest.from_bytes(canonical_json(record))
