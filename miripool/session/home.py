"""Home: the folder with all of a user's pools, its configuration, and its PostgreSQL server."""

from __future__ import annotations

import contextlib
import functools
import os
import uuid
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from .. import index
from ..errors import (
    AlreadyExists,
    Conflict,
    FormatError,
    IncompleteAnswer,
    InvalidInput,
    MiripoolError,
    NotFound,
    PoolNotFound,
)
from ..model.keywords import suggest
from ..model.names import check_pool_name
from ..pixels.gaps import notice_of_gaps
from ..pool.core import Core, core_of
from ..server import EmbeddedServer
from ..store.archive import Archive
from ..store.poolinfo import read_pool_info
from ..store.storage.local import LocalStorage
from ..system.files import read_plain
from ..system.oserrors import storage_error
from ..system.warning import warn_caller
from .attached import attached_folder, links, make_link, pool_away, remove_link
from .deletedpools import DeletedPools
from .pool import Pool
from .summary import PoolSummary, summarize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..index import Answer, Catalog
    from ..index.connection import Database

__all__ = ["Home", "default_home"]

_SETTINGS = {"database_url"}

_RENAMINGS = 5
"""Tries to give an index its pool's new name."""

_MOST_SETTINGS = 1 << 20
"""Bytes of a file with settings."""


def default_home() -> Path:
    """Give the folder that is used unless another is named.

    Returns
    -------
    pathlib.Path
        ``$MIRIPOOL_HOME``, or the platform's folder for a user's data.
    """
    named = os.environ.get("MIRIPOOL_HOME")
    if named:
        return Path(named).expanduser()
    import platformdirs

    return platformdirs.user_data_path("miripool")


