"""The header cards and tables of simulated files, as real JWST files of MIRI have them."""

from __future__ import annotations

import re
import zlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from miripool.errors import InvalidInput
from miripool.formats.level1b import GroupTiming, group_table, int_times_table, isoformat, to_mjd
from miripool.simulate.subarrays import find_subarray

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from miripool.simulate.calibration import Calibration
    from miripool.simulate.readout import Readout
    from miripool.simulate.settings import ExposureSettings

    Exposure = Readout | ExposureSettings
    Card = tuple[str, Any, str]

__all__ = ["calibration_cards", "exposure_cards", "file_cards", "jpl_cards", "tables"]

_JWST_NAME = re.compile(r"jw(\d{5})(\d{3})(\d{3})_(\d{2})(\d)(\d{2})_(\d{5})_mir\w+", re.ASCII)
"""jw<program><observation><visit>_<visit group><sequence><activity>_<exposure>_<detector>; source: JWST User
Documentation, "File Naming Conventions and Data Products"."""

_FILTERS: Final = {
    "SLITLESSPRISM": "P750L",
    "MASK1065": "F1065C",
    "MASK1140": "F1140C",
    "MASK1550": "F1550C",
    "MASKLYOT": "F2300C",
}
_CHANNELS: Final = {"MIRIFUSHORT": "12", "MIRIFULONG": "34"}
_STEPS: Final = {
    "DQINIT": "Data Quality Initialization",
    "SATURA": "Saturation Checking",
    "FRSTFR": "First Frame Correction",
    "LASTFR": "Last Frame Correction",
    "RESET": "Reset Anomaly Correction",
    "LINEAR": "Linearity Correction",
    "DARK": "Dark Subtraction",
    "JUMP": "Jump Detection",
}
_SKIPPED: Final = {
    "RSCD": "RSCD Correction",
    "IPC": "Interpixel Capacitance Correction",
    "REFPIX": "Reference Pixel Correction",
}


def file_cards(filename: str, model: str, date: datetime | None) -> list[Card]:
    """Give the cards that tell one file from another.

    Parameters
    ----------
    filename : str
        Name of the file.
    model : str
        Class of the JWST datamodels that opens it, e.g. ``"RampModel"``.
    date : datetime or None
        When the file was made; None: now.

    Returns
    -------
    list of (keyword, value, comment)
        In the order of real files.
    """
    made = datetime.now(UTC) if date is None else date.astimezone(UTC)
    return [
        ("DATE", isoformat(made), "UTC date file created"),
        ("ORIGIN", "miripool simulation", "Organization responsible for creating file"),
        ("FILENAME", filename, "Name of the file"),
        ("DATAMODL", model, "Type of data model"),
        ("TELESCOP", "JWST", "Telescope used to acquire the data"),
    ]


def exposure_cards(exposure: Exposure) -> list[Card]:
    """Give the cards that all files of one exposure share.

    Integrations follow each other without a gap, and so they do in the ground test's files.

    Parameters
    ----------
    exposure : Readout or ExposureSettings
        Its settings.

    Returns
    -------
    list of (keyword, value, comment)
        In the order of real files.
    """
    return [
        *_observation_cards(exposure),
        *_instrument_cards(exposure),
        *_time_cards(exposure),
        *_place_cards(exposure),
    ]


