"""Watch: files that arrive in a folder are added, each once it is complete, as long as the program runs.

Files that are complete at the same time go to one `ingest`, and so into common journal entries. What was added is noted
in a ledger only after that `ingest` has ended, when the files' exposures are kept and their pixel rows are made: if the
program is killed before, the next one reads the files again, the pool recognises them by their digests, and what was
left out is made up for. So each file becomes one version, whenever the program is killed and however many of them watch
one folder.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FileMissing, InvalidInput, MiripoolError, ReadOnly, ServerError, StorageError
from ..model.names import check_label
from .arrivals import Arrivals
from .core import core_of
from .ingest import ingest
from .ledger import Ledger, ledger_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .arrivals import Stamp
    from .core import Core, HasCore
    from .ingest import Outcome

__all__ = ["watch"]

_MOST_FILES = 512
_MOST_BYTES = 2 << 30
"""Most files, and bytes, of one `ingest`: some 15 s of work, which a signal that ends the program waits for."""

_LEAST_WAIT, _MOST_WAIT = 0.1, 5.0
"""Seconds between two looks at the folder: a quarter of the time for which files settle, within these bounds."""

_SHARE = 20
"""A look may take one part in so many of the time, on a slow server too: else the next one waits longer."""

_RETRY, _MOST_RETRY = 60.0, 600.0
"""Seconds until a file is tried again that failed although nothing is wrong with it; twice as long each time."""

_PASSING = (StorageError, ServerError, ReadOnly)
"""Errors that may pass by themselves: a full disk, a database that is away, a file that nobody may read yet."""


def watch(
    pool: HasCore,
    folder: str | Path,
    *,
    tag: str | None = None,
    jobs: int | None = None,
    pixels: bool | None = None,
    truncate: bool = False,
    settle: float = 10.0,
    once: bool = False,
    tell: Callable[[str], None],
    pause: Callable[[float], bool],
) -> Iterator[Outcome]:
    """Add the FITS files that arrive in a folder and its sub-folders, each once it is complete.

    Files that were dealt with stay so when the program is restarted, until they change. A file that changes is added
    again, as a new version. Files and folders whose names begin with a dot are left alone.

    Parameters
    ----------
    pool : Pool or Core
        The pool.
    folder : path-like
        The folder. If it is unmounted or deleted while it is watched, watching goes on when it is back.
    tag, jobs, pixels, truncate : object, keyword-only
        As for `Pool.ingest`.
    settle : float, keyword-only
        Add a file once its size and time have not changed for so many seconds.
    once : bool, keyword-only
        Add what is complete after `settle` seconds, and end.
    tell : callable, keyword-only
        Takes a sentence for the user when something hinders the work, or no longer does.
    pause : callable, keyword-only
        Waits for so many seconds, and tells whether to end; also called with 0 between two pieces of work.

    Yields
    ------
    Outcome
        One for each file, once the entry that saved it is durable. A file that failed is given once, and again only
        when it has changed, or fails for another reason.

    Raises
    ------
    FileMissing
        If there is no such folder at the beginning.
    InvalidInput
        If `settle` or `jobs` is no number of that kind.
    InvalidName
        If the tag is not valid.
    PoolNotFound
        If the pool was deleted or renamed meanwhile.
    """
    if not 0 <= settle < math.inf:
        raise InvalidInput(f"settle is {settle:g}; it is a number of seconds, 0 or more")
    if tag is not None:
        check_label(tag)
    place = Path(folder).expanduser().resolve()
    if not place.is_dir():
        raise FileMissing(
            f"{folder} is no folder; check the name" if place.exists() else f"no folder {folder}; check the name"
        )
    options = {"tag": tag, "jobs": jobs, "pixels": pixels, "truncate": truncate}
    return _Watch(core_of(pool), place, settle, options, tell).run(once=once, pause=pause)


@dataclass(frozen=True, slots=True)
class _Retry:
    """A file that failed although nothing is wrong with it: as it was, why it failed, and until when it waits."""

    stamp: Stamp
    message: str
    delay: float
    until: float


class _Watch:
    """A folder that is watched for a pool."""

    def __init__(
        self, pool: Core, folder: Path, settle: float, options: Mapping[str, Any], tell: Callable[[str], None]
    ) -> None:
        self._pool = pool
        self._folder = folder
        self._settle = settle
        self._options = options
        self._tell = tell
        self._arrivals = Arrivals(folder, settle, tell)
        file = None if pool.home is None else ledger_path(pool.home, pool.id, folder)
        self._ledger = Ledger(file, {"pool": pool.id, "folder": str(folder)})
        self._retries: dict[str, _Retry] = {}
        self._told: dict[str, str] = {}

    def run(self, *, once: bool, pause: Callable[[float], bool]) -> Iterator[Outcome]:
        """Add what arrives, until told to end."""
        wait = min(max(self._settle / 4, _LEAST_WAIT), _MOST_WAIT)
        end: float | None = None
        while True:
            began = time.monotonic()
            settled = self._arrivals.look(self._ledger.holds)
            looked = time.monotonic()
            if end is None:
                self._keep(lambda: self._ledger.forget_others(self._arrivals.there))
            for piece in _pieces({path: stamp for path, stamp in settled.items() if not self._waits(path, stamp)}):
                yield from self._add(piece)
                if pause(0):
                    return
            if once and (not self._arrivals.waiting or (end is not None and began >= end)):
                return
            end = looked + self._settle if end is None else end
            if pause(max(wait, (looked - began) * _SHARE)):
                return

    def _add(self, stamps: Mapping[str, Stamp]) -> Iterator[Outcome]:
        """Add files; note those with which all is done."""
        names = {self._folder / name: name for name in stamps}
        done: dict[str, Stamp] = {}
        try:
            for outcome in ingest(self._pool, list(names), **self._options):
                name = names[outcome.path]
                if isinstance(outcome.error, _PASSING):
                    if self._put_off(name, stamps[name], str(outcome.message)):
                        yield outcome
                    continue
                self._retries.pop(name, None)
                if not isinstance(outcome.error, FileMissing):  # what has vanished is no error
                    done[name] = stamps[name]
                    yield outcome
        except (StorageError, ServerError) as error:
            for name in [name for name, stamp in stamps.items() if not self._waits(name, stamp)]:
                self._put_off(name, stamps[name], "")
            self._say("pool", f"{error}; trying again later")
            return
        self._told.pop("pool", None)
        self._keep(lambda: self._ledger.note(done))

    def _waits(self, name: str, stamp: Stamp) -> bool:
        last = self._retries.get(name)
        return last is not None and last.stamp == stamp and time.monotonic() < last.until

    def _put_off(self, name: str, stamp: Stamp, message: str) -> bool:
        """Have a file wait until it is tried again; tell whether why it failed was not said before."""
        last = self._retries.get(name)
        again = last is not None and last.stamp == stamp
        delay = min(2 * last.delay, _MOST_RETRY) if last is not None and again else _RETRY
        self._retries[name] = _Retry(stamp, message, delay, time.monotonic() + delay)
        return last is None or not again or last.message != message

    def _keep(self, note: Callable[[], None]) -> None:
        """Write to the ledger; without it all is done, and read again after a restart."""
        try:
            note()
        except MiripoolError as error:
            self._say("ledger", f"{error}; after a restart, files that were added are read once more")
        else:
            self._told.pop("ledger", None)

    def _say(self, about: str, text: str) -> None:
        """Say something once, until it no longer holds."""
        if self._told.get(about) != text:
            self._told[about] = text
            self._tell(text)


def _pieces(stamps: Mapping[str, Stamp]) -> Iterator[dict[str, Stamp]]:
    """Divide files into pieces of work."""
    piece: dict[str, Stamp] = {}
    size = 0
    for name, stamp in stamps.items():
        if piece and (len(piece) == _MOST_FILES or size + stamp[0] > _MOST_BYTES):
            yield piece
            piece, size = {}, 0
        piece[name] = stamp
        size += stamp[0]
    if piece:
        yield piece
