"""Pixels in Python: one pixel through all its exposures, and the pixels that satisfy a condition, as astropy tables."""

from __future__ import annotations

import functools
import itertools
import logging
import operator
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FormatError, IncompleteAnswer, InvalidInput
from ..index import pixels as rows
from ..index.pixelset import pixel_set_of
from ..instruments.detector import PLACE_KEYS, Placement
from ..instruments.known import detector_named, extent, pixel_id_at
from ..model.kinds import KINDS, Ramp, RateInts, kind_class, pixel_axes, pixel_columns, pixel_kinds
from ..model.names import Urn
from ..model.times import time_column
from ..pool.find import find
from ..pool.select import detectors_of, of_detector, refuse_unknown_detector, warn_beyond, warn_without_rows
from ..query.pixelwhere import FLAGS, parse_pixels
from ..query.queries import Query, check_detector
from ..system.warning import warn_caller
from ..system.words import counted
from .times import time_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from astropy.table import Table

    from ..index import ProductRow
    from ..index.pixels import SetRow
    from ..model.dataset import Dataset
    from ..model.kinds import PixelColumn
    from ..model.product import Product
    from ..pool.core import Core
    from ..pool.reference import ProductRefs

    Kind = type[Product] | str

__all__ = ["Pixel", "Pixels", "first_disagreement", "flag_names", "whole_number"]

_log = logging.getLogger(__name__)

_MOST_ROWS = 20_000_000
"""Rows of one table; a table of more would take tens of gigabytes."""


def flag_names(flags: int) -> str:
    """Give the names of DQ flags.

    Parameters
    ----------
    flags : int
        Bits as in the jwst datamodels.

    Returns
    -------
    str
        Names joined by ``|``; empty if no bit is set.
    """
    value = int(flags)
    known = [name for name, bit in FLAGS.items() if value & bit]
    unknown = [f"bit {i}" for i in range(32, 64) if value >> i & 1]
    return "|".join([*known, *unknown])


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
        cls = _class(kind)
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
        cls = _class(kind)
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
        refs = _select(self._pool, cls, query, tag, all_versions)
        versions = self._of_one_detector(self._pool.catalog.rows([serial for _, serial in refs.keys]))
        detector = self.detector or next(iter(detectors_of(versions)), "")
        found = self._values(cls.kind, versions)
        if versions and not found:
            raise InvalidInput(self._nowhere(versions))
        versions = [v for v in versions if v.serial in found]
        versions.sort(key=lambda v: (v.start_time is None, v.start_time or v.created, v.name, v.version))
        columns = list(pixel_columns(cls.kind))
        present = [c for c in columns if any(found[v.serial][c] is not None for v in versions)] or columns
        # Columns of the pixel as a whole stay the same in each of its integrations.
        lengths = [_length(found[v.serial]) for v in versions]
        count = [1 if n is None else n for n in lengths]
        table: dict[str, Any] = {
            "urn": _repeat([str(Urn(self._pool.name, v.kind, v.serial)) for v in versions], count),
            "name": _repeat([v.name for v in versions], count),
            "version": np.repeat(np.asarray([v.version for v in versions], int), count),
            "time": None,
            "detector": _repeat([v.detector or "" for v in versions], count),
        }
        if KINDS[cls.kind].axes > 2:
            table["integration"] = np.concatenate([np.arange(1, n + 1) for n in count] or [np.arange(0)])
        for column in present:
            values = [found[v.serial][column] for v in versions]
            axes = pixel_axes(cls.kind)[column]
            name = names.get(column, column)
            table[name] = _joined(values, axes, lengths)
            if dq_names and column.endswith("dq"):
                table[name] = _spelled(table[name])
        table |= time_columns(self._pool, versions, count)
        units = {names.get(name, name): column.unit for name, column in pixel_columns(cls.kind).items()}
        made = _astropy(table, units, "start of the integration, or of the exposure where time_of says so, UTC")
        number = pixel_id_at(self.x, self.y, detector or None)
        told = {"x": self.x, "y": self.y, "pixel_id": number, "detector": detector, "kind": cls.kind}
        made.meta.update(told)
        return made

    def _of_one_detector(self, versions: list[ProductRow]) -> list[ProductRow]:
        """Keep those of the detector; refuse several where none was named, for a place is another pixel on each."""
        if self.detector is not None:
            kept = of_detector(versions, self.detector)
            if not kept:
                refuse_unknown_detector([self._pool], self.detector)
            return kept
        names = detectors_of(versions)
        if len(names) > 1:
            unnamed = sum(not v.detector for v in versions)
            rest = f"; {unnamed} of the versions name no detector" if unnamed else ""
            call = f"pool.pixel({self.x}, {self.y}, detector={names[0]!r})"
            raise InvalidInput(
                f"these versions of pool {self._pool.name} are of several detectors, {', '.join(names)}, each of which "
                f"has a pixel x={self.x}, y={self.y}; choose one with {call} or --detector {names[0]}{rest}"
            )
        return versions

    def _values(self, kind: str, versions: Sequence[ProductRow]) -> dict[int, dict[str, Any]]:
        """Give the pixel's columns in each version that covers it: from its rows, or from its data if it has none."""
        database = self._pool.catalog.database
        sets = rows.sets_of(database, [v.serial for v in versions])
        covering = [s for s in sets if s.placement.covers(self.x, self.y)]
        detectors = {v.serial: v.detector for v in versions}
        numbers = {
            name: detector_named(name).pixel_id(self.x, self.y) for name in {detectors[s.serial] for s in covering}
        }
        numbered: dict[int, list[SetRow]] = {}
        for s in covering:
            numbered.setdefault(numbers[detectors[s.serial]], []).append(s)
        read: dict[int, dict[str, Any]] = {}
        for number, those in numbered.items():
            read |= rows.read_pixel(database, kind, those, number)
        found = {s.serial: _completed(kind, s, read[s.set_id]) for s in covering if s.set_id in read}
        having = {s.serial for s in sets}
        nowhere = 0
        for version in versions:
            if version.serial in having:
                continue
            data = _read_data(self._pool, version, [(self.x, self.y)])
            if data:
                (found[version.serial],) = data
            nowhere += data is None
        if nowhere and nowhere < len(versions):
            warn_caller(
                f"{nowhere} of {len(versions)} versions {'is' if nowhere == 1 else 'are'} left out: the header lacks "
                f"the place on the detector ({', '.join(PLACE_KEYS)}), or it contradicts the arrays",
                IncompleteAnswer,
            )
        return found

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


