"""Pages of a table of products: the serials at a place of an order, and how many there are.

Sorting 1,000,000 rows takes a second of a core, and to pass over 500,000 rows half of one. So no page sorts them. The
first column of the order splits the table into parts: one for each value where there are few values, else the rows
that have a value and those that have none. How many rows a part has is counted once for each state of the index (see
`Answers`), so it is known in which parts a page lies; of each a short statement reads it, from the nearer end. Where
`product` has a partial index on the column and the serial (`0014_page.sql`), that statement is answered from it alone.

Under a predicate, up to `most` products that match are found and kept. If these are all, pages are sorted among them.
If there are more, the products at the beginning of the order are looked at one by one, and only if these do not
fill the page all that match are sorted.

Measured with 1,000,000 products of 30 keywords (`tests/benchmarks/test_page.py`), 925,584 of them heads, on two cores
that others used as well, PostgreSQL 18:

======================================================  =========================  ===================
question                                                first time after a change  again
======================================================  =========================  ===================
first page, newest first                                0.10 s                     2 ms
first page, by a column of few values                   0.25 s                     2 to 5 ms
page in the middle, by a column of few values           as the first page          2 to 210 ms
page in the middle, by name, created, start_time        0.15 to 0.27 s             the same
page in the middle, by bytes, obs_id                    0.06 to 0.07 s             the same
the same without their indexes                          0.32 to 0.70 s             the same
by a keyword, first page / page in the middle           0.01 s / 1.0 to 1.6 s      0.01 s / 0.7 to 0.9 s
predicate that 90,000 products satisfy, first page      0.2 to 0.5 s               0.04 to 0.08 s
======================================================  =========================  ===================

Columns of few values need no index: an index (column, serial) with the kind for each took 46 MB, and saved 0.05 to 0.2
s of a page in the middle. Those of `bytes` and `obs_id` take 38 and 62 MB, beside 7.5 GB of the other tables and
indexes. What they add to taking in 10,000 products, 3 to 5 s, was less than the noise (six rounds: 25.9 s without,
26.8 s with them). An index of all typed columns in the order of the serial (169 MB) was not used by the planner.

A page that is read while another process saves may repeat a row, or leave one out: its parts were counted before.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from sqlalchemy import Column, and_, exists, false, func, select, union_all

from ..query.tree import Keyword
from .compile import (
    FEW,
    column_of,
    compile_among,
    compile_where,
    count_candidates,
    order_columns,
    ordered,
)
from .engine import write_out
from .kept import Answers
from .keyword_indexes import LONG_TEXT
from .schema import keyword, product
from .selection import conditions, is_one_of
from .sets import keyword_order

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from sqlalchemy import ColumnElement, Select

    from ..query.places import Names
    from ..query.tree import Node
    from .catalog import Catalog
    from .rows import Position

__all__ = ["FEW_VALUES", "Order", "Sample", "Scope", "Table"]

FEW_VALUES = frozenset(
    {
        *("kind", "head", "version", "instrument", "detector", "subarray", "exp_type", "readpatt", "filter"),
        *("channel", "band", "ngroups", "nints", "cal_ver", "crds_ctx", "saved_by", "removed_by"),
    }
)
"""Columns whose values are counted one by one."""
_MOST_PARTS = 1_000
_CANDIDATES = 50_000
"""Products that one condition leaves and that are looked at one by one: with two other conditions 0.2 s."""
_BEGINNING = 20_000
"""Products at the beginning of an order that are looked at one by one: 0.1 s."""

_answers = Answers(512)
"""Of the whole process: a server has many readers of one pool."""

_T = TypeVar("_T")

Order: TypeAlias = "list[tuple[ColumnElement[Any], bool]]"


@dataclass(frozen=True, slots=True)
class Scope:
    """Which products of a pool are looked at.

    Attributes
    ----------
    predicate : Node or None
        In normal form; the index can answer it. None for all products.
    pool : str
        The pool's name, where the predicate asks for URNs.
    kinds : tuple of str
        Kinds to look at.
    all_versions : bool
        All living versions instead of heads.
    tag : str or None
        The living versions that this tag marks instead of heads.
    removed : bool
        The versions in the trash instead.
    beyond : Hashable
        What is asked besides and the index can't answer; None if nothing is. It tells kept answers apart.
    """

    predicate: Node | None
    pool: str
    kinds: tuple[str, ...]
    all_versions: bool = False
    tag: str | None = None
    removed: bool = False
    beyond: Hashable = None


class Sample(NamedTuple):
    """Products that match a predicate.

    Attributes
    ----------
    serials : array of int
        Some of them, or all.
    whole : bool
        Whether these are all.
    """

    serials: array[int]
    whole: bool


class _Part(NamedTuple):
    """Rows of a table that follow one another in its order."""

    where: ColumnElement[bool] | None
    size: int
    alike: bool
    """Whether all of them have the same value."""


class Table:
    """The products that are looked at, as the index has them at one position.

    Parameters
    ----------
    catalog : Catalog
        The index.
    scope : Scope
        Which products.
    position : Position
        Where the index stands: answers are kept by it.
    most : int
        Up to where to count what matches a predicate.
    """

    def __init__(self, catalog: Catalog, scope: Scope, position: Position, most: int) -> None:
        self.catalog = catalog
        self.scope = scope
        self.most = most
        self._state = (position.n, position.digest)
        self._position = position
        self._given: Sample | None = None

    def ask(self, statement: Select[Any]) -> list[tuple[Any, ...]]:
        """Ask a statement.

        Parameters
        ----------
        statement : sqlalchemy.Select
            On the tables of `miripool.index.schema`.

        Returns
        -------
        list of tuple
            The rows.
        """
        database = self.catalog.database
        return database.ask(*write_out(statement, database.dialect, database.schema))

    def keep(self, what: tuple[Any, ...], ask: Callable[[], _T], *, patience: float = 0.0) -> _T:
        """Give an answer about this table, asked once while the index stands where it does.

        Parameters
        ----------
        what : tuple
            The question.
        ask : callable
            Finds the answer.
        patience : float, keyword-only
            As for `Answers.get`.

        Returns
        -------
        object
            The answer.
        """
        return _answers.get((self.catalog.pool_id, self.scope, *what), self._state, ask, patience=patience)

    def everything(self) -> Table:
        """Give the table without the predicate.

        Returns
        -------
        Table
            At the same position.
        """
        scope = replace(self.scope, predicate=None, beyond=None)
        return Table(self.catalog, scope, self._position, self.most)

    def rows(self, where: ColumnElement[bool] | None = None) -> ColumnElement[bool]:
        """Give the condition on `product` that all rows of the table satisfy, without the predicate.

        Parameters
        ----------
        where : sqlalchemy.ColumnElement, optional
            A further condition.

        Returns
        -------
        sqlalchemy.ColumnElement
            The condition.
        """
        scope = self.scope
        return conditions(
            where=where,
            kinds=scope.kinds,
            all_versions=scope.all_versions,
            tag_label=scope.tag,
            removed=scope.removed,
        )

    def total(self) -> tuple[int, bool]:
        """Count the rows, under a predicate up to the limit.

        Returns
        -------
        int, bool
            The number, and whether it is exact.
        """
        if not self.is_sampled:
            return sum(part.size for part in self._parts(product.c.kind, down=False)), True
        sample = self.sample()
        return len(sample.serials), sample.whole

    @property
    def is_sampled(self) -> bool:
        """Whether there is a condition, so that `sample` gives the products that match."""
        return self.scope.predicate is not None or self._given is not None

    def sample(self) -> Sample:
        """Find products that match the predicate, up to the limit.

        Returns
        -------
        Sample
            They, or as many as the limit says.
        """
        if self._given is not None:
            return self._given
        predicate = self.scope.predicate
        if predicate is None:
            raise TypeError("a table without a predicate needs no sample")
        return self.keep(("sample", self.most), lambda: self._find_sample(predicate))

    def give_sample(self, serials: Sequence[int], *, whole: bool) -> None:
        """Say which products match what the index can't answer.

        Parameters
        ----------
        serials : sequence of int
            Some of them, or all.
        whole : bool, keyword-only
            Whether these are all.
        """
        self._given = Sample(array("q", serials[: self.most]), whole)

    def _find_sample(self, predicate: Node) -> Sample:
        counts = self._count_candidates(predicate, _CANDIDATES)
        pool = self.scope.pool
        if counts:
            driver = min(counts, key=counts.__getitem__)
            found = self._match(compile_among(predicate, pool=pool, driver=driver, most=_CANDIDATES))
            if counts[driver] < _CANDIDATES or len(found) > self.most:
                return self._sample(found)
        return self._sample(self._match(compile_where(predicate, pool=pool)))

    def _count_candidates(self, predicate: Node, most: int) -> dict[Node, int]:
        with self.catalog.database.immediately() as connection:
            return count_candidates(connection, predicate, most)

    def _match(self, where: ColumnElement[bool]) -> list[int]:
        statement = select(product.c.serial).where(self.rows(where)).limit(self.most + 1)
        return [serial for (serial,) in self.ask(statement)]

    def _sample(self, found: list[int]) -> Sample:
        return Sample(array("q", found[: self.most]), len(found) <= self.most)

    # Places in an order

    def serials(self, keys: Sequence[str], *, names: Names, limit: int | None, offset: int = 0) -> list[int]:
        """Give the serials at a place of an order.

        Parameters
        ----------
        keys : sequence of str
            Fields and keywords, as for `order_by`.
        names : Names, keyword-only
            Dictionary of keywords.
        limit : int or None, keyword-only
            How many; None for all that follow.
        offset : int, keyword-only
            How many to pass over.

        Returns
        -------
        list of int
            In that order; the serial decides between equals.
        """
        if limit == 0 or not self.scope.kinds:
            return []
        order = _to_the_serial(order_columns(keys, names=names))
        first = column_of(keys[0].removeprefix("-").strip(), names=names) if keys else None
        predicate = self.scope.predicate
        if predicate is None:
            if limit is None:
                return self._read(self.rows(), order, None, offset)
            if isinstance(first, Keyword):
                return self._by_keyword(self.rows(), first, order, limit, offset)
            return self._by_parts(order, limit, offset)
        sample = self.sample()
        if sample.whole:
            among = is_one_of(product.c.serial, sample.serials)
            return self._read(self.rows(among), order, limit, offset, len(sample.serials))
        if limit is not None and offset + limit <= _BEGINNING and isinstance(order[0][0], Column):
            among = product.c.serial == func.any(func.array(self.everything()._beginning(order).scalar_subquery()))
            one_by_one = and_(among, compile_among(predicate, pool=self.scope.pool))
            found = self._read(self.rows(one_by_one), order, limit, offset)
            if len(found) == limit:
                return found
        counts = self._count_candidates(predicate, FEW)
        where = self.rows(compile_where(predicate, pool=self.scope.pool, counts=counts))
        if isinstance(first, Keyword) and limit is not None:
            return self._by_keyword(where, first, order, limit, offset)
        return self._read(where, order, limit, offset)

    def _beginning(self, order: Order) -> Select[Any]:
        """Give the first products of an order."""
        column, down = order[0]
        selects: list[Any] = []
        left = _BEGINNING
        for part in self._parts(column, down=down) if isinstance(column, Column) else ():
            written = _written(order[1:] if part.alike else order, whole=not part.alike)
            first = select(product.c.serial).where(self.rows(part.where)).order_by(*written)
            selects.append(select(first.limit(left).subquery().c.serial))
            left -= part.size
            if left <= 0:
                break
        united = union_all(*selects or [select(product.c.serial).where(false())]).subquery()
        return select(united.c.serial)

    def _by_parts(self, order: Order, limit: int, offset: int) -> list[int]:
        column, down = order[0]
        if not isinstance(column, Column):
            raise TypeError(f"{column} is no column of product")
        found: list[int] = []
        for part in self._parts(column, down=down):
            if offset < part.size:
                left = order[1:] if part.alike else order
                here = min(limit - len(found), part.size - offset)
                found += self._read(self.rows(part.where), left, here, offset, part.size, whole=not part.alike)
                if len(found) >= limit:
                    break
            offset = max(offset - part.size, 0)
        return found

    def _parts(self, column: Column[Any], *, down: bool) -> list[_Part]:
        """Split the table by a column, in its order."""
        counted: list[tuple[Any, int]] | None = None
        if column.name in FEW_VALUES:
            counted = self.keep(("values", column.name), lambda: self._count_values(column))
        if counted is None:
            return self._split(column)
        known = [_Part(column == value, n, True) for value, n in counted if value is not None]
        missing = [_Part(column.is_(None), n, True) for value, n in counted if value is None]
        return [*(known[::-1] if down else known), *missing]

    def _count_values(self, column: Column[Any]) -> list[tuple[Any, int]] | None:
        statement = select(column, func.count()).where(self.rows()).group_by(column)
        found = self.ask(statement.order_by(column.asc()).limit(_MOST_PARTS + 1))
        return [(value, n) for value, n in found] if len(found) <= _MOST_PARTS else None

    def _split(self, column: Column[Any]) -> list[_Part]:
        total, _ = self.total()
        if not column.nullable:
            return [_Part(None, total, False)]
        counting = select(func.count()).where(self.rows(column.is_(None)))
        missing: int = self.keep(("missing", column.name), lambda: self.ask(counting)[0][0])
        return [_Part(column.is_not(None), total - missing, False), _Part(column.is_(None), missing, True)]

    def _read(
        self,
        where: ColumnElement[bool],
        order: Order,
        limit: int | None,
        offset: int,
        size: int | None = None,
        *,
        whole: bool = False,
    ) -> list[int]:
        """Read rows of `product` in an order; `whole` says that all have a value in its first column."""

        def write(backwards: bool) -> list[ColumnElement[Any]]:
            return _written(order, backwards=backwards, whole=whole)

        return self._slice(select(product.c.serial).where(where), write, limit, offset, size)

    def _slice(
        self,
        rows: Select[Any],
        write: Callable[[bool], Sequence[ColumnElement[Any]]],
        limit: int | None,
        offset: int,
        size: int | None,
    ) -> list[int]:
        """Read from the nearer end of `size` rows, if their number is known; `write` gives the order."""
        backwards = False
        if size is not None and limit is not None:
            limit = min(limit, size - offset)
            if limit <= 0:
                return []
            if offset > size // 2:
                backwards, offset = True, size - offset - limit
        statement = rows.order_by(*write(backwards)).limit(limit).offset(offset or None)
        found = [serial for (serial,) in self.ask(statement)]
        return found[::-1] if backwards else found

    def _by_keyword(
        self, where: ColumnElement[bool], place: Keyword, order: Order, limit: int, offset: int
    ) -> list[int]:
        """Read in the order of a keyword: from its index where all its values have one type."""
        types = self.keep(("types", place), lambda: self._types(place))
        found = keyword_order(types)
        if found is None:
            return self._read(where, order, limit, offset)
        k, there, columns = found
        (_, down), rest = order[0], order[2:]  # `order` has a number and a text for a keyword
        has_value = and_(k.c.key == place.key, k.c.first, there)
        valued = select(product.c.serial).join(k, k.c.serial == product.c.serial).where(has_value, where)
        size: int | None = None
        if offset:
            counting = select(func.count()).select_from(valued.subquery())
            size = self.keep(("valued", place), lambda: self.ask(counting)[0][0])

        def write(backwards: bool) -> list[ColumnElement[Any]]:
            by_value = [ordered(c, down=down, backwards=backwards, whole=True) for c in columns]
            return [*by_value, *_written(rest, backwards=backwards)]

        serials = self._slice(valued, write, limit, offset, size)
        if len(serials) == limit:
            return serials
        none = ~exists(select(k.c.serial).where(has_value, k.c.serial == product.c.serial).correlate(product))
        offset = 0 if size is None else max(offset - size, 0)
        return serials + self._read(and_(where, none), rest, limit - len(serials), offset)

    def _types(self, place: Keyword) -> frozenset[str]:
        """Tell what types the values of a bare keyword have; long texts are a type of their own, in no index."""
        if place.hdu is not None:
            return frozenset()
        types = self.catalog.keyword_types(place.key, again=True)
        k = keyword.c
        long = select(k.serial).where(k.key == place.key, k.first, func.octet_length(k.text) > LONG_TEXT)
        return types | {"long"} if "text" in types and self.ask(long.limit(1)) else types


def _to_the_serial(order: Order) -> Order:
    """Leave out what comes after the serial: no two products have the same."""
    serial = next((i for i, (column, _) in enumerate(order) if column is product.c.serial), None)
    return [*order, (product.c.serial, False)] if serial is None else order[: serial + 1]


def _written(order: Order, *, backwards: bool = False, whole: bool = False) -> list[ColumnElement[Any]]:
    """Write an order; `whole` says that all rows have a value in its first column."""
    return [
        ordered(column, down=down, backwards=backwards, whole=whole and i == 0)
        for i, (column, down) in enumerate(order)
    ]
