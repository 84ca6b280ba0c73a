"""What all tests share: an embedded server for each process that runs tests, and an empty home for each test.

Tests run in several processes at once (``pytest -n 2``). Each has its own server, temporary folders and numbers, and a
test looks only at processes and files of its own. `homes` has the fixture `home`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import room
from postgresql import reachable_folder

from miripool import Home, Pool
from miripool.server import EmbeddedServer
from miripool.simulate import Calibration, SimulatedExposure, simulate_exposure

pytest_plugins = ("homes", "servers", "web")

_DATE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="slow tests and campaigns of faults as well")
    parser.addoption("--long", action="store_true", help="campaigns of faults at full length, some hours")


_room = pytest.StashKey[Path | None]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_room] = room.take()


def pytest_unconfigure(config: pytest.Config) -> None:
    if (folder := config.stash.get(_room, None)) is not None:
        room.give_back(folder)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the benchmarks out unless they are asked for by name."""
    asked = any("benchmarks" in argument for argument in config.args)
    return True if collection_path.name == "benchmarks" and not asked else None


@pytest.hookimpl(tryfirst=True)  # before -m looks at the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave slow tests out of the default run, but for those that were named one by one."""
    for item in items:
        if "campaigns" in item.path.parts:
            item.add_marker("slow")
    if config.option.all or config.option.long or any("::" in argument for argument in config.args):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if not item.get_closest_marker("slow")]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell the figures that the campaigns recorded; they come with the reports, from whichever process ran the test."""
    reports = [r for some in terminalreporter.stats.values() for r in some if isinstance(r, pytest.TestReport)]
    ended = [report for report in reports if report.when == "teardown"]
    figures = [f"{r.location[2]}: {line}" for r in ended for key, line in r.user_properties if key == "figure"]
    if figures:
        terminalreporter.section("figures of the campaigns")
        for line in figures:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def database_url() -> Iterator[str]:
    """The embedded server, as users get it; one for all tests of this process."""
    with reachable_folder() as folder:
        server = EmbeddedServer(folder / "home", idle_minutes=60)
        yield server.ensure()
        server.remove()


@pytest.fixture
def pool(home: Home) -> Iterator[Pool]:
    """An empty pool named ``jpl8``."""
    with home.create("jpl8") as made:
        yield made


@pytest.fixture(scope="session")
def exposure() -> SimulatedExposure:
    """A small exposure: SUB64, 3 integrations of 8 groups."""
    return simulate_exposure("jw01033005001_03103_00001_mirimage", subarray="SUB64", nints=3, ngroups=8, seed=1)


@pytest.fixture(scope="session")
def simulated(exposure: SimulatedExposure, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with its files: ``uncal/``, and ``v1/``, ``v2/`` with ramp, rateints and rate of two calibrations."""
    folder = tmp_path_factory.mktemp("simulated")
    (folder / "uncal").mkdir()
    exposure.write_uncal(folder / "uncal", date=_DATE)
    for calibration in (Calibration("v1", gain=5.5), Calibration("v2", gain=3.1, crds_context="jwst_9002.pmap")):
        (folder / calibration.label).mkdir()
        exposure.write_products(folder / calibration.label, calibration, date=_DATE)
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real exposures, where there is one."""
    named = os.environ.get("MIRIPOOL_SHARED_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not (folder / "jpl8").is_dir():
        pytest.skip(f"no real exposures in {folder}; MIRIPOOL_SHARED_DATA names another folder")
    return folder


@pytest.fixture
def miripool(home: Home) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line as a process; gives its output and exit code."""

    def run(*arguments: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "miripool", *map(str, arguments)]
        environment = {**os.environ, **(env or {})}
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, check=False, timeout=120
        )

    return run
