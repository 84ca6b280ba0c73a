"""Commands on tags."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import MiripoolError, ProductNotFound
from .output import emit, say
from .session import Csv, Json, PoolName, Specs, one_form, open_pool

if TYPE_CHECKING:
    from ..pool import Pool

__all__ = ["register"]

_Label = Annotated[str, typer.Argument(metavar="LABEL", help="The tag, e.g. 'using cal v1'.", show_default=False)]


def _tag(context: typer.Context, name: PoolName, label: _Label, specs: Specs) -> None:
    """Put a tag on versions; in each track it leaves the version that it marked before."""
    with open_pool(context, name) as pool:
        try:
            count = pool.tag(specs, label)
        except ProductNotFound as error:
            if _is_product(pool, label):
                raise ProductNotFound(f"{error}. The tag comes first: miripool tag {name} LABEL SPEC…") from None
            raise
    say(f"{label!r} newly marks {count} of {len(specs)} versions")


def _is_product(pool: Pool, text: str) -> bool:
    try:
        pool.ref(text, removed=True)
    except MiripoolError:
        return False
    return True


def _untag(
    context: typer.Context,
    name: PoolName,
    label: _Label,
    specs: Annotated[
        list[str] | None, typer.Argument(metavar="[SPEC…]", help="Versions to take it off; all unless given.")
    ] = None,
) -> None:
    """Take a tag off versions, or off all that it marks."""
    with open_pool(context, name) as pool:
        unmarked = [ref for ref in map(pool.ref, specs or []) if label not in ref.tags]
        count = pool.untag(label, specs or None)
    for ref in unmarked:
        say(f"{ref.urn}  {ref.kind}/{ref.name}@{ref.version} does not have the tag {label!r}")
    say(f"{label!r} was taken off {count} versions")


def _tags(context: typer.Context, name: PoolName, as_json: Json = False, as_csv: Csv = False) -> None:
    """List the tags in use."""
    one_form(as_json=as_json, as_csv=as_csv)
    with open_pool(context, name) as pool:
        rows = [asdict(t) for t in pool.tags()]
    emit(
        rows,
        ["label", "count", "first", "last"],
        as_json_list=as_json,
        as_csv=as_csv,
        titles={"label": "tag", "count": "versions", "first": "first used", "last": "last used"},
    )


def register(app: typer.Typer) -> None:
    """Add the commands.

    Parameters
    ----------
    app : typer.Typer
        The command line.
    """
    app.command("tag")(_tag)
    app.command("untag")(_untag)
    app.command("tags")(_tags)
