"""Attached pools: links in a home to pools elsewhere. The folder may be missing, or may belong to another user."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..errors import AlreadyExists, PoolNotFound
from ..system.oserrors import storage_error

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["attached_folder", "links", "make_link", "pool_away", "remove_link"]


def links(folder: Path) -> dict[str, Path]:
    """List the links among a home's pools, including links whose folder is missing.

    Parameters
    ----------
    folder : pathlib.Path
        The home's folder of pools.

    Returns
    -------
    dict of str to pathlib.Path
        Where each leads, by the pool's name.

    Raises
    ------
    StorageError, ReadOnly
        If they can't be listed.
    """
    try:
        return {path.name: path.readlink() for path in sorted(folder.iterdir()) if _is_named_link(path)}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise storage_error(error, folder) from error


def _is_named_link(path: Path) -> bool:
    return not path.name.startswith(".") and path.is_symlink()


def attached_folder(link: Path) -> Path:
    """Tell where a link leads.

    Parameters
    ----------
    link : pathlib.Path
        In a home's folder of pools.

    Returns
    -------
    pathlib.Path
        The folder, whether it is there or not.

    Raises
    ------
    PoolNotFound
        If the link is not there any more.
    """
    try:
        return link.readlink()
    except FileNotFoundError:
        raise PoolNotFound(f"{link} no longer exists: the pool was detached or renamed meanwhile") from None
    except OSError as error:
        raise storage_error(error, link) from error


def make_link(link: Path, folder: Path) -> None:
    """Make a link to a pool.

    Parameters
    ----------
    link : pathlib.Path
        In a home's folder of pools, which is made if there is none.
    folder : pathlib.Path
        The pool.

    Raises
    ------
    AlreadyExists
        If the name is taken.
    ReadOnly, StorageError
        If the link can't be made.
    """
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(folder, target_is_directory=True)
    except FileExistsError:
        raise AlreadyExists(f"there is a pool {link.name!r} in {link.parent.parent} already") from None
    except OSError as error:
        raise storage_error(error, link) from error


def remove_link(link: Path) -> None:
    """Remove a link, if it still exists.

    Parameters
    ----------
    link : pathlib.Path
        To a pool.

    Raises
    ------
    ReadOnly, StorageError
        If it can't be removed.
    """
    try:
        link.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(error, link) from error


def pool_away(link: Path) -> str | None:
    """Say that the pool behind a link is missing.

    Parameters
    ----------
    link : pathlib.Path
        In a home's folder of pools.

    Returns
    -------
    str or None
        What is wrong and what to do; None if it is no link, or if its pool exists.
    """
    if not link.is_symlink() or os.path.lexists(link / "pool.json"):
        return None
    return (
        f"the folder of the attached pool {link.name!r}, {attached_folder(link)}, is missing: it was renamed or "
        f"deleted, or its disk is not mounted. Bring the folder back, or run `miripool detach {link.name}`"
    )
