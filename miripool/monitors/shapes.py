"""Shapes of a product: whether its arrays belong together, which groups its ramps have, and how far apart they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import FormatError
from ..query.pixelwhere import FLAGS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ..model.metadata import MetaData
    from ..model.product import Product

__all__ = ["TELLING_ROWS", "check_shapes", "group_time", "kept_groups", "used_groups"]

TELLING_ROWS: Final = 32
"""First rows of pixels, whose flags say which groups the pipeline uses."""
_ENDS_KEPT: Final = 3
"""Groups of a ramp up to which its first and last are kept: the pipeline leaves them out of longer ones."""


def check_shapes(product: Product, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Check datasets, as far as they are there: their shapes, and that flags are whole numbers.

    Parameters
    ----------
    product : Product
        The product.
    shapes : mapping of str to tuple of int
        By the names of the datasets.

    Raises
    ------
    FormatError
        If one has another shape, or flags that are no whole numbers.
    """
    for name, shape in shapes.items():
        if name not in product:
            continue
        dataset = product[name]
        if tuple(dataset.shape) != shape:
            raise FormatError(f"its {name} has the shape {tuple(dataset.shape)} instead of {shape}")
        if name.endswith("DQ") and dataset.dtype.kind not in "ui":
            raise FormatError(f"its {name} has flags that are no whole numbers ({dataset.dtype})")


def group_time(meta: MetaData) -> float:
    """Give the time between the groups of a ramp.

    Parameters
    ----------
    meta : MetaData
        Of the ramp.

    Returns
    -------
    float
        Seconds.

    Raises
    ------
    FormatError
        If the keyword TGROUP is missing, or no positive number.
    """
    value = meta["TGROUP"].value if "TGROUP" in meta else None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise FormatError("its header does not say how much time lies between the groups (TGROUP)")
    return float(value)


def kept_groups(groups: int) -> NDArray[np.intp]:
    """Give the groups of a ramp without flags that are used: not the first and the last, as in MIRI's pipeline.

    Parameters
    ----------
    groups : int
        How many the ramp has; all of three or fewer are used.

    Returns
    -------
    ndarray of int
        From 0.
    """
    ends = int(groups > _ENDS_KEPT)
    return np.arange(ends, groups - ends)


def used_groups(groupdq: NDArray[Any]) -> NDArray[np.intp]:
    """Give the groups that the pipeline uses: they are not DO_NOT_USE in most pixels.

    Parameters
    ----------
    groupdq : ndarray of int, shape (…, ngroups, ny, nx)
        Flags of some pixels.

    Returns
    -------
    ndarray of int
        From 0.
    """
    used = (np.asarray(groupdq) & FLAGS["DO_NOT_USE"]) == 0
    used = np.moveaxis(used, -3, 0).reshape(used.shape[-3], -1)
    return np.flatnonzero(2 * np.count_nonzero(used, axis=1) > used.shape[1])
