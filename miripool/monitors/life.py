"""The life of one pixel: its rate in each exposure of a monitor, and its states."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import InvalidInput
from ..instruments.detector import Placement
from ..instruments.known import detector_named, pixel_id_at
from ..model.times import time_column
from ..pixels.asked import whole_number
from ..query.queries import check_detector
from .amplifiers import amplifiers_of
from .courses import Course, read_course
from .events import events_of
from .lifeplots import plot_courses
from .maskflags import flags_in
from .views import read_views

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from astropy.table import Table

    from ..model.product import Product
    from .events import Event
    from .views import StratumView

    Record = dict[str, Any]

__all__ = ["PixelLife", "read_life"]

_AMOUNTS: Final = ("amplitude", "error", "significance", "fraction", "dwell")
_EXPOSURE: Final = (
    *("urn", "version", "time", "rate", "error", "integrations", "state", "level", "first", "flags", "stratum"),
)
_EPISODE: Final = ("state", "begin", "end", *_AMOUNTS, "exposures", "stratum")
_RATES: Final = {"rate", "error", "level", "first", "amplitude"}


@dataclass(frozen=True, slots=True, eq=False)
class PixelLife:
    """The life of a pixel, as a monitor knows it. `PixelMonitor.life` gives it.

    Attributes
    ----------
    monitor : str
        Name of the monitor.
    detector : str
        As the keyword has it.
    x, y : int
        Column and row of the FULL array, from 1.
    pixel_id : int
        ``(y - 1) * 1032 + x`` for MIRI.
    courses : tuple of Course
        One for each stratum that the pixel lies in, with the rates as arrays.
    events : tuple of Event
        What happened to the detector, by time.
    flags : mapping of str to int, or None
        By URN: the DQ flags of the pixel that any integration has; None if they were not read.
    ramps : tuple of astropy.table.Table
        Its ramps in chosen exposures, as `Pixel.ramps` gives them.
    """

    monitor: str
    detector: str
    x: int
    y: int
    pixel_id: int
    courses: tuple[Course, ...]
    events: tuple[Event, ...] = ()
    flags: Mapping[str, int] | None = None
    ramps: tuple[Table, ...] = ()

    def __repr__(self) -> str:
        exposures = sum(len(course.times) for course in self.courses)
        return f"<PixelLife of {self.detector} x={self.x}, y={self.y} in monitor {self.monitor}: {exposures} exposures>"

    def records(self) -> list[Record]:
        """List the exposures; the columns are those of `exposures`.

        Returns
        -------
        list of dict
            By stratum and time; times are aware datetimes in UTC, None stands for NaN.
        """
        return [
            {
                "urn": course.urns[i],
                "version": course.versions[i],
                "time": course.times[i],
                "rate": _known(course.rate[i]),
                "error": _known(course.error[i]),
                "integrations": int(course.integrations[i]),
                "state": course.state_at(i),
                "level": _known(course.level[i]),
                "first": _known(course.first[i]),
                "flags": self._flags_in(course.urns[i]),
                "stratum": str(course.stratum),
            }
            for course in self.courses
            for i in range(len(course.times))
        ]

    def _flags_in(self, urn: str) -> list[str] | None:
        return flags_in(self.flags[urn]) if self.flags is not None and urn in self.flags else None

    def exposures(self) -> Table:
        """List the exposures.

        Returns
        -------
        astropy.table.Table
            By stratum and time: ``urn, version, time`` (start, UTC), ``rate, error`` (DN/s, NaN where no integration is
            usable), ``integrations`` (that the rate is made of), ``state`` (empty for none), ``level`` (median rate of
            the neighbours, DN/s), ``first`` (slope of the first integration, DN/s; NaN where there is only one),
            ``flags`` (names of DQ flags joined by ``|``; empty if they were not read) and ``stratum``. Rates are as
            measured: changes that all pixels share are still in them, and in the level.
        """
        return self._table(self.records(), _EXPOSURE)

    def episodes(self) -> Table:
        """List the episodes: which state the pixel was in, from when to when.

        Returns
        -------
        astropy.table.Table
            By stratum and begin: ``state, begin, end`` (UTC; ``end`` is masked while the state lasts), ``amplitude,
            error`` (DN/s), ``significance, fraction, dwell, exposures`` (their number) and ``stratum``; as
            `PixelMonitor.states` explains them.
        """
        rows = [
            {
                "state": episode.state,
                "begin": course.times[episode.begin],
                "end": course.times[episode.end] if episode.end < len(course.times) else None,
                **{name: getattr(episode, name) for name in _AMOUNTS},
                "exposures": episode.end - episode.begin,
                "stratum": str(course.stratum),
            }
            for course in self.courses
            for episode in course.episodes
        ]
        return self._table(rows, _EPISODE)

    def plot(self, path: str | Path, *, title: str | None = None) -> Path:
        """Plot the rate through time, with states, neighbours and, if they were read, DQ flags and ramps.

        Versions have colours of their own if there are several. A file that is there is replaced.

        Parameters
        ----------
        path : path-like
            File for the plot; its name ends in png, pdf, svg, jpg, tif, webp or eps. A file that is there is replaced.
        title : str, keyword-only, optional
            Title of the plot; by default the pixel and the monitor.

        Returns
        -------
        pathlib.Path
            The file.

        Raises
        ------
        InvalidInput
            If matplotlib is not installed, or the name of the file ends otherwise.
        StorageError
            If the file can't be written.
        """
        pixel = f"{self.detector} pixel x={self.x}, y={self.y} (pixel_id {self.pixel_id})"
        title = title or f"{pixel}, monitor {self.monitor}"
        flags = self.flags or {}
        return plot_courses(self.courses, path, title=title, events=self.events, flags=flags, ramps=self.ramps)

    def _table(self, rows: Sequence[Record], names: Sequence[str]) -> Table:
        from astropy.table import Table

        table = Table()
        for name in names:
            values = [row[name] for row in rows]
            if name in {"time", "begin", "end"}:
                table[name] = time_column(values)
            elif name == "flags":
                table[name] = np.array(["|".join(value or ()) for value in values], str)
            elif name in {"urn", "state", "stratum"}:
                table[name] = np.array(values, str)
            else:
                table[name] = np.array([math.nan if value is None else value for value in values])
            if name in _RATES:
                table[name].unit = "DN/s"
        table.meta.update(x=self.x, y=self.y, pixel_id=self.pixel_id, detector=self.detector, monitor=self.monitor)
        return table


def read_life(product: Product, x: int, y: int, *, detector: str | None = None) -> PixelLife:
    """Read the life of a pixel. Only the pixels around it are read of the kept planes.

    Parameters
    ----------
    product : Product
        Of a monitor.
    x, y : int
        Column and row of the FULL array, from 1.
    detector : str, keyword-only, optional
        Name of the detector, in capitals or not; needed only if the monitor follows several.

    Returns
    -------
    PixelLife
        Its life.

    Raises
    ------
    InvalidInput
        If there is no such pixel or detector, or it is a reference pixel; if the monitor does not follow it, or follows
        it on several detectors and none was named; or if the monitor has no exposures.
    """
    x, y, name = whole_number(x, "x"), whole_number(y, "y"), check_detector(detector)
    pixel_id_at(x, y, name)
    views = read_views(product)
    there = {view.stratum.detector for view in views}
    if name is not None and name not in there:
        raise InvalidInput(f"monitor {product.name!r} has no exposures of {name}, only of {', '.join(sorted(there))}")
    mine = [view for view in views if name in {None, view.stratum.detector}]
    found = [view for view in mine if _place(view).covers(x, y)]
    if not found:
        areas = "; ".join(dict.fromkeys(map(_area, mine)))
        raise InvalidInput(f"monitor {product.name!r} does not follow pixel x={x}, y={y}; it follows {areas}")
    names = sorted({view.stratum.detector for view in found})
    if len(names) > 1:
        raise InvalidInput(
            f"monitor {product.name!r} follows pixel x={x}, y={y} of several detectors, {', '.join(names)}; choose one "
            f"with detector={names[0]!r} or --detector {names[0]}"
        )
    record = detector_named(names[0])
    if amplifiers_of(record, x, 1)[0] == 0:
        raise InvalidInput(f"pixel x={x}, y={y} of {names[0]} is a reference pixel: it has no rate and no state")
    number = record.pixel_id(x, y)
    courses = tuple(read_course(view, x, y) for view in found)
    return PixelLife(str(product.name), names[0], x, y, number, courses, tuple(events_of(product)))


def _place(view: StratumView) -> Placement:
    stratum = view.stratum
    return Placement(stratum.x, stratum.y, stratum.columns, stratum.rows)


def _area(view: StratumView) -> str:
    place = _place(view)
    columns, rows = f"{place.x} to {place.x + place.columns - 1}", f"{place.y} to {place.y + place.rows - 1}"
    return f"columns {columns}, rows {rows} of {view.stratum.detector}"


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
