"""Difference: what changed from one version of a product to the next, from their manifests alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .cards import parse_header
from .formats.stable import UNSTABLE_CARDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .cards import Card, Value
    from .manifest import Manifest

__all__ = ["CardChange", "Difference", "compare"]

_LOG = "ASDF"
"""HDU whose content is the datamodel's tree with the log of its making; it differs on every run."""


@dataclass(frozen=True, slots=True)
class CardChange:
    """One keyword that differs.

    Attributes
    ----------
    hdu, keyword : str
        Where it stands.
    old, new : str, int, float, bool, complex or None
        Its values; None where it is missing or undefined.
    """

    hdu: str
    keyword: str
    old: Value
    new: Value

    def __str__(self) -> str:
        place = self.keyword if self.hdu == "PRIMARY" else f"{self.hdu}.{self.keyword}"
        return f"{place}: {_show(self.old)} → {_show(self.new)}"


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between two versions.

    Attributes
    ----------
    cards : tuple of CardChange
        Keywords, those left out that every pipeline run writes anew (DATE, CHECKSUM, DATASUM) and those that only
        describe the shape of a dataset that changed.
    changed, added, gone : tuple of str
        Datasets.
    same : tuple of str
        Datasets with the same content.
    """

    cards: tuple[CardChange, ...]
    changed: tuple[str, ...]
    added: tuple[str, ...]
    gone: tuple[str, ...]
    same: tuple[str, ...]

    def words(self) -> list[str]:
        """Tell it in words.

        Returns
        -------
        list of str
            One line for each thing that changed; empty if nothing did.
        """
        lines = []
        for label, names in (("changed", self.changed), ("added", self.added), ("gone", self.gone)):
            if names:
                lines.append(f"datasets {label}: {', '.join(names)}")
        return [*lines, *map(str, self.cards)]


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
    return Difference(
        cards=tuple(_card_changes(old, new)),
        changed=tuple(name for name in both if before[name] != after[name]),
        added=tuple(name for name in after if name not in before),
        gone=tuple(name for name in before if name not in after),
        same=tuple(name for name in both if before[name] == after[name]),
    )


def _datasets(manifest: Manifest) -> dict[str, str]:
    return {hdu.name: hdu.data.digest for hdu in manifest.hdus if hdu.data is not None and hdu.name != _LOG}


def _card_changes(old: Manifest, new: Manifest) -> list[CardChange]:
    before, after = _cards(old), _cards(new)
    changes = []
    for place in dict.fromkeys([*before, *after]):
        first, second = before.get(place), after.get(place)
        first_value = None if first is None else first.value
        second_value = None if second is None else second.value
        if (first is None) != (second is None) or first_value != second_value:
            changes.append(CardChange(place[0], place[1], first_value, second_value))
    return changes


def _cards(manifest: Manifest) -> Mapping[tuple[str, str], Card]:
    found: dict[tuple[str, str], Card] = {}
    for hdu in manifest.hdus:
        if hdu.name == _LOG:
            continue
        for card in parse_header(hdu.header):
            if card.keyword and card.keyword not in UNSTABLE_CARDS:
                found.setdefault((hdu.name, card.keyword), card)
    return found


def _show(value: Value) -> str:
    return "—" if value is None else str(value)
