"""README.txt: it says what lies where in the tree of a pool."""

from __future__ import annotations

from .places import BY_DATE, BY_KIND, BY_TAG, PRODUCTS, UNDATED, VERSIONS

__all__ = ["readme"]

_TEXT = f"""\
The pool {{pool}} of miripool, as files. They can be read and copied, but not changed.

{PRODUCTS}
    A table of all products: the newest version of each, and where its file lies.
{BY_KIND}/Ramp/NAME_ramp.fits
    The newest version of each product, by kind.
{BY_TAG}/TAG/NAME_ramp.fits
    The versions that a tag marks.
{BY_DATE}/2023/2023-07-12/NAME_ramp.fits
    The newest version of each product, by the day of observation in UTC; {UNDATED}/ has those without a date.
{VERSIONS}/Ramp/NAME_v0_ramp.fits
    Every version that is not in the trash: v0 is the first. The content of these files never changes. In the other
    folders a newer version takes the place of an older one.

Each folder of versions has a table beside it, e.g. {BY_KIND}/Ramp.csv. The column "path" says where a file lies,
counted from the folder of this README.

The files are those that were saved, bit for bit: `miripool export` writes the same. The suffix names the kind: uncal
(Raw), ramp, rateints, rate; raw is the file of a ground test as the bench wrote it. Exposures and other lists of
products are no FITS files and are not here.

Each version has a URN, urn:{{pool}}:KIND:NUMBER, which stands in the tables and always means the same version.
`miripool show {{pool}} URN` shows all that is known about it.

In names, %5B and the like stand for characters that file systems or programs read as something else, here for "[". A
name that is too long ends in ~ and 16 digits; the tables have the whole name.
"""


def readme(pool: str) -> bytes:
    """Write the README of a pool's tree.

    Parameters
    ----------
    pool : str
        Name of the pool.

    Returns
    -------
    bytes
        Text in UTF-8, its lines at most 120 characters long.
    """
    return _TEXT.format(pool=pool).encode()
