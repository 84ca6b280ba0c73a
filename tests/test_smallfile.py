"""Small files: the same bytes as HDF5 writes, whatever the array."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from miripool.store.arrays import smallfile
from miripool.store.arrays.digest import array_digest, tile_digest
from miripool.store.arrays.hdf5write import write_plain
from miripool.store.arrays.smallfile import small_file
from miripool.store.manifest import BlobRef

TABLE = np.dtype([("name", "S5"), ("x", "<i4", (2,)), ("good", "?")])


def ref_of(array: NDArray[Any]) -> BlobRef:
    return BlobRef(array_digest(array), array.dtype, array.shape)


def arrays() -> st.SearchStrategy[NDArray[Any]]:
    kinds = hnp.boolean_dtypes() | hnp.integer_dtypes(endianness="<") | hnp.floating_dtypes(endianness="<")
    texts = hnp.byte_string_dtypes(max_len=9)
    shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
    return hnp.arrays((kinds | texts).filter(lambda kind: kind.itemsize <= 9), shapes)


@given(arrays())
def test_the_bytes_are_those_that_hdf5_writes(array: NDArray[Any]) -> None:
    ref = ref_of(array)
    file = small_file(ref, array)
    by_hdf5, _, _ = smallfile._made(ref.digest, array)
    assert file == by_hdf5
    assert smallfile._form_of(array.dtype, array.shape) is not None  # it was not HDF5 that made it


def test_the_largest_and_a_table() -> None:
    for array in (np.arange(512, dtype="<i8"), np.zeros(7, TABLE)):
        array.view(np.uint8)[:5] = 3, 1, 4, 1, 5
        ref = ref_of(array)
        assert small_file(ref, array) == smallfile._made(ref.digest, array)[0]


def test_hdf5_reads_it() -> None:
    first, array = np.zeros((1, 16, 16), "<f4"), np.arange(256, dtype="<f4").reshape(1, 16, 16)
    small_file(ref_of(first), first)
    with h5py.File(io.BytesIO(small_file(ref_of(array), array))) as file:
        data = file["data"]
        np.testing.assert_array_equal(data[...], array)
        assert data.attrs["digest"].decode() == array_digest(array)
        assert file["tile_digests"][0].tobytes() == tile_digest(array)


def test_a_layout_that_is_not_known_is_left_to_hdf5(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smallfile, "_HEADER", b"OHDR\x03")
    smallfile._form_of.cache_clear()
    array = np.arange(6, dtype="<u2")
    try:
        assert smallfile._form_of(array.dtype, array.shape) is None
        assert small_file(ref_of(array), array) == smallfile._made(array_digest(array), array)[0]
    finally:
        smallfile._form_of.cache_clear()


def test_the_names_of_an_enumeration_are_not_those_of_other_arrays(tmp_path: Path) -> None:
    """NumPy takes the type of an enumeration for equal to that of its numbers."""
    named = np.array([[0, 1, 1]], h5py.enum_dtype({"A": 0, "B": 1}, basetype="u1"))
    for number, array in enumerate((named, np.array([[3, 4, 5]], "u1"))):
        path = tmp_path / f"{number}.h5"
        write_plain(path, ref_of(array.view("u1")), array)
        with h5py.File(path) as file:
            assert h5py.check_enum_dtype(file["data"].dtype) is None
            np.testing.assert_array_equal(file["data"][...], array)
