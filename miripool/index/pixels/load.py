"""Loading pixel sets: a block made, filled, indexed and attached in one transaction, or nothing.

A set belongs to one exposure and is claimed by inserting its row: of two processes the second waits, and finds it made.
The block's partitions are attached last, so readers don't wait; before that no other session sees them, so COPY can
write them frozen and, with ``wal_level=minimal``, unlogged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Integer, String, bindparam, cast, func, insert, select, tuple_
from sqlalchemy.dialects import postgresql

from ...errors import FormatError, MiripoolError, ProductNotFound, ServerError, ServerUnavailable
from ...model.kinds import KINDS
from ..connection import quote
from ..pixelset import REFERENCE
from ..schema import exposure, pixel_block, pixel_set, pixel_use, product
from ..selection import GIVEN_SERIALS, array_text
from .blocks import block_table, capacity, partition, short_columns
from .forms import SlotMember, common_groupdq, rows_of
from .timing import insert_timings
from .wire import CopyReader

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from ...model.dataset import Dataset
    from ...model.timing import Timing
    from ..connection import Database
    from ..pixelset import PixelSet

__all__ = ["Loading", "block_of", "fill_block", "insert_block", "load_together"]

_MOST_NUMBERED = (1 << 20) - 1
"""Greatest exp_id, and serial, that fits into the keys of the views: 20 bits of 63."""
_MOST_PIXELS = (1 << 21) - 1
"""Greatest pixel_id that fits into the keys."""
_IN_VIEWS = frozenset({"raw_pixel", "ramp_pixel", "rateints_pixel"})
"""Tables that the views read, which are MIRI's."""
_MOST_GROUPS = (1 << 22) - 1
"""Groups of one pixel, through all integrations, that fit into the keys."""

_CLAIM = (
    postgresql.insert(pixel_set)
    .on_conflict_do_nothing(index_elements=["exp_id", "kind", "digest"])
    .returning(pixel_set.c.exp_id, pixel_set.c.digest, pixel_set.c.set_id)
)
_inserted = postgresql.insert(pixel_use).from_select(
    ["serial", "set_id"],
    select(func.unnest(GIVEN_SERIALS), func.unnest(cast(bindparam("sets", type_=String), postgresql.ARRAY(Integer)))),
)
_USE = _inserted.on_conflict_do_update(
    index_elements=["serial"], set_={"set_id": _inserted.excluded.set_id, "reason": None}
)


@dataclass(frozen=True, slots=True)
class Loading:
    """A version that is to have pixel rows.

    Attributes
    ----------
    serial : int
        The version's.
    pixels : PixelSet
        What they are made from.
    open : callable
        Gives its datasets, and when its integrations took place, to be kept with the rows; called when it is its turn.
    """

    serial: int
    pixels: PixelSet
    open: Callable[[], tuple[Mapping[str, Dataset], Timing | None]]


class _Opened(NamedTuple):
    serial: int
    pixels: PixelSet
    datasets: Mapping[str, Dataset]
    timing: Timing | None


class _Taken(Exception):
    """Another process claimed a set meanwhile: the transaction is begun again."""


def load_together(database: Database, wanted: Sequence[Loading]) -> Iterator[tuple[int, bool | MiripoolError]]:
    """Give versions their pixel rows, with those of one detector, place and shape in blocks together.

    Parameters
    ----------
    database : Database
        The index.
    wanted : sequence of Loading
        The versions.

    Yields
    ------
    serial : int
        Of each version, once its block is there.
    outcome : bool or MiripoolError
        True if rows were made, False if the version shares another's; the failure of a version that has none.

    Raises
    ------
    ServerUnavailable
        If the server does not answer; what was not given yet is still pending.
    """
    for block in _group_by_block(wanted):
        yield from _load_group(database, block)


def block_of(pixels: PixelSet) -> tuple[Hashable, int]:
    """Tell which exposures share a block.

    Parameters
    ----------
    pixels : PixelSet
        What the rows of one are made from.

    Returns
    -------
    key : hashable
        The same for those that can share one.
    int
        How many of them do.
    """
    p, place = pixels, pixels.placement
    key = (p.kind, p.detector.name, place, p.nints, p.ngroups, tuple(sorted(p.datasets)))
    return key, capacity(p.kind, place.columns * place.rows, p.nints, p.ngroups, p.datasets)


def _group_by_block(wanted: Sequence[Loading]) -> list[list[Loading]]:
    """Sort versions into blocks, in the order of the first of each."""
    last: dict[Hashable, list[Loading]] = {}
    blocks = []
    for loading in wanted:
        key, most = block_of(loading.pixels)
        if len(last.get(key, ())) % most == 0:
            last[key] = []
            blocks.append(last[key])
        last[key].append(loading)
    return blocks


