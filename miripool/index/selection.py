"""Statements that read the catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ARRAY, BigInteger, Select, String, Text, and_, bindparam, cast, func, literal, select

from .rows import array_text
from .schema import product, tag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Column, ColumnElement, TableValuedAlias

__all__ = ["GIVEN_SERIALS", "array_text", "as_table", "conditions", "is_one_of", "products"]

GIVEN_SERIALS = cast(bindparam("serials", type_=String), ARRAY(BigInteger))
"""Serials in statements that are kept, for `array_text`: as one value, as in `is_one_of`."""

_LABELS = func.array(
    select(tag.c.label)
    .where(tag.c.serial == product.c.serial, product.c.removed.is_(None))
    .order_by(tag.c.label)
    .correlate(product)
    .scalar_subquery()
).label("tags")


def products() -> Select[Any]:
    """Give the statement of all product rows with their tags, to be narrowed.

    Returns
    -------
    sqlalchemy.Select
        Columns in the order of `miripool.index.rows.ProductRow`.
    """
    return select(*product.c, _LABELS)


def is_one_of(column: ColumnElement[int], serials: Sequence[int]) -> ColumnElement[bool]:
    """Compare with many serials, as one value: thousands of parameters would each have to be planned.

    Parameters
    ----------
    column : sqlalchemy.ColumnElement
        A bigint.
    serials : sequence of int
        Up to some 100,000.

    Returns
    -------
    sqlalchemy.ColumnElement
        The condition.
    """
    return column == func.any(cast(literal(array_text(serials), String), ARRAY(BigInteger)))


def as_table(columns: Sequence[Column[Any]], rows: Sequence[Sequence[Any]]) -> TableValuedAlias:
    """Give rows of values as something to select from: one statement for one row and for thousands.

    Parameters
    ----------
    columns : sequence of sqlalchemy.Column
        Whose names and types the values have.
    rows : sequence of sequences
        The values, in the columns' order.

    Returns
    -------
    sqlalchemy.TableValuedAlias
        ``unnest`` of one array for each column; rows keep their order.
    """
    arrays = []
    for i, column in enumerate(columns):
        # A collation can't stand within an array's type.
        kind = Text() if isinstance(column.type, Text) else column.type
        arrays.append(cast([row[i] for row in rows], ARRAY(kind)))
    return func.unnest(*arrays).table_valued(*(c.name for c in columns), name="given").render_derived()


def conditions(
    *,
    where: ColumnElement[bool] | None = None,
    kinds: Sequence[str] | None = None,
    all_versions: bool = False,
    tag_label: str | None = None,
    among: Sequence[int] | None = None,
    removed: bool = False,
) -> ColumnElement[bool]:
    """Join the conditions of a select.

    Parameters
    ----------
    where : sqlalchemy.ColumnElement, keyword-only, optional
        On `product`, with sub-selects on the other tables.
    kinds : sequence of str, keyword-only, optional
        Kinds to look at; all if left out.
    all_versions : bool, keyword-only
        Not only heads.
    tag_label : str, keyword-only, optional
        The versions that this tag marks, heads or not.
    among : sequence of int, keyword-only, optional
        Serials to look at, heads or not where `all_versions` says so.
    removed : bool, keyword-only
        The versions in the trash instead of the living.

    Returns
    -------
    sqlalchemy.ColumnElement
        All of them.
    """
    p = product.c
    found: list[ColumnElement[bool]] = []
    if removed:
        found += [p.removed.is_not(None), p.purged.is_(None)]
    elif all_versions or tag_label is not None:
        found.append(p.removed.is_(None))
    else:
        found.append(p.head)
    if tag_label is not None:
        found.append(p.serial.in_(select(tag.c.serial).where(tag.c.label == tag_label)))
    if kinds is not None:
        found.append(p.kind == func.any(cast(list(kinds), ARRAY(Text))))
    if among is not None:
        found.append(is_one_of(p.serial, among))
    if where is not None:
        found.append(where)
    return and_(*found)
