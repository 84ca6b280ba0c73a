"""Plots of a pixel's life: its rate through time, its neighbours, and the states that it was in."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..pixels.plots import draw_ramps, tidy_ticks
from ..pool.images.figures import new_figure, save_figure, show_times, time_limits
from ..system.words import counted
from .charts import draw_events
from .maskflags import flags_in
from .styles import STATE_STYLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from astropy.table import Table
    from numpy.typing import NDArray

    from .courses import Course, Episode
    from .events import Event

__all__ = ["plot_courses"]

_MOST: Final = 4
"""Strata that are drawn, those with the most exposures."""
_VERSIONS: Final = "oDs^vP"
"""Markers of versions."""
_STRIP: Final = 0.06
"""Share of a panel's height for the names of states."""


def plot_courses(
    courses: Sequence[Course],
    path: str | Path,
    *,
    title: str,
    events: Sequence[Event] = (),
    flags: Mapping[str, int] | None = None,
    ramps: Sequence[Table] = (),
) -> Path:
    """Plot the courses of a pixel, one panel for each stratum.

    Parameters
    ----------
    courses : sequence of Course
        One or more. The four with the most exposures are drawn.
    path : path-like
        File for the plot; its name ends in png, pdf, svg, jpg, tif, webp or eps. A file that is there is replaced.
    title : str, keyword-only
        Of the plot.
    events : sequence of Event, keyword-only
        To be marked.
    flags : mapping of str to int, keyword-only, optional
        DQ flags by URN, for a strip below each panel.
    ramps : sequence of astropy.table.Table, keyword-only
        Ramps in chosen exposures, for panels at the bottom.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    InvalidInput
        If matplotlib is not installed, or the name of the file ends otherwise.
    FileMissing, StorageError, DiskFull
        If the folder is not there, or the file can't be written; a file of that name is then as it was.
    """
    drawn = sorted(courses, key=lambda course: -len(course.times))[:_MOST]
    drawn.sort(key=lambda course: course.number)
    strips = [_flags_of(course, flags or {}) for course in drawn]
    heights = [height for strip in strips for height in (4.2, 0.25 * len(strip) + 0.05)]
    heights += [3.2] if ramps else []
    figure = new_figure(11, 1.5 + sum(heights))
    places = figure.add_gridspec(len(heights), max(len(ramps), 1), height_ratios=heights)
    grid: list[Any] = []
    for row in range(2 * len(drawn)):
        grid.append(figure.add_subplot(places[row, :], sharex=grid[0] if grid else None))
        grid[-1].tick_params(labelbottom=False)
    for column, table in enumerate(ramps):
        _draw_ramp(figure.add_subplot(places[len(heights) - 1, column]), table)
    panels = grid[::2]
    left = len(courses) - len(drawn)
    figure.suptitle(title + (f"\n{counted(left, 'more stratum', 'more strata')} not drawn" if left else ""))
    limits = time_limits(min(c.times[0] for c in drawn), max(c.times[-1] for c in drawn))
    for axes, course in zip(panels, drawn, strict=True):
        axes.set_xlim(limits)
        draw_events(axes, events)
        _draw(axes, course, limits[1])
    for axes, course, strip in zip(grid[1::2], drawn, strips, strict=True):
        _draw_flags(axes, course, strip)
    last = grid[-1] if strips[-1] else panels[-1]
    last.set_xlabel("start of the exposure (UTC)")
    last.tick_params(labelbottom=True)
    show_times(last)
    return save_figure(figure, path)


def _draw_ramp(axes: Any, table: Table) -> None:
    draw_ramps(axes, table)
    tidy_ticks(axes)
    start = table["time"][0]
    when = "" if np.ma.is_masked(start) else f"\n{start.to_datetime():%Y-%m-%d %H:%M} UTC"
    axes.set_title(f"{table.meta['kind']} of {table['name'][0]}{when}", fontsize="small")
    axes.grid(alpha=0.3)


def _flags_of(course: Course, flags: Mapping[str, int]) -> dict[str, list[int]]:
    """Give the exposures that have each flag, by the names of those that any has."""
    found: dict[str, list[int]] = {}
    for i, urn in enumerate(course.urns):
        for name in flags_in(flags.get(urn, 0)):
            found.setdefault(name, []).append(i)
    return found


def _draw_flags(axes: Any, course: Course, strip: Mapping[str, Sequence[int]]) -> None:
    """Mark the exposures with each DQ flag, a row for each."""
    if not strip:
        axes.set_axis_off()
        return
    times = np.array(course.times)
    for row, chosen in enumerate(strip.values()):
        axes.plot(times[list(chosen)], np.full(len(chosen), row), "s", ms=3.5, color="0.25")
    axes.set_yticks(range(len(strip)), list(strip), fontsize="x-small")
    axes.set_ylim(len(strip) - 0.5, -0.5)
    axes.set_ylabel("DQ", fontsize="small")
    axes.grid(alpha=0.3)


