"""The pixel stage of an ingest: blocks are loaded when they are full, when they are old, and at the end."""

from __future__ import annotations

import logging
from typing import Any

import homes
import numpy as np
import pytest

from miripool import Pool, RateInts
from miripool.errors import ServerError
from miripool.index.pixels import blocks, load
from miripool.pool import pixelstage
from miripool.pool.core import core_of
from miripool.pool.pixelstage import PixelStage

home = homes.home


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_MOST_SLOTS", 3)


def save(pool: Pool, *numbers: int, pixels: bool | None = None, **more: Any) -> list[Any]:
    """Save exposures whose pixel rows are pending."""
    place = {"SUBSTRT1": 5, "SUBSTRT2": 100, "SUBSIZE1": 4, "SUBSIZE2": 3, "DETECTOR": "MIRIMAGE"} | more
    pool.set_pixel_policy("none")
    arrays = {n: {"SCI": np.full((2, 3, 4), n, np.float32)} for n in numbers}
    refs = [pool.save(RateInts(place, arrays[n], name=f"exposure {n}"), pixels=pixels) for n in numbers]
    pool.set_pixel_policy("all")
    return core_of(pool).catalog.rows([ref.serial for ref in refs])


def blocks_of(pool: Pool) -> list[list[int]]:
    found = homes.ask_pool(pool, "SELECT array_agg(exp_id ORDER BY slot) FROM pixel_set GROUP BY block_id ORDER BY 1")
    return [exposures for (exposures,) in found]


def test_blocks_are_loaded_when_they_are_full_and_at_the_end(pool: Pool) -> None:
    versions = save(pool, 1, 2, 3, 4, 5)
    other = save(pool, 6, SUBSTRT1=9)
    with PixelStage(core_of(pool), None) as stage:
        assert stage.add([versions[0], other[0]]) == {}
        assert stage.add(versions[1:]) == {}
    assert blocks_of(pool) == [[1, 2, 3], [4, 5], [6]]
    assert core_of(pool).pixel_rows.pending() == []


def test_versions_do_not_wait_for_long(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixelstage, "_PATIENCE", 0.0)
    versions = save(pool, 1, 2)
    with PixelStage(core_of(pool), None) as stage:
        for version in versions:
            stage.add([version])
    assert blocks_of(pool) == [[1], [2]]


@pytest.mark.parametrize(("wanted", "policy", "made"), [(True, "none", 2), (None, "none", 0), (False, "all", 0)])
def test_only_what_is_wanted(pool: Pool, wanted: bool | None, policy: str, made: int) -> None:
    versions = save(pool, 1, 2)
    pool.set_pixel_policy(policy)
    with PixelStage(core_of(pool), wanted) as stage:
        assert stage.add(versions) == {}
    assert sum(map(len, blocks_of(pool))) == made
    assert core_of(pool).pixel_rows.pending() == []


def test_who_can_have_no_rows_is_told_at_once(pool: Pool) -> None:
    good, bad = save(pool, 1)[0], save(pool, 2, NINTS=7)[0]
    with PixelStage(core_of(pool), None) as stage:
        (refused,) = stage.add([bad, good]).values()
        assert "urn:jpl8:RateInts:1 has no pixel rows" in refused
        assert "NINTS = 7" in refused
    assert blocks_of(pool) == [[1]]
    assert core_of(pool).pixel_rows.pending() == []


def test_what_fails_is_pending_and_logged(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any) -> None:
        raise ServerError("no space left")

    monkeypatch.setattr(load, "rows_of", refuse)
    versions = save(pool, 1, 2)
    with caplog.at_level(logging.WARNING), PixelStage(core_of(pool), None) as stage:
        stage.add(versions)
    assert [record.getMessage().count("no space left") for record in caplog.records] == [1, 1]
    assert core_of(pool).pixel_rows.pending() == [v.serial for v in versions]


def test_what_waits_when_an_ingest_fails_is_pending(pool: Pool) -> None:
    versions = save(pool, 1, 2)
    stage = PixelStage(core_of(pool), None)
    stage.add(versions)
    stage.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert blocks_of(pool) == []
    assert core_of(pool).pixel_rows.pending() == [v.serial for v in versions]


def test_rows_of_versions_that_are_no_longer_wanted_go(pool: Pool) -> None:
    versions = [*save(pool, 1), *save(pool, 1, NINTS=2)]
    pool.set_pixel_policy("tagged")
    with PixelStage(core_of(pool), True) as stage:
        stage.add(versions)
    assert homes.ask_pool(pool, "SELECT serial FROM pixel_use") == [(versions[1].serial,)]
