"""Data quality bits of JWST that the simulation sets.

Values and names are those of ``stdatamodels.jwst.datamodels.dqflags`` (a test compares them), which takes most of a
second to import.
"""

from __future__ import annotations

from typing import Final

__all__ = ["DEAD", "DO_NOT_USE", "HOT", "JUMP_DET", "REFERENCE_PIXEL", "SATURATED"]

DO_NOT_USE: Final = 1
"""PIXELDQ, GROUPDQ, DQ: not to be used for science; slopes are NaN."""

SATURATED: Final = 2
"""GROUPDQ, DQ: at or above the saturation level in this group, or in some group of the integration."""

JUMP_DET: Final = 4
"""GROUPDQ, DQ: a jump between the group before and this one, or in some group of the integration."""

DEAD: Final = 1024
"""PIXELDQ, DQ: does not answer to light."""

HOT: Final = 2048
"""PIXELDQ, DQ: dark current far above its neighbours'."""

REFERENCE_PIXEL: Final = 2**31
"""PIXELDQ, DQ: is not connected to the light-sensitive layer; bit 31, so the arrays have to be unsigned."""
