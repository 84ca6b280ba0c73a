"""Pictures in files: which formats there are, and the one way in which a picture gets its name on the disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from ...errors import AlreadyExists, FileMissing, InvalidInput
from ...system.outfile import is_folder, writing_file

__all__ = ["FORMATS", "format_of", "refuse_taken", "write_picture"]

FORMATS: Final = ("png", "pdf", "svg", "svgz", "jpg", "jpeg", "tif", "tiff", "webp", "eps", "ps")
"""Suffixes of figures. They need matplotlib alone; pgf, which it writes too, needs LaTeX."""


def format_of(path: str | Path, *, more: tuple[str, ...] = ()) -> str:
    """Give the format of a picture by the name of its file.

    Parameters
    ----------
    path : path-like
        The file.
    more : tuple of str, keyword-only
        Formats that this picture has beside `FORMATS`.

    Returns
    -------
    str
        In small letters.

    Raises
    ------
    InvalidInput
        If the name ends otherwise.
    """
    found = Path(path).suffix.removeprefix(".").lower()
    if found not in (*FORMATS, *more):
        known = ", ".join(f".{name}" for name in (*FORMATS, *more))
        raise InvalidInput(f"{path}: the name of a picture ends in one of {known}")
    return found


def refuse_taken(path: str | Path, *, overwrite: bool) -> None:
    """Refuse a file that can't be written, before arrays are read.

    Parameters
    ----------
    path : path-like
        The file.
    overwrite : bool, keyword-only
        A file that is there may be replaced.

    Raises
    ------
    AlreadyExists
        If there is a file of that name.
    FileMissing
        If its folder is not there.
    """
    path = Path(path)
    if not overwrite and os.path.lexists(path):
        raise AlreadyExists(
            f"{path} exists already; nothing was written; choose another name, or overwrite it "
            "(--overwrite, overwrite=True)"
        )
    if not is_folder(path.parent):
        raise FileMissing(f"{path.parent}: no such folder; make it first")


def write_picture(picture: bytes, path: str | Path, *, overwrite: bool = True) -> Path:
    """Write a picture to a file, completely or not at all.

    Parameters
    ----------
    picture : bytes
        The file's content. It is whole before anything is written: encoders report a full disk as an error of theirs.
    path : path-like
        The file.
    overwrite : bool, keyword-only
        Replace a file that is there.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    AlreadyExists
        If there is a file of that name.
    InvalidInput
        If it is a folder, a pipe or a device.
    FileMissing, StorageError, DiskFull
        If the folder is not there or can't be written.
    """
    path = Path(path)
    with writing_file(path, overwrite=overwrite) as file:
        file.write(picture)
    return path
