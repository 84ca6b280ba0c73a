"""Given up: versions whose arrays `gc` removed for good while a session still refers to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import MiripoolError, ProductNotFound
from .journal import Journal, purged_serials
from .storage import LocalStorage

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["GivenUp"]


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Asks whether a version was given up for good since its product was opened; so it is no damage that it is gone.

    Attributes
    ----------
    folder : pathlib.Path
        The pool's.
    serial : int
        The version's.
    what : str
        What it is called.
    """

    folder: Path
    serial: int
    what: str

    def __call__(self) -> ProductNotFound | None:
        """Give what is to be said of it; None where it was not given up, or that can't be known."""
        try:
            if self.serial not in purged_serials(Journal(LocalStorage(self.folder)).since(-1, None)):
                return None
        except MiripoolError:
            return None
        return ProductNotFound(
            f"{self.what} was removed for good meanwhile: its arrays are gone, its metadata are kept"
        )
