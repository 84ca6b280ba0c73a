"""Comparisons that counting decides: the same answers as NumPy's, whatever is not read."""

from __future__ import annotations

import math
import operator
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from miripool.model import tiles
from miripool.model.dataset import Dataset, Scale
from miripool.model.keywords import dictionary
from miripool.model.product import Product
from miripool.query.counting import count_is_enough, shortcut_of
from miripool.query.evaluator import evaluate
from miripool.query.parser import parse
from miripool.query.tree import Compare
from miripool.store.arrays import bitshuffle, hdf5write, tilereader
from miripool.store.arrays.blob import Blob
from miripool.store.arrays.blobs import BlobStore
from miripool.store.storage.local import LocalStorage

OPERATORS = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
EXAMPLES = settings(deadline=None, max_examples=200)
TYPES = ("f4", "f8", "f2", "u1", "u2", "i2", "i4", "u4", "i8")


def read(text: str) -> Any:
    return parse(text, names=dictionary())


class Counted:
    """A stored array that counts the elements that are read."""

    def __init__(self, blob: Blob) -> None:
        self._blob = blob
        self.dtype, self.shape, self.is_tiled = blob.dtype, blob.shape, True
        self.read = 0

    def __getitem__(self, key: Any) -> Any:
        found = self._blob[key]
        self.read += np.size(found)
        return found

    def pieces(self, choose: Any = None, *, lend: bool = False) -> Any:
        for piece in self._blob.pieces(choose, lend=lend):
            self.read += piece.size
            yield piece


def cut_small(patch: pytest.MonkeyPatch) -> None:
    """Let small arrays have many tiles."""
    patch.setattr(tiles, "_TILE_BYTES", 64)
    patch.setattr(hdf5write, "_PLAIN_BYTES", 0)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_small(monkeypatch)


def stored(folder: Path, array: NDArray[Any], scale: Scale | None = None) -> tuple[Product, Counted]:
    """Store an array in many small tiles."""
    store = BlobStore(LocalStorage(folder))
    ref, statistics = store.measure(array, scale=scale)
    store.write(ref, array)
    source = Counted(store.open(ref))
    dataset = Dataset("SCI", source, scale=scale, statistics=statistics)  # type: ignore[arg-type]
    return Product({}, {"SCI": dataset}, name="a"), source


