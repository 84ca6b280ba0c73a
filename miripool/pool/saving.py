"""Saving: from a file, datamodel or product to a version in the pool, or to the version it already is."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from ..errors import InvalidInput, MiripoolError
from ..index import ProductRow
from ..store.journal import Action, Tag
from .decision import Decision
from .prepared import Prepared, from_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ..index import Catalog, Position
    from ..model.product import Origin
    from ..store.archive import Archive
    from ..store.journal import Entry
    from .commit import Committer
    from .core import Core
    from .decision import Wanted

__all__ = ["Saved", "save_each", "save_known", "save_together", "tell_unchanged"]


@dataclass(frozen=True, slots=True)
class Saved:
    """What a save came to.

    Attributes
    ----------
    row : ProductRow
        The version.
    status : {'new', 'version', 'unchanged'}
        First of its track; a further one; one that was there.
    stored_bytes : int
        Bytes this save added to the pool.
    notice : str or None
        What the user should know.
    trashed : int or None
        Number of a version in the trash that has the same data as the one that was made.
    is_noted : bool
        Whether the index knows that it gets no pixel rows, as it was asked to note.
    """

    row: ProductRow
    status: Literal["new", "version", "unchanged"]
    stored_bytes: int
    notice: str | None = None
    trashed: int | None = None
    is_noted: bool = False


def save_known(
    archive: Archive,
    catalog: Catalog,
    committer: Committer,
    origin: Origin | None,
    track: tuple[str, str],
    *,
    tag: str | None = None,
) -> Saved | None:
    """Find the living version that was saved from the very same file, so that its arrays need not be read; tag it.

    Parameters
    ----------
    archive, catalog, committer : Archive, Catalog, Committer
        The pool's, caught up.
    origin : Origin or None
        The file; None for what does not come from one.
    track : (str, str)
        Kind and name.
    tag : str, keyword-only, optional
        Label for it.

    Returns
    -------
    Saved or None
        The newest such version; None if there is none, or if it is damaged and the file can mend it.
    """
    rows = [] if origin is None else catalog.living([track[1]])
    found = from_file(rows, origin, track)
    if found is None or not archive.is_whole(found.manifest):
        return None
    if tag is not None and tag not in found.tags:

        def decide(_: Position) -> Sequence[Action]:
            nonlocal found
            found = from_file(catalog.living([track[1]]), origin, track)
            return [] if found is None or tag in found.tags else [Tag(tag, (found.serial,))]

        committer.commit(decide)
        if found is None:
            return None
        rows = catalog.living([track[1]])
        found = next((row for row in rows if row.serial == found.serial), found)
    return Saved(found, "unchanged", 0, tell_unchanged(rows, found, same_file=True))


def save_together(
    archive: Archive,
    catalog: Catalog,
    committer: Committer,
    prepared: Sequence[Prepared],
    *,
    tag: str | None = None,
    force: bool = False,
    reach: Callable[[Sequence[int]], Sequence[ProductRow]] | None = None,
    without_pixels: str | None = None,
) -> list[Saved]:
    """Save products in one journal entry: all of them, or none.

    Parameters
    ----------
    archive, catalog, committer : Archive, Catalog, Committer
        The pool's.
    prepared : sequence of Prepared
        Of different tracks.
    tag : str, keyword-only, optional
        Label for all of them, the unchanged ones too.
    force : bool, keyword-only
        Make a version even of what is there already.
    reach : callable, keyword-only, optional
        Gives the versions that versions refer to, directly or by others: the tag marks what contexts refer to, too.
    without_pixels : str, keyword-only, optional
        Why the new versions get no pixel rows, for the index to note.

    Returns
    -------
    list of Saved
        In the order given.

    Raises
    ------
    Conflict
        If a name belongs to another exposure.
    InvalidInput
        If the tag would mark two versions of a track.
    ServerError
        If the server went away after the entry was written: the products are saved then, and the message says so.
    """
    if len({p.track for p in prepared}) < len(prepared):
        raise InvalidInput("two products of the same kind and name can't be saved together")
    with contextlib.ExitStack() as notes:
        decision = Decision(
            archive, catalog, prepared, notes, tag=tag, force=force, reach=reach, without_pixels=without_pixels
        )
        entry = committer.commit(decision.decide, look=decision.look, is_ready=decision.is_ready, known=decision.known)
    try:
        reports = _reports(decision, prepared, entry, partial(_rows, catalog, committer, committer.saved))
        is_noted = without_pixels is not None
        return [replace(one, is_noted=is_noted and one.row.serial in committer.saved) for one in reports.values()]
    except MiripoolError as error:
        if entry is None:
            raise
        raise _late(error, entry) from error


def save_each(
    core: Core, wanted: Sequence[Wanted], *, tag: str | None = None, force: bool = False
) -> list[Saved | Exception]:
    """Save products in one journal entry; one that can't be saved does not stop the others.

    Parameters
    ----------
    core : Core
        The pool.
    wanted : sequence of Prepared or ProductRow
        Products, and versions that files were found to be; of different tracks.
    tag, force : object, keyword-only
        As for `save_together`.

    Returns
    -------
    list of Saved or Exception
        In the order given: the version, or why there is none; ArraysElsewhere where the file is to be read again.

    Raises
    ------
    MiripoolError
        If no entry could be written: none is saved.
    """
    with contextlib.ExitStack() as notes:
        decision = Decision(core.archive, core.catalog, wanted, notes, tag=tag, force=force, each=True)
        committer = core.committer
        entry = committer.commit(decision.decide, look=decision.look, is_ready=decision.is_ready, known=decision.known)
    saved: dict[int, Saved | Exception] = {}
    try:
        saved |= _reports(
            decision,
            wanted,
            entry,
            lambda serials: core.again(lambda: _rows(core.catalog, core.committer, committer.saved, serials)),
        )
    except MiripoolError as error:
        if entry is None:
            raise
        saved = dict.fromkeys(decision.serials, _late(error, entry))
    saved |= decision.failures
    return [saved[number] for number in range(len(wanted))]


def _late(error: MiripoolError, entry: Entry) -> MiripoolError:
    return type(error)(f"saved as journal entry {entry.n}; the index will be updated later ({error})")


def _reports(
    decision: Decision,
    wanted: Sequence[Wanted],
    entry: Entry | None,
    rows_of: Callable[[Sequence[int]], Mapping[int, ProductRow]],
) -> dict[int, Saved]:
    """Say what products have come to, by their places."""
    made = {saved.serial for saved in entry.saves} if entry is not None else set()
    rows = rows_of(list(decision.serials.values()))
    return {
        number: _report(decision, rows[serial], wanted[number], serial in made)
        for number, serial in decision.serials.items()
    }


def _rows(
    catalog: Catalog, committer: Committer, saved: Mapping[int, ProductRow], serials: Sequence[int]
) -> Mapping[int, ProductRow]:
    """Read versions, unless they are known; an entry that the database did not take in at once is taken in now."""
    if all(serial in saved for serial in serials):
        return saved
    rows = {row.serial: row for row in catalog.rows(serials)}
    if len(rows) < len(serials):
        committer.catch_up()
        rows = {row.serial: row for row in catalog.rows(serials)}
    return rows


def _report(decision: Decision, row: ProductRow, one: Wanted, made: bool) -> Saved:
    track = decision.standing.track(row.kind, row.name)
    if made and isinstance(one, Prepared):
        gone = [r.version for r in track if r.content == row.content and r.removed is not None and r.purged is None]
        notice = f"version {gone[-1]} in the trash has the same data" if gone else None
        status: Literal["new", "version"] = "new" if row.version == 0 else "version"
        return Saved(row, status, one.stored_bytes, notice, gone[-1] if gone else None)
    if isinstance(one, ProductRow):
        return Saved(row, "unchanged", 0, tell_unchanged(track, row, same_file=True))
    # What was made in memory has no file's timestamps that could differ.
    files = {row.file_digest, None if one.manifest.origin is None else one.manifest.origin.digest}
    notice = tell_unchanged(track, row, same_file=len(files) == 1 or None in files)
    return Saved(row, "unchanged", 0, f"{notice}; its damaged files were written again" if one.mended else notice)


def tell_unchanged(rows: Iterable[ProductRow], row: ProductRow, *, same_file: bool) -> str:
    """Say that nothing was new: "unchanged: version 0; head is 1; this file's own timestamps were not kept".

    Parameters
    ----------
    rows : iterable of ProductRow
        The versions of its name.
    row : ProductRow
        The version that it is.
    same_file : bool, keyword-only
        Whether it came from the very same file.

    Returns
    -------
    str
        For the user.
    """
    track = [r.version for r in rows if (r.kind, r.name) == (row.kind, row.name) and r.removed is None]
    head = max(track, default=row.version)
    words = [f"unchanged: version {row.version}"]
    if head != row.version:
        words.append(f"head is {head}")
    if not same_file:
        words.append("this file's own timestamps were not kept")
    return "; ".join(words)
