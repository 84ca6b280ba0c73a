"""Lineage: what a version was made from, what was made of it, and with which reference files."""

from __future__ import annotations

import copy
import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ..errors import InvalidInput
from ..model.kinds import KINDS, derived, sources
from ..model.names import Urn
from ..model.product import Exposure
from .runs import Inputs, Making, is_same_run, raws_of, read_inputs, read_makings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ..index import Catalog, ProductRow
    from ..store.archive import Archive

__all__ = ["Descent", "Lineage", "Source", "Use", "find_uses", "trace"]


class Lineage(list["Descent"]):
    """The original versions that a version goes back to, each with what was made from it; shown as a tree."""

    def __str__(self) -> str:
        return "\n".join(line for node in self for line in _as_lines(node, ""))

    def __repr__(self) -> str:
        return f"<Lineage>\n{self}"

    def _repr_html_(self) -> str:
        return f"<ul>{''.join(map(_as_item, self))}</ul>"


def _as_lines(node: Descent, before: str) -> Iterator[str]:
    row = node.row
    tags = f"  [{', '.join(row.tags)}]" if row.tags else ""
    how = f"  {node.source.how}" if node.source is not None else ""
    yield f"{before}{row.kind}/{row.name}@{row.version}{tags}{how}{'  ← this' if node.asked else ''}"
    for below in node.into:
        yield from _as_lines(below, f"{before}    ")


def _as_item(node: Descent) -> str:
    row = node.row
    named = html.escape(f"{row.kind}/{row.name}@{row.version}")
    tags = html.escape(f" [{', '.join(row.tags)}]") if row.tags else ""
    how = f" <i>{html.escape(node.source.how)}</i>" if node.source is not None else ""
    below = f"<ul>{''.join(map(_as_item, node.into))}</ul>" if node.into else ""
    return f"<li>{f'<b>{named}</b>' if node.asked else named}{tags}{how}{below}</li>"


@dataclass(frozen=True, slots=True)
class Descent:
    """A version, and what was made from it.

    Attributes
    ----------
    row : ProductRow
        The version.
    history : tuple of dict
        How the version was made, as far as it is recorded.
    references : dict of str to str
        Reference files by keyword: from the history, otherwise from the header.
    contexts : tuple of ProductRow
        Contexts that refer to the version and are not in the trash.
    into : tuple of Descent
        Versions made from this one. Above the version asked for, only the branch that leads to it.
    asked : bool
        Whether this is the version asked for.
    source : Source or None
        How it is known what the version was made from; None for originals, e.g. raw exposures.
    """

    row: ProductRow
    history: tuple[Mapping[str, Any], ...]
    references: Mapping[str, str]
    contexts: tuple[ProductRow, ...]
    into: tuple[Descent, ...]
    asked: bool
    source: Source | None

    def walk(self) -> Iterator[Descent]:
        """Go through the tree.

        Yields
        ------
        Descent
            This node and all below it.
        """
        yield self
        for below in self.into:
            yield from below.walk()


@dataclass(frozen=True, slots=True)
class Use:
    """A version that was made from another version or with a reference file.

    Attributes
    ----------
    row : ProductRow
        The version.
    how : str
        ``made from``, or ``made from, inferred`` if no history records it; ``reference R_GAIN``; ``refers to it as
        raw``.
    """

    row: ProductRow
    how: str


@dataclass(frozen=True, slots=True)
class Source:
    """How it is known what a version was made from.

    Attributes
    ----------
    how : {'recorded', 'inferred', 'unknown'}
        Recorded in its history; inferred from headers and exposures; or not known.
    why : str
        The reason, in words.
    candidates : tuple of ProductRow
        If it is unknown, the raw exposures that its header does not rule out.
    """

    how: Literal["recorded", "inferred", "unknown"]
    why: str
    candidates: tuple[ProductRow, ...] = ()


