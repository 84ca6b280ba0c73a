"""Any FITS file as a product, and so that the file can be written again bit for bit.

Headers and plain arrays are read without astropy, from a mapping of the file: nothing of an array is in memory until
it is asked for. astropy undoes the compression of tiled images, and serialises what is given as its HDUList.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from ..errors import FormatError, InvalidInput
from ..model.dataset import Scale
from ..model.kinds import Raw, kind_class
from ..model.product import Hdu, Layout, Origin, Product
from ..model.table import columns_from_cards
from .ground import ground_values, to_level1b
from .jpl import Jpl
from .jwst import classify, track_name
from .otis import Otis
from .sources import BytesSource, ComputedSource, ImageSource, RowsSource
from .stream import Stream, open_stream
from .structure import DataUnit, refuse_other, scan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ..model.cards import Value

__all__ = ["FitsFile", "open_fits", "product_of", "read_fits"]

_PIXELS: Mapping[int, np.dtype[Any]] = {
    8: np.dtype("u1"), 16: np.dtype("i2"), 32: np.dtype("i4"), 64: np.dtype("i8"),
    -32: np.dtype("f4"), -64: np.dtype("f8"),
}  # fmt: skip
"""BITPIX (table 8 of the FITS standard 4.0)."""
_OFFSETS = {8: -(2**7), 16: 2**15, 32: 2**31, 64: 2**63}
"""BZERO that makes the other signedness (table 11)."""
_MAX_AXES = 32
"""HDF5's limit; images of more axes are kept as bytes."""
_BENCHES = (Jpl(), Otis())
_MAX_NAME = 68
"""Characters of a text in one card: longer names of HDUs are cut."""
_MAX_VERSION = 1 << 31
_MAX_RATIO = 1100
"""gzip, the best of the compressions, makes zeros 1030 times smaller."""


@dataclass(frozen=True, slots=True)
class FitsFile:
    """A file that was read through once, for its digest, and not looked into.

    Attributes
    ----------
    stream : Stream
        Its content, decompressed.
    origin : Origin
        Name, size and digest.
    """

    stream: Stream
    origin: Origin


def open_fits(path: Path) -> FitsFile:
    """Open a file and take its digest, by which a pool knows whether it has it; `read_fits` takes what this gives.

    Parameters
    ----------
    path : Path
        A FITS file, also compressed by gzip.

    Returns
    -------
    FitsFile
        It begins as a FITS file; what follows was not looked at.

    Raises
    ------
    FileMissing
        If there is no such file.
    FormatError
        If it is a folder, empty, damaged gzip, or does not begin as FITS.
    """
    content = path.expanduser()
    stream = open_stream(content, str(content))
    refuse_other(stream)  # before its digest is taken, for which it is read to its end
    return FitsFile(stream, Origin(content.name, stream.size, _digest(stream)))


def read_fits(
    source: Any,
    *,
    name: str | None = None,
    kind: str | None = None,
    filename: str | None = None,
    truncate: bool = False,
) -> Product:
    """Read a FITS file, lazily. A ground test's file is read as the Level-1b product that it means.

    Parameters
    ----------
    source : path, str, FitsFile, bytes, memoryview, HDUList or datamodel
        A FITS file, also compressed by gzip, its content, or something that can be written as one.
    name : str, keyword-only, optional
        Of the product's track; by default from the file's name.
    kind : str, keyword-only, optional
        E.g. ``RateInts``; by default from the file's content and name.
    filename : str, keyword-only, optional
        Original name of the file, where `source` has none or another.
    truncate : bool, keyword-only
        Of a ground test's file with frames missing or too many, keep the whole integrations.

    Returns
    -------
    Product
        Of that kind, with its layout. Arrays stay in the file until they are read: do not change it.

    Raises
    ------
    FileMissing
        If there is no such file.
    FormatError
        If it is not a FITS file, is damaged or cut off; the message names file, HDU and card.
    """
    if isinstance(source, FitsFile):
        layout = _read_layout(source.stream, filename or source.origin.filename, source.origin.digest)
        return product_of(_as_level1b(layout, kind, truncate=truncate), name=name, kind=kind)
    content: Path | bytes | memoryview
    if isinstance(source, (str, Path)):
        content = Path(source).expanduser()
        filename = filename or content.name
    elif isinstance(source, (bytes, bytearray, memoryview)):
        content = bytes(source) if isinstance(source, bytearray) else source
    else:
        content, known = _serialise(source)
        filename = filename or known
    label = str(content) if isinstance(content, Path) else filename or "the given bytes"
    layout = _read_layout(open_stream(content, label), filename)
    return product_of(_as_level1b(layout, kind, truncate=truncate), name=name, kind=kind)


def _as_level1b(layout: Layout, kind: str | None, *, truncate: bool) -> Layout:
    values = ground_values(layout) if kind in (None, Raw.kind) else None
    bench = None if values is None else next((bench for bench in _BENCHES if bench.wrote(values)), None)
    if values is None or bench is None:
        return layout
    return to_level1b(layout, bench, values, truncate=truncate)


