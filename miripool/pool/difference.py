"""Difference: what changed from one version of a product to the next; from their manifests, and from their arrays."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput
from ..formats.stable import UNSTABLE_CARDS
from ..model.canonical import json_value
from ..model.cards import parse_header
from ..model.keywords import BENCH
from .elements import ElementChange, compare_elements, differing

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ..model.cards import Value
    from ..model.product import Product
    from ..store.manifest import Manifest

    _Cards = Mapping[tuple[str, str], Sequence[Value]]

__all__ = ["CardChange", "Difference", "LinkChange", "compare", "compare_products"]

_SHAPE = re.compile("NAXIS[0-9]*|PCOUNT|THEAP")
"""Keywords that follow from the shape of a dataset."""

_LOG = "ASDF"
"""HDU whose content is the datamodel's tree with the log of its making; it differs on every run."""


@dataclass(frozen=True, slots=True)
class CardChange:
    """One keyword that differs.

    Attributes
    ----------
    hdu, keyword : str
        Name of the HDU and of the keyword.
    old, new : str, int, float, bool, complex or None
        The values in the two versions; None if the keyword is missing or undefined.
    """

    hdu: str
    keyword: str
    old: Value
    new: Value

    def __str__(self) -> str:
        place = self.keyword if self.hdu == "PRIMARY" else f"{self.hdu}.{self.keyword}"
        return f"{place}: {_show(self.old)} → {_show(self.new)}"


@dataclass(frozen=True, slots=True)
class LinkChange:
    """One reference of a context that differs.

    Attributes
    ----------
    name : str
        Name of the reference.
    old, new : str or None
        Version to which the reference points in the two contexts, as a SPEC; None if there is no such reference.
    """

    name: str
    old: str | None
    new: str | None

    def __str__(self) -> str:
        return f"reference {self.name}: {_show(self.old)} → {_show(self.new)}"


@dataclass(frozen=True, slots=True, repr=False)
class Difference:
    """What differs between two versions.

    Attributes
    ----------
    cards : tuple of CardChange
        Keywords that differ. Keywords that every pipeline run writes again (DATE, CHECKSUM, DATASUM) are left out, and
        so are those that only describe the shape of a changed dataset. If a keyword is in several cards, such as
        COMMENT and HISTORY, the first value that differs is given.
    changed, added, gone : tuple of str
        Names of datasets that changed, that only the new version has, and that only the old version has.
    same : tuple of str
        Names of datasets with the same content.
    links : tuple of LinkChange
        References of a context that differ.
    elements : tuple of ElementChange
        Differences of the elements of changed datasets, if the elements were compared.
    products : tuple of (Product, Product) or None
        The versions whose elements were compared; `mask` needs them.
    """

    cards: tuple[CardChange, ...]
    changed: tuple[str, ...]
    added: tuple[str, ...]
    gone: tuple[str, ...]
    same: tuple[str, ...]
    links: tuple[LinkChange, ...] = ()
    elements: tuple[ElementChange, ...] = ()
    products: tuple[Product, Product] | None = field(default=None, compare=False, repr=False)

    def mask(self, name: str) -> NDArray[np.bool_]:
        """Tell which elements of a dataset differ.

        Parameters
        ----------
        name : str
            The dataset, e.g. ``SCI``.

        Returns
        -------
        numpy.ndarray of bool
            True where the versions differ, in the dataset's own shape, slowest axis first: (integration, group, row,
            column) for a ramp. NaN equals NaN.

        Raises
        ------
        NotFound
            If one of the versions lacks the dataset.
        InvalidInput
            If it is a table, or if dtype or shape differ.
        """
        if self.products is None:
            raise InvalidInput("the elements of these versions were not compared; pool.diff(old, new) compares them")
        return differing(name, *(product[name] for product in self.products))

    def __str__(self) -> str:
        return "\n".join(self.words()) or "no difference but times of making"

    def __repr__(self) -> str:
        return f"<Difference>\n{self}"

    def _repr_html_(self) -> str:
        lines = "".join(f"<li>{html.escape(line)}</li>" for line in self.words())
        return f"<ul>{lines}</ul>" if lines else "<p>no difference except in times of creation</p>"

    def to_json(self) -> dict[str, Any]:
        """Give the difference as values that JSON can hold.

        Returns
        -------
        dict
            ``datasets`` with the names under ``changed``, ``added`` and ``gone``; ``keywords``, each with ``hdu``,
            ``keyword``, ``old`` and ``new``; ``references`` of a context, each with ``name``, ``old`` and ``new``;
            ``elements`` of the changed datasets, if they were compared.
        """
        return {
            "datasets": {"changed": list(self.changed), "added": list(self.added), "gone": list(self.gone)},
            "elements": [change.to_json() for change in self.elements],
            "keywords": [
                {"hdu": c.hdu, "keyword": c.keyword, "old": json_value(c.old), "new": json_value(c.new)}
                for c in self.cards
            ],
            "references": [{"name": c.name, "old": c.old, "new": c.new} for c in self.links],
        }

    def words(self) -> list[str]:
        """Describe the difference in words.

        Returns
        -------
        list of str
            One line for each thing that changed; empty if nothing did.
        """
        lines = []
        for label, names in (("changed", self.changed), ("added", self.added), ("gone", self.gone)):
            if names:
                lines.append(f"datasets {label}: {', '.join(names)}")
        return [*lines, *map(str, self.elements), *map(str, self.links), *map(str, self.cards)]


