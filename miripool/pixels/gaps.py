"""Gaps: what answers in SQL leave out, because the index has no rows of it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from ..index import pixels as rows
from ..pool.core import core_of
from ..pool.pixelrows import NOWHERE
from ..system.words import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..pool.core import HasCore

__all__ = ["notice_of_gaps", "spell_missing"]


def spell_missing(missing: Mapping[str, int], what: str) -> str:
    """Say how many versions lack something, and why.

    Parameters
    ----------
    missing : mapping of str to int
        How many versions for each reason.
    what : str
        What they have none of, such as ``no pixel rows``.

    Returns
    -------
    str
        ``2 versions have no pixel rows (1: …; 1: …)``.
    """
    number = sum(missing.values())
    reasons = "; ".join(f"{count}: {reason}" for reason, count in missing.items())
    return f"{counted(number, 'version')} {'has' if number == 1 else 'have'} {what} ({reasons})"


def notice_of_gaps(pool: HasCore) -> str | None:
    """Say what answers in SQL leave out; the index is caught up first.

    Parameters
    ----------
    pool : Pool or Core
        The pool.

    Returns
    -------
    str or None
        Versions without pixel rows by the reason, journal entries that this user may not take into the index, and what
        to do; None where the index has everything.
    """
    core = core_of(pool)
    position = core.catch_up()
    parts = []
    missing = rows.missing(core.catalog.database, core.pixel_rows.policy)
    if missing:
        command = f"miripool index pixels {shlex.quote(core.name)}"
        made = f"; `{command}` makes pending rows, `{command} --all-versions` all that can be made"
        parts.append(
            f"{spell_missing(missing, 'no pixel rows')}, so ramps, correctedramps and other views of pixel values, and "
            "counts from them, leave these versions out. The view missing_pixel_rows lists them"
            + ("" if set(missing) == {NOWHERE} else made)
        )
    journal = core.archive.journal
    if core.archive.storage.exists(journal.key(position.n + 1)):
        parts.append(
            f"the index ends at journal entry {position.n}, but the folder has later entries: they are added when a "
            "user who may write to the index opens the pool"
        )
    return f"pool {core.name}: {'. And '.join(parts)}" if parts else None
