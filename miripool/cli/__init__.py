"""The command line: `main` is the console script; commands parse and print, the work is done elsewhere."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

__all__ = ["main"]


_INTERRUPTED = 130
_NO_READER = 141
"""Exit codes that shells give to what SIGINT or SIGPIPE ended."""


def main() -> None:
    """Run the command line; one clear message and an exit code of its own for whatever goes wrong."""
    sys.excepthook = _show_uncaught
    with _quiet_interrupts():
        from ..errors import MiripoolError
        from .output import say
    try:
        _run()
    except MiripoolError as error:
        if os.environ.get("MIRIPOOL_DEBUG"):
            raise
        say(f"miripool: {error}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        from .app import saves_one_by_one

        stays = "; what was saved before is in the pool" if saves_one_by_one() else ""
        say(f"miripool: interrupted{stays}")
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        # The reader of stdout went away (`miripool ls … | head`): nothing more to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_NO_READER)
    except MemoryError:
        say("miripool: not enough memory for that; nothing was changed")
        sys.exit(1)
    except Exception as error:
        if os.environ.get("MIRIPOOL_DEBUG"):
            raise
        say(f"miripool: internal error, please report it: {type(error).__name__}: {error}")
        say("miripool: MIRIPOOL_DEBUG=1 shows where")
        sys.exit(1)


def _show_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show what nobody caught, but for what psycopg2 prints by itself where a server goes down during COPY.

    It meets a second error while it has the first, which it raises: that one is reported.
    """
    if kind is SystemError and type(error.__cause__).__module__.startswith("psycopg2"):
        return
    sys.__excepthook__(kind, error, trace)


@contextlib.contextmanager
def _quiet_interrupts() -> Iterator[None]:
    """Let Ctrl-C end the process without a word while modules are imported: nothing has begun.

    A KeyboardInterrupt there is a traceback, or whatever a library's C code makes of it.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _run() -> None:
    with _quiet_interrupts():
        from .app import app

    try:
        app()
    except SystemExit as ended:
        if ended.code == _INTERRUPTED:  # typer has caught the KeyboardInterrupt
            raise KeyboardInterrupt from None
        raise
    finally:
        sys.stdout.flush()
