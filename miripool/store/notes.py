"""Notes: what running writers are about to refer to, and what a collector is about to delete.

A writer first writes its note, then looks whether a collector's note names any of its keys, and waits until that one is
gone; only then does it ask what is there already. A collector first writes its note, then reads the writers' notes and
the journal, and spares what they name. The second of the two sees the note of the first: nothing that is referred to is
deleted.

A note belongs to the process that will write the journal entry. Where others do the work for it, on whatever host, they
write the note in its name (`Ticket`): it counts until the owner withdraws it or has ended, not until a worker ends.
Executors do work again whose result they lost, even when the owner has long had it: a note that comes late is removed
by the owner when its run ends (`Notes.run`), or by the worker, who looks afterwards whether the run is still on.

A note counts as long as its owner lives. Where that can't be known (`miripool.store.storage.leases`), it counts for
`_COUNTS_FOR`. So a writer that was stopped for longer looks, right before its entry, whether its note is still there,
and announces its files again if it is not.

A note does not wait for the disk. Others see it as soon as it has its name, which is all that the protocol needs. A
power failure may take it, or leave a file that can't be read; but it ends the owner too, which runs under the same
kernel, and a note whose owner has ended does not count. Only a note in the name of a process under another kernel is
brought to the disk: that owner lives on when this host fails. Lease files are never synced, for the same reason: the
kernel that keeps their locks ends with them.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import secrets
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ..errors import Conflict, IntegrityError, NotFound, ReadOnly, StorageError
from ..model.canonical import canonical_json
from .poolfolder import is_ours
from .storage.leases import Lease, boot_id

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from .storage.contract import Storage
    from .storage.leases import Leases

__all__ = ["COLLECT_WITHIN", "Notes", "Ticket"]

COLLECT_WITHIN = 300.0
"""Seconds in which a collector is done with what its note names, or stops."""

_WAIT = 60.0
"""Seconds that a writer waits for a collector."""

_COUNTS_FOR = timedelta(days=30)
"""How long a note counts if it can't be known whether its owner has ended, whatever grace `gc` gives versions."""


