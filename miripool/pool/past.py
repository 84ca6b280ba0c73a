"""A pool as it was at a moment: found by a date, by a number of the journal, or by a tag, and only read."""

from __future__ import annotations

import operator
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import AmbiguousSpec, IncompleteAnswer, InvalidInput, ProductNotFound, ReadOnly
from ..index.moments import Moment
from ..model.names import Spec, Urn, parse_spec
from ..store.archive import Archive
from ..store.storage.readonly import ReadOnlyStorage
from ..system.warning import warn_caller
from ..system.words import counted
from .core import Core
from .reference import ProductRef
from .resolve import Finder
from .tags import check_tag, no_such_tag

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..index import Position, ProductRow
    from .commit import Committer
    from .resolve import Reference

__all__ = ["PastCore", "as_of"]

_FORMS = "a date such as 2026-05-01, a time such as 2026-05-01T12:00Z, the number of a journal entry"
_TAG = "--as-of tag:LABEL, as_of(tag=LABEL)"

_MOST_DIGITS = 19
"""Of the number of an entry."""

_AT_ONCE = 1000
"""Rows that are read together."""


class PastCore(Core):
    """A pool as it was. Its versions, heads, tags and trash are those of the moment; it can't be changed.

    Parameters
    ----------
    present : Core
        The pool as it is.
    moment : Moment
        When.
    """

    def __init__(self, present: Core, moment: Moment) -> None:
        self._present = present
        self._moment = moment
        when = "before its first journal entry"
        if moment.time is not None:
            when = f"as of journal entry {moment.entry}, {_utc(moment.time)}"
        self._words = f"{present.name} {when}"
        self._refusal = f"this is pool {self._words}: it can only be read; leave the moment out"
        archive = Archive(ReadOnlyStorage(present.archive.storage, self._refusal), present.archive.info)
        super().__init__(present.name, archive, lambda: present.catalog.at(moment), home=present.home)

    def __str__(self) -> str:
        return self._words

    @property
    def moment(self) -> Moment:
        """When the pool was as it is shown."""
        return self._moment

    @property
    def present(self) -> Core:
        """The pool as it is now."""
        return self._present

    @property
    def finder(self) -> Finder:
        """Which version a URN, a SPEC or a tag meant."""
        return _PastFinder(self)

    def refuse_past(self) -> NoReturn:
        """Refuse a change: raise ReadOnly."""
        raise ReadOnly(self._refusal)

    def way_in(self) -> tuple[Callable[..., Any], tuple[str, ...]]:
        """Give the function, and its arguments, that open the pool in another process."""
        reopen, arguments = self.present.way_in()
        return reopen, (*arguments, str(self.moment.entry))

    @property
    def committer(self) -> Committer:
        """Refused: nothing is written."""
        self.refuse_past()

    def catch_up(self) -> Position:
        """Give where the index stood; the past does not go on."""
        return self.again(lambda: self.catalog.position())

    def reindex(self, *, progress: Callable[[int], None] | None = None) -> None:  # noqa: ARG002
        """Refuse to make the index again."""
        self.refuse_past()

    def purged_since(self, serials: Sequence[int]) -> dict[int, datetime]:
        """Tell which versions were removed for good until now, and when; see `Core.purged_since`."""
        chunks = (serials[start : start + _AT_ONCE] for start in range(0, len(serials), _AT_ONCE))
        rows = (row for chunk in chunks for row in self.present.rows(chunk))
        return {row.serial: row.purged for row in rows if row.purged is not None}

    def with_arrays(self, serials: Sequence[int]) -> list[int]:
        """Leave out the versions that were purged since, with a warning; see `Core.with_arrays`."""
        purged = self.purged_since(serials)
        if purged:
            was = "was" if len(purged) == 1 else "were"
            warn_caller(
                f"{len(purged)} of {counted(len(serials), 'version')} {was} purged since and {was} left out: the "
                "arrays may be gone",
                IncompleteAnswer,
            )
        return [serial for serial in serials if serial not in purged]


