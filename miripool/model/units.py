"""Units: what the text in a header means to astropy."""

from __future__ import annotations

import functools
import warnings
from typing import Any

__all__ = ["parse_unit", "unit_text"]


@functools.lru_cache(maxsize=256)
def parse_unit(text: str) -> Any:
    """Read a unit, such as a header's BUNIT.

    Parameters
    ----------
    text : str
        E.g. ``DN/s``.

    Returns
    -------
    astropy.units.UnitBase
        An `UnrecognizedUnit` with that text where astropy can't read it; no error, no warning.
    """
    from astropy.units import Unit, UnrecognizedUnit

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # e.g. that several slashes are discouraged
            return Unit(text, parse_strict="silent")
    except (ValueError, TypeError):
        return UnrecognizedUnit(text)


def unit_text(unit: Any) -> str | None:
    """Give a unit as a header has it.

    Parameters
    ----------
    unit : str, astropy.units.UnitBase or None
        Text is kept as it is.

    Returns
    -------
    str or None
        In the form of FITS where that form has the unit; None where there is none.
    """
    if unit is None or isinstance(unit, str):
        return unit or None
    try:
        text = str(unit.to_string("fits"))
    except ValueError:
        text = str(unit)
    return text or None
