"""Lineage: what a version was made from, what was made of it, and with which reference files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .names import Urn
from .product import Exposure, Ramp, Rate, RateInts, Raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .archive import Archive
    from .index import Catalog, ProductRow
    from .index.rows import Origin

__all__ = ["Descent", "Use", "find_uses", "trace"]

_CALIBRATION = ((None, "CAL_VER"), (None, "CRDS_CTX"), (None, "R_GAIN"), (None, "R_DARK"), (None, "R_LINEAR"))
"""What a Ramp and the slopes of the same run agree in."""


@dataclass(frozen=True, slots=True)
class Descent:
    """A version, and what was made of it.

    Attributes
    ----------
    row : ProductRow
        The version.
    history : tuple of dict
        How it was made, as far as anybody said.
    references : dict of str to str
        Reference files by keyword: from the history, else from the header.
    contexts : tuple of ProductRow
        Living contexts that refer to it.
    into : tuple of Descent
        What was made of it; of what stands above the version asked for, only what leads to that.
    asked : bool
        Whether this is the version asked for.
    """

    row: ProductRow
    history: tuple[Mapping[str, Any], ...]
    references: Mapping[str, str]
    contexts: tuple[ProductRow, ...]
    into: tuple[Descent, ...]
    asked: bool

    def walk(self) -> Iterator[Descent]:
        """Go through the tree.

        Yields
        ------
        Descent
            This one, and all below.
        """
        yield self
        for below in self.into:
            yield from below.walk()


@dataclass(frozen=True, slots=True)
class Use:
    """A version that something went into.

    Attributes
    ----------
    row : ProductRow
        The version.
    how : str
        ``made from``, ``reference R_GAIN``, or ``refers to it as raw``.
    """

    row: ProductRow
    how: str


class _Family:
    """Finds parents and children of versions; each is looked up once."""

    def __init__(self, catalog: Catalog, is_ours: Callable[[str], bool]) -> None:
        self._catalog = catalog
        self._is_ours = is_ours
        self._parents: dict[int, list[ProductRow]] = {}

    def parents(self, row: ProductRow) -> list[ProductRow]:
        """Give what a version was made from: of slopes the ramp between, where an exposure holds both."""
        if row.serial not in self._parents:
            self._parents[row.serial] = self._find_parents(row)
        return self._parents[row.serial]

    def _find_parents(self, row: ProductRow) -> list[ProductRow]:
        inputs = self._inputs(self._catalog.origins([row.serial]))
        siblings = self._siblings(row)
        if row.kind in (RateInts.kind, Rate.kind):
            ramps = [other for other in siblings if other.kind == Ramp.kind and self._same_run(row, other)]
            if ramps:
                return ramps[:1]
        if inputs or row.kind not in (Ramp.kind, RateInts.kind, Rate.kind):
            return inputs
        return [other for other in siblings if other.kind == Raw.kind][:1]

    def children(self, row: ProductRow) -> list[ProductRow]:
        """Give what was made of a version."""
        made = [origin.serial for origin in self._catalog.origins(inputs=[row.serial]) if origin.input == row.serial]
        found = {other.serial: other for other in self._catalog.rows(sorted(set(made)))}
        for exposure in self._exposures(row):
            for other in self._referred(exposure):
                found.setdefault(other.serial, other)
        rows = [found[serial] for serial in sorted(found) if serial != row.serial]
        return [other for other in rows if any(parent.serial == row.serial for parent in self.parents(other))]

    def contexts(self, row: ProductRow) -> tuple[ProductRow, ...]:
        return tuple(self._catalog.referring([row.serial]))

    def _inputs(self, origins: Sequence[Origin]) -> list[ProductRow]:
        found = []
        for origin in origins:
            if origin.what == "input" and origin.input is not None:
                urn = Urn.parse(origin.name)
                rows = self._catalog.rows([origin.input]) if self._is_ours(urn.pool) else []
                found += [row for row in rows if row.kind == urn.kind]
        return found

    def _exposures(self, row: ProductRow) -> list[ProductRow]:
        return [c for c in self._catalog.referring([row.serial], removed=True) if c.kind == Exposure.kind]

    def _siblings(self, row: ProductRow) -> list[ProductRow]:
        """Give what the first exposure that has a version refers to besides."""
        first = self._exposures(row)[:1]
        return [other for exposure in first for other in self._referred(exposure) if other.serial != row.serial]

    def _referred(self, exposure: ProductRow) -> list[ProductRow]:
        return self._catalog.rows(list(self._catalog.links(exposure.serial).values()))

    def _same_run(self, row: ProductRow, other: ProductRow) -> bool:
        values = self._catalog.keyword_values([row.serial, other.serial], _CALIBRATION)
        one, two = values.get(row.serial, {}), values.get(other.serial, {})
        return all(one[key] == two[key] for key in _CALIBRATION if key in one and key in two)


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
        return Descent(one, history, references, family.contexts(one), tuple(into), one.serial == row.serial)

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
    return manifest.history, references


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
            found |= {child.serial: "made from" for child in level}
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
