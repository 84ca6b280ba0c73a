"""The most memory that a process has held, counted by the kernel, and by nothing but this process.

Not by `ru_maxrss` on Linux: a process that another one starts begins there with the peak of that other one.
"""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_memory() -> int:
    """Give the most memory that this process has had since it runs its program, in bytes."""
    if sys.platform.startswith("linux"):
        found = re.search(r"^VmHWM:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
        if found is None:
            raise RuntimeError(f"{_STATUS} has no line VmHWM")
        return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
