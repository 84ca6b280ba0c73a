"""Stored array: what those who read tiles know of the blob they read them from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ...errors import IntegrityError, MiripoolError
    from ..manifest import BlobRef

__all__ = ["StoredArray", "TileRecords"]


class TileRecords(Protocol):
    """A list of tiles."""

    @property
    def records(self) -> NDArray[Any]:
        """One record for each tile, with a field ``digest``."""


class StoredArray(Protocol):
    """A blob."""

    @property
    def ref(self) -> BlobRef:
        """What it should hold."""

    @property
    def where(self) -> str:
        """Its file, in messages."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis, slowest first."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""

    def tile_list(self) -> TileRecords | None:
        """Read the list of its tiles; None where there is none."""

    def damaged(self, how: str) -> IntegrityError:
        """Say what is wrong with the file."""

    def unreadable(self, how: str, error: Exception) -> MiripoolError:
        """Say what the system, or HDF5, said of the file."""
