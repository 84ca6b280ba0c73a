"""Judging: conditions that the index can't answer, asked of many products at a time, in order and in bounded memory."""

from __future__ import annotations

import functools
import os
import pickle
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput
from ..index.interrupt import check_interrupt
from ..store.archive import archive_at
from ..system.threads import one_of_many, work_ahead, workers_of
from .reference import ProductRef

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from concurrent.futures import Future

    from ..index import ProductRow
    from ..query.tree import Node
    from .core import Core

__all__ = ["judge"]

_AHEAD = 2
"""Products in work for each worker: the next is there when one is done."""


def judge(
    pool: Core,
    rows: Iterable[ProductRow],
    node: Node,
    *,
    executor: Executor | None = None,
    progress: Callable[[int], None] | None = None,
) -> Generator[tuple[ProductRow, bool]]:
    """Evaluate a condition on products.

    Parameters
    ----------
    pool : Core
        The pool.
    rows : iterable of ProductRow
        The versions; taken a few ahead of the answers.
    node : Node
        The condition.
    executor : concurrent.futures.Executor, keyword-only, optional
        Who works; threads, one for each core, unless given. Other processes, and hosts that see the pool's folder under
        the same path, get what they need by pickle; they need no database.
    progress : callable, keyword-only, optional
        Told after each product how many were looked at.

    Yields
    ------
    ProductRow, bool
        In the order of the rows.

    Raises
    ------
    InvalidInput
        If the condition can't be sent to other processes.
    Interrupted
        If the thread that takes the answers was stopped; work that was begun is finished first.
    """
    with ExitStack() as stack:
        workers = executor or stack.enter_context(ThreadPoolExecutor(os.cpu_count() or 1))
        submit = (
            _caller(pool, node, workers) if isinstance(workers, ThreadPoolExecutor) else _sender(pool, node, workers)
        )
        ahead = stack.enter_context(closing(work_ahead(rows, submit, _AHEAD * workers_of(workers))))
        for done, (row, future) in enumerate(ahead, 1):
            answer = future.result()
            check_interrupt()
            if progress is not None:
                progress(done)
            yield row, answer


def _caller(pool: Core, node: Node, executor: Executor) -> Callable[[ProductRow], Future[bool]]:
    from ..query.evaluator import evaluate

    def answer(row: ProductRow) -> bool:
        with one_of_many():
            return evaluate(node, pool.load_version(row))

    return lambda row: executor.submit(answer, row)


def _sender(pool: Core, node: Node, executor: Executor) -> Callable[[ProductRow], Future[bool]]:
    try:
        sent = _pickle(node, executor)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InvalidInput(
            f"this query can't be sent to other processes ({error}); define its function in a module that they can "
            "import, or leave executor= out"
        ) from None
    root = pool.archive.place
    return lambda row: executor.submit(_judge_elsewhere, root, pool.name, pool.id, row, sent)


def _pickle(node: Node, executor: Executor) -> bytes:
    """Pickle a condition, once for all products, as the executor would: Dask takes lambdas and functions of scripts."""
    if type(executor).__module__.partition(".")[0] == "distributed":
        import cloudpickle

        return bytes(cloudpickle.dumps(node))
    return pickle.dumps(node)


@functools.lru_cache(maxsize=8)
def _unpickle(sent: bytes) -> Node:
    node: Node = pickle.loads(sent)  # noqa: S301 - from the process that this one works for
    return node


class _Elsewhere:
    """The pool as a reference in another process knows it: by its name, with the tags that were sent."""

    def __init__(self, name: str, pool_id: str, tags: tuple[str, ...]) -> None:
        self.name = name
        self.id = pool_id
        self._tags = tags

    def tags_of(self, _serial: int) -> tuple[str, ...]:
        return self._tags


def _judge_elsewhere(root: str, name: str, pool_id: str, row: ProductRow, sent: bytes) -> bool:
    from ..query.evaluator import evaluate

    archive = archive_at(root, pool_id)
    product = archive.product(archive.manifest(row.manifest), serial=row.serial)
    there: Any = _Elsewhere(name, pool_id, row.tags)
    product.ref = ProductRef(there, row)
    with one_of_many():
        return evaluate(_unpickle(sent), product)
