"""What the jwst pipeline's files are: their kind, the name that their versions share, their datamodel."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..model.cards import parse_header
from ..model.kinds import KINDS, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..model.product import Hdu, Layout, Product

__all__ = ["classify", "doubt_kind", "track_name"]

_RAMP_AXES = 4
"""Integrations, groups, rows, columns."""

_STEM = re.compile(r"(.*?)(?:\.fits|\.fit)?(?:\.gz)?", re.IGNORECASE | re.DOTALL)


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
    return stem[: -len(suffix) - 1] if (suffix := _suffix_of(filename)) else stem


def _stem(filename: str) -> str:
    found = _STEM.fullmatch(filename)
    return found[1] if found and found[1] else filename


def _suffix_of(filename: str) -> str:
    """Give the suffix of a file's name, as its kind has it; empty where it has none of them."""
    first, _, last = _stem(filename).lower().rpartition("_")
    return last if first and any(kind.suffix == last for kind in KINDS.values()) else ""


def _kinds_for(primary: Mapping[str, Any]) -> list[Kind]:
    """Give the kinds of files that an instrument can have, its own before those of any."""
    instrument = primary.get("INSTRUME") or ""
    fitting = [kind for kind in KINDS.values() if kind.datamodel and kind.instrument in ("", instrument)]
    return sorted(fitting, key=lambda kind: not kind.instrument)


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
        Name of a kind that has a datamodel or, for anything else, ``Product``.
    """
    primary = _values(layout.hdus[0])
    hdus = {hdu.name: hdu for hdu in layout.hdus}
    science = hdus.get("SCI")
    if science is None or science.data is None:
        return "Product"
    ndim = len(science.data.shape)
    kinds = _kinds_for(primary)
    suffix = _suffix_of(filename)
    model = primary.get("DATAMODL")
    if isinstance(model, str) and model:
        kind = next((kind for kind in kinds if kind.datamodel == model), None)
    elif ndim == _RAMP_AXES:
        kind = _classify_ramps(kinds, science.data.dtype.kind, "GROUPDQ" in hdus, suffix)
    elif suffix or (science.unit or "").upper() == "DN/S":
        kind = next((kind for kind in kinds if kind.is_rate and kind.axes == ndim), None)
        if suffix and kind is not None and kind.suffix != suffix:
            return "Product"
    else:
        return "Product"
    if kind is None or kind.axes != ndim:
        return "Product"
    return "Product" if kind.is_rate and _is_calibrated(primary, science, kind, strict=bool(model)) else kind.name


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
    suffix = _suffix_of(filename)
    layout = product.layout
    if not suffix or product.kind != "Product" or layout is None or classify(layout, filename) != "Product":
        return None
    primary = _values(layout.hdus[0])
    named = next((kind for kind in _kinds_for(primary) if kind.suffix == suffix), None)
    if named is None:
        return None
    science = next((hdu for hdu in layout.hdus if hdu.name == "SCI" and hdu.data is not None), None)
    if science is None or science.data is None:
        why = "it has no image SCI"
    elif named.is_rate and not science.unit:
        why = f"SCI has no unit, and a rate needs BUNIT = '{named.unit}'"
    elif named.is_rate and not _has_unit(science, named):
        why = f"SCI is in {science.unit}, and a rate must be in {named.unit}"
    else:
        model = primary.get("DATAMODL")
        why = f"its header (DATAMODL {model!r}) and the {len(science.data.shape)} axes of SCI say otherwise"
    return f"kept as a Product, although its name says {named.name}: {why}"


def _classify_ramps(kinds: Sequence[Kind], dtype_kind: str, has_groupdq: bool, suffix: str) -> Kind | None:
    """Choose by the type of SCI and by what is beside it, or else by the file's name."""
    ramps = [kind for kind in kinds if kind.axes == _RAMP_AXES]
    for kind in ramps:
        flagged = any(column.dataset == "GROUPDQ" for column in kind.columns)
        held = "u" if kind.science is not None and kind.science.holds == "dn" else "f"
        if held == dtype_kind and (has_groupdq == flagged or (flagged and kind.suffix == suffix)):
            return kind
    return next((kind for kind in ramps if kind.suffix == suffix), None)


def _has_unit(science: Hdu, kind: Kind) -> bool:
    return (science.unit or "").upper().replace(" ", "") == kind.unit.upper()


def _is_calibrated(primary: Mapping[str, Any], science: Hdu, kind: Kind, *, strict: bool) -> bool:
    """Tell whether photometric calibration was done, or the unit says something else than the kind's."""
    header = {**_values(science), **primary}
    if not _has_unit(science, kind) and ((science.unit or "").strip() or strict):
        return True
    photometry = header.get("PHOTMJSR", header.get("PHOTUJA2"))
    return header.get("S_PHOTOM") == "COMPLETE" or isinstance(photometry, (int, float))


def _values(hdu: Hdu) -> dict[str, Any]:
    return {card.keyword: card.value for card in reversed(parse_header(hdu.header))}
