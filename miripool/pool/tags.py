"""Tagging: labels put on versions and taken off, and what that moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import Conflict, InvalidInput, TagNotFound
from ..model.keywords import suggest
from ..model.names import check_label, shown
from ..store.journal import Tag, Untag
from . import contexts
from .decision import one_of_each_track

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ..index import Position, TagEvent
    from ..store.journal import Action, Entry
    from .core import Core

__all__ = ["check_tag", "events_since", "exists", "no_such_tag", "put", "take_off"]

_SHOWN = 5
"""Versions that an error lists."""


def check_tag(label: object) -> None:
    """Refuse what can't be a tag.

    Parameters
    ----------
    label : object
        What was given; None is no tag.

    Raises
    ------
    InvalidName
        If the text can't be one.
    InvalidInput
        If it is no text.
    """
    if isinstance(label, str):
        check_label(label)
    elif label is not None:
        raise InvalidInput(
            f"a tag must be a str, not a {type(label).__name__}: save(…, tag='using cal v1'), tag(refs, 'using cal v1')"
        )


def exists(core: Core, label: str) -> bool:
    """Tell whether a label marks a living version.

    Parameters
    ----------
    core : Core
        The pool.
    label : str
        The tag.

    Returns
    -------
    bool
        True if so.
    """
    core.catch_up()
    return core.catalog.has_tag(label)


def put(core: Core, serials: Sequence[int], label: str, *, keep: bool = False) -> list[TagEvent]:
    """Put a label on versions; in each track it leaves the version that it marked before.

    Parameters
    ----------
    core : Core
        The pool; its index is caught up.
    serials : sequence of int
        At most one version of each track; a context stands for itself and all that it refers to.
    label : str
        The tag.
    keep : bool, keyword-only
        Refuse to take the label from another version.

    Returns
    -------
    list of TagEvent
        One for each version that is newly marked; `previous` is the version that the label left for it.

    Raises
    ------
    Conflict
        If the label would move, with `keep`.
    """
    finder = core.finder

    def decide(_: Position) -> Sequence[Action]:
        rows = contexts.reached(core.archive, core.catalog, core.catalog.rows(serials))
        for row in rows:
            finder.living(row)
        one_of_each_track(rows)
        new = [row for row in rows if label not in row.tags]
        if keep and new:
            _refuse_moves(core, label, {(row.kind, row.name) for row in new})
        return [Tag(label, tuple(row.serial for row in new))] if new else []

    return _events(core, core.committer.commit(decide), label)


def take_off(core: Core, label: str, serials: Sequence[int] | None = None) -> list[TagEvent]:
    """Take a label off versions.

    Parameters
    ----------
    core : Core
        The pool; its index is caught up.
    label : str
        The tag.
    serials : sequence of int, optional
        All that it marks unless given; those without it are passed over.

    Returns
    -------
    list of TagEvent
        One for each version that lost it.

    Raises
    ------
    TagNotFound
        If there is no such tag.
    """
    wanted = None if serials is None else set(serials)

    def decide(_: Position) -> Sequence[Action]:
        marked = [row.serial for row in core.catalog.select(tag=label)]
        if not marked:
            raise no_such_tag(core, label)
        gone = tuple(serial for serial in marked if wanted is None or serial in wanted)
        return [Untag(label, gone)] if gone else []

    return _events(core, core.committer.commit(decide), label)


def put_back(core: Core, label: str, moves: Sequence[tuple[int | None, int | None]]) -> list[TagEvent]:
    """Undo moves of a label: all of them, or none if another moved it since.

    Parameters
    ----------
    core : Core
        The pool.
    label : str
        The tag.
    moves : sequence of (int or None, int or None)
        Serials of the version that it marked before and after each move; None for no version.

    Returns
    -------
    list of TagEvent
        One for each product in which it moved back.

    Raises
    ------
    Conflict
        If the label does not stand where the moves left it.
    """

    def decide(_: Position) -> Sequence[Action]:
        marked = {(row.kind, row.name): row for row in core.catalog.select(tag=label)}
        named = {serial for move in moves for serial in move if serial is not None}
        rows = {row.serial: row for row in core.catalog.rows(sorted(named))}
        for before, after in moves:
            row = rows[after if after is not None else before or 0]
            now = marked.get((row.kind, row.name))
            if (None if now is None else now.serial) != after:
                where = "marks no version" if now is None else f"marks version {now.version}"
                raise Conflict(
                    f"the tag {label!r} was moved meanwhile: of {row.kind}/{row.name} it {where} now; nothing is undone"
                )
        back = tuple(before for before, _ in moves if before is not None)
        gone = tuple(after for before, after in moves if before is None and after is not None)
        for serial in back:
            core.finder.living(rows[serial])
        return [*([Tag(label, back)] if back else []), *([Untag(label, gone)] if gone else [])]

    core.catch_up()
    return _events(core, core.committer.commit(decide), label)


def no_such_tag(core: Core, label: str) -> TagNotFound:
    """Make the error that says that a label marks nothing, with the labels that resemble it.

    Parameters
    ----------
    core : Core
        The pool; its index is caught up.
    label : str
        What was asked for.

    Returns
    -------
    TagNotFound
        To be raised.
    """
    first = _first_use_since(core, label)
    if first is not None:
        return TagNotFound(
            f"no version of pool {core} had the tag {shown(label)} yet: it was first used on "
            f"{first:%Y-%m-%d %H:%M:%S} UTC"
        )
    near = suggest(label, [t.label for t in core.catalog.tags()])
    hint = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    return TagNotFound(f"no version of pool {core} has the tag {shown(label)}{hint}")


def _first_use_since(core: Core, label: str) -> datetime | None:
    """Tell when a label was first used, if that was after the moment of a pool as it was."""
    then = core.moment
    if then is None:
        return None
    first = next((tag.first for tag in core.present.catalog.tags() if tag.label == label), None)
    return first if first is not None and (then.time is None or first > then.time) else None


def _refuse_moves(core: Core, label: str, tracks: set[tuple[str, str]]) -> None:
    marked = [row for row in core.catalog.select(tag=label) if (row.kind, row.name) in tracks]
    if marked:
        shown = ", ".join(f"{row.kind}/{row.name}@{row.version}" for row in marked[:_SHOWN])
        more = f" and {len(marked) - _SHOWN} more" if len(marked) > _SHOWN else ""
        raise Conflict(f"the tag {label!r} already marks {shown}{more} and was not moved; leave out keep to move it")


def events_since(core: Core, label: str, first: int) -> list[TagEvent]:
    """List what entries from one on did to a label.

    Parameters
    ----------
    core : Core
        The pool.
    label : str
        The tag.
    first : int
        Number of the first entry that counts.

    Returns
    -------
    list of TagEvent
        The oldest first.
    """
    core.catch_up()
    limit = 100
    while True:
        events = core.catalog.tag_events(label=label, limit=limit)
        if len(events) < limit or events[0].entry < first:
            return [event for event in events if event.entry >= first]
        limit *= 4


def _events(core: Core, entry: Entry | None, label: str) -> list[TagEvent]:
    """Read what an entry did to a label; others may have written entries since."""
    return [] if entry is None else [event for event in events_since(core, label, entry.n) if event.entry == entry.n]
