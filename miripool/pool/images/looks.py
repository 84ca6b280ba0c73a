"""Looks: pictures of versions, which a notebook shows and which can be kept in files."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .blink import write_blinking
from .comparison import draw_pair
from .figures import save_figure
from .frameimage import check_colours
from .pairs import choose_pair, pair_frames
from .picturefile import format_of, refuse_taken
from .quicklook import check_marks, draw_frame
from .view import choose_frame

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from .view import Pictured

__all__ = ["Look", "compare", "plot"]

_DPI = 100
"""Dots to the inch in a notebook."""


@dataclass(frozen=True, slots=True)
class Look:
    """A picture of a version, or of two. A notebook shows it.

    Attributes
    ----------
    figure : matplotlib.figure.Figure
        To be changed further.
    """

    figure: Figure

    def save(self, path: str | Path, *, overwrite: bool = True) -> Path:
        """Write the picture to a file, completely or not at all.

        Parameters
        ----------
        path : path-like
            The file; its name ends in png, pdf, svg, jpg, tif, webp or eps.
        overwrite : bool, keyword-only
            Replace a file that is there.

        Returns
        -------
        pathlib.Path
            The file.

        Raises
        ------
        InvalidInput
            If the name ends otherwise, or is that of a folder.
        AlreadyExists
            If there is a file of that name, and `overwrite` is false.
        FileMissing, StorageError, DiskFull
            If the folder is not there, or the file can't be written.
        """
        return save_figure(self.figure, path, overwrite=overwrite)

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.figure.savefig(file, format="png", dpi=_DPI)
        return file.getvalue()


def plot(
    ref: Pictured,
    dataset: str | None = None,
    index: int | Sequence[int] | None = None,
    *,
    pixels: Sequence[tuple[int, int]] = (),
    flags: Sequence[str] = (),
    scale: str = "linear",
    limits: str | Sequence[float] = "zscale",
    cmap: str = "gray",
    out: str | Path | None = None,
    overwrite: bool = True,
) -> Look:
    """Draw one frame of a version; see `ProductRef.plot`.

    Parameters
    ----------
    ref : Pictured
        The version.
    dataset, index, pixels, flags, scale, limits, cmap, out, overwrite : object
        As for `ProductRef.plot`.

    Returns
    -------
    Look
        The picture.
    """
    if out is not None:
        format_of(out)
    check_colours(scale, limits, cmap)
    frame = choose_frame(ref, dataset, index)
    check_marks(frame, pixels, flags)
    if out is not None:
        refuse_taken(out, overwrite=overwrite)  # last: a user who chooses another name then meets no further error
    look = Look(draw_frame(frame, pixels=pixels, flags=flags, scale=scale, limits=limits, cmap=cmap))
    if out is not None:
        look.save(out, overwrite=overwrite)
    return look


def compare(
    first: Pictured,
    second: Pictured,
    dataset: str | None = None,
    index: int | Sequence[int] | None = None,
    *,
    scale: str = "linear",
    limits: str | Sequence[float] = "zscale",
    cmap: str = "gray",
    out: str | Path | None = None,
    overwrite: bool = True,
) -> Look:
    """Draw the same frame of two versions, and their difference; see `ProductRef.compare`.

    Parameters
    ----------
    first, second : Pictured
        The versions.
    dataset, index, scale, limits, cmap, out, overwrite : object
        As for `ProductRef.compare`.

    Returns
    -------
    Look
        The picture.
    """
    kind = "" if out is None else format_of(out, more=("gif",))
    check_colours(scale, limits, cmap)
    frames = choose_pair(first, second, dataset, index)
    if out is not None:
        refuse_taken(out, overwrite=overwrite)
    pair = pair_frames(*frames, limits=limits)
    look = Look(draw_pair(pair, scale=scale, cmap=cmap))
    if out is not None and kind == "gif":
        write_blinking(pair, out, scale=scale, cmap=cmap, overwrite=overwrite)
    elif out is not None:
        look.save(out, overwrite=overwrite)
    return look
