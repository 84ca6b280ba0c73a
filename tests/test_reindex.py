"""An index made again from the folder alone is the one that was there, and nobody is disturbed meanwhile."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import psycopg2
import pytest
from homes import ask, call, empty_home

from miripool import Context, Home, Pool, Rate
from miripool.errors import IntegrityError
from miripool.maintenance.verify import verify
from miripool.pool.core import core_of
from miripool.pool.ingest import find_files, ingest

NAME = "jw01033005001_03103_00001_mirimage"


@pytest.fixture
def filled(pool: Pool, simulated: Path) -> Pool:
    files = find_files([str(simulated / folder) for folder in ("uncal", "v1", "v2")])
    assert all(outcome.error is None for outcome in ingest(pool, files, tag="all of it"))
    pool.tag(f"Ramp/{NAME}@0", "moved")
    pool.tag(f"Ramp/{NAME}@1", "moved")
    pool.remove(f"Rate/{NAME}@0", cascade=True)
    pool.save(Context({"ramp": f"Ramp/{NAME}@0"}, name="a context"))
    return pool


def seen(pool: Pool) -> list[object]:
    rows = json.loads(call("ls", pool.name, "--all-versions", "--json").stdout)
    contexts = json.loads(call("ls", pool.name, "--kind", "Context", "--all-versions", "--json").stdout)
    trash = json.loads(call("ls", pool.name, "--trash", "--json").stdout)
    events = json.loads(call("log", pool.name, f"Ramp/{NAME}", "--json").stdout)
    slopes = pool.pixel(41, 809).history("RateInts", all_versions=True)
    return [rows, contexts, trash, events, slopes["urn", "integration", "rate"].as_array().tolist()]


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["nothing", "the schema", "some rows"])
def test_the_same_as_before(filled: Pool, home: Home, lost: str) -> None:
    before = seen(filled)
    if lost == "the schema":
        filled.close()
        ask(home.database_url(), "DROP SCHEMA jpl8 CASCADE")
    elif lost == "some rows":
        ask(home.database_url(), "SET search_path TO jpl8; DELETE FROM keyword; UPDATE product SET name = name || '!'")
    done = call("reindex", "jpl8")
    assert "8 versions of 6 products" in done.stderr
    assert "pixel rows of" in done.stderr
    assert seen(filled) == before
    assert verify(filled, level="full").findings == []
    schemas = ask(home.database_url(), "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'miripool%'")
    assert schemas == []


def test_pixel_rows_may_wait(filled: Pool) -> None:
    call("reindex", "jpl8", "--no-pixels")
    core_of(filled).catch_up()
    assert len(core_of(filled).pixel_rows.pending()) == 6
    assert len(filled.pixel(41, 809).history("RateInts")) == 3  # from the blobs
    assert call("index", "pixels", "jpl8").exit_code == 0
    assert core_of(filled).pixel_rows.pending() == []


@pytest.mark.slow
def test_a_damaged_journal_leaves_the_index_alone(filled: Pool, home: Home) -> None:
    before = seen(filled)
    path = core_of(filled).archive.storage.files.path(core_of(filled).archive.journal.key(2))
    kept = path.read_bytes()
    path.write_bytes(kept.replace(b'"version":0', b'"version":7'))
    with pytest.raises(IntegrityError):
        filled.reindex()
    path.write_bytes(kept)
    assert seen(filled) == before
    assert ask(home.database_url(), "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'miripool%'") == []


@pytest.mark.slow
def test_readers_may_still_read(filled: Pool, home: Home) -> None:
    call("server", "grant", "jpl8")
    rights = "SELECT has_schema_privilege('miripool_reader', 'jpl8', 'USAGE')"
    assert ask(home.database_url(), rights) == [(True,)]
    filled.reindex()
    assert ask(home.database_url(), rights) == [(True,)]
    assert ask(home.database_url(), "SELECT has_table_privilege('miripool_reader', 'jpl8.product', 'SELECT')") == [
        (True,)
    ]


WRITER = """
import sys
import numpy as np
from miripool import Home, Rate
with Home().pool("jpl8") as pool:
    for i in range(20):
        pool.save(Rate({}, {"SCI": np.full((3, 4), i, "f4")}, name=f"writer {sys.argv[1]}"), tag=f"t{i % 3}")
        assert pool.select(f"name == 'writer {sys.argv[1]}'").size() == 1
"""


@pytest.mark.slow
def test_others_write_meanwhile(filled: Pool) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(n)], stderr=subprocess.PIPE, text=True) for n in range(2)
    ]
    count = 0
    while any(writer.poll() is None for writer in writers):
        filled.reindex()
        count += 1
    said = [writer.communicate()[1] for writer in writers]
    assert [*said, *(writer.returncode for writer in writers)] == ["", "", 0, 0], said
    assert count > 2
    core_of(filled).catch_up()
    assert [len(filled.versions(f"Rate/writer {n}")) for n in range(2)] == [20, 20]
    report = verify(filled)
    assert [finding.what for finding in report.findings] == []


KILLED = """
import os, sys
from miripool import Home
from miripool.index import apply
apply._BATCH_SAVES = 2
apply._FILL_SAVES = 2
seen = []
def progress(done):
    seen.append(done)
    if len(seen) == 3:
        os.kill(os.getpid(), 9)
