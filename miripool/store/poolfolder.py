"""Pool folder: what stands where in a pool's folder, and which names are of the pool's own making.

Others may put files there, by mistake or by malice. What has another name than miripool gives is never deleted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .storage.contract import Storage

__all__ = ["FOLDERS", "Listing", "is_ours", "list_folder"]

FOLDERS = ("blobs", "manifests", "journal", "pending", "collecting", "leases", "quarantine", "work")
"""All that a pool has besides ``pool.json``."""

_DIGEST = "[0-9a-f]{30}"

_FORMS = {
    "blobs": re.compile(rf"blobs/([0-9a-f]{{2}})/\1{_DIGEST}\.h5"),
    "manifests": re.compile(rf"manifests/([0-9a-f]{{2}})/\1{_DIGEST}\.json"),
    "journal": re.compile(r"journal/\d{12}\.json", re.ASCII),
    "pending": re.compile(r"pending/[0-9a-f]{32}(-\d+)?\.json", re.ASCII),
    "collecting": re.compile(r"collecting/[0-9a-f]{32}\.json"),
    "leases": re.compile(r"leases/[0-9a-f]{32}\.lock"),
}

_TEMPORARY = re.compile(r"((blobs|manifests)/[0-9a-f]{2}/|(journal|pending|collecting|leases)/)?\.tmp-[0-9a-f]{16}")

_OTHERS = re.compile(r"pool\.json|(quarantine|work)/.+", re.DOTALL)
"""What is there for people, or belongs to a run: it is looked after elsewhere."""


def is_ours(key: str, folder: str) -> bool:
    """Tell whether a key in one of the pool's folders is of the form that miripool gives.

    Parameters
    ----------
    key : str
        Whatever stands there.
    folder : str
        ``blobs``, ``manifests``, ``journal``, ``pending``, ``collecting`` or ``leases``.

    Returns
    -------
    bool
        False for what others have put there.
    """
    return _FORMS[folder].fullmatch(key) is not None


@dataclass(frozen=True, slots=True)
class Listing:
    """What a pool's folder holds.

    Attributes
    ----------
    keys : list of str
        Blobs and manifests.
    temporaries : list of str
        Files of running writers, and those that killed ones left.
    unknown : list of str
        What has no name of a pool's; folders that are too deep end with ``/``.
    """

    keys: list[str] = field(default_factory=list)
    temporaries: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def list_folder(storage: Storage) -> Listing:
    """List a pool's folder; what is behind symbolic links is not part of it.

    Parameters
    ----------
    storage : Storage
        The pool's.

    Returns
    -------
    Listing
        In no order but that of the names that are unknown.

    Raises
    ------
    StorageError
        If one of the pool's own folders is a symbolic link.
    """
    storage.refuse_links(FOLDERS)
    found = Listing()
    for key in storage.everything():
        folder = key.partition("/")[0]
        if _TEMPORARY.fullmatch(key):
            found.temporaries.append(key)
        elif folder in _FORMS and is_ours(key, folder):
            if folder in {"blobs", "manifests"}:
                found.keys.append(key)
        elif not _OTHERS.fullmatch(key):
            found.unknown.append(key)
    found.unknown.sort()
    return found
