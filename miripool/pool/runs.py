"""Runs: which products one run of the pipeline made together, and which raw exposure it can have made them from.

What a history records is known. What it does not, the headers are asked for: they can rule out a run or a raw, and
where more than one is left, nothing is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..model.names import Urn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ..index import Catalog, ProductRow
    from ..index.rows import KeywordValue

__all__ = ["Inputs", "Making", "group", "is_same_run", "raws_of", "read_inputs", "read_makings"]

_RUN = (
    "CAL_VER", "CRDS_CTX",
    "R_DARK", "R_EMICOR", "R_GAIN", "R_IPC", "R_LINEAR", "R_MASK", "R_READNO", "R_REFPIX", "R_RESET", "R_RSCD",
    "R_SATURA",
    "S_DARK", "S_DQINIT", "S_EMICOR", "S_FRSTFR", "S_IPC", "S_JUMP", "S_LASTFR", "S_LINEAR", "S_REFPIX", "S_RESET",
    "S_RSCD", "S_SATURA",
)  # fmt: skip
"""What the products of one run agree in, as far as they have it: a ramp is written before the last steps are done."""

_EXPOSURE = (
    "NINTS", "NGROUPS", "READPATT", "SUBSTRT1", "SUBSTRT2", "SUBSIZE1", "SUBSIZE2", "VISIT_ID", "SDP_VER", "OSS_VER",
    "PRD_VER", "DATE-BEG", "DATE-END",
)  # fmt: skip
"""What a product has from its raw exposure as it stands there. Numbers with fractions may be rounded on the way."""


@dataclass(frozen=True, slots=True)
class Making:
    """What the header of a version tells of how it was made.

    Attributes
    ----------
    row : ProductRow
        The version.
    date : str
        DATE, when the file was made; ISO, empty where the header has none.
    run, exposure : mapping of str to value
        Keywords that the products of one run, and a product and its raw exposure, have in common.
    """

    row: ProductRow
    date: str
    run: Mapping[str, KeywordValue]
    exposure: Mapping[str, KeywordValue]


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a version's history records that it was made from.

    Attributes
    ----------
    names : tuple of str
        As the history has them: URNs, of any pool.
    rows : tuple of ProductRow
        Those that are in this pool.
    """

    names: tuple[str, ...] = ()
    rows: tuple[ProductRow, ...] = ()


def read_inputs(catalog: Catalog, serials: Sequence[int], is_ours: Callable[[str], bool]) -> dict[int, Inputs]:
    """Read what histories record.

    Parameters
    ----------
    catalog : Catalog
        The pool's.
    serials : sequence of int
        Versions.
    is_ours : callable
        Tells whether the name of a pool, in a URN, is this one's.

    Returns
    -------
    dict of int to Inputs
        For each version of which anything is recorded.
    """
    asked = set(serials)
    origins = [o for o in (catalog.origins(serials) if serials else ()) if o.what == "input" and o.serial in asked]
    there = {row.serial: row for row in catalog.rows(sorted({o.input for o in origins if o.input is not None}))}
    found: dict[int, Inputs] = {}
    for origin in origins:
        before = found.get(origin.serial, Inputs())
        row = None if origin.input is None else there.get(origin.input)
        if row is not None:
            urn = Urn.parse(origin.name)
            row = row if is_ours(urn.pool) and row.kind == urn.kind else None
        found[origin.serial] = Inputs((*before.names, origin.name), before.rows if row is None else (*before.rows, row))
    return found


def read_makings(catalog: Catalog, rows: Iterable[ProductRow]) -> list[Making]:
    """Read what the headers of versions tell, in one statement.

    Parameters
    ----------
    catalog : Catalog
        The pool's.
    rows : iterable of ProductRow
        The versions.

    Returns
    -------
    list of Making
        In that order.
    """
    listed = list(rows)
    keys = [(None, key) for key in ("DATE", *_RUN, *_EXPOSURE)]
    values = catalog.keyword_values([row.serial for row in listed], keys)
    found = []
    for row in listed:
        told = {key: value for (_, key), value in values.get(row.serial, {}).items() if value is not None}
        run = {key: told[key] for key in _RUN if key in told and (told[key] != "N/A" or key == "CRDS_CTX")}
        exposure = {key: told[key] for key in _EXPOSURE if key in told}
        found.append(Making(row, str(told.get("DATE", "")), run, exposure))
    return found


def is_same_run(one: Making, other: Making) -> bool:
    """Tell whether one run can have made two products.

    Parameters
    ----------
    one, other : Making
        Of one exposure.

    Returns
    -------
    bool
        Whether they agree in all that both headers tell of CRDS context, software, references and steps.
    """
    return _agree(one.run, other.run)


def _agree(one: Mapping[str, KeywordValue], other: Mapping[str, KeywordValue]) -> bool:
    return all(other.get(key, value) == value for key, value in one.items())


def raws_of(made: Making, raws: Iterable[Making]) -> list[ProductRow]:
    """Find the raw exposures that a product can have been made from, by its header.

    Parameters
    ----------
    made : Making
        A ramp or rate.
    raws : iterable of Making
        All raw versions of its name, in the order of saving.

    Returns
    -------
    list of ProductRow
        Those that the header does not rule out: the living ones, or where none lives, those in the trash. Versions with
        the same data count once, the first of them.
    """
    fitting = [raw.row for raw in raws if raw.row.purged is None and _agree(made.exposure, raw.exposure)]
    living = [row for row in fitting if row.removed is None]
    by_content: dict[str, ProductRow] = {}
    for row in living or fitting:
        by_content.setdefault(row.content, row)
    return list(by_content.values())


def group(makings: Iterable[Making], parents: Mapping[int, Sequence[int]]) -> list[list[Making]]:
    """Sort products of one exposure by the run that made them.

    A run makes one product of a kind. Where headers don't tell two runs apart, the dates do: what was made next goes
    with what was made last.

    Parameters
    ----------
    makings : iterable of Making
        Ramps and rates in the order of saving.
    parents : mapping of int to sequence of int
        By serial, the serials of what a product was made from; nothing where that is unknown.

    Returns
    -------
    list of list of Making
        The runs, in the order of their making.
    """
    runs: list[list[Making]] = []
    for making in sorted(makings, key=lambda making: making.date):
        for run in reversed(runs):
            if all(_go_together(making, other, parents) for other in run):
                run.append(making)
                break
        else:
            runs.append([making])
    return runs


def _go_together(one: Making, other: Making, parents: Mapping[int, Sequence[int]]) -> bool:
    from_one, from_other = parents.get(one.row.serial), parents.get(other.row.serial)
    same = not from_one or not from_other or list(from_one) == list(from_other)
    return same and one.row.kind != other.row.kind and is_same_run(one, other)
