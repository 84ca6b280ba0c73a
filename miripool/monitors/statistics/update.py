"""Measuring the versions of a pool that were not measured yet, and reading what was measured."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ...errors import Conflict, FormatError, MiripoolError
from ...index.exposurestatistics import pending_records, read_statistics, take_records
from ...model.kinds import ExposureStatistics, pixel_kinds
from ...pool.prepared import prepare
from ...pool.save import commit_together
from ...system.threads import map_bounded
from .measure import PERCENTILES, measure
from .record import RULES, Rows, make_record, read_record, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...index import ProductRow
    from ...pool.core import Core
    from ...pool.prepared import Prepared
    from ...pool.reference import ProductRef

__all__ = ["MEASURED", "RECORD", "UNITS", "load_pending", "measured_records"]

_log = logging.getLogger(__name__)

MEASURED: Final = ("RateInts", "Rate", "Ramp")
"""Kinds that are measured unless others are named; Raw can be measured as well."""

_TRIES: Final = 10
_TOGETHER: Final = 200
"""Exposures that are saved in one journal entry."""


def load_pending(core: Core) -> None:
    """Make the rows of SQL from products of the kind ExposureStatistics that came with a new index or by another host.

    Parameters
    ----------
    core : Core
        The pool; its index is caught up. Nothing is done where the index can't be written. A product that can't be
        read is passed over with a warning: its versions are measured again when their statistics are asked for.
    """
    database = core.catalog.database
    if database.read_only:
        return
    waiting, stale = pending_records(database)
    if not waiting and not stale:
        return
    found = {}
    for ref in core.fetch(waiting):
        try:
            found[ref.serial, ref.name] = read_record(ref.product)
        except MiripoolError as error:
            _log.warning("%s can't be read, so its statistics count as not measured: %s", ref.urn, error)
    take_records(database, found)


def measured_records(
    core: Core, refs: Sequence[ProductRef], *, progress: Callable[[int, int], None] | None = None
) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Give the statistics of versions. Those that were not measured before are measured, and what was found is kept.

    Parameters
    ----------
    core : Core
        The pool.
    refs : sequence of ProductRef
        Versions; those of other kinds than Raw, Ramp, RateInts and Rate are passed over.
    progress : callable, keyword-only, optional
        Called with the number of versions measured so far, and the number of all.

    Returns
    -------
    records : list of dict
        In the order of the versions, by integration and amplifier: ``urn, kind, name, version, time, detector,
        integration`` (None for the mean of an exposure), ``amplifier, pixels, median, sigma, p0, p5, p16, p50, p84,
        p95, p100`` (DN/s), ``cds_noise`` (DN), ``cosmic_rays``, ``primecrs``, ``extncrs``, ``flags``, ``residuals``
        (DN). None where there is no value.
    left_out : list of (str, str)
        URN of each version that can't be measured, and why.
    """
    core.catch_up()
    wanted = [ref for ref in refs if ref.kind in pixel_kinds()]
    left_out: dict[str, str] = {}
    for _ in range(_TRIES):  # others that measure at the same time may replace the rows for a moment
        load_pending(core)
        rows = read_statistics(core.catalog.database, [ref.serial for ref in wanted])
        known = {row["serial"] for row in rows if row["rules"] == RULES}
        fresh = [ref for ref in wanted if ref.serial not in known and ref.urn not in left_out]
        if not fresh:
            return _records(core, wanted, rows), list(left_out.items())
        left_out |= _measure_all(core, fresh, progress)
    raise Conflict("others measure the same versions again and again; try once more")


def _measure_all(core: Core, refs: Sequence[ProductRef], progress: Callable[[int, int], None] | None) -> dict[str, str]:
    """Measure versions and keep what was found; give the URNs of those that can't be measured, with the reason."""
    left_out: dict[str, str] = {}
    fresh = sorted(refs, key=lambda ref: (ref.name, ref.serial))
    contents = {row.serial: row.content for row in core.rows([ref.serial for ref in fresh])}
    made: dict[str, _Part] = {}
    measured = map_bounded(lambda ref: (ref, _measure(ref, contents[ref.serial])), fresh)
    for done, (ref, found) in enumerate(measured, 1):
        if isinstance(found, str):
            left_out[ref.urn] = found
        else:
            part = made.setdefault(ref.name, _Part([], []))
            part.rows.extend(found)
            part.inputs.append(ref.urn)
        if progress is not None:
            progress(done, len(fresh))
        if len(made) > _TOGETHER:
            _keep(core, made)
            made = {}
    _keep(core, made)
    return left_out


