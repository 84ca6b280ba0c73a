"""What was typed means the same with typer's own conversion and without it, and errors are typer's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from miripool.cli.commands import Commands


def result(made: typer.Typer, words: list[str]) -> tuple[int, str, Any]:
    seen: list[Any] = []

    @made.command("run")
    def run(
        first: Annotated[list[str] | None, typer.Argument()] = None,
        text: Annotated[str | None, typer.Option()] = None,
        number: Annotated[int | None, typer.Option()] = None,
        place: Annotated[Path | None, typer.Option()] = None,
        few: Annotated[list[int] | None, typer.Option()] = None,
        small: Annotated[int, typer.Option(min=1, max=3)] = 2,
        fraction: Annotated[float, typer.Option()] = 0.5,
    ) -> None:
        seen.append((first, text, number, place, few, small, fraction))

    @made.command("other")
    def other() -> None:
        """A group has two."""

    done = CliRunner().invoke(made, ["run", *words])
    return done.exit_code, done.output, repr(seen)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["a", "b c", "é"],
        ["\udcff"],
        ["--text", ""],
        ["--text", "\udcff"],
        ["--text", "7"],
        *(["--number", text] for text in ("7", "-7", " 7", "+7", "7.0", "1_000", "x", "", "٣", "9" * 18, "9" * 30)),
        ["--place", "/"],
        ["--place", "/no such place"],
        ["--place", ""],
        ["--few", "1", "--few", "2"],
        ["--few", "1", "--few", "x"],
        *(["--small", text] for text in ("1", "0", "4", "x")),
        ["--fraction", "0.25"],
        ["--fraction", "x"],
    ],
)
def test_as_typer_converts(words: list[str]) -> None:
    assert result(Commands(rich_markup_mode=None), words) == result(typer.Typer(rich_markup_mode=None), words)
