"""Reading pixel rows: the sets of versions, one pixel through many sets, the pixels that satisfy a condition."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import func, select, text

from ...instruments.detector import Placement
from ...model.kinds import KINDS, PixelColumn, pixel_axes, pixel_columns
from ...query.pixelwhere import PixelTest
from ...query.tree import And, Node, Not, Or
from ..connection import quote
from ..schema import pixel_set, pixel_use
from ..selection import array_text, is_one_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from ..connection import Database

__all__ = ["Box", "SetRow", "count_pixels", "read_pixel", "read_pixels", "scan_pixels", "sets_of"]

_FEW_EXPOSURES = 50
"""Exposures that are named in a statement, so that the planner leaves out the partitions of all others.

A list of many takes longer to compare with each partition than the partitions that it leaves out.
"""
_CHUNK = 20_000


@dataclass(frozen=True, slots=True)
class SetRow:
    """The pixel rows of one version.

    Attributes
    ----------
    serial : int
        The version's.
    set_id, exp_id : int
        Where they are.
    placement : Placement
        What they cover.
    nints, ngroups : int or None
        Length of their axes.
    common : ndarray of int16, shape (nints, ngroups), or None
        Group DQ of pixels that have none of their own.
    kind, digest : str
        What they were made from.
    """

    serial: int
    set_id: int
    exp_id: int
    placement: Placement
    nints: int | None
    ngroups: int | None
    common: NDArray[np.int16] | None
    kind: str
    digest: str


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


def sets_of(database: Database, serials: Sequence[int]) -> list[SetRow]:
    """Find the pixel rows of versions.

    Parameters
    ----------
    database : Database
        The index.
    serials : sequence of int
        The versions.

    Returns
    -------
    list of SetRow
        In the order of the serials; versions without rows are left out.
    """
    s, u = pixel_set.c, pixel_use.c
    statement = (
        select(
            u.serial,
            s.set_id,
            s.exp_id,
            s.first_x,
            s.first_y,
            s.columns,
            s.rows,
            s.nints,
            s.ngroups,
            func.array_send(s.common_groupdq),
            s.kind,
            s.digest,
        )
        .join(pixel_set, s.set_id == u.set_id)
        .where(is_one_of(u.serial, serials))
    )
    with database.read() as connection:
        rows = {row[0]: row for row in connection.execute(statement)} if serials else {}
    return [
        SetRow(
            *row[:3],
            placement=Placement(*row[3:7]),
            nints=row[7],
            ngroups=row[8],
            common=None if row[9] is None else _array_of(row[9]),
            kind=row[10],
            digest=row[11],
        )
        for row in (rows[serial] for serial in serials if serial in rows)
    ]


def read_pixel(database: Database, kind: str, sets: Sequence[SetRow], pixel_id: int) -> dict[int, dict[str, Any]]:
    """Read one pixel's row in each of many sets.

    Parameters
    ----------
    database : Database
        The index.
    kind : str
        Of the sets.
    sets : sequence of SetRow
        Where to look.
    pixel_id : int
        The pixel.

    Returns
    -------
    dict
        For each set_id that has the pixel its columns: arrays of shape (nints, ngroups) or (nints,), or numbers;
        None for NULL.
    """
    if not sets:
        return {}
    exposures = {s.exp_id for s in sets}
    statement = (
        f"SELECT p.set_id, {_sent_all(kind)} FROM {KINDS[kind].pixel_table} p "
        "JOIN unnest(CAST(:sets AS integer[])) s ON s = p.set_id "
        "WHERE p.pixel_id = :pixel AND p.exp_id BETWEEN :first AND :last"
    )
    parameters: dict[str, Any] = {
        "sets": array_text(sorted({s.set_id for s in sets})),
        "pixel": pixel_id,
        "first": min(exposures),
        "last": max(exposures),
    }
    if len(exposures) <= _FEW_EXPOSURES:
        statement += " AND p.exp_id = ANY(CAST(:exposures AS integer[]))"
        parameters["exposures"] = array_text(sorted(exposures))
    with database.read() as connection:
        connection.exec_driver_sql(_path(database))
        found = connection.execute(text(statement), parameters).all()
    return {row[0]: _unpacked_all(kind, row[1:]) for row in found}


def read_pixels(database: Database, kind: str, chosen: SetRow, pixels: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Read the rows of some pixels in one set.

    Parameters
    ----------
    database : Database
        The index.
    kind : str
        Of the set.
    chosen : SetRow
        The set.
    pixels : sequence of int
        The pixels.

    Returns
    -------
    dict
        For each pixel_id that the set has its columns, as `read_pixel` gives them.
    """
    statement = (
        f"SELECT p.pixel_id, {_sent_all(kind)} FROM {KINDS[kind].pixel_table} p WHERE p.exp_id = {chosen.exp_id} "
        f"AND p.set_id = {chosen.set_id} AND p.pixel_id = ANY(CAST(:pixels AS integer[]))"
    )
    with database.read() as connection:
        connection.exec_driver_sql(_path(database))
        found = connection.execute(text(statement), {"pixels": array_text(sorted(set(pixels)))}).all()
    return {row[0]: _unpacked_all(kind, row[1:]) for row in found}


