"""Amplifiers of a detector: which of them reads a column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..instruments.detector import DetectorRecord

__all__ = ["AMPLIFIERS", "amplifiers_of"]

AMPLIFIERS: Final = 4
"""Of a MIRI detector; amplifier 1 reads columns 1, 5, 9 … of the FULL array."""


def amplifiers_of(detector: DetectorRecord, x: int, columns: int) -> NDArray[np.intp]:
    """Give the amplifiers that read some columns.

    Parameters
    ----------
    detector : DetectorRecord
        The detector.
    x, columns : int
        First column, from 1 in the FULL array, and their number.

    Returns
    -------
    ndarray of int, shape (columns,)
        1 to 4; 0 for reference pixels.
    """
    places = np.arange(columns) + x - 1
    left, right = detector.reference_columns
    return np.where((places < left.stop) | (places >= right.start), 0, places % AMPLIFIERS + 1)
