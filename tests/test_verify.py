"""Verify finds what is wrong, and nothing else; it changes nothing."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ahead import Ahead
from homes import ask, call, file_of

from miripool import Context, Home, Pool, Ramp, Rate, RateInts
from miripool.errors import IntegrityError
from miripool.maintenance.verify import LEVELS, Report, verify
from miripool.pool.core import core_of
from miripool.pool.ingest import find_files, ingest
from miripool.store.arrays.blob import Blob

NAME = "jw01033005001_03103_00001_mirimage"


@pytest.fixture
def filled(pool: Pool, simulated: Path) -> Pool:
    files = find_files([str(simulated / folder) for folder in ("uncal", "v1", "v2")])
    assert all(outcome.error is None for outcome in ingest(pool, files, tag="all of it"))
    pool.remove(f"Rate/{NAME}@0", cascade=True)
    pool.save(Context({"ramp": f"Ramp/{NAME}@0"}, name="a context"))
    return pool


def change(home: Home, statement: str) -> None:
    ask(home.database_url(), f"SET search_path TO jpl8; {statement}")


def contents(pool: Pool) -> dict[str, str]:
    root = pool.path
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def blob_of(pool: Pool, spec: str, dataset: str = "SCI") -> Blob:
    source = pool.ref(spec, removed=True).product[dataset].source
    assert isinstance(source, Blob)
    return source


def problems(report: Report) -> list[tuple[str, str]]:
    return [(finding.what, finding.where) for finding in report.findings]


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_a_whole_pool_is_whole(filled: Pool, home: Home, level: str) -> None:
    before, schemas = contents(filled), ask(home.database_url(), "SELECT nspname FROM pg_namespace ORDER BY 1")
    seen: list[tuple[int, int]] = []
    report = verify(filled, level=level, progress=lambda done, total: seen.append((done, total)))
    assert problems(report) == []
    assert report.is_whole
    living = len(filled.select("1", all_versions=True)) + len(filled.select(Context, all_versions=True))
    assert report.versions == living + filled.trash().size() == 10
    assert report.blobs == sum(1 for key in before if key.startswith("blobs/"))
    assert seen[-1] == ((report.bytes_read,) if level == "full" else (report.blobs,)) * 2
    assert (report.bytes_read > 0) == (level == "full")
    assert report.pixel_sets == (0 if level == "quick" else 5)
    assert contents(filled) == before
    assert ask(home.database_url(), "SELECT nspname FROM pg_namespace ORDER BY 1") == schemas


def test_products_without_flags(pool: Pool) -> None:
    for kind, shape in ((Rate, (6, 8)), (RateInts, (2, 6, 8)), (Ramp, (2, 3, 6, 8))):
        cards = {"SUBSTRT1": 5, "SUBSTRT2": 100, "SUBSIZE1": 8, "SUBSIZE2": 6}
        assert pool.save(kind(cards, {"SCI": np.ones(shape, "f4")}, name="a")).notice is None
    report = verify(pool, level="full")
    assert (report.pixel_sets, report.findings) == (3, [])


def test_an_empty_pool_is_whole(pool: Pool) -> None:
    report = verify(pool, level="full")
    assert (report.is_whole, report.versions, report.blobs) == (True, 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_a_missing_blob(filled: Pool, level: str) -> None:
    blob = blob_of(filled, f"Ramp/{NAME}@0")
    file_of(blob).unlink()
    (finding,) = verify(filled, level=level).findings
    assert (finding.what, finding.where) == ("blob", blob.key)
    assert "is missing" in finding.problem
    assert finding.urns == tuple(str(filled.ref(f"Ramp/{NAME}@{n}").urn) for n in (0, 1))


@pytest.mark.slow
def test_a_flipped_bit_is_found_by_reading(filled: Pool) -> None:
    blob = blob_of(filled, f"RateInts/{NAME}@1")
    data = bytearray(file_of(blob).read_bytes())
    data[len(data) // 2] ^= 16
    file_of(blob).write_bytes(data)
    (finding,) = verify(filled, level="full").findings
    assert (finding.what, finding.where) == ("blob", blob.key)
    assert finding.urns == (str(filled.ref(f"RateInts/{NAME}@1").urn),)


@pytest.mark.slow
def test_a_truncated_blob_is_found_by_opening(filled: Pool) -> None:
    blob = blob_of(filled, f"Rate/{NAME}@0")  # in the trash: it has to be whole, too
    data = file_of(blob).read_bytes()
    file_of(blob).write_bytes(data[: len(data) // 2])
    assert problems(verify(filled)) == [("blob", blob.key)]
    assert verify(filled, level="quick").is_whole
    chosen = core_of(filled).catalog.rows([filled.ref(f"Raw/{NAME}").serial])
    assert verify(filled, chosen).is_whole
    assert verify(filled, chosen).versions == 1


@pytest.mark.slow
def test_an_array_of_other_values_under_its_name(filled: Pool, tmp_path: Path) -> None:
    """A blob that is sound in itself, and not what its name says."""
    blob = blob_of(filled, f"RateInts/{NAME}@1")
    other = core_of(filled).archive.blobs
    values = blob[...]
    values[0, 0, 0] = 1234.5
    file_of(blob).unlink()
    other.write(blob.ref, values)
    (finding,) = verify(filled, level="full").findings
    assert (finding.what, finding.where) == ("blob", blob.key)
    assert "its array has the digest" in finding.problem


@pytest.mark.slow
@pytest.mark.parametrize("damage", [lambda p: p.unlink(), lambda p: p.write_bytes(b"{}"), lambda p: p.write_bytes(b"")])
def test_a_damaged_manifest(filled: Pool, damage: Callable[[Path], object]) -> None:
    (row,) = core_of(filled).catalog.rows([filled.ref(f"RateInts/{NAME}@1").serial])
    key = core_of(filled).archive.manifest_key(row.manifest)
    damage(core_of(filled).archive.storage.files.path(key))
    findings = verify(filled, level="quick").findings
    assert ("manifest", key) in [(f.what, f.where) for f in findings]
    assert findings[0].urns == (f"urn:jpl8:RateInts:{row.serial}",)


@pytest.mark.slow
def test_a_damaged_journal(filled: Pool) -> None:
    path = core_of(filled).archive.storage.files.path(core_of(filled).archive.journal.key(2))
    kept = path.read_bytes()
    path.write_bytes(kept.replace(b'"version":0', b'"version":7'))
    report = verify(filled, level="quick")
    assert ("journal", "after entry 1") in problems(report)
    path.unlink()
    report = verify(filled, level="quick")
    assert any("is missing" in finding.problem for finding in report.findings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("UPDATE product SET version = 17 WHERE serial = 1", "product"),
        ("UPDATE dataset SET max = max + 1 WHERE serial = 1 AND max IS NOT NULL", "dataset"),
        ("DELETE FROM keyword WHERE serial = 2 AND key = 'NGROUPS'", "keyword"),
        ("UPDATE tag SET label = 'forged'", "tag"),
        ("DELETE FROM link", "link"),
    ],
)
def test_an_index_that_says_something_else(filled: Pool, home: Home, statement: str, table: str) -> None:
    change(home, statement)
    report = verify(filled)
    assert problems(report) == [("index", table)]
    assert "miripool reindex jpl8" in report.findings[0].problem
    filled.reindex()
    assert verify(filled).is_whole or table == "product"


@pytest.mark.slow
def test_pixel_rows_that_say_something_else(filled: Pool, home: Home) -> None:
    serial = filled.ref(f"RateInts/{NAME}@0").serial
    change(home, "DELETE FROM rateints_block WHERE pixel_id = (SELECT min(pixel_id) FROM rateints_block)")
    report = verify(filled)
    assert {what for what, _ in problems(report)} == {"pixels"}
    assert f"urn:jpl8:RateInts:{serial}" in {urn for finding in report.findings for urn in finding.urns}
    assert "pixel rows, not 4608" in report.findings[0].problem


@pytest.mark.slow
def test_pixel_rows_of_other_values(filled: Pool, home: Home) -> None:
    change(home, "UPDATE raw_block SET dn[1][1] = dn[1][1] + 1")
    report = verify(filled)
    assert [finding.what for finding in report.findings] == ["pixels"]
    assert "has other values in the pixel row of" in report.findings[0].problem


@pytest.mark.slow
def test_what_a_killed_writer_left_is_noted(filled: Pool) -> None:
    rate = Rate({}, {"SCI": np.full((30, 40), 7, "f4")}, name="never saved")
    ready = Ahead(filled, rate)
    assert verify(filled, level="quick").unreferenced == 0  # it may be about to be saved
    ready.close()
    report = verify(filled, level="quick")
    assert (report.unreferenced, report.is_whole) == (2, True)  # its blob and its manifest
    assert report.unreferenced_bytes > 0
    assert [finding.what for finding in report.findings] == ["note"]


@pytest.mark.slow
def test_on_the_command_line(filled: Pool) -> None:
    done = call("verify", "jpl8", "--full")
    assert done.exit_code == 0
    assert "whole" in done.stderr
    told = json.loads(call("verify", "jpl8", f"Ramp/{NAME}@0", "--json").stdout)
    assert (told["whole"], told["versions"], told["findings"]) == (True, 1, [])
    file_of(blob_of(filled, f"Raw/{NAME}")).unlink()
    broken = call("verify", "jpl8", "--quick")
    assert broken.exit_code == IntegrityError.exit_code
    assert "is missing" in broken.stdout
    assert "DAMAGED" in broken.stderr
    assert not json.loads(call("verify", "jpl8", "--json").stdout)["whole"]


WRITER = """
import numpy as np
from miripool import Home, Rate
with Home().pool("jpl8") as pool:
    value = 0
    while True:
        value += 1
        pool.save(Rate({"N": value}, {"SCI": np.full((6, 8), value, "f4")}, name=f"w{value % 7}"), tag=f"t{value % 3}")
        if value % 5 == 0:
            pool.remove(f"Rate/w{value % 7}")
        if value == 1:
            print("ready", flush=True)  # from now on it writes, and does not only load
