"""A comparison as a blinking picture: the same frame of two versions, one after the other, as a GIF file."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .blocks import block_means
from .figures import drawable
from .frameimage import colour_map
from .limits import scaled
from .missing import nan_colour
from .picturefile import write_picture
from .view import version_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.colors import Normalize
    from numpy.typing import NDArray
    from PIL.Image import Image

    from .pairs import FramePair

__all__ = ["write_blinking"]

_LARGE: Final = 1100
"""Rows and columns up to which a pixel of the frame is a pixel of the picture, or more: those of a FULL array."""
_SMALL: Final = 600
"""Rows and columns to which the shorter side of a smaller frame is enlarged at most, by a whole number."""
_FLAT: Final = 32
"""Rows and columns of the picture that a frame takes at least."""
_LEAST: Final = 560
"""Columns of the picture at least, for the text."""
_TIME: Final = 1000
"""Milliseconds of each version. Three changes a second can harm."""
_FONT: Final = 13
_LINE: Final = 17
_LETTER: Final = 7.5
"""Pixels: the size of the font, the distance of lines, and what a letter takes, on the average and with some room."""
_MARGIN: Final = 6
_COLOURS: Final = 253
"""Colours of the map in the palette."""
_NAN, _BLACK, _WHITE = _COLOURS, _COLOURS + 1, _COLOURS + 2
"""The palette's last colours: those of NaN, and of the text."""


def write_blinking(
    pair: FramePair, path: str | Path, *, scale: str = "linear", cmap: str = "gray", overwrite: bool = True
) -> Path:
    """Write two frames that blink, with the same limits, as an animated GIF.

    Each pixel is drawn as a square of whole pixels of the picture; frames larger than FULL as means of blocks.

    Parameters
    ----------
    pair : FramePair
        The frames.
    path : path-like
        The file.
    scale, cmap : str, keyword-only
        As for a quick look.
    overwrite : bool, keyword-only
        Replace a file that is there.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    InvalidInput
        If matplotlib is not installed, or knows no such colour map; or if there is no such scale.
    AlreadyExists, FileMissing, StorageError, DiskFull
        As for `write_picture`.
    """
    is_flags = pair.first.dataset.is_flags
    palette = _palette("gray_r" if is_flags else cmap)
    norm = scaled("linear" if is_flags else scale, *pair.limits)
    pictures = [_coloured(values, norm) for values in pair.shown]
    captions = _captions(pair, nan_colour(cmap).name, max(pictures[0].shape[1], _LEAST) - 2 * _MARGIN)
    lines = max(map(len, captions))
    images = [_drawn(picture, caption, lines, palette) for picture, caption in zip(pictures, captions, strict=True)]
    file = io.BytesIO()
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=_TIME, loop=0, optimize=False)
    return write_picture(file.getvalue(), path, overwrite=overwrite)


def _palette(cmap: str) -> list[int]:
    from matplotlib.colors import to_rgb

    colours = colour_map(cmap)
    shades = colours(np.linspace(0, 1, _COLOURS))[:, :3]
    table = np.vstack([shades, to_rgb(nan_colour(cmap).code), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)])
    found: list[int] = np.rint(table * 255).astype(int).ravel().tolist()
    return found


def _coloured(values: NDArray[Any], norm: Normalize) -> NDArray[np.uint8]:
    """Give the numbers of colours in the palette; the last row of the frame is the first of the picture."""
    large = max(values.shape)
    shown = values if large <= _LARGE else block_means(values, -(-large // _LARGE))
    finite = np.isfinite(shown)
    place = np.asarray(norm(np.where(finite, shown, 0.0)), np.float64)
    numbers = np.clip(place * _COLOURS, 0, _COLOURS - 1).astype(np.uint8)
    enlarged = max(1, min(_LARGE // max(shown.shape), _SMALL // min(shown.shape)))
    rows, columns = (max(enlarged, -(-_FLAT // side)) for side in shown.shape)
    return np.where(finite, numbers, _NAN).astype(np.uint8)[::-1].repeat(rows, 0).repeat(columns, 1)


def _captions(pair: FramePair, nan: str, width: int) -> list[list[str]]:
    """Say below each other which version it is, which frame, and what the colours mean."""
    grid, low, high = pair.first.grid, *pair.limits
    unit = f" {pair.first.unit}" if pair.first.unit else ""
    colours = "black: any flag" if pair.first.dataset.is_flags else f"colours from {low:.5g} to {high:.5g}{unit}"
    where = f"x {grid.x} to {grid.x + grid.columns - 1}, y {grid.y} to {grid.y + grid.rows - 1}"
    found = []
    for letter, view, values in zip("AB", (pair.first, pair.second), pair.shown, strict=True):
        note = "" if np.isfinite(values).all() else f"; {nan}: {'not finite' if np.isinf(view.values).any() else 'NaN'}"
        texts = (f"{letter}: {version_text(view.ref)}", f"{view.text}; {colours}", f"{where}{note}")
        found.append([line for text in texts for line in drawable(text, int(width / _LETTER))])
    return found


def _drawn(picture: NDArray[np.uint8], caption: Sequence[str], lines: int, palette: Sequence[int]) -> Image:
    from matplotlib.font_manager import FontProperties, findfont
    from PIL import Image, ImageDraw, ImageFont

    high, wide = picture.shape
    strip = lines * _LINE + 2 * _MARGIN
    size = max(wide, _LEAST), high + strip
    image = Image.new("P", size, _BLACK)
    image.putpalette(list(palette))
    image.paste(Image.fromarray(picture), ((size[0] - wide) // 2, strip))
    font = ImageFont.truetype(findfont(FontProperties()), _FONT)
    writer = ImageDraw.Draw(image)
    writer.fontmode = "1"  # no shades between the colours of the palette
    for number, line in enumerate(caption):
        writer.text((_MARGIN, _MARGIN + number * _LINE), line, fill=_WHITE, font=font)
    return image