@st.composite
def arrays(draw: st.DrawFn) -> NDArray[Any]:
    """Numbers in clusters, with ties, NaN and infinities, in some order: tiles of one side and of both."""
    dtype = np.dtype(draw(st.sampled_from(TYPES)))
    shape = draw(st.sampled_from([(1,), (7,), (40,), (2, 5, 6, 7), (3, 40), (1, 1, 1, 1), (6, 16)]))
    values = [0, 1, 2, 3, 100, 101]
    if dtype.kind == "f":
        values += [-0.0, 0.1, -5.5, math.nan, *draw(st.sampled_from([[], [math.inf], [-math.inf, math.inf]]))]
    size = math.prod(shape)
    chosen = draw(st.lists(st.sampled_from(values), min_size=1, max_size=6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    found = np.array(chosen, np.float64)[rng.integers(0, len(chosen), size)]
    if draw(st.booleans()):
        found = np.sort(found)
    return found.reshape(shape).astype(dtype)


NUMBERS = st.sampled_from([0, 1, 2, 100, -1, 0.1, 0.5, 1.5, -0.0, 50.5, 1e39, -1e39, 1e300, float(np.float32(0.1))])


@EXAMPLES
@given(array=arrays(), number=NUMBERS, op=st.sampled_from(list(OPERATORS)))
def test_the_median_as_numpy_compares_it(array: NDArray[Any], number: float, op: str) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        cut_small(patch)
        product, _ = stored(Path(folder), array)
        with np.errstate(all="ignore"):
            median = math.nan if np.isnan(array).all() else float(np.nanmedian(array.astype(np.float64)))
        wanted = not math.isnan(median) and OPERATORS[op](median, number)
        assert evaluate(read(f"p.data.median() {op} {number!r}"), product) is wanted
        assert evaluate(read(f"not (p.data.median() {op} {number!r})"), product) is (
            not math.isnan(median) and not wanted
        )


@EXAMPLES
@given(
    array=arrays(),
    side=st.sampled_from(list(OPERATORS)),
    bound=NUMBERS,
    number=st.integers(-1, 60) | st.sampled_from([0.5, 3.0, 6.5, 1e300]),
    op=st.sampled_from(list(OPERATORS)),
)
def test_counts_as_numpy_compares_them(array: NDArray[Any], side: str, bound: float, number: float, op: str) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        cut_small(patch)
        product, _ = stored(Path(folder), array)
        values = array.astype(np.float64)
        known = ~np.isnan(values)
        wanted = bool(known.any() and OPERATORS[op](int(OPERATORS[side](values, bound)[known].sum()), number))
        text = f"(p.data {side} {bound!r}).sum() {op} {number!r}"
        assert evaluate(read(text), product) is wanted
        assert evaluate(read(f"not ({text})"), product) is (bool(known.any()) and not wanted)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("text", "answer", "most"),
    [
        ("p.data.median() > 100", True, 0),  # by the extremes of the tiles
        ("p.data.median() >= 2000", False, 0),
        ("p.data.median() > 497", True, 200),  # two rows hold numbers of both sides
        ("p.data.median() < 499", False, 200),
        ("(p.data > 5).sum() > 3", True, 0),
        ("(p.data > 990).sum() > 100", False, 0),
        ("(p.data > 990).sum() >= 9", True, 40),
        ("(p.data <= 990).sum() < 900", False, 0),
    ],
)
def test_little_is_read(tmp_path: Path, text: str, answer: bool, most: int) -> None:
    product, source = stored(tmp_path, np.arange(1000, dtype="f4").reshape(10, 100))
    assert evaluate(read(text), product) is answer
    assert source.read <= most


@pytest.mark.usefixtures("small")
def test_reading_ends_when_the_rest_cannot_change_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tilereader, "_RUN_BYTES", 256)
    noise = np.random.default_rng(1).normal(10, 100, (50, 40)).astype("f4") + np.float32(100)
    product, source = stored(tmp_path, noise)
    assert evaluate(read("p.data.median() > 0"), product)
    assert source.read < 0.8 * noise.size
    source.read = 0
    assert evaluate(read("(p.data > 100).sum() > 10"), product)
    assert source.read <= 64  # the first run has as many
    source.read = 0
    assert not evaluate(read("(p.data < -100).sum() > 1000"), product)
    assert source.read < 0.9 * noise.size


@pytest.mark.usefixtures("small")
def test_no_tile_is_decoded_ahead_of_the_first_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tilereader, "_RUN_BYTES", 256)
    decoded: list[int] = []
    decode = bitshuffle.decompress

    def count(heads: bytes, coded: Any, ends: Any, chunks: Any) -> None:
        decoded.append(len(ends))
        decode(heads, coded, ends, chunks)

    product, _ = stored(tmp_path, np.random.default_rng(1).normal(10, 100, (50, 40)).astype("f4"))
    monkeypatch.setattr(bitshuffle, "decompress", count)
    assert evaluate(read("(p.data > 0).sum() > 3"), product)
    assert len(decoded) == 1


@pytest.mark.usefixtures("small")
def test_scaled_numbers_are_counted_as_they_are_meant(tmp_path: Path) -> None:
    product, _ = stored(tmp_path, np.arange(101, dtype="i2"), Scale(0.5, 10.0, 100))
    assert evaluate(read("p.data.median() > 34"), product)
    assert not evaluate(read("p.data.median() > 35"), product)


def test_what_counting_does_not_tell() -> None:
    in_memory = Dataset("SCI", np.arange(5.0))
    node = read("p.data.median() > 1")
    assert isinstance(node, Compare)
    for text in ("p.data.median() > 1", "(p.data > 1).sum() < 1"):
        shortcut = shortcut_of(read(text))
        assert shortcut is not None
        assert shortcut(read(text), in_memory) is None
    assert count_is_enough(node) is None
    assert shortcut_of(read("(p.data > 1).mean() > 0.5")) is None
    for text in ("(p.data > 1).sum() != 5", "(p.data > 1).mean() > 0.5", "p.data.sum() > 5"):
        assert count_is_enough(read(text)) is None


