"""Records of monitors: what each follows, and what it has found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..instruments.detector import Placement
from ..monitors import answers
from ..monitors.rows import read_strata

if TYPE_CHECKING:
    from ..monitors import Stratum
    from ..session.pool import Pool

__all__ = ["monitor_records"]


def monitor_records(
    pool: Pool, *, pixel: tuple[int, int] | None = None, detector: str | None = None
) -> list[dict[str, Any]]:
    """Give what is known of each monitor of a pool.

    Parameters
    ----------
    pool : Pool
        The pool.
    pixel : (int, int), keyword-only, optional
        Only monitors whose exposures cover this pixel: column and row of the FULL array, from 1.
    detector : str, keyword-only, optional
        Only monitors with exposures of this detector; case is ignored.

    Returns
    -------
    list of dict
        ``name``, ``urn``, ``version``, ``updated`` (aware, UTC); ``exposures``, ``pixels`` with a state and ``states``
        with the number of pixels in each; what it follows and how it judges: ``kind``, ``where``, ``tag``, ``region``,
        ``light``, ``false_alarms``. In the order of creation.
    """
    rows = []
    for ref in pool.monitors():
        if (pixel or detector) and not any(_has(s, pixel, detector) for s in read_strata(ref.product)):
            continue
        seen = pool.monitor(ref.name).definition
        states = answers.count_states(ref.product)
        rows.append(
            {
                "name": ref.name,
                "urn": str(ref.urn),
                "version": ref.version,
                "updated": ref.created,
                "exposures": len(answers.exposure_records(ref.product)),
                "pixels": sum(states.values()),
                "states": states,
                "kind": seen.kind,
                "where": None if seen.where == "1" else seen.where,
                "tag": seen.tag,
                "region": None if seen.region is None else str(seen.region),
                "light": seen.light,
                "false_alarms": seen.false_alarms,
            }
        )
    return rows


def _has(stratum: Stratum, pixel: tuple[int, int] | None, detector: str | None) -> bool:
    place = Placement(stratum.x, stratum.y, stratum.columns, stratum.rows)
    return (pixel is None or place.covers(*pixel)) and (not detector or detector.upper() == stratum.detector)
