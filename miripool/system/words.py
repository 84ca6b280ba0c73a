"""Words of messages that several rooms write."""

from __future__ import annotations

__all__ = ["comma_separated", "counted"]


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


def comma_separated(text: str | None) -> list[str]:
    """Read words that have commas between them.

    Parameters
    ----------
    text : str or None
        E.g. ``hot, warm``.

    Returns
    -------
    list of str
        Without blanks around them; empty ones are left out.
    """
    return [word.strip() for word in (text or "").split(",") if word.strip()]
