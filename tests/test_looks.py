"""Pictures of versions: what their pixels, axes and words say, in files and in notebooks."""

from __future__ import annotations

import io
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import homes
import numpy as np
import pytest
from astropy.visualization import ZScaleInterval
from homes import call, file_of
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from PIL import Image
from test_dataset import CountingSource

from miripool import Context, Dataset, Pool, Product, Ramp, Rate, RateInts
from miripool.errors import AlreadyExists, DiskFull, FileMissing, InvalidInput, MiripoolError, ProductNotFound
from miripool.formats import read_fits
from miripool.pool.core import core_of
from miripool.pool.images import looks
from miripool.pool.images.blocks import any_in_blocks, block_means, sampled
from miripool.pool.images.limits import LIMITS, limits_of, scaled, symmetric_limits
from miripool.pool.images.missing import nan_colour
from miripool.pool.images.pairs import choose_pair, pair_frames
from miripool.pool.images.preview import preview
from miripool.pool.images.ramps import read_pixels
from miripool.pool.images.view import choose_frame

PICTURES = os.environ.get("MIRIPOOL_PICTURES")
"""Folder for the docs' pictures; none are kept unless it is given."""
NAME = "jw01033005001_03103_00001_mirimage"
PLACE = {"DETECTOR": "MIRIMAGE", "SUBSTRT1": 1, "SUBSTRT2": 779, "SUBSIZE1": 72, "SUBSIZE2": 64}


@dataclass
class Shown:
    """A version that is in no pool."""

    product: Any
    name: str = "an exposure"
    version: int = 0
    tags: tuple[str, ...] = ()
    urn: str = "urn:jpl8:Rate:1"

    @property
    def kind(self) -> str:
        return str(self.product.kind)


def image_of(values: Any, kind: type[Product] = Rate, **shown: Any) -> Shown:
    """A version whose dataset SCI has these values."""
    array = np.asarray(values)
    place = {**PLACE, "SUBSIZE1": array.shape[-1], "SUBSIZE2": array.shape[-2]}
    return Shown(kind(place, {"SCI": array}, name="made"), **shown)


@pytest.fixture(scope="module")
def product_of(simulated: Path) -> Callable[[str, str], Shown]:
    """Give a simulated product: ``v1`` or ``v2``, and the end of the file's name."""

    def read(folder: str, end: str) -> Shown:
        number = int(folder == "v2")
        product = read_fits(simulated / folder / f"{NAME}_{end}.fits")
        tags = (f"using cal {folder}",) if folder[0] == "v" else ()
        return Shown(product, NAME, number, tags, f"urn:jpl8:{product.kind}:{number + 2}")

    return read


@pytest.fixture
def filled(pool: Pool, simulated: Path) -> Pool:
    """A pool with the rateints of both calibrations, and one ramp."""
    pool.ingest(
        [simulated / "v1" / f"{NAME}_rateints.fits", simulated / "v1" / f"{NAME}_ramp.fits"], tag="using cal v1"
    )
    pool.ingest([simulated / "v2" / f"{NAME}_rateints.fits"], tag="using cal v2")
    return pool


def drawn(look: looks.Look) -> np.ndarray:
    """The picture as a notebook gets it, shape (rows, columns, 3), 0 to 1."""
    with Image.open(io.BytesIO(look._repr_png_())) as image:
        return np.asarray(image.convert("RGB")) / 255


def colours_at(look: looks.Look, *places: tuple[float, float]) -> np.ndarray:
    """The colours at places of the first frame, x and y as its axes have them; shape (places, 3)."""
    picture = drawn(look)  # to draw lays the axes out
    look.figure.set_dpi(100)
    columns, rows = look.figure.axes[0].transData.transform(places).T
    return np.asarray(picture[(picture.shape[0] - rows).astype(int), columns.astype(int)])


def words(look: looks.Look) -> str:
    """All text of a picture."""
    from matplotlib.text import Text

    return "\n".join(text.get_text() for text in look.figure.findobj(Text))  # type: ignore[attr-defined]


def kept(name: str, tmp_path: Path) -> Path:
    return (Path(PICTURES) if PICTURES else tmp_path) / name


# One frame


def test_a_frame_and_its_words(product_of: Callable[[str, str], Shown]) -> None:
    ramp = product_of("v1", "ramp")
    look = looks.plot(ramp, index=(1, -3))
    axes = look.figure.axes[0]
    np.testing.assert_array_equal(np.asarray(axes.images[0].get_array()), ramp.product["SCI"][1, 5])
    assert (*axes.get_xlim(), *axes.get_ylim()) == (0.5, 72.5, 778.5, 842.5)
    assert axes.get_xlabel() == "x (column of the FULL array, from 1)"
    text = words(look)
    assert f"Ramp {NAME} version 0 (using cal v1)" in text
    assert "SCI, integration 2 of 3, group 6 of 8    urn:jpl8:Ramp:2" in text
    assert "SCI, DN\n" in text  # the file has no BUNIT
    assert "1\u2033 (9.09 pixels)" in text


