"""Files for the user: what they never replace, and names that can be none."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import homes
import pytest
from homes import call, write_image

from miripool import Pool
from miripool.errors import AlreadyExists, InvalidInput, StorageError
from miripool.system.outfile import writing_file

home = homes.home


def device(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 7))


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("make", "what"),
    [
        (os.mkfifo, "a pipe"),
        pytest.param(device, "a device", marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")),
        (os.mkdir, "a folder"),
    ],
)
def test_what_is_no_file_stays(tmp_path: Path, make: object, what: str, overwrite: bool) -> None:
    path = tmp_path / "out"
    make(path)  # type: ignore[operator]
    before = path.lstat().st_mode
    (tmp_path / "link").symlink_to("out")
    for name in (path, tmp_path / "link"):
        with pytest.raises(InvalidInput, match=f"is {what}; name a file"), writing_file(name, overwrite=overwrite):
            pytest.fail("it is not to be written")
    assert path.lstat().st_mode == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "out"]


def test_a_link_to_nothing_is_there(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nothing")
    with pytest.raises(AlreadyExists, match="choose another name, or overwrite it"), writing_file(tmp_path / "link"):
        pytest.fail("it is not to be written")


@pytest.mark.parametrize("name", ["n" * 300, "n" * 250 + "/x"])
def test_a_name_that_is_too_long(tmp_path: Path, name: str) -> None:
    with pytest.raises((StorageError, KeyError)) as raised, writing_file(tmp_path / name):
        pytest.fail("it is not to be written")
    assert str(tmp_path) in str(raised.value)


@pytest.mark.slow
def test_on_the_command_line(pool: Pool, tmp_path: Path) -> None:
    pool.save(write_image(tmp_path / "a.fits"))
    os.mkfifo(tmp_path / "pipe")
    for words in (("export", "jpl8", "a"), ("pack", "jpl8")):
        with pytest.raises(InvalidInput, match="pipe is a pipe; name a file"):
            call(*words, tmp_path / "pipe", "--overwrite")
        with pytest.raises(StorageError, match="File name too long"):
            call(*words, tmp_path / ("n" * 300))
    with pytest.raises(StorageError, match="pipe: File exists"):
        call("simulate", tmp_path / "pipe")
    assert stat.S_ISFIFO((tmp_path / "pipe").lstat().st_mode)
