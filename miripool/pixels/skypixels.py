"""Which pixel of each image looked at a position on the sky, by the linear world coordinates of its header."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FormatError, IncompleteAnswer, NotFound
from ..index.footprints import read_sky_keywords
from ..instruments.known import DETECTORS
from ..model.names import Urn
from ..pool.find import as_asked
from ..pool.select import select
from ..query.pixelwhere import FLAGS
from ..query.tree import Covers
from ..sky.footprint import is_image, pointing_of
from ..sky.position import read_position
from ..system.warning import warn_caller
from ..system.words import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..index import ProductRow
    from ..instruments.detector import Placement
    from ..pool.core import Core
    from ..sky.position import SkyPosition

__all__ = ["DISTORTION", "pixels_at"]

DISTORTION = 0.012
"""Share of a pixel's distance from the reference pixel by which the linear coordinates are wrong, at most. Measured: on
grids of 81 pixels and at the corners of the ten arrays of `miripool.instruments.miri`, against the polynomials of the
Science Instrument Aperture File in PRDOPSSOC-075 (pysiaf 0.29). In arcseconds the greatest error was 1.01 (9 pixels) at
the left corners of FULL; 0.34 in BRIGHTSKY, 0.24 in SLITLESSPRISM, 0.22 in MASK1065, 0.17 in MASKLYOT, 0.14 in SUB256,
0.11 in MASK1550, 0.08 in MASK1140, 0.07 in SUB128, 0.04 in SUB64."""
_NON_SCIENCE = FLAGS["NON_SCIENCE"]
_FLAGS_OF = {"Ramp": "PIXELDQ", "RateInts": "DQ", "Rate": "DQ"}
"""Kinds and the arrays of their pixels' flags."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A version and the pixel that looked at the position."""

    version: ProductRow
    detector: str
    column: float
    row: float
    place: Placement
    error: float

    @property
    def x(self) -> int:
        return self.place.x + _nearest(self.column) - 1

    @property
    def y(self) -> int:
        return self.place.y + _nearest(self.row) - 1


def pixels_at(
    core: Core,
    *position: Any,
    query: Any = "1",
    tag: str | None = None,
    all_versions: bool = False,
) -> Any:
    """Find the pixels; the parameters are those of `Pool.pixels_at`.

    Parameters
    ----------
    core : Core
        The pool.
    *position : object
        As for `miripool.sky.position.read_position`.
    query, tag, all_versions : object, keyword-only, optional
        Which versions, as for `Pool.select`.

    Returns
    -------
    astropy.table.Table
        A row for each version.
    """
    there = read_position(*position)
    asked, label = as_asked(core, query, tag)
    serials = select(core, asked.narrowed(Covers(there)), tag=label, all_versions=all_versions)
    said = read_sky_keywords(core.catalog.database, serials)
    seen: list[_Seen] = []
    left_out: list[tuple[str, str]] = []
    for version in core.catalog.rows(serials):
        found = _look(version, said.get(version.serial, {}), there)
        if isinstance(found, str):
            left_out.append((str(_urn(core, version)), found))
        elif found is not None:
            seen.append(found)
    if left_out:
        reasons = Counter(reason for _, reason in left_out)
        words = "; ".join(f"{counted(number, 'version')}: {reason}" for reason, number in reasons.items())
        warn_caller(f"the pixel can't be told from the header of some versions. {words}", IncompleteAnswer)
    return _table(core, there, seen, left_out)


def _look(version: ProductRow, said: Mapping[str, Any], there: SkyPosition) -> _Seen | str | None:
    """Give the pixel, why it can't be told, or None where the position is outside of the array."""
    if not is_image(said):
        kind = " ".join(str(said[key]) for key in ("EXP_TYPE", "DETECTOR") if key in said) or "no image"
        return f"{kind} is no image of the sky: MRS, LRS and the prism are left out"
    pointing = pointing_of(said)
    if pointing is None:
        return "the header has no pointing, RA_REF and the like, nor CRPIX1 and the like"
    detector = str(said["DETECTOR"]).strip().upper()
    try:
        place = DETECTORS[detector].place_in(said)
    except FormatError as nowhere:
        return str(nowhere)
    at = pointing.pixel(there)
    if at is None or not (1 <= _nearest(at[0]) <= place.columns and 1 <= _nearest(at[1]) <= place.rows):
        return None
    error = DISTORTION * math.hypot(at[0] - pointing.x, at[1] - pointing.y)
    return _Seen(version, detector, *at, place, error)


def _nearest(coordinate: float) -> int:
    """Give the pixel in which a coordinate is: the middle of the first one is 1.0."""
    return math.floor(coordinate + 0.5)


def _urn(core: Core, version: ProductRow) -> Urn:
    return Urn(core.name, version.kind, version.serial)


def _is_non_science(core: Core, one: _Seen) -> bool | None:
    """Read the pixel's flags: one tile; None where the product has none, or they are gone."""
    name = _FLAGS_OF.get(one.version.kind)
    try:
        product = core.load_version(one.version)
        if name is None or name not in product.datasets:
            return None
        flags = product[name][..., _nearest(one.row) - 1, _nearest(one.column) - 1]
    except NotFound:  # in a pool as of a moment: removed for good since
        return None
    return bool(np.any(np.asarray(flags).astype(np.uint32) & _NON_SCIENCE))


def _table(core: Core, there: SkyPosition, seen: Sequence[_Seen], left_out: Sequence[tuple[str, str]]) -> Any:
    from astropy import units
    from astropy.table import MaskedColumn, Table

    flags = [_is_non_science(core, one) for one in seen]
    columns: dict[str, Any] = {
        "urn": [str(_urn(core, one.version)) for one in seen],
        **{name: [getattr(one.version, name) for one in seen] for name in ("kind", "name", "version", "filter")},
        "detector": [one.detector for one in seen],
        "x": np.array([one.x for one in seen], np.int32),
        "y": np.array([one.y for one in seen], np.int32),
        "pixel_id": np.array([DETECTORS[one.detector].pixel_id(one.x, one.y) for one in seen], np.int64),
        "sky_x": np.array([one.place.x - 1 + one.column for one in seen], np.float64),
        "sky_y": np.array([one.place.y - 1 + one.row for one in seen], np.float64),
        "error": np.array([one.error for one in seen], np.float64) * units.pixel,
        "non_science": MaskedColumn(
            np.array([bool(flag) for flag in flags], bool), mask=np.array([flag is None for flag in flags], bool)
        ),
    }
    table = Table(columns)
    table.meta["position"] = f"{there.ra!r} {there.dec!r}"
    table.meta["coordinates"] = (
        f"linear, without distortion: x and y may be wrong by {DISTORTION:.1%} of the distance from the reference "
        "pixel (column error), and by the telescope's pointing"
    )
    table.meta["left_out"] = dict(left_out)
    return table
