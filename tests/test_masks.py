"""Masks for a date: flags from the states of a monitor and from an older mask, as files that JWST's pipeline reads."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from homes import call, empty_home
from numpy.typing import NDArray

from miripool import Pool
from miripool.errors import AlreadyExists, FileMissing, InvalidInput
from miripool.formats import read_fits
from miripool.monitors import FLAGGING, STATES, DatedMask, PixelMonitor
from miripool.monitors.maskflags import bits_of, choose_flags, flags_in, judged_bits
from miripool.pipeline import Recipe
from miripool.pipeline.run import _environment
from miripool.query.pixelwhere import FLAGS
from miripool.simulate import LivesCampaign, simulate_lives

NUMBER = 24
DATE = datetime(2026, 1, 1, tzinfo=UTC)
DNU, HOT, WARM, DEAD = (FLAGS[name] for name in ("DO_NOT_USE", "HOT", "WARM", "DEAD"))
REFERENCE = FLAGS["REFERENCE_PIXEL"] | DNU


@pytest.fixture(scope="module")
def campaign() -> LivesCampaign:
    """Pixels that become hot and heal, by 8 to 25 standard errors of one exposure."""
    return simulate_lives(
        NUMBER, name="dark_{number:03d}", nints=4, lives={"hot": 300}, amplitude=(8, 25), margin=5, seed=5
    )


@pytest.fixture(scope="module")
def darks(campaign: LivesCampaign, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return campaign.write_rateints(tmp_path_factory.mktemp("darks"), date=DATE)


@pytest.fixture(scope="module")
def monitor_file(
    campaign: LivesCampaign, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[int], Path]]:
    """Give a monitor of the first exposures as a file. Updates take seconds, so each is done once."""
    folder = tmp_path_factory.mktemp("monitors")
    with empty_home(folder / "home", database_url, "masks") as home, home.create("made") as pool:

        @functools.cache
        def exposure(i: int) -> Path:
            return campaign.write_exposure(i, folder, date=DATE)

        @functools.cache
        def make(number: int) -> Path:
            files, name = map(exposure, range(number)), f"of {number}"
            return watch(pool, files, name, where=f"name <= 'dark_{number:03d}'").ref.to_fits(folder / f"{name}.fits")

        yield make


@pytest.fixture
def monitor(pool: Pool, monitor_file: Callable[[int], Path]) -> PixelMonitor:
    """All exposures, taken in."""
    pool.save(monitor_file(NUMBER), name="dark", kind="Monitor", pixels=False)
    return pool.monitor("dark")


@pytest.fixture
def short(pool: Pool, monitor_file: Callable[[int], Path]) -> PixelMonitor:
    """The first four exposures, taken in."""
    pool.save(monitor_file(4), name="dark", kind="Monitor", pixels=False)
    return pool.monitor("dark")


def watch(pool: Pool, files: Iterable[Path], name: str = "dark", **options: Any) -> PixelMonitor:
    for outcome in pool.ingest(files, pixels=False):
        assert outcome.error is None
    made = pool.create_monitor(name, **options)
    made.update()
    return made


def hot_at(campaign: LivesCampaign, exposure: int) -> NDArray[np.bool_]:
    lives = campaign.truth.lives
    now = lives[(lives["first"] <= exposure) & (exposure < lives["end"])]
    hot = np.zeros(campaign.truth.quiet.shape, bool)
    hot[now["row"], now["column"]] = True
    return hot


def write_base(
    path: Path, dq: Any, cards: Mapping[str, Any] | None = None, definitions: Mapping[str, int] | None = None
) -> Path:
    """Write a mask of SUB64, or of what the cards say."""
    place = {"SUBSTRT1": 1, "SUBSTRT2": 779, "SUBSIZE1": 72, "SUBSIZE2": 64}
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.asarray(dq, np.uint32), name="DQ")])
    hdus[0].header.update({"REFTYPE": "MASK", "DETECTOR": "MIRIMAGE", **place, **(cards or {})})
    if definitions is not None:
        rows = [(i, bit, name.encode(), b"") for i, (name, bit) in enumerate(definitions.items())]
        form = [("BIT", "i4"), ("VALUE", "u4"), ("NAME", "S40"), ("DESCRIPTION", "S80")]
        hdus.append(fits.BinTableHDU(np.array(rows, form), name="DQ_DEF"))
    hdus.writeto(path, overwrite=True)
    return path


def at_pixel(mask: DatedMask, x: int, y: int) -> list[str]:
    return flags_in(int(mask.dq[y - mask.place.y, x - mask.place.x]))


# What states set


def test_every_state_has_flags_that_exist() -> None:
    assert set(FLAGGING) == set(STATES)
    for light in ("dark", "flat", "sky"):
        assert all(bits_of(flagging, light) for flagging in FLAGGING.values())
    assert all(flagging.reason for flagging in FLAGGING.values())
    assert flags_in(judged_bits(FLAGGING, "dark")) == ["HOT", "WARM", "TELEGRAPH", "UNRELIABLE_SLOPE"]
    assert flags_in(judged_bits(FLAGGING, "flat")) == ["DEAD", "LOW_QE"]
    assert judged_bits(FLAGGING, "sky") == 0
    assert flags_in(bits_of(FLAGGING["step"], "flat")) == ["UNRELIABLE_FLAT"]


def test_flags_are_chosen() -> None:
    found = choose_flags({"step": "other_bad_pixel", "warm": None}, use=["rts"], do_not_use=["step"])
    assert flags_in(bits_of(found["step"], "flat")) == ["DO_NOT_USE", "OTHER_BAD_PIXEL"]
    assert bits_of(found["warm"], "dark") == 0
    assert flags_in(bits_of(found["rts"], "dark")) == ["TELEGRAPH"]
    assert found["hot"] == FLAGGING["hot"]
    assert bits_of(choose_flags({"hot": "NONE"})["hot"], "dark") == 0
    assert not judged_bits(found, "dark") & WARM  # a state that leaves no mark denies nothing
    noisy = choose_flags({"noisy": None})
    assert not judged_bits(noisy, "dark") & FLAGS["UNRELIABLE_SLOPE"]  # unstable pixels alone can't deny it
    for options, words in (
        ({"flags": {"hto": "HOT"}}, "did you mean hot"),
        ({"flags": {"hot": "HOTT"}}, "did you mean HOT"),
        ({"flags": {"hot": "GOOD"}}, "no flag 'GOOD'"),
        ({"use": ["steps"]}, "no state 'steps'"),
        ({"use": ["hot"], "do_not_use": ["hot", "warm"]}, "hot: a state can't be both"),
    ):
        with pytest.raises(InvalidInput, match=words):
            choose_flags(**options)  # type: ignore[arg-type]


# Against the truth


@pytest.mark.slow
def test_hot_pixels_of_three_dates(monitor: PixelMonitor, campaign: LivesCampaign) -> None:
    seen = 0
    for exposure in (7, 12, 17):
        mask = monitor.mask(campaign.times[exposure] + timedelta(hours=5))
        hot, truth = mask.dq & HOT != 0, hot_at(campaign, exposure)
        assert np.count_nonzero(hot & truth) >= 0.98 * np.count_nonzero(truth)  # recall
        assert np.count_nonzero(hot & truth) >= 0.98 * np.count_nonzero(hot)  # precision
        assert (mask.dq[hot] & DNU != 0).all()
        assert mask.states["hot"] == np.count_nonzero(hot)
        assert len(mask.born) == np.count_nonzero(mask.dq[:, 4:] & DNU) - np.count_nonzero(
            campaign.detector.mask[:, 4:]
        )
        assert not len(mask.healed)
        seen += np.count_nonzero(truth)
    assert seen > 100


@pytest.mark.slow
def test_an_episode_counts_from_its_begin_up_to_its_end(monitor: PixelMonitor) -> None:
    ended = next(row for row in monitor.states("hot") if not np.ma.is_masked(row["end"]))
    begin, end = (row.to_datetime(UTC) for row in (ended["begin"], ended["end"]))
    second = timedelta(seconds=1)
    for time, there in ((begin - second, False), (begin, True), (end - second, True), (end, False)):
        assert ("HOT" in at_pixel(monitor.mask(time), ended["x"], ended["y"])) == there
    lasting = monitor.states(at=monitor.exposures()["time"][-1].to_datetime(UTC))
    far = monitor.mask(datetime(2030, 1, 1, tzinfo=UTC))
    assert sum(far.states.values()) == len(lasting)


@pytest.mark.slow
def test_what_has_no_rate(monitor: PixelMonitor, campaign: LivesCampaign) -> None:
    """Without a base, pixels that the exposures' own mask took out can't become good."""
    mask = monitor.mask(campaign.times[12])
    bad = campaign.detector.mask.copy()
    bad[:, :4] = 0
    assert (mask.dq[bad != 0] == FLAGS["OTHER_BAD_PIXEL"] | DNU).all()
    assert (mask.dq[:, :4] == REFERENCE).all()
    assert (mask.dq[:, 4:] & FLAGS["REFERENCE_PIXEL"] == 0).all()
    (notice,) = mask.notices
    assert notice.startswith(f"{np.count_nonzero(bad)} pixels have no rate")
    with_base = np.where(bad, DEAD | DNU, 0)
    assert (monitor.mask(campaign.times[12], base=read_base(with_base)).dq[bad != 0] == DEAD | DNU).all()


def read_base(dq: Any, **cards: Any) -> Any:
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.asarray(dq, np.uint32), name="DQ")])
    place = {"SUBSTRT1": 1, "SUBSTRT2": 779, "SUBSIZE1": 72, "SUBSIZE2": 64}
    hdus[0].header.update({"REFTYPE": "MASK", "DETECTOR": "MIRIMAGE", **place, **cards})
    return read_fits(hdus, name="base", kind="Product")


@pytest.mark.slow
def test_dates_outside_of_the_exposures(short: PixelMonitor, campaign: LivesCampaign) -> None:
    first, last = campaign.times[0], campaign.times[3]
    (notice, _) = short.mask(first - timedelta(seconds=1)).notices
    assert "before the first exposure of stratum 0 (2024-01-01T00:00:00)" in notice
    dq = np.zeros((64, 72), np.uint32)
    dq[10, 10] = HOT | DNU
    before = short.mask(first - timedelta(days=100), base=read_base(dq))
    assert at_pixel(before, 11, 789) == ["DO_NOT_USE", "HOT"]  # nothing is known of that date: the base stands
    assert not len(before.born)
    assert not len(before.healed)
    assert before.states == {}
    assert len(short.mask(first).notices) == 1
    assert len(short.mask(last + timedelta(hours=12)).notices) == 1  # as far as the exposures are from each other
    (notice, _) = short.mask(last + timedelta(days=3)).notices
    assert "3 days after the last exposure" in notice


# The base


@pytest.mark.slow
def test_flags_of_the_base(monitor: PixelMonitor, campaign: LivesCampaign, tmp_path: Path) -> None:
    """Darks deny HOT, and the DO_NOT_USE that went with it; they know nothing of DEAD and NON_SCIENCE."""
    quiet = [(int(r), int(c)) for r, c in zip(*np.nonzero(campaign.truth.quiet), strict=True)]
    hot = hot_at(campaign, 12)
    row, column = (int(n[0]) for n in np.nonzero(hot))
    given = {
        (*quiet[100],): ["DO_NOT_USE", "HOT"],
        (*quiet[200],): ["WARM"],
        (*quiet[300],): ["DO_NOT_USE", "DEAD"],
        (*quiet[400],): ["DO_NOT_USE", "HOT", "DEAD"],
        (*quiet[500],): ["NON_SCIENCE"],
        (*quiet[600],): ["DO_NOT_USE"],
        (*quiet[700],): ["NON_SCIENCE", "UNRELIABLE_SLOPE"],
        (row, column): ["NON_SCIENCE"],
    }
    wanted = [[], [], ["DO_NOT_USE", "DEAD"], ["DO_NOT_USE", "DEAD"], ["NON_SCIENCE"], ["DO_NOT_USE"], ["NON_SCIENCE"]]
    wanted.append(["DO_NOT_USE", "NON_SCIENCE", "HOT"])
    dq = np.zeros((64, 72), np.uint32)
    for place, names in given.items():
        dq[place] = sum(FLAGS[name] for name in names)
    mask = monitor.mask(campaign.times[12], base=write_base(tmp_path / "base.fits", dq))
    assert [flags_in(int(mask.dq[place])) for place in given] == wanted
    assert mask.notices == ()
    assert [(c["x"], c["y"]) for c in mask.healed] == [(quiet[100][1] + 1, quiet[100][0] + 779)]
    assert mask.healed["before"].tolist() == [HOT | DNU]
    assert mask.healed["after"].tolist() == [0]
    assert len(mask.born) == np.count_nonzero((mask.dq & DNU != 0) & (dq & DNU == 0)) - 4 * 64
    assert mask.origin.base == "base.fits"
    assert mask.origin.inputs == (str(monitor.ref.urn),)
    again = monitor.mask(campaign.times[12], base=write_base(tmp_path / "later.fits", mask.dq))
    assert np.array_equal(again.dq, mask.dq)
    assert not len(again.born)
    silent = monitor.mask(campaign.times[12], base=tmp_path / "base.fits", flags={"hot": None})
    assert flags_in(int(silent.dq[quiet[100]])) == ["DO_NOT_USE", "HOT"]
    assert np.count_nonzero(silent.dq & HOT) == 2


@pytest.mark.slow
def test_a_base_of_the_full_array(short: PixelMonitor, campaign: LivesCampaign, tmp_path: Path) -> None:
    full = {"SUBSTRT1": 1, "SUBSTRT2": 1, "SUBSIZE1": 1032, "SUBSIZE2": 1024}
    dq = np.zeros((1024, 1032), np.uint32)
    dq[[500, 800], 500] = HOT | DNU  # outside of SUB64
    dq[800, 20] = HOT | DNU
    mask = short.mask(campaign.times[2], base=write_base(tmp_path / "full.fits", dq, full))
    assert mask.dq.shape == (1024, 1032)
    assert (mask.dq[[500, 800], 500] == HOT | DNU).all()
    assert at_pixel(mask, 21, 801) == []
    assert (mask.dq[:, -4:] == REFERENCE).all()
    assert len(mask.healed) == 1
    header = fits.getheader(mask.write(tmp_path / "mask.fits"))
    assert [header[key] for key in ("SUBARRAY", "SUBSTRT2", "SUBSIZE1")] == ["GENERIC", 1, 1032]
    path = write_base(tmp_path / "old.fits", dq)
    for key in full:
        fits.delval(path, key)
    assert np.array_equal(short.mask(campaign.times[2], base=path).dq, mask.dq)


@pytest.mark.slow
def test_bits_of_the_base_are_translated(short: PixelMonitor, campaign: LivesCampaign, tmp_path: Path) -> None:
    """As datamodels do: older masks of MIRI have bits of their own, which DQ_DEF defines."""
    own = {"DO_NOT_USE": 1, "DEAD": 2, "HOT": 4, "CDP_ODD": 8, "CDP_UNUSED": 16}
    dq = np.zeros((64, 72), np.uint32)
    dq[20, 20], dq[20, 21], dq[20, 22] = 3, 5, 8
    mask = short.mask(campaign.times[2], base=write_base(tmp_path / "cdp.fits", dq, definitions=own))
    assert [at_pixel(mask, x, 799) for x in (21, 22, 23)] == [["DO_NOT_USE", "DEAD"], [], []]
    (notice,) = mask.notices
    assert notice.endswith("left out: CDP_ODD")


@pytest.mark.slow
def test_a_base_of_the_pool(pool: Pool, short: PixelMonitor, campaign: LivesCampaign, tmp_path: Path) -> None:
    first = short.mask(campaign.times[1])
    saved = short.save_mask(first)
    file = first.write(tmp_path / "first.fits")
    for base in (saved, "Product/dark_mask_2024-01-01T120000", str(saved.urn), file, str(file)):
        mask = short.mask(campaign.times[2], base=base)
        assert mask.origin.inputs == (str(short.ref.urn), str(saved.urn))
        assert mask.origin.base == str(saved.urn)
    assert np.array_equal(short.mask(campaign.times[1], base=saved).dq, first.dq)


@pytest.mark.slow
def test_bases_that_do_not_fit(short: PixelMonitor, campaign: LivesCampaign, tmp_path: Path) -> None:
    zeros = np.zeros((64, 72), np.uint32)
    path = tmp_path / "base.fits"
    for dq, cards, words in (
        (zeros, {"DETECTOR": "MIRIFULONG"}, "is of MIRIFULONG, and the monitor's exposures are of MIRIMAGE"),
        (zeros, {"DETECTOR": ""}, "is of no detector"),
        (zeros, {"REFTYPE": "DARK"}, "REFTYPE is DARK"),
        (zeros, {"SUBSTRT2": 1}, "are not all in those of the base base.fits"),
        (zeros[:10], {}, "has 72 columns and 10 rows, but its header says"),
        (zeros[:10], {"SUBSIZE2": 10}, "columns 1 to 72, rows 779 to 842"),
        (zeros[None], {}, "no image of flags"),
        (zeros, {"SUBSTRT1": 0}, "SUBSTRT1"),
    ):
        with pytest.raises(InvalidInput, match=words):
            short.mask(campaign.times[2], base=write_base(path, dq, cards))
    fits.HDUList([fits.PrimaryHDU()]).writeto(path, overwrite=True)
    with pytest.raises(InvalidInput, match="is no MASK reference file: no DQ"):
        short.mask(campaign.times[2], base=path)
    with pytest.raises(FileMissing, match="no such file, and the pool has no such version"):
        short.mask(campaign.times[2], base="none.fits")
    with pytest.raises(FileMissing):
        short.mask(campaign.times[2], base=tmp_path / "none.fits")


# Regions and strata


@pytest.mark.slow
def test_a_region(pool: Pool, darks: list[Path], campaign: LivesCampaign) -> None:
    """The mask covers the subarray, so that the pipeline can use it; nothing is known outside of the region."""
    part = watch(pool, darks[:4], "part of it", region="10:20,780:789")
    mask = part.mask(campaign.times[2])
    assert mask.dq.shape == (64, 72)
    outside = mask.dq.copy()
    outside[1:11, 9:20] = 0
    outside[:, :4] = 0
    assert not outside.any()
    assert mask.name == "part of it_mask_2024-01-02"
    dq = np.full((64, 72), HOT | DNU, np.uint32)
    with_base = part.mask(campaign.times[2], base=read_base(dq))
    assert np.count_nonzero(with_base.dq & HOT == 0) == 110 - np.count_nonzero(campaign.detector.mask[1:11, 9:20])


@pytest.mark.slow
def test_strata_are_chosen(pool: Pool, darks: list[Path], campaign: LivesCampaign) -> None:
    for path in darks[:6]:
        product = read_fits(path)
        product.meta["READPATT"] = "SLOWR1"
        product.meta["EXP_TYPE"] = "MIR_FLATIMAGE"
        level = product["SCI"][...] + np.float32(1000)
        level[:, 30, 30] = 1  # dead
        pool.save(product.replace(SCI=level), name=f"{product.name}_slow", pixels=False)
    both = watch(pool, darks[:6])
    at = campaign.times[5]
    with pytest.raises(
        InvalidInput, match=r"has 2 strata; choose one or more \(--stratum 0 or 0,1\): 0: MIRIMAGE .* 6 exposures"
    ):
        both.mask(at)
    for strata in ([2], [0, 7], []):
        with pytest.raises(InvalidInput, match="has no stratum"):
            both.mask(at, strata=strata)
    dq = np.zeros((64, 72), np.uint32)
    dq[30, 30], dq[40, 40], dq[41, 41] = HOT | DNU, HOT | DNU, DEAD | DNU
    dark, flat, joined = (both.mask(at, strata=strata, base=read_base(dq)) for strata in ([0], [1], [1, 0]))
    places = ((31, 809), (41, 819), (42, 820))
    assert [at_pixel(dark, *place) for place in places] == [[], [], ["DO_NOT_USE", "DEAD"]]
    assert [at_pixel(flat, *place) for place in places] == [["DO_NOT_USE", "DEAD", "HOT"], ["DO_NOT_USE", "HOT"], []]
    assert [at_pixel(joined, *place) for place in places] == [["DO_NOT_USE", "DEAD"], [], []]
    assert joined.states["dead"] == 1
    assert len(joined.origin.strata) == 2


@pytest.mark.slow
def test_detectors_do_not_mix(pool: Pool, darks: list[Path], campaign: LivesCampaign) -> None:
    for path in darks[:3]:
        product = read_fits(path)
        product.meta["DETECTOR"] = "MIRIFUSHORT"
        pool.save(product, name=f"{product.name}_short", pixels=False)
    both = watch(pool, darks[:3])
    with pytest.raises(InvalidInput, match="not MIRIFUSHORT and MIRIMAGE"):
        both.mask(campaign.times[2], strata=[0, 1])
    assert both.mask(campaign.times[2], strata=[0]).detector.name == "MIRIFUSHORT"


@pytest.mark.slow
def test_monitors_that_can_not(pool: Pool, campaign: LivesCampaign) -> None:
    empty = pool.create_monitor("my darks, 2026")
    with pytest.raises(InvalidInput, match="'my darks, 2026' has no exposures yet; update it first"):
        empty.mask(campaign.times[0])
    with pytest.raises(InvalidInput, match="no time zone"):
        empty.mask(datetime(2024, 1, 1))


# Files and versions


def test_the_file(short: PixelMonitor, campaign: LivesCampaign, tmp_path: Path) -> None:
    mask = short.mask(campaign.times[2] + timedelta(hours=1))
    path = mask.write(tmp_path / "mask.fits")
    with fits.open(path) as hdus:
        hdus.verify("exception")
        header, dq, table = hdus[0].header, hdus["DQ"].data, hdus["DQ_DEF"].data
        assert (dq.dtype.kind, dq.dtype.itemsize) == ("u", 4)
        assert np.array_equal(dq, mask.dq)
        assert dict(zip(table["NAME"], table["VALUE"], strict=True)) == mask.definitions
        assert all(2 ** int(bit) == value for bit, value in zip(table["BIT"], table["VALUE"], strict=True))
        assert all(table["DESCRIPTION"])
    wanted = {
        **{"REFTYPE": "MASK", "INSTRUME": "MIRI", "DETECTOR": "MIRIMAGE", "SUBARRAY": "SUB64", "TELESCOP": "JWST"},
        **{"SUBSTRT1": 1, "SUBSTRT2": 779, "SUBSIZE1": 72, "SUBSIZE2": 64, "FASTAXIS": 1, "SLOWAXIS": 2},
        **{"USEAFTER": "2024-01-02T01:00:00", "PEDIGREE": "INFLIGHT 2024-01-01 2024-01-02", "AUTHOR": "miripool"},
    }
    assert {key: header[key] for key in wanted} == wanted
    assert "2024-01-02T01:00:00" in header["DESCRIP"]
    assert any(str(short.ref.urn) in line for line in header["HISTORY"])
    with pytest.raises(AlreadyExists):
        mask.write(path)
    before = path.read_bytes()
    assert mask.write(path, overwrite=True).read_bytes() == before
    assert mask.write(tmp_path / "mask.fits.gz").read_bytes()[:2] == b"\x1f\x8b"


@pytest.mark.slow
def test_it_is_saved_with_its_provenance(
    pool: Pool, short: PixelMonitor, campaign: LivesCampaign, tmp_path: Path
) -> None:
    mask = short.mask(campaign.times[2], flags={"step": "OTHER_BAD_PIXEL"})
    saved = short.save_mask(mask, tag="for the paper")
    assert (saved.kind, saved.name, saved.version) == ("Product", "dark_mask_2024-01-02", 0)
    assert saved.to_fits(tmp_path / "pool.fits").read_bytes() == mask.write(tmp_path / "own.fits").read_bytes()
    (history,) = pool.history(saved)
    assert history["inputs"] == [str(short.ref.urn)]
    assert history["parameters"]["flags"]["step"] == "OTHER_BAD_PIXEL"
    (use,) = pool.uses(short.ref)
    assert (use.row.kind, use.row.name) == ("Product", "dark_mask_2024-01-02")
    assert str(pool.lineage(saved)).splitlines()[0].startswith("Monitor/dark@")
    again = short.save_mask(short.mask(campaign.times[2], flags={"step": "OTHER_BAD_PIXEL"}))
    assert again == saved
    assert short.save_mask(short.mask(campaign.times[2])).version == 1
    assert short.save_mask(mask, "another").name == "another"


@pytest.mark.slow
def test_on_the_command_line(pool: Pool, monitor: PixelMonitor, campaign: LivesCampaign, tmp_path: Path) -> None:
    out, later = tmp_path / "mask.fits", tmp_path / "later.fits"
    command = ("monitor", "mask", "jpl8", "dark", "--out")
    done = call(*command, out, "--at", campaign.times[7].isoformat())
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[0].split() == ["state", "flags", "pixels"]
    assert "DO_NOT_USE; without a base" in done.stderr
    assert f"wrote {out}, saved as urn:jpl8:Product:" in done.stderr
    assert "have no rate" in done.stderr
    (found,) = json.loads(call(*command, later, "--at", "2024-01-09T12:00:00", "--base", out, "--json").stdout)
    ref = pool.ref("Product/dark_mask_2024-01-09T120000")
    assert (found["urn"], found["file"], found["version"]) == (str(ref.urn), str(later), 0)
    assert pool.history(ref)[0]["inputs"] == [str(monitor.ref.urn), str(pool.ref("dark_mask_2024-01-04T120000").urn)]
    assert read_fits(later)["DQ"].shape == (64, 72)
    healed = hot_at(campaign, 7) & ~hot_at(campaign, 17)
    assert len(found["healed"]) == pytest.approx(np.count_nonzero(healed), abs=1)
    assert found["healed"][0]["before"] == ["DO_NOT_USE", "HOT"]
    assert found["born"][0]["after"] == ["DO_NOT_USE", "HOT"]
    assert found["states"]["hot"] == found["flags"]["HOT"]
    (same,) = json.loads(
        call(*command, later, "--at", "2024-01-09T12:00:00", "--base", out, "--json", "--overwrite").stdout
    )
    assert same == found
    changed = call(
        *(*command, tmp_path, "--at", "2024-01-09", "--flag", "hot=OTHER_BAD_PIXEL", "--flag", "warm=NONE"),
        *("--use", "hot, rts", "--do-not-use", "noisy", "--json", "--name", "my mask", "--tag", "trial"),
    )
    (other,) = json.loads(changed.stdout)
    assert other["file"] == str(tmp_path / "my mask.fits")
    assert "HOT" not in other["flags"]
    assert other["flags"]["OTHER_BAD_PIXEL"] > other["states"]["hot"]
    assert [ref.name for ref in pool.tagged("trial")] == ["my mask"]
    (alone,) = json.loads(call(*command, tmp_path / "alone.fits", "--at", "2024-01-09", "--no-save", "--json").stdout)
    assert alone["urn"] is None
    assert (tmp_path / "alone.fits").exists()


def test_errors_on_the_command_line(pool: Pool, short: PixelMonitor, tmp_path: Path) -> None:
    there = tmp_path / "there.fits"
    there.write_text("something")
    for options, error, words in (
        (("--at", "yesterday"), InvalidInput, "'yesterday' is not a time"),
        (("--flag", "hot"), InvalidInput, "write STATE=FLAG"),
        (("--flag", "hot=HOOT"), InvalidInput, "no flag 'HOOT'"),
        (("--use", "cold"), InvalidInput, "no state 'cold'"),
        (("--stratum", "one"), InvalidInput, "write numbers from 0"),
        (("--stratum", "1"), InvalidInput, "has no stratum 1; its strata are 0: MIRIMAGE SUB64"),
        (("--no-save", "--tag", "x"), InvalidInput, "leave out --no-save"),
        (("--out", there), AlreadyExists, "--overwrite"),
        (("--out", tmp_path / "none" / "x.fits"), FileMissing, "no such folder"),
        (("--base", there.with_name("none.fits")), FileMissing, "no such file"),
    ):
        given = ("--at", "2024-01-02", "--out", tmp_path / "mask.fits", *options)
        with pytest.raises(error, match=words):
            call("monitor", "mask", "jpl8", "dark", *given)
    assert pool.select("kind == 'Product'").size() == 0
    assert there.read_text() == "something"
    assert list(tmp_path.glob("*.fits")) == [there]


# JWST's own software

_STEP = """
import sys
from jwst.dq_init import DQInitStep

