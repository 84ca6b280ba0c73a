"""Digests: equal for equal content, and for nothing else; the names of today are those of tomorrow."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import xxhash
from arrays import DTYPES, PLAIN, any_array
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from miripool.store.arrays import digest as module
from miripool.store.arrays.digest import array_digest, blocks, hasher_of, little_bytes, pieces_in_order, tile_digest

EXAMPLES = settings(deadline=None, max_examples=120)

ROWS = np.dtype([("t", "f8"), ("name", "S4"), ("pair", "i2", (2,)), ("in", [("a", "u1"), ("b", "f4")])])


def make_rows() -> NDArray[Any]:
    rows = np.zeros(3, ROWS)
    rows["t"] = [0.5, np.nan, -1e300]
    rows["name"] = [b"ab", b"", b"wxyz"]
    rows["pair"] = [[1, 2], [3, 4], [-5, 6]]
    rows["in"]["a"] = [7, 8, 9]
    rows["in"]["b"] = 0.25
    return rows


GOLDEN = {
    "uint16 ramp": (np.arange(24, dtype=np.uint16).reshape(1, 2, 3, 4), "294393ef9d09a0b3ea7d6959507a599e"),
    "float32": (np.array([[0.5, -0.0], [np.inf, np.nan]], np.float32), "d91994ece8f7c6d9edff3e7bb3ee5009"),
    "single value": (np.array(-7, np.int64), "58d9fac3b49edf2b8cfc1c83c3d88c9a"),
    "nothing": (np.zeros((0, 5), np.float32), "3a096eae14e6f4d0becd8c0474523dc0"),
    "flags": (np.array([True, False, True]), "db96222b3adb4aa45ba3024e86114eeb"),
    "bytes": (np.frombuffer(b"SIMPLE  =", np.uint8), "f1d1904e58dcb11ffff80aed4f3ba9e3"),
    "text": (np.array([b"abc", b"de", b""]), "405a2ad2aa7fde3c84488012faa0a10e"),
    "table": (make_rows(), "40d1576dc70641d81146da65a66784fa"),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_names_do_not_drift(name: str) -> None:
    array, digest = GOLDEN[name]
    assert array_digest(array) == digest


def test_frame_is_what_the_format_says() -> None:
    ramp, _ = GOLDEN["uint16 ramp"]
    header = b'{"array":"<u2","shape":[1,2,3,4]}'
    framed = len(header).to_bytes(8, "little") + header + ramp.astype("<u2").tobytes()
    assert array_digest(ramp) == xxhash.xxh3_128_hexdigest(framed)
    rows = np.array([(1, b"ab"), (2, b"c")], [("n", "i2"), ("s", "S2")])
    header = b'{"array":[["n","<i2"],["s","|S2"]],"shape":[2]}'
    columns = [b"\1\0\2\0", b"abc\0"]
    framed = b"".join(len(part).to_bytes(8, "little") + part for part in (header, *columns))
    assert array_digest(rows) == xxhash.xxh3_128_hexdigest(framed)


def test_golden_tile_digest_does_not_drift() -> None:
    assert tile_digest(np.arange(6, dtype=np.float32).reshape(2, 3)).hex() == "2d0408b485dd77b108c27fcd95d1fea5"


@pytest.mark.slow
@EXAMPLES
@given(any_array())
def test_byte_order_in_memory_does_not_matter(array: NDArray[Any]) -> None:
    big = array.astype(array.dtype.newbyteorder(">"))
    assert array_digest(big) == array_digest(array)


@EXAMPLES
@given(any_array(PLAIN))
def test_layout_in_memory_does_not_matter(array: NDArray[Any]) -> None:
    wanted = array_digest(array)
    assert array_digest(np.asfortranarray(array)) == (wanted if array.ndim else array_digest(array.reshape(1)))
    spread = np.zeros((*array.shape, 2), array.dtype)
    spread[..., 0] = array
    assert array_digest(spread[..., 0]) == wanted
    turned = np.ascontiguousarray(array.T).T
    assert array_digest(turned) == (wanted if array.ndim else array_digest(array.reshape(1)))


@pytest.mark.slow
@EXAMPLES
@given(any_array(), st.randoms(use_true_random=False))
def test_one_changed_byte_changes_the_name(array: NDArray[Any], random: Any) -> None:
    if array.nbytes == 0:
        return
    data = bytearray(array.tobytes())
    data[random.randrange(len(data))] ^= 1
    other = np.frombuffer(bytes(data), array.dtype).reshape(array.shape)
    assert array_digest(other) != array_digest(array)


def test_equal_bytes_of_another_shape_or_type_have_another_name() -> None:
    data = bytes(range(48))
    kinds = [
        np.dtype(t)
        for t in (
            "u1",
            "i1",
            "S1",
            "V1",
            "u2",
            "i2",
            "f2",
            "u4",
            "i4",
            "f4",
            "S4",
            "u8",
            "i8",
            "f8",
            "c8",
            "S12",
            "V16",
        )
    ]
    tables = [
        np.dtype([("a", "u4"), ("b", "u4")]),
        np.dtype([("a", "u4"), ("c", "u4")]),
        np.dtype([("b", "u4"), ("a", "u4")]),
        np.dtype([("a", "u4", (2,))]),
        np.dtype([("a", "u4", (1, 2))]),
        np.dtype([("a", "u4", (2, 1))]),
        np.dtype([("a", [("a", "u4"), ("b", "u4")])]),
        np.dtype([("a", [("a", "u4")]), ("b", "u4")]),
        np.dtype([("ab", "u4"), ("", "u4")]),
    ]
    arrays = [np.frombuffer(data, dtype) for dtype in [*kinds, *tables]]
    flat = np.frombuffer(data, np.uint8)
    arrays += [flat.reshape(s) for s in ((1, 48), (48, 1), (6, 8), (8, 6), (2, 24), (1, 1, 48), (2, 3, 8))]
    names = [array_digest(a) for a in arrays]
    assert len(set(names)) == len(names)


def test_nothing_has_a_name_for_each_shape_and_type() -> None:
    arrays = [np.zeros(shape, dtype) for shape in ((0,), (0, 5), (5, 0), (0, 0)) for dtype in ("u1", "f4", ROWS)]
    assert len({array_digest(a) for a in arrays}) == len(arrays)


def test_cells_can_not_move_between_columns() -> None:
    one = np.array([(b"ab", b"c"), (b"d", b"ef")], [("x", "S2"), ("y", "S2")])
    other = np.array([(b"ab", b"d"), (b"c", b"ef")], [("x", "S2"), ("y", "S2")])
    assert array_digest(one) != array_digest(other)


def test_numbers_that_compare_equal_but_are_not_the_same_differ() -> None:
    assert array_digest(np.array([0.0])) != array_digest(np.array([-0.0]))
    quiet, other = (np.frombuffer(bytes(p), "<f4") for p in ([0, 0, 0xC0, 0x7F], [1, 0, 0xC0, 0x7F]))
    assert array_digest(quiet) != array_digest(other)


# Blocks


@pytest.mark.slow
@EXAMPLES
@given(any_array(PLAIN), st.integers(1, 200))
def test_blocks_are_all_elements_in_order(array: NDArray[Any], size: int) -> None:
    wanted = array_digest(array)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK_BYTES", size)
        found = [np.asarray(array[block], array.dtype) for block in blocks(array)]
        assert b"".join(block.tobytes() for block in found) == array.tobytes()
        row = array.itemsize
        assert all(block.nbytes <= max(size, row) for block in found)
        assert array_digest(array) == wanted


def test_blocks_make_the_digest() -> None:
    array = np.arange(30, dtype=np.float32).reshape(5, 6)
    hasher = hasher_of(array)
    for block in blocks(array):
        hasher.update(little_bytes(array[block]))
    assert hasher.hexdigest() == array_digest(array)


class Slices:
    """An array on a disk, read by one thread, that counts what is in memory."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array
        self.shape, self.dtype = array.shape, array.dtype
        self.largest = 0

    def __getitem__(self, key: Any) -> Any:
        part = np.array(self._array[key])
        self.largest = max(self.largest, part.nbytes)
        return part


