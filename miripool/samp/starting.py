"""The hub that a program uses: the one that runs, or ours, which is started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ProgramError
from .lockfile import running_hub

if TYPE_CHECKING:
    from .lockfile import HubAddress

__all__ = ["ensure_hub"]

_START_SECONDS = 60.0


def ensure_hub() -> HubAddress:
    """Find the user's hub, or start one.

    Returns
    -------
    HubAddress
        Of a hub that answers.

    Raises
    ------
    ProgramError
        If it can't be started.
    InvalidInput, ReadOnly, FormatError
        If the lock file is not this user's.
    """
    address = running_hub()
    if address is not None:
        return address
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "miripool.samp.hub"],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_START_SECONDS,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ProgramError(f"the SAMP hub did not start within {_START_SECONDS:.0f} s") from None
    address = running_hub()
    if address is None:
        why = done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"]
        raise ProgramError(f"the SAMP hub did not start: {why[-1]}")
    return address