_MOST_BYTES = 1 << 22
"""Of a note, which names some blobs and a manifest by 50 bytes each."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """Where a note will stand, and its owner: the process that will write the entry, even if another does the work.

    Attributes
    ----------
    key : str
        Of the note.
    lease : Lease
        Its owner's.
    run : str or None
        The key of the note that lasts as long as its owner's run; None for notes that only the owner writes.
    """

    key: str
    lease: Lease
    run: str | None = None


class Notes:
    """The notes of one pool.

    Parameters
    ----------
    storage : Storage
        The pool's.
    leases : Leases
        Tell which owners of notes have ended.
    """

    def __init__(self, storage: Storage, leases: Leases) -> None:
        self._storage = storage
        self._leases = leases

    @contextlib.contextmanager
    def writing(self, keys: Collection[str], ticket: Ticket | None = None) -> Iterator[None]:
        """Announce the files that are about to be referred to, so that `gc` does not delete them.

        Parameters
        ----------
        keys : collection of str
            Of blobs and manifests.
        ticket : Ticket, optional
            For the note, so that the caller can ask whether it is there still.

        Yields
        ------
        None
            Whether they are there is to be asked within.

        Raises
        ------
        Conflict
            If a collector does not get done with them.
        """
        ticket = ticket or self.ticket()
        try:
            self.announce(ticket, keys)
            yield
        finally:
            self.withdraw(ticket)

    def ticket(self) -> Ticket:
        """Give what a pending note of this process needs: it counts as long as this process lives.

        Returns
        -------
        Ticket
            For one note.
        """
        return self._ticket("pending")

    @contextlib.contextmanager
    def run(self) -> Iterator[Callable[[], Ticket]]:
        """Have others write pending notes for this process, until the run ends.

        Yields
        ------
        callable
            Gives a ticket for one note; it is small, and can be sent to other processes and hosts. Notes that have not
            been withdrawn when the run ends, and those written later, no longer count and are removed.
        """
        own = self._ticket("pending")
        prefix = own.key.removesuffix(".json") + "-"
        numbers = itertools.count()
        try:
            with contextlib.suppress(ReadOnly, StorageError):  # said of each file: nor can the next note be written
                self._write(own, ())
            yield lambda: replace(own, key=f"{prefix}{next(numbers)}.json", run=own.key)
        finally:
            # First the run: who writes a note from now on sees that it is over, and removes the note again.
            self.withdraw(own)
            with contextlib.suppress(StorageError):  # as in `withdraw`
                for key in [key for key in self._storage.keys("pending") if key.startswith(prefix)]:
                    self.withdraw(replace(own, key=key))

    def announce(self, ticket: Ticket, keys: Collection[str]) -> None:
        """Write a pending note on behalf of its owner, as `writing` does for oneself; it stays until `withdraw`.

        Parameters
        ----------
        ticket : Ticket
            The owner's. A second note of one ticket, by who does work again that another was killed at, replaces it.
        keys : collection of str
            Of blobs and manifests; whether they are there is to be asked afterwards.

        Raises
        ------
        Conflict
            If a collector does not get done with them, or the owner's run is over; the note is gone then.
        """
        try:  # from here: it may be there already when its writing is interrupted
            self._write(ticket, keys)
            self._check_run(ticket)
            self._wait_for_collectors(set(keys))
        except BaseException:
            self.withdraw(ticket)
            raise

    def withdraw(self, ticket: Ticket) -> None:
        """Remove a note, if it is there.

        Parameters
        ----------
        ticket : Ticket
            Its.
        """
        # What is done is done, whatever becomes of the note: it is taken when it is old.
        with contextlib.suppress(ReadOnly, StorageError):
            self._storage.delete(ticket.key)

    @contextlib.contextmanager
    def collecting(self, keys: Collection[str]) -> Iterator[Ticket]:
        """Announce what is about to be deleted.

        Parameters
        ----------
        keys : collection of str
            Of blobs and manifests.

        Yields
        ------
        Ticket
            Of the note. What `pending` names from now on must be spared.
        """
        ticket = self._ticket("collecting")
        try:
            self._write(ticket, keys)
            yield ticket
        finally:
            self.withdraw(ticket)

    def _write(self, ticket: Ticket, keys: Collection[str]) -> None:
        note = canonical_json(
            {
                **asdict(ticket.lease),
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "keys": sorted(keys),
            }
        )
        if ticket.lease.boot and ticket.lease.boot == boot_id():
            self._storage.note(ticket.key, note)
        else:
            self._storage.replace(ticket.key, note)

    def is_there(self, ticket: Ticket) -> bool:
        """Tell whether a note still counts for others.

        Parameters
        ----------
        ticket : Ticket
            Its.

        Returns
        -------
        bool
            False where it was taken for a dead process's: what it names may have been collected.
        """
        return self._storage.exists(ticket.key)

    def pending(self, *, without: Collection[str] = ()) -> set[str]:
        """Give the keys that writers are about to refer to.

        Parameters
        ----------
        without : collection of str, keyword-only
            Notes that are left out.

        Returns
        -------
        set of str
            Of all other notes, those of dead writers too: they are swept first.
        """
        return {key for name, note in self._read("pending") if name not in without for key in note["keys"]}

    def dead(self) -> list[str]:
        """List the notes of processes that have ended, and those that can't be read.

        Returns
        -------
        list of str
            Their keys.
        """
        return [
            key
            for folder in ("pending", "collecting")
            for key, note in self._read(folder, whole=False)
            if not note or not self._counts(note)
        ]

    def sweep(self) -> list[str]:
        """Remove the notes of processes that have ended.

        Returns
        -------
        list of str
            Keys of those removed.
        """
        removed = [key for key in self.dead() if self._storage.delete(key)]
        self._leases.sweep()
        return removed

    def _counts(self, note: dict[str, Any]) -> bool:
        lease = _lease_of(note)
        if self._leases.is_over(lease):
            return False
        if self._leases.is_on(lease):
            return True
        try:
            return datetime.now(UTC) - datetime.fromisoformat(note["time"]) < _COUNTS_FOR
        except (ValueError, TypeError):
            return False

    def _ticket(self, folder: str) -> Ticket:
        return Ticket(f"{folder}/{secrets.token_hex(16)}.json", self._leases.own())

    def _check_run(self, ticket: Ticket) -> None:
        if ticket.run is not None and not self._storage.exists(ticket.run):
            raise Conflict("the run that asked for this work has ended")

    def _wait_for_collectors(self, keys: set[str]) -> None:
        begin = time.monotonic()
        while True:
            found = [
                (key, note)
                for key, note in self._read("collecting")
                if not keys.isdisjoint(note["keys"]) and self._counts(note)
            ]
            if not found:
                return
            if time.monotonic() - begin > _WAIT:
                key, note = found[0]
                raise Conflict(
                    f"`miripool gc`, process {note['pid']} on {note['host']}, is about to delete files that are needed "
                    f"again; wait until it ends, or, if it no longer runs, remove {self._storage.name(key)}"
                )
            time.sleep(0.02)

    def _read(self, folder: str, *, whole: bool = True) -> Iterator[tuple[str, dict[str, Any]]]:
        """Give the notes in a folder; what is none, as nothing, or not at all."""
        for key in self._storage.keys(folder):
            if not is_ours(key, folder):
                continue  # what others have put there is none of ours, and stays
            try:
                note = _checked(json.loads(self._storage.read(key, limit=_MOST_BYTES)))
            except NotFound:
                continue  # its writer is done
            except IntegrityError:
                if self._storage.exists(key):
                    raise  # it is too large, and nobody knows what it names
                note = {}  # a link, a pipe
            except (ValueError, RecursionError):
                note = {}
            if note or not whole:
                yield key, note


def _checked(note: Any) -> dict[str, Any]:
    """Give a note, or nothing where it is not as we write them."""
    kinds = {"host": str, "pid": int, "time": str, "keys": list}
    if not isinstance(note, dict) or not all(isinstance(note.get(name), kind) for name, kind in kinds.items()):
        return {}
    return note if note["pid"] > 0 and all(isinstance(key, str) for key in note["keys"]) else {}


def _lease_of(note: dict[str, Any]) -> Lease:
    """Give the lease of a note; those of earlier versions of miripool name no lock."""
    boot, lock = (value if isinstance(value := note.get(name), str) else "" for name in ("boot", "lock"))
    return Lease(note["host"], note["pid"], boot, lock)
