"""What a pool's journal says, in plain Python: read as JSON, played entry by entry, held against the index."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from miripool import Pool
from miripool.pool.core import core_of


@dataclass
class Replay:
    """A pool as its journal tells it; `versions` by serial, `marks` by (label, kind, name)."""

    entries: int = 0
    next_serial: int = 0
    versions: dict[int, dict[str, Any]] = field(default_factory=dict)
    marks: dict[tuple[str, str, str], int] = field(default_factory=dict)
    events: list[tuple[Any, ...]] = field(default_factory=list)

    def play(self, entry: dict[str, Any]) -> None:
        assert entry["n"] == self.entries
        self.entries += 1
        by = f"{entry['user']}@{entry['host']}" if entry["format"] > 1 else None
        for action in entry["actions"]:
            if action["do"] == "save":
                self._save(action, entry["time"], by)
                continue
            for serial in action["serials"]:
                version = self.versions[serial]
                if action["do"] == "remove":
                    if version["removed"] is None:
                        version["removed"], version["removed_by"] = entry["time"], by
                elif action["do"] == "restore":
                    assert not version["purged"]
                    version["removed"] = version["removed_by"] = None
                elif action["do"] == "purge":
                    assert version["removed"]
                    version["purged"] = entry["time"]
                else:
                    self._mark(entry["n"], action["do"], action["label"], serial, by)

    def _save(self, action: dict[str, Any], time: str, by: str | None) -> None:
        track = [v for v in self.versions.values() if (v["kind"], v["name"]) == (action["kind"], action["name"])]
        assert action["version"] == len(track)
        assert action["serial"] >= self.next_serial
        self.next_serial = action["serial"] + 1
        fields = ("serial", "kind", "name", "version", "manifest", "content", "stored_bytes")
        self.versions[action["serial"]] = {f: action[f] for f in fields} | {
            "created": time,
            "removed": None,
            "purged": None,
            "saved_by": by,
            "removed_by": None,
        }

    def _mark(self, n: int, do: str, label: str, serial: int, by: str | None) -> None:
        place = (label, self.versions[serial]["kind"], self.versions[serial]["name"])
        before = self.marks.get(place)
        if do == "tag" and before != serial:
            self.marks[place] = serial
            self.events.append((n, *place, serial, before, by))
        elif do == "untag" and before == serial:
            del self.marks[place]
            self.events.append((n, *place, None, before, by))

    def rows(self) -> list[dict[str, Any]]:
        found = []
        for version in self.versions.values():
            living = [
                v["version"]
                for v in self.versions.values()
                if (v["kind"], v["name"]) == (version["kind"], version["name"]) and v["removed"] is None
            ]
            here = version["removed"] is None
            tags = sorted(label for (label, _, _), serial in self.marks.items() if serial == version["serial"])
            head = here and version["version"] == max(living)
            found.append({**version, "head": head, "tags": tuple(tags) if here else ()})
        return sorted(found, key=lambda row: row["serial"])


def journal_of(folder: Path) -> list[dict[str, Any]]:
    """Read the entries of a pool's folder."""
    paths = sorted((folder / "journal").glob("[0-9]*.json"))
    assert [path.name for path in paths] == [f"{n:012d}.json" for n in range(len(paths))]
    return [json.loads(path.read_bytes()) for path in paths]


def replay(folder: Path) -> Replay:
    """Play the journal of a pool's folder."""
    played = Replay()
    for entry in journal_of(folder):
        played.play(entry)
    return played


def assert_index_is_journal(pool: Pool) -> Replay:
    """Hold every row and tag of a pool's index against its journal; gives what the journal says."""
    played = replay(pool.path)
    position = core_of(pool).catalog.position()
    assert (position.n, position.next_serial) == (played.entries - 1, max(played.next_serial, position.next_serial))
    assert played.entries == 0 or position.next_serial >= played.next_serial
    expected = played.rows()
    indexed = core_of(pool).catalog.rows(range(position.next_serial))
    assert [_row(row) for row in indexed] == expected
    events = core_of(pool).catalog.tag_events()
    assert [(e.entry, e.label, e.kind, e.name, e.serial, e.previous, e.by) for e in events] == played.events
    return played


def _row(row: Any) -> dict[str, Any]:
    fields = ("serial", "kind", "name", "version", "manifest", "content", "stored_bytes", "head", "tags", "saved_by")
    fields += ("removed_by",)
    times = {name: _iso(getattr(row, name)) for name in ("created", "removed", "purged")}
    return {**{name: getattr(row, name) for name in fields}, **times}


def _iso(time: Any) -> str | None:
    return None if time is None else time.isoformat(timespec="microseconds")


def files(folder: Path) -> set[str]:
    """List everything in a folder, hidden and temporary files too."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def folder_of(pool: Pool) -> Path:
    """Give a pool's folder."""
    return pool.path
