"""Advice on a server: what is told of the embedded one, of an old one as it is installed, and of one that won't do."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg2
import pytest
from postgresql import throwaway_server

from miripool.index import Advice, advise
from miripool.index.advice import judge_locks


def by_name(found: list[Advice]) -> dict[str, Advice]:
    assert len({finding.name for finding in found}) == len(found)
    return {finding.name: finding for finding in found}


def verdicts(found: list[Advice], verdict: str) -> set[str]:
    return {finding.name for finding in found if finding.verdict == verdict}


def execute(url: str, *statements: str) -> None:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


@pytest.mark.slow
def test_the_embedded_server_is_as_advised(database_url: str) -> None:
    found = advise(database_url)
    # Shared buffers follow the memory of the machine.
    assert verdicts(found, "advice") <= {"shared_buffers"}
    assert verdicts(found, "bad") == set()
    assert by_name(found)["COPY FREEZE"].value == "works"
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'miripool check%'")
        assert cursor.fetchone() == (0,)


@pytest.fixture(scope="module")
def own_server() -> Iterator[str]:
    with throwaway_server() as url:
        yield url


@pytest.mark.slow
@pytest.mark.server
def test_a_server_as_it_is_installed_can_be_worked_on(own_server: str) -> None:
    found = advise(own_server)
    assert verdicts(found, "bad") == set()
    advice = verdicts(found, "advice")
    assert {"max_locks_per_transaction", "shared_buffers", "wal_level", "max_wal_size", "jit", "fsync"} <= advice
    assert {"encoding", "writable", "clock", "locks", "COPY FREEZE", "autovacuum", "statement_timeout"} <= verdicts(
        found, "good"
    )
    order = [finding.verdict for finding in found]
    assert order == sorted(order, key=("bad", "advice", "good").index)


@pytest.mark.slow
def test_roles_and_databases_that_will_not_do(home: object, database_url: str) -> None:
    found = advise(f"{database_url}&options=-c default_transaction_read_only=on")
    assert verdicts(found, "bad") == {"writable"}
    execute(
        database_url,
        "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'",
        "CREATE ROLE miripool_weak LOGIN",
    )
    try:
        assert verdicts(advise(database_url.replace("/miripool?", "/latin?")), "bad") == {"encoding"}
        weak = database_url.replace("://miripool@", "://miripool_weak@")
        assert verdicts(advise(weak), "bad") == {"role can create schemas"}
        execute(database_url, "CREATE SCHEMA theirs AUTHORIZATION miripool_weak")
        assert verdicts(advise(weak), "bad") == set()
        assert by_name(advise(weak))["role can create schemas"].verdict == "advice"
    finally:
        execute(database_url, "DROP DATABASE latin", "DROP SCHEMA IF EXISTS theirs", "DROP ROLE miripool_weak")


@pytest.mark.slow
@pytest.mark.server
def test_timeouts_that_end_long_work_are_told(own_server: str) -> None:
    found = by_name(advise(f"{own_server}&options=-c statement_timeout=1min"))
    assert (found["statement_timeout"].value, found["statement_timeout"].verdict) == ("1min", "advice")
    found = by_name(advise(f"{own_server}&options=-c statement_timeout=2h"))
    assert found["statement_timeout"].verdict == "good"


@pytest.mark.parametrize(
    ("room", "partitions", "verdict"),
    [(6400, 0, "good"), (6400, 800, "good"), (6400, 1000, "advice"), (6400, 3300, "bad")],
)
def test_locks_for_partitions(room: int, partitions: int, verdict: str) -> None:
    assert judge_locks(room, partitions)[0] == verdict


@pytest.mark.slow
def test_command(
    miripool: Callable[..., subprocess.CompletedProcess[str]], monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    done = miripool("server", "check")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].split() == ["verdict", "name", "value", "advised", "why"]
    assert "0 must be changed" in done.stderr
    told = json.loads(miripool("server", "check", "--json").stdout)
    assert told["usable"] is True
    assert {"name", "value", "advised", "verdict", "why"} == set(told["findings"][0])
    read_only = {"MIRIPOOL_DATABASE_URL": f"{database_url}&options=-c default_transaction_read_only=on"}
    refused = miripool("server", "check", "--json", env=read_only)
    assert refused.returncode == 90
    assert json.loads(refused.stdout)["usable"] is False
    assert "can't use this server: writable" in refused.stderr