def count_rows(database: Database, sets: Mapping[int, tuple[str, int]]) -> dict[int, int]:
    """Count the rows of sets.

    Parameters
    ----------
    database : Database
        The index.
    sets : mapping of int to (str, int)
        Kind and exp_id by set_id.

    Returns
    -------
    dict of int to int
        Rows by set_id.
    """
    found = {}
    with database.read() as connection:
        connection.exec_driver_sql(_path(database))
        for set_id, (kind, exp_id) in sets.items():
            statement = f"SELECT count(*) FROM {KINDS[kind].pixel_table} WHERE exp_id = :exp AND set_id = :set"
            found[set_id] = connection.execute(text(statement), {"exp": exp_id, "set": set_id}).scalar_one()
    return found


def count_pixels(
    database: Database, kind: str, sets: Sequence[SetRow], condition: Node, box: Box | None = None
) -> dict[int, int]:
    """Count the pixels of each set that satisfy a condition.

    Parameters
    ----------
    database, kind, sets : object
        As for `read_pixel`.
    condition : Node
        From `miripool.query.pixelwhere.parse_pixels`.
    box : Box, optional
        Where to look.

    Returns
    -------
    dict
        For each set_id with at least one such pixel their number.
    """
    found: dict[int, int] = {}
    with database.read() as connection:
        connection.exec_driver_sql(_path(database))
        for chosen in {s.set_id: s for s in sets}.values():
            where, parameters = _where(kind, chosen, condition, box or Box())
            statement = f"SELECT count(*) FROM {KINDS[kind].pixel_table} p WHERE {where}"
            number = connection.execute(text(statement), parameters).scalar_one()
            if number:
                found[chosen.set_id] = number
    return found


def scan_pixels(
    database: Database, kind: str, chosen: SetRow, condition: Node, box: Box | None = None, limit: int | None = None
) -> Iterator[dict[str, Sequence[Any] | NDArray[Any]]]:
    """Give the pixels of one set that satisfy a condition, some thousands at a time.

    Parameters
    ----------
    database, kind : object
        As for `read_pixel`.
    chosen : SetRow
        The set.
    condition, box : object
        As for `count_pixels`.
    limit : int, optional
        At most so many.

    Yields
    ------
    dict
        pixel_id, x, y and the columns, in the order of pixel_id: a sequence of what `read_pixel` gives, or one array of
        all if none is NULL.
    """
    where, parameters = _where(kind, chosen, condition, box or Box())
    chosen_columns = f"p.pixel_id, p.x, p.y, {_sent_all(kind)}"
    statement = f"SELECT {chosen_columns} FROM {KINDS[kind].pixel_table} p WHERE {where} ORDER BY p.pixel_id"
    if limit is not None:
        statement += f" LIMIT {int(limit)}"
    with database.read() as connection:
        connection.exec_driver_sql(_path(database))
        rows = connection.execution_options(stream_results=True, max_row_buffer=_CHUNK).execute(
            text(statement), parameters
        )
        for part in rows.partitions(_CHUNK):
            pixel_ids, x, y, *values = zip(*part, strict=True)
            columns = zip(KINDS[kind].columns, values, strict=True)
            yield {"pixel_id": pixel_ids, "x": x, "y": y, **{c.name: _unpacked_together(c, v) for c, v in columns}}