def _completed(kind: str, chosen: SetRow, values: Mapping[str, Any]) -> dict[str, Any]:
    """Give a row's columns with what is not stored in each row."""
    filled = dict(values)
    for column in KINDS[kind].columns:
        if filled[column.name] is None:
            filled[column.name] = _filled(column, chosen)
    return filled


def _read_data(pool: Core, version: ProductRow, places: Sequence[tuple[int, int]]) -> list[dict[str, Any]] | None:
    """Read pixels (x, y) from a version's arrays, a tile of each; none if it does not cover all of these.

    None if nobody knows where its pixels are.
    """
    try:
        described = pixel_set_of(pool.manifest(version))
    except FormatError as error:
        _log.info("%s is left out: %s", Urn(pool.name, version.kind, version.serial), error)
        return None
    if described is None:
        return None
    if not all(described.placement.covers(x, y) for x, y in places):
        return []
    product = pool.load_version(version)
    corners = [(y - described.placement.y, x - described.placement.x) for x, y in places]
    found: list[dict[str, Any]] = [{} for _ in places]
    for name in pixel_columns(version.kind):
        dataset = described.datasets.get(name)
        read = [None] * len(places) if dataset is None else _read_columns(product[dataset], corners)
        for values, value in zip(found, read, strict=True):
            values[name] = value
    return found


def _read_columns(dataset: Dataset, corners: Sequence[tuple[int, int]]) -> list[Any]:
    """Read an array at pixels (row, column), whole along its other axes."""
    whole = tuple(slice(0, n) for n in dataset.shape[:-2])
    boxes = [(*whole, slice(row, row + 1), slice(column, column + 1)) for row, column in corners]
    values = [part[..., 0, 0] for part in dataset.parts(boxes)]
    if whole:
        return values
    return [value[()] if value.dtype.kind == "f" else int(value) for value in values]


