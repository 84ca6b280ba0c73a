"""The command line: `main` is the console script; commands parse and print, the work is done elsewhere."""

from __future__ import annotations

import os
import sys

__all__ = ["main"]


_INTERRUPTED = 130
_NO_READER = 141
"""Exit codes that shells give to what SIGINT or SIGPIPE ended."""


def main() -> None:
    """Run the command line; one clear message and an exit code of its own for whatever goes wrong."""
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
        say("miripool: interrupted; what was saved before is in the pool")
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


def _run() -> None:
    from .app import app

    try:
        app()
    except SystemExit as ended:
        if ended.code == _INTERRUPTED:  # typer has caught the KeyboardInterrupt
            raise KeyboardInterrupt from None
        raise
    finally:
        sys.stdout.flush()
