"""Judgement of all exposures of a monitor: sorted into strata, each of which is assessed by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..model.kinds import Ramp, kind_class
from .assess import assess
from .result import Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .definition import Definition
    from .result import Kept
    from .strata import Stratum

__all__ = ["assess_all", "in_order"]


def in_order(kept: Iterable[Kept]) -> list[Kept]:
    """Sort exposures by stratum and time; the order does not depend on when they were read.

    Parameters
    ----------
    kept : iterable of Kept
        Exposures.

    Returns
    -------
    list of Kept
        The same.
    """
    return sorted(kept, key=lambda k: (k.member.stratum, k.member.start, k.member.name, k.member.serial))


def assess_all(kept: Sequence[Kept], definition: Definition) -> list[Result]:
    """Judge all strata.

    Parameters
    ----------
    kept : sequence of Kept
        Exposures.
    definition : Definition
        Of the monitor.

    Returns
    -------
    list of Result
        In the order of strata.
    """
    by_stratum: dict[Stratum, list[Kept]] = {}
    for exposure in in_order(kept):
        by_stratum.setdefault(exposure.member.stratum, []).append(exposure)
    return [_assess(stratum, exposures, definition) for stratum, exposures in by_stratum.items()]


def _assess(stratum: Stratum, exposures: list[Kept], definition: Definition) -> Result:
    members = [exposure.member for exposure in exposures]
    found = assess(
        [exposure.planes for exposure in exposures],
        (stratum.rows, stratum.columns),
        np.array([member.mjd for member in members]),
        settling=np.array([member.settling for member in members]),
        integrations=min(member.integrations for member in members),
        light=stratum.light,
        false_alarms=definition.false_alarms,
        ramps=kind_class(definition.kind) is Ramp,
    )
    return Result(stratum, exposures, found)
