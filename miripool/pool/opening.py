"""Images in DS9, which is started if there is need: one to look at, or several that blink."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InvalidInput
from ..samp import connect
from ..samp.ds9 import ensure_ds9
from ..samp.frames import blink
from .sending import send_images
from .sentfiles import SentFiles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .sending import Sendable, Sent

__all__ = ["open_images"]


def open_images(refs: Sequence[Sendable], *, home: Path | None, dataset: str | None = None) -> list[Sent]:
    """Show versions in DS9, each in a frame of its own. Two or more blink, at the same place, with the same limits.

    Parameters
    ----------
    refs : sequence of ProductRef
        The versions.
    home, dataset : object, keyword-only
        As for `miripool.pool.sending.send`.

    Returns
    -------
    list of Sent
        What DS9 has taken.

    Raises
    ------
    ProgramError
        If DS9 is not installed, there is no screen, it does not start, or does not load an image.
    InvalidInput, IntegrityError, DiskFull
        As for `miripool.pool.sending.send`.
    """
    if not refs:
        raise InvalidInput("there is nothing to open: no version was chosen")
    with connect() as connection:
        client = ensure_ds9(connection)
        return send_images(connection, client, SentFiles(home), refs, dataset, arrange=blink)