def _draw(axes: Any, course: Course, right: datetime) -> None:
    axes.set_title(f"stratum {course.number}: {course.stratum}", fontsize="small", loc="left")
    _draw_bands(axes, course, right)
    times = course.times
    if np.isfinite(course.rate).any():
        _draw_rates(axes, course)
    _draw_levels(axes, course)
    used = "part of the rate" if course.first_counts else "not part of the rate"
    if np.isfinite(course.first).any():
        look = {"ms": 5, "mfc": "none", "mec": "0.35", "mew": 0.8}
        axes.plot(times, course.first, "v", **look, label=f"first integration,\n{used}")
    _draw_neighbours(axes, course)
    lost = int(np.count_nonzero(~np.isfinite(course.rate)))
    if lost:
        axes.plot([], [], " ", label=f"no usable rate in\n{lost} of {len(course.rate)} exposures")
    if not course.episodes:
        axes.plot([], [], " ", label="no state at any time")
    axes.set_ylabel("rate (DN/s)")
    axes.grid(alpha=0.3)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + _STRIP * (high - low))  # room for the names of states
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: not labels[i].startswith("rate"))  # the rate first
    place: dict[str, Any] = {"fontsize": "small", "loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
    axes.legend([handles[i] for i in order], [labels[i] for i in order], **place)


def _draw_rates(axes: Any, course: Course) -> None:
    """Draw the rates with their errors; each version has a colour and a marker, if there are several."""
    numbers = sorted(set(course.versions))
    versions, times = np.array(course.versions), np.array(course.times)
    for place, number in enumerate(numbers):
        mine = np.isfinite(course.rate) & (versions == number)
        if not mine.any():
            continue
        look = {"color": "black"} if len(numbers) == 1 else {"color": f"C{place % 10}", "mec": "black", "mew": 0.5}
        bars = {"fmt": _VERSIONS[place % len(_VERSIONS)], "ms": 4.5, "lw": 1, "capsize": 2, **look}
        which = "" if len(numbers) == 1 else f",\nversion {number}"
        axes.errorbar(times[mine], course.rate[mine], course.error[mine], **bars, label=f"rate and its error{which}")


def _draw_bands(axes: Any, course: Course, right: datetime) -> None:
    """Shade each episode, from its first exposure to the first one out of it; a strip above has its name."""
    for episode in course.episodes:
        style = STATE_STYLES[episode.state]
        begin, lasting = course.times[episode.begin], episode.end >= len(course.times)
        end = right if lasting else course.times[episode.end]
        axes.axvspan(begin, end, facecolor=style.colour, alpha=0.12, lw=0, zorder=0)
        axes.axvspan(
            *(begin, end, 1 - _STRIP, 1),
            **{"facecolor": (style.colour, 0.4), "edgecolor": "0.25", "hatch": style.hatch, "lw": 1, "zorder": 3},
        )
        axes.text(
            *(begin + (end - begin) / 2, 1 - _STRIP / 2, episode.state),
            **{"transform": axes.get_xaxis_transform(), "ha": "center", "va": "center", "fontsize": "small"},
            **{"bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1.5}, "zorder": 4},
        )
        tail = ", lasts" if lasting else ""
        label = f"{episode.state}: {episode.amplitude:.3g} DN/s,\n{episode.significance:.0f} $\\sigma${tail}"
        axes.fill_between([], [], facecolor=(style.colour, 0.4), edgecolor="0.25", hatch=style.hatch, label=label)


def _draw_neighbours(axes: Any, course: Course) -> None:
    beside, times = course.beside, np.array(course.times)
    if np.isfinite(beside).any():
        there = np.repeat(times[:, None], beside.shape[1], axis=1)
        look = {"ms": 4, "color": "0.6", "mew": 0.8, "zorder": 1.5}
        axes.plot(there.ravel(), beside.ravel(), "+", **look, label="the 4 pixels beside it")
    if np.isfinite(course.level).any():
        look = {"ms": 2.5, "lw": 0.9, "color": "0.35", "zorder": 1.6}
        axes.plot(course.times, course.level, ".-", **look, label="median of the pixels\naround it")


def _draw_levels(axes: Any, course: Course) -> None:
    label: str | None = "level of the pixel"
    for chosen, levels in _levels(course):
        for level in levels:
            look = {"marker": "_", "ms": 12} if len(chosen) == 1 else {}  # a line of one point is not seen
            axes.plot(np.array(course.times)[chosen], level, "--", lw=1.6, color="C3", zorder=2.5, label=label, **look)
            label = None


def _levels(course: Course) -> Iterator[tuple[NDArray[np.intp], list[NDArray[np.float64]]]]:
    """Give stretches of exposures within and between episodes, and the level of the pixel in each; rts has two."""
    stretches: list[tuple[int, int, Episode | None]] = []
    place = 0
    for episode in course.episodes:
        if episode.begin > place:
            stretches.append((place, episode.begin, None))
        stretches.append((episode.begin, episode.end, episode))
        place = max(place, episode.end)
    if place < len(course.times):
        stretches.append((place, len(course.times), None))
    for begin, end, of in stretches:
        chosen = np.arange(begin, end)[np.isfinite(course.rate[begin:end])]
        if chosen.size:
            yield chosen, _levels_of(course, chosen, of)


def _levels_of(course: Course, chosen: NDArray[np.intp], episode: Episode | None) -> list[NDArray[np.float64]]:
    rates, flat = course.rate[chosen], np.zeros(len(chosen))
    if episode is not None and episode.state == "rts":
        low = rates.mean() - episode.fraction * episode.amplitude
        return [flat + low, flat + low + episode.amplitude]
    if episode is not None and episode.state == "drift":
        days = np.array([(course.times[i] - course.times[0]) / timedelta(days=1) for i in chosen])
        flat = episode.amplitude * days / max(float(days[-1]), 1e-9)
    return [flat + np.median(rates - flat)]
