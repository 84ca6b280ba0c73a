"""Measuring the versions of a pool that were not measured yet, and reading what was measured."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from ...errors import FormatError
from ...index.exposurestatistics import pending_records, read_statistics, take_records
from ...model.kinds import ExposureStatistics, pixel_kinds
from ...pool.save import commit_together
from ...pool.saving import prepare
from ...system.threads import map_bounded
from .measure import PERCENTILES, measure
from .record import RULES, Rows, make_record, read_record, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...index import ProductRow
    from ...pool.core import Core
    from ...pool.reference import ProductRef
    from ...pool.saving import Prepared

__all__ = ["MEASURED", "RECORD", "UNITS", "load_pending", "statistics_records", "update_statistics"]

MEASURED: Final = ("RateInts", "Rate", "Ramp")
"""Kinds that are measured unless others are named; Raw can be measured as well."""

_TOGETHER: Final = 200
"""Exposures that are saved in one journal entry."""


def load_pending(core: Core) -> None:
    """Make the rows of SQL from products of the kind ExposureStatistics that came with a new index or by another host.

    Parameters
    ----------
    core : Core
        The pool; its index is caught up. Nothing is done where the index can't be written.
    """
    database = core.catalog.database
    if database.read_only:
        return
    waiting, stale = pending_records(database)
    if waiting or stale:
        take_records(database, {ref.serial: read_record(ref.product) for ref in core.fetch(waiting)})


def update_statistics(
    core: Core, refs: Sequence[ProductRef], *, progress: Callable[[int, int], None] | None = None
) -> list[tuple[str, str]]:
    """Measure versions that were not measured before, and keep what was found.

    Parameters
    ----------
    core : Core
        The pool.
    refs : sequence of ProductRef
        Versions; those of other kinds than Raw, Ramp, RateInts and Rate are passed over.
    progress : callable, keyword-only, optional
        Told how many of how many were measured.

    Returns
    -------
    list of (str, str)
        URN of each version that can't be measured, and why.
    """
    core.catch_up()
    load_pending(core)
    wanted = [ref for ref in refs if ref.kind in pixel_kinds()]
    rows = read_statistics(core.catalog.database, [ref.serial for ref in wanted])
    known = {row["serial"] for row in rows if row["rules"] == RULES}
    fresh = sorted((ref for ref in wanted if ref.serial not in known), key=lambda ref: (ref.name, ref.serial))
    left_out: list[tuple[str, str]] = []
    made: dict[str, list[tuple[ProductRef, Rows]]] = {}
    for done, (ref, found) in enumerate(map_bounded(lambda ref: (ref, _measure(core, ref)), fresh), 1):
        if isinstance(found, str):
            left_out.append((str(ref.urn), found))
        else:
            made.setdefault(ref.name, []).append((ref, found))
        if progress is not None:
            progress(done, len(fresh))
        if len(made) > _TOGETHER:
            _keep(core, made)
            made = {}
    _keep(core, made)
    return left_out


def _measure(core: Core, ref: ProductRef) -> Rows | str:
    """Measure a version; give the reason where it can't be measured."""
    try:
        return rows_of(core.version(ref).manifest, measure(ref.product))
    except FormatError as error:
        return str(error)


def _keep(core: Core, made: dict[str, list[tuple[ProductRef, Rows]]]) -> None:
    """Save the products, all in one entry, and make their rows."""
    if not made:
        return
    before = {
        row.name: row for row in core.catalog.living(sorted(made)) if row.kind == ExposureStatistics.kind and row.head
    }
    prepared = [_prepare(core, name, measured, before.get(name)) for name, measured in made.items()]
    commit_together(core, prepared, pixels=False)
    load_pending(core)


def _prepare(core: Core, name: str, measured: list[tuple[ProductRef, Rows]], before: ProductRow | None) -> Prepared:
    """Prepare the product of an exposure: what it had of other versions, and what was measured now."""
    rows = [row for _, found in measured for row in found]
    inputs = [str(ref.urn) for ref, _ in measured]
    if before is not None:
        again = {row["manifest"] for row in rows}
        rows = [row for row in read_record(core.load_version(before)) if row["manifest"] not in again] + rows
        inputs = list(
            dict.fromkeys([urn for step in core.manifest(before).history for urn in step.get("inputs", ())] + inputs)
        )
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


def statistics_records(core: Core, refs: Sequence[ProductRef]) -> list[dict[str, Any]]:
    """Read the statistics of versions that were measured.

    Parameters
    ----------
    core : Core
        The pool.
    refs : sequence of ProductRef
        The versions.

    Returns
    -------
    list of dict
        In the order of the versions, by integration and amplifier: ``urn, kind, name, version, time, detector,
        integration`` (None for the mean of an exposure), ``amplifier, pixels, median, sigma, p0, p5, p16, p50, p84,
        p95, p100`` (DN/s), ``cds_noise`` (DN), ``cosmic_rays``, ``primecrs``, ``extncrs``, ``flags``, ``residuals``
        (DN). None where there is no value.
    """
    serials = [ref.serial for ref in refs]
    measured: dict[int, list[dict[str, Any]]] = {}
    for row in read_statistics(core.catalog.database, serials):
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
