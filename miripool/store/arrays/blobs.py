"""Blobs: HDF5 files named by their content: one array each, or the small arrays of one product.

Only `hdf5file`, `hdf5write`, `hdf5datasets`, `smallfile`, `bundlefile` and `delta` speak HDF5.

Its library is loaded when the first blob is opened: most questions open none.

A blob has a dataset ``/data`` with the array in chunks ("tiles") that hold whole ramps, coded with bitshuffle + LZ4
(registered filter 32008), and a dataset ``/tile_digests`` with xxh3_128 of each tile's elements in C order,
little-endian, padding left out. Any HDF5 tool that has the filter reads ``/data``. Behind the end of the HDF5 file
stands a list of the tiles (`miripool.store.arrays.tilelist`) that lets us find and read them without it.

The name is the digest of the *logical* content: of a framed header (dtype, shape) and the elements in C order,
little-endian; a table is framed column by column. Chunking, compression and the library's version do not matter.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import IntegrityError, MiripoolError, NotFound, StorageError
from ...model.statistics import Accumulator, Statistics
from ...model.tiles import tile_shape
from ...system.oserrors import storage_error
from ...system.threads import map_bounded
from ..manifest import BlobRef
from . import bitshuffle
from .blob import Blob, blob_key, root_cause
from .bundle import BundledArray, bundle_with
from .delta import LEAST_TILED, Relatives, may_share
from .digest import array_digest, blocks, hasher_of, is_tiled, little_bytes, pieces_in_order
from .hdf5write import write_delta, write_pixels, write_plain
from .survey import survey

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ...model.dataset import ArraySource, Scale
    from ...system.scratch import Room
    from ..storage.contract import Storage
    from ..storage.gathering import Gathering
    from .survey import Changes
    from .tilelist import TileList

__all__ = ["BlobStore"]

_MOST_REMEMBERED = 10_000
"""Blobs that are remembered as sound, some 300 bytes each."""


class BlobStore:
    """The blobs of one pool.

    Parameters
    ----------
    storage : Storage
        The pool's.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._sound: dict[str, dict[str, str]] = {}
        """Blobs that were found sound, or written, lately: the blobs that each needs, itself first, and their state."""

    @staticmethod
    def key(digest: str) -> str:
        """Give the storage key of a blob.

        Parameters
        ----------
        digest : str
            Its name.

        Returns
        -------
        str
            The key.
        """
        return blob_key(digest)

    def measure(
        self,
        source: ArraySource,
        *,
        scale: Scale | None = None,
        flags: bool = False,
        numeric: bool = True,
    ) -> tuple[BlobRef, Statistics | None]:
        """Name an array and take its statistics, in one pass.

        Parameters
        ----------
        source : ArraySource
            Any shape.
        scale : Scale, optional
            Statistics are those of the physical values.
        flags : bool
            Count the elements that are not zero.
        numeric : bool
            False for bytes that only happen to look like numbers: no statistics.

        Returns
        -------
        BlobRef, Statistics or None
            Statistics of numbers only, None for tables and for bytes.
        """
        numeric = numeric and source.dtype.names is None and source.dtype.kind in "buif"
        shape = tuple(source.shape)
        if not numeric:
            return BlobRef(array_digest(source), source.dtype, shape), None
        hasher = hasher_of(source)

        def count(part: tuple[int | slice, ...] | NDArray[Any]) -> tuple[NDArray[Any], Accumulator]:
            elements = part if isinstance(part, np.ndarray) else np.asarray(source[part])
            accumulator = Accumulator(flags=flags)
            accumulator.add(elements if scale is None else scale.apply(elements))
            return elements, accumulator

        total = Accumulator(flags=flags)
        parts: Iterable[Any] = pieces_in_order(source) if is_tiled(source) else blocks(source)
        for elements, accumulator in map_bounded(count, parts):
            hasher.update(little_bytes(elements))
            total.merge(accumulator)
        return BlobRef(hasher.hexdigest(), source.dtype, shape), total.result()

    def reread(
        self, blob: Blob, room: Room, *, scale: Scale | None = None, flags: bool = False, numeric: bool = True
    ) -> tuple[str, Statistics | None]:
        """Digest a stored array and take its statistics, as `measure`, but each tile's as soon as it is decoded.

        That needs less time, and the last digits of means and scatters may be others.

        Parameters
        ----------
        blob : Blob
            The array.
        room : Room
            Gives the memory that the array is read to.
        scale, flags, numeric : object
            As for `measure`.

        Returns
        -------
        str, Statistics or None
            Its digest; statistics of numbers only.
        """
        if blob.dtype.names is not None:
            return array_digest(blob), None
        hasher = hasher_of(blob)
        taken: dict[int, Accumulator] = {}  # by thread: the next tile is likely as far from zero as the last

        def look(tile: NDArray[Any]) -> None:
            accumulator = taken.setdefault(threading.get_ident(), Accumulator(flags=flags))
            accumulator.add(tile if scale is None else scale.apply(tile))

        numeric = numeric and blob.dtype.kind in "buif"
        for band in blob.in_order(room, look if numeric else None):
            hasher.update(little_bytes(band))
        total = Accumulator(flags=flags)
        for accumulator in taken.values():
            total.merge(accumulator)
        return hasher.hexdigest(), total.result() if numeric else None

    def exists(self, digest: str) -> bool:
        """Tell whether a blob is there.

        Parameters
        ----------
        digest : str
            Its name.

        Returns
        -------
        bool
            True if so.
        """
        return self._storage.exists(self.key(digest))

    def write(
        self,
        ref: BlobRef,
        source: ArraySource,
        *,
        near: Sequence[str] = (),
        announced: Collection[str] | None = None,
        gathering: Gathering | None = None,
    ) -> int:
        """Write a blob, durably, unless it is there; one that is there and visibly damaged is replaced.

        Parameters
        ----------
        ref : BlobRef
            From `measure`.
        source : ArraySource
            The array.
        near : sequence of str, keyword-only, optional
            Blobs of arrays of the same shape and dtype, from `family`, announced so that `gc` keeps them: if
            enough of the array's tiles are theirs, only the others are written.
        announced : collection of str, keyword-only, optional
            All blobs that are announced. A delta blob that is there and needs others is replaced by one that needs
            none: nothing keeps a collector from deleting those. None where a version in the journal has the blob.
        gathering : Gathering, keyword-only, optional
            The pool's storage's: the blob is durable once that is settled, not on return.

        Returns
        -------
        int
            Bytes written to the store; 0 if the blob was there. Into a gathering: bytes put, of which those are not
            written that another process puts first; `Gathering.settle` tells.

        Raises
        ------
        DiskFull, ReadOnly, StorageError
            If it could not be written; nothing is left behind.
        """
        if gathering is None:
            with self._storage.gathering() as own:
                self.write(ref, source, near=near, announced=announced, gathering=own)
                return sum(own.settle().values())
        key = self.key(ref.digest)
        there = gathering.confirm(key)
        if there and self._serves(ref, announced, gathering):
            return 0
        for digest in near:
            gathering.wait(self.key(digest))
        path = gathering.workspace(key)
        try:
            with _writing_errors(str(path)):
                is_plain = there or not self._write_delta(path, ref, source, near)
                if is_plain:
                    write_plain(path, ref, source)
                size = path.stat().st_size
                if is_plain and self._storage.files is not None:
                    self._remember(ref.digest, {ref.digest: self._storage.files.version(path)})
        except BaseException:
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        (gathering.replace if there else gathering.put)(key, path)
        return size

    def _serves(self, ref: BlobRef, announced: Collection[str] | None, gathering: Gathering) -> bool:
        """Tell whether a blob that is there is sound, and needs no others than what is announced."""
        is_own = gathering.knows(self.key(ref.digest)) and ref.digest in self._sound
        if not is_own:
            gathering.wait(self.key(ref.digest))
        family = self._sound.get(ref.digest) if is_own else self._recall(ref.digest) or self._look(ref)
        return bool(family) and (announced is None or set(family or ()) <= set(announced))

    def _look(self, ref: BlobRef) -> tuple[str, ...]:
        """Look whether a blob is sound, by HDF5, and give the blobs it needs, itself first; nothing if it is not."""
        try:
            states = {digest: self._storage.status(self.key(digest)).version for digest in self.family(ref)}
        except (IntegrityError, NotFound):
            return ()
        if not self.open(ref).is_sound():
            return ()
        self._remember(ref.digest, states)
        return tuple(states)

    def _remember(self, digest: str, states: dict[str, str]) -> None:
        if len(self._sound) >= _MOST_REMEMBERED:
            self._sound.clear()
        self._sound[digest] = states

    def _recall(self, digest: str) -> tuple[str, ...]:
        """Give the blobs that one needs, itself first, if no file of theirs has changed since it was found sound."""
        known = self._sound.get(digest, {})
        try:
            if all(self._storage.status(self.key(d)).version == state for d, state in known.items()):
                return tuple(known)
        except NotFound:
            pass
        self._sound.pop(digest, None)
        return ()

    def write_all(
        self,
        arrays: Iterable[tuple[BlobRef, ArraySource]],
        *,
        near: Mapping[str, Sequence[str]] | None = None,
        announced: Collection[str] | None = None,
        gathering: Gathering | None = None,
    ) -> int:
        """Write blobs and bundles, as `write` and `write_bundle` do.

        Parameters
        ----------
        arrays : iterable of (BlobRef, ArraySource)
            Of a bundle all of its arrays.
        near : mapping, keyword-only, optional
            As for `write`, by digest.
        announced : collection of str, keyword-only, optional
            As for `write`.
        gathering : Gathering, keyword-only, optional
            As for `write`.

        Returns
        -------
        int
            As for `write`.
        """
        bundles: dict[str, list[tuple[BlobRef, ArraySource]]] = {}
        added = 0
        for ref, source in arrays:
            if ref.bundle is not None:
                bundles.setdefault(ref.bundle, []).append((ref, source))
                continue
            others = (near or {}).get(ref.digest, ())
            added += self.write(ref, source, near=others, announced=announced, gathering=gathering)
        return added + sum(self.write_bundle(members, gathering=gathering) for members in bundles.values())

    def write_bundle(
        self, members: Sequence[tuple[BlobRef, ArraySource]], *, gathering: Gathering | None = None
    ) -> int:
        """Write a bundle, durably, unless it is there; one that is there and damaged is replaced.

        Parameters
        ----------
        members : sequence of (BlobRef, ArraySource)
            All of its arrays.
        gathering : Gathering, keyword-only, optional
            As for `write`.

        Returns
        -------
        int
            As for `write`.

        Raises
        ------
        DiskFull, ReadOnly, StorageError
            If it could not be written; nothing is left behind.
        """
        if gathering is None:
            with self._storage.gathering() as own:
                self.write_bundle(members, gathering=own)
                return sum(own.settle().values())
        key = self.key(members[0][0].blob)
        there = gathering.confirm(key)
        if there and (gathering.knows(key) or all(self.open(ref).is_sound() for ref, _ in members)):
            return 0
        with _writing_errors(self._storage.name(key)):
            data = bundle_with(members)
        (gathering.replace if there else gathering.put)(key, data)
        return len(data)

    def _write_delta(self, path: Path, ref: BlobRef, source: ArraySource, near: Sequence[str]) -> bool:
        """Write only what others have not, if that is worth while: pixels if few have changed, else tiles."""
        found: list[tuple[str, TileList]] = []
        chunks = tile_shape(ref.shape, ref.dtype.itemsize)
        for digest in near if bitshuffle.available() else ():
            with contextlib.suppress(MiripoolError):  # what is damaged is told when it is read, or by verify
                tiles = self.open(BlobRef(digest, ref.dtype, ref.shape)).tile_list()
                if tiles is not None and tiles.chunks == chunks:
                    found.append((digest, tiles))
        if not found:
            return False
        relatives = Relatives(found)
        changes = self._survey(ref, source, relatives)
        if changes is not None:
            write_pixels(path, ref, source, relatives, changes)
            return True
        return ref.nbytes >= LEAST_TILED and write_delta(path, ref, source, relatives)

    def _survey(self, ref: BlobRef, source: ArraySource, relatives: Relatives) -> Changes | None:
        blobs = [self.open(BlobRef(digest, ref.dtype, ref.shape)) for digest in relatives.digests]
        try:
            return survey(ref, source, relatives, lambda number, tile: np.asarray(blobs[number][tile.inside]))
        except MiripoolError:
            return None  # as above

    def write_to(self, path: Path, ref: BlobRef, source: ArraySource) -> None:
        """Write a blob outside the pool; it needs no other.

        Parameters
        ----------
        path : pathlib.Path
            The file.
        ref : BlobRef
            What the array is.
        source : ArraySource
            The array.

        Raises
        ------
        DiskFull, ReadOnly, StorageError
            If it could not be written.
        """
        with _writing_errors(str(path)):
            write_plain(path, ref, source)

    def family(self, ref: BlobRef) -> tuple[str, ...]:
        """Tell which blobs are needed to read one.

        Parameters
        ----------
        ref : BlobRef
            From a manifest.

        Returns
        -------
        tuple of str
            Its name, those of the blobs that have tiles of it, and what these need in turn: a blob that was lost may
            have been stored again as a delta blob.

        Raises
        ------
        IntegrityError
            If it is damaged, so that this is not known.
        """
        if ref.bundle is not None or not may_share(ref.shape, ref.dtype):
            return (ref.blob,)
        if known := self._recall(ref.digest):
            return known
        found = {ref.digest: None}  # in order
        ahead = [ref.digest]
        while ahead:
            new = [owner for owner in self._owners(replace(ref, digest=ahead.pop())) if owner not in found]
            found |= dict.fromkeys(new)
            ahead += new
        return tuple(found)

    def _owners(self, ref: BlobRef) -> tuple[str, ...]:
        if not self.exists(ref.digest):
            return ()
        try:
            return self.open(ref).owners()
        except IntegrityError:
            if self.exists(ref.digest):
                raise
            return ()  # collected meanwhile

    def is_whole(self, ref: BlobRef) -> bool:
        """Read an array, and look at all that its file keeps beside it.

        Parameters
        ----------
        ref : BlobRef
            From a manifest.

        Returns
        -------
        bool
            Whether it is the array that was stored, by the list of its tiles and for HDF5 tools.

        Raises
        ------
        IntegrityError
            If it can't be read.
        """
        blob = self.open(ref)
        return self.measure(blob, numeric=False)[0].digest == ref.digest and blob.is_consistent()

    def open(self, ref: BlobRef, what: str = "", given_up: Callable[[], MiripoolError | None] | None = None) -> Blob:
        """Give an array that reads its tiles when asked.

        Parameters
        ----------
        ref : BlobRef
            From a manifest.
        what : str, optional
            Whose array it is, for messages.
        given_up : callable, optional
            As for `Blob`.

        Returns
        -------
        Blob
            Nothing is opened yet.
        """
        kind = Blob if ref.bundle is None else BundledArray
        return kind(self._storage, ref, what, given_up=given_up)


@contextlib.contextmanager
def _writing_errors(where: str) -> Iterator[None]:
    """Say what HDF5 says of a disk in our words."""
    try:
        yield
    except MiripoolError:
        raise
    except (OSError, RuntimeError, ValueError) as error:  # HDF5 reports a full disk as any of them
        cause = root_cause(error)
        if cause is None:
            raise StorageError(f"blob {where} could not be written ({error})") from error
        raise storage_error(cause, where) from error
