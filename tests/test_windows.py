"""Reductions window by window give what reductions of whole arrays give, and read no more than they must."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from miripool import Dataset, Ramp
from miripool.model import tiles
from miripool.model.keywords import dictionary
from miripool.query import windows
from miripool.query.evaluator import _Evaluation, evaluate
from miripool.query.parser import parse
from miripool.query.tree import Reduce, walk
from miripool.store.arrays import hdf5write, tilereader
from miripool.store.arrays.blobs import BlobStore
from miripool.store.storage.local import LocalStorage

EXAMPLES = settings(deadline=None, max_examples=60)
VALUES = hnp.arrays(
    np.float32, (3, 4, 8, 9), elements=st.sampled_from([-2.0, 0.0, 1.0, 3.0, float("nan")]), fill=st.just(1.0)
)
REDUCED = (
    "(p.data + 0).max()",
    "(p.data + 0).min()",
    "p.data.sum()",
    "(p.data + 0).mean()",
    "(p.data + 0).std()",
    "p.data.any()",
    "p.data.all()",
    "(p.data * 2 > 4).any()",
    "(p.data * 2 > -10).all()",
    "(p.data > 0).sum()",
    "(p.data > 0).mean()",
    "(p.data * 2 - 1).max()",
    "p.data[p.groupdq == 0].sum()",
    "(p.data > 0 & p.groupdq == 0).sum()",
    "abs(p.data).max()",
)


class Counted:
    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array
        self.shape, self.dtype = array.shape, array.dtype
        self.read: list[int] = []

    def __getitem__(self, key: Any) -> Any:
        part = self._array[key]
        self.read.append(part.nbytes)
        return part


def reduction(text: str) -> Reduce:
    node = parse(f"{text} == 1", names=dictionary())
    return next(below for below in walk(node) if isinstance(below, Reduce))


@EXAMPLES
@given(VALUES, st.sampled_from(REDUCED), st.integers(100, 3000))
def test_windows_give_what_the_whole_gives(values: NDArray[np.float32], text: str, size: int) -> None:
    flags = (np.nan_to_num(values) > 2).astype("u1")
    product = Ramp({}, {"SCI": values, "GROUPDQ": flags}, name="r")
    node = reduction(text)
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        whole = _Evaluation(product)._reduce(node)
        patch.setattr(windows, "_WINDOW_BYTES", size)
        patch.setattr(tiles, "_TILE_BYTES", size // 2)
        assert windows.find_windows(node, _Evaluation(product).find_dataset, lambda _: None) is not None
        found = _Evaluation(product)._reduce(node)
    assert (found.number is None, found.flag) == (whole.number is None, whole.flag)
    if whole.number is not None and found.number is not None:
        assert math.isclose(found.number, whole.number, rel_tol=1e-12, abs_tol=1e-9)


def test_what_is_known_is_not_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "_TILE_BYTES", 1000)
    values = np.zeros((4, 5, 40, 40), "f4")
    values[0, 0, 0, 0] = 9
    source = Counted(values)
    product = Ramp({}, {"SCI": Dataset("SCI", source)}, name="r")

    def answer(text: str) -> bool:
        source.read.clear()
        return evaluate(parse(text, names=dictionary()), product)

    assert answer("ANY(p.data * 2 > 5)")
    assert sum(source.read) < values.nbytes / 2
    assert not answer("ALL(p.data * 2 > 5)")
    assert sum(source.read) < values.nbytes / 2
    assert answer("(p.data * 2 > 5).sum() == 1")
    assert sum(source.read) == values.nbytes
    assert max(source.read) < values.nbytes / 2


@pytest.mark.parametrize("text", ["p.data.median()", "p.data[0].max()", "(p.data - (p.data * 2).mean()).max()"])
def test_what_needs_the_whole_is_read_whole(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "_TILE_BYTES", 10)
    product = Ramp({}, {"SCI": np.arange(24, dtype="f4").reshape(1, 2, 3, 4)}, name="r")
    node = reduction(text)
    assert windows.find_windows(node, _Evaluation(product).find_dataset, lambda _: None) is None
    assert _Evaluation(product)._reduce(node).number is not None


CONDITIONS = (
    "p.data > {0}",
    "p.data <= {0}",
    "p.data == {0}",
    "p.data != {0}",
    "p.data > {0} and p.data <= {1}",
    "p.data < {0} or p.data >= {1}",
    "not (p.data > {0})",
    "p.data * 2 > {0}",
)
BLOCKS = hnp.arrays(np.float32, (1, 2, 2, 3), elements=st.sampled_from([-2.0, 0.0, 1.0, 3.0, float("nan")]))


@pytest.mark.slow
@EXAMPLES
@given(
    BLOCKS,
    st.integers(0, 23),
    st.sampled_from([-2.0, 3.0, float("nan")]),
    st.sampled_from(["any", "all", "sum", "mean"]),
    st.sampled_from(CONDITIONS),
    st.sampled_from([-2.0, -1.0, 0.5, 1.0, 3.0]),
    st.sampled_from([0.5, 1.0, 3.0]),
)
def test_tiles_passed_over_change_no_answer(
    blocks: NDArray[np.float32], place: int, other: float, function: str, condition: str, low: float, high: float
) -> None:
    values = np.repeat(np.repeat(blocks, 8, axis=2), 8, axis=3)  # tiles of one value, and
    values[0, place % 2, place // 2, place] = other  # one that is not
    node = reduction(f"({condition.format(low, high)}).{function}()")
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"), tempfile.TemporaryDirectory() as folder:
        whole = _Evaluation(Ramp({}, {"SCI": values}, name="r"))._reduce(node)
        patch.setattr(tiles, "_TILE_BYTES", 512)
        patch.setattr(hdf5write, "_PLAIN_BYTES", 0)
        store = BlobStore(LocalStorage(Path(folder)))
        ref, statistics = store.measure(values)
        store.write(ref, values)
        dataset = Dataset("SCI", store.open(ref), statistics=statistics)
        found = _Evaluation(Ramp({}, {"SCI": dataset}, name="r"))._reduce(node)
    assert (found.number, found.flag) == pytest.approx((whole.number, whole.flag), nan_ok=True)


def test_tiles_that_decide_nothing_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "_TILE_BYTES", 1 << 13)
    values = np.random.default_rng(1).integers(12_000, 12_010, (2, 5, 96, 80), "u2")
    values[0, 0, 0, 0] = 0
    values[:, :, 40:44, 20:30] = 50_000
    values[:, :, 90:, :] = 60_000
    store = BlobStore(LocalStorage(tmp_path))
    ref, statistics = store.measure(values)
    store.write(ref, values)
    product = Ramp({}, {"SCI": Dataset("SCI", store.open(ref), statistics=statistics)}, name="r")
    read = []
    kept = tilereader._read_apart
    monkeypatch.setattr(tilereader, "_read_apart", lambda stretch: read.extend(stretch) or kept(stretch))

    def answer(text: str) -> tuple[bool, int]:
        read.clear()
        return evaluate(parse(text, names=dictionary()), product), len(read)

    (_, everything) = answer("(p.data * 2 + p.data > 200000).sum() > 0")
    counted = int((values > 40_000).sum())
    (right, some) = answer(f"(p.data > 40000).sum() == {counted}")
    assert right
    assert 0 < some < everything / 2
    assert answer("(p.data > 12500 and p.data < 20000).any()") == (False, some)
    assert answer("(p.data > 40000 and p.data < 0).any()") == (False, 0)
    assert answer("(p.data >= 0).sum() == 76800") == (True, 0)
