"""Pixel rows: one row of PostgreSQL for each detector pixel of a version's arrays, its ramp or rates inside."""

from .load import load_rows
from .read import Box, SetRow, count_pixels, count_rows, read_pixel, read_pixels, scan_pixels, sets_of
from .timing import keep_timings, read_timings
from .uses import detectors, leave_out, missing, pending, reasons, release, sweep, unwanted

__all__ = [
    "Box",
    "SetRow",
    "count_pixels",
    "count_rows",
    "detectors",
    "keep_timings",
    "leave_out",
    "load_rows",
    "missing",
    "pending",
    "read_pixel",
    "read_pixels",
    "read_timings",
    "reasons",
    "release",
    "scan_pixels",
    "sets_of",
    "sweep",
    "unwanted",
]
