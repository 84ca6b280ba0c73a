"""Ground tests' files: read as Level-1b products, given back as they were."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from homes import call, write_image

from miripool import Home, Pool, Raw
from miripool.errors import FormatError, InvalidInput
from miripool.formats import read_fits, to_datamodel, write_fits
from miripool.instruments.miri import SUBARRAYS
from miripool.model.keywords import dictionary
from miripool.pool.core import core_of
from miripool.query.evaluator import evaluate
from miripool.query.parser import parse
from miripool.simulate import SimulatedExposure, simulate_exposure

KEYS = """
NINTS NGROUPS SUBARRAY SUBSTRT1 SUBSTRT2 SUBSIZE1 SUBSIZE2 READPATT TGROUP TFRAME EXPSTART DETECTOR FILTER EXP_TYPE
EFFINTTM EFFEXPTM NSAMPLES TSAMPLE NRESETS NRSTSTRT LAMP OBS_ID EXPOSURE
"""
NAME = "jw01033005001_03103_00001_mirimage"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def bench(exposure: SimulatedExposure, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exposure.write_jpl(tmp_path_factory.mktemp("bench"))


def changed(path: Path, target: Path, change: Callable[[Any], Any] | None = None, **cards: Any) -> Path:
    """Write a bench's file with other cards (None: without), or frames."""
    with fits.open(path) as hdus:
        frames, header = hdus[0].data, hdus[0].header
        for key, value in cards.items():
            if value is None:
                del header[key]
            else:
                header[key] = value
        hdu = fits.PrimaryHDU(frames if change is None else change(frames), header)
    hdu.writeto(target, overwrite=True)
    return target


def test_the_exposure_is_there(bench: Path, exposure: SimulatedExposure) -> None:
    product = read_fits(bench)
    assert isinstance(product, Raw)
    assert product.name == NAME
    assert list(product) == ["SCI", "REFOUT", "GROUP", "INT_TIMES", "ASDF"]
    assert np.array_equal(product["SCI"][...], exposure.sci)
    assert np.array_equal(product["REFOUT"][...], exposure.refout)
    assert np.array_equal(product["SCI"][1, 2:5, 10, 20:30], exposure.sci[1, 2:5, 10, 20:30])
    assert np.array_equal(product["REFOUT"][-1, ::3, 5:7, 3], exposure.refout[-1, ::3, 5:7, 3])
    assert np.array_equal(product["SCI"][[0, 2]], exposure.sci[[0, 2]])
    assert np.array_equal(product["REFOUT"][[0, 2]], exposure.refout[[0, 2]])


def test_it_means_what_the_level_1b_file_says(bench: Path, exposure: SimulatedExposure, tmp_path: Path) -> None:
    ground, uncal = read_fits(bench), read_fits(exposure.write_uncal(tmp_path))
    same = (
        "NINTS NGROUPS NFRAMES READPATT SUBARRAY SUBSTRT1 SUBSTRT2 SUBSIZE1 SUBSIZE2 TGROUP TFRAME EFFINTTM DETECTOR "
        "INSTRUME INTSTART INTEND NSAMPLES EXPSTART EXPMID EXPEND FASTAXIS SLOWAXIS NRESETS DATE-OBS TIME-OBS"
    )
    for key in same.split():
        one, other = ground.meta[key].value, uncal.meta[key].value
        assert one == (pytest.approx(other) if isinstance(other, float) else other), key
    for name in ("GROUP", "INT_TIMES"):
        assert np.array_equal(ground[name][...], uncal[name][...])
    assert ground.meta["ORIGIN"].value == "JPL"


