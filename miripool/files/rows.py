"""Questions to the index of a pool that is open for long: its embedded server may have been stopped since."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from ..index.folders import PAGE, page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..index.connection import Database
    from ..index.folders import FileFolder, FileRow
    from ..pool.core import Core

__all__ = ["ask", "walk"]

_T = TypeVar("_T")


def ask(core: Core, question: Callable[[Database], _T]) -> _T:
    """Ask the index; once more if its server was stopped meanwhile.

    Parameters
    ----------
    core : Core
        The pool.
    question : callable
        Takes the database.

    Returns
    -------
    object
        The answer.
    """
    return core.again(lambda: question(core.catalog.database))


def walk(core: Core, folder: FileFolder) -> Iterator[list[FileRow]]:
    """Give all versions of a folder, page by page.

    Parameters
    ----------
    core : Core
        The pool.
    folder : FileFolder
        The folder.

    Yields
    ------
    list of FileRow
        In the order of `miripool.index.folders.page`; none of them empty.
    """
    last: FileRow | None = None
    while True:
        rows = ask(core, lambda database, after=last: page(database, folder, after, PAGE))  # type: ignore[misc]
        if rows:
            yield rows
        if len(rows) < PAGE:
            return
        last = rows[-1]
