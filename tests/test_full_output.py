"""Output that can't be written: one message and an exit code of its own, for every command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import homes
import pytest
from homes import write_image

from miripool import Pool
from miripool.errors import DiskFull

home = homes.home

FULL = Path("/dev/full")
needs_full_device = pytest.mark.skipif(not FULL.is_char_device(), reason="this machine has no /dev/full")


def run(*arguments: str, stderr: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    with FULL.open("r+") as full:
        command = [sys.executable, "-m", "miripool", *arguments]
        return subprocess.run(command, stdout=full, stderr=stderr, text=True, check=False, timeout=120)


@pytest.mark.slow
@needs_full_device
@pytest.mark.parametrize(
    "arguments",
    [
        ("ls", "jpl8", "--json"),
        ("show", "jpl8", "a"),
        ("ls", "jpl8", "--csv"),
        ("add", "jpl8", "{folder}/b_rate.fits"),
        ("pools", "--help"),
        ("--version",),
    ],
)
def test_a_full_output(pool: Pool, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    pool.save(write_image(tmp_path / "a_rate.fits"), name="a")
    write_image(tmp_path / "b_rate.fits", {"TARGNAME": "b"})
    done = run(*(word.format(folder=tmp_path) for word in arguments))
    assert done.returncode == DiskFull.exit_code
    told = [line for line in done.stderr.splitlines() if line.startswith("miripool: ")]
    assert told == [
        "miripool: no space left to write standard output: the output is incomplete; free some space and try again"
    ]
    assert done.stderr.splitlines()[-1] == told[0]


@needs_full_device
def test_output_and_words_are_both_full() -> None:
    assert run("--version", stderr=subprocess.STDOUT).returncode == DiskFull.exit_code
