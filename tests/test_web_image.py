"""The image and pixel views in a real browser: where a reader could be led astray; and what they ask the server for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from test_web_page import Page, page, serials, wait_for_frame
from typer.testing import CliRunner
from web import Served

from miripool import Home, Pool
from miripool.cli.app import app
from miripool.pool.images.frames import thumbnail

__all__ = ["page"]  # a fixture

PRODUCTS = "api/pools/jpl8/products"
LOW, HIGH = "[aria-label='Low limit']", "[aria-label='High limit']"


def state_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def click_middle(tab: Any) -> None:
    box = tab.locator("canvas[role=img]").first.bounding_box()
    tab.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def choose(tab: Any, value: str) -> None:
    """Choose a value of the only list that has it."""
    tab.locator(f"select:visible:has(option[value={value}])").select_option(value)


def empty_columns(picture: np.ndarray) -> list[int]:
    return [column for column in range(picture.shape[1]) if np.isnan(picture[:, column]).all()]


def dark(shown: Served, number: int) -> int:
    (row,) = shown.get(PRODUCTS, where=f"name == 'dark_{number:02d}'")["rows"]
    return int(row["urn"].rpartition(":")[2])


# The server


def test_pixels_of_all_versions(shown: Served, shown_home: Home) -> None:
    asked = {"kind": "RateInts", "condition": "rate > 100", "where": "name like 'jw*'", "limit": 4000}
    command = ["--home", str(shown_home.path), "pixels", "jpl8", "--where", "rate > 100", "--query", "name like 'jw*'"]
    for options, extra in (({}, []), ({"all_versions": "true"}, ["--all-versions"])):
        done = CliRunner().invoke(app, [*command, "--dq-names", "--limit", "4000", "--json", *extra])
        assert done.exit_code == 0, done.output
        found = shown.get("api/pools/jpl8/pixels", **asked, **options)
        assert found["rows"] == json.loads(done.stdout)
        assert {row["version"] for row in found["rows"]} == ({0, 1} if options else {1})


def test_the_description_of_pixels(shown: Served) -> None:
    told = shown.get("api/openapi.json")["paths"]["/api/pools/{pool}/pixels"]["get"]["parameters"]
    (all_versions,) = (one for one in told if one["name"] == "all_versions")
    assert "not only the newest" in all_versions["description"]


def test_values_of_a_pixel_leave_the_reference_output_out(shown: Served) -> None:
    (raw,) = serials(shown, "Raw")
    about = shown.get(f"{PRODUCTS}/{raw}/view")
    assert {"REFOUT", "SCI"} <= {dataset["name"] for dataset in about["datasets"]}
    assert (about["place"]["outputs"], about["place"]["reference_columns"]) == (4, 4)
    values = shown.get(f"{PRODUCTS}/{raw}/pixel", x=9, y=800)["values"]
    assert "SCI" in values
    assert "REFOUT" not in values


def test_thumbnails_leave_out_columns_that_see_no_sky(shown_home: Home) -> None:
    with shown_home.pool("jpl8") as pool:
        (ref,) = pool.select("kind == 'Raw'")
        product = ref.product
        picture = thumbnail(product)
        assert empty_columns(picture) == [0, 1]  # blocks of two columns, four of reference
        science = product["SCI"].astype(np.uint16)
        science[..., 68:] = 60_000
        bright = thumbnail(product.replace(SCI=science))
    assert empty_columns(bright) == [0, 1, 34, 35]
    np.testing.assert_array_equal(bright[:, :34], picture[:, :34])


def test_a_thumbnail_of_a_ground_test(shared_data: Path, pool: Pool) -> None:
    pool.ingest(shared_data / "jpl8" / "9001")
    (ramp,) = pool.select("kind == 'Ramp'")
    low, high = np.nanpercentile(thumbnail(ramp.product), (2, 98))
    assert 11_000 < low < high < 13_000  # columns at both edges have 13,700 and 16,600 DN


# Images


def test_the_next_exposure_has_all_settings(page: Page, shown: Served) -> None:
    tab = page.open(pool="jpl8", view="image", serial=dark(shown, 5))
    wait_for_frame(tab, "integration 1")
    choose(tab, "asinh")
    choose(tab, "viridis")
    tab.fill(LOW, "-3")
    tab.press(LOW, "Enter")
    tab.get_by_role("button", name="Next integration").click()
    wait_for_frame(tab, "integration 2")
    tab.get_by_role("button", name="Zoom in (key +)").click()
    link = tab.get_by_role("link", name="Next exposure")
    href = state_of(link.get_attribute("href"))
    link.click()
    wait_for_frame(tab, "dark_06")
    page.wait()
    wanted = {"scale": "asinh", "colours": "viridis", "limits": "manual", "lo": "-3", "integration": "2"}
    there = state_of(tab.url)
    assert wanted.items() <= there.items()
    assert {"zoom", "cx", "cy", "hi"} <= there.keys()
    assert href == there
    assert tab.input_value(LOW) == "-3"


def test_the_reference_output_is_no_pixel(page: Page, shown: Served) -> None:
    (raw,) = serials(shown, "Raw")
    tab = page.open(pool="jpl8", view="image", serial=raw, dataset="REFOUT")
    wait_for_frame(tab, "REFOUT")
    click_middle(tab)
    panel = tab.get_by_role("region", name="Marked pixel")
    panel.get_by_text("is the reference output").wait_for()
    told = panel.inner_text()
    found = re.search(r"REFOUT\[0, 0, (\d+), (\d+)\] is the reference output for x (\d+)\u2013(\d+), y (\d+)\.", told)
    assert found is not None, told
    row, column, first, last, y = map(int, found.groups())
    assert (first, last, y) == (4 * column + 1, 4 * column + 4, row + 779)
    assert f"reference output for x {first}\N{EN DASH}{last}, y {y}" in tab.locator(".iv-readout").inner_text()
    assert "pixel=" not in tab.url
    assert tab.locator(".uplot").count() == 0


def test_limits_leave_out_reference_pixels(page: Page, shown: Served, shown_home: Home) -> None:
    (raw,) = serials(shown, "Raw")
    tab = page.open(pool="jpl8", view="image", serial=raw, limits="p99")
    wait_for_frame(tab, "group 1")
    with shown_home.pool("jpl8") as pool:
        frame = pool.ref(f"urn:jpl8:Raw:{raw}").product["SCI"][0, 0]
    found = [float(tab.input_value(name)) for name in (LOW, HIGH)]
    np.testing.assert_allclose(found, np.percentile(frame[:, 4:], (0.5, 99.5)), rtol=1e-6)
    choose(tab, "minmax")
    tab.wait_for_timeout(100)
    assert [float(tab.input_value(name)) for name in (LOW, HIGH)] == [frame.min(), frame.max()]


SCIENCE = """async ([values, flags, x]) => {
    const { scienceValues } = await import("./static/image/sciencepixels.js");
    const place = { detector_columns: 1032, reference_columns: 4 };
    const frame = { values: Float32Array.from(values), nx: 24, ny: 8, x, y: 1, of: "detector" };
    return Array.from(scienceValues(frame, place, flags && Uint32Array.from(flags)), (v) => Number.isNaN(v) ? -1 : v);
}"""


def test_which_pixels_limits_are_counted_on(page: Page) -> None:
    frame = np.random.default_rng(2).integers(100, 200, (8, 24)).astype(float)

    def left_out(values: np.ndarray, flags: np.ndarray | None, x: int) -> list[int]:
        given = [values.ravel().tolist(), None if flags is None else flags.ravel().tolist(), x]
        return [place for place, value in enumerate(page.tab.evaluate(SCIENCE, given)) if value == -1]

    columns = np.tile(np.arange(24), (8, 1))
    assert left_out(frame, None, 401) == []
    assert left_out(frame, None, 1) == (columns < 4).ravel().nonzero()[0].tolist()
    assert left_out(frame, None, 1009) == (columns >= 20).ravel().nonzero()[0].tolist()
    bright = np.where(columns >= 20, 900.0, frame)
    assert left_out(bright, None, 401) == (columns >= 20).ravel().nonzero()[0].tolist()
    flags = np.where((columns == 7), 5, 4)
    assert left_out(frame, flags, 401) == (columns == 7).ravel().nonzero()[0].tolist()
    assert left_out(frame, np.ones_like(flags), 401) == []  # as in the first group of a ramp


def test_what_differs(page: Page, shown: Served) -> None:
    old, new = serials(shown, "RateInts")
    told = shown.get(f"{PRODUCTS}/{old}/diff/{new}")["words"]
    tab = page.open(pool="jpl8", view="compare", serial=new, **{"with": old}, pixel="41,809")
    section = tab.locator("details", has=tab.locator("summary", has_text="What differs"))
    section.locator("li").first.wait_for()
    assert section.locator("li").all_inner_texts() == told[:30]
    said = section.inner_text()
    assert "From the second, version 0 (using cal v1), to the first, version 1 (using cal v2): old → new." in said
    assert ("more" in said) == (len(told) > 30)
    values = [shown.get(f"{PRODUCTS}/{serial}/pixel", x=41, y=809)["values"]["SCI"] for serial in (new, old)]
    row = tab.locator(".px-values tr", has=tab.locator("th", has_text=re.compile("^SCI$")))
    row.wait_for()
    cells = [text.replace("\N{MINUS SIGN}", "-") for text in row.locator("td").all_inner_texts()]
    shown_values = [[float(part) for part in cell.split(", ")] for cell in cells]
    np.testing.assert_allclose(shown_values, values, rtol=1e-5)


def test_what_differs_is_folded_on_a_narrow_screen(page: Page, shown: Served) -> None:
    old, new = serials(shown, "RateInts")
    page.tab.set_viewport_size({"width": 390, "height": 844})
    tab = page.open(pool="jpl8", view="compare", serial=new, **{"with": old})
    summary = tab.locator("summary", has_text="What differs")
    summary.wait_for()
    section = tab.locator("details", has=summary)
    assert section.get_attribute("open") is None
    summary.click()
    section.locator("li").first.wait_for()


def test_wrongly_typed_limits(page: Page, shown: Served) -> None:
    tab = page.open(pool="jpl8", view="image", serial=serials(shown, "RateInts")[1])
    wait_for_frame(tab, "integration 1")
    before = [tab.input_value(name) for name in (LOW, HIGH)]
    for typed, complaint in (("abc", "“abc” is no number"), ("", "A limit is empty"), ("1e9", "1e9 is not below")):
        tab.fill(LOW, typed)
        tab.press(LOW, "Enter")
        assert complaint in tab.locator(".iv-complaint").inner_text()
        assert [tab.input_value(name) for name in (LOW, HIGH)] == before
    assert "limits=" not in tab.url


def test_one_flag_as_an_image(page: Page, shown: Served, shown_home: Home) -> None:
    new = serials(shown, "RateInts")[1]
    with shown_home.pool("jpl8") as pool:
        flags = pool.ref(f"urn:jpl8:RateInts:{new}").product["DQ"][0]
    tab = page.open(pool="jpl8", view="image", serial=new, dataset="DQ")
    wait_for_frame(tab, "any flag")
    caption = tab.locator(".iv-caption")
    assert caption.inner_text() == f"Any flag: set in {np.count_nonzero(flags):,} of {flags.size:,} px"
    assert not tab.locator(LOW).is_visible()
    choose(tab, "DO_NOT_USE")
    wait_for_frame(tab, "flag DO_NOT_USE")
    assert caption.inner_text() == f"Flag DO_NOT_USE: set in {np.count_nonzero(flags & 1):,} of {flags.size:,} px"
    tab.wait_for_url(re.compile("flag=DO_NOT_USE"))


def test_playing_keeps_the_limits(page: Page, shown: Served) -> None:
    tab = page.open(pool="jpl8", view="image", serial=serials(shown)[1])
    wait_for_frame(tab, "group 1")
    before = [tab.input_value(name) for name in (LOW, HIGH)]
    tab.get_by_role("button", name="Play: groups one after the other").click()
    for group in (2, 4, 6, 8):
        wait_for_frame(tab, f"group {group} of")
        assert [tab.input_value(name) for name in (LOW, HIGH)] == before
    tab.get_by_role("button", name="Pause").click()


# Pixels


def test_finding_uses_the_form(page: Page, shown: Served) -> None:
    tab = page.open(pool="jpl8", view="pixel")
    tab.get_by_label("Kind").select_option("Ramp")
    tab.get_by_label("All versions").check()
    tab.fill("[name=where]", "name like 'jw*'")
    tab.fill("[name=condition]", "sci > 20000")
    tab.get_by_role("button", name="Find pixels").click()
    page.wait()
    wanted = {"kind": "Ramp", "all_versions": "true", "where": "name like 'jw*'", "condition": "sci > 20000"}
    assert state_of(tab.url) == {"pool": "jpl8", "view": "pixel", **wanted}
    assert (tab.get_by_label("Kind").input_value(), tab.get_by_label("All versions").is_checked()) == ("Ramp", True)
    found = shown.get("api/pools/jpl8/pixels", limit=300, **wanted)
    rows = tab.locator(".px-found tbody tr")
    assert rows.count() == len(found["rows"]) > 0
    first = found["rows"][0]
    assert rows.first.locator("td").first.inner_text() == f"{first['x']}, {first['y']}"
    assert "(3 \N{MULTIPLICATION SIGN} 8)" in rows.first.inner_text()
    rows.first.get_by_role("link").first.click()
    page.wait()
    assert {**wanted, "x": str(first["x"]), "y": str(first["y"])}.items() <= state_of(tab.url).items()


def test_the_list_of_pixels_has_room(page: Page) -> None:
    tab = page.open(pool="jpl8", view="pixel", condition="rate > 5")
    box = tab.locator(".px-found").bounding_box()
    rows = tab.locator(".px-found tbody tr")
    assert rows.nth(11).bounding_box()["y"] < box["y"] + box["height"]
    assert all(row["height"] < 40 for row in (rows.nth(n).bounding_box() for n in range(12)))


def test_a_pixel_outside_is_no_failure(page: Page) -> None:
    page.may_be_refused = True
    tab = page.open(pool="jpl8", view="pixel", x=1000, y=900)
    told = tab.locator("p.empty").first
    told.wait_for()
    assert re.search("^None of the .* versions covers pixel x=1000, y=900; .*[.]$", told.inner_text())
    assert tab.locator("[role=alert]:visible").count() == 0
    assert tab.get_by_role("button", name="Try again").count() == 0


def test_in_how_many_groups_a_flag_is(page: Page, shown: Served) -> None:
    new = serials(shown)[1]
    told = shown.get(f"{PRODUCTS}/{new}/pixel", x=41, y=809)
    groups = told["values"]["GROUPDQ"][1]
    tab = page.open(pool="jpl8", view="image", serial=new, pixel="41,809", integration=2)
    row = tab.locator(".px-values tr", has=tab.locator("th", has_text="GROUPDQ"))
    row.wait_for()
    said = row.locator("td").inner_text()
    count = sum(value & 1 for value in groups)
    assert 0 < count < len(groups)
    assert f"integration 2: DO_NOT_USE in {count} of {len(groups)} groups" in said
