"""What a picture of a frame shows: its values, where they lie on the detector, their unit, and what to call it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ...errors import FormatError, InvalidInput
from ...instruments.known import detector_of
from ...model.kinds import KINDS
from .frames import axes_of, image_named, read_frame, whole_index

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ...model.dataset import Dataset
    from ...model.product import Product

__all__ = [
    "FrameChoice",
    "FrameView",
    "Grid",
    "Pictured",
    "choose_frame",
    "frame_text",
    "grid_of",
    "number_text",
    "unit_of",
    "version_text",
]


class Pictured(Protocol):
    """A version of which pictures are made."""

    @property
    def urn(self) -> str:
        """``urn:<pool>:<Kind>:<serial>``."""

    @property
    def kind(self) -> str:
        """Kind of the product."""

    @property
    def name(self) -> str:
        """Name of the product."""

    @property
    def version(self) -> int:
        """Number of the version."""

    @property
    def tags(self) -> tuple[str, ...]:
        """Tags that mark the version."""

    @property
    def product(self) -> Product:
        """The product, its arrays unread."""


@dataclass(frozen=True, slots=True)
class Grid:
    """How the pixels of a frame are numbered.

    Attributes
    ----------
    x, y : int
        Column and row of the frame's first pixel, 1-based: in the FULL array, or 1 in an array of its own.
    rows, columns : int
        Size of the frame.
    is_detector : bool
        Whether the frame shows pixels of the detector.
    scale : float or None
        Arcseconds that a pixel is wide, if that is known.
    """

    x: int
    y: int
    rows: int
    columns: int
    is_detector: bool = False
    scale: float | None = None

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top edge; pixel (x, y) has its centre at (x, y)."""
        return self.x - 0.5, self.x + self.columns - 0.5, self.y - 0.5, self.y + self.rows - 0.5

    @property
    def axis_names(self) -> tuple[str, str]:
        """Labels of the horizontal and of the vertical axis."""
        of = "of the FULL array" if self.is_detector else "of this array"
        return f"x (column {of}, from 1)", f"y (row {of}, from 1)"

    def corner(self, x: int, y: int) -> tuple[int, int]:
        """Find a pixel in the frame.

        Parameters
        ----------
        x, y : int
            Column and row as this numbers them.

        Returns
        -------
        row, column : int
            0-based.

        Raises
        ------
        InvalidInput
            If the frame has no such pixel.
        """
        row, column = y - self.y, x - self.x
        if not (0 <= row < self.rows and 0 <= column < self.columns):
            raise InvalidInput(
                f"there is no pixel x={x}, y={y} in this frame: its columns x go from {self.x} to "
                f"{self.x + self.columns - 1}, its rows y from {self.y} to {self.y + self.rows - 1}"
                f"{' (FULL array)' if self.is_detector else ''}"
            )
        return row, column


@dataclass(frozen=True, slots=True)
class FrameChoice:
    """One frame of a version, which is not read yet.

    Attributes
    ----------
    ref : Pictured
        The version.
    dataset : Dataset
        Its dataset.
    index : tuple of int
        One 0-based number for each axis before the last two.
    grid : Grid
        How its pixels are numbered.
    unit : str
        Of the values; empty where none is known.
    """

    ref: Pictured
    dataset: Dataset
    index: tuple[int, ...]
    grid: Grid
    unit: str

    @property
    def text(self) -> str:
        """Which frame it is, in words."""
        return frame_text(self.ref.kind, self.dataset, self.index)

    def read(self) -> FrameView:
        """Read the frame.

        Returns
        -------
        FrameView
            The frame.
        """
        values = read_frame(self.dataset, self.index)
        return FrameView(self.ref, self.dataset, self.index, self.grid, self.unit, values)


@dataclass(frozen=True, slots=True)
class FrameView(FrameChoice):
    """One frame of a version, with its values.

    Attributes
    ----------
    values : ndarray, shape (ny, nx)
        float32 or float64; unsigned integers of 32 bits for DQ flags.
    """

    values: NDArray[Any]


def choose_frame(ref: Pictured, dataset: str | None = None, index: int | Sequence[int] | None = None) -> FrameChoice:
    """Choose one frame of a version; no array is read.

    Parameters
    ----------
    ref : Pictured
        The version.
    dataset : str, optional
        Name of the dataset; SCI unless given, or the first that has frames.
    index : int or sequence of int, optional
        0-based numbers of integration and group, as for `whole_index`; the first of each unless given.

    Returns
    -------
    FrameChoice
        The frame, which can be read.

    Raises
    ------
    ProductNotFound, InvalidInput
        If there is no such dataset, or no such frame.
    """
    product = ref.product
    chosen = image_named(product, dataset)
    return FrameChoice(ref, chosen, whole_index(chosen, index), grid_of(product, chosen), unit_of(product, chosen))


def grid_of(product: Product, dataset: Dataset) -> Grid:
    """Tell how the pixels of a dataset's frames are numbered.

    Parameters
    ----------
    product : Product
        The product.
    dataset : Dataset
        Shape (…, ny, nx).

    Returns
    -------
    Grid
        In the FULL array where its header says so and the shape agrees; else each frame by itself.
    """
    rows, columns = dataset.shape[-2:]
    detector = detector_of(product.meta)
    try:
        place = detector.place(product.meta)
    except FormatError:
        return Grid(1, 1, rows, columns)
    if (place.rows, place.columns) != (rows, columns):
        return Grid(1, 1, rows, columns)
    named = "DETECTOR" in product.meta and product.meta["DETECTOR"].value == detector.name
    return Grid(place.x, place.y, rows, columns, True, detector.pixel_scale if named else None)


def unit_of(product: Product, dataset: Dataset) -> str:
    """Give the unit of a dataset.

    Parameters
    ----------
    product : Product
        The product.
    dataset : Dataset
        One of its datasets.

    Returns
    -------
    str
        As the header has it; where it has none, what the kind's values are in. Empty where neither is known.
    """
    if dataset.unit_text:
        return dataset.unit_text
    kind = KINDS.get(product.kind)
    columns = () if kind is None else (*kind.columns, *((kind.reference,) if kind.reference else ()))
    return next((column.unit for column in columns if column.dataset == dataset.name), "")


def version_text(ref: Pictured) -> str:
    """Name a version.

    Parameters
    ----------
    ref : Pictured
        The version.

    Returns
    -------
    str
        E.g. ``Ramp jw… version 2 (using cal v2)``.
    """
    return f"{ref.kind} {ref.name} {number_text(ref)}"


def number_text(ref: Pictured) -> str:
    """Give the number and the tags of a version.

    Parameters
    ----------
    ref : Pictured
        The version.

    Returns
    -------
    str
        E.g. ``version 2 (using cal v2)``.
    """
    tags = ref.tags
    marked = f" ({', '.join(tags)})" if tags else ""
    return f"version {ref.version}{marked}"


def frame_text(kind: str, dataset: Dataset, index: Sequence[int]) -> str:
    """Say in words which frame it is.

    Parameters
    ----------
    kind : str
        The product's kind.
    dataset : Dataset
        The dataset.
    index : sequence of int
        One 0-based number for each axis before the last two.

    Returns
    -------
    str
        Counted from 1, e.g. ``SCI, integration 1 of 3, group 8 of 8``.
    """
    names = axes_of(dataset, kind)
    parts = [
        f"{name}{':' if name[-1].isdigit() else ''} {number + 1} of {length}"
        for name, number, length in zip(names, index, dataset.shape, strict=False)
    ]
    return ", ".join([dataset.name, *parts])
