"""Flags of a block as patterns of each pixel: what they stand for is what was given, in any mixture."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from miripool.index.pixels.patterns import Patterns, find_patterns


@st.composite
def flags_and_defaults(draw: st.DrawFn) -> tuple[list[NDArray[Any]], list[Any]]:
    slots, pixels = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    depth = draw(st.sampled_from([(), (2,), (2, 3)]))
    values = st.integers(0, draw(st.sampled_from([0, 1, 3])))
    flags = [draw(arrays.arrays(np.uint8, (*depth, pixels), elements=values)) for _ in range(slots)]
    kind = draw(st.sampled_from(["zeros", "common", "nothing"]))
    if kind == "nothing":
        return flags, [None] * slots
    if kind == "zeros":
        return flags, [0] * slots
    return flags, [draw(arrays.arrays(np.int16, depth, elements=values)) for _ in range(slots)]


def meant(found: Patterns, pixel: int, slot: int, default: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """Give what a pixel has in an exposure, by its patterns."""
    number = found.of[pixel, slot]
    if number == 0:
        return np.broadcast_to(np.asarray(default), shape)
    given_ = found.values(np.array([pixel]), int(found.number[pixel]))
    return given_[number - 1][0]


@given(flags_and_defaults())
def test_patterns_stand_for_the_flags(case: tuple[list[NDArray[Any]], list[Any]]) -> None:
    flags, defaults = case
    found = find_patterns(flags, defaults)
    for slot, (values, default) in enumerate(zip(flags, defaults, strict=True)):
        for pixel in range(values.shape[-1]):
            assert np.array_equal(meant(found, pixel, slot, default, values.shape[:-1]), values[..., pixel])


@given(flags_and_defaults())
def test_no_pattern_is_there_twice_or_for_the_default(case: tuple[list[NDArray[Any]], list[Any]]) -> None:
    flags, defaults = case
    found = find_patterns(flags, defaults)
    for pixel in range(flags[0].shape[-1]):
        own = {
            values[..., pixel].tobytes()
            for values, default in zip(flags, defaults, strict=True)
            if default is None or not np.array_equal(values[..., pixel], np.broadcast_to(default, values.shape[:-1]))
        }
        assert found.number[pixel] == len(own)
        assert found.is_one[pixel] == (set(found.of[pixel].tolist()) == {1})
