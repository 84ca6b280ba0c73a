"""What journal entries do to versions, heads and tags: played in memory, on the tracks that they touch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ..errors import IntegrityError
from ..store.journal import Purge, Remove, Restore, Save, Tag, Untag
from .rows import TagEvent

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from ..store.journal import Action, Entry

__all__ = ["LoadedVersion", "State", "Track", "TrackVersion", "Tracks", "touched"]

State: TypeAlias = "tuple[bool, datetime | None, datetime | None, str | None]"
"""What of a version's row in the index can change: `head`, `removed`, `purged`, `removed_by`."""


class LoadedVersion(NamedTuple):
    """A version as the index has it."""

    serial: int
    kind: str
    name: str
    version: int
    head: bool
    removed: datetime | None
    purged: datetime | None
    removed_by: str | None
    labels: list[str]


@dataclass(slots=True)
class TrackVersion:
    """A version while entries are played.

    Attributes
    ----------
    serial, version : int
        Its numbers.
    head, removed, purged, removed_by
        As in `miripool.index.rows.ProductRow`.
    stored : tuple or None
        These four as the index has them; None for a new version.
    """

    serial: int
    version: int
    head: bool = False
    removed: datetime | None = None
    purged: datetime | None = None
    removed_by: str | None = None
    stored: State | None = None

    @property
    def state(self) -> State:
        """What of its row in the index can change."""
        return self.head, self.removed, self.purged, self.removed_by


@dataclass(slots=True)
class Track:
    """All versions of one kind and name, and the tags on them."""

    kind: str
    name: str
    versions: dict[int, TrackVersion] = field(default_factory=dict)
    tags: dict[str, int] = field(default_factory=dict)

    def settle(self) -> None:
        """Find the head again."""
        living = [v for v in self.versions.values() if v.removed is None]
        head = max(living, key=lambda v: v.version, default=None)
        for version in self.versions.values():
            version.head = version is head


