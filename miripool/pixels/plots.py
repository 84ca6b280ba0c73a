"""Plots of a pixel: its ramps, or its rates against time, with flagged points marked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..pool.images.figures import new_figure, save_figure, show_times
from ..query.pixelwhere import FLAGS

if TYPE_CHECKING:
    from pathlib import Path

    from astropy.table import Table

__all__ = ["draw_ramps", "plot_pixel", "tidy_ticks"]

_BAD = FLAGS["DO_NOT_USE"]
_MOST_LABELS = 8


def plot_pixel(table: Table, path: str | Path, *, title: str | None = None) -> Path:
    """Plot a table from `Pixel.ramps` or `Pixel.history`.

    Parameters
    ----------
    table : astropy.table.Table
        Ramps or rates of a pixel, with DQ flags as bits.
    path : path-like
        File for the plot; its name ends in png, pdf, svg, jpg, tif, webp or eps. A file that is there is replaced.
    title : str, keyword-only, optional
        Title of the plot; by default the kind and the pixel.

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
    figure = new_figure(9, 5.5)
    axes = figure.add_subplot()
    if "ramp" in table.colnames:
        draw_ramps(axes, table)
    else:
        _draw_history(axes, table)
    meta = table.meta
    detector = f" of {meta['detector']}" if meta["detector"] else ""
    axes.set_title(title or f"{meta['kind']} of pixel x={meta['x']}, y={meta['y']}{detector}")
    axes.grid(alpha=0.3)
    tidy_ticks(axes)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="small")
    return save_figure(figure, path)


def tidy_ticks(axes: Any) -> None:
    """Set short dates on an axis of times, whole numbers on one of groups, integrations or exposures.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        With the label of its horizontal axis.
    """
    from matplotlib.ticker import MaxNLocator

    if "UTC" in axes.get_xlabel():
        show_times(axes)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def draw_ramps(axes: Any, table: Table) -> None:
    """Draw each integration as a line over its groups, coloured by version; flagged groups are marked.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Is empty.
    table : astropy.table.Table
        From `Pixel.ramps`, with DQ flags as bits.
    """
    urns = list(dict.fromkeys(table["urn"]))
    colours = {urn: f"C{i % 10}" for i, urn in enumerate(urns)}
    labelled: set[str] = set()
    flagged = False
    for row in table:
        values = np.asarray(row["ramp"], float)
        groups = np.arange(1, len(values) + 1)
        label = _version_label(row) if row["urn"] not in labelled and len(labelled) < _MOST_LABELS else None
        labelled.add(row["urn"])
        axes.plot(groups, values, "-", lw=0.9, marker=".", ms=3, color=colours[row["urn"]], label=label)
        if "groupdq" in table.colnames and row["groupdq"] is not None:
            bad = np.asarray(row["groupdq"]) != 0
            axes.plot(groups[bad], values[bad], "x", ms=5, color="black", label=None if flagged else "any flag set")
            flagged |= bool(bad.any())
    _note_more(axes, len(urns))
    axes.set_xlabel("group")
    axes.set_ylabel("signal (DN)")


def _draw_history(axes: Any, table: Table) -> None:
    """Rates against time, or of one exposure against its integrations; a colour for each version that there is."""
    versions = sorted(set(map(int, table["version"])))
    places, label = _places(table, versions)
    rate = np.asarray(table["rate"], float)
    err = np.asarray(np.ma.filled(table["err"], np.nan), float) if "err" in table.colnames else None
    dq = np.asarray(np.ma.filled(table["dq"], 0)) if "dq" in table.colnames else np.zeros(len(table), int)
    bad = dq != 0
    for number, version in enumerate(versions):
        mine = np.asarray(table["version"]) == version
        several = len(versions) > 1
        named = number < _MOST_LABELS
        for chosen, marker in ((mine & ~bad, "o"), (mine & bad, "x")):
            if not chosen.any():
                continue
            if several:  # the legend explains the crosses once, below
                colour, told = f"C{number % 10}", f"version {version}" if named and marker == "o" else None
            else:
                colour, told = ("C0", "no flag set") if marker == "o" else ("C3", "flagged")
            bars = None if err is None else err[chosen]
            axes.errorbar(
                places[chosen], rate[chosen], bars, fmt=marker, ms=4, lw=0.9, capsize=2, color=colour, label=told
            )
        if several and named and not (mine & ~bad).any():
            axes.plot([], [], "x", color=f"C{number % 10}", label=f"version {version}")
    if len(versions) > 1 and bad.any():
        axes.plot([], [], "x", color="black", label="flagged")
    _note_more(axes, len(versions))
    lost = int((~np.isfinite(rate)).sum())
    if lost:
        axes.plot([], [], " ", label=f"{lost} of {len(rate)} have no finite rate")
    if lost == len(rate) and lost and min(places) != max(places):  # or the axis would be any
        axes.set_xlim(min(places), max(places))
    axes.set_ylabel("rate (DN/s)")
    axes.set_xlabel(label)


def _places(table: Table, versions: list[int]) -> tuple[Any, str]:
    """Give where each rate stands on the axis, and what the axis is: time, integrations, or exposures in order."""
    names = list(dict.fromkeys(map(str, table["name"])))
    shift = (np.searchsorted(versions, table["version"]) - (len(versions) - 1) / 2) * 0.08
    if len(names) < 2 and "integration" in table.colnames:
        return np.asarray(table["integration"]) + shift, "integration"
    for column, what in (("mid_time", "middle"), ("time", "start")):
        times = table[column]
        if len(times) and not np.any(times.mask) and times.min() != times.max():
            of = set(map(str, table["time_of"]))
            return times.to_datetime(), f"{what} of the {of.pop() if len(of) == 1 else 'integration or exposure'} (UTC)"
    order = {name: number for number, name in enumerate(names, 1)}
    return np.asarray([order[str(name)] for name in table["name"]]) + shift, "exposure, in the order of the table"


def _version_label(row: Any) -> str:
    return f"{row['name']}, version {row['version']}"


def _note_more(axes: Any, versions: int) -> None:
    if versions > _MOST_LABELS:
        axes.plot([], [], " ", label=f"… {versions - _MOST_LABELS} more")
