"""What Level-1b files have besides their images: the tables of the groups' and the integrations' times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["GROUP", "INT_TIMES", "GroupTiming", "asdf_table", "group_table", "int_times_table", "isoformat", "to_mjd"]

GROUP: Final = np.dtype(
    [
        ("integration_number", "i4"),
        ("group_number", "i2"),
        ("end_day", "i2"),
        ("end_milliseconds", "i4"),
        ("end_submilliseconds", "i2"),
        ("group_end_time", "S26"),
        ("number_of_columns", "i2"),
        ("number_of_rows", "i2"),
        ("number_of_gaps", "i2"),
        ("completion_code_number", "i2"),
        ("completion_code_text", "S36"),
        ("bary_end_time", "f8"),
        ("helio_end_time", "f8"),
    ]
)
"""Columns of the table GROUP. Source: ``group.schema`` of the JWST datamodels, and a real file."""

INT_TIMES: Final = np.dtype(
    [("integration_number", "i4")]
    + [(f"int_{when}_{scale}", "f8") for scale in ("MJD_UTC", "BJD_TDB") for when in ("start", "mid", "end")]
)
"""Columns of the table INT_TIMES. Source: ``int_times.schema`` of the JWST datamodels, and a real file."""

_TREE: Final = b"""#ASDF 1.0.0
#ASDF_STANDARD 1.6.0
%YAML 1.1
%TAG ! tag:stsci.edu:asdf/
--- !core/asdf-1.1.0
{}
...
"""
_MJD_EPOCH: Final = datetime(1858, 11, 17, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class GroupTiming:
    """When an exposure's groups were read; integrations follow each other without a gap.

    Attributes
    ----------
    nints, ngroups : int
        Integrations, and groups of each.
    group_time : float
        Seconds from one group to the next.
    start : datetime or None
        Aware; None if it is not known.
    """

    nints: int
    ngroups: int
    group_time: float
    start: datetime | None


def asdf_table() -> NDArray[np.void]:
    """Give the extension ASDF with an empty tree: all that it could hold stands in the headers.

    Returns
    -------
    ndarray, shape (1,)
        One column of bytes, ASDF_METADATA. The JWST pipeline refuses files that have no such extension.
    """
    tree = np.frombuffer(_TREE, np.uint8)
    return np.array([(tree,)], [("ASDF_METADATA", "u1", (len(tree),))])


def group_table(timing: GroupTiming, *, columns: int, rows: int) -> NDArray[np.void]:
    """Give the table of the groups' end times; columns that were not measured are zero.

    Parameters
    ----------
    timing : GroupTiming
        When.
    columns, rows : int
        Of the subarray.

    Returns
    -------
    ndarray of `GROUP`, shape (nints * ngroups,)
        Numbers are 1-based, times UTC; empty where the start is not known.
    """
    table = np.zeros(timing.nints * timing.ngroups, GROUP)
    index = np.arange(len(table))
    table["integration_number"] = index // timing.ngroups + 1
    table["group_number"] = index % timing.ngroups + 1
    table["number_of_columns"] = columns
    table["number_of_rows"] = rows
    if timing.start is not None:
        ends = (timing.start + timedelta(seconds=(int(i) + 1) * timing.group_time) for i in index)
        table["group_end_time"] = [isoformat(end).encode() for end in ends]
    return table


def int_times_table(timing: GroupTiming) -> NDArray[np.void]:
    """Give the table of the integrations' times.

    Parameters
    ----------
    timing : GroupTiming
        When; its start is known.

    Returns
    -------
    ndarray of `INT_TIMES`, shape (nints,)
        Numbers are 1-based; days, MJD in UTC. The barycentric times are zero.
    """
    assert timing.start is not None  # noqa: S101 - without a start there is no such table
    table = np.zeros(timing.nints, INT_TIMES)
    days = timing.ngroups * timing.group_time / 86400
    index = np.arange(timing.nints)
    table["integration_number"] = index + 1
    for when, part in (("start", 0.0), ("mid", 0.5), ("end", 1.0)):
        table[f"int_{when}_MJD_UTC"] = to_mjd(timing.start) + (index + part) * days
    return table


def to_mjd(time: datetime) -> float:
    """Give a time as modified Julian date.

    Parameters
    ----------
    time : datetime
        Aware.

    Returns
    -------
    float
        Days, UTC.
    """
    return (time - _MJD_EPOCH) / timedelta(days=1)


def isoformat(time: datetime) -> str:
    """Write a time as the JWST's headers do.

    Parameters
    ----------
    time : datetime
        UTC.

    Returns
    -------
    str
        To the nearest millisecond, without a zone.
    """
    time += timedelta(microseconds=500)
    return time.replace(tzinfo=None).isoformat(timespec="milliseconds")