DQInitStep.call(sys.argv[1], override_mask=sys.argv[2]).save(sys.argv[3])
"""


@pytest.mark.jwst
@pytest.mark.slow
def test_the_datamodel_opens_it(short: PixelMonitor, campaign: LivesCampaign, tmp_path: Path) -> None:
    from stdatamodels.jwst import datamodels

    full = {"SUBSTRT1": 1, "SUBSTRT2": 1, "SUBSIZE1": 1032, "SUBSIZE2": 1024}
    base = read_base(np.full((1024, 1032), FLAGS["ADJ_OPEN"] | FLAGS["NON_SCIENCE"]), **full)
    for mask in (short.mask(campaign.times[2]), short.mask(campaign.times[2], base=base)):
        with datamodels.MaskModel(mask.write(tmp_path / "mask.fits", overwrite=True), strict_validation=True) as model:
            model.validate()
            assert np.array_equal(model.dq, mask.dq)
            assert model.meta.reftype == "MASK"
            assert model.meta.useafter == "2024-01-02T00:00:00"
            assert model.meta.subarray.xsize == mask.dq.shape[1]
            assert len(model.dq_def) == len(mask.definitions)


@pytest.mark.jwst
def test_flags_are_those_of_the_datamodels() -> None:
    from stdatamodels.jwst.datamodels import dqflags

    assert {name: value for name, value in dqflags.pixel.items() if value} == dict(FLAGS)


@pytest.mark.jwst
@pytest.mark.slow
def test_the_pipeline_uses_it(monitor: PixelMonitor, campaign: LivesCampaign, simulated: Path, tmp_path: Path) -> None:
    """Offline, with a mask of the subarray and with one of the FULL array, from which it cuts the subarray."""
    (raw,) = (simulated / "uncal").glob("*_uncal.fits")
    full = {"SUBSTRT1": 1, "SUBSTRT2": 1, "SUBSIZE1": 1032, "SUBSIZE2": 1024}
    base = read_base(np.zeros((1024, 1032)), **full)
    for name, mask in {
        "own": monitor.mask(campaign.times[12]),
        "full": monitor.mask(campaign.times[12], base=base),
    }.items():
        (tmp_path / name).mkdir()
        path, result = mask.write(tmp_path / f"{name}.fits"), tmp_path / f"{name}_dqinit.fits"
        command = [sys.executable, "-c", _STEP, str(raw), str(path), str(result)]
        offline = _environment(Recipe(overrides={"mask": path}), tmp_path / name)
        done = subprocess.run(command, cwd=tmp_path, env=offline, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        wanted = mask.dq if name == "own" else mask.dq[778:842, :72]
        with fits.open(result) as hdus:
            assert np.array_equal(hdus["PIXELDQ"].data, wanted)
            assert np.array_equal(hdus["GROUPDQ"].data[0, 0] & DNU, (wanted & DNU).astype(np.uint8))
            assert np.count_nonzero(hdus["PIXELDQ"].data & HOT) > 50
