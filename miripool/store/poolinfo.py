"""Pool's description: what ``pool.json`` says of a pool."""

from __future__ import annotations

import contextlib
import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from ..errors import FormatError, MiripoolError, NewerFormat, PoolNotFound
from .storage import storage_at

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .storage.contract import Held, Storage

__all__ = [
    "DELTA_FORMAT",
    "FORMAT",
    "INFO",
    "PIXEL_POLICIES",
    "PixelPolicy",
    "PoolInfo",
    "gone_pool",
    "name_within",
    "read_pool_info",
]

FORMAT = 4
"""Number of a pool folder's format; a reader refuses greater ones.

2: blobs may need others (delta blobs). 3: so may those of arrays below a megabyte, and for all but some pixels; tables
of long rows are deflated. 4: small arrays of one product share a blob.
"""

DELTA_FORMAT = 3
"""The first with all forms of blobs of one array."""

PixelPolicy = Literal["all", "tagged", "none"]

PIXEL_POLICIES: Mapping[str, PixelPolicy] = {"all": "all", "tagged": "tagged", "none": "none"}
"""By the words of ``pool.json`` and of the command line."""

INFO = "pool.json"
"""Key of the pool's description."""

_MOST_INFO = 1 << 20
"""Bytes of it: some settings, and the names the pool had."""


@dataclass(frozen=True, slots=True)
class PoolInfo:
    """What ``pool.json`` says.

    Attributes
    ----------
    id : str
        Unique and for ever; the index carries it too.
    created : datetime
        Aware, UTC.
    first_serial : int
        Where the pool's URNs begin: behind those of a deleted pool of the same name.
    former_names : tuple of str
        Names the pool had; URNs with them stay valid.
    pixels : {'all', 'tagged', 'none'}
        Which versions get pixel rows in the index by themselves: all; heads and tagged ones; none.
    format : int
        Of the folder. It is raised when something is stored there that an earlier miripool does not understand.
    """

    id: str
    created: datetime
    first_serial: int = 0
    former_names: tuple[str, ...] = ()
    pixels: PixelPolicy = "all"
    format: int = FORMAT

    def to_bytes(self) -> bytes:
        """Write ``pool.json``.

        Returns
        -------
        bytes
            Indented JSON, for people.
        """
        record = {
            "format": self.format,
            "id": self.id,
            "created": self.created.isoformat(timespec="seconds"),
            "first_serial": self.first_serial,
            "former_names": list(self.former_names),
            "pixels": self.pixels,
            "digest": "xxh3_128",
        }
        return (json.dumps(record, indent=2) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> PoolInfo:
        """Read ``pool.json``.

        Parameters
        ----------
        data : bytes
            Its content.
        where : str
            Its path, for messages.

        Returns
        -------
        PoolInfo
            What it says.

        Raises
        ------
        FormatError
            If it can't be read; NewerFormat if a newer miripool wrote it.
        """
        try:
            record = json.loads(data)
            if record["format"] > FORMAT:
                raise NewerFormat(
                    f"{where} has format {record['format']}, but this miripool reads up to {FORMAT}; update miripool"
                )
            return _info_from_json(record)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise FormatError(f"{where} is not a pool's description ({error!r})") from error


def _info_from_json(record: Mapping[str, Any]) -> PoolInfo:
    created = datetime.fromisoformat(record["created"])
    names, serial = record["former_names"], record["first_serial"]
    if any(type(number) is not int or number < 0 for number in (serial, record["format"])) or created.tzinfo is None:
        raise ValueError(f"format {record['format']!r}, first_serial {serial!r}, created {record['created']!r}")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"former_names {names!r}")
    policy = PIXEL_POLICIES[record["pixels"]]
    return PoolInfo(str(uuid.UUID(record["id"])), created, serial, tuple(names), policy, record["format"])


def read_pool_info(storage: Storage | Held) -> PoolInfo:
    """Read what a pool's storage says of the pool.

    Parameters
    ----------
    storage : Storage or Held
        The pool's.

    Returns
    -------
    PoolInfo
        What ``pool.json`` says.

    Raises
    ------
    NotFound
        If there is no pool.
    FormatError, IntegrityError
        If it can't be read.
    """
    return PoolInfo.from_bytes(storage.read(INFO, limit=_MOST_INFO), storage.name(INFO))


def gone_pool(storage: Storage, pool_id: str) -> PoolNotFound:
    """Say that a pool is no longer at its place, and where it went if it is still beside it.

    Parameters
    ----------
    storage : Storage
        Where it was when it was opened.
    pool_id : str
        The pool's.

    Returns
    -------
    PoolNotFound
        To be raised by the caller.
    """
    name = None if storage.files is None else name_within(storage.files.root.parent, pool_id)
    now = "" if name is None else f"; it is now called {name!r}"
    return PoolNotFound(
        f"the pool that was opened at {storage.place} is no longer there: it was deleted or renamed meanwhile, "
        f"or replaced by another{now}. Open the pool again, or run the command again: `miripool pools` lists the pools"
    )


def name_within(folder: Path, pool_id: str) -> str | None:
    """Find the name that a pool has in a folder of pools.

    Parameters
    ----------
    folder : pathlib.Path
        Holds pools.
    pool_id : str
        The pool's.

    Returns
    -------
    str or None
        None where the pool is not there, or can't be read.
    """
    for path in sorted(folder.glob(f"[!.]*/{INFO}")):
        with contextlib.suppress(MiripoolError):
            if read_pool_info(storage_at(str(path.parent))).id == pool_id:
                return path.parent.name
    return None
