"""HDF5 files that are made in memory, and written to the disk as bytes."""

from __future__ import annotations

import contextlib
import functools
import itertools
from typing import TYPE_CHECKING, Any

from .hdf5library import load_hdf5

if TYPE_CHECKING:
    from collections.abc import Iterator

    import h5py

__all__ = ["file_in_memory"]

_numbers = itertools.count()
"""Of files in memory: HDF5 takes two that are open under one name, by two threads, for the same."""


@contextlib.contextmanager
def file_in_memory() -> Iterator[h5py.h5f.FileID]:
    """Make a file of HDF5 1.10's formats, without times: the same datasets give the same bytes.

    Yields
    ------
    h5py.h5f.FileID
        Empty; `get_file_image` gives its bytes, once it was flushed.
    """
    load_hdf5()
    import h5py

    file = h5py.h5f.create(b"in memory %d" % next(_numbers), h5py.h5f.ACC_TRUNC, *_properties())
    try:
        yield file
    finally:
        file.close()


@functools.cache
def _properties() -> tuple[Any, Any]:
    import h5py

    created = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    created.set_obj_track_times(False)
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fapl_core(1 << 16, False)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    return created, access