def _path(database: Database) -> str:
    return f"SET LOCAL search_path TO {quote(database.schema)}".replace("%", "%%")


# Values travel as PostgreSQL's binary form of arrays: reading thousands of numbers as text would take most of the time.


def _sent_all(kind: str) -> str:
    columns = pixel_columns(kind).values()
    return ", ".join(f"array_send(p.{column.name})" if column.axes else f"p.{column.name}" for column in columns)


def _unpacked_all(kind: str, values: Sequence[Any]) -> dict[str, Any]:
    return {c.name: _unpacked(c, v) for c, v in zip(KINDS[kind].columns, values, strict=True)}


_ELEMENTS = {21: np.dtype(">i2"), 20: np.dtype(">i8"), 700: np.dtype(">f4")}


def _unpacked(column: PixelColumn, value: Any) -> Any:
    if value is None:
        return None
    if not column.axes:
        # A real comes as the shortest text that means it, which is another number in float64.
        return np.float32(value) if column.holds == "real" else value
    return _meant(column, _array_of(value))


def _unpacked_together(column: PixelColumn, values: Sequence[Any]) -> Sequence[Any] | NDArray[Any]:
    present = [value for value in values if value is not None]
    arrays = _arrays_of(present) if column.axes and present else None
    if arrays is None:
        return [_unpacked(column, value) for value in values]
    meant = _meant(column, arrays)
    if len(present) == len(values):
        return meant
    following = iter(meant)
    return [None if value is None else next(following) for value in values]


def _meant(column: PixelColumn, stored: NDArray[Any]) -> NDArray[Any]:
    return (stored.astype(np.int32) + 32768).astype(np.uint16) if column.holds == "dn" else stored


def _array_of(sent: Any) -> NDArray[Any]:
    content = bytes(sent)
    head, shape, element = _form_of(content)
    values = np.frombuffer(content, element, offset=head)["value"].reshape(shape)
    return values.astype(values.dtype.newbyteorder("="))


def _arrays_of(sent: Sequence[Any]) -> NDArray[Any] | None:
    """Unpack arrays together, which takes a tenth of the time; None if they are not all of one shape."""
    first = bytes(sent[0])
    head, shape, element = _form_of(first)
    record = np.dtype([("head", np.uint8, (head,)), ("elements", element, shape)])
    if any(len(one) != record.itemsize for one in sent):
        return None
    records = np.frombuffer(b"".join(sent), record)
    if not (records["head"] == records["head"][0]).all():
        return None
    values = records["elements"]["value"]
    return values.astype(values.dtype.newbyteorder("="))


def _form_of(content: bytes) -> tuple[int, tuple[int, ...], np.dtype[Any]]:
    """Give the length of the header, the shape and the type of an element."""
    ndim, _, oid = struct.unpack_from(">iii", content)
    shape = struct.unpack_from(">" + "ii" * ndim, content, 12)[::2]
    return 12 + 8 * ndim, shape, np.dtype([("size", ">i4"), ("value", _ELEMENTS[oid])])


# Conditions


def _where(kind: str, chosen: SetRow, condition: Node, box: Box) -> tuple[str, dict[str, Any]]:
    writer = _Writer(kind, chosen)
    # The set's numbers stand in the statement: the planner then looks at one partition.
    parts = [f"p.exp_id = {chosen.exp_id}", f"p.set_id = {chosen.set_id}"]
    for name, ends in (("x", box.x), ("y", box.y)):
        if ends is not None:
            parts.append(f"p.{name} BETWEEN {writer.bind(ends[0])} AND {writer.bind(ends[1])}")
    parts.append(writer.write(condition))
    return " AND ".join(parts), writer.parameters


