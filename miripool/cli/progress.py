"""Progress on a terminal: how much is done, and the time that is left. Nothing is shown where there is none."""

from __future__ import annotations

import functools
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from .output import console, human_bytes, shows_progress, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..pool.reference import ProductRef

__all__ = ["Exposures", "counting"]


@functools.cache
def _time_left() -> Any:
    """Make the column of the time left. It goes by all that was done: rich's own by the last 30 seconds."""
    from rich.progress import ProgressColumn
    from rich.text import Text

    class TimeLeft(ProgressColumn):
        max_refresh = 0.5

        def render(self, task: Any) -> Text:
            if task.total is None:
                return Text("")
            if not task.completed or task.elapsed is None:
                return Text("-:--:-- left")
            seconds = round(task.elapsed * (task.total - task.completed) / task.completed)
            return Text(f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02} left")

    return TimeLeft()


@functools.cache
def _speed() -> Any:
    """Make the column of bytes a second, by all that was done: rich's own leaps when many files are done at once."""
    from rich.progress import ProgressColumn
    from rich.text import Text

    class Speed(ProgressColumn):
        max_refresh = 0.5

        def render(self, task: Any) -> Text:
            if not task.completed or not task.elapsed:
                return Text("")
            return Text(f"{human_bytes(int(task.completed / task.elapsed))}/s")

    return Speed()


@contextmanager
def counting(what: str, *, as_bytes: bool = False) -> Iterator[Callable[[int, int], None] | None]:
    """Show a progress bar on a terminal, nothing elsewhere.

    Parameters
    ----------
    what : str
        What is being done.
    as_bytes : bool, keyword-only
        What is counted are bytes: show their speed.

    Yields
    ------
    callable or None
        Takes how many of how many are done.
    """
    if not shows_progress():
        yield None
        return
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
    )

    counted = (DownloadColumn(), _speed()) if as_bytes else (MofNCompleteColumn(),)
    columns = (TextColumn(what), BarColumn(), *counted, _time_left())
    # What goes to stdout meanwhile stands above the bar on a terminal, and stays stdout's elsewhere.
    to_terminal = sys.stdout.isatty()
    with Progress(*columns, console=console(stderr=True), transient=True, redirect_stdout=to_terminal) as bar:
        task = bar.add_task(what, total=None, visible=False)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=True)
            if done >= total:  # what comes after it takes its time, and moves nothing
                bar.stop()

        yield show


class Exposures:
    """On a terminal: one line for all exposures with the time left, and below it the step of each one at work.

    Parameters
    ----------
    number : int
        Of exposures.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._bar: Any = None
        self._total: Any = None
        self._tasks: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if not shows_progress():
            return self
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        class Total(BarColumn):
            def render(self, task: Any) -> Any:
                return "" if task.total is None else super().render(task)

        class Count(MofNCompleteColumn):
            def render(self, task: Any) -> Any:
                return "" if task.total is None else super().render(task)

        columns = (TextColumn("{task.description}"), Total(), Count(), TimeElapsedColumn(), _time_left())
        self._bar = Progress(*columns, console=console(stderr=True), transient=True)
        self._total = self._bar.add_task("exposures", total=self._number)
        self._bar.start()
        return self

    def step(self, raw: ProductRef, step: str) -> None:
        """Show the step that an exposure is at.

        Parameters
        ----------
        raw : ProductRef
            The exposure's.
        step : str
            Name of the step.
        """
        if self._bar is None:
            return
        from rich.markup import escape

        described = escape(visible(f"{raw.name}: {step}", lines=False))
        if raw.serial not in self._tasks:
            self._tasks[raw.serial] = self._bar.add_task(described, total=None)
        self._bar.update(self._tasks[raw.serial], description=described)

    def done(self, raw: ProductRef) -> None:
        """Take an exposure off the display and count it.

        Parameters
        ----------
        raw : ProductRef
            The exposure's.
        """
        if self._bar is None:
            return
        if raw.serial in self._tasks:
            self._bar.remove_task(self._tasks.pop(raw.serial))
        self._bar.advance(self._total)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