@pytest.mark.slow
def test_the_file_comes_back(bench: Path, pool: Pool, tmp_path: Path) -> None:
    assert sha256(write_fits(read_fits(bench), tmp_path / "read.fits")) == sha256(bench)
    ref = pool.save(bench)
    assert (ref.kind, ref.filename, ref.bytes) == ("Raw", bench.name, bench.stat().st_size)
    assert sha256(ref.to_fits(tmp_path / "saved.fits")) == sha256(bench)
    assert pool.save(bench).notice == "unchanged: version 0"
    assert call("export", "jpl8", "--jwst", f"Raw/{NAME}", str(tmp_path)).exit_code == 0
    made = tmp_path / f"{NAME}_uncal.fits"
    assert np.array_equal(fits.getdata(made, "SCI"), ref.product["SCI"])
    assert fits.getval(made, "DATAMODL") == "Level1bModel"
    assert [hdu.name for hdu in ref.to_hdulist()] == ["PRIMARY", "SCI", "REFOUT", "GROUP", "INT_TIMES", "ASDF"]
    model = to_datamodel(ref.product)
    assert model.meta.exposure.ngroups == 8
    assert np.array_equal(model.refout, ref.product["REFOUT"])


def test_it_is_a_raw_exposure_like_any_other(bench: Path, pool: Pool, home: Home) -> None:
    pool.save(bench)
    assert pool.select("kind == 'Raw' and ngroups == 8 and subarray == 'SUB64' and ORIGIN == 'JPL'").size() == 1
    assert len(pool.pixel(1, 779).ramps(Raw)) == 3
    assert core_of(pool).pixel_rows.pending() == []


def test_all_of_the_header_is_content(bench: Path, pool: Pool, tmp_path: Path) -> None:
    pool.save(changed(bench, tmp_path / "a.fits"))
    other = changed(bench, tmp_path / "b.fits", WALLTIME=12.5)
    saved = pool.save(other, name="a")
    assert saved.version == 1
    assert [str(card) for card in pool.diff("Raw/a@0", "Raw/a@1").cards] == ["BENCH.WALLTIME: — → 12.5"]
    assert sha256(saved.to_fits(tmp_path / "out.fits")) == sha256(other)
    renewed = changed(bench, tmp_path / "c.fits", DATE="2030-01-01")
    assert pool.save(renewed, name="a").version == 0  # the same data, written again


@pytest.mark.parametrize("name", [*SUBARRAYS, "GENERIC"])
def test_subarrays(name: str, bench: Path, tmp_path: Path) -> None:
    place = SUBARRAYS.get(name, SUBARRAYS["SUB64"])
    frames = np.zeros((1, place.rows * 5 // 4, place.columns), "u2")
    path = changed(
        bench,
        tmp_path / "a.fits",
        lambda _: frames,
        NINT=1,
        NGROUPS=1,
        INTTIME=1.0,
        ROWSTART=place.y + (name == "GENERIC"),
        COLSTART=(place.x - 1) // 4 * 5 + 1,
    )
    meta = read_fits(path).meta
    found = [meta[key].value for key in ("SUBARRAY", "SUBSTRT1", "SUBSTRT2", "SUBSIZE1", "SUBSIZE2")]
    # The bench counts groups of four columns: ILLUM begins within one.
    x, y = (place.x - 1) // 4 * 4 + 1, place.y + (name == "GENERIC")
    assert found == [name, x, y, place.columns, place.rows]


def test_fillers_are_no_dates(bench: Path, pool: Pool, tmp_path: Path) -> None:
    path = changed(bench, tmp_path / "a.fits", DATE_OBS="yyyy-mm-dd", TIME_OBS="hh:mm:ss")
    product = read_fits(path)
    for key in ("DATE-OBS", "TIME-OBS", "EXPSTART", "EXPEND"):
        assert key not in product.meta
    assert "INT_TIMES" not in product
    assert set(product["GROUP"]["group_end_time"]) == {""}
    ref = pool.save(path)
    assert pool.select("DATE-OBS is null and ngroups == 8").size() == 1
    assert sha256(ref.to_fits(tmp_path / "b.fits")) == sha256(path)
    no_such_day = changed(bench, tmp_path / "a.fits", DATE_OBS="2018-02-31")
    assert "DATE-OBS" not in read_fits(no_such_day).meta


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ({"NINT": 4}, "4 integrations of 8 groups, 32 frames, but its image has 24"),
        ({"NINT": 2}, "2 integrations of 8 groups, 16 frames, but its image has 24"),
        ({"NGROUPS": 25}, "less than one integration"),
        ({"NGROUPS": 0}, "NGROUPS = 0"),
        ({"NINT": "many"}, "NINT = 'many'"),
        ({"ROWSTART": 1000}, "outside the detector"),
        ({"COLSTART": -5}, "COLSTART = -5"),
    ],
)
def test_what_contradicts_itself(cards: dict[str, Any], message: str, bench: Path, tmp_path: Path) -> None:
    path = changed(bench, tmp_path / "wrong.fits", **cards)
    with pytest.raises(FormatError, match=f"wrong.fits: .*{message}"):
        read_fits(path)
    assert read_fits(path, kind="Product").kind == "Product"


