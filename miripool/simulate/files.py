"""Simulated exposures as FITS files of the forms that JWST and the test bench at JPL give them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from miripool.errors import AlreadyExists, InvalidInput
from miripool.formats.level1b import asdf_table
from miripool.simulate.calibration import average_rates, calibrate_ramp, fit_slopes
from miripool.simulate.flags import JUMP_DET
from miripool.simulate.headers import calibration_cards, exposure_cards, file_cards, jpl_cards, tables
from miripool.simulate.pointings import pointing_cards
from miripool.simulate.subarrays import find_subarray

if TYPE_CHECKING:
    from datetime import datetime

    from numpy.typing import NDArray

    from miripool.simulate.calibration import Calibration, RampArrays, RateArrays, RateIntsArrays
    from miripool.simulate.headers import Card
    from miripool.simulate.readout import Readout
    from miripool.simulate.settings import ExposureSettings

    Extension = tuple[str, NDArray[Any], str]

__all__ = ["write_jpl", "write_products", "write_rateints", "write_uncal"]

_MODELS: Final = {"ramp": "RampModel", "rateints": "CubeModel", "rate": "ImageModel"}


def write_uncal(
    exposure: Readout, folder: str | Path, *, date: datetime | None = None, overwrite: bool = False
) -> Path:
    """Write an exposure as a Level-1b file, ``<name>_uncal.fits``.

    Parameters
    ----------
    exposure : Readout
        Raw DN.
    folder : path
        An existing folder.
    date : datetime, optional
        For the card DATE, with a time zone; now if not given. With it, equal exposures give equal bytes.
    overwrite : bool
        Whether a file of that name may be replaced.

    Returns
    -------
    Path
        The file, with SCI and REFOUT as unsigned 16-bit integers, and the tables GROUP and INT_TIMES.

    Raises
    ------
    InvalidInput
        The folder is not there, or the date has no time zone.
    AlreadyExists
        The file is there.
    """
    path = _plan(folder, f"{exposure.name}_uncal.fits", date, overwrite)
    cards = file_cards(path.name, "Level1bModel", date) + exposure_cards(exposure)
    images: list[Extension] = [("SCI", exposure.sci, ""), ("REFOUT", exposure.refout, "")]
    return _write(path, exposure.name, cards, [*images, *_tables(exposure)])


def write_jpl(exposure: Readout, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Write an exposure as the JPL test bench does, ``<name>.fits``: one image of frames.

    Parameters
    ----------
    exposure : Readout
        Raw DN.
    folder : path
        An existing folder.
    overwrite : bool
        Whether a file of that name may be replaced.

    Returns
    -------
    Path
        The file: uint16 (nints * ngroups, ny * 5 / 4, nx), in each frame the detector's rows and then those of the
        reference output, and the bench's keywords.

    Raises
    ------
    InvalidInput
        The folder is not there, or the detector is none that the bench had.
    AlreadyExists
        The file is there.
    """
    from astropy.io import fits

    path = _plan(folder, f"{exposure.name}.fits", None, overwrite)
    nints, ngroups, rows, columns = exposure.sci.shape
    frames = np.concatenate(
        [
            exposure.sci.reshape(nints * ngroups, rows, columns),
            exposure.refout.reshape(nints * ngroups, rows // 4, columns),
        ],
        axis=1,
    )
    hdu = fits.PrimaryHDU(frames)
    hdu.header.extend(fits.Card(*card) for card in jpl_cards(exposure, path.name))
    hdu.writeto(path, overwrite=True)
    return path


def write_products(
    exposure: Readout,
    folder: str | Path,
    calibration: Calibration,
    *,
    kinds: tuple[str, ...] = ("ramp", "rateints", "rate"),
    date: datetime | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Calibrate an exposure and write the products.

    The calibration is that of `miripool.simulate.calibration`: simple, in NumPy, not the JWST pipeline.

    Parameters
    ----------
    exposure : Readout
        Raw DN.
    folder : path
        An existing folder.
    calibration : Calibration
        What to believe of the detector.
    kinds : tuple of str
        Which of ``ramp``, ``rateints``, ``rate``, in the order to be returned.
    date : datetime, optional
        For the card DATE, with a time zone; now if not given. With it, equal input gives equal bytes.
    overwrite : bool
        Whether files of these names may be replaced.

    Returns
    -------
    list of Path
        ``<name>_<kind>.fits`` for each kind: a ramp with SCI (float32, DN), PIXELDQ (uint32), GROUPDQ (uint8), REFOUT
        (float32, DN), GROUP and INT_TIMES; rateints and rate with SCI and ERR (float32, DN/s), DQ (uint32), VAR_POISSON
        and VAR_RNOISE (float32, (DN/s)**2), rateints also with INT_TIMES.

    Raises
    ------
    InvalidInput
        The folder is not there, there is no such kind, or the date has no time zone.
    AlreadyExists
        One of the files is there; none is written.
    """
    if unknown := set(kinds) - set(_MODELS):
        msg = f"There is no product {', '.join(sorted(unknown))}; use one of {', '.join(_MODELS)}."
        raise InvalidInput(msg)
    paths = [_plan(folder, f"{exposure.name}_{kind}.fits", date, overwrite) for kind in kinds]
    ramp = calibrate_ramp(exposure, calibration)
    extensions = {"ramp": lambda: _ramp_extensions(ramp, exposure)}
    if set(kinds) - {"ramp"}:
        read_noise = exposure.detector.read_noise
        rateints = fit_slopes(ramp, read_noise=read_noise, gain=calibration.gain, group_time=exposure.group_time)
        extensions["rateints"] = lambda: _rate_extensions(rateints, _tables(exposure)[1:])
        extensions["rate"] = lambda: _rate_extensions(average_rates(rateints), [])
    jumps = int(np.count_nonzero(ramp.groupdq & JUMP_DET))
    for kind, path in zip(kinds, paths, strict=True):
        cards = file_cards(path.name, _MODELS[kind], date) + exposure_cards(exposure)
        cards += calibration_cards(exposure, calibration, jumps=jumps, fitted=kind != "ramp")
        _write(path, exposure.name, cards, extensions[kind]())
    return paths


def write_rateints(
    exposure: ExposureSettings,
    rates: RateIntsArrays,
    folder: str | Path,
    calibration: Calibration,
    *,
    date: datetime | None = None,
    overwrite: bool = False,
) -> Path:
    """Write slopes that no ramp was simulated for.

    Parameters
    ----------
    exposure : ExposureSettings
        What the header tells.
    rates : RateIntsArrays
        DN/s, shape (nints, ny, nx).
    folder : path
        An existing folder.
    calibration : Calibration
        How the slopes were made.
    date, overwrite : datetime, bool, keyword-only, optional
        As in `write_products`.

    Returns
    -------
    Path
        ``<name>_rateints.fits``, as `write_products` writes it.

    Raises
    ------
    InvalidInput
        The folder is not there, or the date has no time zone.
    AlreadyExists
        The file is there.
    """
    path = _plan(folder, f"{exposure.name}_rateints.fits", date, overwrite)
    cards = file_cards(path.name, _MODELS["rateints"], date) + exposure_cards(exposure)
    cards += calibration_cards(exposure, calibration, jumps=int(np.count_nonzero(rates.dq & JUMP_DET)), fitted=True)
    return _write(path, exposure.name, cards, _rate_extensions(rates, _tables(exposure)[1:]))


def _tables(exposure: Readout | ExposureSettings) -> list[Extension]:
    return [(name, table, "") for name, table in tables(exposure).items()]


def _ramp_extensions(ramp: RampArrays, exposure: Readout) -> list[Extension]:
    images: list[Extension] = [
        ("SCI", ramp.sci, ""),
        ("PIXELDQ", ramp.pixeldq, ""),
        ("GROUPDQ", ramp.groupdq, ""),
        ("REFOUT", ramp.refout, ""),
    ]
    return [*images, *_tables(exposure)]


def _rate_extensions(rate: RateIntsArrays | RateArrays, tables: list[Extension]) -> list[Extension]:
    return [
        ("SCI", rate.sci, "DN/s"),
        ("ERR", rate.err, "DN/s"),
        ("DQ", rate.dq, ""),
        *tables,
        ("VAR_POISSON", rate.var_poisson, ""),
        ("VAR_RNOISE", rate.var_rnoise, ""),
    ]


def _plan(folder: str | Path, filename: str, date: datetime | None, overwrite: bool) -> Path:
    if date is not None and date.tzinfo is None:
        msg = f"date is {date.isoformat()} without a time zone; give it one, e.g. tzinfo=datetime.UTC."
        raise InvalidInput(msg)
    if not Path(folder).is_dir():
        msg = f"There is no folder {folder}; create it first."
        raise InvalidInput(msg)
    path = Path(folder) / filename
    if path.exists() and not overwrite:
        msg = f"{path} already exists; remove it, or overwrite it (overwrite=True, --overwrite)"
        raise AlreadyExists(msg)
    return path


def _write(path: Path, exposure: str, cards: list[Card], extensions: list[Extension]) -> Path:
    from astropy.io import fits

    said = {keyword: value for keyword, value, _ in cards}
    pointing = pointing_cards(exposure, find_subarray(said["SUBARRAY"]), said)
    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus[0].header.extend(fits.Card(*card) for card in cards)
    for name, array, unit in extensions:
        kind = fits.BinTableHDU if array.dtype.names else fits.ImageHDU
        hdu = kind(array, name=name, ver=1)
        if unit:
            hdu.header["BUNIT"] = (unit, "physical units of the array values")
        if name == "SCI":
            hdu.header.extend(fits.Card(*card) for card in pointing)
        hdus.append(hdu)
    hdus.append(fits.BinTableHDU(asdf_table(), name="ASDF"))
    hdus.writeto(path, overwrite=True)
    return path
