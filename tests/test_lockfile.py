"""Lock files: one holder at a time, nobody else's, and nothing left behind."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from miripool.system.lockfile import hold_lock_file


def test_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    alone = threading.Lock()

    def hold(_: int) -> None:
        with hold_lock_file(path, seconds=30):
            assert alone.acquire(blocking=False)
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            alone.release()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(hold, range(100)))
    assert list(tmp_path.iterdir()) == []


def test_who_waits_too_long(tmp_path: Path) -> None:
    with hold_lock_file(tmp_path / "lock", seconds=0):
        start = time.monotonic()
        with pytest.raises(TimeoutError), hold_lock_file(tmp_path / "lock", seconds=0.05):
            pass
        assert time.monotonic() - start >= 0.05
        assert (tmp_path / "lock").exists()
    assert not (tmp_path / "lock").exists()


def test_a_file_that_was_left_is_used(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = "import os, sys; from pathlib import Path; from miripool.system.lockfile import hold_lock_file as hold\n"
    code += "held = hold(Path(sys.argv[1]), seconds=0); held.__enter__(); os._exit(0)"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert path.exists()
    with hold_lock_file(path, seconds=0):
        pass
    assert not path.exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    (tmp_path / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic"), hold_lock_file(tmp_path / "lock", seconds=0):
        pass
    assert (tmp_path / "precious").read_text() == "x"


def test_a_child_does_not_keep_it(tmp_path: Path) -> None:
    """A fork has the lock of its parent: who waits for it has it when the parent is done."""
    path = tmp_path / "lock"
    end, tell = os.pipe()
    waiting = threading.Thread(target=lambda: hold_lock_file(path, seconds=30).__enter__())
    with hold_lock_file(path, seconds=0):
        child = os.fork()
        if child == 0:
            os.close(tell)
            os.read(end, 1)
            os._exit(0)
        waiting.start()
        time.sleep(0.05)  # it waits for this very file
    waiting.join(10)
    hung = waiting.is_alive()
    os.close(tell)
    os.waitpid(child, 0)
    os.close(end)
    assert not hung


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
def test_a_file_of_another_user(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch(0o666)
    os.chown(path, 65534, -1)
    with pytest.raises(PermissionError), hold_lock_file(path, seconds=0):
        pass
    assert path.exists()
