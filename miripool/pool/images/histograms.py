"""Beside a frame: the histogram of its values, or how many pixels have each flag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .blocks import bands, bounded, sampled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = ["draw_flag_counts", "draw_histogram"]

_BINS: Final = 100
_MOST: Final = 12
"""Flags that are shown, the most frequent."""


def draw_histogram(axes: Axes, values: NDArray[Any], limits: tuple[float, float], label: str) -> None:
    """Draw the distribution of the values of a frame, and mark the limits of its colours.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Is empty.
    values : ndarray of float, shape (ny, nx)
        NaN and infinite values are left out.
    limits : tuple of float
        The limits; they are always within the axis, as are the central 99 percent of the values.
    label : str
        Of the values, with their unit.
    """
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel(label)
    axes.set_ylabel("pixels")
    some = bounded(sampled(values))
    some = some[np.isfinite(some)]
    low, high = (float(end) for end in np.percentile(some, (0.5, 99.5))) if some.size else limits
    room = 0.05 * (limits[1] - limits[0])
    ends = min(low, limits[0] - room), max(high, limits[1] + room)
    edges = np.linspace(*ends, _BINS + 1)
    counts, below, above = _counted(values, edges)
    axes.stairs(counts, edges, fill=True, color="0.75")
    axes.stairs(counts, edges, color="black", lw=0.8)
    axes.set_ylim(0.5, max(10.0, 2.0 * counts.max(initial=0)))
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlim(*ends)
    for limit in limits:
        axes.axvline(limit, color="C3", lw=1.3, ls="--")
    beyond = f"outside this histogram:\n{below:,} lower, {above:,} higher"
    axes.set_title(f"limits of the colours (dashed):\n{limits[0]:.5g} to {limits[1]:.5g}\n{beyond}", fontsize="small")
    axes.grid(alpha=0.3)


def _counted(values: NDArray[Any], edges: NDArray[np.float64]) -> tuple[NDArray[np.int64], int, int]:
    """Count the values in bins, below all of them, and above."""
    counts = np.zeros(len(edges) - 1, np.int64)
    below = above = 0
    for rows in bands(values.shape):
        known = bounded(values[rows])
        counts += np.histogram(known, len(counts), (edges[0], edges[-1]))[0]
        below += int(np.count_nonzero(known < edges[0]))
        above += int(np.count_nonzero(known > edges[-1]))
    return counts, below, above


def draw_flag_counts(axes: Axes, counts: Mapping[str, int]) -> None:
    """Draw how many pixels have each flag.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Is empty.
    counts : mapping of str to int
        By name, the most frequent first.
    """
    shown = dict(list(counts.items())[:_MOST])
    more = f"; {len(counts) - _MOST} rarer flags are not shown" if len(counts) > _MOST else ""
    axes.set_title(f"pixels with each flag{more}" if counts else "no pixel has a flag", fontsize="small")
    if not counts:
        axes.set_axis_off()
        return
    bars = axes.barh(range(len(shown)), list(shown.values()), color="0.6")
    axes.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize="small")
    axes.set_yticks(range(len(shown)), list(shown), fontsize="x-small")
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlim(0.5, 20 * max(shown.values()))
    axes.set_xscale("log")
    axes.set_xlabel("pixels")
    axes.xaxis.set_major_formatter("{x:,.0f}")