class Home:
    """A folder of pools.

    Parameters
    ----------
    path : path-like, optional
        The folder; by default `default_home()`. It is created when something is first stored in it.
    progress : callable, optional
        Called with a message when something takes long, e.g. when PostgreSQL recovers after a crash.
    """

    def __init__(self, path: Path | str | None = None, *, progress: Callable[[str], None] | None = None) -> None:
        self.path = Path(path).expanduser().absolute() if path is not None else default_home().absolute()
        self._progress = progress

    def __repr__(self) -> str:
        return f"<Home {self.path}>"

    @property
    def server(self) -> EmbeddedServer:
        """The embedded PostgreSQL server of this home; nothing is started."""
        return EmbeddedServer(self.path)

    @property
    def external_url(self) -> str | None:
        """The URL of a server that is used instead of the embedded one."""
        return os.environ.get("MIRIPOOL_DATABASE_URL") or self._configuration().get("database_url")

    def _configuration(self) -> dict[str, str]:
        path = self.path / "config.toml"
        try:
            text = read_plain(path, limit=_MOST_SETTINGS, follow=True)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise storage_error(error, path) from error
        import tomllib

        try:
            settings = tomllib.loads(text.decode("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise FormatError(f"{path} is not TOML: {error}") from error
        unknown = set(settings) - _SETTINGS
        if unknown or not all(isinstance(v, str) for v in settings.values()):
            raise InvalidInput(f"{path}: the only setting is {', '.join(sorted(_SETTINGS))}, and its value is text")
        return settings

    def database_url(self) -> str:
        """Give the URL of the database. The embedded server is started if necessary.

        Returns
        -------
        str
            For SQLAlchemy or psql; it may hold a password.
        """
        external = self.external_url
        return external if external is not None else self.server.ensure(progress=self._progress)

    @contextlib.contextmanager
    def sql(self, name: str, statement: str) -> Iterator[Answer]:
        """Query a pool's index in SQL, read-only.

        Parameters
        ----------
        name : str
            The pool; its tables and views need no schema name.
        statement : str
            One statement that returns rows.

        Yields
        ------
        Answer
            Columns and rows; valid within the ``with`` block.

        Raises
        ------
        InvalidInput
            If PostgreSQL can't read it.
        ReadOnly
            If it writes.

        Warns
        -----
        miripool.errors.IncompleteAnswer
            If any version of the pool has no pixel rows, even if the statement does not need them. The answer's
            ``notice`` has the same text.
        """
        with self.pool(name) as pool:
            notice = _ready_for_sql(pool)
            with (
                contextlib.closing(self._reader(core_of(pool).catalog.database)) as database,
                index.ask(database, statement) as answer,
            ):
                answer.notice = notice
                yield answer

    def psql_url(self, name: str) -> tuple[str, str]:
        """Give the URL and the schema with which psql can read a pool.

        Parameters
        ----------
        name : str
            The pool.

        Returns
        -------
        url, schema : str
            The database, and the schema with the pool's tables.

        Warns
        -----
        miripool.errors.IncompleteAnswer
            As for `sql`.
        """
        with self.pool(name) as pool:
            _ready_for_sql(pool)
            with contextlib.closing(self._reader(core_of(pool).catalog.database)) as database:
                return database.psql_url, database.schema

    def _reader(self, database: Database) -> Database:
        if self.external_url is not None:
            return database.as_user(None)
        index.grant_reader(database)
        return database.as_user(index.READER)

    def _folder(self, name: str) -> Path:
        return self.path / "pools" / name

    @property
    def _deleted(self) -> DeletedPools:
        return DeletedPools(self.path / "pools")

    def names(self) -> list[str]:
        """List the pools.

        Returns
        -------
        list of str
            Sorted names.
        """
        folder = self.path / "pools"
        try:
            return sorted(p.name for p in folder.iterdir() if p.name[0] != "." and _seems_a_pool(p))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise storage_error(error, folder) from error

    def pool(self, name: str, *, create: bool = False) -> Pool:
        """Open a pool. No data are read.

        Parameters
        ----------
        name : str
            The pool's name.
        create : bool, keyword-only
            Create the pool if it does not exist.

        Returns
        -------
        Pool
            The pool.

        Raises
        ------
        PoolNotFound
            If there is no such pool; the message lists the existing pools.
        InvalidName
            If the name is not valid for a pool.
        """
        check_pool_name(name)
        try:
            archive = Archive.open(LocalStorage(self._folder(name)))
        except NotFound:
            if create:
                return self.create(name, exist_ok=True)
            raise self._no_pool(name) from None
        return self._open(name, archive)

    def _open(self, name: str, archive: Archive) -> Pool:
        def connect() -> Catalog:
            return index.Catalog.open(
                self.database_url(),
                schema=index.schema_name(name),
                pool_id=archive.info.id,
                first_serial=archive.info.first_serial,
            )

        again = (reopen, (str(self.path), name, archive.info.id))
        return Pool(Core(name, archive, connect, opened_by=again, home=self.path))

    def _no_pool(self, name: str) -> PoolNotFound:
        away = pool_away(self._folder(name))
        if away is not None:
            return PoolNotFound(away)
        names = self.names()
        for other in names:
            with contextlib.suppress(MiripoolError):
                if name in read_pool_info(LocalStorage(self._folder(other))).former_names:
                    return PoolNotFound(f"no pool {name!r} in {self.path}: it is now called {other!r}")
        near = suggest(name, names)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        there = f"the pools are {', '.join(names)}" if names else "there are none yet; `miripool create` makes one"
        return PoolNotFound(f"no pool {name!r} in {self.path}; {hint}{there}")

    def create(self, name: str, *, exist_ok: bool = False) -> Pool:
        """Create a pool.

        Parameters
        ----------
        name : str
            Name of the pool.
        exist_ok : bool, keyword-only
            If a pool of that name exists, return it.

        Returns
        -------
        Pool
            Empty.

        Raises
        ------
        AlreadyExists
            If the name is taken, if another pool had the name before (its URNs stay valid), or if the folder of that
            name is not empty.
        Conflict
            If the database has the index of another pool under that name.
        ServerUnavailable
            If the database can't be reached. Nothing is created then.
        """
        check_pool_name(name)
        self._refuse_similar(name)
        folder = self._folder(name)
        away = pool_away(folder)
        if away is not None:
            raise AlreadyExists(away)
        if (folder / "pool.json").is_file():
            if not exist_ok:
                raise AlreadyExists(f"there is a pool {name!r} in {self.path} already")
            return self.pool(name)
        _refuse_used(folder)
        self._reach_database(name)
        if any(deleted.name == name for deleted in self._deleted.all()):
            self._sweep_deleted()
        pool_id = str(uuid.uuid4())
        storage = LocalStorage(folder)
        try:
            storage.make()
            archive = Archive.create(storage, pool_id=pool_id, first_serial=self._deleted.first_serial(name))
        except MiripoolError:
            with contextlib.suppress(OSError):
                folder.rmdir()  # unless there is something in it
            raise
        pool = self._open(name, archive)
        try:
            core_of(pool).catch_up()
        except MiripoolError:
            # Without an index it would be half a pool. It stays if it is another's, or somebody uses it already.
            with contextlib.suppress(OSError):
                if pool.id == pool_id and [path.name for path in folder.iterdir()] == ["pool.json"]:
                    (folder / "pool.json").unlink()
                    folder.rmdir()
            raise
        return pool

    def _reach_database(self, name: str) -> None:
        """Make sure that the database answers, before anything is made."""
        with contextlib.suppress(PoolNotFound, Conflict):
            index.Catalog.open(self.database_url(), schema=index.schema_name(name), pool_id="", create=False).close()

    def _refuse_similar(self, name: str, *, but: str | None = None) -> None:
        there = self.names()
        for other in {*there, *links(self.path / "pools")} - {but}:  # those too whose folder is away
            if other != name and other.lower() == name.lower():
                raise AlreadyExists(
                    f"there is a pool {other!r}, which differs only in capital letters; choose another name"
                )
        for other in there:
            if other != but and name in read_pool_info(LocalStorage(self._folder(other))).former_names:
                raise AlreadyExists(
                    f"pool {other!r} was called {name!r} before, and its URNs stay valid; choose another name"
                )

    def rename(self, name: str, new: str) -> Pool:
        """Give a pool another name; URNs with the old one stay valid.

        Parameters
        ----------
        name, new : str
            The names.

        Returns
        -------
        Pool
            The pool under its new name.

        Raises
        ------
        AlreadyExists
            If the new name is taken.
        Conflict
            If another process keeps using the pool. Nothing is changed then.

        Notes
        -----
        If the pool is attached, only the link and the index in this home are renamed; the folder stays as it is.
        """
        check_pool_name(new)
        with self.pool(name) as pool:
            self._refuse_similar(new, but=name)
            if os.path.lexists(self._folder(new)) or self._deleted.knows(new):
                raise AlreadyExists(f"the name {new!r} is or was used by a pool in {self.path}; choose another name")
            core_of(pool).catch_up()
            self._refuse_index(new, pool.id)
            with core_of(pool).archive.held(alone=True):
                core_of(pool).archive.remember_name(name)
                try:
                    self._folder(name).rename(self._folder(new))
                except OSError as error:
                    raise storage_error(error, self._folder(new)) from error
            # Killed here, the next to open the pool finds no index of that name and makes one from the folder.
            self._rename_index(pool, new)
        return self.pool(new)

    def attach(self, path: Path | str, name: str | None = None) -> Pool:
        """Attach a pool whose folder is elsewhere, e.g. shared with others.

        This home gets a link to the folder and its own index, which follows the pool's journal: versions that others
        save are found here, too. If the folder can't be written, the pool is read-only.

        Parameters
        ----------
        path : path-like
            The pool's folder, which has a ``pool.json``.
        name : str, optional
            Name of the pool in this home; by default the folder's name. URNs begin with this name, so use the name
            that others use.

        Returns
        -------
        Pool
            The pool; its index is up to date.

        Raises
        ------
        PoolNotFound
            If the folder is not a pool.
        AlreadyExists
            If the name is taken, or if this home already has the pool.
        """
        folder = Path(path).expanduser().absolute()
        if not _seems_a_pool(folder):
            raise PoolNotFound(f"{folder} is not a pool: it has no pool.json")
        name = check_pool_name(folder.name if name is None else name)
        pool_id = read_pool_info(LocalStorage(folder)).id
        there = self._name_of(pool_id)
        if there is not None:
            raise AlreadyExists(f"{folder} is pool {there!r} of {self.path} already")
        self._refuse_similar(name)
        link = self._folder(name)
        if os.path.lexists(link) or self._deleted.knows(name):
            raise AlreadyExists(f"the name {name!r} is or was used by a pool in {self.path}; give another with --name")
        self._reach_database(name)
        make_link(link, folder)
        try:
            pool = self.pool(name)
            try:
                core_of(pool).catch_up()
            except BaseException:
                pool.close()
                raise
        except BaseException:  # what can't be opened, or not be read to its end, is not attached
            remove_link(link)
            with contextlib.suppress(MiripoolError):  # a part of an index does no harm to a later one
                self._drop_index(name, pool_id)
            raise
        return pool

    def _name_of(self, pool_id: str) -> str | None:
        """Give the name under which a pool is in this home."""
        return next((name for name in self.names() if self._id_of(name) == pool_id), None)

    def _id_of(self, name: str) -> str | None:
        """Give a pool's id; None where it can't be read: what is wrong with a pool is said when it is opened."""
        with contextlib.suppress(MiripoolError):
            return read_pool_info(LocalStorage(self._folder(name))).id
        return None

    def detach(self, name: str) -> Path:
        """Detach an attached pool. Its folder stays as it is; this home's link and index are removed.

        Parameters
        ----------
        name : str
            The pool.

        Returns
        -------
        pathlib.Path
            The folder. If the folder can't be read, or now holds another pool, the index is not removed: it is used
            again when the pool is attached again.

        Raises
        ------
        PoolNotFound
            If there is no such pool.
        Conflict
            If the pool is not attached: its folder is in this home.
        """
        link = self._folder(check_pool_name(name))
        if not link.is_symlink():
            with self.pool(name):
                raise Conflict(
                    f"pool {name!r} is not attached, its folder is in this home; `miripool delete` deletes it for good"
                )
        folder = attached_folder(link)
        pool_id = self._id_of(name)
        if pool_id is not None:
            self._drop_index(name, pool_id)
        remove_link(link)
        return folder

    def _drop_index(self, name: str, pool_id: str) -> None:
        """Drop a pool's index; under that name there may be none, or another pool's."""
        if index.find_owner(self.database_url(), index.schema_name(name)) == pool_id:
            self._refuse_index(name, pool_id)

    def _rename_index(self, pool: Pool, new: str) -> None:
        """Give the index its new name, in the place of one that was made since the folder has that name."""
        for _ in range(_RENAMINGS):
            with contextlib.suppress(AlreadyExists):
                core_of(pool).catalog.rename(index.schema_name(new))
                return
            # Somebody has opened the pool by its new name in this moment; whose index it is, the call looks.
            self._refuse_index(new, pool.id)
        # Others made one each time; whoever opens the pool next does, too.
        core_of(pool).catalog.drop()

    def _refuse_index(self, name: str, pool_id: str) -> None:
        """Make sure that the database has no index of that name."""
        with contextlib.suppress(PoolNotFound):
            schema = index.schema_name(name)
            found = index.Catalog.open(self.database_url(), schema=schema, pool_id=pool_id, create=False)
            # This pool's own: left by a renaming that was interrupted.
            with found:
                found.drop()

    def foreign_index(self, name: str) -> str | None:
        """Tell whether the database has another pool's index under a pool's name.

        Parameters
        ----------
        name : str
            The pool.

        Returns
        -------
        str or None
            The other pool's id, e.g. if another home deleted a pool and created it again under the same name.
        """
        with self.pool(name) as pool:
            owner = index.find_owner(self.database_url(), index.schema_name(name))
            return None if owner == pool.id else owner

    def drop_foreign_index(self, name: str, owner: str) -> None:
        """Drop another pool's index that has the name of this pool.

        Parameters
        ----------
        name : str
            The pool whose name the index has.
        owner : str
            The other pool's id, from `foreign_index`. If that pool still exists, its home can rebuild its index.
        """
        self._refuse_index(name, owner)

    def delete(self, name: str) -> None:
        """Delete a pool with all its products. This can't be undone.

        Parameters
        ----------
        name : str
            The pool's name. A new pool of that name continues the numbering of URNs where this pool stopped.

        Raises
        ------
        Conflict
            If the pool is attached, or if another process keeps using it. Nothing is changed then.
        """
        with self.pool(name) as pool:
            self._refuse_link(name)
            next_serial = core_of(pool).catch_up().next_serial
            with core_of(pool).archive.held(alone=True):
                self._deleted.retire(name, core_of(pool).archive, next_serial)
                self._deleted.put(self._folder(name), pool.id)
        self._sweep_deleted()

    def _refuse_link(self, name: str) -> None:
        folder = self._folder(name)
        if folder.is_symlink():
            raise Conflict(
                f"pool {name!r} is attached: {folder} is a link to {folder.resolve()}, and the products can be deleted "
                f"only in the home of that folder. Nothing was changed. `miripool detach {name}` detaches the pool"
            )

    def _sweep_deleted(self) -> None:
        """Delete the indexes and the files of deleted pools, also of those whose deletion was interrupted."""
        for deleted in self._deleted.all():
            if not self._has(deleted.name, deleted.id):
                with contextlib.suppress(Conflict):  # the name has a new pool
                    self._refuse_index(deleted.name, deleted.id)
            deleted.remove()

    def _has(self, name: str, pool_id: str) -> bool:
        """Tell whether a pool is there by its name, e.g. brought back from a copy after it was deleted."""
        try:
            return read_pool_info(LocalStorage(self._folder(name))).id == pool_id
        except NotFound:
            return False
        except MiripoolError:
            return True  # it may be: whoever opens it is told what is wrong

    def summary(self, name: str) -> PoolSummary:
        """Describe one pool.

        Parameters
        ----------
        name : str
            The pool's name.

        Returns
        -------
        PoolSummary
            From its index.
        """
        with self.pool(name) as pool:
            return summarize(name, pool, _place(self._folder(name)))


def _place(folder: Path) -> Path:
    """Give the folder of a pool's files: the one that is attached, where a home has a link to it."""
    return attached_folder(folder) if folder.is_symlink() else folder


def reopen(home: str, name: str, pool_id: str, entry: str | None = None) -> Pool:
    """Open a pool that another process has open; each process does so once.

    Parameters
    ----------
    home : str
        Folder of its home.
    name, pool_id : str
        Its name and its id.
    entry : str, optional
        Number of the journal entry after which the pool was as it was opened.

    Returns
    -------
    Pool
        The same object for all references that are unpickled.

    Raises
    ------
    PoolNotFound
        If the pool no longer exists, or if the name belongs to another pool now.
    """
    return _reopened(os.getpid(), home, name, pool_id, entry)


@functools.lru_cache(maxsize=64)
def _reopened(process: int, home: str, name: str, pool_id: str, entry: str | None) -> Pool:
    if entry is not None:
        present = _reopened(process, home, name, pool_id, None)
        return present.as_of(int(entry) if int(entry) >= 0 else date.min)  # that is before the first entry
    pool = Home(home).pool(name)
    if pool.id != pool_id:
        raise PoolNotFound(f"the name {name!r} in {home} now belongs to another pool than when it was pickled")
    return pool


def _seems_a_pool(folder: Path) -> bool:
    """Tell whether a folder has something called pool.json; what is wrong with it is said when the pool is opened."""
    try:
        os.lstat(folder / "pool.json")
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _refuse_used(folder: Path) -> None:
    """Make sure that a folder that is no pool can become one."""
    try:
        found = sorted(p.name for p in folder.iterdir() if p.name[0] != "." and p.name != "pool.json")
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(error, folder) from error
    if found:
        raise AlreadyExists(
            f"{folder} is not empty ({', '.join(found[:5])}) and has no pool.json: if it is a pool, restore "
            "its pool.json from a copy; otherwise move the folder away"
        )


def _ready_for_sql(pool: Pool) -> str | None:
    """Make the rows that SQL reads, and warn of those that are missing; give the notice, if there is one."""
    from ..index.exposurestatistics import pending_records

    notice = notice_of_gaps(core_of(pool))
    database = core_of(pool).catalog.database
    if not database.read_only and any(pending_records(database)):
        from ..monitors.statistics import load_pending

        load_pending(core_of(pool))
    if notice is not None:
        warn_caller(notice, IncompleteAnswer)
    return notice
