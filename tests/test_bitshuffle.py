"""Chunks coded outside HDF5: the bytes are the filter's own, and damage is an error and never a crash."""

from __future__ import annotations

import itertools
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from arrays import PLAIN
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from miripool.errors import IntegrityError
from miripool.store.arrays import bitshuffle

pytestmark = pytest.mark.skipif(not bitshuffle.available(), reason="this build of the filter exports no compressor")

HEAD = bitshuffle.HEADER_BYTES

SHAPES = [(1,), (7,), (8,), (1000,), (13, 17), (4, 20, 30), (2048, 3), (1, 5, 64, 72), (3, 32, 1024)]


def make_chunk(shape: tuple[int, ...], dtype: np.dtype[Any], seed: int = 0) -> NDArray[Any]:
    """Something between noise and nothing, little-endian."""
    size = int(np.prod(shape)) * dtype.itemsize
    data = np.random.default_rng(seed).poisson(3, size).astype(np.uint8)
    if dtype.kind == "b":
        data &= 1
    return np.frombuffer(data.tobytes(), dtype.newbyteorder("<")).reshape(shape)


def compress(chunk: NDArray[Any]) -> bytes:
    room = np.empty(bitshuffle.room_for(chunk.size, chunk.dtype.itemsize), np.uint8)
    (coded,) = bitshuffle.compress(chunk[np.newaxis], [0], room)
    return coded.tobytes()


def coded_by_hdf5(path: Path, chunk: NDArray[Any], nelems: int | None = None) -> bytes:
    if nelems is None:
        nelems = bitshuffle.block_of(chunk.size, chunk.dtype.itemsize)
    with h5py.File(path, "w") as file:
        coder = hdf5plugin.Bitshuffle(nelems=nelems, cname="lz4")
        data = file.create_dataset("data", chunk.shape, chunk.dtype, chunks=chunk.shape, **coder)
        data[...] = chunk
        file.flush()
        coded: bytes = data.id.read_direct_chunk((0,) * chunk.ndim)[1]
    return coded


DTYPES = [np.dtype(t) for t in ("?", "u1", "u2", "i4", "f4", "f8", "c8", "S3", "S11")] + [
    np.dtype([("x", "f4"), ("n", "i2"), ("s", "S5")])
]


@pytest.mark.parametrize("shape", [(13, 17), (24, 16, 128), (20, 25, 129)], ids=["small", "equal", "other"])
@pytest.mark.parametrize("chosen", [[], [3], [4, 0, 2], [0, 1, 2, 3, 4], [0, 1, 3, 4], [0, 2, 3]], ids=str)
def test_chosen_chunks_are_coded_each_for_itself(shape: tuple[int, ...], chosen: list[int]) -> None:
    chunks = np.stack([make_chunk(shape, np.dtype("f4"), seed) for seed in range(5)])
    size = chunks[0].size
    assert (size % bitshuffle.block_of(size, 4) == 0) == (shape == (24, 16, 128))
    room = np.empty(len(chosen) * bitshuffle.room_for(size, 4), np.uint8)
    coded = bitshuffle.compress(chunks, chosen, room)
    assert [part.tobytes() for part in coded] == [compress(chunks[i]) for i in chosen]
    with pytest.raises(ValueError, match="room"):
        bitshuffle.compress(chunks, [*chosen, 0], room)


