"""Functions of a predicate that are about the sky: what ``covers(…)`` and the like stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput, QueryError
from ..sky.circle import Circle
from ..sky.polygon import SkyPolygon
from ..sky.position import SkyPosition, read_position
from .grammar import Place
from .tree import Covers, Literal, Node, Overlaps, Separation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..sky.circle import Shape
    from .grammar import Grammar
    from .places import Arguments

__all__ = ["MOST_CORNERS", "SKY_FUNCTIONS", "apply_sky", "covering"]

SKY_FUNCTIONS = ("covers", "overlaps", "separation", "circle", "polygon")
"""Functions that a predicate may call."""
MOST_CORNERS = 100
"""Of a polygon in a predicate: each is compared with every footprint that is near."""
_FORMS = {
    "covers": "covers(ra, dec) or covers('10h00m28s +02d12m21s')",
    "separation": "separation(ra, dec) < 2",
    "overlaps": "overlaps(circle(ra, dec, radius)) or overlaps(polygon(ra1, dec1, ra2, dec2, ra3, dec3))",
    "circle": "circle(ra, dec, radius), in degrees",
    "polygon": "polygon(ra1, dec1, ra2, dec2, ra3, dec3, …), in degrees",
}


@dataclass(frozen=True, slots=True)
class ShapePlace(Place):
    """A part of the sky, which is no value."""

    shape: Shape

    @property
    def complaint(self) -> str:
        """Say where it can stand."""
        return f"this is a part of the sky, not a value; write {_FORMS['overlaps']}"


def covering(position: Any) -> Covers:
    """Give the condition that a footprint has a position.

    Parameters
    ----------
    position : str or SkyCoord
        As for `miripool.sky.position.read_position`.

    Returns
    -------
    Covers
        Darks don't count.

    Raises
    ------
    InvalidInput
        If there is no such position.
    """
    return Covers(read_position(position))


def apply_sky(words: Grammar, name: str, arguments: Arguments) -> Node | Place:
    """Tell what ``name(arguments)`` is.

    Parameters
    ----------
    words : Grammar
        Where the arguments were read, for the columns of errors.
    name : str
        One of `SKY_FUNCTIONS`.
    arguments : Arguments
        What is given to it.

    Returns
    -------
    Node or Place
        A condition, a value, or a part of the sky.

    Raises
    ------
    QueryError
        If there is no such position or part of the sky.
    """
    if arguments.darks is not None and name in ("circle", "polygon"):
        raise QueryError(f"write {_FORMS[name]}")
    darks = bool(arguments.darks)
    if name == "overlaps":
        if len(arguments.values) != 1 or not isinstance(arguments.values[0], ShapePlace):
            raise QueryError(f"write {_FORMS[name]}")
        return Overlaps(arguments.values[0].shape, darks)
    reader = _Reader(words, name, arguments)
    if name == "circle":
        return ShapePlace(reader.circle())
    if name == "polygon":
        return ShapePlace(reader.polygon())
    position = reader.position(reader.values)
    return Covers(position, darks) if name == "covers" else Separation(position, darks)


class _Reader:
    """Reads positions out of arguments; an error points at the argument that it is about."""

    def __init__(self, words: Grammar, name: str, arguments: Arguments) -> None:
        self._words = words
        self._name = name
        self._columns: Sequence[int] = arguments.columns
        self.values: list[Any] = []
        for value, column in zip(arguments.values, self._columns, strict=True):
            if not isinstance(value, Literal) or isinstance(value.value, bool):
                words.fail(f"a position is given by constants; write {_FORMS[name]}", column)
            self.values.append(value.value)

    def position(self, given: Sequence[Any], first: int = 0) -> SkyPosition:
        """Read one position, given by the arguments from a number on."""
        if len(given) not in (1, 2) or (len(given) == 1 and not isinstance(given[0], str)):
            raise QueryError(f"write {_FORMS[self._name]}")
        try:
            return read_position(*given)
        except InvalidInput as error:
            about = first + (len(given) == 2 and str(error).startswith("Dec"))
            self._words.fail(str(error), self._columns[about])

    def circle(self) -> Circle:
        """Read a position and a radius."""
        if len(self.values) not in (2, 3):
            raise QueryError(f"write {_FORMS['circle']}")
        middle = self.position(self.values[:-1])
        try:
            return Circle(middle, self.values[-1])
        except InvalidInput as error:
            self._words.fail(str(error), self._columns[-1])

    def polygon(self) -> SkyPolygon:
        """Read corners: numbers or texts in pairs, or one text for each."""
        single = bool(self.values) and all(
            isinstance(v, str) and len(v.replace(",", " ").split()) > 1 for v in self.values
        )
        step = 1 if single else 2
        if not self.values or len(self.values) % step or len(self.values) > MOST_CORNERS * step:
            raise QueryError(f"write {_FORMS['polygon']}, with 3 to {MOST_CORNERS} corners")
        corners = [self.position(self.values[i : i + step], i) for i in range(0, len(self.values), step)]
        try:
            return SkyPolygon(corners)
        except InvalidInput as error:
            raise QueryError(str(error)) from None