class _PastFinder(Finder):
    """Finds versions of a pool as it was. Of one that came later, the error says so.

    Parameters
    ----------
    core : PastCore
        The pool.
    """

    def __init__(self, core: PastCore) -> None:
        super().__init__(core.catalog, core.archive.info, core.name)
        self._core = core

    def row(self, ref: Reference) -> ProductRow:
        """Find a version; see `Finder.row`."""
        try:
            return super().row(ref)
        except ProductNotFound as error:
            came = self._when_it_came(ref)
            if came is None:
                raise ProductNotFound(f"{error}; this is pool {self._core}") from None
            given = ref.urn if isinstance(ref, ProductRef) else ref
            raise ProductNotFound(f"pool {self._core} did not have {given} yet: {came}") from None

    def _when_it_came(self, ref: Reference) -> str | None:
        """Say what made that which is there now; None where there is no such thing now, or where it was there then."""
        present = self._core.present
        try:
            row = present.finder.row(ref)
        except (ProductNotFound, AmbiguousSpec):
            return None
        spec = parse_spec(ref) if isinstance(ref, str) else Spec()
        if spec.label is not None:
            return self._when_tagged(spec.label, row)
        if spec.name is not None and spec.version is None:
            row = present.catalog.track(row.kind, row.name)[0]
        if row.entry <= self._core.moment.entry:
            return None
        return f"{Urn(self._core.name, row.kind, row.serial)} was saved by entry {row.entry}, {_utc(row.created)}"

    def _when_tagged(self, label: str, row: ProductRow) -> str | None:
        """Say when a label was put on a version for the first time, if that was after the moment."""
        for event in self._core.present.catalog.moves([row.serial]):
            if (event.label, event.serial) == (label, row.serial):
                if event.entry <= self._core.moment.entry:
                    return None
                urn = Urn(self._core.name, row.kind, row.serial)
                return f"entry {event.entry} put {label!r} on {urn}, {_utc(event.time)}"
        return None


def _utc(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def as_of(core: Core, when: date | str | int | None = None, *, tag: str | None = None) -> PastCore:
    """Give a pool as it was; see `Pool.as_of`.

    Parameters
    ----------
    core : Core
        The pool; as it was at another moment, too.
    when, tag : object
        As for `Pool.as_of`.

    Returns
    -------
    PastCore
        The pool at that moment.
    """
    present = core.present
    if (when is None) == (tag is None):
        raise InvalidInput(f"give either a moment ({_FORMS}) or a tag ({_TAG})")
    check_tag(tag)
    present.catch_up()
    present.catalog.fill_past(present.archive.journal.since)
    found = _moment(present, when) if tag is None else _moment_of_tag(present, tag)
    return PastCore(present, found or Moment(-1, None, present.archive.info.first_serial, None))


def _moment_of_tag(core: Core, tag: str) -> Moment | None:
    """Give the moment when a tag was last moved."""
    moves = core.catalog.tag_events(label=tag, limit=1)
    if not moves:
        raise no_such_tag(core, tag)
    return core.catalog.moment_of(moves[0].entry)


def _moment(core: Core, when: Any) -> Moment | None:
    """Give the moment that a number or a time means; None before the first entry."""
    if isinstance(when, str):
        when = _read(when)
    if not isinstance(when, date):
        return _moment_of_entry(core, when)
    if isinstance(when, datetime):
        if when.tzinfo is None:
            raise InvalidInput(f"{when!r} has no time zone; give one, e.g. datetime(2026, 5, 1, tzinfo=timezone.utc)")
        begin, lasts = when, timedelta(microseconds=1)
    else:
        begin, lasts = datetime(when.year, when.month, when.day, tzinfo=UTC), timedelta(days=1)
    if begin > datetime.now(UTC):
        raise InvalidInput(f"{when} lies in the future; leave the moment out for the pool as it is now")
    return core.catalog.moment_before(begin + lasts)


def _read(text: str) -> date | int:
    """Read a moment as people write it; a time without a zone is UTC."""
    text = text.strip()
    if text.isdecimal():
        if len(text) > _MOST_DIGITS:
            raise InvalidInput(f"{text[:_MOST_DIGITS]}… is no moment; give {_FORMS}")
        return int(text)
    try:
        return date.fromisoformat(text)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"{text!r} is no moment; give {_FORMS}, or a tag ({_TAG})") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _moment_of_entry(core: Core, when: Any) -> Moment:
    try:
        given: Any = str(when) if isinstance(when, bool) else when
        entry = operator.index(given)
    except TypeError:
        raise InvalidInput(f"{when!r} is no moment; give {_FORMS}") from None
    found = core.catalog.moment_of(entry) if 0 <= entry < 1 << 63 else None
    if found is None:
        last = core.catalog.position().n
        there = f"the journal of pool {core.name} ends with entry {last}" if last >= 0 else "the journal is empty"
        raise InvalidInput(f"there is no journal entry {entry}: {there}")
    return found