def test_rows_that_are_no_fifth(bench: Path, tmp_path: Path) -> None:
    for rows in (79, 81):
        path = changed(bench, tmp_path / "odd.fits", lambda f, rows=rows: np.resize(f, (24, rows, 72)))
        with pytest.raises(FormatError, match=f"{rows} rows; one fifth"):
            read_fits(path)
    narrow = changed(bench, tmp_path / "odd.fits", lambda f: f[:, :, :70])
    with pytest.raises(FormatError, match="one value for four pixels"):
        read_fits(narrow)


@pytest.mark.slow
@pytest.mark.parametrize(("nint", "kept", "left"), [(4, 3, 0), (2, 2, 8), (3, 2, 6)])
def test_whole_integrations_can_be_kept(
    nint: int, kept: int, left: int, bench: Path, exposure: SimulatedExposure, pool: Pool, tmp_path: Path
) -> None:
    frames = 24 if nint != 3 else 22
    path = changed(bench, tmp_path / "short.fits", lambda f: f[:frames], NINT=nint)
    told = call("add", "jpl8", path)
    assert told.exit_code == FormatError.exit_code
    assert "--truncate" in told.stderr
    assert call("add", "jpl8", path, "--truncate").exit_code == 0
    ref = pool.ref("Raw/short")
    assert ref.meta["NINTS"].value == kept
    assert np.array_equal(ref.product["SCI"], exposure.sci[:kept])
    rest = ref.product.layout.original.rest
    assert (0 if rest is None else rest.shape[0]) == left
    assert sha256(ref.to_fits(tmp_path / "out.fits")) == sha256(path)


def test_unusual_ends(bench: Path, pool: Pool, tmp_path: Path) -> None:
    content = bench.read_bytes()
    for number, ending in enumerate((content[:-20] + b"x" * 20, content + b"junk behind the last block")):
        path = tmp_path / f"odd{number}.fits"
        path.write_bytes(ending)
        assert read_fits(path).kind == "Raw"
        assert sha256(pool.save(path).to_fits(tmp_path / f"out{number}.fits")) == sha256(path)


def test_what_only_looks_like_it(bench: Path, tmp_path: Path) -> None:
    for cards in ({"ORIGIN": "ESA"}, {"ROWSTART": None}, {"SCA_ID": None}):
        assert read_fits(changed(bench, tmp_path / "a.fits", **cards)).kind == "Product"
    floats = changed(bench, tmp_path / "a.fits", lambda f: f.astype("f4"))
    assert read_fits(floats).kind == "Product"
    assert read_fits(write_image(tmp_path / "b.fits", {"ORIGIN": "JPL"})).kind == "Product"


def test_slow_readout_and_other_detectors(bench: Path, tmp_path: Path) -> None:
    meta = read_fits(changed(bench, tmp_path / "a.fits", NSAMPLE=9, SCA_ID=494, DETECTOR="LW")).meta
    assert [meta[key].value for key in ("READPATT", "NSAMPLES", "DETECTOR")] == ["SLOWR1", 9, "MIRIFULONG"]
    assert "FILTER" not in meta
    assert "DETECTOR" not in read_fits(changed(bench, tmp_path / "a.fits", SCA_ID=7, DETECTOR="??")).meta


