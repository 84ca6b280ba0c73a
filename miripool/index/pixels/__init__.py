"""Pixel rows: one row of PostgreSQL for each detector pixel of a version's arrays, its ramp or rates inside.

Names are loaded when they are used: a question about versions reads no pixel.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .conditions import Box
    from .history import PixelRow, read_common, read_history
    from .load import Loading, block_of, load_together
    from .merge import Merge, merge_sets, plan_merges
    from .read import count_pixels, count_rows, read_pixels, scan_pixels
    from .sets import SetRow, sets_of
    from .timing import keep_timings
    from .uses import (
        detectors,
        leave_out,
        leave_pending_out,
        missing,
        pending,
        reasons,
        release,
        sweep,
        unwanted,
    )
    from .versions import VersionColumns, read_living_versions, read_versions

__all__ = [
    "Box",
    "Loading",
    "Merge",
    "PixelRow",
    "SetRow",
    "VersionColumns",
    "block_of",
    "count_pixels",
    "count_rows",
    "detectors",
    "keep_timings",
    "leave_out",
    "leave_pending_out",
    "load_together",
    "merge_sets",
    "missing",
    "pending",
    "plan_merges",
    "read_common",
    "read_history",
    "read_living_versions",
    "read_pixels",
    "read_versions",
    "reasons",
    "release",
    "scan_pixels",
    "sets_of",
    "sweep",
    "unwanted",
]

_WHERE = {
    "Box": "conditions",
    "Loading": "load",
    "Merge": "merge",
    "PixelRow": "history",
    "SetRow": "sets",
    "VersionColumns": "versions",
    "block_of": "load",
    "count_pixels": "read",
    "count_rows": "read",
    "detectors": "uses",
    "keep_timings": "timing",
    "leave_out": "uses",
    "leave_pending_out": "uses",
    "load_together": "load",
    "merge_sets": "merge",
    "missing": "uses",
    "pending": "uses",
    "plan_merges": "merge",
    "read_common": "history",
    "read_history": "history",
    "read_pixels": "read",
    "read_living_versions": "versions",
    "read_versions": "versions",
    "reasons": "uses",
    "release": "uses",
    "scan_pixels": "read",
    "sets_of": "sets",
    "sweep": "uses",
    "unwanted": "uses",
}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(f".{_WHERE[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
