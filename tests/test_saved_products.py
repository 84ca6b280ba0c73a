"""What is saved is read-only in memory too; what is made from it is not."""

from __future__ import annotations

import copy
import json
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import homes
import numpy as np
import pytest

from miripool import Context, Pool, Ramp, Rate
from miripool.errors import ReadOnly
from miripool.model.metadata import MetaData
from miripool.model.product import Hdu

home = homes.home

NAME = "jw01033005001_03103_00001_mirimage"
REMEDY = r"urn:jpl8:Ramp:0 is saved and can't be changed.*product\.replace"

CHANGES: dict[str, Callable[[Any], Any]] = {
    "a keyword set": lambda p: p.meta.__setitem__("NGROUPS", 7),
    "a new keyword": lambda p: p.meta.__setitem__("MYNOTE", "ON"),
    "a keyword of another HDU": lambda p: p.meta.__setitem__("SCI.BUNIT", "K"),
    "a keyword of an HDU that is not there": lambda p: p.meta.__setitem__("NEW.BUNIT", "K"),
    "a keyword deleted": lambda p: p.meta.__delitem__("NGROUPS"),
    "update": lambda p: p.meta.update({"NGROUPS": 7}),
    "pop": lambda p: p.meta.pop("NGROUPS"),
    "popitem": lambda p: p.meta.popitem(),
    "clear": lambda p: p.meta.clear(),
    "setdefault": lambda p: p.meta.setdefault("MYNOTE", "ON"),
    "an attribute of the metadata": lambda p: setattr(p.meta, "ngroups", 7),
    "the metadata": lambda p: setattr(p, "meta", MetaData()),
    "the name": lambda p: setattr(p, "name", "other"),
    "the layout": lambda p: setattr(p, "layout", None),
    "the headers of the layout": lambda p: setattr(p.layout, "hdus", p.layout.hdus[:1]),
    "where the layout is from": lambda p: setattr(p.layout, "origin", None),
    "the reference": lambda p: setattr(p, "ref", None),
    "the datasets": lambda p: setattr(p, "_datasets", {}),
    "the unit": lambda p: setattr(p["SCI"], "unit", "K"),
    "the scale": lambda p: setattr(p.data, "scale", None),
    "the name of a dataset": lambda p: setattr(p["SCI"], "name", "ERR"),
    "the source of a dataset": lambda p: setattr(p["SCI"], "source", np.zeros(3)),
    "the columns of a table": lambda p: setattr(p["INT_TIMES"], "columns", ()),
    "elements": lambda p: p["SCI"].__setitem__((0, 0, 0, 0), 5),
    "a row of a table": lambda p: p["INT_TIMES"].__setitem__(0, 5),
    "a dataset": lambda p: p.__setitem__("SCI", np.zeros(3)),
    "a dataset by attribute": lambda p: setattr(p, "data", np.zeros(3)),
    "a dataset in the mapping": lambda p: operator.setitem(p.datasets, "SCI", np.zeros(3)),
    "a header": lambda p: setattr(p.layout.hdus[0], "header", b""),
}


@pytest.fixture
def ramp(simulated: Path) -> Path:
    return simulated / "v1" / f"{NAME}_ramp.fits"


def test_no_way_to_change_a_version(pool: Pool, ramp: Path, tmp_path: Path) -> None:
    ref = pool.save(ramp, pixels=False)
    for words, change in CHANGES.items():
        with pytest.raises((ReadOnly, ValueError, TypeError, AttributeError)):
            pytest.fail(f"{words} can be changed: {change(ref.product)}")
    assert ref.meta["NGROUPS"].value == 8
    assert ref.to_fits(tmp_path / "out.fits").read_bytes() == ramp.read_bytes()
    assert not ref.meta.changed
    with ref.to_hdulist() as hdus:
        assert hdus[0].header["NGROUPS"] == 8
        assert "BUNIT" not in hdus["SCI"].header


def test_the_message_says_how_to_make_another(pool: Pool, ramp: Path) -> None:
    ref = pool.save(ramp, pixels=False)
    for change in ("a keyword set", "a keyword deleted", "an attribute of the metadata", "the unit", "the name"):
        with pytest.raises(ReadOnly, match=REMEDY):
            CHANGES[change](ref.product)
    for found in (pool.ref(f"Ramp/{NAME}@0"), pool.select(Ramp)[0], pool.load(ref.urn)):
        with pytest.raises(ReadOnly, match=REMEDY):
            found.meta["NGROUPS"] = 7


def test_arrays_that_are_read_are_copies(pool: Pool, ramp: Path, tmp_path: Path) -> None:
    ref = pool.save(ramp, pixels=False)
    for name in ref.product:
        array = ref.product[name][...]
        array[...] = np.zeros((), array.dtype)
    np.asarray(ref.product["SCI"])[...] = 7
    ref.product["INT_TIMES"]["integration_number"][:] = 7
    for step in pool.history(ref):
        step["tool"] = "another"  # type: ignore[index]
    assert ref.product["SCI"][0, 0, 30, 40] not in (0, 7)
    assert ref.product["INT_TIMES"]["integration_number"].tolist() == [1, 2, 3]
    assert ref.to_fits(tmp_path / "out.fits").read_bytes() == ramp.read_bytes()


