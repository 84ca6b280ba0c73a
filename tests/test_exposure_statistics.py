"""Statistics of exposures: the numbers against NumPy, and how the pool keeps them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import homes
import numpy as np
import pytest
from homes import ask_pool, call

from miripool import Home, MetaQuery, Pool, Product, Ramp, Rate, RateInts, Raw
from miripool.errors import FormatError, IncompleteAnswer, InvalidInput
from miripool.model.kinds import ExposureStatistics
from miripool.monitors import statistics
from miripool.monitors.groupslopes import fit_group_slopes
from miripool.monitors.statistics import AmplifierStatistics, measure
from miripool.pool.core import core_of
from miripool.simulate import Calibration, simulate_exposure

home = homes.home

PLACE = {"INSTRUME": "MIRI", "DETECTOR": "MIRIMAGE", "SUBSTRT1": 1, "SUBSTRT2": 101, "SUBSIZE1": 72, "SUBSIZE2": 64}
SHAPE = 64, 72
DO_NOT_USE, SATURATED, JUMP_DET, HOT = 1, 2, 4, 2048


def amplifier_of(number: int) -> np.ndarray:
    """Columns, from 0, that an amplifier reads, without the reference pixels in the columns 1 to 4."""
    return np.arange(4 + number - 1, 72, 4)


def find_one(found: Sequence[AmplifierStatistics], integration: int | None, amplifier: int) -> AmplifierStatistics:
    (one,) = (row for row in found if (row.integration, row.amplifier) == (integration, amplifier))
    return one


# What is measured


def test_slopes() -> None:
    generator = np.random.default_rng(1)
    rates = generator.normal(2.0, 0.5, (3, *SHAPE)).astype("f4")
    dq = np.zeros((3, *SHAPE), "u4")
    dq[1, 10, 5] = DO_NOT_USE | HOT  # amplifier 2
    dq[1, 11, 9] = JUMP_DET
    dq[1, 12, 13] = JUMP_DET
    rates[1, 10, 5], rates[2, 20, 7], rates[:, :, :4] = 1e6, np.nan, 1e9
    found = measure(RateInts({**PLACE, "EFFINTTM": 10.0}, {"SCI": rates, "DQ": dq}, name="a"))
    assert [(row.integration, row.amplifier) for row in found] == [(i, a) for i in (1, 2, 3) for a in (1, 2, 3, 4)]
    for row in found:
        values = rates[(row.integration or 0) - 1][:, amplifier_of(row.amplifier)].astype("f8")
        values = values[np.isfinite(values) & (values < 1e5)]
        assert row.pixels == values.size
        assert row.median == pytest.approx(np.median(values), rel=1e-6)
        assert row.sigma == pytest.approx(1.4826 * np.median(np.abs(values - np.median(values))), rel=1e-5)
        assert row.percentiles == pytest.approx(np.percentile(values, (0, 5, 16, 50, 84, 95, 100)), rel=1e-6)
        assert (math.isnan(row.cds_noise), row.residuals) == (True, ())
    second = find_one(found, 2, 2)
    assert (second.pixels, second.flags) == (64 * 17 - 1, {"DO_NOT_USE": 1, "JUMP_DET": 2, "HOT": 1})
    assert second.cosmic_rays == pytest.approx(1000 * 2 / (64 * 17 - 1) / 10)
    assert find_one(found, 1, 1).flags == {}
    assert find_one(found, 1, 1).cosmic_rays == 0


def test_an_image_has_one_integration_without_a_number() -> None:
    meta = {**PLACE, "EFFINTTM": 10.0, "NINTS": 4}
    dq = np.zeros(SHAPE, "u4")
    dq[0, 4] = JUMP_DET
    found = measure(Rate(meta, {"SCI": np.full(SHAPE, 3.0, "f4"), "DQ": dq}, name="a"))
    assert [(row.integration, row.amplifier, row.median, row.sigma) for row in found] == [
        (None, number, 3.0, 0.0) for number in (1, 2, 3, 4)
    ]
    assert found[0].cosmic_rays == pytest.approx(1000 / (64 * 17) / 40)


def test_nothing_usable_is_nan() -> None:
    dq = np.full((1, *SHAPE), DO_NOT_USE, "u4")
    found = measure(RateInts(PLACE, {"SCI": np.ones((1, *SHAPE), "f4"), "DQ": dq}, name="a"))
    for row in found:
        assert row.pixels == 0
        assert all(map(math.isnan, (row.median, row.sigma, row.cds_noise, row.cosmic_rays, *row.percentiles)))


def make_ramp(groups: int = 30, noise: float = 6.0) -> tuple[np.ndarray, np.ndarray]:
    """Two integrations that rise by 4 DN in each group of 2.5 s, and settle by 50 DN with a constant of 3 groups."""
    generator = np.random.default_rng(2)
    group = np.arange(groups)
    level = 10000 + 4.0 * group + 50 * np.exp(-group / 3)
    ramps = level[None, :, None, None] + generator.normal(0, noise, (2, groups, *SHAPE))
    dq = np.zeros((2, groups, *SHAPE), "u1")
    dq[:, [0, -1]] = DO_NOT_USE  # as the pipeline flags the first and the last frame
    return ramps.astype("f4"), dq


def test_ramps() -> None:
    ramps, dq = make_ramp()
    ramps[0, 15:, 8, 4] += 500  # a hit; the pipeline found it, and flagged two groups
    dq[0, 15:17, 8, 4] |= JUMP_DET
    dq[0, 20:, 9, 4] |= SATURATED
    pixeldq = np.zeros(SHAPE, "u4")
    pixeldq[30, 8] = DO_NOT_USE
    found = measure(Ramp({**PLACE, "TGROUP": 2.5}, {"SCI": ramps, "GROUPDQ": dq, "PIXELDQ": pixeldq}, name="a"))
    assert [(row.integration, row.amplifier) for row in found] == [(i, a) for i in (1, 2) for a in (1, 2, 3, 4)]
    first, second = find_one(found, 1, 1), find_one(found, 2, 1)
    assert (first.pixels, second.pixels) == (64 * 17 - 2, 64 * 17 - 1)
    rise = (ramps[1, 28] - ramps[1, 1]) / (27 * 2.5)
    values = np.delete(rise[:, amplifier_of(1)].astype("f8"), 30 * 17 + 1)
    assert second.median == pytest.approx(np.median(values), rel=1e-6)
    assert second.percentiles == pytest.approx(np.percentile(values, (0, 5, 16, 50, 84, 95, 100)), rel=1e-5)
    assert first.cosmic_rays == pytest.approx(1000 / (64 * 17 - 2) / (27 * 2.5))
    assert second.cosmic_rays == 0
    # That the first and the last group of all pixels are DO_NOT_USE does not count.
    assert first.flags == {"DO_NOT_USE": 1, "SATURATED": 1, "JUMP_DET": 1}
    assert first.cds_noise == pytest.approx(6 * math.sqrt(2), rel=0.03)
    residuals = np.array(first.residuals)
    assert np.isnan(residuals[[0, 29]]).all()
    truth = 50 * np.exp(-np.arange(30) / 3)
    assert residuals[1:15] == pytest.approx(truth[1:15], abs=1.5)  # a median of 1086 pixels: 0.23 DN
    assert np.abs(residuals[16:29]).max() < 1


def test_noise_does_not_feel_missed_hits() -> None:
    ramps, dq = make_ramp()
    generator = np.random.default_rng(3)
    hit = generator.random(ramps.shape) < 0.002
    ramps += np.cumsum(hit * 300, axis=1)
    found = measure(Ramp({**PLACE, "TGROUP": 2.5}, {"SCI": ramps, "GROUPDQ": dq}, name="a"))
    for row in found:
        assert row.cds_noise == pytest.approx(6 * math.sqrt(2), rel=0.08)


@pytest.mark.parametrize("groups", [1, 2, 3, 5])
def test_short_ramps(groups: int) -> None:
    ramps, _ = make_ramp(groups)
    found = measure(Raw({**PLACE, "TGROUP": 2.5}, {"SCI": ramps.round().astype("u2")}, name="a"))
    for row in found:
        assert row.flags == {}
        assert math.isnan(row.cosmic_rays)
        assert len(row.residuals) == groups
        assert math.isnan(row.median) == (groups == 1)
        assert math.isnan(row.cds_noise) == (groups == 1)


def test_reference_output() -> None:
    exposure = simulate_exposure("a", subarray="SUB64", nints=2, ngroups=20)
    meta = {**PLACE, "SUBSTRT2": 779, "TGROUP": 0.085}
    found = measure(Raw(meta, {"SCI": exposure.sci, "REFOUT": exposure.refout}, name="a"))
    assert [(row.integration, row.amplifier) for row in found] == [(i, a) for i in (1, 2) for a in (1, 2, 3, 4, 5)]
    fifth = find_one(found, 1, 5)
    rise = (exposure.refout[0, 18].astype("f8") - exposure.refout[0, 1]) / (17 * 0.085)
    assert (fifth.pixels, fifth.median) == (rise.size, pytest.approx(np.median(rise), abs=1e-4))


@pytest.mark.parametrize(
    ("product", "words"),
    [
        (Ramp(PLACE, {"SCI": np.ones((1, 3, *SHAPE), "f4")}, name="a"), "TGROUP"),
        (RateInts(PLACE, {"ERR": np.ones((1, *SHAPE), "f4")}, name="a"), "no dataset SCI"),
        (RateInts(PLACE, {"SCI": np.ones((1, 10, 72), "f4")}, name="a"), "10 by 72 pixels"),
        (RateInts({"DETECTOR": "MIRIMAGE"}, {"SCI": np.ones((1, *SHAPE), "f4")}, name="a"), "SUBSTRT1"),
        (Rate(PLACE, {"SCI": np.ones(5, "f4")}, name="a"), "no dataset SCI"),
    ],
)
def test_what_can_not_be_measured(product: Product, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        measure(product)


# How the pool keeps it


def save(pool: Pool, value: float, name: str = "a b") -> None:
    arrays = {"SCI": np.full((2, *SHAPE), value, "f4")}
    pool.save(
        RateInts({**PLACE, "EFFINTTM": 1.0, "DATE-OBS": "2026-01-02", "TIME-OBS": "00:00:00"}, arrays, name=name),
        pixels=False,
    )


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Any) -> None:
        pytest.fail("a version was measured again")

    monkeypatch.setattr(statistics.update, "measure", refuse)


MEDIANS = "SELECT name, version, integration, median FROM exposure_statistics WHERE amplifier = 1 ORDER BY 1, 2, 3"


def test_measured_once_and_kept(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(pool.exposure_statistics()) == 0
    save(pool, 1.0)
    table = pool.exposure_statistics()
    assert table["median"].tolist() == [1.0] * 8
    assert table["time"][0].isot == "2026-01-02T00:00:00.000"
    assert table.colnames[:6] == ["urn", "kind", "name", "version", "time", "detector"]
    save(pool, 2.0)
    save(pool, 5.0, "other")
    done: list[tuple[int, int]] = []
    table = pool.exposure_statistics(progress=lambda n, total: done.append((n, total)))
    assert sorted(done) == [(1, 2), (2, 2)]
    assert [(row["name"], row["version"], row["median"]) for row in table[::8]] == [("a b", 1, 2.0), ("other", 0, 5.0)]
    expected = [("a b", 0, 1, 1.0), ("a b", 0, 2, 1.0), ("a b", 1, 1, 2.0), ("a b", 1, 2, 2.0)]
    expected += [("other", 0, 1, 5.0), ("other", 0, 2, 5.0)]
    assert ask_pool(pool, MEDIANS) == expected
    forbid(monkeypatch)
    assert len(pool.exposure_statistics(all_versions=True)) == 24
    pool.reindex()
    assert ask_pool(pool, MEDIANS) == expected
    assert len(pool.exposure_statistics(all_versions=True)) == 24
    # The versions that a product is from are its inputs.
    nodes = [node for root in pool.lineage("ExposureStatistics/a b") for node in root.walk()]
    assert {f"{node.row.kind}/{node.row.name}@{node.row.version}" for node in nodes} >= {
        "RateInts/a b@0", "RateInts/a b@1"
    }  # fmt: skip
    # Versions in the trash have none, and have them again.
    pool.remove("RateInts/a b@1")
    assert ask_pool(pool, MEDIANS) == [*expected[:2], *expected[4:]]
    pool.restore("RateInts/a b@1")
    assert ask_pool(pool, MEDIANS) == expected
    assert pool.verify().findings == []


def test_found_only_by_its_kind(pool: Pool) -> None:
    save(pool, 1.0)
    pool.exposure_statistics()
    assert [ref.kind for ref in pool.select()] == ["RateInts"]
    assert [ref.kind for ref in pool.select(MetaQuery(ExposureStatistics, "p", "1"))] == ["ExposureStatistics"]
    assert pool.ref("a b").kind == "RateInts"
    assert Home().summary(pool.name).products == 1
    assert Home().summary(pool.name).contexts == 0


def test_a_removed_record_is_measured_again(pool: Pool) -> None:
    save(pool, 1.0)
    pool.exposure_statistics()
    pool.remove("ExposureStatistics/a b")
    assert len(pool.exposure_statistics()) == 8
    assert [ref.version for ref in pool.select(MetaQuery(ExposureStatistics, "p", "1"))] == [1]


def test_what_another_measured_is_known(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sessions measure at once: the later product has lost the rows of the earlier one, and gets them again."""
    save(pool, 1.0)
    with Home().pool(pool.name) as other:
        save(other, 2.0)
        other.exposure_statistics()
        forbid(monkeypatch)
        assert len(pool.exposure_statistics()) == 8


