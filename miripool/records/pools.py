"""Records of pools: what a home has, and how much of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..errors import MiripoolError
from ..session.summary import PoolSummary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..session.home import Home

__all__ = ["pool_records"]


def pool_records(home: Home) -> Iterator[tuple[dict[str, Any], MiripoolError | None]]:
    """Give what is known of each pool of a home.

    Parameters
    ----------
    home : Home
        The home.

    Yields
    ------
    dict, MiripoolError or None
        ``name``, ``products``, ``versions``, ``contexts``, ``tags``, ``bytes``, ``stored_bytes``, ``index_bytes``,
        ``created``, ``path`` as in `PoolSummary`, and ``error``; where a pool can't be asked, all but its name and the
        error are None.
    """
    for name in home.names():
        try:
            yield {**asdict(home.summary(name)), "error": None}, None
        except MiripoolError as error:  # one bad pool does not hide the others
            yield {**dict.fromkeys(PoolSummary.__slots__), "name": name, "error": str(error)}, error
