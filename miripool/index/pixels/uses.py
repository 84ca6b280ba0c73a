"""Which versions have pixel rows, which have none yet, and which rows are no longer used."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from sqlalchemy import Text, and_, bindparam, case, cast, delete, exists, func, or_, select, text
from sqlalchemy.dialects import postgresql

from ...errors import ServerError
from ...model.kinds import KINDS, pixel_kinds
from ..schema import pixel_block, pixel_set, pixel_use, product, tag
from ..selection import GIVEN_SERIALS, array_text
from .blocks import partition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement

    from ..connection import Database
    from ..message import Message

__all__ = [
    "detectors",
    "leave_new_out",
    "leave_out",
    "leave_pending_out",
    "missing",
    "pending",
    "reasons",
    "release",
    "sweep",
    "unwanted",
]

_LOCK_SECONDS = 0.5
"""How long a drop waits for those who read; others who want to read wait behind it."""


_REASONS = select(pixel_use.c.serial, pixel_use.c.reason).where(pixel_use.c.serial == func.any(GIVEN_SERIALS))

_insert = postgresql.insert(pixel_use).from_select(
    ["serial", "reason"], select(func.unnest(GIVEN_SERIALS), cast(bindparam("reason"), Text))
)
_LEAVE_NEW_OUT = _insert
_LEAVE_OUT = _insert.on_conflict_do_update(
    index_elements=["serial"], set_={"set_id": None, "reason": _insert.excluded.reason}
).returning(pixel_use.c.serial)
_LEAVE_PENDING_OUT = _insert.on_conflict_do_nothing().returning(pixel_use.c.serial)


def _wanted(policy: str) -> ColumnElement[bool]:
    p = product.c
    living = and_(p.kind.in_(pixel_kinds()), p.removed.is_(None))
    if policy == "all":
        return living
    tagged = exists(select(tag.c.serial).where(tag.c.serial == p.serial))
    return and_(living, or_(p.head, tagged)) if policy == "tagged" else and_(living, text("false"))


def pending(database: Database, policy: str) -> list[int]:
    """List the versions that have no pixel rows yet and should.

    Parameters
    ----------
    database : Database
        The index.
    policy : {'all', 'tagged', 'none'}
        The pool's.

    Returns
    -------
    list of int
        Serials, in order.
    """
    p = product.c
    unused = ~exists(select(pixel_use.c.serial).where(pixel_use.c.serial == p.serial))
    with database.read() as connection:
        return list(connection.execute(select(p.serial).where(_wanted(policy), unused).order_by(p.serial)).scalars())


def detectors(database: Database) -> list[str]:
    """List the detectors of living versions with pixels.

    Parameters
    ----------
    database : Database
        The index.

    Returns
    -------
    list of str
        As headers have them; versions whose header names none count for nothing.
    """
    p = product.c
    living = and_(p.kind.in_(pixel_kinds()), p.removed.is_(None), p.detector.is_not(None))
    with database.read() as connection:
        return list(connection.execute(select(p.detector).where(living).distinct()).scalars())


def missing(database: Database, policy: str) -> dict[str, int]:
    """Count the living versions that have no pixel rows, by the reason.

    Parameters
    ----------
    database : Database
        The index.
    policy : {'all', 'tagged', 'none'}
        The pool's.

    Returns
    -------
    dict of str to int
        The most frequent first. The view `missing_pixel_rows` knows no policy: it gives one reason for what is not made
        yet and for what the policy does not want.
    """
    p, used = product.c, pixel_use.c
    by_itself = case((_wanted(policy), "not made yet"), else_=f"not wanted by the pool's policy, which is {policy!r}")
    reason = func.coalesce(used.reason, by_itself).label("reason")
    statement = (
        select(reason, func.count())
        .select_from(product.outerjoin(pixel_use, used.serial == p.serial))
        .where(p.kind.in_(pixel_kinds()), p.removed.is_(None), used.set_id.is_(None))
        .group_by(reason)
        .order_by(func.count().desc(), reason)
    )
    with database.read() as connection:
        return {row[0]: row[1] for row in connection.execute(statement)}


def unwanted(database: Database, policy: str, serials: Sequence[int]) -> list[int]:
    """Find the versions from which `release` would take their pixel rows again.

    Parameters
    ----------
    database : Database
        The index.
    policy : {'all', 'tagged', 'none'}
        The pool's.
    serials : sequence of int
        Versions.

    Returns
    -------
    list of int
        In order; versions of kinds without pixels are left out.
    """
    p = product.c
    statement = select(p.serial).where(
        p.kind.in_(pixel_kinds()), p.serial == func.any(GIVEN_SERIALS), _released(policy)
    )
    with database.read() as connection:
        return sorted(connection.execute(statement, {"serials": array_text(serials)}).scalars())


def leave_out(database: Database, serials: Sequence[int], reason: str) -> None:
    """Note why versions have no pixel rows; those they have are no longer theirs.

    Parameters
    ----------
    database : Database
        The index.
    serials : sequence of int
        The versions.
    reason : str
        For people.
    """
    if serials:
        database.ask(*database.written(_LEAVE_OUT, reason=reason, serials=array_text(serials)))


def leave_pending_out(database: Database, serials: Sequence[int], reason: str) -> None:
    """Note why those of some versions have no pixel rows of which nothing is known; the disk is not waited for.

    Should the server crash within the next second, the versions may be pending again.

    Parameters
    ----------
    database : Database
        The index.
    serials : sequence of int
        The versions.
    reason : str
        For people.
    """
    if serials:
        question, values = database.written(_LEAVE_PENDING_OUT, reason=reason, serials=array_text(serials))
        database.ask(f"SET LOCAL synchronous_commit TO off; {question}", values)


def leave_new_out(message: Message, serials: Sequence[int], reason: str) -> None:
    """Have a message note why versions that it adds have no pixel rows.

    Parameters
    ----------
    message : Message
        In the transaction that adds them.
    serials : sequence of int
        The versions.
    reason : str
        For people.
    """
    if serials:
        message.add_kept(_LEAVE_NEW_OUT, reason=reason, serials=array_text(serials))


def reasons(database: Database, serials: Sequence[int]) -> dict[int, str | None]:
    """Tell why versions have no pixel rows.

    Parameters
    ----------
    database : Database
        The index.
    serials : sequence of int
        The versions.

    Returns
    -------
    dict
        For each that is not pending the reason; None where it has rows.
    """
    return dict(database.ask(*database.written(_REASONS, serials=array_text(serials))))


def release(database: Database, policy: str) -> None:
    """Take their pixel rows from versions that are in the trash, and from those that the policy no longer wants.

    Parameters
    ----------
    database : Database
        The index.
    policy : {'all', 'tagged', 'none'}
        The pool's; under ``none`` and ``all`` only the trash counts: rows that were asked for stay.
    """
    gone = select(product.c.serial).where(_released(policy))
    with database.write() as connection:
        connection.execute(delete(pixel_use).where(pixel_use.c.serial.in_(gone)))


def _released(policy: str) -> ColumnElement[bool]:
    p = product.c
    gone: ColumnElement[bool] = p.removed.is_not(None)
    if policy == "tagged":
        gone = or_(gone, and_(~p.head, ~exists(select(tag.c.serial).where(tag.c.serial == p.serial))))
    return gone


def sweep(database: Database) -> int:
    """Drop the pixel sets that no version uses, and the blocks that hold no other.

    Parameters
    ----------
    database : Database
        The index.

    Returns
    -------
    int
        How many sets were dropped: the views no longer show their rows. A block that is being read for long stays for
        the next time, and one that holds other sets too until they are merged.
    """
    s = pixel_set.c
    used = exists(select(pixel_use.c.serial).where(pixel_use.c.set_id == s.set_id))
    with database.write() as connection:
        # Who loads a version of the same arrays holds its set.
        orphans = list(
            connection.execute(select(s.set_id).where(~used).with_for_update(skip_locked=True, of=pixel_set)).scalars()
        )
        gone = delete(pixel_set).where(s.set_id.in_(orphans), ~used).returning(s.set_id)
        dropped = len(connection.execute(gone).all()) if orphans else 0
    _drop_empty_blocks(database)
    return dropped


def _drop_empty_blocks(database: Database) -> None:
    b = pixel_block.c
    filled = exists(select(pixel_set.c.set_id).where(pixel_set.c.block_id == b.block_id))
    with database.read() as connection:
        empty = list(connection.execute(select(b.block_id, b.kind).where(~filled)))
    for block_id, kind in empty:
        views = (KINDS[kind].pixel_table, KINDS[kind].reference_table)
        names = [database.table(partition(view, block_id)) for view in views if view]
        with contextlib.suppress(ServerError), database.write() as connection:  # it is being read
            connection.execute(select(func.set_config("lock_timeout", f"{int(_LOCK_SECONDS * 1000)}ms", True)))
            for name in names:
                connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}".replace("%", "%%"))
            connection.execute(delete(pixel_block).where(b.block_id == block_id))
