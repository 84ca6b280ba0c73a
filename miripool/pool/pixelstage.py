"""Pixel stage: the pixel rows of what an ingest saves, made behind it while it goes on, in full blocks."""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

from ..errors import FormatError, MiripoolError
from ..index import pixels as rows
from ..model.names import Urn

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from ..index import ProductRow
    from ..index.pixels import Loading
    from .core import Core

__all__ = ["PixelStage"]

_LOADERS = 2
"""Blocks that are loaded at a time: PostgreSQL works on one core for each."""
_PATIENCE = 20.0
"""Seconds that versions wait for others to fill their block. A campaign of small subarrays fills one in some seconds;
where versions come slowly, blocks stay small until `index optimize` merges them.
"""

_log = logging.getLogger(__name__)


class PixelStage:
    """Makes pixel rows of versions in threads, on connections of its own; leaving it waits for them.

    Versions wait until they fill a block. What fails stays pending, and is logged.

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
        self._waiting: dict[Any, tuple[float, list[Loading]]] = {}
        self._running: list[Future[None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            for key in list(self._waiting):
                self._load(key)
        self._threads.shutdown(cancel_futures=kind is not None)
        if kind is None:
            for made in self._running:
                made.result()  # what is no trouble of the database is a fault

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
            chosen = self._core.again(lambda: self._core.pixel_rows.choose(versions, wanted=self.wanted))
        except MiripoolError as error:
            _log.warning("pixel rows of %d versions are pending: %s", len(versions), error)
            return refused
        for row in chosen:
            described = self._describe(row)
            if isinstance(described, FormatError):
                refused[row.serial] = str(described)
            elif isinstance(described, MiripoolError):
                self._warn(row.kind, row.serial, described)
            elif not isinstance(described, bool):
                self._wait(described)
        for key, (since, _) in list(self._waiting.items()):
            if time.monotonic() - since > _PATIENCE:
                self._load(key)
        return refused

    def _describe(self, row: ProductRow) -> Loading | bool | MiripoolError:
        """Find out what a version's rows are made from; where that can't be recorded, they are pending."""
        try:
            return self._core.again(lambda: self._core.pixel_rows.describe(row))
        except MiripoolError as error:
            return error

    def _wait(self, loading: Loading) -> None:
        """Let a version wait for others of its place and shape; those that fill a block are loaded."""
        key, most = rows.block_of(loading.pixels)
        _, those = self._waiting.setdefault(key, (time.monotonic(), []))
        those.append(loading)
        if len(those) >= most:
            self._load(key)

    def _load(self, key: Any) -> None:
        _, those = self._waiting.pop(key)
        self._running = [made for made in self._running if not made.done() or made.exception()]
        self._running.append(self._threads.submit(self._make, those))

    def _make(self, loadings: Sequence[Loading]) -> None:
        kinds = {loading.serial: loading.pixels.kind for loading in loadings}
        core = self._core  # `core.pixel_rows` is new after the server was stopped, so it isn't kept
        try:
            for serial, outcome in core.again(lambda: list(core.pixel_rows.load(loadings))):
                if isinstance(outcome, MiripoolError):
                    self._warn(kinds[serial], serial, outcome)
            if core.pixel_rows.policy == "tagged":
                core.again(lambda: core.pixel_rows.tidy())
        except MiripoolError as error:
            for serial, kind in kinds.items():
                self._warn(kind, serial, error)

    def _warn(self, kind: str, serial: int, error: MiripoolError) -> None:
        name = self._core.name
        again = f"`miripool index pixels {name}` makes them"
        _log.warning("pixel rows of %s are pending, %s (%s)", Urn(name, kind, serial), again, error)
