"""The page in a real browser: what an analyst does with mouse and keyboard, and what each view shows."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from web import Served

from miripool import Home

SIZES = {"wide": (1280, 800), "narrow": (390, 844)}
PICTURES = os.environ.get("MIRIPOOL_PICTURES")
"""Folder for the docs' pictures; none are kept unless it is given."""


_SHOWN = """
document.getElementById("page").dataset.shown === location.search
    && !document.querySelector(".waiting, [aria-busy=true]")
"""


class Page:
    """A tab of the browser; at its end nothing may have gone wrong in it."""

    def __init__(self, tab: Any, served: Served) -> None:
        self.tab = tab
        self.served = served
        self.faults: list[str] = []
        self.hosts: set[str] = set()
        self.may_be_refused = False
        """Whether answers with a status of 4xx belong to the test: the browser's console names each."""
        tab.on("console", self._hear)
        tab.on("pageerror", lambda error: self.faults.append(str(error)))
        tab.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))
        tab.goto(served.url)

    def _hear(self, told: Any) -> None:
        if told.type in ("error", "warning"):
            refused = re.match(r"Failed to load resource: the server responded with a status of 4\d\d", told.text)
            if not (refused and self.may_be_refused):
                self.faults.append(told.text)

    def open(self, **state: Any) -> Any:
        """Go to a state of the page, and wait until it is shown."""
        self.tab.goto(f"{self.served.base}?{urlencode(state)}")
        self.wait()
        return self.tab

    def wait(self) -> None:
        # Playwright's own waiting evaluates text, which the page's policy forbids.
        for _ in range(300):
            if self.tab.evaluate(_SHOWN):
                return
            self.tab.wait_for_timeout(50)
        raise AssertionError("the page still loads after 15 s")

    def check(self) -> None:
        assert self.faults == []
        assert self.hosts <= {f"127.0.0.1:{self.served.port}", ""}


@pytest.fixture
def page(browser: Any, shown: Served) -> Iterator[Page]:
    context = browser.new_context(viewport=dict(zip(("width", "height"), SIZES["wide"], strict=True)))
    context.set_default_timeout(15_000)
    made = Page(context.new_page(), shown)
    yield made
    context.close()
    made.check()


def serials(shown: Served, kind: str = "Ramp") -> list[int]:
    """Give the versions of the exposure in two calibrations."""
    asked = {"kind": kind, "where": "name like 'jw*'", "all_versions": "true", "order": "version"}
    return [int(row["urn"].rpartition(":")[2]) for row in shown.get("api/pools/jpl8/products", **asked)["rows"]]


def states(shown: Served) -> dict[str, dict[str, Any]]:
    """Give a state for each of the six views."""
    (_, new), rates = serials(shown), serials(shown, "RateInts")
    here = {"pool": "jpl8"}
    return {
        "table": {**here, "where": "ngroups >= 5"},
        "image": {**here, "view": "image", "serial": new, "group": 6, "pixel": "41,809"},
        "pixel": {**here, "view": "pixel", "x": 41, "y": 809},
        "version": {**here, "view": "version", "serial": new},
        "monitor": {**here, "view": "monitor", "name": "darks"},
        "compare": {**here, "view": "compare", "serial": rates[1], "with": rates[0], "mode": "difference"},
        "observations": {**here, "tab": "observations"},
        "help": {**here, "view": "help"},
    }


VIEWS = ("table", "image", "pixel", "version", "monitor", "compare", "observations", "help")


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("view", VIEWS)
def test_views(page: Page, shown: Served, view: str, size: str, tmp_path: Path) -> None:
    """Each is shown, without a fault, and is not wider than the window."""
    width, height = SIZES[size]
    page.tab.set_viewport_size({"width": width, "height": height})
    tab = page.open(**states(shown)[view])
    tab.wait_for_timeout(500)  # plots draw themselves after they have their values
    assert tab.locator("[role=alert]:visible").count() == 0
    assert tab.locator("h1").count() == 1
    assert tab.title() != ""
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    wanted = PICTURES is not None and size == "wide" and view in VIEWS[:6]
    folder = Path(PICTURES) if wanted and PICTURES else tmp_path
    picture = folder / f"browse-{view}.png"
    tab.screenshot(path=picture)
    assert picture.stat().st_size > 5000


