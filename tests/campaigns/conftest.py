"""Faults by the hundred: some of them in each run of the tests, all of them with ``pytest tests/campaigns --long``."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from postgresql import reachable_folder

from miripool import Home
from miripool.server import EmbeddedServer


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        for item in items:
            item.add_marker(pytest.mark.timeout(4 * 3600))


@pytest.fixture
def own_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home with a server of its own, which may be killed."""
    monkeypatch.delenv("MIRIPOOL_DATABASE_URL", raising=False)
    with reachable_folder() as folder:
        path = folder / "home"
        server = EmbeddedServer(path, idle_minutes=60)
        server.ensure()
        home = Home(path)
        home.create("jpl8").close()
        yield home
        server.remove()


@pytest.fixture
def scale(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """Give the first number in a run of all tests, the second with ``--long``."""
    long = request.config.getoption("--long")
    return lambda few, many: many if long else few


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Tell a figure at the end of the run."""
    return lambda line: record_property("figure", line)
