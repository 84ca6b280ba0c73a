"""Journal: numbered entries, the pool's only commit point.

An entry takes effect when its number appears, by put-if-absent, which a writer asks for only after it has seen the
number before. Whoever loses the race for a number reads what won, looks again, and tries the next: the optimistic
protocol of Delta Lake's log. Entries are never changed. Each carries the digest of the one before it, and what an index
that has followed it must hold.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import os
import pwd
import re
import socket
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import IntegrityError, MiripoolError, NewerFormat, NotFound
from ..model.canonical import canonical_json, digest_bytes
from ..model.names import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from .storage.contract import Held, Storage

__all__ = [
    "Action",
    "Entry",
    "Journal",
    "Purge",
    "Remove",
    "Restore",
    "Save",
    "Tag",
    "Untag",
    "acting_as",
    "purged_serials",
    "user_name",
]

FORMAT = 2
"""Number of the form that entries are written in; a reader refuses greater ones. Entries of form 1 say nothing of who
wrote them.
"""

_KEY = re.compile(r"journal/(\d{12})\.json")
_UNDOES = re.compile(r"[0-9a-f]+ undoes (\d{1,12})", re.ASCII)
"""The nonce of an entry that takes another one back. Every reader of form 2 takes a nonce for any text, while a further
field would make an entry damaged to all readers that do not know it.
"""
_PROBES = 20
"""Doubling steps that look for entries behind a missing one: up to a million further on."""


@dataclass(frozen=True, slots=True)
class Save:
    """A version of a product.

    Attributes
    ----------
    serial : int
        The URN's number, never used before in this pool.
    kind, name : str
        Its track.
    version : int
        One more than the track's last, removed versions counted.
    manifest : str
        Digest of its manifest.
    content : str
        Digest of what is compared to tell whether data changed.
    stored_bytes : int
        Bytes of new blobs and of the manifest.
    """

    do: ClassVar[str] = "save"
    serial: int
    kind: str
    name: str
    version: int
    manifest: str
    content: str
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class Tag:
    """A label put on versions; in each of their tracks it leaves the version it marked before."""

    do: ClassVar[str] = "tag"
    label: str
    serials: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Untag:
    """A label taken off versions that it marks."""

    do: ClassVar[str] = "untag"
    label: str
    serials: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Remove:
    """Versions put into the trash; their numbers stay used."""

    do: ClassVar[str] = "remove"
    serials: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Restore:
    """Versions taken out of the trash."""

    do: ClassVar[str] = "restore"
    serials: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Purge:
    """Versions in the trash removed for good: their arrays may be deleted; manifests and numbers stay."""

    do: ClassVar[str] = "purge"
    serials: tuple[int, ...]


Action = Save | Tag | Untag | Remove | Restore | Purge

_ACTIONS: Mapping[str, type[Action]] = {c.do: c for c in (Save, Tag, Untag, Remove, Restore, Purge)}

_NUMBERS = frozenset({"serial", "version", "stored_bytes"})
"""Fields of actions that are not text."""

_MOST_NUMBER = (1 << 63) - 1
_MOST_VERSION = (1 << 31) - 1
"""Numbers that an index can hold."""

_DIGEST = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One numbered entry: actions that take effect together.

    Attributes
    ----------
    n : int
        Number, from 0 without gaps.
    time : datetime
        When it was written; aware, UTC, by the writer's clock.
    previous : str or None
        Digest of entry n-1; None for the first.
    actions : tuple of Action
        In the order they take effect.
    next_serial : int
        Greater than every serial used, this entry's included.
    versions : int
        How many versions the entries up to this one have saved; those in the trash count.
    user, host : str or None
        The writer's account, or the name under which a server acts (see `acting_as`), and the name of the machine;
        None in entries of form 1.
    nonce : str or None
        A random number of the writer's, so that no two entries are alike: a writer that did not hear whether its entry
        was taken finds out by reading it. In the entry of an undo it also says what that takes back, see `undoes`.
        None in entries of form 1.
    form : int
        Number of the form that the entry is written in.
    digest : str
        Digest of all of the above.
    """

    n: int
    time: datetime
    previous: str | None
    actions: tuple[Action, ...]
    next_serial: int
    versions: int
    user: str | None = None
    host: str | None = None
    nonce: str | None = None
    form: int = FORMAT
    digest: str = ""

    @property
    def by(self) -> str | None:
        """The writer as ``user@host``; None where the entry does not say."""
        return None if self.user is None else f"{self.user}@{self.host or ''}".rstrip("@")

    @property
    def undoes(self) -> int | None:
        """Number of the entry that this one takes back; None where it is no undo, or does not say it."""
        found = _UNDOES.fullmatch(self.nonce or "")
        return int(found[1]) if found and int(found[1]) < self.n else None

    @property
    def saves(self) -> list[Save]:
        """The versions that the entry saves."""
        return [action for action in self.actions if isinstance(action, Save)]

    def _content(self) -> dict[str, Any]:
        who = {"user": self.user, "host": self.host, "nonce": self.nonce} if self.form > 1 else {}
        return {
            "format": self.form,
            "n": self.n,
            "time": self.time.astimezone(UTC).isoformat(timespec="microseconds"),
            "previous": self.previous,
            "actions": [_action_to_json(a) for a in self.actions],
            "next_serial": self.next_serial,
            "versions": self.versions,
            **who,
        }

    def sealed(self) -> Entry:
        """Give the entry with its digest.

        Returns
        -------
        Entry
            Ready to be written.
        """
        return replace(self, digest=digest_bytes(canonical_json(self._content())))

    def to_bytes(self) -> bytes:
        """Write the entry.

        Returns
        -------
        bytes
            Canonical JSON with the digest.
        """
        return canonical_json({**self._content(), "digest": self.digest})

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Entry:
        """Read an entry and hold it against its own digest.

        Parameters
        ----------
        data : bytes
            What `to_bytes` gave.
        where : str
            Its key, for messages.

        Returns
        -------
        Entry
            Equal to the one that was written.

        Raises
        ------
        IntegrityError
            If it is damaged.
        NewerFormat
            If a newer miripool wrote it.
        """
        try:
            record = json.loads(data)
            form = _read_number(record["format"])
            if form > FORMAT:
                raise NewerFormat(f"{where} has format {form}, but this miripool reads up to {FORMAT}; update miripool")
            actions = tuple(_action_from_json(a) for a in record["actions"])
            previous = None if record["previous"] is None else _read_text(record["previous"])
            numbers = _read_number(record["next_serial"]), _read_number(record["versions"])
            time = datetime.fromisoformat(record["time"])
            if form < 1:
                raise ValueError(f"no entry has the form {form}")  # noqa: TRY301 - reported with the rest below
            user, host, nonce = (
                None if record.get(key) is None else _read_text(record[key]) for key in ("user", "host", "nonce")
            )
            entry = cls(
                _read_number(record["n"]), time, previous, actions, *numbers, user, host, nonce, form=form
            ).sealed()
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise IntegrityError(f"{where} can't be read ({error!r}); restore it from a copy of the pool") from error
        if entry.to_bytes() != data:
            raise IntegrityError(
                f"{where} is damaged: its content does not match its digest; restore it from a copy of the pool"
            )
        return entry


