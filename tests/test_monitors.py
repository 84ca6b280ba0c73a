"""Monitors of a pool: what they read, what they keep, and what they answer."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from homes import call

from miripool import Pool, Product, RateInts
from miripool.errors import AlreadyExists, InvalidInput, ProductNotFound
from miripool.formats import read_fits
from miripool.monitors import Monitor, Updated
from miripool.pool.core import core_of
from miripool.simulate import LivesCampaign, simulate_lives

NUMBER = 24
LIVES = {"step": 40, "hot": 40}


@pytest.fixture(scope="module")
def campaign() -> LivesCampaign:
    return simulate_lives(
        NUMBER, name="dark_{number:03d}", subarray="SUB64", nints=4, lives=LIVES, amplitude=(8, 25), margin=5, seed=5
    )


@pytest.fixture(scope="module")
def darks(campaign: LivesCampaign, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The exposures' files, in the order of time."""
    return campaign.write_rateints(tmp_path_factory.mktemp("darks"), date=datetime(2026, 1, 1, tzinfo=UTC))


def add(pool: Pool, files: Iterable[Path]) -> None:
    for outcome in pool.ingest(files, pixels=False):
        assert outcome.error is None


def arrays(product: Product) -> dict[str, bytes]:
    return {name: np.asarray(product[name][...]).tobytes() for name in product}


def update(pool: Pool, name: str = "dark") -> Updated:
    return pool.monitor(name).update()


def test_what_was_injected_is_found(pool: Pool, campaign: LivesCampaign, darks: list[Path]) -> None:
    add(pool, darks)
    monitor = pool.create_monitor("dark")
    done = monitor.update()
    assert (done.exposures, done.read, done.dropped, done.left_out, done.changed) == (NUMBER, NUMBER, 0, (), True)
    found = monitor.states(urns=True)
    times = campaign.times
    truth = {(row["x"], row["y"]): row for row in campaign.truth.lives}
    mine = {(row["x"], row["y"]): row for row in found if (row["x"], row["y"]) in truth}
    assert len(mine) >= 0.98 * len(truth)
    right = 0
    for place, row in mine.items():
        first, end = truth[place]["first"], truth[place]["end"]
        begin = times.index(row["begin"].to_datetime(UTC))
        lasts = len(row["exposures"])
        right += abs(begin - first) <= 1 and abs(begin + lasts - end) <= 1
    assert right >= 0.95 * len(mine)
    quiet = [row for row in found if campaign.truth.quiet[row["y"] - 779, row["x"] - 1]]
    assert len(quiet) <= 1e-3 * campaign.truth.quiet.sum()
    assert {row["state"] for row in mine.values()} <= {"hot", "warm", "step"}
    assert all(row["pixel_id"] == (row["y"] - 1) * 1032 + row["x"] for row in found)
    assert all(row["x"] > 4 for row in found)  # reference pixels have no state


@pytest.mark.slow
def test_one_by_one_and_all_at_once(pool: Pool, darks: list[Path]) -> None:
    """Also if exposures arrive late: the last product is the same to the bit."""
    pool.create_monitor("one by one")
    pool.create_monitor("at once")
    order = [*darks[:8:2], *darks[1:8:2], *darks[8:10]]
    for path in order:
        add(pool, [path])
        done = update(pool, "one by one")
        assert done.read == 1
    together = update(pool, "at once")
    one, other = (arrays(done.ref.product) for done in (done, together))
    del one["DEFINITION"], other["DEFINITION"]
    assert one == other
    (history,) = pool.history(done.ref)
    assert len(history["inputs"]) == len(order)
    assert history["inputs"] == pool.history(together.ref)[0]["inputs"]


@pytest.mark.slow
def test_by_an_executor(pool: Pool, darks: list[Path]) -> None:
    """Processes read the exposures; the last product is the same to the bit, and what can't be read has its reason."""
    add(pool, darks[:6])
    pool.save(RateInts({"DETECTOR": "MIRIMAGE"}, {"SCI": np.ones((1, 4, 4), "f4")}, name="lost"), pixels=False)
    pool.create_monitor("here")
    pool.create_monitor("there")
    here, calls = pool.monitor("here").update(), []
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        there = pool.monitor("there").update(executor=executor, progress=lambda n, total: calls.append((n, total)))
    assert there.left_out == here.left_out
    assert "does not say when the exposure began" in here.left_out[0][1]
    assert (there.exposures, calls) == (6, [(n, 7) for n in range(1, 8)])
    one, other = (arrays(done.ref.product) for done in (here, there))
    del one["DEFINITION"], other["DEFINITION"]
    assert one == other


