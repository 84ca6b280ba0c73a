"""A table of pixels, as astropy has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..model.units import parse_unit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astropy.table import Table

__all__ = ["make_table"]


def make_table(columns: Mapping[str, Any], units: Mapping[str, str], time: str = "start of the exposure, UTC") -> Table:
    """Make a table.

    Parameters
    ----------
    columns : mapping of str to array
        By name; they are not copied.
    units : mapping of str to str
        Of columns, by name; empty for none.
    time : str, optional
        What the column of that name is, for ``table.meta``.

    Returns
    -------
    astropy.table.Table
        In the order of the columns.
    """
    from astropy.table import Table

    table = Table(dict(columns), copy=False)
    for name in table.colnames:
        if unit := units.get(name):
            table[name].unit = parse_unit(unit)
    table.meta["time"] = time
    return table