def rows(tab: Any) -> list[str]:
    names: list[str] = tab.locator("table.versions tbody tr td.name").all_inner_texts()
    return names


_GREYS = """(canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const greys = Array.from({ length: data.length / 4 }, (_, i) => data[4 * i]).sort((a, b) => a - b);
    return [0.1, 0.5, 0.9].map((part) => greys[Math.floor(part * greys.length)]);
}"""


@pytest.mark.parametrize("kind", ["Raw", "Ramp", "RateInts", "Rate"])
def test_thumbnails_show_more_than_the_stars(page: Page, shown: Served, kind: str, tmp_path: Path) -> None:
    tab = page.open(pool="jpl8", where=f"kind == '{kind}' and name like 'jw*'")
    tab.locator("canvas.thumbnail[aria-label=thumbnail]").first.wait_for()
    tab.screenshot(path=tmp_path / "thumbnails.png")
    dark, middle, bright = tab.locator("canvas.thumbnail").first.evaluate(_GREYS)
    assert 40 < middle < 200
    assert bright - dark > 40


def test_tags_on_a_selected_row(page: Page, shown: Served, tmp_path: Path) -> None:
    """A label has an edge: its ground is the row's."""
    tab = page.open(pool="jpl8", where="'using cal v1' in tags")
    row = tab.locator("table.versions tbody tr", has=tab.locator(".chip")).first
    row.locator("input[type=checkbox]").check()
    row.screenshot(path=tmp_path / "selected.png")
    assert "inset" in row.locator(".chip").first.evaluate("(chip) => getComputedStyle(chip).boxShadow")


def test_ask_sort_and_page(page: Page, shown: Served) -> None:
    tab = page.open(pool="jpl8")
    tab.fill("#where", "name like 'dark_*'")
    tab.press("#where", "Enter")
    page.wait()
    tab.get_by_role("button", name=re.compile("date")).click()
    page.wait()
    assert rows(tab) == [f"dark_{n:02d}" for n in range(1, 21)]
    tab.get_by_role("button", name=re.compile("date")).click()
    tab.get_by_role("columnheader", name=re.compile("date.*▼")).wait_for()
    page.wait()
    assert rows(tab)[0] == "dark_20"
    tab.get_by_label("Rows on a page").select_option("25")
    page.wait()
    tab.fill("#row", "6")
    tab.press("#row", "Enter")
    page.wait()
    assert rows(tab)[0] == "dark_15"
    assert "offset=5" in tab.url
    here = tab.url
    tab.reload()
    page.wait()
    assert (rows(tab)[0], tab.url) == ("dark_15", here)
    tab.go_back()
    page.wait()
    assert rows(tab)[0] == "dark_20"


def test_an_error_in_the_condition(page: Page) -> None:
    page.may_be_refused = True
    tab = page.open(pool="jpl8")
    before = rows(tab)
    tab.fill("#where", "ngroups >> 3")
    tab.press("#where", "Enter")
    problem = tab.locator("div.problem:visible")
    problem.wait_for()
    assert "at column 9" in problem.inner_text()
    assert tab.evaluate("document.getElementById('where').selectionStart") == 8
    assert rows(tab) == before  # the table stays


def test_columns_of_choice(page: Page) -> None:
    page.may_be_refused = True
    tab = page.open(pool="jpl8", kind="Ramp")
    tab.get_by_role("button", name="Columns").click()
    tab.get_by_label("Add", exact=True).fill("NOSUCHKEY")
    tab.get_by_role("button", name="Show", exact=True).click()
    tab.get_by_role("dialog").get_by_text("NOSUCHKEY").last.wait_for()
    tab.get_by_role("button", name="Leave out NOSUCHKEY").click()
    tab.get_by_label("Add", exact=True).fill("R_GAIN")
    tab.get_by_role("button", name="Show", exact=True).click()
    tab.get_by_role("columnheader", name="R_GAIN").wait_for()
    page.wait()
    tab.locator("button.fold").click()
    tab.locator("tr.below").wait_for()
    gains = [tab.locator("tbody tr").nth(i).locator("td").nth(3).inner_text() for i in range(2)]
    assert len(set(gains)) == 2  # the older version shows its own
    assert "--columns name,R_GAIN," in tab.locator("details.same").text_content()


