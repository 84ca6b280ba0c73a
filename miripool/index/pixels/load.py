"""Loading pixel sets: a block made, filled, indexed and attached in one transaction, or nothing.

A set belongs to one exposure and is claimed by inserting its row: of two processes the second waits, and finds it made.
The block's partitions are attached last, so readers don't wait; before that no other session sees them, so COPY can
write them frozen and, with ``wal_level=minimal``, unlogged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Integer,
    String,
    Text,
    and_,
    bindparam,
    cast,
    exists,
    func,
    insert,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects import postgresql

from ...errors import FormatError, MiripoolError, ProductNotFound, ServerError, ServerUnavailable
from ...model.kinds import KINDS
from ..connection import quote
from ..message import Message
from ..pixelset import REFERENCE
from ..plans import FOR_FEW, Plans
from ..schema import exposure, pixel_block, pixel_set, pixel_use, product
from ..selection import GIVEN_SERIALS, array_text
from .blocks import block_table, capacity, partition, short_columns
from .forms import SlotMember, common_groupdq, rows_of
from .timing import insert_timings
from .wire import CopyReader

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Select, TableValuedAlias
    from sqlalchemy.sql.dml import ReturningInsert
    from sqlalchemy.types import TypeEngine

    from ...model.dataset import Dataset
    from ...model.timing import Timing
    from ..connection import Database
    from ..pixelset import PixelSet

    _Name = tuple[int, str]
    """exp_id and digest of a set."""

__all__ = ["Loading", "block_of", "fill_block", "insert_block", "load_together"]

_MOST_NUMBERED = (1 << 20) - 1
"""Greatest exp_id, and serial, that fits into the keys of the views: 20 bits of 63."""
_MOST_PIXELS = (1 << 21) - 1
"""Greatest pixel_id that fits into the keys."""
_IN_VIEWS = frozenset({"raw_pixel", "ramp_pixel", "rateints_pixel"})
"""Tables that the views read, which are MIRI's."""
_MOST_GROUPS = (1 << 22) - 1
"""Groups of one pixel, through all integrations, that fit into the keys."""

_BRACES = str.maketrans("[]", "{}")
_FEW_PIXELS = 1 << 12
"""Rows up to which ATTACH reads a partition: to spare it that by a constraint takes longer."""


def _unnested(**columns: TypeEngine[Any]) -> TableValuedAlias:
    """Give arrays, each bound by the name of its column, as a table."""
    arrays = (cast(bindparam(name, type_=String), postgresql.ARRAY(kind)) for name, kind in columns.items())
    return func.unnest(*arrays).table_valued(*columns, name="given").render_derived()


def _find() -> Select[Any]:
    """Make the statement of the exposures of living versions, and of the sets that these have already.

    The sets are kept from being dropped. They are locked in the order of `merge_sets`, and before any table is
    attached: so no two wait for each other.
    """
    given, s = _unnested(serials=BigInteger(), digests=Text()), pixel_set.c
    named = (
        select(product.c.serial, exposure.c.exp_id, given.c.digests.label("digest"))
        .join(exposure, product.c.name == exposure.c.name)
        .join(given, given.c.serials == product.c.serial)
        .where(product.c.removed.is_(None))
        .cte("named")
    )
    held = (
        select(s.exp_id, s.digest, s.set_id)
        .join(named, and_(named.c.exp_id == s.exp_id, named.c.digest == s.digest))
        .where(s.kind == bindparam("kind"))
        .order_by(s.set_id)
        .with_for_update(read=True, key_share=True, of=pixel_set)
        .cte("held")
    )
    same = and_(held.c.exp_id == named.c.exp_id, held.c.digest == named.c.digest)
    return select(named.c.serial, named.c.exp_id, held.c.set_id).outerjoin_from(named, held, same)


_BLOCK_COLUMNS = [c for c in pixel_block.c if c.name not in {"block_id", "made"}]
_SET_COLUMNS = ["exp_id", "kind", "digest", "common_groupdq", "block_id", "slot"]
_NAME = ["exp_id", "kind", "digest"]
_PATTERN = pixel_set.c.common_groupdq.type


def _described() -> list[ColumnElement[Any]]:
    """Give the values of a block, bound by the names of its columns with ``new_`` before them."""
    return [cast(bindparam(f"new_{c.name}"), c.type) for c in _BLOCK_COLUMNS]


def _use(rows: Select[Any]) -> postgresql.Insert:
    """Make the statement that notes which versions use which sets."""
    inserted = postgresql.insert(pixel_use).from_select(["serial", "set_id"], rows)
    return inserted.on_conflict_do_update(
        index_elements=["serial"], set_={"set_id": inserted.excluded.set_id, "reason": None}
    )


def _claim() -> ReturningInsert[Any]:
    """Make the statement that claims the sets of a block."""
    given = _unnested(exp_ids=Integer(), digests=Text(), common=Text(), slots=Integer()).c
    rows = select(
        given.exp_ids, bindparam("kind", type_=Text), given.digests, cast(given.common, _PATTERN),
        bindparam("block_id", type_=Integer), given.slots,
    )  # fmt: skip
    claimed = postgresql.insert(pixel_set).from_select(_SET_COLUMNS, rows)
    return claimed.on_conflict_do_nothing(index_elements=_NAME).returning(
        pixel_set.c.exp_id, pixel_set.c.digest, pixel_set.c.set_id
    )


