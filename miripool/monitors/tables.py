"""Records as astropy tables."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from ..model.times import time_column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.table import Table

__all__ = ["table_of"]


def table_of(records: Sequence[dict[str, Any]]) -> Table:
    """Make a table; None becomes a masked value, and times are UTC.

    Parameters
    ----------
    records : sequence of dict
        All with the same keys.

    Returns
    -------
    astropy.table.Table
        A row for each; without columns if there are none.
    """
    from astropy.table import MaskedColumn, Table

    columns: dict[str, Any] = {}
    for name in records[0] if records else ():
        values = [record[name] for record in records]
        missing = [value is None for value in values]
        known = next((value for value in values if value is not None), None)
        if isinstance(known, datetime):
            columns[name] = time_column(values)
        elif isinstance(known, list):
            columns[name] = MaskedColumn(_objects(values))
        else:
            filler = type(known)() if known is not None else math.nan
            columns[name] = MaskedColumn([filler if v is None else v for v in values], mask=missing)
    return Table(columns)


def _objects(values: Sequence[Any]) -> Any:
    made = np.empty(len(values), object)
    made[:] = values
    return made
