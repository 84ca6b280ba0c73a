"""Products as FITS: the exact bytes of the file they came from, streamed in bounded memory."""

from __future__ import annotations

import gzip
import io
import math
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import xxhash

from ..errors import IntegrityError
from ..model.cards import BLOCK
from ..model.product import Layout
from ..system.outfile import writing_file
from .build import layout_of
from .frames import frames_of
from .sources import iter_blocks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..model.dataset import ArraySource
    from ..model.product import Hdu, Product

__all__ = ["hdu_parts", "iter_bytes", "jwst_layout", "layout_parts", "to_hdulist", "write_fits"]


def iter_bytes(layout: Layout) -> Iterator[bytes]:
    """Give the FITS stream of a layout, block by block.

    Parameters
    ----------
    layout : Layout
        From a file, from a store, or of `layout_of`.

    Yields
    ------
    bytes
        Pieces of some 100 kB; at most some 130 MB of an array are in memory at a time.
    """
    for part in layout_parts(layout):
        if isinstance(part, bytes):
            yield part
        else:
            yield from iter_blocks(part)


def layout_parts(layout: Layout) -> Iterator[bytes | ArraySource]:
    """Give what the FITS stream of a layout consists of, in order; no array is read.

    Parameters
    ----------
    layout : Layout
        As for `iter_bytes`.

    Yields
    ------
    bytes or ArraySource
        Headers and paddings as they are; arrays that are to be encoded.
    """
    if layout.original is None:
        for hdu in layout.hdus:
            yield from hdu_parts(hdu)
    else:
        yield from _unit_parts(layout.original.header, [frames_of(layout)], layout.original.tail)
    if layout.trailer is not None:
        yield layout.trailer


def hdu_parts(hdu: Hdu) -> Iterator[bytes | ArraySource]:
    """Give what one header-data unit consists of.

    Parameters
    ----------
    hdu : Hdu
        Of a layout.

    Yields
    ------
    bytes or ArraySource
        As of `layout_parts`.
    """
    yield from _unit_parts(hdu.header, _sources_of(hdu), hdu.tail)


def _unit_parts(
    header: bytes, sources: Iterable[ArraySource], tail: ArraySource | None
) -> Iterator[bytes | ArraySource]:
    yield header
    size = 0
    for source in sources:
        size += math.prod(source.shape) * source.dtype.itemsize
        yield source
    if tail is not None:
        yield tail
    elif size % BLOCK:
        yield bytes(-size % BLOCK)


def _sources_of(hdu: Hdu) -> Iterator[ArraySource]:
    if hdu.raw is not None:
        yield hdu.raw
        return
    if hdu.encoding in ("image", "table") and hdu.data is not None:
        yield hdu.data
    if hdu.heap is not None:
        yield hdu.heap


def jwst_layout(product: Product) -> Layout:
    """Give the FITS file of a product in the form of JWST's.

    Parameters
    ----------
    product : Product
        Any.

    Returns
    -------
    Layout
        That of `layout_of`; for a ground test's exposure the Level-1b file instead of the bench's.
    """
    layout = layout_of(product)
    return layout if layout.original is None else Layout(layout.hdus)


def write_fits(product: Product, dest: Path | str, *, overwrite: bool = False, jwst: bool = False) -> Path:
    """Write a product as the FITS file it came from, bit for bit; a product made in memory as a new one.

    The file appears under its name when it is complete and on disk, or not at all.

    Parameters
    ----------
    product : Product
        Any.
    dest : path
        Name of the file; one that ends in ``.gz`` is compressed.
    overwrite : bool, keyword-only, optional
        Replace a file of that name.
    jwst : bool, keyword-only
        Write a ground test's exposure as the Level-1b file that it was turned into, not as the bench did.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    AlreadyExists
        If there is a file of that name.
    IntegrityError
        If the stored data do not give the bytes that the file had; nothing is written then.
    FileMissing, StorageError, DiskFull
        If the folder is not there or can't be written.
    """
    path = Path(dest).expanduser()
    layout = jwst_layout(product) if jwst else layout_of(product)
    with writing_file(path, overwrite=overwrite) as file:
        _write_stream(layout, file, compress=path.suffix.lower() == ".gz", label=str(path))
    return path


def _write_stream(layout: Layout, file: IO[bytes], *, compress: bool, label: str) -> None:
    digest = xxhash.xxh3_128()
    size = 0
    # No name and no time in the gzip header: the same product gives the same file.
    sink: Any = gzip.GzipFile("", "wb", 6, file, mtime=0) if compress else file
    for block in iter_bytes(layout):
        digest.update(block)
        size += len(block)
        sink.write(block)
    if compress:
        sink.close()
    origin = layout.origin
    if origin is not None and (size, digest.hexdigest()) != (origin.size, origin.digest):
        raise IntegrityError(
            f"{label}: not written, because its bytes would differ from the original file {origin.filename} "
            f"({size} bytes with digest {digest.hexdigest()} instead of {origin.size} with {origin.digest}); "
            "the stored data, or the file they are read from, have changed; restore them from a copy"
        )


def to_hdulist(product: Product) -> Any:
    """Give a product as astropy's HDUList.

    Parameters
    ----------
    product : Product
        Any.

    Returns
    -------
    astropy.io.fits.HDUList
        In memory, independent of the product and its files.
    """
    from astropy.io import fits

    buffer = io.BytesIO()
    for block in iter_bytes(jwst_layout(product)):
        buffer.write(block)
    buffer.seek(0)
    return fits.open(buffer, memmap=False, lazy_load_hdus=False)
