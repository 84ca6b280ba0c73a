"""Frames: single images of a dataset, read one after the other."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import FormatError, InvalidInput, ProductNotFound
from ...instruments.known import detector_of
from ...model.keywords import suggest
from .blocks import block_means

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ...model.dataset import Dataset
    from ...model.product import Product

__all__ = [
    "Frames",
    "axes_of",
    "image_named",
    "images_of",
    "is_image",
    "read_frame",
    "science_values",
    "thumbnail",
    "thumbnail_of",
    "whole_index",
]

_WINDOW = 48 << 20
"""Bytes of groups that are read at once. A tile holds all groups of its pixels, so to read one frame of a FULL ramp of
20 groups takes as long as to read all of them, 0.15 s; the next group then comes from memory."""

_KEPT = 2 * _WINDOW
"""Bytes that are kept: two windows, so that two versions can be compared group by group."""


def is_image(dataset: Dataset) -> bool:
    """Tell whether a dataset holds frames.

    Parameters
    ----------
    dataset : Dataset
        Of a product.

    Returns
    -------
    bool
        True for numbers along two axes or more, each with an element at least.
    """
    return dataset.dtype.kind in "buif" and dataset.ndim >= 2 and dataset.size > 0


def images_of(product: Product) -> dict[str, Dataset]:
    """Give the datasets that hold frames.

    Parameters
    ----------
    product : Product
        Any.

    Returns
    -------
    dict of str to Dataset
        By name, in the product's order.
    """
    return {name: dataset for name, dataset in product.datasets.items() if is_image(dataset)}


def axes_of(dataset: Dataset, kind: str) -> list[str]:
    """Name the axes of a dataset of frames.

    Parameters
    ----------
    dataset : Dataset
        With two axes or more.
    kind : str
        The product's kind.

    Returns
    -------
    list of str
        In axis order, ending with ``y``, ``x``; before them ``integration`` and ``group``, or ``plane`` where there are
        others.
    """
    leading = dataset.ndim - 2
    if leading == 2:
        names = ["integration", "group"]
    elif leading == 1:
        names = ["integration"] if kind in ("RateInts", "Raw", "Ramp") else ["plane"]
    else:
        names = [f"plane {number + 1}" for number in range(leading)]
    return [*names, "y", "x"]


def image_named(product: Product, name: str | None = None) -> Dataset:
    """Give a dataset that holds frames.

    Parameters
    ----------
    product : Product
        The product.
    name : str, optional
        The dataset's name; SCI unless given, or the first that has frames.

    Returns
    -------
    Dataset
        The dataset.

    Raises
    ------
    ProductNotFound
        If there is none of that name; the message lists those there are.
    InvalidInput
        If it holds no frames.
    """
    images = images_of(product)
    if name is None:
        if not images:
            there = f"its datasets are {', '.join(product.datasets)}" if product.datasets else "it has no dataset"
            raise InvalidInput(f"{product.kind} {product.name} has no frames; {there}")
        return images.get("SCI", next(iter(images.values())))
    if name not in product.datasets:
        near = suggest(name, product.datasets)
        hint = f"did you mean {' or '.join(near)}? It has" if near else "it has"
        raise ProductNotFound(f"{product.name} has no dataset {name!r}; {hint} {', '.join(product.datasets) or 'none'}")
    if name not in images:
        shape = product.datasets[name].shape
        others = f"; those that have some are {', '.join(images)}" if images else ""
        raise InvalidInput(f"dataset {name} of {product.name} has no frames; its shape is {shape}{others}")
    return images[name]


def whole_index(dataset: Dataset, index: int | Sequence[int] | None) -> tuple[int, ...]:
    """Complete the place of a frame.

    Parameters
    ----------
    dataset : Dataset
        Shape (…, ny, nx).
    index : int, sequence of int, or None
        0-based numbers along the first axes; negative ones count from the end. Those that are left out are 0.

    Returns
    -------
    tuple of int
        One 0-based number for each axis before the last two.

    Raises
    ------
    InvalidInput
        If there is no such frame.
    """
    given = () if index is None else (index,) if isinstance(index, int) else tuple(index)
    leading = dataset.shape[:-2]
    if len(given) > len(leading):
        some = f"at most {len(leading)} numbers" if leading else "no index"
        raise InvalidInput(f"dataset {dataset.name} has shape {dataset.shape}; a frame takes {some}, not {len(given)}")
    whole = [*given, *([0] * (len(leading) - len(given)))]
    counted = [number + length if number < 0 else number for number, length in zip(whole, leading, strict=True)]
    _check_index(dataset, counted, asked=whole)
    return tuple(counted)


def read_frame(dataset: Dataset, index: Sequence[int]) -> NDArray[Any]:
    """Read one frame, and keep nothing.

    Parameters
    ----------
    dataset : Dataset
        Shape (…, ny, nx).
    index : sequence of int
        One 0-based number for each axis before the last two.

    Returns
    -------
    ndarray, shape (ny, nx)
        As `Frames.read` gives it.

    Raises
    ------
    InvalidInput
        If there is no such frame.
    """
    _check_index(dataset, index)
    return _plain(dataset, dataset[(*index, ...)])


class Frames:
    """Reads frames; the groups around the last ones are kept. Several threads may use it.

    Parameters
    ----------
    window, kept : int, keyword-only
        Bytes that are read at once, and bytes that are kept.
    """

    def __init__(self, *, window: int = _WINDOW, kept: int = _KEPT) -> None:
        self._window = window
        self._most = kept
        self._kept: OrderedDict[tuple[Any, ...], NDArray[Any]] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, key: str, dataset: Dataset, index: Sequence[int]) -> NDArray[Any]:
        """Read a frame.

        Parameters
        ----------
        key : str
            Names the content of the dataset's product: its manifest.
        dataset : Dataset
            Shape (…, ny, nx).
        index : sequence of int
            One 0-based number for each axis before the last two.

        Returns
        -------
        ndarray, shape (ny, nx)
            Not to be changed. Unsigned integers of 32 bits for DQ flags; else float32, or float64 for integers of more
            than 16 bits and for float64.

        Raises
        ------
        InvalidInput
            If there is no such frame.
        """
        _check_index(dataset, index)
        if not index:
            return _plain(dataset, dataset[...])
        *outer, last = index
        itemsize = dataset.dtype.itemsize
        frame_bytes = dataset.shape[-2] * dataset.shape[-1] * itemsize
        length = max(1, min(dataset.shape[len(outer)], self._window // frame_bytes))
        first = last // length * length
        place = (key, dataset.name, *outer, first)
        found = self._take(place)
        if found is None:
            found = dataset[(*outer, slice(first, first + length))]
            self._keep(place, found)
        return _plain(dataset, found[last - first])

    def _take(self, place: tuple[Any, ...]) -> NDArray[Any] | None:
        with self._lock:
            found = self._kept.get(place)
            if found is not None:
                self._kept.move_to_end(place)
            return found

    def _keep(self, place: tuple[Any, ...], values: NDArray[Any]) -> None:
        with self._lock:
            self._kept[place] = values
            total = sum(kept.nbytes for kept in self._kept.values())
            while total > self._most and self._kept:
                total -= self._kept.popitem(last=False)[1].nbytes


def _check_index(dataset: Dataset, index: Sequence[int], *, asked: Sequence[int] | None = None) -> None:
    leading = dataset.shape[:-2]
    if len(index) != len(leading):
        raise InvalidInput(
            f"dataset {dataset.name} has shape {dataset.shape}; a frame needs {len(leading)} numbers, not {len(index)}"
        )
    for axis, (number, length) in enumerate(zip(index, leading, strict=True)):
        if not 0 <= number < length:
            raise InvalidInput(
                f"dataset {dataset.name} has {length} frames along axis {axis}, from 0 to {length - 1}; "
                f"there is no {(asked or index)[axis]}"
            )


def _plain(dataset: Dataset, frame: NDArray[Any]) -> NDArray[Any]:
    if dataset.is_flags:
        return np.asarray(frame).astype(np.uint32, copy=False)
    wide = frame.dtype.itemsize > 4 or (frame.dtype.kind in "iu" and frame.dtype.itemsize > 2)
    return np.asarray(frame).astype(np.float64 if wide else np.float32, copy=False)


def science_values(product: Product, frame: NDArray[Any]) -> NDArray[Any]:
    """Leave out what sees no sky: limits are counted on the rest.

    Subarrays at the detector's left edge end with columns that see no sky. In SUB64 of the tests at JPL their level is
    16,600 DN where the others have 12,000 DN; between the limits of such a frame the others are black.

    Parameters
    ----------
    product : Product
        Its header says where the frame lies.
    frame : ndarray of float, shape (ny, nx)
        Is not changed.

    Returns
    -------
    ndarray, shape (ny, nx)
        NaN in the reference columns, and in the outermost columns if they are of another brightness. The frame itself
        where it is none of the detector's.
    """
    detector = detector_of(product.meta)
    try:
        place = detector.place(product.meta)
    except FormatError:
        return frame
    if frame.shape != (place.rows, place.columns):
        return frame
    width = detector.first_science_column - 1
    x = np.arange(place.x, place.x + place.columns)
    unseen = (x <= width) | (x > detector.columns - width)
    ends = [end for end in (slice(width), slice(-width, None)) if not unseen[end].all()]
    inner = np.where(unseen, np.nan, frame)[:, width:-width]
    inner = inner[np.isfinite(inner)]
    if inner.size:
        low, high = np.percentile(inner, (1, 99))
        for end in ends:
            values = frame[:, end][np.isfinite(frame[:, end])]
            unseen[end] |= bool(values.size) and not low <= np.median(values) <= high
    return frame if unseen.all() else np.where(unseen, np.nan, frame).astype(frame.dtype)


def thumbnail_of(product: Product) -> tuple[Dataset, tuple[int, ...]] | None:
    """Choose what a small picture shows.

    Parameters
    ----------
    product : Product
        Any.

    Returns
    -------
    tuple of Dataset and tuple of int, or None
        SCI, or the first dataset that has frames, and the place of its first integration's last frame. None where no
        dataset has frames.
    """
    if not images_of(product):
        return None
    dataset = image_named(product)
    leading = dataset.shape[:-2]
    return dataset, (0, leading[1] - 1) if len(leading) == 2 else (0,) * len(leading)


def thumbnail(product: Product, size: int = 40) -> NDArray[np.float32]:
    """Give a small picture of a product: means of blocks of the frame that `thumbnail_of` chooses.

    Parameters
    ----------
    product : Product
        The product.
    size : int, optional
        Rows and columns at most.

    Returns
    -------
    ndarray of float32, shape (ny, nx)
        NaN where a block has no number. Reference columns, and columns at the edges that are of another brightness
        than the others, count as NaN. Empty where no dataset has frames.
    """
    chosen = thumbnail_of(product)
    if chosen is None:
        return np.empty((0, 0), np.float32)
    dataset, index = chosen
    with np.errstate(over="ignore"):  # what is too large for float32 has no number either
        values = np.asarray(dataset[(*index, slice(None), slice(None))], np.float32)
    frame = science_values(product, values)
    return block_means(frame, max(1, -(-max(frame.shape) // size)))
