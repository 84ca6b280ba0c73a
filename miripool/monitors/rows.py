"""Rows of the tables of a monitor's product, as records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..model.product import Product

__all__ = ["read_rows"]


def read_rows(product: Product, name: str) -> list[dict[str, Any]]:
    """Read a table as records.

    Parameters
    ----------
    product : Product
        Of a monitor.
    name : str
        Of the table.

    Returns
    -------
    list of dict
        Values by the names of columns, in small letters; text decoded, numbers as Python's.
    """
    if name not in product:
        return []
    table = np.asarray(product[name][...])
    columns = [
        [value.decode() for value in table[key].tolist()] if table.dtype[key].kind == "S" else table[key].tolist()
        for key in table.dtype.names or ()
    ]
    names = [key.lower() for key in table.dtype.names or ()]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