def test_large_exposures_stay_in_their_files(tmp_path: Path) -> None:
    """Planes that fill a part of their own are stored from the file that they were put into, without a copy."""
    from types import SimpleNamespace

    from miripool.monitors.result import _parts

    stratum = SimpleNamespace(rows=400, columns=400)
    np.save(tmp_path / "a.npy", np.ones((5, 400, 400), "f4"))
    planes = np.load(tmp_path / "a.npy", mmap_mode="r")
    result = SimpleNamespace(stratum=stratum, exposures=[SimpleNamespace(planes=planes, part=None)])
    found = _parts(0, result, None)  # type: ignore[arg-type]
    assert found["P0_0"].shape == (1, 5, 400, 400)
    assert np.shares_memory(found["P0_0"], planes)


def test_only_new_arrays_are_read(pool: Pool, darks: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from miripool.monitors import update as updating

    read: list[str] = []
    real = updating.read_exposure

    def watch(product: Product, stratum: Any) -> Any:
        read.append(product.name or "")
        return real(product, stratum)

    monkeypatch.setattr(updating, "read_exposure", watch)
    add(pool, darks[:5])
    pool.create_monitor("dark")
    first = update(pool)
    assert len(read) == 5
    again = update(pool)
    assert not again.changed
    assert again.ref == first.ref
    add(pool, darks[5:6])
    read.clear()
    third = update(pool)
    assert read == [darks[5].name.removesuffix("_rateints.fits")]
    assert (third.exposures, third.read, third.ref.version) == (6, 1, first.ref.version + 1)


def test_new_heads_replace_and_the_trash_leaves(pool: Pool, darks: list[Path]) -> None:
    add(pool, darks[:6])
    pool.create_monitor("dark")
    before = update(pool)
    product = read_fits(darks[2])
    pool.save(product.replace(SCI=product["SCI"][...] + np.float32(0.01)), name="dark_003", pixels=False)
    replaced = update(pool)
    assert (replaced.exposures, replaced.read, replaced.dropped) == (6, 1, 1)
    versions = {row["name"]: row["version"] for row in pool.monitor("dark").exposures()}
    assert versions["dark_003"] == 1
    pool.remove("RateInts/dark_003@1")
    back = update(pool)
    assert arrays(back.ref.product) == arrays(before.ref.product)
    assert back.changed
    assert pool.monitor("dark").ref == back.ref  # the newest version, though an older one has the same content
    pool.remove([ref for ref in pool.select(RateInts) if ref.name < "dark_005"])
    fewer = update(pool)
    assert (fewer.exposures, fewer.read, fewer.dropped) == (2, 0, 4)
    pool.remove(list(pool.select(RateInts)))
    none = update(pool)
    assert (none.exposures, len(pool.monitor("dark").states())) == (0, 0)


@pytest.mark.slow
def test_strata_are_kept_apart(pool: Pool, darks: list[Path]) -> None:
    add(pool, darks[:5])
    for path in darks[5:10]:
        product = read_fits(path)
        product.meta["READPATT"] = "SLOWR1"
        pool.save(product.replace(SCI=product["SCI"][...] + np.float32(50)), name=product.name, pixels=False)
    pool.create_monitor("dark")
    update(pool)
    strata = set(pool.monitor("dark").exposures()["stratum"])
    assert {text.split()[2] for text in strata} == {"FASTR1", "SLOWR1"}
    assert len(pool.monitor("dark").states("step")) == 0


@pytest.mark.slow
def test_region_and_tag_and_condition(pool: Pool, darks: list[Path]) -> None:
    add(pool, darks[:8])
    pool.tag(list(pool.select("name < 'dark_005'")), "early")
    pool.create_monitor("part", region="10:20,780:789")
    pool.create_monitor("early", tag="early")
    pool.create_monitor("late", where="name >= 'dark_005'")
    assert [update(pool, name).exposures for name in ("part", "early", "late")] == [8, 4, 4]
    product = pool.monitor("part").ref.product
    assert product["STATE0"].shape == (10, 11)
    pool.create_monitor("elsewhere", region="500:600,1:10")
    done = update(pool, "elsewhere")
    assert (done.exposures, len(done.left_out)) == (0, 8)
    assert "no pixel in the region" in done.left_out[0][1]


@pytest.mark.slow
def test_what_can_not_be_monitored_is_left_out(pool: Pool, darks: list[Path]) -> None:
    add(pool, darks[:3])
    product = read_fits(darks[3])
    for key in ("DATE-OBS", "TIME-OBS", "DATE-BEG"):
        product.meta.pop(key, None)
    pool.save(product.replace(), name="undated", pixels=False)
    meta = {"DETECTOR": "MIRIMAGE", "DATE-OBS": "2026-01-01", "TIME-OBS": "12:00:00"}
    pool.save(RateInts(meta, {"SCI": np.zeros((2, 3), "f4")}, name="nowhere"), pixels=False)
    pool.create_monitor("dark")
    done = update(pool)
    assert done.exposures == 3
    reasons = dict(done.left_out)
    assert len(reasons) == 2
    assert any("when the exposure began" in why for why in reasons.values())
    assert any("SUBSTRT1" in why for why in reasons.values())


def test_names_and_errors(pool: Pool, darks: list[Path]) -> None:
    pool.create_monitor("my darks, 2026")
    assert update(pool, "my darks, 2026").exposures == 0
    assert [ref.name for ref in pool.monitors()] == ["my darks, 2026"]
    with pytest.raises(AlreadyExists, match="a monitor 'my darks, 2026' already"):
        pool.create_monitor("my darks, 2026")
    with pytest.raises(ProductNotFound, match="its monitors are my darks, 2026"):
        pool.monitor("dark")
    for options, words in (
        ({"kind": "Raw"}, "can't be monitored; choose one of RateInts, Rate, Ramp"),
        ({"region": "1:2"}, "is not a region"),
        ({"region": "5:2,1:1"}, "is empty"),
        ({"light": "bright"}, "no light 'bright'"),
        ({"false_alarms": 0}, "must be between"),
        ({"where": "ngroups >"}, "expected"),
        ({"tag": " "}, "tag"),
    ):
        with pytest.raises(InvalidInput, match=words):
            pool.create_monitor("other", **options)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="did you mean hot"):
        pool.monitor("my darks, 2026").states("hto")


