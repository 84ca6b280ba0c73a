"""Monitors: the lives of pixels through many exposures. What became hot, noisy or unstable, when, and what healed.

From the bottom up: `robust` has medians; `summaries` reduces the integrations of an exposure to one rate for each
pixel; `strata` says which exposures can be compared; `exposures` reads them. The rules are in `series`, `segments`,
`telegraph`, `scatter` and `drift`; `thresholds` says how sure they must be (`quiet` simulates that), `states` in
which order they go. `assess` applies them to a stratum, `result` makes a product of what was found. `answers`,
`events`, `survival`, `alarms`, `limits` and `decay` read it, `update` brings it up to date, and `monitor` is what a
session holds. `mask` makes a MASK reference file for a date: `maskflags` says which flags a state sets, `watched`
what the strata know of that date, `maskbase` reads an older mask, and `maskfile` writes the file. `courses` has one
pixel in one stratum, `life` in all; `plots` draws `maps` and `charts`, `lifeplots` the life of a pixel, from what
`views` reads. `groupslopes` and `statistics` measure single exposures; `amplifiers` and `shapes` say what their
columns and groups are.
"""

from __future__ import annotations

from ..model.kinds import Monitor
from .courses import Course, Episode
from .definition import MONITORED, RULES, Definition
from .events import BAD, Event
from .groupslopes import fit_group_slopes
from .life import PixelLife
from .limits import Limits
from .mask import DatedMask, MaskOrigin
from .maskflags import FLAGGING, Flagging
from .monitor import PixelMonitor, create_monitor, list_monitors, open_monitor
from .plots import PLOTS
from .states import STATES
from .strata import LIGHT, Region, Stratum
from .update import Updated

__all__ = [
    "BAD",
    "FLAGGING",
    "LIGHT",
    "MONITORED",
    "PLOTS",
    "RULES",
    "STATES",
    "Course",
    "DatedMask",
    "Definition",
    "Episode",
    "Event",
    "Flagging",
    "Limits",
    "MaskOrigin",
    "Monitor",
    "PixelLife",
    "PixelMonitor",
    "Region",
    "Stratum",
    "Updated",
    "create_monitor",
    "fit_group_slopes",
    "list_monitors",
    "open_monitor",
]
