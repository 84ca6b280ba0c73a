"""Cards of FITS headers: read fast from verbatim bytes, written by the standard.

An index reads millions of cards, so that this is a parser of its own: some 1.5 microseconds a card, where
astropy needs ten times that. Section numbers are those of the FITS standard 4.0.
"""

from __future__ import annotations

import functools
import math
import re
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ..errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "BLOCK",
    "CARD",
    "COMMENTARY",
    "Card",
    "Value",
    "close_header",
    "edit_header",
    "format_card",
    "is_structural",
    "keyword_of",
    "parse_header",
]

Value: TypeAlias = "str | int | float | bool | complex | None"

CARD = 80
"""Bytes of a card (3.3.1)."""
BLOCK = 2880
"""Bytes of a block; headers and data units are whole numbers of them (3.1)."""
COMMENTARY = frozenset({"COMMENT", "HISTORY", ""})
"""Keywords whose cards hold text and no value (4.4.2.4)."""

_VALUE = re.compile(
    r"\ *(?:'([^']*(?:''[^']*)*)'"  # 1: text
    r"|([+-]?[0-9]+)"  # 2: integer
    r"|([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[EeDd][+-]?[0-9]+)?)"  # 3: real
    r"|([TF])"  # 4: logical
    r"|\(([^,()/']+),([^,()/']+)\)"  # 5, 6: complex
    r")?\ *(?:/(.*))?",  # 7: comment
    re.DOTALL,
)
_REAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[EeDd][+-]?[0-9]+)?")
_D_EXPONENT = str.maketrans("dD", "EE")


class Card(NamedTuple):
    """One keyword record; a long string that goes on over CONTINUE cards is one card here.

    Attributes
    ----------
    keyword : str
        Upper case, without trailing blanks; without ``HIERARCH`` for the keywords of that convention.
    value : str, int, float, bool, complex or None
        None where the value is undefined. The text of a commentary card, and of a value that has no proper format.
    comment : str
        What stands behind the slash, without blanks around it.
    """

    keyword: str
    value: Value
    comment: str = ""


def parse_header(header: bytes) -> list[Card]:
    """Read the cards of a header up to END, whatever their values look like.

    Parameters
    ----------
    header : bytes
        Verbatim: cards of 80 bytes each. Bytes outside ASCII are read as Latin-1.

    Returns
    -------
    list of Card
        In file order, commentary and blank cards included, without END.
    """
    return list(_parsed(bytes(header)) if len(header) > CARD else _parse(header))


def _parse(header: bytes) -> list[Card]:
    text = header.decode("latin-1")
    cards: list[Card] = []
    append = cards.append
    match = _VALUE.fullmatch
    for start in range(0, len(text), CARD):
        if text[start + 8 : start + 10] == "= " and (found := match(text, start + 10, start + CARD)):
            keyword = text[start : start + 8].rstrip(" ").upper()
            if keyword not in COMMENTARY:
                comment = found[7]
                append(Card(keyword, _read_value(found), comment.strip() if comment else ""))
                continue
        image = text[start : start + CARD]
        if image.startswith("END     ") and image[8:10] != "= ":
            break
        if not (image.startswith("CONTINUE") and _continue(cards, image)):
            append(_parse_odd(image))
    return cards


@functools.lru_cache(maxsize=32)
def _parsed(header: bytes) -> tuple[Card, ...]:
    """Keep the headers of the last files: while a file is read and saved, each is asked for several times."""
    return tuple(_parse(header))


def keyword_of(image: bytes) -> str | None:
    """Read the keyword of one card, and nothing more of it.

    Parameters
    ----------
    image : bytes
        80 bytes.

    Returns
    -------
    str or None
        As `parse_header` gives it; None for END.
    """
    if image[8:10] == b"= ":
        keyword = image[:8].decode("latin-1").rstrip(" ").upper()
        if keyword not in COMMENTARY and keyword != "HIERARCH":
            return keyword
    cards = _parse(image)
    return cards[0].keyword if cards else None


def _read_value(found: re.Match[str]) -> Value:
    string, integer, real, logical, re_part, im_part, _ = found.groups()
    if string is not None:
        string = string.rstrip(" ")
        return string.replace("''", "'") if "'" in string else string
    if integer is not None:
        return int(integer)
    if real is not None:
        return _to_float(real)
    if logical is not None:
        return logical == "T"
    return None if re_part is None else _to_complex(re_part, im_part)


