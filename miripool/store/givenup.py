"""Given up: versions whose arrays, or whose pool, are gone for good while a session still refers to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import MiripoolError, NotFound, ProductNotFound
from .journal import Journal, purged_serials
from .poolinfo import gone_pool, read_pool_info

if TYPE_CHECKING:
    from .storage.contract import Storage

__all__ = ["GivenUp"]


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Asks whether a version was removed for good, or its pool deleted, since it was opened: then nothing is damaged.

    Attributes
    ----------
    storage : Storage
        The pool's.
    pool_id : str
        The pool's.
    serial : int
        The version's.
    what : str
        What it is called.
    """

    storage: Storage
    pool_id: str
    serial: int
    what: str

    def __call__(self) -> NotFound | None:
        """Give what is to be said of it; None where neither is so, or that can't be known."""
        try:
            if read_pool_info(self.storage).id != self.pool_id:
                return gone_pool(self.storage, self.pool_id)
            entries = Journal(self.storage).since(-1, None)
            entry = next((entry for entry in entries if self.serial in purged_serials([entry])), None)
        except NotFound:
            return gone_pool(self.storage, self.pool_id)
        except MiripoolError:
            return None
        if entry is None:
            return None
        return ProductNotFound(
            f"{self.what} was removed for good on {entry.time:%Y-%m-%d %H:%M} UTC: its arrays are gone, only its "
            "metadata remain"
        )