class _Family:
    """Finds parents and children of versions; each is looked up once."""

    def __init__(self, catalog: Catalog, is_ours: Callable[[str], bool]) -> None:
        self._catalog = catalog
        self._is_ours = is_ours
        self._found: dict[int, tuple[list[ProductRow], Source | None]] = {}
        self._inputs: dict[int, Inputs] = {}
        self._tracks: dict[str, dict[int, Making]] = {}

    def parents(self, row: ProductRow) -> list[ProductRow]:
        """Give what a version was made from: of slopes the ramp of their run, where it is there."""
        return self._find(row)[0]

    def source(self, row: ProductRow) -> Source | None:
        """Tell how that is known; None of what need not be made from anything."""
        return self._find(row)[1]

    def _find(self, row: ProductRow) -> tuple[list[ProductRow], Source | None]:
        if row.serial not in self._found:
            self._found[row.serial] = self._look_up(row)
        return self._found[row.serial]

    def _look_up(self, row: ProductRow) -> tuple[list[ProductRow], Source | None]:
        recorded = self._recorded(row)
        parents = KINDS[row.kind].parents if row.kind in KINDS else ()
        if any(parent in derived() for parent in parents):
            ramp = self._ramp_of(row, recorded)
            if ramp is not None:
                both = recorded.names and recorded.names == self._recorded(ramp).names
                return [ramp], Source("recorded" if both or ramp in recorded.rows else "inferred", "same run")
        if recorded.names:
            there = {row.serial for row in recorded.rows}
            elsewhere = [name for name in recorded.names if _serial_of(name) not in there]
            why = f"{', '.join(elsewhere)}, which is not in this pool" if elsewhere else "its history names it"
            return list(recorded.rows), Source("recorded", why)
        if not parents:
            return [], None
        track = self._track(row.name)
        raws = raws_of(track[row.serial], [making for making in track.values() if making.row.kind in sources()])
        if len(raws) == 1:
            return raws, Source("inferred", "same exposure")
        words = ", ".join(f"{raw.kind}/{raw.name}@{raw.version}" for raw in raws)
        missing = f"no {parents[-1]}/{row.name} in this pool matches its header"
        why = f"{words} match its header equally well" if raws else missing
        return [], Source("unknown", why, tuple(raws))

    def _recorded(self, row: ProductRow) -> Inputs:
        if row.serial not in self._inputs:
            self._inputs |= {row.serial: Inputs()} | read_inputs(self._catalog, [row.serial], self._is_ours)
        return self._inputs[row.serial]

    def _track(self, name: str) -> dict[int, Making]:
        """Give what the headers of all versions of a name tell, by serial, those of the trash too."""
        if name not in self._tracks:
            rows = [row for kind in (*sources(), *derived()) for row in self._catalog.track(kind, name)]
            makings = sorted(read_makings(self._catalog, rows), key=lambda making: making.row.serial)
            serials = [making.row.serial for making in makings]
            self._inputs |= dict.fromkeys(serials, Inputs()) | read_inputs(self._catalog, serials, self._is_ours)
            self._tracks[name] = {making.row.serial: making for making in makings}
        return self._tracks[name]

    def _ramp_of(self, row: ProductRow, recorded: Inputs) -> ProductRow | None:
        """Find the ramp that the run which made some slopes made before: an exposure has both, or the headers tell."""
        track = self._track(row.name)
        slopes = track[row.serial]
        nearer = [parent for parent in KINDS[row.kind].parents if parent in derived()]
        fitting = [m for m in track.values() if m.row.kind in nearer and is_same_run(slopes, m)]
        fitting = [m for m in fitting if not recorded.names or self._agree(recorded, self._recorded(m.row), m.row)]
        for exposure in self._exposures(row):
            held = set(self._catalog.links(exposure.serial).values())
            for ramp in fitting:
                if ramp.row.serial in held:
                    return ramp.row
        proven = [m.row for m in fitting if m.run and m.row.purged is None]
        return proven[0] if len(proven) == 1 and slopes.run else None

    def _agree(self, slopes: Inputs, ramp: Inputs, row: ProductRow) -> bool:
        """Tell whether slopes of which the input is recorded can be of the same run as a ramp."""
        return not ramp.names or ramp.names == slopes.names or row in slopes.rows

    def children(self, row: ProductRow) -> list[ProductRow]:
        """Give what was made of a version."""
        made = [origin.serial for origin in self._catalog.origins(inputs=[row.serial]) if origin.input == row.serial]
        found = {other.serial: other for other in self._catalog.rows(sorted(set(made)))}
        if row.kind in (*sources(), *derived()):
            found |= {serial: making.row for serial, making in self._track(row.name).items()}
        rows = [found[serial] for serial in sorted(found) if serial != row.serial]
        return [other for other in rows if any(parent.serial == row.serial for parent in self.parents(other))]

    def contexts(self, row: ProductRow) -> tuple[ProductRow, ...]:
        """Give the living contexts that refer to a version."""
        return tuple(self._catalog.referring([row.serial]))

    def _exposures(self, row: ProductRow) -> list[ProductRow]:
        return [c for c in self._catalog.referring([row.serial], removed=True) if c.kind == Exposure.kind]