def _measure(ref: ProductRef, content: str) -> Rows | str:
    """Measure a version; give the reason where it can't be measured."""
    try:
        return rows_of(content, measure(ref.product)) or "it has no integrations"
    except FormatError as error:
        return str(error)


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows of an exposure, and the URNs of the versions that they are of."""

    rows: Rows
    inputs: list[str]


def _keep(core: Core, made: dict[str, _Part]) -> None:
    """Save the products, all in one entry, and make their rows; join what others saved meanwhile."""
    while made:
        names = list(made)
        before = {name: rows[-1] for name, rows in _versions(core, names).items()}
        prepared = [_prepare(core, name, made[name], before.get(name)) for name in names]
        saved = commit_together(core, prepared, pixels=False)
        now = _versions(core, names)
        made = {}
        for name, ref in zip(names, saved, strict=True):
            base = before[name].version if name in before else -1
            between = [row for row in now.get(name, ()) if base < row.version < ref.version]
            if between:
                parts = [_part_of(core, row) for row in between]
                made[name] = _Part(
                    [row for part in parts for row in part.rows], [urn for part in parts for urn in part.inputs]
                )


def _versions(core: Core, names: Sequence[str]) -> dict[str, list[ProductRow]]:
    """Give the living versions of the products of some exposures, by name and version."""
    core.catch_up()
    found: dict[str, list[ProductRow]] = {}
    for row in sorted(core.catalog.living(sorted(names)), key=lambda row: row.version):
        if row.kind == ExposureStatistics.kind:
            found.setdefault(row.name, []).append(row)
    return found


def _part_of(core: Core, row: ProductRow) -> _Part:
    """Read a product; nothing where it can't be read, for what it had is measured again."""
    try:
        rows = read_record(core.load_version(row))
    except MiripoolError:
        return _Part([], [])
    return _Part(rows, [urn for step in core.manifest(row).history for urn in step.get("inputs", ())])


def _prepare(core: Core, name: str, part: _Part, before: ProductRow | None) -> Prepared:
    """Prepare the product of an exposure: what it had of other versions, and what was measured now."""
    old = _Part([], []) if before is None else _part_of(core, before)
    again = {row["content"] for row in part.rows}
    joined = [row for row in old.rows if row["content"] not in again] + part.rows
    by_key = {(row["content"], row["integration"], row["amplifier"]): row for row in joined}  # versions may be equal
    rows = [by_key[key] for key in sorted(by_key)]
    inputs = list(dict.fromkeys(old.inputs + part.inputs))
    history = {"tool": "miripool statistics", "version": str(RULES), "parameters": {}, "inputs": inputs}
    return prepare(core.archive, make_record(name, rows), name=name, history=[history])


RECORD: Final = (
    *("urn", "kind", "name", "version", "time", "detector", "integration", "amplifier", "pixels", "median", "sigma"),
    *(f"p{percent}" for percent in PERCENTILES),
    *("cds_noise", "cosmic_rays", "primecrs", "extncrs", "flags", "residuals"),
)
"""Keys of a record."""

UNITS: Final = {
    **dict.fromkeys(("median", "sigma", *(f"p{percent}" for percent in PERCENTILES)), "DN/s"),
    "cds_noise": "DN",
}
"""Units of the columns of a record."""

_ABOUT: Final = ("urn", "kind", "name", "version", "start_time", "detector", "PRIMECRS", "EXTNCRS")


def _records(core: Core, refs: Sequence[ProductRef], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Make records of rows, in the order of the versions."""
    serials = [ref.serial for ref in refs]
    measured: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        measured.setdefault(row["serial"], []).append(row)
    about = dict(zip(serials, core.listing(serials, _ABOUT, check=False), strict=True))
    return [_record(about[serial], row) for serial in serials for row in measured.get(serial, ())]


def _record(about: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    percentiles = {f"p{percent}": value for percent, value in zip(PERCENTILES, row["percentiles"], strict=True)}
    found = {
        **row,
        **about,
        **percentiles,
        "time": about["start_time"],
        "integration": row["integration"] or None,
        "primecrs": about["PRIMECRS"],
        "extncrs": about["EXTNCRS"],
        "residuals": [_known(value) for value in row["residuals"]],
    }
    return {name: _known(found[name]) for name in RECORD}


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
