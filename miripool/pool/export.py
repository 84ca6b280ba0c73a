"""What is written as FITS: the names of versions' files, and masks of what differs."""

from __future__ import annotations

import io
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from .. import formats
from ..errors import AlreadyExists, FileMissing, IntegrityError, NotFound, ProductNotFound
from ..model.kinds import KINDS, kind_class, sources
from ..model.names import check_product_name
from ..system.oserrors import storage_error
from ..system.outfile import is_folder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .difference import Difference
    from .reference import ProductRef

__all__ = ["export", "export_name", "export_size", "file_names", "write_mask"]


def export(ref: ProductRef, destination: Path | str, *, overwrite: bool = False, jwst: bool = False) -> Path:
    """Write the FITS file that was saved, bit for bit; see `Pool.export`.

    Parameters
    ----------
    ref : ProductRef
        The version.
    destination : path-like
        A file, or a folder that is there.
    overwrite, jwst : bool, keyword-only
        As for `Pool.export`.

    Returns
    -------
    pathlib.Path
        The file.
    """
    path = Path(destination)
    if is_folder(path):
        path /= export_name(ref, jwst=jwst)
    elif str(destination).endswith(("/", os.sep)):
        raise FileMissing(f"there is no folder {path}; create it first, or give the name of a file")
    try:
        formats.write_fits(ref.product, path, overwrite=overwrite, jwst=jwst)
    except (FileMissing, ProductNotFound):
        raise
    except NotFound as error:
        raise IntegrityError(f"{ref.urn} can't be written: {error}") from error
    return path


def export_name(ref: ProductRef, *, jwst: bool = False) -> str:
    """Choose a file name for a version: the one it came with, made safe, or one from its track.

    Parameters
    ----------
    ref : ProductRef
        The version.
    jwst : bool, keyword-only
        For the Level-1b file of a ground test's exposure.

    Returns
    -------
    str
        A file name without folder, ending in ``.fits``.
    """
    name = check_product_name(ref.name)  # in a pool that somebody else made it may be anything
    if jwst and ref.kind in sources():
        return f"{name}_{KINDS[ref.kind].suffix}.fits"
    filename = ref.filename
    if filename and formats.track_name(filename) == ref.name and Path(filename).name == filename:
        return filename.removesuffix(".gz")
    return f"{name}_{kind_class(ref.kind).kind.lower()}.fits"


def export_size(ref: ProductRef, *, jwst: bool = False) -> int:
    """Tell how large the file of a version is, without writing it.

    Parameters
    ----------
    ref : ProductRef
        The version.
    jwst : bool, keyword-only
        For the Level-1b file of a ground test's exposure; its headers are read for that.

    Returns
    -------
    int
        Bytes.
    """
    return formats.virtual_file(ref.product, jwst=True).size if jwst and ref.kind in sources() else ref.bytes


def file_names(refs: Iterable[ProductRef], *, jwst: bool = False) -> dict[str, ProductRef]:
    """Choose file names for versions that go into one folder; no two are the same, in any case of letters.

    Parameters
    ----------
    refs : iterable of ProductRef
        The versions.
    jwst : bool, keyword-only
        As for `export_name`.

    Returns
    -------
    dict of str to ProductRef
        In the same order. Versions that would share a name get their number into it, e.g. ``a_rate-v2.fits``, and
        where that is not enough their kind and their serial.
    """
    listed = list(refs)
    names = [export_name(ref, jwst=jwst) for ref in listed]
    for more in ("-v{ref.version}", "-{ref.kind}", "-{ref.serial}"):
        often = Counter(name.lower() for name in names)
        names = [
            name if often[name.lower()] == 1 else f"{name.removesuffix('.fits')}{more.format(ref=ref)}.fits"
            for name, ref in zip(names, listed, strict=True)
        ]
    return dict(zip(names, listed, strict=True))


def write_mask(path: Path, difference: Difference, old: str, new: str) -> list[str]:
    """Write a FITS file with an image extension for each array that changed: 1 where its elements differ, else 0.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    difference : Difference
        Of two versions whose elements were compared.
    old, new : str
        Their URNs, for the keywords OLD and NEW.

    Returns
    -------
    list of str
        Names of the extensions, which are those of the datasets.

    Raises
    ------
    AlreadyExists
        If the file is there.
    StorageError
        If it can't be written.
    """
    from astropy.io import fits

    primary = fits.PrimaryHDU()
    primary.header["OLD"] = (old, "version compared")
    primary.header["NEW"] = (new, "version compared with")
    names = [change.dataset for change in difference.elements if change.form is None and not change.columns]
    masks = [fits.ImageHDU(difference.mask(name).astype("u1"), name=name) for name in names]
    made = io.BytesIO()
    fits.HDUList([primary, *masks]).writeto(made)
    try:
        with path.open("xb") as file:
            file.write(made.getbuffer())
    except FileExistsError:
        raise AlreadyExists(f"{path} already exists and was not replaced; choose another name") from None
    except OSError as error:
        raise storage_error(error, path) from error
    return names
