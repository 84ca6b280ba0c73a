"""HDF5 library: h5py and its filters, loaded when they are first needed, and then whole."""

from __future__ import annotations

import contextlib
import functools
import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["load_hdf5"]


@functools.cache
def load_hdf5() -> None:
    """Import h5py and register the filters; Ctrl-C waits until that is done.

    A module that is interrupted while it is imported is left half made, and h5py can't be imported twice.
    """
    with _interrupts_wait():
        import h5py  # noqa: F401
        import hdf5plugin  # noqa: F401


@contextlib.contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Put SIGINT off; Python gives it to the main thread only."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield
        return
    came = False

    def note(*_: Any) -> None:
        nonlocal came
        came = True

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            signal.raise_signal(signal.SIGINT)
