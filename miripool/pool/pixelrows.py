"""Pixel rows of a pool: made after a save or later, and dropped when no version needs them.

They belong to the index: the pool is complete without them, and they can always be made from the blobs.
"""

from __future__ import annotations

import logging
import shlex
from typing import TYPE_CHECKING

from ..errors import FormatError, InvalidInput, MiripoolError, ServerUnavailable
from ..index import pixels as rows
from ..index.pixelset import pixel_set_of
from ..model.kinds import pixel_kinds
from ..model.names import Urn
from ..model.timing import timing_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..index import Catalog, ProductRow
    from ..model.product import Product
    from ..model.timing import Timing
    from ..store.archive import Archive

__all__ = ["PixelRows"]

_log = logging.getLogger(__name__)

_LEFT_OUT = "left out when it was saved"
_DROPPED = "dropped"
_NOWHERE = "its header names no place on the detector"


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
        if row.kind not in pixel_kinds():
            return False
        manifest = self._archive.manifest(row.manifest)
        try:
            described = pixel_set_of(manifest)
            if described is None:
                rows.leave_out(self._database, [row.serial], _NOWHERE)
                return False
            product = self._archive.product(manifest)
            return rows.load_rows(self._database, row.serial, described, product, _timing_of(product))
        except FormatError as error:
            rows.leave_out(self._database, [row.serial], str(error))
            urn = Urn(self._name, row.kind, row.serial)
            raise FormatError(f"{urn} has no pixel rows: {error}") from error

    def after_save(self, row: ProductRow, *, wanted: bool | None = None) -> str | None:
        """Do what the pool's setting says once a version is saved; the save stands whatever happens here.

        Parameters
        ----------
        row : ProductRow
            The version.
        wanted : bool, keyword-only, optional
            Make its rows, or leave them out, whatever the setting says.

        Returns
        -------
        str or None
            What the user should know.

        Raises
        ------
        ServerUnavailable
            If the server does not answer, e.g. for it was stopped.
        """
        if row.kind not in pixel_kinds():
            return None
        known = rows.reasons(self._database, [row.serial])
        if wanted is False:
            if row.serial not in known:
                rows.leave_out(self._database, [row.serial], _LEFT_OUT)
            return None
        if (self.policy == "none" or row.serial in known) and wanted is None:
            return None
        try:
            self.make(row)
            if self.policy == "tagged":
                self.tidy()
        except FormatError as error:
            return str(error)
        except ServerUnavailable:
            raise
        except MiripoolError as error:
            _log.warning("pixel rows of %s are pending: %s", Urn(self._name, row.kind, row.serial), error)
            return f"pixel rows pending, `miripool index pixels {self._name}` makes them ({error})"
        return None

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
                return known.get(row.serial, _LEFT_OUT) is None
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
        for done, row in enumerate(self._catalog.rows(wanted), 1):
            try:
                made += self.make(row)
            except MiripoolError as error:
                failures.append(error)
            if progress is not None:
                progress(done, len(wanted))
        return made, failures

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