def _claim_alone() -> Select[Any]:
    """Make the statement that claims the set of one living version, and numbers its block, unless the set is there.

    It notes that the version uses the set, too.
    """
    s, kind, digest = pixel_set.c, cast(bindparam("new_kind"), Text), cast(bindparam("digest"), Text)
    there = exists().where(s.exp_id == exposure.c.exp_id, s.kind == kind, s.digest == digest)
    named = (
        select(exposure.c.exp_id)
        .join(product, product.c.name == exposure.c.name)
        .where(product.c.serial == bindparam("serial"), product.c.removed.is_(None), ~there)
        .cte("named")
    )
    block = (
        insert(pixel_block)
        .from_select([c.name for c in _BLOCK_COLUMNS], select(*_described()).select_from(named))
        .returning(pixel_block.c.block_id)
        .cte("block")
    )
    common = cast(bindparam("common"), _PATTERN)
    rows = select(named.c.exp_id, kind, digest, common, block.c.block_id, literal_column("1")).select_from(
        named.join(block, true())
    )
    claimed = (
        postgresql.insert(pixel_set)
        .from_select(_SET_COLUMNS, rows)
        .on_conflict_do_nothing(index_elements=_NAME)
        .returning(s.exp_id, s.set_id, s.block_id)
        .cte("claimed")
    )
    using = _use(select(cast(bindparam("serial"), BigInteger), claimed.c.set_id)).cte("using")
    return select(claimed).add_cte(named, block, using)