def test_otis(exposure: SimulatedExposure, pool: Pool, tmp_path: Path) -> None:
    small = simulate_exposure("otis", subarray="SUB128", nints=2, ngroups=4, seed=3)
    rows, columns = small.sci.shape[2:]
    frames = np.concatenate([small.sci.reshape(8, rows, columns), small.refout.reshape(8, rows // 4, columns)], axis=1)
    hdu = fits.PrimaryHDU(frames)
    cards = {
        "COLCORNR": 1, "ROWCORNR": 889, "NREFIMG": rows // 4, "READOUT": "FAST", "NINT": 2, "NFRAME": 1, "NGROUP": 4,
        "SCA_ID": 493, "TGROUP": 0.11904, "DATE-OBS": "2017-08-01", "TIME-OBS": "12:00:00.5", "OBS_ID": "OTIS 7",
    }  # fmt: skip
    for key, value in cards.items():
        hdu.header[key] = value
    path = tmp_path / "otis.fits"
    hdu.writeto(path)
    ref = pool.save(path)
    assert np.array_equal(ref.product["SCI"], small.sci)
    assert np.array_equal(ref.product["REFOUT"], small.refout)
    expected = {
        "ORIGIN": "OTIS", "READPATT": "FASTR1", "NINTS": 2, "NGROUPS": 4, "NFRAMES": 1, "SUBARRAY": "SUB128",
        "SUBSTRT1": 1, "SUBSTRT2": 889, "DETECTOR": "MIRIMAGE", "TGROUP": 0.11904, "OBS_ID": "OTIS 7",
    }  # fmt: skip
    assert {key: ref.meta[key].value for key in expected} == expected
    assert answers("COLCORNR == 1 and BENCH.NINT == 2 and READOUT == 'FAST'", ref) == (True, True)
    assert ref.meta["TIME-OBS"].value.isoformat() == "2017-08-01T12:00:00.500000+00:00"
    assert sha256(ref.to_fits(tmp_path / "out.fits")) == sha256(path)
    hdu.header["NREFIMG"] = rows // 4 - 1
    hdu.writeto(path, overwrite=True)
    with pytest.raises(FormatError, match="can't be reference output"):
        read_fits(path)
    hdu.header["NREFIMG"] = 500
    hdu.writeto(path, overwrite=True)
    with pytest.raises(FormatError, match="counts 500 reference rows"):
        read_fits(path)


def test_the_real_one(shared_data: Path, pool: Pool, tmp_path: Path) -> None:
    (raw,) = (shared_data / "jpl8" / "raw").glob("*.fits")
    (uncal,) = (shared_data / "jpl8" / "uncal").glob("*.fits")
    assert call("add", "jpl8", raw).exit_code == 0
    (ref,) = pool.select(Raw)
    with fits.open(uncal) as hdus:
        for name in ("SCI", "REFOUT"):
            assert np.array_equal(ref.product[name], hdus[name].data)
        for key in KEYS.split():
            assert ref.meta[key].value == hdus[0].header[key], key
        assert np.array_equal(ref.product["GROUP"]["group_end_time"], hdus["GROUP"].data["group_end_time"])
    assert ref.meta["TIME-OBS"].value.isoformat() == "2018-03-08T01:02:30+00:00"
    assert sha256(ref.to_fits(tmp_path / "out.fits")) == sha256(raw)


def answers(question: str, ref: Any) -> tuple[bool, bool]:
    """Tell whether the index, and the product by itself, satisfy a question."""
    asked = parse(question, names=dictionary())
    return bool(ref.pool.select(question)), evaluate(asked, ref.product)


@pytest.mark.slow
def test_any_card_of_a_bench_is_found(bench: Path, pool: Pool, home: Home, tmp_path: Path) -> None:
    path = changed(bench, tmp_path / "a.fits", RSTWIDTH=4, OBSERVER="MIRI-JPL", WALLTIME=12.5)
    ref = pool.save(path)
    for question in (
        "RSTWIDTH == 4",
        "BENCH.RSTWIDTH == 4",
        "OBSERVER like 'MIRI*' and WALLTIME > 12",
        "bench.detector == 'IC' and detector == 'MIRIMAGE'",
        "BENCH.DATE_OBS == '2026-01-02' or BENCH.DATE_OBS is not null",
        "p.meta['BENCH.OBSERVER'].value == 'MIRI-JPL' and p.meta.containsKey('RSTWIDTH')",
    ):
        assert answers(question, ref) == (True, True), question
    assert ref.meta["RSTWIDTH"].value == ref.meta["bench.rstwidth"].value == 4
    assert ref.meta["RSTWIDTH"].hdu == "BENCH"
    assert ref.product.meta["OBSERVER"].value == "MIRI-JPL"
    shown = json.loads(call("show", "jpl8", ref.urn, "--json").stdout)["keywords"]
    assert [(k["hdu"], k["value"]) for k in shown if k["keyword"] == "RSTWIDTH"] == [("BENCH", 4)]
    assert "BENCH.OBSERVER" in call("show", "jpl8", ref.urn).stdout
    listed = call("ls", "jpl8", "--where", "RSTWIDTH == 4", "--columns", "urn,RSTWIDTH,BENCH.DETECTOR", "--csv").stdout
    assert listed.splitlines() == ["urn,RSTWIDTH,BENCH.DETECTOR", f"{ref.urn},4,IC"]
    pool.reindex()
    assert pool.select("RSTWIDTH == 4").size() == 1
    assert sha256(ref.to_fits(tmp_path / "out.fits")) == sha256(path)
    assert "RSTWIDTH" not in fits.getheader(ref.to_fits(tmp_path / "jwst.fits", jwst=True))


def test_a_bench_says_nothing_in_the_name_of_jwst(bench: Path, pool: Pool, tmp_path: Path) -> None:
    path = changed(
        bench, tmp_path / "a.fits", SCA_ID=7, DETECTOR="XY", DATE_OBS="yyyy-mm-dd", TIME_OBS="hh:mm:ss", COMPRESS=0
    )
    ref = pool.save(path)
    assert ref.meta["BENCH.DETECTOR"].value == "XY"
    for keyword in ("detector", "DATE-OBS", "COMPRESS"):
        assert keyword not in ref.product.meta
        assert answers(f"{keyword} is not null", ref) == (False, False)
    assert ref.row.detector is None


def test_a_benchs_own_header_does_not_change(bench: Path) -> None:
    product = read_fits(bench)
    before = product.meta["BENCH.SCA_ID"].value
    for change in (lambda: product.meta.__setitem__("BENCH.SCA_ID", 1), lambda: product.meta.__delitem__("SCA_ID")):
        with pytest.raises(InvalidInput, match="header of the test bench's file"):
            change()
    product.meta["SCA_ID"] = 494
    assert (product.meta["SCA_ID"].value, product.meta["SCA_ID"].hdu) == (494, "PRIMARY")
    assert product.meta["BENCH.SCA_ID"].value == before
    assert len(product.meta.headers) == 6
    assert product.meta.copy()["BENCH.SCA_ID"].value == before


def test_cards_of_the_real_one_are_found(shared_data: Path, pool: Pool) -> None:
    (raw,) = (shared_data / "jpl8" / "raw").glob("*.fits")
    ref = pool.save(raw, pixels=False)
    for question in ("RSTWIDTH == 4", "OBSERVER == 'MIRI-JPL'", "INTTIME < 4.3 and BENCH.OBS_ID == 5582"):
        assert answers(question, ref) == (True, True), question
    with fits.open(raw) as hdus:
        for card in hdus[0].header.cards:
            if card.keyword not in ("", "COMMENT", "HISTORY"):
                assert ref.product.meta[f"BENCH.{card.keyword}"].keyword == card.keyword
