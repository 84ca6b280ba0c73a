"""An exposure's settings, and what they may be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from ..errors import InvalidInput
from .subarrays import FULL_SHAPE, find_subarray

if TYPE_CHECKING:
    from .detector import Detector
    from .subarrays import Subarray

__all__ = ["START", "ExposureSettings", "check_counts", "check_name", "fill_names", "find_place", "to_utc"]

START: Final = datetime(2024, 1, 1, tzinfo=UTC)
"""When the first exposure begins unless another time is given."""

_LARGEST_COUNT = 32767
"""GROUP's group_number is a 16-bit integer."""


@dataclass(frozen=True, slots=True, eq=False)
class ExposureSettings:
    """What a file's header tells of an exposure.

    Attributes
    ----------
    name : str
        Stem of its files, without ``_rateints``.
    detector : Detector
        The part of it that was read.
    subarray, readpatt, exposure_type : str
        As in the keywords SUBARRAY, READPATT and EXP_TYPE.
    start : datetime
        Start of the first integration, UTC.
    group_time : float
        Seconds from one group to the next.
    nints, ngroups : int
        Number of integrations, and of groups per integration.
    """

    name: str
    detector: Detector
    subarray: str
    readpatt: str
    exposure_type: str
    start: datetime
    group_time: float
    nints: int
    ngroups: int


def fill_names(pattern: str, n: int, detector: str) -> tuple[str, ...]:
    """Name the exposures of a campaign.

    Parameters
    ----------
    pattern : str
        With ``{number}``, which stands for 1 to `n`, and ``{detector}``, for the detector in lower case.
    n : int
        Number of exposures.
    detector : str
        Name of the detector.

    Returns
    -------
    tuple of str
        `n` different names.

    Raises
    ------
    InvalidInput
        The pattern has something else in braces, or several exposures would have the same name.
    """
    try:
        names = tuple(pattern.format(number=number, detector=detector.lower()) for number in range(1, n + 1))
    except (KeyError, IndexError, ValueError) as e:
        msg = f"{pattern!r} is not a valid pattern: only {{number}} and {{detector}} may be in braces ({e!r})."
        raise InvalidInput(msg) from None
    if len(set(names)) < len(names):
        msg = f"Several exposures would have the name {names[0]!r}; put {{number}} into the name."
        raise InvalidInput(msg)
    return names


def check_name(name: str) -> None:
    """Refuse a name that files of an exposure can't have.

    Parameters
    ----------
    name : str
        Stem of the files.

    Raises
    ------
    InvalidInput
        It has other characters than letters, digits and ``_.+-``, or ends like a product of the pipeline.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", name, re.ASCII) or re.search(r"_(uncal|ramp|rateints|rate)$", name):
        msg = (
            f"{name!r} is not a valid name for an exposure: use letters, digits and _ . + -, begin with a letter or "
            "digit, and don't end with _uncal, _ramp, _rateints or _rate."
        )
        raise InvalidInput(msg)


def check_counts(*, nints: int, ngroups: int) -> None:
    """Refuse numbers of integrations and groups that a file can't hold.

    Parameters
    ----------
    nints, ngroups : int
        Number of integrations, and of groups per integration.

    Raises
    ------
    InvalidInput
        One of them is below 1 or above 32767.
    """
    for what, number in (("nints", nints), ("ngroups", ngroups)):
        if not 1 <= number <= _LARGEST_COUNT:
            msg = f"{what} is {number}; it must be a number from 1 to {_LARGEST_COUNT}."
            raise InvalidInput(msg)


def to_utc(start: datetime, *, what: str = "start") -> datetime:
    """Give a time in UTC.

    Parameters
    ----------
    start : datetime
        With a time zone.
    what : str
        What the time is, for the message.

    Returns
    -------
    datetime
        The same time, in UTC.

    Raises
    ------
    InvalidInput
        The time has no time zone.
    """
    if start.tzinfo is None:
        msg = f"{what} is {start.isoformat()} without a time zone; give it one, e.g. tzinfo=datetime.UTC."
        raise InvalidInput(msg)
    return start.astimezone(UTC)


def find_place(subarray: str, detector: str) -> Subarray:
    """Find a subarray that a detector can be read in.

    Parameters
    ----------
    subarray, detector : str
        As in the keywords SUBARRAY and DETECTOR.

    Returns
    -------
    Subarray
        Its place in the FULL array, 1-based.

    Raises
    ------
    InvalidInput
        There is no such subarray, or the detector is one of the spectrometer's, which are read FULL only.
    """
    place = find_subarray(subarray)
    if detector != "MIRIMAGE" and place.shape != FULL_SHAPE:
        msg = f"{detector} is read FULL only; {subarray} is a subarray of MIRIMAGE."
        raise InvalidInput(msg)
    return place
