"""Pixel sets: which arrays of a product become pixel rows, and where on the detector they lie.

A set is named by its arrays and their place, so that versions with the same arrays share its rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import FormatError
from ..instruments.detector import PLACE_KEYS, DetectorRecord, Placement
from ..instruments.known import detector_of
from ..instruments.miri import IMAGER
from ..model.canonical import canonical_json, digest_bytes
from ..model.kinds import KINDS, Kind, PixelColumn
from ..model.metadata import MetaData

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..store.manifest import HduRecord, Manifest

__all__ = ["REFERENCE", "PixelSet", "pixel_set_of"]

REFERENCE = "reference"
"""What `PixelSet.datasets` calls the reference output."""


@dataclass(frozen=True, slots=True)
class PixelSet:
    """What the rows of a product's pixels are made from.

    Attributes
    ----------
    kind : str
        One that has pixel rows.
    digest : str
        Its name.
    detector : DetectorRecord
        Whose pixels they are.
    placement : Placement
        On the detector.
    nints, ngroups : int or None
        Length of the axes of integrations and of groups; None where the arrays have none.
    datasets : mapping
        For each column, and for the reference output, the name of the dataset that it comes from.
    """

    kind: str
    digest: str
    detector: DetectorRecord
    placement: Placement
    nints: int | None
    ngroups: int | None
    datasets: Mapping[str, str]


def pixel_set_of(manifest: Manifest) -> PixelSet | None:
    """Describe the pixel rows of a version; no array is read.

    Parameters
    ----------
    manifest : Manifest
        The version's.

    Returns
    -------
    PixelSet or None
        None for kinds without pixels, and where the header says nothing of a place on the detector.

    Raises
    ------
    FormatError
        If arrays and header contradict each other, or the arrays are none that the rows can hold as they are.
    """
    kind = KINDS.get(manifest.kind)
    if kind is None or not kind.pixel_table:
        return None
    meta = MetaData([(hdu.name, hdu.header) for hdu in manifest.hdus])
    if not any(key in meta for key in PLACE_KEYS):
        return None
    hdus = {hdu.name: hdu for hdu in manifest.hdus if hdu.data is not None}
    if "SCI" not in hdus:
        raise FormatError("it has no dataset SCI, so it has no pixels")
    detector = detector_of(meta)
    placement = detector.place(meta)
    nints, ngroups = _depth(kind, _axes(hdus["SCI"]), meta)
    columns = {column.name: column for column in kind.columns}
    if kind.reference is not None and detector.outputs:
        columns[REFERENCE] = kind.reference
    found = {name: column.dataset for name, column in columns.items() if column.dataset in hdus}
    for name, dataset in found.items():
        depth = [n for n in (nints, ngroups) if n is not None][: columns[name].axes]
        width = _reference_width(placement, detector.outputs) if name == REFERENCE else placement.columns
        _check(hdus[dataset], columns[name], (*depth, placement.rows, width))
    named = {name: hdus[name].data.digest for name in found.values()}  # type: ignore[union-attr]
    place = [placement.x, placement.y, placement.columns, placement.rows]
    if detector.columns != IMAGER.columns:
        place.append(detector.columns)  # their numbers depend on it; digests of before it was told stay as they are
    digest = digest_bytes(canonical_json({"kind": manifest.kind, "place": place, "arrays": named}))
    return PixelSet(manifest.kind, digest, detector, placement, nints, ngroups, found)


def _axes(hdu: HduRecord) -> tuple[int, ...]:
    return () if hdu.data is None else hdu.data.shape


def _depth(kind: Kind, shape: tuple[int, ...], meta: MetaData) -> tuple[int | None, int | None]:
    """Give the integrations and groups of SCI, once the header agrees."""
    if len(shape) != kind.axes:
        raise FormatError(f"its dataset SCI has {len(shape)} axes {shape}, but that of a {kind.name} has {kind.axes}")
    nints = shape[0] if kind.axes > 2 else None
    ngroups = shape[1] if kind.axes > 3 else None
    first, last = _number(meta, "INTSTART"), _number(meta, "INTEND")
    announced = _number(meta, "NINTS")
    if announced is not None and first is not None and last is not None and 1 <= first <= last <= announced:
        announced = last - first + 1  # a segment of a long exposure
    for key, said, there in (("NINTS", announced, nints), ("NGROUPS", _number(meta, "NGROUPS"), ngroups)):
        if said is not None and there is not None and said != there:
            raise FormatError(f"its header says {key} = {said}, but its dataset SCI has {there} (shape {shape})")
    return nints, ngroups


def _number(meta: MetaData, key: str) -> float | None:
    value = meta[key].value if key in meta else None
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _reference_width(placement: Placement, outputs: int) -> int:
    if placement.columns % outputs or (placement.x - 1) % outputs:
        raise FormatError(
            f"its columns {placement.x} to {placement.x + placement.columns - 1} do not make whole sets of {outputs} "
            "columns, so its reference output has no place on the detector"
        )
    return placement.columns // outputs


def _check(hdu: HduRecord, column: PixelColumn, shape: tuple[int, ...]) -> None:
    data = hdu.data
    if data is None or data.dtype.names is not None:
        raise FormatError(f"its dataset {hdu.name} is not an image")
    if data.shape != shape:
        raise FormatError(f"its dataset {hdu.name} has the shape {data.shape}, but its header calls for {shape}")
    held = data.dtype if hdu.scale is None else hdu.scale.physical_dtype(data.dtype)
    if column.holds == "dn":
        good = held == np.uint16
    elif column.holds == "flags":
        most = np.iinfo(column.code).max
        good = held.kind in "ui" and (hdu.statistics is None or (hdu.statistics.max or 0) <= most)
    else:
        good = held == np.float32
    if not good:
        wanted = {"dn": "16-bit DN", "flags": "flags", "real": "float32"}[column.holds]
        raise FormatError(f"its dataset {hdu.name} holds {held}, but pixel rows need {wanted}")
