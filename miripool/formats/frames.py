"""Images of frames, as the test benches wrote them, and the ramps and reference output in them.

A file has one image (frames, rows, columns), frames in order. In each, rows of the detector come first; behind them
stands the reference output, one value for four columns, row by row, in rows as long as the detector's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..model.tiles import basic_index

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..model.dataset import ArraySource
    from ..model.product import Layout

__all__ = ["FramesSource", "ReferenceSource", "RestSource", "ScienceSource", "frames_of"]


class ScienceSource:
    """The ramps of an image of frames.

    Parameters
    ----------
    frames : ArraySource
        Shape (frames, rows, columns).
    nints, ngroups, rows : int
        Integrations, groups of each, rows of the detector.
    """

    def __init__(self, frames: ArraySource, nints: int, ngroups: int, rows: int) -> None:
        self._frames = frames
        self.shape = (nints, ngroups, rows, frames.shape[2])
        self.dtype = frames.dtype

    def __getitem__(self, key: Any, /) -> Any:
        basic = basic_index(key, self.shape)
        if basic is None:
            return self[...][key]
        (i, g, y, x), box, local = basic
        part: NDArray[Any] = np.empty(box, self.dtype)
        for integration in range(box[0]):
            first = (i + integration) * self.shape[1] + g
            part[integration] = self._frames[first : first + box[1], y : y + box[2], x : x + box[3]]
        return part[local]


class ReferenceSource:
    """The reference output of an image of frames.

    Parameters
    ----------
    frames : ArraySource
        Shape (frames, rows, columns).
    nints, ngroups, rows : int
        Integrations, groups of each, rows of the detector.
    """

    def __init__(self, frames: ArraySource, nints: int, ngroups: int, rows: int) -> None:
        self._frames = frames
        self.shape = (nints, ngroups, rows, frames.shape[2] // 4)
        self.dtype = frames.dtype

    def __getitem__(self, key: Any, /) -> Any:
        basic = basic_index(key, self.shape)
        if basic is None:
            return self[...][key]
        (i, g, y, x), box, local = basic
        part: NDArray[Any] = np.empty(box, self.dtype)
        _, ngroups, rows, width = self.shape
        columns = self._frames.shape[2]
        low, high = y * width, (y + box[2]) * width
        top = low // columns
        for integration in range(box[0]):
            first = (i + integration) * ngroups + g
            block = self._frames[first : first + box[1], rows + top : rows + -(-high // columns), :]
            values = block.reshape(box[1], -1)[:, low - top * columns : high - top * columns]
            part[integration] = values.reshape(box[1], box[2], width)[:, :, x : x + box[3]]
        return part[local]


class RestSource:
    """The last frames of an image, which make no whole integration.

    Parameters
    ----------
    frames : ArraySource
        Shape (frames, rows, columns).
    first : int
        The first of them.
    """

    def __init__(self, frames: ArraySource, first: int) -> None:
        self._frames = frames
        self._first = first
        self.shape = (frames.shape[0] - first, *frames.shape[1:])
        self.dtype = frames.dtype

    def __getitem__(self, key: Any, /) -> Any:
        basic = basic_index(key, self.shape)
        if basic is None:
            return self[...][key]
        (f, y, x), box, local = basic
        first = self._first + f
        part: NDArray[Any] = self._frames[first : first + box[0], y : y + box[1], x : x + box[2]]
        return part[local]


class FramesSource:
    """The image of frames that ramps and reference output came from.

    Parameters
    ----------
    science, reference : ArraySource
        Shapes (nints, ngroups, rows, columns) and (nints, ngroups, rows, columns / 4).
    rest : ArraySource or None
        Frames behind those.

    Attributes
    ----------
    science : ArraySource
        As given.
    """

    def __init__(self, science: ArraySource, reference: ArraySource, rest: ArraySource | None) -> None:
        self.science = science
        self._reference = reference
        self._rest = rest
        nints, ngroups, rows, columns = science.shape
        more = 0 if rest is None else rest.shape[0]
        self.shape = (nints * ngroups + more, rows + math.prod(reference.shape[2:]) // columns, columns)
        self.dtype = science.dtype

    def __getitem__(self, key: Any, /) -> Any:
        basic = basic_index(key, self.shape)
        if basic is None:
            return self[...][key]
        starts, box, local = basic
        part: NDArray[Any] = np.empty(box, self.dtype)
        if 0 in box:
            return part[local]
        nints, ngroups, _, _ = self.science.shape
        first, y, x = starts
        inside = slice(y, y + box[1]), slice(x, x + box[2])
        done = 0
        while done < box[0]:
            frame = first + done
            i, g = divmod(frame, ngroups)
            count = min(box[0] - done, ngroups - g if i < nints else box[0] - done)
            if i < nints:
                self._fill(part[done : done + count], (i, slice(g, g + count)), *inside)
            elif self._rest is not None:
                behind = frame - nints * ngroups
                part[done : done + count] = self._rest[(slice(behind, behind + count), *inside)]
            done += count
        return part[local]

    def _fill(self, part: NDArray[Any], groups: tuple[int, slice], rows: slice, columns: slice) -> None:
        """Put rows of some groups of an integration where they belong: the detector's, and those behind them."""
        detector = self.science.shape[2]
        own = max(0, min(rows.stop, detector) - rows.start)
        if own:
            part[:, :own] = self.science[(*groups, slice(rows.start, rows.start + own), columns)]
        if own < part.shape[1]:
            low, high = rows.start + own - detector, rows.stop - detector
            part[:, own:] = self._reference_rows(groups, low, high)[:, :, columns]

    def _reference_rows(self, groups: tuple[int, slice], low: int, high: int) -> NDArray[Any]:
        """Give rows of reference output that are as long as the detector's."""
        length, width = self.shape[2], self._reference.shape[3]
        first, last = low * length // width, -(-high * length // width)
        values = self._reference[(*groups, slice(first, last))]
        cut = slice(low * length - first * width, high * length - first * width)
        rows: NDArray[Any] = values.reshape(len(values), -1)[:, cut].reshape(len(values), -1, length)
        return rows


def frames_of(layout: Layout) -> FramesSource:
    """Give the image of the ground test's file that a layout was made from.

    Parameters
    ----------
    layout : Layout
        With `original`.

    Returns
    -------
    FramesSource
        As in that file.
    """
    assert layout.original is not None  # noqa: S101 - the caller looked
    data = {hdu.name: hdu.data for hdu in layout.hdus if hdu.data is not None}
    return FramesSource(data["SCI"], data["REFOUT"], layout.original.rest)
