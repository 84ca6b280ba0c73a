"""What is asked of pixels: of which kind, of which versions, at which place."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidInput
from ..model.kinds import kind_class, pixel_kinds
from ..pool.find import find
from ..query.queries import Query

if TYPE_CHECKING:
    from ..model.product import Product
    from ..pool.core import Core

    Kind = type[Product] | str

__all__ = ["kind_with_pixels", "select_versions", "whole_number"]


def kind_with_pixels(kind: Kind) -> type[Product]:
    """Give the class of a kind that has pixel rows.

    Parameters
    ----------
    kind : class or str
        As the caller gave it.

    Returns
    -------
    type of Product
        The class.

    Raises
    ------
    InvalidInput
        If there is no such kind, or it has none.
    """
    cls = kind_class(kind) if isinstance(kind, str) else kind
    if cls.kind not in pixel_kinds():
        raise InvalidInput(f"a {cls.kind} has no pixel rows; only {', '.join(pixel_kinds())} have them")
    return cls


def select_versions(pool: Core, cls: type[Product], query: Any, tag: str | None, all_versions: bool) -> list[int]:
    """Find the versions whose pixels are asked for.

    Parameters
    ----------
    pool : Core
        The pool.
    cls : type of Product
        The kind.
    query, tag, all_versions : object
        As for `Pool.select`.

    Returns
    -------
    list of int
        Serials.
    """
    asked = query if not isinstance(query, str) else Query(cls, "p", query, functions={})
    refs = find(pool, asked, tag=tag, all_versions=all_versions or None)
    if not isinstance(query, str):
        refs = find(pool, Query(cls, functions={}), refs)
    return [serial for _, serial in refs.keys]


def whole_number(value: Any, what: str) -> int:
    """Give a coordinate as an int, NumPy's too.

    Parameters
    ----------
    value : object
        As the caller gave it.
    what : str
        Its name, for the message.

    Returns
    -------
    int
        The same number.

    Raises
    ------
    InvalidInput
        If it is no whole number.
    """
    try:
        if not isinstance(value, (bool, np.bool_)):
            return operator.index(value)
    except TypeError:
        pass
    raise InvalidInput(
        f"{what}={value!r} is not a whole number; give a column or row of the FULL array, counted from 1"
    )
