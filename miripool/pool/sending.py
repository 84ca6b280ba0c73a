"""Versions and tables to DS9, TOPCAT and Aladin: images to who shows images, tables to who shows tables."""

from __future__ import annotations

import contextlib
import functools
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import InvalidInput, ProgramError
from ..formats import extension_file
from ..model.table import TableDataset
from ..samp import ALL, connect, find_listeners, send_image, send_table
from ..samp.ds9 import is_ds9
from ..samp.frames import only_sender, tile
from .images.frames import image_named
from .sentfiles import SentFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ..model.product import Product
    from ..samp import Client, Connection

__all__ = ["Sendable", "Sent", "send", "send_any_table", "send_images"]

_log = logging.getLogger(__name__)

_MOST_IMAGES = 32
"""Images that are sent at once: each gets a frame of its own, and its memory."""
_SECONDS = 60.0
_BYTES_PER_SECOND = 2e7
"""How fast a program loads at least: DS9 loads a file of 600 MB in some seconds, a busy machine or NFS takes longer."""


class Sendable(Protocol):
    """A version, as far as sending needs it: a `ProductRef`."""

    @property
    def urn(self) -> str:
        """Its URN."""

    @property
    def name(self) -> str:
        """Name of its product."""

    @property
    def kind(self) -> str:
        """Its kind."""

    @property
    def version(self) -> int:
        """Its number."""

    @property
    def product(self) -> Product:
        """What it is a version of, the arrays unread."""

    @property
    def row(self) -> Any:
        """Its row of the index; `manifest` names the content."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What a program has taken.

    Attributes
    ----------
    client : str
        The program's name.
    what : str
        ``image`` or ``table``.
    name : str
        What it is called there.
    url : str
        Of the file, which is kept for a day.
    urn : str or None
        Of the version; None for a table of several.
    """

    client: str
    what: str
    name: str
    url: str
    urn: str | None = None


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    title: str
    urn: str | None

    @property
    def url(self) -> str:
        """The URL, in which no letter needs a quotation."""
        return f"file://{self.path}"

    @property
    def seconds(self) -> float:
        """How long to wait for a program that loads it."""
        return _SECONDS + self.path.stat().st_size / _BYTES_PER_SECOND


def send(
    refs: Sequence[Sendable],
    to: str,
    *,
    home: Path | None,
    dataset: str | None = None,
    table: Callable[[], Any],
    name: str,
) -> list[Sent]:
    """Send versions: to a program that shows images, an image of each; to others, one table of all.

    Parameters
    ----------
    refs : sequence of ProductRef
        The versions.
    to : str
        The program: its name or the beginning of it in any case of letters, its id, or ``all``.
    home : pathlib.Path or None, keyword-only
        Whose files are written; None for the user's cache.
    dataset : str, keyword-only, optional
        A dataset of each version; by default SCI, or the first with frames. One that is a table is sent as a table.
    table : callable, keyword-only
        Gives the table of all versions; called if a program gets it.
    name : str, keyword-only
        What to call that table.

    Returns
    -------
    list of Sent
        What each program has taken.

    Raises
    ------
    InvalidInput
        If there is nothing to send, there is no such dataset or image, these are more images than a program is given
        at once, or the extra ``samp`` is not installed.
    NotFound
        If no program listens, or none of that name; the message lists who is there.
    ProgramError
        If a program refuses, has ended, or does not answer in time.
    IntegrityError
        If stored data are damaged or missing.
    DiskFull
        If there is no room for the file.
    """
    if not refs:
        raise InvalidInput("there is nothing to send: no version was chosen")
    only = None if dataset is None else "table" if _is_table(refs[0].product, dataset) else "image"
    with connect() as connection:
        chosen = find_listeners(connection, to, images=only != "table", tables=only != "image")
        files = SentFiles(home)

        @functools.cache
        def tables() -> list[_File]:
            if only == "table":
                return [_table_dataset(files, ref, str(dataset)) for ref in refs]
            return [_File(files.write_table(table(), name), name, None)]

        def deliver(client: Client) -> list[Sent]:
            if only == "table" or not client.takes_images:
                return [_send_table(connection, client, file) for file in tables()]
            return send_images(connection, client, files, refs, dataset)

        return _to_each(chosen, to, deliver)


