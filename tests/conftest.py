"""What all tests share: one embedded server for the run, a home with a database of its own for each test."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psycopg2
import pytest
from postgresql import reachable_folder

from miripool import Home, Pool
from miripool.index import EmbeddedServer
from miripool.simulate import Calibration, SimulatedExposure, simulate_exposure

pytest_plugins = ("servers",)

_databases = itertools.count()
_DATE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="campaigns of faults at full length, some hours")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the benchmarks out unless they are asked for by name."""
    asked = any("benchmarks" in argument for argument in config.args)
    return True if collection_path.name == "benchmarks" and not asked else None


@pytest.fixture(scope="session")
def database_url() -> Iterator[str]:
    """The embedded server, as users get it; one for all tests of the run."""
    with reachable_folder() as folder:
        server = EmbeddedServer(folder / "home", idle_minutes=60)
        yield server.ensure()
        server.remove()


@pytest.fixture
def home(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """An empty home, the default one of this test's processes, with an empty database on the shared server."""
    name = f"test_{os.getpid()}_{next(_databases)}"
    _execute(database_url, f"CREATE DATABASE {name}")
    head, _, query = database_url.partition("?")
    monkeypatch.setenv("MIRIPOOL_DATABASE_URL", f"{head.rpartition('/')[0]}/{name}?{query}")
    monkeypatch.setenv("MIRIPOOL_HOME", str(tmp_path / "home"))
    yield Home()
    _execute(database_url, f"DROP DATABASE {name} WITH (FORCE)")


def _execute(url: str, statement: str) -> None:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)


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
