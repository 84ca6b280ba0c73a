"""A hub of our own, for users who run none: ``python -m miripool.samp.hub``. It ends when nobody has used it for long.

The process that is started ends when the hub answers, or with an error. The hub is its child, detached from the
terminal and from all pipes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import MiripoolError
from ..system.folderlock import lock_folder, open_folder
from ..system.oserrors import storage_error
from .lockfile import lock_path, publish_lock, read_lock, running_hub

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PROCESS", "main"]

_IDLE_SECONDS = 300.0
"""How long a hub stays without clients: one that looks at an image for a while, and sends the next, finds it again."""
_LOOK_SECONDS = 1.0
"""Between two looks at the clients."""
_SILENT_SECONDS = 3600.0
"""After which a client counts no more that can't be called and has said nothing."""
_OTHERS_SECONDS = 30.0
"""To wait for another process that starts a hub at this moment."""
_STOP_SECONDS = 2.0
PROCESS = "miripool.pid"
"""The line of the lock file with the number of the hub's process."""


def main(arguments: list[str]) -> int:
    """Start the hub as a process of its own.

    Parameters
    ----------
    arguments : list of str
        Seconds to stay without clients, if not the usual ones.

    Returns
    -------
    int
        0 if a hub answers, ours or another that was faster.
    """
    idle = float(arguments[0]) if arguments else _IDLE_SECONDS
    reading, writing = os.pipe()
    if os.fork() != 0:
        os.close(writing)
        with os.fdopen(reading, encoding="utf-8") as said:
            words = said.read()
        if words != "ready":
            sys.stderr.write(f"{words or 'its process ended'}\n")
        return int(words != "ready")
    os.close(reading)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.setsid()
    os.chdir("/")
    try:
        _run(idle, writing)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(writing, (str(error) if isinstance(error, MiripoolError) else repr(error)).encode())
    os._exit(0)


def _run(idle: float, writing: int) -> None:
    """Be the hub, until it is not needed any more."""
    path = lock_path()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with _starting(path):
        hub = None if running_hub() is not None else _start(path)
    os.write(writing, b"ready")
    os.close(writing)
    if hub is None:
        return
    secret = hub.params["samp.secret"]
    try:
        _watch(hub, path, idle, ended)
    finally:
        with _starting(path), contextlib.suppress(MiripoolError):
            if _is_ours(path, secret):
                path.unlink(missing_ok=True)
        # It waits for calls to clients that hang.
        stopping = threading.Thread(target=hub.stop, daemon=True)
        stopping.start()
        stopping.join(_STOP_SECONDS)


@contextlib.contextmanager
def _starting(path: Path) -> Iterator[None]:
    """Keep off others who start a hub at this moment."""
    try:
        with open_folder(path.parent) as folder:
            lock_folder(folder, seconds=_OTHERS_SECONDS)
            yield
    except OSError as error:
        raise storage_error(error, path.parent) from error


def _start(path: Path) -> Any:
    """Start pyvo's hub, which writes its lock file elsewhere: it removes others' in the home, and writes in place."""
    from pyvo.samp import SAMPHubServer, conf

    conf.use_internet = False
    with tempfile.TemporaryDirectory(prefix="miripool-hub-") as folder:
        os.environ["HOME"] = folder
        os.environ["SAMP_HUB"] = f"std-lockurl:file://{folder}/samp"
        hub = SAMPHubServer(addr="127.0.0.1", web_profile=False, label="miripool")
        hub.start()
    publish_lock(path, {**hub.params, PROCESS: str(os.getpid())})
    return hub


def _is_ours(path: Path, secret: str) -> bool:
    address = read_lock(path)
    return address is not None and address.secret == secret


def _watch(hub: Any, path: Path, idle: float, ended: threading.Event) -> None:
    """Wait until nobody has been there for some time, or nobody is there and another hub has the lock file."""
    secret, last = hub.params["samp.secret"], time.monotonic()
    while not ended.wait(_LOOK_SECONDS):
        if _clients(hub):
            last = time.monotonic()
        elif time.monotonic() - last > idle or not _is_ours(path, secret):
            return


def _clients(hub: Any) -> int:
    """Count the clients that live; those whose processes are gone are taken off the list, as pyvo does not."""
    alive = 0
    for key, (public, _) in list(hub._private_keys.items()):
        if public == hub._hub_public_id:
            continue
        callback = hub._xmlrpc_endpoints.get(public)
        if callback is None:
            alive += time.time() - hub._client_activity_time.get(key, 0.0) < _SILENT_SECONDS
        elif _listens(callback[0]):
            alive += 1
        else:
            with contextlib.suppress(KeyError):  # it has just left by itself
                hub._unregister(key)
    return alive


def _listens(url: str) -> bool:
    """Tell whether somebody has a port, without a word to them: DS9 complains of connections that bring nothing."""
    place = urlsplit(url)
    try:
        family, kind, _, _, address = socket.getaddrinfo(place.hostname, place.port or 80, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            if sys.platform == "linux":  # else the traces of closed connections count for a minute
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError:  # it is taken, or is a port of another machine
        return True
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
