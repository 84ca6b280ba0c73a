"""Records of versions: with their datasets, references, history and keywords, or in short."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..model.names import Urn
from ..pool.core import core_of
from ..pool.listing import keyword_rows

if TYPE_CHECKING:
    from ..exchange.copy import Received
    from ..index import ProductRow
    from ..model.product import Link
    from ..pool.ingest import Outcome
    from ..pool.reference import ProductRef
    from ..session.pool import Pool

__all__ = ["outcome_record", "received_record", "version_in_short", "version_record"]

_COLUMNS = ("urn", "kind", "name", "version", "tags", "created", "saved_by", "bytes", "stored_bytes", "filename")


def version_record(pool: Pool, ref: ProductRef) -> dict[str, Any]:
    """Give all that is known of a version but its arrays.

    Parameters
    ----------
    pool : Pool
        The pool.
    ref : ProductRef
        The version.

    Returns
    -------
    dict
        ``urn``, ``kind``, ``name``, ``version``, ``tags``, ``created`` (aware, UTC), ``saved_by``, ``bytes``,
        ``stored_bytes``, ``filename``; ``datasets`` with dtype, shape in axis order, unit, statistics and blob;
        ``references``, of contexts only; ``history``; ``keywords`` as `miripool.pool.listing.keyword_rows` gives them;
        ``purged`` (aware, UTC), where the pool is as it was and the version was removed for good since.

    Raises
    ------
    IntegrityError
        If its manifest is missing or damaged.
    """
    product = ref.product
    references = [_reference(pool.name, link) for link in getattr(product, "links", ())]
    (row,) = core_of(pool).listing([ref.serial], list(_COLUMNS))
    purged = core_of(pool).purged_since([ref.serial])
    return {
        **row,
        **({"purged": purged[ref.serial]} if purged else {}),
        "datasets": [_dataset(d) for d in product.datasets.values()],
        **({"references": references} if references else {}),
        "history": [dict(step) for step in pool.history(ref)],
        "keywords": list(keyword_rows(product.meta)),
    }


def version_in_short(pool: str, row: ProductRow) -> dict[str, Any]:
    """Give what tells a version from others.

    Parameters
    ----------
    pool : str
        The pool's name.
    row : ProductRow
        The version.

    Returns
    -------
    dict
        ``urn``, ``kind``, ``name``, ``version``, ``tags``, ``created`` (aware, UTC), ``bytes``.
    """
    return {**_identity(pool, row), "created": row.created, "bytes": row.bytes}


def outcome_record(outcome: Outcome) -> dict[str, Any]:
    """Give what came of a file that was to be added.

    Parameters
    ----------
    outcome : Outcome
        From `miripool.pool.ingest.ingest`.

    Returns
    -------
    dict
        ``file``, ``status`` (``new``, ``version``, ``unchanged``, ``failed``), ``urn``, ``version``, ``bytes``,
        ``stored_bytes``, ``message``.
    """
    return {
        "file": str(outcome.path),
        "status": outcome.status,
        "urn": outcome.urn,
        "version": outcome.version,
        "bytes": outcome.bytes,
        "stored_bytes": outcome.stored_bytes,
        "message": outcome.message,
    }


def received_record(pool: str, received: Received) -> dict[str, Any]:
    """Give what came of a version that was copied from another pool.

    Parameters
    ----------
    pool : str
        Name of the pool that received it.
    received : Received
        From `miripool.exchange.copy.receive`.

    Returns
    -------
    dict
        ``urn``, ``kind``, ``name``, ``version``, ``tags``; ``from``, its URN there; ``status``, ``notice``.
    """
    saved = received.saved
    return {**_identity(pool, saved.row), "from": received.urn, "status": saved.status, "notice": saved.notice}


def _identity(pool: str, row: ProductRow) -> dict[str, Any]:
    return {
        "urn": str(Urn(pool, row.kind, row.serial)),
        "kind": row.kind,
        "name": row.name,
        "version": row.version,
        "tags": list(row.tags),
    }


def _reference(pool: str, link: Link) -> dict[str, Any]:
    return {
        "reference": link.name,
        "urn": str(Urn(pool, link.kind, link.serial)),
        "kind": link.kind,
        "name": link.product,
        "version": link.version,
        "manifest": link.manifest,
    }


def _dataset(dataset: Any) -> dict[str, Any]:
    s = dataset.statistics
    whole = dataset.dtype.kind in "bui"
    number = {
        k: None if s is None else _number(getattr(s, k), whole=whole and k in ("min", "max"))
        for k in ("min", "max", "mean", "std")
    }
    return {
        "dataset": dataset.name,
        "dtype": "table" if dataset.dtype.names else str(dataset.dtype),
        "shape": list(dataset.shape),
        "unit": dataset.unit_text,
        **number,
        "nan": None if s is None else s.n_nan,
        "flagged": None if s is None else s.n_flagged,
        "blob": dataset.source.key,
    }


def _number(value: float | None, *, whole: bool) -> float | int:
    """Give a number that is known: whole ones of an array of integers as such; NaN where no element is a number."""
    if value is None:
        return math.nan
    return int(value) if whole and value.is_integer() else value
