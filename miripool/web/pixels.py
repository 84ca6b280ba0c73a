"""Addresses of pixels: their ramps and rates, and their lives in a monitor; pixels that satisfy a condition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from fastapi import APIRouter, Query

from ..errors import InvalidInput
from ..instruments.known import detector_of
from ..model.kinds import KINDS, kind_class
from ..pool.images.frames import is_image
from ..query.pixelwhere import FLAGS
from ..records.plain import table_records
from .answers import Json
from .pools import OpenPool, Version
from .watching import WatchedRoute

if TYPE_CHECKING:
    from ..instruments.detector import Placement
    from ..model.product import Product

__all__ = ["router"]

router = APIRouter(prefix="/api/pools/{pool}", route_class=WatchedRoute, tags=["pixels"])

X = Annotated[int, Query(description="Column of the FULL array, from 1.")]
Y = Annotated[int, Query(description="Row of the FULL array, from 1.")]
Detector = Annotated[str, Query(description="Only this detector, e.g. MIRIMAGE.")]
KindName = Annotated[str, Query(description="Raw, Ramp, RateInts or Rate.")]
Names = Annotated[bool, Query(description="DQ flags by name instead of bits.")]


@router.get("/pixel")
def show_pixel(
    pool: OpenPool,
    x: X,
    y: Y,
    detector: Detector = "",
    kind: KindName = "RateInts",
    where: Annotated[str, Query(description="Condition on versions.")] = "",
    tag: Annotated[str, Query(description="The versions that this tag marks.")] = "",
    all_versions: Annotated[bool, Query(description="All versions, not only the newest.")] = False,
    dq_names: Names = False,
) -> Json:
    """Follow one pixel through all exposures, as `miripool pixel --json` does: a row for each integration."""
    cls = kind_class(kind)
    pixel = pool.pixel(x, y, detector=detector or None)
    read = pixel.history if KINDS[cls.kind].is_rate else pixel.ramps
    table = read(cls, where or "1", tag=tag or None, all_versions=all_versions, dq_names=dq_names)
    return Json(table_records(table))


@router.get("/pixels")
def list_pixels(
    pool: OpenPool,
    kind: KindName = "RateInts",
    condition: Annotated[str, Query(description="Condition on pixels, as `miripool pixels --where`.")] = "",
    where: Annotated[str, Query(description="Condition on versions.")] = "",
    tag: Annotated[str, Query(description="The versions that this tag marks.")] = "",
    all_versions: Annotated[bool, Query(description="Search all versions, not only the newest.")] = False,
    detector: Detector = "",
    limit: Annotated[int, Query(ge=1, le=5000, description="Rows at most.")] = 500,
) -> Json:
    """Find the pixels that satisfy a condition, as `miripool pixels --json` does."""
    found = pool.pixels(
        kind, condition, query=where or "1", tag=tag or None, all_versions=all_versions, detector=detector or None
    )
    table = found.to_table(dq_names=True, limit=limit)
    return Json({"rows": table_records(table), "columns": list(table.colnames), "more": len(table) == limit})


@router.get("/life")
def show_life(
    pool: OpenPool,
    x: X,
    y: Y,
    monitor: Annotated[str, Query(description="Name of the monitor, if the pool has several.")] = "",
    detector: Detector = "",
) -> Json:
    """Give a pixel's life: its rate and state in each exposure of a monitor, and its episodes.

    The item `exposures` is what `miripool pixel --life --json` prints.
    """
    life = pool.pixel(x, y, detector=detector or None).life(monitor or None, flags=True)
    return Json(
        {
            "monitor": life.monitor,
            "detector": life.detector,
            "exposures": life.records(),
            "episodes": table_records(life.episodes()),
            "events": [{"time": event.time, "kind": event.kind, "note": event.note} for event in life.events],
        }
    )


@router.get("/products/{serial}/pixel")
def show_values(ref: Version, x: X, y: Y) -> Json:
    """Give the values of one pixel in every dataset whose frames are of the detector's pixels; no frame is read whole.

    Frames of another shape, such as those of the reference output, are left out: their columns are no pixels.
    """
    product = ref.product
    place = detector_of(product.meta).place(product.meta)
    row, column = _index(product, place, x, y)
    found: dict[str, Any] = {}
    for name, dataset in product.datasets.items():
        if is_image(dataset) and dataset.shape[-2:] == (place.rows, place.columns):
            values = dataset[(..., row, column)]
            found[name] = np.asarray(values)
    return Json(
        {
            "urn": ref.urn,
            "x": x,
            "y": y,
            "index": [row, column],
            "values": found,
            "time": _timing(product),
            "flags": dict(FLAGS),
        }
    )


def _index(product: Product, place: Placement, x: int, y: int) -> tuple[int, int]:
    """Give row and column of a pixel in the arrays of a product, 0-based."""
    if not place.covers(x, y):
        raise InvalidInput(
            f"{product.name} does not cover pixel x={x}, y={y}: its columns go from {place.x} to "
            f"{place.x + place.columns - 1}, its rows from {place.y} to {place.y + place.rows - 1}"
        )
    return y - place.y, x - place.x


def _timing(product: Product) -> dict[str, Any]:
    """Give the seconds between groups, and the frame's time, where the header has them."""
    return {key: product.meta[key].value if key in product.meta else None for key in ("TGROUP", "TFRAME", "NFRAMES")}
