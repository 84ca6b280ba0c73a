"""Manifest: the record of one product version, enough to rebuild its file bit for bit and its row in the index."""

from __future__ import annotations

import base64
import functools
import json
import math
import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import IntegrityError, InvalidInput, NewerFormat
from ..model.canonical import canonical_json, digest_bytes
from ..model.product import Encoding, Link, Origin
from ..model.statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..model.dataset import Scale

__all__ = ["BlobRef", "HduRecord", "Manifest", "OriginalRecord", "dtype_from_json", "dtype_to_json"]

FORMAT = 2
"""Number of the manifest's format; a reader refuses greater ones. 2: arrays may stand in bundles."""

_ENCODINGS: Mapping[str, Encoding] = {"none": "none", "image": "image", "table": "table", "opaque": "opaque"}

_PARTS = ("data", "heap", "raw", "tail")

_DIGEST = re.compile("[0-9a-f]{32}")

_MOST_BYTES = 2**63 - 1
"""Of an array; what says that it is larger is no manifest."""


@dataclass(frozen=True, slots=True)
class BlobRef:
    """A stored array: its name and what can be known without opening it.

    Attributes
    ----------
    digest : str
        Of the array; the name of its blob, unless it is in a bundle.
    dtype : numpy.dtype
        Native byte order.
    shape : tuple of int
        Slowest axis first.
    bundle : str, optional
        Name of the blob that it shares with other small arrays; references to one array are equal wherever it stands.
    """

    digest: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    bundle: str | None = field(default=None, compare=False)

    @property
    def blob(self) -> str:
        """Name of the blob that holds it."""
        return self.bundle or self.digest

    @property
    def nbytes(self) -> int:
        """Bytes of all its elements in memory."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class HduRecord:
    """One header-data unit: `miripool.model.product.Hdu` with blobs for arrays, and the statistics of its dataset."""

    header: bytes
    name: str
    encoding: Encoding
    unit: str | None = None
    scale: Scale | None = None
    statistics: Statistics | None = None
    data: BlobRef | None = None
    heap: BlobRef | None = None
    raw: BlobRef | None = None
    tail: BlobRef | None = None


@dataclass(frozen=True, slots=True)
class OriginalRecord:
    """A ground test's file: `miripool.model.product.Original` with blobs for arrays."""

    header: bytes
    rest: BlobRef | None = None
    tail: BlobRef | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """One product version.

    Attributes
    ----------
    kind, name : str
        Its track.
    hdus : tuple of HduRecord
        In file order.
    trailer : BlobRef or None
        Bytes after the last HDU.
    origin : Origin or None
        The file it came from.
    history : tuple of dict
        What it was made from and how; JSON-able.
    original : OriginalRecord or None
        Where the file was a ground test's.
    references : tuple of Link
        Of a context.
    """

    kind: str
    name: str
    hdus: tuple[HduRecord, ...]
    trailer: BlobRef | None = None
    origin: Origin | None = None
    history: tuple[Mapping[str, Any], ...] = ()
    original: OriginalRecord | None = None
    references: tuple[Link, ...] = ()
    _bytes: list[bytes] = field(default_factory=list, init=False, repr=False, compare=False)
    """What `to_bytes` gave, once it was asked: a save asks four times, and making it takes a millisecond."""

    @property
    def digest(self) -> str:
        """Its name: the digest of what `to_bytes` gives."""
        return digest_bytes(self.to_bytes())

    def blobs(self) -> Iterator[BlobRef]:
        """List every blob the version needs, repeats included.

        Yields
        ------
        BlobRef
            In file order, the trailer last.
        """
        for hdu in self.hdus:
            for part in _PARTS:
                ref = getattr(hdu, part)
                if ref is not None:
                    yield ref
        if self.original is not None:
            yield from (ref for ref in (self.original.rest, self.original.tail) if ref is not None)
        if self.trailer is not None:
            yield self.trailer

    def to_bytes(self) -> bytes:
        """Write the manifest in its one form.

        Returns
        -------
        bytes
            Canonical JSON; `digest` of it is the manifest's name.
        """
        if not self._bytes:
            self._bytes.append(self._to_json())
        return self._bytes[0]

    def _to_json(self) -> bytes:
        record: dict[str, Any] = {
            "format": FORMAT if any(ref.bundle for ref in self.blobs()) else 1,
            "kind": self.kind,
            "name": self.name,
            "hdus": [_hdu_to_json(h) for h in self.hdus],
            "trailer": _ref_to_json(self.trailer),
            "origin": None
            if self.origin is None
            else {"filename": self.origin.filename, "size": self.origin.size, "digest": self.origin.digest},
            "history": [dict(h) for h in self.history],
        }
        if self.original is not None:
            record["original"] = {
                "header": _header_to_json(self.original.header),
                "rest": _ref_to_json(self.original.rest),
                "tail": _ref_to_json(self.original.tail),
            }
        if self.references:
            record["references"] = [asdict(link) for link in self.references]
        return canonical_json(record)

    @classmethod
    def from_bytes(cls, data: bytes, digest: str | None = None) -> Manifest:
        """Read a manifest.

        Parameters
        ----------
        data : bytes
            What `to_bytes` gave.
        digest : str, optional
            Its name, to hold it against.

        Returns
        -------
        Manifest
            Equal to the one that was written.

        Raises
        ------
        IntegrityError
            If it is damaged.
        NewerFormat
            If a newer miripool wrote it.
        """
        if digest is not None and digest_bytes(data) != digest:
            raise IntegrityError(
                f"manifest {digest} is damaged: its content does not match its digest; "
                "restore it from a copy of the pool"
            )
        try:
            record = json.loads(data)
            if record["format"] > FORMAT:
                raise NewerFormat(
                    f"manifest {digest} has format {record['format']}, but this miripool reads up to {FORMAT}; "
                    "update miripool"
                )
            return cls(
                kind=_text(record["kind"]),
                name=_text(record["name"]),
                hdus=tuple(_hdu_from_json(h) for h in record["hdus"]),
                trailer=_ref_from_json(record["trailer"]),
                origin=_origin_from_json(record["origin"]),
                history=tuple(dict(h.items()) for h in record["history"]),
                original=_original_from_json(record.get("original")),
                references=tuple(_link_from_json(link) for link in record.get("references", ())),
            )
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise IntegrityError(
                f"manifest {digest or ''} can't be read ({error!r}); restore it from a copy of the pool"
            ) from error