def test_a_right_click_beside_the_selection_is_for_that_row(page: Page) -> None:
    tab = page.open(pool="jpl8", where="name like 'dark_*'", order="name")
    for number in range(2):
        tab.locator("tbody input[type=checkbox]").nth(number).check()
    tab.locator("tbody tr").nth(5).click(button="right")
    tab.get_by_role("menuitem", name=re.compile("Remove")).click()
    told = tab.get_by_role("dialog")
    told.get_by_text("RateInts/dark_06").wait_for()
    assert "dark_01" not in told.inner_text()
    tab.get_by_role("button", name="Cancel").click()
    tab.locator("tbody tr").nth(5).click(button="right")
    tab.get_by_role("menuitem", name="Tag …", exact=True).wait_for()
    assert tab.locator("tbody input:checked").count() == 1


def test_tags_are_completed(page: Page) -> None:
    tab = page.open(pool="jpl8")
    tab.locator("#where").press_sequentially("'using")
    tab.get_by_role("option", name=re.compile("using cal v1")).wait_for()
    tab.keyboard.press("Tab")
    assert tab.input_value("#where") == "'using cal v1' in tags"


def test_completion(page: Page) -> None:
    tab = page.open(pool="jpl8")
    tab.locator("#where").press_sequentially("ngro")
    tab.get_by_role("option", name=re.compile("ngroups", re.IGNORECASE)).first.wait_for()
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Enter")
    assert tab.input_value("#where").lower().startswith("ngroups")
    tab.fill("#where", "")
    tab.locator("#where").press_sequentially("detector == 'MIR")
    tab.get_by_role("option", name=re.compile("MIRIMAGE")).first.wait_for()
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Tab")
    assert tab.input_value("#where") == "detector == 'MIRIMAGE'"


def test_nothing_found_says_why(page: Page) -> None:
    tab = page.open(pool="jpl8", where="ngroups > 1000")
    assert "Nothing found" in tab.locator("p.empty").inner_text()
    tab.get_by_role("button", name="Explain").click()
    assert "NGROUPS ranges from 8 to" in tab.get_by_role("dialog").inner_text()


def test_facets_narrow(page: Page, shown: Served) -> None:
    tab = page.open(pool="jpl8")
    tab.locator("button.facet", has_text="RateInts").click()
    page.wait()
    expected = shown.get("api/pools/jpl8/products", kind="RateInts")["total"]
    assert tab.locator(".toolbar strong").inner_text() == f"{expected} rows"
    assert tab.locator("button.facet[aria-pressed=true]").inner_text().startswith("RateInts")
    assert tab.locator("button.facet", has_text="Rate").count() >= 2  # another kind can be chosen
    tab.locator("button.chip").click()
    page.wait()
    assert "kind=" not in tab.url


def test_versions_fold_out(page: Page) -> None:
    tab = page.open(pool="jpl8", kind="Ramp")
    tab.locator("button.fold").click()
    tab.locator("tr.below").wait_for()
    assert tab.locator("tr.below").count() == 1
    tab.locator("button.fold").click()
    assert tab.locator("tr.below").count() == 0


def test_tag_three_rows_and_undo(page: Page, shown: Served, shown_home: Home) -> None:
    tab = page.open(pool="jpl8", where="name like 'dark_*'", order="name")
    for number in range(3):
        tab.locator("tbody input[type=checkbox]").nth(number).check()
    tab.locator("tbody tr").nth(1).click(button="right")
    tab.get_by_role("menuitem", name="Tag …", exact=True).click()
    tab.get_by_role("combobox", name="Tag").fill("three <b>rows")
    tab.get_by_role("button", name="Tag", exact=True).click()
    tab.get_by_text("newly marks 3 versions").wait_for()
    with shown_home.pool("jpl8") as pool:
        assert [ref.name for ref in pool.tagged("three <b>rows")] == ["dark_01", "dark_02", "dark_03"]
        tab.get_by_role("button", name="Undo").click()
        tab.get_by_text("Undone").wait_for()
        assert not pool.tag_exists("three <b>rows")


