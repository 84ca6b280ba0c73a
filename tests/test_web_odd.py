"""Pictures of odd products: huge and constant values, products without images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from homes import empty_home
from web import Served, serving

from miripool import Home, Product

ARRAYS = {
    "CONST8": np.full((5, 6), 1e30),
    "HUGE": np.linspace(-1, 1, 30).reshape(5, 6) * 1.7e308,
    "U8": np.full((5, 6), (1 << 63) + 5, np.uint64),
    "NONE": np.full((5, 6), np.nan, np.float32),
    "ZERO": np.zeros((5, 6), np.int16),
    "ENDS": np.array([[-np.inf, 1, 2], [3, 4, np.inf]], np.float32),
    "ONE": np.array([[7]], np.int64),
}


@pytest.fixture(scope="module")
def odd(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("odd")
    with empty_home(folder / "home", database_url, "odd") as home:
        _fill(home)
        with serving(folder, "serve", home=home.path) as served:
            yield served


def _fill(home: Home) -> None:
    with home.create("odd") as pool:
        pool.save(Product({}, ARRAYS, name="arrays"))
        pool.save(Product({"TITLE": "nothing to see"}, {}, name="empty"))


@pytest.mark.parametrize("name", ARRAYS)
def test_histograms(odd: Served, name: str) -> None:
    told = odd.get("api/pools/odd/products/0/histogram", dataset=name)
    finite = int(np.isfinite(ARRAYS[name].astype(np.float64)).sum())
    assert sum(told["counts"]) == finite
    assert told["nan"] == ARRAYS[name].size - finite
    assert odd.ask("api/pools/odd/products/0/frame", dataset=name).status == 200


def test_a_product_without_an_image(odd: Served) -> None:
    answer = odd.ask("api/pools/odd/products/1/thumbnail")
    assert (answer.status, answer.headers["x-shape"], answer.body) == (200, "0,0", b"")
    assert odd.get("api/pools/odd/products/1/view")["datasets"] == []
    assert "Traceback" not in odd.log()
