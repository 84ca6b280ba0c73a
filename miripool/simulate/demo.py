"""Demo: the main jobs on simulated data, explained step by step."""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import MiripoolError
from ..model.kinds import Ramp, RateInts, Raw
from ..monitors import Event
from ..pipeline import Recipe, reprocess
from ..pool.core import core_of
from ..pool.ingest import ingest
from ..query import FullQuery, MetaQuery, PixelQuery
from . import SUBARRAYS, Calibration, simulate_campaign, simulate_lives, write_references

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..session.home import Home
    from ..session.pool import Pool
    from . import SimulatedExposure

    Tell = Callable[[str], None]

__all__ = ["run_demo"]

_NUMBER = 3
_CALIBRATIONS = (Calibration("v1", gain=5.5), Calibration("v2", gain=3.1))
_PIXEL = 41, 809
"""Column and row in the FULL array, 1-based."""


def run_demo(home: Home, tell: Tell, *, plot: Path | None = None) -> None:
    """Simulate exposures, calibrate them twice with the JWST pipeline, and ask questions of what came out.

    Parameters
    ----------
    home : Home
        Gets a pool ``demo``.
    tell : callable
        Called with each line of the explanation.
    plot : pathlib.Path, keyword-only, optional
        Where to draw a pixel's history; needs matplotlib.

    Raises
    ------
    PipelineError
        If the pipeline fails.
    """
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="miripool-demo-") as name, home.pool("demo", create=True) as pool:
        folder = Path(name)
        tell(f"pool 'demo' in {home.path}")
        exposures = _add(pool, folder, tell)
        for calibration in _CALIBRATIONS:
            _calibrate(pool, exposures[0], calibration, folder, tell)
        _ask(pool, tell)
        _follow(pool, exposures, tell)
        if plot is not None:
            _draw(pool, plot, tell)
        _trace(pool, exposures[-1].name, tell)
        _write_out(pool, exposures[0].name, folder, tell)
        _anneal(pool, folder, tell)
    tell(f"\nin {time.monotonic() - start:.0f} s")


def _add(pool: Pool, folder: Path, tell: Tell) -> list[SimulatedExposure]:
    tell(f"\n{_NUMBER} raw exposures of SUB64, 5 integrations of 20 groups, as the JPL test bench writes them:")
    exposures = list(
        simulate_campaign(
            _NUMBER,
            name="bench_{number:02d}",
            subarray="SUB64",
            nints=5,
            ngroups=20,
            start=datetime(2026, 1, 1, tzinfo=UTC),
        )
    )
    files = [exposure.write_jpl(folder) for exposure in exposures]
    for outcome in ingest(core_of(pool), [*files, files[-1]]):
        if outcome.error is not None:
            raise outcome.error
        tell(f"  {outcome.path.name}  {outcome.status:<10} {outcome.urn}")
    return exposures


def _calibrate(pool: Pool, exposure: SimulatedExposure, calibration: Calibration, folder: Path, tell: Tell) -> None:
    tag = f"using cal {calibration.label}"
    tell(f"\nreprocess: Detector1Pipeline with a gain of {calibration.gain} e/DN, tag {tag!r}:")
    recipe = Recipe(overrides=write_references(exposure, folder, calibration))
    for done in reprocess(core_of(pool), pool.select(Raw), recipe, tag=tag, jobs=2):
        if done.error is not None:
            raise done.error
        made = ", ".join(f"{ref.kind} version {ref.version} ({ref.stored_bytes} bytes stored)" for ref in done.refs)
        tell(f"  {done.raw.name}  {made}")


def _anneal(pool: Pool, folder: Path, tell: Tell) -> None:
    """Follow all pixels of a subarray through darks and an anneal."""
    start = datetime(2026, 2, 1, tzinfo=UTC)
    anneal = start + timedelta(days=10, hours=12)
    campaign = simulate_lives(
        20, name="dark_{number:02d}", nints=3, hours=24, start=start, lives={"hot": 200}, amplitude=(10, 25),
        anneals=(anneal,),
    )  # fmt: skip
    tell(f"\n{campaign.number} darks of SUB64, a day apart; an anneal heals each hot pixel with a probability of 0.3:")
    for outcome in pool.ingest(campaign.write_rateints(folder), pixels=False):
        if outcome.error is not None:
            raise outcome.error
    monitor = pool.create_monitor("darks", where="name like 'dark*'")
    tell(
        f"  monitor darks: {monitor.update().exposures} exposures, {len(monitor.states('hot'))} episodes of hot pixels"
    )
    monitor.add_events(Event(anneal, "anneal"))
    effects = monitor.effects()
    (hot,) = effects[effects["state"] == "hot"]
    tell(
        f"  anneal of {anneal:%Y-%m-%d}: {hot['healed']} of {hot['bad']} hot pixels healed, "
        f"{hot['healed_low']:.2f} to {hot['healed_high']:.2f} of all (95 %); {hot['born']} new ones"
    )
    mask = monitor.mask(anneal + timedelta(days=2))
    tell(f"  mask for two days later: {int(np.count_nonzero(mask.dq & 1))} pixels DO_NOT_USE")


