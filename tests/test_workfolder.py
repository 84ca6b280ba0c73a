"""Work folders: what another user left stays; what is in the way is named."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import homes
import pytest
from homes import environment, unwritable
from postgresql import reachable_folder

from miripool.errors import ReadOnly, StorageError
from miripool.system.workfolder import work_folder

home = homes.home

WORK_AS_NOBODY = """
import os, sys
from pathlib import Path
from miripool.system.workfolder import work_folder
os.umask(0o002)
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
with work_folder(Path(sys.argv[1])) as folder:
    print(sorted(path.name for path in folder.parent.iterdir()) == sorted([folder.name, *sys.argv[2:]]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("mode", [0o700, 0o755], ids=["folder closed", "lock closed"])
def test_another_users_folder_is_left_alone(mode: int) -> None:
    with reachable_folder() as reachable:
        reachable.chmod(0o755)
        shared = reachable / "work"
        shared.mkdir()
        shared.chmod(0o777)
        with work_folder(shared) as folder:
            folder.chmod(mode)
            command = [sys.executable, "-c", WORK_AS_NOBODY, str(shared), folder.name]
            theirs = environment(COVERAGE_PROCESS_CONFIG=None)  # they could not write what is measured here
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=theirs)
            assert (done.stdout, done.stderr) == ("True\n", "")
            assert folder.is_dir()
        assert list(shared.iterdir()) == []


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("mine")
    with (
        pytest.raises(StorageError, match=re.escape(f"{tmp_path / 'work'} is not a folder")),
        work_folder(tmp_path / "work"),
    ):
        pass
    assert (tmp_path / "work").read_text() == "mine"


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    with unwritable(tmp_path), pytest.raises(ReadOnly, match="work can't be written"), work_folder(tmp_path / "work"):
        pass


def test_nothing_is_made_where_the_pool_was(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"), work_folder(tmp_path / "gone" / "work"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_errors_of_the_body_are_its_own(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), work_folder(tmp_path) as folder:
        (folder / "missing").read_text()
    assert list(tmp_path.iterdir()) == []
