"""Products: names of datasets, kinds, and what is said where something is not there."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from manifests import make_header

from miripool.errors import InvalidInput, ProductNotFound
from miripool.model.dataset import Dataset, Scale
from miripool.model.kinds import (
    KINDS,
    ExposureStatistics,
    Monitor,
    Ramp,
    Rate,
    RateInts,
    Raw,
    kind_class,
    kinds_matching,
)
from miripool.model.metadata import MetaData
from miripool.model.product import Context, Hdu, Layout, Product
from miripool.model.statistics import Statistics
from miripool.model.table import TableDataset


class NeverRead:
    """An array that must not be read."""

    def __init__(self, shape: tuple[int, ...], dtype: Any = "f4") -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)

    def __getitem__(self, key: Any) -> Any:
        raise AssertionError(f"read {key}")


@pytest.fixture
def ramp() -> Ramp:
    return Ramp(
        {"ngroups": 5, "TELESCOP": "JWST"},
        {
            "SCI": np.ones((2, 5, 4, 4), np.float32),
            "GROUPDQ": np.zeros((2, 5, 4, 4), np.uint8),
            "PIXELDQ": np.zeros((4, 4)),
        },
        name="jw01",
    )


# Datasets


def test_datasets_by_name(ramp: Ramp) -> None:
    assert list(ramp) == ["SCI", "GROUPDQ", "PIXELDQ"]
    assert len(ramp) == 3
    assert ramp["SCI"] is ramp["sci"] is ramp.datasets["SCI"]
    assert "SCI" in ramp
    assert "ERR" not in ramp
    assert ramp.get("ERR") is None
    with pytest.raises(ProductNotFound, match="no dataset 'ERR' in this Ramp; it has SCI, GROUPDQ, PIXELDQ"):
        ramp["ERR"]
    with pytest.raises(ProductNotFound, match="it has none"):
        Product()["SCI"]


@pytest.mark.parametrize("key", [0, None, ("SCI", 0), slice(None)])
def test_other_keys_are_no_datasets(ramp: Ramp, key: Any) -> None:
    assert key not in ramp
    with pytest.raises(ProductNotFound, match="no dataset"):
        ramp[key]


def test_datasets_as_the_datamodel_names_them(ramp: Ramp) -> None:
    assert ramp.data is ramp["SCI"]
    assert ramp.groupdq is ramp["GROUPDQ"]
    assert ramp.pixeldq is ramp["PIXELDQ"]
    model = Product(datasets={"AVDRKCUR": np.zeros(2), "ZEROFRAME": np.zeros(3)})
    assert model.avg_dark_current is model["AVDRKCUR"]
    assert model.zeroframe is model["ZEROFRAME"]
    assert model.data is model["AVDRKCUR"]
    with pytest.raises(
        AttributeError, match="this Ramp has no attribute or dataset 'err'; it has SCI, GROUPDQ, PIXELDQ"
    ):
        ramp.err  # noqa: B018
    with pytest.raises(AttributeError, match="it has no datasets"):
        Product().data  # noqa: B018


def test_a_product_is_itself_and_true(ramp: Ramp) -> None:
    same = ramp
    assert ramp == same
    assert ramp != Ramp(ramp.meta, ramp.datasets, name="jw01")
    assert bool(Product())
    assert {ramp: 1}[ramp] == 1
    assert repr(ramp).startswith("<Ramp jw01: SCI (2, 5, 4, 4), GROUPDQ")
    assert repr(Product()) == "<Product (not named): no datasets>"


def test_a_product_can_be_copied(ramp: Ramp) -> None:
    other = copy.copy(ramp)
    assert list(other) == list(ramp)
    assert copy.deepcopy(ramp).data.shape == (2, 5, 4, 4)


# Made in memory


def test_metadata_and_arrays_of_a_product_in_memory(ramp: Ramp) -> None:
    assert ramp.meta["ngroups"].value == 5
    assert ramp.meta["NGROUPS"].value == 5
    assert isinstance(Product(ramp.meta).meta, MetaData)
    assert Product(ramp.meta).meta is ramp.meta
    assert ramp.layout is None
    assert ramp.data.max() == 1.0


def test_arrays_are_taken_in_native_byte_order_and_without_a_copy() -> None:
    array = np.arange(3, dtype="f4")
    product = Product(datasets={"A": array, "B": array.astype(">f4"), "C": [1, 2], "D": 5.5})
    assert np.shares_memory(product["A"].source[...], array)
    assert product["B"].dtype == np.dtype("f4")
    assert product["B"].dtype.isnative
    assert product["C"].dtype.kind == "i"
    assert product["D"].shape == ()


def test_a_dataset_is_taken_as_it_is_and_under_its_new_name() -> None:
    dataset = Dataset(
        "SCI", np.zeros((2, 2), np.uint8), unit="DN", scale=Scale(2.0), statistics=Statistics(0, 0, 0, 0, 4, 0)
    )
    product = Product(datasets={"SCI": dataset, "DQ": dataset})
    assert product["SCI"] is dataset
    assert product["DQ"].name == "DQ"
    assert product["DQ"].source is dataset.source
    assert (product["DQ"].unit, product["DQ"].scale) == ("DN", dataset.scale)
    assert product["DQ"].is_flags
    assert product["DQ"].statistics == Statistics(0, 0, 0, 0, 4, 0, 0)
    assert dataset.name == "SCI"


@pytest.mark.parametrize(
    "value", [np.array([None]), np.array(["text"]), np.array([1j]), np.array(["2024-01-01"], "M8[D]")]
)
def test_arrays_that_can_not_be_stored_are_refused(value: Any) -> None:
    with pytest.raises(InvalidInput, match=r"dataset ODD: arrays of .* can't be stored; use numbers"):
        Product(datasets={"ODD": value})


def test_renamed_shares_what_it_has(ramp: Ramp) -> None:
    other = ramp.renamed("jw02")
    assert type(other) is Ramp
    assert (other.name, ramp.name) == ("jw02", "jw01")
    assert other.meta is ramp.meta
    assert other["SCI"] is ramp["SCI"]


# Where it came from


def test_without_a_pool_there_is_no_version(ramp: Ramp) -> None:
    for attribute in ("urn", "serial", "version", "created", "tags", "bytes", "filename", "ref"):
        assert getattr(ramp, attribute) is None


def test_a_version_tells_what_its_reference_knows(ramp: Ramp) -> None:
    known = {
        "urn": "urn:a:Ramp:1",
        "serial": 1,
        "version": 0,
        "created": "now",
        "tags": ("x",),
        "bytes": 9,
        "filename": "f",
    }
    ramp.ref = SimpleNamespace(**known)
    assert {name: getattr(ramp, name) for name in known} == known


def test_from_layout_reads_nothing() -> None:
    statistics = Statistics(0.0, 5.0, 2.5, 1.7, 6, 0)
    table = make_header([("NAXIS1", 8), ("NAXIS2", 3), ("TFIELDS", 1), ("TTYPE1", "t"), ("TFORM1", "D")])
    layout = Layout(
        (
            Hdu(make_header({"OBJECT": "dark"}), "PRIMARY"),
            Hdu(make_header({"BUNIT": "DN"}), "SCI", "image", NeverRead((2, 3)), unit="DN", scale=Scale(3.0)),
            Hdu(table, "TAB", "table", NeverRead((3,), [("t", "f8")])),
            Hdu(make_header({}), "ODD", "opaque", raw=NeverRead((2880,), "u1")),
        )
    )
    product = Product.from_layout(layout, kind=Rate, name="x", statistics={"SCI": statistics})
    assert type(product) is Rate
    assert list(product) == ["SCI", "TAB"]
    assert product["SCI"].statistics is statistics
    assert (product["SCI"].unit, product["SCI"].scale) == ("DN", Scale(3.0))
    assert isinstance(product["TAB"], TableDataset)
    assert product.meta["OBJECT"].value == "dark"
    assert product.layout is layout
    assert type(Product.from_layout(layout)) is Product


# Kinds


def test_kinds_have_their_class() -> None:
    assert {name: known.cls.kind for name, known in KINDS.items()} == {name: name for name in KINDS}
    for name, known in KINDS.items():
        cls = known.cls
        assert kind_class(name) is kind_class(name.upper()) is kind_class(name.lower()) is cls
        assert cls().type == name
    with pytest.raises(InvalidInput, match="no kind 'Dark'; the kinds are Product, Raw, Ramp, RateInts, Rate"):
        kind_class("Dark")


def test_subclasses_match() -> None:
    contexts = {"Context", "Exposure"}
    assert set(kinds_matching(Context)) == contexts
    # What stands beside other products is asked for by its own kind.
    assert set(kinds_matching(Product)) == set(KINDS) - contexts - {"ExposureStatistics"}
    assert list(kinds_matching(ExposureStatistics)) == ["ExposureStatistics"]
    assert list(kinds_matching(Ramp)) == ["Ramp"]
    others = {k for cls in (Raw, Ramp, RateInts, Rate, Monitor) for k in kinds_matching(cls)}
    assert others == set(KINDS) - contexts - {"Product", "ExposureStatistics"}


def test_a_product_is_changed_by_making_another() -> None:
    rate = Rate({"SCI.BUNIT": "DN/s"}, {"SCI": np.ones((2, 3), "f4"), "DQ": np.zeros((2, 3), "u4")}, name="a")
    for change in (
        lambda: setattr(rate, "data", 1),
        lambda: rate.__setitem__("SCI", 1),
        lambda: rate.data.__setitem__((0, 0), 5),
    ):
        with pytest.raises(InvalidInput, match=r"product\.replace\(SCI=array\)"):
            change()
    with pytest.raises(TypeError):
        rate.datasets["SCI"] = 1  # type: ignore[index]
    doubled = rate.replace(SCI=rate["SCI"][...] * 2, err=np.zeros((2, 3)))
    assert (type(doubled), doubled.name, list(doubled)) == (Rate, "a", ["SCI", "DQ", "ERR"])
    assert doubled["SCI"].max() == 2
    assert doubled["DQ"] is not None
    assert doubled.meta["SCI.BUNIT"].value == "DN/s"
    assert rate["SCI"].max() == 1
