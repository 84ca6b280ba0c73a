"""The life of one pixel, and the plots of a monitor: what they say, and what they refuse."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from homes import call, empty_home

from miripool import Pool
from miripool.errors import FileMissing, InvalidInput
from miripool.formats import read_fits
from miripool.monitors import PLOTS, Event, PixelLife, PixelMonitor
from miripool.simulate import LivesCampaign, simulate_lives

NUMBER = 20
LIVES = {"step": 10, "hot": 20, "rts": 15, "drift": 10, "unstable": 10}
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def campaign() -> LivesCampaign:
    return simulate_lives(
        NUMBER, name="dark_{number:03d}", nints=4, lives=LIVES, amplitude=(15, 30), start=START, seed=5
    )


@pytest.fixture(scope="module")
def settling() -> LivesCampaign:
    """Few exposures whose first integrations are off, in another stratum."""
    return simulate_lives(6, name="slow_{number:03d}", nints=4, readpatt="FAST", lives={}, settling=2.0, start=START)


@pytest.fixture(scope="module")
def pool(
    campaign: LivesCampaign, settling: LivesCampaign, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pool]:
    """A pool with monitors: of all exposures, of a region, and of none."""
    folder = tmp_path_factory.mktemp("lives")
    files = [path for made in (campaign, settling) for path in made.write_rateints(folder, date=START)]
    with pytest.MonkeyPatch.context() as patch, empty_home(folder / "home", database_url, "lives") as home:
        patch.setenv("MIRIPOOL_HOME", str(folder / "home"))
        with home.create("jpl8") as made:
            for outcome in made.ingest(files, pixels=False):
                assert outcome.error is None
            made.create_monitor("dark").update()
            made.create_monitor("part", where="name < 'dark_003'", region="10:20,780:789").update()
            made.create_monitor("one", where="name == 'dark_001'").update()
            made.create_monitor("empty", where="name == 'nothing'").update()
            yield made


@pytest.fixture
def monitor(pool: Pool) -> PixelMonitor:
    return pool.monitor("dark")


def places(campaign: LivesCampaign, state: str) -> list[tuple[int, int]]:
    return [(int(row["x"]), int(row["y"])) for row in campaign.truth.lives if row["state"] == state]


def life_of(monitor: PixelMonitor, campaign: LivesCampaign, state: str) -> PixelLife:
    """The life of a pixel with a state that the monitor found."""
    found = {(row["x"], row["y"]) for row in monitor.states(state)}
    return monitor.life(*next(place for place in places(campaign, state) if place in found))


def texts(path: Path) -> set[str]:
    """The texts in a picture, which an SVG file has as comments beside their shapes."""
    return {part.partition(" -->")[0] for part in path.read_text().split("<!-- ")[1:]}


def test_rates_are_those_of_the_exposures(
    monitor: PixelMonitor, campaign: LivesCampaign, settling: LivesCampaign
) -> None:
    life = monitor.life(30, 800)
    fast, settled = sorted(life.courses, key=lambda course: course.stratum.readpatt)
    assert (fast.stratum.readpatt, settled.stratum.readpatt) == ("FAST", "FASTR1")
    assert (fast.first_counts, settled.first_counts) == (False, True)
    for course, made, begin in ((fast, settling, 1), (settled, campaign, 0)):
        assert list(course.times) == list(made.times)
        for i in range(made.number):
            exposure = made.rates(i)
            slopes, errors = exposure.sci[:, 21, 29], exposure.err[:, 21, 29]
            assert course.first[i] == pytest.approx(slopes[0], rel=1e-5) or np.isnan(course.first[i])
            if course.integrations[i] == 4 - begin:  # no hit was rejected
                assert course.rate[i] == pytest.approx(slopes[begin:].mean(), rel=1e-4, abs=1e-4)
                assert course.error[i] == pytest.approx(errors[1:].mean() / (4 - begin) ** 0.5, rel=0.05)
        assert (course.integrations == 4 - begin).mean() > 0.8


@pytest.mark.slow
def test_the_pixels_around_it(monitor: PixelMonitor) -> None:
    for course in monitor.life(30, 800).courses:
        last = monitor.ref.product[f"RATE{course.number}"][...]
        assert course.rate[-1] == pytest.approx(last[21, 29], rel=1e-5)
        assert course.level[-1] == pytest.approx(np.nanmedian(last[:32, :36]), rel=1e-5)
        beside = (last[21, 28], last[21, 30], last[20, 29], last[22, 29])
        assert course.beside[-1] == pytest.approx(beside, rel=1e-5, nan_ok=True)
    for corner in ((5, 779), (72, 842)):
        assert np.isnan(monitor.life(*corner).courses[0].beside[0]).sum() >= 2


@pytest.mark.slow
def test_states_are_those_of_the_monitor(monitor: PixelMonitor, campaign: LivesCampaign) -> None:
    for state in ("hot", "rts", "drift"):
        life = life_of(monitor, campaign, state)
        episodes, told = life.episodes(), monitor.states(pixel=(life.x, life.y))
        assert list(episodes["state"]) == list(told["state"])
        for name in ("amplitude", "error", "significance", "exposures"):
            assert list(episodes[name]) == list(told[name])
        assert list(episodes["begin"].isot) == list(told["begin"].isot)
        for row in life.records():
            at = monitor.states(at=row["time"], pixel=(life.x, life.y))
            there = [episode["state"] for episode in at if episode["stratum"] == row["stratum"]] if len(at) else []
            assert row["state"] == "|".join(there)


@pytest.mark.slow
def test_a_hot_pixel_as_it_was_injected(monitor: PixelMonitor, campaign: LivesCampaign) -> None:
    life = life_of(monitor, campaign, "hot")
    (truth,) = (row for row in campaign.truth.lives if (row["x"], row["y"]) == (life.x, life.y))
    course = max(life.courses, key=lambda course: len(course.times))
    hot = np.array([course.state_at(i) == "hot" for i in range(NUMBER)])
    meant = np.arange(NUMBER)
    meant = (truth["first"] <= meant) & (meant < truth["end"])
    assert (hot != meant).sum() <= 1
    excess = course.rate - course.level
    assert excess[meant].mean() - excess[~meant].mean() == pytest.approx(truth["amplitude"], rel=0.2)


def test_tables(monitor: PixelMonitor) -> None:
    life = monitor.life(np.int32(30), 800)  # type: ignore[arg-type]
    table = life.exposures()
    assert len(table) == NUMBER + 6
    assert {"urn", "time", "rate", "error", "integrations", "state", "level", "first"} <= set(table.colnames)
    assert table["rate"].unit == "DN / s"
    assert table["time"].scale == "utc"
    assert table.meta == {"x": 30, "y": 800, "pixel_id": 799 * 1032 + 30, "detector": "MIRIMAGE", "monitor": "dark"}
    assert "x=30, y=800" in repr(life)
    lives = (monitor.life(x, 800) for x in range(30, 60))
    quiet = next(life for life in lives if not any(course.episodes for course in life.courses))
    assert len(quiet.episodes()) == 0
    assert {"state", "begin", "end", "amplitude"} <= set(quiet.episodes().colnames)


@pytest.mark.slow
def test_pixels_without_a_rate(monitor: PixelMonitor, tmp_path: Path) -> None:
    """Reference pixels have no life; that of a pixel that the pipeline does not use has no rate."""
    with pytest.raises(InvalidInput, match="pixel x=2, y=800 of MIRIMAGE is a reference pixel"):
        monitor.life(2, 800)
    row, column = np.argwhere(np.isnan(monitor.ref.product["RATE1"][:, 4:]))[0] + (0, 4)
    life = monitor.life(int(column) + 1, int(row) + 779)
    assert np.isnan(life.exposures()["rate"]).all()
    assert {row["rate"] for row in life.records()} == {None}
    assert {row["integrations"] for row in life.records()} == {0}
    found = texts(life.plot(tmp_path / "a.svg"))
    assert f"{NUMBER} of {NUMBER} exposures" in found
    assert life.plot(tmp_path / "a.png", title="of cal v1").stat().st_size > 10_000
    assert "rate and its error" not in found


def test_pixels_that_are_not_there(pool: Pool, monitor: PixelMonitor) -> None:
    with pytest.raises(InvalidInput, match="does not follow pixel x=500, y=10; it follows columns 1 to 72, rows 779"):
        monitor.life(500, 10)
    with pytest.raises(InvalidInput, match="there is no pixel x=2000, y=10"):
        monitor.life(2000, 10)
    with pytest.raises(InvalidInput, match="not a whole number"):
        monitor.life(30.5, 800)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="'dark' has no exposures of MIRIFUSHORT, only of MIRIMAGE"):
        monitor.life(30, 800, detector="mirifushort")
    with pytest.raises(InvalidInput, match="columns 10 to 20, rows 780 to 789 of MIRIMAGE"):
        pool.monitor("part").life(30, 800)
    assert monitor.life(30, 800, detector="mirimage").pixel_id == 799 * 1032 + 30


@pytest.mark.slow
def test_one_of_several_detectors(pool: Pool, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        product = pool.ref(f"RateInts/dark_{number:03d}").product
        read = read_fits(pool.ref(f"RateInts/dark_{number:03d}").to_fits(tmp_path / f"{number}.fits"))
        read.meta["DETECTOR"] = "MIRIFUSHORT"
        pool.save(read.replace(SCI=product["SCI"][...] + np.float32(5)), name=f"other_{number}", pixels=False)
    pool.create_monitor("both", where="name < 'dark_004' or name like 'other%'").update()
    both = pool.monitor("both")
    with pytest.raises(InvalidInput, match=r"several detectors, MIRIFUSHORT, MIRIMAGE; choose one with detector="):
        both.life(30, 800)
    short, image = (both.life(30, 800, detector=name) for name in ("MIRIFUSHORT", "MIRIMAGE"))
    assert short.courses[0].rate == pytest.approx(image.courses[0].rate + 5, abs=1e-3)
    assert (short.detector, len(short.courses)) == ("MIRIFUSHORT", 1)


@pytest.mark.slow
def test_no_exposures(pool: Pool, tmp_path: Path) -> None:
    empty = pool.monitor("empty")
    with pytest.raises(InvalidInput, match=r"'empty' has no exposures; .*update\(\) takes them in"):
        empty.life(30, 800)
    for what in PLOTS:
        with pytest.raises(InvalidInput, match="has no exposures"):
            empty.plot(tmp_path / "a.png", what)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("state", ["hot", "rts", "drift"])
def test_a_picture_of_a_life(monitor: PixelMonitor, campaign: LivesCampaign, state: str, tmp_path: Path) -> None:
    life = life_of(monitor, campaign, state)
    found = texts(life.plot(tmp_path / "a.svg"))
    title = f"MIRIMAGE pixel x={life.x}, y={life.y} (pixel_id {life.pixel_id}), monitor dark"
    assert {title, state, "rate (DN/s)", "start of the exposure (UTC)", "rate and its error"} <= found
    assert {"level of the pixel", "the 4 pixels beside it", "part of the rate", "not part of the rate"} <= found
    assert len({text for text in found if text.startswith("stratum ")}) == 2


@pytest.mark.parametrize(
    "what",
    [pytest.param(name, marks=() if name == "population" else pytest.mark.slow) for name in PLOTS if name != "event"],
)
def test_pictures_of_a_monitor(monitor: PixelMonitor, what: str, tmp_path: Path) -> None:
    path = monitor.plot(tmp_path / "a.png", what, stratum=0)
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert path.stat().st_size > 10_000
    found = texts(monitor.plot(tmp_path / "a.svg", what))
    assert any("DN/s" in text for text in found) or what in {"state", "population"}
    assert any("UTC" in text for text in found)
    assert any("MIRIMAGE SUB64" in text for text in found)


def test_a_pixel_has_a_life(pool: Pool, tmp_path: Path) -> None:
    """`Pool.pixel` and the command `pixel` lead to the life in a monitor, which must be named if there are several."""
    pixel = pool.pixel(30, 800)
    assert pixel.life("dark").records() == pool.monitor("dark").life(30, 800).records()
    flagged = pixel.life("dark", flags=True)
    assert {tuple(row["flags"]) for row in flagged.records()} == {()}
    assert {row["flags"] for row in pixel.life("dark").records()} == {None}
    with pytest.raises(InvalidInput, match="has several monitors; name one of dark, part, one, empty"):
        pixel.life()
    listed = json.loads(call("pixel", "jpl8", "30", "800", "--monitor", "dark", "--json").stdout)
    assert listed == json.loads(call("monitor", "life", "jpl8", "dark", "30", "800", "--json").stdout)
    call("pixel", "jpl8", "30", "800", "--life", "--monitor", "dark", "--plot", tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_flags_and_versions(pool: Pool, campaign: LivesCampaign, tmp_path: Path) -> None:
    """The plot has a strip with a row for each flag, and a colour for each version."""
    names = campaign.names[:8]
    try:
        for name in names[3:6]:
            product = pool.ref(f"RateInts/{name}").product
            dq = product["DQ"][...]
            dq[1, 800 - 779, 29] |= 4
            dq[:, 800 - 779, 29] |= 2048
            pool.save(product.replace(DQ=dq), name=name, pixels=False)
        monitor = pool.create_monitor("flags", where=" or ".join(f"name == '{name}'" for name in names))
        monitor.update()
        life = pool.pixel(30, 800).life("flags", flags=True)
        rows = life.records()
        assert [row["flags"] for row in rows] == [[]] * 3 + [["JUMP_DET", "HOT"]] * 3 + [[]] * 2
        assert [row["version"] for row in rows] == [0] * 3 + [1] * 3 + [0] * 2
        assert list(life.exposures()["flags"]) == [""] * 3 + ["JUMP_DET|HOT"] * 3 + [""] * 2
        found = texts(life.plot(tmp_path / "a.svg"))
        assert {"JUMP_DET", "HOT", "DQ", "version 0", "version 1"} <= found
        assert "HOT" not in texts(monitor.life(30, 800).plot(tmp_path / "b.svg"))
        listed = json.loads(call("pixel", "jpl8", "30", "800", "--monitor", "flags", "--json").stdout)
        assert listed[4]["flags"] == ["JUMP_DET", "HOT"]
    finally:
        for name in names[3:6]:
            pool.remove(f"RateInts/{name}@1")


@pytest.mark.slow
def test_maps_around_an_event(monitor: PixelMonitor, campaign: LivesCampaign, tmp_path: Path) -> None:
    picture = tmp_path / "a.svg"
    with pytest.raises(InvalidInput, match=r"give the time of an event of monitor .* it has no events"):
        monitor.plot(picture, "event")
    anneal = campaign.times[9] - timedelta(hours=3)
    late = campaign.times[-1] + timedelta(days=1)
    events = Event(anneal, "anneal"), Event(late, "reset")
    monitor.add_events(*events)
    try:
        before, after = (
            {(row["x"], row["y"]) for row in monitor.states(at=at) if row["stratum"].split()[2] == "FASTR1"}
            for at in campaign.times[8:10]
        )
        found = texts(monitor.plot(picture, "event", at=anneal, stratum=1))
        assert {f"healed: {len(before - after)}", f"new: {len(after - before)}"} <= found
        assert {
            f"{word}: {at:%Y-%m-%d %H:%M} UTC"
            for word, at in (("before", campaign.times[8]), ("after", campaign.times[9]))
        } <= found
        with pytest.raises(InvalidInput, match=r"its events are 2026-01-05T09:00:00 \(anneal\), 2026"):
            monitor.plot(picture, "event", at=START)
        with pytest.raises(InvalidInput, match="no exposures on both sides"):
            monitor.plot(picture, "event", at=late)
    finally:
        monitor.remove_events(*events)


@pytest.mark.slow
def test_another_format(monitor: PixelMonitor, tmp_path: Path) -> None:
    assert monitor.plot(tmp_path / "a.pdf", "noise").read_bytes()[:4] == b"%PDF"
    assert monitor.life(30, 800).plot(tmp_path / "a.pdf").read_bytes()[:4] == b"%PDF"


@pytest.mark.slow
def test_a_single_exposure(pool: Pool, tmp_path: Path) -> None:
    one = pool.monitor("one")
    found = texts(one.plot(tmp_path / "a.svg", "noise"))
    assert "monitor one: noise; 1 exposure until 2026-01-01 00:00 UTC" in found
    found = texts(one.plot(tmp_path / "a.svg", "population"))
    assert {"entered a state: 0", "left a state: 0"} <= found
    assert "level of the pixel" in texts(one.life(30, 800).plot(tmp_path / "a.svg"))


@pytest.mark.slow
def test_a_map_of_states_counts_them(monitor: PixelMonitor, campaign: LivesCampaign, tmp_path: Path) -> None:
    chosen = 12
    at = campaign.times[chosen] + timedelta(hours=1)
    found = texts(monitor.plot(tmp_path / "a.svg", at=at))
    assert f"monitor dark: states; exposure {chosen + 1} of {NUMBER}, 2026-01-07 00:00 UTC" in found
    assert {"x: column of the FULL array", "y: row of the FULL array"} <= found
    states = monitor.states(at=at)
    states = states[[text.split()[2] == "FASTR1" for text in states["stratum"]]]
    for state in set(states["state"]):
        assert f"{state}: {(states['state'] == state).sum()}" in found
    unusable = int(np.isnan(monitor.ref.product["RATE1"][...]).sum())
    assert f"no rate: {unusable}" in found
    assert f"no state: {72 * 64 - unusable - len(states):,}" in found


@pytest.mark.slow
def test_a_histogram_has_its_numbers(monitor: PixelMonitor, tmp_path: Path) -> None:
    found = texts(monitor.plot(tmp_path / "a.svg", "histogram"))
    part = monitor.ref.product["RATE1"][...][:, 1::4]  # columns 2, 6, 10 …
    part = part[np.isfinite(part)]
    medians = [float(text.removeprefix("Gaussian: median ").rstrip(",")) for text in found if "median" in text]
    assert any(median == pytest.approx(np.median(part), rel=1e-3) for median in medians)
    assert f"{part.size:,} pixels," in found


def test_times_need_a_time_zone(monitor: PixelMonitor, tmp_path: Path) -> None:
    naive = START.replace(tzinfo=None)
    for ask in (
        lambda: monitor.states(at=naive),
        lambda: monitor.alarms(naive),
        lambda: monitor.plot(tmp_path / "a.png", at=naive),
        lambda: monitor.mask(naive),
    ):
        with pytest.raises(InvalidInput, match="time zone"):
            ask()


@pytest.mark.slow
def test_plots_that_are_not_there(monitor: PixelMonitor, tmp_path: Path) -> None:
    for what, options, words in (
        ("sate", {}, "there is no plot 'sate'; did you mean state"),
        ("everything", {}, "choose one of state, rate, noise"),
        ("trends", {"at": START}, "of all exposures; leave the time out"),
        ("noise", {"at": START}, "of all exposures"),
        ("state", {"at": START - timedelta(days=1)}, "had begun at 2025-12-31T00:00:00 UTC; the first one began at"),
        ("state", {"stratum": 7}, r"no stratum 7; the strata are 0: MIRIMAGE .*; 1: MIRIMAGE"),
        ("state", {"stratum": -1}, "no stratum -1"),
    ):
        with pytest.raises(InvalidInput, match=words):
            monitor.plot(tmp_path / "a.png", what, **options)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=r"a\.xyz: the name of a picture ends in one of"):
        monitor.plot(tmp_path / "a.xyz")
    with pytest.raises(InvalidInput, match=r"a\.xyz: the name of a picture ends in one of"):
        monitor.life(30, 800).plot(tmp_path / "a.xyz")
    with pytest.raises(FileMissing, match="no such folder"):
        monitor.plot(tmp_path / "nowhere" / "a.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_without_matplotlib(monitor: PixelMonitor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    life = monitor.life(30, 800)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for draw in (monitor.plot, life.plot):
        with pytest.raises(InvalidInput, match=r"pip install 'miripool\[plot\]'"):
            draw(tmp_path / "a.png")


@pytest.mark.slow
def test_on_the_command_line(pool: Pool, campaign: LivesCampaign, tmp_path: Path) -> None:
    x, y = places(campaign, "hot")[0]
    rows = json.loads(call("monitor", "life", "jpl8", "dark", x, y, "--json").stdout)
    assert len(rows) == NUMBER + 6
    names = "urn version time rate error integrations state level first flags stratum"
    assert set(rows[0]) == set(names.split())
    assert call("monitor", "life", "jpl8", "dark", x, y, "--csv").stdout.count("\n") == len(rows) + 1
    heads = call("monitor", "life", "jpl8", "dark", x, y, "--detector", "mirimage").stdout.splitlines()[0].split()
    assert heads[:5] == ["time", "rate", "error", "integrations", "state"]
    picture = tmp_path / "life.png"
    made = call("monitor", "life", "jpl8", "dark", x, y, "--plot", picture)
    assert (made.stdout, made.stderr.strip()) == ("", f"wrote {picture}")
    assert picture.stat().st_size > 10_000
    both = call("monitor", "life", "jpl8", "dark", x, y, "--plot", picture, "--json")
    assert json.loads(both.stdout) == rows
    picture = tmp_path / "states.png"
    for options in (("--at", "2026-01-05"), ("--what", "rate", "--stratum", "0")):
        made = call("monitor", "plot", "jpl8", "dark", "--out", picture, *options)
        assert made.stderr.strip() == f"wrote {picture}"
    with pytest.raises(InvalidInput, match="no plot 'rates'; did you mean rate"):
        call("monitor", "plot", "jpl8", "dark", "--out", picture, "--what", "rates")
    assert call("monitor", "plot", "jpl8", "dark").exit_code == 2
