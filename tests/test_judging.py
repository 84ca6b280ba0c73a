"""Content conditions: statistics answer without a blob, data are read in parallel, explain tells who answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import homes
import numpy as np
import pytest
from homes import call

from miripool import FullQuery, PixelQuery, Pool, ProductStorage, Rate, RateInts
from miripool.errors import InvalidInput, TagNotFound
from miripool.store.arrays.blob import Blob

home = homes.home
NAME = "jw01033005001_03103_00001_mirimage"
COUNT = 30


@pytest.fixture(scope="module")
def rates(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Pool]:
    """Rates with 0 to 29 pixels over 5, tagged by turns."""
    place = tmp_path_factory.mktemp("judging") / "home"
    with pytest.MonkeyPatch.context() as patch, homes.empty_home(place, database_url, "judging") as home:
        patch.delenv("MIRIPOOL_DATABASE_URL", raising=False)
        patch.setenv("MIRIPOOL_HOME", str(home.path))
        with home.create("jpl8") as pool:
            for i in range(COUNT):
                data = np.zeros((6, 8), "f4")
                data.reshape(-1)[:i] = 10
                rate = Rate({"NGROUPS": i, "DETECTOR": "MIRIMAGE"}, {"SCI": data}, name=f"n{i}")
                ref = pool.save(rate, pixels=False)
                if i % 2:
                    pool.tag(ref, "odd")
            yield pool


def bright(p: Any) -> bool:
    """A question in a module: other processes can import it."""
    return bool((p["SCI"][...] > 5).sum() > 20)


def odd(p: Any) -> bool:
    return "odd" in p.tags and p.urn.startswith("urn:jpl8:Rate:") and p.version == 0


def names(refs: Any) -> list[str]:
    return [ref.name for ref in refs]


@pytest.mark.slow
def test_order_and_limit_are_kept(rates: Pool) -> None:
    asked = FullQuery(Rate, "p", "(p.data > 5).sum() > 20")
    assert names(rates.select(asked)) == [f"n{i}" for i in range(21, COUNT)]
    assert names(rates.select(asked, limit=3)) == ["n21", "n22", "n23"]
    assert names(rates.select(asked, limit=0)) == []
    assert names(rates.select(asked, order="-ngroups", limit=2)) == ["n29", "n28"]
    assert names(rates.select(FullQuery(Rate, bright), order="-ngroups", limit=1)) == ["n29"]


@pytest.mark.slow
def test_many_are_asked_at_a_time(rates: Pool) -> None:
    both = threading.Barrier(2, timeout=30)

    def meet(_: Any) -> bool:
        both.wait()
        return True

    assert rates.select(meet, executor=ThreadPoolExecutor(2)).size() == COUNT


@pytest.mark.slow
def test_progress(rates: Pool) -> None:
    told: list[tuple[int, int]] = []
    rates.select("(p.data * 2 > 10).any() and ngroups >= 10", progress=lambda done, total: told.append((done, total)))
    assert told == [(i, 20) for i in range(1, 21)]
    told.clear()
    rates.select("ngroups >= 10", progress=lambda done, total: told.append((done, total)))
    assert told == []


@pytest.mark.slow
def test_other_processes(rates: Pool) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        found = rates.select(FullQuery(Rate, bright), executor=executor)
        assert names(found) == [f"n{i}" for i in range(21, COUNT)]
        found = rates.select(FullQuery(Rate, odd), executor=executor)
        assert names(found) == [f"n{i}" for i in range(1, COUNT, 2)]
        storage = ProductStorage(rates)
        assert names(storage.select("(p.data > 5).sum() == 3", executor=executor)) == ["n3"]
        with pytest.raises(InvalidInput, match="can't be sent to other processes"):
            rates.select(lambda p: True, executor=executor)


def test_statistics_open_no_blob(rates: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    really_open = Blob._open

    def counted(blob: Blob) -> Any:
        opened.append(blob.key)
        return really_open(blob)

    monkeypatch.setattr(Blob, "_open", counted)
    assert rates.select(FullQuery(Rate, "p", "p.data.max() > 5")).size() == COUNT - 1
    assert rates.select(FullQuery(Rate, lambda p: p["SCI"].max() > 5)).size() == COUNT - 1
    assert rates.select(FullQuery(Rate, "p", "(p.data > 5).any()")).size() == COUNT - 1
    assert opened == []
    assert rates.select(FullQuery(Rate, "p", "(p.data > 5).sum() > 0")).size() == COUNT - 1
    assert len(opened) == COUNT - 1


# Explain


@pytest.mark.slow
def test_explain(rates: Pool) -> None:
    told = rates.explain("(p.data * 2 > 10).sum() > 20 and ngroups > 9 and p.data.max() > 1")
    assert [(step.left, step.answered_by) for step in told.steps] == [
        (30, "the index"),
        (20, "the index"),
        (20, "statistics in the index"),
        (9, "data of each product left"),
    ]
    assert told.found == 9
    assert "NGROUPS > 9" in str(told)
    assert rates.explain(bright).steps[-1].answered_by == "a function of each product left"
    assert rates.explain("ngroups > 9", tag="odd").found == 10
    assert rates.explain(FullQuery(Rate, tag="odd")).found == 15
    with pytest.raises(TagNotFound):
        rates.explain(tag="nothing")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("detector == 'MIRIMAG'", "DETECTOR is never 'MIRIMAG'; the nearest is 'MIRIMAGE'"),
        ("detector = 'mirimage'", "DETECTOR is never 'mirimage'; the nearest is 'MIRIMAGE'"),
        ("detector in ('MIRIMAGES', 'MIRI')", "DETECTOR is never 'MIRIMAGES' or 'MIRI'; the nearest is 'MIRIMAGE'"),
        ("name == 'n300'", "name is never 'n300'; the nearest is 'n30?"),
        ("detector like 'MIRIMAJE%'", "DETECTOR is never 'MIRIMAJE'; the nearest is 'MIRIMAGE'"),
    ],
)
def test_explain_names_what_is_there(rates: Pool, text: str, hint: str) -> None:
    told = rates.explain(f"ngroups >= 0 and {text}")
    assert told.found == 0
    import re

    assert any(re.search(hint, step.hint or "") for step in told.steps), told


@pytest.mark.slow
def test_explain_of_pixels(pool: Pool, simulated: Path) -> None:
    pool.save(simulated / "v1" / f"{NAME}_rateints.fits")
    told = pool.explain(PixelQuery(RateInts, "rate > 100", at_least=2, region=(1, 72, 779, 842)))
    assert told.steps[-1].answered_by == "pixel rows"
    assert "at least 2 pixels with rate > 100 in columns 1 to 72" in told.steps[-1].condition
    assert told.found == 1


@pytest.mark.slow
def test_ls_explain(rates: Pool) -> None:
    text = call("ls", "jpl8", "--explain", "--where", "detector == 'MIRIMAG'").stdout
    assert "0 left, by the index" in text
    assert "DETECTOR is never 'MIRIMAG'; the nearest is 'MIRIMAGE'" in text
    assert '"answered_by"' in call("ls", "jpl8", "--explain", "--json").stdout
