"""Commands as all of miripool's are: each takes ``--quiet``, before its name or after it."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .output import quiet

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Commands", "Quiet"]

Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Write data and errors only.")]


class Commands(typer.Typer):
    """A group of commands that also take ``--quiet``."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        """Register a command, as `typer.Typer.command` does.

        Parameters
        ----------
        name : str, optional
            Of the command.
        **options
            As typer's.

        Returns
        -------
        callable
            A decorator.
        """
        register = super().command(name, **options)

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            register(_with_quiet(function))
            return function

        return decorate


def _with_quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command one option more; typer reads options from the signature."""

    @functools.wraps(function)
    def run(*arguments: Any, be_quiet: bool = False, **options: Any) -> Any:
        if be_quiet:
            quiet(True)
        return function(*arguments, **options)

    signature = inspect.signature(function, eval_str=True)
    option = inspect.Parameter("be_quiet", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Quiet)
    parameters = [*signature.parameters.values(), option]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run