class _Writer:
    """Writes a condition as SQL with bound values."""

    def __init__(self, kind: str, chosen: SetRow) -> None:
        self.axes = pixel_axes(kind)
        self.columns = pixel_columns(kind)
        self.common = chosen.common
        self.nints = chosen.nints
        self.parameters: dict[str, Any] = {}

    def bind(self, value: Any) -> str:
        name = f"v{len(self.parameters)}"
        self.parameters[name] = value
        return f":{name}"

    def holds(self, test: PixelTest, what: str) -> bool:
        """Tell whether a column holds ``dn``, ``flags`` or ``real``; those of the place hold none of them."""
        column = self.columns.get(test.column)
        return column is not None and column.holds == what

    def write(self, node: Node) -> str:
        if isinstance(node, And):
            return "(" + (" AND ".join(map(self.write, node.parts)) or "true") + ")"
        if isinstance(node, Or):
            return "(" + (" OR ".join(map(self.write, node.parts)) or "false") + ")"
        if isinstance(node, Not):
            return f"NOT {self.write(node.part)}"
        if isinstance(node, PixelTest):
            return f"coalesce({self.test(node)}, false)"
        raise TypeError(f"not a condition on pixels: {node!r}")

    def test(self, test: PixelTest) -> str:
        column = f"p.{test.column}"
        null = self.columns[test.column].null if test.column in self.columns else ""
        if null == "common" and self.common is not None:
            column = f"coalesce({column}, CAST({self.bind(_literal(self.common))} AS smallint[]))"
        axes = self.axes[test.column]
        if test.op == "null":
            return self.is_null(test, column, axes)
        if len(test.items) == axes and None not in test.items:
            subscript = "".join(f"[{i}]" for i in test.items)
            found = self.compare(test, f"({column}){subscript}" if axes else column)
        else:
            found = self.among(test, self.elements(test, column, axes))
        if null == "zeros" and self._is_inside(test):
            return f"CASE WHEN {column} IS NULL THEN {self.compare(test, '0')} ELSE {found} END"
        return found

    def _is_inside(self, test: PixelTest) -> bool:
        return not test.items or test.items[0] is None or test.items[0] <= (self.nints or 0)

    def elements(self, test: PixelTest, column: str, axes: int) -> str:
        if not test.items:
            return f"unnest({column})"
        items = (*test.items, *(None for _ in range(axes - len(test.items))))
        return f"unnest(({column}){''.join('[:]' if i is None else f'[{i}:{i}]' for i in items)})"

    def among(self, test: PixelTest, elements: str) -> str:
        condition = self.compare(test, "v")
        if not test.every:
            return f"EXISTS (SELECT FROM {elements} v WHERE {condition})"
        number = "v <> 'NaN'" if self.holds(test, "real") else "v IS NOT NULL"
        return (
            f"(EXISTS (SELECT FROM {elements} v WHERE {number}) "
            f"AND NOT EXISTS (SELECT FROM {elements} v WHERE {number} AND NOT ({condition})))"
        )

    def is_null(self, test: PixelTest, column: str, axes: int) -> str:
        nothing = "v IS NULL"
        if self.holds(test, "real"):
            nothing += " OR v = 'NaN'"
        elif self.holds(test, "flags"):
            nothing += " OR v = 0"
        if not axes:
            return f"({nothing.replace('v ', f'{column} ')})"
        if len(test.items) == axes and None not in test.items:
            element = f"({column}){''.join(f'[{i}]' for i in test.items)}"
            return f"({nothing.replace('v ', f'{element} ')})"
        return f"NOT EXISTS (SELECT FROM {self.elements(test, column, axes)} v WHERE NOT ({nothing}))"

    def compare(self, test: PixelTest, value: str) -> str:
        if test.op == "flag":
            return f"({value} & {self.bind(int(test.values[0]))}) <> 0"
        number = f"({value} + 32768)" if self.holds(test, "dn") else value
        real = self.holds(test, "real")
        wanted = [self.number(v, real=real) for v in test.values]
        if test.op == "in":
            found = f"{number} IN ({', '.join(wanted)})"
        elif test.op == "range":
            found = f"({number} {test.ends[0]} {wanted[0]} AND {number} {test.ends[1]} {wanted[1]})"
        else:
            found = f"{number} {_SQL.get(test.op, test.op)} {wanted[0]}"
        # To PostgreSQL NaN is greater than all numbers; here it satisfies nothing.
        return f"({found} AND {value} <> 'NaN')" if real else found

    def number(self, value: float, *, real: bool) -> str:
        if real or not isinstance(value, int):
            return f"CAST({self.bind(float(value))} AS double precision)"
        return f"CAST({self.bind(value)} AS bigint)"


_SQL = {"==": "=", "!=": "<>"}


def _literal(pattern: NDArray[np.int16]) -> str:
    return "{" + ",".join("{" + ",".join(map(str, row)) + "}" for row in pattern.tolist()) + "}"
