"""What the index keeps of a manifest, as lines for COPY."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput
from ..model.metadata import MetaData
from ..model.names import Urn
from ..sky.footprint import FOOTPRINT_KEYS
from ..store.manifest import dtype_to_json
from .footprints import FOOTPRINT_COLUMNS, footprint_line
from .rows import ProductRow
from .schema import TYPED_KEYWORDS, dataset, footprint, keyword, link, made_from, product

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ..model.metadata import KeywordRow
    from ..store.journal import Entry, Save
    from ..store.manifest import BlobRef, HduRecord, Manifest
    from .tracks import Tracks, TrackVersion

__all__ = ["COLUMNS", "Harvest", "fits_size"]

COLUMNS = {table.name: tuple(c.name for c in table.c) for table in (product, dataset, link, made_from)} | {
    # The order of the fields of `_keyword_lines`.
    keyword.name: ("serial", "hdu", "hdu_name", "key", "occurrence", "first", "number", "text", "flag", "time"),
    footprint.name: FOOTPRINT_COLUMNS,
}
"""Columns of each table in the order of the lines' fields."""

_BLOCK = 2880
"""Bytes of a FITS block (standard 4.0, 3.1)."""
_NUMBERS = frozenset({"ngroups", "nints"})
_TYPED = {key: column for column, key in TYPED_KEYWORDS.items()}
_START = ("DATE-OBS", "TIME-OBS", "DATE-BEG")
_WANTED = frozenset(_TYPED) | frozenset(_START) | frozenset(FOOTPRINT_KEYS)
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\ufffd"})


class Harvest:
    """Turns saved versions into lines of `keyword`, and keeps those of `product` and `dataset` for later.

    Attributes
    ----------
    names : set of (str, str)
        Keywords seen, each with the name of an HDU.
    """

    def __init__(self) -> None:
        self.names: set[tuple[str, str]] = set()
        self._products: list[tuple[TrackVersion, tuple[Any, ...], tuple[Any, ...], str | None]] = []
        self._datasets: list[str] = []
        self._links: list[str] = []
        self._origins: list[str] = []
        self._footprints: list[str] = []

    def keywords(self, entry: Entry, save: Save, manifest: Manifest | None, version: TrackVersion) -> bytes:
        """Take in a version.

        Parameters
        ----------
        entry : Entry
            That saved it.
        save : Save
            The action.
        manifest : Manifest or None
            What it saved; None where it is lost.
        version : TrackVersion
            Its place in the track; `products` looks at it.

        Returns
        -------
        bytes
            Its lines of `keyword`.
        """
        found: dict[str, KeywordRow] = {}
        hdus, origin, size = (
            ((), None, 0) if manifest is None else (manifest.hdus, manifest.origin, fits_size(manifest))
        )
        bench = None if manifest is None or manifest.original is None else manifest.original.header
        rows = MetaData([(hdu.name, hdu.header) for hdu in hdus], bench=bench).rows()
        lines = "".join(_keyword_lines(save.serial, rows, found, self.names))
        size = origin.size if origin is not None else 0 if manifest is None else fits_size(manifest)
        name, digest = (None, None) if origin is None else (origin.filename, origin.digest)
        head = (save.serial, save.kind, save.name, save.version)
        rest = (entry.time, entry.n, save.manifest, save.content, size, save.stored_bytes, name, digest)
        self._products.append((version, head, (*rest, _start_time(found), *_typed(found)), entry.by))
        self._datasets += (_line(row) for row in _dataset_rows(save.serial, hdus))
        seen = footprint_line(save.serial, save.kind, _said(found))
        if seen is not None:
            self._footprints.append(seen)
        if manifest is not None:
            self._links += (_line((save.serial, found.name, found.serial)) for found in manifest.references)
            self._origins += (_line((save.serial, *origin)) for origin in _origins(manifest.history))
        return lines.encode("utf-8", "backslashreplace")

    def products(self) -> Iterator[bytes]:
        """Give the lines of `product`.

        Yields
        ------
        bytes
            With heads and removals as they are now.
        """
        for version, head, rest, by in self._products:
            changing = (version.purged, by, version.removed_by)
            yield _line((*head, version.head, version.removed, *rest, *changing)).encode("utf-8", "backslashreplace")

    def rows(self, tracks: Tracks) -> Iterator[ProductRow]:
        """Give the versions as the index gives them once it has the lines.

        Parameters
        ----------
        tracks : Tracks
            Which tags mark them.

        Yields
        ------
        ProductRow
            With heads and removals as they are now.
        """
        for version, head, rest, by in self._products:
            changing = (version.purged, by, version.removed_by)
            values = (*head, version.head, version.removed, *rest, *changing)
            yield ProductRow._make((*map(_stored, values), tracks.labels(version.serial)))

    def datasets(self) -> Iterator[bytes]:
        """Give the lines of `dataset`.

        Yields
        ------
        bytes
            All of them, if there are any.
        """
        if self._datasets:
            yield "".join(self._datasets).encode("utf-8", "backslashreplace")

    def links(self) -> Iterator[bytes]:
        """Give the lines of `link`.

        Yields
        ------
        bytes
            All of them, if there are any.
        """
        if self._links:
            yield "".join(self._links).encode("utf-8", "backslashreplace")

    def origins(self) -> Iterator[bytes]:
        """Give the lines of `made_from`.

        Yields
        ------
        bytes
            All of them, if there are any.
        """
        if self._origins:
            yield "".join(self._origins).encode("utf-8", "backslashreplace")

    def footprints(self) -> Iterator[bytes]:
        """Give the lines of `footprint`.

        Yields
        ------
        bytes
            All of them, if there are any.
        """
        if self._footprints:
            yield "".join(self._footprints).encode()


