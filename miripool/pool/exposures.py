"""Exposures: the contexts that `add` and `reprocess` keep, one version for each run of the pipeline.

A run's exposure refers to what that run made, and to the raw exposure that it was made from where that is known. What
another run made is not in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from ..model.kinds import derived as derived_kinds
from ..model.kinds import slots, sources
from ..model.product import Exposure
from .contexts import follow_exposures, link_to
from .runs import group, is_same_run, raws_of, read_inputs, read_makings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ..index import Catalog, ProductRow
    from ..model.product import Link, Product
    from ..store.archive import Archive
    from .prepared import Prepared
    from .runs import Making

__all__ = ["plan"]

_T = TypeVar("_T")

_PIECE = 1000
"""Versions that are read by one statement where there may be any number."""


def plan(
    archive: Archive,
    catalog: Catalog,
    made: Sequence[int],
    known: Sequence[int],
    *,
    is_ours: Callable[[str], bool],
    load: Callable[[ProductRow], Product],
) -> Iterator[list[Prepared]]:
    """Prepare the exposures of products: a version for each run of which something is in none yet.

    Parameters
    ----------
    archive, catalog : Archive, Catalog
        The pool's, caught up.
    made, known : sequence of int
        Serials of new versions, and of versions that were there: of these, those that no living exposure refers to.
    is_ours : callable, keyword-only
        Tells whether the name of a pool, in a URN, is this one's.
    load : callable, keyword-only
        Gives a version's product.

    Yields
    ------
    list of Prepared
        To be saved in one entry, one list after the other: the n-th runs of all exposures.
    """
    from ..index.exposures import held_by_exposures

    rows = [row for piece in _pieces(made) for row in catalog.rows(piece)]
    for piece in _pieces(known):
        held = held_by_exposures(catalog.database, piece)
        rows += catalog.rows([serial for serial in piece if serial not in held])
    by_name: dict[str, list[ProductRow]] = {}
    for row in rows:
        if row.kind in slots() and row.removed is None:
            by_name.setdefault(row.name, []).append(row)
    plans = _Plans(archive, catalog, is_ours)
    waiting = [planned for names in _pieces(list(by_name)) for planned in plans.of(names, by_name)]
    while waiting:
        turn = {one.name: one for one in reversed(waiting)}
        waiting = [one for one in waiting if turn[one.name] is not one]
        first = list(reversed(turn.values()))
        changes = {one.name: {slots()[row.kind]: link_to(row) for row in one.rows} for one in first}
        inherit = {one.name: _inheriting(archive, catalog, one) for one in first}
        yield follow_exposures(archive, changes, lambda name, turn=turn: load(turn[name].rows[0]), inherit)  # type: ignore[misc]


def _pieces(listed: Sequence[_T]) -> Iterator[Sequence[_T]]:
    return (listed[start : start + _PIECE] for start in range(0, len(listed), _PIECE))


@dataclass(frozen=True, slots=True)
class _Plan:
    """An exposure that is to be saved: what it refers to, and of these what one run made."""

    name: str
    rows: list[ProductRow]
    run: list[Making] = field(default_factory=list)


class _Plans:
    """Finds the exposures of many names by a few statements."""

    def __init__(self, archive: Archive, catalog: Catalog, is_ours: Callable[[str], bool]) -> None:
        self._archive = archive
        self._catalog = catalog
        self._is_ours = is_ours

    def of(self, names: Sequence[str], by_name: Mapping[str, Sequence[ProductRow]]) -> Iterator[_Plan]:
        """Plan the exposures of some names, of one name in the order of making."""
        living: dict[str, list[ProductRow]] = {}
        for row in self._catalog.living(names):
            living.setdefault(row.name, []).append(row)
        wanted = {row.serial: row for name in names for row in (*by_name[name], *_raws(living.get(name, ())))}
        makings = {making.row.serial: making for making in read_makings(self._catalog, wanted.values())}
        made = [serial for serial, row in wanted.items() if row.kind in derived_kinds()]
        inputs = read_inputs(self._catalog, made, self._is_ours)
        for name in names:
            raws = [makings[row.serial] for row in _raws(living.get(name, ()))]
            derived = [makings[row.serial] for row in by_name[name] if row.kind in derived_kinds()]
            parents: dict[int, list[ProductRow]] = {}
            for making in derived:
                recorded = inputs.get(making.row.serial)
                fitting = raws_of(making, raws) if recorded is None else _raws(recorded.rows, living=name)
                parents[making.row.serial] = fitting if len(fitting) == 1 else []
            runs = group(derived, {serial: [row.serial for row in found] for serial, found in parents.items()})
            planned = []
            for run in runs:
                raw_of_it = next((parents[m.row.serial] for m in run if parents[m.row.serial]), [])
                planned.append(_Plan(name, [*raw_of_it, *(m.row for m in run)], run))
            used = {row.serial for one in planned for row in one.rows}
            for raw in (row for row in _raws(by_name[name]) if row.serial not in used):
                planned[:0] = list(self._with_raw(raw, raws, living.get(name, ()))) or [_Plan(name, [raw])]
            yield from planned

    def _with_raw(self, raw: ProductRow, raws: Sequence[Making], living: Sequence[ProductRow]) -> Iterator[_Plan]:
        """Find the exposures to which a raw belongs that came later than what was made of it."""
        links = [self._archive.manifest(row.manifest).references for row in living if row.kind == Exposure.kind]
        sets = [{link.serial for link in found if link.name != "raw"} for found in links]
        complete = [found for found, named in zip(sets, links, strict=True) if any(k.name == "raw" for k in named)]
        without = [found for found, named in zip(sets, links, strict=True) if not any(k.name == "raw" for k in named)]
        for number, found in enumerate(without):
            if any(found <= other for other in (*complete, *without[number + 1 :])):
                continue
            made = [row for row in self._catalog.rows(sorted(found)) if row.kind in derived_kinds()]
            run = read_makings(self._catalog, made)
            if run and all([row.serial for row in raws_of(making, raws)] == [raw.serial] for making in run):
                yield _Plan(raw.name, [raw, *(making.row for making in run)], run)


def _raws(rows: Iterable[ProductRow], *, living: str | None = None) -> list[ProductRow]:
    """Give the raw exposures among some versions; with a name, those of that name that are not in the trash."""
    found = [row for row in rows if row.kind in sources()]
    return found if living is None else [row for row in found if row.name == living and row.removed is None]


def _inheriting(archive: Archive, catalog: Catalog, plan: _Plan) -> Callable[[Sequence[ProductRow]], Sequence[Link]]:
    """Give what finds, as the pool stands then, what else the same run has made: it came in another call."""
    kinds = {making.row.kind for making in plan.run}
    raw = {row.serial for row in _raws(plan.rows)}

    def inherit(track: Sequence[ProductRow]) -> Sequence[Link]:
        for row in reversed(track):
            references = archive.manifest(row.manifest).references
            if not {link.serial for link in references if link.name == "raw"} <= raw:
                continue  # of another raw exposure, as far as is known
            links = [link for link in references if link.name != "raw"]
            own = [link.serial for link in links if slots().get(link.kind) == link.name]
            others = read_makings(catalog, catalog.rows(own))
            if not others or not all(is_same_run(one, other) for one in plan.run for other in others):
                continue
            # A second product of a kind is another run's, unless its header tells nothing of runs at all.
            new = {making.row.serial for making in plan.run}
            again = any(other.row.kind in kinds and other.row.serial not in new for other in others)
            if not again or not any(making.run for making in (*plan.run, *others)):
                return links
        return ()

    return inherit if plan.run else lambda _: ()
