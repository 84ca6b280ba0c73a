"""Output: data to stdout as a table, JSON or CSV; words to stderr; colour and progress on terminals only."""

from __future__ import annotations

import errno
import sys
from collections.abc import Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ..records.plain import UNSEEN, as_json, as_word, csv_text, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

__all__ = [
    "ask",
    "console",
    "copied_from",
    "emit",
    "flush",
    "human_bytes",
    "quiet",
    "report",
    "say",
    "shows_progress",
    "utc",
    "visible",
    "write",
    "writing_stdout",
]

_WHOLE, _FIRST = 6, 3
"""Elements of an array that a terminal shows whole, and those at its beginning that it shows of a longer one."""

_TITLES = {"created": "created (UTC)", "removed": "removed (UTC)", "start_time": "start_time (UTC)"}
"""Heads of columns in tables for people; JSON and CSV keep the names."""


def console(*, stderr: bool = False) -> Console:
    """Give a console that is plain where stdout is no terminal.

    Parameters
    ----------
    stderr : bool, keyword-only
        For words instead of data.

    Returns
    -------
    rich.console.Console
        Without colour or movement unless stdout is a terminal.
    """
    from rich.console import Console

    terminal = sys.stdout.isatty()
    return Console(
        stderr=stderr, no_color=not terminal, force_terminal=terminal and None, highlight=False, soft_wrap=True
    )


def visible(text: str, *, lines: bool = True) -> str:
    """Write characters that a terminal would obey as Python writes them: headers, names and tags may be a stranger's.

    Parameters
    ----------
    text : str
        For people.
    lines : bool, keyword-only
        Tabs and line feeds are meant, and stay.

    Returns
    -------
    str
        With four or more characters for one: a backslash and its number.
    """
    if not lines:
        text = text.replace("\n", "\\n").replace("\t", "\\t")
    return UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)


_silent = [False]
"""Whether this process says nothing but errors."""


def quiet(wanted: bool) -> None:
    """Say nothing but errors from now on, and show no progress.

    Parameters
    ----------
    wanted : bool
        False says all again.
    """
    _silent[0] = wanted


def shows_progress() -> bool:
    """Tell whether a person watches: stderr is a terminal, and ``--quiet`` was not given.

    Returns
    -------
    bool
        Progress bars and the server's start are shown only then.
    """
    return not _silent[0] and sys.stderr.isatty()


def say(text: str) -> None:
    """Tell the user something that is no data; ``--quiet`` silences it.

    Parameters
    ----------
    text : str
        Goes to stderr.
    """
    if not _silent[0]:
        report(text)


def report(text: str) -> None:
    """Tell the user of an error; nothing silences it.

    Parameters
    ----------
    text : str
        Goes to stderr.
    """
    print(visible(text), file=sys.stderr, flush=True)  # noqa: T201 - this is the one place that prints words


def ask(question: str) -> str:
    """Ask the user something.

    Parameters
    ----------
    question : str
        Goes to stderr.

    Returns
    -------
    str
        A line of stdin, without blanks around it.
    """
    print(visible(question), end="", file=sys.stderr, flush=True)  # noqa: T201 - this is the one place that prints words
    return sys.stdin.readline().strip()


def write(text: str) -> None:
    """Write data for people, or JSON.

    Parameters
    ----------
    text : str
        Goes to stdout, with a line end.
    """
    _write(visible(text))


@contextmanager
def writing_stdout() -> Iterator[None]:
    """Report what stdout does not take as an error of storage: its disk may be full.

    Yields
    ------
    None
        A reader that went away stays a BrokenPipeError.

    Raises
    ------
    DiskFull, StorageError
        If it can't be written.
    """
    from ..errors import DiskFull, StorageError

    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise DiskFull(
                "no space left to write standard output: the output is incomplete; free some space and try again"
            ) from error
        raise StorageError(f"standard output can't be written: {error.strerror or error}") from error


def _write(text: str) -> None:
    with writing_stdout():
        print(text)  # noqa: T201 - this is the one place that prints data


def flush() -> None:
    """Hand on what was written so far: programs wait for it, and more comes only later."""
    if sys.stdout is not None:  # it may be closed
        with writing_stdout():
            sys.stdout.flush()