def test_remove_and_undo(page: Page, shown_home: Home) -> None:
    tab = page.open(pool="jpl8", where="name == 'dark_07'")
    tab.locator("tbody tr").first.focus()
    tab.keyboard.press("Shift+F10")
    tab.get_by_role("menuitem", name=re.compile("Remove")).click()
    tab.get_by_role("button", name="Remove", exact=True).click()
    tab.get_by_text("put into the trash").wait_for()
    with shown_home.pool("jpl8") as pool:
        assert "dark_07" in {ref.name for ref in pool.trash()}
        tab.get_by_role("button", name="Undo").click()
        tab.get_by_text("Undone").wait_for()
        assert "dark_07" not in {ref.name for ref in pool.trash()}


def test_a_saved_question(page: Page) -> None:
    tab = page.open(pool="jpl8", where="ngroups >= 5")
    tab.get_by_label("Saved questions").select_option("save")
    tab.get_by_label("Name").fill("long ones")
    tab.get_by_role("button", name="Save", exact=True).click()
    page.open(pool="jpl8")
    tab.get_by_label("Saved questions").select_option("ask long ones")
    page.wait()
    assert tab.input_value("#where") == "ngroups >= 5"


def test_metadata_are_searched(page: Page, shown: Served) -> None:
    tab = page.open(pool="jpl8", view="version", serial=serials(shown)[0])
    tab.get_by_label("Search keywords").fill("ngroups")
    values = tab.locator(".keywords tbody tr").all_inner_texts()
    assert any("NGROUPS" in value and "8" in value for value in values)
    assert len(values) < 10


def test_lineage_leads_to_the_raw(page: Page, shown: Served) -> None:
    tab = page.open(pool="jpl8", view="version", serial=serials(shown, "RateInts")[1])
    tab.locator("svg.lineage a", has_text="Raw").click()
    page.wait()
    assert tab.locator("h1").inner_text().startswith("Raw/jw01033005001_03103_00001_mirimage")


HOSTILE = {
    "a pool that is not there": {"pool": "none"},
    "a version that is not there": {"pool": "jpl8", "view": "version", "serial": 999999},
    "a version that is no number": {"pool": "jpl8", "view": "version", "serial": "<script>alert(1)</script>"},
    "an image of nothing": {"pool": "jpl8", "view": "image", "serial": 999999},
    "a comparison with nothing": {"pool": "jpl8", "view": "compare", "serial": 0, "with": 999999},
    "a pixel outside": {"pool": "jpl8", "view": "pixel", "x": 5000, "y": -3},
    "a monitor that is not there": {"pool": "jpl8", "view": "monitor", "name": "no ' \" such"},
    "a view that is not there": {"pool": "jpl8", "view": "nothing"},
    "a predicate of another language": {"pool": "jpl8", "where": "'; DROP TABLE product; --"},
    "a tag that is not there": {"pool": "jpl8", "tag": "<img src=x onerror=alert(1)>"},
    "a sort by nothing": {"pool": "jpl8", "order": "no such"},
    "a column that is not there": {"pool": "jpl8", "columns": "NOSUCH1,😀"},
}


@pytest.mark.parametrize("what", HOSTILE)
def test_addresses_of_nothing(page: Page, what: str) -> None:
    """Each gives a sentence on the page, and the page goes on."""
    page.may_be_refused = True
    tab = page.open(**HOSTILE[what])
    told = tab.locator("[role=alert]:visible").first
    told.wait_for()
    assert len(told.inner_text()) > 20
    assert "fault" not in told.inner_text()
    page.open(pool="jpl8")
    assert len(rows(tab)) > 20


def test_values_are_astropys(page: Page, shown: Served, shown_home: Home) -> None:
    (_, new) = serials(shown)
    tab = page.open(pool="jpl8", view="image", serial=new, integration=2, group=7)
    with shown_home.pool("jpl8") as pool:
        expected = pool.ref(f"urn:jpl8:Ramp:{new}").to_hdulist()["SCI"].data[1, 6]
    values = tab.evaluate(
        """async ([path]) => {
            const { getArray } = await import("./static/api.js");
            const { values, shape } = await getArray(path, { dataset: "SCI", index: "1,6" });
            return [Array.from(values), shape];
        }""",
        [f"api/pools/jpl8/products/{new}/frame"],
    )
    np.testing.assert_array_equal(np.array(values[0], np.float32).reshape(values[1]), expected)


def shown_frame(tab: Any) -> str:
    """Give what the image says that it shows."""
    label: str = tab.locator("canvas[role=img]").first.get_attribute("aria-label")
    return label


