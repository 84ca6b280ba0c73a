"""Pictures of a pixel's history: what stands on the axis, and what the legend says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from astropy.table import Table

from miripool.model.times import time_column
from miripool.pixels.plots import plot_pixel

START = datetime(2026, 1, 1, tzinfo=UTC)


def history(exposures: int, versions: int, *, times: bool = True, flagged: int = 0) -> Table:
    """Two integrations of each version of each exposure."""
    rows = [
        (f"exposure {e}", v, i, 100.0 + v, 1.0, flagged)
        for e in range(exposures)
        for v in range(versions)
        for i in (1, 2)
    ]
    table = Table(rows=rows, names=["name", "version", "integration", "rate", "err", "dq"])
    starts = [START + timedelta(days=int(row["name"].split()[1])) if times else None for row in table]
    table.add_column(time_column(starts), name="time")
    table.add_column(time_column([None] * len(starts)), name="mid_time")
    table["time_of"] = "exposure" if times else ""
    table.meta.update(kind="RateInts", x=41, y=809, detector="MIRIMAGE")
    return table


def texts(table: Table, folder: Path, **options: str) -> set[str]:
    """The texts in a picture, which an SVG file has as comments beside their shapes."""
    text = plot_pixel(table, folder / "a.svg", **options).read_text()
    return {part.partition(" -->")[0] for part in text.split("<!-- ")[1:]}


def test_a_colour_and_a_word_for_each_version(tmp_path: Path) -> None:
    found = texts(history(3, 2, flagged=1), tmp_path)
    assert {"version 0", "version 1", "flagged", "start of the exposure (UTC)"} <= found
    assert "RateInts of pixel x=41, y=809 of MIRIMAGE" in found


def test_one_version(tmp_path: Path) -> None:
    found = texts(history(3, 1), tmp_path)
    assert {"no flag set", "start of the exposure (UTC)"} <= found
    assert not {"version 0", "flagged"} & found


def test_versions_of_one_exposure_stand_at_their_integrations(tmp_path: Path) -> None:
    found = texts(history(1, 3), tmp_path)
    assert {"version 0", "version 1", "version 2", "integration"} <= found
    assert {"$\\mathdefault{1}$", "$\\mathdefault{2}$"} <= found or {"1", "2"} <= found
    assert "3" not in found


def test_exposures_without_times(tmp_path: Path) -> None:
    assert "exposure, in the order of the table" in texts(history(3, 2, times=False), tmp_path)


def test_many_versions(tmp_path: Path) -> None:
    found = texts(history(2, 12), tmp_path)
    assert "… 4 more" in found
    assert "version 7" in found
    assert "version 8" not in found


def test_a_title(tmp_path: Path) -> None:
    assert "of cal v1" in texts(history(2, 1), tmp_path, title="of cal v1")


def test_the_middle_of_integrations(tmp_path: Path) -> None:
    table = history(3, 1)
    middles = [
        START + timedelta(days=int(row["name"].split()[1]), seconds=9 * int(row["integration"])) for row in table
    ]
    table["mid_time"] = time_column(middles)
    table.replace_column("time_of", ["integration"] * 6)
    assert "middle of the integration (UTC)" in texts(table, tmp_path)
    table["time_of"] = ["integration"] * 5 + ["exposure"]
    assert "middle of the integration or exposure (UTC)" in texts(table, tmp_path)


def test_nothing_but_nan_is_drawn_at_its_time(tmp_path: Path) -> None:
    table = history(3, 1)
    table["rate"] = float("nan")
    found = texts(table, tmp_path)
    assert "6 of 6 have no finite rate" in found
    assert not any("1970" in text for text in found)
