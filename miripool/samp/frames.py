"""Frames of DS9: each shows an image. They are shown alone, side by side, or in turn."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import ProgramError
from ..system.lockfile import hold_lock_file
from ..system.oserrors import storage_error
from .ds9 import ask, order
from .lockfile import lock_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .connection import Client, Connection

__all__ = ["blink", "load_image", "only_sender", "tile"]

_OTHERS_SECONDS = 300.0
"""To wait for another command of this user that sends to DS9 at this moment."""


@contextlib.contextmanager
def only_sender() -> Iterator[None]:
    """Keep this user's other commands off DS9 for a while: all orders go to the frame that was made last.

    Raises
    ------
    ProgramError
        If another command sends all the time.
    StorageError, ReadOnly
        If the lock beside the hub's lock file can't be made.
    """
    hub = lock_path()
    path = hub.with_name(f"{hub.name}.miripool")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(hold_lock_file(path, seconds=_OTHERS_SECONDS))
        except TimeoutError as error:
            raise ProgramError(f"another command has been sending for {_OTHERS_SECONDS:.0f} s; end it") from error
        except OSError as error:
            raise storage_error(error, path) from error
        yield


def load_image(connection: Connection, client: Client, parameters: Mapping[str, str], *, seconds: float) -> str:
    """Load an image into a new frame, with limits by zscale, fitted to the window; a cube's window opens.

    The frame is shown alone, and frames blink no more.

    Parameters
    ----------
    connection, client : object
        As for `ask`.
    parameters : mapping
        Those of the message ``image.load.fits``.
    seconds : float, keyword-only
        To wait for the image.

    Returns
    -------
    str
        The frame's number.

    Raises
    ------
    ProgramError
        If it does not answer, or has not loaded the image.
    """
    _end_blink(connection, client)
    connection.call(client, "image.load.fits", parameters, seconds=seconds)
    order(connection, client, "single")  # DS9 shows its frames side by side whenever it makes a second one
    _check_shown(connection, client, urlsplit(parameters["url"]).path)
    order(connection, client, "zscale")
    _fit(connection, client)
    if _is_cube(connection, client):
        order(connection, client, "cube open")
    return ask(connection, client, "frame")


def _end_blink(connection: Connection, client: Client) -> None:
    """Undo `blink`: under its locks a new frame would have the limits 1 to 100, and give its own to all others."""
    if ask(connection, client, "blink") == "yes":
        order(connection, client, "single")
    if ask(connection, client, "lock scalelimits") != "yes":
        return
    order(connection, client, "lock scalelimits no")
    if ask(connection, client, "lock frame") != "image":
        return
    order(connection, client, "lock frame none")
    order(connection, client, "lock slice none")
    blinked = ask(connection, client, "frame active").split()
    order(connection, client, "frame show all")
    for frame in ask(connection, client, "frame all").split():
        if frame not in blinked:  # the locks have changed it too
            for words in (f"frame {frame}", "zscale", "zoom to fit"):
                order(connection, client, words)


def _check_shown(connection: Connection, client: Client, path: str) -> None:
    """Make sure that DS9 has loaded a file: it answers that all is well also if it has not."""
    shown, size = ask(connection, client, "file"), ask(connection, client, "fits size")
    if shown.partition("[")[0] != path or size in ("", "0 0"):
        raise ProgramError(f"{client.name} could not load {path}; look at its window for the reason")


def _fit(connection: Connection, client: Client) -> None:
    """Fit the current frame to the window, unless the user has locked its place to that of others."""
    if ask(connection, client, "lock frame") == "none":
        order(connection, client, "zoom to fit")


def _is_cube(connection: Connection, client: Client) -> bool:
    return ask(connection, client, "fits depth") not in ("", "0", "1")


def _show_only(connection: Connection, client: Client, frames: Sequence[str]) -> None:
    for other in ask(connection, client, "frame all").split():
        order(connection, client, f"frame {'show' if other in frames else 'hide'} {other}")


def tile(connection: Connection, client: Client, frames: Sequence[str]) -> None:
    """Show some frames side by side, each fitted to its tile. Others are hidden.

    Parameters
    ----------
    connection, client : object
        As for `ask`.
    frames : sequence of str
        Their numbers, as `load_image` gives them.

    Raises
    ------
    ProgramError
        If it does not answer.
    """
    _show_only(connection, client, frames)
    order(connection, client, "tile yes")
    for frame in reversed(frames):  # the first is the current one afterwards
        order(connection, client, f"frame {frame}")
        _fit(connection, client)


def blink(connection: Connection, client: Client, frames: Sequence[str]) -> None:
    """Show some frames in turn, at the same place, with the same limits. Others are hidden.

    Parameters
    ----------
    connection, client, frames : object
        As for `tile`.

    Raises
    ------
    ProgramError
        If it does not answer.
    """
    _show_only(connection, client, frames)
    for words in (
        "single",  # to be fitted to the whole window
        f"frame {frames[0]}",
        "zscale",
        "zoom to fit",
        "match frame image",
        "lock frame image",
        "match scalelimits",
        "lock scalelimits yes",
        "lock slice image",
        "blink yes",
    ):
        order(connection, client, words)
