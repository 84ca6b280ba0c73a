"""Addresses of pictures: what a version has to show, its frames, ramps and histograms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from ..errors import FormatError, InvalidInput
from ..index import find_neighbours
from ..instruments.known import detector_of
from ..monitors.states import STATES
from ..pool.core import core_of
from ..pool.images.flags import flags_of
from ..pool.images.frames import Frames, axes_of, image_named, is_image, thumbnail
from ..pool.reference import ProductRef
from ..query.pixelwhere import FLAGS
from .answers import Json
from .kept import array_answer, etag_of, is_known, keeping
from .pools import OpenPool, Version, version_of
from .watching import WatchedRoute

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..model.product import Product

__all__ = ["router"]

router = APIRouter(prefix="/api/pools/{pool}/products/{serial}", route_class=WatchedRoute, tags=["pictures"])

_BINS = 128
_SCALE = 4.0


def _frames(request: Request) -> Frames:
    found: Frames = request.app.state.frames
    return found


KeptFrames = Annotated[Frames, Depends(_frames)]


@router.get("/view")
def view(pool: OpenPool, ref: Version) -> Json:
    """Tell what there is to see of a version: datasets, place on the detector, flags, other versions, neighbours."""
    product = ref.product
    core = core_of(pool)
    before, after = find_neighbours(core.catalog.database, ref.serial)
    track = [row for row in core.catalog.track(ref.kind, ref.name) if row.removed is None]
    return Json(
        {
            "urn": ref.urn,
            "serial": ref.serial,
            "kind": ref.kind,
            "name": ref.name,
            "version": ref.version,
            "tags": list(ref.tags),
            "head": core.catalog.rows([ref.serial])[0].head,
            "filename": ref.filename,
            "created": ref.created,
            "start_time": ref.start_time,
            **_place(product),
            "datasets": [_dataset(product, name) for name in product.datasets],
            "flags": dict(FLAGS),
            "flags_of": flags_of(product),
            "states": list(STATES) if ref.kind == "Monitor" else [],
            "versions": [
                {"serial": row.serial, "version": row.version, "tags": list(row.tags), "created": row.created}
                for row in track
            ],
            "previous": before,
            "next": after,
        }
    )


def _place(product: Product) -> dict[str, Any]:
    detector = detector_of(product.meta)
    name = product.meta["detector"].value if "detector" in product.meta else None
    if detector is None:
        return {"detector": name, "place": None}
    try:
        place = detector.place(product.meta)
    except FormatError:  # a product without a place on the detector is shown by its own indices
        return {"detector": detector.name, "place": None}
    size = {
        "detector_columns": detector.columns,
        "detector_rows": detector.rows,
        "reference_columns": detector.first_science_column - 1,
        "outputs": detector.outputs,
    }
    return {
        "detector": detector.name,
        "place": {"x": place.x, "y": place.y, "columns": place.columns, "rows": place.rows, **size},
    }


def _dataset(product: Product, name: str) -> dict[str, Any]:
    dataset = product.datasets[name]
    image = is_image(dataset)
    statistics = dataset.statistics if image else None
    return {
        "name": name,
        "dtype": "table" if dataset.dtype.names else str(dataset.dtype),
        "shape": list(dataset.shape),
        "unit": dataset.unit_text,
        "image": image,
        "flags": image and dataset.is_flags,
        "axes": axes_of(dataset, product.kind) if image else [],
        **{key: None if statistics is None else getattr(statistics, key) for key in ("min", "max", "mean", "std")},
    }


def _numbers(text: str, what: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",")) if text.strip() else ()
    except ValueError:
        raise InvalidInput(f"{what} is {text!r}; write 0-based numbers with commas between them, e.g. 0,3") from None


def _read(frames: Frames, ref: ProductRef, dataset: str, index: tuple[int, ...]) -> NDArray[Any]:
    return frames.read(_content(ref), image_named(ref.product, dataset), index)


def _content(ref: ProductRef) -> str:
    """Name what a version holds."""
    return f"{core_of(ref.pool).id}/{ref.row.manifest}"


@router.get("/frame")
def frame(
    request: Request,
    pool: OpenPool,
    ref: Version,
    frames: KeptFrames,
    dataset: Annotated[str, Query(description="Name of the dataset.")] = "SCI",
    index: Annotated[str, Query(description="0-based number along each axis before y and x, e.g. 0,3.")] = "",
    minus: Annotated[str, Query(description="Subtract this frame of the dataset.")] = "",
    other: Annotated[
        int | None, Query(description="Subtract the frame of this version: the same one, or that of `minus`.")
    ] = None,
) -> Response:
    """Give one frame: little-endian values in C order, shape (ny, nx), as the headers X-Shape and X-Dtype say."""
    chosen = _numbers(index, "index")
    subtracted = ref if other is None else version_of(pool, other)
    etag = etag_of(f"{_content(ref)} {_content(subtracted)} {request.url.query}")
    if is_known(request, etag):
        return _unchanged(etag)
    values = _read(frames, ref, dataset, chosen)
    if other is not None or minus:
        second = _read(frames, subtracted, dataset, _numbers(minus, "minus") if minus else chosen)
        if second.shape != values.shape:
            raise InvalidInput(
                f"the frames have the shapes {values.shape} and {second.shape}; frames of one shape can be subtracted"
            )
        values = values.astype(np.float64 if values.dtype == np.uint32 else values.dtype) - second
        values = values.astype(np.float32)
    return array_answer(values, **keeping(etag))


def _unchanged(etag: str) -> Response:
    return Response(status_code=304, headers=keeping(etag))


@router.get("/thumbnail")
def small_picture(request: Request, ref: Version) -> Response:
    """Give a small picture, shape (ny, nx) with at most 40 rows and columns, as `frame` gives frames.

    The shape is (0, 0) where no dataset has frames.
    """
    etag = etag_of(f"{_content(ref)} thumbnail")
    return _unchanged(etag) if is_known(request, etag) else array_answer(thumbnail(ref.product), **keeping(etag))


@router.get("/histogram")
def histogram(
    ref: Version,
    frames: KeptFrames,
    dataset: Annotated[str, Query(description="Name of the dataset.")] = "SCI",
    index: Annotated[str, Query(description="0-based number along each axis before y and x.")] = "",
) -> Json:
    """Count the values of one frame between its 0.5th and 99.5th percentiles; those beyond are in the outer bins."""
    values = _read(frames, ref, dataset, _numbers(index, "index")).ravel()
    finite = values[np.isfinite(values)]
    if not finite.size:
        return Json({"edges": [], "counts": [], "nan": int(values.size)})
    scaled = finite.astype(np.float64) / _SCALE  # so that no difference of two values is infinite
    low, high = np.percentile(scaled, (0.5, 99.5))
    room = max(0.5 / _SCALE, abs(low) * 1e-6, abs(high) * 1e-6)
    if high - low < _BINS * np.spacing(max(abs(low), abs(high))):
        low, high = low - room, high + room
    counts, edges = np.histogram(np.clip(scaled, low, high), bins=_BINS, range=(low, high))
    return Json({"edges": edges * _SCALE, "counts": counts, "nan": int(values.size - finite.size)})
