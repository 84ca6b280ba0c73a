"""The page on a FULL ramp of 423 MB: how long an analyst waits, and how much memory the server takes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from homes import empty_home
from web import Served, serving

from miripool import Home
from miripool.simulate import Calibration, simulate_exposure

STEPS = 12


@pytest.fixture(scope="module")
def full_home(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("full")
    made = simulate_exposure("jw09999001001_02101_00001_mirimage", subarray="FULL", nints=5, ngroups=20, seed=3)
    with empty_home(folder / "home", database_url, "full") as home:
        with home.create("jpl8") as pool:
            for path in made.write_products(folder, Calibration("v1"), kinds=("ramp", "rateints")):
                pool.save(path)
                path.unlink()
        yield home


def memory(served: Served, what: str) -> int:
    """Give VmRSS or VmHWM of the server, bytes."""
    text = Path(f"/proc/{served.process.pid}/status").read_text()
    found = re.search(rf"{what}:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1]) * 1024


def until(tab: Any, script: str, seconds: float = 20) -> None:
    end = time.perf_counter() + seconds
    while not tab.evaluate(script):
        assert time.perf_counter() < end, script
        tab.wait_for_timeout(5)


@pytest.mark.timeout(600)
def test_a_full_ramp(full_home: Home, browser: Any, tmp_path: Path, figure: Callable[..., None]) -> None:
    with serving(tmp_path, "browse", "jpl8", "--no-open", home=full_home.path) as served:
        (row,) = served.get("api/pools/jpl8/products", kind="Ramp")["rows"]
        serial = row["urn"].rpartition(":")[2]
        before = memory(served, "VmRSS")
        tab = browser.new_page(viewport={"width": 1280, "height": 800})
        tab.goto(served.url)
        start = time.perf_counter()
        tab.goto(f"{served.base}?pool=jpl8&view=image&serial={serial}")
        until(tab, "document.querySelector('canvas')?.getAttribute('aria-label')?.includes('group 1')")
        figure("a FULL ramp's first group is shown", time.perf_counter() - start, "s")
        tab.locator("canvas").first.focus()
        taken = []
        for number in range(2, 2 + STEPS):
            start = time.perf_counter()
            tab.keyboard.press("]")
            until(tab, f"document.querySelector('canvas').getAttribute('aria-label').includes('group {number} ')")
            taken.append(time.perf_counter() - start)
        figure("the next group, median", sorted(taken)[STEPS // 2], "s")
        box = tab.locator("canvas").first.bounding_box()
        start = time.perf_counter()
        tab.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        until(tab, "document.querySelectorAll('aside .uplot, .panel .uplot, .uplot').length >= 2")
        shown = time.perf_counter() - start
        figure("a click on a pixel until ramps and history are shown", shown, "s")
        assert shown <= 0.5
        grown = memory(served, "VmHWM") - before
        figure("the server's memory grows by", grown / 1e6, "MB")
        assert grown < 250e6
        tab.close()