@EXAMPLES
@given(array=arrays(), q=st.one_of(st.integers(0, 100), st.floats(0, 100)))
def test_medians_and_percentiles_are_numpys(array: NDArray[Any], q: float) -> None:
    assume(array.size)
    values = array.astype(np.float64)
    with np.errstate(all="ignore"):
        some = not np.isnan(values).all()
        wanted = [f(values) if some else math.nan for f in (
            np.nanmedian, lambda a: np.nanpercentile(a, q), lambda a: np.nanquantile(a, q / 100)
        )]  # fmt: skip
    d = Dataset("SCI", array)
    found = [np.median(d), np.percentile(d, q), np.quantile(d, q / 100)]
    assert np.array_equal(found, wanted, equal_nan=True)
    assert [type(one) for one in found] == [np.float64] * 3
    assert np.array_equal(d[...], array, equal_nan=array.dtype.kind == "f")  # nothing was moved


@EXAMPLES
@given(st.integers(1, 3000), st.integers(0, 2**32 - 1), st.sampled_from(["f4", "f8", "i2"]), st.integers(0, 3000))
def test_medians_of_more_numbers(size: int, seed: int, dtype: str, nan: int) -> None:
    array = np.random.default_rng(seed).normal(0, 1000, size).astype(dtype)
    if dtype != "i2":
        array[:nan] = np.nan
    assume(not np.isnan(array.astype(float)).all())
    assert np.median(Dataset("SCI", array)) == np.nanmedian(array.astype(np.float64))


@EXAMPLES
@given(array=arrays(), number=NUMBERS, op=st.sampled_from(list(OPERATORS)), near=st.booleans())
def test_the_sum_as_numpy_compares_it(array: NDArray[Any], number: float, op: str, near: bool) -> None:
    with np.errstate(all="ignore"):
        total = math.nan if np.isnan(array).all() else float(np.nansum(array.astype(np.float64)))
    number = total if near and math.isfinite(total) else number
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        cut_small(patch)
        product, _ = stored(Path(folder), array)
        found = evaluate(read(f"p.data.sum() {op} {number!r}"), product)
    if not math.isclose(total, number, rel_tol=1e-12, abs_tol=1e-9):  # of what is nearer, rounding decides
        assert found is (not math.isnan(total) and OPERATORS[op](total, number))


@pytest.mark.parametrize("scale", [None, Scale(2.0, 5.0)])
def test_nothing_is_read_for_a_sum_that_the_mean_tells(tmp_path: Path, small: None, scale: Scale | None) -> None:
    array = np.arange(120, dtype="f4").reshape(3, 40)
    product, source = stored(tmp_path, array, scale)
    total = float((array if scale is None else scale.apply(array)).sum(dtype=np.float64))
    for text, wanted in ((f"> {total - 1}", True), (f"> {total + 1}", False), (f"== {total + 1}", False)):
        assert evaluate(read(f"p.data.sum() {text}"), product) is wanted
    assert source.read == 0
    assert evaluate(read(f"p.data.sum() >= {total}"), product)
    assert source.read == array.size


@EXAMPLES
@given(array=arrays(), part=st.sampled_from([0, 1, 37.5, 50, 99, 100]))
def test_quantiles_of_a_stored_array_are_those_of_the_array(array: NDArray[Any], part: float) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        cut_small(patch)
        product, _ = stored(Path(folder), array)
        data, held = product["SCI"], Dataset("SCI", array.copy())
        for _ in range(2):
            assert np.array_equal(np.percentile(data, part), np.percentile(held, part), equal_nan=True)
            assert np.array_equal(np.median(data), np.median(held), equal_nan=True)
        assert np.array_equal(data[...], array, equal_nan=True)
        assert np.array_equal(held[...], array, equal_nan=True)
