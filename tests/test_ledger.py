from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miripool.errors import IntegrityError, StorageError
from miripool.pool.ledger import Ledger, ledger_path

TITLE = {"pool": "some id", "folder": "/in"}

paths = st.text(st.sampled_from('ab./ \n\r\t\x01\x7f\x85"\\[]{},é\u2028\ufeff😀\udc80\udcff'), min_size=1, max_size=9)
"""What is hard in names; bytes that are no text stand as lone surrogates."""
numbers = st.integers(0, 2**64 - 1)
stamps = st.dictionaries(paths, st.tuples(numbers, numbers, numbers), max_size=20)


def at(folder: Path) -> Ledger:
    return Ledger(folder / "watched" / "a.jsonl", TITLE)


def holds(ledger: Ledger, stamps: dict[str, tuple[int, int, int]]) -> bool:
    return all(ledger.holds(path, stamp) for path, stamp in stamps.items())


@given(first=stamps, second=stamps)
def test_what_was_noted_is_held(tmp_path_factory: pytest.TempPathFactory, first: dict, second: dict) -> None:  # type: ignore[type-arg]
    folder = tmp_path_factory.mktemp("home")
    ledger = at(folder)
    for noted in (first, second):
        ledger.note(noted)
    for one in (ledger, at(folder)):
        assert holds(one, {**first, **second})
        assert not any(one.holds(path, (size + 1, *rest)) for path, (size, *rest) in second.items())  # type: ignore[arg-type]


def test_two_write_to_one(tmp_path: Path) -> None:
    one, two = at(tmp_path), at(tmp_path)
    one.note({"a": (1, 2, 3)})
    two.note({"b": (4, 5, 6)})
    one.note({"c": (7, 8, 9)})
    assert holds(at(tmp_path), {"a": (1, 2, 3), "b": (4, 5, 6), "c": (7, 8, 9)})


def test_each_byte_may_be_the_last_that_was_written(tmp_path: Path) -> None:
    ledger = at(tmp_path)
    ledger.note({"a": (1, 2, 3), "b": (4, 5, 6)})
    file = tmp_path / "watched" / "a.jsonl"
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        at(tmp_path).note({"c": (7, 8, 9)})
        again = at(tmp_path)
        assert again.holds("c", (7, 8, 9))
        assert again.holds("a", (1, 2, 3)) == (len(whole.splitlines()[0]) < length and whole[:length].count(b"]") > 0)


@pytest.mark.parametrize("damage", [b"[1, 2, 3, 4]", b'["a", 1, 2]', b'["a", 1.5, 2, 3]', b"\xff", b"nonsense", b"7"])
def test_a_damaged_line_is_passed_over(tmp_path: Path, damage: bytes) -> None:
    at(tmp_path).note({"a": (1, 2, 3)})
    file = tmp_path / "watched" / "a.jsonl"
    file.write_bytes(file.read_bytes() + b"\n" + damage)
    at(tmp_path).note({"b": (4, 5, 6)})
    assert holds(at(tmp_path), {"a": (1, 2, 3), "b": (4, 5, 6)})


def test_its_file_is_for_people_too(tmp_path: Path) -> None:
    at(tmp_path).note({"a": (1, 2, 3)})
    lines = (tmp_path / "watched" / "a.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [TITLE, ["a", 1, 2, 3]]


def test_files_that_are_gone_are_forgotten_when_there_are_many(tmp_path: Path) -> None:
    at(tmp_path).note({str(number): (number, 2, 3) for number in range(3000)})
    kept = {str(number): (number, 2, 3) for number in range(100)}
    file = tmp_path / "watched" / "a.jsonl"
    size = file.stat().st_size
    for there in ([], [str(number) for number in range(1500)]):
        at(tmp_path).forget_others(there)  # the folder is not mounted, or it does not pay
        assert file.stat().st_size == size
    ledger = at(tmp_path)
    ledger.forget_others(kept)
    assert file.stat().st_size < size / 10
    ledger.note({"new": (1, 1, 1)})
    for one in (ledger, at(tmp_path)):
        assert holds(one, {**kept, "new": (1, 1, 1)})
        assert not one.holds("100", (100, 2, 3))
    assert [path.name for path in file.parent.iterdir()] == ["a.jsonl"]


def test_what_can_not_be_written_counts_until_the_end(tmp_path: Path) -> None:
    ledger = at(tmp_path)
    (tmp_path / "watched").write_text("no folder")
    with pytest.raises(StorageError, match=r"watched"):
        ledger.note({"a": (1, 2, 3)})
    assert ledger.holds("a", (1, 2, 3))


def test_what_can_not_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "watched" / "a.jsonl").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"a\.jsonl"):
        at(tmp_path)
    (tmp_path / "watched" / "a.jsonl").rmdir()
    (tmp_path / "watched" / "a.jsonl").symlink_to("/dev/zero")
    with pytest.raises(IntegrityError, match=r"symbolic link"):
        at(tmp_path)


def test_each_pool_and_folder_has_its_own(tmp_path: Path) -> None:
    found = {ledger_path(tmp_path, pool, Path(folder)) for pool in "ab" for folder in ("/x", "/y", "/é\udcff")}
    assert len(found) == 6
    assert {path.parent for path in found} == {tmp_path / "watched"}
