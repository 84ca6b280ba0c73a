"""How a file system is attached to a folder, and taken away from where it is by then."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Attachment", "Watcher", "attach"]

_TABLE = Path("/proc/self/mountinfo")
_TYPE = "miripool"

_WATCH = r"""
read -r own
read -r _
ours=
while read -r id _ device _ point _; do
    if [ "$id $device" = "$own" ]; then
        ours=$point
    elif [ "$point" = "$ours" ]; then
        ours=
    fi
done < /proc/self/mountinfo
if [ -n "$ours" ]; then
    point=$(printf %b. "$(printf %s "$ours" | sed 's/\\/\\0/g')")
    exec fusermount3 -u -z -q -- "${point%.}"
fi
"""
"""Octal escapes of the table are put as `printf %b` wants them; the dot keeps a line break at the end."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A mount, which may be found again when its folder was moved, or another mount lies above it.

    Attributes
    ----------
    mark : str
        Number of the mount and of its device.
    file : int
        Descriptor by which the kernel asks.
    """

    mark: str
    file: int

    def place(self) -> Path | None:
        """Find where the mount is now.

        Returns
        -------
        pathlib.Path or None
            None if it was taken away, or another one lies above it: who gives this folder would mean that one.
        """
        on_top = {row.folder: row.mark for row in _rows()}
        return next((folder for folder, mark in on_top.items() if mark == self.mark), None)

    def take_away(self) -> None:
        """Take this mount away, and no other; files that are open stay so.

        Raises
        ------
        StorageError
            If that does not work; the message says where the mount is.
        """
        folder = self.place()
        if folder is None:
            return
        command = ["fusermount3", "-u", "-z", "--", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode and self.place() is not None:
            raise StorageError(
                f"the mount at {folder} could not be taken away ({done.stderr.strip()}); "
                f"`fusermount3 -u -z {shlex.quote(str(folder))}` does, once that is mended"
            )


@dataclass(frozen=True, slots=True)
class _Row:
    mark: str
    folder: Path
    device: str


def _rows() -> Iterator[_Row]:
    for line in os.fsdecode(_TABLE.read_bytes()).split("\n")[:-1]:
        fields, _, rest = line.partition(" - ")
        number, _, device, _, point, *_ = fields.split(" ")
        yield _Row(f"{number} {device}", Path(_plain(point)), _plain(rest.split(" ")[1]))


def _plain(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def attach(folder: Path, device: str) -> Attachment:
    """Mount a file system that this process then answers for.

    Parameters
    ----------
    folder : pathlib.Path
        Where; absolute, links resolved.
    device : str
        Its name in the table of mounts.

    Returns
    -------
    Attachment
        The mount.

    Raises
    ------
    StorageError
        If the system refuses.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        done = subprocess.run(
            ["fusermount3", "-o", f"ro,nosuid,nodev,fsname={device},subtype={_TYPE}", "--", str(folder)],
            env={**os.environ, "_FUSE_COMMFD": str(theirs.fileno())},
            pass_fds=[theirs.fileno()],
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            raise StorageError(f"{folder} could not be mounted: {done.stderr.strip()}")
        # No other program may inherit the descriptor: with it, the mount would outlive this process.
        _, (file,), _, _ = socket.recv_fds(ours, 1, 1, socket.MSG_CMSG_CLOEXEC)
    found = [row for row in _rows() if row.folder == folder and row.device == device]
    if not found:
        os.close(file)
        raise StorageError(f"{folder} could not be mounted: the mount was taken away at once")
    return Attachment(found[-1].mark, file)


class Watcher:
    """A small process that takes a mount away when this one is killed: who looked at a dead mount would get errors."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _WATCH],
            stdin=subprocess.PIPE,  # it ends when this process does, however that happens
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    def watch(self, attachment: Attachment) -> None:
        """Say which mount has to be taken away.

        Parameters
        ----------
        attachment : Attachment
            The mount.
        """
        if self._process.stdin is not None:
            self._process.stdin.write(f"{attachment.mark}\n".encode())
            self._process.stdin.flush()

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # the mount has ended by itself
        self._process.communicate()