@pytest.mark.slow
@given(st.integers(1, 100_000), st.integers(1, 3000))
def test_blocks_are_such_as_the_filter_takes(size: int, element: int) -> None:
    block = bitshuffle.block_of(size, element)
    assert block % 8 == 0
    assert block >= 128
    assert block * element <= max(1 << 16, 128 * element)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_bytes_are_the_filter_s_own(tmp_path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    chunk = make_chunk(shape, dtype)
    assert compress(chunk) == coded_by_hdf5(tmp_path / "x.h5", chunk)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_hdf5_reads_what_we_code_and_we_read_it_back(
    tmp_path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> None:
    chunk = make_chunk(shape, dtype, 1)
    coded = compress(chunk)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        data = file.create_dataset("data", shape, chunk.dtype, chunks=shape, **hdf5plugin.Bitshuffle(cname="lz4"))
        data.id.write_direct_chunk((0,) * chunk.ndim, coded)
    with h5py.File(tmp_path / "x.h5", "r") as file:
        assert file["data"][()].tobytes() == chunk.tobytes()
    assert decoded(coded, chunk).tobytes() == chunk.tobytes()


def decoded(coded: bytes, like: NDArray[Any]) -> NDArray[Any]:
    target = np.full(like.nbytes, 0xEE, np.uint8).view(like.dtype).reshape(like.shape)
    decompress(coded, target)
    return target


def decompress(coded: bytes, target: NDArray[Any]) -> None:
    head, body = coded[:HEAD].ljust(HEAD, b"\0"), np.frombuffer(coded, np.uint8)[HEAD:]
    bitshuffle.decompress(head, body, [len(body)], target[np.newaxis])


@pytest.mark.parametrize("shape", [(24, 16, 128), (20, 25, 129), (3, 5)], ids=["equal blocks", "other blocks", "small"])
def test_chunks_one_behind_the_other_are_decoded(shape: tuple[int, ...]) -> None:
    chunks = np.stack([make_chunk(shape, np.dtype("<f4"), seed) for seed in range(5)])
    coded = [compress(chunk) for chunk in chunks]
    heads, bodies = b"".join(c[:HEAD] for c in coded), np.frombuffer(b"".join(c[HEAD:] for c in coded), np.uint8)
    ends = list(itertools.accumulate(len(c) - HEAD for c in coded))
    target = np.full_like(chunks, np.nan)
    bitshuffle.decompress(heads, bodies, ends, target)
    assert target.tobytes() == chunks.tobytes()
    bitshuffle.decompress(heads[:HEAD], bodies, ends[:1], target[3:4])
    assert target[3].tobytes() == chunks[0].tobytes()
    for cut in range(0, len(bodies), 1001):
        with pytest.raises(IntegrityError):
            bitshuffle.decompress(heads, bodies[:cut], ends, target)
    for moved in (-1, 1):
        with pytest.raises(IntegrityError):
            bitshuffle.decompress(heads, bodies, [ends[0] + moved, *ends[1:]], target)


def test_chunks_in_different_blocks_are_decoded(tmp_path: Path) -> None:
    chunks = np.stack([make_chunk((24, 16, 128), np.dtype("<f4"), seed) for seed in range(3)])
    coded = [coded_by_hdf5(tmp_path / f"{i}.h5", chunks[i], nelems) for i, nelems in enumerate((0, 8192, 4096))]
    ends = list(itertools.accumulate(len(c) - HEAD for c in coded))
    target = np.full_like(chunks, np.nan)
    bodies = np.frombuffer(b"".join(c[HEAD:] for c in coded), np.uint8)
    bitshuffle.decompress(b"".join(c[:HEAD] for c in coded), bodies, ends, target)
    assert target.tobytes() == chunks.tobytes()


@pytest.mark.parametrize("nelems", [0, 8, 128, 65536], ids=lambda n: f"{n} elements" if n else "the filter's own")
def test_chunks_in_other_blocks_are_read(tmp_path: Path, nelems: int) -> None:
    chunk = make_chunk((5, 60, 64), np.dtype("f4"), 2)
    coded = coded_by_hdf5(tmp_path / "x.h5", chunk, nelems)
    assert coded != compress(chunk)
    assert decoded(coded, chunk).tobytes() == chunk.tobytes()


@settings(deadline=None, max_examples=150)
@given(PLAIN, st.integers(1, 6000), st.integers(0, 2**32 - 1))
def test_round_trip(dtype: np.dtype[Any], size: int, seed: int) -> None:
    chunk = make_chunk((size,), dtype, seed)
    assert decoded(compress(chunk), chunk).tobytes() == chunk.tobytes()


def test_noise_that_can_not_be_compressed() -> None:
    chunk = np.random.default_rng(0).integers(0, 2**32, 40_000, np.uint32)
    coded = compress(chunk)
    assert len(coded) > chunk.nbytes
    assert np.array_equal(decoded(coded, chunk), chunk)


# Damage that the header shows

CHUNK = np.arange(50_000, dtype="<u2").reshape(250, 200)


def with_header(size: int, block: int) -> bytes:
    return struct.pack(">QI", size, block) + compress(CHUNK)[12:]


@pytest.mark.parametrize("size", [0, 1, CHUNK.nbytes - 1, CHUNK.nbytes + 2, 2**31, 2**63, 2**64 - 1])
def test_a_header_with_another_size_is_refused(size: int) -> None:
    with pytest.raises(IntegrityError, match=f"says it holds {size} bytes"):
        decoded(with_header(size, 8192), CHUNK)


@pytest.mark.parametrize("block", [0, 1, 2, 15, 8194, 2**24 + 16, 2**32 - 1])
def test_a_header_with_impossible_blocks_is_refused(block: int) -> None:
    with pytest.raises(IntegrityError, match=f"in blocks of {block}"):
        decoded(with_header(CHUNK.nbytes, block), CHUNK)


@pytest.mark.parametrize("block", [16, 4096, 16384, 2**24])
def test_a_header_with_other_blocks_is_refused(block: int) -> None:
    with pytest.raises(IntegrityError):
        decoded(with_header(CHUNK.nbytes, block), CHUNK)


@pytest.mark.parametrize("value", [0, 1, 2**31 - 1, 2**31, 2**32 - 1])
def test_a_block_with_a_lying_length_is_refused(value: int) -> None:
    coded = bytearray(compress(CHUNK))
    coded[12:16] = struct.pack(">I", value)
    with pytest.raises(IntegrityError):
        decoded(bytes(coded), CHUNK)


def test_every_truncation_and_addition_is_refused() -> None:
    coded = compress(CHUNK)
    for length in range(0, len(coded), 7):
        with pytest.raises(IntegrityError):
            decoded(coded[:length], CHUNK)
    for extra in (b"\0", b"\0" * 4, coded):
        with pytest.raises(IntegrityError):
            decoded(coded + extra, CHUNK)


def test_another_array_s_chunk_is_refused() -> None:
    with pytest.raises(IntegrityError):
        decoded(compress(CHUNK[:49].copy()), CHUNK)
    with pytest.raises(IntegrityError):
        decoded(b"", CHUNK)


# In a child process: what writes where it should not would take the tests with it.

FUZZ = """
import random
import sys

import numpy as np

from miripool.store.arrays import bitshuffle
from miripool.errors import IntegrityError

rng = random.Random(int(sys.argv[1]))
refused = survived = 0
guard = 4096
for round in range(int(sys.argv[2])):
    dtype = np.dtype(rng.choice(["u1", "<u2", "<f4", "<f8", "S3", "S11"]))
    size = rng.choice([1, 7, 8, 9, 100, 1000, 5000])
    noise = np.random.default_rng(round).poisson(2, size * dtype.itemsize).astype(np.uint8)
    room = np.empty(bitshuffle.room_for(size, dtype.itemsize), np.uint8)
    coded = bytearray(*bitshuffle.compress(noise.view(dtype)[np.newaxis], [0], room))
    for _ in range(rng.randint(1, 4)):
        what = rng.randrange(5)
        if what == 0 and coded:
            coded[rng.randrange(len(coded))] ^= 1 << rng.randrange(8)
        elif what == 1 and coded:
            del coded[rng.randrange(len(coded)) :]
        elif what == 2 and len(coded) > 4:
            at = rng.randrange(len(coded) - 4)
            coded[at : at + 4] = rng.choice([0, 16, 2**31 - 1, 2**32 - 1]).to_bytes(4, "big")
        elif what == 3:
            coded += rng.randbytes(rng.randint(1, 40))
        elif len(coded) > 12:
            coded[12:] = rng.randbytes(len(coded) - 12)
    memory = np.full(guard + size * dtype.itemsize + guard, 0xA5, np.uint8)
    target = memory[guard : guard + size * dtype.itemsize].view(dtype)
    body = np.frombuffer(bytes(coded), np.uint8)[12:]
    try:
        bitshuffle.decompress(bytes(coded[:12]).ljust(12, bytes(1)), body, [len(body)], target[np.newaxis])
        survived += 1
    except IntegrityError:
        refused += 1
    assert (memory[:guard] == 0xA5).all() and (memory[-guard:] == 0xA5).all(), "wrote out of bounds"
print(refused, survived)
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_damaged_chunks_never_crash(seed: int) -> None:
    environment = {"MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "165", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", FUZZ, str(seed), "6000"],
        capture_output=True, text=True, check=False, timeout=120, env=environment, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    refused, survived = map(int, done.stdout.split())
    assert refused > survived > 0  # a flipped bit of the payload may decode to something: the tile's digest finds that
