"""Figures: each is recorded with what it is held against, in the same run; a table and JSON come out."""

from __future__ import annotations

import json
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from peer import Peers


@dataclass(frozen=True)
class Figure:
    """One measured value; `ratio` to `against`, measured in the same run, where there is such a thing."""

    name: str
    value: float
    unit: str
    ratio: float | None = None
    against: str | None = None


_FIGURES = pytest.StashKey[list[Figure]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--figures", metavar="FILE", help="Write the figures of the benchmarks to a JSON file.")
    parser.addoption(
        "--peers", metavar="FOLDER", help="Keep the environments of the software that is measured beside ours."
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FIGURES] = []


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Record a figure."""

    def record(name: str, value: float, unit: str, ratio: float | None = None, against: str | None = None) -> None:
        request.config.stash[_FIGURES].append(Figure(name, value, unit, ratio, against))

    return record


@pytest.fixture
def median() -> Callable[..., float]:
    """Give the median time of some calls, in seconds, after one call that warms up."""

    def measure(function: Callable[[], Any], repeat: int = 9) -> float:
        function()
        times = []
        for _ in range(repeat):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    return measure


@pytest.fixture(scope="session")
def peers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    """Other software of the kind, in environments of its own."""
    kept = request.config.getoption("--peers")
    folder = Path(kept).absolute() if kept else tmp_path_factory.mktemp("peers")
    folder.mkdir(parents=True, exist_ok=True)
    yield Peers(folder)
    if not kept:
        shutil.rmtree(folder)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    figures = config.stash[_FIGURES]
    if not figures:
        return
    terminalreporter.section("figures")
    terminalreporter.write_line("| what | figure |\n|---|---|")
    for f in figures:
        held = f" ({f.ratio:.2f} times {f.against})" if f.ratio is not None else ""
        terminalreporter.write_line(f"| {f.name} | {f.value:.3g} {f.unit}{held} |")
    target = config.getoption("--figures")
    if target:
        Path(target).write_text(json.dumps([asdict(f) for f in figures], indent=2) + "\n")
