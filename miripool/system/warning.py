"""Warnings that name the line of the caller, outside of this package."""

from __future__ import annotations

import sys
import warnings

__all__ = ["warn_caller"]

_PACKAGE = __name__.partition(".")[0]


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn as if the line outside of this package had done so that led here.

    Parameters
    ----------
    message : str
        What to know.
    category : type of Warning
        What can be filtered by.
    """
    level, frame = 1, sys._getframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in {_PACKAGE, "contextlib"}:
        level, frame = level + 1, frame.f_back  # type: ignore[assignment]
    warnings.warn(message, category, stacklevel=level)
