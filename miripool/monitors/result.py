"""The product of a monitor: its tables, its maps, and the planes that are kept of each exposure."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import NewerFormat
from ..formats.level1b import to_mjd
from ..model.kinds import Monitor
from .events import events_table
from .exposures import PLANES, TREND
from .rows import read_rows, read_strata
from .states import STATES
from .strata import Stratum
from .thresholds import SHARES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ..model.dataset import Dataset
    from ..model.product import Product
    from .assess import Assessment
    from .blocks import Planes
    from .definition import Definition
    from .events import Event

    Rows = NDArray[np.void]

__all__ = ["FORM", "Kept", "Member", "Result", "build", "check_form", "read_kept"]

FORM: Final = 1
"""Of the product. A greater number is refused; planes of a smaller one are read again from the exposures."""

_PART_BYTES: Final = 2_000_000
"""Planes of exposures that are stored together. A further exposure replaces one part, so small parts save space."""


STATE_ROW: Final = np.dtype(
    [
        *(("stratum", "i4"), ("x", "i4"), ("y", "i4"), ("state", "S8"), ("begin", "i4"), ("end", "i4")),
        *(("amplitude", "f8"), ("error", "f8"), ("significance", "f8"), ("fraction", "f8"), ("dwell", "f8")),
    ]
)
"""An episode of a pixel; `begin` and `end` count the exposures of the stratum from 0. See `states.EPISODE`."""
POPULATION_ROW: Final = np.dtype(
    [("stratum", "i4"), ("exposure", "i4"), ("state", "S8"), ("count", "i8"), ("born", "i8"), ("healed", "i8")]
)
"""Pixels in a state at an exposure of a stratum."""


@dataclass(frozen=True, slots=True)
class Member:
    """An exposure of a monitor.

    Attributes
    ----------
    serial, version : int
        Of the version that was read.
    urn, name : str
        Of the version.
    start : datetime
        When the exposure began; aware, UTC.
    stratum : Stratum
        What it can be compared with.
    integrations : int
        How many it has.
    settling : float
        See `ExposureData`.
    """

    serial: int
    version: int
    urn: str
    name: str
    start: datetime
    stratum: Stratum
    integrations: int
    settling: float

    @property
    def mjd(self) -> float:
        """Start as modified Julian date, UTC."""
        return to_mjd(self.start)


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What is kept of an exposure.

    Attributes
    ----------
    member : Member
        The exposure.
    planes : Planes
        Of shape (5, ny, nx); see `PLANES`.
    trends : ndarray of `TREND`
        Its statistics.
    part : tuple of str and int, or None
        The dataset of an earlier product that has the planes, and their number there.
    """

    member: Member
    planes: Planes
    trends: Rows
    part: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """A stratum and what was found in it.

    Attributes
    ----------
    stratum : Stratum
        The stratum.
    exposures : list of Kept
        In the order of time.
    assessment : Assessment
        What was found.
    """

    stratum: Stratum
    exposures: list[Kept]
    assessment: Assessment