@pytest.mark.parametrize("rounds", [1, 3])
def test_two_at_once_lose_nothing(pool: Pool, monkeypatch: pytest.MonkeyPatch, rounds: int) -> None:
    """Another session measures other versions of the same exposure, just before this one saves what it found."""
    for value in range(4):
        save(pool, value)
    real = statistics.update.commit_together
    left = list(range(1, 1 + rounds))

    def interrupted(core: Any, *given: Any, **options: Any) -> Any:
        if left and core is core_of(pool):
            with Home().pool(pool.name) as other:
                assert len(other.exposure_statistics(f"version == {left.pop()}", all_versions=True)) == 8
        return real(core, *given, **options)

    monkeypatch.setattr(statistics.update, "commit_together", interrupted)
    assert len(pool.exposure_statistics("version == 0", all_versions=True)) == 8
    assert left == []
    forbid(monkeypatch)
    whole = pool.exposure_statistics(f"version <= {rounds}", all_versions=True)
    assert sorted(set(whole["version"])) == list(range(rounds + 1))
    assert len(ask_pool(pool, MEDIANS)) == 2 * (rounds + 1)


def test_a_copy_brings_its_statistics(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    save(pool, 1.0)
    save(pool, 2.0)
    pool.exposure_statistics(all_versions=True)
    forbid(monkeypatch)
    with Home().create("second") as second:
        save(second, 7.0, "before")
        pool.copy_to(second, ["RateInts/a b@1", "ExposureStatistics/a b"])
        assert second.exposure_statistics("name == 'a b'")["median"].tolist() == [2.0] * 8


def test_equal_versions_and_names(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same data twice: as two versions, and under two names."""
    save(pool, 1.0)
    arrays = {"SCI": np.full((2, *SHAPE), 1.0, "f4")}
    meta = {**PLACE, "EFFINTTM": 1.0, "DATE-OBS": "2026-01-02", "TIME-OBS": "00:00:00"}
    pool.save(RateInts(meta, arrays, name="a b"), pixels=False, force=True)
    pool.save(RateInts(meta, arrays, name="other"), pixels=False)
    assert len(pool.exposure_statistics(all_versions=True)) == 24
    assert len(ask_pool(pool, MEDIANS)) == 6
    forbid(monkeypatch)
    monkeypatch.setattr(statistics.update, "read_record", lambda _: pytest.fail("a record was read again"))
    assert len(pool.exposure_statistics(all_versions=True)) == 24


def test_a_damaged_record_is_in_nobodys_way(pool: Pool) -> None:
    """SQL answers, and what the record had is measured again."""
    save(pool, 1.0)
    save(pool, 2.0, "other")
    table = np.zeros(1, [("content", "S8")])
    pool.save(ExposureStatistics(datasets={"STATISTICS": table}, name="a b"), pixels=False)
    pool.save(ExposureStatistics(datasets={"OTHER": table}, name="other"), pixels=False)
    assert len(pool.exposure_statistics()) == 16
    pool.save(ExposureStatistics(datasets={"STATISTICS": table}, name="bad"), pixels=False)
    pool.reindex()
    assert len(ask_pool(pool, MEDIANS)) == 4
    assert len(pool.exposure_statistics()) == 16


def test_odd_shapes_are_left_out(pool: Pool) -> None:
    """Each product of odd shape is left out with its reason, by monitors as well; the others are measured."""
    save(pool, 1.0)
    cube, ramp = np.ones((2, *SHAPE), "f4"), np.ones((2, 8, *SHAPE), "f4")
    when = {
        **PLACE,
        "SUBARRAY": "SUB64",
        "READPATT": "FASTR1",
        "DATE-OBS": "2026-01-02",
        "TIME-OBS": "00:00:00",
        "TGROUP": 1.0,
    }
    flags = np.zeros(ramp.shape, "u1")
    odd: list[Product] = [
        RateInts(when, {"SCI": cube, "DQ": np.zeros((2, 60, 72), "u4")}, name="rows of DQ"),
        RateInts(when, {"SCI": cube, "DQ": np.zeros((1, *SHAPE), "u4")}, name="integrations of DQ"),
        RateInts(when, {"SCI": cube, "DQ": np.zeros((2, *SHAPE), "f4")}, name="DQ of floats"),
        RateInts(when, {"SCI": cube, "ERR": np.zeros((2, 60, 72), "f4")}, name="rows of ERR"),
        Ramp(when, {"SCI": ramp, "GROUPDQ": flags[0, 0]}, name="axes of GROUPDQ"),
        Ramp(when, {"SCI": ramp, "GROUPDQ": flags[:, :5]}, name="groups of GROUPDQ"),
        Ramp(when, {"SCI": ramp, "PIXELDQ": np.zeros((60, 72), "u4")}, name="rows of PIXELDQ"),
        Ramp(when, {"SCI": ramp, "PIXELDQ": np.zeros((2, *SHAPE), "u4")}, name="axes of PIXELDQ"),
        Ramp(when, {"SCI": ramp, "REFOUT": np.zeros((2, 8, 64), "f4")}, name="axes of REFOUT"),
        Ramp(when, {"SCI": ramp, "REFOUT": np.zeros((1, 8, 64, 18), "f4")}, name="integrations of REFOUT"),
    ]
    for product in odd:
        pool.save(product, pixels=False)
    with pytest.warns(IncompleteAnswer) as warned:
        table = pool.exposure_statistics()
    assert sorted(set(table["name"])) == ["a b", "rows of ERR"]
    assert sum("has no statistics: its " in str(one.message) for one in warned) == 9
    for kind, count in (("RateInts", 4), ("Ramp", 4)):
        done = pool.create_monitor(kind, kind).update()
        assert len([why for _, why in done.left_out if "its " in why]) >= count, done.left_out
    for product in odd[4:8]:
        with pytest.raises(FormatError, match="DQ has the shape"):
            fit_group_slopes(product, 1, 8)
    with pytest.raises(InvalidInput, match="four axes"):
        fit_group_slopes(Ramp(when, {"SCI": cube}, name="a"), 1, 2)


def test_left_out_with_a_reason(pool: Pool) -> None:
    save(pool, 1.0)
    pool.save(RateInts({"DETECTOR": "MIRIMAGE"}, {"SCI": np.ones((1, *SHAPE), "f4")}, name="lost"), pixels=False)
    with pytest.warns(IncompleteAnswer, match="has no statistics: its header has SUBSTRT1"):
        assert len(pool.exposure_statistics()) == 8


def test_raw_is_measured_where_it_is_named(pool: Pool, tmp_path: Path) -> None:
    pool.save(simulate_exposure("r", subarray="SUB64", nints=1, ngroups=8).write_jpl(tmp_path), pixels=False)
    assert len(pool.exposure_statistics()) == 0
    table = pool.exposure_statistics("kind == 'Raw'")
    assert table["amplifier"].tolist() == [1, 2, 3, 4, 5]
    shown = call("statistics", pool.name, "--kind", "Raw", "--columns", "amplifier,flags,residuals").stdout
    assert re.fullmatch(r"5 +- -?\d+\.\d( -?\d+\.\d){5} -", shown.splitlines()[-1])
    assert ask_pool(pool, "SELECT count(*) FROM exposure_statistics WHERE amplifier = 5 AND cds_noise > 0") == [(1,)]


def test_as_files_are_added(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exposure = simulate_exposure("r", subarray="SUB64", nints=2, ngroups=8)
    calibration = Calibration("v1")
    file = exposure.write_rateints(tmp_path, calibration)
    assert call("add", pool.name, file, "--no-pixels", "--statistics").exit_code == 0
    again = exposure.write_rate(tmp_path, calibration)
    pool.ingest(again, pixels=False, statistics=True)
    forbid(monkeypatch)
    shown = call("statistics", pool.name)
    assert (shown.exit_code, len(shown.stdout.splitlines())) == (0, 1 + 8 + 4)


def test_the_command(pool: Pool) -> None:
    empty = call("statistics", pool.name, "--json")
    assert (empty.exit_code, json.loads(empty.stdout)) == (0, [])
    save(pool, 1.5)
    rows = json.loads(call("statistics", pool.name, "--json").stdout)
    assert len(rows) == 8
    assert rows[0] | {"urn": "", "flags": {}} == {
        "urn": "", "kind": "RateInts", "name": "a b", "version": 0, "time": "2026-01-02T00:00:00Z",
        "detector": "MIRIMAGE", "integration": 1, "amplifier": 1, "pixels": 64 * 17, "median": 1.5, "sigma": 0.0,
        **dict.fromkeys(("p0", "p5", "p16", "p50", "p84", "p95", "p100"), 1.5), "cds_noise": None, "cosmic_rays": None,
        "primecrs": None, "extncrs": None, "flags": {}, "residuals": [],
    }  # fmt: skip
    shown = call("statistics", pool.name, "--kind", "Raw", "--columns", "integration,flags,residuals").stdout
    assert shown.splitlines() == ["integration  flags  residuals"]
    table = call("statistics", pool.name, "RateInts/a b", "--columns", "integration,median", "--csv").stdout
    assert table.splitlines() == ["integration,median", *["1,1.5"] * 4, *["2,1.5"] * 4]
    save(pool, 2.5)
    both = json.loads(call("statistics", pool.name, "--all-versions", "--kind", "RateInts", "--json").stdout)
    assert [row["median"] for row in both] == [1.5] * 8 + [2.5] * 8
    with pytest.raises(InvalidInput, match="there is no column nonsense; there are urn, kind"):
        call("statistics", pool.name, "--columns", "nonsense")
