"""What comes to another pool is what left the first, with its provenance; what is damaged on the way is refused."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from awkward import AWKWARD
from homes import call, empty_home, file_of, write_image
from replay import assert_index_is_journal
from test_verify import NAME

from miripool import Context, Home, Pool, Ramp, Rate
from miripool.errors import AlreadyExists, Conflict, IntegrityError, InvalidInput, MiripoolError, TagNotFound
from miripool.exchange.copy import PoolShelf, receive
from miripool.exchange.pack import Pack, pack
from miripool.maintenance.verify import verify
from miripool.pool.core import core_of
from miripool.pool.ingest import find_files, ingest
from miripool.store.arrays.blob import Blob


@pytest.fixture
def filled(pool: Pool, simulated: Path) -> Pool:
    for folder, tag in (("uncal", None), ("v1", "using cal v1"), ("v2", "using cal v2")):
        found = ingest(pool, find_files([str(simulated / folder)]), tag=tag)
        assert all(outcome.error is None for outcome in found)
    return pool


@pytest.fixture
def other(home: Home) -> Iterator[Pool]:
    with home.create("other") as made:
        yield made


def bytes_of(pool: Pool, spec: str, folder: Path) -> bytes:
    path = pool.export(spec, folder / "exported.fits", overwrite=True)
    return path.read_bytes()


def shown(pool: Pool) -> list[tuple[str, str, int, tuple[str, ...]]]:
    return [(row.kind, row.name, row.version, row.tags) for row in core_of(pool).catalog.select(all_versions=True)]


@pytest.mark.slow
def test_all_of_a_pool(filled: Pool, other: Pool, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    done = receive(other, PoolShelf(filled), progress=lambda n, total: told.append((n, total)))
    assert told[-1] == (len(done), len(done))
    assert shown(other) == shown(filled)
    for spec in (f"Ramp/{NAME}@0", f"Ramp/{NAME}@1", f"Raw/{NAME}", f"RateInts/{NAME}@using cal v1"):
        assert bytes_of(other, spec, tmp_path) == bytes_of(filled, spec, tmp_path)
    (step,) = other.history(f"Ramp/{NAME}@1")
    source = filled.ref(f"Ramp/{NAME}@1")
    assert step["copied"] == {
        "pool": "jpl8",
        "pool_id": filled.id,
        "urn": source.urn,
        "version": 1,
        "created": source.created.isoformat(),
    }
    exposure = other.ref(f"Exposure/{NAME}").product
    assert isinstance(exposure, Context)
    assert exposure.refs["ramp"].pool.id == other.id
    assert exposure.refs["ramp"].version == 1
    assert len(other.pixel(41, 809).ramps(Ramp, all_versions=True)) > 0
    assert verify(other, level="full").findings == []
    before = len(list(core_of(other).archive.journal.since(-1, None)))
    again = receive(other, PoolShelf(filled))
    assert {received.saved.status for received in again} == {"unchanged"}
    assert len(list(core_of(other).archive.journal.since(-1, None))) == before


def test_inputs_are_called_by_their_names_here(pool: Pool, other: Pool) -> None:
    for filler in range(3):
        other.save(Rate({}, {"SCI": np.full((3, 4), filler, "f4")}, name="filler"))
    first = pool.save(Rate({}, {"SCI": np.zeros((3, 4), "f4")}, name="in"))
    lost = pool.save(Rate({}, {"SCI": np.zeros((3, 4), "f4")}, name="not copied"))
    history = [{"tool": "by hand", "inputs": [first.urn, lost.urn, "a note", 5], "parameters": {"a": 1}}]
    made = pool.save(Rate({}, {"SCI": np.ones((3, 4), "f4")}, name="out"), history=history)
    receive(other, PoolShelf(pool, [first, made]))
    step, copied = other.history("Rate/out")
    assert step["inputs"] == [other.ref("Rate/in").urn, f"{lost.urn} (pool {pool.id})", "a note", 5]
    assert step["parameters"] == {"a": 1}
    assert copied["copied"]["urn"] == made.urn
    assert [descent.row.name for descent in other.lineage("Rate/out")] == ["in"]
    assert [use.row.name for use in other.uses("Rate/in")] == ["out"]


def test_tags(pool: Pool, other: Pool) -> None:
    for value in range(3):
        pool.save(Rate({}, {"SCI": np.full((3, 4), value, "f4")}, name="a"), tag=f"t{value}")
    pool.tag("Rate/a@1", "best of all")
    other.save(Rate({}, {"SCI": np.full((3, 4), 9, "f4")}, name="a"), tag="best of all")
    receive(other, PoolShelf(pool, "Rate/a@t1"), tags=False)
    assert shown(other) == [("Rate", "a", 0, ("best of all",)), ("Rate", "a", 1, ())]
    receive(other, PoolShelf(pool, ["Rate/a@t1", "Rate/a@t0"]))
    assert shown(other) == [("Rate", "a", 0, ()), ("Rate", "a", 1, ("best of all", "t1")), ("Rate", "a", 2, ("t0",))]
    assert [event.label for event in other.tag_events()] == ["best of all", "best of all", "t0", "t1"]


def test_contexts_of_contexts(pool: Pool, other: Pool) -> None:
    rate = pool.save(Rate({}, {"SCI": np.zeros((3, 4), "f4")}, name="a"))
    inner = pool.save(Context({"rate": rate}, meta={"TARGNAME": "x"}, name="inner"))
    outer = pool.save(Context({"inner": inner, "same": rate}, name="outer"))
    done = receive(other, PoolShelf(pool, outer))
    assert [received.saved.row.name for received in done] == ["a", "inner", "outer"]
    product = other.ref("Context/outer").product
    assert isinstance(product, Context)
    assert product.refs["inner"].product.refs["rate"].product["SCI"].shape == (3, 4)
    assert product.refs["inner"].meta["TARGNAME"].value == "x"


@pytest.mark.slow
def test_damage_does_not_travel(filled: Pool, other: Pool, tmp_path: Path) -> None:
    source = filled.ref(f"RateInts/{NAME}@0").product["SCI"].source
    assert isinstance(source, Blob)
    data = bytearray(file_of(source).read_bytes())
    data[len(data) // 2] ^= 1
    file_of(source).write_bytes(data)
    with pytest.raises(IntegrityError):
        receive(other, PoolShelf(filled, f"RateInts/{NAME}@0"))
    assert shown(other) == []
    with pytest.raises(IntegrityError):
        pack(PoolShelf(filled, f"RateInts/{NAME}@0"), core_of(filled).archive, tmp_path / "a.tar")
    assert list(tmp_path.glob("*.tar*")) + list(tmp_path.glob(".*")) == []


@pytest.mark.slow
def test_not_to_itself(filled: Pool) -> None:
    with pytest.raises(InvalidInput, match="come from pool 'jpl8' itself"):
        receive(filled, PoolShelf(filled))


@pytest.mark.slow
def test_a_pack_goes_to_another_home(
    filled: Pool, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A colleague has another home, and a pool of the same name that has nothing to do with ours."""
    file = tmp_path / "for you.tar"
    assert "3 versions, " in call("pack", "jpl8", file, "--tag", "using cal v1").stderr
    ramp = bytes_of(filled, f"Ramp/{NAME}@0", tmp_path)
    monkeypatch.delenv("MIRIPOOL_DATABASE_URL")
    with empty_home(tmp_path / "colleague", database_url, "colleague") as home, home.create("jpl8") as theirs:
        theirs.save(Rate({}, {"SCI": np.zeros((3, 4), "f4")}, name="mine"))
        told = call("--home", home.path, "unpack", "jpl8", file)
        assert "3 versions saved in pool jpl8" in told.stderr
        ref = theirs.ref(f"Ramp/{NAME}@using cal v1")
        assert (ref.serial, theirs.ref("Rate/mine").serial) == (1, 0)
        assert bytes_of(theirs, ref.urn, tmp_path) == ramp
        assert verify(theirs, level="full").findings == []
        assert list(core_of(theirs).work_folder.iterdir()) == []


