"""Masks for a date: the flags of all pixels, from the states of a monitor and the flags of an older mask."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import InvalidInput
from ..formats import read_fits, write_fits
from ..instruments.detector import Placement
from ..instruments.known import detector_named
from ..instruments.miri import SUBARRAYS, subarray_at
from ..model.times import refuse_naive
from ..query.pixelwhere import FLAGS
from .definition import RULES
from .maskbase import bare_base, open_base
from .maskfile import MaskHeader, mask_bytes
from .maskflags import DO_NOT_USE, bits_of, flags_in, judged_bits
from .states import STATES
from .watched import choose_strata

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ..instruments.detector import DetectorRecord
    from ..model.product import Product
    from ..pool.core import Core
    from ..pool.reference import ProductRef
    from .maskbase import Base
    from .maskflags import Flagging
    from .watched import WatchedStratum

    Flags = NDArray[np.uint32]

__all__ = ["CHANGE", "DatedMask", "MaskOrigin", "make_mask"]

CHANGE: Final = np.dtype([("x", "i4"), ("y", "i4"), ("before", "u4"), ("after", "u4")])
"""A pixel whose usability differs from the base: column and row of the FULL array, from 1, and its flags."""


@dataclass(frozen=True, slots=True)
class MaskOrigin:
    """What a mask was made from.

    Attributes
    ----------
    monitor, name : str
        URN of the monitor's version, and its name.
    strata : tuple of str
        Number and description of each stratum.
    base : str or None
        The older mask: a URN or the name of a file.
    inputs : tuple of str
        URNs of what is in the pool.
    flags : mapping of str to Flagging
        What each state sets.
    exposures : tuple of datetime
        Start of the first and the last exposure; aware.
    made : datetime
        When the mask was made; aware.
    """

    monitor: str
    name: str
    strata: tuple[str, ...]
    base: str | None
    inputs: tuple[str, ...]
    flags: Mapping[str, Flagging]
    exposures: tuple[datetime, datetime]
    made: datetime

    def flags_text(self) -> dict[str, str]:
        """Give the flags that each state sets, e.g. ``HOT + DO_NOT_USE``."""
        return {
            state: " + ".join(filter(None, (found.flag, "DO_NOT_USE" if found.do_not_use else None))) or "no flag"
            for state, found in self.flags.items()
        }


@dataclass(frozen=True, slots=True, eq=False)
class DatedMask:
    """The flags of all pixels at a date. `PixelMonitor.mask` makes one.

    Attributes
    ----------
    detector : DetectorRecord
        The detector.
    place : Placement
        Of the array in the FULL array, from 1.
    at : datetime
        The date; UTC.
    dq : ndarray of uint32, shape (ny, nx)
        JWST's data-quality flags.
    born, healed : ndarray of `CHANGE`, shape (n,)
        Pixels that are DO_NOT_USE and were not in the base, and the other way round. Without a base, reference pixels
        and pixels without any rate count as flagged before.
    states : dict of str to int
        Pixels in each state at the date, in the order of `STATES`; those whose state leaves no mark too.
    notices : tuple of str
        What a user should know, e.g. that the date is before the first exposure.
    origin : MaskOrigin
        What it was made from.
    """

    detector: DetectorRecord
    place: Placement
    at: datetime
    dq: Flags
    born: NDArray[np.void]
    healed: NDArray[np.void]
    states: dict[str, int]
    notices: tuple[str, ...]
    origin: MaskOrigin

    def __repr__(self) -> str:
        bad = int(np.count_nonzero(self.dq & DO_NOT_USE))
        return (
            f"<DatedMask {self.detector.name} {self.place.columns} x {self.place.rows} at {self.at:%Y-%m-%dT%H:%M:%S}: "
            f"{bad} pixels DO_NOT_USE, {len(self.born)} born, {len(self.healed)} healed>"
        )

    @property
    def name(self) -> str:
        """The name under which it is saved: ``<monitor>_mask_<date>``, with the time unless it is midnight."""
        clock = f"{self.at:T%H%M%S}" if self.at.time() != datetime.min.time() else ""
        return f"{self.origin.name}_mask_{self.at:%Y-%m-%d}{clock}"

    @property
    def counts(self) -> dict[str, int]:
        """Pixels with each flag; flags that no pixel has are left out."""
        used = flags_in(int(np.bitwise_or.reduce(self.dq, axis=None)))
        bits = {name: flag for name, flag in self.definitions.items() if name in used}
        return {name: int(np.count_nonzero(self.dq & np.uint32(flag))) for name, flag in bits.items()}

    @property
    def definitions(self) -> dict[str, int]:
        """Flags by name, as the table DQ_DEF of the file has them: those that states set, and those of the base."""
        mine = 0
        for flagging in self.origin.flags.values():
            for light in ("dark", *flagging.in_light):
                mine |= bits_of(flagging, light)
        return {name: FLAGS[name] for name in flags_in(mine | int(np.bitwise_or.reduce(self.dq, axis=None)))}

    def to_bytes(self, *, author: str = "miripool") -> bytes:
        """Give the MASK reference file: DQ, DQ_DEF, and the header that the pipeline and CRDS read.

        Parameters
        ----------
        author : str, keyword-only
            For the keyword AUTHOR.

        Returns
        -------
        bytes
            The same for every call.
        """
        origin = self.origin
        history = [
            f"Made by miripool {version_of('miripool')} (monitor mask, rules {RULES})",
            f"from {origin.monitor}",
            *(f"stratum {stratum}" for stratum in origin.strata),
            f"base: {origin.base or 'none'}",
            *(f"{state}: {text}" for state, text in origin.flags_text().items()),
        ]
        header = MaskHeader(
            self.detector,
            self.place,
            self.at,
            origin.made,
            origin.exposures,
            f"Bad pixels at {self.at:%Y-%m-%dT%H:%M:%S}, from a monitor",
            author,
            tuple(history),
        )
        return mask_bytes(header, self.dq, self.definitions)

    def write(self, path: Path | str, *, overwrite: bool = False, author: str = "miripool") -> Path:
        """Write the MASK reference file. It appears under its name when it is complete, or not at all.

        Parameters
        ----------
        path : path
            Name of the file; one that ends in ``.gz`` is compressed.
        overwrite : bool, keyword-only
            Replace a file of that name.
        author : str, keyword-only
            For the keyword AUTHOR.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        AlreadyExists
            If there is a file of that name.
        FileMissing, StorageError, DiskFull
            If the folder is not there or can't be written.
        """
        return write_fits(read_fits(self.to_bytes(author=author)), path, overwrite=overwrite)

    def history(self) -> dict[str, Any]:
        """Give the entry of the history of the version that it is saved as."""
        origin = self.origin
        parameters = {
            "at": self.at.isoformat(),
            "strata": list(origin.strata),
            "base": origin.base,
            "flags": origin.flags_text(),
        }
        return {
            "tool": "miripool monitor mask",
            "version": RULES,
            "parameters": parameters,
            "inputs": list(origin.inputs),
        }


def make_mask(
    core: Core,
    ref: ProductRef,
    at: datetime,
    flags: Mapping[str, Flagging],
    *,
    base: Path | str | Product | ProductRef | None = None,
    strata: Iterable[int] | None = None,
) -> DatedMask:
    """Make a mask.

    Parameters
    ----------
    core : Core
        The pool.
    ref : ProductRef
        The monitor's version.
    at : datetime
        The date; aware.
    flags : mapping of str to Flagging
        What each state sets.
    base : path, str, Product or ProductRef, keyword-only, optional
        As for `PixelMonitor.mask`.
    strata : iterable of int, keyword-only, optional
        As for `PixelMonitor.mask`.

    Returns
    -------
    DatedMask
        Its flags, and how it differs from the base.

    Raises
    ------
    InvalidInput
        If the date has no time zone, the strata can't be chosen, or the base does not fit.
    """
    refuse_naive(at)
    at = at.astimezone(UTC)
    chosen = choose_strata(ref.product, ref.name, strata, at)
    detector = detector_named(chosen[0].stratum.detector)
    below = _bare(detector, chosen) if base is None else open_base(core, base, detector)
    dq = _flagged(below, chosen, flags)
    doubts = [doubt for doubt in (one.doubt(at) for one in chosen) if doubt is not None]
    origin = MaskOrigin(
        str(ref.urn),
        ref.name,
        tuple(f"{one.number}: {one.stratum}" for one in chosen),
        below.label,
        (str(ref.urn), *((below.urn,) if below.urn else ())),
        dict(flags),
        (min(one.times[0] for one in chosen), max(one.times[-1] for one in chosen)),
        datetime.now(UTC),
    )
    bad, was = dq & DO_NOT_USE != 0, below.dq & DO_NOT_USE != 0
    born, healed = (_changes(which, below, dq) for which in (bad & ~was, was & ~bad))
    states = _counts(below.place, chosen)
    return DatedMask(detector, below.place, at, dq, born, healed, states, (*doubts, *below.notices), origin)


def _bare(detector: DetectorRecord, chosen: Sequence[WatchedStratum]) -> Base:
    """Make a base that covers the subarray of the exposures; of several, the largest."""
    place = max((_cover(one) for one in chosen), key=lambda p: p.columns * p.rows)
    seen, watched = (np.zeros((place.rows, place.columns), bool) for _ in range(2))
    for one in chosen:
        window = _window(one.place, place, "the largest stratum")
        seen[window] |= one.seen
        watched[window] = True
    return bare_base(detector, place, watched & ~seen)


def _cover(watched: WatchedStratum) -> Placement:
    """Give the subarray that a stratum's exposures have, or only what is monitored where it has no known place."""
    place, name = watched.place, watched.stratum.subarray
    known = SUBARRAYS.get(name)
    return place if known is None or subarray_at(place) == name or not _holds(known, place) else known