def _read_layout(stream: Stream, filename: str | None, digest: str | None = None) -> Layout:
    units, stop = scan(stream)
    names = _unique_names(units)
    hdus = tuple(_read_hdu(stream, unit, name) for unit, name in zip(units, names, strict=True))
    trailer = BytesSource(stream, stop, stream.size) if stop < stream.size else None
    if not filename:
        given = units[0].values.get("FILENAME")
        filename = given if isinstance(given, str) else ""
    return Layout(hdus, trailer, Origin(Path(filename).name, stream.size, digest or _digest(stream)))


def _digest(stream: Stream) -> str:
    digest = xxhash.xxh3_128()
    for chunk in stream.chunks():
        digest.update(chunk)
    return digest.hexdigest()


def _serialise(source: Any) -> tuple[bytes, str | None]:
    """Write an HDUList or a datamodel to memory."""
    buffer = io.BytesIO()
    if hasattr(source, "writeto"):
        source.writeto(buffer, output_verify="ignore")
        return buffer.getvalue(), _name_of(source)
    if hasattr(source, "to_fits") and hasattr(source, "schema"):
        date, file = source.meta.date, source.meta.filename
        source.to_fits(buffer)
        source.meta.date = date  # saving sets it, and the caller's model is not ours to change
        return buffer.getvalue(), Path(file).name if file else None
    kind = type(source).__name__
    raise InvalidInput(f"a {kind} can't be read as FITS; give a path, bytes, an HDUList or a datamodel")


def _name_of(hdus: Any) -> str | None:
    """Find the file name of an HDUList: of the file it was read from, else as its header has it."""
    file = hdus.filename() if hasattr(hdus, "filename") else None
    if not file or str(file).startswith("<"):  # astropy shows the class of a stream that has no name
        primary = hdus[0] if isinstance(hdus, list) else hdus
        file = primary.header.get("FILENAME")
    return Path(file).name if isinstance(file, str) and file else None


def _unique_names(units: Sequence[DataUnit]) -> list[str]:
    """Name each HDU by EXTNAME, with the version where the name occurs before; ``HDU3`` where it has none."""
    names: dict[str, int] = {}  # and the number that the next of that name gets
    for i, unit in enumerate(units):
        extname = unit.values.get("EXTNAME")
        name = "" if extname is None or i == 0 else _plain(str(extname))
        name = name or ("PRIMARY" if i == 0 else f"HDU{i}")
        version = unit.values.get("EXTVER")
        known = isinstance(version, int) and 1 < version < _MAX_VERSION
        unique = f"{name},{version}" if name in names and known else name
        while unique in names:
            names[name] += 1
            unique = f"{name},{names[name]}"
        names[unique] = 1
    return list(names)


def _plain(extname: str) -> str:
    """Make a key that people can write of a name that may hold anything."""
    return "".join(c if c.isprintable() else "?" for c in extname.strip().upper())[:_MAX_NAME]


def _read_hdu(stream: Stream, unit: DataUnit, name: str) -> Hdu:
    tail = _read_tail(stream, unit)
    extension = unit.cards[0].value if unit.cards[0].keyword == "XTENSION" else None
    raw = BytesSource(stream, unit.data, unit.data + unit.size)
    if extension == "BINTABLE" and unit.values.get("ZIMAGE") is True:
        return _read_compressed(stream.label, unit, name, raw, tail)
    table = _read_table(stream, unit, name, tail) if extension == "BINTABLE" else None
    if table is not None:
        return table
    if unit.size == 0:
        return Hdu(unit.header, name, tail=tail)
    if _is_image(unit, extension):
        return _read_image(stream, unit, name, tail)
    return Hdu(unit.header, name, "opaque", raw=raw, tail=tail)


def _read_tail(stream: Stream, unit: DataUnit) -> BytesSource | None:
    """Keep what stands behind the data, unless it is zeros up to a full block."""
    end = unit.data + unit.size
    padding = stream.read(end, unit.stop)
    usual = len(padding) == -unit.size % 2880 and not padding.any()
    return None if usual else BytesSource(stream, end, unit.stop)


def _is_image(unit: DataUnit, extension: Value) -> bool:
    plain = unit.values.get("PCOUNT", 0) == 0 and unit.values.get("GCOUNT", 1) == 1
    plain = plain and unit.values["NAXIS"] <= _MAX_AXES
    return plain and (extension == "IMAGE" or (extension is None and unit.values.get("GROUPS") is not True))


def _shape(values: Mapping[str, Any], prefix: str = "") -> tuple[int, ...]:
    return tuple(values[f"{prefix}NAXIS{i}"] for i in range(values[f"{prefix}NAXIS"], 0, -1))


def _read_image(stream: Stream, unit: DataUnit, name: str, tail: BytesSource | None) -> Hdu:
    folded, scale = _read_scale(unit.values, unit.values["BITPIX"])
    stored = _PIXELS[unit.values["BITPIX"]]
    data = ImageSource(stream, unit.data, _shape(unit.values), stored, folded=folded)
    return Hdu(unit.header, name, "image", data, tail=tail, scale=scale, unit=_unit(unit.values))


