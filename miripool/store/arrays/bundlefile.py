"""Bundle file: several small arrays of one product in one HDF5 file.

Each array is a dataset of its own, ``/`` and its digest: tables and bytes deflated, numbers coded with bitshuffle +
LZ4, where that makes them smaller. Behind the end of the HDF5 file stands a list, with which an array is read by two
plain reads, without HDF5::

    records   one for each array, sorted by digest: digest, xxh3_128 of the elements, offset, size, code
    footer    name of the bundle, xxh3_128 of the HDF5 file, count of arrays, xxh3_128 of all before, "MIRIBNDL"

A file of which the list is damaged is read by HDF5.
"""

from __future__ import annotations

import functools
import math
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from ...errors import IntegrityError, NewerFormat
from . import bitshuffle
from .digest import array_digest, tile_digest
from .hdf5datasets import hdf5_type
from .hdf5library import load_hdf5
from .hdf5memory import file_in_memory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from .openfile import OpenFile
    from .stored import StoredArray

__all__ = ["BUNDLE_FORMAT", "BundleList", "Listed", "bundle_bytes", "decode", "find_by_hdf5", "read_bundle_list"]

BUNDLE_FORMAT = 5
"""Number of the form in the attribute ``miripool_blob`` of the root group; blobs of one array have 1 to 4."""

_RECORD = struct.Struct("<16s16sQIB")
_FOOTER = struct.Struct("<16s16sI16s8s")
_MAGIC = b"MIRIBNDL"

_RAW, _DEFLATED, _BITSHUFFLED = range(3)
"""How the elements of an array are stored."""

_LEAST_CODED = 1 << 9
"""Bytes of an array below which it is stored as it is: a chunked dataset's own book-keeping takes some 100 bytes."""

_LEVEL = 4
"""Of deflate. Level 1 takes 0.15 ms less for an ASDF log of 28 KB, which is then a tenth longer."""

_FIRST = 1 << 12
"""Bytes at the end that are read at once: the lists of up to 90 arrays are shorter."""


@dataclass(frozen=True, slots=True)
class Listed:
    """Where an array is in the file of its bundle.

    Attributes
    ----------
    offset, size : int
        Of the stored elements.
    code : int
        How they are stored.
    digest : bytes
        xxh3_128 of the elements, C order, little-endian.
    """

    offset: int
    size: int
    code: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class BundleList:
    """What the list at the end of a bundle's file says.

    Attributes
    ----------
    name : str
        Of the bundle.
    file_digest : bytes
        xxh3_128 of the HDF5 file.
    file_bytes : int
        How long the HDF5 file is.
    entries : mapping of str to Listed
        By the arrays' digests.
    """

    name: str
    file_digest: bytes
    file_bytes: int
    entries: Mapping[str, Listed]


