"""Shapes: what a product must be like for its arrays to belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..model.metadata import MetaData
    from ..model.product import Product

__all__ = ["check_shapes", "group_time"]


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
