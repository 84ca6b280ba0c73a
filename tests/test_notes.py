"""Notes: others see them at once; they wait for the disk only where their owner may outlive this host."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from systemcalls import Calls, needs_proc

from miripool.store.notes import Notes
from miripool.store.storage.leases import boot_id
from miripool.store.storage.local import LocalStorage

KEYS = {"blobs/ab/1", "manifests/cd/2"}


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "jpl8")


@pytest.fixture
def notes(storage: LocalStorage) -> Notes:
    return Notes(storage, storage.leases)


@needs_proc
def test_a_note_is_seen_at_once_and_waits_for_no_disk(
    storage: LocalStorage, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with notes.writing(()):
        pass  # its folder is on disk
    calls = Calls(monkeypatch)
    ticket = notes.ticket()
    with notes.writing(KEYS, ticket):
        assert Notes(LocalStorage(storage.root), storage.leases).pending() == KEYS
    with notes.collecting(KEYS):
        assert list(storage.keys("collecting"))
    assert [name for kind, name in calls.made if kind == "fsync" and name == "temporary"] == []
    assert ticket.key.rpartition("/")[2] in calls.content_at_naming
    assert notes.pending() == set()


@needs_proc
@pytest.mark.skipif(not boot_id(), reason="this system does not tell its kernels apart")
@pytest.mark.parametrize("boot", ["another", ""])
def test_a_note_for_an_owner_who_may_outlive_this_host_is_on_disk(
    notes: Notes, boot: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = notes.ticket()
    ticket = replace(own, lease=replace(own.lease, boot=boot))
    calls = Calls(monkeypatch)
    for keys in (KEYS, {"blobs/ef/3"}):  # the work was done again
        notes.announce(ticket, keys)
        assert notes.pending() == keys
        written = calls.content_at_naming[ticket.key.rpartition("/")[2]]
        assert written is not None
        assert all(key.encode() in written for key in keys)


@pytest.mark.parametrize("left", [b"", bytes(200), b'{"boot":"'])
def test_what_a_power_failure_left_of_a_note_counts_for_nothing(
    storage: LocalStorage, notes: Notes, left: bytes
) -> None:
    ticket = notes.ticket()
    notes.announce(ticket, KEYS)
    storage.files.path(ticket.key).write_bytes(left)
    assert notes.pending() == set()
    assert notes.sweep() == [ticket.key]
    assert not notes.is_there(ticket)
