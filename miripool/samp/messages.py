"""Images and tables to programs that show them: to one that is named, or to all that take them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import NotFound, ProgramError
from .connection import connect
from .ds9 import check_shown, is_ds9

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .connection import Client, Connection

__all__ = ["ALL", "Delivery", "clients", "find_clients", "send_image", "send_table"]

ALL = "all"
"""The recipient that means every program that takes the message."""

_SECONDS = 60.0
"""To wait for a program that loads: DS9 takes some seconds for a gigabyte, TOPCAT asks nothing."""

_IMAGE, _TABLE = "image.load.fits", "table.load.votable"
_WHAT = {_IMAGE: "images", _TABLE: "tables"}


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a program has taken.

    Attributes
    ----------
    client : Client
        The program.
    url : str
        Of the file.
    """

    client: Client
    url: str


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


def find_clients(listed: Iterable[Client], to: str, mtype: str) -> list[Client]:
    """Choose who gets a message.

    Parameters
    ----------
    listed : iterable of Client
        Who is there.
    to : str
        A client's id, its name or a part of its name in any case of letters, or ``all``. Of several programs of that
        name it is the one that came last.
    mtype : str
        Type of the message.

    Returns
    -------
    list of Client
        One, or with ``all`` at least one.

    Raises
    ------
    NotFound
        If nobody is there, nobody has that name, or nobody takes such messages. The message lists who is there.
    """
    there = list(listed)
    if not there:
        raise NotFound("no program listens; start DS9 or TOPCAT and send again, or use `miripool open` for DS9")
    taking = [client for client in there if client.takes(mtype)]
    shown = ", ".join(sorted({client.name for client in there}))
    if to.lower() == ALL:
        if not taking:
            raise NotFound(f"no program that is connected takes {_WHAT[mtype]}; connected: {shown}")
        return taking
    named = _named(there, to)
    if not named:
        raise NotFound(f"no program called {to!r} is connected; connected: {shown}. Start it, and send again")
    able = [client for client in named if client in taking]
    if not able:
        raise NotFound(f"{named[-1].name} does not take {_WHAT[mtype]}; connected: {shown}")
    return able[-1:]


def _named(there: Sequence[Client], to: str) -> list[Client]:
    """Find clients by id, by name, by the beginning of the name, or by a part of it (DS9 says it is SAOImageDS9)."""
    wanted = to.strip().lower()
    if not wanted:
        return []
    names = [(client, client.name.lower()) for client in there]
    return (
        [client for client in there if client.id == to]
        or [client for client, name in names if name == wanted]
        or [client for client, name in names if name.startswith(wanted)]
        or [client for client, name in names if wanted in name]
    )


def send_image(connection: Connection, url: str, name: str, to: str, *, seconds: float = _SECONDS) -> list[Delivery]:
    """Send a FITS file with one image.

    Parameters
    ----------
    connection : Connection
        From `connect`.
    url : str
        The file's, ``file://…`` or ``http://…``. DS9 takes the characters of a file's URL as they are.
    name : str
        What to call the image.
    to : str
        As for `find_clients`.
    seconds : float, keyword-only
        To wait for each program.

    Returns
    -------
    list of Delivery
        One for each program that has taken it.

    Raises
    ------
    NotFound
        If nobody is there to take it.
    ProgramError
        If one that is named does not take it, or all of several don't.
    """
    parameters = {"url": url, "name": name, "image-id": url}
    return _send(connection, _IMAGE, parameters, to, seconds)


def send_table(
    connection: Connection, url: str, name: str, table_id: str, to: str, *, seconds: float = _SECONDS
) -> list[Delivery]:
    """Send a VOTable.

    Parameters
    ----------
    connection, url, name, to, seconds : object
        As for `send_image`.
    table_id : str
        By which messages about the table's rows name it.

    Returns
    -------
    list of Delivery
        One for each program that has taken it.

    Raises
    ------
    NotFound, ProgramError
        As for `send_image`.
    """
    parameters = {"url": url, "name": name, "table-id": table_id}
    return _send(connection, _TABLE, parameters, to, seconds)


def _send(connection: Connection, mtype: str, parameters: Mapping[str, Any], to: str, seconds: float) -> list[Delivery]:
    chosen = find_clients(connection.clients(), to, mtype)
    taken: list[Delivery] = []
    errors: list[ProgramError] = []
    for client in chosen:
        try:
            connection.call(client, mtype, parameters, seconds=seconds)
            if mtype == _IMAGE and is_ds9(client):
                check_shown(connection, client, urlsplit(parameters["url"]).path)
        except ProgramError as error:
            errors.append(error)
        else:
            taken.append(Delivery(client, parameters["url"]))
    if errors and not taken:
        raise errors[0]
    return taken
