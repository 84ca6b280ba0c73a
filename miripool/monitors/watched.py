"""Strata at a date: what each says of its pixels, which pixels it saw, and how far the date is from its exposures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidInput
from ..instruments.detector import Placement
from ..system.words import counted
from .result import read_kept
from .rows import read_members, read_rows, read_strata

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from ..model.product import Product
    from .result import Kept
    from .strata import Stratum

__all__ = ["WatchedStratum", "choose_strata"]


@dataclass(frozen=True, slots=True, eq=False)
class WatchedStratum:
    """A stratum of a monitor at a date.

    Attributes
    ----------
    number : int
        Of the stratum, from 0.
    stratum : Stratum
        What its exposures have in common.
    times : tuple of datetime
        Starts of its exposures, in order; aware.
    current : int
        The last exposure that had begun at the date, from 0; -1 if none had.
    seen : ndarray of bool, shape (ny, nx)
        Pixels with a rate in that exposure or in one beside it (before the first: in the first).
    states : mapping of str to ndarray of int, shape (n,)
        Pixels in each state at the date, counted row by row from 0 in the stratum's rectangle.
    """

    number: int
    stratum: Stratum
    times: tuple[datetime, ...]
    current: int
    seen: NDArray[np.bool_]
    states: dict[str, NDArray[np.intp]]

    @property
    def place(self) -> Placement:
        """The rectangle of the FULL array that is monitored."""
        return Placement(self.stratum.x, self.stratum.y, self.stratum.columns, self.stratum.rows)

    @property
    def judges(self) -> bool:
        """Whether the monitor knows anything of the date: not before its first exposure."""
        return self.current >= 0

    def doubt(self, at: datetime) -> str | None:
        """Say if the date is not among the exposures.

        Parameters
        ----------
        at : datetime
            The date; aware.

        Returns
        -------
        str or None
            A notice if the date is before the first exposure, or further behind the last one than the exposures are
            from each other.
        """
        first, last = self.times[0], self.times[-1]
        if not self.judges:
            return (
                f"{_shown(at)} is before the first exposure of stratum {self.number} ({_shown(first)}); "
                "the monitor knows no states at that date"
            )
        longest = max((b - a for a, b in zip(self.times, self.times[1:], strict=False)), default=timedelta(0))
        if at - last <= longest:
            return None
        days = (at - last) / timedelta(days=1)
        return (
            f"{_shown(at)} is {days:.3g} days after the last exposure of stratum {self.number} ({_shown(last)}); "
            "the states at that exposure are used"
        )


def _shown(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def choose_strata(product: Product, name: str, numbers: Iterable[int] | None, at: datetime) -> list[WatchedStratum]:
    """Choose strata, and read what they say of a date.

    Parameters
    ----------
    product : Product
        Of the monitor.
    name : str
        Of the monitor, for messages.
    numbers : iterable of int or None
        Of the strata, from 0; the only one unless given.
    at : datetime
        The date; aware.

    Returns
    -------
    list of WatchedStratum
        In the order of their numbers; all of one detector.

    Raises
    ------
    InvalidInput
        If the monitor has no exposures, there is no such stratum, there are several and none was chosen, or those
        chosen are of different detectors.
    """
    strata, members = read_strata(product), read_members(product)
    if not strata:
        raise InvalidInput(f"monitor {name!r} has no exposures yet; update it first")
    wanted = sorted(set(range(len(strata)) if numbers is None else numbers))
    there = "; ".join(f"{i}: {stratum}, {counted(len(members[i]), 'exposure')}" for i, stratum in enumerate(strata))
    if numbers is None and len(strata) > 1:
        raise InvalidInput(
            f"monitor {name!r} has {len(strata)} strata; choose one or more (--stratum 0 or 0,1): {there}"
        )
    if not wanted or not set(wanted) <= set(range(len(strata))):
        unknown = ", ".join(str(n) for n in wanted if n not in range(len(strata))) or "(none given)"
        raise InvalidInput(f"monitor {name!r} has no stratum {unknown}; its strata are {there}")
    detectors = {strata[i].detector for i in wanted}
    if len(detectors) > 1:
        raise InvalidInput(f"a mask covers one detector, not {' and '.join(sorted(detectors))}; choose among {there}")
    kept = read_kept(product)
    return [_watch(product, kept, i, strata[i], members[i], at) for i in wanted]


def _watch(
    product: Product,
    kept: Mapping[int, Kept],
    number: int,
    stratum: Stratum,
    members: Sequence[dict[str, Any]],
    at: datetime,
) -> WatchedStratum:
    times = tuple(row["time"] for row in members)
    current = sum(time <= at for time in times) - 1
    near = range(max(current - 1, 0), min(current + 2, len(members)))
    seen = np.zeros((stratum.rows, stratum.columns), bool)
    for i in near:
        (rate,) = kept[members[i]["serial"]].planes[slice(0, 1), slice(None)]
        seen |= np.isfinite(rate)
    pixels: dict[str, list[int]] = {}
    for row in read_rows(product, "STATES"):
        if row["stratum"] == number and row["begin"] <= current < row["end"]:
            pixel = (row["y"] - stratum.y) * stratum.columns + row["x"] - stratum.x
            pixels.setdefault(row["state"], []).append(pixel)
    states = {state: np.array(found, np.intp) for state, found in pixels.items()}
    return WatchedStratum(number, stratum, times, current, seen, states)
