"""Pixel rows: one row of PostgreSQL for each detector pixel of a version's arrays, its ramp or rates inside."""

from .load import load
from .uses import leave_out, pending, reasons, release, sweep

__all__ = ["leave_out", "load", "pending", "reasons", "release", "sweep"]
