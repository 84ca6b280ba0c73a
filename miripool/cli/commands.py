"""Commands as all of miripool's are: each takes ``--quiet``, and is loaded when it is run."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections import UserDict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from .output import quiet
from .typed import take_as_typed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Commands", "Quiet", "loading"]

Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Write data and errors only.")]


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return take_as_typed(super().get_params(ctx))


class Commands(typer.Typer):
    """A group of commands that also take ``--quiet``.

    Parameters
    ----------
    only : str, keyword-only, optional
        Register the command of this name and no other.
    **options
        As typer's.
    """

    def __init__(self, *, only: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._only = only

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
        register = super().command(name, cls=_Command, **options)

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            if self._only in (None, name):
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


def loading(modules: Mapping[str, str], *, last: Sequence[str]) -> type[TyperGroup]:
    """Give the class of a group whose commands are loaded one by one, each when it is asked for.

    Their names are enough for suggestions and for the shell's completion; a help loads all.

    Parameters
    ----------
    modules : mapping of str to str
        Modules beside this one, and the names of the commands that ``register`` of each registers.
    last : sequence of str, keyword-only
        Commands that the help lists behind all others.

    Returns
    -------
    type of typer.core.TyperGroup
        For ``cls`` of a `Commands` that has no commands of its own.
    """
    module_of = {name: module for module, names in modules.items() for name in names.split()}
    module_of |= {name: module_of.pop(name) for name in last}

    class Loading(TyperGroup):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.commands = _Loaded(module_of)

        def get_params(self, ctx: Any) -> list[Any]:
            return take_as_typed(super().get_params(ctx))

        def list_commands(self, _context: Any) -> list[str]:
            return list(self.commands)

    return Loading


class _Loaded(UserDict[str, Any]):
    """Commands by their names; until one is looked at, the name of its module stands in its place."""

    def __getitem__(self, name: str) -> Any:
        found = super().__getitem__(name)
        if isinstance(found, str):
            few = Commands(only=name, rich_markup_mode=None)
            importlib.import_module(f".{found}", __package__).register(few)
            found = self[name] = get_group(few).commands[name]
        return found
