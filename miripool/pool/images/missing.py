"""Colours of what has no number: NaN is seen in a picture, and the picture names its colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NanColour", "nan_colour"]


class NanColour(NamedTuple):
    """A colour.

    Attributes
    ----------
    name : str
        For people.
    code : str
        As ``#rrggbb``.
    """

    name: str
    code: str


_COLOURS: Final = (
    NanColour("teal", "#2a9d9a"),
    NanColour("grey", "#9a9a9a"),
    NanColour("green", "#2ca02c"),
    NanColour("magenta", "#d030c0"),
    NanColour("yellow", "#f0e442"),
)
"""The first is the page's for grey, magma and inferno, the second its for viridis."""
_APART: Final = 80
"""Distance from all colours of a map, of 255 for red, green and blue each: 44 is hard to see, 93 easy."""


def nan_colour(*maps: str) -> NanColour:
    """Give a colour that NaN has in all colour maps of a picture.

    Parameters
    ----------
    *maps : str
        As matplotlib knows them.

    Returns
    -------
    NanColour
        The first that differs clearly from all colours of the maps; if none does, the one that is farthest from them.
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_rgb

    shades = np.concatenate([colormaps[name](np.linspace(0, 1, 256))[:, :3] for name in maps])
    distances = [_distance(np.array(to_rgb(colour.code)), shades) for colour in _COLOURS]
    far = [colour for colour, distance in zip(_COLOURS, distances, strict=True) if distance >= _APART]
    return far[0] if far else _COLOURS[int(np.argmax(distances))]


def _distance(colour: NDArray[np.float64], shades: NDArray[np.float64]) -> float:
    return 255 * float(np.sqrt(((shades - colour) ** 2).sum(1)).min())