@pytest.mark.slow
def test_trends(pool: Pool, campaign: LivesCampaign, darks: list[Path]) -> None:
    add(pool, darks[:3])
    pool.create_monitor("dark")
    update(pool)
    table = pool.monitor("dark").trends()
    assert len(table) == 3 * 4 * 4
    rates, dq = campaign.rates(1).sci, campaign.rates(1).dq
    row = table[(table["amplifier"] == 2) & (table["integration"] == 3)][1]
    part = np.where(dq[2] & 1, np.nan, rates[2])[:, 5::4]  # columns 2, 6, 10 …; the first ones are reference pixels
    assert row["median"] == pytest.approx(np.nanmedian(part), rel=1e-6)
    assert row["sigma"] == pytest.approx(1.4826 * np.nanmedian(np.abs(part - np.nanmedian(part))), rel=1e-5)
    assert row["time"].to_datetime(UTC) == campaign.times[1]
    assert len(pool.monitor("dark").trends(amplifier=1)) == 3 * 4


@pytest.mark.slow
def test_population_counts_what_the_states_say(pool: Pool, darks: list[Path]) -> None:
    add(pool, darks)
    pool.create_monitor("dark")
    update(pool)
    monitor = pool.monitor("dark")
    population = monitor.population("hot")
    for row in population:
        there = monitor.states("hot", at=row["time"].to_datetime(UTC))
        assert len(there) == row["count"]
    assert population["born"].sum() > 0
    changes = population["born"].astype(int) - population["healed"].astype(int)
    assert (np.diff(population["count"]) == changes[1:]).all()


def test_it_is_a_product(pool: Pool, darks: list[Path], tmp_path: Path) -> None:
    """It has versions, tags and a file; lineage says what it was made from, and reindex brings it back."""
    add(pool, darks[:6])
    pool.create_monitor("dark")
    done = pool.monitor("dark").update(tag="first look")
    assert [ref.kind for ref in pool.tagged("first look")] == ["Monitor"]
    assert [ref.version for ref in pool.versions("Monitor/dark")] == [0, 1]
    roots = pool.lineage(done.ref)
    made = [node.row for root in roots for node in root.walk() if node.row.kind == "RateInts"]
    assert sorted(row.name for row in made) == [f"dark_{number:03d}" for number in range(1, 7)]
    again = read_fits(done.ref.to_fits(tmp_path / "monitor.fits"))
    assert arrays(again) == arrays(done.ref.product)
    before = monitor_rows(pool)
    pool.reindex()
    assert monitor_rows(pool) == before
    assert not update(pool).changed
    assert isinstance(done.ref.product, Monitor)
    assert pool.select(Monitor).size() == 1


def monitor_rows(pool: Pool) -> list[tuple[Any, ...]]:
    return [tuple(map(str, row)) for row in pool.monitor("dark").states()]


