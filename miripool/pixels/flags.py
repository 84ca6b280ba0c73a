"""DQ flags by their names."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..query.pixelwhere import FLAGS

__all__ = ["flag_names", "spell_flags"]


def flag_names(flags: int) -> str:
    """Give the names of DQ flags.

    Parameters
    ----------
    flags : int
        Bits as in the jwst datamodels.

    Returns
    -------
    str
        Names joined by ``|``; empty if no bit is set.
    """
    value = int(flags)
    known = [name for name, bit in FLAGS.items() if value & bit]
    unknown = [f"bit {i}" for i in range(32, 64) if value >> i & 1]
    return "|".join([*known, *unknown])


def spell_flags(values: Any) -> Any:
    """Give a column of flags by name.

    Parameters
    ----------
    values : ndarray
        Bits; of dtype object with an array, or None, in each row.

    Returns
    -------
    ndarray of str
        Of the same shape; masked values have no flag.
    """
    if values.dtype == object:
        made = np.empty(len(values), object)
        for i, row in enumerate(values):
            made[i] = None if row is None else spell_flags(row)
        return made
    known = {int(v): flag_names(v) for v in np.unique(np.ma.filled(values, 0))}
    flat = [known[int(v)] for v in np.ma.filled(values, 0).reshape(-1)]
    return np.asarray(flat, dtype=str).reshape(values.shape)