def test_the_first_frame_is_shown_unless_another_is_asked_for(product_of: Callable[[str, str], Shown]) -> None:
    ramp = product_of("v1", "ramp")
    assert choose_frame(ramp).index == (0, 0)  # as on the page
    assert choose_frame(ramp, index=2).index == (2, 0)
    assert choose_frame(ramp, "PIXELDQ").index == ()
    with pytest.raises(InvalidInput, match="8 frames along axis 1, from 0 to 7; there is no -9"):
        choose_frame(ramp, index=(0, -9))
    with pytest.raises(InvalidInput, match=r"a frame takes at most 2 numbers, not 3"):
        choose_frame(ramp, index=(0, 0, 0))
    with pytest.raises(InvalidInput, match=r"a frame takes no index, not 1"):
        choose_frame(ramp, "PIXELDQ", 0)
    with pytest.raises(ProductNotFound, match=r"has no dataset 'SIC'; did you mean SCI\? It has SCI, "):
        choose_frame(ramp, "SIC")
    with pytest.raises(ProductNotFound, match=r"made has no dataset 'FISH'; it has SCI$"):
        choose_frame(image_of(np.eye(8)), "FISH")


def test_colours_of_values_nan_and_flags() -> None:
    values = np.linspace(0, 1, 64 * 72, dtype=np.float32).reshape(64, 72)
    values[10, 20] = np.nan
    flags = np.zeros((64, 72), np.uint32)
    flags[30, 40] = 4 | 1
    flags[:2, 50] = 4
    shown = image_of(values)
    shown.product = shown.product.replace(DQ=flags)
    look = looks.plot(shown, flags=("jump_det", "SATURATED"), limits=(0, 1))
    wanted = [to_rgb(nan_colour("gray").code), to_rgb("#d55e00"), to_rgb("#d55e00"), [values[2, 50]] * 3]
    np.testing.assert_allclose(colours_at(look, (21, 789), (41, 809), (51, 780), (51, 781)), wanted, atol=0.01)
    text = words(look)
    assert "JUMP_DET: 3 pixels" in text
    assert "SATURATED: 0 pixels" in text
    assert "NaN: 1 pixel" in text


def test_flags_that_are_not_there() -> None:
    with pytest.raises(InvalidInput, match="there is no flag 'JUMP'; did you mean JUMP_DET"):
        looks.plot(image_of(np.eye(8)), flags=("JUMP",))
    with pytest.raises(InvalidInput, match="Rate an exposure has no flags of the pixels of SCI"):
        looks.plot(image_of(np.eye(8)), flags=("JUMP_DET",))
    many = ("DO_NOT_USE", "SATURATED", "JUMP_DET", "HOT", "DEAD", "RC", "OPEN")
    with pytest.raises(InvalidInput, match="7 flags are too many to tell apart; choose at most 6"):
        looks.plot(image_of(np.eye(8)), flags=many)


def test_a_frame_of_flags(product_of: Callable[[str, str], Shown]) -> None:
    ramp = product_of("v1", "ramp")
    flags = ramp.product["GROUPDQ"][0, 6]
    look = looks.plot(ramp, "GROUPDQ", (0, 6))
    assert f"any flag: {np.count_nonzero(flags):,} pixels" in words(look)
    flagged, free = np.argwhere(flags[:, 8:] != 0)[0] + (0, 8), np.argwhere(flags == 0)[0]
    places = [(column + 1, row + 779) for row, column in (flagged, free)]
    np.testing.assert_allclose(colours_at(look, *places), [[0] * 3, [1] * 3], atol=0.01)
    counted = words(looks.plot(ramp, "GROUPDQ", (0, 6), flags=["SATURATED"]))
    assert f"SATURATED: {np.count_nonzero(flags & 2)} pixel" in counted


def test_colours_of_flags_are_those_of_the_legend() -> None:
    flags = np.ones((64, 72), np.uint32)
    flags[30, 40] |= 4
    shown = image_of(np.zeros((64, 72), np.float32))
    shown.product = shown.product.replace(DQ=flags)
    for dataset, opacity in (("DQ", 1.0), ("SCI", 0.4)):
        look = looks.plot(shown, dataset, flags=["JUMP_DET", "DO_NOT_USE"])
        rare, frequent = look.figure.axes[2].get_legend().get_patches()
        assert (rare.get_facecolor()[3], frequent.get_facecolor()[3]) == (1, opacity)
        assert look.figure.axes[0].images[-2].get_array()[0, 0].tolist() == pytest.approx(frequent.get_facecolor())
        np.testing.assert_allclose(colours_at(look, (41, 809))[0], rare.get_facecolor()[:3], atol=0.01)


def test_the_scale_bar_stands_below_the_frame() -> None:
    look = looks.plot(image_of(np.eye(64)), flags=[])
    axes = look.figure.axes[0]
    axes.set_title("my own title")
    drawn(look)
    bar, label = axes.texts
    assert label.get_text() == "1\u2033 (9.09 pixels)"
    box = axes.xaxis.label.get_window_extent()
    for part in (bar.arrow_patch, label):
        assert part.get_window_extent().y1 < box.y0 + 1
    ends = axes.transData.inverted().transform(bar.arrow_patch.get_window_extent())[:, 0]
    assert ends == pytest.approx((64.5 - 9.09, 64.5), abs=0.5)