@pytest.mark.slow
def test_on_the_command_line(pool: Pool, darks: list[Path]) -> None:
    add(pool, darks)
    made = call("monitor", "create", "jpl8", "dark", "--kind", "RateInts", "--where", "name like 'dark%'")
    assert made.exit_code == 0, made.stderr
    assert "monitor update jpl8 dark" in made.stderr
    told = call("monitor", "update", "jpl8", "dark")
    assert f"{NUMBER} exposures: {NUMBER} read, 0 dropped, 0 left out; version 1" in told.stderr
    (again,) = json.loads(call("monitor", "update", "jpl8", "dark", "--json").stdout)
    assert (again["changed"], again["exposures"], again["left_out"]) == (False, NUMBER, [])
    rows = json.loads(call("monitor", "states", "jpl8", "dark", "--json").stdout)
    names = {"detector", "x", "y", "pixel_id", "state", "begin", "end", "amplitude", "error", "significance"}
    assert names | {"exposures", "stratum"} <= set(rows[0])
    assert sum(again["states"].values()) == sum(row["end"] is None for row in rows)
    assert all(urn.startswith("urn:jpl8:RateInts:") for urn in rows[0]["exposures"])
    ended = next(row for row in rows if row["end"] is not None)
    one = json.loads(
        call("monitor", "states", "jpl8", "dark", "--pixel", f"{ended['x']},{ended['y']}", "--json").stdout
    )
    assert ended in one
    begin = datetime.fromisoformat(ended["begin"])
    for moment, there in ((begin, True), (begin - timedelta(seconds=1), False), (ended["end"], False)):
        text = moment if isinstance(moment, str) else moment.isoformat()
        found = json.loads(call("monitor", "states", "jpl8", "dark", "--at", text, "--json").stdout)
        assert (ended in found) == there
    table = call("monitor", "states", "jpl8", "dark", "--state", ended["state"])
    assert table.stdout.splitlines()[0].split()[:4] == ["detector", "x", "y", "state"]
    assert call("monitor", "states", "jpl8", "dark", "--csv").stdout.count("\n") == len(rows) + 1
    trends = json.loads(call("monitor", "trends", "jpl8", "dark", "--json", "--amplifier", "1").stdout)
    assert set(trends[0]) == {
        *("detector", "amplifier", "stratum", "urn", "time", "integration", "median", "sigma", "noise")
    }
    assert len(trends) == 4 * NUMBER
    counts = json.loads(call("monitor", "population", "jpl8", "dark", "--json", "--state", "hot").stdout)
    assert len(counts) == NUMBER
    (listed,) = json.loads(call("monitor", "list", "jpl8", "--json").stdout)
    assert (listed["name"], listed["exposures"], listed["where"]) == ("dark", NUMBER, "name like 'dark%'")


def test_an_empty_monitor_on_the_command_line(pool: Pool) -> None:
    call("monitor", "create", "jpl8", "dark")
    for command in ("states", "trends", "population"):
        assert json.loads(call("monitor", command, "jpl8", "dark", "--json").stdout) == []
        assert call("monitor", command, "jpl8", "dark").exit_code == 0
    assert json.loads(call("monitor", "list", "jpl8", "--json").stdout)[0]["exposures"] == 0


@pytest.mark.slow
def test_killed_in_the_middle(pool: Pool, darks: list[Path]) -> None:
    """Killed at any moment, an update leaves the monitor as it was, and can be repeated."""
    add(pool, darks[:12])
    pool.create_monitor("dark")
    pool.create_monitor("undisturbed")
    command = [sys.executable, "-m", "miripool", "monitor", "update", "jpl8", "dark"]
    killed = 0
    for delay in (0.5, 1.0, 1.5, 2.0, 2.5):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                process.wait(delay)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                killed += 1
    assert killed >= 1
    one, other = (arrays(update(pool, name).ref.product) for name in ("dark", "undisturbed"))
    del one["DEFINITION"], other["DEFINITION"]
    assert one == other
    assert pool.verify(level="full").is_whole
    assert list(core_of(pool).work_folder.iterdir()) == []


@pytest.mark.slow
def test_two_updates_at_once(pool: Pool, darks: list[Path]) -> None:
    add(pool, darks[:6])
    pool.create_monitor("dark")
    monitors = [pool.monitor("dark"), pool.monitor("dark")]
    with ThreadPoolExecutor(2) as threads:
        done = list(threads.map(lambda monitor: monitor.update(), monitors))
    assert {updated.ref.version for updated in done} == {1}
    assert len(pool.versions("Monitor/dark")) == 2


def test_it_reads_real_slopes(pool: Pool, shared_data: Path) -> None:
    """One exposure in two calibrations: two strata, which differ in their context."""
    for number in (9001, 9002):
        (path,) = (shared_data / "jpl8" / str(number)).glob("*_rateints.fits")
        pool.save(path, name=f"of {number}", pixels=False)
    pool.create_monitor("bench")
    done = update(pool, "bench")
    assert (done.exposures, done.left_out) == (2, ())
    strata = sorted(set(pool.monitor("bench").exposures()["stratum"]))
    assert [text.split()[3] for text in strata] == ["jwst_9001.pmap", "jwst_9002.pmap"]
    trends = pool.monitor("bench").trends(amplifier=1)
    assert np.isfinite(trends["median"]).all()