def jpl_cards(exposure: Readout, filename: str) -> list[Card]:
    """Give the cards of the JPL test bench's file.

    Parameters
    ----------
    exposure : Readout
        Its settings.
    filename : str
        Name of the file.

    Returns
    -------
    list of (keyword, value, comment)
        In the order of real files. TGROUP is rounded, as there.

    Raises
    ------
    InvalidInput
        If the detector is none that the bench had.
    """
    if exposure.detector.name != "MIRIMAGE":
        msg = f"JPL's files of {exposure.detector.name} are not known; simulate MIRIMAGE."
        raise InvalidInput(msg)
    place = find_subarray(exposure.subarray)
    begin = isoformat(exposure.start)
    integration = exposure.ngroups * exposure.group_time
    total = exposure.nints * integration
    slow = exposure.readpatt.startswith("SLOW")
    return [
        ("ROWSTART", place.ystart, "array row start pixel number"),
        ("COLSTART", (place.xstart - 1) // 4 * 5 + 1, "array column start pixel number"),
        ("DATE", begin[:19], "date this file created in UTC"),
        ("ORIGIN", "JPL", "originating institution"),
        ("FILENAME", filename, "Name of File"),
        ("TELESCOP", "JWST", ""),
        ("INSTRUME", "MIRI", ""),
        ("DATE_OBS", begin[:10], ""),
        ("TIME_OBS", begin[11:], ""),
        ("DATE_END", "yyyy-mm-dd", ""),
        ("TIME_END", "hh:mm:ss", ""),
        ("OBS_ID", 1, ""),
        ("EXP_ID", 1, ""),
        ("SCA_ID", 20, "numeric SCA id"),
        ("DETECTOR", "IC", "ascii SCA name"),
        ("NSAMPLE", 9 if slow else 1, "samples per pxl (1->fast, >1->slow mode)"),
        ("NFRAME", 1, "number of frames per group  (1 for MIRI)"),
        ("NGROUPS", exposure.ngroups, "number of groups (frames) per integration"),
        ("NINT", exposure.nints, "number of integrations per exposure"),
        ("TSAMPLE", 10, "[usec] time (delta) between samples"),
        ("TFRAME", round(exposure.group_time, 3), "[s] time difference between frames"),
        ("TGROUP", round(exposure.group_time, 3), "[s] time delta between groups"),
        ("INTTIME", integration, "[s] integration time"),
        ("EXPTIME", total, "[s] Total time collecting light"),
        ("FRMRSTS", 0, "number of resets at start of integration"),
        ("INITLRST", 0, "add reset frames before first integration"),
    ]


def _observation_cards(exposure: Exposure) -> list[Card]:
    end = exposure.start + timedelta(seconds=exposure.nints * exposure.ngroups * exposure.group_time)
    begin = isoformat(exposure.start)
    cards: list[Card] = [
        ("DATE-OBS", begin[:10], "[yyyy-mm-dd] UTC date at start of exposure"),
        ("TIME-OBS", begin[11:], "[hh:mm:ss.sss] UTC time at start of exposure"),
        ("DATE-BEG", begin, "Date-time start of exposure"),
        ("DATE-END", isoformat(end), "Date-time end of exposure"),
    ]
    found = _JWST_NAME.fullmatch(exposure.name)
    if found is None:
        return [*cards, ("OBS_ID", exposure.name, "Programmatic observation identifier")]
    program, observation, visit, visit_group, sequence, activity, number = found.groups()
    obs_id = f"V{program}{observation}{visit}P{0:08d}{visit_group}{sequence}{activity}"
    return [
        *cards,
        ("OBS_ID", obs_id, "Programmatic observation identifier"),
        ("VISIT_ID", program + observation + visit, "Visit identifier"),
        ("PROGRAM", program, "Program number"),
        ("OBSERVTN", observation, "Observation number"),
        ("VISIT", visit, "Visit number"),
        ("VISITGRP", visit_group, "Visit group identifier"),
        ("SEQ_ID", sequence, "Parallel sequence identifier"),
        ("ACT_ID", activity, "Activity identifier"),
        ("EXPOSURE", number, "Exposure request number"),
    ]


def _instrument_cards(exposure: Exposure) -> list[Card]:
    name = exposure.detector.name
    cards: list[Card] = [
        ("TARGNAME", "SIMULATED", "Standard astronomical catalog name for target"),
        ("INSTRUME", "MIRI", "Instrument used to acquire the data"),
        ("DETECTOR", name, "Name of detector used to acquire the data"),
    ]
    if name in _CHANNELS:
        cards += [
            ("CHANNEL", _CHANNELS[name], "MIRI MRS (IFU) channel"),
            ("BAND", "SHORT", "MRS wavelength band"),
        ]
    else:
        dark = exposure.exposure_type.startswith("MIR_DARK")
        optical = "OPAQUE" if dark else _FILTERS.get(exposure.subarray, "F770W")
        cards.append(("FILTER", optical, "Name of the filter element used"))
    return [
        *cards,
        ("LAMP", "OFF", "Internal lamp state"),
        ("EXP_TYPE", exposure.exposure_type, "Type of data in the exposure"),
    ]


def _time_cards(exposure: Exposure) -> list[Card]:
    slow = exposure.readpatt.startswith("SLOW")
    integration = exposure.ngroups * exposure.group_time
    total = exposure.nints * integration
    start = to_mjd(exposure.start)
    return [
        ("EXPSTART", start, "[d] exposure start time in MJD"),
        ("EXPMID", start + total / 2 / 86400, "[d] exposure mid time in MJD"),
        ("EXPEND", start + total / 86400, "[d] exposure end time in MJD"),
        ("READPATT", exposure.readpatt, "Readout pattern"),
        ("NINTS", exposure.nints, "Number of integrations in exposure"),
        ("INTSTART", 1, "Starting integration number in this segment"),
        ("INTEND", exposure.nints, "Ending integration number in this segment"),
        ("NGROUPS", exposure.ngroups, "Number of groups in integration"),
        ("NFRAMES", 1, "Number of frames per group"),
        ("GROUPGAP", 0, "Number of frames dropped between groups"),
        ("NSAMPLES", 9 if slow else 1, "Number of A/D samples per pixel"),
        ("TSAMPLE", 10, "[us] Time between samples"),
        ("TFRAME", exposure.group_time, "[s] Time between frames"),
        ("TGROUP", exposure.group_time, "[s] Time between groups"),
        ("EFFINTTM", integration, "[s] Effective integration time"),
        ("EFFEXPTM", total, "[s] Effective exposure time"),
        ("DURATION", total, "[s] Total duration of exposure"),
        ("NRSTSTRT", 0, "Number of reset frames at start of exposure"),
        ("NRESETS", 1 if exposure.readpatt.endswith("R1") else 0, "Number of reset frames between integrations"),
    ]


def _place_cards(exposure: Exposure) -> list[Card]:
    place = find_subarray(exposure.subarray)
    return [
        ("SUBARRAY", exposure.subarray, "Subarray used"),
        ("SUBSTRT1", place.xstart, "Starting pixel in axis 1 direction"),
        ("SUBSTRT2", place.ystart, "Starting pixel in axis 2 direction"),
        ("SUBSIZE1", place.xsize, "Number of pixels in axis 1 direction"),
        ("SUBSIZE2", place.ysize, "Number of pixels in axis 2 direction"),
        ("FASTAXIS", 1, "Fast readout axis direction"),
        ("SLOWAXIS", 2, "Slow readout axis direction"),
    ]


def calibration_cards(exposure: Exposure, calibration: Calibration, *, jumps: int, fitted: bool) -> list[Card]:
    """Give the cards that a calibration adds.

    References are named after the values they hold, so that two calibrations name the same gain reference exactly if
    they believe in the same gain.

    Parameters
    ----------
    exposure : Readout or ExposureSettings
        What was calibrated.
    calibration : Calibration
        How. With a `dark_scale` of 0 the dark step was skipped, and there is no dark reference.
    jumps : int
        Number of groups with JUMP_DET.
    fitted : bool
        Whether slopes were fitted to the ramp.

    Returns
    -------
    list of (keyword, value, comment)
        In the order of real files.
    """
    version = calibration.cal_ver or f"simulated {calibration.label}"
    seconds = exposure.nints * exposure.ngroups * exposure.group_time
    prime = jumps * 1000 / exposure.detector.mask.size / seconds
    steps = [(f"S_{step}", "COMPLETE", title) for step, title in _STEPS.items()]
    if calibration.dark_scale == 0:
        steps[list(_STEPS).index("DARK")] = ("S_DARK", "SKIPPED", _STEPS["DARK"])
    steps += [(f"S_{step}", "SKIPPED", title) for step, title in _SKIPPED.items()]
    if fitted:
        steps += [("S_RAMP", "COMPLETE", "Ramp Fitting"), ("S_GANSCL", "SKIPPED", "Gain Scale Correction")]
    return [
        ("CAL_VER", version, "Calibration Software Version"),
        ("PRIMECRS", prime, "Cosmic Ray rate per thousand pixels per second"),
        ("CRDS_CTX", calibration.crds_context, "CRDS context (.pmap) used to select ref files"),
        *_reference_cards(exposure, calibration),
        *steps,
    ]


def _reference_cards(exposure: Exposure, calibration: Calibration) -> list[Card]:
    detector = (exposure.detector.name, exposure.detector.seed)
    contents: dict[str, tuple[str, object]] = {
        "R_DARK": ("dark", calibration.dark_scale),
        "R_GAIN": ("gain", calibration.gain),
        "R_LINEAR": ("linearity", calibration.linearity_scale),
        "R_MASK": ("mask", None),
        "R_READNO": ("readnoise", None),
        "R_RESET": ("reset", None),
        "R_SATURA": ("saturation", None),
    }
    if calibration.dark_scale == 0:
        del contents["R_DARK"]
    cards: list[Card] = []
    for keyword, (kind, value) in contents.items():
        serial = zlib.crc32(repr((kind, detector, value)).encode()) % 10000
        name = f"crds://jwst_miri_{kind}_{serial:04d}.fits"
        cards.append((keyword, name, f"{kind.capitalize()} reference file"))
    return cards


def tables(exposure: Exposure) -> dict[str, NDArray[np.void]]:
    """Give the tables of a Level-1b file.

    Parameters
    ----------
    exposure : Readout or ExposureSettings
        Its settings.

    Returns
    -------
    dict
        GROUP, shape (nints * ngroups,), and INT_TIMES, shape (nints,).
    """
    place = find_subarray(exposure.subarray)
    timing = GroupTiming(exposure.nints, exposure.ngroups, exposure.group_time, exposure.start)
    return {
        "GROUP": group_table(timing, columns=place.xsize, rows=place.ysize),
        "INT_TIMES": int_times_table(timing),
    }
