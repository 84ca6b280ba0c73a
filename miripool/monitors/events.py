"""Events: anneals and other things that happen to a detector, and what they did to its pixels."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import FileMissing, InvalidInput
from .rows import read_members, read_rows, read_strata

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ..model.product import Product

    Rows = NDArray[np.void]
    Record = dict[str, Any]

__all__ = ["BAD", "Event", "effect_records", "events_of", "events_table", "read_events", "wilson"]

BAD: Final = ("hot", "warm", "dead", "low_qe", "open", "noisy", "rc", "rts", "unstable")
"""States of which a pixel can heal."""
_NORMAL_95: Final = 1.959964
_SLACK: Final = 1
"""Exposures by which the end of an episode may be off."""


@dataclass(frozen=True, slots=True, order=True)
class Event:
    """Something that happened to the detector.

    Attributes
    ----------
    time : datetime
        When; aware.
    kind : str
        E.g. ``anneal``.
    note : str
        Anything else.
    """

    time: datetime
    kind: str = "anneal"
    note: str = ""

    def __post_init__(self) -> None:
        if self.time.tzinfo is None:
            raise InvalidInput(f"the time of an event needs a time zone: {self.time.isoformat()}")
        if not self.kind.strip():
            raise InvalidInput("an event needs a kind, e.g. anneal")


def events_of(product: Product) -> list[Event]:
    """Read the events of a monitor.

    Parameters
    ----------
    product : Product
        Of the monitor.

    Returns
    -------
    list of Event
        In the order of time.
    """
    rows = read_rows(product, "EVENTS")
    return sorted(Event(datetime.fromisoformat(row["time"]), row["kind"], row["note"]) for row in rows)


def events_table(events: Iterable[Event]) -> Rows:
    """Write events as a table.

    Parameters
    ----------
    events : iterable of Event
        In any order; equal ones count once.

    Returns
    -------
    structured ndarray
        Columns ``time``, ``kind`` and ``note``, as bytes.
    """
    rows = [
        (e.time.astimezone(UTC).isoformat(timespec="microseconds").encode(), e.kind.encode(), e.note.encode())
        for e in sorted(set(events))
    ]
    widths = [max([1, *(len(row[i]) for row in rows)]) for i in range(3)]
    names = zip(("time", "kind", "note"), widths, strict=True)
    return np.array(rows, np.dtype([(name, f"S{width}") for name, width in names]))


def read_events(path: Path) -> list[Event]:
    """Read events from a CSV file with the columns ``time``, and perhaps ``kind`` and ``note``.

    Parameters
    ----------
    path : Path
        The file. Times are in ISO form; UTC unless they have a zone.

    Returns
    -------
    list of Event
        In the order of the file.

    Raises
    ------
    FileMissing
        If there is no such file.
    InvalidInput
        If it has no column ``time``, or a time can't be read; the message names the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise FileMissing(f"{path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not a text file in UTF-8") from error
    lines = csv.DictReader(line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    if "time" not in (lines.fieldnames or ()):
        raise InvalidInput(f"{path} has no column 'time'; its first line must name the columns: time,kind,note")
    return [_event_of(row, f"{path}, row {number}") for number, row in enumerate(lines, 1)]


def _event_of(row: Mapping[str, str | None], where: str) -> Event:
    text = (row["time"] or "").strip()
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"{where}: {text!r} is not a time; write 2026-05-01T12:00:00") from None
    time = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    return Event(time, (row.get("kind") or "anneal").strip(), (row.get("note") or "").strip())


