"""Demo: the main job on data that it makes itself, told step by step."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from .home import Home
from .product import Ramp, RateInts
from .query import FullQuery, MetaQuery
from .simulate import Calibration, simulate_exposure

if TYPE_CHECKING:
    from collections.abc import Callable

    from .pool import Pool
    from .simulate import SimulatedExposure

__all__ = ["run_demo"]

_NAME = "jw01033005001_03103_00001_mirimage"
_DATE = datetime(2026, 1, 1, tzinfo=UTC)
"""For the card DATE: another run of the demonstration makes the same files."""
_CALIBRATIONS = (Calibration("v1", gain=5.5), Calibration("v2", gain=3.1, crds_context="jwst_9002.pmap"))


def run_demo(home: Home, tell: Callable[[str], None]) -> None:
    """Simulate an exposure, keep it in two calibrations, and ask questions of it.

    Parameters
    ----------
    home : Home
        Gets a pool ``demo``.
    tell : callable
        Is told what was done, line by line.
    """
    with tempfile.TemporaryDirectory(prefix="miripool-demo-") as folder, home.pool("demo", create=True) as pool:
        tell(f"pool 'demo' in {home.path}")
        exposure = simulate_exposure(_NAME, subarray="SUB64", nints=5, ngroups=20, seed=1)
        _add(pool, exposure, Path(folder), tell)
        _ask(pool, tell)
        _read(pool, exposure, tell)
        _write_out(pool, Path(folder), tell)


def _add(pool: Pool, exposure: SimulatedExposure, folder: Path, tell: Callable[[str], None]) -> None:
    tell("\nan exposure of 5 integrations of 20 groups, raw and in two calibrations:")
    files: list[tuple[Path, str | None]] = [(exposure.write_uncal(folder, date=_DATE), None)]
    for calibration in _CALIBRATIONS:
        inside = folder / calibration.label
        inside.mkdir()
        written = exposure.write_products(inside, calibration, kinds=("ramp", "rateints"), date=_DATE)
        files += [(path, f"using cal {calibration.label}") for path in written]
    for path, tag in [*files, files[-1]]:
        saved = pool.save_detailed(path, tag=tag)
        words = saved.notice or ("new" if saved.status == "new" else "a further version")
        tagged = f", tagged {tag!r}" if tag else ""
        tell(
            f"  {path.name:<52} {path.stat().st_size:>8} bytes: {saved.row.kind} version {saved.row.version}, {words}, "
            f"{saved.stored_bytes} bytes stored{tagged}"
        )


def _ask(pool: Pool, tell: Callable[[str], None]) -> None:
    tell("\nquestions:")
    questions: list[tuple[str, object]] = [
        ("\"ngroups >= 20 and detector == 'MIRIMAGE'\"", "ngroups >= 20 and detector == 'MIRIMAGE'"),
        (
            'MetaQuery(Ramp, "p", "\'using cal v1\' in p.tags", allVersions=True)',
            MetaQuery(Ramp, "p", "'using cal v1' in p.tags", allVersions=True),
        ),
        ('FullQuery(RateInts, "p", "p.data.max() > 100.0")', FullQuery(RateInts, "p", "p.data.max() > 100.0")),
    ]
    for text, question in questions:
        refs = pool.select(question)
        tell(f"  select({text})")
        for ref in refs:
            tell(f"    {ref.urn:<22} {ref.kind:<9} version {ref.version}  tags: {', '.join(ref.tags) or 'none'}")


def _read(pool: Pool, exposure: SimulatedExposure, tell: Callable[[str], None]) -> None:
    y, x = 30, 40
    ramp = pool.ref(f"Ramp/{_NAME}").product
    tell(f"\nthe ramp of row {y}, column {x} (0-based in the subarray) in integration 0, read from one tile, DN:")
    tell("  " + " ".join(f"{value:.0f}" for value in ramp["SCI"][0, :, y, x]))
    for label in ("using cal v1", "using cal v2"):
        rates = pool.ref(f"RateInts/{_NAME}@{label}").product
        shown = " ".join(f"{value:.2f}" for value in rates["SCI"][:, y, x])
        tell(f"  its rate in each integration, {label}: {shown} {rates.data.unit}")
    tell(f"  what was simulated: {exposure.truth.slopes[y, x]:.2f} DN/s")


def _write_out(pool: Pool, folder: Path, tell: Callable[[str], None]) -> None:
    path = pool.export(f"RateInts/{_NAME}@using cal v1", folder / "again.fits")
    original = folder / "v1" / f"{_NAME}_rateints.fits"
    same = "the same bytes as" if path.read_bytes() == original.read_bytes() else "NOT the same bytes as"
    tell(f"\nRateInts version 0 written out again: {same} the file that was added")