def dtype_to_json(dtype: np.dtype[Any]) -> Any:
    """Write a dtype, little-endian, as NumPy's array interface does.

    Parameters
    ----------
    dtype : numpy.dtype
        Simple or structured.

    Returns
    -------
    str or list
        E.g. ``"<f4"`` or ``[["x", "<f4"], ["s", "|S8", [2]]]``.

    Raises
    ------
    InvalidInput
        If there are gaps between the fields: what stands in them is no content.
    """
    little = dtype.newbyteorder("<")
    try:
        return _descr_to_json(np.lib.format.dtype_to_descr(little))
    except ValueError as error:
        raise InvalidInput(
            f"rows of {dtype} have gaps between their fields; pack them (numpy.lib.recfunctions.repack_fields)"
        ) from error


def _descr_to_json(descr: Any) -> Any:
    if isinstance(descr, tuple) and not descr[0]:
        raise ValueError("a field without a name is a gap")
    if isinstance(descr, (list, tuple)):
        return [_descr_to_json(x) for x in descr]
    return descr


def dtype_from_json(record: Any) -> np.dtype[Any]:
    """Read what `dtype_to_json` wrote.

    Parameters
    ----------
    record : str or list
        The record.

    Returns
    -------
    numpy.dtype
        In native byte order.

    Raises
    ------
    ValueError, TypeError
        If it is nothing that `dtype_to_json` writes.
    """
    return _simple_dtype(record) if isinstance(record, str) else _dtype(record)


def _dtype(record: Any) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(_descr_from_json(record))
    if dtype.hasobject or dtype_to_json(dtype) != record:
        raise ValueError(f"not a type of elements: {record!r}")
    return dtype.newbyteorder("=")


_simple_dtype = functools.lru_cache(maxsize=64)(_dtype)


def _descr_from_json(record: Any) -> Any:
    if isinstance(record, str):
        return record
    fields: list[tuple[Any, ...]] = []
    for name, kind, *shape in record:
        fields.append((_text(name), _descr_from_json(kind), *(_lengths(s) for s in shape)))
    return fields


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"not text: {value!r}")
    return value


