"""Finding: which version a URN, a SPEC or a tag means."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, TypeAlias

from ..errors import AmbiguousSpec, ProductNotFound
from ..model.keywords import suggest
from ..model.kinds import KINDS, beside, kind_class
from ..model.names import Spec, Urn, parse_spec
from .reference import ProductRef

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..index import Catalog, ProductRow
    from ..store.poolinfo import PoolInfo
    from .reference import Version

__all__ = ["Finder", "Reference", "kept", "only_one"]

_BESIDE = beside()

Reference: TypeAlias = "ProductRef | Urn | str"
"""How callers may name a version: a reference, a URN, or a SPEC such as ``Ramp/name@cal v1``."""


class Finder:
    """Finds versions of one pool, those in the trash too.

    Parameters
    ----------
    catalog : Catalog
        Its index, caught up.
    info : PoolInfo
        Its id and the names it had.
    name : str
        Its name.
    """

    def __init__(self, catalog: Catalog, info: PoolInfo, name: str) -> None:
        self._catalog = catalog
        self._info = info
        self._name = name

    def row(self, ref: Reference) -> ProductRow:
        """Find a version.

        Parameters
        ----------
        ref : ProductRef, Urn or str
            A SPEC without version or tag means the head or, where all is in the trash, the newest there.

        Returns
        -------
        ProductRow
            Its row.

        Raises
        ------
        ProductNotFound
            If there is none; the message names the nearest.
        AmbiguousSpec
            If the name stands for products of several kinds.
        """
        if isinstance(ref, ProductRef):
            if ref.pool.id != self._info.id:
                raise ProductNotFound(f"{ref.urn} belongs to another pool, not to {self._name!r}")
            ref = Urn(self._name, ref.kind, ref.serial)
        spec = Spec(urn=ref) if isinstance(ref, Urn) else parse_spec(ref)
        return self._by_urn(spec.urn) if spec.urn is not None else self._by_track(spec, str(ref))

    def is_ours(self, pool: str) -> bool:
        """Tell whether a pool's name, in a URN, means this pool.

        Parameters
        ----------
        pool : str
            The name.

        Returns
        -------
        bool
            True for its name and those it had before.
        """
        return pool == self._name or pool in self._info.former_names

    def row_in_trash(self, ref: Reference) -> ProductRow:
        """Find a version that is to be restored.

        Parameters
        ----------
        ref : ProductRef, Urn or str
            A SPEC without version or tag means the newest of its track that is in the trash.

        Returns
        -------
        ProductRow
            Its row.

        Raises
        ------
        ProductNotFound
            If there is none, or if it was removed for good.
        """
        spec = parse_spec(ref) if isinstance(ref, str) else None
        if spec is None or spec.urn is not None or spec.version is not None or spec.label is not None:
            row = self.row(ref)
            kept(self._name, row)
            return row
        track = self._track(spec, str(ref), trash=True)
        removed = [row for row in track if row.removed is not None and row.purged is None]
        if not removed:
            raise ProductNotFound(f"no version of {track[0].kind}/{track[0].name} is in the trash")
        return removed[-1]

    def living(self, row: ProductRow) -> ProductRow:
        """Raise an error if a version is in the trash or was removed for good.

        Parameters
        ----------
        row : ProductRow
            The version.

        Returns
        -------
        ProductRow
            The same.

        Raises
        ------
        ProductNotFound
            If it is.
        """
        kept(self._name, row)
        if row.removed is not None:
            raise ProductNotFound(
                f"{Urn(self._name, row.kind, row.serial)} was put into the trash on {row.removed:%Y-%m-%d %H:%M} UTC; "
                "`miripool restore` brings it back"
            )
        return row

    def _by_urn(self, urn: Urn) -> ProductRow:
        if not self.is_ours(urn.pool):
            raise ProductNotFound(f"{urn} belongs to pool {urn.pool!r}, not to {self._name!r}")
        rows = self._catalog.rows([urn.serial])
        if not rows or rows[0].kind != urn.kind:
            there = f"; there is {Urn(self._name, rows[0].kind, urn.serial)}" if rows else ""
            raise ProductNotFound(f"there is no {urn} in this pool{there}")
        return rows[0]

    def _by_track(self, spec: Spec, text: str) -> ProductRow:
        track = self._track(spec, text)
        living = [row for row in track if row.removed is None]
        if spec.version is not None:
            found = [row for row in track if row.version == spec.version]
        elif spec.label is not None:
            found = [row for row in living if spec.label in row.tags]
        else:
            found = living[-1:] or track[-1:]
        if not found:
            raise ProductNotFound(_not_in_track(text, track))
        return found[0]

    def _track(self, spec: Spec, text: str, *, trash: bool = False) -> list[ProductRow]:
        """Find the one track that a SPEC means: one with living versions first; for `trash`, with removed ones."""
        assert spec.name is not None  # noqa: S101 - a Spec without URN has a name
        kind = None if spec.kind is None else kind_class(spec.kind).kind
        heads = set() if trash else {head.kind for head in self._catalog.by_name(spec.name, kind)}
        kinds = [k for k in KINDS if k in heads] or ([kind] if kind is not None else list(KINDS))
        if kind is None:  # a context is meant by a bare name where nothing else has it
            kinds = [k for k in kinds if k not in _BESIDE] or kinds
        tracks = [track for kind in kinds if (track := self._catalog.track(kind, spec.name))]
        if trash:
            tracks = [
                track for track in tracks if any(row.removed is not None and row.purged is None for row in track)
            ] or tracks
        if not tracks:
            missing = f"no {kind or 'product'} {spec.name!r} in pool {self._name}"
            others = ", ".join(f"{other}/{spec.name}" for other in KINDS if self._catalog.track(other, spec.name))
            raise ProductNotFound(missing + (f"; there is {others}" if others else self._suggestion(spec.name)))
        if len(tracks) > 1:
            choices = ", ".join(f"{track[0].kind}/{spec.name}" for track in tracks)
            raise AmbiguousSpec(f"{text!r} is ambiguous: there are {choices}; give the kind")
        return tracks[0]

    def _suggestion(self, name: str) -> str:
        starts = dict.fromkeys((name[: len(name) * 3 // 4], name[: len(name) // 2], name[:2], ""))
        near = suggest(name, [found for start in starts for found in self._catalog.names_like(start)])
        return f"; did you mean {' or '.join(near)}?" if near else ""


def _not_in_track(text: str, track: Sequence[ProductRow]) -> str:
    there = ", ".join(
        f"{row.version}{' (gone)' if row.purged is not None else ' (in the trash)' if row.removed is not None else ''}"
        f"{' [' + ', '.join(row.tags) + ']' if row.tags else ''}"
        for row in track[-20:]
    )
    return f"there is no version {text!r}; {track[0].kind}/{track[0].name} has versions {there}"


def kept(pool: str, row: Version) -> None:
    """Raise an error if a version was removed for good.

    Parameters
    ----------
    pool : str
        The pool's name.
    row : Version
        The version.

    Raises
    ------
    ProductNotFound
        If it was.
    """
    if row.purged is not None:
        trash = "" if row.removed is None else f", after it was put into the trash on {row.removed:%Y-%m-%d %H:%M}"
        urn = str(Urn(pool, row.kind, row.serial))
        command = shlex.join(["miripool", "show", pool, urn, "--as-of", str(row.entry)])
        raise ProductNotFound(
            f"{urn} was removed for good on {row.purged:%Y-%m-%d %H:%M} UTC{trash}: its arrays are gone; "
            f"`{command}` still shows its metadata, `miripool lineage` what it was made from"
        )


def only_one(refs: Sequence[ProductRef], label: str) -> ProductRef:
    """Raise an error if a tag marks several versions.

    Parameters
    ----------
    refs : sequence of ProductRef
        What it marks.
    label : str
        The tag.

    Returns
    -------
    ProductRef
        The version.

    Raises
    ------
    AmbiguousSpec
        If there are several; the message lists them.
    """
    if len(refs) > 1:
        shown = ", ".join(ref.urn for ref in refs[:10])
        more = f" and {len(refs) - 10} more" if len(refs) > 10 else ""
        raise AmbiguousSpec(f"tag {label!r} marks {len(refs)} versions: {shown}{more}; give the URN of one")
    return refs[0]