def utc(time: datetime) -> str:
    """Write a time for people.

    Parameters
    ----------
    time : datetime
        In UTC.

    Returns
    -------
    str
        To the second, e.g. ``2026-01-31 09:30:00 UTC``.
    """
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def human_bytes(count: int | None) -> str:
    """Write a size for people.

    Parameters
    ----------
    count : int or None
        Bytes.

    Returns
    -------
    str
        In decimal units, e.g. ``7.04 MB``.
    """
    if count is None:
        return ""
    size, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if abs(size) < 1000 or unit == "PB":
            break
        size /= 1000
    return f"{count} B" if unit == "B" else f"{size:.3g} {unit}" if size < 100 else f"{size:.0f} {unit}"


def _cell(column: str, value: Any) -> str:
    return visible(_shown(column, value), lines=False)


def _shown(column: str, value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(as_word, value))
    if column in {"bytes", "stored_bytes", "index_bytes"}:
        return human_bytes(value)
    return as_word(value)


def _short(value: Any) -> Any:
    """Leave out the middle of long arrays; texts in a list are tags, and stay."""
    if not isinstance(value, list) or any(isinstance(item, str) for item in value):
        return value
    value = [_short(item) for item in value]
    return value if len(value) <= _WHOLE else [*value[:_FIRST], f"… {len(value) - _FIRST - 1} more …", value[-1]]


def emit(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    *,
    as_json_list: bool = False,
    as_csv: bool = False,
    titles: Mapping[str, str] | None = None,
    digits: int | None = None,
    exact_times: bool = False,
) -> None:
    """Write a list.

    Parameters
    ----------
    rows : sequence of mapping
        The items; for JSON all their entries are written, else those of `columns`.
    columns : sequence of str
        What a table or CSV shows.
    as_json_list, as_csv : bool, keyword-only
        The form; a table for people unless one is set.
    titles : mapping, keyword-only, optional
        Column heads that differ from the column's name.
    digits : int, keyword-only, optional
        Digits of numbers in a table for people; all unless given. JSON and CSV have all.
    exact_times : bool, keyword-only
        Times of a column have milliseconds in a table for people, if any of them has other than zero. JSON and CSV have
        microseconds always.
    """
    heads = {**_TITLES, **(titles or {})}
    if digits is not None and not (as_json_list or as_csv):
        rows = [_rounded(row, digits) for row in rows]
    rows = [plain(row) for row in rows]
    if exact_times and not (as_json_list or as_csv):
        rows = _with_milliseconds(rows, columns)
    if as_json_list:
        write(as_json(rows))
    elif as_csv:
        _write(csv_text(rows, columns))
    elif sys.stdout.isatty():
        _rich_table(rows, columns, heads)
    else:
        _aligned(rows, columns, heads)


def _with_milliseconds(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[dict[str, Any]]:
    """Write the times of those columns in which seconds do not tell all; half a millisecond counts as a whole one."""
    made = [dict(row) for row in rows]
    for column in columns:
        times = [
            None if not isinstance(row[column], datetime) else row[column].astimezone(UTC) + timedelta(microseconds=500)
            for row in made
        ]
        if any(time is not None and time.microsecond >= 1000 for time in times):
            for row, time in zip(made, times, strict=True):
                if time is not None:
                    row[column] = f"{time:%Y-%m-%d %H:%M:%S}.{time.microsecond // 1000:03}"
    return made


def _rounded(row: Mapping[str, Any], digits: int) -> dict[str, Any]:
    return {k: float(f"{v:.{digits}g}") if isinstance(v, float) else v for k, v in row.items()}


def _rich_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], titles: Mapping[str, str]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        number = any(isinstance(row[column], (int, float)) for row in rows)
        table.add_column(titles.get(column, column), justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(c, _short(row[c]))) for c in columns))
    with writing_stdout():
        console().print(table, soft_wrap=False)


def _aligned(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], titles: Mapping[str, str]) -> None:
    """Write a table that needs no terminal: columns as wide as their widest cell, two blanks between."""
    table = [[titles.get(c, c) for c in columns], *([_cell(c, row[c]) for c in columns] for row in rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(columns))]
    for line in table:
        write("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip())


def copied_from(copied: dict[str, Any]) -> str:
    """Say where a version came from that was copied or unpacked.

    Parameters
    ----------
    copied : dict
        From its history.

    Returns
    -------
    str
        The URN it had there, its version and when it was saved, and the pool's id.
    """
    saved = str(copied.get("created", ""))[:10]
    return f"{copied.get('urn')} (version {copied.get('version')} of {saved}, pool id {copied.get('pool_id')})"
