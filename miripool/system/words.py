"""Words of messages that several rooms write."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Write a number of things.

    Parameters
    ----------
    number : int
        How many.
    noun : str
        The name of one.
    plural : str, optional
        The name of several; `noun` with an s unless given.

    Returns
    -------
    str
        ``1 file``, ``2 files``.
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
