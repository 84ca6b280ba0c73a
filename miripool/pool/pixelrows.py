"""Pixel rows of a pool: made after a save or later, and dropped when no version needs them.

They belong to the index: the pool is complete without them, and they can always be made from the blobs.
"""

from __future__ import annotations

import logging
import shlex
from functools import partial
from typing import TYPE_CHECKING

from ..errors import FormatError, InvalidInput, MiripoolError, ServerUnavailable
from ..index import pixels as rows
from ..index.pixelset import pixel_set_of
from ..model.kinds import pixel_kinds
from ..model.names import Urn
from ..model.timing import timing_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..index import Catalog, ProductRow
    from ..index.pixels import Loading, Merge
    from ..model.product import Product
    from ..model.timing import Timing
    from ..store.archive import Archive

__all__ = ["NOWHERE", "PixelRows"]

_log = logging.getLogger(__name__)

LEFT_OUT = "left out when it was saved"
"""Why a version has no pixel rows that was saved without."""
_DROPPED = "dropped"
NOWHERE = "the header names no place on the detector"
"""Why a version has no pixel rows and can't have any."""


class PixelRows:
    """The pixel rows of one pool.

    Parameters
    ----------
    name : str
        The pool's, for messages.
    archive, catalog : Archive, Catalog
        The pool's; the index is caught up.
    """

    def __init__(self, name: str, archive: Archive, catalog: Catalog) -> None:
        self._name = name
        self._archive = archive
        self._catalog = catalog
        self._database = catalog.database

    @property
    def policy(self) -> str:
        """Which versions get rows automatically: ``all``, ``tagged`` (tagged and newest versions) or ``none``."""
        return self._archive.info.pixels

    def pending(self) -> list[int]:
        """List the versions that should have rows and have none yet.

        Returns
        -------
        list of int
            Serials.
        """
        return rows.pending(self._database, self.policy)

    def make(self, row: ProductRow) -> bool:
        """Make a version's rows, if it has none.

        Parameters
        ----------
        row : ProductRow
            The version.

        Returns
        -------
        bool
            True if rows were made; False if there was no need.

        Raises
        ------
        FormatError
            If the version's arrays and header contradict each other. This is recorded, and not tried again
            automatically.
        MiripoolError
            If it failed otherwise: the rows stay pending.
        """
        ((_, outcome),) = self.make_together([row])
        if isinstance(outcome, MiripoolError):
            raise outcome
        return outcome

    def make_together(
        self, versions: Sequence[ProductRow], product: Product | None = None
    ) -> Iterator[tuple[ProductRow, bool | MiripoolError]]:
        """Make the rows of many versions, those of one detector, place and shape together.

        Parameters
        ----------
        versions : sequence of ProductRow
            The versions.
        product : Product, optional
            Has the arrays of the only one; they are read from the pool otherwise.

        Yields
        ------
        row : ProductRow
            Of each version.
        outcome : bool or MiripoolError
            What `make` gives or raises.

        Raises
        ------
        ServerUnavailable
            If the server does not answer; what was not given yet is still pending.
        """
        loadings = []
        for row in versions:
            described = self.describe(row, product)
            if isinstance(described, (bool, MiripoolError)):
                yield row, described
            else:
                loadings.append(described)
        named = {row.serial: row for row in versions}
        for serial, outcome in self.load(loadings):
            yield named[serial], outcome

    def load(self, loadings: Sequence[Loading]) -> Iterator[tuple[int, bool | MiripoolError]]:
        """Make the rows of versions that were described.

        Parameters
        ----------
        loadings : sequence of Loading
            From `describe`.

        Yields
        ------
        serial : int
            Of each version.
        outcome : bool or MiripoolError
            What `make` gives or raises.

        Raises
        ------
        ServerUnavailable
            If the server does not answer; what was not given yet is still pending.
        """
        kinds = {loading.serial: loading.pixels.kind for loading in loadings}
        for serial, outcome in rows.load_together(self._database, loadings):
            refused = isinstance(outcome, FormatError)
            yield serial, self._refused(kinds[serial], serial, outcome) if refused else outcome  # type: ignore[arg-type]

    def describe(self, row: ProductRow, product: Product | None = None) -> Loading | bool | MiripoolError:
        """Find out what a version's rows are made from; no array is read.

        Parameters
        ----------
        row : ProductRow
            The version.
        product : Product, optional
            Has its arrays; they are read from the pool otherwise.

        Returns
        -------
        Loading or bool or MiripoolError
            False where there is nothing to make, which is recorded; the failure where its manifest can't be read, or
            contradicts itself, which is recorded as well.
        """
        if row.kind not in pixel_kinds():
            return False
        try:
            described = pixel_set_of(self._archive.layout_of(row.manifest))
        except FormatError as error:
            return self._refused(row.kind, row.serial, error)
        except MiripoolError as error:
            return error
        if described is None:
            rows.leave_out(self._database, [row.serial], NOWHERE)
            return False
        return rows.Loading(row.serial, described, partial(self._open, row.manifest, product))

    def _open(self, manifest: str, product: Product | None) -> tuple[Product, Timing | None]:
        if product is not None and "INT_TIMES" not in product:
            return product, _timing_of(product)
        # In memory the table may be an array still, whose columns have no units and scales.
        stored = self._archive.product(self._archive.manifest(manifest))
        return stored if product is None else product, _timing_of(stored)

    def _refused(self, kind: str, serial: int, error: FormatError) -> FormatError:
        """Record that a version can't have rows."""
        rows.leave_out(self._database, [serial], str(error))
        refusal = FormatError(f"{Urn(self._name, kind, serial)} has no pixel rows: {error}")
        refusal.__cause__ = error
        return refusal

    def after_save(self, row: ProductRow, *, wanted: bool | None = None, product: Product | None = None) -> str | None:
        """Do what the pool's setting says once a version is saved; the save stands whatever happens here.

        Parameters
        ----------
        row : ProductRow
            The version.
        wanted : bool, keyword-only, optional
            Make its rows, or leave them out, whatever the setting says.
        product : Product, keyword-only, optional
            Has its arrays; they are read from the pool otherwise.

        Returns
        -------
        str or None
            What the user should know.

        Raises
        ------
        ServerUnavailable
            If the server does not answer, e.g. for it was stopped.
        """
        return self.after_saves([row], wanted=wanted, product=product)[row.serial]

    def after_saves(
        self, versions: Sequence[ProductRow], *, wanted: bool | None = None, product: Product | None = None
    ) -> dict[int, str | None]:
        """Do what the pool's setting says once versions are saved; the saves stand whatever happens here.

        Parameters
        ----------
        versions : sequence of ProductRow
            The versions.
        wanted : bool, keyword-only, optional
            Make their rows, or leave them out, whatever the setting says.
        product : Product, keyword-only, optional
            Has the arrays of the only one; they are read from the pool otherwise.

        Returns
        -------
        dict of int to (str or None)
            For each serial what the user should know.

        Raises
        ------
        ServerUnavailable
            If the server does not answer, e.g. for it was stopped.
        """
        told: dict[int, str | None] = {row.serial: None for row in versions}
        versions = self.choose(versions, wanted=wanted)
        for row, outcome in self.make_together(versions, product):
            if isinstance(outcome, MiripoolError):
                told[row.serial] = self._failed(row, outcome)
        if versions and self.policy == "tagged":
            try:
                self.tidy()
            except ServerUnavailable:
                raise
            except MiripoolError as error:
                told |= {row.serial: told[row.serial] or self._failed(row, error) for row in versions}
        return told

    def choose(self, versions: Sequence[ProductRow], *, wanted: bool | None = None) -> list[ProductRow]:
        """Find the versions that are to get rows now, and note of others that they are to have none.

        Parameters
        ----------
        versions : sequence of ProductRow
            Saved just now, or before.
        wanted : bool, keyword-only, optional
            As for `after_saves`.

        Returns
        -------
        list of ProductRow
            In the order given.
        """
        able = [row for row in versions if row.kind in pixel_kinds()]
        if not able or (wanted is None and self.policy == "none"):
            return []
        serials = [row.serial for row in able]
        if wanted is False:
            rows.leave_pending_out(self._database, serials, LEFT_OUT)
            return []
        if wanted:
            return able
        known = rows.reasons(self._database, serials)
        return [row for row in able if row.serial not in known]

    def _failed(self, row: ProductRow, error: MiripoolError) -> str:
        if isinstance(error, FormatError):
            return str(error)
        _log.warning("pixel rows of %s are pending: %s", Urn(self._name, row.kind, row.serial), error)
        return f"pixel rows pending, `miripool index pixels {self._name}` makes them ({error})"

    def settled(self, versions: Sequence[ProductRow], *, wanted: bool | None = None) -> set[int]:
        """Find the versions for which `after_save` has nothing to do, many at a time.

        Parameters
        ----------
        versions : sequence of ProductRow
            Saved some time ago.
        wanted : bool, keyword-only, optional
            As for `after_save`.

        Returns
        -------
        set of int
            Their serials.
        """
        known = rows.reasons(self._database, [row.serial for row in versions])

        def is_settled(row: ProductRow) -> bool:
            if row.kind not in pixel_kinds():
                return True
            if wanted:
                return known.get(row.serial, LEFT_OUT) is None
            return row.serial in known or (wanted is None and self.policy == "none")

        return {row.serial for row in versions if is_settled(row)}

    def make_pending(
        self, serials: Sequence[int] | None = None, progress: Callable[[int, int], None] | None = None
    ) -> tuple[int, list[MiripoolError]]:
        """Make the rows that are missing.

        Parameters
        ----------
        serials : sequence of int, optional
            Versions; those that are pending unless given.
        progress : callable, optional
            Told how many of how many are done.

        Returns
        -------
        made : int
            Versions that got new rows.
        failures : list of MiripoolError
            One for each that could not get them.
        """
        wanted = self.pending() if serials is None else serials
        made, failures = 0, []
        for done, (_, outcome) in enumerate(self.make_together(self._catalog.rows(wanted)), 1):
            if isinstance(outcome, MiripoolError):
                failures.append(outcome)
            else:
                made += outcome
            if progress is not None:
                progress(done, len(wanted))
        return made, failures

    def merges(self) -> list[Merge]:
        """Find the pixel rows that could be stored better, in fewer tables.

        Returns
        -------
        list of Merge
            What `optimize` would do.
        """
        return rows.plan_merges(self._database)

    def optimize(
        self, merges: Sequence[Merge], progress: Callable[[int, int], None] | None = None
    ) -> tuple[int, list[tuple[Merge, MiripoolError]]]:
        """Merge pixel rows; who reads does not wait.

        Parameters
        ----------
        merges : sequence of Merge
            From `merges`.
        progress : callable, optional
            Told how many of how many sets of rows are done.

        Returns
        -------
        merged : int
            Sets that were merged. Those that are no longer there, or that another process merged, don't count.
        failures : list of (Merge, MiripoolError)
            The merges that failed, e.g. where a file is missing or damaged. Their rows are as they were.

        Raises
        ------
        ServerUnavailable
            If the server does not answer; what was merged before stays merged.
        """
        total = sum(len(merge.sets) for merge in merges)
        done = merged = 0
        failures: list[tuple[Merge, MiripoolError]] = []
        for merge in merges:
            try:
                merged += self._merge(merge)
            except ServerUnavailable:
                raise
            except MiripoolError as error:
                failures.append((merge, error))
            done += len(merge.sets)
            if progress is not None:
                progress(done, total)
        rows.sweep(self._database)
        return merged, failures

    def _merge(self, merge: Merge) -> int:
        versions = {row.serial: row for row in self._catalog.rows(list(merge.sets.values()))}
        found = {set_id: versions[serial] for set_id, serial in merge.sets.items() if serial in versions}
        manifests = {set_id: self._archive.manifest(row.manifest) for set_id, row in found.items()}
        described = next((pixel_set_of(manifest) for manifest in manifests.values()), None)
        if described is None:
            return 0
        datasets = {set_id: self._archive.product(manifest) for set_id, manifest in manifests.items()}
        return rows.merge_sets(self._database, merge, described, datasets)

    def refuse_unwanted(self, serials: Sequence[int]) -> None:
        """Refuse to make rows that the pool's setting would take away again.

        Parameters
        ----------
        serials : sequence of int
            Versions whose rows are asked for.

        Raises
        ------
        InvalidInput
            If some are neither heads nor tagged, and only such are to have rows.
        """
        refused = rows.unwanted(self._database, self.policy, serials)
        if not refused:
            return
        row = self._catalog.rows(refused[:1])[0]
        more = f" and {len(refused) - 1} more are" if len(refused) > 1 else " is"
        pool = shlex.quote(self._name)
        raise InvalidInput(
            f"no pixel rows were made: {row.kind}/{row.name}@{row.version}{more} neither the newest of its product nor "
            f"tagged, and the pool's policy {self.policy!r} drops rows of such versions; tag them, or change the "
            f"policy first: miripool index policy {pool} all"
        )

    def drop(self, serials: Sequence[int]) -> int:
        """Take their rows from versions, until they are asked for again.

        Parameters
        ----------
        serials : sequence of int
            The versions.

        Returns
        -------
        int
            Pixel sets that went; those that another version uses stay.
        """
        rows.leave_out(self._database, serials, _DROPPED)
        return self.tidy()

    def tidy(self) -> int:
        """Drop rows of versions in the trash, and of those that the pool's setting no longer wants.

        Returns
        -------
        int
            Pixel sets that went.
        """
        rows.release(self._database, self.policy)
        return rows.sweep(self._database)


def _timing_of(product: Product) -> Timing | None:
    """Read a version's times; None where they can't be read, which a pixel's history says when they are asked for."""
    try:
        return timing_of(product)
    except MiripoolError:
        return None
