"""Folders outside of homes (`/var/lib/miripool/<home id>`) whose home was removed by hand."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import stat
from pathlib import Path

from .postmaster import Presence, find_postmaster
from .state import try_lock, unlock

__all__ = ["find_orphans", "remove_orphans"]

_log = logging.getLogger(__name__)
_OURS = frozenset({"data", "socket", "home.json", "cluster.lock"})


def find_orphans(place: Path) -> list[Path]:
    """Find folders whose home does not exist any more.

    Parameters
    ----------
    place : Path
        `/var/lib/miripool`.

    Returns
    -------
    list of Path
        Only such as are of miripool's own form and this user's, name a home whose parent folder is there with
        something in it (an empty one may be the place of a disk that is not mounted), and have no server. A home that
        was renamed is found beside its old name; one that was moved elsewhere makes its index again from its pools.
    """
    try:
        return sorted(folder for folder in place.iterdir() if _is_orphan(folder))
    except OSError:
        return []


def remove_orphans(place: Path) -> list[Path]:
    """Remove what `find_orphans` finds; what can't be removed stays.

    Parameters
    ----------
    place : Path
        `/var/lib/miripool`.

    Returns
    -------
    list of Path
        The removed folders.
    """
    return [folder for folder in find_orphans(place) if _remove(folder)]


def _remove(folder: Path) -> bool:
    """Remove a folder, under the lock that its server's processes would hold."""
    try:
        lock = try_lock(folder / "cluster.lock")
        if lock is None:
            return False
        try:
            if not _is_orphan(folder):
                return False
            shutil.rmtree(folder)
        finally:
            unlock(lock)
    except OSError as error:
        _log.warning("%s is left over from a home that was removed, but can't be removed: %s", folder, error)
        return False
    _log.info("removed %s: its home was removed", folder)
    return True


def _is_orphan(folder: Path) -> bool:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        if len(folder.name) != 32 or set(folder.name) - set("0123456789abcdef"):
            return False
        seen, note = folder.lstat(), (folder / "home.json").lstat()
        if not stat.S_ISDIR(seen.st_mode) or not stat.S_ISREG(note.st_mode):
            return False
        if {seen.st_uid, note.st_uid} != {os.geteuid()}:
            return False
        names = {path.name for path in folder.iterdir()}
        if any(name not in _OURS and not name.startswith("data.new-") for name in names):
            return False
        home = Path(json.loads((folder / "home.json").read_bytes())["home"])
        if not home.is_absolute() or _exists(home) or not any(home.parent.iterdir()):
            return False
        if any(_id_of(beside) == folder.name for beside in home.parent.iterdir()):
            return False  # renamed
        return find_postmaster(folder / "data").presence is not Presence.RUNNING
    return False


def _id_of(home: Path) -> str | None:
    try:
        return (home / "postgres" / "id").read_text().strip()
    except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
        return None


def _exists(home: Path) -> bool:
    """Tell whether a home is there; raise OSError where that can't be told, also of a disk that fails."""
    try:
        home.lstat()
    except FileNotFoundError:
        return False
    return True
