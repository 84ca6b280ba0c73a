"""Definition of a monitor: the question that it asks again and again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..errors import InvalidInput
from ..model.kinds import kind_class
from ..model.names import check_label, check_product_name
from .strata import LIGHT, Region
from .thresholds import FALSE_ALARMS, thresholds_for

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MONITORED", "RULES", "Definition"]

RULES: Final = "2"
"""Version of the rules. It changes whenever equal exposures may give other results."""
MONITORED: Final = ("RateInts", "Rate", "Ramp")
"""Kinds that can be monitored."""


@dataclass(frozen=True, slots=True)
class Definition:
    """What a monitor looks at.

    Attributes
    ----------
    name : str
        Of the monitor.
    kind : str
        RateInts, Rate or Ramp.
    where : str
        Condition on versions, as for `Pool.select`.
    tag : str or None
        The versions that this tag marks; the newest ones unless given.
    region : Region or None
        Part of the FULL array; all of it unless given.
    light : {'dark', 'flat', 'sky'} or None
        What fell on the detector; EXP_TYPE tells it for each exposure unless given.
    false_alarms : float
        Fraction of quiet pixels that may get a state at an update, all states together.
    """

    name: str
    kind: str = "RateInts"
    where: str = "1"
    tag: str | None = None
    region: Region | None = None
    light: str | None = None
    false_alarms: float = FALSE_ALARMS

    def check(self) -> None:
        """Check all values.

        Raises
        ------
        InvalidInput
            If one is not valid.
        """
        check_product_name(self.name)
        if kind_class(self.kind).kind not in MONITORED:
            raise InvalidInput(f"products of kind {self.kind} can't be monitored; choose one of {', '.join(MONITORED)}")
        if self.tag is not None:
            check_label(self.tag)
        if self.light not in (None, *LIGHT):
            raise InvalidInput(f"there is no light {self.light!r}; choose one of {', '.join(LIGHT)}")
        thresholds_for(100, 5, self.false_alarms)

    def to_texts(self) -> dict[str, str]:
        """Give the values as texts; those that are not given are left out."""
        values = {
            "name": self.name,
            "kind": kind_class(self.kind).kind,
            "where": self.where,
            "tag": self.tag,
            "region": None if self.region is None else str(self.region),
            "light": self.light,
            "false_alarms": repr(self.false_alarms),
            "rules": RULES,
        }
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_texts(cls, values: Mapping[str, str]) -> Definition:
        """Read what `to_texts` gave.

        Parameters
        ----------
        values : mapping of str to str
            Values by name.

        Returns
        -------
        Definition
            The definition.
        """
        region = values.get("region")
        return cls(
            values["name"],
            values["kind"],
            values["where"],
            values.get("tag"),
            None if region is None else Region.parse(region),
            values.get("light"),
            float(values["false_alarms"]),
        )
