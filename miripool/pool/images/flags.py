"""Flags of frames: which datasets of data quality belong to one, and which pixels have a flag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InvalidInput
from ...model.keywords import suggest
from ...query.pixelwhere import FLAGS
from .frames import images_of, read_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ...model.dataset import Dataset
    from ...model.product import Product

__all__ = ["count_flags", "flags_named", "flags_of", "read_flags"]


def flags_of(product: Product) -> dict[str, list[str]]:
    """Give, for each dataset of frames, the datasets of flags that say something of its pixels.

    Parameters
    ----------
    product : Product
        Any.

    Returns
    -------
    dict of str to list of str
        By the names of the datasets that hold frames.
    """
    images = images_of(product)
    flags = {name: dataset for name, dataset in images.items() if dataset.is_flags}
    return {
        name: [other for other, values in flags.items() if values.shape == dataset.shape[dataset.ndim - values.ndim :]]
        for name, dataset in images.items()
    }


def read_flags(product: Product, dataset: Dataset, index: Sequence[int]) -> NDArray[np.uint32] | None:
    """Read the flags of a frame: those of its integration and group, and those of its pixels in all groups.

    Parameters
    ----------
    product : Product
        The product.
    dataset : Dataset
        One of its datasets of frames.
    index : sequence of int
        One 0-based number for each axis before the last two.

    Returns
    -------
    ndarray of uint32, shape (ny, nx), or None
        Bits as in the jwst datamodels. None where no dataset has flags of these pixels.
    """
    found: NDArray[np.uint32] | None = None
    for name in flags_of(product)[dataset.name]:
        other = product.datasets[name]
        own = read_frame(other, tuple(index)[len(index) - other.ndim + 2 :])
        found = own if found is None else found | own
    return found


def flags_named(names: Sequence[str]) -> dict[str, int]:
    """Give the bits of flags.

    Parameters
    ----------
    names : sequence of str
        As in the jwst datamodels, e.g. ``JUMP_DET``; in capitals or not.

    Returns
    -------
    dict of str to int
        Bit by name, each once.

    Raises
    ------
    InvalidInput
        If there is no such flag.
    """
    found = {}
    for name in names:
        known = name.strip().upper()
        if known not in FLAGS:
            near = suggest(known, FLAGS)
            hint = f"; did you mean {' or '.join(near)}?" if near else f"; the flags are {', '.join(FLAGS)}"
            raise InvalidInput(f"there is no flag {name!r}{hint}")
        found[known] = FLAGS[known]
    return found


def count_flags(flags: NDArray[Any]) -> dict[str, int]:
    """Count the pixels that have each flag.

    Parameters
    ----------
    flags : ndarray of integers
        Bits as in the jwst datamodels.

    Returns
    -------
    dict of str to int
        Of the flags that any pixel has, the most frequent first.
    """
    counts = {name: int(np.count_nonzero(flags & np.uint32(bit))) for name, bit in FLAGS.items()}
    return dict(sorted(((name, n) for name, n in counts.items() if n), key=lambda item: -item[1]))