def bundle_bytes(name: str, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Make the file of a bundle.

    Parameters
    ----------
    name : str
        Of the bundle.
    arrays : mapping of str to ndarray
        By their digests.

    Returns
    -------
    bytes
        All of it; the same arrays give the same bytes, whenever they are written with the same libraries.
    """
    load_hdf5()
    import h5py

    with file_in_memory() as file:
        root = h5py.h5g.open(file, b"/")
        form = np.array(BUNDLE_FORMAT, "<u1")
        attribute = h5py.h5a.create(root, b"miripool_blob", h5py.h5t.STD_U8LE, h5py.h5s.create(h5py.h5s.SCALAR))
        attribute.write(form)
        put = {digest: _put(file, digest, array) for digest, array in sorted(arrays.items())}
        h5py.h5f.flush(file)
        entries = {digest: _entry(data, code, arrays[digest]) for digest, (data, code) in put.items()}
        image: bytes = file.get_file_image()
    return image + _list_bytes(name, xxhash.xxh3_128_digest(image), entries)


def _put(file: Any, digest: str, array: NDArray[Any]) -> tuple[Any, int]:
    """Make the dataset of an array; give it, and how its elements are stored."""
    import h5py

    little = array.dtype.newbyteorder("<")
    elements = np.asarray(array, little, order="C")
    kind = _hdf5_type(little)
    space = h5py.h5s.create_simple(array.shape) if array.shape else h5py.h5s.create(h5py.h5s.SCALAR)
    code, coded = _encode(elements)
    made = _dataset_properties(code, elements)
    data = h5py.h5d.create(file, digest.encode(), kind, space, made)
    if code != _RAW:
        data.write_direct_chunk((0,) * array.ndim, coded)
    elif array.nbytes:
        data.write(h5py.h5s.ALL, h5py.h5s.ALL, elements, kind)
    return data, code


def _encode(elements: NDArray[Any]) -> tuple[int, bytes]:
    """Give the shortest form of an array's elements."""
    if elements.nbytes < _LEAST_CODED or not elements.ndim:
        return _RAW, b""
    if elements.dtype.kind not in "iuf" or elements.dtype.itemsize == 1:
        code, coded = _DEFLATED, zlib.compress(_bytes(elements), _LEVEL)
    elif bitshuffle.available():
        room = np.empty(bitshuffle.room_for(elements.size, elements.dtype.itemsize), np.uint8)
        (chunk,) = bitshuffle.compress(elements[np.newaxis], [0], room)
        code, coded = _BITSHUFFLED, chunk.tobytes()
    else:
        return _RAW, b""
    return (code, coded) if len(coded) < elements.nbytes else (_RAW, b"")


def _bytes(elements: NDArray[Any]) -> memoryview[int]:
    return memoryview(elements.reshape(-1).view(np.uint8))  # type: ignore[arg-type]


def _entry(data: Any, code: int, array: NDArray[Any]) -> Listed:
    offset, size = _place(data)
    return Listed(offset, size, code, tile_digest(np.asarray(array, array.dtype.newbyteorder("<"))))


def _place(data: Any) -> tuple[int, int]:
    """Tell where HDF5 has the elements of a dataset; nowhere, if there are none."""
    import h5py

    if data.get_create_plist().get_layout() == h5py.h5d.CHUNKED:
        chunk = data.get_chunk_info(0)
        return chunk.byte_offset, chunk.size
    size = data.get_storage_size()
    return (data.get_offset(), size) if size else (0, 0)


def _list_bytes(name: str, file_digest: bytes, entries: Mapping[str, Listed]) -> bytes:
    records = b"".join(
        _RECORD.pack(bytes.fromhex(digest), entry.digest, entry.offset, entry.size, entry.code)
        for digest, entry in entries.items()
    )
    told = records + bytes.fromhex(name) + file_digest + len(entries).to_bytes(4, "little")
    return told + xxhash.xxh3_128_digest(told) + _MAGIC


def read_bundle_list(file: OpenFile) -> BundleList | None:
    """Read the list behind the end of a bundle's file.

    Parameters
    ----------
    file : OpenFile
        The bundle's.

    Returns
    -------
    BundleList or None
        None where there is none, or it is damaged.
    """
    end = file.size
    last = file.read(max(0, end - _FIRST), _FIRST)
    if len(last) < _FOOTER.size or not last.endswith(_MAGIC):
        return None
    name, file_digest, count, digest, _ = _FOOTER.unpack_from(last, len(last) - _FOOTER.size)
    size = count * _RECORD.size + _FOOTER.size
    if size > end:
        return None
    if size > len(last):
        last = file.read(end - size, size)
    body = last[len(last) - size : len(last) - len(digest) - len(_MAGIC)]
    if xxhash.xxh3_128_digest(body) != digest:
        return None
    entries = {
        array.hex(): Listed(offset, held, code, elements)
        for array, elements, offset, held, code in _RECORD.iter_unpack(body[: count * _RECORD.size])
    }
    return BundleList(name.hex(), file_digest, end - size, entries)


def decode(data: bytes, code: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any] | None:
    """Give the elements of an array as they were before they were stored.

    Parameters
    ----------
    data : bytes
        As they are stored.
    code : int
        How.
    dtype : numpy.dtype
        Of the elements, little-endian.
    shape : tuple of int
        Of the array.

    Returns
    -------
    ndarray or None
        None where HDF5 has to do it.

    Raises
    ------
    IntegrityError
        If the bytes are not an array of that kind.
    """
    size = math.prod(shape) * dtype.itemsize
    if code == _BITSHUFFLED:
        if not bitshuffle.available():
            return None
        if len(data) < bitshuffle.HEADER_BYTES:
            raise IntegrityError("a chunk ends within its header")
        whole: NDArray[Any] = np.empty((1, *shape), dtype)
        coded = np.frombuffer(data, np.uint8)[bitshuffle.HEADER_BYTES :]
        bitshuffle.decompress(data[: bitshuffle.HEADER_BYTES], coded, [len(coded)], whole)
        return whole.reshape(shape)
    if code == _DEFLATED:
        try:
            data = zlib.decompressobj().decompress(data, size + 1)
        except zlib.error as error:
            raise IntegrityError(str(error)) from error
    elif code != _RAW:
        raise IntegrityError(f"nothing is stored in the form {code}")
    if len(data) != size:
        raise IntegrityError(f"{len(data)} bytes are no array of {size}")
    return np.frombuffer(data, dtype).reshape(shape) if size else np.empty(shape, dtype)


def find_by_hdf5(blob: StoredArray, opened: Any) -> tuple[NDArray[Any], tuple[int, int]]:
    """Read an array of a bundle by HDF5, and tell where its elements are.

    Parameters
    ----------
    blob : StoredArray
        What it should be.
    opened : h5py.h5f.FileID
        The bundle's file.

    Returns
    -------
    elements : ndarray
        In native byte order, held against the digest.
    place : (int, int)
        Offset and size in the file.

    Raises
    ------
    IntegrityError
        If the file has another array, or none, under its name; NewerFormat if it is of an unknown form.
    """
    import h5py

    root = h5py.h5g.open(opened, b"/")
    _refuse_other_forms(blob, root)
    name = blob.ref.digest.encode()
    is_linked = root.links.exists(name) and root.links.get_info(name).type == h5py.h5l.TYPE_HARD
    data = h5py.h5o.open(root, name) if is_linked else None
    if not isinstance(data, h5py.h5d.DatasetID):
        raise blob.damaged(f"has no dataset /{blob.ref.digest}")
    made = data.get_create_plist()
    layout = made.get_layout()
    if layout == h5py.h5d.VIRTUAL or (layout == h5py.h5d.CONTIGUOUS and made.get_external_count()):
        raise blob.damaged("keeps its data in another file")
    if data.shape != blob.shape or data.dtype != blob.dtype.newbyteorder("<"):
        raise blob.damaged(f"holds {data.dtype} {data.shape}, not {blob.dtype} {blob.shape}")
    if layout == h5py.h5d.CHUNKED:
        is_there = made.get_chunk() == blob.shape and data.get_num_chunks() == 1
    else:
        is_there = blob.ref.nbytes <= data.get_storage_size()
    if not is_there:
        raise blob.damaged("lacks some of its elements")
    elements = np.empty(blob.shape, blob.dtype.newbyteorder("<"))
    if elements.size:
        data.read(h5py.h5s.ALL, h5py.h5s.ALL, elements, _hdf5_type(elements.dtype))
    elements = elements.astype(blob.dtype, copy=False)
    if array_digest(elements) != blob.ref.digest:
        raise blob.damaged("has other values than were stored")
    return elements, _place(data)


def _refuse_other_forms(blob: StoredArray, root: Any) -> None:
    import h5py

    if not h5py.h5a.exists(root, b"miripool_blob"):
        raise blob.damaged("is no bundle")
    attribute = h5py.h5a.open(root, b"miripool_blob")
    if attribute.shape != () or attribute.dtype.kind not in "iu":
        raise blob.damaged("has an attribute miripool_blob of another type")
    form = np.empty((), attribute.dtype)
    attribute.read(form)
    if form > BUNDLE_FORMAT:
        raise NewerFormat(f"blob {blob.where} was written by a newer miripool; update miripool")


@functools.lru_cache(maxsize=64)
def _hdf5_type(dtype: np.dtype[Any]) -> Any:
    return hdf5_type(dtype)


def _dataset_properties(code: int, elements: NDArray[Any]) -> Any:
    import h5py
    import hdf5plugin

    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_obj_track_times(False)
    made.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    if code == _RAW:
        return made
    made.set_chunk(elements.shape)
    if code == _DEFLATED:
        made.set_deflate(_LEVEL)
    else:
        block = bitshuffle.block_of(elements.size, elements.dtype.itemsize)
        coded = hdf5plugin.Bitshuffle(nelems=block, cname="lz4")
        made.set_filter(coded.filter_id, h5py.h5z.FLAG_OPTIONAL, coded.filter_options)
    return made
