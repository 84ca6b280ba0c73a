"""Images and tables to programs that show them: to one that is named, or to all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import NotFound
from .connection import connect
from .ds9 import invite_ds9, is_ds9
from .frames import load_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .connection import Client, Connection

__all__ = ["ALL", "clients", "find_clients", "find_listeners", "send_image", "send_table"]

ALL = "all"
"""The recipient that means every program that takes what is sent."""

_CLICK = "In a DS9 that runs already, choose File, SAMP, Connect"
_CLICKS = {"ds9": _CLICK, "topcat": "In a TOPCAT that runs already, choose Interop, Register with Hub"}
_SECONDS = 60.0
"""To wait for a program that loads a file of no size; a busy machine needs some of it."""


def clients() -> list[Client]:
    """List the programs that are connected to the user's hub.

    Returns
    -------
    list of Client
        In the order in which they came.

    Raises
    ------
    InvalidInput
        If the extra ``samp`` is not installed.
    ProgramError
        If the hub can't be started or does not answer.
    """
    with connect() as connection:
        return connection.clients()


def find_clients(listed: Iterable[Client], to: str, *, images: bool = True, tables: bool = True) -> list[Client]:
    """Choose who gets images or tables.

    Parameters
    ----------
    listed : iterable of Client
        Who is there.
    to : str
        A client's id, its name or a part of its name in any case of letters, or ``all``. Of several programs of that
        name it is the one that came last.
    images, tables : bool, keyword-only
        What there is to send.

    Returns
    -------
    list of Client
        One, or with ``all`` at least one, that takes any of it.

    Raises
    ------
    NotFound
        If nobody is there, nobody has that name, or nobody takes it. The message lists who is there.
    """
    there = [client for client in listed if client.takes_images or client.takes_tables]
    if not there:
        raise NotFound(f"no program listens; start DS9 or TOPCAT and send again, or use `miripool open`. {_CLICK}")
    shown = "connected: " + ", ".join(sorted({client.name for client in there}))
    named = there if to.strip().lower() == ALL else _named(there, to)
    if not named:
        click = "".join(f". {click}" for name, click in _CLICKS.items() if name in to.lower())
        raise NotFound(f"no program called {to!r} is connected; {shown}. Start it, and send again{click}")
    taking = [one for one in named if (images and one.takes_images) or (tables and one.takes_tables)]
    if not taking:
        what = "images" if images else "tables"
        who = "no program that is connected takes" if named is there else f"{named[-1].name} does not take"
        raise NotFound(f"{who} {what}; {shown}")
    return taking if named is there else taking[-1:]


def find_listeners(connection: Connection, to: str, *, images: bool = True, tables: bool = True) -> list[Client]:
    """Choose who gets images or tables; DS9 is asked to come if it runs and has not found the hub.

    Parameters
    ----------
    connection : Connection
        From `connect`.
    to, images, tables : object
        As for `find_clients`.

    Returns
    -------
    list of Client
        As from `find_clients`.

    Raises
    ------
    NotFound
        As `find_clients` does.
    """
    try:
        return find_clients(connection.clients(), to, images=images, tables=tables)
    except NotFound:
        if "ds9" not in to.lower() or invite_ds9(connection) is None:
            raise
    return find_clients(connection.clients(), to, images=images, tables=tables)


def _named(there: Sequence[Client], to: str) -> list[Client]:
    """Find clients by id, by name, by its beginning, or by a part of it: DS9 calls itself SAOImageDS9."""
    wanted = to.strip().lower()
    names = [(client, client.name.lower()) for client in there] if wanted else []
    return (
        [client for client, _ in names if client.id == wanted]
        or [client for client, name in names if name == wanted]
        or [client for client, name in names if name.startswith(wanted)]
        or [client for client, name in names if wanted in name]
    )


def send_image(connection: Connection, client: Client, url: str, name: str, *, seconds: float = _SECONDS) -> str:
    """Send a FITS file with an image, and wait until it is loaded.

    Parameters
    ----------
    connection : Connection
        From `connect`.
    client : Client
        Who gets it. DS9 makes a new frame for each image.
    url : str
        The file's. DS9 takes the characters of a file's URL as they are: it knows no ``%20``.
    name : str
        What to call the image.
    seconds : float, keyword-only
        To wait.

    Returns
    -------
    str
        The number of DS9's frame, see `load_image`; empty for another program.

    Raises
    ------
    ProgramError
        If the program refuses it, has ended, or does not answer in time; or if DS9 has not loaded it.
    """
    parameters = {"url": url, "name": name, "image-id": url}
    if is_ds9(client):
        return load_image(connection, client, parameters, seconds=seconds)
    connection.call(client, "image.load.fits", parameters, seconds=seconds)
    return ""


def send_table(
    connection: Connection, client: Client, url: str, name: str, table_id: str, *, seconds: float = _SECONDS
) -> None:
    """Send a VOTable, and wait until it is loaded.

    Parameters
    ----------
    connection, client, url, name, seconds : object
        As for `send_image`.
    table_id : str
        By which messages about the table's rows name it.

    Raises
    ------
    ProgramError
        If the program refuses it, has ended, or does not answer in time.
    """
    parameters = {"url": url, "name": name, "table-id": table_id}
    connection.call(client, "table.load.votable", parameters, seconds=seconds)
