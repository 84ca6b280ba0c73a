"""What stands in a pool's schema: tables as SQLAlchemy has them, views as the migrations make them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.dialects import postgresql

import miripool
from miripool.index import schema

_MIGRATIONS = Path(miripool.__file__).parent / "index" / "migrations"
_STATEMENT = re.compile(r"((?:[^;']|'(?:[^']|'')*')*);")
_COMMENT = re.compile(r"COMMENT ON (TABLE|VIEW|COLUMN) ([\w.]+) IS\s+(.*)", re.DOTALL)
_TEXT = re.compile(r"'((?:[^']|'')*)'")
_VIEW = re.compile(r"CREATE (?:OR REPLACE )?VIEW (\w+) AS\s+(.*)", re.DOTALL)
_TABLE = re.compile(r"CREATE TABLE (\w+) \((.*)\)\s*PARTITION BY.*", re.DOTALL)
_LIKE = re.compile(r"CREATE TABLE (\w+) \(LIKE (\w+) .*", re.DOTALL)
_DROPPED = re.compile(r"DROP VIEW (.*)", re.DOTALL)
_INNER = {
    *("exposure_head", "version_pixels", "raw_exposure", "corrected_integration"),
    *("product_then", "tag_then", "tag_event_then", "link_then", "made_from_then"),
}


@dataclass
class SchemaTable:
    """A table: its columns with type and meaning; which column is whose number."""

    name: str
    columns: list[tuple[str, str, str]]
    comment: str = ""
    keys: dict[str, str] = field(default_factory=dict)
    """Column, and the table whose number it is, where the database sees to that."""
    numbers: dict[str, str] = field(default_factory=dict)
    """The same, where nothing but the program does."""


@dataclass
class SchemaView:
    """A view: its columns, and what it reads."""

    name: str
    columns: list[str]
    sources: list[str]
    comment: str

    @property
    def is_inner(self) -> bool:
        """Whether it only serves other views."""
        return self.name in _INNER


_VERSIONS = ("serial", "target", "input", "ramp", "rateints")
"""Columns that hold serials of versions."""


def tables() -> list[SchemaTable]:
    """Give all tables, those with pixels last."""
    found = []
    for table in schema.metadata.tables.values():
        columns = [(c.name, _type(c.type), c.comment or "") for c in table.columns]
        keys = {c.name: fk.column.table.name for c in table.columns for fk in c.foreign_keys}
        numbers = {} if table.name == "product" else {c: "product" for c, _, _ in columns if c in _VERSIONS}
        found.append(SchemaTable(table.name, columns, table.comment or "", keys, numbers))
    return found + _pixel_tables()


def _type(kind: Any) -> str:
    name = kind.compile(dialect=postgresql.dialect()).partition(" COLLATE")[0].lower()
    return name.replace("timestamp with time zone", "timestamptz")


def _statements() -> list[str]:
    text = "\n".join(path.read_text() for path in sorted(_MIGRATIONS.glob("*.sql")))
    text = re.sub(r"^\s*--.*$", "", text, flags=re.MULTILINE)
    return [found.strip() for found in _STATEMENT.findall(text)]


def _comments() -> dict[str, str]:
    """Give the last comment on each table, view and column."""
    found = {}
    for statement in _statements():
        if match := _COMMENT.fullmatch(statement):
            found[match[2]] = "".join(_TEXT.findall(match[3])).replace("''", "'")
    return found


def _pixel_tables() -> list[SchemaTable]:
    """Give the partitioned tables, which the SQLAlchemy metadata lack."""
    comments = _comments()
    made: dict[str, SchemaTable] = {}
    statements = _statements()
    # Older migrations made tables in whose place there are views by now.
    views = {match[1] for match in map(_VIEW.fullmatch, statements) if match}
    for statement in statements:
        if match := _LIKE.fullmatch(statement):
            columns = [(c, kind, comments.get(f"{match[1]}.{c}", told)) for c, kind, told in made[match[2]].columns]
        elif match := _TABLE.fullmatch(statement):
            parts = [part.replace(" NOT NULL", "").split(None, 1) for part in _split(match[2])]
            columns = [(name, kind, comments.get(f"{match[1]}.{name}", "")) for name, kind in parts]
        else:
            continue
        numbers = {"block_id": "pixel_block"}
        made[match[1]] = SchemaTable(match[1], columns, comments.get(match[1], ""), numbers=numbers)
    return [table for table in made.values() if table.name not in views]


def views() -> list[SchemaView]:
    """Give all views as the last migration leaves them, in the order in which they were first made."""
    comments, bodies = _comments(), {}
    for statement in _statements():
        if match := _VIEW.fullmatch(statement):
            bodies[match[1]] = match[2]
        elif match := _DROPPED.fullmatch(statement):
            for name in _split(match[1]):
                bodies.pop(name, None)
    known = {table.name for table in tables()} | set(bodies)
    made = []
    for name, body in bodies.items():
        read = re.findall(r"(?:FROM|JOIN|,)\s+(\w+)\b(?=\s)", re.sub(r"'[^']*'", "''", body))
        sources = [source for source in dict.fromkeys(read) if source in known and source != name]
        made.append(SchemaView(name, _columns(body), sources, comments.get(name, "")))
    return made


def _columns(body: str) -> list[str]:
    values = re.search(r"AS known \(([^)]*)\)", body)
    if values:
        return [part.strip() for part in values[1].split(",")]
    chosen = _until(body.removeprefix("SELECT"), "FROM")
    names = [re.split(r"\bAS\s+|\.|\s", part.strip())[-1] for part in _split(chosen)]
    return [name if name != "*" else "all of product" for name in names]


def _until(text: str, word: str) -> str:
    """Give what stands before a word that is in no brackets."""
    depth = 0
    for match in re.finditer(rf"[()]|\b{word}\b", text):
        depth += {"(": 1, ")": -1}.get(match[0], 0)
        if depth == 0 and match[0] == word:
            return text[: match.start()]
    return text


def _split(text: str) -> list[str]:
    """Cut text at the commas that are in no brackets."""
    parts, depth, start = [], 0, 0
    for i, letter in enumerate(text):
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [part.strip() for part in (*parts, text[start:])]
