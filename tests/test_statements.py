"""Statements that were written out before: the file has what SQLAlchemy writes, and PostgreSQL takes each."""

from __future__ import annotations

import json
from collections.abc import Iterator

import homes
import numpy as np
import pytest

from miripool import Ramp, Rate
from miripool.index import order_by
from miripool.index.catalog import Catalog
from miripool.index.connection import PLACEHOLDER
from miripool.index.rows import NEWEST_FIRST
from miripool.index.statements import FILE, write_file
from miripool.model.keywords import dictionary
from miripool.pool.core import core_of


def test_the_file_is_what_is_written_now() -> None:
    """Where it is not: ``python -m miripool.index.statements`` writes it again."""
    assert FILE.read_text("utf-8") == write_file()


def test_each_names_the_schema_of_its_tables() -> None:
    for text, _ in json.loads(FILE.read_text("utf-8")).values():
        assert f'"{PLACEHOLDER}".' in text
        assert f'"{PLACEHOLDER}"' not in text.replace(f'"{PLACEHOLDER}".', "")


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Catalog]:
    """Versions of two kinds, some with a tag."""
    folder = tmp_path_factory.mktemp("statements")
    with homes.empty_home(folder / "home", database_url, "statements") as home, home.create("jpl8") as pool:
        for i in range(6):
            kind, datasets = (Ramp, Rate)[i % 2], {"SCI": np.full((4, 4), i, np.float32)}
            pool.save(kind(datasets=datasets, name=f"name {i // 2 % 2}"), tag="it's" if i in (1, 2) else None)
        core_of(pool).catch_up()
        yield core_of(pool).catalog


@pytest.mark.parametrize("kinds", [None, [], ["Ramp", "it's"]])
@pytest.mark.parametrize("wanted", [{}, {"all_versions": True}, {"tag": "it's"}])
@pytest.mark.parametrize("order", [(), NEWEST_FIRST, ("name",)])
@pytest.mark.parametrize("limit", [None, 0, 3])
def test_lists_are_as_sqlalchemy_has_them(
    catalog: Catalog, kinds: list[str] | None, wanted: dict[str, object], order: tuple[str, ...], limit: int | None
) -> None:
    """Those that are written out, and one order that is not; `select` asks by SQLAlchemy."""
    found = catalog.serials(kinds=kinds, order=order, limit=limit, **wanted)  # type: ignore[arg-type]
    by = order_by(order, names=dictionary()) if order else ()
    rows = catalog.select(kinds=kinds, order_by=by, limit=limit, **wanted)  # type: ignore[arg-type]
    assert found == [row.serial for row in rows]
    assert found or kinds == [] or limit == 0
