from __future__ import annotations

import queue
import signal

import pytest

from miripool.system.signals import ending_noted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_noted_and_ends_nothing(number: int) -> None:
    before = signal.getsignal(number)
    with ending_noted() as came:
        for _ in range(2):
            signal.raise_signal(number)
            came.get(timeout=1)
        with pytest.raises(queue.Empty):
            came.get(timeout=0)
    assert signal.getsignal(number) is before


def test_the_second_one_does_what_it_did_before() -> None:
    with ending_noted(only_first=True) as came:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        came.get(timeout=1)


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending_noted(only_first=True) as came:
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGHUP)
            came.get(timeout=1)
            with pytest.raises(queue.Empty):
                came.get(timeout=0)
    finally:
        signal.signal(signal.SIGHUP, before)