def first_disagreement(
    pool: Core, version: ProductRow, chosen: SetRow, places: Sequence[tuple[int, int]]
) -> tuple[int, int] | None:
    """Hold pixels' rows against the version's arrays.

    Parameters
    ----------
    pool : Core
        The version's.
    version : ProductRow
        Has pixel rows.
    chosen : SetRow
        They.
    places : sequence of (int, int)
        Pixels (x, y) that it covers, in the FULL array.

    Returns
    -------
    (int, int) or None
        The first whose row is missing, or holds something else in any column; None if there is none.
    """
    ids = [detector_named(version.detector).pixel_id(x, y) for x, y in places]
    stored = rows.read_pixels(pool.catalog.database, version.kind, chosen, ids)
    read = _read_data(pool, version, places)
    for place, number, data in itertools.zip_longest(places, ids, read or []):
        row = stored.get(number)
        if row is None or data is None:
            return place
        filled = _completed(version.kind, chosen, row)
        if not all(_is_same(filled.get(column), value) for column, value in data.items()):
            return place
    return None


def _is_same(one: Any, two: Any) -> bool:
    if two is None:  # flags that are not set and flags that there are none of are stored alike
        return one is None or not np.any(one)
    if one is None:
        return False
    first, second = np.asarray(one), np.asarray(two)
    floats = first.dtype.kind == "f" or second.dtype.kind == "f"
    return bool(np.array_equal(first, second, equal_nan=floats))


class Pixels:
    """The pixels that satisfy a condition. They are read by `count`, `chunks` and `to_table`.

    Parameters
    ----------
    pool : Core
        The pool.
    kind : class or str
        Raw, Ramp, RateInts or Rate.
    where : str
        Condition on the pixels, see `miripool.query.pixelwhere`.
    x, y : (int, int), optional
        First and last column and row to search, in the FULL array, 1-based, both ends included.
    query, tag, all_versions : object
        Versions to search, as for `Pool.select`.
    detector : str, optional
        Only this detector; case does not matter. By default all; the column ``detector`` names them.
    """

    def __init__(
        self,
        pool: Core,
        kind: Kind,
        where: str = "",
        *,
        x: tuple[int, int] | None = None,
        y: tuple[int, int] | None = None,
        query: Any = "1",
        tag: str | None = None,
        all_versions: bool = False,
        detector: str | None = None,
    ) -> None:
        cls = _class(kind)
        self.kind = cls.kind
        self.where = where
        self._pool = pool
        self._condition = parse_pixels(where, cls.kind)
        name = check_detector(detector)
        columns, lines = extent(name)
        self._box = rows.Box(_ends(x, "x", columns), _ends(y, "y", lines))
        serials = [serial for _, serial in _select(pool, cls, query, tag, all_versions).keys]
        if name is not None:
            serials = [version.serial for version in of_detector(pool.catalog.rows(serials), name)]
            if not serials:
                refuse_unknown_detector([pool], name)
        self._sets = rows.sets_of(pool.catalog.database, serials)
        warn_beyond(self._condition, self._sets)
        self.versions = len(serials)
        if len(self._sets) < len(serials):
            warn_without_rows(pool, len(serials) - len(self._sets), len(serials))

    def __repr__(self) -> str:
        return f"<Pixels of {len(self._sets)} {self.kind} versions of pool {self._pool.name}: {self.where or 'all'}>"

    def count(self) -> int:
        """Count the pixels. The database counts them, no values are read into this process.

        Returns
        -------
        int
            Number of pixels; a pixel counts once for each version in which it satisfies the condition.
        """
        counts = rows.count_pixels(self._pool.catalog.database, self.kind, self._sets, self._condition, self._box)
        return sum(counts.get(s.set_id, 0) for s in self._sets)

    def chunks(self, *, dq_names: bool = False, limit: int | None = None) -> Iterator[Table]:
        """Read the pixels in tables of bounded size.

        Parameters
        ----------
        dq_names : bool, keyword-only
            Give DQ flags by name instead of bits.
        limit : int, keyword-only, optional
            Read at most this many pixels.

        Yields
        ------
        astropy.table.Table
            As from `to_table`, with some thousands of pixels of one version.
        """
        left = limit
        versions = {v.serial: v for v in self._pool.catalog.rows([s.serial for s in self._sets])}
        for s in self._sets:
            if left == 0:
                return
            scanned = rows.scan_pixels(
                self._pool.catalog.database, self.kind, s, self._condition, self._box, limit=left
            )
            for part in scanned:
                yield self._chunk(versions[s.serial], s, part, dq_names)
                left = None if left is None else left - len(part["pixel_id"])

    def to_table(self, *, dq_names: bool = False, limit: int | None = None) -> Table:
        """Read the pixels as one table.

        Parameters
        ----------
        dq_names : bool, keyword-only
            Give DQ flags by name instead of bits.
        limit : int, keyword-only, optional
            Read at most this many pixels.

        Returns
        -------
        astropy.table.Table
            One row for each pixel of each version: urn, name, version, time, detector (empty if the header names
            none), pixel_id, x, y, and the columns of the kind. A cell holds an array by integration and group. If the
            versions have different numbers of integrations or groups, the columns are of dtype object.

        Raises
        ------
        InvalidInput
            If there are too many pixels for one table; `chunks` reads them in parts.
        """
        from astropy.table import Table, vstack

        most = sum(_pixels_in(s.placement, self._box) for s in self._sets)
        if min(most, limit or most) > _MOST_ROWS and (number := self.count()) > _MOST_ROWS and not limit:
            raise InvalidInput(
                f"this would be a table of {number:,} pixels; narrow the condition or the region, set a limit, "
                "or read it in parts: for table in pixels.chunks(): …"
            )
        tables = list(self.chunks(dq_names=dq_names, limit=limit))
        if not tables:
            made = Table(
                names=["urn", "name", "version", "detector", "pixel_id", "x", "y"],
                dtype=["U1", "U1", "i8", "U1", "i8", "i8", "i8"],
            )
            made.add_column(time_column([]), name="time", index=3)
            return made
        return tables[0] if len(tables) == 1 else vstack(_alike(tables), metadata_conflicts="silent")

    def _chunk(
        self, version: ProductRow, s: rows.SetRow, part: Mapping[str, Sequence[Any] | np.ndarray], dq_names: bool
    ) -> Table:
        count = len(part["pixel_id"])
        table: dict[str, Any] = {
            "urn": [str(Urn(self._pool.name, version.kind, version.serial))] * count,
            "name": [version.name] * count,
            "version": np.full(count, version.version),
            "time": time_column([version.start_time], [count]),
            "detector": [version.detector or ""] * count,
        }
        for name in ("pixel_id", "x", "y"):
            table[name] = np.asarray(part[name])
        columns = pixel_columns(self.kind)
        for name, column in columns.items():
            values = _whole_column(part[name], column, s)
            if values is None:
                continue
            table[name] = values
            if dq_names and column.holds == "flags":
                table[name] = _spelled(table[name])
        return _astropy(table, {name: column.unit for name, column in columns.items()})