class Tracks:
    """The tracks that some entries touch, and their state after these entries.

    Parameters
    ----------
    loaded : iterable of LoadedVersion
        All versions of those tracks, as the index has them.

    Attributes
    ----------
    saves : list of (Entry, Save)
        New versions, in order.
    events : list of TagEvent
        Moves of tags, in order.
    ends : dict
        Position in `events` of those that put a tag on a version, and the entry that took it off again.
    closed : list of (str, str, str, int)
        Label, kind and name where a tag was taken off the version that it marks in the index, and by which entry.
    states : dict
        By serial, the states that these entries gave to versions, each by the number of the entry, in order.
    moved : dict
        Where each touched (label, kind, name) stands in the end; None where it marks nothing.
    """

    def __init__(self, loaded: Iterable[LoadedVersion] = ()) -> None:
        self._tracks: dict[tuple[str, str], Track] = {}
        self._of: dict[int, Track] = {}
        self.saves: list[tuple[Entry, Save]] = []
        self.events: list[TagEvent] = []
        self.ends: dict[int, int] = {}
        self.closed: list[tuple[str, str, str, int]] = []
        self.states: dict[int, dict[int, State]] = {}
        self._latest: dict[tuple[str, str, str], int] = {}
        self._before: dict[int, State | None] = {}
        self.moved: dict[tuple[str, str, str], int | None] = {}
        for row in loaded:
            track = self._track(row.kind, row.name)
            stored = (row.head, row.removed, row.purged, row.removed_by)
            track.versions[row.serial] = TrackVersion(row.serial, row.version, *stored, stored)
            track.tags.update(dict.fromkeys(row.labels, row.serial))
            self._of[row.serial] = track

    def _track(self, kind: str, name: str) -> Track:
        return self._tracks.setdefault((kind, name), Track(kind, name))

    def __getitem__(self, serial: int) -> TrackVersion:
        return self._of[serial].versions[serial]

    def labels(self, serial: int) -> tuple[str, ...]:
        """Give the tags that mark a version.

        Parameters
        ----------
        serial : int
            The version.

        Returns
        -------
        tuple of str
            Sorted; none while it is in the trash.
        """
        track = self._of[serial]
        if track.versions[serial].removed is not None:
            return ()
        return tuple(sorted(label for label, marked in track.tags.items() if marked == serial))

    def changed(self) -> list[TrackVersion]:
        """List the versions whose row in the index is out of date.

        Returns
        -------
        list of TrackVersion
            New versions left out.
        """
        versions = (v for track in self._tracks.values() for v in track.versions.values())
        return [v for v in versions if v.stored is not None and v.stored != v.state]

    def play(self, entry: Entry) -> None:
        """Let an entry take effect.

        Parameters
        ----------
        entry : Entry
            The next one.

        Raises
        ------
        IntegrityError
            If it names a version that there is not, or saves one that there is. What is in memory is then half done.
        """
        self._before.clear()
        for action in entry.actions:
            self._act(entry, action)
        for serial, old in self._before.items():
            new = self[serial].state
            if new != old:
                self.states.setdefault(serial, {})[entry.n] = new

    def _act(self, entry: Entry, action: Action) -> None:
        match action:
            case Save():
                self._save(entry, action)
            case Tag():
                for track, serial in self._named(entry, action):
                    self._mark(entry, action.label, track, serial)
            case Untag():
                for track, serial in self._named(entry, action):
                    if track.tags.get(action.label) == serial:
                        self._mark(entry, action.label, track, None)
            case Remove():
                for track, serial in self._named(entry, action):
                    version = track.versions[serial]
                    if version.removed is None:
                        version.removed, version.removed_by = entry.time, entry.by
                    track.settle()
            case Restore():
                for track, serial in self._named(entry, action):
                    _refuse(entry, action, serial, track.versions[serial].purged is not None, "was purged")
                    version = track.versions[serial]
                    version.removed = version.removed_by = None
                    track.settle()
            case Purge():
                for track, serial in self._named(entry, action):
                    version = track.versions[serial]
                    _refuse(entry, action, serial, version.removed is None, "is not in the trash")
                    version.purged = version.purged or entry.time

    def _look(self, track: Track) -> None:
        """Note what an entry finds of a track, when it first comes to it."""
        for version in track.versions.values():
            self._before.setdefault(version.serial, version.state)

    def _save(self, entry: Entry, save: Save) -> None:
        track = self._track(save.kind, save.name)
        newest = max((v.version for v in track.versions.values()), default=-1)
        if save.serial in self._of:
            raise IntegrityError(
                f"journal entry {entry.n} saves serial {save.serial}, which an earlier entry saved; "
                "restore it from a copy of the pool"
            )
        if save.version <= newest:
            raise IntegrityError(
                f"journal entry {entry.n} saves version {save.version} of {save.kind} {save.name}, "
                f"but that already has version {newest}; restore it from a copy of the pool"
            )
        self._look(track)
        self._before[save.serial] = None
        track.versions[save.serial] = TrackVersion(save.serial, save.version)
        track.settle()
        self._of[save.serial] = track
        self.saves.append((entry, save))

    def _named(self, entry: Entry, action: Tag | Untag | Remove | Restore | Purge) -> Iterable[tuple[Track, int]]:
        for serial in action.serials:
            track = self._of.get(serial)
            if track is None:
                raise IntegrityError(
                    f"journal entry {entry.n} ({action.do}) names serial {serial}, which no earlier entry saved; "
                    "restore it from a copy of the pool"
                )
            self._look(track)
            yield track, serial

    def _mark(self, entry: Entry, label: str, track: Track, serial: int | None) -> None:
        previous = track.tags.get(label)
        if previous == serial:
            return
        if serial is None:
            del track.tags[label]
        else:
            track.tags[label] = serial
        place = (label, track.kind, track.name)
        self.moved[place] = serial
        if previous is not None:
            if place in self._latest:
                self.ends[self._latest[place]] = entry.n
            else:
                self.closed.append((*place, entry.n))
        self._latest[place] = len(self.events)
        self.events.append(TagEvent(entry.n, entry.time, label, track.kind, track.name, serial, previous, entry.by))


def _refuse(entry: Entry, action: Restore | Purge, serial: int, wrong: bool, why: str) -> None:
    if wrong:
        raise IntegrityError(
            f"journal entry {entry.n} ({action.do}) names serial {serial}, which {why}; "
            "restore it from a copy of the pool"
        )


def touched(entries: Iterable[Entry]) -> tuple[list[int], list[tuple[str, str]]]:
    """List what must be known of the index to play some entries.

    Parameters
    ----------
    entries : iterable of Entry
        The entries.

    Returns
    -------
    serials : list of int
        All that are named, those that are saved too.
    tracks : list of (str, str)
        Kind and name of what is saved.
    """
    serials: set[int] = set()
    tracks: set[tuple[str, str]] = set()
    for entry in entries:
        for action in entry.actions:
            if isinstance(action, Save):
                serials.add(action.serial)
                tracks.add((action.kind, action.name))
            else:
                serials.update(action.serials)
    return sorted(serials), sorted(tracks)