def _load_group(database: Database, block: Sequence[Loading]) -> Iterator[tuple[int, bool | MiripoolError]]:
    """Load a block; where one version's arrays can't be read, each gets a block of its own."""
    opened = []
    for loading in block:
        try:
            opened.append(_Opened(loading.serial, loading.pixels, *loading.open()))
        except MiripoolError as error:
            yield loading.serial, error
    try:
        yield from _load_block(database, opened).items()
    except ServerUnavailable:
        raise
    except MiripoolError as error:
        if len(opened) == 1 or isinstance(error, ServerError):
            yield from ((one.serial, error) for one in opened)
            return
        for loading in block:
            if any(one.serial == loading.serial for one in opened):
                yield from _load_group(database, [loading])


def _load_block(database: Database, versions: Sequence[_Opened]) -> dict[int, bool | MiripoolError]:
    common = {v.serial: common_groupdq(v.pixels, v.datasets) for v in versions}
    while True:
        try:
            with database.write() as connection:
                return _Load(database, connection, versions, common).run()
        except _Taken:
            continue


class _Load:
    """One transaction."""

    def __init__(
        self, database: Database, connection: Connection, versions: Sequence[_Opened], common: Mapping[int, Any]
    ) -> None:
        self._database = database
        self._connection = connection
        self._versions = versions
        self._common = common
        self._outcome: dict[int, bool | MiripoolError] = {}

    def run(self) -> dict[int, bool | MiripoolError]:
        """Make what is missing, and note who uses it."""
        named = self._name_sets()
        held = self._hold(named)
        missing = {name: named[name][0] for name in sorted(named) if name not in held}
        if missing:
            held |= self._make(missing)
        used = {v.serial: held[name] for name, those in named.items() for v in those}
        self._outcome |= dict.fromkeys(used, False)
        self._outcome |= {v.serial: True for v in missing.values()}
        if used:
            serials = sorted(used)
            sets = [used[serial] for serial in serials]
            self._connection.execute(_USE, {"serials": array_text(serials), "sets": array_text(sets)})
        timings = {v.serial: v.timing for v in self._versions if v.serial in used and v.timing is not None}
        if timings:
            insert_timings(self._connection, timings)
        return self._outcome

    def _name_sets(self) -> dict[tuple[int, str], list[_Opened]]:
        """Find the exposures; versions by (exp_id, digest)."""
        serials = [v.serial for v in self._versions]
        statement = (
            select(product.c.serial, exposure.c.exp_id)
            .join(exposure, product.c.name == exposure.c.name)
            .where(product.c.serial.in_(serials), product.c.removed.is_(None))
        )
        exposures = {row.serial: row.exp_id for row in self._connection.execute(statement)}
        named: dict[tuple[int, str], list[_Opened]] = {}
        for version in self._versions:
            exp_id = exposures.get(version.serial)
            refused = _refusal(exp_id, version.serial, version.pixels)
            if exp_id is None or refused is not None:
                self._outcome[version.serial] = refused or ProductNotFound(
                    f"version {version.serial} is in the trash; it gets its pixel rows when it is restored"
                )
            else:
                named.setdefault((exp_id, version.pixels.digest), []).append(version)
        return named

    def _hold(self, named: Mapping[tuple[int, str], Sequence[_Opened]]) -> dict[tuple[int, str], int]:
        """Find the sets that are there, and keep them from being dropped."""
        if not named:
            return {}
        c, kind = pixel_set.c, self._versions[0].pixels.kind
        statement = select(c.exp_id, c.digest, c.set_id).where(
            c.kind == kind, tuple_(c.exp_id, c.digest).in_(list(named))
        )
        # In the order of `merge_sets`, and before any table is attached: so no two wait for each other.
        held = statement.order_by(c.set_id).with_for_update(read=True, key_share=True)
        return {(row.exp_id, row.digest): row.set_id for row in self._connection.execute(held)}

    def _make(self, missing: Mapping[tuple[int, str], _Opened]) -> dict[tuple[int, str], int]:
        """Claim sets and load their block; waits for who makes the same ones now."""
        first = next(iter(missing.values()))
        block_id = insert_block(self._connection, first.pixels, len(missing))
        common = {name: self._common[v.serial] for name, v in missing.items()}
        rows = [
            {
                "exp_id": exp_id,
                "kind": first.pixels.kind,
                "digest": digest,
                "common_groupdq": None if common[exp_id, digest] is None else common[exp_id, digest].tolist(),
                "block_id": block_id,
                "slot": slot,
            }
            for slot, (exp_id, digest) in enumerate(missing, 1)
        ]
        claimed = self._connection.execute(_CLAIM, rows)
        made = {(row.exp_id, row.digest): row.set_id for row in claimed}
        if len(made) < len(missing):
            raise _Taken
        members = [SlotMember(v.datasets, common[name]) for name, v in missing.items()]
        fill_block(self._database, self._connection, block_id, first.pixels, members)
        return made


