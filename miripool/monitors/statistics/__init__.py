"""Statistics of versions by integration and amplifier: measured once, kept in the pool, read by SQL and Python.

`measure` reads a version and gives numbers; `record` makes a product of them, which keeps them through a new index;
`update` measures what was not measured yet, and reads what was.
"""

from __future__ import annotations

from .measure import PERCENTILES, AmplifierStatistics, measure
from .update import MEASURED, RECORD, UNITS, load_pending, measured_records

__all__ = [
    "MEASURED",
    "PERCENTILES",
    "RECORD",
    "UNITS",
    "AmplifierStatistics",
    "load_pending",
    "measure",
    "measured_records",
]