def test_a_source_is_read_in_pieces() -> None:
    array = np.arange(5 << 20, dtype=np.float64).reshape(5, 1 << 10, 1 << 10)
    source = Slices(array)
    assert array_digest(source) == array_digest(array)
    assert source.largest <= 1 << 24


@pytest.mark.slow
@EXAMPLES
@given(any_array(DTYPES))
def test_tiles_are_digested_by_their_bytes(array: NDArray[Any]) -> None:
    wanted = tile_digest(np.frombuffer(array.tobytes(), np.uint8))
    assert tile_digest(array) == wanted
    assert len(wanted) == 16


def test_tile_digests_are_little_endian_and_in_c_order() -> None:
    tile = np.arange(12, dtype=">u2").reshape(3, 4)
    assert tile_digest(tile) == tile_digest(tile.astype("<u2"))
    assert tile_digest(tile.T) == tile_digest(np.ascontiguousarray(tile.T))
    differ = [tile, tile[::-1], tile.T]
    assert all(tile_digest(a) != tile_digest(b) for a, b in itertools.combinations(differ, 2))


@pytest.mark.parametrize("shape", [(3, 4, 700, 1032), (5, 1 << 20), (1 << 22,), (2, 3, 5), (7, 333, 1001), (0, 3), ()])
def test_large_blocks_consist_of_whole_small_ones(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the statistics of what is stored would differ in their last digits from those that were taken before."""
    monkeypatch.setattr(module, "LARGE_BYTES", 30_000_001)
    array = np.arange(math.prod(shape), dtype="f4").reshape(shape)
    pieces = list(pieces_in_order(array))
    parts = [array[block] for block in blocks(array)]
    assert [piece.shape for piece in pieces] == [np.asarray(part).shape for part in parts]
    assert all(np.array_equal(piece, part) for piece, part in zip(pieces, parts, strict=True))