def _printable(text: str) -> str:
    """A name that is no UTF-8 has half characters in it, which JSON and the database refuse."""
    return text.encode("utf-8", "backslashreplace").decode()


def _action_to_json(action: Action) -> dict[str, Any]:
    return {"do": action.do, **{name: getattr(action, name) for name in action.__slots__}}


def _action_from_json(record: Mapping[str, Any]) -> Action:
    fields: dict[str, Any] = {name: _read_field(name, value) for name, value in record.items() if name != "do"}
    return _ACTIONS[record["do"]](**fields)


def _read_field(name: str, value: Any) -> str | int | tuple[int, ...]:
    if name == "serials":
        return tuple(_read_number(serial) for serial in value)
    return _read_number(value) if name in _NUMBERS else _read_text(value)


def _impossible(action: Action) -> str | None:
    """Give what no miripool writes and no index can hold: a stranger may have made the entry."""
    if isinstance(action, Save):
        if not _DIGEST.fullmatch(action.manifest):
            return action.manifest
        numbers: tuple[int, ...] = (action.serial, action.stored_bytes)
        texts: tuple[str, ...] = (action.kind, action.name, action.content)
        if action.version > _MOST_VERSION:
            return str(action.version)
    else:
        numbers = action.serials
        texts = (action.label,) if isinstance(action, Tag | Untag) else ()
    great = (str(number) for number in numbers if number > _MOST_NUMBER)
    return next(great, next((text for text in texts if "\0" in text), None))


