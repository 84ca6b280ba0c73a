"""Beside a frame: the histogram of its values, or how many pixels have each flag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

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
    values : ndarray of float, one axis
        Finite.
    limits : tuple of float
        The limits; they are always within the axis, as are the central 99 percent of the values.
    label : str
        Of the values, with their unit.
    """
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel(label)
    axes.set_ylabel("pixels")
    low, high = (float(end) for end in np.percentile(values, (0.5, 99.5))) if values.size else limits
    room = 0.05 * (limits[1] - limits[0])
    ends = min(low, limits[0] - room), max(high, limits[1] + room)
    counts, edges = np.histogram(values.astype(np.float64), _BINS, ends)
    axes.stairs(counts, edges, fill=True, color="0.75")
    axes.stairs(counts, edges, color="black", lw=0.8)
    axes.set_ylim(0.5, max(10.0, 2.0 * counts.max(initial=0)))
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlim(*ends)
    for limit in limits:
        axes.axvline(limit, color="C3", lw=1.3, ls="--")
    beyond = [f"{int((values < ends[0]).sum()):,} below", f"{int((values > ends[1]).sum()):,} above the axis"]
    axes.set_title(
        f"limits of the colours (dashed):\n{limits[0]:.5g} to {limits[1]:.5g}\n{', '.join(beyond)}", fontsize="small"
    )
    axes.grid(alpha=0.3)


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
