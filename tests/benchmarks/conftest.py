"""Figures: each is recorded with what it is held against, in the same run; a table and JSON come out."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest


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
