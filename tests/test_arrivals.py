from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from homes import mounted

from miripool.pool.arrivals import Arrivals, Stamp, find_stamps
from miripool.pool.ingest import find_files

SETTLE = 0.05


def never(_path: str, _stamp: Stamp) -> bool:
    return False


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


class Looking:
    """Arrivals in a folder, and what they said."""

    def __init__(self, folder: Path, settle: float = SETTLE) -> None:
        self.said: list[str] = []
        self.arrivals = Arrivals(folder, settle, self.said.append)

    def look(self) -> list[str]:
        time.sleep(SETTLE * 1.2)
        return list(self.arrivals.look(never))


def test_the_files_are_those_that_add_takes(tmp_path: Path) -> None:
    names = ["b.fits", "a.FITS", "sub/c.fit", "sub/deep er/d.fits.gz", "e.fit.gz", "é\udcff.fits"]
    fill(tmp_path, *names, "f.fits.part", "g.fits.tmp", "h.txt", "fits", "sub/i.fitsx")
    (tmp_path / "folder.fits").mkdir()
    (tmp_path / "link.fits").symlink_to("b.fits")
    (tmp_path / "dangling.fits").symlink_to("nowhere")
    (tmp_path / "linked").symlink_to("sub", target_is_directory=True)
    os.mkfifo(tmp_path / "pipe.fits")
    found = find_stamps(tmp_path, lambda *_: pytest.fail("all can be read"))
    assert sorted(found) == sorted([*names, "link.fits"])
    assert {tmp_path / name for name in found} == set(find_files([tmp_path]))


def test_names_that_begin_with_a_dot_are_left_alone(tmp_path: Path) -> None:
    fill(tmp_path, ".a.fits", ".a.fits.Xy12ab", ".~tmp~/b.fits", "sub/.rsync-partial/c.fits", "._d.fits")
    looking = Looking(tmp_path)
    assert looking.look() == looking.look() == []
    (tmp_path / ".a.fits").rename(tmp_path / "a.fits")
    assert [looking.look(), looking.look()] == [[], ["a.fits"]]


@pytest.mark.parametrize(
    ("changed", "settles"), [("nothing", True), ("size", False), ("time", False), ("another file", False)]
)
def test_a_file_settles_when_nothing_changes(tmp_path: Path, changed: str, settles: bool) -> None:
    fill(tmp_path, "a.fits")
    looking = Looking(tmp_path)
    assert looking.look() == []
    path = tmp_path / "a.fits"
    status = path.stat()
    if changed == "size":
        path.write_bytes(b"xx")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif changed == "time":
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    elif changed == "another file":
        fill(tmp_path, "other")
        os.utime(tmp_path / "other", ns=(status.st_atime_ns, status.st_mtime_ns))
        (tmp_path / "other").replace(path)
    assert looking.look() == (["a.fits"] if settles else [])
    assert looking.look() == ["a.fits"]


def test_it_settles_by_the_time_between_two_looks(tmp_path: Path) -> None:
    fill(tmp_path, "a.fits")
    os.utime(tmp_path / "a.fits", (0, 0))  # a clock that is wrong, or a copy that keeps the time
    looking = Looking(tmp_path, settle=60)
    assert looking.look() == looking.look() == []
    looking = Looking(tmp_path, settle=0)
    assert [looking.look(), looking.look()] == [[], ["a.fits"]]


def test_what_is_known_does_not_wait(tmp_path: Path) -> None:
    fill(tmp_path, "a.fits", "b.fits")
    arrivals = Arrivals(tmp_path, 0, pytest.fail)
    for _ in range(2):
        found = arrivals.look(lambda path, stamp: path == "a.fits" and stamp[0] == 1)
    assert list(found) == list(arrivals.waiting) == ["b.fits"]
    assert sorted(arrivals.there) == ["a.fits", "b.fits"]


def test_a_folder_that_goes_and_comes_back_is_said_once(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    fill(folder, "a.fits")
    looking = Looking(folder)
    looking.look()
    folder.rename(tmp_path / "away")
    assert looking.look() == looking.look() == []
    assert looking.said == [f"{folder} can't be read (No such file or directory); watching goes on once it is back"]
    (tmp_path / "away").rename(folder)
    assert [looking.look(), looking.look()] == [[], ["a.fits"]]
    assert looking.said[1:] == [f"{folder} is back"]


def test_a_folder_that_is_unmounted_is_said(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with mounted(tmp_path / "in", "-t", "tmpfs", "tmpfs") as folder:
        fill(folder, "a.fits")
        looking = Looking(folder)
        assert [looking.look(), looking.look()] == [[], ["a.fits"]]
    assert looking.look() == looking.look() == []
    assert looking.said == [
        f"{folder} was mounted, unmounted or replaced; watching goes on in what is there now",
    ]


def test_a_sub_folder_that_can_not_be_read_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "a.fits", "closed/b.fits", "vanished/c.fits")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("closed/"):
            raise PermissionError(13, "Permission denied")
        if path.endswith("vanished/"):
            raise FileNotFoundError(2, "No such file or directory")
        return scandir(path)

    looking = Looking(tmp_path)
    monkeypatch.setattr(os, "scandir", refuse)
    assert [looking.look(), looking.look()] == [[], ["a.fits"]]
    assert looking.said == [
        f"{tmp_path}/closed/ can't be read (Permission denied); its files are left out until it can"
    ]
