"""Conditions on pixels as SQL on the rows of a block, for one of its exposures at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...instruments.known import detector_named
from ...model.kinds import pixel_axes, pixel_columns
from ...query.pixelwhere import PixelTest
from ...query.tree import And, Node, Not, Or
from ..selection import array_text
from .blocks import pattern_of, value_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .sets import BlockPlace, SetRow

__all__ = ["Box", "Writer", "rectangle_of"]

_NAMED = 1 << 15
"""Pixels of a rectangle that are named one by one; of more, the rows between the first and the last are read."""


@dataclass(frozen=True, slots=True)
class Box:
    """A part of the detector, ends included; None: to the edge.

    Attributes
    ----------
    x, y : (int, int) or None
        First and last column, first and last row, in the FULL array.
    """

    x: tuple[int, int] | None = None
    y: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class _Values:
    """One column's values in one slot.

    Attributes
    ----------
    column : str
        An array, or a number, in SQL.
    axes : int
        Of the array; 0 for a number.
    before : str
        How many integrations of the array stand before the slot's, in SQL.
    length : int
        Number of the slot's.
    whole : bool
        Whether the array holds no other slot's.
    null : str
        NULL of the elements' type.
    """

    column: str
    axes: int
    before: str = "0"
    length: int = 0
    whole: bool = False
    null: str = "NULL"

    def element(self, items: tuple[int | None, ...]) -> str:
        """Write one element; NULL where there is none."""
        if not self.axes:
            return self.column
        integration, *groups = items
        if integration is None or integration > self.length:  # what follows is another exposure's
            return self.null
        return f"({self.column})[{self.before} + {integration}]{''.join(f'[{group}]' for group in groups)}"

    def absent(self) -> str:
        """Write that there are none."""
        if self.whole or not self.axes:
            return f"{self.column} IS NULL"
        return f"({self.column} IS NULL OR {self.before} IS NULL)"

    def part(self, items: tuple[int | None, ...]) -> str:
        """Write an array of some elements, or of all."""
        integration, *groups = list(items) + [None] * (self.axes - len(items))
        if self.whole and integration is None and groups == [None] * len(groups):
            return self.column  # a slice would be a copy
        if integration is None:
            ends = f"[{self.before} + 1:{self.before} + {self.length}]"
        elif integration > self.length:
            ends = "[1:0]"
        else:
            ends = f"[{self.before} + {integration}:{self.before} + {integration}]"
        return f"({self.column}){ends}{''.join('[:]' if g is None else f'[{g}:{g}]' for g in groups)}"


class Writer:
    """Writes conditions on the rows ``p`` of a block table, with bound values.

    Parameters
    ----------
    kind : str
        Of the block.

    Attributes
    ----------
    parameters : dict
        The values by name, of all conditions that it wrote.
    """

    def __init__(self, kind: str) -> None:
        self.parameters: dict[str, Any] = {}
        self._axes = pixel_axes(kind)
        self._columns = pixel_columns(kind)

    def pixels(self, chosen: SetRow, condition: Node, box: Box) -> str:
        """Write which pixels a condition and a box can be true of, so that an index chooses the rows.

        Parameters
        ----------
        chosen : SetRow
            A set of the block; its others have the same place.
        condition : Node
            From `miripool.query.pixelwhere.parse_pixels`; it must be asked for as well.
        box : Box
            Where to look.

        Returns
        -------
        str
            SQL.
        """
        rectangle = rectangle_of(chosen, condition, box)
        if rectangle is None:
            return "false"
        (left, right), (bottom, top) = rectangle
        place = chosen.placement
        whole_rows = right - left + 1 == place.columns
        if whole_rows and top - bottom + 1 == place.rows:
            return "true"
        across = detector_named(chosen.detector).columns
        first, last = (bottom - 1) * across + left, (top - 1) * across + right
        if not whole_rows and (right - left + 1) * (top - bottom + 1) <= _NAMED:
            ids = [(y - 1) * across + x for y in range(bottom, top + 1) for x in range(left, right + 1)]
            return f"p.pixel_id = ANY(CAST({self._bind(array_text(ids))} AS integer[]))"
        rows = f"p.pixel_id BETWEEN {self._bind(first)} AND {self._bind(last)}"
        if whole_rows:
            return rows
        return f"{rows} AND {_column_of(across)} BETWEEN {self._bind(left)} AND {self._bind(right)}"

    def condition(self, chosen: SetRow, place: BlockPlace, condition: Node) -> str:
        """Write a condition on the pixels of one set.

        Parameters
        ----------
        chosen : SetRow
            The set.
        place : BlockPlace
            Where it is in the block.
        condition : Node
            From `miripool.query.pixelwhere.parse_pixels`.

        Returns
        -------
        str
            SQL; never NULL.
        """
        if isinstance(condition, (And, Or)):
            word, nothing = (" AND ", "true") if isinstance(condition, And) else (" OR ", "false")
            return "(" + (word.join(self.condition(chosen, place, part) for part in condition.parts) or nothing) + ")"
        if isinstance(condition, Not):
            return f"NOT {self.condition(chosen, place, condition.part)}"
        if isinstance(condition, PixelTest):
            return f"coalesce({self._test(chosen, place, condition)}, false)"
        raise TypeError(f"not a condition on pixels: {condition!r}")

    def _bind(self, value: Any) -> str:
        name = f"v{len(self.parameters)}"
        self.parameters[name] = value
        return f":{name}"

    def _values(self, chosen: SetRow, place: BlockPlace, name: str) -> _Values:
        column = self._columns.get(name)
        if column is None:
            across = detector_named(chosen.detector).columns
            known = {"x": _column_of(across), "y": f"((p.pixel_id - 1) / {across} + 1)", "pixel_id": "p.pixel_id"}
            return _Values(known[name], 0)
        nints, slot, alone = chosen.nints or 0, str(place.slot), place.is_whole_block
        if not column.axes:
            return _Values(value_of(column, row="p", slot=slot, nints=str(nints)), 0)
        before = str((place.slot - 1) * nints)
        if column.holds == "flags":  # the only slot of a block has the first pattern, if any
            before = "0" if alone else f"({pattern_of(column, row='p', slot=slot)} - 1) * {nints}"
        return _Values(f"p.{name}", column.axes, before, nints, alone, f"CAST(NULL AS {_TYPES[column.code]})")

    def _default(self, chosen: SetRow, test: PixelTest) -> _Values | None:
        """Write what NULL in a column of flags stands for; None for other columns."""
        column = self._columns.get(test.column)
        if column is not None and column.null == "common" and chosen.common is not None:
            pattern = f"CAST({self._bind(_literal(chosen.common))} AS smallint[])"
            return _Values(pattern, column.axes, length=chosen.nints or 0, whole=True, null="CAST(NULL AS smallint)")
        inside = not test.items or test.items[0] is None or test.items[0] <= (chosen.nints or 0)
        return _Values("0", 0) if column is not None and column.null == "zeros" and inside else None

    def _holds(self, test: PixelTest, what: str) -> bool:
        """Tell whether a column holds ``dn``, ``flags`` or ``real``; those of the place hold none of them."""
        column = self._columns.get(test.column)
        return column is not None and column.holds == what

    def _test(self, chosen: SetRow, place: BlockPlace, test: PixelTest) -> str:
        values, default = self._values(chosen, place, test.column), self._default(chosen, test)
        if default is None:
            return self._holds_for(test, values)
        # The server tests the default once, not for each pixel.
        found, usual = self._holds_for(test, values), self._holds_for(test, default)
        return f"CASE WHEN {values.absent()} THEN {usual} ELSE {found} END"

    def _holds_for(self, test: PixelTest, values: _Values) -> str:
        """Write a test of some values."""
        is_one = not values.axes or (len(test.items) == values.axes and None not in test.items)
        if test.op == "null":
            return self._is_null(test, values, is_one)
        return self._compare(test, values.element(test.items)) if is_one else self._among(test, values)

    def _among(self, test: PixelTest, values: _Values) -> str:
        """Write a test of some elements.

        PostgreSQL compares an array with a number in a third of the time that it takes to look at elements as rows.
        """
        condition, part = self._compare(test, "v"), values.part(test.items)
        real = self._holds(test, "real")
        whole = self._whole(test)
        if not test.every:
            found = f"EXISTS (SELECT FROM unnest({part}) v WHERE {condition})"
            if whole is None:
                return found
            # Arrays with NaN, which is greater than all numbers, are looked at again.
            again = f" AND (NOT (CAST('NaN' AS real) = ANY ({part})) OR {found})" if real and test.op[0] == ">" else ""
            return f"({whole} {_TURNED[test.op]} ANY ({part}){again})"
        number = "v <> 'NaN'" if real else "v IS NOT NULL"
        others = f"EXISTS (SELECT FROM unnest({part}) v WHERE {number} AND NOT ({condition}))"
        if whole is not None and test.op in _OPPOSITE:
            others = f"{whole} {_OPPOSITE[test.op]} ANY ({part})"
        some = (
            f"CAST('NaN' AS real) > ANY ({part})" if real else f"EXISTS (SELECT FROM unnest({part}) v WHERE {number})"
        )
        return f"({some} AND NOT ({others}))"

    def _whole(self, test: PixelTest) -> str | None:
        """Write what an array is compared with; None for tests that need a look at each element."""
        real = self._holds(test, "real")
        if test.op not in _TURNED or not (real or isinstance(test.values[0], int)):
            return None
        return self._number(test.values[0] - (32768 if self._holds(test, "dn") else 0), real=real)

    def _is_null(self, test: PixelTest, values: _Values, is_one: bool) -> str:
        given = values.element(test.items) if is_one else f"ANY ({values.part(test.items)})"
        if self._holds(test, "real"):
            some = f"CAST('NaN' AS real) > {given}"
        elif self._holds(test, "flags"):
            some = f"0 <> {given}"
        else:
            some = f"{given} IS NOT NULL" if is_one else f"cardinality({values.part(test.items)}) > 0"
        return f"NOT coalesce({some}, false)"

    def _compare(self, test: PixelTest, value: str) -> str:
        if test.op == "flag":
            return f"({value} & {self._bind(int(test.values[0]))}) <> 0"
        number = f"({value} + 32768)" if self._holds(test, "dn") else value
        real = self._holds(test, "real")
        wanted = [self._number(v, real=real) for v in test.values]
        # To PostgreSQL NaN is greater than all numbers; here it satisfies nothing.
        if test.op == "in":
            return f"{number} IN ({', '.join(wanted)})"
        if test.op == "range":
            return f"({number} {test.ends[0]} {wanted[0]} AND {number} {test.ends[1]} {wanted[1]})"
        if real and test.op in _TURNED and test.op[0] == ">":
            return f"-{value} {_TURNED[test.op]} -{wanted[0]}"  # -NaN is NaN: the value is fetched once
        found = f"{number} {_SQL.get(test.op, test.op)} {wanted[0]}"
        return f"({found} AND {value} <> 'NaN')" if real and test.op == "!=" else found

    def _number(self, value: float, *, real: bool) -> str:
        if real or not isinstance(value, int):
            return f"CAST({self._bind(float(value))} AS double precision)"
        return f"CAST({self._bind(value)} AS bigint)"


_SQL = {"==": "=", "!=": "<>"}
_TURNED = {"==": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
"""Comparisons with their sides changed."""
_OPPOSITE = {">": ">=", ">=": ">"}
"""Comparisons that hold for what others don't hold for, their sides changed; NaN satisfies none of these."""
_TYPES = {"i2": "smallint", "i4": "integer", "i8": "bigint", "f4": "real"}


