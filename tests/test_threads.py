"""Threads: results in order, few ahead, and no thread left behind."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from miripool.system.threads import map_bounded

CORES = os.cpu_count() or 1


def test_results_come_in_order_though_jobs_do_not_end_in_order() -> None:
    second_is_done = threading.Event()

    def work(i: int) -> int:
        if i == 0 and CORES > 1:
            assert second_is_done.wait(10)
        if i == 1:
            second_is_done.set()
        return i * i

    assert list(map_bounded(work, range(50))) == [i * i for i in range(50)]


def test_items_are_taken_a_few_ahead_in_the_caller_s_thread() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for i in range(1000):
            assert threading.current_thread() is threading.main_thread()
            taken.append(i)
            yield i

    results = map_bounded(lambda i: i, items())
    assert taken == []
    assert [next(results) for _ in range(10)] == list(range(10))
    assert len(taken) <= 10 + 2 * CORES + 1
    results.close()  # type: ignore[attr-defined]


def test_an_error_ends_the_work_and_its_threads() -> None:
    before = threading.active_count()
    done: list[int] = []

    def work(i: int) -> int:
        if i == 5:
            raise LookupError("five")
        done.append(i)
        return i

    with pytest.raises(LookupError, match="five"):
        list(map_bounded(work, range(1000)))
    assert set(range(5)) <= set(done)
    assert len(done) < 5 + 3 * CORES + 3
    assert threading.active_count() == before


def test_an_error_of_the_items_ends_the_threads() -> None:
    before = threading.active_count()

    def items() -> Iterator[int]:
        yield 1
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        list(map_bounded(lambda i: i, items()))
    assert threading.active_count() == before


def test_nothing_to_do() -> None:
    assert list(map_bounded(str, [])) == []


def test_work_within_work_ends() -> None:
    def total(number: int) -> int:
        return sum(map_bounded(lambda part: part * number, range(10)))

    assert list(map_bounded(total, range(20))) == [45 * number for number in range(20)]
