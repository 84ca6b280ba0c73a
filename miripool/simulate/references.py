"""Reference files that calibrate a simulated exposure: the maps of its detector, in the form the pipeline reads."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from miripool.errors import AlreadyExists, InvalidInput
from miripool.simulate.calibration import Calibration
from miripool.simulate.subarrays import find_subarray

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from miripool.simulate.exposure import SimulatedExposure

    Extension = tuple[str, NDArray[Any]]

__all__ = ["REFERENCE_TYPES", "write_references"]

_RESET_GROUPS = 12
"""Groups after which the reset anomaly has decayed to less than 0.01 DN."""


def _dark(exposure: SimulatedExposure, calibration: Calibration) -> list[Extension]:
    shape = exposure.sci.shape[2:]
    sci = np.empty((1, exposure.ngroups, *shape), np.float32)
    slope = np.float32(calibration.dark_scale * exposure.group_time) * exposure.detector.dark_current
    for group in range(exposure.ngroups):
        sci[0, group] = slope * (group + 1)
    return [("SCI", sci), ("DQ", np.zeros((1, 1, *shape), np.uint32))]


def _gain(exposure: SimulatedExposure, calibration: Calibration) -> list[Extension]:
    return [("SCI", np.full(exposure.sci.shape[2:], calibration.gain, np.float32))]


def _ipc(_: SimulatedExposure, __: Calibration) -> list[Extension]:
    kernel = np.zeros((3, 3), np.float32)
    kernel[1, 1] = 1
    return [("SCI", kernel)]


def _linearity(exposure: SimulatedExposure, calibration: Calibration) -> list[Extension]:
    coefficients = exposure.detector.linearity.copy()
    coefficients[2:] *= np.float32(calibration.linearity_scale)
    return [("COEFFS", coefficients), ("DQ", np.zeros(exposure.sci.shape[2:], np.uint32))]


def _mask(exposure: SimulatedExposure, _: Calibration) -> list[Extension]:
    return [("DQ", exposure.detector.mask)]


def _readnoise(exposure: SimulatedExposure, _: Calibration) -> list[Extension]:
    # JWST's references hold the noise of a difference of two readings.
    return [("SCI", np.float32(np.sqrt(2)) * exposure.detector.read_noise)]


def _reset(exposure: SimulatedExposure, _: Calibration) -> list[Extension]:
    decay = exposure.detector.reset_anomaly(min(exposure.ngroups, _RESET_GROUPS))
    shape = exposure.sci.shape[2:]
    sci = np.broadcast_to(decay[None, :, None, None], (1, len(decay), *shape))
    return [("SCI", sci), ("DQ", np.zeros(shape, np.uint32)), ("ERR", np.zeros(sci.shape, np.float32))]


def _rscd(exposure: SimulatedExposure, _: Calibration) -> list[Extension]:
    row = (exposure.subarray, exposure.readpatt, 1, 1)
    columns = [("subarray", "S17"), ("readpatt", "S12"), ("group_skip1", "i4"), ("group_skip", "i4")]
    return [("RSCD_GROUP_SKIP", np.array([row], columns))]


def _saturation(exposure: SimulatedExposure, _: Calibration) -> list[Extension]:
    return [("SCI", exposure.detector.saturation), ("DQ", np.zeros(exposure.sci.shape[2:], np.uint32))]


_TYPES: Final[dict[str, tuple[str, str, Callable[[SimulatedExposure, Calibration], list[Extension]]]]] = {
    "dark": ("DarkMIRIModel", "dark current of each pixel", _dark),
    "gain": ("GainModel", "electrons per DN", _gain),
    "ipc": ("IPCModel", "no coupling of pixels", _ipc),
    "linearity": ("LinearityModel", "correction of raw DN", _linearity),
    "mask": ("MaskModel", "dead, hot and reference pixels", _mask),
    "readnoise": ("ReadnoiseModel", "of the difference of two readings, DN", _readnoise),
    "reset": ("ResetModel", "decay after a reset, DN", _reset),
    "rscd": ("RSCDModel", "groups to skip", _rscd),
    "saturation": ("SaturationModel", "level of each pixel, DN", _saturation),
}

REFERENCE_TYPES: Final = tuple(_TYPES)
"""What the pipeline needs to calibrate an exposure of MIRI, by the names that CRDS gives them."""


def write_references(
    exposure: SimulatedExposure,
    folder: str | Path,
    calibration: Calibration | None = None,
    *,
    kinds: Sequence[str] = REFERENCE_TYPES,
    date: datetime | None = None,
    overwrite: bool = False,
) -> dict[str, Path]:
    """Write the reference files with which `Detector1Pipeline` calibrates an exposure.

    They can be used for all exposures of the same detector, subarray and readout pattern with at most as many groups.

    Parameters
    ----------
    exposure : SimulatedExposure
        The exposure to calibrate.
    folder : path
        An existing folder.
    calibration : Calibration, optional
        What to assume about the detector; by default the truth. The jump threshold is not used.
    kinds : sequence of str, keyword-only
        Types to write, from `REFERENCE_TYPES`.
    date : datetime, keyword-only, optional
        For the card DATE, with a time zone; now if not given. With it, equal input gives equal bytes.
    overwrite : bool, keyword-only
        Whether files of these names may be replaced.

    Returns
    -------
    dict of str to Path
        ``<folder>/miri_<type>_<label>.fits`` by type: what `miripool.pipeline.Recipe` takes as overrides. Maps have the
        shape of the subarray, (ny, nx); dark and reset (1, ngroups, ny, nx); linearity (4, ny, nx).

    Raises
    ------
    InvalidInput
        If the folder does not exist, a type is unknown, or the date has no time zone.
    AlreadyExists
        If one of the files exists; none is written.
    """
    from astropy.io import fits

    calibration = calibration or Calibration("truth", gain=exposure.detector.gain)
    if unknown := set(kinds) - set(_TYPES):
        raise InvalidInput(f"there is no reference {', '.join(sorted(unknown))}; use one of {', '.join(_TYPES)}")
    if not Path(folder).is_dir():
        raise InvalidInput(f"there is no folder {folder}; create it first")
    if date is not None and date.tzinfo is None:
        raise InvalidInput(f"date is {date.isoformat()} without a time zone; give it one, e.g. tzinfo=datetime.UTC")
    paths = {kind: Path(folder) / f"miri_{kind}_{calibration.label}.fits" for kind in kinds}
    for path in paths.values():
        if path.exists() and not overwrite:
            raise AlreadyExists(f"{path} already exists; remove it, or overwrite it (overwrite=True, --overwrite)")
    for kind, path in paths.items():
        hdus = fits.HDUList([fits.PrimaryHDU()])
        hdus[0].header.extend(fits.Card(*card) for card in _cards(exposure, kind, path.name, date))
        for name, array in _TYPES[kind][2](exposure, calibration):
            hdus.append((fits.BinTableHDU if array.dtype.names else fits.ImageHDU)(array, name=name))
        hdus.writeto(path, overwrite=True)
    return paths


def _cards(
    exposure: SimulatedExposure, kind: str, filename: str, date: datetime | None
) -> list[tuple[str, object, str]]:
    model, description, _ = _TYPES[kind]
    written = (date or datetime.now(UTC)).astimezone(UTC)
    place = find_subarray(exposure.subarray)
    cards: list[tuple[str, object, str]] = [
        ("DATE", written.strftime("%Y-%m-%dT%H:%M:%S.") + f"{written.microsecond // 1000:03d}", "UTC"),
        ("FILENAME", filename, "name of the file"),
        ("DATAMODL", model, "type of data model"),
        ("TELESCOP", "JWST", "telescope"),
        ("REFTYPE", kind.upper(), "type of reference file"),
        ("PEDIGREE", "DUMMY", "simulated"),
        ("DESCRIP", description, ""),
        ("AUTHOR", "miripool.simulate", ""),
        ("USEAFTER", "2000-01-01T00:00:00", "from when on it is valid"),
        ("INSTRUME", "MIRI", "instrument"),
        ("DETECTOR", exposure.detector.name, "detector"),
    ]
    if kind in ("ipc", "rscd"):
        return cards
    if kind in ("dark", "reset"):
        ngroups = exposure.ngroups if kind == "dark" else min(exposure.ngroups, _RESET_GROUPS)
        cards += [("NINTS", 1, ""), ("NGROUPS", ngroups, "groups in an integration")]
        cards += [("NFRAMES", 1, "frames in a group"), ("GROUPGAP", 0, "frames dropped between groups")]
    cards += [
        ("SUBARRAY", exposure.subarray, "subarray"),
        ("SUBSTRT1", place.xstart, "first column, 1-based"),
        ("SUBSTRT2", place.ystart, "first row, 1-based"),
        ("SUBSIZE1", place.xsize, "columns"),
        ("SUBSIZE2", place.ysize, "rows"),
        ("FASTAXIS", 1, ""),
        ("SLOWAXIS", 2, ""),
    ]
    return cards