def _column_of(across: int) -> str:
    return f"((p.pixel_id - 1) % {across} + 1)"


def _literal(pattern: NDArray[np.int16]) -> str:
    return "{" + ",".join("{" + ",".join(map(str, row)) + "}" for row in pattern.tolist()) + "}"


def rectangle_of(chosen: SetRow, condition: Node, box: Box) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Find the part of a set outside of which no pixel can satisfy a condition.

    Parameters
    ----------
    chosen : SetRow
        The set.
    condition : Node
        From `miripool.query.pixelwhere.parse_pixels`.
    box : Box
        Where to look.

    Returns
    -------
    ((int, int), (int, int)) or None
        First and last column, first and last row, in the FULL array; None where there is none.
    """
    place = chosen.placement
    ends = {"x": (place.x, place.x + place.columns - 1), "y": (place.y, place.y + place.rows - 1)}
    narrower = [("x", box.x), ("y", box.y)]
    parts = condition.parts if isinstance(condition, And) else (condition,)
    narrower += [(part.column, _between(part)) for part in parts if isinstance(part, PixelTest) and part.column in ends]
    for name, limits in narrower:
        if limits is not None:
            low, high = ends[name]
            ends[name] = max(low, limits[0]), min(high, limits[1])
    return None if any(low > high for low, high in ends.values()) else (ends["x"], ends["y"])


def _between(test: PixelTest) -> tuple[int, int] | None:
    """Give whole numbers outside of which a test of a coordinate is false; None where it says nothing of them."""
    low, high = -math.inf, math.inf
    if test.op in ("==", "in", "range"):
        low, high = min(test.values), max(test.values)
    elif test.op in (">", ">="):
        low = test.values[0]
    elif test.op in ("<", "<="):
        high = test.values[0]
    if not (math.isfinite(low) or math.isfinite(high)):
        return None
    return math.ceil(max(low, -_FAR)), math.floor(min(high, _FAR))


_FAR = 1 << 20
"""Beyond all detectors."""
