"""Archive: products, versions and tags of one pool on a storage. The folder is the truth; the index follows it.

A save is: measure the arrays (digests, statistics) → pending note → blobs → manifest → journal entry. Whoever is
killed before the entry leaves files that nothing refers to; from the entry on the save is durable.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import IntegrityError, NotFound, PoolNotFound
from ..model.canonical import digest_bytes
from ..model.kinds import kind_class
from ..model.product import Context, Hdu, Layout, Original, Product
from .givenup import GivenUp
from .journal import Journal
from .manifest import BlobRef, HduRecord, Manifest, OriginalRecord
from .measured import Measured, format_for
from .notes import Notes
from .poolfolder import FOLDERS
from .poolinfo import INFO, PoolInfo, gone_pool, read_pool_info
from .storage import storage_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ..model.dataset import ArraySource
    from .arrays.blobs import BlobStore
    from .notes import Ticket
    from .poolinfo import PixelPolicy
    from .storage.contract import Held, Storage
    from .storage.gathering import Gathering

    Near = Mapping[str, Sequence[str]]
    """For the digest of an array that is to be stored: blobs of arrays like it, of which it may take tiles."""

__all__ = ["Archive", "archive_at"]

_PARTS = ("data", "heap", "raw", "tail")


class Archive:
    """One pool's folder.

    Parameters
    ----------
    storage : Storage
        The folder.
    info : PoolInfo
        From its ``pool.json``.
    """

    def __init__(self, storage: Storage, info: PoolInfo) -> None:
        self.storage = storage
        self.info = info
        self.journal = Journal(storage, self.held)
        self.notes = Notes(storage, storage.leases)
        self.manifest = functools.lru_cache(maxsize=512)(self.read_manifest)
        self._confirmed: str | None = None
        """The state of the ``pool.json`` that was read last and is this pool's."""
        self._written: Manifest | None = None
        """The manifest that was written last."""

    @functools.cached_property
    def blobs(self) -> BlobStore:
        """The arrays. What listings need is in the journal and the manifests."""
        from .arrays.blobs import BlobStore

        return BlobStore(self.storage)

    @classmethod
    def create(cls, storage: Storage, *, pool_id: str | None = None, first_serial: int = 0) -> Archive:
        """Make a new pool in an empty folder.

        Parameters
        ----------
        storage : Storage
            The folder.
        pool_id : str, keyword-only, optional
            A UUID, by which the caller can tell its own from another's.
        first_serial : int, keyword-only
            Where its URNs begin.

        Returns
        -------
        Archive
            The new one, or the one that another process made at the same moment.
        """
        info = PoolInfo(pool_id or str(uuid.uuid4()), datetime.now(UTC).replace(microsecond=0), first_serial)
        if not storage.put(INFO, info.to_bytes()):
            return cls.open(storage)
        storage.settle()
        return cls(storage, info)

    @classmethod
    def open(cls, storage: Storage) -> Archive:
        """Open a pool's folder; nothing but ``pool.json`` is read.

        Parameters
        ----------
        storage : Storage
            The folder.

        Returns
        -------
        Archive
            The pool's.

        Raises
        ------
        NotFound
            If there is no pool.
        FormatError
            If ``pool.json`` can't be read.
        StorageError
            If a folder of the pool is a symbolic link.
        """
        info = read_pool_info(storage)
        storage.refuse_links(FOLDERS)
        storage.settle()
        return cls(storage, info)

    @property
    def place(self) -> str:
        """Where it is: `archive_at` finds it by this in other processes."""
        return self.storage.place

    @property
    def work_folder(self) -> Path:
        """Where work in progress has its files: in the pool's folder, or where this machine has room for such."""
        import tempfile

        if self.storage.files is not None:
            return self.storage.files.root / "work"
        return Path(tempfile.gettempdir()) / f"miripool-work-{self.info.id}"

    def confirm(self) -> None:
        """Make sure that the folder is still this pool's.

        Raises
        ------
        PoolNotFound
            If it is gone, or another pool's.
        """
        self._confirm(self.storage)

    def _confirm(self, storage: Storage | Held) -> None:
        try:
            version = storage.status(INFO).version
            if version == self._confirmed:
                return
            found = read_pool_info(storage).id
        except NotFound:
            found = None
        if found != self.info.id:
            raise gone_pool(self.storage, self.info.id)
        self._confirmed = version

    @contextlib.contextmanager
    def held(self, *, alone: bool = False) -> Iterator[Held]:
        """Keep the folder where it is, for as short as can be: nothing that waits for the index belongs within.

        Parameters
        ----------
        alone : bool, keyword-only
            To move it away: no entry is written meanwhile.

        Yields
        ------
        Held
            The pool's folder itself, wherever its path leads.

        Raises
        ------
        PoolNotFound
            If it is gone, or another pool's.
        Conflict
            If another process does not let go of it.
        """
        with contextlib.ExitStack() as stack:
            try:
                folder = stack.enter_context(self.storage.held(alone=alone))
            except NotFound:
                raise gone_pool(self.storage, self.info.id) from None
            self._confirm(folder)
            yield folder

    def remember_name(self, name: str) -> None:
        """Add a name to those the pool had, so that its URNs stay valid.

        Parameters
        ----------
        name : str
            The name it is about to lose.
        """
        self._change_info(
            lambda known: replace(known, former_names=(*(n for n in known.former_names if n != name), name))
        )

    def set_pixel_policy(self, policy: PixelPolicy) -> None:
        """Say which versions get pixel rows by themselves from now on.

        Parameters
        ----------
        policy : {'all', 'tagged', 'none'}
            As in `PoolInfo`.
        """
        self._change_info(lambda known: replace(known, pixels=policy))

    def read_info(self) -> PoolInfo:
        """Read ``pool.json`` again; others may have changed it.

        Returns
        -------
        PoolInfo
            What it says now.
        """
        return read_pool_info(self.storage)

    def _change_info(self, change: Callable[[PoolInfo], PoolInfo]) -> None:
        """Change ``pool.json``; what another process changes at the same time stays changed."""
        while True:
            version = self.storage.status(INFO).version
            info = change(self.read_info())
            if self.storage.replace(INFO, info.to_bytes(), version=version):
                self.info = info
                return

    def measure(self, layout: Layout) -> Measured:
        """Name all arrays of a product and take their statistics; nothing is written.

        Parameters
        ----------
        layout : Layout
            The product's file.

        Returns
        -------
        Measured
            To be written by `write`, once it is known that it has to be.
        """
        measured = Measured()
        for hdu in layout.hdus:
            measured.hdus.append(self._measure_hdu(hdu, measured))
        if layout.original is not None:
            rest, tail = layout.original.rest, layout.original.tail
            measured.original = OriginalRecord(
                layout.original.header,
                None if rest is None else self._measure_part(rest, measured),
                None if tail is None else self._measure_part(tail, measured),
            )
        if layout.trailer is not None:
            measured.trailer = self._measure_part(layout.trailer, measured)
        return measured

    def _measure_hdu(self, hdu: Hdu, measured: Measured) -> HduRecord:
        statistics = data = None
        if hdu.data is not None:
            from ..model.dataset import holds_flags

            flags = holds_flags(hdu.name, hdu.data.dtype)
            data, statistics = self.blobs.measure(hdu.data, scale=hdu.scale, flags=flags)
            measured.sources.setdefault(data.digest, (data, hdu.data))
        parts: dict[str, Any] = {
            part: self._measure_part(source, measured)
            for part in _PARTS[1:]
            if (source := getattr(hdu, part)) is not None
        }
        return HduRecord(hdu.header, hdu.name, hdu.encoding, hdu.unit, hdu.scale, statistics, data, **parts)

    def _measure_part(self, source: ArraySource, measured: Measured) -> BlobRef:
        ref, _ = self.blobs.measure(source, numeric=False)
        measured.sources.setdefault(ref.digest, (ref, source))
        return ref

    @contextlib.contextmanager
    def writing(self, manifest: Manifest, near: Near | None = None, ticket: Ticket | None = None) -> Iterator[str]:
        """Announce the files that a save is about to refer to, so that `gc` does not delete them.

        The note is written before anyone asks whether a blob is there already, and removed when the save is over.

        Parameters
        ----------
        manifest : Manifest
            What will be written.
        near : mapping, optional
            Blobs that it may need tiles of.
        ticket : Ticket, optional
            For the note, so that the caller can ask `is_announced`.

        Yields
        ------
        str
            The manifest's digest.
        """
        digest = digest_bytes(manifest.to_bytes())
        with self.notes.writing(self._keys(manifest, digest, near), ticket):
            yield digest

    def is_announced(self, digest: str, manifest: Manifest, ticket: Ticket) -> bool:
        """Tell whether what a save is about to refer to is still announced, and there.

        A process that was stopped for long may have been taken for dead, and its files collected.

        Parameters
        ----------
        digest : str
            The manifest's.
        manifest : Manifest
            What was written.
        ticket : Ticket
            Of its note.

        Returns
        -------
        bool
            False where it has to be announced and written again.
        """
        if not self.notes.is_there(ticket):
            return False
        try:
            needed = {blob for ref in manifest.blobs() for blob in self.blobs.family(ref)}
        except IntegrityError:
            return False  # what is damaged is replaced when it is written again
        return all(map(self.storage.exists, [*map(self.blobs.key, needed), self.manifest_key(digest)]))

    def announce(self, manifest: Manifest, ticket: Ticket, near: Near | None = None) -> None:
        """Announce the files that another process's save is about to refer to, by a note that this process withdraws.

        Parameters
        ----------
        manifest : Manifest
            What they will write.
        ticket : Ticket
            Theirs.
        near : mapping, optional
            Blobs that it may need tiles of.
        """
        self.notes.announce(ticket, self._keys(manifest, digest_bytes(manifest.to_bytes()), near))

    def _keys(self, manifest: Manifest, digest: str, near: Near | None) -> set[str]:
        blobs = {ref.blob for ref in manifest.blobs()}.union(*(near or {}).values())
        return {self.blobs.key(blob) for blob in blobs} | {self.manifest_key(digest)}

    def gathering(self) -> Gathering:
        """Put many blobs and manifests at once, and wait once until all of them are durable.

        Returns
        -------
        Gathering
            For `write` and `write_blobs`, to be used in a ``with``. No entry may refer to what was put into it before
            `Gathering.settle` has returned.
        """
        return self.storage.gathering()

    def write_blobs(
        self,
        sources: Mapping[str, tuple[BlobRef, ArraySource]],
        near: Near | None = None,
        gathering: Gathering | None = None,
    ) -> int:
        """Store the blobs of a version, durably, once they are announced.

        Parameters
        ----------
        sources : mapping
            From `Measured`.
        near : mapping, optional
            As announced.
        gathering : Gathering, optional
            The pool's: the blobs are durable once that is settled, not on return.

        Returns
        -------
        int
            Bytes added to the pool. Into a gathering: bytes put, of which those are not added that another process puts
            first; `Gathering.settle` tells.
        """
        if gathering is None:
            with self.gathering() as own:
                self.write_blobs(sources, near, own)
                return sum(own.settle().values())
        near = near or {}
        needed = format_for(sources, near)
        if needed > self.info.format:  # who does not know these blobs can't read them, or collects what they need
            self._change_info(lambda known: replace(known, format=max(known.format, needed)))
        announced = set(sources).union(*near.values())
        return self.blobs.write_all(sources.values(), near=near, announced=announced, gathering=gathering)

    def write(
        self,
        manifest: Manifest,
        sources: Mapping[str, tuple[BlobRef, ArraySource]],
        near: Near | None = None,
        gathering: Gathering | None = None,
    ) -> int:
        """Store the blobs and the manifest of a version, durably. Call it within `writing`.

        Parameters
        ----------
        manifest : Manifest
            The version.
        sources : mapping
            From `Measured`.
        near : mapping, optional
            As announced.
        gathering : Gathering, optional
            As for `write_blobs`.

        Returns
        -------
        int
            As for `write_blobs`.
        """
        if gathering is None:
            with self.gathering() as own:
                self.write(manifest, sources, near, own)
                return sum(own.settle().values())
        added = self.write_blobs(sources, near, gathering)
        self._written = manifest
        data = manifest.to_bytes()
        key = self.manifest_key(digest_bytes(data))
        if not gathering.confirm(key):
            gathering.put(key, data)
        elif gathering.knows(key) or self.storage.read(key) == data:
            return added
        else:
            gathering.replace(key, data)
        return added + len(data)

    def mend(self, manifest: Manifest, sources: Mapping[str, tuple[BlobRef, ArraySource]]) -> None:
        """Store blobs of a version of the journal again where they are lost or damaged.

        Parameters
        ----------
        manifest : Manifest
            The version.
        sources : mapping
            From `Measured`, of a product with some of the same arrays.

        Raises
        ------
        IntegrityError
            If a damaged array of a bundle is not among them.
        """
        refs = {ref.digest: ref for ref in manifest.blobs()}
        self.blobs.write_all(
            (ref, sources[digest][1] if digest in sources else self.blobs.open(ref))
            for digest, ref in refs.items()
            if digest in sources or ref.bundle is not None
        )

    def is_whole(self, digest: str) -> bool:
        """Tell whether a version's manifest and blobs are there and look sound; no array is read.

        Parameters
        ----------
        digest : str
            The manifest's.

        Returns
        -------
        bool
            False if something is missing or visibly damaged.
        """
        try:
            manifest = self.read_manifest(digest)
        except IntegrityError:
            return False
        return all(self.blobs.open(ref).is_sound() for ref in manifest.blobs())

    def looks_whole(self, manifest: Manifest) -> bool:
        """Tell whether a version's blobs are there, each as long as it says; ten times as quick as `is_whole`.

        Parameters
        ----------
        manifest : Manifest
            As it was just read.

        Returns
        -------
        bool
            False where `is_whole` is to be asked.
        """
        return all(self.blobs.open(ref).looks_whole() for ref in manifest.blobs())

    @staticmethod
    def manifest_key(digest: str) -> str:
        """Give the storage key of a manifest.

        Parameters
        ----------
        digest : str
            Its name.

        Returns
        -------
        str
            The key.
        """
        return f"manifests/{digest[:2]}/{digest}.json"

    def read_manifest(self, digest: str) -> Manifest:
        """Read a manifest and hold it against its digest.

        Parameters
        ----------
        digest : str
            Its name.

        Returns
        -------
        Manifest
            As it was written.

        Raises
        ------
        IntegrityError
            If it is missing or damaged.
        PoolNotFound
            If it is missing, for the pool is gone, or another's.
        """
        key = self.manifest_key(digest)
        name = self.storage.name(key)
        try:
            return Manifest.from_bytes(self.storage.read(key), digest)
        except NotFound:
            self.confirm()  # of a pool that is gone, nothing is damaged
            raise IntegrityError(f"manifest {name} is missing; restore it from a copy of the pool") from None
        except IntegrityError as error:
            raise IntegrityError(f"{name}: {error}") from error

    def layout_of(self, digest: str) -> Manifest:
        """Give a manifest for what it says of the arrays and headers of a version; not read if it was written last.

        Parameters
        ----------
        digest : str
            Its name.

        Returns
        -------
        Manifest
            Its history may be as it was before it was written, in other types.

        Raises
        ------
        IntegrityError, PoolNotFound
            As for `read_manifest`.
        """
        written = self._written
        return written if written is not None and written.digest == digest else self.manifest(digest)

    def product(self, manifest: Manifest, what: str = "", serial: int | None = None) -> Product:
        """Give a product whose arrays are read when touched.

        Parameters
        ----------
        manifest : Manifest
            The version.
        what : str, optional
            What it is called, for messages.
        serial : int, optional
            The version's: reading raises ProductNotFound if the version was removed for good, and
            PoolNotFound where the pool is gone.

        Returns
        -------
        Product
            Of the manifest's kind; no blob is opened.
        """
        given_up = None if serial is None else GivenUp(self.storage, self.info.id, serial, what or f"version {serial}")
        hdus = tuple(self._open_hdu(record, what, given_up) for record in manifest.hdus)
        trailer = None if manifest.trailer is None else self.blobs.open(manifest.trailer, what, given_up)
        layout = Layout(hdus, trailer, manifest.origin, self._open_original(manifest.original, given_up))
        statistics = {record.name: record.statistics for record in manifest.hdus if record.statistics is not None}
        cls = kind_class(manifest.kind)
        product = Product.from_layout(layout, kind=cls, name=manifest.name, statistics=statistics)
        if isinstance(product, Context):
            product.links = manifest.references
        return product

    def _open_original(self, record: OriginalRecord | None, given_up: GivenUp | None) -> Original | None:
        if record is None:
            return None
        rest, tail = (None if ref is None else self.blobs.open(ref, "", given_up) for ref in (record.rest, record.tail))
        return Original(record.header, rest, tail)

    def _open_hdu(self, record: HduRecord, what: str, given_up: GivenUp | None) -> Hdu:
        whose = f"{what} {record.name}" if what else record.name
        parts: dict[str, Any] = {
            part: self.blobs.open(ref, whose, given_up) for part in _PARTS if (ref := getattr(record, part)) is not None
        }
        return Hdu(record.header, record.name, record.encoding, scale=record.scale, unit=record.unit, **parts)


@functools.lru_cache(maxsize=8)
def archive_at(place: str, pool_id: str) -> Archive:
    """Open the folder of a pool in a process that works for another.

    Parameters
    ----------
    place : str
        The other process's `Archive.place`.
    pool_id : str
        The pool's.

    Returns
    -------
    Archive
        The same for each call.

    Raises
    ------
    PoolNotFound
        If the pool is not there, as this process sees it.
    """
    found = None
    with contextlib.suppress(NotFound):
        found = Archive.open(storage_at(place))
    if found is None or found.info.id != pool_id:
        raise PoolNotFound(
            f"there is {'no' if found is None else 'another'} pool at {place} on host {socket.gethostname()}: a worker "
            "must see the pool's folder and the files under the same paths as the process that gives it work"
        )
    return found