def send_images(
    connection: Connection,
    client: Client,
    files: SentFiles,
    refs: Sequence[Sendable],
    dataset: str | None,
    *,
    arrange: Callable[[Connection, Client, Sequence[str]], None] = tile,
) -> list[Sent]:
    """Send an image of each version to a program.

    Parameters
    ----------
    connection, client : object
        The program, and how to reach it.
    files : SentFiles
        Where files are written.
    refs, dataset : object
        As for `send`.
    arrange : callable, keyword-only, optional
        How DS9 shows the frames of several images: `tile` or `blink`.

    Returns
    -------
    list of Sent
        One for each version.

    Raises
    ------
    InvalidInput, ProgramError, IntegrityError, DiskFull
        As for `send`.
    """
    if len(refs) > _MOST_IMAGES:
        raise InvalidInput(
            f"{len(refs)} images are too many for {client.name}: each gets a frame of its own. Choose {_MOST_IMAGES} "
            "at most, e.g. refs[:10], or send the table of them to TOPCAT"
        )
    sent, frames = [], []
    with only_sender() if is_ds9(client) else contextlib.nullcontext():
        for ref in refs:
            file = _image_file(files, ref, dataset)
            frames.append(send_image(connection, client, file.url, file.title, seconds=file.seconds))
            sent.append(Sent(client.name, "image", file.title, file.url, ref.urn))
        if is_ds9(client) and len(frames) > 1:
            arrange(connection, client, frames)
    return sent


def send_any_table(table: Any, to: str, *, home: Path | None, name: str) -> list[Sent]:
    """Send a table.

    Parameters
    ----------
    table : astropy.table.Table
        Any. If it has a column ``urn``, rows that are selected in the program can be found again, see `find_row`.
    to, home, name : object
        As for `send`.

    Returns
    -------
    list of Sent
        Who has taken it.

    Raises
    ------
    NotFound, ProgramError, DiskFull
        As for `send`.
    """
    with connect() as connection:
        chosen = find_listeners(connection, to, images=False)
        file = _File(SentFiles(home).write_table(table, name), name, None)
        return _to_each(chosen, to, lambda client: [_send_table(connection, client, file)])


def _to_each(chosen: Sequence[Client], to: str, deliver: Callable[[Client], list[Sent]]) -> list[Sent]:
    """Send to each; of all programs, one that fails does not keep the others from it."""
    sent: list[Sent] = []
    errors: list[ProgramError] = []
    for client in chosen:
        try:
            sent += deliver(client)
        except ProgramError as error:
            errors.append(error)
    if errors and (not sent or to.strip().lower() != ALL):
        raise errors[0]
    for failed in errors:
        _log.warning("not sent: %s", failed)
    return sent


def _dataset_name(product: Product, dataset: str | None) -> str | None:
    return dataset if dataset is None or dataset in product.datasets else dataset.upper()


def _is_table(product: Product, dataset: str) -> bool:
    return isinstance(product.datasets.get(str(_dataset_name(product, dataset))), TableDataset)


def _image_file(files: SentFiles, ref: Sendable, dataset: str | None) -> _File:
    """Write a FITS file with one image of a version, in its own form: a cube stays a cube."""
    product = ref.product
    found = image_named(product, _dataset_name(product, dataset)).name
    virtual = extension_file(product, found)
    name = f"{ref.name}_{ref.kind.lower()}_v{ref.version}_{found}"
    content = f"{ref.row.manifest} {found}"
    return _File(files.write(name, ".fits", content, virtual.pieces(0, virtual.size), virtual.size), name, ref.urn)


def _table_dataset(files: SentFiles, ref: Sendable, dataset: str) -> _File:
    product = ref.product
    found = product[str(_dataset_name(product, dataset))]
    if not isinstance(found, TableDataset):
        raise InvalidInput(
            f"{found.name} of {ref.urn} is no table, but that of the first version is; send it by itself"
        )
    name = f"{ref.name}_{ref.kind.lower()}_v{ref.version}_{found.name}"
    return _File(files.write_table(found.to_table(), name), name, ref.urn)


def _send_table(connection: Connection, client: Client, file: _File) -> Sent:
    send_table(connection, client, file.url, file.title, file.path.stem, seconds=file.seconds)
    return Sent(client.name, "table", file.title, file.url, file.urn)
