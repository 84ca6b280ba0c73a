"""Packed elements of a blob's changed pixels: an array of its own in the blob's file, read tile by tile."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .changedpixels import ChangedPixels, packed_shape
from .tilereader import TileReader

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ...errors import IntegrityError, MiripoolError
    from ..manifest import BlobRef
    from .stored import StoredArray
    from .tilereader import Places

__all__ = ["PackedPixels"]


class PackedPixels:
    """The array that a blob's changed pixels are packed into, a `StoredArray`.

    Parameters
    ----------
    blob : StoredArray
        Whose pixels they are.
    runs : ndarray of int, shape (nruns, 3)
        From `miripool.store.arrays.changedpixels.runs_of`.
    """

    def __init__(self, blob: StoredArray, runs: NDArray[Any]) -> None:
        self._blob = blob
        self._runs = runs
        self.ref: BlobRef = replace(blob.ref, shape=packed_shape(blob.shape, runs))

    @property
    def where(self) -> str:
        """The blob's file, in messages."""
        return self._blob.where

    @property
    def shape(self) -> tuple[int, ...]:
        """Those of the array's axes before rows and columns, 1, and the number of pixels."""
        return self.ref.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        return self.ref.dtype

    def tile_list(self) -> None:
        """Say that they have no list of their own."""

    def damaged(self, how: str) -> IntegrityError:
        """Say what is wrong with them."""
        return self._blob.damaged(f"is wrong in its changed pixels, whose array {how}")

    def unreadable(self, how: str, error: Exception) -> MiripoolError:
        """Say what the system, or HDF5, said of the file."""
        return self._blob.unreadable(how, error)

    def pixels(self, places: Places, chunks: tuple[int, ...]) -> ChangedPixels:
        """Give the pixels as they are put into tiles.

        Parameters
        ----------
        places : Places
            Says where the tiles of the packed elements are.
        chunks : tuple of int
            Shape of a tile of the blob's array.

        Returns
        -------
        ChangedPixels
            Good while the file is open.
        """
        reader = TileReader(self, places)

        def read(starts: tuple[int, ...] | None = None, shape: tuple[int, ...] | None = None) -> NDArray[Any]:
            return reader.read(starts or (0,) * len(self.shape), shape or self.shape)

        return ChangedPixels(self._runs, chunks, self.ref.nbytes, read)
