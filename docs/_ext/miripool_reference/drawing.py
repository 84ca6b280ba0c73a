"""Pictures in SVG: boxes with lines of text, and lines between them."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .program import Room
    from .schema import SchemaTable, SchemaView

_LINE, _HEAD, _GAP = 15, 22, 22
_FONT = 'font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="11"'
_PLACES = (
    ("keyword", "keyword_name", "dataset", "timing", "exposure_statistic"),
    ("product", "pool_state", "moment"),
    ("version_state", "tag", "tag_event", "link", "made_from", "pixel_use", "corrected_exposure"),
    ("pixel_set", "pixel_block", "exposure"),
    ("raw_block", "ref_block", "ramp_block", "rateints_block", "rate_block"),
)
"""Tables from left to right; those that are not named here stand in the last column."""

_NUMBERS = {"product": "serial", "pixel_set": "set_id", "pixel_block": "block_id"}
"""The column that others refer to."""

_VIEW_PLACES = (
    ("pixels", "detectors", "missing_pixel_rows"),
    ("exposures", "correctedexposures", "exposure_statistics"),
    ("ramps", "ref_ramps", "correctedramps"),
    ("groups", "correctedgroups"),
)
"""The same of views."""

_COLORS = {
    "exp_id": "#b03a2e",
    "corrected_exp_id": "#7d3c98",
    "ramp_id": "#1f77b4",
    "corr_ramp_id": "#117a65",
    "group_id": "#b9770e",
}
"""Of the lines between views, by column."""

_MOST = 14
"""Columns of a view that are drawn."""


class _Box:
    """A box with a title and lines; it knows where each line is."""

    def __init__(self, title: str, lines: Sequence[tuple[str, str]], x: int, y: int, width: int, color: str) -> None:
        self.title, self.lines, self.x, self.y, self.width, self.color = title, lines, x, y, width, color
        self.height = _HEAD + _LINE * len(lines) + (6 if lines else 0)

    def middle(self, name: str | None = None) -> float:
        """Tell how high a line is; the title without a name."""
        at = next((i for i, (left, _) in enumerate(self.lines) if left == name), None)
        return self.y + _HEAD / 2 if at is None else self.y + _HEAD + _LINE * at + _LINE / 2 + 2

    def svg(self) -> str:
        """Draw it."""
        x, y, width = self.x, self.y, self.width
        place = f'x="{x}" y="{y}" width="{width}"'
        parts = [
            f'<rect {place} height="{self.height}" fill="#ffffff" stroke="{self.color}" rx="3"/>',
            f'<rect {place} height="{_HEAD}" fill="{self.color}" rx="3"/>',
            f'<text x="{x + 8}" y="{y + 15}" fill="#ffffff" font-weight="bold">{escape(self.title)}</text>',
        ]
        for i, (left, right) in enumerate(self.lines):
            down = y + _HEAD + _LINE * i + 13
            parts.append(f'<text x="{x + 8}" y="{down}" fill="#1a1a1a">{escape(left)}</text>')
            parts.append(
                f'<text x="{x + width - 8}" y="{down}" fill="#6a6a6a" text-anchor="end">{escape(right)}</text>'
            )
        return "".join(parts)


def _curve(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    bend = max(24, abs(x2 - x1) / 2)
    out = bend if x2 >= x1 else -bend
    back = -out
    return f'<path d="M{x1},{y1} C{x1 + out},{y1} {x2 + back},{y2} {x2},{y2}" fill="none" {style}/>'


def _between(one: _Box, y1: float, other: _Box, y2: float, style: str) -> str:
    if one.x == other.x:  # in one column: a bow on the left
        x = one.x
        return f'<path d="M{x},{y1} C{x - 22},{y1} {x - 22},{y2} {x},{y2}" fill="none" {style}/>'
    if one.x > other.x:
        return _curve(one.x, y1, other.x + other.width, y2, style)
    return _curve(one.x + one.width, y1, other.x, y2, style)


def _page(width: float, height: float, parts: Sequence[str], label: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(label)}" {_FONT}><rect width="100%" height="100%" fill="#ffffff"/>'
        f"{''.join(parts)}</svg>"
    )


def _columns_of(boxes: dict[str, _Box], places: Sequence[Sequence[str]], gap: int, top: int) -> tuple[float, float]:
    """Put boxes in columns, one below the other; give width and height of all."""
    x, bottom = 30, 0
    for names in places:
        y, width = top, max((boxes[name].width for name in names), default=0)
        for name in names:
            boxes[name].x, boxes[name].y = x, y
            y += boxes[name].height + _GAP
        x, bottom = x + width + gap, max(bottom, y)
    return x - gap + 30, bottom


def draw_tables(tables: Sequence[SchemaTable]) -> str:
    """Draw tables and what refers to what."""
    names = {table.name for table in tables}
    placed = [[name for name in column if name in names] for column in _PLACES]
    placed[-1] += sorted(names - {name for column in placed for name in column})
    boxes = {}
    for table in tables:
        of_pixels = table.name.endswith("_block") and table.name != "pixel_block"
        color = "#7a4b1e" if of_pixels else "#1f4e79" if table.name == "product" else "#3d6b8f"
        lines = [(name, kind) for name, kind, _ in table.columns]
        boxes[table.name] = _Box(table.name, lines, 0, 0, 232, color)
    width, height = _columns_of(boxes, placed, 70, 46)
    lines = []
    for table in tables:
        for links, style in (
            (table.keys, 'stroke="#b03a2e" stroke-width="1.4"'),
            (table.numbers, 'stroke="#8a8a8a" stroke-width="1" stroke-dasharray="4 3"'),
        ):
            for column, target in links.items():
                one, other = boxes[table.name], boxes[target]
                first = _NUMBERS.get(target, "exp_id")
                lines.append(_between(one, one.middle(column), other, other.middle(first), style))
    legend = (
        '<path d="M30,24 h34" stroke="#b03a2e" stroke-width="1.4"/>'
        '<text x="70" y="28" fill="#1a1a1a">foreign key</text>'
        '<path d="M170,24 h34" stroke="#8a8a8a" stroke-dasharray="4 3"/>'
        '<text x="210" y="28" fill="#1a1a1a">number of a version, or of a block of pixel rows</text>'
    )
    return _page(width, height, [legend, *lines, *(box.svg() for box in boxes.values())], "Tables of a pool's schema")


def _shown(view: SchemaView, keys: Sequence[str]) -> list[str]:
    """Choose columns of a view that has too many: the first, and all that are keys."""
    if len(view.columns) <= _MOST:
        return view.columns
    first = view.columns[: _MOST - 4]
    last = [name for name in view.columns[len(first) :] if name in keys]
    return [*first, f"… {len(view.columns) - len(first) - len(last)} more", *last]


def draw_views(views: Sequence[SchemaView]) -> str:
    """Draw views and by which columns they are joined: those that are named as the first column of another."""
    asked = [view for view in views if not view.is_inner]
    keys: dict[str, str] = {}
    for view in asked:
        keys.setdefault(view.columns[0], view.name)
    keys.pop("urn", None)
    boxes = {
        view.name: _Box(view.name, [(column, "") for column in _shown(view, list(keys))], 0, 0, 262, "#2e6b4f")
        for view in asked
    }
    placed = [[name for name in column if name in boxes] for column in _VIEW_PLACES]
    placed[-1] += sorted(set(boxes) - {name for column in placed for name in column})
    width, height = _columns_of(boxes, placed, 70, 20)
    column_of = {name: i for i, column in enumerate(placed) for name in column}
    drawn = []
    for view in asked:
        for column in view.columns[1:]:
            target = keys.get(column, view.name)
            if target != view.name and abs(column_of[target] - column_of[view.name]) <= 1:  # no line behind a box
                one, other = boxes[view.name], boxes[target]
                style = f'stroke="{_COLORS.get(column, "#8a8a8a")}" stroke-width="1.2"'
                drawn.append(_between(one, one.middle(column), other, other.middle(column), style))
    return _page(width, height, [*drawn, *(box.svg() for box in boxes.values())], "Views of a pool's schema")


def draw_floors(floors: Sequence[Sequence[Room]]) -> str:
    """Draw the rooms, the top floor first."""
    width, left, high, parts = 900, 20, 40, []
    for level, rooms in enumerate(reversed(floors)):
        each = (width - 2 * left) / len(rooms)
        y = 16 + level * (high + 8)
        for i, room in enumerate(rooms):
            x = left + i * each
            parts.append(
                f'<rect x="{x}" y="{y}" width="{each - 6}" height="{high}" fill="#eef3f8" stroke="#3d6b8f" rx="4"/>'
                f'<text x="{x + 10}" y="{y + 16}" font-weight="bold" fill="#1f4e79">{escape(room.name)}</text>'
                f'<text x="{x + 10}" y="{y + 32}" fill="#333333" font-family="sans-serif">'
                f"{escape(_cut(room.purpose, int((each - 20) / 5.8)))}</text>"
            )
    return _page(width, 16 + len(floors) * (high + 8) + 8, parts, "Rooms of the package, from the top floor down")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most].rsplit(' ', 1)[0]} …"
