"""Links instead of copies: to the files of a pool where it is mounted."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from ..errors import AlreadyExists, FileMissing, InvalidInput
from ..index.folders import FILE_KINDS
from ..pool.core import core_of
from ..system.oserrors import storage_error
from ..system.outfile import is_folder
from .mountpoint import mounted_at
from .tree import PoolTree

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ..pool.reference import ProductRef
    from ..session.pool import Pool

__all__ = ["link_targets", "make_link"]


def link_targets(pool: Pool, paths: Mapping[Path, ProductRef]) -> dict[Path, Path]:
    """Choose what links lead to: the files of these versions where the pool is mounted.

    Parameters
    ----------
    pool : Pool
        The pool.
    paths : mapping of pathlib.Path to ProductRef
        The links, and the versions.

    Returns
    -------
    dict of pathlib.Path to pathlib.Path
        For each link a file whose content never changes.

    Raises
    ------
    NotFound
        If the pool is not mounted.
    InvalidInput
        If a version is no FITS file.
    """
    top = mounted_at(core_of(pool).id, pool.name)
    tree = PoolTree(pool)
    lists = [ref for ref in paths.values() if ref.kind not in FILE_KINDS]
    if lists:
        raise InvalidInput(
            f"{lists[0].urn} is a list of products and has no file to link to; leave it out, or export copies"
        )
    return {path: top / tree.path_of(ref).lstrip("/") for path, ref in paths.items()}


def make_link(path: Path, target: Path, *, overwrite: bool = False) -> None:
    """Make a symbolic link.

    Parameters
    ----------
    path : pathlib.Path
        The link.
    target : pathlib.Path
        What it leads to.
    overwrite : bool, keyword-only
        Replace a file or link of that name.

    Raises
    ------
    AlreadyExists
        If there is something of that name.
    FileMissing
        If the folder is not there.
    StorageError, ReadOnly
        If the link can't be made.
    """
    if not is_folder(path.parent):
        raise FileMissing(f"{path.parent}: no such folder; make it first")
    new = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        if not overwrite:
            path.symlink_to(target)
            return
        new.symlink_to(target)
        try:
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
    except FileExistsError as error:
        raise AlreadyExists(
            f"{path}: a file of that name exists; choose another name, or overwrite it (--overwrite)"
        ) from error
    except OSError as error:
        raise storage_error(error, path) from error
