"""Conditions on one product, given by an expression for its serial: scalar subqueries, never joins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    DateTime,
    Double,
    Integer,
    Text,
    and_,
    cast,
    collate,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
    type_coerce,
)

from ..errors import QueryError
from ..query.tree import (
    And,
    Covers,
    Field,
    HasDataset,
    HasKey,
    HasTag,
    IsNull,
    Keyword,
    Literal,
    Node,
    Not,
    Or,
    Overlaps,
    Separation,
    Statistic,
    walk,
)
from ..query.values import as_time
from .predicates import Columns, condition, is_never
from .schema import TYPED_KEYWORDS, dataset, keyword, product, tag
from .skyconditions import row_condition, separation_of

if TYPE_CHECKING:
    from sqlalchemy import FromClause

__all__ = ["RowConditions", "is_of_product", "sources", "statistic_columns", "typed_condition"]

_TYPED = {key: column for column, key in TYPED_KEYWORDS.items()}
_NUMBERS = frozenset({"ngroups", "nints"})


def sources(node: Node) -> list[Node]:
    """List what a leaf looks at, each row of a table once.

    Parameters
    ----------
    node : Node
        A leaf, or `Not` of one.

    Returns
    -------
    list of Node
        A `Keyword` for a row of `keyword`, a `Statistic` named ``row`` for one of `dataset`, fields, tags and
        separations.
    """
    found: dict[Node, None] = {}
    for below in walk(node):
        if isinstance(below, (Keyword, HasKey)):
            found[Keyword(below.hdu, below.key)] = None
        elif isinstance(below, Statistic):
            found[Statistic(below.dataset, "row")] = None
        elif isinstance(below, (Field, HasTag, HasDataset, Separation)):
            found[below] = None
    return list(found)


def is_of_product(node: Node) -> bool:
    """Tell whether a condition needs the row of `product`.

    Parameters
    ----------
    node : Node
        In normal form.

    Returns
    -------
    bool
        True for fields.
    """
    return any(isinstance(below, Field) for below in walk(node))


def typed_condition(node: Node) -> ColumnElement[bool] | None:
    """Give a condition on a bare keyword that `product` repeats in a column of its own.

    Parameters
    ----------
    node : Node
        A leaf, or `Not` of one.

    Returns
    -------
    ColumnElement or None
        None where that column's type is not all that matters.
    """
    used = sources(node)
    leaf = node.part if isinstance(node, Not) else node
    if len(used) != 1 or not isinstance(used[0], Keyword) or isinstance(leaf, (IsNull, HasKey, And, Or)):
        return None
    if used[0].hdu is not None or used[0].key not in _TYPED:
        return None
    if any(isinstance(b, Literal) and isinstance(b.value, str) and as_time(b.value) for b in walk(node)):
        return None
    column = product.c[_TYPED[used[0].key]]
    if column.name in _NUMBERS:
        own, elsewhere = Columns(number=column), Columns(text=keyword.c.text, flag=keyword.c.flag)
    else:
        own, elsewhere = Columns(text=column), Columns(number=keyword.c.number, flag=keyword.c.flag)
    return condition(node, lambda _: own) if is_never(condition(node, lambda _: elsewhere)) else None


def statistic_columns(d: FromClause, node: Node) -> Columns:
    """Give what a row of `dataset` says.

    Parameters
    ----------
    d : FromClause
        The table, or an alias of it.
    node : Statistic
        What is asked for.

    Returns
    -------
    Columns
        Number, or text for the unit.
    """
    if not isinstance(node, Statistic):
        raise TypeError
    if node.which == "unit":
        return Columns(text=collate(d.c.unit, "C"))
    if node.which == "ndim":
        return Columns(number=cast(func.cardinality(d.c.shape), Double))
    if node.which == "shape":
        axis = node.axis or 0
        place = literal(axis + 1) if axis >= 0 else func.cardinality(d.c.shape) + literal(axis + 1)
        return Columns(number=cast(d.c.shape[place], Double))
    return Columns(number=cast(d.c[node.which], Double))


class RowConditions:
    """Writes conditions on one product.

    Parameters
    ----------
    serial : ColumnElement
        Its serial.
    outer : FromClause
        Where that column comes from.
    pool : str or None
        Name of the pool, for conditions on URNs.
    """

    def __init__(self, serial: ColumnElement[Any], outer: FromClause, pool: str | None) -> None:
        self._serial = serial
        self._outer = outer
        self._pool = pool

    def write(self, node: Node) -> ColumnElement[bool]:
        """Write a condition.

        Parameters
        ----------
        node : Node
            In normal form; with fields only where `outer` is `product`.

        Returns
        -------
        ColumnElement
            True, false or NULL.
        """
        if isinstance(node, And):
            return and_(true(), *map(self.write, node.parts))
        if isinstance(node, Or):
            return or_(false(), *map(self.write, node.parts))
        typed = typed_condition(node) if self._outer is product else None
        if typed is not None:
            return typed
        leaf = node.part if isinstance(node, Not) else node
        if isinstance(leaf, (Covers, Overlaps)):
            seen = _as_boolean(row_condition(leaf, self._serial, self._outer))
            return not_(seen) if isinstance(node, Not) else seen
        if isinstance(leaf, (HasKey, HasTag, HasDataset)):
            found = self._has(leaf)
            return found.is_(None) if isinstance(node, Not) else found.is_not(None)
        return self._write_leaf(node, leaf)

    def _has(self, node: HasKey | HasTag | HasDataset) -> ColumnElement[Any]:
        """Give 1, or NULL: an EXISTS would be turned into a join by an estimate."""
        if isinstance(node, HasKey):
            return self._keyword(Keyword(node.hdu, node.key), lambda _: literal(1))
        if isinstance(node, HasTag):
            t = tag.alias()
            chosen = select(literal(1)).where(t.c.serial == self._serial, t.c.label == node.label)
        else:
            t = dataset.alias()
            names = {node.name, node.name.upper()}
            chosen = select(literal(1)).where(t.c.serial == self._serial, t.c.name.in_(sorted(names)))
        return chosen.limit(1).correlate(self._outer).scalar_subquery()

    def _write_leaf(self, node: Node, leaf: Node) -> ColumnElement[bool]:
        used = sources(leaf)
        if len(used) != 1 or isinstance(used[0], (Field, Separation)):
            return condition(node, self._columns)
        (place,) = used
        if isinstance(place, Keyword):
            found = self._keyword(place, lambda k: condition(node, lambda _: _row_columns(k)))
        else:
            name = place.dataset if isinstance(place, Statistic) else None
            found = self._dataset(name, lambda d: condition(node, lambda s: statistic_columns(d, s)))
        return _as_boolean(func.coalesce(found, true())) if isinstance(node, IsNull) else _as_boolean(found)

    def _columns(self, node: Node) -> Columns:
        """Give a value's columns, each by a subquery of its own."""
        if isinstance(node, Field):
            return self._field(node.name)
        if isinstance(node, Keyword):
            return Columns(
                self._keyword(node, lambda k: k.c.number),
                self._keyword(node, lambda k: k.c.text),
                self._keyword(node, lambda k: k.c.flag),
                self._keyword(node, lambda k: k.c.time),
            )
        if isinstance(node, Separation):
            return Columns(number=separation_of(node, self._serial, self._outer))
        if not isinstance(node, Statistic):
            raise TypeError(f"{type(node).__name__} is not for the index")
        found = self._dataset(node.dataset, lambda d: statistic_columns(d, node)[node.which == "unit"])
        return Columns(text=collate(found, "C")) if node.which == "unit" else Columns(number=found)

    def _keyword(self, place: Keyword, give: Any) -> ColumnElement[Any]:
        k = keyword.alias()
        chosen = select(give(k)).where(k.c.serial == self._serial, k.c.key == place.key)
        if place.hdu is None:
            chosen = chosen.where(k.c.first)
        else:
            chosen = chosen.where(k.c.hdu_name == place.hdu).order_by(k.c.hdu, k.c.occurrence)
        return chosen.limit(1).correlate(self._outer).scalar_subquery()

    def _dataset(self, name: str | None, give: Any) -> ColumnElement[Any]:
        d = dataset.alias()
        chosen = select(give(d)).where(d.c.serial == self._serial)
        if name is None:
            chosen = chosen.order_by((d.c.name == "SCI").desc(), d.c.hdu)
        elif name == name.upper():
            chosen = chosen.where(d.c.name == name)
        else:
            chosen = chosen.where(d.c.name.in_([name, name.upper()])).order_by((d.c.name == name).desc(), d.c.hdu)
        return chosen.limit(1).correlate(self._outer).scalar_subquery()

    def _field(self, name: str) -> Columns:
        p = product.c
        if name == "urn":
            if self._pool is None:
                raise QueryError("a condition on URNs can be asked of a pool only")
            parts = [literal(f"urn:{self._pool}:", Text), p.kind, literal(":", Text), cast(p.serial, Text)]
            return Columns(text=collate(func.concat(*parts), "C"))
        if name == "head":
            return Columns(flag=p.head)
        if isinstance(p[name].type, Integer):
            return Columns(number=cast(p[name], Double))
        if isinstance(p[name].type, DateTime):
            return Columns(time=p[name], always_time=True)
        return Columns(text=collate(p[name], "C"))


def _as_boolean(found: ColumnElement[Any]) -> ColumnElement[bool]:
    """Tell SQLAlchemy, not the server, that a subquery is a condition."""
    return type_coerce(found, Boolean)


def _row_columns(k: FromClause) -> Columns:
    return Columns(k.c.number, k.c.text, k.c.flag, k.c.time)
