"""Gaps: what answers in SQL leave out, because the index has no rows of it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from ..index import pixels as rows
from ..pool.core import core_of
from ..pool.pixelrows import NOWHERE
from ..system.words import counted

if TYPE_CHECKING:
    from ..pool.core import HasCore

__all__ = ["notice_of_gaps"]


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
        number = sum(missing.values())
        have = f"{counted(number, 'version')} {'has' if number == 1 else 'have'}"
        reasons = "; ".join(f"{count}: {reason}" for reason, count in missing.items())
        command = f"miripool index pixels {shlex.quote(core.name)}"
        made = f"; `{command}` makes pending rows, `{command} --all-versions` all that can be made"
        parts.append(
            f"{have} no pixel rows ({reasons}), so ramps, correctedramps and other views of pixel values, and counts "
            f"from them, leave these versions out. The view missing_pixel_rows lists them"
            + ("" if set(missing) == {NOWHERE} else made)
        )
    journal = core.archive.journal
    if core.archive.storage.exists(journal.key(position.n + 1)):
        parts.append(
            f"the index ends at journal entry {position.n}, but the folder has later entries: they are added when a "
            "user who may write to the index opens the pool"
        )
    return f"pool {core.name}: {'. And '.join(parts)}" if parts else None
