"""Many at once on one pool: no update is lost, and nobody sees an error."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from typing import IO, Any

from memory import WORKLOAD, Memory

from miripool import Home
from miripool.maintenance.verify import verify


def told_by_all(started: Iterable[tuple[Any, IO[bytes], Any]], deed: str) -> int:
    """Count a deed in what the programs have told; the place in the files, which they share, is left as it is."""
    texts = (os.pread(told.fileno(), os.fstat(told.fileno()).st_size, 0) for _, told, _ in started)
    return sum(text.count(b'{"deed": "%s"' % deed.encode()) for text in texts)


def test_writers_and_readers(own_home: Home, scale: Callable[[int, int], int], figure: Callable[[str], None]) -> None:
    writers, readers, seconds = scale(6, 16), scale(2, 4), scale(8, 60)
    memory = Memory()
    with contextlib.ExitStack() as stack:
        started = []
        for number in range(writers + readers):
            told = stack.enter_context(tempfile.TemporaryFile())
            words = stack.enter_context(tempfile.TemporaryFile())
            how = "share" if number < writers else "read"
            command = [sys.executable, str(WORKLOAD), str(own_home.path), str(number + 1), how]
            process = stack.enter_context(subprocess.Popen(command, stdout=told, stderr=words))
            stack.callback(process.kill)
            started.append((process, told, words))
        until = time.monotonic() + 60
        while any(told.tell() == 0 and told.seek(0, 2) == 0 for _, told, _ in started):
            assert time.monotonic() < until, "a program does not begin"
            time.sleep(0.05)
        begin = time.monotonic()
        time.sleep(seconds)
        while not (told_by_all(started, "save") >= writers and told_by_all(started, "read") >= readers):
            assert time.monotonic() < begin + seconds + 120, "too little is done in that time"
            time.sleep(0.2)
        ended = [words for process, _, words in started if process.poll() is not None]
        assert [words.read().decode() for words in ended if not words.seek(0)] == []
        for process, *_ in started:
            process.send_signal(signal.SIGKILL)
        took = time.monotonic() - begin
        urns = []
        for process, told, words in started:
            process.wait()
            told.seek(0)
            words.seek(0)
            urns += memory.take(told.readlines())
            assert words.read() == b""
    assert len(set(urns)) == len(memory.values)
    with own_home.pool("jpl8") as pool:
        memory.check(pool, urns)
        assert verify(pool, level="full").findings == []
        versions = len(memory.versions)
    assert memory.deeds["lost a race"] == 0
    assert memory.deeds["save"] >= writers
    assert memory.deeds["read"] >= readers
    figure(
        f"{writers} writers, {readers} readers, {took:.0f} s: {memory.deeds['save']} saves told "
        f"({memory.deeds['save'] / took:.0f} per second), {versions} versions, {dict(memory.deeds)}"
    )
