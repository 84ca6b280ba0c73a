"""Moments in the life of a pool, and how the same statements ask what was so then."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

__all__ = ["THEN", "Moment", "then_reader"]

THEN = ("product", "tag", "tag_event", "link", "made_from")
"""Tables of which a view ``…_then`` gives what they were (migration 0017). The others only ever get further rows, which
are reached by way of these.
"""


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment in the life of a pool: after one entry of its journal, and before the next.

    Attributes
    ----------
    entry : int
        Number of that entry; -1 before the first.
    digest : str or None
        Digest of that entry; None before the first.
    next_serial : int
        Greater than every serial used until then.
    time : datetime or None
        Latest time of that entry and of all before it, aware UTC; None before the first.
    """

    entry: int
    digest: str | None
    next_serial: int
    time: datetime | None

    @property
    def settings(self) -> tuple[tuple[str, str], ...]:
        """The settings of a connection by which the views know it."""
        time = "-infinity" if self.time is None else self.time.isoformat()
        return (
            ("miripool.entry", str(self.entry)),
            ("miripool.next_serial", str(self.next_serial)),
            ("miripool.time", time),
        )


def then_reader(schema: str, quoted: str) -> Callable[[str], str]:
    """Give what turns a statement on the tables of a pool into the one on the views of what they were.

    Parameters
    ----------
    schema, quoted : str
        Name of the schema, as it is and in double quotes: SQLAlchemy leaves the quotes out where it can.

    Returns
    -------
    callable
        Takes the text of a statement, in which each name of a table follows that of the schema.
    """
    # In statements with values a percent sign is written twice.
    spelled = {name.replace("%", sign) for name in (schema, quoted) for sign in ("%", "%%")}
    either = "|".join(map(re.escape, sorted(spelled, key=len, reverse=True)))
    named = re.compile(rf'(?<![\w"])({either})\.("?)({"|".join(THEN)})\2(?![\w"])')
    return lambda statement: named.sub(r"\1.\2\3_then\2", statement)
