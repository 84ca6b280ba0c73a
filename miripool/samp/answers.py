"""What other programs say: their answers to messages, and their words on one line."""

from __future__ import annotations

import logging
from typing import Any

from ..errors import ProgramError

__all__ = ["one_line", "result_of"]

_log = logging.getLogger(__name__)


def one_line(text: object) -> str:
    """Give another program's words without characters that would make them look like words of ours.

    Parameters
    ----------
    text : object
        Text, as a rule.

    Returns
    -------
    str
        With a blank for each run of blanks, line ends and characters that a terminal would obey.
    """
    return " ".join("".join(letter if letter.isprintable() else " " for letter in str(text)).split())


def result_of(name: str, answer: Any) -> dict[str, Any]:
    """Give the values of an answer. What a program warns of is logged.

    Parameters
    ----------
    name : str
        The program's.
    answer : object
        What came; a mapping if the program obeys the protocol.

    Returns
    -------
    dict
        Empty if there are none.

    Raises
    ------
    ProgramError
        If the program reports an error, or does not say that it has succeeded.
    """
    values = answer if isinstance(answer, dict) else {}
    status, result = values.get("samp.status"), values.get("samp.result")
    if status == "samp.error":
        raise ProgramError(f"{name} refused it: {_reason(values) or 'it does not say why'}")
    if status not in ("samp.ok", "samp.warning"):
        raise ProgramError(f"{name} answered without a status; look at its window for whether it has succeeded")
    if status == "samp.warning":
        _log.warning("%s warns: %s", name, _reason(values) or "it does not say of what")
    return result if isinstance(result, dict) else {}


def _reason(values: dict[str, Any]) -> str:
    """Find the words of an error; some programs give the text alone, without a mapping around it."""
    said = values.get("samp.error") or ""
    return one_line(said.get("samp.errortxt") or "" if isinstance(said, dict) else said)