def test_reference_output_is_an_array_of_its_own(product_of: Callable[[str, str], Shown]) -> None:
    raw = product_of("uncal", "uncal")
    look = looks.plot(raw, "REFOUT")
    axes = look.figure.axes[0]
    assert (*axes.get_xlim(), *axes.get_ylim()) == (0.5, 18.5, 0.5, 64.5)
    assert axes.get_xlabel() == "x (column of this array, from 1)"
    text = words(look)
    assert "2 pixels" in text
    assert "REFOUT, DN" in text
    drawn(look)
    ticks = [tick for tick in axes.get_xticks() if 0.5 < tick < 18.5]
    boxes = [label.get_window_extent() for label in axes.get_xticklabels() if 0.5 < label.get_position()[0] < 18.5]
    assert len(ticks) == len(boxes) >= 2
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


ODD = {
    "one value": np.full((4, 5), 7.0, np.float32),
    "nothing but NaN": np.full((64, 72), np.nan, np.float32),
    "infinite": np.array([[np.inf, -np.inf], [0, 1]], np.float32),
    "huge numbers": np.array([[3e38, -3e38], [0, 1]], np.float32),
    "tiny differences": np.array([[1.0, np.nextafter(1.0, 2)], [1.0, 1.0]]),
    "one row": np.arange(900, dtype=np.float32).reshape(1, 900),
    "one column": np.arange(900, dtype=np.float32).reshape(900, 1),
    "one pixel": np.array([[5]], np.int16),
    "truth values": np.eye(6, dtype=bool),
    "long integers": np.arange(6, dtype=np.int64).reshape(2, 3) << 50,
    "the largest numbers": np.array([[1.7e308, -1.7e308], [0, 1]]),
    "the smallest numbers": np.array([[5e-324, 1e-310], [0, 1e-320]]),
}


@pytest.mark.parametrize("scale", ["linear", pytest.param("log", marks=pytest.mark.slow)])
@pytest.mark.parametrize("what", ODD)
def test_odd_frames(what: str, scale: str) -> None:
    look = looks.plot(image_of(ODD[what]), scale=scale)
    assert drawn(look).std() > 0
    low, high = look.figure.axes[0].images[0].get_clim()
    assert np.isfinite([low, high]).all()
    assert low < high
    assert preview(image_of(ODD[what])) is not None


@pytest.mark.parametrize("what", ["the largest numbers", "the smallest numbers", "infinite"])
def test_odd_frames_on_other_scales(what: str, tmp_path: Path) -> None:
    shown = image_of(ODD[what])
    assert drawn(looks.plot(shown, scale="asinh", limits="minmax")).std() > 0
    assert drawn(looks.compare(shown, shown, scale="log", limits="minmax")).std() > 0
    other = image_of(ODD[what][::-1])
    looks.compare(shown, other, scale="asinh", limits="minmax", out=tmp_path / "a.gif")
    pictures, _ = frames_of(tmp_path / "a.gif")
    assert (pictures[0] != pictures[1]).any()
    assert "4 of 4 pixels differ" in words(looks.compare(shown, other))


def test_pixels_with_odd_values() -> None:
    values = np.array([1.7e308, -1.7e308, np.inf, 0]).reshape(4, 1, 1)
    look = looks.plot(image_of(values, RateInts), pixels=[(1, 779)])
    assert drawn(look).std() > 0
    np.testing.assert_array_equal(look.figure.axes[-1].lines[1].get_ydata(), [1e100, -1e100, np.nan, 0])


@pytest.mark.slow
def test_a_frame_too_large_to_be_drawn_as_it_is() -> None:
    values = np.zeros((2100, 4200), np.float32)
    values[:, 2100:] = 1
    look = looks.plot(image_of(values), limits="minmax")
    (image,) = look.figure.axes[0].images
    assert image.get_array().shape == (700, 1400)
    assert look.figure.axes[0].get_xlim() == (0.5, 4200.5)
    np.testing.assert_allclose(colours_at(look, (2090, 1000), (2110, 1000)), [[0] * 3, [1] * 3], atol=0.01)


def test_means_of_blocks() -> None:
    values = np.arange(35, dtype=np.float32).reshape(5, 7)
    values[0, 0], values[4, 6] = np.inf, np.nan
    wanted = [
        [np.nanmean(np.where(np.isinf(v), np.nan, v)) if np.isfinite(v).any() else np.nan for v in row]
        for row in [[values[r : r + 3, c : c + 3] for c in (0, 3, 6)] for r in (0, 3)]
    ]
    found = block_means(values, 3)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert found.dtype == np.float32
    mask = np.zeros((5, 7), bool)
    mask[4, 6] = True
    assert any_in_blocks(mask, 3).tolist() == [[False] * 3, [False, False, True]]


def test_an_even_sample_comes_from_all_columns() -> None:
    few = np.arange(12).reshape(3, 4)
    assert sampled(few).tolist() == list(range(12))
    columns = np.broadcast_to(np.arange(5000, dtype=np.uint16), (5000, 5000)).copy()
    some = sampled(columns)
    assert 3_000_000 < some.size <= 2048 * 2048
    assert np.ptp(np.bincount(some)) <= 1


def test_long_strips_are_made_small_without_padding() -> None:
    strip = np.ones((1, 300_000), np.float32)
    assert block_means(strip, 147).tolist() == [[1.0] * 2041]
    assert any_in_blocks(strip > 0, 750).tolist() == [[True] * 400]


# In a process of its own, whose peak is its own.
DRAW = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from peaks import peak_memory
from test_looks import image_of, looks
rows = int(sys.argv[3])
def frame(n):
    values = np.random.default_rng(n).random((rows, rows))
    values[5, 7:9] = np.nan, 7
    return image_of(values)