def _refusal(exp_id: int | None, serial: int, pixels: PixelSet) -> FormatError | None:
    """Say why a version's rows would have no key."""
    groups = (pixels.nints or 1) * (pixels.ngroups or 1)
    if groups > _MOST_GROUPS:
        return FormatError(f"it has {groups} groups of each pixel, and pixel rows can hold {_MOST_GROUPS}")
    detector = pixels.detector
    if KINDS[pixels.kind].pixel_table in _IN_VIEWS and detector.pixels > _MOST_PIXELS:
        return FormatError(
            f"{detector.name} has {detector.pixels} pixels, more than the {_MOST_PIXELS} that the SQL views, made for "
            "MIRI, can hold; its products need a kind with a table of its own"
        )
    if exp_id is not None and max(exp_id, serial) > _MOST_NUMBERED:
        return FormatError(
            f"pixel rows can hold {_MOST_NUMBERED} exposures and versions of a pool; this is exposure {exp_id}, "
            f"version {serial}"
        )
    return None


def insert_block(connection: Connection, pixels: PixelSet, slots: int) -> int:
    """Number a new block.

    Parameters
    ----------
    connection : Connection
        In the transaction that makes the block.
    pixels : PixelSet
        What the rows of one of its exposures are made from.
    slots : int
        How many exposures it is for.

    Returns
    -------
    int
        Its block_id.
    """
    values = {
        "kind": pixels.kind,
        "detector": pixels.detector.name,
        "first_x": pixels.placement.x,
        "first_y": pixels.placement.y,
        "columns": pixels.placement.columns,
        "rows": pixels.placement.rows,
        "nints": pixels.nints,
        "ngroups": pixels.ngroups,
        "datasets": sorted(pixels.datasets),
        "slots": slots,
    }
    block_id: int = connection.execute(
        insert(pixel_block).values(values).returning(pixel_block.c.block_id)
    ).scalar_one()
    return block_id


def fill_block(
    database: Database, connection: Connection, block_id: int, pixels: PixelSet, members: Sequence[SlotMember]
) -> None:
    """Make the partitions of a block, load and attach them.

    Parameters
    ----------
    database : Database
        The index.
    connection : Connection
        In the transaction that makes the block.
    block_id : int
        From `insert_block`.
    pixels : PixelSet
        What the rows of one of its exposures are made from.
    members : sequence of SlotMember
        Its exposures, in the order of their slots.
    """
    kind = KINDS[pixels.kind]
    views = [kind.pixel_table, *([kind.reference_table] if REFERENCE in pixels.datasets else [])]
    short = short_columns(pixels.kind, pixels.nints, pixels.ngroups, pixels.datasets, len(members))
    for view in views:
        _fill_partition(database, connection, view, block_id, rows_of(pixels, members, view, block_id), short)
    for view in views:
        part, parent = database.table(partition(view, block_id)), database.table(block_table(view))
        _run(connection, f"ALTER TABLE {parent} ATTACH PARTITION {part} FOR VALUES IN ({block_id})")
        _run(connection, f"ALTER TABLE {part} DROP CONSTRAINT {_bounds(view, block_id)}")


def _fill_partition(
    database: Database,
    connection: Connection,
    view: str,
    block_id: int,
    rows: tuple[list[str], Iterator[memoryview[int]]],
    short: Collection[str],
) -> None:
    name = partition(view, block_id)
    part, parent = database.table(name), database.table(block_table(view))
    columns, chunks = rows
    made = (
        f"CREATE TABLE {part} (LIKE {parent} INCLUDING STORAGE, "
        f"CONSTRAINT {_bounds(view, block_id)} CHECK (block_id = {block_id})) "
        "WITH (toast_tuple_target = 8160)"
    )
    plain = ", ".join(f"ALTER {column} SET STORAGE PLAIN" for column in columns if column in short)
    _run(connection, f"{made}; ALTER TABLE {part} {plain}" if plain else made)
    reader = CopyReader(chunks)
    try:
        database.copy(connection, name, columns, reader, options="FORMAT binary, FREEZE")
    except BaseException:
        if reader.error is not None:
            raise reader.error from None
        raise
    # A unique index tells the planner how many rows a pixel has; an ANALYZE would cost up to a second. Of a table that
    # autovacuum leaves alone already, PostgreSQL 18 notes no number, and the planner guesses a hundred times too many.
    _run(
        connection,
        f"CREATE UNIQUE INDEX ON {part} (pixel_id); ALTER TABLE {part} SET (autovacuum_enabled = off)",
    )


def _bounds(view: str, block_id: int) -> str:
    """Name the constraint by which ATTACH knows that all rows are the block's, without reading them."""
    return quote(f"{partition(view, block_id)}_bounds")


def _run(connection: Connection, statement: str) -> None:
    connection.exec_driver_sql(statement.replace("%", "%%"))