class _Part:
    """Planes of several exposures in one dataset; it is read once, unless it is a single large exposure."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._small = 4 * math.prod(dataset.shape) <= _PART_BYTES
        self._read: NDArray[np.float32] | None = None

    def read(self, number: int, key: tuple[slice, slice]) -> NDArray[np.float32]:
        """Read some planes and rows of an exposure."""
        if self._small and self._read is None:
            self._read = np.asarray(self._dataset[...])
        source = self._dataset if self._read is None else self._read
        return np.asarray(source[(number, *key)])


@dataclass(frozen=True, slots=True, eq=False)
class _Stored:
    """The planes of one exposure in a part."""

    part: _Part
    number: int

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray[np.float32]:
        return self.part.read(self.number, key)


def build(
    definition: Definition, results: Sequence[Result], earlier: Product | None, events: Sequence[Event] = ()
) -> Monitor:
    """Make the product.

    Parameters
    ----------
    definition : Definition
        Of the monitor.
    results : sequence of Result
        In the order of strata.
    earlier : Product, optional
        The version before, whose planes are used again.
    events : sequence of Event
        What happened to the detector.

    Returns
    -------
    Monitor
        A draft. Equal definitions and exposures give equal products.
    """
    datasets: dict[str, Any] = {"DEFINITION": _definition_table(definition)}
    kept = [exposure for result in results for exposure in result.exposures]
    datasets["STRATA"] = _rows([_stratum_row(result) for result in results], _STRATUM_ROW)
    datasets["EXPOSURES"] = _rows(
        [row for i, result in enumerate(results) for row in _member_rows(i, result)], _MEMBER_ROW
    )
    datasets["TRENDS"] = _trends(kept)
    datasets["STATES"] = _states(results)
    datasets["POPULATION"] = _population(results)
    datasets["EVENTS"] = events_table(events)
    for i, result in enumerate(results):
        found = result.assessment
        datasets |= {f"STATE{i}": found.state, f"RATE{i}": found.rate, f"NOISE{i}": found.noise}
        datasets |= _parts(i, result, earlier)
    return Monitor(datasets=datasets, name=definition.name)


def read_kept(product: Product) -> dict[int, Kept]:
    """Read what a product keeps of its exposures.

    Parameters
    ----------
    product : Product
        Of a monitor.

    Returns
    -------
    dict of int to Kept
        By serial. No planes are read yet.
    """
    if "EXPOSURES" not in product:
        return {}
    strata = read_strata(product)
    trends = np.asarray(product["TRENDS"][...])
    borders = np.searchsorted(trends["exposure"], np.arange(len(product["EXPOSURES"][...]) + 1))
    parts: dict[str, _Part] = {}
    found = {}
    for i, row in enumerate(read_rows(product, "EXPOSURES")):
        member = Member(
            row["serial"],
            row["version"],
            row["urn"],
            row["name"],
            datetime.fromisoformat(row["start"]),
            strata[row["stratum"]],
            row["integrations"],
            row["settling"],
        )
        place = (row["part"], row["number"])
        if place[0] not in parts:
            parts[place[0]] = _Part(product[place[0]])
        planes = _Stored(parts[place[0]], place[1])
        found[member.serial] = Kept(member, planes, trends[borders[i] : borders[i + 1]], place)
    return found


def check_form(values: Mapping[str, str]) -> bool:
    """Tell whether the planes of a product can be used again.

    Parameters
    ----------
    values : mapping of str to str
        Its definition.

    Returns
    -------
    bool
        False if it is of an older form.

    Raises
    ------
    NewerFormat
        If it is of a newer one.
    """
    form = int(values.get("form", 0))
    if form > FORM:
        raise NewerFormat(f"this monitor was made by a newer miripool (form {form}, known is {FORM}); update miripool")
    return form == FORM


def _definition_table(definition: Definition) -> Rows:
    pairs = [("form", str(FORM)), *definition.to_texts().items()]
    return np.array([(k.encode(), v.encode()) for k, v in pairs], _texts(pairs, ("name", "value")))


def _texts(rows: Sequence[tuple[str, ...]], names: tuple[str, ...]) -> np.dtype[Any]:
    widths = [max((len(row[i].encode()) for row in rows), default=0) for i in range(len(names))]
    return np.dtype([(name, f"S{max(width, 1)}") for name, width in zip(names, widths, strict=True)])


_STRATUM_ROW: Final = (
    *((f.name, "text" if f.type == "str" else "i4") for f in fields(Stratum)),
    *((name, "i4") for name in ("exposures", "integrations", "first")),
    *((name, "f8") for name in ("noise", "inner_noise", "inner_spread", "excess", "spread")),
    *((f"{name}_from", "f8") for name in SHARES),
)
_MEMBER_ROW: Final = (
    *(("serial", "i8"), ("version", "i4"), ("urn", "text"), ("name", "text"), ("start", "text"), ("mjd", "f8")),
    *(("stratum", "i4"), ("integrations", "i4"), ("settling", "f8"), ("part", "text"), ("number", "i4")),
)


def _rows(records: Sequence[tuple[Any, ...]], form: tuple[tuple[str, str], ...]) -> Rows:
    """Make a table; a column of texts is as wide as its longest."""
    values = [tuple(v.encode() if isinstance(v, str) else v for v in record) for record in records]
    widths = {
        name: max((len(r[i]) for r in values), default=1) for i, (name, code) in enumerate(form) if code == "text"
    }
    dtype = np.dtype([(name, f"S{max(widths[name], 1)}" if code == "text" else code) for name, code in form])
    return np.array(values, dtype)


def _stratum_row(result: Result) -> tuple[Any, ...]:
    found = result.assessment
    integrations = min(kept.member.integrations for kept in result.exposures)
    return (
        *astuple(result.stratum),
        *(len(result.exposures), integrations, int(found.first)),
        *astuple(found.population),
        *(getattr(found.thresholds, name) for name in SHARES),
    )


def _member_rows(stratum: int, result: Result) -> list[tuple[Any, ...]]:
    rows = []
    for place, kept in enumerate(result.exposures):
        member = kept.member
        start = member.start.astimezone(UTC).isoformat(timespec="microseconds")
        head = (member.serial, member.version, member.urn, member.name, start, member.mjd)
        rows.append((*head, stratum, member.integrations, member.settling, *_place(stratum, result.stratum, place)))
    return rows


def _place(number: int, stratum: Stratum, place: int) -> tuple[str, int]:
    """Give the dataset that the planes of an exposure stand in, and their number there."""
    each = _exposures_per_part(stratum)
    return f"P{number}_{place // each}", place % each


def _exposures_per_part(stratum: Stratum) -> int:
    return max(1, _PART_BYTES // (4 * len(PLANES) * stratum.rows * stratum.columns))


def _parts(number: int, result: Result, earlier: Product | None) -> dict[str, Any]:
    """Give the datasets of planes; one that an earlier product has, as it is there."""
    each = _exposures_per_part(result.stratum)
    found: dict[str, Any] = {}
    for start in range(0, len(result.exposures), each):
        part = result.exposures[start : start + each]
        name, _ = _place(number, result.stratum, start)
        old = _old_part([kept.part for kept in part], earlier)
        if old is not None:
            found[name] = old
        elif len(part) == 1 and isinstance(part[0].planes, np.ndarray):
            found[name] = part[0].planes[np.newaxis]  # mapped from a file: large exposures need no memory
        else:
            everything = slice(None), slice(None)
            found[name] = np.stack([kept.planes[everything] for kept in part])
    return found


def _old_part(places: Sequence[tuple[str, int] | None], earlier: Product | None) -> Dataset | None:
    """Give the dataset of an earlier product that has the planes of just these exposures, if there is one."""
    first = places[0]
    if first is None or earlier is None:
        return None
    old = earlier[first[0]]
    return old if list(places) == [(first[0], k) for k in range(old.shape[0])] else None


def _trends(kept: Sequence[Kept]) -> Rows:
    tables = []
    for i, exposure in enumerate(kept):
        rows = exposure.trends.astype(TREND)
        rows["exposure"] = i
        tables.append(rows)
    return np.concatenate([np.zeros(0, TREND), *tables])


def _states(results: Sequence[Result]) -> Rows:
    """Make the table of episodes; exposures are counted in their stratum."""
    tables = []
    for i, result in enumerate(results):
        episodes, stratum = result.assessment.episodes, result.stratum
        rows = np.zeros(len(episodes), STATE_ROW)
        rows["stratum"] = i
        rows["x"] = stratum.x + episodes["pixel"] % stratum.columns
        rows["y"] = stratum.y + episodes["pixel"] // stratum.columns
        for name in ("state", "begin", "end", "amplitude", "error", "significance", "fraction", "dwell"):
            rows[name] = episodes[name]
        tables.append(rows)
    return np.concatenate([np.zeros(0, STATE_ROW), *tables])


def _population(results: Sequence[Result]) -> Rows:
    """Count the pixels in each state at each exposure, and those that came and went with it."""
    tables = [np.zeros(0, POPULATION_ROW)]
    for i, result in enumerate(results):
        episodes, n = result.assessment.episodes, len(result.exposures)
        for state in STATES:
            mine = episodes[episodes["state"] == state.encode()]
            if not len(mine):
                continue
            rows = np.zeros(n, POPULATION_ROW)
            rows["stratum"], rows["exposure"], rows["state"] = i, np.arange(n), state.encode()
            born = np.bincount(mine["begin"], minlength=n + 1)[:n]
            healed = np.bincount(mine["end"], minlength=n + 1)[:n]
            rows["count"] = np.cumsum(born - healed)
            rows["born"], rows["healed"] = np.where(np.arange(n) > 0, born, 0), healed
            tables.append(rows)
    return np.concatenate(tables)
