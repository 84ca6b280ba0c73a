"""Query objects: their forms, what they refuse, what they say of themselves."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest

from miripool.errors import InvalidInput, QueryError
from miripool.model.kinds import Ramp, RateInts
from miripool.model.product import Context, Product
from miripool.query import AttribQuery, FullQuery, MetaQuery, Query, as_query
from miripool.query.queries import functions_in
from miripool.query.tree import ALL


def bright(p):
    return p.data.max() > 1


@pytest.fixture
def image():
    return RateInts({"ngroups": 20, "detector": "MIRIMAGE"}, {"SCI": np.ones((2, 2), np.float32) * 5})


FORMS = [
    Query("instrument=='MIRI' and ngroups>=20"),
    Query(RateInts),
    Query("RateInts", "ngroups == 20"),
    Query(RateInts, "p", "p.data.max() > 1"),
    Query(bright),
    Query(lambda p: p.data.max() > 1),
    MetaQuery(Ramp, "p", "p.meta['ngroups'].value >= 20 and p.meta['detector'].value == 'MIRIMAGE'"),
    MetaQuery(RateInts, "i", "i.meta['ngroups'].value >= 20"),
    MetaQuery("rateints", "p", "1", True),
    AttribQuery(Product, "p", "p.type == 'RateInts'"),
    FullQuery(RateInts, "i", "bright(i)"),
    FullQuery(RateInts, "p", "p.data.max() > 1.0", allVersions=True),
    FullQuery(RateInts, "p", "p.data.max() > 1.0", all_versions=True, tag="using cal v1"),
    FullQuery(RateInts, lambda p: (p["SCI"][:, 10:20] > 5).sum() > 3),
    FullQuery(RateInts, bright),
    Query(),
    Query(""),
]


@pytest.mark.parametrize("query", FORMS, ids=repr)
def test_forms(query):
    assert isinstance(query.kinds, tuple)
    assert query.where
    assert repr(query).startswith(type(query).__name__)
    assert callable(query.predicate)
    assert as_query(query) is query


def test_kinds():
    assert Query("1").kinds == ("Product", "Raw", "Ramp", "RateInts", "Rate", "Monitor")
    assert Query(Context, "1").kinds == ("Context", "Exposure")
    assert Query(RateInts).kinds == ("RateInts",)
    assert MetaQuery("ramp", "p", "1").kinds == ("Ramp",)
    assert Query(RateInts).node == ALL


def test_versions_and_tags():
    assert not Query("1").all_versions
    assert MetaQuery(Ramp, "p", "1", True).all_versions
    assert MetaQuery(Ramp, "p", "1", allVersions=True) == MetaQuery(Ramp, "p", "1", all_versions=True)
    assert Query("1", tag="a").tag == "a"
    assert Query("1").replace(tag="a", all_versions=True) == Query("1", tag="a", all_versions=True)
    with pytest.raises(InvalidInput, match="contradict"):
        Query("1", allVersions=True, all_versions=False)
    with pytest.raises(InvalidInput, match="tag="):
        Query("1", tag="")


def test_repr():
    query = FullQuery(RateInts, "i", "i.meta['NGROUPS'].value>=20 & i.type='RateInts'", allVersions=True, tag="t")
    text = """FullQuery(RateInts, 'i', "NGROUPS >= 20 and i.kind == 'RateInts'", allVersions=True, tag='t')"""
    assert repr(query) == text
    assert repr(Query("")) == "Query(Product, 'p', 'True')"


def test_predicate(image):
    assert Query("ngroups == 20").predicate(image)
    assert not Query("ngroups == 21").predicate(image)
    assert FullQuery(RateInts, lambda p: p.data.max() > 1).predicate(image)
    with pytest.raises(QueryError, match=r"no single truth value: dataset SCI is neither true nor false"):
        FullQuery(RateInts, lambda p: p.data).predicate(image)
    for given, what in (
        (lambda p: p, "RateInts"),
        (lambda p: p.meta["NGROUPS"], "Parameter"),
        (lambda p: None, "None"),
    ):
        with pytest.raises(QueryError, match=f"no single truth value, but {what}.*; compare it with something"):
            FullQuery(RateInts, given).predicate(image)
    assert FullQuery(RateInts, lambda p: np.array(True)).predicate(image)
    assert FullQuery(RateInts, "i", "bright(i) and i.type == 'RateInts'").predicate(image)


def test_functions_are_looked_up_when_the_query_is_made(image):
    def faint(i):
        return i.data.max() < 1

    chosen = faint
    query = FullQuery(RateInts, "i", "chosen(i)")
    chosen = bright  # noqa: F841 -- found by looking at the frame
    assert not query.predicate(image)
    assert FullQuery(RateInts, "i", "chosen(i)").predicate(image)


def test_locals_before_globals():
    def bright(i):
        return "mine"

    assert functions_in(sys._getframe())["bright"] is bright
    assert "pytest" not in functions_in(sys._getframe())
    assert functions_in(None) == {}


@pytest.mark.parametrize("name", ["print", "eval", "pytest", "Ramp", "image", "nothing"])
def test_only_plain_functions(name):
    image = np.array  # a callable, but not a plain function  # noqa: F841
    with pytest.raises(QueryError, match="no function"):
        FullQuery(RateInts, "i", f"{name}(i)")


def test_text_from_elsewhere_calls_nothing():
    with pytest.raises(QueryError, match="no function"):
        as_query("bright(p)")
    with pytest.raises(QueryError, match="no function"):
        Query("bright(p)", functions={})
    with pytest.raises(QueryError, match="no function"):
        as_query("parse(p)")
    assert as_query("f(p)", functions={"f": bright}).where == "f(p)"


@pytest.mark.parametrize("cls", [MetaQuery, AttribQuery])
@pytest.mark.parametrize("where", ["p.data.max() > 1", "ANY(p.data > 1)", "ngroups > 3 and bright(p)", "'SCI' in p"])
def test_metadata_only(cls, where):
    with pytest.raises(QueryError, match="FullQuery"):
        cls(RateInts, "p", where)


@pytest.mark.parametrize(
    "question",
    [
        (3,),
        (int, "p", "1"),
        ("Rampe", "p", "1"),
        (Ramp, "p p", "1"),
        (Ramp, "p", "1", 3),
        (Ramp, 3),
        (Ramp, None),
        ("p", "1", "1", "1"),
    ],
)
def test_other_forms(question):
    with pytest.raises(InvalidInput):
        Query(*question)


def test_as_query(image):
    assert as_query("ngroups == 20") == Query("ngroups == 20")
    assert as_query(RateInts) == Query(RateInts)
    assert as_query(bright).predicate(image)
    for wrong in (3, None, ["x"]):
        with pytest.raises(InvalidInput, match="a query is"):
            as_query(wrong)


def test_frozen():
    query = Query("ngroups == 20")
    for change in (lambda: setattr(query, "tag", "x"), lambda: delattr(query, "node")):
        with pytest.raises(AttributeError, match="can't be changed"):
            change()
    assert hash(query) == hash(Query("ngroups = 20"))
    assert query != Query("ngroups = 21")


def test_pickle():
    query = FullQuery(RateInts, "i", "bright(i) and ngroups > 3", tag="t")
    copy = pickle.loads(pickle.dumps(query))
    assert copy == query
    assert type(copy) is FullQuery


def test_imports_are_light():
    code = (
        "import sys, miripool.query.queries;"
        "print([m for m in ('astropy', 'sqlalchemy', 'jwst', 'stdatamodels', 'h5py') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