def _to_float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float(text.translate(_D_EXPONENT))


def _to_complex(real: str, imaginary: str) -> complex | str:
    parts = real.strip(), imaginary.strip()
    if all(_REAL.fullmatch(part) for part in parts):
        return complex(*(_to_float(part) for part in parts))
    return f"({real},{imaginary})"


def _continue(cards: list[Card], image: str) -> bool:
    """Add a CONTINUE card to the long string before it (4.2.1.2), if there is one."""
    last = cards[-1] if cards else None
    if last is None or not isinstance(last.value, str) or not last.value.endswith("&") or last.keyword in COMMENTARY:
        return False
    found = _VALUE.fullmatch(image, 8)
    if found is None or found[1] is None:
        return False
    value = last.value[:-1] + found[1].rstrip(" ").replace("''", "'")
    comment = last.comment + (found[7] or "").strip()
    cards[-1] = Card(last.keyword, value, comment)
    return True


def _parse_odd(image: str) -> Card:
    """Read a card that is commentary, of the HIERARCH convention, or not what the standard wants."""
    keyword = image[:8].rstrip(" ").upper()
    if keyword == "HIERARCH" and "=" in image:
        name, _, rest = image[8:].partition("=")
        return Card(" ".join(name.split()).upper(), *_parse_free(rest))
    if image[8:10] == "= " and keyword not in COMMENTARY:
        return Card(keyword, *_parse_free(image[10:]))
    return Card(keyword, image[8:].rstrip(" "))


def _parse_free(field: str) -> tuple[Value, str]:
    if found := _VALUE.fullmatch(field):
        return _read_value(found), (found[7] or "").strip()
    value, _, comment = field.partition(" /")
    return value.strip(), comment.strip()


def format_card(keyword: str, value: Value, comment: str = "") -> bytes:
    """Write a keyword record, with CONTINUE cards for long text and HIERARCH for long keywords.

    Parameters
    ----------
    keyword : str
        Up to 8 of A-Z, 0-9, ``-`` and ``_``; others are written by the HIERARCH convention.
    value : str, int, float, bool, complex or None
        None is written as an undefined value. Trailing blanks of text mean nothing in FITS and get lost.
    comment : str, optional
        Cut where the card has no more room for it.

    Returns
    -------
    bytes
        A multiple of 80.

    Raises
    ------
    InvalidInput
        If a FITS header has no way to say this.
    """
    keyword = keyword.upper().strip()
    if keyword in COMMENTARY:
        return _format_commentary(keyword, "" if value is None else str(value))
    for text in (keyword, comment, value if isinstance(value, str) else ""):
        _check_ascii(keyword, text)
    if re.fullmatch(r"[A-Z0-9_-]{1,8}", keyword) and keyword not in ("END", "CONTINUE", "HIERARCH"):
        start = f"{keyword:<8}= "
    elif keyword and "=" not in keyword and "/" not in keyword and len(keyword) < 50:
        start = f"HIERARCH {keyword} = "
    else:
        raise InvalidInput(f"{keyword!r} can't be a keyword of a FITS header; use A-Z, 0-9, '-' and '_'")
    if isinstance(value, str):
        return b"".join(_format_text(start, value.rstrip(" ").replace("'", "''"), comment))
    shown = _format_value(keyword, value)
    width = 20 if start.endswith("= ") and len(start) == 10 else 0
    image = f"{start}{shown:>{width}}"
    if comment:
        image += f" / {comment}"
    return image[:CARD].ljust(CARD).encode("ascii")


def _check_ascii(keyword: str, text: str) -> None:
    for character in text:
        if not " " <= character <= "~":
            raise InvalidInput(f"{keyword}: a FITS header can't hold the character {character!r}; use plain ASCII")


def _format_value(keyword: str, value: int | float | bool | complex | None) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, int):
        shown = str(value)
        if len(shown) > 60:
            raise InvalidInput(f"{keyword}: an integer of {len(shown)} digits does not fit into a FITS card")
        return shown
    if isinstance(value, complex):
        return f"({_format_value(keyword, value.real)}, {_format_value(keyword, value.imag)})"
    if not math.isfinite(value):
        raise InvalidInput(f"{keyword}: a FITS header can't hold {value}; use None for an undefined value")
    shown = repr(float(value)).upper()
    return shown if "." in shown or "E" not in shown else shown.replace("E", ".0E")


