"""What `add` and `watch` have in common: options, and how they tell what came of each file."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from ..system.words import counted
from .output import emit, human_bytes, report, say, visible, write
from .session import core_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..pool.ingest import Outcome
    from ..session.pool import Pool

__all__ = [
    "Jobs",
    "TagAdded",
    "Truncate",
    "WithPixels",
    "make_up_for_pixels",
    "report_added",
    "tell",
    "telling_where_it_ends",
]

_MAKE_UP_FOR = 20
"""Versions whose pending pixel rows `add` makes by the way."""
_WORDS = {"new": "added", "version": "new version", "unchanged": "unchanged", "failed": "failed"}

TagAdded = Annotated[
    str | None, typer.Option("--tag", metavar="LABEL", help="Tag for all versions, new or already there.")
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        min=1,
        help="Files to add in parallel.",
        show_default="one per core, at most 4, if many or large",
    ),
]
WithPixels = Annotated[
    bool | None,
    typer.Option("--pixels/--no-pixels", help="Make pixel rows or not.", show_default="the pool's policy"),
]
Truncate = Annotated[
    bool,
    typer.Option("--truncate", help="Keep the complete integrations of ground-test files with missing frames."),
]


def report_added(outcomes: Sequence[Outcome], *, as_json: bool, as_csv: bool) -> None:
    """Write what came of all files, and their number; end with an exit code where some failed.

    Parameters
    ----------
    outcomes : sequence of Outcome
        From `ingest`.
    as_json, as_csv : bool, keyword-only
        Write the outcomes in this form; for people `tell` wrote them.

    Raises
    ------
    typer.Exit
        If a file failed: with its error's code, or 1 if the errors are of several kinds.
    """
    from ..pool.ingest import summarise
    from ..records.versions import outcome_record

    if as_json or as_csv:
        rows = [outcome_record(o) for o in outcomes]
        emit(rows, list(rows[0]) if rows else [], as_json_list=as_json, as_csv=as_csv)
    total = summarise(outcomes)
    say(
        f"{total.new} added, {counted(total.versions, 'new version')}, "
        f"{total.unchanged} unchanged, {total.failed} failed; "
        f"{human_bytes(total.bytes)} in, {human_bytes(total.stored_bytes)} stored"
    )
    codes = {o.error.exit_code for o in outcomes if o.error is not None}
    if codes:
        raise typer.Exit(codes.pop() if len(codes) == 1 else 1)


@contextmanager
def telling_where_it_ends(outcomes: Sequence[Outcome], number: int, *, forced: bool) -> Iterator[None]:
    """Say at Ctrl-C how many files are safe, and how to go on.

    Parameters
    ----------
    outcomes : sequence of Outcome
        What came of the files so far; it grows.
    number : int
        Of all files.
    forced : bool, keyword-only
        Each file makes a new version, even if its data are there: the same command would make one more.

    Yields
    ------
    None
        For the body, which adds the files.
    """
    try:
        yield
    except KeyboardInterrupt:
        safe = sum(outcome.urn is not None for outcome in outcomes)
        failed = len(outcomes) - safe
        rest = "make what is still missing" if len(outcomes) == number else "add the others" if safe else "go on"
        again = "give only the others to --force" if forced and safe else f"run the same command again to {rest}"
        # Before the first one is reported, an earlier run may have added many.
        stand = f"{safe} of {counted(number, 'file')} are safe in the pool" if safe else "no file was added so far"
        say(f"{stand}{f', {failed} failed' if failed else ''}; {again}")
        raise


def make_up_for_pixels(pool: Pool) -> None:
    """Make the pixel rows that an earlier command could not; many are left to the command that is for it.

    Parameters
    ----------
    pool : Pool
        The pool.
    """
    pending = core_of(pool).pixel_rows.pending()
    if len(pending) > _MAKE_UP_FOR:
        say(f"pixel rows of {len(pending)} versions are pending: miripool index pixels {shlex.quote(pool.name)}")
        return
    _, failures = core_of(pool).pixel_rows.make_pending(pending)
    for error in failures:
        report(f"pixel rows are pending: {error}")


def tell(outcome: Outcome, *, before: str = "") -> None:
    """Write what came of a file, for people: a failure to stderr.

    Parameters
    ----------
    outcome : Outcome
        From `ingest`.
    before : str, keyword-only
        What the line begins with.
    """
    if outcome.error is not None:
        path, message = str(outcome.path), outcome.message or ""
        text = message if path in message else f"{path}: {message}"
        text = text.replace(path, visible(path, lines=False))  # keeps the message's own line feeds
        report(f"{before}failed       {text}")
        return
    stored = f"  ({human_bytes(outcome.stored_bytes)} stored)" if outcome.stored_bytes else ""
    notice = f"  ({outcome.message})" if outcome.message else ""
    file = visible(outcome.path.name, lines=False)
    write(f"{before}{_WORDS[outcome.status]:<12} {outcome.urn}  version {outcome.version}  {file}{stored}{notice}")
