"""Ground tests' files as Level-1b products: what all test benches have in common.

`jpl` and `otis` read what a bench's header says; here it becomes the HDUs of a Level-1b file that the JWST pipeline
takes. The original file stays exportable: its header and what is in no dataset are kept beside them. What a header does
not say is left out, not invented.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FormatError
from ..instruments.known import detector_named
from ..instruments.miri import IMAGER, subarray_at
from ..model.cards import parse_header
from ..model.kinds import Raw
from ..model.product import Layout, Original
from .build import layout_of
from .frames import ReferenceSource, RestSource, ScienceSource
from .level1b import GroupTiming, asdf_table, group_table, int_times_table, to_mjd

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..instruments.detector import Placement
    from ..model.cards import Value
    from ..model.dataset import ArraySource

__all__ = ["Bench", "GroundHeader", "Setup", "ground_values", "to_level1b"]

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIME = re.compile(r"\d{2}:\d{2}:\d{2}(?:\.\d+)?")


class GroundHeader:
    """The cards of a ground test's file.

    Parameters
    ----------
    values : mapping
        By keyword, the first of each.
    bench : str
        Who wrote it, for messages.
    """

    def __init__(self, values: Mapping[str, Value], bench: str) -> None:
        self.values = values
        self.bench = bench

    def integer(self, key: str, *, least: int = 1) -> int:
        """Read a whole number that has to be there.

        Parameters
        ----------
        key : str
            Keyword.
        least : int, keyword-only
            What it must reach.

        Returns
        -------
        int
            The number.

        Raises
        ------
        FormatError
            If it is not there or no such number.
        """
        value = self.values.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value) or value < least:
            raise FormatError(f"this {self.bench} file has {key} = {value!r}; it needs a whole number from {least} on")
        return int(value)

    def number(self, key: str) -> float | None:
        """Read a number.

        Parameters
        ----------
        key : str
            Keyword.

        Returns
        -------
        float or None
            None where there is none above zero.
        """
        value = self.values.get(key)
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0 else None

    def text(self, key: str) -> str | None:
        """Read a card as text.

        Parameters
        ----------
        key : str
            Keyword.

        Returns
        -------
        str or None
            None where it is empty or not there.
        """
        value = self.values.get(key)
        return str(value).strip() or None if value is not None and not isinstance(value, bool) else None

    def time(self, *pairs: tuple[str, str]) -> datetime | None:
        """Read a date and a time of day.

        Parameters
        ----------
        *pairs : (str, str)
            Keywords of date and time; the first that is there counts.

        Returns
        -------
        datetime or None
            Aware, UTC. None where there is no such date, as for fillers like ``yyyy-mm-dd``.
        """
        for date_key, time_key in pairs:
            date, clock = self.text(date_key) or "", self.text(time_key) or ""
            date, _, inside = date.partition("T")
            if _DATE.fullmatch(date) and _TIME.fullmatch(inside or clock):
                try:
                    return datetime.fromisoformat(f"{date}T{inside or clock}").replace(tzinfo=UTC)
                except ValueError:
                    continue
        return None


@dataclass(frozen=True, slots=True)
class Setup:
    """What the header of a ground test's file says, in the words of JWST.

    Attributes
    ----------
    nints, ngroups : int
        As commanded.
    rows : int
        Rows of the detector in each frame.
    x, y : int
        Column and row of the first pixel, in the FULL array.
    detector : str or None
        DETECTOR; None where it is not known.
    readpatt : str or None
        READPATT.
    group_time : float or None
        Seconds.
    start : datetime or None
        Of the exposure.
    cards : dict
        More, by keyword or datamodel path.
    """

    nints: int
    ngroups: int
    rows: int
    x: int
    y: int
    detector: str | None
    readpatt: str | None
    group_time: float | None
    start: datetime | None
    cards: Mapping[str, Value] = field(default_factory=dict)


class Bench:
    """A test bench: how its files are known, and what their headers mean."""

    name: str

    def wrote(self, values: Mapping[str, Value]) -> bool:
        """Tell whether a header is this bench's.

        Parameters
        ----------
        values : mapping
            Cards by keyword.

        Returns
        -------
        bool
            True if so.
        """
        raise NotImplementedError

    def read(self, header: GroundHeader, shape: tuple[int, ...]) -> Setup:
        """Read a header.

        Parameters
        ----------
        header : GroundHeader
            The cards.
        shape : tuple of int
            Frames, rows, columns of the image.

        Returns
        -------
        Setup
            What it says.

        Raises
        ------
        FormatError
            If it says something impossible.
        """
        raise NotImplementedError


def ground_values(layout: Layout) -> Mapping[str, Value] | None:
    """Give the cards of what may be a ground test's file.

    Parameters
    ----------
    layout : Layout
        Of any file.

    Returns
    -------
    mapping or None
        By keyword, the first of each; None if the file is anything but one image of 16-bit frames.
    """
    (first, *others) = layout.hdus
    if others or first.encoding != "image" or first.data is None or first.raw is not None:
        return None
    if first.data.dtype != np.uint16 or len(first.data.shape) != 3 or first.scale is not None:
        return None
    return {card.keyword: card.value for card in reversed(parse_header(first.header))}


def to_level1b(layout: Layout, bench: Bench, values: Mapping[str, Value], *, truncate: bool = False) -> Layout:
    """Make the Level-1b file that a ground test's file means.

    Parameters
    ----------
    layout : Layout
        The file.
    bench : Bench
        Who wrote it.
    values : mapping
        From `ground_values`.
    truncate : bool, keyword-only
        Keep whole integrations where frames are missing or too many.

    Returns
    -------
    Layout
        Its HDUs are PRIMARY, SCI (nints, ngroups, rows, columns), REFOUT (nints, ngroups, rows, columns / 4), GROUP,
        INT_TIMES where the start is known, and an empty ASDF; its origin is the file.

    Raises
    ------
    FormatError
        If header and image contradict each other; the message gives the numbers.
    """
    hdu = layout.hdus[0]
    frames = hdu.data
    assert frames is not None  # noqa: S101 - ground_values looked
    name = layout.origin.filename if layout.origin is not None else "the file"
    try:
        setup = bench.read(GroundHeader(values, bench.name), frames.shape)
        nints = _count_integrations(setup, frames.shape[0], truncate=truncate)
        place = _place(setup, frames.shape)
    except FormatError as error:
        raise FormatError(f"{name}: {error}") from None
    kept = nints * setup.ngroups
    datasets: dict[str, Any] = {
        "SCI": ScienceSource(frames, nints, setup.ngroups, setup.rows),
        "REFOUT": ReferenceSource(frames, nints, setup.ngroups, setup.rows),
        **_tables(setup, nints, place),
        "ASDF": asdf_table(),
    }
    made = layout_of(Raw(_cards(setup, nints, place, values), _as_datasets(datasets)))
    rest: ArraySource | None = RestSource(frames, kept) if kept < frames.shape[0] else None
    return Layout(made.hdus, layout.trailer, layout.origin, Original(hdu.header, rest, hdu.tail))


def _as_datasets(sources: Mapping[str, Any]) -> dict[str, Any]:
    from ..model.dataset import Dataset

    return {name: s if isinstance(s, np.ndarray) else Dataset(name, s) for name, s in sources.items()}


def _count_integrations(setup: Setup, frames: int, *, truncate: bool) -> int:
    expected = setup.nints * setup.ngroups
    if frames == expected:
        return setup.nints
    whole = min(setup.nints, frames // setup.ngroups)
    contradiction = (
        f"its header says {setup.nints} integrations of {setup.ngroups} groups, {expected} frames, "
        f"but its image has {frames}"
    )
    if not whole:
        raise FormatError(f"{contradiction}, less than one integration")
    if not truncate:
        raise FormatError(f"{contradiction}; --truncate (truncate=True) keeps the {whole} whole integrations")
    return whole


def _place(setup: Setup, shape: tuple[int, ...]) -> Placement:
    columns = shape[2]
    if columns % 4 or (shape[1] - setup.rows) * columns != setup.rows * (columns // 4):
        raise FormatError(
            f"its frames have {shape[1]} rows of {columns} columns, {setup.rows} of them for the detector: the "
            f"others can't be reference output, which has one value for four pixels"
        )
    values = {"SUBSTRT1": setup.x, "SUBSTRT2": setup.y, "SUBSIZE1": columns, "SUBSIZE2": setup.rows}
    return detector_named(setup.detector).place(Raw(values).meta)


def _tables(setup: Setup, nints: int, place: Placement) -> dict[str, Any]:
    if setup.group_time is None:
        return {}
    timing = GroupTiming(nints, setup.ngroups, setup.group_time, setup.start)
    tables = {"GROUP": group_table(timing, columns=place.columns, rows=place.rows)}
    return tables if setup.start is None else {**tables, "INT_TIMES": int_times_table(timing)}


def _cards(setup: Setup, nints: int, place: Placement, values: Mapping[str, Value]) -> dict[str, Value]:
    """Give the cards of the primary header, in the order of Level-1b files; unknown ones are left out."""
    start = setup.start
    cards: dict[str, Value] = {
        "DATE": GroundHeader(values, "").text("DATE"),
        "ORIGIN": setup.cards.get("ORIGIN"),
        "FILENAME": GroundHeader(values, "").text("FILENAME"),
        "DATAMODL": "Level1bModel",
        "TELESCOP": "JWST",
    }
    if start is not None:
        cards |= {"DATE-OBS": start.date().isoformat(), "TIME-OBS": start.time().isoformat()}
    cards |= {key: setup.cards.get(key) for key in ("OBS_ID", "EXPOSURE")}
    imager = setup.detector == IMAGER.name
    cards |= {
        "INSTRUME": IMAGER.instrument,
        "DETECTOR": setup.detector,
        "FILTER": "OPAQUE" if imager else None,
        "LAMP": "OFF",
        "EXP_TYPE": "MIR_DARKIMG" if imager else "MIR_DARKMRS" if setup.detector else None,
    }
    cards |= _time_cards(setup, nints)
    cards |= {
        "SUBARRAY": subarray_at(place),
        "SUBSTRT1": place.x,
        "SUBSTRT2": place.y,
        "SUBSIZE1": place.columns,
        "SUBSIZE2": place.rows,
        "FASTAXIS": 1,
        "SLOWAXIS": 2,
    }
    cards |= {key: value for key, value in setup.cards.items() if key not in cards}
    return {key: value for key, value in cards.items() if value is not None}


def _time_cards(setup: Setup, nints: int) -> dict[str, Value]:
    slow = (setup.readpatt or "").startswith("SLOW")
    cards: dict[str, Value] = {}
    integration = None if setup.group_time is None else setup.ngroups * setup.group_time
    if setup.start is not None and integration is not None:
        for key, part in (("EXPSTART", 0.0), ("EXPMID", 0.5), ("EXPEND", 1.0)):
            cards[key] = to_mjd(setup.start + timedelta(seconds=part * nints * integration))
    cards |= {
        "READPATT": setup.readpatt,
        "NINTS": nints,
        "INTSTART": 1,
        "INTEND": nints,
        "NGROUPS": setup.ngroups,
        "NFRAMES": setup.cards.get("NFRAMES", 1),
        "GROUPGAP": setup.cards.get("GROUPGAP", 0),
        "NSAMPLES": setup.cards.get("NSAMPLES", 9 if slow else 1),
        "TSAMPLE": setup.cards.get("TSAMPLE"),
        "TFRAME": setup.group_time,
        "TGROUP": setup.group_time,
        "EFFINTTM": integration,
        "EFFEXPTM": None if integration is None else nints * integration,
        "DURATION": None if integration is None else nints * integration,
        "NRSTSTRT": setup.cards.get("NRSTSTRT", 0),
        "NRESETS": setup.cards.get("NRESETS", 1),
    }
    return cards
