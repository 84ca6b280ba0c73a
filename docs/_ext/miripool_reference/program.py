"""What the program says of itself: commands, errors, and the rooms of the package."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import miripool
from miripool import errors as all_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[3]
_BRACKETS = re.compile(r"\s*\[((?:default|required|env var|x[<>]|\d+<=x).*)\]$", re.DOTALL)


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes
    ----------
    name, usage : str
        With ``miripool``.
    help : list of str
        Paragraphs.
    arguments, options : list of (name, meaning, default)
        In their order.
    """

    name: str
    usage: str
    help: list[str]
    arguments: list[tuple[str, str, str]]
    options: list[tuple[str, str, str]]


def commands() -> list[Command]:
    """Give the program's own options, then all commands by name; those of groups one by one."""
    import typer

    from miripool.cli.app import app

    return list(_commands(typer.main.get_command(app), "miripool", None))


def _commands(command: Any, name: str, parent: Any) -> Iterator[Command]:
    context = command.context_class(command, info_name=name.rpartition(" ")[2], parent=parent)
    inner = getattr(command, "commands", {})
    if not inner or parent is None:
        yield _command(command, name, context)
    for sub in sorted(inner):
        if not inner[sub].hidden:
            yield from _commands(inner[sub], f"{name} {sub}", context)


def _command(command: Any, name: str, context: Any) -> Command:
    arguments, options, usage = [], [], [name, "[OPTIONS]"]
    for parameter in command.get_params(context):
        if parameter.param_type_name == "argument":
            shown = _metavar(parameter)
            usage.append(shown if parameter.required or shown.startswith("[") else f"[{shown}]")
            meaning, notes = _split(parameter.get_help_record(context))
            arguments.append((shown, meaning, notes))
        elif not getattr(parameter, "hidden", False) and parameter.name != "help":
            record = parameter.get_help_record(context)
            options.append((re.sub(r"<int range>|<int>", "N", record[0]).replace("<str>", "TEXT"), *_split(record)))
    if getattr(command, "commands", {}):
        usage.append("COMMAND …")
    paragraphs = [" ".join(part.split()) for part in inspect.cleandoc(command.help or "").split("\n\n")]
    return Command(name, " ".join(usage), [part for part in paragraphs if part], arguments, options)


def _metavar(parameter: Any) -> str:
    shown: str = parameter.metavar or parameter.name.upper()
    return f"{shown}…" if parameter.nargs == -1 and "…" not in shown else shown


def _split(record: tuple[str, str] | None) -> tuple[str, str]:
    """Give what a parameter means, and what stands in brackets behind."""
    text = record[1] if record else ""
    found = _BRACKETS.search(text)
    notes = found[1] if found else ""
    notes = re.sub(r"default: \((.*)\)", r"\1", notes).replace("default: ", "")
    notes = re.sub(r"\b(\d+)<=x<=\d{10,}|\bx>=(\d+)", lambda match: f"at least {match[1] or match[2]}", notes)
    notes = re.sub(r"\b(\d+)<=x<=(\d+)", r"\1 to \2", re.sub(r"env var: (\w+)", r"``\1``", notes))
    return (text[: found.start()] if found else text), notes


def errors() -> list[tuple[str, str, str, str, str]]:
    """Give exit code, name, bases, kind and meaning of each class, by code."""
    found = []
    for name in all_errors.__all__:
        cls = getattr(all_errors, name)
        bases = ", ".join(base.__name__ for base in cls.__bases__)
        meaning = (inspect.getdoc(cls) or "").partition("\n\n")[0].replace("\n", " ")
        code = getattr(cls, "exit_code", None)
        found.append((code or 0, ("" if code is None else str(code), name, bases, getattr(cls, "kind", ""), meaning)))
    return [row for _, row in sorted(found, key=lambda pair: (pair[0] == 0, pair[0]))]


@dataclass(frozen=True)
class Room:
    """A room of the package, and what it is for."""

    name: str
    purpose: str


def floors() -> list[list[Room]]:
    """Give the rooms by floor from the bottom up, as ``tests/test_imports.py`` holds the package to them."""
    tree = ast.parse((ROOT / "tests" / "test_imports.py").read_text())
    floors_node = next(
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FLOORS"
    )
    return [[Room(name, _purpose(name)) for name in names.split()] for names in ast.literal_eval(floors_node)]


def _purpose(name: str) -> str:
    package = Path(miripool.__file__).parent
    path = package / name / "__init__.py"
    source = (path if path.exists() else package / f"{name}.py").read_text()
    first = (ast.get_docstring(ast.parse(source)) or "").partition("\n\n")[0].replace("\n", " ")
    return re.sub(r"`+", "", re.split(r"(?<=\.) ", first)[0])
