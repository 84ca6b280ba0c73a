"""Measured product: what a product's arrays are called, before they are stored."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from .manifest import BlobRef
from .poolinfo import DELTA_FORMAT, FORMAT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..model.dataset import ArraySource
    from .manifest import HduRecord, OriginalRecord

__all__ = ["Measured", "format_for"]


@dataclass(slots=True)
class Measured:
    """A product whose arrays are named but not yet stored.

    Attributes
    ----------
    hdus : list of HduRecord
        In file order.
    trailer : BlobRef or None
        Bytes after the last HDU.
    original : OriginalRecord or None
        Where the file was a ground test's.
    sources : dict
        For each digest, where the array can be read from.
    """

    hdus: list[HduRecord] = field(default_factory=list)
    trailer: BlobRef | None = None
    original: OriginalRecord | None = None
    sources: dict[str, tuple[BlobRef, ArraySource]] = field(default_factory=dict)

    def digest_of(self, hdu: int, part: str) -> str:
        """Give the name of a stored part.

        Parameters
        ----------
        hdu : int
            Number of the HDU; -1 for what belongs to none.
        part : str
            ``data``, ``heap``, ``raw``, ``tail``; ``trailer``; ``rest`` and ``tail`` of a ground test's file.

        Returns
        -------
        str
            The blob's digest.
        """
        ref: BlobRef | None = getattr(self if part == "trailer" else self.original if hdu < 0 else self.hdus[hdu], part)
        if ref is None:
            raise LookupError(f"HDU {hdu} has no {part}")
        return ref.digest

    def bundle(self) -> None:
        """Let the small arrays share a blob."""
        from .arrays.bundle import bundle_of

        found = bundle_of(ref for ref, _ in self.sources.values())
        if found is None:
            return
        name, small = found

        def place(record: Any) -> Any:
            parts = {f.name: getattr(record, f.name) for f in fields(record)}
            return replace(record, **{part: into(ref) for part, ref in parts.items() if isinstance(ref, BlobRef)})

        def into(ref: BlobRef) -> BlobRef:
            return replace(ref, bundle=name) if ref.digest in small else ref

        self.hdus = [place(hdu) for hdu in self.hdus]
        self.original = None if self.original is None else place(self.original)
        self.trailer = None if self.trailer is None else into(self.trailer)
        self.sources = {digest: (into(ref), source) for digest, (ref, source) in self.sources.items()}


def format_for(sources: Mapping[str, tuple[BlobRef, ArraySource]], near: Mapping[str, Sequence[str]]) -> int:
    """Tell which format a pool's folder has that holds some arrays.

    Parameters
    ----------
    sources : mapping
        From `Measured`.
    near : mapping
        Blobs of which they may take tiles, by digest.

    Returns
    -------
    int
        The least.
    """
    from .arrays.hdf5write import is_deflated

    if any(ref.bundle for ref, _ in sources.values()):
        return FORMAT
    if any(near.values()) or any(is_deflated(ref) for ref, _ in sources.values()):
        return DELTA_FORMAT
    return 1