"""


@pytest.mark.slow
def test_while_others_write_without_a_pause(filled: Pool) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER], stdout=subprocess.PIPE) for _ in range(2)]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
        entries = []
        for level in ("quick", "normal", "full", "normal"):
            report = verify(filled, level=level)
            assert [finding for finding in report.findings if finding.what != "note"] == []
            entries.append(report.entries)
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
            assert writer.stdout is not None
            writer.stdout.close()
    assert entries[-1] > entries[0] + 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE pixel_block SET first_x = first_x + 1 WHERE block_id = (SELECT min(block_id) FROM pixel_set)",
        "UPDATE pixel_block SET nints = 77 WHERE block_id = (SELECT min(block_id) FROM pixel_set)",
        "UPDATE pixel_set SET slot = 1000 WHERE set_id = (SELECT min(set_id) FROM pixel_set)",
        "UPDATE pixel_set SET digest = 'x' WHERE set_id = (SELECT min(set_id) FROM pixel_set)",
        "UPDATE pixel_use SET serial = (SELECT max(serial) FROM product WHERE kind = 'Context') "
        "WHERE serial = (SELECT min(serial) FROM pixel_use)",
        "DELETE FROM keyword_name WHERE key = 'DETECTOR'",
        "DROP VIEW correctedgroups",
        "DROP INDEX product_name",
        "UPDATE product SET purged = now() WHERE serial = 0",
    ],
)
def test_what_was_changed_in_the_index(filled: Pool, home: Home, statement: str) -> None:
    core_of(filled).catch_up()
    change(home, statement)
    report = verify(filled, level="full")
    assert not report.is_whole
    assert {finding.what for finding in report.findings} <= {"index", "pixels"}


def schemas(home: Home) -> set[str]:
    return {name for (name,) in ask(home.database_url(), "SELECT nspname FROM pg_namespace")}


@pytest.mark.parametrize("moment", [0.0, 0.05, 0.2])
def test_stopped_while_the_index_is_compared(filled: Pool, home: Home, moment: float) -> None:
    def stop(_done: int, _total: int) -> None:
        time.sleep(moment)
        raise KeyboardInterrupt

    assert filled.verify(level="full").is_whole
    before = schemas(home)
    with pytest.raises(KeyboardInterrupt):
        filled.verify(level="full", progress=stop)
    assert schemas(home) == before
    assert filled.verify(level="full").is_whole


def test_blobs_are_told_before_the_index(filled: Pool, home: Home) -> None:
    core_of(filled).catch_up()
    file_of(blob_of(filled, f"Ramp/{NAME}@0")).unlink()
    change(home, "DELETE FROM keyword_name WHERE key = 'DETECTOR'")
    assert [finding.what for finding in filled.verify().findings] == ["blob", "index"]