def _read_number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"{value!r} is not a number of something")
    return value


def _read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


class Journal:
    """The entries of one pool.

    Parameters
    ----------
    storage : Storage
        The pool's.
    held : callable, optional
        Gives where an entry is put, as a context in which the pool stays there; `storage` unless given.
    """

    def __init__(self, storage: Storage, held: Callable[[], AbstractContextManager[Held]] | None = None) -> None:
        self._storage = storage
        self._held = held or (lambda: contextlib.nullcontext(storage))
        self._latest: tuple[str, Entry] | None = None
        """The entry that was read or written last, and the version of its file."""

    @staticmethod
    def key(n: int) -> str:
        """Give the storage key of an entry.

        Parameters
        ----------
        n : int
            Its number.

        Returns
        -------
        str
            The key.
        """
        return f"journal/{n:012d}.json"

    def last(self, known: int = -1) -> int:
        """Find the number of the newest entry, without listing: by doubling steps, then by halving.

        Parameters
        ----------
        known : int
            A number that is known to be there; -1 for none.

        Returns
        -------
        int
            Its number; -1 for an empty journal.
        """
        step = 1
        while self._storage.exists(self.key(known + step)):
            known += step
            step *= 2
        while step > 1:
            step //= 2
            if self._storage.exists(self.key(known + step)):
                known += step
        return known

    def newest(self) -> int:
        """Find the greatest number that an entry has, by listing; entries before it may be lost.

        Returns
        -------
        int
            Its number; -1 for an empty journal.
        """
        found = (_KEY.fullmatch(key) for key in self._storage.keys("journal"))
        return max((int(match[1]) for match in found if match), default=-1)

    def read(self, n: int) -> Entry:
        """Read an entry.

        Parameters
        ----------
        n : int
            Its number.

        Returns
        -------
        Entry
            The entry.

        Raises
        ------
        NotFound
            If there is none of that number.
        IntegrityError
            If it is damaged or not where its number says.
        """
        entry = Entry.from_bytes(self._storage.read(self.key(n)), self.key(n))
        if entry.n != n:
            raise IntegrityError(f"{self.key(n)} holds entry {entry.n}, not {n}; restore it from a copy of the pool")
        wrong = next((found for action in entry.actions if (found := _impossible(action)) is not None), None)
        if wrong is not None:
            raise IntegrityError(
                f"{self.key(n)} says {shown(wrong)}, which is impossible; restore it from a copy of the pool"
            )
        return entry

    def latest(self, n: int) -> Entry:
        """Read an entry that is likely the one which was read so, or written, last.

        That one is not read again, unless its file has changed.

        Parameters
        ----------
        n : int
            Its number.

        Returns
        -------
        Entry
            The entry.

        Raises
        ------
        NotFound, IntegrityError
            As for `read`.
        """
        version = self._storage.status(self.key(n)).version
        if self._latest is not None and (known := self._latest[1]).n == n and self._latest[0] == version:
            return known
        entry = self.read(n)
        self._latest = version, entry
        return entry

    def has(self, n: int, digest: str | None) -> bool:
        """Tell whether an entry is in this journal, and not another of its number.

        Parameters
        ----------
        n : int
            Its number; -1 for what stands before the first.
        digest : str or None
            Its digest.

        Returns
        -------
        bool
            False also where the entry of that number is damaged.
        """
        if n < 0:
            return True
        try:
            return self.read(n).digest == digest
        except (NotFound, IntegrityError):
            return False

    def since(self, n: int, previous: str | None) -> Iterator[Entry]:
        """Read all entries after number `n`, checking that each follows from the one before.

        Parameters
        ----------
        n : int
            Number of the last entry known; -1 for none.
        previous : str or None
            Its digest.

        Yields
        ------
        Entry
            In order, until there is no more.

        Raises
        ------
        IntegrityError
            If the chain is broken, or an entry is missing before others.
        """
        start = n
        while True:
            n += 1
            try:
                entry = self.read(n)
            except NotFound:
                self.refuse_gap(n - 1, thorough=start < 0)
                return
            if entry.previous != previous:
                raise IntegrityError(
                    f"{self.key(n)} does not follow from the entry before it; restore it from a copy of the pool"
                )
            yield entry
            previous = entry.digest

    def refuse_gap(self, n: int, *, thorough: bool = False) -> None:
        """Make sure that the journal ends where it seems to.

        Parameters
        ----------
        n : int
            Number of the last entry known; -1 for none.
        thorough : bool, keyword-only
            List the folder. Otherwise some numbers are tried, in doubling steps: the loss of a few entries is found.

        Raises
        ------
        IntegrityError
            If entry `n` + 1 is missing and there are later ones.
        """
        if thorough or self._storage.has_any([self.key(n + 1 + (1 << step)) for step in range(_PROBES)]):
            found = (_KEY.fullmatch(key) for key in self._storage.keys("journal"))
            later = [number for match in found if match and (number := int(match[1])) > n]
            # Entries appear in order: once a later one was seen, the next is there, or it is lost.
            if later and not self._storage.exists(self.key(n + 1)):
                raise IntegrityError(
                    f"{self._storage.name(self.key(n + 1))} is missing, although the journal has later entries, "
                    f"up to {max(later)}; restore it from a copy of the pool"
                )

    @staticmethod
    def next_entry(
        last: Entry | None, actions: Sequence[Action], *, first_serial: int = 0, undoes: int | None = None
    ) -> Entry:
        """Make an entry; nothing is written.

        Parameters
        ----------
        last : Entry or None
            The newest entry the caller has seen; None for an empty journal.
        actions : sequence of Action
            What to do.
        first_serial : int, keyword-only
            The pool's, for its first entry.
        undoes : int, keyword-only, optional
            Number of the entry that this one takes back.

        Returns
        -------
        Entry
            For `write`.
        """
        n, previous, next_serial, versions = (
            (-1, None, first_serial, 0) if last is None else (last.n, last.digest, last.next_serial, last.versions)
        )
        serials = [action.serial for action in actions if isinstance(action, Save)]
        return Entry(
            n + 1,
            datetime.now(UTC),
            previous,
            tuple(actions),
            next_serial=max([next_serial, *(serial + 1 for serial in serials)]),
            versions=versions + len(serials),
            user=_printable(_acting.get() or user_name()),
            host=_printable(socket.gethostname()),
            nonce=os.urandom(8).hex() + ("" if undoes is None else f" undoes {undoes}"),
        ).sealed()

    def write(self, entry: Entry) -> bool:
        """Try to write an entry; it takes effect if no other writer took its number.

        Parameters
        ----------
        entry : Entry
            From `next_entry`.

        Returns
        -------
        bool
            False if another writer took that number first.

        Raises
        ------
        PoolNotFound
            If the pool was deleted or renamed meanwhile.
        """
        data, key = entry.to_bytes(), self.key(entry.n)
        with self._held() as folder:
            if not folder.put(key, data):
                return False
            with contextlib.suppress(MiripoolError):  # the entry is written; its file is read next time
                self._latest = folder.status(key).version, entry
        return True


_acting: contextvars.ContextVar[str | None] = contextvars.ContextVar("acting", default=None)
"""The user for whom this process writes, where it is not its own account."""


@contextlib.contextmanager
def acting_as(user: str) -> Iterator[None]:
    """Write entries in the name of a user, in this thread or task and in those that take over its context.

    Parameters
    ----------
    user : str
        The name that entries get instead of that of the process's account.
    """
    before = _acting.set(user)
    try:
        yield
    finally:
        _acting.reset(before)


def user_name() -> str:
    """Give the name of the account that this process runs under.

    Returns
    -------
    str
        Its number where it has no name, as in many containers.
    """
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def purged_serials(entries: Iterable[Entry]) -> set[int]:
    """Give the versions that some entries remove for good.

    Parameters
    ----------
    entries : iterable of Entry
        Of a journal.

    Returns
    -------
    set of int
        Their serials.
    """
    return {
        serial
        for entry in entries
        for action in entry.actions
        if isinstance(action, Purge)
        for serial in action.serials
    }