def _format_text(start: str, text: str, comment: str) -> Iterator[bytes]:
    """Cut quoted text into cards; quotes that belong together are never torn apart."""
    room = CARD - len(start) - 2
    while len(text) > room:
        cut = room - 1
        before = text[:cut]
        if (len(before) - len(before.rstrip("'"))) % 2:
            cut -= 1
        yield f"{start}'{text[:cut]}&'".ljust(CARD).encode("ascii")
        text, start, room = text[cut:], "CONTINUE  ", CARD - 12
    # At least 8 characters between the quotes, as in fixed format (4.2.1.1), where there is room.
    image = f"{start}'{text:<{min(8, room)}}'"
    if comment:
        image = f"{image:<30} / {comment}"
    yield image[:CARD].ljust(CARD).encode("ascii")


def _format_commentary(keyword: str, text: str) -> bytes:
    lines: Iterable[str] = text.split("\n")
    parts = [line[i : i + 72] for line in lines for i in range(0, max(len(line), 1), 72)]
    for part in parts:
        _check_ascii(keyword, part)
    return b"".join(f"{keyword:<8}{part}".ljust(CARD).encode("ascii") for part in parts)


_STRUCTURAL = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS[0-9]*|EXTEND|PCOUNT|GCOUNT|GROUPS|BSCALE|BZERO|BLANK|EXTNAME|EXTVER|EXTLEVEL|INHERIT"
    r"|THEAP|TFIELDS|T(?:TYPE|FORM|UNIT|DIM|SCAL|ZERO|NULL|BCOL|DISP)[0-9]+|P(?:TYPE|SCAL|ZERO)[0-9]+"
    r"|Z(?:IMAGE|TABLE|TENSION|BITPIX|NAXIS[0-9]*|TILE[0-9]+|CMPTYPE|NAME[0-9]+|VAL[0-9]+|MASKCMP|QUANTIZ|DITHER0"
    r"|SIMPLE|EXTEND|BLOCKED|PCOUNT|GCOUNT|THEAP|BLANK|SCALE|ZERO|FORM[0-9]+|CTYP[0-9]+)|ZHECKSUM|ZDATASUM"
    r"|CHECKSUM|DATASUM|END"
)


def is_structural(keyword: str) -> bool:
    """Tell whether a keyword says how the bytes of its HDU are to be read, rather than something about the data.

    Parameters
    ----------
    keyword : str
        Upper case.

    Returns
    -------
    bool
        True for BITPIX, NAXIS1, TFORM3, EXTNAME, CHECKSUM and their like.
    """
    return _STRUCTURAL.fullmatch(keyword) is not None


def edit_header(header: bytes, keyword: str, images: bytes) -> bytes:
    """Put other cards in the place of a keyword's first one, or before END where there is none.

    Parameters
    ----------
    header : bytes
        Verbatim, or bare cards without END. All other cards stay as they are, but CHECKSUM, which would be wrong,
        goes away.
    keyword : str
        As `parse_header` gives it. For COMMENT and HISTORY all cards are replaced.
    images : bytes
        As `format_card` gives them; empty to remove the keyword.

    Returns
    -------
    bytes
        With END and padding if `header` had them.
    """
    out: list[bytes] = []
    place: int | None = None
    closed = follows = False
    for start in range(0, len(header), CARD):
        image = header[start : start + CARD]
        if image.startswith(b"END     ") and image[8:10] != b"= ":
            closed = True
            break
        name = keyword_of(image)
        follows = follows and name == "CONTINUE"
        if follows:
            continue
        if name == keyword and (place is None or keyword in COMMENTARY):
            place = len(out) if place is None else place
            follows = True
        elif name != "CHECKSUM":
            out.append(image)
    out.insert(len(out) if place is None else place, images)
    return close_header(b"".join(out)) if closed else b"".join(out)


def close_header(cards: bytes) -> bytes:
    """Add END and padding.

    Parameters
    ----------
    cards : bytes
        Cards without END.

    Returns
    -------
    bytes
        A multiple of 2880.
    """
    closed = cards + b"END".ljust(CARD)
    return closed.ljust(-(-len(closed) // BLOCK) * BLOCK)
