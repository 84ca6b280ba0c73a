"""Versions as columns: what the table of a pixel says of each version, and where their pixel rows are.

One statement gives all of it, by COPY in binary form and no number NULL: NumPy reads a field of all rows at once.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sqlalchemy import func, literal_column, select

from ..schema import pixel_block, pixel_set, pixel_use, product, timing
from ..selection import GIVEN_SERIALS, array_text, conditions
from .arrays import flat_arrays
from .fields import Fields

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from sqlalchemy import ColumnElement, Select

    from ..connection import Database

__all__ = ["VersionColumns", "read_living_versions", "read_versions"]

_P, _S, _B, _U, _T = product.c, pixel_set.c, pixel_block.c, pixel_use.c, timing.c
_NEVER: ColumnElement[Any] = literal_column("timestamptz '-infinity'")
_NAN: ColumnElement[Any] = literal_column("double precision 'NaN'")
_TIMES = func.coalesce(_T.int_started.concat(_T.int_middle).concat(_T.int_ended), literal_column("'{}'"))
_NUMBERS = {
    _P.serial: "i8",
    _P.version: "i4",
    func.coalesce(_P.start_time, _NEVER): "i8",
    _P.created: "i8",
    func.coalesce(_S.set_id, 0): "i4",
    func.coalesce(_S.block_id, 0): "i4",
    func.coalesce(_S.slot, 0): "i4",
    func.coalesce(_B.nints, 0): "i4",
    func.coalesce(_B.first_x, 0): "i4",
    func.coalesce(_B.first_y, 0): "i4",
    func.coalesce(_B.columns, 0): "i4",
    func.coalesce(_B.rows, 0): "i4",
    _T.serial.is_not(None): "?",
    func.coalesce(_T.middle, _NAN): "f8",
    func.coalesce(_T.ended, _NAN): "f8",
}
_TEXTS = _P.kind + "/" + _P.name + "/" + func.coalesce(_P.detector, "")
"""Neither the name of a kind nor that of a product has a slash."""
_READ = (
    select(*_NUMBERS, _TIMES, _TEXTS)
    .select_from(product)
    .outerjoin(pixel_use, _U.serial == _P.serial)
    .outerjoin(pixel_set, _S.set_id == _U.set_id)
    .outerjoin(pixel_block, _B.block_id == _S.block_id)
    .outerjoin(timing, _T.serial == _P.serial)
)
_GIVEN = _READ.where(_P.serial == func.any(GIVEN_SERIALS))


@dataclass(frozen=True, slots=True)
class VersionColumns:
    """Versions, one element of each array for each of them.

    Attributes
    ----------
    serials, versions : ndarray of int
        Of the URN, and within the track.
    started, created : ndarray of int64
        Microseconds since 2000, UTC; `miripool.model.times.NEVER` where there is no start.
    sets : ndarray of int
        Their sets of pixel rows; 0 where they have none.
    blocks : ndarray of int
        The block of the set; 0 where there is none.
    slots, nints : ndarray of int
        Which of the block's exposures, from 1, and how many integrations each has; 0 where the kind has none.
    first_x, first_y, columns, rows : ndarray of int
        What the block covers, in the FULL array, from 1; 0 where there is none.
    timed : ndarray of bool
        Whether the index has the times that follow.
    middle, ended : ndarray of float64
        Of the exposure, MJD in UTC; NaN where the file does not say.
    first_time, integrations : ndarray of int64
        Where the times of a version's integrations begin in `times`, and how many integrations have times.
    times : ndarray of float64
        For each version the starts of its integrations, their middles, then their ends, MJD in UTC; NaN for unknown.
    kinds, names, detectors : ndarray of str
        A detector is empty where the header names none.
    """

    serials: NDArray[np.int64]
    versions: NDArray[np.integer[Any]]
    started: NDArray[np.int64]
    created: NDArray[np.int64]
    sets: NDArray[np.integer[Any]]
    blocks: NDArray[np.integer[Any]]
    slots: NDArray[np.integer[Any]]
    nints: NDArray[np.integer[Any]]
    first_x: NDArray[np.integer[Any]]
    first_y: NDArray[np.integer[Any]]
    columns: NDArray[np.integer[Any]]
    rows: NDArray[np.integer[Any]]
    timed: NDArray[np.bool_]
    middle: NDArray[np.float64]
    ended: NDArray[np.float64]
    first_time: NDArray[np.int64]
    integrations: NDArray[np.int64]
    times: NDArray[np.float64]
    kinds: NDArray[np.str_]
    names: NDArray[np.str_]
    detectors: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.serials)

    def covering(self, x: int, y: int) -> NDArray[np.bool_]:
        """Tell which of the versions have a row of a pixel.

        Parameters
        ----------
        x, y : int
            The pixel, in the FULL array, from 1.

        Returns
        -------
        ndarray of bool
            True if so.
        """
        across, down = x - self.first_x, y - self.first_y
        return (across >= 0) & (across < self.columns) & (down >= 0) & (down < self.rows)

    def take(self, which: NDArray[Any]) -> Self:
        """Give some of the versions.

        Parameters
        ----------
        which : ndarray of int or of bool
            As NumPy takes it.

        Returns
        -------
        VersionColumns
            In that order.
        """
        names = [field.name for field in fields(self) if field.name != "times"]
        return replace(self, **{name: getattr(self, name)[which] for name in names})


def read_versions(database: Database, serials: Sequence[int]) -> VersionColumns:
    """Read versions for the tables of pixels.

    Parameters
    ----------
    database : Database
        The index.
    serials : sequence of int
        The versions, also those in the trash.

    Returns
    -------
    VersionColumns
        In any order; serials that nothing was saved under are left out.
    """
    return _read(database, *database.written(_GIVEN, serials=array_text(serials)))


def read_living_versions(
    database: Database, kinds: tuple[str, ...], *, all_versions: bool = False, tag: str | None = None
) -> VersionColumns:
    """Find versions and read them for the tables of pixels, in one question.

    Parameters
    ----------
    database : Database
        The index.
    kinds : tuple of str
        Of the versions.
    all_versions : bool, keyword-only
        Not only the newest.
    tag : str, keyword-only, optional
        Those that this tag marks, the newest or not.

    Returns
    -------
    VersionColumns
        In any order; without those in the trash.
    """
    return _read(database, *database.written(_living(kinds, all_versions, tag)))


@functools.lru_cache(maxsize=64)
def _living(kinds: tuple[str, ...], all_versions: bool, tag: str | None) -> Select[Any]:
    """Make a statement once: as an object it is what its text is kept by."""
    return _READ.where(conditions(kinds=kinds, all_versions=all_versions, tag_label=tag))


def _read(database: Database, question: str, values: Mapping[str, Any]) -> VersionColumns:
    fields = Fields(database.copied(question, values))
    numbers = fields.numbers(*_NUMBERS.values())
    times, lengths = flat_arrays(fields.contents())
    texts = [str(sent, "utf-8").split("/", 2) for sent in fields.last()]
    kinds, names, detectors = map(_texts, zip(*texts, strict=True) if texts else [()] * 3)
    columns = [*numbers, np.cumsum(lengths) - lengths, lengths // 3, times, kinds, names, detectors]
    return VersionColumns(*columns)


def _texts(values: Sequence[str]) -> NDArray[np.str_]:
    return np.full(len(values), values[0]) if len(set(values)) == 1 else np.asarray(values, dtype=str)
