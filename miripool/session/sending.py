"""Sending from a Python session: references and any table, to the programs of the desktop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput
from ..pool.reference import ProductRef, ProductRefs
from ..pool.sending import send_any_table
from .home import default_home

if TYPE_CHECKING:
    from ..pool.sending import Sent

__all__ = ["send"]


def send(what: Any, to: str, *, name: str = "table", dataset: str | None = None) -> list[Sent]:
    """Send versions or a table to DS9, TOPCAT or another program of your desktop, by SAMP.

    Parameters
    ----------
    what : ProductRef, ProductRefs, sequence of ProductRef, astropy.table.Table, or an object with ``to_table()``
        Versions, or a table: the history of a pixel, ``pool.pixels(…)``, results of a monitor, one of your own.
    to : str
        The program: its name, or the beginning of it, in any case of letters: ``ds9``, ``topcat``; its id; or ``all``.
    name : str, keyword-only
        What to call a table.
    dataset : str, keyword-only, optional
        Of versions, as for `ProductRef.send`.

    Returns
    -------
    list of Sent
        What each program has taken.

    Raises
    ------
    InvalidInput
        If it is none of these, or the extra ``samp`` is not installed.
    NotFound
        If no program listens, or none of that name; the message lists who is there.
    ProgramError
        If the program refuses, has ended, or does not answer in time.
    """
    if isinstance(what, (ProductRef, ProductRefs)):
        return what.send(to, dataset=dataset)
    if isinstance(what, Sequence) and what and all(isinstance(ref, ProductRef) for ref in what):
        return ProductRefs([ref.key for ref in what]).send(to, dataset=dataset)
    table = what.to_table() if hasattr(what, "to_table") else what
    if not hasattr(table, "colnames"):
        raise InvalidInput(f"a {type(what).__name__} can't be sent; give references, or an astropy Table")
    return send_any_table(table, to, home=default_home(), name=name)