@pytest.mark.slow
def test_on_the_command_line(filled: Pool, other: Pool, tmp_path: Path) -> None:
    file = tmp_path / "for you.tar"
    assert "versions, " in call("pack", "jpl8", file).stderr
    with tarfile.open(file) as tar:
        names = tar.getnames()
    assert names[0] == "miripool-pack.json"
    assert all(name.startswith(("manifests/", "blobs/")) for name in names[1:])
    with pytest.raises(AlreadyExists):
        call("pack", "jpl8", file)
    few = call("pack", "jpl8", file, f"Ramp/{NAME}@0", "--overwrite").stderr
    assert few.startswith("1 version, ")
    rows = json.loads(call("unpack", "other", file, "--json").stdout)
    assert [(row["kind"], row["version"], row["tags"], row["status"]) for row in rows] == [
        ("Ramp", 0, ["using cal v1"], "new")
    ]
    told = call("copy", "jpl8", f"RateInts/{NAME}@1", "other", "--no-tags")
    assert "1 version saved in pool other" in told.stderr
    told = call("copy", "jpl8", "other", "--tag", "using cal v2")
    assert other.ref(f"Ramp/{NAME}@using cal v2").version == 1
    assert other.ref(f"RateInts/{NAME}@using cal v2").version == 0
    with pytest.raises(InvalidInput, match="say which versions"):
        call("copy", "jpl8", "other")
    with pytest.raises(TagNotFound):
        call("copy", "jpl8", "other", "--tag", "no such")
    assert verify(other, level="full").findings == []
    assert list(core_of(other).work_folder.iterdir()) == []