def test_a_history_that_is_handed_out_is_a_copy(pool: Pool) -> None:
    product = Rate({"DETECTOR": "MIRIMAGE"}, {"SCI": np.ones((3, 4), "f4")}, name="x")
    ref = pool.save(product, history=[{"tool": "mean", "inputs": ["urn:jpl8:Raw:9"]}])
    pool.history(ref)[0]["inputs"].append("urn:jpl8:Raw:10")
    pool.lineage(ref)[0].history[0]["tool"] = "none"  # type: ignore[index]
    assert pool.history(ref) == ({"tool": "mean", "inputs": ["urn:jpl8:Raw:9"]},)


COPIES: dict[str, Callable[[Any], Any]] = {
    "replace": lambda p: p.replace(),
    "renamed": lambda p: p.renamed(p.name),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "its parts": lambda p: Ramp(p.meta, p.datasets, name=p.name),
    "a copy of its metadata": lambda p: Ramp(p.meta.copy(), p.datasets, name=p.name),
    "copy.copy of its metadata": lambda p: Ramp(copy.copy(p.meta), p.datasets, name=p.name),
    "copy.deepcopy of its metadata": lambda p: Ramp(copy.deepcopy(p.meta), p.datasets, name=p.name),
}


@pytest.mark.slow
def test_copies_are_editable_and_saved_as_another_version(pool: Pool, ramp: Path, tmp_path: Path) -> None:
    ref = pool.save(ramp, pixels=False)
    for number, (words, make) in enumerate(COPIES.items(), 1):
        other = make(ref.product)
        assert (type(other), other.name, other.ref) == (Ramp, NAME, None), words
        other.meta["MYNOTE"] = words
        other["SCI"].unit = "K"
        other["INT_TIMES"].columns = other["INT_TIMES"].columns
        other.name = NAME
        saved = pool.save(other, pixels=False)
        assert (saved.version, saved.meta["MYNOTE"].value, saved.product["SCI"].unit) == (number, words, "K")
        assert np.array_equal(saved.product["SCI"][...], ref.product["SCI"][...]), words
        assert "MYNOTE" not in ref.meta
    assert ref.product["SCI"].unit is None
    assert ref.to_fits(tmp_path / "out.fits").read_bytes() == ramp.read_bytes()


def test_what_is_saved_shows_what_the_product_showed(pool: Pool) -> None:
    array = np.ones((3, 4), "f4")
    product = Rate({"DETECTOR": "MIRIMAGE"}, {"SCI": array}, name="made by hand")
    product.meta["NGROUPS"] = 5
    ref = pool.save(product)
    product.meta["NGROUPS"] = 6  # a draft stays a draft; the version is what the reference gives
    array[0, 0] = 9
    assert product.ref is None
    assert (ref.meta["NGROUPS"].value, ref.product["SCI"][0, 0]) == (5, 1)
    with pytest.raises(ReadOnly, match="urn:jpl8:Rate:0 is saved"):
        ref.meta["NGROUPS"] = 6
    second = pool.save(product)
    assert (second.version, second.meta["NGROUPS"].value, second.product["SCI"][0, 0]) == (1, 6, 9)


def test_a_context_is_read_only_too(pool: Pool) -> None:
    rate = pool.save(Rate({}, {"SCI": np.ones((3, 4), "f4")}, name="a"))
    ref = pool.save(Context({"a": rate}, meta={"TELESCOP": "JWST"}, name="c"))
    for change in (
        lambda: ref.meta.update({"TELESCOP": "HST"}),
        lambda: setattr(ref.product, "links", ()),
        lambda: operator.setitem(ref.product.refs, "b", rate),
    ):
        with pytest.raises((ReadOnly, TypeError)):
            change()
    other = ref.product.replace(b=rate)
    other.meta["TELESCOP"] = "HST"
    second = pool.save(other)
    assert (second.version, second.meta["TELESCOP"].value, list(second.product.refs)) == (1, "HST", ["a", "b"])
    assert copy.copy(ref.product).refs == {"a": rate}


def test_products_that_a_question_is_asked_of_are_read_only(pool: Pool, ramp: Path) -> None:
    pool.save(ramp, pixels=False)

    def meddles(product: Any) -> bool:
        with pytest.raises(ReadOnly):
            product.meta["NGROUPS"] = 7
        return bool(product.meta["NGROUPS"].value == 8)

    assert pool.select(meddles).size() == 1


def test_metadata_in_memory_stay_editable_until_they_are_frozen() -> None:
    meta = MetaData.from_mapping({"NGROUPS": 5})
    meta["NGROUPS"] = 6
    meta.freeze("urn:a:Ramp:1")
    with pytest.raises(ReadOnly, match=r"urn:a:Ramp:1 is saved and can't be changed: NGROUPS"):
        meta["NGROUPS"] = 7
    assert meta.is_frozen
    assert not meta.copy().is_frozen
    assert json.dumps(meta.to_dict()) == '{"NGROUPS": 6}'


def test_parts_of_a_header_are_values() -> None:
    with pytest.raises(AttributeError):
        Hdu(b"", "PRIMARY").name = "SCI"  # type: ignore[misc]
