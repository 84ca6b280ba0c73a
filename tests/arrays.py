"""Hypothesis strategies for arrays as products have them."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

PLAIN = st.sampled_from(
    [
        np.dtype(t)
        for t in ("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "S1", "S7", "V3")
    ]
)
"""Element types that a FITS file or a product in memory can bring, native byte order."""

_FIELD_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=6)


def _fields(inner: st.SearchStrategy[np.dtype[Any]]) -> st.SearchStrategy[np.dtype[Any]]:
    cell = st.tuples(inner, st.just(()) | hnp.array_shapes(max_dims=2, max_side=3)).map(
        lambda pair: np.dtype(pair) if pair[1] else pair[0]
    )
    return st.lists(st.tuples(_FIELD_NAMES, cell), min_size=1, max_size=4, unique_by=lambda field: field[0]).map(
        np.dtype
    )


TABLES = st.recursive(_fields(PLAIN), _fields, max_leaves=3)
"""Types of table rows: fields in fields, cells that are arrays."""

DTYPES = PLAIN | TABLES

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6)


@st.composite
def any_array(draw: st.DrawFn, dtypes: st.SearchStrategy[np.dtype[Any]] = DTYPES) -> Any:
    """Arrays of arbitrary bytes (so that there are NaN of all kinds), any type and shape."""
    dtype, shape = draw(dtypes), draw(SHAPES)
    count = int(np.prod(shape)) * dtype.itemsize
    seed = draw(st.integers(0, 2**32 - 1))
    data = np.random.default_rng(seed).integers(0, 256, count, np.uint8)
    if "|b1" in str(dtype.descr):  # other truth values do not exist
        data &= 1
    return np.frombuffer(data.tobytes(), dtype).reshape(shape)