def test_every_flipped_bit_is_found(pool: Pool, other: Pool, tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    sci = generator.normal(size=(20, 64, 72)).astype("f4")
    pool.save(Rate({"TARGNAME": "x"}, {"SCI": sci, "DQ": np.zeros((64, 72), "u4")}, name="a"), tag="t")
    file = tmp_path / "a.tar"
    pack(PoolShelf(pool), core_of(pool).archive, file)
    good = file.read_bytes()
    caught = harmless = 0
    for _ in range(60):
        place = int(generator.integers(len(good)))
        file.write_bytes(good[:place] + bytes([good[place] ^ (1 << int(generator.integers(8)))]) + good[place + 1 :])
        try:
            with Pack(file) as shelf:
                receive(other, shelf)
        except MiripoolError:
            caught += 1
            continue
        harmless += 1
        ref = other.ref("Rate/a@t")
        assert np.array_equal(ref.product["SCI"][...], sci)
        assert (ref.version, ref.serial, ref.meta["TARGNAME"].value) == (0, 0, "x")
    assert caught > 40
    assert caught + harmless == 60


@pytest.mark.slow
def test_all_kinds_of_files_travel(pool: Pool, other: Pool, tmp_path: Path) -> None:
    for name, content in AWKWARD.items():
        (tmp_path / f"{name}.fits").write_bytes(content())
        pool.save(tmp_path / f"{name}.fits")
    pool.save(Rate({"TARGNAME": "x"}, {"SCI": np.ones((3, 4), "f4"), "DQ": np.zeros((3, 4), "u4")}, name="made"))
    done = receive(other, PoolShelf(pool))
    assert len(done) == len(AWKWARD) + 1
    for received in done:
        row = received.saved.row
        here, there = (bytes_of(p, f"{row.kind}/{row.name}", tmp_path) for p in (other, pool))
        assert here == there


@pytest.mark.slow
def test_versions_keep_their_order(pool: Pool, other: Pool, tmp_path: Path) -> None:
    """Data that come back are a version of their own, and so is a file with timestamps of its own."""

    def rate(value: int) -> Rate:
        return Rate({}, {"SCI": np.full((3, 4), value, "f4")}, name="a")

    for value, tag in ((1, "one"), (2, "two"), (1, "three")):
        pool.save(rate(value), force=True, tag=tag)
    for day in ("01", "02"):
        pool.save(write_image(tmp_path / "f.fits", {"DATE": f"2026-01-{day}"}), force=True, tag=f"day {day}")
    for _ in range(2):
        receive(other, PoolShelf(pool))
        assert shown(other) == shown(pool)
        assert [ref.product["SCI"][0, 0] for ref in other.versions("Rate/a")] == [1, 2, 1]
        assert bytes_of(other, "f@day 02", tmp_path) == bytes_of(pool, "f@day 02", tmp_path)


def test_what_was_here_before_is_not_saved_again(pool: Pool, other: Pool) -> None:
    for p in (pool, other):
        p.save(Rate({}, {"SCI": np.ones((3, 4), "f4")}, name="a"))
    (received,) = receive(other, PoolShelf(pool))
    assert received.saved.status == "unchanged"
    assert len(other.versions("Rate/a")) == 1


TWICE = """
import sys
from pathlib import Path
from miripool import Home
from miripool.exchange.pack import Pack
from miripool.exchange.copy import receive
with Home().pool("other") as pool, Pack(Path(sys.argv[1])) as shelf:
    print("ready", flush=True)
    sys.stdin.readline()
    receive(pool, shelf)
"""


@pytest.mark.slow
def test_two_at_once(filled: Pool, other: Pool, tmp_path: Path) -> None:
    file = tmp_path / "a.tar"
    pack(PoolShelf(filled), core_of(filled).archive, file)
    command = [sys.executable, "-c", TWICE, str(file)]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.communicate("go\n", timeout=120)
    assert [process.returncode for process in started] == [0, 0]
    assert shown(other) == shown(filled)
    assert verify(other, level="full").findings == []


# Many versions by one entry


def made(name: str, value: float, **cards: object) -> Rate:
    return Rate(cards, {"SCI": np.full((3, 4), value, "f4")}, name=name)


def entries(pool: Pool) -> list[int]:
    return [len(entry.saves) for entry in core_of(pool).archive.journal.since(-1, None)]


def test_many_versions_come_by_few_entries(pool: Pool, other: Pool) -> None:
    first = [pool.save(made(f"n{i}", i), tag="t") for i in range(5)]
    pool.save(Context(refs={"one": first[0], "two": first[1]}, name="both"))
    pool.save(Context(refs={"both": "Context/both"}, name="above"))
    pool.save(made("n1", 10))  # of a track that came before: it waits for the entry
    pool.save(made("made of n1", 11), history=[{"tool": "mine", "inputs": [str(pool.ref("n1").urn)]}])
    told: list[tuple[int, int]] = []
    done = receive(other, PoolShelf(pool), progress=lambda n, total: told.append((n, total)))
    assert entries(other) == [7, 1, 1, 0]  # and the tag
    assert told == [(n, 9) for n in range(1, 10)]
    assert [received.saved.status for received in done] == ["new"] * 7 + ["version", "new"]
    assert shown(other) == shown(pool)
    both = other.ref("Context/above").product.refs["both"]  # type: ignore[attr-defined]
    assert both.product.refs["one"].urn == "urn:other:Rate:0"
    assert other.history("made of n1")[0]["inputs"] == ["urn:other:Rate:7"]
    assert {received.saved.status for received in receive(other, PoolShelf(pool))} == {"unchanged"}
    assert entries(other) == [7, 1, 1, 0]
    assert list((other.path / "pending").glob("*")) == []
    assert verify(other, level="full").findings == []
    assert_index_is_journal(other)


def test_those_before_one_that_is_refused_are_saved(pool: Pool, other: Pool) -> None:
    for i in range(4):
        pool.save(made(f"n{i}", i, OBS_ID=f"{i}"))
    pool.save(Context(refs={"one": "n0"}, name="context"))
    other.save(made("n2", 2, OBS_ID="another"))
    with pytest.raises(Conflict, match=r"OBS_ID is 2, in the pool another.*\(2 versions before it were saved, without"):
        receive(other, PoolShelf(pool))
    assert [row[1] for row in shown(other)] == ["n2", "n0", "n1"]
    assert list((other.path / "pending").glob("*")) == []
    other.remove("n2")
    done = receive(other, PoolShelf(pool))
    assert [received.saved.status for received in done] == ["unchanged", "unchanged", "version", "new", "new"]
    assert other.ref("Context/context").product.refs["one"].name == "n0"  # type: ignore[attr-defined]
    assert_index_is_journal(other)


def test_what_was_damaged_does_not_take_those_before_it_along(pool: Pool, other: Pool) -> None:
    refs = [pool.save(made(f"n{i}", i)) for i in range(4)]
    source = refs[2].product["SCI"].source
    assert isinstance(source, Blob)
    file_of(source).write_bytes(b"nonsense")
    with pytest.raises(IntegrityError, match="2 versions before it were saved"):
        receive(other, PoolShelf(pool))
    assert [row[1] for row in shown(other)] == ["n0", "n1"]
    assert list((other.path / "pending").glob("*")) == []
    assert_index_is_journal(other)
