"""Questions in SQL by a role that can only read, pixels on the command line, and pictures."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2
import pytest
from homes import call
from postgresql import PASSWORD, reachable_folder, throwaway_server

from miripool import Home, Pool, RateInts
from miripool.errors import FileMissing, InvalidInput, ReadOnly
from miripool.index import READER, grant_reader, psql_call
from miripool.pixels.plots import plot_pixel
from miripool.pool.core import core_of

NAME = "jw01033005001_03103_00001_mirimage"


@pytest.fixture(scope="module")
def own(simulated: Path) -> Iterator[Home]:
    """A home with an embedded server of its own: there questions come from the role that can only read."""
    with pytest.MonkeyPatch.context() as patch, reachable_folder() as folder:
        patch.delenv("MIRIPOOL_DATABASE_URL", raising=False)
        home = Home(folder / "home")
        with home.create("my pool") as pool:
            for path in [simulated / "uncal" / f"{NAME}_uncal.fits", *sorted((simulated / "v1").iterdir())]:
                pool.save(path)
        patch.setenv("MIRIPOOL_HOME", str(home.path))
        yield home
        home.server.remove()


def ask(home: Home, statement: str) -> list[tuple[Any, ...]]:
    with home.sql("my pool", statement) as answer:
        return list(answer)


@pytest.mark.slow
def test_questions(own: Home) -> None:
    assert ask(own, "SELECT count(*) FROM ramps WHERE pixel_id = 802897") == [(3,)]
    with own.sql("my pool", "SELECT exp_id AS a, exp AS b FROM exposures") as answer:
        assert answer.columns == ["a", "b"]
        assert list(answer) == [(1, f"{NAME}_uncal.fits")]
    assert len(ask(own, "SELECT pixel_id FROM raw_pixel ORDER BY 1")) == 4608
    assert len(ask(own, "SELECT generate_series(1, 20000)")) == 20000
    assert ask(own, "SELECT 1 WHERE false") == []
    assert ask(own, "VALUES (1), (2)") == [(1,), (2,)]
    assert ask(own, "SELECT 'a%b', '%s'") == [("a%b", "%s")]
    assert ask(own, "SELECT current_user") == [(READER,)]
    assert "Index Scan" in str(ask(own, "EXPLAIN SELECT * FROM raw_pixel WHERE exp_id = 1 AND pixel_id = 802897"))


@pytest.mark.slow
def test_what_is_added_later_can_be_read(own: Home, simulated: Path) -> None:
    assert ask(own, "SELECT count(*) FROM rate_pixel") == [(4608,)]
    with own.pool("my pool") as pool:
        ref = pool.save(simulated / "v2" / f"{NAME}_rate.fits")
        assert ask(own, "SELECT count(*) FROM rate_pixel") == [(9216,)]
        pool.remove(ref)


@pytest.mark.parametrize(
    ("statement", "error", "words"),
    [
        ("DELETE FROM product", InvalidInput, "one statement that returns rows"),
        ("DELETE FROM product RETURNING *", ReadOnly, "only be used to read|permission denied"),
        ("WITH x AS (DELETE FROM product RETURNING *) SELECT * FROM x", ReadOnly, "only be used to read"),
        ("SELECT 1; SELECT 2", InvalidInput, "one statement that returns rows"),
        ("COPY product TO PROGRAM 'id'", InvalidInput, "one statement"),
        ("SELECT pg_read_file('/etc/hostname')", ReadOnly, "permission denied"),
        ("SELECT lo_import('/etc/hostname')", ReadOnly, "permission denied|read-only"),
        ("SELECT nextval('tag_event_id_seq')", ReadOnly, "read"),
        ("SET ROLE miripool", InvalidInput, "one statement"),
        ("SELECT set_config('role', 'miripool', false), pg_read_file('/etc/hostname')", ReadOnly, "permission denied"),
        ("SELECT * FROM nothing", InvalidInput, 'relation "nothing" does not exist'),
        ("SELECT\n  blah FROM ramps", InvalidInput, r'column "blah" does not exist(.|\n)*blah FROM ramps\n +\^'),
        ("SELEC 1", InvalidInput, "syntax error"),
        ("SELECT 1/0", InvalidInput, "division by zero"),
        ("", InvalidInput, "."),
    ],
)
def test_what_is_no_question(own: Home, statement: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        ask(own, statement)
    assert ask(own, "SELECT count(*) > 3 FROM product") == [(True,)]


def test_a_superuser_by_url_is_refused(pool: Pool, home: Home) -> None:
    with pytest.raises(ReadOnly, match="superuser"), home.sql("jpl8", "SELECT 1"):
        pass


@pytest.mark.slow
@pytest.mark.server
def test_a_role_on_a_server(any_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "postgresql://postgres@" not in any_database_url:
        pytest.skip("the embedded server maps its roles to users")
    monkeypatch.setenv("MIRIPOOL_DATABASE_URL", any_database_url)
    home = Home(tmp_path / "home")
    with home.create("granted") as pool:
        assert call("--home", home.path, "server", "grant", "granted").exit_code == 0
        grant_reader(core_of(pool).catalog.database)
        reader = core_of(pool).catalog.database.as_user(READER)
        with closing(psycopg2.connect(reader.psql_url)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM granted.product")
            assert cursor.fetchone() == (0,)
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute("DELETE FROM granted.product")
        monkeypatch.setenv("MIRIPOOL_DATABASE_URL", reader.psql_url)
        with Home(home.path).sql("granted", "SELECT count(*) FROM ramps") as answer:
            assert list(answer) == [(0,)]
    monkeypatch.setenv("MIRIPOOL_DATABASE_URL", any_database_url)
    home.delete("granted")


# On the command line


def test_sql_on_the_command_line(own: Home) -> None:
    statement = (
        "SELECT pixel_id, ramp, 1.5::real AS r, 'NaN'::real AS n, now() AS t, 2.0::numeric AS d FROM ramps LIMIT 2"
    )
    rows = json.loads(call("sql", "my pool", statement, "--json").stdout)
    assert len(rows) == 2
    assert (rows[0]["r"], rows[0]["n"], rows[0]["d"], len(rows[0]["ramp"])) == (1.5, "NaN", 2, 8)
    asked = "SELECT 'NaN'::real AS n, NULL AS m, ARRAY['NaN', NULL, 1]::real[] AS a"
    assert json.loads(call("sql", "my pool", asked, "--json").stdout) == [
        {"n": "NaN", "m": None, "a": ["NaN", None, 1]}
    ]
    assert call("sql", "my pool", asked, "--csv").stdout.splitlines()[1] == "NaN,,NaN; ; 1.0"
    table = list(csv.DictReader(io.StringIO(call("sql", "my pool", "SELECT 1 AS a, 2 AS a", "--csv").stdout)))
    assert table == [{"a": "1", "a_2": "2"}]
    assert call("sql", "my pool", "SELECT 1 AS one").stdout.split() == ["one", "1"]


def test_psql_is_opened_for_the_reader(own: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    monkeypatch.setattr("os.execve", lambda *arguments: started.append(arguments))
    call("sql", "my pool")
    ((program, arguments, environment),) = started
    done = subprocess.run(
        [*arguments, "-Atc", "SELECT count(*) FROM ramps"], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.stdout, done.stderr) == ("13824\n", "")
    assert Path(program).stat().st_mode & stat.S_IXUSR
    assert f"{READER}@" in arguments[-1]


@pytest.mark.slow
def test_pixel_on_the_command_line(own: Home, tmp_path: Path) -> None:
    rows = json.loads(call("pixel", "my pool", "9", "800", "--json").stdout)
    assert [row["integration"] for row in rows] == [1, 2, 3]
    with own.pool("my pool") as pool:
        table = pool.pixel(9, 800).history()
    assert np.array_equal([np.float32(row["rate"]) for row in rows], table["rate"])
    ramps = json.loads(call("pixel", "my pool", "9", "800", "--kind", "Raw", "--json").stdout)
    assert [len(row["ramp"]) for row in ramps] == [8, 8, 8]
    assert call("pixel", "my pool", "9", "800").stdout.splitlines()[0].split()[:4] == ["urn", "name", "version", "time"]
    for kind in ("Ramp", "RateInts", "Raw", "Rate"):
        picture = tmp_path / f"{kind}.png"
        assert call("pixel", "my pool", "9", "800", "--kind", kind, "--plot", picture).stdout == ""
        assert picture.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InvalidInput, match="no pixel x=2000"):
        call("pixel", "my pool", "2000", "800")
    with pytest.raises(InvalidInput, match="the name of a picture ends in one of"):
        call("pixel", "my pool", "9", "800", "--plot", tmp_path / "a.nonsense")
    with pytest.raises(FileMissing, match="no such folder; make it first"):
        call("pixel", "my pool", "9", "800", "--plot", tmp_path / "none" / "a.png")


def test_pixels_on_the_command_line(own: Home) -> None:
    where = ("--where", "rate > 100 and dq is null")
    (count,) = json.loads(call("pixels", "my pool", *where, "--count", "--json").stdout)
    assert count["pixels"] > 10
    done = call("pixels", "my pool", *where, "--limit", "5", "--json")
    rows = json.loads(done.stdout)
    assert len(rows) == 5
    assert "only the first 5 are shown; --limit N shows more" in done.stderr
    assert all(max(v for v in row["rate"] if v is not None) > 100 for row in rows)
    rows = json.loads(call("pixels", "my pool", "--kind", "Rate", "--x", "3:4", "--y", "779", "--json").stdout)
    assert [row["x"] for row in rows] == [3, 4]
    with pytest.raises(InvalidInput, match="--x a:b: write first:last"):
        call("pixels", "my pool", "--x", "a:b")
    assert json.loads(call("pixels", "my pool", "--where", "rate > 1e30", "--json").stdout) == []


def test_policy_on_the_command_line(own: Home) -> None:
    assert call("index", "policy", "my pool").stdout.split() == ["policy", "pending", "all", "0"]
    assert call("index", "policy", "my pool", "tagged").exit_code == 0
    assert "tagged" in call("index", "policy", "my pool").stdout
    with pytest.raises(InvalidInput, match="all, tagged, none"):
        call("index", "policy", "my pool", "some")
    call("index", "policy", "my pool", "all")


# Pictures


@pytest.mark.slow
def test_pictures_of_odd_tables(own: Home, tmp_path: Path) -> None:
    with own.pool("my pool") as pool:
        table = pool.pixel(9, 800).history()
        table["rate"][:] = np.nan
        plot_pixel(table, tmp_path / "nothing.svg")
        plot_pixel(table[:0], tmp_path / "empty.pdf")
        ramps = pool.pixel(9, 800).ramps()
        del ramps["groupdq"]
        plot_pixel(ramps, tmp_path / "ramps.png")
        assert pool.pixels(RateInts, "rate > 100").count() > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.pdf", "nothing.svg", "ramps.png"]
    assert "no rate" in (tmp_path / "nothing.svg").read_text() or (tmp_path / "nothing.svg").stat().st_size > 10_000


# psql


SHOW_ARGUMENTS = r"""
\! for f in /proc/$PPID/cmdline /proc/[0-9]*/cmdline; do tr '\0' ' ' < $f 2>/dev/null; echo; done
SELECT 'user ' || current_user || ', products ' || count(*) FROM product;
CREATE TABLE not_to_be (i int);
SELECT 'path ' || current_setting('search_path') || ', timeout ' || current_setting('statement_timeout');
"""


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.parametrize("place", ["user", "query"])
def test_no_secret_among_the_arguments(tmp_path: Path, place: str) -> None:
    with throwaway_server() as url:
        secret = urllib.parse.quote(PASSWORD, safe="")
        url += "&options=-c%20statement_timeout%3D77s&sslpassword=" + (hidden := "private%20to%20me")
        if place == "query":
            url = url.replace(f":{secret}@", "@") + f"&password={secret}"
        environment = {**os.environ, "MIRIPOOL_DATABASE_URL": url, "MIRIPOOL_HOME": str(tmp_path / "home")}
        command = [sys.executable, "-m", "miripool"]
        subprocess.run([*command, "create", "my pool"], env=environment, check=True, capture_output=True, timeout=60)
        done = subprocess.run(
            [*command, "sql", "my pool"],
            input=SHOW_ARGUMENTS,
            capture_output=True,
            text=True,
            env=environment,
            check=False,
            timeout=60,
        )
    assert "user owner, products 0" in done.stdout, done.stderr
    assert 'path "my pool", timeout 77s' in done.stdout
    assert "read-only transaction" in done.stderr
    assert "default_transaction_read_only" in done.stdout  # psql's own arguments were seen
    for text in (PASSWORD, secret, urllib.parse.quote_plus(PASSWORD), urllib.parse.unquote(hidden), hidden):
        assert text not in done.stdout


def test_a_secret_that_psql_can_not_get() -> None:
    url = "postgresql://me:word@host/base?sslpassword=key"
    arguments, environment = psql_call(url, "a b", {"HOME": "/"})
    assert arguments[1].startswith("postgresql://me@/base?host=host&options=")
    assert environment["PGPASSWORD"] == "word"
    with open(environment["PGSERVICEFILE"]) as file:  # noqa: PTH123 - a descriptor's path
        assert file.read() == "[miripool]\nsslpassword=key\n"
    os.close(int(environment["PGSERVICEFILE"].rpartition("/")[2]))
    for given, variables in ((url + "&service=mine", {}), (url, {"PGSERVICE": "mine"})):
        with pytest.raises(InvalidInput, match="sslpassword only from a service file"):
            psql_call(given, "a", variables)