def _serial_of(urn: str) -> int | None:
    try:
        return Urn.parse(urn).serial
    except InvalidInput:
        return None


def trace(archive: Archive, catalog: Catalog, row: ProductRow, is_ours: Callable[[str], bool]) -> list[Descent]:
    """Draw where a version comes from and where it went.

    Parameters
    ----------
    archive, catalog : Archive, Catalog
        The pool's; no blob is opened.
    row : ProductRow
        The version.
    is_ours : callable
        Tells whether the name of a pool, in a URN, is this one's.

    Returns
    -------
    list of Descent
        What the version goes back to in the end, or it itself; with all that leads from there to it, and all that was
        made of it.
    """
    family = _Family(catalog, is_ours)

    def describe(one: ProductRow, into: Sequence[Descent]) -> Descent:
        history, references = _history(archive, one)
        asked = one.serial == row.serial
        return Descent(one, history, references, family.contexts(one), tuple(into), asked, family.source(one))

    def below(one: ProductRow, above: frozenset[int]) -> Descent:
        seen = above | {one.serial}
        return describe(one, [below(child, seen) for child in family.children(one) if child.serial not in seen])

    def above(one: ProductRow, tree: Descent, seen: frozenset[int]) -> list[Descent]:
        parents = [parent for parent in family.parents(one) if parent.serial not in seen]
        if not parents:
            return [tree]
        return [root for parent in parents for root in above(parent, describe(parent, [tree]), seen | {parent.serial})]

    return above(row, below(row, frozenset()), frozenset({row.serial}))


def _history(archive: Archive, row: ProductRow) -> tuple[tuple[Mapping[str, Any], ...], dict[str, str]]:
    manifest = archive.manifest(row.manifest)
    references: dict[str, str] = {}
    for step in manifest.history:
        files = step.get("references")
        for keyword, file in files.items() if isinstance(files, dict) else ():
            references[keyword] = str(file.get("name")) if isinstance(file, dict) else str(file)
    if not references:
        cards = archive.product(manifest).meta.to_dict()
        named = {k: v for k, v in cards.items() if k.startswith("R_") and isinstance(v, str)}
        references = {k: v.removeprefix("crds://") for k, v in named.items() if v not in ("", "N/A")}
    return copy.deepcopy(manifest.history), references  # the manifest is kept


def _tell_how(source: Source | None) -> str:
    return "made from, inferred" if source is not None and source.how == "inferred" else "made from"


def find_uses(
    catalog: Catalog, is_ours: Callable[[str], bool], *, row: ProductRow | None, names: Sequence[str]
) -> list[Use]:
    """Find what a version, or a reference file, went into.

    Parameters
    ----------
    catalog : Catalog
        The pool's.
    is_ours : callable
        Tells whether the name of a pool, in a URN, is this one's.
    row : ProductRow or None, keyword-only
        The version; the file that it came from counts as a reference file as well.
    names : sequence of str, keyword-only
        Names of the reference file.

    Returns
    -------
    list of Use
        Living versions, each once, in the order of saving.
    """
    found: dict[int, str] = {}
    files, digests = list(names), []
    if row is not None:
        family, level = _Family(catalog, is_ours), [row]
        while level:
            level = [child for one in level for child in family.children(one) if child.serial not in found]
            found |= {child.serial: _tell_how(family.source(child)) for child in level}
        files += [row.filename] if row.filename else []
        digests += [row.file_digest] if row.file_digest else []
    written = [way for name in files for way in (name, f"crds://{name}")]
    for serial, keyword in catalog.with_reference(written) if written else ():
        found.setdefault(serial, f"reference {keyword}")
    for origin in catalog.origins(names=files, digests=digests) if files or digests else ():
        found.setdefault(origin.serial, f"reference {origin.what}")
    uses = [Use(other, found[other.serial]) for other in catalog.rows(sorted(found)) if other.removed is None]
    if row is not None:
        for context in catalog.referring([row.serial]):
            if context.serial not in found:
                named = [name for name, target in catalog.links(context.serial).items() if target == row.serial]
                uses.append(Use(context, f"refers to it as {', '.join(named)}"))
    return sorted(uses, key=lambda use: use.row.serial)