first, second = frame(1), frame(2)
looks.compare(image_of(np.eye(8)), image_of(np.eye(8)), out=sys.argv[2])  # imports and fonts
before = peak_memory()
looks.plot(first)
print(peak_memory() - before)
look = looks.compare(first, second, out=sys.argv[2])
print(peak_memory() - before, look.figure.get_suptitle())
"""


@pytest.mark.slow
def test_memory_for_large_frames(tmp_path: Path) -> None:
    command = [sys.executable, "-c", DRAW, str(Path(__file__).parent), tmp_path / "a.gif", "6000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    one, two, *title = done.stdout.split(maxsplit=2)
    assert done.returncode == 0, done.stderr
    assert int(one) < 350e6
    assert int(two) < 400e6
    assert "35,999,998 of 36,000,000 pixels differ" in title[0]
    assert frames_of(tmp_path / "a.gif")[0].shape[0] == 2


@pytest.mark.parametrize(
    "name", ["costs $5 and $6_a^2", r"back\slash $x$", "名前 é \N{GREEK SMALL LETTER MU}", "a" * 300]
)
def test_names_are_drawn_as_they_are(name: str) -> None:
    look = looks.plot(image_of(np.eye(8), name=name, tags=("t$1$",)))
    plain = words(look).replace("\n", "").replace(r"\$", "$")
    known = name.replace("名前", "\u25a1\u25a1")
    assert known.replace(" ", "") in plain.replace(" ", "")
    box = look.figure.get_suptitle()
    assert "$" not in box.replace(r"\$", "")  # a dollar that is not escaped begins a formula
    preview(image_of(np.eye(8), name=name))


@pytest.mark.parametrize(
    ("maps", "name"),
    [(["gray"], "teal"), (["viridis"], "grey"), (["gray", "RdBu_r"], "green"), (["viridis", "RdBu_r"], "magenta")],
)
def test_the_colour_of_nan_is_seen_in_all_maps_of_a_picture(maps: list[str], name: str) -> None:
    colour = nan_colour(*maps)
    assert colour.name == name
    shades = np.concatenate([colormaps[one](np.linspace(0, 1, 256))[:, :3] for one in maps])
    assert np.linalg.norm(shades - to_rgb(colour.code), axis=1).min() > 0.3


def test_where_there_are_no_frames(filled: Pool) -> None:
    table = np.zeros(3, [("a", "f4")])
    with pytest.raises(InvalidInput, match="Product t has no frames; its datasets are TABLE"):
        looks.plot(Shown(Product({}, {"TABLE": table}, name="t")))
    with pytest.raises(InvalidInput, match="has no frames; its shape is \\(3,\\); those that have some are SCI"):
        looks.plot(Shown(Product({}, {"TABLE": table, "SCI": np.eye(3)}, name="t")), "TABLE")
    context = filled.save(Context({"a": f"Ramp/{NAME}"}, name="c"))
    with pytest.raises(InvalidInput, match="Context c has no frames; it has no dataset"):
        context.plot()
    assert context._repr_png_() is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": "sqrt"}, "there is no scale 'sqrt'; choose one of linear, log, asinh"),
        ({"limits": "98"}, "there are no limits '98'; choose one of zscale"),
        ({"limits": (1, 1)}, r"limits \(1, 1\): the first number must be below the second"),
        ({"limits": (5, 3)}, r"limits \(5, 3\): the first number must be below the second, e\.g\. \(0, 500\)"),
        ({"limits": (0, np.nan)}, "limits are two finite numbers"),
        ({"limits": (-1e308, 1e308)}, r"limits lie between -1e\+100 and 1e\+100; \(-1e\+308, 1e\+308\) are too large"),
        ({"limits": (-1e308, 1e308), "scale": "log"}, "are too large to be drawn"),
        ({"limits": (1e-320, 1e-310), "scale": "asinh"}, "too close to each other: there is no room for colours"),
        ({"limits": (1e6, 1e6 + 1e-9)}, "too close to each other"),
        ({"cmap": "viridi"}, "matplotlib has no colour map 'viridi'; did you mean viridis"),
        ({"pixels": [(1, 1)]}, "there are no ramps of its pixels"),
    ],
)
def test_what_can_not_be_drawn(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        looks.plot(image_of(np.eye(8)), **options)


def test_files_that_can_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"a\.fish: the name of a picture ends in one of \.png, "):
        looks.plot(image_of(np.eye(8)), out=tmp_path / "a.fish")
    for name in ("a.png", "a.gif"):
        with pytest.raises(FileMissing, match="no such folder; make it first"):
            looks.compare(image_of(np.eye(8)), image_of(np.eye(8)), out=tmp_path / "none" / name)
    for name in ("a.pgf", "a.gif", "a"):
        with pytest.raises(InvalidInput, match=r"the name of a picture ends in one of \.png, \.pdf, \.svg, "):
            looks.plot(image_of(np.eye(8)), out=tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.png", "a.svg", "a.gif"])
def test_a_full_disk_keeps_the_picture_that_is_there(name: str, tmp_path: Path) -> None:
    first, second = map(image_of, np.random.default_rng(1).random((2, 64, 72)))
    with homes.mounted(tmp_path, "-t", "tmpfs", "-o", "size=12k", "tmpfs") as disk:
        (disk / name).write_bytes(b"mine")
        with pytest.raises(DiskFull, match=r"a\.\w+: can't be written: No space left on device"):
            looks.compare(first, second, out=disk / name)
        assert [(file.name, file.read_bytes()) for file in disk.iterdir()] == [(name, b"mine")]


def test_a_picture_replaces_none_that_is_there_unless_asked(tmp_path: Path) -> None:
    eye = image_of(np.eye(8))
    for name in ("a.png", "a.gif"):
        (tmp_path / name).write_bytes(b"mine")
        with pytest.raises(AlreadyExists, match="exists already; nothing was written"):
            looks.compare(eye, eye, out=tmp_path / name, overwrite=False)
        assert (tmp_path / name).read_bytes() == b"mine"
        looks.compare(eye, eye, out=tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1000


# Limits and scales


def test_limits() -> None:
    values = np.random.default_rng(1).normal(100, 5, (64, 72)).astype(np.float32)
    values[0, :3] = np.nan, np.inf, 1e6
    finite = values[np.isfinite(values)].astype(float)
    assert limits_of(values) == pytest.approx(ZScaleInterval().get_limits(finite))
    assert limits_of(values, "minmax") == (finite.min(), finite.max())
    assert limits_of(values, "p99.5") == pytest.approx(np.percentile(finite, (0.25, 99.75)))
    assert limits_of(values, (3, 9)) == (3, 9)
    for rule in LIMITS:
        assert limits_of(np.full((3, 3), 5.0), rule) == (4.95, 5.05)
        assert limits_of(np.full((3, 3), np.nan), rule) == (0, 1)
    sparse = np.zeros((100, 100))
    sparse[3, 3] = 7
    assert limits_of(sparse) == (0, 7)
    assert symmetric_limits(-sparse, (-7, 0)) == (-7, 7)
    assert symmetric_limits(np.zeros((3, 3)), (0, 0)) == (-1, 1)


def test_scales_are_those_of_ds9() -> None:
    places = np.array([0, 0.1, 0.5, 1])
    values = 50 + 100 * places
    np.testing.assert_allclose(scaled("linear", 50, 150)(values), places)
    np.testing.assert_allclose(scaled("log", 50, 150)(values), np.log(1000 * places + 1) / np.log(1001), rtol=1e-6)
    np.testing.assert_allclose(scaled("asinh", 50, 150)(values), np.arcsinh(10 * places) / np.arcsinh(10), rtol=1e-6)


def test_limits_leave_out_reference_pixels(product_of: Callable[[str, str], Shown]) -> None:
    raw = product_of("uncal", "uncal")
    low, high = looks.plot(raw, limits="minmax").figure.axes[0].images[0].get_clim()
    science = raw.product["SCI"][0, 0][:, 4:]
    assert (low, high) == (science.min(), science.max())


# Pixels


def test_ramps_of_chosen_pixels(product_of: Callable[[str, str], Shown]) -> None:
    ramp = product_of("v1", "ramp")
    flags = ramp.product["GROUPDQ"][...]
    _, _, row, column = np.argwhere(flags & 4)[0]
    place = int(column) + 1, int(row) + 779
    look = looks.plot(ramp, pixels=[place, (41, 809)])
    panel = look.figure.axes[-1]
    lines = [line for line in panel.lines if len(line.get_xdata()) == 8 and line.get_linestyle() != "None"]
    assert len(lines) == 6
    for number, line in enumerate(lines[:3]):
        np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 9))
        np.testing.assert_array_equal(line.get_ydata(), ramp.product["SCI"][number, :, row, column])
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 6
    assert {"integration 1", "integration 2", "integration 3"} <= set(words(look).split("\n"))
    jumps = [line for line in panel.lines if line.get_marker() == "o" and len(line.get_xdata())]
    marked = {(x, y) for line in jumps for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)}
    wanted = {
        (g + 1, float(ramp.product["SCI"][i, g, r, c]))
        for r, c in ((row, column), (30, 40))
        for i, g in np.argwhere(flags[:, :, r, c] & 4)
    }
    assert marked == wanted
    assert {"x=41, y=809", f"x={place[0]}, y={place[1]}", "JUMP_DET"} <= set(words(look).split("\n"))
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("group", "SCI (DN)")


def test_rates_of_chosen_pixels(product_of: Callable[[str, str], Shown]) -> None:
    rates = product_of("v1", "rateints")
    panel = looks.plot(rates, pixels=[(41, 809)]).figure.axes[-1]
    np.testing.assert_array_equal(panel.lines[1].get_ydata(), rates.product["SCI"][:, 30, 40])
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("integration", "SCI (DN/s)")


def test_many_integrations_go_from_light_to_dark() -> None:
    values = np.arange(9 * 4, dtype=np.float32).reshape(9, 4, 1, 1)
    panel = looks.plot(image_of(values, Ramp), pixels=[(1, 779)]).figure.axes[-1]
    shades = [sum(line.get_color()) for line in panel.lines[1:10]]
    assert shades == sorted(shades, reverse=True)
    assert len(set(shades)) == 9
    assert panel.get_title() == "chosen pixels, integrations 1 to 9 from light to dark"


def test_pixels_that_are_not_there(product_of: Callable[[str, str], Shown]) -> None:
    ramp = product_of("v1", "ramp")
    with pytest.raises(InvalidInput, match="columns x go from 1 to 72, its rows y from 779 to 842"):
        looks.plot(ramp, pixels=[(1, 1)])
    with pytest.raises(InvalidInput, match="9 pixels are too many"):
        looks.plot(ramp, pixels=[(10, 800)] * 9)


def test_a_pixel_is_read_alone() -> None:
    source, flags = (CountingSource(np.zeros((2, 5, 8, 9), kind)) for kind in (np.float32, np.uint8))
    datasets = {"SCI": Dataset("SCI", source), "GROUPDQ": Dataset("GROUPDQ", flags)}
    product = Ramp({**PLACE, "SUBSIZE1": 9, "SUBSIZE2": 8}, datasets, name="a")
    view = choose_frame(Shown(product), index=(1, 2))
    assert source.read == []
    view = view.read()
    assert source.read == [(1, 2, ...)]
    read_pixels(view, [(3, 780), (4, 781)])
    assert source.read[1:] == flags.read == [(..., 1, 2), (..., 2, 3)]


# Notebooks


def test_the_small_picture(filled: Pool) -> None:
    from IPython.core.formatters import DisplayFormatter

    (ramp,) = filled.select(Ramp)
    picture = ramp._repr_png_()
    assert picture is not None
    assert len(picture) < 60_000
    with Image.open(io.BytesIO(picture)) as image:
        assert (image.format, image.size) == ("PNG", (368, 312))
    shown, _ = DisplayFormatter().format(ramp)
    assert shown["text/plain"] == f"<ProductRef {ramp.urn} {NAME} version 0>"
    assert shown["image/png"] == picture


def test_there_is_no_small_picture(filled: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    (ramp,) = filled.select(Ramp)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib.figure", None)
        assert ramp._repr_png_() is None
        with pytest.raises(
            InvalidInput, match=r"plots need matplotlib; install it with pip install 'miripool\[plot\]'"
        ):
            ramp.plot()
    path = file_of(ramp.product["SCI"].source)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (again,) = core_of(filled).fetch([ramp.serial])
    assert again._repr_png_() is None
    large = Ramp({}, {"SCI": Dataset("SCI", CountingSource(np.empty((1, 70, 1024, 1032), np.float32)))}, name="a")
    assert preview(Shown(large)) is None
    assert large["SCI"].source.read == []


# Two versions


def test_a_comparison(product_of: Callable[[str, str], Shown], tmp_path: Path) -> None:
    first, second = product_of("v1", "rateints"), product_of("v2", "rateints")
    look = looks.compare(first, second, index=1)
    one, two, between = (axes.images[0] for axes in look.figure.axes[:3])
    a, b = (shown.product["SCI"][1] for shown in (first, second))
    for image, wanted in ((one, a), (two, b), (between, b.astype(float) - a)):
        np.testing.assert_array_equal(np.ma.filled(image.get_array(), np.nan), wanted)
    assert one.get_clim() == two.get_clim() == limits_of(np.stack([a, b])[..., 4:])
    low, high = between.get_clim()
    assert low == -high < 0
    differ = int(((a != b) & ~(np.isnan(a) & np.isnan(b))).sum())
    text = words(look)
    assert f"{differ:,} of 4,608 pixels differ" in text
    assert {"A: version 0 (using cal v1)", "B: version 1 (using cal v2)", "B \u2212 A, SCI, DN/s"} <= set(
        text.split("\n")
    )
    assert f"{(np.isnan(a) | np.isnan(b)).sum()} are NaN in A or B (green)" in text
    assert len({tuple(image.get_cmap().get_bad()) for image in (one, two, between)}) == 1


def test_a_version_compared_with_itself(product_of: Callable[[str, str], Shown]) -> None:
    rates = product_of("v1", "rateints")
    look = looks.compare(rates, rates)
    assert "0 of 4,608 pixels differ" in words(look)
    assert look.figure.axes[2].images[0].get_clim() == (-1, 1)


def test_a_comparison_names_what_is_not_finite() -> None:
    first, second = (image_of(np.array([[3, last]], np.float32)) for last in (np.nan, 1))
    assert "1 is NaN in A or B (green)" in words(looks.compare(first, second))
    assert "1 is NaN or infinite (green)" in words(looks.compare(image_of(np.array([[3, np.inf]])), second))
    assert "NaN" not in words(looks.compare(second, second))


def test_integers_and_flags_are_compared() -> None:
    first, second = (image_of(np.array(values, np.uint16)) for values in ([[3, 5]], [[4, 1]]))
    pair = pair_frames(*choose_pair(first, second))
    assert pair.difference.tolist() == [[1, -4]]
    assert pair.summary == "2 of 2 pixels differ; B \u2212 A: median -1.5 DN/s, largest -4 DN/s"
    flags = [Shown(Rate({}, {"DQ": np.array([values], np.uint32)}, name="a")) for values in ([1, 4, 0], [1, 6, 0])]
    pair = pair_frames(*choose_pair(*flags, "DQ"))
    assert pair.difference.tolist() == [[0, 1, 0]]
    assert pair.summary == "1 of 3 pixels differ"
    assert "flags differ (red)" in words(looks.compare(*flags, "DQ"))


def test_frames_that_can_not_be_compared(product_of: Callable[[str, str], Shown]) -> None:
    rates = product_of("v1", "rateints")
    with pytest.raises(InvalidInput, match=r"have the shapes \(3, 64, 72\) and \(64, 72\)"):
        looks.compare(rates, product_of("v1", "rate"))
    with pytest.raises(InvalidInput, match=r"have the shapes \(8, 8\) and \(8, 9\)"):
        looks.compare(image_of(np.eye(8)), image_of(np.eye(8, 9)))
    elsewhere = image_of(np.eye(8))
    elsewhere.product = Rate({**PLACE, "SUBSTRT2": 5, "SUBSIZE1": 8, "SUBSIZE2": 8}, {"SCI": np.eye(8)}, name="a")
    with pytest.raises(InvalidInput, match="show other pixels: their first ones are x=1, y=779 and x=1, y=5"):
        looks.compare(image_of(np.eye(8)), elsewhere)
    electrons = image_of(np.eye(8))
    electrons.product = electrons.product.replace(SCI=Dataset("SCI", np.eye(8), unit="electron/s"))
    with pytest.raises(InvalidInput, match="are in DN/s and electron/s; they can't be subtracted"):
        looks.compare(image_of(np.eye(8)), electrons)


def frames_of(path: Path) -> tuple[np.ndarray, list[int]]:
    """All frames of a GIF file, shape (frames, rows, columns, 3), and the milliseconds of each."""
    found, times = [], []
    with Image.open(path) as file:
        for number in range(file.n_frames):  # type: ignore[attr-defined]
            file.seek(number)
            found.append(np.asarray(file.convert("RGB")))
            times.append(file.info["duration"])
        assert file.info["loop"] == 0
    return np.stack(found), times


def test_a_blinking_picture(product_of: Callable[[str, str], Shown], tmp_path: Path) -> None:
    first, second = product_of("v1", "rateints"), product_of("v2", "rateints")
    path = tmp_path / "a.gif"
    looks.compare(first, second, limits=(0, 100), out=path)
    pictures, times = frames_of(path)
    assert pictures.shape[0] == 2
    assert times == [1000, 1000]
    height = pictures.shape[1] - 64 * 9
    assert pictures.shape[2] == 72 * 9
    assert (pictures[0, :height] != pictures[1, :height]).any()  # A and B are written above
    for shown, picture in zip((first, second), pictures, strict=True):
        pixels = picture[height:].reshape(64, 9, 72, 9, 3)[::-1]
        assert (pixels == pixels[:, :1, :, :1]).all()  # each pixel is a square of one colour
        values = shown.product["SCI"][0]
        missing = np.isnan(values)
        grey = np.clip(np.floor(np.where(missing, 0, values) / 100 * 253), 0, 252) / 252 * 255
        np.testing.assert_allclose(pixels[:, 0, :, 0, 0][~missing], grey[~missing], atol=1.5)
        assert (pixels[:, 0, :, 0][missing] == [0x2A, 0x9D, 0x9A]).all()


def test_a_full_frame_blinks_pixel_by_pixel(tmp_path: Path) -> None:
    values = np.random.default_rng(2).random((1024, 1032), np.float32)
    shown = [Shown(Rate({}, {"SCI": array}, name="a"), version=v) for v, array in enumerate((values, values[::-1]))]
    looks.compare(*shown, limits=(0, 1), out=tmp_path / "a.gif")
    pictures, _ = frames_of(tmp_path / "a.gif")
    assert pictures.shape[2] == 1032
    np.testing.assert_allclose(pictures[0, -1024:, :, 0], values[::-1] * 255, atol=2)
    np.testing.assert_allclose(pictures[1, -1024:, :, 0], values * 255, atol=2)


# Python and commands


@pytest.mark.slow
def test_looks_of_references(filled: Pool, tmp_path: Path) -> None:
    old, new = (filled.load(f"RateInts/{NAME}@{number}") for number in (0, 1))
    look = old.plot(index=2, out=tmp_path / "a.png")
    assert look.figure.axes[0].get_xlim() == (0.5, 72.5)
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "PNG"
    old.compare(new, out=tmp_path / "b.GIF")
    assert len(frames_of(tmp_path / "b.GIF")[0]) == 2
    assert old.compare(new).save(tmp_path / "c.svg").read_text().startswith("<?xml")


@pytest.mark.slow
def test_commands(filled: Pool, tmp_path: Path) -> None:
    options = ("--index", "1,-1", "--pixel", "41,809", "--pixel", "20,800", "--flags", "SATURATED,JUMP_DET")
    done = call("plot", "jpl8", f"Ramp/{NAME}", "--out", tmp_path / "a.svg", *options, "--limits", "0,20000")
    assert done.exit_code == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", f"wrote {tmp_path / 'a.svg'}\n")
    text = (tmp_path / "a.svg").read_text()
    for wanted in ("integration 2 of 3, group 8 of 8", "JUMP_DET: 0 pixels", "x=20, y=800"):
        assert wanted in text
    two = ("jpl8", f"RateInts/{NAME}@0", f"RateInts/{NAME}@1")
    for name in ("b.png", "b.gif"):
        assert call("compare", *two, "--out", tmp_path / name, "--index", "1").exit_code == 0
    assert len(frames_of(tmp_path / "b.gif")[0]) == 2


def test_commands_refuse(filled: Pool, tmp_path: Path) -> None:
    path, new = tmp_path / "a.png", tmp_path / "b.png"
    path.write_bytes(b"mine")
    spec = f"Ramp/{NAME}"
    for options, message in (
        ((spec, "--out", path), "exists already; nothing was written; choose another name, or overwrite it (--over"),
        ((spec, "--out", tmp_path), "is a folder; give the name of a file in it"),
        ((spec, "--out", tmp_path / "b.fish"), "b.fish: the name of a picture ends in one of .png, "),
        (("*@0", "--out", new), "'*@0' fits 2 versions; a picture is of one, so name that one"),
        ((spec, "--out", new, "--index", "a"), "--index a: write integration and group from 0"),
        ((spec, "--out", new, "--pixel", "a"), "--pixel a: write X,Y"),
        ((spec, "--out", new, "--limits", "1,b"), "--limits 1,b: write two numbers"),
    ):
        with pytest.raises(MiripoolError) as caught:
            call("plot", "jpl8", *options)
        assert message in str(caught.value)
    with pytest.raises(AlreadyExists):
        call("compare", "jpl8", spec, spec, "--out", path)
    assert [file.name for file in tmp_path.glob("*.*")] == ["a.png"]
    assert path.read_bytes() == b"mine"
    assert call("plot", "jpl8", spec, "--out", path, "--overwrite").exit_code == 0
    with Image.open(path) as image:
        assert image.format == "PNG"


def test_a_file_that_is_there_is_refused_last(filled: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"mine")
    spec = f"RateInts/{NAME}@0"
    monkeypatch.setattr(Dataset, "__getitem__", lambda *_: pytest.fail("an array was read"))
    wrong = (
        (("jpl9", spec), "no pool 'jpl9'"),
        (("jpl8", "fish"), "fish"),
        (("jpl8", spec, "--scale", "sqrt"), "there is no scale 'sqrt'"),
        (("jpl8", spec, "--limits", "5,3"), "the first number must be below the second"),
        (("jpl8", spec, "--cmap", "viridi"), "no colour map 'viridi'"),
        (("jpl8", spec, "--dataset", "ERRR"), "has no dataset 'ERRR'; did you mean ERR? It has SCI"),
        (("jpl8", spec, "--index", "9"), "there is no 9"),
        (("jpl8", spec), "exists already; nothing was written"),
    )
    for (pool, one, *options), message in wrong:
        for command in (("plot", pool, one), ("compare", pool, one, f"RateInts/{NAME}@1")):
            with pytest.raises(MiripoolError) as caught:
                call(*command, "--out", path, *options)
            assert message in str(caught.value)
    for option, message in (("--pixel=1,1", "there is no pixel x=1, y=1"), ("--flags=JUMP", "there is no flag 'JUMP'")):
        with pytest.raises(InvalidInput, match=message):
            call("plot", "jpl8", spec, "--out", path, option)
    assert path.read_bytes() == b"mine"


def test_a_file_that_appears_while_a_picture_is_drawn(
    filled: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = looks.draw_frame

    def slowly(*args: Any, **options: Any) -> Any:
        (tmp_path / "a.png").write_bytes(b"mine")
        return draw(*args, **options)

    monkeypatch.setattr(looks, "draw_frame", slowly)
    with pytest.raises(AlreadyExists, match=r"a\.png: a file of that name"):
        call("plot", "jpl8", f"Ramp/{NAME}", "--out", tmp_path / "a.png")
    assert [(file.name, file.read_bytes()) for file in tmp_path.glob("*.*")] == [("a.png", b"mine")]


# Real exposures, and the docs


def test_real_exposures(shared_data: Path, tmp_path: Path) -> None:
    stem = "MIRI_5582_89_S_20180308-010230_SCE1"
    old, new = (
        Shown(read_fits(shared_data / "jpl8" / folder / f"{stem}_rateints.fits"), stem, version)
        for version, folder in enumerate(("9001", "9002"))
    )
    a, b = (shown.product["SCI"][0] for shown in (old, new))
    pair = pair_frames(*choose_pair(old, new))
    np.testing.assert_array_equal(pair.difference, b.astype(float) - a)
    assert pair.change.differing == int(((a != b) & ~np.isnan(a)).sum()) > 0
    look = looks.plot(old, pixels=[(30, 800)], flags=["DO_NOT_USE", "NON_SCIENCE"])
    dq = old.product["DQ"][0]
    assert f"DO_NOT_USE: {np.count_nonzero(dq & 1)} pixels" in words(look)
    looks.compare(old, new, out=tmp_path / "a.gif")
    assert frames_of(tmp_path / "a.gif")[0].shape[0] == 2
    ramp = Shown(read_fits(shared_data / "jpl8" / "9001" / f"{stem}_ramp.fits"), stem)
    low, high = looks.plot(ramp, index=(0, -1)).figure.axes[0].images[0].get_clim()
    assert 10_000 < low < high < 14_000  # columns at both edges have 13,700 and 16,600 DN


@pytest.mark.slow
def test_pictures_of_the_docs(product_of: Callable[[str, str], Shown], tmp_path: Path) -> None:
    ramp = product_of("v1", "ramp")
    look = looks.plot(ramp, index=(1, 3), pixels=[(48, 829), (28, 835)], flags=["SATURATED", "JUMP_DET"])
    look.figure.savefig(kept("pictures-ramp.png", tmp_path), dpi=75)
    assert "JUMP_DET: 1 pixel" in words(look)
    first, second = product_of("v1", "rateints"), product_of("v2", "rateints")
    looks.compare(first, second).figure.savefig(kept("pictures-compare.png", tmp_path), dpi=75)
    for name in ("ramp", "compare"):
        assert kept(f"pictures-{name}.png", tmp_path).stat().st_size > 10_000
