"""Rows of the tables of a monitor's product, as records."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from .strata import Stratum

if TYPE_CHECKING:
    from ..model.product import Product

__all__ = ["read_members", "read_rows", "read_strata"]


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


def read_strata(product: Product) -> list[Stratum]:
    """Read the strata of a monitor.

    Parameters
    ----------
    product : Product
        Of the monitor.

    Returns
    -------
    list of Stratum
        By number.
    """
    return [Stratum.of_row(row) for row in read_rows(product, "STRATA")]


def read_members(product: Product) -> list[list[dict[str, Any]]]:
    """Read the exposures of each stratum.

    Parameters
    ----------
    product : Product
        Of the monitor.

    Returns
    -------
    list of list of dict
        By stratum and time: rows of the table EXPOSURES, with the start as ``time`` (aware, UTC), and the number of
        the exposure among those of all strata as ``place``.
    """
    found: list[list[dict[str, Any]]] = [[] for _ in read_rows(product, "STRATA")]
    for place, row in enumerate(read_rows(product, "EXPOSURES")):
        found[row["stratum"]].append({**row, "time": datetime.fromisoformat(row["start"]), "place": place})
    return found