def _lengths(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or any(type(n) is not int or n < 0 for n in value):
        raise ValueError(f"not the lengths of axes: {value!r}")
    return tuple(value)


def _ref_to_json(ref: BlobRef | None) -> Any:
    if ref is None:
        return None
    record = {"digest": ref.digest, "dtype": dtype_to_json(ref.dtype), "shape": list(ref.shape)}
    return record if ref.bundle is None else {**record, "bundle": ref.bundle}


def _ref_from_json(record: Any) -> BlobRef | None:
    if record is None:
        return None
    dtype, shape = dtype_from_json(record["dtype"]), _lengths(record["shape"])
    if math.prod(shape) * dtype.itemsize > _MOST_BYTES:
        raise ValueError(f"no array has the shape {shape}")
    bundle = None if record.get("bundle") is None else _digest(record["bundle"])
    return BlobRef(_digest(record["digest"]), dtype, shape, bundle)


def _digest(value: Any) -> str:
    if not _DIGEST.fullmatch(value):
        raise ValueError(f"not a digest: {value!r}")
    return _text(value)


def _origin_from_json(record: Any) -> Origin | None:
    if record is None:
        return None
    (size,) = _lengths([record["size"]])
    return Origin(_text(record["filename"]), size, _digest(record["digest"]))


def _link_from_json(record: Any) -> Link:
    version, serial = _lengths([record["version"], record["serial"]])
    name, kind, product = (_text(record[key]) for key in ("name", "kind", "product"))
    return Link(name, kind, product, version, serial, _digest(record["manifest"]))


def _original_from_json(record: Any) -> OriginalRecord | None:
    if record is None:
        return None
    header = _header_from_json(record["header"])
    return OriginalRecord(header, _ref_from_json(record["rest"]), _ref_from_json(record["tail"]))


def _hdu_to_json(hdu: HduRecord) -> dict[str, Any]:
    record: dict[str, Any] = {"header": _header_to_json(hdu.header), "name": hdu.name, "encoding": hdu.encoding}
    if hdu.unit is not None:
        record["unit"] = hdu.unit
    if hdu.scale is not None:
        record["scale"] = {"bscale": hdu.scale.bscale, "bzero": hdu.scale.bzero, "blank": hdu.scale.blank}
    if hdu.statistics is not None:
        record["statistics"] = hdu.statistics.to_json()
    for part in _PARTS:
        ref = getattr(hdu, part)
        if ref is not None:
            record[part] = _ref_to_json(ref)
    return record


def _hdu_from_json(record: Mapping[str, Any]) -> HduRecord:
    statistics = record.get("statistics")
    return HduRecord(
        header=_header_from_json(record["header"]),
        name=_text(record["name"]),
        encoding=_ENCODINGS[record["encoding"]],
        unit=None if record.get("unit") is None else _text(record["unit"]),
        scale=_scale_from_json(record.get("scale")),
        statistics=None if statistics is None else Statistics.from_json(statistics),
        **{part: _ref_from_json(record.get(part)) for part in _PARTS},
    )


def _scale_from_json(record: Any) -> Scale | None:
    if record is None:
        return None
    from ..model.dataset import Scale

    scale = Scale(record["bscale"], record["bzero"], record["blank"])
    real = (type(scale.bscale), type(scale.bzero))
    if not set(real) <= {int, float} or type(scale.blank) not in {int, type(None)}:
        raise TypeError(f"not a scale: {record!r}")
    return scale


def _header_to_json(header: bytes) -> list[str] | dict[str, str]:
    """Write a header as its cards, trailing blanks dropped, or as base64 where that would lose anything."""
    end = header.rfind(b"END")
    cards = [header[i : i + 80].decode("latin-1").rstrip(" ") for i in range(0, end, 80)] if end >= 0 else []
    return cards if _header_from_json(cards) == header else {"base64": base64.b64encode(header).decode("ascii")}


def _header_from_json(record: list[str] | Mapping[str, str]) -> bytes:
    if not isinstance(record, list):
        return base64.b64decode(record["base64"], validate=True)
    cards = [card.encode("latin-1").ljust(80) for card in record]
    if any(len(card) != 80 for card in cards):
        raise ValueError("a card has 80 bytes")
    text = b"".join(cards) + b"END".ljust(80)
    return text.ljust(-(-len(text) // 2880) * 2880)
