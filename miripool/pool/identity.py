"""Identity: what headers say of an exposure, so that no file becomes a version of another exposure's product."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import Conflict
from ..model.metadata import MetaData
from ..model.product import Product

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..store.manifest import Manifest

__all__ = ["EntryMember", "Identity", "Sibling", "refuse_other_exposure"]

_SAME_START = timedelta(seconds=1)
"""Headers round the start of an exposure, and not all alike."""

_KEYS = (("DETECTOR", "detector"), ("SUBARRAY", "subarray"), ("OBS_ID", "obs_id"))


@dataclass(frozen=True, slots=True)
class Identity:
    """What the headers of a product say of its exposure; None where they say nothing.

    Attributes
    ----------
    detector, subarray, obs_id : object
        Values of DETECTOR, SUBARRAY and OBS_ID, which should be text.
    date, clock, begin : datetime or None
        DATE-OBS, TIME-OBS and DATE-BEG, where they are times in UTC; a day alone is its midnight.
    """

    detector: Any
    subarray: Any
    obs_id: Any
    date: datetime | None
    clock: datetime | None
    begin: datetime | None

    @classmethod
    def of(cls, manifest: Manifest) -> Identity:
        """Read it from the headers of a version.

        Parameters
        ----------
        manifest : Manifest
            The version.

        Returns
        -------
        Identity
            By the first header that has each keyword.
        """
        meta = MetaData([(hdu.name, hdu.header) for hdu in manifest.hdus])
        keys = ("DETECTOR", "SUBARRAY", "OBS_ID", "DATE-OBS", "TIME-OBS", "DATE-BEG")
        detector, subarray, obs_id, *times = (meta[key].value if key in meta else None for key in keys)
        date, clock, begin = (value if isinstance(value, datetime) else None for value in times)
        return cls(detector, subarray, obs_id, date, clock, begin)


class Sibling(Protocol):
    """A product that has the name already: `miripool.index.ProductRow`, or a `EntryMember` of the same entry."""

    @property
    def kind(self) -> str:
        """Its kind."""

    @property
    def version(self) -> int:
        """Its number in its track."""

    @property
    def detector(self) -> str | None:
        """Its DETECTOR."""

    @property
    def subarray(self) -> str | None:
        """Its SUBARRAY."""

    @property
    def obs_id(self) -> str | None:
        """Its OBS_ID."""

    @property
    def start_time(self) -> datetime | None:
        """When its exposure began."""


@dataclass(frozen=True, slots=True)
class EntryMember:
    """A product that is to be saved by the same entry, as the index will have it."""

    kind: str
    version: int
    detector: str | None
    subarray: str | None
    obs_id: str | None
    start_time: datetime | None

    @classmethod
    def of(cls, kind: str, version: int, identity: Identity) -> EntryMember:
        """Say what a product will be.

        Parameters
        ----------
        kind : str
            Its kind.
        version : int
            Its number in its track.
        identity : Identity
            What its headers say.

        Returns
        -------
        EntryMember
            For `refuse_other_exposure`.
        """
        detector, subarray, obs_id = (
            value if isinstance(value := getattr(identity, column), str) else None for _, column in _KEYS
        )
        return cls(kind, version, detector, subarray, obs_id, identity.clock or identity.begin)


def refuse_other_exposure(siblings: Iterable[Sibling], kind: str, name: str, identity: Identity) -> None:
    """Refuse a product whose name belongs to another exposure.

    Parameters
    ----------
    siblings : iterable of Sibling
        What has the name.
    kind, name : str
        The product's.
    identity : Identity
        What its headers say.

    Raises
    ------
    Conflict
        If headers contradict each other.
    """
    for sibling in siblings:
        if (sibling.kind == Product.kind) != (kind == Product.kind):
            continue  # a file of unknown kind has words of its own, e.g. a ground test's for a detector
        differences = [
            f"{key} is {value}, in the pool {known}"
            for key, column in _KEYS
            if (value := getattr(identity, column)) is not None
            and (known := getattr(sibling, column)) is not None
            and value != known
        ]
        differences += _other_start(identity, sibling.start_time)
        if differences:
            raise Conflict(
                f"{name} is the name of another exposure in this pool ({sibling.kind} version {sibling.version}): "
                f"{'; '.join(differences)}. Nothing was saved; rename the file, or choose another name (name=, --name)"
            )


def _other_start(identity: Identity, known: datetime | None) -> list[str]:
    date, clock = identity.date, identity.clock
    if known is None or date is None:
        return []
    if date.date() != known.date():
        return [f"DATE-OBS is {date.date()}, in the pool {known.date()}"]
    if clock is not None and abs(clock - known) > _SAME_START:
        return [f"TIME-OBS is {clock:%H:%M:%S}, in the pool {known:%H:%M:%S}"]
    return []
