"""The command that cites versions, and checks what was cited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InvalidInput
from .choosing import AllVersions, Kind, SomeSpecs, Tagged, Where, Which, choose, count_versions
from .output import emit, say
from .session import Csv, Json, PoolName, one_form, open_pool

if TYPE_CHECKING:
    from ..pool.reference import ProductRef

__all__ = ["register"]


def _cite(
    context: typer.Context,
    name: PoolName,
    specs: SomeSpecs = None,
    kind: Kind = None,
    where: Where = None,
    tag: Tagged = None,
    all_versions: AllVersions = False,
    check: Annotated[
        str | None, typer.Option("--check", metavar="SHA256", help="Check this citation instead.", show_default=False)
    ] = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Cite versions by a SHA-256, which anyone who has the pool can check.

    A context in the pool keeps the list of versions.
    """
    one_form(as_json=as_json, as_csv=as_csv)
    which = Which(kind, where, tag, all_versions)
    if check is not None and (specs or which):
        raise InvalidInput("--check needs the SHA-256 alone; leave out the versions")
    with open_pool(context, name) as pool:
        found = pool.cite(choose(pool, specs, which).refs) if check is None else pool.cite(check=check)
        rows = [
            {"citation": str(found), "urn": ref.urn, "name": ref.name, "version": ref.version, "state": _state(ref)}
            for ref in found.versions
        ]
    emit(rows, list(rows[0]) if as_json or as_csv else list(rows[0])[1:], as_json_list=as_json, as_csv=as_csv)
    deed = "is the citation of" if check is None else "is right: it cites"
    keeps = f"which {found.context.urn} keeps"
    if _state(found.context) != "there":
        keeps = f"which {found.context.urn} no longer keeps: it is {_state(found.context)}"
    say(f"{found} {deed} {count_versions(len(rows))}, {keeps}")


def _state(ref: ProductRef) -> str:
    if ref.row.purged is not None:
        return f"removed for good on {ref.row.purged:%Y-%m-%d %H:%M} UTC"
    return "there" if ref.removed is None else "in the trash"


def register(app: typer.Typer) -> None:
    """Add the command.

    Parameters
    ----------
    app : typer.Typer
        The command line.
    """
    app.command("cite")(_cite)
