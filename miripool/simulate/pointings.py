"""Pointings: where on the sky a simulated exposure looks."""

from __future__ import annotations

import math
import random
import re
import zlib
from typing import TYPE_CHECKING, Any, Final

from miripool.instruments import miri
from miripool.instruments.known import DETECTORS
from miripool.sky.footprint import is_dark, is_image
from miripool.sky.pointing import Pointing
from miripool.sky.position import SkyPosition

if TYPE_CHECKING:
    from miripool.simulate.subarrays import Subarray

    Card = tuple[str, Any, str]

__all__ = ["pointing_cards"]

_PROGRAM = re.compile(r"jw\d{5}", re.ASCII)
_STEP: Final = 30.0
"""Arcseconds from the middle of a program's field that its exposures look away, at most, in RA and in Dec."""


def pointing_cards(name: str, place: Subarray, said: dict[str, Any]) -> list[Card]:
    """Give the cards of the extension SCI that say where an exposure looks.

    The name decides: exposures of one program (``jw01033…``) look at one field, each some arcseconds beside the others.
    So all products of an exposure say the same, and so does the same exposure when it is simulated again.

    Parameters
    ----------
    name : str
        Stem of the exposure's files.
    place : Subarray
        Where it is on the detector.
    said : dict
        DETECTOR, EXP_TYPE, FILTER and SUBARRAY of its header.

    Returns
    -------
    list of (keyword, value, comment)
        In the order of real files; empty for darks and for spectra.
    """
    aperture = miri.IMAGER.aperture(said["SUBARRAY"])
    if is_dark(said) or not is_image(said) or aperture is None:
        return []
    program = _PROGRAM.match(name)
    field, own = (random.Random(zlib.crc32(text.encode())) for text in (program[0] if program else name, name))  # noqa: S311
    ra, dec = field.uniform(0, 360), math.degrees(math.asin(field.uniform(-0.98, 0.98)))
    roll = field.uniform(0, 360)
    dec += own.uniform(-_STEP, _STEP) / 3600
    ra = (ra + own.uniform(-_STEP, _STEP) / 3600 / math.cos(math.radians(dec))) % 360
    values = {
        "RA_REF": round(ra, 9), "DEC_REF": round(dec, 9), "ROLL_REF": round(roll, 6), "V3I_YANG": miri.V3_ANGLE,
        "VPARITY": miri.PARITY, "SUBARRAY": aperture.subarray,
        "SUBSIZE1": place.xsize, "SUBSIZE2": place.ysize,
    }  # fmt: skip
    pointing = Pointing.read(values, DETECTORS[said["DETECTOR"]])
    corners: list[SkyPosition] = [] if pointing is None else pointing.outline(place.xsize, place.ysize)
    region = " ".join(f"{corner.ra:.9f} {corner.dec:.9f}" for corner in corners)
    return [
        ("RA_REF", values["RA_REF"], "[deg] Right ascension of the reference point"),
        ("DEC_REF", values["DEC_REF"], "[deg] Declination of the reference point"),
        ("ROLL_REF", values["ROLL_REF"], "[deg] V3 roll angle at the ref point (N over E)"),
        ("V2_REF", aperture.v2, "[arcsec] V2 of the reference point"),
        ("V3_REF", aperture.v3, "[arcsec] V3 of the reference point"),
        ("VPARITY", miri.PARITY, "Sense of rotation between Ideal xy and V2V3"),
        ("V3I_YANG", miri.V3_ANGLE, "[deg] Angle from V3 axis to Ideal y axis"),
        ("S_REGION", f"POLYGON ICRS  {region}", "Spatial footprint of the observation"),
    ]