def _origins(history: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str, str | None, int | None]]:
    """Read inputs and reference files out of a history; it may say what it likes beside them."""
    found: dict[tuple[str, str], tuple[str | None, int | None]] = {}
    for step in history:
        inputs, references = step.get("inputs"), step.get("references")
        for urn in inputs if isinstance(inputs, list | tuple) else ():
            if isinstance(urn, str):
                with contextlib.suppress(InvalidInput):  # another word for it is no input of this pool
                    serial = Urn.parse(urn).serial
                    found["input", urn] = (None, serial if serial < 1 << 63 else None)
        for card, file in references.items() if isinstance(references, Mapping) else ():
            told = file if isinstance(file, Mapping) else {"name": file}
            name, digest = told.get("name"), told.get("digest")
            if isinstance(name, str) and isinstance(digest, str | None):
                found[card, name] = (digest, None)
    for (what, name), (digest, number) in found.items():
        if not any("\0" in text for text in (what, name, digest or "")):
            yield what, name, digest, number


def _keyword_lines(
    serial: int, rows: Iterable[KeywordRow], found: dict[str, KeywordRow], names: set[tuple[str, str]]
) -> Iterator[str]:
    """Write lines, find the rows that `product` repeats, and note what keywords there are."""
    start = f"{serial}\t"
    wanted = _WANTED
    for row in rows:
        hdu, hdu_name, key, occurrence, first, number, text, flag, time = row
        if first and key in wanted:
            found[key] = row
        hdu_name = hdu_name.upper()  # names of HDUs compare in any case
        names.add((key, hdu_name))
        if not (key.isprintable() and hdu_name.isprintable()) or "\\" in key or "\\" in hdu_name:
            key, hdu_name = key.translate(_ESCAPES), hdu_name.translate(_ESCAPES)
        head = f"{start}{hdu}\t{hdu_name}\t{key}\t{occurrence}\t{'t' if first else 'f'}\t"
        if number is not None:
            yield f"{head}{number!r}\t\\N\t\\N\t\\N\n"
        elif text is not None:
            if not text.isprintable() or "\\" in text:
                text = text.translate(_ESCAPES)
            moment = "\\N" if time is None else time.isoformat()
            yield f"{head}\\N\t{text}\t\\N\t{moment}\n"
        else:
            truth = "\\N" if flag is None else "t" if flag else "f"
            yield f"{head}\\N\t\\N\t{truth}\t\\N\n"


def _typed(found: dict[str, KeywordRow]) -> Iterator[float | str | None]:
    for column, key in TYPED_KEYWORDS.items():
        row = found.get(key)
        yield None if row is None else row.number if column in _NUMBERS else row.text


def _said(found: dict[str, KeywordRow]) -> dict[str, float | str | None]:
    """Give what the header says of the sky; nothing where it says nothing."""
    if not found.keys() & {"S_REGION", "RA_REF"}:
        return {}
    rows = {key: found[key] for key in FOOTPRINT_KEYS if key in found}
    return {key: row.text if row.number is None else row.number for key, row in rows.items()}


def _start_time(found: dict[str, KeywordRow]) -> datetime | None:
    """Give the moment the exposure began; a day alone is not one."""
    date, clock, begin = (found.get(key) for key in _START)
    if clock is not None and clock.time is not None:
        return clock.time
    if date is not None and date.time is not None and ":" in (date.text or ""):
        return date.time
    return None if begin is None else begin.time


def _dataset_rows(serial: int, hdus: Sequence[HduRecord]) -> Iterator[tuple[Any, ...]]:
    for number, hdu in enumerate(hdus):
        if hdu.data is not None:
            dtype = dtype_to_json(hdu.data.dtype)
            shown = dtype if isinstance(dtype, str) else json.dumps(dtype)
            s = hdu.statistics
            numbers = (None,) * 7 if s is None else (s.min, s.max, s.mean, s.std, s.n, s.n_nan, s.n_flagged)
            yield (serial, number, hdu.name, hdu.data.digest, shown, hdu.data.shape, hdu.unit, *numbers)


def fits_size(manifest: Manifest) -> int:
    """Give the size of the FITS file that a product would be written as.

    Parameters
    ----------
    manifest : Manifest
        Of the product.

    Returns
    -------
    int
        Bytes.
    """
    return sum(_hdu_size(hdu) for hdu in manifest.hdus) + _nbytes(manifest.trailer)


def _hdu_size(hdu: HduRecord) -> int:
    unit = _nbytes(hdu.raw) if hdu.raw is not None else _nbytes(hdu.data) + _nbytes(hdu.heap)
    padded = unit + _nbytes(hdu.tail) if hdu.tail is not None else -(-unit // _BLOCK) * _BLOCK
    return len(hdu.header) + padded


def _nbytes(blob: BlobRef | None) -> int:
    if blob is None:
        return 0
    size = blob.dtype.itemsize
    for n in blob.shape:
        size *= n
    return size


def _line(values: Iterable[Any]) -> str:
    return "\t".join(map(_field, values)) + "\n"


def _stored(value: Any) -> Any:
    """Give a value as PostgreSQL has it once it has taken in its field."""
    if not isinstance(value, str) or value.isprintable():
        return value
    return value.replace("\0", "\ufffd").encode("utf-8", "backslashreplace").decode()


def _field(value: Any) -> str:
    if value is None:
        return "\\N"
    if isinstance(value, str):
        return value if value.isprintable() and "\\" not in value else value.translate(_ESCAPES)
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple):
        return "{" + ",".join(map(str, value)) + "}"
    return repr(value)
