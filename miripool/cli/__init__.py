"""The command line: `main` is the console script; commands parse and print, the work is done elsewhere."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, TracebackType

__all__ = ["main"]


_INTERRUPTED = 130
_NO_READER = 141
"""Exit codes that shells give to what SIGINT or SIGPIPE ended."""

_AGAIN = 0.02
"""Seconds until Ctrl-C is tried again that came while a module was imported."""

_NEW_OBJECTS = 50_000
"""Objects that are made before Python looks for cycles among them. Modules make many objects and no garbage: with
Python's own 700, a sixth of the time of `miripool ls` went into looking."""


def main() -> None:
    """Run the command line; one clear message and an exit code of its own for whatever goes wrong."""
    sys.excepthook = _show_uncaught
    gc.set_threshold(_NEW_OBJECTS)
    with _quiet_interrupts():
        from ..errors import MiripoolError
    try:
        _run()
    except MiripoolError as error:
        if os.environ.get("MIRIPOOL_DEBUG"):
            raise
        _end(error.exit_code, f"miripool: {error}")
    except KeyboardInterrupt:
        from .app import saves_one_by_one

        stays = "; the versions saved before stay in the pool" if saves_one_by_one() else ""
        _end(_INTERRUPTED, f"miripool: interrupted{stays}")
    except BrokenPipeError:
        # The reader of stdout went away (`miripool ls … | head`): nothing more to say, not even at exit.
        _end(_NO_READER)
    except MemoryError:
        _end(1, "miripool: not enough memory; nothing was changed")
    except Exception as error:
        if os.environ.get("MIRIPOOL_DEBUG"):
            raise
        _end(
            1,
            f"miripool: internal error, please report it: {type(error).__name__}: {error}",
            "miripool: set MIRIPOOL_DEBUG=1 to see the traceback",
        )


def _end(code: int, *words: str) -> NoReturn:
    """End the process with an exit code and a message, if standard error can still be written.

    Output that stdout or stderr refuses is dropped: Python would try again at exit, and end with a different code.
    """
    from .output import report

    def speak() -> None:
        for line in words:
            report(line)

    for write, stream in ((speak, sys.stderr), (sys.stdout.flush, sys.stdout)):
        try:
            write()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(code)


def _show_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show uncaught errors, except the SystemError that psycopg2 prints if the server goes down during COPY.

    psycopg2 meets a second error while it handles the first. It raises the first, which is reported.
    """
    if kind is SystemError and type(error.__cause__).__module__.startswith("psycopg2"):
        return
    sys.__excepthook__(kind, error, trace)


@contextlib.contextmanager
def _quiet_interrupts() -> Iterator[None]:
    """Let Ctrl-C end the process without a word while modules are imported: nothing has begun.

    A KeyboardInterrupt there is a traceback, or whatever a library's C code makes of it.
    """
    if not _is_interruptible():
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _is_interruptible() -> bool:
    """Whether Ctrl-C is Python's own, in this thread; it is ignored in what a shell script starts with ``&``."""
    handler = signal.getsignal(signal.SIGINT)
    return handler is signal.default_int_handler and threading.current_thread() is threading.main_thread()


def _interrupt_between_imports(_number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, but not while a module is imported: wait until it is whole.

    NumPy's compiled modules, for one, drop what is raised while they are loaded, and Ctrl-C would be lost.
    """
    while frame is not None:
        if frame.f_code.co_name == "_find_and_load" and frame.f_globals.get("__name__") == "importlib._bootstrap":
            main = threading.main_thread().ident or 0
            again = threading.Timer(_AGAIN, signal.pthread_kill, (main, signal.SIGINT))
            again.daemon = True
            again.start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def _run() -> None:
    from .deferred import defer

    defer("numpy")
    with _quiet_interrupts():
        from .app import app
        from .output import writing_stdout

    if _is_interruptible():
        signal.signal(signal.SIGINT, _interrupt_between_imports)
    try:
        app(prog_name="miripool")
    except SystemExit as ended:
        if ended.code == _INTERRUPTED:  # typer has caught the KeyboardInterrupt
            raise KeyboardInterrupt from None
        raise
    except OSError as error:
        if error.filename is not None or error.errno != errno.ENOSPC:
            raise
        with writing_stdout():  # typer's, of a help: all else that writes names its file
            raise
    finally:
        with writing_stdout():
            sys.stdout.flush()
