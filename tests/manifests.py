"""Manifests and journal entries made by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from miripool.errors import NotFound
from miripool.model.canonical import digest_bytes
from miripool.model.cards import format_card
from miripool.model.product import Origin
from miripool.model.statistics import Statistics
from miripool.store.journal import Action, Entry, Journal, Save
from miripool.store.manifest import BlobRef, HduRecord, Manifest

START = datetime(2024, 1, 1, tzinfo=UTC)


def make_header(cards: Iterable[tuple[str, Any]] | Mapping[str, Any]) -> bytes:
    """Write a header; values may be raw card images (80 bytes)."""
    pairs = cards.items() if isinstance(cards, Mapping) else cards
    text = b"".join(v if isinstance(v, bytes) else format_card(k, v) for k, v in pairs) + b"END".ljust(80)
    return text.ljust(-(-len(text) // 2880) * 2880)


def make_manifest(
    cards: Iterable[tuple[str, Any]] | Mapping[str, Any] = (),
    *,
    kind: str = "Ramp",
    name: str = "a",
    sci: Iterable[tuple[str, Any]] | Mapping[str, Any] | None = None,
    filename: str | None = "a_ramp.fits",
    size: int = 5760,
) -> Manifest:
    """Make a manifest with a primary header and, where `sci` is given, an image SCI of shape (2, 3)."""
    hdus = [HduRecord(make_header(cards), "PRIMARY", "none")]
    if sci is not None:
        blob = BlobRef(digest_bytes(repr(sci).encode()), np.dtype("f4"), (2, 3))
        summary = Statistics(0.0, 5.0, 2.5, 1.7, 6, 0)
        hdus.append(HduRecord(make_header(sci), "SCI", "image", "DN", None, summary, blob))
    origin = None if filename is None else Origin(filename, size, digest_bytes(filename.encode()))
    return Manifest(kind, name, tuple(hdus), origin=origin)


class Chain:
    """Journal entries without a journal, and the manifests that they name."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.manifests: dict[str, Manifest] = {}
        self.versions: dict[tuple[str, str], int] = {}
        self.serial = 0

    def manifest(self, digest: str) -> Manifest:
        if digest not in self.manifests:
            raise NotFound(f"manifest {digest} is not there")
        return self.manifests[digest]

    def save(self, name: str = "a", kind: str = "Ramp", manifest: Manifest | None = None) -> Save:
        """Make a save of the track's next version, to be put into an entry."""
        made = manifest or make_manifest({"SERIAL": self.serial}, kind=kind, name=name)
        made = dataclasses.replace(made, kind=kind, name=name)
        digest = digest_bytes(made.to_bytes())
        self.manifests[digest] = made
        version = self.versions[kind, name] = self.versions.get((kind, name), -1) + 1
        save = Save(self.serial, kind, name, version, digest, f"content-{self.serial}", 100)
        self.serial += 1
        return save

    def add(self, *actions: Action) -> Entry:
        """Write the next entry."""
        n = len(self.entries)
        last = self.entries[-1] if n else None
        made = Journal.next_entry(last, actions)
        # The same in each process that makes them.
        signed = {"user": "ana", "host": f"host{n % 3}", "nonce": f"{n:016x}"}
        entry = dataclasses.replace(made, time=START + timedelta(seconds=n), **signed).sealed()
        self.entries.append(entry)
        return entry

    def add_saves(self, names: Sequence[str]) -> None:
        """Write an entry for each."""
        for name in names:
            self.add(self.save(name))