def _alike(tables: list[Table]) -> list[Table]:
    """Make arrays of unlike lengths objects, one array in each row, so that the tables can be put together."""
    for name in dict.fromkeys(name for table in tables for name in table.colnames):
        having = [table for table in tables if name in table.colnames]
        if len({table[name].shape[1:] for table in having}) > 1:
            for table in having:
                made, unit = np.empty(len(table), object), table[name].unit
                made[:] = list(np.asarray(table[name]))
                table.replace_column(name, made)
                table[name].unit = unit
    return tables


def whole_number(value: Any, what: str) -> int:
    """Give a coordinate as an int, NumPy's too.

    Parameters
    ----------
    value : object
        As the caller gave it.
    what : str
        Its name, for the message.

    Returns
    -------
    int
        The same number.

    Raises
    ------
    InvalidInput
        If it is no whole number.
    """
    try:
        if not isinstance(value, (bool, np.bool_)):
            return operator.index(value)
    except TypeError:
        pass
    raise InvalidInput(
        f"{what}={value!r} is not a whole number; give a column or row of the FULL array, counted from 1"
    )


def _ends(given: Any, what: str, most: int) -> tuple[int, int] | None:
    """Give the first and the last column, or row."""
    if given is None:
        return None
    ends = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else ()
    if len(ends) != 2:
        raise InvalidInput(f"{what}={given!r} is not a range; give the first and the last, e.g. {what}=(1, 72)")
    first, last = (whole_number(end, what) for end in ends)
    if not 1 <= first <= last <= most:
        raise InvalidInput(
            f"{what}={given!r} is not a range on the detector; give two numbers from 1 to {most}, the smaller first"
        )
    return first, last


