"""Saves that have stored their blobs and wait for their entry: as a slow writer's, or one that never comes to it."""

from __future__ import annotations

from typing import Any

from miripool.pool import save
from miripool.pool.core import HasCore, core_of
from miripool.pool.prepared import Prepared, prepare, write_ahead
from miripool.pool.saving import Saved


class Ahead:
    """A product whose blobs are in the pool, announced by a pending note."""

    def __init__(self, pool: HasCore, source: Any) -> None:
        self._core = core_of(pool)
        product = save.read(source)
        assert product.name is not None
        self._core.catch_up()
        rows = self._core.catalog.living([product.name])
        self._ticket = self._core.archive.notes.ticket()
        self.prepared: Prepared = prepare(self._core.archive, product, name=product.name, history=())
        try:
            with self._core.archive.gathering() as gathering:
                write_ahead(self._core.archive, rows, self.prepared, self._ticket, gathering=gathering)
                gathering.settle()
        except BaseException:
            self.close()
            raise

    def commit(self) -> Saved:
        return save.commit(self._core, self.prepared)

    def close(self) -> None:
        """Remove the note: blobs that no version refers to are gc's from now on."""
        self._core.archive.notes.withdraw(self._ticket)
