"""What commands have in common: the home, the pool, and options that mean the same everywhere."""

from __future__ import annotations

import os
import re
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .output import ask, say, shows_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ..pool.core import Core
    from ..session.home import Home
    from ..session.pool import Pool

__all__ = [
    "AsOf",
    "Csv",
    "DryRun",
    "Json",
    "PoolName",
    "Spec",
    "confirm",
    "core_of",
    "gaps_said",
    "home_at",
    "home_of",
    "limit_from",
    "moment",
    "one_form",
    "open_pool",
    "refuse_reader",
]


def _pool_names(context: typer.Context, incomplete: str) -> list[str]:
    """List the pools whose name begins so, for the shell's completion: a list of folders, no database."""
    from ..errors import MiripoolError
    from ..session.home import Home

    try:
        names = Home(context.find_root().params.get("home")).names()
    except MiripoolError:  # a completion has nowhere to say it; the command itself will
        return []
    return [name for name in names if name.startswith(incomplete)]


PoolName = Annotated[
    str,
    typer.Argument(metavar="POOL", help="Name of the pool.", show_default=False, autocompletion=_pool_names),
]
Spec = Annotated[
    str, typer.Argument(metavar="SPEC", help="A version: URN, Kind/name, Kind/name@version, Kind/name@tag, name.")
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]
Csv = Annotated[bool, typer.Option("--csv", help="Write CSV.")]
AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="MOMENT",
        help="The pool as it was: a date (its end, UTC), a time, the number of a journal entry, or tag:LABEL for the "
        "last move of a tag.",
        show_default=False,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]


def home_of(context: typer.Context) -> Home:
    """Give the home that the options or the environment name.

    Parameters
    ----------
    context : typer.Context
        Of the command.

    Returns
    -------
    Home
        Nothing is opened.
    """
    return home_at(context.obj)


def home_at(folder: Path | None) -> Home:
    """Give a home that says how its server starts, where a person watches.

    Parameters
    ----------
    folder : pathlib.Path or None
        The home's; None for the user's own.

    Returns
    -------
    Home
        Nothing is opened.
    """
    from ..session.home import Home

    return Home(folder, progress=say if shows_progress() else None)


def core_of(pool: Pool) -> Core:
    """Give what a pool is made of, which commands need where no method of the pool does their work.

    Parameters
    ----------
    pool : Pool
        The pool.

    Returns
    -------
    Core
        Its folder and its index.
    """
    return pool._core


@contextmanager
def gaps_said() -> Iterator[None]:
    """Say what an answer leaves out as all else is said here, each time, and not as Python's warnings are.

    Yields
    ------
    None
        For the body.
    """
    import warnings

    from ..errors import IncompleteAnswer

    with warnings.catch_warnings():
        warnings.simplefilter("always", IncompleteAnswer)
        shown = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
            if issubclass(category, IncompleteAnswer):
                say(str(message))
            else:
                shown(message, category, *where)

        warnings.showwarning = show  # type: ignore[assignment]
        yield


@contextmanager
def open_pool(context: typer.Context, name: str, as_of: str | None = None) -> Iterator[Pool]:
    """Open a pool for a command.

    Parameters
    ----------
    context : typer.Context
        Of the command.
    name : str
        The pool.
    as_of : str, optional
        As it was at this moment; see `AsOf`.

    Yields
    ------
    Pool
        Closed afterwards.
    """
    with gaps_said(), home_of(context).pool(name) as pool:
        if as_of is None:
            yield pool
            return
        label = as_of.removeprefix("tag:")
        with pool.as_of(as_of) if label == as_of else pool.as_of(tag=label) as past:
            yield past


def refuse_reader(pool: Pool) -> None:
    """Refuse to change a pool that this user may only read, before anything is said or done.

    Parameters
    ----------
    pool : Pool
        The pool.

    Raises
    ------
    ReadOnly
        If its journal can't be written.
    """
    from ..errors import ReadOnly

    journal = pool.path / "journal"
    folder = journal if journal.exists() else pool.path  # the first entry makes it
    if not os.access(folder, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise ReadOnly(
            f"pool {pool.name} is read-only for this user, who can't write to {pool.path.resolve()}; "
            "nothing was changed"
        )


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something that can't be undone.

    Parameters
    ----------
    question : str
        Ends with a question mark.
    yes : bool, keyword-only
        The user has said so already.

    Raises
    ------
    InvalidInput
        If nobody is there to be asked.
    """
    from ..errors import InvalidInput

    if yes:
        return
    if not sys.stdin.isatty():
        raise InvalidInput(f"{question} There is no terminal to ask at: add --yes to confirm; nothing was done")
    if ask(f"{question} [y/N] ").lower() not in ("y", "yes"):
        say("nothing was done")
        raise typer.Exit(1)


def one_form(*, as_json: bool, as_csv: bool) -> None:
    """Refuse two forms of output at once.

    Parameters
    ----------
    as_json, as_csv : bool, keyword-only
        What was asked for.

    Raises
    ------
    InvalidInput
        If both were.
    """
    from ..errors import InvalidInput

    if as_json and as_csv:
        raise InvalidInput("--json and --csv exclude each other; choose one")


_AGO = re.compile(r"(\d+)\s*(m|min|h|d|w|minutes?|hours?|days?|weeks?)", re.ASCII)
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_MOST_ROWS = 2**63 - 1
"""PostgreSQL's largest LIMIT."""


def moment(text: str) -> datetime:
    """Read a time that the user gave: how long ago, or a date.

    Parameters
    ----------
    text : str
        ``1d``, ``12 hours``, or a date in ISO form; UTC unless it names a zone.

    Returns
    -------
    datetime
        Aware.

    Raises
    ------
    InvalidInput
        If it is neither.
    """
    from ..errors import InvalidInput

    ago = _AGO.fullmatch(text.strip())
    try:
        if ago is not None:
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2][0]]: int(ago[1])})
        found = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise InvalidInput(f"{text!r} is not a time; write 1d, 12h, 2w or a date such as 2026-05-01") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def limit_from(least: int) -> Callable[[int | None], int | None]:
    """Give the check of an option --limit. The help then shows no range, whose end would be a number of 19 digits.

    Parameters
    ----------
    least : int
        The smallest number that is accepted.

    Returns
    -------
    callable
        The option's callback.
    """

    def check(given: int | None) -> int | None:
        if given is not None and not least <= given <= _MOST_ROWS:
            raise typer.BadParameter(f"{given} is not a number of rows; give one from {least} to {_MOST_ROWS}")
        return given

    return check