def _ask(pool: Pool, tell: Tell) -> None:
    tell("\nqueries:")
    questions: list[tuple[str, object]] = [
        (
            "\"subarray == 'SUB64' and ngroups >= 20 and kind == 'Raw'\"",
            "subarray == 'SUB64' and ngroups >= 20 and kind == 'Raw'",
        ),
        (
            'MetaQuery(Ramp, "p", "\'using cal v1\' in p.tags", allVersions=True)',
            MetaQuery(Ramp, "p", "'using cal v1' in p.tags", allVersions=True),
        ),
        ('FullQuery(RateInts, "p", "p.data.max() > 100.0")', FullQuery(RateInts, "p", "p.data.max() > 100.0")),
        (
            'PixelQuery(RateInts, "ALL(rate > 100) and dq is null", at_least=50)',
            PixelQuery(RateInts, "ALL(rate > 100) and dq is null", at_least=50),
        ),
    ]
    for text, question in questions:
        tell(f"  select({text})")
        tell(f"    {_names(pool.select(question))}")


def _names(refs: Iterable[object]) -> str:
    return ", ".join(str(getattr(ref, "urn", ref)) for ref in refs) or "none"


def _follow(pool: Pool, exposures: list[SimulatedExposure], tell: Tell) -> None:
    x, y = _PIXEL
    pixel = pool.pixel(x, y)
    first = exposures[0]
    ramp = pool.ref(f"Ramp/{first.name}@using cal v1").product
    place = SUBARRAYS[first.subarray]
    r, c = y - place.ystart, x - place.xstart
    tell(f"\nthe ramp of pixel x={x}, y={y} in the first integration of {first.name}, read from one tile, DN:")
    tell("  " + " ".join(f"{value:.0f}" for value in ramp["SCI"][0, :, r, c]))
    for calibration in _CALIBRATIONS:
        tell(f"its rates through all exposures, DN/s, using cal {calibration.label}:")
        history = pixel.history(RateInts, tag=f"using cal {calibration.label}")
        for exposure in exposures:
            rows = [row for row in history if row["name"] == exposure.name]
            rates = " ".join(f"{row['rate']:.2f}±{row['err']:.2f}" for row in rows)
            tell(f"  {exposure.start:%Y-%m-%d}  {rates}   simulated: {exposure.truth.slopes[r, c]:.2f}")


def _draw(pool: Pool, plot: Path, tell: Tell) -> None:
    try:
        from ..pixels.plots import plot_pixel

        x, y = _PIXEL
        label = f"using cal {_CALIBRATIONS[0].label}"
        history = pool.pixel(x, y).history(RateInts, tag=label)
        path = plot_pixel(history, plot, title=f"RateInts of pixel x={x}, y={y}, {label}")
    except MiripoolError as error:
        tell(f"\nno plot: {error}")
        return
    tell(f"\nplot of its history, {label}: {path.absolute()}")


def _trace(pool: Pool, name: str, tell: Tell) -> None:
    tell(f"\nwhat RateInts/{name} was made from:")
    (root,) = pool.lineage(f"RateInts/{name}")
    for depth, node in enumerate(root.walk()):
        how = "".join(f"  by {step['tool']} {step['version']}" for step in node.history)
        tell(f"  {'  ' * depth}{node.row.kind}/{node.row.name}@{node.row.version}{how}")
    gain = next(change for change in pool.diff(f"RateInts/{name}@0", f"RateInts/{name}@1").elements)
    tell(f"what the other gain changed in it: {gain}")


def _write_out(pool: Pool, name: str, folder: Path, tell: Tell) -> None:
    path = pool.export(f"Raw/{name}", folder / "again.fits")
    same = (
        "the same bytes as" if path.read_bytes() == (folder / f"{name}.fits").read_bytes() else "NOT the same bytes as"
    )
    tell(f"\nRaw/{name} written out again: {same} the file that was added")
