"""What the jwst pipeline's files are: their kind, the name that their versions share, their datamodel."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..model.cards import parse_header

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..model.product import Hdu, Layout, Product

__all__ = ["MODELS", "classify", "doubt_kind", "track_name"]

MODELS: Mapping[str, str] = {
    "Raw": "Level1bModel",
    "Ramp": "RampModel",
    "RateInts": "CubeModel",
    "Rate": "ImageModel",
}
"""The datamodel (card DATAMODL) of each kind."""

_STEM = re.compile(r"(.*?)(?:\.fits|\.fit)?(?:\.gz)?", re.IGNORECASE | re.DOTALL)
_SUFFIX = re.compile(r"(.+)_(uncal|ramp|rateints|rate)", re.IGNORECASE | re.DOTALL)
_SUFFIX_KINDS = {"uncal": "Raw", "ramp": "Ramp", "rateints": "RateInts", "rate": "Rate"}
_RATE_UNIT = "DN/S"


def track_name(filename: str) -> str:
    """Give what the names of an exposure's files have in common.

    Parameters
    ----------
    filename : str
        Without folder, e.g. ``jw01033005001_03103_00001_mirimage_rateints.fits``.

    Returns
    -------
    str
        Without ``.fits`` or ``.fits.gz`` and without ``_uncal``, ``_ramp``, ``_rateints`` or ``_rate``:
        ``jw01033005001_03103_00001_mirimage``. Other endings stay.
    """
    stem = _stem(filename)
    found = _SUFFIX.fullmatch(stem)
    return found[1] if found else stem


def _stem(filename: str) -> str:
    found = _STEM.fullmatch(filename)
    return found[1] if found and found[1] else filename


def _suffix_kind(filename: str) -> str | None:
    found = _SUFFIX.fullmatch(_stem(filename))
    return _SUFFIX_KINDS[found[2].lower()] if found else None


def classify(layout: Layout, filename: str = "") -> str:
    """Tell the kind of product a file holds; no array is read.

    The datamodel that the header names decides. ImageModel and CubeModel are rates only while SCI is in DN/s and
    not photometrically calibrated. Where the header names none, the shape and type of SCI decide, and what is
    beside it, and the file's name.

    Parameters
    ----------
    layout : Layout
        The file.
    filename : str, optional
        Its name.

    Returns
    -------
    str
        ``Raw``, ``Ramp``, ``RateInts``, ``Rate`` or, for anything else, ``Product``.
    """
    primary = _values(layout.hdus[0])
    hdus = {hdu.name: hdu for hdu in layout.hdus}
    science = hdus.get("SCI")
    if science is None or science.data is None:
        return "Product"
    ndim = len(science.data.shape)
    model = primary.get("DATAMODL")
    if isinstance(model, str) and model:
        kind = next((kind for kind, name in MODELS.items() if name == model), "Product")
    elif ndim == 4:
        kind = _classify_ramps(science.data.dtype.kind, "GROUPDQ" in hdus, _suffix_kind(filename))
    else:
        named = _suffix_kind(filename)
        in_rate_unit = (science.unit or "").upper() == _RATE_UNIT
        kind = {2: "Rate", 3: "RateInts"}.get(ndim, "Product") if named or in_rate_unit else "Product"
        if named not in (None, kind):
            return "Product"
    if kind in ("Rate", "RateInts") and _is_calibrated(primary, science, strict=bool(model)):
        return "Product"
    return kind if ndim == {"Rate": 2, "RateInts": 3}.get(kind, 4) else "Product"


def doubt_kind(product: Product, filename: str) -> str | None:
    """Say why a file is kept as a plain product although its name says that it is a ramp or rate.

    Parameters
    ----------
    product : Product
        What was made of it; no array is read.
    filename : str
        Its name.

    Returns
    -------
    str or None
        For the user; None where the kind is the one that the name says, or where the name says none.
    """
    named = _suffix_kind(filename)
    layout = product.layout
    if named is None or product.kind != "Product" or layout is None or classify(layout, filename) != "Product":
        return None
    science = next((hdu for hdu in layout.hdus if hdu.name == "SCI" and hdu.data is not None), None)
    if science is None or science.data is None:
        why = "it has no image SCI"
    elif named in ("Rate", "RateInts") and not science.unit:
        why = "SCI has no unit, and that of a rate is BUNIT = 'DN/s'"
    elif named in ("Rate", "RateInts") and (science.unit or "").upper().replace(" ", "") != _RATE_UNIT:
        why = f"SCI is in {science.unit}, and a rate in DN/s"
    else:
        model = _values(layout.hdus[0]).get("DATAMODL")
        why = f"its header (DATAMODL {model!r}) and the {len(science.data.shape)} axes of SCI say otherwise"
    return f"kept as a Product, not as a {named}, as its name says: {why}"


def _classify_ramps(dtype_kind: str, has_groupdq: bool, named: str | None) -> str:
    if dtype_kind == "u" and not has_groupdq:
        return "Raw"
    if dtype_kind == "f" and (has_groupdq or named == "Ramp"):
        return "Ramp"
    return named if named in ("Raw", "Ramp") else "Product"


def _is_calibrated(primary: Mapping[str, Any], science: Hdu, *, strict: bool) -> bool:
    """Tell whether photometric calibration was done, or the unit says something else than DN/s."""
    header = {**_values(science), **primary}
    unit = (science.unit or "").upper().replace(" ", "")
    if unit != _RATE_UNIT and (unit or strict):
        return True
    photometry = header.get("PHOTMJSR", header.get("PHOTUJA2"))
    return header.get("S_PHOTOM") == "COMPLETE" or isinstance(photometry, (int, float))


def _values(hdu: Hdu) -> dict[str, Any]:
    return {card.keyword: card.value for card in reversed(parse_header(hdu.header))}
