"""Flags of one pixel, as the exposures of its life have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import MiripoolError
from ..query.pixelwhere import FLAGS
from .strata import corner_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..model.product import Product
    from ..pool.core import Core
    from .courses import Course

__all__ = ["read_flags"]

_DATASETS: Final = ("DQ", "PIXELDQ", "GROUPDQ")


def read_flags(core: Core, courses: Sequence[Course], x: int, y: int) -> dict[str, int]:
    """Read the flags of a pixel in each exposure. One tile of each is read.

    Parameters
    ----------
    core : Core
        The pool.
    courses : sequence of Course
        The pixel's.
    x, y : int
        Column and row of the FULL array, from 1.

    Returns
    -------
    dict of str to int
        By URN: the flags that any integration, or any group, has. That a group is not used at all (DO_NOT_USE) does not
        count. Exposures without flags, and those that can't be read, are not in it.
    """
    found = {}
    for course in courses:
        for urn in course.urns:
            try:
                product = core.ref(urn).product
                row, column = corner_of(product.meta, course.stratum)
                place = row + y - course.stratum.y, column + x - course.stratum.x
                bits = _bits(product, place)
            except MiripoolError:
                continue
            if bits is not None:
                found[urn] = bits
    return found


def _bits(product: Product, place: tuple[int, int]) -> int | None:
    bits, known = 0, False
    for name in _DATASETS:
        if name not in product:
            continue
        key: Any = (..., *place)
        values = np.asarray(product[name][key]).ravel()
        if values.dtype.kind not in "ui":
            continue
        known = True
        some = int(np.bitwise_or.reduce(values.astype(np.uint32), initial=0))
        bits |= some & ~FLAGS["DO_NOT_USE"] if name == "GROUPDQ" else some
    return bits if known else None