def _filled(column: PixelColumn, s: rows.SetRow) -> Any:
    """Give what a NULL stands for."""
    if not column.null:
        return None
    if column.null == "common":
        return s.common
    shape = (s.nints or 0, s.ngroups or 0)[: column.axes]
    return _zeros(shape) if shape else 0


@functools.lru_cache(maxsize=16)
def _zeros(shape: tuple[int, ...]) -> np.ndarray:
    """Make flags of which none is set, once for all exposures of a shape."""
    made = np.zeros(shape, np.int64)
    made.flags.writeable = False
    return made


def _whole_column(values: Sequence[Any] | np.ndarray, column: PixelColumn, s: rows.SetRow) -> np.ndarray | None:
    """Give a column with what its NULLs stand for; None if nothing is in it."""
    if isinstance(values, np.ndarray):
        return values
    null = _filled(column, s)
    if all(value is None for value in values):
        return None if null is None else np.tile(null, (len(values), *(1 for _ in np.shape(null))))
    filled = [null if value is None else value for value in values]
    return np.stack(filled) if column.axes else np.asarray(filled)


def _class(kind: Kind) -> type[Product]:
    cls = kind_class(kind) if isinstance(kind, str) else kind
    if cls.kind not in pixel_kinds():
        raise InvalidInput(f"a {cls.kind} has no pixel rows; only {', '.join(pixel_kinds())} have them")
    return cls


def _either(names: Iterable[str]) -> str:
    return " or ".join(names)


def _select(pool: Core, cls: type[Product], query: Any, tag: str | None, all_versions: bool) -> ProductRefs:
    asked = query if not isinstance(query, str) else Query(cls, "p", query, functions={})
    refs = find(pool, asked, tag=tag, all_versions=all_versions or None)
    if isinstance(query, str):
        return refs
    return find(pool, Query(cls, functions={}), refs)


def _pixels_in(placement: Placement, box: rows.Box) -> int:
    columns, lines = box.x or (1, 1 << 20), box.y or (1, 1 << 20)
    wide = min(columns[1], placement.x + placement.columns - 1) - max(columns[0], placement.x) + 1
    high = min(lines[1], placement.y + placement.rows - 1) - max(lines[0], placement.y) + 1
    return max(wide, 0) * max(high, 0)


def _length(values: Mapping[str, Any]) -> int | None:
    """Count the integrations; None where the pixel has one value."""
    return next((len(v) for v in values.values() if isinstance(v, np.ndarray) and v.ndim), None)


def _repeat(values: Sequence[str], count: Sequence[int]) -> Any:
    return np.repeat(np.asarray(values, dtype=str), count)


def _joined(values: Sequence[Any], axes: int, lengths: Sequence[int | None]) -> Any:
    """Put one column's values under one another, a row for each integration."""
    if not axes:
        count = [1 if n is None else n for n in lengths]
        missing = [v is None for v in values]
        kind = np.asarray([v for v in values if v is not None]).dtype
        plain = np.repeat(np.asarray([0 if v is None else v for v in values], kind), count)
        return np.ma.array(plain, mask=np.repeat(missing, count)) if any(missing) else plain
    depth = {v.shape[1:] for v in values if v is not None}
    if len(depth) <= 1 and all(v is not None for v in values):
        return np.concatenate(values) if values else np.empty(0)
    # Exposures of unlike lengths: each row has an array of its own.
    listed = [row for v, n in zip(values, lengths, strict=True) for row in (v if v is not None else [None] * (n or 1))]
    made = np.empty(len(listed), object)
    for i, row in enumerate(listed):
        made[i] = row
    return made


def _spelled(values: Any) -> Any:
    if values.dtype == object:
        made = np.empty(len(values), object)
        for i, row in enumerate(values):
            made[i] = None if row is None else _spelled(row)
        return made
    known = {int(v): flag_names(v) for v in np.unique(np.ma.filled(values, 0))}
    flat = [known[int(v)] for v in np.ma.filled(values, 0).reshape(-1)]
    return np.asarray(flat, dtype=str).reshape(values.shape)


def _astropy(columns: Mapping[str, Any], units: Mapping[str, str], time: str = "start of the exposure, UTC") -> Table:
    from astropy.table import Table

    table = Table(dict(columns), copy=False)
    for name in table.colnames:
        if unit := units.get(name):
            table[name].unit = unit
    table.meta["time"] = time
    return table
