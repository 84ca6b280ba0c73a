"""HDF5 datasets that are stored as a whole, and what an array's dataset says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import h5py
    from numpy.typing import NDArray

__all__ = ["hdf5_type", "name_array", "store_whole"]

_DEFLATE_LEVEL = 4
"""That of h5py."""


def hdf5_type(dtype: np.dtype[Any]) -> h5py.h5t.TypeID:
    """Give the type of an array's elements.

    NumPy takes the type of an enumeration for equal to that of its numbers, and keeps the names beside it. They are no
    part of the array: two arrays of the same numbers have the same file.

    Parameters
    ----------
    dtype : numpy.dtype
        NumPy's.

    Returns
    -------
    h5py.h5t.TypeID
        HDF5's.
    """
    import h5py

    return h5py.h5t.py_create(np.dtype(dtype.str) if dtype.names is None else dtype, logical=True)


def name_array(data: h5py.h5d.DatasetID, digest: str, number: int) -> None:
    """Have a dataset say which array it is.

    Parameters
    ----------
    data : h5py.h5d.DatasetID
        The dataset.
    digest : str
        Of the array.
    number : int
        Of the form of the file.
    """
    import h5py

    for name, value in ((b"miripool_blob", np.array(number)), (b"digest", np.array(digest, "S32"))):
        kind = h5py.h5t.py_create(value.dtype, logical=True)
        h5py.h5a.create(data, name, kind, h5py.h5s.create_simple(())).write(value, kind)


def store_whole(
    file: h5py.h5f.FileID, name: bytes, value: NDArray[Any], *, deflated: bool = False
) -> h5py.h5d.DatasetID:
    """Store an array as a whole.

    Parameters
    ----------
    file : h5py.h5f.FileID
        The file.
    name : bytes
        Of the dataset.
    value : ndarray
        The array.
    deflated : bool, keyword-only
        Compress it.

    Returns
    -------
    h5py.h5d.DatasetID
        To be held until the file is flushed: what fails as it is let go of raises no error.
    """
    import h5py

    how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    how.set_obj_track_times(False)
    if deflated:
        how.set_chunk(value.shape)
        how.set_deflate(_DEFLATE_LEVEL)
    space, kind = h5py.h5s.create_simple(value.shape), hdf5_type(value.dtype)
    made = h5py.h5d.create(file, name, kind, space, how)
    made.write(h5py.h5s.ALL, h5py.h5s.ALL, value)
    return made
