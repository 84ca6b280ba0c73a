"""The memory of a process is told of that process, whatever the one that started it has held."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TELL = "import sys; sys.path.insert(0, sys.argv[1]); from peaks import peak_memory; {}print(peak_memory())"


@pytest.mark.slow
@pytest.mark.parametrize(("held", "least", "most"), [("", 1e6, 60e6), ("bytearray(300_000_000); ", 300e6, 360e6)])
def test_a_process_of_a_large_one(held: str, least: float, most: float) -> None:
    large = bytearray(b"x") * 500_000_000
    command = [sys.executable, "-c", TELL.format(held), Path(__file__).parent]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert len(large) == 500_000_000
    assert least <= int(done.stdout) <= most