def wait_for_frame(tab: Any, words: str) -> None:
    tab.locator(f"canvas[role=img][aria-label*='{words}']").first.wait_for()


def test_step_through_groups_and_click_a_pixel(page: Page, shown: Served) -> None:
    (_, new) = serials(shown)
    tab = page.open(pool="jpl8", view="image", serial=new)
    wait_for_frame(tab, "group 1")
    tab.locator("canvas[role=img]").first.focus()
    tab.keyboard.press("]")
    wait_for_frame(tab, "group 2")
    tab.keyboard.press("}")
    wait_for_frame(tab, "integration 2")
    tab.wait_for_url(re.compile(r"integration=2.*group=2|group=2.*integration=2"))
    box = tab.locator("canvas[role=img]").first.bounding_box()
    tab.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.locator(".uplot").nth(1).wait_for()
    assert re.search(r"pixel=\d+%2C\d+", tab.url)
    page.wait()
    here = tab.url
    tab.reload()
    wait_for_frame(tab, "group 2")
    tab.locator(".uplot").nth(1).wait_for()
    assert tab.url == here


def test_the_value_under_the_pointer(page: Page, shown: Served, shown_home: Home) -> None:
    (_, new) = serials(shown, "RateInts")
    tab = page.open(pool="jpl8", view="image", serial=new, pixel="41,809")
    wait_for_frame(tab, "integration 1")
    box = tab.locator("canvas[role=img]").first.bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 2 + 3, box["y"] + box["height"] / 2 + 3)
    told = tab.locator(".iv-readout, [class*=readout]").first.inner_text()
    found = re.search(r"SCI\[0, (\d+), (\d+)\]", told)
    assert found is not None, told
    y, x = int(found[1]), int(found[2])
    assert f"x {x + 1}" in told
    assert f"y {y + 779}" in told
    with shown_home.pool("jpl8") as pool:
        value = pool.ref(f"urn:jpl8:RateInts:{new}").product["SCI"][0, y, x]
    assert float(told.split()[0].replace("\N{MINUS SIGN}", "-")) == pytest.approx(value, rel=1e-4, nan_ok=True)


def test_blink_two_calibrations(page: Page, shown: Served) -> None:
    old, new = serials(shown, "RateInts")
    tab = page.open(pool="jpl8", view="compare", serial=new, **{"with": old}, mode="blink")
    page.wait()
    tab.locator("canvas[role=img]").first.focus()
    seen = set()
    for _ in range(40):
        seen.add(shown_frame(tab))
        if len(seen) > 1:
            break
        tab.keyboard.press("b")
        tab.wait_for_timeout(100)
    assert len(seen) > 1
    assert any("version 0" in label for label in seen)
    assert any("version 1" in label for label in seen)


def test_a_point_of_a_history_opens_its_exposure(page: Page, shown: Served) -> None:
    tab = page.open(pool="jpl8", view="pixel", x=41, y=809)
    tab.locator(".uplot").first.wait_for()
    tab.get_by_role("button", name="Table").first.click()
    tab.locator("button.plain-link").first.click()
    tab.wait_for_url(re.compile("view=image"))
    page.wait()
    assert "view=image" in tab.url
    assert "pixel=41%2C809" in tab.url


def test_a_pixel_of_the_map_leads_to_its_page(page: Page, shown: Served) -> None:
    tab = page.open(pool="jpl8", view="monitor", name="darks")
    tab.locator("table a[href*='view=pixel'], table tr[data-href], table button").first.wait_for()
    assert tab.locator(".uplot").count() >= 2
    assert "anneal" in tab.locator("main").inner_text()


@pytest.mark.slow
@pytest.mark.parametrize("view", VIEWS)
def test_nothing_hinders_those_who_cannot_see_well(page: Page, shown: Served, view: str) -> None:
    """By axe-core's rules for WCAG 2: no fault that it calls serious or critical."""
    package = pytest.importorskip("axe_playwright_python")
    tab = page.open(**states(shown)[view])
    tab.wait_for_timeout(500)
    tab.evaluate((Path(package.__file__).parent / "axe.min.js").read_text())
    found = tab.evaluate("axe.run()")
    assert len(found["passes"]) > 10
    assert [
        (one["id"], one["nodes"][0]["html"]) for one in found["violations"] if one["impact"] in ("serious", "critical")
    ] == []
