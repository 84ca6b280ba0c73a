"""Streams: boxes of arrays as NumPy has them, from files and from memory, and files that change."""

from __future__ import annotations

import gzip
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from miripool.errors import FileMissing, FormatError, StorageError
from miripool.formats import read_fits
from miripool.formats.sources import ImageSource
from miripool.formats.stream import expect, open_stream
from miripool.model.tiles import basic_index

EXAMPLES = settings(deadline=None, max_examples=150)


@pytest.mark.slow
@EXAMPLES
@given(hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=6), st.sampled_from(["i1", "i2", "f4"]), st.data())
def test_boxes_are_those_of_the_array(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, ...], dtype: str, data: st.DataObject
) -> None:
    stored = np.dtype(dtype).newbyteorder(">")
    array = np.arange(math.prod(shape)).reshape(shape).astype(stored)
    path = tmp_path_factory.getbasetemp() / "box.bin"
    path.write_bytes(b"before " + array.tobytes() + b"behind")
    box = data.draw(hnp.basic_indices(shape, allow_newaxis=False))
    resolved = basic_index(box, shape)
    assert resolved is not None
    starts, lengths, local = resolved
    for source in (path, path.read_bytes()):
        found = open_stream(source, "box").read_box(7, shape, stored, starts, lengths)
        assert found.dtype == stored
        assert np.array_equal(found[local], array[box])


@pytest.mark.slow
@EXAMPLES
@given(hnp.array_shapes(min_dims=1, max_dims=4, max_side=5), st.booleans(), st.data())
def test_images_are_indexed_like_arrays(shape: tuple[int, ...], folded: bool, data: st.DataObject) -> None:
    array = np.random.default_rng(0).integers(0, 1 << 16, shape, np.uint16)
    stored = (array ^ np.uint16(0x8000)).astype(">u2") if folded else array.astype(">u2")
    source = ImageSource(open_stream(stored.tobytes(), "image"), 0, shape, np.dtype("i2"), folded=folded)
    wanted = array if folded else array.view(np.int16)
    for key in (data.draw(hnp.basic_indices(shape, allow_newaxis=False)), [0, -1], array > 30_000):
        found: Any = source[key]
        assert np.array_equal(found, wanted[key])
        assert np.asarray(found).dtype == wanted.dtype


def test_few_bytes_are_read_for_few_elements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(4 * 10 * 100 * 200))
    read: list[int] = []
    preadv = os.preadv

    def counted(descriptor: int, buffers: Any, at: int) -> int:
        read.append(preadv(descriptor, buffers, at))
        return read[-1]

    monkeypatch.setattr(os, "preadv", counted)
    stream = open_stream(path, "a")
    read.clear()
    stream.read_box(0, (4, 10, 100, 200), np.dtype("u1"), (1, 0, 5, 7), (1, 10, 1, 1))
    assert read == [200] * 10  # one row for each group
    read.clear()
    stream.read_box(0, (4, 10, 100, 200), np.dtype("u1"), (1, 0, 0, 0), (2, 10, 100, 200))
    assert read == [2 * 10 * 100 * 200]


def test_a_file_that_changes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(9000))
    for change in (
        lambda: os.truncate(path, 100),
        lambda: path.write_bytes(bytes(9001)),
        lambda: os.utime(path, (1, 2)),
    ):
        stream = open_stream(path, "a.bin")
        assert stream.read(0, 3).tobytes() == bytes(3)
        change()
        with pytest.raises(StorageError, match=r"a\.bin: (has changed while it was read|can't be read)"):
            stream.read(50, 5000)


def test_a_file_that_is_replaced_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    stream = open_stream(path, "a")
    (tmp_path / "b").write_bytes(b"new and longer")
    (tmp_path / "b").replace(path)
    assert stream.read(0, 99).tobytes() == b"old"
    path.unlink()
    assert b"".join(map(bytes, stream.chunks())) == b"old"


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_files_are_closed_with_their_products(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    before = open_files()
    streams = [open_stream(path, "a") for _ in range(20)]
    assert open_files() == before + len(streams)
    del streams
    assert open_files() == before


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileMissing, match="no such file"):
        open_stream(tmp_path / "none", "none")
    with pytest.raises(FormatError, match="a folder, not a FITS file"):
        open_stream(tmp_path, "folder")
    os.mkfifo(tmp_path / "pipe")
    for odd in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(FormatError, match="not a regular file"):
            read_fits(odd)
    (tmp_path / "empty").touch()
    (tmp_path / "empty.gz").write_bytes(gzip.compress(b""))
    for name in ("empty", "empty.gz"):
        with pytest.raises(FormatError, match="empty, not a FITS file"):
            open_stream(tmp_path / name, name)


def test_what_is_expected_may_be_anything(tmp_path: Path) -> None:
    file, folder, fifo, link = (tmp_path / name for name in ("file", "folder", "fifo", "link"))
    file.write_bytes(b"x" * 100_000)
    folder.mkdir()
    os.mkfifo(fifo)
    link.symlink_to(tmp_path / "missing")
    before = psutil.Process().num_fds()
    for path in (file, folder, fifo, link, tmp_path / "missing", Path("a\0b")):
        expect(path)
    assert psutil.Process().num_fds() == before
    assert file.read_bytes() == b"x" * 100_000


@pytest.mark.slow
@EXAMPLES
@given(
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=9),
    st.sampled_from(["i2", "u2", "i4", "u4", "i8", "f4", "f8", "c8"]),
    st.data(),
)
def test_elements_are_turned_whatever_is_cut_out(shape: tuple[int, ...], dtype: str, data: st.DataObject) -> None:
    raw = data.draw(st.binary(min_size=1, max_size=64))
    native = np.dtype(dtype)
    stored = np.resize(np.frombuffer(raw, np.uint8), math.prod(shape) * native.itemsize).view(native.newbyteorder(">"))
    stored = stored.reshape(shape)
    before = b"SIMPLE  "  # what begins as gzip does is taken for it
    source = ImageSource(open_stream(before + stored.tobytes(), "image"), len(before), shape, native, folded=False)
    box = data.draw(hnp.basic_indices(shape, allow_newaxis=False))
    found = source[box]
    assert found.dtype == native
    assert found.tobytes() == stored[box].astype(native).tobytes()


@pytest.mark.parametrize("dtype", ["u2", "f4", "f8"])
def test_many_elements_are_turned(dtype: str) -> None:
    stored = np.random.default_rng(3).integers(0, 256, 3_000_000 * 8, np.uint8).view(np.dtype(dtype).newbyteorder(">"))
    content = b"SIMPLE  " + stored.tobytes()
    source = ImageSource(open_stream(content, "image"), 8, stored.shape, np.dtype(dtype), folded=False)
    assert source[...].tobytes() == stored.byteswap().tobytes()
    assert source[1_000_001:].tobytes() == stored[1_000_001:].byteswap().tobytes()
