"""Previews: the small picture that a notebook shows for a version."""

from __future__ import annotations

import io
import logging
import math
from typing import TYPE_CHECKING, Final

from .figures import new_figure, plain_text
from .frameimage import draw_colour_bar, draw_image, drawn_size
from .frames import thumbnail, thumbnail_of
from .limits import limits_of
from .view import frame_text, grid_of, number_text, unit_of

if TYPE_CHECKING:
    from ...model.dataset import Dataset
    from .view import Pictured

__all__ = ["preview"]

_log = logging.getLogger(__name__)

_BLOCKS: Final = 128
"""Rows and columns at most; larger frames are shown as means of blocks, which makes the file small."""
_DPI: Final = 80
_LETTERS: Final = 62
"""Characters of a line of the title."""
_MOST_BYTES: Final = 256 << 20
"""Bytes that are read at most: nobody has asked for the picture. An integration of FULL with 60 groups has as many."""


def preview(ref: Pictured) -> bytes | None:
    """Draw a small picture of a version: its first integration's last frame.

    Parameters
    ----------
    ref : Pictured
        The version.

    Returns
    -------
    bytes or None
        A PNG file of some 30 kB. None where there is nothing to show, or it can't be shown: the version has no frames,
        or very large ones, its data are damaged or gone, or matplotlib is missing.
    """
    try:
        chosen = thumbnail_of(ref.product)
        return None if chosen is None or _bytes_read(chosen[0]) > _MOST_BYTES else _drawn(ref, *chosen)
    except Exception as error:
        _log.info("there is no picture of %s: %s", ref.urn, error)
        return None


def _bytes_read(dataset: Dataset) -> int:
    """Count the bytes of an integration: a tile has all groups of its pixels."""
    return math.prod(dataset.shape[-3:] if dataset.ndim == 4 else dataset.shape[-2:]) * dataset.dtype.itemsize


def _drawn(ref: Pictured, dataset: Dataset, index: tuple[int, ...]) -> bytes:
    product = ref.product
    values = thumbnail(product, _BLOCKS)
    grid = grid_of(product, dataset)
    step = max(1, -(-max(grid.rows, grid.columns) // _BLOCKS))
    figure = new_figure(4.6, 3.9)
    axes = figure.add_subplot()
    image = draw_image(axes, values, grid, limits_of(values), step=step)
    draw_colour_bar(image, values, plain_text(unit_of(product, dataset)), drawn_size(grid, 3.2, 2.8)[0])
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_text("")
    image.set_cmap(image.get_cmap().with_extremes(bad="white"))
    lines = (f"{ref.kind} {ref.name}", f"{number_text(ref)}    {ref.urn}", frame_text(ref.kind, dataset, index))
    figure.suptitle("\n".join(plain_text(line, _LETTERS) for line in lines), fontsize="small")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DPI)
    return file.getvalue()