def compare(old: Manifest, new: Manifest) -> Difference:
    """Compare two versions without opening a blob.

    Parameters
    ----------
    old, new : Manifest
        The versions.

    Returns
    -------
    Difference
        From `old` to `new`.
    """
    before, after = _datasets(old), _datasets(new)
    both = [name for name in after if name in before]
    changed = tuple(name for name in both if before[name] != after[name])
    return Difference(
        cards=tuple(_card_changes(_cards(old), _cards(new), changed)),
        changed=changed,
        added=tuple(name for name in after if name not in before),
        gone=tuple(name for name in before if name not in after),
        same=tuple(name for name in both if name not in changed),
        links=tuple(_link_changes(old, new)),
    )


def compare_products(old: Product, new: Product, difference: Difference) -> Difference:
    """Compare the elements of what changed.

    Parameters
    ----------
    old, new : Product
        The versions; the datasets that changed are read.
    difference : Difference
        From `compare`.

    Returns
    -------
    Difference
        The same, with `elements`.
    """
    found = tuple(
        compare_elements(name, old.datasets[name], new.datasets[name])
        for name in difference.changed
        if name in old.datasets and name in new.datasets
    )
    return replace(difference, elements=found, products=(old, new))


def _link_changes(old: Manifest, new: Manifest) -> Iterator[LinkChange]:
    before, after = ({k.name: f"{k.kind}/{k.product}@{k.version}" for k in m.references} for m in (old, new))
    for name in dict.fromkeys([*before, *after]):
        if before.get(name) != after.get(name):
            yield LinkChange(name, before.get(name), after.get(name))


def _datasets(manifest: Manifest) -> dict[str, tuple[str | None, ...]]:
    """Name the content of each dataset: its array and what stands behind a table's rows, or its bytes as they are."""
    content = {}
    for hdu in manifest.hdus:
        parts = (hdu.data, hdu.heap) if hdu.data is not None else (hdu.raw,)
        if any(parts) and hdu.name != _LOG:
            content[hdu.name] = tuple(None if ref is None else ref.digest for ref in parts)
    return content


def _card_changes(before: _Cards, after: _Cards, changed: Container[str]) -> Iterator[CardChange]:
    for hdu, keyword in dict.fromkeys([*before, *after]):
        if hdu in changed and _SHAPE.fullmatch(keyword):
            continue
        olds, news = before.get((hdu, keyword), ()), after.get((hdu, keyword), ())
        for i in range(max(len(olds), len(news))):
            old, new = olds[i : i + 1], news[i : i + 1]
            if old != new or _are_truths(old) != _are_truths(new):
                yield CardChange(hdu, keyword, old[0] if old else None, new[0] if new else None)
                break


def _are_truths(values: Sequence[Value]) -> bool:
    """Tell a truth value from a number, for Python has True == 1."""
    return any(isinstance(value, bool) for value in values)


def _cards(manifest: Manifest) -> _Cards:
    found: dict[tuple[str, str], list[Value]] = {}
    headers = [(hdu.name, hdu.header) for hdu in manifest.hdus if hdu.name != _LOG]
    if manifest.original is not None:
        headers.append((BENCH, manifest.original.header))
    for name, header in headers:
        for card in parse_header(header):
            if card.keyword and card.keyword not in UNSTABLE_CARDS:
                found.setdefault((name, card.keyword), []).append(card.value)
    return found


def _show(value: Value) -> str:
    return "—" if value is None else str(value)
