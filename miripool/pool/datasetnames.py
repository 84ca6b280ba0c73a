"""Names of datasets in a condition: a misspelt name is an error, not a condition that no product satisfies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import index
from ..errors import QueryError
from ..model.keywords import suggest
from ..query.places import KNOWN_DATASETS
from ..query.tree import Statistic, WholeArray, walk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..query.tree import Node
    from .core import Core

__all__ = ["refuse_unknown_datasets"]

_SHOWN = 8
"""Names that a message lists where none is near."""


def refuse_unknown_datasets(pools: Sequence[Core], node: Node) -> None:
    """Refuse conditions on datasets of names that no product has, and that no kind of product gives a meaning.

    Parameters
    ----------
    pools : sequence of Core
        Their indexes are caught up.
    node : Node
        A predicate. What it asks by ``'NAME' in p`` may well be missing.

    Raises
    ------
    QueryError
        If there is no such dataset in any of the pools; the message suggests.
    """
    named = {found.name if isinstance(found, WholeArray) else found.dataset: None for found in _asked(node)}
    unknown = [name for name in named if name is not None and name.upper() not in KNOWN_DATASETS]
    if not unknown:
        return
    there = sorted({name for pool in pools for name in index.datasets(pool.catalog.database)})
    if not there:
        return  # nothing was ever saved: nobody can know
    for name in unknown:
        if name in there or name.upper() in there:
            continue
        near = ["p.data" if found == "data" else found for found in suggest(name, {*there, *KNOWN_DATASETS, "data"})]
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(there[:_SHOWN])}"
        if not near and len(there) > _SHOWN:
            hint += f" and {len(there) - _SHOWN} more"
        where = " or ".join(pool.name for pool in pools)
        raise QueryError(f"no product of pool {where} has a dataset {name}; {hint}")


def _asked(node: Node) -> list[WholeArray | Statistic]:
    return [found for found in walk(node) if isinstance(found, (WholeArray, Statistic))]
