"""Catalog: a pool's index, asked and kept up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import PoolNotFound
from . import migrate
from .connection import Database
from .moments import Moment
from .rows import (
    NEWEST_FIRST,
    CatalogStatistics,
    DatasetRow,
    FileOrigin,
    KindStatistics,
    Position,
    ProductRow,
    TagEvent,
    TagSummary,
    array_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType

    from sqlalchemy import ColumnElement, Select

    from ..query.tree import Node
    from ..store.journal import Entry
    from ..store.manifest import Manifest
    from .rows import KeywordValue, Known

__all__ = ["Catalog"]

_UNCOUNTED = 2_000
"""Products up to which no conditions are counted: that takes longer than to answer by the wrong one first."""


class Catalog:
    """One pool's schema in PostgreSQL. Everything in it can be made again from the pool's folder.

    Parameters
    ----------
    database : Database
        Where it is.
    pool_id : str
        The pool that it belongs to.
    moment : Moment, optional
        When the pool was as it is asked about; `database` is at that moment.
    """

    def __init__(self, database: Database, pool_id: str, moment: Moment | None = None) -> None:
        self.database = database
        self.pool_id = pool_id
        self._moment = moment
        self._known: set[tuple[str, str | None]] = set()
        self._types: dict[tuple[str, str | None], frozenset[str]] = {}
        self._products_there: int | None = None
        self._footprints_made = False

    @classmethod
    def open(
        cls,
        url: str,
        *,
        schema: str,
        pool_id: str,
        first_serial: int = 0,
        create: bool = True,
        read_only: bool = False,
    ) -> Catalog:
        """Open a pool's index; create it, or bring it up to date, if needed.

        Parameters
        ----------
        url : str
            The database.
        schema : str, keyword-only
            See `miripool.index.connection.schema_name`.
        pool_id : str, keyword-only
            The pool's.
        first_serial : int, keyword-only
            The first serial that a new pool will use.
        create : bool, keyword-only
            Make the index if it is not there.
        read_only : bool, keyword-only
            Change nothing, now and later.

        Returns
        -------
        Catalog
            Ready; close it, or use it as a context.

        Raises
        ------
        Conflict
            If the schema belongs to another pool.
        NewerFormat
            If a newer miripool made it.
        PoolNotFound
            If it is not there and may not be made.
        ReadOnly
            If it is older, or not there, and this user can't write.
        ServerUnavailable
            If the server can't be reached.
        """
        database = Database(url, schema, read_only=read_only)
        try:
            migrate.prepare(database, pool_id, first_serial=first_serial, create=create)
        except BaseException:
            database.close()
            raise
        return cls(database, pool_id)

    def __repr__(self) -> str:
        return f"<Catalog of pool {self.pool_id}: schema {self.database.schema!r} at {self.database.where}>"

    def __enter__(self) -> Catalog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def schema(self) -> str:
        """Name of the schema, not quoted."""
        return self.database.schema

    def at(self, moment: Moment) -> Catalog:
        """Give the index as it was at a moment. It can only be read.

        Parameters
        ----------
        moment : Moment
            When; the index has taken in its entry, and its past is there (`fill_past`).

        Returns
        -------
        Catalog
            To be closed by itself.
        """
        then = self.database.at(moment)
        then.confirm = self.database.confirm
        return Catalog(then, self.pool_id, moment)

    def position(self) -> Position:
        """Tell how far this index has followed the journal.

        Returns
        -------
        Position
            The last entry taken in; that of the moment where the index is asked about one.

        Raises
        ------
        PoolNotFound
            If the schema is another pool's by now.
        """
        (row,) = self._ask("position")
        return self._position(row)

    def standing(self, names: Sequence[str]) -> tuple[Position, list[ProductRow]]:
        """Tell how far this index has followed the journal, and give all versions of some names.

        Another process may move the index between the two questions. An entry that is decided by them is refused then.

        Parameters
        ----------
        names : sequence of str
            Whole names.

        Returns
        -------
        Position
            As from `position`.
        list of ProductRow
            As from `named`.

        Raises
        ------
        PoolNotFound
            If the schema is another pool's by now.
        """
        ((*position, is_there),) = self._ask("standing", names=_storable(names))
        return self._position(position), self.named(names) if is_there else []

    def _position(self, row: Sequence[Any]) -> Position:
        pool_id, self._products_there, *found = row
        if pool_id != self.pool_id:
            raise PoolNotFound(
                f"the index {self.schema!r} now belongs to another pool: the pool that was opened was deleted or "
                "renamed meanwhile. Open the pool again, or run the command again: `miripool pools` lists the pools"
            )
        if self._moment is not None:
            return Position(self._moment.entry, self._moment.digest, self._moment.next_serial)
        return Position(*found)

    def fill_past(self, since: Callable[[int, str | None], Iterable[Entry]]) -> None:
        """Make sure that the index knows the past: of a pool that an older miripool indexed, the journal is read once.

        Parameters
        ----------
        since : callable
            Gives the entries after a number, of which the digest is given: `Journal.since`.

        Raises
        ------
        ReadOnly
            If the past is not there, and this user can't write to the index.
        """
        ((has_past,),) = self._ask("has_past")
        if not has_past:
            from .past import fill_past

            fill_past(self.database, self.pool_id, since)

    def moment_of(self, entry: int) -> Moment | None:
        """Give the moment after an entry of the journal.

        Parameters
        ----------
        entry : int
            Its number.

        Returns
        -------
        Moment or None
            None where the index has not taken in such an entry.
        """
        return next((Moment(*row) for row in self._ask("moment_of", entry=entry)), None)

    def moment_before(self, time: datetime) -> Moment | None:
        """Give the latest moment that is earlier than a time.

        Parameters
        ----------
        time : datetime
            Aware.

        Returns
        -------
        Moment or None
            None where the first entry is not earlier.
        """
        return next((Moment(*row) for row in self._ask("moment_before", time=time)), None)

    def apply(
        self,
        entries: Iterable[Entry],
        manifest: Callable[[str], Manifest],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """Take in journal entries; entries that the index already has are skipped.

        Parameters
        ----------
        entries : iterable of Entry
            In order, without gaps.
        manifest : callable
            Gives the manifest of a digest.
        progress : callable, keyword-only, optional
            Told after each transaction how many of `entries` were looked at so far.

        Returns
        -------
        int
            How many entries this call took in.

        Raises
        ------
        IntegrityError
            If an entry is missing, does not follow from the one before, or names a version that there is not. All
            entries before it have been taken in then, and nothing of it.
        """
        from . import apply

        return apply.take_in(self.database, self.pool_id, entries, manifest, progress)

    def compare_with(
        self,
        since: Callable[[int, str | None], Iterable[Entry]],
        manifest: Callable[[str], Manifest],
        *,
        first_serial: int,
    ) -> tuple[int, list[tuple[str, str]]]:
        """Compare this index with one made from the folder alone, in a temporary schema.

        Parameters
        ----------
        since : callable
            Gives the entries after a number, of which the digest is given: `Journal.since`.
        manifest : callable
            Gives the manifest of a digest.
        first_serial : int, keyword-only
            The pool's.

        Returns
        -------
        n : int
            Number of the last entry that this index has taken in.
        list of (str, str)
            Tables that differ, and how.

        Raises
        ------
        IntegrityError
            If the journal is damaged, or is not the one that the index has followed.
        ReadOnly
            If this user can't make tables.
        """
        from .rebuild import compare_with

        return compare_with(self.database, self.pool_id, first_serial, since, manifest)

    def complete_footprints(self) -> None:
        """Make the footprints of versions that an older miripool took in; one short question where there are none.

        Raises
        ------
        ReadOnly
            If there are some, and this user can't write.
        """
        from .footprints import complete

        if not self._footprints_made:
            complete(self.database)
            self._footprints_made = True

    def left_over_files(self) -> tuple[str, int, int] | None:
        """Look for files of unfinished tables that a killed server left behind.

        Returns
        -------
        (str, int, int) or None
            Folder in the server's data directory, number of files, their bytes; None where there are none, or where
            this user may not look.
        """
        from .leftover import find_left_over

        return find_left_over(self.database)

    def renew(
        self,
        since: Callable[[int, str | None], Iterable[Entry]],
        manifest: Callable[[str], Manifest],
        *,
        has: Callable[[int, str | None], bool],
        first_serial: int,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Make this index again from the folder alone; the old one answers until the new one takes its place.

        Parameters
        ----------
        since : callable
            Gives the entries after a number, of which the digest is given: `Journal.since`.
        manifest, first_serial : object
            As for `compare_with`.
        has : callable, keyword-only
            Tells whether an entry is the journal's, by number and digest: `Journal.has`.
        progress : callable, keyword-only, optional
            Told how many entries were looked at so far.
        """
        from .rebuild import renew

        renew(self.database, self.pool_id, first_serial, since, manifest, progress, has=has)
        self._known.clear()
        self._types.clear()

    def apply_and_write(self, entry: Entry, known: Known, write: Callable[[], bool]) -> Sequence[ProductRow] | None:
        """Take in an entry that is about to be written, and write it once the database has accepted its rows.

        Parameters
        ----------
        entry : Entry
            Follows from the last one taken in, as far as the caller knows.
        known : Known
            What its maker knows of it.
        write : callable
            Writes the entry to the journal; False if another writer took its number first.

        Returns
        -------
        sequence of ProductRow or None
            The versions that it saves, if there are few; None if another writer was faster: then nothing was done.
        """
        from . import apply

        return apply.take_in_and_write(self.database, self.pool_id, entry, known, write)

    def _ask(self, statement: str, /, **values: Any) -> list[tuple[Any, ...]]:
        """Ask by a statement of `miripool.index.statements`."""
        return self.database.ask(*self.database.prepared(statement, **values))

    def _find(self, statement: str, /, **values: Any) -> list[ProductRow]:
        return [_product_row(row) for row in self._ask(statement, **values)]

    def _products(self, statement: Select[Any]) -> list[ProductRow]:
        with self.database.immediately() as connection:
            return [_product_row(row) for row in connection.execute(statement)]

    def track(self, kind: str, name: str) -> list[ProductRow]:
        """List all versions of a track, those in the trash too.

        Parameters
        ----------
        kind, name : str
            The track.

        Returns
        -------
        list of ProductRow
            By version; empty where there is no such track.
        """
        return self._find("track", kind=kind, name=name)

    def rows(self, serials: Sequence[int]) -> list[ProductRow]:
        """Read versions by their serials, also those in the trash.

        Parameters
        ----------
        serials : sequence of int
            In any order.

        Returns
        -------
        list of ProductRow
            In the same order; serials that nothing was saved under are left out.
        """
        if not serials:
            return []
        found = {row.serial: row for row in self._find("rows", serials=array_text(serials))}
        return [found[serial] for serial in serials if serial in found]

    def by_name(self, name: str, kind: str | None = None) -> list[ProductRow]:
        """Find the heads of all tracks of a name.

        Parameters
        ----------
        name : str
            Whole name.
        kind : str, optional
            Any if left out.

        Returns
        -------
        list of ProductRow
            By kind.
        """
        rows = self._find("heads", name=name)
        return [row for row in rows if kind in (None, row.kind)]

    def living(self, names: Sequence[str]) -> list[ProductRow]:
        """Find all living versions of some names, of all kinds.

        Parameters
        ----------
        names : sequence of str
            Whole names.

        Returns
        -------
        list of ProductRow
            By serial.
        """
        return self._find("living", names=_storable(names))

    def named(self, names: Sequence[str]) -> list[ProductRow]:
        """Find all versions of some names, of all kinds, those in the trash too.

        Parameters
        ----------
        names : sequence of str
            Whole names.

        Returns
        -------
        list of ProductRow
            By serial; those of a track are by version, too.
        """
        return self._find("named", names=_storable(names))

    def origins(
        self,
        serials: Sequence[int] = (),
        *,
        inputs: Sequence[int] = (),
        names: Sequence[str] = (),
        digests: Sequence[str] = (),
    ) -> list[FileOrigin]:
        """Tell what versions were made from, by their histories.

        Parameters
        ----------
        serials : sequence of int
            The versions.
        inputs, names, digests : sequence, keyword-only
            And all versions that were made from these inputs (serials), and with these reference files.

        Returns
        -------
        list of FileOrigin
            By serial.
        """
        wanted = {
            "serials": array_text(serials), "inputs": array_text(inputs), "names": list(names), "digests": list(digests)
        }  # fmt: skip
        return [FileOrigin(*row) for row in self._ask("origins", **wanted)]

    def with_reference(self, names: Sequence[str]) -> list[tuple[int, str]]:
        """Find the versions whose headers name a reference file.

        Parameters
        ----------
        names : sequence of str
            Ways to write its name.

        Returns
        -------
        list of (int, str)
            Serial and keyword, ``R_GAIN``, by serial.
        """
        keys = [key for key in self.keywords() if key.startswith("R_")]
        return [(serial, key) for serial, key in self._ask("with_reference", keys=keys, names=list(names))]

    def referring(self, serials: Sequence[int], *, removed: bool = False) -> list[ProductRow]:
        """Find the living contexts that refer to versions.

        Parameters
        ----------
        serials : sequence of int
            The versions.
        removed : bool, keyword-only
            Those in the trash too.

        Returns
        -------
        list of ProductRow
            By serial.
        """
        if not serials:
            return []
        found = self._find("referring", serials=array_text(serials))
        return [row for row in found if removed or row.removed is None]

    def links(self, serial: int) -> dict[str, int]:
        """Tell what a context refers to.

        Parameters
        ----------
        serial : int
            The context.

        Returns
        -------
        dict of str to int
            Serials by the references' names.
        """
        return self.links_of([serial])[serial]

    def links_of(self, serials: Sequence[int]) -> dict[int, dict[str, int]]:
        """Tell what some contexts refer to.

        Parameters
        ----------
        serials : sequence of int
            The contexts.

        Returns
        -------
        dict
            For each of them, serials by the references' names.
        """
        found: dict[int, dict[str, int]] = {serial: {} for serial in serials}
        for serial, name, target in self._ask("links", serials=array_text(serials)):
            found[serial][name] = target
        return found

    def names_like(self, prefix: str, limit: int = 20) -> list[str]:
        """List names of living products, for suggestions.

        Parameters
        ----------
        prefix : str
            How they begin.
        limit : int, optional
            Most names to give.

        Returns
        -------
        list of str
            Sorted, each once.
        """
        from sqlalchemy import select

        from .schema import product

        p = product.c
        statement = (
            select(p.name)
            .where(p.name.startswith(prefix, autoescape=True), p.head)
            .distinct()
            .order_by(p.name)
            .limit(limit)
        )
        with self.database.read() as connection:
            return list(connection.execute(statement).scalars())

    def select(
        self,
        *,
        where: ColumnElement[bool] | None = None,
        kinds: Sequence[str] | None = None,
        all_versions: bool = False,
        tag: str | None = None,
        among: Sequence[int] | None = None,
        removed: bool = False,
        order_by: Sequence[ColumnElement[Any]] = (),
        limit: int | None = None,
        offset: int = 0,
    ) -> list[ProductRow]:
        """Select heads, or other versions.

        Parameters
        ----------
        where : sqlalchemy.ColumnElement, keyword-only, optional
            Condition on `miripool.index.schema.product`.
        kinds : sequence of str, keyword-only, optional
            Kinds to look at; all if left out.
        all_versions : bool, keyword-only
            All living versions instead of heads.
        tag : str, keyword-only, optional
            The living versions that this tag marks instead of heads.
        among : sequence of int, keyword-only, optional
            Serials; of these, heads only, unless one of the above says otherwise.
        removed : bool, keyword-only
            The versions in the trash instead.
        order_by : sequence of sqlalchemy.ColumnElement, keyword-only
            The serial decides in the end.
        limit : int, keyword-only, optional
            Most rows to give.
        offset : int, keyword-only
            Rows to pass over first.

        Returns
        -------
        list of ProductRow
            By serial, unless ordered otherwise.
        """
        from .schema import product
        from .selection import conditions, products

        wanted = conditions(
            where=where, kinds=kinds, all_versions=all_versions, tag_label=tag, among=among, removed=removed
        )
        statement = products().where(wanted).order_by(*order_by, product.c.serial)
        if limit is not None:
            statement = statement.limit(limit)
        return self._products(statement.offset(offset) if offset else statement)

    def serials(
        self,
        *,
        predicate: Node | None = None,
        pool: str | None = None,
        kinds: Sequence[str] | None = None,
        all_versions: bool = False,
        tag: str | None = None,
        among: Sequence[int] | None = None,
        order: Sequence[str] = (),
        limit: int | None = None,
    ) -> list[int]:
        """Find the versions that match a predicate, and give their serials only; long results are read through by them.

        Parameters
        ----------
        predicate : Node, keyword-only, optional
            In normal form; the index can answer it.
        pool : str, keyword-only, optional
            The pool's name, where the predicate asks for URNs.
        kinds, all_versions, tag, among, limit
            As for `select`.
        order : sequence of str, keyword-only
            As for `miripool.index.compile.order_by`.

        Returns
        -------
        list of int
            By serial, unless ordered otherwise.
        """
        if predicate is None and among is None and tuple(order) in {(), NEWEST_FIRST}:
            which = "tagged" if tag is not None else "living" if all_versions else "heads"
            name = f"serials {which}{'' if kinds is None else ' of kinds'}{' newest first' if order else ''}"
            question: tuple[str, Mapping[str, Any]] = self.database.prepared(
                name, tag=tag, kinds=kinds and list(kinds), limit=limit
            )
        else:
            from .statements import write_serials

            few = self._products_there is not None and self._products_there <= _UNCOUNTED
            question = write_serials(
                self.database, predicate, pool=pool, counts=not few, kinds=kinds, all_versions=all_versions, tag=tag,
                among=among, order=order, limit=limit,
            )  # fmt: skip
        return [serial for (serial,) in self.database.ask(*question)]

    def count(
        self,
        *,
        where: ColumnElement[bool] | None = None,
        kinds: Sequence[str] | None = None,
        all_versions: bool = False,
        tag: str | None = None,
        among: Sequence[int] | None = None,
        removed: bool = False,
    ) -> int:
        """Count what `select` would give.

        Parameters
        ----------
        where, kinds, all_versions, tag, among, removed
            As for `select`.

        Returns
        -------
        int
            Number of versions.
        """
        from sqlalchemy import func, select

        from .schema import product
        from .selection import conditions

        wanted = conditions(
            where=where, kinds=kinds, all_versions=all_versions, tag_label=tag, among=among, removed=removed
        )
        with self.database.read() as connection:
            return int(connection.execute(select(func.count()).select_from(product).where(wanted)).scalar_one())

    def has_tag(self, label: str) -> bool:
        """Tell whether a tag marks a living version.

        Parameters
        ----------
        label : str
            The tag.

        Returns
        -------
        bool
            True if so. The versions that it marks are not counted.
        """
        return bool(self._ask("has_tag", label=label))

    def tags(self) -> list[TagSummary]:
        """List the tags that mark a living version.

        Returns
        -------
        list of TagSummary
            By label.
        """
        return [TagSummary(*row) for row in self._ask("tags")]

    def tag_events(
        self, *, label: str | None = None, kind: str | None = None, name: str | None = None, limit: int | None = None
    ) -> list[TagEvent]:
        """List the moves of tags.

        Parameters
        ----------
        label, kind, name : str, keyword-only, optional
            Only of this tag, of these tracks.
        limit : int, keyword-only, optional
            Most events to give: the latest.

        Returns
        -------
        list of TagEvent
            The oldest first.
        """
        found = [TagEvent(*row) for row in self._ask("tag_events", label=label, kind=kind, name=name, limit=limit)]
        return found[::-1]

    def moves(self, serials: Sequence[int]) -> list[TagEvent]:
        """List the moves of all tags in the tracks of some versions.

        Parameters
        ----------
        serials : sequence of int
            The versions.

        Returns
        -------
        list of TagEvent
            The oldest first.
        """
        return [TagEvent(*row) for row in self._ask("moves", serials=array_text(serials))]

    def datasets(self, serials: Sequence[int]) -> dict[int, list[DatasetRow]]:
        """Read what is known of the arrays and tables of some versions.

        Parameters
        ----------
        serials : sequence of int
            The versions.

        Returns
        -------
        dict of int to list of DatasetRow
            An item for each of them, in file order.
        """
        found: dict[int, list[DatasetRow]] = {serial: [] for serial in serials}
        for serial, hdu, name, digest, dtype, shape, *rest in self._ask("datasets", serials=array_text(serials)):
            found[serial].append(DatasetRow(serial, hdu, name, digest, dtype, tuple(shape), *rest))
        return found

    def keyword_values(
        self, serials: Sequence[int], keys: Sequence[tuple[str | None, str]]
    ) -> dict[int, dict[tuple[str | None, str], KeywordValue]]:
        """Read the values of some keywords of many versions, in one statement.

        Parameters
        ----------
        serials : sequence of int
            The versions.
        keys : sequence of (str or None, str)
            HDU and keyword; without an HDU, what the bare name means.

        Returns
        -------
        dict
            For each serial that has any of them, the values by key; missing keywords are left out. Numbers are
            floats, texts are as in the header, an undefined value is None.
        """
        from . import vocabulary

        with self.database.read() as connection:
            return vocabulary.keyword_values(connection, serials, keys)

    def has_keyword(self, key: str, hdu: str | None = None) -> bool:
        """Tell whether any product has, or had, a keyword.

        Parameters
        ----------
        key : str
            Upper case.
        hdu : str, optional
            Name of the HDU; any if left out.

        Returns
        -------
        bool
            True if so.
        """
        from . import vocabulary

        if (key, hdu) not in self._known:
            with self.database.read() as connection:
                if not vocabulary.has_keyword(connection, key, hdu):
                    return False
            self._known.add((key, hdu))  # a keyword that was there once stays known
        return True

    def keyword_types(self, key: str, hdu: str | None = None, *, again: bool = False) -> frozenset[str]:
        """Tell what types a keyword's values have, or had; see `miripool.index.vocabulary.keyword_types`."""
        from . import vocabulary

        if again or not self._types.get((key, hdu)):
            with self.database.read() as connection:
                self._types[key, hdu] = vocabulary.keyword_types(connection, key, hdu)
        return self._types[key, hdu]

    def keywords(self) -> list[str]:
        """List all keywords of all products.

        Returns
        -------
        list of str
            Sorted, each once.
        """
        from . import vocabulary

        with self.database.read() as connection:
            return vocabulary.keywords(connection)

    def values_near(self, key: str, value: str, limit: int = 5) -> list[str]:
        """Find texts that a keyword has and that resemble another, for suggestions.

        Parameters
        ----------
        key : str
            Upper case.
        value : str
            What was asked for.
        limit : int, optional
            Most texts to give.

        Returns
        -------
        list of str
            The nearest first.
        """
        from . import vocabulary

        with self.database.read() as connection:
            return vocabulary.values_near(connection, key, value, limit)

    def statistics(self) -> CatalogStatistics:
        """Count products, tracks and bytes.

        Returns
        -------
        CatalogStatistics
            In all and by kind.
        """
        kinds = {row[0]: KindStatistics(*row[1:]) for row in self._ask("statistics")}
        ((count,),) = self._ask("labels")
        return CatalogStatistics(KindStatistics.sum_of(kinds.values()), kinds, count)

    def rename(self, schema: str) -> None:
        """Give the schema another name.

        Parameters
        ----------
        schema : str
            The new name.

        Raises
        ------
        AlreadyExists
            If the database has a schema of that name.
        """
        self.database.rename(schema)

    def drop(self) -> None:
        """Drop the schema and all that is in it, once no entry is being taken in; readers are not waited for."""
        from .discard import discard_index

        discard_index(self.database, self.pool_id)

    def close(self) -> None:
        """Close the connections; a later use opens new ones."""
        self.database.close()


def _storable(names: Sequence[str]) -> list[str]:
    """Leave out what a file may be called and PostgreSQL can't store (NUL, no UTF-8): no version is called that."""
    return [name for name in names if "\0" not in name and name == name.encode(errors="ignore").decode()]


def _product_row(row: Sequence[Any]) -> ProductRow:
    return ProductRow._make((*row[:-1], tuple(row[-1])))
