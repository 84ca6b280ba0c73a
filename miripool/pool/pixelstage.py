"""Pixel stage: the pixel rows of what an ingest saves, made behind it while it goes on."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

from ..errors import FormatError, MiripoolError
from ..index import pixels as rows
from ..index.pixelset import pixel_set_of
from ..model.kinds import pixel_kinds
from ..model.names import Urn
from .save import make_pixels

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from ..index import ProductRow
    from .core import Core

__all__ = ["PixelStage"]

_LOADERS = 2
"""Pixel sets that are loaded at a time: PostgreSQL works on one core for each."""

_LEFT_OUT = "left out when it was saved"

_log = logging.getLogger(__name__)


class PixelStage:
    """Makes pixel rows of versions in threads, on connections of its own; leaving it waits for them.

    What fails stays pending, and is logged.

    Parameters
    ----------
    core : Core
        The pool.
    wanted : bool or None
        Make them, or leave them out, whatever the pool's setting says.

    Attributes
    ----------
    wanted : bool or None
        As given.
    """

    def __init__(self, core: Core, wanted: bool | None) -> None:
        self._core = core
        self.wanted = wanted
        self._threads = ThreadPoolExecutor(_LOADERS)  # starts none before it is given something

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(cancel_futures=kind is not None)

    def add(self, versions: Sequence[ProductRow]) -> dict[int, str]:
        """Have the rows of versions made, as far as they are wanted.

        Parameters
        ----------
        versions : sequence of ProductRow
            What was saved just now, or before.

        Returns
        -------
        dict of int to str
            For the serials of those that can't have rows, why.
        """
        refused: dict[int, str] = {}
        try:
            for row in self._core.again(lambda: self._choose(versions)):
                told = self._refuse(row)
                if told is None:
                    self._threads.submit(self._make, row)
                else:
                    refused[row.serial] = told
        except MiripoolError as error:
            _log.warning("pixel rows of %d versions are pending: %s", len(versions), error)
        return refused

    def _refuse(self, row: ProductRow) -> str | None:
        """Note of a version that it can't have rows; say why."""
        try:
            pixel_set_of(self._core.manifest(row))
        except FormatError as error:
            rows.leave_out(self._core.catalog.database, [row.serial], str(error))
            return f"{Urn(self._core.name, row.kind, row.serial)} has no pixel rows: {error}"
        return None

    def _choose(self, versions: Sequence[ProductRow]) -> list[ProductRow]:
        """Find the versions that want rows; note of the others that they are to have none."""
        database = self._core.catalog.database
        able = [row for row in versions if row.kind in pixel_kinds()]
        if not able or (self.wanted is None and self._core.pixel_rows.policy == "none"):
            return []
        known = rows.reasons(database, [row.serial for row in able])
        if self.wanted is False:
            rows.leave_out(database, [row.serial for row in able if row.serial not in known], _LEFT_OUT)
            return []
        return [row for row in able if self.wanted or row.serial not in known]

    def _make(self, row: ProductRow) -> None:
        notice = make_pixels(self._core, row, self.wanted)
        if notice is not None:
            _log.warning("%s: %s", Urn(self._core.name, row.kind, row.serial), notice)
