"""Processes: some workers of this one, for work that holds Python's lock.

They are programs of their own, which import what they need: `multiprocessing` either copies a process with its threads
and locks, or runs the user's script once more. Work and results are pickled and go through pipes. A worker whose pipe
is closed, because its parent closed it or was killed, ends once it has done what it is at.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import queue
import subprocess
import sys
import threading
from concurrent.futures import BrokenExecutor, Executor, Future
from typing import IO, TYPE_CHECKING, Any, TypeVar

from .threads import work_alone

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["WorkerProcesses", "serve"]

_T = TypeVar("_T")

_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from miripool.system.processes import serve; serve(int(sys.argv[2]), int(sys.argv[3]))"
)
_HEAD = 8
"""Bytes before each message that tell its length."""

_PATIENCE = 30.0
"""Seconds that a worker has for what it is at when it is told to end."""


class WorkerProcesses(Executor):
    """Some processes that work for this one, until the ``with`` block ends; none is started before there is work.

    A process that is killed is not replaced: its work fails with BrokenExecutor, and so does `submit` once none lives.

    Parameters
    ----------
    count : int
        Processes.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._work: queue.SimpleQueue[tuple[Future[Any], bytes] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._living = 0
        self._ended = False

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        """Have a function called by one of the processes.

        Parameters
        ----------
        fn : callable
            A function of a module; the process imports it.
        *args, **kwargs
            Its arguments, which can be pickled.

        Returns
        -------
        concurrent.futures.Future
            What it gives or raises; BrokenExecutor if its process ended.

        Raises
        ------
        BrokenExecutor
            If no process lives, or none can be started.
        """
        message = pickle.dumps((fn, args, kwargs))
        future: Future[_T] = Future()
        with self._lock:
            if self._ended:
                raise RuntimeError("these processes were ended")
            while len(self._threads) < self._count:
                self._start()
            if not self._living:
                raise BrokenExecutor("no worker process lives")
            self._work.put((future, message))
        return future

    def _start(self) -> None:
        try:
            worker = _Worker()
        except OSError as error:
            raise BrokenExecutor(f"a worker process can't be started ({error})") from error
        thread = threading.Thread(target=self._serve, args=[worker], name="miripool worker", daemon=True)
        self._threads.append(thread)
        self._living += 1
        thread.start()

    def _serve(self, worker: _Worker) -> None:
        """Hand work to a process, in a thread of its own, until there is no more, or the process has ended."""
        with contextlib.closing(worker):
            while (item := self._work.get()) is not None:
                future, message = item
                if not future.set_running_or_notify_cancel():
                    continue
                try:
                    succeeded, result = worker.do(message)
                except (OSError, EOFError, pickle.UnpicklingError) as error:
                    self._lose(future, worker, error)
                    return
                if succeeded:
                    future.set_result(result)
                else:
                    future.set_exception(result)

    def _lose(self, future: Future[Any], worker: _Worker, error: Exception) -> None:
        lost = [future]
        with self._lock:
            self._living -= 1
            while not self._living and not self._work.empty():
                item = self._work.get()
                if item is not None and item[0].set_running_or_notify_cancel():
                    lost.append(item[0])
        for one in lost:
            one.set_exception(BrokenExecutor(f"worker process {worker.pid} ended ({type(error).__name__})"))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes, once they have done what they are at.

        Parameters
        ----------
        wait : bool, optional
            Return only when they have ended.
        cancel_futures : bool, keyword-only
            Drop the work that was not begun.
        """
        with self._lock:
            self._ended = True
            if cancel_futures:
                kept = []
                while not self._work.empty():
                    kept.append(self._work.get())
                for item in kept:
                    if item is not None:
                        item[0].cancel()
            for _ in self._threads:
                self._work.put(None)
        if wait:
            for thread in self._threads:
                thread.join()


class _Worker:
    """A process, and the pipes to it."""

    def __init__(self) -> None:
        reading, self._requests = _pipe()
        self._results, writing = _pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, json.dumps(sys.path), str(reading.fileno()), str(writing.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[reading.fileno(), writing.fileno()],
                process_group=0,  # Ctrl-C in a terminal reaches this process alone, which ends the workers
            )
        except BaseException:
            self._requests.close()
            self._results.close()
            raise
        finally:
            reading.close()
            writing.close()

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def do(self, message: bytes) -> tuple[bool, Any]:
        """Have some work done; give whether it succeeded, and its result or what it raised."""
        _send(self._requests, message)
        found: tuple[bool, Any] = pickle.loads(_receive(self._results))  # noqa: S301 - our own process wrote it
        return found

    def close(self) -> None:
        """End the process: at once if it waits for work, else when it is done with it."""
        with contextlib.suppress(OSError):  # it has ended, and with it the pipe
            self._requests.close()
        self._results.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _pipe() -> tuple[IO[bytes], IO[bytes]]:
    reading, writing = os.pipe()
    return os.fdopen(reading, "rb"), os.fdopen(writing, "wb")


def _send(pipe: IO[bytes], message: bytes) -> None:
    pipe.write(len(message).to_bytes(_HEAD, "little"))
    pipe.write(message)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> bytes:
    head = pipe.read(_HEAD)
    message = pipe.read(int.from_bytes(head, "little"))
    if len(head) < _HEAD or len(message) < int.from_bytes(head, "little"):
        raise EOFError
    return message


def serve(reading: int, writing: int) -> None:
    """Do the work of another process until it closes the pipe; what a worker runs.

    Parameters
    ----------
    reading, writing : int
        File descriptors of the pipes.
    """
    work_alone()
    with os.fdopen(reading, "rb") as requests, os.fdopen(writing, "wb") as results:
        while True:
            try:
                message = _receive(requests)
            except EOFError:
                return
            with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
                _send(results, _result_of(message))


def _result_of(message: bytes) -> bytes:
    try:
        function, arguments, options = pickle.loads(message)  # noqa: S301 - our parent wrote it
        return pickle.dumps((True, function(*arguments, **options)))
    except Exception as error:
        try:
            return pickle.dumps((False, error))
        except Exception:
            return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
