"""All pools of a home as one tree of folders: each pool's own tree lies in a folder of its name."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..errors import InvalidName, PoolNotFound
from ..model.names import shown
from ..session.pools import Pools
from .tree import FileNode, PoolTree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..session.home import Home
    from ..session.pool import Pool
    from .tree import OpenedFile

__all__ = ["HomeTree"]


class HomeTree:
    """The trees of a home's pools. Several threads may use it.

    Parameters
    ----------
    home : Home
        The home. A pool is opened when something in its folder is first asked for, and stays open.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._pools = Pools(home)
        self._trees: dict[str, tuple[Pool, PoolTree]] = {}
        self._lock = threading.Lock()

    def find(self, path: str) -> FileNode:
        """Give what lies at a path.

        Parameters
        ----------
        path : str
            ``/``, ``/jpl8`` or ``/jpl8/by-kind/Ramp/x_ramp.fits``.

        Returns
        -------
        FileNode
            A folder or a file.

        Raises
        ------
        NotFound
            If there is no such pool, or nothing of that name in it.
        """
        name, inside = _split(path)
        if not name:
            return self._folder("")
        node = self._tree(name).find(inside)
        return node if inside != "/" else self._folder(name)

    def entries(self, path: str) -> Iterator[FileNode]:
        """Give what a folder holds.

        Parameters
        ----------
        path : str
            As for `find`.

        Returns
        -------
        iterator of FileNode
            Sorted by name.

        Raises
        ------
        NotFound
            As for `find`.
        InvalidInput
            If it is a file.
        """
        name, inside = _split(path)
        if not name:
            return map(self._folder, self._pools.names())
        return self._tree(name).entries(inside)

    def open(self, path: str) -> tuple[FileNode, OpenedFile]:
        """Open a file.

        Parameters
        ----------
        path : str
            As for `find`.

        Returns
        -------
        node : FileNode
            What was opened, also where a newer version takes its place at that moment.
        file : OpenedFile
            Gives any of its bytes.

        Raises
        ------
        NotFound
            As for `find`.
        InvalidInput
            If it is a folder.
        """
        name, inside = _split(path)
        tree = self._tree(name)
        node = tree.find(inside)
        while True:
            file = tree.open(inside)
            before, node = node, tree.find(inside)
            if node.etag == before.etag:
                return node, file

    def close(self) -> None:
        """Close all pools."""
        self._pools.close()

    def _tree(self, name: str) -> PoolTree:
        try:
            pool = self._pools.pool(name)
        except InvalidName:  # file managers ask for files of their own, e.g. .DS_Store
            raise PoolNotFound(f"there is no pool {shown(name)}; `miripool pools` lists them") from None
        with self._lock:
            if name not in self._trees or self._trees[name][0] is not pool:
                self._trees[name] = (pool, PoolTree(pool))
            return self._trees[name][1]

    def _folder(self, name: str) -> FileNode:
        """Describe the top or a pool's folder. No pool is opened for a list of all of them."""
        path = self._home.path / "pools" / name
        try:
            found = path.stat()
        except FileNotFoundError:
            if name:
                raise PoolNotFound(f"there is no pool {shown(name)}; it was deleted") from None
            return FileNode("", True, 0, datetime.fromtimestamp(0, UTC), 0, "")
        return FileNode(name, True, 0, datetime.fromtimestamp(found.st_mtime, UTC), found.st_ino, "")


def _split(path: str) -> tuple[str, str]:
    """Give a pool's name and a path within it, which begins with a slash."""
    name, _, inside = path.strip("/").partition("/")
    return name, f"/{inside}"
