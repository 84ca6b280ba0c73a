"""What notebooks show of pools, products, lineage."""

from __future__ import annotations

from pathlib import Path

import homes
import numpy as np
import pytest

from miripool import Context, Pool, Ramp, Rate

home = homes.home


@pytest.fixture
def filled(pool: Pool, simulated: Path) -> Pool:
    pool.ingest([*(simulated / "uncal").iterdir(), *(simulated / "v1").iterdir()], pixels=False, tag="<b>")
    return pool


def test_a_pool(filled: Pool) -> None:
    shown = filled._repr_html_()
    assert shown.startswith("<p>Pool jpl8</p><table><tr><th>kind</th>")
    assert shown.count("<tr>") == 6  # the head, Raw, Ramp, RateInts, Rate, Exposure
    assert "<td>RateInts</td><td>1</td><td>1</td>" in shown


def test_an_empty_pool(pool: Pool) -> None:
    assert pool._repr_html_().count("<tr>") == 1


def test_products(pool: Pool) -> None:
    product = Ramp({"BUNIT": "DN"}, {"SCI": np.zeros((1, 2, 3, 4), "f4")}, name="a <b>")
    shown = product._repr_html_()
    assert "<p>Ramp a &lt;b&gt;</p>" in shown
    assert "<td>SCI</td><td>float32</td><td>(1, 2, 3, 4)</td>" in shown
    pool.save(Rate({}, {"SCI": np.zeros((3, 4), "f4")}, name="r"))
    context = pool.save(Context({"the rate": "Rate/r"}, name="c")).product
    assert "<td>the rate</td><td>Rate/r@0</td>" in context._repr_html_()


def test_lineage(filled: Pool) -> None:
    (ref,) = filled.select("kind == 'RateInts'")
    shown = filled.lineage(ref)._repr_html_()
    assert shown.count("<li>") >= 3
    assert f"<b>RateInts/{ref.name}@0</b> [&lt;b&gt;]" in shown
    assert shown.index("Raw/") < shown.index("Ramp/") < shown.index("RateInts/")


def test_lineage_in_a_terminal(filled: Pool) -> None:
    (ref,) = filled.select("kind == 'RateInts'")
    lineage = filled.lineage(ref)
    raw, ramp, rateints = str(lineage).splitlines()[:3]
    assert raw == f"Raw/{ref.name}@0  [<b>]"
    assert ramp.startswith(f"    Ramp/{ref.name}@0  [<b>]  ")
    assert rateints.startswith(f"        RateInts/{ref.name}@0  [<b>]")
    assert rateints.endswith("← this")
    assert repr(lineage) == f"<Lineage>\n{lineage}"
