"""Reference pages: all commands, all errors, and the schema as the database has it."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

from homes import ask_pool

from miripool import Pool, errors

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "docs" / "_ext"))
from miripool_reference import drawing, program, schema

ROOT = Path(__file__).resolve().parents[1]

_COLUMNS = """
    SELECT c.relname, c.relkind IN ('v', 'm'), a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = CAST(current_schema() AS regnamespace) AND a.attnum > 0 AND NOT a.attisdropped
        AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
    ORDER BY c.relname, a.attnum
"""


def columns_of(pool: Pool, *, views: bool) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, is_view, column in ask_pool(pool, _COLUMNS):
        if is_view is views:
            found.setdefault(name, []).append(column)
    return found


def test_views(pool: Pool) -> None:
    there = columns_of(pool, views=True)
    told = {view.name: view.columns for view in schema.views()}
    assert set(told) == set(there)
    assert {name: columns for name, columns in told.items() if name != "exposure_head"} == {
        name: columns for name, columns in there.items() if name != "exposure_head"
    }


def test_tables(pool: Pool) -> None:
    there = columns_of(pool, views=False)
    told = {table.name: {name for name, _, _ in table.columns} for table in schema.tables()}
    assert told == {name: set(columns) for name, columns in there.items()}


def test_commands() -> None:
    commands = {command.name: command for command in program.commands()}
    assert {"miripool", "miripool add", "miripool index policy", "miripool server check"} <= set(commands)
    assert all(command.help for command in commands.values())
    assert all(meaning for c in commands.values() for _, meaning, _ in [*c.arguments, *c.options])
    assert commands["miripool export"].usage == "miripool export [OPTIONS] POOL [SPEC]… DEST"
    jobs = next(option for option in commands["miripool add"].options if "--jobs" in option[0])
    default = "one per core, at most 4, if many or large; at least 1"
    assert jobs == ("-j, --jobs N", "Files to add in parallel.", default)


def test_extras_of_the_installation() -> None:
    told = (ROOT / "docs" / "reference" / "configuration.md").read_text()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra, packages in extras.items():
        (row,) = [line for line in told.splitlines() if line.startswith(f"| `{extra}` |")]
        if extra not in ("docs", "test"):
            assert [name for name in packages if name.partition(">=")[0] not in row] == []


def test_errors() -> None:
    rows = program.errors()
    assert {name for _, name, *_ in rows} == set(errors.__all__)
    assert ("12", "ProductNotFound", "NotFound", "product-not-found") in [row[:4] for row in rows]


def test_pictures() -> None:
    """Each is XML, and no text is wider than its box."""
    for svg in (
        drawing.draw_tables(schema.tables()),
        drawing.draw_views(schema.views()),
        drawing.draw_floors(program.floors()),
    ):
        assert len(list(ElementTree.fromstring(svg).iter())) > 20
    for table in schema.tables():
        assert all(len(name) + len(kind) < 32 for name, kind, _ in table.columns), table.name