def effect_records(product: Product, events: Sequence[Event]) -> list[Record]:
    """Say what events did: which fraction of the bad pixels healed, and of the good pixels became bad.

    A pixel counts as healed if it was bad before the event and its episode ended with the first exposure after it, give
    or take one exposure.

    Parameters
    ----------
    product : Product
        Of the monitor.
    events : sequence of Event
        In any order.

    Returns
    -------
    list of dict
        For each event, each stratum that has exposures before and after it, and each state that occurs, and for all
        together (``any``): ``time, kind, note, stratum, state, before, after`` (URNs of the exposures next to it),
        ``bad, healed, healed_fraction, healed_low, healed_high`` and ``good, born, born_fraction, born_low,
        born_high``; the limits are those of Wilson's 95 % interval. Fractions are None of nothing. An event that lies
        between no two exposures of a stratum has one record, of None. By time.
    """
    strata, members = read_strata(product), read_members(product)
    episodes: Any = np.asarray(product["STATES"][...]) if strata else None
    found = []
    for number, (stratum, exposures) in enumerate(zip(strata, members, strict=True)):
        times = [row["time"] for row in exposures]
        mine = episodes[episodes["stratum"] == number]
        usable = int(np.count_nonzero(np.isfinite(np.asarray(product[f"NOISE{number}"][...]))))
        there = {name.decode() for name in np.unique(mine["state"]).tolist()} & set(BAD)
        for event in events:
            after = sum(time < event.time for time in times)
            if not 0 < after < len(times):
                continue
            beside = {"before": exposures[after - 1]["urn"], "after": exposures[after]["urn"]}
            for state in (*sorted(there, key=BAD.index), "any"):
                chosen = BAD if state == "any" else (state,)
                part = mine[np.isin(mine["state"], [name.encode() for name in chosen])]
                head = _head(event) | {"stratum": str(stratum), "state": state, **beside}
                found.append(head | _effect(part, after, len(times), usable))
    seen = {(record["time"], record["kind"], record["note"]) for record in found}
    found += [_head(event) | dict(_NOTHING) for event in events if (event.time, event.kind, event.note) not in seen]
    return sorted(found, key=lambda record: (record["time"], record["kind"], record["note"], record["stratum"] or ""))


def _head(event: Event) -> Record:
    return {"time": event.time, "kind": event.kind, "note": event.note}


def _effect(episodes: Rows, after: int, exposures: int, usable: int) -> Record:
    """Count pixels that were bad before an exposure and good from it on, and the other way round."""
    before, later = max(after - 1 - _SLACK, 0), min(after + _SLACK, exposures - 1)
    was = _places(episodes, (episodes["begin"] <= before) & (episodes["end"] >= after - _SLACK))
    still = _places(episodes, (episodes["begin"] <= later) & (episodes["end"] > later))
    new = _places(episodes, (np.abs(episodes["begin"] - after) <= _SLACK) & (episodes["end"] > later))
    healed, born = len(was - still), len((new & still) - was)
    bad, good = len(was), max(usable - len(was), 0)
    return _counts("bad", "healed", healed, bad) | _counts("good", "born", born, good)


def _places(episodes: Rows, chosen: NDArray[np.bool_]) -> set[tuple[int, int]]:
    return set(zip(episodes["x"][chosen].tolist(), episodes["y"][chosen].tolist(), strict=True))


def _counts(of: str, name: str, part: int, whole: int) -> Record:
    low, high = wilson(part, whole) if whole else (None, None)
    share = part / whole if whole else None
    return {of: whole, name: part, f"{name}_fraction": share, f"{name}_low": low, f"{name}_high": high}


_NOTHING: Final[Mapping[str, None]] = dict.fromkeys(
    ("stratum", "state", "before", "after", *_counts("bad", "healed", 0, 0), *_counts("good", "born", 0, 0))
)
"""Effect of an event that lies between no two exposures."""


def wilson(part: int, whole: int) -> tuple[float, float]:
    """Give the 95 % interval of a probability from counts [1]_.

    Parameters
    ----------
    part, whole : int
        How many of how many, at least one.

    Returns
    -------
    low, high : float
        Between 0 and 1.

    References
    ----------
    .. [1] E. B. Wilson, Journal of the American Statistical Association 22 (1927) 209.
    """
    share, z2 = part / whole, _NORMAL_95**2
    middle = (share + z2 / (2 * whole)) / (1 + z2 / whole)
    half = _NORMAL_95 / (1 + z2 / whole) * ((share * (1 - share) + z2 / (4 * whole)) / whole) ** 0.5
    return (middle - half if part else 0.0), (middle + half if part < whole else 1.0)