Home().pool("jpl8").reindex(progress=progress)
"""


def scratch_schemas(home: Home) -> list[tuple[str]]:
    return ask(home.database_url(), "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'miripool %'")


@pytest.mark.slow
def test_a_killed_reindex_is_gone_on_with(filled: Pool, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    before = seen(filled)
    assert subprocess.run([sys.executable, "-c", KILLED], check=False).returncode == -9
    assert scratch_schemas(home) == [(f"miripool reindex {filled.id}",)]
    assert seen(filled) == before  # the old index answers
    (taken,) = ask(home.database_url(), f'SELECT applied FROM "miripool reindex {filled.id}".pool_state')[0]
    assert taken >= 0
    read: list[int] = []
    since = core_of(filled).archive.journal.since
    monkeypatch.setattr(
        core_of(filled).archive.journal, "since", lambda n, digest: (read.append(n), since(n, digest))[1]
    )
    filled.reindex()
    assert read[0] == taken
    core_of(filled).pixel_rows.make_pending()
    assert seen(filled) == before
    assert scratch_schemas(home) == []
    assert verify(filled, level="full").findings == []


@pytest.mark.slow
def test_what_a_killed_one_left_is_not_believed(filled: Pool, home: Home) -> None:
    """It had not found a manifest, which was restored meanwhile; or it is no index at all."""
    before = seen(filled)
    for harm in ("DELETE FROM keyword WHERE serial = 0", "DROP TABLE product CASCADE"):
        assert subprocess.run([sys.executable, "-c", KILLED], check=False).returncode == -9
        ask(home.database_url(), f'SET search_path TO "miripool reindex {filled.id}"; {harm}')
        filled.reindex()
        core_of(filled).pixel_rows.make_pending()
        assert seen(filled) == before
    assert subprocess.run([sys.executable, "-c", KILLED], check=False).returncode == -9
    assert verify(filled).findings == []  # which clears away what nobody holds
    assert scratch_schemas(home) == []


KILLED_LATE = """
import os
from miripool import Home
from miripool.index import rebuild
rebuild._swap = lambda *_: os.kill(os.getpid(), 9)
Home().pool("jpl8").reindex()
"""


@pytest.mark.slow
@pytest.mark.parametrize("state", ["older", "gone on otherwise"])
def test_another_state_of_the_folder_is_not_mixed_up_with_what_a_killed_one_left(
    pool: Pool, home: Home, tmp_path: Path, state: str
) -> None:
    def save(number: int) -> None:
        pool.save(Rate({}, {"SCI": np.full((3, 4), number, "f4")}, name=f"n{number}"))

    folder = home.path / "pools" / "jpl8"
    for number in range(4):
        save(number)
        if number == 1:
            shutil.copytree(folder, tmp_path / "backup")
    assert subprocess.run([sys.executable, "-c", KILLED_LATE], check=False).returncode == -9
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "backup", folder)
    if state == "gone on otherwise":
        # Its index is of the newer state: a home with another database goes on with the older one.
        url = home.database_url()
        with pytest.MonkeyPatch.context() as patch, empty_home(tmp_path / "other", url, "other") as other:
            patch.delenv("MIRIPOOL_DATABASE_URL")
            (other.path / "pools").mkdir()
            (other.path / "pools" / "jpl8").symlink_to(folder)
            with other.pool("jpl8") as copy:
                for number in range(5, 9):
                    copy.save(Rate({}, {"SCI": np.full((3, 4), number, "f4")}, name=f"n{number}"))
    call("reindex", "jpl8")
    with home.pool("jpl8") as again:
        expected = ["n0", "n1", *(f"n{number}" for number in range(5, 9) if state != "older")]
        assert [ref.name for ref in again.select()] == expected
        assert verify(again).findings == []
        assert again.save(Rate({}, {"SCI": np.zeros((2, 2), "f4")}, name="next")).serial == len(expected)


@contextmanager
def idle_reader(home: Home) -> Iterator[None]:
    """A session that has read each of a pool's tables, and leaves its transaction open."""
    with closing(psycopg2.connect(home.database_url())) as connection, connection.cursor() as cursor:
        cursor.execute("SET search_path TO jpl8")
        for table in ("pool_state", "product", "keyword", "pixel_set", "pixel_use", "ramp_pixel"):
            cursor.execute(f"SELECT count(*) FROM {table}")
        yield


@pytest.mark.slow
def test_an_idle_reader_stops_nobody(filled: Pool, home: Home) -> None:
    before = seen(filled)
    with idle_reader(home), ThreadPoolExecutor(1) as threads:
        reindexing = threads.submit(filled.reindex)
        while not reindexing.done():
            began = time.monotonic()
            with home.pool("jpl8") as other:
                other.save(Rate({}, {"SCI": np.full((3, 4), time.monotonic())}, name="another"))
                assert other.select("name == 'another'").size() == 1
            assert time.monotonic() - began < 15
        reindexing.result(timeout=1)
        assert len(old_schemas(home)) == 1  # the reader still holds it
        assert verify(filled).findings == []
        assert len(old_schemas(home)) == 1
    filled.reindex()
    assert old_schemas(home) == []
    core_of(filled).pixel_rows.make_pending()
    rows = json.loads(call("ls", "jpl8", "--all-versions", "--json").stdout)
    assert [row for row in rows if row["name"] != "another"] == before[0]


@pytest.mark.slow
def test_an_idle_reader_does_not_stop_a_delete(filled: Pool, home: Home) -> None:
    filled.close()
    with idle_reader(home):
        home.delete("jpl8")
        assert len(old_schemas(home)) == 1
        with home.create("jpl8") as again:
            assert again.select().size() == 0
    with home.pool("jpl8") as again:
        again.reindex()
    assert old_schemas(home) == []


def old_schemas(home: Home) -> list[tuple[str]]:
    return ask(home.database_url(), "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'miripool old %'")