def _holds(outer: Placement, inner: Placement) -> bool:
    last = inner.x + inner.columns - 1, inner.y + inner.rows - 1
    return outer.covers(inner.x, inner.y) and outer.covers(*last)


def _window(inner: Placement, outer: Placement, label: str) -> tuple[slice, slice]:
    """Give rows and columns of a rectangle in the array of another one."""
    if not _holds(outer, inner):
        ours, theirs = (
            f"columns {p.x} to {p.x + p.columns - 1}, rows {p.y} to {p.y + p.rows - 1}" for p in (inner, outer)
        )
        raise InvalidInput(
            f"the monitor's pixels ({ours}) are not all in those of {label} ({theirs}); give a base that covers them"
        )
    row, column = inner.y - outer.y, inner.x - outer.x
    return slice(row, row + inner.rows), slice(column, column + inner.columns)


def _flagged(base: Base, chosen: Sequence[WatchedStratum], flags: Mapping[str, Flagging]) -> Flags:
    """Take away the flags of the base that the strata deny, and add those that they find.

    DO_NOT_USE goes with the last flag that was denied: it stays beside any other flag, or where it stands alone.
    """
    denied, found = np.zeros_like(base.dq), np.zeros_like(base.dq)
    for one in chosen:
        window = _window(one.place, base.place, f"the base {base.label}")
        if one.judges:
            denied[window][one.seen] |= np.uint32(judged_bits(flags, one.stratum.light))
        for state, pixels in one.states.items():
            bits = np.zeros((one.place.rows, one.place.columns), np.uint32)
            bits.flat[pixels] = bits_of(flags[state], one.stratum.light)
            found[window] |= bits
    left = base.dq & ~denied
    free = (base.dq & denied != 0) & (left & ~np.uint32(DO_NOT_USE) == 0)
    left[free] = 0
    return np.asarray(left | found, np.uint32)


def _changes(which: NDArray[np.bool_], base: Base, dq: Flags) -> NDArray[np.void]:
    rows, columns = np.nonzero(which)
    table = np.zeros(len(rows), CHANGE)
    table["x"], table["y"] = columns + base.place.x, rows + base.place.y
    table["before"], table["after"] = base.dq[which], dq[which]
    return table


def _counts(place: Placement, chosen: Sequence[WatchedStratum]) -> dict[str, int]:
    """Count the pixels in each state; one that is in it in two strata counts once."""
    found = {}
    for state in STATES:
        there = np.zeros((place.rows, place.columns), bool)
        for one in chosen:
            mine = np.zeros((one.place.rows, one.place.columns), bool)
            mine.flat[one.states.get(state, np.zeros(0, np.intp))] = True
            there[_window(one.place, place, "the mask")] |= mine
        if there.any():
            found[state] = int(np.count_nonzero(there))
    return found