_FIND = _find()
_CLAIM = _claim()
_CLAIM_ALONE = _claim_alone()
_BLOCK = (
    insert(pixel_block)
    .from_select([c.name for c in _BLOCK_COLUMNS], select(*_described()))
    .returning(pixel_block.c.block_id)
)
_USE = _use(
    select(func.unnest(GIVEN_SERIALS), func.unnest(cast(bindparam("sets", type_=String), postgresql.ARRAY(Integer))))
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
    alone = len(versions) == 1
    while True:
        try:
            with database.write() as connection:
                return _Load(database, connection, versions, common).run(alone=alone)
        except _Taken:
            alone = False


class _Load:
    """One transaction."""

    def __init__(
        self, database: Database, connection: Connection, versions: Sequence[_Opened], common: Mapping[int, Any]
    ) -> None:
        self._database = database
        self._connection = connection
        self._versions = versions
        self._common = common
        self._block_id = 0
        self._outcome: dict[int, bool | MiripoolError] = {}

    def run(self, *, alone: bool) -> dict[int, bool | MiripoolError]:
        """Make what is missing, and note who uses it; `alone` is a version whose set is expected to be missing."""
        named, held = self._claim_alone(self._versions[0]) if alone else self._find()
        missing = {name: named[name][0] for name in sorted(named) if alone or name not in held}
        if missing and not alone:
            held |= self._claim(missing)
        used = {v.serial: held[name] for name, those in named.items() for v in those}
        self._outcome |= dict.fromkeys(used, False)
        self._outcome |= {v.serial: True for v in missing.values()}
        message = Message(self._database, self._connection)
        if used and not alone:
            serials = sorted(used)
            sets = [used[serial] for serial in serials]
            message.add_kept(_USE, serials=array_text(serials), sets=array_text(sets))
        insert_timings(
            message, {v.serial: v.timing for v in self._versions if v.serial in used and v.timing is not None}
        )
        if missing:
            members = [SlotMember(v.datasets, self._common[v.serial]) for v in missing.values()]
            fill_block(message, self._block_id, next(iter(missing.values())).pixels, members)
        message.send()
        return self._outcome

    def _find(self) -> tuple[dict[_Name, list[_Opened]], dict[_Name, int]]:
        """Find the exposures, versions by (exp_id, digest), and the sets that are there."""
        values = {
            "serials": array_text([v.serial for v in self._versions]),
            "digests": [v.pixels.digest for v in self._versions],
            "kind": self._versions[0].pixels.kind,
        }
        found = self._database.answer(self._connection, *self._database.written(_FIND, **values))
        exposures = {serial: (exp_id, set_id) for serial, exp_id, set_id in found}
        named: dict[_Name, list[_Opened]] = {}
        held: dict[_Name, int] = {}
        for version in self._versions:
            exp_id, set_id = exposures.get(version.serial, (None, None))
            refused = _refusal(exp_id, version.serial, version.pixels)
            if exp_id is None or refused is not None:
                self._outcome[version.serial] = refused or ProductNotFound(
                    f"version {version.serial} is in the trash; it gets its pixel rows when it is restored"
                )
                continue
            name = exp_id, version.pixels.digest
            named.setdefault(name, []).append(version)
            if set_id is not None:
                held[name] = set_id
        return named, held

    def _claim(self, missing: Mapping[_Name, _Opened]) -> dict[_Name, int]:
        """Claim sets, in a block of their own; waits for who makes the same ones now."""
        pixels = next(iter(missing.values())).pixels
        self._block_id = insert_block(self._database, self._connection, pixels, len(missing))
        values = {
            "kind": pixels.kind,
            "block_id": self._block_id,
            "exp_ids": array_text([exp_id for exp_id, _ in missing]),
            "digests": [digest for _, digest in missing],
            "common": [self._pattern_of(version) for version in missing.values()],
            "slots": array_text(range(1, len(missing) + 1)),
        }
        claimed = self._database.answer(self._connection, *self._database.written(_CLAIM, **values))
        if len(claimed) < len(missing):
            raise _Taken
        return {(exp_id, digest): set_id for exp_id, digest, set_id in claimed}

    def _claim_alone(self, version: _Opened) -> tuple[dict[_Name, list[_Opened]], dict[_Name, int]]:
        """Do in one statement what else are three; to begin again where the set is there, or can't be made."""
        values = {
            **_describe(version.pixels, 1),
            "serial": version.serial,
            "digest": version.pixels.digest,
            "common": self._pattern_of(version),
        }
        statement, given = self._database.written(_CLAIM_ALONE, **values)
        call = Plans(self._database, self._connection).call(statement, given)
        claimed = self._database.answer(self._connection, f"{FOR_FEW}; {call}", given)
        if not claimed or _refusal(claimed[0][0], version.serial, version.pixels) is not None:
            raise _Taken
        ((exp_id, set_id, self._block_id),) = claimed
        name = exp_id, version.pixels.digest
        return {name: [version]}, {name: set_id}

    def _pattern_of(self, version: _Opened) -> str | None:
        """Write the group DQ that most pixels share as PostgreSQL reads an array."""
        common = self._common[version.serial]
        return None if common is None else str(common.tolist()).translate(_BRACES)


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


def insert_block(database: Database, connection: Connection, pixels: PixelSet, slots: int) -> int:
    """Number a new block.

    Parameters
    ----------
    database : Database
        The index.
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
    statement = database.written(_BLOCK, **_describe(pixels, slots))
    ((block_id,),) = database.answer(connection, *statement)
    return int(block_id)


def _describe(pixels: PixelSet, slots: int) -> dict[str, Any]:
    """Give the values that `_described` binds."""
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
    return {f"new_{name}": value for name, value in values.items()}


def fill_block(message: Message, block_id: int, pixels: PixelSet, members: Sequence[SlotMember]) -> None:
    """Make the partitions of a block, load and attach them.

    Parameters
    ----------
    message : Message
        In the transaction that makes the block; it is sent.
    block_id : int
        From `insert_block`.
    pixels : PixelSet
        What the rows of one of its exposures are made from.
    members : sequence of SlotMember
        Its exposures, in the order of their slots.
    """
    kind, database = KINDS[pixels.kind], message.database
    views = [kind.pixel_table, *([kind.reference_table] if REFERENCE in pixels.datasets else [])]
    is_short = len(members) == 1 and pixels.placement.columns * pixels.placement.rows <= _FEW_PIXELS
    plain = short_columns(pixels.kind, pixels.nints, pixels.ngroups, pixels.datasets, len(members))
    for view in views:
        rows = rows_of(pixels, members, view, block_id)
        _fill_partition(message, view, block_id, rows, plain, is_short=is_short)
    for view in views:
        part, parent = database.table(partition(view, block_id)), database.table(block_table(view))
        message.add(f"ALTER TABLE {parent} ATTACH PARTITION {part} FOR VALUES IN ({block_id})")
        if not is_short:
            message.add(f"ALTER TABLE {part} DROP CONSTRAINT {_bounds(view, block_id)}")
    message.send()


def _fill_partition(
    message: Message,
    view: str,
    block_id: int,
    rows: tuple[list[str], Iterator[memoryview[int]]],
    plain: Collection[str],
    *,
    is_short: bool,
) -> None:
    name = partition(view, block_id)
    part, parent = message.database.table(name), message.database.table(block_table(view))
    bounds = "" if is_short else f", CONSTRAINT {_bounds(view, block_id)} CHECK (block_id = {block_id})"
    message.add(f"CREATE TABLE {part} (LIKE {parent} INCLUDING STORAGE{bounds}) WITH (toast_tuple_target = 8160)")
    columns, chunks = rows
    if altered := ", ".join(f"ALTER {column} SET STORAGE PLAIN" for column in columns if column in plain):
        message.add(f"ALTER TABLE {part} {altered}")
    message.copy(name, columns, CopyReader(chunks), options="FORMAT binary, FREEZE")
    # A unique index tells the planner how many rows a pixel has; an ANALYZE would cost up to a second. Of a table that
    # autovacuum leaves alone already, PostgreSQL 18 notes no number, and the planner guesses a hundred times too many.
    message.add(f"CREATE UNIQUE INDEX ON {part} (pixel_id)")
    message.add(f"ALTER TABLE {part} SET (autovacuum_enabled = off)")


def _bounds(view: str, block_id: int) -> str:
    """Name the constraint by which ATTACH knows that all rows are the block's, without reading them."""
    return quote(f"{partition(view, block_id)}_bounds")
