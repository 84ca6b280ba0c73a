"""Users' names: what can be one, and how it is read from a command line and from a proxy's header."""

from __future__ import annotations

import re
import unicodedata

from ..errors import InvalidName

__all__ = ["name_in_header", "typed_name"]

_LENGTH = 200
"""Characters; names of certificates are long."""
_BLANKS = " \t"
"""What HTTP allows around a header's value. Any other blank is part of the name."""
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U00016fe4\U0001d159\U000e0100-\U000e01ef]"
)
"""Letters, marks and symbols without a picture, which Python calls printable: those of Unicode's property
Default_Ignorable_Code_Point, and three that are drawn as blanks (Braille, Khitan, musical notes).
"""


def typed_name(text: str) -> str:
    """Read a name that the person has typed who runs the server.

    Parameters
    ----------
    text : str
        As given; letters with accents may be two characters, as some keyboards make them.

    Returns
    -------
    str
        As proxies send it: in Unicode's form NFC.

    Raises
    ------
    InvalidName
        If nobody can have that name.
    """
    return _checked(unicodedata.normalize("NFC", text.strip(_BLANKS)))


def name_in_header(value: str) -> str:
    """Read a name that a proxy sends. Two names are never read as one: nothing of them is replaced.

    Parameters
    ----------
    value : str
        The header; its bytes as Latin-1.

    Returns
    -------
    str
        The name, as it was sent.

    Raises
    ------
    InvalidName
        If nobody can have that name; the message says why.
    """
    try:
        name = value.strip(_BLANKS).encode("latin-1").decode()
    except UnicodeDecodeError:
        raise InvalidName("it is not in UTF-8; have the proxy send names so") from None
    return _checked(name)


def _checked(name: str) -> str:
    reason = None
    if not name or name != name.strip():
        reason = "it is empty, or begins or ends with a blank"
    elif len(name) > _LENGTH:
        reason = f"it has {len(name)} characters, and {_LENGTH} are allowed"
    elif not name.isprintable() or _UNSEEN.search(name):
        reason = "it holds a character that can't be seen"
    elif name != unicodedata.normalize("NFC", name):
        reason = "it is not in Unicode's form NFC, so that another name looks the same"
    if reason:
        raise InvalidName(f"{reason}; write it otherwise where users are kept")
    return name
