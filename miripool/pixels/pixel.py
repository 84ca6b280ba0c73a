"""A pixel: its ramps, or its rates, through all its exposures, as astropy tables."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FormatError, IncompleteAnswer, InvalidInput
from ..index import pixels as rows
from ..index.pixelset import pixel_set_of
from ..instruments.detector import PLACE_KEYS, Placement
from ..instruments.known import detector_named, pixel_id_at
from ..model.kinds import KINDS, Ramp, RateInts, pixel_axes, pixel_columns, pixel_kinds
from ..model.names import Urn
from ..pool.select import detectors_of, refuse_unknown_detector
from ..query.queries import check_detector
from ..system.warning import warn_caller
from ..system.words import counted
from .asked import kind_with_pixels, whole_number
from .data import read_data
from .exposures import PixelExposures
from .flags import spell_flags
from .table import make_table
from .times import time_columns
from .versions import find_versions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from astropy.table import Table
    from numpy.typing import NDArray

    from ..index import ProductRow
    from ..index.pixels import PixelRow, VersionColumns
    from ..model.product import Product
    from ..pool.core import Core
    from .asked import Kind

__all__ = ["Pixel"]


class Pixel:
    """One detector pixel, followed through the versions of a pool.

    Parameters
    ----------
    pool : Core
        The pool.
    x, y : int
        Column (1 to 1032) and row (1 to 1024) of the FULL array, 1-based.
    detector : str, optional
        Name of the detector; case does not matter. Without it, the versions must be of one detector, and versions
        whose header has no DETECTOR are included. With it, those versions are left out.

    Attributes
    ----------
    pixel_id : int
        ``(y - 1) * 1032 + x`` for MIRI, and likewise for a detector of another width.
    detector : str or None
        In capitals.
    """

    def __init__(self, pool: Core, x: int, y: int, detector: str | None = None) -> None:
        self.x, self.y = whole_number(x, "x"), whole_number(y, "y")
        self.detector = check_detector(detector)
        self.pixel_id = pixel_id_at(self.x, self.y, self.detector)
        self._pool = pool

    def __repr__(self) -> str:
        of = "" if self.detector is None else f" of detector {self.detector}"
        return f"<Pixel x={self.x}, y={self.y}{of} of pool {self._pool.name}>"

    def ramps(
        self,
        kind: Kind = Ramp,
        query: Any = "1",
        *,
        tag: str | None = None,
        all_versions: bool = False,
        dq_names: bool = False,
    ) -> Table:
        """Read the pixel's ramps.

        Parameters
        ----------
        kind : Ramp or Raw
            Corrected ramps (Ramp), or ramps of the raw data (Raw).
        query : Query or str, optional
            Condition on versions, as for `Pool.select`.
        tag : str, keyword-only, optional
            Read the versions that this tag marks.
        all_versions : bool, keyword-only
            Read all versions, not only the newest.
        dq_names : bool, keyword-only
            Give DQ flags by name instead of bits.

        Returns
        -------
        astropy.table.Table
            One row for each integration of each version, sorted by time. Columns: urn, name, version, time (start),
            detector (empty if the header names none), integration (1-based), ramp (DN, one value for each group);
            for a Ramp also groupdq, err if the product has it, and pixeldq; mid_time, end_time, time_of. Times are
            `astropy.time.Time` in UTC, masked if the file has none. If time_of is ``integration``, the times are
            those of the integration, from the table INT_TIMES; if it is ``exposure``, the file has no such times, and
            they are those of the exposure.

        Raises
        ------
        InvalidInput
            If the kind has no ramps; if no version covers the pixel (the message says what they cover); if versions
            are of several detectors and `detector` was not given; or if the pool has no such detector (the message
            lists its detectors).
        """
        cls = kind_with_pixels(kind)
        science = KINDS[cls.kind].science
        if KINDS[cls.kind].is_rate or science is None:
            ramps = _either(name for name in reversed(pixel_kinds()) if not KINDS[name].is_rate)
            raise InvalidInput(f"a {cls.kind} has no ramps; use {ramps}, or the pixel's history()")
        return self._table(cls, query, tag, all_versions, {science.name: "ramp"}, dq_names)

    def history(
        self,
        kind: Kind = RateInts,
        query: Any = "1",
        *,
        tag: str | None = None,
        all_versions: bool = False,
        dq_names: bool = False,
    ) -> Table:
        """Read the pixel's rates.

        Parameters
        ----------
        kind : RateInts or Rate
            Rates of each integration (RateInts), or of each exposure (Rate).
        query, tag, all_versions, dq_names : object
            As for `ramps`.

        Returns
        -------
        astropy.table.Table
            One row for each integration of each version, sorted by time. Columns: urn, name, version, time, detector,
            integration (1-based; RateInts only), rate and err (DN/s), dq, mid_time, end_time, time_of, as for `ramps`.

        Raises
        ------
        InvalidInput
            If the kind has no rates, or for the reasons given for `ramps`.
        """
        cls = kind_with_pixels(kind)
        if not KINDS[cls.kind].is_rate:
            rates = _either(name for name in pixel_kinds() if KINDS[name].is_rate)
            raise InvalidInput(f"a {cls.kind} has no rates; use {rates}, or the pixel's ramps()")
        return self._table(cls, query, tag, all_versions, {}, dq_names)

    def _table(
        self,
        cls: type[Product],
        query: Any,
        tag: str | None,
        all_versions: bool,
        names: Mapping[str, str],
        dq_names: bool,
    ) -> Table:
        found = find_versions(self._pool, cls, query, tag, all_versions)
        versions, detector = self._of_one_detector(found)
        versions, exposures = self._values(cls.kind, versions)
        # Columns of the pixel as a whole stay the same in each of its integrations.
        count = exposures.count
        table: dict[str, Any] = {
            "urn": np.repeat(self._urns(versions), count),
            "name": np.repeat(versions.names, count),
            "version": np.repeat(versions.versions.astype(int), count),
            "time": None,
            "detector": np.repeat(versions.detectors, count),
        }
        if KINDS[cls.kind].axes > 2:
            table["integration"] = np.arange(1, count.sum() + 1) - np.repeat(np.cumsum(count) - count, count)
        for column in KINDS[cls.kind].columns:
            values = exposures.column(column)
            if values is not None:
                spelled = dq_names and column.holds == "flags"
                table[names.get(column.name, column.name)] = spell_flags(values) if spelled else values
        table |= time_columns(self._pool, versions, count)
        units = {names.get(name, name): column.unit for name, column in pixel_columns(cls.kind).items()}
        made = make_table(table, units, "start of the integration, or of the exposure where time_of says so, UTC")
        number = pixel_id_at(self.x, self.y, detector or None)
        told = {"x": self.x, "y": self.y, "pixel_id": number, "detector": detector, "kind": cls.kind}
        made.meta.update(told)
        return made

    def _urns(self, versions: VersionColumns) -> NDArray[np.str_]:
        numbers = versions.serials.astype(f"U{len(str(versions.serials.max(initial=0)))}")
        found = np.zeros(len(versions), "U1")
        for kind in set(versions.kinds.tolist()):
            urns = np.char.add(str(Urn(self._pool.name, kind, 0))[:-1], numbers)
            found = np.where(versions.kinds == kind, urns, found)
        return found

    def _of_one_detector(self, versions: VersionColumns) -> tuple[VersionColumns, str]:
        """Keep those of the detector; refuse several where none was named, for a place is another pixel on each."""
        written = set(versions.detectors.tolist())
        if self.detector is not None:
            kept = np.isin(versions.detectors, [name for name in written if name.upper() == self.detector])
            if not kept.any():
                refuse_unknown_detector([self._pool], self.detector)
            return versions.take(kept), self.detector
        names = detectors_of(written)
        if len(names) > 1:
            unnamed = int((versions.detectors == "").sum())
            rest = f"; {unnamed} of the versions name no detector" if unnamed else ""
            call = f"pool.pixel({self.x}, {self.y}, detector={names[0]!r})"
            raise InvalidInput(
                f"these versions of pool {self._pool.name} are of several detectors, {', '.join(names)}, each of which "
                f"has a pixel x={self.x}, y={self.y}; choose one with {call} or --detector {names[0]}{rest}"
            )
        return versions, next(iter(names), "")

    def _values(self, kind: str, versions: VersionColumns) -> tuple[VersionColumns, PixelExposures]:
        """Give the versions that cover the pixel, and its values: from its rows, or from the data of those without."""
        database = self._pool.catalog.database
        found: list[PixelRow] = []
        which, slots = np.full(len(versions), -1), np.ones(len(versions), int)
        count = np.maximum(versions.nints, 1)
        for number, those in self._numbered(versions):
            places = (versions.sets[those], versions.blocks[those], versions.slots[those])
            read, rows_of, slots[those] = rows.read_history(database, kind, *places, number)
            which[those] = np.where(rows_of < 0, -1, rows_of + len(found))
            found += read
        for i, (length, row) in self._from_arrays(versions):
            which[i], count[i] = len(found), length
            found.append(row)
        kept = which >= 0
        if not kept.all():
            if not kept.any():
                raise InvalidInput(self._nowhere(self._pool.catalog.rows(sorted(versions.serials.tolist()))))
            versions, which, slots, count = versions.take(kept), which[kept], slots[kept], count[kept]
        common = functools.partial(rows.read_common, database)
        return versions, PixelExposures(found, which, slots, count, versions.sets, common)

    def _numbered(self, versions: VersionColumns) -> Iterator[tuple[int, NDArray[np.intp]]]:
        """Give the pixel's number, and the versions with rows of it; another number on a detector of another width."""
        covering = versions.covering(self.x, self.y)
        names = set(versions.detectors[covering].tolist())
        numbers = {name: detector_named(name).pixel_id(self.x, self.y) for name in names}
        for number in sorted(set(numbers.values())):
            so_numbered = [name for name in names if numbers[name] == number]
            yield number, np.flatnonzero(covering & np.isin(versions.detectors, so_numbered))

    def _from_arrays(self, versions: VersionColumns) -> Iterator[tuple[int, tuple[int, PixelRow]]]:
        """Read the versions that have no pixel rows, those of them that cover the pixel."""
        without = dict(zip(versions.serials.tolist(), range(len(versions)), strict=True))
        nowhere = 0
        for version in self._pool.catalog.rows(versions.serials[versions.sets == 0].tolist()):
            data = read_data(self._pool, version, [(self.x, self.y)])
            if data:
                yield without[version.serial], _alone(version.kind, data[0])
            nowhere += data is None
        if nowhere and nowhere < len(versions):
            warn_caller(
                f"{nowhere} of {len(versions)} versions {'is' if nowhere == 1 else 'are'} left out: the header lacks "
                f"the place on the detector ({', '.join(PLACE_KEYS)}), or it contradicts the arrays",
                IncompleteAnswer,
            )

    def _nowhere(self, versions: Sequence[ProductRow]) -> str:
        """Say what the versions cover instead."""
        covered: dict[tuple[str | None, Placement], int] = {}
        for version in versions:
            try:
                described = pixel_set_of(self._pool.manifest(version))
            except FormatError:
                continue
            if described is not None:
                key = (version.subarray, described.placement)
                covered[key] = covered.get(key, 0) + 1
        listed = "; ".join(
            f"{subarray or 'a subarray'}: columns {p.x} to {p.x + p.columns - 1}, rows {p.y} to {p.y + p.rows - 1} "
            + ("" if len(covered) == 1 else f" ({counted(number, 'version')})")
            for (subarray, p), number in sorted(covered.items(), key=lambda item: -item[1])[:5]
        )
        there = f"they cover {listed}" if listed else f"their headers do not say what ({', '.join(PLACE_KEYS)})"
        return f"none of the {counted(len(versions), 'version')} covers pixel x={self.x}, y={self.y}; {there}"


def _alone(kind: str, values: Mapping[str, Any]) -> tuple[int, PixelRow]:
    """Give the integrations of a pixel in one version, or 1, and its values as if it were alone in a block."""
    length = next((len(v) for v in values.values() if isinstance(v, np.ndarray) and v.ndim), 1)
    axes = pixel_axes(kind)
    held = {name: np.asarray(v if axes[name] else [v]) for name, v in values.items() if v is not None}
    return length, rows.PixelRow(held, {})


def _either(names: Iterable[str]) -> str:
    return " or ".join(names)
