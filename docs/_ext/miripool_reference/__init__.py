"""Directives that make reference pages from the program itself, while the pages are built.

``miripool-commands``  every command, with its arguments, options and defaults
``miripool-errors``    every class of error, with its exit code
``miripool-tables``    every table of a pool's schema, with its columns; ``miripool-views`` the same of the views
``miripool-schema``    a picture of ``tables`` or ``views``
``miripool-rooms``     a picture of the rooms of the package
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective

from . import drawing, program, schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sphinx.application import Sphinx


def inline(text: str) -> list[nodes.Node]:
    """Give text whose words in backquotes are code."""
    parts = re.split(r"``?([^`]+)``?", text)
    return [nodes.literal(text=part) if i % 2 else nodes.Text(part) for i, part in enumerate(parts) if part]


def paragraph(text: str) -> nodes.paragraph:
    """Make a paragraph."""
    made = nodes.paragraph()
    made.extend(inline(text))
    return made


def sentence(comment: str) -> str:
    """Give a comment of the database as a sentence; names stay as they are."""
    first, _, rest = comment.partition(" ")
    first = first if "_" in first else f"{first[:1].upper()}{first[1:]}"
    return f"{first} {rest}".rstrip(". ") + "."


def section(title: str, name: str, *, code: bool = True) -> nodes.section:
    """Make a section that links can name."""
    made = nodes.section(ids=[name], names=[nodes.fully_normalize_name(name)])
    made += nodes.title("", "", nodes.literal(text=title) if code else nodes.Text(title))
    return made


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], widths: Sequence[int], code: int = 1) -> nodes.table:
    """Make a table; its first columns, as many as `code` says, are code."""
    group = nodes.tgroup(cols=len(heads))
    group.extend(nodes.colspec(colwidth=width) for width in widths)

    def row(cells: Sequence[str], coded: int) -> nodes.row:
        made = nodes.row()
        for i, cell in enumerate(cells):
            entry = nodes.entry()
            entry += paragraph(f"``{cell}``" if i < coded and cell else cell)
            made += entry
        return made

    head, body = nodes.thead(), nodes.tbody()
    head += row(heads, 0)
    body.extend(row(cells, code) for cells in rows)
    group += [head, body]
    made = nodes.table(classes=["colwidths-given"])
    made += group
    return made


class Commands(SphinxDirective):
    """Every command of ``miripool``."""

    def run(self) -> list[nodes.Node]:
        """Make a section for each command."""
        return [self._section(command) for command in program.commands()]

    @staticmethod
    def _section(command: program.Command) -> nodes.section:
        made = section(command.name, nodes.make_id(command.name))
        made += nodes.literal_block(text=command.usage, language="text")
        made.extend(paragraph(part) for part in command.help)
        if command.arguments:
            made += table(("Argument", "Meaning", "Default"), command.arguments, (25, 55, 20))
        if command.options:
            made += table(("Option", "Meaning", "Default"), command.options, (30, 50, 20))
        return made


class Errors(SphinxDirective):
    """Every class of `miripool.errors`."""

    def run(self) -> list[nodes.Node]:
        """Make a table; classes stand below those that they are derived from."""
        heads = ("Exit code", "Class", "Derived from", "Kind", "Meaning")
        return [table(heads, program.errors(), (10, 22, 23, 20, 45), code=4)]


class Tables(SphinxDirective):
    """Every table of a pool's schema."""

    def run(self) -> list[nodes.Node]:
        """Make a section for each table."""
        made = []
        for found in schema.tables():
            part = section(found.name, f"table-{found.name}")
            part.extend([paragraph(sentence(found.comment))] if found.comment else [])
            part += table(("Column", "Type", "Meaning"), found.columns, (25, 25, 50), code=2)
            made.append(part)
        return made


class Views(SphinxDirective):
    """Every view that is for questions."""

    def run(self) -> list[nodes.Node]:
        """Make a section for each view."""
        made = []
        for found in schema.views():
            if found.is_inner:
                continue
            part = section(found.name, f"view-{found.name}")
            part.extend([paragraph(sentence(found.comment))] if found.comment else [])
            columns = nodes.paragraph(text="Columns: ")
            for i, name in enumerate(found.columns):
                columns += [nodes.Text(", ")] if i else []
                columns += nodes.literal(text=name)
            part += columns
            made.append(part)
        return made


class Picture(SphinxDirective):
    """A picture, as SVG in the page; elsewhere what it says in words."""

    def _picture(self, svg: str, words: str) -> list[nodes.Node]:
        other = addnodes.only(expr="not html")
        other += nodes.literal_block(text=words, language="text")
        return [nodes.raw("", f'<div style="overflow-x: auto">{svg}</div>', format="html"), other]


class Schema(Picture):
    """A picture of the tables, or of the views."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Draw it."""
        if self.arguments[0] == "tables":
            return self._picture(drawing.draw_tables(schema.tables()), ", ".join(t.name for t in schema.tables()))
        return self._picture(drawing.draw_views(schema.views()), ", ".join(v.name for v in schema.views()))


class Rooms(Picture):
    """A picture of the rooms."""

    def run(self) -> list[nodes.Node]:
        """Draw it, the top floor first."""
        floors = program.floors()
        words = "\n".join(f"{room.name:12} {room.purpose}" for floor in reversed(floors) for room in floor)
        return self._picture(drawing.draw_floors(floors), words)


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx of the directives."""
    for name, directive in {
        "miripool-commands": Commands,
        "miripool-errors": Errors,
        "miripool-tables": Tables,
        "miripool-views": Views,
        "miripool-schema": Schema,
        "miripool-rooms": Rooms,
    }.items():
        app.add_directive(name, directive)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
