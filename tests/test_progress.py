"""Progress on a terminal: how much is done, the time that is left, and nothing of it once all is done."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from homes import call, home, write_image
from screens import watch

from miripool import Pool
from miripool.simulate import Calibration, simulate_exposure, write_references

__all__ = ["home"]


def files(folder: Path, number: int) -> Path:
    folder.mkdir()
    random = np.random.default_rng(1)
    for i in range(number):
        # Many arrays in few bytes: some hundredths of a second for each file, so that there is something to wait for.
        path = write_image(folder / f"image {i}_rate.fits", data=random.normal(size=(90, 100)).astype("f4"))
        with fits.open(path, mode="append") as hdus:
            hdus.extend(fits.ImageHDU(random.normal(size=(90, 100)).astype("f4"), name=f"E{n}") for n in range(15))
    return folder


@pytest.mark.slow
def test_adding(pool: Pool, tmp_path: Path) -> None:
    screens, code = watch("add", "jpl8", files(tmp_path / "some files", 12))
    assert code == 0
    bars = [line for shown in screens for line in shown if line.startswith("adding 12 files")]
    assert any(re.search(r"\d\.\d/\d\.\d MB", line) for line in bars)
    assert any(re.search(r" 0:00:\d\d left$", line) for line in bars), "no time left"
    last = screens[-1]
    assert not any(line.startswith("adding 12") for line in last)
    assert sum(line.startswith("added") for line in last) == 12
    assert last[-1].startswith("12 added, 0 new versions, 0 unchanged, 0 failed")
    # No bar stands still at its end while something else goes on.
    full = [shown for shown in screens if any(re.search(r"(\d\.\d)/\1 MB", line) for line in shown)]
    assert len(full) <= 2


@pytest.mark.slow
def test_verifying(pool: Pool, tmp_path: Path) -> None:
    call("add", "jpl8", files(tmp_path / "files", 12))
    screens, code = watch("verify", "jpl8")
    assert code == 0
    assert re.match(r"\d+ entries, 24 versions, contexts included,.*: whole$", screens[-1][0])
    assert not any(line.startswith("blobs ") for line in screens[-1])


@pytest.mark.slow
def test_nothing_where_there_is_no_terminal(pool: Pool, tmp_path: Path) -> None:
    folder = files(tmp_path / "files", 3)
    done = subprocess.run(
        [sys.executable, "-m", "miripool", "add", "jpl8", folder], capture_output=True, text=True, check=True
    )
    assert len(done.stdout.splitlines()) == 3
    assert done.stderr.splitlines()[0].startswith("3 added")
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.jwst
def test_reprocessing(pool: Pool, tmp_path: Path) -> None:
    exposure = simulate_exposure("bench", subarray="SUB64", nints=1, ngroups=5)
    references = tmp_path / "references"
    references.mkdir()
    write_references(exposure, references, Calibration("v1"))
    path = exposure.write_jpl(tmp_path)
    shutil.copy(path, tmp_path / "other.fits")
    call("add", "jpl8", path, "--name", "first [of two]")
    call("add", "jpl8", tmp_path / "other.fits", "--name", "second", "--force")
    screens, code = watch("reprocess", "jpl8", "--where", "1", "--override", references)
    assert code == 0, screens[-1]
    shown = [line for lines in screens for line in lines]
    assert any(re.match(r"exposures .* 0/2 0:00:\d\d -:--:-- left$", line) for line in shown)
    assert any(re.match(r"exposures .* 1/2 0:00:\d\d 0:00:\d\d left$", line) for line in shown), "no time left"
    assert any(re.match(r"first \[of two\]: \w+ +0:00:\d\d$", line) for line in shown), "no step"
    # A finished exposure has no line, and no clock that runs on.
    assert not any(
        "1/2" in "".join(lines) and any(line.startswith("first [of two]:") for line in lines) for lines in screens
    )
    last = screens[-1]
    assert sum(line.startswith("made") for line in last) >= 4
    assert last[-1] == "2 exposures reprocessed, 0 failed"
    assert not any(line.startswith("exposures ") for line in last)
