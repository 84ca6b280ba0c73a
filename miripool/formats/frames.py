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
    """

    def __init__(self, science: ArraySource, reference: ArraySource, rest: ArraySource | None) -> None:
        self._science = science
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
        whole: NDArray[Any] = np.empty((box[0], *self.shape[1:]), self.dtype)
        nints, ngroups, rows, columns = self._science.shape
        done = 0
        while done < box[0]:
            frame = starts[0] + done
            i, g = divmod(frame, ngroups)
            count = min(box[0] - done, ngroups - g if i < nints else box[0] - done)
            part = whole[done : done + count]
            if i < nints:
                part[:, :rows] = self._science[i, g : g + count]
                part[:, rows:] = self._reference[i, g : g + count].reshape(count, -1, columns)
            elif self._rest is not None:
                first = frame - nints * ngroups
                part[:] = self._rest[first : first + count]
            done += count
        inside = (slice(None), *(slice(s, s + n) for s, n in zip(starts[1:], box[1:], strict=True)))
        return whole[inside][local]


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
