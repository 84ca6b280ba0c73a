"""Views of a monitor's product: the exposures of each stratum, and what was kept of them."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InvalidInput
from .blocks import rate_of
from .exposures import summary_of
from .rows import read_members, read_rows
from .strata import Stratum

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..model.product import Product

    Matrix = NDArray[np.float64]

__all__ = ["StratumView", "choose_view", "read_views"]


@dataclass(frozen=True, slots=True, eq=False)
class StratumView:
    """A stratum of a monitor.

    Attributes
    ----------
    product : Product
        Of the monitor.
    number : int
        Of the stratum, from 0.
    stratum : Stratum
        What its exposures have in common.
    first : bool
        Whether the first integration counts like the others.
    urns : tuple of str
        Of the exposures, in the order of time.
    times : tuple of datetime
        Their starts, UTC.
    versions : tuple of int
        Their numbers in their tracks.
    offset : int
        Of its first exposure among those of all strata.
    parts : tuple of (str, int)
        Dataset that holds the planes of each exposure, and their number there.
    """

    product: Product
    number: int
    stratum: Stratum
    first: bool
    urns: tuple[str, ...]
    times: tuple[datetime, ...]
    versions: tuple[int, ...]
    offset: int
    parts: tuple[tuple[str, int], ...]

    def index_at(self, at: datetime | None) -> int:
        """Give the exposure that was the last one at a time.

        Parameters
        ----------
        at : datetime or None
            Aware; None for the last exposure of all.

        Returns
        -------
        int
            From 0.

        Raises
        ------
        InvalidInput
            If the first exposure began later.
        """
        if at is None:
            return len(self.times) - 1
        found = bisect_right(self.times, at) - 1
        if found < 0:
            raise InvalidInput(
                f"no exposure of stratum {self.number} ({self.stratum}) had begun at "
                f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S} UTC; the first one began at {self.times[0]:%Y-%m-%dT%H:%M:%S}"
            )
        return found

    def episodes(self) -> NDArray[np.void]:
        """Read the episodes of its pixels: rows of the table STATES."""
        table = np.asarray(self.product["STATES"][...])
        return np.asarray(table[table["stratum"] == self.number])

    def episodes_at(self, index: int) -> NDArray[np.void]:
        """Read the episodes that had begun and not ended at an exposure, from 0."""
        rows = self.episodes()
        return np.asarray(rows[(rows["begin"] <= index) & (index < rows["end"])])

    def population(self) -> NDArray[np.void]:
        """Read the counts of its pixels: rows of the table POPULATION."""
        table = np.asarray(self.product["POPULATION"][...])
        return np.asarray(table[table["stratum"] == self.number])

    def trends(self, name: str, amplifier: int) -> Matrix:
        """Read a statistic of an amplifier. The first integration is left out unless it counts like the others.

        Parameters
        ----------
        name : {'median', 'sigma', 'noise'}
            See `TREND`.
        amplifier : int
            From 1.

        Returns
        -------
        ndarray of float64, shape (nints, n)
            By integration and exposure, DN/s; NaN where there is none.
        """
        table = np.asarray(self.product["TRENDS"][...])
        place = table["exposure"].astype(np.intp) - self.offset
        mine = table[(table["amplifier"] == amplifier) & (place >= 0) & (place < len(self.times))]
        found = np.full((max(mine["integration"].max(initial=1), 1), len(self.times)), np.nan)
        found[mine["integration"] - 1, mine["exposure"] - self.offset] = mine[name]
        return found if self.first or len(found) == 1 else found[1:]

    def planes(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        """Read some pixels of the planes of all exposures.

        Parameters
        ----------
        rows, columns : slice
            In the monitored part, from 0.

        Returns
        -------
        ndarray of float32, shape (n, 5, ny, nx)
            By exposure and `PLANES`.
        """
        names = dict.fromkeys(name for name, _ in self.parts)
        read = {name: np.asarray(self.product[name][:, :, rows, columns]) for name in names}
        return np.stack([read[name][number] for name, number in self.parts])

    def rates_at(self, index: int) -> Matrix:
        """Read the rates of all pixels in an exposure.

        Parameters
        ----------
        index : int
            Of the exposure, from 0.

        Returns
        -------
        ndarray of float64, shape (ny, nx)
            DN/s; NaN where a pixel has no usable integration.
        """
        name, number = self.parts[index]
        summary = summary_of(np.asarray(self.product[name][number]))
        return rate_of(summary, first=self.first)[0]


def read_views(product: Product) -> list[StratumView]:
    """Read the strata of a monitor.

    Parameters
    ----------
    product : Product
        Of the monitor.

    Returns
    -------
    list of StratumView
        In their order.

    Raises
    ------
    InvalidInput
        If the monitor has no exposures.
    """
    strata, members = read_rows(product, "STRATA"), read_members(product)
    if not strata:
        remedy = "`miripool monitor update` or monitor.update() takes them in"
        raise InvalidInput(f"monitor {product.name!r} has no exposures; {remedy}")
    return [
        StratumView(
            product,
            number,
            Stratum.of_row(row),
            bool(row["first"]),
            tuple(member["urn"] for member in exposures),
            tuple(member["time"] for member in exposures),
            tuple(member["version"] for member in exposures),
            exposures[0]["place"],
            tuple((member["part"], member["number"]) for member in exposures),
        )
        for number, (row, exposures) in enumerate(zip(strata, members, strict=True))
    ]


def choose_view(views: list[StratumView], number: int | None) -> StratumView:
    """Choose a stratum.

    Parameters
    ----------
    views : list of StratumView
        All there are, one or more.
    number : int or None
        From 0; None for the stratum with the most exposures, the first of them if several have as many.

    Returns
    -------
    StratumView
        It.

    Raises
    ------
    InvalidInput
        If there is no such stratum; the message lists those there are.
    """
    if number is None:
        return max(views, key=lambda view: len(view.times))
    if not 0 <= number < len(views):
        there = "; ".join(f"{view.number}: {view.stratum}" for view in views)
        raise InvalidInput(f"there is no stratum {number}; the strata are {there}")
    return views[number]
