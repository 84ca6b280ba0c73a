"""Statements on tables of a pool become statements on the views of what they were, whatever the pool is called."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from miripool.index.connection import quote
from miripool.index.moments import THEN, Moment, then_reader


@pytest.mark.parametrize(
    "schema", ["jpl8", "pool of Ana", 'say "no"', "50% done", "product", "tag", "a.product", "x$y"]
)
@pytest.mark.parametrize("table", THEN)
def test_names_of_tables(schema: str, table: str) -> None:
    change = then_reader(schema, quote(schema))
    for place in (schema, quote(schema), schema.replace("%", "%%"), quote(schema).replace("%", "%%")):
        for name, changed in ((table, f"{table}_then"), (f'"{table}"', f'"{table}_then"')):
            text = f"SELECT {place}.{name}.serial FROM {place}.{name} AS {table}_1, {place}.{name}s"
            wanted = f"SELECT {place}.{changed}.serial FROM {place}.{changed} AS {table}_1, {place}.{name}s"
            assert change(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "SELECT product.serial FROM product", 'FROM other.product, "other".tag, jpl80.product, "my jpl8".tag',
        "FROM jpl8.tag_events, jpl8.products, jpl8.dataset, jpl8.pool_state", "SELECT p.product, link.tag FROM p",
    ],
)  # fmt: skip
def test_what_stays(text: str) -> None:
    assert then_reader("jpl8", '"jpl8"')(text) == text


def test_settings_have_no_blanks() -> None:
    moment = Moment(17, "0" * 32, 43, datetime(2026, 5, 1, 10, tzinfo=UTC))
    assert dict(moment.settings) == {
        "miripool.entry": "17", "miripool.next_serial": "43", "miripool.time": "2026-05-01T10:00:00+00:00"
    }  # fmt: skip
    assert dict(Moment(-1, None, 0, None).settings)["miripool.time"] == "-infinity"
