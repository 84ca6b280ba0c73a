"""Events of a detector, survival of states, and alarms."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from homes import call

from miripool import Pool
from miripool.errors import FileMissing, InvalidInput, ProductNotFound
from miripool.formats import read_fits
from miripool.monitors import Event, Limits
from miripool.monitors.alarms import find_shifts
from miripool.monitors.events import read_events, wilson
from miripool.monitors.levels import read_levels
from miripool.monitors.survival import kaplan_meier
from miripool.simulate import LivesCampaign, simulate_lives

NUMBER = 20
ANNEAL = 10
"""The anneal is before this exposure."""
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def campaign() -> LivesCampaign:
    return simulate_lives(
        NUMBER,
        name="dark_{number:03d}",
        nints=4,
        start=START,
        lives={"hot": 200},
        amplitude=(9, 25),
        margin=4,
        seed=8,
        anneals=(START + timedelta(hours=12 * ANNEAL - 6),),
    )


@pytest.fixture(scope="module")
def darks(campaign: LivesCampaign, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return campaign.write_rateints(tmp_path_factory.mktemp("darks"), date=START)


@pytest.fixture
def monitored(pool: Pool, darks: list[Path]) -> Pool:
    for outcome in pool.ingest(darks, pixels=False):
        assert outcome.error is None
    pool.create_monitor("dark").update()
    return pool


def test_what_an_anneal_did(monitored: Pool, campaign: LivesCampaign, tmp_path: Path) -> None:
    monitor = monitored.monitor("dark")
    (anneal,) = campaign.anneals
    monitor.add_events(Event(anneal, "anneal", "first"))
    table = monitor.effects()
    (row,) = table[table["state"] == "any"]
    lives = campaign.truth.lives
    before = lives[lives["first"] < ANNEAL]
    healed = np.count_nonzero(before["anneal"] == 0)
    assert abs(row["bad"] - len(before)) <= 0.03 * len(before)
    assert abs(row["healed"] - healed) <= 0.05 * len(before)
    assert row["healed_low"] <= healed / len(before) <= row["healed_high"]
    assert row["born"] <= 3
    assert (row["kind"], row["note"]) == ("anneal", "first")
    assert monitor.ref.version == 2
    assert monitored.history(monitor.ref) == monitored.history("Monitor/dark@1")  # it was made from the same exposures
    picture = monitor.plot(tmp_path / "population.svg", "population").read_text()
    assert "<!-- anneal -->" in picture


@pytest.mark.slow
def test_events_stay_through_updates_and_can_be_removed(monitored: Pool, darks: list[Path]) -> None:
    monitor = monitored.monitor("dark")
    first, second = Event(START + timedelta(days=1)), Event(START + timedelta(days=2), "mode switch", "SUB64 → FULL")
    monitor.add_events(second, first)
    monitor.add_events(first)
    assert monitor.events == [first, second]
    product = read_fits(darks[3])
    monitored.save(product.replace(SCI=product["SCI"][...] + np.float32(0.1)), name=product.name, pixels=False)
    assert monitor.update().read == 1
    assert monitored.monitor("dark").events == [first, second]
    monitor.remove_events(first)
    assert monitored.monitor("dark").events == [second]
    with pytest.raises(ProductNotFound, match="no event 'anneal'"):
        monitor.remove_events(first)
    for wrong in ({"time": datetime(2026, 1, 1)}, {"time": START, "kind": " "}):
        with pytest.raises(InvalidInput):
            Event(**wrong)  # type: ignore[arg-type]


@pytest.mark.slow
def test_changes_of_a_keyword(pool: Pool, darks: list[Path]) -> None:
    for i, path in enumerate(darks[:8]):
        product = read_fits(path)
        product.meta["CALSOFT"] = "old" if i < 5 else "new"
        pool.save(product, pixels=False)
    monitor = pool.create_monitor("dark")
    monitor.update()
    (event,) = monitor.changes_of("calsoft")
    assert (event.kind, event.note, event.time) == ("CALSOFT", "old → new", START + timedelta(hours=60))
    assert monitor.changes_of("NOTHERE") == []


@pytest.mark.slow
def test_on_the_command_line(monitored: Pool, campaign: LivesCampaign, tmp_path: Path) -> None:
    (anneal,) = campaign.anneals
    file = tmp_path / "my events.csv"
    file.write_text(f"# anneals\ntime,kind,note\n{anneal.isoformat()},anneal,first\n2030-01-01,anneal,planned\n")
    done = call("monitor", "events", "jpl8", "dark", "--file", file, "--json")
    rows = json.loads(done.stdout)
    assert "2 events noted" in done.stderr
    assert {row["note"] for row in rows} == {"first", "planned"}
    assert [row["healed"] for row in rows if row["note"] == "planned"] == [None]
    assert next(row for row in rows if row["state"] == "any")["healed"] > 0
    call("monitor", "events", "jpl8", "dark", "--add", "2026-01-02T00:00:00", "--kind", "reset")
    assert "reset" in call("monitor", "events", "jpl8", "dark").stdout
    call("monitor", "events", "jpl8", "dark", "--remove", "2026-01-02")
    assert "reset" not in call("monitor", "events", "jpl8", "dark", "--csv").stdout
    with pytest.raises(ProductNotFound, match="no event at 2026-01-02"):
        call("monitor", "events", "jpl8", "dark", "--remove", "2026-01-02")
    survival = json.loads(call("monitor", "survival", "jpl8", "dark", "--json").stdout)
    assert {"stratum", "state", "days", "at_risk", "ended", "survival", "low", "high"} == set(survival[0])
    alarms = call("monitor", "alarms", "jpl8", "dark", "--json")
    assert alarms.exit_code == {0: 0}.get(len(json.loads(alarms.stdout)), alarms.exit_code)


def test_files_of_events(tmp_path: Path) -> None:
    with pytest.raises(FileMissing):
        read_events(tmp_path / "none.csv")
    file = tmp_path / "events.csv"
    file.write_text("when\n2026-01-01\n")
    with pytest.raises(InvalidInput, match="no column 'time'"):
        read_events(file)
    file.write_text("time\n2026-01-01\nyesterday\n")
    with pytest.raises(InvalidInput, match="row 2: 'yesterday' is not a time"):
        read_events(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="UTF-8"):
        read_events(file)


@pytest.mark.slow
def test_an_alarm_for_a_shift(monitored: Pool, darks: list[Path]) -> None:
    """An amplifier that goes up: its alarm, and the exit code for it."""
    pool = monitored
    for path in darks[12:]:
        product = read_fits(path)
        rates = product["SCI"][...]
        rates[:, :, 2::4] += np.float32(3.0)
        pool.save(product.replace(SCI=rates), name=product.name, pixels=False)
    pool.monitor("dark").update()
    done = call("monitor", "alarms", "jpl8", "dark", "--json")
    rows = json.loads(done.stdout)
    assert {row["amplifier"] for row in rows} == {3}
    assert (rows[0]["level"], done.exit_code) == ("red", 4)
    assert rows[0]["size"] == pytest.approx(3.0, rel=0.2)
    later = (datetime.fromisoformat(rows[-1]["raised"]) + timedelta(seconds=1)).isoformat()
    none = call("monitor", "alarms", "jpl8", "dark", "--since", later, "--json")
    assert (none.exit_code, json.loads(none.stdout)) == (0, [])


def test_shifts_of_a_series() -> None:
    """Of 100 series without a change at most 5 raise an alarm; of 100 with one, at least 93 raise one soon enough."""
    false, right = 0, 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        values = rng.standard_normal(60)
        false += bool(find_shifts(values))
        values[30:] += 3 * rng.choice([-1, 1])
        found = find_shifts(values)
        right += len(found) == 1 and 30 <= found[0].raised < 35
    assert false <= 5
    assert right >= 93
    assert find_shifts(np.full(30, 1.0)) == []
    assert find_shifts(np.full(30, np.nan)) == []
    assert find_shifts(np.array([1.0, 9.0])) == []


def test_limits(monitored: Pool) -> None:
    """Each run of exposures outside the limits is a row; the red limits go first."""
    monitor = monitored.monitor("dark")
    levels = read_levels(monitor.ref.product)[0]
    values = levels.values[:, 0]
    middle = float(np.median(values))
    yellow, red = Limits(high=middle), Limits(high=float(np.sort(values)[-2]))
    rows = [row for row in monitor.alarm_records(None, yellow, red) if (row["what"], row["amplifier"]) == ("limit", 1)]
    expected = []
    for place, value in enumerate(values):
        level = "red" if value > red.high else "yellow" if value > middle else ""
        if not expected or expected[-1][0] != level:
            expected.append((level, levels.exposures[place]["time"]))
    assert [(row["level"], row["raised"]) for row in rows] == [one for one in expected if one[0]]
    ends = [after[1] for one, after in zip(expected, [*expected[1:], ("", None)], strict=True) if one[0]]
    assert [row["end"] for row in rows] == ends
    (worst,) = (row for row in rows if row["level"] == "red")
    assert worst["size"] == pytest.approx(float(values.max()) - red.high)
    assert monitor.alarms(yellow=Limits(), red=Limits()).colnames == monitor.alarms().colnames
    with pytest.raises(InvalidInput, match="smaller number comes first"):
        Limits.parse("2:1")
    for text in ("", "1", "1:2:3", "a:b", "nan:1"):
        with pytest.raises(InvalidInput):
            Limits.parse(text)
    assert Limits.parse(":0.5") == Limits(high=0.5)
    assert Limits.parse("-1e-2:") == Limits(-0.01)
    done = call("monitor", "alarms", "jpl8", "dark", "--red", f":{red.high}", "--json")
    assert done.exit_code == 4
    assert "limit" in {row["what"] for row in json.loads(done.stdout)}


def test_survival_of_known_lives() -> None:
    """The true curve lies in the band of at least 90 of 100 samples, at each of three times."""
    inside = np.zeros(3)
    for seed in range(100):
        rng = np.random.default_rng(seed)
        length, seen = rng.exponential(10, 80), rng.uniform(5, 40, 80)
        curve = kaplan_meier(np.minimum(length, seen), length < seen)
        for i, day in enumerate((3.0, 8.0, 15.0)):
            at = np.searchsorted(curve["days"], day, "right") - 1
            inside[i] += curve["low"][at] <= np.exp(-day / 10) <= curve["high"][at]
    assert (inside >= 90).all()
    none = kaplan_meier(np.array([5.0]), np.array([False]))
    assert none["days"].size == 0


@pytest.mark.parametrize(("part", "whole"), [(0, 5), (5, 5), (30, 100), (1, 1)])
def test_interval(part: int, whole: int) -> None:
    low, high = wilson(part, whole)
    assert 0 <= low <= part / whole <= high <= 1
    assert high - low < 1
