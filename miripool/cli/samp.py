"""Commands that show versions in DS9, and send them to the programs of the desktop."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from .choosing import AllVersions, Kind, SomeSpecs, Tagged, Where, Which, choose
from .output import emit, say
from .session import Csv, Json, PoolName, core_of, one_form, open_pool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..pool.sending import Sent

__all__ = ["register"]

_Dataset = Annotated[
    str | None,
    typer.Option(
        "--dataset", metavar="NAME", help="The dataset to show.", show_default="SCI, or the first with frames"
    ),
]


def _send(
    context: typer.Context,
    name: PoolName,
    specs: SomeSpecs = None,
    to: Annotated[
        str,
        typer.Option("--to", metavar="PROGRAM", help="ds9, topcat, aladin, another name that `clients` lists, or all."),
    ] = ...,  # type: ignore[assignment]
    dataset: _Dataset = None,
    kind: Kind = None,
    where: Where = None,
    tag: Tagged = None,
    all_versions: AllVersions = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Send versions to a program that is open on your desktop: images to DS9, their table to TOPCAT.

    Programs that show images get one of each version. DS9 shows one image alone, several side by side. Other programs
    get a table of all versions, or a dataset that is a table. The file is kept for a day.
    """
    from ..pool.reference import ProductRefs

    one_form(as_json=as_json, as_csv=as_csv)
    with open_pool(context, name) as pool:
        chosen = choose(pool, specs, Which(kind, where, tag, all_versions))
        sent = ProductRefs([ref.key for ref in chosen.refs]).send(to, dataset=dataset)
    _show(sent, as_json=as_json, as_csv=as_csv)


def _open(
    context: typer.Context,
    name: PoolName,
    specs: SomeSpecs = None,
    dataset: _Dataset = None,
    kind: Kind = None,
    where: Where = None,
    tag: Tagged = None,
    all_versions: AllVersions = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Show versions in DS9, which is started if it is not open. Two or more blink, with the same limits.

    DS9 stays open. Frames that it had before are hidden while these blink; Frame, Show All Frames brings them back. The
    next image that you open or send ends the blink.
    """
    from ..pool.opening import open_images

    one_form(as_json=as_json, as_csv=as_csv)
    with open_pool(context, name) as pool:
        chosen = choose(pool, specs, Which(kind, where, tag, all_versions))
        sent = open_images(chosen.refs, home=core_of(pool).home, dataset=dataset)
    _show(sent, as_json=as_json, as_csv=as_csv)


def _clients(as_json: Json = False, as_csv: Csv = False) -> None:
    """List the programs of your desktop that take images or tables from `send`."""
    from ..samp import clients

    one_form(as_json=as_json, as_csv=as_csv)
    rows = []
    for one in clients():
        takes = [what for what, does in (("images", one.takes_images), ("tables", one.takes_tables)) if does]
        if takes:
            rows.append({"program": one.name, "id": one.id, "takes": takes})
    emit(rows, ["program", "id", "takes"], as_json_list=as_json, as_csv=as_csv)
    if not rows:
        say("no program listens; start DS9 or TOPCAT, or use `miripool open`")


def _show(sent: Sequence[Sent], *, as_json: bool, as_csv: bool) -> None:
    rows = [{"program": one.client, **asdict(one)} for one in sent]
    for row in rows:
        del row["client"]
    emit(rows, ["program", "what", "name", "urn"], as_json_list=as_json, as_csv=as_csv)


def register(app: typer.Typer) -> None:
    """Add the commands.

    Parameters
    ----------
    app : typer.Typer
        The command line.
    """
    app.command("open")(_open)
    app.command("send")(_send)
    app.command("clients")(_clients)
