"""Survival: for how long pixels stay in a state."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .answers import check_states
from .rows import read_members, read_rows, read_strata

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..model.product import Product

    Vector = NDArray[np.float64]

__all__ = ["kaplan_meier", "survival_records"]

_NORMAL_95: Final = 1.959964


def kaplan_meier(lasted: Vector, ended: NDArray[np.bool_]) -> dict[str, Vector]:
    """Estimate the probability that a state lasts longer than a time, from episodes of which some are not over [1]_.

    Parameters
    ----------
    lasted : ndarray of float64, shape (n,)
        Length of each episode so far, days.
    ended : ndarray of bool, shape (n,)
        Whether it is over.

    Returns
    -------
    dict of str to ndarray of float64
        At each length at which an episode ended: ``days``, ``at_risk`` (episodes that lasted so long), ``ended``,
        ``survival``, and ``low`` and ``high``: the 95 % interval on the scale of log(-log(survival)).

    References
    ----------
    .. [1] E. L. Kaplan, P. Meier, Journal of the American Statistical Association 53 (1958) 457; variance of Greenwood.
    """
    days = np.unique(lasted[ended])
    at_risk = np.array([np.count_nonzero(lasted >= day) for day in days], float)
    deaths = np.array([np.count_nonzero(ended & (lasted == day)) for day in days], float)
    survival = np.cumprod(1 - deaths / at_risk) if days.size else np.zeros(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.cumsum(deaths / (at_risk * (at_risk - deaths)))
        spread = _NORMAL_95 * np.sqrt(variance) / np.abs(np.log(survival))
        low, high = survival ** np.exp(spread), survival ** np.exp(-spread)
    known = (survival > 0) & (survival < 1)
    return {
        "days": days,
        "at_risk": at_risk,
        "ended": deaths,
        "survival": survival,
        "low": np.where(known, low, 0.0),
        "high": np.where(known, high, np.where(survival > 0, 1.0, 0.0)),
    }


def survival_records(product: Product, *, state: str = "hot") -> list[dict[str, Any]]:
    """Say for how long pixels stay in a state, by stratum.

    Episodes that had begun before the first exposure are left out: nobody knows for how long they had lasted.

    Parameters
    ----------
    product : Product
        Of a monitor.
    state : str, keyword-only
        The state.

    Returns
    -------
    list of dict
        ``stratum, state, days, at_risk, ended, survival, low, high``; see `kaplan_meier`.

    Raises
    ------
    InvalidInput
        If there is no such state.
    """
    check_states([state])
    episodes = [row for row in read_rows(product, "STATES") if row["state"] == state and row["begin"] > 0]
    found = []
    for number, (stratum, exposures) in enumerate(zip(read_strata(product), read_members(product), strict=True)):
        times = [exposure["time"] for exposure in exposures]
        mine = [e for e in episodes if e["stratum"] == number]
        ended = np.array([e["end"] < len(times) for e in mine], bool)
        lasted = [(times[min(e["end"], len(times) - 1)] - times[e["begin"]]) / timedelta(days=1) for e in mine]
        curve = kaplan_meier(np.array(lasted, float), ended)
        for values in zip(*curve.values(), strict=True):
            record = dict(zip(curve, map(float, values), strict=True))
            record |= {"at_risk": int(record["at_risk"]), "ended": int(record["ended"])}
            found.append({"stratum": str(stratum), "state": state, **record})
    return found
