"""Styles of states and amplifiers in plots: colours, and markers, hatches and lines that differ without colour."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AMPLIFIER_STYLES", "STATE_STYLES", "Style"]


@dataclass(frozen=True, slots=True)
class Style:
    """How something is drawn, in the words of matplotlib.

    Attributes
    ----------
    colour, marker : str
        Of points and lines.
    line : str or tuple
        Style of lines.
    hatch : str
        Of areas.
    """

    colour: str
    marker: str
    line: Any
    hatch: str

    @property
    def has_face(self) -> bool:
        """Whether its marker has an area inside."""
        return self.marker not in "x+12"

    @property
    def edge(self) -> str:
        """Colour of the edge of its marker: black, unless the marker is nothing but an edge."""
        return "black" if self.has_face else self.colour


STATE_STYLES: Final[Mapping[str, Style]] = MappingProxyType(
    {
        "hot": Style("#a50f15", "^", "-", "///"),
        "warm": Style("#fdae6b", "v", "--", "\\\\\\"),
        "dead": Style("#000000", "x", ":", "xxx"),
        "low_qe": Style("#737373", "+", "-.", "+++"),
        "open": Style("#525252", "1", (0, (1, 1)), "ooo"),
        "noisy": Style("#e6b800", "*", (0, (5, 1, 1, 1)), "..."),
        "rc": Style("#8c6d31", "2", (0, (5, 1)), "OO"),
        "rts": Style("#08306b", "s", "-", "|||"),
        "unstable": Style("#6baed6", "D", "--", "---"),
        "step": Style("#54278f", "P", "-.", "xx"),
        "drift": Style("#74c476", "o", ":", "++"),
    }
)
"""By state."""

AMPLIFIER_STYLES: Final = (
    Style("#000000", "o", "-", ""),
    Style("#d95f02", "s", "--", ""),
    Style("#1f78b4", "^", "-.", ""),
    Style("#66c2a5", "D", ":", ""),
)
"""Of amplifiers 1 to 4."""
