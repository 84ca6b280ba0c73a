"""libpq's variables in the environment: nothing to the embedded server, all to a server by URL."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from postgresql import reachable_folder, throwaway_server

from miripool import Home
from miripool.errors import InvalidInput
from miripool.index.connection import Database
from miripool.pool.core import core_of

HOSTILE = {
    "PGCHANNELBINDING": "require",
    "PGCLIENTENCODING": "nonsense",
    "PGCONNECT_TIMEOUT": "soon",
    "PGDATABASE": "nowhere",
    "PGGSSENCMODE": "require",
    "PGHOST": "nowhere.invalid",
    "PGHOSTADDR": "127.0.0.9",
    "PGKRBSRVNAME": "nobody",
    "PGLOADBALANCEHOSTS": "nonsense",
    "PGOPTIONS": "-c default_transaction_read_only=on -c nonsense=1",
    "PGPASSFILE": "/nowhere/pgpass",
    "PGPORT": "nonsense",
    "PGREQUIREAUTH": "scram-sha-256",
    "PGREQUIREPEER": "nobody-at-all",
    "PGSERVICE": "nowhere",
    "PGSERVICEFILE": "/nowhere/services",
    "PGSSLMODE": "nonsense",
    "PGSSLNEGOTIATION": "direct",
    "PGSYSCONFDIR": "/nowhere",
    "PGTARGETSESSIONATTRS": "standby",
    "PGUSER": "nobody-at-all",
}

WORK = """
import os, sys
import numpy as np
from miripool import Home, Rate
before = dict(os.environ)
with Home().pool("p") as pool:
    pool.save(Rate({}, {"SCI": np.zeros((2, 2))}, name="n"))
    assert pool.select("name == 'n'").size() == 1
    with pool._core.catalog.database.read() as connection:
        print(connection.exec_driver_sql("SHOW default_transaction_read_only").scalar())
assert dict(os.environ) == before
"""


def work(home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "MIRIPOOL_DATABASE_URL"}
    environment = {**kept, "MIRIPOOL_HOME": str(home), **variables}
    command = [sys.executable, "-c", WORK]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=60)


@pytest.fixture(scope="module")
def own() -> Iterator[Home]:
    """A home with an embedded server."""
    with pytest.MonkeyPatch.context() as patch, reachable_folder() as folder:
        patch.delenv("MIRIPOOL_DATABASE_URL", raising=False)
        home = Home(folder / "home")
        home.create("p").close()
        yield home
        home.server.remove()


def test_no_variable_counts_for_the_embedded_server(own: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in HOSTILE.items():
        with monkeypatch.context() as patch:
            patch.delenv("MIRIPOOL_DATABASE_URL", raising=False)
            patch.setenv(name, value)
            with Home(own.path).pool("p") as pool:
                assert core_of(pool).catalog.position().n >= -1, name
            assert own.server.status().clients is not None, name
            assert os.environ[name] == value


@pytest.mark.slow
def test_all_at_once(own: Home) -> None:
    own.server.stop()  # it is started in this environment, too
    done = work(own.path, **HOSTILE)
    assert (done.stderr, done.stdout) == ("", "off\n")


@pytest.mark.slow
def test_psql_gets_none_of_them(own: Home) -> None:
    kept = {name: value for name, value in os.environ.items() if name != "MIRIPOOL_DATABASE_URL"}
    environment: Mapping[str, str] = {**kept, **HOSTILE, "MIRIPOOL_HOME": str(own.path)}
    command = [sys.executable, "-m", "miripool", "sql", "p"]
    done = subprocess.run(
        command,
        input="SELECT current_user || ' ' || count(*) FROM pool_state;\n",
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=60,
    )
    (notice,) = done.stderr.splitlines()  # what it has no rows of is no complaint of psql's
    assert notice.startswith("pool p: 1 version has no pixel rows")
    assert "miripool_reader 1" in done.stdout


@pytest.mark.slow
@pytest.mark.server
def test_they_count_for_a_server_by_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with throwaway_server() as url:
        monkeypatch.setenv("PGOPTIONS", "-c statement_timeout=77s")
        database = Database(url, "public")
        assert database.ask("SHOW statement_timeout") == [("77s",)]
        database.close()
        for name, value in (("PGSERVICE", "nowhere"), ("PGSSLMODE", "nonsense"), ("PGREQUIREAUTH", "nonsense")):
            with monkeypatch.context() as patch:
                patch.setenv(name, value)
                database = Database(f"{url}&application_name={name}", "public")
                with pytest.raises(InvalidInput, match=f"(nowhere|nonsense)(.|\n)*{name}"):
                    database.ask("SELECT 1")