def _unit(values: Mapping[str, Any]) -> str | None:
    unit = values.get("BUNIT")
    return unit if isinstance(unit, str) and unit else None


def _read_scale(values: Mapping[str, Any], bits: int) -> tuple[bool, Scale | None]:
    """Tell whether BZERO means only the other signedness, and give the scale where it means more."""
    bscale, bzero = (
        v if isinstance(v, (int, float)) and not isinstance(v, bool) else default
        for v, default in ((values.get("BSCALE"), 1), (values.get("BZERO"), 0))
    )
    if not (_is_finite(bscale) and _is_finite(bzero)):
        return False, None
    blank = values.get("BLANK")
    blank = blank if isinstance(blank, int) and not isinstance(blank, bool) and bits > 0 else None
    if bscale == 1 and blank is None and _OFFSETS.get(bits) == bzero:
        return True, None
    if bscale == 1 and bzero == 0 and blank is None:
        return False, None
    return False, Scale(float(bscale), float(bzero), blank)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False


def _read_table(stream: Stream, unit: DataUnit, name: str, tail: BytesSource | None) -> Hdu | None:
    """Read a binary table; None if its header does not describe its rows."""
    values = unit.values
    if values["NAXIS"] != 2 or values["BITPIX"] != 8 or values.get("GCOUNT", 1) != 1 or values["NAXIS1"] == 0:
        return None
    try:
        _, dtype = columns_from_cards(unit.cards)
    except FormatError:
        return None
    rows = values["NAXIS2"]
    end = unit.data + rows * dtype.itemsize
    stop = unit.data + unit.size
    theap = values.get("THEAP", end - unit.data)
    if not isinstance(theap, int) or not end - unit.data <= theap <= unit.size:
        return None
    heap = BytesSource(stream, end, stop) if stop > end else None
    return Hdu(unit.header, name, "table", RowsSource(stream, unit.data, rows, dtype), heap, tail=tail)


def _read_compressed(label: str, unit: DataUnit, name: str, raw: BytesSource, tail: BytesSource | None) -> Hdu:
    """Give a tile-compressed image as what it shows; its own bytes are kept, for no encoder gives them again."""
    opaque = Hdu(unit.header, name, "opaque", raw=raw, tail=tail)
    bits, number = unit.values.get("ZBITPIX"), unit.values.get("ZNAXIS")
    if not isinstance(bits, int) or bits not in _PIXELS or not isinstance(number, int) or not 0 < number <= 999:
        return opaque
    axes = [unit.values.get(f"ZNAXIS{i}") for i in range(number, 0, -1)]
    if not all(isinstance(n, int) and n > 0 for n in axes):
        return opaque
    folded, scale = _read_scale(unit.values, bits)
    stored = _PIXELS[bits]
    size = stored.itemsize
    for n in axes:
        size *= n  # type: ignore[operator]
    if size > _MAX_RATIO * unit.size + (1 << 20):
        return opaque

    def compute() -> NDArray[Any]:
        return _decompress(unit.header, raw, f"{label}: HDU {name}", stored, folded=folded)

    dtype = stored if not folded else np.dtype("i1" if bits == 8 else f"u{stored.itemsize}")
    data = ComputedSource(tuple(axes), dtype, compute)  # type: ignore[arg-type]
    return Hdu(unit.header, name, "opaque", data, raw=raw, tail=tail, scale=scale, unit=_unit(unit.values))


def _decompress(header: bytes, raw: BytesSource, place: str, stored: np.dtype[Any], *, folded: bool) -> NDArray[Any]:
    from astropy.io import fits

    empty = fits.PrimaryHDU().header.tostring().encode("ascii")
    unit = raw[...].tobytes()
    content = io.BytesIO(empty + header + unit + bytes(-len(unit) % 2880))
    try:
        with fits.open(content, do_not_scale_image_data=True, memmap=False) as hdus:
            pixels: NDArray[Any] = np.asarray(hdus[1].data).astype(stored, copy=False)
    except Exception as error:  # whatever a damaged stream makes astropy's decoders raise
        raise FormatError(
            f"{place}: its compressed image can't be decompressed ({error}); the file is damaged: copy it again"
        ) from error
    if folded:
        unsigned = np.dtype(f"u{stored.itemsize}")
        pixels = np.bitwise_xor(pixels.view(unsigned), unsigned.type(1 << (8 * unsigned.itemsize - 1)))
    return pixels.view(np.int8) if folded and stored.itemsize == 1 else pixels


def product_of(layout: Layout, *, name: str | None = None, kind: str | None = None) -> Product:
    """Make a product of a layout.

    Parameters
    ----------
    layout : Layout
        From a file or from a store.
    name : str, keyword-only, optional
        Of the product's track; by default from the file's name.
    kind : str, keyword-only, optional
        By default from the content and the file's name.

    Returns
    -------
    Product
        Of that kind.
    """
    filename = layout.origin.filename if layout.origin is not None else ""
    chosen = kind_class(kind if kind is not None else classify(layout, filename))
    product = Product.from_layout(layout, kind=chosen, name=name or track_name(filename) or None)
    _ = list(product.datasets.values())  # a table with a corrupt header is told now, not when it is touched
    return product
