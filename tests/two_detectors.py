"""Small exposures of two detectors in files: raw, and the ramp and rateints of two calibrations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from miripool import Pool

X, Y, COLUMNS, ROWS = 5, 100, 8, 6
NINTS, NGROUPS = 2, 3
EXPOSURES = {"first_mirimage": "MIRIMAGE", "second_mirimage": "MIRIMAGE", "third_mirifulong": "MIRIFULONG"}
CALIBRATIONS = ("v1", "v2")
MODELS = {"uncal": "Level1bModel", "ramp": "RampModel", "rateints": "CubeModel"}


@dataclass(frozen=True)
class Files:
    """Where the files are."""

    folder: Path

    def path(self, name: str, kind: str, calibration: str = "v1") -> Path:
        return self.folder / ("uncal" if kind == "uncal" else calibration) / f"{name}_{kind}.fits"

    def array(self, name: str, kind: str, dataset: str, calibration: str = "v1") -> Any:
        """By astropy, as the file has it."""
        with fits.open(self.path(name, kind, calibration)) as hdus:
            return np.asarray(hdus[dataset].data)

    def save(self, pool: Pool, *, names: tuple[str, ...] = tuple(EXPOSURES)) -> None:
        for name in names:
            pool.save(self.path(name, "uncal"))
            for label in CALIBRATIONS:
                for kind in ("ramp", "rateints"):
                    pool.save(self.path(name, kind, label), tag=label)


def write(folder: Path) -> Files:
    """Write all files; no value occurs twice, and some are NaN."""
    files = Files(folder)
    for label in ("uncal", *CALIBRATIONS):
        (folder / label).mkdir(parents=True)
    random = np.random.default_rng(1)
    for number, (name, detector) in enumerate(EXPOSURES.items()):
        for step, label in enumerate(CALIBRATIONS):
            offset = 1000 * number + 100 * step
            _write(files.path(name, "ramp", label), number, detector, label, _ramp(random, offset))
            _write(files.path(name, "rateints", label), number, detector, label, _rates(random, offset))
        raw = random.integers(0, 65536, (NINTS, NGROUPS, ROWS, COLUMNS)).astype("u2")
        refout = random.integers(0, 65536, (NINTS, NGROUPS, ROWS, COLUMNS // 4)).astype("u2")
        _write(files.path(name, "uncal"), number, detector, None, {"SCI": raw, "REFOUT": refout})
    return files


def _ramp(random: np.random.Generator, offset: float) -> dict[str, Any]:
    shape = (NINTS, NGROUPS, ROWS, COLUMNS)
    sci = (offset + random.normal(size=shape)).astype("f4")
    sci[0, 1, 2, 3] = np.nan
    flags = random.choice(np.array([0, 0, 0, 1, 2, 4], "u1"), shape)
    pixeldq = random.choice(np.array([0, 1, 1 << 31], "u4"), (ROWS, COLUMNS))
    return {"SCI": sci, "PIXELDQ": pixeldq, "GROUPDQ": flags, "ERR": np.abs(sci)}


def _rates(random: np.random.Generator, offset: float) -> dict[str, Any]:
    sci = (offset + random.normal(size=(NINTS, ROWS, COLUMNS))).astype("f4")
    sci[0, 2, 3] = np.nan
    sci[:, 4, 4] = np.nan
    return {"SCI": sci, "ERR": np.abs(sci), "DQ": random.choice(np.array([0, 1], "u4"), sci.shape)}


def _write(path: Path, number: int, detector: str, label: str | None, arrays: dict[str, Any]) -> None:
    kind = path.stem.rpartition("_")[2]
    primary = fits.PrimaryHDU()
    primary.header.update(
        {"DATAMODL": MODELS[kind], "INSTRUME": "MIRI", "DETECTOR": detector, "SUBARRAY": "GENERIC", "NINTS": NINTS}
        | {"SUBSTRT1": X, "SUBSTRT2": Y, "SUBSIZE1": COLUMNS, "SUBSIZE2": ROWS, "NGROUPS": NGROUPS}
        | {"DATE-OBS": f"2026-01-0{number + 1}", "TIME-OBS": "01:02:03.5", "OBS_ID": str(number)}
    )
    if label is not None:
        primary.header.update(
            {"CRDS_CTX": f"jwst_{label}.pmap", "CAL_VER": "1.0", "R_GAIN": f"crds://jwst_miri_gain_{label}.fits"}
            | {"R_DARK": "N/A", "R_MASK": "my mask.fits", "S_DARK": "COMPLETE"}
        )
    hdus = fits.HDUList([primary, *(fits.ImageHDU(data, name=name) for name, data in arrays.items())])
    if kind == "rateints":
        hdus["SCI"].header["BUNIT"] = "DN/s"
    hdus.writeto(path)
