"""Names that users choose: which can be a pool, a product, a tag; URNs; and how a product is named in one word."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from ..errors import InvalidInput, InvalidName

__all__ = [
    "Spec",
    "Urn",
    "can_name_pool",
    "check_label",
    "check_pool_name",
    "check_product_name",
    "parse_spec",
    "shown",
]

_POOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]*")
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_POOL_LENGTH = 48
_NAME_LENGTH = 200
_LABEL_LENGTH = 100
_CONTROLS = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories of what can't be seen: two names that differ in it alone look the same."""


def check_pool_name(name: str) -> str:
    """Accept a pool's name, which is a folder's name and part of each URN.

    Parameters
    ----------
    name : str
        E.g. ``jpl8``.

    Returns
    -------
    str
        The name.

    Raises
    ------
    InvalidName
        If it is not 1 to 48 letters (ASCII), digits, blanks, ``.``, ``_`` and ``-``, beginning with a letter or digit,
        without ``..`` and without a blank or dot at the end.
    """
    if not can_name_pool(name):
        raise InvalidName(
            f"{shown(name)} can't name a pool: use 1 to {_POOL_LENGTH} letters, digits, blanks, '.', '_' and '-', "
            "beginning with a letter or digit, no '..', no blank or dot at the end"
        )
    return name


def can_name_pool(name: str) -> bool:
    """Tell whether `check_pool_name` accepts a name.

    Parameters
    ----------
    name : str
        Whatever was found.

    Returns
    -------
    bool
        True if so.
    """
    return bool(_POOL.fullmatch(name)) and len(name) <= _POOL_LENGTH and ".." not in name and name[-1] not in " ."


def check_product_name(name: str) -> str:
    r"""Accept a product's name.

    Parameters
    ----------
    name : str
        What stays the same across versions, e.g. ``jw01033005001_03103_00001_mirimage``.

    Returns
    -------
    str
        The name.

    Raises
    ------
    InvalidName
        If it is empty, longer than 200 characters, holds ``/``, ``\``, ``@``, control characters or others that can't
        be seen, begins or ends with a blank, or looks like a URN.
    """
    return _check(name, "product", _NAME_LENGTH, "/\\@")


def check_label(label: str) -> str:
    r"""Accept a tag.

    Parameters
    ----------
    label : str
        E.g. ``using cal v1``.

    Returns
    -------
    str
        The label.

    Raises
    ------
    InvalidName
        If it is empty, longer than 100 characters, all digits (that is a version), holds ``/``, ``\``, ``@``, control
        characters or others that can't be seen, begins or ends with a blank, or looks like a URN.
    """
    if label.isdigit():
        raise InvalidName(f"{shown(label)} can't be a tag: digits alone mean a version number")
    return _check(label, "tag", _LABEL_LENGTH, "/\\@")


def _check(name: str, what: str, longest: int, forbidden: str) -> str:
    reason = None
    if not name or name != name.strip():
        reason = "it is empty, or begins or ends with a blank"
    elif len(name) > longest:
        reason = f"it has {len(name)} characters, and {longest} are allowed"
    elif any(c in forbidden for c in name):
        reason = "it holds one of " + " ".join(forbidden)
    elif any(unicodedata.category(c) in _CONTROLS for c in name):
        reason = "it holds a line break or another character that can't be seen"
    elif name.lower().startswith("urn:"):
        reason = "it looks like a URN"
    elif set(name) == {"."}:
        reason = "it is made of dots only"
    if reason:
        raise InvalidName(f"{shown(name)} can't name a {what}: {reason}")
    return name


def shown(name: str) -> str:
    """Quote a name for a message, cut where it is too long for one.

    Parameters
    ----------
    name : str
        Whatever was given.

    Returns
    -------
    str
        As Python writes it.
    """
    return repr(name if len(name) <= 60 else name[:57] + "...")


@dataclass(frozen=True, slots=True, order=True)
class Urn:
    """The name of one version, for ever.

    Attributes
    ----------
    pool : str
        Name of the pool.
    kind : str
        Kind of the product.
    serial : int
        Number of the version in its pool, never used twice.
    """

    pool: str
    kind: str
    serial: int

    def __str__(self) -> str:
        return f"urn:{self.pool}:{self.kind}:{self.serial}"

    @classmethod
    def parse(cls, text: str) -> Urn:
        """Read a URN.

        Parameters
        ----------
        text : str
            ``urn:<pool>:<Kind>:<serial>``.

        Returns
        -------
        Urn
            Its parts.

        Raises
        ------
        InvalidInput
            If it has another form.
        """
        parts = text.split(":")
        if len(parts) != 4 or parts[0].lower() != "urn" or not parts[3].isascii() or not parts[3].isdigit():
            raise InvalidInput(f"{shown(text)} is not a URN; they look like urn:jpl8:RateInts:17")
        if not can_name_pool(parts[1]) or not _KIND.fullmatch(parts[2]):
            raise InvalidInput(f"{shown(text)} is not a URN: no pool or no kind has that name")
        if len(parts[3]) > 18:
            raise InvalidInput(f"{shown(text)} is not a URN: its number is too large")
        return cls(parts[1], parts[2], int(parts[3]))


@dataclass(frozen=True, slots=True)
class Spec:
    """How a user names a version: by URN, or by track and version or tag.

    Attributes
    ----------
    urn : Urn or None
        If it is one; all else is None then.
    kind, name : str or None
        The track; `kind` None where only the name was given.
    version : int or None
        ``@2``.
    label : str or None
        ``@using cal v1``.
    """

    urn: Urn | None = None
    kind: str | None = None
    name: str | None = None
    version: int | None = None
    label: str | None = None


def parse_spec(text: str) -> Spec:
    """Read a URN, ``Kind/name``, ``Kind/name@version``, ``Kind/name@tag``, or the same without the kind.

    Parameters
    ----------
    text : str
        What the user wrote.

    Returns
    -------
    Spec
        Its parts; nothing is looked up.

    Raises
    ------
    InvalidInput
        If it is none of these.
    """
    if text.lower().startswith("urn:"):
        return Spec(urn=Urn.parse(text))
    track, at, which = text.partition("@")
    kind, slash, name = track.rpartition("/")
    if not name or (at and not which) or (slash and not kind) or "/" in kind:
        raise InvalidInput(
            f"{shown(text)} does not name a product; write a URN, Kind/name, Kind/name@version, Kind/name@tag or a name"
        )
    version = int(which) if which.isascii() and which.isdigit() and len(which) <= 9 else None
    return Spec(kind=kind or None, name=name, version=version, label=which if at and version is None else None)
