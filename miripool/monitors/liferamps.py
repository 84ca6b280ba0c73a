"""Ramps of a pixel in chosen exposures of its life."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InvalidInput
from ..model.kinds import Ramp, Raw
from ..model.times import refuse_naive
from ..pixels.pixel import Pixel

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from astropy.table import Table

    from ..pool.core import Core
    from .life import PixelLife

__all__ = ["read_ramps_at"]


def read_ramps_at(core: Core, life: PixelLife, times: Iterable[datetime]) -> tuple[Table, ...]:
    """Read the ramps of a pixel in the exposures that were the last ones at some times.

    Parameters
    ----------
    core : Core
        The pool.
    life : PixelLife
        Of the pixel.
    times : iterable of datetime
        Aware.

    Returns
    -------
    tuple of astropy.table.Table
        As `Pixel.ramps` gives them, of the corrected ramps, else of the raw ones; an exposure comes once.

    Raises
    ------
    InvalidInput
        If a time has no time zone or lies before the first exposure, or an exposure has neither Ramp nor Raw.
    """
    begun = sorted(pair for course in life.courses for pair in zip(course.times, course.urns, strict=True))
    chosen: dict[str, None] = {}
    for time in times:
        refuse_naive(time)
        urns = [urn for start, urn in begun if start <= time]
        if not urns:
            raise InvalidInput(
                f"no exposure had begun at {time.isoformat()}; the first began at {begun[0][0].isoformat()}"
            )
        chosen[core.ref(urns[-1]).name] = None
    return tuple(_ramps_of(core, life, name) for name in chosen)


def _ramps_of(core: Core, life: PixelLife, name: str) -> Table:
    pixel = Pixel(core, life.x, life.y, life.detector)
    for kind in (Ramp, Raw):
        if any(row.kind == kind.kind for row in core.catalog.living([name])):
            return pixel.ramps(kind, f"name == {name!r}")
    raise InvalidInput(f"the pool has neither a Ramp nor a Raw of {name}, so its ramps can't be shown")
